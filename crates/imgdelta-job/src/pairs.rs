//! Pairs of images that receivers have and want: asked for, and their state.
//!
//! A request adds a task to the queue, or makes it urgent; asking again changes nothing. The queue
//! remembers the pairs, so that scans prepare the way from versions that receivers have. Makes no
//! delta itself.

use crate::{
    config::Rule,
    job::Job,
    policy::{self, Version},
    publish,
    queue::{ListedTask, RequestedPair, TaskFilter, TaskState, Urgency},
    report::TaskOutcome,
    scan::ScanScope,
    task::Task,
};
use imgdelta::{BlobDigest, Error, Result, image::Platform, size::Human};
use imgdelta_registry::{ManifestReference, RepositoryName};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt};

/// State of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairState {
    /// The registry has the delta, or both images are one.
    Ready,
    /// A worker makes the delta.
    Making,
    /// The delta waits for a worker.
    Queued,
    /// There will be no delta; the reason says why.
    Refused,
    /// Nobody asked for the delta.
    Absent,
}

impl PairState {
    /// Returns the word for the state.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Making => "making",
            Self::Queued => "queued",
            Self::Refused => "refused",
            Self::Absent => "absent",
        }
    }

    /// Returns true if the state may change without a request.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Making | Self::Queued)
    }
}

/// A pair with its state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PairReport {
    /// The delta.
    pub task: Task,
    /// Its state.
    pub state: PairState,
    /// The reason of a refusal, or the last failure of a delta that will be tried again.
    pub reason: Option<String>,
    /// The delta in the registry.
    pub artifact: Option<BlobDigest>,
    /// Bytes of the delta, if known.
    pub delta_bytes: Option<u64>,
    /// Bytes of a plain pull, if known.
    pub pull_bytes: Option<u64>,
}

/// A pair that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedPair {
    pub repository: RepositoryName,
    pub base: ManifestReference,
    pub target: ManifestReference,
    pub platform: Option<Platform>,
}

impl WantedPair {
    /// Parses `{"repository": "team/app", "base": "v1", "target": "sha256:…", "platform": "linux/arm64"}`;
    /// the platform may be absent.
    pub fn parse(body: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct PairDocument {
            repository: String,
            base: String,
            target: String,
            #[serde(default)]
            platform: Option<String>,
        }
        let document: PairDocument = serde_json::from_slice(body).map_err(|error| {
            let what = "expected an object with repository, base, target, and perhaps platform";
            Error::bad_input_because("request for a pair", what, error)
        })?;
        Ok(Self {
            repository: document.repository.parse()?,
            base: image_name(&document.base)?,
            target: image_name(&document.target)?,
            platform: document.platform.map(|platform| platform.parse()).transpose()?,
        })
    }
}

/// Parses a tag or a digest.
pub fn image_name(text: &str) -> Result<ManifestReference> {
    if text.contains(':') {
        let digest = text.parse();
        return digest.map(ManifestReference::Digest).map_err(|error| {
            Error::bad_input_because("name of an image", "it has a colon, and is no digest", error)
        });
    }
    Ok(ManifestReference::Tag(text.parse()?))
}

impl Job {
    /// Asks for the deltas between two images of a repository: one for each platform that both have,
    /// or for one platform. Returns their states.
    pub async fn want(
        &self,
        repository: &RepositoryName,
        base: &ManifestReference,
        target: &ManifestReference,
        platform: Option<&Platform>,
    ) -> Result<Vec<PairReport>> {
        let tasks = self.pair_tasks(repository, base, target, platform).await?;
        let mut reports = Vec::new();
        for task in tasks {
            reports.push(self.want_task(task).await?);
        }
        Ok(reports)
    }

    /// Returns the states of deltas to an image: from these images, or from those that the rule and
    /// requests name. Asks for nothing.
    pub async fn readiness(
        &self,
        repository: &RepositoryName,
        target: &ManifestReference,
        from: &[ManifestReference],
    ) -> Result<Vec<PairReport>> {
        let mut tasks = Vec::new();
        for base in from {
            tasks.extend(self.pair_tasks(repository, base, target, None).await?);
        }
        if from.is_empty() {
            tasks = self.expected_tasks(repository, target).await?;
        }
        let mut reports = Vec::new();
        for task in tasks {
            let listed = self.queue.tasks(&[task.key()]).await?.into_iter().next();
            reports.push(self.report(named(task, listed.as_ref()), listed).await?);
        }
        Ok(reports)
    }

    /// Returns the tasks between two images that the registry has.
    async fn pair_tasks(
        &self,
        repository: &RepositoryName,
        base: &ManifestReference,
        target: &ManifestReference,
        platform: Option<&Platform>,
    ) -> Result<Vec<Task>> {
        let rule = self.rule_of(repository)?;
        let (bases, targets) =
            (self.images(repository, base).await?, self.images(repository, target).await?);
        let mut tasks = Vec::new();
        for (offered, to) in targets {
            let is_wanted = platform.is_none_or(|wanted| wanted.distance(&offered) == Some(0));
            let same = |other: &&(Platform, BlobDigest)| offered.distance(&other.0) == Some(0);
            let Some((_, from)) = bases.iter().find(same).filter(|_| is_wanted) else { continue };
            let (from, to) = ((*from, base.to_string()), (to, target.to_string()));
            tasks.push(Task::by_rule(rule, repository, &offered, Some(from), to));
        }
        if tasks.is_empty() {
            let what = match platform {
                Some(platform) => format!("an image for {platform} in both {base} and {target}"),
                None => format!("a platform that both {base} and {target} have"),
            };
            let place = self.scanner.repository(repository).place();
            return Err(Error::NotFound { place, what, present: Vec::new() });
        }
        Ok(tasks)
    }

    /// Returns the tasks to an image that the rule wants, and those that receivers asked for.
    async fn expected_tasks(
        &self,
        repository: &RepositoryName,
        target: &ManifestReference,
    ) -> Result<Vec<Task>> {
        let rule = self.rule_of(repository)?;
        let targets = self.images(repository, target).await?;
        let targets: BTreeSet<BlobDigest> = targets.iter().map(|(_, digest)| *digest).collect();
        let versions =
            self.scanner.versions(rule, repository, ScanScope::All, &*self.queue).await?;
        let versions = versions.unwrap_or_default();
        let mut tasks = policy::wanted_tasks(rule, repository, &versions);
        tasks.extend(self.learned_tasks(rule, repository, &versions, &tasks).await?);
        for pair in self.queue.requested(repository.as_str(), MAX_READ).await? {
            let parsed = (pair.platform.parse(), pair.base.parse(), pair.target.parse());
            let (Ok(platform), Ok(from), Ok(to)) = parsed else { continue };
            let (from, to) = ((from, pair.base), (to, target.to_string()));
            tasks.push(Task::by_rule(rule, repository, &platform, Some(from), to));
        }
        let mut keys = BTreeSet::new();
        tasks.retain(|task| targets.contains(&task.target) && keys.insert(task.key()));
        Ok(tasks)
    }

    /// Returns tasks to the newest version from images that receivers have and the registry has, too.
    pub(crate) async fn learned_tasks(
        &self,
        rule: &Rule,
        name: &RepositoryName,
        versions: &[Version],
        wanted: &[Task],
    ) -> Result<Vec<Task>> {
        let requested = self.queue.requested(name.as_str(), MAX_READ).await?;
        let mut learned = policy::learned_tasks(rule, name, versions, &requested, wanted);
        let keys: Vec<String> = learned.iter().map(Task::key).collect();
        let known = if keys.is_empty() { Vec::new() } else { self.queue.tasks(&keys).await? };
        let known: BTreeSet<&str> = known.iter().map(|task| task.key.as_str()).collect();
        let mut gone = BTreeSet::new();
        for (task, key) in learned.iter().zip(&keys) {
            let Some(base) = task.base else { continue };
            let reference = ManifestReference::Digest(base);
            // The queue forgets tasks of missing images, and each scan would add them again.
            if !known.contains(key.as_str())
                && self.scanner.repository(name).head(&reference).await?.is_none()
            {
                gone.insert(base);
            }
        }
        learned.retain(|task| task.base.is_none_or(|base| !gone.contains(&base)));
        Ok(learned)
    }

    fn rule_of(&self, repository: &RepositoryName) -> Result<&Rule> {
        self.config.rule(repository.as_str()).ok_or_else(|| {
            let what = "no rule of the configuration names this repository: add it to a [[rule]]";
            Error::bad_input(self.scanner.repository(repository).place(), what)
        })
    }

    async fn images(
        &self,
        repository: &RepositoryName,
        image: &ManifestReference,
    ) -> Result<Vec<(Platform, BlobDigest)>> {
        let found = self.scanner.images(repository, image).await?;
        if found.is_empty() {
            let place = self.scanner.repository(repository).place();
            let what = format!("image {image}");
            return Err(Error::NotFound { place, what, present: Vec::new() });
        }
        Ok(found)
    }

    async fn want_task(&self, task: Task) -> Result<PairReport> {
        let Some(base) = task.base.filter(|base| *base != task.target) else {
            return self.report(task, None).await;
        };
        let key = task.key();
        let known = self.queue.tasks(std::slice::from_ref(&key)).await?;
        if known.is_empty() && self.waiting_requests(&task.repository).await? >= MAX_WAITING {
            let reason = format!(
                "{MAX_WAITING} requested deltas of this repository wait already; ask again later"
            );
            return Ok(PairReport::new(task, PairState::Refused).reason(reason));
        }
        let pair = RequestedPair {
            repository: task.repository.to_string(),
            base: base.to_string(),
            target: task.target.to_string(),
            platform: task.platform.clone(),
            ..RequestedPair::default()
        };
        let new = task.to_add(Urgency::Requested);
        let mut listed = self.queue.request(&pair, &new).await?;
        let report = self.report(task.clone(), Some(listed.clone())).await?;
        if report.state != PairState::Absent {
            self.added.notify_waiters();
            return Ok(report);
        }
        // It was done, and somebody removed the delta from the registry.
        self.queue.forget(&[key]).await?;
        listed = self.queue.request(&pair, &new).await?;
        self.added.notify_waiters();
        self.report(task, Some(listed)).await
    }

    /// Counts the requested tasks of a repository that wait, up to the bound.
    async fn waiting_requests(&self, repository: &RepositoryName) -> Result<usize> {
        let filter = TaskFilter::all(MAX_LISTED)
            .state(TaskState::Waiting)
            .repository(repository.as_str())
            .newest_first(true);
        let page = self.queue.list(&filter).await?;
        Ok(page.tasks.iter().filter(|task| task.urgency == Urgency::Requested).count())
    }

    /// Returns the state of a pair by its task in the queue and the registry.
    async fn report(&self, task: Task, listed: Option<ListedTask>) -> Result<PairReport> {
        if task.base == Some(task.target) {
            let report = PairReport::new(task, PairState::Ready);
            return Ok(report.reason("both images are one".to_owned()));
        }
        let Some(listed) = listed else {
            // A CI step or another job may have published it.
            return self.found(PairReport::new(task, PairState::Absent)).await;
        };
        let outcome: Value = serde_json::from_str(&listed.outcome).unwrap_or_default();
        let failure = Some(listed.outcome.clone()).filter(|text| !text.is_empty());
        Ok(match listed.state {
            TaskState::Waiting => {
                let report = PairReport::new(task, PairState::Queued);
                PairReport { reason: failure.filter(|_| listed.tries > 0), ..report }
            }
            TaskState::Running => PairReport::new(task, PairState::Making),
            TaskState::Failed => {
                PairReport { reason: failure, ..PairReport::new(task, PairState::Refused) }
            }
            TaskState::Done => {
                let bytes = |field: &str| outcome[field].as_u64().filter(|bytes| *bytes > 0);
                let word = outcome["outcome"].as_str().unwrap_or_default();
                let mut report = PairReport::new(task, PairState::Absent);
                report.delta_bytes = bytes("delta_bytes");
                report.pull_bytes = bytes("pull_bytes");
                if word == TaskOutcome::NotWorth.word() {
                    report.state = PairState::Refused;
                    let what = "a delta saves too little against a plain pull";
                    return Ok(report.reason(what.to_owned()));
                }
                self.found(report).await?
            }
        })
    }

    /// Completes a report by the delta that the registry has.
    async fn found(&self, report: PairReport) -> Result<PairReport> {
        let repository = self.scanner.repository(&report.task.repository);
        let found =
            publish::find_listed(&repository, report.task.base.as_ref(), &report.task.target)
                .await?;
        Ok(match found {
            None => report,
            Some(delta) => PairReport {
                state: PairState::Ready,
                artifact: Some(delta.artifact),
                delta_bytes: report.delta_bytes.or(delta.bytes),
                ..report
            },
        })
    }
}

/// Gives a base without a known tag the name that it has in the queue, from its first request.
fn named(mut task: Task, listed: Option<&ListedTask>) -> Task {
    if task.base.is_some_and(|base| task.base_tag == base.to_string())
        && let Some(known) = listed.and_then(|listed| Task::parse(&listed.body).ok())
    {
        task.base_tag = known.base_tag;
    }
    task
}

impl PairReport {
    fn new(task: Task, state: PairState) -> Self {
        Self { task, state, reason: None, artifact: None, delta_bytes: None, pull_bytes: None }
    }

    fn reason(mut self, reason: String) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Returns the pair in a document.
    fn json(&self) -> Value {
        json!({
            "repository": self.task.repository.as_str(),
            "base": self.task.base.map(|base| base.to_string()),
            "target": self.task.target.to_string(),
            "base_tag": self.task.base.map(|_| &self.task.base_tag),
            "target_tag": self.task.target_tag,
            "platform": self.task.platform,
            "state": self.state.word(),
            "reason": self.reason,
            "artifact": self.artifact.map(|artifact| artifact.to_string()),
            "delta_bytes": self.delta_bytes,
            "pull_bytes": self.pull_bytes,
        })
    }
}

/// Returns the JSON document of pairs.
pub fn document(reports: &[PairReport]) -> Value {
    let pairs: Vec<Value> = reports.iter().map(PairReport::json).collect();
    json!({ "schema": PAIRS_SCHEMA, "is_ready": is_ready(reports), "pairs": pairs })
}

/// Returns true if the registry has all of these deltas.
pub fn is_ready(reports: &[PairReport]) -> bool {
    reports.iter().all(|report| report.state == PairState::Ready)
}

impl fmt::Display for PairReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8}{}", self.state.word(), self.task)?;
        match (self.delta_bytes, self.pull_bytes) {
            (Some(delta), Some(pull)) => {
                write!(f, ", {} instead of {}", Human(delta), Human(pull))?;
            }
            (Some(delta), None) => write!(f, ", {}", Human(delta))?,
            (None, _) => {}
        }
        self.reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
    }
}

/// Requested tasks of a repository that may wait at once.
const MAX_WAITING: usize = 100;
/// Waiting tasks that are looked at to count them.
const MAX_LISTED: u32 = 500;
/// Requested pairs of a repository that are read, the last ones.
const MAX_READ: u32 = 100;
/// Name and version of the document of pairs.
const PAIRS_SCHEMA: &str = "imgdelta.job-pairs/1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_tags_or_digests() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let body = format!(
            r#"{{"repository":"team/app","base":"v1","target":"{digest}","platform":"linux/arm64"}}"#
        );
        let wanted = WantedPair::parse(body.as_bytes()).unwrap();
        assert_eq!(wanted.base.to_string(), "v1");
        assert_eq!(wanted.target, ManifestReference::Digest(digest.parse().unwrap()));
        assert_eq!(wanted.platform.unwrap().to_string(), "linux/arm64");
        for wrong in [
            "",
            "[]",
            r#"{"repository":"team/app","base":"v1"}"#,
            r#"{"repository":"Team/App","base":"v1","target":"v2"}"#,
            r#"{"repository":"team/app","base":"../v1","target":"v2"}"#,
            r#"{"repository":"team/app","base":"sha256:12","target":"v2"}"#,
            r#"{"repository":"team/app","base":"v1","target":"v2","platform":"x"}"#,
            r#"{"repository":"team/app","base":"v1","target":"v2","force":true}"#,
        ] {
            assert!(WantedPair::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
