//! TLS for streams: whom we show which certificate, whom we believe, and how all of it is renewed while connections go on.
//!
//! Reading and putting in force are two steps, so that a reload can be all or nothing. A connection keeps what it began
//! with; the next handshake uses what was put last.

mod domain;
mod first;
#[cfg(test)]
mod tests;

pub use first::make_certificate;

use domain::ByDomain;
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A certificate and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, followed by those between it and the root.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
}

/// Whether those who connect to us must show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// They are not asked.
    Off,
    /// They are asked; what is shown must be signed by one of this file.
    Optional(PathBuf),
    /// Nobody comes in without one that is signed by one of this file.
    Required(PathBuf),
}

/// The files that say who we are and whom we believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The first is shown unless the name that a peer asks for (SNI) is in another one. At most 1,000 are sensible: they are
    /// searched one by one.
    pub certificates: Vec<Pair>,
    /// What we ask of those who connect to us.
    pub clients: Clients,
    /// Whom we believe when we connect: roots, or the very certificates of peers. Without it we connect to nobody.
    pub trust: Option<PathBuf>,
}

/// The files, read and found good.
#[derive(Clone)]
pub struct Identity {
    server: Arc<ServerConfig>,
    client: Option<Arc<ClientConfig>>,
    /// The certificates shown, to see whether they are others than before.
    shown: Vec<Vec<CertificateDer<'static>>>,
}

impl Identity {
    /// Reads every file.
    ///
    /// # Errors
    /// Which file is wrong, and how: it is missing, is no PEM, or the key is not that of the certificate.
    pub fn read(files: &TlsFiles) -> io::Result<Identity> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let keys: Vec<_> = files
            .certificates
            .iter()
            .map(|pair| certified(pair, &provider))
            .collect::<io::Result<_>>()?;
        let first = keys
            .first()
            .cloned()
            .ok_or_else(|| io::Error::other("no certificate"))?;
        let shown = keys.iter().map(|key| key.cert.clone()).collect();
        let trust = files.trust.as_deref().map(roots).transpose()?;
        let client = trust.map(|roots| client(roots, first, &provider)).transpose()?;
        let server = Arc::new(server(keys, &files.clients, &provider)?);
        Ok(Identity { server, client, shown })
    }

    /// Whether it shows the same certificates.
    #[must_use]
    pub fn shows_the_same(&self, other: &Identity) -> bool {
        self.shown == other.shown
    }
}

/// What is in force. Cheap to clone; all clones share it.
#[derive(Clone, Default)]
pub struct Tls(Arc<RwLock<Option<Identity>>>);

impl Tls {
    /// For every handshake from now on.
    pub fn put(&self, identity: Identity) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(identity);
    }

    /// What is in force; `None` if nothing ever was.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ready(&self) -> io::Result<Identity> {
        self.identity()
            .ok_or_else(|| io::Error::other("no certificate was loaded"))
    }

    /// The handshake of one who came to us.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        TlsAcceptor::from(self.ready()?.server).accept(stream).await
    }

    /// The handshake with one we came to: its certificate must be for this name, or for this address if we know no name
    /// (RFC 5922 section 7.1).
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        name: Option<&str>,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let client = self.ready()?.client;
        let client = client.ok_or_else(|| io::Error::other("`trust` of [tls] names nobody to be believed"))?;
        let name = match name {
            Some(name) => ServerName::try_from(name.to_owned()).map_err(io::Error::other)?,
            None => ServerName::IpAddress(peer.into()),
        };
        TlsConnector::from(client).connect(name, stream).await
    }
}

fn server(keys: Vec<Arc<CertifiedKey>>, clients: &Clients, provider: &Arc<CryptoProvider>) -> io::Result<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match clients {
        Clients::Off => builder.with_no_client_auth(),
        Clients::Optional(ca) | Clients::Required(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider.clone());
            let verifier = match clients {
                Clients::Required(_) => verifier,
                _ => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(wrong(ca))?)
        }
    };
    Ok(builder.with_cert_resolver(Arc::new(ByName(keys))))
}

/// We show our first certificate to whoever asks us for one.
fn client(
    roots: RootCertStore,
    ours: Arc<CertifiedKey>,
    provider: &Arc<CryptoProvider>,
) -> io::Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(
            ByDomain::new(roots, provider.clone()).map_err(io::Error::other)?,
        ));
    Ok(Arc::new(
        builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(ours))),
    ))
}

fn certified(pair: &Pair, provider: &CryptoProvider) -> io::Result<Arc<CertifiedKey>> {
    let chain = certificates(&pair.certificate)?;
    // Every handshake reads the names in it again: so it is made sure once that they can be read.
    ParsedCertificate::try_from(&chain[0]).map_err(wrong(&pair.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(wrong(&pair.key))?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(wrong(&pair.key))?;
    Ok(Arc::new(certified))
}

/// One at least.
fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(wrong(path))?;
    if found.is_empty() {
        return Err(wrong(path)("no certificate in it"));
    }
    Ok(found)
}

fn roots(path: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(wrong(path))?;
    }
    Ok(roots)
}

/// Says which file.
fn wrong<E: Display>(path: &Path) -> impl Fn(E) -> io::Error {
    move |why| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
}

/// The first certificate with the name that is asked for, else the first.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = asked.and_then(|name| self.0.iter().find(|key| has_name(key, &name)));
        named.or_else(|| self.0.first()).cloned()
    }
}

fn has_name(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.cert.first().and_then(|cert| ParsedCertificate::try_from(cert).ok());
    parsed.is_some_and(|parsed| verify_server_name(&parsed, name).is_ok())
}
