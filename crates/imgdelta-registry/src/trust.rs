//! Which certificates a server may show, and which are shown to it.
//!
//! The machine's authorities, those the user names, and for registries those in the directories
//! where docker and podman look per host: `*.crt` are authorities, `*.cert` with `*.key` are ours.
//! Connects to nothing.

use imgdelta_core::{Error, Result};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where certificates are looked for.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Files of authorities to trust besides, in PEM.
    pub authorities: Vec<PathBuf>,
    /// Directories with a directory per `HOST[:PORT]`.
    pub per_host: Vec<PathBuf>,
}

impl Trust {
    /// The machine's authorities and the usual directories.
    pub fn of_machine(authorities: Vec<PathBuf>) -> Self {
        let per_host = vec!["/etc/docker/certs.d".into(), "/etc/containers/certs.d".into()];
        Self { authorities, per_host }
    }

    /// Returns how TLS is spoken with a host: its certificate and its name are checked.
    pub fn config(&self, host: &str) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        // An authority of the machine's that cannot be read is one fewer, not a failure.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for file in &self.authorities {
            add(&mut roots, file)?;
        }
        let mut own = None;
        for dir in &self.per_host {
            // A host's name is no path; one that could be is not looked for.
            if host.contains('/') || host.starts_with('.') {
                continue;
            }
            for file in files_of(&dir.join(host)) {
                match file.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => add(&mut roots, &file)?,
                    Some("cert") => own = Some(file),
                    _ => {}
                }
            }
        }
        let place = || format!("TLS with {host}");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::bad_input_because(place(), "no protocol version", error))?
            .with_root_certificates(roots);
        let Some(cert) = own else { return Ok(builder.with_no_client_auth()) };
        let key = cert.with_extension("key");
        let wrong = |error| Error::bad_input_because(key.display(), "no key in PEM", error);
        let key_der = PrivateKeyDer::from_pem_file(&key).map_err(wrong)?;
        builder
            .with_client_auth_cert(certificates(&cert)?, key_der)
            .map_err(|error| Error::bad_input_because(cert.display(), "not used for TLS", error))
    }
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<()> {
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| {
            Error::bad_input_because(file.display(), "no certificate of an authority", error)
        })?;
    }
    Ok(())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = fs::read(file).map_err(Error::io(file.display()))?;
    let read: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let read = read.map_err(|error| {
        Error::bad_input_because(file.display(), "no certificates in PEM", error)
    })?;
    if read.is_empty() {
        return Err(Error::bad_input(file.display(), "no certificates in PEM"));
    }
    Ok(read)
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
    fn a_file_that_holds_no_authority_is_told() {
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
