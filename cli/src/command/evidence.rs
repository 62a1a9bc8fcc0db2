//! Evidence of where a key lives: the makers' roots, what `sign --attest` carries, and how it is told
//! that evidence proves nothing.

use std::sync::Arc;

use hardsign_core::attestation::{AttestationError, Evidence, Roots};
use hardsign_core::envelope::YUBICO_PIV;
use hardsign_core::plugin::UnopenedSigner;
use hardsign_core::sign::{ProveError, ProvenEvidence};
use hardsign_core::text::WithCauses;
use hardsign_plugin::proto::AttestKeyResponse;

use super::{Context, certificate_file};
use crate::failure::Failure;
use crate::output::one_line;

/// The makers' roots: those of a file that the user names, else those that came with hardsign.
pub(super) fn roots(file: Option<&str>) -> Result<Roots, Failure> {
    match file {
        Some(path) => Ok(Roots::of(certificate_file::read(path)?)),
        None => Ok(Roots::in_the_box()),
    }
}

/// The certificates of an answer that can prove something.
pub(super) fn evidence(answer: &AttestKeyResponse) -> Result<Evidence, Failure> {
    let ders: Vec<_> = answer.certificates.iter().map(|der| &der.0).collect();
    Evidence::from_certificates(&ders).map_err(Failure::error)
}

/// The evidence that signatures are to carry: gotten from the device and proven, before anybody is
/// asked for a PIN.
pub(super) async fn to_carry(
    signer: &UnopenedSigner,
    name: &str,
    roots: &Roots,
    context: &Context,
) -> Result<Arc<ProvenEvidence>, Failure> {
    let plugin = signer.plugin_name();
    if signer.makes_envelopes() {
        return Err(Failure::failed(format!(
            "plugin {plugin} makes whole envelopes, to which no evidence can be added"
        ))
        .hint("sign without --attest"));
    }
    if !signer.gives_evidence() {
        return Err(Failure::failed(format!(
            "plugin {plugin} gives no evidence of where its keys live, so signatures can't carry any"
        ))
        .hint(OTHER_KEY));
    }
    let answer = signer.evidence().await?;
    if answer.format != YUBICO_PIV {
        return Err(Failure::failed(format!(
            "nothing proves where the key {} lives: there is only the word of its key store ({}), which no verifier accepts",
            one_line(name),
            one_line(&answer.format)
        ))
        .hint(OTHER_KEY));
    }
    let proven = ProvenEvidence::prove(&evidence(&answer)?, roots, context.now());
    let proven = proven.map_err(|error| match error {
        ProveError::Attestation(error) => refused(name, &error, "--attest-root"),
        other => Failure::error(other),
    })?;
    context.console.warning(match proven.attested().device().serial {
        Some(serial) => {
            format!("each signature will publish the serial number of the device that made the key, {serial}")
        }
        None => "each signature will publish which device made the key".to_owned(),
    });
    Ok(Arc::new(proven))
}

/// Evidence that proves nothing; `flag` names a file with other roots.
pub(super) fn refused(name: &str, error: &AttestationError, flag: &str) -> Failure {
    let name = one_line(name);
    let failure = Failure::failed(format!(
        "nothing proves where the key {name} was made: {}",
        WithCauses(error)
    ));
    match error {
        AttestationError::Roca { .. } => {
            failure.hint("stop using the key, and make another on a device that is not affected")
        }
        AttestationError::Untrusted { .. } => failure.hint(format!(
            "if the device is from another maker, give its root certificates: {flag} maker.pem"
        )),
        _ => failure,
    }
}

const OTHER_KEY: &str =
    "YubiKeys prove it, through the plugin yubikey: sign with a key of one, or without --attest";
