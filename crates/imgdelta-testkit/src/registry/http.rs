//! The part of HTTP/1.1 that a registry in a test needs.
//!
//! Trusts its client, which is a test of this project; never faces a network.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// A request with its whole body.
#[derive(Debug)]
pub(super) struct HttpRequest {
    pub method: String,
    /// The path without the query.
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// Reads the next request of a connection; `None` at its end.
    pub(super) fn read(from: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let method = words.next().unwrap_or_default().to_owned();
        let mut target = words.next().unwrap_or_default().to_owned();
        // A client that uses a proxy sends the whole URL.
        if let Some((_, rest)) = target.split_once("://") {
            target = rest.find('/').map_or("/", |at| &rest[at..]).to_owned();
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            let values: &mut String = headers.entry(name.to_ascii_lowercase()).or_default();
            if !values.is_empty() {
                values.push_str(", ");
            }
            values.push_str(value.trim());
        }
        let mut body = Vec::new();
        if let Some(count) = headers.get("content-length").and_then(|n| n.parse().ok()) {
            from.take(count).read_to_end(&mut body)?;
            if (body.len() as u64) < count {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let query = pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect();
        Ok(Some(Self { method, path: decoded(path), query, headers, body }))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// An answer before faults are applied to it.
#[derive(Clone, Debug)]
pub(super) struct HttpAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl HttpAnswer {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(super) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    pub(super) fn body(mut self, kind: &str, body: Vec<u8>) -> Self {
        self.body = body;
        self.with("Content-Type", kind)
    }

    /// Returns an error answer in the registry's JSON form.
    pub(super) fn error(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"by the test"}}]}}"#);
        Self::new(status).body("application/json", body.into_bytes())
    }

    /// Writes the answer with at most `max_body_bytes` of its body; with a pace, in pieces of so many
    /// bytes with a pause before each.
    pub(super) fn write(
        &self,
        to: &mut TcpStream,
        is_head: bool,
        max_body_bytes: Option<usize>,
        pace: Option<(usize, Duration)>,
    ) -> io::Result<()> {
        let mut head = vec![format!("HTTP/1.1 {} Status", self.status)];
        for (name, value) in &self.headers {
            head.push(format!("{name}: {value}"));
        }
        let has_length = self.headers.iter().any(|(name, _)| name == "Content-Length");
        if !has_length && self.status != 204 {
            head.push(format!("Content-Length: {}", self.body.len()));
        }
        to.write_all((head.join("\r\n") + "\r\n\r\n").as_bytes())?;
        let count = self.body.len().min(max_body_bytes.unwrap_or(usize::MAX));
        let body = &self.body[..if is_head { 0 } else { count }];
        let Some((piece_bytes, pause)) = pace else {
            to.write_all(body)?;
            return to.flush();
        };
        for piece in body.chunks(piece_bytes) {
            std::thread::sleep(pause);
            to.write_all(piece)?;
        }
        to.flush()
    }
}

/// Undoes percent encoding and `+`.
fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let pair: Vec<u8> = bytes.by_ref().take(2).collect();
                let hex = std::str::from_utf8(&pair).unwrap_or("0");
                out.push(u8::from_str_radix(hex, 16).unwrap_or(b'?'));
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
