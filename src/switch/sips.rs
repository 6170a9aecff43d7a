//! `sips` URIs: the promise of TLS on every hop (RFC 3261 sections 26.2.2 and 12.1.1, RFC 5630). Who asks for it over
//! anything else is refused before (`admission`).

use sip::uri::Scheme;
use sip::{Flow, Message, Name, Reply, Uri};

/// Whether a request asks for it: it may go on under TLS only.
#[must_use]
pub(crate) fn is_asked(request: &Message) -> bool {
    request.uri().is_ok_and(|uri| is_sips(&uri))
}

/// Whether the other side of a dialog has to be told a `sips` Contact: the Request-URI is one, or what the caller's requests
/// go to is.
#[must_use]
pub(crate) fn is_due(flow: Flow, request: &Message) -> bool {
    let way_back = match request.addresses(Name::RecordRoute).next() {
        Some(route) => Some(route),
        None => request.addresses(Name::Contact).next(),
    };
    let way_back = way_back.and_then(Result::ok);
    let is_sips_back = way_back.is_some_and(|address| address.uri().is_ok_and(|uri| is_sips(&uri)));
    flow.transport.is_secure() && (is_asked(request) || is_sips_back)
}

/// Whether this is a `sips` URI.
#[must_use]
pub(crate) fn is_sips(uri: &Uri<'_>) -> bool {
    uri.scheme() == Scheme::Sips
}

/// A Contact or Route of ours, `<sip:...>`, as a `sips` one: the transport says nothing more there.
#[must_use]
pub(crate) fn raised(contact: &str) -> String {
    let raised = contact.replacen("<sip:", "<sips:", 1);
    raised.replacen(";transport=tls", "", 1)
}

/// The answer where there is no way under TLS (RFC 5630 section 5.5).
#[must_use]
pub(crate) fn no_way() -> Reply {
    Reply::new(480).header(Name::Warning, "380 tandem \"SIPS Not Allowed\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_raised_once_and_keeps_what_is_not_its_scheme() {
        assert_eq!(
            raised("<sip:kate@192.0.2.1:5061;transport=tls>"),
            "<sips:kate@192.0.2.1:5061>"
        );
        assert_eq!(
            raised("<sip:192.0.2.1:7443;transport=ws>;isfocus"),
            "<sips:192.0.2.1:7443;transport=ws>;isfocus"
        );
    }
}
