//! The front of a delta: the file without the payloads of its recipes and carried sections.
//!
//! Parses bytes whose digest was compared. Does not check that the layers can be made.

use super::{layer_set::LayerSet, manifest::Artifact, media::MAX_PARTS};
use imgdelta_apply::delta::{LayerBody, LayerCost, LayerOutline, Outline, SectionKind};
use imgdelta_core::{Error, Result, limits::Ceiling};
use imgdelta_format::{
    ReadLimits,
    container::{DIGEST_BYTES, HEAD_BYTES, MAJOR, SectionHead, version},
};
use std::io::{Read, Write};

/// A front, parsed.
#[derive(Clone, Debug)]
pub struct Front {
    /// The target, and the way in which each layer is made.
    pub outline: Outline,
    /// The stated cost of each layer; empty if it is missing or does not parse.
    pub costs: Vec<LayerCost>,
    bytes: Vec<u8>,
    /// Gaps for parts: the offset in the bytes, the kind and the length of the part.
    gaps: Vec<(usize, SectionKind, u64)>,
}

impl Front {
    /// Parses a front whose digest was compared.
    pub fn parse(bytes: Vec<u8>, place: &str) -> Result<Self> {
        let invalid = |what: &str| Error::bad_input(place, what);
        let cut = || invalid("the front of the delta is cut");
        let limits = ReadLimits::default();
        let head = bytes.first_chunk::<HEAD_BYTES>().ok_or_else(cut)?;
        if version(head).is_none_or(|(major, _)| major != MAJOR) {
            return Err(invalid("not the front of a delta that this program can read"));
        }
        let (mut at, mut gaps, mut outline) = (HEAD_BYTES, Vec::new(), None);
        let mut costs = Vec::new();
        loop {
            let rest = &bytes[at..];
            let (head, head_bytes) =
                SectionHead::read(rest).map_err(|error| invalid(&error.to_string()))?;
            at += head_bytes;
            let inside = match head.kind {
                SectionKind::End => break,
                SectionKind::Recipe | SectionKind::Carried => {
                    gaps.push((at, head.kind, head.bytes));
                    Ceiling::fixed(MAX_PARTS).admit(gaps.len() as u64, "count of parts", place)?;
                    0
                }
                _ => usize::try_from(head.bytes).map_err(|_| cut())?,
            };
            let end = at.checked_add(inside).ok_or_else(cut)?;
            let payload = bytes.get(at..end).ok_or_else(cut)?;
            if head.kind == SectionKind::Outline && outline.is_none() {
                let parsed = Outline::from_bytes(payload, &limits);
                outline = Some(parsed.map_err(|error| invalid(&error.to_string()))?);
            }
            if head.kind == SectionKind::Cost {
                costs = imgdelta_format::cost::from_bytes(payload, &limits).unwrap_or_default();
            }
            at = end.checked_add(DIGEST_BYTES).filter(|at| *at < bytes.len()).ok_or_else(cut)?;
        }
        let outline = outline.ok_or_else(|| invalid("the front of the delta has no outline"))?;
        Ok(Self { outline, costs, bytes, gaps })
    }

    /// Returns the lengths of the recipes, in the file's order.
    pub fn recipe_bytes(&self) -> Vec<u64> {
        let recipes = self.gaps.iter().filter(|(_, kind, _)| *kind == SectionKind::Recipe);
        recipes.map(|(_, _, bytes)| *bytes).collect()
    }

    /// Compares the recipes with those of the artifact's manifest.
    pub fn check(&self, artifact: &Artifact, place: &str) -> Result<()> {
        let recipes = &artifact.recipes;
        let sizes: Vec<u64> = recipes.iter().map(|recipe| recipe.blob.size_bytes).collect();
        if self.recipe_bytes() != sizes {
            let what = "its front has other recipes than its manifest";
            return Err(Error::bad_input(place, what));
        }
        let is_present = |layer: &LayerOutline| match layer.body {
            LayerBody::Recipe(ordinal) => (ordinal as usize) < recipes.len(),
            LayerBody::Kept | LayerBody::Carried(_) => true,
        };
        if !self.outline.layers.iter().all(is_present) {
            return Err(Error::bad_input(place, "its layers use recipes that it does not have"));
        }
        match &artifact.compresses {
            Some(stated) if *stated != self.compresses() => {
                let what = format!("its manifest says that it compresses layers {stated}");
                Err(Error::bad_input(place, format!("{what}, its front {}", self.compresses())))
            }
            _ => Ok(()),
        }
    }

    /// Returns the layers whose blobs it makes from their streams.
    pub fn compresses(&self) -> LayerSet {
        let layers = self.outline.layers.iter();
        LayerSet::of(layers.map(|layer| layer.envelope.makes_blob()))
    }

    /// Writes the delta file. `part` opens the part of a kind with an ordinal among those.
    pub fn join(
        &self,
        part: &mut dyn FnMut(SectionKind, usize) -> Result<Box<dyn Read>>,
        out: &mut dyn Write,
    ) -> Result<()> {
        let place = "joined delta";
        let (mut at, mut recipes, mut carried) = (0, 0, 0);
        for (gap, kind, bytes) in &self.gaps {
            out.write_all(&self.bytes[at..*gap]).map_err(Error::io(place))?;
            at = *gap;
            let ordinal = if *kind == SectionKind::Recipe { &mut recipes } else { &mut carried };
            let mut reader = part(*kind, *ordinal)?.take(*bytes);
            *ordinal += 1;
            let found = std::io::copy(&mut reader, out).map_err(Error::io(place))?;
            if found != *bytes {
                let what = format!("a part has {found} bytes, should have {bytes}");
                return Err(Error::bad_input(place, what));
            }
        }
        out.write_all(&self.bytes[at..]).map_err(Error::io(place))
    }
}

/// Bytes of a front: two documents and a table, compressed; a few megabytes at most.
pub(crate) const MAX_FRONT_BYTES: u64 = 64 << 20;
