//! A small file system in memory, which a test fills.
//! Needs root.

use std::{
    path::Path,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A file system of limited size, mounted until it is dropped.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts a file system with room for so many bytes.
    pub fn mount(bytes: u64) -> Self {
        let dir = tempfile::tempdir().expect("disk");
        let options = format!("size={bytes},mode=0755");
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs"], dir.path());
        Self(dir)
    }

    /// Changes its size.
    pub fn resize(&self, bytes: u64) {
        run("mount", &["-o", &format!("remount,size={bytes}")], self.path());
    }

    /// Returns the number of bytes in use.
    pub fn used_bytes(&self) -> u64 {
        let output = Command::new("df").args(["-B1", "--output=used"]).arg(self.path()).output();
        let text = String::from_utf8(output.expect("df is installed").stdout).expect("text");
        text.lines().nth(1).and_then(|line| line.trim().parse().ok()).expect("a number")
    }

    /// Returns its directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that ends now may still have a file open.
        let mut unmount = Command::new("umount");
        let _ = unmount.arg("--lazy").arg(self.path()).stderr(Stdio::null()).status();
    }
}

fn run(program: &str, words: &[&str], path: &Path) {
    let status = Command::new(program).args(words).arg(path).status().expect("mount is installed");
    assert!(status.success(), "{program} {words:?} {}", path.display());
}
