//! Lists keys and makes new ones.

use std::time::Duration;

use google_cloud_kms_v1::model::crypto_key::CryptoKeyPurpose as KeyPurpose;
use google_cloud_kms_v1::model::crypto_key_version::CryptoKeyVersionState as State;
use google_cloud_kms_v1::model::{
    CryptoKey, CryptoKeyVersion, CryptoKeyVersionTemplate, ProtectionLevel,
};
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{
    Base64, CreateKeyRequest, CreateKeyResponse, KeyEntry, ListKeysRequest, ListKeysResponse,
};
use hardsign_plugin::{Context, Error, KeyRequest, Purpose};
use hardsign_plugin_kms::{names_beside, no_policies, none_beside};
use tokio::time::{Instant, sleep};

use crate::SERVICE;
use crate::id::{KeyName, Place};
use crate::key::place;
use crate::service::{Service, algorithm_for, level, spec_of};

/// The most keys that a list names.
const MAX_LISTED: usize = 500;

/// The most key rings that a list looks into.
const MAX_RINGS: usize = 50;

/// How long the service may take to make a key, after it said that it would.
const MAKING: Duration = Duration::from_secs(40);

/// Lists the signing keys of a key ring, of a location, or the versions of a key.
pub(crate) async fn list_keys(
    request: &ListKeysRequest,
    context: &Context<'_>,
) -> Result<ListKeysResponse, Error> {
    let request = KeyRequest::new(&request.key_id, &request.plugin_config, Purpose::Describe);
    let asked = Place::read(&request)?;
    let one = match asked.key {
        Some(_) => Some(asked.clone().named()?),
        None => {
            asked.location()?;
            None
        }
    };
    let service = Service::open(&request).await?;
    let mut answer = ListKeysResponse::default();
    if let Some(key) = one {
        let versions = service.versions(&key, "", context).await?;
        answer.truncated = versions.len() > MAX_LISTED;
        let versions = versions.iter().take(MAX_LISTED);
        answer.keys = versions.map(|version| of_version(&key, version)).collect();
        return Ok(answer);
    }
    let rings = match asked.ring {
        Some(_) => vec![asked.ring()?],
        None => {
            let (rings, more) = service.rings(&asked.location()?, context).await?;
            answer.truncated = more || rings.len() > MAX_RINGS;
            rings
        }
    };
    for ring in rings.iter().take(MAX_RINGS) {
        let (keys, more) = service.keys(ring, context).await?;
        answer.truncated |= more;
        for key in keys {
            if answer.keys.len() == MAX_LISTED {
                answer.truncated = true;
                return Ok(answer);
            }
            if key.purpose == KeyPurpose::AsymmetricSign {
                answer.keys.push(of_key(ring, key));
            }
        }
    }
    Ok(answer)
}

fn of_key(ring: &str, key: CryptoKey) -> KeyEntry {
    let template = key.version_template.unwrap_or_default();
    let protection = level(&template.protection_level);
    KeyEntry {
        key_spec: spec_of(&key.name, &template.algorithm).ok(),
        description: format!(
            "{}, {protection}",
            template.algorithm.name().unwrap_or("unknown")
        ),
        label: key.name.rsplit('/').next().map(str::to_owned),
        key_id: key.name,
        token: Some(place(ring, &protection)),
        ..KeyEntry::default()
    }
}

fn of_version(key: &KeyName, version: &CryptoKeyVersion) -> KeyEntry {
    let protection = level(&version.protection_level);
    KeyEntry {
        key_spec: spec_of(&version.name, &version.algorithm).ok(),
        description: format!(
            "{}, {protection}, {}",
            version.algorithm.name().unwrap_or("unknown"),
            state(version)
        ),
        label: Some(key.key.clone()),
        key_id: version.name.clone(),
        token: Some(place(&key.ring, &protection)),
        ..KeyEntry::default()
    }
}

fn state(version: &CryptoKeyVersion) -> &str {
    version.state.name().unwrap_or("in an unknown state")
}

/// Makes a key, or a new version of one.
pub(crate) async fn create_key(
    request: &CreateKeyRequest,
    context: &Context<'_>,
) -> Result<CreateKeyResponse, Error> {
    no_policies(SERVICE, request)?;
    let asked = KeyRequest::new(&request.key_id, &request.plugin_config, Purpose::Certify);
    let mut key = Place::read(&asked)?.named()?;
    if request.beside {
        key.version = None;
    }
    if key.version.is_some() {
        return Err(
            Error::validation("the version of a new key can't be chosen")
                .with_hint("leave the version out; the service numbers them"),
        );
    }
    let algorithm = algorithm_for(request.key_spec)?;
    let kind = algorithm.name().unwrap_or_default().to_owned();
    let protection = protection(&asked)?;
    if !request.confirmed {
        return Err(Error::needs_confirmation(format!(
            "make {}{key} in {SERVICE} ({kind}, {})? A key version costs money every month until it is destroyed",
            if request.beside { "a key beside " } else { "" },
            level(&protection)
        )));
    }
    let service = Service::open(&asked).await?;
    let there = match request.beside {
        true => {
            key = beside(&service, key, context).await?;
            None
        }
        false => service.find(&key, context).await?,
    };
    let (name, replaced) = match there {
        None => {
            let template = CryptoKeyVersionTemplate::new()
                .set_algorithm(algorithm)
                .set_protection_level(protection);
            let wanted = CryptoKey::new()
                .set_purpose(KeyPurpose::AsymmetricSign)
                .set_version_template(template);
            service.create(&key, wanted, context).await?;
            (key.of_version("1"), None)
        }
        Some(found) => {
            may_get_a_version(&key, &found, request.key_spec, request.overwrite)?;
            let name = service.create_version(&key, context).await?;
            let told = "the earlier versions still exist and can be named";
            (name, Some(told.to_owned()))
        }
    };
    wait_for(&service, &name, context).await?;
    key.version = name.rsplit('/').next().map(str::to_owned);
    let made = service.version(&key, context).await?;
    if made.spec != request.key_spec {
        return Err(Error::other(format!(
            "{SERVICE} made a key of type {} where {kind} was asked for",
            made.algorithm
        )));
    }
    Ok(CreateKeyResponse {
        key_spec: made.spec,
        public_key: Base64(made.public.to_spki_der()?),
        token: Some(place(&key.ring, &made.protection)),
        key_id: made.name,
        replaced,
    })
}

/// A name for a new key beside another that is there.
async fn beside(service: &Service, old: KeyName, context: &Context<'_>) -> Result<KeyName, Error> {
    for key in names_beside(&old.key) {
        let name = KeyName { key, ..old.clone() };
        if service.find(&name, context).await?.is_none() {
            return Ok(name);
        }
    }
    Err(none_beside(&old.to_string()))
}

fn protection(request: &KeyRequest<'_>) -> Result<ProtectionLevel, Error> {
    match request.setting("protection") {
        None | Some("software") => Ok(ProtectionLevel::Software),
        Some("hsm") => Ok(ProtectionLevel::Hsm),
        Some(other) => Err(Error::validation(format!(
            "setting protection is {other:?}; it must be software or hsm"
        ))),
    }
}

/// Whether a key that is there gets a new version: the user says so, and it is of the same kind.
fn may_get_a_version(
    key: &KeyName,
    found: &CryptoKey,
    wanted: KeySpec,
    overwrite: bool,
) -> Result<(), Error> {
    if !overwrite {
        return Err(
            Error::validation(format!("{key} exists already")).with_hint(
                "choose another name, or make a new version of it with `key create --force`",
            ),
        );
    }
    let algorithm = found
        .version_template
        .as_ref()
        .map(|template| template.algorithm.clone())
        .unwrap_or_default();
    if spec_of(&found.name, &algorithm).ok() != Some(wanted) {
        return Err(Error::validation(format!(
            "{key} makes versions of type {}, not {}",
            algorithm.name().unwrap_or("unknown"),
            wanted.name()
        ))
        .with_hint("choose another name"));
    }
    Ok(())
}

/// Waits until a new version can sign: the service makes it after it answered.
async fn wait_for(service: &Service, name: &str, context: &Context<'_>) -> Result<(), Error> {
    let end = Instant::now() + MAKING;
    let mut pause = Duration::from_millis(200);
    loop {
        let version = service.look(name, context).await?;
        match version.state {
            State::Enabled => return Ok(()),
            State::PendingGeneration if Instant::now() + pause < end => sleep(pause).await,
            State::PendingGeneration => {
                return Err(
                    Error::timeout(format!("{SERVICE} is still making {name}")).with_hint(format!(
                        "it is made all the same: add it later by the key id {name}"
                    )),
                );
            }
            _ => {
                return Err(Error::other(format!(
                    "{SERVICE} did not make {name}: it is {} {}",
                    state(&version),
                    version.generation_failure_reason
                )));
            }
        }
        pause = (pause * 2).min(Duration::from_secs(3));
    }
}
