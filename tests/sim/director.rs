//! Who does what, and when: a seeded stream of calls, letters, departures and crashes, and the end, at which nothing may be
//! left.

use crate::network::Network;
use crate::phone::{CallPlan, Settings};
use crate::world::{RING_TIMEOUT, World};
use model::StoredMessage;
use std::time::Duration;
use switch::config::Copies;

/// How often things happen; rates in thousandths per tick of 50 ms.
#[derive(Clone, Debug)]
pub struct Script {
    pub seed: u64,
    /// It ends when there were so many calls and letters.
    pub calls: u64,
    pub letters: u64,
    pub users: usize,
    pub phones: usize,
    pub network: Network,
    /// New calls.
    pub call_rate: u32,
    /// New letters, each time so many.
    pub letter_rate: u32,
    pub letters_at_once: u32,
    /// Phones that vanish, and come back later.
    pub vanish_rate: u32,
    /// Crashes of the switch.
    pub crash_rate: u32,
    /// Store operations that fail, in thousandths.
    pub store_failures: u32,
    /// Who of the devices of a user is to get a letter.
    pub copies: Copies,
    /// How long a phone stays away at most, in seconds.
    pub longest_absence: u64,
}

const TICK: Duration = Duration::from_millis(50);

impl Script {
    /// A busy day in a bad network.
    pub fn busy(seed: u64, calls: u64) -> Script {
        Script {
            seed,
            calls,
            letters: 0,
            users: 160,
            phones: 200,
            network: Network::LOSSY,
            call_rate: 300,
            letter_rate: 150,
            letters_at_once: 1,
            vanish_rate: 4,
            crash_rate: 0,
            store_failures: 0,
            longest_absence: 240,
            copies: Copies::User,
        }
    }

    /// People at pages and phones who talk in sessions.
    pub fn talkers(seed: u64) -> Script {
        Script {
            users: 40,
            phones: 50,
            letter_rate: 300,
            vanish_rate: 10,
            crash_rate: 1,
            store_failures: 5,
            longest_absence: 60,
            ..Script::busy(seed, 0)
        }
    }

    /// People who write, with devices that come and go and a switch that dies.
    pub fn writers(seed: u64, letters: u64, copies: Copies) -> Script {
        Script {
            letters,
            users: 500,
            phones: 650,
            call_rate: 0,
            letter_rate: 900,
            letters_at_once: 5,
            vanish_rate: 80,
            crash_rate: 6,
            store_failures: 5,
            longest_absence: 200,
            copies,
            ..Script::busy(seed, 0)
        }
    }
}

/// Faults one at a time, each worse than in a busy day.
pub fn faults() -> [Network; 4] {
    let none = Network {
        loss: 0,
        duplication: 0,
        reordering: 0,
        delay: (1, 40),
    };
    let (mut loss, mut duplication, mut reordering, mut delay) = (none.clone(), none.clone(), none.clone(), none);
    loss.loss = 100;
    duplication.duplication = 1_000;
    reordering.reordering = 400;
    // Slower than T1: everything is retransmitted although nothing is lost.
    delay.delay = (300, 900);
    [loss, duplication, reordering, delay]
}

/// How phones behave unless a test says otherwise.
pub fn settings() -> Settings {
    Settings {
        expires: 120,
        busy: 60,
        decline: 40,
        ignore: 60,
        early: 150,
        slow: 20,
        refuse: 15,
        envelopes: 400,
        short: 20,
        answer: (100, 4_000),
        talk_at_least: Duration::ZERO,
        longest_setup: RING_TIMEOUT + Duration::from_secs(32),
        copies: Copies::User,
    }
}

/// Plays a script to its end; the world after it, empty.
pub fn play(script: &Script, test: &str) -> World {
    let mut world = prepare(script, test);
    let mut away: Vec<(clock::Mono, usize)> = Vec::new();
    while world.ledger.counted("calls") < script.calls || world.ledger.counted("letters") < script.letters {
        world.run_for(TICK);
        tick(&mut world, script, &mut away);
    }
    world.store.failing = 0;
    finish(&mut world);
    world
}

/// The world before anything happens: everybody is there.
pub fn prepare(script: &Script, test: &str) -> World {
    let mut world = World::new(
        script.seed,
        script.users,
        script.phones,
        script.network.clone(),
        Settings {
            copies: script.copies,
            ..settings()
        },
    );
    world.ledger.replay = format!(
        "SIM_SEED={} SIM_CALLS={} SIM_LETTERS={} cargo test -p switch --test sim -- {test}",
        script.seed, script.calls, script.letters
    );
    world.store.failing = script.store_failures;
    everybody_comes(&mut world);
    world
}

fn everybody_comes(world: &mut World) {
    for index in 0..world.phones.len() {
        world.run_for(Duration::from_millis(20));
        world.appear(index);
    }
    world.run_for(Duration::from_secs(40));
    if let Some(phone) = world.phones.iter().find(|phone| !phone.registered) {
        world.violated("", &format!("phone {} is not registered after 40 s", phone.index));
    }
}

fn tick(world: &mut World, script: &Script, away: &mut Vec<(clock::Mono, usize)>) {
    if world.random.permille(script.call_rate) {
        begin_call(world);
    }
    if world.random.permille(script.letter_rate) {
        for _ in 0..script.letters_at_once {
            let index = world.random.below(world.phones.len());
            let reader = world.random.below(world.users);
            if world.phones[index].online {
                world.with_phone(index, |phone, cx| phone.write(cx, reader));
            }
        }
    }
    leave_and_come(world, script, away);
}

/// Phones leave and come back, and the switch dies now and then; whether it did.
pub fn leave_and_come(world: &mut World, script: &Script, away: &mut Vec<(clock::Mono, usize)>) -> bool {
    if world.random.permille(script.vanish_rate) {
        let index = world.random.below(world.phones.len());
        if world.phones[index].online {
            leave(world, index);
            let back = world.now + world.random.millis(1_000, script.longest_absence * 1_000);
            away.push((back, index));
        }
    }
    let back: Vec<usize> = away
        .iter()
        .filter(|(at, _)| *at <= world.now)
        .map(|(_, index)| *index)
        .collect();
    away.retain(|(at, _)| *at > world.now);
    for index in back {
        world.appear(index);
    }
    let crashes = world.random.permille(script.crash_rate);
    if crashes {
        let down = world.random.millis(10, 4_000);
        world.crash(down);
        world.run_for(down + Duration::from_millis(1));
    }
    crashes
}

/// Most vanish; some say farewell first.
fn leave(world: &mut World, index: usize) {
    if world.random.permille(250) && world.phones[index].is_free() {
        world.with_phone(index, |phone, cx| phone.unregister(cx));
        world.run_for(Duration::from_secs(1));
    }
    world.vanish(index);
}

fn begin_call(world: &mut World) {
    let from = world.random.below(world.phones.len());
    for index in (from..world.phones.len()).chain(0..from) {
        if world.phones[index].is_free() {
            let plan = plan(world, index);
            return world.call(index, plan);
        }
    }
}

fn plan(world: &mut World, caller: usize) -> CallPlan {
    let random = &mut world.random;
    let dialled = match random.below(100) {
        0 => "9999".to_owned(),
        1 => "9000".to_owned(),
        2 | 3 => "9196".to_owned(),
        4 => "9197".to_owned(),
        _ => {
            let own = caller % world.users;
            let other = random.below(world.users - 1);
            (1000 + if other >= own { other + 1 } else { other }).to_string()
        }
    };
    CallPlan {
        dialled,
        patience: random.permille(120).then(|| random.millis(50, 6_000)),
        talk: random.millis(500, 12_000),
        hold: random.permille(150).then(|| random.millis(200, 4_000)),
        is_offerless: random.permille(80),
    }
}

/// Users with one phone each in a perfect network, all registered, that do nothing by themselves.
pub fn quiet(users: usize, test: &str) -> World {
    let settings = Settings {
        busy: 0,
        decline: 0,
        ignore: 0,
        early: 0,
        slow: 0,
        refuse: 0,
        envelopes: 0,
        short: 0,
        ..settings()
    };
    let mut world = World::new(5, users, users, Network::PERFECT, settings);
    world.ledger.replay = format!("cargo test -p switch --test sim -- {test}");
    everybody_comes(&mut world);
    world
}

/// A call that is up until somebody ends it.
pub fn long_call(dialled: usize) -> CallPlan {
    CallPlan {
        dialled: (1000 + dialled).to_string(),
        patience: None,
        talk: Duration::from_secs(3_600),
        hold: None,
        is_offerless: false,
    }
}

/// The end: calls end, letters arrive, everybody goes, and nothing is left.
pub fn finish(world: &mut World) {
    world.run_for(Duration::from_secs(120));
    if let Some(phone) = world.phones.iter().find(|phone| phone.open_calls() > 0) {
        world.violated("", &format!("phone {} is still in a call", phone.index));
    }
    if world.ledger.counted("late offer without ACK") > world.ledger.counted("vanished") {
        world.violated("", "callees had no ACK although their callers were there");
    }
    letters_arrive(world);
    world.ledger.check_letters(world.now, devices_of(world));
    world
        .ledger
        .check_notifications(world.now, |letter| world.store.has_failed(letter));
    if world.ledger.to_each {
        world.ledger.check_copies(world.now, devices_of(world));
    }
    // Without a crash only a device that comes while another is being asked explains a second copy.
    let (twice, letters) = (
        world.ledger.counted("letters a device has twice"),
        world.ledger.counted("letters"),
    );
    if world.ledger.counted("crashes") == 0 && twice > 3 + letters / 1000 {
        world.violated("", &format!("{twice} of {letters} letters were delivered twice"));
    }
    for index in 0..world.phones.len() {
        world.vanish(index);
    }
    // Bindings and nonces run out, whoever had put a call on hold is found to have gone, and 64 * T1 more.
    world.run_for(Duration::from_secs(120 + 900 + 64));
    nothing_is_left(world);
    world.ledger.check_records(world.now, world.store.cdrs());
}

/// Everybody comes back, writes what is still to be written, and gets what waits.
pub fn letters_arrive(world: &mut World) {
    world.settings.refuse = 0;
    for index in 0..world.phones.len() {
        world.vanish(index);
        world.appear(index);
    }
    for _ in 0..120 {
        world.run_for(Duration::from_secs(10));
        let is_quiet = world.figure("messages_under_way") == 0;
        let under_way = world.ledger.letters_under_way(world.now, devices_of(world));
        if is_quiet && under_way == 0 && waiting(world).next().is_none() {
            break;
        }
    }
    let left = waiting(world).count();
    if let Some(first) = waiting(world).next() {
        let owed = (first.is_taken, &first.owed);
        let what = format!("{left} letters wait although everybody is there, the first of them (taken, for) {owed:?}");
        world.violated(world.store.text_of(first.id).unwrap_or(""), &what);
    }
    give_up_what_all_refuse(world);
}

/// The devices of each user.
pub fn devices_of(world: &World) -> impl Fn(usize) -> Vec<usize> + Copy + use<> {
    let (phones, users) = (world.phones.len(), world.users);
    move |user| (user..phones).step_by(users).collect()
}

/// Letters that wait, but for those that are refused by all who are there.
fn waiting(world: &World) -> impl Iterator<Item = &StoredMessage> {
    let is_refused = |one: &StoredMessage| {
        let text = world.store.text_of(one.id);
        text.is_some_and(|text| !one.is_taken && world.ledger.may_wait(text, devices_of(world)))
    };
    world.store.messages().filter(move |one| !is_refused(one))
}

/// What its readers' devices do not want is kept for as long as it can be; then who wrote it hears that it failed.
fn give_up_what_all_refuse(world: &mut World) {
    if world.store.messages().next().is_none() {
        return;
    }
    world.ledger.count("given up at the end");
    let keep = switch::config::Im::default().keep;
    world.wall_ahead += i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    world.run_for(Duration::from_secs(480));
    if let Some(first) = world.store.messages().next() {
        world.violated(
            world.store.text_of(first.id).unwrap_or(""),
            "a letter that is too old is not given up",
        );
    }
}

fn nothing_is_left(world: &mut World) {
    world.audit();
    for gauge in [
        "transactions",
        "dialogs",
        "calls",
        "legs",
        "rtp_ports",
        "registrations",
        "subscriptions",
        "messages_under_way",
        "messages_waiting",
    ] {
        let value = world.figure(gauge);
        if value != 0 {
            let first = world.store.messages().next();
            let what = format!("{value} {gauge} are left when nobody is there; on disk first {first:?}");
            world.violated("", &what);
        }
    }
    let (legs, rooms) = world.media.open_now();
    if (legs, rooms) != (0, 0) {
        world.violated(
            "",
            &format!("{legs} legs and {rooms} rooms are left in the media plane"),
        );
    }
    if world.store.bindings() != 0 {
        world.violated(
            "",
            &format!("{} bindings are left in the store", world.store.bindings()),
        );
    }
    // What still wakes it are a few timers for good housekeeping, not what somebody left behind.
    let before = world.wakes;
    world.run_for(Duration::from_secs(600));
    let wakes = world.wakes - before;
    if wakes > 60 {
        world.violated("", &format!("{wakes} wakes in 10 quiet minutes"));
    }
}
