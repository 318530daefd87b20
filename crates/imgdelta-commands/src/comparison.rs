//! Two images compared as the arguments ask: files, changes inside them, costs.
//!
//! Prints nothing; contains no comparison.

use crate::args::DiffArgs;
use imgdelta::{
    Error, Result, Session,
    create::{Cost, ImagePair},
    diff::{Diff, DiffOptions, FileChange},
    image::Image,
    patch::{ComparedImages, PatchOptions, PatchSet},
    path::LayerPath,
};

/// Everything that `diff` prints.
pub struct Comparison {
    /// The differences, without files that a filter left out.
    pub diff: Diff,
    /// The changes inside files.
    pub patches: Option<PatchSet>,
    /// The cost of the upgrade.
    pub cost: Option<Cost>,
    /// The cost of the way back.
    pub rollback_cost: Option<Cost>,
    /// The number of changed files, if a filter matches none of them.
    pub unmatched: Option<usize>,
}

/// Compares two open images. Reads no layer twice.
pub fn compare(args: &DiffArgs, session: &Session, images: [Image; 2]) -> Result<Comparison> {
    let options = DiffOptions::default().ignore(args.ignore.clone()).cache(args.cache.clone());
    let mut comparison = if args.cost {
        with_cost(args, session, &session.read_pair(images, &options)?)?
    } else if args.patch.is_wanted() {
        with_patches(args, session, &session.read_images(images, &options)?)?
    } else {
        let diff = session.diff_images(images, &options)?;
        Comparison { diff, patches: None, cost: None, rollback_cost: None, unmatched: None }
    };
    if !args.filter.is_empty() {
        let before = comparison.diff.files.len();
        comparison.diff.keep_files(|path| is_kept(args, path));
        comparison.unmatched = Some(before).filter(|&n| n > 0 && comparison.diff.files.is_empty());
    }
    Ok(comparison)
}

fn with_cost(args: &DiffArgs, session: &Session, pair: &ImagePair) -> Result<Comparison> {
    let context = session.context();
    let surveys = [pair.base(), pair.target()];
    let diff = Diff::between(surveys[0], surveys[1], &args.ignore, &*context.progress)?;
    check_files(args, |path| surveys.iter().any(|survey| survey.rootfs.find(path).is_some()))?;
    let patches = if args.patch.is_wanted() {
        let (chooses, options) = (chooser(args), PatchOptions::default());
        let volumes = [pair.volume()];
        Some(PatchSet::between(&diff, surveys, &volumes, &chooses, options, context)?)
    } else {
        None
    };
    let cost = pair.plan(&args.making.options())?.encode()?.cost()?;
    let rollback_cost = if args.outcome.rollback {
        Some(pair.reversed().plan(&args.making.options())?.encode()?.cost()?)
    } else {
        None
    };
    Ok(Comparison { diff, patches, cost: Some(cost), rollback_cost, unmatched: None })
}

fn with_patches(args: &DiffArgs, session: &Session, images: &ComparedImages) -> Result<Comparison> {
    let context = session.context();
    let surveys = [&images.base, &images.target];
    check_files(args, |path| surveys.iter().any(|survey| survey.rootfs.find(path).is_some()))?;
    let diff = images.diff(&args.ignore, context)?;
    let patches = images.patches(&diff, &chooser(args), PatchOptions::default(), context)?;
    Ok(Comparison {
        diff,
        patches: Some(patches),
        cost: None,
        rollback_cost: None,
        unmatched: None,
    })
}

/// Fails if a file that the user named is in neither image.
fn check_files(args: &DiffArgs, exists: impl Fn(&LayerPath) -> bool) -> Result<()> {
    match args.patch.file.iter().find(|path| !exists(path)) {
        Some(path) => Err(Error::bad_input(
            path,
            "neither image has this file; --files lists those that differ",
        )),
        None => Ok(()),
    }
}

/// Returns a function that chooses the files to look into.
fn chooser(args: &DiffArgs) -> impl Fn(&FileChange) -> bool + Sync + '_ {
    |change| args.patch.chooses(&change.path) && is_kept(args, &change.path)
}

/// True if no filter leaves the file out.
fn is_kept(args: &DiffArgs, path: &LayerPath) -> bool {
    args.filter.is_empty() || args.filter.iter().any(|glob| glob.matches_path(path))
}
