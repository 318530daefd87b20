//! Addresses of registries: the host that serves one.
//!
//! Sends nothing.

use imgdelta_core::{Error, Result, path::escaped};
use imgdelta_http::is_host;

/// Returns the host that serves a registry. Docker Hub's differs from its name.
pub(crate) fn address(host: &str) -> &str {
    if matches!(host, "docker.io" | "index.docker.io") { "registry-1.docker.io" } else { host }
}

/// Checks that a host is `NAME[:PORT]`, an address of IPv4, or one of IPv6 in brackets.
pub(crate) fn check(host: &str) -> Result<()> {
    if is_host(host) {
        return Ok(());
    }
    let shown: String = host.chars().take(MAX_SHOWN_CHARS).collect();
    let place = format!("registry {:?}", escaped(shown.as_bytes()));
    Err(Error::bad_input(place, "not a host; expected NAME or NAME:PORT"))
}

/// Long enough to recognise a host.
const MAX_SHOWN_CHARS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_has_another_address_than_name() {
        assert_eq!(address("docker.io"), "registry-1.docker.io");
        assert_eq!(address("r.example:5000"), "r.example:5000");
    }
}
