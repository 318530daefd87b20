//! Outages of the registry: while it does not answer, no worker takes a task, and no attempt counts.
//!
//! One worker probes it at growing intervals; all others wait for it. An error of one
//! repository is not an outage.

use imgdelta::{Error, Result};
use imgdelta_registry::{Client, RequestErrorKind, request_error};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The state of one registry, shared by all workers of a process.
#[derive(Debug)]
pub(crate) struct OutageBreaker {
    client: Client,
    host: String,
    outage: Mutex<Option<Outage>>,
    /// Held by the worker that asks.
    probe: tokio::sync::Mutex<()>,
    first_pause: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    /// Time before which the registry is not asked.
    next: Instant,
    pause: Duration,
}

impl OutageBreaker {
    pub fn new(client: &Client, host: &str) -> Self {
        Self {
            client: client.clone(),
            host: host.to_owned(),
            outage: Mutex::default(),
            probe: tokio::sync::Mutex::default(),
            first_pause: FIRST_PAUSE,
        }
    }

    /// Returns true during an outage.
    pub fn is_open(&self) -> bool {
        self.outage().is_some()
    }

    /// Forgets an outage: a new run asks again.
    pub fn forget(&self) {
        *self.outage() = None;
    }

    /// Returns true if the registry as a whole caused an error. Probes it, unless the
    /// outage is known.
    pub async fn caused(&self, error: &Error) -> bool {
        let Some(failed) = request_error(error).filter(|failed| failed.is_transient()) else {
            return false;
        };
        let requested = match &failed.kind {
            RequestErrorKind::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        };
        if self.is_open() {
            return true;
        }
        let is_asked_to_wait = requested.is_some_and(|wait| wait > Duration::ZERO);
        if !is_asked_to_wait && self.ping().await.is_ok() {
            return false;
        }
        let pause = requested.unwrap_or_default().clamp(self.first_pause, LONGEST_PAUSE);
        let now = Instant::now();
        self.outage().get_or_insert_with(|| {
            tracing::warn!(host = self.host, %error, "the registry is away; all tasks wait");
            Outage { since: now, next: now + pause, pause: self.first_pause }
        });
        true
    }

    /// Waits until the outage is over.
    pub async fn is_over(&self) {
        let _probe = self.probe.lock().await;
        loop {
            let Some(outage) = *self.outage() else { return };
            tokio::time::sleep_until(outage.next.into()).await;
            if self.ping().await.is_ok() {
                let seconds = outage.since.elapsed().as_secs();
                tracing::info!(host = self.host, seconds, "the registry is back");
                *self.outage() = None;
                return;
            }
            let pause = (outage.pause * 2).min(LONGEST_PAUSE);
            *self.outage() = Some(Outage { next: Instant::now() + pause, pause, ..outage });
        }
    }

    async fn ping(&self) -> Result<()> {
        self.client.ping(&self.host).await.map_err(Error::from)
    }

    fn outage(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A registry that is back is found within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_registry::{ClientOptions, ManifestReference, Repository, Retry};
    use imgdelta_testkit::registry::{RegistryBehaviour, RegistryFault, TestRegistry};

    async fn failure(client: &Client, host: &str) -> Error {
        let repository = Repository::new(client, host, &"team/app".parse().unwrap());
        let tag = ManifestReference::Tag("v1".parse().unwrap());
        repository.manifest(&tag).await.unwrap_err().into()
    }

    #[tokio::test]
    async fn one_worker_asks_and_all_wait_until_the_registry_is_back() {
        let registry = TestRegistry::start(RegistryBehaviour::default());
        let retry = Retry::default().attempts(1);
        let client = Client::new(ClientOptions::default().retry(retry));
        let mut breaker = OutageBreaker::new(&client, &registry.host());
        breaker.first_pause = Duration::from_millis(1);

        // An error of one request is not an outage, neither is a missing image.
        let status = |code| RegistryFault::Status(code, Vec::new());
        registry.fault("GET", "/manifests/", 1, status(500));
        assert!(!breaker.caused(&failure(&client, &registry.host()).await).await);
        assert!(!breaker.caused(&failure(&client, &registry.host()).await).await, "not found");
        assert!(!breaker.is_open());

        // Everything fails: this request, the question, and the first two of those that wait.
        registry.fault("GET", "/v2/", 4, status(503));
        assert!(breaker.caused(&failure(&client, &registry.host()).await).await);
        assert!(breaker.is_open());
        let before = registry.requests().len();
        tokio::join!(breaker.is_over(), breaker.is_over(), breaker.is_over());
        assert!(!breaker.is_open());
        assert_eq!(registry.requests().len() - before, 3, "two failures and the first success");

        // A registry that asks to wait is not asked before.
        let later = vec![("Retry-After", "900".to_owned())];
        registry.fault("GET", "/manifests/", 1, RegistryFault::Status(429, later));
        let before = registry.requests().len();
        assert!(breaker.caused(&failure(&client, &registry.host()).await).await);
        assert_eq!(registry.requests().len() - before, 1, "no further request");
    }
}
