//! A page: a websocket of one user, who is logged in.

use super::node::TestNode;
use super::{PATIENCE, http, log_in};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

pub struct Page {
    socket: WebSocket<TcpStream>,
    /// Number of the last thing it was told.
    pub seq: u64,
    commands: u64,
}

impl Page {
    /// One that watches, or comes back.
    pub fn open(node: &TestNode, user: &str, resume: Option<u64>) -> Page {
        let query = resume.map(|seq| format!("?resume={seq}")).unwrap_or_default();
        let page = Page::with(node.http(), &log_in(node, user), &query, resume);
        assert_eq!(page.1["resumed"], json!(resume.is_some()), "{}", page.1);
        page.0
    }

    /// One that shows instant messages; what it is shown first.
    pub fn of_messages(http: SocketAddr, user: &str) -> (Page, Value) {
        let (mut page, welcome) = Page::with(http, &token(http, user), "?im=true", None);
        assert_eq!(welcome["im"], true, "{welcome}");
        let snapshot = page.expect("snapshot");
        (page, snapshot)
    }

    /// The same one, back after its connection was lost.
    pub fn back(http: SocketAddr, user: &str, seq: u64) -> Page {
        let query = format!("?im=true&resume={seq}");
        let (page, welcome) = Page::with(http, &token(http, user), &query, Some(seq));
        assert_eq!(welcome["resumed"], true, "{welcome}");
        page
    }

    fn with(http: SocketAddr, token: &str, query: &str, resume: Option<u64>) -> (Page, Value) {
        let mut request = format!("ws://{http}/api/v1/ws{query}").into_client_request().unwrap();
        let protocols = format!("tandem.v1, tandem.token.{token}");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", protocols.parse().unwrap());
        let stream = TcpStream::connect(http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = client(request, stream).unwrap();
        let mut page = Page {
            socket,
            seq: resume.unwrap_or(0),
            commands: 0,
        };
        let welcome = page.take();
        (page, welcome)
    }

    pub fn take(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().expect("a message in time") {
                let message: Value = serde_json::from_str(&text).unwrap();
                self.seq = message["seq"].as_u64().unwrap_or(self.seq);
                return message;
            }
        }
    }

    /// The next message of this type, or event of this name; others are passed over.
    pub fn expect(&mut self, name: &str) -> Value {
        loop {
            let message = self.take();
            if message["type"] == name || message["event"] == name {
                return message;
            }
        }
    }

    pub fn command(&mut self, id: &str, command: &Value) -> Value {
        let mut message = command.clone();
        message["type"] = json!("command");
        message["id"] = json!(id);
        self.socket.send(Message::Text(message.to_string().into())).unwrap();
        let answer = self.expect("answer");
        assert_eq!(answer["id"], id);
        answer
    }

    /// A command that is carried out, with an id of its own; its answer.
    pub fn does(&mut self, command: &Value) -> Value {
        self.commands += 1;
        // Another page of the same user has another port.
        let port = self.socket.get_ref().local_addr().unwrap().port();
        let answer = self.command(&format!("c{port}-{}", self.commands), command);
        assert!(answer["problem"].is_null(), "{command}: {answer}");
        answer["answer"].clone()
    }
}

fn token(at: SocketAddr, user: &str) -> String {
    let body = json!({ "user": user, "password": format!("demo-{user}") });
    let (status, answer) = http(at, "POST", "/api/v1/login", None, &body);
    assert_eq!(status, 200, "{answer}");
    answer["token"].as_str().unwrap().to_owned()
}
