//! Any order of calls, messages, registrations, pages, dead phones and restarts: nobody is busy without a reason that lives, and
//! when all have hung up nobody is busy at all.

use super::*;
use crate::testing::OnInvite;
use crate::{ImAct, ImVerb};
use model::{ImState, ImTranscript, InteractionId};

/// Worlds that are played, each with [`STEPS`] steps.
const WORLDS: u64 = 40;
const STEPS: usize = 60;
/// 1001 to 1003 are agents of group 2000; 1010 and 1011 are not.
const PEOPLE: [&str; 5] = ["1001", "1002", "1003", "1010", "1011"];

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }
}

#[test]
fn whatever_happens_nobody_is_busy_without_a_live_reason() {
    for seed in 0..WORLDS {
        let mut log = Vec::new();
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(seed, &mut log)));
        if let Err(panic) = played {
            println!("world {seed} fails after {log:#?}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn play(seed: u64, log: &mut Vec<String>) {
    let mut config = agents();
    config.groups.wrap_up = Duration::from_secs(5);
    config.groups.im_sessions = 2;
    config.calls.ring_timeout = Duration::from_secs(20);
    let (mut world, mut dice) = (World::new(config, seed), Dice(seed));
    let phones = PEOPLE.map(|user| world.phone(user));
    for phone in phones {
        world.register(phone);
        world.phones[phone].on_invite = OnInvite::AnswerAfter(Duration::from_millis(700));
        world.phones[phone].is_strict = false;
    }
    is_ready(&mut world, &["1001", "1002", "1003"]);
    for _ in 0..STEPS {
        step(&mut world, &mut dice, log);
        world.run_ms(150);
        assert_eq!(world.switch.audit(), Ok(()));
        check(&mut world);
    }
    // Everybody goes home.
    for phone in phones {
        world.phones[phone].is_dead = false;
    }
    // A phone that was dead may still have been about to call.
    for _ in 0..3 {
        for call in calls(&mut world) {
            world.command(Command::Hangup(call));
        }
        for (user, id) in sessions(&mut world) {
            im(&mut world, user, ImVerb::End { session: id });
        }
        world.run(Duration::from_secs(60));
    }
    check(&mut world);
    for user in &PEOPLE[..3] {
        let view = view(&mut world, user);
        let engaged = [view.voice.unwrap(), view.im.unwrap()].map(|channel| (channel.engaged, channel.state));
        let is_over = |(engaged, state)| engaged == 0 && !matches!(state, AgentStatus::Busy | AgentStatus::AfterCall);
        assert!(engaged.into_iter().all(is_over), "{user}: {engaged:?}");
    }
}

fn step(world: &mut World, dice: &mut Dice, log: &mut Vec<String>) {
    let (phone, what) = (dice.roll(PEOPLE.len()), dice.roll(16));
    log.push(format!("{} does {what}", PEOPLE[phone]));
    match what {
        0 => {
            let life = [0, 3_600][dice.roll(2)];
            world.register_for(phone, life);
        }
        1..5 => {
            let to = ["1001", "1002", "1003", "1010", "9196"][dice.roll(5)];
            world.call(phone, to);
        }
        5 | 6 => {
            let calls = world.phones[phone].calls.len();
            if calls > 0 {
                world.hang_up(phone, dice.roll(calls));
            }
        }
        7 => {
            let willing = [Willing::Ready, Willing::NotReady, Willing::LoggedOff][dice.roll(3)];
            let agent = PEOPLE[dice.roll(3)];
            set(world, agent, agent, willing, "").unwrap();
        }
        8 | 9 => {
            let to = ["2000", "1001", "1002"][dice.roll(3)];
            world.message(phone, to, "hello");
        }
        10 => {
            let (user, lease, on) = (aor(PEOPLE[phone]), 1, dice.roll(2) == 0);
            world.command(Command::Aware { user, lease, on });
        }
        11 => {
            let sessions = sessions(world);
            if !sessions.is_empty() {
                let (user, session) = sessions[dice.roll(sessions.len())];
                let verb = match dice.roll(3) {
                    0 => ImVerb::Accept { session },
                    1 => ImVerb::Reject { session },
                    _ => ImVerb::End { session },
                };
                im(world, user, verb);
            }
        }
        12 => world.phones[phone].is_dead = !world.phones[phone].is_dead,
        13 => {
            world.phones[phone].on_invite = match dice.roll(3) {
                0 => OnInvite::Ring,
                1 => OnInvite::Refuse(486),
                _ => OnInvite::AnswerAfter(Duration::from_millis(700)),
            };
        }
        14 if dice.roll(4) == 0 => world.restart(),
        _ => world.run(Duration::from_secs([1, 6, 35][dice.roll(3)])),
    }
}

fn im(world: &mut World, user: &str, verb: ImVerb) {
    let (by, client) = (By::User(aor(user)), "".into());
    world.command(Command::Im(Box::new(ImAct { by, client, verb })));
}

fn transcripts(world: &mut World, user: &str) -> Vec<ImTranscript> {
    let (user, session) = (Some(aor(user)), None);
    match world.command(Command::ImSessions { user, session }) {
        Answer::Sessions(sessions) => sessions,
        other => panic!("{other:?}"),
    }
}

/// Who of the people is in which session that goes on.
fn sessions(world: &mut World) -> Vec<(&'static str, model::SessionId)> {
    let mut found = Vec::new();
    for user in PEOPLE {
        let own = transcripts(world, user).into_iter().filter(|one| goes_on(one, user));
        found.extend(own.map(|one| (user, one.session.id)));
    }
    found
}

fn goes_on(one: &ImTranscript, user: &str) -> bool {
    let is_in = one
        .session
        .party_of(&aor(user))
        .is_some_and(|party| party.standing.is_in());
    is_in && matches!(one.session.state, ImState::Establishing | ImState::Connected)
}

fn calls(world: &mut World) -> Vec<InteractionId> {
    match world.command(Command::Calls) {
        Answer::Calls(calls) => calls.iter().map(|call| call.id).collect(),
        other => panic!("{other:?}"),
    }
}

/// What agents are engaged with is what the lists of calls and sessions show.
fn check(world: &mut World) {
    let Answer::Calls(calls) = world.command(Command::Calls) else {
        panic!("no calls")
    };
    for user in &PEOPLE[..3] {
        let view = view(world, user);
        let legs = calls.iter().flat_map(|call| &call.legs);
        let living = legs.filter(|leg| leg.user.as_ref() == Some(&aor(user)) && &*leg.state != "ended");
        let voice = view.voice.expect("an agent");
        assert_eq!(voice.engaged as usize, living.count(), "{user} by voice");
        assert!(
            voice.engaged > 0 || voice.state != AgentStatus::Busy,
            "{user} is busy with nothing"
        );
        let open = transcripts(world, user).iter().filter(|one| goes_on(one, user)).count();
        let im = view.im.expect("an agent");
        assert_eq!(im.engaged as usize, open, "{user} by message");
        assert!(
            im.engaged >= 2 || im.state != AgentStatus::Busy,
            "{user} is busy with too little"
        );
    }
}
