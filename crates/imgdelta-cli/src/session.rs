//! A library session from the options that commands share.
//!
//! The only place that chooses a scratch directory from the environment.

use crate::{args::Common, terminal::Told};
use imgdelta::Result;
use imgdelta::Session;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Starts a session with the user's limits, threads and scratch directory.
pub fn new(common: &Common, scratch: Option<&Path>, progress: &Arc<Told>) -> Result<Session> {
    let session = Session::new(scratch_directory(scratch))?
        .threads(common.jobs)?
        .limits(common.limits())
        .progress(Arc::clone(progress) as _);
    Ok(session)
}

/// Scratch files are as large as layers: the directory for large temporary files, unless the user
/// chose another one.
fn scratch_directory(chosen: Option<&Path>) -> PathBuf {
    match chosen {
        Some(directory) => directory.to_owned(),
        None if std::env::var_os("TMPDIR").is_none() && Path::new(LARGE).is_dir() => LARGE.into(),
        None => std::env::temp_dir(),
    }
}

/// On disk, where `/tmp` is often memory.
const LARGE: &str = "/var/tmp";
