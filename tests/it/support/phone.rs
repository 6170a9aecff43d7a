//! A small phone over UDP, TCP, TLS or a websocket, also under TLS, for tests that look at single messages: logs in, asks, and shows what came back.

use super::PATIENCE;
use super::raw::same_family;
use super::talk::sdp;
use md5::{Digest, Md5};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, WebSocket};

/// One socket, one account with its demo password.
pub struct Phone {
    line: Line,
    server: SocketAddr,
    user: String,
    password: String,
    dialogs: u32,
}

/// How it reaches the switch.
enum Line {
    Udp(UdpSocket),
    Tcp(RefCell<Stream<TcpStream>>),
    Tls(Box<RefCell<Stream<Secured>>>),
    Ws(Box<RefCell<WebSocket<TcpStream>>>),
    Wss(Box<RefCell<WebSocket<Secured>>>),
}

/// A stream under TLS.
pub type Secured = StreamOwned<ClientConnection, TcpStream>;

struct Stream<S> {
    bytes: S,
    /// What came and was not asked for yet.
    read: Vec<u8>,
}

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Message(pub String);

impl Message {
    /// 0 for a request.
    pub fn status(&self) -> u16 {
        let status = self.0.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3));
        status.map_or(0, |status| status.parse().unwrap())
    }

    /// The value of the first header of this name; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers(name).next().unwrap_or_default()
    }

    /// The values of all headers of this name.
    pub fn headers<'m, 'n>(&'m self, name: &'n str) -> impl Iterator<Item = &'m str> + use<'m, 'n> {
        let lines = self.0.split("\r\n").take_while(|line| !line.is_empty());
        let values = lines
            .filter_map(|line| line.split_once(':'))
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value.trim())
    }
}

/// What a request needs to be sent again with credentials, or acknowledged.
struct Ask<'a> {
    method: &'a str,
    uri: String,
    to: String,
    call_id: String,
    cseq: u32,
    headers: &'a str,
    body: &'a str,
}

impl Phone {
    pub fn new(server: SocketAddr, user: &str) -> Phone {
        let socket = UdpSocket::bind(same_family(server)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Phone::on(Line::Udp(socket), server, user)
    }

    pub fn over_tcp(server: SocketAddr, user: &str) -> Phone {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Phone::on(Line::Tcp(RefCell::new(Stream::new(stream))), server, user)
    }

    /// Over TLS, believing the certificates of this file; an error is what the handshake met.
    pub fn secured(server: SocketAddr, user: &str, trusted: &Path) -> std::io::Result<Phone> {
        let line = Line::Tls(Box::new(RefCell::new(Stream::new(secured(server, trusted)?))));
        Ok(Phone::on(line, server, user))
    }

    /// A page: over a websocket to this URL. It does not know its own address (RFC 7118 section 5).
    pub fn page(url: &str, server: SocketAddr, user: &str) -> Phone {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let socket = open(url, stream);
        Phone::on(Line::Ws(Box::new(RefCell::new(socket))), server, user)
    }

    /// The same under TLS, believing the certificates of this file.
    pub fn secured_page(url: &str, server: SocketAddr, user: &str, trusted: &Path) -> Phone {
        let socket = open(url, secured(server, trusted).unwrap());
        Phone::on(Line::Wss(Box::new(RefCell::new(socket))), server, user)
    }

    fn on(line: Line, server: SocketAddr, user: &str) -> Phone {
        let password = format!("demo-{user}");
        Phone {
            line,
            server,
            user: user.to_owned(),
            password,
            dialogs: 0,
        }
    }

    /// The same phone with another switch.
    pub fn facing(mut self, server: SocketAddr) -> Phone {
        self.server = server;
        self
    }

    /// With another password than the demo one.
    pub fn password(mut self, password: &str) -> Phone {
        self.password = password.to_owned();
        self
    }

    /// REGISTER for an hour: the final answer.
    pub fn register(&mut self) -> Message {
        let contact = format!("{}Expires: 3600\r\n", self.contact());
        let uri = format!("sip:{}", self.server);
        let to = format!("<sip:{}@{}>", self.user, self.server);
        self.ask("REGISTER", &uri, &to, &contact, "")
    }

    /// INVITE with an offer of PCMU, acknowledged: the final answer. The media port is one that nobody listens on.
    pub fn call(&mut self, number: &str) -> Message {
        let sdp = sdp((self.at().ip(), 9).into());
        let headers = format!("{}Content-Type: application/sdp\r\n", self.contact());
        let uri = format!("sip:{number}@{}", self.server);
        self.ask("INVITE", &uri, &format!("<{uri}>"), &headers, &sdp)
    }

    /// The next message from the switch.
    pub fn receive(&self) -> Message {
        let bytes = match &self.line {
            Line::Udp(socket) => {
                let mut buffer = vec![0; 65_536];
                let length = socket.recv(&mut buffer).expect("a message from the switch");
                buffer.truncate(length);
                buffer
            }
            Line::Tcp(stream) => stream.borrow_mut().receive(),
            Line::Tls(stream) => stream.borrow_mut().receive(),
            Line::Ws(socket) => next(&mut socket.borrow_mut()),
            Line::Wss(socket) => next(&mut socket.borrow_mut()),
        };
        Message(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Answers a request with 200.
    pub fn accept(&self, request: &Message) {
        self.answer(request, 200);
    }

    /// Answers a request with this status; a To without tag gets one.
    pub fn answer(&self, request: &Message, status: u16) {
        let copy = |name| {
            let lines = request.headers(name).map(|value| format!("{name}: {value}\r\n"));
            lines.collect::<String>()
        };
        let copied = ["Via", "From", "To", "Call-ID", "CSeq"].map(copy);
        let tag = if request.header("To").contains(";tag=") {
            ""
        } else {
            ";tag=answer"
        };
        let copied = copied
            .concat()
            .replacen("\r\nCall-ID:", &format!("{tag}\r\nCall-ID:"), 1);
        self.send(&format!("SIP/2.0 {status} Answer\r\n{copied}Content-Length: 0\r\n\r\n"));
    }

    /// One request outside of dialogs, again with credentials when it is challenged: the final answer.
    pub fn ask(&mut self, method: &str, uri: &str, to: &str, headers: &str, body: &str) -> Message {
        self.dialogs += 1;
        let call_id = format!("{}-{}-{}", self.user, self.at().port(), self.dialogs);
        let (uri, to) = (uri.to_owned(), to.to_owned());
        let mut ask = Ask {
            method,
            uri,
            to,
            call_id,
            cseq: 1,
            headers,
            body,
        };
        let first = self.exchange(&ask, "");
        let challenge = match first.status() {
            401 => first.header("WWW-Authenticate").to_owned(),
            407 => first.header("Proxy-Authenticate").to_owned(),
            _ => return first,
        };
        ask.cseq = 2;
        let name = if first.status() == 401 {
            "Authorization"
        } else {
            "Proxy-Authorization"
        };
        let credentials = format!("{name}: {}\r\n", self.credentials(&ask, &challenge));
        self.exchange(&ask, &credentials)
    }

    fn exchange(&self, ask: &Ask<'_>, credentials: &str) -> Message {
        self.send(&self.request(ask, ask.method, &ask.to, credentials));
        let ours = |m: &Message| {
            m.status() >= 200
                && m.header("Call-ID") == ask.call_id
                && m.header("CSeq").starts_with(&ask.cseq.to_string())
        };
        let answer = std::iter::repeat_with(|| self.receive()).find(ours).unwrap();
        if ask.method == "INVITE" {
            let ack = Ask {
                body: "",
                headers: "",
                uri: ask.uri.clone(),
                to: String::new(),
                call_id: ask.call_id.clone(),
                ..*ask
            };
            self.send(&self.request(&ack, "ACK", answer.header("To"), ""));
        }
        answer
    }

    fn request(&self, ask: &Ask<'_>, method: &str, to: &str, credentials: &str) -> String {
        let Ask {
            uri,
            call_id,
            cseq,
            headers,
            body,
            ..
        } = ask;
        let (user, server, at, transport) = (&self.user, self.server, self.host(), self.transport());
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {at};branch=z9hG4bK{call_id}-{cseq};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@{server}>;tag=t{call_id}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             {credentials}{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// RFC 7616 section 3.4 with MD5 and qop=auth.
    fn credentials(&self, ask: &Ask<'_>, challenge: &str) -> String {
        let field = |name: &str| {
            challenge
                .split(&format!("{name}=\""))
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
        };
        let (realm, nonce, uri, user) = (field("realm"), field("nonce"), &ask.uri, &self.user);
        let ha1 = md5(&format!("{user}:{realm}:{}", self.password));
        let ha2 = md5(&format!("{}:{uri}", ask.method));
        let response = md5(&format!("{ha1}:{nonce}:00000001:c:auth:{ha2}"));
        format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
             algorithm=MD5, cnonce=\"c\", qop=auth, nc=00000001"
        )
    }

    fn send(&self, message: &str) {
        match &self.line {
            Line::Udp(socket) => drop(socket.send_to(message.as_bytes(), self.server).unwrap()),
            Line::Tcp(stream) => stream.borrow_mut().bytes.write_all(message.as_bytes()).unwrap(),
            Line::Tls(stream) => stream.borrow_mut().bytes.write_all(message.as_bytes()).unwrap(),
            Line::Ws(socket) => socket.borrow_mut().send(message.into()).unwrap(),
            Line::Wss(socket) => socket.borrow_mut().send(message.into()).unwrap(),
        }
    }

    /// Its own address.
    pub fn at(&self) -> SocketAddr {
        match &self.line {
            Line::Udp(socket) => socket.local_addr().unwrap(),
            Line::Tcp(stream) => stream.borrow().bytes.local_addr().unwrap(),
            Line::Tls(stream) => stream.borrow().bytes.sock.local_addr().unwrap(),
            Line::Ws(socket) => socket.borrow().get_ref().local_addr().unwrap(),
            Line::Wss(socket) => socket.borrow().get_ref().sock.local_addr().unwrap(),
        }
    }

    /// What it says to be its host.
    fn host(&self) -> String {
        match &self.line {
            Line::Ws(_) | Line::Wss(_) => format!("{}.invalid", self.user),
            Line::Udp(_) | Line::Tcp(_) | Line::Tls(_) => self.at().to_string(),
        }
    }

    fn transport(&self) -> &'static str {
        match self.line {
            Line::Udp(_) => "UDP",
            Line::Tcp(_) => "TCP",
            Line::Tls(_) => "TLS",
            Line::Ws(_) => "WS",
            Line::Wss(_) => "WSS",
        }
    }

    fn contact(&self) -> String {
        let parameter = match self.line {
            Line::Udp(_) => "",
            Line::Tcp(_) => ";transport=tcp",
            Line::Tls(_) => ";transport=tls",
            Line::Ws(_) | Line::Wss(_) => ";transport=ws",
        };
        format!("Contact: <sip:{}@{}{parameter}>\r\n", self.user, self.host())
    }
}

/// The websocket of a page at this URL.
fn open<S: Read + Write>(url: &str, stream: S) -> WebSocket<S> {
    let mut request = url.into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", "sip".parse().unwrap());
    let opened = tungstenite::client(request, stream);
    let (socket, answer) = opened.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(answer.headers()["sec-websocket-protocol"], "sip");
    socket
}

fn next<S: Read + Write>(socket: &mut WebSocket<S>) -> Vec<u8> {
    let message = socket.read().expect("a message from the switch");
    assert!(message.is_text(), "{message:?}");
    message.into_data().to_vec()
}

/// A stream under TLS to somebody with a certificate of this file.
pub fn secured(server: SocketAddr, trusted: &Path) -> std::io::Result<Secured> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), server.ip().into()).unwrap();
    let socket = TcpStream::connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(session, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

impl<S: Read> Stream<S> {
    fn new(bytes: S) -> Stream<S> {
        let read = Vec::new();
        Stream { bytes, read }
    }

    /// One whole message: its head, and the body that Content-Length tells.
    fn receive(&mut self) -> Vec<u8> {
        loop {
            if let Some(length) = whole(&self.read) {
                return self.read.drain(..length).collect();
            }
            let mut buffer = [0; 4_096];
            let read = self.bytes.read(&mut buffer).expect("a message from the switch");
            assert!(read > 0, "the switch closed the connection");
            self.read.extend_from_slice(&buffer[..read]);
        }
    }
}

/// The length of the message at the beginning, if it is all there.
fn whole(read: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(read);
    let head = text.find("\r\n\r\n")? + 4;
    let body: usize = Message(text[..head].to_owned())
        .header("Content-Length")
        .parse()
        .unwrap();
    (read.len() >= head + body).then_some(head + body)
}

fn md5(text: &str) -> String {
    Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
