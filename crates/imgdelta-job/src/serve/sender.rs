//! Senders of requests: proofs that one of them has the secret.
//!
//! A sender shows the secret itself, as a token or as a password, or signs the body with it, as GitHub
//! does. Comparisons take a time that depends on lengths only. Decides nothing else about a request.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{HeaderMap, header};
use imgdelta_registry::Secret;
use ring::hmac;

/// Returns true if a request shows the secret: as the token of a program, or as the password of a
/// browser or of a login in an address.
pub(super) fn has_secret(headers: &HeaderMap, secret: &Secret) -> bool {
    let Some(given) = headers.get(header::AUTHORIZATION) else { return false };
    let secret = secret.reveal().as_bytes();
    if let Some(token) = given.as_bytes().strip_prefix(b"Bearer ") {
        return is_same(token, secret);
    }
    let Some(login) = given.as_bytes().strip_prefix(b"Basic ") else { return false };
    let Ok(login) = STANDARD.decode(login) else { return false };
    let Some(colon) = login.iter().position(|byte| *byte == b':') else { return false };
    is_same(&login[colon + 1..], secret)
}

/// The signature of a body in the header of a request: `X-Hub-Signature-256`, HMAC with SHA-256.
#[derive(Debug)]
pub(super) struct BodySignature([u8; SIGNATURE_BYTES]);

impl BodySignature {
    /// Returns the signature of a request, if it has one that can be read.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let hex = headers.get(SIGNATURE_HEADER)?.to_str().ok()?.strip_prefix("sha256=")?;
        if hex.len() != 2 * SIGNATURE_BYTES || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut signature = [0; SIGNATURE_BYTES];
        for (at, byte) in signature.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(signature))
    }

    /// Returns true if this is the signature of a body with a secret.
    pub(super) fn is_of(&self, body: &[u8], secret: &Secret) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
        hmac::verify(&key, body, &self.0).is_ok()
    }
}

/// Compares secrets in a time that depends only on their length.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

const SIGNATURE_HEADER: &str = "x-hub-signature-256";
const SIGNATURE_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        [(name, HeaderValue::from_str(value).unwrap())].into_iter().collect()
    }

    #[test]
    fn only_the_secret_admits() {
        let secret = Secret::new("hunter2");
        let is_admitted = |value: &str| has_secret(&headers(header::AUTHORIZATION, value), &secret);
        let basic = |login: &str| format!("Basic {}", STANDARD.encode(login));
        for value in ["Bearer hunter2".into(), basic("anybody:hunter2"), basic(":hunter2")] {
            assert!(is_admitted(&value), "{value}");
        }
        let wrong = ["", "Bearer", "Bearer hunter", "hunter2", "Basic %", "Basic hunter2"];
        let wrong = wrong.map(String::from).into_iter();
        for value in wrong.chain(["hunter2", "hunter2:", "x:y", "x:y:hunter2"].map(basic)) {
            assert!(!is_admitted(&value), "{value}");
        }
        assert!(!has_secret(&HeaderMap::new(), &secret));
    }

    /// The secret, the body and the signature of GitHub's documentation.
    #[test]
    fn the_signature_of_githubs_documentation_is_valid() {
        let secret = Secret::new("It's a Secret to Everybody");
        let value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let signature = |value: &str| {
            BodySignature::of(&headers(HeaderName::from_static(SIGNATURE_HEADER), value))
        };
        assert!(signature(value).unwrap().is_of(b"Hello, World!", &secret));
        assert!(!signature(value).unwrap().is_of(b"Hello, World?", &secret), "another body");
        assert!(!signature(value).unwrap().is_of(b"Hello, World!", &Secret::new("guess")));
        let (short, long) = (&value[..value.len() - 2], format!("{value}00"));
        let other = value.replace("757107", "757108");
        assert!(!signature(&other).unwrap().is_of(b"Hello, World!", &secret));
        let sha1 = value.replace("sha256", "sha1");
        let signed = value.replace("=7571", "=+571");
        for unreadable in ["", "sha256=", short, &long, &sha1, &signed, &value[7..]] {
            assert!(signature(unreadable).is_none(), "{unreadable}");
        }
    }
}
