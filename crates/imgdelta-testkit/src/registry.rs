//! A registry in this process whose behaviour and failures a test controls.
//!
//! Speaks the distribution protocol on a port of this machine and keeps everything in memory. It
//! records every request with its sizes, so that a test can assert what was fetched.

mod gate;
mod http;
mod serve;

pub use gate::RequestGate;

use crate::{
    Blobs,
    accept_loop::{AcceptLoop, BoundPort},
    sha256,
};
use http::{HttpAnswer, HttpRequest};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::BufReader,
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Capabilities of the registry, and the authentication it requires.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "real registries differ in each of these")]
pub struct RegistryBehaviour {
    /// It lists referrers.
    pub lists_referrers: bool,
    /// It filters referrers by artifact type and sends `OCI-Filters-Applied`.
    pub filters_referrers: bool,
    /// Entries on a page of a list; 0 for all.
    pub page_entries: usize,
    /// It sends `OCI-Subject` for a manifest that has a subject.
    pub reports_subject: bool,
    /// It serves ranges of blobs.
    pub serves_ranges: bool,
    /// It mounts blobs across repositories.
    pub mounts_blobs: bool,
    /// Authentication it requires.
    pub auth: RegistryAuth,
}

/// Authentication that a registry requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryAuth {
    /// None.
    None,
    /// User and password with each request.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// User and password with each request; a user sees the repositories below its own name only.
    Tenants(Vec<(String, String)>),
    /// Tokens from the registry's own address.
    Bearer {
        /// User and password; `None` gives tokens to anonymous clients too.
        user: Option<(String, String)>,
        /// Number of requests that a token is valid for.
        uses: usize,
    },
}

impl Default for RegistryBehaviour {
    /// Everything that the specification has, without authentication.
    fn default() -> Self {
        Self {
            lists_referrers: true,
            filters_referrers: true,
            page_entries: 0,
            reports_subject: true,
            serves_ranges: true,
            mounts_blobs: true,
            auth: RegistryAuth::None,
        }
    }
}

impl RegistryBehaviour {
    /// Behaviour of Debian's docker-registry 2.8.2: no referrers.
    pub fn without_referrers() -> Self {
        Self { lists_referrers: false, reports_subject: false, ..Self::default() }
    }
}

/// A failure of the registry or the connection to it.
#[derive(Clone, Debug)]
pub enum RegistryFault {
    /// The connection ends after this number of body bytes.
    Cut(usize),
    /// The answer has this status and these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// The answer has this status, and a body with this error code.
    Refused(u16, &'static str),
    /// The connection ends without an answer.
    Reset,
    /// The first byte of the body is wrong.
    WrongByte,
    /// The body has this number of extra bytes.
    Longer(usize),
    /// `Content-Length` has this value; the connection ends after the true body.
    WrongLength(usize),
    /// The answer is delayed.
    Slow(Duration),
    /// The answer waits until the test opens the gate.
    Held(RequestGate),
    /// The body is sent byte by byte, with this pause before each.
    Drip(Duration),
    /// The body is sent in pieces of so many bytes, with this pause before each.
    Pace(usize, Duration),
    /// The requested range is ignored.
    NoRange,
    /// The registry acts on the request; its answer is lost.
    Lost,
}

/// A request with the outcome of its answer.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The method.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The status of the answer; 0 without an answer.
    pub status: u16,
    /// Bytes of the request's body.
    pub received_bytes: usize,
    /// Bytes of the answer's body.
    pub sent_bytes: usize,
    /// The request's headers.
    pub headers: BTreeMap<String, String>,
}

/// Content of the registry, planned faults, and recorded requests.
#[derive(Debug, Default)]
struct RegistryState {
    /// By repository and digest.
    blobs: BTreeMap<(String, String), Vec<u8>>,
    /// By repository and digest: media type and bytes.
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    /// By repository and tag: a digest.
    tags: BTreeMap<(String, String), String>,
    uploads: BTreeMap<String, Vec<u8>>,
    /// By token: its scopes, and the number of requests left.
    tokens: BTreeMap<String, (String, usize)>,
    /// Number of tokens and uploads handed out; makes their names unique.
    issued: usize,
    /// Method, part of the path, number of requests left, fault.
    faults: Vec<(String, String, usize, RegistryFault)>,
    requests: Vec<RequestRecord>,
}

/// A registry that runs until it is dropped.
#[derive(Debug)]
pub struct TestRegistry {
    server: Arc<RegistryServer>,
    accepting: AcceptLoop,
}

/// The part of the registry that its connections share.
#[derive(Debug)]
struct RegistryServer {
    behaviour: RegistryBehaviour,
    address: SocketAddr,
    state: Mutex<RegistryState>,
}

impl TestRegistry {
    /// Starts a registry on a free port of this machine.
    pub fn start(behaviour: RegistryBehaviour) -> Self {
        let port = BoundPort::open();
        let (address, state) = (port.address(), Mutex::default());
        let server = Arc::new(RegistryServer { behaviour, address, state });
        let serving = Arc::clone(&server);
        let accepting = port.accept(move |connection| drop(serving.serve(&connection)));
        Self { server, accepting }
    }

    /// Returns its name in references: host and port.
    pub fn host(&self) -> String {
        self.accepting.address().to_string()
    }

    /// Fails the next `times` requests of this method (`*` for any) whose path contains `path`.
    pub fn fault(&self, method: &str, path: &str, times: usize, fault: RegistryFault) {
        self.server.state().faults.push((method.into(), path.into(), times, fault));
    }

    /// Returns the requests so far, in their order.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.server.state().requests.clone()
    }

    /// Returns the number of requests so far.
    pub fn request_count(&self) -> usize {
        self.server.state().requests.len()
    }

    /// Forgets the recorded requests and the planned faults.
    pub fn forget(&self) {
        let mut state = self.server.state();
        state.requests.clear();
        state.faults.clear();
    }

    /// Returns the number of body bytes it sent in answers to paths that contain `path`.
    pub fn sent_bytes(&self, path: &str) -> usize {
        let requests = self.requests();
        let matching = requests.iter().filter(|request| request.path.contains(path));
        matching.map(|request| request.sent_bytes).sum()
    }

    /// Stores a blob and returns its digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        self.server.state().blobs.insert((repository.into(), digest.clone()), bytes.to_vec());
        digest
    }

    /// Stores a manifest, tagged if `tag` is given, and returns its digest.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        kind: &str,
        bytes: &[u8],
    ) -> String {
        let digest = sha256(bytes);
        let mut state = self.server.state();
        let key = (repository.to_owned(), digest.clone());
        state.manifests.insert(key, (kind.into(), bytes.to_vec()));
        if let Some(tag) = tag {
            state.tags.insert((repository.into(), tag.into()), digest.clone());
        }
        digest
    }

    /// Stores an image's blobs and manifests, and its tags.
    pub fn put_image(&self, repository: &str, image: &Blobs) {
        for (digest, bytes) in &image.by_digest {
            let document: Option<Value> = serde_json::from_slice(bytes).ok();
            let kind = document.as_ref().and_then(|document| {
                let is_manifest = document["layers"].is_array() || document["manifests"].is_array();
                is_manifest.then(|| document["mediaType"].as_str().unwrap_or(INDEX_TYPE).to_owned())
            });
            let mut state = self.server.state();
            let key = (repository.to_owned(), digest.clone());
            match kind {
                Some(kind) => drop(state.manifests.insert(key, (kind, bytes.clone()))),
                None => drop(state.blobs.insert(key, bytes.clone())),
            }
        }
        for root in &image.roots {
            let tag = root["annotations"]["org.opencontainers.image.ref.name"].as_str();
            let digest = root["digest"].as_str().expect("a descriptor");
            if let Some(tag) = tag {
                let key = (repository.to_owned(), tag.to_owned());
                self.server.state().tags.insert(key, digest.into());
            }
        }
    }

    /// Returns a blob, or a manifest by digest or tag.
    pub fn get(&self, repository: &str, name: &str) -> Option<Vec<u8>> {
        let state = self.server.state();
        let digest = state.tags.get(&(repository.into(), name.into())).map_or(name, String::as_str);
        let key = (repository.to_owned(), digest.to_owned());
        let manifest = state.manifests.get(&key).map(|(_, bytes)| bytes.clone());
        manifest.or_else(|| state.blobs.get(&key).cloned())
    }

    /// Removes a blob or a manifest.
    pub fn remove(&self, repository: &str, digest: &str) {
        let key = (repository.to_owned(), digest.to_owned());
        let mut state = self.server.state();
        state.blobs.remove(&key);
        state.manifests.remove(&key);
    }

    /// Replaces the bytes of a blob under the same digest.
    pub fn corrupt(&self, repository: &str, digest: &str, bytes: &[u8]) {
        let key = (repository.to_owned(), digest.to_owned());
        self.server.state().blobs.insert(key, bytes.to_vec());
    }

    /// Returns the manifests of a repository.
    pub fn manifests(&self, repository: &str) -> Vec<Vec<u8>> {
        let state = self.server.state();
        let manifests = state.manifests.iter().filter(|((name, _), _)| name == repository);
        manifests.map(|(_, (_, bytes))| bytes.clone()).collect()
    }

    /// Returns the digests of the blobs of a repository.
    pub fn blobs(&self, repository: &str) -> Vec<String> {
        let state = self.server.state();
        let keys = state.blobs.keys().filter(|(name, _)| name == repository);
        keys.map(|(_, digest)| digest.clone()).collect()
    }
}

impl RegistryServer {
    fn state(&self) -> MutexGuard<'_, RegistryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the requests of a connection until it ends.
    fn serve(&self, connection: &TcpStream) -> std::io::Result<()> {
        // Head and body are two writes; the second one must not wait 40 ms for the client's receipt.
        connection.set_nodelay(true)?;
        let mut reader = BufReader::new(connection.try_clone()?);
        let mut writer = connection.try_clone()?;
        while let Some(mut request) = HttpRequest::read(&mut reader)? {
            let fault = self.state().fault(&request);
            let mut record = RequestRecord {
                method: request.method.clone(),
                path: request.path.clone(),
                status: 0,
                received_bytes: request.body.len(),
                sent_bytes: 0,
                headers: request.headers.clone(),
            };
            let is_head = request.method == "HEAD";
            let mut max_body_bytes = None;
            let mut pace = None;
            let mut answer = match &fault {
                Some(RegistryFault::Reset) => None,
                Some(RegistryFault::Status(status, headers)) => {
                    let mut answer = HttpAnswer::error(*status, "FAULT");
                    for (name, value) in headers {
                        answer = answer.with(name, value);
                    }
                    Some(answer)
                }
                Some(RegistryFault::Refused(status, code)) => {
                    Some(HttpAnswer::error(*status, code))
                }
                Some(RegistryFault::NoRange) => {
                    request.headers.remove("range");
                    Some(self.answer(&request))
                }
                Some(RegistryFault::Lost) => {
                    self.answer(&request);
                    None
                }
                _ => Some(self.answer(&request)),
            };
            if let Some(answer) = &mut answer {
                match fault {
                    Some(RegistryFault::Cut(count)) => max_body_bytes = Some(count),
                    Some(RegistryFault::WrongByte) if !answer.body.is_empty() => {
                        answer.body[0] ^= 1;
                    }
                    Some(RegistryFault::Longer(count)) => answer.body.extend(vec![b'x'; count]),
                    Some(RegistryFault::WrongLength(count)) => {
                        answer.headers.push(("Content-Length".into(), count.to_string()));
                        max_body_bytes = Some(answer.body.len());
                    }
                    Some(RegistryFault::Slow(wait)) => std::thread::sleep(wait),
                    Some(RegistryFault::Held(gate)) => gate.pass(),
                    Some(RegistryFault::Drip(wait)) => pace = Some((1, wait)),
                    Some(RegistryFault::Pace(bytes, wait)) => pace = Some((bytes, wait)),
                    _ => {}
                }
                record.status = answer.status;
                let body_bytes = answer.body.len().min(max_body_bytes.unwrap_or(usize::MAX));
                record.sent_bytes = if is_head { 0 } else { body_bytes };
            }
            // Recorded before the answer leaves: a test that has the answer finds the record.
            self.state().requests.push(record);
            let Some(answer) = answer else { break };
            answer.write(&mut writer, is_head, max_body_bytes, pace)?;
            if max_body_bytes.is_some() {
                break;
            }
        }
        connection.shutdown(Shutdown::Both)
    }
}

impl RegistryState {
    /// Returns the planned fault of a request and uses it up.
    fn fault(&mut self, request: &HttpRequest) -> Option<RegistryFault> {
        let found = self.faults.iter_mut().find(|(method, path, times, _)| {
            *times > 0
                && (method == "*" || *method == request.method)
                && request.path.contains(path.as_str())
        })?;
        found.2 -= 1;
        Some(found.3.clone())
    }
}

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
