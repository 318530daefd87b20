//! Scripts whose variables have other names in each version.
#![cfg(feature = "encode")]

use crate::support;
use imgdelta_codec::{Effort, View};
use imgdelta_testkit::noise;
use proptest::prelude::*;
use support::round_trip;

/// A script of so many functions; `shift` changes the names of most of them.
fn script(functions: usize, shift: u8) -> Vec<u8> {
    let bytes = noise(7, functions * 4);
    let mut script = String::new();
    for (number, own) in bytes.chunks_exact(4).enumerate() {
        let shift = if number % 9 == 0 { 0 } else { shift };
        let name = |i: u8| {
            let own = own[usize::from(i)];
            let letters = [own % 26, (own >> 3) + i];
            letters
                .map(|letter| char::from(b'a' + (letter + shift) % 26))
                .iter()
                .collect::<String>()
        };
        let [a, b, c, d] = [0, 1, 2, 3].map(name);
        let body = format!("{{for(let {d} of {c}){b}.add({d}+{number},{c})}}");
        script.extend(["function ", &a, "(", &b, ",", &c, ")", &body].map(str::to_owned));
    }
    script.into_bytes()
}

#[test]
fn a_name_that_became_another_one_is_patched_once() {
    let (base, mut target) = (script(2_000, 0), script(2_000, 5));
    // Another length, so that there is more than one copy.
    target.splice(30_000..30_000, *b"a comment that only the target has");
    let changed = base.iter().zip(&script(2_000, 5)).filter(|(a, b)| a != b).count() as u64;
    let stats = round_trip(&base, &target, Effort::Default);
    assert_eq!(stats.view, View::Names);
    assert!(stats.patched_bytes < changed * 3 / 4, "{} of {changed}", stats.patched_bytes);
}

#[test]
fn names_of_a_long_script_are_not_divided_by_pieces() {
    let (base, target) = (script(50_000, 0), script(50_000, 5));
    assert!(base.len() > 5 << 19);
    assert_eq!(round_trip(&base, &target, Effort::Default).view, View::Names);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_script_comes_back(
        functions in 1..400_usize,
        shift in 0..26_u8,
        cuts in prop::collection::vec((any::<usize>(), 0..60_usize, "[a-z ]{0,9}"), 0..6),
    ) {
        let (base, mut target) = (script(functions, 0), script(functions, shift));
        for (at, removed, text) in cuts {
            let at = at % target.len().max(1);
            let end = target.len().min(at + removed);
            target.splice(at..end, text.into_bytes());
        }
        round_trip(&base, &target, Effort::Default);
    }
}
