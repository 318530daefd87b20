//! A `PostgreSQL` server as an operator names it, in the words of libpq.
//!
//! Connects to nothing. Says whether TLS is spoken: `tokio-postgres` cannot tell what was written
//! from what was not, and what is not written must not mean that anybody between may switch TLS
//! off.

use imgdelta_registry::is_this_machine;
use serde::{Deserialize, Deserializer, de};
use std::{fmt, ops::Range, str::FromStr};
use tokio_postgres::config::{Host, SslMode, SslNegotiation};

/// A `PostgreSQL` server, read from such as `host=db.example user=imgdelta dbname=imgdelta`, or
/// from a `postgres://` address.
///
/// Where nothing is written of `sslmode`, TLS is required, but for sockets and addresses of this
/// machine: what never leaves it needs none, and servers show certificates there that nobody signed.
/// Where TLS is spoken, certificate and name are always checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    options: tokio_postgres::Config,
}

impl Server {
    /// Returns whether TLS is spoken with it, if it can be.
    pub fn speaks_tls(&self) -> bool {
        self.options.get_ssl_mode() != SslMode::Disable
    }

    /// Returns how it is connected to, but for the password.
    pub(crate) fn options(&self) -> &tokio_postgres::Config {
        &self.options
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if has_password(text) {
            return Err("name a password-file instead of a password".into());
        }
        let values = values(text);
        if values.iter().any(|(word, _)| *word == "sslrootcert") {
            return Err("name the authority's file as `ca` instead of sslrootcert".into());
        }
        let mut rest = text.to_owned();
        let mut written = None;
        // From behind, so that ranges stay what they are.
        for (_, range) in values.into_iter().rev().filter(|(word, _)| *word == "sslmode") {
            let mode = mode(text[range.clone()].trim_matches('\''))?;
            // As in libpq, the last one counts.
            written.get_or_insert(mode);
            rest.replace_range(range, "prefer");
        }
        let mut options: tokio_postgres::Config = rest.parse().map_err(because)?;
        if options.get_hosts().is_empty() {
            // Without a name, the certificate is to be the address's.
            for address in options.get_hostaddrs().to_vec() {
                options.host(address.to_string());
            }
        }
        if options.get_hosts().is_empty() {
            return Err("no host in it".into());
        }
        let is_direct = options.get_ssl_negotiation() == SslNegotiation::Direct;
        options.ssl_mode(match written {
            // libpq, too, speaks no TLS through a socket of the file system.
            _ if !has_network(&options) => SslMode::Disable,
            Some(mode) => mode,
            None if is_local(&options) && !is_direct => SslMode::Disable,
            None => SslMode::Require,
        });
        Ok(Self { options })
    }
}

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Where it is, for who reads of it.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.options.get_ports();
        for (at, host) in self.options.get_hosts().iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                #[cfg(unix)]
                Host::Unix(path) => write!(f, "{}", path.display())?,
            }
            if let Some(port) = ports.get(at).or(ports.first()) {
                write!(f, " port {port}")?;
            }
        }
        Ok(())
    }
}

/// What the words of libpq's `sslmode` mean here. Those that would take any certificate check it:
/// who meets none that counts can name an authority.
fn mode(word: &str) -> Result<SslMode, String> {
    match word {
        "disable" => Ok(SslMode::Disable),
        "prefer" => Ok(SslMode::Prefer),
        "require" | "verify-full" => Ok(SslMode::Require),
        _ => Err("sslmode is one of disable, prefer, require, verify-full".into()),
    }
}

/// Whether a connection may lead over a network, be it this machine's own.
fn has_network(options: &tokio_postgres::Config) -> bool {
    let is_name = |host: &Host| matches!(host, Host::Tcp(_));
    !options.get_hostaddrs().is_empty() || options.get_hosts().iter().any(is_name)
}

/// Whether every connection stays on this machine.
fn is_local(options: &tokio_postgres::Config) -> bool {
    let (hosts, addresses) = (options.get_hosts(), options.get_hostaddrs());
    if !addresses.is_empty() {
        // They are connected to, whatever the names are.
        return addresses.iter().all(std::net::IpAddr::is_loopback);
    }
    hosts.iter().all(|host| match host {
        Host::Tcp(name) => is_this_machine(name),
        #[cfg(unix)]
        Host::Unix(_) => true,
    })
}

/// Whether options hold a password: as a word, or in an address.
fn has_password(options: &str) -> bool {
    let user = options.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    options.contains("password") || user.is_some_and(|(user, _)| user.contains(':'))
}

/// Returns the words of options, and where the value of each stands. Where options make no sense it
/// ends; who parses them says why.
fn values(options: &str) -> Vec<(&str, Range<usize>)> {
    let address = ["postgres://", "postgresql://"].iter().find_map(|it| options.strip_prefix(it));
    match address {
        Some(rest) => values_of_address(options, rest),
        None => values_of_pairs(options),
    }
}

fn values_of_address<'a>(options: &'a str, rest: &'a str) -> Vec<(&'a str, Range<usize>)> {
    let behind_user = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    let Some((_, query)) = behind_user.split_once('?') else { return Vec::new() };
    let mut values = Vec::new();
    let mut start = options.len() - query.len();
    for pair in query.split('&') {
        let end = start + pair.len();
        if let Some((word, value)) = pair.split_once('=') {
            values.push((word, end - value.len()..end));
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
        let word_end = rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len());
        let (word, behind) = rest.split_at(word_end);
        let Some(value) = behind.trim_start().strip_prefix('=') else { return values };
        let value = value.trim_start();
        let start = options.len() - value.len();
        let value_bytes = value_bytes(value);
        values.push((word, start..start + value_bytes));
        rest = &value[value_bytes..];
    }
}

/// The length of the value that begins here: to its closing quote, or to the next space.
fn value_bytes(text: &str) -> usize {
    let is_quoted = text.starts_with('\'');
    let mut chars = text.char_indices().skip(usize::from(is_quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            // It takes the meaning of the next one.
            '\\' => drop(chars.next()),
            '\'' if is_quoted => return at + 1,
            c if !is_quoted && c.is_whitespace() => return at,
            _ => {}
        }
    }
    text.len()
}

/// What a parser said, with what lies below it.
fn because(error: tokio_postgres::Error) -> String {
    let said = error.to_string();
    error.into_source().map_or(said.clone(), |source| format!("{said}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(text: &str) -> SslMode {
        text.parse::<Server>()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .options
            .get_ssl_mode()
    }

    #[test]
    fn tls_is_required_unless_it_stays_here_or_is_written_otherwise() {
        use SslMode::{Disable, Prefer, Require};
        let rows = [
            ("host=db.example", Require),
            ("host=db.example sslmode=disable", Disable),
            ("host=db.example sslmode=prefer", Prefer),
            ("host=db.example sslmode=require", Require),
            ("host=db.example sslmode = 'verify-full' user=a", Require),
            ("sslmode=require host=db.example sslmode=disable", Disable),
            // What only looks like the word.
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
            // Nobody writes so; it is not followed.
            ("postgres://db.example?ssl%6dode=disable", Require),
        ];
        for (text, expected) in rows {
            assert_eq!(mode_of(text), expected, "{text}");
        }
    }

    #[test]
    fn the_rest_is_as_written() {
        let server: Server =
            "host=db.example sslmode=verify-full port=5433 user=me dbname=it".parse().unwrap();
        let options = server.options();
        assert_eq!((options.get_user(), options.get_dbname()), (Some("me"), Some("it")));
        assert_eq!(server.to_string(), "db.example port 5433");
        let server: Server = "host=a,/run/b port=1,2".parse().unwrap();
        assert_eq!(server.to_string(), "a port 1, /run/b port 2");
        let server: Server = "hostaddr=192.0.2.1".parse().unwrap();
        assert_eq!(server.options().get_hosts(), [Host::Tcp("192.0.2.1".into())], "to be checked");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
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
            let said = text.parse::<Server>().unwrap_err();
            assert!(said.starts_with(expected), "{said:?} for {text:?}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
