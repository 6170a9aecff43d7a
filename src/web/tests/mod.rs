//! The server over its real sockets, with a node that only remembers what it was asked.

mod agents;
mod im;
mod login;
mod openapi;
mod socket;
mod strangers;

use crate::{
    Account, Asked, Capabilities, EVENTS_AHEAD, Figure, Limits, Listed, Listeners, Node, Reloaded, Server, State,
};
use model::{
    Aor, BanView, CallView, ChannelView, DeviceState, DirectoryEntry, GroupView, HeardToneView, HeardView, HistoryView,
    InteractionId, InteractionState, InteractionView, LegId, LegSoundView, LegView, Medium, Occurrence, PartyId,
    PartyRole, PartyState, PartyView, PresenceView, Purpose, RoomMemberView, RoomView, Snapshot, StatusView,
    TargetAction, TargetKind,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use switch::config::Role;
use switch::{Act, Acted, Answer, Command, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;

#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<Command>>,
    logins: Mutex<u32>,
    /// Number of the last event.
    seq: Mutex<u64>,
    /// Another password for everybody.
    reloads: Mutex<u64>,
    deaf: bool,
}

const CALL: InteractionId = InteractionId(0x0123_4567_89ab_cdef);

impl Node for Fake {
    fn command(&self, command: Command) -> Asked<Option<Answer>> {
        let answer = match &command {
            Command::Status => Answer::Status(Box::new(StatusView {
                calls: 2,
                ..StatusView::default()
            })),
            Command::Hangup(id) if *id != CALL => Answer::Refused(Refusal::NotFound("no such call".into())),
            Command::Bans => Answer::Bans(vec![ban()]),
            Command::Registrations(_) => Answer::Registrations(Vec::new()),
            Command::Calls => Answer::Calls(vec![call("1001")]),
            Command::Call(id) if *id == CALL => Answer::Calls(vec![call("1001")]),
            Command::Call(_) => Answer::Calls(Vec::new()),
            Command::Interactions(_) => Answer::Interactions(vec![interaction("1001")]),
            Command::Inspect(_) => Answer::Media(vec![sound()]),
            Command::Rooms | Command::Room(_) => Answer::Rooms(vec![room()]),
            Command::Snapshot { .. } => Answer::Snapshot(Box::new(Snapshot {
                seq: *self.seq.lock().unwrap(),
                calls: vec![call("1001")],
                ..Snapshot::default()
            })),
            Command::Act(act) => acted(act),
            Command::Originate(_) => Answer::Acted(Box::new(Acted {
                done: false,
                view: interaction("1001"),
            })),
            Command::Agents { .. } | Command::SetAgent(_) => Answer::Agents(vec![presence("1001")]),
            Command::Groups { .. } => Answer::Groups(vec![group()]),
            Command::Look(look) => Answer::Directory(look.targets.iter().map(|target| entry(target)).collect()),
            Command::Im(act) => im::acted(act),
            Command::ImSessions { .. } => Answer::Sessions(vec![im::transcript(&["1001", "1002"])]),
            Command::RouteTest { to, .. } => Answer::Route(format!("to {to}").into()),
            _ => Answer::Done(1),
        };
        self.asked.lock().unwrap().push(command);
        let deaf = self.deaf;
        Box::pin(async move {
            if deaf {
                std::future::pending().await
            } else {
                Some(answer)
            }
        })
    }

    fn figures(&self) -> Asked<Vec<Figure>> {
        Box::pin(async { vec![Figure::gauge("calls", 2)] })
    }

    fn sip_websocket(
        &self,
        request: crate::http::Request<()>,
        (_, peer): (SocketAddr, SocketAddr),
        _: bool,
    ) -> crate::http::Response<String> {
        crate::http::Response::new(format!("{} from {}", request.uri().path(), peer.ip()))
    }

    fn state(&self) -> State {
        State::Draining
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        Err(vec!["users.toml:1:2: wrong".to_owned()])
    }

    fn login(&self, user: &str, password: &str) -> Option<Account> {
        *self.logins.lock().unwrap() += 1;
        let account = self.account(&aor(user));
        account.filter(|_| password == "right")
    }

    fn account(&self, user: &Aor) -> Option<Account> {
        let roles = match user.user() {
            "1000" => vec![Role::Admin],
            "1001" | "1002" => vec![Role::Agent],
            "1003" => vec![Role::Supervisor],
            _ => return None,
        };
        Some(Account {
            aor: user.clone(),
            name: format!("User {}", user.user()).into(),
            roles,
            stamp: *self.reloads.lock().unwrap(),
        })
    }

    fn listed(&self) -> Arc<Vec<Listed>> {
        let people = [("1001", "Kate Lewis"), ("1002", "Jim Katz")];
        let listed = people.map(|(target, name)| Listed {
            target: target.into(),
            kind: TargetKind::Agent,
            name: name.into(),
            email: "".into(),
            words: Vec::new(),
        });
        Arc::new(listed.into())
    }

    fn capabilities(&self, user: Option<&Aor>) -> Capabilities {
        Capabilities {
            supervises: user.is_none(),
            ..Capabilities::default()
        }
    }

    fn domain(&self) -> Box<str> {
        "example.org".into()
    }
}

fn ban() -> BanView {
    BanView {
        source: "192.0.2.66".into(),
        why: "scanner".into(),
        expires_s: 60,
        dropped: 7,
    }
}

fn aor(user: &str) -> Aor {
    Aor::new(user, "example.org")
}

/// A call of this user.
fn call(user: &str) -> CallView {
    let leg = LegView {
        id: LegId(1),
        user: Some(aor(user)),
        uri: "sip:x".into(),
        call_id: "c".into(),
        state: "up".into(),
        codec: "PCMU/8000".into(),
        rtp_port: 16_384,
        reason: None,
        shown_to: None,
    };
    CallView {
        id: CALL,
        started_at: clock::Wall(1),
        answered_at: Some(clock::Wall(2)),
        state: "answered".into(),
        legs: vec![leg],
    }
}

/// An interaction of this user.
fn interaction(user: &str) -> InteractionView {
    InteractionView {
        id: CALL,
        parent: None,
        medium: Medium::Voice,
        state: InteractionState::Up,
        owner: Some(PartyId(1)),
        dialled: "1001".into(),
        started_at: clock::Wall(1),
        answered_at: Some(clock::Wall(2)),
        parties: vec![PartyView {
            id: PartyId(1),
            user: Some(aor(user)),
            shown: "<1001>".into(),
            state: PartyState::Up,
            role: PartyRole::Member,
            holds: false,
            held: false,
            muted: false,
            deaf: false,
            unheard_by: vec![PartyId(2)],
            legs: vec![LegId(1)],
            shown_to: None,
        }],
        consultations: vec![InteractionId(7)],
        purpose: Some(Purpose::Consult),
        case_data: [("k".into(), "v".into())].into(),
        recording: false,
        history: vec![HistoryView {
            at: clock::Wall(3),
            who: "".into(),
            what: "joined".into(),
            detail: "".into(),
            shown_to: None,
        }],
    }
}

/// The sound of a leg.
fn sound() -> LegSoundView {
    // No two figures are alike: one that is told in place of another is seen.
    let heard = |level_dbov, hz, dbm0| HeardView {
        level_dbov: Some(level_dbov),
        tones: vec![HeardToneView {
            hz,
            dbm0,
            ms: 100,
            ago_ms: 20,
        }],
    };
    LegSoundView {
        leg: LegId(1),
        user: Some(aor("1001")),
        uri: "sip:x".into(),
        codec: "PCMU/8000".into(),
        mode: "relay".into(),
        packets_in: 11,
        packets_out: 12,
        lost: 3,
        duplicates: 4,
        strangers: 5,
        jitter_ms: 6.5,
        remote_lost: 7,
        remote_jitter_ms: 8.5,
        round_trip_ms: Some(48.25),
        mos: Some(4.5),
        received: heard(-26.0, 440.0, -10.0),
        sent: heard(-30.0, 620.0, -14.0),
    }
}

/// A conference room of this user.
fn room() -> RoomView {
    RoomView {
        name: "3000".into(),
        rate_hz: 8_000,
        started_at: clock::Wall(1),
        locked: false,
        max_members: 10,
        members: vec![RoomMemberView {
            id: 1,
            call: Some(CALL),
            user: Some(aor("1001")),
            shown: "<1001>".into(),
            state: "inside".into(),
            moderator: true,
            muted: false,
            deaf: false,
            talking: true,
            speaker: true,
            came_at: clock::Wall(2),
        }],
    }
}

/// Agents may act on the call of 1001; the switch is who knows.
fn acted(act: &Act) -> Answer {
    if act.verb.interaction() != CALL {
        return Answer::Refused(Refusal::NotFound("no such interaction".into()));
    }
    Answer::Acted(Box::new(Acted {
        done: true,
        view: interaction("1001"),
    }))
}

struct Subject {
    events: mpsc::Sender<Occurrence>,
    node: Arc<Fake>,
    tcp: SocketAddr,
    unix: PathBuf,
    server: Server,
    store: store::Store,
    _directory: tempfile::TempDir,
}

impl Subject {
    async fn start(node: Fake, limits: Limits) -> Subject {
        let directory = tempfile::tempdir().unwrap();
        let unix = directory.path().join("sock");
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = Arc::new(node);
        let (events, told) = mpsc::channel(EVENTS_AHEAD);
        let store = store::Store::open("memory:", |_, _| {}).unwrap();
        let reader = store.reader().unwrap();
        Subject {
            tcp: tcp.local_addr().unwrap(),
            server: Server::start(
                Listeners {
                    unix: UnixListener::bind(&unix).unwrap(),
                    tcp: Some(tcp),
                    tls: None,
                },
                node.clone(),
                reader,
                told,
                limits,
            ),
            events,
            node,
            unix,
            store,
            _directory: directory,
        }
    }

    /// Over the Unix socket.
    async fn local(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        exchange(UnixStream::connect(&self.unix).await.unwrap(), method, path, "", body).await
    }

    /// Over TCP, with further header lines.
    async fn public(&self, method: &str, path: &str, headers: &str) -> (u16, String) {
        exchange(TcpStream::connect(self.tcp).await.unwrap(), method, path, headers, "").await
    }
}

/// One request on a connection of its own: the status, and all that came back.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String) {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

fn json_of(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn credentials(user: &str, password: &str) -> String {
    use base64::Engine;
    let pair = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {pair}\r\n")
}

#[tokio::test]
async fn the_unix_socket_carries_every_question() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let (status, answer) = s.local("GET", "/api/v1/status", "").await;
    assert_eq!((status, &json_of(&answer)["calls"]), (200, &json!(2)));
    assert_eq!(s.local("GET", "/api/v1/registrations/1000", "").await.0, 200);
    let drop = "/api/v1/registrations/1000%40a.b?contact=sip%3Ax";
    assert_eq!(json_of(&s.local("DELETE", drop, "").await.1), json!({"done": 1}));
    assert_eq!(s.local("DELETE", &format!("/api/v1/calls/{CALL}"), "").await.0, 200);
    let (_, answer) = s.local("GET", "/api/v1/routes/test?from=1000&to=%2A97", "").await;
    assert_eq!(json_of(&answer), json!({"route": "to *97"}));
    assert_eq!(s.local("POST", "/api/v1/drain", "{\"limit_s\": 5}").await.0, 202);
    assert_eq!(s.local("PUT", "/api/v1/trace", "{\"on\": true}").await.0, 200);
    assert_eq!(
        json_of(&s.local("GET", "/api/v1/cdrs", "").await.1),
        json!({"cdrs": []})
    );
    assert_eq!(
        json_of(&s.local("GET", "/api/v1/im/queue", "").await.1),
        json!({"queue": []})
    );
    let expected = [
        Command::Status,
        Command::Registrations(Some(aor("1000"))),
        Command::DropRegistration {
            aor: Aor::new("1000", "a.b"),
            contact: Some("sip:x".into()),
        },
        Command::Hangup(CALL),
        Command::RouteTest {
            from: "1000".into(),
            to: "*97".into(),
        },
        Command::Drain { limit_s: 5 },
        Command::Trace(true),
    ];
    assert_eq!(*s.node.asked.lock().unwrap(), expected);
}

#[tokio::test]
async fn the_media_of_a_call_is_told_figure_by_figure() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let (status, answer) = s.local("GET", &format!("/api/v1/calls/{CALL}/media"), "").await;
    let heard = |level: f64, hz: f64, dbm0: f64| json!({"level_dbov": level, "tones": [{"hz": hz, "dbm0": dbm0, "ms": 100, "ago_ms": 20}]});
    let mut leg = json_of(&answer)["legs"][0].clone();
    let who = ["leg", "user", "uri"].map(|name| leg.as_object_mut().and_then(|leg| leg.remove(name)));
    assert!(who.iter().all(Option::is_some));
    let expected = json!({
        "codec": "PCMU/8000", "mode": "relay",
        "packets_in": 11, "packets_out": 12, "lost": 3, "duplicates": 4, "strangers": 5,
        "jitter_ms": 6.5, "remote_lost": 7, "remote_jitter_ms": 8.5, "round_trip_ms": 48.25, "mos": 4.5,
        "received": heard(-26.0, 440.0, -10.0), "sent": heard(-30.0, 620.0, -14.0),
    });
    assert_eq!((status, leg), (200, expected));
}

#[tokio::test]
async fn every_error_has_the_same_shape() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    for (method, path, body, status, code) in [
        ("GET", "/api/v1/nothing", "", 404, "not-found"),
        ("GET", "/", "", 404, "not-found"),
        ("PATCH", "/api/v1/calls", "", 405, "method-not-allowed"),
        ("GET", "/api/v1/calls/x", "", 400, "bad-request"),
        ("GET", "/api/v1/calls/i-0000000000000000", "", 404, "not-found"),
        ("DELETE", "/api/v1/calls/i-0000000000000000", "", 404, "not-found"),
        ("GET", "/api/v1/routes/test?from=1", "", 400, "bad-request"),
        ("POST", "/api/v1/drain", "{\"limit\": 5}", 400, "bad-request"),
        ("PUT", "/api/v1/trace", "[[[[", 400, "bad-request"),
        ("POST", "/api/v1/reload", "", 422, "bad-configuration"),
    ] {
        let (got, answer) = s.local(method, path, body).await;
        let problem = json_of(&answer);
        assert_eq!(
            (got, problem["status"].as_u64(), problem["code"].as_str()),
            (status, Some(u64::from(status)), Some(code)),
            "{method} {path}: {answer}"
        );
        assert_eq!(problem["type"], format!("urn:tandem:problem:{code}"));
        assert!(
            problem["detail"].is_string() && problem["problems"].is_array(),
            "{answer}"
        );
        assert!(
            answer
                .to_lowercase()
                .contains("\r\ncontent-type: application/problem+json"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn tcp_shows_health_and_figures_to_everyone_and_the_rest_to_admins() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    assert_eq!(s.public("GET", "/healthz", "").await.0, 200);
    assert_eq!(s.public("GET", "/readyz", "").await.0, 503);
    let (status, answer) = s.public("GET", "/metrics", "").await;
    assert!(status == 200 && answer.contains("\ntandem_calls 2\n"), "{answer}");
    let (status, answer) = s.public("GET", "/api/v1/status", "").await;
    assert_eq!(status, 401);
    assert!(
        answer.to_lowercase().contains("\r\nwww-authenticate: basic realm="),
        "{answer}"
    );
    assert_eq!(s.public("GET", "/api/v1/nothing", "").await.0, 401);
    assert_eq!(
        s.public("GET", "/api/v1/status", &credentials("1000", "right")).await.0,
        200
    );
    assert_eq!(
        s.public("GET", "/api/v1/status", &credentials("1001", "right")).await.0,
        403
    );
    let foreign = credentials("1000", "right") + "Origin: http://evil.example\r\n";
    assert_eq!(s.public("GET", "/api/v1/status", &foreign).await.0, 403);
}

#[tokio::test]
async fn an_unknown_user_is_answered_like_a_wrong_password() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let without_date = |answer: String| -> Vec<String> {
        answer
            .lines()
            .filter(|line| !line.to_lowercase().starts_with("date:"))
            .map(ToOwned::to_owned)
            .collect()
    };
    let known = s.public("GET", "/api/v1/status", &credentials("1000", "wrong")).await;
    let unknown = s.public("GET", "/api/v1/status", &credentials("9999", "wrong")).await;
    assert_eq!(without_date(known.1), without_date(unknown.1));
}

#[tokio::test]
async fn s12_guessing_stops_after_ten_wrong_passwords_for_an_account() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    for _ in 0..10 {
        assert_eq!(
            s.public("GET", "/api/v1/status", &credentials("1000", "wrong")).await.0,
            401
        );
    }
    let (status, answer) = s.public("GET", "/api/v1/status", &credentials("1000", "right")).await;
    assert_eq!(status, 429);
    assert!(answer.to_lowercase().contains("\r\nretry-after: 60"), "{answer}");
    assert_eq!(*s.node.logins.lock().unwrap(), 10, "the eleventh is not even looked at");
    assert_eq!(
        s.public("GET", "/api/v1/status", &credentials("1001", "right")).await.0,
        403
    );
}

#[tokio::test]
async fn what_is_too_large_or_too_slow_is_refused() {
    let short = Duration::from_millis(100);
    let limits = Limits {
        headers_within: short,
        answer_within: short,
        body: 1024,
        ..Limits::default()
    };
    let s = Subject::start(
        Fake {
            deaf: true,
            ..Fake::default()
        },
        limits,
    )
    .await;
    let (status, answer) = s.local("PUT", "/api/v1/trace", &" ".repeat(2048)).await;
    assert_eq!((status, &json_of(&answer)["code"]), (413, &json!("too-large")));
    let (status, answer) = s.local("GET", "/api/v1/status", "").await;
    assert_eq!((status, &json_of(&answer)["code"]), (503, &json!("unavailable")));
    let mut silent = TcpStream::connect(s.tcp).await.unwrap();
    silent.write_all(b"GET /healthz HT").await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), silent.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "a peer that never finishes its headers is hung up on");
}

#[tokio::test]
async fn headers_without_end_are_refused_and_those_that_drip_are_not_waited_for() {
    let limits = Limits {
        headers_within: Duration::from_millis(500),
        ..Limits::default()
    };
    let s = Subject::start(Fake::default(), limits).await;
    let ended = async |stream: &mut TcpStream| {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "it is hung up on");
        rest
    };
    let mut wide = TcpStream::connect(s.tcp).await.unwrap();
    wide.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let line = format!("X-Filler: {}\r\n", "a".repeat(4_096));
    // Beyond the bound our writes may fail, and what it said may be lost with them.
    for _ in 0..64 {
        if wide.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    let answer = ended(&mut wide).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{answer:?}");
    let mut dripping = TcpStream::connect(s.tcp).await.unwrap();
    let begun = std::time::Instant::now();
    for byte in b"GET /healthz HTTP/1.1\r\nHost: dripping\r\nX: ".iter().cycle() {
        if dripping.write_all(&[*byte]).await.is_err() || begun.elapsed() > Duration::from_secs(5) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "however busy it looks");
    assert_eq!(s.local("GET", "/healthz", "").await.0, 200, "the others are served");
}

#[tokio::test]
async fn a_full_house_makes_others_wait_and_stopping_ends_all() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let s = Subject::start(Fake::default(), limits).await;
    let first = UnixStream::connect(&s.unix).await.unwrap();
    let waiting = s.local("GET", "/healthz", "");
    let mut waiting = Box::pin(waiting);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), &mut waiting)
            .await
            .is_err()
    );
    drop(first);
    assert_eq!(waiting.await.0, 200);
    let mut idle = UnixStream::connect(&s.unix).await.unwrap();
    s.server.stop().await;
    let ended = tokio::time::timeout(Duration::from_secs(10), idle.read(&mut [0]))
        .await
        .unwrap();
    assert!(
        !matches!(ended, Ok(1..)),
        "the end of the stream, or reset if it had not been accepted"
    );
}

/// An agent.
fn presence(user: &str) -> PresenceView {
    PresenceView {
        aor: aor(user),
        name: "Kate Lewis".into(),
        device: DeviceState::Idle,
        do_not_disturb: false,
        voice: Some(ChannelView::default()),
        im: Some(ChannelView::default()),
        note: "".into(),
        activity: "".into(),
        hides: false,
        text: "logged off".into(),
    }
}

fn group() -> GroupView {
    GroupView {
        number: "2000".into(),
        name: "Support".into(),
        skill: None,
        members: vec![aor("1001")],
        ready_voice: 1,
        ready_im: 1,
        next_voice: Some(aor("1001")),
        next_im: None,
    }
}

fn entry(target: &str) -> DirectoryEntry {
    DirectoryEntry {
        kind: TargetKind::Agent,
        target: target.into(),
        name: "Kate Lewis".into(),
        email: "".into(),
        skills: vec!["german".into()],
        presence: Some(presence(target)),
        group: Some(group()),
        actions: vec![TargetAction::Call],
        consultation: Some(CALL),
    }
}
