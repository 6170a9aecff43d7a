//! Agents, groups and the directory over HTTP.

use super::login::token;
use super::*;
use model::{InteractionId, Medium, Willing};
use switch::{By, Look, SetAgent};

async fn as_user(s: &Subject, method: &str, path: &str, user: &str, body: &str) -> (u16, String) {
    let headers = format!("Authorization: Bearer {}\r\n", token(s, user).await);
    let stream = TcpStream::connect(s.tcp).await.unwrap();
    exchange(stream, method, path, &headers, body).await
}

fn asked(s: &Subject) -> Command {
    s.node.asked.lock().unwrap().pop().expect("a command")
}

#[tokio::test]
async fn an_agent_asks_in_their_own_name_and_the_operator_in_none() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let (status, answer) = as_user(&s, "GET", "/api/v1/agents", "1002", "").await;
    assert_eq!(
        (status, &json_of(&answer)["agents"][0]["aor"]),
        (200, &json!("1001@example.org"))
    );
    let by = By::User(aor("1002"));
    assert_eq!(asked(&s), Command::Agents { user: None, by });
    s.local("GET", "/api/v1/agents/1001", "").await;
    let (user, by) = (Some(aor("1001")), By::Operator(None));
    assert_eq!(asked(&s), Command::Agents { user, by });
}

#[tokio::test]
async fn what_is_said_of_an_agent_names_who_says_it() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let body = r#"{"state": "not-ready", "medium": "im", "reason": "meal"}"#;
    let (status, answer) = as_user(&s, "PUT", "/api/v1/agents/1001", "1002", body).await;
    assert_eq!(
        (status, &json_of(&answer)["voice"]["state"]),
        (200, &json!("logged-off"))
    );
    let set = SetAgent {
        by: By::User(aor("1002")),
        user: aor("1001"),
        medium: Some(Medium::Im),
        willing: Willing::NotReady,
        reason: "meal".into(),
    };
    assert_eq!(
        asked(&s),
        Command::SetAgent(Box::new(set)),
        "whether they may is the switch's to say"
    );
    let (status, _) = as_user(&s, "PUT", "/api/v1/agents/1001", "1002", r#"{"state": "busy"}"#).await;
    assert_eq!(status, 400, "nobody is set busy");
}

#[tokio::test]
async fn the_directory_is_searched_here_and_how_people_are_is_asked_of_the_switch() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let path = format!("/api/v1/directory?text=kat&interaction={CALL}");
    let (status, answer) = as_user(&s, "GET", &path, "1001", "").await;
    assert_eq!(
        (status, json_of(&answer)["entries"].as_array().unwrap().len()),
        (200, 2)
    );
    let look = |interaction: Option<InteractionId>, targets: &[&str], consulted_first| {
        Command::Look(Box::new(Look {
            by: By::User(aor("1001")),
            targets: targets.iter().map(|target| (*target).into()).collect(),
            interaction,
            consulted_first,
        }))
    };
    assert_eq!(
        asked(&s),
        look(Some(CALL), &["1002", "1001"], false),
        "Katz comes before Kate by name"
    );
    let path = format!("/api/v1/directory?limit=1&interaction={CALL}");
    let (_, answer) = as_user(&s, "GET", &path, "1001", "").await;
    assert_eq!(json_of(&answer)["more"], true);
    assert_eq!(
        asked(&s),
        look(Some(CALL), &["1002"], true),
        "nothing typed: whom one consults comes first"
    );
    for wrong in ["limit=1000", "kind=queue", "interaction=x", "txt=kat"] {
        let (status, _) = as_user(&s, "GET", &format!("/api/v1/directory?{wrong}"), "1001", "").await;
        assert_eq!(status, 400, "{wrong}");
    }
    let long = "x".repeat(65);
    let (status, _) = as_user(&s, "GET", &format!("/api/v1/directory?text={long}"), "1001", "").await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_page_learns_what_it_may_offer() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let (_, answer) = as_user(&s, "GET", "/api/v1/me", "1001", "").await;
    assert_eq!(json_of(&answer)["capabilities"]["supervises"], false);
    let (_, answer) = s.local("GET", "/api/v1/me", "").await;
    assert_eq!(json_of(&answer)["capabilities"]["supervises"], true);
}
