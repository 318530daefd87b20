//! The program as tests run it: at the top of the tree, without settings of this machine's user.
//!
//! Each test is a program of its own and uses a part of this.

#![allow(dead_code, reason = "each test uses a part")]

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Images and a delta of the tree; paths are relative to its top.
pub const OLD: &str = "testdata/small/old";
pub const NEW: &str = "testdata/small/new";
pub const DELTA: &str = "testdata/small/small.imgdelta";

/// Returns the top of the tree.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Makes a command with this home directory, in which nobody is logged in anywhere.
pub fn command(args: &[&str], home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgdelta"));
    command.args(args).current_dir(top()).env("HOME", home);
    for name in USER_VARIABLES {
        command.env_remove(name);
    }
    command
}

/// Returns the text on standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts success and returns the result.
pub fn prints(args: &[&str], home: &Path) -> String {
    let output = command(args, home).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts success and returns the result as a document.
pub fn json(args: &[&str], home: &Path) -> Value {
    serde_json::from_str(&prints(args, home)).unwrap()
}

/// Asserts the exit code and an empty standard output; returns standard error.
pub fn fails(args: &[&str], home: &Path, code: i32) -> String {
    let output = command(args, home).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
    assert!(output.stdout.is_empty(), "{args:?}: an error prints no result");
    said(&output)
}

/// Variables by which a user changes what the program does.
const USER_VARIABLES: [&str; 17] = [
    "REGISTRY_AUTH_FILE",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "DOCKER_CONFIG",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "IMGDELTA_CACHE",
    "IMGDELTA_SCRATCH",
    "NO_COLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
];
