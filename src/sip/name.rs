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
