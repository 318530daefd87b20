//! Credential helpers: programs `docker-credential-NAME` that store passwords.
//!
//! A helper gets the server's name on standard input, as from docker. Never shows its standard
//! error, which may quote a secret.

use crate::secret::{Credential, Secret};
use imgdelta_core::{Error, Result};
use serde::Deserialize;
use std::{
    io::{ErrorKind, Read, Write},
    process::{Command, Stdio},
};

#[derive(Deserialize)]
struct HelperResponse {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Returns a helper's login for a server, if it has one.
pub(super) fn get(name: &str, server: &str) -> Result<Option<Credential>> {
    let place = format!("credential helper {name:?}");
    // A name from a file becomes part of a program's name: it must not have a path.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(Error::bad_input(place, "not the name of a credential helper"));
    }
    let started = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match started {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::bad_input(place, "the auth file names it; it is not installed"));
        }
        outcome => outcome.map_err(Error::io(&place))?,
    };
    // The exit code reports a helper that does not read.
    let _ = child.stdin.take().expect("piped").write_all(server.as_bytes());
    let mut output = Vec::new();
    let stdout = child.stdout.take().expect("piped");
    stdout.take(MAX_BYTES).read_to_end(&mut output).map_err(Error::io(&place))?;
    let status = child.wait().map_err(Error::io(&place))?;
    if !status.success() {
        let output = String::from_utf8_lossy(&output);
        if output.contains("credentials not found") {
            return Ok(None);
        }
        return Err(Error::bad_input(place, format_args!("failed: {status}")));
    }
    let response: HelperResponse = serde_json::from_slice(&output)
        .map_err(|_| Error::bad_input(&place, "its output is not a credential"))?;
    let secret = Secret::new(response.secret);
    Ok(Some(match response.user.as_str() {
        "<token>" => Credential::Identity(secret),
        _ => Credential::Password { user: response.user, password: secret },
    }))
}

const MAX_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helpers_name_is_not_a_path() {
        for name in ["", "../x", "a/b", "x y", "x;y"] {
            assert!(get(name, "r").unwrap_err().to_string().contains("not the name"), "{name}");
        }
        let error = get("surely-not-there", "r").unwrap_err().to_string();
        assert!(error.contains("not installed"), "{error}");
    }
}
