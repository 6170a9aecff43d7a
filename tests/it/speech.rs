//! Real softphones with one codec each, and one that speaks nothing but SRTP: each to each, and all with the switch itself.

use crate::support::baresip::{Account, Baresip, PICTURE, Speech};
use crate::support::node::{Setup, TestNode};
use crate::support::wait_for;
use serde_json::Value;

const KINDS: [Speech; 4] = [
    Speech::PLAIN,
    Speech {
        codec: "G722/16000/1",
        srtp: false,
        video: false,
    },
    Speech {
        codec: "opus/48000/2",
        srtp: false,
        video: false,
    },
    Speech {
        codec: "PCMU/8000/1",
        srtp: true,
        video: false,
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

/// The number of the user at a leg, as the API tells it.
fn number(leg: &Value) -> usize {
    leg["user"].as_str().unwrap_or_default()[..4].parse().unwrap()
}

/// Each call's sound is made as it should be, and each phone has its own codec.
fn assert_modes(node: &TestNode, calls: usize, mode: impl Fn(&[usize]) -> &'static str) {
    let listed = node.get("/api/v1/calls");
    let id = |call: &Value| format!("/api/v1/calls/{}/media", call["id"].as_str().unwrap());
    let paths: Vec<String> = listed["calls"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(paths.len(), calls, "{listed:#}");
    for media in node.get_all(&paths) {
        let legs = media["legs"].as_array().unwrap();
        let kinds: Vec<usize> = legs.iter().map(|leg| (number(leg) - 1000) % KINDS.len()).collect();
        for (leg, kind) in legs.iter().zip(&kinds) {
            let codec = leg["codec"].as_str().unwrap().split('/').next();
            assert_eq!(codec, KINDS[*kind].codec.split('/').next(), "{media:#}");
            assert_eq!(leg["mode"], mode(&kinds), "{media:#}");
            assert!(leg["packets_in"].as_u64() > Some(20), "{media:#}");
            // As loud as it was played (-2.9 dBm0), whatever its frequency, but for the gaps of phones on a busy machine.
            let loudness = leg["received"]["tones"][0]["dbm0"].as_f64().unwrap();
            assert!((-20.0..0.0).contains(&loudness), "{media:#}");
        }
    }
}

/// Everybody speaks at once; each must hear the other's tone and nothing else, in each pair of codecs. Same codecs are
/// relayed, others transcoded; the tone service and the conference, in which each codec meets each, are mixes.
#[test]
fn phones_of_every_codec_and_srtp_hear_each_other_relayed_transcoded_and_in_a_room() {
    let node = Setup::new()
        .set("switch.media.sdes_over_clear=true")
        .set("users.1007.srtp=required")
        .start();
    let mut callers = phones(&node, 1000, CALLERS, false);
    let mut callees = phones(&node, 1004, CALLEES, true);
    for round in 0..KINDS.len() {
        let partner = |n: usize| (n + round) % KINDS.len();
        call_all(&node, &mut callers, |n| 1004 + partner(n));
        for (n, caller) in callers.iter().enumerate() {
            caller.hears(CALLEES[partner(n)]);
            callees[partner(n)].hears(CALLERS[n]);
        }
        assert_modes(&node, KINDS.len(), |kinds| match kinds {
            [a, b] if KINDS[*a].codec == KINDS[*b].codec => "relay",
            _ => "transcode",
        });
        hang_up_all(&node, &mut callers);
    }

    call_all(&node, &mut callers, |_| 9197);
    callers.iter().for_each(|caller| caller.hears(1_004.0));
    hang_up_all(&node, &mut callers);

    call_all(&node, &mut callers, |_| 3100);
    assert_hear_each_other(&callers.iter().zip(CALLERS).collect::<Vec<_>>());
    assert_modes(&node, callers.len(), |_| "mix");
    hang_up_all(&node, &mut callers);

    // And each codec with its like: two kinds at 16 kHz, two at 48 kHz.
    let room = |n: usize| if n < 2 { 3101 } else { 3201 };
    call_all(&node, &mut callers, room);
    call_all(&node, &mut callees, room);
    for members in [0..2, 2..4] {
        let callers = callers[members.clone()]
            .iter()
            .zip(CALLERS[members.clone()].iter().copied());
        let callees = callees[members.clone()].iter().zip(CALLEES[members].iter().copied());
        assert_hear_each_other(&callers.chain(callees).collect::<Vec<_>>());
    }
    assert_modes(&node, callers.len() + callees.len(), |_| "mix");
    callees.iter_mut().for_each(Baresip::hang_up);
    hang_up_all(&node, &mut callers);
}

/// Each of these in a room hears the others' tones, and not its own.
fn assert_hear_each_other(members: &[(&Baresip, f64)]) {
    for (phone, own) in members {
        let others: Vec<f64> = members.iter().map(|(_, hz)| *hz).filter(|hz| hz != own).collect();
        phone.hears_mix(&others, &[*own]);
    }
}

#[test]
fn phones_with_video_see_and_hear_each_other() {
    let node = Setup::new().start();
    let start = |user, tone_hz, answers| {
        Baresip::start(&Account {
            user,
            password: &format!("demo-{user}"),
            server: node.sip(),
            tone_hz,
            answers,
            writes_to: "1000",
            speech: Speech {
                video: true,
                ..Speech::PLAIN
            },
        })
        .registered()
    };
    let (mut alice, mut bob) = (start("1000", 440.0, false), start("1004", 660.0, true));
    alice.dial(&format!("sip:1004@{}", node.sip()));
    alice.hears(660.0);
    bob.hears(440.0);
    assert_eq!((alice.sees(), bob.sees()), (PICTURE, PICTURE));
    assert_modes(&node, 1, |_| "relay");
    alice.hang_up();
}
