//! Any bytes as an LZ code end within their length; what a packer makes of any bytes comes back.
#![no_main]

use imgdelta_coding::lz::{PrefixPacker, RawKind, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, rest)) = bytes.split_first() else { return };
    let (prefix, raw) = rest.split_at(rest.len() * usize::from(cut) / 255);
    let kind = [RawKind::Bytes, RawKind::X86_64, RawKind::Aarch64][usize::from(cut) % 3];
    for raw_len in [raw.len(), 1 << 12] {
        if let Ok(made) = unpack(raw, prefix.to_vec(), raw_len, kind) {
            assert_eq!(made.len(), prefix.len() + raw_len);
        }
    }
    // The raw bytes hold the prefix as well, so that there is something to match.
    let alike = [raw, prefix, &raw[..raw.len() / 2]].concat();
    for raw in [raw, &alike] {
        let packer = PrefixPacker::new(prefix.to_vec(), raw.len()).of_kind(kind);
        let code = packer.pack(raw).expect("few bytes");
        let made = unpack(&code, prefix.to_vec(), raw.len(), kind).expect("just packed");
        assert_eq!(&made[prefix.len()..], raw);
    }
});
