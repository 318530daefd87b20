//! The servers that a registry may lead to: redirects, upload addresses, token servers.
//!
//! A registry must not lead to a machine that only this machine can reach, unless the registry is
//! in that place itself. Names are judged by the addresses that a connection uses, so that a name
//! whose address changes does not help an attacker. Sends nothing.

mod scope;

use crate::{host::is_loopback, url::Url};
use scope::AddressScope;
use std::{
    fmt,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The rule for the servers that one registry leads to.
#[derive(Debug)]
pub struct Reach {
    /// Name or address of the registry, as a URL writes it.
    registry: String,
    plain_http: bool,
    state: Mutex<ReachState>,
}

#[derive(Debug, Default)]
struct ReachState {
    /// The registry is used without TLS.
    is_plain: bool,
    /// The widest scope of the registry's addresses so far. Behind a proxy it stays unknown.
    scope: Option<AddressScope>,
}

impl Reach {
    /// Makes the rule for a registry at `address`, a host with or without a port.
    pub fn new(address: &str, plain_http: bool) -> Self {
        let url = Url::parse(&format!("https://{address}/")).ok();
        let registry = url.as_ref().map_or(address, Url::host);
        let scope = url.as_ref().and_then(Url::address).map(AddressScope::of);
        let state = ReachState { scope, ..ReachState::default() };
        Self { registry: bare(registry), plain_http, state: Mutex::new(state) }
    }

    /// Records that the registry is used without TLS.
    pub fn use_plain_http(&self) {
        self.state().is_plain = true;
    }

    /// Admits an address that the registry leads to, or says why not. A name is judged again when
    /// it is resolved.
    pub fn admit(&self, url: &Url) -> Result<(), UnreachableAddress> {
        let refuse = |why: &str| Err(UnreachableAddress::new(url, why));
        let host = url.host();
        let state = self.state();
        let is_admitted = match url.scheme() {
            "https" => true,
            // Without TLS only where the registry has none, and where the user allowed it.
            "http" => state.is_plain && (self.plain_http || is_loopback(host)),
            _ => false,
        };
        if !is_admitted {
            return refuse("an address without TLS");
        }
        if bare(host) == self.registry {
            return Ok(());
        }
        if let Some(address) = url.address() {
            let scope = AddressScope::of(address);
            return if scope > state.narrowest() { refuse(scope.words()) } else { Ok(()) };
        }
        // Resolvers take `2130706433`, `0x7f.1` and `127.0.0.1.` for 127.0.0.1.
        if ends_with_number(host) {
            return refuse("an address in an unusual spelling");
        }
        Ok(())
    }

    /// Returns the addresses of a name that a connection may use, or says why there are none.
    pub(crate) fn admit_addresses(
        &self,
        name: &str,
        addresses: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, UnreachableAddress> {
        let name = bare(name);
        let mut state = self.state();
        let scopes = addresses.iter().map(|address| AddressScope::of(address.ip()));
        if name == self.registry {
            // A registry that is public once is public for good: its name may lie later.
            state.scope = scopes.chain(state.scope).min();
        }
        let narrowest = state.narrowest();
        let mut refused = None;
        let admitted = addresses.into_iter().filter(|address| {
            let scope = AddressScope::of(address.ip());
            if scope > narrowest {
                refused = Some(scope);
            }
            scope <= narrowest
        });
        let admitted: Vec<SocketAddr> = admitted.collect();
        match refused {
            Some(scope) if admitted.is_empty() => {
                Err(UnreachableAddress { server: name, why: scope.words().to_owned() })
            }
            _ => Ok(admitted),
        }
    }

    fn state(&self) -> MutexGuard<'_, ReachState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReachState {
    /// Returns the narrowest scope that the registry may lead to.
    fn narrowest(&self) -> AddressScope {
        self.scope.unwrap_or(AddressScope::Public)
    }
}

/// The refusal of a server that a registry leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreachableAddress {
    /// The server without path and query, which may hold secrets.
    server: String,
    why: String,
}

impl UnreachableAddress {
    fn new(url: &Url, why: &str) -> Self {
        Self { server: url.origin(), why: why.to_owned() }
    }
}

impl fmt::Display for UnreachableAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, why } = self;
        write!(f, "the registry leads to {server}, {why}; nothing was sent there")
    }
}

impl std::error::Error for UnreachableAddress {}

/// Returns true if the last part of a name is a number, as in no domain.
fn ends_with_number(name: &str) -> bool {
    let last = bare(name).rsplit('.').next().unwrap_or_default().to_owned();
    let digits = last.strip_prefix("0x").unwrap_or(&last);
    let is_hex = digits.len() < last.len();
    digits.bytes().all(|byte| byte.is_ascii_digit() || (is_hex && byte.is_ascii_hexdigit()))
}

/// Returns a name as it is compared: `r.example.` and `R.example` are `r.example`.
fn bare(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect()
    }

    /// A registry whose name has this address.
    fn registry_at(address: &str) -> Reach {
        let reach = Reach::new("r.example:5000", false);
        reach.admit_addresses("r.example", addresses(&[address])).unwrap();
        reach
    }

    #[test]
    fn a_public_registry_leads_to_no_address_that_only_this_machine_reaches() {
        let reach = registry_at("8.8.8.8");
        for refused in [
            "https://127.0.0.1/",
            "https://[::1]:9/x",
            "https://0.0.0.0/",
            "https://10.0.0.1/",
            "https://192.168.0.1/",
            "https://169.254.169.254/latest",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://2130706433/",
            "https://0x7f.1/",
            "http://8.8.8.8/",
            "http://cdn.example/",
            "ftp://cdn.example/",
            "file://8.8.8.8/etc/passwd",
            "https://127.0.0.1./",
            "https://127.0x1/",
        ] {
            let refusal = reach.admit(&url(refused)).unwrap_err().to_string();
            assert!(refusal.contains("nothing was sent there"), "{refused}: {refusal}");
        }
        for admitted in ["https://8.8.4.4/", "https://cdn.example/x", "https://r.example:7/x"] {
            reach.admit(&url(admitted)).unwrap();
        }
        // The path may hold a secret.
        let refusal = reach.admit(&url("https://127.0.0.1:7/a?token=hunter2")).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "the registry leads to https://127.0.0.1:7, an address of this machine; nothing was \
             sent there"
        );
    }

    #[test]
    fn a_name_is_judged_by_the_addresses_of_each_connection() {
        let reach = registry_at("8.8.8.8");
        reach.admit(&url("https://CDN.example/x")).unwrap();
        let resolve = |found: &[&str]| reach.admit_addresses("cdn.example", addresses(found));
        assert_eq!(resolve(&["9.9.9.9"]).unwrap(), addresses(&["9.9.9.9"]));
        // The same name has another address at the next connection.
        for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1"] {
            let refusal = resolve(&[address]).unwrap_err().to_string();
            assert!(refusal.starts_with("the registry leads to cdn.example, a"), "{refusal}");
            assert_eq!(resolve(&[address, "9.9.9.9"]).unwrap(), addresses(&["9.9.9.9"]));
        }
        // The registry's own name follows the same rule.
        let own = |found: &[&str]| reach.admit_addresses("R.example.", addresses(found));
        assert!(own(&["127.0.0.1"]).is_err());
        assert_eq!(own(&["8.8.8.8", "::1"]).unwrap(), addresses(&["8.8.8.8"]));
    }

    #[test]
    fn a_registry_leads_to_places_like_its_own() {
        let private = registry_at("10.0.0.5");
        private.admit(&url("https://192.168.0.1/")).unwrap();
        private.admit(&url("https://8.8.8.8/")).unwrap();
        assert!(private.admit(&url("https://127.0.0.1/")).is_err());
        assert!(private.admit(&url("https://169.254.169.254/")).is_err());
        // It has a public address after all.
        private.admit_addresses("r.example", addresses(&["8.8.8.8"])).unwrap();
        assert!(private.admit(&url("https://192.168.0.1/")).is_err());

        let here = Reach::new("127.0.0.1:5000", false);
        here.admit(&url("https://127.0.0.1:7/")).unwrap();
        here.admit(&url("https://10.0.0.1/")).unwrap();
        assert!(here.admit(&url("http://127.0.0.1:7/")).is_err(), "the registry has TLS");
        here.use_plain_http();
        here.admit(&url("http://127.0.0.1:7/")).unwrap();
        here.admit(&url("http://localhost:7/")).unwrap();
        assert!(here.admit(&url("http://cdn.example/")).is_err(), "TLS is possible there");
        assert!(Reach::new("10.0.0.1", false).admit(&url("https://[::1]/")).is_err());
        assert!(Reach::new("[::1]:5000", false).admit(&url("https://127.0.0.1/")).is_ok());
    }

    #[test]
    fn plain_http_stays_a_choice_of_the_user() {
        let reach = Reach::new("r.example", true);
        reach.admit_addresses("r.example", addresses(&["8.8.8.8"])).unwrap();
        reach.use_plain_http();
        reach.admit(&url("http://cdn.example/")).unwrap();
        assert!(reach.admit(&url("http://127.0.0.1/")).is_err());
        assert!(reach.admit(&url("ftp://cdn.example/")).is_err());
    }
}
