//! Any order of verbs, of phones that answer this or that, of workspaces that come and go, and of restarts: no session without
//! parties, nobody asked for ever, every text to each once, all agree on state and order, and in the end nothing is left.

use super::*;
use crate::testing::OnMessage;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Step {
    Open(usize, usize),
    Say(usize, usize),
    Accept(usize, usize),
    Reject(usize, usize),
    End(usize, usize),
    Done(usize, usize),
    Add(usize, usize, usize),
    Transfer(usize, usize, usize),
    Drop(usize, usize, usize),
    Typing(usize, usize),
    Read(usize, usize, u64),
    Text(usize, usize),
    Phone(usize, u16),
    Sit(usize),
    GetUp(usize),
    Wait(u64),
    Restart,
    Store(bool),
}

const USERS: [&str; 5] = ["1000", "1001", "1002", "1003", "1004"];

fn step() -> impl Strategy<Value = Step> {
    let user = 0..USERS.len();
    let which = 0usize..6;
    prop_oneof![
        3 => (user.clone(), user.clone()).prop_map(|(a, b)| Step::Open(a, b)),
        6 => (user.clone(), which.clone()).prop_map(|(a, n)| Step::Say(a, n)),
        4 => (user.clone(), which.clone()).prop_map(|(a, n)| Step::Accept(a, n)),
        1 => (user.clone(), which.clone()).prop_map(|(a, n)| Step::Reject(a, n)),
        2 => (user.clone(), which.clone()).prop_map(|(a, n)| Step::End(a, n)),
        3 => (user.clone(), which.clone()).prop_map(|(a, n)| Step::Done(a, n)),
        3 => (user.clone(), which.clone(), user.clone()).prop_map(|(a, n, b)| Step::Add(a, n, b)),
        2 => (user.clone(), which.clone(), user.clone()).prop_map(|(a, n, b)| Step::Transfer(a, n, b)),
        1 => (user.clone(), which.clone(), user.clone()).prop_map(|(a, n, b)| Step::Drop(a, n, b)),
        1 => (user.clone(), which.clone()).prop_map(|(a, n)| Step::Typing(a, n)),
        1 => (user.clone(), which, 0u64..9).prop_map(|(a, n, seq)| Step::Read(a, n, seq)),
        3 => (user.clone(), user.clone()).prop_map(|(a, b)| Step::Text(a, b)),
        2 => (user.clone(), prop_oneof![Just(0u16), Just(200), Just(405), Just(480), Just(486)])
            .prop_map(|(a, status)| Step::Phone(a, status)),
        1 => user.clone().prop_map(Step::Sit),
        1 => user.prop_map(Step::GetUp),
        3 => (1u64..40).prop_map(Step::Wait),
        1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::Store),
    ]
}

/// The people and their phones.
struct Crowd {
    desk: Desk,
    phones: Vec<usize>,
    texts: u64,
    restarts: u32,
}

impl Crowd {
    fn new() -> Crowd {
        let mut desk = Desk::with(&USERS[..4]);
        let phones = USERS.iter().map(|user| desk.phone(user)).collect();
        let (texts, restarts) = (0, 0);
        Crowd {
            desk,
            phones,
            texts,
            restarts,
        }
    }

    /// One of the sessions in a user's bar.
    fn session(&mut self, user: usize, which: usize) -> Option<ImSession> {
        let bar = self.desk.bar(USERS[user]);
        let place = which.checked_rem(bar.len())?;
        Some(bar.into_iter().nth(place)?.session)
    }

    fn act(&mut self, user: usize, which: usize, verb: impl FnOnce(&ImSession) -> Option<ImVerb>) {
        let session = self.session(user, which);
        if let Some(verb) = session.as_ref().and_then(verb) {
            self.desk.try_act(USERS[user], verb);
        }
    }

    fn text(&mut self) -> Box<str> {
        self.texts += 1;
        format!("text {}", self.texts).into()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Open(user, target) => {
                let target = USERS[target].into();
                let (interaction, text) = (None, None);
                let open = ImVerb::Open {
                    target,
                    interaction,
                    text,
                };
                self.desk.try_act(USERS[user], open);
            }
            Step::Say(user, which) => {
                let text = self.text();
                self.act(user, which, |one| Some(ImVerb::Send { session: one.id, text }));
            }
            Step::Accept(user, which) => self.act(user, which, |one| Some(ImVerb::Accept { session: one.id })),
            Step::Reject(user, which) => self.act(user, which, |one| Some(ImVerb::Reject { session: one.id })),
            Step::End(user, which) => self.act(user, which, |one| Some(ImVerb::End { session: one.id })),
            Step::Done(user, which) => self.act(user, which, |one| Some(ImVerb::Done { session: one.id })),
            Step::Add(user, which, target) => {
                let target = USERS[target].into();
                self.act(user, which, |one| {
                    Some(ImVerb::Add {
                        session: one.id,
                        target,
                    })
                });
            }
            Step::Transfer(user, which, target) => {
                let target = USERS[target].into();
                self.act(user, which, |one| {
                    Some(ImVerb::Transfer {
                        session: one.id,
                        target,
                    })
                });
            }
            Step::Drop(user, which, whom) => self.act(user, which, |one| {
                let party = one.party_of(&aor(USERS[whom]))?.id;
                Some(ImVerb::Drop { session: one.id, party })
            }),
            Step::Typing(user, which) => self.act(user, which, |one| {
                Some(ImVerb::Typing {
                    session: one.id,
                    on: true,
                })
            }),
            Step::Read(user, which, seq) => {
                self.act(user, which, |one| Some(read(one.id, seq)));
            }
            Step::Text(user, target) => {
                let text = self.text();
                let phone = self.phones[user];
                self.desk.world.message(phone, USERS[target], &text);
            }
            Step::Phone(user, status) => {
                self.desk.world.phones[self.phones[user]].on_message = match status {
                    0 => OnMessage::Ignore,
                    200 => OnMessage::Take,
                    status => OnMessage::Refuse(status),
                };
            }
            Step::Sit(user) => self.desk.sit_down(USERS[user]),
            Step::GetUp(user) => self.desk.get_up(USERS[user]),
            Step::Wait(seconds) => self.desk.run_s(seconds),
            Step::Restart => {
                self.restarts += 1;
                self.desk.world.restart();
                let (scope, user) = (None, None);
                self.desk.world.command(Command::Snapshot { scope, user });
            }
            Step::Store(works) => {
                self.desk.world.store.failing = (!works).then_some(model::StoreError::Full);
            }
        }
        self.desk.world.run_ms(5);
        assert_eq!(self.desk.world.switch.audit(), Ok(()));
        self.agree();
    }

    /// All who take part see the same messages in the same order, and are shown states that fit each other.
    fn agree(&mut self) {
        let bars: Vec<(usize, ImTranscript)> = (0..USERS.len())
            .flat_map(|user| self.desk.bar(USERS[user]).into_iter().map(move |one| (user, one)))
            .collect();
        for (user, one) in &bars {
            let view = &one.session;
            let own = view.party_of(&aor(USERS[*user])).unwrap();
            assert!(!own.done && !view.parties.is_empty());
            assert!(one.messages.is_sorted_by(|a, b| a.seq < b.seq));
            for (other, same) in bars.iter().filter(|(_, same)| same.session.id == view.id) {
                assert_eq!(same.session, *view, "{} and {}", USERS[*user], USERS[*other]);
                let their = view.party_of(&aor(USERS[*other])).unwrap();
                let both = [own, their].map(|party| party.standing == ImStanding::Connected);
                if both == [true, true] {
                    assert_eq!(one.messages, same.messages);
                    assert_eq!(own.state, their.state);
                }
            }
        }
    }

    /// Pages are told each text once; a phone that gets one twice, which a restart may bring about, knows it again.
    fn each_text_came_once(&self) {
        let mut told = BTreeSet::new();
        for notice in &self.desk.world.notices {
            if let Notice::Event(occurrence) = notice
                && let Event::ImMessage { message, .. } = &occurrence.event
            {
                assert!(told.insert((message.session, message.seq)), "told twice: {message:?}");
            }
        }
        for phone in &self.desk.world.phones {
            let mut names: BTreeMap<String, (Vec<u8>, u32)> = BTreeMap::new();
            let taken = phone.taken.iter().map(|(_, message)| message);
            for message in taken.filter(|message| message.header_named("X-IM-Session").is_some()) {
                let text = String::from_utf8_lossy(message.body_bytes()).into_owned();
                let name = (message.call_id().to_vec(), message.cseq());
                let is_new = self.restarts == 0 && names.contains_key(&text);
                if text.starts_with("text ") {
                    let first = names.entry(text).or_insert_with(|| name.clone());
                    assert!(*first == name && !is_new, "{} cannot know a text again", phone.user);
                }
            }
        }
    }

    /// Everybody goes home.
    fn close(&mut self) {
        self.desk.world.store.failing = None;
        for phone in self.phones.clone() {
            self.desk.world.phones[phone].on_message = OnMessage::Take;
        }
        self.desk.run_s(90);
        let bars: Vec<ImTranscript> = USERS.iter().flat_map(|user| self.desk.bar(user)).collect();
        let mut parties = bars.iter().flat_map(|one| &one.session.parties);
        assert!(
            parties.all(|party| party.standing != ImStanding::Invited),
            "asked for ever"
        );
        self.each_text_came_once();
        for _ in 0..3 {
            for user in USERS {
                for one in self.desk.bar(user) {
                    let session = one.session.id;
                    self.desk.try_act(user, ImVerb::End { session });
                    self.desk.run_s(1);
                    self.desk.try_act(user, ImVerb::Done { session });
                }
            }
            self.desk.run_s(40);
        }
        assert_eq!(self.desk.figure("im_sessions"), 0);
        assert!(self.desk.world.store.sessions.is_empty());
        assert!(self.desk.world.store.said.is_empty(), "no text outlives its session");
    }
}

/// Sequences of some thirty verbs: unless `TANDEM_SEQUENCES` says how many verbs there are to be in all.
#[allow(clippy::disallowed_methods)] // a test's own count
fn cases() -> u32 {
    let wanted = std::env::var("TANDEM_SEQUENCES").ok();
    let wanted: Option<u32> = wanted.and_then(|count| count.parse().ok());
    (wanted.unwrap_or(2_000) / 30).max(1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn any_order_of_verbs_leaves_all_agreed_and_nothing_behind(steps in prop::collection::vec(step(), 1..60)) {
        let mut crowd = Crowd::new();
        for step in steps {
            crowd.take(step);
        }
        crowd.close();
    }
}
