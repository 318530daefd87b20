//! Text of strangers, made safe for HTML, for data in a script element, and for Markdown.
//! Never removes anything: every character stays readable.

use imgdelta_core::path::escaped;
use std::fmt::{self, Display, Formatter, Write as _};

/// Text whose control characters are escaped already, such as a path of a document, for HTML.
pub(crate) struct Html<'a>(pub(crate) &'a str);

impl Display for Html<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Text as an image has it, for HTML: control characters become visible first.
pub(crate) struct RawHtml<'a>(pub(crate) &'a str);

impl Display for RawHtml<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Html(&escaped(self.0.as_bytes())).fmt(f)
    }
}

/// A document inside a script element of type JSON: no character can end the element.
pub(crate) struct ScriptData<'a>(pub(crate) &'a serde_json::Value);

impl Display for ScriptData<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string().chars() {
            match c {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Text as an image has it, in a code element of Markdown; see [`Code`].
pub(crate) struct RawCode<'a>(pub(crate) &'a str);

impl Display for RawCode<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Code(&escaped(self.0.as_bytes())).fmt(f)
    }
}

/// Text whose control characters are escaped already, in a code element of Markdown: every sign is a
/// character reference, which forms no markup, link or mention.
pub(crate) struct Code<'a>(pub(crate) &'a str);

impl Display for Code<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("<code>")?;
        for c in self.0.chars() {
            if c.is_ascii_punctuation() && !"-./".contains(c) {
                write!(f, "&#{};", u32::from(c))?;
            } else {
                f.write_char(c)?;
            }
        }
        f.write_str("</code>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let hostile = "</script><img src=x onerror='alert(\"1\")'>&amp;";
        let html = Html(hostile).to_string();
        assert!(!html.contains(['<', '>', '"', '\'']), "{html}");
        assert_eq!(RawHtml("a\u{202e}\x1b<").to_string(), "a\\u{202e}\\x1b&lt;");
        let data = ScriptData(&serde_json::json!([hostile, "<!--\u{2028}"])).to_string();
        assert!(!data.contains(['<', '>', '&', '\u{2028}']), "{data}");
        let back: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert_eq!(back[0], hostile);
        let code = Code("`|*_[x](http://y)<b>@team#1").to_string();
        assert!(
            !code[6..code.len() - 7].contains(['`', '|', '*', '_', '[', '<', '@', ':']),
            "{code}"
        );
    }
}
