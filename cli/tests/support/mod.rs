//! A user's machine in small, made of the reference's vectors: an OCI layout with one artifact and
//! twelve signatures, a file with signatures, and a configuration that trusts their root.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    dead_code,
    reason = "a test harness: it starts programs, a failure of its own is a failed test, and not every test uses everything"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[cfg(unix)]
pub(crate) mod terminal;

/// `<directory>/layout`, `<directory>/artifact.bin…` and `<directory>/config`.
pub(crate) struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        // On the file system of the executables, so that they can be linked.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let machine = Self { directory };
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/vectors");
        let reference = vectors.join("reference");
        copy(&vectors.join("layout"), &machine.path().join("layout"));
        let file = |from: PathBuf, to: &str| {
            let to = machine.path().join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        };
        for (from, to) in [
            ("blob/artifact.bin", "artifact.bin"),
            ("blob/p256-jws/artifact.bin.jws.sig", "artifact.bin.jws.sig"),
            (
                "blob/p256-cose/artifact.bin.cose.sig",
                "artifact.bin.cose.sig",
            ),
            (
                "blob/p256-jws-expired/artifact.bin.jws.sig",
                "expired.jws.sig",
            ),
            ("certificates/root.crt", "root.crt"),
            (
                "certificates/root.crt",
                "config/truststore/x509/ca/vectors/root.crt",
            ),
            ("trustpolicy.oci.json", "config/trustpolicy.oci.json"),
            ("trustpolicy.blob.json", "config/trustpolicy.blob.json"),
        ] {
            file(reference.join(from), to);
        }
        machine.install();
        private(&machine.path().join("config"));
        machine
    }

    /// `bin/hardsign`, and as plugins of the box `local` and `pkcs11` alone.
    fn install(&self) {
        let hardsign = Path::new(env!("CARGO_BIN_EXE_hardsign"));
        fs::create_dir(self.path().join("bin")).unwrap();
        for name in ["hardsign", "notation-local", "notation-pkcs11"] {
            let built = hardsign.with_file_name(name);
            assert!(
                built.is_file(),
                "{} is missing: run `cargo build --workspace --bins` first",
                built.display()
            );
            fs::hard_link(built, self.path().join("bin").join(name)).unwrap();
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A program here, with `hardsign` in its `PATH`.
    pub(crate) fn command(&self, program: &str) -> Command {
        let binaries = self.path().join("bin");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env("PATH", format!("{}:{path}", binaries.display()))
            .env("HOME", self.path())
            .env("NOTATION_CONFIG", self.path().join("config"))
            .env("NOTATION_CACHE", self.path().join("cache"))
            .env_remove("NOTATION_LIBEXEC")
            .env_remove("NOTATION_USERNAME")
            .env_remove("NOTATION_PASSWORD")
            .env("COLUMNS", "100");
        command
    }

    /// A line for the shell.
    pub(crate) fn shell(&self, line: &str) -> Output {
        self.command("sh")
            .args(["-c", &format!("umask 077; exec 2>&1; {line}")])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    }

    /// What a line for the shell prints on standard output, which must be JSON.
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        let output = self.command("sh").args(["-c", line]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|error| {
            let errors = String::from_utf8_lossy(&output.stderr);
            panic!("{line}: {error}\n{text}{errors}")
        })
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[cfg(unix)]
fn private(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
}

#[cfg(not(unix))]
fn private(_: &Path) {}
