//! The mirror against registries whose behaviour a test controls, and with a real containerd.
//! Whatever fails in the mirror, a request is answered so that the pull succeeds.

mod clients;
mod containerd;
mod faults;
mod frames;
mod matrix;
mod relay;
mod site;

use imgdelta::{
    Session,
    create::{CreateOptions, Preset},
    diff::DiffOptions,
};
use imgdelta_apply::{
    delta::Delta,
    sink::{AcceptedForm, BlobWriter, OutgoingImage, Sink},
};
use imgdelta_core::{DiffId, Error, Limits, Result, progress::Progress, verify::VerifiedBlob};
use imgdelta_image::{
    Reference,
    image::{self, Image, OpenOptions},
    reference::RepositoryName,
    store::Descriptor,
};
use imgdelta_node::{Config, Runtime, Status, serve};
use imgdelta_registry::{ClientOptions, Credentials, PushOptions, Registries};
use imgdelta_service::{Stop, StopPhase};
use imgdelta_testkit::{Packing, TestImage, noise, tar_of};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

/// Two versions: one shares a layer, changes a program a little, and has a layer of its own.
fn versions() -> [TestImage; 2] {
    let image = |version: u8| {
        let mut program = noise(2, 400_000);
        program[30_000] ^= version;
        let layers = vec![
            tar_of(&[("lib/shared", &noise(1, 80_000))]),
            tar_of(&[("bin/program", &program), ("etc/version", &[version])]),
        ];
        TestImage::new(layers, Packing::Gzip)
    };
    [image(b'0'), image(b'1')]
}

/// Makes a delta between two layouts, or to one without a base.
fn delta(dir: &Path, old: Option<&Path>, new: &Path) -> Delta {
    let session = Session::new(dir).unwrap().threads(2).unwrap();
    let reference = |path: &Path| format!("oci:{}", path.display()).parse::<Reference>().unwrap();
    let options = CreateOptions::default().preset(Preset::Fast);
    let images = match old {
        Some(old) => session.open_pair(&reference(old), &reference(new)).unwrap(),
        None => session.open_without_base(&reference(new)).unwrap(),
    };
    let pair = session.read_pair(images, &DiffOptions::default()).unwrap();
    let draft = pair.plan(&options).unwrap().encode().unwrap();
    let mut bytes = Vec::new();
    draft.prove().unwrap().write_to(&mut bytes).unwrap();
    Delta::open(Arc::new(bytes), "fresh", &Limits::default()).unwrap()
}

/// Pushes a delta next to its target.
fn push(delta: &Delta, target: &str, credentials: Credentials) {
    let options = ClientOptions::default().credentials(credentials);
    let registries = Registries::new(options).unwrap();
    let target = format!("docker://{target}").parse().unwrap();
    registries.push(delta, &target, &PushOptions::default()).unwrap();
}

/// A mirror that runs until it is dropped.
struct RunningMirror {
    address: SocketAddr,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl RunningMirror {
    fn start(config: &str, runtime: Arc<dyn Runtime>) -> Self {
        let config = Config::parse(config, "node.toml").unwrap();
        let (sender, address) = mpsc::channel();
        let stop = Stop::default();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let threads = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let listening = |address| sender.send(address).unwrap();
            threads.block_on(serve(config, runtime, &stopped, listening)).unwrap();
        });
        Self { address: address.recv().unwrap(), stop, thread: Some(thread) }
    }

    /// Sends a request and returns the whole answer.
    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut connection = TcpStream::connect(self.address).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(connection, "{method} {path} HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n")
            .unwrap();
        for (name, value) in headers {
            write!(connection, "{name}: {value}\r\n").unwrap();
        }
        connection.write_all(b"\r\n").unwrap();
        Answer::read(&mut connection)
    }

    fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[("Accept", ACCEPT)])
    }

    fn status(&self) -> Status {
        serde_json::from_slice(&self.get("/status").body).unwrap()
    }
}

const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json";

impl Drop for RunningMirror {
    fn drop(&mut self) {
        self.stop.request(StopPhase::Leaving);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// An answer of the mirror.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn read(connection: &mut TcpStream) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            connection.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut body = Vec::new();
        match headers.get("content-length") {
            Some(length) => {
                let mut body_reader = connection.take(length.parse().unwrap());
                body_reader.read_to_end(&mut body).unwrap();
            }
            None => drop(connection.read_to_end(&mut body).unwrap()),
        }
        if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            body = unchunked(&body);
        }
        Self { status, headers, body }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a length");
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
}

/// A runtime whose images are layouts, and whose store is a list.
#[derive(Debug, Default)]
struct ListRuntime {
    bases: Vec<Reference>,
    /// Layers by their streams' digests, with their lengths.
    layers: Arc<Mutex<BTreeMap<String, u64>>>,
    /// A failure of its store.
    failure: Option<&'static str>,
}

impl ListRuntime {
    fn with(base: &Path) -> Self {
        let base = format!("oci:{}", base.display()).parse().unwrap();
        Self { bases: vec![base], ..Self::default() }
    }
}

impl Runtime for ListRuntime {
    fn images(&self, _: &str, _: &RepositoryName, options: &OpenOptions) -> Result<Vec<Image>> {
        self.bases.iter().map(|base| image::open(base, options)).collect()
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn sink(&self) -> Result<Box<dyn Sink>> {
        match self.failure {
            Some("panic") => panic!("a bug of the runtime's store"),
            Some(what) => Err(Error::bad_input("the runtime's store", what)),
            None => Ok(Box::new(ListSink(Arc::clone(&self.layers)))),
        }
    }
}

#[derive(Debug)]
struct ListSink(Arc<Mutex<BTreeMap<String, u64>>>);

impl Sink for ListSink {
    fn place(&self) -> String {
        "list".into()
    }

    fn accepts(&self) -> AcceptedForm {
        AcceptedForm::Streams
    }

    fn has_layers(&self, diff_ids: &[DiffId]) -> Result<Vec<bool>> {
        let layers = self.0.lock().unwrap();
        Ok(diff_ids.iter().map(|diff_id| layers.contains_key(&diff_id.to_string())).collect())
    }

    fn begin(&mut self, _: OutgoingImage) -> Result<()> {
        Ok(())
    }

    fn has(&self, blob: &Descriptor, _: &dyn Progress) -> Result<bool> {
        Ok(self.0.lock().unwrap().contains_key(&blob.digest.to_string()))
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn BlobWriter + '_>> {
        Ok(Box::new(ListWriter { sink: self, name: blob.digest.to_string(), bytes: 0 }))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct ListWriter<'a> {
    sink: &'a ListSink,
    name: String,
    bytes: u64,
}

impl BlobWriter for ListWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>, _: VerifiedBlob) -> Result<()> {
        self.sink.0.lock().unwrap().insert(self.name.clone(), self.bytes);
        Ok(())
    }
}
