//! The place of a storage, by the user's `storage.conf`.
//! Never opens a storage.

use imgdelta_core::{Error, Result, regular::open_regular};
use serde::Deserialize;
use std::{
    ffi::OsString,
    io::Read,
    path::{Path, PathBuf},
};

/// The place of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageOptions {
    /// Its directory. The default for root is `/var/lib/containers/storage`.
    pub root: PathBuf,
    /// Its driver, `overlay` or `vfs`. By default the one that has images.
    pub driver: Option<String>,
    /// The directory of its state, for the programs that write it. By default theirs.
    pub run_root: Option<PathBuf>,
    /// Directories of further storages, which are read after it. By default none.
    pub additional_roots: Vec<PathBuf>,
    /// True if the programs that write it find it without being asked to use another one.
    pub(super) is_configured: bool,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self::new(ROOT)
    }
}

impl StorageOptions {
    /// Returns the options of a storage in a directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            driver: None,
            run_root: None,
            additional_roots: Vec::new(),
            is_configured: false,
        }
    }

    /// Sets the driver.
    #[must_use]
    pub fn driver(mut self, driver: Option<String>) -> Self {
        self.driver = driver;
        self
    }

    /// Sets the directory of its state.
    #[must_use]
    pub fn run_root(mut self, run_root: Option<PathBuf>) -> Self {
        self.run_root = run_root;
        self
    }

    /// Returns the storage of a user: that of `CONTAINERS_STORAGE_CONF`, of the user's or the
    /// machine's `storage.conf`, or the default one. `variable` returns variables of the
    /// environment; `None` as `user_id` is a user other than root.
    pub fn of_user(
        user_id: Option<u32>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self> {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = path("HOME").unwrap_or_else(|| "/".into());
        let is_root = user_id == Some(0);
        let below_home =
            |name: &str, default: &str| path(name).unwrap_or_else(|| home.join(default));
        let files = match path("CONTAINERS_STORAGE_CONF") {
            Some(file) => {
                let Some(settings) = StorageSettings::read(&file)? else {
                    let what = "no such file; CONTAINERS_STORAGE_CONF names it";
                    return Err(Error::bad_input(file.display(), what));
                };
                return Ok(settings.options(Self::default_root(is_root, &below_home)));
            }
            None if is_root => vec![MACHINE_FILES[0].into(), MACHINE_FILES[1].into()],
            // The machine's file is about root's storage.
            None => vec![below_home("XDG_CONFIG_HOME", ".config").join("containers/storage.conf")],
        };
        let root = Self::default_root(is_root, &below_home);
        for file in files {
            if let Some(settings) = StorageSettings::read(&file)? {
                return Ok(settings.options(root));
            }
        }
        Ok(Self { is_configured: true, ..Self::new(root) })
    }

    fn default_root(is_root: bool, below_home: &dyn Fn(&str, &str) -> PathBuf) -> PathBuf {
        if is_root {
            return ROOT.into();
        }
        below_home("XDG_DATA_HOME", ".local/share").join("containers/storage")
    }
}

/// The settings of a `storage.conf` that matter here.
#[derive(Debug, Default, Deserialize)]
struct StorageSettings {
    #[serde(default)]
    storage: StorageTable,
}

#[derive(Debug, Default, Deserialize)]
struct StorageTable {
    #[serde(default)]
    driver: String,
    #[serde(default)]
    graphroot: String,
    #[serde(default)]
    options: OptionsTable,
}

#[derive(Debug, Default, Deserialize)]
struct OptionsTable {
    #[serde(default)]
    additionalimagestores: Vec<PathBuf>,
}

impl StorageSettings {
    fn read(path: &Path) -> Result<Option<Self>> {
        let Some(file) = open_regular(path)? else { return Ok(None) };
        let mut text = String::new();
        file.take(MOST_BYTES).read_to_string(&mut text).map_err(Error::io(path.display()))?;
        let parsed = toml::from_str(&text);
        parsed.map(Some).map_err(|error| {
            Error::bad_input_because(path.display(), "not a configuration of a storage", error)
        })
    }

    fn options(self, default_root: PathBuf) -> StorageOptions {
        let StorageTable { driver, graphroot, options } = self.storage;
        StorageOptions {
            root: Some(graphroot).filter(|root| !root.is_empty()).map_or(default_root, Into::into),
            driver: Some(driver).filter(|driver| !driver.is_empty()),
            run_root: None,
            additional_roots: options.additionalimagestores,
            is_configured: true,
        }
    }
}

/// The storage of root.
const ROOT: &str = "/var/lib/containers/storage";
const MACHINE_FILES: [&str; 2] =
    ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"];
/// A longer file is not a configuration.
const MOST_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn of_user(user_id: u32, variables: &[(&str, &Path)]) -> Result<StorageOptions> {
        StorageOptions::of_user(Some(user_id), |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_os_str().to_owned())
        })
    }

    #[test]
    fn the_storage_is_that_of_the_users_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("storage.conf");
        fs::write(
            &file,
            "[storage]\ndriver = \"vfs\"\nrunroot = \"/run/x\"\ngraphroot = \"/srv/x\"\n\
             [storage.options]\nadditionalimagestores = [\"/usr/lib/x\"]\n\
             [storage.options.overlay]\nmountopt = \"nodev\"\n",
        )
        .unwrap();
        let chosen = of_user(0, &[("CONTAINERS_STORAGE_CONF", &file)]).unwrap();
        assert_eq!(chosen.root, Path::new("/srv/x"));
        assert_eq!(chosen.driver.as_deref(), Some("vfs"));
        assert_eq!(chosen.additional_roots, [Path::new("/usr/lib/x")]);
        // A user without a configuration, and one with it.
        let home = [("HOME", dir.path())];
        let own = dir.path().join(".local/share/containers/storage");
        assert_eq!(of_user(1000, &home).unwrap().root, own);
        fs::create_dir_all(dir.path().join(".config/containers")).unwrap();
        fs::rename(&file, dir.path().join(".config/containers/storage.conf")).unwrap();
        assert_eq!(of_user(1000, &home).unwrap(), chosen);
    }

    #[test]
    fn a_configuration_that_is_named_and_missing_or_damaged_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("storage.conf");
        let error = || of_user(0, &[("CONTAINERS_STORAGE_CONF", &file)]).unwrap_err().to_string();
        assert!(error().contains("CONTAINERS_STORAGE_CONF names it"), "{}", error());
        fs::write(&file, "[storage\n").unwrap();
        assert!(error().contains("not a configuration of a storage"), "{}", error());
    }
}
