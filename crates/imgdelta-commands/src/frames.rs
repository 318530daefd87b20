//! The command `frames`: the frames of an image's layers, put next to it in its registry or into a
//! folder.
//!
//! Contains no protocol.

use crate::{
    args::{self, CommonOptions},
    display::{self, TerminalProgress},
    output, session,
};
use imgdelta::{
    Reference, Result, Session,
    image::{Image, Layer},
    sink::{self, OutgoingImage},
    size::{Exact, Human},
};
use imgdelta_frames::{
    FRAMES_DIRECTORY, FrameLimits, FrameStore, LayerFrames, ReplacedFiles, frames_of,
    replaced_directory,
};
use imgdelta_registry::{FramesBlob, Registries};
use serde_json::json;
use std::{collections::HashSet, path::Path, process::ExitCode, sync::Arc};

/// Runs the command.
pub fn run(args: &args::FramesArgs, common: &CommonOptions) -> Result<ExitCode> {
    let progress = display::progress(common.quiet)?;
    let registries = session::registries(common, &progress)?;
    let session = session::session(common, None, &progress)?.platform(args.platform.clone());
    match &args.output {
        Some(folder) => {
            let session = registries.attach(session);
            write(args, folder, &session, &progress, common)
        }
        None => publish(args, &registries, session, &progress, common),
    }
}

/// Puts the frames next to the image in its registry.
fn publish(
    args: &args::FramesArgs,
    registries: &Registries,
    session: Session,
    progress: &Arc<TerminalProgress>,
    common: &CommonOptions,
) -> Result<ExitCode> {
    let repository = registries.repository(&args.image)?;
    let image = registries.attach_without_scratch(session).open(&args.image)?;
    let (mut frames, mut without) = (Vec::new(), 0);
    for layer in distinct_layers(&image) {
        match frames_of(&image, layer, &**progress)? {
            Some(LayerFrames { diff_id, stream_bytes, bytes, .. }) => {
                frames.push((FramesBlob::of(diff_id, stream_bytes, &bytes), bytes));
            }
            None => without += 1,
        }
    }
    progress.finish();
    let digest = image.digest;
    let count = frames.len();
    let bytes: u64 = frames.iter().map(|(frames, _)| frames.blob.size_bytes).sum();
    let pushed = registries.wait(async move { repository.push_frames(&digest, frames).await })?;
    let document = || {
        json!({
            "schema": SCHEMA,
            "image": digest.to_string(),
            "artifact": pushed.artifact.to_string(),
            "layers": count,
            "layers_without_frames": without,
            "bytes": bytes,
            "sent_bytes": pushed.sent_bytes,
        })
    };
    let text = format!(
        "frames  {}\nimage   {digest}\nsent    {} of {} in {count} layers\n{}",
        pushed.artifact,
        Exact(pushed.sent_bytes),
        Human(bytes),
        without_text(without)
    );
    output::print_result(document, &text, args.json, common.quiet)
}

/// Writes a folder with the image's documents and the frames, for `rootfs:`.
fn write(
    args: &args::FramesArgs,
    folder: &Path,
    session: &Session,
    progress: &Arc<TerminalProgress>,
    common: &CommonOptions,
) -> Result<ExitCode> {
    let image = session.open(&args.image)?;
    // The fixed tag: a folder has one image, which the next one replaces.
    let name = "image".to_owned();
    let layout = Reference::Layout {
        directory: folder.to_owned(),
        name: Some(imgdelta::store::ImageName::Tag(name)),
    };
    let mut documents = sink::create(&layout, session.context())?;
    documents.begin(OutgoingImage::uncompressed(&image, Vec::new()))?;
    let store = FrameStore::open(&folder.join(FRAMES_DIRECTORY), FrameLimits::default())?;
    let (mut count, mut bytes, mut without) = (0_u64, 0_u64, 0_u64);
    for layer in distinct_layers(&image) {
        let Some(frames) = frames_of(&image, layer, &**progress)? else {
            without += 1;
            continue;
        };
        let mut file = store.receive(&frames.diff_id, "", frames.stream_bytes)?;
        file.write(&frames.bytes)?;
        file.publish()?;
        count += 1;
        bytes += frames.bytes.len() as u64;
    }
    let replaced = ReplacedFiles::new(replaced_directory(folder)).keep(&image, &**progress)?;
    documents.finish()?;
    // The frames of an earlier image.
    store.sweep(|diff_id, _| Ok(image.layers.iter().any(|layer| layer.diff_id == *diff_id)))?;
    progress.finish();
    let (digest, folder) = (image.digest, folder.display().to_string());
    let document = || {
        json!({
            "schema": SCHEMA,
            "image": digest.to_string(),
            "folder": folder,
            "layers": count,
            "layers_without_frames": without,
            "bytes": bytes,
            "replaced_bytes": replaced,
        })
    };
    let text = format!(
        "folder  {folder}\nimage   {digest}\nframes  {} in {count} layers\n\
         files   {} that higher layers replace\n{}",
        Exact(bytes),
        Exact(replaced),
        without_text(without)
    );
    output::print_result(document, &text, args.json, common.quiet)
}

fn distinct_layers(image: &Image) -> impl Iterator<Item = &Layer> {
    let mut seen = HashSet::new();
    image.layers.iter().filter(move |layer| seen.insert(layer.diff_id))
}

fn without_text(without: u64) -> String {
    match without {
        0 => String::new(),
        _ => format!("without {without} layers, which unpacked files do not give back\n"),
    }
}

/// Name and version of the JSON document.
const SCHEMA: &str = "imgdelta.frames/1";
