//! A registry, and one user's machine on which both `hardsign` and the real `notation` run.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::pair::without_signers;
use crate::peers;
use crate::peers::registry::{Builder, Registry};
use crate::workbench::{Ran, Workbench};

/// Both tools share the configuration directory of `bench`, plugins included.
pub struct Scene {
    pub registry: Registry,
    pub bench: Workbench,
    notation: PathBuf,
}

/// Which tool runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tool {
    Hardsign,
    Notation,
}

impl Scene {
    /// A fresh machine, and the registry started.
    pub fn new(registry: &Builder) -> Self {
        Self::with(registry, Workbench::new())
    }

    /// The same with a bench that is there already, for instance one with a token.
    pub fn with(registry: &Builder, bench: Workbench) -> Self {
        Self {
            registry: registry.start(),
            bench,
            notation: peers::program("notation"),
        }
    }

    /// Runs a tool on this machine.
    pub fn run<I: IntoIterator<Item: AsRef<OsStr>>>(&self, tool: Tool, arguments: I) -> Ran {
        match tool {
            Tool::Hardsign => self.bench.hardsign(arguments),
            Tool::Notation => self
                .bench
                .run(&mut self.bench.command(&self.notation, arguments)),
        }
    }

    /// Runs a tool to its success.
    ///
    /// # Panics
    /// It fails.
    pub fn ok<I: IntoIterator<Item: AsRef<OsStr>>>(&self, tool: Tool, arguments: I) -> Ran {
        let ran = self.run(tool, arguments);
        assert_eq!(ran.code, Some(0), "{tool:?}: {}{}", ran.stdout, ran.stderr);
        ran
    }

    /// Pushes an artifact; returns its reference by digest.
    pub fn push(&self, name: &str, content: &str) -> String {
        self.registry.push(name, content.as_bytes())
    }

    /// A strict policy for every repository that trusts the store `ca:<store>`, in the file that
    /// both tools read.
    pub fn policy_for(&self, store: &str) {
        self.bench.policy(&json!({
            "name": "all",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": [format!("ca:{store}")],
            "trustedIdentities": ["*"],
        }));
    }

    /// A directory with a test key, the plugin of the Go framework, its key `release` and `policy`, all
    /// made by `notation`.
    pub fn made_by_notation(&self, plugin: &Path, policy: &str) {
        let keys = format!("dir={}", self.bench.path().join("keys").display());
        // The plugin's name is that of its file.
        let named = self.bench.path().join("notation-framework");
        fs::copy(plugin, &named).unwrap();
        let file = self.bench.path().join("policy.json");
        fs::write(&file, policy).unwrap();
        let (named, file) = (named.display().to_string(), file.display().to_string());
        for arguments in [
            vec!["cert", "generate-test", "--default", "test.example"],
            vec!["plugin", "install", "--file", &named],
            vec![
                "key",
                "add",
                "--plugin",
                "framework",
                "--id",
                "k1",
                "--plugin-config",
                &keys,
                "release",
            ],
            vec!["policy", "import", &file],
        ] {
            self.ok(Tool::Notation, arguments);
        }
    }

    /// Both tools verify the artifact, and say so in the same words.
    ///
    /// # Panics
    /// One does not.
    pub fn both_verify(&self, reference: &str) {
        for tool in Tool::BOTH {
            let verified = self.ok(tool, ["verify", reference]);
            assert_eq!(
                (without_signers(&verified.stdout), verified.stderr),
                (
                    format!("Successfully verified signature for {reference}\n"),
                    String::new()
                ),
                "{tool:?}"
            );
        }
    }

    /// Neither tool verifies the artifact; both exit with 1.
    ///
    /// # Panics
    /// One does.
    pub fn both_refuse(&self, reference: &str) -> [String; 2] {
        Tool::BOTH.map(|tool| {
            let refused = self.run(tool, ["verify", reference]);
            assert_eq!(refused.code, Some(1), "{tool:?}: {}", refused.stdout);
            assert_eq!(refused.stdout, "", "{tool:?}");
            refused.stderr
        })
    }

    /// What is in the file `name` of the configuration directory.
    pub fn config_file(&self, name: &str) -> String {
        fs::read_to_string(self.bench.config().join(name)).unwrap()
    }
}

impl Tool {
    pub const BOTH: [Self; 2] = [Self::Hardsign, Self::Notation];
}
