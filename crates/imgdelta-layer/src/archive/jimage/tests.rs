//! Indexes written from lists and read back; damage, and lists that would take long.

use super::{
    index, index_and_list, index_of,
    list::{Resource, ResourceList},
    read,
};
use crate::archive::ArchiveBytes;
use imgdelta_testkit::has;
use proptest::prelude::*;
use std::process::Command;

const START: [u8; 12] = [0xda, 0xda, 0xfe, 0xca, 0, 0, 1, 0, 0, 0, 0, 0];

/// Names of the resources of some classes.
fn names(count: usize) -> Vec<[String; 4]> {
    let name = |number: usize| {
        let package = format!("java/package{}", number / 7);
        ["java.base".into(), package, format!("Class{number}"), "class".into()]
    };
    (0..count).map(name).collect()
}

/// Returns a list of resources with these names.
fn list<'a>(names: &'a [[String; 4]], strings: &'a [u8]) -> Vec<u8> {
    let resource = |(names, number): ([&'a [u8]; 4], u32)| {
        let packed_bytes = if number % 3 == 0 { number } else { 0 };
        Resource { names, bytes: number * 37 % 1000, packed_bytes }
    };
    let names = names.iter().map(|names| names.each_ref().map(String::as_bytes));
    let resources = names.zip(0..).map(resource).collect();
    ResourceList { start: &START, resources, strings }.to_bytes()
}

/// Returns a file with this index.
fn file(mut index: Vec<u8>) -> Vec<u8> {
    index.extend_from_slice(b"resources");
    index
}

fn opened(file: &[u8]) -> Option<(Vec<u8>, u64)> {
    let slice = ArchiveBytes::in_memory(file);
    read(&slice).unwrap()?;
    let (index, list) = index_and_list(&slice).unwrap()?;
    Some((list, index.len() as u64))
}

#[test]
fn an_index_is_read_to_the_list_that_it_was_written_from() {
    for count in [1, 2, 5, 100, 3000] {
        let list = list(&names(count), b"");
        let index = index_of(&list).unwrap();
        let end = index.len() as u64;
        let file = file(index);
        assert!(opened(&file) == Some((list, end)), "{count} resources");
        let archive = read(&ArchiveBytes::in_memory(&file)).unwrap().unwrap();
        let stored: Vec<_> = archive.parts.into_iter().map(|part| part.stored).collect();
        assert_eq!(stored, [0..end, end..end + 9]);
    }
}

#[test]
fn a_table_with_other_strings_is_in_the_list() {
    let names = names(20);
    let mut strings = b"\0class\0zip\0".to_vec();
    for name in names.iter().flatten().rev() {
        strings.extend_from_slice(name.as_bytes());
        strings.push(0);
    }
    let list = list(&names, &strings);
    let index = index_of(&list).unwrap();
    assert!(index.ends_with(&strings));
    assert!(opened(&file(index)).unwrap().0 == list);
}

#[test]
fn an_index_that_closing_would_not_make_stays_closed() {
    let index = index_of(&list(&names(40), b"")).unwrap();
    for at in 0..index.len() {
        let mut damaged = index.clone();
        damaged[at] ^= 1;
        let file = file(damaged);
        // A bound between index and resources may be moved.
        let is_right = |(list, end): (Vec<u8>, u64)| {
            index_of(&list).unwrap() == file[..usize::try_from(end).unwrap()]
        };
        assert!(opened(&file).is_none_or(is_right), "at {at}");
    }
    for end in 0..index.len() {
        assert!(opened(&index[..end]).is_none(), "cut at {end}");
    }
    // A file that ends behind its index has no resources.
    assert!(opened(&index).is_none());
}

#[test]
fn a_list_that_is_cut_is_refused() {
    let list = list(&names(9), b"");
    for end in 0..list.len() {
        assert!(ResourceList::read(&list[..end]).is_none(), "cut at {end}");
    }
    let mut longer = list;
    longer[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(ResourceList::read(&longer).is_none());
}

#[test]
fn a_list_with_two_names_alike_has_no_index() {
    // No seed gives two names alike different slots.
    let mut names = names(50_000);
    names[7] = names[40_000].clone();
    assert!(index_of(&list(&names, b"")).is_none());
    // Thousands of names alike end at the first slot that is taken.
    let alike = vec![names[0].clone(); 50_000];
    assert!(index_of(&list(&alike, b"")).is_none());
}

#[test]
fn an_index_is_not_read_beyond_its_bound() {
    let mut header = START.to_vec();
    for number in [1_u32, 1, u32::MAX, u32::MAX] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    assert!(index::FileHeader::read(&header).index_bytes().is_none());
}

#[test]
fn the_index_is_that_of_the_linker_of_java() {
    if !has(&["jlink"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Without compression, with strings that classes share, and with deflate.
    for level in ["0", "1", "2"] {
        let out = dir.path().join(level);
        let mut link = Command::new("jlink");
        link.args(["--add-modules", "java.base", "--compress", level, "--output"]).arg(&out);
        assert!(link.status().unwrap().success());
        let file = std::fs::read(out.join("lib/modules")).unwrap();
        assert!(opened(&file).is_some(), "compression {level}");
    }
}

#[test]
fn an_index_of_which_rows_share_a_long_string_stays_closed() {
    // Reading all names would take a terabyte.
    let (slots, string_bytes) = (200_000_u32, 8_u32 << 20);
    let mut index = START.to_vec();
    for number in [slots, slots, 8, string_bytes] {
        index.extend_from_slice(&number.to_le_bytes());
    }
    index.resize(28 + 8 * slots as usize, 0);
    // A row with a module at offset 0, and one that has no end.
    index.extend_from_slice(&[1 << 3, 0, 0, 0, 0, 0, 0, 0]);
    index.resize(index.len() + string_bytes as usize - 1, b'x');
    index.push(0);
    assert!(opened(&file(index)).is_none());
}

#[test]
fn attributes_out_of_order_are_refused() {
    let index = index_of(&list(&names(1), b"")).unwrap();
    // The row begins behind header, redirect, place and a zero: with the module, then the package.
    let row = 28 + 4 + 4 + 1;
    let mut turned = index.clone();
    turned[row..row + 5].rotate_left(2);
    assert!(turned != index && opened(&file(turned)).is_none());
}

proptest! {
    #[test]
    fn any_list_with_an_index_comes_back(
        names in prop::collection::btree_set(prop::array::uniform4("[a-z]{0,3}"), 1..60),
    ) {
        let names: Vec<[String; 4]> = names.into_iter().collect();
        let list = list(&names, b"");
        if let Some(index) = index_of(&list)
            && let Some((read, _)) = opened(&file(index.clone()))
        {
            prop_assert!(index_of(&read).unwrap() == index);
        }
    }
}
