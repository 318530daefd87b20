//! The commands `apply`, `verify` and `inspect`: a delta opened, applied or described.
//!
//! Holds no applying of its own.

use crate::{
    args::{self, Common, DeltaArgs},
    registry::Registries,
    terminal,
};
use imgdelta::{
    Error, Limits, Reference, Result,
    apply::{self, Applied, ApplyOptions, Layers},
    delta::Delta,
    image::{self, Image, OpenOptions, Platform},
    inspect::Inspection,
    parallel::Workers,
    scratch::Scratch,
    sink,
    store::source::ReadAt,
};
use std::{
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

/// Runs `apply`.
pub fn apply(args: &args::Apply, common: &Common) -> Result<ExitCode> {
    let limits = common.limits();
    let progress = terminal::progress(common.quiet)?;
    let scratch = scratch(args.delta.scratch.as_deref())?;
    let delta = open(&args.delta.file, Some(&scratch), &limits)?;
    let registries = Registries::new(common, Some(scratch.clone()))?;
    let base = base(&args.delta, &delta, &limits, &registries)?;
    let sink = sink::create(&args.output, &limits)?;
    let layers = match args.layers {
        args::Layers::Exact => Layers::Exact,
        args::Layers::Uncompressed => Layers::Uncompressed,
    };
    let options = options(&args.delta, scratch, limits).layers(layers);
    let workers = Workers::new(common.jobs)?;
    let applied = apply::apply(&delta, &base, sink, &options, &workers, &progress)?;
    progress.finish();
    print(&applied, args.delta.json, common.quiet)
}

/// Runs `verify`.
pub fn verify(args: &args::Verify, common: &Common) -> Result<ExitCode> {
    let limits = common.limits();
    let progress = terminal::progress(common.quiet)?;
    let scratch = scratch(args.delta.scratch.as_deref())?;
    let delta = open(&args.delta.file, Some(&scratch), &limits)?;
    let registries = Registries::new(common, Some(scratch.clone()))?;
    let base = base(&args.delta, &delta, &limits, &registries)?;
    let options = options(&args.delta, scratch, limits);
    let workers = Workers::new(common.jobs)?;
    let applied = apply::verify(&delta, &base, &options, &workers, &progress)?;
    progress.finish();
    print(&applied, args.delta.json, common.quiet)
}

/// Runs `inspect`.
pub fn inspect(args: &args::Inspect, common: &Common) -> Result<ExitCode> {
    let limits = common.limits();
    let scratch = if is_stdin(&args.file) { Some(scratch(None)?) } else { None };
    let delta = open(&args.file, scratch.as_ref(), &limits)?;
    let inspection = Inspection::of(&delta)?;
    if args.json {
        return crate::print_json(&inspection.json());
    }
    crate::print(inspection.text(args.files).to_string().as_bytes())
}

fn print(applied: &Applied, as_json: bool, quiet: bool) -> Result<ExitCode> {
    match (as_json, quiet) {
        (true, _) => crate::print_json(&(applied.json())),
        (false, true) => Ok(ExitCode::SUCCESS),
        (false, false) => crate::print(applied.to_string().as_bytes()),
    }
}

/// Opens a delta: a file in place, standard input or a pipe through a scratch file.
fn open(file: &Path, scratch: Option<&Scratch>, limits: &Limits) -> Result<Delta> {
    Ok(open_with_source(file, scratch, limits)?.0)
}

/// Opens a delta, and returns the file that it was opened from.
pub fn open_with_source(
    file: &Path,
    scratch: Option<&Scratch>,
    limits: &Limits,
) -> Result<(Delta, Arc<dyn ReadAt>)> {
    let spool = |reader: &mut dyn Read, scratch: &Scratch, place: &dyn Display| {
        let file = scratch.file()?;
        let source = file.try_clone().map_err(Error::io(scratch.place()))?;
        let source: Arc<dyn ReadAt> = Arc::new(source);
        Ok((Delta::spool(reader, file, place, limits).map_err(damaged)?, source))
    };
    if is_stdin(file) {
        let scratch = scratch.expect("made for standard input");
        return spool(&mut io::stdin().lock(), scratch, &"standard input");
    }
    let place = file.display();
    let mut source = File::open(file).map_err(Error::io(&place))?;
    let is_file = source.metadata().map_err(Error::io(&place))?.is_file();
    if let Some(scratch) = scratch
        && !is_file
    {
        return spool(&mut source, scratch, &place);
    }
    let source: Arc<dyn ReadAt> = Arc::new(source);
    Ok((Delta::open(Arc::clone(&source), place, limits).map_err(damaged)?, source))
}

/// What does not have its own digest is no delta any more; an image's bytes are another matter.
fn damaged(error: Error) -> Error {
    match error {
        Error::Mismatch { place, .. } => {
            Error::bad_input(place, "damaged: its bytes do not have their digest")
        }
        error => error,
    }
}

/// Opens the images that hold the base, for the target's platform unless told otherwise.
fn base(
    args: &DeltaArgs,
    delta: &Delta,
    limits: &Limits,
    registries: &Registries,
) -> Result<Vec<Image>> {
    let options = |platform: Option<Platform>| {
        OpenOptions::default().limits(limits.clone()).platform(platform)
    };
    let opener = |reference: &Reference, limits: &Limits| registries.open(reference, limits);
    let open = |reference: &Reference| {
        if args.platform.is_some() {
            return image::open_by(reference, &options(args.platform.clone()), &opener);
        }
        match image::open_by(reference, &options(Some(delta.platform().clone())), &opener) {
            // An image for another platform is still a base if it has the streams.
            Err(Error::NotFound { .. }) => image::open_by(reference, &options(None), &opener),
            outcome => outcome,
        }
    };
    args.base.iter().map(open).collect()
}

fn options(args: &DeltaArgs, scratch: Scratch, limits: Limits) -> ApplyOptions {
    let options = ApplyOptions::new(scratch).limits(limits);
    match args.memory {
        Some(bytes) => options.memory_bytes(bytes),
        None => options,
    }
}

/// Scratch files are as large as layers: the directory for large temporary files, unless the user
/// has chosen another.
pub fn scratch(chosen: Option<&Path>) -> Result<Scratch> {
    let directory = match chosen {
        Some(directory) => directory.to_owned(),
        None if std::env::var_os("TMPDIR").is_none() && Path::new(LARGE).is_dir() => {
            PathBuf::from(LARGE)
        }
        None => std::env::temp_dir(),
    };
    Scratch::in_dir(&directory)
}

/// Whether a file can be read only once.
pub fn is_piped(file: &Path) -> bool {
    is_stdin(file) || file.metadata().is_ok_and(|found| !found.is_file())
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// On disk where /tmp is often memory.
const LARGE: &str = "/var/tmp";
