//! How members come together: real SIP calls into rooms or in pairs, or a command that knows another server's ways.

use crate::stream::Streams;
use crate::text::{Challenge, User, find, header, lines, respond, status};
use crate::{Codec, Load};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What must be ended after the run.
pub enum Held {
    Calls(Sip),
    Command(Child),
}

pub fn begin(load: &Load, streams: &mut Streams) -> Held {
    match (&load.sip, &load.setup) {
        (Some(target), _) => Held::Calls(Sip::begin(load, *target, streams)),
        (None, Some(command)) => Held::Command(by_command(load, command, streams)),
        (None, None) => panic!("--sip or --setup is needed"),
    }
}

pub fn end(held: Held) {
    match held {
        Held::Calls(mut sip) => sip.hang_up(),
        Held::Command(mut child) => {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn by_command(load: &Load, command: &str, streams: &mut Streams) -> Child {
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec {command}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for at in 0..load.members {
        // A command that need not know ends without reading.
        let _ = writeln!(input, "{at} {}", streams.local(at));
    }
    drop(input);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.take(load.members) {
        let line = line.unwrap();
        let (at, remote) = line.split_once(' ').unwrap();
        streams.connect(at.parse().unwrap(), remote.parse().unwrap());
    }
    child
}

/// One socket for all phones; calls are set up one after the other.
pub struct Sip {
    socket: UdpSocket,
    target: SocketAddr,
    domain: String,
    codec: Codec,
    users: Vec<User>,
    /// For each call: our user, the dialog's headers, the far Contact.
    dialogs: Vec<Dialog>,
    branches: u64,
}

struct Dialog {
    user: usize,
    call_id: String,
    from: String,
    to: Vec<u8>,
    contact: String,
}

impl Sip {
    fn begin(load: &Load, target: SocketAddr, streams: &mut Streams) -> Sip {
        assert!(target.ip().is_loopback(), "load goes to loopback only");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let user = |at| User::new(format!("{}", 100_000 + at), &load.domain);
        let mut sip = Sip {
            socket,
            target,
            domain: load.domain.clone(),
            codec: load.codec,
            users: (0..load.members).map(user).collect(),
            dialogs: Vec::new(),
            branches: 0,
        };
        if load.pairs {
            sip.pair_all(load, streams);
        } else {
            sip.join_all(load, streams);
        }
        sip
    }

    fn join_all(&mut self, load: &Load, streams: &mut Streams) {
        for at in 0..load.members {
            let room = load.room + (at / load.size()) as u32;
            let answer = self.call(at, &room.to_string(), streams.local(at), None);
            streams.connect(at, media_address(&answer));
        }
    }

    fn pair_all(&mut self, load: &Load, streams: &mut Streams) {
        for at in (0..load.members).step_by(2) {
            self.register(at + 1);
            let callee = self.users[at + 1].name.clone();
            let mut offered = None;
            let answer = self.call(
                at,
                &callee,
                streams.local(at),
                Some((streams.local(at + 1), &mut offered)),
            );
            streams.connect(at, media_address(&answer));
            streams.connect(at + 1, offered.expect("the callee was called"));
        }
    }

    fn register(&mut self, at: usize) {
        let uri = format!("sip:{}", self.domain);
        let contact = format!("<sip:{}@{}>", self.users[at].name, self.local());
        for _ in 0..2 {
            let to = format!("<sip:{}@{}>", self.users[at].name, self.domain);
            let head = format!("Call-ID: reg{at}\r\nContact: {contact}\r\nExpires: 3600\r\n");
            self.request(at, "REGISTER", &uri, &to, &head, "");
            let answer = self.receive();
            match status(&answer) {
                401 => self.users[at].challenge = Challenge::read(&answer).unwrap(),
                200 => return,
                other => panic!("REGISTER got {other}"),
            }
        }
    }

    /// Calls and gives the SDP of the answer; meanwhile answers the INVITE that reaches the callee, if there is one.
    fn call(
        &mut self,
        at: usize,
        number: &str,
        media: SocketAddrV4,
        mut callee: Option<(SocketAddrV4, &mut Option<SocketAddrV4>)>,
    ) -> Vec<u8> {
        let uri = format!("sip:{number}@{}", self.domain);
        let to = format!("<{uri}>");
        let call_id = format!("sound{at}x{}", self.branches);
        let head = format!(
            "Call-ID: {call_id}\r\nContact: <sip:{}@{}>\r\nContent-Type: application/sdp\r\n",
            self.users[at].name,
            self.local()
        );
        self.request(at, "INVITE", &uri, &to, &head, &sdp(media, self.codec));
        let mut tries = 0;
        loop {
            let message = self.receive();
            if status(&message) != 0 && !self.is_latest(at, &message) {
                continue;
            }
            match status(&message) {
                0 if message.starts_with(b"INVITE ") => {
                    let (media, offered) = callee.as_mut().expect("only a callee is called");
                    **offered = Some(media_address(&message));
                    self.answer(&message, &sdp(*media, self.codec));
                }
                0 | 100..200 => {}
                401 | 407 => {
                    self.ack(&message, &uri);
                    tries += 1;
                    assert!(tries < 50, "credentials refused");
                    self.users[at].challenge = Challenge::read(&message).unwrap();
                    self.request(at, "INVITE", &uri, &to, &head, &sdp(media, self.codec));
                }
                200 => {
                    let contact = String::from_utf8_lossy(header(&message, "Contact").unwrap()).into_owned();
                    let contact = contact.trim_matches(['<', '>']).to_owned();
                    self.ack(&message, &contact);
                    self.dialogs.push(Dialog {
                        user: at,
                        call_id,
                        from: String::from_utf8_lossy(header(&message, "From").unwrap()).into_owned(),
                        to: header(&message, "To").unwrap().to_vec(),
                        contact,
                    });
                    return message;
                }
                // No port is bound yet: later.
                503 if tries < 50 => {
                    tries += 1;
                    self.ack(&message, &uri);
                    std::thread::sleep(Duration::from_millis(100));
                    self.request(at, "INVITE", &uri, &to, &head, &sdp(media, self.codec));
                }
                other => panic!("INVITE to {number} got {other}"),
            }
        }
    }

    /// Not a repetition of an answer to an earlier request.
    fn is_latest(&self, at: usize, answer: &[u8]) -> bool {
        let number = header(answer, "CSeq").and_then(|cseq| cseq.split(|&b| b == b' ').next());
        number == Some(self.users[at].cseq.to_string().as_bytes())
            && header(answer, "From").is_some_and(|from| from.ends_with(format!(";tag=t{at}").as_bytes()))
    }

    fn answer(&self, invite: &[u8], sdp: &str) {
        let mut out = Vec::new();
        let extra = format!(
            "Contact: <sip:callee@{}>\r\nContent-Type: application/sdp\r\n",
            self.local()
        );
        respond(&mut out, invite, "200 OK", "callee", extra.as_bytes(), sdp.as_bytes());
        self.socket.send_to(&out, self.target).unwrap();
    }

    fn request(&mut self, at: usize, method: &str, uri: &str, to: &str, head: &str, body: &str) {
        let local = self.local();
        self.branches += 1;
        let user = &mut self.users[at];
        user.cseq += 1;
        let mut out = Vec::with_capacity(1_200);
        let _ = write!(
            out,
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{}@{}>;tag=t{at}\r\nTo: {to}\r\nCSeq: {} {method}\r\n{head}",
            self.branches, user.name, self.domain, user.cseq,
        );
        user.authorize(&mut out, &self.domain, method, uri);
        let _ = write!(out, "Content-Length: {}\r\n\r\n{body}", body.len());
        self.socket.send_to(&out, self.target).unwrap();
    }

    /// ACK: to a refusal with its own branch, to a 200 with a new one.
    fn ack(&mut self, answer: &[u8], uri: &str) {
        let cseq = header(answer, "CSeq").unwrap().split(|&b| b == b' ').next().unwrap();
        self.branches += 1;
        let via = if status(answer) == 200 {
            format!("SIP/2.0/UDP {};branch=z9hG4bK{};rport", self.local(), self.branches)
        } else {
            String::from_utf8_lossy(lines(answer, "Via").next().unwrap()).into_owned()
        };
        let mut out = Vec::new();
        let _ = write!(out, "ACK {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n");
        for name in ["From", "To", "Call-ID"] {
            let _ = write!(out, "{name}: ");
            out.extend_from_slice(header(answer, name).unwrap());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"CSeq: ");
        out.extend_from_slice(cseq);
        out.extend_from_slice(b" ACK\r\nContent-Length: 0\r\n\r\n");
        self.socket.send_to(&out, self.target).unwrap();
    }

    fn hang_up(&mut self) {
        for dialog in std::mem::take(&mut self.dialogs) {
            let to = String::from_utf8_lossy(&dialog.to).into_owned();
            let user = &mut self.users[dialog.user];
            user.cseq += 1;
            self.branches += 1;
            let bye = format!(
                "BYE {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{};rport\r\nMax-Forwards: 70\r\nFrom: {}\r\n\
                 To: {to}\r\nCall-ID: {}\r\nCSeq: {} BYE\r\nContent-Length: 0\r\n\r\n",
                dialog.contact,
                self.socket.local_addr().unwrap(),
                self.branches,
                dialog.from,
                dialog.call_id,
                user.cseq,
            );
            self.socket.send_to(bye.as_bytes(), self.target).unwrap();
            let _ = self.socket.recv(&mut [0; 4096]);
        }
    }

    /// The next message that is not a repetition's concern of ours: requests other than INVITE are answered with 200.
    fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 4_096];
        loop {
            let n = self.socket.recv(&mut buffer).expect("the server is silent");
            let message = &buffer[..n];
            let is_request = status(message) == 0;
            if is_request && !message.starts_with(b"INVITE ") && !message.starts_with(b"ACK ") {
                let mut out = Vec::new();
                respond(&mut out, message, "200 OK", "", b"", b"");
                self.socket.send_to(&out, self.target).unwrap();
            } else if !message.starts_with(b"ACK ") {
                return message.to_vec();
            }
        }
    }

    fn local(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }
}

fn sdp(media: SocketAddrV4, codec: Codec) -> String {
    let (pt, map) = match codec {
        Codec::Pcmu => (0, "PCMU/8000"),
        Codec::Opus => (107, "opus/48000/2"),
    };
    format!(
        "v=0\r\no=load 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP {pt}\r\na=rtpmap:{pt} {map}\r\n\
         a=ptime:20\r\n",
        media.port(),
        ip = media.ip()
    )
}

/// Where a description wants RTP.
fn media_address(message: &[u8]) -> SocketAddrV4 {
    let word = |line: &[u8], at: usize| -> String {
        let text = String::from_utf8_lossy(line).into_owned();
        text.split_whitespace().nth(at).unwrap_or_default().to_owned()
    };
    let body = &message[find(message, b"\r\n\r\n").expect("a message has an end of its headers")..];
    let (mut ip, mut port) = (None, None);
    for line in body.split(|&b| b == b'\n') {
        if line.starts_with(b"c=") {
            ip = word(line, 2).parse().ok();
        } else if line.starts_with(b"m=audio") {
            port = word(line, 1).parse().ok();
        }
    }
    SocketAddrV4::new(ip.expect("an address"), port.expect("a port"))
}
