//! Facts about this machine: processor time, memory, free disk, name.
//!
//! On systems without a fact, nothing is limited by it.

use std::path::Path;

/// Returns the processor time of the calling thread, in nanoseconds.
pub fn thread_nanos() -> u64 {
    clock_nanos(rustix::time::ClockId::ThreadCPUTime)
}

/// Returns the processor time of this process, in nanoseconds.
pub fn process_nanos() -> u64 {
    clock_nanos(rustix::time::ClockId::ProcessCPUTime)
}

fn clock_nanos(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Returns the number of bytes that can still be written below a directory.
pub fn free_bytes(dir: &Path) -> Option<u64> {
    let file_system = rustix::fs::statvfs(dir).ok()?;
    file_system.f_bavail.checked_mul(file_system.f_frsize)
}

/// Returns the resident memory of this process, now and at its peak.
pub fn memory_bytes() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

/// Returns a name for this process among the workers of a queue.
pub fn worker_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim(), std::process::id())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_has_every_fact() {
        let before = thread_nanos();
        let mut sum = 0_u64;
        while thread_nanos() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(process_nanos() >= thread_nanos());
        let (now, peak) = memory_bytes().unwrap();
        assert!(0 < now && now <= peak);
        assert!(free_bytes(Path::new("/")).is_some());
        assert!(free_bytes(Path::new("/no/such/place")).is_none());
    }
}
