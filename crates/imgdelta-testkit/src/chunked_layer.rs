//! A layer with everything that a table of contents can hold, and the blobs that containers/storage
//! writes of it.
//!
//! Knows recipes as bytes only; decodes none.

use crate::{
    noise,
    tar_stream::{HeaderBlock, Tar, records},
};

/// Returns a layer with one member for every case of the table of contents.
fn layer() -> Vec<u8> {
    let words = noise(1, 40_000).iter().fold(Vec::new(), |mut words, byte| {
        words.extend_from_slice(
            &b"layer of many files, blob of one digest"[usize::from(byte % 19)..],
        );
        words
    });
    let mut holes = noise(2, 700);
    holes.resize(holes.len() + 1023, 0);
    holes.push(1);
    holes.resize(holes.len() + 5000, 0);
    holes.extend(noise(3, 9000));
    holes.resize(holes.len() + 300_000, 0);
    let pax = records(&[
        (b"path", "a/ü<&>\"\\\u{2028}name".as_bytes()),
        (b"mtime", b"1700000000.25"),
        (b"SCHILY.xattr.user.b", b"\0\xff"),
        (b"SCHILY.xattr.security.capability", b"value"),
    ]);
    let file = |name: &[u8], body: &[u8]| HeaderBlock::new(b'0', name, body.len() as u64);
    Tar::new()
        .add(&HeaderBlock::new(b'5', b"a/", 0).with(100, b"0040755\0"), b"")
        .add(&file(b"a/empty", b"").with(157, b".."), b"")
        .add(&file(b"a/one", b"x"), b"x")
        .add(&file(b"a/1024", &words[..1024]), &words[..1024])
        .add(&file(b"a/words", &words), &words)
        .add(&file(b"a/holes", &holes), &holes)
        .add(&file(b"a/noise", &noise(4, 150_000)), &noise(4, 150_000))
        .add(&HeaderBlock::new(b'x', b"pax", pax.len() as u64), &pax)
        .add(&file(b"short", &words[..65_792]), &words[..65_792])
        .add(&HeaderBlock::new(b'2', b"a/link", 0).with(157, b"words"), b"")
        .add(&HeaderBlock::new(b'1', b"a/again", 0).with(157, b"a/words"), b"")
        .add(
            &HeaderBlock::new(b'3', b"a/null", 0).with(329, b"0000001\0").with(337, b"0000003\0"),
            b"",
        )
        .add(&HeaderBlock::new(b'6', b"a/pipe", 0), b"")
        .add(&file(b"a/\xff\xfe", b"no text"), b"no text")
        .raw(&[0; 1024])
        .0
}

/// The blob that one version of containers/storage writes of the layer.
pub struct ChunkedRow {
    /// Version of containers/storage and level.
    pub writer: &'static str,
    /// Zero bytes after the end of the archive.
    zeros: usize,
    recipe: &'static str,
    /// Digest of the blob.
    pub digest: &'static str,
}

impl ChunkedRow {
    /// Returns the recipe of the blob.
    pub fn recipe_bytes(&self) -> Vec<u8> {
        let digits = self.recipe.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    /// Returns the layer's stream.
    pub fn layer(&self) -> Vec<u8> {
        let mut layer = layer();
        layer.resize(layer.len() + self.zeros, 0);
        layer
    }
}

/// Rows for each writer's format of the table, for some levels, and for zeros after the archive.
pub const CHUNKED_ROWS: [ChunkedRow; 7] = [
    ChunkedRow {
        writer: "1.45.0, level 3",
        zeros: 0,
        recipe: "01010501000002000628b52ffd04689921502a4d18280000001b900300000000008c0400000000000099\
             100000000000000100000000000000476e556c496e5578",
        digest: "sha256:5eceb97ede67310e7dd6dd0be0633703f8e837aa82f99a4e31f5df523961baac",
    },
    ChunkedRow {
        writer: "1.48.0, level 3",
        zeros: 0,
        recipe: "010b0501000002000628b52ffd04689921b676502a4d18380000001b900300000000008c040000000000\
             0099100000000000000100000000000000476e556c496e557800000000000000000000000000000000",
        digest: "sha256:01e8dd99a8e58fd5c49bc2c96bc6b90687677efbffc8e58ee6d8664fe313829c",
    },
    ChunkedRow {
        writer: "1.54.0, level 3",
        zeros: 0,
        recipe: "010f0501000402000628b52ffd0468f421b676502a4d18400000000290030000000000bc040000000000\
             00f4100000000000000100000000000000c6940300000000006a04000000000000363b00000000000047\
             4e556c496e5578",
        digest: "sha256:4f5a748fc2a563a92b525ef32b7999d2778508c1e4339e8926dbeabf8cc440e4",
    },
    ChunkedRow {
        writer: "1.59.1, level 1",
        zeros: 0,
        recipe: "01060501000401000628b52ffd0460cc1ab676502a4d18400000003591030000000000af040000000000\
             004c0d0000000000000100000000000000ec950300000000006404000000000000363b00000000000047\
             4e556c496e5578",
        digest: "sha256:8ff3d26df3b785c577493fcc7c2678b1f5a3c518bcf68837f57d4dc7a89780cf",
    },
    ChunkedRow {
        writer: "1.59.1, level 10",
        zeros: 0,
        recipe: "01060501000404000628b52ffd0468cc1ab676502a4d1840000000335b03000000000085040000000000\
             004c0d0000000000000100000000000000c05f0300000000004704000000000000363b00000000000047\
             4e556c496e5578",
        digest: "sha256:772a07fa876bb8c3749c73690f172012053da266bf08063ba2b2625362a144c3",
    },
    ChunkedRow {
        writer: "1.54.0, level 3, zeros after the archive",
        zeros: 6000,
        recipe: "010f0501000402000628b52ffd0468f4219cb501502a4d18400000000e90030000000000bb0400000000\
             0000f4100000000000000100000000000000d19403000000000078040000000000009c5a000000000000\
             474e556c496e5578",
        digest: "sha256:1be9c686a5abefe4556abae6b78e651818f11a76c8a59d0b28d802f66727f563",
    },
    ChunkedRow {
        writer: "1.59.1, level 3, zeros after the archive",
        zeros: 6000,
        recipe: "01060501000402000628b52ffd0468cc1a9cb501502a4d18400000000b90030000000000980400000000\
             00004c0d0000000000000100000000000000ab9403000000000076040000000000009c5a000000000000\
             474e556c496e5578",
        digest: "sha256:114703f18c1669b89b73d3e5c894954da9f98b72829b82305d0962c4f6bf0cbd",
    },
];
