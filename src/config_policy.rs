//! security.toml and im.toml: who must prove what, and what becomes of messages.

use crate::config_section::Section;
use crate::config_values::MediaRange;
use std::time::Duration;
use switch::config::{Abuse, Algorithm, Copies, Im, Network, Security};

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
        abuse: abuse(top.inner("abuse")),
    })
}

/// Names are short lists: each request of a stranger is held against them.
const MAX_SCANNERS: usize = 32;

fn abuse(mut section: Section<'_>) -> Abuse {
    let loopback = || {
        ["127.0.0.0/8", "::1"]
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect()
    };
    let scanners: Option<Vec<String>> = section.read("scanners");
    let scanners = scanners.unwrap_or_else(|| SCANNERS.map(str::to_owned).to_vec());
    if scanners.len() > MAX_SCANNERS || scanners.iter().any(|name| name.len() < 4) {
        let text = format!("`scanners`: at most {MAX_SCANNERS} names of four characters or more");
        section.problem(&section.place(), text);
    }
    Abuse {
        exempt: section.read::<Vec<Network>>("exempt").unwrap_or_else(loopback),
        packets_per_second: section.within("packets_per_second", 2_000, 10..=1_000_000),
        new_per_second: section.within("new_per_second", 100, 1..=1_000_000),
        new_burst: section.within("new_burst", 1_000, 1..=1_000_000),
        user_per_second: section.within("user_per_second", 20, 1..=1_000_000),
        user_burst: section.within("user_burst", 200, 1..=1_000_000),
        ban_after: section.within("ban_after", 100, 1..=1_000_000),
        ban_for: section.within("ban_for", 600 * SECOND, SECOND..=30 * DAY),
        scanners: scanners.into_iter().map(|name| name.to_lowercase().into()).collect(),
    }
}

/// What tools that look for victims call themselves, unless they are told otherwise.
const SCANNERS: [&str; 7] = [
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sipcli",
    "sip-scan",
    "sundayddr",
    "pplsip",
];

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
    let types = top.or("types", vec![MediaRange("text/plain".to_owned())]);
    ImFile(Im {
        copies: top.or("copies", Copies::User),
        types: types.into_iter().map(|one| one.0.into()).collect(),
        store: top.or("store", true),
        answer_within: top.within("answer_within", 8 * SECOND, SECOND..=30 * SECOND),
        max_size: top.within("max_size", 16_384, 256..=60_000),
        keep: top.within("keep", 7 * DAY, 60 * SECOND..=365 * DAY),
        max_per_user: top.within("max_per_user", 1_000, 1..=1_000_000),
        max_total: top.within("max_total", 100_000, 1..=100_000_000),
        invitation_timeout: top.within("invitation_timeout", 30 * SECOND, SECOND..=600 * SECOND),
        copy_to_phones: top.or("copy_to_phones", false),
        tell_joined: top.or("tell_joined", false),
        keep_transcripts: top.or("keep_transcripts", false),
        keep_records: {
            let days: u32 = top.within("transcript_days", 90, 0..=36_500);
            (days > 0).then(|| days * DAY)
        },
    })
}
