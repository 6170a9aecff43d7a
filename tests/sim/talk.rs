//! Sessions of messages: people at pages, which lose nothing but go and come, and people with phones in the bad network. What
//! was said has to reach each of them once, in one order, and what a page makes of its events has to be what is.

use crate::director::{Script, devices_of, finish, leave_and_come, letters_arrive, prepare};
use crate::ledger::Ledger;
use crate::ledger::Mark;
use crate::phone::DOMAIN;
use crate::text::{Text, user_of};
use crate::world::World;
use clock::Mono;
use model::{Aor, Event, ImParty, ImSession, ImStanding, ImState, ImTranscript, PartyId, SessionId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use switch::{Answer, By, Command, ImAct, ImVerb, Token};

const TICK: Duration = Duration::from_millis(50);
/// Pages say so often that they are there.
const RENEWAL: Duration = Duration::from_secs(20);
/// What happened so long before the switch died may not be on disk.
pub const UNWRITTEN: Duration = Duration::from_secs(1);

/// What is known of all sessions and texts.
#[derive(Default)]
pub struct Talk {
    pages: Vec<Page>,
    /// As they were told last.
    views: HashMap<SessionId, ImSession>,
    /// By their words: no two are alike.
    said: BTreeMap<String, Said>,
    /// Texts that failed, and nobody had been told of.
    failed: BTreeSet<(SessionId, u64)>,
    /// What is waited for.
    asked: HashMap<Token, Asked>,
    last_token: Token,
    written: u64,
    crashes: u32,
    /// Whom each phone heard last in a session.
    partners: HashMap<usize, usize>,
    /// Which phone has which text, under which name first.
    names: HashMap<(usize, String), (String, u32)>,
    /// Texts that a phone has refused.
    refused: BTreeSet<String>,
    /// Which phone has refused which text for good.
    refused_for_good: BTreeSet<(usize, String)>,
    /// The number of the text that each user's phones got last of each session.
    last_taken: HashMap<(usize, SessionId), u64>,
}

/// A page of a user.
struct Page {
    user: usize,
    is_here: bool,
    /// What it shows, and the number of the last message there.
    bar: BTreeMap<SessionId, (ImSession, u64)>,
}

/// A text that was told to all who are in the session: it is on disk.
struct Said {
    session: SessionId,
    seq: u64,
    /// Users who took part.
    to: BTreeSet<usize>,
    /// Of them those who did by their phones.
    phones: BTreeSet<usize>,
    /// Of them those who have it, or were said not to.
    settled: BTreeSet<usize>,
    /// Of all users those who were said not to get it, and what crashes there had been.
    failed: BTreeMap<usize, u32>,
    /// Users of whom a phone has it, or whose page has said that it came there.
    came: BTreeSet<usize>,
    /// Users whose page has shown it.
    shown: BTreeSet<usize>,
    /// When it came to one of them last.
    came_at: Mono,
    /// The switch died just then: what it knew may be forgotten.
    unsure: bool,
    /// It is known for whom it failed.
    is_open: bool,
    /// Crashes before it was told.
    crashes: u32,
}

impl Said {
    fn new(session: SessionId, seq: u64, crashes: u32) -> Said {
        Said {
            session,
            seq,
            to: BTreeSet::new(),
            phones: BTreeSet::new(),
            settled: BTreeSet::new(),
            failed: BTreeMap::new(),
            came: BTreeSet::new(),
            shown: BTreeSet::new(),
            came_at: Mono(0),
            unsure: false,
            is_open: true,
            crashes,
        }
    }
}

enum Asked {
    /// To say this.
    Say(String),
    /// What a page is to show that has come.
    Bar(usize),
    /// What a page shows, to see whether it shows what is.
    Check(usize),
    /// All sessions there are.
    Views,
    Any,
}

fn aor(user: usize) -> Aor {
    Aor::new(&(1000 + user).to_string(), DOMAIN)
}

impl Talk {
    /// The switch died: pages lose their connections.
    pub fn on_crash(&mut self, now: Mono) {
        for said in self.said.values_mut() {
            said.unsure |= now.since(said.came_at) < UNWRITTEN;
        }
        self.crashes += 1;
        self.asked.clear();
        self.views.clear();
        for page in &mut self.pages {
            page.leave();
        }
    }

    /// An event: what it says that must not be.
    pub fn on_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::ImInvited { user, invitation } => self.show(&user, invitation),
            Event::ImJoined { user, transcript } => self.show(&user, transcript),
            Event::ImChanged { session, left } => {
                for page in self.pages.iter_mut().filter(|page| page.is_here) {
                    let user = aor(page.user);
                    if left.contains(&user) {
                        page.bar.remove(&session.id);
                    } else if session.concerns(&user) {
                        let last = page.bar.get(&session.id).map_or(0, |(_, last)| *last);
                        page.bar.insert(session.id, (session.clone(), last));
                    }
                }
                self.views.insert(session.id, session);
            }
            Event::ImClosed { session, user } => {
                for page in self.pages.iter_mut().filter(|page| aor(page.user) == user) {
                    page.bar.remove(&session);
                }
            }
            Event::ImMessage { message, to } => {
                let (session, seq) = (message.session, message.seq);
                for page in self
                    .pages
                    .iter_mut()
                    .filter(|page| page.is_here && to.contains(&aor(page.user)))
                {
                    match page.bar.get_mut(&session) {
                        Some((_, last)) if *last < seq => *last = seq,
                        Some((_, last)) => return Err(format!("page {} is told {seq} after {last}", page.user)),
                        None => return Err(format!("page {} is told of a session that it does not show", page.user)),
                    }
                }
                let view = self.views.get(&session);
                let sender = view
                    .and_then(|view| view.party(message.from))
                    .map(|party| party.user.clone());
                let by_phone = |party: &&ImParty| {
                    party.by_phone && party.standing == ImStanding::Connected && Some(&party.user) != sender.as_ref()
                };
                let parties = view.into_iter().flat_map(|view| &view.parties);
                let phones = parties
                    .filter(by_phone)
                    .map(|party| user_of(party.user.as_str()))
                    .collect();
                let to = to.iter().map(|user| user_of(user.as_str())).collect();
                let said = Said {
                    to,
                    phones,
                    ..Said::new(session, seq, self.crashes)
                };
                if self.said.insert(message.text.into(), said).is_some() {
                    return Err(format!("{seq} of {session} is said twice"));
                }
            }
            Event::ImFailed {
                session, seq, failure, ..
            } => {
                let party = self.views.get(&session).and_then(|view| view.party(failure.party));
                let user = party.map(|party| user_of(party.user.as_str()));
                let said = self
                    .said
                    .values_mut()
                    .find(|said| (said.session, said.seq) == (session, seq));
                if said.is_none() {
                    self.failed.insert((session, seq));
                }
                if let Some(said) = said {
                    said.settled.extend(user);
                    said.failed.extend(user.map(|user| (user, self.crashes)));
                    // After a crash nobody here knows yet who that is.
                    said.is_open &= user.is_some();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn show(&mut self, user: &Aor, transcript: ImTranscript) {
        for page in self
            .pages
            .iter_mut()
            .filter(|page| page.is_here && aor(page.user) == *user)
        {
            page.show(transcript.clone());
        }
    }

    /// An answer to a command: what it says that must not be.
    pub fn on_answer(&mut self, token: Token, answer: Answer) -> Result<(), String> {
        match (self.asked.remove(&token), answer) {
            (Some(Asked::Say(text)), Answer::Sent(message)) if *message.text != *text => {
                Err(format!("{text} is answered as {}", message.text))
            }
            (Some(Asked::Say(text)), Answer::Refused(_)) if self.said.contains_key(&text) => {
                Err(format!("{text} is refused, and was said"))
            }
            (Some(Asked::Bar(page)), Answer::Sessions(sessions)) => self.on_bar(page, sessions),
            (Some(Asked::Check(page)), Answer::Sessions(sessions)) => self.check(page, &sessions),
            (Some(Asked::Views), Answer::Sessions(sessions)) => {
                let sessions = sessions.into_iter().map(|one| (one.session.id, one.session));
                self.views = sessions.collect();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A page has come: nothing that its user said and that was answered is missing.
    fn on_bar(&mut self, page: usize, sessions: Vec<ImTranscript>) -> Result<(), String> {
        let page = &mut self.pages[page];
        for transcript in sessions {
            for (text, said) in self
                .said
                .iter()
                .filter(|(_, said)| said.session == transcript.session.id)
            {
                let is_there = transcript.messages.iter().any(|message| *message.text == **text);
                let takes_part = transcript.session.includes(&aor(page.user));
                if takes_part && !is_there {
                    return Err(format!("{text}, number {}, is lost for page {}", said.seq, page.user));
                }
            }
            page.show(transcript);
        }
        Ok(())
    }

    /// What a page made of its events is what the switch would show it now.
    fn check(&self, page: usize, sessions: &[ImTranscript]) -> Result<(), String> {
        let page = &self.pages[page];
        let plain = |session: &ImSession| {
            let parties = session.parties.iter();
            let parties: Vec<_> = parties.map(|party| (party.id, party.standing, party.state)).collect();
            (session.id, session.state, session.end, parties)
        };
        let mut shown: Vec<_> = page.bar.values().map(|(session, _)| plain(session)).collect();
        let mut present: Vec<_> = sessions.iter().map(|one| plain(&one.session)).collect();
        shown.sort_by_key(|one| one.0);
        present.sort_by_key(|one| one.0);
        match shown == present {
            true => Ok(()),
            false => Err(format!(
                "page {} shows\n{shown:?}\nand there is\n{present:?}",
                page.user
            )),
        }
    }

    /// The switch sends a text of a session to a phone, for the first time or again: what must not be about that.
    pub fn on_sent(&self, text: &Text) -> Result<(), String> {
        let user = user_of(text.get("To"));
        let failed = self.said.get(text.words()).and_then(|said| said.failed.get(&user));
        match failed {
            Some(crashes) if *crashes == self.crashes => {
                Err("the switch sends a text of which it has said that it failed".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// A phone has taken what a session sent it: what must not be about that.
    pub fn on_taken(&mut self, now: Mono, text: &Text, user: usize, device: usize) -> Result<(), String> {
        let words = text.words().to_owned();
        let session = text.get("X-IM-Session").parse::<SessionId>()?;
        self.partners.insert(device, user_of(text.get("From")));
        if words.starts_with('(') {
            return Ok(());
        }
        if self.crashes > 0 && !self.said.contains_key(&words) {
            // It was on disk when the switch died, and nobody had been told.
            let seq = u64::from(text.cseq() / 256);
            let is_open = !self.failed.contains(&(session, seq));
            let said = Said {
                is_open,
                ..Said::new(session, seq, self.crashes)
            };
            self.said.insert(words.clone(), said);
        }
        let Some(said) = self.said.get_mut(&words).filter(|said| said.session == session) else {
            return Err("a phone gets what nobody said in that session".to_owned());
        };
        said.came.insert(user);
        said.came_at = now;
        // Of several devices the first one counts; another may be behind. What a page shows too is sent to a phone once at
        // most: a slow one may show what the old switch sent after what the new one did.
        let is_of_old = said.crashes < self.crashes && user < self.pages.len();
        // What a device has refused comes behind the others when it is asked anew.
        let is_in_order = said.is_open && !is_of_old && !self.refused.contains(&words);
        if said.settled.insert(user) && is_in_order {
            let last = self.last_taken.insert((user, session), said.seq);
            if let Some(last) = last.filter(|last| *last > said.seq) {
                return Err(format!("user {user} gets number {} after number {last}", said.seq));
            }
        }
        let name = (text.call_id().to_owned(), text.cseq());
        match self.names.insert((device, words), name.clone()) {
            Some(first) if first != name => Err(format!("a phone cannot know a text again: {first:?}, now {name:?}")),
            _ => Ok(()),
        }
    }

    /// A phone is told what became of a text with one who was to get it: what it says that must not be.
    pub fn on_told(&self, words: &str, reader: usize, mark: Mark) -> Result<(), &'static str> {
        let Some(said) = self.said.get(words) else {
            return Ok(());
        };
        // What a page has said before a crash may not be known here.
        let is_sure = said.crashes == self.crashes;
        match mark {
            Mark::Delivered if is_sure && !said.came.contains(&reader) => Err("told delivered, and it came nowhere"),
            Mark::Displayed if is_sure && !said.shown.contains(&reader) => {
                Err("told displayed, and no page has shown it")
            }
            Mark::Failed if said.failed.get(&reader) == Some(&self.crashes) || !is_sure => Ok(()),
            Mark::Failed if said.came.contains(&reader) => Err("told failed, and it has come"),
            _ => Ok(()),
        }
    }

    /// Whether this text has come to another one who took part when it was said.
    pub fn is_taken(&self, words: &str, sender: usize) -> bool {
        let said = self.said.get(words).filter(|said| !said.unsure);
        said.is_some_and(|said| said.to.intersection(&said.came).any(|user| *user != sender))
    }

    /// A page has said that all texts of a session have come, or were displayed.
    fn on_read(&mut self, now: Mono, user: usize, session: SessionId, displayed: bool) {
        for said in self.said.values_mut().filter(|said| said.session == session) {
            said.came_at = if said.came.insert(user) { now } else { said.came_at };
            if displayed {
                said.shown.insert(user);
            }
        }
    }

    /// A phone refuses a text.
    pub fn on_refused(&mut self, words: &str, device: usize, for_good: bool) {
        self.refused.insert(words.to_owned());
        if for_good {
            self.refused_for_good.insert((device, words.to_owned()));
        }
    }

    /// Whether this phone has this text already.
    pub fn has(&self, words: &str, device: usize) -> bool {
        self.names.contains_key(&(device, words.to_owned()))
    }

    /// At the end: who took part by phone has it all, but for what each of his phones has refused for good.
    fn check_said(&self, devices_of: impl Fn(usize) -> Vec<usize>) -> Result<(), (String, String)> {
        for (text, said) in self.said.iter().filter(|(_, said)| said.is_open) {
            let has_refused = |device| self.refused_for_good.contains(&(device, text.clone()));
            let is_wanted = |user: &&usize| !devices_of(**user).into_iter().all(has_refused);
            if let Some(user) = said.phones.difference(&said.settled).find(is_wanted) {
                let (seq, session) = (said.seq, said.session);
                return Err((
                    text.clone(),
                    format!("user {user} never got {text}, number {seq} of {session}"),
                ));
            }
        }
        Ok(())
    }

    /// Somebody who is asked, or takes part, as a page shows it.
    fn some(&self, page: usize, wanted: impl Fn(&ImSession, &ImParty) -> bool) -> Vec<(SessionId, PartyId)> {
        let page = &self.pages[page];
        let own = page.bar.values().filter_map(|(session, _)| {
            let party = session.party_of(&aor(page.user))?;
            wanted(session, party).then_some((session.id, party.id))
        });
        own.collect()
    }
}

impl Page {
    fn show(&mut self, ImTranscript { session, messages }: ImTranscript) {
        let last = messages.last().map_or(0, |message| message.seq);
        self.bar.insert(session.id, (session, last));
    }

    fn leave(&mut self) {
        self.is_here = false;
        self.bar.clear();
    }
}

impl World {
    fn ask(&mut self, command: Command, asked: Asked) {
        let talk = &mut self.ledger.talk;
        talk.last_token += 1;
        let token = talk.last_token;
        talk.asked.insert(token, asked);
        self.command(token, command);
    }

    fn act(&mut self, page: usize, verb: ImVerb, asked: Asked) {
        self.ledger.count(verb.name());
        let by = By::User(aor(self.ledger.talk.pages[page].user));
        let client = "".into();
        self.ask(Command::Im(Box::new(ImAct { by, client, verb })), asked);
    }

    /// From now on events are told.
    pub fn watch(&mut self) {
        let (scope, user) = (None, None);
        self.ask(Command::Snapshot { scope, user }, Asked::Any);
    }

    fn new_text(&mut self) -> String {
        self.ledger.talk.written += 1;
        format!("text-{:09}", self.ledger.talk.written)
    }

    /// Says that a page is there, or no more.
    fn say_aware(&mut self, page: usize, on: bool) {
        let (user, lease) = (aor(self.ledger.talk.pages[page].user), page as u64);
        self.ask(Command::Aware { user, lease, on }, Asked::Any);
    }

    fn renew(&mut self) {
        for page in 0..self.ledger.talk.pages.len() {
            if self.ledger.talk.pages[page].is_here {
                self.say_aware(page, true);
            }
        }
    }

    fn come(&mut self, page: usize) {
        self.ledger.talk.pages[page].is_here = true;
        self.say_aware(page, true);
        let user = Some(aor(self.ledger.talk.pages[page].user));
        let session = None;
        self.ask(Command::ImSessions { user, session }, Asked::Bar(page));
    }

    fn go(&mut self, page: usize) {
        self.ledger.talk.pages[page].leave();
        self.say_aware(page, false);
    }

    fn check_page(&mut self, page: usize) {
        let user = Some(aor(self.ledger.talk.pages[page].user));
        self.ask(Command::ImSessions { user, session: None }, Asked::Check(page));
    }

    /// Somebody at a page does something.
    fn click(&mut self, page: usize) {
        let talk = &self.ledger.talk;
        let takes_part = |party: &ImParty| party.standing == ImStanding::Connected;
        let invited = talk.some(page, |_, party| party.standing == ImStanding::Invited);
        let open = talk.some(page, |session, party| {
            session.state != ImState::Ended && takes_part(party)
        });
        let up = talk.some(page, |session, party| {
            session.state == ImState::Connected && takes_part(party)
        });
        let over = talk.some(page, |session, _| session.state == ImState::Ended);
        let random = &mut self.random;
        let mut one_of = |list: &[(SessionId, PartyId)]| list.get(random.below(list.len())).copied();
        let (invited, open, up, over) = (one_of(&invited), one_of(&open), one_of(&up), one_of(&over));
        let target: Box<str> = (1000 + self.random.below(self.users)).to_string().into();
        let whom = self.random.below(8);
        match (self.random.below(100), invited, open, up, over) {
            (0..=9, ..) => {
                let words = self.new_text();
                let (interaction, text) = (None, Some(words.clone().into()));
                self.act(
                    page,
                    ImVerb::Open {
                        target,
                        interaction,
                        text,
                    },
                    Asked::Say(words),
                );
            }
            (10..=24, Some((session, _)), ..) => self.act(page, ImVerb::Accept { session }, Asked::Any),
            (25..=27, Some((session, _)), ..) => self.act(page, ImVerb::Reject { session }, Asked::Any),
            (10..=59, _, Some((session, _)), ..) => {
                let words = self.new_text();
                let text = words.clone().into();
                self.act(page, ImVerb::Send { session, text }, Asked::Say(words));
            }
            (60..=67, _, _, Some((session, _)), _) => self.act(page, ImVerb::End { session }, Asked::Any),
            (68..=77, _, _, _, Some((session, _))) => self.act(page, ImVerb::Done { session }, Asked::Any),
            (78..=82, _, _, Some((session, _)), _) => {
                let displayed = target.ends_with(['1', '3', '5']);
                let user = self.ledger.talk.pages[page].user;
                let now = self.now;
                self.ledger.talk.on_read(now, user, session, displayed);
                self.act(
                    page,
                    ImVerb::Read {
                        session,
                        seq: u64::MAX,
                        displayed,
                    },
                    Asked::Any,
                );
            }
            (83..=86, _, _, Some((session, _)), _) => self.act(page, ImVerb::Typing { session, on: true }, Asked::Any),
            (87..=92, _, _, Some((session, _)), _) => self.act(page, ImVerb::Add { session, target }, Asked::Any),
            (93..=94, _, _, Some((session, _)), _) => self.act(page, ImVerb::Transfer { session, target }, Asked::Any),
            (95..=96, _, _, Some((session, _)), _) => {
                let view = self.ledger.talk.views.get(&session);
                let party = view.and_then(|view| view.parties.get(whom)).map(|party| party.id);
                if let Some(party) = party {
                    self.act(page, ImVerb::Drop { session, party }, Asked::Any);
                }
            }
            (97..=98, ..) => self.check_page(page),
            (99, ..) => self.go(page),
            _ => {}
        }
    }

    /// Somebody with a phone writes, mostly to who wrote to him.
    fn reply(&mut self) {
        let index = self.random.below(self.phones.len());
        let partner = self.ledger.talk.partners.get(&index).copied();
        let partner = partner.filter(|partner| *partner < self.users && self.random.permille(800));
        let reader = partner.unwrap_or_else(|| self.random.below(self.users));
        if self.phones[index].online && reader != self.phones[index].user {
            self.with_phone(index, |phone, cx| phone.write(cx, reader));
        }
    }
}

/// Plays a script in which half the users have pages, until so much was said.
pub fn play(script: &Script, texts: u64, test: &str) -> World {
    let mut world = prepare(script, test);
    let pages = (0..script.users / 2).map(|user| Page {
        user,
        is_here: false,
        bar: BTreeMap::new(),
    });
    world.ledger.talk.pages = pages.collect();
    world.watch();
    let mut away: Vec<(Mono, usize)> = Vec::new();
    let mut renewed = world.now;
    while (world.ledger.talk.said.len() as u64) < texts {
        world.run_for(TICK);
        for page in 0..world.ledger.talk.pages.len() {
            match (world.ledger.talk.pages[page].is_here, world.is_up()) {
                (true, _) if world.random.permille(150) => world.click(page),
                (false, true) if world.random.permille(20) => world.come(page),
                _ => {}
            }
        }
        if world.now.since(renewed) > RENEWAL {
            renewed = world.now;
            world.renew();
        }
        if world.random.permille(script.letter_rate) {
            world.reply();
        }
        if leave_and_come(&mut world, script, &mut away) {
            world.run_for(Duration::from_secs(2));
            let (user, session) = (None, None);
            world.ask(Command::ImSessions { user, session }, Asked::Views);
        }
    }
    world.store.failing = 0;
    wind_down(&mut world);
    world
}

/// Everybody comes, gets what waits, ends what is open and closes it: nothing is left.
fn wind_down(world: &mut World) {
    let pages = world.ledger.talk.pages.len();
    for page in 0..pages {
        if !world.ledger.talk.pages[page].is_here {
            world.come(page);
        }
    }
    world.run_for(Duration::from_secs(60));
    letters_arrive(world);
    for page in 0..pages {
        world.check_page(page);
    }
    let (user, session) = (None, None);
    world.ask(Command::ImSessions { user, session }, Asked::Views);
    // Nobody answers these any more.
    let open: Vec<SessionId> = world.ledger.talk.views.keys().copied().collect();
    for session in open {
        let (by, client) = (By::Operator(None), "".into());
        let verb = ImVerb::End { session };
        world.ask(Command::Im(Box::new(ImAct { by, client, verb })), Asked::Any);
    }
    world.run_for(Duration::from_secs(60));
    for page in 0..pages {
        world.check_page(page);
        for (session, _) in world.ledger.talk.some(page, |_, _| true) {
            world.act(page, ImVerb::Done { session }, Asked::Any);
        }
    }
    world.run_for(Duration::from_secs(600));
    if let Err((text, why)) = world.ledger.talk.check_said(devices_of(world)) {
        world.violated(&text, &why);
    }
    let left = (world.figure("im_sessions"), world.store.sessions());
    if left != (0, (0, 0)) {
        world.violated(
            "",
            &format!("sessions are left, and sessions and texts on disk: {left:?}"),
        );
    }
    for page in 0..pages {
        world.go(page);
    }
    finish(world);
}

impl Ledger {
    /// How much was said, and how much of it by phones.
    pub fn said(&self) -> (usize, usize) {
        let said = &self.talk.said;
        (
            said.len(),
            said.keys().filter(|text| text.starts_with("letter-")).count(),
        )
    }
}
