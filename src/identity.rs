//! The certificates of the node: made at the first start, read at each start and each reload.

use crate::config::Config;
use net::tls::{Identity, Pair, Tls, make_certificate};
use std::collections::BTreeSet;
use std::io;

/// Whether anything listens with TLS; if not, no certificate is made or read.
fn is_wanted(config: &Config) -> bool {
    config.https.is_some() || config.listen.iter().any(|listen| listen.transport.is_secure())
}

/// Puts the certificates in force; the first one is made if neither its file nor that of its key is there.
///
/// # Errors
/// A file that cannot be read or written, with its name, or one that is wrong.
pub(crate) fn start(config: &Config, tls: &Tls) -> io::Result<()> {
    if !is_wanted(config) {
        return Ok(());
    }
    if let Some(first) = config.tls.certificates.first() {
        make_missing(config, first)?;
    }
    tls.put(Identity::read(&config.tls)?);
    Ok(())
}

/// The certificates as their files are now, if they are in use; to be put in force when all else of a reload is good.
///
/// # Errors
/// As [`start`]; what is in force stays.
pub(crate) fn again(config: &Config) -> io::Result<Option<Identity>> {
    is_wanted(config).then(|| Identity::read(&config.tls)).transpose()
}

fn make_missing(config: &Config, pair: &Pair) -> io::Result<()> {
    if pair.certificate.exists() || pair.key.exists() {
        return Ok(());
    }
    let names = names(config);
    let file = pair.certificate.display();
    make_certificate(pair, &names).map_err(|e| io::Error::new(e.kind(), format!("cannot make {file}: {e}")))?;
    tracing::warn!(%file, names = names.join(" "), "made a certificate that is signed by itself");
    Ok(())
}

/// What phones may have as our name: the domain first, its aliases, and every address that we listen at or tell.
fn names(config: &Config) -> Vec<String> {
    let hosts = std::iter::once(&config.switch.domain).chain(&config.switch.aliases);
    let hosts = hosts.map(|host| host.trim_matches(['[', ']']).to_owned());
    let addresses = config.listen.iter().flat_map(|listen| {
        let told = listen.advertise.map(|(ip, _)| ip);
        [Some(listen.address.ip()), told].into_iter().flatten()
    });
    let https = config.https.map(|at| at.ip()).filter(|ip| !ip.is_unspecified());
    let mut seen = BTreeSet::new();
    hosts
        .chain(addresses.chain(https).map(|ip| ip.to_string()))
        .filter(|name| name.is_ascii() && seen.insert(name.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn config(directory: &std::path::Path, listen: &str) -> Config {
        let text = "domain = \"pbx.example\"\naliases = [\"sip.pbx.example\", \"127.0.0.1\"]\n";
        std::fs::write(directory.join("switch.toml"), text).unwrap();
        let sets = vec![format!("switch.listen={listen}")];
        Source::new(Some(directory.to_owned()), sets).load().unwrap()
    }

    #[test]
    fn the_first_certificate_has_every_name_once_and_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), "tls://127.0.0.1:5061,udp://[::1]:5060");
        assert_eq!(names(&config), ["pbx.example", "sip.pbx.example", "127.0.0.1", "::1"]);
        let tls = Tls::default();
        start(&config, &tls).unwrap();
        let made = tls.identity().unwrap();
        start(&config, &tls).unwrap();
        assert!(made.shows_the_same(&again(&config).unwrap().unwrap()));
    }

    #[test]
    fn nothing_is_made_where_nothing_listens_with_tls() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), "tcp://127.0.0.1:5060");
        start(&config, &Tls::default()).unwrap();
        assert!(!directory.path().join("tls").exists());
        assert!(again(&config).unwrap().is_none());
    }

    #[test]
    fn a_key_whose_certificate_is_missing_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), "tls://127.0.0.1:5061");
        std::fs::create_dir(directory.path().join("tls")).unwrap();
        std::fs::write(directory.path().join("tls/tandem.key"), "theirs").unwrap();
        let error = start(&config, &Tls::default()).unwrap_err().to_string();
        assert!(error.contains("tls/tandem.pem: "), "{error}");
        assert_eq!(
            std::fs::read(directory.path().join("tls/tandem.key")).unwrap(),
            b"theirs"
        );
    }
}
