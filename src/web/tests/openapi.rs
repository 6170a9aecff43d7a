//! The description of the API is true.

use super::*;
use crate::server::routers;
use std::collections::BTreeSet;

fn described() -> Value {
    serde_json::to_value(routers().0).unwrap()
}

/// What is wrong with `value` after `schema` (JSON Schema 2020-12, as much of it as utoipa writes); `None`: nothing.
fn wrong(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let place = name.strip_prefix('#').expect("a reference within the description");
        let found = root.pointer(place).unwrap_or_else(|| panic!("{name} is not described"));
        return wrong(root, found, value);
    }
    if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let problems: Option<Vec<String>> = choices.iter().map(|choice| wrong(root, choice, value)).collect();
        return problems.map(|problems| format!("no choice fits {value}: {problems:?}"));
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().find_map(|part| wrong(root, part, value));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Some(format!("{value} is not among {allowed:?}"));
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.contains(&kind) {
        return Some(format!("{value} is no {types:?}"));
    }
    match value {
        Value::Array(items) => items.iter().find_map(|item| wrong(root, &schema["items"], item)),
        Value::Object(fields) => {
            let required = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            let mut missing = required.filter(|name| !fields.contains_key(*name));
            if let Some(name) = missing.next() {
                return Some(format!("{name} is missing in {value}"));
            }
            fields.iter().find_map(|(name, field)| {
                let found = schema["properties"].get(name).or(schema.get("additionalProperties"));
                match found {
                    Some(schema) => wrong(root, schema, field).map(|why| format!("{name}: {why}")),
                    None => None,
                }
            })
        }
        _ => None,
    }
}

/// All names that a schema with its parts describes for such a value.
fn names(root: &Value, schema: &Value, value: &Value) -> BTreeSet<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return names(root, root.pointer(&name[1..]).unwrap(), value);
    }
    let own = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone());
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    let chosen = choices.filter(|choice| wrong(root, choice, value).is_none());
    own.chain(parts.chain(chosen).flat_map(|part| names(root, part, value)))
        .collect()
}

#[test]
fn it_is_openapi_3_1_and_says_how_to_log_in_and_how_things_fail() {
    let api = described();
    assert_eq!(api["openapi"], "3.1.0");
    assert_eq!(api["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    assert_eq!(api["components"]["securitySchemes"]["password"]["scheme"], "basic");
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let failure = &operation["responses"]["default"]["content"]["application/problem+json"];
            assert_eq!(
                failure["schema"]["$ref"], "#/components/schemas/Problem",
                "{method} {path}"
            );
            assert!(
                operation["summary"].is_string() && operation["tags"].is_array(),
                "{method} {path}"
            );
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn visit(root: &Value, value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                    assert!(root.pointer(&name[1..]).is_some(), "{name}");
                }
                fields.values().for_each(|field| visit(root, field));
            }
            Value::Array(items) => items.iter().for_each(|item| visit(root, item)),
            _ => {}
        }
    }
    let api = described();
    visit(&api, &api);
}

/// Routes are added by `routes!` from the described handlers alone, so none can be served that is not described: this looks
/// for other ways to add one. The ones that are no part of the API are named here.
#[test]
fn no_route_is_added_past_the_description() {
    let sources = [
        ("api/mod.rs", include_str!("../api/mod.rs"), 0),
        ("server.rs", include_str!("../server.rs"), 0),
        ("socket/mod.rs", include_str!("../socket/mod.rs"), 0),
        ("login.rs", include_str!("../login.rs"), 0),
        ("openapi.rs", include_str!("../openapi.rs"), 0),
        // /healthz, /readyz, /metrics
        ("health.rs", include_str!("../health.rs"), 3),
    ];
    for (name, source, expected) in sources {
        assert_eq!(source.matches(".route(").count(), expected, "{name}");
    }
}

#[tokio::test]
async fn every_described_operation_is_served() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    s.keep(&super::im::transcript(&["1001", "1002"]));
    let api = described();
    let mut count = 0;
    for (path, item) in api["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let of_sessions = path.contains("/im/");
            let id = if of_sessions {
                super::im::SESSION.to_string()
            } else {
                CALL.to_string()
            };
            let path = path
                .replace("{id}", &id)
                .replace("{user}", "1000")
                .replace("{verb}", if of_sessions { "end" } else { "hold" })
                .replace("{room}", "3000")
                .replace("{group}", "2000")
                .replace("{source}", "192.0.2.1")
                .replace("{member}", "1");
            let (status, answer) = s.local(&method.to_uppercase(), &path, "").await;
            assert!(status != 404 && status != 405, "{method} {path}: {answer}");
            count += 1;
        }
    }
    assert!(count >= 20, "{count}");
}

#[tokio::test]
async fn answers_are_as_described() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    s.keep(&super::im::transcript(&["1001", "1002"]));
    let session = super::im::SESSION;
    let api = described();
    for (method, path, template, body) in [
        ("GET", "/api/v1/status", "/api/v1/status", ""),
        ("GET", "/api/v1/calls", "/api/v1/calls", ""),
        ("GET", &*format!("/api/v1/calls/{CALL}"), "/api/v1/calls/{id}", ""),
        (
            "POST",
            &format!("/api/v1/calls/{CALL}/hold"),
            "/api/v1/calls/{id}/{verb}",
            "",
        ),
        ("DELETE", &format!("/api/v1/calls/{CALL}"), "/api/v1/calls/{id}", ""),
        ("GET", "/api/v1/interactions", "/api/v1/interactions", ""),
        ("GET", "/api/v1/registrations", "/api/v1/registrations", ""),
        (
            "GET",
            &format!("/api/v1/calls/{CALL}/media"),
            "/api/v1/calls/{id}/media",
            "",
        ),
        ("GET", "/api/v1/bans", "/api/v1/bans", ""),
        (
            "POST",
            "/api/v1/bans",
            "/api/v1/bans",
            r#"{"address": "192.0.2.1", "for_s": 60}"#,
        ),
        (
            "POST",
            "/api/v1/bans",
            "/api/v1/bans",
            r#"{"address": "192.0.2.1", "for_s": 0}"#,
        ),
        ("DELETE", "/api/v1/bans/2001:db8::%2F64", "/api/v1/bans/{source}", ""),
        ("GET", "/api/v1/agents", "/api/v1/agents", ""),
        ("GET", "/api/v1/agents/1001", "/api/v1/agents/{user}", ""),
        (
            "PUT",
            "/api/v1/agents/1001",
            "/api/v1/agents/{user}",
            r#"{"state": "not-ready", "reason": "meal"}"#,
        ),
        (
            "PUT",
            "/api/v1/agents/1001",
            "/api/v1/agents/{user}",
            r#"{"state": "busy"}"#,
        ),
        ("GET", "/api/v1/groups", "/api/v1/groups", ""),
        ("GET", "/api/v1/groups/2000", "/api/v1/groups/{group}", ""),
        ("GET", "/api/v1/directory?text=kat&kind=agent", "/api/v1/directory", ""),
        ("GET", "/api/v1/directory?limit=0", "/api/v1/directory", ""),
        ("GET", "/api/v1/rooms", "/api/v1/rooms", ""),
        ("GET", "/api/v1/rooms/3000", "/api/v1/rooms/{room}", ""),
        ("GET", "/api/v1/me", "/api/v1/me", ""),
        ("GET", "/api/v1/cdrs", "/api/v1/cdrs", ""),
        ("GET", "/api/v1/im/queue", "/api/v1/im/queue", ""),
        ("GET", "/api/v1/im/queue/1001", "/api/v1/im/queue/{user}", ""),
        ("DELETE", "/api/v1/im/queue/1001", "/api/v1/im/queue/{user}", ""),
        (
            "DELETE",
            "/api/v1/im/queue/1001/m-7",
            "/api/v1/im/queue/{user}/{message}",
            "",
        ),
        ("GET", "/api/v1/im/sessions", "/api/v1/im/sessions", ""),
        (
            "GET",
            &format!("/api/v1/im/sessions/{session}"),
            "/api/v1/im/sessions/{id}",
            "",
        ),
        ("GET", "/api/v1/im/transcripts", "/api/v1/im/transcripts", ""),
        (
            "GET",
            &format!("/api/v1/im/transcripts/{session}"),
            "/api/v1/im/transcripts/{id}",
            "",
        ),
        ("GET", "/api/v1/im/sessions/x", "/api/v1/im/sessions/{id}", ""),
        (
            "POST",
            "/api/v1/login",
            "/api/v1/login",
            r#"{"user": "1001", "password": "right"}"#,
        ),
        ("POST", "/api/v1/reload", "/api/v1/reload", ""),
        ("GET", "/api/v1/calls/x", "/api/v1/calls/{id}", ""),
    ] {
        let (status, answer) = s.local(method, path, body).await;
        let responses = &api["paths"][template][method.to_lowercase()]["responses"];
        let content = match responses.get(status.to_string()) {
            Some(response) => &response["content"]["application/json"],
            None => &responses["default"]["content"]["application/problem+json"],
        };
        let (schema, value) = (&content["schema"], json_of(&answer));
        assert!(schema.is_object(), "{method} {path}: {status} is not described");
        assert_eq!(wrong(&api, schema, &value), None, "{method} {path}");
        let said: BTreeSet<String> = value.as_object().unwrap().keys().cloned().collect();
        let described = names(&api, schema, &value);
        assert!(
            said.is_subset(&described),
            "{method} {path}: {said:?} but described is {described:?}"
        );
    }
}

/// What the views look like is held by their types; that the descriptions of these types are true is held here.
#[test]
fn views_are_written_as_described() {
    let api = described();
    let check = |name: &str, value: Value| {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        assert_eq!(wrong(&api, &schema, &value), None, "{name}");
        if let (Some(said), described) = (value.as_object(), names(&api, &schema, &value))
            && !described.is_empty()
        {
            let said: BTreeSet<String> = said.keys().cloned().collect();
            assert_eq!(said, described, "{name}");
        }
    };
    check("CallView", serde_json::to_value(call("1001")).unwrap());
    check("InteractionView", serde_json::to_value(interaction("1001")).unwrap());
    check("LegSoundView", serde_json::to_value(sound()).unwrap());
    check("RoomView", serde_json::to_value(room()).unwrap());
    check("RoomMemberView", serde_json::to_value(&room().members[0]).unwrap());
    check("PresenceView", serde_json::to_value(presence("1001")).unwrap());
    check("GroupView", serde_json::to_value(group()).unwrap());
    check("DirectoryEntry", serde_json::to_value(entry("1001")).unwrap());
    let presence = presence("1001");
    let changed = model::Event::PresenceChanged {
        presence,
        audience: None,
    };
    check("Event", serde_json::to_value(changed).unwrap());
    check("BanView", serde_json::to_value(ban()).unwrap());
    let transcript = super::im::transcript(&["1001", "1002"]);
    check("ImTranscript", serde_json::to_value(&transcript).unwrap());
    check("ImSession", serde_json::to_value(&transcript.session).unwrap());
    check("ImParty", serde_json::to_value(&transcript.session.parties[0]).unwrap());
    check("ImMessage", serde_json::to_value(&transcript.messages[0]).unwrap());
    let user = aor("1001");
    let joined = model::Event::ImJoined { user, transcript };
    check("Event", serde_json::to_value(joined).unwrap());
    check("StatusView", serde_json::to_value(StatusView::default()).unwrap());
    let call = call("1001");
    let left = vec![aor("1002")];
    let ended = model::Event::CallEnded { call, left };
    check("Event", serde_json::to_value(&ended).unwrap());
    check("Event", serde_json::to_value(model::Event::Draining).unwrap());
    let occurrence = Occurrence {
        seq: 1,
        at: clock::Wall(2),
        event: ended,
    };
    check("Occurrence", serde_json::to_value(occurrence).unwrap());
    check("Snapshot", serde_json::to_value(Snapshot::default()).unwrap());
    let cdr = json!({
        "seq": 7, "interaction": "i-0000000000000001", "leg": "l-0000000000000002", "direction": "in",
        "user": "1000@a", "caller": "x", "callee": "1001", "call_id": "c", "started_at": 0,
        "ringing_at": null, "answered_at": 1_000, "ended_at": 62_000, "ended_by": "switch",
        "reason": "media-timeout", "status": 200, "codec": "PCMA/8000", "packets": [1, 2, 3],
    });
    let schema = json!({ "$ref": "#/components/schemas/CdrLine" });
    assert_eq!(wrong(&api, &schema, &cdr), None);
    let mut without = cdr.clone();
    without.as_object_mut().unwrap().remove("reason");
    assert!(wrong(&api, &schema, &without).is_some(), "this test can fail");
}

#[tokio::test]
async fn the_page_for_people_comes_from_here_alone() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let (status, page) = s.public("GET", "/docs/", "").await;
    assert_eq!(status, 200);
    let head = page.to_lowercase();
    assert!(
        head.contains("content-security-policy: default-src 'none'; script-src 'self'"),
        "{head}"
    );
    assert!(
        !page.contains("http://") && !page.contains("https://") && !page.contains("src=\"//"),
        "{page}"
    );
    assert!(
        s.public("GET", "/docs/swagger-initializer.js", "")
            .await
            .1
            .contains("/openapi.json")
    );
    let (status, json) = s.public("GET", "/openapi.json", "").await;
    assert_eq!((status, &json_of(&json)["info"]["title"]), (200, &json!("Tandem")));
}
