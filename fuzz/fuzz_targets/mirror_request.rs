//! Any bytes are a request to the mirror of a node, or are refused.
//!
//! Four lines: method, path with query, range, and the size of the blob. An object that is accepted
//! has the path that was asked for, is one of a repository, and is parsed again as the same. Only
//! registries of the configuration are found. A range lies in the blob.
#![no_main]

use hyper::{Method, Uri};
use imgdelta_node::{
    Config,
    range::BlobRange,
    request::{MirrorRequest, RefusedRequest},
};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const REGISTRIES: [&str; 3] = ["registry.example:5000", "docker.io", "[::1]"];

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let tables = REGISTRIES.map(|host| format!("[[registry]]\nhost = '{host}'\n"));
    Config::parse(&tables.concat(), "node.toml").expect("a small configuration")
});

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (method, target, range, size) = (line(), line(), line(), line());
    check_range(range, size.parse().unwrap_or(1000));
    // As the server of HTTP takes a request.
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), target.parse::<Uri>()) else { return };
    check_request(&method, &uri);
});

fn check_request(method: &Method, uri: &Uri) {
    let parsed = match MirrorRequest::parse(method, uri.path(), uri.query()) {
        Ok(parsed) => parsed,
        Err(refused) => {
            let pulls = matches!(*method, Method::GET | Method::HEAD);
            assert_eq!(refused == RefusedRequest::Method, !pulls);
            return;
        }
    };
    // Without a name it would not be clear which registry is meant.
    let found = CONFIG.registry(parsed.registry()).map(|registry| registry.host.get_ref().as_str());
    assert_eq!(found, parsed.registry().filter(|name| REGISTRIES.contains(name)));
    let MirrorRequest::Object(object) = &parsed else {
        assert!(matches!(uri.path(), "/v2" | "/v2/"));
        return;
    };
    let path = object.path();
    assert_eq!(path, uri.path());
    let segments = path.strip_prefix("/v2/").expect("below the version").split('/');
    for segment in segments {
        assert!(!segment.is_empty() && segment != "." && segment != "..", "{path}");
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:+".contains(&byte);
        assert!(segment.bytes().all(is_plain), "{path}");
    }
    let query = parsed.registry().map(|registry| format!("ns={registry}"));
    assert_eq!(MirrorRequest::parse(method, &path, query.as_deref()).as_ref(), Ok(&parsed));
}

fn check_range(header: &str, size: u64) {
    assert_eq!(BlobRange::parse(None, size), BlobRange::Whole);
    match BlobRange::parse(Some(header), size) {
        BlobRange::Part { start, end } => {
            assert!(start < end && end <= size);
            let again = format!("bytes={start}-{}", end - 1);
            assert_eq!(BlobRange::parse(Some(&again), size), BlobRange::Part { start, end });
            assert!(header.starts_with("bytes=") && !header.contains(','));
        }
        BlobRange::Unsatisfiable => assert!(header.starts_with("bytes=")),
        BlobRange::Whole => {}
    }
}
