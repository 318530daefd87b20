//! Views of snapshots: the files of a layer, protected while they are read.
//! Never mounts one, and never reads a file.

use super::{
    Containerd, connection::Connection, leases, messages::MountPoint, snapshots::Snapshots,
};
use imgdelta_core::{Error, Result};
use std::{fs::File, os::fd::OwnedFd, path::PathBuf, time::Duration};

/// A snapshot that is open for reading. It ends when it is dropped, and with its lease after a kill.
#[derive(Debug)]
pub(super) struct SnapshotView {
    connection: Connection,
    snapshots: Snapshots,
    lease: String,
    key: String,
    /// The directory of the snapshot's own layer.
    directory: PathBuf,
}

impl SnapshotView {
    /// Opens a view of a snapshot.
    pub(super) fn open(containerd: &Containerd, snapshot: &str) -> Result<Self> {
        let connection = &containerd.connection;
        let lease = connection
            .call(|connection| async move { leases::create(connection, "view", LONGEST).await })?;
        let leased = connection.with_lease(&lease);
        let snapshots = containerd.snapshots(&leased);
        let key = format!("imgdelta-view-{} {snapshot}", leases::unique());
        let mut view =
            Self { connection: leased, snapshots, lease, key, directory: PathBuf::new() };
        let (snapshots, key, name) =
            (view.snapshots.clone(), view.key.clone(), snapshot.to_owned());
        let mounts = connection.call(|_| async move { snapshots.view(&key, &name).await })?;
        let directory = layer_directory(&mounts);
        view.directory = directory.ok_or_else(|| {
            let what = "its snapshotter does not show the directory of a layer";
            Error::bad_input(format_args!("{}, snapshot {snapshot}", connection.place()), what)
        })?;
        Ok(view)
    }

    /// Opens the directory of the layer.
    pub(super) fn directory(&self) -> Result<OwnedFd> {
        let place = self.directory.display();
        let directory = File::open(&self.directory).map_err(Error::io(&place))?;
        let is_directory = directory.metadata().map_err(Error::io(&place))?.is_dir();
        if !is_directory {
            return Err(Error::bad_input(place, "not a directory"));
        }
        Ok(directory.into())
    }
}

impl Drop for SnapshotView {
    fn drop(&mut self) {
        let (snapshots, key) = (self.snapshots.clone(), std::mem::take(&mut self.key));
        let lease = std::mem::take(&mut self.lease);
        // Best effort: the lease ends by itself.
        let _ = self.connection.call(|connection| async move {
            let _ = snapshots.remove(&key).await;
            leases::end(&connection, lease).await
        });
    }
}

/// Returns the directory of the uppermost layer of a view: an overlay names it first, and a single
/// layer is bound.
fn layer_directory(mounts: &[MountPoint]) -> Option<PathBuf> {
    let [mount] = mounts else { return None };
    let directory = match mount.kind.as_str() {
        "bind" => mount.source.as_str(),
        "overlay" => {
            let mut options = mount.options.iter();
            let lower = options.find_map(|option| option.strip_prefix("lowerdir="))?;
            lower.split(':').next()?
        }
        _ => return None,
    };
    Some(PathBuf::from(directory)).filter(|directory| directory.is_absolute())
}

/// Time after which a view ends although it is read: reading a layer takes seconds or minutes.
const LONGEST: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_own_directory_is_the_first_of_an_overlay_or_the_bound_one() {
        let directory = |kind: &str, source: &str, options: &[&str]| {
            let options = options.iter().map(ToString::to_string).collect();
            let target = String::new();
            layer_directory(&[MountPoint {
                kind: kind.into(),
                source: source.into(),
                target,
                options,
            }])
        };
        let overlay = ["index=off", "lowerdir=/s/3/fs:/s/2/fs:/s/1/fs"];
        assert_eq!(directory("overlay", "overlay", &overlay), Some("/s/3/fs".into()));
        assert_eq!(directory("bind", "/s/1/fs", &["ro", "rbind"]), Some("/s/1/fs".into()));
        assert_eq!(directory("overlay", "overlay", &["lowerdir=3/fs:2/fs"]), None);
        assert_eq!(directory("overlay", "overlay", &[]), None);
        assert_eq!(directory("erofs", "/s/1/layer.erofs", &[]), None);
        assert_eq!(layer_directory(&[]), None);
    }
}
