//! Values that a shell completes: images with the tags of layouts and archives, limits, words.
//!
//! Reads local files only, and says nothing about those that it cannot read.

use clap_complete::{
    CompletionCandidate,
    engine::{PathCompleter, ValueCompleter},
};
use imgdelta::{
    Reference,
    diff::Ignore,
    limits::{LimitName, Limits},
    store,
};
use std::ffi::OsStr;

/// Completes an image: its transport, its path, and the tags in a layout or archive.
pub fn images(current: &OsStr) -> Vec<CompletionCandidate> {
    let text = current.to_string_lossy();
    let Some((transport, rest)) = text.split_once(':') else {
        let transports = TRANSPORTS.iter().filter(|name| name.starts_with(&*text));
        let paths = PathCompleter::any().complete(current);
        return transports.map(CompletionCandidate::new).chain(paths).collect();
    };
    match (transport, rest.rsplit_once(':')) {
        ("oci" | "oci-archive" | "docker-archive", Some((path, tag))) => {
            tags(&format!("{transport}:{path}"), tag)
        }
        ("oci" | "oci-archive" | "docker-archive" | "dir" | "rootfs", None) => {
            let paths = PathCompleter::any().complete(OsStr::new(rest));
            paths.into_iter().map(|path| path.add_prefix(format!("{transport}:"))).collect()
        }
        _ => tags(transport, rest),
    }
}

/// Completes the names in `place` that begin with `start`.
fn tags(place: &str, start: &str) -> Vec<CompletionCandidate> {
    let opened = place.parse::<Reference>().and_then(|image| match image {
        // Only files: a shell must not wait for a network.
        Reference::Registry(_) | Reference::Containerd(_) => Ok(Vec::new()),
        image => store::open(&image, &Limits::default())?.0.names(),
    });
    let names = opened.unwrap_or_default().into_iter().filter(|name| name.starts_with(start));
    names.map(|name| CompletionCandidate::new(format!("{place}:{name}"))).collect()
}

/// Completes the name of a limit.
pub fn limits(current: &OsStr) -> Vec<CompletionCandidate> {
    let text = current.to_string_lossy();
    let names = LimitName::ALL.iter().map(|name| format!("{}=", name.as_str()));
    names.filter(|name| name.starts_with(&*text)).map(CompletionCandidate::new).collect()
}

/// Completes the last word of a list.
pub fn ignored(current: &OsStr) -> Vec<CompletionCandidate> {
    let text = current.to_string_lossy();
    let (before, word) = match text.rfind(',') {
        Some(comma) => text.split_at(comma + 1),
        None => ("", &*text),
    };
    let is_new = |one: &&&str| !before.split(',').any(|other| other == **one);
    let words = Ignore::words().iter().filter(|one| one.starts_with(word)).filter(is_new);
    words.map(|one| CompletionCandidate::new(format!("{before}{one}"))).collect()
}

const TRANSPORTS: [&str; 7] =
    ["oci:", "oci-archive:", "docker-archive:", "dir:", "docker://", "containerd:", "rootfs:"];

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(complete: fn(&OsStr) -> Vec<CompletionCandidate>, text: &str) -> Vec<String> {
        let candidates = complete(OsStr::new(text)).into_iter();
        candidates.map(|one| one.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn tags_of_a_layout_are_completed() {
        let old = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/small/old");
        for place in [format!("oci:{old}"), old.to_owned()] {
            let expected = [format!("{place}:old")];
            assert_eq!(completed(images, &format!("{place}:")), expected);
            assert_eq!(completed(images, &format!("{place}:o")), expected);
            assert_eq!(completed(images, &format!("{place}:x")), [""; 0]);
        }
        assert!(completed(images, "oci").contains(&"oci-archive:".to_owned()));
        assert_eq!(completed(images, "docker://registry.example/x:"), [""; 0]);
    }

    #[test]
    fn limits_and_words_are_completed() {
        assert!(completed(limits, "layer-b").contains(&"layer-bytes=".to_owned()));
        assert_eq!(completed(ignored, "mti"), ["mtime"]);
        assert_eq!(completed(ignored, "mtime,m"), ["mtime,mode"]);
    }
}
