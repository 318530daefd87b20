//! A registry in this process, which does as it is told: also what no registry should do.
//!
//! Speaks the distribution protocol on a port of this machine, keeps everything in memory, and
//! remembers every request with its bytes, so that a test can say "fetched no more than that".

mod http;
mod serve;

use crate::{Blobs, sha256};
use http::{Answer, Request};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::BufReader,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

/// What the registry can do, and what it wants.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a way in which registries differ")]
pub struct Behaviour {
    /// Whether it lists referrers.
    pub has_referrers: bool,
    /// Whether it filters them by type, and says so.
    pub filters: bool,
    /// Entries on a page of a list; 0 for all.
    pub page: usize,
    /// Whether it says `OCI-Subject` when it keeps track of one.
    pub tells_subject: bool,
    /// Whether it gives ranges of blobs.
    pub has_ranges: bool,
    /// Whether it mounts blobs across repositories.
    pub mounts: bool,
    /// How it wants to be convinced.
    pub auth: Auth,
}

/// How a registry wants to be convinced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// User and password with each request.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token from its own address, each good for so many requests.
    Bearer {
        /// The user, if anonymous ones get no token.
        user: Option<(String, String)>,
        /// How many requests a token is good for.
        uses: usize,
    },
}

impl Default for Behaviour {
    /// All that the specification has, for everybody.
    fn default() -> Self {
        Self {
            has_referrers: true,
            filters: true,
            page: 0,
            tells_subject: true,
            has_ranges: true,
            mounts: true,
            auth: Auth::None,
        }
    }
}

impl Behaviour {
    /// As Debian's docker-registry 2.8.2: no referrers.
    pub fn without_referrers() -> Self {
        Self { has_referrers: false, tells_subject: false, ..Self::default() }
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The body ends after so many bytes, and with it the connection.
    Cut(usize),
    /// Another status, with headers.
    Status(u16, Vec<(&'static str, String)>),
    /// A status with an error of this code.
    Refused(u16, &'static str),
    /// No answer.
    Reset,
    /// One byte of the body is another.
    WrongByte,
    /// The body has so many bytes more than it should.
    Longer(usize),
    /// The answer says that its body has so many bytes; what it has comes, then the connection ends.
    Lie(usize),
    /// The answer waits.
    Slow(Duration),
    /// The range that was asked for is passed over.
    NoRange,
    /// The request is carried out, but its answer is lost.
    Lost,
}

/// A request that came, and what it got.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The status of the answer; 0 for none.
    pub status: u16,
    /// Bytes of the request's body.
    pub received_bytes: usize,
    /// Bytes of the answer's body.
    pub sent_bytes: usize,
    /// The request's headers.
    pub headers: BTreeMap<String, String>,
}

/// What is in the registry.
#[derive(Debug, Default)]
struct State {
    /// By repository and digest.
    blobs: BTreeMap<(String, String), Vec<u8>>,
    /// By repository and digest: media type and bytes.
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    /// By repository and tag: a digest.
    tags: BTreeMap<(String, String), String>,
    uploads: BTreeMap<String, Vec<u8>>,
    tokens: BTreeMap<String, (String, usize)>,
    drawn: usize,
    /// Method, part of the path, how often, and what.
    faults: Vec<(String, String, usize, Fault)>,
    seen: Vec<Seen>,
}

/// A registry that runs until it is dropped.
#[derive(Debug)]
pub struct TestRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    behaviour: Behaviour,
    address: SocketAddr,
    state: Mutex<State>,
    has_ended: AtomicBool,
}

impl TestRegistry {
    /// Starts a registry on a free port of this machine.
    pub fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (state, has_ended) = (Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { behaviour, address, state, has_ended });
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if served.has_ended.load(Relaxed) {
                    break;
                }
                let (served, Ok(connection)) = (Arc::clone(&served), connection) else { continue };
                std::thread::spawn(move || drop(served.talk(&connection)));
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Returns its name: host and port.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// From now on, the next `times` requests of this method, or of any for `*`, whose path
    /// contains `path` go wrong.
    pub fn fault(&self, method: &str, path: &str, times: usize, fault: Fault) {
        self.shared.state().faults.push((method.into(), path.into(), times, fault));
    }

    /// Returns what was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// Forgets what was asked, and what was to go wrong.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.seen.clear();
        state.faults.clear();
    }

    /// Returns how many bytes of bodies it sent, of paths that contain `path`.
    pub fn sent_bytes(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path.contains(path)).map(|seen| seen.sent_bytes).sum()
    }

    /// Puts a blob in and returns its digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        self.shared.state().blobs.insert((repository.into(), digest.clone()), bytes.to_vec());
        digest
    }

    /// Puts a manifest in, under a tag if one is given, and returns its digest.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        kind: &str,
        bytes: &[u8],
    ) -> String {
        let digest = sha256(bytes);
        let mut state = self.shared.state();
        let key = (repository.to_owned(), digest.clone());
        state.manifests.insert(key, (kind.into(), bytes.to_vec()));
        if let Some(tag) = tag {
            state.tags.insert((repository.into(), tag.into()), digest.clone());
        }
        digest
    }

    /// Puts an image's blobs in, and its roots under their names.
    pub fn put_image(&self, repository: &str, image: &Blobs) {
        for (digest, bytes) in &image.by_digest {
            let document: Option<Value> = serde_json::from_slice(bytes).ok();
            let kind = document.as_ref().and_then(|document| {
                let is_manifest = document["layers"].is_array() || document["manifests"].is_array();
                is_manifest.then(|| document["mediaType"].as_str().unwrap_or(INDEX_TYPE).to_owned())
            });
            let mut state = self.shared.state();
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
                self.shared.state().tags.insert(key, digest.into());
            }
        }
    }

    /// Returns a blob, or a manifest by digest or tag.
    pub fn get(&self, repository: &str, name: &str) -> Option<Vec<u8>> {
        let state = self.shared.state();
        let digest = state.tags.get(&(repository.into(), name.into())).map_or(name, String::as_str);
        let key = (repository.to_owned(), digest.to_owned());
        let manifest = state.manifests.get(&key).map(|(_, bytes)| bytes.clone());
        manifest.or_else(|| state.blobs.get(&key).cloned())
    }

    /// Takes a blob or a manifest away.
    pub fn remove(&self, repository: &str, digest: &str) {
        let key = (repository.to_owned(), digest.to_owned());
        let mut state = self.shared.state();
        state.blobs.remove(&key);
        state.manifests.remove(&key);
    }

    /// Makes a blob another under the same digest.
    pub fn corrupt(&self, repository: &str, digest: &str, bytes: &[u8]) {
        let key = (repository.to_owned(), digest.to_owned());
        self.shared.state().blobs.insert(key, bytes.to_vec());
    }

    /// Returns the digests of the blobs of a repository.
    pub fn blobs(&self, repository: &str) -> Vec<String> {
        let state = self.shared.state();
        let keys = state.blobs.keys().filter(|(name, _)| name == repository);
        keys.map(|(_, digest)| digest.clone()).collect()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Relaxed);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn talk(&self, connection: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(connection.try_clone()?);
        let mut writer = connection.try_clone()?;
        while let Some(mut request) = Request::read(&mut reader)? {
            let fault = self.state().fault(&request);
            let mut seen = Seen {
                method: request.method.clone(),
                path: request.path.clone(),
                status: 0,
                received_bytes: request.body.len(),
                sent_bytes: 0,
                headers: request.headers.clone(),
            };
            let is_head = request.method == "HEAD";
            let mut most = None;
            let answer = match &fault {
                Some(Fault::Reset) => None,
                Some(Fault::Status(status, headers)) => {
                    let mut answer = Answer::error(*status, "FAULT");
                    for (name, value) in headers {
                        answer = answer.with(name, value);
                    }
                    Some(answer)
                }
                Some(Fault::Refused(status, code)) => Some(Answer::error(*status, code)),
                Some(Fault::NoRange) => {
                    request.headers.remove("range");
                    Some(self.answer(&request))
                }
                Some(Fault::Lost) => {
                    self.answer(&request);
                    None
                }
                _ => Some(self.answer(&request)),
            };
            let mut answer = answer;
            if let Some(answer) = &mut answer {
                match fault {
                    Some(Fault::Cut(count)) => most = Some(count),
                    Some(Fault::WrongByte) if !answer.body.is_empty() => answer.body[0] ^= 1,
                    Some(Fault::Longer(count)) => answer.body.extend(vec![b'x'; count]),
                    Some(Fault::Lie(count)) => {
                        answer.headers.push(("Content-Length".into(), count.to_string()));
                        most = Some(answer.body.len());
                    }
                    Some(Fault::Slow(wait)) => std::thread::sleep(wait),
                    _ => {}
                }
                seen.status = answer.status;
                seen.sent_bytes =
                    if is_head { 0 } else { answer.body.len().min(most.unwrap_or(usize::MAX)) };
            }
            // Before the answer, so that a test that has it finds it.
            self.state().seen.push(seen);
            let Some(answer) = answer else { break };
            answer.write(&mut writer, is_head, most)?;
            if most.is_some() {
                break;
            }
        }
        connection.shutdown(Shutdown::Both)
    }
}

impl State {
    fn fault(&mut self, request: &Request) -> Option<Fault> {
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
