//! The commands `apply`, `verify` and `inspect`.
//!
//! Contains no decoding.

use crate::{
    args::{self, CommonOptions, DeltaArgs},
    destination,
    display::{self, TerminalProgress},
    exit::Failure,
    output, session,
};
use imgdelta::{
    Error, MissingLayer, Reference, Session,
    apply::ApplyReport,
    delta::{Delta, Inspection},
    image::Image,
    path::escaped,
};
use imgdelta_registry::Registries;
use std::{process::ExitCode, sync::Arc};

/// Runs `apply`.
pub fn apply(args: &args::ApplyArgs, common: &CommonOptions) -> Result<ExitCode, Failure> {
    let progress = display::progress(common.quiet)?;
    let opened = open(&args.delta, Some(&args.output), common, &progress)?;
    let sink = destination::sink(&args.output, &opened.registries, &opened.session)?;
    let ApplyInputs { session, deltas, base, .. } = &opened;
    let applied = session
        .apply_chain_to(deltas, base, sink, args.layers.into())
        .map_err(|error| opened.explained(error))?;
    progress.finish();
    let printed = output::print_with_digest(&args.digest, applied.manifest.as_ref(), || {
        print(&applied, &args.delta, common)
    });
    Ok(printed?)
}

/// Runs `verify`.
pub fn verify(args: &args::VerifyArgs, common: &CommonOptions) -> Result<ExitCode, Failure> {
    let progress = display::progress(common.quiet)?;
    let opened = open(&args.delta, None, common, &progress)?;
    let applied = opened.session.verify_chain(&opened.deltas, &opened.base);
    let applied = applied.map_err(|error| opened.explained(error))?;
    progress.finish();
    Ok(print(&applied, &args.delta, common)?)
}

/// Runs `inspect`.
pub fn inspect(args: &args::InspectArgs, common: &CommonOptions) -> Result<ExitCode, Error> {
    let session = session::session(common, None, &Arc::new(display::silent()))?;
    let inspection = Inspection::of(session::open_delta(&session, &args.file)?)?;
    let text = inspection.text(args.files);
    output::print_result(|| inspection.json(), &text, args.json, false)
}

/// Deltas and the images that hold the base of the first.
struct ApplyInputs {
    registries: Registries,
    session: Session,
    /// At least one; each makes the base of the next.
    deltas: Vec<Delta>,
    base: Vec<Image>,
}

impl ApplyInputs {
    /// Adds advice to an error about the base: an image that was confused with another one.
    fn explained(&self, error: Error) -> Failure {
        let Error::BaseMissing { missing, .. } = &error else { return error.into() };
        // An image with the right content in another compression is not a confusion.
        if !missing.iter().any(|layer| matches!(layer, MissingLayer::Stream { .. })) {
            return error.into();
        }
        if let Some(advice) = self.order() {
            return Failure::new(error, Some(advice));
        }
        let Some(delta) = self.deltas.first() else { return error.into() };
        let is_target = |image: &&Image| image.digest == delta.digest();
        let advice = match (self.base.iter().find(is_target), delta.base().manifest) {
            _ if self.base.is_empty() => {
                Some("the delta needs an old image: name it with --base".to_owned())
            }
            (Some(target), _) => Some(format!(
                "{} is the image that this delta makes; to go back from it, use the delta of \
                 `imgdelta create --rollback`",
                escaped(target.name.as_bytes())
            )),
            (None, Some(wanted)) if !self.base.iter().any(|image| image.digest == wanted) => {
                let given: Vec<String> = (self.base.iter())
                    .map(|image| format!("{} ({})", image.digest, escaped(image.name.as_bytes())))
                    .collect();
                Some(format!(
                    "the delta was made from {wanted}, and --base is {}",
                    given.join(", ")
                ))
            }
            _ => None,
        };
        Failure::new(error, advice)
    }

    /// Returns advice if a delta was made from another image than the delta before it makes.
    fn order(&self) -> Option<String> {
        let pairs = self.deltas.windows(2).map(|pair| (&pair[0], &pair[1]));
        let mut broken = pairs.filter_map(|(before, delta)| {
            let wanted = delta.base().manifest.filter(|wanted| *wanted != before.digest())?;
            Some(format!(
                "{} was made from {wanted}, and {} makes {}; give the deltas in the order of the \
                 versions",
                delta.place(),
                before.place(),
                before.digest()
            ))
        });
        broken.next()
    }
}

/// Opens deltas and the images that hold the base of the first.
fn open(
    args: &DeltaArgs,
    output: Option<&Reference>,
    common: &CommonOptions,
    progress: &Arc<TerminalProgress>,
) -> Result<ApplyInputs, Error> {
    let session = session::session(common, args.scratch.as_deref(), progress)?;
    let mut session = session.platform(args.platform.clone());
    if let Some(bytes) = args.memory {
        session = session.memory_bytes(bytes);
    }
    if let Some(output) = output {
        destination::check(output, &session)?;
    }
    let registries = session::registries(common, progress)?;
    let session = registries.attach(session);
    let mut deltas = Vec::new();
    for file in &args.files {
        deltas.push(session::open_delta(&session, file)?);
    }
    let base = session.open_base(&deltas[0], &args.base)?;
    Ok(ApplyInputs { registries, session, deltas, base })
}

fn print(
    applied: &ApplyReport,
    args: &DeltaArgs,
    common: &CommonOptions,
) -> Result<ExitCode, Error> {
    output::print_result(|| applied.json(), applied, args.json, common.quiet)
}
