//! Dialogs (RFC 3261 section 12): what two user agents know of each other between requests.

mod id;
mod route_set;

pub use id::DialogId;
pub use route_set::RouteSet;

use crate::draft::{Draft, Headers, Tag};
use crate::endpoint::{Alternative, Destination};
use crate::header::NameAddr;
use crate::locate::Service;
use crate::{Flow, Message, Method, Name, Transport, Uri};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// One dialog, seen from our side.
#[derive(Clone, Debug)]
pub struct Dialog {
    id: DialogId,
    /// From of our requests, with our tag.
    local: Vec<u8>,
    /// To of our requests, with their tag.
    remote: Vec<u8>,
    routes: RouteSet,
    /// Request-URI of our requests: their Contact.
    target: Vec<u8>,
    local_cseq: u32,
    /// Of their last request; none while they have sent none.
    remote_cseq: Option<u32>,
    /// Made by a request to a sips URI over TLS (section 12.1.1): its requests must be as secure.
    secure: bool,
    flow: Flow,
    /// [`Dialog::heed_names`].
    heeds_names: bool,
}

/// A dialog as a store keeps it: texts as they stand in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Call-ID.
    pub call_id: Vec<u8>,
    /// Their tag.
    pub remote_tag: Vec<u8>,
    /// From of our requests.
    pub local: Vec<u8>,
    /// To of our requests.
    pub remote: Vec<u8>,
    /// Route values of our requests, in their order.
    pub routes: Vec<Vec<u8>>,
    /// Request-URI of our requests.
    pub target: Vec<u8>,
    /// CSeq of our last request.
    pub local_cseq: u32,
    /// CSeq of their last request.
    pub remote_cseq: u32,
    /// Its requests must travel over TLS.
    pub secure: bool,
    /// Where the other side was last heard.
    pub flow: Flow,
}

/// Whether a request inside a dialog comes in its order (section 12.2.2).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Higher than all before it.
    Next,
    /// Not higher: 500.
    Late,
}

impl Dialog {
    /// The dialog that our response to `request` makes (section 12.1.1).
    #[must_use]
    pub fn as_callee(flow: Flow, request: &Message, local: Tag) -> Dialog {
        let header = |name| request.header(name).unwrap_or_default().to_vec();
        let sips = request
            .uri()
            .is_ok_and(|uri| uri.scheme_bytes().eq_ignore_ascii_case(b"sips"));
        let caller = request.from().map(|from| from.uri_bytes.to_vec());
        Dialog {
            id: DialogId::new(request.call_id(), local, request.from_tag()),
            local: with_tag(&header(Name::To), local),
            remote: header(Name::From),
            routes: RouteSet::of_request(request),
            // Without Contact the request is broken, but its sender can still be reached where it came from.
            target: contact(request).or(caller.ok()).unwrap_or_default(),
            local_cseq: 0,
            remote_cseq: Some(request.cseq()),
            secure: sips && flow.transport.is_secure(),
            flow,
            heeds_names: false,
        }
    }

    /// The dialog that a response to our request `from` us makes (section 12.1.2). `target` is the request's Request-URI,
    /// for a response without Contact.
    #[must_use]
    pub fn as_caller(flow: Flow, response: &Message, from: &[u8], local: Tag, target: &[u8]) -> Dialog {
        Dialog {
            id: DialogId::new(response.call_id(), local, response.to_tag()),
            local: from.to_vec(),
            remote: response.header(Name::To).unwrap_or_default().to_vec(),
            routes: RouteSet::of_response(response),
            target: contact(response).unwrap_or_else(|| target.to_vec()),
            local_cseq: response.cseq(),
            remote_cseq: None,
            secure: target.len() > 5 && target[..5].eq_ignore_ascii_case(b"sips:") && flow.transport.is_secure(),
            flow,
            heeds_names: false,
        }
    }

    /// The dialog that a request of theirs makes in answer to ours: the NOTIFY that comes before the 200 to its SUBSCRIBE
    /// (RFC 6665 section 4.4.1). `local_cseq` is that of our request.
    #[must_use]
    pub fn as_notified(flow: Flow, notify: &Message, local: Tag, local_cseq: u32) -> Dialog {
        // The NOTIFY is yet to be received in it.
        let remote_cseq = None;
        Dialog {
            local_cseq,
            remote_cseq,
            ..Dialog::as_callee(flow, notify, local)
        }
    }

    /// What a store has to keep of it.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept {
            call_id: self.id.call_id().to_vec(),
            remote_tag: self.id.remote().to_vec(),
            local: self.local.clone(),
            remote: self.remote.clone(),
            routes: self.routes.values().map(<[u8]>::to_vec).collect(),
            target: self.target.clone(),
            local_cseq: self.local_cseq,
            remote_cseq: self.remote_cseq.unwrap_or(0),
            secure: self.secure,
            flow: self.flow,
        }
    }

    /// The dialog of before a restart; our next CSeq is `skip` higher than it would have been.
    #[must_use]
    pub fn restored(local: Tag, kept: Kept, skip: u32) -> Dialog {
        Dialog {
            id: DialogId::new(&kept.call_id, local, &kept.remote_tag),
            local: kept.local,
            remote: kept.remote,
            routes: RouteSet::restored(kept.routes),
            target: kept.target,
            // CSeq stays below 2^31 (RFC 3261 section 8.1.1.5).
            local_cseq: kept.local_cseq.saturating_add(skip) & (u32::MAX >> 1),
            remote_cseq: Some(kept.remote_cseq),
            secure: kept.secure,
            flow: kept.flow,
            heeds_names: false,
        }
    }

    /// The 2xx that confirms an early dialog says once more how to route (section 13.2.2.4).
    pub fn confirm(&mut self, flow: Flow, response: &Message) {
        self.routes = RouteSet::of_response(response);
        self.refresh_target(response);
        self.flow = flow;
    }

    /// Call-ID and tags.
    #[must_use]
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// True if a request that came in has this dialog's Call-ID and tags.
    #[must_use]
    pub fn has(&self, request: &Message) -> bool {
        self.id.is_of(request.call_id(), request.to_tag(), request.from_tag())
    }

    /// True if `flow` is the one this dialog lives on: the same connection, or the same pair of addresses.
    #[must_use]
    pub fn is_on(&self, flow: Flow) -> bool {
        let same = self.flow.transport == flow.transport && self.flow.peer == flow.peer;
        same && self.flow.connection == flow.connection
    }

    /// The flow the other side was last heard on.
    #[must_use]
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// The other side has moved.
    pub fn set_flow(&mut self, flow: Flow) {
        self.flow = flow;
    }

    /// The other side is trusted to say by name where its requests go: a carrier, not a phone.
    pub fn heed_names(&mut self) {
        self.heeds_names = true;
    }

    /// Where requests go: on the flow, which is right behind NATs and wherever proxies record their route. Where the other
    /// side is trusted with that, to the servers of a name in the first route or the target (RFC 3263), that one first which
    /// was heard last.
    #[must_use]
    pub fn destination(&self) -> Destination {
        let flow = Destination::Flow(self.flow);
        match self.service(None).filter(|_| self.heeds_names) {
            Some(named) => Destination::AnyOf([named, flow].map(Alternative::as_written).into()),
            None => flow,
        }
    }

    /// Where requests go once the stream of the flow is gone: a new one to the first route or the target, at the host where
    /// the other side was; nobody sends us to third parties (S25). `None`: nobody listens there.
    #[must_use]
    pub fn destination_anew(&self) -> Option<Destination> {
        let Flow {
            transport, local, peer, ..
        } = self.flow;
        if !matches!(transport, Transport::Tcp | Transport::Tls) {
            return None;
        }
        // Such a Contact is reached by its flow alone (RFC 5626 section 4.3).
        let hop = self.next_hop().filter(|hop| hop.param("ob").is_none())?;
        let Some(ip) = hop.ip() else {
            return self.service(Some(peer.ip()));
        };
        let usual = if transport == Transport::Tls { 5061 } else { 5060 };
        let peer = (ip == peer.ip()).then(|| SocketAddr::new(ip, hop.port().unwrap_or(usual)))?;
        Some(Destination::Address { transport, local, peer })
    }

    /// The next hop, if it is a name.
    fn service(&self, only: Option<IpAddr>) -> Option<Destination> {
        let service = Service::of(&self.next_hop()?).filter(|service| service.ip().is_none())?;
        Some(Destination::Service {
            service: Arc::new(service),
            local: self.flow.local,
            only,
        })
    }

    /// The URI that says where requests go (section 8.1.2): the first route, or the target.
    fn next_hop(&self) -> Option<Uri<'_>> {
        match self.routes.values().next() {
            Some(route) => NameAddr::parse(route).ok()?.uri().ok(),
            None => Uri::parse(&self.target).ok(),
        }
    }

    /// Their URI: Request-URI of our requests.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        &self.target
    }

    /// Whether its requests must travel over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// CSeq of our last request.
    #[must_use]
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Takes note of the CSeq of a request of theirs.
    pub fn receive(&mut self, request: &Message) -> Order {
        if self.remote_cseq.is_some_and(|last| request.cseq() <= last) {
            return Order::Late;
        }
        self.remote_cseq = Some(request.cseq());
        Order::Next
    }

    /// A target refresh: re-INVITE, UPDATE, SUBSCRIBE, NOTIFY, REFER, or a 2xx to one of ours (section 12.2).
    pub fn refresh_target(&mut self, message: &Message) {
        if let Some(target) = contact(message) {
            self.target = target;
        }
    }

    /// The next request of ours, with Route, From, To, Call-ID and CSeq (section 12.2.1.1).
    #[must_use]
    pub fn request(&mut self, method: Method) -> Draft {
        self.local_cseq += 1;
        self.draft(method, self.local_cseq)
    }

    /// The ACK to a 2xx: the CSeq number of its INVITE (section 13.2.2.4).
    #[must_use]
    pub fn ack(&self, cseq: u32) -> Draft {
        self.draft(Method::Ack, cseq)
    }

    fn draft(&self, method: Method, cseq: u32) -> Draft {
        let mut headers = Headers::new();
        let uri = self.routes.apply(&self.target, &mut headers);
        headers.add(Name::MaxForwards, "70");
        headers.add(Name::From, &self.local);
        headers.add(Name::To, &self.remote);
        headers.add(Name::CallId, self.id.call_id());
        headers.add(Name::CSeq, format!("{cseq} {}", method.as_str()));
        Draft {
            method,
            uri: uri.to_vec(),
            headers,
            body: None,
        }
    }
}

fn with_tag(address: &[u8], tag: Tag) -> Vec<u8> {
    let mut text = address.to_vec();
    let tagged = crate::header::NameAddr::parse(address).is_ok_and(|a| !a.tag().is_empty());
    if !tagged {
        text.extend_from_slice(format!(";tag={tag}").as_bytes());
    }
    text
}

fn contact(message: &Message) -> Option<Vec<u8>> {
    let contact = message.addresses(Name::Contact).next()?.ok()?;
    contact.uri().ok().map(|uri| uri.without_headers().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transport;
    use bytes::Bytes;

    fn flow() -> Flow {
        let address = |text: &str| text.parse().unwrap();
        Flow {
            transport: Transport::Udp,
            local: address("192.0.2.1:5060"),
            peer: address("198.51.100.9:5060"),
            connection: 0,
        }
    }

    fn message(start: &str, more: &str) -> Message {
        Message::parse(Bytes::from(format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: \"A\" <sip:a@example.com>;tag=their\r\n\
             To: <sip:b@example.com>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
        )))
        .unwrap()
    }

    fn invite() -> Message {
        let routes = "Record-Route: <sip:p2.example.com;lr>\r\nRecord-Route: <sip:p1.example.com;lr>\r\n";
        message(
            "INVITE sip:b@example.com SIP/2.0",
            &format!("Contact: <sip:a@198.51.100.9:5070>\r\n{routes}"),
        )
    }

    fn values(draft: &Draft, name: &str) -> Vec<String> {
        let text = String::from_utf8(draft.headers.as_bytes().to_vec()).unwrap();
        let prefix = format!("{name}: ");
        text.lines()
            .filter_map(|l| l.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_callee_turns_round_parties_and_keeps_the_order_of_routes() {
        let mut dialog = Dialog::as_callee(flow(), &invite(), Tag(1));
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri, b"sip:a@198.51.100.9:5070");
        assert_eq!(
            values(&bye, "Route"),
            ["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>"]
        );
        assert_eq!(values(&bye, "From"), ["<sip:b@example.com>;tag=0000000000000001"]);
        assert_eq!(values(&bye, "To"), ["\"A\" <sip:a@example.com>;tag=their"]);
        assert_eq!(values(&bye, "CSeq"), ["1 BYE"]);
    }

    #[test]
    fn the_caller_takes_the_routes_backwards_and_counts_on() {
        let routes =
            "Contact: <sip:b@203.0.113.5>\r\nRecord-Route: <sip:p2.example.com;lr>, <sip:p1.example.com;lr>\r\n";
        let ok = message("SIP/2.0 200 OK", routes);
        let mut dialog = Dialog::as_caller(flow(), &ok, b"<sip:a@example.com>;tag=1", Tag(1), b"sip:b@example.com");
        let ack = dialog.ack(7);
        assert_eq!(ack.uri, b"sip:b@203.0.113.5");
        assert_eq!(
            values(&ack, "Route"),
            ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]
        );
        assert_eq!(values(&ack, "CSeq"), ["7 ACK"]);
        assert_eq!(values(&dialog.request(Method::Bye), "CSeq"), ["8 BYE"]);
    }

    #[test]
    fn requests_come_in_order_or_late() {
        let mut dialog = Dialog::as_callee(flow(), &invite(), Tag(1));
        let request = |cseq: u32| {
            let text = String::from_utf8(invite().bytes().to_vec()).unwrap();
            Message::parse(Bytes::from(text.replace("CSeq: 7", &format!("CSeq: {cseq}")))).unwrap()
        };
        assert_eq!(dialog.receive(&request(7)), Order::Late);
        assert_eq!(dialog.receive(&request(9)), Order::Next);
        assert_eq!(dialog.receive(&request(8)), Order::Late);
        assert_eq!(dialog.receive(&request(10)), Order::Next);
    }

    #[test]
    fn a_target_refresh_moves_the_target_and_leaves_the_routes() {
        let mut dialog = Dialog::as_callee(flow(), &invite(), Tag(1));
        dialog.refresh_target(&message(
            "INVITE sip:b@example.com SIP/2.0",
            "Contact: <sip:a@198.51.100.77>\r\n",
        ));
        dialog.refresh_target(&message("INVITE sip:b@example.com SIP/2.0", ""));
        let bye = dialog.request(Method::Bye);
        assert_eq!(
            (&bye.uri[..], values(&bye, "Route").len()),
            (&b"sip:a@198.51.100.77"[..], 2)
        );
    }

    #[test]
    fn another_address_is_elsewhere() {
        let dialog = Dialog::as_callee(flow(), &invite(), Tag(1));
        let moved = Flow {
            peer: "198.51.100.9:5061".parse().unwrap(),
            ..flow()
        };
        assert!(dialog.is_on(flow()) && !dialog.is_on(moved));
    }

    #[test]
    fn names_are_heeded_where_that_is_wanted_and_a_gone_stream_is_opened_anew_to_the_same_host_only() {
        let host = |destination: Option<Destination>| match destination {
            Some(Destination::Service { service, only, .. }) => (service.host.to_string(), only),
            Some(other) => (other.peer().to_string(), None),
            None => (String::new(), None),
        };
        let through_proxies = Dialog::as_callee(flow(), &invite(), Tag(1));
        assert_eq!(through_proxies.destination(), Destination::Flow(flow()));
        assert_eq!(through_proxies.destination_anew(), None, "nothing to open over UDP");
        let mut heeding = through_proxies.clone();
        heeding.heed_names();
        let Destination::AnyOf(ways) = heeding.destination() else {
            panic!("{:?}", heeding.destination())
        };
        assert_eq!(host(Some(ways[0].destination.clone())), ("p2.example.com".into(), None));
        assert_eq!(ways[1].destination, Destination::Flow(flow()));
        let mut streamed = flow();
        streamed.transport = Transport::Tcp;
        let same = Some(flow().peer.ip());
        for (contact, expected) in [
            ("sip:a@198.51.100.9:5070", ("198.51.100.9:5070".into(), None)),
            ("sip:a@198.51.100.10:5070", (String::new(), None)),
            ("sip:a@198.51.100.9:5070;ob", (String::new(), None)),
            ("sip:a@phone.example.com", ("phone.example.com".into(), same)),
        ] {
            let contact = format!("Contact: <{contact}>\r\n");
            let invite = message("INVITE sip:b@example.com SIP/2.0", &contact);
            let dialog = Dialog::as_callee(streamed, &invite, Tag(1));
            assert_eq!(host(dialog.destination_anew()), expected, "{contact}");
        }
    }
}
