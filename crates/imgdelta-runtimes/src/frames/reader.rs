//! A stream put together from its frames and the files of a snapshot.
//! Never compares a digest, which the reader of the stream does.
//!
//! Files are opened below the snapshot's directory without following any link. A file that is
//! missing or has another length is an error.

use super::{BYTES, END, FILE, MAGIC, MOST_NAME_BYTES, MOST_PATH_BYTES};
use imgdelta_core::{Error, Result, path::escaped};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use std::{
    ffi::OsStr,
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
};
use zstd::stream::read::Decoder;

/// Frames whose head was read.
pub(crate) struct FrameReader {
    place: String,
    snapshot: String,
    stream_bytes: u64,
    records: Records,
}

type Records = BufReader<Decoder<'static, BufReader<File>>>;

impl FrameReader {
    pub(super) fn open(file: File, place: &str) -> Result<Self> {
        let mut input = BufReader::new(file);
        let mut take = |bytes: usize| {
            let mut head = vec![0; bytes];
            input.read_exact(&mut head).map(|()| head).map_err(Error::io(place))
        };
        if take(MAGIC.len())? != MAGIC {
            return Err(Error::bad_input(place, "not frames of this version"));
        }
        let stream_bytes = take(8)?.try_into().map(u64::from_le_bytes).expect("eight bytes");
        let name_bytes = take(2)?.try_into().map(u16::from_le_bytes).expect("two bytes");
        if usize::from(name_bytes) > MOST_NAME_BYTES {
            return Err(Error::bad_input(place, "the snapshot's name is too long"));
        }
        let snapshot = String::from_utf8(take(usize::from(name_bytes))?)
            .map_err(|error| Error::bad_input_because(place, "the name is not text", error))?;
        let decoder = Decoder::with_buffer(input).map_err(Error::io(place))?;
        let records = BufReader::new(decoder);
        Ok(Self { place: place.to_owned(), snapshot, stream_bytes, records })
    }

    /// Returns the name of the snapshot that has the files.
    pub(crate) fn snapshot(&self) -> &str {
        &self.snapshot
    }

    /// Returns the length of the stream.
    pub(crate) fn stream_bytes(&self) -> u64 {
        self.stream_bytes
    }

    /// Returns the stream, with files from a directory.
    pub(crate) fn assemble(self, directory: OwnedFd) -> AssembledStream {
        AssembledStream {
            place: self.place,
            directory,
            records: self.records,
            part: StreamPart::None,
            left_bytes: self.stream_bytes,
        }
    }
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A layer's stream, put together while it is read.
pub(crate) struct AssembledStream {
    place: String,
    directory: OwnedFd,
    records: Records,
    part: StreamPart,
    /// Bytes of the stream that are still to come.
    left_bytes: u64,
}

/// The source of the next bytes.
enum StreamPart {
    /// The next record says so.
    None,
    Frame {
        left_bytes: u64,
    },
    File {
        file: File,
        left_bytes: u64,
    },
    End,
}

impl AssembledStream {
    /// Reads the next record.
    fn next_part(&mut self) -> io::Result<StreamPart> {
        let mut kind = [0];
        self.records.read_exact(&mut kind)?;
        let part = match kind[0] {
            END => return Ok(StreamPart::End),
            BYTES => StreamPart::Frame { left_bytes: self.number()? },
            FILE => {
                let path_bytes = self.number()?;
                if path_bytes > MOST_PATH_BYTES {
                    return Err(self.damaged("a path is too long"));
                }
                let mut path = vec![0; usize::try_from(path_bytes).expect("bounded above")];
                self.records.read_exact(&mut path)?;
                let left_bytes = self.number()?;
                let file = self.open_file(&path, left_bytes)?;
                StreamPart::File { file, left_bytes }
            }
            _ => return Err(self.damaged("a record of an unknown kind")),
        };
        let (StreamPart::Frame { left_bytes } | StreamPart::File { left_bytes, .. }) = &part else {
            return Ok(part);
        };
        // Records without bytes would make a reader that never returns.
        if *left_bytes == 0 || *left_bytes > self.left_bytes {
            return Err(self.damaged("its records do not add up to the stream"));
        }
        Ok(part)
    }

    fn open_file(&self, path: &[u8], bytes: u64) -> io::Result<File> {
        let name = OsStr::from_bytes(path);
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let open = |flags: OFlags| {
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat2(&self.directory, name, flags, Mode::empty(), resolve)
        };
        let admit = |file: &OwnedFd| {
            let found = fstat(file)?;
            if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
                return Err(self.unlike(path, "not a regular file"));
            }
            if u64::try_from(found.st_size) != Ok(bytes) {
                return Err(self.unlike(path, "a file of another length"));
            }
            Ok(())
        };
        // A pipe or device is refused before it is opened.
        let missing = |error: rustix::io::Errno| self.unlike(path, &error.to_string());
        admit(&open(OFlags::PATH).map_err(missing)?)?;
        let file = open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).map_err(missing)?;
        admit(&file)?;
        Ok(File::from(file))
    }

    /// Reads a number of at most nine bytes.
    fn number(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let mut byte = [0];
            self.records.read_exact(&mut byte)?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(self.damaged("a number is too long"))
    }

    fn damaged(&self, what: &str) -> io::Error {
        io::Error::other(Error::bad_input(&self.place, what))
    }

    fn unlike(&self, path: &[u8], what: &str) -> io::Error {
        let what = format!("the snapshot's file {:?}: {what}", escaped(path));
        io::Error::other(Error::bad_input(&self.place, what))
    }
}

impl Read for AssembledStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if matches!(self.part, StreamPart::None) {
            self.part = self.next_part()?;
        }
        let (count, left_bytes) = match &mut self.part {
            StreamPart::None | StreamPart::End => return Ok(0),
            StreamPart::Frame { left_bytes } => {
                let available = self.records.fill_buf()?;
                let room = usize::try_from(*left_bytes).unwrap_or(usize::MAX).min(buffer.len());
                let count = available.len().min(room);
                buffer[..count].copy_from_slice(&available[..count]);
                self.records.consume(count);
                (count, left_bytes)
            }
            StreamPart::File { file, left_bytes } => {
                let room = usize::try_from(*left_bytes).unwrap_or(usize::MAX).min(buffer.len());
                (file.read(&mut buffer[..room])?, left_bytes)
            }
        };
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        *left_bytes -= count as u64;
        let is_done = *left_bytes == 0;
        if is_done {
            self.part = StreamPart::None;
        }
        self.left_bytes -= count as u64;
        Ok(count)
    }
}

impl fmt::Debug for AssembledStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssembledStream").field("place", &self.place).finish_non_exhaustive()
    }
}
