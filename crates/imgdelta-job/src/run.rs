//! One look and all works: what is wanted added, what was added done, what leads nowhere removed.
//!
//! Decides nothing: rules do, and the rooms below.

use crate::{
    job::Job,
    policy, publish,
    queue::Entry,
    report::{self, Outcome, Report},
    retention::{self, Found, Stray},
    stop::{Phase, Stop},
    work::Work,
    worker::{Until, labour},
};
use imgdelta_core::{BlobDigest, Error, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::task::JoinSet;

/// Something that happened while a job ran.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A delta is wanted; told in a dry run only.
    Wanted(Work),
    /// A work ended.
    Ended(Report),
    /// A delta leads from or to nothing; told in a dry run only.
    Stray(Stray),
    /// Such a delta was removed.
    Removed(Stray),
    /// A repository could not be looked into, or a delta not be removed.
    Trouble(String, Error),
}

/// How a job runs once.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RunOptions {
    /// Whether only to say what would be done.
    pub dry_run: bool,
    /// Whether works that were set aside are tried again.
    pub retry_failed: bool,
}

impl RunOptions {
    /// Sets whether only to say what would be done.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Sets whether works that were set aside are tried again.
    pub fn retry_failed(mut self, retry_failed: bool) -> Self {
        self.retry_failed = retry_failed;
        self
    }
}

/// Who is told what happens.
pub type Teller = Arc<dyn Fn(Event) + Send + Sync>;

impl Job {
    /// Looks through all repositories once, does all works, and removes what is to be removed.
    /// Returns the first error that was told of.
    pub async fn run(
        self: &Arc<Self>,
        options: RunOptions,
        stop: &Stop,
        teller: Teller,
    ) -> Result<()> {
        let first: Arc<Mutex<Option<Error>>> = Arc::default();
        let kept = Arc::clone(&first);
        let teller: Teller = Arc::new(move |event: Event| {
            // Told, and kept for the exit code.
            if let Event::Trouble(_, error)
            | Event::Ended(Report {
                error: Some(error),
                outcome: Outcome::Failed | Outcome::Waits,
                ..
            }) = &event
            {
                lock(&kept).get_or_insert_with(|| error.clone());
            }
            teller(event);
        });
        if options.retry_failed && !options.dry_run {
            self.queue.retry_failed().await?;
        }
        let wanted = self.pass(options.dry_run, &teller).await?;
        if !options.dry_run {
            self.labour(Until::Idle, stop, &teller).await?;
            for (name, works) in wanted {
                if let Err(error) = self.list_again(&name, &works).await {
                    teller(Event::Trouble(name, error));
                }
            }
        }
        if stop.phase() > Phase::Going {
            return Err(Error::Cancelled);
        }
        let first = lock(&first).take();
        first.map_or(Ok(()), Err)
    }

    /// Does works on as many tasks as may run at once.
    pub(crate) async fn labour(
        self: &Arc<Self>,
        until: Until,
        stop: &Stop,
        teller: &Teller,
    ) -> Result<()> {
        let mut workers = JoinSet::new();
        for _ in 0..*self.config.budget.parallel.get_ref() {
            let teller = Arc::clone(teller);
            let tell = Arc::new(move |report| teller(Event::Ended(report)));
            workers.spawn(labour(Arc::clone(self), until, stop.clone(), tell));
        }
        let mut outcome = Ok(());
        while let Some(ended) = workers.join_next().await {
            let ended = ended
                .unwrap_or_else(|error| Err(Error::io("worker")(std::io::Error::other(error))));
            if outcome.is_ok() && ended.is_err() {
                // The others are not left alone with a broken queue.
                stop.ask(Phase::Ending);
                outcome = ended;
            }
        }
        outcome
    }

    /// Looks through all repositories; adds what is wanted, and removes what leads nowhere. Returns
    /// what is wanted by repository.
    pub(crate) async fn pass(
        &self,
        dry_run: bool,
        teller: &Teller,
    ) -> Result<Vec<(String, Vec<Work>)>> {
        let outcome = self.looker.repositories(&self.config).await;
        if outcome.is_err() {
            self.metrics.count_pass(false);
        }
        let mut is_whole = true;
        let mut wanted = Vec::new();
        for name in outcome? {
            match self.look(&name, dry_run, teller).await {
                Ok(works) => wanted.push((name, works)),
                Err(error) => {
                    tracing::warn!(repository = name, %error, "not looked through");
                    teller(Event::Trouble(name, error));
                    is_whole = false;
                }
            }
        }
        self.metrics.count_pass(is_whole);
        Ok(wanted)
    }

    /// Looks through one repository.
    async fn look(&self, name: &str, dry_run: bool, teller: &Teller) -> Result<Vec<Work>> {
        let works = self.want(name, dry_run, teller).await?;
        if !dry_run {
            self.list_again(name, &works).await?;
        }
        if !self.config.retention.remove {
            return Ok(works);
        }
        let targets = works.iter().map(|work| work.target);
        let Found { strays, over } = retention::look(self, name, targets).await?;
        for stray in strays {
            if dry_run {
                teller(Event::Stray(stray));
                continue;
            }
            match retention::remove(self, &stray).await {
                Ok(()) => {
                    tracing::info!(%stray, "removed");
                    self.metrics.count_removed(1);
                    teller(Event::Removed(stray));
                }
                Err(error) => {
                    tracing::warn!(%stray, %error, "not removed");
                    teller(Event::Trouble(name.to_owned(), error));
                }
            }
        }
        if !dry_run && !over.is_empty() {
            let forgotten = self.queue.forget(&over).await?;
            tracing::debug!(repository = name, forgotten, "works of images that are gone");
        }
        Ok(works)
    }

    /// Sees to it that what was published for these works is listed, whatever others did since.
    /// All do all of it, so that it comes right whoever writes last.
    async fn list_again(&self, name: &str, works: &[Work]) -> Result<()> {
        let keys: Vec<String> = works.iter().map(Work::key).collect();
        let outcomes = self.queue.outcomes(&keys).await?;
        let mut published: BTreeMap<BlobDigest, BTreeSet<BlobDigest>> = BTreeMap::new();
        for (work, key) in works.iter().zip(&keys) {
            if let Some(artifact) = outcomes.get(key).and_then(|told| report::artifact_in(told)) {
                published.entry(work.target).or_default().insert(artifact);
            }
        }
        let repository = self.looker.repository(name);
        for (target, artifacts) in published {
            publish::list_again(&repository, &target, &artifacts).await?;
        }
        Ok(())
    }

    /// Adds what is wanted of a repository to the queue, and returns it.
    pub(crate) async fn want(
        &self,
        name: &str,
        dry_run: bool,
        teller: &Teller,
    ) -> Result<Vec<Work>> {
        let Some(rule) = self.config.rule(name) else { return Ok(Vec::new()) };
        let versions = self.looker.versions(rule, name, &*self.queue).await?;
        let works = policy::wanted(rule, name, &versions);
        if dry_run {
            works.iter().cloned().for_each(|work| teller(Event::Wanted(work)));
            return Ok(works);
        }
        let entries: Vec<Entry> =
            works.iter().map(|work| Entry { key: work.key(), body: work.text() }).collect();
        let added = self.queue.add(&entries).await?;
        if added > 0 {
            tracing::info!(repository = name, added, "works added");
            self.added.notify_waiters();
        }
        Ok(works)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
