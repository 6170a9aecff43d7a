//! trunks.toml: one table per peer outside.

use crate::config_section::{At, Section, did_you_mean};
use crate::config_toml::Place;
use sip::Transport;
use sip::locate::Service;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use switch::config::trunks::{CallerId, Dial, Mode, Peer, To, Trunk};

/// A trunk, and what the checks of the whole need to know.
pub(crate) struct TrunkEntry {
    pub(crate) trunk: Trunk,
    pub(crate) place: Place,
}

/// More peers than this have no site; each request from outside is compared with all of them.
const TRUNKS_MAX: usize = 256;

/// Reads every trunk, in the order of their names.
pub(crate) fn read(mut top: Section<'_>) -> Vec<TrunkEntry> {
    let named = top.named();
    if named.len() > TRUNKS_MAX {
        top.problem(&top.place(), format!("more than {TRUNKS_MAX} trunks"));
    }
    let trunks: Vec<TrunkEntry> = named.into_iter().map(|(name, section)| trunk(&name, section)).collect();
    shared_sources(&top, &trunks);
    trunks
}

/// Whose is a request from an address that two trunks have?
fn shared_sources(top: &Section<'_>, trunks: &[TrunkEntry]) {
    for (i, later) in trunks.iter().enumerate() {
        for source in &later.trunk.sources {
            if let Some(earlier) = trunks[..i].iter().find(|earlier| earlier.trunk.is_at(*source)) {
                let text = format!("{source} is the address of trunk {:?} too", earlier.trunk.name);
                top.problem(&later.place, text);
            }
        }
    }
}

fn trunk(name: &At<String>, mut section: Section<'_>) -> TrunkEntry {
    section.later(&["register", "user", "password", "realm"], "registration at a trunk");
    section.later(&["codecs"], "this setting of a trunk");
    let to = place(&mut section);
    let mut sources: Vec<IpAddr> = Vec::new();
    let more: Vec<String> = section.or("sources", Vec::new());
    for text in &more {
        match text.parse() {
            Ok(source) => sources.push(source),
            Err(_) => section.problem(
                &section.place(),
                format!("`sources`: expected IP addresses, found {text:?}"),
            ),
        }
    }
    if let To::Addresses(peers) = &to {
        sources.extend(peers.iter().map(|peer| peer.address.ip()));
    }
    sources.sort();
    sources.dedup();
    let trunk = Trunk {
        name: name.value.as_str().into(),
        to,
        sources,
        dial: Arc::new(Dial {
            context: section.need::<String>("context").unwrap_or_default().into(),
            rights: rights(&mut section),
        }),
        caller_id: caller_id(&mut section),
        is_trusted: section.or("trusted", false),
        mode: mode(&mut section).unwrap_or_default(),
        asks_load: section.or("oc", false),
    };
    let place = name.place.clone();
    TrunkEntry { trunk, place }
}

/// `address` or `host`.
fn place(section: &mut Section<'_>) -> To {
    let Some(host) = section.read::<At<String>>("host") else {
        let urls = section.need::<Vec<String>>("address");
        return To::Addresses(urls.map_or_else(Vec::new, |urls| peers(section, &urls)));
    };
    if section.read::<At<Vec<String>>>("address").is_some() {
        section.problem(&host.place, "`address` and `host`: keep one of them".to_owned());
    }
    match named(&host.value) {
        Ok(service) => To::Name(Arc::new(service)),
        Err(wrong) => {
            section.problem(&host.place, format!("`host`: {wrong}"));
            To::Addresses(Vec::new())
        }
    }
}

/// `sip.example.net`, with a port or a transport if the DNS is not to say which.
fn named(text: &str) -> Result<Service, String> {
    let (transport, rest) = match text.split_once("://") {
        None => ("", text),
        Some(("udp", rest)) => (";transport=udp", rest),
        Some(("tcp", rest)) => (";transport=tcp", rest),
        Some(("tls", rest)) => (";transport=tls", rest),
        Some(_) => return Err("a trunk is reached by udp://, tcp:// or tls://".to_owned()),
    };
    let uri = format!("sip:{rest}{transport}");
    let uri = sip::Uri::parse(uri.as_bytes())
        .ok()
        .filter(|_| !rest.contains(['@', ';', '?']));
    match uri.as_ref().and_then(Service::of) {
        Some(service) if service.ip().is_none() => Ok(service),
        Some(_) => Err(format!("{text:?} is an address: say it as `address`")),
        None => Err(format!("expected a host name, found {text:?}")),
    }
}

/// `address`, one url or several.
fn peers(section: &mut Section<'_>, urls: &[String]) -> Vec<Peer> {
    if urls.is_empty() {
        section.problem(&section.place(), "`address`: name at least one".to_owned());
    }
    let read = |url: &String| match crate::config_switch::parse_url(url) {
        Ok((Transport::Ws | Transport::Wss, _)) => Err("a trunk is reached by udp://, tcp:// or tls://".to_owned()),
        Ok((_, address)) if wrong_address(address) => Err(format!("{address} is no address of a peer")),
        Ok((transport, address)) => Ok(Peer { transport, address }),
        Err(wrong) => Err(wrong),
    };
    let (mut found, read) = (Vec::new(), urls.iter().map(read));
    for peer in read {
        match peer {
            Ok(peer) => found.push(peer),
            Err(wrong) => section.problem(&section.place(), format!("`address`: {wrong}")),
        }
    }
    found
}

fn wrong_address(address: SocketAddr) -> bool {
    address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0
}

/// What somebody may dial beside what everybody may.
pub(crate) fn rights(section: &mut Section<'_>) -> Vec<Box<str>> {
    let rights: Vec<String> = section.or("rights", Vec::new());
    rights.into_iter().map(Into::into).collect()
}

fn caller_id(section: &mut Section<'_>) -> CallerId {
    let number: Option<At<String>> = section.read("caller_id");
    let prefix: Option<At<String>> = section.read("caller_id_prefix");
    for found in number.iter().chain(&prefix) {
        let wrong = found.value.is_empty() || !found.value.chars().all(|c| c.is_ascii_digit() || "+*#".contains(c));
        if wrong {
            section.problem(&found.place, format!("expected a number, found {:?}", found.value));
        }
    }
    match (number, prefix) {
        (Some(_), Some(prefix)) => {
            let text = "`caller_id` and `caller_id_prefix`: keep one of them".to_owned();
            section.problem(&prefix.place, text);
            CallerId::Extension
        }
        (Some(number), None) => CallerId::Number(number.value.into()),
        (None, Some(prefix)) => CallerId::Prefix(prefix.value.into()),
        (None, None) => CallerId::Extension,
    }
}

/// `mode` of a trunk or a rule, where it is said.
pub(crate) fn mode(section: &mut Section<'_>) -> Option<Mode> {
    let found = section.read::<At<String>>("mode")?;
    match found.value.as_str() {
        "b2bua" => Some(Mode::B2bua),
        "proxy" => Some(Mode::Proxy),
        other => {
            let hint = did_you_mean(other, ["b2bua", "proxy"].into_iter());
            let text = format!("`mode`: expected \"b2bua\" or \"proxy\", found {other:?}{hint}");
            section.problem(&found.place, text);
            None
        }
    }
}
