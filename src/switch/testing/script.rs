//! Any bytes as a script of what happens to a switch: the fuzz target `switch` plays them, and so do tests.

use super::{Faults, OnInvite, OnMessage, World, config};
use crate::{Command, Input};
use model::{Aor, StoreError};
use sip::{Headers, Method, Name, Transport};
use std::net::SocketAddr;
use std::time::Duration;

/// Phones of a script: two of one user, one over TCP, one that never gets in.
const PHONES: u8 = 5;
/// Steps of one script, so that a long input does not take for ever.
const MAX_STEPS: usize = 200;

/// Plays a script and checks that the switch is sound at its end, and empty when all phones are long gone.
///
/// # Panics
/// If it is not.
pub fn play(script: &[u8]) {
    let mut world = World::new(config(), 7);
    for user in ["1000", "1001", "1001"] {
        world.phone(user);
    }
    world.phone_over("1002", Transport::Tcp);
    let stranger = world.phone("1003");
    world.phones[stranger].password = "wrong".into();
    // Answers to broken messages that came from a phone's address repeat what is broken.
    for phone in &mut world.phones {
        phone.is_strict = false;
    }
    let mut rest = script;
    for _ in 0..MAX_STEPS {
        let Some(left) = step(&mut world, rest) else { break };
        rest = left;
    }
    assert_eq!(world.switch.audit(), Ok(()));
    end(&mut world);
}

/// One step: its kind, what it is about, and for some more bytes.
fn step<'s>(world: &mut World, script: &'s [u8]) -> Option<&'s [u8]> {
    let (&[kind, about], rest) = script.split_first_chunk::<2>()?;
    let phone = usize::from(about % PHONES);
    let other = ["1000", "1001", "1002", "1005", "9196", "4711"][usize::from(about / PHONES) % 6];
    match kind % 16 {
        0 => world.run_ms(u64::from(about) * 8),
        1 => world.run(Duration::from_secs(u64::from(about))),
        2 => drop(world.with(phone, |phone, now| {
            phone.register(now, [0, 60, 600, 30][usize::from(about / 64)])
        })),
        3 => drop(world.message(phone, other, "hello")),
        4 => drop(world.with(phone, |phone, now| phone.call(now, other))),
        5 => {
            let call = usize::from(about / PHONES) % world.phones[phone].calls.len().max(1);
            world.with(phone, |phone, now| phone.hang_up(now, call));
        }
        6 => world.phones[phone].is_dead = about & 128 != 0,
        7 => {
            world.phones[phone].on_message =
                [OnMessage::Take, OnMessage::Ignore, OnMessage::Refuse(415)][other.len() % 3]
        }
        8 => world.phones[phone].on_invite = on_invite(about),
        9 => world.store.failing = (about & 1 != 0).then_some(StoreError::Io),
        10 => world.restart(),
        11 => return raw(world, about, rest),
        12 => reconnect(world, about),
        13 => faults(world, about),
        14 => command(world, about),
        _ => drop(subscribe(world, phone)),
    }
    Some(rest)
}

fn on_invite(about: u8) -> OnInvite {
    match about / PHONES % 4 {
        0 => OnInvite::AnswerAfter(Duration::from_secs(1)),
        1 => OnInvite::Ring,
        2 => OnInvite::Refuse(486),
        _ => OnInvite::Ignore,
    }
}

/// The next bytes up to a length as a datagram, from a stranger or from a phone's address.
fn raw<'s>(world: &mut World, about: u8, rest: &'s [u8]) -> Option<&'s [u8]> {
    let (&[high, low], rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
    let (bytes, rest) = rest.split_at(length);
    let from: SocketAddr = match about % PHONES {
        4 => ([127, 0, 0, 9], 5060).into(),
        phone => world.phones[usize::from(phone)].address,
    };
    world.send_raw(from, bytes.to_vec());
    Some(rest)
}

fn reconnect(world: &mut World, about: u8) {
    let over_tcp = 3;
    world.disconnect(over_tcp);
    if about & 1 != 0 {
        world.connect(over_tcp);
    }
}

fn faults(world: &mut World, about: u8) {
    let part = |shift: u8| u32::from(about >> shift & 3) * 100;
    world.network.faults = Faults {
        loss: part(0),
        duplication: part(2),
        reordering: part(4),
    };
}

fn command(world: &mut World, about: u8) {
    let aor = Aor::new("1001", super::DOMAIN);
    match about % 4 {
        0 => drop(world.command(Command::Status)),
        1 => drop(world.command(Command::DropRegistration { aor, contact: None })),
        2 => drop(world.command(Command::Calls)),
        _ => world.reload(config()),
    }
}

fn subscribe(world: &mut World, phone: usize) -> u64 {
    let user = world.phones[phone].user.clone();
    let contact = format!("<{}>", world.phones[phone].contact());
    let headers = Headers::new()
        .with(Name::Event, "message-summary")
        .with(Name::Contact, contact);
    world.with(phone, |phone, now| {
        phone.request(now, Method::Subscribe, &user, headers, None)
    })
}

/// All phones fall silent. When the longest registration, subscription and call are over, nothing is left but what waits
/// in the store.
fn end(world: &mut World) {
    world.store.failing = None;
    for phone in &mut world.phones {
        phone.is_dead = true;
    }
    world.run(Duration::from_secs(60));
    for leg in world.studio.legs() {
        world.input(Input::Media(media::Event::MediaTimeout { leg }));
    }
    world.run(Duration::from_secs(2 * 3_600));
    assert_eq!(world.switch.audit(), Ok(()));
    let counters = world.switch.counters();
    for gauge in [
        "registrations",
        "calls",
        "legs",
        "messages_under_way",
        "subscriptions",
        "transactions",
        "dialogs",
    ] {
        let value = counters
            .values
            .iter()
            .find(|value| value.0 == gauge)
            .map(|value| value.1);
        assert_eq!(value, Some(0), "{gauge} when all phones are gone");
    }
    let waiting = counters
        .values
        .iter()
        .find(|value| value.0 == "messages_waiting")
        .map(|value| value.1);
    assert_eq!(
        waiting,
        Some(world.store.messages.len() as u64),
        "messages waiting as in the store"
    );
}

#[cfg(test)]
mod tests {
    use super::super::network::Dice;
    use super::play;
    use std::path::Path;

    /// The committed corpus of the fuzz target.
    fn corpus() -> Vec<Vec<u8>> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/switch");
        let mut files: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    #[test]
    fn every_script_of_the_corpus_leaves_a_sound_switch() {
        let corpus = corpus();
        assert!(!corpus.is_empty());
        corpus.iter().for_each(|script| play(script));
    }

    #[test]
    fn random_scripts_leave_a_sound_switch() {
        let most: u64 = 300;
        for seed in 0..most {
            let mut dice = Dice::new(seed);
            let length = 2 * (10 + dice.next() % 60);
            let script: Vec<u8> = (0..length).map(|_| dice.next().to_le_bytes()[3]).collect();
            println!("seed {seed}: {script:02x?}");
            play(&script);
        }
    }

    /// Scripts of the corpus with raw messages in them, cut, repeated and changed at random.
    #[test]
    fn damaged_scripts_leave_a_sound_switch() {
        let corpus = corpus();
        for seed in 0..300u64 {
            let mut dice = Dice::new(1_000 + seed);
            let mut below = |limit: usize| usize::try_from(dice.next()).unwrap() % limit.max(1);
            let mut script = corpus[below(corpus.len())].clone();
            for _ in 0..1 + below(12) {
                let (at, value) = (below(script.len()), below(256));
                script[at] = u8::try_from(value).unwrap();
            }
            println!("seed {seed}: {script:02x?}");
            play(&script);
        }
    }
}
