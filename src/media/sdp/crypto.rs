//! `a=crypto` (RFC 4568): which keys are offered, taken and answered.

use super::{Attribute, Stream};
use crate::srtp::{KeyPair, MasterKey, Suite};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Lines read of one stream: there are four suites, and nobody offers each twice.
const MAX_LINES: usize = 16;

/// Whether media of a device is to be encrypted.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum SrtpUse {
    /// We do not offer it.
    #[default]
    Off,
    /// We offer it beside clear RTP: keys in an `RTP/AVP` line, as most phones read a wish that may be left aside.
    Optional,
    /// Nothing else: `RTP/SAVP`, and a device that wants clear RTP is refused.
    Required,
}

/// How a leg deals with keys in SDP.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct SrtpPolicy {
    /// Keys may be spoken of at all: the signalling is encrypted, or it was configured that it need not be.
    pub allowed: bool,
    /// What we offer, and ask for.
    pub wanted: SrtpUse,
}

/// Our keys of one leg: one for each suite, made once, because a stream keeps its key while it lives.
#[derive(Clone, Debug)]
pub(super) struct OurKeys([MasterKey; 4]);

impl OurKeys {
    /// New keys from a CSPRNG.
    pub fn generate(random: &mut dyn FnMut() -> u64) -> OurKeys {
        OurKeys(Suite::ALL.map(|suite| MasterKey::generate(suite, random)))
    }

    fn of(&self, suite: Suite) -> Option<&MasterKey> {
        self.0.iter().find(|key| key.suite() == suite)
    }

    /// Our offer: every suite, or only the one in use, whose key is then kept.
    pub fn offered(&self, in_use: Option<&Crypto>) -> Vec<Crypto> {
        match in_use {
            Some(crypto) => vec![crypto.clone()],
            None => (1..)
                .zip(&self.0)
                .map(|(tag, key)| Crypto { tag, key: key.clone() })
                .collect(),
        }
    }

    /// Our answer to the first line of the device that we can use, and both keys.
    pub fn answer(&self, lines: &[Crypto]) -> Option<(Crypto, KeyPair)> {
        lines.iter().find_map(|line| {
            let ours = self.of(line.key.suite())?.clone();
            let theirs = line.key.clone();
            let crypto = Crypto {
                tag: line.tag,
                key: ours.clone(),
            };
            Some((crypto, KeyPair { ours, theirs }))
        })
    }
}

/// One `a=crypto` line that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Crypto {
    pub tag: u32,
    pub key: MasterKey,
}

impl Crypto {
    /// The usable lines of a stream in their order. Others are left out: suites we do not have, keys of the wrong length, a
    /// master key identifier (it would be in every packet), several keys, and parameters that weaken or change the suite.
    pub fn read_all(stream: &Stream) -> Vec<Crypto> {
        let lines = stream
            .attributes
            .iter()
            .filter(|attribute| &*attribute.name == "crypto");
        let values = lines.filter_map(|attribute| attribute.value.as_deref());
        values.filter_map(Crypto::read).take(MAX_LINES).collect()
    }

    /// `tag suite inline:key||salt[|lifetime][|MKI:length] [parameters]`. A lifetime is taken and not watched: it is at
    /// least 2^20 packets wherever it is sane, which is longer than calls last.
    fn read(value: &str) -> Option<Crypto> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next()?;
        let digits = tag.len() <= 9 && tag.bytes().all(|byte| byte.is_ascii_digit());
        let tag = tag.parse().ok().filter(|_| digits)?;
        let suite = Suite::from_name(words.next()?)?;
        let inline = words.next()?.strip_prefix("inline:")?;
        let mut parts = inline.split('|');
        let key = MasterKey::new(suite, &decoded(parts.next()?)?)?;
        let usable = parts.all(is_lifetime) && words.all(is_harmless);
        usable.then_some(Crypto { tag, key })
    }

    /// The attribute. Only here a key becomes text.
    pub fn attribute(&self) -> Attribute {
        let (tag, suite) = (self.tag, self.key.suite().name());
        let key = STANDARD.encode(self.key.key_and_salt());
        Attribute::value("crypto", format!("{tag} {suite} inline:{key}"))
    }
}

/// With or without the padding that 28 bytes need and some leave out.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let fits = text.len() <= 64;
    let plain = text.trim_end_matches('=');
    fits.then(|| STANDARD_NO_PAD.decode(plain).ok()).flatten()
}

/// `2^31` or `1048576`, and not `1:4`, which is a master key identifier.
fn is_lifetime(part: &str) -> bool {
    let digits = part.strip_prefix("2^").unwrap_or(part);
    (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// RFC 4568 section 6.3: a hint about window size changes nothing for us, and what begins with `-` may be passed over.
fn is_harmless(parameter: &str) -> bool {
    parameter.starts_with("WSH=") || parameter.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    fn read(value: &str) -> Option<Crypto> {
        Crypto::read(value)
    }

    #[test]
    fn reads_the_lines_of_rfc_4568() {
        for rest in ["", "|2^20", "|1048576", "|2^31 WSH=128", " -FUTURE=x"] {
            let line = read(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{rest}")).expect(rest);
            assert_eq!((line.tag, line.key.suite()), (1, Suite::AesCm128HmacSha1_80));
            assert_eq!(&line.key.key_and_salt()[..4], b"YS__");
        }
    }

    #[test]
    fn leaves_out_what_it_cannot_keep() {
        for value in [
            "",
            "1",
            "x AES_CM_128_HMAC_SHA1_80 inline:KEY",
            "+1 AES_CM_128_HMAC_SHA1_80 inline:KEY",
            "9999999999 AES_CM_128_HMAC_SHA1_80 inline:KEY",
            "1 F8_128_HMAC_SHA1_80 inline:KEY",
            "1 AES_CM_128_HMAC_SHA1_80",
            "1 AES_CM_128_HMAC_SHA1_80 uri:KEY",
            "1 AES_CM_128_HMAC_SHA1_80 inline:",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEYKEY",
            "1 AES_CM_128_HMAC_SHA1_80 inline:!!!!",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^20|1:4",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|1:4",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY;inline:KEY",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY UNENCRYPTED_SRTP",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY UNAUTHENTICATED_SRTP",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY KDR=1",
            "1 AEAD_AES_256_GCM inline:KEY",
        ] {
            assert_eq!(read(&value.replace("KEY", KEY)), None, "{value}");
        }
    }

    #[test]
    fn writes_what_it_reads_for_every_suite() {
        let mut n = 7u64;
        let keys = OurKeys::generate(&mut || {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            n
        });
        let offered = keys.offered(None);
        assert_eq!(offered.iter().map(|line| line.tag).collect::<Vec<_>>(), [1, 2, 3, 4]);
        for line in offered {
            let text = line.attribute().value.unwrap();
            assert_eq!(read(&text), Some(line.clone()), "{text}");
            assert_eq!(read(text.trim_end_matches('=')), Some(line), "without padding");
        }
    }

    #[test]
    fn the_first_line_of_the_device_that_we_know_is_answered_with_our_own_key() {
        let keys = OurKeys::generate(&mut || 5);
        let theirs = OurKeys::generate(&mut || 6);
        let lines: Vec<_> = theirs.offered(None).into_iter().rev().collect();
        let (answer, pair) = keys.answer(&lines).unwrap();
        assert_eq!((answer.tag, answer.key.suite()), (4, Suite::AesCm128HmacSha1_32));
        assert_eq!((&pair.ours, &pair.theirs), (&answer.key, &lines[0].key));
        assert_ne!(pair.ours, pair.theirs);
        assert!(keys.answer(&[]).is_none());
    }
}
