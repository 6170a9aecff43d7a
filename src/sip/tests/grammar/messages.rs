//! Generators: parts of messages and messages made of them.

use proptest::prelude::*;

/// What a message is made of, each part sound by itself.
#[derive(Clone, Debug)]
pub struct Parts {
    pub method: String,
    pub request_uri: String,
    pub vias: Vec<(String, String)>,
    pub from: String,
    pub from_tag: String,
    pub to: String,
    pub to_tag: Option<String>,
    pub call_id: String,
    pub cseq: u32,
    pub subject: String,
    pub body: Vec<u8>,
}

impl Parts {
    /// As bytes on the wire.
    pub fn request(&self) -> Vec<u8> {
        self.written(&format!("{} {} SIP/2.0", self.method, self.request_uri))
    }

    /// The same header fields under a status line.
    pub fn response(&self) -> Vec<u8> {
        self.written("SIP/2.0 200 OK")
    }

    fn written(&self, start: &str) -> Vec<u8> {
        let mut text = format!("{start}\r\n");
        for (host, branch) in &self.vias {
            text += &format!("Via: SIP/2.0/UDP {host};branch=z9hG4bK{branch}\r\n");
        }
        let to_tag = self.to_tag.as_ref().map(|t| format!(";tag={t}")).unwrap_or_default();
        text += &format!(
            "From: <{}>;tag={}\r\nTo: <{}>{to_tag}\r\n",
            self.from, self.from_tag, self.to
        );
        text += &format!("Call-ID: {}\r\nCSeq: {} {}\r\n", self.call_id, self.cseq, self.method);
        text += &format!(
            "Max-Forwards: 70\r\nSubject: {}\r\nContent-Length: {}\r\n\r\n",
            self.subject,
            self.body.len()
        );
        [text.as_bytes(), &self.body].concat()
    }
}

const METHODS: [&str; 14] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "MESSAGE",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
    "REFER",
    "INFO",
    "PRACK",
    "UPDATE",
];

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9]{0,8}(\\.[a-z]{2,5}){1,2}",
        "1[0-9]{1}\\.[1-9]\\.[1-9]\\.[1-9]{2}"
    ]
}

fn host_port() -> impl Strategy<Value = String> {
    (host(), prop::option::of(1024..65535u16)).prop_map(|(host, port)| match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

fn uri() -> impl Strategy<Value = String> {
    ("(sip|sips)", "[a-z0-9][a-z0-9._+-]{0,10}", host_port()).prop_map(|(s, user, host)| format!("{s}:{user}@{host}"))
}

/// Messages any SIP parser must understand alike.
pub fn parts() -> impl Strategy<Value = Parts> {
    let vias = prop::collection::vec((host_port(), "[a-zA-Z0-9]{1,20}"), 1..4);
    let parties = (uri(), "[a-zA-Z0-9]{1,20}", uri(), prop::option::of("[a-zA-Z0-9]{1,20}"));
    let rest = (
        "[a-zA-Z0-9]{4,20}(@[a-z]{3,8})?",
        0..i32::MAX as u32,
        "([a-zA-Z0-9]([a-zA-Z0-9 ,;]{0,30}[a-z])?)?",
    );
    let body = prop_oneof![Just(Vec::new()), "[ -~\r\n]{0,60}".prop_map(String::into_bytes)];
    (prop::sample::select(&METHODS[..]), uri(), vias, parties, rest, body).prop_map(
        |(method, request_uri, vias, (from, from_tag, to, to_tag), (call_id, cseq, subject), body)| Parts {
            method: method.to_owned(),
            request_uri,
            vias,
            from,
            from_tag,
            to,
            to_tag,
            call_id,
            cseq,
            subject,
            body,
        },
    )
}

/// One way to damage bytes.
#[derive(Clone, Debug)]
pub enum Damage {
    Cut(usize),
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
}

impl Damage {
    /// The damaged bytes. Positions are taken modulo the length.
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        let at = |position: usize| position % (bytes.len() + 1);
        match *self {
            Damage::Cut(p) => bytes.truncate(at(p)),
            Damage::Set(p, byte) => {
                let p = at(p);
                if let Some(place) = bytes.get_mut(p) {
                    *place = byte;
                }
            }
            Damage::Insert(p, ref new) => {
                let p = at(p);
                bytes.splice(p..p, new.iter().copied());
            }
            Damage::Remove(p, n) => {
                let (p, end) = (at(p), at(p).saturating_add(n % 40).min(bytes.len()));
                bytes.drain(p..end);
            }
            Damage::Repeat(p, n) => {
                let (p, end) = (at(p), at(p).saturating_add(n % 80).min(bytes.len()));
                let piece = bytes[p..end].to_vec();
                bytes.splice(p..p, piece);
            }
        }
    }
}

pub fn damage() -> impl Strategy<Value = Damage> {
    let marks = prop::sample::select(&b"\r\n\t \0\"\\<>,;:=@?%[]*()\x01\x7f\x80\xff"[..]);
    prop_oneof![
        any::<usize>().prop_map(Damage::Cut),
        (any::<usize>(), marks.clone()).prop_map(|(p, b)| Damage::Set(p, b)),
        (any::<usize>(), any::<u8>()).prop_map(|(p, b)| Damage::Set(p, b)),
        (any::<usize>(), prop::collection::vec(marks, 1..4)).prop_map(|(p, b)| Damage::Insert(p, b)),
        (any::<usize>(), any::<usize>()).prop_map(|(p, n)| Damage::Remove(p, n)),
        (any::<usize>(), any::<usize>()).prop_map(|(p, n)| Damage::Repeat(p, n)),
    ]
}
