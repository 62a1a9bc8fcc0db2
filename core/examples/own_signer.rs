//! Signs a file with a signer of one's own.
//!
//! ```console
//! $ openssl pkcs8 -topk8 -nocrypt -outform DER -in key.pem -out key.pk8
//! $ cargo run --example own_signer key.pk8 chain.pem hello.txt
//! ```
//!
//! The key here is a P-256 key in a file. One in a token or behind a service is used in the same way: it is sent
//! `message.digest()`. Signing runs on a Tokio runtime.

// An executable reads the clock and prints.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)]

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use hardsign_core::algorithm::KeySpec;
use hardsign_core::blob::{self, DEFAULT_MEDIA_TYPE};
use hardsign_core::envelope::{Format, Signed, ToBeSigned};
use hardsign_core::sign::{SignOptions, Signer, SignerError, sign_blob};
use hardsign_core::text::WithCauses;
use hardsign_core::x509::Certificate;
use jiff::Timestamp;

struct OwnSigner {
    key: EcdsaKeyPair,
    /// In DER, leaf first, root last.
    chain: Vec<Vec<u8>>,
}

#[async_trait]
impl Signer for OwnSigner {
    async fn key_spec(&self) -> Result<KeySpec, SignerError> {
        Ok(KeySpec::Ec256)
    }

    async fn sign(&self, message: &ToBeSigned) -> Result<Signed, SignerError> {
        let signature = self
            .key
            .sign(&SystemRandom::new(), message.bytes())
            .map_err(|_| SignerError::new(io::Error::other("the key did not sign")))?;
        Ok(Signed {
            signature: signature.as_ref().to_vec(),
            certificate_chain: self.chain.clone().into(),
            signing_agent: "example/1.0".into(),
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [key, chain, file] = arguments.as_slice() else {
        eprintln!("usage: own_signer <key file> <certificate file> <file>");
        return ExitCode::FAILURE;
    };
    match sign(key, chain, file).await {
        Ok(path) => {
            println!("signature written to {}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", WithCauses(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn sign(key: &Path, chain: &Path, file: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let certificates = Certificate::parse_file(&fs::read(chain)?)?;
    let signer = OwnSigner {
        key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &fs::read(key)?)?,
        chain: certificates.iter().map(|one| one.der().to_vec()).collect(),
    };
    let described = blob::describe(File::open(file)?, KeySpec::Ec256.hash(), DEFAULT_MEDIA_TYPE)?;
    let options = SignOptions::new(Format::Jws, Timestamp::now());
    // Key, chain and signature are checked here: what comes back verifies.
    let signature = sign_blob(&signer, &described, &options).await?;
    let path = blob::signature_path(file, Format::Jws, None).ok_or("not a file's name")?;
    fs::write(&path, signature.bytes())?;
    Ok(path)
}
