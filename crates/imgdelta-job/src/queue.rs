//! Works that wait, are being done, are done, or were set aside: kept where a kill loses none.
//!
//! Knows no image: a work is a key and a text. Whoever takes one holds a ticket for as long as it
//! keeps saying so; a ticket that others have taken over since is good for nothing. One suite of
//! tests runs over every kind of queue.

mod postgres;
mod sqlite;

pub use postgres::{Postgres, advice};
pub use sqlite::Sqlite;

use imgdelta_core::Result;
use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, time::Duration};

/// What a queue answers in its own time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Where works wait. All operations are whole or not at all, also when the process is killed.
pub trait Queue: fmt::Debug + Send + Sync {
    /// Adds works that are not known yet, whatever became of them; returns how many those were.
    fn add<'a>(&'a self, works: &'a [Entry]) -> Answer<'a, u64>;

    /// Takes the work that waits longest, or one whose worker went silent. Sets aside what was
    /// begun too often.
    fn take<'a>(&'a self, worker: &'a str, terms: &'a Terms) -> Answer<'a, Option<Taken>>;

    /// Says that a work is still being done; `false` if it is others' by now.
    fn beat<'a>(&'a self, ticket: &'a Ticket, terms: &'a Terms) -> Answer<'a, bool>;

    /// Says that a work is done, and what came of it; `false` if it is others' by now.
    fn finish<'a>(&'a self, ticket: &'a Ticket, outcome: &'a str) -> Answer<'a, bool>;

    /// Says that a work failed. It waits for its next try, or is set aside if there is no hope or
    /// no try left; returns which, or `None` if it is others' by now.
    fn fail<'a>(
        &'a self,
        ticket: &'a Ticket,
        error: &'a str,
        hope: Hope,
        terms: &'a Terms,
    ) -> Answer<'a, Option<State>>;

    /// Gives a work back as if it had not been taken.
    fn give_back<'a>(&'a self, ticket: &'a Ticket) -> Answer<'a, bool>;

    /// Counts the works.
    fn counts(&self) -> Answer<'_, Counts>;

    /// Returns the works in a state, in the order in which they came, and no more than `most`.
    fn list(&self, state: State, most: u32) -> Answer<'_, Vec<Line>>;

    /// Returns what came of those of some works that are done, by key.
    fn outcomes<'a>(&'a self, keys: &'a [String]) -> Answer<'a, BTreeMap<String, String>>;

    /// Returns the keys of done works of a repository, those that begin with its name and a space:
    /// in the order of their bytes, from behind the key `after`, and no more than `most`. Fewer
    /// are the last.
    fn done_in<'a>(
        &'a self,
        repository: &'a str,
        after: &'a str,
        most: u32,
    ) -> Answer<'a, Vec<String>>;

    /// Lets all that were set aside wait again; returns how many.
    fn retry_failed(&self) -> Answer<'_, u64>;

    /// Forgets works that nobody is doing, so that they can be added again; returns how many.
    fn forget<'a>(&'a self, keys: &'a [String]) -> Answer<'a, u64>;

    /// Returns a number for each tag that grows with every tag that is new or names something new.
    fn seen<'a>(
        &'a self,
        repository: &'a str,
        tags: &'a [(String, String)],
    ) -> Answer<'a, Vec<u64>>;

    /// Remembers that things are to be had at a place.
    fn offer<'a>(&'a self, place: &'a str, things: &'a [String]) -> Answer<'a, ()>;

    /// Returns where any of some things are to be had: the place offered last first, and no more
    /// than `most`.
    fn offers<'a>(&'a self, things: &'a [String], most: u32) -> Answer<'a, Vec<String>>;

    /// Forgets a place.
    fn withdraw<'a>(&'a self, place: &'a str) -> Answer<'a, ()>;
}

/// A work to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What tells it from others.
    pub key: String,
    /// All else.
    pub body: String,
}

/// How works are handed out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Terms {
    /// How long a worker may be silent.
    pub lease: Duration,
    /// How often a work is begun.
    pub tries: u32,
    /// How long a failed work waits, doubled each time.
    pub pause: Duration,
}

impl Terms {
    /// Makes terms.
    pub fn new(lease: Duration, tries: u32, pause: Duration) -> Self {
        Self { lease, tries, pause }
    }

    /// Returns how long a work waits that failed at its `tries`th try.
    fn wait(&self, tries: u32) -> Duration {
        let doubled = 1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        self.pause.saturating_mul(doubled).min(LONGEST_WAIT)
    }
}

/// A work that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What it is held by.
    pub ticket: Ticket,
    /// What was added.
    pub body: String,
    /// How often it was begun, this time included.
    pub tries: u32,
}

/// The right to say what became of a work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The work.
    pub key: String,
    /// How often it had been handed out then.
    turn: i64,
}

/// Whether the same may go well another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hope {
    /// A registry or a disk may be better later.
    Later,
    /// What was tried will fail again.
    None,
}

/// Where a work stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody does it.
    Waiting,
    /// Somebody does it.
    Running,
    /// It is done.
    Done,
    /// It was set aside.
    Failed,
}

impl State {
    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// How many works stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nobody does them.
    pub waiting: u64,
    /// Somebody does them.
    pub running: u64,
    /// They are done.
    pub done: u64,
    /// They were set aside.
    pub failed: u64,
}

impl Counts {
    fn set(&mut self, word: &str, count: u64) {
        match word {
            "waiting" => self.waiting = count,
            "running" => self.running = count,
            "done" => self.done = count,
            _ => self.failed = count,
        }
    }

    /// Returns how many are still to be done.
    pub fn open(&self) -> u64 {
        self.waiting + self.running
    }
}

/// A work as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What tells it from others.
    pub key: String,
    /// All else.
    pub body: String,
    /// What came of it, or why not.
    pub outcome: String,
    /// How often it was begun.
    pub tries: u32,
}

/// Between which keys those of a repository lie: both in bytes, neither one of them.
fn bounds(repository: &str) -> (String, String) {
    // What follows a space.
    (format!("{repository} "), format!("{repository}!"))
}

/// No registry is down so long that a day more helps.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests;
