//! Lists keys, makes new ones, and stores certificate chains beside them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain;
use hardsign_plugin::proto::{
    Base64, CreateKeyRequest, CreateKeyResponse, ImportCertificatesRequest,
    ImportCertificatesResponse, KeyEntry, ListKeysRequest, ListKeysResponse,
};
use hardsign_plugin::{Context, Error, KeyRequest, Purpose};
use hardsign_plugin_kms::{names_beside, no_policies, none_beside, summary};
use reqwest::Method;
use serde_json::{Value, json};

use crate::SERVICE;
use crate::config::Config;
use crate::transit::{Transit, read_version};

/// The most keys that a list looks at.
const MAX_LISTED: usize = 500;

/// Lists the signing keys of the engine.
pub(crate) async fn list_keys(
    request: &ListKeysRequest,
    context: &Context<'_>,
) -> Result<ListKeysResponse, Error> {
    let key = KeyRequest::new(&request.key_id, &request.plugin_config, Purpose::Describe);
    let transit = Transit::open(Config::read(&key)?, context).await?;
    let what = format!("listing the keys of {}", transit.config.place());
    let names = match transit.config.key.as_str() {
        "" => {
            let path = "keys?list=true";
            let found = transit.ask(&what, Method::GET, path, None, context).await?;
            let names = found.as_ref().and_then(|found| found.pointer("/data/keys"));
            let names = names.and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str).map(str::to_owned).collect()
        }
        one => vec![one.to_owned()],
    };
    let mut answer = ListKeysResponse {
        truncated: names.len() > MAX_LISTED,
        ..ListKeysResponse::default()
    };
    for name in names.into_iter().take(MAX_LISTED) {
        let Some(data) = transit.find(&name, context).await? else {
            continue;
        };
        if data.get("supports_signing").and_then(Value::as_bool) != Some(true) {
            continue;
        }
        let version = read_version(&name, None, &data).ok();
        let kind = data.get("type").and_then(Value::as_str).unwrap_or_default();
        let leaf = version
            .as_ref()
            .and_then(|version| version.certificates.first());
        let deleted = version.as_ref().is_some_and(|version| version.deleted);
        answer.keys.push(KeyEntry {
            key_spec: version
                .as_ref()
                .filter(|_| !deleted)
                .map(|version| version.spec),
            description: match deleted {
                true => format!("{kind}, soft-deleted"),
                false => kind.to_owned(),
            },
            certificate: leaf.and_then(|leaf| summary(leaf)),
            label: Some(name.clone()),
            key_id: name,
            token: Some(transit.place()),
        });
    }
    Ok(answer)
}

/// Makes a key, or a new version of one. A key of the engine costs nothing, so there is nothing that the user would
/// have to agree to first; before a new version takes a key's name, the host asks.
pub(crate) async fn create_key(
    request: &CreateKeyRequest,
    context: &Context<'_>,
) -> Result<CreateKeyResponse, Error> {
    no_policies(SERVICE, request)?;
    let key = KeyRequest::new(&request.key_id, &request.plugin_config, Purpose::Certify);
    let mut transit = Transit::open(Config::read(&key)?.named()?, context).await?;
    let there = match request.beside {
        true => {
            transit.config.key = beside(&transit, context).await?;
            None
        }
        false => transit.find(&transit.config.key, context).await?,
    };
    let name = transit.config.key.clone();
    let place = transit.config.place();
    let kind = kind(request.key_spec);
    let replaced = match &there {
        None => None,
        Some(found) => Some(newest_of(found, &name, kind, request.overwrite)?),
    };
    let (path, body) = match replaced {
        None => (
            format!("keys/{name}"),
            Some(json!({"type": kind, "exportable": false, "allow_plaintext_backup": false})),
        ),
        Some(_) => (format!("keys/{name}/rotate"), None),
    };
    let what = format!("making key {name:?} of {place}");
    // Not repeated: an answer that got lost would leave one version too many.
    transit
        .ask_once(&what, &path, body.as_ref(), context)
        .await?;
    transit.config.version = None;
    let made = transit.version(context).await?;
    if made.spec != request.key_spec {
        return Err(Error::other(format!(
            "{SERVICE} made a key of type {} where {kind} was asked for",
            made.kind
        )));
    }
    Ok(CreateKeyResponse {
        key_id: name,
        key_spec: made.spec,
        public_key: Base64(made.public.to_spki_der()?),
        token: Some(transit.place()),
        replaced: replaced
            .map(|version| format!("version {version} still exists and can be named")),
    })
}

/// A free name for a new key beside the one that is named.
async fn beside(transit: &Transit, context: &Context<'_>) -> Result<String, Error> {
    for name in names_beside(&transit.config.key) {
        if transit.find(&name, context).await?.is_none() {
            return Ok(name);
        }
    }
    Err(none_beside(&transit.config.display()))
}

/// The newest version of a key that gets another one.
fn newest_of(found: &Value, name: &str, kind: &str, overwrite: bool) -> Result<u64, Error> {
    let newest = found
        .get("latest_version")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    if !overwrite {
        return Err(
            Error::validation(format!("key {name:?} exists already, in version {newest}"))
                .with_hint(
                    "choose another name, or make a new version of it with `key create --force`",
                ),
        );
    }
    let present = found
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if present != kind {
        return Err(Error::validation(format!(
            "key {name:?} is of type {present}, and its versions can't be of type {kind}"
        ))
        .with_hint("choose another name"));
    }
    Ok(newest)
}

fn kind(spec: KeySpec) -> &'static str {
    match spec {
        KeySpec::Rsa2048 => "rsa-2048",
        KeySpec::Rsa3072 => "rsa-3072",
        KeySpec::Rsa4096 => "rsa-4096",
        KeySpec::Ec256 => "ecdsa-p256",
        KeySpec::Ec384 => "ecdsa-p384",
        KeySpec::Ec521 => "ecdsa-p521",
    }
}

/// Stores a chain beside the key's version. Servers that can't, and chains that start with a CA's
/// certificate, which they refuse, are the host's to keep.
pub(crate) async fn import_certificates(
    request: &ImportCertificatesRequest,
    context: &Context<'_>,
) -> Result<ImportCertificatesResponse, Error> {
    let key = KeyRequest::new(&request.key_id, &request.plugin_config, Purpose::Certify);
    let config = Config::read(&key)?.named()?;
    let certificates: Vec<&[u8]> = request
        .certificate_chain
        .iter()
        .map(|certificate| certificate.0.as_slice())
        .collect();
    if certificates.first().is_some_and(|leaf| chain::is_ca(leaf)) {
        return Ok(ImportCertificatesResponse::default());
    }
    let transit = Transit::open(config, context).await?;
    let name = &transit.config.key;
    let version = transit.version(context).await?;
    if !version.certificates.is_empty() && !request.overwrite {
        if version
            .certificates
            .iter()
            .map(Vec::as_slice)
            .eq(certificates.iter().copied())
        {
            return Ok(stored(certificates.len(), None));
        }
        let leaf = version
            .certificates
            .first()
            .and_then(|leaf| chain::subject(leaf));
        return Err(Error::validation(format!(
            "version {} of key {name:?} has a certificate already: {}",
            version.number,
            leaf.unwrap_or_default()
        ))
        .with_hint("replace it with --force"));
    }
    let pem: String = certificates.iter().map(|der| pem(der)).collect();
    let body = json!({"version": version.number, "certificate_chain": pem});
    let what = format!("storing the certificate chain of key {name:?}");
    let path = format!("keys/{name}/set-certificate");
    let done = transit
        .ask(&what, Method::POST, &path, Some(&body), context)
        .await;
    match done {
        Ok(_) => {
            let had = version
                .certificates
                .first()
                .and_then(|leaf| chain::subject(leaf));
            Ok(stored(certificates.len(), had))
        }
        // A server that does not know the path.
        Err(error) if error.to_string().contains("unsupported path") => {
            Ok(ImportCertificatesResponse::default())
        }
        Err(error) => Err(error),
    }
}

fn stored(number: usize, had: Option<String>) -> ImportCertificatesResponse {
    ImportCertificatesResponse {
        stored: u32::try_from(number).unwrap_or(u32::MAX),
        replaced: had.map(|subject| format!("the certificate of {subject}")),
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}
