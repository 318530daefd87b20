//! Applies a delta to an image of containerd, and throws the streams away: the work of a node without its
//! destination. For measurements.
//!
//!     base SOCKET NAMESPACE NAME DELTA [FRAMES]
//!
//! With FRAMES, the folder of `stage`, layers without blobs are read from unpacked files.

use imgdelta_apply::{
    delta::Delta,
    rebuild::{LayerForm, apply},
    sink::NullSink,
};
use imgdelta_core::{Context, Error, Limits, Result, scratch::Scratch};
use imgdelta_image::{
    image::{Image, OpenOptions},
    reference::ImageName,
};
use imgdelta_runtimes::{
    containerd::{Containerd, ContainerdOptions, ContainerdStore},
    frames::{FrameLimits, FrameStore},
};
use std::{fs::File, path::Path, sync::Arc};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [socket, namespace, name, delta, frames @ ..] = &args[..] else {
        return Err(Error::bad_input("usage", "base SOCKET NAMESPACE NAME DELTA [FRAMES]"));
    };
    let options = ContainerdOptions::default().socket(socket).namespace(namespace);
    let mut store = ContainerdStore::new(Containerd::connect(options)?);
    if let Some(frames) = frames.first() {
        store = store.frames(FrameStore::open(Path::new(frames), FrameLimits::default())?);
    }
    let name = ImageName::Tag(name.clone());
    let image = Image::open(Arc::new(store), Some(&name), &OpenOptions::default())?;
    let blobs = image.layers.iter().filter(|layer| layer.has_blob()).count();
    println!("{} layers, {blobs} as blobs", image.layers.len());
    let file = File::open(delta).map_err(Error::io(delta))?;
    let delta = Delta::open(Arc::new(file), delta, &Limits::default())?;
    let context = Context::new(Scratch::new(std::env::temp_dir()))?;
    let report = apply(&delta, &[image], Box::new(NullSink), LayerForm::Uncompressed, &context)?;
    println!("{report}");
    Ok(())
}
