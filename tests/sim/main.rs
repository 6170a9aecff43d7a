//! The switch among 200 phones in a bad network, in virtual time: what must be true is checked at each step, and at the end
//! nothing may be left. A failing run prints its last messages and the command that repeats it.
//!
//! `SIM_CALLS`, `SIM_LETTERS` and `SIM_SEED` widen the runs; `scripts/soak` plays rising seeds.

mod directed;
mod director;
mod ledger;
mod media;
mod network;
mod phone;
mod random;
mod store;
mod talk;
mod text;
mod world;

use director::{Script, play};
use world::World;

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    #[allow(clippy::disallowed_methods)] // a test reads its own settings
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The seed asked for, or those that always run.
fn seeds(always: &[u64]) -> Vec<u64> {
    setting("SIM_SEED").map_or(always.to_vec(), |seed| vec![seed])
}

fn calls(usual: u64) -> u64 {
    setting("SIM_CALLS").unwrap_or(usual)
}

#[allow(clippy::print_stdout)] // a test says what it has seen
fn report(world: &World, script: &Script) {
    println!("{}", world.ledger.replay);
    println!("seed {}: {} s of virtual time", script.seed, world.now.millis() / 1000);
    println!("  seen: {:?}", world.ledger.figures);
    println!(
        "  peaks: {:?}, {} legs in the media plane",
        world.peaks, world.media.peak
    );
}

#[test]
fn calls_and_messages_survive_loss_duplication_and_reordering() {
    let seeds = seeds(&[1, 2, 3]);
    let each = calls(10_000) / seeds.len() as u64;
    for seed in seeds {
        let script = Script::busy(seed, each);
        let world = play(&script, "calls_and_messages_survive_loss_duplication_and_reordering");
        report(&world, &script);
    }
}

#[test]
fn calls_and_messages_survive_each_fault_alone() {
    for network in director::faults() {
        let script = Script {
            network,
            ..Script::busy(setting("SIM_SEED").unwrap_or(21), calls(500))
        };
        let world = play(&script, "calls_and_messages_survive_each_fault_alone");
        report(&world, &script);
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_switch_dies() {
    for seed in seeds(&[11, 12]) {
        let script = Script {
            letter_rate: 500,
            vanish_rate: 30,
            crash_rate: 2,
            store_failures: 10,
            ..Script::busy(seed, calls(1_500))
        };
        let world = play(&script, "nothing_acknowledged_is_lost_when_the_switch_dies");
        report(&world, &script);
    }
}

/// 500 users with 650 devices that come and go, loss, duplication, and a switch that dies at any moment: each message that
/// was acknowledged is read at least once, displayed once on each device that tells messages by their id, in order, and no
/// status is a lie. `scripts/soak` plays it with 100,000 messages.
fn people_write(seed: u64, copies: switch::config::Copies, test: &str) {
    let letters = setting("SIM_LETTERS").unwrap_or(6_000);
    let script = Script::writers(setting("SIM_SEED").unwrap_or(seed), letters, copies);
    let world = play(&script, test);
    report(&world, &script);
    let crashes = world.ledger.counted("crashes");
    assert!(crashes > letters / 10_000, "{crashes} crashes say nothing");
}

#[test]
fn messages_survive_devices_that_come_and_go_and_crashes() {
    let test = "messages_survive_devices_that_come_and_go_and_crashes";
    people_write(31, switch::config::Copies::User, test);
}

#[test]
fn each_device_that_comes_and_goes_gets_its_copy_over_crashes() {
    let test = "each_device_that_comes_and_goes_gets_its_copy_over_crashes";
    people_write(32, switch::config::Copies::Device, test);
}

/// Twenty people at pages and twenty with phones alone, in sessions, while pages and phones come and go, datagrams are lost and
/// doubled and the switch dies: what was said is told to each of them once, in one order, pages show what is, and nothing is
/// left in the end.
#[test]
fn sessions_survive_loss_duplication_and_crashes() {
    let test = "sessions_survive_loss_duplication_and_crashes";
    for seed in seeds(&[41, 42]) {
        let script = Script::talkers(seed);
        let world = talk::play(&script, setting("SIM_TEXTS").unwrap_or(1_500), test);
        report(&world, &script);
        let (said, by_phones) = world.ledger.said();
        assert!(
            by_phones > said / 20,
            "{by_phones} of {said} texts by phones say nothing"
        );
    }
}
