//! Whole envelopes of a plugin (PLG-32 to PLG-34): a process for each.

use async_trait::async_trait;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::Capability;

use super::Holder;
use crate::artifact::Kind;
use crate::event::{Event, Observer as _};
use crate::plugin::{PluginError, PluginErrorKind};
use crate::sign::{EnvelopeRequest, EnvelopeSigner, GeneratedEnvelope, SignerError};

/// A plugin that makes whole envelopes.
#[derive(Debug)]
pub struct EnvelopeGenerator {
    holder: Holder,
    /// Looked up for files alone, which are hashed by what the key needs (BLOB-14).
    key_spec: Option<KeySpec>,
}

impl EnvelopeGenerator {
    pub(super) async fn open(holder: Holder) -> Result<Self, PluginError> {
        let is_asked = holder.kind == Kind::Blob && holder.store.has(needed_for(Kind::Blob));
        let key_spec = match is_asked {
            true => Some(holder.describe_key().await?),
            false => None,
        };
        Ok(Self { holder, key_spec })
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The key's type and size.
    ///
    /// # Errors
    /// [`PluginErrorKind::CannotSignBlobs`] for a plugin that makes envelopes for artifacts only: it
    /// tells nothing of its key.
    pub fn key_spec(&self) -> Result<KeySpec, PluginError> {
        self.key_spec
            .ok_or_else(|| self.cannot_sign(self.holder.kind))
    }

    fn cannot_sign(&self, kind: Kind) -> PluginError {
        self.holder.plugin().error(match kind {
            Kind::Blob => PluginErrorKind::CannotSignBlobs,
            Kind::Oci => PluginErrorKind::CannotSign,
        })
    }

    async fn generate(
        &self,
        request: &EnvelopeRequest<'_>,
    ) -> Result<GeneratedEnvelope, PluginError> {
        let holder = &self.holder;
        if !holder.store.has(needed_for(request.kind)) {
            return Err(self.cannot_sign(request.kind));
        }
        holder.check_not_denied()?;
        let answer = holder
            .generate_envelope(request)
            .await
            .inspect_err(|error| holder.note_denial(error))?;
        holder
            .plugin()
            .host
            .listener
            .observe(&Event::PluginEnvelope);
        Ok(GeneratedEnvelope {
            bytes: answer.signature_envelope.0,
            annotations: answer.annotations,
        })
    }
}

#[async_trait]
impl EnvelopeSigner for EnvelopeGenerator {
    async fn envelope(
        &self,
        request: &EnvelopeRequest<'_>,
    ) -> Result<GeneratedEnvelope, SignerError> {
        let made = self.generate(request).await;
        made.map_err(|error| self.holder.failed(error))
    }
}

/// BLOB-13: each kind of artifact has a capability of its own.
const fn needed_for(kind: Kind) -> &'static Capability {
    match kind {
        Kind::Blob => &Capability::EnvelopeForBlob,
        Kind::Oci => &Capability::Envelope,
    }
}
