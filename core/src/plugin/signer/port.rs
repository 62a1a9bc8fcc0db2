//! The plugin signer as the [`Signer`] that `sign` asks for.

use std::future::{Future, ready};

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::Capability;

use super::{PluginSigner, Route};
use crate::envelope::{Signed, ToBeSigned};
use crate::plugin::{Event, PluginError};
use crate::sign::{EnvelopeRequest, GeneratedEnvelope, Signer, SignerError};

impl Signer for PluginSigner {
    fn key_spec(&self) -> impl Future<Output = Result<KeySpec, SignerError>> + Send {
        ready(
            self.key_spec()
                .map_err(|error| SignerError::new(self.in_context(error))),
        )
    }

    async fn sign(&self, message: &ToBeSigned) -> Result<Signed, SignerError> {
        let (signature, certificate_chain) = self
            .sign_bytes(message.bytes(), message.digest())
            .await
            .map_err(|error| SignerError::new(self.in_context(error)))?;
        Ok(Signed {
            signature,
            certificate_chain,
            signing_agent: self.signing_agent(),
        })
    }

    async fn envelope(
        &self,
        request: &EnvelopeRequest<'_>,
    ) -> Result<Option<GeneratedEnvelope>, SignerError> {
        if self.route != Route::GenerateEnvelope {
            return Ok(None);
        }
        // BLOB-13: each kind of artifact has a capability of its own.
        let (needed, missing) = if request.blob {
            let plugin = self.plugin.file.name.clone();
            (
                Capability::EnvelopeForBlob,
                PluginError::CannotSignBlobs { plugin },
            )
        } else {
            let plugin = self.plugin.file.name.clone();
            (Capability::Envelope, PluginError::CannotSign { plugin })
        };
        if !self.metadata.capabilities.contains(&needed) {
            return Err(SignerError::new(self.in_context(missing)));
        }
        let answer = self
            .generate_envelope(
                request.payload,
                request.payload_type,
                request.format.media_type(),
                request.expiry,
            )
            .await
            .map_err(|error| SignerError::new(self.in_context(error)))?;
        self.plugin.host.told.tell(Event::CheckEnvelope);
        Ok(Some(GeneratedEnvelope {
            bytes: answer.signature_envelope.0,
            annotations: answer.annotations,
        }))
    }

    fn makes_envelopes(&self) -> bool {
        self.route() == Route::GenerateEnvelope
    }

    fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }
}
