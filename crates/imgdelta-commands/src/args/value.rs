//! Values that several commands take: sizes, rates, globs and choices.
//!
//! Parses; looks nothing up.

use clap::ValueEnum;
use imgdelta::{Reference, apply::LayerForm, limits::parse_size, path::LayerPath};
use imgdelta_registry::TagName;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LayersChoice {
    Exact,
    Uncompressed,
}

impl From<LayersChoice> for LayerForm {
    fn from(layers: LayersChoice) -> Self {
        match layers {
            LayersChoice::Exact => Self::Exact,
            LayersChoice::Uncompressed => Self::Uncompressed,
        }
    }
}

/// A glob over paths. As in a shell, `*` stays within one directory and `**` does not.
#[derive(Clone, Debug)]
pub struct PathGlob(String);

impl std::fmt::Display for PathGlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl PathGlob {
    /// Returns true if the glob matches a path, whose bytes need not be text.
    pub fn matches(&self, path: &[u8]) -> bool {
        fast_glob::glob_match(&self.0, path)
    }

    /// Returns true if the glob matches a path of an image, written with or without the leading `/`.
    pub fn matches_path(&self, path: &LayerPath) -> bool {
        let from_root = [b"/", path.as_bytes()].concat();
        self.matches(&from_root) || self.matches(path.as_bytes())
    }
}

/// Parses a glob.
pub fn glob(text: &str) -> Result<PathGlob, fast_glob::Error> {
    fast_glob::validate(text)?;
    // A leading `!` is part of the name; the matcher would negate the glob.
    let escape = if text.starts_with('!') { "\\" } else { "" };
    Ok(PathGlob(format!("{escape}{text}")))
}

/// A repository, and the tag that the user wrote.
#[derive(Clone, Debug)]
pub struct PushTarget {
    /// The repository. A reference without a tag has the tag `latest`.
    pub image: Reference,
    /// The tag, if the text has one.
    pub tag: Option<TagName>,
}

/// Parses the destination of an image.
pub fn destination(text: &str) -> Result<Reference, String> {
    let load = match parsed(text)? {
        Reference::Bare(_) | Reference::Directory { .. } => {
            return Err("not a destination; expected oci:DIR[:TAG], oci-archive:FILE[:TAG], \
                        docker-archive:FILE[:REF] or docker://HOST/REPO[:TAG]"
                .into());
        }
        Reference::Rootfs { .. } => {
            return Err(
                "a root file system is not a destination; write oci:DIR[:TAG], then unpack \
                        it with another program"
                    .into(),
            );
        }
        Reference::Containerd(_) => "ctr images import FILE",
        Reference::ContainersStorage(_) => "podman load -i FILE",
        Reference::DockerDaemon(_) => "docker load -i FILE",
        reference => return Ok(reference),
    };
    Err(format!("not a destination; write docker-archive:FILE, then run `{load}`"))
}

/// Parses an image in a registry.
pub fn registry_image(text: &str) -> Result<Reference, String> {
    match parsed(text)? {
        reference @ Reference::Registry(_) => Ok(reference),
        _ => Err("not in a registry; expected docker://HOST[:PORT]/REPO[:TAG]".into()),
    }
}

/// Parses the repository that a delta goes to.
pub fn push_target(text: &str) -> Result<PushTarget, String> {
    let image = registry_image(text)?;
    let Reference::Registry(reference) = &image else { unreachable!("the parser refuses others") };
    // The reference adds this tag where the text has none.
    let is_written = text.ends_with(":latest") || reference.tag != Some(TagName::latest());
    let tag = reference.tag.clone().filter(|_| is_written && reference.digest.is_none());
    Ok(PushTarget { image, tag })
}

fn parsed(text: &str) -> Result<Reference, String> {
    text.parse::<Reference>().map_err(|error| error.to_string())
}

/// Parses a size in bytes.
pub fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| format!("{text:?} is not a size: expected such as 256MiB"))
}

/// Parses bits per second, as `tc` writes them: `20mbit`.
pub fn rate(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let unit: Option<u64> = match lower[digits..].trim() {
        "kbit" => Some(1000),
        "mbit" => Some(1_000_000),
        "gbit" => Some(1_000_000_000),
        _ => None,
    };
    let number = lower[..digits].parse::<u64>().ok().filter(|number| *number > 0);
    let bits = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    bits.ok_or_else(|| format!("{text:?} is not a rate: expected such as 20mbit or 1gbit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_bytes_and_mistakes_are_named() {
        let matches = |text: &str, path: &[u8]| glob(text).unwrap().matches(path);
        assert!(matches("/etc/*", b"/etc/shadow") && !matches("/etc/*", b"/etc/ssl/cert"));
        assert!(matches("app/**/*.png", b"app/logo.png") && matches("app/**", b"app/a/b"));
        assert!(matches("**/l?b[0-9]{,.so}", b"usr/lib7.so") && matches("**", b"a/b"));
        assert!(matches("a/*\u{e9}", "a/caf\u{e9}".as_bytes()));
        // A name that is not text, and names with the matcher's own characters.
        assert!(matches("a/*", b"a/\xff\xfe") && matches("*b", b"\xffb"));
        assert!(matches("!a", b"!a") && !matches("!a", b"b") && matches("\\*", b"*"));
        for (wrong, reason) in [("[a", "class"), ("{a", "brace"), ("a\\", "backslash")] {
            let error = glob(wrong).unwrap_err().to_string();
            assert!(error.contains(reason), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_tag_is_checked_if_the_user_wrote_it() {
        let tag = |text: &str| push_target(text).unwrap().tag.map(|tag| tag.to_string());
        assert_eq!(tag("docker://r.example/x:latest").as_deref(), Some("latest"));
        assert_eq!(tag("docker://r.example/x:1").as_deref(), Some("1"));
        assert_eq!(tag("docker://r.example/x"), None);
        assert_eq!(tag("docker://r.example/latest"), None);
        assert!(push_target("r.example/x:1").unwrap_err().contains("docker://HOST"));
    }

    #[test]
    fn a_destination_needs_a_transport_that_can_be_written() {
        for text in
            ["oci:a", "oci-archive:a.tar", "docker-archive:a.tar:x:1", "docker://r.example/x"]
        {
            assert!(destination(text).is_ok(), "{text}");
        }
        for (text, reason) in [
            ("a.tar", "expected oci:DIR"),
            ("dir/a", "expected oci:DIR"),
            ("containerd:x", "`ctr images import FILE`"),
            ("rootfs:/", "write oci:DIR[:TAG]"),
        ] {
            let error = destination(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn rates_are_whole_numbers_of_bits() {
        assert_eq!(rate("20mbit"), Ok(20_000_000));
        assert_eq!(rate("1 Gbit"), Ok(1_000_000_000));
        assert_eq!(rate("56kbit"), Ok(56_000));
        for wrong in ["", "0mbit", "20", "20MB", "mbit", "-1mbit", "1.5gbit", "99999999999gbit"] {
            let error = rate(wrong).unwrap_err();
            assert!(error.contains("expected such as 20mbit"), "{wrong}: {error}");
        }
    }
}
