//! A phone as a test's own hands: it sends what it is told to, and shows what came. It shares the grammar with the switch,
//! and none of its transactions and dialogs.

use super::lab::{Lab, SWITCH};
use crate::testing::password;
use bytes::Bytes;
use sip::digest::{Algorithm, Challenge, ha1};
use sip::{Flow, Message, Method, Name, Transport};
use std::net::SocketAddr;

/// One device of one user.
#[derive(Debug)]
pub struct Handset {
    /// Extension.
    pub user: String,
    /// Its password; right unless a test changes it.
    pub password: String,
    /// The way between it and the switch.
    pub flow: Flow,
    /// What its Contact has as host and port, where that is not its address.
    pub host: Option<&'static str>,
    /// Of its Contact and of whom it calls: `sip`, or `sips`.
    pub scheme: &'static str,
    /// Allow in its requests and 2xx.
    pub allow: &'static str,
    /// What its Call-IDs have before the `@`.
    pub mark: &'static str,
    count: u32,
    /// The last challenge's header value, how often its nonce was used, and whether a proxy asked.
    challenge: Option<(String, u32, bool)>,
}

/// A dialog as one phone sees it.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// From of the phone's requests, with its tag.
    pub local: String,
    /// To of the phone's requests, with the switch's tag once there is one.
    pub remote: String,
    /// Request-URI of the phone's requests: the switch's Contact.
    pub target: String,
    /// CSeq of the phone's last request.
    pub cseq: u32,
    /// CSeq of the phone's INVITE that an ACK or CANCEL is for.
    pub invite_cseq: u32,
    /// Branch of the phone's last INVITE.
    pub branch: String,
    /// Route of the phone's requests.
    pub routes: Vec<String>,
}

/// A description of one audio stream at 198.51.100.1 with these payload types of PCMU (0), PCMA (8), G.722 (9) and
/// telephone-event (101).
#[must_use]
pub fn sdp(port: u16, payload_types: &[u8]) -> String {
    directed(port, payload_types, "sendrecv")
}

/// The same, on hold: `sendonly`.
#[must_use]
pub fn hold(port: u16, payload_types: &[u8]) -> String {
    directed(port, payload_types, "sendonly")
}

fn directed(port: u16, payload_types: &[u8], direction: &str) -> String {
    let numbers: String = payload_types.iter().map(|pt| format!(" {pt}")).collect();
    let dynamic = match payload_types.contains(&101) {
        true => "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n",
        false => "",
    };
    format!(
        "v=0\r\no=- {port} 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP{numbers}\r\n{dynamic}a={direction}\r\n"
    )
}

impl Handset {
    /// A phone of `user` at 198.51.100.1 with this UDP port.
    #[must_use]
    pub fn new(user: &str, port: u16) -> Handset {
        Handset {
            user: user.to_owned(),
            password: password(user),
            flow: Flow {
                transport: Transport::Udp,
                local: SWITCH.parse().expect("an address"),
                peer: SocketAddr::from(([198, 51, 100, 1], port)),
                connection: 0,
            },
            host: None,
            scheme: "sip",
            allow: "INVITE, ACK, CANCEL, BYE, INFO, MESSAGE, UPDATE, OPTIONS",
            mark: "",
            count: 0,
            challenge: None,
        }
    }

    /// The same over TLS, with what it says to be its scheme.
    #[must_use]
    pub fn secured(user: &str, port: u16, scheme: &'static str) -> Handset {
        let mut phone = Handset::new(user, port);
        (phone.flow.transport, phone.flow.connection) = (Transport::Tls, port.into());
        phone.scheme = scheme;
        phone
    }

    /// A phone that has registered.
    #[must_use]
    pub fn registered(lab: &mut Lab, user: &str, port: u16) -> Handset {
        let mut phone = Handset::new(user, port);
        phone.register(lab);
        phone
    }

    /// Its own address of record.
    #[must_use]
    pub fn aor(&self) -> String {
        format!("sip:{}@example.com", self.user)
    }

    /// Its Contact, without `<>`.
    #[must_use]
    pub fn contact(&self) -> String {
        let (scheme, user) = (self.scheme, &self.user);
        match self.host {
            Some(host) => format!("{scheme}:{user}@{host}"),
            None => format!("{scheme}:{user}@{}", self.flow.peer),
        }
    }

    // Requests outside of dialogs.

    /// Registers for an hour.
    pub fn register(&mut self, lab: &mut Lab) {
        let extra = format!("Contact: <{}>\r\nExpires: 3600\r\n", self.contact());
        let reply = self.ask(lab, Method::Register, "sip:example.com", &self.aor(), &extra);
        assert_eq!(reply.status(), 200, "{}: REGISTER", self.user);
    }

    /// Sends a request other than INVITE, with credentials if asked for them; the final response.
    pub fn ask(&mut self, lab: &mut Lab, method: Method, uri: &str, to: &str, extra: &str) -> Message {
        let mut dialog = self.new_dialog(uri, to);
        for _ in 0..2 {
            let credentials = self.credentials(method, uri);
            let request = self.request(&mut dialog, method, &format!("{credentials}{extra}"), None);
            self.send(lab, request);
            let reply = self.next(lab);
            if !matches!(reply.status(), 401 | 407) {
                return reply;
            }
            self.learn_challenge(&reply);
        }
        panic!("{}: the switch does not take these credentials", self.user);
    }

    /// Sends an INVITE for an extension, with credentials once the switch asks for them. The dialog has no remote tag yet.
    pub fn invite(&mut self, lab: &mut Lab, to: &str, offer: Option<&str>) -> Dialog {
        self.invite_with(lab, to, "", offer)
    }

    /// The same with further header lines.
    pub fn invite_with(&mut self, lab: &mut Lab, to: &str, extra: &str, offer: Option<&str>) -> Dialog {
        let uri = format!("{}:{to}@example.com", self.scheme);
        let mut dialog = self.new_dialog(&uri, &uri);
        let contact = format!("Contact: <{}>\r\n", self.contact());
        let body = offer.map(|offer| ("application/sdp", offer));
        for _ in 0..2 {
            let credentials = self.credentials(Method::Invite, &uri);
            let extra = format!("{contact}{credentials}{extra}");
            let request = self.request(&mut dialog, Method::Invite, &extra, body);
            self.send(lab, request);
            let challenged = lab
                .peek(self.flow.peer)
                .is_some_and(|reply| matches!(reply.status(), 401 | 407));
            if !challenged {
                return dialog;
            }
            let reply = self.next(lab);
            self.ack_failure(lab, &dialog, &reply);
            self.learn_challenge(&reply);
        }
        panic!("{}: the switch does not take these credentials", self.user);
    }

    /// A dialog of this phone that has not begun.
    pub fn new_dialog(&mut self, uri: &str, to: &str) -> Dialog {
        self.count += 1;
        let (user, count, mark) = (&self.user, self.count, self.mark);
        Dialog {
            call_id: format!("{user}-{}-{count}{mark}@phone", self.flow.peer.port()),
            local: format!("\"Fancy {user}\" <sip:{user}@example.com>;tag={user}-{count}"),
            remote: format!("<{to}>"),
            target: uri.to_owned(),
            cseq: 0,
            invite_cseq: 0,
            branch: String::new(),
            routes: vec![],
        }
    }

    fn learn_challenge(&mut self, reply: &Message) {
        let by_proxy = reply.status() == 407;
        let name = if by_proxy {
            Name::ProxyAuthenticate
        } else {
            Name::WwwAuthenticate
        };
        let value = reply.header(name).expect("a challenge");
        self.challenge = Some((String::from_utf8_lossy(value).into_owned(), 0, by_proxy));
    }

    /// An Authorization line for the last challenge, or nothing.
    pub fn credentials(&mut self, method: Method, uri: &str) -> String {
        self.credentials_for(method.as_str(), uri)
    }

    /// The same for a method that nobody knows.
    pub fn credentials_for(&mut self, method: &str, uri: &str) -> String {
        let Some((challenge, count, by_proxy)) = &mut self.challenge else {
            return String::new();
        };
        *count += 1;
        let challenge = Challenge::parse(challenge.as_bytes()).expect("a challenge that can be read");
        let secret = ha1(
            Algorithm::Md5,
            self.user.as_bytes(),
            b"example.com",
            self.password.as_bytes(),
        );
        let value = challenge.credentials(&self.user, &secret, method.as_bytes(), uri.as_bytes(), "c0ffee", *count);
        let name = if *by_proxy {
            "Proxy-Authorization"
        } else {
            "Authorization"
        };
        format!("{name}: {}\r\n", String::from_utf8_lossy(&value))
    }

    // What a dialog is made of.

    /// A request in a dialog, begun or not; `extra` are whole header lines, `body` is type and text.
    pub fn request(&mut self, dialog: &mut Dialog, method: Method, extra: &str, body: Option<(&str, &str)>) -> Bytes {
        dialog.cseq += 1;
        let cseq = dialog.cseq;
        let branch = self.branch();
        if method == Method::Invite {
            (dialog.invite_cseq, dialog.branch) = (cseq, branch.clone());
        }
        self.write(dialog, method, cseq, &branch, extra, body)
    }

    /// Sends a request in a dialog.
    pub fn send_in(
        &mut self,
        lab: &mut Lab,
        dialog: &mut Dialog,
        method: Method,
        extra: &str,
        body: Option<(&str, &str)>,
    ) {
        let contact = match method {
            Method::Invite | Method::Update => format!("Contact: <{}>\r\n", self.contact()),
            _ => String::new(),
        };
        let request = self.request(dialog, method, &format!("{contact}{extra}"), body);
        self.send(lab, request);
    }

    /// Takes a 2xx to an INVITE, or a provisional response, into the dialog.
    pub fn learn(&self, dialog: &mut Dialog, response: &Message) {
        dialog.remote = text(response, Name::To);
        dialog.routes = routes(response).collect();
        dialog.routes.reverse();
        if let Ok(contact) = response.address(Name::Contact) {
            dialog.target = String::from_utf8_lossy(contact.uri().expect("a URI").as_bytes()).into_owned();
        }
    }

    /// Acknowledges a 2xx.
    pub fn ack(&mut self, lab: &mut Lab, dialog: &mut Dialog, ok: &Message, answer: Option<&str>) {
        self.learn(dialog, ok);
        let branch = self.branch();
        let body = answer.map(|answer| ("application/sdp", answer));
        let ack = self.write(dialog, Method::Ack, ok.cseq(), &branch, "", body);
        self.send(lab, ack);
    }

    /// Acknowledges a refusal, as the transaction does (RFC 3261 section 17.1.1.3).
    pub fn ack_failure(&self, lab: &mut Lab, dialog: &Dialog, refusal: &Message) {
        let mut dialog = dialog.clone();
        dialog.remote = text(refusal, Name::To);
        let branch = dialog.branch.clone();
        let ack = self.write(&dialog, Method::Ack, refusal.cseq(), &branch, "", None);
        self.send(lab, ack);
    }

    /// Cancels the INVITE of a dialog; `extra` are whole header lines.
    pub fn cancel(&self, lab: &mut Lab, dialog: &Dialog, extra: &str) {
        let mut early = dialog.clone();
        early.remote = early.remote.split(";tag=").next().unwrap_or_default().to_owned();
        let cancel = self.write(&early, Method::Cancel, dialog.invite_cseq, &dialog.branch, extra, None);
        self.send(lab, cancel);
    }

    /// The dialog that answering this INVITE makes.
    #[must_use]
    pub fn dialog_of(&self, invite: &Message) -> Dialog {
        let contact = invite.address(Name::Contact).expect("a Contact");
        Dialog {
            call_id: String::from_utf8_lossy(invite.call_id()).into_owned(),
            local: format!("{};tag={}", text(invite, Name::To), self.tag()),
            remote: text(invite, Name::From),
            target: String::from_utf8_lossy(contact.uri().expect("a URI").as_bytes()).into_owned(),
            cseq: 100,
            invite_cseq: 0,
            branch: String::new(),
            routes: routes(invite).collect(),
        }
    }

    /// Responds to a request, with this phone's tag, Contact and Allow.
    pub fn reply(&self, lab: &mut Lab, request: &Message, status: u16, body: Option<&str>) {
        self.reply_with(lab, request, status, "", body);
    }

    /// The same with further header lines.
    pub fn reply_with(&self, lab: &mut Lab, request: &Message, status: u16, extra: &str, body: Option<&str>) {
        let mut lines = format!("SIP/2.0 {status} {}\r\n", sip::draft::reason(status));
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            for value in request.lines(name) {
                let value = String::from_utf8_lossy(value);
                let tag = match name {
                    Name::To if status > 100 && !value.contains(";tag=") => format!(";tag={}", self.tag()),
                    _ => String::new(),
                };
                lines += &format!("{}: {value}{tag}\r\n", name.as_str());
            }
        }
        if (101..300).contains(&status) {
            let routes = request.lines(Name::RecordRoute);
            routes.for_each(|route| lines += &format!("Record-Route: {}\r\n", String::from_utf8_lossy(route)));
        }
        lines += &format!("Contact: <{}>\r\nAllow: {}\r\n{extra}", self.contact(), self.allow);
        self.send(lab, with_body(lines, body.map(|body| ("application/sdp", body))));
    }

    // The wire.

    /// Sends bytes to the switch.
    pub fn send(&self, lab: &mut Lab, bytes: Bytes) {
        lab.deliver(self.flow, bytes);
    }

    /// The next message, 100 Trying left out.
    pub fn take(&self, lab: &mut Lab) -> Option<Message> {
        std::iter::from_fn(|| lab.take(self.flow.peer)).find(|message| message.status() != 100)
    }

    /// The next message, which must be there.
    pub fn next(&self, lab: &mut Lab) -> Message {
        let message = self.take(lab);
        message.unwrap_or_else(|| panic!("nothing came to {}", self.user))
    }

    /// The next message, which must be a response with this status.
    pub fn expect(&self, lab: &mut Lab, status: u16) -> Message {
        let message = self.next(lab);
        assert_eq!(message.status(), status, "{}: {}", self.user, first_line(&message));
        message
    }

    /// The next message, which must be a request with this method.
    pub fn expect_request(&self, lab: &mut Lab, method: Method) -> Message {
        let message = self.next(lab);
        let is_it = message.is_request() && message.method() == method;
        assert!(
            is_it,
            "{}: not {} but {}",
            self.user,
            method.as_str(),
            first_line(&message)
        );
        message
    }

    /// Nothing must have come.
    pub fn expect_nothing(&self, lab: &mut Lab) {
        if let Some(message) = self.take(lab) {
            panic!("{}: {}", self.user, first_line(&message));
        }
    }

    fn tag(&self) -> String {
        format!("{}-{}", self.user, self.flow.peer.port())
    }

    fn branch(&mut self) -> String {
        self.count += 1;
        format!("z9hG4bK-{}-{}-{}", self.user, self.flow.peer.port(), self.count)
    }

    fn write(
        &self,
        dialog: &Dialog,
        method: Method,
        cseq: u32,
        branch: &str,
        extra: &str,
        body: Option<(&str, &str)>,
    ) -> Bytes {
        let Dialog {
            call_id,
            local,
            remote,
            target,
            ..
        } = dialog;
        let (method, peer, allow) = (method.as_str(), self.flow.peer, self.allow);
        let transport = self.flow.transport.as_str();
        let routes: String = dialog
            .routes
            .iter()
            .map(|route| format!("Route: {route}\r\n"))
            .collect();
        let lines = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/{transport} {peer};branch={branch};rport\r\nMax-Forwards: 70\r\n\
             From: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nAllow: {allow}\r\n{routes}{extra}"
        );
        with_body(lines, body)
    }
}

fn with_body(lines: String, body: Option<(&str, &str)>) -> Bytes {
    let (kind, text) = match body {
        Some((kind, text)) => (format!("Content-Type: {kind}\r\n"), text),
        None => (String::new(), ""),
    };
    format!("{lines}{kind}Content-Length: {}\r\n\r\n{text}", text.len()).into()
}

/// The values of Record-Route.
fn routes(message: &Message) -> impl Iterator<Item = String> {
    message
        .values(Name::RecordRoute)
        .map(|value| String::from_utf8_lossy(value).into_owned())
}

/// The first line of that name.
fn text(message: &Message, name: Name) -> String {
    let value = message.header(name).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

fn first_line(message: &Message) -> String {
    let bytes = message.bytes();
    let end = bytes.iter().position(|&b| b == b'\r').unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
