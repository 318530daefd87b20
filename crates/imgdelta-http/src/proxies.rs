//! Proxies of the user: the one for an address, and the addresses that are reached without one.
//!
//! Understands the variables that curl understands. Connects to nothing, and shows no password.

use crate::url::Url;
use base64::Engine as _;
use imgdelta_core::{Error, Result};
use imgdelta_credentials::Secret;
use std::net::IpAddr;

/// Proxies for registries, by the scheme of a request's address.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<ProxyVariable>,
    https: Option<ProxyVariable>,
    exceptions: Vec<ProxyException>,
}

/// A variable that names a proxy. A value that names none is an error when the proxy is needed.
#[derive(Clone, Debug)]
struct ProxyVariable {
    name: &'static str,
    proxy: Option<Proxy>,
}

/// A proxy, which is a server that speaks HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Scheme, host and port.
    pub url: Url,
    /// The value of its authorization header.
    pub authorization: Option<Secret>,
}

/// Servers that are reached without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ProxyException {
    All,
    /// A name in lower case without a leading dot, and all names below it.
    Domain(String),
    /// Addresses that have the first bits of this one.
    Network(IpAddr, u8),
}

impl Proxies {
    /// Uses no proxy.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the user's variables: `HTTP_PROXY` and `HTTPS_PROXY` for addresses of that scheme,
    /// `ALL_PROXY` for both, `NO_PROXY` for exceptions, and the same names in lower case.
    ///
    /// A proxy is `[http://|https://][USER[:PASSWORD]@]HOST[:PORT]`. An exception is a domain, which
    /// includes its subdomains, an address, a network such as `10.0.0.0/8`, or `*`; commas separate
    /// them. A program that a web server calls (`REQUEST_METHOD` is set) uses no proxy, as a client
    /// of that server could set `HTTP_PROXY` by a header.
    pub fn of_user(var: impl Fn(&str) -> Option<String>) -> Self {
        if var("REQUEST_METHOD").is_some() {
            return Self::none();
        }
        let variable = |names: [&'static str; 2]| {
            let (name, value) = names.into_iter().find_map(|name| Some((name, var(name)?)))?;
            let value = value.trim();
            (!value.is_empty()).then(|| ProxyVariable { name, proxy: Proxy::parse(value) })
        };
        let all = variable(["ALL_PROXY", "all_proxy"]);
        let exceptions = var("NO_PROXY").or_else(|| var("no_proxy")).unwrap_or_default();
        Self {
            http: variable(["HTTP_PROXY", "http_proxy"]).or_else(|| all.clone()),
            https: variable(["HTTPS_PROXY", "https_proxy"]).or(all),
            exceptions: exceptions.split(',').filter_map(ProxyException::parse).collect(),
        }
    }

    /// Returns the proxy for an address, or `None` to connect to the address itself.
    pub(crate) fn find(&self, url: &Url) -> Result<Option<&Proxy>> {
        let variable = if url.scheme() == "https" { &self.https } else { &self.http };
        let Some(variable) = variable else { return Ok(None) };
        if self.exceptions.iter().any(|exception| exception.includes(url)) {
            return Ok(None);
        }
        variable.proxy.as_ref().map(Some).ok_or_else(|| {
            let what = "not an HTTP proxy; expected http://HOST:PORT or https://HOST:PORT";
            Error::bad_input(format!("variable {}", variable.name), what)
        })
    }
}

impl Proxy {
    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        let server = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (login, server) = match server.rsplit_once('@') {
            Some((login, server)) => (Some(login), server),
            None => (None, server),
        };
        let url = Url::parse(&format!("{scheme}://{server}/")).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let authorization = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            let pair = [decoded(user), b":".to_vec(), decoded(password)].concat();
            Secret::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
        });
        Some(Self { url, authorization })
    }
}

impl ProxyException {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text == "*" {
            return Some(Self::All);
        }
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        if let Ok(address) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = if bits.is_empty() { Some(most) } else { bits.parse().ok() };
            return bits.filter(|bits| *bits <= most).map(|bits| Self::Network(address, bits));
        }
        let name = text.trim_start_matches('.').to_ascii_lowercase();
        (!name.is_empty()).then_some(Self::Domain(name))
    }

    fn includes(&self, url: &Url) -> bool {
        match self {
            Self::All => true,
            Self::Domain(name) => {
                let above = url.host().strip_suffix(name.as_str());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            Self::Network(network, bits) => match (network, url.address()) {
                (IpAddr::V4(network), Some(IpAddr::V4(host))) => {
                    let bits = 32 - u32::from(*bits);
                    u64::from(network.to_bits()) >> bits == u64::from(host.to_bits()) >> bits
                }
                (IpAddr::V6(network), Some(IpAddr::V6(host))) => {
                    let bits = 128 - u32::from(*bits);
                    let first = |address: u128| address.checked_shr(bits).unwrap_or(0);
                    first(network.to_bits()) == first(host.to_bits())
                }
                _ => false,
            },
        }
    }
}

/// Undoes percent encoding; other text stays.
fn decoded(text: &str) -> Vec<u8> {
    let hex =
        |byte: Option<&u8>| char::from(*byte?).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        match (bytes[at], hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_user(variables: &[(&str, &str)]) -> Proxies {
        let found = |name: &str| variables.iter().find(|(key, _)| *key == name);
        Proxies::of_user(|name| found(name).map(|(_, value)| (*value).to_owned()))
    }

    fn found(proxies: &Proxies, url: &str) -> Option<String> {
        let proxy = proxies.find(&Url::parse(url).unwrap()).unwrap();
        proxy.map(|proxy| proxy.url.origin())
    }

    #[test]
    fn the_scheme_decides_the_proxy() {
        let proxies = of_user(&[("HTTP_PROXY", "a:1"), ("https_proxy", "https://B/x")]);
        assert_eq!(found(&proxies, "http://r/").as_deref(), Some("http://a:1"));
        assert_eq!(found(&proxies, "https://r/").as_deref(), Some("https://b"));
        let proxies = of_user(&[("ALL_PROXY", "http://c:3"), ("https_proxy", "d")]);
        assert_eq!(found(&proxies, "http://r/").as_deref(), Some("http://c:3"));
        assert_eq!(found(&proxies, "https://r/").as_deref(), Some("http://d"));
        // The first name that is set counts, also without a value.
        let proxies = of_user(&[("HTTP_PROXY", ""), ("http_proxy", "a:1")]);
        assert_eq!(found(&proxies, "http://r/"), None);
        let proxies = of_user(&[("HTTP_PROXY", "a:1"), ("REQUEST_METHOD", "GET")]);
        assert_eq!(found(&proxies, "http://r/"), None);
    }

    #[test]
    fn exceptions_are_domains_addresses_and_networks() {
        let list = " .example.com, Other.example ,10.0.0.0/8,192.168.1.1,fd00::/8,[::1],0.0.0.0/x,";
        let proxies = of_user(&[("ALL_PROXY", "p:1"), ("NO_PROXY", list)]);
        for host in [
            "example.com",
            "a.b.example.com",
            "other.example",
            "r.other.example",
            "10.9.9.9:5000",
            "192.168.1.1",
            "[fdff::1]",
            "[::1]:5000",
        ] {
            assert_eq!(found(&proxies, &format!("https://{host}/")), None, "{host}");
        }
        for host in [
            "notexample.com",
            "example.com.evil",
            "another.example",
            "11.0.0.1",
            "192.168.1.2",
            "[fe00::1]",
            "10.example",
        ] {
            assert!(found(&proxies, &format!("https://{host}/")).is_some(), "{host}");
        }
        for list in ["*", "0.0.0.0/0,::/0"] {
            let proxies = of_user(&[("ALL_PROXY", "p:1"), ("no_proxy", list)]);
            assert_eq!(found(&proxies, "https://8.8.8.8/"), None);
            assert_eq!(found(&proxies, "https://[2600::1]/"), None);
        }
    }

    #[test]
    fn a_login_is_decoded_and_never_printed() {
        let proxies = of_user(&[("HTTP_PROXY", "http://me:pass%20%40%zz@p.example:8080")]);
        let proxy = proxies.find(&Url::parse("http://r/").unwrap()).unwrap().unwrap();
        // The pair is `me:pass @%zz`.
        let header = proxy.authorization.as_ref().unwrap().reveal();
        assert_eq!(header, "Basic bWU6cGFzcyBAJXp6");
        let printed = format!("{proxies:?}");
        assert!(!printed.contains("pass") && !printed.contains("bWU6"), "{printed}");
    }

    #[test]
    fn a_proxy_that_is_none_is_an_error_where_it_is_needed() {
        for value in ["socks5://me:secret@p:1080", "http://", "p:x", "http://p%41/"] {
            let proxies = of_user(&[("HTTPS_PROXY", value)]);
            let error = proxies.find(&Url::parse("https://r/").unwrap()).unwrap_err().to_string();
            assert!(error.starts_with("variable HTTPS_PROXY: not an HTTP proxy; "), "{error}");
            assert!(!error.contains("secret"), "{error}");
            assert_eq!(found(&proxies, "http://r/"), None);
        }
    }
}
