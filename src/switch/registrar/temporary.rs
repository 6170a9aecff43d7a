//! Temporary GRUUs (RFC 5627 section 3.1.2): addresses that lead to one device and do not tell whose it is. Nothing is kept of
//! them: what an address means stands in it, encrypted and sealed with the key that also signs nonces. It is good for as long
//! as the device stays registered with the same Call-ID, however often it refreshes (section 5.3).

use super::Bound;
use crate::text::{decode, encode};
use clock::Mono;
use sha2::{Digest, Sha256};
use sip::Uri;
use std::fmt;

/// What the user part begins with.
const MARK: &str = "tgruu.";
/// Against addresses that were made up.
const MAC: usize = 10;
const NONCE: usize = 8;
/// Which device, and which of its registrations.
const DEVICE: usize = 8;
/// Names of users are filled up to a multiple of this, so that their length does not tell them.
const BLOCK: usize = 16;
/// Longer names get no temporary address.
const MAX_USER: usize = 3 * BLOCK;
const LONGEST: usize = NONCE + DEVICE + MAX_USER + MAC;

/// Makes and reads them.
pub(crate) struct Temporary {
    key: [u8; 32],
}

/// What one means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    /// The user part of the address of record.
    pub(crate) user: String,
    /// The device, as [`Bound::leads_to`] takes it.
    pub(crate) device: Box<[u8]>,
}

impl Temporary {
    #[must_use]
    pub(crate) fn new(key: [u8; 32]) -> Temporary {
        Temporary { key }
    }

    /// A new one for a binding: `sip:tgruu....@example.com;gr`. `None` if its device has not said which it is.
    #[must_use]
    pub(super) fn of(&self, bound: &Bound, now: Mono) -> Option<String> {
        let (aor, device) = (&bound.binding.aor, device_of(bound)?);
        if aor.user().len() > MAX_USER {
            return None;
        }
        // Another one for each REGISTER: nobody who sees two knows that they are of one device.
        let nonce = &self.hash(b"nonce", &[&now.0.to_be_bytes(), &device, aor.user().as_bytes()])[..NONCE];
        let mut text = device.to_vec();
        text.extend_from_slice(aor.user().as_bytes());
        text.resize(DEVICE + aor.user().len().div_ceil(BLOCK).max(1) * BLOCK, 0);
        self.mix(nonce, &mut text);
        let mut whole = [nonce, &text].concat();
        let mac = self.hash(b"mac", &[&whole]);
        whole.extend_from_slice(&mac[..MAC]);
        let user = String::from_utf8_lossy(&encode(&whole)).into_owned();
        Some(format!("sip:{MARK}{user}@{};gr", aor.domain()))
    }

    /// What this URI means, if it is one of ours.
    #[must_use]
    pub(crate) fn read(&self, uri: &Uri<'_>) -> Option<Meant> {
        uri.param("gr").filter(|gr| gr.is_empty())?;
        let user = uri.user()?.strip_prefix(MARK.as_bytes())?;
        let whole = decode(user).filter(|_| user.len() <= LONGEST.div_ceil(3) * 4)?;
        let (sealed, mac) = whole.split_at_checked(whole.len().checked_sub(MAC)?)?;
        let right = self.hash(b"mac", &[sealed]);
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&right[..MAC], mac)) {
            return None;
        }
        let (nonce, text) = sealed.split_at_checked(NONCE)?;
        let mut text = text.to_vec();
        self.mix(nonce, &mut text);
        let (device, user) = text.split_at_checked(DEVICE)?;
        let user = std::str::from_utf8(user).ok()?.trim_end_matches('\0');
        Some(Meant {
            user: user.to_owned(),
            device: [&b"\0"[..], device].concat().into(),
        })
    }

    /// A stream of hashes over the text: twice is not at all.
    fn mix(&self, nonce: &[u8], text: &mut [u8]) {
        for (number, block) in (0_u8..).zip(text.chunks_mut(32)) {
            let stream = self.hash(b"stream", &[nonce, &[number]]);
            block.iter_mut().zip(stream).for_each(|(byte, mixed)| *byte ^= mixed);
        }
    }

    fn hash(&self, purpose: &[u8], pieces: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(b"temporary-gruu/");
        hash.update(purpose);
        for piece in pieces {
            // The length keeps its neighbours apart.
            hash.update((piece.len() as u64).to_be_bytes());
            hash.update(piece);
        }
        hash.finalize().into()
    }
}

impl fmt::Debug for Temporary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Temporary")
    }
}

/// The device of a binding in the registration that began with its Call-ID.
fn device_of(bound: &Bound) -> Option<[u8; DEVICE]> {
    let instance = bound.instance()?;
    let mut hash = Sha256::new();
    hash.update((instance.len() as u64).to_be_bytes());
    hash.update(instance.as_bytes());
    hash.update(bound.binding.call_id.as_bytes());
    let mut device = [0; DEVICE];
    device.copy_from_slice(&hash.finalize()[..DEVICE]);
    Some(device)
}

/// Whether a temporary address means this binding; `None` if it is a public one.
pub(super) fn is_meant(bound: &Bound, device: &[u8]) -> Option<bool> {
    let device = device.strip_prefix(b"\0")?;
    Some(device_of(bound).is_some_and(|own| own == device))
}
