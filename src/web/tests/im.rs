//! Sessions of messages, their records, and who is counted on to show them.

use super::socket::Page;
use super::*;
use clock::Wall;
use model::{
    Event, ImConsult, ImEnd, ImMessage, ImParty, ImSession, ImStanding, ImState, ImTranscript, KeptSession, MessageId,
    SessionId, StoreOp, StoredMessage,
};
use switch::{By, ImAct, ImVerb};

pub(super) const SESSION: SessionId = SessionId(0x0012_3456_789a_bcde);

/// A session of these users that is over, with a message.
pub(super) fn transcript(users: &[&str]) -> ImTranscript {
    let party = |(place, user): (usize, &&str)| ImParty {
        id: PartyId(place as u64 + 1),
        user: aor(user),
        shown: format!("<{user}>").into(),
        standing: ImStanding::Connected,
        state: ImState::Ended,
        by_phone: false,
        done: true,
        invited_by: (place > 0).then_some(PartyId(1)),
        replaces: None,
        group: None,
        delivered: 1,
        displayed: 1,
        since: 0,
        until: Some(1),
    };
    ImTranscript {
        session: ImSession {
            id: SESSION,
            state: ImState::Ended,
            end: Some(ImEnd::Ended),
            ended_by: Some(PartyId(1)),
            owner: PartyId(1),
            target: users[1].into(),
            consult: None,
            parties: users.iter().enumerate().map(party).collect(),
            opened_at: Wall(1_000),
            connected_at: Some(Wall(2_000)),
            ended_at: Some(Wall(3_000)),
            last_seq: 1,
        },
        messages: vec![ImMessage {
            session: SESSION,
            seq: 1,
            at: Wall(1_500),
            from: PartyId(1),
            shown: format!("<{}>", users[0]).into(),
            text: "the violin is ready\nplease come".into(),
            failed: Vec::new(),
            request: 0,
        }],
    }
}

/// The switch is who knows who may.
pub(super) fn acted(act: &ImAct) -> Answer {
    match &act.verb {
        ImVerb::Send { text, .. } => {
            let mut message = transcript(&["1001", "1002"]).messages.remove(0);
            message.text.clone_from(text);
            Answer::Sent(Box::new(message))
        }
        ImVerb::Done { .. } => Answer::Done(1),
        ImVerb::Reject { .. } => Answer::Refused(Refusal::NotFound("no session".into())),
        ImVerb::Add { .. } => Answer::Refused(Refusal::Unreachable(480)),
        ImVerb::Drop { .. } => Answer::Refused(Refusal::Unavailable("the disk is full".into())),
        ImVerb::Transfer { .. } => Answer::Refused(Refusal::TooLarge(7)),
        _ => Answer::Session(Box::new(transcript(&["1001", "1002"]))),
    }
}

impl Subject {
    /// Puts a session that is over into the store.
    pub(super) fn keep(&self, transcript: &ImTranscript) {
        let message = Box::new(transcript.messages[0].clone());
        let session = transcript.session.clone();
        let kept = Box::new(KeptSession {
            session,
            cseqs: Vec::new(),
            settled: Vec::new(),
            asked: Vec::new(),
        });
        self.store.submit(None, StoreOp::PutSessionMessage(message)).unwrap();
        let close = StoreOp::CloseSession { kept, keep_text: true };
        self.store.submit(None, close).unwrap();
        let mut reader = self.store.reader().unwrap();
        while reader.transcript(transcript.session.id).unwrap().is_none() {
            std::thread::yield_now();
        }
    }

    fn asked(&self) -> Vec<Command> {
        self.node.asked.lock().unwrap().clone()
    }
}

/// What was asked of the switch last about sessions.
fn last_verb(s: &Subject) -> ImVerb {
    let asked = s.asked();
    let acts = asked.iter().rev().filter_map(|command| match command {
        Command::Im(act) => Some(act.verb.clone()),
        _ => None,
    });
    acts.into_iter().next().expect("a verb was asked for")
}

#[tokio::test]
async fn every_verb_of_sessions_is_carried_over_http() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let session = SESSION;
    let (target, text): (Box<str>, Box<str>) = ("1002".into(), "hello".into());
    let party = PartyId(2);
    let read = |seq, displayed| ImVerb::Read {
        session,
        seq,
        displayed,
    };
    for (verb, body, expected, status) in [
        ("send", json!({ "text": "hello" }), ImVerb::Send { session, text }, 200),
        ("accept", json!({}), ImVerb::Accept { session }, 200),
        ("reject", json!({}), ImVerb::Reject { session }, 404),
        ("end", json!({}), ImVerb::End { session }, 200),
        ("done", json!({}), ImVerb::Done { session }, 200),
        (
            "typing",
            json!({ "on": true }),
            ImVerb::Typing { session, on: true },
            200,
        ),
        ("read", json!({ "seq": 7 }), read(7, true), 200),
        ("read", json!({ "seq": 7, "displayed": false }), read(7, false), 200),
        (
            "add",
            json!({ "target": "1002" }),
            ImVerb::Add {
                session,
                target: target.clone(),
            },
            409,
        ),
        ("drop", json!({ "party": party }), ImVerb::Drop { session, party }, 503),
        (
            "transfer",
            json!({ "target": "1002" }),
            ImVerb::Transfer { session, target },
            413,
        ),
        ("voice", json!({}), ImVerb::Voice { session, party: None }, 200),
    ] {
        let path = format!("/api/v1/im/sessions/{session}/{verb}");
        let (got, answer) = s.local("POST", &path, &body.to_string()).await;
        assert_eq!(got, status, "{verb}: {answer}");
        assert_eq!(last_verb(&s), expected);
        assert_eq!(format!("im-{verb}"), expected.name());
        assert_eq!(expected.session(), Some(session));
    }
    let path = format!("/api/v1/im/sessions/{session}/dance");
    assert_eq!(s.local("POST", &path, "").await.0, 404);
    let path = format!("/api/v1/im/sessions/{session}/end");
    assert_eq!(s.local("POST", &path, "{\"typo\": 1}").await.0, 400);
    assert_eq!(
        s.local("POST", &path, &json!({ "session": session }).to_string())
            .await
            .0,
        400
    );
    let open = json!({ "target": "1002", "interaction": CALL, "text": "hello" });
    assert_eq!(s.local("POST", "/api/v1/im/sessions", &open.to_string()).await.0, 200);
    let expected = ImVerb::Open {
        target: "1002".into(),
        interaction: Some(CALL),
        text: Some("hello".into()),
    };
    assert_eq!(last_verb(&s), expected);
}

#[tokio::test]
async fn a_user_acts_as_the_party_that_they_are_and_once_for_each_id() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let mut page = Page::of(&s, "1001", "").await;
    page.expect("welcome").await;
    page.expect("snapshot").await;
    for _ in 0..2 {
        page.say(json!({ "type": "command", "id": "a", "command": "im-send", "session": SESSION, "text": "hi" }))
            .await;
        let answer = page.expect("answer").await;
        assert_eq!(answer["answer"]["message"]["text"], "hi");
    }
    let sends: Vec<By> = s
        .asked()
        .into_iter()
        .filter_map(|command| match command {
            Command::Im(act) => Some(act.by),
            _ => None,
        })
        .collect();
    assert_eq!(sends, [By::User(aor("1001"))]);
}

#[tokio::test]
async fn a_page_that_shows_messages_is_counted_on_while_it_is_there() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let mut plain = Page::of(&s, "1001", "").await;
    assert_eq!(plain.expect("welcome").await["im"], false);
    assert!(!s.asked().iter().any(|command| matches!(command, Command::Aware { .. })));
    let mut page = Page::of(&s, "1001", "?im=true").await;
    assert_eq!(page.expect("welcome").await["im"], true);
    let told = |on: bool| {
        let asked = s.asked().into_iter();
        let mut leases = asked.filter_map(|command| match command {
            Command::Aware { user, lease, on: said } if said == on => Some((user, lease)),
            _ => None,
        });
        leases.next()
    };
    let begun = told(true);
    assert!(begun.as_ref().is_some_and(|(user, _)| *user == aor("1001")));
    drop(page);
    while told(false).is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(told(false), begun);
}

#[tokio::test]
async fn what_people_write_to_each_other_is_told_to_nobody_else_whatever_their_role() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let mut pages = Vec::new();
    for user in ["1001", "1002", "1003", "1000"] {
        let mut page = Page::of(&s, user, "").await;
        page.expect("welcome").await;
        page.expect("snapshot").await;
        pages.push(page);
    }
    let message = transcript(&["1001", "1002"]).messages.remove(0);
    let to = vec![aor("1001"), aor("1002")];
    let said = Event::ImMessage { message, to };
    let last = Event::Draining;
    for (seq, event) in [(1, said), (2, last)] {
        let at = Wall(0);
        s.events.send(Occurrence { seq, at, event }).await.unwrap();
    }
    for (place, page) in pages.iter_mut().enumerate() {
        let first = page.expect("event").await;
        let expected = if place < 2 { "im-message" } else { "draining" };
        assert_eq!(first["event"], expected, "page {place}");
    }
}

#[tokio::test]
async fn records_are_shown_to_who_took_part_and_to_admins() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    s.keep(&transcript(&["1001", "1002"]));
    let mut consult = transcript(&["1001", "1002"]);
    consult.session.id = SessionId(7);
    consult.messages[0].session = SessionId(7);
    consult.session.consult = Some(ImConsult {
        interaction: CALL,
        contacts: Vec::new(),
        case_data: Default::default(),
        voice: None,
    });
    s.keep(&consult);
    let list = |user: &'static str, query: &'static str| {
        let s = &s;
        async move {
            let path = format!("/api/v1/im/transcripts{query}");
            let (status, answer) = s.public("GET", &path, &credentials(user, "right")).await;
            assert_eq!(status, 200, "{answer}");
            let listed = json_of(&answer)["transcripts"].as_array().unwrap().clone();
            listed
                .iter()
                .map(|one| one["session"]["id"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        }
    };
    let own = [SESSION.to_string()];
    // R341, R342: the consultation is in nobody's history, neither who consulted nor who was consulted.
    assert_eq!(
        (list("1001", "").await, list("1002", "").await),
        (own.to_vec(), own.to_vec())
    );
    assert!(list("1003", "").await.is_empty(), "a supervisor who took no part");
    assert_eq!(list("1000", "").await.len(), 2);
    let of_call: &'static str = Box::leak(format!("?interaction={CALL}").into_boxed_str());
    assert_eq!(list("1000", of_call).await, [SessionId(7).to_string()]);
    assert!(list("1001", of_call).await.is_empty());
    assert_eq!(list("1001", "?text=violin+ready").await, own);
    assert!(list("1001", "?text=cello").await.is_empty());

    let path = format!("/api/v1/im/transcripts/{SESSION}");
    let (status, answer) = s.public("GET", &path, &credentials("1002", "right")).await;
    assert_eq!(
        (status, json_of(&answer)["messages"].as_array().unwrap().len()),
        (200, 1)
    );
    assert_eq!(s.public("GET", &path, &credentials("1003", "right")).await.0, 404);
    let of_consult = format!("/api/v1/im/transcripts/{}", SessionId(7));
    assert_eq!(s.public("GET", &of_consult, &credentials("1001", "right")).await.0, 404);
    let (status, text) = s
        .public("GET", &format!("{path}/text"), &credentials("1001", "right"))
        .await;
    assert_eq!(status, 200);
    assert!(
        text.contains("[1970-01-01T00:00:01.500Z] <1001>: the violin is ready\n    please come\n"),
        "{text}"
    );

    assert_eq!(s.public("DELETE", &path, &credentials("1001", "right")).await.0, 403);
    assert_eq!(s.public("DELETE", &path, &credentials("1000", "right")).await.0, 200);
    assert!(s.asked().contains(&Command::ImErase(SESSION)));
}

#[tokio::test]
async fn what_waits_is_shown_without_its_text_and_dropped_by_its_name() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let message = |id| StoredMessage {
        id: MessageId(id),
        to: aor("1002"),
        from: aor("1001"),
        from_display: "".into(),
        call_id: format!("call-{id}").into(),
        cseq: 1,
        content_type: "text/plain".into(),
        body: b"between us".to_vec(),
        accepted_at: Wall(1_000),
        expires_at: Wall(9_000),
        is_taken: true,
        owed: vec!["<urn:uuid:1>".into()],
        imdn_id: "".into(),
        wants: 0,
    };
    for id in [7, 8] {
        let append = StoreOp::AppendMessage(Box::new(message(id)));
        s.store.submit(None, append).unwrap();
    }
    let mut reader = s.store.reader().unwrap();
    while reader.messages_waiting().unwrap() < 2 {
        std::thread::yield_now();
    }
    let (status, answer) = s.local("GET", "/api/v1/im/queue/1002", "").await;
    let shown = json!({
        "id": "m-0000000000000007", "from": aor("1001"), "accepted_at": 1_000, "expires_at": 9_000,
        "content_type": "text/plain", "bytes": 10, "is_taken": true, "owed": ["<urn:uuid:1>"],
    });
    let waiting = json_of(&answer)["messages"].clone();
    assert_eq!(
        (status, &waiting[0], waiting.as_array().unwrap().len()),
        (200, &shown, 2)
    );
    assert!(!answer.contains("between us"));
    let next = "/api/v1/im/queue/1002?after=m-0000000000000007&limit=1";
    let page = json_of(&s.local("GET", next, "").await.1)["messages"].clone();
    assert_eq!(
        (&page[0]["id"], page.as_array().unwrap().len()),
        (&json!("m-0000000000000008"), 1)
    );

    let one = "/api/v1/im/queue/1002/m-0000000000000007";
    assert_eq!(s.local("DELETE", one, "").await.0, 200);
    let credentials = credentials("1000", "right");
    assert_eq!(s.public("DELETE", "/api/v1/im/queue/1002", &credentials).await.0, 200);
    assert_eq!(s.local("DELETE", "/api/v1/im/queue/1002/seven", "").await.0, 400);
    let to = aor("1002");
    let dropped: Vec<Command> = s
        .asked()
        .into_iter()
        .filter(|command| matches!(command, Command::DropMessages { .. }))
        .collect();
    let expected = [(By::Operator(None), Some(MessageId(7))), (By::User(aor("1000")), None)];
    let expected = expected.map(|(by, id)| Command::DropMessages { by, to: to.clone(), id });
    assert_eq!(dropped, expected);
}
