//! The order of tags: numbers in them count as numbers.
//! Never understands a version's meaning; dates decide in the end.

/// Parts of a tag: runs of digits by value, and the text between them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TagPart {
    /// Text between numbers.
    Text(String),
    /// Digits without leading zeros: their count, then themselves.
    Number(usize, String),
}

/// Returns a key by which `1.10` is after `1.9`.
pub(crate) fn key(tag: &str) -> Vec<TagPart> {
    let mut parts = Vec::new();
    let mut rest = tag;
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        parts.push(if is_digit {
            let digits = part.trim_start_matches('0');
            TagPart::Number(digits.len(), digits.to_owned())
        } else {
            TagPart::Text(part.to_owned())
        });
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn numbers_in_tags_count_as_numbers() {
        let mut tags = ["1.10", "1.9", "v2", "1.9.1", "2", "10", "1.009a"];
        tags.sort_by_key(|tag| key(tag));
        assert_eq!(tags, ["v2", "1.9", "1.9.1", "1.009a", "1.10", "2", "10"]);
    }
}
