//! Calls that are passed on over a network that loses, repeats and reorders.

use super::*;
use crate::testing::{Faults, World};
use model::EndReason;
use std::time::Duration;

const PHONES: usize = 10;

fn figure(world: &World, name: &str) -> u64 {
    let counters = world.switch.counters();
    counters
        .values
        .iter()
        .find(|(known, ..)| *known == name)
        .expect("a figure")
        .1
}

/// Every phone calls the next one; then all hang up.
fn play(seed: u64) {
    let mut world = World::new(config(), seed);
    let phones: Vec<usize> = (0..PHONES).map(|n| world.phone(&(1000 + n).to_string())).collect();
    for &phone in &phones {
        assert_eq!(world.register(phone), 200);
    }
    world.network.faults = Faults {
        loss: 50,
        duplication: 50,
        reordering: 100,
    };
    let call = |(n, &phone): (usize, &usize)| (phone, (1000 + (n + 1) % PHONES).to_string());
    let calls: Vec<(usize, String)> = phones.iter().enumerate().map(call).collect();
    let calls: Vec<(usize, usize)> = calls
        .iter()
        .map(|(phone, to)| (*phone, world.call(*phone, to)))
        .collect();
    world.run(Duration::from_secs(40));
    let mut were_up = 0;
    for &(phone, call) in &calls {
        let it = &world.phones[phone].calls[call];
        let is_decided = it.is_up || it.rejected.is_some() || it.ended.is_some();
        assert!(is_decided, "seed {seed}: phone {phone} waits for ever");
        were_up += usize::from(it.is_up);
        world.hang_up(phone, call);
    }
    world.run(Duration::from_secs(40));
    world.network.faults = Faults::default();
    world.run(Duration::from_secs(100));
    assert_eq!(world.switch.audit(), Ok(()), "seed {seed}");
    for name in ["transactions", "proxy_under_way", "calls"] {
        assert_eq!(figure(&world, name), 0, "seed {seed}: {name}");
    }
    assert_eq!(figure(&world, "recoveries_total"), 0);
    let up = phones
        .iter()
        .flat_map(|&phone| &world.phones[phone].calls)
        .filter(|call| call.is_up);
    assert_eq!(up.count(), 0, "seed {seed}: somebody still talks");
    // A record of each side of what was answered, and none of them twice.
    let of = |reason| world.store.cdrs.values().filter(|cdr| cdr.reason == reason).count();
    assert!(of(EndReason::Normal) >= 2 * were_up, "seed {seed}");
    assert!(
        world.store.cdrs.len() <= 2 * PHONES && world.store.open.is_empty(),
        "seed {seed}"
    );
}

#[test]
fn over_a_bad_network_every_call_is_set_up_or_refused_and_nothing_is_left() {
    (1..=20).for_each(play);
}
