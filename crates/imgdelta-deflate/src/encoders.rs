//! Keeps a finished encoder for the next stream.
//!
//! An archive has thousands of members, mostly of a few kilobytes and from one encoder. The tables
//! of an encoder have some hundred kilobytes, so allocating or clearing them costs more than the
//! members. The last encoder is kept, also for another level that shares its tables, and its reset
//! takes time in proportion to its input.
//! Never holds more than one encoder.

use crate::error::RemakeError;
use crate::fallback::ReplayError;
use crate::model::{AnyEncoder, EncoderModel};

/// Keeps the encoder that was used last.
#[derive(Default)]
pub struct EncoderCache {
    kept: Option<(EncoderModel, AnyEncoder)>,
}

impl EncoderCache {
    /// Makes an empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the raw deflate stream of `plain` by `model` to `out`, as zip archives contain it.
    ///
    /// # Errors
    /// If the model does not exist, or is a record of other bytes.
    pub fn remake_raw(
        &mut self,
        model: &EncoderModel,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RemakeError> {
        let mut encoder = self.start(model).ok_or(RemakeError::NoSuchModel)?;
        let result = whole(&mut encoder, plain, out).map_err(RemakeError::Tokens);
        self.keep(model, encoder);
        result
    }

    /// Returns an encoder at the start of a stream. `None` if the model does not exist.
    pub(crate) fn start(&mut self, model: &EncoderModel) -> Option<AnyEncoder> {
        if let Some((kept, mut encoder)) = self.kept.take()
            && model.exists()
            && (kept == *model || encoder.retune(&kept, model).is_some())
            && encoder.restart()
        {
            return Some(encoder);
        }
        model.start()
    }

    /// Takes an encoder back, in any state.
    pub(crate) fn keep(&mut self, model: &EncoderModel, encoder: AnyEncoder) {
        if !matches!(model, EncoderModel::Tokens(_)) {
            self.kept = Some((model.clone(), encoder));
        }
    }
}

fn whole(encoder: &mut AnyEncoder, plain: &[u8], out: &mut Vec<u8>) -> Result<(), ReplayError> {
    encoder.write(plain, out)?;
    encoder.finish(out)
}
