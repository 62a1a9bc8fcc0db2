//! AWS KMS as `ministack` emulates it. It checks no signature of a request and no permission.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ports::free_port;
use crate::{keys, peers};

/// Where the keys are, unless a test says otherwise.
pub const REGION: &str = "eu-west-1";

/// A credential of nobody: the secret is looked for in what programs print.
pub const ACCESS_KEY: &str = "AKIATESTACCESSKEYID0";
pub const SECRET_KEY: &str = "unlikely/secret+Zq7key93";
pub const SESSION_TOKEN: &str = "unlikely+session/token==Zq7";

/// A running server; it ends with the value.
pub struct Ministack {
    child: Child,
    port: u16,
    _home: TempDir,
}

/// A key of the service.
#[derive(Clone, Debug)]
pub struct KmsKey {
    pub id: String,
    pub arn: String,
    /// The public half, PEM.
    pub public: String,
}

impl KmsKey {
    /// A chain for it (PEM).
    pub fn chain(&self) -> PathBuf {
        keys::certify(&self.public, &self.id)
    }
}

impl Ministack {
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = free_port();
        let child = Command::new(peers::program("ministack"))
            .current_dir(home.path())
            .env("HOME", home.path())
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("SERVICES", "kms,sts")
            .env("IOT_MTLS_ENABLED", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            child,
            port,
            _home: home,
        };
        let start = Instant::now();
        while !server.is_ready() {
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "ministack does not start"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The environment of a client with credentials and a region.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        environment(&self.address())
    }

    /// Calls an operation, which must succeed.
    pub fn call(&self, operation: &str, request: &Value) -> Value {
        call(self.port, REGION, operation, request)
    }

    /// Makes a signing key.
    pub fn key(&self, spec: KeySpec) -> KmsKey {
        self.key_of(json!({"KeySpec": aws_name(spec), "KeyUsage": "SIGN_VERIFY"}))
    }

    /// Makes a key by these terms.
    pub fn key_of(&self, terms: Value) -> KmsKey {
        let made = self.call("CreateKey", &terms);
        let id = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
        let arn = made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
        let public = if terms["KeySpec"] == "SYMMETRIC_DEFAULT" {
            String::new()
        } else {
            let public = self.call("GetPublicKey", &json!({"KeyId": id}));
            pem(public["PublicKey"].as_str().unwrap())
        };
        KmsKey { id, arn, public }
    }

    /// Gives a key an alias, `alias/NAME`.
    pub fn alias(&self, alias: &str, key: &KmsKey) {
        self.call(
            "CreateAlias",
            &json!({"AliasName": alias, "TargetKeyId": key.id}),
        );
    }

    fn is_ready(&self) -> bool {
        let asked = ask(self.port, "GET /_ministack/health HTTP/1.1\r\n", "");
        asked.is_ok_and(|(_, body)| body.contains("\"completed\""))
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The environment of a client with credentials and a region, whose service is at `address`.
pub fn environment(address: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL_KMS", address.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ("AWS_SESSION_TOKEN", SESSION_TOKEN.to_owned()),
    ]
}

/// The service's name of a key type.
pub fn aws_name(spec: KeySpec) -> &'static str {
    match spec {
        KeySpec::Rsa2048 => "RSA_2048",
        KeySpec::Rsa3072 => "RSA_3072",
        KeySpec::Rsa4096 => "RSA_4096",
        KeySpec::Ec256 => "ECC_NIST_P256",
        KeySpec::Ec384 => "ECC_NIST_P384",
        KeySpec::Ec521 => "ECC_NIST_P521",
    }
}

/// A public key in base64 as PEM.
fn pem(base64: &str) -> String {
    let der = STANDARD.decode(base64).unwrap();
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    )
}

/// Calls an operation of a server, which must succeed.
pub fn call(port: u16, region: &str, operation: &str, request: &Value) -> Value {
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/{region}/kms/aws4_request, SignedHeaders=host, Signature=0"
    );
    let head = format!(
        "POST / HTTP/1.1\r\nx-amz-target: TrentService.{operation}\r\nauthorization: {scope}\r\ncontent-type: application/x-amz-json-1.1\r\n"
    );
    let (head, body) = ask(port, &head, &request.to_string()).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200"),
        "{operation}: {head}{body}"
    );
    serde_json::from_str(&body).unwrap_or_default()
}

fn ask(port: u16, head: &str, body: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        stream,
        "{head}host: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Ok((head.to_owned(), body.to_owned()))
}
