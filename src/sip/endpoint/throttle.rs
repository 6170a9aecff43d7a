//! What servers want less of (RFC 7339): those that are asked say in their answers how many of a hundred new requests are not to
//! be sent to them for a while. So many go to another server, where there is one, or nowhere, which costs the server nothing.
//! Calls for help and what belongs to a dialog are sent as ever.

use super::Destination;
use crate::header::Via;
use crate::locate::Service;
use crate::{Message, Uri, peek};
use clock::Mono;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What a server that says no time means (section 4.3).
const USUAL_VALIDITY_MS: u64 = 500;
/// What is said holds no longer than this, whatever is said: a server that is not heard again is not left out for ever.
const LONGEST: Duration = Duration::from_secs(60);
/// Servers whose wish is remembered: those that are asked are configured, and few. Of more than these the wish is not heeded.
const MAX_WISHES: usize = 256;

/// Who is asked for their load, and what is sent to them all the same.
#[derive(Debug, Default)]
pub struct Asked {
    /// Whoever is at these addresses.
    pub addresses: Vec<IpAddr>,
    /// Whoever serves these names.
    pub names: Vec<Arc<Service>>,
    /// The user parts of Request-URIs, unescaped, of calls for help (section 5.10.1).
    pub spared: Vec<Box<str>>,
}

/// What each server wants, the latest word.
#[derive(Default)]
pub(super) struct Throttle {
    asked: Asked,
    wishes: Vec<(SocketAddr, Wish)>,
}

struct Wish {
    percent: u64,
    until: Mono,
    /// Of `oc-seq`: an older word does not count.
    sequence: Option<Sequence>,
    /// Hundredths of requests that are owed to it: what is held back is spread evenly.
    owed: u64,
}

/// `oc-seq`: seconds as a rule, and the fraction in units of [`FRACTION_DIGITS`].
type Sequence = (u64, u64);

/// Digits of the fraction of `oc-seq` that are looked at: nanoseconds.
const FRACTION_DIGITS: usize = 9;

impl Throttle {
    /// Others are asked from now on: what was said before means nothing.
    pub fn ask(&mut self, asked: Asked) {
        *self = Throttle {
            asked,
            wishes: Vec::new(),
        };
    }

    /// Whether who is there is asked.
    pub fn asks(&self, destination: &Destination) -> bool {
        let Asked { addresses, names, .. } = &self.asked;
        if addresses.is_empty() && names.is_empty() {
            return false;
        }
        let is_asked = |peer: SocketAddr| addresses.contains(&peer.ip());
        match destination {
            Destination::Flow(flow) => is_asked(flow.peer),
            Destination::Address { peer, .. } => is_asked(*peer),
            Destination::AnyOf(ways) => ways.iter().any(|way| self.asks(&way.destination)),
            Destination::Service { service, .. } => names.contains(service),
        }
    }

    /// Takes note of what the answer of a server that was asked says of its load.
    pub fn note(&mut self, now: Mono, server: SocketAddr, answer: &Message) {
        let Some((percent, validity, sequence)) = said(answer) else {
            return;
        };
        let place = self.wishes.iter().position(|(of, _)| *of == server);
        let before = place.map(|place| &self.wishes[place].1);
        let last = before.filter(|before| before.until > now).and_then(|one| one.sequence);
        if sequence.zip(last).is_some_and(|(sequence, last)| sequence < last) {
            return;
        }
        // A word without a number is the newest, and later ones are still told apart from those before it.
        let sequence = sequence.or(last);
        let owed = before.map_or(0, |before| before.owed);
        self.wishes.retain(|(of, wish)| *of != server && wish.until > now);
        if percent > 0 && !validity.is_zero() && self.wishes.len() < MAX_WISHES {
            let until = now + validity.min(LONGEST);
            let wish = Wish {
                percent,
                until,
                sequence,
                owed,
            };
            self.wishes.push((server, wish));
        }
    }

    /// Whether this request is to be kept from this server.
    pub fn holds_back(&mut self, now: Mono, server: SocketAddr, request: &[u8]) -> bool {
        let in_force = |(of, wish): &&mut (SocketAddr, Wish)| *of == server && wish.until > now;
        let Some((_, wish)) = self.wishes.iter_mut().find(in_force) else {
            return false;
        };
        if peek::has_to_tag(request) || is_for_help(&self.asked.spared, request) {
            return false;
        }
        let owed = wish.owed + wish.percent;
        wish.owed = owed % 100;
        owed >= 100
    }
}

fn is_for_help(spared: &[Box<str>], request: &[u8]) -> bool {
    let uri = peek::request_line(request).and_then(|(_, uri)| Uri::parse(uri).ok());
    let number = uri.as_ref().and_then(Uri::user_unescaped);
    number.is_some_and(|number| spared.iter().any(|spared| *spared.as_bytes() == *number))
}

/// `oc`, `oc-validity` and `oc-seq` of our Via, if they are filled in and mean the loss algorithm, which all understand.
fn said(answer: &Message) -> Option<(u64, Duration, Option<Sequence>)> {
    let params = answer.via().map(|via: Via<'_>| via.params)?;
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let percent = number(params.get("oc")?).filter(|percent| *percent <= 100)?;
    let algorithm = params.text("oc-algo");
    if algorithm.is_some_and(|algorithm| !algorithm.eq_ignore_ascii_case(b"loss")) {
        return None;
    }
    let validity = params.get("oc-validity").and_then(number).unwrap_or(USUAL_VALIDITY_MS);
    let sequence = match params.get("oc-seq") {
        None => None,
        Some(text) => {
            let mut parts = text.splitn(2, |byte| *byte == b'.');
            let seconds = number(parts.next()?)?;
            let digits = parts.next().unwrap_or_default().iter().copied();
            let digits: Vec<u8> = digits.chain(std::iter::repeat(b'0')).take(FRACTION_DIGITS).collect();
            Some((seconds, number(&digits)?))
        }
    };
    Some((percent, Duration::from_millis(validity), sequence))
}
