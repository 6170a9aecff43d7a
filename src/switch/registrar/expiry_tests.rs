//! Very many bindings that run out at one moment: after a cut of the network all phones of a site registered together.

use crate::testing::config;
use crate::{Input, Output, Switch};
use bytes::Bytes;
use clock::{Mono, Now, Wall};
use model::{Aor, Binding, BindingKey, Endpoint, StoreOp, StoreReply};
use sip::{Flow, Transport};
use std::time::Duration;

const MANY: usize = 100_000;
/// Bindings that may end in one step of the switch: some 2 us each.
const SLICE: usize = 64;
/// Bindings that may be taken in by one step.
const RESTORED: usize = 128;
const LIFE: Duration = Duration::from_secs(60);
const BEGINNING: Wall = Wall(1_767_225_600_000);

fn aor(number: usize) -> Aor {
    Aor::new(&(1_000_000 + number).to_string(), "example.com")
}

fn binding(number: usize, expires_at: Wall) -> Binding {
    let contact: Box<str> = format!("sip:{number}@127.0.0.1:5062").into();
    Binding {
        aor: aor(number),
        key: BindingKey(contact.clone()),
        contact,
        params: "".into(),
        q: 1_000,
        call_id: "c".into(),
        cseq: 1,
        expires_at,
        created_at: BEGINNING,
        path: "".into(),
        user_agent: "".into(),
        endpoint: Endpoint {
            transport: model::Transport::Udp,
            local: "127.0.0.1:5060".parse().unwrap(),
            peer: "127.0.0.1:5062".parse().unwrap(),
        },
    }
}

struct Site {
    switch: Switch,
    now: Now,
    /// Users whose bindings have ended, in order.
    ended: Vec<Aor>,
}

impl Site {
    /// A switch that knows of so many bindings with a minute left.
    fn new() -> Site {
        let mut site = Site::restoring(false);
        while site.is_due() {
            site.step();
        }
        site
    }

    /// The same when it has just been told by its store of them, in time or when nobody waits any more.
    fn restoring(is_late: bool) -> Site {
        let mut config = config();
        let template = config.users[0].clone();
        config.limits.max_bindings = MANY;
        config.users = (0..MANY)
            .map(|number| crate::config::User {
                aor: aor(number),
                ..template.clone()
            })
            .collect();
        let now = Now {
            mono: Mono(1_000_000_000),
            wall: BEGINNING,
        };
        let mut switch = Switch::new(config, [1; 32], [2; 32], now);
        let asked = std::iter::from_fn(|| switch.poll_output()).find_map(|output| match output {
            Output::Store {
                token,
                op: StoreOp::LoadBindings,
            } => token,
            _ => None,
        });
        let ended = Vec::new();
        let mut site = Site { switch, now, ended };
        if is_late {
            site.lose_patience();
        }
        let wall = site.now.wall;
        let bindings = (0..MANY).map(|number| binding(number, wall + LIFE)).collect();
        let (token, reply) = (asked.expect("the question"), StoreReply::Bindings(bindings));
        site.switch.handle_input(site.now, Input::Stored { token, reply });
        site.collect();
        site
    }

    /// The store is waited for no longer; what was sent then.
    fn lose_patience(&mut self) -> Vec<Bytes> {
        self.wait_until(Mono(self.now.mono.0 + 2_000_000_000));
        self.switch.handle_timeout(self.now);
        self.collect()
    }

    fn wait_until(&mut self, mono: Mono) {
        self.now.wall = self.now.wall + mono.since(self.now.mono);
        self.now.mono = mono;
    }

    fn bound(&self) -> usize {
        let values = self.switch.counters().values;
        let bound = values.iter().find(|(name, _, _)| *name == "registrations").unwrap().1;
        usize::try_from(bound).unwrap()
    }

    fn is_due(&self) -> bool {
        self.switch.poll_timeout().is_some_and(|due| due <= self.now.mono)
    }

    /// One step; how many bindings ended in it.
    fn step(&mut self) -> usize {
        let before = self.ended.len();
        self.switch.handle_timeout(self.now);
        self.collect();
        self.ended.len() - before
    }

    /// What was sent.
    fn collect(&mut self) -> Vec<Bytes> {
        let mut sent = Vec::new();
        while let Some(output) = self.switch.poll_output() {
            match output {
                Output::Store {
                    op: StoreOp::DeleteBinding { aor, .. },
                    ..
                } => self.ended.push(aor),
                Output::Transmit { bytes, .. } => sent.push(bytes),
                _ => {}
            }
        }
        sent
    }

    /// Somebody asks the switch how it is.
    fn probe(&mut self, number: usize) -> Vec<Bytes> {
        let flow = Flow {
            transport: Transport::Udp,
            local: "127.0.0.1:5060".parse().unwrap(),
            peer: "127.0.0.1:5064".parse().unwrap(),
            connection: 0,
        };
        let text = format!(
            "OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5064;branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n\
             From: <sip:a@b.c>;tag=1\r\nTo: <sip:example.com>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        let bytes = text.into();
        self.switch.handle_input(self.now, Input::Datagram { flow, bytes });
        self.collect()
    }
}

#[test]
fn a_hundred_thousand_stored_bindings_that_come_late_are_taken_in_in_slices_while_the_switch_goes_on() {
    let mut site = Site::restoring(true);
    let (mut bound, mut steps) = (site.bound(), 0);
    assert!(bound <= RESTORED);
    while site.is_due() {
        site.step();
        let before = std::mem::replace(&mut bound, site.bound());
        assert!(bound - before <= RESTORED, "{} in one step", bound - before);
        steps += 1;
        if steps % 100 == 0 && bound < MANY {
            let sent = site.probe(steps);
            assert!(matches!(&sent[..], [answer] if answer.starts_with(b"SIP/2.0 200 ")));
        }
    }
    assert_eq!(site.bound(), MANY);
    assert_eq!(site.switch.audit(), Ok(()));
}

#[test]
fn nobody_is_served_while_half_of_the_bindings_are_taken_in_and_a_panic_does_not_stop_that() {
    let mut site = Site::restoring(false);
    for step in 0..100 {
        assert!(site.is_due(), "step {step}");
        site.step();
    }
    site.switch.panic_in("restore");
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| site.step()));
    assert!(broken.is_err());
    site.switch.recover(site.now);
    assert_eq!(site.probe(1), [] as [Bytes; 0]);
    // The store has not answered all that it was asked.
    assert_eq!(site.lose_patience(), [] as [Bytes; 0], "{} are bound", site.bound());
    let mut sent = Vec::new();
    while site.is_due() {
        assert_eq!(sent, [] as [Bytes; 0], "{} are bound", site.bound());
        site.switch.handle_timeout(site.now);
        sent = site.collect();
    }
    assert!(matches!(&sent[..], [answer] if answer.starts_with(b"SIP/2.0 200 ")));
    assert_eq!(site.bound(), MANY - 1, "all but the one with which it broke");
    assert_eq!(site.switch.audit(), Ok(()));
}

#[test]
fn a_hundred_thousand_bindings_that_end_at_once_leave_in_slices_in_order_while_others_are_served() {
    let mut site = Site::new();
    let end = site.now.mono + LIFE;
    for before in [30_000, 1] {
        site.wait_until(Mono(end.0 - before * 1_000_000));
        while site.is_due() {
            site.step();
        }
        assert_eq!(site.ended, [], "none is early");
    }
    site.wait_until(end);
    let mut steps = 0;
    while site.is_due() {
        let ended = site.step();
        assert!(ended <= SLICE, "{ended} in one step");
        steps += 1;
        if steps % 100 == 0 && site.ended.len() < MANY {
            let sent = site.probe(steps);
            assert!(matches!(&sent[..], [answer] if answer.starts_with(b"SIP/2.0 200 ")));
        }
    }
    assert!(steps >= MANY / SLICE);
    assert_eq!(site.ended.len(), MANY, "none is kept");
    let in_order = site
        .ended
        .iter()
        .enumerate()
        .all(|(number, ended)| *ended == aor(number));
    assert!(in_order, "who came first leaves first");
    assert_eq!(site.switch.audit(), Ok(()));
}
