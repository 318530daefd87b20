//! Dates of images, which are text of strangers, for people.
//!
//! Parses nothing: a text that is not a date stays as it is.

use std::borrow::Cow;

/// Returns a date without the fraction of its seconds, which the documents of images have.
pub fn to_seconds(date: &str) -> Cow<'_, str> {
    let Some((whole, rest)) = date.split_once('.') else { return date.into() };
    let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    if !whole.ends_with(|c: char| c.is_ascii_digit()) || zone.len() == rest.len() {
        return date.into();
    }
    format!("{whole}{zone}").into()
}

#[cfg(test)]
mod tests {
    use super::to_seconds;

    #[test]
    fn dates_lose_fractions_of_seconds() {
        for (date, expected) in [
            ("2026-11-30T02:52:38.408597644Z", "2026-11-30T02:52:38Z"),
            ("2026-11-30T02:52:38.4+02:00", "2026-11-30T02:52:38+02:00"),
            ("2026-11-30T02:52:38Z", "2026-11-30T02:52:38Z"),
            ("once. upon a time", "once. upon a time"),
            ("", ""),
        ] {
            assert_eq!(to_seconds(date), expected);
        }
    }
}
