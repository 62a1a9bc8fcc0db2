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

use hardsign_test_support::registry::{Auth, Behaviour, FakeRegistry};
use sha2::{Digest as _, Sha256};

/// `<directory>/layout`, `<directory>/artifact.bin…` and `<directory>/config`.
pub(crate) struct Machine {
    directory: tempfile::TempDir,
    registries: Vec<(&'static str, FakeRegistry)>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        // On the file system of the executables, so that they can be linked.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let machine = Self {
            directory,
            registries: vec![],
        };
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
        // A genuine YubiKey's evidence, of a key that signed nothing here.
        for (from, to) in [("9c", "statement.pem"), ("f9", "f9.pem")] {
            let from = format!("attestation/attestation-validator-{from}.pem");
            file(vectors.join(from), to);
        }
        machine.install();
        machine.wabbit();
        private(&machine.path().join("config"));
        machine
    }

    /// The same with two registries in this process, `$REGISTRY` for everybody and `$PRIVATE` for
    /// user `alice` with password `secret`, and with `docker-credential-file`, a credential helper
    /// for tests.
    pub(crate) fn with_registries() -> Self {
        let mut machine = Self::new();
        let private = Behaviour {
            auth: Auth::Basic {
                pair: "alice:secret".to_owned(),
            },
            ..Behaviour::default()
        };
        machine.registries = vec![
            ("REGISTRY", FakeRegistry::start(Behaviour::default())),
            ("PRIVATE", FakeRegistry::start(private)),
        ];
        let helper = machine.path().join("bin/docker-credential-file");
        fs::write(&helper, HELPER).unwrap();
        executable(&helper);
        machine
    }

    /// `<directory>/multi`, an OCI layout with an index `multi:v1` of two images, and an SBOM that is
    /// attached to the first one.
    pub(crate) fn with_platforms(self) -> Self {
        let layout = self.path().join("multi");
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        let put = |content: &str| {
            let digest = hex::encode(Sha256::digest(content));
            fs::write(layout.join("blobs/sha256").join(&digest), content).unwrap();
            format!(r#""digest":"sha256:{digest}","size":{}"#, content.len())
        };
        let manifest = |kind: &str, layer: &str, subject: &str| {
            let (config, layer) = (put("{}"), put(layer));
            put(&format!(
                r#"{{"schemaVersion":2,{IMAGE},"artifactType":"{kind}","config":{{"mediaType":"application/vnd.oci.empty.v1+json",{config}}},"layers":[{{"mediaType":"{kind}",{layer}}}]{subject}}}"#
            ))
        };
        let (amd, arm) = (
            manifest("text/plain", "amd64", ""),
            manifest("text/plain", "arm64", ""),
        );
        let sbom = manifest(
            "application/spdx+json",
            r#"{"spdx":"..."}"#,
            &format!(r#","subject":{{{IMAGE},{amd}}}"#),
        );
        let platform = |image: &str, architecture: &str| {
            format!(
                r#"{{{IMAGE},{image},"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#
            )
        };
        let index = put(&format!(
            r#"{{"schemaVersion":2,{INDEX},"manifests":[{},{}]}}"#,
            platform(&amd, "amd64"),
            platform(&arm, "arm64")
        ));
        let named = r#""annotations":{"org.opencontainers.image.ref.name":"v1"}"#;
        let listed = format!(
            r#"{{"schemaVersion":2,"manifests":[{{{INDEX},{index},{named}}},{{{IMAGE},{sbom}}}]}}"#
        );
        fs::write(layout.join("index.json"), listed).unwrap();
        fs::write(
            layout.join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .unwrap();
        self
    }

    /// Each registry's variable, and its name; `$ADDRESS` is another name of the first.
    pub(crate) fn registries(&self) -> impl Iterator<Item = (&'static str, String)> {
        let by_name = self.registries.iter().map(|(v, r)| (*v, r.name()));
        let first = self.registries.first().map(|(_, r)| r.name());
        let by_address = first.map(|name| ("ADDRESS", name.replace("localhost", "127.0.0.1")));
        by_name.chain(by_address)
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

    /// `wabbit/notation-wabbit`, a plugin that is not installed yet.
    fn wabbit(&self) {
        let path = self.path().join("wabbit/notation-wabbit");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, WABBIT).unwrap();
        executable(&path);
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
            .env("COLUMNS", "100")
            .envs(self.registries());
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

const IMAGE: &str = r#""mediaType":"application/vnd.oci.image.manifest.v1+json""#;

const INDEX: &str = r#""mediaType":"application/vnd.oci.image.index.v1+json""#;

/// Keeps one secret in a file, which nothing but a test should do.
const HELPER: &str = r#"#!/bin/sh
case $1 in
get) test -f "$HOME/.secret" && cat "$HOME/.secret" || { echo credentials not found in native keychain; exit 1; } ;;
store) cat > "$HOME/.secret" ;;
erase) rm -f "$HOME/.secret" ;;
esac
"#;

#[cfg(unix)]
fn executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(not(unix))]
fn executable(_: &Path) {}

/// Says who it is and which key it has; it signs nothing.
const WABBIT: &str = r#"#!/bin/sh
case $1 in
get-plugin-metadata)
    cat <<'END'
{
  "name": "wabbit",
  "description": "Signs with the keys of Wabbit Networks",
  "version": "1.0.0",
  "url": "https://example.com/wabbit",
  "supportedContractVersions": ["1.0"],
  "capabilities": ["SIGNATURE_GENERATOR.RAW", "HARDSIGN.KEYS"]
}
END
    ;;
list-keys)
    echo '{"keys": [{"keyId": "release", "keySpec": "EC-384", "description": "The release key"}]}'
    ;;
*)
    echo '{"errorCode": "VALIDATION_ERROR", "errorMessage": "wabbit signs nothing"}' >&2
    exit 1
    ;;
esac
"#;

#[cfg(unix)]
fn private(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
}

#[cfg(not(unix))]
fn private(_: &Path) {}
