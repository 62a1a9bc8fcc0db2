//! A terminal with a person at it: a pseudo-terminal that is the controlling terminal of what runs
//! on it, so that Ctrl-C is the signal that a user sends.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};

/// The two ends of a terminal.
pub struct Terminal {
    person: File,
    program: File,
    screen: Vec<u8>,
}

/// What Ctrl-C types.
pub const CTRL_C: &str = "\u{3}";

impl Terminal {
    pub fn new() -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let program = rustix::fs::open(
            name.as_c_str(),
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        Self {
            person: master.into(),
            program: program.unwrap().into(),
            screen: Vec::new(),
        }
    }

    /// Runs a program on the terminal, in the foreground of a session of its own; all three of its
    /// streams are the terminal.
    pub fn run(&self, command: &Command) -> Child {
        let stream = || self.program.try_clone().unwrap();
        let mut on_terminal = Command::new("setsid");
        on_terminal.env("NO_COLOR", "1");
        on_terminal.arg("--ctty").arg(command.get_program());
        on_terminal.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => on_terminal.env(name, value),
                None => on_terminal.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            on_terminal.current_dir(directory);
        }
        on_terminal
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap()
    }

    /// Reads until the screen shows `text`.
    pub fn wait_for(&mut self, text: &str) {
        let mut byte = [0];
        while !self.screen.ends_with(text.as_bytes()) {
            self.person.read_exact(&mut byte).unwrap();
            self.screen.push(byte[0]);
        }
    }

    pub fn type_in(&mut self, text: &str) {
        self.person.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for the program, and returns what was shown until then.
    pub fn finish(mut self, mut child: Child) -> (ExitStatus, String) {
        // Read while the program runs: one that can't write does not end.
        let mut reader = self.person.try_clone().unwrap();
        let reading = std::thread::spawn(move || {
            let (mut shown, mut chunk) = (Vec::new(), [0; 4096]);
            // A terminal that no program has open any more ends with an error.
            while let Ok(count @ 1..) = reader.read(&mut chunk) {
                shown.extend_from_slice(&chunk[..count]);
            }
            shown
        });
        let status = child.wait().unwrap();
        drop(self.program);
        self.screen.extend(reading.join().unwrap());
        (status, String::from_utf8_lossy(&self.screen).into_owned())
    }

    /// The terminal's settings.
    pub fn settings(&self) -> Termios {
        tcgetattr(&self.program).unwrap()
    }

    /// The settings once the echo is on again.
    pub fn settings_when_echoing(&self) -> Termios {
        while !self.echoes() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        self.settings()
    }

    /// Whether what is typed is shown.
    pub fn echoes(&self) -> bool {
        self.settings().local_modes.contains(LocalModes::ECHO)
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

/// What can be told of a terminal's settings, to be compared.
pub fn told(settings: &Termios) -> String {
    format!(
        "{:?} {:?} {:?} {:?}",
        settings.input_modes, settings.output_modes, settings.control_modes, settings.local_modes
    )
}

/// The processes that have `text` in their environment: what a test's own directory started.
pub fn processes(text: &Path) -> Vec<String> {
    let text = text.as_os_str().as_encoded_bytes();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.windows(text.len()).any(|window| window == text)
        })
        .map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ")
        })
        .filter(|line| !line.is_empty())
        .collect()
}
