//! The command `node stage`: images of the command line, of lists and of the node, one after another.
//!
//! A failing image does not stop the others. Decides nothing about a layer.

mod list;

use crate::{
    args::{CommonOptions, StageArgs},
    display, environment, exit,
    output::print,
    runtimes, session,
};
use imgdelta::{Error, Reference, Result};
use imgdelta_node::{Config, ImageStager};
use imgdelta_registry::{PullReport, pull::LayerSource};
use serde_json::{Value, json};
use std::{collections::HashSet, fmt, path::PathBuf, process::ExitCode};

/// Runs the command.
pub fn run(args: &StageArgs, config: Config, common: &CommonOptions) -> Result<ExitCode> {
    // Lists are read whole before any work, so that their mistakes are reported now.
    let mut images = args.images.clone();
    for file in &args.from_file {
        images.extend(list::read(file)?);
    }
    let runtime = runtimes::of_node(&config)?;
    let progress = display::progress(common.quiet)?;
    let session = session::session(common, None, &progress)?;
    let authfile: Option<PathBuf> = common.registry.authfile.clone();
    let credentials = move || environment::credentials(authfile.as_deref());
    let stager = ImageStager::new(config, runtime, session, credentials)?;
    if args.running {
        images.extend(stager.tagged_images()?);
    }
    let mut seen = HashSet::new();
    images.retain(|image| seen.insert(image.to_string()));
    let (mut worst, mut counts) = (0, [0; 3]);
    for image in images {
        let staged = StagedImage { outcome: stager.stage(&image), image };
        progress.finish();
        counts[staged.word() as usize] += 1;
        let text = match (args.json, common.quiet) {
            (true, _) => format!("{}\n", staged.json()),
            (false, true) => String::new(),
            (false, false) => staged.to_string(),
        };
        // The other images are staged although nobody reads of it.
        if let Err(error) = print(text.as_bytes()) {
            worst = worst.max(exit::code(&error));
            exit::report(error.into(), args.json);
        }
        if let Err(error) = staged.outcome {
            let is_cancelled = matches!(error, Error::Cancelled);
            worst = worst.max(exit::code(&error));
            exit::report(error.into(), args.json);
            if is_cancelled {
                break;
            }
        }
    }
    if !args.json && !common.quiet && counts.iter().sum::<usize>() != 1 {
        let [staged, present, failed] = counts;
        let line = format!("{staged} images staged, {present} were there, {failed} failed\n");
        print(line.as_bytes())?;
    }
    Ok(ExitCode::from(worst))
}

/// An image with the end of its staging.
struct StagedImage {
    image: Reference,
    outcome: Result<PullReport>,
}

/// The end of a staging in one word.
#[derive(Clone, Copy)]
enum StageWord {
    Staged,
    Present,
    Failed,
}

impl StagedImage {
    fn word(&self) -> StageWord {
        let Ok(report) = &self.outcome else { return StageWord::Failed };
        let is_there = |source| source == LayerSource::Destination;
        let is_present = report.layers.iter().all(|layer| is_there(layer.source));
        if is_present { StageWord::Present } else { StageWord::Staged }
    }

    /// Returns the document of docs/node.md.
    fn json(&self) -> Value {
        let error = self.outcome.as_ref().err();
        json!({
            "schema": STAGE_SCHEMA,
            "image": self.name(),
            "outcome": self.word().to_string(),
            "exit_code": error.map_or(0, exit::code),
            "error": error.map(ToString::to_string),
            "pull": self.outcome.as_ref().ok().map(PullReport::json),
        })
    }

    /// Returns the image's name as runtimes write it.
    fn name(&self) -> String {
        let name = self.image.to_string();
        name.strip_prefix("docker://").map_or(name.clone(), str::to_owned)
    }
}

impl fmt::Display for StagedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<7} {}", self.word().to_string(), self.name())?;
        match (self.word(), &self.outcome) {
            (StageWord::Staged, Ok(report)) => report.fmt(f),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for StageWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Staged => "staged",
            Self::Present => "present",
            Self::Failed => "failed",
        })
    }
}

/// Name and version of the document for each image; a reader refuses others.
const STAGE_SCHEMA: &str = "imgdelta.stage/1";
