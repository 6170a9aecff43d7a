//! `[tls]` of switch.toml: the files that say who we are and whom we believe. What is in them is judged when they are read:
//! at the start, and at each reload.

use crate::config_section::{At, Section};
use crate::config_values::AskedOfClients;
use net::tls::{Clients, Pair, TlsFiles};
use std::path::{Path, PathBuf};

/// Where the first certificate is unless the setting says otherwise; made there if it is missing.
const CERTIFICATE: &str = "tls/tandem.pem";
const KEY: &str = "tls/tandem.key";

/// `directory`: that of the configuration, to which paths are relative.
pub(crate) fn read(mut section: Section<'_>, directory: &Path) -> TlsFiles {
    let first = Pair {
        certificate: directory.join(section.or::<PathBuf>("certificate", CERTIFICATE.into())),
        key: directory.join(section.or::<PathBuf>("key", KEY.into())),
    };
    let further = section
        .list("also")
        .into_iter()
        .filter_map(|inner| pair(inner, directory));
    let certificates = std::iter::once(first).chain(further).collect();
    let trust: Option<PathBuf> = section.read("trust");
    TlsFiles {
        certificates,
        clients: clients(&mut section, directory),
        trust: trust.map(|file| directory.join(file)),
    }
}

fn pair(mut section: Section<'_>, directory: &Path) -> Option<Pair> {
    let certificate: Option<PathBuf> = section.need("certificate");
    let key: Option<PathBuf> = section.need("key");
    Some(Pair {
        certificate: directory.join(certificate?),
        key: directory.join(key?),
    })
}

fn clients(section: &mut Section<'_>, directory: &Path) -> Clients {
    let asked: Option<At<AskedOfClients>> = section.read("clients");
    let ca: Option<PathBuf> = section.read("client_ca");
    let (Some(asked), ca) = (asked, ca.map(|ca| directory.join(ca))) else {
        return Clients::Off;
    };
    match (asked.value, ca) {
        (AskedOfClients::Off, _) => Clients::Off,
        (AskedOfClients::Optional, Some(ca)) => Clients::Optional(ca),
        (AskedOfClients::Required, Some(ca)) => Clients::Required(ca),
        (_, None) => {
            let text = "`clients`: whose certificates? name a file as `client_ca`".to_owned();
            section.problem(&asked.place, text);
            Clients::Off
        }
    }
}
