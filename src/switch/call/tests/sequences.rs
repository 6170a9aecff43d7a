//! Random sequences of verbs and gestures: whatever agents, customers and phones do in whatever order, the invariants hold
//! after each step, and when all have hung up nothing is left. A failing seed is named and replays.

use super::stage::{Stage, aor};
use super::*;
use crate::{Act, Answer, By, Command, Input, Mute, Supervision, Verb};
use model::{InteractionId, Medium, PartyId};

/// Sequences, unless `TANDEM_SEQUENCES` says how many; scripts/test says 20,000.
const SEQUENCES: u64 = 2_000;

/// Sequences on one stage, so that phones register once for all of them.
const ON_ONE_STAGE: u64 = 100;

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
fn random_verbs_in_any_order_leave_nothing_behind() {
    #[allow(clippy::disallowed_methods)] // a test's own count
    let wanted = std::env::var("TANDEM_SEQUENCES")
        .ok()
        .and_then(|count| count.parse().ok());
    let stages = wanted.unwrap_or(SEQUENCES).div_ceil(ON_ONE_STAGE);
    // A part of many, each at a core of its own: scripts/soak.
    #[allow(clippy::disallowed_methods)]
    let begin = std::env::var("TANDEM_FIRST_SEQUENCE")
        .ok()
        .and_then(|first| first.parse::<u64>().ok());
    let begin = begin.unwrap_or(0) / ON_ONE_STAGE;
    for first in (begin..begin + stages).map(|stage| stage * ON_ONE_STAGE) {
        let mut config = super::stage::config();
        // On every second stage calls may live at two media workers.
        config.media.workers = if (first / ON_ONE_STAGE).is_multiple_of(2) { 1 } else { 2 };
        let mut stage = Stage::with(config);
        for seed in first..first + ON_ONE_STAGE {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&mut stage, seed)));
            if let Err(panic) = outcome {
                println!("{:#?}", stage.log);
                println!("sequence {seed} fails (from the stage that begins with {first})");
                std::panic::resume_unwind(panic);
            }
        }
        stage.end();
    }
}

/// One sequence: some calls begin, then anything.
fn play(stage: &mut Stage, seed: u64) {
    let mut dice = Dice(seed);
    stage.log.clear();
    // What somebody has set by a star code ends with the sequence: few would be called after some time.
    for who in 1..5 {
        let core = &mut stage.lab.switch.core;
        if core.settings.of(&aor(who)).is_some() {
            core.set(&aor(who), |set| {
                (set.do_not_disturb, set.forward_no_answer) = (false, None)
            });
        }
    }
    stage.call(1, 0);
    for _ in 0..4 + dice.roll(10) {
        step(stage, &mut dice);
        stage.settle();
    }
    stage.assert_sense();
    stage.clear();
    assert_eq!(stage.lab.figure("calls"), 0);
    let records = u64::try_from(stage.lab.records.len()).unwrap();
    assert_eq!(stage.lab.figure("legs_ended_total"), records, "a record for each leg");
    assert_eq!(stage.lab.studio.open_rooms(), 0, "rooms left in the engine");
}

fn step(stage: &mut Stage, dice: &mut Dice) {
    let who = dice.roll(5);
    let what = dice.roll(20);
    stage.log.push(format!("phone {who}, step {what}"));
    match what {
        0 => dial(stage, dice, who, ""),
        1..4 => {
            if let Some(who) = (0..5).find(|&who| !stage.actors[who].ringing.is_empty() && !stage.actors[who].is_dead) {
                match dice.roll(4) {
                    0 => stage.refuse(who, [486, 603, 480][dice.roll(3)]),
                    _ => stage.answer(who),
                }
            }
        }
        4 => {
            if let Some(line) = some_line(stage, dice, who) {
                stage.hang_up(who, line);
            }
        }
        5 => {
            if let Some(line) = some_line(stage, dice, who) {
                let direction = ["sendonly", "sendrecv", "inactive"][dice.roll(3)];
                let method = [Method::Invite, Method::Update][dice.roll(2)];
                stage.reinvite(who, line, method, direction);
            }
        }
        6 => refer(stage, dice, who),
        7 => {
            let other = dice.roll(5);
            if let Some(line) = some_line(stage, dice, other) {
                let name = ["Replaces", "Join"][dice.roll(2)];
                let extra = format!("{name}: {}\r\n", stage.replaces(other, line));
                dial(stage, dice, who, &extra);
            }
        }
        8 => {
            stage.pass_s([1, 1, 1, 61][dice.roll(4)]);
            stage.end_tones();
        }
        // Two at once: what one of them does is on its way while the other acts.
        9 => {
            if let Some(line) = some_line(stage, dice, who) {
                stage.request_at_once(who, line);
                command(stage, dice);
            }
        }
        10 => {
            let deaf = dice.roll(5);
            stage.actors[deaf].is_dead = true;
        }
        // Offers are refused from now on, or taken again.
        11 => stage.actors[who].refuses = [None, Some(491), Some(488), Some(500)][dice.roll(4)],
        // What one phone does meets what is on its way to it, and what others do at the same moment.
        12 => {
            stage.slow(true);
            command(stage, dice);
            if let Some(line) = some_line(stage, dice, who) {
                match dice.roll(3) {
                    0 => stage.request_at_once(who, line),
                    1 => refer(stage, dice, who),
                    _ => {
                        stage.reinvite(who, line, Method::Invite, "sendonly");
                    }
                }
            }
            command(stage, dice);
            stage.slow(false);
        }
        13 => {
            let flow = stage.actors[who].phone.flow;
            stage.lab.input(Input::Closed { flow });
        }
        _ => command(stage, dice),
    }
}

fn dial(stage: &mut Stage, dice: &mut Dice, who: usize, extra: &str) {
    let living = stage.actors[who].dialogs.iter().filter(|line| !line.over).count();
    if living >= 3 || stage.actors[who].is_dead {
        return;
    }
    let number = [
        "1000", "1005", "1001", "1002", "1009", "*01000", "*11000", "*21001", "*81001", "9196", "4711", "3001", "9664",
        "*78", "*79", "*921002", "*93",
    ][dice.roll(17)];
    // Each sequence begins with a call that rings at the first phone.
    if who == 0 && ["*78", "*921002"].contains(&number) {
        return;
    }
    stage.log.push(format!("{who} dials {number} {extra:?}"));
    stage.dial_with(who, number, extra);
}

fn refer(stage: &mut Stage, dice: &mut Dice, who: usize) {
    let Some(line) = some_line(stage, dice, who) else {
        return;
    };
    let number = ["1000", "1005", "1001", "1002", "4711", "3001", "9196"][dice.roll(7)];
    let other = if dice.roll(3) == 0 { dice.roll(5) } else { who };
    let parameters = match (dice.roll(3), some_line(stage, dice, other)) {
        (0, _) => String::new(),
        (1, _) => ";method=BYE".to_owned(),
        (_, None) => String::new(),
        (_, Some(line)) => format!("?Replaces={}", stage.escaped(other, line)),
    };
    let extra = format!("Refer-To: <sip:{number}@example.com{parameters}>\r\n");
    stage.log.push(format!("{who} on line {line}: {extra:?}"));
    stage.request(who, line, Method::Refer, &extra, None);
}

/// A call of a phone that is up.
fn some_line(stage: &Stage, dice: &mut Dice, who: usize) -> Option<usize> {
    if stage.actors[who].is_dead {
        return None;
    }
    let lines = stage.actors[who].dialogs.iter().enumerate();
    let up: Vec<usize> = lines.filter(|(_, line)| line.is_up()).map(|(at, _)| at).collect();
    (!up.is_empty()).then(|| up[dice.roll(up.len())])
}

fn command(stage: &mut Stage, dice: &mut Dice) {
    let views = stage.views();
    if views.is_empty() {
        return;
    }
    let view = views[dice.roll(views.len())].clone();
    let party = match view.parties.len() {
        0 => PartyId(0),
        count => view.parties[dice.roll(count)].id,
    };
    let by = match dice.roll(4) {
        0 => By::Operator(None),
        1 => By::User(aor(dice.roll(5))),
        _ => match view
            .parties
            .iter()
            .find(|candidate| candidate.id == party)
            .and_then(|party| party.user.clone())
        {
            Some(user) => By::User(user),
            None => By::Operator(Some(party)),
        },
    };
    let verb = verb(dice, view.id, party, &views);
    let act = Act {
        by,
        client: "".into(),
        verb,
    };
    stage.log.push(format!("{act:?}"));
    let told = |stage: &Stage| (stage.lab.studio.plans.len(), stage.lab.sent.len());
    let before = told(stage);
    if let Answer::Refused(why) = stage.lab.ask(Command::Act(Box::new(act))) {
        assert_eq!(told(stage), before, "refused ({why:?}), and something was done");
        assert_eq!(stage.views(), views, "refused ({why:?}), and something has changed");
    }
}

fn verb(dice: &mut Dice, interaction: InteractionId, party: PartyId, views: &[model::InteractionView]) -> Verb {
    let target: Box<str> = ["1000", "1005", "1001", "1002", "1009", "4711", "3001", "9664"][dice.roll(8)].into();
    let consultation = views
        .iter()
        .rev()
        .find(|view| view.parent.is_some())
        .map_or(interaction, |view| view.id);
    let on = dice.roll(2) == 0;
    match dice.roll(22) {
        0 => Verb::Hold { interaction },
        1 => Verb::Resume { interaction },
        2 => Verb::Toggle { interaction },
        3..6 => Verb::Consult {
            interaction,
            target,
            medium: Medium::Voice,
        },
        6 => Verb::EndConsult { consultation },
        7 => Verb::CompleteTransfer { consultation },
        8 => Verb::CompleteConference { consultation },
        9 => Verb::InstantTransfer { interaction, target },
        10 => Verb::InstantConference { interaction, target },
        11 => Verb::Add { interaction, target },
        12 => Verb::Drop { interaction, party },
        13 => Verb::Leave { interaction },
        14 => {
            let mute = [Mute::Speech, Mute::Hearing, Mute::Both][dice.roll(3)];
            let listener = (dice.roll(2) == 0).then_some(party);
            Verb::Mute {
                interaction,
                party,
                listener,
                mute,
                on,
            }
        }
        15 | 16 => {
            let mode = [Supervision::Listen, Supervision::Whisper, Supervision::Barge][dice.roll(3)];
            Verb::Supervise {
                interaction,
                party: on.then_some(party),
                mode,
            }
        }
        17 => Verb::Record { interaction, on },
        18 => Verb::SendToVoicemail { interaction, target },
        19 => Verb::TakeOver { interaction },
        20 => {
            let interaction = consultation;
            let mode = [Supervision::Listen, Supervision::Whisper, Supervision::Barge][dice.roll(3)];
            match dice.roll(3) {
                0 => Verb::TakeOver { interaction },
                _ => Verb::Supervise {
                    interaction,
                    party: None,
                    mode,
                },
            }
        }
        _ => {
            let (key, value) = ("order".into(), if on { "77" } else { "" }.into());
            Verb::SetCaseData {
                interaction,
                key,
                value,
            }
        }
    }
}
