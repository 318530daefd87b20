//! Paths inside layers, and a stranger's bytes made safe for a terminal.
//!
//! A path is bytes, since names in images need not be UTF-8. Never touches a file system.

use std::{
    borrow::{Borrow, Cow},
    fmt::{self, Write as _},
};

/// A path inside an image's root file system: relative to it, without `.`, `..` or empty parts.
///
/// The root itself is the empty path. A layer's spelling (`./a//b/`, `/a/b`, `a/../b`) is parsed
/// once, as container runtimes do: parts that climb above the root stay at the root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerPath(Box<[u8]>);

impl LayerPath {
    /// Cleans a layer's spelling.
    pub fn parse(spelling: &[u8]) -> Self {
        if Self::is_clean(spelling) {
            return Self(spelling.into());
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in spelling.split(|&byte| byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        Self(parts.join(&b'/').into())
    }

    fn is_clean(spelling: &[u8]) -> bool {
        spelling.is_empty()
            || spelling.split(|&byte| byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
    }

    /// Returns the root.
    pub fn root() -> Self {
        Self(Box::default())
    }

    /// Returns the bytes: parts separated by `/`, without a leading one.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the path without its last part; the root has none.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        let cut = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Some(Self(self.0[..cut].into()))
    }

    /// Returns the last part; empty for the root.
    pub fn name(&self) -> &[u8] {
        let start = self.0.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        &self.0[start..]
    }

    /// Returns this path with one more part, which must not contain `/`.
    pub fn join(&self, name: &[u8]) -> Self {
        debug_assert!(!name.contains(&b'/'), "one part at a time");
        if self.0.is_empty() {
            return Self(name.into());
        }
        Self([&self.0, &b"/"[..], name].concat().into())
    }

    /// Returns true if this is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        ancestor.0.is_empty()
            || self.0.strip_prefix(&*ancestor.0).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
    }
}

/// A [`LayerPath`] whose bytes somebody else holds, such as the index of a layer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerPathRef<'a>(&'a [u8]);

impl<'a> LayerPathRef<'a> {
    /// Takes a clean spelling; returns `None` for any other.
    pub fn of_clean(spelling: &'a [u8]) -> Option<Self> {
        LayerPath::is_clean(spelling).then_some(Self(spelling))
    }

    /// Takes bytes that were cleaned when they were stored, without reading them again.
    ///
    /// Tables return paths for each step of a search, so that even tests should not pay for a check.
    pub fn of_known(spelling: &'a [u8]) -> Self {
        Self(spelling)
    }

    /// Returns the bytes: parts separated by `/`, without a leading one.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the path without its last part; the root has none.
    pub fn parent(self) -> Option<Self> {
        (!self.0.is_empty()).then(|| Self(split(self.0).0))
    }

    /// Returns the last part; empty for the root.
    pub fn name(self) -> &'a [u8] {
        split(self.0).1
    }

    /// Returns a copy that holds its bytes.
    pub fn to_path(self) -> LayerPath {
        LayerPath(self.0.into())
    }
}

impl<'a> From<&'a LayerPath> for LayerPathRef<'a> {
    fn from(path: &'a LayerPath) -> Self {
        Self(&path.0)
    }
}

impl PartialEq<LayerPath> for LayerPathRef<'_> {
    fn eq(&self, other: &LayerPath) -> bool {
        *self.0 == *other.0
    }
}

impl fmt::Display for LayerPathRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/")?;
        f.write_str(&escaped(self.0))
    }
}

impl fmt::Debug for LayerPathRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Splits a clean path into its directory and its last part; both are empty for the root.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Ordered and hashed as its bytes are, so that maps of paths can be asked for ranges of bytes.
impl Borrow<[u8]> for LayerPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        LayerPathRef::from(self).fmt(f)
    }
}

impl fmt::Debug for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Returns a stranger's bytes as text that cannot drive a terminal: control characters and bytes
/// that are not UTF-8 as `\xNN`, line breaks and tabs as `\n`, `\r`, `\t`, a backslash doubled, and
/// characters that reorder or hide text (bidirectional controls, zero width) as `\u{…}`.
pub fn escaped(bytes: &[u8]) -> Cow<'_, str> {
    if bytes.iter().all(|&byte| (b' '..0x7f).contains(&byte) && byte != b'\\')
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_escaped(&mut out, c);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

fn push_escaped(out: &mut String, c: char) {
    // Writing to a string cannot fail.
    let _ = match c {
        '\\' => out.write_str("\\\\"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c)),
        c if c.is_control() || hides_or_reorders(c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
        c => out.write_char(c),
    };
}

fn hides_or_reorders(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_is_one_path() {
        for spelling in ["a/b", "./a/b", "/a/b", "a//b/", "a/./b", "x/../a/b", "../../a/b"] {
            assert_eq!(LayerPath::parse(spelling.as_bytes()).as_bytes(), b"a/b", "{spelling}");
        }
        for spelling in ["", ".", "./", "/", "..", "a/.."] {
            assert_eq!(LayerPath::parse(spelling.as_bytes()), LayerPath::root(), "{spelling}");
        }
        assert_eq!(LayerPath::parse(b"a/...").as_bytes(), b"a/...");
    }

    #[test]
    fn parts_are_found() {
        let path = LayerPath::parse(b"usr/lib/x");
        assert_eq!(path.name(), b"x");
        assert_eq!(path.parent().unwrap().as_bytes(), b"usr/lib");
        assert_eq!(LayerPath::parse(b"usr").parent(), Some(LayerPath::root()));
        assert_eq!(LayerPath::root().parent(), None);
        assert_eq!(LayerPath::root().join(b"usr").join(b"lib").join(b"x"), path);
        assert!(path.is_within(&LayerPath::parse(b"usr/lib")));
        assert!(path.is_within(&LayerPath::root()) && path.is_within(&path));
        assert!(!path.is_within(&LayerPath::parse(b"usr/li")));
    }

    #[test]
    fn a_borrowed_path_is_the_path() {
        for spelling in [&b"usr/lib/x"[..], b"usr", b""] {
            let path = LayerPath::parse(spelling);
            let borrowed = LayerPathRef::of_clean(spelling).unwrap();
            assert_eq!(borrowed.to_path(), path);
            assert_eq!(borrowed.name(), path.name());
            assert_eq!(borrowed.parent().map(LayerPathRef::to_path), path.parent());
            assert_eq!(borrowed.to_string(), path.to_string());
        }
        assert_eq!(LayerPathRef::of_clean(b"/usr"), None);
    }

    #[test]
    fn nothing_a_stranger_wrote_reaches_the_terminal_raw() {
        assert_eq!(escaped(b"plain name"), "plain name");
        assert_eq!(escaped("grüße 日本".as_bytes()), "grüße 日本");
        assert_eq!(escaped(b"\x1b[31mred\x07\0"), "\\x1b[31mred\\x07\\x00");
        assert_eq!(escaped(b"two\nlines\\"), "two\\nlines\\\\");
        assert_eq!(escaped(b"\xff\xfe"), "\\xff\\xfe");
        assert_eq!(escaped("a\u{202e}b\u{200b}\u{9b}".as_bytes()), "a\\u{202e}b\\u{200b}\\u{9b}");
    }
}
