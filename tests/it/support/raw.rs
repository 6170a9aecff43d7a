//! A phone that does only what it is told: one UDP socket, each message in the hands of the test, nothing repeated by itself.
//! What is received is read with the parser of the `sip` crate, so a malformed answer shows at once.

use super::{PATIENCE, wait_for};
use sip::digest::{Algorithm, Challenge, ha1};
use sip::{Message, Name};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// One socket and one account.
pub struct Raw {
    socket: UdpSocket,
    server: SocketAddr,
    user: String,
    pub password: String,
    /// The last challenge, and how often it was answered.
    challenge: Option<(Vec<u8>, u32)>,
    serial: u32,
}

/// A request, every part of which a test may change before it is sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub uri: String,
    pub from: String,
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
    pub branch: String,
    /// Lines with their CRLF.
    pub headers: String,
    pub body: String,
}

impl Request {
    pub fn header(mut self, line: &str) -> Request {
        self.headers += line;
        self.headers += "\r\n";
        self
    }

    pub fn body(self, content_type: &str, body: &str) -> Request {
        let mut with = self.header(&format!("Content-Type: {content_type}"));
        with.body = body.to_owned();
        with
    }

    /// The same question asked anew: next CSeq, another branch.
    pub fn again(&mut self) {
        self.cseq += 1;
        self.branch = format!("{}-{}", self.branch, self.cseq);
    }
}

impl Raw {
    pub fn new(server: SocketAddr, user: &str) -> Raw {
        let socket = UdpSocket::bind(same_family(server)).unwrap();
        Raw {
            socket,
            server,
            user: user.to_owned(),
            password: format!("demo-{user}"),
            challenge: None,
            serial: 0,
        }
    }

    pub fn at(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// A request outside of dialogs to a number; REGISTER is to the switch.
    pub fn request(&mut self, method: &str, number: &str) -> Request {
        self.serial += 1;
        let (user, server, serial, port) = (&self.user, self.server, self.serial, self.at().port());
        let uri = match method {
            "REGISTER" => format!("sip:{server}"),
            _ => format!("sip:{number}@{server}"),
        };
        let to = match method {
            "REGISTER" => format!("<sip:{user}@{server}>"),
            _ => format!("<{uri}>"),
        };
        Request {
            method: method.to_owned(),
            uri,
            from: format!("<sip:{user}@{server}>;tag=f{serial}"),
            to,
            call_id: format!("{user}-{port}-{serial}"),
            cseq: 1,
            branch: format!("z9hG4bK{port}-{serial}"),
            headers: format!("Contact: {}\r\n", self.contact()),
            body: String::new(),
        }
    }

    pub fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.user, self.at())
    }

    /// The request with `credentials` as its further header lines.
    pub fn print(&self, request: &Request, credentials: &str) -> Vec<u8> {
        let Request {
            method, uri, branch, ..
        } = request;
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={branch};rport\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {} {method}\r\n{credentials}{}Content-Length: {}\r\n\r\n{}",
            self.at(),
            request.from,
            request.to,
            request.call_id,
            request.cseq,
            request.headers,
            request.body.len(),
            request.body
        )
        .into_bytes()
    }

    /// Header line that answers the last challenge, each time with the next count; empty before the first challenge.
    pub fn credentials(&mut self, request: &Request) -> String {
        let Some((_, count)) = &mut self.challenge else {
            return String::new();
        };
        *count += 1;
        let count = *count;
        self.credentials_for(request, &request.uri, count)
    }

    /// The same for another URI or count.
    pub fn credentials_for(&self, request: &Request, uri: &str, count: u32) -> String {
        let (challenge, _) = self.challenge.as_ref().expect("a challenge");
        let challenge = Challenge::parse(challenge).unwrap();
        let ha1 = ha1(
            Algorithm::Md5,
            self.user.as_bytes(),
            &challenge.realm,
            self.password.as_bytes(),
        );
        let method = request.method.as_bytes();
        let value = challenge.credentials(&self.user, &ha1, method, uri.as_bytes(), "c", count);
        format!("Authorization: {}\r\n", String::from_utf8(value).unwrap())
    }

    /// Keeps the challenge of a response for [`Raw::credentials`].
    pub fn learn(&mut self, response: &Message) {
        let challenge = response
            .header(Name::WwwAuthenticate)
            .or(response.header(Name::ProxyAuthenticate));
        self.challenge = Some((challenge.expect("a challenge").to_vec(), 0));
    }

    /// Sends a request with credentials, if there was a challenge before.
    pub fn send(&mut self, request: &Request) {
        let credentials = self.credentials(request);
        self.send_bytes(&self.print(request, &credentials));
    }

    pub fn send_bytes(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.server).unwrap();
    }

    /// The next message, if it comes in this time.
    pub fn receive_within(&self, time: Duration) -> Option<Message> {
        let mut buffer = [0; 65_536];
        self.socket
            .set_read_timeout(Some(time.max(Duration::from_micros(1))))
            .unwrap();
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(parse(&buffer[..length]))
    }

    /// What has come already, if anything.
    pub fn poll(&self) -> Option<Message> {
        self.poll_bytes().map(|bytes| parse(&bytes))
    }

    /// The same unread.
    pub fn poll_bytes(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        self.socket.set_nonblocking(true).unwrap();
        let length = self.socket.recv(&mut buffer);
        self.socket.set_nonblocking(false).unwrap();
        buffer.truncate(length.ok()?);
        Some(buffer)
    }

    /// Whether something has come that was not taken.
    pub fn has_more(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let peeked = self.socket.peek(&mut [0; 1]);
        self.socket.set_nonblocking(false).unwrap();
        peeked.is_ok()
    }

    /// Waits for the first message that `wanted` likes; others are dropped.
    pub fn expect(&self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self
                .receive_within(left)
                .unwrap_or_else(|| panic!("waited in vain for {what}"));
            if wanted(&message) {
                return message;
            }
        }
    }

    /// Waits for the final answer to a request, acknowledging one to an INVITE that failed.
    pub fn final_answer(&self, request: &Request) -> Message {
        let what = format!("the answer to {request:?}");
        let answer = self.expect(&what, |m| {
            !m.is_request()
                && m.status() >= 200
                && m.call_id() == request.call_id.as_bytes()
                && m.cseq() == request.cseq
        });
        if request.method == "INVITE" && answer.status() >= 300 {
            self.send_bytes(&self.ack(request, &answer));
        }
        answer
    }

    /// ACK of a failure: the branch of the INVITE, no credentials.
    pub fn ack(&self, invite: &Request, answer: &Message) -> Vec<u8> {
        let ack = Request {
            method: "ACK".to_owned(),
            to: text(answer.header(Name::To).unwrap()),
            headers: String::new(),
            body: String::new(),
            ..invite.clone()
        };
        self.print(&ack, "")
    }

    /// Sends it, answers a challenge, and waits: the final answer.
    pub fn ask(&mut self, request: &mut Request) -> Message {
        self.send(request);
        let answer = self.final_answer(request);
        if !matches!(answer.status(), 401 | 407) {
            return answer;
        }
        self.learn(&answer);
        request.again();
        self.send(request);
        self.final_answer(request)
    }

    /// REGISTER for so long; 0 takes it back.
    pub fn register(&mut self, seconds: u32) -> u16 {
        let mut request = self.request("REGISTER", "").header(&format!("Expires: {seconds}"));
        self.ask(&mut request).status()
    }

    /// A response to a request, `tag` being our To tag.
    pub fn answer(&self, request: &Message, status: &str, tag: &str, headers: &str, body: &str) {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            for line in request.lines(name) {
                let tag = if name == Name::To && request.to_tag().is_empty() && !tag.is_empty() {
                    format!(";tag={tag}")
                } else {
                    String::new()
                };
                text += &format!("{}: {}{tag}\r\n", name.as_str(), String::from_utf8_lossy(line));
            }
        }
        text += &format!("{headers}Content-Length: {}\r\n\r\n{body}", body.len());
        self.send_bytes(text.as_bytes());
    }

    /// Answers everything with 200 until `is_done`.
    pub fn accept_until(&self, what: &str, mut is_done: impl FnMut(&Message) -> bool) {
        wait_for(what, || {
            let message = self.poll()?;
            if message.is_request() && message.method() != sip::Method::Ack {
                self.answer(&message, "200 OK", "x", "", "");
            }
            is_done(&message).then_some(())
        });
    }

    /// Answers all requests with 200 until none has come for a second.
    pub fn accept_until_quiet(&self) {
        while let Some(message) = self.receive_within(Duration::from_secs(1)) {
            if message.is_request() && message.method() != sip::Method::Ack {
                self.answer(&message, "200 OK", "x", "", "");
            }
        }
    }
}

/// A port of our own on loopback, of the family of this address.
pub fn same_family(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
    }
}

/// Bytes as text, for messages of ours.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn parse(bytes: &[u8]) -> Message {
    Message::parse(bytes::Bytes::copy_from_slice(bytes)).unwrap_or_else(|why| panic!("{why:?} in {}", text(bytes)))
}
