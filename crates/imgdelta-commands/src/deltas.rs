//! The commands `deltas list`, `deltas inspect`, `deltas fetch` and `deltas delete`.
//!
//! Contains no protocol.

use crate::{
    args::{CommonOptions, DeltaChoice, DeltasAction, DeltasArgs},
    display::{self, TerminalProgress},
    output, session, terminal,
};
use imgdelta::{
    Reference, Result, Session, create::check_destination, delta::Inspection, image::Platform,
    size::Exact,
};
use imgdelta_remote::{ImageDeltas, ListedDelta, save};
use serde_json::json;
use std::{path::Path, process::ExitCode, sync::Arc};

/// Runs the command.
pub fn run(args: &DeltasArgs, common: &CommonOptions) -> Result<ExitCode> {
    let progress = display::progress(common.quiet)?;
    match &args.action {
        DeltasAction::List(list) => {
            let platform = list.platform.clone();
            let (_, deltas) = find(&list.image, platform, None, common, &progress)?;
            progress.finish();
            let text = deltas.text(terminal::width());
            output::print_result(|| deltas.json(), &text, list.json, false)
        }
        DeltasAction::Inspect(inspect) => {
            let (session, deltas) = find_one(&inspect.choice, common, &progress)?;
            let delta = deltas.fetch(chosen(&deltas, &inspect.choice)?, &session)?;
            let inspection = Inspection::of(delta)?;
            progress.finish();
            let text = inspection.text(inspect.files);
            output::print_result(|| inspection.json(), &text, inspect.choice.list.json, false)
        }
        DeltasAction::Fetch(fetch) => {
            check_destination(&fetch.output)?;
            let (session, deltas) = find_one(&fetch.choice, common, &progress)?;
            let listed = chosen(&deltas, &fetch.choice)?;
            let delta = deltas.fetch(listed, &session)?;
            save(&delta, &fetch.output)?;
            progress.finish();
            let bytes = delta.size_bytes();
            let text = format!("{}: {}\n", fetch.output.display(), Exact(bytes));
            let document = || event("fetched", listed, Some(bytes));
            output::print_result(document, &text, fetch.choice.list.json, common.quiet)
        }
        DeltasAction::Delete(delete) => {
            let (_, deltas) = find_one(&delete.choice, common, &progress)?;
            let listed = chosen(&deltas, &delete.choice)?;
            deltas.delete(listed)?;
            progress.finish();
            let text = format!("deleted delta {} of {}\n", listed.digest(), deltas.image.name);
            let document = || event("deleted", listed, None);
            output::print_result(document, &text, delete.choice.list.json, common.quiet)
        }
    }
}

fn event(word: &str, delta: &ListedDelta, bytes: Option<u64>) -> serde_json::Value {
    json!({
        "schema": imgdelta_remote::SCHEMA,
        "event": word,
        "digest": delta.digest().to_string(),
        "bytes": bytes,
    })
}

fn chosen<'a>(deltas: &'a ImageDeltas, choice: &DeltaChoice) -> Result<&'a ListedDelta> {
    deltas.choose(choice.delta.as_deref())
}

fn find_one(
    choice: &DeltaChoice,
    common: &CommonOptions,
    progress: &Arc<TerminalProgress>,
) -> Result<(Session, ImageDeltas)> {
    let (platform, scratch) = (choice.list.platform.clone(), choice.scratch.as_deref());
    find(&choice.list.image, platform, scratch, common, progress)
}

fn find(
    image: &Reference,
    platform: Option<Platform>,
    scratch: Option<&Path>,
    common: &CommonOptions,
    progress: &Arc<TerminalProgress>,
) -> Result<(Session, ImageDeltas)> {
    let registries = session::registries(common, progress)?;
    let session = session::session(common, scratch, progress)?.platform(platform);
    let session = registries.attach(session);
    let deltas = ImageDeltas::find(&registries, &session, image)?;
    Ok((session, deltas))
}
