//! Outputs that are not plain files: pipes, devices, links, and a standard error that nobody reads.

use imgdelta_testkit::{make_pipe, wait_until};
use std::{
    fs::{self, File},
    io,
    os::unix::{
        fs::{FileTypeExt, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    thread,
    time::Duration,
};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgdelta"));
    command.args(args).current_dir(top()).env_remove("IMGDELTA_SCRATCH");
    command
}

fn imgdelta(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn succeeds(args: &[&str]) {
    let output = imgdelta(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
}

/// Reads a pipe while another process writes it.
fn reading(pipe: &Path) -> thread::JoinHandle<Vec<u8>> {
    let pipe = pipe.to_owned();
    thread::spawn(move || fs::read(pipe).unwrap())
}

#[test]
fn deltas_go_into_pipes_that_stay() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["up", "down", "up.imgdelta", "down.imgdelta"].map(|name| dir.path().join(name));
    let [up, down, up_file, down_file] = paths.each_ref().map(|path| path.to_str().unwrap());
    succeeds(&["create", OLD, NEW, "-o", up_file, "--rollback", down_file]);
    make_pipe(&paths[0]);
    make_pipe(&paths[1]);
    let (there, back) = (reading(&paths[0]), reading(&paths[1]));
    succeeds(&["create", OLD, NEW, "-o", up, "--rollback", down]);
    assert_eq!(there.join().unwrap(), fs::read(up_file).unwrap());
    assert_eq!(back.join().unwrap(), fs::read(down_file).unwrap());
    for pipe in [up, down] {
        assert!(fs::symlink_metadata(pipe).unwrap().file_type().is_fifo());
    }
}

#[test]
fn a_signal_ends_a_process_that_waits_for_the_reader_of_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("up");
    make_pipe(&pipe);
    let mut waiting = command(&["create", OLD, NEW, "-o", pipe.to_str().unwrap()]).spawn().unwrap();
    let status = format!("/proc/{}/status", waiting.id());
    // The process catches the signal once its handler is there.
    wait_until("the handler", LIMIT, || {
        let status = fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (SIGTERM - 1)) != 0
    });
    // Asleep for so long, it waits for the reader. A signal that comes earlier is noticed by the work.
    let mut asleep = 0;
    wait_until("the pipe", LIMIT, || {
        let status = fs::read_to_string(&status).unwrap();
        asleep = if status.contains("State:\tS") { asleep + 1 } else { 0 };
        asleep == 50
    });
    let kill = Command::new("kill").arg(waiting.id().to_string()).status().unwrap();
    assert!(kill.success());
    wait_until("the end", LIMIT, || waiting.try_wait().unwrap().is_some());
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
}

/// Far above what any machine needs.
const LIMIT: Duration = Duration::from_secs(60);
/// Number of the signal that asks a process to end.
const SIGTERM: u32 = 15;

/// Makes a device of the kernel's memory driver; `None` without the right to make or open one.
fn device(path: &Path, minor: &str) -> Option<String> {
    let mut command = Command::new("mknod");
    command.arg(path).args(["c", "1", minor]).stderr(Stdio::null());
    command.status().ok().filter(ExitStatus::success)?;
    File::options().write(true).open(path).ok()?;
    Some(path.display().to_string())
}

/// The devices are made for the test: a fault must not replace those of the machine.
#[test]
fn a_device_is_written_into_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["null", "full"].map(|name| dir.path().join(name));
    let (Some(null), Some(full)) = (device(&paths[0], "3"), device(&paths[1], "7")) else {
        eprintln!("skipped: no right to make devices");
        return;
    };
    succeeds(&["create", OLD, NEW, "-o", &null]);
    succeeds(&["create", OLD, NEW, "-o", &null, "--no-prove"]);
    succeeds(&["create", OLD, NEW, "-o", "-", "--rollback", &null]);
    for place in [format!("docker-archive:{null}:a/b:c"), format!("oci-archive:{null}:x")] {
        succeeds(&["apply", DELTA, "--base", OLD, "-o", &place]);
    }
    for args in [
        &["create", OLD, NEW, "-o", &full][..],
        &["apply", DELTA, "--base", OLD, "-o", &format!("oci-archive:{full}")],
    ] {
        let output = imgdelta(args);
        assert_eq!(output.status.code(), Some(6));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(&format!("imgdelta: {full}: No space left")), "{said}");
    }
    for path in &paths {
        assert!(fs::symlink_metadata(path).unwrap().file_type().is_char_device());
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no file next to the devices");
}

#[test]
fn the_name_of_standard_output_is_standard_output() {
    let made = imgdelta(&["create", OLD, NEW, "-o", "-"]);
    let named = imgdelta(&["create", OLD, NEW, "-o", "/dev/stdout"]);
    assert_eq!(named.status.code(), Some(0));
    assert_eq!(named.stdout, made.stdout);
    assert!(made.stdout.len() > 2000);
}

#[test]
fn a_link_stays_and_the_file_behind_it_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    fs::create_dir(dir.path().join("far")).unwrap();
    symlink("far/up.imgdelta", &link).unwrap();
    // The first run creates the file, the second replaces it.
    for _ in 0..2 {
        succeeds(&["create", OLD, NEW, "-o", link.to_str().unwrap()]);
        assert!(link.is_symlink());
        let made = fs::read(dir.path().join("far/up.imgdelta")).unwrap();
        assert_eq!(made, fs::read(top().join(DELTA)).unwrap());
    }
    let file = dir.path().join("far/up.imgdelta").display().to_string();
    let output = imgdelta(&["create", OLD, NEW, "-o", link.to_str().unwrap(), "--rollback", &file]);
    assert_eq!(output.status.code(), Some(2), "one file for both deltas");
}

#[test]
fn a_socket_or_directory_as_output_is_refused_before_the_images_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for (path, advice) in
        [(socket.as_path(), "a socket; name a file or a pipe"), (dir.path(), "name a file in it")]
    {
        let path = path.display().to_string();
        let archive = format!("docker-archive:{path}");
        for args in [
            &["create", "oci:nowhere", "oci:nowhere", "-o", &path][..],
            &["apply", DELTA, "--base", OLD, "-o", &archive],
        ] {
            let output = imgdelta(args);
            assert_eq!(output.status.code(), Some(3));
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains(&path) && said.contains(advice), "{said}");
        }
    }
}

#[test]
fn a_standard_error_that_fails_changes_no_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let out = format!("oci:{}/x:new", dir.path().display());
    let closed = || {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let mut rows: Vec<Box<dyn Fn() -> Stdio>> = vec![Box::new(closed)];
    if Path::new("/dev/full").exists() {
        rows.push(Box::new(full));
    }
    for stderr in rows {
        for (args, code) in [
            (&["apply", DELTA, "--base", OLD, "-o", &out][..], 0),
            (&["create", OLD, NEW, "-o", "-"], 0),
            (&["apply", DELTA, "-o", &out], 4),
            (&["apply", DELTA, "--base", "oci:no/such", "-o", &out], 3),
            (&["apply", DELTA, "--base", NEW, "-o", "docker-archive:/no/such/x"], 6),
            (&["verify", "no-such-file", "--base", OLD], 6),
        ] {
            let status = command(args).stdout(Stdio::null()).stderr(stderr()).status().unwrap();
            assert_eq!(status.code(), Some(code), "{args:?}");
        }
    }
}

const OLD: &str = "oci:testdata/small/old";
const NEW: &str = "oci:testdata/small/new";
const DELTA: &str = "testdata/small/small.imgdelta";
