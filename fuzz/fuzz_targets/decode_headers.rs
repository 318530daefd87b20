//! Any bytes are header columns that can be read against any base, or an error.
#![no_main]

use imgdelta_core::{Error, Limits};
use imgdelta_layer::headers::HeaderReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first bytes say how much of the rest is columns; what follows is the base.
    let Some((head, rest)) = bytes.split_first_chunk::<2>() else { return };
    let (packed, base) = rest.split_at(rest.len().min(u16::from_le_bytes(*head).into()));
    let mut source = |address: u64, out: &mut [u8]| {
        let at = usize::try_from(address).ok();
        let found = at.and_then(|at| base.get(at..at.checked_add(out.len())?));
        out.copy_from_slice(found.ok_or_else(|| Error::bad_input("base", "too short"))?);
        Ok(())
    };
    let mut read = |packed: &[u8]| {
        let Ok(mut reader) = HeaderReader::open(packed, &Limits::default()) else { return };
        let (mut frame, mut total) = (Vec::new(), 0);
        while let Ok(Some(_)) = reader.next(&mut source, &mut frame) {
            total += frame.len();
            assert!(frame.len() <= 4 << 20);
            if total > 8 << 20 {
                break;
            }
        }
    };
    read(packed);
    // Compression keeps mutations out of the columns: here the input is the columns, each with its
    // length in front, packed without it.
    let mut table = vec![18];
    let mut bodies = Vec::new();
    let mut rest = packed;
    for _ in 0..18 {
        let len = rest.first().map_or(0, |&len| usize::from(len / 4)).min(rest.len());
        table.push(u8::try_from(len).expect("less than 64") << 2 & 0x7f);
        let len = usize::from(table[table.len() - 1] >> 2);
        bodies.extend_from_slice(&rest[..len]);
        rest = rest.get(len.max(1)..).unwrap_or_default();
    }
    table.extend(bodies);
    read(&table);
});
