//! A reader of the documentation, who types what it says: blocks of commands are run as they stand on the page.

use std::fs;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::pages::{Block, Step, blocks, like, steps, text};
use crate::peers::registry::Registry;
use crate::token::module;
use crate::{binaries, run};

/// A user with an empty home directory, a registry, and the executables in `PATH`.
pub struct Reader {
    pub home: TempDir,
    pub registry: Registry,
    digest: String,
    pub environment: Vec<(&'static str, String)>,
    /// What a page writes, and what stands for it here.
    pub replaced: Vec<(String, String)>,
}

impl Reader {
    pub fn new() -> Self {
        Self::at(Registry::olareg().start())
    }

    /// The same with that registry.
    pub fn at(registry: Registry) -> Self {
        let image = registry.push("app:v1", b"an application");
        let digest = image.rsplit_once(':').unwrap().1.to_owned();
        let home = tempfile::tempdir().unwrap();
        Self {
            home,
            registry,
            digest,
            environment: Vec::new(),
            replaced: Vec::new(),
        }
    }

    /// Has something stand for what a page writes.
    pub fn replace(&mut self, written: &str, here: impl Into<String>) {
        self.replaced.push((written.to_owned(), here.into()));
    }

    /// The text of a page with this machine's registry, artifact and module in place of the examples.
    pub fn here(&self, text: &str) -> String {
        let host = self.registry.host();
        let replaced = self.replaced.iter();
        let text = replaced.fold(text.to_owned(), |text, (written, here)| {
            text.replace(written, here)
        });
        text.replace("registry.example.com", &host)
            .replace("vendor.example.com", &format!("{host}/vendor"))
            .replace("<digest>", &self.digest)
            .replace(
                "/usr/lib/softhsm/libsofthsm2.so",
                &module().display().to_string(),
            )
    }

    /// A command line of a page, in a shell of the reader's.
    pub fn command(&self, line: &str) -> Command {
        let home = self.home.path();
        let mut command = Command::new("bash");
        command
            .args(["-c", &self.here(line)])
            .current_dir(home)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .env("HOME", home)
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .env(
                "IMAGE",
                self.here("registry.example.com/app@sha256:<digest>"),
            )
            .env(
                "PATH",
                format!("{}:/usr/local/bin:/usr/bin:/bin", binaries().display()),
            );
        command
    }

    /// Runs steps in one shell, with "y" to every question, and gives what each printed with its exit status.
    pub fn run(&self, before: &str, steps: &[Step]) -> Vec<(String, i32)> {
        let home = self.home.path();
        let mut script = format!(
            "shopt -s expand_aliases\nset -o pipefail\ncd\n{}\n",
            self.here(before)
        );
        for (at, step) in steps.iter().enumerate() {
            let command = self.here(&step.command);
            script.push_str(&format!(
                "{{ :\n{command}\n}} >.step{at} 2>&1\necho $? >.status{at}\n"
            ));
        }
        fs::write(home.join(".script"), script).unwrap();
        let mut yes = Command::new("yes")
            .arg("y")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = run(self
            .command("exec bash .script")
            .stdin(yes.stdout.take().unwrap()));
        drop(yes.kill());
        drop(yes.wait());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said, "", "the script itself");
        let read = |name: String| fs::read_to_string(home.join(name)).unwrap();
        (0..steps.len())
            .map(|at| {
                let status = read(format!(".status{at}")).trim().parse().unwrap();
                (read(format!(".step{at}")), status)
            })
            .collect()
    }

    /// Runs blocks of a page, which must print what the page shows. `between` has what others do meanwhile: a
    /// command, and what is run before it.
    ///
    /// # Panics
    /// A command fails or prints something else, or `between` names one that is not in these blocks.
    pub fn walk(
        &self,
        page: &str,
        before: &str,
        between: &[(&str, &str)],
        chosen: &dyn Fn(&Block) -> bool,
    ) {
        let mut all = Vec::new();
        let mut used = vec![false; between.len()];
        for block in blocks(&text(page)).iter().filter(|b| b.is_commands()) {
            if !chosen(block) {
                continue;
            }
            for mut step in steps(block) {
                for ((command, script), used) in between.iter().zip(&mut used) {
                    if step.command.starts_with(command) {
                        step.command = format!("{script}\n{}", step.command);
                        *used = true;
                    }
                }
                all.push(step);
            }
        }
        assert!(!all.is_empty(), "{page} has no such block");
        assert!(
            used.iter().all(|used| *used),
            "a command of {between:?} is not in {page}"
        );
        let ran = self.run(before, &all);
        let mut faults = Vec::new();
        for (step, (printed, status)) in all.iter().zip(ran) {
            let shown: Vec<_> = step.prints.iter().map(|line| self.here(line)).collect();
            let lines: Vec<_> = printed.lines().collect();
            if status != 0 || !(shown.is_empty() || like(&shown, &lines)) {
                faults.push(format!(
                    "$ {}\n{printed}(exit status {status})",
                    step.command
                ));
            }
        }
        assert!(faults.is_empty(), "{page}:\n{}", faults.join("\n\n"));
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}
