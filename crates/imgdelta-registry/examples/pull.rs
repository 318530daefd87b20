//! Pulls an image by deltas, with progress on standard error and a report of every fallback.
//!
//! `cargo run --example pull -- docker://HOST/REPOSITORY:TAG oci:DIR:OLD oci:DIR:NEW`

use imgdelta::{
    Error, Session,
    progress::{Progress, Stage},
    size::Human,
};
use imgdelta_registry::{
    ClientOptions, Credentials, Proxies, PullOptions, Registries, Trust, advice, pull::LayerSource,
};
use std::{
    env,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Prints each tenth of a stage. A service would update a metric instead.
#[derive(Default)]
struct PrintedProgress {
    total_bytes: AtomicU64,
    done_bytes: AtomicU64,
}

impl Progress for PrintedProgress {
    fn begin(&self, stage: Stage, total_bytes: u64) {
        self.done_bytes.store(0, Relaxed);
        self.total_bytes.store(total_bytes, Relaxed);
        eprintln!("{stage:?}: {}", Human(total_bytes));
    }

    fn advance(&self, bytes: u64) {
        let total = self.total_bytes.load(Relaxed).max(1);
        let before = self.done_bytes.fetch_add(bytes, Relaxed);
        let tenths = [before, before + bytes].map(|done| done.saturating_mul(10) / total);
        if tenths[0] < tenths[1] {
            eprintln!("  {} %", tenths[1] * 10);
        }
    }

    // A service returns true here to cancel the pull; it then ends with `Error::Cancelled`.
    fn is_cancelled(&self) -> bool {
        false
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [source, base, output] = &arguments[..] else {
        eprintln!("usage: pull docker://HOST/REPOSITORY:TAG BASE OUTPUT");
        return ExitCode::from(2);
    };
    match pull(source, base, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(advice) = advice(&error) {
                eprintln!("hint: {advice}");
            }
            ExitCode::FAILURE
        }
    }
}

fn pull(source: &str, base: &str, output: &str) -> Result<(), Error> {
    // The logins of docker, podman and skopeo, the machine's certificates, the user's proxies.
    let variable = |name: &str| env::var_os(name).map(PathBuf::from);
    let options = ClientOptions::default()
        .credentials(Credentials::of_user(None, None, variable))
        .trust(Trust::of_machine(Vec::new()))
        .proxies(Proxies::of_user(|name| env::var(name).ok()));
    let registries = Registries::new(options)?;
    let progress = Arc::new(PrintedProgress::default());
    let session = registries.attach(Session::new(env::temp_dir())?.progress(progress));

    let (source, base, output) = (source.parse()?, base.parse()?, output.parse()?);
    let options = PullOptions::default();
    let plan = registries.plan_pull(&session, &source, &[base], &output, &options)?;
    eprint!("{plan}");

    let report = plan.carry_out()?;
    let whole = report.layers.iter().filter(|layer| layer.source == LayerSource::Registry);
    println!(
        "{} received, {} for a plain pull; {} of {} layers are whole downloads",
        Human(report.received_bytes),
        Human(report.plain_bytes),
        whole.count(),
        report.layers.len()
    );
    // Each note is the reason for a fallback: a damaged recipe, or a delta that was skipped.
    for note in &report.notes {
        println!("note: {note}");
    }
    Ok(())
}
