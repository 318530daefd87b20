//! Addresses of registries: host and scheme.
//!
//! Knows the hosts that are this machine; only those are reached without TLS by default. Sends
//! nothing.

use reqwest::Url;

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

/// Returns true if secrets may be sent to an address: over TLS, to this machine, or to any address
/// with `plain_http`.
pub(crate) fn is_private(url: &Url, plain_http: bool) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => plain_http || url.host_str().is_some_and(is_loopback_name),
        _ => false,
    }
}

fn is_loopback_name(name: &str) -> bool {
    // A URL writes IPv6 in brackets, and the name has no port.
    if name.starts_with('[') { is_loopback(name) } else { is_loopback(&format!("{name}:0")) }
}

/// Returns true if two addresses are on one server, which may see the same secrets.
pub(crate) fn is_same_server(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
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
    fn secrets_go_over_tls_or_stay_here() {
        let private = |url: &str| is_private(&Url::parse(url).unwrap(), false);
        assert!(private("https://auth.example/token"));
        assert!(private("http://127.0.0.1:9/token") && private("http://[::1]/token"));
        assert!(!private("http://auth.example/token"));
        assert!(!private("ftp://localhost/token"));
        assert!(is_private(&Url::parse("http://auth.example/").unwrap(), true));
        assert_eq!(address("docker.io"), "registry-1.docker.io");
    }
}
