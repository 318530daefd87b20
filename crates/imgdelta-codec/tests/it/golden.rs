//! The bytes of a group stay as `docs/format-group.md` specifies them.
#![cfg(feature = "encode")]

use imgdelta_codec::{Effort, GroupDecoder, GroupEncoder, GroupLimits};

/// The worked example of the format's page.
fn example() -> (Vec<u8>, Vec<u8>) {
    let base = b"0123456789abcdef".repeat(16);
    let mut target = base.clone();
    target.splice(40..40, *b"XY");
    target[100] += 1;
    (base, target)
}

const GROUP: &[u8] = &[
    0x0F, // fifteen entries, all raw
    0x04, 0x08, 0x0C, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x04, 0x04, 0x08,
    0x00, // members: plain view, with a script
    0x00, 0x02, // literal lengths
    0x28, 0xD8, 0x01, // copy lengths: 40 and 216
    0x00, 0x03, // base offsets: as expected, and 2 less
    0x01, 0x64, // patch gaps: one patch, after 100 bytes
    0x00, // patch runs: one byte
    0x01, // patch values
    0x58, 0x59, // literals
];

#[test]
fn the_worked_example_decodes() {
    let (base, target) = example();
    let mut decoder = GroupDecoder::open(GROUP, &GroupLimits::default()).unwrap();
    let mut rebuilt = vec![0; target.len()];
    decoder.member(&base, &mut rebuilt).unwrap();
    decoder.finish().unwrap();
    assert_eq!(rebuilt, target);
}

#[test]
fn the_encoder_still_writes_the_worked_example() {
    let (base, target) = example();
    let mut encoder = GroupEncoder::new(Effort::Default);
    encoder.member(&base, &target);
    assert_eq!(encoder.finish(), GROUP);
}

#[test]
fn same_inputs_give_the_same_bytes() {
    let (base, target) = example();
    for effort in [Effort::Fast, Effort::Default, Effort::Best] {
        let encode = |warm_up: bool| {
            let mut encoder = GroupEncoder::new(effort);
            if warm_up {
                // Scratch memory from another member must not show.
                encoder.member(&target, &base);
                encoder = GroupEncoder::new(effort);
            }
            encoder.member(&base, &target);
            encoder.member(&target, &base);
            encoder.finish()
        };
        assert_eq!(encode(false), encode(true));
    }
}
