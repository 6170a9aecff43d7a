//! Stories of calls: a phone, the switch, a phone, message by message in virtual time.

mod anyorder;
mod bridge;
mod confer;
mod consult;
mod dtmf;
mod emergency;
mod ending;
mod enter;
mod fork;
mod handover;
mod hold;
mod line;
mod load;
mod named;
mod operator;
mod originate;
mod outside;
mod panic;
mod races;
mod record;
mod refusal;
mod relay;
mod reliable;
mod secure;
mod sequences;
mod service;
mod setup;
mod sips;
mod star;
mod supervise;
mod transfer;
mod verbs;
mod video;
mod watch;
mod written;

use crate::config::HoldMode;
pub(crate) use crate::testing::{handset, lab, stage};
use handset::{Dialog, Handset, hold, sdp};
use lab::Lab;
use model::{Direction, EndReason};
use sip::{Message, Method, Name};

/// Two registered phones, 1000 and 1001, and a caller's offer.
fn pair() -> (Lab, Handset, Handset) {
    let mut lab = Lab::new();
    let kate = Handset::registered(&mut lab, "1000", 6000);
    let jim = Handset::registered(&mut lab, "1001", 6100);
    (lab, kate, jim)
}

/// A call of 1000 to 1001 that is up: the phones, and their dialogs.
struct Up {
    lab: Lab,
    kate: Handset,
    jim: Handset,
    kates: Dialog,
    jims: Dialog,
}

fn up() -> Up {
    up_in(Lab::new(), &[0, 101])
}

/// The callee takes no packets for key presses.
fn up_without_keys() -> Up {
    up_in(Lab::new(), &[0])
}

/// Hold is passed from end to end.
fn up_passing_hold() -> Up {
    let mut config = lab::config();
    config.calls.hold = HoldMode::Pass;
    up_in(Lab::with(config), &[0, 101])
}

fn up_in(mut lab: Lab, answered: &[u8]) -> Up {
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let jim = Handset::registered(&mut lab, "1001", 6100);
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0, 8, 101])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, answered)));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    let jims = jim.dialog_of(&invite);
    Up {
        lab,
        kate,
        jim,
        kates,
        jims,
    }
}

/// A call of 1000 to 1001 that rings, with an offer: the phones, the caller's dialog and the callee's INVITE.
fn ringing() -> (Lab, Handset, Handset, Dialog, Message) {
    let (mut lab, mut kate, jim) = pair();
    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0, 8, 101])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    (lab, kate, jim, kates, invite)
}

/// The callee's phone takes a CANCEL: 200 to it, 487 to the INVITE, whose ACK is awaited. The CANCEL.
fn cancelled(lab: &mut Lab, phone: &Handset, invite: &Message) -> Message {
    let cancel = phone.expect_request(lab, Method::Cancel);
    phone.reply(lab, &cancel, 200, None);
    phone.reply(lab, invite, 487, None);
    phone.expect_request(lab, Method::Ack);
    cancel
}

/// The phone is told BYE, and answers. The BYE.
fn told_bye(lab: &mut Lab, phone: &Handset) -> Message {
    let bye = phone.expect_request(lab, Method::Bye);
    phone.reply(lab, &bye, 200, None);
    bye
}

impl Up {
    /// The caller hangs up, and nothing is left.
    fn end(mut self) {
        self.kate.send_in(&mut self.lab, &mut self.kates, Method::Bye, "", None);
        self.kate.expect(&mut self.lab, 200);
        told_bye(&mut self.lab, &self.jim);
        self.lab.assert_clean();
    }
}

/// Why each leg ended, the caller's first.
fn reasons(lab: &Lab) -> Vec<EndReason> {
    let mut records: Vec<_> = lab.records.iter().collect();
    records.sort_by_key(|cdr| cdr.direction != Direction::In);
    records.iter().map(|cdr| cdr.reason).collect()
}

/// The one value of a header.
fn header(message: &Message, name: Name) -> String {
    let value = message.header(name).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

/// The body as text.
fn body(message: &Message) -> String {
    String::from_utf8_lossy(&message.body()).into_owned()
}

/// The port of the audio stream in a body.
fn audio_port(message: &Message) -> u16 {
    let body = body(message);
    let line = body
        .lines()
        .find(|line| line.starts_with("m=audio "))
        .expect("an audio stream");
    line.split(' ')
        .nth(1)
        .and_then(|port| port.parse().ok())
        .expect("a port")
}
