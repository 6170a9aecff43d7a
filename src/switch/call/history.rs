//! The way of a call that was forwarded, as its last device is told it: Diversion (RFC 5806) and History-Info (RFC 7044).

use crate::core::aor_uri;
use model::Aor;
use sip::{Headers, Name};
use smallvec::SmallVec;

/// A user to whom a call has gone, and why it did not stay there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) user: Aor,
    /// `None`: it has stayed so far.
    pub(super) left: Option<Left>,
}

/// Why a call was forwarded.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Always,
    Busy,
    DoNotDisturb,
    NoAnswer,
    /// No device was there.
    Absent,
}

/// To whom a call has gone, in order.
pub(super) type Path = SmallVec<[Stop; 2]>;

impl Left {
    /// RFC 5806 section 4.
    fn reason(self) -> &'static str {
        match self {
            Left::Always => "unconditional",
            Left::Busy => "user-busy",
            Left::DoNotDisturb => "do-not-disturb",
            Left::NoAnswer => "no-answer",
            Left::Absent => "unavailable",
        }
    }

    /// RFC 4458 section 2.
    fn cause(self) -> u16 {
        match self {
            Left::Always => 302,
            Left::Busy | Left::DoNotDisturb => 486,
            Left::NoAnswer => 408,
            Left::Absent => 503,
        }
    }
}

/// What a device at `target` is told of the way; nothing if the call came to it at once.
#[must_use]
pub(super) fn told(path: &[Stop], target: &str) -> Headers {
    let mut headers = Headers::new();
    let left: SmallVec<[(&Aor, Left); 2]> = path.iter().filter_map(|stop| Some((&stop.user, stop.left?))).collect();
    if left.is_empty() {
        return headers;
    }
    // The last diversion stands first (RFC 5806 section 5).
    for (user, why) in left.iter().rev() {
        headers.add(
            Name::Diversion,
            format!("<{}>;reason={};counter=1", aor_uri(user), why.reason()),
        );
    }
    let (mut index, mut cause) = ("1".to_owned(), None);
    let hops = left.iter().map(|(user, why)| (aor_uri(user), Some(*why)));
    let entries: Vec<String> = hops
        .chain([(target.to_owned(), None)])
        .map(|(uri, why)| {
            let entry = match cause {
                Some(cause) => format!("<{uri};cause={cause}>;index={index};mp={}", &index[..index.len() - 2]),
                None => format!("<{uri}>;index={index}"),
            };
            index += ".1";
            cause = why.map(Left::cause);
            entry
        })
        .collect();
    headers.add(Name::HistoryInfo, entries.join(", "));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(user: &str, left: Option<Left>) -> Stop {
        Stop {
            user: Aor::new(user, "example.com"),
            left,
        }
    }

    #[test]
    fn a_call_that_came_at_once_has_no_history() {
        assert!(told(&[stop("1001", None)], "sip:1001@example.com").is_empty());
    }

    #[test]
    fn each_forward_is_told_with_its_reason() {
        let path = [
            stop("1001", Some(Left::Always)),
            stop("1002", Some(Left::Busy)),
            stop("1003", None),
        ];
        let headers = told(&path, "sip:1003@example.com");
        assert_eq!(
            String::from_utf8_lossy(headers.as_bytes()),
            "Diversion: <sip:1002@example.com>;reason=user-busy;counter=1\r\n\
             Diversion: <sip:1001@example.com>;reason=unconditional;counter=1\r\n\
             History-Info: <sip:1001@example.com>;index=1, <sip:1002@example.com;cause=302>;index=1.1;mp=1, \
             <sip:1003@example.com;cause=486>;index=1.1.1;mp=1.1\r\n"
        );
    }
}
