//! Hosts: the spellings that are admitted, and those that are this machine.
//!
//! Pure. Only this machine is reached without TLS by default.

use std::net::Ipv6Addr;

/// Returns true if a host, with or without a port, is this machine.
pub fn is_loopback(host: &str) -> bool {
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

/// Returns true if a host is `NAME[:PORT]`, an address of IPv4, or one of IPv6 in brackets.
pub fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => ("v6", port),
        _ => host.split_once(':').map_or((host, ""), |(name, _)| (name, &host[name.len()..])),
    };
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    is_name && is_port
}

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
            assert!(is_host(host), "{host}");
        }
        for host in [
            "", ":5000", "r:", "r:x", "r:70000", "a@b", "r/x", "r?x", "r#x", "r%2e", "a b", "r\n",
            "[r]", "[::1", "::1", "http://r", "r:1:2",
        ] {
            assert!(!is_host(host), "{host:?}");
        }
    }
}
