//! Workers: tasks taken from the queue, carried out and recorded.
//!
//! A worker renews its lease while a task runs. If the process dies, the task is still in the queue,
//! and the next worker finds in the registry what was published.

use crate::{
    job::Job,
    make::MakeResult,
    meter::CpuMeter,
    publish,
    queue::{LeasedTask, Retry, TaskState, Ticket},
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
    while stop.phase() == StopPhase::Running {
        let leased = match job.queue.take(&job.worker_name, &job.terms).await {
            Err(error) if end == WorkerEnd::Stopped => {
                tracing::error!(%error, "the queue does not answer");
                None
            }
            outcome => outcome?,
        };
        if let Some(leased) = leased {
            if let Some(result) = carry_out(&job, leased, &stop).await? {
                job.metrics.count(&result);
                report(result);
            }
            continue;
        }
        // Another worker may die, and its tasks return to the queue.
        if end == WorkerEnd::Idle && job.queue.counts().await?.running == 0 {
            break;
        }
        tokio::select! {
            () = job.added.notified() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = stop.reached(StopPhase::Finishing) => {}
        }
    }
    Ok(())
}

/// Carries out one task. Returns none if the task was given back or another worker has it.
async fn carry_out(job: &Arc<Job>, leased: LeasedTask, stop: &Stop) -> Result<Option<TaskReport>> {
    let LeasedTask { ticket, body, .. } = leased;
    let task = match Task::parse(&body) {
        Ok(task) => task,
        Err(error) => {
            tracing::error!(key = ticket.key, %error, "the task is unreadable");
            job.queue.fail(&ticket, &error.to_string(), Retry::Never, &job.terms).await?;
            return Ok(None);
        }
    };
    tracing::info!(%task, "started");
    let started = Instant::now();
    let cancel = Arc::new(AtomicBool::new(false));
    let cpu_limit = job.config.budget.cpu.get_ref().duration();
    let meter = Arc::new(CpuMeter::new(cpu_limit, Arc::clone(&cancel)));
    // All three run at once: none of them may wait for another, and a step of the queue is never
    // abandoned in its middle.
    let outcome = tokio::select! {
        outcome = make_and_publish(job, &task, &meter) => Some(outcome),
        () = lease_lost(job, &ticket) => {
            tracing::warn!(%task, "left to another worker");
            None
        }
        () = stop.reached(StopPhase::Leaving) => {
            tracing::info!(%task, "given back");
            None
        }
    };
    let Some(outcome) = outcome else {
        cancel.store(true, Relaxed);
        // The ticket is void if another worker has the task.
        job.queue.give_back(&ticket).await?;
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
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: meter.spent().as_secs_f64(),
        error: None,
    };
    match outcome {
        Ok(result) => {
            let TaskResult {
                outcome,
                artifact,
                delta_bytes,
                pull_bytes,
                reused_recipes,
                reused_envelopes,
            } = result;
            report = TaskReport { outcome, artifact, delta_bytes, pull_bytes, ..report };
            report.reused_recipes = reused_recipes;
            report.reused_envelopes = reused_envelopes;
            if !job.queue.finish(&ticket, &report.json().to_string()).await? {
                return Ok(None);
            }
            // An image that is pushed again needs its delta again.
            if outcome == TaskOutcome::Gone {
                job.queue.forget(std::slice::from_ref(&ticket.key)).await?;
            }
            tracing::info!(%report, "done");
        }
        Err(error) => {
            let error = if meter.is_exceeded() {
                over_cpu_limit(&report.task, &meter, cpu_limit)
            } else {
                error
            };
            let message = error.to_string();
            let retry = retry(&error, *job.config.budget.parallel.get_ref() > 1);
            report.error = Some(error);
            match job.queue.fail(&ticket, &message, retry, &job.terms).await? {
                None => return Ok(None),
                Some(TaskState::Waiting) => report.outcome = TaskOutcome::Waits,
                Some(_) => {}
            }
            tracing::warn!(%report, "failed");
        }
    }
    Ok(Some(report))
}

/// Result of a task that did not fail.
struct TaskResult {
    outcome: TaskOutcome,
    artifact: Option<BlobDigest>,
    delta_bytes: u64,
    pull_bytes: u64,
    reused_recipes: u64,
    reused_envelopes: u64,
}

impl TaskResult {
    fn of(outcome: TaskOutcome) -> Self {
        Self {
            outcome,
            artifact: None,
            delta_bytes: 0,
            pull_bytes: 0,
            reused_recipes: 0,
            reused_envelopes: 0,
        }
    }
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
    let there = publish::find(&repository, &task.base, &task.target).await?;
    if there.is_some() {
        return Ok(TaskResult { artifact: there, ..TaskResult::of(TaskOutcome::There) });
    }
    let making = {
        let (job, task, meter) = (Arc::clone(job), task.clone(), Arc::clone(meter));
        let handle = Handle::current();
        tokio::task::spawn_blocking(move || job.maker.make(&task, &handle, &meter))
    };
    let result = making.await.unwrap_or_else(|error| {
        // A panic in one task must not end the others.
        Err(Error::bad_input(task, format_args!("the program failed: {error}")))
    });
    let result = match result {
        Err(Error::NotFound { .. }) if is_gone(&repository, task).await? => {
            return Ok(TaskResult::of(TaskOutcome::Gone));
        }
        result => result?,
    };
    let MakeResult {
        delta_bytes,
        pull_bytes,
        reused_recipes,
        reused_envelopes,
        delta,
        recipe_repositories,
    } = result;
    let Some(delta) = delta else {
        return Ok(TaskResult { delta_bytes, pull_bytes, ..TaskResult::of(TaskOutcome::NotWorth) });
    };
    // Another worker may have published the delta meanwhile; one is enough.
    let there = publish::find(&repository, &task.base, &task.target).await?;
    let (outcome, artifact) = if let Some(artifact) = there {
        (TaskOutcome::There, artifact)
    } else {
        let delta = delta.delta();
        let pushed = publish::upload(&repository, delta, recipe_repositories).await?;
        job.reuse.record(task, &pushed.artifact, delta).await?;
        (TaskOutcome::Published, pushed.artifact)
    };
    Ok(TaskResult {
        outcome,
        artifact: Some(artifact),
        delta_bytes,
        pull_bytes,
        reused_recipes,
        reused_envelopes,
    })
}

/// Renews a lease; returns when another worker has the task.
async fn lease_lost(job: &Job, ticket: &Ticket) {
    let mut beats = tokio::time::interval(job.terms.lease / BEATS_PER_LEASE);
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
    for digest in [task.base, task.target] {
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

/// Pause of a worker that found no task; another process may add some.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Three may get lost.
const BEATS_PER_LEASE: u32 = 4;
