//! users.toml: one table per extension.

use crate::config_section::{At, Section, did_you_mean};
use crate::config_toml::Place;
use md5::Md5;
use media::sdp::SrtpUse;
use model::Aor;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use switch::CONTACTS;
use switch::config::groups::Groups;
use switch::config::trunks::{Dial, INTERNAL};
use switch::config::{Algorithm, User};

/// A user, and what the checks of the whole need to know.
pub(crate) struct UserEntry {
    pub(crate) user: User,
    pub(crate) place: Place,
    /// The password is one that everybody knows.
    pub(crate) demo: bool,
    /// Who is on the user's own list, with their places.
    contacts: Vec<At<String>>,
}

/// Most on one list: what the switch tells in one list.
const CONTACTS_MAX: usize = 200;

/// HA1 of RFC 7616 section 3.4.2: the hash over `user:realm:password`, lower-case hex.
#[must_use]
pub fn ha1(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> String {
    let text = format!("{user}:{realm}:{password}");
    match algorithm {
        Algorithm::Md5 => hex(&Md5::digest(text)),
        Algorithm::Sha256 => hex(&Sha256::digest(text)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a name cannot be an extension, if it cannot.
pub(crate) fn wrong_extension(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    if name == CONTACTS {
        return Some(format!("{CONTACTS:?} is the address of every user's own list already"));
    }
    let wrong = name.is_empty() || name.len() > 64 || !name.chars().all(allowed);
    wrong.then(|| format!("{name:?} cannot be an extension: use up to 64 letters, digits and - _ . +"))
}

/// Reads every user, in the order of their extensions.
pub(crate) fn read(mut top: Section<'_>, domain: &str, realm: &str) -> Vec<UserEntry> {
    let entry = |(name, section): (At<String>, Section<'_>)| user(&name, section, domain, realm);
    let mut users: Vec<UserEntry> = top.named().into_iter().map(entry).collect();
    share_rights(&mut users);
    users
}

/// Most users may dial the same: it is in memory once.
fn share_rights(users: &mut [UserEntry]) {
    let mut known: Vec<Arc<Dial>> = Vec::new();
    for entry in users {
        match known.iter().find(|known| **known == entry.user.dial) {
            Some(same) => entry.user.dial = Arc::clone(same),
            None => known.push(Arc::clone(&entry.user.dial)),
        }
    }
}

fn user(extension: &At<String>, mut section: Section<'_>, domain: &str, realm: &str) -> UserEntry {
    if let Some(wrong) = wrong_extension(&extension.value) {
        section.problem(&extension.place, wrong);
    }
    let second = Duration::from_secs(1);
    let name = section.or("name", String::new());
    let (ha1_md5, ha1_sha256) = secrets(extension, &mut section, realm);
    let demo = is_demo(&extension.value, realm, [&ha1_md5, &ha1_sha256]);
    let contacts = contacts(extension, &mut section);
    section.later(&["mailbox", "pin"], "voicemail");
    section.later(&["codecs", "forward", "forwards"], "this setting of a user");
    let user = User {
        aor: Aor::new(&extension.value, domain),
        name: name.into(),
        ha1_md5: ha1_md5.map(Into::into),
        ha1_sha256: ha1_sha256.map(Into::into),
        email: email(&mut section).into(),
        skills: skills(&mut section),
        contacts: contacts.iter().map(|contact| contact.value.as_str().into()).collect(),
        roles: section.or("roles", Vec::new()),
        im: section.or("im", true),
        srtp: section.or("srtp", SrtpUse::Off),
        dial: Arc::new(Dial {
            context: section.or("context", INTERNAL.to_owned()).into(),
            rights: crate::config_trunks::rights(&mut section),
        }),
        ring_timeout: section
            .has("ring_timeout")
            .then(|| section.within("ring_timeout", 60 * second, second..=600 * second)),
    };
    let place = extension.place.clone();
    UserEntry {
        user,
        place,
        demo,
        contacts,
    }
}

/// For the directory, so no more is asked of it than that it looks like one.
fn email(section: &mut Section<'_>) -> String {
    let Some(found) = section.read::<At<String>>("email") else {
        return String::new();
    };
    let (name, domain) = found.value.rsplit_once('@').unwrap_or_default();
    if name.is_empty() || domain.is_empty() || found.value.len() > 254 || found.value.contains(char::is_whitespace) {
        section.problem(&found.place, format!("`email`: {:?} is no address", found.value));
    }
    found.value
}

fn skills(section: &mut Section<'_>) -> Vec<Box<str>> {
    let found: Vec<At<String>> = section.or("skills", Vec::new());
    for skill in found.iter().filter(|skill| wrong_extension(&skill.value).is_some()) {
        section.problem(
            &skill.place,
            format!(
                "{:?} cannot be a skill: use up to 64 letters, digits and - _ . +",
                skill.value
            ),
        );
    }
    found.into_iter().map(|skill| skill.value.into()).collect()
}

/// The user's own list; who is on it is checked with the whole.
fn contacts(extension: &At<String>, section: &mut Section<'_>) -> Vec<At<String>> {
    let found: Vec<At<String>> = section.or("contacts", Vec::new());
    if found.len() > CONTACTS_MAX {
        let count = found.len();
        section.problem(
            &extension.place,
            format!("`contacts`: up to {CONTACTS_MAX} fit on a list, found {count}"),
        );
    }
    found
}

/// Everybody on a list is a user or a group, and there once.
pub(crate) fn check_contacts(users: &[UserEntry], groups: &Groups, mut report: impl FnMut(&Place, String)) {
    let user = |name: &str| users.iter().any(|entry| entry.user.aor.user() == name);
    for entry in users {
        for (place, contact) in entry.contacts.iter().enumerate() {
            let name = &contact.value;
            if !user(name) && groups.named(name).is_none() {
                let hint = did_you_mean(name, users.iter().map(|entry| entry.user.aor.user()));
                report(
                    &contact.place,
                    format!("no user {name:?} in users.toml, and no such group in groups.toml{hint}"),
                );
            }
            if entry.contacts[..place].iter().any(|other| other.value == *name) {
                report(&contact.place, format!("{name:?} is on this list twice"));
            }
        }
    }
}

/// The HA1s of `password`, or those that are written down.
fn secrets(extension: &At<String>, section: &mut Section<'_>, realm: &str) -> (Option<String>, Option<String>) {
    let password: Option<At<String>> = section.read("password");
    let md5 = hash(section, "ha1_md5", 32);
    let sha256 = hash(section, "ha1_sha256", 64);
    let Some(password) = password else {
        if md5.is_none() && sha256.is_none() {
            section.problem(
                &extension.place,
                "no `password`, `ha1_md5` or `ha1_sha256`: nobody could log in".to_owned(),
            );
        }
        return (md5, sha256);
    };
    if password.value.is_empty() {
        section.problem(&password.place, "`password` is empty".to_owned());
    }
    if md5.is_some() || sha256.is_some() {
        section.problem(&password.place, "`password` beside ha1: keep one of them".to_owned());
    }
    let of = |algorithm| Some(ha1(algorithm, &extension.value, realm, &password.value));
    (of(Algorithm::Md5), of(Algorithm::Sha256))
}

fn hash(section: &mut Section<'_>, key: &'static str, digits: usize) -> Option<String> {
    let found: At<String> = section.read(key)?;
    if found.value.len() != digits || !found.value.chars().all(|c| c.is_ascii_hexdigit()) {
        section.problem(&found.place, format!("`{key}`: expected {digits} hexadecimal digits"));
    }
    Some(found.value.to_ascii_lowercase())
}

/// The shipped passwords are `demo-EXTENSION`; they stay demo passwords when only their hash is written.
fn is_demo(extension: &str, realm: &str, found: [&Option<String>; 2]) -> bool {
    let demo = |algorithm| Some(ha1(algorithm, extension, realm, &format!("demo-{extension}")));
    *found[0] == demo(Algorithm::Md5) || *found[1] == demo(Algorithm::Sha256)
}
