//! Credential helpers: programs `docker-credential-NAME` that keep passwords.
//!
//! Started with the server's name on standard input, as docker does. What a helper says on
//! standard error is not shown: it may quote what it was asked to hide.

use crate::secret::{Credential, Secret};
use imgdelta_core::{Error, Result};
use serde::Deserialize;
use std::{
    io::{ErrorKind, Read, Write},
    process::{Command, Stdio},
};

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Asks a helper for a server's credential; `None` if it has none.
pub(super) fn ask(name: &str, server: &str) -> Result<Option<Credential>> {
    let place = format!("credential helper {name:?}");
    // A name from a file becomes that of a program: no path may be in it.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(Error::bad_input(place, "not the name of a helper"));
    }
    let started = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match started {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::bad_input(place, "the auth file names it, and it is not installed"));
        }
        outcome => outcome.map_err(Error::io(&place))?,
    };
    // A helper that does not read is told by its exit code.
    let _ = child.stdin.take().expect("piped").write_all(server.as_bytes());
    let mut said = Vec::new();
    let stdout = child.stdout.take().expect("piped");
    stdout.take(MOST_BYTES).read_to_end(&mut said).map_err(Error::io(&place))?;
    let status = child.wait().map_err(Error::io(&place))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&said);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(Error::bad_input(place, format_args!("failed: {status}")));
    }
    let answer: Answer = serde_json::from_slice(&said)
        .map_err(|_| Error::bad_input(&place, "its answer is not what helpers answer"))?;
    let secret = Secret::new(answer.secret);
    Ok(Some(match answer.user.as_str() {
        "<token>" => Credential::Identity(secret),
        _ => Credential::Password { user: answer.user, password: secret },
    }))
}

const MOST_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helpers_name_is_no_path() {
        for name in ["", "../x", "a/b", "x y", "x;y"] {
            assert!(ask(name, "r").unwrap_err().to_string().contains("not the name"), "{name}");
        }
        let error = ask("surely-not-there", "r").unwrap_err().to_string();
        assert!(error.contains("not installed"), "{error}");
    }
}
