//! Any bytes are a notification that names repositories by the rules of their names, or are ignored.
#![no_main]

use imgdelta_job::notified_repositories;
use imgdelta_registry::RepositoryName;
use libfuzzer_sys::fuzz_target;

/// The shortest event that counts has so many bytes: `["push",["","b"]]`.
const LEAST_EVENT_BYTES: usize = 17;

fuzz_target!(|body: &[u8]| {
    let Some((names, ignored)) = notified_repositories("registry.test", body) else { return };
    assert!((names.len() + ignored as usize) * LEAST_EVENT_BYTES <= body.len());
    for name in names {
        let path = name.as_str();
        assert!(
            !path.contains("..")
                && !path.contains(['?', '#', '%', '\\', ' '])
                && !path.starts_with('/')
        );
        assert_eq!(RepositoryName::parse("registry.test", path).unwrap(), name);
    }
});
