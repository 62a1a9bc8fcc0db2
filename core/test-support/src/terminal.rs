//! A terminal: a pseudo-terminal whose other side a program believes in.
//!
//! A failure of its own is a panic, and so a failed test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// The side on which a person would sit.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    name: String,
    shown: Arc<(Mutex<Shown>, Condvar)>,
}

#[derive(Debug, Default)]
struct Shown {
    bytes: Vec<u8>,
    /// No program has the terminal open any more.
    ended: bool,
}

impl Shown {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Terminal {
    /// A terminal with so many columns and fifty lines.
    pub fn new(columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_row: 50,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        Self {
            keyboard: File::from(master),
            name: name.into_string().unwrap(),
            shown: Arc::default(),
        }
    }

    /// The side of a program.
    pub fn open(&self) -> File {
        let mut options = File::options();
        options.read(true).write(true).open(&self.name).unwrap()
    }

    /// Runs a program whose controlling terminal this is, with all three streams there.
    pub fn run(&self, command: &Command) -> Child {
        #[allow(
            clippy::disallowed_methods,
            reason = "only a child can have a terminal of its own"
        )]
        let mut outer = Command::new("setsid");
        outer
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(self.open())
            .stdout(self.open())
            .stderr(self.open());
        if let Some(directory) = command.get_current_dir() {
            outer.current_dir(directory);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        let child = outer.spawn().unwrap();
        // The command holds the terminal open otherwise, and its end would not be seen.
        outer
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.watch();
        child
    }

    /// Takes in what is shown from now on; [`Self::run`] does it by itself.
    pub fn watch(&self) {
        let mut screen = self.keyboard.try_clone().unwrap();
        let shown = Arc::clone(&self.shown);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that nobody has open any more ends in an error. Linux may give it before what was written last,
            // right before the terminal was closed; that comes with the next read.
            let mut errors = 0;
            while errors < 2 {
                let Ok(count @ 1..) = screen.read(&mut buffer) else {
                    errors += 1;
                    continue;
                };
                shown.0.lock().unwrap().bytes.extend(&buffer[..count]);
                shown.1.notify_all();
            }
            shown.0.lock().unwrap().ended = true;
            shown.1.notify_all();
        });
    }

    /// Types these keys.
    pub fn types(&self, keys: &str) {
        (&self.keyboard).write_all(keys.as_bytes()).unwrap();
    }

    /// What was shown so far, once it satisfies `wanted`.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.wait(what, |shown| wanted(&shown.text()))
    }

    /// All that was shown, once no program has the terminal open any more.
    pub fn all(&self) -> String {
        self.wait("the end", |shown| shown.ended)
    }

    fn wait(&self, what: &str, wanted: impl Fn(&Shown) -> bool) -> String {
        let (lock, changed) = &*self.shown;
        let patience = Duration::from_secs(60);
        let (shown, waited) = changed
            .wait_timeout_while(lock.lock().unwrap(), patience, |shown| !wanted(shown))
            .unwrap();
        assert!(!waited.timed_out(), "never {what}: {:?}", shown.text());
        shown.text()
    }
}

/// The lines that stand on a screen after `shown`: carriage returns, "erase the line" and moves up
/// and down do what they do, colours nothing. Nothing wraps.
///
/// # Panics
/// On any other escape sequence.
pub fn screen(shown: &str) -> Vec<String> {
    let mut lines = vec![Vec::new()];
    let (mut row, mut column) = (0_usize, 0);
    let mut rest = shown;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if lines.len() <= row {
            lines.resize(row + 1, Vec::new());
        }
        let line: &mut Vec<char> = &mut lines[row];
        match c {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                column = 0;
                lines.resize(lines.len().max(row + 1), Vec::new());
            }
            '\x1b' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                let count = || rest[1..end].parse().unwrap_or(1);
                match &rest[end..=end] {
                    "K" if &rest[1..end] == "2" => line.clear(),
                    "K" => line.truncate(column),
                    "A" => row = row.saturating_sub(count()),
                    "B" => row += count(),
                    "m" => {}
                    other => panic!("escape sequence {other:?} in {shown:?}"),
                }
                rest = &rest[end + 1..];
            }
            c => {
                line.resize(column.max(line.len()).max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
    }
    let text = |line: Vec<char>| line.into_iter().collect::<String>().trim_end().to_owned();
    lines.into_iter().map(text).collect()
}
