//! Stories of requests that are passed on, message by message in virtual time: phones see each other's messages, and the
//! switch between them as a proxy.

mod breadth;
mod calls;
mod fork;
mod forward;
mod inside;
mod lossy;
mod record;
mod refusal;
mod trust;

use crate::call::tests::handset::{Dialog, Handset, sdp};
use crate::call::tests::lab::{self, Lab};
use crate::config::trunks::Mode;
use crate::config::{Action, Config, Pattern, Rule};
use sip::{Message, Method, Name};

/// The usual switch, which passes on what is for users; 9196 is its own.
fn config() -> Config {
    let mut config = lab::config();
    let mut users = Rule::new(Pattern::Digits("10XX".into()), Action::User(None));
    users.mode = Mode::Proxy;
    config.dialplan.insert(0, users);
    config
}

/// Two registered phones, 1000 and 1001.
fn pair() -> (Lab, Handset, Handset) {
    let mut lab = Lab::with(config());
    let kate = Handset::registered(&mut lab, "1000", 6000);
    let jim = Handset::registered(&mut lab, "1001", 6100);
    (lab, kate, jim)
}

/// A call of 1000 to 1001 that rings: the phones, the caller's dialog and the callee's INVITE.
fn ringing() -> (Lab, Handset, Handset, Dialog, Message) {
    let (mut lab, mut kate, jim) = pair();
    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    (lab, kate, jim, kates, invite)
}

/// The same, answered: both dialogs.
fn up() -> (Lab, Handset, Handset, Dialog, Dialog) {
    let (mut lab, mut kate, jim, mut kates, invite) = ringing();
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    jim.expect_request(&mut lab, Method::Ack);
    let jims = jim.dialog_of(&invite);
    (lab, kate, jim, kates, jims)
}

/// A phone dials a star code, which is obeyed.
fn dial_code(lab: &mut Lab, phone: &mut Handset, code: &str) {
    let mut dialog = phone.invite(lab, code, Some(&sdp(7000, &[0])));
    let ok = phone.expect(lab, 200);
    phone.ack(lab, &mut dialog, &ok, None);
    phone.send_in(lab, &mut dialog, Method::Bye, "", None);
    phone.expect(lab, 200);
}

/// A phone refuses an INVITE, and is told that this was heard.
fn refuse(lab: &mut Lab, phone: &Handset, invite: &Message, status: u16, extra: &str) {
    phone.reply_with(lab, invite, status, extra, None);
    phone.expect_request(lab, Method::Ack);
}

/// The caller is refused.
fn rejected(lab: &mut Lab, kate: &Handset, kates: &Dialog, status: u16) -> Message {
    let refusal = kate.expect(lab, status);
    kate.ack_failure(lab, kates, &refusal);
    refusal
}

/// The one value of a header.
fn header(message: &Message, name: Name) -> String {
    String::from_utf8_lossy(message.header(name).unwrap_or_default()).into_owned()
}

/// The values of a header.
fn values(message: &Message, name: Name) -> Vec<String> {
    let values = message.values(name);
    values
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}
