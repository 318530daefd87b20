//! The commands `job want`, which asks for the delta between two images, and `job ready`, the gate of a
//! rollout.
//!
//! Waits and prints; the states are the job's.

use super::{configuration, with_job, without_registry};
use crate::{
    args::{CommonOptions, JobAsk, ReadyArgs, WantArgs},
    output,
};
use imgdelta::{Error, Reference, Result};
use imgdelta_job::pairs::{self, PairReport, PairState, image_name};
use imgdelta_registry::{ManifestReference, RepositoryName};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

/// Runs `job want`. The exit code is 1 if a delta is refused.
pub fn want(args: &WantArgs, common: &CommonOptions) -> Result<ExitCode> {
    let config = configuration(&args.ask.config, common)?;
    let host = &config.registry.host.get_ref().clone();
    let reports = with_job(config, common, async |job| {
        let (repository, base) = image(host, &args.base)?;
        let (other, target) = image(host, &args.target)?;
        if other != repository {
            let what = format!(
                "it is in the repository {other}, and {} in {repository}; a delta is for two images \
                 of one repository",
                args.base
            );
            return Err(Error::bad_input(&args.target, what));
        }
        job.want(&repository, &base, &target, args.platform.as_ref()).await
    })?;
    let is_refused = reports.iter().any(|report| report.state == PairState::Refused);
    print(&reports, &args.ask, common, !is_refused)
}

/// Runs `job ready`. The exit code is 1 if a delta is not in the registry, at the end of the wait.
pub fn ready(args: &ReadyArgs, common: &CommonOptions) -> Result<ExitCode> {
    let config = configuration(&args.ask.config, common)?;
    let host = &config.registry.host.get_ref().clone();
    let reports = with_job(config, common, async |job| {
        let (repository, target) = image(host, &args.image)?;
        let from: Vec<ManifestReference> =
            args.from.iter().map(|from| image_name(from)).collect::<Result<_>>()?;
        if args.want {
            for base in &from {
                job.want(&repository, base, &target, None).await?;
            }
        }
        let started = Instant::now();
        // A scan adds the deltas of rules; for one that nobody asked for there is nothing to wait.
        let may_change =
            |state: PairState| state.is_open() || (from.is_empty() && state == PairState::Absent);
        loop {
            let reports = job.readiness(&repository, &target, &from).await?;
            let rest = args.wait.unwrap_or_default().saturating_sub(started.elapsed());
            if rest.is_zero() || !reports.iter().any(|report| may_change(report.state)) {
                return Ok(reports);
            }
            tokio::time::sleep(rest.min(INTERVAL)).await;
        }
    })?;
    print(&reports, &args.ask, common, pairs::is_ready(&reports))
}

/// Parses `REPOSITORY:TAG` or `REPOSITORY@DIGEST` of the job's registry, which may be in front, as in
/// commands that pull.
fn image(host: &str, text: &str) -> Result<(RepositoryName, ManifestReference)> {
    let name = without_registry(host, text)?;
    let is_tagged = name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
    match format!("docker://{host}/{name}").parse()? {
        Reference::Registry(reference) if is_tagged => {
            let image = ManifestReference::from(&reference);
            Ok((reference.repository, image))
        }
        _ => Err(Error::bad_input(text, "expected REPOSITORY:TAG or REPOSITORY@DIGEST")),
    }
}

/// Prints one line for each pair, or one document.
fn print(
    reports: &[PairReport],
    ask: &JobAsk,
    common: &CommonOptions,
    is_success: bool,
) -> Result<ExitCode> {
    let mut text = String::new();
    for report in reports {
        text.push_str(&report.to_string());
        text.push('\n');
    }
    if reports.is_empty() {
        text.push_str("no delta to this image is wanted\n");
    }
    output::print_result(|| pairs::document(reports), &text, ask.json, common.quiet)?;
    Ok(ExitCode::from(u8::from(!is_success)))
}

/// Interval of questions to queue and registry.
const INTERVAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_tag_or_digest_of_the_registry_of_the_job() {
        let parsed =
            |text: &str| image("r.test:5000", text).map(|(name, image)| format!("{name} {image}"));
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, expected) in [
            ("team/app:v1".to_owned(), "team/app v1".to_owned()),
            ("docker://r.test:5000/team/app:v1".to_owned(), "team/app v1".to_owned()),
            (format!("team/app@{digest}"), format!("team/app {digest}")),
        ] {
            assert_eq!(parsed(&text).unwrap(), expected);
        }
        for (text, part) in [
            (
                "docker://other.test/team/app:v1",
                "the registry of this configuration is r.test:5000",
            ),
            ("team/app", "expected REPOSITORY:TAG or REPOSITORY@DIGEST"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
