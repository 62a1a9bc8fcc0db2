//! What the tests of plugins for key management services share: a key as the command line names it, a
//! bench of a client of the service, and what signing with a key must lead to.

use crate::workbench::{Ran, Workbench};
use crate::{binaries, keys, run};

/// A key of a service, as the command line names it.
#[derive(Clone, Debug)]
pub struct CloudKey {
    pub plugin: &'static str,
    pub id: String,
    pub config: Vec<String>,
}

impl CloudKey {
    pub fn new(plugin: &'static str, id: impl Into<String>) -> Self {
        Self {
            plugin,
            id: id.into(),
            config: Vec::new(),
        }
    }

    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.config.push(format!("{name}={value}"));
        self
    }

    /// `--plugin … --id … --plugin-config …`
    pub fn flags(&self) -> Vec<&str> {
        let mut flags = vec!["--plugin", self.plugin, "--id", &self.id];
        for setting in &self.config {
            flags.extend(["--plugin-config", setting]);
        }
        flags
    }
}

/// A bench whose environment is that of a client of the service, and which trusts the test root.
pub fn bench(environment: &[(&'static str, String)]) -> Workbench {
    let mut bench = Workbench::new();
    // No files and no metadata server of the machine that the tests run on.
    let home = bench.path().display().to_string();
    for (name, value) in [
        ("HOME", home.as_str()),
        ("NO_PROXY", "localhost"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ] {
        bench.set(name, value);
    }
    for (name, value) in environment {
        bench.set(*name, value);
    }
    bench.trust(&keys::root(), "strict");
    bench
}

pub fn sign(bench: &Workbench, key: &CloudKey, references: &[&str]) -> Ran {
    let layout = ["--oci-layout"];
    let all = ["sign"].into_iter().chain(key.flags()).chain(layout);
    bench.hardsign(all.chain(references.iter().copied()))
}

pub fn verify(bench: &Workbench, reference: &str) -> Ran {
    bench.hardsign(["verify", "--oci-layout", reference, "--scope", "local/test"])
}

/// A new artifact in the bench's layout.
pub fn artifact(bench: &Workbench, name: &str) -> String {
    let digest = bench.layout.add(name, name);
    bench.reference(&digest)
}

/// Signs an artifact of its own in both formats, and verifies it.
pub fn signs_and_verifies(bench: &Workbench, key: &CloudKey, name: &str) {
    for format in ["jws", "cose"] {
        let reference = artifact(bench, &format!("{name}-{format}"));
        let flags = ["sign", "--signature-format", format];
        let all = flags.into_iter().chain(key.flags());
        let signed = bench.hardsign(all.chain(["--oci-layout", &reference]));
        assert_eq!(signed.code, Some(0), "{key:?} {format}: {}", signed.stderr);
        let verified = verify(bench, &reference);
        assert_eq!(
            verified.code,
            Some(0),
            "{key:?} {format}: {}",
            verified.stderr
        );
    }
}

/// Signing fails with an error and a hint that have these words, and stores nothing.
pub fn refused(bench: &Workbench, key: &CloudKey, name: &str, error: &str, hint: &str) -> String {
    let reference = artifact(bench, name);
    let before = bench.layout.snapshot();
    let ran = sign(bench, key, &[&reference]);
    let text = ran.stderr;
    assert_ne!(ran.code, Some(0), "{key:?}: {}", ran.stdout);
    assert!(text.starts_with("Error: "), "{key:?}: {text}");
    let (said, hinted) = text.split_once("Hint: ").unwrap_or((&text, ""));
    assert!(said.contains(error), "{key:?}: {text}");
    assert!(hinted.contains(hint), "{key:?}: {text}");
    assert_eq!(bench.layout.snapshot(), before, "{key:?}");
    text
}

/// The plugin meets every rule of the contract.
pub fn conforms(bench: &Workbench, key: &CloudKey) {
    let plugin = binaries().join(format!("notation-{}", key.plugin));
    let mut arguments = vec![
        plugin.display().to_string(),
        "--id".to_owned(),
        key.id.clone(),
    ];
    for setting in &key.config {
        arguments.extend(["--config".to_owned(), setting.clone()]);
    }
    let suite = binaries().join("hardsign-plugin-test");
    let output = run(&mut bench.command(&suite, &arguments));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains(" met, 0 broken, "), "{report}");
}
