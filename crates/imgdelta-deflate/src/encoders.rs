//! Encoders that are done, kept for the next stream.
//!
//! An archive has members by the thousand, most of a few kilobytes and nearly all of one maker.
//! An encoder's tables are some hundred kilobytes, so that making or clearing them would cost
//! more than the members themselves: the one used last is kept, and forgets in proportion to
//! what it had seen. Never holds more than one.

use crate::fallback::ReplayError;
use crate::model::{Encoder, Model};
use crate::recipe::Recipe;
use crate::remake::{RemakeError, Remaker};

/// The encoder used last, to be used again.
#[derive(Default)]
pub struct Encoders {
    kept: Option<(Model, Encoder)>,
}

impl Encoders {
    /// Makes a place for an encoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the stream of `recipe`, of which `plain` is all plain bytes, to `out`.
    ///
    /// # Errors
    /// When the plain bytes are not those of the recipe. `out` then ends with what came out
    /// before it showed.
    pub fn remake(
        &mut self,
        recipe: &Recipe,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RemakeError> {
        let mut remaker = Remaker::reusing(recipe, std::mem::take(self));
        remaker.write(plain, out)?;
        *self = remaker.finish_reusing(out)?;
        Ok(())
    }

    /// Appends the raw deflate stream that `model` makes of `plain` to `out`, as it stands in zip
    /// archives.
    ///
    /// # Errors
    /// When there is no such model, or it is a record of other bytes.
    pub fn remake_raw(
        &mut self,
        model: &Model,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RemakeError> {
        let mut encoder = self.start(model).ok_or(RemakeError::NoSuchModel)?;
        let result = whole(&mut encoder, plain, out).map_err(RemakeError::Tokens);
        self.keep(model, encoder);
        result
    }

    /// Returns an encoder that stands before a stream.
    pub(crate) fn start(&mut self, model: &Model) -> Option<Encoder> {
        if let Some((kept, mut encoder)) = self.kept.take()
            && kept == *model
            && encoder.restart()
        {
            return Some(encoder);
        }
        model.start()
    }

    /// Takes an encoder back, wherever it stands.
    pub(crate) fn keep(&mut self, model: &Model, encoder: Encoder) {
        if !matches!(model, Model::Tokens(_)) {
            self.kept = Some((model.clone(), encoder));
        }
    }
}

fn whole(encoder: &mut Encoder, plain: &[u8], out: &mut Vec<u8>) -> Result<(), ReplayError> {
    encoder.write(plain, out)?;
    encoder.finish(out)
}
