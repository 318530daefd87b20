//! Addresses of registries: host and scheme.
//!
//! Knows the hosts that are this machine; only those are reached without TLS by default. Sends
//! nothing.

use imgdelta_core::{Error, Result, path::escaped};
use std::net::Ipv6Addr;

/// Returns the host that serves a registry. Docker Hub's differs from its name.
pub(crate) fn address(host: &str) -> &str {
    if matches!(host, "docker.io" | "index.docker.io") { "registry-1.docker.io" } else { host }
}

/// Returns true if a host, with or without a port, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    is_this_machine(name)
}

/// Returns true for `localhost` and loopback addresses. Other names of this machine do not count.
pub fn is_this_machine(name: &str) -> bool {
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|at| at.is_loopback())
}

/// Checks that a host is `NAME[:PORT]`, an address of IPv4, or one of IPv6 in brackets.
pub(crate) fn check(host: &str) -> Result<()> {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => ("v6", port),
        _ => host.split_once(':').map_or((host, ""), |(name, _)| (name, &host[name.len()..])),
    };
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    if is_name && is_port {
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
    fn only_this_machine_is_loopback() {
        for host in
            ["localhost", "localhost:5000", "127.0.0.1:1", "127.9.9.9", "[::1]:5000", "[::1]"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "10.0.0.1:5000", "127.example:1", "[::2]:5000", "r:127"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in ["r", "r.example", "r.example:5000", "127.0.0.1:1", "[::1]", "[::1]:5000"] {
            check(host).unwrap();
        }
        for host in [
            "", ":5000", "r:", "r:x", "r:70000", "a@b", "r/x", "r?x", "r#x", "r%2e", "a b", "r\n",
            "[r]", "[::1", "::1", "http://r", "r:1:2",
        ] {
            assert!(check(host).is_err(), "{host:?}");
        }
        assert_eq!(address("docker.io"), "registry-1.docker.io");
    }
}
