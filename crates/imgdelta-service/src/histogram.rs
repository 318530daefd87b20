//! Histograms of durations and sizes: counts below bounds, and a sum.
//!
//! The bounds are constants of the program, so that histograms of several processes can be added.

use crate::MetricsPage;
use std::sync::{Mutex, PoisonError};

/// A histogram.
#[derive(Debug)]
pub struct Histogram {
    /// Inclusive upper bounds, ascending.
    bounds: &'static [f64],
    counts: Mutex<HistogramCounts>,
}

#[derive(Clone, Debug)]
struct HistogramCounts {
    /// Values up to each bound and above the one before; at the end those above all bounds.
    buckets: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// Makes an empty histogram with ascending bounds.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = HistogramCounts { buckets: vec![0; bounds.len() + 1], sum: 0.0 };
        Self { bounds, counts: Mutex::new(counts) }
    }

    /// Counts a value.
    pub fn record(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.buckets[bucket] += 1;
        counts.sum += value;
    }

    /// Adds the samples to the latest family of a page. `labels` are those of all samples, such as
    /// `host="r"`, or empty.
    pub fn print(&self, page: &mut MetricsPage, name: &str, labels: &str) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let comma = if labels.is_empty() { "" } else { "," };
        let bounds = self.bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        let mut total = 0_u64;
        for (bound, count) in bounds.zip(&counts.buckets) {
            total += count;
            page.line(&format!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}}"), total);
        }
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        page.line(&format!("{name}_sum{labels}"), counts.sum);
        page.line(&format!("{name}_count{labels}"), total);
    }
}

/// Bounds in seconds for requests to a server.
pub const REQUEST_SECONDS: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// Bounds in seconds for work of seconds to hours.
pub const WORK_SECONDS: &[f64] =
    &[1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_all_values_up_to_their_bound() {
        let histogram = Histogram::new(&[0.5, 2.0]);
        for value in [0.25, 0.5, 1.0, 2.0, 4.0] {
            histogram.record(value);
        }
        let mut page = MetricsPage::default();
        histogram.print(&mut page, "x_seconds", "host=\"r\"");
        assert_eq!(
            page.text(),
            "x_seconds_bucket{host=\"r\",le=\"0.5\"} 2\n\
             x_seconds_bucket{host=\"r\",le=\"2\"} 4\n\
             x_seconds_bucket{host=\"r\",le=\"+Inf\"} 5\n\
             x_seconds_sum{host=\"r\"} 7.75\n\
             x_seconds_count{host=\"r\"} 5\n"
        );
        let mut page = MetricsPage::default();
        Histogram::new(&[]).print(&mut page, "x", "");
        assert_eq!(page.text(), "x_bucket{le=\"+Inf\"} 0\nx_sum 0\nx_count 0\n");
    }
}
