//! Outbound (RFC 5626): a device registers over several flows. Each is a binding of its own, named by the instance and a
//! number that the device gives it, and all of them lead to one device.

use super::{Bound, Refusal, alive};
use model::BindingKey;
use sip::endpoint::Alternative;
use sip::header::{NameAddr, Params};
use sip::{Destination, Message, Name, Reply, Uri};
use smallvec::{SmallVec, smallvec};
use std::borrow::Cow;

/// The option tag.
const OUTBOUND: &str = "outbound";
/// An instance is a UUID, 45 bytes with its URN; nobody needs more than this.
const MAX_INSTANCE: usize = 128;

/// The instance of a device: `<urn:uuid:...>`, out of `+sip.instance` of a Contact's parameters.
pub(super) fn instance(params: Params<'_>) -> Option<Cow<'_, str>> {
    let text = match params.text("+sip.instance")? {
        Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).ok()?),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).ok()?),
    };
    let is_sound = text.len() <= MAX_INSTANCE && text.starts_with('<') && text.ends_with('>');
    (is_sound && !text.chars().any(char::is_control)).then_some(text)
}

/// The name of the binding for a flow (section 6). A number without an instance, or of a device that does not say that it
/// knows what it means, is no more than a parameter.
pub(super) fn key(request: &Message, contact: &NameAddr<'_>) -> Option<BindingKey> {
    let number = contact.params.get("reg-id")?;
    let number: u32 = std::str::from_utf8(number).ok()?.parse().ok()?;
    if number == 0 || number > i32::MAX as u32 || !is_spoken(request) {
        return None;
    }
    let instance = instance(contact.params)?;
    Some(BindingKey(format!("{instance};reg-id={number}").into()))
}

/// Whether the binding of this name is a flow: the name of any other is a SIP URI.
pub(super) fn is_flow(key: &BindingKey) -> bool {
    key.0.starts_with('<')
}

fn is_spoken(request: &Message) -> bool {
    [Name::Supported, Name::Require]
        .into_iter()
        .any(|name| request.lists(name, OUTBOUND))
}

/// Section 6: one flow a request, and the first proxy on its way has to know how to keep it.
pub(super) fn check(request: &Message, contacts: usize) -> Result<(), Refusal> {
    if contacts > 1 {
        return Err(Refusal::Malformed("One Flow At A Time"));
    }
    let is_direct = request.values(Name::Via).count() < 2;
    // The proxy that has the flow wrote its Path first, so it is the last value.
    let edge = request.addresses(Name::Path).last();
    let keeps_it = edge.is_some_and(|edge| {
        let edge = edge.ok();
        edge.is_some_and(|edge| edge.uri().is_ok_and(|uri| uri.param("ob").is_some()))
    });
    if is_direct || keeps_it {
        Ok(())
    } else {
        Err(Refusal::FirstHop)
    }
}

/// What the answer says of it.
pub(super) fn confirm(reply: &mut Reply) {
    reply.headers.add(Name::Require, OUTBOUND);
    // Section 5.4: the device is heard so often, and so is its flow.
    reply
        .headers
        .add(Name::FlowTimer, alive::FLOW_TIMER.as_secs().to_string());
}

impl Bound {
    /// The device it leads to, if it has said which.
    pub(crate) fn instance(&self) -> Option<Cow<'_, str>> {
        instance(Params::parse(self.binding.params.as_bytes()).ok()?)
    }

    /// It is one of the flows of a device.
    pub(crate) fn is_flow(&self) -> bool {
        is_flow(&self.binding.key)
    }

    /// Without the connection it came by there is no way to it: a flow ends with its connection (section 5.3), and nobody
    /// can call a browser or a phone behind a NAT.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.is_flow() || self.contact_address().is_none()
    }
}

/// The flows of a device are one way to it: the youngest, and by the others if that fails. All other bindings stay as they are.
pub(crate) fn by_device<'b>(
    bindings: impl Iterator<Item = (&'b Bound, Destination)>,
) -> SmallVec<[(&'b Bound, Destination); 2]> {
    let mut devices = SmallVec::<[SmallVec<[(&Bound, Destination); 1]>; 2]>::new();
    for (bound, way) in bindings {
        let is_same = |other: &Bound| other.is_flow() && bound.is_flow() && other.instance() == bound.instance();
        match devices.iter_mut().find(|flows| is_same(flows[0].0)) {
            Some(flows) => flows.push((bound, way)),
            None => devices.push(smallvec![(bound, way)]),
        }
    }
    devices.into_iter().filter_map(one_way).collect()
}

fn one_way(mut flows: SmallVec<[(&Bound, Destination); 1]>) -> Option<(&Bound, Destination)> {
    if flows.len() < 2 {
        return flows.pop();
    }
    flows.sort_by_key(|(bound, _)| std::cmp::Reverse(bound.refreshed));
    let first = flows[0].0;
    let ways = flows.into_iter().map(|(bound, destination)| Alternative {
        destination,
        uri: bound.request_uri().into(),
        route: bound.binding.path.as_bytes().into(),
    });
    Some((first, Destination::AnyOf(ways.collect())))
}

/// Whether the Path of a request may be kept (RFC 3327 section 5.3): a device that does not know of it would not know that
/// somebody stands between.
pub(super) fn check_path(request: &Message) -> Result<(), Refusal> {
    let mut values = request.values(Name::Path).peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let is_known = [Name::Supported, Name::Require]
        .into_iter()
        .any(|name| request.lists(name, "path"));
    if !is_known {
        return Err(Refusal::PathUnknown);
    }
    let is_sound = |value: &[u8]| {
        NameAddr::parse(value).is_ok_and(|path| path.uri().is_ok_and(|uri: Uri<'_>| uri.is_sip() && uri.is_loose()))
    };
    match values.all(is_sound) {
        true => Ok(()),
        false => Err(Refusal::Malformed("Bad Path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(params: &str) -> Option<String> {
        instance(Params::parse(params.as_bytes()).unwrap()).map(Cow::into_owned)
    }

    #[test]
    fn an_instance_is_a_urn_in_angles_in_quotes() {
        let urn = "<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>";
        assert_eq!(of(&format!(";+sip.instance=\"{urn}\";reg-id=1")), Some(urn.into()));
        assert_eq!(of(";+sip.instance=\"urn:uuid:1\""), None);
        assert_eq!(of(";+sip.instance"), None);
        assert_eq!(of(&format!(";+sip.instance=\"<{}>\"", "x".repeat(200))), None);
        assert_eq!(of(";q=0.5"), None);
    }

    fn through(paths: &str) -> Result<(), u16> {
        let text = format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP core.example.net;branch=z9hG4bKp1\r\n\
             Via: SIP/2.0/UDP device.invalid;branch=z9hG4bKd1\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\n\
             Call-ID: c1\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n{paths}Content-Length: 0\r\n\r\n"
        );
        let message = Message::parse(text.into()).unwrap();
        check(&message, 1).map_err(|refusal| match refusal {
            Refusal::FirstHop => 439,
            _ => 0,
        })
    }

    #[test]
    fn a_flow_through_a_proxy_needs_one_that_can_keep_it() {
        let core = "Path: <sip:core.example.net;lr;ob>\r\n";
        assert_eq!(through(""), Err(439));
        assert_eq!(through(&format!("{core}Path: <sip:edge.example.net;lr>\r\n")), Err(439));
        assert_eq!(
            through(&format!("{core}Path: <sip:edge.example.net;lr;ob>\r\n")),
            Ok(())
        );
    }
}
