//! Each verb by each way there is to say it: by a gesture of a phone, by HTTP, by websocket, by the command line. One table;
//! whichever way it was said, the same people take part with the same flags, each phone hears the same, and the same is
//! recorded. A way that cannot say a verb says why.
//!
//! The API and the command line are the real ones, over their sockets; behind them is a switch in virtual time, so that who
//! hears whom is known to the last edge.

use crate::support::served::TANDEM;
use crate::support::{PATIENCE, http};
use model::{Aor, InteractionId, InteractionView, PartyRole, PartyState, Purpose};
use serde_json::{Value, json};
use sip::Method;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command as Process;
use std::sync::{Arc, Mutex};
use switch::config::{Action, Pattern, Role, Rule};
use switch::testing::stage::{ANN, BOSS, CUSTOMER, JIM, KATE, Stage, aor, config};
use switch::{Answer, Command, Supervision, Verb};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, client};
use web::{Account, Asked, EVENTS_AHEAD, Figure, Limits, Listeners, Reloaded, Server, State};

/// How a verb is said.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Way {
    Gesture,
    OtherGesture,
    Http,
    Websocket,
    CommandLine,
}

const WAYS: [Way; 5] = [
    Way::Gesture,
    Way::OtherGesture,
    Way::Http,
    Way::Websocket,
    Way::CommandLine,
];

/// What is going on before.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Before {
    /// The customer's call rings at Kate's phone.
    Ringing,
    /// The customer talks to Kate.
    Talking,
    /// She has put him on hold.
    Held,
    /// She consults Jim.
    Consulting,
    /// She consults Jim by the line of her one call, whichever way others say what they want.
    ConsultingByLine,
    /// The three confer.
    Conference,
    /// The supervisor listens.
    Supervised,
}

/// What a row's closures know.
struct Cast {
    interaction: InteractionId,
    consultation: Option<InteractionId>,
    parties: BTreeMap<usize, String>,
}

type Gesture = fn(&mut Stage, &Cast);

/// One verb.
struct Row {
    verb: &'static str,
    before: Before,
    by: usize,
    /// The other fields of the command.
    fields: fn(&Cast) -> Value,
    gesture: Result<Gesture, &'static str>,
    /// Another gesture that means the same.
    other_gesture: Option<Gesture>,
    /// Whether there is a command for it.
    commanded: Result<(), &'static str>,
    /// What is typed after `calls`: `I` stands for the interaction, `C` for the consultation, `J` for Jim's party, `K` for the
    /// contact's, `A` for Kate's, who is the agent.
    typed: Result<&'static str, &'static str>,
    /// What phones do then.
    then: fn(&mut Stage),
    /// How it ends: `None` for done.
    refused: Option<u16>,
}

const NO_STAR: &str = "phones have no key for it and there is no star code";
const LOCAL_MUTE: &str = "a phone mutes its own microphone and nobody else";
const LOCAL_MIX: &str =
    "a phone that knows two calls mixes them itself, unseen; in a call of two REFER means a transfer";

fn none(_: &Cast) -> Value {
    json!({})
}

fn nothing(_: &mut Stage) {}

fn phone_offers(stage: &mut Stage, direction: &str) {
    assert_eq!(stage.reinvite(KATE, 0, Method::Invite, direction), 200);
}

fn refer(stage: &mut Stage, line: usize, to: &str) {
    stage.request(KATE, line, Method::Refer, &format!("Refer-To: {to}\r\n"), None);
}

fn holds_and_dials(stage: &mut Stage, number: &str) {
    phone_offers(stage, "sendonly");
    stage.dial(KATE, number);
}

fn table() -> Vec<Row> {
    let row = |verb, before, gesture, typed| Row {
        verb,
        before,
        by: KATE,
        fields: none,
        gesture,
        other_gesture: None,
        commanded: Ok(()),
        typed,
        then: nothing,
        refused: None,
    };
    let by_phone_alone = |verb, before, why, gesture: Gesture, other: Gesture| Row {
        other_gesture: Some(other),
        commanded: Err(why),
        ..row(verb, before, Ok(gesture), Err(why))
    };
    let in_consultation = |verb, fields: fn(&Cast) -> Value, typed, gesture: Gesture| Row {
        by: BOSS,
        fields,
        then: answer_if_it_rings,
        ..row(verb, Before::ConsultingByLine, Ok(gesture), Ok(typed))
    };
    let of_kate: fn(&Cast) -> Value = |cast| json!({ "party": cast.parties[&KATE] });
    let g = |gesture: Gesture| Ok(gesture);
    let to_jim: fn(&Cast) -> Value = |_| json!({ "target": "1001" });
    let to_ann: fn(&Cast) -> Value = |_| json!({ "target": "1002" });
    let to_service = |typed: &'static str, fields: fn(&Cast) -> Value, gesture: Gesture| Row {
        fields,
        ..row("consult", Before::Talking, g(gesture), Ok(typed))
    };
    let jim_answers: fn(&mut Stage) = |stage| stage.answer(JIM);
    let ann_answers: fn(&mut Stage) = |stage| stage.answer(ANN);
    vec![
        row(
            "hold",
            Before::Talking,
            g(|stage, _| phone_offers(stage, "sendonly")),
            Ok("hold I"),
        ),
        row(
            "resume",
            Before::Held,
            g(|stage, _| phone_offers(stage, "sendrecv")),
            Ok("resume I"),
        ),
        row(
            "toggle",
            Before::Consulting,
            g(|stage, _| {
                stage.reinvite(KATE, 1, Method::Invite, "sendonly");
                stage.reinvite(KATE, 0, Method::Invite, "sendrecv");
            }),
            Ok("toggle I"),
        ),
        Row {
            fields: to_jim,
            then: jim_answers,
            ..row(
                "consult",
                Before::Talking,
                g(|stage, _| {
                    stage.reinvite(KATE, 0, Method::Invite, "sendonly");
                    stage.dial(KATE, "1001");
                }),
                Ok("consult I 1001"),
            )
        },
        to_service(
            "consult I 9196",
            |_| json!({ "target": "9196" }),
            |stage, _| holds_and_dials(stage, "9196"),
        ),
        to_service(
            "consult I 9664",
            |_| json!({ "target": "9664" }),
            |stage, _| holds_and_dials(stage, "9664"),
        ),
        to_service(
            "consult I 3001",
            |_| json!({ "target": "3001" }),
            |stage, _| holds_and_dials(stage, "3001"),
        ),
        row(
            "end-consult",
            Before::Consulting,
            g(|stage, _| {
                stage.hang_up(KATE, 1);
                stage.reinvite(KATE, 0, Method::Invite, "sendrecv");
            }),
            Ok("end-consult C"),
        ),
        row(
            "complete-transfer",
            Before::Consulting,
            g(|stage, _| {
                let to = format!("<sip:1001@example.com?Replaces={}>", stage.escaped(KATE, 1));
                refer(stage, 0, &to);
            }),
            Ok("transfer C"),
        ),
        Row {
            fields: to_jim,
            then: jim_answers,
            ..row(
                "instant-transfer",
                Before::Talking,
                g(|stage, _| refer(stage, 0, "<sip:1001@example.com>")),
                Ok("transfer I 1001"),
            )
        },
        Row {
            fields: |_| json!({ "target": "3001" }),
            ..row(
                "instant-transfer",
                Before::Talking,
                g(|stage, _| refer(stage, 0, "<sip:3001@example.com>")),
                Ok("transfer I 3001"),
            )
        },
        row(
            "complete-conference",
            Before::Consulting,
            Err(LOCAL_MIX),
            Ok("conference C"),
        ),
        Row {
            fields: to_jim,
            then: jim_answers,
            ..row(
                "instant-conference",
                Before::Talking,
                Err(LOCAL_MIX),
                Ok("conference I 1001"),
            )
        },
        Row {
            fields: to_ann,
            then: ann_answers,
            ..row(
                "add",
                Before::Conference,
                g(|stage, _| refer(stage, 0, "<sip:1002@example.com>")),
                Ok("add I 1002"),
            )
        },
        Row {
            fields: |cast| json!({ "party": cast.parties[&JIM] }),
            ..row(
                "drop",
                Before::Conference,
                g(|stage, _| refer(stage, 0, "<sip:1001@example.com;method=BYE>")),
                Ok("drop I J"),
            )
        },
        row(
            "leave",
            Before::Conference,
            g(|stage, _| stage.hang_up(KATE, 0)),
            Ok("leave I"),
        ),
        Row {
            fields: |cast| json!({ "party": cast.parties[&JIM], "on": true }),
            ..row("mute", Before::Conference, Err(LOCAL_MUTE), Ok("mute I J"))
        },
        Row {
            fields: |cast| json!({ "party": cast.parties[&JIM], "listener": cast.parties[&CUSTOMER], "on": true }),
            ..row("mute", Before::Conference, Err(LOCAL_MUTE), Ok("mute I J --listener K"))
        },
        Row {
            fields: |cast| json!({ "party": cast.parties[&JIM], "mute": "both", "on": true }),
            ..row(
                "mute",
                Before::Conference,
                Err(LOCAL_MUTE),
                Ok("mute I J --direction both"),
            )
        },
        Row {
            by: BOSS,
            then: answer_if_it_rings,
            ..row(
                "monitor",
                Before::Talking,
                g(|stage, _| stage.dial(BOSS, "*01000")),
                Ok("monitor I 1009"),
            )
        },
        Row {
            by: BOSS,
            then: answer_if_it_rings,
            ..row(
                "whisper",
                Before::Talking,
                g(|stage, _| stage.dial(BOSS, "*11000")),
                Ok("whisper I 1009"),
            )
        },
        Row {
            by: BOSS,
            then: answer_if_it_rings,
            ..row(
                "barge",
                Before::Talking,
                g(|stage, _| stage.dial(BOSS, "*21000")),
                Ok("barge I 1009"),
            )
        },
        Row {
            by: BOSS,
            then: answer_if_it_rings,
            ..row(
                "barge",
                Before::Talking,
                g(|stage, _| {
                    let join = format!("Join: {}\r\n", stage.replaces(KATE, 0));
                    stage.dial_with(BOSS, "1000", &join);
                }),
                Ok("barge I 1009"),
            )
        },
        by_phone_alone(
            "pick-up",
            Before::Ringing,
            "what rings is answered at a phone",
            |stage, _| stage.dial(JIM, "*81000"),
            |stage, _| {
                let replaces = format!("Replaces: {};early-only\r\n", rings(stage, KATE));
                stage.dial_with(JIM, "1000", &replaces);
            },
        ),
        by_phone_alone(
            "go on at another phone",
            Before::Talking,
            "which of their phones somebody takes is their own business",
            |stage, _| {
                let replaces = format!("Replaces: {}\r\n", stage.replaces(KATE, 0));
                stage.dial_with(KATE, "1005", &replaces);
            },
            |stage, _| {
                let join = format!("Join: {}\r\n", stage.replaces(KATE, 0));
                stage.dial_with(KATE, "1005", &join);
                stage.hang_up(KATE, 0);
            },
        ),
        Row {
            by: BOSS,
            ..row(
                "whisper",
                Before::Supervised,
                Err("another star code would be another call; the mode of this one is changed by command"),
                Ok("whisper I 1009"),
            )
        },
        in_consultation("monitor", none, "monitor C 1009", |stage, _| stage.dial(BOSS, "*01001")),
        in_consultation("whisper", none, "whisper C 1009", |stage, _| stage.dial(BOSS, "*11001")),
        in_consultation("barge", none, "barge C 1009", |stage, _| stage.dial(BOSS, "*21001")),
        in_consultation("monitor", of_kate, "monitor C 1009 --party A", |stage, _| {
            stage.dial(BOSS, "*01000")
        }),
        in_consultation("whisper", of_kate, "whisper C 1009 --party A", |stage, _| {
            stage.dial(BOSS, "*11000")
        }),
        in_consultation("barge", of_kate, "barge C 1009 --party A", |stage, _| {
            stage.dial(BOSS, "*21000")
        }),
        Row {
            by: BOSS,
            ..row("take-over", Before::Supervised, Err(NO_STAR), Ok("take-over I 1009"))
        },
        Row {
            by: BOSS,
            then: answer_if_it_rings,
            ..row(
                "take-over",
                Before::ConsultingByLine,
                Err(NO_STAR),
                Ok("take-over C 1009"),
            )
        },
        Row {
            fields: |_| json!({ "state": "on" }),
            ..row("record", Before::Talking, Err(NO_STAR), Ok("record I on"))
        },
        Row {
            fields: to_jim,
            refused: Some(480),
            ..row(
                "send-to-voicemail",
                Before::Talking,
                g(|stage, _| refer(stage, 0, "<sip:*991001@example.com>")),
                Ok("voicemail I 1001"),
            )
        },
        Row {
            fields: |_| json!({ "key": "order", "value": "77" }),
            ..row("set-case-data", Before::Talking, Err(NO_STAR), Ok("attach I order 77"))
        },
    ]
}

/// The dialog that rings at a phone, as its lamp shows it to others.
fn rings(stage: &Stage, who: usize) -> String {
    let invite = &stage.actors[who].ringing[0];
    let ours = String::from_utf8_lossy(invite.from().unwrap().tag()).into_owned();
    let theirs = stage.actors[who].phone.dialog_of(invite).local;
    let theirs = theirs.split(";tag=").nth(1).unwrap();
    let call_id = String::from_utf8_lossy(invite.call_id());
    format!("{call_id};to-tag={theirs};from-tag={ours}")
}

/// The usual switch, where a mailbox is dialled as in the shipped configuration, once there are any.
fn office() -> switch::Config {
    let mut config = config();
    let mailbox = Rule::new(Pattern::Digits("*99.".into()), Action::Voicemail("".into()));
    config.dialplan.insert(0, mailbox);
    config
}

fn answer_if_it_rings(stage: &mut Stage) {
    if !stage.actors[BOSS].ringing.is_empty() {
        stage.answer(BOSS);
    }
}

#[test]
fn every_verb_ends_the_same_whichever_way_it_is_said() {
    let mut said = 0;
    for (at, row) in table().iter().enumerate() {
        let mut first: Option<(Way, String)> = None;
        for way in WAYS {
            let possible = match way {
                Way::Gesture => row.gesture.err(),
                Way::OtherGesture => row.other_gesture.is_none().then_some("one gesture is enough"),
                Way::CommandLine => row.typed.err(),
                Way::Http | Way::Websocket => row.commanded.err(),
            };
            if let Some(why) = possible {
                assert!(!why.is_empty());
                continue;
            }
            let outcome = played(row, way);
            said += 1;
            match &first {
                None => first = Some((way, outcome)),
                Some((other, expected)) => {
                    assert_eq!(
                        &outcome, expected,
                        "row {at}, {}: {way:?} differs from {other:?}",
                        row.verb
                    );
                }
            }
        }
    }
    // 35 rows with commands, of which phones can say 25; and two that phones alone can say, in two ways.
    assert_eq!(said, 35 * 3 + 25 + 2 * 2);
}

/// The row's verb, said this way: what is so then, and what is recorded in the end.
fn played(row: &Row, way: Way) -> String {
    let (stage, cast) = scene(row.before, way);
    let office = Office::open(stage);
    let status = office.say(row, way, &cast);
    assert_eq!(status, row.refused, "{} by {way:?}", row.verb);
    let mut stage = office.close();
    stage.settle();
    (row.then)(&mut stage);
    stage.assert_sense();
    let now = told(&mut stage);
    for who in 0..5 {
        while !stage.actors[who].ringing.is_empty() {
            stage.refuse(who, 486);
        }
        for line in 0..stage.actors[who].dialogs.len() {
            if stage.actors[who].dialogs[line].is_up() {
                stage.hang_up(who, line);
            }
        }
    }
    let records = recorded(&stage, cast.interaction);
    stage.lab.assert_clean();
    format!("{now}\n{records}")
}

/// The customer and Kate as the row wants them. What can be brought about by phones is, where phones go on.
fn scene(before: Before, way: Way) -> (Stage, Cast) {
    let mut stage = Stage::with(office());
    stage.dial(CUSTOMER, "1000");
    let interaction = stage.newest();
    if before != Before::Ringing {
        stage.answer(KATE);
    }
    let mut consultation = None;
    match (before, way) {
        (Before::Ringing | Before::Talking, _) => {}
        (Before::Held, Way::Gesture) => phone_offers(&mut stage, "sendonly"),
        (Before::Held, _) => drop(stage.act(KATE, Verb::Hold { interaction })),
        (Before::Consulting, Way::Gesture) => {
            stage.reinvite(KATE, 0, Method::Invite, "sendonly");
            stage.dial(KATE, "1001");
            stage.answer(JIM);
            consultation = Some(stage.newest());
        }
        (Before::Consulting | Before::ConsultingByLine | Before::Conference, _) => {
            let (target, medium) = ("1001".into(), model::Medium::Voice);
            let verb = Verb::Consult {
                interaction,
                target,
                medium,
            };
            let side = stage.act(KATE, verb).view.id;
            stage.answer(JIM);
            consultation = Some(side);
            if before == Before::Conference {
                stage.act(KATE, Verb::CompleteConference { consultation: side });
            }
        }
        (Before::Supervised, _) => stage.dial(BOSS, "*01000"),
    }
    let view = stage.view(interaction);
    let number = |who: usize| aor(who);
    let parties = (0..5).filter_map(|who| {
        let mut found = view.parties.iter().filter(|party| party.user == Some(number(who)));
        Some((who, found.next()?.id.to_string()))
    });
    let parties = parties.collect();
    (
        stage,
        Cast {
            interaction,
            consultation,
            parties,
        },
    )
}

/// Everything that is so: interactions with their parties, and what each phone hears.
fn told(stage: &mut Stage) -> String {
    let mut lines: Vec<String> = stage.views().iter().map(described).collect();
    lines.sort();
    for who in 0..5 {
        lines.push(format!("{} hears {:?}", aor(who).user(), stage.hears_in_all(who)));
    }
    if let Answer::Rooms(rooms) = stage.lab.ask(Command::Rooms) {
        let room = |room: &model::RoomView| format!("room {} with {}", room.name, room.members.len());
        lines.extend(rooms.iter().map(room));
    }
    lines.join("\n")
}

fn described(view: &InteractionView) -> String {
    let name = |id| {
        let party = view.parties.iter().find(|party| party.id == id);
        party
            .map_or("-", |party| party.user.as_ref().map_or("?", Aor::user))
            .to_owned()
    };
    let mut parties: Vec<String> = view
        .parties
        .iter()
        .map(|party| {
            let unheard: Vec<String> = party.unheard_by.iter().map(|id| name(*id)).collect();
            let flags = [
                (party.state == PartyState::Ringing, "rings"),
                (view.owner == Some(party.id), "owner"),
                (party.holds, "holds"),
                (party.held, "held"),
                (party.muted, "muted"),
                (party.deaf, "deaf"),
                (party.role == PartyRole::Listen, "listens"),
                (party.role == PartyRole::Whisper, "whispers"),
                (party.role == PartyRole::Barge, "barges"),
            ];
            let flags: Vec<&str> = flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
            format!("{} {} {unheard:?}", name(party.id), flags.join(" "))
        })
        .collect();
    parties.sort();
    format!(
        "{:?} {:?} for {:?}, {} beside, recording {}, case {:?}: {}",
        view.state,
        view.medium,
        view.purpose,
        view.consultations.len(),
        view.recording,
        view.case_data,
        parties.join(", ")
    )
}

/// What was recorded of each leg. Who asks by a second call of the phone has a leg more than who asks by command: that one is
/// left out.
fn recorded(stage: &Stage, interaction: InteractionId) -> String {
    let kates = |record: &&model::Cdr| record.user == Some(aor(KATE)) && record.interaction != interaction;
    let mut lines: Vec<String> = stage
        .lab
        .records
        .iter()
        .filter(|record| !kates(record))
        .map(|record| {
            format!(
                "{} {:?} {} transferred to {:?} came by {:?}",
                record.user.as_ref().map_or("?", Aor::user),
                record.direction,
                record.status,
                record.transferred_to,
                record
                    .link
                    .map(|link| link.how)
                    .filter(|how| *how != Purpose::Supervise),
            )
        })
        .collect();
    // A supervisor's phone is called, or calls: the same leg the other way round, made for the supervision or, as all of a
    // consultation, for that.
    lines
        .iter_mut()
        .filter(|line| line.starts_with("1009"))
        .for_each(|line| {
            let same = line.replace(" In ", " ").replace(" Out ", " ");
            *line = same.replace("Some(Consult)", "None");
        });
    lines.sort();
    lines.join("\n")
}

/// The doors of the switch.
struct Office {
    stage: Arc<Mutex<Stage>>,
    runtime: tokio::runtime::Runtime,
    server: Server,
    http: SocketAddr,
    socket: PathBuf,
    directory: tempfile::TempDir,
}

impl Office {
    fn open(stage: Stage) -> Office {
        let stage = Arc::new(Mutex::new(stage));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("sock");
        let (server, http) = runtime.block_on(async {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let http = tcp.local_addr().unwrap();
            let unix = UnixListener::bind(&socket).unwrap();
            let reader = store::Store::open("memory:", |_, _| {}).unwrap().reader().unwrap();
            let (_, events) = mpsc::channel(EVENTS_AHEAD);
            let node = Arc::new(Door(stage.clone()));
            let listeners = Listeners {
                unix,
                tcp: Some(tcp),
                tls: None,
            };
            (Server::start(listeners, node, reader, events, Limits::default()), http)
        });
        Office {
            stage,
            runtime,
            server,
            http,
            socket,
            directory,
        }
    }

    /// Says the verb; the status it is refused with, if it is.
    fn say(&self, row: &Row, way: Way, cast: &Cast) -> Option<u16> {
        match way {
            Way::Gesture => self.show(row.gesture.unwrap(), cast),
            Way::OtherGesture => self.show(row.other_gesture.unwrap(), cast),
            Way::Http => self.post(row, cast),
            Way::Websocket => self.send(row, cast),
            Way::CommandLine => self.type_in(row, cast),
        }
    }

    fn show(&self, gesture: Gesture, cast: &Cast) -> Option<u16> {
        let mut stage = self.stage.lock().unwrap();
        gesture(&mut stage, cast);
        let notified = stage.notified(KATE).pop()?;
        let status: u16 = notified.split(' ').nth(1)?.parse().ok()?;
        (status >= 300).then_some(status)
    }

    fn post(&self, row: &Row, cast: &Cast) -> Option<u16> {
        let path = format!("/api/v1/calls/{}/{}", subject(row, cast), row.verb);
        let token = self.log_in(row.by);
        let (status, answer) = http(self.http, "POST", &path, Some(&token), &(row.fields)(cast));
        refusal(status, &answer)
    }

    fn send(&self, row: &Row, cast: &Cast) -> Option<u16> {
        let url = format!("ws://{}/api/v1/ws", self.http);
        let mut request = url.into_client_request().unwrap();
        let protocols = format!("tandem.v1, tandem.token.{}", self.log_in(row.by));
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocols.parse().unwrap());
        let stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut page, _) = client(request, stream).unwrap();
        let mut command = (row.fields)(cast);
        let about = match row.verb {
            "end-consult" | "complete-transfer" | "complete-conference" => "consultation",
            _ => "interaction",
        };
        for (name, value) in [("type", "command"), ("id", "a"), ("command", row.verb)] {
            command[name] = json!(value);
        }
        command[about] = json!(subject(row, cast));
        page.send(Message::Text(command.to_string().into())).unwrap();
        loop {
            let Message::Text(text) = page.read().unwrap() else {
                continue;
            };
            let told: Value = serde_json::from_str(&text).unwrap();
            if told["type"] == "answer" {
                let status = told["problem"]["status"].as_u64().unwrap_or(200);
                return refusal(u16::try_from(status).unwrap(), &told["problem"]);
            }
        }
    }

    fn type_in(&self, row: &Row, cast: &Cast) -> Option<u16> {
        let consultation = cast.consultation.map(|id| id.to_string());
        let words = row.typed.unwrap().split(' ').map(|word| match word {
            "I" => cast.interaction.to_string(),
            "C" => consultation.clone().unwrap(),
            "J" => cast.parties[&JIM].clone(),
            "K" => cast.parties[&CUSTOMER].clone(),
            "A" => cast.parties[&KATE].clone(),
            word => word.to_owned(),
        });
        let output = Process::new(TANDEM)
            .arg("calls")
            .args(words)
            .arg("--socket")
            .arg(&self.socket)
            .arg("--config")
            .arg(self.directory.path())
            .output()
            .unwrap();
        if output.status.success() {
            return None;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let number = |word: &str| word.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok();
        Some(said.split(' ').find_map(number).unwrap_or_else(|| panic!("{said}")))
    }

    fn log_in(&self, who: usize) -> String {
        let body = json!({ "user": aor(who).user(), "password": "right" });
        let (status, answer) = http(self.http, "POST", "/api/v1/login", None, &body);
        assert_eq!(status, 200, "{answer}");
        answer["token"].as_str().unwrap().to_owned()
    }

    fn close(self) -> Stage {
        self.runtime.block_on(self.server.stop());
        drop(self.runtime);
        let stage = Arc::into_inner(self.stage).expect("the doors are shut");
        stage.into_inner().unwrap()
    }
}

/// The interaction or consultation that a verb is about.
fn subject(row: &Row, cast: &Cast) -> String {
    let ends = ["end-consult", "complete-transfer", "complete-conference"].contains(&row.verb);
    match ends || row.before == Before::ConsultingByLine {
        true => cast.consultation.unwrap().to_string(),
        false => cast.interaction.to_string(),
    }
}

/// The SIP status of a problem of the API.
fn refusal(status: u16, answer: &Value) -> Option<u16> {
    if status < 300 {
        return None;
    }
    let detail = answer["detail"].as_str().unwrap_or_default();
    let number = |word: &str| word.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok();
    Some(detail.split(' ').find_map(number).unwrap_or_else(|| panic!("{answer}")))
}

/// A switch in virtual time, as the API needs a node.
struct Door(Arc<Mutex<Stage>>);

impl web::Node for Door {
    fn command(&self, command: Command) -> Asked<Option<Answer>> {
        let answer = self.0.lock().unwrap().lab.ask(command);
        Box::pin(async move { Some(answer) })
    }

    fn figures(&self) -> Asked<Vec<Figure>> {
        Box::pin(async { Vec::new() })
    }

    fn state(&self) -> State {
        State::Running
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        Err(Vec::new())
    }

    fn login(&self, user: &str, password: &str) -> Option<Account> {
        self.account(&Aor::new(user, "example.com"))
            .filter(|_| password == "right")
    }

    fn account(&self, user: &Aor) -> Option<Account> {
        let roles = match user.user() {
            "1009" => vec![Role::Supervisor],
            "1000" => vec![Role::Agent],
            _ => return None,
        };
        Some(Account {
            aor: user.clone(),
            name: "".into(),
            roles,
            stamp: 0,
        })
    }

    fn listed(&self) -> Arc<Vec<web::Listed>> {
        Arc::default()
    }

    fn capabilities(&self, _: Option<&Aor>) -> web::Capabilities {
        web::Capabilities::default()
    }

    fn domain(&self) -> Box<str> {
        "example.com".into()
    }
}

#[test]
fn a_supervisors_mode_changes_by_command_the_same_as_by_each_star_code() {
    for (code, mode) in [
        ("*0", Supervision::Listen),
        ("*1", Supervision::Whisper),
        ("*2", Supervision::Barge),
    ] {
        let mut by_code = Stage::with(config());
        by_code.call(CUSTOMER, KATE);
        by_code.dial(BOSS, &format!("{code}1000"));
        let mut by_command = Stage::with(config());
        let interaction = by_command.call(CUSTOMER, KATE);
        by_command.dial(BOSS, "*01000");
        let party = None;
        by_command.act(
            BOSS,
            Verb::Supervise {
                interaction,
                party,
                mode,
            },
        );
        assert_eq!(told(&mut by_code), told(&mut by_command), "{code}");
    }
}
