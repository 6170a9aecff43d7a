//! Real websockets on loopback, with tokio-tungstenite at the other end. Every wait is for an event, and gives up after five
//! seconds.

use crate::tcp::{StreamEvent, Tcp, TcpCounters, TcpSettings};
use crate::tls::{Clients, Identity, Pair, TlsFiles, make_certificate};
use crate::wake::{self, Bell};
use crate::ws::frame;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use sip::{Flow, Transport};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Receiver;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

struct Node {
    tcp: Tcp,
    counters: Arc<TcpCounters>,
    transport: Transport,
    local: SocketAddr,
    events: Receiver<StreamEvent>,
}

type Page = WebSocketStream<TcpStream>;

fn node(settings: TcpSettings) -> Node {
    listening(settings, Transport::Ws)
}

fn listening(settings: TcpSettings, transport: Transport) -> Node {
    let (post, events) = wake::channel(1_000, &Bell::new().unwrap());
    let counters = Arc::<TcpCounters>::default();
    let tcp = Tcp::new(Handle::current(), settings, counters.clone(), post);
    let local = tcp.listen(transport, "127.0.0.1:0".parse().unwrap()).unwrap();
    Node {
        tcp,
        counters,
        transport,
        local,
        events,
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), what)
        .await
        .expect("it should have happened within five seconds")
}

impl Node {
    fn request(&self, headers: &[(&'static str, &str)]) -> Request {
        let mut request = format!("ws://{}/sip", self.local).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    /// The status that refuses, or the websocket.
    async fn ask(&self, headers: &[(&'static str, &str)]) -> Result<Page, u16> {
        let stream = TcpStream::connect(self.local).await.unwrap();
        match soon(client_async(self.request(headers), stream)).await {
            Ok((page, _)) => Ok(page),
            Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    async fn page(&mut self) -> (Page, Flow) {
        let page = self.ask(&[SIP]).await.unwrap();
        (page, self.opened().await)
    }

    async fn next(&mut self) -> StreamEvent {
        soon(self.events.recv()).await.unwrap()
    }

    async fn opened(&mut self) -> Flow {
        match self.next().await {
            StreamEvent::Opened { flow, .. } => flow,
            other => panic!("{other:?}"),
        }
    }

    async fn message(&mut self) -> Bytes {
        match self.next().await {
            StreamEvent::Message { bytes, .. } => bytes,
            other => panic!("{other:?}"),
        }
    }

    async fn closed(&mut self) -> Flow {
        match self.next().await {
            StreamEvent::Closed { flow } => flow,
            other => panic!("{other:?}"),
        }
    }

    /// Every connection has given back what it held.
    async fn is_empty(&self) -> bool {
        soon(async {
            while self.counters.connections.value() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        true
    }
}

const SIP: (&str, &str) = ("sec-websocket-protocol", "sip");

const REQUEST: &str = "OPTIONS sip:switch.example SIP/2.0\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bKa1\r\n\
    From: <sip:1000@switch.example>;tag=f\r\nTo: <sip:switch.example>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\r\n";

#[tokio::test]
async fn a_message_a_frame_both_ways_as_text_or_binary() {
    let mut node = node(TcpSettings::default());
    let (mut page, flow) = node.page().await;
    assert_eq!((flow.transport, flow.local), (Transport::Ws, node.local));
    for sent in [Message::text(REQUEST), Message::binary(REQUEST.as_bytes().to_vec())] {
        page.send(sent).await.unwrap();
        assert_eq!(node.message().await, REQUEST, "without Content-Length");
    }
    node.tcp.send(&flow, Bytes::from_static(b"one")).unwrap();
    node.tcp.send(&flow, Bytes::from_static(b"two \xff")).unwrap();
    assert_eq!(soon(page.next()).await.unwrap().unwrap(), Message::text("one"));
    assert_eq!(
        soon(page.next()).await.unwrap().unwrap(),
        Message::binary(&b"two \xff"[..])
    );
    page.close(None).await.unwrap();
    assert_eq!(node.closed().await, flow);
    assert!(node.is_empty().await);
}

#[tokio::test]
async fn who_does_not_ask_for_sip_is_refused() {
    let node = node(TcpSettings::default());
    assert_eq!(node.ask(&[]).await.err(), Some(400));
    assert_eq!(
        node.ask(&[("sec-websocket-protocol", "xmpp, msrp")]).await.err(),
        Some(400)
    );
    assert_eq!(node.ask(&[SIP, ("sec-websocket-version", "8")]).await.err(), Some(426));
    assert!(node.ask(&[("sec-websocket-protocol", "msrp, sip")]).await.is_ok());
    let mut plain = TcpStream::connect(node.local).await.unwrap();
    plain.write_all(b"GET /sip HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(plain.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(node.counters.websockets_refused.value(), 4);
}

#[tokio::test]
async fn a_page_of_another_host_is_refused_unless_it_is_listed() {
    let node = node(TcpSettings::default());
    let from = |origin| [SIP, ("origin", origin)];
    assert!(node.ask(&from("http://127.0.0.1:8080")).await.is_ok());
    for stranger in ["http://evil.example", "null", "http://127.0.0.1.evil.example"] {
        assert_eq!(node.ask(&from(stranger)).await.err(), Some(403), "{stranger}");
    }
    node.tcp.origins().put(vec!["https://phone.example".into()]);
    assert!(node.ask(&from("https://phone.example")).await.is_ok());
    assert_eq!(node.ask(&from("http://phone.example")).await.err(), Some(403));
    node.tcp.origins().put(vec!["*".into()]);
    assert!(node.ask(&from("http://evil.example")).await.is_ok());
}

#[tokio::test]
async fn pings_of_both_kinds_are_answered() {
    let mut node = node(TcpSettings::default());
    let (mut page, _) = node.page().await;
    page.send(Message::Ping(Bytes::from_static(b"are you there")))
        .await
        .unwrap();
    let pong = soon(page.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"are you there")));
    page.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(soon(page.next()).await.unwrap().unwrap(), Message::text("\r\n"));
    assert_eq!(node.counters.pings.value(), 2);
}

#[tokio::test]
async fn too_long_a_message_closes_with_1009() {
    let mut node = node(TcpSettings::default());
    let (mut page, flow) = node.page().await;
    page.send(Message::text("x".repeat(70_000))).await.unwrap();
    let Message::Close(Some(close)) = soon(page.next()).await.unwrap().unwrap() else {
        panic!("no close");
    };
    assert_eq!(u16::from(close.code), 1009);
    drop(page);
    assert_eq!(node.closed().await, flow);
    assert_eq!(node.counters.garbled.value(), 1);
    assert!(node.is_empty().await);
}

#[tokio::test]
async fn we_say_goodbye_before_we_close() {
    let mut node = node(TcpSettings::default());
    let (mut page, flow) = node.page().await;
    node.tcp.send(&flow, Bytes::from_static(b"last")).unwrap();
    node.tcp.close(&flow);
    assert_eq!(soon(page.next()).await.unwrap().unwrap(), Message::text("last"));
    let Message::Close(Some(close)) = soon(page.next()).await.unwrap().unwrap() else {
        panic!("no close");
    };
    assert_eq!(u16::from(close.code), 1001);
    drop(page);
    assert_eq!(node.closed().await, flow);
}

/// What a client sends up to its first message.
fn from_the_first_byte() -> (Vec<u8>, usize) {
    let request = "GET / HTTP/1.1\r\nHost: switch.example\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n";
    let mut bytes = request.as_bytes().to_vec();
    let head = bytes.len();
    bytes.extend_from_slice(&[0x81, 0xfe]);
    bytes.extend_from_slice(&u16::try_from(REQUEST.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(REQUEST.as_bytes());
    (bytes, head)
}

#[tokio::test]
async fn an_end_at_any_byte_leaks_nothing() {
    let settings = TcpSettings {
        handshake_within: Duration::from_millis(50),
        ..TcpSettings::default()
    };
    let mut node = node(settings);
    let (bytes, head) = from_the_first_byte();
    for cut in (0..bytes.len()).step_by(3) {
        let mut client = TcpStream::connect(node.local).await.unwrap();
        client.write_all(&bytes[..cut.min(head)]).await.unwrap();
        if cut >= head {
            let mut answer = [0; 12];
            soon(client.read_exact(&mut answer)).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 101");
            client.write_all(&bytes[head..cut]).await.unwrap();
            let flow = node.opened().await;
            drop(client);
            assert_eq!(node.closed().await, flow, "cut at {cut}");
        }
    }
    assert!(node.is_empty().await);
    assert!(node.events.try_recv().is_err(), "no message was whole");
}

#[tokio::test]
async fn who_is_slow_to_ask_loses_the_place() {
    let settings = TcpSettings {
        handshake_within: Duration::from_millis(100),
        ..TcpSettings::default()
    };
    let node = node(settings);
    let mut slow = TcpStream::connect(node.local).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(slow.read_to_end(&mut rest)).await;
    assert!(node.is_empty().await);
}

#[tokio::test]
async fn who_is_slow_to_finish_a_message_is_closed() {
    let settings = TcpSettings {
        message_within: Duration::from_millis(100),
        ..TcpSettings::default()
    };
    let mut node = node(settings);
    let mut slow = TcpStream::connect(node.local).await.unwrap();
    let (bytes, head) = from_the_first_byte();
    slow.write_all(&bytes[..head]).await.unwrap();
    let flow = node.opened().await;
    slow.write_all(&bytes[head..head + 20]).await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(slow.read_to_end(&mut rest)).await;
    drop(slow);
    assert_eq!(node.closed().await, flow);
    assert_eq!(node.counters.unfinished.value(), 1);
}

#[tokio::test]
async fn a_page_that_is_gone_without_a_word_is_noticed() {
    let settings = TcpSettings {
        ping_after: Duration::from_millis(50),
        ..TcpSettings::default()
    };
    let mut node = node(settings);
    let (mut alive, alive_flow) = node.page().await;
    // It answers nothing, because nobody polls it.
    let (silent, silent_flow) = node.page().await;
    let answers = tokio::spawn(async move {
        let mut pings = 0;
        while let Some(Ok(message)) = alive.next().await {
            pings += usize::from(matches!(message, Message::Ping(_)));
        }
        pings
    });
    assert_eq!(node.closed().await, silent_flow);
    assert_eq!(node.counters.idle.value(), 1);
    drop(silent);
    node.tcp.close(&alive_flow);
    assert_eq!(node.closed().await, alive_flow);
    assert!(soon(answers).await.unwrap() >= 1);
}

#[tokio::test]
async fn an_address_gets_its_share_of_websockets() {
    let settings = TcpSettings {
        max_per_address: 2,
        ..TcpSettings::default()
    };
    let mut node = node(settings);
    let (_one, _two) = (node.page().await, node.page().await);
    let mut third = TcpStream::connect(node.local).await.unwrap();
    let mut nothing = Vec::new();
    let _ = soon(third.read_to_end(&mut nothing)).await;
    assert_eq!((nothing.len(), node.counters.refused.value()), (0, 1));
}

#[tokio::test]
async fn under_tls_it_is_wss() {
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = ["one.pem", "one.key"].map(|name| directory.path().join(name));
    let pair = Pair { certificate, key };
    make_certificate(&pair, &["127.0.0.1".into()]).unwrap();
    let mut node = listening(TcpSettings::default(), Transport::Wss);
    let files = TlsFiles {
        certificates: vec![pair.clone()],
        clients: Clients::Off,
        trust: Some(pair.certificate),
    };
    node.tcp.tls().put(Identity::read(&files).unwrap());
    let stream = TcpStream::connect(node.local).await.unwrap();
    let stream = node.tcp.tls().connect(stream, node.local.ip(), None).await.unwrap();
    let (mut page, _) = soon(client_async(node.request(&[SIP]), stream)).await.unwrap();
    let flow = node.opened().await;
    assert_eq!((flow.transport, node.transport), (Transport::Wss, Transport::Wss));
    page.send(Message::text(REQUEST)).await.unwrap();
    assert_eq!(node.message().await, REQUEST);
}

#[path = "../../../fuzz/net_targets.rs"]
mod targets;

/// The committed corpus, and each of its files with each of its bytes damaged and with each of its ends.
#[test]
fn the_corpus_of_the_frames_and_damaged_copies_of_it_pass() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/websocket");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let inputs: Vec<Vec<u8>> = files.map(|path| std::fs::read(path).unwrap()).collect();
    assert!(inputs.len() > 5);
    for input in inputs {
        targets::websocket(&input);
        for at in 0..input.len() {
            targets::websocket(&input[..at]);
            for flip in [1, 0x0f, 0x80, 0xff] {
                let mut damaged = input.clone();
                damaged[at] ^= flip;
                targets::websocket(&damaged);
            }
        }
    }
}
