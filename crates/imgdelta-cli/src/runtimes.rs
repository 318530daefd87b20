//! Images of this machine's runtimes, for the session.
//!
//! Speaks no protocol. Without the feature `node`, such an image is an error that names the feature.

#[cfg(feature = "node")]
use crate::environment;
#[cfg(not(feature = "node"))]
use imgdelta::Error;
use imgdelta::{Reference, Session};
#[cfg(feature = "node")]
use imgdelta_runtimes::containerd::{Containerd, ContainerdStore};
#[cfg(feature = "node")]
use std::sync::Arc;

/// Returns a session that also opens images of containerd.
pub fn attach(session: Session) -> Session {
    let others = session.store_opener();
    session.stores(move |reference, limits| match reference {
        #[cfg(feature = "node")]
        Reference::Containerd(image) => {
            let mut options = environment::containerd();
            if let Some(namespace) = &image.namespace {
                options = options.namespace(namespace);
            }
            let store = ContainerdStore::new(Containerd::connect(options)?);
            Ok((Arc::new(store), image.name.clone()))
        }
        #[cfg(not(feature = "node"))]
        Reference::Containerd(_) => Err(Error::bad_input(
            reference,
            "this build does not open containerd; install one that does: \
             `cargo install --path crates/imgdelta-cli --features node`",
        )),
        reference => others(reference, limits),
    })
}
