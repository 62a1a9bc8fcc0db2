//! The transit engine: what it says of a key.

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::{self, PublicKey};
use hardsign_plugin::proto::{Property, Token as Place};
use hardsign_plugin::{Context, Error};
use hardsign_plugin_kms::{Failure, Pace, key_spec, public_key_pem, refuse_key, warn_without_tls};
use reqwest::Method;
use serde_json::Value;

use crate::SERVICE;
use crate::client::Client;
use crate::config::Config;
use crate::error::{Asked, RESTORE};
use crate::login::Token;

/// The engine, logged in to.
pub(crate) struct Transit {
    pub(crate) config: Config,
    pub(crate) pace: Pace,
    client: Client,
    token: Token,
}

/// One version of a key.
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) public: PublicKey,
    pub(crate) spec: KeySpec,
    /// The certificates that are kept beside it, in DER.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// The engine's own name of the type, for instance `ecdsa-p384`.
    pub(crate) kind: String,
    /// Whether the key is deleted and can be had back (OpenBao).
    pub(crate) deleted: bool,
    pub(crate) properties: Vec<Property>,
}

impl Version {
    /// Refuses a key that is deleted, before anything is signed with it.
    pub(crate) fn usable(&self, name: &str) -> Result<(), Error> {
        match self.deleted {
            true => Err(
                Error::validation(format!("{SERVICE}: {name} is soft-deleted")).with_hint(RESTORE),
            ),
            false => Ok(()),
        }
    }
}

impl Transit {
    pub(crate) async fn open(config: Config, context: &Context<'_>) -> Result<Self, Error> {
        warn_without_tls(config.address.as_str(), context);
        let pace = Pace::new(SERVICE, config.rate);
        let client = Client::new(&config)?;
        let token = Token::get(&config, &client, &pace, context).await?;
        Ok(Self {
            config,
            pace,
            client,
            token,
        })
    }

    /// Where the keys are.
    pub(crate) fn place(&self) -> Place {
        Place {
            label: Some(self.config.place()),
            manufacturer: Some(SERVICE.to_owned()),
            ..Place::default()
        }
    }

    /// One request below the mount, repeated where that helps and does no harm.
    pub(crate) async fn ask(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
        context: &Context<'_>,
    ) -> Result<Option<Value>, Error> {
        let needed = match method {
            Method::GET => "read",
            _ => "update",
        };
        let path = format!("{}/{path}", self.config.mount);
        let capability = format!("{needed} on {path}");
        let asked = Asked {
            what,
            capability: &capability,
        };
        let header = self.token.header(&self.client, &self.pace, context).await;
        self.pace
            .ask(context, || {
                self.client
                    .send(asked, method.clone(), &path, Some(header), body)
            })
            .await
    }

    /// One request that must not be repeated.
    pub(crate) async fn ask_once(
        &self,
        what: &str,
        path: &str,
        body: Option<&Value>,
        context: &Context<'_>,
    ) -> Result<Option<Value>, Error> {
        let path = format!("{}/{path}", self.config.mount);
        let capability = format!("update on {path}");
        let asked = Asked {
            what,
            capability: &capability,
        };
        let header = self.token.header(&self.client, &self.pace, context).await;
        let sent = self
            .client
            .send(asked, Method::POST, &path, Some(header), body);
        self.pace
            .ask_once(context, sent)
            .await?
            .map_err(|failure| failure.into_error())
    }

    /// What the engine says of a key; `None` if it has no such key.
    pub(crate) async fn find(
        &self,
        key: &str,
        context: &Context<'_>,
    ) -> Result<Option<Value>, Error> {
        let what = format!("looking up key {key:?} of {}", self.config.place());
        let path = format!("{}/keys/{key}", self.config.mount);
        let capability = format!("read on {path}");
        let asked = Asked {
            what: &what,
            capability: &capability,
        };
        let header = self.token.header(&self.client, &self.pace, context).await;
        let answer = self.pace.ask(context, || async {
            let sent = self
                .client
                .send(asked, Method::GET, &path, Some(header), None);
            Failure::or_none(sent.await).map(Option::flatten)
        });
        let answer = answer.await?;
        Ok(answer.and_then(|mut answer| answer.get_mut("data").map(Value::take)))
    }

    /// The version that the user names, or the newest.
    pub(crate) async fn version(&self, context: &Context<'_>) -> Result<Version, Error> {
        let name = self.config.display();
        let data = self.find(&self.config.key, context).await?.ok_or_else(|| {
            Error::validation(format!("{SERVICE}: there is no {name}")).with_hint(
                "check the name of the key, the mount and the namespace; `vault list transit/keys` shows what is there",
            )
        })?;
        read_version(&name, self.config.version, &data)
    }
}

/// Reads what the engine says of a key.
pub(crate) fn read_version(
    name: &str,
    wanted: Option<u32>,
    data: &Value,
) -> Result<Version, Error> {
    let kind = data
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or("of no type");
    let newest = data.get("latest_version").and_then(Value::as_u64);
    let newest = newest.and_then(|version| u32::try_from(version).ok());
    let number = wanted
        .or(newest)
        .ok_or_else(|| Error::other(format!("{SERVICE} does not say which versions {name} has")))?;
    let least = data
        .get("min_encryption_version")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    if u64::from(number) < least {
        return Err(Error::validation(format!(
            "version {number} of {name} must no longer sign: the least version is {least}"
        ))
        .with_hint(format!(
            "name a version from {least} on, or none for the newest"
        )));
    }
    let version = data.pointer(&format!("/keys/{number}"));
    let Some(version) = version else {
        return Err(Error::validation(format!("{name} has no version {number}"))
            .with_hint("the newest version is taken where none is named"));
    };
    let Some(pem) = version.get("public_key").and_then(Value::as_str) else {
        return Err(refuse_key(name, &format!("of type {kind}")));
    };
    if kind == "ed25519" {
        return Err(refuse_key(name, "of type ed25519"));
    }
    let public = public_key_pem(SERVICE, pem)?;
    let spec = key_spec(name, &public)?;
    let chain = version.get("certificate_chain").and_then(Value::as_str);
    let certificates = match chain.filter(|chain| !chain.trim().is_empty()) {
        Some(pem) => chain::parse_file(pem.as_bytes())?,
        None => Vec::new(),
    };
    Ok(Version {
        number,
        public,
        spec,
        certificates,
        kind: kind.to_owned(),
        deleted: data.get("soft_deleted").and_then(Value::as_bool) == Some(true),
        properties: properties(number, kind, data),
    })
}

fn properties(number: u32, kind: &str, data: &Value) -> Vec<Property> {
    let mut said = vec![
        Property::new("version", number.to_string()),
        Property::new("type", kind),
    ];
    for (member, name) in [
        ("exportable", "exportable"),
        ("allow_plaintext_backup", "backup in plain text"),
        ("imported_key", "imported"),
        ("deletion_allowed", "deletable"),
        ("soft_deleted", "soft-deleted"),
    ] {
        if let Some(flag) = data.get(member).and_then(Value::as_bool) {
            said.push(Property::new(name, if flag { "yes" } else { "no" }));
        }
    }
    said
}
