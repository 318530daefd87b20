//! What an operator writes: a TOML file, checked whole before anything is done.
//!
//! Every mistake is told with its line and column, and an unknown word is a mistake. Holds paths of
//! secrets, never a secret; opens no file but the one it is asked to.

mod server;
mod value;

pub use server::Server;
pub use value::{Files, Pattern, Share, Size, Span};
pub(crate) use value::{preset_of, preset_word};

use imgdelta_core::{Error, Result};
use imgdelta_image::image::Platform;
use imgdelta_make::options::Preset;
use serde::Deserialize;
use std::{
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
};
use toml::Spanned;

/// A checked configuration. docs/job.md shows one with every word.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The registry beside which deltas are prepared.
    pub registry: Registry,
    /// Where works wait.
    #[serde(default)]
    pub queue: Queue,
    /// What making deltas may take.
    #[serde(default)]
    pub budget: Budget,
    /// What `job serve` does besides.
    #[serde(default)]
    pub serve: Serve,
    /// When deltas are removed.
    #[serde(default)]
    pub retention: Retention,
    /// What is said while running.
    #[serde(default)]
    pub log: Log,
    /// What is wanted, repository by repository; the first rule that names one counts.
    #[serde(rename = "rule")]
    pub rules: Spanned<Vec<Rule>>,
}

/// How the registry is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Registry {
    /// Its name, with a port if it has another than its scheme's.
    pub host: Spanned<String>,
    /// Logins; those of docker and podman by default.
    #[serde(default)]
    pub auth_file: Option<PathBuf>,
    /// Files of authorities to trust besides the machine's.
    #[serde(default, deserialize_with = "value::files")]
    pub ca: Vec<PathBuf>,
    /// Whether to speak without TLS to another machine.
    #[serde(default)]
    pub plain_http: bool,
}

/// Where works wait, and how long they are waited for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Queue {
    /// A file of this machine. `imgdelta-job.db` here, unless a server is named.
    pub sqlite: Option<Spanned<PathBuf>>,
    /// A `PostgreSQL` server that many machines share, as `host=… user=… dbname=…`.
    pub postgres: Option<Spanned<Server>>,
    /// Files of authorities that its certificate may be signed by, besides the machine's.
    pub ca: Option<Spanned<Files>>,
    /// A file with the server's password, so that it stands in no configuration.
    pub password_file: Option<Spanned<PathBuf>>,
    /// How often a work is begun before it is set aside. 5: what fails for a moment has passed by
    /// then.
    pub tries: Spanned<u32>,
    /// How long a worker may be silent before others take its work. 2 minutes, four heartbeats.
    pub lease: Spanned<Span>,
    /// How long a failed work waits for its next try, doubled each time. A minute.
    pub pause: Span,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            sqlite: None,
            postgres: None,
            ca: None,
            password_file: None,
            tries: unspanned(5),
            lease: unspanned(Span::seconds(120)),
            pause: Span::seconds(60),
        }
    }
}

impl Queue {
    fn mistake(&self) -> Option<(Range<usize>, String)> {
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
            Some(ca) if !postgres.get_ref().speaks_tls() => {
                let what = "no certificate to check: TLS is not spoken with sslmode=disable, \
                            through a socket, or on this machine unless sslmode=require";
                Some((ca.span(), what.into()))
            }
            _ => None,
        }
    }
}

/// What making deltas may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Budget {
    /// Works at once. 1: one work uses all threads where it can.
    pub parallel: Spanned<usize>,
    /// Threads of one work; 0, the default, shares the processors among the works.
    pub threads: usize,
    /// Memory for matching, shared among the works. 400 MiB, as for `create`.
    pub memory: Spanned<Size>,
    /// Processor time of one work, after which it is set aside. An hour.
    pub cpu: Spanned<Span>,
    /// Temporary files of all works together. 20 GiB.
    pub disk: Spanned<Size>,
    /// Where they lie. `/var/tmp`.
    pub scratch: PathBuf,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            parallel: unspanned(1),
            threads: 0,
            memory: unspanned(Size(400 << 20)),
            cpu: unspanned(Span::seconds(3600)),
            disk: unspanned(Size(20 << 30)),
            scratch: "/var/tmp".into(),
        }
    }
}

/// What `job serve` does besides working.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Serve {
    /// Where notifications and questions come in. This machine only, unless told otherwise.
    pub listen: SocketAddr,
    /// A file with what notifications must bring as `Authorization: Bearer …`; anybody's count
    /// without.
    pub secret_file: Option<PathBuf>,
    /// How often all repositories are looked through, notified or not. 15 minutes.
    pub poll: Spanned<Span>,
    /// How long a notification waits for others of its repository. 2 seconds.
    pub settle: Span,
    /// How long works may go on after SIGTERM before they are given back. 20 seconds, less than
    /// Kubernetes waits.
    pub grace: Span,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)),
            secret_file: None,
            poll: unspanned(Span::seconds(900)),
            settle: Span::seconds(2),
            grace: Span::seconds(20),
        }
    }
}

/// When deltas are removed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Retention {
    /// Whether deltas are removed whose base or target is no longer in the registry. No, as it
    /// needs the right to delete.
    pub remove: bool,
}

/// What is said while running.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Log {
    /// As lines for people or as JSON.
    pub format: LogFormat,
    /// How much.
    pub level: LogLevel,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object each.
    Json,
}

/// How much is said.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// And what is odd.
    Warn,
    /// And what was done.
    #[default]
    Info,
    /// And why.
    Debug,
}

/// What is wanted of some repositories.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Rule {
    /// Their names in the registry; `*` stands for anything but `/`, `**` for anything.
    pub repositories: Spanned<Vec<Pattern>>,
    /// Tags that are versions. All that are not made of digests.
    #[serde(default = "everything")]
    pub tags: Vec<Pattern>,
    /// Tags that are none of them.
    #[serde(default)]
    pub except: Vec<Pattern>,
    /// What makes a version newer than another.
    #[serde(default)]
    pub order: Order,
    /// How many versions deltas are prepared from. 3.
    #[serde(default = "three")]
    pub keep: Spanned<usize>,
    /// What deltas lead to.
    #[serde(default)]
    pub to: To,
    /// Only these platforms; all that both versions have by default.
    #[serde(default, deserialize_with = "value::platforms")]
    pub platforms: Vec<Platform>,
    /// Whether deltas that lead back are prepared too.
    #[serde(default)]
    pub rollback: bool,
    /// How much time to spend on a smaller delta.
    #[serde(default, deserialize_with = "value::preset")]
    pub preset: Preset,
    /// Published are deltas of less than this share of what a plain pull fetches. 80 %: below
    /// that, rebuilding costs the receiver more than it spares the line.
    #[serde(default)]
    pub worth: Share,
}

/// What makes a version newer than another.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Its number; tags that are no versions are left out.
    #[default]
    Semver,
    /// When it was built, by its config.
    Date,
    /// When it was first seen here under its tag.
    Push,
}

/// What deltas lead to.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    /// From each of the versions before to the newest.
    #[default]
    Newest,
    /// From each version to the next.
    Neighbours,
}

impl Config {
    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path.display()))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads the text of a file; `place` is its name.
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        let config: Self = toml::from_str(text)
            .map_err(|error| wrong(text, place, error.span(), error.message()))?;
        match config.mistake() {
            Some((span, what)) => Err(wrong(text, place, Some(span), &what)),
            None => Ok(config),
        }
    }

    /// Returns the rule of a repository.
    pub fn rule(&self, repository: &str) -> Option<&Rule> {
        let mut rules = self.rules.get_ref().iter();
        rules.find(|rule| {
            rule.repositories.get_ref().iter().any(|pattern| pattern.matches(repository))
        })
    }

    /// Returns the memory of one work.
    pub fn memory_bytes(&self) -> u64 {
        self.budget.memory.get_ref().0 / (*self.budget.parallel.get_ref() as u64).max(1)
    }

    /// Finds what parsing cannot see.
    fn mistake(&self) -> Option<(Range<usize>, String)> {
        let host = &self.registry.host;
        if host.get_ref().is_empty() || host.get_ref().contains(['/', '@', ' ']) {
            let what = "expected HOST[:PORT], without scheme, path or login";
            return Some((host.span(), what.into()));
        }
        if let Some(mistake) = self.queue.mistake() {
            return Some(mistake);
        }
        let least = [
            (self.queue.tries.span(), u64::from(*self.queue.tries.get_ref()), 1, "try"),
            (self.queue.lease.span(), self.queue.lease.get_ref().whole_seconds(), 1, "second"),
            (self.budget.parallel.span(), *self.budget.parallel.get_ref() as u64, 1, "work"),
            (self.budget.memory.span(), self.budget.memory.get_ref().0, 64 << 20, "bytes"),
            (self.budget.cpu.span(), self.budget.cpu.get_ref().whole_seconds(), 1, "second"),
            (self.budget.disk.span(), self.budget.disk.get_ref().0, 1 << 20, "bytes"),
            (self.serve.poll.span(), self.serve.poll.get_ref().whole_seconds(), 1, "second"),
        ];
        for (span, found, least, unit) in least {
            if found < least {
                return Some((span, format!("expected at least {least} {unit}")));
            }
        }
        if self.rules.get_ref().is_empty() {
            return Some((self.rules.span(), "expected at least one [[rule]]".into()));
        }
        for rule in self.rules.get_ref() {
            if rule.repositories.get_ref().is_empty() {
                return Some((rule.repositories.span(), "expected at least one name".into()));
            }
            if !(1..=MOST_KEPT).contains(rule.keep.get_ref()) {
                let what = format!("expected a number from 1 to {MOST_KEPT}");
                return Some((rule.keep.span(), what));
            }
        }
        None
    }
}

fn wrong(text: &str, place: &str, span: Option<Range<usize>>, what: &str) -> Error {
    let Some(span) = span else { return Error::bad_input(place, what) };
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Error::bad_input(format_args!("{place}:{line}:{column}"), what)
}

fn unspanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn everything() -> Vec<Pattern> {
    vec![Pattern::everything()]
}

fn three() -> Spanned<usize> {
    unspanned(3)
}

/// As many as anybody goes back at once; each is a delta per platform.
const MOST_KEPT: usize = 100;
/// Unassigned, and near where other exporters listen.
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
        assert_eq!((*rule.keep.get_ref(), rule.order, rule.to), (3, Order::Semver, To::Newest));
        assert_eq!((rule.preset, rule.worth), (Preset::Default, Share::per_mille(800)));
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
    fn mistakes_are_told_with_their_place() {
        let rows = [
            ("", "job.toml:1:1: missing field `registry`"),
            ("[registry]\nhost = 5\n", "job.toml:2:8: invalid type: integer `5`"),
            (&LEAST.replace("r:5000", "https://r/"), "job.toml:2:8: expected HOST[:PORT]"),
            (&format!("{LEAST}kep = 3\n"), "job.toml:5:1: unknown field `kep`"),
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
            (&format!("{LEAST}="), "job.toml:5:1: "),
        ];
        for (text, expected) in rows {
            let said = fails(text);
            assert!(said.starts_with(expected), "{said:?} for {text:?}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
