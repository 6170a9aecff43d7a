//! Real handshakes on loopback, with certificates made for each test.

use super::*;
use crate::tcp::{StreamEvent, Tcp, TcpCounters, TcpSettings};
use crate::wake::{self, Bell};
use bytes::Bytes;
use sip::{Flow, Transport};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Receiver;
use tokio_rustls::client::TlsStream;

const REQUEST: &[u8] = b"OPTIONS sip:switch.example SIP/2.0\r\nVia: SIP/2.0/TLS phone.example;branch=z9hG4bKa1\r\n\
    From: <sip:1000@switch.example>;tag=f\r\nTo: <sip:switch.example>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\
    Content-Length: 0\r\n\r\n";

struct Node {
    directory: tempfile::TempDir,
    tcp: Tcp,
    counters: Arc<TcpCounters>,
    local: SocketAddr,
    events: Receiver<StreamEvent>,
}

fn pair(directory: &Path, name: &str) -> Pair {
    Pair {
        certificate: directory.join(format!("{name}.pem")),
        key: directory.join(format!("{name}.key")),
    }
}

/// Makes a certificate for these names under the first of them.
fn made(directory: &Path, names: &[&str]) -> Pair {
    let pair = pair(directory, names[0]);
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    make_certificate(&pair, &names).unwrap();
    pair
}

fn files(certificates: Vec<Pair>) -> TlsFiles {
    TlsFiles {
        certificates,
        clients: Clients::Off,
        trust: None,
    }
}

fn node(settings: TcpSettings) -> Node {
    let directory = tempfile::tempdir().unwrap();
    let (post, events) = wake::channel(1_000, &Bell::new().unwrap());
    let counters = Arc::<TcpCounters>::default();
    let tcp = Tcp::new(Handle::current(), settings, counters.clone(), post);
    let own = made(directory.path(), &["switch.example", "127.0.0.1"]);
    tcp.tls().put(Identity::read(&files(vec![own])).unwrap());
    let local = tcp.listen(Transport::Tls, "127.0.0.1:0".parse().unwrap()).unwrap();
    Node {
        directory,
        tcp,
        counters,
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
    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
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

    /// A phone that believes `trusted` and asks for `name`.
    async fn phone(&self, trusted: &str, name: &str) -> io::Result<TlsStream<TcpStream>> {
        self.phone_with(trusted, name, None).await
    }

    async fn phone_with(&self, trusted: &str, name: &str, own: Option<Pair>) -> io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&self.file(trusted)).unwrap());
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let own = certified(&own, &provider).unwrap();
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
            }
        };
        let stream = TcpStream::connect(self.local).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }

    /// Whether a message of this phone arrives and an answer gets back to it.
    async fn talks(&mut self, phone: &mut TlsStream<TcpStream>, flow: &Flow) {
        phone.write_all(REQUEST).await.unwrap();
        let message = StreamEvent::Message {
            flow: *flow,
            bytes: Bytes::from_static(REQUEST),
        };
        assert_eq!(self.next().await, message);
        self.tcp.send(flow, Bytes::from_static(b"answer")).unwrap();
        let mut answer = [0; 6];
        soon(phone.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"answer");
    }

    async fn failed_handshakes(&self, wanted: u64) {
        soon(async {
            while self.counters.handshakes_failed.value() < wanted {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_phone_talks_under_tls_and_its_flow_says_so() {
    let mut node = node(TcpSettings::default());
    let mut phone = node.phone("switch.example.pem", "switch.example").await.unwrap();
    let flow = node.opened().await;
    assert_eq!((flow.transport, flow.local), (Transport::Tls, node.local));
    node.talks(&mut phone, &flow).await;
    node.tcp.close(&flow);
    assert_eq!(soon(phone.read(&mut [0; 9])).await.unwrap(), 0, "closed in order");
    drop(phone);
    assert_eq!(node.next().await, StreamEvent::Closed { flow });
}

#[tokio::test]
async fn what_the_kernel_does_not_take_at_once_is_sent_to_the_end() {
    let mut node = node(TcpSettings::default());
    let mut phone = node.phone("switch.example.pem", "switch.example").await.unwrap();
    let flow = node.opened().await;
    let message = Bytes::from(vec![b'x'; 60_000]);
    for _ in 0..16 {
        node.tcp.send(&flow, message.clone()).unwrap();
    }
    let mut got = vec![0; 16 * message.len()];
    soon(phone.read_exact(&mut got)).await.unwrap();
    assert!(got.iter().all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn garbage_is_no_handshake_and_nobody_hears_of_it() {
    let mut node = node(TcpSettings::default());
    let mut stranger = TcpStream::connect(node.local).await.unwrap();
    stranger.write_all(REQUEST).await.unwrap();
    node.failed_handshakes(1).await;
    let _ = soon(stranger.read_to_end(&mut Vec::new())).await;
    let _phone = node.phone("switch.example.pem", "switch.example").await.unwrap();
    assert_ne!(
        node.opened().await.peer,
        stranger.local_addr().unwrap(),
        "the first event is of the phone"
    );
    assert_eq!(node.counters.connections.value(), 1);
}

#[tokio::test]
async fn a_slow_handshake_is_cut_off_and_its_place_is_free_again() {
    let node = node(TcpSettings {
        max_per_address: 1,
        handshake_within: Duration::from_millis(50),
        ..TcpSettings::default()
    });
    let mut slow = TcpStream::connect(node.local).await.unwrap();
    // The header of a handshake record whose body never comes.
    slow.write_all(&[22, 3, 1, 0, 200]).await.unwrap();
    let mut end = Vec::new();
    assert_eq!(soon(slow.read_to_end(&mut end)).await.unwrap_or(0), 0);
    node.failed_handshakes(1).await;
    soon(async {
        while node.counters.connections.value() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.phone("switch.example.pem", "switch.example").await.unwrap();
}

#[tokio::test]
async fn handshakes_count_against_the_share_of_their_address() {
    let node = node(TcpSettings {
        max_per_address: 2,
        ..TcpSettings::default()
    });
    let silent = [
        TcpStream::connect(node.local).await.unwrap(),
        TcpStream::connect(node.local).await.unwrap(),
    ];
    assert!(node.phone("switch.example.pem", "switch.example").await.is_err());
    assert_eq!(node.counters.refused.value(), 1);
    drop(silent);
}

#[tokio::test]
async fn new_certificates_are_for_new_connections_and_old_ones_go_on() {
    let mut node = node(TcpSettings::default());
    let mut old = node.phone("switch.example.pem", "switch.example").await.unwrap();
    let old_flow = node.opened().await;
    std::fs::copy(node.file("switch.example.pem"), node.file("before.pem")).unwrap();
    let own = made(node.directory.path(), &["switch.example"]);
    let renewed = Identity::read(&files(vec![own])).unwrap();
    assert!(!renewed.shows_the_same(&node.tcp.tls().identity().unwrap()));
    node.tcp.tls().put(renewed);
    assert!(
        node.phone("before.pem", "switch.example").await.is_err(),
        "the old certificate is shown no more"
    );
    let mut new = node.phone("switch.example.pem", "switch.example").await.unwrap();
    let new_flow = node.opened().await;
    node.talks(&mut new, &new_flow).await;
    node.talks(&mut old, &old_flow).await;
}

#[tokio::test]
async fn the_certificate_with_the_asked_name_is_shown() {
    let node = node(TcpSettings::default());
    let (one, other) = (
        pair(node.directory.path(), "switch.example"),
        made(node.directory.path(), &["other.example", "*.wild.example"]),
    );
    node.tcp.tls().put(Identity::read(&files(vec![one, other])).unwrap());
    node.phone("other.example.pem", "other.example").await.unwrap();
    node.phone("other.example.pem", "a.wild.example").await.unwrap();
    node.phone("switch.example.pem", "switch.example").await.unwrap();
    let stranger = node.phone("other.example.pem", "stranger.example").await;
    assert!(stranger.is_err(), "the first certificate is for all others");
    // An address is asked for without a name.
    node.phone("switch.example.pem", "127.0.0.1").await.unwrap();
}

#[tokio::test]
async fn clients_without_a_certificate_come_in_only_where_they_may() {
    let mut node = node(TcpSettings::default());
    let known = made(node.directory.path(), &["phone.example"]);
    let strange = made(node.directory.path(), &["strange.example"]);
    let mut files = files(vec![pair(node.directory.path(), "switch.example")]);
    let ca = node.file("phone.example.pem");
    for (clients, expected) in [
        (Clients::Optional(ca.clone()), [true, true, false]),
        (Clients::Required(ca), [true, false, false]),
    ] {
        files.clients = clients;
        node.tcp.tls().put(Identity::read(&files).unwrap());
        for (own, comes_in) in [Some(known.clone()), None, Some(strange.clone())]
            .into_iter()
            .zip(expected)
        {
            let failed = node.counters.handshakes_failed.value();
            // With TLS 1.3 the client is done before the server has judged its certificate.
            let phone = node.phone_with("switch.example.pem", "switch.example", own).await;
            if comes_in {
                let flow = node.opened().await;
                drop(phone);
                assert_eq!(node.next().await, StreamEvent::Closed { flow });
            } else {
                node.failed_handshakes(failed + 1).await;
            }
        }
    }
}

#[tokio::test]
async fn we_connect_to_whom_we_believe_and_to_nobody_else() {
    let mut node = node(TcpSettings::default());
    let own = pair(node.directory.path(), "switch.example");
    let mut files = files(vec![own.clone()]);
    node.tcp.connect(1, Transport::Tls, node.local, node.local, None);
    assert_eq!(node.next().await, StreamEvent::ConnectFailed { token: 1 });

    made(node.directory.path(), &["strange.example", "127.0.0.1"]);
    files.trust = Some(node.file("strange.example.pem"));
    node.tcp.tls().put(Identity::read(&files).unwrap());
    node.tcp.connect(2, Transport::Tls, node.local, node.local, None);
    assert_eq!(node.next().await, StreamEvent::ConnectFailed { token: 2 });

    files.trust = Some(own.certificate);
    node.tcp.tls().put(Identity::read(&files).unwrap());
    node.tcp.connect(3, Transport::Tls, node.local, node.local, None);
    let both = [node.next().await, node.next().await];
    let is_ours = |event: &&StreamEvent| matches!(event, StreamEvent::Opened { token: Some(3), .. });
    assert_eq!(both.iter().filter(is_ours).count(), 1, "{both:?}");
}

#[tokio::test]
async fn a_pinned_certificate_must_name_the_address() {
    let mut node = node(TcpSettings::default());
    let own = made(node.directory.path(), &["elsewhere.example"]);
    let trust = Some(own.certificate.clone());
    let files = TlsFiles {
        trust,
        ..files(vec![own])
    };
    node.tcp.tls().put(Identity::read(&files).unwrap());
    node.tcp.connect(1, Transport::Tls, node.local, node.local, None);
    assert_eq!(node.next().await, StreamEvent::ConnectFailed { token: 1 });
}

#[test]
fn a_made_key_is_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair {
        certificate: directory.path().join("tls/tandem.pem"),
        key: directory.path().join("tls/tandem.key"),
    };
    make_certificate(&pair, &["switch.example".into(), "::1".into()]).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&pair.key), 0o600);
    Identity::read(&files(vec![pair])).unwrap();
}

#[test]
fn what_is_wrong_is_said_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (
        made(directory.path(), &["one.example"]),
        made(directory.path(), &["other.example"]),
    );
    let read = |certificate: &Path, key: &Path| {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        match Identity::read(&files(vec![Pair { certificate, key }])) {
            Ok(_) => "nothing".to_owned(),
            Err(e) => e.to_string(),
        }
    };
    assert!(read(&one.certificate, &other.key).contains("other.example.key: keys may not be consistent"));
    assert!(read(&one.key, &one.key).contains("one.example.key: no certificate in it"));
    assert!(read(&directory.path().join("none.pem"), &one.key).contains("none.pem: "));
    assert!(read(&one.certificate, &one.certificate).contains("one.example.pem: "));
}
