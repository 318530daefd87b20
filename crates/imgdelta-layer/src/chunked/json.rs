//! JSON as Go writes it, with the characters escaped that could end a script in a web page.
//! Only appends; never reads.

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
    for group in value.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
        // Padded with zeros to a multiple of six bits.
        let bits = bits << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = bits >> (18 - 6 * place) & 0x3f;
            out.push(if place <= group.len() { BASE64_DIGITS[digit as usize] } else { b'=' });
        }
    }
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

const BASE64_DIGITS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded_to_four_digits() {
        // The last one has the digits that are no letters or numbers.
        let values: [(&[u8], &str); 6] = [
            (b"", ""),
            (b"a", "YQ=="),
            (b"ab", "YWI="),
            (b"abc", "YWJj"),
            (b"abcd", "YWJjZA=="),
            (&[0xfb, 0xff, 0xbf], "+/+/"),
        ];
        for (bytes, text) in values {
            let mut out = Vec::new();
            base64(&mut out, bytes);
            assert_eq!(out, format!("\"{text}\"").into_bytes());
        }
    }
}
