//! The plugin signer as the [`Signer`] that `sign` asks for.

use std::future::{Future, ready};
use std::pin::Pin;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::Capability;

use super::{PluginSigner, Route};
use crate::artifact::Kind;
use crate::envelope::{Signed, ToBeSigned};
use crate::plugin::{Event, PluginError};
use crate::sign::{EnvelopeRequest, EnvelopeSigner, GeneratedEnvelope, Signer, SignerError};

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

    fn envelopes(&self) -> Option<&dyn EnvelopeSigner> {
        (self.route == Route::GenerateEnvelope).then_some(self)
    }

    fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }
}

impl EnvelopeSigner for PluginSigner {
    fn envelope<'a>(
        &'a self,
        request: &'a EnvelopeRequest<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<GeneratedEnvelope, SignerError>> + Send + 'a>> {
        Box::pin(async move {
            let made = self.make_envelope(request).await;
            made.map_err(|error| SignerError::new(self.in_context(error)))
        })
    }
}

impl PluginSigner {
    async fn make_envelope(
        &self,
        request: &EnvelopeRequest<'_>,
    ) -> Result<GeneratedEnvelope, PluginError> {
        // BLOB-13: each kind of artifact has a capability of its own.
        let plugin = self.plugin.file.name.clone();
        let (needed, missing) = match request.kind {
            Kind::Blob => {
                let missing = PluginError::CannotSignBlobs { plugin };
                (Capability::EnvelopeForBlob, missing)
            }
            Kind::Oci => (Capability::Envelope, PluginError::CannotSign { plugin }),
        };
        if !self.metadata.capabilities.contains(&needed) {
            return Err(missing);
        }
        let answer = self
            .generate_envelope(
                request.payload,
                request.payload_type,
                request.format.media_type(),
                request.expiry,
            )
            .await?;
        self.plugin.host.told.tell(Event::CheckEnvelope);
        Ok(GeneratedEnvelope {
            bytes: answer.signature_envelope.0,
            annotations: answer.annotations,
        })
    }
}
