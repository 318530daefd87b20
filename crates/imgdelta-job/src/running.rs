//! Running tasks of this process, and those among them that a newer version makes pointless.
//!
//! Pushes in quick succession must not wait for the deltas of the versions between. A task that no rule
//! wants any more is abandoned if it has run for less than half of the usual time, so that the newest
//! version's delta comes after 1.5 times the time of a lone push at most. After that it ends sooner than
//! it is worth to lose. Endless pushes cannot starve a repository: abandoning has a limit, which each task
//! that ends lifts. Touches no queue.

use crate::task::Task;
use imgdelta_registry::RepositoryName;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// The running tasks of a process.
#[derive(Debug, Default)]
pub(crate) struct RunningTasks(Mutex<RunningState>);

#[derive(Debug, Default)]
struct RunningState {
    tasks: HashMap<String, RunningTask>,
    repositories: HashMap<RepositoryName, RepositoryPace>,
}

#[derive(Debug)]
struct RunningTask {
    repository: RepositoryName,
    started: Instant,
    abandoned: Arc<Notify>,
}

/// The usual time of a repository's tasks, and the number of those abandoned since one ended.
#[derive(Clone, Copy, Debug, Default)]
struct RepositoryPace {
    usual: Duration,
    abandoned_tasks: u32,
}

impl RepositoryPace {
    /// Returns true if a task that nobody wants is worth less than the wait for its end.
    fn may_abandon(self, running_for: Duration) -> bool {
        self.abandoned_tasks < MAX_ABANDONED && running_for < self.usual / 2
    }
}

impl RunningTasks {
    /// Records that a task runs, until the value is dropped.
    pub fn begin(&self, task: &Task) -> RunningEntry<'_> {
        let (key, abandoned) = (task.key(), Arc::default());
        let running = RunningTask {
            repository: task.repository.clone(),
            started: Instant::now(),
            abandoned: Arc::clone(&abandoned),
        };
        self.state().tasks.insert(key.clone(), running);
        RunningEntry { tasks: self, key, abandoned }
    }

    /// Returns the keys of a repository's running tasks that are not wanted and may be abandoned.
    pub fn unwanted(&self, repository: &RepositoryName, wanted: &[String]) -> Vec<String> {
        let state = self.state();
        let pace = state.repositories.get(repository).copied().unwrap_or_default();
        let tasks = state.tasks.iter().filter(|(key, task)| {
            task.repository == *repository
                && !wanted.contains(key)
                && pace.may_abandon(task.started.elapsed())
        });
        tasks.map(|(key, _)| key.clone()).collect()
    }

    /// Ends a task, if it still runs.
    pub fn abandon(&self, key: &str) {
        let mut state = self.state();
        let Some(task) = state.tasks.get(key) else { return };
        task.abandoned.notify_one();
        let repository = task.repository.clone();
        state.repositories.entry(repository).or_default().abandoned_tasks += 1;
    }

    fn state(&self) -> MutexGuard<'_, RunningState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running task, until it is dropped.
#[derive(Debug)]
pub(crate) struct RunningEntry<'a> {
    tasks: &'a RunningTasks,
    key: String,
    abandoned: Arc<Notify>,
}

impl RunningEntry<'_> {
    /// Waits until the task is abandoned.
    pub async fn abandoned(&self) {
        self.abandoned.notified().await;
    }

    /// Records that the task made its delta.
    pub fn made(&self) {
        let mut state = self.tasks.state();
        let Some(task) = state.tasks.get(&self.key) else { return };
        let (repository, usual) = (task.repository.clone(), task.started.elapsed());
        state.repositories.insert(repository, RepositoryPace { usual, abandoned_tasks: 0 });
    }
}

impl Drop for RunningEntry<'_> {
    fn drop(&mut self) {
        self.tasks.state().tasks.remove(&self.key);
    }
}

/// Tasks of a repository that are abandoned one after another.
const MAX_ABANDONED: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, policy};

    fn task(target: u64) -> Task {
        let text = "[registry]\nhost = \"r\"\n[[rule]]\nrepositories = [\"x\"]\n";
        let config = Config::parse(text, "t").unwrap();
        let version = |number: u64| policy::Version {
            tag: format!("v{number}"),
            digest: format!("sha256:{number:064x}").parse().unwrap(),
            created: None,
            seen: number,
            images: vec![(
                "linux/amd64".parse().unwrap(),
                format!("sha256:{number:064x}").parse().unwrap(),
            )],
        };
        let versions = [version(target - 1), version(target)];
        policy::wanted_tasks(config.rule("x").unwrap(), &"x".parse().unwrap(), &versions).remove(0)
    }

    #[test]
    fn only_young_tasks_are_abandoned_and_not_for_ever() {
        let pace = |usual: u64, abandoned_tasks: u32| RepositoryPace {
            usual: Duration::from_secs(usual),
            abandoned_tasks,
        };
        assert!(pace(10, 0).may_abandon(Duration::from_secs(4)));
        assert!(!pace(10, 0).may_abandon(Duration::from_secs(5)), "half of the way");
        assert!(!pace(0, 0).may_abandon(Duration::ZERO), "nothing is known of the repository");
        assert!(pace(10, MAX_ABANDONED - 1).may_abandon(Duration::ZERO));
        assert!(!pace(10, MAX_ABANDONED).may_abandon(Duration::ZERO));
    }

    #[tokio::test]
    async fn an_unwanted_task_learns_it_and_a_wanted_one_stays() {
        let running = RunningTasks::default();
        let name: RepositoryName = "x".parse().unwrap();
        let usual = RepositoryPace { usual: Duration::from_secs(3600), abandoned_tasks: 0 };
        running.state().repositories.insert(name.clone(), usual);
        let (old, new) = (task(2), task(3));
        let (first, second) = (running.begin(&old), running.begin(&new));
        let wanted = [new.key()];
        assert_eq!(running.unwanted(&name, &wanted), [old.key()]);
        assert_eq!(running.unwanted(&"y".parse().unwrap(), &wanted), [""; 0]);
        running.abandon(&old.key());
        first.abandoned().await;
        drop(first);
        assert_eq!(running.unwanted(&name, &wanted), [""; 0]);
        assert_eq!(running.state().repositories[&name].abandoned_tasks, 1);
        second.made();
        assert_eq!(running.state().repositories[&name].abandoned_tasks, 0);
    }
}
