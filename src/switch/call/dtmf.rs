//! Key presses, however they come: packets of their own (RFC 4733), tones in the sound, or SIP INFO. [`Calls::on_dtmf`] hears
//! each once. Between two devices a press goes on in the way the other takes: packets, else INFO, else tones.

use super::room::{Engine, leg_id};
use super::{Calls, LegKey, State};
use crate::core::Cx;
use crate::route::Target;
use media::plan::Codec;
use media::{DtmfBy, Plan};
use sip::{Body, Headers, Message, Method};
use std::time::Duration;

/// How long a press is held that does not say so.
const PRESS: Duration = Duration::from_millis(160);

/// How a key press came to us.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// With the media; `passed_on` if the engine took its packets on to the other device.
    Sound { by: DtmfBy, passed_on: bool },
    /// In an INFO.
    Info,
}

impl Calls {
    /// A key was pressed on the device of this leg. Services and rooms find their digits here; between two devices the
    /// press is passed on.
    pub(crate) fn on_dtmf(&mut self, cx: &mut Cx<'_>, key: LegKey, digit: char, duration: Duration, by: Heard) {
        let Some(leg) = self.legs.get(key).filter(|leg| leg.is_up()) else {
            return;
        };
        match self.state(leg.place) {
            Some(State::Bridged(_)) => {
                if let Some(other) = self.partner(key) {
                    self.pass_dtmf(cx, other, digit, duration, by);
                }
            }
            Some(State::Service(Target::Room)) => self.on_room_key(cx, key, digit),
            Some(State::Service(Target::Digits)) => self.read_back(cx, key, digit),
            // Nobody here asks for digits.
            _ => {}
        }
    }

    /// Presses keys towards a device, in the media: packets if it takes them, else tones.
    pub(crate) fn send_dtmf(&self, cx: &mut Cx<'_>, key: LegKey, digits: &str, duration: Duration) {
        let sound = self.legs.get(key).and_then(|leg| leg.sound.as_ref());
        if let Some(sound) = sound.filter(|sound| matches!(sound.engine, Engine::Open)) {
            let (leg, digits) = (leg_id(key), digits.into());
            cx.core
                .media(sound.port.worker, Plan::SendDtmf { leg, digits, duration });
        }
    }

    /// One press for a device, in the way it takes.
    fn pass_dtmf(&mut self, cx: &mut Cx<'_>, to: LegKey, digit: char, duration: Duration, by: Heard) {
        let takes_packets = self.takes_packets(to);
        match by {
            Heard::Sound { passed_on: true, .. } => {}
            // Who takes no packets hears the tones themselves.
            Heard::Sound { by: DtmfBy::Tones, .. } if !takes_packets => {}
            _ if takes_packets || !self.tell_dtmf(cx, to, digit, duration) => {
                self.send_dtmf(cx, to, digit.encode_utf8(&mut [0; 4]), duration);
            }
            _ => {}
        }
    }

    /// Key presses as packets were agreed with the device.
    fn takes_packets(&self, key: LegKey) -> bool {
        let sound = self.legs.get(key).and_then(|leg| leg.sound.as_ref());
        let agreed = sound.and_then(|sound| sound.negotiation.agreed());
        let is_key = |codec| matches!(codec, Codec::TelephoneEvent(_));
        agreed.is_some_and(|agreed| agreed.formats.iter().any(|agreed| is_key(agreed.format.codec())))
    }

    /// INFO to a device that allows it. What it answers changes nothing.
    fn tell_dtmf(&mut self, cx: &mut Cx<'_>, key: LegKey, digit: char, duration: Duration) -> bool {
        let Some(leg) = self.legs.get_mut(key).filter(|leg| leg.session.allows(Method::Info)) else {
            return false;
        };
        let text = format!("Signal={digit}\r\nDuration={}\r\n", duration.as_millis());
        let body = Body {
            content_type: "application/dtmf-relay".into(),
            content: text.into(),
        };
        leg.request(cx, Method::Info, &Headers::new(), Some(body)).is_ok()
    }

    /// An INFO with a key press in it: taken here unless the other device is to have the INFO itself, whose answer then
    /// comes from there.
    pub(super) fn take_info_key(&mut self, cx: &mut Cx<'_>, key: LegKey, message: &Message) -> bool {
        let Some((digit, duration)) = Body::of(message).and_then(|body| info_key(&body)) else {
            return false;
        };
        let other = self.partner(key);
        if let Some(other) = other
            && !self.takes_packets(other)
            && self.legs.get(other).is_some_and(|leg| leg.session.allows(Method::Info))
        {
            return false;
        }
        self.on_dtmf(cx, key, digit, duration, Heard::Info);
        true
    }
}

/// The key in a body of `application/dtmf-relay` (`Signal=5`, `Duration=160`) or `application/dtmf` (`5`). Events that are
/// no keys, as flash, are none.
fn info_key(body: &Body) -> Option<(char, Duration)> {
    let kind = body.content_type.split(';').next().unwrap_or_default().trim();
    let text = std::str::from_utf8(&body.content).ok()?;
    let (signal, duration) = match kind.to_ascii_lowercase().as_str() {
        "application/dtmf" => (text.trim(), None),
        "application/dtmf-relay" => (field(text, "signal")?, field(text, "duration")),
        _ => return None,
    };
    let duration = duration.and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    Some((key(signal)?, duration.unwrap_or(PRESS).min(Duration::from_secs(6))))
}

/// `Name=value` or `Name: value` on a line of its own.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(['=', ':'])?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A key by its sign; star and pound also by their event numbers, as some phones write them.
fn key(signal: &str) -> Option<char> {
    let mut signs = signal.chars();
    match (signs.next()?, signs.as_str()) {
        ('1', "0") => Some('*'),
        ('1', "1") => Some('#'),
        (sign, "") => media::dtmf::event_of(sign).and_then(media::dtmf::key_of),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, text: &str) -> Option<(char, u128)> {
        let body = Body {
            content_type: kind.to_owned().into(),
            content: text.as_bytes().to_vec().into(),
        };
        info_key(&body).map(|(key, duration)| (key, duration.as_millis()))
    }

    #[test]
    fn a_key_is_read_in_every_spelling_of_info() {
        for (kind, text, key) in [
            (
                "application/dtmf-relay",
                "Signal=5\r\nDuration=200\r\n",
                Some(('5', 200)),
            ),
            (
                "application/dtmf-relay; x=y",
                "signal = * \nduration: 90",
                Some(('*', 90)),
            ),
            ("Application/DTMF-Relay", "Duration=x\nSignal=11", Some(('#', 160))),
            ("application/dtmf", " d\r\n", Some(('D', 160))),
            (
                "application/dtmf-relay",
                "Signal=5\nDuration=99999999",
                Some(('5', 6000)),
            ),
            ("application/dtmf-relay", "Signal=16", None),
            ("application/dtmf-relay", "Signal=", None),
            ("application/dtmf", "55", None),
            ("application/dtmf", "", None),
            ("text/plain", "5", None),
        ] {
            assert_eq!(read(kind, text), key, "{kind} {text:?}");
        }
    }
}
