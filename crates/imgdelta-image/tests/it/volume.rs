//! Streams of layers as one address space.

use imgdelta_core::{
    Context, Difference, Error, MissingLayer, scratch::ScratchFile, verify::Hasher,
};
use imgdelta_format::recipe::StreamName;
use imgdelta_image::{
    image::{Image, OpenOptions},
    store,
    volume::{AddressSpace, FileExtent, Volume},
};
use imgdelta_testkit::{Packing, TestImage, tar_of};
use std::{io::Write, sync::Arc};

fn name(bytes: &[u8]) -> StreamName {
    let mut hasher = Hasher::new(imgdelta_core::Algorithm::Sha256);
    hasher.update(bytes);
    StreamName { diff_id: hasher.finish_diff_id(), bytes: bytes.len() as u64 }
}

fn volume(contents: &[&[u8]]) -> (Volume, Vec<StreamName>) {
    let mut volume = Volume::default();
    let names = contents.iter().map(|content| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        volume.insert(name(content), file).unwrap();
        name(content)
    });
    let names = names.collect();
    (volume, names)
}

#[test]
fn an_address_space_is_its_streams_in_sequence() {
    let contents: [&[u8]; 4] = [b"abc", b"", b"defg", b"h"];
    let mut space = AddressSpace::default();
    for content in contents {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let file = Arc::new(ScratchFile::from(file));
        let extent = Arc::new(FileExtent::new("a file".into(), file).unwrap());
        space.push(&extent, 0..content.len() as u64).unwrap();
    }
    let all = contents.concat();
    assert_eq!(space.bytes(), 8);
    for start in 0..=all.len() {
        for end in start..=all.len() {
            let slice = space.slice(start as u64, (end - start) as u64).unwrap();
            assert_eq!(*slice, all[start..end]);
            let mut buffer = vec![0; end - start];
            space.read_exact_at(start as u64, &mut buffer).unwrap();
            assert_eq!(buffer, all[start..end]);
        }
    }
}

#[test]
fn a_range_past_the_end_is_refused() {
    let (volume, names) = volume(&[b"abc"]);
    let space = AddressSpace::new(&volume, &names).unwrap();
    for (address, bytes) in [(0, 4), (4, 0), (u64::MAX, 1), (1, u64::MAX)] {
        let error = space.slice(address, bytes).unwrap_err();
        assert!(error.to_string().contains("past the end at 3"), "{error}");
    }
    let stream = volume.stream(&names[0].diff_id).unwrap();
    assert!(stream.read_exact_at(2, &mut [0; 2]).is_err());
    assert!(stream.slice(u64::MAX, 1).is_err());
}

#[test]
fn one_error_lists_all_missing_streams() {
    let (volume, mut names) = volume(&[b"abc"]);
    names.extend([name(b"x"), name(b"y")]);
    let Err(Error::BaseMissing { missing, .. }) = AddressSpace::new(&volume, &names) else {
        panic!("must be missing")
    };
    let stream = |bytes| {
        let diff_id = name(bytes).diff_id;
        MissingLayer::Stream { diff_id, layers: Vec::new() }
    };
    assert_eq!(missing, [stream(b"x"), stream(b"y")]);
}

#[test]
fn a_file_of_another_length_is_not_the_stream() {
    let wrong = Volume::default().insert(name(b"abc"), tempfile::tempfile().unwrap());
    let Err(Error::Mismatch { difference, .. }) = wrong else { panic!("must be refused") };
    assert_eq!(difference, Difference::Size { expected: 3, found: 0 });
}

#[test]
fn layers_of_every_packing_are_extracted_once() {
    let dir = tempfile::tempdir().unwrap();
    let layers = vec![tar_of(&[("a", b"one")]), tar_of(&[("b", b"two")])];
    for packing in Packing::ALL {
        let image = TestImage::new(layers.clone(), packing);
        let at = dir.path().join(format!("{packing:?}"));
        image.blobs().write_layout(&at);
        let store =
            store::layout::OciLayout::open_directory(&at, &imgdelta_core::Limits::default());
        let image = Image::open(Arc::new(store.unwrap()), None, &OpenOptions::default());
        let image = image.unwrap();
        let scratch = imgdelta_core::scratch::Scratch::in_dir(dir.path()).unwrap();
        let context = Context::new(scratch).unwrap();
        let names: Vec<StreamName> = layers.iter().map(|layer| name(layer)).collect();
        let wanted = [names[1].diff_id, names[0].diff_id, names[1].diff_id];
        let volume = Volume::extract(&[&image, &image], &wanted, &context).unwrap();
        let space = AddressSpace::new(&volume, &names).unwrap();
        assert_eq!(*space.slice(0, space.bytes()).unwrap(), layers.concat());

        let absent = [name(b"?").diff_id];
        let error = Volume::extract(&[&image], &absent, &context).unwrap_err().to_string();
        assert!(error.starts_with(&image.name), "{error}");
        assert!(error.contains(&absent[0].to_string()), "{error}");
    }
}
