//! Closed sets as the words that stand in the database; the same as in JSON.

use model::{Direction, EndReason, EndedBy, Purpose, Transport, Willing};
use rusqlite::types::{FromSqlError, FromSqlResult};

/// A set whose members have names.
pub(super) trait Named: Copy + 'static {
    /// How it is written.
    fn name(self) -> &'static str;
    /// Reads what `name` wrote.
    fn from_name(name: &str) -> FromSqlResult<Self>;
}

macro_rules! names {
    ($type:ident { $($member:ident = $name:literal),+ $(,)? }) => {
        impl Named for $type {
            fn name(self) -> &'static str {
                match self {
                    $($type::$member => $name,)+
                }
            }

            fn from_name(name: &str) -> FromSqlResult<$type> {
                match name {
                    $($name => Ok($type::$member),)+
                    other => Err(FromSqlError::Other(format!("{other:?} is no {}", stringify!($type)).into())),
                }
            }
        }

        #[cfg(test)]
        impl tests::All for $type {
            const ALL: &'static [$type] = &[$($type::$member),+];
        }
    };
}

names!(Transport { Udp = "udp", Tcp = "tcp", Tls = "tls", Ws = "ws", Wss = "wss" });
names!(Direction { In = "in", Out = "out" });
names!(EndedBy { Peer = "peer", Other = "other", Switch = "switch" });
names!(Purpose {
    Consult = "consult",
    Transfer = "transfer",
    Join = "join",
    Supervise = "supervise",
    TakeOver = "take-over",
});
names!(Willing { LoggedOff = "logged-off", NotReady = "not-ready", Ready = "ready" });
names!(EndReason {
    Normal = "normal",
    Cancelled = "cancelled",
    Busy = "busy",
    NoAnswer = "no-answer",
    Declined = "declined",
    Unreachable = "unreachable",
    AnsweredElsewhere = "answered-elsewhere",
    MediaTimeout = "media-timeout",
    SignallingTimeout = "signalling-timeout",
    NoCommonCodec = "no-common-codec",
    Loop = "loop",
    Congestion = "congestion",
    Operator = "operator",
    Shutdown = "shutdown",
    Restart = "restart",
    Internal = "internal",
});

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) trait All: Named {
        const ALL: &'static [Self];
    }

    fn check<T: All + PartialEq + std::fmt::Debug + serde::Serialize>() {
        for &member in T::ALL {
            assert_eq!(T::from_name(member.name()).unwrap(), member);
            assert_eq!(serde_json::to_value(member).unwrap(), member.name());
        }
        assert!(T::from_name("").is_err());
    }

    #[test]
    fn every_member_is_read_back_and_named_as_in_json() {
        check::<Transport>();
        check::<Direction>();
        check::<EndedBy>();
        check::<EndReason>();
        check::<Purpose>();
        check::<Willing>();
    }
}
