//! Says for each xz file whether its encoder is found: the recipe, and whether it makes the file.

use imgdelta_xz::{DecodeOptions, DetectOptions, Remaker, XzDecoder, detect};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    for name in env::args().skip(1) {
        let stored = fs::read(&name)?;
        let mut plain = Vec::new();
        let mut decoder = XzDecoder::new(DecodeOptions::default());
        if let Err(error) = decoder.push(&stored, &mut |piece| plain.extend_from_slice(piece)) {
            println!("error\t{name}\t{error}");
            continue;
        }
        let Some(recipe) = detect(&stored, DetectOptions::default()) else {
            println!("unknown\t{name}\t{}", stored.len());
            continue;
        };
        let (mut made, mut remaker) = (Vec::new(), Remaker::new(&recipe));
        let is_made = remaker.write(&plain, &mut made).and_then(|()| remaker.finish(&mut made));
        let outcome = if is_made.is_ok() && made == stored { "exact" } else { "wrong" };
        print!("{outcome}\t{name}\t{}\t", stored.len());
        recipe.to_bytes().iter().for_each(|byte| print!("{byte:02x}"));
        println!();
    }
    Ok(())
}
