//! rsip as oracle: messages in its safe subset (known methods, no folding, no compact names, one Via a line, bodies that are
//! text) must mean the same to both.

use crate::messages::parts;
use bytes::Bytes;
use proptest::prelude::*;
use rsip::message::HasHeaders;
use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};
use sip::{Message, Name};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

proptest! {
    #[test]
    fn rsip_reads_the_same(parts in parts(), is_request in any::<bool>()) {
        let bytes = if is_request { parts.request() } else { parts.response() };
        let theirs = rsip::SipMessage::try_from(&bytes[..]).unwrap();
        let ours = Message::parse(Bytes::from(bytes)).unwrap();

        match &theirs {
            rsip::SipMessage::Request(r) => {
                prop_assert_eq!(r.method.to_string(), text(ours.method_bytes()));
                prop_assert_eq!(r.uri.to_string(), text(ours.request_uri()));
            }
            rsip::SipMessage::Response(r) => prop_assert_eq!(r.status_code.code(), ours.status()),
        }
        prop_assert_eq!(theirs.call_id_header().unwrap().value(), text(ours.call_id()));
        prop_assert_eq!(theirs.body(), ours.body_bytes());
        prop_assert_eq!(theirs.headers().iter().count(), ours.fields().count());

        let cseq = theirs.cseq_header().unwrap().typed().unwrap();
        prop_assert_eq!((cseq.seq, cseq.method.to_string()), (ours.cseq(), text(ours.method_bytes()).to_owned()));
        let from = theirs.from_header().unwrap().typed().unwrap();
        prop_assert_eq!(from.uri.to_string(), text(ours.from().unwrap().uri_bytes));
        prop_assert_eq!(from.tag().unwrap().value(), text(ours.from_tag()));
        let to = theirs.to_header().unwrap().typed().unwrap();
        prop_assert_eq!(to.tag().map(|t| t.value().to_owned()).unwrap_or_default(), text(ours.to_tag()));

        let via = theirs.via_header().unwrap().typed().unwrap();
        let top = ours.via().unwrap();
        prop_assert_eq!(via.branch().unwrap().value(), text(ours.branch()));
        prop_assert_eq!(via.uri.host_with_port.host.to_string(), text(top.host));
        prop_assert_eq!(via.uri.host_with_port.port.map(|p| *p.value()), top.port);
    }

    #[test]
    fn rsip_reads_what_we_write(parts in parts()) {
        let request = Message::parse(Bytes::from(parts.request())).unwrap();
        let answer = sip::Writer::response(&request, 200, "OK", "tt", "192.0.2.1:5060".parse().unwrap())
            .header(Name::Server, "tandem")
            .body("text/plain", b"hello");
        let theirs = rsip::Response::try_from(&answer[..]).unwrap();
        prop_assert_eq!((theirs.status_code.code(), &theirs.body[..]), (200, &b"hello"[..]));
        prop_assert_eq!(theirs.call_id_header().unwrap().value(), text(request.call_id()));
        let via = theirs.via_header().unwrap().typed().unwrap();
        prop_assert_eq!(via.branch().unwrap().value(), text(request.branch()));
        prop_assert_eq!(via.received().unwrap(), Some("192.0.2.1".parse().unwrap()));
    }
}
