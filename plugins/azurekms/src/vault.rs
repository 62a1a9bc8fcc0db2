//! Requests to a vault, and the checks of what it answers.

use std::future::Future;
use std::sync::Arc;

use azure_core::Result as CallResult;
use azure_core::http::StatusCode;
use azure_security_keyvault_certificates::models::CertificateClientGetCertificateOptions;
use azure_security_keyvault_certificates::{CertificateClient, CertificateClientOptions};
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, Key, KeyClientGetKeyOptions, KeyClientSignOptions, KeyProperties,
    SignParameters, SignatureAlgorithm,
};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use futures_util::TryStreamExt as _;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin::proto::{Property, Token};
use hardsign_plugin::{Context, Error, KeyRequest};
use hardsign_plugin_kms::{Failure, Pace, check_signature, number};

use crate::SERVICE;
use crate::credential::{Chain, once};
use crate::error::{Asked, failed};
use crate::id::{KeyName, Place};
use crate::public::public_key;

/// What signing needs.
const SIGN: &str = "keys/get and keys/sign (role Key Vault Crypto User)";

/// What lists need.
const LIST: &str = "keys/list and keys/get (role Key Vault Crypto User)";

/// What making keys needs.
const CREATE: &str = "keys/create and keys/get (role Key Vault Crypto Officer)";

/// What the certificate of a key needs; without it a certificate is taken from a file.
const CERTIFICATE: &str = "certificates/get (role Key Vault Certificate User)";

/// A vault, and who asks it.
pub(crate) struct Vault {
    keys: KeyClient,
    pub(crate) pace: Pace,
    credential: Arc<Chain>,
    place: Place,
}

/// One version of a key that can make Notary Project signatures.
pub(crate) struct Version {
    /// With its version.
    pub(crate) name: KeyName,
    pub(crate) public: PublicKey,
    pub(crate) spec: KeySpec,
    /// The service's own name of the type, for instance `EC-HSM`.
    pub(crate) kind: String,
    /// Whether it is the key of a certificate of the vault.
    pub(crate) of_certificate: bool,
    pub(crate) properties: Vec<Property>,
}

impl Vault {
    pub(crate) async fn open(request: &KeyRequest<'_>, place: Place) -> Result<Self, Error> {
        let pace = Pace::new(SERVICE, number(request, "rate", 10_000)?);
        let credential = Chain::read(request)?;
        let wrong = |error: azure_core::Error| {
            Error::validation(format!("the vault's address is not valid: {error}"))
        };
        let options = KeyClientOptions {
            client_options: once(),
            ..KeyClientOptions::default()
        };
        let keys = KeyClient::new(&place.address(), credential.clone(), Some(options));
        let keys = keys.map_err(wrong)?;
        // Before the first request, whose time is not enough for all the places where a credential
        // may be. The vault names the same scope in its challenge.
        let host = place.host.split(':').next().unwrap_or_default();
        if let Some((_, domain)) = host.split_once('.') {
            credential
                .token(&[&format!("https://{domain}/.default")])
                .await?;
        }
        Ok(Self {
            keys,
            pace,
            credential,
            place,
        })
    }

    /// A request, repeated where that helps and does no harm.
    async fn ask<T, F>(
        &self,
        asked: Asked<'_>,
        context: &Context<'_>,
        send: impl Fn() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = CallResult<T>>,
    {
        self.pace
            .ask(context, || async {
                send().await.map_err(|error| failed(asked, &error))
            })
            .await
    }

    /// The version that the name has, or the newest.
    pub(crate) async fn version(
        &self,
        name: &KeyName,
        context: &Context<'_>,
    ) -> Result<Version, Error> {
        let what = format!("looking up {name}");
        let asked = Asked {
            what: &what,
            permission: SIGN,
        };
        let key = self.ask(asked, context, || self.get(name)).await?;
        read_version(name, &key)
    }

    async fn get(&self, name: &KeyName) -> CallResult<Key> {
        let options = KeyClientGetKeyOptions {
            key_version: name.version.clone(),
            ..KeyClientGetKeyOptions::default()
        };
        let answer = self.keys.get_key(&name.key, Some(options)).await?;
        answer.into_model()
    }

    /// What the vault has of a key; `None` if it has no such key.
    pub(crate) async fn find(
        &self,
        name: &KeyName,
        context: &Context<'_>,
    ) -> Result<Option<Key>, Error> {
        let what = format!("looking up {name}");
        let asked = Asked {
            what: &what,
            permission: CREATE,
        };
        self.pace
            .ask(context, || async {
                let found = self.get(name).await;
                Failure::or_none(found.map_err(|error| failed(asked, &error)))
            })
            .await
    }

    /// The certificate that the vault keeps for a version, DER; `None` if there is none, or if it may not
    /// be read. It is never asked for the secret of the same name: that is the private key.
    pub(crate) async fn certificate(
        &self,
        version: &Version,
        context: &Context<'_>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let what = format!("reading the certificate of {}", version.name);
        let asked = Asked {
            what: &what,
            permission: CERTIFICATE,
        };
        let options = CertificateClientOptions {
            client_options: once(),
            ..CertificateClientOptions::default()
        };
        let address = self.place.address();
        let client = CertificateClient::new(&address, self.credential.clone(), Some(options));
        let client = client.map_err(|error| failed(asked, &error).into_error())?;
        self.pace
            .ask(context, || async {
                let options = CertificateClientGetCertificateOptions {
                    certificate_version: version.name.version.clone(),
                    ..CertificateClientGetCertificateOptions::default()
                };
                let answer = client
                    .get_certificate(&version.name.key, Some(options))
                    .await;
                match answer.and_then(|answer| answer.into_model()) {
                    Ok(certificate) => Ok(certificate.cer),
                    Err(error) => match error.http_status() {
                        Some(StatusCode::Forbidden | StatusCode::NotFound) => Ok(None),
                        _ => Err(failed(asked, &error)),
                    },
                }
            })
            .await
    }

    /// Signs a digest with a version, and gives the signature as the Notary Project has it.
    pub(crate) async fn sign(
        &self,
        version: &Version,
        algorithm: &SignatureAlgorithm,
        digest: &[u8],
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        let what = format!("signing with {}", version.name);
        let asked = Asked {
            what: &what,
            permission: SIGN,
        };
        let answer = self.ask(asked, context, || async {
            let parameters = SignParameters {
                algorithm: Some(algorithm.clone()),
                value: Some(digest.to_vec()),
            };
            let options = KeyClientSignOptions {
                key_version: version.name.version.clone(),
                ..KeyClientSignOptions::default()
            };
            let name = &version.name.key;
            let answer = self.keys.sign(name, parameters.try_into()?, Some(options));
            answer.await?.into_model()
        });
        let answer = answer.await?;
        version.name.pinned(&answer.kid.unwrap_or_default())?;
        let signature = answer.result.unwrap_or_default();
        check_signature(version.spec, &signature, false).map_err(|fault| fault.into_error(SERVICE))
    }

    /// The keys of the vault, or the versions of one; and whether there are more.
    pub(crate) async fn list(
        &self,
        key: Option<&KeyName>,
        most: usize,
        context: &Context<'_>,
    ) -> Result<(Vec<KeyProperties>, bool), Error> {
        let what = match key {
            Some(key) => format!("listing the versions of {key}"),
            None => format!("listing the keys of {}", self.place.host),
        };
        let asked = Asked {
            what: &what,
            permission: LIST,
        };
        self.ask(asked, context, || async {
            let mut pager = match key {
                Some(key) => self.keys.list_key_properties_versions(&key.key, None)?,
                None => self.keys.list_key_properties(None)?,
            };
            let mut all = Vec::new();
            while let Some(properties) = pager.try_next().await? {
                if all.len() == most {
                    return Ok((all, true));
                }
                all.push(properties);
            }
            Ok((all, false))
        })
        .await
    }

    /// Makes a key, or a new version of one. Not repeated: it costs money.
    pub(crate) async fn create(
        &self,
        name: &KeyName,
        wanted: CreateKeyParameters,
        context: &Context<'_>,
    ) -> Result<Version, Error> {
        let what = format!("making key {name}");
        let asked = Asked {
            what: &what,
            permission: CREATE,
        };
        let sent = async {
            let answer = self.keys.create_key(&name.key, wanted.try_into()?, None);
            answer.await?.into_model()
        };
        let made = self.pace.ask_once(context, sent).await?;
        let made: Key = made.map_err(|error| failed(asked, &error).into_error())?;
        read_version(name, &made)
    }
}

/// Where the keys are.
pub(crate) fn place(host: &str, kind: &str) -> Token {
    let model = if kind.ends_with("-HSM") {
        "HSM"
    } else {
        "software"
    };
    Token {
        label: Some(host.to_owned()),
        manufacturer: Some(SERVICE.to_owned()),
        model: Some(model.to_owned()),
        ..Token::default()
    }
}

/// Reads what the service says of a key, and refuses one that may not sign.
pub(crate) fn read_version(name: &KeyName, answer: &Key) -> Result<Version, Error> {
    let nothing = || Error::other(format!("{SERVICE} does not say what {name} is"));
    let key = answer.key.as_ref().ok_or_else(nothing)?;
    let pinned = name.pinned(key.kid.as_deref().unwrap_or_default())?;
    let (public, spec) = public_key(&pinned.address(), key)?;
    let attributes = answer.attributes.as_ref();
    if attributes.and_then(|attributes| attributes.enabled) == Some(false) {
        return Err(
            Error::validation(format!("{SERVICE}: {pinned} is disabled"))
                .with_hint("enable the key, or name another version"),
        );
    }
    let operations = key.key_ops.as_deref().unwrap_or_default();
    if !operations.iter().any(|operation| operation == "sign") {
        return Err(Error::validation(format!(
            "{SERVICE}: {pinned} may not sign; its operations are: {}",
            operations.join(", ")
        ))
        .with_hint(format!(
            "allow it: az keyvault key set-attributes --id {pinned} --ops sign verify"
        )));
    }
    let kind = key.kty.as_ref().map(ToString::to_string);
    let kind = kind.unwrap_or_default();
    let mut properties = vec![
        Property::new("version", pinned.version.clone().unwrap_or_default()),
        Property::new("type", kind.as_str()),
    ];
    if let Some(attributes) = attributes {
        let exportable = attributes
            .exportable
            .map(|flag| if flag { "yes" } else { "no" });
        let recovery = attributes.recovery_level.as_ref();
        for (name, value) in [
            ("exportable", exportable.map(str::to_owned)),
            ("HSM platform", attributes.hsm_platform.clone()),
            ("expires", attributes.expires.map(|time| time.to_string())),
            ("recovery level", recovery.map(ToString::to_string)),
        ] {
            properties.extend(value.map(|value| Property::new(name, value)));
        }
    }
    Ok(Version {
        name: pinned,
        public,
        spec,
        kind,
        of_certificate: answer.managed == Some(true),
        properties,
    })
}
