//! Real softphones with one codec each, and one that speaks nothing but SRTP: each to each, and all with the switch itself.

use crate::support::baresip::{Account, Baresip, Speech};
use crate::support::node::{Setup, TestNode};
use crate::support::wait_for;

const KINDS: [Speech; 4] = [
    Speech::PLAIN,
    Speech {
        codec: "G722/16000/1",
        srtp: false,
    },
    Speech {
        codec: "opus/48000/2",
        srtp: false,
    },
    Speech {
        codec: "PCMU/8000/1",
        srtp: true,
    },
];

/// One phone of each kind, with users and tones from these on.
fn phones(node: &TestNode, first: u32, tone_hz: f64, answers: bool) -> Vec<Baresip> {
    let start = |(speech, n): (Speech, u32)| {
        let user = (first + n).to_string();
        Baresip::start(&Account {
            user: &user,
            password: &format!("demo-{user}"),
            server: node.sip(),
            tone_hz: tone_hz + 110.0 * f64::from(n),
            answers,
            writes_to: "1000",
            speech,
        })
    };
    let phones: Vec<_> = KINDS.into_iter().zip(0..).map(start).collect();
    phones.into_iter().map(Baresip::registered).collect()
}

fn call_all(node: &TestNode, callers: &mut [Baresip], number: impl Fn(usize) -> usize) {
    for (n, caller) in callers.iter_mut().enumerate() {
        caller.dial(&format!("sip:{}@{}", number(n), node.sip()));
    }
}

fn hang_up_all(node: &TestNode, callers: &mut [Baresip]) {
    callers.iter_mut().for_each(Baresip::hang_up);
    wait_for("the end of all calls", || {
        (node.metric("tandem_calls") == 0.0).then_some(())
    });
}

/// Everybody speaks at once; each must hear the other's tone and nothing else. Same codecs are relayed, others transcoded,
/// and the tone service and the conference are mixes.
#[test]
fn phones_of_every_codec_and_srtp_hear_each_other_and_the_switch() {
    let node = Setup::new()
        .set("switch.media.sdes_over_clear=true")
        .set("users.1007.srtp=required")
        .start();
    let mut callers = phones(&node, 1000, 440.0, false);
    let callees = phones(&node, 1004, 1_500.0, true);
    for round in 0..KINDS.len() {
        let partner = |n: usize| (n + round) % KINDS.len();
        call_all(&node, &mut callers, |n| 1004 + partner(n));
        for (n, caller) in callers.iter().enumerate() {
            caller.hears(1_500.0 + 110.0 * partner(n) as f64);
            callees[partner(n)].hears(440.0 + 110.0 * n as f64);
        }
        hang_up_all(&node, &mut callers);
    }

    call_all(&node, &mut callers, |_| 9197);
    callers.iter().for_each(|caller| caller.hears(1_004.0));
    hang_up_all(&node, &mut callers);

    call_all(&node, &mut callers, |_| 3100);
    for (n, caller) in callers.iter().enumerate() {
        let tone = |other: usize| 440.0 + 110.0 * other as f64;
        let others: Vec<f64> = (0..KINDS.len()).filter(|&other| other != n).map(tone).collect();
        caller.hears_mix(&others, &[tone(n)]);
    }
    hang_up_all(&node, &mut callers);
}
