//! `import-certificates`: certificates as objects beside their key.

use cryptoki::error::RvError;
use cryptoki::object::{Attribute, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use hardsign_plugin::chain;
use hardsign_plugin::proto::{ImportCertificatesRequest, ImportCertificatesResponse};
use hardsign_plugin::{Context, Error};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use crate::config::Config;
use crate::connection::{failed, find_key};
use crate::error::{Call, Pkcs11Error};
use crate::objects::{self, KeyObject};
use crate::shared::Shared;

/// Stores the chain: the leaf under the key's label and id, the others under their common names.
///
/// What the token has already is not stored again. A token that can't hold certificates holds none
/// of them: what was begun is undone, and the answer says 0, so that the host keeps the chain.
pub(crate) fn import_certificates(
    request: &ImportCertificatesRequest,
    shared: &Shared,
    context: &Context<'_>,
) -> Result<ImportCertificatesResponse, Error> {
    let config = Config::read(&request.key_id, &request.plugin_config)?;
    let module = shared.module(&config)?;
    let token = module.token(&config.uri)?;
    let none = |why: &str| {
        context.notice(
            &format!("{} holds no certificates: {why}", token.name()),
            None,
        );
        Ok(ImportCertificatesResponse::default())
    };
    if token.info.write_protected() {
        return none("it is write-protected");
    }
    let session = match module.open_rw_session(token.slot) {
        Ok(session) => session,
        Err(call) if is_refusal(&call) => return none(&call.to_string()),
        Err(source) => return Err(failed("opening a session with", &token, source).into()),
    };
    let source = config.pin_source.as_ref();
    let proof = shared.login(&module, &token, &session, source, context)?;
    let key = find_key(&session, &token, &config, proof.is_some())?;
    let read = |source: Call| failed("reading", &token, source);
    let public = objects::public_key(&session, &key).map_err(read)?;
    let leaf = request.certificate_chain.first();
    if let (Some(public), Some(leaf)) = (public, leaf)
        && !chain::matches(&public, &leaf.0)
    {
        return Err(Pkcs11Error::Mismatch {
            subject: chain::subject(&leaf.0).unwrap_or_default(),
            place: "the request".to_owned(),
            key: config.key_name(),
            token: token.name(),
        }
        .into());
    }
    let there = objects::certificates(&session).map_err(read)?;
    let is_there = |der: &[u8]| there.found.iter().any(|known| known.der == der);
    let mut stored: Vec<ObjectHandle> = Vec::new();
    for (at, certificate) in request.certificate_chain.iter().enumerate() {
        if is_there(&certificate.0) {
            continue;
        }
        let template = template(&certificate.0, (at == 0).then_some(&key))?;
        match session.create_object(&template).map_err(Call) {
            Ok(object) => stored.push(object),
            Err(call) => {
                for object in stored {
                    // Certificates that are left are harmless: the host keeps the chain itself.
                    session.destroy_object(object).unwrap_or(());
                }
                return match is_refusal(&call) {
                    true => none(&call.to_string()),
                    false => Err(failed("storing a certificate in", &token, call).into()),
                };
            }
        }
    }
    let replaced = match request.overwrite {
        true => delete_others(&session, &key, &request.certificate_chain)?,
        false => None,
    };
    Ok(ImportCertificatesResponse {
        stored: u32::try_from(request.certificate_chain.len()).unwrap_or(u32::MAX),
        replaced,
    })
}

/// Whether the token says that it will not hold it, as against a failure.
fn is_refusal(call: &Call) -> bool {
    matches!(
        call.value(),
        Some(
            RvError::TokenWriteProtected
                | RvError::SessionReadOnly
                | RvError::DeviceMemory
                | RvError::FunctionNotSupported
                | RvError::ActionProhibited
                | RvError::AttributeTypeInvalid
                | RvError::AttributeValueInvalid
                | RvError::AttributeReadOnly
                | RvError::TemplateIncomplete
                | RvError::TemplateInconsistent
        )
    )
}

/// Deletes the other certificates of the key, those under its id.
fn delete_others(
    session: &Session,
    key: &KeyObject,
    kept: &[hardsign_plugin::proto::Base64],
) -> Result<Option<String>, Error> {
    let handles = objects::certificate_handles(session, key)
        .map_err(|call| Error::other(format!("reading the old certificates failed: {call}")))?;
    let mut deleted = Vec::new();
    for handle in handles {
        let der = objects::value(session, handle)
            .map_err(|call| Error::other(format!("reading an old certificate failed: {call}")))?;
        let Some(der) = der.filter(|der| !kept.iter().any(|certificate| certificate.0 == *der))
        else {
            continue;
        };
        session.destroy_object(handle).map_err(|error| {
            Error::other(format!(
                "deleting an old certificate failed: {}",
                Call(error)
            ))
        })?;
        deleted.push(chain::subject(&der).unwrap_or_else(|| "a certificate".to_owned()));
    }
    Ok((!deleted.is_empty()).then(|| deleted.join("; ")))
}

/// The object (PKCS#11 §4.6.3); `key` is given for its own certificate.
fn template(der: &[u8], key: Option<&KeyObject>) -> Result<Vec<Attribute>, Error> {
    let malformed = |error: x509_cert::der::Error| {
        Error::validation(format!(
            "a certificate of the request is malformed: {error}"
        ))
    };
    let certificate = Certificate::from_der(der).map_err(malformed)?;
    let tbs = &certificate.tbs_certificate;
    let (label, id) = match key {
        Some(key) => (key.label.clone(), key.id.clone()),
        None => {
            // An id of its own, which is no key's.
            let parsed = chain::Certificate::from_der(der).ok();
            let id = parsed.as_ref().and_then(chain::Certificate::subject_key_id);
            let id = id.unwrap_or(tbs.serial_number.as_bytes()).to_vec();
            (chain::subject(der).unwrap_or_default(), id)
        }
    };
    Ok(vec![
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::CertificateType(CertificateType::X_509),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Label(label.into_bytes()),
        Attribute::Id(id),
        Attribute::Subject(tbs.subject.to_der().map_err(malformed)?),
        Attribute::Issuer(tbs.issuer.to_der().map_err(malformed)?),
        Attribute::SerialNumber(tbs.serial_number.to_der().map_err(malformed)?),
        Attribute::Value(der.to_vec()),
    ])
}
