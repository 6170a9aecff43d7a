//! One address that begins much and finishes nothing, and everybody else.

use super::login::token;
use super::*;
use tokio::net::TcpSocket;

const LIMIT: Duration = Duration::from_secs(10);

/// A connection from this address of the loopback network.
async fn from(s: &Subject, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    socket.connect(s.tcp).await.unwrap()
}

/// So many connections from one address, each with a request that has only begun.
async fn begin(s: &Subject, address: &str, count: usize) -> Vec<TcpStream> {
    let mut begun = Vec::new();
    for _ in 0..count {
        let mut stream = from(s, address).await;
        // One that is turned away may be gone by now.
        let _ = stream.write_all(b"GET /hea").await;
        begun.push(stream);
    }
    begun
}

async fn is_ended(stream: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(LIMIT, stream.read(&mut [0])).await;
    !matches!(read.expect("an end in time"), Ok(1..))
}

/// Nothing has come on it, not even its end.
fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
}

fn limits(connections: usize, strangers_per_address: usize) -> Limits {
    Limits {
        connections,
        strangers_per_address,
        ..Limits::default()
    }
}

#[tokio::test]
async fn one_address_that_drips_cannot_take_all_places() {
    let s = Subject::start(Fake::default(), limits(8, 3)).await;
    let mut dripping = begin(&s, "127.0.0.3", 12).await;
    for stream in &mut dripping[3..] {
        assert!(is_ended(stream).await, "more than its share is turned away");
    }
    let (status, answer) = exchange(from(&s, "127.0.0.4").await, "GET", "/metrics", "", "").await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("\ntandem_http_refused_total 9\n"), "{answer}");
    assert!(
        dripping[..3].iter().all(is_open),
        "the others were served while it held on to its share"
    );
}

#[tokio::test]
async fn who_has_logged_in_takes_nothing_from_the_strangers_at_its_address() {
    let s = Subject::start(Fake::default(), limits(8, 2)).await;
    let token = token(&s, "1001").await;
    let mut known = Vec::new();
    for _ in 0..4 {
        let mut stream = from(&s, "127.0.0.3").await;
        let ask = format!("GET /api/v1/me HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        known.push(stream);
    }
    let strangers = begin(&s, "127.0.0.3", 2).await;
    assert_eq!(s.public("GET", "/healthz", "").await.0, 200, "from another address");
    assert!(strangers.iter().all(is_open));
    assert!(is_ended(&mut from(&s, "127.0.0.3").await).await);
}
