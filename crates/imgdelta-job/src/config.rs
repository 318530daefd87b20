//! The configuration: a TOML file, checked whole before any work.
//!
//! Every mistake is reported with its line and column; an unknown key is a mistake. Holds paths of
//! secrets, never a secret. Opens no file except the configuration itself.

mod value;

pub use imgdelta_queue::PostgresOptions;
pub use imgdelta_service::setting::{FileList, LogConfig, LogFormat, LogLevel, Size, TimeSpan};
pub use value::{NamePattern, Share};
pub(crate) use value::{preset_of, preset_word};

use imgdelta::{Result, create::Preset, image::Platform};
use imgdelta_registry::RepositoryName;
use imgdelta_service::setting::{self, Mistake, unspanned};
use serde::Deserialize;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use toml::Spanned;

/// A checked configuration. docs/job.md shows one with every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The registry that holds the images.
    pub registry: RegistryConfig,
    /// The queue of tasks.
    #[serde(default)]
    pub queue: QueueConfig,
    /// Resources for making deltas.
    #[serde(default)]
    pub budget: BudgetConfig,
    /// Scans of the registry.
    #[serde(default)]
    pub scan: ScanConfig,
    /// The service of `job serve`.
    #[serde(default)]
    pub serve: ServeConfig,
    /// Removal of deltas.
    #[serde(default)]
    pub retention: RetentionConfig,
    /// The log.
    #[serde(default)]
    pub log: LogConfig,
    /// Wanted deltas by repository; the first rule that matches a repository applies.
    #[serde(rename = "rule")]
    pub rules: Spanned<Vec<Rule>>,
}

/// Access to the registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table, as in [registry]")]
#[non_exhaustive]
pub struct RegistryConfig {
    /// Host name, with a port if it is not the default port.
    pub host: Spanned<String>,
    /// File with logins; the files of docker and podman by default.
    #[serde(default)]
    pub auth_file: Option<PathBuf>,
    /// Files with certificate authorities to trust in addition to the machine's.
    #[serde(default, deserialize_with = "setting::files")]
    pub ca: Vec<PathBuf>,
    /// True to use HTTP without TLS for another machine, too.
    #[serde(default)]
    pub plain_http: bool,
}

/// The queue of tasks, its leases and retries.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [queue]"
)]
#[non_exhaustive]
pub struct QueueConfig {
    /// A database file on this machine. `imgdelta-job.db` in the working directory, unless
    /// `postgres` is set.
    pub sqlite: Option<Spanned<PathBuf>>,
    /// A `PostgreSQL` server that many machines share, as `host=… user=… dbname=…`.
    pub postgres: Option<Spanned<PostgresOptions>>,
    /// Files with certificate authorities for the server, in addition to the machine's.
    pub ca: Option<Spanned<FileList>>,
    /// A file with the server's password, so that the configuration contains no secret.
    pub password_file: Option<Spanned<PathBuf>>,
    /// Attempts before a task fails for good. 5: a short outage is over by then.
    pub tries: Spanned<u32>,
    /// Time without a heartbeat after which another worker takes a task. 2 minutes, four
    /// heartbeats.
    pub lease: Spanned<TimeSpan>,
    /// Pause before the first retry, doubled for each further one. A minute.
    pub pause: TimeSpan,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            sqlite: None,
            postgres: None,
            ca: None,
            password_file: None,
            tries: unspanned(5),
            lease: unspanned(TimeSpan::seconds(120)),
            pause: TimeSpan::seconds(60),
        }
    }
}

impl QueueConfig {
    /// Returns the name of the queue in messages, without a password.
    pub(crate) fn place(&self) -> String {
        match &self.postgres {
            Some(server) => format!("queue in PostgreSQL, {}", server.get_ref()),
            None => format!("queue {}", self.file().unwrap_or_default().display()),
        }
    }

    /// Returns the database file; none with a server.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        if self.postgres.is_some() {
            return None;
        }
        Some(
            self.sqlite
                .as_ref()
                .map_or_else(|| DEFAULT_QUEUE.into(), |path| path.get_ref().clone()),
        )
    }

    fn mistake(&self) -> Option<Mistake> {
        let Some(postgres) = &self.postgres else {
            return match (&self.ca, &self.password_file) {
                (Some(ca), _) => Some((ca.span(), "a ca is for postgres".into())),
                (_, Some(file)) => Some((file.span(), "a password-file is for postgres".into())),
                (None, None) => None,
            };
        };
        if self.sqlite.is_some() {
            return Some((postgres.span(), "a queue is either sqlite or postgres".into()));
        }
        match &self.ca {
            Some(ca) if !postgres.get_ref().uses_tls() => {
                let what = "no certificate to check: TLS is not used with sslmode=disable, \
                            through a socket, or on this machine unless sslmode=require";
                Some((ca.span(), what.into()))
            }
            _ => None,
        }
    }
}

/// Resources for making deltas.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [budget]"
)]
#[non_exhaustive]
pub struct BudgetConfig {
    /// Tasks at once. 1: one task uses all threads where it can.
    pub parallel: Spanned<usize>,
    /// Threads of one task; 0, the default, divides the processors among the tasks.
    pub threads: usize,
    /// Memory for matching, divided among the tasks. 400 MiB, as for `create`.
    pub memory: Spanned<Size>,
    /// Processor time of one task; a task that exceeds it fails for good. An hour.
    pub cpu: Spanned<TimeSpan>,
    /// Temporary files of all tasks together. 20 GiB.
    pub disk: Spanned<Size>,
    /// Blobs that are kept for the next tasks, in temporary files besides those of `disk`. 2 GiB: the
    /// versions of an image that a rule keeps share most layers.
    pub cache: Spanned<Size>,
    /// Directory for temporary files. `/var/tmp`.
    pub scratch: PathBuf,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self {
            parallel: unspanned(1),
            threads: 0,
            memory: unspanned(Size(400 << 20)),
            cpu: unspanned(TimeSpan::seconds(3600)),
            disk: unspanned(Size(20 << 30)),
            cache: unspanned(Size(2 << 30)),
            scratch: "/var/tmp".into(),
        }
    }
}

/// Scans of the registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [scan]"
)]
#[non_exhaustive]
pub struct ScanConfig {
    /// Repositories at once. 8: a registry that answers in 5 ms is asked 1,000 times a second.
    pub parallel: Spanned<usize>,
    /// Most requests of scans in a second; 0, the default, means no limit. Notifications do not wait.
    pub rate: u32,
    /// Most repositories with a change in the last day that a service scans five times as often; 0 means
    /// none. 100: with five requests each, that is three in a second.
    pub busy: u32,
}

impl Default for ScanConfig {
    fn default() -> Self {
        Self { parallel: unspanned(8), rate: 0, busy: 100 }
    }
}

/// The service of `job serve`.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [serve]"
)]
#[non_exhaustive]
pub struct ServeConfig {
    /// Address for notifications, metrics and health checks. By default only this machine can
    /// connect.
    pub listen: SocketAddr,
    /// A file with the secret that notifications bring as `Authorization: Bearer …`. Without it,
    /// every notification is accepted, and only this machine may connect.
    pub secret_file: Option<PathBuf>,
    /// Interval of the scans of all repositories. 15 minutes.
    pub poll: Spanned<TimeSpan>,
    /// Time that a notification waits for others of its repository. A second.
    pub settle: TimeSpan,
    /// Time that running tasks have after SIGTERM before they return to the queue. 20 seconds,
    /// less than Kubernetes waits.
    pub grace: TimeSpan,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)),
            secret_file: None,
            poll: unspanned(TimeSpan::seconds(900)),
            settle: TimeSpan::seconds(1),
            grace: TimeSpan::seconds(20),
        }
    }
}

/// Removal of deltas.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a table, as in [retention]"
)]
#[non_exhaustive]
pub struct RetentionConfig {
    /// True to remove deltas whose base or target is no longer in the registry. False by default,
    /// since it needs the right to delete.
    pub remove: bool,
}

/// The deltas wanted for some repositories.
#[expect(
    clippy::struct_excessive_bools,
    reason = "settings of a file, each with a name of its own"
)]
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table, as in [[rule]]")]
#[non_exhaustive]
pub struct Rule {
    /// Repository names; `*` matches anything except `/`, `**` matches anything.
    pub repositories: Spanned<Vec<NamePattern>>,
    /// Tags that are versions. By default all tags that are not made of digests.
    #[serde(default = "everything")]
    pub tags: Vec<NamePattern>,
    /// Tags that are not versions although `tags` matches them.
    #[serde(default)]
    pub except: Vec<NamePattern>,
    /// True if no tag ever moves, so that scans ask for new tags only.
    #[serde(default)]
    pub immutable_tags: bool,
    /// The order of versions.
    #[serde(default)]
    pub order: VersionOrder,
    /// Number of versions to make deltas from. 3.
    #[serde(default = "three")]
    pub keep: Spanned<usize>,
    /// Targets of the deltas.
    #[serde(default)]
    pub to: DeltaTargets,
    /// Only these platforms; by default all that both versions have.
    #[serde(default, deserialize_with = "value::platforms")]
    pub platforms: Vec<Platform>,
    /// True to make deltas back to the older version as well.
    #[serde(default)]
    pub rollback: bool,
    /// True to make a delta of the newest version for receivers that have no image. False by default:
    /// it takes about a second of processor time for each megabyte of the image.
    #[serde(default)]
    pub first: bool,
    /// Time to spend on a smaller delta.
    #[serde(default, deserialize_with = "value::preset")]
    pub preset: Preset,
    /// A delta is published if it is smaller than this share of a plain pull. 80 %: for less
    /// saving, rebuilding costs the receiver more than fetching.
    #[serde(default)]
    pub worth: Share,
    /// True to publish the frames of the images that deltas start from, so that nodes without
    /// compressed layers can use the deltas. True by default: frames take less than a thousandth of an
    /// image, and without them the first upgrade of such a node is whole.
    #[serde(default = "yes")]
    pub frames: bool,
}

/// The order of versions.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum VersionOrder {
    /// By version number; tags that are not version numbers are ignored.
    #[default]
    Semver,
    /// By the creation date in the config.
    Date,
    /// By the time at which the job first saw the tag with its current image.
    Push,
}

/// The targets of deltas.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum DeltaTargets {
    /// From each of the older versions to the newest.
    #[default]
    Newest,
    /// From each version to the next.
    Neighbours,
}

/// The database file if the configuration names no queue.
const DEFAULT_QUEUE: &str = "imgdelta-job.db";

impl Config {
    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self> {
        setting::open(path, Self::mistake)
    }

    /// Parses the text of a configuration; errors name it `place`.
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        setting::parse(text, place, Self::mistake)
    }

    /// Returns the rule that applies to a repository.
    pub fn rule(&self, repository: &str) -> Option<&Rule> {
        let mut rules = self.rules.get_ref().iter();
        rules.find(|rule| {
            rule.repositories.get_ref().iter().any(|pattern| pattern.matches(repository))
        })
    }

    /// Returns the place of the rule that applies to a repository, from 1; 0 if none applies.
    pub(crate) fn rule_number(&self, repository: &str) -> usize {
        let is_applied = |rule: &Rule| {
            rule.repositories.get_ref().iter().any(|pattern| pattern.matches(repository))
        };
        self.rules.get_ref().iter().position(is_applied).map_or(0, |at| at + 1)
    }

    /// Returns the memory of one task.
    pub fn memory_bytes(&self) -> u64 {
        self.budget.memory.get_ref().0 / (*self.budget.parallel.get_ref() as u64).max(1)
    }

    /// Returns the first mistake that parsing does not find.
    fn mistake(&self) -> Option<Mistake> {
        let host = &self.registry.host;
        if let Some(mistake) = setting::not_a_host(host) {
            return Some(mistake);
        }
        if let Some(mistake) = self.queue.mistake() {
            return Some(mistake);
        }
        let least = [
            (self.queue.tries.span(), u64::from(*self.queue.tries.get_ref()), 1, "try"),
            (self.queue.lease.span(), self.queue.lease.get_ref().whole_seconds(), 1, "second"),
            (self.budget.parallel.span(), *self.budget.parallel.get_ref() as u64, 1, "task"),
            (self.budget.memory.span(), self.budget.memory.get_ref().0, 64 << 20, "bytes"),
            (self.budget.cpu.span(), self.budget.cpu.get_ref().whole_seconds(), 1, "second"),
            (self.budget.disk.span(), self.budget.disk.get_ref().0, 1 << 20, "bytes"),
            (self.scan.parallel.span(), *self.scan.parallel.get_ref() as u64, 1, "repository"),
            (self.serve.poll.span(), self.serve.poll.get_ref().whole_seconds(), 1, "second"),
        ];
        if let Some(mistake) = setting::too_small(least) {
            return Some(mistake);
        }
        if self.rules.get_ref().is_empty() {
            return Some((self.rules.span(), "expected at least one [[rule]]".into()));
        }
        for rule in self.rules.get_ref() {
            let repositories = &rule.repositories;
            if repositories.get_ref().is_empty() {
                return Some((repositories.span(), "expected at least one name".into()));
            }
            for name in repositories.get_ref().iter().filter_map(NamePattern::name) {
                if let Err(error) = RepositoryName::parse(host.get_ref(), name) {
                    return Some((repositories.span(), error.to_string()));
                }
            }
            if !(1..=MAX_KEPT).contains(rule.keep.get_ref()) {
                let what = format!("expected a number from 1 to {MAX_KEPT}");
                return Some((rule.keep.span(), what));
            }
        }
        None
    }
}

fn everything() -> Vec<NamePattern> {
    vec![NamePattern::everything()]
}

fn yes() -> bool {
    true
}

fn three() -> Spanned<usize> {
    unspanned(3)
}

/// More versions than anybody upgrades from at once; each is a delta per platform.
const MAX_KEPT: usize = 100;
/// Not assigned, and near the ports of other exporters.
const DEFAULT_PORT: u16 = 9610;

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "[registry]\nhost = \"r:5000\"\n[[rule]]\nrepositories = [\"team/*\"]\n";

    fn fails(text: &str) -> String {
        Config::parse(text, "job.toml").unwrap_err().to_string()
    }

    #[test]
    fn a_short_file_has_defaults() {
        let config = Config::parse(LEAST, "job.toml").unwrap();
        let rule = config.rule("team/app").unwrap();
        assert_eq!(
            (*rule.keep.get_ref(), rule.order, rule.to),
            (3, VersionOrder::Semver, DeltaTargets::Newest)
        );
        assert_eq!((rule.preset, rule.worth), (Preset::Default, Share::per_mille(800)));
        assert!(rule.frames);
        assert!(rule.tags[0].matches("v1/2") && !rule.rollback && !config.retention.remove);
        assert!(config.rule("team/app/x").is_none() && config.rule("other/app").is_none());
        assert_eq!(config.memory_bytes(), 400 << 20);
        assert!(config.serve.listen.ip().is_loopback());
    }

    #[test]
    fn authorities_are_one_file_or_several() {
        let text = format!("{LEAST}[queue]\npostgres = \"host=db\"\nca = \"a.pem\"\n");
        let text =
            text.replace("host = \"r:5000\"\n", "host = \"r\"\nca = [\"b.pem\", \"c.pem\"]\n");
        let config = Config::parse(&text, "job.toml").unwrap();
        assert_eq!(config.registry.ca, [Path::new("b.pem"), Path::new("c.pem")]);
        assert_eq!(config.queue.ca.unwrap().get_ref().0, [Path::new("a.pem")]);
    }

    #[test]
    fn mistakes_are_reported_with_their_place() {
        let rows = [
            ("", "job.toml:1:1: missing field `registry`"),
            ("[registry]\nhost = 5\n", "job.toml:2:8: invalid type: integer `5`"),
            (&LEAST.replace("r:5000", "https://r/"), "job.toml:2:8: expected HOST[:PORT]"),
            (&format!("{LEAST}kep = 3\n"), "job.toml:5:1: unknown field `kep`"),
            (
                &format!("queue = \"x\"\n{LEAST}"),
                "job.toml:1:9: invalid type: string \"x\", expected a table, as in [queue]",
            ),
            (&format!("{LEAST}keep = 0\n"), "job.toml:5:8: expected a number from 1 to 100"),
            (&format!("{LEAST}worth = 1.5\n"), "job.toml:5:9: "),
            (&format!("{LEAST}worth = \"70\"\n"), "job.toml:5:9: "),
            (&format!("{LEAST}tags = [\"v[\"]\n"), "job.toml:5:8: unclosed"),
            (&format!("{LEAST}platforms = [\"linux\"]\n"), "job.toml:5:13: "),
            (&format!("{LEAST}preset = \"slow\"\n"), "job.toml:5:10: "),
            (&format!("{LEAST}[queue]\nlease = \"2\"\n"), "job.toml:6:9: "),
            (
                &format!("{LEAST}[queue]\nlease = \"900ms\"\n"),
                "job.toml:6:9: expected at least 1 second",
            ),
            (&format!("{LEAST}[budget]\nmemory = \"lots\"\n"), "job.toml:6:10: "),
            (
                &format!("{LEAST}[queue]\nsqlite = \"a\"\npostgres = \"host=b\"\n"),
                "job.toml:7:12: a queue is either",
            ),
            (
                &format!("{LEAST}[queue]\npostgres = \"user=a password=hunter2\"\n"),
                "job.toml:6:12: name a password-file",
            ),
            (
                &format!("{LEAST}[queue]\npostgres = \"postgres://a:hunter2@h/d\"\n"),
                "job.toml:6:12: name a password-file",
            ),
            (
                &format!("{LEAST}[queue]\ntries = 1\npostgres = \"host=h sslmode=allow\"\n"),
                "job.toml:7:12: sslmode is one of disable, prefer, require, verify-full",
            ),
            (&format!("{LEAST}[queue]\nca = \"a.pem\"\n"), "job.toml:6:6: a ca is for postgres"),
            (
                &format!("{LEAST}[queue]\nca = 5\npostgres = \"host=h\"\n"),
                "job.toml:6:6: expected a file, or a list of files",
            ),
            (
                &format!("{LEAST}[queue]\npostgres = \"host=localhost\"\nca = [\"a.pem\"]\n"),
                "job.toml:7:6: no certificate to check",
            ),
            (&format!("{LEAST}[serve]\nlisten = \"9610\"\n"), "job.toml:6:10: "),
            (&LEAST.replace("\"team/*\"", ""), "job.toml:4:16: expected at least one name"),
            (
                &LEAST.replace("team/*", "team/../app"),
                "job.toml:4:16: repository \"team/../app\": not a repository name",
            ),
            (&format!("{LEAST}="), "job.toml:5:1: "),
        ];
        for (text, expected) in rows {
            let message = fails(text);
            assert!(message.starts_with(expected), "{message:?} for {text:?}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
