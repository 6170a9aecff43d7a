//! What log watchers act on: one line for each event, always of the same form (docs/operations.md).
//!
//! ```text
//! SECURITY event=auth-failed ip=192.0.2.7 transport=UDP account="1000" method=REGISTER call_id="..."
//! SECURITY event=banned ip=192.0.2.7 why=auth-failed for_s=600
//! ```

use crate::core::Core;
use crate::text::loggable;
use clock::Now;
use sip::{Flow, Message};
use std::net::IpAddr;
use std::time::Duration;

/// Lines a second: enough for a watcher to act on, too few for a flood to fill the disk.
const MAX_LINES: u32 = 100;

/// How many lines were written in this second.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    second: u64,
    written: u32,
}

impl Lines {
    fn may_write(&mut self, now: Now) -> bool {
        let second = now.mono.millis() / 1_000;
        if self.second != second {
            (self.second, self.written) = (second, 0);
        }
        self.written += 1;
        self.written <= MAX_LINES
    }
}

/// A line about a request. `account` is what it says of itself.
pub(crate) fn event(core: &mut Core, now: Now, event: &str, flow: Flow, account: &[u8], request: &Message) {
    let account = loggable(account);
    let (method, call_id) = (loggable(request.method_bytes()), loggable(request.call_id()));
    let more = format!(" account=\"{account}\" method={method} call_id=\"{call_id}\"");
    line(core, now, event, &flow, &more);
}

/// A line about a flow. What peers chose in `more` stands in quotes.
pub(crate) fn line(core: &mut Core, now: Now, event: &str, flow: &Flow, more: &str) {
    if may_write(core, now) {
        let (ip, transport) = (flow.peer.ip().to_canonical(), flow.transport.as_str());
        tracing::warn!(target: "security", "SECURITY event={event} ip={ip} transport={transport}{more}");
    }
}

/// Somebody is not listened to from now on.
pub(crate) fn banned(core: &mut Core, now: Now, address: IpAddr, why: &str, time: Duration) {
    if may_write(core, now) {
        let ip = address.to_canonical();
        tracing::warn!(target: "security", "SECURITY event=banned ip={ip} why={why} for_s={}", time.as_secs());
    }
}

fn may_write(core: &mut Core, now: Now) -> bool {
    let may = core.security_lines.may_write(now);
    core.tally.security_lines_dropped += u64::from(!may);
    may
}
