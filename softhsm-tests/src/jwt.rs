//! JSON Web Tokens (RFC 7519), as CI systems and Kubernetes give them to a job, signed by `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hardsign_plugin::algorithm::KeySpec;
use serde_json::Value;

use crate::{keys, run};

/// Who signs tokens.
pub struct Issuer {
    key: PathBuf,
}

impl Issuer {
    pub fn new() -> Self {
        let key = keys::named(KeySpec::Rsa2048, "token issuer").key;
        Self { key }
    }

    /// Its public key, PEM.
    pub fn public(&self) -> String {
        let arguments = ["pkey", "-pubout", "-in"];
        let output = run(Command::new("openssl").args(arguments).arg(&self.key));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A token with these claims (RS256).
    pub fn token(&self, claims: &Value) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let head = encode(br#"{"alg":"RS256","typ":"JWT","kid":"k"}"#);
        let signed = format!("{head}.{}", encode(claims.to_string().as_bytes()));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let file: &Path = &directory.path().join("message");
        std::fs::write(file, message).unwrap();
        let arguments = ["dgst", "-sha256", "-sign"];
        let mut openssl = Command::new("openssl");
        run(openssl.args(arguments).arg(&self.key).arg(file)).stdout
    }
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new()
    }
}
