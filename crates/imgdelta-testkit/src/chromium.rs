//! Chromium without a window, driven through its debugging pipe.
//!
//! Speaks the `DevTools` protocol over two named pipes, so that no port is open. Records requests and
//! errors of the page.

use crate::make_pipe;
use serde_json::{Value, json};
use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

/// A browser with one page.
#[derive(Debug)]
pub struct Chromium {
    process: Child,
    commands: File,
    messages: Receiver<Value>,
    next_id: u64,
    session: String,
    /// Addresses that the page requested, its own included.
    pub requests: Vec<String>,
    /// Exceptions, errors in the log, and dialogs.
    pub errors: Vec<String>,
    is_loaded: bool,
    _directory: tempfile::TempDir,
}

impl Chromium {
    /// Starts the browser with an empty page.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let [commands, answers] = ["commands", "answers"].map(|name| directory.path().join(name));
        make_pipe(&commands);
        make_pipe(&answers);
        let line = "exec chromium --headless=new --no-sandbox --disable-gpu --no-first-run \
                    --disable-background-networking --disable-component-update \
                    --disable-dev-shm-usage --remote-debugging-pipe --user-data-dir=\"$0\"/profile \
                    about:blank 3<\"$0\"/commands 4>\"$0\"/answers";
        let process = Command::new("bash")
            .args(["-c", line])
            .arg(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash is installed");
        let commands = OpenOptions::new().write(true).open(commands).expect("pipe");
        let answers = File::open(answers).expect("pipe");
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut answers = BufReader::new(answers);
            let mut message = Vec::new();
            while answers.read_until(0, &mut message).is_ok_and(|count| count > 0) {
                let text = message.strip_suffix(b"\0").unwrap_or(&message);
                if sender.send(serde_json::from_slice(text).expect("a message is JSON")).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Self {
            process,
            commands,
            messages,
            next_id: 0,
            session: String::new(),
            requests: Vec::new(),
            errors: Vec::new(),
            is_loaded: false,
            _directory: directory,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        session["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Sends a command and returns its result.
    ///
    /// # Panics
    ///
    /// Panics if the browser refuses it, or does not answer within a minute.
    pub fn call(&mut self, method: &str, params: &Value) -> Value {
        self.next_id += 1;
        let mut message = json!({ "id": self.next_id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let bytes = [message.to_string().as_bytes(), b"\0"].concat();
        self.commands.write_all(&bytes).expect("the browser reads");
        loop {
            let answer = self.receive();
            if answer["id"] == self.next_id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// Opens a file and waits until it is loaded.
    pub fn open(&mut self, file: &Path) {
        self.is_loaded = false;
        self.call("Page.navigate", &json!({ "url": format!("file://{}", file.display()) }));
        while !self.is_loaded {
            self.receive();
        }
    }

    /// Evaluates an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", &params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Clicks the middle of the first element that a selector finds.
    pub fn click(&mut self, selector: &str) {
        let place = self.evaluate(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); \
             e.scrollIntoView({{ block: 'center' }}); const r = e.getBoundingClientRect(); \
             return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left",
                "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Types text into the element that has the focus.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Sets the size of the window, and a light or dark scheme.
    pub fn look(&mut self, width: u32, is_dark: bool) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1,
            "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Returns a picture of the whole page: base64 of a PNG file.
    pub fn screenshot(&mut self) -> String {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.call("Page.captureScreenshot", &params);
        picture["data"].as_str().expect("a picture").to_owned()
    }

    /// Receives a message and records it.
    fn receive(&mut self) -> Value {
        let message = self.messages.recv_timeout(PATIENCE).expect("the browser answers");
        let params = &message["params"];
        match message["method"].as_str() {
            Some("Page.loadEventFired") => self.is_loaded = true,
            Some("Network.requestWillBeSent") => {
                self.requests.push(params["request"]["url"].to_string());
            }
            Some("Runtime.exceptionThrown" | "Page.javascriptDialogOpening") => {
                self.errors.push(params.to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.errors.push(params["entry"]["text"].to_string());
            }
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
                self.errors.push(params.to_string());
            }
            _ => {}
        }
        message
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
