//! What makes a dialog the same dialog: Call-ID and both tags (RFC 3261 section 12).

use crate::draft::Tag;

/// Call-ID, our tag, their tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogId {
    call_id: Box<[u8]>,
    local: Tag,
    remote: Box<[u8]>,
}

impl DialogId {
    /// `remote` is empty for a peer of RFC 2543.
    #[must_use]
    pub fn new(call_id: &[u8], local: Tag, remote: &[u8]) -> DialogId {
        DialogId {
            call_id: call_id.into(),
            local,
            remote: remote.into(),
        }
    }

    /// Compares with what a message says; `local` and `remote` as seen from here. Tags and Call-ID are compared by case.
    #[must_use]
    pub fn is_of(&self, call_id: &[u8], local: &[u8], remote: &[u8]) -> bool {
        Tag::parse(local) == Some(self.local) && *self.remote == *remote && *self.call_id == *call_id
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &[u8] {
        &self.call_id
    }

    /// Our tag.
    #[must_use]
    pub fn local(&self) -> Tag {
        self.local
    }

    /// Their tag.
    #[must_use]
    pub fn remote(&self) -> &[u8] {
        &self.remote
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_must_fit() {
        let id = DialogId::new(b"c1", Tag(1), b"x");
        let ours = b"0000000000000001";
        assert!(id.is_of(b"c1", ours, b"x"));
        assert!(!id.is_of(b"c2", ours, b"x"));
        assert!(!id.is_of(b"c1", b"0000000000000002", b"x"));
        assert!(!id.is_of(b"c1", b"1", b"x"));
        assert!(!id.is_of(b"c1", ours, b"X"));
        assert!(!id.is_of(b"c1", ours, b""));
    }
}
