//! `notation-toy`: a well-behaved plugin whose key store answers late, and does everything that the
//! protocol has.
//!
//! It shows how many signatures a host keeps under way, and how a host works on a key store. Its key
//! is that of the rude plugin, known to everyone: nothing that it signs means anything. A key that is
//! made is that key; certificates that are stored are counted and forgotten.
//!
//! | setting | meaning |
//! |---|---|
//! | `latency` | milliseconds from a request to its answer; 50 |
//! | `in-flight` | `maxInFlight` of a session; 200 |
//! | `log` | a file to which a line is added for each thing done |
//!
//! The key id `denied` is refused with `ACCESS_DENIED`, `taken` is a key that is there already.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{
    AttestKeyRequest, AttestKeyResponse, Capability, CreateKeyRequest, CreateKeyResponse,
    ImportCertificatesRequest, ImportCertificatesResponse, KeyEntry, ListKeysRequest,
    ListKeysResponse, Metadata, PluginConfig, Property, Setting, Token,
};
use hardsign_plugin::{AsyncKey, AsyncPlugin, Context, Error, KeyRequest, Purpose, chain};
use tokio::time::sleep;

use crate::rude::{LEAF, ROOT, key};

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Toy;

/// A key that is open.
#[derive(Debug)]
pub struct ToyKey {
    place: Place,
    in_flight: u32,
    public: Vec<u8>,
    chain: Vec<Vec<u8>>,
}

/// How far away the key store is, and where it notes what is done.
#[derive(Clone, Debug)]
struct Place {
    latency: Duration,
    log: Option<String>,
}

impl Place {
    fn of(config: &PluginConfig) -> Result<Self, Error> {
        Ok(Self {
            latency: Duration::from_millis(number(config, "latency", 50)?.into()),
            log: config.get("log").cloned(),
        })
    }

    /// One request: it takes as long as it takes, whatever else is under way.
    async fn ask(&self, what: &str, key_id: &str) -> Result<(), Error> {
        self.note(what)?;
        sleep(self.latency).await;
        match key_id {
            "denied" => Err(Error::access_denied("the toy is not yours").of_token(&token())),
            _ => Ok(()),
        }
    }

    fn note(&self, what: &str) -> Result<(), Error> {
        let Some(path) = &self.log else {
            return Ok(());
        };
        let line = format!("{} {what}\n", std::process::id());
        File::options()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut log| log.write_all(line.as_bytes()))
            .map_err(|error| Error::other(format!("{path}: {error}")))
    }
}

fn number(config: &PluginConfig, name: &str, usual: u32) -> Result<u32, Error> {
    let Some(text) = config.get(name) else {
        return Ok(usual);
    };
    text.parse()
        .map_err(|_| Error::validation(format!("{name} is no number: {text:?}")))
}

fn token() -> Token {
    Token {
        label: Some("toy box".into()),
        serial: Some("1".into()),
        ..Token::default()
    }
}

fn public_key() -> Result<Vec<u8>, Error> {
    Ok(chain::public_key(LEAF)?.to_spki_der()?)
}

impl AsyncPlugin for Toy {
    type Key = ToyKey;

    fn metadata(&self) -> Metadata {
        Metadata::new(
            "toy",
            "A key store that is far away, for tests",
            "1.0.0",
            "https://example.com/toy",
        )
        .with(Capability::Keys)
        .with(Capability::Attest)
        .with_settings([
            Setting::new("latency", "milliseconds from a request to its answer"),
            Setting::new("in-flight", "how many signatures may be under way"),
            Setting::path("log", "a file for what is done"),
        ])
    }

    async fn open(&self, request: &KeyRequest<'_>, _: &Context<'_>) -> Result<ToyKey, Error> {
        let place = Place::of(request.config)?;
        place.ask("open", request.key_id).await?;
        Ok(ToyKey {
            place,
            in_flight: number(request.config, "in-flight", 200)?,
            public: public_key()?,
            chain: match request.purpose {
                // A key that was just made has no certificate.
                Purpose::Certify => Vec::new(),
                _ => vec![LEAF.to_vec(), ROOT.to_vec()],
            },
        })
    }

    async fn list_keys(
        &self,
        request: &ListKeysRequest,
        _: &Context<'_>,
    ) -> Result<ListKeysResponse, Error> {
        let place = Place::of(&request.plugin_config)?;
        place.ask("list-keys", &request.key_id).await?;
        let key = |name: &str| KeyEntry {
            key_id: name.to_owned(),
            key_spec: Some(KeySpec::Ec256),
            description: format!("the toy {name}"),
            label: Some(name.to_owned()),
            token: Some(token()),
            ..KeyEntry::default()
        };
        Ok(ListKeysResponse {
            keys: ["bear", "taken"].map(key).into(),
            ..ListKeysResponse::default()
        })
    }

    async fn create_key(
        &self,
        request: &CreateKeyRequest,
        _: &Context<'_>,
    ) -> Result<CreateKeyResponse, Error> {
        let place = Place::of(&request.plugin_config)?;
        place.ask("create-key", &request.key_id).await?;
        if request.key_spec != KeySpec::Ec256 {
            return Err(Error::validation("the toy makes EC-256 keys only"));
        }
        let taken = request.key_id == "taken";
        if taken && !(request.overwrite && request.confirmed) {
            return Err(Error::needs_confirmation("Replace the key taken?"));
        }
        Ok(CreateKeyResponse {
            key_id: request.key_id.clone(),
            key_spec: request.key_spec,
            public_key: public_key()?.into(),
            token: Some(token()),
            replaced: taken.then(|| "the key taken".to_owned()),
        })
    }

    async fn import_certificates(
        &self,
        request: &ImportCertificatesRequest,
        _: &Context<'_>,
    ) -> Result<ImportCertificatesResponse, Error> {
        let place = Place::of(&request.plugin_config)?;
        place.ask("import-certificates", &request.key_id).await?;
        Ok(ImportCertificatesResponse {
            stored: u32::try_from(request.certificate_chain.len()).unwrap_or(u32::MAX),
            replaced: None,
        })
    }

    async fn attest_key(
        &self,
        request: &AttestKeyRequest,
        _: &Context<'_>,
    ) -> Result<AttestKeyResponse, Error> {
        let place = Place::of(&request.plugin_config)?;
        place.ask("attest-key", &request.key_id).await?;
        Ok(AttestKeyResponse {
            format: "toy".into(),
            certificates: Vec::new(),
            statements: vec![Property::new("origin", "this source code")],
            public_key: public_key()?.into(),
        })
    }
}

impl AsyncKey for ToyKey {
    fn key_spec(&self) -> KeySpec {
        KeySpec::Ec256
    }

    fn public_key(&self) -> Result<Vec<u8>, Error> {
        Ok(self.public.clone())
    }

    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.chain.clone())
    }

    fn properties(&self) -> Vec<Property> {
        vec![Property::new("extractable", "yes")]
    }

    fn token(&self) -> Option<Token> {
        Some(token())
    }

    fn max_in_flight(&self) -> u32 {
        self.in_flight
    }

    async fn sign_digest(&self, digest: &[u8], _: &Context<'_>) -> Result<Vec<u8>, Error> {
        self.place.ask("sign-digest", "").await?;
        Ok(key::sign(digest))
    }
}
