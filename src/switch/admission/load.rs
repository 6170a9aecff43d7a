//! How much of the new work is refused, second by second: told to peers who ask for it and send less then (RFC 7339).

use crate::core::Core;
use sip::Overload;

/// A value holds until the next one can be there.
const VALIDITY_MS: u32 = 1_500;

/// What has come in this second.
#[derive(Debug, Default)]
pub(crate) struct Load {
    second: i64,
    seen: u32,
    refused: u32,
}

/// Counts a request that would begin something. With the first of a second the share of the one before is told.
pub(super) fn note(core: &mut Core, is_refused: bool) {
    let at_ms = core.moment().0;
    let load = &mut core.load;
    let second = at_ms.div_euclid(1_000);
    if load.second != second {
        let percent = u64::from(load.refused) * 100 / u64::from(load.seen.max(1));
        let overload = Overload {
            percent: u8::try_from(percent).unwrap_or(100),
            validity_ms: if percent > 0 { VALIDITY_MS } else { 0 },
            at_ms: u64::try_from(at_ms).unwrap_or(0),
        };
        *load = Load {
            second,
            ..Load::default()
        };
        core.endpoint.tell_overload(overload);
    }
    core.load.seen = core.load.seen.saturating_add(1);
    core.load.refused = core.load.refused.saturating_add(u32::from(is_refused));
}
