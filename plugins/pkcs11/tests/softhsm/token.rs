//! A SoftHSM token of its own for each test, the plugin as a child process, and openssl as the
//! judge of signatures.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_plugin::chain::PublicKey;
use serde_json::{Value, json};

pub(crate) const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub(crate) const SPY: &str = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so";
pub(crate) const PIN: &str = "123456";

/// Key type for pkcs11-tool, key spec, hash, its openssl name.
pub(crate) const KINDS: [(&str, &str, &str, &str); 6] = [
    ("rsa:2048", "RSA-2048", "SHA-256", "sha256"),
    ("rsa:3072", "RSA-3072", "SHA-384", "sha384"),
    ("rsa:4096", "RSA-4096", "SHA-512", "sha512"),
    ("EC:prime256v1", "EC-256", "SHA-256", "sha256"),
    ("EC:secp384r1", "EC-384", "SHA-384", "sha384"),
    ("EC:secp521r1", "EC-521", "SHA-512", "sha512"),
];

/// A token labelled `T` in a directory that goes away, with a CA of its own.
pub(crate) struct Token {
    pub(crate) dir: tempfile::TempDir,
}

/// Runs a program and wants it to succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

impl Token {
    pub(crate) fn new() -> Self {
        Self::with_conf("")
    }

    /// A token whose softhsm2.conf has these lines as well.
    pub(crate) fn with_conf(conf: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tokens = dir.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let conf = format!("directories.tokendir = {}\n{conf}", tokens.display());
        fs::write(dir.path().join("softhsm2.conf"), conf).unwrap();
        let token = Self { dir };
        token.write_pin("pin", PIN);
        token.init("T");
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
        run(token.tool("openssl").args(ca));
        token
    }

    /// Adds a token with this label.
    pub(crate) fn init(&self, label: &str) {
        run(self.tool("softhsm2-util").args([
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            "654321",
        ]));
    }

    /// A PIN file that only its owner can read.
    pub(crate) fn write_pin(&self, name: &str, pin: &str) {
        fs::write(self.path(name), format!("{pin}\n")).unwrap();
        fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o600)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program that works in the token's directory and sees only this token.
    pub(crate) fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command
    }

    pub(crate) fn pkcs11_tool(&self) -> Command {
        let mut command = self.tool("pkcs11-tool");
        command.args([
            "--module",
            SOFTHSM,
            "--token-label",
            "T",
            "--login",
            "--pin",
            PIN,
        ]);
        command
    }

    /// Makes a key on the token: label `K<id>`, id `<id>`.
    pub(crate) fn generate(&self, kind: &str, id: &str, more: &[&str]) {
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

    /// Issues a certificate for a key of the token: `<id>.pem`, `<id>.der`.
    pub(crate) fn certify(&self, id: &str) -> PathBuf {
        let (public, pem) = (format!("{id}.pub"), format!("{id}.pem"));
        fs::write(self.path(&public), self.public_key(id)).unwrap();
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
        self.path(&pem)
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
            line.map(|digits| hex(digits.trim()))
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
        fs::read(self.path("rsa.der")).unwrap()
    }

    /// Stores a DER file as a certificate object.
    pub(crate) fn store_certificate(&self, der: &str, id: &str) {
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
    pub(crate) fn ready(&self, kind: &str, id: &str, more: &[&str]) -> String {
        self.generate(kind, id, more);
        self.certify(id);
        self.store_certificate(&format!("{id}.der"), id);
        run(self
            .tool("openssl")
            .args(["x509", "-in", "ca.pem", "-outform", "DER", "-out", "ca.der"]));
        self.store_certificate("ca.der", "99");
        self.uri(&format!("K{id}"))
    }

    pub(crate) fn uri(&self, label: &str) -> String {
        self.uri_at(SOFTHSM, label, "pin")
    }

    pub(crate) fn uri_at(&self, module: &str, label: &str, pin: &str) -> String {
        let pin = self.path(pin);
        format!(
            "pkcs11:token=T;object={label}?module-path={module}&pin-source=file:{}",
            pin.display()
        )
    }

    pub(crate) fn plugin(&self, command: &str) -> Command {
        let mut plugin = self.tool(env!("CARGO_BIN_EXE_notation-pkcs11"));
        plugin
            .arg(command)
            .env("PKCS11SPY", SOFTHSM)
            .env("PKCS11SPY_OUTPUT", self.path("spy.log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        plugin
    }

    /// A one-shot command: its answer, or its error answer.
    pub(crate) fn call(&self, command: &str, request: &Value) -> Result<Value, Value> {
        let mut child = self.plugin(command).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(request.to_string().as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            assert!(output.stderr.is_empty());
            return Ok(serde_json::from_slice(&output.stdout).unwrap());
        }
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        Err(serde_json::from_slice(&output.stderr).unwrap())
    }

    /// `describe-key`.
    pub(crate) fn describe(&self, key_id: &str) -> Result<Value, Value> {
        self.call(
            "describe-key",
            &json!({"contractVersion": "1.0", "keyId": key_id}),
        )
    }

    /// `generate-signature` over a payload.
    pub(crate) fn sign(&self, key_id: &str, kind: usize, config: &Value) -> Result<Value, Value> {
        let (_, spec, hash, _) = KINDS[kind];
        self.call(
            "generate-signature",
            &json!({
                "contractVersion": "1.0", "keyId": key_id, "keySpec": spec, "hashAlgorithm": hash,
                "payload": STANDARD.encode(PAYLOAD), "pluginConfig": config,
            }),
        )
    }

    pub(crate) fn digest(&self, kind: usize) -> Vec<u8> {
        fs::write(self.path("payload"), PAYLOAD).unwrap();
        let name = format!("-{}", KINDS[kind].3);
        run(self
            .tool("openssl")
            .args(["dgst", &name, "-binary", "payload"]))
        .stdout
    }

    /// openssl says that the signature is right: PSS with a salt as long as the hash, or ECDSA
    /// over r‖s.
    pub(crate) fn verify(&self, kind: usize, certificate: &[u8], signature: &[u8]) {
        let digest = self.digest(kind);
        fs::write(self.path("leaf"), certificate).unwrap();
        fs::write(self.path("digest"), &digest).unwrap();
        let (_, spec, _, hash) = KINDS[kind];
        let mut verify = self.tool("openssl");
        verify.args([
            "pkeyutl", "-verify", "-certin", "-inkey", "leaf.pem", "-in", "digest",
        ]);
        verify.args(["-sigfile", "signature"]);
        if spec.starts_with("RSA") {
            fs::write(self.path("signature"), signature).unwrap();
            for option in [
                format!("digest:{hash}"),
                "rsa_padding_mode:pss".to_owned(),
                format!("rsa_pss_saltlen:{}", digest.len()),
                format!("rsa_mgf1_md:{hash}"),
            ] {
                verify.args(["-pkeyopt", &option]);
            }
        } else {
            fs::write(self.path("signature"), to_der(signature)).unwrap();
        }
        run(self
            .tool("openssl")
            .args(["x509", "-inform", "DER", "-in", "leaf", "-out", "leaf.pem"]));
        run(&mut verify);
    }

    /// How often a function of the module was called, as pkcs11-spy saw it.
    pub(crate) fn calls(&self, function: &str) -> usize {
        let log = fs::read_to_string(self.path("spy.log")).unwrap_or_default();
        log.lines()
            .filter(|line| {
                line.split_once(": ")
                    .is_some_and(|(number, name)| number.parse::<u32>().is_ok() && name == function)
            })
            .count()
    }

    pub(crate) fn session(&self) -> Session {
        Session::start(self.plugin("session"))
    }
}

pub(crate) const PAYLOAD: &[u8] = b"a payload";

/// r‖s as the DER that openssl wants.
fn to_der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let mut content = number[zeros..].to_vec();
        if content.first().is_none_or(|byte| *byte >= 0x80) {
            content.insert(0, 0);
        }
        [vec![2, content.len() as u8], content].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let content = [integer(r), integer(s)].concat();
    let header = match content.len() {
        length @ ..128 => vec![0x30, length as u8],
        length => vec![0x30, 0x81, length as u8],
    };
    [header, content].concat()
}

/// A running `session`.
pub(crate) struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Session {
    pub(crate) fn start(mut plugin: Command) -> Self {
        let mut child = plugin.spawn().unwrap();
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    pub(crate) fn send(&mut self, id: u64, command: &str, request: &Value) {
        let line = json!({"id": id, "command": command, "request": request});
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn open(&mut self, key_id: &str) {
        let request = json!({"contractVersion": "1.0", "keyId": key_id});
        self.send(1, "open", &request);
    }

    pub(crate) fn sign(&mut self, id: u64, digest: &[u8], hash: &str) {
        let request = json!({"digest": STANDARD.encode(digest), "hashAlgorithm": hash});
        self.send(id, "sign-digest", &request);
    }

    pub(crate) fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Ends stdin: exit code, and what stood on stderr.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        drop(self.output);
        let output = self.child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), errors)
    }
}

fn hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// Message and hint of an error answer.
pub(crate) fn texts(error: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (
        text(&error["errorMessage"]),
        text(&error["errorMetadata"]["hint"]),
    )
}

pub(crate) fn write(path: &Path, parts: &[&Path]) {
    let parts: Vec<_> = parts.iter().map(|part| fs::read(part).unwrap()).collect();
    fs::write(path, parts.concat()).unwrap();
}
