//! GRUU (RFC 5627): an address that leads to one device of a user and can be used from anywhere. A public one says which
//! device: it is the address of record with the instance as parameter `gr`, so nothing has to be kept for it.

use super::{Bound, Registrar, temporary};
use crate::core::{Core, aor_uri};
use clock::Now;
use model::Aor;
use sip::uri::unescape;
use sip::{Message, Name, Uri};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt::Write;

/// What may stand in a URI parameter as it is (RFC 3261 section 25.1, `paramchar`).
const PLAIN: &[u8] = b"[]/:&+$-_.!~*'()";

/// Whether a device wants to be told its addresses (section 4.1).
pub(super) fn is_wanted(request: &Message) -> bool {
    [Name::Supported, Name::Require]
        .into_iter()
        .any(|name| request.lists(name, "gruu"))
}

/// The public address of a device (section 3.1.1): `sip:1000@example.com;gr=urn:uuid:...`.
pub(crate) fn public(aor: &Aor, instance: &str) -> String {
    let mut uri = format!("{};gr=", aor_uri(aor));
    for byte in instance.trim_matches(['<', '>']).bytes() {
        if byte.is_ascii_alphanumeric() || PLAIN.contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

/// The device that the Request-URI of a request names, without angles, or what a temporary address says instead; `None` if it
/// names none.
pub(crate) fn named(core: &Core, request: &Message) -> Option<Box<[u8]>> {
    let uri = request.uri().ok()?;
    if let Some(meant) = core.temporary.read(&uri) {
        return Some(meant.device);
    }
    device(&uri).map(|device| device.into_owned().into())
}

fn device<'m>(uri: &Uri<'m>) -> Option<Cow<'m, [u8]>> {
    uri.param("gr").filter(|gr| !gr.is_empty()).map(unescape)
}

impl Bound {
    /// Whether it leads to this device.
    pub(crate) fn leads_to(&self, device: &[u8]) -> bool {
        if let Some(is_meant) = temporary::is_meant(self, device) {
            return is_meant;
        }
        let own = self.instance();
        own.is_some_and(|own| own.trim_matches(['<', '>']).as_bytes().eq_ignore_ascii_case(device))
    }

    /// Its public address.
    pub(crate) fn gruu(&self) -> Option<String> {
        self.instance().map(|instance| public(&self.binding.aor, &instance))
    }
}

impl Registrar {
    /// The bindings in force that a request to a user goes to: all, or those of the one device that it names.
    pub(crate) fn meant(&self, aor: &Aor, device: Option<&[u8]>, now: Now) -> SmallVec<[&Bound; 4]> {
        let mut bindings = self.bindings(aor, now);
        if let Some(device) = device {
            bindings.retain(|bound| bound.leads_to(device));
        }
        bindings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_public_address_says_is_found_in_it_again() {
        let aor = Aor::new("kate", "example.com");
        let uri = public(&aor, "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>");
        assert_eq!(
            uri,
            "sip:kate@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
        );
        let strange = public(&aor, "<a b;c\"d>");
        let parsed = Uri::parse(strange.as_bytes()).unwrap();
        assert_eq!(device(&parsed).as_deref(), Some(&b"a b;c\"d"[..]));
        for without in ["sip:kate@example.com", "sip:kate@example.com;gr"] {
            assert_eq!(device(&Uri::parse(without.as_bytes()).unwrap()), None);
        }
    }
}
