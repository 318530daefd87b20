//! Compresses standard input with zlib-rs (0.6.8) or miniz_oxide (0.8.9), as flate2 does.
//!
//! Usage: make_rust ENCODER LEVEL INPUT OUTPUT FLUSHED, with the arguments of make_zlib_ng.c.

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::{MZFlush, MZStatus};
use std::io::{Read, Write};
use zlib_rs::{Deflate, DeflateFlush, Status};

enum Encoder {
    ZlibRs(Deflate),
    Miniz(Box<CompressorOxide>),
}

#[derive(Clone, Copy)]
enum Flush {
    None,
    Sync,
    Finish,
}

impl Encoder {
    /// Returns the bytes that were read and written, and true at the end of the stream.
    fn call(&mut self, plain: &[u8], out: &mut [u8], flush: Flush) -> (usize, usize, bool) {
        match self {
            Self::ZlibRs(encoder) => {
                let flush = match flush {
                    Flush::None => DeflateFlush::NoFlush,
                    Flush::Sync => DeflateFlush::SyncFlush,
                    Flush::Finish => DeflateFlush::Finish,
                };
                let before = (encoder.total_in(), encoder.total_out());
                let status = encoder.compress(plain, out, flush).unwrap();
                let read = (encoder.total_in() - before.0) as usize;
                let written = (encoder.total_out() - before.1) as usize;
                (read, written, matches!(status, Status::StreamEnd))
            }
            Self::Miniz(encoder) => {
                let flush = match flush {
                    Flush::None => MZFlush::None,
                    Flush::Sync => MZFlush::Sync,
                    Flush::Finish => MZFlush::Finish,
                };
                let result = miniz_oxide::deflate::stream::deflate(encoder, plain, out, flush);
                let is_end = matches!(result.status, Ok(MZStatus::StreamEnd));
                (result.bytes_consumed, result.bytes_written, is_end)
            }
        }
    }
}

fn main() {
    let values: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| values[place].parse::<usize>().unwrap();
    let (input, room) = (number(2), number(3));
    let mut plain = Vec::new();
    std::io::stdin().read_to_end(&mut plain).unwrap();
    let mut encoder = match values[0].as_str() {
        "zlib-rs" => Encoder::ZlibRs(Deflate::new(number(1) as i32, false, 15)),
        _ => Encoder::Miniz(Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(
            number(1) as i32,
            0,
            0,
        )))),
    };
    let mut buffer = vec![0; if room == 0 { 32 << 20 } else { room }];
    let mut out = vec![0; 10];
    let mut rest = &plain[..];
    if input != 0 {
        for mut call in plain.chunks(input) {
            while !call.is_empty() {
                let (read, written, _) = encoder.call(call, &mut buffer, Flush::None);
                call = &call[read..];
                out.extend_from_slice(&buffer[..written]);
            }
        }
        rest = &[];
    }
    if number(4) == 1 {
        while !rest.is_empty() {
            let (read, written, _) = encoder.call(rest, &mut buffer, Flush::None);
            rest = &rest[read..];
            out.extend_from_slice(&buffer[..written]);
        }
        let mut flush = Flush::Sync;
        loop {
            let (_, written, _) = encoder.call(&[], &mut buffer, flush);
            out.extend_from_slice(&buffer[..written]);
            if written < buffer.len() {
                break;
            }
            flush = Flush::None;
        }
    }
    loop {
        let (read, written, is_end) = encoder.call(rest, &mut buffer, Flush::Finish);
        rest = &rest[read..];
        out.extend_from_slice(&buffer[..written]);
        if is_end {
            break;
        }
    }
    out.extend([0; 8]);
    std::io::stdout().write_all(&out).unwrap();
}
