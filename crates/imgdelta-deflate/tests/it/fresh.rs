//! Detects and remakes streams that the installed encoders write during the test.
//!
//! If `CI` is set, all tools must be installed. Otherwise the tests of missing tools are skipped
//! with a message.

use crate::inputs;
use imgdelta_deflate::{
    DetectOptions, EncoderModel, GzipChecksum, Recipe, Remaker, detect_gzip, detect_raw,
};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns text, machine code, noise, zeros, a few bytes and no bytes.
fn plains() -> Vec<(&'static str, Vec<u8>)> {
    let mut program = Vec::new();
    let path = std::env::current_exe().unwrap();
    std::fs::File::open(path).unwrap().take(700_000).read_to_end(&mut program).unwrap();
    let mut plains = vec![("program", program)];
    plains.extend(inputs::NAMES.map(|name| (name, inputs::input(name))));
    plains
}

/// Runs a command with `plain` as its input. `None` if the command is not installed.
fn run(command: &mut Command, plain: &[u8]) -> Option<Vec<u8>> {
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(std::env::var_os("CI").is_none(), "{command:?} is not installed");
            eprintln!("{command:?} is not installed: skipped");
            return None;
        }
        Err(error) => panic!("{command:?}: {error}"),
    };
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(plain).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command:?}");
    Some(output.stdout)
}

fn remake(recipe: &Recipe, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut remaker = Remaker::new(recipe);
    remaker.write(plain, &mut out).unwrap();
    remaker.finish(&mut out).unwrap();
    out
}

/// Checks that the stream of each input is remade, by a model that `expected` accepts and with at
/// most `side_bytes` besides the header. A record may have a twentieth of the stream more.
fn check(
    side_bytes: usize,
    expected: impl Fn(&EncoderModel) -> bool,
    compress: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    for (name, plain) in plains() {
        let Some(stream) = compress(&plain) else { return };
        let recipe = detect_gzip(&stream, DetectOptions::default()).unwrap();
        assert!(remake(&recipe, &plain) == stream, "{name}: not the same");
        let member = &recipe.members[0];
        // Several encoders write the same stream for these inputs.
        let is_ambiguous = matches!(name, "empty" | "tiny" | "noise" | "zero");
        let name_of = |model: &EncoderModel| match model {
            EncoderModel::Tokens(record) => format!("a record of {} bytes", record.len()),
            model => format!("{model:?}"),
        };
        let model = name_of(&member.model);
        assert!(is_ambiguous || expected(&member.model), "{name}: {model}");
        let side = recipe.to_bytes().len() - member.header.len();
        let allowed = if side_bytes < RECORD { side_bytes } else { RECORD + stream.len() / 20 };
        assert!(side <= allowed, "{name}: {side} side bytes of {}, {model}", stream.len());
    }
}

/// Most side bytes of an exact model.
const EXACT: usize = 48;
/// Most side bytes of a record of stored blocks. Other records may have more.
const RECORD: usize = 64;

/// Returns the path of a small program's source.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/deflate/fresh").join(name)
}

#[test]
fn gnu_gzip() {
    for level in [1, 6] {
        check(
            EXACT,
            |model| *model == EncoderModel::GnuGzip { level },
            |plain| run(Command::new("gzip").args(["-nc", &format!("-{level}")]), plain),
        );
    }
}

#[test]
fn gnu_gzip_rsyncable() {
    for level in [1, 6, 9] {
        let option = format!("-{level}");
        let arguments = ["-nc", "--rsyncable", &option];
        check(
            EXACT,
            |model| *model == EncoderModel::RsyncableGzip { level },
            |plain| run(Command::new("gzip").args(arguments), plain),
        );
    }
}

#[test]
fn pigz_with_all_kinds_of_blocks() {
    let kinds: [&[&str]; 4] = [&["-p2"], &["-p2", "-i"], &["-p2", "-b", "64"], &["-p1"]];
    for level in ["-1", "-6"] {
        for kind in kinds {
            // A stream of less than a block is the same as zlib's.
            let expected = |model: &EncoderModel| {
                matches!(model, EncoderModel::Pigz { .. } | EncoderModel::Zlib { .. })
            };
            check(EXACT, expected, |plain| {
                run(Command::new("pigz").args(["-nc", level]).args(kind), plain)
            });
        }
    }
}

#[test]
fn python_zlib_with_all_windows() {
    let script = "import sys,zlib\n\
        c=zlib.compressobj(int(sys.argv[1]),8,16+int(sys.argv[2]))\n\
        sys.stdout.buffer.write(c.compress(sys.stdin.buffer.read())+c.flush())";
    for (level, window) in [("1", "15"), ("6", "15"), ("9", "15"), ("6", "9"), ("6", "12")] {
        check(
            EXACT,
            |model| matches!(model, EncoderModel::Zlib { .. }),
            |plain| run(Command::new("python3").args(["-c", script, level, window]), plain),
        );
    }
}

#[test]
fn python_zlib_storing() {
    let script = "import sys,zlib\n\
        c=zlib.compressobj(0,8,31)\n\
        sys.stdout.buffer.write(c.compress(sys.stdin.buffer.read())+c.flush())";
    check(RECORD, |_| true, |plain| run(Command::new("python3").args(["-c", script]), plain));
}

#[test]
fn go() {
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("gzip");
    let mut build = Command::new("go");
    build.arg("build").arg("-o").arg(&program).arg(source("gzip.go"));
    build.env("GO111MODULE", "off").env("GOFLAGS", "");
    if run(&mut build, &[]).is_none() {
        return;
    }
    for level in ["-2", "1", "5", "6"] {
        let expected = |model: &EncoderModel| {
            matches!(model, EncoderModel::Golang { .. } | EncoderModel::Klauspost { .. })
        };
        check(EXACT, expected, |plain| run(Command::new(&program).arg(level), plain));
    }
}

#[test]
fn jdk() {
    let place = tempfile::tempdir().unwrap();
    let mut compile = Command::new("javac");
    if run(compile.arg("-d").arg(place.path()).arg(source("Gzip.java")), &[]).is_none() {
        return;
    }
    check(
        EXACT,
        |model| matches!(model, EncoderModel::Zlib { level: 6, .. }),
        |plain| run(Command::new("java").arg("-cp").arg(place.path()).arg("Gzip"), plain),
    );
}

#[test]
fn node() {
    let script = "const zlib = require('zlib');\
        const plain = require('fs').readFileSync(0);\
        process.stdout.write(zlib.gzipSync(plain, { level: Number(process.argv[1]) }));";
    for level in ["1", "6"] {
        check(
            EXACT,
            |model| matches!(model, EncoderModel::ChromiumZlib { .. } | EncoderModel::Zlib { .. }),
            |plain| run(Command::new("node").args(["-e", script, level]), plain),
        );
    }
}

/// Writes as flate2 does: pieces of the plain bytes, and another call for the end.
fn zlib_rs(level: u8, call_bytes: usize, plain: &[u8]) -> Vec<u8> {
    let mut encoder = zlib_rs::Deflate::new(i32::from(level), false, 15);
    let mut room = vec![0; 2 * plain.len() + 1000];
    let mut out = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    for call in plain.chunks(call_bytes).chain([&[][..]]) {
        let flush = match call.len() {
            0 => zlib_rs::DeflateFlush::Finish,
            _ => zlib_rs::DeflateFlush::NoFlush,
        };
        let before = encoder.total_out();
        encoder.compress(call, &mut room, flush).unwrap();
        out.extend_from_slice(&room[..usize::try_from(encoder.total_out() - before).unwrap()]);
    }
    let mut check = GzipChecksum::new();
    check.update(plain);
    out.extend(check.trailer());
    out
}

#[test]
fn zlib_rs_with_calls_of_several_sizes() {
    // Level 7 mostly makes the same text as Chromium's level 6.
    for (level, call_bytes) in [(1, 8192), (2, 65_536), (4, 8192), (6, 65_536), (9, 10_240)] {
        check(
            EXACT,
            |model| matches!(model, EncoderModel::ZlibNg { .. }),
            |plain| Some(zlib_rs(level, call_bytes, plain)),
        );
    }
}

#[test]
fn libdeflate_is_recorded() {
    for level in ["-1", "-6"] {
        check(
            RECORD,
            |model| matches!(model, EncoderModel::Tokens(_)),
            |plain| run(Command::new("libdeflate-gzip").args(["-c", level]), plain),
        );
    }
}

#[test]
fn members_of_a_zip_archive() {
    let place = tempfile::tempdir().unwrap();
    for (name, plain) in plains() {
        // -X drops fields that differ between platforms, so a local header has 30 bytes.
        std::fs::write(place.path().join(name), &plain).unwrap();
        let mut zip = Command::new("zip");
        zip.args(["-qX", "-", name]).current_dir(place.path());
        let Some(archive) = run(&mut zip, &[]) else { return };
        let number = |at: usize| u16::from_le_bytes([archive[at], archive[at + 1]]);
        if number(8) != 8 {
            continue;
        }
        let start = 30 + usize::from(number(26)) + usize::from(number(28));
        let recipe = detect_raw(&archive[start..], DetectOptions::default()).unwrap();
        // zip's encoder is similar to gzip's. Streams that differ are recorded.
        let model = &recipe.members[0].model;
        let is_exact = matches!(model, EncoderModel::Zlib { .. } | EncoderModel::GnuGzip { .. });
        assert!(is_exact || !matches!(name, "tiny" | "text" | "mixed"), "{name}: {model:?}");
        let most = if is_exact { 4 } else { plain.len() / 20 };
        assert!(model.to_bytes().len() <= most, "{name}: {}", model.to_bytes().len());
        assert!(remake(&recipe, &plain) == archive[start..], "{name}");
    }
}
