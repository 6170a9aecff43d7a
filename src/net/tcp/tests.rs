//! Real connections on loopback. Every wait is for an event, and gives up after five seconds.

use super::*;
use crate::wake::{self, Bell};
use std::future::Future;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::Receiver;

struct Node {
    tcp: Tcp,
    local: SocketAddr,
    events: Receiver<StreamEvent>,
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn node(settings: TcpSettings) -> Node {
    let (post, events) = wake::channel(1_000, &Bell::new().unwrap());
    let tcp = Tcp::new(Handle::current(), settings, Arc::default(), post);
    let local = tcp.listen(Transport::Tcp, "127.0.0.1:0".parse().unwrap()).unwrap();
    Node { tcp, local, events }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), what)
        .await
        .expect("it should have happened within five seconds")
}

impl Node {
    async fn next(&mut self) -> StreamEvent {
        soon(self.events.recv()).await.unwrap()
    }

    async fn opened(&mut self) -> Flow {
        match self.next().await {
            StreamEvent::Opened { flow, .. } => flow,
            other => panic!("{other:?}"),
        }
    }

    async fn message(&mut self) -> (Flow, Bytes) {
        match self.next().await {
            StreamEvent::Message { flow, bytes } => (flow, bytes),
            other => panic!("{other:?}"),
        }
    }

    async fn closed(&mut self) -> Flow {
        match self.next().await {
            StreamEvent::Closed { flow } => flow,
            other => panic!("{other:?}"),
        }
    }

    async fn phone(&mut self) -> (TcpStream, Flow) {
        (soon(TcpStream::connect(self.local)).await.unwrap(), self.opened().await)
    }

    fn counters(&self) -> &TcpCounters {
        &self.tcp.table.counters
    }
}

fn request(body: &str) -> Bytes {
    let length = body.len();
    Bytes::from(format!(
        "OPTIONS sip:switch.example SIP/2.0\r\nVia: SIP/2.0/TCP phone.example;branch=z9hG4bKa1\r\n\
         From: <sip:1000@switch.example>;tag=f\r\nTo: <sip:switch.example>\r\nCall-ID: c1\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    ))
}

#[tokio::test]
async fn a_message_cut_at_any_byte_arrives_whole() {
    let mut node = node(TcpSettings::default());
    let (mut phone, flow) = node.phone().await;
    phone.set_nodelay(true).unwrap();
    let message = request("hello\r\n\r\n");
    for cut in 1..message.len() {
        phone.write_all(&message[..cut]).await.unwrap();
        // Wait until the first part has been read, so that the cut is really one.
        let so_far = (message.len() * (cut - 1) + cut) as u64;
        soon(async {
            while node.counters().bytes_in.value() < so_far {
                tokio::task::yield_now().await;
            }
        })
        .await;
        phone.write_all(&message[cut..]).await.unwrap();
        assert_eq!(node.message().await, (flow, message.clone()), "cut at {cut}");
    }
    assert_eq!((flow.local, flow.peer), (node.local, phone.local_addr().unwrap()));
}

#[tokio::test]
async fn many_messages_in_one_read_come_in_order() {
    let mut node = node(TcpSettings::default());
    let (mut phone, _) = node.phone().await;
    let all: Vec<Bytes> = (0..50).map(|n| request(&format!("message {n}"))).collect();
    phone.write_all(&all.concat()).await.unwrap();
    for message in all {
        assert_eq!(node.message().await.1, message);
    }
}

#[tokio::test]
async fn answers_leave_in_order_and_before_the_close() {
    let mut node = node(TcpSettings::default());
    let (mut phone, flow) = node.phone().await;
    let all: Vec<Bytes> = (0..200).map(|n| request(&format!("answer {n}"))).collect();
    for message in &all {
        node.tcp.send(&flow, message.clone()).unwrap();
    }
    node.tcp.close(&flow);
    assert_eq!(node.tcp.send(&flow, request("late")), Err(Refused::Gone));
    let mut got = Vec::new();
    soon(phone.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, all.concat());
    drop(phone);
    assert_eq!(node.closed().await, flow);
    assert!(node.tcp.table.is_empty());
}

#[tokio::test]
async fn a_ping_gets_a_pong() {
    let mut node = node(TcpSettings::default());
    let (mut phone, _) = node.phone().await;
    phone.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    soon(phone.read_exact(&mut pong)).await.unwrap();
    assert_eq!((&pong, node.counters().pings.value()), (b"\r\n", 1));
}

#[tokio::test]
async fn a_stream_that_cannot_be_cut_is_answered_400_and_closed() {
    let mut node = node(TcpSettings::default());
    let (mut phone, flow) = node.phone().await;
    let garbled = String::from_utf8(request("x").to_vec())
        .unwrap()
        .replace("Length: 1", "Length: 1\r\nl: 2");
    phone.write_all(garbled.as_bytes()).await.unwrap();
    phone.write_all(&[b'x'; 10_000]).await.unwrap();
    let mut answer = Vec::new();
    soon(phone.read_to_end(&mut answer)).await.unwrap();
    assert!(
        answer.starts_with(b"SIP/2.0 400 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    drop(phone);
    assert_eq!(node.closed().await, flow);
    assert_eq!(node.counters().garbled.value(), 1);
    assert!(node.tcp.table.is_empty());
}

#[tokio::test]
async fn of_what_has_no_end_less_than_128_kb_are_taken() {
    let mut node = node(TcpSettings::default());
    let line = format!("X: {}\r\n", "y".repeat(4_000));
    let length = format!(
        "OPTIONS sip:switch.example SIP/2.0\r\nContent-Length: {}\r\n\r\n",
        1 << 30
    );
    for (begin, more) in [
        ("OPTIONS sip:switch.example SIP/2.0\r\n", &*line),
        (&*length, "body"),
        ("", &*line),
    ] {
        let (phone, _) = node.phone().await;
        let before = node.counters().bytes_in.value();
        let (mut answer, mut request) = phone.into_split();
        let flood = async {
            let begun = request.write_all(begin.as_bytes()).await;
            while begun.is_ok() && request.write_all(more.as_bytes()).await.is_ok() {}
        };
        let hear = async {
            let mut said = Vec::new();
            let _ = answer.read_to_end(&mut said).await;
        };
        soon(async { tokio::join!(flood, hear) }).await;
        node.closed().await;
        let taken = node.counters().bytes_in.value() - before;
        assert!((30_000..128_000).contains(&taken), "{taken}");
    }
}

#[tokio::test]
async fn what_is_no_sip_at_all_is_closed_without_a_word() {
    let mut node = node(TcpSettings::default());
    let (mut phone, flow) = node.phone().await;
    phone.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let mut answer = Vec::new();
    soon(phone.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"");
    drop(phone);
    assert_eq!(node.closed().await, flow);
}

/// A stream in memory with the node at its other end, for tests in virtual time.
fn wire(node: &Node) -> tokio::io::DuplexStream {
    let (phone, ours) = tokio::io::duplex(1_000);
    let peer = "192.0.2.1:5060".parse().unwrap();
    let seat = node.tcp.table.admit(None).unwrap();
    let flow = Flow {
        transport: Transport::Tcp,
        local: node.local,
        peer,
        connection: seat.connection,
    };
    let events = node.tcp.events.clone();
    tokio::spawn(async move { stream::run(ours, flow, seat, None, &events).await });
    phone
}

#[tokio::test(start_paused = true)]
async fn a_slow_sender_is_closed_although_bytes_keep_coming() {
    let mut node = node(TcpSettings::default());
    let (mut phone, start) = (wire(&node), tokio::time::Instant::now());
    let flow = node.opened().await;
    for byte in request("").iter().cycle() {
        if phone.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(ms(500)).await;
    }
    assert_eq!(node.closed().await, flow);
    assert_eq!(node.counters().unfinished.value(), 1);
    let within = TcpSettings::default().message_within + TcpSettings::default().linger;
    assert!(start.elapsed() <= within + ms(500), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_complete_message_restarts_the_deadline() {
    let mut node = node(TcpSettings::default());
    let mut phone = wire(&node);
    node.opened().await;
    for _ in 0..5 {
        let message = request("slow but sound");
        let (one, two) = message.split_at(30);
        phone.write_all(one).await.unwrap();
        tokio::time::sleep(ms(9_000)).await;
        phone.write_all(two).await.unwrap();
        assert_eq!(node.message().await.1, message);
    }
}

#[tokio::test]
async fn unfinished_messages_share_one_bound() {
    let mut node = node(TcpSettings {
        max_unfinished_total: 1_000,
        ..TcpSettings::default()
    });
    let (mut one, first) = node.phone().await;
    let (mut two, second) = node.phone().await;
    let begin = |n: usize| [&b"OPTIONS sip:h SIP/2.0\r\nX: "[..], &vec![b'x'; n]].concat();
    one.write_all(&begin(600)).await.unwrap();
    soon(async {
        while node.counters().bytes_in.value() < 600 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    two.write_all(&begin(600)).await.unwrap();
    assert_eq!(soon(two.read(&mut [0; 10])).await.unwrap_or(0), 0);
    drop(two);
    assert_eq!(node.closed().await, second);
    assert_eq!(node.counters().crowded.value(), 1);
    drop(one);
    assert_eq!(node.closed().await, first);
    assert!(node.tcp.table.is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_is_borne_for_long_and_keepalives_break_it() {
    let mut node = node(TcpSettings::default());
    let mut phone = wire(&node);
    node.opened().await;
    let idle = TcpSettings::default().idle_after;
    for _ in 0..2 {
        tokio::time::sleep(idle - ms(1)).await;
        phone.write_all(b"\r\n\r\n").await.unwrap();
        phone.read_exact(&mut [0; 2]).await.unwrap();
    }
    tokio::time::sleep(idle - ms(1)).await;
    assert_eq!(node.counters().idle.value(), 0);
    tokio::time::sleep(ms(2)).await;
    drop(phone);
    node.closed().await;
    assert_eq!(node.counters().idle.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_which_more_is_expected_is_closed_sooner_and_keepalives_are_enough() {
    let mut node = node(TcpSettings::default());
    let mut phone = wire(&node);
    let flow = node.opened().await;
    // It has been silent for a while already.
    tokio::time::sleep(ms(100_000)).await;
    node.tcp.expect(&flow, ms(180_000));
    for _ in 0..5 {
        tokio::time::sleep(ms(179_000)).await;
        phone.write_all(b"\r\n\r\n").await.unwrap();
    }
    let begun = tokio::time::Instant::now();
    assert!(matches!(node.events.recv().await, Some(StreamEvent::Closed { flow: closed }) if closed == flow));
    assert!(
        (179_900..182_000).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(node.counters().idle.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_does_not_end_ends_the_stream() {
    let mut node = node(TcpSettings::default());
    let (_deaf, start) = (wire(&node), tokio::time::Instant::now());
    let flow = node.opened().await;
    node.tcp.send(&flow, Bytes::from(vec![b'x'; 5_000])).unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(40), node.events.recv())
        .await
        .unwrap();
    assert_eq!(closed, Some(StreamEvent::Closed { flow }));
    assert_eq!(start.elapsed(), TcpSettings::default().write_within);
    assert!(node.tcp.table.is_empty());
}

#[tokio::test]
async fn an_address_gets_its_share_of_connections() {
    let mut node = node(TcpSettings {
        max_per_address: 3,
        ..TcpSettings::default()
    });
    let mut phones = Vec::new();
    for _ in 0..3 {
        phones.push(node.phone().await);
    }
    let mut refused = soon(TcpStream::connect(node.local)).await.unwrap();
    assert_eq!(soon(refused.read(&mut [0; 10])).await.unwrap_or(0), 0);
    assert_eq!(node.counters().refused.value(), 1);
    let (gone, flow) = phones.pop().unwrap();
    drop(gone);
    assert_eq!(node.closed().await, flow);
    let (_again, newer) = node.phone().await;
    assert!(newer.connection > flow.connection, "numbers are not used again");
}

#[tokio::test]
async fn a_reset_at_any_byte_leaks_nothing() {
    let mut node = node(TcpSettings::default());
    let message = request("body");
    let rounds = message.len();
    for cut in 0..rounds {
        let (mut phone, flow) = node.phone().await;
        phone.write_all(&message[..cut]).await.unwrap();
        node.tcp.send(&flow, request("on its way")).unwrap();
        SockRef::from(&phone).set_linger(Some(Duration::ZERO)).unwrap();
        drop(phone);
        assert_eq!(node.closed().await, flow);
    }
    assert!(node.tcp.table.is_empty());
    assert_eq!(node.counters().accepted.value(), rounds as u64);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_and_others_go_on() {
    let settings = TcpSettings {
        max_waiting_bytes: 100_000,
        ..TcpSettings::default()
    };
    let mut node = node(settings);
    let (_deaf, flow) = node.phone().await;
    let (mut phone, other) = node.phone().await;
    let large = Bytes::from(vec![b'x'; 50_000]);
    // The kernel's buffers take a few megabytes first.
    let cut = soon(async {
        loop {
            match node.tcp.send(&flow, large.clone()) {
                Ok(()) => tokio::task::yield_now().await,
                Err(refused) => return refused,
            }
        }
    });
    assert_eq!(cut.await, Refused::TooSlow);
    assert_eq!(node.closed().await, flow);
    node.tcp.send(&other, request("still here")).unwrap();
    assert!(soon(phone.read(&mut [0; 1_000])).await.unwrap() > 0);
    assert_eq!(node.counters().too_slow.value(), 1);
}

#[tokio::test]
async fn connects_from_the_listeners_address_and_names_it() {
    let mut node = node(TcpSettings::default());
    let trunk = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = trunk.local_addr().unwrap();
    node.tcp.connect(7, Transport::Tcp, node.local, peer, None);
    let (mut trunk, _) = soon(trunk.accept()).await.unwrap();
    let StreamEvent::Opened { flow, token: Some(7) } = node.next().await else {
        panic!("not opened")
    };
    assert_eq!((flow.local, flow.peer), (node.local, peer));
    node.tcp.send(&flow, request("")).unwrap();
    assert!(soon(trunk.read(&mut [0; 1_000])).await.unwrap() > 0);
    trunk.write_all(&request("back")).await.unwrap();
    assert_eq!(node.message().await.0, flow);
}

#[tokio::test]
async fn what_goes_there_next_takes_the_same_connection() {
    let mut node = node(TcpSettings::default());
    let trunk = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = trunk.local_addr().unwrap();
    let opened = async |node: &mut Node, token| {
        node.tcp.connect(token, Transport::Tcp, node.local, peer, None);
        match node.next().await {
            StreamEvent::Opened { flow, token: told } if told == Some(token) => flow,
            other => panic!("{other:?}"),
        }
    };
    let first = opened(&mut node, 1).await;
    let (far_end, _) = soon(trunk.accept()).await.unwrap();
    assert_eq!(opened(&mut node, 2).await, first);
    assert_eq!(node.counters().opened.value(), 1);
    // Under another name it would have to show another certificate.
    node.tcp
        .connect(3, Transport::Tcp, node.local, peer, Some("other.example".into()));
    assert_ne!(node.opened().await, first);
    drop(far_end);
    assert_eq!(node.closed().await, first);
    assert_ne!(opened(&mut node, 4).await, first, "it is gone");
}

#[tokio::test]
async fn a_connect_that_is_refused_says_so() {
    let mut node = node(TcpSettings::default());
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    node.tcp.connect(9, Transport::Tcp, node.local, closed, None);
    assert_eq!(node.next().await, StreamEvent::ConnectFailed { token: 9 });
    assert!(node.tcp.table.is_empty());
}

#[tokio::test]
async fn stopping_ends_all_and_admits_nobody() {
    let mut node = node(TcpSettings::default());
    let (mut phone, flow) = node.phone().await;
    node.tcp.send(&flow, request("last words")).unwrap();
    node.tcp.stop();
    let mut got = Vec::new();
    soon(phone.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, request("last words"));
    drop(phone);
    assert_eq!(node.closed().await, flow);
    node.tcp.connect(1, Transport::Tcp, node.local, node.local, None);
    assert_eq!(node.next().await, StreamEvent::ConnectFailed { token: 1 });
}
