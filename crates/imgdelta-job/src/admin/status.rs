//! The state of a job: numbers of tasks, failures by reason, savings by day, the tasks of interest.
//!
//! Costs the same with any number of finished tasks.

use super::{listed::TaskRow, now_ms};
use crate::queue::{DaySavings, ListedTask, Queue, QueuePause, TaskCounts, TaskFilter, TaskState};
use imgdelta::Result;
use imgdelta_core::sort::SharedSort;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// The state of a job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobStatus {
    /// Host of the registry.
    pub registry: String,
    /// The queue.
    pub queue: String,
    /// Numbers of tasks.
    pub counts: TaskCounts,
    /// Time since the oldest waiting task was added.
    pub oldest_waiting: Option<Duration>,
    /// The pause, if the queue is paused.
    pub paused: Option<QueuePause>,
    /// Failed tasks by reason, the most frequent first. Of many failed tasks, the latest count.
    pub failures: Vec<(String, u64)>,
    /// Some tasks of each state: failed and done ones from the latest on, others from the next on.
    pub lists: BTreeMap<&'static str, Vec<TaskRow>>,
    /// Sums for each of the last days, the earliest first.
    pub days: Vec<DaySavings>,
    /// Time of this state, in milliseconds since 1970.
    pub now_ms: i64,
}

/// Reads the state of a queue.
pub(super) async fn of(queue: &dyn Queue, registry: &str, place: &str) -> Result<JobStatus> {
    let counts = queue.counts().await?;
    let mut lists = BTreeMap::new();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for state in TaskState::ALL {
        let is_ended = matches!(state, TaskState::Failed | TaskState::Done);
        let limit = if state == TaskState::Failed { MAX_COUNTED } else { MAX_LISTED };
        let filter = TaskFilter::all(limit).state(state).newest_first(is_ended);
        let page: Vec<ListedTask> = queue.list(&filter).await?.tasks;
        if state == TaskState::Failed {
            for task in &page {
                *reasons.entry(task.reason.clone()).or_default() += 1;
            }
        }
        let rows = page.iter().take(MAX_LISTED as usize).map(TaskRow::of);
        lists.insert(state.word(), rows.collect());
    }
    let mut failures: Vec<(String, u64)> = reasons.into_iter().collect();
    failures.shared_sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let now_ms = now_ms();
    Ok(JobStatus {
        registry: registry.to_owned(),
        queue: place.trim_start_matches("queue ").trim_start_matches("in ").to_owned(),
        counts,
        oldest_waiting: queue.oldest_waiting().await?,
        paused: queue.paused().await?,
        failures,
        lists,
        days: each_day(&queue.days(DAYS).await?, now_ms.div_euclid(DAY_MS)),
        now_ms,
    })
}

/// Returns one sum for each of the last days, also for those without deltas.
fn each_day(sums: &[DaySavings], today: i64) -> Vec<DaySavings> {
    let days = (0..i64::from(DAYS)).rev().map(|age| today - age);
    let sum = |day| {
        let found = sums.iter().find(|sum| sum.day == day).copied();
        found.unwrap_or(DaySavings { day, ..DaySavings::default() })
    };
    days.map(sum).collect()
}

impl JobStatus {
    /// Returns the JSON document.
    pub fn json(&self) -> Value {
        let TaskCounts { waiting, running, done, failed } = self.counts;
        let lists: serde_json::Map<String, Value> = self
            .lists
            .iter()
            .map(|(state, rows)| ((*state).to_owned(), rows.iter().map(TaskRow::json).collect()))
            .collect();
        let failures = self.failures.iter();
        let failures = failures.map(|(reason, tasks)| json!({"reason": reason, "tasks": tasks}));
        let days = self.days.iter().map(|sums| {
            json!({
                "day": date(sums.day),
                "published": sums.published,
                "delta_bytes": sums.delta_bytes,
                "saved_bytes": sums.saved_bytes,
            })
        });
        json!({
            "schema": SCHEMA,
            "registry": self.registry,
            "queue": self.queue,
            "now_ms": self.now_ms,
            "tasks": {"waiting": waiting, "running": running, "done": done, "failed": failed},
            "oldest_waiting_seconds": self.oldest_waiting.map(|age| age.as_secs()),
            "paused": self.paused.as_ref().map(|pause| json!({
                "who": pause.who, "reason": pause.reason, "since_ms": pause.since_ms,
            })),
            "failures": failures.collect::<Vec<_>>(),
            "lists": lists,
            "days": days.collect::<Vec<_>>(),
        })
    }
}

/// Returns the date of a day that is counted from 1970-01-01, as `2026-11-30`.
fn date(day: i64) -> String {
    // Years that begin in March end with the leap day; 400 of them are one era.
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{of_month:02}", era * 400 + year + later)
}

/// Name and version of the document.
const SCHEMA: &str = "imgdelta.job-status/1";
/// Tasks of each state that the status lists.
const MAX_LISTED: u32 = 10;
/// Failed tasks that are counted by reason.
const MAX_COUNTED: u32 = 1000;
/// Days whose savings are shown.
const DAYS: u32 = 30;
const DAY_MS: i64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        let rows = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (59, "1970-03-01"),
            (789, "1972-02-29"),
            (11_016, "2000-02-29"),
            (20_787, "2026-11-30"),
        ];
        for (day, expected) in rows {
            assert_eq!(date(day), expected, "{day}");
        }
    }

    #[test]
    fn each_day_has_a_sum_and_the_last_is_today() {
        let sums = [DaySavings { day: 98, saved_bytes: 7, ..DaySavings::default() }];
        let days = each_day(&sums, 100);
        assert_eq!(days.len(), DAYS as usize);
        assert_eq!((days[0].day, days[29].day), (71, 100));
        assert_eq!((days[27].day, days[27].saved_bytes), (98, 7));
        assert_eq!(days.iter().map(|day| day.saved_bytes).sum::<u64>(), 7);
    }
}
