//! From a request to its answer, both JSON: the same for a command of its own and in a session.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::Digest as _;

use super::malformed;
use crate::Error;
use crate::algorithm::{HashAlgorithm, KeySpec};
use crate::asynchronous::{AsyncKey, AsyncPlugin};
use crate::context::Context;
use crate::error::ErrorCode;
use crate::plugin::KeyRequest;
use crate::proto::{
    AttestKeyRequest, Base64, CONTRACT_VERSION, Command, CreateKeyRequest, DescribeKeyRequest,
    DescribeKeyResponse, GenerateSignatureRequest, GenerateSignatureResponse, GetMetadataRequest,
    ImportCertificatesRequest, Interaction, Metadata, OpenRequest, OpenResponse, PinPolicy,
    PluginConfig, Purpose, SessionSignRequest, SessionSignResponse, SignDigestRequest,
    SignatureScheme, TouchPolicy,
};

/// A plugin, and what it says of itself.
pub(super) struct Handler<'p, P> {
    plugin: &'p P,
    pub(super) metadata: Metadata,
}

/// Requests that wait for their turn at most.
const AHEAD: u32 = 8;

/// A key that is open, and how it was asked for.
pub(super) struct Opened<K> {
    key: K,
    key_id: String,
    purpose: Purpose,
}

impl<K: AsyncKey> Opened<K> {
    /// How many signatures may be under way: no more than `most`.
    pub(super) fn in_flight(&self, most: u32) -> u32 {
        self.key.max_in_flight().clamp(1, most)
    }

    /// How many requests the host may have under way: some more, which wait here, so that whoever has made a signature need
    /// not wait for the host. Where a person has to do something for each, none wait.
    fn requests(&self, most: u32) -> u32 {
        let in_flight = self.in_flight(most);
        match self.key.interaction() {
            Interaction::None => in_flight.saturating_add(in_flight.min(AHEAD)),
            _ => in_flight,
        }
    }
}

impl<'p, P: AsyncPlugin> Handler<'p, P> {
    pub(super) fn new(plugin: &'p P) -> Self {
        Self {
            plugin,
            metadata: plugin.metadata(),
        }
    }

    /// Answers a command. `open` is the key of the session, if there is one.
    pub(super) async fn answer(
        &self,
        command: &Command,
        request: &[u8],
        open: Option<&Opened<P::Key>>,
        context: &Context<'_>,
    ) -> Result<Box<RawValue>, Error> {
        match command {
            Command::GetPluginMetadata => {
                // A request is optional here: `notation-x get-plugin-metadata </dev/null`.
                if !request.trim_ascii().is_empty() {
                    parse::<GetMetadataRequest>(request)?;
                }
                json(&self.metadata)
            }
            Command::DescribeKey => {
                let request = self.parse_versioned(request)?;
                json(&self.describe(request, open, context).await?)
            }
            Command::GenerateSignature => {
                let request: GenerateSignatureRequest = self.parse_versioned(request)?;
                let digest = digest(request.hash_algorithm, &request.payload.0);
                let request = SignDigestRequest {
                    contract_version: request.contract_version,
                    key_id: request.key_id,
                    plugin_config: request.plugin_config,
                    key_spec: request.key_spec,
                    hash_algorithm: request.hash_algorithm,
                    digest: digest.into(),
                };
                json(&self.sign_once(request, context).await?)
            }
            Command::SignDigest => {
                let request = self.parse_versioned(request)?;
                json(&self.sign_once(request, context).await?)
            }
            Command::ListKeys => {
                let request = self.parse_versioned(request)?;
                json(&self.plugin.list_keys(&request, context).await?)
            }
            Command::CreateKey => {
                let request: CreateKeyRequest = self.parse_versioned(request)?;
                check_creation(&request)?;
                json(&self.plugin.create_key(&request, context).await?)
            }
            Command::ImportCertificates => {
                let request: ImportCertificatesRequest = self.parse_versioned(request)?;
                check_key_id(&request.key_id)?;
                if request.certificate_chain.is_empty() {
                    return Err(Error::validation("certificateChain is empty"));
                }
                json(&self.plugin.import_certificates(&request, context).await?)
            }
            Command::AttestKey => {
                let request: AttestKeyRequest = self.parse_versioned(request)?;
                check_key_id(&request.key_id)?;
                json(&self.plugin.attest_key(&request, context).await?)
            }
            Command::GenerateTestKey => {
                let request = self.parse_versioned(request)?;
                json(&self.plugin.generate_test_key(&request, context).await?)
            }
            Command::SetUpToken => {
                let request = self.parse_versioned(request)?;
                json(&self.plugin.set_up_token(&request, context).await?)
            }
            Command::GenerateEnvelope => {
                let request = self.parse_versioned(request)?;
                json(&self.plugin.generate_envelope(&request, context).await?)
            }
            Command::VerifySignature => {
                let request = self.parse_versioned(request)?;
                json(&self.plugin.verify_signature(&request, context).await?)
            }
            Command::Session | Command::Unknown(_) => {
                Err(Error::validation(format!("{command} is not supported")))
            }
        }
    }

    /// Answers `open`: the key, if the session is for one. No more than `most` signatures will be
    /// under way.
    pub(super) async fn open_session(
        &self,
        request: &[u8],
        most: u32,
        context: &Context<'_>,
    ) -> Result<(Option<Opened<P::Key>>, OpenResponse), Error> {
        let OpenRequest {
            key_id,
            plugin_config,
            purpose,
            ..
        } = self.parse_versioned(request)?;
        let Some(key_id) = key_id else {
            let response = OpenResponse {
                max_in_flight: 1,
                ..OpenResponse::default()
            };
            return Ok((None, response));
        };
        let key = self.open(&key_id, &plugin_config, purpose, context).await?;
        let opened = Opened {
            key,
            key_id: key_id.clone(),
            purpose,
        };
        let key = &opened.key;
        let pkcs1v15 = purpose == Purpose::Certify && key.signs_pkcs1v15();
        let response = OpenResponse {
            key_id: Some(key_id),
            key_spec: Some(key.key_spec()),
            public_key: public_key(key, purpose)?,
            certificate_chain: certificate_chain(key, purpose)?,
            max_in_flight: opened.requests(most),
            interaction: key.interaction(),
            signature_schemes: pkcs1v15
                .then_some(SignatureScheme::RsassaPkcs1V15)
                .into_iter()
                .collect(),
            token: key.token(),
            one_chain: key.keeps_one_chain(),
        };
        Ok((Some(opened), response))
    }

    /// Answers `sign-digest` of a session.
    pub(super) async fn sign_in_session(
        &self,
        opened: &Opened<P::Key>,
        request: &[u8],
        context: &Context<'_>,
    ) -> Result<Box<RawValue>, Error> {
        let SessionSignRequest {
            digest,
            hash_algorithm,
            signature_scheme,
        } = parse(request)?;
        let Opened { key, purpose, .. } = opened;
        if *purpose == Purpose::Describe {
            return Err(Error::validation("the key was opened to be described only"));
        }
        check_digest(key.key_spec(), hash_algorithm, &digest.0)?;
        let signature = match signature_scheme {
            None => key.sign_digest(&digest.0, context).await?,
            Some(SignatureScheme::RsassaPkcs1V15)
                if *purpose == Purpose::Certify && key.signs_pkcs1v15() =>
            {
                key.sign_digest_pkcs1v15(&digest.0, context).await?
            }
            Some(other) => {
                return Err(Error::validation(format!(
                    "the key was not opened for signatures with {other}"
                )));
            }
        };
        json(&SessionSignResponse {
            signature: checked(key.key_spec(), signature)?,
        })
    }

    async fn describe(
        &self,
        request: DescribeKeyRequest,
        open: Option<&Opened<P::Key>>,
        context: &Context<'_>,
    ) -> Result<DescribeKeyResponse, Error> {
        let purpose = Purpose::Describe;
        let just_opened;
        let key = match open {
            Some(opened) if opened.key_id == request.key_id => &opened.key,
            _ => {
                let config = &request.plugin_config;
                just_opened = self.open(&request.key_id, config, purpose, context).await?;
                &just_opened
            }
        };
        Ok(DescribeKeyResponse {
            key_spec: key.key_spec(),
            key_id: request.key_id,
            public_key: public_key(key, purpose)?,
            certificate_chain: certificate_chain(key, purpose)?,
            properties: key.properties(),
            one_chain: key.keeps_one_chain(),
        })
    }

    /// Opens the key, signs, and collects what `generate-signature` and `sign-digest` answer.
    async fn sign_once(
        &self,
        request: SignDigestRequest,
        context: &Context<'_>,
    ) -> Result<GenerateSignatureResponse, Error> {
        let (config, purpose) = (&request.plugin_config, Purpose::Sign);
        // Wrong input is found before the token is touched.
        check_digest(request.key_spec, request.hash_algorithm, &request.digest.0)?;
        let key = self.open(&request.key_id, config, purpose, context).await?;
        let key_spec = key.key_spec();
        if key_spec != request.key_spec {
            return Err(Error::validation(format!(
                "key {:?} is {key_spec}, the request says {}",
                request.key_id, request.key_spec
            )));
        }
        let certificate_chain = certificate_chain(&key, purpose)?;
        let signature = key.sign_digest(&request.digest.0, context).await?;
        Ok(GenerateSignatureResponse {
            key_id: request.key_id,
            signature: checked(key_spec, signature)?,
            signing_algorithm: key_spec.signature_algorithm(),
            certificate_chain,
        })
    }

    async fn open(
        &self,
        key_id: &str,
        config: &PluginConfig,
        purpose: Purpose,
        context: &Context<'_>,
    ) -> Result<P::Key, Error> {
        check_key_id(key_id)?;
        let request = KeyRequest::new(key_id, config, purpose);
        self.plugin.open(&request, context).await
    }

    /// Parses a request that carries a contract version, which is looked at first: a request of
    /// another version may well have other members (PLG-13). Settings that the plugin doesn't know
    /// are refused.
    fn parse_versioned<T: DeserializeOwned>(&self, request: &[u8]) -> Result<T, Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Versioned {
            contract_version: String,
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Configured {
            #[serde(default, deserialize_with = "crate::proto::null_as_default")]
            plugin_config: PluginConfig,
        }
        let Versioned { contract_version } = parse(request)?;
        if contract_version != CONTRACT_VERSION {
            return Err(Error::new(
                ErrorCode::UnsupportedContractVersion,
                format!("{contract_version:?} is not a supported notary plugin contract version"),
            ));
        }
        let Configured { plugin_config } = parse(request)?;
        self.metadata
            .check_settings(&plugin_config)
            .map_err(|unknown| Error::validation(unknown.to_string()).with_hint(unknown.hint()))?;
        parse(request)
    }
}

/// What the key store tells of the public key. Whoever certifies can't do without.
fn public_key(key: &impl AsyncKey, purpose: Purpose) -> Result<Option<Base64>, Error> {
    match key.public_key() {
        Ok(der) => Ok(Some(der.into())),
        Err(error) if purpose == Purpose::Certify => Err(error),
        Err(_) => Ok(None),
    }
}

/// The chain. Whoever signs can't do without.
fn certificate_chain(key: &impl AsyncKey, purpose: Purpose) -> Result<Vec<Base64>, Error> {
    let chain = key.certificate_chain()?;
    if chain.is_empty() && purpose == Purpose::Sign {
        return Err(Error::validation("the key has no certificate").with_hint(
            "give the key its certificate, or name a file with the chain in the plugin config cert-chain",
        ));
    }
    Ok(chain.into_iter().map(Into::into).collect())
}

fn check_key_id(key_id: &str) -> Result<(), Error> {
    match key_id {
        "" => Err(Error::validation("keyId is empty")),
        _ => Ok(()),
    }
}

fn check_creation(request: &CreateKeyRequest) -> Result<(), Error> {
    check_key_id(&request.key_id)?;
    match (&request.pin_policy, &request.touch_policy) {
        (Some(PinPolicy::Unknown(name)), _) => {
            Err(Error::validation(format!("unknown PIN policy {name:?}")))
        }
        (_, Some(TouchPolicy::Unknown(name))) => {
            Err(Error::validation(format!("unknown touch policy {name:?}")))
        }
        _ => Ok(()),
    }
}

/// What a key store signed, if it can be a signature of the key.
fn checked(key_spec: KeySpec, signature: Vec<u8>) -> Result<Base64, Error> {
    if signature.len() == key_spec.signature_len() {
        return Ok(signature.into());
    }
    Err(Error::other(format!(
        "the key store made a signature of {} bytes, {key_spec} has {}",
        signature.len(),
        key_spec.signature_len()
    )))
}

fn check_digest(key_spec: KeySpec, hash: HashAlgorithm, digest: &[u8]) -> Result<(), Error> {
    if hash != key_spec.hash() {
        return Err(Error::validation(format!(
            "{key_spec} goes with {}, not with {hash}",
            key_spec.hash()
        )));
    }
    if digest.len() != hash.output_len() {
        return Err(Error::validation(format!(
            "a digest of {} bytes is not a {hash} digest",
            digest.len()
        )));
    }
    Ok(())
}

/// Hashes a payload.
fn digest(hash: HashAlgorithm, payload: &[u8]) -> Vec<u8> {
    match hash {
        HashAlgorithm::Sha256 => sha2::Sha256::digest(payload).to_vec(),
        HashAlgorithm::Sha384 => sha2::Sha384::digest(payload).to_vec(),
        HashAlgorithm::Sha512 => sha2::Sha512::digest(payload).to_vec(),
    }
}

fn parse<T: DeserializeOwned>(request: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(request).map_err(|error| malformed(&error))
}

/// A value as JSON.
pub(super) fn json<T: Serialize>(answer: &T) -> Result<Box<RawValue>, Error> {
    serde_json::value::to_raw_value(answer)
        .map_err(|error| Error::from_error(ErrorCode::Error, &error))
}
