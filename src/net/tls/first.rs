//! The certificate of the first start: signed by itself, so that phones can be tried at once; the operator replaces it.

use super::Pair;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);

/// Nothing renews it, and a phone that has accepted it once is not to be asked again: ten years.
const VALID: Duration = Duration::from_secs(3_650 * 86_400);

/// Makes a key (P-256, file mode 0600) and a certificate of it for these names, host names or addresses; the first one is
/// also its common name. Directories that are missing are made.
///
/// # Errors
/// A name that cannot stand in a certificate, and what the system says; then `pair.certificate` was not written.
pub fn make_certificate(pair: &Pair, names: &[String]) -> io::Result<()> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = parameters(names)
        .and_then(|parameters| parameters.self_signed(&key))
        .map_err(io::Error::other)?;
    // The key first: a certificate without its key would keep the next start from making both.
    write(&pair.key, &key.serialize_pem(), 0o600)?;
    write(&pair.certificate, &certificate.pem(), 0o644)
}

fn parameters(names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(names)?;
    let common = names.first().map_or("tandem", String::as_str);
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common);
    // A phone's clock may be behind ours.
    parameters.not_before = (SystemTime::now() - DAY).into();
    parameters.not_after = (SystemTime::now() + VALID).into();
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(parameters)
}

/// Under another name first: a file is whole or not there.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    let new = path.with_extension("new");
    // One that an earlier start left may have another mode.
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}
