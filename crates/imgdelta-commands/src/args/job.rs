//! Arguments of `job`.
//!
//! Holds values only.

use clap::{ArgGroup, Args, Subcommand};
use imgdelta::image::Platform;
use imgdelta_service::setting::TimeSpan;
use std::{path::PathBuf, time::Duration};

#[derive(Args, Debug)]
pub struct JobArgs {
    #[command(subcommand)]
    pub action: JobAction,
}

impl JobArgs {
    /// True if the user asked for JSON.
    pub fn is_json(&self) -> bool {
        match &self.action {
            JobAction::Run(run) => run.json,
            JobAction::Serve(serve) => serve.json,
            JobAction::Status(ask) | JobAction::Resume(ask) => ask.json,
            JobAction::Tasks(tasks) => tasks.ask.json,
            JobAction::Retry(retry) => retry.ask.json,
            JobAction::Drop(drop) => drop.ask.json,
            JobAction::Pause(pause) => pause.ask.json,
            JobAction::Explain(explain) => explain.ask.json,
            JobAction::Want(want) => want.ask.json,
            JobAction::Ready(ready) => ready.ask.json,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum JobAction {
    /// Scan the repositories once, make the missing deltas, then exit
    Run(RunArgs),
    /// Make deltas as images are pushed, until SIGTERM
    Serve(ServeArgs),
    /// Show what waits, runs and failed, and what the deltas save
    Status(JobAsk),
    /// List tasks with their states, results and errors
    Tasks(TasksArgs),
    /// Let failed tasks wait for a worker again
    Retry(RetryArgs),
    /// End tasks for good: they count as failed, and no scan adds them again
    Drop(DropArgs),
    /// Let no worker take a task until `job resume`; running tasks are finished
    Pause(PauseArgs),
    /// End a pause
    Resume(JobAsk),
    /// Explain why a repository has its deltas: rule, versions, pairs, states, errors
    Explain(ExplainArgs),
    /// Ask for the delta from one image to another
    Want(WantArgs),
    /// Check that the deltas to an image are in the registry, for a rollout
    Ready(ReadyArgs),
}

#[derive(Args, Debug)]
pub struct RunArgs {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE", env = "IMGDELTA_JOB_CONFIG")]
    pub config: PathBuf,

    /// List the deltas to make and those to remove; change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Retry the tasks that failed for good
    #[arg(long)]
    pub retry_failed: bool,

    /// Print one JSON document per line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE", env = "IMGDELTA_JOB_CONFIG")]
    pub config: PathBuf,

    /// Print one JSON document per line for each delta
    #[arg(long)]
    pub json: bool,
}

/// A question to the job of a configuration.
#[derive(Args, Debug)]
pub struct JobAsk {
    /// The configuration of the job, a TOML file
    #[arg(long, value_name = "FILE", env = "IMGDELTA_JOB_CONFIG")]
    pub config: PathBuf,

    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("state").multiple(false))]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct TasksArgs {
    #[command(flatten)]
    pub ask: JobAsk,

    /// Only tasks that failed for good
    #[arg(long, group = "state")]
    pub failed: bool,

    /// Only tasks that wait for a worker
    #[arg(long, group = "state")]
    pub waiting: bool,

    /// Only tasks that a worker has
    #[arg(long, group = "state")]
    pub running: bool,

    /// Only tasks that are done
    #[arg(long, group = "state")]
    pub done: bool,

    /// Only tasks of this repository
    #[arg(long, value_name = "REPO")]
    pub repository: Option<String>,

    /// At most this many tasks, those that were added last
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub max: usize,
}

#[derive(Args, Debug)]
pub struct RetryArgs {
    #[command(flatten)]
    pub ask: JobAsk,

    /// Tasks, by the id in `imgdelta job tasks` or its first digits, or by their key
    #[arg(value_name = "TASK", required_unless_present = "failed", conflicts_with = "failed")]
    pub tasks: Vec<String>,

    /// All failed tasks
    #[arg(long)]
    pub failed: bool,
}

#[derive(Args, Debug)]
pub struct DropArgs {
    #[command(flatten)]
    pub ask: JobAsk,

    /// Tasks, by the id in `imgdelta job tasks` or its first digits, or by their key
    #[arg(value_name = "TASK", required = true)]
    pub tasks: Vec<String>,
}

#[derive(Args, Debug)]
pub struct PauseArgs {
    #[command(flatten)]
    pub ask: JobAsk,

    /// The reason, which `job status` shows
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

#[derive(Args, Debug)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub ask: JobAsk,

    /// The repository, or one of its tags
    #[arg(value_name = "REPO[:TAG]")]
    pub image: String,
}

#[derive(Args, Debug)]
pub struct WantArgs {
    #[command(flatten)]
    pub ask: JobAsk,

    /// The image that receivers have: REPOSITORY:TAG or REPOSITORY@DIGEST
    pub base: String,

    /// The image that receivers want, in the same repository
    pub target: String,

    /// Only this platform; by default all that both images have
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
}

#[derive(Args, Debug)]
pub struct ReadyArgs {
    #[command(flatten)]
    pub ask: JobAsk,

    /// The image that receivers will get: REPOSITORY:TAG or REPOSITORY@DIGEST
    pub image: String,

    /// Tag or digest of an image that receivers have (may be repeated); by default those of the rule,
    /// and those that receivers asked for
    #[arg(long, value_name = "TAG")]
    pub from: Vec<String>,

    /// Wait so long, such as 5m, for deltas that are being made
    #[arg(long, value_name = "TIME", value_parser = time_span)]
    pub wait: Option<Duration>,

    /// Ask for the deltas from the images of --from first
    #[arg(long, requires = "from")]
    pub want: bool,
}

/// Parses a time such as `90s`, `5m` or `1h`.
fn time_span(text: &str) -> Result<Duration, String> {
    let span: Option<TimeSpan> = TimeSpan::parse(text);
    span.map(TimeSpan::duration).ok_or_else(|| "expected a time such as 90s, 5m or 1h".to_owned())
}
