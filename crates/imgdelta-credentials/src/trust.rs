//! Certificates: authorities that a server must show, and client certificates.
//!
//! Reads the machine's authorities and those that the user names. For each registry it reads the
//! directory of docker and podman: `*.crt` are authorities, `*.cert` with `*.key` a client
//! certificate. Opens no connection.

use crate::certificates::{NamedOrSigned, Unverified};
use imgdelta_core::{Error, Result};
use rustls::{
    ClientConfig, RootCertStore,
    client::danger::ServerCertVerifier,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Sources of certificates besides the machine's authorities.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Files of further authorities, in PEM.
    pub authorities: Vec<PathBuf>,
    /// Directories that have a directory for each `HOST[:PORT]`.
    pub per_host: Vec<PathBuf>,
    /// Accepts every certificate. Anybody on the way can then read logins and send other images.
    pub accepts_any: bool,
}

impl Trust {
    /// Uses the directories of docker and podman, and further authorities.
    pub fn of_machine(authorities: Vec<PathBuf>) -> Self {
        let per_host = vec!["/etc/docker/certs.d".into(), "/etc/containers/certs.d".into()];
        Self { authorities, per_host, accepts_any: false }
    }

    /// Accepts every certificate, by any authority or none.
    #[must_use]
    pub fn accept_any(mut self, accepts_any: bool) -> Self {
        self.accepts_any = accepts_any;
        self
    }

    /// Returns the TLS configuration for a host. It checks the host's certificate and name: an
    /// authority signed it, or it equals a certificate that the user named.
    pub fn config(&self, host: &str) -> Result<ClientConfig> {
        let (mut roots, mut named) = (RootCertStore::empty(), Vec::new());
        // An unreadable authority of the machine is one fewer, not an error.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for file in &self.authorities {
            add(&mut roots, &mut named, file)?;
        }
        let mut client = None;
        for dir in &self.per_host {
            // The host becomes part of a path; a name that could leave the directory is skipped.
            if host.contains('/') || host.starts_with('.') {
                continue;
            }
            for file in files_of(&dir.join(host)) {
                match file.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => add(&mut roots, &mut named, &file)?,
                    Some("cert") => client = Some(file),
                    _ => {}
                }
            }
        }
        let place = || format!("TLS with {host}");
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = if self.accepts_any {
            Arc::new(Unverified(Arc::clone(&provider)))
        } else {
            Arc::new(NamedOrSigned::new(roots, named, &provider))
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::bad_input_because(place(), "no protocol version", error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let Some(cert) = client else { return Ok(builder.with_no_client_auth()) };
        let key = cert.with_extension("key");
        let wrong = |error| Error::bad_input_because(key.display(), "not a key in PEM", error);
        let key_der = PrivateKeyDer::from_pem_file(&key).map_err(wrong)?;
        builder.with_client_auth_cert(certificates(&cert)?, key_der).map_err(|error| {
            Error::bad_input_because(cert.display(), "not a client certificate for TLS", error)
        })
    }
}

fn add(
    roots: &mut RootCertStore,
    named: &mut Vec<CertificateDer<'static>>,
    file: &Path,
) -> Result<()> {
    for certificate in certificates(file)? {
        roots.add(certificate.clone()).map_err(|error| {
            Error::bad_input_because(file.display(), "not a certificate for TLS", error)
        })?;
        named.push(certificate);
    }
    Ok(())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = fs::read(file).map_err(Error::io(file.display()))?;
    let parsed: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = parsed.map_err(|error| {
        Error::bad_input_because(file.display(), "no certificates in PEM", error)
    })?;
    if certificates.is_empty() {
        return Err(Error::bad_input(file.display(), "no certificates in PEM"));
    }
    Ok(certificates)
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let Ok(items) = fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<PathBuf> = items.flatten().map(|item| item.path()).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_authority_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        fs::write(&file, "nothing").unwrap();
        let error = Trust::of_machine(vec![file]).config("r").unwrap_err().to_string();
        assert!(error.contains("ca.pem: no certificates in PEM"), "{error}");
        let missing = Trust::of_machine(vec![dir.path().join("none")]).config("r");
        assert!(matches!(missing, Err(Error::Io { .. })));
        assert!(Trust::default().config("../r").is_ok());
    }
}
