//! security.toml and im.toml: who must prove what, and what becomes of messages.

use crate::config_section::Section;
use std::time::Duration;
use switch::config::{Algorithm, Im, Security};

/// What security.toml says.
pub(crate) struct SecurityFile(pub(crate) Security);
/// What im.toml says.
pub(crate) struct ImFile(pub(crate) Im);

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn security(mut top: Section<'_>, domain: &str) -> SecurityFile {
    let digest: Vec<Algorithm> = top.or("digest", vec![Algorithm::Md5]);
    let repeated = digest
        .iter()
        .enumerate()
        .any(|(i, algorithm)| digest[..i].contains(algorithm));
    if digest.is_empty() || repeated {
        top.problem(
            &top.place(),
            "`digest`: name each of \"MD5\", \"SHA-256\" at most once, and at least one".to_owned(),
        );
    }
    SecurityFile(Security {
        realm: realm(&mut top, domain).into(),
        digest,
        // Replayed credentials are worth something for as long as their nonce lives.
        nonce_ttl: top.within("nonce_ttl", 300 * SECOND, 10 * SECOND..=300 * SECOND),
        max_nonces: top.within("max_nonces", 100_000, 100..=10_000_000),
        max_failures: top.within("max_failures", 10, 1..=1_000),
    })
}

/// The realm stands in quotes in every challenge, and with colons around it in every HA1.
fn realm(top: &mut Section<'_>, domain: &str) -> String {
    let realm: String = top.or("realm", domain.to_owned());
    if realm.contains(['"', '\\', ':']) && realm != domain {
        top.problem(
            &top.place(),
            "`realm` must not contain quotes, backslashes or colons".to_owned(),
        );
    }
    realm
}

pub(crate) fn im(mut top: Section<'_>) -> ImFile {
    ImFile(Im {
        store: top.or("store", true),
        answer_within: top.within("answer_within", 8 * SECOND, SECOND..=30 * SECOND),
        max_size: top.within("max_size", 16_384, 256..=60_000),
        keep: top.within("keep", 7 * DAY, 60 * SECOND..=365 * DAY),
        max_per_user: top.within("max_per_user", 1_000, 1..=1_000_000),
        max_total: top.within("max_total", 100_000, 1..=100_000_000),
    })
}
