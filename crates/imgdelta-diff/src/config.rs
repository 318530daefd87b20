//! The two image configs, field by field.
//!
//! Works on the config's JSON as it is, so that a field no specification names is compared too.
//! Order counts where it matters to a container (entrypoint, cmd), not where it doesn't (env, labels).

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// One difference between two configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// The field: `env`, `entrypoint`, `cmd`, `user`, `workdir`, `ports`, `volumes`, `labels`,
    /// `architecture`, `history`, `created`, … or the JSON key of one we don't know.
    pub field: String,
    /// Which of the field's items: a variable, a label, a port, a history line.
    pub key: Option<String>,
    /// The base's value, if it has one.
    pub base: Option<String>,
    /// The target's value, if it has one.
    pub target: Option<String>,
}

/// Compares two parsed configs. Layers are not compared here: they are the layer comparison's.
pub fn compare(base: &Value, target: &Value) -> Vec<ConfigChange> {
    let mut out = Vec::new();
    let (base_run, target_run) = (&base["config"], &target["config"]);
    for (key, field, shape) in RUN_FIELDS {
        shape.compare(field, &base_run[*key], &target_run[*key], &mut out);
    }
    let known_run: Vec<&str> = RUN_FIELDS.iter().map(|row| row.0).collect();
    compare_rest(base_run, target_run, &known_run, &mut out);
    for (key, field) in IMAGE_FIELDS {
        Shape::Value.compare(field, &base[*key], &target[*key], &mut out);
    }
    compare_history(&base["history"], &target["history"], &mut out);
    let known: Vec<&str> =
        IMAGE_FIELDS.iter().map(|row| row.0).chain(["config", "history", "rootfs"]).collect();
    compare_rest(base, target, &known, &mut out);
    out
}

/// How a field's value is taken apart.
#[derive(Clone, Copy)]
enum Shape {
    /// One value, compared whole.
    Value,
    /// A list of `NAME=VALUE`, of which order does not count.
    Assignments,
    /// An object of named values.
    Named,
    /// An object whose keys alone matter.
    Set,
}

/// Fields of `config`, in the order they are told.
const RUN_FIELDS: &[(&str, &str, Shape)] = &[
    ("Entrypoint", "entrypoint", Shape::Value),
    ("Cmd", "cmd", Shape::Value),
    ("Env", "env", Shape::Assignments),
    ("User", "user", Shape::Value),
    ("WorkingDir", "workdir", Shape::Value),
    ("ExposedPorts", "ports", Shape::Set),
    ("Volumes", "volumes", Shape::Set),
    ("Labels", "labels", Shape::Named),
    ("StopSignal", "stop signal", Shape::Value),
    ("Healthcheck", "healthcheck", Shape::Value),
    ("Shell", "shell", Shape::Value),
    ("OnBuild", "onbuild", Shape::Value),
];

/// Fields beside `config`.
const IMAGE_FIELDS: &[(&str, &str)] = &[
    ("architecture", "architecture"),
    ("variant", "variant"),
    ("os", "os"),
    ("os.version", "os version"),
    ("os.features", "os features"),
    ("author", "author"),
    ("created", "created"),
];

impl Shape {
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

/// What neither table names: a newer specification's field, a builder's own.
fn compare_rest(base: &Value, target: &Value, known: &[&str], out: &mut Vec<ConfigChange>) {
    let empty = Map::new();
    let (base, target) = (base.as_object().unwrap_or(&empty), target.as_object().unwrap_or(&empty));
    let keys: BTreeSet<&String> = base.keys().chain(target.keys()).collect();
    for key in keys.into_iter().filter(|key| !known.contains(&key.as_str())) {
        let side = |object: &Map<String, Value>| object.get(key).and_then(shown);
        push(key, None, side(base), side(target), out);
    }
}

/// Docker writes `null`, `""`, `[]` and `{}` for a field that is not set; so none of them differs
/// from a field that is not there.
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

/// History lines that the two sides do not share, numbered from 1. Lines are compared by what was
/// done, not when: times differ in every build and are told by `created`.
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

    fn told(base: &Value, target: &Value) -> Vec<(String, Option<String>, Option<String>)> {
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
    fn every_field_is_told_once_with_both_values() {
        let base = json!({"architecture": "amd64", "os": "linux", "created": "2024",
            "config": {"Env": ["A=1", "B=2"], "Cmd": ["sh"], "User": "root", "WorkingDir": "/a",
                "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "Labels": {"l": "1"}}});
        let target = json!({"architecture": "arm64", "os": "linux", "created": "2025",
            "config": {"Env": ["B=2", "A=3", "C"], "Entrypoint": ["/e"], "User": "",
                "WorkingDir": "/b", "ExposedPorts": {"81/tcp": {}}, "Labels": {"l": "2"}}});
        assert_eq!(
            told(&base, &target),
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
    fn unset_in_all_its_spellings_is_one_value() {
        let base = json!({"config": {"Cmd": null, "Env": [], "Labels": {}, "User": ""}});
        assert_eq!(compare(&base, &json!({"config": null})), []);
        assert_eq!(compare(&base, &json!({})), []);
    }

    #[test]
    fn fields_of_tomorrow_are_compared() {
        let base = json!({"config": {"MemLimit": 1}, "moby.x": true});
        assert_eq!(
            told(&base, &json!({"config": {"MemLimit": 2}})),
            [("MemLimit".into(), some("1"), some("2")), ("moby.x".into(), some("true"), None)]
        );
    }

    #[test]
    fn history_tells_only_the_lines_between_what_is_shared() {
        let history = |steps: &[&str]| {
            let lines: Vec<Value> = steps.iter().map(|step| json!({"created_by": step})).collect();
            json!({ "history": lines })
        };
        assert_eq!(
            told(&history(&["from", "apt", "copy"]), &history(&["from", "apt -y", "pip", "copy"])),
            [
                ("history 2".into(), some("apt"), some("apt -y")),
                ("history 3".into(), None, some("pip")),
            ]
        );
    }

    #[test]
    fn values_of_the_wrong_type_are_compared_and_never_panic() {
        let odd = json!({"config": {"Env": {"a": 1}, "Labels": ["x"], "Cmd": 7, "Volumes": 3}});
        assert_eq!(told(&odd, &json!([1])), [("cmd".into(), some("7"), None)]);
        assert_eq!(compare(&json!("text"), &json!(null)), []);
    }
}
