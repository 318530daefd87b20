//! Compares two image configs, field by field.
//! Never compares layers: `layers` does.
//!
//! The JSON is compared as it is, so fields outside of the specification count, too. Order counts
//! where a container sees it (entrypoint, cmd), and not elsewhere (env, labels).

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// One difference between two configs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigChange {
    /// The field: `env`, `entrypoint`, `cmd`, `user`, `workdir`, `ports`, `volumes`, `labels`,
    /// `architecture`, `history`, `created`, …, or the JSON key of an unknown one.
    pub field: String,
    /// The item within the field: a variable, a label, a port, a history line.
    pub key: Option<String>,
    /// Value in the base, if any.
    pub base: Option<String>,
    /// Value in the target, if any.
    pub target: Option<String>,
}

/// Compares two parsed configs, except their layers.
pub fn compare(base: &Value, target: &Value) -> Vec<ConfigChange> {
    let mut out = Vec::new();
    let (base_run, target_run) = (&base["config"], &target["config"]);
    for (key, field, shape) in RUN_FIELDS {
        shape.compare(field, &base_run[*key], &target_run[*key], &mut out);
    }
    let run_keys: Vec<&str> = RUN_FIELDS.iter().map(|row| row.0).collect();
    compare_rest(base_run, target_run, &run_keys, &mut out);
    for (key, field) in IMAGE_FIELDS {
        FieldKind::Value.compare(field, &base[*key], &target[*key], &mut out);
    }
    compare_history(&base["history"], &target["history"], &mut out);
    let image_keys: Vec<&str> =
        IMAGE_FIELDS.iter().map(|row| row.0).chain(["config", "history", "rootfs"]).collect();
    compare_rest(base, target, &image_keys, &mut out);
    out
}

/// Structure of a field's value.
#[derive(Clone, Copy)]
enum FieldKind {
    /// One value, compared whole.
    Value,
    /// A list of `NAME=VALUE` in any order.
    Assignments,
    /// An object of named values.
    Named,
    /// An object of which only the keys count.
    Set,
}

/// Fields of `config`, in the order of the report.
const RUN_FIELDS: &[(&str, &str, FieldKind)] = &[
    ("Entrypoint", "entrypoint", FieldKind::Value),
    ("Cmd", "cmd", FieldKind::Value),
    ("Env", "env", FieldKind::Assignments),
    ("User", "user", FieldKind::Value),
    ("WorkingDir", "workdir", FieldKind::Value),
    ("ExposedPorts", "ports", FieldKind::Set),
    ("Volumes", "volumes", FieldKind::Set),
    ("Labels", "labels", FieldKind::Named),
    ("StopSignal", "stop signal", FieldKind::Value),
    ("Healthcheck", "healthcheck", FieldKind::Value),
    ("Shell", "shell", FieldKind::Value),
    ("OnBuild", "onbuild", FieldKind::Value),
];

/// Fields next to `config`.
const IMAGE_FIELDS: &[(&str, &str)] = &[
    ("architecture", "architecture"),
    ("variant", "variant"),
    ("os", "os"),
    ("os.version", "os version"),
    ("os.features", "os features"),
    ("author", "author"),
    ("created", "created"),
];

impl FieldKind {
    fn compare(self, field: &str, base: &Value, target: &Value, out: &mut Vec<ConfigChange>) {
        match self {
            Self::Value => {
                push(field, None, shown(base), shown(target), out);
            }
            Self::Assignments => {
                compare_maps(field, &assignments(base), &assignments(target), out);
            }
            Self::Named => compare_maps(field, &named(base), &named(target), out),
            Self::Set => {
                let keys = |value: &Value| {
                    named(value).into_keys().map(|key| (key, String::new())).collect()
                };
                compare_maps(field, &keys(base), &keys(target), out);
            }
        }
    }
}

fn push(
    field: &str,
    key: Option<&str>,
    base: Option<String>,
    target: Option<String>,
    out: &mut Vec<ConfigChange>,
) {
    if base != target {
        out.push(ConfigChange {
            field: field.to_owned(),
            key: key.map(ToOwned::to_owned),
            base,
            target,
        });
    }
}

fn compare_maps(
    field: &str,
    base: &BTreeMap<String, String>,
    target: &BTreeMap<String, String>,
    out: &mut Vec<ConfigChange>,
) {
    let keys: BTreeSet<&String> = base.keys().chain(target.keys()).collect();
    for key in keys {
        push(field, Some(key), base.get(key).cloned(), target.get(key).cloned(), out);
    }
}

/// Compares fields outside of the tables: those of a newer specification, or a builder's own.
fn compare_rest(base: &Value, target: &Value, compared: &[&str], out: &mut Vec<ConfigChange>) {
    let empty = Map::new();
    let (base, target) = (base.as_object().unwrap_or(&empty), target.as_object().unwrap_or(&empty));
    let keys: BTreeSet<&String> = base.keys().chain(target.keys()).collect();
    for key in keys.into_iter().filter(|key| !compared.contains(&key.as_str())) {
        let side = |object: &Map<String, Value>| object.get(key).and_then(shown);
        push(key, None, side(base), side(target), out);
    }
}

/// Returns a value as text; `None` if the field is not set.
///
/// Docker writes an unset field as `null`, `""`, `[]` or `{}`.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Object(members) if members.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn assignments(value: &Value) -> BTreeMap<String, String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let split = |item: &Value| {
        let text = item.as_str().map_or_else(|| item.to_string(), ToOwned::to_owned);
        match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (text, String::new()),
        }
    };
    items.iter().map(split).collect()
}

fn named(value: &Value) -> BTreeMap<String, String> {
    let Some(members) = value.as_object() else { return BTreeMap::new() };
    members.iter().map(|(key, value)| (key.clone(), shown(value).unwrap_or_default())).collect()
}

/// Compares history lines, and reports those between the common start and the common end.
///
/// Lines are numbered from 1. Times are not compared, since every build changes them; `created`
/// reports the image's.
fn compare_history(base: &Value, target: &Value, out: &mut Vec<ConfigChange>) {
    let lines = |value: &Value| -> Vec<String> {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().map(history_line).collect()
    };
    let (base, target) = (lines(base), lines(target));
    let ahead = base.iter().zip(&target).take_while(|(old, new)| old == new).count();
    let (base, target) = (&base[ahead..], &target[ahead..]);
    let behind =
        base.iter().rev().zip(target.iter().rev()).take_while(|(old, new)| old == new).count();
    let (base, target) = (&base[..base.len() - behind], &target[..target.len() - behind]);
    for at in 0..base.len().max(target.len()) {
        let key = (ahead + at + 1).to_string();
        push("history", Some(&key), base.get(at).cloned(), target.get(at).cloned(), out);
    }
}

fn history_line(item: &Value) -> String {
    let text = |key: &str| item[key].as_str().unwrap_or_default();
    let parts = [text("created_by"), text("comment"), text("author")];
    let line: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    line.join(" # ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changes(base: &Value, target: &Value) -> Vec<(String, Option<String>, Option<String>)> {
        let name = |change: &ConfigChange| match &change.key {
            Some(key) => format!("{} {key}", change.field),
            None => change.field.clone(),
        };
        compare(base, target).iter().map(|c| (name(c), c.base.clone(), c.target.clone())).collect()
    }

    #[expect(clippy::unnecessary_wraps, reason = "shortens the table below")]
    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn every_changed_field_is_reported_once_with_both_values() {
        let base = json!({"architecture": "amd64", "os": "linux", "created": "2024",
            "config": {"Env": ["A=1", "B=2"], "Cmd": ["sh"], "User": "root", "WorkingDir": "/a",
                "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "Labels": {"l": "1"}}});
        let target = json!({"architecture": "arm64", "os": "linux", "created": "2025",
            "config": {"Env": ["B=2", "A=3", "C"], "Entrypoint": ["/e"], "User": "",
                "WorkingDir": "/b", "ExposedPorts": {"81/tcp": {}}, "Labels": {"l": "2"}}});
        assert_eq!(
            changes(&base, &target),
            [
                ("entrypoint".into(), None, some("[\"/e\"]")),
                ("cmd".into(), some("[\"sh\"]"), None),
                ("env A".into(), some("1"), some("3")),
                ("env C".into(), None, some("")),
                ("user".into(), some("root"), None),
                ("workdir".into(), some("/a"), some("/b")),
                ("ports 80/tcp".into(), some(""), None),
                ("ports 81/tcp".into(), None, some("")),
                ("volumes /v".into(), some(""), None),
                ("labels l".into(), some("1"), some("2")),
                ("architecture".into(), some("amd64"), some("arm64")),
                ("created".into(), some("2024"), some("2025")),
            ]
        );
    }

    #[test]
    fn all_spellings_of_an_unset_field_are_equal() {
        let base = json!({"config": {"Cmd": null, "Env": [], "Labels": {}, "User": ""}});
        assert_eq!(compare(&base, &json!({"config": null})), []);
        assert_eq!(compare(&base, &json!({})), []);
    }

    #[test]
    fn unknown_fields_are_compared() {
        let base = json!({"config": {"MemLimit": 1}, "moby.x": true});
        assert_eq!(
            changes(&base, &json!({"config": {"MemLimit": 2}})),
            [("MemLimit".into(), some("1"), some("2")), ("moby.x".into(), some("true"), None)]
        );
    }

    #[test]
    fn history_reports_only_lines_between_common_start_and_end() {
        let history = |steps: &[&str]| {
            let lines: Vec<Value> = steps.iter().map(|step| json!({"created_by": step})).collect();
            json!({ "history": lines })
        };
        assert_eq!(
            changes(
                &history(&["from", "apt", "copy"]),
                &history(&["from", "apt -y", "pip", "copy"])
            ),
            [
                ("history 2".into(), some("apt"), some("apt -y")),
                ("history 3".into(), None, some("pip")),
            ]
        );
    }

    #[test]
    fn values_of_the_wrong_type_are_compared_and_never_panic() {
        let odd = json!({"config": {"Env": {"a": 1}, "Labels": ["x"], "Cmd": 7, "Volumes": 3}});
        assert_eq!(changes(&odd, &json!([1])), [("cmd".into(), some("7"), None)]);
        assert_eq!(compare(&json!("text"), &json!(null)), []);
    }
}
