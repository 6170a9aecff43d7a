//! Messages as the phones read and write them: lines of text, and nothing borrowed from the crate under test.

use bytes::Bytes;
use std::net::SocketAddr;

/// A message taken apart at its line ends.
#[derive(Clone, Debug)]
pub struct Text {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Text {
    /// Reads a message; `None` if it is none.
    pub fn parse(bytes: &[u8]) -> Option<Text> {
        let all = std::str::from_utf8(bytes).ok()?;
        let (head, body) = all.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers = lines
            .map(|line| {
                line.split_once(':')
                    .map(|(n, v)| (n.trim().to_owned(), v.trim().to_owned()))
            })
            .collect::<Option<Vec<_>>>()?;
        let body = body.to_owned();
        Some(Text { start, headers, body })
    }

    pub fn is_response(&self) -> bool {
        self.start.starts_with("SIP/2.0 ")
    }

    /// Status of a response, 0 of a request.
    pub fn status(&self) -> u16 {
        let status = self.start.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3));
        status.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    /// Method of a request, or of the request a response answers.
    pub fn method(&self) -> &str {
        self.get("CSeq").split(' ').next_back().unwrap_or("")
    }

    /// The first value of a header; empty if there is none.
    pub fn get(&self, name: &'static str) -> &str {
        self.all(name).next().unwrap_or("")
    }

    pub fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let is_it = move |n: &String| n.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .filter(move |(n, _)| is_it(n))
            .map(|(_, v)| v.as_str())
    }

    pub fn call_id(&self) -> &str {
        self.get("Call-ID")
    }

    pub fn cseq(&self) -> u32 {
        let number = self.get("CSeq").split(' ').next();
        number.and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    pub fn branch(&self) -> &str {
        parameter(self.get("Via"), "branch")
    }

    pub fn to_tag(&self) -> &str {
        parameter(self.get("To"), "tag")
    }

    /// What is said, without an envelope (RFC 3862).
    pub fn words(&self) -> &str {
        match self.get("Content-Type") {
            "message/cpim" => self.body.rsplit("\r\n\r\n").next().unwrap_or("").trim(),
            _ => self.body.trim(),
        }
    }

    /// What its sender calls what is in the envelope, if it asks to be told that it was seen.
    pub fn asks_display(&self) -> Option<&str> {
        let value = |name: &str| self.body.lines().find_map(|line| line.strip_prefix(name));
        let wishes = value("imdn.Disposition-Notification: ")?;
        wishes.contains("display").then(|| value("imdn.Message-ID: "))?
    }

    /// The URI of Contact.
    pub fn target(&self) -> String {
        uri_of(self.get("Contact")).to_owned()
    }
}

/// The parameter of a header value, behind its `>` if it has one; empty if it has none.
pub fn parameter<'a>(value: &'a str, name: &str) -> &'a str {
    let behind = value.rfind('>').map_or(value, |at| &value[at..]);
    behind
        .split(';')
        .filter_map(|part| part.split_once('='))
        .find(|(n, _)| *n == name)
        .map_or("", |(_, v)| v)
}

/// What stands between `<` and `>`.
pub fn uri_of(value: &str) -> &str {
    match (value.find('<'), value.find('>')) {
        (Some(from), Some(to)) if from < to => &value[from + 1..to],
        _ => value,
    }
}

/// The place of the user whom an address names: extension 1000 and up.
pub fn user_of(address: &str) -> usize {
    let name = uri_of(address).trim_start_matches("sip:").split('@').next();
    let extension = name.and_then(|name| name.parse::<usize>().ok());
    extension.map_or(usize::MAX, |extension| extension.wrapping_sub(1000))
}

/// What stands in an XML element without attributes; empty if there is none.
pub fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let inside = || {
        xml.split_once(&format!("<{name}>"))?
            .1
            .split_once(&format!("</{name}>"))
    };
    inside().map_or("", |(text, _)| text)
}

/// A request on its way out, before it has a Via.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub uri: String,
    pub from: String,
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
    /// More header lines, each with its CRLF.
    pub more: String,
    /// Content-Type and content.
    pub body: Option<(&'static str, String)>,
}

impl Request {
    pub fn bytes(&self, address: SocketAddr, branch: &str, credentials: &str) -> Bytes {
        let Request {
            method,
            uri,
            from,
            to,
            call_id,
            cseq,
            more,
            ..
        } = self;
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch={branch};rport\r\nMax-Forwards: 70\r\nFrom: {from}\r\n\
             To: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{more}{credentials}{}",
            ending(self.body.as_ref()),
        );
        text.into()
    }
}

/// A response to a request.
pub fn response(request: &Text, status: u16, tag: &str, more: &str, body: Option<&(&'static str, String)>) -> Bytes {
    let mut text = format!("SIP/2.0 {status} Whatever\r\n");
    for via in request.all("Via") {
        text.push_str(&format!("Via: {via}\r\n"));
    }
    let to = request.get("To");
    let tag = if request.to_tag().is_empty() && status > 100 {
        format!(";tag={tag}")
    } else {
        String::new()
    };
    text.push_str(&format!(
        "From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}{}",
        request.get("From"),
        request.call_id(),
        request.get("CSeq"),
        ending(body),
    ));
    text.into()
}

fn ending(body: Option<&(&'static str, String)>) -> String {
    match body {
        None => "Content-Length: 0\r\n\r\n".to_owned(),
        Some((kind, content)) => format!(
            "Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        ),
    }
}
