//! Header field names: known ones as an enum, compact forms folded in, the rest by their text.

macro_rules! names {
    ($($variant:ident $text:literal $($compact:literal)?,)*) => {
        /// A header field name. Compared without case; compact forms (RFC 3261 section 7.3.3) are the same name.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // the names are the headers
        pub enum Name { $($variant,)* Other }

        impl Name {
            /// How many known names there are.
            pub const COUNT: usize = Name::Other as usize;

            /// The long form as the RFCs write it; empty for [`Name::Other`], whose text is in the message.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Name::$variant => $text,)* Name::Other => "" }
            }

            /// All known names with their long and, where there is one, compact form.
            pub const KNOWN: &'static [(Name, &'static str, Option<&'static str>)] =
                &[$((Name::$variant, $text, names!(@c $($compact)?)),)*];
        }
    };
    (@c $c:literal) => { Some($c) };
    (@c) => { None };
}

names! {
    Via "Via" "v",
    From "From" "f",
    To "To" "t",
    CallId "Call-ID" "i",
    CSeq "CSeq",
    MaxForwards "Max-Forwards",
    Contact "Contact" "m",
    ContentLength "Content-Length" "l",
    ContentType "Content-Type" "c",
    ContentEncoding "Content-Encoding" "e",
    ContentDisposition "Content-Disposition",
    ContentLanguage "Content-Language",
    Route "Route",
    RecordRoute "Record-Route",
    Path "Path",
    ServiceRoute "Service-Route",
    Authorization "Authorization",
    ProxyAuthorization "Proxy-Authorization",
    WwwAuthenticate "WWW-Authenticate",
    ProxyAuthenticate "Proxy-Authenticate",
    AuthenticationInfo "Authentication-Info",
    Expires "Expires",
    MinExpires "Min-Expires",
    Allow "Allow",
    AllowEvents "Allow-Events" "u",
    Accept "Accept",
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    Supported "Supported" "k",
    Require "Require",
    ProxyRequire "Proxy-Require",
    Unsupported "Unsupported",
    UserAgent "User-Agent",
    Server "Server",
    Date "Date",
    Timestamp "Timestamp",
    Subject "Subject" "s",
    Priority "Priority",
    Organization "Organization",
    Warning "Warning",
    RetryAfter "Retry-After",
    Reason "Reason",
    Event "Event" "o",
    SubscriptionState "Subscription-State",
    SipEtag "SIP-ETag",
    SipIfMatch "SIP-If-Match",
    ReferTo "Refer-To" "r",
    ReferredBy "Referred-By" "b",
    ReferSub "Refer-Sub",
    Replaces "Replaces",
    Join "Join",
    RSeq "RSeq",
    RAck "RAck",
    SessionExpires "Session-Expires" "x",
    MinSe "Min-SE",
    PAssertedIdentity "P-Asserted-Identity",
    PPreferredIdentity "P-Preferred-Identity",
    RemotePartyId "Remote-Party-ID",
    Privacy "Privacy",
    Diversion "Diversion",
    HistoryInfo "History-Info",
    AlertInfo "Alert-Info",
    CallInfo "Call-Info",
    AnswerMode "Answer-Mode",
    MaxBreadth "Max-Breadth",
    FlowTimer "Flow-Timer",
    RequestDisposition "Request-Disposition" "d",
    AcceptContact "Accept-Contact" "a",
    RejectContact "Reject-Contact" "j",
    Identity "Identity" "y",
    InReplyTo "In-Reply-To",
    MimeVersion "MIME-Version",
    InfoPackage "Info-Package",
    RecvInfo "Recv-Info",
}

impl Name {
    /// Reads a header name, long or compact, in any case; [`Name::Other`] for every other token. One probe of a perfect
    /// hash and one comparison, whatever the name.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Name {
        if text.is_empty() || text.len() > LONGEST {
            return Name::Other;
        }
        let ends = ends(text);
        let Some(known) = TEXTS.get(SLOTS[slot(ends, text.len(), MULTIPLIER)] as usize) else {
            return Name::Other;
        };
        // Nearly everyone writes names as the RFCs do, and most names are their two ends.
        let exact = known.ends.0 == ends.0 && known.ends.1 == ends.1 && known.text.len() == text.len();
        if exact && text.len() <= 16 || known.text.as_bytes().eq_ignore_ascii_case(text) {
            known.name
        } else {
            Name::Other
        }
    }

    /// Headers whose value is a comma-separated list, so that several lines and one joined line mean the same
    /// (RFC 3261 section 7.3.1). The authentication headers use commas for their own parameters and are not lists.
    #[must_use]
    pub fn is_list(self) -> bool {
        use Name::*;
        matches!(
            self,
            Via | Contact
                | Route
                | RecordRoute
                | Path
                | ServiceRoute
                | Allow
                | AllowEvents
                | Accept
                | AcceptEncoding
                | AcceptLanguage
                | Supported
                | Require
                | ProxyRequire
                | Unsupported
                | ContentEncoding
                | ContentLanguage
                | Warning
                | Reason
                | PAssertedIdentity
                | PPreferredIdentity
                | RemotePartyId
                | Diversion
                | HistoryInfo
                | AlertInfo
                | CallInfo
                | InReplyTo
                | RequestDisposition
                | AcceptContact
                | RejectContact
                | RecvInfo
        )
    }
}

#[derive(Copy, Clone)]
struct Text {
    name: Name,
    text: &'static str,
    ends: (u64, u64),
}

/// The first and the last eight bytes, which overlap in names of less than sixteen; padded if there are less than eight.
const fn ends(text: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return (u32::from_le_bytes(*first) as u64, u32::from_le_bytes(*last) as u64);
    }
    let last = text.len() - 1;
    (text[0] as u64 | (text[last / 2] as u64) << 8, text[last] as u64)
}

/// Every text, long and compact, one after the other.
static TEXTS: [Text; TEXT_COUNT] = KNOWN_TEXTS;

const KNOWN_TEXTS: [Text; TEXT_COUNT] = {
    let mut texts = [Text {
        name: Name::Other,
        text: "",
        ends: (0, 0),
    }; TEXT_COUNT];
    let (mut i, mut n) = (0, 0);
    while i < Name::KNOWN.len() {
        let (name, long, compact) = Name::KNOWN[i];
        texts[n] = Text {
            name,
            text: long,
            ends: ends(long.as_bytes()),
        };
        n += 1;
        if let Some(short) = compact {
            texts[n] = Text {
                name,
                text: short,
                ends: ends(short.as_bytes()),
            };
            n += 1;
        }
        i += 1;
    }
    texts
};

const TEXT_COUNT: usize = {
    let (mut i, mut n) = (0, 0);
    while i < Name::KNOWN.len() {
        n += if Name::KNOWN[i].2.is_some() { 2 } else { 1 };
        i += 1;
    }
    n
};

const LONGEST: usize = {
    let (mut i, mut longest) = (0, 0);
    while i < TEXT_COUNT {
        if KNOWN_TEXTS[i].text.len() > longest {
            longest = KNOWN_TEXTS[i].text.len();
        }
        i += 1;
    }
    longest
};

/// Ten bits: with some ninety texts a multiplier without collisions is found in a few dozen tries, by the compiler.
const SLOT_BITS: u32 = 10;
const EMPTY: u8 = u8::MAX;

/// Length and both ends with the case bit set tell all known names apart; `find_multiplier` would not end otherwise.
const fn slot(ends: (u64, u64), len: usize, multiplier: u64) -> usize {
    const CASE: u64 = 0x2020_2020_2020_2020;
    let key = (ends.0 | CASE) ^ (ends.1 | CASE).rotate_left(23) ^ len as u64;
    (key.wrapping_mul(multiplier) >> (64 - SLOT_BITS)) as usize
}

const fn fill(multiplier: u64) -> Option<[u8; 1 << SLOT_BITS]> {
    let mut slots = [EMPTY; 1 << SLOT_BITS];
    let mut i = 0;
    while i < TEXT_COUNT {
        let at = slot(KNOWN_TEXTS[i].ends, KNOWN_TEXTS[i].text.len(), multiplier);
        if slots[at] != EMPTY {
            return None;
        }
        slots[at] = i as u8;
        i += 1;
    }
    Some(slots)
}

const fn find_multiplier() -> u64 {
    let mut multiplier = 0x9e37_79b9_7f4a_7c15u64;
    while fill(multiplier).is_none() {
        multiplier = multiplier.wrapping_mul(0x5851_f42d_4c95_7f2d) | 1;
    }
    multiplier
}

const MULTIPLIER: u64 = find_multiplier();

static SLOTS: [u8; 1 << SLOT_BITS] = match fill(MULTIPLIER) {
    Some(slots) => slots,
    None => panic!("the multiplier was chosen because it fills"),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_every_name_in_any_case_and_its_compact_form() {
        for &(name, long, compact) in Name::KNOWN {
            for text in [Some(long), compact].into_iter().flatten() {
                assert_eq!(Name::from_bytes(text.as_bytes()), name);
                assert_eq!(Name::from_bytes(text.to_ascii_uppercase().as_bytes()), name);
                assert_eq!(Name::from_bytes(text.to_ascii_lowercase().as_bytes()), name);
            }
        }
    }

    #[test]
    fn a_name_with_anything_added_is_another_name() {
        for text in [
            "",
            "Contact ",
            "Contact\x01",
            "\x01Contact",
            "C%6Fntact",
            "Q",
            "Vi",
            "Viaa",
            "Call\rID",
        ] {
            assert_eq!(Name::from_bytes(text.as_bytes()), Name::Other, "{text:?}");
        }
    }
}
