//! What a registry tells when something is pushed: which repositories to look into.
//!
//! Pure, and believes nothing: a notification only makes the job look for itself. Understands the
//! events of distribution, which others send too.

use imgdelta_registry::is_digest_tag;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Returns the repositories in which tags were pushed, or `None` if the text is no notification.
///
/// What has no tag is no version: deltas and the images of an index. Lists of referrers have a tag
/// made of a digest; so the job's own pushes wake nobody.
pub(crate) fn repositories(body: &[u8]) -> Option<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Envelope {
        events: Vec<Event>,
    }
    #[derive(Deserialize)]
    struct Event {
        action: String,
        #[serde(default)]
        target: Target,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Target {
        repository: String,
        tag: String,
    }
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    let pushed = envelope.events.into_iter().filter(|event| {
        let target = &event.target;
        event.action == "push" && !target.tag.is_empty() && !is_digest_tag(&target.tag)
    });
    Some(pushed.map(|event| event.target.repository).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_pushed_versions_wake_the_job() {
        let event = |action: &str, repository: &str, tag: Option<&str>| {
            let digest = format!("sha256:{}", "ab".repeat(32));
            let mut target = json!({"repository": repository, "digest": digest});
            if let Some(tag) = tag {
                target["tag"] = tag.into();
            }
            json!({"id": "1", "action": action, "target": target})
        };
        let list = format!("sha256-{}", "ab".repeat(32));
        let body = json!({"events": [
            event("push", "team/app", Some("v1")),
            event("push", "team/app", Some("v2")),
            event("push", "own/delta", None),
            event("push", "own/list", Some(&list)),
            event("push", "own/signature", Some(&format!("{list}.sig"))),
            event("pull", "other", Some("v1")),
            event("delete", "other", Some("v1")),
            json!({"action": "mount"}),
        ]});
        let found = repositories(body.to_string().as_bytes()).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["team/app"]);
        for body in ["", "{}", "[]", r#"{"events": 5}"#, r#"{"events": [{}]}"#] {
            assert_eq!(repositories(body.as_bytes()), None, "{body}");
        }
    }
}
