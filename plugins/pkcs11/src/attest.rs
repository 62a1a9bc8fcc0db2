//! `attest-key`: what the module says of where a key was made and whether it can leave. It proves
//! nothing: a host shows it as the module's word.

use cryptoki::mechanism::MechanismType;
use hardsign_plugin::proto::{AttestKeyRequest, AttestKeyResponse, Property};
use hardsign_plugin::{Context, Error};

use crate::config::Config;
use crate::connection::{failed, find_key};
use crate::create::TOLD;
use crate::error::{Call, Pkcs11Error};
use crate::objects;
use crate::shared::Shared;

/// Reads the attributes of the private key, for which it logs in: tokens hide it until then.
pub(crate) fn attest_key(
    request: &AttestKeyRequest,
    shared: &Shared,
    context: &Context<'_>,
) -> Result<AttestKeyResponse, Error> {
    let config = Config::read(&request.key_id, &request.plugin_config)?;
    let module = shared.module(&config)?;
    let token = module.token(&config.uri)?;
    let session = module
        .open_session(token.slot)
        .map_err(|source| failed("opening a session with", &token, source))?;
    let source = config.pin_source.as_ref();
    let proof = shared.login(&module, &token, &session, source, context)?;
    let key = find_key(&session, &token, &config, proof.is_some())?;
    let read = |source: Call| failed("reading", &token, source);
    let public = objects::public_key(&session, &key).map_err(read)?;
    let public = public.ok_or_else(|| Pkcs11Error::NoPublicKey {
        token: token.name(),
        key: config.key_name(),
        file: None,
    })?;
    let told = objects::told(&session, key.handle, &TOLD);
    let yes_or_no = |told| if told { "yes" } else { "no" };
    let mut statements: Vec<Property> = told
        .into_iter()
        .map(|(name, value)| Property::new(name, yes_or_no(value)))
        .collect();
    let mechanism = objects::made_with(&session, key.handle).map_err(read)?;
    statements.push(Property::new("made with", made_with(mechanism)));
    statements.push(Property::new("token", token.name()));
    Ok(AttestKeyResponse {
        format: "pkcs11-attributes".to_owned(),
        certificates: Vec::new(),
        statements,
        public_key: public.to_spki_der()?.into(),
    })
}

/// CKA_KEY_GEN_MECHANISM, which a key that was not made on the token does not have.
fn made_with(mechanism: Option<MechanismType>) -> String {
    match mechanism {
        Some(MechanismType::ECC_KEY_PAIR_GEN) => "CKM_EC_KEY_PAIR_GEN".to_owned(),
        Some(MechanismType::RSA_PKCS_KEY_PAIR_GEN) => "CKM_RSA_PKCS_KEY_PAIR_GEN".to_owned(),
        Some(other) => other.to_string(),
        None => "not told".to_owned(),
    }
}
