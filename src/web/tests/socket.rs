//! The websocket, with a real client.

use super::login::token;
use super::*;
use futures_util::{SinkExt, StreamExt};
use model::Event;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// What must come comes within this.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Page(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Page {
    /// A handshake with these header lines; the status if it is refused.
    async fn open(s: &Subject, query: &str, headers: &[(&'static str, String)]) -> Result<Page, u16> {
        let url = format!("ws://{}/api/v1/ws{query}", s.tcp);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => Ok(Page(socket)),
            Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    /// As a browser does it: the token among the subprotocols.
    pub(super) async fn of(s: &Subject, user: &str, query: &str) -> Page {
        let protocols = format!("tandem.v1, tandem.token.{}", token(s, user).await);
        Page::open(s, query, &[("sec-websocket-protocol", protocols)])
            .await
            .unwrap()
    }

    async fn take(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(LIMIT, self.0.next())
                .await
                .expect("a message in time");
            match message.expect("the websocket is open").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next message, which is of this type.
    pub(super) async fn expect(&mut self, kind: &str) -> Value {
        let message = self.take().await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The close code that ends it, after whatever comes before.
    async fn closed(&mut self) -> Option<u16> {
        loop {
            match tokio::time::timeout(LIMIT, self.0.next())
                .await
                .expect("an end in time")
            {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub(super) async fn say(&mut self, message: Value) {
        self.0.send(Message::Text(message.to_string().into())).await.unwrap();
    }
}

impl Subject {
    /// The switch tells so many events about this user.
    async fn tell(&self, count: u64, user: &str, padding: usize) {
        for _ in 0..count {
            let seq = {
                let mut seq = self.node.seq.lock().unwrap();
                *seq += 1;
                *seq
            };
            let event = Event::Unregistered {
                aor: aor(user),
                contact: "x".repeat(padding).into(),
            };
            let at = clock::Wall(0);
            self.events.send(Occurrence { seq, at, event }).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_client_is_welcomed_with_a_snapshot_and_then_told_what_happens() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let mut page = Page::of(&s, "1000", "").await;
    let welcome = page.expect("welcome").await;
    assert_eq!(
        (&welcome["user"], &welcome["resumed"]),
        (&json!("1000@example.org"), &json!(false))
    );
    let snapshot = page.expect("snapshot").await;
    assert_eq!(
        (&snapshot["seq"], snapshot["calls"].as_array().unwrap().len()),
        (&json!(0), 1)
    );
    s.tell(2, "1001", 1).await;
    for seq in 1..=2 {
        let event = page.expect("event").await;
        assert_eq!((&event["seq"], &event["event"]), (&json!(seq), &json!("unregistered")));
    }
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_or_a_fresh_snapshot() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let mut first = Page::of(&s, "1000", "").await;
    s.tell(5, "1001", 1).await;
    while first.take().await["seq"] != json!(5) {}
    drop(first);
    let mut back = Page::of(&s, "1000", "?resume=2").await;
    assert_eq!(back.expect("welcome").await["resumed"], true);
    for seq in 3..=5 {
        assert_eq!(back.expect("event").await["seq"], json!(seq));
    }
    let mut stranger = Page::of(&s, "1000", "?resume=77").await;
    assert_eq!(stranger.expect("welcome").await["resumed"], false);
    assert_eq!(stranger.expect("snapshot").await["seq"], json!(5));
    s.tell(5_000, "1002", 1).await;
    let mut late = Page::of(&s, "1000", "?resume=5").await;
    assert_eq!(late.expect("welcome").await["resumed"], false, "too much was missed");
}

#[tokio::test]
async fn an_agent_is_told_what_concerns_them_and_a_supervisor_everything() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let (mut agent, mut supervisor) = (Page::of(&s, "1001", "").await, Page::of(&s, "1003", "").await);
    for page in [&mut agent, &mut supervisor] {
        page.expect("welcome").await;
        page.expect("snapshot").await;
    }
    let snapshots: Vec<Command> = s.node.asked.lock().unwrap().clone();
    for (scope, user) in [(Some(aor("1001")), "1001"), (None, "1003")] {
        let user = Some(aor(user));
        assert!(snapshots.contains(&Command::Snapshot { scope, user }));
    }
    s.tell(1, "1002", 1).await;
    s.tell(1, "1001", 1).await;
    assert_eq!(agent.expect("event").await["seq"], json!(2));
    assert_eq!(supervisor.expect("event").await["seq"], json!(1));
}

#[tokio::test]
async fn a_client_shows_its_token_in_the_handshake_or_in_its_first_message_and_never_in_the_url() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let token = token(&s, "1001").await;
    let bearer = [("authorization", format!("Bearer {token}"))];
    Page::open(&s, "", &bearer).await.unwrap().expect("welcome").await;
    let mut silent = Page::open(&s, "", &[]).await.unwrap();
    silent.say(json!({ "type": "login", "token": token })).await;
    assert_eq!(silent.expect("welcome").await["user"], "1001@example.org");
    let mut guess = Page::open(&s, "", &[]).await.unwrap();
    guess.say(json!({ "type": "login", "token": "x" })).await;
    assert_eq!(guess.closed().await, Some(4401));
    let mut pushy = Page::open(&s, "", &[]).await.unwrap();
    pushy
        .say(json!({ "type": "command", "id": "1", "command": "hold", "interaction": CALL }))
        .await;
    assert_eq!(pushy.closed().await, Some(4401));
    let wrong = [("authorization", "Bearer x".to_owned())];
    assert_eq!(Page::open(&s, "", &wrong).await.err(), Some(401));
    assert_eq!(Page::open(&s, &format!("?token={token}"), &[]).await.err(), Some(400));
}

#[tokio::test]
async fn pages_that_have_not_logged_in_count_as_strangers_until_they_do() {
    let limits = Limits {
        strangers_per_address: 2,
        ..Limits::default()
    };
    let s = Subject::start(Fake::default(), limits).await;
    let token = token(&s, "1001").await;
    let mut pages = Vec::new();
    for _ in 0..2 {
        pages.push(Page::open(&s, "", &[]).await.unwrap());
    }
    let mut third = TcpStream::connect(s.tcp).await.unwrap();
    assert!(!matches!(third.read(&mut [0]).await, Ok(1..)), "it is closed");
    for page in &mut pages {
        page.say(json!({ "type": "login", "token": token })).await;
        page.expect("welcome").await;
    }
    assert_eq!(s.public("GET", "/healthz", "").await.0, 200);
}

#[tokio::test]
async fn s22_a_page_of_another_site_gets_no_websocket() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let bearer = ("authorization", format!("Bearer {}", token(&s, "1001").await));
    let foreign = [bearer.clone(), ("origin", "http://evil.example".to_owned())];
    assert_eq!(Page::open(&s, "", &foreign).await.err(), Some(403));
    let own = [bearer, ("origin", format!("http://{}", s.tcp))];
    assert!(Page::open(&s, "", &own).await.is_ok());
}

#[tokio::test]
async fn commands_are_answered_by_their_id_and_done_once() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let mut page = Page::of(&s, "1001", "").await;
    page.expect("welcome").await;
    page.expect("snapshot").await;
    let hold = json!({ "type": "command", "id": "a", "command": "hold", "interaction": CALL });
    for _ in 0..2 {
        page.say(hold.clone()).await;
        let answer = page.expect("answer").await;
        assert_eq!((&answer["id"], &answer["answer"]["done"]), (&json!("a"), &json!(true)));
    }
    let holds = |s: &Subject| {
        s.node
            .asked
            .lock()
            .unwrap()
            .iter()
            .filter(|c| matches!(c, Command::Act(_)))
            .count()
    };
    assert_eq!(holds(&s), 1);
    // Another connection of the same user: the id still counts.
    let mut other = Page::of(&s, "1001", "").await;
    other.expect("welcome").await;
    other.expect("snapshot").await;
    other.say(hold).await;
    other.expect("answer").await;
    assert_eq!(holds(&s), 1);
    let nowhere = json!({ "type": "command", "id": "b", "command": "hold", "interaction": "i-0000000000000000" });
    page.say(nowhere).await;
    let refused = page.expect("answer").await;
    assert_eq!(
        (&refused["id"], &refused["problem"]["code"]),
        (&json!("b"), &json!("not-found"))
    );
    page.say(json!({ "type": "command", "id": "c", "command": "dance" }))
        .await;
    assert_eq!(page.expect("error").await["problem"]["code"], "bad-request");
}

#[tokio::test]
async fn another_password_ends_the_websocket() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let mut page = Page::of(&s, "1001", "").await;
    page.expect("welcome").await;
    page.expect("snapshot").await;
    *s.node.reloads.lock().unwrap() += 1;
    *s.node.seq.lock().unwrap() += 1;
    let reloaded = Occurrence {
        seq: 1,
        at: clock::Wall(0),
        event: Event::Reloaded,
    };
    s.events.send(reloaded).await.unwrap();
    assert_eq!(page.closed().await, Some(4401));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_the_others_are_not() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let (mut slow, mut quick) = (Page::of(&s, "1000", "").await, Page::of(&s, "1003", "").await);
    quick.expect("welcome").await;
    quick.expect("snapshot").await;
    // Twelve megabytes: more than the sockets of one connection hold, less than the ring.
    for seq in 1..=600 {
        s.tell(1, "1001", 20_000).await;
        assert_eq!(quick.expect("event").await["seq"], json!(seq));
    }
    assert_eq!(slow.closed().await.unwrap_or(4429), 4429);
    s.tell(1, "1001", 1).await;
    assert_eq!(quick.expect("event").await["seq"], json!(601));
}

#[tokio::test]
async fn websockets_are_bounded_and_end_with_the_node() {
    let limits = Limits {
        websockets: 3,
        ..Limits::default()
    };
    let s = Subject::start(Fake::default(), limits).await;
    let mut pages = Vec::new();
    for _ in 0..3 {
        let mut page = Page::of(&s, "1001", "").await;
        page.expect("welcome").await;
        pages.push(page);
    }
    let bearer = [("authorization", format!("Bearer {}", token(&s, "1001").await))];
    assert_eq!(Page::open(&s, "", &bearer).await.err(), Some(429));
    let metrics = s.public("GET", "/metrics", "").await.1;
    assert!(
        metrics.contains("\ntandem_websockets 3\n") && metrics.contains("\ntandem_api_tokens 4\n"),
        "{metrics}"
    );
    drop(pages.pop());
    let mut again = Err(0);
    for _ in 0..1_000 {
        again = Page::open(&s, "", &bearer).await;
        if again.is_ok() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(again.is_ok(), "a place that was given back is given again");
    s.server.stop().await;
    assert_eq!(pages[0].closed().await, Some(1001));
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_websocket() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let mut page = Page::of(&s, "1001", "").await;
    page.expect("welcome").await;
    page.expect("snapshot").await;
    page.say(json!({ "type": "command", "id": "x".repeat(100_000) })).await;
    page.closed().await;
}
