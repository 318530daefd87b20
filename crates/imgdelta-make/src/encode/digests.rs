//! Lists that have digests of other files of their layer: those digests are left out.
//! Never believes a list: a digest is left out only if it is that of the file.
//!
//! A line names a file and has its digest, such as `900150983cd24fb0…  usr/bin/tool` of dpkg or
//! `pkg/tool.py,sha256=ungWv48B…,123` of pip; apk names the file on the lines before. Instead of a digest that the base lacks, the maker
//! encodes the bytes that the base has on the same line: they cost nothing.

use super::{
    layout::PayloadSpan,
    order::{LayerPayloads, PieceClass, RebuiltPayload, last_name},
    read_pieces,
};
use crate::plan::Plan;
use imgdelta_core::Result;
use imgdelta_format::recipe::{DigestPlace, DigestSpelling};
use imgdelta_image::{index::LayerIndex, volume::AddressSpace};
use imgdelta_layer::digests::SpelledHasher;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};

/// The digests of a layer that a receiver computes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LayerDigests {
    /// The places, by payload and offset.
    pub(super) places: Vec<DigestPlace>,
    /// For each place, the bytes that the groups make there.
    fillings: Vec<Vec<u8>>,
}

impl LayerDigests {
    /// Returns true if a payload has digests.
    pub(super) fn are_in(&self, payload: u32) -> bool {
        self.places.binary_search_by_key(&payload, |place| place.holder).is_ok()
    }

    /// Replaces the digests in `bytes`, which are those of a payload from `offset` on.
    pub(super) fn leave_out(&self, payload: u32, offset: u64, bytes: &mut [u8]) {
        let first = self.places.partition_point(|place| place.holder < payload);
        let end = offset + bytes.len() as u64;
        for (place, filling) in self.places[first..].iter().zip(&self.fillings[first..]) {
            if place.holder > payload {
                break;
            }
            let (from, to) = (place.offset.max(offset), place.end().min(end));
            if from < to {
                let at = |place: u64| usize::try_from(place).expect("lists fit in memory");
                let filling = &filling[at(from - place.offset)..at(to - place.offset)];
                bytes[at(from - offset)..at(to - offset)].copy_from_slice(filling);
            }
        }
    }
}

/// Finds the digests of a layer's lists.
pub(super) fn find(plan: &Plan, layer: &LayerPayloads<'_>) -> Result<LayerDigests> {
    let index = &*plan.target.layers[layer.ordinal as usize];
    let spaces = crate::plan::spaces(&plan.base, &plan.volume)?;
    let mut files = None;
    let mut contents = ContentDigests { plan, layer, known: HashMap::new() };
    let mut found: BTreeMap<u32, Vec<(DigestPlace, Vec<u8>)>> = BTreeMap::new();
    let mut holders = HashSet::new();
    for list in layer.rebuilt.iter().filter(|list| is_list(list)) {
        let text = read_target(layer, list)?;
        let tokens = tokens(&text);
        if tokens.is_empty() {
            continue;
        }
        let base = read_base(plan, &spaces, list)?;
        let base_lines = BaseLines::of(&base);
        let files = files.get_or_insert_with(|| FileNames::of(index, layer));
        for token in tokens {
            let spelled = &text[token.range.clone()];
            if base_lines.digests.contains(spelled) {
                continue;
            }
            let content = files.named_on(&text[token.line.clone()], &token, &text);
            let content = content.into_iter().find_map(|payload| {
                match contents.digest(payload, token.spelling) {
                    Ok(digest) if digest == spelled => Some(Ok(payload)),
                    Ok(_) => None,
                    Err(error) => Some(Err(error)),
                }
            });
            let Some(content) = content.transpose()? else { continue };
            let offset = token.range.start as u64;
            let DigestToken { spelling, .. } = token;
            let place = DigestPlace { holder: list.payload, offset, spelling, content };
            let filling = base_lines.at(&text, &token);
            holders.insert(list.payload);
            found.entry(list.payload).or_default().push((place, filling));
        }
    }
    // No digest depends on another one.
    let (mut places, mut fillings) = (Vec::new(), Vec::new());
    for (place, filling) in found.into_values().flatten() {
        if !holders.contains(&place.content) {
            places.push(place);
            fillings.push(filling);
        }
    }
    Ok(LayerDigests { places, fillings })
}

/// True for a payload that may be a list.
fn is_list(payload: &RebuiltPayload<'_>) -> bool {
    !payload.is_part && payload.class != PieceClass::Program && payload.bytes() <= MOST_LIST_BYTES
}

/// A digest in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DigestToken<'a> {
    range: Range<usize>,
    /// Its line, without the end mark.
    line: Range<usize>,
    spelling: DigestSpelling,
    /// The file that lines of apk before it name.
    file: Option<ApkFile<'a>>,
}

/// A file in apk's list: its directory, and its name there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ApkFile<'a> {
    directory: &'a [u8],
    name: &'a [u8],
}

impl ApkFile<'_> {
    fn path(self) -> Vec<u8> {
        let slash: &[u8] = if self.directory.is_empty() { b"" } else { b"/" };
        [self.directory, slash, self.name].concat()
    }
}

/// Finds the digests of a text, at most one on each line; none if the text is not one of lines.
fn tokens(text: &[u8]) -> Vec<DigestToken<'_>> {
    let mut tokens = Vec::new();
    let mut apk = ApkFile::default();
    let mut start = 0;
    for line in text.split(|&byte| byte == b'\n') {
        let end = start + line.len();
        if let Some(directory) = line.strip_prefix(b"F:") {
            apk = ApkFile { directory, name: b"" };
        } else if let Some(name) = line.strip_prefix(b"R:") {
            apk.name = name;
        } else if let Some(range) = apk_digest_in(line).filter(|_| !apk.name.is_empty()) {
            let range = start + range.start..start + range.end;
            let spelling = DigestSpelling::Sha1Base64;
            tokens.push(DigestToken { range, line: start..end, spelling, file: Some(apk) });
        } else if line.len() <= MOST_LINE_BYTES
            && let Some((range, spelling)) = digest_in(line)
        {
            let range = start + range.start..start + range.end;
            tokens.push(DigestToken { range, line: start..end, spelling, file: None });
        }
        start = end + 1;
    }
    tokens
}

/// Finds the digest on a line of apk.
fn apk_digest_in(line: &[u8]) -> Option<Range<usize>> {
    let digest = line.strip_prefix(APK_MARK)?;
    let (padding, digits) = digest.split_last()?;
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let is_whole = digest.len() == DigestSpelling::Sha1Base64.bytes() && *padding == b'=';
    (is_whole && digits.iter().all(is_base64)).then_some(APK_MARK.len()..line.len())
}

/// Finds the first digest on a line.
fn digest_in(line: &[u8]) -> Option<(Range<usize>, DigestSpelling)> {
    let mark = line.windows(PIP_MARK.len()).position(|window| window == PIP_MARK);
    if let Some(mark) = mark {
        let start = mark + PIP_MARK.len();
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let count = line[start..].iter().take_while(|byte| is_base64(byte)).count();
        let spelling = DigestSpelling::Sha256Base64Url;
        return (count == spelling.bytes()).then_some((start..start + count, spelling));
    }
    let mut start = 0;
    while start < line.len() {
        let count = line[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let spelling = match count {
            32 => Some(DigestSpelling::Md5Hex),
            64 => Some(DigestSpelling::Sha256Hex),
            _ => None,
        };
        let word = &line[start..start + count];
        let is_hex = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if let Some(spelling) = spelling.filter(|_| word.iter().all(is_hex)) {
            return Some((start..start + count, spelling));
        }
        start += count + 1;
    }
    None
}

/// The digests of the old version of a list.
struct BaseLines<'a> {
    digests: HashSet<&'a [u8]>,
    /// Digests by what else their line says.
    by_name: HashMap<Cow<'a, [u8]>, &'a [u8]>,
}

impl<'a> BaseLines<'a> {
    fn of(text: &'a [u8]) -> Self {
        let mut lines = Self { digests: HashSet::new(), by_name: HashMap::new() };
        for token in tokens(text) {
            let digest = &text[token.range.clone()];
            lines.digests.insert(digest);
            lines.by_name.insert(name_on(text, &token), digest);
        }
        lines
    }

    /// Returns the bytes that the base has instead of a digest, or zeros.
    fn at(&self, text: &[u8], token: &DigestToken<'_>) -> Vec<u8> {
        let bytes = token.range.end - token.range.start;
        match self.by_name.get(&name_on(text, token)) {
            Some(digest) if digest.len() == bytes => digest.to_vec(),
            _ => vec![b'0'; bytes],
        }
    }
}

/// Returns the file that earlier lines name, or what the line says before the digest; if that is nothing,
/// what it says behind.
fn name_on<'a>(text: &'a [u8], token: &DigestToken<'_>) -> Cow<'a, [u8]> {
    if let Some(file) = token.file {
        return file.path().into();
    }
    let before = &text[token.line.start..token.range.start];
    if before.is_empty() { &text[token.range.end..token.line.end] } else { before }.into()
}

/// The payloads of a layer by the names of their files.
struct FileNames<'a> {
    by_name: HashMap<&'a [u8], Vec<(&'a [u8], u32)>>,
}

impl<'a> FileNames<'a> {
    fn of(index: &'a LayerIndex, layer: &LayerPayloads<'a>) -> Self {
        let mut by_name: HashMap<&[u8], Vec<(&[u8], u32)>> = HashMap::new();
        for (payload, span) in (0..).zip(&layer.spans) {
            if let PayloadSpan::Entry(entry) = span {
                let path = index.entries.at(*entry as usize).path.as_bytes();
                by_name.entry(last_name(path)).or_default().push((path, payload));
            }
        }
        Self { by_name }
    }

    /// Returns the payloads of the file that a line is about: it ends with a word on the line.
    fn named_on(&self, line: &[u8], token: &DigestToken<'_>, text: &[u8]) -> Vec<u32> {
        if let Some(file) = token.file {
            return self.at_path(&file.path()).collect();
        }
        let digest = &text[token.range.clone()];
        let words =
            line.split(|byte| matches!(byte, b' ' | b'\t' | b',' | b'*' | b'"' | b'(' | b')'));
        let mut found = Vec::new();
        for word in words.filter(|word| !word.is_empty() && *word != digest) {
            let word = word.strip_prefix(b"./").unwrap_or(word);
            let word = word.strip_prefix(b"/").unwrap_or(word);
            found.extend(self.at_path(word));
        }
        found
    }

    /// Returns the payloads whose path ends with this one.
    fn at_path(&self, end: &[u8]) -> impl Iterator<Item = u32> {
        let paths = self.by_name.get(last_name(end)).into_iter().flatten();
        let paths = paths.filter(move |(path, _)| path.ends_with(end)).take(MOST_NAMED);
        paths.map(|(_, payload)| *payload)
    }
}

/// Digests of payloads that were computed.
struct ContentDigests<'a> {
    plan: &'a Plan,
    layer: &'a LayerPayloads<'a>,
    known: HashMap<(u32, DigestSpelling), Vec<u8>>,
}

impl ContentDigests<'_> {
    fn digest(&mut self, payload: u32, spelling: DigestSpelling) -> Result<Vec<u8>> {
        if let Some(known) = self.known.get(&(payload, spelling)) {
            return Ok(known.clone());
        }
        let mut hasher = SpelledHasher::new(spelling);
        let start = self.layer.stream_offset(payload);
        let range = start..start + self.layer.payload_bytes(payload);
        read_pieces(range, &mut |piece| hasher.update(piece), |at, piece| {
            self.plan.context.progress.check()?;
            self.layer.target.read_exact_at(false, at, piece)
        })?;
        let digest = hasher.finish();
        self.known.insert((payload, spelling), digest.clone());
        Ok(digest)
    }
}

fn read_target(layer: &LayerPayloads<'_>, list: &RebuiltPayload<'_>) -> Result<Vec<u8>> {
    let mut text = vec![0; super::usize_of(list.bytes())];
    layer.target.read_exact_at(false, list.target.start, &mut text)?;
    Ok(text)
}

/// Reads the first base file of a list; nothing if there is none or it is too long.
fn read_base(plan: &Plan, spaces: &[AddressSpace], list: &RebuiltPayload<'_>) -> Result<Vec<u8>> {
    let Some(place) = list.places.first().filter(|place| !plan.is_part(**place)) else {
        return Ok(Vec::new());
    };
    let payload = plan.base_entry(*place).payload;
    if payload.end - payload.start > MOST_LIST_BYTES {
        return Ok(Vec::new());
    }
    let mut text = vec![0; super::usize_of(payload.end - payload.start)];
    spaces[place.layer as usize].read_exact_at(payload.start, &mut text)?;
    Ok(text)
}

const PIP_MARK: &[u8] = b"sha256=";
const APK_MARK: &[u8] = b"Z:Q1";
/// Longer files are not lists of a package.
const MOST_LIST_BYTES: u64 = 4 << 20;
/// Longer lines are not those of a list.
const MOST_LINE_BYTES: usize = 4096;
/// Files of one name that are hashed for a line, at most.
const MOST_NAMED: usize = 4;
