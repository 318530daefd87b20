//! Writes all forgeries and their base into a directory: `forge DIRECTORY`.
//!
//! `tests/hostile.sh` counts the instructions of the program for each.

use std::{env, fs, path::PathBuf};

fn main() -> std::io::Result<()> {
    let directory = PathBuf::from(env::args().nth(1).expect("usage: forge DIRECTORY"));
    imgdelta_forge::base_image().write_layout(&directory.join("base"));
    for (number, forgery) in imgdelta_forge::all().into_iter().enumerate() {
        fs::write(directory.join(format!("{number:02}.imgdelta")), &forgery.delta)?;
        println!("{number:02} {:?} {}", forgery.outcome, forgery.name);
    }
    Ok(())
}
