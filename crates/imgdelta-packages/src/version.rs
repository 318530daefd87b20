//! Orders two versions by the rules of their ecosystem.
//! Never guesses: versions without an order are only different.

use crate::package::Ecosystem;
use std::cmp::Ordering;

/// Returns the order of two versions of one ecosystem; `None` if its rules give none.
///
/// `Equal` versions may differ as texts: `1.0` and `1.00` are equal to dpkg.
pub fn order(ecosystem: Ecosystem, a: &str, b: &str) -> Option<Ordering> {
    match ecosystem {
        Ecosystem::Dpkg => Some(by_parts(a, b, dpkg_order)),
        Ecosystem::Rpm => Some(by_parts(a, b, rpm_order)),
        Ecosystem::Apk => apk_order(a, b),
        Ecosystem::Python => python_order(a, b),
        Ecosystem::Node => node_order(a, b),
    }
}

/// Compares `[epoch:]version[-revision]`, part by part.
fn by_parts(a: &str, b: &str, order: impl Fn(&[u8], &[u8]) -> Ordering) -> Ordering {
    let parts = |version: &str| {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (version, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        [epoch, version, revision].map(|part| part.as_bytes().to_vec())
    };
    let pairs = parts(a).into_iter().zip(parts(b));
    pairs.map(|(a, b)| order(&a, &b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Compares parts of Debian versions (policy 5.6.12): text and number in turn.
///
/// Letters are before other characters, and `~` is before the end.
fn dpkg_order(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None | Some(b'0'..=b'9') => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (left, right) = (weight(a.first()), weight(b.first()));
            if left != right {
                return left.cmp(&right);
            }
            if left == 0 {
                break;
            }
            (a, b) = (&a[1..], &b[1..]);
        }
        let order = number_order(
            take_while(&mut a, u8::is_ascii_digit),
            take_while(&mut b, u8::is_ascii_digit),
        );
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Compares parts of rpm versions (`rpmvercmp`): runs of digits and of letters, with any separators.
///
/// Numbers are later than letters. `~` is before the end, and `^` directly after it.
fn rpm_order(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let is_separator = |byte: &u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'~' | b'^');
    loop {
        take_while(&mut a, is_separator);
        take_while(&mut b, is_separator);
        match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => (a, b) = (&a[1..], &b[1..]),
            (None, None) => return Ordering::Equal,
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (None, _) | (Some(b'^'), Some(_)) => return Ordering::Less,
            (_, None | Some(b'^')) => return Ordering::Greater,
            (Some(left), Some(right)) => {
                let order = match (left.is_ascii_digit(), right.is_ascii_digit()) {
                    (true, true) => number_order(
                        take_while(&mut a, u8::is_ascii_digit),
                        take_while(&mut b, u8::is_ascii_digit),
                    ),
                    (false, false) => take_while(&mut a, u8::is_ascii_alphabetic)
                        .cmp(take_while(&mut b, u8::is_ascii_alphabetic)),
                    (is_number, _) => is_number.cmp(&!is_number),
                };
                if order.is_ne() {
                    return order;
                }
            }
        }
    }
}

/// Compares semantic versions, as npm does: build metadata does not count.
fn node_order(a: &str, b: &str) -> Option<Ordering> {
    let parse =
        |version: &str| semver::Version::parse(version.strip_prefix('v').unwrap_or(version)).ok();
    Some(parse(a)?.cmp_precedence(&parse(b)?))
}

/// Compares versions by PEP 440, without their local parts, which have no order across builders.
fn python_order(a: &str, b: &str) -> Option<Ordering> {
    let parse = |version: &str| version.parse().ok().map(pep440_rs::Version::without_local);
    Some(parse(a)?.cmp(&parse(b)?))
}

/// Compares apk versions: numbers and words in turn, with any separators.
///
/// A word with a rank below [`END`] makes a version earlier than the same version without the word,
/// a higher rank makes it later. [`NUMBER`] is the latest. A word without a rank has no order.
fn apk_order(a: &str, b: &str) -> Option<Ordering> {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (left, right) = (take_word(&mut a), take_word(&mut b));
        let place = |word: &[u8]| match word.first() {
            None => Some(END),
            Some(byte) if byte.is_ascii_digit() => Some(NUMBER),
            _ => apk_rank(&word.to_ascii_lowercase()),
        };
        let (left_place, right_place) =
            if left == right && !left.is_empty() { (0, 0) } else { (place(left)?, place(right)?) };
        let order = match left_place.cmp(&right_place) {
            Ordering::Equal if left_place == NUMBER => number_order(left, right),
            order => order,
        };
        if order.is_ne() || left.is_empty() {
            return Some(order);
        }
    }
}

fn take_word<'a>(input: &mut &'a [u8]) -> &'a [u8] {
    take_while(input, |byte| !byte.is_ascii_alphanumeric());
    match input.first() {
        Some(byte) if byte.is_ascii_digit() => take_while(input, u8::is_ascii_digit),
        _ => take_while(input, u8::is_ascii_alphabetic),
    }
}

/// Returns the rank of a suffix (`_rc1`, `_p1`), a revision (`-r1`) or a letter behind a number.
fn apk_rank(word: &[u8]) -> Option<u32> {
    const BEFORE: [&[u8]; 4] = [b"alpha", b"beta", b"pre", b"rc"];
    const AFTER: [&[u8]; 6] = [b"r", b"cvs", b"svn", b"git", b"hg", b"p"];
    let place = |words: &[&[u8]]| {
        words.iter().position(|&one| one == word).and_then(|at| u32::try_from(at).ok())
    };
    match word {
        _ if let Some(at) = place(&BEFORE) => Some(at),
        _ if let Some(at) = place(&AFTER) => Some(END + 1 + at),
        &[letter] => Some(LETTER + u32::from(letter)),
        _ => None,
    }
}

/// Compares decimal numbers of any length; an empty one is zero.
fn number_order(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |mut digits| {
        take_while(&mut digits, |&byte| byte == b'0');
        digits
    };
    let (a, b): (&[u8], &[u8]) = (significant(a), significant(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn take_while<'a>(input: &mut &'a [u8], is_part: impl Fn(&u8) -> bool) -> &'a [u8] {
    let end = input.iter().position(|byte| !is_part(byte)).unwrap_or(input.len());
    let (head, rest) = input.split_at(end);
    *input = rest;
    head
}

/// Rank of a version's end.
const END: u32 = 10;
const LETTER: u32 = 100;
const NUMBER: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_ordered_as_their_ecosystem_does() {
        for (ecosystem, versions) in [
            (
                Ecosystem::Dpkg,
                "1.0~rc1 1.0 1.0-1 1.0-1+b1 1.0-1.1 1.0a 1.0+dfsg 1.0.1 1.2 1.10 1:0.1",
            ),
            (Ecosystem::Dpkg, "2.36-9+deb12u9 2.36-9+deb12u10 2.36-10"),
            (
                Ecosystem::Rpm,
                "1.0~rc1-1 1.0-1.fc39 1.0-1.fc40 1.0-10.fc39 1.0^git1-1 1.0.a-1 1.0.1-1 1.10-1 2:0.1-1",
            ),
            (
                Ecosystem::Apk,
                "1.2_alpha1 1.2_rc1-r0 1.2-r0 1.2-r1 1.2-r10 1.2_p1-r0 1.2a-r0 1.2b-r0 1.2.1-r0",
            ),
            (Ecosystem::Python, "1.0.dev1 1.0a1 1.0b2 1.0rc1 1.0 1.0.post1 1.0.1 1.1 1.10 1!0.1"),
            (Ecosystem::Python, "1.0 1.0-1 1.0.post2 1.0.1"),
            (
                Ecosystem::Node,
                "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.10",
            ),
        ] {
            let versions: Vec<_> = versions.split(' ').collect();
            for (at, a) in versions.iter().enumerate() {
                for (place, b) in versions.iter().enumerate() {
                    assert_eq!(
                        order(ecosystem, a, b),
                        Some(at.cmp(&place)),
                        "{ecosystem}: {a} {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn versions_without_an_order_are_only_different() {
        assert_eq!(order(Ecosystem::Node, "1.0.0", "latest"), None);
        assert_eq!(order(Ecosystem::Python, "1.0", "1.0.unknown"), None);
        assert_eq!(order(Ecosystem::Apk, "1.0_new", "1.0_old"), None);
        for (ecosystem, a, b) in [
            (Ecosystem::Dpkg, "1.0", "1.00"),
            (Ecosystem::Python, "1.0+local.1", "1.0.0+local.2"),
            (Ecosystem::Node, "v1.0.0+build.1", "1.0.0+build.2"),
        ] {
            assert_eq!(order(ecosystem, a, b), Some(Ordering::Equal), "{ecosystem}: {a} {b}");
        }
    }

    proptest! {
        #[test]
        fn swapped_versions_have_the_opposite_order(a in "[0-9a-c.~^+:!_-]{0,8}", b in "[0-9a-c.~^+:!_-]{0,8}") {
            for ecosystem in Ecosystem::ALL {
                prop_assert_eq!(order(ecosystem, &a, &b), order(ecosystem, &b, &a).map(Ordering::reverse));
                if ecosystem <= Ecosystem::Rpm && ecosystem != Ecosystem::Apk {
                    prop_assert_eq!(order(ecosystem, &a, &a), Some(Ordering::Equal));
                }
            }
        }
    }
}
