//! A survey holds all layers of an image together to the limits of an image.

use imgdelta_core::{
    Context, Error, LimitName, Limits, Result, parallel::Workers, scratch::Scratch,
};
use imgdelta_image::{
    image::{Image, OpenOptions},
    store::layout::OciLayout,
    survey::{self, Survey, SurveyOptions},
};
use imgdelta_testkit::{Crowd, Packing, TestImage};
use std::sync::Arc;

fn surveyed(layers: Vec<Vec<u8>>, change: impl FnOnce(&mut Limits)) -> Result<Vec<Survey>> {
    let mut limits = Limits::default();
    change(&mut limits);
    let archive = TestImage::new(layers, Packing::Zstd).blobs().archive();
    let layout = OciLayout::open_archive(Arc::new(archive), "a.tar".into(), &limits)?;
    let image = Image::open(Arc::new(layout), None, &OpenOptions::default())?;
    let context = Context::new(Scratch::new(std::env::temp_dir()))?
        .workers(Arc::new(Workers::new(2)?))
        .limits(limits);
    survey::all(vec![image], &SurveyOptions::default(), &context)
}

fn exceeded(outcome: Result<Vec<Survey>>) -> (LimitName, u64) {
    match outcome.unwrap_err() {
        Error::OverLimit { name: Some(name), limit, .. } => (name, limit),
        other => panic!("{other}"),
    }
}

#[test]
fn the_entries_of_all_layers_together_meet_a_limit() {
    let layers = || Crowd::ShortNames.layers(50).to_vec();
    assert!(surveyed(layers(), |limits| limits.image_entries = 102).is_ok());
    let outcome = surveyed(layers(), |limits| limits.image_entries = 101);
    assert_eq!(exceeded(outcome), (LimitName::ImageEntries, 101));
}

#[test]
fn a_layer_counts_as_often_as_it_occurs() {
    let [layer, _] = Crowd::ShortNames.layers(50);
    let outcome = surveyed(vec![layer; 3], |limits| limits.image_entries = 102);
    assert_eq!(exceeded(outcome), (LimitName::ImageEntries, 102));
}

#[test]
fn the_names_of_all_layers_together_meet_a_limit() {
    let layers = || Crowd::ShortNames.layers(50).to_vec();
    assert!(surveyed(layers(), |limits| limits.image_text_bytes = 1000).is_ok());
    let outcome = surveyed(layers(), |limits| limits.image_text_bytes = 300);
    assert_eq!(exceeded(outcome), (LimitName::ImageTextBytes, 300));
}
