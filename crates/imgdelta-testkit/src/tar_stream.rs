//! Hand-made tar streams for tests: headers of every dialect, valid or wrong on purpose.
//!
//! Shares no code with the readers under test.

const BLOCK_BYTES: usize = 512;

/// A header block under construction.
#[derive(Clone)]
pub struct HeaderBlock(pub [u8; BLOCK_BYTES]);

impl HeaderBlock {
    /// Returns a USTAR header.
    pub fn new(flag: u8, name: &[u8], size: u64) -> Self {
        let mut block = Self([0; BLOCK_BYTES]);
        block.put(0, name).put(100, b"0000644\0").put(108, b"0001750\0").put(116, b"0000144\0");
        block.put(124, format!("{size:011o}\0").as_bytes()).put(136, b"14000000000\0");
        block.0[156] = flag;
        block.put(257, b"ustar\x0000").put(265, b"user").put(297, b"group");
        block.put(329, b"0000000\0").put(337, b"0000000\0");
        block.sealed()
    }

    /// Returns a header as `GNU` tar writes it.
    pub fn gnu(flag: u8, name: &[u8], size: u64) -> Self {
        Self::new(flag, name, size).with(257, b"ustar  \0")
    }

    /// Replaces bytes at an offset and recomputes the checksum.
    pub fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes);
        self.sealed()
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn sealed(mut self) -> Self {
        self.put(148, b"        ");
        let sum: u32 = self.0.iter().map(|&byte| u32::from(byte)).sum();
        self.put(148, format!("{sum:06o}\0 ").as_bytes());
        self
    }
}

/// A tar stream under construction.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    /// Starts an empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a header and its body, padded with zeros.
    pub fn add(self, block: &HeaderBlock, body: &[u8]) -> Self {
        self.raw(&block.0).raw(body).pad(0)
    }

    /// Appends bytes without padding.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Fills the last block with `filler`.
    pub fn pad(mut self, filler: u8) -> Self {
        self.0.resize(self.0.len().next_multiple_of(BLOCK_BYTES), filler);
        self
    }

    /// Appends blocks of zeros.
    pub fn zeros(mut self, blocks: usize) -> Self {
        self.0.resize(self.0.len() + blocks * BLOCK_BYTES, 0);
        self
    }

    /// Appends a regular file.
    pub fn file(self, name: &str, body: &[u8]) -> Self {
        self.add(&HeaderBlock::new(b'0', name.as_bytes(), body.len() as u64), body)
    }

    /// Appends a directory.
    pub fn dir(self, name: &str) -> Self {
        self.add(&HeaderBlock::new(b'5', name.as_bytes(), 0), b"")
    }

    /// Appends a link of the given type.
    pub fn link(self, flag: u8, name: &str, target: &str) -> Self {
        let block = HeaderBlock::new(flag, name.as_bytes(), 0).with(157, target.as_bytes());
        self.add(&block, b"")
    }

    /// Appends a symbolic link.
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.link(b'2', name, target)
    }

    /// Appends a hard link.
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(b'1', name, target)
    }

    /// Appends a PAX header, which describes the next member.
    pub fn pax(self, flag: u8, pairs: &[(&[u8], &[u8])]) -> Self {
        let body = records(pairs);
        self.add(&HeaderBlock::new(flag, b"PaxHeaders/x", body.len() as u64), &body)
    }

    /// Appends a `GNU` long name or link, which belongs to the next member.
    pub fn long(self, flag: u8, name: &[u8]) -> Self {
        let body = [name, b"\0"].concat();
        self.add(&HeaderBlock::gnu(flag, b"././@LongLink", body.len() as u64), &body)
    }
}

/// Returns the body of a PAX header.
pub fn records(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in pairs {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while rest + len.to_string().len() != len {
            len = rest + len.to_string().len();
        }
        body.extend_from_slice(format!("{len} ").as_bytes());
        body.extend_from_slice(&[key, &b"="[..], value, b"\n"].concat());
    }
    body
}

/// Returns one stream with every variant that scans without damage.
pub fn every_variant() -> Vec<u8> {
    let long = "long/".repeat(60);
    let old_sparse = HeaderBlock::gnu(b'S', b"old-sparse", 1024)
        .with(386, b"00000000000\x0000000001000\0")
        .with(410, b"00000010000\x0000000000400\0")
        .with(482, b"\x01")
        .with(483, b"00001000000\0");
    let mut more = [0u8; BLOCK_BYTES];
    more[..24].copy_from_slice(b"00000100000\x0000000000400\0");
    let map = [&b"2\n0\n512\n4096\n4\n"[..], &[0; 497]].concat();
    Tar::new()
        .dir("./")
        .dir("./etc/")
        .file("./etc/passwd", b"root:x:0:0")
        .symlink("bin", "usr/bin")
        .hard_link("etc/shadow", "./etc/passwd")
        .add(
            &HeaderBlock::new(b'3', b"dev/null", 0).with(329, b"0000001\0").with(337, b"0000003\0"),
            b"",
        )
        .add(&HeaderBlock::new(b'4', b"dev/sda", 0), b"")
        .add(&HeaderBlock::new(b'6', b"fifo", 0), b"")
        .add(&HeaderBlock::new(b'7', b"contiguous", 3), b"abc")
        .add(&HeaderBlock::new(0, b"v7", 2).with(257, &[0; 8]), b"v7")
        .add(&HeaderBlock::new(0, b"v7dir/", 0).with(257, &[0; 8]), b"")
        .add(&HeaderBlock::new(b'0', b"dir-by-slash/", 0), b"")
        .add(&HeaderBlock::new(b'0', b"name", 0).with(345, b"a/prefix"), b"")
        .add(&HeaderBlock::new(b'0', b"\xff\xfe\x80", 1), b"x")
        .add(&HeaderBlock::new(b'Z', b"unknown", 5), b"what?")
        .long(b'L', format!("{long}file").as_bytes())
        .add(&HeaderBlock::gnu(b'0', b"long/long", 600), &[7; 600])
        .long(b'K', long.as_bytes())
        .long(b'L', format!("{long}link").as_bytes())
        .add(&HeaderBlock::gnu(b'2', b"long/long", 0), b"")
        .pax(b'g', &[(b"comment", b"0123"), (b"uname", b"everyone")])
        .pax(
            b'x',
            &[(b"path", "grüße".as_bytes()), (b"mtime", b"1.5"), (b"SCHILY.xattr.user.a", b"1")],
        )
        .add(&HeaderBlock::new(b'0', b"gr__e", 1), b"y")
        .pax(b'X', &[(b"path", b"solaris"), (b"size", b"700")])
        .add(&HeaderBlock::new(b'0', b"short", 1), &[9; 700])
        .add(
            &HeaderBlock::gnu(b'0', b"base256", 0).with(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x05"),
            b"fives",
        )
        .raw(&old_sparse.0)
        .raw(&more)
        .raw(&[1; 1024])
        .pax(
            b'x',
            &[
                (b"GNU.sparse.numblocks", b"1"),
                (b"GNU.sparse.size", b"9000"),
                (b"GNU.sparse.offset", b"100"),
                (b"GNU.sparse.numbytes", b"5"),
            ],
        )
        .add(&HeaderBlock::new(b'0', b"sparse-0.0", 5), b"01234")
        .pax(
            b'x',
            &[
                (b"GNU.sparse.name", b"sparse-0.1"),
                (b"GNU.sparse.size", b"9000"),
                (b"GNU.sparse.map", b"100,2,102,3"),
            ],
        )
        .add(&HeaderBlock::new(b'0', b"GNUSparseFile.1/x", 5), b"01234")
        .pax(
            b'x',
            &[
                (b"GNU.sparse.major", b"1"),
                (b"GNU.sparse.minor", b"0"),
                (b"GNU.sparse.name", b"sparse-1.0"),
                (b"GNU.sparse.realsize", b"4100"),
            ],
        )
        .raw(&HeaderBlock::new(b'0', b"GNUSparseFile.1/y", 1028).0)
        .raw(&map)
        .raw(&[3; 516])
        .pad(0xaa)
        .add(&HeaderBlock::new(b'1', b"link-with-body", 4).with(157, b"v7"), b"body")
        .add(&HeaderBlock::new(b'5', b"dir-with-size", 4096), b"")
        .file("etc/passwd", b"again")
        .zeros(2)
        .file("after", b"end")
        .zeros(19)
        .0
}
