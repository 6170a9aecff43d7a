//! What must hold before anyone above sees a message: mandatory fields, once each, with sound syntax (RFC 3261 sections
//! 8.1.1, 8.2.2, 18.3, 20; the cases of RFC 4475).

use crate::header::{CSeq, NameAddr, Via, lex};
use crate::message::{AddressPlace, Fault, Message, Span, Start, ViaPlace};
use crate::{Name, Uri};

/// Fills in what is looked at again and again (method and number of CSeq, tags, top Via), and cuts the body.
pub(crate) fn check(message: &mut Message) -> Result<(), Fault> {
    content_length(message)?;
    via(message)?;
    cseq(message)?;
    parties(message)?;
    call_id(message)?;
    if message.is_request() { request(message) } else { Ok(()) }
}

const fn bad(reason: &'static str) -> Fault {
    Fault { status: 400, reason }
}

/// False for a field that may be there once. In a request that is every field with one value that matters to us; in a
/// response only those that decide what message it is, so that a sloppy answer is not lost.
pub(crate) fn may_repeat(name: Name, in_request: bool) -> bool {
    use Name::*;
    match name {
        CSeq | CallId | From | To | MaxForwards | ContentLength => false,
        ContentType | Event | Expires | Join | MinSe | RAck | ReferTo | ReferredBy | Replaces | SessionExpires
        | SipIfMatch | SubscriptionState => !in_request,
        _ => true,
    }
}

/// Digits only, and not beyond the bytes that are there. What is behind the body is not part of the message.
fn content_length(message: &mut Message) -> Result<(), Fault> {
    let Some(value) = message.header(Name::ContentLength) else {
        return Ok(());
    };
    let length = lex::digits(value).ok_or(bad("Content-Length is not a number"))?;
    let end = u64::from(message.body).saturating_add(length);
    match usize::try_from(end) {
        Ok(end) if end <= message.bytes.len() => message.bytes.truncate(end),
        _ => return Err(bad("Content-Length beyond the message")),
    }
    Ok(())
}

fn via(message: &mut Message) -> Result<(), Fault> {
    let line = message.header(Name::Via).ok_or(bad("Missing Via"))?;
    let via = Via::parse(&line[..lex::comma(line).unwrap_or(line.len())])?;
    let place = ViaPlace {
        protocol: message.span_of(via.protocol),
        host: message.span_of(via.host),
        port: via.port,
        params: message.span_of(via.params.as_bytes()),
        noted: via.noted().map(|value| message.span_of(value)),
    };
    message.via = Some(place);
    Ok(())
}

fn cseq(message: &mut Message) -> Result<(), Fault> {
    let value = message.header(Name::CSeq).ok_or(bad("Missing CSeq"))?;
    let cseq = CSeq::parse(value)?;
    let (number, method) = (cseq.number, message.span_of(cseq.method));
    if !message.is_request() {
        message.method = crate::Method::from_bytes(cseq.method);
        message.method_span = method;
    } else if message.at(method) != message.method_bytes() {
        return Err(bad("CSeq of another method"));
    }
    message.cseq = number;
    Ok(())
}

fn parties(message: &mut Message) -> Result<(), Fault> {
    let from = party(message, Name::From, "Missing From")?;
    let to = party(message, Name::To, "Missing To")?;
    ((message.from, message.from_tag), (message.to, message.to_tag)) = (from, to);
    Ok(())
}

/// Where it stands, and its tag.
fn party(message: &Message, name: Name, missing: &'static str) -> Result<(Option<AddressPlace>, Span), Fault> {
    let address = NameAddr::parse(message.header(name).ok_or(bad(missing))?)?;
    address.uri()?;
    let place = AddressPlace {
        display: message.span_of(address.display),
        uri: message.span_of(address.uri_bytes),
        params: message.span_of(address.params.as_bytes()),
    };
    Ok((Some(place), message.span_of(address.tag())))
}

fn call_id(message: &Message) -> Result<(), Fault> {
    let value = message.header(Name::CallId).ok_or(bad("Missing Call-ID"))?;
    if lex::is_call_id(value) {
        Ok(())
    } else {
        Err(bad("Broken Call-ID"))
    }
}

fn request(message: &Message) -> Result<(), Fault> {
    let Start::Request { uri } = message.start else {
        return Ok(());
    };
    // Headers of a URI must not reach a Request-URI (section 19.1.1, table 1; RFC 4475 section 3.1.2.11).
    if !Uri::parse(message.at(uri))?.headers_bytes().is_empty() {
        return Err(bad("Request-URI with headers"));
    }
    if message
        .header(Name::MaxForwards)
        .is_some_and(|v| lex::digits(v).is_none())
    {
        return Err(bad("Max-Forwards is not a number"));
    }
    contacts(message)
}

fn contacts(message: &Message) -> Result<(), Fault> {
    if message.contact_is_star() && message.lines(Name::Contact).count() == 1 {
        return Ok(());
    }
    let first = usize::from(message.first[Name::Contact as usize]);
    for field in message.fields.iter().skip(first).filter(|f| f.name == Name::Contact) {
        for value in lex::values(message.at(field.value), true) {
            NameAddr::parse(value)?.uri()?;
        }
    }
    Ok(())
}
