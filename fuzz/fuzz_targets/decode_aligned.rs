//! Any bytes as an aligned code end within their length; what a packer makes of any bytes comes back, also
//! with a mixer state that goes on.
#![no_main]

use imgdelta_coding::aligned::{Kind, MixerState, Stretch, unpack};
use libfuzzer_sys::fuzz_target;

const KINDS: [Kind; 4] = [Kind::Text, Kind::Data, Kind::Words, Kind::X86];

/// Divides `len` bytes by three numbers for each stretch, the last ones for all that are left.
fn stretches(len: usize, numbers: &[u8]) -> Vec<Stretch> {
    let (mut all, mut at) = (Vec::new(), 0);
    for (number, [part, before, after]) in numbers.as_chunks::<3>().0.iter().enumerate() {
        let part = usize::from(*part).min(len - at);
        let place = |at: u8| (at < 0xF0).then_some(usize::from(at));
        let (before, after, kind) = (place(*before), place(*after), KINDS[number % KINDS.len()]);
        all.push(Stretch { len: part, target: at, before, after, kind });
        at += part;
    }
    all.push(Stretch { len: len - at, target: at, before: None, after: Some(0), kind: Kind::X86 });
    all
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, rest)) = bytes.split_first() else { return };
    let (numbers, rest) = rest.split_at(rest.len().min(usize::from(cut & 15)));
    let (reference, raw) = rest.split_at(rest.len() * usize::from(cut >> 4) / 15);
    for len in [raw.len(), 1 << 12] {
        if let Ok(made) = unpack(raw, reference, &stretches(len, numbers)) {
            assert_eq!(made.len(), len);
        }
    }
    let stretches = stretches(raw.len(), numbers);
    let (mut packing, mut unpacking) = (MixerState::default(), MixerState::default());
    for _ in 0..2 {
        let Some(code) = packing.pack(reference, &stretches, raw) else { return };
        let made = unpacking.unpack(&code.bytes, reference, &stretches).expect("just packed");
        assert_eq!(made, raw);
    }
});
