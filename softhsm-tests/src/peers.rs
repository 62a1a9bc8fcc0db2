//! The other side of the interoperability tests: the real `notation`, `oras`, and registries.
//!
//! `scripts/peers` builds the programs; this module finds them, gives each a directory of its own
//! and starts [`registry::Registry`]s on free ports of the loopback interface. A test asks for
//! what it needs:
//!
//! ```no_run
//! use softhsm_tests::peers::{Notation, registry::Registry};
//!
//! let registry = Registry::olareg().start();
//! let notation = Notation::new();
//! let artifact = registry.push("demo:v1", b"hello");
//! notation.run(["sign", artifact.as_str()]);
//! ```
//!
//! A missing program is a failed test that says what to run. Nothing is built here, and nothing is
//! said about what the programs should answer.

#![allow(
    clippy::disallowed_methods,
    reason = "a test harness: it starts programs and is configured by the environment"
)]

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

pub mod framework;
pub mod registry;

/// The flag of `notation sign` without which v1.3.2 writes the referrers tag, API or no API.
///
/// `olareg` v0.1.2 needs it: it drops the first referrer of an artifact from the API when a client
/// pushes the same referrers index, byte for byte, under the tag.
pub const USE_REFERRERS_API: &str = "--force-referrers-tag=false";

/// The path of a program that `scripts/peers` built, such as `notation`.
///
/// Looks in `HARDSIGN_PEERS_DIR`; without that variable, where `scripts/peers` puts programs
/// when it is not told otherwise.
///
/// # Panics
/// It is not there.
pub fn program(name: &str) -> PathBuf {
    let directory = env::var_os("HARDSIGN_PEERS_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/peers"),
        PathBuf::from,
    );
    let path = directory.join(name);
    assert!(
        path.is_file(),
        "{name} is not in {}: run scripts/peers, which builds it",
        directory.display()
    );
    path
}

/// The path of a program of the system, such as `docker-registry`, found through `PATH`.
///
/// # Panics
/// It is not installed.
pub fn installed(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("{name} is not installed: run scripts/packages, which installs it")
        })
}

/// The real `notation` with a configuration of its own, which is deleted with this value.
#[derive(Debug)]
pub struct Notation {
    program: PathBuf,
    home: TempDir,
}

impl Notation {
    /// A `notation` that has no keys, no trust store, no policy and no plugin.
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let program = program("notation");
        let home = tempfile::tempdir().expect("temporary directory");
        Self { program, home }
    }

    /// The configuration directory (`NOTATION_CONFIG`). Absent until something is written to it.
    pub fn config_dir(&self) -> PathBuf {
        self.home.path().join("config")
    }

    /// The directory under which `plugins` lies (`NOTATION_LIBEXEC`).
    pub fn libexec_dir(&self) -> PathBuf {
        self.home.path().join("libexec")
    }

    /// A scratch directory, which is also the current directory of [`Notation::command`].
    pub fn work_dir(&self) -> &Path {
        self.home.path()
    }

    /// `notation` with `args`, its own directories and, of the environment, `PATH` alone.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.program);
        isolate(&mut command, self.home.path())
            .args(args)
            .env("NOTATION_CONFIG", self.config_dir())
            .env("NOTATION_LIBEXEC", self.libexec_dir())
            .env("NOTATION_CACHE", self.home.path().join("cache"));
        command
    }

    /// Runs `notation` with `args` to its success and returns what it wrote to standard output.
    ///
    /// # Panics
    /// If it fails, with all that it wrote.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        succeed(&mut self.command(args))
    }

    /// Runs `notation` with `args` to its failure and returns what it wrote to standard error.
    ///
    /// # Panics
    /// If it succeeds, with all that it wrote.
    pub fn run_failing<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        let mut command = self.command(args);
        let output = output(&mut command);
        assert!(
            !output.status.success(),
            "{command:?} succeeded: {output:?}"
        );
        text(output.stderr)
    }

    /// Trusts the certificates of the PEM file `certificates` for all that anybody signs with
    /// them: `ca` trust store `peers`, one policy statement of level `strict`, which replaces the
    /// policy that was there.
    ///
    /// # Panics
    /// If `notation` refuses, for instance because the store has the certificate already.
    pub fn trust(&self, certificates: &Path) {
        let mut add = self.command(["cert", "add", "--type", "ca", "--store", "peers"]);
        succeed(add.arg(certificates));
        let policy = serde_json::json!({
            "version": "1.0",
            "trustPolicies": [{
                "name": "peers",
                "registryScopes": ["*"],
                "signatureVerification": { "level": "strict" },
                "trustStores": ["ca:peers"],
                "trustedIdentities": ["*"],
            }],
        });
        let file = self.work_dir().join("policy.json");
        fs::write(&file, policy.to_string()).expect("policy file");
        succeed(self.command(["policy", "import", "--force"]).arg(file));
    }

    /// Installs the executable at `file` as the plugin `name`, as `notation plugin install` lays
    /// it out but without asking the plugin anything, and returns its path.
    pub fn install_plugin(&self, name: &str, file: &Path) -> PathBuf {
        let directory = self.libexec_dir().join("plugins").join(name);
        fs::create_dir_all(&directory).expect("plugin directory");
        let installed = directory.join(format!("notation-{name}"));
        fs::copy(file, &installed).expect("copy of the plugin");
        installed
    }
}

/// `oras`, without credentials of its own.
#[derive(Debug)]
pub struct Oras {
    program: PathBuf,
    home: TempDir,
}

impl Oras {
    /// The pinned release, with a home of its own.
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let program = program("oras");
        let home = tempfile::tempdir().expect("temporary directory");
        Self { program, home }
    }

    /// `oras` with `args`, a home of its own (also its current directory) and, of the
    /// environment, `PATH` alone.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.program);
        isolate(&mut command, self.home.path()).args(args);
        command
    }

    /// Runs `oras` with `args` to its success and returns what it wrote to standard output.
    ///
    /// # Panics
    /// If it fails, with all that it wrote.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        succeed(&mut self.command(args))
    }
}

/// Runs a program to its success and returns what it wrote to standard output.
///
/// # Panics
/// If it does not start, or fails, with all that it wrote.
pub fn succeed(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?} failed with {}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    text(output.stdout)
}

/// Keeps a program away from the developer's own configuration and credentials.
fn isolate<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("DOCKER_CONFIG", home.join("docker"))
        .current_dir(home)
}

fn output(command: &mut Command) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?} does not start: {error}"),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("output in UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation_is_the_pinned_release() {
        let notation = Notation::new();
        let version = notation.run(["version"]);
        assert!(
            version.lines().any(|line| line == "Version:     v1.3.2"),
            "{version}"
        );
    }

    #[test]
    fn notation_has_a_configuration_of_its_own() {
        let notation = Notation::new();
        notation.run(["cert", "generate-test", "--default", "peer"]);
        assert!(notation.config_dir().join("signingkeys.json").is_file());
        let other = Notation::new();
        assert!(!other.run(["key", "list"]).contains("peer"));
    }

    #[test]
    #[should_panic(expected = "run scripts/peers, which builds it")]
    fn a_missing_peer_fails_with_what_to_run() {
        program("no-such-peer");
    }

    #[test]
    #[should_panic(expected = "no-such-program is not installed: run scripts/packages")]
    fn a_missing_program_fails_with_what_to_run() {
        installed("no-such-program");
    }
}
