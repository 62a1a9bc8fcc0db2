//! Verifies a file by bytes alone: the file, its signature, a policy and a trusted certificate are in memory.
//!
//! ```console
//! $ cargo run --example verify_bytes hello.txt hello.txt.jws.sig root.pem
//! ```
//!
//! No file is opened but by this program, nobody is asked, no clock is read, and there is no runtime.

// An executable reads the clock and prints.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)]

use std::fs;
use std::process::ExitCode;

use hardsign_core::algorithm::HashAlgorithm;
use hardsign_core::blob::{self, Digests};
use hardsign_core::envelope::Format;
use hardsign_core::policy::{Policy, Verification, blob as blob_policy};
use hardsign_core::text::WithCauses;
use hardsign_core::trust::{LoadedStores, StoreRef, TrustStore};
use hardsign_core::verify::{Answers, Grounds, Options, Target, VerifiedSignature, judge};
use hardsign_core::x509::Certificate;
use jiff::Timestamp;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Whoever is below the certificates in `ca:mine` may sign. Revocation is not looked at: that needs a network, or
/// answers that are at hand (`Answers`).
const POLICY: &[u8] = br#"{
  "version": "1.0",
  "trustPolicies": [{
    "name": "mine",
    "globalPolicy": true,
    "signatureVerification": { "level": "strict", "override": { "revocation": "skip" } },
    "trustStores": ["ca:mine"],
    "trustedIdentities": ["*"]
  }]
}"#;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, signature, certificates] = arguments.as_slice() else {
        eprintln!("usage: verify_bytes <file> <signature file> <certificate file>");
        return ExitCode::FAILURE;
    };
    match verify_files(file, signature, certificates) {
        Ok(verified) => {
            let chain = verified.signature().chain();
            println!("signed by {}", chain.leaf().subject());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", WithCauses(&*error));
            ExitCode::FAILURE
        }
    }
}

fn verify_files(file: &str, signature: &str, certificates: &str) -> Result<VerifiedSignature> {
    let format = blob::signature_format(signature.as_ref())?;
    let certificates = Certificate::parse_file(&fs::read(certificates)?)?;
    let (file, envelope) = (fs::read(file)?, fs::read(signature)?);
    verify(&file, format, &envelope, certificates, Timestamp::now())
}

/// Everything that decides is in the arguments.
fn verify(
    file: &[u8],
    format: Format,
    envelope: &[u8],
    trusted: Vec<Certificate>,
    now: Timestamp,
) -> Result<VerifiedSignature> {
    let policy = Policy::<blob_policy::Document>::from_bytes("policy", POLICY)?;
    let statement = policy.document().statement_for(None)?;
    let Verification::Verify(rules) = statement.verification() else {
        return Err("the policy says to skip verification".into());
    };
    let store = TrustStore::new(StoreRef::parse("ca:mine")?, trusted)?;
    let stores = LoadedStores::default().with(store);
    let own = policy.rules(statement.name());
    let grounds = Grounds::new(statement.name(), rules, own, &stores, Options::new(now))?;

    let digests = &Digests::of(file, &HashAlgorithm::ALL)?;
    let media_type = None; // Any.
    let target = Target::Blob {
        digests,
        media_type,
    };
    Ok(judge(
        format,
        envelope,
        target,
        &grounds,
        Answers::default(),
    )?)
}
