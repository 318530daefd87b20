//! The user's environment: temporary directory, logins, proxies, and the places of runtimes.
//!
//! The only file that reads environment variables for the library.

use imgdelta_registry::{Credentials, Proxies};
use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Returns the directory for temporary files: the user's choice, `TMPDIR`, or a large directory.
pub fn scratch_directory(chosen: Option<&Path>) -> PathBuf {
    match chosen {
        Some(directory) => directory.to_owned(),
        None if env::var_os("TMPDIR").is_none() && Path::new(LARGE).is_dir() => LARGE.into(),
        None => env::temp_dir(),
    }
}

/// Returns the user's logins for registries: those of a file, or of docker and podman.
pub fn credentials(authfile: Option<&Path>) -> Credentials {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from);
    Credentials::of_user(authfile.map(Path::to_owned), user_id(), variable)
}

/// Returns the user's proxies for registries.
pub fn proxies() -> Proxies {
    Proxies::of_user(|name| env::var(name).ok())
}

/// Returns the name of the user and of this machine, for others who read what was ordered.
#[cfg(feature = "job")]
pub fn person() -> String {
    let user = env::var("USER").ok().filter(|name| !name.is_empty());
    let user = user.or_else(|| user_id().map(|id| format!("user {id}")));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} at {}", user.as_deref().unwrap_or("somebody"), host.trim())
}

/// Returns the socket of containerd and its namespace, by the variables that its own tools read.
#[cfg(feature = "node")]
pub fn containerd() -> imgdelta_runtimes::containerd::ContainerdOptions {
    let mut options = imgdelta_runtimes::containerd::ContainerdOptions::default();
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(address) = variable("CONTAINERD_ADDRESS") {
        options = options.socket(address.strip_prefix("unix://").unwrap_or(&address));
    }
    if let Some(namespace) = variable("CONTAINERD_NAMESPACE") {
        options = options.namespace(namespace);
    }
    options
}

/// Returns the user's storage of podman, CRI-O and buildah.
#[cfg(feature = "node")]
pub fn storage() -> imgdelta::Result<imgdelta_runtimes::containers_storage::StorageOptions> {
    let variable = |name: &str| env::var_os(name);
    imgdelta_runtimes::containers_storage::StorageOptions::of_user(user_id(), variable)
}

/// Returns the number of the user that runs this process.
fn user_id() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|process| process.uid())
}

/// Temporary files are as large as layers; `/tmp` is often memory, this directory is not.
const LARGE: &str = "/var/tmp";
