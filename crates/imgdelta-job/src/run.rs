//! One scan, all tasks, then exit; and the scans that the service shares.
//!
//! Decides nothing: rules and the modules below do.

use crate::{
    job::Job,
    metrics::{NameSource, ScanResult},
    policy::{self, TagVerdict},
    publish,
    queue::{ListedTask, NewTask, TaskState, Urgency},
    report::{self, TaskReport},
    retention::{self, Leftovers, StrayDelta},
    scan::ScanScope,
    task::Task,
    warning::ScanWarning,
    worker::{WorkerEnd, run_worker},
};
use imgdelta::{BlobDigest, Error, Result};
use imgdelta_registry::{RepositoryList, RepositoryName};
use imgdelta_service::{Stop, StopPhase};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinSet;

/// An event of a running job.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A delta is wanted; in a dry run only.
    Wanted(Task),
    /// A task finished.
    Finished(Box<TaskReport>),
    /// A delta has a missing image; in a dry run only.
    Stray(StrayDelta),
    /// Such a delta was removed.
    Removed(StrayDelta),
    /// A rule or a repository has no effect.
    Warning(ScanWarning),
    /// The scan of a repository or the removal of a delta failed.
    Trouble(String, Error),
}

/// The purpose of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanKind {
    /// Reports wanted deltas and changes nothing.
    DryRun,
    /// Fills the queue for one run. A repository that is missing is a mistake.
    Once,
    /// Fills the queue of a service. A repository may be missing until its first push.
    Service,
}

/// Options of one run.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RunOptions {
    /// True to report wanted and stray deltas and change nothing.
    pub dry_run: bool,
    /// True to retry tasks that failed for good.
    pub retry_failed: bool,
}

impl RunOptions {
    /// Sets the dry run.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Sets the retry of tasks that failed for good.
    #[must_use]
    pub fn retry_failed(mut self, retry_failed: bool) -> Self {
        self.retry_failed = retry_failed;
        self
    }
}

/// Function that receives the events of a job.
pub type EventHandler = Arc<dyn Fn(Event) + Send + Sync>;

impl Job {
    /// Scans all repositories once, carries out all tasks, and removes stray deltas if the
    /// configuration says so. Returns the first error among the events.
    pub async fn run(
        self: &Arc<Self>,
        options: RunOptions,
        stop: &Stop,
        handler: EventHandler,
    ) -> Result<()> {
        let first: Arc<Mutex<Option<Error>>> = Arc::default();
        let kept = Arc::clone(&first);
        let handler: EventHandler = Arc::new(move |event: Event| {
            let error = match &event {
                Event::Trouble(_, error) => Some(error),
                Event::Finished(report) => report.error.as_ref(),
                _ => None,
            };
            if let Some(error) = error {
                lock(&kept).get_or_insert_with(|| error.clone());
            }
            handler(event);
        });
        self.outage.forget();
        if options.retry_failed && !options.dry_run {
            self.queue.retry_failed().await?;
        }
        let kind = if options.dry_run { ScanKind::DryRun } else { ScanKind::Once };
        let wanted = self.scan(kind, &handler).await?;
        if !options.dry_run {
            self.run_workers(WorkerEnd::Idle, stop, &handler).await?;
            for (name, tasks) in wanted {
                if let Err(error) = self.list_again(&name, &tasks).await {
                    handler(Event::Trouble(name.to_string(), error));
                }
            }
        }
        if stop.phase() > StopPhase::Running {
            return Err(Error::Cancelled);
        }
        let first = lock(&first).take();
        first.map_or(Ok(()), Err)
    }

    /// Runs as many workers as the configuration allows tasks at once.
    pub(crate) async fn run_workers(
        self: &Arc<Self>,
        end: WorkerEnd,
        stop: &Stop,
        handler: &EventHandler,
    ) -> Result<()> {
        let mut workers = JoinSet::new();
        for _ in 0..*self.config.budget.parallel.get_ref() {
            let handler = Arc::clone(handler);
            let report = Arc::new(move |report| handler(Event::Finished(Box::new(report))));
            workers.spawn(run_worker(Arc::clone(self), end, stop.clone(), report));
        }
        let mut outcome = Ok(());
        while let Some(joined) = workers.join_next().await {
            let joined = joined
                .unwrap_or_else(|error| Err(Error::io("worker")(std::io::Error::other(error))));
            if outcome.is_ok() && joined.is_err() {
                // With a broken queue the other workers would fail as well.
                stop.request(StopPhase::Finishing);
                outcome = joined;
            }
        }
        outcome
    }

    /// Scans all repositories: adds wanted tasks and removes stray deltas. Returns the wanted tasks
    /// by repository, in the order of names.
    pub(crate) async fn scan(
        self: &Arc<Self>,
        kind: ScanKind,
        handler: &EventHandler,
    ) -> Result<Vec<(RepositoryName, Vec<Task>)>> {
        let mut wanted = Vec::new();
        let started = Instant::now();
        let names = self.repositories().await?;
        self.warn_of_idle_rules(&names, kind, handler);
        let mut scans = self.scan_each(names, kind, handler);
        while let Some((name, tasks)) = scans.next().await? {
            wanted.push((name, tasks));
        }
        self.metrics.count_scan(ScanResult::of(scans.failed), started.elapsed());
        Ok(wanted)
    }

    /// Returns the repositories to scan, in the order of names.
    pub(crate) async fn repositories(&self) -> Result<Vec<RepositoryName>> {
        let started = Instant::now();
        let outcome = self.scanner.repositories(&self.config).await;
        if outcome.is_err() {
            self.metrics.count_scan(ScanResult::Failed, started.elapsed());
        }
        let RepositoryList { names, ignored_entries, .. } = outcome?;
        self.ignore_names(NameSource::List, ignored_entries);
        Ok(names)
    }

    /// Prepares the scans of repositories.
    pub(crate) fn scan_each(
        self: &Arc<Self>,
        names: Vec<RepositoryName>,
        kind: ScanKind,
        handler: &EventHandler,
    ) -> RunningScans {
        let (job, handler) = (Arc::clone(self), Arc::clone(handler));
        let (names, running) = (names.into_iter(), VecDeque::new());
        RunningScans { job, names, kind, handler, running, failed: 0 }
    }

    async fn scan_repository(
        &self,
        name: &RepositoryName,
        kind: ScanKind,
        handler: &EventHandler,
    ) -> Result<Vec<Task>> {
        let dry_run = kind == ScanKind::DryRun;
        let tasks = self.add_wanted(name, ScanScope::All, kind, handler).await?;
        if !dry_run {
            self.list_again_daily(name, &tasks).await?;
        }
        if !self.config.retention.remove {
            return Ok(tasks);
        }
        let targets = tasks.iter().map(|task| task.target);
        let Leftovers { strays, done_tasks } = retention::scan(self, name, targets).await?;
        for stray in strays {
            if dry_run {
                handler(Event::Stray(stray));
                continue;
            }
            match retention::remove(self, &stray).await {
                Ok(()) => {
                    tracing::info!(%stray, "removed");
                    self.metrics.count_removed(1);
                    handler(Event::Removed(stray));
                }
                Err(error) => {
                    tracing::warn!(%stray, %error, "not removed");
                    handler(Event::Trouble(name.to_string(), error));
                }
            }
        }
        if !dry_run && !done_tasks.is_empty() {
            let forgotten = self.queue.forget(&done_tasks).await?;
            tracing::debug!(repository = %name, forgotten, "tasks of missing images");
        }
        Ok(tasks)
    }

    /// Adds the wanted tasks of a repository to the queue, withdraws waiting ones that are no longer
    /// wanted, and returns the wanted ones.
    pub(crate) async fn add_wanted(
        &self,
        name: &RepositoryName,
        scope: ScanScope<'_>,
        kind: ScanKind,
        handler: &EventHandler,
    ) -> Result<Vec<Task>> {
        let Some(rule) = self.config.rule(name.as_str()) else { return Ok(Vec::new()) };
        let versions = self.scanner.versions(rule, name, scope, &*self.queue).await?;
        let versions = match (versions, kind) {
            (Some(versions), _) if versions.is_empty() && matches!(scope, ScanScope::All) => {
                self.warn_of_no_versions(name, kind, handler).await?;
                versions
            }
            (Some(versions), _) => versions,
            // The repository does not exist before the first push, which the service waits for.
            (None, ScanKind::Service) => {
                let (repository, rule) = (name.clone(), self.config.rule_number(name.as_str()));
                self.warn(ScanWarning::MissingRepository { repository, rule }, kind, handler);
                Vec::new()
            }
            (None, ScanKind::Once | ScanKind::DryRun) => {
                let place = self.scanner.repository(name).place();
                let what = "the repository, which a rule names,".into();
                return Err(Error::NotFound { place, what, present: Vec::new() });
            }
        };
        let mut tasks = policy::wanted_tasks(rule, name, &versions);
        let learned = self.learned_tasks(rule, name, &versions, &tasks).await?;
        tasks.extend(learned);
        if kind == ScanKind::DryRun {
            tasks.iter().cloned().for_each(|task| handler(Event::Wanted(task)));
            return Ok(tasks);
        }
        let new: Vec<NewTask> = tasks.iter().map(|task| task.to_add(scope.urgency(task))).collect();
        if !new.is_empty() {
            let added = self.queue.add(&new).await?;
            if added > 0 {
                tracing::info!(repository = %name, added, "tasks added");
                self.added.notify_waiters();
            }
        }
        let wanted: Vec<String> = new.into_iter().map(|task| task.key).collect();
        let withdrawn = self.queue.withdraw_waiting(name.as_str(), &wanted).await?;
        if withdrawn > 0 {
            tracing::info!(repository = %name, withdrawn, "tasks that are no longer wanted");
        }
        let running = self.running.unwanted(name, &wanted);
        if !running.is_empty() {
            for task in self.queue.tasks(&running).await? {
                if task.urgency != Urgency::Requested {
                    self.running.abandon(&task.key);
                }
            }
        }
        Ok(tasks)
    }

    /// Warns of rules that apply to none of these repositories.
    pub(crate) fn warn_of_idle_rules(
        &self,
        names: &[RepositoryName],
        kind: ScanKind,
        handler: &EventHandler,
    ) {
        let used: BTreeSet<usize> =
            names.iter().map(|name| self.config.rule_number(name.as_str())).collect();
        for (rule, number) in self.config.rules.get_ref().iter().zip(1..) {
            if !used.contains(&number) {
                let patterns = rule.repositories.get_ref().iter();
                let patterns = patterns.map(|pattern| pattern.text().to_owned()).collect();
                self.warn(ScanWarning::IdleRule { rule: number, patterns }, kind, handler);
            }
        }
    }

    /// Warns of a repository with tags, none of which is a version.
    async fn warn_of_no_versions(
        &self,
        name: &RepositoryName,
        kind: ScanKind,
        handler: &EventHandler,
    ) -> Result<()> {
        let Some(rule) = self.config.rule(name.as_str()) else { return Ok(()) };
        let is_known = lock(&self.warned).iter().any(|warning| warning.repository() == Some(name));
        if is_known {
            return Ok(());
        }
        let tags = self.scanner.repository(name).tags().await?;
        let tags = tags.iter().map(ToString::to_string);
        let tags = tags.map(|tag| {
            let verdict = policy::verdict(rule, &tag);
            (tag, verdict)
        });
        let tags: Vec<(String, TagVerdict)> =
            tags.filter(|(_, verdict)| *verdict != TagVerdict::OfDigest).collect();
        let Some((tag, verdict)) = tags.first() else { return Ok(()) };
        let warning = ScanWarning::NoVersions {
            repository: name.clone(),
            rule: self.config.rule_number(name.as_str()),
            tags: tags.len(),
            example: (tag.clone(), verdict.to_string()),
        };
        self.warn(warning, kind, handler);
        Ok(())
    }

    /// Reports a warning; a service does so once.
    fn warn(&self, warning: ScanWarning, kind: ScanKind, handler: &EventHandler) {
        if !lock(&self.warned).insert(warning.clone()) && kind == ScanKind::Service {
            return;
        }
        tracing::warn!(rule = warning.rule(), "{warning}");
        handler(Event::Warning(warning));
    }

    /// Counts names from outside that are not names of repositories. Says so once for each source.
    pub(crate) fn ignore_names(&self, source: NameSource, count: u64) {
        if self.metrics.count_ignored(source, count) {
            let source = source.word();
            tracing::warn!(source, "names that are not repository names are ignored");
        }
    }

    /// Lists the deltas of a repository again once a day, and while they are new: later nobody writes
    /// their lists, except a client that copies images.
    async fn list_again_daily(&self, name: &RepositoryName, tasks: &[Task]) -> Result<()> {
        let keys: Vec<String> = tasks.iter().map(Task::key).collect();
        let mut done = self.queue.tasks(&keys).await?;
        done.retain(|task| task.state == TaskState::Done);
        if done.is_empty() {
            return Ok(());
        }
        let note = format!("listed {name}");
        let is_recent = done.iter().any(is_new);
        if !is_recent && self.queue.feature(&note, LIST_INTERVAL).await?.is_some() {
            return Ok(());
        }
        self.list_again(name, tasks).await?;
        self.queue.set_feature(&note, true).await
    }

    /// Lists the published deltas and frames of tasks again where other clients dropped them from a list.
    ///
    /// Every worker does this for all tasks, so that the last writer of a list repairs it (test
    /// `deltas_that_others_dropped_from_a_list_are_listed_again`).
    async fn list_again(&self, name: &RepositoryName, tasks: &[Task]) -> Result<()> {
        let keys: Vec<String> = tasks.iter().map(Task::key).collect();
        let outcomes = self.queue.outcomes(&keys).await?;
        let mut published: BTreeMap<BlobDigest, BTreeSet<BlobDigest>> = BTreeMap::new();
        for (task, key) in tasks.iter().zip(&keys) {
            let report = outcomes.get(key);
            if let Some(artifact) = report.and_then(|report| report::artifact_in(report)) {
                published.entry(task.target).or_default().insert(artifact);
            }
            let frames = report.and_then(|report| report::frames_in(report));
            if let Some((base, frames)) = task.base.zip(frames) {
                published.entry(base).or_default().insert(frames);
            }
        }
        let repository = self.scanner.repository(name);
        for (image, artifacts) in published {
            publish::list_again(&repository, &image, &artifacts).await?;
        }
        Ok(())
    }
}

/// Scans of repositories, several at once.
pub(crate) struct RunningScans {
    job: Arc<Job>,
    names: std::vec::IntoIter<RepositoryName>,
    kind: ScanKind,
    handler: EventHandler,
    running: VecDeque<AbortOnDrop<(RepositoryName, Result<Vec<Task>>)>>,
    /// Number of repositories so far that could not be scanned.
    pub failed: u64,
}

impl RunningScans {
    /// Returns the wanted tasks of the next repository, in the order of the names. Repositories that
    /// cannot be scanned are reported and left out.
    pub async fn next(&mut self) -> Result<Option<(RepositoryName, Vec<Task>)>> {
        loop {
            while self.running.len() < *self.job.config.scan.parallel.get_ref()
                && let Some(name) = self.names.next()
            {
                let (job, handler) = (Arc::clone(&self.job), Arc::clone(&self.handler));
                let kind = self.kind;
                let scanning = tokio::spawn(async move {
                    let outcome = job.scan_repository(&name, kind, &handler).await;
                    (name, outcome)
                });
                self.running.push_back(AbortOnDrop(scanning));
            }
            let Some(mut first) = self.running.pop_front() else { return Ok(None) };
            let joined = (&mut first.0).await;
            let (name, outcome) =
                joined.map_err(|error| Error::io("scan")(std::io::Error::other(error)))?;
            match outcome {
                Ok(tasks) => {
                    self.job.metrics.count_scanned();
                    return Ok(Some((name, tasks)));
                }
                Err(error) => {
                    tracing::warn!(repository = %name, %error, "not scanned");
                    (self.handler)(Event::Trouble(name.to_string(), error));
                    self.failed += 1;
                }
            }
        }
    }
}

/// A task of the runtime that ends with its owner.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Returns true if a task finished a short time ago.
fn is_new(task: &ListedTask) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let changed = u64::try_from(task.changed_ms).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(changed)) < NEW_DELTA
}

/// Time in which workers may still write the list of a new delta's target.
const NEW_DELTA: Duration = Duration::from_secs(3600);
/// Interval at which lists of older deltas are repaired.
const LIST_INTERVAL: Duration = Duration::from_secs(86400);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
