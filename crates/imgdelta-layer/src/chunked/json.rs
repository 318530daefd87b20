//! JSON as Go writes it, with the characters escaped that could end a script in a web page.
//! Only appends; never reads.

use base64::{Engine, prelude::BASE64_STANDARD};

/// Appends `,"name":`, without the comma right after an opening brace.
pub(super) fn key(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend(name.as_bytes());
    out.extend(b"\":");
}

/// Appends a field with a number.
pub(super) fn number<N: ToString + Copy>(out: &mut Vec<u8>, name: &str, value: N) {
    key(out, name);
    out.extend(value.to_string().as_bytes());
}

/// Appends a field with text.
pub(super) fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    key(out, name);
    string(out, value);
}

/// Appends bytes as a base64 string.
pub(super) fn base64(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    out.extend(BASE64_STANDARD.encode(value).as_bytes());
    out.push(b'"');
}

/// Appends a string; each byte that is not UTF-8 becomes U+FFFD.
pub(super) fn string(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => out.extend([b'\\', character as u8]),
                '\n' => out.extend(b"\\n"),
                '\r' => out.extend(b"\\r"),
                '\t' => out.extend(b"\\t"),
                '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    out.extend(format!("\\u{:04x}", u32::from(character)).as_bytes());
                }
                _ => out.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for _ in chunk.invalid() {
            out.extend(b"\\ufffd");
        }
    }
    out.push(b'"');
}
