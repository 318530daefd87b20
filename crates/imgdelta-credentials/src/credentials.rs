//! Logins from the auth files of docker and podman, and from their credential helpers.
//!
//! Reads the files for each lookup, so that a login during a long run counts. Never writes a file
//! and never sends anything.

mod helper;

use crate::secret::{Credential, Secret};
use base64::Engine as _;
use imgdelta_core::{Error, Result};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// Sources of logins, in their order.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// A login for every registry.
    given: Option<Credential>,
    files: Vec<PathBuf>,
    /// The first file must exist.
    is_named: bool,
}

impl Credentials {
    /// Has no login; requests are anonymous.
    pub fn none() -> Self {
        Self::default()
    }

    /// Uses one login for every registry.
    pub fn given(credential: Credential) -> Self {
        Self { given: Some(credential), ..Self::default() }
    }

    /// Searches these files and no others. With `is_named`, the first one must exist.
    pub fn files(files: Vec<PathBuf>, is_named: bool) -> Self {
        Self { given: None, files, is_named }
    }

    /// Searches the files of docker, podman and skopeo: `named` alone if given, else
    /// `$REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`,
    /// `$XDG_CONFIG_HOME/containers/auth.json`, `$DOCKER_CONFIG/config.json` or their defaults.
    /// `user` is the user's numeric id; without `$XDG_RUNTIME_DIR` it names the first directory.
    pub fn of_user(
        named: Option<PathBuf>,
        user: Option<u32>,
        var: impl Fn(&str) -> Option<PathBuf>,
    ) -> Self {
        let var = |name: &str| var(name).filter(|value| !value.as_os_str().is_empty());
        if let Some(file) = named.or_else(|| var("REGISTRY_AUTH_FILE")) {
            return Self::files(vec![file], true);
        }
        let home = var("HOME");
        let below = |dir: Option<PathBuf>, path: &str| dir.map(|dir| dir.join(path));
        let config_home = var("XDG_CONFIG_HOME").or_else(|| below(home.clone(), ".config"));
        let docker = var("DOCKER_CONFIG").or_else(|| below(home, ".docker"));
        let by_id = || Some(format!("/run/containers/{}/auth.json", user?).into());
        let files = [
            below(var("XDG_RUNTIME_DIR"), "containers/auth.json").or_else(by_id),
            below(config_home, "containers/auth.json"),
            below(docker, "config.json"),
        ];
        Self::files(files.into_iter().flatten().collect(), false)
    }

    /// Returns the login for a repository: the entry with the longest matching name in the first
    /// file that has one.
    pub fn find(&self, host: &str, repository: &str) -> Result<Option<Credential>> {
        if let Some(given) = &self.given {
            return Ok(Some(given.clone()));
        }
        for (at, path) in self.files.iter().enumerate() {
            let Some(file) = AuthFile::read(path, self.is_named && at == 0)? else { continue };
            if let Some(found) = file.find(host, repository, path)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

#[derive(Default, Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl AuthFile {
    fn read(path: &Path, is_required: bool) -> Result<Option<Self>> {
        let place = format!("auth file {}", path.display());
        let file = match std::fs::File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !is_required => return Ok(None),
            outcome => outcome.map_err(Error::io(&place))?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(Error::io(&place))?;
        // The parser's message may quote a line, and with it a password.
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Error::bad_input(place, format_args!("not a valid auth file at {line}:{column}"))
        })
    }

    fn find(&self, host: &str, repository: &str, path: &Path) -> Result<Option<Credential>> {
        let names = names(host, repository);
        for name in &names {
            if let Some(helper) = self.helpers.get(name) {
                let found = helper::get(helper, server_of(name))?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            let entry = self.auths.iter().find(|(key, _)| bare(key) == bare(name));
            if let Some(found) =
                entry.map(|(_, entry)| entry.credential(path)).transpose()?.flatten()
            {
                return Ok(Some(found));
            }
        }
        let Some(store) = &self.store else { return Ok(None) };
        helper::get(store, server_of(names.last().expect("at least the host")))
    }
}

impl AuthEntry {
    fn credential(&self, path: &Path) -> Result<Option<Credential>> {
        let wrong = || {
            let place = format!("auth file {}", path.display());
            Error::bad_input(place, "an entry's auth is not USER:PASSWORD in base64")
        };
        if let Some(token) = self.identitytoken.as_deref().filter(|token| !token.is_empty()) {
            return Ok(Some(Credential::Identity(Secret::new(token))));
        }
        if let (Some(user), Some(password)) = (&self.username, &self.password) {
            let password = Secret::new(password.as_str());
            return Ok(Some(Credential::Password { user: user.clone(), password }));
        }
        let Some(auth) = self.auth.as_deref().filter(|auth| !auth.is_empty()) else {
            return Ok(None);
        };
        let decoded =
            base64::engine::general_purpose::STANDARD.decode(auth).map_err(|_| wrong())?;
        let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
        let (user, password) = decoded.split_once(':').ok_or_else(wrong)?;
        // Some writers pad the password with NULs.
        let password = Secret::new(password.trim_end_matches('\0'));
        Ok(Some(Credential::Password { user: user.to_owned(), password }))
    }
}

/// Returns the names of entries for a repository, the longest first.
fn names(host: &str, repository: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut path = repository;
    loop {
        names.push(format!("{host}/{path}"));
        match path.rsplit_once('/') {
            Some((parent, _)) => path = parent,
            None => break,
        }
    }
    names.push(host.to_owned());
    if matches!(host, "docker.io" | "registry-1.docker.io" | "index.docker.io") {
        for other in ["docker.io", "registry-1.docker.io", "index.docker.io"] {
            if other != host {
                names.push(other.to_owned());
            }
        }
    }
    names
}

/// Returns the host and path of a key. Docker's keys may be addresses, such as
/// `https://index.docker.io/v1/`.
fn bare(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.strip_suffix('/').unwrap_or(key);
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key)
}

/// Returns a helper's name for a server.
fn server_of(name: &str) -> &str {
    if bare(name) == "index.docker.io" { "https://index.docker.io/v1/" } else { name }
}

/// Auth files have some kilobytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, json: &str) -> Credentials {
        let path = dir.join("auth.json");
        std::fs::write(&path, json).unwrap();
        Credentials::files(vec![path], true)
    }

    fn user(found: Option<Credential>) -> Option<String> {
        match found? {
            Credential::Password { user, password } => {
                Some(format!("{user}:{}", password.reveal()))
            }
            Credential::Identity(token) => Some(format!("identity:{}", token.reveal())),
        }
    }

    #[test]
    fn the_longest_name_wins_and_addresses_are_names() {
        let dir = tempfile::tempdir().unwrap();
        // YTpi is a:b, YzpkOmU= is c:d:e.
        let found = file(
            dir.path(),
            r#"{"auths": {"r:5": {"auth": "YTpi"}, "r:5/team": {"auth": "YzpkOmU="},
                "https://index.docker.io/v1/": {"identitytoken": "t"},
                "http://old.example/": {"username": "u", "password": "p"}, "empty": {}}}"#,
        );
        let find = |host, repository| user(found.find(host, repository).unwrap());
        assert_eq!(find("r:5", "team/app").as_deref(), Some("c:d:e"));
        assert_eq!(find("r:5", "teams/app").as_deref(), Some("a:b"));
        assert_eq!(find("docker.io", "library/x").as_deref(), Some("identity:t"));
        assert_eq!(find("old.example", "x").as_deref(), Some("u:p"));
        assert_eq!(find("empty", "x"), None);
        assert_eq!(find("r", "x"), None);
    }

    #[test]
    fn errors_of_a_broken_file_do_not_show_its_content() {
        let dir = tempfile::tempdir().unwrap();
        for json in [r#"{"auths": {"r": "hunter2"}}"#, r#"{"auths": {"r": {"auth": "hunter2!"}}}"#]
        {
            let error = file(dir.path(), json).find("r", "x").unwrap_err().to_string();
            assert!(error.contains("auth file") && !error.contains("hunter2"), "{error}");
        }
        let missing = Credentials::files(vec![dir.path().join("none")], true).find("r", "x");
        assert!(matches!(missing, Err(Error::Io { .. })));
        let optional = Credentials::files(vec![dir.path().join("none")], false).find("r", "x");
        assert_eq!(optional.unwrap(), None);
    }

    #[test]
    fn files_are_those_of_docker_and_podman() {
        let var = |name: &str| match name {
            "HOME" => Some("/h".into()),
            "XDG_RUNTIME_DIR" => Some("/run/7".into()),
            _ => None,
        };
        let files = Credentials::of_user(None, Some(7), var).files;
        let expected = [
            "/run/7/containers/auth.json",
            "/h/.config/containers/auth.json",
            "/h/.docker/config.json",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
        let bare = Credentials::of_user(None, Some(7), |_| None).files;
        assert_eq!(bare, [PathBuf::from("/run/containers/7/auth.json")]);
        let named = Credentials::of_user(Some("/a".into()), None, var).files;
        assert_eq!(named, [PathBuf::from("/a")]);
    }
}
