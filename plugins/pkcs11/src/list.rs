//! `list-keys`: the keys of one token or of all, as URIs that can be signed with.

use cryptoki::object::ObjectClass;
use hardsign_plugin::chain;
use hardsign_plugin::pkcs11_uri::{SCHEME, encode};
use hardsign_plugin::proto::{CertificateSummary, KeyEntry, ListKeysRequest, ListKeysResponse};
use hardsign_plugin::{Context, Error};
use x509_cert::der::Decode as _;

use crate::config::Config;
use crate::error::{Call, Pkcs11Error};
use crate::module::{Module, Token};
use crate::objects::{self, KeyObject};
use crate::shared::Shared;

/// Keys in one answer.
const MAX_KEYS: usize = 500;

/// Lists what the key id (a URI, or nothing) and the config match.
///
/// Logs in only if a PIN source was named and one token is meant: a PIN is never tried at
/// another token. Without login, keys are shown by their public halves.
pub(crate) fn list_keys(
    request: &ListKeysRequest,
    shared: &Shared,
    context: &Context<'_>,
) -> Result<ListKeysResponse, Error> {
    let config = Config::read(&request.key_id, &request.plugin_config)?;
    let module = shared.module(&config)?;
    let tokens = match config.pin_source {
        Some(_) => vec![module.token(&config.uri)?],
        None => module.tokens(&config.uri)?,
    };
    let mut keys = Vec::new();
    for token in &tokens {
        keys.extend(keys_of(&module, token, &config, shared, context)?);
    }
    let truncated = keys.len() > MAX_KEYS;
    keys.truncate(MAX_KEYS);
    Ok(ListKeysResponse {
        keys,
        truncated,
        // A URI that names its token has nothing to do with the others.
        warnings: match config.uri.token.is_none() && config.uri.serial.is_none() {
            true => module.unusable()?,
            false => Vec::new(),
        },
    })
}

fn keys_of(
    module: &Module,
    token: &Token,
    config: &Config,
    shared: &Shared,
    context: &Context<'_>,
) -> Result<Vec<KeyEntry>, Error> {
    let failed = |source: Call| Pkcs11Error::Token {
        doing: "reading",
        token: token.name(),
        source,
    };
    let session = module.open_session(token.slot).map_err(failed)?;
    let source = config.pin_source.as_ref();
    let logged_in = match source {
        Some(_) => shared
            .login(module, token, &session, source, context)?
            .is_some(),
        None => false,
    };
    let private = objects::keys(&session, ObjectClass::PRIVATE_KEY, &config.uri).map_err(failed)?;
    let keys = match private.is_empty() && !logged_in {
        true => objects::keys(&session, ObjectClass::PUBLIC_KEY, &config.uri).map_err(failed)?,
        false => private.into_iter().filter(|key| key.may_sign).collect(),
    };
    let certificates = objects::certificates(&session).map_err(failed)?.found;
    let mut entries = Vec::new();
    for key in keys {
        let public = objects::public_key(&session, &key).map_err(failed)?;
        let key_spec = public.as_ref().and_then(|public| public.key_spec());
        let mut description = format!("{:?} in {}", key.label, token.name());
        if let (None, Some(public)) = (key_spec, &public) {
            description = format!("{description}: can't be used, it is {}", public.describe());
        }
        entries.push(KeyEntry {
            key_id: uri(module, token, &key),
            key_spec,
            description,
            label: Some(key.label.clone()).filter(|label| !label.is_empty()),
            token: Some(token.describe()),
            certificate: public.and_then(|public| {
                let mut certificates = certificates.iter();
                let own = certificates.find(|own| chain::matches(&public, &own.der))?;
                summary(&own.der)
            }),
        });
    }
    // Closing the last session logs out.
    Ok(entries)
}

fn summary(der: &[u8]) -> Option<CertificateSummary> {
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    let not_after = &certificate.tbs_certificate.validity.not_after;
    Some(CertificateSummary {
        subject: chain::subject(der)?,
        not_after: not_after.to_date_time().to_string(),
    })
}

/// The URI of a key; where its PIN comes from is left to the user.
pub(crate) fn uri(module: &Module, token: &Token, key: &KeyObject) -> String {
    let mut attributes = vec![
        ("token", token.label().as_bytes()),
        ("serial", token.serial().as_bytes()),
        ("object", key.label.as_bytes()),
        ("id", key.id.as_slice()),
    ];
    attributes.retain(|(_, value)| !value.is_empty());
    let path: Vec<_> = attributes
        .into_iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    let module = encode(module.path().as_os_str().as_encoded_bytes()).replace("%2F", "/");
    format!("{SCHEME}{}?module-path={module}", path.join(";"))
}
