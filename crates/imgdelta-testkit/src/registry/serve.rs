//! The distribution protocol: an answer for every request.
//!
//! Never touches a socket, and knows no faults.

use super::{
    INDEX_TYPE, RegistryAuth, RegistryServer,
    http::{HttpAnswer, HttpRequest},
};
use crate::sha256;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

impl RegistryServer {
    pub(super) fn answer(&self, request: &HttpRequest) -> HttpAnswer {
        if request.path == "/token" {
            return self.token(request);
        }
        let Some(path) = request.path.strip_prefix("/v2/") else { return HttpAnswer::new(404) };
        let parts = split(path);
        let (repository, kind, name) = parts.unwrap_or(("", "", ""));
        if let Some(refusal) = self.refuse(request, repository) {
            return refusal;
        }
        match kind {
            "" if path.is_empty() => HttpAnswer::new(200),
            "" if path == "_catalog" => self.catalog(request),
            "blobs" if name == "uploads/" || name.starts_with("uploads/") => {
                self.upload(request, repository, name.trim_start_matches("uploads/"))
            }
            "blobs" => self.blob(request, repository, name),
            "manifests" => self.manifest(request, repository, name),
            "tags" => self.tags(request, repository),
            "referrers" if self.behaviour.lists_referrers => {
                self.referrers(request, repository, name)
            }
            _ => HttpAnswer::new(404).body("text/plain", b"404 page not found".to_vec()),
        }
    }

    fn refuse(&self, request: &HttpRequest, repository: &str) -> Option<HttpAnswer> {
        let given = request.header("authorization").unwrap_or_default();
        let denied = |challenge: String| {
            Some(HttpAnswer::error(401, "UNAUTHORIZED").with("WWW-Authenticate", challenge))
        };
        match &self.behaviour.auth {
            RegistryAuth::None => None,
            RegistryAuth::Basic { user, password } => {
                if given == format!("Basic {}", base64(format!("{user}:{password}").as_bytes())) {
                    return None;
                }
                denied(r#"Basic realm="test""#.into())
            }
            RegistryAuth::Tenants(tenants) => {
                let is_tenant = |(user, password): &(String, String)| {
                    let login = base64(format!("{user}:{password}").as_bytes());
                    let is_own = repository.strip_prefix(user.as_str());
                    given == format!("Basic {login}")
                        && is_own.is_some_and(|rest| rest.starts_with('/'))
                };
                if tenants.iter().any(is_tenant) {
                    return None;
                }
                denied(r#"Basic realm="test""#.into())
            }
            RegistryAuth::Bearer { .. } => {
                let is_write = !matches!(request.method.as_str(), "GET" | "HEAD");
                let needed = if is_write { "push" } else { "pull" };
                let mut state = self.state();
                let token = given.strip_prefix("Bearer ").unwrap_or_default();
                if let Some((scopes, uses)) = state.tokens.get_mut(token)
                    && *uses > 0
                    && (repository.is_empty()
                        || scopes.split(' ').any(|scope| {
                            scope.starts_with(&format!("repository:{repository}:"))
                                && scope.contains(needed)
                        }))
                {
                    *uses -= 1;
                    return None;
                }
                let scope = format!("repository:{repository}:{needed}");
                let realm = format!("http://{}/token", self.address);
                denied(format!(r#"Bearer realm="{realm}",service="test",scope="{scope}""#))
            }
        }
    }

    fn token(&self, request: &HttpRequest) -> HttpAnswer {
        let RegistryAuth::Bearer { user, uses } = &self.behaviour.auth else {
            return HttpAnswer::new(404);
        };
        let given = request.header("authorization").unwrap_or_default();
        if let Some((user, password)) = user
            && given != format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
        {
            return HttpAnswer::error(401, "UNAUTHORIZED");
        }
        let mut state = self.state();
        state.issued += 1;
        let token = format!("sesame-{}", state.issued);
        let scopes = request.query.get("scope").cloned().unwrap_or_default();
        state.tokens.insert(token.clone(), (scopes, *uses));
        let body = json!({"token": token, "expires_in": 300}).to_string();
        HttpAnswer::new(200).body("application/json", body.into_bytes())
    }

    fn blob(&self, request: &HttpRequest, repository: &str, digest: &str) -> HttpAnswer {
        let state = self.state();
        let Some(blob) = state.blobs.get(&(repository.into(), digest.into())) else {
            return HttpAnswer::error(404, "BLOB_UNKNOWN");
        };
        let answer = |status| HttpAnswer::new(status).with("Docker-Content-Digest", digest);
        let range = request.header("range").filter(|_| self.behaviour.serves_ranges);
        let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else {
            return answer(200).body(BYTES, blob.clone());
        };
        let (from, to) = range.split_once('-').unwrap_or((range, ""));
        let from: usize = from.parse().unwrap_or(0);
        let to = to.parse::<usize>().map_or(blob.len(), |to| (to + 1).min(blob.len()));
        if from >= blob.len() {
            // docker-registry sends the blob's length here, with a body of another length.
            return answer(416)
                .with("Content-Length", blob.len())
                .body("text/plain", b"no".to_vec());
        }
        let content_range = format!("bytes {from}-{}/{}", to - 1, blob.len());
        answer(206).with("Content-Range", content_range).body(BYTES, blob[from..to].to_vec())
    }

    fn upload(&self, request: &HttpRequest, repository: &str, id: &str) -> HttpAnswer {
        let mut state = self.state();
        let at = |id: &str| format!("/v2/{repository}/blobs/uploads/{id}?state=x");
        let range = |count: usize| format!("0-{}", count.max(1) - 1);
        match request.method.as_str() {
            "POST" => {
                if let (Some(digest), Some(from), true) = (
                    request.query.get("mount"),
                    request.query.get("from"),
                    self.behaviour.mounts_blobs,
                ) && let Some(blob) = state.blobs.get(&(from.clone(), digest.clone())).cloned()
                {
                    state.blobs.insert((repository.into(), digest.clone()), blob);
                    return HttpAnswer::new(201)
                        .with("Location", format!("/v2/{repository}/blobs/{digest}"));
                }
                state.issued += 1;
                let id = format!("u{}", state.issued);
                state.uploads.insert(id.clone(), Vec::new());
                HttpAnswer::new(202).with("Location", at(&id))
            }
            method => {
                let Some(upload) = state.uploads.get_mut(id) else {
                    return HttpAnswer::error(404, "BLOB_UPLOAD_UNKNOWN");
                };
                if method == "GET" {
                    let count = upload.len();
                    return HttpAnswer::new(204)
                        .with("Location", at(id))
                        .with("Range", range(count));
                }
                upload.extend_from_slice(&request.body);
                let count = upload.len();
                if method == "PATCH" {
                    return HttpAnswer::new(202)
                        .with("Location", at(id))
                        .with("Range", range(count));
                }
                let upload = state.uploads.remove(id).expect("looked up above");
                let digest = sha256(&upload);
                if request.query.get("digest") != Some(&digest) {
                    return HttpAnswer::error(400, "DIGEST_INVALID");
                }
                state.blobs.insert((repository.into(), digest), upload);
                HttpAnswer::new(201)
            }
        }
    }

    fn manifest(&self, request: &HttpRequest, repository: &str, name: &str) -> HttpAnswer {
        let mut state = self.state();
        let key = |name: &str| (repository.to_owned(), name.to_owned());
        if request.method == "PUT" {
            let digest = sha256(&request.body);
            if name.starts_with("sha256:") && name != digest {
                return HttpAnswer::error(400, "DIGEST_INVALID");
            }
            let document: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let named = document["layers"].as_array().into_iter().flatten();
            for blob in
                named.chain([&document["config"]]).filter_map(|blob| blob["digest"].as_str())
            {
                if !state.blobs.contains_key(&key(blob)) {
                    return HttpAnswer::error(400, "MANIFEST_BLOB_UNKNOWN");
                }
            }
            let kind = request.header("content-type").unwrap_or_default().to_owned();
            state.manifests.insert(key(&digest), (kind, request.body.clone()));
            if !name.starts_with("sha256:") {
                state.tags.insert(key(name), digest.clone());
            }
            let mut answer = HttpAnswer::new(201).with("Docker-Content-Digest", &digest);
            if let Some(subject) = document["subject"]["digest"].as_str()
                && self.behaviour.reports_subject
            {
                answer = answer.with("OCI-Subject", subject);
            }
            return answer;
        }
        let digest = state.tags.get(&key(name)).cloned().unwrap_or_else(|| name.to_owned());
        if request.method == "DELETE" {
            let found = state.manifests.remove(&key(&digest)).is_some();
            return HttpAnswer::new(if found { 202 } else { 404 });
        }
        match state.manifests.get(&key(&digest)) {
            Some((kind, bytes)) => {
                let accepted = request.header("accept").unwrap_or_default();
                // docker-registry serves an OCI document only to clients that accept its type.
                if kind.contains("oci") && !accepted.contains(kind.as_str()) {
                    return HttpAnswer::error(404, "MANIFEST_UNKNOWN");
                }
                HttpAnswer::new(200).with("Docker-Content-Digest", digest).body(kind, bytes.clone())
            }
            None => HttpAnswer::error(404, "MANIFEST_UNKNOWN"),
        }
    }

    fn tags(&self, request: &HttpRequest, repository: &str) -> HttpAnswer {
        let state = self.state();
        let tags: Vec<Value> =
            of_repository(&state.tags, repository).map(|(tag, _)| json!(tag)).collect();
        if tags.is_empty() {
            return HttpAnswer::error(404, "NAME_UNKNOWN");
        }
        self.page(request, &tags, |tags| json!({"name": repository, "tags": tags}))
    }

    fn catalog(&self, request: &HttpRequest) -> HttpAnswer {
        let state = self.state();
        let names: BTreeSet<&String> = state.manifests.keys().map(|(name, _)| name).collect();
        let names: Vec<Value> = names.into_iter().map(|name| json!(name)).collect();
        self.page(request, &names, |names| json!({"repositories": names}))
    }

    fn referrers(&self, request: &HttpRequest, repository: &str, subject: &str) -> HttpAnswer {
        let state = self.state();
        let filters = self.behaviour.filters_referrers;
        let wanted = request.query.get("artifactType").filter(|_| filters);
        let mut found = Vec::new();
        for (digest, (kind, bytes)) in of_repository(&state.manifests, repository) {
            let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
            let artifact_type = document["artifactType"].as_str().unwrap_or_default();
            let fits = wanted.is_none_or(|wanted| wanted == artifact_type);
            if document["subject"]["digest"] == subject && fits {
                found.push(json!({
                    "mediaType": kind, "digest": digest, "size": bytes.len(),
                    "artifactType": artifact_type, "annotations": document["annotations"],
                }));
            }
        }
        let filtered = wanted.is_some();
        let answer = self.page(
            request,
            &found,
            |found| json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": found}),
        );
        if filtered { answer.with("OCI-Filters-Applied", "artifactType") } else { answer }
    }

    fn page(
        &self,
        request: &HttpRequest,
        items: &[Value],
        document: impl Fn(&[Value]) -> Value,
    ) -> HttpAnswer {
        let page = match self.behaviour.page_entries {
            0 => usize::MAX,
            entries => entries,
        };
        let from: usize = request.query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0);
        let rest = items.get(from..).unwrap_or_default();
        let shown = &rest[..rest.len().min(page)];
        let kind =
            if request.path.contains("/referrers/") { INDEX_TYPE } else { "application/json" };
        let answer = HttpAnswer::new(200).body(kind, document(shown).to_string().into_bytes());
        if rest.len() <= page {
            return answer;
        }
        let next = from + page;
        answer.with("Link", format!("<{}?from={next}>; rel=\"next\"", request.path))
    }
}

/// Returns the entries of one repository, without reading those of others.
fn of_repository<'a, T>(
    entries: &'a BTreeMap<(String, String), T>,
    repository: &'a str,
) -> impl Iterator<Item = (&'a String, &'a T)> {
    entries
        .range((repository.to_owned(), String::new())..)
        .take_while(move |((name, _), _)| name == repository)
        .map(|((_, key), value)| (key, value))
}

/// Splits `a/b/blobs/x` into repository, kind and name.
fn split(path: &str) -> Option<(&str, &str, &str)> {
    for kind in ["blobs", "manifests", "referrers", "tags"] {
        if let Some((repository, name)) = path.split_once(&format!("/{kind}/")) {
            return Some((repository, kind, name));
        }
    }
    None
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let all = (u32::from(group[0]) << 16)
            | (u32::from(*group.get(1).unwrap_or(&0)) << 8)
            | u32::from(*group.get(2).unwrap_or(&0));
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS[(all >> shift) as usize & 63];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

const BYTES: &str = "application/octet-stream";
