//! One scan, all tasks, then exit; and the scans that the service shares.
//!
//! Decides nothing: rules and the modules below do.

use crate::{
    job::Job,
    metrics::NameSource,
    policy, publish,
    queue::NewTask,
    report::{self, TaskReport},
    retention::{self, Leftovers, StrayDelta},
    task::Task,
    worker::{WorkerEnd, run_worker},
};
use imgdelta::{BlobDigest, Error, Result};
use imgdelta_registry::{RepositoryList, RepositoryName};
use imgdelta_service::{Stop, StopPhase};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
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
    /// The scan of a repository or the removal of a delta failed.
    Trouble(String, Error),
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
        if options.retry_failed && !options.dry_run {
            self.queue.retry_failed().await?;
        }
        let wanted = self.scan(options.dry_run, &handler).await?;
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
    /// by repository.
    pub(crate) async fn scan(
        &self,
        dry_run: bool,
        handler: &EventHandler,
    ) -> Result<Vec<(RepositoryName, Vec<Task>)>> {
        let outcome = self.scanner.repositories(&self.config).await;
        if outcome.is_err() {
            self.metrics.count_scan(false);
        }
        let mut is_complete = true;
        let mut wanted = Vec::new();
        let RepositoryList { names, ignored_entries, .. } = outcome?;
        self.ignore_names(NameSource::List, ignored_entries);
        for name in names {
            match self.scan_repository(&name, dry_run, handler).await {
                Ok(tasks) => wanted.push((name, tasks)),
                Err(error) => {
                    tracing::warn!(repository = %name, %error, "not scanned");
                    handler(Event::Trouble(name.to_string(), error));
                    is_complete = false;
                }
            }
        }
        self.metrics.count_scan(is_complete);
        Ok(wanted)
    }

    async fn scan_repository(
        &self,
        name: &RepositoryName,
        dry_run: bool,
        handler: &EventHandler,
    ) -> Result<Vec<Task>> {
        let tasks = self.add_wanted(name, dry_run, handler).await?;
        if !dry_run {
            self.list_again(name, &tasks).await?;
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

    /// Adds the wanted tasks of a repository to the queue, and returns them.
    pub(crate) async fn add_wanted(
        &self,
        name: &RepositoryName,
        dry_run: bool,
        handler: &EventHandler,
    ) -> Result<Vec<Task>> {
        let Some(rule) = self.config.rule(name.as_str()) else { return Ok(Vec::new()) };
        let versions = self.scanner.versions(rule, name, &*self.queue).await?;
        let tasks = policy::wanted_tasks(rule, name, &versions);
        if dry_run {
            tasks.iter().cloned().for_each(|task| handler(Event::Wanted(task)));
            return Ok(tasks);
        }
        let new: Vec<NewTask> =
            tasks.iter().map(|task| NewTask { key: task.key(), body: task.text() }).collect();
        let added = self.queue.add(&new).await?;
        if added > 0 {
            tracing::info!(repository = %name, added, "tasks added");
            self.added.notify_waiters();
        }
        Ok(tasks)
    }

    /// Counts names from outside that are not names of repositories. Says so once for each source.
    pub(crate) fn ignore_names(&self, source: NameSource, count: u64) {
        if self.metrics.count_ignored(source, count) {
            let source = source.word();
            tracing::warn!(source, "names that are not repository names are ignored");
        }
    }

    /// Lists the published deltas of tasks again where other clients dropped them from a list.
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
        }
        let repository = self.scanner.repository(name);
        for (target, artifacts) in published {
            publish::list_again(&repository, &target, &artifacts).await?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
