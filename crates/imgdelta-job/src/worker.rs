//! Workers: tasks taken from the queue, carried out and recorded.
//!
//! A worker renews its lease while a task runs. If the process dies, the task is still in the queue,
//! and the next worker finds in the registry what was published.

use crate::{
    frames,
    job::{HEARTBEATS_PER_LEASE, Job},
    log,
    make::MakeResult,
    meter::CpuMeter,
    publish,
    queue::{
        LeasedTask, ListedTask, QueueFuture, Retry, Taker, TaskEnd, TaskFailure, TaskState, Ticket,
        Urgency,
    },
    report::{TaskOutcome, TaskReport},
    task::Task,
};
use imgdelta::{BlobDigest, Error, Result};
use imgdelta_core::scratch::is_full;
use imgdelta_registry::{ManifestReference, Repository};
use imgdelta_service::{Stop, StopPhase};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, time::MissedTickBehavior};

/// The end of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerEnd {
    /// It ends when no task waits or runs, in any process.
    Idle,
    /// It ends when it is asked to stop.
    Stopped,
}

/// Carries out tasks until the end, and passes each result to `report`.
pub(crate) async fn run_worker(
    job: Arc<Job>,
    end: WorkerEnd,
    stop: Stop,
    report: Arc<dyn Fn(TaskReport) + Send + Sync>,
) -> Result<()> {
    let mut taker = Taker { worker: job.worker_name.clone(), last_target: None };
    let patience = QueuePatience { job: &job, end, stop: &stop };
    while stop.phase() == StopPhase::Running {
        if job.outage.is_open() {
            if end == WorkerEnd::Idle {
                // The task that met the outage waits for the next run.
                return Ok(());
            }
            tokio::select! {
                () = job.outage.is_over() => {}
                () = stop.reached(StopPhase::Finishing) => break,
            }
        }
        let taking =
            patience.wait(StopPhase::Finishing, || job.queue.take(&taker, &job.terms)).await?;
        let Some(leased) = taking else { break };
        if let Some(leased) = leased {
            taker.last_target = Some(leased.target.clone());
            if let Some(result) = carry_out(&patience, leased).await? {
                job.metrics.count(&result);
                report(result);
            }
            continue;
        }
        let mut wait = MAX_WAIT;
        if end == WorkerEnd::Idle {
            // Another worker may die, and its tasks return to the queue.
            let counting = patience.wait(StopPhase::Finishing, || job.queue.counts()).await?;
            if counting.is_none_or(|counts| counts.running == 0) {
                break;
            }
            wait = MIN_WAIT;
        } else if let Ok(Some(due)) = job.queue.next_due().await {
            // What is due now is paused, or left to another process.
            wait = due.clamp(MIN_WAIT, MAX_WAIT);
        }
        tokio::select! {
            () = job.added.notified() => {}
            outcome = job.queue.added(wait) => drop(outcome),
            () = stop.reached(StopPhase::Finishing) => {}
        }
    }
    Ok(())
}

/// Waiting for a queue that does not answer. A service waits until it does; a single run as long as a
/// lease lasts.
struct QueuePatience<'a> {
    job: &'a Arc<Job>,
    end: WorkerEnd,
    stop: &'a Stop,
}

impl QueuePatience<'_> {
    /// Repeats a step of the queue until it succeeds; returns none if the stop has reached a phase
    /// before.
    async fn wait<'q, T>(
        &self,
        until: StopPhase,
        step: impl Fn() -> QueueFuture<'q, T>,
    ) -> Result<Option<T>> {
        let (started, mut pause) = (Instant::now(), FIRST_RETRY);
        loop {
            let error = match step().await {
                Ok(value) => return Ok(Some(value)),
                Err(error @ Error::Io { .. }) => error,
                Err(error) => return Err(error),
            };
            if self.end == WorkerEnd::Idle && started.elapsed() >= self.job.terms.lease {
                return Err(error);
            }
            tracing::error!(%error, "the queue does not answer");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.reached(until) => return Ok(None),
            }
            pause = (pause * 2).min(LONGEST_RETRY);
        }
    }
}

/// Carries out one task. Returns none if the task was given back or another worker has it.
async fn carry_out(patience: &QueuePatience<'_>, leased: LeasedTask) -> Result<Option<TaskReport>> {
    let QueuePatience { job, end, stop } = *patience;
    let LeasedTask { ticket, body, tries: attempt, age, .. } = leased;
    let task = match Task::parse(&body) {
        Ok(task) => task,
        Err(error) => {
            tracing::error!(key = ticket.key, %error, "the task is unreadable");
            let (error, retry) = (error.to_string(), Retry::Never);
            let failure = TaskFailure { error, reason: "unreadable", retry };
            let failing = || job.queue.fail(&ticket, &failure, &job.terms);
            patience.wait(StopPhase::Leaving, failing).await?;
            return Ok(None);
        }
    };
    log::task_started(&task, attempt);
    let started = Instant::now();
    let cancel = Arc::new(AtomicBool::new(false));
    let cpu_limit = job.config.budget.cpu.get_ref().duration();
    let meter = Arc::new(CpuMeter::new(cpu_limit, Arc::clone(&cancel)));
    // All run at once: none of them may wait for another, and a step of the queue is never
    // abandoned in its middle.
    let running = job.running.begin(&task);
    let mut is_unwanted = false;
    let outcome = tokio::select! {
        outcome = with_frames(job, &task, &meter) => Some(outcome),
        () = running.abandoned() => {
            tracing::info!(id = task.id(), %task, attempt, "abandoned: no longer wanted");
            is_unwanted = true;
            None
        }
        () = lease_lost(job, &ticket) => {
            job.metrics.count_lost_lease();
            tracing::warn!(id = task.id(), %task, attempt, "left to another worker");
            None
        }
        () = stop.reached(StopPhase::Leaving) => {
            tracing::info!(id = task.id(), %task, attempt, "given back");
            None
        }
    };
    let Some(outcome) = outcome else {
        cancel.store(true, Relaxed);
        give_back(patience, &ticket).await?;
        if is_unwanted {
            withdraw(patience, &ticket).await?;
        }
        return Ok(None);
    };
    let mut report = TaskReport {
        task,
        outcome: TaskOutcome::Failed,
        artifact: None,
        delta_bytes: 0,
        pull_bytes: 0,
        reused_recipes: 0,
        reused_envelopes: 0,
        frames: None,
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: meter.spent().as_secs_f64(),
        attempt,
        age: age + started.elapsed(),
        reason: None,
        error: None,
    };
    match outcome {
        Ok(result) => {
            report = result.report(report);
            let outcome = report.outcome;
            if matches!(outcome, TaskOutcome::Published | TaskOutcome::NotWorth) {
                running.made();
            }
            let task_end = TaskEnd {
                outcome: report.json().to_string(),
                is_published: outcome == TaskOutcome::Published,
                delta_bytes: report.delta_bytes,
                saved_bytes: report.pull_bytes.saturating_sub(report.delta_bytes),
            };
            let finishing = || job.queue.finish(&ticket, &task_end);
            if patience.wait(StopPhase::Leaving, finishing).await? != Some(true) {
                return Ok(None);
            }
            // An image that is pushed again needs its delta again.
            if outcome == TaskOutcome::Gone {
                let keys = std::slice::from_ref(&ticket.key);
                patience.wait(StopPhase::Leaving, || job.queue.forget(keys)).await?;
            }
        }
        Err(error) => {
            let error = if meter.is_exceeded() {
                over_cpu_limit(&report.task, &meter, cpu_limit)
            } else {
                error
            };
            if !meter.is_exceeded() && job.outage.caused(&error).await {
                give_back(patience, &ticket).await?;
                // A single run does not wait for the registry.
                return if end == WorkerEnd::Idle { Err(error) } else { Ok(None) };
            }
            return record_failure(patience, &ticket, report, error).await;
        }
    }
    log::task_ended(&report);
    Ok(Some(report))
}

/// Records a failed attempt. Returns none if another worker has the task.
async fn record_failure(
    patience: &QueuePatience<'_>,
    ticket: &Ticket,
    mut report: TaskReport,
    error: Error,
) -> Result<Option<TaskReport>> {
    let job = patience.job;
    let failure = TaskFailure {
        error: error.to_string(),
        reason: reason(&error),
        retry: retry(&error, *job.config.budget.parallel.get_ref() > 1),
    };
    report.reason = Some(failure.reason);
    report.error = Some(error);
    let failing = || job.queue.fail(ticket, &failure, &job.terms);
    match patience.wait(StopPhase::Leaving, failing).await?.flatten() {
        None => return Ok(None),
        Some(TaskState::Waiting) => report.outcome = TaskOutcome::Waits,
        Some(_) => {}
    }
    log::task_ended(&report);
    Ok(Some(report))
}

/// Returns a task to the queue. The ticket is void if another worker has the task.
async fn give_back(patience: &QueuePatience<'_>, ticket: &Ticket) -> Result<()> {
    let returning = || patience.job.queue.give_back(ticket);
    patience.wait(StopPhase::Leaving, returning).await?;
    Ok(())
}

/// Removes a task that was abandoned, unless somebody requested it meanwhile. If it is wanted again, a
/// scan adds it.
async fn withdraw(patience: &QueuePatience<'_>, ticket: &Ticket) -> Result<()> {
    let (queue, key) = (&patience.job.queue, std::slice::from_ref(&ticket.key));
    let listing = patience.wait(StopPhase::Leaving, || queue.tasks(key)).await?;
    let is_withdrawn =
        |task: &ListedTask| task.state == TaskState::Waiting && task.urgency != Urgency::Requested;
    if listing.is_some_and(|tasks| tasks.iter().any(is_withdrawn)) {
        patience.wait(StopPhase::Leaving, || queue.forget(key)).await?;
    }
    Ok(())
}

/// Result of a task that did not fail.
struct TaskResult {
    outcome: TaskOutcome,
    artifact: Option<BlobDigest>,
    delta_bytes: u64,
    pull_bytes: u64,
    reused_recipes: u64,
    reused_envelopes: u64,
    frames: Option<BlobDigest>,
}

impl TaskResult {
    /// Returns the report of a task that ended so.
    fn report(self, report: TaskReport) -> TaskReport {
        TaskReport {
            outcome: self.outcome,
            artifact: self.artifact,
            delta_bytes: self.delta_bytes,
            pull_bytes: self.pull_bytes,
            reused_recipes: self.reused_recipes,
            reused_envelopes: self.reused_envelopes,
            frames: self.frames,
            ..report
        }
    }

    fn of(outcome: TaskOutcome) -> Self {
        Self {
            outcome,
            artifact: None,
            delta_bytes: 0,
            pull_bytes: 0,
            reused_recipes: 0,
            reused_envelopes: 0,
            frames: None,
        }
    }
}

/// Publishes the delta, then the frames of its base. A retry finds the delta in the registry.
async fn with_frames(job: &Arc<Job>, task: &Task, meter: &Arc<CpuMeter>) -> Result<TaskResult> {
    let mut result = make_and_publish(job, task, meter).await?;
    if task.frames && matches!(result.outcome, TaskOutcome::Published | TaskOutcome::There) {
        result.frames = frames::publish(job, task, meter).await?;
    }
    Ok(result)
}

async fn make_and_publish(
    job: &Arc<Job>,
    task: &Task,
    meter: &Arc<CpuMeter>,
) -> Result<TaskResult> {
    let repository = job.scanner.repository(&task.repository);
    if is_gone(&repository, task).await? {
        return Ok(TaskResult::of(TaskOutcome::Gone));
    }
    let there = publish::find(&repository, task.base.as_ref(), &task.target).await?;
    if there.is_some() {
        return Ok(TaskResult { artifact: there, ..TaskResult::of(TaskOutcome::There) });
    }
    let result = match job.unpublished.take(&task.key()) {
        Some(result) => result,
        None => match make(job, task, meter).await {
            Err(Error::NotFound { .. }) if is_gone(&repository, task).await? => {
                return Ok(TaskResult::of(TaskOutcome::Gone));
            }
            result => result?,
        },
    };
    let published = publish_made(job, task, &repository, &result).await;
    if published.is_err() {
        // The next attempt only publishes.
        job.unpublished.keep(task.key(), result);
    }
    published
}

async fn make(job: &Arc<Job>, task: &Task, meter: &Arc<CpuMeter>) -> Result<MakeResult> {
    let making = {
        let (job, task, meter) = (Arc::clone(job), task.clone(), Arc::clone(meter));
        let handle = Handle::current();
        tokio::task::spawn_blocking(move || job.maker.make(&task, &handle, &meter))
    };
    making.await.unwrap_or_else(|error| {
        // A panic in one task must not end the others.
        Err(Error::bad_input(task, format_args!("the program failed: {error}")))
    })
}

async fn publish_made(
    job: &Arc<Job>,
    task: &Task,
    repository: &Repository,
    made: &MakeResult,
) -> Result<TaskResult> {
    let MakeResult { delta_bytes, pull_bytes, reused_recipes, reused_envelopes, .. } = *made;
    let Some(delta) = &made.delta else {
        return Ok(TaskResult { delta_bytes, pull_bytes, ..TaskResult::of(TaskOutcome::NotWorth) });
    };
    // Another worker may have published the delta meanwhile; one is enough.
    let there = publish::find(repository, task.base.as_ref(), &task.target).await?;
    let (outcome, artifact) = if let Some(artifact) = there {
        (TaskOutcome::There, artifact)
    } else {
        let delta = delta.delta();
        let recipe_repositories = made.recipe_repositories.clone();
        let pushed = publish::upload(repository, delta, recipe_repositories).await?;
        if let Err(error) = job.reuse.record(task, &pushed.artifact, delta).await {
            tracing::warn!(%task, %error, "its recipes will not be reused");
        }
        (TaskOutcome::Published, pushed.artifact)
    };
    Ok(TaskResult {
        outcome,
        artifact: Some(artifact),
        delta_bytes,
        pull_bytes,
        reused_recipes,
        reused_envelopes,
        frames: None,
    })
}

/// Renews a lease; returns when another worker has the task.
async fn lease_lost(job: &Job, ticket: &Ticket) {
    let mut beats = tokio::time::interval(job.terms.lease / HEARTBEATS_PER_LEASE);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        match job.queue.beat(ticket, &job.terms).await {
            Ok(true) => {}
            Ok(false) => return,
            // The task is this worker's until the lease ends.
            Err(error) => tracing::warn!(%error, "the queue does not answer"),
        }
    }
}

async fn is_gone(repository: &Repository, task: &Task) -> Result<bool> {
    for digest in task.base.into_iter().chain([task.target]) {
        if repository.head(&ManifestReference::Digest(digest)).await?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn over_cpu_limit(task: &Task, meter: &CpuMeter, limit: Duration) -> Error {
    Error::OverLimit {
        place: task.to_string(),
        what: "processor time in seconds",
        name: None,
        // The limit is whole seconds; a fraction above it is the next one.
        found: meter.spent().as_secs().max(limit.as_secs() + 1),
        limit: limit.as_secs(),
    }
}

/// Decides if another attempt may succeed. `has_others` is true if other tasks run at the same time.
fn retry(error: &Error, has_others: bool) -> Retry {
    match error {
        // A registry that is down, a full disk, a damaged transfer, a blob that arrives later.
        // Other tasks may have filled the disk budget.
        error if has_others && is_full(error) => Retry::Later,
        Error::Io { .. } | Error::Mismatch { .. } | Error::NotFound { .. } | Error::Cancelled => {
            Retry::Later
        }
        _ => Retry::Never,
    }
}

/// Returns one word for the kind of an error.
fn reason(error: &Error) -> &'static str {
    match error {
        error if is_full(error) => "disk-full",
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            "refused"
        }
        Error::Io { .. } => "unreachable",
        Error::Mismatch { .. } => "damaged",
        Error::NotFound { .. } => "not-found",
        Error::OverLimit { .. } => "over-limit",
        Error::Cancelled => "cancelled",
        _ => "bad-input",
    }
}

/// Waits of a worker that found no task. The queue wakes it when tasks are added; a wake-up may be lost
/// with a connection.
const MIN_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Pauses between questions to a queue that does not answer.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
