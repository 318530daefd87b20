//! The scans of a service: of all repositories at an interval, of busy ones between, of notified tags at
//! once.
//!
//! Of the processes that share a queue, one does each regular scan. Answers no request.

use super::Service;
use crate::{
    metrics::ScanResult,
    policy,
    pushed::PushedTags,
    queue::ScanTurn,
    run::{EventHandler, ScanKind},
    scan::ScanScope,
};
use imgdelta::Result;
use imgdelta_service::StopPhase;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Scans all repositories at an interval, in one of the processes that share the queue. A process
/// that ends leaves its place in the list of repositories to the next one.
pub(super) async fn run(service: Arc<Service>, handler: EventHandler) {
    let Service { job, stop, .. } = &*service;
    let interval = job.config.serve.poll.get_ref().duration();
    loop {
        match job.queue.hold_scan(&job.worker_name, job.terms.lease, interval).await {
            Ok(Some(ScanTurn { cursor })) => {
                if let Err(error) = service.scan_from(&cursor, &handler).await {
                    tracing::error!(%error, "the scan failed");
                    drop(job.queue.end_scan(&job.worker_name, false).await);
                    service.pause(interval.min(FAILED_SCAN_PAUSE)).await;
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the queue does not answer"),
        }
        service.pause(interval.min(SCAN_QUESTIONS)).await;
        if stop.phase() > StopPhase::Running {
            return;
        }
    }
}

/// Scans the repositories that changed lately between the scans of all, in one of the processes that
/// share the queue.
pub(super) async fn run_busy(service: Arc<Service>, handler: EventHandler) {
    let Service { job, stop, .. } = &*service;
    let interval = job.config.serve.poll.get_ref().duration() / BUSY_SCANS;
    if job.config.scan.busy == 0 {
        return;
    }
    loop {
        service.pause(interval).await;
        if stop.phase() > StopPhase::Running {
            return;
        }
        if let Err(error) = service.scan_busy(interval, &handler).await {
            tracing::error!(%error, "the scan of busy repositories failed");
        }
    }
}

/// Scans the tags that notifications name, whatever else runs.
pub(super) async fn run_notified(service: Arc<Service>, handler: EventHandler) {
    let Service { job, stop, .. } = &*service;
    let settle = job.config.serve.settle.duration();
    loop {
        tokio::select! {
            () = stop.reached(StopPhase::Finishing) => return,
            () = service.notified.notified() => {}
        }
        // An image is often pushed with others: its index, other platforms.
        tokio::time::sleep(settle).await;
        let pushed = service.pushed().take();
        let names = match pushed {
            PushedTags::Named(names) => names,
            PushedTags::All => {
                tracing::warn!("too many notifications: scanning all repositories");
                if let Err(error) = job.scan(ScanKind::Service, &handler).await {
                    tracing::error!(%error, "the scan failed");
                }
                continue;
            }
        };
        let mut scans = JoinSet::new();
        for (name, tags) in names {
            while scans.len() >= NOTIFIED_AT_ONCE {
                drop(scans.join_next().await);
            }
            if stop.phase() > StopPhase::Running {
                return;
            }
            let (job, handler) = (Arc::clone(job), Arc::clone(&handler));
            scans.spawn(async move {
                let scope = if tags.is_empty() { ScanScope::All } else { ScanScope::Tags(&tags) };
                let added = job.add_wanted(&name, scope, ScanKind::Service, &handler).await;
                if let Err(error) = added {
                    tracing::warn!(repository = %name, %error, "not scanned; will be retried");
                }
            });
        }
        while scans.join_next().await.is_some() {}
    }
}

impl Service {
    /// Scans the repositories after a cursor, and records the place that was reached.
    async fn scan_from(&self, cursor: &str, handler: &EventHandler) -> Result<()> {
        let Self { job, stop, .. } = self;
        let (holder, interval) = (&job.worker_name, job.config.serve.poll.get_ref().duration());
        let mut names = job.repositories().await?;
        job.warn_of_idle_rules(&names, ScanKind::Service, handler);
        names.retain(|name| name.as_str() > cursor);
        let started = Instant::now();
        let mut saved = started;
        let mut is_ended = false;
        let mut scans = job.scan_each(names, ScanKind::Service, handler);
        while let Some((name, _)) = scans.next().await? {
            if stop.phase() > StopPhase::Running {
                job.queue.save_scan(holder, name.as_str()).await?;
                is_ended = true;
                break;
            }
            if saved.elapsed() >= job.terms.lease / 4 {
                saved = Instant::now();
                // Another process scans if this one was suspended.
                let is_ours = job.queue.save_scan(holder, name.as_str()).await?
                    && job.queue.hold_scan(holder, job.terms.lease, interval).await?.is_some();
                if !is_ours {
                    is_ended = true;
                    break;
                }
            }
        }
        let failed = scans.failed;
        if !is_ended {
            job.metrics.count_scan(ScanResult::of(failed), started.elapsed());
        }
        job.queue.end_scan(holder, !is_ended).await
    }

    /// Scans the repositories that changed lately, unless another process does.
    async fn scan_busy(&self, interval: Duration, handler: &EventHandler) -> Result<()> {
        let Self { job, stop, .. } = self;
        if !job.queue.claim(BUSY_NOTE, interval).await? {
            return Ok(());
        }
        let changed = job.queue.changed_repositories(BUSY_SPAN, job.config.scan.busy).await?;
        let names = policy::busy_repositories(&job.config, &changed);
        let mut scans = job.scan_each(names, ScanKind::Service, handler);
        while stop.phase() == StopPhase::Running && scans.next().await?.is_some() {}
        Ok(())
    }
}

/// Interval at which each process asks if a scan is due.
const SCAN_QUESTIONS: Duration = Duration::from_secs(15);
/// Pause after a scan that failed as a whole.
const FAILED_SCAN_PAUSE: Duration = Duration::from_secs(60);
/// Repositories that are scanned at once after notifications.
const NOTIFIED_AT_ONCE: usize = 8;
/// Scans of busy repositories in the interval of the scans of all.
const BUSY_SCANS: u32 = 5;
/// Time after a change in which a repository is busy.
const BUSY_SPAN: Duration = Duration::from_secs(86400);
/// Name of the claim on such a scan.
const BUSY_NOTE: &str = "scan of busy repositories";
