//! The place of docker's store, by the configuration of its daemon.
//! Never asks the daemon.

use imgdelta_core::{Error, Result, regular::open_regular};
use serde::Deserialize;
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// The place of docker's store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DockerOptions {
    /// The daemon's directory. The default is `/var/lib/docker`.
    pub root: PathBuf,
}

impl Default for DockerOptions {
    fn default() -> Self {
        Self::new("/var/lib/docker")
    }
}

impl DockerOptions {
    /// Returns the options of a daemon with this directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the place by the machine's `/etc/docker/daemon.json`.
    pub fn of_machine() -> Result<Self> {
        Self::of_configuration(Path::new("/etc/docker/daemon.json"))
    }

    /// Returns the place by a `daemon.json`, which need not be there.
    pub fn of_configuration(path: &Path) -> Result<Self> {
        let Some(file) = open_regular(path)? else { return Ok(Self::default()) };
        let mut json = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut json).map_err(Error::io(path.display()))?;
        let settings: DaemonSettings = serde_json::from_slice(&json).map_err(|error| {
            Error::bad_input_because(path.display(), "not a configuration of docker", error)
        })?;
        let root = settings.data_root.or(settings.graph);
        Ok(root.map_or_else(Self::default, Self::new))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DaemonSettings {
    #[serde(default)]
    data_root: Option<PathBuf>,
    /// The older name.
    #[serde(default)]
    graph: Option<PathBuf>,
}

/// A longer file is not a configuration.
const MOST_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_that_of_the_daemons_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("daemon.json");
        assert_eq!(DockerOptions::of_configuration(&file).unwrap(), DockerOptions::default());
        for (json, expected) in [
            ("{\"data-root\": \"/srv/d\", \"iptables\": false}", "/srv/d"),
            ("{\"graph\": \"/srv/g\"}", "/srv/g"),
            ("{}", "/var/lib/docker"),
        ] {
            std::fs::write(&file, json).unwrap();
            let found = DockerOptions::of_configuration(&file).unwrap();
            assert_eq!(found.root, Path::new(expected), "{json}");
        }
        std::fs::write(&file, "{").unwrap();
        let error = DockerOptions::of_configuration(&file).unwrap_err().to_string();
        assert!(error.contains("not a configuration of docker"), "{error}");
    }
}
