//! Contract 1.0, by which plugins without sessions sign: a process for each command (PLG-23 to PLG-29,
//! PLG-32 to PLG-34). `sign-digest` is hardsign's addition to it: the digest alone travels.
//!
//! Answers are bounded, for the right key and of the right algorithm and length; they are not verified.

use hardsign_plugin::algorithm::{KeySpec, SignatureAlgorithm};
use hardsign_plugin::proto::{
    Base64, CONTRACT_VERSION, Command, DescribeKeyRequest, ErrorCode, GenerateEnvelopeRequest,
    GenerateEnvelopeResponse, GenerateSignatureRequest, SignDigestRequest,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::Holder;
use crate::envelope::SignerChain;
use crate::event::{Event, Observer as _};
use crate::plugin::text::cut;
use crate::plugin::{AnswerFault, PluginError, PluginErrorKind};
use crate::sign::EnvelopeRequest;

/// `describe-key`'s answer before its names are looked up, so that each fault has its own text.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DescribeKeyAnswer {
    key_id: String,
    key_spec: String,
}

/// `generate-signature`'s answer, likewise.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SignatureAnswer {
    key_id: String,
    signature: Base64,
    signing_algorithm: String,
    certificate_chain: Vec<Base64>,
}

impl Holder {
    /// `describe-key` (PLG-23 to PLG-25).
    pub(super) async fn describe_key(&self) -> Result<KeySpec, PluginError> {
        let request = DescribeKeyRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: self.id.clone(),
            plugin_config: self.store.config.clone(),
        };
        let answer: DescribeKeyAnswer = self.ask(&Command::DescribeKey, &request).await?;
        let plugin = self.plugin();
        plugin.check_key("describeKey", &answer.key_id, &self.id)?;
        let key_spec = answer.key_spec.parse();
        key_spec.map_err(|_| plugin.unknown_key_spec(&self.id, &answer.key_spec))
    }

    /// A signature and the chain that came with it, by `sign-digest` or by `generate-signature` (PLG-26
    /// to PLG-29), for which the payload travels.
    pub(super) async fn sign_once(
        &self,
        key_spec: KeySpec,
        message: &[u8],
        digest: &[u8],
    ) -> Result<(Vec<u8>, SignerChain), PluginError> {
        let (label, answer): (_, SignatureAnswer) = if self.command == Command::SignDigest {
            let request = SignDigestRequest {
                contract_version: CONTRACT_VERSION.into(),
                key_id: self.id.clone(),
                plugin_config: self.store.config.clone(),
                key_spec,
                hash_algorithm: key_spec.hash(),
                digest: Base64(digest.to_vec()),
            };
            ("signDigest", self.ask(&self.command, &request).await?)
        } else {
            let request = GenerateSignatureRequest {
                contract_version: CONTRACT_VERSION.into(),
                key_id: self.id.clone(),
                key_spec,
                hash_algorithm: key_spec.hash(),
                payload: Base64(message.to_vec()),
                plugin_config: self.store.config.clone(),
            };
            (
                "generateSignature",
                self.ask(&self.command, &request).await?,
            )
        };
        let plugin = self.plugin();
        plugin.check_key(label, &answer.key_id, &self.id)?;
        let chain = SignerChain::from(plugin.check_chain(answer.certificate_chain)?);
        let expected = key_spec.signature_algorithm();
        if answer.signing_algorithm.parse() != Ok::<SignatureAlgorithm, _>(expected) {
            let wrong = plugin.error(AnswerFault::WrongAlgorithm {
                answer: label,
                answered: cut(&answer.signing_algorithm),
                expected,
            });
            return Err(plugin.chain_first(wrong, &chain));
        }
        let signature = plugin.check_signature(answer.signature, key_spec, &chain)?;
        Ok((signature, chain))
    }

    /// `generate-envelope` (PLG-32 to PLG-34). What the envelope says is not looked at.
    pub(super) async fn generate_envelope(
        &self,
        request: &EnvelopeRequest<'_>,
    ) -> Result<GenerateEnvelopeResponse, PluginError> {
        let request = GenerateEnvelopeRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: self.id.clone(),
            payload_type: request.payload_type.into(),
            signature_envelope_type: request.format.media_type().into(),
            payload: request.payload.to_vec().into(),
            expiry_duration_in_seconds: request.expiry.map_or(0, |expiry| expiry.as_secs()),
            plugin_config: self.store.config.clone(),
        };
        let plugin = self.plugin();
        let answer: GenerateEnvelopeResponse = self
            .ask(&self.command, &request)
            .await
            .map_err(|error| plugin.error(PluginErrorKind::Envelope(Box::new(error))))?;
        if answer.signature_envelope_type == request.signature_envelope_type {
            return Ok(answer);
        }
        Err(plugin.error(AnswerFault::WrongEnvelopeType {
            answered: cut(&answer.signature_envelope_type),
            asked: request.signature_envelope_type,
        }))
    }

    /// Asks, and asks again what a foreign plugin says was throttled or took too long (PLG-09). Our own
    /// plugins do that themselves, within the request's time.
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        command: &Command,
        request: &Q,
    ) -> Result<A, PluginError> {
        let plugin = self.plugin();
        let clock = plugin.host.one_shot_clock();
        let ask = || plugin.ask(command, request, clock, Some(&self.id));
        let is_foreign = !self
            .store
            .metadata
            .capabilities
            .iter()
            .any(|capability| capability.name().starts_with("HARDSIGN."));
        let mut pause = plugin.host.clocks.backoff;
        for _ in 1..ATTEMPTS {
            match ask().await {
                Err(error)
                    if is_foreign
                        && matches!(
                            error.code(),
                            Some(ErrorCode::Throttled | ErrorCode::Timeout)
                        ) =>
                {
                    plugin.host.listener.observe(&Event::PluginAgain {
                        plugin: plugin.file.name.as_str(),
                        reason: "it was throttled",
                    });
                }
                result => return result,
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = plugin.host.interrupt.raised() => break,
            }
            pause = pause.saturating_mul(2);
        }
        ask().await
    }
}

/// How often a throttled request to a foreign plugin is made.
const ATTEMPTS: u32 = 3;
