//! Digests inside payloads, which a reader computes instead of receiving them.
//! Never hashes.
//!
//! Lists such as those of packages hold the digest of each file. Where a payload has the digest of
//! another payload, a recipe names the place, the spelling and that payload.

use super::{
    columns::{
        DIGEST_CONTENTS, DIGEST_GAPS, DIGEST_HOLDERS, DIGEST_SPELLINGS, RecipeColumns, readers,
    },
    origins::PayloadOrigin,
};
use crate::{ReadLimitName, ReadLimits, bounds::admit, error::Result, fields::FieldReader};
use imgdelta_wire::MAX_PLACE;

/// A place in a payload that has the digest of another payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestPlace {
    /// Ordinal of the payload that has the place. Its origin is [`PayloadOrigin::Rebuilt`].
    pub holder: u32,
    /// Offset of the place in it.
    pub offset: u64,
    /// The digest and its spelling.
    pub spelling: DigestSpelling,
    /// Ordinal of the payload whose digest it is.
    pub content: u32,
}

/// A hash function, and the way in which a digest is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DigestSpelling {
    /// MD5 in hexadecimal digits, as in dpkg's `md5sums`.
    Md5Hex,
    /// SHA-256 in hexadecimal digits, as in `SHA256SUMS`.
    Sha256Hex,
    /// SHA-256 in base64 for URLs without padding, as in Python's `RECORD`.
    Sha256Base64Url,
    /// SHA-1 in base64 with padding, as in apk's list of installed files.
    Sha1Base64,
}

impl DigestSpelling {
    /// All spellings, by their numbers.
    pub const ALL: [Self; 4] =
        [Self::Md5Hex, Self::Sha256Hex, Self::Sha256Base64Url, Self::Sha1Base64];

    /// Returns the length of a spelled digest.
    pub fn bytes(self) -> usize {
        match self {
            Self::Md5Hex => 32,
            Self::Sha256Hex => 64,
            Self::Sha256Base64Url => 43,
            Self::Sha1Base64 => 28,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Md5Hex => 0,
            Self::Sha256Hex => 1,
            Self::Sha256Base64Url => 2,
            Self::Sha1Base64 => 3,
        }
    }
}

impl DigestPlace {
    /// Returns the offset behind the place.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.spelling.bytes() as u64)
    }
}

/// Writes places, which are ordered by holder and offset.
///
/// # Panics
/// If they are not, or if one lies in a payload whose origin is not [`PayloadOrigin::Rebuilt`].
pub(super) fn write(
    columns: &mut RecipeColumns,
    places: &[DigestPlace],
    origins: &[PayloadOrigin],
) {
    let rebuilt = super::groups::rebuilt(origins);
    let (mut rank_before, mut next_content, mut end) = (0, 0, (None, 0));
    for place in places {
        let rank = rebuilt.binary_search(&place.holder).expect("holders are rebuilt") as u64;
        columns.place(DIGEST_HOLDERS, rank_before, rank);
        rank_before = rank;
        let start = if end.0 == Some(place.holder) { end.1 } else { 0 };
        let gap = place.offset.checked_sub(start).expect("places are ordered");
        columns.varint(DIGEST_GAPS, gap);
        end = (Some(place.holder), place.end());
        columns.byte(DIGEST_SPELLINGS, place.spelling.number());
        columns.place(DIGEST_CONTENTS, next_content, u64::from(place.content));
        next_content = u64::from(place.content) + 1;
    }
}

/// Reads the places.
pub(super) fn read(
    columns: &RecipeColumns,
    origins: &[PayloadOrigin],
    limits: &ReadLimits,
) -> Result<Vec<DigestPlace>> {
    let [mut holders, mut gaps, mut spellings, mut contents] =
        readers(columns, [DIGEST_HOLDERS, DIGEST_GAPS, DIGEST_SPELLINGS, DIGEST_CONTENTS]);
    let rebuilt = super::groups::rebuilt(origins);
    let mut places: Vec<DigestPlace> = Vec::new();
    let (mut rank_before, mut next_content) = (0, 0);
    while !spellings.is_empty() {
        admit(limits, ReadLimitName::Members, places.len() as u64 + 1, "digests in payloads")?;
        let rank = holders.place_near(rank_before, "payload of a digest")?;
        let before = places.last().filter(|_| rank == rank_before);
        let start = before.map_or(0, DigestPlace::end);
        // Ascending ranks keep the places of one payload together.
        let holder = usize::try_from(rank).ok().and_then(|rank| rebuilt.get(rank));
        let Some(&holder) = holder.filter(|_| rank >= rank_before) else {
            return Err(holders.malformed("payload of a digest", rebuilt.len() as u64, rank));
        };
        rank_before = rank;
        let offset = start.saturating_add(gaps.number("place of a digest")?);
        let number = spellings.byte("spelling of a digest")?;
        let Some(&spelling) = DigestSpelling::ALL.get(usize::from(number)) else {
            let most = DigestSpelling::ALL.len() as u64 - 1;
            return Err(spellings.malformed("spelling of a digest", most, number.into()));
        };
        let content = contents.place_near(next_content, "content of a digest")?;
        if content >= origins.len() as u64 {
            let most = origins.len() as u64;
            return Err(contents.malformed("content of a digest", most, content));
        }
        next_content = content + 1;
        let content = u32::try_from(content).expect("payloads are limited");
        let place = DigestPlace { holder, offset, spelling, content };
        if place.end() > MAX_PLACE {
            return Err(gaps.malformed("end of a digest", MAX_PLACE, place.end()));
        }
        places.push(place);
    }
    [holders, gaps, contents].iter().try_for_each(FieldReader::end)?;
    Ok(places)
}
