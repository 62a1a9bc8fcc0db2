//! SoftHSM tokens, each in a directory of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::keys::{self, TestKey};
use crate::run;

/// The user PIN of every test token.
pub const PIN: &str = "1234";

/// A fresh SoftHSM token; gone when dropped.
pub struct Token {
    directory: TempDir,
    label: String,
}

impl Token {
    /// Makes a token with this label.
    pub fn new(label: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("tokens")).unwrap();
        fs::write(
            directory.path().join("softhsm2.conf"),
            format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
                directory.path().join("tokens").display()
            ),
        )
        .unwrap();
        let pin = directory.path().join("pin");
        fs::write(&pin, PIN).unwrap();
        fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
        let token = Self {
            directory,
            label: label.to_owned(),
        };
        run(token.tool("softhsm2-util").args([
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            "5678",
        ]));
        token
    }

    /// Imports a private key under `label` and hexadecimal `id`, without certificates.
    #[must_use]
    pub fn with_key(self, key: &TestKey, label: &str, id: &str) -> Self {
        run(self
            .tool("softhsm2-util")
            .arg("--import")
            .arg(&key.key)
            .args([
                "--token",
                &self.label,
                "--label",
                label,
                "--id",
                id,
                "--pin",
                PIN,
            ]));
        self
    }

    /// Writes a certificate object.
    #[must_use]
    pub fn with_certificate(self, der: &Path, label: &str, id: &str) -> Self {
        run(self
            .tool("pkcs11-tool")
            .arg("--module")
            .arg(module())
            .args([
                "--token-label",
                &self.label,
                "--login",
                "--pin",
                PIN,
                "--write-object",
            ])
            .arg(der)
            .args(["--type", "cert", "--label", label, "--id", id]));
        self
    }

    /// Imports a key with its whole chain as certificate objects.
    #[must_use]
    pub fn with_key_and_chain(self, key: &TestKey, label: &str, id: &str) -> Self {
        self.with_key(key, label, id)
            .with_certificate(&key.leaf, label, id)
            .with_certificate(&keys::intermediate(), "int", "f0")
            .with_certificate(&keys::root_der(), "root", "f1")
    }

    /// The `pkcs11:` URI of a key, with module and PIN file.
    pub fn uri(&self, label: &str) -> String {
        self.uri_with_pin_file(label, &self.directory.path().join("pin"))
    }

    /// The same with another PIN file.
    pub fn uri_with_pin_file(&self, label: &str, pin: &Path) -> String {
        format!(
            "pkcs11:token={};object={label}?module-path={}&pin-source=file:{}",
            self.label,
            module().display(),
            pin.display()
        )
    }

    /// `SOFTHSM2_CONF` for programs that use this token.
    pub fn configuration(&self) -> PathBuf {
        self.directory.path().join("softhsm2.conf")
    }

    /// A directory that lives as long as the token.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SOFTHSM2_CONF", self.configuration());
        command
    }
}

/// The PKCS#11 module under test: `TEST_PKCS11_MODULE`, or SoftHSM's.
pub fn module() -> PathBuf {
    std::env::var_os("TEST_PKCS11_MODULE").map_or_else(
        || PathBuf::from("/usr/lib/softhsm/libsofthsm2.so"),
        PathBuf::from,
    )
}
