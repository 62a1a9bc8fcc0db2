//! A key of the transit engine, opened: one login, one look, then one request a signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use hardsign_plugin::proto::{Property, Token};
use hardsign_plugin::{AsyncKey, Context, Error, KeyRequest, Purpose};
use hardsign_plugin_kms::{certificates, check_signature};
use reqwest::Method;
use serde_json::{Value, json};

use crate::SERVICE;
use crate::config::Config;
use crate::transit::{Transit, Version};

/// An open key.
pub(crate) struct TransitKey {
    transit: Transit,
    version: Version,
    chain: Vec<Vec<u8>>,
}

impl TransitKey {
    pub(crate) async fn open(
        request: &KeyRequest<'_>,
        context: &Context<'_>,
    ) -> Result<Self, Error> {
        // Before the login, which may use up a secret.
        let config = Config::read(request)?.named()?;
        let transit = Transit::open(config, context).await?;
        let version = transit.version(context).await?;
        // What is opened for other purposes may be looked at alone.
        if request.purpose == Purpose::Sign {
            version.usable(&transit.config.display())?;
        }
        let chain = certificates(request, &version.public, &version.certificates)?;
        Ok(Self {
            transit,
            version,
            chain,
        })
    }

    async fn sign(
        &self,
        digest: &[u8],
        scheme: &str,
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        let hash = match self.version.spec.hash() {
            HashAlgorithm::Sha256 => "sha2-256",
            HashAlgorithm::Sha384 => "sha2-384",
            HashAlgorithm::Sha512 => "sha2-512",
        };
        let body = json!({
            "input": STANDARD.encode(digest),
            "prehashed": true,
            "hash_algorithm": hash,
            "signature_algorithm": scheme,
            "salt_length": "hash",
            "marshaling_algorithm": "asn1",
            "key_version": self.version.number,
        });
        let key = &self.transit.config.key;
        let what = format!("signing with {}", self.transit.config.display());
        let path = format!("sign/{key}");
        let answer = self
            .transit
            .ask(&what, Method::POST, &path, Some(&body), context)
            .await?;
        let text = answer
            .as_ref()
            .and_then(|answer| answer.pointer("/data/signature"));
        let text = text.and_then(Value::as_str).unwrap_or_default();
        let signature = self.unwrap(text)?;
        check_signature(self.version.spec, &signature, true)
            .map_err(|fault| fault.into_error(SERVICE))
    }

    /// `vault:v3:BASE64`
    fn unwrap(&self, text: &str) -> Result<Vec<u8>, Error> {
        let mut parts = text.splitn(3, ':');
        let (_, version, signature) = (parts.next(), parts.next(), parts.next());
        let number = version.and_then(|version| version.strip_prefix('v')?.parse::<u32>().ok());
        let signature = signature.and_then(|signature| STANDARD.decode(signature).ok());
        match (number, signature) {
            (Some(number), Some(signature)) if number == self.version.number => Ok(signature),
            (Some(number), Some(_)) => Err(Error::other(format!(
                "{SERVICE} signed with version {number} where {} was asked for",
                self.version.number
            ))
            .with_hint("the signature was not used")),
            _ => Err(Error::other(format!("{SERVICE} gave no signature"))
                .with_hint("the answer was not used; check VAULT_ADDR and the proxy settings")),
        }
    }
}

impl AsyncKey for TransitKey {
    fn key_spec(&self) -> KeySpec {
        self.version.spec
    }

    fn public_key(&self) -> Result<Vec<u8>, Error> {
        Ok(self.version.public.to_spki_der()?)
    }

    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.chain.clone())
    }

    fn properties(&self) -> Vec<Property> {
        self.version.properties.clone()
    }

    fn token(&self) -> Option<Token> {
        Some(self.transit.place())
    }

    fn max_in_flight(&self) -> u32 {
        self.transit.pace.in_flight(self.transit.config.in_flight)
    }

    fn keeps_one_chain(&self) -> bool {
        true
    }

    fn signs_pkcs1v15(&self) -> bool {
        self.version.spec.is_rsa()
    }

    async fn sign_digest(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        self.sign(digest, "pss", context).await
    }

    async fn sign_digest_pkcs1v15(
        &self,
        digest: &[u8],
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        self.sign(digest, "pkcs1v15", context).await
    }
}
