//! A complete plugin. Its key store is the `openssl` program: the key id is the path of a private
//! key in PEM, and the setting `cert-chain` names the certificates, leaf first.
//!
//! Installed as `<plugin directory>/echo/notation-echo` it works under `hardsign` and `notation`.

use std::io::{Error as IoError, Write as _};
use std::process::{Command, ExitCode, Stdio};

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::error::ErrorCode;
use hardsign_plugin::proto::{Metadata, Setting};
use hardsign_plugin::{Context, Error, Key, KeyRequest, Plugin, chain, ecdsa};

struct Echo;

/// What is known of an open key. A device would keep its connection here.
struct EchoKey {
    path: String,
    public: chain::PublicKey,
    key_spec: KeySpec,
    chain: Vec<Vec<u8>>,
}

impl Plugin for Echo {
    type Key = EchoKey;

    fn metadata(&self) -> Metadata {
        Metadata::new(
            "echo",
            "Signs with the openssl program",
            "1.0.0",
            "https://example.com/notation-echo",
        )
        .with_settings([Setting::path(
            "cert-chain",
            "PEM file with the key's certificate and those above it, leaf first",
        )])
    }

    fn open(&self, request: &KeyRequest<'_>, context: &Context<'_>) -> Result<EchoKey, Error> {
        // This reaches the user. It would have a `context.pin(…)` beside it if a PIN were needed.
        context.notice("opening the key", None);
        // This reaches nobody who could mistake it for an answer.
        #[allow(clippy::print_stdout, reason = "shows that prints do no harm")]
        {
            println!("a stray print");
        }
        let path = request.setting("cert-chain").ok_or_else(|| {
            Error::validation("no certificates were named for the key")
                .with_hint("set cert-chain to a PEM file, leaf first")
        })?;
        let file =
            std::fs::read(path).map_err(|error| failed(&format!("reading {path}"), &error))?;
        let chain = chain::parse_file(&file)?;
        let leaf = chain.first().ok_or(chain::ChainError::Empty)?;
        let public = chain::public_key(leaf)?;
        let key_spec = public
            .key_spec()
            .ok_or_else(|| Error::validation(format!("the key is {}", public.describe())))?;
        Ok(EchoKey {
            path: request.key_id.to_owned(),
            public,
            key_spec,
            chain,
        })
    }
}

impl Key for EchoKey {
    fn key_spec(&self) -> KeySpec {
        self.key_spec
    }

    fn public_key(&self) -> Result<Vec<u8>, Error> {
        Ok(self.public.to_spki_der()?)
    }

    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.chain.clone())
    }

    fn sign_digest(&self, digest: &[u8], _: &Context<'_>) -> Result<Vec<u8>, Error> {
        let hash = self.key_spec.hash().oci_name();
        let mut options = vec![format!("digest:{hash}")];
        if self.key_spec.is_rsa() {
            options.push("rsa_padding_mode:pss".to_owned());
            options.push("rsa_pss_saltlen:digest".to_owned());
        }
        let signature = openssl(&self.path, &options, digest)?;
        if self.key_spec.is_rsa() {
            return Ok(signature);
        }
        ecdsa::from_der(self.key_spec, &signature)
            .ok_or_else(|| Error::other("openssl made something that is no signature"))
    }

    fn max_in_flight(&self) -> u32 {
        4
    }
}

/// Runs `openssl pkeyutl -sign`.
#[allow(
    clippy::disallowed_methods,
    reason = "this plugin's key store is a program"
)]
fn openssl(key: &str, options: &[String], digest: &[u8]) -> Result<Vec<u8>, Error> {
    let mut command = Command::new("openssl");
    command.args(["pkeyutl", "-sign", "-inkey", key]);
    for option in options {
        command.args(["-pkeyopt", option]);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed("starting openssl", &error))?;
    if let Some(mut input) = child.stdin.take() {
        let written = input.write_all(digest);
        written.map_err(|error| failed("writing to openssl", &error))?;
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed("reading from openssl", &error))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(Error::other(format!("openssl failed: {}", reason.trim())));
    }
    Ok(output.stdout)
}

fn failed(doing: &str, error: &IoError) -> Error {
    let cause = Error::from_error(ErrorCode::Error, error);
    Error::other(format!("{doing} failed: {cause}"))
}

fn main() -> ExitCode {
    hardsign_plugin::serve(Echo)
}
