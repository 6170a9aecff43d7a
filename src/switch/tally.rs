//! What has happened since the start, as plain numbers.

use sip::Method;

/// Counters that only rise. Written where things happen, read by [`crate::Switch::counters`].
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// SIP messages and keep-alives that came in.
    pub(crate) packets_in: u64,
    /// SIP messages that went out.
    pub(crate) packets_out: u64,
    /// Requests by method, retransmissions included: [`METHODS`].
    pub(crate) requests: [u64; METHODS.len()],
    /// Responses sent by class, retransmissions included.
    pub(crate) responses: [u64; 6],
    /// Challenges sent.
    pub(crate) challenges: u64,
    /// Answers to challenges that were computed and compared.
    pub(crate) digests: u64,
    /// Wrong passwords, unknown users, replays: [`crate::auth`].
    pub(crate) auth_failures: u64,
    /// Requests refused unseen because of too many wrong answers before.
    pub(crate) auth_limited: u64,
    /// Security lines that a flood kept out of the log.
    pub(crate) security_lines_dropped: u64,
    /// Sources that were banned.
    pub(crate) bans: u64,
    /// Packets of those that were dropped.
    pub(crate) banned_dropped: u64,
    /// Packets dropped because too much came from their source.
    pub(crate) rate_dropped: u64,
    /// Requests of users who went too fast.
    pub(crate) users_limited: u64,
    /// Requests of tools that look for victims.
    pub(crate) scanners: u64,
    /// Requests refused for lack of room: 503.
    pub(crate) overloads: u64,
    /// Inputs dropped because too many waited for the store at start.
    pub(crate) held_dropped: u64,
    /// Bindings that ran out.
    pub(crate) bindings_expired: u64,
    /// Bindings that ended with their connection.
    pub(crate) flows_failed: u64,
    /// Messages taken by a device while their sender waited: 200.
    pub(crate) messages_delivered: u64,
    /// Messages on disk before their sender was told: 202.
    pub(crate) messages_stored: u64,
    /// Stored messages taken by a device later.
    pub(crate) messages_forwarded: u64,
    /// Messages whose sender was told that they cannot be had.
    pub(crate) messages_refused: u64,
    /// Stored messages given up for their age.
    pub(crate) messages_expired: u64,
    /// Stored messages dropped by an operator.
    pub(crate) messages_dropped: u64,
    /// Notifications to senders who asked what became of a message.
    pub(crate) receipts_told: u64,
    /// NOTIFYs begun; repetitions and those that end what ran out are not counted.
    pub(crate) notifies: u64,
    /// Subscriptions that the switch ended: rights or users that are gone, too many of one user.
    pub(crate) subscriptions_ended: u64,
    /// Store operations that failed.
    pub(crate) store_failures: u64,
    /// Panics recovered from.
    pub(crate) recoveries: u64,
}

/// The order of [`Tally::requests`].
pub(crate) const METHODS: [Method; 15] = [
    Method::Invite,
    Method::Ack,
    Method::Bye,
    Method::Cancel,
    Method::Options,
    Method::Register,
    Method::Message,
    Method::Subscribe,
    Method::Notify,
    Method::Publish,
    Method::Refer,
    Method::Info,
    Method::Prack,
    Method::Update,
    Method::Other,
];

impl Tally {
    /// Counts a request that came in.
    pub(crate) fn count_request(&mut self, method: Method) {
        self.requests[method as usize] += 1;
    }

    /// Counts what goes out by its first line.
    pub(crate) fn count_sent(&mut self, bytes: &[u8]) {
        self.packets_out += 1;
        if let Some(class @ b'1'..=b'6') = bytes.strip_prefix(b"SIP/2.0 ").and_then(<[u8]>::first) {
            self.responses[usize::from(class - b'1')] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_stand_in_the_order_of_the_enum() {
        for (place, &method) in METHODS.iter().enumerate() {
            assert_eq!(method as usize, place);
        }
    }

    #[test]
    fn counts_responses_by_class() {
        let mut tally = Tally::default();
        tally.count_sent(b"SIP/2.0 401 Unauthorized\r\n");
        tally.count_sent(b"NOTIFY sip:a@b SIP/2.0\r\n");
        assert_eq!((tally.packets_out, tally.responses), (2, [0, 0, 0, 1, 0, 0]));
    }
}
