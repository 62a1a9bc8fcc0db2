//! A card's own evidence of a key: `attest-key`. Checking it is the host's part.

use hardsign_plugin::proto::{AttestKeyRequest, AttestKeyResponse};
use hardsign_plugin::{Context, Error, chain};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;

use crate::config::Config;
use crate::error::YubiKeyError;
use crate::shared::Shared;

/// PIN and touch policy, two bare bytes.
const POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.8");

/// The PIN and touch policy of the key that a statement is about.
pub(crate) fn policies(statement: &[u8]) -> Option<(u8, u8)> {
    let certificate = Certificate::from_der(statement).ok()?;
    let extensions = certificate.tbs_certificate.extensions?;
    let found = extensions
        .iter()
        .find(|extension| extension.extn_id == POLICIES)?;
    match found.extn_value.as_bytes() {
        [pin, touch] => Some((*pin, *touch)),
        _ => None,
    }
}

/// Gets the statement on a key, and the certificate of the key that signed it. No PIN is needed.
pub(crate) fn attest_key(
    request: &AttestKeyRequest,
    shared: &Shared,
    context: &Context<'_>,
) -> Result<AttestKeyResponse, Error> {
    let config = Config::read(&request.key_id, &request.plugin_config)?;
    let slot = config.slot()?;
    let connection = shared.card(config.serial, context)?;
    let card = connection.name();
    let failed = |source| YubiKeyError::card("attesting a key of", card.clone(), source);
    let read = connection.run(move |piv| {
        Ok((
            piv.key(slot)?,
            piv.attest(slot)?,
            piv.attestation_certificate()?,
        ))
    })?;
    let (key, statement, signer) = read.map_err(failed)?;
    let Some(statement) = statement else {
        let error = match key {
            None => format!("slot {slot} of {card} holds no key that could be attested"),
            Some(_) => format!("{card} does not attest the key in slot {slot}"),
        };
        return Err(Error::validation(error).with_hint(
            "a YubiKey attests the keys that it made itself, not those that were imported, and from \
             firmware 4.3 on",
        ));
    };
    let public = chain::public_key(&statement)?;
    let certificates = [Some(statement), signer].into_iter().flatten();
    Ok(AttestKeyResponse {
        format: "yubico-piv".to_owned(),
        certificates: certificates.map(Into::into).collect(),
        statements: Vec::new(),
        public_key: public.to_spki_der()?.into(),
    })
}
