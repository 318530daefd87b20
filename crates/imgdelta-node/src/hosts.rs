//! The files by which containerd finds the mirror: a `hosts.toml` for each registry.
//! Never changes a file without its marker, makes no directory for all, and restarts nothing.
//!
//! containerd reads the directory of a registry at each pull, and `_default` if it has none. A file is
//! written only where that changes no other setting: not into a directory that has certificates, and
//! not where `_default` or another spelling of the registry is in force.

use crate::config::{Config, RegistryConfig};
use imgdelta_core::{
    Error, Result,
    regular::open_within,
    unfinished::{UnfinishedFile, UnfinishedKind, write_if_absent, write_whole},
};
use std::{
    fs,
    io::{ErrorKind, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// The directory that containerd's `config_path` names.
#[derive(Clone, Debug)]
pub(crate) struct HostFiles {
    directory: PathBuf,
}

/// The setting of a registry that containerd has now.
#[derive(Debug, PartialEq, Eq)]
enum HostSetting {
    Absent,
    /// A file of an earlier start.
    Own,
    /// A setting of somebody else; says which one.
    Foreign(String),
}

impl HostFiles {
    /// Returns the files of a configuration; `None` if it names no directory.
    pub fn of(config: &Config) -> Option<Self> {
        config.hosts.directory.clone().map(|directory| Self { directory })
    }

    /// Writes the file of each registry, and removes files of registries that are not listed. A
    /// failure is logged: runtimes then ask the registry itself.
    pub fn write(&self, registries: &[RegistryConfig], mirror: SocketAddr) {
        if !self.directory.is_dir() {
            tracing::warn!(
                directory = %self.directory.display(),
                "containerd is not directed to the mirror: the directory of [hosts] is not there; \
                 set config_path in containerd's configuration to it"
            );
            return;
        }
        let listed: Vec<&str> =
            registries.iter().map(|registry| registry.host.get_ref().as_str()).collect();
        if let Err(error) = self.remove_except(&listed) {
            tracing::warn!(%error, "files of an earlier start stay");
        }
        for registry in registries {
            let host = registry.host.get_ref();
            match self.write_one(registry, mirror) {
                Ok(None) => tracing::info!(registry = host, "containerd is directed to the mirror"),
                Ok(Some(foreign)) => tracing::warn!(
                    registry = host,
                    "containerd is not directed to the mirror: {foreign} is in force; add \
                     [host.\"{}\"] to its hosts.toml",
                    address_of(mirror)
                ),
                Err(error) => tracing::warn!(
                    registry = host, %error,
                    "containerd is not directed to the mirror"
                ),
            }
        }
    }

    /// Removes all files with the marker; returns their number. Directories that are empty then are
    /// removed, too.
    pub fn remove(&self) -> Result<usize> {
        self.remove_except(&[])
    }

    /// Writes a file; returns the setting that prevents it.
    fn write_one(&self, registry: &RegistryConfig, mirror: SocketAddr) -> Result<Option<String>> {
        let host = registry.host.get_ref();
        if !is_directory_name(host) {
            let what = "the name of this registry cannot be the name of a directory";
            return Err(Error::bad_input(host, what));
        }
        let setting = self.setting(host)?;
        let directory = self.directory.join(host);
        let path = directory.join(FILE_NAME);
        let text = text(registry, mirror);
        match setting {
            HostSetting::Foreign(what) => return Ok(Some(what)),
            HostSetting::Own => write_whole(&path, text.as_bytes(), KIND)?,
            HostSetting::Absent => {
                match fs::create_dir(&directory) {
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                        return Err(Error::io(directory.display())(error));
                    }
                    _ => {}
                }
                write_if_absent(&path, text.as_bytes(), KIND)?;
            }
        }
        Ok(None)
    }

    /// Returns the setting in force for a registry.
    fn setting(&self, host: &str) -> Result<HostSetting> {
        if is_own(&self.directory.join(host))? {
            return Ok(HostSetting::Own);
        }
        let other_spelling = host.rsplit_once(':').map(|(name, port)| format!("{name}_{port}_"));
        // The order in which containerd looks.
        for name in other_spelling.as_deref().into_iter().chain([host, "_default"]) {
            let directory = self.directory.join(name);
            if !is_absent_or_empty(&directory)? {
                return Ok(HostSetting::Foreign(directory.display().to_string()));
            }
        }
        Ok(HostSetting::Absent)
    }

    fn remove_except(&self, listed: &[&str]) -> Result<usize> {
        let items = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            items => items.map_err(Error::io(self.directory.display()))?,
        };
        let mut removed = 0;
        for item in items {
            let item = item.map_err(Error::io(self.directory.display()))?;
            let directory = item.path();
            let is_listed = item.file_name().to_str().is_some_and(|name| listed.contains(&name));
            if is_listed || !is_own(&directory)? {
                continue;
            }
            let path = directory.join(FILE_NAME);
            fs::remove_file(&path).map_err(Error::io(path.display()))?;
            removed += 1;
            // A killed process may have left an unfinished file.
            if let Ok(unfinished) = UnfinishedFile::in_directory(&directory, KIND) {
                unfinished.sweep_neighbours();
            }
            // Fails if somebody else has put something there.
            drop(fs::remove_dir(&directory));
        }
        Ok(removed)
    }
}

/// Returns the text of a file. The registry itself stays the last host, as it is without a file.
fn text(registry: &RegistryConfig, mirror: SocketAddr) -> String {
    let server = if registry.plain_http {
        format!("server = \"http://{}\"\n", registry.host.get_ref())
    } else {
        String::new()
    };
    format!(
        "{MARKER}{server}[host.\"{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        address_of(mirror)
    )
}

/// Returns the address at which this machine reaches the mirror.
fn address_of(mut mirror: SocketAddr) -> String {
    match mirror.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => mirror.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => mirror.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{mirror}")
}

/// True for hosts that stay below a directory, and need no escape in a file.
fn is_directory_name(host: &str) -> bool {
    host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// True if a directory has a file with the marker. Links do not count: nothing is written through
/// them.
fn is_own(directory: &Path) -> Result<bool> {
    let path = directory.join(FILE_NAME);
    let is_real = |path: &Path, is_kind: fn(&fs::Metadata) -> bool| {
        fs::symlink_metadata(path).is_ok_and(|found| is_kind(&found))
    };
    if !is_real(directory, fs::Metadata::is_dir) || !is_real(&path, fs::Metadata::is_file) {
        return Ok(false);
    }
    let Some(file) = open_within(directory, FILE_NAME)? else { return Ok(false) };
    let mut start = Vec::new();
    let length = MARKER.len() as u64;
    file.take(length).read_to_end(&mut start).map_err(Error::io(path.display()))?;
    Ok(start == MARKER.as_bytes())
}

/// True if nothing has this name, or a directory without content.
fn is_absent_or_empty(directory: &Path) -> Result<bool> {
    match fs::symlink_metadata(directory) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(Error::io(directory.display())(error)),
    }
    let mut items = fs::read_dir(directory).map_err(Error::io(directory.display()))?;
    Ok(items.all(|item| item.is_ok_and(|item| KIND.is_name(&item.file_name()))))
}

const FILE_NAME: &str = "hosts.toml";
const KIND: UnfinishedKind = UnfinishedKind::Setting;
/// The first line of each file.
const MARKER: &str = "# Written by `imgdelta node serve` and removed when it stops. Delete this line to \
                      keep the file.\n";

#[cfg(test)]
mod tests {
    use super::*;

    const MIRROR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9611);

    fn files(directory: &Path, hosts: &[&str]) -> (HostFiles, Config) {
        let registries: Vec<String> =
            hosts.iter().map(|host| format!("[[registry]]\nhost = '{host}'\n")).collect();
        let text =
            format!("[hosts]\ndirectory = '{}'\n{}", directory.display(), registries.concat());
        let config = Config::parse(&text, "node.toml").unwrap();
        (HostFiles::of(&config).unwrap(), config)
    }

    /// Writes the files of registries, and returns all files of the directory with their content.
    fn written(directory: &Path, hosts: &[&str]) -> Vec<(String, String)> {
        let (files, config) = files(directory, hosts);
        files.write(config.registries.get_ref(), MIRROR);
        all(directory)
    }

    fn all(directory: &Path) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for item in fs::read_dir(directory).unwrap() {
            let path = item.unwrap().path();
            let items = fs::read_dir(&path).unwrap().map(|item| item.unwrap().path());
            let name = path.file_name().unwrap().to_str().unwrap();
            found.extend(items.map(|path| {
                let file = path.file_name().unwrap().to_str().unwrap();
                (format!("{name}/{file}"), fs::read_to_string(&path).unwrap())
            }));
        }
        found.sort();
        found
    }

    fn put(directory: &Path, name: &str, text: &str) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn each_registry_gets_a_file_that_a_stop_removes() {
        let dir = tempfile::tempdir().unwrap();
        let found = written(dir.path(), &["r.test", "s.test:5000"]);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["r.test/hosts.toml", "s.test:5000/hosts.toml"]);
        let expected = "[host.\"http://127.0.0.1:9611\"]\ncapabilities = [\"pull\", \"resolve\"]\n";
        assert_eq!(found[0].1, format!("{MARKER}{expected}"));
        let (files, _) = files(dir.path(), &["r.test"]);
        assert_eq!(files.remove().unwrap(), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(files.remove().unwrap(), 0);
    }

    #[test]
    fn a_restart_after_a_kill_rewrites_its_own_files_only() {
        let dir = tempfile::tempdir().unwrap();
        let earlier = format!("{MARKER}[host.\"http://127.0.0.1:1\"]\n");
        for host in ["r.test", "dropped.test"] {
            put(dir.path(), &format!("{host}/hosts.toml"), &earlier);
        }
        put(dir.path(), "s.test/.imgdelta-setting-aaaaaaaaaaaa", "half a fi");
        let found = written(dir.path(), &["r.test", "s.test"]);
        assert!(found[0].1.contains("127.0.0.1:9611"), "{found:?}");
        assert!(found.iter().any(|(name, _)| name == "s.test/hosts.toml"), "{found:?}");
        assert!(!dir.path().join("dropped.test").exists());
        assert_eq!(files(dir.path(), &["r.test"]).0.remove().unwrap(), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn settings_of_others_are_neither_changed_nor_removed_nor_put_out_of_force() {
        for (foreign, host) in [
            ("r.test/hosts.toml", "r.test"),
            // containerd reads certificates only if a directory has no hosts.toml.
            ("r.test/ca.crt", "r.test"),
            ("r.test_5000_/hosts.toml", "r.test:5000"),
            ("_default/hosts.toml", "r.test"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            put(dir.path(), foreign, "server = 'https://elsewhere.test'\n");
            let before = all(dir.path());
            assert_eq!(written(dir.path(), &[host]), before, "{foreign}");
            assert_eq!(files(dir.path(), &[host]).0.remove().unwrap(), 0);
            assert_eq!(all(dir.path()), before, "{foreign}");
        }
    }

    #[test]
    fn nothing_is_written_or_removed_through_a_link() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let own = format!("{MARKER}[host]\n");
        put(elsewhere.path(), "r.test/hosts.toml", &own);
        let target = elsewhere.path().join("r.test");
        std::os::unix::fs::symlink(&target, dir.path().join("r.test")).unwrap();
        fs::create_dir(dir.path().join("s.test")).unwrap();
        let file = dir.path().join("s.test/hosts.toml");
        std::os::unix::fs::symlink(target.join("hosts.toml"), file).unwrap();
        let (files, config) = files(dir.path(), &["r.test", "s.test"]);
        files.write(config.registries.get_ref(), MIRROR);
        assert_eq!(files.remove().unwrap(), 0);
        assert_eq!(all(elsewhere.path()), [("r.test/hosts.toml".to_owned(), own)]);
    }

    #[test]
    fn a_missing_directory_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("certs.d");
        let (files, config) = files(&missing, &["r.test"]);
        files.write(config.registries.get_ref(), MIRROR);
        assert_eq!(files.remove().unwrap(), 0);
        assert!(!missing.exists());
        let none = Config::parse("[[registry]]\nhost = 'r'\n", "node.toml").unwrap();
        assert!(HostFiles::of(&none).is_none());
    }

    #[test]
    fn the_name_of_a_registry_stays_below_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("certs.d");
        fs::create_dir(&inner).unwrap();
        assert!(written(&inner, &["..", "_default", "r\"\\n"]).is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_registry_without_tls_stays_one_and_the_address_is_reachable_here() {
        let config = "[[registry]]\nhost = 'r.test:5000'\nplain-http = true\n";
        let config = Config::parse(config, "node.toml").unwrap();
        let mirror = "0.0.0.0:9611".parse().unwrap();
        let text = text(&config.registries.get_ref()[0], mirror);
        let text = text.strip_prefix(MARKER).unwrap();
        assert!(text.starts_with("server = \"http://r.test:5000\"\n"), "{text}");
        assert!(text.contains("[host.\"http://127.0.0.1:9611\"]"), "{text}");
        assert_eq!(address_of("[::]:1".parse().unwrap()), "http://[::1]:1");
    }
}
