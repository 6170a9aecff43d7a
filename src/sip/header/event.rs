//! Event and Subscription-State (RFC 6665 section 8.2).

use super::{Invalid, Value, lex};

/// An event package with its `id`.
#[derive(Copy, Clone, Debug)]
pub struct Event<'a>(Value<'a>);

impl<'a> Event<'a> {
    /// Reads the value.
    pub fn parse(value: &'a [u8]) -> Result<Event<'a>, Invalid> {
        let value = Value::parse(value)?;
        if lex::token_len(value.value) != value.value.len() {
            return Err(Invalid("Event is not a token"));
        }
        Ok(Event(value))
    }

    /// `presence`, `message-summary`, `dialog`, with template packages: `presence.winfo`.
    #[must_use]
    pub fn package(&self) -> &'a [u8] {
        self.0.value
    }

    /// Tells apart subscriptions to one package in one dialog.
    #[must_use]
    pub fn id(&self) -> Option<&'a [u8]> {
        self.0.params.get("id")
    }

    /// All parameters.
    #[must_use]
    pub fn params(&self) -> super::Params<'a> {
        self.0.params
    }
}

/// How a subscription stands, in NOTIFY.
#[derive(Copy, Clone, Debug)]
pub struct SubscriptionState<'a>(Value<'a>);

impl<'a> SubscriptionState<'a> {
    /// Reads the value.
    pub fn parse(value: &'a [u8]) -> Result<SubscriptionState<'a>, Invalid> {
        Value::parse(value).map(SubscriptionState)
    }

    /// `active`, `pending`, `terminated` or an extension.
    #[must_use]
    pub fn state(&self) -> &'a [u8] {
        self.0.value
    }

    /// True for `terminated`.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.0.is("terminated")
    }

    /// Seconds left.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.0.params.get("expires").and_then(lex::seconds)
    }

    /// Why it ended.
    #[must_use]
    pub fn reason(&self) -> Option<&'a [u8]> {
        self.0.params.get("reason")
    }

    /// Seconds to wait before another try.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.0.params.get("retry-after").and_then(lex::seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_package_and_id() {
        let event = Event::parse(b"presence.winfo;id=7").unwrap();
        assert_eq!((event.package(), event.id()), (&b"presence.winfo"[..], Some(&b"7"[..])));
        assert!(Event::parse(b"a b").is_err());
    }

    #[test]
    fn reads_how_a_subscription_ended() {
        let state = SubscriptionState::parse(b"Terminated;reason=timeout;retry-after=30").unwrap();
        assert!(state.is_terminated());
        assert_eq!(
            (state.reason(), state.retry_after(), state.expires()),
            (Some(&b"timeout"[..]), Some(30), None)
        );
    }
}
