//! Requests to the registry: durations, statuses, retries.
//!
//! The number of samples is bounded, whatever a registry answers.

use imgdelta_registry::ClientEvent;
use imgdelta_service::{
    MetricsPage,
    histogram::{Histogram, REQUEST_SECONDS},
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Counters of requests. A process asks one registry, so that all of them are of one host.
#[derive(Debug)]
pub(super) struct RequestMetrics {
    seconds: Histogram,
    retries: AtomicU64,
    /// By status; requests without an answer have 0.
    responses: Mutex<BTreeMap<u16, u64>>,
    host: Mutex<String>,
}

impl Default for RequestMetrics {
    fn default() -> Self {
        Self {
            seconds: Histogram::new(REQUEST_SECONDS),
            retries: AtomicU64::new(0),
            responses: Mutex::default(),
            host: Mutex::default(),
        }
    }
}

impl RequestMetrics {
    pub fn count(&self, event: &ClientEvent<'_>) {
        match event {
            ClientEvent::Exchanged { host, status, duration, .. } => {
                self.seconds.record(duration.as_secs_f64());
                let status = status.unwrap_or_default();
                // A valid status has three digits; those of no meaning are one sample.
                let status = if matches!(status, 0 | 100..600) { status } else { UNKNOWN };
                let mut responses = self.responses.lock().unwrap_or_else(PoisonError::into_inner);
                *responses.entry(status).or_default() += 1;
                let mut known = self.host.lock().unwrap_or_else(PoisonError::into_inner);
                if known.is_empty() {
                    known.push_str(host);
                }
            }
            ClientEvent::Retrying { .. } => drop(self.retries.fetch_add(1, Relaxed)),
            _ => {}
        }
    }

    pub fn print(&self, page: &mut MetricsPage) {
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let host: String = host.chars().filter(|c| !matches!(c, '"' | '\\' | '\n')).collect();
        let label = format!("host=\"{host}\"");
        let (name, what) = ("imgdelta_request_seconds", "Time to the head of each answer");
        page.family(name, "histogram", what);
        self.seconds.print(page, name, &label);
        let name = "imgdelta_responses_total";
        page.family(name, "counter", "Answers to requests, by status");
        let responses = self.responses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (status, count) in responses {
            let status = match status {
                0 => "none".to_owned(),
                UNKNOWN => "other".to_owned(),
                status => status.to_string(),
            };
            page.line(&format!("{name}{{{label},status=\"{status}\"}}"), count);
        }
        let name = "imgdelta_retries_total";
        page.family(name, "counter", "Requests that were sent again after a failure");
        page.line(&format!("{name}{{{label}}}"), self.retries.load(Relaxed));
    }
}

/// A status that HTTP does not have.
const UNKNOWN: u16 = 600;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn answers_are_counted_by_status_and_any_status_is_bounded() {
        let metrics = RequestMetrics::default();
        let statuses = [Some(200), Some(200), Some(429), None];
        for status in statuses.into_iter().chain((600..2000).map(Some)) {
            metrics.count(&ClientEvent::Exchanged {
                method: "GET",
                host: "r.test",
                repository: "a",
                object: "tags",
                status,
                duration: Duration::from_millis(20),
            });
        }
        let mut page = MetricsPage::default();
        metrics.print(&mut page);
        let text = page.text();
        for line in [
            "imgdelta_responses_total{host=\"r.test\",status=\"200\"} 2\n",
            "imgdelta_responses_total{host=\"r.test\",status=\"429\"} 1\n",
            "imgdelta_responses_total{host=\"r.test\",status=\"none\"} 1\n",
            "imgdelta_responses_total{host=\"r.test\",status=\"other\"} 1400\n",
            "imgdelta_request_seconds_bucket{host=\"r.test\",le=\"0.01\"} 0\n",
            "imgdelta_request_seconds_count{host=\"r.test\"} 1404\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
