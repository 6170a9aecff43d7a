//! Bytes to [`SessionDescription`]: one pass over the lines, bounded, every fault with its line.

use super::{
    Address, Attribute, Connection, MAX_ATTRIBUTES, MAX_FORMATS, MAX_SIZE, MAX_STREAMS, Origin, SessionDescription,
    Stream,
};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a description was not understood. The peer's fault: answer 400 to this request only.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SdpError {
    /// Line number from 1; 0 where no line is to blame.
    pub line: usize,
    /// What is wrong.
    pub kind: SdpErrorKind,
}

/// What is wrong with a description.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SdpErrorKind {
    /// More than [`MAX_SIZE`] bytes.
    TooLong,
    /// More than [`MAX_STREAMS`], [`MAX_ATTRIBUTES`] or [`MAX_FORMATS`].
    TooMany,
    /// Not UTF-8, or a NUL in it.
    NotText,
    /// Not `letter=value`.
    NotALine,
    /// It does not begin with `v=0`.
    Version,
    /// `o=` missing or malformed.
    Origin,
    /// `c=` malformed.
    Connection,
    /// `b=` without a colon or a number.
    Bandwidth,
    /// `m=` malformed.
    Stream,
    /// `a=` without a name.
    Attribute,
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            SdpErrorKind::TooLong => "too long",
            SdpErrorKind::TooMany => "too many lines of a kind",
            SdpErrorKind::NotText => "not UTF-8 text",
            SdpErrorKind::NotALine => "not of the form x=value",
            SdpErrorKind::Version => "does not begin with v=0",
            SdpErrorKind::Origin => "o= missing or malformed",
            SdpErrorKind::Connection => "malformed c=",
            SdpErrorKind::Bandwidth => "malformed b=",
            SdpErrorKind::Stream => "malformed m=",
            SdpErrorKind::Attribute => "a= without a name",
        };
        write!(f, "SDP line {}: {what}", self.line)
    }
}

impl std::error::Error for SdpError {}

impl SessionDescription {
    /// Reads a description. Lines may end in CRLF or LF; what comes after an empty line is ignored.
    ///
    /// # Errors
    /// The first fault found; never panics.
    pub fn parse(bytes: &[u8]) -> Result<SessionDescription, SdpError> {
        let fail = |kind| Err(SdpError { line: 0, kind });
        if bytes.len() > MAX_SIZE {
            return fail(SdpErrorKind::TooLong);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Parser::default().run(text),
            _ => fail(SdpErrorKind::NotText),
        }
    }
}

#[derive(Default)]
struct Parser {
    origin: Option<Origin>,
    name: Box<str>,
    connection: Option<Connection>,
    attributes: Vec<Attribute>,
    streams: Vec<Stream>,
    attribute_count: usize,
}

impl Parser {
    fn run(mut self, text: &str) -> Result<SessionDescription, SdpError> {
        let mut lines = text
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .zip(1..);
        match lines.next() {
            Some((line, _)) if line.trim_end() == "v=0" => {}
            _ => {
                return Err(SdpError {
                    line: 1,
                    kind: SdpErrorKind::Version,
                });
            }
        }
        for (text, line) in lines.take_while(|(text, _)| !text.is_empty()) {
            self.line(text).map_err(|kind| SdpError { line, kind })?;
        }
        let origin = self.origin.ok_or(SdpError {
            line: 0,
            kind: SdpErrorKind::Origin,
        })?;
        Ok(SessionDescription {
            origin,
            name: if self.name.is_empty() { "-".into() } else { self.name },
            connection: self.connection,
            attributes: self.attributes,
            streams: self.streams,
        })
    }

    fn line(&mut self, text: &str) -> Result<(), SdpErrorKind> {
        // A lone CR is a line end to some readers: kept in a value we print again, it would smuggle a line past us.
        let Some((kind, value)) = text
            .split_once('=')
            .filter(|(kind, _)| kind.len() == 1 && !text.contains('\r'))
        else {
            return Err(SdpErrorKind::NotALine);
        };
        match kind {
            "o" if self.origin.is_none() => self.origin = Some(origin(value).ok_or(SdpErrorKind::Origin)?),
            "o" => return Err(SdpErrorKind::Origin),
            "s" => self.name = value.into(),
            "c" => self.connection(value)?,
            "b" => bandwidth(value).ok_or(SdpErrorKind::Bandwidth)?,
            "a" => self.attribute(value)?,
            "m" => self.stream(value)?,
            _ if kind.as_bytes()[0].is_ascii_lowercase() => {}
            _ => return Err(SdpErrorKind::NotALine),
        }
        Ok(())
    }

    /// The first `c=` of a stream counts; further ones are multicast layers.
    fn connection(&mut self, value: &str) -> Result<(), SdpErrorKind> {
        let connection = connection(value).ok_or(SdpErrorKind::Connection)?;
        let place = match self.streams.last_mut() {
            Some(stream) => &mut stream.connection,
            None => &mut self.connection,
        };
        place.get_or_insert(connection);
        Ok(())
    }

    fn attribute(&mut self, value: &str) -> Result<(), SdpErrorKind> {
        self.attribute_count += 1;
        if self.attribute_count > MAX_ATTRIBUTES {
            return Err(SdpErrorKind::TooMany);
        }
        let (name, value) = match value.split_once(':') {
            Some((name, value)) => (name.trim(), Some(value.into())),
            None => (value.trim(), None),
        };
        if name.is_empty() {
            return Err(SdpErrorKind::Attribute);
        }
        let attributes = self
            .streams
            .last_mut()
            .map_or(&mut self.attributes, |stream| &mut stream.attributes);
        attributes.push(Attribute {
            name: name.into(),
            value,
        });
        Ok(())
    }

    fn stream(&mut self, value: &str) -> Result<(), SdpErrorKind> {
        if self.streams.len() == MAX_STREAMS {
            return Err(SdpErrorKind::TooMany);
        }
        let stream = stream(value).ok_or(SdpErrorKind::Stream)?;
        if stream.formats.len() > MAX_FORMATS {
            return Err(SdpErrorKind::TooMany);
        }
        self.streams.push(stream);
        Ok(())
    }
}

fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.len() <= 40 && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

/// `username sess-id sess-version nettype addrtype unicast-address`
fn origin(value: &str) -> Option<Origin> {
    let mut words = value.split_ascii_whitespace();
    let username = words.next()?.into();
    let session_id = digits(words.next()?)?.into();
    let version = digits(words.next()?)?.into();
    let address = address(&mut words)?;
    words.next().is_none().then_some(Origin {
        username,
        session_id,
        version,
        address,
    })
}

fn connection(value: &str) -> Option<Connection> {
    let mut words = value.split_ascii_whitespace();
    let address = address(&mut words)?;
    words.next().is_none().then_some(Connection { address })
}

/// `IN IP4 192.0.2.1`; a multicast address may have `/ttl/count`, which nobody here needs.
fn address<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Address> {
    if !words.next()?.eq_ignore_ascii_case("IN") {
        return None;
    }
    let family = words.next()?;
    let text = words.next()?.split('/').next()?;
    let ip = match family.to_ascii_uppercase().as_str() {
        "IP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "IP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return None,
    };
    match ip {
        Some(ip) => Some(Address::Ip(ip)),
        None => host(text).map(|host| Address::Name {
            v6: family.eq_ignore_ascii_case("IP6"),
            host: host.into(),
        }),
    }
}

/// A host name has a letter in it: `1.2.3.400` is a broken address.
fn host(text: &str) -> Option<&str> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    (text.len() <= 253 && text.bytes().all(legal) && text.bytes().any(|b| b.is_ascii_alphabetic())).then_some(text)
}

/// `b=AS:64`: checked so that a bad line is refused (CVE-2026-46334 is a crash on one), then dropped.
fn bandwidth(value: &str) -> Option<()> {
    let (kind, number) = value.split_once(':')?;
    (!kind.is_empty() && number.trim().parse::<u64>().is_ok()).then_some(())
}

/// `kind port[/count] proto fmt ...`
fn stream(value: &str) -> Option<Stream> {
    let mut words = value.split_ascii_whitespace();
    let kind = words.next()?.into();
    let port = words.next()?;
    let (port, port_count) = match port.split_once('/') {
        Some((port, count)) => (digits(port)?.parse().ok()?, digits(count)?.parse().ok()?),
        None => (digits(port)?.parse().ok()?, 1),
    };
    let protocol = words.next()?.into();
    let formats: Vec<Box<str>> = words.map(Box::from).collect();
    (!formats.is_empty()).then_some(Stream {
        kind,
        port,
        port_count,
        protocol,
        formats,
        connection: None,
        attributes: Vec::new(),
    })
}
