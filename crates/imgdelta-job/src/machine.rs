//! What this machine says of itself: processor time, memory, free disk.
//!
//! Where a system does not tell, nothing is limited by it.

use std::path::Path;

/// Returns the processor time of the calling thread, in nanoseconds.
#[cfg(unix)]
pub(crate) fn thread_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Returns nothing: this system is not asked.
#[cfg(not(unix))]
pub(crate) fn thread_nanos() -> u64 {
    0
}

/// Returns how many bytes may still be written below a directory.
#[cfg(unix)]
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(dir).ok()?;
    told.f_bavail.checked_mul(told.f_frsize)
}

/// Returns nothing: this system is not asked.
#[cfg(not(unix))]
pub(crate) fn free_bytes(_: &Path) -> Option<u64> {
    None
}

/// Returns the memory of this process now, and the most it had.
pub(crate) fn memory_bytes() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

/// Returns a name for this process among others that share a queue.
pub(crate) fn worker_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim(), std::process::id())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_tells() {
        let before = thread_nanos();
        let mut sum = 0_u64;
        while thread_nanos() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let (now, most) = memory_bytes().unwrap();
        assert!(0 < now && now <= most);
        assert!(free_bytes(Path::new("/")).is_some());
        assert!(free_bytes(Path::new("/no/such/place")).is_none());
    }
}
