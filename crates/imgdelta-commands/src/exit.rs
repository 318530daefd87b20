//! Errors as the user sees them: a line, a hint, an exit code.
//!
//! Advice is here and not in the library, whose callers may have better advice.

use crate::stderr::print_line;
use imgdelta::{Error, MissingLayer};
use serde_json::json;
use std::{error::Error as _, io, process::ExitCode};

/// An error with advice that only the command knows.
#[derive(Debug)]
pub struct Failure {
    error: Error,
    advice: Option<String>,
    /// True if a line with the error was printed already.
    is_printed: bool,
}

impl Failure {
    /// Adds advice to an error.
    pub fn new(error: Error, advice: Option<String>) -> Self {
        Self { error, advice, is_printed: false }
    }

    /// Takes an error whose line was printed already: its hint and exit code are left.
    #[cfg(feature = "job")]
    pub fn printed(error: Error) -> Self {
        Self { error, advice: None, is_printed: true }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, advice: None, is_printed: false }
    }
}

/// Prints an error with its causes and a hint, and returns its exit code.
///
/// With `as_json`, it is one line with a document, which docs/error-json.md describes.
pub fn report(failure: Failure, as_json: bool) -> ExitCode {
    let Failure { error, advice, is_printed } = failure;
    let hint = advice.or_else(|| hint(&error));
    let mut causes = Vec::new();
    // The message of an I/O error already contains its cause.
    let mut cause = if matches!(error, Error::Io { .. }) { None } else { error.source() };
    while let Some(deeper) = cause {
        causes.push(imgdelta::path::escaped(deeper.to_string().as_bytes()).into_owned());
        cause = deeper.source();
    }
    let code = code(&error);
    if as_json {
        print_document(kind(&error), &error.to_string(), &causes, hint.as_deref(), code);
        return ExitCode::from(code);
    }
    if !is_printed {
        print_line(format_args!("imgdelta: {error}"));
    }
    for cause in causes {
        print_line(format_args!("  because {cause}"));
    }
    if let Some(hint) = hint {
        print_line(format_args!("hint: {hint}"));
    }
    ExitCode::from(code)
}

/// Prints a mistake in the command line as a document. Its text is that of the parser.
pub fn report_usage(message: &str) -> ExitCode {
    let message = message.trim().trim_start_matches("error: ");
    print_document("usage", message, &[], None, 2);
    ExitCode::from(2)
}

fn print_document(kind: &str, message: &str, causes: &[String], hint: Option<&str>, code: u8) {
    print_line(json!({
        "schema": SCHEMA,
        "kind": kind,
        "error": message,
        "because": causes,
        "hint": hint,
        "exit_code": code,
    }));
}

/// Returns the word of an error in JSON.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::NotFound { .. } => "not-found",
        Error::OverLimit { .. } => "over-limit",
        Error::BaseMissing { .. } => "base-missing",
        Error::Mismatch { .. } => "mismatch",
        Error::Io { .. } => "io",
        Error::Cancelled => "interrupted",
        _ => "bad-input",
    }
}

/// Returns the documented exit code of an error.
pub fn code(error: &Error) -> u8 {
    match error {
        Error::BaseMissing { .. } => 4,
        Error::Mismatch { .. } => 5,
        Error::Io { .. } => 6,
        Error::Cancelled => 130,
        // The enum may grow: a new kind is bad input until this table names it.
        _ => 3,
    }
}

fn hint(error: &Error) -> Option<String> {
    if let Some(advice) = imgdelta_registry::advice(error) {
        return Some(advice.into());
    }
    #[cfg(feature = "job")]
    if let Some(advice) = imgdelta_job::advice(error) {
        return Some(advice.into());
    }
    let hint = match error {
        Error::OverLimit { name: Some(name), .. } => {
            return Some(format!("if you trust the input, raise the limit with --limit {name}=…"));
        }
        Error::Mismatch { place, .. } => mismatch_hint(place),
        Error::BaseMissing { place, missing } => base_hint(place, missing),
        Error::NotFound { what, .. } if what.starts_with("an image for ") => {
            "choose one of those with --platform; `diff --any-platform` compares different ones"
        }
        Error::NotFound { place, .. } if place.ends_with("is incomplete") => {
            "part of the image is missing: copy or pull the image again"
        }
        Error::NotFound { what, .. } if what.contains("digest begins with") => {
            "`imgdelta deltas list` shows the deltas; the first digits of one are enough"
        }
        Error::NotFound { what, .. } if what.starts_with("tag ") && what.contains(":/") => {
            "an image is named without a path; `--file PATH` compares one file"
        }
        Error::Io { place, source }
            if source.kind() == io::ErrorKind::NotFound
                && TRANSPORTS.iter().any(|name| place.starts_with(name)) =>
        {
            "this command reads a delta file; `imgdelta diff` compares images, and `imgdelta deltas` \
             shows the deltas next to one"
        }
        Error::NotFound { place, .. } if place.starts_with(QUEUE) => {
            "`imgdelta job tasks` lists ids; --failed, --waiting and --running choose a state"
        }
        Error::NotFound { place, present, .. } => match (place.strip_prefix(REGISTRY), present) {
            (Some(_), present) if present.is_empty() => {
                "check the name, and whether it was pushed there"
            }
            (Some(_), _) => "name one of those after a colon, as in docker://HOST/REPO:TAG",
            (None, present) if !present.is_empty() && place.starts_with(STORAGE) => {
                "name one of those, as in containers-storage:NAME"
            }
            (None, present) if !present.is_empty() && place.starts_with(DAEMON) => {
                "name one of those, as in docker-daemon:NAME"
            }
            (None, present) if present.is_empty() => {
                "images are named oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, \
                 docker://HOST/REPO or by a path"
            }
            (None, _) => "name one of those after a colon, as in oci:DIR:TAG",
        },
        _ => return None,
    };
    Some(hint.into())
}

/// Returns advice on bytes without their digest; the place says where they came from.
fn mismatch_hint(place: &str) -> &'static str {
    if place.starts_with("proof of ") {
        return "the new delta does not make the new image: try again; if it fails again, check \
                this machine's memory and disk, and report it";
    }
    if place.starts_with(ROOTFS) {
        return "a file of that layer changed after it was unpacked: name another base; `pull` \
                fetches such a layer whole";
    }
    if place.contains(", blob ") {
        return "the copy of that image is damaged: copy or pull it again";
    }
    "the delta or a download is damaged: fetch it again; if it fails again, make the delta again"
}

/// Returns advice on a base that lacks layers.
fn base_hint(place: &str, missing: &[MissingLayer]) -> &'static str {
    let only_blobs = missing.iter().all(|layer| matches!(layer, MissingLayer::Blob { .. }));
    match (only_blobs, place) {
        // The base's manifest names the layer, and no file holds it.
        (true, place) if place == "base" || place.contains(" is incomplete") => {
            "part of the base is missing: copy or pull that image again"
        }
        (true, _) => {
            "the base has these layers with another compression; `imgdelta apply` can write them \
             uncompressed: `-o docker-archive:FILE` or `--layers uncompressed`"
        }
        _ => "this delta was made for another base; `imgdelta inspect FILE` shows which one",
    }
}

/// Beginnings of names of images, where a file was expected. Errors of registries have other hints.
const TRANSPORTS: [&str; 4] = ["oci:", "oci-archive:", "docker-archive:", "dir:"];

/// Name and version of the JSON document; a reader refuses another.
const SCHEMA: &str = "imgdelta.error/1";
/// Start of the places in registries.
const REGISTRY: &str = "docker://";
/// Start of the places in storages of podman, CRI-O and buildah.
const STORAGE: &str = "containers-storage:";
/// Start of the places of unpacked images.
const ROOTFS: &str = "rootfs:";
/// Start of the places in the queue of a job.
const QUEUE: &str = "queue ";
/// Start of the places in docker's store.
const DAEMON: &str = "docker-daemon:";

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta::{DiffId, Difference, LimitName, Limits};

    fn hex(digit: &str) -> String {
        format!("sha256:{}", digit.repeat(64))
    }

    fn mismatch(place: &str) -> Error {
        let difference = Difference::Size { expected: 1, found: 2 };
        Error::Mismatch { place: place.into(), difference }
    }

    fn base_missing(missing: Vec<MissingLayer>) -> Error {
        Error::BaseMissing { place: "up.imgdelta".into(), missing }
    }

    #[test]
    fn every_error_has_its_documented_code() {
        assert_eq!(code(&mismatch("")), 5);
        assert_eq!(code(&base_missing(Vec::new())), 4);
        assert_eq!(code(&Error::bad_input("x", "y")), 3);
        assert_eq!(code(&Error::io("x")(io::Error::other("y"))), 6);
        assert_eq!(code(&Error::Cancelled), 130);
    }

    #[test]
    fn the_hint_of_an_exceeded_limit_names_the_limit() {
        let error = Limits::default().admit(LimitName::LayerBytes, u64::MAX, "size", "x");
        let hint = hint(&error.unwrap_err()).unwrap();
        assert!(hint.ends_with("--limit layer-bytes=…"), "{hint}");
        let fixed =
            Error::OverLimit { place: String::new(), what: "size", name: None, found: 2, limit: 1 };
        assert_eq!(super::hint(&fixed), None, "nobody can raise it");
    }

    #[test]
    fn a_missing_base_is_explained_by_the_kind_of_the_missing_layers() {
        let blob = MissingLayer::Blob { digest: hex("a").parse().unwrap(), layers: vec![1] };
        let diff_id: DiffId = hex("b").parse().unwrap();
        let stream = MissingLayer::Stream { diff_id, layers: vec![2] };
        let only_blobs = hint(&base_missing(vec![blob.clone()])).unwrap();
        assert!(only_blobs.contains("-o docker-archive:"), "{only_blobs}");
        assert!(only_blobs.contains("--layers uncompressed"), "{only_blobs}");
        let other_base = hint(&base_missing(vec![blob, stream])).unwrap();
        assert!(other_base.contains("`imgdelta inspect FILE` shows which one"), "{other_base}");
    }

    #[test]
    fn a_damaged_image_and_a_damaged_delta_get_different_hints() {
        let image = hint(&mismatch("oci:old, layer 1, blob sha256:00 (old/blobs/00)")).unwrap();
        assert!(image.contains("copy of that image"), "{image}");
        for place in ["blob sha256:00", "stream sha256:00"] {
            let delta = hint(&mismatch(place)).unwrap();
            assert!(delta.contains("the delta or a download"), "{delta}");
        }
        let proof = hint(&mismatch("proof of stream sha256:00, offset 7")).unwrap();
        assert!(proof.contains("the new delta"), "{proof}");
    }

    #[test]
    fn an_incomplete_image_is_not_taken_for_a_wrong_name() {
        let error = |place: &str, present: &[&str]| Error::NotFound {
            place: place.into(),
            what: "x".into(),
            present: present.iter().map(ToString::to_string).collect(),
        };
        let rows = [
            (error("oci:old is incomplete", &[]), "part of the image is missing"),
            (error("oci:old", &["v1"]), "oci:DIR:TAG"),
            (error("nowhere", &[]), "oci-archive:FILE"),
            (error("containers-storage:[/a]", &["x"]), "containers-storage:NAME"),
            (error("docker-daemon:[/a]", &["x"]), "docker-daemon:NAME"),
            (error("queue /a.db", &["3f2a9c81d0e4"]), "`imgdelta job tasks` lists ids"),
            (error("docker://host/x", &["v1"]), "docker://HOST/REPO:TAG"),
            (error("docker://host/x", &[]), "whether it was pushed there"),
        ];
        for (error, expected) in rows {
            let hint = hint(&error).unwrap();
            assert!(hint.contains(expected), "{hint}");
        }
    }
}
