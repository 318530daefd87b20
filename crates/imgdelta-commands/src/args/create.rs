//! Arguments of `create`, and the options for making a delta.
//!
//! Holds values only; checks those that depend on each other.

use super::{LayersChoice, complete, value::size};
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use imgdelta::{
    Reference,
    create::{self, ArchiveOptions, CreateOptions, KeptEnvelopes},
    image::Platform,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Args, Debug)]
#[command(allow_missing_positional = true)]
pub struct CreateArgs {
    /// The old image, which the receiver has
    #[arg(
        required_unless_present = "no_base",
        conflicts_with = "no_base",
        add = ArgValueCompleter::new(complete::images)
    )]
    pub old: Option<Reference>,

    /// The new image, which the receiver will get
    #[arg(add = ArgValueCompleter::new(complete::images))]
    pub new: Reference,

    /// Write the delta to this file, pipe or character device; `-` is standard output
    #[arg(long, short, value_name = "FILE", required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,

    /// Make a delta for receivers that have no old image; `apply` needs no --base then
    #[arg(long)]
    pub no_base: bool,

    /// Also write a delta from the new image back to the old one; the images are read once
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "no_base"])]
    pub rollback: Option<PathBuf>,

    /// Report the size of the delta and write nothing
    #[arg(long, conflicts_with = "output")]
    pub dry_run: bool,

    /// Form of the rebuilt layers: exact keeps the new image's digest
    #[arg(long, value_enum, default_value_t = LayersChoice::Exact, value_name = "FORM")]
    pub layers: LayersChoice,

    /// Skip verifying the new delta
    #[arg(long)]
    pub no_prove: bool,

    /// Take recipes and compressions that fit from this earlier delta (may be repeated)
    #[arg(long, value_name = "DELTA", conflicts_with = "no_prove")]
    pub reuse: Vec<PathBuf>,

    #[command(flatten)]
    pub making: MakingOptions,

    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Choose this platform of multi-platform images; the host's by default
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
}

impl CreateArgs {
    /// Returns the library's options.
    pub fn options(&self) -> CreateOptions {
        self.making.options().layers(self.layers.into())
    }

    /// True if standard output receives a delta.
    pub fn writes_to_stdout(&self) -> bool {
        let mut paths = [&self.output, &self.rollback].into_iter().flatten();
        paths.any(|path| is_stdout(path))
    }

    /// Returns the mistake in destinations that are right one by one, if there is one.
    pub fn conflict(&self, stdout_is_terminal: bool) -> Option<&'static str> {
        if stdout_is_terminal && self.writes_to_stdout() {
            return Some("a delta is binary: redirect standard output, or name a file");
        }
        if self.json && self.writes_to_stdout() {
            return Some("--json prints to standard output, which receives the delta: name a file");
        }
        match (&self.output, &self.rollback) {
            (Some(output), Some(rollback)) if is_same_file(output, rollback) => {
                Some("--output and --rollback name the same file")
            }
            _ => None,
        }
    }
}

/// True if the path stands for standard output.
pub fn is_stdout(path: &Path) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1"].iter().any(|name| path == Path::new(name))
}

/// True if two paths lead to the same name in the same directory.
fn is_same_file(one: &Path, other: &Path) -> bool {
    one == other
        || is_stdout(one) && is_stdout(other)
        || resolved(one).is_some_and(|one| Some(one) == resolved(other))
}

/// Returns a path without links, as far as it exists.
fn resolved(path: &Path) -> Option<PathBuf> {
    if let Ok(real) = fs::canonicalize(path) {
        return Some(real);
    }
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    Some(fs::canonicalize(directory.unwrap_or(Path::new("."))).ok()?.join(path.file_name()?))
}

/// Options for making a delta.
#[derive(Args, Debug)]
pub struct MakingOptions {
    /// Time to spend on a smaller delta; best makes rebuilt programs at least a tenth smaller, and
    /// takes the receiver up to ten times as long for them, so it is for links below 200 kbit/s
    #[arg(long, value_enum, default_value_t = PresetChoice::Default, value_name = "PRESET")]
    pub preset: PresetChoice,

    /// Memory for matching, such as 800MiB; otherwise 400MiB, and up to 1GiB for a program of more
    /// than 300 MB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,

    /// Open changed archives (gzip, zip, jar, wheel, xz, zstd, deb) nested this deep; 0 opens none
    #[arg(long, value_name = "N", default_value_t = 3, hide_short_help = true)]
    pub archive_depth: u32,

    /// Skip recompressing archive members slower than this (ns/byte); store them compressed
    #[arg(long, value_name = "NS", default_value_t = 500, hide_short_help = true)]
    pub remake_cost: u32,

    /// Include the compression of layers that both images have, so that an old image with
    /// uncompressed layers is enough; auto does so except with --preset fast
    #[arg(long, value_enum, default_value_t = KeptChoice::Auto, value_name = "WHEN", hide_short_help = true)]
    pub kept_envelopes: KeptChoice,

    /// Directory for temporary files, as large as both images uncompressed [default: /var/tmp]
    #[arg(long, value_name = "DIR", env = "IMGDELTA_SCRATCH", hide_env_values = true)]
    pub scratch: Option<PathBuf>,
}

impl MakingOptions {
    /// Returns the library's options.
    pub fn options(&self) -> CreateOptions {
        let archives = ArchiveOptions::default()
            .depth(self.archive_depth)
            .nanoseconds_per_byte(self.remake_cost);
        CreateOptions::default()
            .preset(self.preset.into())
            .archives(archives)
            .kept_envelopes(self.kept_envelopes.into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PresetChoice {
    Fast,
    Default,
    Best,
}

impl From<PresetChoice> for create::Preset {
    fn from(preset: PresetChoice) -> Self {
        match preset {
            PresetChoice::Fast => Self::Fast,
            PresetChoice::Default => Self::Default,
            PresetChoice::Best => Self::Best,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeptChoice {
    Auto,
    Yes,
    No,
}

impl From<KeptChoice> for KeptEnvelopes {
    fn from(choice: KeptChoice) -> Self {
        match choice {
            KeptChoice::Auto => Self::ByPreset,
            KeptChoice::Yes => Self::Included,
            KeptChoice::No => Self::Omitted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use clap::Parser;

    fn conflict(args: &[&str], stdout_is_terminal: bool) -> Option<&'static str> {
        let args = [&["imgdelta", "create", "old", "new"], args].concat();
        let Command::Create(create) = Cli::try_parse_from(args).unwrap().command else {
            panic!("another command")
        };
        create.conflict(stdout_is_terminal)
    }

    #[test]
    fn both_deltas_in_one_file_are_refused() {
        for (output, rollback) in [
            ("x", "x"),
            ("x", "./x"),
            ("-", "-"),
            ("-", "/dev/stdout"),
            ("/dev/null", "/dev/../dev/null"),
            ("src/../x", "x"),
        ] {
            let found = conflict(&["-o", output, "--rollback", rollback], false);
            assert!(found.is_some_and(|what| what.contains("same file")), "{output} {rollback}");
        }
        for (output, rollback) in [("x", "y"), ("x", "src/x"), ("-", "x")] {
            assert_eq!(conflict(&["-o", output, "--rollback", rollback], false), None);
        }
    }

    #[test]
    fn a_delta_is_not_written_to_a_terminal() {
        assert!(conflict(&["-o", "-"], true).is_some_and(|what| what.contains("redirect")));
        assert!(conflict(&["-o", "x", "--rollback", "-"], true).is_some());
        assert_eq!(conflict(&["-o", "-"], false), None);
        assert_eq!(conflict(&["-o", "x"], true), None);
        assert_eq!(conflict(&["--dry-run"], true), None);
    }

    #[test]
    fn a_document_and_a_delta_do_not_share_standard_output() {
        for args in [&["-o", "-"][..], &["-o", "x", "--rollback", "/dev/stdout"]] {
            let args = [args, &["--json"]].concat();
            assert!(conflict(&args, false).is_some_and(|what| what.contains("--json")), "{args:?}");
        }
        assert_eq!(conflict(&["-o", "x", "--json"], false), None);
    }
}
