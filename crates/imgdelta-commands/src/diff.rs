//! The `diff` command: opens two images, compares them, prints the differences.
//!
//! Contains no comparison.

use crate::{
    args::{self, CommonOptions},
    comparison::{self, Comparison},
    display, output, session, stderr, terminal,
};
use imgdelta::{
    Result,
    diff::{DiffRule, FileOrder, TextOptions},
    size::Exact,
};
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode};

/// Runs the command.
pub fn run(args: &args::DiffArgs, common: &CommonOptions) -> Result<ExitCode> {
    output::check(args.outcome.html.as_deref())?;
    let progress = display::progress(common.quiet)?;
    let mut session = session::session(common, args.making.scratch.as_deref(), &progress)?
        .platform(args.platform.clone());
    if let Some(bytes) = args.making.memory {
        session = session.memory_bytes(bytes);
    }
    let registries = session::registries(common, &progress)?;
    let session = if args.cost {
        registries.attach(session)
    } else {
        registries.attach_without_scratch(session)
    };
    let images = if args.any_platform {
        [session.open(&args.old)?, session.open(&args.new)?]
    } else {
        session.open_pair(&args.old, &args.new)?
    };
    let comparison = comparison::compare(args, &session, images)?;
    progress.finish();
    if let Some(before) = comparison.unmatched {
        progress.print_line(&format!(
            "--filter matches none of {before} changed files; a directory with everything below it is '/etc/**'"
        ));
    }
    let printed = match &args.outcome.html {
        Some(file) => {
            let page = imgdelta_report::upgrade_page(&document(args, &comparison));
            let is_stdout = args::is_stdout(file);
            let written = output::write(file, page.as_bytes())?;
            if is_stdout { written } else { print(args, common, &comparison)? }
        }
        None => print(args, common, &comparison)?,
    };
    let is_right = checks(args, &comparison);
    let differs = args.exit_code && comparison.diff.differs();
    Ok(if differs || !is_right { ExitCode::from(1) } else { printed })
}

/// Prints the comparison in the form that the arguments ask for.
fn print(args: &args::DiffArgs, common: &CommonOptions, found: &Comparison) -> Result<ExitCode> {
    if args.outcome.ndjson {
        return output::print(&lines(&document(args, found)));
    }
    if args.outcome.markdown {
        return output::print(imgdelta_report::upgrade_markdown(&document(args, found)).as_bytes());
    }
    if args.json {
        return output::print_json(&shortened(args, document(args, found)));
    }
    let has_color = terminal::has_color(common.color);
    let mut text = match &found.patches {
        Some(patches) if args.patch.stat => patches.stat(has_color).to_string(),
        // A page shows the patches; the terminal then has the summary.
        Some(patches) if args.outcome.html.is_none() => patches.text(has_color).to_string(),
        _ => found.diff.text(text_options(args, common)).to_string(),
    };
    if let Some(cost) = &found.cost {
        let _ = write!(text, "\n{}", cost.text(terminal::width()));
    }
    if let Some(cost) = &found.rollback_cost {
        let _ = write!(text, "\nBack to the old image\n{}", cost.text(terminal::width()));
    }
    output::print(text.as_bytes())
}

/// Returns the document of docs/diff-json.md, complete.
fn document(args: &args::DiffArgs, found: &Comparison) -> Value {
    let mut document = found.diff.json();
    document["filter"] = args.filter.iter().map(ToString::to_string).collect();
    if let Some(patches) = &found.patches {
        patches.add_to(&mut document);
    }
    if let Some(cost) = &found.cost {
        document["cost"] = cost.json();
    }
    if let Some(cost) = &found.rollback_cost {
        document["rollback_cost"] = cost.json();
    }
    document
}

/// Removes the parts of a document that the user does not want.
fn shortened(args: &args::DiffArgs, mut document: Value) -> Value {
    let unwanted: &[&str] = match (args.layers, args.no_files) {
        (true, _) => &["config", "packages", "files"],
        (_, true) => &["files"],
        _ => &[],
    };
    if let Some(fields) = document.as_object_mut() {
        fields.retain(|name, _| !unwanted.contains(&&**name));
    }
    document
}

/// Returns the files of a document, one a line.
fn lines(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for file in document["files"].as_array().into_iter().flatten() {
        out.extend(file.to_string().into_bytes());
        out.push(b'\n');
    }
    out
}

/// Reports the checks of a CI step that failed; returns true if none did.
fn checks(args: &args::DiffArgs, found: &Comparison) -> bool {
    let mut is_right = true;
    if let (Some(most), Some(cost)) = (args.outcome.max_delta, &found.cost)
        && cost.delta_bytes > most
    {
        is_right = false;
        let (delta, most) = (Exact(cost.delta_bytes), Exact(most));
        stderr::print_line(format_args!(
            "imgdelta: --max-delta: the delta has {delta}, at most {most} are allowed"
        ));
    }
    let mut counts: BTreeMap<DiffRule, usize> = BTreeMap::new();
    for finding in found.diff.findings(&args.outcome.fail_on) {
        is_right = false;
        let count = counts.entry(finding.rule).or_default();
        *count += 1;
        if *count <= MOST_FINDINGS {
            let rule = finding.rule.word();
            stderr::print_line(format_args!("imgdelta: --fail-on {rule}: {}", finding.what));
        }
    }
    for (rule, count) in counts.into_iter().filter(|(_, count)| *count > MOST_FINDINGS) {
        let (rule, more) = (rule.word(), count - MOST_FINDINGS);
        stderr::print_line(format_args!("imgdelta: --fail-on {rule}: … and {more} more"));
    }
    is_right
}

fn text_options(args: &args::DiffArgs, common: &CommonOptions) -> TextOptions {
    let mut options = TextOptions::default();
    options.color = terminal::has_color(common.color);
    options.all_files = args.files;
    options.files = !args.no_files;
    options.width = terminal::width();
    options.is_filtered = !args.filter.is_empty();
    options.delta_hint = (!args.cost).then_some("add --cost for the bytes that a delta needs");
    options.details = !args.layers;
    options.order = match args.sort {
        args::SortOrder::Size => FileOrder::Size,
        args::SortOrder::Path => FileOrder::Path,
    };
    options
}

/// Changes that are listed for each rule.
const MOST_FINDINGS: usize = 20;
