//! An authority of a test's own, which signs certificates for servers.
//!
//! Its key is made anew each time and kept nowhere; nobody trusts it unasked.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// An authority that nobody trusts who was not told to.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// What a server shows, and what proves that it may: both in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// Makes one.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("randomness");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a key of its own").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Returns its certificate, in PEM, for those who are to trust it.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Signs a certificate for a server of these names and addresses.
    pub fn certify(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().expect("randomness");
        let params = CertificateParams::new(names).expect("names as hosts have them");
        let certificate = params.signed_by(&key, &self.issuer).expect("a key of its own").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
