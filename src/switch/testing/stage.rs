//! Agents at work: phones that answer by themselves what needs no thought, and the questions tests ask of the whole: who hears
//! whom, who is on hold, what a phone was told.

use super::handset::{Dialog, Handset, sdp};
use super::lab::{self, Lab};
use crate::config::Role;
use crate::{Act, Acted, Answer, By, Command, Input, Notice, Refusal, Verb};
use model::{Aor, InteractionId, InteractionView, LegId, PartyId, PartyView};
use sip::{Message, Method, Name};
use std::collections::{BTreeMap, BTreeSet};

/// A phone with its place on the stage.
pub struct Actor {
    /// The phone.
    pub phone: Handset,
    /// Its dialogs, the oldest first, with the RTP port of each and whether it is over.
    pub dialogs: Vec<Line>,
    /// Requests that it was sent and answered by itself: NOTIFY, UPDATE, BYE.
    pub got: Vec<Message>,
    /// INVITEs that ring.
    pub ringing: Vec<Message>,
    /// Final responses to its own requests, not yet looked at.
    pub replies: Vec<Message>,
    /// It neither says nor hears anything.
    pub is_dead: bool,
    /// With what it refuses offers in its calls.
    pub refuses: Option<u16>,
    /// It does not look yet at what has come.
    pub is_slow: bool,
    rtp: u16,
}

/// One dialog of a phone.
pub struct Line {
    /// As the phone sees it.
    pub dialog: Dialog,
    /// Where it wants its sound.
    pub rtp: u16,
    /// BYE was sent or received.
    pub over: bool,
}

/// Phones and the switch.
pub struct Stage {
    /// The switch and its world.
    pub lab: Lab,
    /// Phones by the order of their users from 1000.
    pub actors: Vec<Actor>,
    /// What a test that fails wants to be told.
    pub log: Vec<String>,
    commands: u64,
}

/// The usual switch of [`lab::config`], where 1000 to 1004 are agents and 1009 is a supervisor.
#[must_use]
pub fn config() -> crate::Config {
    let mut config = lab::config();
    for user in &mut config.users {
        user.roles = match user.aor.user() {
            "1009" => vec![Role::Supervisor],
            "1000" | "1001" | "1002" | "1003" | "1004" => vec![Role::Agent],
            _ => vec![],
        };
    }
    config
}

/// Kate, the agent.
pub const KATE: usize = 0;
/// The customer.
pub const CUSTOMER: usize = 1;
/// Jim, whom Kate asks.
pub const JIM: usize = 2;
/// Another colleague.
pub const ANN: usize = 3;
/// The supervisor.
pub const BOSS: usize = 4;

const USERS: [&str; 5] = ["1000", "1005", "1001", "1002", "1009"];

impl Stage {
    /// Five registered phones that do nothing yet.
    #[must_use]
    pub fn new() -> Stage {
        Stage::with(config())
    }

    /// The same with another configuration.
    #[must_use]
    pub fn with(config: crate::Config) -> Stage {
        let mut lab = Lab::with(config);
        let actors = USERS.iter().zip(0u16..).map(|(user, n)| {
            let phone = Handset::registered(&mut lab, user, 6000 + 100 * n);
            Actor {
                phone,
                dialogs: vec![],
                got: vec![],
                ringing: vec![],
                replies: vec![],
                is_dead: false,
                refuses: None,
                is_slow: false,
                rtp: 7000 + 100 * n,
            }
        });
        let actors = actors.collect();
        Stage {
            lab,
            actors,
            log: vec![],
            commands: 0,
        }
    }

    /// The customer has called Kate, who answered. The interaction.
    #[must_use]
    pub fn talking() -> (Stage, InteractionId) {
        let mut stage = Stage::new();
        let id = stage.call(CUSTOMER, KATE);
        (stage, id)
    }

    /// One phone calls another, which answers. The newest interaction.
    pub fn call(&mut self, from: usize, to: usize) -> InteractionId {
        self.dial(from, USERS[to]);
        self.answer(to);
        self.newest()
    }

    /// A phone dials; what rings rings.
    pub fn dial(&mut self, from: usize, number: &str) {
        self.dial_with(from, number, "");
    }

    /// The same with further header lines.
    pub fn dial_with(&mut self, from: usize, number: &str, extra: &str) {
        // No two calls begin at the same moment, so that the newest can be told.
        self.lab.pass(std::time::Duration::from_millis(1));
        let actor = &mut self.actors[from];
        actor.rtp += 2;
        let rtp = actor.rtp;
        let dialog = actor
            .phone
            .invite_with(&mut self.lab, number, extra, Some(&sdp(rtp, &[0, 101])));
        actor.dialogs.push(Line {
            dialog,
            rtp,
            over: false,
        });
        self.settle();
    }

    /// A phone answers the oldest call that rings there.
    pub fn answer(&mut self, who: usize) {
        let actor = &mut self.actors[who];
        assert!(!actor.ringing.is_empty(), "nothing rings at {}", actor.phone.user);
        let invite = actor.ringing.remove(0);
        actor.rtp += 2;
        let rtp = actor.rtp;
        actor
            .phone
            .reply(&mut self.lab, &invite, 200, Some(&sdp(rtp, &[0, 101])));
        let dialog = actor.phone.dialog_of(&invite);
        actor.dialogs.push(Line {
            dialog,
            rtp,
            over: false,
        });
        self.settle();
    }

    /// A phone refuses the oldest call that rings there.
    pub fn refuse(&mut self, who: usize, status: u16) {
        let actor = &mut self.actors[who];
        let invite = actor.ringing.remove(0);
        actor.phone.reply(&mut self.lab, &invite, status, None);
        self.settle();
    }

    /// A phone hangs up its call of that number, counted from the oldest.
    pub fn hang_up(&mut self, who: usize, line: usize) {
        self.request(who, line, Method::Bye, "", None);
        self.actors[who].dialogs[line].over = true;
    }

    /// A phone offers anew on one of its calls: `sendonly`, `sendrecv`, `inactive`.
    pub fn reinvite(&mut self, who: usize, line: usize, method: Method, direction: &str) -> u16 {
        let offer = sdp(self.actors[who].dialogs[line].rtp, &[0, 101]).replace("sendrecv", direction);
        self.request(who, line, method, "", Some(("application/sdp", &offer)));
        self.last_reply(who)
    }

    /// A phone sends a request in one of its dialogs; everybody reacts.
    pub fn request(&mut self, who: usize, line: usize, method: Method, extra: &str, body: Option<(&str, &str)>) {
        let actor = &mut self.actors[who];
        let dialog = &mut actor.dialogs[line].dialog;
        actor.phone.send_in(&mut self.lab, dialog, method, extra, body);
        self.settle();
    }

    /// The status of the last final response a phone got to its own request.
    #[must_use]
    pub fn last_reply(&self, who: usize) -> u16 {
        self.actors[who].replies.last().map_or(0, Message::status)
    }

    /// A Refer-To with a Replaces for another dialog of the same phone.
    #[must_use]
    pub fn replaces(&self, who: usize, line: usize) -> String {
        let dialog = &self.actors[who].dialogs[line].dialog;
        let tag = |text: &str| text.split(";tag=").nth(1).unwrap_or_default().to_owned();
        format!(
            "{};to-tag={};from-tag={}",
            dialog.call_id,
            tag(&dialog.remote),
            tag(&dialog.local)
        )
    }

    /// The same as it stands in a URI.
    #[must_use]
    pub fn escaped(&self, who: usize, line: usize) -> String {
        sip::uri::escape_header(self.replaces(who, line).as_bytes())
    }

    // Commands.

    /// A user commands; what was answered.
    pub fn ask(&mut self, who: usize, verb: Verb) -> Answer {
        self.commands += 1;
        let act = Act {
            by: By::User(aor(who)),
            client: format!("c{}", self.commands).into(),
            verb,
        };
        let answer = self.lab.ask(Command::Act(Box::new(act)));
        self.settle();
        answer
    }

    /// A command that must be carried out.
    pub fn act(&mut self, who: usize, verb: Verb) -> Acted {
        match self.ask(who, verb.clone()) {
            Answer::Acted(acted) => *acted,
            other => panic!("{verb:?}: {other:?}"),
        }
    }

    /// A command that must be refused.
    pub fn refused(&mut self, who: usize, verb: Verb) -> Refusal {
        match self.ask(who, verb.clone()) {
            Answer::Refused(refusal) => refusal,
            other => panic!("{verb:?}: {other:?}"),
        }
    }

    /// The outcomes of verbs that took their time: name and status.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(String, u16)> {
        let verbs = self.lab.notices.iter().filter_map(|notice| match notice {
            Notice::Verb(outcome) => Some(outcome),
            _ => None,
        });
        verbs
            .map(|outcome| (outcome.verb.to_string(), outcome.status))
            .collect()
    }

    // What is so.

    /// The interaction that began last.
    pub fn newest(&mut self) -> InteractionId {
        let views = self.views();
        views.last().expect("an interaction").id
    }

    /// All interactions.
    pub fn views(&mut self) -> Vec<InteractionView> {
        match self.lab.ask(Command::Interactions(None)) {
            Answer::Interactions(views) => views,
            other => panic!("{other:?}"),
        }
    }

    /// One interaction.
    pub fn view(&mut self, id: InteractionId) -> InteractionView {
        let mut views = self.views();
        let at = views.iter().position(|view| view.id == id);
        views.swap_remove(at.unwrap_or_else(|| panic!("no interaction {id}")))
    }

    /// A user's party in an interaction.
    pub fn party(&mut self, id: InteractionId, who: usize) -> PartyView {
        let view = self.view(id);
        let found = view.parties.iter().find(|party| party.user == Some(aor(who)));
        found
            .unwrap_or_else(|| panic!("{} takes no part in {view:#?}", USERS[who]))
            .clone()
    }

    /// Its id.
    pub fn party_id(&mut self, id: InteractionId, who: usize) -> PartyId {
        self.party(id, who).id
    }

    /// Whom the device of a user hears on its newest living call: users' numbers in order, `music`, `tone`.
    #[must_use]
    pub fn hears(&self, who: usize) -> Vec<String> {
        let lines = self.actors[who].dialogs.iter().rev();
        let Some(line) = lines.clone().find(|line| !line.over) else {
            return vec![];
        };
        self.hears_on(line)
    }

    /// The same on all of its calls together.
    #[must_use]
    pub fn hears_in_all(&self, who: usize) -> Vec<String> {
        let living = self.actors[who].dialogs.iter().filter(|line| !line.over);
        let mut heard: Vec<String> = living.flat_map(|line| self.hears_on(line)).collect();
        heard.sort();
        heard
    }

    fn hears_on(&self, line: &Line) -> Vec<String> {
        let owner = |port: &str| {
            let port: u16 = port.parse().ok()?;
            let at = self
                .actors
                .iter()
                .position(|actor| actor.dialogs.iter().any(|line| line.rtp == port))?;
            Some(USERS[at].to_owned())
        };
        let mut heard: Vec<String> = self.lab.studio.hears(line.rtp);
        heard
            .iter_mut()
            .for_each(|name| *name = owner(name).unwrap_or_else(|| name.clone()));
        heard.sort();
        heard
    }

    /// The last P-Asserted-Identity that a phone was told in a request inside a dialog.
    #[must_use]
    pub fn shown(&self, who: usize) -> String {
        let told = self.actors[who]
            .got
            .iter()
            .rev()
            .find_map(|message| message.header(Name::PAssertedIdentity));
        String::from_utf8_lossy(told.unwrap_or_default()).into_owned()
    }

    /// The bodies of NOTIFYs a phone got, without their line ends.
    #[must_use]
    pub fn notified(&self, who: usize) -> Vec<String> {
        let notifies = self.actors[who]
            .got
            .iter()
            .filter(|message| message.method() == Method::Notify);
        notifies
            .map(|message| String::from_utf8_lossy(message.body_bytes()).trim_end().to_owned())
            .collect()
    }

    /// Whether a phone has a call that is not over.
    #[must_use]
    pub fn is_in_a_call(&self, who: usize) -> bool {
        self.actors[who].dialogs.iter().any(|line| !line.over)
    }

    /// A phone hangs up, and nobody has reacted yet.
    pub fn request_at_once(&mut self, who: usize, line: usize) {
        let actor = &mut self.actors[who];
        let line = &mut actor.dialogs[line];
        actor
            .phone
            .send_in(&mut self.lab, &mut line.dialog, Method::Bye, "", None);
        line.over = true;
    }

    /// Whoever rings is refused and whoever is in a call hangs up; dead phones live again when the switch has given them up.
    pub fn clear(&mut self) {
        let had_dead = self.actors.iter().any(|actor| actor.is_dead);
        for actor in &mut self.actors {
            (actor.is_dead, actor.is_slow, actor.refuses) = (false, false, None);
        }
        self.hang_up_all();
        self.settle();
        let lives = |line: &Line| !line.over && !line.is_up();
        let waits = had_dead || self.actors.iter().any(|actor| actor.dialogs.iter().any(lives));
        if waits || self.lab.figure("calls") > 0 {
            self.pass_s(4);
            // Who was deaf hears at last that he was answered, and may be alone with the switch.
            self.hang_up_all();
            self.pass_s(66);
            for actor in &mut self.actors {
                while actor.phone.take(&mut self.lab).is_some() {}
                actor.phone.register(&mut self.lab);
            }
        }
        for actor in &mut self.actors {
            (actor.dialogs, actor.ringing, actor.got, actor.replies) = (vec![], vec![], vec![], vec![]);
            (actor.is_slow, actor.refuses) = (false, None);
        }
        self.lab.sent.clear();
        self.lab.studio.plans.clear();
    }

    fn hang_up_all(&mut self) {
        for who in 0..self.actors.len() {
            while !self.actors[who].ringing.is_empty() {
                self.refuse(who, 486);
            }
            for line in 0..self.actors[who].dialogs.len() {
                if self.actors[who].dialogs[line].is_up() {
                    self.hang_up(who, line);
                }
            }
        }
    }

    /// The legs of all calls.
    pub fn legs(&mut self) -> Vec<LegId> {
        match self.lab.ask(Command::Calls) {
            Answer::Calls(calls) => calls.iter().flat_map(|call| &call.legs).map(|leg| leg.id).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// What must be so at any time, beside the invariants of the switch: who is on hold is so at somebody's hands, and each
    /// room of the engine is there for something.
    pub fn assert_sense(&mut self) {
        self.lab.switch.audit().expect("the invariants hold");
        let views = self.views();
        for view in &views {
            let held = view.parties.iter().any(|party| party.held);
            assert!(
                !held || view.owner.is_some(),
                "a contact on hold without an owner: {view:#?}"
            );
        }
        self.assert_rooms();
    }

    /// The engine has the rooms that the switch knows a reason for, and no others.
    fn assert_rooms(&self) {
        let reasons: BTreeMap<_, _> = self.lab.switch.calls.rooms_in_use().into_iter().collect();
        let open: BTreeSet<_> = self.lab.studio.rooms().collect();
        for room in &open {
            let reason = reasons.get(room).map_or("", |reason| reason);
            assert!(
                !reason.is_empty(),
                "{room:?} is there for nothing; others for {reasons:#?}"
            );
        }
        let missing = reasons.iter().find(|(room, _)| !open.contains(room));
        assert_eq!(missing, None, "a room that is not there");
    }

    /// Everybody who is in a call hangs up, and nothing is left.
    pub fn end(mut self) {
        for who in 0..self.actors.len() {
            for line in 0..self.actors[who].dialogs.len() {
                if !self.actors[who].dialogs[line].over {
                    self.hang_up(who, line);
                }
            }
        }
        self.settle();
        self.lab.assert_clean();
    }

    // What phones do by themselves.

    /// Phones react until nothing more comes, and the invariants hold.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            let Some(who) = (0..self.actors.len())
                .find(|&who| !self.actors[who].is_slow && self.lab.peek(self.actors[who].phone.flow.peer).is_some())
            else {
                break;
            };
            let message = self.actors[who].phone.take(&mut self.lab);
            if let Some(message) = message.filter(|_| !self.actors[who].is_dead) {
                self.react(who, &message);
            }
        }
        self.lab.switch.audit().expect("the invariants hold");
    }

    /// All phones wait with what has come, or react at last.
    pub fn slow(&mut self, is_slow: bool) {
        self.actors.iter_mut().for_each(|actor| actor.is_slow = is_slow);
        if !is_slow {
            self.settle();
        }
    }

    /// Time passes, and phones react.
    pub fn pass_s(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.lab.pass_s(1);
            self.settle();
        }
    }

    /// Tones that do not sound for ever come to their end.
    pub fn end_tones(&mut self) {
        for event in self.lab.studio.end_tones() {
            self.lab.input(Input::Media(event));
        }
        self.settle();
    }

    fn react(&mut self, who: usize, message: &Message) {
        let (actor, lab) = (&mut self.actors[who], &mut self.lab);
        if !message.is_request() {
            return actor.take_response(lab, message);
        }
        match message.method() {
            Method::Ack => {}
            Method::Invite if message.to_tag().is_empty() => {
                actor.phone.reply(lab, message, 180, None);
                actor.ringing.push(message.clone());
            }
            Method::Invite | Method::Update if actor.refuses.is_some() => {
                actor.phone.reply(lab, message, actor.refuses.unwrap_or(488), None);
                actor.got.push(message.clone());
            }
            Method::Invite => {
                let answer = actor.answer_to(message);
                actor.phone.reply(lab, message, 200, Some(&answer));
                actor.got.push(message.clone());
            }
            Method::Cancel => {
                actor.phone.reply(lab, message, 200, None);
                if let Some(at) = actor
                    .ringing
                    .iter()
                    .position(|invite| invite.call_id() == message.call_id())
                {
                    let invite = actor.ringing.remove(at);
                    actor.phone.reply(lab, &invite, 487, None);
                }
            }
            Method::Bye => {
                actor.phone.reply(lab, message, 200, None);
                actor.close(message);
                actor.got.push(message.clone());
            }
            _ => {
                actor.phone.reply(lab, message, 200, None);
                actor.got.push(message.clone());
            }
        }
    }
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::new()
    }
}

impl Line {
    /// It was answered, and is not over.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !self.over && self.dialog.remote.contains(";tag=")
    }
}

impl Actor {
    fn take_response(&mut self, lab: &mut Lab, response: &Message) {
        let call_id = String::from_utf8_lossy(response.call_id()).into_owned();
        if response.status() < 200 {
            return;
        }
        self.replies.push(response.clone());
        let Some(line) = self.dialogs.iter_mut().find(|line| line.dialog.call_id == call_id) else {
            return;
        };
        if response.method() != Method::Invite {
            return;
        }
        if response.status() < 300 {
            self.phone.ack(lab, &mut line.dialog, response, None);
        } else {
            self.phone.ack_failure(lab, &line.dialog, response);
            // The first INVITE: there is no call.
            line.over |= !line.dialog.remote.contains(";tag=");
        }
    }

    fn answer_to(&self, invite: &Message) -> String {
        let call_id = String::from_utf8_lossy(invite.call_id()).into_owned();
        let line = self.dialogs.iter().find(|line| line.dialog.call_id == call_id);
        sdp(line.map_or(self.rtp, |line| line.rtp), &[0, 101])
    }

    fn close(&mut self, bye: &Message) {
        let call_id = String::from_utf8_lossy(bye.call_id()).into_owned();
        self.dialogs
            .iter_mut()
            .filter(|line| line.dialog.call_id == call_id)
            .for_each(|line| line.over = true);
    }
}

/// A user's address of record.
#[must_use]
pub fn aor(who: usize) -> Aor {
    Aor::new(USERS[who], "example.com")
}
