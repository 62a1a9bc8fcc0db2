//! Verifies an image in a registry under the user's trust policy, as `hardsign verify` does.
//!
//! ```console
//! $ cargo run --example verify_image registry.example.com/app@sha256:<digest>
//! ```
//!
//! The policy is `trustpolicy.oci.json` and the trusted certificates are those below `truststore/x509` in the
//! configuration directory, which is notation's. Requests are made on a Tokio runtime.

// An executable reads the clock and prints.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout)]

use std::error::Error;
use std::process::ExitCode;

use hardsign_core::artifact::reference::Reference;
use hardsign_core::dirs::Dirs;
use hardsign_core::oci::Repository as _;
use hardsign_core::oci::registry::{Access, Connector, ConnectorOptions};
use hardsign_core::policy::{Policy, oci};
use hardsign_core::text::WithCauses;
use hardsign_core::trust::Loader;
use hardsign_core::verify::{Options, Outcome, Verifier};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(reference) = std::env::args().nth(1) else {
        eprintln!("usage: verify_image <registry>/<repository>@<digest>");
        return ExitCode::FAILURE;
    };
    match verify(&reference).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", WithCauses(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Whether the image was verified. No error is not yet a yes: a policy may say not to verify.
async fn verify(reference: &str) -> Result<bool, Box<dyn Error>> {
    let reference: Reference = reference.parse()?;
    let dirs = Dirs::from_environment()?;
    let policy = Policy::<oci::Document>::load(&dirs)?;
    let verifier = Verifier::new(Loader::new(dirs.trust_stores()));

    // Without credentials; `Credentials` takes those of `docker login`, or yours.
    let connector = Connector::new(ConnectorOptions::default())?;
    let scope = reference.repository.to_string();
    let repository = connector.repository(reference.repository, Access::Read)?;
    let image = repository.resolve(&reference.target).await?;

    let options = Options::new(Timestamp::now());
    match verifier
        .verify_artifact(&policy, &repository, &scope, &image, options)
        .await?
    {
        Outcome::Verified(verified) => {
            for accepted in verified.signatures() {
                let chain = accepted.signature.signature().chain();
                println!("signed by {}", chain.leaf().subject());
            }
            // Whatever is done with the image is done by this digest: a tag may have moved meanwhile.
            println!("{scope}@{}", verified.target().digest);
            Ok(true)
        }
        Outcome::Skipped(_) => {
            println!("not verified: the policy says to skip {scope}");
            Ok(false)
        }
    }
}
