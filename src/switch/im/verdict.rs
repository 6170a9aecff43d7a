//! What a device's final answer to a MESSAGE means.

use sip::header::RetryAfter;
use sip::{Message, Name, Reply};
use std::time::Duration;

/// What a device did with a message.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It took it.
    Took,
    /// It is there and does not want it.
    Refused(Refusal),
    /// It says that it cannot do anything now, or is not the one we mean: the message may come again, after this time if
    /// it named one.
    Unable(u16, Option<Duration>),
    /// It says nothing.
    Absent,
}

/// A device's no, and what the sender is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Of a 415: what it would take.
    accept: Option<Box<str>>,
}

/// Reads a final response. A challenge is not answered (S8), a redirection not followed (S7), and 403, 404, 481 and the like
/// concern our way to the device, not the message: in all these cases the device is unable.
#[must_use]
pub(super) fn of(response: &Message) -> Verdict {
    match response.status() {
        200..=299 => Verdict::Took,
        status @ (400 | 402 | 405 | 406 | 411..=416 | 420 | 421 | 485 | 486 | 488 | 489 | 493 | 501 | 505 | 513) => {
            Verdict::Refused(Refusal {
                status,
                accept: accept(response),
            })
        }
        status @ 600..=699 => Verdict::Refused(Refusal { status, accept: None }),
        status => Verdict::Unable(status, retry_after(response)),
    }
}

/// RFC 3261 section 20.33.
fn retry_after(response: &Message) -> Option<Duration> {
    let value = RetryAfter::parse(response.header(Name::RetryAfter)?).ok()?;
    Some(Duration::from_secs(value.seconds.into()))
}

fn accept(response: &Message) -> Option<Box<str>> {
    let mut values = response
        .values(Name::Accept)
        .filter_map(|value| std::str::from_utf8(value).ok())
        .take(16);
    let first = values.next()?.to_owned();
    Some(values.fold(first, |all, next| all + ", " + next).into())
}

impl Refusal {
    /// The body was not to its taste, rather than the message or the moment.
    #[must_use]
    pub(super) fn is_of_body(&self) -> bool {
        matches!(self.status, 400 | 406 | 415 | 488 | 501)
    }

    /// True if the same message will be refused again: its kind, size or the method itself does not suit.
    #[must_use]
    pub(super) fn is_for_good(&self) -> bool {
        !matches!(self.status, 486 | 600 | 603)
    }

    /// The better one for the sender (RFC 3261 section 16.7 step 6): a 6xx, else what the sender can do something about,
    /// else the first.
    #[must_use]
    pub(super) fn better(self, other: Refusal) -> Refusal {
        if other.rank() < self.rank() { other } else { self }
    }

    fn rank(&self) -> u16 {
        match self.status {
            600..=699 => 0,
            486 => 1,
            413 | 415 | 420 | 488 => 2,
            status => status,
        }
    }

    /// What the sender is told.
    #[must_use]
    pub(super) fn reply(&self) -> Reply {
        let reply = Reply::new(self.status);
        match self.status {
            415 => reply.header(Name::Accept, self.accept.as_deref().unwrap_or("text/plain")),
            405 => reply.header(Name::Allow, "INVITE, ACK, BYE, CANCEL, OPTIONS"),
            _ => reply,
        }
    }
}
