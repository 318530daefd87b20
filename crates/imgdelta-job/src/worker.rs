//! Works taken from the queue, done, and accounted for.
//!
//! While a work is being done its ticket is kept alive. Whatever happens to the process, the work
//! is still in the queue, and what was published is found there by whoever takes it next.

use crate::{
    job::Job,
    make::{Made, Meter},
    publish,
    queue::{Hope, State, Taken, Ticket},
    report::{Outcome, Report},
    stop::{Phase, Stop},
    work::Work,
};
use imgdelta_core::{BlobDigest, Error, Result};
use imgdelta_registry::{Named, Repository};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, time::MissedTickBehavior};

/// When a worker that finds no work ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// When nobody does any.
    Idle,
    /// When it is asked to stop.
    Stopped,
}

/// Takes works until there are none, or it is told to stop; hands each report to `tell`.
pub(crate) async fn labour(
    job: Arc<Job>,
    until: Until,
    stop: Stop,
    tell: Arc<dyn Fn(Report) + Send + Sync>,
) -> Result<()> {
    while stop.phase() == Phase::Going {
        let taken = match job.queue.take(&job.name, &job.terms).await {
            Err(error) if until == Until::Stopped => {
                tracing::error!(%error, "the queue does not answer");
                None
            }
            outcome => outcome?,
        };
        if let Some(taken) = taken {
            if let Some(report) = carry_out(&job, taken, &stop).await? {
                job.metrics.count(&report);
                tell(report);
            }
            continue;
        }
        // Others may fall silent, and their works are ours then.
        if until == Until::Idle && job.queue.counts().await?.running == 0 {
            break;
        }
        tokio::select! {
            () = job.added.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.reached(Phase::Ending) => {}
        }
    }
    Ok(())
}

/// Does one work; `None` if it is others' by now or was given back.
async fn carry_out(job: &Arc<Job>, taken: Taken, stop: &Stop) -> Result<Option<Report>> {
    let Taken { ticket, body, .. } = taken;
    let work = match Work::parse(&body) {
        Ok(work) => work,
        Err(error) => {
            tracing::error!(key = ticket.key, %error, "no work of this program's");
            job.queue.fail(&ticket, &error.to_string(), Hope::None, &job.terms).await?;
            return Ok(None);
        }
    };
    tracing::info!(%work, "begun");
    let begun = Instant::now();
    let cancel = Arc::new(AtomicBool::new(false));
    let meter = Arc::new(Meter::new(job.config.budget.cpu.get_ref().get(), Arc::clone(&cancel)));
    // Both go on side by side: either may hold what the other waits for, and neither is left half
    // done while the queue is asked for something else.
    let ended = tokio::select! {
        outcome = make_and_publish(job, &work, &meter) => Some(outcome),
        () = until_lost(job, &ticket) => {
            tracing::warn!(%work, "left to another worker");
            None
        }
        () = stop.reached(Phase::Leaving) => {
            tracing::info!(%work, "given back");
            None
        }
    };
    let Some(outcome) = ended else {
        cancel.store(true, Relaxed);
        // What is another's by now stays that.
        job.queue.give_back(&ticket).await?;
        return Ok(None);
    };
    let mut report = Report {
        work,
        outcome: Outcome::Failed,
        artifact: None,
        delta_bytes: 0,
        pull_bytes: 0,
        reused_recipes: 0,
        seconds: begun.elapsed().as_secs_f64(),
        cpu_seconds: meter.spent().as_secs_f64(),
        error: None,
    };
    match outcome {
        Ok(End { outcome, artifact, delta_bytes, pull_bytes, reused_recipes }) => {
            let is = Report { outcome, artifact, delta_bytes, pull_bytes, ..report };
            report = Report { reused_recipes, ..is };
            if !job.queue.finish(&ticket, &report.json().to_string()).await? {
                return Ok(None);
            }
            // Pushed again, it is wanted again.
            if outcome == Outcome::Gone {
                job.queue.forget(std::slice::from_ref(&ticket.key)).await?;
            }
            tracing::info!(%report, "done");
        }
        Err(error) => {
            let (error, hope) = if meter.is_exceeded() {
                let limit = Duration::as_secs(&job.config.budget.cpu.get_ref().get());
                let what = format!("took more than {limit} s of processor time");
                (Error::bad_input(&report.work, what), Hope::None)
            } else {
                let hope = hope(&error);
                (error, hope)
            };
            let said = error.to_string();
            report.error = Some(error);
            match job.queue.fail(&ticket, &said, hope, &job.terms).await? {
                None => return Ok(None),
                Some(State::Waiting) => report.outcome = Outcome::Waits,
                Some(_) => {}
            }
            tracing::warn!(%report, "failed");
        }
    }
    Ok(Some(report))
}

/// What doing a work came to.
struct End {
    outcome: Outcome,
    artifact: Option<BlobDigest>,
    delta_bytes: u64,
    pull_bytes: u64,
    reused_recipes: u64,
}

impl End {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, artifact: None, delta_bytes: 0, pull_bytes: 0, reused_recipes: 0 }
    }
}

async fn make_and_publish(job: &Arc<Job>, work: &Work, meter: &Arc<Meter>) -> Result<End> {
    let repository = job.looker.repository(&work.repository);
    if is_gone(&repository, work).await? {
        return Ok(End::of(Outcome::Gone));
    }
    let there = publish::there(&repository, &work.base, &work.target).await?;
    if there.is_some() {
        return Ok(End { artifact: there, ..End::of(Outcome::There) });
    }
    let making = {
        let (job, work, meter) = (Arc::clone(job), work.clone(), Arc::clone(meter));
        let handle = Handle::current();
        tokio::task::spawn_blocking(move || job.maker.make(&work, &handle, &meter))
    };
    let made = making.await.unwrap_or_else(|error| {
        // A panic of one work is no reason to leave the others.
        Err(Error::bad_input(work, format_args!("making it broke off: {error}")))
    });
    let made = match made {
        Err(Error::NotFound { .. }) if is_gone(&repository, work).await? => {
            return Ok(End::of(Outcome::Gone));
        }
        made => made?,
    };
    let Made { delta_bytes, pull_bytes, reused_recipes, delta, lies_in } = made;
    let Some(delta) = delta else {
        return Ok(End { delta_bytes, pull_bytes, ..End::of(Outcome::NotWorth) });
    };
    // Somebody else's may have come meanwhile; one is enough.
    let there = publish::there(&repository, &work.base, &work.target).await?;
    let (outcome, artifact) = if let Some(artifact) = there {
        (Outcome::There, artifact)
    } else {
        let pushed = publish::publish(&repository, delta.delta(), delta.source(), lies_in).await?;
        job.reuse.remember(work, &pushed.artifact, delta.delta()).await?;
        (Outcome::Published, pushed.artifact)
    };
    Ok(End { outcome, artifact: Some(artifact), delta_bytes, pull_bytes, reused_recipes })
}

/// Keeps a ticket alive, and ends when it is good for nothing.
async fn until_lost(job: &Job, ticket: &Ticket) {
    let mut beats = tokio::time::interval(job.terms.lease / BEATS_PER_LEASE);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        match job.queue.beat(ticket, &job.terms).await {
            Ok(true) => {}
            Ok(false) => return,
            // Until the lease is over nothing is lost.
            Err(error) => tracing::warn!(%error, "the queue does not answer"),
        }
    }
}

async fn is_gone(repository: &Repository, work: &Work) -> Result<bool> {
    for digest in [work.base, work.target] {
        if repository.head(&Named::Digest(digest)).await?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether another try may go better.
fn hope(error: &Error) -> Hope {
    match error {
        // A registry that is down, a full disk, a damaged transfer, a blob that is not there yet.
        Error::Io { .. } | Error::Mismatch { .. } | Error::NotFound { .. } | Error::Cancelled => {
            Hope::Later
        }
        _ => Hope::None,
    }
}

/// How long a worker without work waits before it looks again: others may have added some.
const PAUSE: Duration = Duration::from_secs(1);
/// Three may be lost.
const BEATS_PER_LEASE: u32 = 4;
