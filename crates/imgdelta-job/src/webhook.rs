//! Notifications of a registry: the repositories that were pushed to.
//!
//! Pure, and trusts nothing: a notification only starts a scan. Understands the events of
//! distribution (docker-registry), which other registries send as well.

use imgdelta_registry::{RepositoryName, is_digest_tag};
use serde::Deserialize;
use std::collections::BTreeSet;

/// The repositories that a notification names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NotifiedRepositories {
    /// Repositories in which tags were pushed, each once.
    pub names: BTreeSet<RepositoryName>,
    /// Number of pushes to names that are not names of repositories.
    pub ignored: u64,
}

/// Returns the repositories in which tags were pushed, or `None` if the text is not a notification.
///
/// Deltas and the images of an index have no tag, and lists of referrers have a tag made of a
/// digest. Such pushes are ignored, so that the job's own pushes start no scan (test
/// `only_pushed_versions_start_a_scan`).
pub(crate) fn repositories(host: &str, body: &[u8]) -> Option<NotifiedRepositories> {
    #[derive(Deserialize)]
    struct Notification {
        events: Vec<PushEvent>,
    }
    #[derive(Deserialize)]
    struct PushEvent {
        action: String,
        #[serde(default)]
        target: PushTarget,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct PushTarget {
        repository: String,
        tag: String,
    }
    let notification: Notification = serde_json::from_slice(body).ok()?;
    let pushed = notification.events.into_iter().filter(|event| {
        let target = &event.target;
        event.action == "push" && !target.tag.is_empty() && !is_digest_tag(&target.tag)
    });
    let mut found = NotifiedRepositories::default();
    for event in pushed {
        match RepositoryName::parse(host, &event.target.repository) {
            Ok(name) => drop(found.names.insert(name)),
            Err(_) => found.ignored += 1,
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_pushed_versions_start_a_scan() {
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
        let found = repositories("r", body.to_string().as_bytes()).unwrap();
        assert_eq!(found.names.into_iter().collect::<Vec<_>>(), ["team/app"]);
        assert_eq!(found.ignored, 0);
        for body in ["", "{}", "[]", r#"{"events": 5}"#, r#"{"events": [{}]}"#] {
            assert_eq!(repositories("r", body.as_bytes()), None, "{body}");
        }
    }
}
