//! A directory for one test: configuration, layout, and the programs run in it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::layout::Layout;
use crate::token::Token;
use crate::{binaries, run};

/// What a program printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A user's machine in small: an own configuration directory and an own OCI layout.
pub struct Workbench {
    directory: TempDir,
    environment: Vec<(OsString, OsString)>,
    pub layout: Layout,
}

impl Workbench {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("config")).unwrap();
        let layout = Layout::new(&directory.path().join("layout"));
        Self {
            directory,
            environment: Vec::new(),
            layout,
        }
    }

    /// The same with the environment of a token.
    pub fn with_token(token: &Token) -> Self {
        let mut bench = Self::new();
        bench.set("SOFTHSM2_CONF", token.configuration());
        bench
    }

    /// Sets an environment variable for every program run here.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.environment.push((name.into(), value.into()));
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn config(&self) -> PathBuf {
        self.path().join("config")
    }

    /// `<layout>@<digest>`.
    pub fn reference(&self, digest: &str) -> String {
        format!("{}@{digest}", self.layout.path().display())
    }

    /// Installs a plugin executable in the user's plugin directory under `name`.
    pub fn install_plugin(&self, name: &str, executable: &Path) {
        let directory = self.config().join("plugins").join(name);
        fs::create_dir_all(&directory).unwrap();
        // By another process: a file that this one had open for writing can't always be run.
        let installed = directory.join(format!("notation-{name}"));
        run(Command::new("cp").arg(executable).arg(installed));
    }

    /// Trusts `root` under a statement of level `level` for the scope `local/test`.
    pub fn trust(&self, root: &Path, level: &str) {
        self.trust_store("tests", root);
        self.policy(&json!({
            "name": "tests",
            "registryScopes": ["local/test"],
            "signatureVerification": {"level": level},
            "trustStores": ["ca:tests"],
            "trustedIdentities": ["*"],
        }));
    }

    /// Adds a certificate file to the store `ca:<store>`.
    pub fn trust_store(&self, store: &str, root: &Path) {
        self.trust_store_of("ca", store, root);
    }

    /// Adds a certificate file to a store of that type.
    pub fn trust_store_of(&self, store_type: &str, store: &str, root: &Path) {
        let stores = self.config().join("truststore/x509");
        let directory = stores.join(store_type).join(store);
        fs::create_dir_all(&directory).unwrap();
        fs::copy(root, directory.join(root.file_name().unwrap())).unwrap();
    }

    /// Writes a trust policy of one statement.
    pub fn policy(&self, statement: &Value) {
        let policy = json!({"version": "1.0", "trustPolicies": [statement]});
        fs::write(self.config().join("trustpolicy.json"), policy.to_string()).unwrap();
    }

    /// `hardsign` with these arguments, standard input empty.
    pub fn hardsign<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Ran {
        self.run(&mut self.command(&binaries().join("hardsign"), arguments))
    }

    /// `hardsign` that must succeed.
    ///
    /// # Panics
    /// It fails.
    pub fn hardsign_ok<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Ran {
        let ran = self.hardsign(arguments);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        ran
    }

    /// A program in this machine's environment.
    pub fn command<I: IntoIterator<Item: AsRef<OsStr>>>(
        &self,
        program: &Path,
        arguments: I,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .env("NOTATION_CONFIG", self.config())
            .env("NOTATION_CACHE", self.path().join("cache"))
            .env("HOME", self.path())
            .env_remove("NOTATION_LIBEXEC")
            .envs(self.environment.iter().map(|(k, v)| (k, v)));
        command
    }

    /// The processes that were started here and still run, as their command lines: they have this
    /// directory in their environment.
    #[cfg(target_os = "linux")]
    pub fn processes(&self) -> Vec<String> {
        let here = self.path().as_os_str().as_encoded_bytes();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter(|entry| {
                let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
                environment.windows(here.len()).any(|part| part == here)
            })
            .map(|entry| {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).replace('\0', " ")
            })
            .filter(|line| !line.is_empty())
            .collect()
    }

    /// Runs a command and keeps what it printed.
    pub fn run(&self, command: &mut Command) -> Ran {
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Default for Workbench {
    fn default() -> Self {
        Self::new()
    }
}
