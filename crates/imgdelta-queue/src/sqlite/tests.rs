//! Clocks, and the rows that statements read.

use super::*;
use crate::{LeaseTerms, NewTask, Queue, Taker, TaskAdmin, Urgency};

const HOST: &str = "registry.example";
const HOUR: Duration = Duration::from_secs(3600);
const YEAR_MS: i64 = 31_536_000_000;

fn task() -> NewTask {
    NewTask {
        key: "k".into(),
        repository: "r".into(),
        target: String::new(),
        body: String::new(),
        urgency: Urgency::Scanned,
        priority: 0,
    }
}

#[tokio::test]
async fn a_wrong_date_changes_no_lease() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.db");
    let open = |clock: &QueueClock| SqliteQueue::with_clock(&path, HOST, clock.clone()).unwrap();
    let terms = LeaseTerms::new(HOUR, 3, HOUR);
    let taker = Taker::default();
    let take = async |queue: &SqliteQueue| queue.take(&taker, &terms).await.unwrap();

    // The date of the first worker is a year ahead; it takes the task and vanishes.
    let (ahead, right) = (QueueClock::set("s1", 5000, YEAR_MS), QueueClock::set("s1", 5000, 0));
    open(&ahead).add(&[task()]).await.unwrap();
    assert!(take(&open(&ahead)).await.is_some());
    assert_eq!(take(&open(&right)).await, None, "leased");
    right.advance(HOUR);
    assert_eq!(take(&open(&right)).await.unwrap().tries, 2, "after an hour, not a year");
    assert_eq!(open(&right).oldest_waiting().await.unwrap(), None);

    // After a restart of the machine, no worker of before is there.
    let restarted = QueueClock::set("s2", 10, 0);
    assert_eq!(take(&open(&restarted)).await.unwrap().tries, 3);
    assert_eq!(take(&open(&restarted)).await, None);
}

#[tokio::test]
async fn failed_tasks_wait_again_after_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let clock = QueueClock::set("s1", 5000, 0);
    let queue = SqliteQueue::with_clock(&dir.path().join("q.db"), HOST, clock.clone()).unwrap();
    crate::tests::tasks_that_may_succeed_later_wait_again_after_a_day(&queue, async || {
        clock.advance(24 * HOUR);
    })
    .await;
}

#[test]
fn the_queries_of_every_scan_and_take_read_no_other_rows() {
    let connection = Connection::open_in_memory().unwrap();
    schema::prepare(&connection, HOST, &QueueClock::of_machine()).unwrap();
    let plan = |statement: &str| -> Vec<String> {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let values = vec![rusqlite::types::Null; explain.parameter_count()];
        let steps = explain.query_map(rusqlite::params_from_iter(values), |row| row.get(3));
        steps.unwrap().map(|step| step.unwrap()).collect()
    };
    let by_key = "SEARCH tasks USING INDEX sqlite_autoindex_tasks_1 (host=? AND key";
    for (statement, bounds) in [(tasks::OUTCOME, "=?)"), (tasks::DONE_IN, ">? AND key<?)")] {
        assert_eq!(plan(statement), [format!("{by_key}{bounds}")], "without a sort");
    }
    let first = plan(tasks::FIRST);
    assert_eq!(first[0], "SEARCH tasks USING INDEX tasks_in_order (host=?)", "{first:?}");
    assert!(first.iter().all(|step| !step.contains("TEMP B-TREE FOR ORDER")), "{first:?}");
    for (statement, index) in [(tasks::NEXT_DUE, "tasks_due"), (admin::OLDEST, "tasks_waiting")] {
        let found = plan(statement);
        assert!(found[0].contains(&format!("INDEX {index} (host=?)")), "{found:?}");
    }
}
