//! Everything that can go wrong in the midst of a verb: every verb in every state against every trouble. Whatever comes of it,
//! the invariants hold, nobody is forgotten on hold, and in the end nothing is left and each leg has one record.

use super::stage::{ANN, BOSS, CUSTOMER, JIM, KATE, Stage, aor};
use super::*;
use crate::{Act, Answer, By, Command, Input, Mute, Supervision, Verb};
use model::{InteractionId, LegId, Medium, PartyId};
use std::collections::BTreeSet;

/// What is going on before the verb.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum State {
    Talking,
    Held,
    /// Both sides have, Kate by command and the customer by his phone.
    HeldByBoth,
    /// Jim rings.
    Asking,
    /// Jim was busy, and Kate hears that.
    Refused,
    Consulting,
    /// Kate asked by a second call of her phone.
    ConsultingByPhone,
    Conference,
    /// The supervisor listens.
    Supervised,
    /// He has gone along with Kate, who consults Jim.
    SupervisedAside,
    /// Jim rings to take the contact.
    Transferring,
}

/// What goes wrong.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// A phone offers while our offer to it is on its way: both say 491.
    Glare(usize),
    /// A phone hangs up before it has seen anything of the verb.
    Bye(usize),
    /// Whoever rings is busy.
    Busy,
    /// Nobody answers what rings.
    NoAnswer,
    /// A phone hears and says nothing any more.
    Dies(usize),
    /// An operator does this at the same moment.
    At(usize),
}

const TROUBLES: [Trouble; 16] = [
    Trouble::Glare(KATE),
    Trouble::Glare(CUSTOMER),
    Trouble::Glare(JIM),
    Trouble::Bye(KATE),
    Trouble::Bye(CUSTOMER),
    Trouble::Bye(JIM),
    Trouble::Bye(BOSS),
    Trouble::Busy,
    Trouble::NoAnswer,
    Trouble::Dies(KATE),
    Trouble::Dies(CUSTOMER),
    Trouble::Dies(JIM),
    Trouble::Dies(BOSS),
    Trouble::At(0),
    Trouble::At(1),
    Trouble::At(2),
];

/// The customer and Kate, in a state.
fn set(state: State) -> (Stage, InteractionId) {
    let (mut stage, interaction) = Stage::talking();
    let consult = |target: &str| Verb::Consult {
        interaction,
        target: target.into(),
        medium: Medium::Voice,
    };
    match state {
        State::Talking => {}
        State::Held => drop(stage.act(KATE, Verb::Hold { interaction })),
        State::HeldByBoth => {
            stage.reinvite(CUSTOMER, 0, Method::Invite, "sendonly");
            stage.act(KATE, Verb::Hold { interaction });
        }
        State::Asking => drop(stage.act(KATE, consult("1001"))),
        State::Refused => {
            stage.act(KATE, consult("1001"));
            stage.refuse(JIM, 486);
        }
        State::Consulting | State::Conference => {
            let consultation = stage.act(KATE, consult("1001")).view.id;
            stage.answer(JIM);
            if state == State::Conference {
                stage.act(KATE, Verb::CompleteConference { consultation });
            }
        }
        State::ConsultingByPhone => {
            stage.reinvite(KATE, 0, Method::Invite, "sendonly");
            stage.dial(KATE, "1001");
            stage.answer(JIM);
        }
        State::Supervised => stage.dial(BOSS, "*01000"),
        State::SupervisedAside => {
            stage.dial(BOSS, "*01000");
            stage.act(KATE, consult("1001"));
            stage.answer(JIM);
        }
        State::Transferring => {
            let target = "1001".into();
            stage.act(KATE, Verb::InstantTransfer { interaction, target });
        }
    }
    (stage, interaction)
}

/// Every verb, as an agent or supervisor would say it in that moment.
fn verbs(stage: &mut Stage, interaction: InteractionId) -> Vec<(usize, Verb)> {
    let view = stage.view(interaction);
    let consultation = view.consultations.last().copied().unwrap_or(interaction);
    let party = |who: usize| {
        let mut parties = view.parties.iter();
        let found = parties.find(|party| party.user == Some(aor(who)));
        found.map_or(PartyId(1), |party| party.id)
    };
    let target = || "1002".into();
    let supervise = |mode| Verb::Supervise {
        interaction,
        party: None,
        mode,
    };
    let supervise_aside = |mode| Verb::Supervise {
        interaction: consultation,
        party: None,
        mode,
    };
    let mute = |listener, mute| Verb::Mute {
        interaction,
        party: party(CUSTOMER),
        listener,
        mute,
        on: true,
    };
    vec![
        (KATE, Verb::Hold { interaction }),
        (KATE, Verb::Resume { interaction }),
        (KATE, Verb::Toggle { interaction }),
        (
            KATE,
            Verb::Consult {
                interaction,
                target: target(),
                medium: Medium::Voice,
            },
        ),
        (KATE, Verb::EndConsult { consultation }),
        (KATE, Verb::CompleteTransfer { consultation }),
        (
            KATE,
            Verb::InstantTransfer {
                interaction,
                target: target(),
            },
        ),
        (
            KATE,
            Verb::InstantTransfer {
                interaction,
                target: "3001".into(),
            },
        ),
        (KATE, Verb::CompleteConference { consultation }),
        (
            KATE,
            Verb::InstantConference {
                interaction,
                target: target(),
            },
        ),
        (
            KATE,
            Verb::Add {
                interaction,
                target: target(),
            },
        ),
        (
            KATE,
            Verb::Drop {
                interaction,
                party: party(JIM),
            },
        ),
        (KATE, Verb::Leave { interaction }),
        (KATE, mute(None, Mute::Speech)),
        (KATE, mute(Some(party(KATE)), Mute::Both)),
        (KATE, mute(None, Mute::Hearing)),
        (KATE, mute(Some(party(KATE)), Mute::Hearing)),
        (BOSS, supervise(Supervision::Listen)),
        (BOSS, supervise(Supervision::Whisper)),
        (BOSS, supervise(Supervision::Barge)),
        (BOSS, Verb::TakeOver { interaction }),
        (BOSS, supervise_aside(Supervision::Listen)),
        (BOSS, supervise_aside(Supervision::Barge)),
        (
            BOSS,
            Verb::TakeOver {
                interaction: consultation,
            },
        ),
        (KATE, Verb::Record { interaction, on: true }),
        (
            KATE,
            Verb::SendToVoicemail {
                interaction,
                target: target(),
            },
        ),
        (
            KATE,
            Verb::SetCaseData {
                interaction,
                key: "order".into(),
                value: "77".into(),
            },
        ),
    ]
}

fn command(stage: &mut Stage, by: By, verb: Verb) -> Answer {
    let act = Act {
        by,
        client: "".into(),
        verb,
    };
    stage.lab.ask(Command::Act(Box::new(act)))
}

/// The verb, and the trouble while nobody has reacted to it yet.
fn meet(stage: &mut Stage, interaction: InteractionId, (who, verb): (usize, Verb), trouble: Trouble) {
    if let Trouble::Dies(who) = trouble {
        stage.actors[who].is_dead = true;
    }
    stage.slow(true);
    command(stage, By::User(aor(who)), verb);
    match trouble {
        Trouble::Glare(who) => {
            for line in living(stage, who) {
                stage.reinvite(who, line, Method::Invite, "sendonly");
            }
            stage.actors[who].refuses = Some(491);
        }
        Trouble::Bye(who) => living(stage, who)
            .into_iter()
            .for_each(|line| stage.request_at_once(who, line)),
        Trouble::At(which) => {
            let opposite = match which {
                0 => Verb::Leave { interaction },
                1 => Verb::InstantTransfer {
                    interaction,
                    target: "1001".into(),
                },
                _ => Verb::Resume { interaction },
            };
            command(stage, By::Operator(None), opposite);
        }
        Trouble::Busy | Trouble::NoAnswer | Trouble::Dies(_) => {}
    }
    stage.slow(false);
    match trouble {
        Trouble::Busy => (0..5).for_each(|who| {
            while !stage.actors[who].ringing.is_empty() {
                stage.refuse(who, 486);
            }
        }),
        Trouble::NoAnswer => pass(stage, 62),
        Trouble::Dies(_) => pass(stage, 70),
        Trouble::Glare(who) => {
            stage.actors[who].refuses = None;
            pass(stage, 5);
        }
        _ => {}
    }
}

fn pass(stage: &mut Stage, seconds: u64) {
    for _ in 0..seconds.div_ceil(4) {
        stage.lab.pass_s(4);
        stage.settle();
    }
}

fn living(stage: &Stage, who: usize) -> Vec<usize> {
    let lines = stage.actors[who].dialogs.iter().enumerate();
    lines.filter(|(_, line)| line.is_up()).map(|(at, _)| at).collect()
}

/// All answer what rings, then all hang up: nothing is left, and each leg has one record.
fn close(mut stage: Stage, mut legs: BTreeSet<LegId>) {
    for who in 0..5 {
        while !stage.actors[who].is_dead && !stage.actors[who].ringing.is_empty() {
            stage.answer(who);
        }
    }
    stage.assert_sense();
    legs.extend(stage.legs());
    stage.clear();
    let records: Vec<LegId> = stage.lab.records.iter().map(|record| record.leg).collect();
    for leg in legs {
        let count = records.iter().filter(|record| **record == leg).count();
        assert_eq!(count, 1, "records of leg {leg}");
    }
    stage.end();
}

/// Every verb in this state against every trouble.
fn all_of(state: State) {
    let (mut stage, interaction) = set(state);
    let count = verbs(&mut stage, interaction).len();
    for at in 0..count {
        for trouble in TROUBLES {
            let (mut stage, interaction) = set(state);
            let wanted = verbs(&mut stage, interaction).swap_remove(at);
            let case = format!("{state:?}: {:?} meets {trouble:?}", wanted.1);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let mut legs: BTreeSet<LegId> = stage.legs().into_iter().collect();
                meet(&mut stage, interaction, wanted, trouble);
                legs.extend(stage.legs());
                stage.assert_sense();
                close(stage, legs);
            }));
            if let Err(panic) = outcome {
                println!("{case}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn every_verb_while_two_talk_survives_every_trouble() {
    all_of(State::Talking);
}

#[test]
fn every_verb_while_the_contact_is_held_survives_every_trouble() {
    all_of(State::Held);
    all_of(State::HeldByBoth);
}

#[test]
fn every_verb_while_the_consulted_party_rings_survives_every_trouble() {
    all_of(State::Asking);
}

#[test]
fn every_verb_after_a_consultation_that_was_refused_survives_every_trouble() {
    all_of(State::Refused);
}

#[test]
fn every_verb_in_a_consultation_survives_every_trouble() {
    all_of(State::Consulting);
    all_of(State::ConsultingByPhone);
}

#[test]
fn every_verb_in_a_conference_survives_every_trouble() {
    all_of(State::Conference);
}

#[test]
fn every_verb_under_a_supervisor_survives_every_trouble() {
    all_of(State::Supervised);
}

#[test]
fn every_verb_in_a_consultation_under_a_supervisor_survives_every_trouble() {
    all_of(State::SupervisedAside);
}

#[test]
fn every_verb_during_a_transfer_survives_every_trouble() {
    all_of(State::Transferring);
}

// What comes of some of them, to the letter.

#[test]
fn an_offer_that_meets_the_phones_own_is_made_again_and_both_holds_count() {
    let (mut stage, interaction) = Stage::talking();
    // Kate's phone holds itself; the command asks it back, and it has an offer of its own on the way.
    stage.reinvite(KATE, 0, Method::Invite, "sendonly");
    stage.slow(true);
    command(&mut stage, By::User(aor(KATE)), Verb::Resume { interaction });
    stage.reinvite(KATE, 0, Method::Invite, "inactive");
    stage.actors[KATE].refuses = Some(491);
    stage.slow(false);
    let told: Vec<u16> = stage.actors[KATE].replies.iter().map(Message::status).collect();
    assert_eq!(told.last(), Some(&491), "{told:?}");
    assert_eq!(stage.hears(CUSTOMER), ["music"]);
    stage.actors[KATE].refuses = None;
    pass(&mut stage, 5);
    assert_eq!(
        (stage.hears(KATE), stage.hears(CUSTOMER)),
        (vec!["1005".into()], vec!["1000".into()])
    );
    stage.end();
}

#[test]
fn the_contact_hangs_up_while_the_transfer_rings_and_the_target_stops_ringing() {
    let (mut stage, _) = set(State::Transferring);
    stage.hang_up(CUSTOMER, 0);
    assert!(stage.actors[JIM].ringing.is_empty());
    assert!(!stage.is_in_a_call(KATE));
    assert_eq!(stage.outcomes(), [("instant-transfer".to_owned(), 487)]);
    stage.end();
}

#[test]
fn an_agents_phone_that_dies_in_a_consultation_takes_it_along_and_the_contact_goes() {
    let (mut stage, interaction) = set(State::Consulting);
    stage.actors[KATE].is_dead = true;
    // The switch asks her phone something, and hears nothing for 32 s.
    command(&mut stage, By::User(aor(KATE)), Verb::Resume { interaction });
    let consultation = stage.view(interaction).consultations[0];
    command(
        &mut stage,
        By::User(aor(KATE)),
        Verb::CompleteConference { consultation },
    );
    pass(&mut stage, 70);
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(JIM)),
        (vec!["1001".into()], vec!["1005".into()])
    );
    assert_eq!(stage.view(interaction).owner, Some(stage.party_id(interaction, JIM)));
    let kate = stage
        .lab
        .records
        .iter()
        .find(|cdr| cdr.user == Some(aor(KATE)))
        .unwrap();
    assert_eq!(kate.reason, EndReason::SignallingTimeout);
    stage.actors[KATE].dialogs.clear();
    stage.end();
}

#[test]
fn a_phone_whose_stream_breaks_in_mid_verb_is_given_up_by_its_own_time() {
    let (mut stage, interaction) = set(State::Asking);
    stage.actors[KATE].is_dead = true;
    let flow = stage.actors[KATE].phone.flow;
    stage.lab.input(Input::Closed { flow });
    command(&mut stage, By::User(aor(KATE)), Verb::Resume { interaction });
    stage.answer(JIM);
    stage.assert_sense();
    stage.hang_up(JIM, 0);
    stage.hang_up(CUSTOMER, 0);
    pass(&mut stage, 70);
    assert_eq!(stage.lab.figure("calls"), 0);
    stage.actors[KATE].dialogs.clear();
    stage.end();
}

#[test]
fn of_two_opposite_verbs_at_once_the_first_counts_and_the_second_hears_why_not() {
    // The consultation is completed, and ended.
    let (mut stage, interaction) = set(State::Consulting);
    let consultation = stage.view(interaction).consultations[0];
    stage.slow(true);
    let done = command(&mut stage, By::User(aor(KATE)), Verb::CompleteTransfer { consultation });
    let late = command(&mut stage, By::User(aor(JIM)), Verb::EndConsult { consultation });
    stage.slow(false);
    assert!(matches!(done, Answer::Acted(acted) if acted.done));
    assert!(matches!(late, Answer::Refused(crate::Refusal::NotFound(_))), "{late:?}");
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(JIM)),
        (vec!["1001".into()], vec!["1005".into()])
    );
    stage.end();
    // It is ended, and completed.
    let (mut stage, interaction) = set(State::Consulting);
    let consultation = stage.view(interaction).consultations[0];
    stage.slow(true);
    command(&mut stage, By::User(aor(JIM)), Verb::EndConsult { consultation });
    let late = command(&mut stage, By::User(aor(KATE)), Verb::CompleteTransfer { consultation });
    stage.slow(false);
    assert!(matches!(late, Answer::Refused(crate::Refusal::NotFound(_))), "{late:?}");
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(KATE)),
        (vec!["1000".into()], vec!["1005".into()])
    );
    stage.end();
}

#[test]
fn two_agents_transfer_the_same_contact_at_once_and_one_of_them_stays_with_it() {
    let (mut stage, interaction) = set(State::Conference);
    let jim = stage.party_id(interaction, JIM);
    stage.slow(true);
    let transfer = |target: &str| Verb::InstantTransfer {
        interaction,
        target: target.into(),
    };
    command(&mut stage, By::User(aor(KATE)), transfer("1002"));
    command(&mut stage, By::User(aor(JIM)), transfer("1009"));
    stage.slow(false);
    stage.answer(ANN);
    stage.answer(BOSS);
    assert!(!stage.is_in_a_call(KATE) && !stage.is_in_a_call(JIM));
    assert_eq!(stage.hears(CUSTOMER), ["1002", "1009"]);
    assert_ne!(stage.view(interaction).owner, Some(jim));
    stage.end();
}

#[test]
fn the_contact_is_dropped_by_one_and_muted_by_the_other_at_once() {
    let (mut stage, interaction) = set(State::Conference);
    let party = stage.party_id(interaction, CUSTOMER);
    stage.slow(true);
    command(&mut stage, By::User(aor(KATE)), Verb::Drop { interaction, party });
    let late = command(
        &mut stage,
        By::Operator(None),
        Verb::Mute {
            interaction,
            party,
            listener: None,
            mute: Mute::Both,
            on: true,
        },
    );
    stage.slow(false);
    // The party is known until its phone has said goodbye; muting it then harms nobody.
    assert!(matches!(late, Answer::Acted(_) | Answer::Refused(_)));
    assert!(!stage.is_in_a_call(CUSTOMER));
    assert_eq!(
        (stage.hears(KATE), stage.hears(JIM)),
        (vec!["1001".into()], vec!["1000".into()])
    );
    stage.end();
}

#[test]
fn a_conference_that_only_outsiders_are_left_in_ends_by_setting() {
    for ends in [true, false] {
        let mut config = stage::config();
        config.calls.end_without_us = ends;
        let mut stage = Stage::with(config);
        let interaction = stage.call(CUSTOMER, KATE);
        let target = "1001".into();
        stage.act(KATE, Verb::InstantConference { interaction, target });
        stage.answer(JIM);
        for who in [CUSTOMER, JIM] {
            outside(&mut stage, who);
        }
        stage.act(KATE, Verb::Leave { interaction });
        assert_eq!(stage.is_in_a_call(CUSTOMER) && stage.is_in_a_call(JIM), !ends);
        if !ends {
            assert_eq!(
                (stage.hears(CUSTOMER), stage.hears(JIM)),
                (vec!["1001".into()], vec!["1005".into()])
            );
        }
        stage.end();
    }
}

/// As if the party had come over a trunk.
pub(super) fn outside(stage: &mut Stage, who: usize) {
    let calls = &mut stage.lab.switch.calls;
    let keys: Vec<_> = calls.interactions.iter().map(|(key, _)| key).collect();
    for key in keys {
        let parties = calls
            .interactions
            .get_mut(key)
            .into_iter()
            .flat_map(|call| &mut call.parties);
        parties
            .filter(|party| party.user == Some(aor(who)))
            .for_each(|party| party.user = None);
    }
}
