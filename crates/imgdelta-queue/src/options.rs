//! Connection options of a `PostgreSQL` server, as libpq writes them.
//!
//! Opens no connection. Decides if TLS is used: `tokio-postgres` has the same value for
//! `sslmode=prefer` and for no `sslmode`, and a missing option must not let an attacker switch TLS
//! off.

use imgdelta_http::is_this_machine;
use serde::{Deserialize, Deserializer, de};
use std::{fmt, ops::Range, str::FromStr, time::Duration};
use tokio_postgres::config::{Host, SslMode, SslNegotiation};

/// Connection options of a `PostgreSQL` server, parsed from
/// `host=db.example user=imgdelta dbname=imgdelta` or from a `postgres://` address.
///
/// Without `sslmode`, TLS is required. Sockets and addresses of this machine are the exception:
/// their traffic stays on the machine, and servers often have an unsigned certificate there. With
/// TLS, the certificate and its name are always checked; the test
/// `only_a_trusted_certificate_is_accepted` holds this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    options: tokio_postgres::Config,
    answer_timeout: Duration,
}

impl PostgresOptions {
    /// Returns true if connections use TLS, always or where the server offers it.
    pub fn uses_tls(&self) -> bool {
        self.options.get_ssl_mode() != SslMode::Disable
    }

    /// Sets the time after which a server that has not answered counts as away, within bounds: no lease
    /// may end while a heartbeat waits.
    #[must_use]
    pub fn answer_timeout(mut self, limit: Duration) -> Self {
        self.answer_timeout = limit.clamp(SHORTEST_ANSWER, LONGEST_ANSWER);
        self
    }

    /// Returns the time after which the server counts as away.
    pub(crate) fn longest_answer(&self) -> Duration {
        self.answer_timeout
    }

    /// Returns the options of a connection, without the password.
    pub(crate) fn options(&self) -> &tokio_postgres::Config {
        &self.options
    }
}

impl FromStr for PostgresOptions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if has_password(text) {
            return Err("name a password-file instead of a password".into());
        }
        let options = values(text);
        if options.iter().any(|(key, _)| *key == "sslrootcert") {
            return Err("name the authority's file as `ca` instead of sslrootcert".into());
        }
        let mut rest = text.to_owned();
        let mut explicit = None;
        // Backwards, so that earlier ranges stay valid.
        for (_, range) in options.into_iter().rev().filter(|(key, _)| *key == "sslmode") {
            let mode = mode(text[range.clone()].trim_matches('\''))?;
            // As in libpq, the last one counts.
            explicit.get_or_insert(mode);
            rest.replace_range(range, "prefer");
        }
        let mut options: tokio_postgres::Config = rest.parse().map_err(with_cause)?;
        if options.get_hosts().is_empty() {
            // Without a name, the certificate must name the address.
            for address in options.get_hostaddrs().to_vec() {
                options.host(address.to_string());
            }
        }
        if options.get_hosts().is_empty() {
            return Err("no host in it".into());
        }
        let is_direct = options.get_ssl_negotiation() == SslNegotiation::Direct;
        options.ssl_mode(match explicit {
            // As in libpq, no TLS through a socket of the file system.
            _ if !has_network(&options) => SslMode::Disable,
            Some(mode) => mode,
            None if is_local(&options) && !is_direct => SslMode::Disable,
            None => SslMode::Require,
        });
        Ok(Self { options, answer_timeout: LONGEST_ANSWER })
    }
}

impl<'de> Deserialize<'de> for PostgresOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Shows hosts and ports, for messages.
impl fmt::Display for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.options.get_ports();
        for (at, host) in self.options.get_hosts().iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                Host::Unix(path) => write!(f, "{}", path.display())?,
            }
            if let Some(port) = ports.get(at).or(ports.first()) {
                write!(f, " port {port}")?;
            }
        }
        Ok(())
    }
}

/// Parses a value of libpq's `sslmode`. The values that accept any certificate check it here; a
/// certificate of another authority needs the setting `ca`.
fn mode(word: &str) -> Result<SslMode, String> {
    match word {
        "disable" => Ok(SslMode::Disable),
        "prefer" => Ok(SslMode::Prefer),
        "require" | "verify-full" => Ok(SslMode::Require),
        _ => Err("sslmode is one of disable, prefer, require, verify-full".into()),
    }
}

/// Returns true if a connection may use a network, including this machine's own.
fn has_network(options: &tokio_postgres::Config) -> bool {
    let is_name = |host: &Host| matches!(host, Host::Tcp(_));
    !options.get_hostaddrs().is_empty() || options.get_hosts().iter().any(is_name)
}

/// Returns true if every connection stays on this machine.
fn is_local(options: &tokio_postgres::Config) -> bool {
    let (hosts, addresses) = (options.get_hosts(), options.get_hostaddrs());
    if !addresses.is_empty() {
        // Connections go to the addresses; the names serve the certificate only.
        return addresses.iter().all(std::net::IpAddr::is_loopback);
    }
    hosts.iter().all(|host| match host {
        Host::Tcp(name) => is_this_machine(name),
        Host::Unix(_) => true,
    })
}

/// Returns true if options hold a password: as an option, or in an address.
fn has_password(options: &str) -> bool {
    let user = options.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    options.contains("password") || user.is_some_and(|(user, _)| user.contains(':'))
}

/// Returns the keys of options and the ranges of their values. Stops at a syntax error, which the
/// later parser reports.
fn values(options: &str) -> Vec<(&str, Range<usize>)> {
    let address = ["postgres://", "postgresql://"].iter().find_map(|it| options.strip_prefix(it));
    match address {
        Some(rest) => values_of_address(options, rest),
        None => values_of_pairs(options),
    }
}

fn values_of_address<'a>(options: &'a str, rest: &'a str) -> Vec<(&'a str, Range<usize>)> {
    let after_user = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    let Some((_, query)) = after_user.split_once('?') else { return Vec::new() };
    let mut values = Vec::new();
    let mut start = options.len() - query.len();
    for pair in query.split('&') {
        let end = start + pair.len();
        if let Some((key, value)) = pair.split_once('=') {
            values.push((key, end - value.len()..end));
        }
        start = end + 1;
    }
    values
}

fn values_of_pairs(options: &str) -> Vec<(&str, Range<usize>)> {
    let mut values = Vec::new();
    let mut rest = options;
    loop {
        rest = rest.trim_start();
        let key_end = rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len());
        let (key, after_key) = rest.split_at(key_end);
        let Some(value) = after_key.trim_start().strip_prefix('=') else { return values };
        let value = value.trim_start();
        let start = options.len() - value.len();
        let value_bytes = value_bytes(value);
        values.push((key, start..start + value_bytes));
        rest = &value[value_bytes..];
    }
}

/// Returns the length of the value at the start of a text: up to its closing quote, or to a space.
fn value_bytes(text: &str) -> usize {
    let is_quoted = text.starts_with('\'');
    let mut chars = text.char_indices().skip(usize::from(is_quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            // It escapes the next one.
            '\\' => drop(chars.next()),
            '\'' if is_quoted => return at + 1,
            c if !is_quoted && c.is_whitespace() => return at,
            _ => {}
        }
    }
    text.len()
}

/// Returns the message of a parser's error, with that of its cause.
fn with_cause(error: tokio_postgres::Error) -> String {
    let message = error.to_string();
    error.into_source().map_or(message.clone(), |source| format!("{message}: {source}"))
}

/// A server that has not answered by now does not answer: the network or the machine is gone.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);
/// A busy server may need this.
const SHORTEST_ANSWER: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(text: &str) -> SslMode {
        text.parse::<PostgresOptions>()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .options
            .get_ssl_mode()
    }

    #[test]
    fn tls_is_required_except_on_this_machine_or_by_request() {
        use SslMode::{Disable, Prefer, Require};
        let rows = [
            ("host=db.example", Require),
            ("host=db.example sslmode=disable", Disable),
            ("host=db.example sslmode=prefer", Prefer),
            ("host=db.example sslmode=require", Require),
            ("host=db.example sslmode = 'verify-full' user=a", Require),
            ("sslmode=require host=db.example sslmode=disable", Disable),
            // The key inside another value.
            ("host=db.example user='a sslmode=disable'", Require),
            ("host=db.example user='it\\'s sslmode=disable'", Require),
            ("host=db.example user=a\\ sslmode=disable", Require),
            ("host=db.example dbname=sslmode=disable", Require),
            // This machine.
            ("host=localhost", Disable),
            ("host=127.0.0.1,::1", Disable),
            ("host=localhost sslmode=require", Require),
            ("host=localhost sslmode=prefer", Prefer),
            ("host=localhost sslnegotiation=direct", Require),
            ("hostaddr=127.0.0.1", Disable),
            ("host=db.example hostaddr=127.0.0.1", Disable),
            ("host=localhost hostaddr=192.0.2.1", Require),
            ("host=localhost,db.example", Require),
            ("host=localhost.db.example", Require),
            ("host=/run/postgresql", Disable),
            ("host=/run/postgresql sslmode=verify-full", Disable),
            ("host=/run/postgresql,db.example", Require),
            // Addresses.
            ("postgres://db.example/imgdelta", Require),
            ("postgresql://me@db.example:5433/imgdelta?sslmode=disable", Disable),
            ("postgres://db.example?user=a&sslmode=verify-full&dbname=b", Require),
            ("postgres://db.example?sslmode=prefer", Prefer),
            ("postgres://localhost/imgdelta", Disable),
            ("postgres://?sslmode=disable@db.example/imgdelta", Require),
            // An escaped key is not decoded.
            ("postgres://db.example?ssl%6dode=disable", Require),
        ];
        for (text, expected) in rows {
            assert_eq!(mode_of(text), expected, "{text}");
        }
    }

    #[test]
    fn other_options_stay_as_they_are() {
        let server: PostgresOptions =
            "host=db.example sslmode=verify-full port=5433 user=me dbname=it".parse().unwrap();
        let options = server.options();
        assert_eq!((options.get_user(), options.get_dbname()), (Some("me"), Some("it")));
        assert_eq!(server.to_string(), "db.example port 5433");
        let server: PostgresOptions = "host=a,/run/b port=1,2".parse().unwrap();
        assert_eq!(server.to_string(), "a port 1, /run/b port 2");
        let server: PostgresOptions = "hostaddr=192.0.2.1".parse().unwrap();
        assert_eq!(
            server.options().get_hosts(),
            [Host::Tcp("192.0.2.1".into())],
            "the certificate must name it"
        );
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        let rows = [
            ("host=a sslmode=allow", "sslmode is one of disable, prefer, require, verify-full"),
            ("host=a sslmode=verify-ca", "sslmode is one of"),
            ("host=a sslmode=", "sslmode is one of"),
            ("postgres://a?sslmode=", "sslmode is one of"),
            ("host=a sslrootcert=/x", "name the authority's file as `ca`"),
            ("host=a passfile=/x", "invalid connection string: unknown option `passfile`"),
            ("host=a port=many", "invalid connection string: invalid value for option `port`"),
            ("host=a user", "invalid connection string: unexpected EOF"),
            ("host=a user='x", "invalid connection string: unterminated quoted"),
            ("", "no host in it"),
            ("user=a", "no host in it"),
            ("host=a password=hunter2", "name a password-file instead"),
            ("postgres://a:hunter2@h/d", "name a password-file instead"),
        ];
        for (text, expected) in rows {
            let message = text.parse::<PostgresOptions>().unwrap_err();
            assert!(message.starts_with(expected), "{message:?} for {text:?}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
