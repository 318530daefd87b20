//! Writes the inputs of the golden vectors to a directory, for testdata/deflate/make.sh.

#[path = "../tests/it/inputs.rs"]
mod inputs;

fn main() -> std::io::Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    for name in inputs::NAMES {
        std::fs::write(format!("{directory}/{name}"), inputs::input(name))?;
    }
    Ok(())
}
