//! Prints what changed between two images, and the ten largest changed files.
//!
//! `cargo run --example diff -- OLD NEW`

use imgdelta::Session;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let references: Vec<String> = std::env::args().skip(1).collect();
    let [old, new] = &references[..] else { return Err("usage: diff OLD NEW".into()) };
    let session = Session::new(std::env::temp_dir())?;
    let mut diff = session.diff(&old.parse()?, &new.parse()?)?;
    println!("{diff}");
    diff.files.sort_by_key(|change| std::cmp::Reverse(change.size_bytes()));
    for change in diff.files.iter().take(10) {
        println!("{:>12} {}", change.size_bytes(), change.path);
    }
    Ok(())
}
