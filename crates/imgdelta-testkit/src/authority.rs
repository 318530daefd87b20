//! A certificate authority for tests, which signs certificates of servers.
//!
//! Each value generates a fresh key. Nothing trusts it by default, and nothing stores the key.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// A certificate authority with a fresh key.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A server's certificate and its key, both in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// Generates a key and signs its own certificate with it.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("randomness");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a key of its own").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Returns its certificate in PEM, for clients that should trust it.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Signs a certificate for a server of these names and addresses.
    pub fn certify(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().expect("randomness");
        let params = CertificateParams::new(names).expect("valid host names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a key of its own").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

impl Identity {
    /// Makes a certificate that its own key signed, as `openssl req -x509` does: it is its own
    /// authority.
    pub fn self_signed(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().expect("randomness");
        let mut params = CertificateParams::new(names).expect("valid host names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a key of its own").pem();
        Self { certificate, key: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
