//! Compares the output of every model with digests of the real encoders' output.
//!
//! testdata/deflate/make.sh wrote the digests; this test generates the inputs.

use crate::inputs;
use imgdelta_deflate::{
    CallSizes, ChromiumHash, EncoderModel, KlauspostVersion, MemberTrailer, PigzBlocks, Recipe,
    RecipeMember, Remaker, ZlibNgVersion, ZlibStrategy,
};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write;

const GOLDEN: &str = include_str!("../../../../testdata/deflate/golden.tsv");

fn check(encoder: &str, rows: usize) {
    let inputs: HashMap<&str, Vec<u8>> =
        inputs::NAMES.into_iter().map(|name| (name, inputs::input(name))).collect();
    let mut checked = 0;
    for row in GOLDEN.lines().filter(|row| row.split('\t').next() == Some(encoder)) {
        let fields: Vec<&str> = row.split('\t').collect();
        let [_, version, parameters, input, bytes, digest] = fields[..] else {
            panic!("row {row}")
        };
        let numbers: Vec<i64> = parameters.split(',').map(|n| n.parse().unwrap()).collect();
        let out = remake(model(encoder, version, &numbers), &inputs[input]);
        assert_eq!(out.len().to_string(), bytes, "{row}");
        assert_eq!(hex(&Sha256::digest(&out)), digest, "{row}");
        checked += 1;
    }
    assert_eq!(checked, rows, "rows of {encoder}");
}

fn model(encoder: &str, name: &str, numbers: &[i64]) -> EncoderModel {
    let level = i8::try_from(numbers[0]).unwrap();
    let unsigned = || u8::try_from(numbers[0]).unwrap();
    let version = || match name {
        "V1_15_10" => KlauspostVersion::V1_15_10,
        "V1_15_15" => KlauspostVersion::V1_15_15,
        "V1_18_2" => KlauspostVersion::V1_18_2,
        "V1_18_0" => KlauspostVersion::V1_18_0,
        "V1_20" => KlauspostVersion::V1_20,
        other => panic!("version {other}"),
    };
    let zlib_ng_version = match name {
        "V2_1" => ZlibNgVersion::V2_1,
        "V2_2_0" => ZlibNgVersion::V2_2_0,
        _ => ZlibNgVersion::V2_2_3,
    };
    match encoder {
        "golang" => EncoderModel::Golang { level },
        "klauspost" => EncoderModel::Klauspost { version: version(), level },
        "pgzip" => EncoderModel::Pgzip {
            version: version(),
            level,
            segment_bytes: u32::try_from(numbers[1]).unwrap(),
        },
        "zlib" => EncoderModel::Zlib {
            level: unsigned(),
            mem_level: u8::try_from(numbers[1]).unwrap(),
            window_bits: 15,
            strategy: ZlibStrategy::ALL[usize::try_from(numbers[2]).unwrap()],
        },
        "gnugzip" => EncoderModel::GnuGzip { level: unsigned() },
        "rsyncable" => EncoderModel::RsyncableGzip { level: unsigned() },
        "pigz" => EncoderModel::Pigz {
            level: unsigned(),
            block_bytes: u32::try_from(numbers[1]).unwrap(),
            blocks: PigzBlocks::Primed,
        },
        "zlib-ng" => EncoderModel::ZlibNg {
            version: zlib_ng_version,
            level: unsigned(),
            calls: CallSizes {
                input_bytes: u32::try_from(numbers[1]).unwrap(),
                output_bytes: u32::try_from(numbers[2]).unwrap(),
                ends_flushed: numbers[3] == 1,
            },
        },
        "miniz" => EncoderModel::Miniz { level: unsigned(), ends_flushed: numbers[3] == 1 },
        "chromium" => EncoderModel::ChromiumZlib {
            hash: ChromiumHash::Product,
            level: unsigned(),
            mem_level: u8::try_from(numbers[1]).unwrap(),
        },
        other => panic!("encoder {other}"),
    }
}

fn remake(model: EncoderModel, plain: &[u8]) -> Vec<u8> {
    let recipe = Recipe {
        members: vec![RecipeMember {
            header: Vec::new(),
            model,
            trailer: MemberTrailer::None,
            plain_bytes: plain.len() as u64,
        }],
        tail: Vec::new(),
    };
    let mut out = Vec::new();
    let mut remaker = Remaker::new(&recipe);
    for chunk in plain.chunks(10_007) {
        remaker.write(chunk, &mut out).unwrap();
    }
    remaker.finish(&mut out).unwrap();
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn golang_1_19() {
    check("golang", 12 * 6);
}

#[test]
fn klauspost_all_behaviours_and_golang_1_27() {
    check("klauspost", (11 + 9 + 9 + 8 + 10 + 11) * 6);
}

#[test]
fn pgzip_of_both_segment_sizes() {
    check("pgzip", 7 * 6);
}

#[test]
fn zlib_1_2_13() {
    check("zlib", 16 * 6);
}

#[test]
fn gnu_gzip_1_12_rsyncable() {
    check("rsyncable", 9 * 6);
}

#[test]
fn gnu_gzip_1_12() {
    check("gnugzip", 9 * 6);
}

#[test]
fn pigz_2_6() {
    check("pigz", 9 * 6);
}

#[test]
fn zlib_ng_2_1_and_2_2_and_zlib_rs_0_6_8() {
    check("zlib-ng", (21 + 5 + 9) * 6);
}

#[test]
fn miniz_oxide_0_8_9() {
    check("miniz", 12 * 6);
}

#[test]
fn chromium_in_node_20() {
    check("chromium", 12 * 6);
}

#[test]
fn no_row_is_forgotten() {
    let rows = GOLDEN.lines().filter(|row| !row.starts_with('#')).count();
    assert_eq!(rows, (12 + 58 + 7 + 16 + 9 + 9 + 9 + 35 + 12 + 12) * 6);
}
