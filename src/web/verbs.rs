//! Commands: what a client wants done, by HTTP or websocket. Both ways end here.

use crate::access::Caller;
use crate::api::{self, calls};
use crate::requests::Outcome;
use crate::{ApiError, Context};
use axum::Json;
use axum::body::Bytes;
use axum::http::HeaderMap;
use model::{InteractionId, InteractionView, Medium, PartyId, SessionId, TargetKind, Willing};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use switch::{Act, Answer, By, Command, ImAct, ImVerb, Mute, Originate, RecordWish, SetAgent, Supervision, Verb};
use utoipa::ToSchema;

/// A command. In JSON it carries its name: `{"command": "consult", "interaction": "i-...", "target": "1002"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Wish {
    /// Calls a user's phone, and when it answers the target, as one call of theirs. Users for themselves; supervisors for all.
    Originate {
        /// Extension or number, as dialled.
        #[schema(value_type = String)]
        target: Box<str>,
        /// Whose phone: extension or extension@domain; else one's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        user: Option<Box<str>>,
    },
    /// Says that an agent is ready, not ready or logged off. Agents for themselves; supervisors for all.
    SetAgentState {
        state: Willing,
        /// Of whom: extension or extension@domain; else of oneself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        user: Option<Box<str>>,
        /// Of which medium; else of all that the account has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        medium: Option<Medium>,
        /// Why not ready.
        #[serde(default)]
        #[schema(value_type = Option<String>)]
        reason: Box<str>,
    },
    /// Finds people, groups and skills, with how they are and what they can take now.
    Search {
        /// Parts of a name, number, e-mail, skill or group.
        #[serde(default)]
        text: String,
        /// Only these kinds.
        #[serde(default)]
        kinds: Vec<TargetKind>,
        /// What is offered is about this interaction.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interaction: Option<InteractionId>,
        /// Lines of the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
    },
    /// Ends the call.
    Hangup { interaction: InteractionId },
    /// Puts the others on hold.
    Hold { interaction: InteractionId },
    /// Takes them off hold.
    Resume { interaction: InteractionId },
    /// Changes between the interaction and its consultation.
    Toggle { interaction: InteractionId },
    /// Holds the interaction and calls somebody to talk about it.
    Consult {
        interaction: InteractionId,
        /// Extension or number, as dialled.
        #[schema(value_type = String)]
        target: Box<str>,
        #[serde(default)]
        medium: Medium,
    },
    /// Ends a consultation, and resumes its interaction.
    EndConsult { consultation: InteractionId },
    /// The consulted party takes the place of the one who consulted.
    CompleteTransfer { consultation: InteractionId },
    /// Calls somebody who takes one's place when they answer.
    InstantTransfer {
        interaction: InteractionId,
        /// Extension or number, as dialled.
        #[schema(value_type = String)]
        target: Box<str>,
    },
    /// The consulted party joins the interaction.
    CompleteConference { consultation: InteractionId },
    /// Calls somebody who joins as soon as they answer.
    InstantConference {
        interaction: InteractionId,
        /// Extension or number, as dialled.
        #[schema(value_type = String)]
        target: Box<str>,
    },
    /// The same in a conference that stands.
    Add {
        interaction: InteractionId,
        /// Extension or number, as dialled.
        #[schema(value_type = String)]
        target: Box<str>,
    },
    /// Takes a party out.
    Drop { interaction: InteractionId, party: PartyId },
    /// Goes; the others stay.
    Leave { interaction: InteractionId },
    /// Who hears a party, and whom it hears.
    Mute {
        interaction: InteractionId,
        party: PartyId,
        /// Only this listener; else all.
        #[serde(default)]
        listener: Option<PartyId>,
        #[serde(default)]
        mute: Silence,
        /// Mute, or no more.
        on: bool,
    },
    /// A supervisor listens.
    Monitor {
        interaction: InteractionId,
        /// The agent; else the owner.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        party: Option<PartyId>,
        /// The supervisor whose phone rings, for who has none: the operator. Extension or extension@domain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        user: Option<Box<str>>,
    },
    /// A supervisor listens, and is heard by the agent alone.
    Whisper {
        interaction: InteractionId,
        /// The agent; else the owner.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        party: Option<PartyId>,
        /// The supervisor whose phone rings, for who has none: the operator. Extension or extension@domain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        user: Option<Box<str>>,
    },
    /// A supervisor takes part.
    Barge {
        interaction: InteractionId,
        /// The agent; else the owner.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        party: Option<PartyId>,
        /// The supervisor whose phone rings, for who has none: the operator. Extension or extension@domain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        user: Option<Box<str>>,
    },
    /// Takes the place of the owner, who leaves.
    TakeOver {
        interaction: InteractionId,
        /// As in `monitor`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        user: Option<Box<str>>,
    },
    /// Begins, pauses or ends a recording.
    Record {
        interaction: InteractionId,
        state: Recording,
    },
    /// Transfers the contact to a mailbox.
    SendToVoicemail {
        interaction: InteractionId,
        /// Whose mailbox.
        #[schema(value_type = String)]
        target: Box<str>,
    },
    /// Attaches a value to the case; an empty one removes the key.
    SetCaseData {
        interaction: InteractionId,
        #[schema(value_type = String)]
        key: Box<str>,
        #[schema(value_type = String)]
        value: Box<str>,
    },
    /// Opens a session of messages with somebody; nobody hears of it before the first message.
    ImOpen {
        /// Extension or number, as dialled: a user, or a group.
        #[schema(value_type = String)]
        target: Box<str>,
        /// A consultation about this interaction, in which one takes part.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interaction: Option<InteractionId>,
        /// The first message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        text: Option<Box<str>>,
    },
    /// Says something; the first time that is the invitation. Answered when it is on disk.
    ImSend {
        session: SessionId,
        #[schema(value_type = String)]
        text: Box<str>,
    },
    /// Takes an invitation.
    ImAccept { session: SessionId },
    /// Refuses an invitation.
    ImReject { session: SessionId },
    /// Ends a session of two; leaves one of more.
    ImEnd { session: SessionId },
    /// Closes the window: of a session that is over, or was never begun; an invitation under way is taken back.
    ImDone { session: SessionId },
    /// One writes, or no more. To be said again every ten seconds or so.
    ImTyping { session: SessionId, on: bool },
    /// Everything up to this message was displayed; or with `displayed: false` has come, and nobody has seen it yet.
    ImRead {
        session: SessionId,
        seq: u64,
        #[serde(default = "yes")]
        displayed: bool,
    },
    /// Asks somebody to join.
    ImAdd {
        session: SessionId,
        /// Extension or number, as dialled.
        #[schema(value_type = String)]
        target: Box<str>,
    },
    /// Takes a party out, or its invitation back.
    ImDrop { session: SessionId, party: PartyId },
    /// Asks somebody to take one's place.
    ImTransfer {
        session: SessionId,
        /// Extension or number, as dialled.
        #[schema(value_type = String)]
        target: Box<str>,
    },
    /// A consultation goes on by voice: the contact is held, the other one's phone rings, the session stays.
    ImVoice {
        session: SessionId,
        /// Whom to call; else the first who is connected.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        party: Option<PartyId>,
    },
}

/// What is wanted of a recording.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Recording {
    /// Begin, or go on after a pause.
    On,
    /// What is said from now on is not kept.
    Pause,
    /// End it.
    Off,
}

/// A direction of silence.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Silence {
    /// The party is not heard.
    #[default]
    Speech,
    /// The party does not hear.
    Hearing,
    /// Neither.
    Both,
}

/// What came of a verb.
#[derive(Serialize, ToSchema)]
pub(crate) struct ActView {
    /// True: done. False: somebody is being called; the event `verb` says what came of it, with the command's id.
    done: bool,
    /// The interaction as it is now; for `consult` the consultation.
    interaction: InteractionView,
}

/// The field that names what a verb is about; `None`: there is no such verb.
pub(crate) fn subject(verb: &str) -> Option<&'static str> {
    match verb {
        "end-consult" | "complete-transfer" | "complete-conference" => Some("consultation"),
        "hangup" | "hold" | "resume" | "toggle" | "consult" | "instant-transfer" | "instant-conference" | "add"
        | "drop" | "leave" | "mute" | "monitor" | "whisper" | "barge" | "take-over" | "record"
        | "send-to-voicemail" | "set-case-data" => Some("interaction"),
        _ => None,
    }
}

/// The command that a path names: `fixed` stands in it, the other fields in the body.
pub(crate) fn named(body: &Bytes, fixed: [(&str, String); 2]) -> Result<Wish, ApiError> {
    let mut fields: Map<String, Value> = match body.is_empty() {
        true => Map::new(),
        false => api::read(body)?,
    };
    for (name, value) in fixed {
        if fields.insert(name.to_owned(), Value::String(value)).is_some() {
            return Err(ApiError::bad(format!("`{name}` stands in the path")));
        }
    }
    serde_json::from_value(Value::Object(fields)).map_err(ApiError::bad)
}

fn yes() -> bool {
    true
}

/// Whether this, with `im-` before it, is a verb of a session of messages.
pub(crate) fn is_of_sessions(verb: &str) -> bool {
    let verbs = [
        "send", "accept", "reject", "end", "done", "typing", "read", "add", "drop", "transfer", "voice",
    ];
    verbs.contains(&verb)
}

/// Carries out a command once, however often it comes with this id.
pub(crate) async fn once(context: &Context, caller: &Caller, id: &str, wish: Wish) -> Outcome {
    // Nothing is done by it, and each letter typed is one.
    if matches!(wish, Wish::Search { .. }) {
        return perform(context.clone(), caller.clone(), id.into(), wish).await;
    }
    let user = caller.user().map(ToString::to_string).unwrap_or_default();
    // Two ways to write one command are one command.
    let command = serde_json::to_string(&wish).map_err(ApiError::bad)?;
    let work = perform(context.clone(), caller.clone(), id.into(), wish);
    context.requests.once(&user, id, command, work).await
}

/// The same for a request over HTTP, which may name itself in a header.
pub(crate) async fn by_http(
    context: Context,
    caller: Caller,
    headers: &HeaderMap,
    wish: Wish,
) -> Result<Json<Value>, ApiError> {
    let key = headers
        .get("idempotency-key")
        .map(|key| key.to_str().map_err(ApiError::bad));
    match key.transpose()? {
        Some(key) => once(&context, &caller, key, wish).await.map(Json),
        None => perform(context, caller, "".into(), wish).await.map(Json),
    }
}

/// Carries out a command for who may.
pub(crate) async fn perform(context: Context, caller: Caller, client: Box<str>, wish: Wish) -> Outcome {
    if let Some((call, command)) = wish.command() {
        calls::may_touch(&context, &caller, call).await?;
        let done = api::done(&context, command).await?.0.done;
        return Ok(json!({ "done": done }));
    }
    let wish = match wish {
        Wish::Search {
            text,
            kinds,
            interaction,
            limit,
        } => {
            let found = api::agents::search(&context, &caller, (text, kinds), interaction, limit).await?;
            return serde_json::to_value(found).map_err(|_| ApiError::unavailable("the directory"));
        }
        Wish::SetAgentState {
            state,
            user,
            medium,
            reason,
        } => return set_agent(&context, &caller, user, (state, medium, reason)).await,
        wish => wish,
    };
    let by = match (caller.user(), wish.supervisor()) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad(
                "`user` is for the operator; others supervise by their own phone",
            ));
        }
        (Some(user), None) => By::User(user.clone()),
        (None, Some(user)) => By::User(api::aor(&context, user)?),
        (None, None) => By::Operator(None),
    };
    let command = match wish.im_verb() {
        Ok(verb) => Command::Im(Box::new(ImAct { by, client, verb })),
        Err(Wish::Originate { target, user }) => {
            let user = match (user, caller.user()) {
                (Some(user), _) => api::aor(&context, &user)?,
                (None, Some(own)) => own.clone(),
                (None, None) => return Err(ApiError::bad("an operator has no phone: `user` is missing")),
            };
            Command::Originate(Box::new(Originate {
                by,
                client,
                user,
                target,
            }))
        }
        Err(wish) => {
            let verb = wish.verb().ok_or_else(|| ApiError::bad("not a verb"))?;
            Command::Act(Box::new(Act { by, client, verb }))
        }
    };
    match api::ask(&context, command).await? {
        Answer::Acted(acted) => {
            let interaction = match caller.scope() {
                Some(user) => acted.view.seen_by(user),
                None => acted.view,
            };
            let view = ActView {
                done: acted.done,
                interaction,
            };
            serde_json::to_value(view).map_err(|_| ApiError::unavailable("the switch"))
        }
        Answer::Session(transcript) => {
            serde_json::to_value(*transcript).map_err(|_| ApiError::unavailable("the switch"))
        }
        Answer::Sent(message) => {
            let message = *message;
            Ok(json!({ "message": message }))
        }
        Answer::Done(done) => Ok(json!({ "done": done })),
        other => Err(api::unexpected(&other)),
    }
}

async fn set_agent(
    context: &Context,
    caller: &Caller,
    user: Option<Box<str>>,
    (willing, medium, reason): (Willing, Option<Medium>, Box<str>),
) -> Outcome {
    let user = match (user, caller.user()) {
        (Some(user), _) => api::aor(context, &user)?,
        (None, Some(own)) => own.clone(),
        (None, None) => return Err(ApiError::bad("an operator is no agent: `user` is missing")),
    };
    let set = SetAgent {
        by: caller.user().map_or(By::Operator(None), |user| By::User(user.clone())),
        user,
        medium,
        willing,
        reason,
    };
    match api::ask(context, Command::SetAgent(Box::new(set))).await? {
        Answer::Agents(mut views) if !views.is_empty() => {
            serde_json::to_value(views.remove(0)).map_err(|_| ApiError::unavailable("the switch"))
        }
        other => Err(api::unexpected(&other)),
    }
}

impl Wish {
    /// What is a command of its own to the switch, and for which call.
    fn command(&self) -> Option<(InteractionId, Command)> {
        match *self {
            Wish::Hangup { interaction } => Some((interaction, Command::Hangup(interaction))),
            Wish::Record { interaction, state } => {
                let wish = state.into();
                let call = interaction;
                Some((call, Command::Record { call, wish }))
            }
            _ => None,
        }
    }

    /// By whose phone the operator wants it done.
    fn supervisor(&self) -> Option<&str> {
        match self {
            Wish::Monitor { user, .. }
            | Wish::Whisper { user, .. }
            | Wish::Barge { user, .. }
            | Wish::TakeOver { user, .. } => user.as_deref(),
            _ => None,
        }
    }

    /// As the switch knows it; `None` for what is no verb there.
    fn verb(self) -> Option<Verb> {
        let supervise = |interaction, party, mode| Verb::Supervise {
            interaction,
            party,
            mode,
        };
        Some(match self {
            Wish::Hold { interaction } => Verb::Hold { interaction },
            Wish::Resume { interaction } => Verb::Resume { interaction },
            Wish::Toggle { interaction } => Verb::Toggle { interaction },
            Wish::Consult {
                interaction,
                target,
                medium,
            } => Verb::Consult {
                interaction,
                target,
                medium,
            },
            Wish::EndConsult { consultation } => Verb::EndConsult { consultation },
            Wish::CompleteTransfer { consultation } => Verb::CompleteTransfer { consultation },
            Wish::InstantTransfer { interaction, target } => Verb::InstantTransfer { interaction, target },
            Wish::CompleteConference { consultation } => Verb::CompleteConference { consultation },
            Wish::InstantConference { interaction, target } => Verb::InstantConference { interaction, target },
            Wish::Add { interaction, target } => Verb::Add { interaction, target },
            Wish::Drop { interaction, party } => Verb::Drop { interaction, party },
            Wish::Leave { interaction } => Verb::Leave { interaction },
            Wish::Mute {
                interaction,
                party,
                listener,
                mute,
                on,
            } => {
                let mute = mute.into();
                Verb::Mute {
                    interaction,
                    party,
                    listener,
                    mute,
                    on,
                }
            }
            Wish::Monitor { interaction, party, .. } => supervise(interaction, party, Supervision::Listen),
            Wish::Whisper { interaction, party, .. } => supervise(interaction, party, Supervision::Whisper),
            Wish::Barge { interaction, party, .. } => supervise(interaction, party, Supervision::Barge),
            Wish::TakeOver { interaction, .. } => Verb::TakeOver { interaction },
            Wish::SendToVoicemail { interaction, target } => Verb::SendToVoicemail { interaction, target },
            Wish::SetCaseData {
                interaction,
                key,
                value,
            } => Verb::SetCaseData {
                interaction,
                key,
                value,
            },
            _ => return None,
        })
    }

    /// What is a verb of sessions; the wish itself, if it is none.
    fn im_verb(self) -> Result<ImVerb, Wish> {
        Ok(match self {
            Wish::ImOpen {
                target,
                interaction,
                text,
            } => ImVerb::Open {
                target,
                interaction,
                text,
            },
            Wish::ImSend { session, text } => ImVerb::Send { session, text },
            Wish::ImAccept { session } => ImVerb::Accept { session },
            Wish::ImReject { session } => ImVerb::Reject { session },
            Wish::ImEnd { session } => ImVerb::End { session },
            Wish::ImDone { session } => ImVerb::Done { session },
            Wish::ImTyping { session, on } => ImVerb::Typing { session, on },
            Wish::ImRead {
                session,
                seq,
                displayed,
            } => ImVerb::Read {
                session,
                seq,
                displayed,
            },
            Wish::ImAdd { session, target } => ImVerb::Add { session, target },
            Wish::ImDrop { session, party } => ImVerb::Drop { session, party },
            Wish::ImTransfer { session, target } => ImVerb::Transfer { session, target },
            Wish::ImVoice { session, party } => ImVerb::Voice { session, party },
            other => return Err(other),
        })
    }
}

impl From<Recording> for RecordWish {
    fn from(state: Recording) -> RecordWish {
        match state {
            Recording::On => RecordWish::On,
            Recording::Pause => RecordWish::Pause,
            Recording::Off => RecordWish::Off,
        }
    }
}

impl From<Silence> for Mute {
    fn from(silence: Silence) -> Mute {
        match silence {
            Silence::Speech => Mute::Speech,
            Silence::Hearing => Mute::Hearing,
            Silence::Both => Mute::Both,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "i-0123456789abcdef";

    #[test]
    fn every_verb_of_the_switch_can_be_wished_by_its_name() {
        let party = "p-0000000000000001";
        for fields in [
            json!({ "command": "hold" }),
            json!({ "command": "resume" }),
            json!({ "command": "toggle" }),
            json!({ "command": "consult", "target": "1002" }),
            json!({ "command": "end-consult" }),
            json!({ "command": "complete-transfer" }),
            json!({ "command": "instant-transfer", "target": "1002" }),
            json!({ "command": "complete-conference" }),
            json!({ "command": "instant-conference", "target": "1002" }),
            json!({ "command": "add", "target": "1002" }),
            json!({ "command": "drop", "party": party }),
            json!({ "command": "leave" }),
            json!({ "command": "mute", "party": party, "on": true }),
            json!({ "command": "monitor" }),
            json!({ "command": "whisper", "party": party }),
            json!({ "command": "barge" }),
            json!({ "command": "take-over" }),
            json!({ "command": "send-to-voicemail", "target": "1002" }),
            json!({ "command": "set-case-data", "key": "k", "value": "v" }),
        ] {
            let name = fields["command"].as_str().unwrap().to_owned();
            let mut fields = fields;
            fields[subject(&name).unwrap()] = json!(CALL);
            let verb = serde_json::from_value::<Wish>(fields.clone()).unwrap().verb().unwrap();
            assert_eq!((verb.name(), verb.interaction()), (&*name, CALL.parse().unwrap()));
            fields["typo"] = json!(1);
            assert!(
                serde_json::from_value::<Wish>(fields).is_err(),
                "{name} takes what it does not know"
            );
        }
        assert_eq!(subject("dance"), None);
        let record = json!({ "command": "record", "interaction": CALL, "state": "pause" });
        let (_, command) = serde_json::from_value::<Wish>(record).unwrap().command().unwrap();
        let (call, wish) = (CALL.parse().unwrap(), RecordWish::Pause);
        assert_eq!(command, Command::Record { call, wish });
    }
}
