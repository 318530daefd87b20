//! Makes deltas in both directions, proves them, and saves them if they are worth it.
//!
//! `cargo run --example create -- OLD NEW UP.imgdelta DOWN.imgdelta`

use imgdelta::{
    Session,
    create::{CreateOptions, Preset},
    diff::DiffOptions,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [old, new, up, down] = &arguments[..] else {
        return Err("usage: create OLD NEW UP.imgdelta DOWN.imgdelta".into());
    };
    let session = Session::new(std::env::temp_dir())?.memory_bytes(256 << 20);
    let images = session.open_pair(&old.parse()?, &new.parse()?)?;
    // Both images are read once, for both directions.
    let pair = session.read_pair(images, &DiffOptions::default())?;
    let options = CreateOptions::default().preset(Preset::Fast);
    for (pair, path) in [(pair.clone(), up), (pair.reversed(), down)] {
        let draft = pair.plan(&options)?.encode()?;
        let cost = draft.cost()?;
        if cost.delta_bytes * 10 > cost.pull_bytes * 9 {
            println!("{path}: not worth it, a plain pull is {} bytes", cost.pull_bytes);
            continue;
        }
        // `prove` applies the delta and compares every byte; `save` renames the file into place.
        let saved = draft.prove()?.save(path)?;
        println!("{path}: {} bytes instead of {}", saved.bytes, cost.pull_bytes);
    }
    Ok(())
}
