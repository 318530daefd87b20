//! Notifications of a registry: the tags that were pushed.
//!
//! Pure, and trusts nothing: a notification only starts a scan. Understands the bodies of
//! distribution (docker-registry), Harbor, Quay, zot, Docker Hub and GitHub's registry.

use imgdelta_registry::{RepositoryName, is_digest_tag};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The tags that a notification names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NotifiedTags {
    /// Pushed tags by repository.
    pub tags: BTreeMap<RepositoryName, BTreeSet<String>>,
    /// Number of names that are not names of repositories.
    pub ignored: u64,
}

/// A push as a notification describes it.
#[derive(Debug, PartialEq, Eq)]
struct PushNotice {
    repository: String,
    tag: String,
}

/// Returns the tags that were pushed, or `None` if the text is not a notification.
///
/// Deltas and the images of an index have no tag, and lists of referrers have a tag made of a
/// digest. Such pushes are ignored, so that the job's own pushes start no scan (test
/// `only_pushed_versions_start_a_scan`).
pub(crate) fn pushed_tags(host: &str, body: &[u8]) -> Option<NotifiedTags> {
    let pushes = match of_distribution(body) {
        Some(pushes) => pushes,
        // Each of these notifications is about one push, and small.
        None if body.len() > MAX_DOCUMENT_BYTES => return None,
        None => {
            let document: Value = serde_json::from_slice(body).ok()?;
            let forms = [of_harbor, of_github, of_docker_hub, of_quay, of_zot];
            forms.iter().find_map(|form| form(&document))?
        }
    };
    let mut strange = BTreeSet::new();
    let mut found = NotifiedTags::default();
    for PushNotice { repository, tag } in pushes {
        if tag.is_empty() || is_digest_tag(&tag) {
            continue;
        }
        match RepositoryName::parse(host, &repository) {
            Ok(name) => drop(found.tags.entry(name).or_default().insert(tag)),
            Err(_) => drop(strange.insert(repository)),
        }
    }
    found.ignored = strange.len() as u64;
    Some(found)
}

/// Distribution, and registries that send the same events, such as Azure's, which leaves out the list
/// around its one event.
fn of_distribution(body: &[u8]) -> Option<Vec<PushNotice>> {
    #[derive(Deserialize)]
    struct EventEnvelope {
        #[serde(default)]
        events: Option<Vec<PushEvent>>,
        #[serde(default)]
        action: Option<String>,
        #[serde(default)]
        target: Option<PushTarget>,
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
    let EventEnvelope { events, action, target } = serde_json::from_slice(body).ok()?;
    let events = match (events, action, target) {
        (Some(events), ..) => events,
        (None, Some(action), Some(target)) => vec![PushEvent { action, target }],
        _ => return None,
    };
    let pushed = events.into_iter().filter(|event| event.action == "push");
    Some(pushed.map(|event| notice(&event.target.repository, &event.target.tag)).collect())
}

/// Harbor: `PUSH_ARTIFACT`, and other events that push nothing.
fn of_harbor(document: &Value) -> Option<Vec<PushNotice>> {
    let (kind, data) = (document["type"].as_str()?, document["event_data"].as_object()?);
    if kind != "PUSH_ARTIFACT" {
        return Some(Vec::new());
    }
    let repository = data.get("repository")?;
    let name = match repository["repo_full_name"].as_str() {
        Some(name) => name.to_owned(),
        None => format!("{}/{}", repository["namespace"].as_str()?, repository["name"].as_str()?),
    };
    let resources = data.get("resources")?.as_array()?.iter();
    Some(resources.map(|resource| notice(&name, word(&resource["tag"]))).collect())
}

/// GitHub: the events `package` and `registry_package`, whose bodies differ in one name, and `ping`,
/// which asks if the service is there.
fn of_github(document: &Value) -> Option<Vec<PushNotice>> {
    if document["zen"].is_string() && document["hook_id"].is_u64() {
        return Some(Vec::new());
    }
    let package = document.get("package").or_else(|| document.get("registry_package"))?;
    let (owner, name) = (package["namespace"].as_str()?, package["name"].as_str()?);
    let version = &package["package_version"];
    // In the examples of the documentation a container has the `package_type` of another registry.
    let is_container = version["container_metadata"].is_object();
    let is_push = matches!(document["action"].as_str(), Some("published" | "updated"));
    if !is_container || !is_push {
        return Some(Vec::new());
    }
    // The address is what a client pulls; in the documentation `namespace` and `name` are not.
    let (name, tag) = match version["package_url"].as_str().and_then(pulled_name) {
        Some((name, tag)) => (name.to_owned(), tag),
        None => (format!("{owner}/{name}"), word(&version["container_metadata"]["tag"]["name"])),
    };
    // Names of owners have capitals, names of repositories have none.
    Some(vec![notice(&name.to_ascii_lowercase(), tag)])
}

/// Returns repository and tag of `HOST/REPOSITORY:TAG`; the tag of an image of an index is empty.
fn pulled_name(address: &str) -> Option<(&str, &str)> {
    let (_host, name) = address.split_once('/')?;
    name.rsplit_once(':').filter(|(name, tag)| name.contains('/') && !tag.contains('/'))
}

/// Docker Hub: each notification is one push.
fn of_docker_hub(document: &Value) -> Option<Vec<PushNotice>> {
    let push = document["push_data"].as_object()?;
    let name = document["repository"]["repo_name"].as_str()?;
    Some(vec![notice(name, word(push.get("tag")?))])
}

/// Quay: the event `Push to Repository`. Older versions have an object for the list of tags.
fn of_quay(document: &Value) -> Option<Vec<PushNotice>> {
    let name = document["repository"].as_str()?;
    let tags: Vec<&str> = match &document["updated_tags"] {
        Value::Array(tags) => tags.iter().map(word).collect(),
        Value::Object(tags) => tags.keys().map(String::as_str).collect(),
        // Events of builds and security scans name a repository and no such list.
        _ if document["docker_url"].is_string() => Vec::new(),
        _ => return None,
    };
    Some(tags.into_iter().map(|tag| notice(name, tag)).collect())
}

/// zot: `zotregistry.image.updated`, alone or in the envelope of `CloudEvents`.
fn of_zot(document: &Value) -> Option<Vec<PushNotice>> {
    let (kind, data) = match (document["specversion"].is_string(), &document["data"]) {
        (true, data @ Value::Object(_)) => (word(&document["type"]), data),
        _ => ("zotregistry.image.updated", document),
    };
    let name = data["name"].as_str()?;
    if kind != "zotregistry.image.updated" {
        return Some(Vec::new());
    }
    let reference = data["reference"].as_str()?;
    // Images of an index are pushed by digest.
    let tag = if reference.contains(':') { "" } else { reference };
    Some(vec![notice(name, tag)])
}

fn notice(repository: &str, tag: &str) -> PushNotice {
    PushNotice { repository: repository.to_owned(), tag: tag.to_owned() }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// GitHub's notifications contain the manifest.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tags(body: &str) -> Option<Vec<String>> {
        let found = pushed_tags("r", body.as_bytes())?;
        assert_eq!(found.ignored, 0);
        let lines = found
            .tags
            .iter()
            .flat_map(|(name, tags)| tags.iter().map(move |tag| format!("{name}:{tag}")));
        Some(lines.collect())
    }

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
        assert_eq!(tags(&body.to_string()).unwrap(), ["team/app:v1", "team/app:v2"]);
        for body in ["", "{}", "[]", "5", r#"{"events": 5}"#, r#"{"events": [{}]}"#] {
            assert_eq!(pushed_tags("r", body.as_bytes()), None, "{body}");
        }
    }

    /// Bodies as the documentation of each registry has them, with made-up names. The two of GitHub have
    /// the fields of its published examples; the first one also their odd values, the second one those
    /// that its registry sends.
    #[test]
    fn notifications_of_each_registry_name_their_tags() {
        let rows: [(&str, &str, &[&str]); 9] = [
            (
                "distribution",
                include_str!("webhook/notifications/distribution.json"),
                &["team/app:v2"],
            ),
            ("azure", include_str!("webhook/notifications/azure.json"), &["team/app:v2"]),
            ("harbor", include_str!("webhook/notifications/harbor.json"), &["team/app:v2"]),
            (
                "quay",
                include_str!("webhook/notifications/quay.json"),
                &["team/app:latest", "team/app:v2"],
            ),
            ("zot", include_str!("webhook/notifications/zot.json"), &["team/app:v2"]),
            ("zot", include_str!("webhook/notifications/zot-cloudevent.json"), &["team/app:v2"]),
            ("docker hub", include_str!("webhook/notifications/docker-hub.json"), &["team/app:v2"]),
            ("github", include_str!("webhook/notifications/github-package.json"), &["team/app:v2"]),
            (
                "github",
                include_str!("webhook/notifications/github-registry-package.json"),
                &["team/app:v2"],
            ),
        ];
        for (registry, body, expected) in rows {
            assert_eq!(tags(body).unwrap_or_default(), expected, "{registry}");
        }
    }

    #[test]
    fn addresses_of_github_name_what_clients_pull() {
        let body = |url: &str| {
            let version =
                json!({"container_metadata": {"tag": {"name": "v1"}}, "package_url": url});
            let package = json!({"namespace": "Team", "name": "app", "package_version": version});
            json!({"action": "published", "registry_package": package}).to_string()
        };
        let rows: [(&str, &[&str]); 5] = [
            ("ghcr.io/Team/group/app:v2", &["team/group/app:v2"]),
            ("ghcr.io:443/Team/app:v2", &["team/app:v2"]),
            ("ghcr.io/Team/app:", &[]),
            // Not the address of an image: namespace and name count.
            ("ghcr.io/Team/app", &["team/app:v1"]),
            ("", &["team/app:v1"]),
        ];
        for (url, expected) in rows {
            assert_eq!(tags(&body(url)).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn other_events_of_each_registry_start_no_scan() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let rows = [
            json!({"type": "DELETE_ARTIFACT", "event_data": {"resources": [{"tag": "v2"}],
                "repository": {"repo_full_name": "team/app"}}}),
            json!({"repository": "team/app", "docker_url": "quay.io/team/app", "build_id": "1"}),
            json!({"name": "team/app", "reference": digest, "digest": digest}),
            json!({"specversion": "1.0", "type": "zotregistry.image.deleted",
                "data": {"name": "team/app", "reference": "v2"}}),
            json!({"action": "published", "package": {"namespace": "team", "name": "app",
                "package_type": "npm", "package_version": {}}}),
            json!({"action": "published", "package": {"namespace": "team", "name": "app",
                "package_type": "CONTAINER", "package_version": {"container_metadata": {"tag":
                {"name": "", "digest": digest}}, "package_url": "ghcr.io/team/app:"}}}),
            serde_json::from_str(include_str!("webhook/notifications/github-ping.json")).unwrap(),
        ];
        for body in rows {
            assert_eq!(tags(&body.to_string()).as_deref(), Some([].as_slice()), "{body}");
        }
    }
}
