//! Protection profiles and master keys. A key is shown to nobody: its `Debug` says only that it is there.

use std::fmt;

/// A protection profile, by its name in SDP (RFC 4568 section 6.2, RFC 7714 section 14).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`: the one every implementation has.
    AesCm128HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_32`: the same with short tags on RTP.
    AesCm128HmacSha1_32,
    /// `AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `AEAD_AES_256_GCM`.
    AeadAes256Gcm,
}

/// Longest master key and salt together: 32 and 12 bytes of AEAD_AES_256_GCM.
pub const MAX_MASTER: usize = 44;

impl Suite {
    /// All of them, most wanted first.
    pub const ALL: [Suite; 4] = [
        Suite::AeadAes256Gcm,
        Suite::AeadAes128Gcm,
        Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32,
    ];

    /// Its name in `a=crypto`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Suite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Suite> {
        Suite::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// Bytes of its master key, and of the session key for encryption.
    #[must_use]
    pub fn key_len(self) -> usize {
        match self {
            Suite::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    /// Bytes of its master salt (RFC 4568 section 6.2; RFC 7714 section 12).
    #[must_use]
    pub fn salt_len(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => 14,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 12,
        }
    }

    /// Bytes of master key and salt.
    #[must_use]
    pub fn master_len(self) -> usize {
        self.key_len() + self.salt_len()
    }
}

/// A master key with its salt behind it.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    suite: Suite,
    bytes: [u8; MAX_MASTER],
}

impl MasterKey {
    /// Key and salt; `None` if there are not as many bytes as the suite wants.
    #[must_use]
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<MasterKey> {
        let mut bytes = [0; MAX_MASTER];
        bytes
            .get_mut(..suite.master_len())?
            .copy_from_slice(Some(key_and_salt).filter(|bytes| bytes.len() == suite.master_len())?);
        Some(MasterKey { suite, bytes })
    }

    /// A new key. `random` must be a CSPRNG in a node.
    pub fn generate(suite: Suite, random: &mut dyn FnMut() -> u64) -> MasterKey {
        let mut bytes = [0; MAX_MASTER];
        bytes[..suite.master_len()]
            .chunks_mut(8)
            .for_each(|chunk| chunk.copy_from_slice(&random().to_be_bytes()[..chunk.len()]));
        MasterKey { suite, bytes }
    }

    /// What it is for.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Key and salt, for the SDP.
    #[must_use]
    pub fn key_and_salt(&self) -> &[u8] {
        &self.bytes[..self.suite.master_len()]
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[..self.suite.key_len()]
    }

    /// As 14 bytes: a shorter salt has zeros behind it (RFC 7714 section 11).
    pub(super) fn salt(&self) -> [u8; 14] {
        let mut salt = [0; 14];
        salt[..self.suite.salt_len()].copy_from_slice(&self.bytes[self.suite.key_len()..self.suite.master_len()]);
        salt
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.suite.name())
    }
}

/// The keys of one leg: each side encrypts with its own (RFC 4568 section 6.1). Both are of one suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// Ours: packets to the device.
    pub ours: MasterKey,
    /// The device's: packets from it.
    pub theirs: MasterKey,
}
