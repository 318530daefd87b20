//! Checks documents against the schemas of docs/schema.
//!
//! Knows the keywords that these schemas use, and fails for any other. An object has no field that its
//! schema does not name, so that a new field without a description is found; readers are to ignore it.

use serde_json::Value;
use std::{fs, path::Path};

/// Asserts that a document is valid by the schema of this name, such as `diff`.
///
/// # Panics
///
/// Panics with the place of the first mistake.
pub fn assert_valid(document: &Value, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/schema/{name}.json"));
    let schema: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    if let Err(mistake) = check(document, &schema, &schema, "") {
        panic!("{name}.json: {mistake}");
    }
}

fn check(value: &Value, schema: &Value, top: &Value, place: &str) -> Result<(), String> {
    let wrong = |what: String| Err(format!("{place}: {what}: {value}"));
    if let Some(name) = schema["$ref"].as_str() {
        let target = top.pointer(name.trim_start_matches('#'));
        return check(value, target.ok_or(format!("{place}: no {name}"))?, top, place);
    }
    let rules = schema.as_object().ok_or(format!("{place}: no schema"))?;
    for (keyword, rule) in rules.iter().filter(|(name, _)| !ANNOTATIONS.contains(&name.as_str())) {
        match keyword.as_str() {
            "const" if value != rule => return wrong(format!("should be {rule}")),
            "enum" if !list(rule).contains(value) => return wrong(format!("should be in {rule}")),
            "const" | "enum" => {}
            "type" => {
                let is_one = if rule.is_array() {
                    list(rule).iter().any(|kind| has_type(value, kind))
                } else {
                    has_type(value, rule)
                };
                if !is_one {
                    return wrong(format!("should be of type {rule}"));
                }
            }
            "minimum" => {
                if value.as_f64().is_some_and(|number| number < rule.as_f64().unwrap()) {
                    return wrong(format!("is less than {rule}"));
                }
            }
            "pattern" => {
                if value.as_str().is_some_and(|text| !fits(text, rule.as_str().unwrap())) {
                    return wrong(format!("does not match {rule}"));
                }
            }
            "required" => {
                for field in list(rule) {
                    if value.get(field.as_str().unwrap()).is_none() {
                        return wrong(format!("has no {field}"));
                    }
                }
            }
            "items" => {
                for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(item, rule, top, &format!("{place}/{at}"))?;
                }
            }
            "anyOf" => {
                let all: Vec<_> =
                    list(rule).iter().map(|one| check(value, one, top, place)).collect();
                if all.iter().all(Result::is_err) {
                    return wrong(format!("no form fits: {all:?}"));
                }
            }
            other => return Err(format!("{place}: the keyword {other} is unknown here")),
        }
    }
    if let (Some(fields), Some(rules)) = (value.as_object(), schema["properties"].as_object()) {
        for (name, field) in fields {
            let rule = rules.get(name).ok_or(format!("{place}: the field {name} is unknown"))?;
            check(field, rule, top, &format!("{place}/{name}"))?;
        }
    }
    Ok(())
}

/// Keywords without a rule of their own; `properties` is applied at the end.
const ANNOTATIONS: [&str; 7] =
    ["$schema", "$id", "$defs", "title", "description", "properties", "additionalProperties"];

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn has_type(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("the type {other} is unknown here"),
    }
}

/// The patterns of the schemas, each by hand.
fn fits(text: &str, pattern: &str) -> bool {
    match pattern {
        "^sha(256|512):[0-9a-f]+$" => {
            let hex = text.strip_prefix("sha256:").or_else(|| text.strip_prefix("sha512:"));
            hex.is_some_and(|hex| hex.len() >= 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        }
        "^[0-7]{4}$" => text.len() == 4 && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)),
        "^[0-9-]+$" => {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
        }
        "^[ +-]" => text.starts_with([' ', '+', '-']),
        other => panic!("the pattern {other} is unknown here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mistakes_in_documents_are_found() {
        let schema = json!({
            "type": "object",
            "required": ["a"],
            "properties": { "a": { "$ref": "#/$defs/n" }, "b": { "enum": ["x"] },
                "c": { "type": "array", "items": { "pattern": "^[ +-]" } } },
            "$defs": { "n": { "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "null" }] } },
        });
        let is_valid = |document: Value| check(&document, &schema, &schema, "").is_ok();
        assert!(
            is_valid(json!({ "a": 1, "b": "x", "c": ["+", " "] }))
                && is_valid(json!({ "a": null }))
        );
        for wrong in [
            json!([]),
            json!({ "b": "x" }),
            json!({ "a": 0 }),
            json!({ "a": "1" }),
            json!({ "a": 1, "b": "y" }),
            json!({ "a": 1, "c": ["x"] }),
            json!({ "a": 1, "more": 1 }),
        ] {
            assert!(!is_valid(wrong.clone()), "{wrong}");
        }
    }
}
