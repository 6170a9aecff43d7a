//! Just enough SIP to make load: lines found by name, digests, no validation. The server under test does that.

use md5::{Digest, Md5};
use std::io::Write;

/// The value of the first header that begins a line with `name` (long form, any case).
pub fn header<'a>(message: &'a [u8], name: &str) -> Option<&'a [u8]> {
    lines(message, name).next()
}

/// The values of all headers of that name, in order.
pub fn lines<'a>(message: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    message.split(|&b| b == b'\n').filter_map(move |line| {
        let colon = name.len();
        let found = line.len() > colon && line[colon] == b':' && line[..colon].eq_ignore_ascii_case(name.as_bytes());
        found.then(|| line[colon + 1..].trim_ascii())
    })
}

/// Status code of a response; 0 for a request.
pub fn status(message: &[u8]) -> u16 {
    if !message.starts_with(b"SIP/2.0 ") {
        return 0;
    }
    message
        .get(8..11)
        .and_then(|d| std::str::from_utf8(d).ok())
        .and_then(|d| d.parse().ok())
        .unwrap_or(0)
}

/// The text between `name="` and the next quote.
pub fn quoted<'a>(value: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let start = find(value, format!("{name}=\"").as_bytes())? + name.len() + 2;
    let end = value[start..].iter().position(|&b| b == b'"')?;
    Some(&value[start..start + end])
}

/// Where `needle` begins.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}

/// Lower-case hex of the MD5 of `parts` joined with colons.
pub fn md5_hex(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Md5::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    let mut out = [0; 32];
    for (i, byte) in hash.finalize().iter().enumerate() {
        out[2 * i] = b"0123456789abcdef"[usize::from(byte >> 4)];
        out[2 * i + 1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    out
}

/// What a server asked for.
#[derive(Clone, Default)]
pub struct Challenge {
    /// Its nonce.
    pub nonce: Vec<u8>,
    /// Its opaque; empty for none.
    pub opaque: Vec<u8>,
    /// How often the nonce was used.
    pub nc: u32,
    /// Asked with 407: answered in Proxy-Authorization.
    pub proxy: bool,
}

impl Challenge {
    /// From a 401 or 407.
    pub fn read(response: &[u8]) -> Option<Challenge> {
        let proxy = status(response) == 407;
        let value = header(
            response,
            if proxy {
                "Proxy-Authenticate"
            } else {
                "WWW-Authenticate"
            },
        )?;
        Some(Challenge {
            nonce: quoted(value, "nonce")?.to_vec(),
            opaque: quoted(value, "opaque").unwrap_or_default().to_vec(),
            nc: 0,
            proxy,
        })
    }
}

/// One account.
pub struct User {
    /// Extension.
    pub name: String,
    /// HA1 for MD5.
    pub ha1: [u8; 32],
    /// The last challenge, to be used again.
    pub challenge: Challenge,
    /// CSeq of its last request.
    pub cseq: u32,
}

impl User {
    /// The account of that extension with the demo password.
    pub fn new(name: String, realm: &str) -> User {
        let password = format!("demo-{name}");
        let ha1 = md5_hex(&[name.as_bytes(), realm.as_bytes(), password.as_bytes()]);
        User {
            name,
            ha1,
            challenge: Challenge::default(),
            cseq: 0,
        }
    }

    /// Writes the credentials header for the last challenge, counting the use; nothing if there was none.
    pub fn authorize(&mut self, out: &mut Vec<u8>, realm: &str, method: &str, uri: &str) {
        let asked = &mut self.challenge;
        if asked.nonce.is_empty() {
            return;
        }
        asked.nc += 1;
        let nc = format!("{:08x}", asked.nc);
        let ha2 = md5_hex(&[method.as_bytes(), uri.as_bytes()]);
        let response = md5_hex(&[&self.ha1, &asked.nonce, nc.as_bytes(), b"0a4f113b", b"auth", &ha2]);
        let name = if asked.proxy {
            "Proxy-Authorization"
        } else {
            "Authorization"
        };
        let _ = write!(
            out,
            "{name}: Digest username=\"{}\", realm=\"{realm}\", nonce=\"",
            self.name
        );
        out.extend_from_slice(&asked.nonce);
        let _ = write!(out, "\", uri=\"{uri}\", response=\"");
        out.extend_from_slice(&response);
        let _ = write!(out, "\", algorithm=MD5, qop=auth, cnonce=\"0a4f113b\", nc={nc}");
        if !asked.opaque.is_empty() {
            out.extend_from_slice(b", opaque=\"");
            out.extend_from_slice(&asked.opaque);
            out.push(b'"');
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Copies the headers that a response takes from its request (RFC 3261 section 8.2.6), adding a To-tag.
pub fn respond(out: &mut Vec<u8>, request: &[u8], status: &str, tag: &str, extra: &[u8], body: &[u8]) {
    let _ = write!(out, "SIP/2.0 {status}\r\n");
    for line in request.split_inclusive(|&b| b == b'\n') {
        if line.trim_ascii().is_empty() {
            break;
        }
        let name = line
            .split(|&b| b == b':')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        match name.as_slice() {
            b"to" => {
                let value = line.trim_ascii_end();
                out.extend_from_slice(value);
                if !tag.is_empty() && find(value, b";tag=").is_none() {
                    let _ = write!(out, ";tag={tag}");
                }
                out.extend_from_slice(b"\r\n");
            }
            b"via" | b"from" | b"call-id" | b"cseq" | b"record-route" => out.extend_from_slice(line),
            _ => {}
        }
    }
    out.extend_from_slice(extra);
    let _ = write!(out, "Content-Length: {}\r\n\r\n", body.len());
    out.extend_from_slice(body);
}
