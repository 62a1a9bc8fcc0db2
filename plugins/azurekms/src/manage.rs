//! Lists keys and makes new ones.

use azure_security_keyvault_keys::models::{
    CreateKeyParameters, CurveName, Key, KeyOperation, KeyProperties, KeyType,
};
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{
    Base64, CreateKeyRequest, CreateKeyResponse, KeyEntry, ListKeysRequest, ListKeysResponse,
};
use hardsign_plugin::{Context, Error, KeyRequest, Purpose};
use hardsign_plugin_kms::{names_beside, no_policies, none_beside};

use crate::SERVICE;
use crate::id::{KeyName, Place};
use crate::vault::{Vault, place, read_version};

/// The most keys that a list names: each is a request of its own, since a list says no types.
const MAX_LISTED: usize = 200;

/// Lists the signing keys of a vault, or the versions of a key.
pub(crate) async fn list_keys(
    request: &ListKeysRequest,
    context: &Context<'_>,
) -> Result<ListKeysResponse, Error> {
    let request = KeyRequest::new(&request.key_id, &request.plugin_config, Purpose::Describe);
    let asked = Place::read(&request)?;
    let host = asked.host.clone();
    let one = asked.key.is_some().then(|| asked.clone().named());
    let one = one.transpose()?;
    let vault = Vault::open(&request, asked).await?;
    let (found, truncated) = vault.list(one.as_ref(), MAX_LISTED, context).await?;
    let mut answer = ListKeysResponse {
        truncated,
        ..ListKeysResponse::default()
    };
    for properties in found {
        let Some(name) = name_of(&host, &properties) else {
            continue;
        };
        match vault.find(&name, context).await {
            Ok(Some(key)) => answer.keys.extend(entry(&name, &key)),
            Ok(None) => {}
            // One key that may not be read keeps nothing else back.
            Err(error) => answer.warnings.push(error.to_string()),
        }
    }
    Ok(answer)
}

/// The key that an entry of a list is about: `https://VAULT/keys/NAME[/VERSION]`.
fn name_of(host: &str, properties: &KeyProperties) -> Option<KeyName> {
    let (_, path) = properties.kid.as_deref()?.split_once("/keys/")?;
    let (key, version) = match path.split_once('/') {
        Some((key, version)) => (key, Some(version.to_owned())),
        None => (path, None),
    };
    let legal = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !legal(key) || !legal(version.as_deref().unwrap_or_default()) {
        return None;
    }
    Some(KeyName {
        host: host.to_owned(),
        key: key.to_owned(),
        version,
    })
}

/// A key that can sign, or that says why not.
fn entry(name: &KeyName, key: &Key) -> Option<KeyEntry> {
    let kind = key.key.as_ref()?.kty.as_ref()?.to_string();
    if kind.starts_with("oct") {
        return None;
    }
    let token = Some(place(&name.host, &kind));
    let of_certificate = match key.managed {
        Some(true) => ", the key of a certificate",
        _ => "",
    };
    Some(match read_version(name, key) {
        Ok(version) => KeyEntry {
            key_spec: Some(version.spec),
            description: format!("{kind}{of_certificate}"),
            label: Some(name.key.clone()),
            key_id: version.name.address(),
            token,
            ..KeyEntry::default()
        },
        Err(why) => KeyEntry {
            description: format!("{kind}{of_certificate}: {why}"),
            label: Some(name.key.clone()),
            key_id: name.address(),
            token,
            ..KeyEntry::default()
        },
    })
}

/// Makes a key, or a new version of one.
pub(crate) async fn create_key(
    request: &CreateKeyRequest,
    context: &Context<'_>,
) -> Result<CreateKeyResponse, Error> {
    no_policies(SERVICE, request)?;
    let asked = KeyRequest::new(&request.key_id, &request.plugin_config, Purpose::Certify);
    let found = Place::read(&asked)?;
    let mut name = found.clone().named()?;
    if request.beside {
        name.version = None;
    }
    if name.version.is_some() {
        return Err(
            Error::validation("the version of a new key can't be chosen")
                .with_hint("leave the version out; the service makes it"),
        );
    }
    let wanted = parameters(request.key_spec, in_hsm(&asked, &name.host)?);
    let kind = wanted.kty.as_ref().map(ToString::to_string);
    let kind = kind.unwrap_or_default();
    if !request.confirmed {
        return Err(Error::needs_confirmation(format!(
            "make {}{name} in {SERVICE} ({}, {kind})? A key costs money for as long as it is used or, in an HSM, for as long as it exists",
            if request.beside { "a key beside " } else { "" },
            request.key_spec.name()
        )));
    }
    let vault = Vault::open(&asked, found).await?;
    let there = match request.beside {
        true => {
            name = beside(&vault, name, context).await?;
            None
        }
        false => vault.find(&name, context).await?,
    };
    if there.is_some() && !request.overwrite {
        return Err(
            Error::validation(format!("{name} exists already")).with_hint(
                "choose another name, or make a new version of it with `key create --force`",
            ),
        );
    }
    let made = vault.create(&name, wanted, context).await?;
    if made.spec != request.key_spec || made.kind != kind {
        return Err(Error::other(format!(
            "{SERVICE} made a key of type {} where {kind} was asked for",
            made.kind
        )));
    }
    Ok(CreateKeyResponse {
        key_id: made.name.address(),
        key_spec: made.spec,
        public_key: Base64(made.public.to_spki_der()?),
        token: Some(place(&name.host, &made.kind)),
        replaced: there.map(|_| "the earlier versions still exist and can be named".to_owned()),
    })
}

/// A name for a new key beside another that is there.
async fn beside(vault: &Vault, old: KeyName, context: &Context<'_>) -> Result<KeyName, Error> {
    for key in names_beside(&old.key) {
        let name = KeyName { key, ..old.clone() };
        if vault.find(&name, context).await?.is_none() {
            return Ok(name);
        }
    }
    Err(none_beside(&old.to_string()))
}

/// Whether a new key is made in an HSM; a Managed HSM makes no others.
fn in_hsm(request: &KeyRequest<'_>, host: &str) -> Result<bool, Error> {
    let is_managed_hsm = host.contains(".managedhsm.");
    match request.setting("protection") {
        None => Ok(is_managed_hsm),
        Some("hsm") => Ok(true),
        Some("software") if is_managed_hsm => Err(Error::validation(
            "setting protection is \"software\", and a Managed HSM makes keys in its HSM only",
        )
        .with_hint("leave the setting out")),
        Some("software") => Ok(false),
        Some(other) => Err(Error::validation(format!(
            "setting protection is {other:?}; it must be software or hsm"
        ))),
    }
}

fn parameters(spec: KeySpec, in_hsm: bool) -> CreateKeyParameters {
    let (rsa, ec) = match in_hsm {
        true => (KeyType::RsaHsm, KeyType::EcHsm),
        false => (KeyType::Rsa, KeyType::Ec),
    };
    let (kty, key_size, curve) = match spec {
        KeySpec::Rsa2048 => (rsa, Some(2048), None),
        KeySpec::Rsa3072 => (rsa, Some(3072), None),
        KeySpec::Rsa4096 => (rsa, Some(4096), None),
        KeySpec::Ec256 => (ec, None, Some(CurveName::P256)),
        KeySpec::Ec384 => (ec, None, Some(CurveName::P384)),
        KeySpec::Ec521 => (ec, None, Some(CurveName::P521)),
    };
    CreateKeyParameters {
        kty: Some(kty),
        key_size,
        curve,
        key_ops: Some(vec![KeyOperation::Sign, KeyOperation::Verify]),
        ..CreateKeyParameters::default()
    }
}
