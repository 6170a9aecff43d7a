//! A call between two raw phones, with sound that is counted packet by packet.

use super::raw::{Raw, Request, same_family, text};
use sip::{Message, Method, Name};
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// What a phone in a call looks like to anybody who wants to disturb it.
pub struct Side {
    pub phone: Raw,
    pub rtp: UdpSocket,
    /// The port of the switch for it.
    pub towards: SocketAddr,
    /// A request inside of the dialog, from which others are made.
    pub inside: Request,
    sent: u16,
}

/// Both sides of a call.
pub struct Talk {
    pub caller: Side,
    pub callee: Side,
}

/// An offer or answer of PCMU at this address.
pub fn sdp(at: SocketAddr) -> String {
    format!(
        "v=0\r\no=- 1 1 IN {kind} {ip}\r\ns=-\r\nc=IN {kind} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n",
        kind = if at.is_ipv4() { "IP4" } else { "IP6" },
        ip = at.ip(),
        port = at.port()
    )
}

/// Where a session description says that sound is wanted.
pub fn media_address(message: &Message) -> SocketAddr {
    let body = text(message.body_bytes());
    let after = |mark: &str| {
        body.split(mark)
            .nth(1)
            .unwrap()
            .split([' ', '\r'])
            .next()
            .unwrap()
            .to_owned()
    };
    let kind = if body.contains("c=IN IP4 ") {
        "c=IN IP4 "
    } else {
        "c=IN IP6 "
    };
    (
        after(kind).parse::<IpAddr>().unwrap(),
        after("m=audio ").parse().unwrap(),
    )
        .into()
}

/// An INVITE with an offer.
pub fn invite(phone: &mut Raw, number: &str, rtp: &UdpSocket) -> Request {
    let offer = sdp(rtp.local_addr().unwrap());
    phone.request("INVITE", number).body("application/sdp", &offer)
}

impl Talk {
    /// Two phones that are registered; the first calls the second one.
    pub fn between(mut caller: Raw, callee: Raw, number: &str) -> Talk {
        let [out, into] = [&caller, &callee].map(|phone| UdpSocket::bind(same_family(phone.at())).unwrap());
        let request = invite(&mut caller, number, &out);
        caller.send(&request);
        let rings = crate::support::wait_for("the INVITE", || {
            let refused = caller.poll().filter(|m| m.status() >= 300);
            assert!(refused.is_none(), "{refused:?}");
            callee.poll().filter(|m| m.is_request() && m.method() == Method::Invite)
        });
        let headers = format!("Contact: {}\r\nContent-Type: application/sdp\r\n", callee.contact());
        callee.answer(&rings, "200 OK", "callee", &headers, &sdp(into.local_addr().unwrap()));
        let answer = caller.expect("200", |m| m.status() == 200 && m.cseq() == request.cseq);
        let caller = Side::calling(caller, out, &request, &answer);
        caller
            .phone
            .send_bytes(&caller.phone.print(&caller.request("ACK", request.cseq), ""));
        callee.expect("the ACK", |m| m.method() == Method::Ack);
        let callee = Side::called(callee, into, &rings);
        Talk { caller, callee }
    }
}

impl Side {
    /// The side of who sent the INVITE.
    pub fn calling(phone: Raw, rtp: UdpSocket, invite: &Request, answer: &Message) -> Side {
        let inside = Request {
            uri: contact(answer),
            to: text(answer.header(Name::To).unwrap()),
            headers: String::new(),
            body: String::new(),
            ..invite.clone()
        };
        Side::new(phone, rtp, media_address(answer), inside)
    }

    fn called(mut phone: Raw, rtp: UdpSocket, invite: &Message) -> Side {
        let mut inside = phone.request("BYE", "");
        inside.uri = contact(invite);
        inside.from = format!("{};tag=callee", text(invite.header(Name::To).unwrap()));
        inside.to = text(invite.header(Name::From).unwrap());
        inside.call_id = text(invite.call_id());
        inside.headers = String::new();
        Side::new(phone, rtp, media_address(invite), inside)
    }

    fn new(phone: Raw, rtp: UdpSocket, towards: SocketAddr, inside: Request) -> Side {
        rtp.set_nonblocking(true).unwrap();
        Side {
            phone,
            rtp,
            towards,
            inside,
            sent: 0,
        }
    }

    /// A request inside of the dialog.
    pub fn request(&self, method: &str, cseq: u32) -> Request {
        Request {
            method: method.to_owned(),
            cseq,
            branch: format!("{}-{method}-{cseq}", self.inside.branch),
            ..self.inside.clone()
        }
    }

    /// Sends a request inside of the dialog and waits for its answer's status.
    pub fn ask(&self, method: &str, cseq: u32) -> u16 {
        let request = self.request(method, cseq);
        self.phone.send_bytes(&self.phone.print(&request, ""));
        self.phone.final_answer(&request).status()
    }

    /// The next packet of sound: its payload begins with `mark` and its number.
    pub fn speak(&mut self, mark: u8) {
        self.rtp
            .send_to(&packet(self.sent, 0x5eed, mark), self.towards)
            .unwrap();
        self.sent += 1;
    }

    /// Marks of the packets that have come.
    pub fn heard(&self) -> Vec<u8> {
        heard(&self.rtp)
    }
}

/// RTP of 20 ms PCMU (RFC 3550 section 5.1).
pub fn packet(number: u16, ssrc: u32, mark: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(number.to_be_bytes());
    packet.extend((u32::from(number) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([mark; 160]);
    packet
}

/// Marks of the RTP packets that have come to a socket.
pub fn heard(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let mut marks = Vec::new();
    socket.set_nonblocking(true).unwrap();
    while let Ok(length) = socket.recv(&mut buffer) {
        if length == 172 {
            marks.push(buffer[12]);
        }
    }
    marks
}

pub fn contact(message: &Message) -> String {
    let contact = text(message.header(Name::Contact).unwrap());
    contact.split('<').nth(1).unwrap().split('>').next().unwrap().to_owned()
}
