//! A terminal: a pseudo-terminal whose other side a program believes in.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// The side on which a person would sit.
pub(crate) struct Terminal {
    keyboard: File,
    name: String,
    shown: Arc<(Mutex<Shown>, Condvar)>,
}

#[derive(Default)]
struct Shown {
    text: String,
    /// No program has the terminal open any more.
    ended: bool,
}

impl Terminal {
    pub(crate) fn new(columns: u16) -> Self {
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
    pub(crate) fn open(&self) -> File {
        let mut options = File::options();
        options.read(true).write(true).open(&self.name).unwrap()
    }

    /// Runs a program whose controlling terminal this is, with all three streams there; those that
    /// `set` redirects go elsewhere.
    pub(crate) fn run(&self, command: &Command, set: impl FnOnce(&mut Command)) -> Child {
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
        set(&mut outer);
        let child = outer.spawn().unwrap();
        // The command holds the terminal open otherwise, and its end would not be seen.
        outer
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.watch();
        child
    }

    /// Takes in what is shown from now on.
    fn watch(&self) {
        let mut screen = self.keyboard.try_clone().unwrap();
        let shown = Arc::clone(&self.shown);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that nobody has open any more ends in an error.
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                shown.0.lock().unwrap().text.push_str(&text);
                shown.1.notify_all();
            }
            shown.0.lock().unwrap().ended = true;
            shown.1.notify_all();
        });
    }

    pub(crate) fn types(&self, keys: &str) {
        (&self.keyboard).write_all(keys.as_bytes()).unwrap();
    }

    /// What was shown so far, once it satisfies `wanted`.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.wait(what, |shown| wanted(&shown.text))
    }

    /// All that was shown, once no program has the terminal open any more.
    pub(crate) fn all(&self) -> String {
        self.wait("the end", |shown| shown.ended)
    }

    fn wait(&self, what: &str, wanted: impl Fn(&Shown) -> bool) -> String {
        let (lock, changed) = &*self.shown;
        let patience = Duration::from_secs(60);
        let (shown, waited) = changed
            .wait_timeout_while(lock.lock().unwrap(), patience, |shown| !wanted(shown))
            .unwrap();
        assert!(!waited.timed_out(), "never {what}: {:?}", shown.text);
        shown.text.clone()
    }
}
