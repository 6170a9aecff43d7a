//! The kinds of value a setting can have, and how an operator writes them.

use crate::config_section::{At, Setting, did_you_mean};
use crate::config_toml::{Kind, Value};
use media::sdp::SrtpUse;
use net::rtp::Io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use switch::config::conference::Waiting;
use switch::config::groups::{Login, Strategy};
use switch::config::{Algorithm, Audience, Beyond, Copies, HoldMode, Network, Role, Silent};

fn expected<T>(what: &str, value: &Value) -> Result<T, String> {
    let found = match &value.kind {
        Kind::Text(text) => format!("{text:?}"),
        Kind::Integer(n) => n.to_string(),
        other => other.name().to_owned(),
    };
    Err(format!("expected {what}, found {found}"))
}

fn text_of(value: &Value) -> Option<&str> {
    match &value.kind {
        Kind::Text(text) => Some(text),
        _ => None,
    }
}

impl<T: Setting> Setting for At<T> {
    fn read(value: &Value) -> Result<At<T>, String> {
        let place = value.place.clone();
        T::read(value).map(|value| At { place, value })
    }
    fn shown(&self) -> String {
        self.value.shown()
    }
}

impl<T: Setting> Setting for Vec<T> {
    /// One item may be written without brackets.
    fn read(value: &Value) -> Result<Vec<T>, String> {
        match &value.kind {
            Kind::List(items) => items.iter().map(T::read).collect(),
            _ => T::read(value).map(|one| vec![one]),
        }
    }
    fn shown(&self) -> String {
        let items: Vec<_> = self.iter().map(T::shown).collect();
        format!("[{}]", items.join(", "))
    }
}

impl Setting for String {
    /// Control characters have no place in any text of ours: it ends up in headers and logs.
    fn read(value: &Value) -> Result<String, String> {
        match text_of(value) {
            Some(text) if text.chars().any(char::is_control) => Err("control characters are not allowed".to_owned()),
            Some(text) => Ok(text.to_owned()),
            None => expected("a text", value),
        }
    }
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl Setting for bool {
    fn read(value: &Value) -> Result<bool, String> {
        match value.kind {
            Kind::Boolean(b) => Ok(b),
            _ => expected("true or false", value),
        }
    }
    fn shown(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_number {
    ($($kind:ty),*) => {$(
        impl Setting for $kind {
            fn read(value: &Value) -> Result<$kind, String> {
                let number = match &value.kind {
                    Kind::Integer(n) => <$kind>::try_from(*n).ok(),
                    _ => None,
                };
                let what = || format!("a whole number from 0 to {}", <$kind>::MAX);
                number.map_or_else(|| expected(&what(), value), Ok)
            }
            fn shown(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
whole_number!(u16, u32, usize);

macro_rules! written_as {
    ($($kind:ty, $what:literal);*) => {$(
        impl Setting for $kind {
            fn read(value: &Value) -> Result<$kind, String> {
                let read = text_of(value).and_then(|text| text.parse().ok());
                read.map_or_else(|| expected($what, value), Ok)
            }
            fn shown(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
written_as!(
    IpAddr, "an IP address like \"127.0.0.1\"";
    Network, "a network like \"192.0.2.0/24\", or an address";
    SocketAddr, "an address and port like \"127.0.0.1:8080\""
);

impl Setting for PathBuf {
    fn read(value: &Value) -> Result<PathBuf, String> {
        match text_of(value) {
            Some(text) if !text.is_empty() && !text.contains('\0') => Ok(text.into()),
            _ => expected("a path", value),
        }
    }
    fn shown(&self) -> String {
        self.display().to_string()
    }
}

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

impl Setting for Duration {
    /// `500ms`, `8s`, `5m`, `1h`, `7d`.
    fn read(value: &Value) -> Result<Duration, String> {
        let split = |text: &str| {
            let at = text.find(|c: char| !c.is_ascii_digit())?;
            let (number, unit) = text.split_at(at);
            let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
            number
                .parse::<u64>()
                .ok()?
                .checked_mul(*millis)
                .map(Duration::from_millis)
        };
        let read = text_of(value).and_then(split);
        read.map_or_else(
            || {
                expected(
                    "a time with its unit, like \"500ms\", \"8s\", \"5m\", \"1h\" or \"7d\"",
                    value,
                )
            },
            Ok,
        )
    }
    fn shown(&self) -> String {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let (unit, size) = UNITS
            .iter()
            .rev()
            .find(|(_, size)| millis.is_multiple_of(*size))
            .unwrap_or(&UNITS[0]);
        format!("{}{unit}", millis / size)
    }
}

/// RTP ports, both ends included.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest, even: RTP takes the even port and RTCP the odd one above it.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl Setting for PortRange {
    fn read(value: &Value) -> Result<PortRange, String> {
        let split = |text: &str| {
            let (first, last) = text.split_once('-')?;
            Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
        };
        let Some((first, last)) = text_of(value).and_then(split) else {
            return expected("a range of ports like \"16384-32767\"", value);
        };
        let range = PortRange { first, last };
        range.wrong().map_or(Ok(range), Err)
    }
    fn shown(&self) -> String {
        format!("{}-{}", self.first, self.last)
    }
}

impl PortRange {
    fn wrong(self) -> Option<String> {
        let PortRange { first, last } = self;
        match () {
            () if first < 1024 => Some(format!(
                "{first} is a privileged port; RTP ports start at 1024 or above"
            )),
            () if first % 2 == 1 => Some(format!(
                "the first port must be even (RTP even, RTCP odd), found {first}"
            )),
            () if last < first.saturating_add(3) => {
                Some(format!("{first}-{last} does not hold one call: four ports are needed"))
            }
            () => None,
        }
    }
}

macro_rules! one_of {
    ($($kind:ty: $($name:literal => $value:expr),*;)*) => {$(
        impl Setting for $kind {
            fn read(value: &Value) -> Result<$kind, String> {
                const NAMES: &[&str] = &[$($name),*];
                match text_of(value) {
                    $(Some($name) => Ok($value),)*
                    Some(other) => {
                        let hint = did_you_mean(other, NAMES.iter().copied());
                        Err(format!("expected {}, found {other:?}{hint}", NAMES.join(" or ")))
                    }
                    None => expected(&NAMES.join(" or "), value),
                }
            }
            fn shown(&self) -> String {
                match self { $(known if *known == $value => $name.to_owned(),)* _ => String::new() }
            }
        }
    )*};
}
one_of! {
    Algorithm: "MD5" => Algorithm::Md5, "SHA-256" => Algorithm::Sha256;
    Role: "agent" => Role::Agent, "supervisor" => Role::Supervisor, "admin" => Role::Admin;
    Audience: "everyone" => Audience::Everyone, "supervisors" => Audience::Supervisors, "group" => Audience::Group, "nobody" => Audience::Nobody;
    Login: "command" => Login::Command, "registration" => Login::Registration;
    Strategy: "longest-idle" => Strategy::LongestIdle;
    Waiting: "music" => Waiting::Music, "silence" => Waiting::Silence;
    SrtpUse: "off" => SrtpUse::Off, "optional" => SrtpUse::Optional, "required" => SrtpUse::Required;
    HoldMode: "music" => HoldMode::Music, "silence" => HoldMode::Silence, "pass" => HoldMode::Pass;
    Silent: "mark" => Silent::Mark, "remove" => Silent::Remove;
    Beyond: "refuse" => Beyond::Refuse, "oldest" => Beyond::RemoveOldest;
    AskedOfClients: "off" => AskedOfClients::Off, "optional" => AskedOfClients::Optional, "required" => AskedOfClients::Required;
    Copies: "user" => Copies::User, "device" => Copies::Device;
    Io: "auto" => Io::Auto, "epoll" => Io::Epoll, "io_uring" => Io::Uring;
    LogFormat: "text" => LogFormat::Text, "json" => LogFormat::Json;
}

/// Whether those who connect with TLS are asked for a certificate.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum AskedOfClients {
    Off,
    Optional,
    Required,
}

/// Media types: `text/plain`, `text/*` or `*/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaRange(pub(crate) String);

impl Setting for MediaRange {
    fn read(value: &Value) -> Result<MediaRange, String> {
        let is_token = |part: &str| {
            let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
            part == "*" || !part.is_empty() && part.bytes().all(is_sign)
        };
        let parts = text_of(value).and_then(|text| text.split_once('/'));
        match parts {
            Some((group, kind)) if is_token(group) && is_token(kind) && (group != "*" || kind == "*") => {
                Ok(MediaRange(format!("{group}/{kind}").to_ascii_lowercase()))
            }
            _ => expected("a media type like \"text/plain\", \"text/*\" or \"*/*\"", value),
        }
    }
    fn shown(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// How log lines look.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For eyes.
    Text,
    /// For machines: one object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_toml::Place;

    fn read<T: Setting>(text: &str) -> Result<String, String> {
        let value = Value {
            place: Place::File("f".into()),
            kind: Kind::Text(text.to_owned()),
        };
        T::read(&value).map(|read| read.shown())
    }

    #[test]
    fn times_are_written_with_their_unit() {
        assert_eq!(read::<Duration>("500ms").unwrap(), "500ms");
        assert_eq!(read::<Duration>("120s").unwrap(), "2m");
        assert_eq!(read::<Duration>("7d").unwrap(), "7d");
        for wrong in ["8", "s", "8 weeks", "-1s", "99999999999999999999d", ""] {
            assert!(read::<Duration>(wrong).unwrap_err().contains("\"8s\""), "{wrong}");
        }
    }

    #[test]
    fn port_ranges_start_even_and_hold_a_call() {
        assert_eq!(read::<PortRange>("16384-32767").unwrap(), "16384-32767");
        assert!(read::<PortRange>("16385-32767").unwrap_err().contains("even"));
        assert!(read::<PortRange>("2000-2002").unwrap_err().contains("four ports"));
        assert!(read::<PortRange>("32767").unwrap_err().contains("16384-32767"));
        assert!(read::<PortRange>("80-90").unwrap_err().contains("privileged"));
        assert!(read::<PortRange>("20000-70000").unwrap_err().contains("16384-32767"));
    }

    #[test]
    fn names_come_with_a_suggestion() {
        assert_eq!(read::<Role>("admin").unwrap(), "admin");
        let wrong = read::<Role>("admni").unwrap_err();
        assert_eq!(
            wrong,
            "expected agent or supervisor or admin, found \"admni\" (did you mean `admin`?)"
        );
        assert!(read::<Algorithm>("md5").is_err());
    }

    #[test]
    fn texts_hold_no_control_characters() {
        assert!(read::<String>("a\r\nVia: x").is_err());
    }
}
