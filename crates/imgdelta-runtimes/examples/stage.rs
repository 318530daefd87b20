//! Stages the layers of an image in containerd, with their frames, and prints what was done. Then puts
//! each stream together again, from frames and unpacked files, and compares its digest.
//!
//!     stage SOCKET NAMESPACE IMAGE FRAMES
//!
//! IMAGE is an OCI layout or an archive. A pull of the same image then fetches no layer.

use imgdelta_apply::sink::{OutgoingImage, Sink};
use imgdelta_core::{Error, Result, progress::Silent, verify::BlobCheck};
use imgdelta_image::{
    image::{self, OpenOptions},
    store::{Descriptor, Store},
};
use imgdelta_runtimes::{
    containerd::{Containerd, ContainerdOptions, ContainerdSink, ContainerdStore, StagingOptions},
    frames::{FrameLimits, FrameStore},
};
use std::{io::Read, path::Path};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [socket, namespace, image, frames] = &args[..] else {
        return Err(Error::bad_input("usage", "stage SOCKET NAMESPACE IMAGE FRAMES"));
    };
    let options = ContainerdOptions::default().socket(socket).namespace(namespace);
    let frames = FrameStore::open(Path::new(frames), FrameLimits::default())?;
    let image = image::open(&image.parse()?, &OpenOptions::default())?;

    // Streams have lengths that no document states: one reading finds them.
    let mut streams = Vec::new();
    for layer in &image.layers {
        let read = image.read_layer(layer, &mut Vec::new(), &Silent, &mut |_| Ok(()))?;
        streams.push(Descriptor::of_stream(&layer.diff_id, read.stream_bytes));
    }
    let containerd = Containerd::connect(options)?;
    let mut sink =
        ContainerdSink::new(containerd.clone(), StagingOptions::default()).frames(frames.clone());
    let status = sink.status();
    sink.begin(OutgoingImage::uncompressed(&image, streams.clone()))?;
    for (layer, stream) in image.layers.iter().zip(&streams) {
        if sink.has(stream, &Silent)? {
            continue;
        }
        let mut writer = sink.blob(stream)?;
        let mut check = BlobCheck::new(stream.digest, stream.size_bytes);
        image.read_layer(layer, &mut Vec::new(), &Silent, &mut |piece| {
            check.update(piece)?;
            writer.write(piece)
        })?;
        writer.finish(check.finish()?)?;
    }
    Box::new(sink).finish()?;
    let (files, bytes) = frames.totals()?;
    println!("{}; {files} files of frames, {bytes} bytes", status.report());

    let store = ContainerdStore::new(containerd).frames(frames);
    for stream in &streams {
        let outcome = read_again(&store, stream);
        println!(
            "{}: {}",
            stream.digest,
            outcome.map_or_else(|e| e.to_string(), |()| "exact".into())
        );
    }
    Ok(())
}

fn read_again(store: &ContainerdStore, stream: &Descriptor) -> Result<()> {
    let (mut reader, mut buffer) = (store.open(stream)?, vec![0; 256 << 10]);
    let mut check = BlobCheck::new(stream.digest, stream.size_bytes);
    loop {
        let count = reader.read(&mut buffer).map_err(Error::io("the stream"))?;
        if count == 0 {
            return check.finish().map(drop);
        }
        check.update(&buffer[..count])?;
    }
}
