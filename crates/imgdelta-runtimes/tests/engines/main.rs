//! Real podman, skopeo and docker: their images serve as bases, and staged images are found by an
//! unmodified pull.
//!
//! On a machine without the tools the tests print that and pass; with `CI` set they must run.

mod docker;
mod storage;

use imgdelta::{Session, create::CreateOptions};
use imgdelta_apply::{
    rebuild::{self, LayerForm},
    sink::{AcceptedForm, Sink},
};
use imgdelta_core::progress::Silent;
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::ImageName,
    store::Store,
};
use imgdelta_testkit::{DockerRegistry, Packing, TestImage, noise, tar_of};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};
use tempfile::TempDir;

/// A registry with two versions of an image, which are layouts, too.
struct Registry {
    registry: DockerRegistry,
    dir: TempDir,
}

impl Registry {
    fn start() -> Self {
        let (registry, dir) = (DockerRegistry::start(|_, _, _| {}), tempfile::tempdir().unwrap());
        let this = Self { registry, dir };
        for (image, tag) in versions().iter().zip(["old", "new"]) {
            image.blobs().write_layout(&this.path(tag));
            let copied = Command::new("skopeo")
                .args(["copy", "-q", "--dest-tls-verify=false"])
                .arg(format!("oci:{}:v1", this.path(tag).display()))
                .arg(format!("docker://{}", this.name(tag)))
                .status();
            assert!(copied.unwrap().success());
        }
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn name(&self, tag: &str) -> String {
        format!("{}/app:{tag}", self.registry.host())
    }

    /// Rebuilds the new version from a base into a sink, by a delta.
    fn rebuild(&self, base: Image, sink: impl Sink + 'static) {
        let session = Session::new(self.dir.path()).unwrap();
        let layout = |tag: &str| format!("oci:{}", self.path(tag).display()).parse().unwrap();
        let pair = session.open_pair(&layout("old"), &layout("new")).unwrap();
        let pair = session.read_pair(pair, &imgdelta::diff::DiffOptions::default()).unwrap();
        let draft = pair.plan(&CreateOptions::default()).unwrap().encode().unwrap();
        let path = self.path("up");
        draft.prove().unwrap().save(&path).unwrap();
        let delta = session.open_delta(&path).unwrap();
        let form = match sink.accepts() {
            AcceptedForm::Streams => LayerForm::Uncompressed,
            _ => LayerForm::Exact,
        };
        rebuild::apply(&delta, &[base], Box::new(sink), form, session.context()).unwrap();
    }

    /// Returns the requests that `pull` makes, without the registry's address.
    fn requests(&self, pull: impl FnOnce()) -> Vec<String> {
        let before = self.registry.log_lines();
        pull();
        let requests = self.registry.requests(before).into_iter();
        requests.map(|request| format!("{} {}", request.method, request.path)).collect()
    }
}

/// Two versions: the second changes a file, removes another one, and adds a layer.
fn versions() -> [TestImage; 2] {
    let lower = tar_of(&[("lib/data", &noise(1, 300_000)), ("gone", b"x"), ("lib/empty", b"")]);
    let old = tar_of(&[("app", &noise(2, 500_000)), ("version", b"1")]);
    let new = tar_of(&[("app", &noise(2, 500_000)), ("version", b"2"), (".wh.gone", b"")]);
    let added = tar_of(&[("etc/added", b"content")]);
    [
        TestImage::new(vec![lower.clone(), old], Packing::Gzip),
        TestImage::new(vec![lower, new, added], Packing::Gzip),
    ]
}

fn open(store: &Arc<impl Store + 'static>, name: Option<&ImageName>) -> Image {
    Image::open(Arc::clone(store) as _, name, &OpenOptions::default()).unwrap()
}

fn open_layout(path: &Path) -> Image {
    let reference = format!("oci:{}", path.display()).parse().unwrap();
    imgdelta_image::image::open(&reference, &OpenOptions::default()).unwrap()
}

/// Reads a layer and compares its digests.
fn read(image: &Image, ordinal: usize) -> imgdelta_core::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut take = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    image.read_layer(&image.layers[ordinal], &mut Vec::new(), &Silent, &mut take)?;
    Ok(bytes)
}

fn tag(name: &str) -> ImageName {
    ImageName::Tag(name.to_owned())
}
