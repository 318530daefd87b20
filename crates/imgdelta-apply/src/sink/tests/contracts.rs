//! Answers of sinks before and after an image is written: names, forms, limits, and what is there.
//! Never reads an image back.

use super::*;
use imgdelta_core::{BlobDigest, LimitName};
use imgdelta_image::store::Store;

#[test]
fn each_sink_names_itself_and_the_form_of_layers_that_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    for (place, form) in [
        ("oci:DIR/layout", AcceptedForm::Blobs),
        ("oci-archive:DIR/a.tar", AcceptedForm::Blobs),
        ("docker-archive:DIR/d.tar", AcceptedForm::Streams),
    ] {
        let place = place.replace("DIR", &dir.path().display().to_string());
        let sink = create(&place.parse().unwrap(), &context()).unwrap();
        assert_eq!((sink.place(), sink.accepts()), (place, form));
    }
    assert_eq!(MemorySink::new("v1").place(), "memory:v1");
    assert_eq!((NullSink.place().as_str(), NullSink.accepts()), ("nowhere", AcceptedForm::Either));
}

#[test]
fn sinks_without_a_place_of_their_own_have_what_was_written_and_no_more() {
    let (one, blobs) = outgoing(&test_image(b"one"));
    let diff_ids = ["1", "2", "3"].map(|digit| {
        let digest: BlobDigest = format!("sha256:{}", digit.repeat(64)).parse().unwrap();
        DiffId::new(digest.algorithm(), digest.as_bytes()).unwrap()
    });
    assert_eq!(NullSink.has_layers(&diff_ids).unwrap(), [false; 3]);
    assert!(!NullSink.has(&one.layers[0], &Silent).unwrap());
    let mut sink = MemorySink::new("v1");
    let store = sink.clone();
    assert!(Box::new(sink.clone()).finish().is_err(), "it was not begun");
    sink.begin(one.clone()).unwrap();
    assert!(!sink.has(&one.layers[0], &Silent).unwrap());
    let bytes = &blobs.by_digest[&one.layers[0].digest.to_string()];
    let mut check = BlobCheck::new(one.layers[0].digest, one.layers[0].size_bytes);
    let mut writer = sink.blob(&one.layers[0]).unwrap();
    for piece in bytes.chunks(700) {
        check.update(piece).unwrap();
        writer.write(piece).unwrap();
    }
    writer.finish(check.finish().unwrap()).unwrap();
    assert!(sink.has(&one.layers[0], &Silent).unwrap());
    assert!(!sink.has(&one.layers[1], &Silent).unwrap());
    Box::new(sink).finish().unwrap();
    let store = store.store();
    assert_eq!(&store.blob(&one.layers[0].digest).unwrap()[..], bytes);
    assert_eq!(store.names().unwrap(), ["v1"]);
}

#[test]
fn images_without_a_name_stand_once_each_and_beside_names() {
    let dir = tempfile::tempdir().unwrap();
    let place = format!("oci:{}", dir.path().join("x").display());
    let (one, other) = (test_image(b"one"), test_image(b"other"));
    let names = || {
        let (store, _) = store::open(&place.parse().unwrap(), &Limits::default()).unwrap();
        store.names().unwrap()
    };
    let name = |image| format!("@{}", outgoing(image).0.manifest.digest);
    write(&format!("{place}:v1"), &one).unwrap();
    // The same image once more, without a name: the name stays.
    write(&place, &one).unwrap();
    write(&place, &other).unwrap();
    write(&place, &one).unwrap();
    assert_eq!(names(), ["v1".to_owned(), name(&other), name(&one)]);
    let index = fs::read(dir.path().join("x/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 3);
}

#[test]
fn an_index_may_be_as_long_as_the_limit_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let place = format!("oci:{}:v2", dir.path().display());
    write(&format!("oci:{}:v1", dir.path().display()), &test_image(b"one")).unwrap();
    let length = fs::metadata(dir.path().join("index.json")).unwrap().len();
    let with_limit = |manifest_bytes| {
        let mut limits = Limits::default();
        limits.manifest_bytes = manifest_bytes;
        create(&place.parse().unwrap(), &context().limits(limits))
    };
    assert!(with_limit(length).is_ok());
    let error = with_limit(length - 1).unwrap_err();
    assert!(
        matches!(error, Error::OverLimit { name: Some(LimitName::ManifestBytes), .. }),
        "{error}"
    );
}

#[test]
fn a_destination_is_checked_without_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter"), b"text").unwrap();
    let checked = |place: &str| {
        let place = place.replace("DIR", &dir.path().display().to_string());
        check(&place.parse().unwrap(), &context()).map_err(|error| error.to_string())
    };
    for place in ["oci:DIR/x:v1", "oci-archive:DIR/a.tar:v1", "docker-archive:DIR/d.tar"] {
        checked(place).unwrap();
    }
    assert!(checked("oci:DIR").unwrap_err().contains("not an OCI layout"));
    assert!(checked("oci-archive:DIR/none/a.tar").unwrap_err().contains("none"));
    assert!(checked("docker-archive:DIR").unwrap_err().contains("a directory"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_stream_is_written_under_the_manifest_of_its_image() {
    let (one, _) = outgoing(&test_image(b"one"));
    let dir = tempfile::tempdir().unwrap();
    test_image(b"one").blobs().write_layout(dir.path());
    let mut image = open(&format!("oci:{}", dir.path().display()));
    let uncompressed = OutgoingImage::uncompressed(&image, one.layers.clone());
    assert_eq!(uncompressed.manifest.media_type(), image.media_type);
    assert_eq!(uncompressed.manifest.size_bytes, image.manifest.len() as u64);
    assert_eq!(uncompressed.config.digest, one.config.digest);
    image.media_type.clear();
    let unknown = OutgoingImage::uncompressed(&image, one.layers);
    assert_eq!(unknown.manifest.media_type, None);
}

#[test]
#[should_panic(expected = "the writer checks the size first")]
fn a_layer_does_not_run_into_the_next_member_of_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    let place = format!("oci-archive:{}/a.tar", dir.path().display());
    let (one, _) = outgoing(&test_image(b"one"));
    let mut sink = create(&place.parse().unwrap(), &context()).unwrap();
    let layer = one.layers[0].clone();
    sink.begin(one).unwrap();
    let mut writer = sink.blob(&layer).unwrap();
    writer.write(&vec![0; usize::try_from(layer.size_bytes).unwrap()]).unwrap();
    let _ = writer.write(&[0]);
}
