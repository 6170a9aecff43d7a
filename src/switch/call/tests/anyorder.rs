//! Whatever two users and their three phones do in whatever order, the switch stays legal (S24) and forgets all of it (S23):
//! every INVITE gets one final answer, every leg one record, every port comes back.

use super::*;
use crate::{Answer, Command};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One thing that somebody does.
#[derive(Clone, Debug)]
enum Act {
    /// A phone calls.
    Call { phone: usize, dials: usize, offers: bool },
    /// A phone takes its next message, and does this about it.
    Take { phone: usize, with: usize },
    /// A phone does this in its dialog.
    Does { phone: usize, dialog: usize, what: Verb },
    /// A phone sends its last request again.
    Repeats { phone: usize },
    /// So many milliseconds pass.
    Wait(u64),
    /// An operator hangs up the oldest call.
    HangUp,
}

#[derive(Copy, Clone, Debug)]
enum Verb {
    Bye,
    Cancel,
    Offer,
    AskForOffer,
    Update,
    Refresh,
    Info,
    Message,
    Refer,
    StrayAck,
}

const VERBS: [Verb; 10] = [
    Verb::Bye,
    Verb::Cancel,
    Verb::Offer,
    Verb::AskForOffer,
    Verb::Update,
    Verb::Refresh,
    Verb::Info,
    Verb::Message,
    Verb::Refer,
    Verb::StrayAck,
];

/// What a phone answers to a request: status, and whether it describes itself. 0 is nothing at all.
const ANSWERS: [(u16, bool); 14] = [
    (180, false),
    (183, true),
    (200, true),
    (200, true),
    (200, true),
    (200, false),
    (486, false),
    (603, false),
    (302, false),
    (401, false),
    (481, false),
    (491, false),
    (500, false),
    (0, false),
];

const DIALS: [&str; 5] = ["1000", "1001", "9196", "1002", "4711"];

fn act() -> impl Strategy<Value = Act> {
    let phone = 0..3usize;
    prop_oneof![
        3 => (phone.clone(), 0..DIALS.len(), prop::bool::weighted(0.8))
            .prop_map(|(phone, dials, offers)| Act::Call { phone, dials, offers }),
        12 => (phone.clone(), 0..ANSWERS.len()).prop_map(|(phone, with)| Act::Take { phone, with }),
        6 => (phone.clone(), 0..4usize, prop::sample::select(&VERBS[..]))
            .prop_map(|(phone, dialog, what)| Act::Does { phone, dialog, what }),
        1 => phone.prop_map(|phone| Act::Repeats { phone }),
        3 => prop_oneof![0..50u64, 0..5_000u64, 0..70_000u64].prop_map(Act::Wait),
        1 => Just(Act::HangUp),
    ]
}

/// The phones, and what they know.
struct Crowd {
    lab: Lab,
    phones: Vec<Handset>,
    dialogs: Vec<Vec<Dialog>>,
    last: Vec<Option<bytes::Bytes>>,
    /// INVITEs from outside of dialogs: Call-ID and CSeq.
    invites: BTreeSet<(String, u32)>,
}

impl Crowd {
    fn new() -> Crowd {
        let mut lab = Lab::new();
        let phones = [("1000", 6000), ("1001", 6100), ("1001", 6200)]
            .map(|(user, port)| Handset::registered(&mut lab, user, port))
            .into();
        Crowd {
            lab,
            phones,
            dialogs: vec![vec![]; 3],
            last: vec![None; 3],
            invites: BTreeSet::new(),
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Call { phone, dials, offers } => self.call(phone, DIALS[dials], offers),
            Act::Take { phone, with } => self.take(phone, ANSWERS[with]),
            Act::Does { phone, dialog, what } => self.does(phone, dialog, what),
            Act::Repeats { phone } => {
                if let Some(bytes) = self.last[phone].clone() {
                    self.phones[phone].send(&mut self.lab, bytes);
                }
            }
            Act::Wait(ms) => self.lab.pass(Duration::from_millis(ms)),
            Act::HangUp => {
                if let Answer::Calls(calls) = self.lab.ask(Command::Calls)
                    && let Some(call) = calls.iter().find(|call| &*call.state != "ending")
                {
                    self.lab.ask(Command::Hangup(call.id));
                }
            }
        }
        self.lab.switch.audit().expect("the invariants hold after every step");
    }

    fn description(&self, phone: usize) -> String {
        sdp(7000 + 100 * u16::try_from(phone).expect("small"), &[0, 8, 101])
    }

    fn call(&mut self, phone: usize, dials: &str, offers: bool) {
        let offer = self.description(phone);
        let handset = &mut self.phones[phone];
        let uri = format!("sip:{dials}@example.com");
        let mut dialog = handset.new_dialog(&uri, &uri);
        let credentials = handset.credentials(Method::Invite, &uri);
        let extra = format!("Contact: <{}>\r\n{credentials}", handset.contact());
        let body = offers.then_some(("application/sdp", offer.as_str()));
        let request = handset.request(&mut dialog, Method::Invite, &extra, body);
        self.invites.insert((dialog.call_id.clone(), dialog.cseq));
        self.last[phone] = Some(request.clone());
        self.dialogs[phone].push(dialog);
        self.phones[phone].send(&mut self.lab, request);
    }

    fn take(&mut self, phone: usize, (status, describes): (u16, bool)) {
        let Some(message) = self.phones[phone].take(&mut self.lab) else {
            return;
        };
        let description = Some(self.description(phone)).filter(|_| describes);
        if !message.is_request() {
            return self.on_response(phone, &message, status != 0, description.as_deref());
        }
        let handset = &self.phones[phone];
        match message.method() {
            Method::Ack => {}
            Method::Invite | Method::Update => {
                if message.method() == Method::Invite && message.to_tag().is_empty() {
                    self.dialogs[phone].push(handset.dialog_of(&message));
                }
                if status != 0 {
                    handset.reply(&mut self.lab, &message, status, description.as_deref());
                }
            }
            _ if status >= 200 => handset.reply(&mut self.lab, &message, status, None),
            _ => {}
        }
    }

    fn on_response(&mut self, phone: usize, message: &Message, acknowledges: bool, answer: Option<&str>) {
        if message.method() != Method::Invite {
            return;
        }
        let call_id = String::from_utf8_lossy(message.call_id()).into_owned();
        let Some(dialog) = self.dialogs[phone].iter_mut().find(|dialog| dialog.call_id == call_id) else {
            return;
        };
        let handset = &mut self.phones[phone];
        match message.status() {
            101..=199 => handset.learn(dialog, message),
            200..=299 if acknowledges => handset.ack(&mut self.lab, dialog, message, answer),
            300..=699 if acknowledges => {
                let dialog = dialog.clone();
                handset.ack_failure(&mut self.lab, &dialog, message);
            }
            _ => {}
        }
    }

    fn does(&mut self, phone: usize, dialog: usize, what: Verb) {
        let offer = self.description(phone);
        let count = self.dialogs[phone].len();
        let Some(dialog) = self.dialogs[phone].get_mut(count.wrapping_sub(1 + dialog)) else {
            return;
        };
        let sdp = Some(("application/sdp", offer.as_str()));
        let (handset, lab) = (&mut self.phones[phone], &mut self.lab);
        let (method, extra, body) = match what {
            Verb::Cancel if dialog.branch.is_empty() => return,
            Verb::Cancel => return handset.cancel(lab, dialog, ""),
            Verb::Bye => (Method::Bye, "", None),
            Verb::Offer => (Method::Invite, "", sdp),
            Verb::AskForOffer => (Method::Invite, "", None),
            Verb::Update => (Method::Update, "", sdp),
            Verb::Refresh => (Method::Update, "", None),
            Verb::Info => (Method::Info, "", Some(("application/dtmf-relay", "Signal=1\r\n"))),
            Verb::Message => (Method::Message, "", Some(("text/plain", "hello"))),
            Verb::Refer => (Method::Refer, "Refer-To: <sip:1002@example.com>\r\n", None),
            Verb::StrayAck => (Method::Ack, "", sdp),
        };
        // A phone in mid-call does not know its own way back to "no dialog yet".
        if !dialog.remote.contains(";tag=") {
            return;
        }
        let extra = format!("Contact: <{}>\r\n{extra}", handset.contact());
        let request = handset.request(dialog, method, &extra, body);
        self.last[phone] = Some(request.clone());
        handset.send(lab, request);
    }

    /// Everybody falls silent, and operators end what is up.
    fn end(mut self) {
        for _ in 0..40 {
            self.act(&Act::HangUp);
        }
        self.lab.pass_s(70);
        self.lab.assert_clean();
        self.assert_answered_once();
    }

    /// An INVITE that comes again after its transaction is a new one, whose nonce count was used: 401 does not count as a
    /// second answer.
    fn assert_answered_once(&self) {
        let mut finals: BTreeMap<(String, u32), BTreeSet<u16>> = BTreeMap::new();
        for (_, _, message) in &self.lab.sent {
            if message.method() == Method::Invite && message.status() >= 200 {
                let call_id = String::from_utf8_lossy(message.call_id()).into_owned();
                let answers = finals.entry((call_id, message.cseq())).or_default();
                answers.insert(message.status());
            }
        }
        for invite in &self.invites {
            let answers = finals.get(invite).expect("an answer");
            let others = answers.iter().filter(|&&status| status != 401).count();
            assert!(others <= 1, "{invite:?}: {answers:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_requests_and_answers_leaves_nothing_behind(acts in prop::collection::vec(act(), 1..60)) {
        let mut crowd = Crowd::new();
        for act in &acts {
            crowd.act(act);
        }
        crowd.end();
    }
}
