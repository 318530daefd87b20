//! How much a stranger's image may ask of us before we refuse.
//!
//! Limits are met before memory is taken. They are for reading: nothing we write comes near them.

/// Ceilings for what is read. Every default is far above any image seen in practice and far
/// below what would hurt the machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a manifest, an index or a layout file: 16 MiB. Registries refuse more than 4 MiB.
    pub manifest_bytes: u64,
    /// Bytes of an image config: 32 MiB. Histories with large build arguments reach a few.
    pub config_bytes: u64,
    /// Layers of one image: 4,096. Overlay mounts stop at a few hundred.
    pub layers: u64,
    /// Descriptors in one index, and indexes nested in each other: 10,000. Multi-platform images
    /// have some dozens.
    pub descriptors: u64,
    /// Members of an archive that is read as an image: 1,000,000.
    pub archive_members: u64,
    /// Uncompressed bytes of one layer: 256 GiB, beyond the largest model images.
    pub layer_bytes: u64,
    /// Uncompressed bytes per compressed byte once a layer passes [`Limits::expansion_free_bytes`]:
    /// 1,100, just above what deflate can do at all (1,032), so that only zstd bombs are met.
    pub expansion: u64,
    /// Uncompressed bytes that any layer may reach whatever its compressed size: 1 GiB.
    pub expansion_free_bytes: u64,
    /// Memory of a zstd layer's window: 2^31 bytes at most by the format's `--long=31`; we take
    /// 128 MiB (`--long=27`, what registries' clients accept).
    pub zstd_window_log: u32,
    /// Entries of one layer: 4,000,000.
    pub layer_entries: u64,
    /// Bytes of one PAX or GNU extension header (long names, attributes): 1 MiB, as Go's reader.
    pub extension_bytes: u64,
    /// Bytes of all names, links and attributes of one layer: 256 MiB, sixty for each of the
    /// entries allowed. They are what an index keeps in memory.
    pub layer_text_bytes: u64,
    /// Bytes of one package database that is read: 64 MiB.
    pub database_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 16 << 20,
            config_bytes: 32 << 20,
            layers: 4096,
            descriptors: 10_000,
            archive_members: 1_000_000,
            layer_bytes: 256 << 30,
            expansion: 1100,
            expansion_free_bytes: 1 << 30,
            zstd_window_log: 27,
            layer_entries: 4_000_000,
            extension_bytes: 1 << 20,
            layer_text_bytes: 256 << 20,
            database_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// Returns `found`, or the error that names the limit it is over.
    pub fn admit(
        limit: u64,
        found: u64,
        what: &'static str,
        place: impl std::fmt::Display,
    ) -> crate::Result<u64> {
        if found <= limit {
            return Ok(found);
        }
        Err(crate::Error::OverLimit { place: place.to_string(), what, found, limit })
    }
}
