//! Logging in, and who may do what.

use super::*;

/// The token that this user's password gets.
pub(super) async fn token(s: &Subject, user: &str) -> String {
    let (status, answer) = log_in(s, user, "right", "").await;
    assert_eq!(status, 200, "{answer}");
    json_of(&answer)["token"].as_str().unwrap().to_owned()
}

async fn log_in(s: &Subject, user: &str, password: &str, headers: &str) -> (u16, String) {
    let body = json!({ "user": user, "password": password }).to_string();
    let stream = TcpStream::connect(s.tcp).await.unwrap();
    exchange(stream, "POST", "/api/v1/login", headers, &body).await
}

fn with(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn a_login_gives_a_token_and_says_who_one_is() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let (_, answer) = log_in(&s, "1001", "right", "").await;
    let login = json_of(&answer);
    assert_eq!(login["user"], "1001@example.org");
    assert_eq!(
        (&login["roles"], &login["token_type"]),
        (&json!(["agent"]), &json!("Bearer"))
    );
    assert_eq!(
        (&login["idle_s"], &login["expires_in_s"]),
        (&json!(3_600), &json!(43_200))
    );
    let token = with(login["token"].as_str().unwrap());
    let (status, answer) = s.public("GET", "/api/v1/me", &token).await;
    assert_eq!((status, &json_of(&answer)["name"]), (200, &json!("User 1001")));
    assert_eq!(json_of(&s.local("GET", "/api/v1/me", "").await.1)["user"], Value::Null);
}

#[tokio::test]
async fn a_token_ends_with_logout_and_with_another_password() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let (first, second) = (with(&token(&s, "1001").await), with(&token(&s, "1001").await));
    assert_eq!(s.public("POST", "/api/v1/logout", &first).await.0, 200);
    assert_eq!(s.public("GET", "/api/v1/me", &first).await.0, 401);
    assert_eq!(s.public("GET", "/api/v1/me", &second).await.0, 200);
    *s.node.reloads.lock().unwrap() += 1;
    assert_eq!(s.public("GET", "/api/v1/me", &second).await.0, 401);
    assert_eq!(s.public("GET", "/api/v1/me", &with("made-up")).await.0, 401);
}

#[tokio::test]
async fn s12_guessing_at_the_login_is_limited_like_everywhere() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    for n in 0..10 {
        // By either door: they count together.
        let status = match n % 2 {
            0 => log_in(&s, "1001", "wrong", "").await.0,
            _ => s.public("GET", "/api/v1/me", &credentials("1001", "wrong")).await.0,
        };
        assert_eq!(status, 401);
    }
    assert_eq!(log_in(&s, "1001", "right", "").await.0, 429);
    assert_eq!(log_in(&s, "1002", "right", "").await.0, 200);
}

#[tokio::test]
async fn s22_a_page_of_another_site_cannot_log_in() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    assert_eq!(
        log_in(&s, "1001", "right", "Origin: http://evil.example\r\n").await.0,
        403
    );
    assert_eq!(log_in(&s, "1001", "right", "Origin: http://h\r\n").await.0, 200);
}

#[tokio::test]
async fn everybody_gets_what_their_role_allows_and_no_more() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let hold = format!("/api/v1/calls/{CALL}/hold");
    let hangup = format!("/api/v1/calls/{CALL}");
    // Who: in the call, another agent, a supervisor, an admin.
    for (method, path, expected) in [
        ("GET", "/api/v1/me", [200; 4]),
        ("GET", "/api/v1/calls", [200; 4]),
        ("GET", &*hangup, [200, 404, 200, 200]),
        ("GET", "/api/v1/interactions", [200; 4]),
        ("GET", &format!("/api/v1/interactions/{CALL}"), [200, 404, 200, 200]),
        ("POST", &hold, [200; 4]),
        ("DELETE", &hangup, [200, 404, 200, 200]),
        ("GET", "/api/v1/registrations", [200; 4]),
        ("GET", "/api/v1/registrations/1001", [200, 403, 200, 200]),
        ("DELETE", "/api/v1/registrations/1001", [403, 403, 403, 200]),
        ("GET", "/api/v1/cdrs", [200; 4]),
        ("GET", "/api/v1/cdrs.csv", [200; 4]),
        ("GET", "/api/v1/status", [403, 403, 200, 200]),
        ("GET", "/api/v1/im/queue", [403, 403, 200, 200]),
        ("GET", "/api/v1/im/queue/1001", [403, 403, 403, 200]),
        ("DELETE", "/api/v1/im/queue/1001", [403, 403, 403, 200]),
        (
            "DELETE",
            "/api/v1/im/queue/1001/m-0000000000000007",
            [403, 403, 403, 200],
        ),
        ("GET", "/api/v1/routes/test?from=1&to=2", [403, 403, 403, 200]),
        ("POST", "/api/v1/reload", [403, 403, 403, 422]),
        ("POST", "/api/v1/drain", [403, 403, 403, 400]),
        ("PUT", "/api/v1/trace", [403, 403, 403, 400]),
        ("GET", &format!("/api/v1/calls/{CALL}/media"), [200, 404, 200, 200]),
        ("GET", "/api/v1/rooms", [403, 403, 200, 200]),
        ("GET", "/api/v1/rooms/3000", [403, 403, 200, 200]),
        ("PATCH", "/api/v1/rooms/3000", [403, 403, 400, 400]),
        ("DELETE", "/api/v1/rooms/3000/members/1", [403, 403, 200, 200]),
        ("GET", "/api/v1/nothing", [404; 4]),
    ] {
        for (user, expected) in ["1001", "1002", "1003", "1000"].into_iter().zip(expected) {
            let got = s.public(method, path, &credentials(user, "right")).await;
            assert_eq!(got.0, expected, "{user}: {method} {path}: {}", got.1);
        }
        assert_eq!(s.public(method, path, "").await.0, 401, "{method} {path}");
    }
}

#[tokio::test]
async fn an_agent_is_shown_what_concerns_them() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let ask = async |user, path: &str| json_of(&s.public("GET", path, &credentials(user, "right")).await.1);
    assert_eq!(ask("1001", "/api/v1/calls").await["calls"].as_array().unwrap().len(), 1);
    assert_eq!(ask("1002", "/api/v1/calls").await, json!({ "calls": [] }));
    assert_eq!(ask("1002", "/api/v1/interactions").await, json!({ "interactions": [] }));
    ask("1002", "/api/v1/registrations").await;
    let asked = s.node.asked.lock().unwrap().pop();
    assert_eq!(asked, Some(Command::Registrations(Some(aor("1002")))));
}

#[tokio::test]
async fn a_verb_is_done_as_who_asks() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let path = format!("/api/v1/calls/{CALL}/consult");
    let body = r#"{"target": "1002"}"#;
    let post = async |headers: &str, path: &str, body: &str| {
        exchange(TcpStream::connect(s.tcp).await.unwrap(), "POST", path, headers, body).await
    };
    let agent = credentials("1001", "right") + "Idempotency-Key: k1\r\n";
    for _ in 0..2 {
        let (status, answer) = post(&agent, &path, body).await;
        assert_eq!((status, &json_of(&answer)["done"]), (200, &json!(true)), "{answer}");
    }
    let acts: Vec<Command> = std::mem::take(&mut *s.node.asked.lock().unwrap());
    let [Command::Act(act)] = &acts[..] else {
        panic!("carried out once: {acts:?}")
    };
    assert_eq!((&act.by, &*act.client), (&switch::By::User(aor("1001")), "k1"));
    let other = post(&agent, &path, r#"{"target": "1003"}"#).await;
    assert_eq!(other.0, 409, "the same key for something else");
    for (path, body, expected) in [
        (format!("/api/v1/calls/{CALL}/dance"), "", 404),
        (path.clone(), "", 400),
        (path.clone(), r#"{"target": "1002", "typo": 1}"#, 400),
        (
            path.clone(),
            r#"{"target": "1002", "interaction": "i-0000000000000000"}"#,
            400,
        ),
        ("/api/v1/calls/x/hold".to_owned(), "", 400),
        ("/api/v1/calls/i-0000000000000000/hold".to_owned(), "", 404),
    ] {
        let (status, answer) = post(&credentials("1001", "right"), &path, body).await;
        assert_eq!(status, expected, "{path} {body}: {answer}");
    }
}

#[tokio::test]
async fn a_call_is_begun_for_oneself_or_for_whom_one_names() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let headers = credentials("1001", "right") + "Idempotency-Key: k1\r\n";
    for _ in 0..2 {
        let stream = TcpStream::connect(s.tcp).await.unwrap();
        let answer = exchange(stream, "POST", "/api/v1/calls", &headers, r#"{"target": "1002"}"#).await;
        assert_eq!(
            (answer.0, &json_of(&answer.1)["done"]),
            (200, &json!(false)),
            "{}",
            answer.1
        );
    }
    let (status, answer) = s
        .local("POST", "/api/v1/calls", r#"{"target": "1002", "user": "1003"}"#)
        .await;
    assert_eq!(status, 200, "{answer}");
    for body in [
        r#"{"target": "1002"}"#,
        r#"{"user": "1003"}"#,
        r#"{"target": "1", "user": "2", "typo": 1}"#,
    ] {
        assert_eq!(s.local("POST", "/api/v1/calls", body).await.0, 400, "{body}");
    }
    let asked: Vec<Command> = std::mem::take(&mut *s.node.asked.lock().unwrap());
    let [Command::Originate(own), Command::Originate(other)] = &asked[..] else {
        panic!("two were carried out: {asked:?}")
    };
    assert_eq!((&own.by, &own.user), (&switch::By::User(aor("1001")), &aor("1001")));
    assert_eq!((&*own.client, &*own.target), ("k1", "1002"));
    assert_eq!((&other.by, &other.user), (&switch::By::Operator(None), &aor("1003")));
}
