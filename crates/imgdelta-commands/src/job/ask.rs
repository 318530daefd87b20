//! The commands `job status`, `tasks`, `retry`, `drop`, `pause` and `resume`.
//!
//! They ask the queue alone, and work while the registry is away.

use super::{configuration, threads};
use crate::{
    args::{CommonOptions, DropArgs, JobAsk, PauseArgs, RetryArgs, TasksArgs},
    environment, output,
};
use imgdelta::Result;
use imgdelta_job::{QueueAdmin, admin::TaskChoice, queue::TaskState};
use serde_json::json;
use std::process::ExitCode;

/// Runs `job status`.
pub fn status(ask: &JobAsk, common: &CommonOptions) -> Result<ExitCode> {
    let status = with_queue(ask, common, async |admin| admin.status().await)?;
    output::print_result(|| status.json(), &status, ask.json, false)
}

/// Runs `job tasks`.
pub fn tasks(args: &TasksArgs, common: &CommonOptions) -> Result<ExitCode> {
    let list = with_queue(&args.ask, common, async |admin| admin.tasks(&choice(args)).await)?;
    output::print_result(|| list.json(), &list, args.ask.json, false)
}

/// Runs `job retry`.
pub fn retry(args: &RetryArgs, common: &CommonOptions) -> Result<ExitCode> {
    let count = with_queue(&args.ask, common, async |admin| {
        if args.failed { admin.retry_failed().await } else { admin.retry(&args.tasks).await }
    })?;
    changed("retried", count, &args.ask, common)
}

/// Runs `job drop`.
pub fn drop(args: &DropArgs, common: &CommonOptions) -> Result<ExitCode> {
    let person = environment::person();
    let count =
        with_queue(&args.ask, common, async |admin| admin.drop_tasks(&args.tasks, &person).await)?;
    changed("dropped", count, &args.ask, common)
}

/// Runs `job pause`.
pub fn pause(args: &PauseArgs, common: &CommonOptions) -> Result<ExitCode> {
    let person = environment::person();
    with_queue(&args.ask, common, async |admin| admin.pause(&person, &args.reason).await)?;
    changed("paused", 1, &args.ask, common)
}

/// Runs `job resume`.
pub fn resume(ask: &JobAsk, common: &CommonOptions) -> Result<ExitCode> {
    let was_paused = with_queue(ask, common, async |admin| admin.resume().await)?;
    changed("resumed", u64::from(was_paused), ask, common)
}

/// Opens the queue of a configuration for one question.
fn with_queue<Answer>(
    ask: &JobAsk,
    common: &CommonOptions,
    question: impl AsyncFnOnce(&QueueAdmin) -> Result<Answer>,
) -> Result<Answer> {
    let config = configuration(&ask.config, common)?;
    let threads = threads()?;
    let outcome = threads.block_on(async {
        let admin = QueueAdmin::open(&config).await?;
        question(&admin).await
    });
    // A connection that does not close holds nothing up.
    threads.shutdown_background();
    outcome
}

fn choice(args: &TasksArgs) -> TaskChoice {
    let states = [
        (args.failed, TaskState::Failed),
        (args.waiting, TaskState::Waiting),
        (args.running, TaskState::Running),
        (args.done, TaskState::Done),
    ];
    TaskChoice {
        state: states.into_iter().find(|(is_asked, _)| *is_asked).map(|(_, state)| state),
        repository: args.repository.clone(),
        limit: args.max,
    }
}

/// Prints what an order changed.
fn changed(change: &str, count: u64, ask: &JobAsk, common: &CommonOptions) -> Result<ExitCode> {
    let text = match (change, count) {
        ("paused", _) => "paused: workers finish their tasks, and take no others\n".to_owned(),
        ("resumed", 0) => "was not paused\n".to_owned(),
        ("resumed", _) => "resumed: workers take tasks again\n".to_owned(),
        (change, 1) => format!("{change} 1 task\n"),
        (change, count) => format!("{change} {count} tasks\n"),
    };
    let document = || json!({"schema": SCHEMA, "change": change, "count": count});
    output::print_result(document, &text, ask.json, common.quiet)
}

/// Name and version of the document of an order.
const SCHEMA: &str = "imgdelta.job-change/1";
