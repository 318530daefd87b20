//! The program on a terminal: what is left on the screen when it ends.
//!
//! `script` gives it a terminal of 80 columns, and a small emulator finds out what a person sees.

use crate::program;
use imgdelta_testkit::{
    has,
    registry::{RegistryBehaviour, RegistryFault},
    small_registry, wait_until,
};
use program::{NEW, OLD, command, said};
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Starts a command on a terminal; its output is also written to `log` as it comes. `None` without
/// `script`.
fn start(args: &[&str], home: &Path, log: &Path) -> Option<Child> {
    if !has(&["script"]) {
        return None;
    }
    let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
    let program = env!("CARGO_BIN_EXE_imgdelta");
    let line = format!("stty cols {COLUMNS}; exec '{program}' {}", quoted.join(" "));
    // The environment of the program, without its arguments.
    let like = command(&[], home);
    let mut script = Command::new("script");
    script.args(["-qefc", &line, log.to_str().unwrap()]).current_dir(like.get_current_dir()?);
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
    Some(script.spawn().unwrap())
}

/// Waits until the progress is drawn; the name of its step is enough.
fn wait_for_progress(log: &Path) {
    wait_until("progress", Duration::from_secs(60), || {
        fs::read(log).is_ok_and(|log| String::from_utf8_lossy(&log).contains(STEP))
    });
}

/// Waits for the end, asserts the exit code, and returns the lines that are left on the screen.
fn last_screen(child: Child, code: i32) -> Vec<String> {
    let output = child.wait_with_output().unwrap();
    let lines = screen(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(code), "{lines:#?} {}", said(&output));
    lines
}

/// Asserts that nothing of a bar, a spinner or a step is left.
fn has_no_progress(lines: &[String]) {
    for line in lines {
        let is_drawn = |c: char| matches!(c, '█' | '░' | '\u{2800}'..='\u{28ff}');
        assert!(!line.contains(is_drawn) && !line.contains(STEP), "{lines:#?}");
    }
}

#[test]
fn progress_is_drawn_and_nothing_of_it_is_left_when_a_command_ends() {
    let home = tempfile::tempdir().unwrap();
    let registry = small_registry(RegistryBehaviour::default());
    let image = format!("docker://{}/x/app:new", registry.host());
    for (fault, code, last) in [
        (RegistryFault::Slow(Duration::from_millis(600)), 0, "~"),
        (RegistryFault::Status(400, Vec::new()), 6, "request refused"),
    ] {
        let log = home.path().join(format!("log-{code}"));
        registry.forget();
        // The command lasts until its first step is drawn.
        registry.fault("GET", "/blobs/", 1, RegistryFault::Slow(Duration::from_millis(600)));
        registry.fault("GET", "/blobs/", 1, RegistryFault::Slow(Duration::from_millis(600)));
        registry.fault("GET", "/blobs/", 9, fault);
        let Some(child) = start(&["diff", OLD, &image, "--files"], home.path(), &log) else {
            return;
        };
        wait_for_progress(&log);
        let lines = last_screen(child, code);
        has_no_progress(&lines);
        assert!(lines.iter().any(|line| line.contains(last)), "{lines:#?}");
        if code == 0 {
            let args = ["diff", OLD, &image, "--files"];
            let plain = command(&args, home.path()).env("COLUMNS", "80").output().unwrap();
            let plain = String::from_utf8(plain.stdout).unwrap();
            assert_eq!(lines, plain.lines().collect::<Vec<_>>(), "the result and nothing else");
        }
    }
}

#[test]
fn progress_is_removed_when_a_command_is_interrupted() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("log");
    let registry = small_registry(RegistryBehaviour::default());
    let image = format!("docker://{}/x/app:new", registry.host());
    registry.fault("GET", "/blobs/", 1, RegistryFault::Slow(Duration::from_millis(1)));
    registry.fault("GET", "/blobs/", 99, RegistryFault::Slow(Duration::from_secs(9)));
    let Some(mut child) = start(&["diff", OLD, &image], home.path(), &log) else { return };
    wait_for_progress(&log);
    // The terminal makes a signal of it, as of Ctrl-C.
    child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let lines = last_screen(child, 130);
    has_no_progress(&lines);
    assert!(lines.iter().any(|line| line.contains("imgdelta: interrupted")), "{lines:#?}");
}

#[test]
fn a_delta_is_not_written_to_a_terminal() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("log");
    let args = ["create", OLD, NEW, "-o", "-"];
    let Some(child) = start(&args, home.path(), &log) else { return };
    let lines = last_screen(child, 2);
    assert!(lines.iter().any(|line| line.contains("a delta is binary")), "{lines:#?}");
}

/// Returns the lines of a terminal after a text with control sequences.
fn screen(text: &str) -> Vec<String> {
    let mut screen = Screen::default();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\r' => screen.column = 0,
            '\n' => screen.row += 1,
            '\u{1b}' => {
                assert_eq!(rest.next(), Some('['), "another control sequence: {text:?}");
                let mut number = String::new();
                let last = rest.by_ref().find(|c| {
                    number.push(*c);
                    c.is_ascii_alphabetic()
                });
                number.pop();
                screen.control(&number, last.expect("an end"));
            }
            c => screen.put(c),
        }
    }
    let lines = screen.lines.iter().map(|line| line.iter().collect::<String>());
    let mut lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[derive(Default)]
struct Screen {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Screen {
    fn line(&mut self) -> &mut Vec<char> {
        if self.lines.len() <= self.row {
            self.lines.resize(self.row + 1, Vec::new());
        }
        &mut self.lines[self.row]
    }

    fn put(&mut self, c: char) {
        if self.column == COLUMNS {
            (self.row, self.column) = (self.row + 1, 0);
        }
        let column = self.column;
        let line = self.line();
        if line.len() <= column {
            line.resize(column + 1, ' ');
        }
        line[column] = c;
        self.column += 1;
    }

    fn control(&mut self, number: &str, last: char) {
        let count = number.parse().unwrap_or(1);
        match (last, number) {
            ('A', _) => self.row = self.row.saturating_sub(count),
            ('B', _) => self.row += count,
            ('C', _) => self.column = (self.column + count).min(COLUMNS - 1),
            ('D', _) => self.column = self.column.saturating_sub(count),
            ('G', _) => self.column = count - 1,
            ('K', "2") => self.line().clear(),
            ('K', "" | "0") => {
                let column = self.column;
                self.line().truncate(column);
            }
            ('J', "" | "0") => {
                let (row, column) = (self.row, self.column);
                self.line().truncate(column);
                self.lines.truncate(row + 1);
            }
            // Colours, and the cursor that is hidden and shown.
            ('m' | 'h' | 'l', _) => {}
            other => panic!("the control sequence {other:?} is unknown here"),
        }
    }
}

#[test]
fn the_emulator_knows_what_is_on_a_screen() {
    assert_eq!(screen("one\r\ntwo\r\x1b[2Kthree\r\n"), ["one", "three"]);
    assert_eq!(screen("bar 1\rbar\x1b[1C2\x1b[0m"), ["bar 2"]);
    assert_eq!(screen("a\r\nb\x1b[1A\r\x1b[J"), [""; 0]);
    let long = "x".repeat(COLUMNS + 1);
    assert_eq!(screen(&long), [&long[..COLUMNS], "x"]);
}

const COLUMNS: usize = 80;
/// Words of the step in which layers are read.
const STEP: &str = "reading layers";
