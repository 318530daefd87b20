//! The bytes of a delta by layer and file, for people.
//! Never a base for decisions: the numbers are the writer's claim, and a reader may skip them.
//!
//! Files that cost much are listed; the rest are summed.

use crate::{
    ReadLimitName, ReadLimits,
    bounds::{admit, unpack_within},
    error::Result,
    fields::FieldReader,
};
use imgdelta_coding::pack::Packer;
use imgdelta_wire::Columns;

/// Cost of one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerCost {
    /// Bytes of its header columns.
    pub headers: u64,
    /// Files by name, at least the expensive ones.
    pub files: Vec<FileCost>,
    /// Sums of all other files, by provenance.
    pub rest: Vec<RestCost>,
}

/// Cost of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCost {
    /// Its path as the layer spells it.
    pub path: Vec<u8>,
    /// Its provenance.
    pub how: Provenance,
    /// Its length.
    pub target_bytes: u64,
    /// Its bytes in the delta.
    pub delta_bytes: u64,
}

/// Cost of files that are not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestCost {
    /// Their provenance.
    pub how: Provenance,
    /// Their number.
    pub count: u64,
    /// Their lengths together.
    pub target_bytes: u64,
    /// Their bytes in the delta.
    pub delta_bytes: u64,
}

/// The way a file is made. Numbers of later versions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Provenance(pub u8);

impl Provenance {
    /// A copy of the file of the same entry in the base.
    pub const KEPT: Self = Self(0);
    /// A copy of another file of the base.
    pub const MOVED: Self = Self(1);
    /// A copy of another file of the same layer.
    pub const REPEATED: Self = Self(2);
    /// Rebuilt from files of the base.
    pub const PATCHED: Self = Self(3);
    /// Carried, since nothing in the base is similar.
    pub const LITERAL: Self = Self(4);
    /// An archive, closed again from its parts.
    pub const OPENED: Self = Self(5);

    /// Returns the name for listings.
    pub fn name(self) -> &'static str {
        let known = ["kept", "moved", "repeated", "patched", "literal", "opened"];
        known.get(usize::from(self.0)).copied().unwrap_or("other")
    }
}

/// Returns costs as bytes.
pub fn to_bytes(costs: &[LayerCost]) -> Vec<u8> {
    let mut columns = Columns::<COLUMNS>::new();
    let mut before: &[u8] = &[];
    for cost in costs {
        for value in [cost.headers, cost.files.len() as u64, cost.rest.len() as u64] {
            columns.varint(LAYERS, value);
        }
        for file in &cost.files {
            let shared = before.iter().zip(&file.path).take_while(|(a, b)| a == b).count();
            columns.varint(SHARED, shared as u64);
            columns.varint(ENDS, (file.path.len() - shared) as u64);
            columns.bytes(TEXT, &file.path[shared..]);
            columns.byte(HOWS, file.how.0);
            columns.varint(TARGET_BYTES, file.target_bytes);
            columns.varint(DELTA_BYTES, file.delta_bytes);
            before = &file.path;
        }
        for rest in &cost.rest {
            columns.byte(REST, rest.how.0);
            columns.varint(REST, rest.count);
            columns.varint(REST, rest.target_bytes);
            columns.varint(REST, rest.delta_bytes);
        }
    }
    Packer::new(LEVEL).pack(columns.all())
}

/// Reads the bytes of [`to_bytes`].
pub fn from_bytes(bytes: &[u8], limits: &ReadLimits) -> Result<Vec<LayerCost>> {
    let columns =
        Columns::<COLUMNS>::of(unpack_within(bytes, COLUMNS, limits, ReadLimitName::CostBytes)?);
    let mut reader = CostReader {
        columns: std::array::from_fn(|n| FieldReader::new("costs", columns.column(n))),
        files: 0,
        path_bytes: 0,
    };
    let mut costs = Vec::new();
    let mut before = Vec::new();
    while !reader.columns[LAYERS].is_empty() {
        admit(limits, ReadLimitName::Layers, costs.len() as u64 + 1, "layers in the costs")?;
        let headers = reader.number(LAYERS)?;
        let (files, rest) = (reader.number(LAYERS)?, reader.number(LAYERS)?);
        admit(limits, ReadLimitName::CostFiles, rest, "summed costs of a layer")?;
        let mut cost = LayerCost { headers, ..LayerCost::default() };
        for _ in 0..files {
            cost.files.push(reader.file(&mut before, limits)?);
        }
        for _ in 0..rest {
            let how = Provenance(reader.columns[REST].byte("provenance of files")?);
            let (count, target_bytes) = (reader.number(REST)?, reader.number(REST)?);
            let delta_bytes = reader.number(REST)?;
            cost.rest.push(RestCost { how, count, target_bytes, delta_bytes });
        }
        costs.push(cost);
    }
    reader.columns.iter().try_for_each(FieldReader::end)?;
    Ok(costs)
}

struct CostReader<'a> {
    columns: [FieldReader<'a>; COLUMNS],
    files: u64,
    path_bytes: u64,
}

impl CostReader<'_> {
    fn number(&mut self, column: usize) -> Result<u64> {
        self.columns[column].number("number in the costs")
    }

    fn file(&mut self, before: &mut Vec<u8>, limits: &ReadLimits) -> Result<FileCost> {
        self.files += 1;
        admit(limits, ReadLimitName::CostFiles, self.files, "files in the costs")?;
        let shared = self.number(SHARED)?;
        if shared > before.len() as u64 {
            let found = before.len() as u64;
            return Err(self.columns[SHARED].malformed("shared front of a path", found, shared));
        }
        let end = self.number(ENDS)?;
        // Shared fronts cost nothing on the wire, but memory in full.
        self.path_bytes = self.path_bytes.saturating_add(shared).saturating_add(end);
        admit(limits, ReadLimitName::CostBytes, self.path_bytes, "bytes of paths in the costs")?;
        before.truncate(usize::try_from(shared).unwrap_or(usize::MAX));
        before.extend_from_slice(self.columns[TEXT].bytes(end, "end of a path")?);
        Ok(FileCost {
            path: before.clone(),
            how: Provenance(self.columns[HOWS].byte("provenance of a file")?),
            target_bytes: self.number(TARGET_BYTES)?,
            delta_bytes: self.number(DELTA_BYTES)?,
        })
    }
}

const LAYERS: usize = 0;
const SHARED: usize = 1;
const ENDS: usize = 2;
const TEXT: usize = 3;
const HOWS: usize = 4;
const TARGET_BYTES: usize = 5;
const DELTA_BYTES: usize = 6;
const REST: usize = 7;
const COLUMNS: usize = 8;
/// Small, and made once for many readers.
const LEVEL: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    fn costs() -> Vec<LayerCost> {
        let file = |path: &[u8], how, target_bytes, delta_bytes| FileCost {
            path: path.to_vec(),
            how,
            target_bytes,
            delta_bytes,
        };
        vec![
            LayerCost {
                headers: 12,
                files: vec![
                    file(b"usr/bin/git", Provenance::PATCHED, 4_000_000, 1509),
                    file(b"usr/bin/gitk", Provenance::LITERAL, 7, 9),
                    file(b"\xff", Provenance(200), 1, u64::MAX),
                ],
                rest: vec![RestCost {
                    how: Provenance::KEPT,
                    count: 8000,
                    target_bytes: 1 << 40,
                    delta_bytes: 0,
                }],
            },
            LayerCost::default(),
        ]
    }

    #[test]
    fn costs_come_back() {
        let limits = ReadLimits::default();
        assert_eq!(from_bytes(&to_bytes(&costs()), &limits).unwrap(), costs());
        assert_eq!(from_bytes(&to_bytes(&[]), &limits).unwrap(), []);
        assert_eq!((Provenance::MOVED.name(), Provenance(9).name()), ("moved", "other"));
    }

    #[test]
    fn cuts_and_long_lists_are_refused() {
        let bytes = to_bytes(&costs());
        let limits = ReadLimits::default();
        for len in 0..bytes.len() {
            assert!(from_bytes(&bytes[..len], &limits).is_err(), "cut at {len}");
        }
        let few = ReadLimits { cost_files: 2, ..limits };
        assert!(from_bytes(&bytes, &few).is_err());
    }

    #[test]
    fn shared_fronts_take_no_more_memory_than_admitted() {
        let path = vec![b'x'; 1000];
        let file = FileCost { path, how: Provenance::KEPT, target_bytes: 0, delta_bytes: 0 };
        let cost = LayerCost { files: vec![file; 1000], ..LayerCost::default() };
        let bytes = to_bytes(&[cost]);
        assert!(bytes.len() < 300, "{} bytes", bytes.len());
        let limits = ReadLimits { cost_bytes: 100_000, ..ReadLimits::default() };
        assert!(from_bytes(&bytes, &limits).is_err());
    }
}
