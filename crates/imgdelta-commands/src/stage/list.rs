//! Lists of images: one name per line, with comments from `#` to the end of the line.
//!
//! Bounded before it is parsed. A mistake is reported with its line.

use crate::args::image_name;
use imgdelta::{Error, Reference, Result};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Reads a list; `-` is standard input.
pub fn read(file: &Path) -> Result<Vec<Reference>> {
    if file == Path::new("-") {
        return read_from(&mut io::stdin().lock(), "standard input");
    }
    let place = file.display().to_string();
    let mut opened = File::open(file).map_err(Error::io(&place))?;
    read_from(&mut opened, &place)
}

fn read_from(reader: &mut dyn Read, place: &str) -> Result<Vec<Reference>> {
    let mut text = String::new();
    reader.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(Error::io(place))?;
    if text.len() as u64 > MOST_BYTES {
        let what = format!("a list of images has at most {MOST_BYTES} bytes: split it");
        return Err(Error::bad_input(place, what));
    }
    let mut images = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let name = line.split('#').next().unwrap_or_default().trim();
        if name.is_empty() {
            continue;
        }
        let image = image_name(name).map_err(|error| {
            let what =
                format!("{error}; expected one image per line, such as registry.example/app:1");
            Error::bad_input(format_args!("{place}:{}", number + 1), what)
        })?;
        images.push(image);
    }
    Ok(images)
}

/// Some ten thousand names.
const MOST_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>> {
        let images = read_from(&mut text.as_bytes(), "images.txt")?;
        Ok(images.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_list_has_a_name_on_each_line_and_comments() {
        let text =
            "# the shop\nregistry.example/shop:2\n\n  docker://registry.example/db:7  # later\r\n";
        let expected = ["docker://registry.example/shop:2", "docker://registry.example/db:7"];
        assert_eq!(names(text).unwrap(), expected);
        assert_eq!(names("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_mistake_in_a_list_has_its_line() {
        let error = names("registry.example/shop:2\nregistry.example/Shop:2\n").unwrap_err();
        assert!(error.to_string().starts_with("images.txt:2: "), "{error}");
        let long = names(&"#".repeat(1 + (1 << 20))).unwrap_err().to_string();
        assert!(long.contains("at most 1048576 bytes"), "{long}");
        assert!(read_from(&mut &b"\xff\n"[..], "images.txt").is_err());
    }
}
