//! The configuration: a TOML file, checked whole before any work.
//!
//! Every mistake is reported with its line and column; an unknown key is a mistake. Opens no file
//! except the configuration itself, and holds no secret: logins come with the requests.

mod bit_rate;

pub use bit_rate::BitRate;
mod engines;

pub use engines::{DockerConfig, PodmanConfig, RuntimeKind};

use imgdelta_core::Result;
use imgdelta_registry::{ClientOptions, Trust};
use imgdelta_service::setting::{self, LogConfig, Mistake, Size, TimeSpan, files, unspanned};
use serde::Deserialize;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use toml::Spanned;

/// A checked configuration. docs/node.md shows one with every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The mirror that runtimes ask.
    #[serde(default)]
    pub mirror: MirrorConfig,
    /// The files by which containerd finds the mirror.
    #[serde(default)]
    pub hosts: HostsConfig,
    /// The runtime of this machine. containerd.
    #[serde(default)]
    pub runtime: RuntimeKind,
    /// The storage of podman, with that runtime.
    #[serde(default)]
    pub podman: PodmanConfig,
    /// The docker daemon, with that runtime.
    #[serde(default)]
    pub docker: DockerConfig,
    /// The containerd whose store has the bases and takes the layers.
    #[serde(default)]
    pub containerd: ContainerdConfig,
    /// Resources for rebuilding layers.
    #[serde(default)]
    pub rebuild: RebuildConfig,
    /// The link to the registries.
    #[serde(default)]
    pub link: LinkConfig,
    /// The log.
    #[serde(default)]
    pub log: LogConfig,
    /// Registries that the mirror serves; it refuses all others.
    #[serde(rename = "registry")]
    pub registries: Spanned<Vec<RegistryConfig>>,
}

/// The mirror that runtimes ask.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [mirror]"
)]
#[non_exhaustive]
pub struct MirrorConfig {
    /// Address of the mirror, its metrics and its health checks. `127.0.0.1:9611`.
    pub listen: Spanned<SocketAddr>,
    /// True to accept connections from other machines, too. They can read what the registry lets
    /// them read, through this machine.
    pub allow_other_machines: bool,
    /// Longest time that the answer to a manifest waits for its layers. 2 minutes: runtimes give a
    /// silent pull up after five.
    pub hold: Spanned<TimeSpan>,
    /// Most answers that wait at one time; further ones are given at once. 100.
    pub held: Spanned<usize>,
}

impl Default for MirrorConfig {
    fn default() -> Self {
        Self {
            listen: unspanned(SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT))),
            allow_other_machines: false,
            hold: unspanned(TimeSpan::seconds(120)),
            held: unspanned(100),
        }
    }
}

/// The files by which containerd finds the mirror.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [hosts]"
)]
#[non_exhaustive]
pub struct HostsConfig {
    /// containerd's `config_path`. While the mirror runs, a `hosts.toml` for each registry is there.
    /// By default none is written.
    pub directory: Option<PathBuf>,
}

/// A containerd.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [containerd]"
)]
#[non_exhaustive]
pub struct ContainerdConfig {
    /// Its socket. `/run/containerd/containerd.sock`.
    pub socket: PathBuf,
    /// Its namespace. `k8s.io`, that of Kubernetes.
    pub namespace: String,
    /// Its snapshotter. `overlayfs`.
    pub snapshotter: String,
    /// Time that layers of a rebuild stay for the pull that waits for them. 10 minutes: containerd
    /// goes on as soon as the manifest is answered.
    pub lease: Spanned<TimeSpan>,
    /// Time that layers of `node stage` stay until an image uses them. A day.
    pub stage_lease: Spanned<TimeSpan>,
}

impl Default for ContainerdConfig {
    fn default() -> Self {
        Self {
            socket: "/run/containerd/containerd.sock".into(),
            namespace: "k8s.io".into(),
            snapshotter: "overlayfs".into(),
            lease: unspanned(TimeSpan::seconds(600)),
            stage_lease: unspanned(TimeSpan::seconds(86_400)),
        }
    }
}

/// Resources for rebuilding layers.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [rebuild]"
)]
#[non_exhaustive]
pub struct RebuildConfig {
    /// Compressed blobs of rebuilt layers: none, added after the pull, or served to the runtime.
    pub blobs: BlobMode,
    /// Directory for temporary files, frames and blobs to be served. `/var/lib/imgdelta`.
    pub directory: PathBuf,
    /// Most bytes of temporary files, and of blobs to be served: of each of them. 10 GiB.
    pub disk: Spanned<Size>,
    /// Threads of a rebuild; 0, the default, for one per processor.
    pub threads: usize,
    /// Images that are rebuilt at one time; further ones wait. 1.
    pub parallel: Spanned<usize>,
    /// Most rebuilds that begin in a minute; further images are pulled whole. 60.
    pub per_minute: Spanned<u32>,
}

impl Default for RebuildConfig {
    fn default() -> Self {
        Self {
            blobs: BlobMode::None,
            directory: "/var/lib/imgdelta".into(),
            disk: unspanned(Size(10 << 30)),
            threads: 0,
            parallel: unspanned(1),
            per_minute: unspanned(60),
        }
    }
}

/// The compressed blobs of rebuilt layers.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum BlobMode {
    /// None are made: layers go into the runtime's store as file systems. The node cannot export or
    /// push such an image, as with `discard_unpacked_layers`.
    #[default]
    None,
    /// As with `None`; after the pull, the blobs are made at low priority and added to the image in
    /// the runtime's store. The node can then export and push it.
    Keep,
    /// Blobs are made and served: for runtimes that take layers no other way, and for nodes that
    /// export or push images. Takes more processor time than a plain pull.
    Exact,
}

/// The link to the registries.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [link]"
)]
#[non_exhaustive]
pub struct LinkConfig {
    /// First guess of the rate, in bits per second, such as `20Mbit`; it is measured later. 50 Mbit.
    pub rate: Spanned<BitRate>,
    /// False to keep the first guess.
    pub measured: bool,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self { rate: unspanned(BitRate(50_000_000)), measured: true }
    }
}

/// A registry that the mirror serves.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table, as in [[registry]]")]
#[non_exhaustive]
pub struct RegistryConfig {
    /// Its name in images, with a port if it is not the default port.
    pub host: Spanned<String>,
    /// The host that is asked instead, such as a cache in the same site.
    #[serde(default)]
    pub address: Option<Spanned<String>>,
    /// Files with certificate authorities to trust in addition to the machine's.
    #[serde(default, deserialize_with = "files")]
    pub ca: Vec<PathBuf>,
    /// True to use HTTP without TLS for another machine, too.
    #[serde(default)]
    pub plain_http: bool,
}

impl RegistryConfig {
    /// Returns the host that is asked.
    pub(crate) fn address(&self) -> &str {
        self.address.as_ref().unwrap_or(&self.host).get_ref()
    }

    /// Returns the options of a client for it, without a login.
    pub(crate) fn client_options(&self) -> ClientOptions {
        let trust = Trust::of_machine(self.ca.clone());
        ClientOptions::default().trust(trust).plain_http(self.plain_http)
    }
}

impl Config {
    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self> {
        setting::open(path, Self::mistake)
    }

    /// Parses the text of a configuration; errors name it `place`.
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        setting::parse(text, place, Self::mistake)
    }

    /// Returns the registry that a request names; the only one if it names none.
    pub fn registry(&self, name: Option<&str>) -> Option<&RegistryConfig> {
        let registries = self.registries.get_ref();
        match name {
            Some(name) => {
                registries.iter().find(|one| one.host.get_ref().eq_ignore_ascii_case(name))
            }
            None => registries.first().filter(|_| registries.len() == 1),
        }
    }

    /// Returns the first mistake that parsing does not find.
    fn mistake(&self) -> Option<Mistake> {
        let listen = &self.mirror.listen;
        if !self.mirror.allow_other_machines && !listen.get_ref().ip().to_canonical().is_loopback()
        {
            let what = "other machines reach this address: listen on 127.0.0.1, or set \
                        allow-other-machines";
            return Some((listen.span(), what.into()));
        }
        let hold = &self.mirror.hold;
        if hold.get_ref().whole_seconds() > MAX_HOLD_SECONDS {
            let what = format!("expected at most {MAX_HOLD_SECONDS}s: runtimes give up after 5m");
            return Some((hold.span(), what));
        }
        let ContainerdConfig { lease, stage_lease, .. } = &self.containerd;
        let least = [
            (lease.span(), lease.get_ref().whole_seconds(), 60, "seconds"),
            (stage_lease.span(), stage_lease.get_ref().whole_seconds(), 60, "seconds"),
            (self.rebuild.disk.span(), self.rebuild.disk.get_ref().0, 64 << 20, "bytes"),
            (self.rebuild.parallel.span(), *self.rebuild.parallel.get_ref() as u64, 1, "rebuild"),
            (self.link.rate.span(), self.link.rate.get_ref().0, 1000, "bits per second"),
        ];
        if let Some(mistake) = setting::too_small(least) {
            return Some(mistake);
        }
        if self.registries.get_ref().is_empty() {
            return Some((self.registries.span(), "expected at least one [[registry]]".into()));
        }
        let registries = self.registries.get_ref().iter();
        let mut hosts = registries.flat_map(|one| std::iter::once(&one.host).chain(&one.address));
        hosts.find_map(setting::not_a_host)
    }
}

/// Not assigned, and next to the port of `imgdelta job serve`.
const DEFAULT_PORT: u16 = 9611;
/// containerd 1.7 and later end a pull without progress after five minutes.
const MAX_HOLD_SECONDS: u64 = 240;

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "[[registry]]\nhost = \"r:5000\"\n";

    fn fails(text: &str) -> String {
        Config::parse(text, "node.toml").unwrap_err().to_string()
    }

    #[test]
    fn a_short_file_has_defaults() {
        let config = Config::parse(LEAST, "node.toml").unwrap();
        assert!(config.mirror.listen.get_ref().ip().is_loopback());
        assert_eq!(config.mirror.hold.get_ref().whole_seconds(), 120);
        assert_eq!(config.rebuild.blobs, BlobMode::None);
        assert_eq!(config.containerd.namespace, "k8s.io");
        assert_eq!(config.runtime, RuntimeKind::Containerd);
        let podman = format!("runtime = \"podman\"\n[podman]\nroot = \"/srv/x\"\n{LEAST}");
        let podman = Config::parse(&podman, "node.toml").unwrap();
        assert_eq!(podman.runtime, RuntimeKind::Podman);
        assert_eq!(podman.podman.root.as_deref(), Some(Path::new("/srv/x")));
    }

    #[test]
    fn a_mistake_has_its_place() {
        assert_eq!(
            fails(&format!("[mirror]\nhold = \"10m\"\n{LEAST}")),
            "node.toml:2:8: expected at most 240s: runtimes give up after 5m"
        );
        assert_eq!(
            fails(&format!("[mirror]\nlisten = \"0.0.0.0:80\"\n{LEAST}")),
            "node.toml:2:10: other machines reach this address: listen on 127.0.0.1, or set \
             allow-other-machines"
        );
        assert_eq!(
            fails(&format!("[link]\nrate = \"20MB\"\n{LEAST}")),
            "node.toml:2:8: not a rate: expected such as \"20Mbit\" or \"1Gbit\""
        );
        assert!(
            fails("[[registry]]\nhost = \"https://r\"\n")
                .starts_with("node.toml:2:8: expected HOST")
        );
        assert!(fails("registry = []\n").contains("at least one [[registry]]"));
        assert!(
            fails(&format!("[looking-glass]\n{LEAST}")).starts_with("node.toml:1:2: unknown field")
        );
    }

    #[test]
    fn only_listed_registries_are_served() {
        let one = Config::parse(LEAST, "node.toml").unwrap();
        assert!(one.registry(None).is_some() && one.registry(Some("r:5000")).is_some());
        assert!(one.registry(Some("other")).is_none());
        let two =
            Config::parse(&format!("{LEAST}[[registry]]\nhost = \"s\"\n"), "node.toml").unwrap();
        assert!(two.registry(None).is_none(), "it is not clear which one is meant");
        // Requests have the host in lower case, and names of images as they are written.
        let upper = Config::parse("[[registry]]\nhost = \"R:5000\"\n", "node.toml");
        assert!(upper.unwrap().registry(Some("r:5000")).is_some());
        assert_eq!(two.registry(Some("s")).unwrap().host.get_ref(), "s");
    }
}
