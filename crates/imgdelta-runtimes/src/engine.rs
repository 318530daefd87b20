//! Programs of container engines, such as skopeo and docker: started, waited for, stopped.
//! Never runs a shell.

use imgdelta_core::{Error, Result, path::escaped};
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A run of a program. Dropping it ends the program.
#[derive(Debug)]
pub(crate) struct EngineRun {
    name: String,
    child: Child,
    output: File,
}

impl EngineRun {
    /// Starts a program with arguments; what it prints goes to a file without a name in `scratch`.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: &[A],
        scratch: &Path,
        input: Stdio,
    ) -> Result<Self> {
        let name = program.display().to_string();
        let output = tempfile::tempfile_in(scratch).map_err(Error::io(scratch.display()))?;
        let copy = || output.try_clone().map_err(Error::io(&name));
        let mut command = Command::new(program);
        command.args(arguments).stdin(input).stdout(copy()?).stderr(copy()?);
        let child = command.spawn().map_err(|error| {
            let what = format!("cannot be started: {error}; install it, or name another program");
            Error::io(&name)(io::Error::new(error.kind(), what))
        })?;
        Ok(Self { name, child, output })
    }

    /// Returns the program's input, once.
    pub fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for the end; returns what it printed. A failure is an error with its last line.
    pub fn finish(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + MOST_TIME;
        let status = loop {
            if let Some(status) = self.child.try_wait().map_err(Error::io(&self.name))? {
                break status;
            }
            if Instant::now() > deadline {
                let what = format!("did not end within {} minutes", MOST_TIME.as_secs() / 60);
                return Err(Error::io(&self.name)(io::Error::other(what)));
            }
            sleep(PAUSE);
        };
        let mut printed = Vec::new();
        self.output.rewind().map_err(Error::io(&self.name))?;
        let read = (&self.output).take(MOST_OUTPUT_BYTES).read_to_end(&mut printed);
        read.map_err(Error::io(&self.name))?;
        let printed = String::from_utf8_lossy(&printed).into_owned();
        if status.success() {
            return Ok(printed);
        }
        let last = printed.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
        let what = format!("failed ({status}): {}", escaped(last.trim().as_bytes()));
        Err(Error::io(&self.name)(io::Error::other(what)))
    }
}

impl Drop for EngineRun {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a program without input; returns what it printed.
pub(crate) fn run<A: AsRef<OsStr>>(
    program: &Path,
    arguments: &[A],
    scratch: &Path,
) -> Result<String> {
    EngineRun::start(program, arguments, scratch, Stdio::null())?.finish()
}

/// Unpacking gigabytes on a slow disk takes minutes.
const MOST_TIME: Duration = Duration::from_secs(30 * 60);
const PAUSE: Duration = Duration::from_millis(20);
const MOST_OUTPUT_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_or_is_missing_is_named_with_its_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let shell = |line: &str| run(Path::new("sh"), &["-c", line], dir.path());
        assert_eq!(shell("echo one; echo two >&2").unwrap(), "one\ntwo\n");
        let error = shell("echo first; echo 'no space left' >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("exit status: 3): no space left"), "{error}");
        let error = run(Path::new("/no/such/program"), &["x"], dir.path()).unwrap_err().to_string();
        assert!(error.contains("/no/such/program") && error.contains("install it"), "{error}");
    }
}
