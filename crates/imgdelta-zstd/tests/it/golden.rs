//! Compares the output of every model with digests of the real encoders' output.
//!
//! testdata/zstd/make.sh wrote the digests; this test generates the inputs.

use crate::inputs;
use imgdelta_zstd::{
    EncoderModel, FrameRecipe, KlauspostLevel, KlauspostVersion, LibzstdCall, LibzstdInput, Recipe,
    RecipePart, Remaker,
};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write;

const GOLDEN: &str = include_str!("../../../../testdata/zstd/golden.tsv");

fn check(encoder: &str, version: &str, rows: usize) {
    let inputs: HashMap<&str, Vec<u8>> =
        inputs::NAMES.into_iter().map(|name| (name, inputs::input(name))).collect();
    let mut checked = 0;
    for row in GOLDEN.lines() {
        let fields: Vec<&str> = row.split('\t').collect();
        let [of, by, parameters, input, header, bytes, digest] = fields[..] else {
            panic!("row {row}")
        };
        if (of, by) != (encoder, version) {
            continue;
        }
        let plain = &inputs[input];
        let (model, cuts) = model(encoder, version, parameters);
        let cuts = cuts.into_iter().filter(|&cut| cut < plain.len() as u64).collect();
        let frame = FrameRecipe { header: unhex(header), plain_bytes: plain.len() as u64, cuts };
        let recipe = Recipe { model, parts: vec![RecipePart::Frame(frame)] };
        let mut out = Vec::new();
        let mut remaker = Remaker::new(&recipe);
        for chunk in plain.chunks(10_007) {
            remaker.write(chunk, &mut out).unwrap();
        }
        remaker.finish(&mut out).unwrap();
        assert_eq!(out.len().to_string(), bytes, "{row}");
        assert_eq!(hex(&Sha256::digest(&out)), digest, "{row}");
        checked += 1;
    }
    assert_eq!(checked, rows, "rows of {encoder} {version}");
}

fn model(encoder: &str, version: &str, parameters: &str) -> (EncoderModel, Vec<u64>) {
    if encoder == "libzstd" {
        let (level, option) = parameters.split_once(',').unwrap_or((parameters, ""));
        let level = match level.strip_prefix("--fast=") {
            Some(level) => -level.parse::<i32>().unwrap(),
            None => level[1..].parse().unwrap(),
        };
        // The checksum flag is in the header.
        let jobs = option != "--single-thread";
        let input =
            if version == "file" { LibzstdInput::EndWithData } else { LibzstdInput::EndAfterData };
        let call = LibzstdCall { jobs, input, ..LibzstdCall::new(level) };
        return (EncoderModel::Libzstd(call), vec![]);
    }
    let version = match version {
        "V1_15" => KlauspostVersion::V1_15,
        "V1_16_4" => KlauspostVersion::V1_16_4,
        "V1_17_0" => KlauspostVersion::V1_17_0,
        "V1_17_3" => KlauspostVersion::V1_17_3,
        "V1_17_8" => KlauspostVersion::V1_17_8,
        other => panic!("version {other}"),
    };
    let (level, cut) = parameters.split_once(',').unwrap();
    let level = KlauspostLevel::ALL[level.parse::<usize>().unwrap() - 1];
    let cuts = Some(cut.parse().unwrap()).filter(|&cut| cut > 0);
    (EncoderModel::Klauspost { version, level }, cuts.into_iter().collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

#[test]
fn klauspost_1_15_12() {
    check("klauspost", "V1_15", 6 * 5);
}

#[test]
fn klauspost_1_16_5() {
    check("klauspost", "V1_16_4", 4 * 5);
}

#[test]
fn klauspost_1_17_2() {
    check("klauspost", "V1_17_0", 4 * 5);
}

#[test]
fn klauspost_1_17_4() {
    check("klauspost", "V1_17_3", 4 * 5);
}

#[test]
fn klauspost_1_17_9() {
    check("klauspost", "V1_17_8", 6 * 5);
}

#[test]
fn the_reference_command_on_files() {
    check("libzstd", "file", 6 * 5);
}

#[test]
fn the_reference_command_in_a_pipe() {
    check("libzstd", "pipe", 5 * 5);
}

#[test]
fn no_row_is_forgotten() {
    let rows = GOLDEN.lines().filter(|row| !row.starts_with('#')).count();
    assert_eq!(rows, (5 * 4 + 2 + 2 + 6 + 5) * 5);
}
