//! The frames of an image's layers, read from its store.
//! Every layer is compared with its digests while it is read.

use crate::encoder::FrameEncoder;
use imgdelta_core::{DiffId, Result, progress::Progress};
use imgdelta_image::image::{Image, Layer};

/// The frames of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerFrames {
    /// The layer's stream.
    pub diff_id: DiffId,
    /// The length of the stream.
    pub stream_bytes: u64,
    /// The frames, which are some hundred kilobytes for ten thousand files.
    pub bytes: Vec<u8>,
}

/// Reads a layer and returns its frames; `None` if its stream cannot be put together from files, or if
/// they are larger than is useful.
pub fn frames_of(
    image: &Image,
    layer: &Layer,
    progress: &dyn Progress,
) -> Result<Option<LayerFrames>> {
    let encoder = FrameEncoder::new(Vec::new(), format!("frames of {}", layer.diff_id))?;
    let mut encoder = Some(encoder);
    image.read_layer(layer, &mut Vec::new(), progress, &mut |piece| {
        encoder.take_if(|encoder| {
            encoder.feed(piece).is_err() || encoder.output().len() > MOST_FRAME_BYTES
        });
        Ok(())
    })?;
    let finished = encoder.map(FrameEncoder::finish).transpose()?.flatten();
    let Some((bytes, stream_bytes)) = finished else { return Ok(None) };
    Ok(Some(LayerFrames { diff_id: layer.diff_id, stream_bytes, bytes }))
}

/// Frames of a layer with a million files. Larger ones hold the content of sparse files.
const MOST_FRAME_BYTES: usize = 64 << 20;
