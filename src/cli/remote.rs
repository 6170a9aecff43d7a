//! The verbs that a running node answers: one request, then its answer as JSON or as text for people.

use crate::agents;
use crate::bans;
use crate::client::{Client, Failure, escaped};
use crate::directory;
use crate::im;
use crate::rooms;
use crate::table::{shown, table};
use crate::time::span;
use crate::transcripts;
use crate::verbs;
use crate::{CallsVerb, RegistrationsVerb, RouteVerb, Switched, Verb};
use hyper::Method;
use model::{CallView, Cdr, HeardView, LegSoundView, RegistrationView, StatusView};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::Path;

/// One request to the API.
struct Question {
    method: Method,
    path: String,
    body: Option<Value>,
}

/// Carries out `verb` at the node behind `socket`: what is to be printed.
///
/// # Errors
/// Nobody answers, or the node refuses. [`Verb`]s that the binary carries out itself are refused too.
pub fn run(socket: &Path, verb: &Verb, json: bool) -> Result<String, Failure> {
    let Some(question) = question(verb) else {
        let (code, message) = (
            "usage".to_owned(),
            "this is not a question to a running switch".to_owned(),
        );
        return Err(Failure::Refused {
            code,
            message,
            problems: Vec::new(),
        });
    };
    let answer = ask(socket, &question)?;
    if json {
        return Ok(answer.to_string());
    }
    Ok(told(verb, &answer).unwrap_or_else(|| answer.to_string()))
}

/// Has the node read its configuration again; what changed, in lines for people.
///
/// # Errors
/// Nobody answers, or the configuration has problems.
pub fn reload(socket: &Path) -> Result<String, Failure> {
    run(socket, &Verb::Reload, false)
}

fn ask(socket: &Path, question: &Question) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::NoServer(error.to_string()))?;
    let Question { method, path, body } = question;
    runtime.block_on(Client::new(socket).ask(method.clone(), path, body.as_ref()))
}

fn question(verb: &Verb) -> Option<Question> {
    let (method, path) = match verb {
        Verb::Status => (Method::GET, "/api/v1/status".to_owned()),
        Verb::Reload => (Method::POST, "/api/v1/reload".to_owned()),
        Verb::Drain { .. } => (Method::POST, "/api/v1/drain".to_owned()),
        Verb::Trace { .. } => (Method::PUT, "/api/v1/trace".to_owned()),
        Verb::Registrations(verb) => registrations(verb),
        Verb::Bans(verb) => bans::question(verb),
        Verb::Calls(verb) => calls(verb),
        Verb::Agents(verb) => agents::question(verb),
        Verb::Groups(verb) => agents::group_question(verb),
        Verb::Rooms(verb) => rooms::question(verb),
        Verb::Im(verb) => im::question(verb),
        Verb::Transcripts(verb) => transcripts::question(verb),
        Verb::Directory(verb) => (Method::GET, directory::question(verb)),
        Verb::Route(RouteVerb::Test { from, to }) => (
            Method::GET,
            format!("/api/v1/routes/test?from={}&to={}", escaped(from), escaped(to)),
        ),
        Verb::Serve(_) | Verb::Check | Verb::Version | Verb::User(_) => return None,
    };
    let body = match verb {
        Verb::Drain { limit } => Some(json!({ "limit_s": limit })),
        Verb::Calls(verb) if verbs::body(verb).is_some() => verbs::body(verb),
        Verb::Calls(CallsVerb::Originate { user, target }) => Some(json!({ "user": user, "target": target })),
        Verb::Calls(CallsVerb::Record { state, .. }) => Some(json!({ "state": state.as_str() })),
        Verb::Agents(verb) => agents::body(verb),
        Verb::Rooms(verb) => rooms::body(verb),
        Verb::Bans(verb) => bans::body(verb),
        Verb::Trace { state } => Some(json!({ "on": *state == Switched::On })),
        _ => None,
    };
    Some(Question { method, path, body })
}

fn registrations(verb: &RegistrationsVerb) -> (Method, String) {
    let all = "/api/v1/registrations";
    match verb {
        RegistrationsVerb::List { user: None } => (Method::GET, all.to_owned()),
        RegistrationsVerb::List { user: Some(user) } => (Method::GET, format!("{all}/{}", escaped(user))),
        RegistrationsVerb::Drop { user, contact } => {
            let query = contact
                .as_ref()
                .map(|uri| format!("?contact={}", escaped(uri)))
                .unwrap_or_default();
            (Method::DELETE, format!("{all}/{}{query}", escaped(user)))
        }
    }
}

fn calls(verb: &CallsVerb) -> (Method, String) {
    let all = "/api/v1/calls";
    match verb {
        CallsVerb::List => (Method::GET, all.to_owned()),
        CallsVerb::Originate { .. } => (Method::POST, all.to_owned()),
        CallsVerb::Show { id } => (Method::GET, format!("{all}/{}", escaped(id))),
        CallsVerb::Hangup { id } => (Method::DELETE, format!("{all}/{}", escaped(id))),
        CallsVerb::Record { id, .. } => (Method::POST, format!("{all}/{}/record", escaped(id))),
        CallsVerb::Media { id } => (Method::GET, format!("{all}/{}/media", escaped(id))),
        CallsVerb::Parties { id } => (Method::GET, format!("/api/v1/interactions/{}", escaped(id))),
        CallsVerb::Why { id: Some(id) } => (Method::GET, format!("/api/v1/cdrs?call={}", escaped(id))),
        CallsVerb::Why { id: None } => (Method::GET, "/api/v1/cdrs?limit=20".to_owned()),
        other => verbs::question(other),
    }
}

/// The answer in words; `None` if it has not the shape we know (a newer server).
fn told(verb: &Verb, answer: &Value) -> Option<String> {
    match verb {
        Verb::Status => read(answer).map(|status| told_status(&status)),
        Verb::Reload => told_reload(answer),
        Verb::Drain { .. } => Some("no new calls from now on".to_owned()),
        Verb::Trace { state: Switched::On } => Some("SIP messages are written to the log".to_owned()),
        Verb::Trace { state: Switched::Off } => Some("SIP messages are no longer written to the log".to_owned()),
        Verb::Registrations(RegistrationsVerb::List { .. }) => told_registrations(answer),
        Verb::Registrations(RegistrationsVerb::Drop { .. }) => {
            Some(format!("{} removed", counted(answer["done"].as_u64()?, "binding")))
        }
        Verb::Calls(verb) => told_calls(verb, answer),
        Verb::Agents(verb) => agents::told(verb, answer),
        Verb::Groups(verb) => agents::told_groups(verb, answer),
        Verb::Rooms(verb) => rooms::told(verb, answer),
        Verb::Bans(verb) => bans::told(verb, answer),
        Verb::Im(verb) => im::told(verb, answer),
        Verb::Transcripts(verb) => transcripts::told(verb, answer),
        Verb::Directory(_) => directory::told(answer),
        Verb::Route(_) => answer["route"].as_str().map(shown),
        Verb::Serve(_) | Verb::Check | Verb::Version | Verb::User(_) => None,
    }
}

pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

pub(crate) fn counted(n: u64, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

fn told_status(status: &StatusView) -> String {
    let lines = [
        ("version", status.version.to_string()),
        ("state", status.state.to_string()),
        ("uptime", span(status.uptime_s)),
        ("registrations", status.registrations.to_string()),
        ("calls", status.calls.to_string()),
        ("transactions", status.transactions.to_string()),
        ("messages waiting", status.messages_waiting.to_string()),
        ("RTP ports", status.rtp_ports.to_string()),
    ];
    lines
        .map(|(name, value)| format!("{name:17} {}", shown(&value)))
        .join("\n")
}

fn told_reload(answer: &Value) -> Option<String> {
    let lines = |key: &str| -> Option<Vec<String>> { read(&answer[key]) };
    let (mut told, restart) = (lines("changed")?, lines("restart")?);
    if told.is_empty() {
        told.push("nothing changed".to_owned());
    }
    told.extend(restart.iter().map(|what| format!("needs a restart: {what}")));
    Some(told.join("\n"))
}

fn told_registrations(answer: &Value) -> Option<String> {
    let list: Vec<RegistrationView> = read(&answer["registrations"])?;
    let row = |r: &RegistrationView| {
        let source = format!("{}:{}", transport(r), r.source);
        [
            r.aor.to_string(),
            r.contact.to_string(),
            source,
            span(r.expires_s),
            r.user_agent.to_string(),
        ]
    };
    let rows: Vec<_> = list.iter().map(row).collect();
    Some(table(
        ["USER", "CONTACT", "SOURCE", "EXPIRES", "USER-AGENT"],
        &rows,
        "nobody is registered",
    ))
}

fn transport(registration: &RegistrationView) -> String {
    format!("{:?}", registration.transport).to_lowercase()
}

fn told_calls(verb: &CallsVerb, answer: &Value) -> Option<String> {
    match verb {
        CallsVerb::List => told_list(&read::<Vec<CallView>>(&answer["calls"])?),
        CallsVerb::Show { .. } => told_call(&read(answer)?),
        CallsVerb::Hangup { .. } => Some("hung up".to_owned()),
        CallsVerb::Record { state, .. } => Some(format!("recording {}", state.as_str())),
        CallsVerb::Media { .. } => told_media(&read::<Vec<LegSoundView>>(&answer["legs"])?),
        CallsVerb::Parties { .. } => Some(verbs::told_parties(&read(answer)?)),
        CallsVerb::Why { id } => {
            let mut cdrs: Vec<Cdr> = read(&answer["cdrs"])?;
            if id.is_some() {
                // The story of one call is told from its beginning.
                cdrs.reverse();
            }
            told_why(&cdrs)
        }
        _ => verbs::told(answer),
    }
}

fn told_media(legs: &[LegSoundView]) -> Option<String> {
    let level = |heard: &HeardView| {
        heard
            .level_dbov
            .map_or_else(|| "-".to_owned(), |level| format!("{level:.0}"))
    };
    let tones = |heard: &HeardView| {
        let tones: Vec<String> = heard.tones.iter().map(|tone| format!("{:.0}", tone.hz)).collect();
        if tones.is_empty() {
            "-".to_owned()
        } else {
            tones.join(" ")
        }
    };
    let row = |leg: &LegSoundView| {
        [
            leg.uri.to_string(),
            leg.codec.to_string(),
            leg.mode.to_string(),
            format!("{}/{}", leg.packets_in, leg.packets_out),
            format!("{}/{}", leg.lost, leg.remote_lost),
            format!("{:.0}", leg.jitter_ms),
            leg.mos.map_or_else(|| "-".to_owned(), |mos| format!("{mos:.1}")),
            format!("{}/{}", level(&leg.received), level(&leg.sent)),
            tones(&leg.received),
            tones(&leg.sent),
        ]
    };
    let rows: Vec<_> = legs.iter().map(row).collect();
    let heads = [
        "LEG",
        "CODEC",
        "MODE",
        "IN/OUT",
        "LOST",
        "JITTER ms",
        "MOS",
        "dBov",
        "SENDS Hz",
        "IS SENT Hz",
    ];
    Some(table(heads, &rows, "no sound"))
}

fn told_list(calls: &[CallView]) -> Option<String> {
    let row = |call: &CallView| {
        let party = |at: usize| call.legs.get(at).map(|leg| leg.uri.to_string()).unwrap_or_default();
        let answered = call.answered_at.map(|at| at.to_string()).unwrap_or_default();
        [
            call.id.to_string(),
            call.state.to_string(),
            party(0),
            party(1),
            call.started_at.to_string(),
            answered,
        ]
    };
    let rows: Vec<_> = calls.iter().map(row).collect();
    Some(table(
        ["CALL", "STATE", "FROM", "TO", "STARTED", "ANSWERED"],
        &rows,
        "no calls",
    ))
}

fn told_call(call: &CallView) -> Option<String> {
    let row = |leg: &model::LegView| {
        let reason = leg.reason.map(|reason| word(&reason)).unwrap_or_default();
        let port = if leg.rtp_port == 0 {
            String::new()
        } else {
            leg.rtp_port.to_string()
        };
        let state = leg.state.to_string();
        [
            leg.id.to_string(),
            state,
            leg.uri.to_string(),
            leg.codec.to_string(),
            port,
            reason,
            leg.call_id.to_string(),
        ]
    };
    let rows: Vec<_> = call.legs.iter().map(row).collect();
    let legs = table(
        ["LEG", "STATE", "URI", "CODEC", "RTP", "ENDED", "CALL-ID"],
        &rows,
        "no legs",
    );
    Some(format!(
        "{} {} since {}\n{legs}",
        call.id,
        shown(&call.state),
        call.started_at
    ))
}

fn told_why(cdrs: &[Cdr]) -> Option<String> {
    let row = |cdr: &Cdr| {
        let lasted = cdr
            .answered_at
            .map(|at| span(at.until(cdr.ended_at).as_secs()))
            .unwrap_or_default();
        let who = format!(
            "{} {}",
            word(&cdr.direction),
            cdr.user.as_ref().map(ToString::to_string).unwrap_or_default()
        );
        let why = format!("{} ({}, by {})", word(&cdr.reason), cdr.status, word(&cdr.ended_by));
        let callee = cdr.callee.to_string();
        [
            cdr.interaction.to_string(),
            cdr.ended_at.to_string(),
            who,
            cdr.caller.to_string(),
            callee,
            lasted,
            why,
        ]
    };
    let rows: Vec<_> = cdrs.iter().map(row).collect();
    Some(table(
        ["CALL", "ENDED", "LEG", "CALLER", "DIALLED", "TALKED", "WHY"],
        &rows,
        "no record of such a call",
    ))
}

/// A word of the API: the kebab-case name of a unit variant.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    let name = serde_json::to_value(value).ok();
    name.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn verb(line: &str) -> Verb {
        crate::Arguments::parse_from(format!("tandem {line}").split(' ')).verb
    }

    fn asked(line: &str) -> String {
        let question = question(&verb(line)).unwrap();
        let body = question.body.map(|body| format!(" {body}")).unwrap_or_default();
        format!("{} {}{body}", question.method, question.path)
    }

    #[test]
    fn every_verb_has_its_question() {
        for (line, expected) in [
            ("status", "GET /api/v1/status"),
            ("reload", "POST /api/v1/reload"),
            ("drain --limit 7", "POST /api/v1/drain {\"limit_s\":7}"),
            ("trace on", "PUT /api/v1/trace {\"on\":true}"),
            ("registrations list", "GET /api/v1/registrations"),
            ("registrations list 1000", "GET /api/v1/registrations/1000"),
            ("registrations drop 1000@a", "DELETE /api/v1/registrations/1000%40a"),
            (
                "registrations drop 1 --contact sip:x?y",
                "DELETE /api/v1/registrations/1?contact=sip%3Ax%3Fy",
            ),
            ("calls list", "GET /api/v1/calls"),
            ("calls show i-1", "GET /api/v1/calls/i-1"),
            ("calls hangup i-1", "DELETE /api/v1/calls/i-1"),
            (
                "calls originate 1000 1001",
                "POST /api/v1/calls {\"target\":\"1001\",\"user\":\"1000\"}",
            ),
            ("calls why i-1", "GET /api/v1/cdrs?call=i-1"),
            ("calls why", "GET /api/v1/cdrs?limit=20"),
            ("calls hold i-1", "POST /api/v1/calls/i-1/hold {}"),
            ("calls resume i-1", "POST /api/v1/calls/i-1/resume {}"),
            ("calls toggle i-1", "POST /api/v1/calls/i-1/toggle {}"),
            (
                "calls consult i-1 1002",
                "POST /api/v1/calls/i-1/consult {\"target\":\"1002\"}",
            ),
            ("calls end-consult i-2", "POST /api/v1/calls/i-2/end-consult {}"),
            (
                "calls transfer i-1 1002",
                "POST /api/v1/calls/i-1/instant-transfer {\"target\":\"1002\"}",
            ),
            ("calls transfer i-2", "POST /api/v1/calls/i-2/complete-transfer {}"),
            (
                "calls conference i-1 1002",
                "POST /api/v1/calls/i-1/instant-conference {\"target\":\"1002\"}",
            ),
            ("calls conference i-2", "POST /api/v1/calls/i-2/complete-conference {}"),
            ("calls add i-1 1002", "POST /api/v1/calls/i-1/add {\"target\":\"1002\"}"),
            ("calls drop i-1 p-2", "POST /api/v1/calls/i-1/drop {\"party\":\"p-2\"}"),
            (
                "calls mute i-1 p-2 --off",
                "POST /api/v1/calls/i-1/mute {\"mute\":\"speech\",\"on\":false,\"party\":\"p-2\"}",
            ),
            (
                "calls mute i-1 p-2 --listener p-3 --direction both",
                "POST /api/v1/calls/i-1/mute {\"listener\":\"p-3\",\"mute\":\"both\",\"on\":true,\"party\":\"p-2\"}",
            ),
            ("calls leave i-1", "POST /api/v1/calls/i-1/leave {}"),
            (
                "calls monitor i-1 1009",
                "POST /api/v1/calls/i-1/monitor {\"user\":\"1009\"}",
            ),
            (
                "calls whisper i-1 1009",
                "POST /api/v1/calls/i-1/whisper {\"user\":\"1009\"}",
            ),
            (
                "calls whisper i-1 1009 --party p-2",
                "POST /api/v1/calls/i-1/whisper {\"party\":\"p-2\",\"user\":\"1009\"}",
            ),
            (
                "calls barge i-1 1009",
                "POST /api/v1/calls/i-1/barge {\"user\":\"1009\"}",
            ),
            (
                "calls take-over i-1 1009",
                "POST /api/v1/calls/i-1/take-over {\"user\":\"1009\"}",
            ),
            (
                "calls voicemail i-1 1002",
                "POST /api/v1/calls/i-1/send-to-voicemail {\"target\":\"1002\"}",
            ),
            (
                "calls attach i-1 order 7",
                "POST /api/v1/calls/i-1/set-case-data {\"key\":\"order\",\"value\":\"7\"}",
            ),
            ("calls parties i-1", "GET /api/v1/interactions/i-1"),
            ("rooms list", "GET /api/v1/rooms"),
            ("rooms show 3000", "GET /api/v1/rooms/3000"),
            (
                "rooms mute 3000 2",
                "PATCH /api/v1/rooms/3000/members/2 {\"muted\":true}",
            ),
            (
                "rooms mute 3000 2 --deaf --off",
                "PATCH /api/v1/rooms/3000/members/2 {\"deaf\":false}",
            ),
            ("rooms drop 3000", "DELETE /api/v1/rooms/3000"),
            ("rooms drop 3000 2", "DELETE /api/v1/rooms/3000/members/2"),
            ("rooms lock 3000 --off", "PATCH /api/v1/rooms/3000 {\"locked\":false}"),
            ("im list", "GET /api/v1/im/sessions"),
            ("im end s-1", "POST /api/v1/im/sessions/s-1/end"),
            ("im queue", "GET /api/v1/im/queue"),
            ("im queue 1001", "GET /api/v1/im/queue/1001?limit=1000"),
            ("im drop 1001 m-7", "DELETE /api/v1/im/queue/1001/m-7"),
            ("im drop 1001@a --all", "DELETE /api/v1/im/queue/1001%40a"),
            ("transcripts list", "GET /api/v1/im/transcripts?limit=100"),
            (
                "transcripts list --user 1001 --about i-1 --limit 7 --before 9",
                "GET /api/v1/im/transcripts?limit=7&user=1001&interaction=i-1&before=9",
            ),
            (
                "transcripts search violin ready --user 1001@a",
                "GET /api/v1/im/transcripts?limit=100&user=1001%40a&text=violin%20ready",
            ),
            (
                "transcripts list --since 2026-01-31 --until 2026-02-01T12:30:00Z",
                "GET /api/v1/im/transcripts?limit=100&since=1769817600000&until=1769949000000",
            ),
            (
                "transcripts search violin --since 86400000",
                "GET /api/v1/im/transcripts?limit=100&since=86400000&text=violin",
            ),
            ("transcripts export s-1", "GET /api/v1/im/transcripts/s-1"),
            ("transcripts erase s-1", "DELETE /api/v1/im/transcripts/s-1"),
            ("directory search", "GET /api/v1/directory?limit=100&text="),
            (
                "directory search lewis kate --kind agent --about i-1 --limit 5",
                "GET /api/v1/directory?limit=5&text=lewis%20kate&kind=agent&interaction=i-1",
            ),
            ("route test 1000 *97", "GET /api/v1/routes/test?from=1000&to=%2A97"),
        ] {
            assert_eq!(asked(line), expected, "{line}");
        }
        assert!(
            ["check", "version", "serve", "user list"]
                .iter()
                .all(|line| question(&verb(line)).is_none())
        );
    }

    #[test]
    fn registrations_are_a_table() {
        let answer = json!({ "registrations": [{
            "aor": "1000@a", "contact": "sip:1000@192.0.2.1:5062", "transport": "tcp", "source": "192.0.2.1:40000",
            "q": 1000, "expires_s": 3_599, "user_agent": "Phone\u{1b}[2J 1.0", "answers": true,
        }]});
        let told = told(&verb("registrations list"), &answer).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            [
                "1000@a",
                "sip:1000@192.0.2.1:5062",
                "tcp:192.0.2.1:40000",
                "59m59s",
                "Phone\u{fffd}[2J",
                "1.0"
            ]
        );
    }

    #[test]
    fn a_call_is_shown_with_its_legs() {
        let leg = |n: u32, state: &str, port: u16| {
            json!({
                "id": format!("l-{n:016}"), "user": null, "uri": format!("sip:{n}@a"), "call_id": format!("c{n}"),
                "state": state, "codec": "PCMU/8000", "rtp_port": port, "reason": null,
            })
        };
        let call = json!({
            "id": "i-0000000000000001", "started_at": 0, "answered_at": null, "state": "ringing",
            "legs": [leg(1, "calling", 16_384), leg(2, "ringing", 0)],
        });
        let shown = told(&verb("calls show i-0000000000000001"), &call).unwrap();
        assert!(
            shown.starts_with("i-0000000000000001 ringing since 1970-01-01T00:00:00.000Z\nLEG "),
            "{shown}"
        );
        assert!(
            shown.contains("calling  sip:1@a  PCMU/8000  16384  -      c1"),
            "{shown}"
        );
        let listed = told(&verb("calls list"), &json!({ "calls": [call] })).unwrap();
        assert!(
            listed.contains("i-0000000000000001  ringing  sip:1@a  sip:2@a  1970-01-01"),
            "{listed}"
        );
    }

    #[test]
    fn a_room_is_shown_with_its_members() {
        let member = |id: u32, muted: bool| {
            json!({
                "id": id, "call": "i-0000000000000001", "user": "1000@a", "shown": "\"Kate\" <1000>", "state": "inside",
                "moderator": id == 1, "muted": muted, "deaf": false, "talking": !muted, "speaker": !muted, "came_at": 0,
            })
        };
        let room = json!({
            "name": "3000", "rate_hz": 16_000, "started_at": 0, "locked": true, "max_members": 100,
            "members": [member(1, false), member(2, true)],
        });
        let shown = told(&verb("rooms show 3000"), &room).unwrap();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[0], "3000 at 16000 Hz, locked, 2 of 100 members");
        assert!(lines[2].contains("inside  moderator talking speaker"), "{shown}");
        assert!(lines[3].contains("inside  muted"), "{shown}");
        let listed = told(&verb("rooms list"), &json!({ "rooms": [room] })).unwrap();
        assert!(listed.contains("3000  2        locked"), "{listed}");
    }

    #[test]
    fn the_sound_of_a_call_is_told_leg_by_leg() {
        let tone = json!({ "hz": 440.2, "dbm0": -10.0, "ms": 100, "ago_ms": 0 });
        let leg = json!({
            "leg": "l-0000000000000002", "user": "1000@a", "uri": "sip:1000@a", "codec": "PCMU/8000", "mode": "relay",
            "packets_in": 30, "packets_out": 40, "lost": 1, "duplicates": 0, "strangers": 0, "jitter_ms": 2.4,
            "remote_lost": 5, "remote_jitter_ms": 0.0, "round_trip_ms": null, "mos": 4.36,
            "received": { "level_dbov": -26.0, "tones": [tone] }, "sent": { "level_dbov": null, "tones": [] },
        });
        let told = told(&verb("calls media i-0000000000000001"), &json!({ "legs": [leg] })).unwrap();
        let words: Vec<_> = told.lines().last().unwrap().split_whitespace().collect();
        let expected = [
            "sip:1000@a",
            "PCMU/8000",
            "relay",
            "30/40",
            "1/5",
            "2",
            "4.4",
            "-26/-",
            "440",
            "-",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn a_record_says_why_a_call_ended() {
        let cdr = json!({
            "seq": 7, "interaction": "i-0000000000000001", "leg": "l-0000000000000002", "direction": "in",
            "user": "1000@a", "caller": "\"A\" <1000>", "callee": "1001", "call_id": "c", "started_at": 0,
            "ringing_at": null, "answered_at": 1_000, "ended_at": 62_000, "ended_by": "switch",
            "reason": "media-timeout", "status": 200, "codec": "PCMA/8000", "packets": [1, 2, 3],
        });
        let told = told(&verb("calls why"), &json!({ "cdrs": [cdr] })).unwrap();
        assert!(
            told.ends_with("in 1000@a  \"A\" <1000>  1001     1m01s   media-timeout (200, by switch)"),
            "{told}"
        );
    }

    #[test]
    fn what_a_newer_server_says_is_shown_as_it_is() {
        assert_eq!(told(&verb("status"), &json!({ "new": 1 })), None);
        assert_eq!(told(&verb("calls list"), &json!({ "calls": [{ "new": 1 }] })), None);
    }
}
