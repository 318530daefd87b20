//! One suite of tests over every kind of queue.

use super::*;
use imgdelta_registry::Secret;
use imgdelta_testkit::postgres::PostgresServer;
use std::{collections::BTreeMap, sync::Arc};

const LONG: Duration = Duration::from_secs(3600);

fn terms() -> LeaseTerms {
    LeaseTerms::new(LONG, 3, Duration::ZERO)
}

fn entries(range: std::ops::Range<u32>) -> Vec<NewTask> {
    range.map(|n| NewTask { key: format!("k{n}"), body: format!("b{n}") }).collect()
}

async fn take(queue: &dyn Queue, terms: &LeaseTerms) -> Option<LeasedTask> {
    queue.take("w", terms).await.unwrap()
}

async fn tasks_are_added_once_and_taken_in_order(queue: &dyn Queue) {
    assert_eq!(queue.add(&entries(0..2)).await.unwrap(), 2);
    assert_eq!(queue.add(&entries(0..3)).await.unwrap(), 1);
    assert_eq!(queue.add(&[]).await.unwrap(), 0);
    for n in 0..3 {
        let taken = take(queue, &terms()).await.unwrap();
        assert_eq!((&taken.ticket.key, &taken.body), (&format!("k{n}"), &format!("b{n}")));
        assert_eq!(taken.tries, 1);
        assert!(queue.beat(&taken.ticket, &terms()).await.unwrap());
        assert!(queue.finish(&taken.ticket, "made").await.unwrap());
        assert!(!queue.finish(&taken.ticket, "again").await.unwrap());
    }
    assert_eq!(take(queue, &terms()).await, None);
    assert_eq!(queue.add(&entries(0..3)).await.unwrap(), 0, "a done task is not added again");
    let done = queue.list(TaskState::Done, 9).await.unwrap();
    let (key, body, outcome) = ("k1".into(), "b1".into(), "made".into());
    let expected = ListedTask { key, body, outcome, tries: 1 };
    assert_eq!((done.len(), &done[1]), (3, &expected));
    assert_eq!(queue.list(TaskState::Done, 2).await.unwrap(), done[..2]);
    assert_eq!(queue.counts().await.unwrap(), TaskCounts { done: 3, ..TaskCounts::default() });
}

async fn the_ticket_of_a_silent_worker_is_void(queue: &dyn Queue) {
    queue.add(&entries(0..1)).await.unwrap();
    let silent = LeaseTerms::new(Duration::ZERO, 3, LONG);
    let first = take(queue, &silent).await.unwrap();
    let second = take(queue, &terms()).await.unwrap();
    assert_eq!((&second.ticket.key, second.tries), (&first.ticket.key, 2));
    assert!(!queue.beat(&first.ticket, &terms()).await.unwrap());
    assert!(!queue.finish(&first.ticket, "late").await.unwrap());
    assert!(!queue.give_back(&first.ticket).await.unwrap());
    let late = queue.fail(&first.ticket, "late", Retry::Never, &terms()).await.unwrap();
    assert_eq!(late, None);
    assert_eq!(take(queue, &terms()).await, None, "the second holds it");
    assert!(queue.finish(&second.ticket, "").await.unwrap());
}

async fn a_task_is_retried_and_then_fails_for_good(queue: &dyn Queue) {
    queue.add(&entries(0..2)).await.unwrap();
    for tries in 1..=3 {
        let taken = take(queue, &terms()).await.unwrap();
        assert_eq!((taken.ticket.key.as_str(), taken.tries), ("k0", tries));
        let error = format!("error {tries}");
        let state = queue.fail(&taken.ticket, &error, Retry::Later, &terms()).await.unwrap();
        assert_eq!(state, Some(if tries < 3 { TaskState::Waiting } else { TaskState::Failed }));
    }
    let hopeless = take(queue, &terms()).await.unwrap();
    let state = queue.fail(&hopeless.ticket, "never", Retry::Never, &terms()).await.unwrap();
    assert_eq!(state, Some(TaskState::Failed));
    let failed = queue.list(TaskState::Failed, 9).await.unwrap();
    let outcomes: Vec<_> = failed.iter().map(|line| line.outcome.as_str()).collect();
    assert_eq!(outcomes, ["error 3", "never"]);
    assert_eq!(take(queue, &terms()).await, None);
    assert_eq!(queue.retry_failed().await.unwrap(), 2);
    assert_eq!(take(queue, &terms()).await.unwrap().tries, 1, "counted from 1 again");
}

async fn a_failed_task_waits(queue: &dyn Queue) {
    queue.add(&entries(0..2)).await.unwrap();
    let patient = LeaseTerms::new(LONG, 3, LONG);
    let taken = take(queue, &patient).await.unwrap();
    queue.fail(&taken.ticket, "", Retry::Later, &patient).await.unwrap();
    assert_eq!(take(queue, &patient).await.unwrap().ticket.key, "k1", "the other first");
    assert_eq!(take(queue, &patient).await, None, "not yet");
    assert_eq!(queue.counts().await.unwrap().open(), 2);
}

async fn a_task_that_kills_its_workers_fails_for_good(queue: &dyn Queue) {
    queue.add(&entries(0..1)).await.unwrap();
    let silent = LeaseTerms::new(Duration::ZERO, 2, LONG);
    assert_eq!(take(queue, &silent).await.unwrap().tries, 1);
    assert_eq!(take(queue, &silent).await.unwrap().tries, 2);
    assert_eq!(take(queue, &silent).await, None);
    let failed = queue.list(TaskState::Failed, 9).await.unwrap();
    assert_eq!(failed[0].outcome, "its worker vanished each time");
}

async fn giving_back_does_not_count_as_an_attempt(queue: &dyn Queue) {
    queue.add(&entries(0..1)).await.unwrap();
    for _ in 0..5 {
        let taken = take(queue, &terms()).await.unwrap();
        assert_eq!(taken.tries, 1);
        assert!(queue.give_back(&taken.ticket).await.unwrap());
        assert!(!queue.give_back(&taken.ticket).await.unwrap());
    }
}

async fn forgotten_tasks_can_be_added_again(queue: &dyn Queue) {
    queue.add(&entries(0..3)).await.unwrap();
    let done = take(queue, &terms()).await.unwrap();
    queue.finish(&done.ticket, "").await.unwrap();
    let _running = take(queue, &terms()).await.unwrap();
    let keys: Vec<String> = entries(0..9).into_iter().map(|entry| entry.key).collect();
    assert_eq!(queue.forget(&keys).await.unwrap(), 2, "not the running one");
    assert_eq!(queue.add(&entries(0..3)).await.unwrap(), 2);
}

/// Adds tasks and finishes them.
async fn done(queue: &dyn Queue, keys: &[String]) {
    let entry = |key: &String| NewTask { key: key.clone(), body: String::new() };
    queue.add(&keys.iter().map(entry).collect::<Vec<_>>()).await.unwrap();
    while let Some(taken) = take(queue, &terms()).await {
        let outcome = format!("of {}", taken.ticket.key);
        assert!(queue.finish(&taken.ticket, &outcome).await.unwrap());
    }
}

async fn outcomes_are_found_by_key(queue: &dyn Queue) {
    // More than one statement takes; the last key of each statement, and the first of the next.
    let keys: Vec<String> = (0..2500).map(|n| format!("r {n:04}")).collect();
    let some = [0, 999, 1000, 1999, 2000, 2499].map(|n: usize| keys[n].clone());
    done(queue, &some).await;
    queue.add(&entries(0..1)).await.unwrap();
    let expected = some.map(|key| (key.clone(), format!("of {key}")));
    assert_eq!(queue.outcomes(&keys).await.unwrap(), BTreeMap::from(expected.clone()));
    let few = ["r 2499", "none", "k0", "r 2499", ""].map(String::from);
    let found = queue.outcomes(&few).await.unwrap();
    assert_eq!(found, BTreeMap::from([expected[5].clone()]), "done tasks only");
    assert_eq!(queue.outcomes(&[]).await.unwrap(), BTreeMap::new());
}

async fn done_tasks_are_listed_by_repository(queue: &dyn Queue) {
    // Names with equal beginnings, and letters whose order differs between languages and bytes.
    let of = |name: &str, rest: &[&str]| -> Vec<String> {
        rest.iter().map(|rest| format!("{name} {rest}")).collect()
    };
    let mine = of("team/app", &["B", "a", "a-b", "ab", "é"]);
    let others = ["team/app-2 a", "team/app/x a", "team/App a", "team/ap p", "team/app", "z a"];
    let all: Vec<String> =
        others.into_iter().map(String::from).chain(mine.iter().rev().cloned()).collect();
    done(queue, &all).await;
    queue.add(&[NewTask { key: "team/app waits".into(), body: String::new() }]).await.unwrap();
    let page = async |repository: &str, after: &str, most: u32| {
        queue.done_in(repository, after, most).await.unwrap()
    };
    assert_eq!(page("team/app", "", 9).await, mine);
    assert_eq!(page("team/app", "", 2).await, mine[..2]);
    assert_eq!(page("team/app", &mine[1], 2).await, mine[2..4]);
    assert_eq!(page("team/app", &mine[3], 2).await, mine[4..]);
    assert_eq!(page("team/app", &mine[4], 2).await, [""; 0]);
    assert_eq!(page("team/app", "team/app a", 1).await, ["team/app a-b"]);
    assert_eq!(page("team/app/x", "", 9).await, ["team/app/x a"]);
    assert_eq!(page("team", "", 9).await, [""; 0]);
    assert_eq!(page("", "", 9).await, [""; 0]);
}

async fn tags_are_numbered_as_they_move(queue: &dyn Queue) {
    let tags = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(tag, digest)| (tag.to_string(), digest.to_string())).collect()
    };
    let first = queue.seen("r", &tags(&[("b", "1"), ("a", "2")])).await.unwrap();
    assert!(first[0] < first[1]);
    let same = queue.seen("r", &tags(&[("a", "2"), ("b", "1")])).await.unwrap();
    assert_eq!(same, [first[1], first[0]]);
    let moved = queue.seen("r", &tags(&[("b", "3"), ("a", "2"), ("c", "1")])).await.unwrap();
    assert!(moved[0] > first[1] && moved[1] == first[1] && moved[2] > moved[0]);
    let other = queue.seen("other", &tags(&[("a", "2")])).await.unwrap();
    assert!(other[0] > moved[2]);
}

async fn the_latest_offer_comes_first(queue: &dyn Queue) {
    let things =
        |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
    queue.offer("old", &things(&["a", "b"])).await.unwrap();
    queue.offer("new", &things(&["a", "a", "c"])).await.unwrap();
    queue.offer("old", &things(&["a"])).await.unwrap();
    let found = |names: &[&str], most| {
        let names = things(names);
        async move { queue.offers(&names, most).await.unwrap() }
    };
    assert_eq!(found(&["a", "b", "none"], 9).await, ["new", "old"]);
    assert_eq!(found(&["a", "c"], 1).await, ["new"]);
    assert_eq!(found(&["b"], 9).await, ["old"]);
    assert_eq!(found(&[], 9).await, [""; 0]);
    queue.withdraw("new").await.unwrap();
    assert_eq!(found(&["a", "c"], 9).await, ["old"]);
}

async fn many_workers_lose_and_double_nothing(queues: Vec<Arc<dyn Queue>>) {
    queues[0].add(&entries(0..50)).await.unwrap();
    let mut workers = tokio::task::JoinSet::new();
    for queue in queues {
        workers.spawn(async move {
            let mut mine = Vec::new();
            while let Some(taken) = take(&*queue, &terms()).await {
                tokio::task::yield_now().await;
                assert!(queue.finish(&taken.ticket, "").await.unwrap());
                mine.push(taken.ticket.key);
            }
            mine
        });
    }
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    while let Some(mine) = workers.join_next().await {
        mine.unwrap().into_iter().for_each(|key| *times.entry(key).or_default() += 1);
    }
    assert_eq!(times.len(), 50);
    assert!(times.values().all(|count| *count == 1), "{times:?}");
}

/// Runs the suite over queues that `fresh` opens: an empty one for each number.
async fn suite<F: Future<Output = Arc<dyn Queue>>>(fresh: impl Fn(u32) -> F) {
    tasks_are_added_once_and_taken_in_order(&*fresh(0).await).await;
    the_ticket_of_a_silent_worker_is_void(&*fresh(1).await).await;
    a_task_is_retried_and_then_fails_for_good(&*fresh(2).await).await;
    a_failed_task_waits(&*fresh(3).await).await;
    a_task_that_kills_its_workers_fails_for_good(&*fresh(4).await).await;
    giving_back_does_not_count_as_an_attempt(&*fresh(5).await).await;
    forgotten_tasks_can_be_added_again(&*fresh(6).await).await;
    tags_are_numbered_as_they_move(&*fresh(7).await).await;
    the_latest_offer_comes_first(&*fresh(9).await).await;
    outcomes_are_found_by_key(&*fresh(10).await).await;
    done_tasks_are_listed_by_repository(&*fresh(11).await).await;
    let shared = vec![fresh(8).await, fresh(8).await, fresh(8).await];
    many_workers_lose_and_double_nothing(shared).await;
    let reopened = fresh(8).await.counts().await.unwrap();
    assert_eq!(reopened, TaskCounts { done: 50, ..TaskCounts::default() }, "as before");
}

#[tokio::test]
async fn in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    suite(async |n: u32| {
        let queue = SqliteQueue::open(&dir.path().join(format!("{n}.db"))).unwrap();
        Arc::new(queue) as Arc<dyn Queue>
    })
    .await;
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.db");
    drop(SqliteQueue::open(&path).unwrap());
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 2).unwrap();
    let error = SqliteQueue::open(&path).unwrap_err().to_string();
    assert!(error.contains("of version 2; this program knows 1"), "{error}");
    std::fs::write(dir.path().join("no.db"), "not a database").unwrap();
    assert!(SqliteQueue::open(&dir.path().join("no.db")).is_err());
}

#[tokio::test]
async fn in_a_server() {
    let Some(server) = PostgresServer::start() else { return };
    let connect = async |database: &str, password: Option<&Secret>| {
        let server = server.options(database).parse().unwrap();
        PostgresQueue::connect(&server, &[], password).await.unwrap()
    };
    let admin = connect("postgres", None).await;
    for n in 0..12 {
        server.database(&format!("q{n}"));
    }
    suite(async |n: u32| {
        let queue = connect(&format!("q{n}"), Some(&Secret::new("hunter2"))).await;
        assert!(!format!("{queue:?}").contains("hunter2"));
        Arc::new(queue) as Arc<dyn Queue>
    })
    .await;

    // The server ends a connection; a later statement opens another.
    let queue = connect("q0", None).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'q0'";
    admin.query(end, &[]).await.unwrap();
    let first = queue.counts().await;
    assert_eq!(queue.counts().await.unwrap().done, 3, "after {first:?}");
}
