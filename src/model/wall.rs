//! How [`clock::Wall`] is written in JSON: whole milliseconds since 1970 UTC. Used as `#[serde(with = "crate::wall")]`.

use clock::Wall;
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(at: &Wall, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_i64(at.0)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Wall, D::Error> {
    i64::deserialize(d).map(Wall)
}

/// The same for a time that may not have come yet.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Serializer, Wall};

    #[allow(clippy::ref_option)] // the shape serde asks for
    pub(crate) fn serialize<S: Serializer>(at: &Option<Wall>, s: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => s.serialize_some(&at.0),
            None => s.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Wall>, D::Error> {
        Option::<i64>::deserialize(d).map(|at| at.map(Wall))
    }
}
