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

/// What callers and callees play: loud tones, evenly spaced. A conference that cut off the peaks of three would make a fourth
/// of them, which is the listener's own.
const CALLERS: [f64; 4] = [440.0, 550.0, 660.0, 770.0];
const CALLEES: [f64; 4] = [1_500.0, 1_610.0, 1_720.0, 1_830.0];

/// One phone of each kind, with users from this on.
fn phones(node: &TestNode, first: u32, tones: [f64; 4], answers: bool) -> Vec<Baresip> {
    let start = |((speech, tone_hz), n): ((Speech, f64), u32)| {
        let user = (first + n).to_string();
        Baresip::start(&Account {
            user: &user,
            password: &format!("demo-{user}"),
            server: node.sip(),
            tone_hz,
            answers,
            writes_to: "1000",
            speech,
        })
    };
    let phones: Vec<_> = KINDS.into_iter().zip(tones).zip(0..).map(start).collect();
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
    let mut callers = phones(&node, 1000, CALLERS, false);
    let callees = phones(&node, 1004, CALLEES, true);
    for round in 0..KINDS.len() {
        let partner = |n: usize| (n + round) % KINDS.len();
        call_all(&node, &mut callers, |n| 1004 + partner(n));
        for (n, caller) in callers.iter().enumerate() {
            caller.hears(CALLEES[partner(n)]);
            callees[partner(n)].hears(CALLERS[n]);
        }
        hang_up_all(&node, &mut callers);
    }

    call_all(&node, &mut callers, |_| 9197);
    callers.iter().for_each(|caller| caller.hears(1_004.0));
    hang_up_all(&node, &mut callers);

    call_all(&node, &mut callers, |_| 3100);
    for (n, caller) in callers.iter().enumerate() {
        let others: Vec<f64> = CALLERS.into_iter().filter(|&hz| hz != CALLERS[n]).collect();
        caller.hears_mix(&others, &[CALLERS[n]]);
    }
    hang_up_all(&node, &mut callers);
}
