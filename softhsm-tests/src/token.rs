//! SoftHSM tokens, each in a directory of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hardsign_plugin::chain::PublicKey;
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
        Self::with_configuration(label, "")
    }

    /// A token whose `softhsm2.conf` has these lines as well.
    pub fn with_configuration(label: &str, lines: &str) -> Self {
        let token = Self {
            directory: tempfile::tempdir().unwrap(),
            label: label.to_owned(),
        };
        let tokens = token.file("tokens");
        fs::create_dir(&tokens).unwrap();
        let configuration = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n{lines}",
            tokens.display()
        );
        fs::write(token.configuration(), configuration).unwrap();
        token.write_pin("pin", PIN);
        token.init(label);
        token
    }

    /// Adds another token with this label.
    pub fn init(&self, label: &str) {
        run(self.tool("softhsm2-util").args([
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            "5678",
        ]));
    }

    /// A PIN file that only its owner can read.
    pub fn write_pin(&self, name: &str, pin: &str) {
        fs::write(self.file(name), format!("{pin}\n")).unwrap();
        fs::set_permissions(self.file(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A CA in `ca.pem` and `ca.key`, unless there is one.
    pub fn make_ca(&self) {
        if self.file("ca.pem").exists() {
            return;
        }
        let ca = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            "/C=US/O=Test/CN=Root",
            "-days",
            "2",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ];
        run(self.tool("openssl").args(ca));
    }

    /// `pkcs11-tool`, logged in.
    pub fn pkcs11_tool(&self) -> Command {
        let mut command = self.tool("pkcs11-tool");
        command.arg("--module").arg(module()).args([
            "--token-label",
            &self.label,
            "--login",
            "--pin",
            PIN,
        ]);
        command
    }

    /// Makes a key on the token: label `K<id>`, id `<id>`.
    pub fn generate(&self, kind: &str, id: &str, more: &[&str]) {
        let label = format!("K{id}");
        run(self
            .pkcs11_tool()
            .args([
                "--keypairgen",
                "--key-type",
                kind,
                "--id",
                id,
                "--label",
                &label,
            ])
            .arg("--usage-sign")
            .args(more));
    }

    /// Issues a certificate for a key of the token, by the CA in `ca.pem`: `<id>.pem`, `<id>.der`.
    pub fn certify(&self, id: &str) -> PathBuf {
        self.make_ca();
        let (public, pem) = (format!("{id}.pub"), format!("{id}.pem"));
        fs::write(self.file(&public), self.public_key(id)).unwrap();
        run(self.tool("openssl").args([
            "x509",
            "-new",
            "-force_pubkey",
            &public,
            "-subj",
            &format!("/C=US/O=Test/CN=Leaf{id}"),
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-days",
            "1",
            "-out",
            &pem,
        ]));
        run(self.tool("openssl").args([
            "x509",
            "-in",
            &pem,
            "-outform",
            "DER",
            "-out",
            &format!("{id}.der"),
        ]));
        self.file(&pem)
    }

    /// The public key as the token shows it, in DER. (Reading it as an object fails for some
    /// curves in OpenSC.)
    fn public_key(&self, id: &str) -> Vec<u8> {
        let mut list = self.pkcs11_tool();
        list.args(["--list-objects", "--type", "pubkey"]);
        let text = String::from_utf8(run(&mut list).stdout).unwrap();
        let of_id = format!("ID:         {id}\n");
        let mut objects = text.split("Public Key Object");
        let text = objects.find(|object| object.contains(&of_id)).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
            line.map(|digits| hex::decode(digits.trim()).unwrap())
        };
        if let (Some(point), Some(parameters)) = (value("EC_POINT:"), value("EC_PARAMS:")) {
            let header = if point[1] == 0x81 { 3 } else { 2 };
            let key = PublicKey::ec(&parameters, &point[header..]).unwrap();
            return key.to_spki_der().unwrap();
        }
        let mut read = self.pkcs11_tool();
        read.args(["--read-object", "--type", "pubkey", "--id", id]);
        read.args(["--output-file", "rsa.der"]);
        run(&mut read);
        fs::read(self.file("rsa.der")).unwrap()
    }

    /// Stores a DER file as a certificate object.
    pub fn store_certificate(&self, der: &str, id: &str) {
        run(self.pkcs11_tool().args([
            "--write-object",
            der,
            "--type",
            "cert",
            "--id",
            id,
            "--label",
            "C",
        ]));
    }

    /// A key with its certificate and the CA's in the token; returns its URI.
    pub fn ready(&self, kind: &str, id: &str, more: &[&str]) -> String {
        self.generate(kind, id, more);
        self.certify(id);
        self.store_certificate(&format!("{id}.der"), id);
        run(self
            .tool("openssl")
            .args(["x509", "-in", "ca.pem", "-outform", "DER", "-out", "ca.der"]));
        self.store_certificate("ca.der", "99");
        self.uri(&format!("K{id}"))
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
            .pkcs11_tool()
            .arg("--write-object")
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
        self.uri_with_pin_file(label, &self.file("pin"))
    }

    /// The same with another PIN file.
    pub fn uri_with_pin_file(&self, label: &str, pin: &Path) -> String {
        self.uri_of(&module(), label, pin)
    }

    /// The same through another module as well.
    pub fn uri_of(&self, module: &Path, label: &str, pin: &Path) -> String {
        format!(
            "pkcs11:token={};object={label}?module-path={}&pin-source=file:{}",
            self.label,
            module.display(),
            pin.display()
        )
    }

    /// The same key behind a module whose signatures take as many milliseconds as `SHIM_LATENCY` says.
    pub fn slow_uri(&self, label: &str) -> String {
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../plugins/pkcs11/tests/softhsm/shim.c"
        );
        run(self
            .tool("cc")
            .args(["-shared", "-fPIC", "-o", "shim.so", source, "-ldl"]));
        self.uri_of(&self.file("shim.so"), label, &self.file("pin"))
    }

    /// `SOFTHSM2_CONF` for programs that use this token.
    pub fn configuration(&self) -> PathBuf {
        self.file("softhsm2.conf")
    }

    /// A directory that lives as long as the token.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file in that directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program that works in that directory and sees only this token.
    pub fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.directory.path())
            .env("SOFTHSM2_CONF", self.configuration());
        command
    }
}

/// The PKCS#11 module under test: `TEST_PKCS11_MODULE`, or SoftHSM's.
pub fn module() -> PathBuf {
    std::env::var_os("TEST_PKCS11_MODULE")
        .map_or_else(|| library("softhsm/libsofthsm2.so"), PathBuf::from)
}

/// OpenSC's module that logs the calls to another.
pub fn spy() -> PathBuf {
    library("pkcs11-spy.so")
}

/// A library by its name, wherever the distribution puts libraries of this machine's architecture, as
/// `scripts/lib.sh` looks for modules. `scripts/packages` installs what is missing.
pub fn library(name: &str) -> PathBuf {
    let inside = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut inside: Vec<_> = inside.map(|entry| entry.path()).collect();
    inside.sort();
    [PathBuf::from("/usr/lib"), PathBuf::from("/usr/lib64")]
        .into_iter()
        .chain(inside)
        .chain([PathBuf::from("/usr/local/lib")])
        .flat_map(|directory| [directory.join(name), directory.join("pkcs11").join(name)])
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("{name} is not installed: run scripts/packages, which installs it")
        })
}
