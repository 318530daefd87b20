//! A page of metrics in the text format of Prometheus.

use crate::machine;
use std::{
    fmt::{Display, Write as _},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A page of metrics, family by family.
#[derive(Debug, Default)]
pub struct MetricsPage(String);

impl MetricsPage {
    /// Begins a family of samples.
    pub fn family(&mut self, name: &str, kind: &str, what: &str) {
        let _ = writeln!(self.0, "# HELP {name} {what}.\n# TYPE {name} {kind}");
    }

    /// Adds a sample to the latest family; `name` includes its labels.
    pub fn line(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// Adds a counter without labels.
    pub fn counter(&mut self, name: &str, what: &str, value: impl Display) {
        self.family(name, "counter", what);
        self.line(name, value);
    }

    /// Adds a gauge without labels.
    pub fn gauge(&mut self, name: &str, what: &str, value: impl Display) {
        self.family(name, "gauge", what);
        self.line(name, value);
    }

    /// Adds the memory of this process, where the system states it.
    pub fn memory(&mut self) {
        let Some((now, peak)) = machine::memory_bytes() else { return };
        self.gauge("process_resident_memory_bytes", "Resident memory of the process", now);
        let (name, what) = ("imgdelta_resident_memory_peak_bytes", "Peak of the resident memory");
        self.gauge(name, what, peak);
    }

    /// Adds the start of this process, its processor time and its memory.
    pub fn process(&mut self, start: SystemTime) {
        let start = start.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (name, what) = ("process_start_time_seconds", "Start of the process, since 1970");
        self.gauge(name, what, start.as_secs());
        let cpu = Duration::from_nanos(machine::process_nanos());
        let what = "Processor time of the process";
        self.counter("process_cpu_seconds_total", what, cpu.as_secs_f64());
        self.memory();
    }

    /// Returns the page.
    pub fn text(self) -> String {
        self.0
    }
}
