//! Any bytes as a group decode or are refused; what an encoder makes of any bytes decodes to them.
#![no_main]

use imgdelta_codec::{Effort, GroupDecoder, GroupEncoder, GroupLimits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, rest)) = bytes.split_first() else { return };
    let (base, other) = rest.split_at(rest.len() * usize::from(cut) / 255);
    let limits = GroupLimits::default().stream_bytes(1 << 20);
    if let Ok(mut decoder) = GroupDecoder::open(other, &limits) {
        let mut target = vec![0; 1 << 12];
        if decoder.member(base, &mut target).is_ok() {
            let _ = decoder.finish();
        }
    }
    let mut encoder = GroupEncoder::new(Effort::Default);
    encoder.member(base, other);
    let group = encoder.finish();
    let mut decoder = GroupDecoder::open(&group, &limits).expect("just written");
    let mut target = vec![0; other.len()];
    decoder.member(base, &mut target).expect("just written");
    decoder.finish().expect("nothing is left over");
    assert_eq!(target, other);
});
