//! Errors as the user sees them: a line, a hint, an exit code.
//!
//! Advice is here and not in the library, whose callers may have better advice.

use crate::stderr::print_line;
use imgdelta::{Error, MissingLayer};
use std::{error::Error as _, process::ExitCode};

/// Prints an error with its causes and a hint, and returns its exit code.
pub fn report(error: &Error) -> ExitCode {
    print_line(format_args!("imgdelta: {error}"));
    // The message of an I/O error already contains its cause.
    let mut cause = if matches!(error, Error::Io { .. }) { None } else { error.source() };
    while let Some(deeper) = cause {
        let deeper_text = deeper.to_string();
        print_line(format_args!("  because {}", imgdelta::path::escaped(deeper_text.as_bytes())));
        cause = deeper.source();
    }
    if let Some(hint) = hint(error) {
        print_line(format_args!("hint: {hint}"));
    }
    ExitCode::from(code(error))
}

/// Returns the documented exit code of an error.
fn code(error: &Error) -> u8 {
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
        Error::NotFound { place, .. } if place.ends_with("is incomplete") => {
            "part of the image is missing: copy or pull the image again"
        }
        Error::NotFound { place, present, .. } => match (place.strip_prefix(REGISTRY), present) {
            (Some(_), present) if present.is_empty() => {
                "check the name, and whether it was pushed there"
            }
            (Some(_), _) => "name one of those after a colon, as in docker://HOST/REPO:TAG",
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
        (true, "base") => "part of the base is missing: copy or pull that image again",
        (true, _) => {
            "the base has these layers with another compression; `imgdelta apply` can write them              uncompressed: `-o docker-archive:FILE` or `--layers uncompressed`"
        }
        _ => "this delta was made for another base; `imgdelta inspect FILE` shows which one",
    }
}

/// Start of the places in registries.
const REGISTRY: &str = "docker://";

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
        assert_eq!(code(&Error::io("x")(std::io::Error::other("y"))), 6);
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
            (error("docker://host/x", &["v1"]), "docker://HOST/REPO:TAG"),
            (error("docker://host/x", &[]), "whether it was pushed there"),
        ];
        for (error, expected) in rows {
            let hint = hint(&error).unwrap();
            assert!(hint.contains(expected), "{hint}");
        }
    }
}
