//! Sessions of messages seen from outside, in virtual time: people at websockets are commands and events, phones are phones.

mod bounds;
mod combinations;
mod consult;
mod group;
mod party;
mod phones;
mod random;
mod recall;
mod receipts;
mod restart;
mod retention;
mod typing;
mod workspace;

use crate::testing::{World, config};
use crate::{Answer, By, Command, Config, ImAct, ImVerb, Notice, Refusal};
use model::{Aor, Event, ImMessage, ImParty, ImSession, ImStanding, ImState, ImTranscript, PartyId, SessionId};
use sip::{Headers, Name};
use std::time::Duration;

/// A switch with people at it.
pub(super) struct Desk {
    pub(super) world: World,
}

pub(super) fn aor(user: &str) -> Aor {
    Aor::new(user, crate::testing::DOMAIN)
}

impl Desk {
    /// Somebody watches, so that events are told.
    pub(super) fn new(config: Config) -> Desk {
        let mut world = World::new(config, 1);
        let (scope, user) = (None, None);
        world.command(Command::Snapshot { scope, user });
        Desk { world }
    }

    /// These users have a workspace open.
    pub(super) fn with(users: &[&str]) -> Desk {
        let mut desk = Desk::new(config());
        users.iter().for_each(|user| desk.sit_down(user));
        desk
    }

    pub(super) fn sit_down(&mut self, user: &str) {
        let lease = user.parse().unwrap();
        let answer = self.world.command(Command::Aware {
            user: aor(user),
            lease,
            on: true,
        });
        assert_eq!(answer, Answer::Done(1));
    }

    pub(super) fn get_up(&mut self, user: &str) {
        let lease = user.parse().unwrap();
        self.world.command(Command::Aware {
            user: aor(user),
            lease,
            on: false,
        });
    }

    /// A registered phone.
    pub(super) fn phone(&mut self, user: &str) -> usize {
        let phone = self.world.phone(user);
        assert_eq!(self.world.register(phone), 200);
        phone
    }

    /// A registered phone that takes these bodies, and says so.
    pub(super) fn phone_that_takes(&mut self, user: &str, accept: &str) -> usize {
        let phone = self.world.phone(user);
        let contact = format!("<{}>", self.world.phones[phone].contact());
        let headers = Headers::new().with(Name::Contact, contact).with(Name::Accept, accept);
        let number = self.world.with(phone, |phone, now| phone.register_with(now, headers));
        assert_eq!(self.world.finish(phone, number), 200);
        phone
    }

    pub(super) fn try_act(&mut self, user: &str, verb: ImVerb) -> Answer {
        let by = By::User(aor(user));
        let client = "".into();
        let answer = self.world.ask(Command::Im(Box::new(ImAct { by, client, verb })));
        assert_eq!(self.world.switch.audit(), Ok(()));
        answer
    }

    pub(super) fn act(&mut self, user: &str, verb: ImVerb) -> Answer {
        match self.try_act(user, verb.clone()) {
            Answer::Refused(why) => panic!("{user} {verb:?}: {why:?}"),
            answer => answer,
        }
    }

    pub(super) fn refusal(&mut self, user: &str, verb: ImVerb) -> Refusal {
        match self.try_act(user, verb.clone()) {
            Answer::Refused(why) => why,
            other => panic!("{user} {verb:?}: {other:?}"),
        }
    }

    pub(super) fn open(&mut self, user: &str, target: &str) -> SessionId {
        let target = target.into();
        let verb = ImVerb::Open {
            target,
            interaction: None,
            text: None,
        };
        match self.act(user, verb) {
            Answer::Session(transcript) => transcript.session.id,
            other => panic!("{other:?}"),
        }
    }

    /// A session in which the first message has been said.
    pub(super) fn invite(&mut self, user: &str, target: &str, text: &str) -> SessionId {
        let session = self.open(user, target);
        self.say(user, session, text);
        session
    }

    /// A session of two that is up.
    pub(super) fn connect(&mut self, user: &str, target: &str) -> SessionId {
        let session = self.invite(user, target, "hello");
        self.act(target, ImVerb::Accept { session });
        session
    }

    pub(super) fn say(&mut self, user: &str, session: SessionId, text: &str) -> ImMessage {
        let text = text.into();
        match self.act(user, ImVerb::Send { session, text }) {
            Answer::Sent(message) => *message,
            other => panic!("{other:?}"),
        }
    }

    /// What this user is shown now.
    pub(super) fn bar(&mut self, user: &str) -> Vec<ImTranscript> {
        let user = Some(aor(user));
        match self.world.command(Command::ImSessions { user, session: None }) {
            Answer::Sessions(sessions) => sessions,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn seen(&mut self, user: &str, session: SessionId) -> ImTranscript {
        let bar = self.bar(user);
        let found = bar.into_iter().find(|one| one.session.id == session);
        found.unwrap_or_else(|| panic!("{user} does not see {session}"))
    }

    /// The state that this user is to be shown.
    pub(super) fn state(&mut self, user: &str, session: SessionId) -> ImState {
        let seen = self.seen(user, session).session;
        seen.party_of(&aor(user)).unwrap().state
    }

    /// The texts that this user is shown.
    pub(super) fn texts(&mut self, user: &str, session: SessionId) -> Vec<String> {
        let messages = self.seen(user, session).messages;
        messages.iter().map(|message| message.text.to_string()).collect()
    }

    /// All events that this user has been told since the last time, in order.
    pub(super) fn told(&mut self, user: &str) -> Vec<Event> {
        let user = aor(user);
        let events = self.world.notices.iter().filter_map(|notice| match notice {
            Notice::Event(occurrence) => Some(occurrence.event.clone()),
            _ => None,
        });
        events
            .filter(|event| event.concerns(&user) && event.is_private())
            .collect()
    }

    pub(super) fn forget_told(&mut self) {
        self.world.notices.clear();
    }

    pub(super) fn run_s(&mut self, seconds: u64) {
        self.world.run(Duration::from_secs(seconds));
        assert_eq!(self.world.switch.audit(), Ok(()));
    }

    pub(super) fn figure(&self, name: &str) -> u64 {
        let counters = self.world.switch.counters();
        counters.values.iter().find(|value| value.0 == name).unwrap().1
    }
}

/// Everything up to this message was displayed.
pub(super) fn read(session: SessionId, seq: u64) -> ImVerb {
    let displayed = true;
    ImVerb::Read {
        session,
        seq,
        displayed,
    }
}

/// The party that a user is, in a view.
pub(super) fn party(session: &ImSession, user: &str) -> ImParty {
    session.party_of(&aor(user)).unwrap().clone()
}

pub(super) fn standings(session: &ImSession) -> Vec<(String, ImStanding)> {
    let parties = session.parties.iter();
    parties
        .map(|party| (party.user.user().to_owned(), party.standing))
        .collect()
}

pub(super) fn id_of(session: &ImSession, user: &str) -> PartyId {
    party(session, user).id
}
