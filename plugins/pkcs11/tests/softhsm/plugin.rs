//! The plugin as a child process with a SoftHSM token of its own, and openssl as the judge of
//! signatures.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_test_support::schemas::{Kind, check};
use serde_json::{Value, json};
use softhsm_tests::run;
use softhsm_tests::token::{self, Token};

pub(crate) const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// OpenSC's module that logs the calls to another.
pub(crate) static SPY: LazyLock<String> = LazyLock::new(|| token::spy().display().to_string());

/// Key type for pkcs11-tool, key spec, hash, its openssl name.
pub(crate) const KINDS: [(&str, &str, &str, &str); 6] = [
    ("rsa:2048", "RSA-2048", "SHA-256", "sha256"),
    ("rsa:3072", "RSA-3072", "SHA-384", "sha384"),
    ("rsa:4096", "RSA-4096", "SHA-512", "sha512"),
    ("EC:prime256v1", "EC-256", "SHA-256", "sha256"),
    ("EC:secp384r1", "EC-384", "SHA-384", "sha384"),
    ("EC:secp521r1", "EC-521", "SHA-512", "sha512"),
];

/// The plugin, and a token labelled `T` with a CA of its own.
pub(crate) struct Plugin {
    token: Token,
}

impl Deref for Plugin {
    type Target = Token;

    fn deref(&self) -> &Token {
        &self.token
    }
}

impl Plugin {
    pub(crate) fn new() -> Self {
        Self::with_conf("")
    }

    /// A token whose softhsm2.conf has these lines as well.
    pub(crate) fn with_conf(conf: &str) -> Self {
        let token = Token::with_configuration("T", conf);
        token.make_ca();
        Self { token }
    }

    /// A key of the token through another module, with the PIN in one of the token's files.
    pub(crate) fn uri_at(&self, module: &str, label: &str, pin: &str) -> String {
        self.uri_of(Path::new(module), label, &self.file(pin))
    }

    pub(crate) fn plugin(&self, command: &str) -> Command {
        let mut plugin = self.tool(env!("CARGO_BIN_EXE_notation-pkcs11"));
        plugin
            .arg(command)
            .env("PKCS11SPY", SOFTHSM)
            .env("PKCS11SPY_OUTPUT", self.file("spy.log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        plugin
    }

    /// A one-shot command: its answer, or its error answer.
    pub(crate) fn call(&self, command: &str, request: &Value) -> Result<Value, Value> {
        check(Kind::Request, command, request);
        let mut child = self.plugin(command).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(request.to_string().as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            assert!(output.stderr.is_empty());
            let answer = serde_json::from_slice(&output.stdout).unwrap();
            check(Kind::Answer, command, &answer);
            return Ok(answer);
        }
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let error = serde_json::from_slice(&output.stderr).unwrap();
        check(Kind::Error, command, &error);
        Err(error)
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
        fs::write(self.file("payload"), PAYLOAD).unwrap();
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
        fs::write(self.file("leaf"), certificate).unwrap();
        fs::write(self.file("digest"), &digest).unwrap();
        let (_, spec, _, hash) = KINDS[kind];
        let mut verify = self.tool("openssl");
        verify.args([
            "pkeyutl", "-verify", "-certin", "-inkey", "leaf.pem", "-in", "digest",
        ]);
        verify.args(["-sigfile", "signature"]);
        if spec.starts_with("RSA") {
            fs::write(self.file("signature"), signature).unwrap();
            for option in [
                format!("digest:{hash}"),
                "rsa_padding_mode:pss".to_owned(),
                format!("rsa_pss_saltlen:{}", digest.len()),
                format!("rsa_mgf1_md:{hash}"),
            ] {
                verify.args(["-pkeyopt", &option]);
            }
        } else {
            fs::write(self.file("signature"), to_der(signature)).unwrap();
        }
        run(self
            .tool("openssl")
            .args(["x509", "-inform", "DER", "-in", "leaf", "-out", "leaf.pem"]));
        run(&mut verify);
    }

    /// How often a function of the module was called, as pkcs11-spy saw it.
    pub(crate) fn calls(&self, function: &str) -> usize {
        let log = fs::read_to_string(self.file("spy.log")).unwrap_or_default();
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
    /// What was asked, by id.
    asked: BTreeMap<u64, String>,
}

impl Session {
    pub(crate) fn start(mut plugin: Command) -> Self {
        let mut child = plugin.spawn().unwrap();
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            asked: BTreeMap::new(),
            child,
        }
    }

    pub(crate) fn send(&mut self, id: u64, command: &str, request: &Value) {
        let line = json!({"id": id, "command": command, "request": request});
        check(Kind::Line, command, &line);
        check(Kind::Request, command, request);
        self.asked.insert(id, command.to_owned());
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
        let line = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        check(Kind::Line, "session", &line);
        if let Some(answer) = line.get("response") {
            let command = &self.asked[&line["id"].as_u64().unwrap()];
            check(Kind::Answer, command, answer);
        }
        line
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
