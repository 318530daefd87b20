//! The log: one event for each attempt of a task, and requests at debug level.
//!
//! Everything that a machine may count or search is a field. No field holds a header or an address with
//! a query, which may contain secrets.

use crate::{
    metrics::Metrics,
    report::{TaskOutcome, TaskReport},
    task::Task,
};
use imgdelta_registry::{ClientEvent, EventListener};
use std::sync::Arc;

/// Logs that an attempt begins.
pub(crate) fn task_started(task: &Task, attempt: u32) {
    let Task { repository, base, target, platform, .. } = task;
    let (id, base) = (task.id(), base.map(|base| base.to_string()));
    tracing::debug!(id, %repository, base, %target, platform, attempt, "started");
}

/// Logs the end of an attempt.
pub(crate) fn task_ended(report: &TaskReport) {
    let Task { repository, base, target, base_tag, target_tag, platform, direction, .. } =
        &report.task;
    let (id, outcome) = (report.task.id(), report.outcome.word());
    let base = base.map(|base| base.to_string());
    let TaskReport { delta_bytes, pull_bytes, seconds, cpu_seconds, attempt, reason, .. } = report;
    let (direction, artifact) = (direction.word(), report.artifact.map(|found| found.to_string()));
    let error = report.error.as_ref().map(ToString::to_string);
    // The level is a part of the event, so that each has an expansion of its own.
    macro_rules! log {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                id,
                %repository,
                base_tag,
                target_tag,
                platform,
                direction,
                outcome,
                delta_bytes,
                pull_bytes,
                seconds,
                cpu_seconds,
                attempt,
                base,
                %target,
                artifact,
                reason,
                error,
                $message
            )
        };
    }
    match report.outcome {
        TaskOutcome::Waits | TaskOutcome::Failed => log!(warn, "failed"),
        _ => log!(info, "done"),
    }
}

/// Returns a listener that logs and counts the requests of a client.
pub(crate) fn client_events(metrics: Arc<Metrics>) -> EventListener {
    EventListener::new(move |event| {
        metrics.count_request(event);
        match event {
            ClientEvent::Exchanged { method, host, repository, object, status, duration } => {
                let seconds = duration.as_secs_f64();
                tracing::debug!(method, host, repository, object, status, seconds, "request");
            }
            ClientEvent::Silent { place, object, waited } => {
                let seconds = waited.as_secs();
                tracing::warn!(place, object, seconds, "the registry does not answer yet");
            }
            ClientEvent::Retrying { error, wait, attempt, attempts } => {
                let (place, object, seconds) = (&*error.place, &*error.request, wait.as_secs_f64());
                tracing::warn!(
                    place, object, %error, attempt, attempts, seconds, "the request is sent again"
                );
            }
            _ => {}
        }
    })
}
