//! What the shell must know of a datagram before it queues it: its class, found without parsing (50 to 100 ns).
//!
//! Only a sorting by likely importance: whoever lies here is found out by the parser, and has gained a place in a queue.

use crate::header::lex;
use crate::{Method, stun};
use memchr::{memchr, memchr2, memrchr};

/// In which queue a datagram belongs. Under overload the last classes are dropped first.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Belongs to something that is there: a response, ACK, CANCEL, BYE, PRACK, or any request with a To tag.
    Ongoing,
    /// REGISTER.
    Register,
    /// A request that would begin something.
    New,
    /// Only CR, LF and NUL, or a Binding request of STUN: a keep-alive (RFC 5626 section 4.4).
    KeepAlive,
    /// Begins with no SIP start line.
    Garbage,
}

/// Sorts a datagram.
#[must_use]
pub fn class(datagram: &[u8]) -> Class {
    if datagram.first().is_none_or(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return match stun::is_request(datagram) {
            true => Class::KeepAlive,
            false => after_blank(datagram),
        };
    }
    if datagram.len() > 12 && datagram[..4].eq_ignore_ascii_case(b"SIP/") {
        return Class::Ongoing;
    }
    match method(datagram) {
        None => Class::Garbage,
        Some(Method::Ack | Method::Cancel | Method::Bye | Method::Prack) => Class::Ongoing,
        Some(Method::Register) => Class::Register,
        Some(_) if has_to_tag(datagram) => Class::Ongoing,
        Some(_) => Class::New,
    }
}

/// Keep-alives may stand before a message (RFC 3261 section 7.5).
fn after_blank(datagram: &[u8]) -> Class {
    match datagram.iter().position(|b| !matches!(b, b'\r' | b'\n' | 0)) {
        Some(at) if datagram[..at].contains(&0) => Class::Garbage,
        Some(at) => class(&datagram[at..]),
        None => Class::KeepAlive,
    }
}

/// The method of a request whose start line looks like one; `None` for responses and garbage.
#[must_use]
pub fn method(datagram: &[u8]) -> Option<Method> {
    start(datagram).map(|(method, _)| method)
}

/// Method and Request-URI of a request whose start line looks like one, with or without keep-alives before it.
#[must_use]
pub fn request_line(datagram: &[u8]) -> Option<(Method, &[u8])> {
    let blank = datagram.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    start(&datagram[blank..])
}

fn start(datagram: &[u8]) -> Option<(Method, &[u8])> {
    let line = lex::trim_end(&datagram[..memchr2(b'\r', b'\n', datagram)?]);
    // Longer names are legal, but none that anyone will miss under overload.
    let token = memchr(b' ', &line[..line.len().min(64)])?;
    let end = line.len().checked_sub(8)?;
    let sound =
        token > 0 && lex::token_len(&line[..token]) == token && line[end..end + 5].eq_ignore_ascii_case(b" SIP/");
    sound.then(|| {
        (
            Method::from_bytes(&line[..token]),
            line.get(token + 1..end).unwrap_or_default(),
        )
    })
}

/// The status code of a response; `None` for requests and garbage.
#[must_use]
pub fn status(datagram: &[u8]) -> Option<u16> {
    let code = datagram.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
    lex::digits(code).and_then(|n| u16::try_from(n).ok())
}

/// True if the To field has a tag.
#[must_use]
pub fn has_to_tag(datagram: &[u8]) -> bool {
    field(datagram, b"to", b't').is_some_and(|value| {
        let params = &value[memrchr(b'>', value).unwrap_or(0)..];
        params.split(|&b| b == b';').skip(1).any(|p| {
            let name = lex::skip_lws(p);
            name.len() > 3 && name[..3].eq_ignore_ascii_case(b"tag") && matches!(name[3], b'=' | b' ' | b'\t')
        })
    })
}

/// Branch of the top Via.
#[must_use]
pub fn branch(datagram: &[u8]) -> Option<&[u8]> {
    let value = field(datagram, b"via", b'v')?;
    let top = &value[..memchr(b',', value).unwrap_or(value.len())];
    top.split(|&b| b == b';').skip(1).find_map(|p| {
        let (name, value) = p.split_at(memchr(b'=', p)?);
        lex::trim(name)
            .eq_ignore_ascii_case(b"branch")
            .then(|| lex::trim(&value[1..]))
    })
}

/// The value of the first header line of that name, without its continuation lines.
fn field<'a>(datagram: &'a [u8], long: &[u8], compact: u8) -> Option<&'a [u8]> {
    let mut rest = datagram;
    loop {
        rest = &rest[memchr(b'\n', rest)? + 1..];
        // The empty line.
        let first = *rest.first().filter(|b| **b != b'\r' && **b != b'\n')?;
        if first | 0x20 == compact {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let colon = memchr(b':', &rest[..end]).unwrap_or(0);
            let name = lex::trim_end(&rest[..colon]);
            if name.len() == 1 || name.eq_ignore_ascii_case(long) {
                return Some(lex::trim(&rest[colon + 1..end]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, to: &str) -> Vec<u8> {
        format!(
            "{method} sip:b@h SIP/2.0\r\nTimestamp: 1\r\nv: SIP/2.0/UDP h;rport;branch=z9hG4bK77 ,SIP/2.0/UDP i;branch=x\r\n{to}\r\n\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn sorts_by_what_a_datagram_belongs_to() {
        for method in ["ACK", "BYE", "CANCEL", "PRACK"] {
            assert_eq!(class(&request(method, "To: <sip:b@h>")), Class::Ongoing);
        }
        assert_eq!(class(b"SIP/2.0 200 OK\r\n\r\n"), Class::Ongoing);
        assert_eq!(class(b"sip/2.0 200 OK\r\n\r\n"), Class::Ongoing);
        assert_eq!(class(b"REGISTER sip:h sip/2.0\r\n\r\n"), Class::Register);
        assert_eq!(class(&request("REGISTER", "To: <sip:b@h>")), Class::Register);
        assert_eq!(class(&request("INVITE", "To: <sip:b@h>")), Class::New);
        assert_eq!(class(&request("INVITE", "t: \"x;tag=1\" <sip:b@h;tag=2>")), Class::New);
        assert_eq!(class(&request("INVITE", "To : <sip:b@h> ; Tag = 3")), Class::Ongoing);
        assert_eq!(class(&request("INVITE", "to:sip:b@h;tag=3")), Class::Ongoing);
    }

    #[test]
    fn knows_keep_alives_and_garbage() {
        for alive in [&b""[..], b"\r\n", b"\r\n\r\n", b"\0\0\0\0", b"\0"] {
            assert_eq!(class(alive), Class::KeepAlive, "{alive:?}");
        }
        let stun = b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl";
        assert_eq!(class(stun), Class::KeepAlive);
        assert_eq!(class(&stun[..19]), Class::Garbage);
        for garbage in [
            &b"hello"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"\0\x01\0\0abc",
            b"\x80\xc8\0\x01",
            b"INVITE sip:x",
            b" \r\n",
        ] {
            assert_eq!(class(garbage), Class::Garbage, "{garbage:?}");
        }
        let kept_alive = [b"\r\n\r\n".to_vec(), request("INVITE", "To: x")].concat();
        assert_eq!(class(&kept_alive), Class::New);
    }

    #[test]
    fn finds_method_and_uri() {
        for start in ["INVITE sip:112@h SIP/2.0\r\n", "\r\n\r\nINVITE sip:112@h SIP/2.0\r\n"] {
            assert_eq!(
                request_line(start.as_bytes()),
                Some((Method::Invite, &b"sip:112@h"[..]))
            );
        }
        assert_eq!(request_line(b"INVITE SIP/2.0\r\n"), Some((Method::Invite, &b""[..])));
        for other in [
            &b"SIP/2.0 200 OK\r\n"[..],
            b"INVITE sip:112@h",
            b"\r\n",
            b"",
            b" SIP/2.0\r\n",
        ] {
            assert_eq!(request_line(other), None, "{other:?}");
        }
    }

    #[test]
    fn finds_status_and_top_branch() {
        assert_eq!(
            (status(b"SIP/2.0 486 Busy\r\n"), status(b"INVITE x SIP/2.0\r\n")),
            (Some(486), None)
        );
        assert_eq!(branch(&request("INVITE", "To: x")), Some(&b"z9hG4bK77"[..]));
        assert_eq!(branch(b"INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n"), None);
    }

    #[test]
    fn looks_no_further_than_the_header() {
        assert!(!has_to_tag(
            b"INVITE sip:b@h SIP/2.0\r\nFrom: x\r\n\r\nTo: <sip:b@h>;tag=1\r\n"
        ));
    }
}
