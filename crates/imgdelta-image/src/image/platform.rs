//! Platforms: operating system and processor of an image, and the match with a machine.
//!
//! Aliases and variants follow containerd. One rule differs: images for another processor that
//! would also run (32-bit ones) are never chosen silently.

use crate::store::PlatformFields;
use imgdelta_core::{Error, path::escaped};
use std::{fmt, str::FromStr};

/// An operating system and a processor, in Go's spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Platform {
    /// The operating system, such as `linux`.
    pub os: String,
    /// The processor, such as `amd64` or `arm64`.
    pub architecture: String,
    /// The processor's variant, such as `v7`; `None` for the usual one.
    pub variant: Option<String>,
}

impl Platform {
    /// Returns Linux on the processor that this program was built for.
    ///
    /// On a host with another system, containers run on Linux in a virtual machine.
    pub fn host() -> Self {
        // Rust's names of processors that differ from Go's and are not aliases below.
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::new("linux", architecture, None)
    }

    /// Returns a platform; resolves aliases such as `x86_64` and `armhf`.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = architecture.to_ascii_lowercase();
        let variant = variant.unwrap_or_default().to_ascii_lowercase();
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386" | "i486" | "i586" | "i686", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "" | "8" | "v8" | "v8.0") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            (architecture, variant) => (architecture, variant),
        };
        let variant = (!variant.is_empty()).then(|| variant.to_owned());
        Self { os, architecture: architecture.to_owned(), variant }
    }

    /// Returns the platform that an index or config states; `None` if system or processor is missing.
    pub fn stated(fields: &PlatformFields) -> Option<Self> {
        let stated = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let (os, architecture) = (stated(&fields.os)?, stated(&fields.architecture)?);
        Some(Self::new(&os, &architecture, fields.variant.as_deref()))
    }

    /// Returns the distance of an image for `offered` from this platform.
    ///
    /// 0 is an exact match; more is an older variant that also runs; `None` does not run.
    pub fn distance(&self, offered: &Self) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        let version = |platform: &Self| match platform.variant.as_deref() {
            None if platform.architecture == "arm64" => Some(800),
            None => Some(100),
            Some(variant) => version_hundredths(variant),
        };
        match (version(self), version(offered)) {
            (Some(wanted), Some(offered)) => wanted.checked_sub(offered),
            _ => (self.variant == offered.variant).then_some(0),
        }
    }
}

/// Reads `v8.2` as 802.
fn version_hundredths(variant: &str) -> Option<u32> {
    let (major, minor) = variant.strip_prefix('v')?.split_once('.').unwrap_or((&variant[1..], "0"));
    let (major, minor): (u8, u8) = (major.parse().ok()?, minor.parse().ok()?);
    (minor < 100).then(|| u32::from(major) * 100 + u32::from(minor))
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> imgdelta_core::Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(wrong(text));
        }
        match parts[..] {
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(wrong(text)),
        }
    }
}

fn wrong(text: &str) -> Error {
    Error::bad_input(
        format_args!("platform {:?}", escaped(text.as_bytes())),
        "expected OS/ARCHITECTURE[/VARIANT]",
    )
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", escaped(self.os.as_bytes()), escaped(self.architecture.as_bytes()))?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{}", escaped(variant.as_bytes())))
    }
}
