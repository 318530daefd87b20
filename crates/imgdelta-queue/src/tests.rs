//! One suite of tests over every kind of queue.

use super::*;
use crate::PostgresOptions;
use imgdelta_credentials::Secret;
use imgdelta_testkit::postgres::PostgresServer;
use std::{collections::BTreeMap, sync::Arc};

const LONG: Duration = Duration::from_secs(3600);

fn terms() -> LeaseTerms {
    LeaseTerms::new(LONG, 3, Duration::ZERO)
}

fn entry(key: &str) -> NewTask {
    let repository = key.split(' ').next().unwrap_or_default().to_owned();
    NewTask {
        key: key.to_owned(),
        repository,
        target: String::new(),
        body: String::new(),
        urgency: Urgency::Scanned,
        priority: 0,
    }
}

fn entries(range: std::ops::Range<u32>) -> Vec<NewTask> {
    range.map(|n| NewTask { body: format!("b{n}"), ..entry(&format!("k{n}")) }).collect()
}

fn taker(worker: &str) -> Taker {
    Taker { worker: worker.into(), last_target: None }
}

async fn take(queue: &dyn Queue, terms: &LeaseTerms) -> Option<LeasedTask> {
    queue.take(&taker("w"), terms).await.unwrap()
}

async fn finish(queue: &dyn Queue, ticket: &Ticket, outcome: &str) -> bool {
    queue.finish(ticket, &TaskEnd::of(outcome)).await.unwrap()
}

async fn fail(
    queue: &dyn Queue,
    ticket: &Ticket,
    error: &str,
    retry: Retry,
    terms: &LeaseTerms,
) -> Option<TaskState> {
    let failure = TaskFailure { error: error.into(), reason: "word", retry };
    queue.fail(ticket, &failure, terms).await.unwrap()
}

async fn in_state(queue: &dyn Queue, state: TaskState) -> Vec<ListedTask> {
    queue.list(&TaskFilter::all(99).state(state)).await.unwrap().tasks
}

/// Asserts that the counters are those of the rows.
async fn assert_counted(queue: &dyn Queue) {
    let counts = queue.counts().await.unwrap();
    let counted = [counts.waiting, counts.running, counts.done, counts.failed];
    for (state, count) in TaskState::ALL.into_iter().zip(counted) {
        let filter = TaskFilter::all(99_999).state(state);
        let rows = queue.list(&filter).await.unwrap().tasks.len();
        assert_eq!(rows as u64, count, "{}", state.word());
    }
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
        assert!(finish(queue, &taken.ticket, "made").await);
        assert!(!finish(queue, &taken.ticket, "again").await);
    }
    assert_eq!(take(queue, &terms()).await, None);
    assert_eq!(queue.add(&entries(0..3)).await.unwrap(), 0, "a done task is not added again");
    let done = in_state(queue, TaskState::Done).await;
    assert_eq!((done.len(), done[1].tries), (3, 1));
    let words = [&done[1].key, &done[1].body, &done[1].outcome, &done[1].worker];
    assert_eq!(words, ["k1", "b1", "made", "w"]);
    assert!(done[1].added_ms > 1_600_000_000_000 && done[1].changed_ms >= done[1].added_ms);
    assert_eq!(queue.counts().await.unwrap(), TaskCounts { done: 3, ..TaskCounts::default() });
}

async fn the_ticket_of_a_silent_worker_is_void(queue: &dyn Queue) {
    queue.add(&entries(0..1)).await.unwrap();
    let silent = LeaseTerms::new(Duration::ZERO, 3, LONG);
    let first = take(queue, &silent).await.unwrap();
    let second = take(queue, &terms()).await.unwrap();
    assert_eq!((&second.ticket.key, second.tries), (&first.ticket.key, 2));
    assert!(!queue.beat(&first.ticket, &terms()).await.unwrap());
    assert!(!finish(queue, &first.ticket, "late").await);
    assert!(!queue.give_back(&first.ticket).await.unwrap());
    let late = fail(queue, &first.ticket, "late", Retry::Never, &terms()).await;
    assert_eq!(late, None);
    assert_eq!(take(queue, &terms()).await, None, "the second holds it");
    assert!(finish(queue, &second.ticket, "").await);
}

async fn a_task_is_retried_and_then_fails_for_good(queue: &dyn Queue) {
    queue.add(&entries(0..2)).await.unwrap();
    for tries in 1..=3 {
        let taken = take(queue, &terms()).await.unwrap();
        assert_eq!((taken.ticket.key.as_str(), taken.tries), ("k0", tries));
        let error = format!("error {tries}");
        let state = fail(queue, &taken.ticket, &error, Retry::Later, &terms()).await;
        assert_eq!(state, Some(if tries < 3 { TaskState::Waiting } else { TaskState::Failed }));
    }
    let hopeless = take(queue, &terms()).await.unwrap();
    let state = fail(queue, &hopeless.ticket, "never", Retry::Never, &terms()).await;
    assert_eq!(state, Some(TaskState::Failed));
    let failed = in_state(queue, TaskState::Failed).await;
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
    fail(queue, &taken.ticket, "", Retry::Later, &patient).await;
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
    let failed = in_state(queue, TaskState::Failed).await;
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
    finish(queue, &done.ticket, "").await;
    let _running = take(queue, &terms()).await.unwrap();
    let keys: Vec<String> = entries(0..9).into_iter().map(|entry| entry.key).collect();
    assert_eq!(queue.forget(&keys).await.unwrap(), 2, "not the running one");
    assert_eq!(queue.add(&entries(0..3)).await.unwrap(), 2);
}

/// Adds tasks and finishes them.
async fn done(queue: &dyn Queue, keys: &[String]) {
    queue.add(&keys.iter().map(|key| entry(key)).collect::<Vec<_>>()).await.unwrap();
    while let Some(taken) = take(queue, &terms()).await {
        let outcome = format!("of {}", taken.ticket.key);
        assert!(finish(queue, &taken.ticket, &outcome).await);
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
    queue.add(&[entry("team/app waits")]).await.unwrap();
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
    let first = queue.note_tags("r", &tags(&[("b", "1"), ("a", "2")])).await.unwrap();
    assert!(first[0] < first[1]);
    let same = queue.note_tags("r", &tags(&[("a", "2"), ("b", "1")])).await.unwrap();
    assert_eq!(same, [first[1], first[0]]);
    let moved = queue.note_tags("r", &tags(&[("b", "3"), ("a", "2"), ("c", "1")])).await.unwrap();
    assert!(moved[0] > first[1] && moved[1] == first[1] && moved[2] > moved[0]);
    let other = queue.note_tags("other", &tags(&[("a", "2")])).await.unwrap();
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
    queue.retract("new").await.unwrap();
    assert_eq!(found(&["a", "c"], 9).await, ["old"]);
}

/// A task of a target, with a priority in a band.
fn to_target(name: &str, urgency: Urgency, band: u32, place: u32) -> NewTask {
    let target = name.split('-').next().unwrap().to_owned();
    let priority = band * NewTask::BAND + place;
    NewTask { target, urgency, priority, ..entry(&format!("r {name}")) }
}

async fn urgent_tasks_go_first_and_targets_stay_together(queue: &dyn Queue) {
    use Urgency::{Notified, Scanned};
    let add = async |tasks: &[NewTask]| queue.add(tasks).await.unwrap();
    add(&[
        to_target("a-far", Scanned, 1, 2),
        to_target("a-near", Scanned, 0, 1),
        to_target("b-far", Scanned, 1, 1),
        to_target("b-farther", Scanned, 1, 3),
        to_target("b-near", Scanned, 0, 1),
    ])
    .await;
    let mut one = taker("one");
    let next = async |worker: &mut Taker| {
        let taken = queue.take(worker, &terms()).await.unwrap()?;
        worker.last_target = Some(taken.target.clone());
        finish(queue, &taken.ticket, "").await;
        Some(taken.ticket.key.strip_prefix("r ").unwrap().to_owned())
    };
    // Near ones of all targets, then those of the worker's last target.
    assert_eq!(next(&mut one).await.unwrap(), "a-near");
    assert_eq!(next(&mut one).await.unwrap(), "b-near");
    assert_eq!(next(&mut one).await.unwrap(), "b-far");
    // A push goes before what scans found, wherever it is.
    add(&[to_target("c-near", Notified, 0, 1), to_target("c-far", Notified, 1, 1)]).await;
    assert_eq!(next(&mut one).await.unwrap(), "c-near");
    assert_eq!(next(&mut one).await.unwrap(), "c-far");
    assert_eq!(next(&mut one).await.unwrap(), "a-far");
    assert_eq!(next(&mut one).await.unwrap(), "b-farther");
    assert_eq!(next(&mut one).await, None);

    // Another process leaves the tasks of a target to the one that works on it.
    let mut two = taker("two");
    add(&[
        to_target("d-near", Scanned, 0, 1),
        to_target("d-far", Scanned, 1, 1),
        to_target("e-far", Scanned, 1, 9),
    ])
    .await;
    let held = queue.take(&one, &terms()).await.unwrap().unwrap();
    assert_eq!(held.ticket.key, "r d-near");
    assert_eq!(next(&mut two).await.unwrap(), "e-far");
    assert_eq!(next(&mut two).await, None, "the rest is the first one's");
    assert!(finish(queue, &held.ticket, "").await);
    assert_eq!(next(&mut two).await.unwrap(), "d-far");
    assert_counted(queue).await;
}

async fn a_waiting_task_becomes_as_urgent_as_its_reasons(queue: &dyn Queue) {
    queue.add(&[entry("r a"), entry("r b")]).await.unwrap();
    let notified = NewTask { urgency: Urgency::Notified, body: "new".into(), ..entry("r b") };
    assert_eq!(queue.add(std::slice::from_ref(&notified)).await.unwrap(), 0);
    assert_eq!(queue.add(&[entry("r b")]).await.unwrap(), 0, "a scan makes it no less urgent");
    let taken = take(queue, &terms()).await.unwrap();
    assert_eq!((taken.ticket.key.as_str(), taken.body.as_str()), ("r b", ""));
    assert_eq!(queue.add(&[notified]).await.unwrap(), 0);
    let running = in_state(queue, TaskState::Running).await;
    assert_eq!((running[0].body.as_str(), running[0].urgency), ("", Urgency::Notified));
}

async fn unwanted_tasks_are_withdrawn(queue: &dyn Queue) {
    let asked = NewTask { urgency: Urgency::Requested, ..entry("r asked") };
    queue.add(&[entry("r runs")]).await.unwrap();
    let _running = take(queue, &terms()).await.unwrap();
    queue.add(&[entry("r a"), entry("r b"), entry("other c"), asked]).await.unwrap();
    let wanted = ["r b".to_owned()];
    assert_eq!(queue.withdraw_waiting("r", &wanted).await.unwrap(), 1);
    let keys = |tasks: Vec<ListedTask>| tasks.into_iter().map(|task| task.key).collect::<Vec<_>>();
    let waiting = keys(in_state(queue, TaskState::Waiting).await);
    assert_eq!(waiting, ["r b", "other c", "r asked"]);
    assert_eq!(queue.withdraw_waiting("r", &[]).await.unwrap(), 1);
    assert_eq!(queue.counts().await.unwrap().open(), 3);
    assert_eq!(queue.add(&[entry("r a")]).await.unwrap(), 1, "wanted again");
    assert_counted(queue).await;
    // Its worker vanished; without this, other workers would take it first.
    let left = LeaseTerms::new(Duration::ZERO, 3, Duration::ZERO);
    queue.add(&[entry("s left")]).await.unwrap();
    while take(queue, &left).await.is_some_and(|taken| taken.ticket.key != "s left") {}
    assert_eq!(queue.withdraw_waiting("s", &["s left".to_owned()]).await.unwrap(), 0, "wanted");
    assert_eq!(queue.withdraw_waiting("s", &[]).await.unwrap(), 1);
    assert_counted(queue).await;
}

async fn lists_have_pages(queue: &dyn Queue) {
    queue.add(&entries(0..5)).await.unwrap();
    queue.add(&[entry("r a"), entry("r b"), entry("r c")]).await.unwrap();
    let taken = take(queue, &terms()).await.unwrap();
    finish(queue, &taken.ticket, "").await;
    let pages = async |filter: TaskFilter| {
        let (mut all, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = queue.list(&filter.clone().after(after)).await.unwrap();
            pages += 1;
            all.extend(page.tasks.into_iter().map(|task| task.key));
            after = page.next;
            if after.is_none() {
                return (pages, all.join(" "));
            }
        }
    };
    assert_eq!(pages(TaskFilter::all(3)).await, (3, "k0 k1 k2 k3 k4 r a r b r c".into()));
    let waiting = TaskFilter::all(2).state(TaskState::Waiting);
    assert_eq!(pages(waiting.clone().repository("r")).await, (2, "r a r b r c".into()));
    assert_eq!(pages(waiting.repository("k0")).await, (1, String::new()));
    let last_first = TaskFilter::all(4).repository("r").newest_first(true);
    assert_eq!(pages(last_first).await, (1, "r c r b r a".into()));
    let found = queue.tasks(&["r b".into(), "none".into(), "k0".into()]).await.unwrap();
    let found: Vec<_> = found.iter().map(|task| (task.key.as_str(), task.state)).collect();
    assert_eq!(found, [("r b", TaskState::Waiting), ("k0", TaskState::Done)]);
}

async fn a_dropped_task_stays_away_until_it_is_retried(queue: &dyn Queue) {
    queue.add(&entries(0..3)).await.unwrap();
    let running = take(queue, &terms()).await.unwrap();
    let keys = ["k0".to_owned(), "k1".to_owned(), "none".to_owned()];
    assert_eq!(queue.drop_tasks(&keys, "by a person").await.unwrap(), 2);
    assert!(!queue.beat(&running.ticket, &terms()).await.unwrap(), "its worker stops");
    assert!(!finish(queue, &running.ticket, "").await);
    assert_eq!(queue.add(&entries(0..3)).await.unwrap(), 0);
    let failed = in_state(queue, TaskState::Failed).await;
    let words = [&failed[0].outcome, &failed[1].reason];
    assert_eq!(words, ["by a person", "dropped"]);
    assert!(!failed[0].is_transient);
    assert_eq!(queue.retry(&keys[1..]).await.unwrap(), 1);
    assert_eq!(take(queue, &terms()).await.unwrap().ticket.key, "k1");
    assert_counted(queue).await;
}

async fn a_paused_queue_gives_no_task(queue: &dyn Queue) {
    queue.add(&entries(0..1)).await.unwrap();
    assert_eq!(queue.paused().await.unwrap(), None);
    assert!(!queue.resume().await.unwrap());
    queue.pause("ann", "upgrade").await.unwrap();
    queue.pause("bob", "upgrade of the registry").await.unwrap();
    let pause = queue.paused().await.unwrap().unwrap();
    assert_eq!([&pause.who, &pause.reason], ["bob", "upgrade of the registry"]);
    assert!(pause.since_ms > 1_600_000_000_000);
    assert_eq!(take(queue, &terms()).await, None);
    assert_eq!(queue.counts().await.unwrap().waiting, 1);
    assert!(queue.resume().await.unwrap());
    assert!(take(queue, &terms()).await.is_some());
}

async fn requested_pairs_go_first_and_are_remembered(queue: &dyn Queue) {
    queue.add(&[NewTask { urgency: Urgency::Notified, ..entry("r pushed") }]).await.unwrap();
    let pair = |base: &str| RequestedPair {
        repository: "r".into(),
        base: base.into(),
        target: "t".into(),
        platform: "linux/amd64".into(),
        ..RequestedPair::default()
    };
    let task = |base: &str| entry(&format!("r {base} t"));
    let asked = queue.request(&pair("a"), &task("a")).await.unwrap();
    assert_eq!((asked.state, asked.urgency), (TaskState::Waiting, Urgency::Requested));
    queue.request(&pair("b"), &task("b")).await.unwrap();
    queue.request(&pair("a"), &task("a")).await.unwrap();
    assert_eq!(take(queue, &terms()).await.unwrap().ticket.key, "r a t");
    let again = queue.request(&pair("a"), &task("a")).await.unwrap();
    assert_eq!(again.state, TaskState::Running, "the state of a pair is that of its task");
    let pairs = queue.requested("r", 9).await.unwrap();
    let seen: Vec<_> = pairs.iter().map(|pair| (pair.base.as_str(), pair.requests)).collect();
    assert_eq!(seen, [("a", 3), ("b", 1)]);
    assert!(pairs[0].last_ms >= pairs[1].last_ms && pairs[0].platform == "linux/amd64");
    assert_eq!(queue.requested("r", 1).await.unwrap().len(), 1);
    assert_eq!(queue.requested("other", 9).await.unwrap(), []);
    for number in 0..MAX_PAIRS + 2 {
        queue.request(&pair(&format!("{number}")), &task("a")).await.unwrap();
    }
    let pairs = queue.requested("r", u32::MAX).await.unwrap();
    assert_eq!(pairs.len(), MAX_PAIRS as usize);
    assert!(pairs.iter().all(|pair| pair.base != "a" && pair.base != "0"), "the oldest go");
    assert_counted(queue).await;
}

async fn savings_are_summed_by_day(queue: &dyn Queue) {
    queue.add(&entries(0..3)).await.unwrap();
    for bytes in [0, 5, 7] {
        let taken = take(queue, &terms()).await.unwrap();
        let (is_published, outcome) = (bytes > 0, String::new());
        let end = TaskEnd { outcome, is_published, delta_bytes: bytes, saved_bytes: 10 * bytes };
        assert!(queue.finish(&taken.ticket, &end).await.unwrap());
        assert!(!queue.finish(&taken.ticket, &end).await.unwrap(), "not counted twice");
    }
    let days = queue.days(9).await.unwrap();
    // Midnight may be in between.
    assert!((1..=2).contains(&days.len()) && days[0].day > 20_000, "{days:?}");
    let sum = |of: fn(&DaySavings) -> u64| days.iter().map(of).sum::<u64>();
    assert_eq!(
        [sum(|day| day.published), sum(|day| day.delta_bytes), sum(|day| day.saved_bytes)],
        [2, 12, 120]
    );
}

async fn what_a_scan_found_is_remembered(queue: &dyn Queue) {
    let tags = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(tag, digest)| (tag.to_string(), digest.to_string())).collect()
    };
    queue.note_tags("r", &tags(&[("v1", "d1"), ("v2", "d2"), ("B", "d3")])).await.unwrap();
    queue.note_tags("s", &tags(&[("v1", "d1")])).await.unwrap();
    let found = queue.tags("r").await.unwrap();
    let found: Vec<_> =
        found.iter().map(|record| (record.tag.as_str(), record.digest.as_str())).collect();
    assert_eq!(found, [("B", "d3"), ("v1", "d1"), ("v2", "d2")]);
    queue.retain_tags("r", &["v2".to_owned(), "v9".to_owned()]).await.unwrap();
    assert_eq!(queue.tags("r").await.unwrap().len(), 1);
    assert_eq!(queue.tags("s").await.unwrap().len(), 1);

    let image = DocumentRecord {
        digest: "d1".into(),
        kind: "image".into(),
        platform: "linux/amd64".into(),
        created: Some(-5),
        children: Vec::new(),
    };
    let children = vec!["d1".to_owned(), "d4".to_owned()];
    let index = DocumentRecord { digest: "d2".into(), children, ..DocumentRecord::default() };
    queue.add_documents(&[image.clone(), index.clone()]).await.unwrap();
    queue.add_documents(&[DocumentRecord { platform: "x".into(), ..image.clone() }]).await.unwrap();
    let digests = ["d2", "d1", "none"].map(String::from);
    let mut found = queue.documents(&digests).await.unwrap();
    found.sort_by(|one, other| one.digest.cmp(&other.digest));
    assert_eq!(found, [image, index]);

    assert_eq!(queue.feature("referrers", LONG).await.unwrap(), None);
    queue.set_feature("referrers", true).await.unwrap();
    queue.set_feature("referrers", false).await.unwrap();
    assert_eq!(queue.feature("referrers", LONG).await.unwrap(), Some(false));
}

async fn repositories_that_change_again_are_busy(queue: &dyn Queue) {
    let note = async |repository: &str, tag: &str, digest: &str| {
        // Records of one millisecond are one.
        tokio::time::sleep(Duration::from_millis(5)).await;
        queue.note_tags(repository, &[(tag.into(), digest.into())]).await.unwrap();
    };
    let two = [("v1", "d1"), ("v2", "d2")].map(|(tag, digest)| (tag.to_owned(), digest.to_owned()));
    for repository in ["r", "s", "t"] {
        queue.note_tags(repository, &two).await.unwrap();
    }
    let changed = async |limit: u32| queue.changed_repositories(LONG, limit).await.unwrap();
    assert_eq!(changed(9).await, [""; 0], "found for the first time");
    note("s", "v2", "d2").await;
    assert_eq!(changed(9).await, [""; 0], "the same");
    note("s", "v3", "d3").await;
    note("r", "v2", "d4").await;
    assert_eq!(changed(9).await, ["r", "s"], "the latest first");
    assert_eq!(changed(1).await, ["r"]);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let past = queue.changed_repositories(Duration::from_millis(1), 9).await.unwrap();
    assert_eq!(past, [""; 0], "long ago");
}

async fn one_of_several_callers_claims_a_thing(queue: &dyn Queue) {
    let claims = [(); 3].map(|()| queue.claim("thing", LONG));
    let mut claimed = 0;
    for claim in claims {
        claimed += u32::from(claim.await.unwrap());
    }
    assert_eq!(claimed, 1);
    assert!(queue.claim("other", LONG).await.unwrap());
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(!queue.claim("thing", LONG).await.unwrap());
    assert!(queue.claim("thing", Duration::from_millis(2)).await.unwrap());
    assert!(!queue.claim("thing", LONG).await.unwrap(), "claimed again");
}

async fn one_process_scans_and_another_continues(queue: &dyn Queue) {
    let hold = async |holder: &str, lease: Duration, interval: Duration| {
        queue.hold_scan(holder, lease, interval).await.unwrap().map(|turn| turn.cursor)
    };
    assert_eq!(hold("a", LONG, LONG).await.as_deref(), Some(""));
    assert_eq!(hold("b", LONG, LONG).await, None, "the first one scans");
    assert!(queue.save_scan("a", "team/app").await.unwrap());
    assert!(!queue.save_scan("b", "x").await.unwrap());
    assert_eq!(hold("a", Duration::ZERO, LONG).await.as_deref(), Some("team/app"), "renewed");
    // The first one vanishes.
    assert_eq!(hold("b", LONG, LONG).await.as_deref(), Some("team/app"));
    assert!(!queue.save_scan("a", "team/base").await.unwrap());
    // The second one is asked to stop.
    queue.end_scan("b", false).await.unwrap();
    assert_eq!(hold("c", LONG, LONG).await.as_deref(), Some("team/app"));
    queue.end_scan("c", true).await.unwrap();
    assert_eq!(hold("a", LONG, LONG).await, None, "the next one is not due");
    assert_eq!(hold("a", LONG, Duration::ZERO).await.as_deref(), Some(""), "from the beginning");
}

/// Each registry of a database has tasks of its own.
async fn registries_share_nothing(one: &dyn Queue, other: &dyn Queue) {
    let key = ["r a".to_owned()];
    one.add(&[entry("r a"), entry("r b")]).await.unwrap();
    one.offer("place", &key).await.unwrap();
    one.note_tags("r", &[("v1".into(), "d".into())]).await.unwrap();
    assert_eq!(take(other, &terms()).await, None);
    assert_eq!(other.counts().await.unwrap(), TaskCounts::default());
    assert_eq!(other.forget(&key).await.unwrap(), 0);
    assert_eq!(other.drop_tasks(&key, "").await.unwrap(), 0);
    assert_eq!(other.withdraw_waiting("r", &[]).await.unwrap(), 0);
    assert_eq!(other.retry_failed().await.unwrap(), 0);
    assert_eq!(other.list(&TaskFilter::all(9)).await.unwrap(), TaskPage::default());
    assert_eq!(other.tags("r").await.unwrap(), []);
    assert_eq!(other.offers(&key, 9).await.unwrap(), [""; 0]);
    other.pause("w", "").await.unwrap();
    assert_eq!(other.add(&[entry("r a")]).await.unwrap(), 1, "a task of its own");
    assert_eq!(take(other, &terms()).await, None);
    let taken = take(one, &terms()).await.unwrap();
    assert!(!other.beat(&taken.ticket, &terms()).await.unwrap());
    assert!(!finish(other, &taken.ticket, "").await);
    assert!(finish(one, &taken.ticket, "").await);
    assert_counted(one).await;
    assert_counted(other).await;
}

/// `later` lets a day pass.
pub(super) async fn tasks_that_may_succeed_later_wait_again_after_a_day(
    queue: &dyn Queue,
    later: impl AsyncFn(),
) {
    let once = LeaseTerms::new(LONG, 1, Duration::ZERO);
    queue.add(&entries(0..2)).await.unwrap();
    for retry in [Retry::Later, Retry::Never] {
        let taken = take(queue, &once).await.unwrap();
        let state = fail(queue, &taken.ticket, "down", retry, &once).await;
        assert_eq!(state, Some(TaskState::Failed));
    }
    let failed = in_state(queue, TaskState::Failed).await;
    assert_eq!((failed[0].is_transient, failed[1].is_transient), (true, false));
    assert_eq!(failed[0].reason, "word");
    assert_eq!(take(queue, &once).await, None);
    later().await;
    let taken = take(queue, &once).await.unwrap();
    assert_eq!((taken.ticket.key.as_str(), taken.tries), ("k0", 1));
    assert_eq!(take(queue, &once).await, None, "the other one would fail again");
    assert_counted(queue).await;
}

async fn idle_workers_know_when_to_look_again(queue: &dyn Queue) {
    assert_eq!(queue.next_due().await.unwrap(), None);
    assert_eq!(queue.oldest_waiting().await.unwrap(), None);
    queue.add(&entries(0..1)).await.unwrap();
    assert_eq!(queue.next_due().await.unwrap(), Some(Duration::ZERO));
    assert!(queue.oldest_waiting().await.unwrap().unwrap() < LONG);
    let patient = LeaseTerms::new(LONG, 3, 2 * LONG);
    let taken = take(queue, &patient).await.unwrap();
    assert_eq!(queue.oldest_waiting().await.unwrap(), None);
    let due = queue.next_due().await.unwrap().unwrap();
    assert!(due > LONG / 2 && due <= LONG, "the end of the lease: {due:?}");
    fail(queue, &taken.ticket, "", Retry::Later, &patient).await;
    let due = queue.next_due().await.unwrap().unwrap();
    assert!(due > LONG && due <= 2 * LONG, "the retry: {due:?}");
}

async fn many_workers_lose_and_double_nothing(queues: Vec<Arc<dyn Queue>>) {
    queues[0].add(&entries(0..50)).await.unwrap();
    let mut workers = tokio::task::JoinSet::new();
    for queue in queues {
        workers.spawn(async move {
            let mut mine = Vec::new();
            while let Some(taken) = take(&*queue, &terms()).await {
                tokio::task::yield_now().await;
                assert!(finish(&*queue, &taken.ticket, "").await);
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
    urgent_tasks_go_first_and_targets_stay_together(&*fresh(12).await).await;
    a_waiting_task_becomes_as_urgent_as_its_reasons(&*fresh(13).await).await;
    unwanted_tasks_are_withdrawn(&*fresh(14).await).await;
    lists_have_pages(&*fresh(15).await).await;
    a_dropped_task_stays_away_until_it_is_retried(&*fresh(16).await).await;
    a_paused_queue_gives_no_task(&*fresh(17).await).await;
    requested_pairs_go_first_and_are_remembered(&*fresh(18).await).await;
    savings_are_summed_by_day(&*fresh(19).await).await;
    what_a_scan_found_is_remembered(&*fresh(20).await).await;
    one_process_scans_and_another_continues(&*fresh(21).await).await;
    idle_workers_know_when_to_look_again(&*fresh(22).await).await;
    repositories_that_change_again_are_busy(&*fresh(23).await).await;
    one_of_several_callers_claims_a_thing(&*fresh(24).await).await;
    let shared = vec![fresh(8).await, fresh(8).await, fresh(8).await];
    many_workers_lose_and_double_nothing(shared).await;
    let reopened = fresh(8).await.counts().await.unwrap();
    assert_eq!(reopened, TaskCounts { done: 50, ..TaskCounts::default() }, "as before");
}

/// Tables and tasks as version 1 of a queue in a file left them.
const OLD_FILE: &str = "
    CREATE TABLE works (
        ordinal INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
        state TEXT NOT NULL, outcome TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
        turn INTEGER NOT NULL DEFAULT 0, until INTEGER NOT NULL DEFAULT 0,
        worker TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX works_by_state ON works (state, ordinal);
    CREATE TABLE seen (
        repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL,
        ordinal INTEGER NOT NULL, PRIMARY KEY (repository, tag)
    ) STRICT;
    CREATE INDEX seen_by_ordinal ON seen (ordinal);
    CREATE TABLE offers (
        ordinal INTEGER PRIMARY KEY AUTOINCREMENT, thing TEXT NOT NULL, place TEXT NOT NULL,
        UNIQUE (thing, place)
    ) STRICT;
    CREATE INDEX offers_by_place ON offers (place);
    PRAGMA user_version = 1;";
/// The same in a server.
const OLD_TABLES: &str = "
    CREATE TABLE imgdelta_queue (version INTEGER NOT NULL);
    INSERT INTO imgdelta_queue VALUES (1);
    CREATE TABLE imgdelta_works (
        ordinal BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
        outcome TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
        turn BIGINT NOT NULL DEFAULT 0, until TIMESTAMPTZ NOT NULL DEFAULT to_timestamp(0),
        worker TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX imgdelta_works_by_state ON imgdelta_works (state, ordinal);
    CREATE INDEX imgdelta_works_done ON imgdelta_works (key COLLATE \"C\") WHERE state = 'done';
    CREATE TABLE imgdelta_seen (
        repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL,
        ordinal BIGINT GENERATED BY DEFAULT AS IDENTITY, PRIMARY KEY (repository, tag)
    );
    CREATE TABLE imgdelta_offers (
        ordinal BIGINT GENERATED ALWAYS AS IDENTITY, thing TEXT NOT NULL, place TEXT NOT NULL,
        PRIMARY KEY (thing, place)
    );
    CREATE INDEX imgdelta_offers_by_place ON imgdelta_offers (place);";
/// Rows of both, with `works`, `seen` and `offers` as the names of the tables.
const OLD_ROWS: [&str; 3] = [
    "INSERT INTO works (key, body, state, outcome, tries, turn, worker) VALUES
        ('team/app b1 t1', 'done', 'done', 'published', 1, 1, 'w'),
        ('team/app b2 t1', 'failed', 'failed', 'broken', 5, 5, 'w'),
        ('team/app b3 t1', 'runs', 'running', '', 1, 1, 'w'),
        ('odd', 'waits', 'waiting', '', 0, 0, '')",
    "INSERT INTO seen (repository, tag, digest, ordinal) VALUES
        ('team/app', 'v1', 't1', 7), ('team/app', 'v2', 't2', 9)",
    "INSERT INTO offers (thing, place) VALUES ('thing', 'old'), ('thing', 'new')",
];

/// Checks what became of [`OLD_ROWS`].
async fn the_content_of_version_1_is_there(queue: &dyn Queue) {
    let counts = TaskCounts { waiting: 1, running: 1, done: 1, failed: 1 };
    assert_eq!(queue.counts().await.unwrap(), counts);
    assert_counted(queue).await;
    assert_eq!(queue.done_in("team/app", "", 9).await.unwrap(), ["team/app b1 t1"]);
    let key = ["team/app b1 t1".to_owned()];
    assert_eq!(queue.outcomes(&key).await.unwrap()[&key[0]], "published");
    let failed = in_state(queue, TaskState::Failed).await;
    assert_eq!((failed[0].outcome.as_str(), failed[0].tries), ("broken", 5));
    let taken = take(queue, &terms()).await.unwrap();
    assert_eq!((taken.body.as_str(), taken.target.as_str(), taken.tries), ("runs", "t1", 2));
    let taken = take(queue, &terms()).await.unwrap();
    assert_eq!((taken.body.as_str(), taken.target.as_str()), ("waits", ""));
    let page = queue.list(&TaskFilter::all(9).repository("team/app")).await.unwrap();
    assert_eq!(page.tasks.len(), 3);
    assert_eq!(queue.offers(&["thing".to_owned()], 9).await.unwrap(), ["new", "old"]);
    let tags = [("v1".to_owned(), "t1".to_owned()), ("v3".to_owned(), "t3".to_owned())];
    let numbers = queue.note_tags("team/app", &tags).await.unwrap();
    assert!(numbers[0] == 7 && numbers[1] > 9, "{numbers:?}");
    queue.offer("newest", &["thing".to_owned()]).await.unwrap();
    assert_eq!(queue.offers(&["thing".to_owned()], 1).await.unwrap(), ["newest"]);
    assert_eq!(queue.add(&[entry("team/app b9 t9")]).await.unwrap(), 1);
}

const HOST: &str = "registry.example";

#[tokio::test]
async fn in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let open =
        |n: u32, host: &str| SqliteQueue::open(&dir.path().join(format!("{n}.db")), host).unwrap();
    suite(async |n: u32| Arc::new(open(n, HOST)) as Arc<dyn Queue>).await;
    registries_share_nothing(&open(90, "a"), &open(90, "b")).await;
}

#[tokio::test]
async fn a_file_of_version_1_is_migrated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(OLD_FILE).unwrap();
    for rows in OLD_ROWS {
        old.execute_batch(rows).unwrap();
    }
    drop(old);
    let queue = SqliteQueue::open(&path, HOST).unwrap();
    // Another registry finds nothing to take over.
    let other = SqliteQueue::open(&path, "other.example").unwrap();
    assert_eq!(other.counts().await.unwrap(), TaskCounts::default());
    the_content_of_version_1_is_there(&queue).await;
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.db");
    drop(SqliteQueue::open(&path, HOST).unwrap());
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 3).unwrap();
    let error = SqliteQueue::open(&path, HOST).unwrap_err().to_string();
    assert!(error.contains("of version 3; this program knows 2"), "{error}");
    std::fs::write(dir.path().join("no.db"), "not a database").unwrap();
    assert!(SqliteQueue::open(&dir.path().join("no.db"), HOST).is_err());
}

#[tokio::test]
async fn in_a_server() {
    let Some(server) = PostgresServer::start() else { return };
    let connect = async |database: &str, password: Option<&Secret>, host: &str| {
        let server = server.options(database).parse().unwrap();
        PostgresQueue::connect(&server, &[], password, host).await.unwrap()
    };
    let admin = connect("postgres", None, HOST).await;
    for n in 0..25 {
        server.database(&format!("q{n}"));
    }
    suite(async |n: u32| {
        let queue = connect(&format!("q{n}"), Some(&Secret::new("hunter2")), HOST).await;
        assert!(!format!("{queue:?}").contains("hunter2"));
        Arc::new(queue) as Arc<dyn Queue>
    })
    .await;
    server.database("two");
    registries_share_nothing(&connect("two", None, "a").await, &connect("two", None, "b").await)
        .await;
    let queue = connect("q23", None, HOST).await;
    tasks_that_may_succeed_later_wait_again_after_a_day(&queue, async || {
        let day = "UPDATE imgdelta_tasks SET until = until - interval '1 day'";
        queue.query(day, &[]).await.unwrap();
    })
    .await;

    // The server ends a connection; a later statement opens another.
    let queue = connect("q0", None, HOST).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'q0'";
    admin.query(end, &[]).await.unwrap();
    let first = queue.counts().await;
    assert_eq!(queue.counts().await.unwrap().done, 3, "after {first:?}");
}

#[tokio::test]
async fn tables_of_version_1_are_migrated() {
    let Some(server) = PostgresServer::start() else { return };
    let options: PostgresOptions = server.database("old").parse().unwrap();
    let (client, connection) = options.options().connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(OLD_TABLES).await.unwrap();
    for rows in OLD_ROWS {
        client.batch_execute(&rows.replacen("INTO ", "INTO imgdelta_", 1)).await.unwrap();
    }
    // Several workers start at the same moment.
    let connect = || PostgresQueue::connect(&options, &[], None, HOST);
    let (one, two, three) = tokio::join!(connect(), connect(), connect());
    let other = PostgresQueue::connect(&options, &[], None, "other.example").await.unwrap();
    assert_eq!(other.counts().await.unwrap(), TaskCounts::default());
    drop((two.unwrap(), three.unwrap()));
    the_content_of_version_1_is_there(&one.unwrap()).await;
}

#[tokio::test]
async fn a_task_that_another_process_adds_wakes_those_who_wait() {
    let Some(server) = PostgresServer::start() else { return };
    let options: PostgresOptions = server.database("q").parse().unwrap();
    let one = PostgresQueue::connect(&options, &[], None, HOST).await.unwrap();
    let two = PostgresQueue::connect(&options, &[], None, HOST).await.unwrap();
    let other = PostgresQueue::connect(&options, &[], None, "other.example").await.unwrap();
    // Connecting wakes, too, since tasks may have been added before.
    one.added(LONG).await.unwrap();
    other.added(LONG).await.unwrap();
    let mut waiting = std::pin::pin!(other.added(LONG));
    let tasks = entries(0..1);
    let (added, woken) = tokio::join!(two.add(&tasks), one.added(LONG));
    assert_eq!(added.unwrap(), 1);
    woken.unwrap();
    let is_waiting = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err();
    assert!(is_waiting, "a task of another registry");
}
