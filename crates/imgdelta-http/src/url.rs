//! Absolute addresses of HTTP, and references that are resolved against them.
//!
//! Servers send them, so nothing is guessed: user names, other alphabets and escapes in a host are
//! errors. Sends nothing.

use crate::host::is_host;
use std::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv6Addr},
};

/// An absolute address. Its path and query may hold secrets, and are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// In lower case.
    scheme: String,
    /// A name in lower case, or an address; one of IPv6 is in brackets.
    host: String,
    /// `None` for the scheme's own port.
    port: Option<u16>,
    /// The path from its `/` on, and the query from its `?` on.
    target: String,
}

/// The reason why a text is not an address that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlError(&'static str);

impl Url {
    /// Parses an absolute address.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_BYTES {
            return Err(UrlError("longer than 32 KiB"));
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError("no scheme"))?;
        if !is_scheme(scheme) {
            return Err(UrlError("not a scheme"));
        }
        let scheme = scheme.to_ascii_lowercase();
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !is_host(authority.strip_suffix(':').unwrap_or(authority)) {
            return Err(UrlError("not a host"));
        }
        let (host, port) = split_port(authority);
        let port = if port.is_empty() { None } else { port.parse().ok() };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => {
                let address: Ipv6Addr = address.parse().map_err(|_| UrlError("not a host"))?;
                format!("[{address}]")
            }
            None => host.to_ascii_lowercase(),
        };
        let port = port.filter(|port| Some(*port) != default_port(&scheme));
        Ok(Self { scheme, host, port, target: normal_target(target) })
    }

    /// Resolves a reference, as RFC 3986 defines it.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let reference = reference.trim_matches(' ');
        let first = reference.split(['/', '?', '#']).next().unwrap_or_default();
        if first.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)) {
            return Self::parse(reference);
        }
        if reference.starts_with("//") {
            return Self::parse(&format!("{}:{reference}", self.scheme));
        }
        if reference.len() > MAX_BYTES {
            return Err(UrlError("longer than 32 KiB"));
        }
        let (path, query) =
            self.target.split_at(self.target.find('?').unwrap_or(self.target.len()));
        let target = match reference.chars().next() {
            None | Some('#') => format!("{path}{query}"),
            Some('/') => normal_target(reference),
            Some('?') => normal_target(&format!("{path}{reference}")),
            Some(_) => {
                let directory = &path[..=path.rfind('/').expect("a path starts with /")];
                normal_target(&format!("{directory}{reference}"))
            }
        };
        Ok(Self { target, ..self.clone() })
    }

    /// Appends a parameter to the query.
    pub fn append(&mut self, name: &str, value: &str) {
        let separator = match self.target.split_once('?') {
            None => "?",
            Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        self.target = format!("{}{separator}{}={}", self.target, encoded(name), encoded(value));
    }

    /// Returns the scheme in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the name in lower case, or the address; one of IPv6 is in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the host without brackets.
    pub fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the host if it is an address.
    pub fn address(&self) -> Option<IpAddr> {
        self.bare_host().parse().ok()
    }

    /// Returns the port, also if it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.port.or(default_port(&self.scheme)).unwrap_or(0)
    }

    /// Returns host and port; the scheme's own port is left out.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Returns the server without path and query, which may hold secrets.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority())
    }

    /// Returns true if two addresses are on one server, which may see the same secrets.
    pub fn is_same_server(&self, other: &Self) -> bool {
        (&self.scheme, &self.host, self.port) == (&other.scheme, &other.host, other.port)
    }

    /// Returns path and query as a request has them.
    pub fn target(&self) -> &str {
        &self.target
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.origin())
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for UrlError {}

/// Encodes the name or the value of a parameter.
pub fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    escaped(text, is_plain)
}

/// Returns a path and a query without dots, fragment, and characters that a request cannot have.
fn normal_target(text: &str) -> String {
    let text = text.split('#').next().unwrap_or_default();
    let (path, query) = text.split_at(text.find('?').unwrap_or(text.len()));
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        match segment.to_ascii_lowercase().replace("%2e", ".").as_str() {
            ".." => {
                segments.pop();
            }
            "." => {}
            _ => {
                segments.push(segment);
                continue;
            }
        }
        if is_last {
            segments.push("");
        }
    }
    escaped(&format!("/{}{query}", segments.join("/")), is_of_target)
}

fn escaped(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes any text");
        }
    }
    out
}

/// Returns true if a path or a query may have a byte as it is.
fn is_of_target(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Splits an authority at the colon of its port.
fn split_port(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Half of what the type of a request's address holds; signed addresses have a few KiB.
const MAX_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(url: &Url) -> String {
        format!("{}{}", url.origin(), url.target())
    }

    #[test]
    fn an_address_has_one_spelling() {
        for (given, expected) in [
            ("https://R.example", "https://r.example/"),
            ("HTTPS://r.example:443/x", "https://r.example/x"),
            ("http://r.example:443/x", "http://r.example:443/x"),
            ("https://r.example:/x", "https://r.example/x"),
            ("https://r.example?a=b#c", "https://r.example/?a=b"),
            ("https://[0:0::1]:5000/", "https://[::1]:5000/"),
            ("https://r.example/a/./b/../c/..", "https://r.example/a/"),
            ("https://r.example/../../a/%2e%2E/b", "https://r.example/b"),
            ("https://r.example//a//b/", "https://r.example//a//b/"),
            ("https://r.example/a b\"|\u{e9}?c d<", "https://r.example/a%20b%22%7C%C3%A9?c%20d%3C"),
            ("https://r.example/a%2Fb?x=%zz&/../", "https://r.example/a%2Fb?x=%zz&/../"),
            ("https://r.example/a\\..\\b", "https://r.example/a%5C..%5Cb"),
        ] {
            assert_eq!(text(&Url::parse(given).unwrap()), expected, "{given}");
        }
    }

    #[test]
    fn text_that_is_not_plainly_an_address_is_refused() {
        for wrong in [
            "",
            "r.example",
            "/x",
            "//r.example",
            "https:r.example",
            "https:/r.example/",
            "https://",
            "https:///x",
            "file:///etc/passwd",
            "https://u:p@r.example/",
            "https://r.example@evil.example/",
            "https://r.example\\@evil.example/",
            "https://r.example:70000/",
            "https://r.example:x/",
            "https://[::1/",
            "https://::1/",
            "https://[fe80::1%25eth0]/",
            "https://r%2eexample/",
            "https://r\u{e9}.example/",
            "https://r .example/",
            "1https://r/",
            "ht tp://r/",
        ] {
            assert!(Url::parse(wrong).is_err(), "{wrong:?}");
        }
        let long = format!("https://r/{}", "x".repeat(MAX_BYTES));
        assert!(Url::parse(&long).is_err());
        assert!(Url::parse("https://r/").unwrap().join(&long["https://r".len()..]).is_err());
    }

    #[test]
    fn references_are_resolved_as_rfc_3986_says() {
        let base = Url::parse("http://a.example/b/c/d;p?q").unwrap();
        for (reference, expected) in [
            ("https://h/x", "https://h/x"),
            ("g", "http://a.example/b/c/g"),
            ("./g/", "http://a.example/b/c/g/"),
            ("/g", "http://a.example/g"),
            ("//g.example/x", "http://g.example/x"),
            ("?y", "http://a.example/b/c/d;p?y"),
            ("g?y#s", "http://a.example/b/c/g?y"),
            ("", "http://a.example/b/c/d;p?q"),
            ("#s", "http://a.example/b/c/d;p?q"),
            ("..", "http://a.example/b/"),
            ("../g", "http://a.example/b/g"),
            ("../../../g", "http://a.example/g"),
            ("g/sha256:1?n=//", "http://a.example/b/c/g/sha256:1?n=//"),
        ] {
            assert_eq!(text(&base.join(reference).unwrap()), expected, "{reference}");
        }
        for wrong in ["sha256:1", "javascript:x", "//", "https://u@h/"] {
            assert!(base.join(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn any_text_is_an_error_or_an_address_that_a_request_can_have() {
        const PARTS: [&str; 32] = [
            "http",
            "https",
            ":",
            "//",
            "/",
            "..",
            ".",
            "?",
            "#",
            "@",
            "[",
            "]",
            "::1",
            "\\",
            "%2e",
            "%",
            "r.example",
            "127.0.0.1",
            "65535",
            "99999",
            "&a=",
            " ",
            "\t",
            "\n",
            "\0",
            "\u{7f}",
            "\u{e9}",
            "\u{202e}",
            "<",
            "|",
            "a",
            "Z",
        ];
        let base = Url::parse("https://r.example/v2/").unwrap();
        let mut addresses = 0;
        for picks in imgdelta_testkit::noise(7, 80_000).chunks(8) {
            let count = 1 + usize::from(picks[0]) % 7;
            let parts = picks[1..=count].iter().map(|pick| PARTS[usize::from(*pick) % 32]);
            let reference: String = parts.collect();
            for url in [Url::parse(&format!("https://{reference}")), base.join(&reference)] {
                let Ok(mut url) = url else { continue };
                addresses += 1;
                url.append(&reference, &reference);
                assert_eq!(Url::parse(&text(&url)).as_ref(), Ok(&url), "{reference:?}");
                hyper::Uri::try_from(url.target()).unwrap();
                hyper::Uri::try_from(text(&url)).unwrap();
                hyper::header::HeaderValue::try_from(url.authority()).unwrap();
            }
        }
        assert!(addresses > 1000, "{addresses}");
    }

    #[test]
    fn parameters_are_appended_and_encoded() {
        let mut url = Url::parse("https://r/upload").unwrap();
        url.append("digest", "sha256:ab");
        assert_eq!(url.target(), "/upload?digest=sha256%3Aab");
        url.append("a b", "c&d=+");
        assert_eq!(url.target(), "/upload?digest=sha256%3Aab&a%20b=c%26d%3D%2B");
        let mut url = Url::parse("https://r/upload?").unwrap();
        url.append("a", "b");
        assert_eq!(url.target(), "/upload?a=b");
    }

    #[test]
    fn path_and_query_are_not_printed() {
        let url = Url::parse("https://r:7/x?token=hunter2").unwrap();
        assert_eq!(format!("{url:?}"), "https://r:7/…");
    }
}
