//! A file that is written beside its place and moved there when it is whole.

use imgdelta::{Error, Result, scratch::Scratch};
use std::{
    fs::File,
    io::{self, BufWriter, Seek, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A file on its way.
#[derive(Debug)]
pub struct Output {
    place: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Written beside the place it will have.
    Named { path: PathBuf, file: BufWriter<NamedTempFile> },
    /// Written to scratch, then copied to standard output.
    Stdout { file: BufWriter<File> },
}

impl Output {
    /// Begins a file that will lie at `path`; `-` is standard output.
    pub fn create(path: &Path, scratch: &Scratch) -> Result<Self> {
        if path == Path::new("-") {
            let file = BufWriter::new(scratch.file()?);
            return Ok(Self { place: "standard output".into(), kind: Kind::Stdout { file } });
        }
        let place = path.display().to_string();
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        builder.prefix(".imgdelta-");
        // As any new file: the user's mask decides, not what temporary files are made with.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(dir.unwrap_or(Path::new("."))).map_err(Error::io(&place))?;
        let kind = Kind::Named { path: path.to_owned(), file: BufWriter::new(file) };
        Ok(Self { place, kind })
    }

    /// Whether it goes to standard output.
    pub fn is_stdout(&self) -> bool {
        matches!(self.kind, Kind::Stdout { .. })
    }

    /// Ends the writing; returns the file to be read.
    pub fn finish(&mut self) -> Result<File> {
        let file = match &mut self.kind {
            Kind::Named { file, .. } => {
                file.flush().and_then(|()| file.get_ref().as_file().try_clone())
            }
            Kind::Stdout { file } => file.flush().and_then(|()| file.get_ref().try_clone()),
        };
        file.map_err(Error::io(&self.place))
    }

    /// Makes it visible, and returns how it is called.
    pub fn publish(self) -> Result<String> {
        let place = self.place;
        let done = match self.kind {
            Kind::Named { path, file } => publish_named(&path, file),
            Kind::Stdout { file } => copy_out(file),
        };
        done.map_err(Error::io(&place))?;
        Ok(place)
    }
}

fn publish_named(path: &Path, file: BufWriter<NamedTempFile>) -> io::Result<()> {
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

fn copy_out(file: BufWriter<File>) -> io::Result<()> {
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    let mut stdout = io::stdout().lock();
    io::copy(&mut file, &mut stdout)?;
    stdout.flush()
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.kind {
            Kind::Named { file, .. } => file.write(bytes),
            Kind::Stdout { file } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.kind {
            Kind::Named { file, .. } => file.flush(),
            Kind::Stdout { file } => file.flush(),
        }
    }
}
