//! Via (RFC 3261 section 20.42, RFC 3581).

use super::{Invalid, Params, lex};
use crate::Transport;
use std::net::IpAddr;

/// One Via value.
#[derive(Copy, Clone, Debug)]
pub struct Via<'a> {
    /// As written: `UDP`, or something nobody knows.
    pub protocol: &'a [u8],
    /// sent-by host as written, an IPv6 address in its brackets.
    pub host: &'a [u8],
    /// sent-by port, if given.
    pub port: Option<u16>,
    /// Everything after sent-by.
    pub params: Params<'a>,
    noted: Noted<&'a [u8]>,
}

/// What every answer asks of a Via, found when it was read: each as [`Params::get`] gives it, or where that stands.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Noted<T> {
    pub branch: Option<T>,
    pub rport: Option<T>,
    pub received: Option<T>,
    /// `oc` is there (RFC 7339).
    pub asks_load: bool,
}

impl<T> Noted<T> {
    /// The same as something else.
    pub fn map<U>(self, each: impl Fn(T) -> U) -> Noted<U> {
        Noted {
            branch: self.branch.map(&each),
            rport: self.rport.map(&each),
            received: self.received.map(&each),
            asks_load: self.asks_load,
        }
    }
}

/// What a branch of RFC 3261 begins with (section 8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

impl<'a> Via<'a> {
    /// Reads one value.
    pub fn parse(value: &'a [u8]) -> Result<Via<'a>, Invalid> {
        let (protocol, rest) = lex::need(sent_protocol(value), "Via without SIP/2.0/transport")?;
        let (host, rest) = lex::need(lex::host(rest), "Via without a host")?;
        let (port, rest) = match lex::separator(rest, b':') {
            Some(rest) => {
                let (port, rest) = lex::need(lex::port(rest), "Via with a broken port")?;
                (Some(port), rest)
            }
            None => (None, rest),
        };
        let (params, [branch, rport, received, oc]) =
            Params::parse_noting(rest, ["branch", "rport", "received", "oc"])?;
        Ok(Via {
            protocol,
            host,
            port,
            params,
            noted: Noted {
                branch,
                rport,
                received,
                asks_load: oc.is_some(),
            },
        })
    }

    /// From pieces that [`Via::parse`] has read before.
    pub(crate) fn checked(
        protocol: &'a [u8],
        host: &'a [u8],
        port: Option<u16>,
        params: &'a [u8],
        noted: Noted<&'a [u8]>,
    ) -> Via<'a> {
        Via {
            protocol,
            host,
            port,
            params: Params::checked(params),
            noted,
        }
    }

    /// What was found of it when it was read.
    pub(crate) fn noted(&self) -> Noted<&'a [u8]> {
        self.noted
    }

    /// The transport, if it is one we know.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        use Transport::*;
        [Udp, Tcp, Tls, Ws, Wss]
            .into_iter()
            .find(|t| self.protocol.eq_ignore_ascii_case(t.as_str().as_bytes()))
    }

    /// sent-by host as an address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        ip(self.host)
    }

    /// Transaction identifier; with [`MAGIC_COOKIE`] and more after it, unique by itself.
    #[must_use]
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.noted.branch.filter(|b| !b.is_empty())
    }

    /// True if the branch is one of RFC 3261: the cookie and something after it. Matched by [`Via::branch`]; any other is
    /// matched by the rules of RFC 2543 (section 17.2.3).
    #[must_use]
    pub fn has_cookie(&self) -> bool {
        // The cookie alone would be equal for unrelated requests (RFC 4475 section 3.2.1). It is compared without case.
        self.branch()
            .is_some_and(|b| b.len() > MAGIC_COOKIE.len() && b[..MAGIC_COOKIE.len()].eq_ignore_ascii_case(MAGIC_COOKIE))
    }

    /// Where the request really came from, written by who received it.
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        self.noted.received.and_then(ip)
    }

    /// `None`: not asked for. `Some(None)`: asked for (`;rport`). `Some(Some(port))`: filled in.
    #[must_use]
    pub fn rport(&self) -> Option<Option<u16>> {
        self.noted.rport.map(|p| lex::port(p).map(|(port, _)| port))
    }

    /// Multicast or a fixed address to answer to.
    #[must_use]
    pub fn maddr(&self) -> Option<&'a [u8]> {
        self.params.get("maddr").filter(|m| !m.is_empty())
    }

    /// Multicast time to live.
    #[must_use]
    pub fn ttl(&self) -> Option<u8> {
        self.params
            .get("ttl")
            .and_then(lex::digits)
            .and_then(|n| u8::try_from(n).ok())
    }
}

/// `SIP SLASH 2.0 SLASH transport LWS`.
fn sent_protocol(value: &[u8]) -> Option<(&[u8], &[u8])> {
    // As nearly everyone writes it.
    if let Some(rest) = value.strip_prefix(b"SIP/2.0/UDP ") {
        return Some((&value[8..11], lex::skip_lws(rest)));
    }
    let (name, rest) = lex::token(value)?;
    let (version, rest) = lex::token(lex::separator(rest, b'/')?)?;
    let (transport, rest) = lex::token(lex::separator(rest, b'/')?)?;
    let spaced = rest.first().is_some_and(|&b| lex::is_lws(b));
    (name.eq_ignore_ascii_case(b"SIP") && version == b"2.0" && spaced).then(|| (transport, lex::skip_lws(rest)))
}

/// An address, with or without the brackets of IPv6.
pub(crate) fn ip(text: &[u8]) -> Option<IpAddr> {
    let bare = text
        .strip_prefix(b"[")
        .and_then(|t| t.strip_suffix(b"]"))
        .unwrap_or(text);
    std::str::from_utf8(bare).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_host_port_and_parameters() {
        let via = Via::parse(b"SIP/2.0/TCP pbx.example:5070;rport;branch=z9hG4bKabc;received=192.0.2.7").unwrap();
        assert_eq!(via.transport(), Some(Transport::Tcp));
        assert_eq!((via.host, via.port), (&b"pbx.example"[..], Some(5070)));
        assert_eq!(via.branch(), Some(&b"z9hG4bKabc"[..]));
        assert_eq!(via.received(), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(via.rport(), Some(None));
        assert!(via.has_cookie());
    }

    #[test]
    fn white_space_may_stand_around_every_separator() {
        let via = Via::parse(b"SIP  /   2.0\r\n /UDP\r\n    192.0.2.2 : 5062 ; branch = 390skdjuw").unwrap();
        assert_eq!((via.ip(), via.port), (Some("192.0.2.2".parse().unwrap()), Some(5062)));
        assert!(!via.has_cookie());
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets_but_received_need_not() {
        let via = Via::parse(b"SIP/2.0/UDP [2001:db8::9:1]:5062;received=2001:db8::9:255;rport=31337").unwrap();
        assert_eq!(via.ip(), Some("2001:db8::9:1".parse().unwrap()));
        assert_eq!(via.received(), Some("2001:db8::9:255".parse().unwrap()));
        assert_eq!(via.rport(), Some(Some(31337)));
    }

    #[test]
    fn unknown_transports_are_kept() {
        let via = Via::parse(b"SIP/2.0/CARRIER-PIGEON h;branch=z9hG4bK").unwrap();
        assert_eq!((via.transport(), via.protocol), (None, &b"CARRIER-PIGEON"[..]));
        assert!(!via.has_cookie(), "the cookie alone identifies nothing");
    }

    #[test]
    fn refuses_what_is_no_via() {
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/2.0/UDP h;;",
            "SIP/2.0/UDP h;,",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
        ]
        .into_iter()
        .chain([
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:99999",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDPh",
            "SIP/2.0/UDP h x",
        ]) {
            assert!(Via::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
