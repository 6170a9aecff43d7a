//! The proxies that want to see every request of a dialog (RFC 3261 sections 12.1 and 12.2.1.1).

use crate::draft::Headers;
use crate::header::NameAddr;
use crate::{Message, Name};

/// Route values in the order our requests carry them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteSet(Vec<Box<[u8]>>);

/// More proxies than this do not stand between two phones; a message that says so would only make ours too large.
const MAX_ROUTES: usize = 32;

impl RouteSet {
    /// The Record-Route of a request, in its order: for the side that was asked.
    #[must_use]
    pub fn of_request(request: &Message) -> RouteSet {
        RouteSet(
            request
                .values(Name::RecordRoute)
                .take(MAX_ROUTES)
                .map(Box::from)
                .collect(),
        )
    }

    /// The Record-Route of a response, backwards: for the side that asked.
    #[must_use]
    pub fn of_response(response: &Message) -> RouteSet {
        let RouteSet(mut routes) = RouteSet::of_request(response);
        routes.reverse();
        RouteSet(routes)
    }

    /// The values as a store kept them.
    #[must_use]
    pub fn restored(values: Vec<Vec<u8>>) -> RouteSet {
        RouteSet(values.into_iter().take(MAX_ROUTES).map(Vec::into_boxed_slice).collect())
    }

    /// The values in their order.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|value| &**value)
    }

    /// Adds Route headers and yields the Request-URI for a request to `target`. A first proxy that does not know loose
    /// routing finds itself in the Request-URI, and the target last in Route (section 12.2.1.1).
    #[must_use]
    pub fn apply<'a>(&'a self, target: &'a [u8], headers: &mut Headers) -> &'a [u8] {
        let mut routes = self.0.as_slice();
        let strict = routes
            .first()
            .and_then(|first| NameAddr::parse(first).ok())
            .filter(|first| !is_loose(first));
        if strict.is_some() {
            routes = &routes[1..];
        }
        for route in routes {
            headers.add(Name::Route, route);
        }
        match strict {
            None => target,
            Some(first) => {
                headers.add(Name::Route, [b"<", target, b">"].concat());
                first.uri_bytes
            }
        }
    }
}

fn is_loose(route: &NameAddr<'_>) -> bool {
    route.uri().is_ok_and(|uri| uri.is_loose())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(routes: &[&str]) -> (String, String) {
        let set = RouteSet(routes.iter().map(|r| r.as_bytes().into()).collect());
        let mut headers = Headers::new();
        let uri = set.apply(b"sip:b@host", &mut headers).to_vec();
        (
            String::from_utf8(uri).unwrap(),
            String::from_utf8(headers.as_bytes().to_vec()).unwrap(),
        )
    }

    #[test]
    fn loose_routes_leave_the_target_in_the_request_uri() {
        assert_eq!(applied(&[]), ("sip:b@host".into(), String::new()));
        let (uri, lines) = applied(&["<sip:p1;lr>", "<sip:p2>"]);
        assert_eq!(
            (uri.as_str(), lines.as_str()),
            ("sip:b@host", "Route: <sip:p1;lr>\r\nRoute: <sip:p2>\r\n")
        );
    }

    #[test]
    fn a_strict_first_route_changes_places_with_the_target() {
        let (uri, lines) = applied(&["<sip:p1>", "<sip:p2;lr>"]);
        assert_eq!(
            (uri.as_str(), lines.as_str()),
            ("sip:p1", "Route: <sip:p2;lr>\r\nRoute: <sip:b@host>\r\n")
        );
    }
}
