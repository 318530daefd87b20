//! Values of a document. A field that is missing counts as zero or as empty.
//! Never fails: a page of an odd document is odd, not absent.

use serde_json::Value;

/// Returns a number.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Returns a text.
pub(crate) fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns the items of an array.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns a path without the leading `/`.
pub(crate) fn bare_path(value: &Value) -> &str {
    let path = word(value);
    path.strip_prefix('/').unwrap_or(path)
}

/// Returns the first twelve digits of a digest.
pub(crate) fn short_digest(value: &Value) -> String {
    let digest = word(value);
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.chars().take(12).collect()
}

/// Returns a share in tenths of a percent; 0 of 0 is 0.
pub(crate) fn tenths(part: u64, whole: u64) -> u64 {
    let share = u128::from(part) * 1000 / u128::from(whole.max(1));
    u64::try_from(share.min(1000)).unwrap_or(1000)
}
