//! Recipes that read the stream of an earlier layer of the same image.

use super::*;

/// Two layers with a new file each, which is nearly the same in both.
fn linked_image(version: u8) -> Blobs {
    let mut own = noise(20 + u64::from(version), 40_000);
    let first = tar_of(&[("shared", &noise(1, 80_000)), ("first", &own)]);
    own[20_000] ^= 1;
    let second = tar_of(&[("other", &noise(2, 80_000)), ("second", &own)]);
    TestImage::new(vec![first, second], Packing::Gzip).blobs()
}

fn linked_scene() -> (Scene, Vec<u64>) {
    let scene = Scene::new(RegistryBehaviour::default());
    for version in [0, 1] {
        scene.add(&format!("l{version}"), linked_image(version));
    }
    let delta = scene.make("l0", "l1");
    scene.push(&delta).unwrap();
    scene.registry.forget();
    let artifact = scene.artifact("l1");
    let sizes = artifact.recipes.iter().map(|recipe| recipe.blob.size_bytes).collect();
    (scene, sizes)
}

#[test]
fn a_recipe_that_reads_an_earlier_layer_is_pulled_with_the_recipe_of_that_layer() {
    let (scene, sizes) = linked_scene();
    // The new file is in the first recipe only.
    assert!(sizes[0] > 40_000 && sizes[1] < 2000, "{sizes:?}");
    for chain in [1, 6] {
        let output = format!("oci:DIR/out-{chain}:v1");
        let plan = scene.plan_with(&options().chain(chain), ":l1", &["l0"], &output).unwrap();
        assert_eq!(plan.fetch_bytes(), sizes.iter().sum::<u64>());
        let pulled = plan.carry_out().unwrap();
        assert_eq!(ways(&pulled), ["recipe", "chain"]);
        assert!(pulled.notes.is_empty(), "{pulled}");
        scene.is_whole(&output, "l1");
    }
}

#[test]
fn a_layer_that_is_there_is_made_again_to_be_read() {
    let (scene, sizes) = linked_scene();
    let output = "oci:DIR/part:v1";
    scene.plan(":l1", &["l0"], output, true).unwrap().carry_out().unwrap();
    let second = scene.local("l1").layers[1].descriptor.digest;
    let path = scene.dir.path().join(format!("part/blobs/sha256/{}", second.hex()));
    std::fs::remove_file(path).unwrap();
    let plan = scene.plan(":l1", &["l0"], output, true).unwrap();
    assert_eq!(plan.fetch_bytes(), sizes.iter().sum::<u64>());
    let pulled = plan.carry_out().unwrap();
    assert_eq!(ways(&pulled), ["there", "chain"]);
    scene.is_whole(output, "l1");
}
