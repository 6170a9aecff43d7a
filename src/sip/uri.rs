//! SIP URIs (RFC 3261 section 19.1) as spans of what was received.

/// A parsed `sip:`, `sips:` or `tel:` URI; other schemes are `opaque`.
#[derive(Clone, Debug)]
pub struct Uri<'a>(&'a [u8]);
