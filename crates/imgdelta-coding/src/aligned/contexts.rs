//! The contexts that a byte is predicted in, by the kind of bytes.
//! Never learns: they are numbers that follow from the bytes before.

use super::{Kind, history::History};
use crate::arithmetic::mixed;
use imgdelta_instructions::CodePhase;

/// Contexts of a byte.
pub(super) const COUNT: usize = 11;

/// The bytes that are predicted for the next place, each plus 1; 0 stands for none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Guesses {
    pub(super) aligned: u32,
    pub(super) second: u32,
    pub(super) matched: u32,
    pub(super) similar: u32,
}

/// The inputs of contexts besides the history.
pub(super) struct Scene<'a> {
    pub(super) kind: Kind,
    /// Place of the byte in the target.
    pub(super) at: usize,
    pub(super) guesses: Guesses,
    pub(super) code: &'a CodePhase,
    /// The byte that was predicted and is wrong, changed as the last such byte was, plus 256; or 0.
    pub(super) wrong: u32,
}

/// Returns the class of a match's length, below 27.
pub(super) fn length_class(len: usize) -> u32 {
    (match len {
        0..16 => len,
        16..32 => 16 + (len - 16) / 4,
        32..64 => 20 + (len - 32) / 16,
        64..512 => 22 + (len - 64) / 128,
        _ => 26,
    }) as u32
}

/// Returns the contexts of the next byte.
pub(super) fn contexts(scene: &Scene<'_>, history: &History) -> [u32; COUNT] {
    let back = |distance| history.back(distance);
    let last = back(1) | back(2) << 8 | back(3) << 16 | back(4) << 24;
    let older = back(5) | back(6) << 8 | back(7) << 16;
    let Guesses { aligned, second, matched, .. } = scene.guesses;
    let one = back(1);
    let next = if aligned > 0 { history.guess_at(history.aligned.at + 1) } else { 0 };
    let len = length_class(history.match_len).min(15);
    let misses = history.aligned.misses & 7;
    let words = if scene.wrong > 0 { scene.wrong } else { mixed(history.word, one) };
    let shared = [
        one,
        last & 0xffff,
        aligned | second << 9 | misses << 18,
        mixed(aligned | one << 9, next),
        mixed(matched | len << 9, one),
        words,
    ];
    let own = match scene.kind {
        Kind::Text => [
            last & 0xff_ffff,
            mixed(last, older & 0xff),
            mixed(history.word, history.word_before),
            mixed(back(8), one),
            mixed(aligned | second << 9, last & 0xffff),
        ],
        Kind::Data => [
            last & 0x00ff_ff00,
            mixed(back(8), scene.at as u32 & 7),
            mixed(one, scene.at as u32 & 7 | 8),
            mixed(back(16) | back(24) << 8, scene.at as u32 & 7),
            last & 0xff00_00ff,
        ],
        Kind::Words => {
            let phase = scene.at & 3;
            // The bytes of the present word so far, and the two words before it.
            let begun = (last & !(u32::MAX << (8 * phase as u32))) | (phase as u32) << 24;
            let [first, then] = [4, 8].map(|distance| {
                let start = phase + distance;
                back(start) | back(start - 1) << 8 | back(start - 2) << 16 | back(start - 3) << 24
            });
            [
                begun,
                mixed(begun, first >> 21 | 1 << 16),
                mixed(begun, mixed(first >> 21, then >> 21)),
                mixed(begun, first & 0x1f | (then & 0x1f) << 8),
                mixed(begun, aligned),
            ]
        }
        Kind::X86 => {
            let (state, before) = (scene.code.state(), scene.code.before());
            [
                last & 0xf8f8_f8f8,
                last & 0xff00_00ff,
                mixed(state, scene.code.bytes()),
                mixed(state, before[0] | 1 << 24),
                mixed(mixed(state, before[0] | 2 << 24), before[1]),
            ]
        }
    };
    let mut all = [0; COUNT];
    all[..6].copy_from_slice(&shared);
    all[6..].copy_from_slice(&own);
    let salt = scene.kind as u32 * 32 + if scene.wrong > 0 { 16 } else { 0 };
    for (number, context) in all.iter_mut().enumerate() {
        *context = mixed(*context, salt + number as u32 + 1);
    }
    all
}
