//! The host as runner of verification plugins: what a signature names, found and run.
//!
//! `verify` decides when that may happen (only for a trusted chain, SEC-24), what is asked and what
//! the answer means (VER-35 to VER-43). Such a plugin has the environment that a signing plugin has
//! (PLG-10), where its service's credentials are.

use hardsign_plugin::proto::{
    Metadata, PluginConfig, VerifySignatureRequest, VerifySignatureResponse,
};

use super::{Host, Plugin, PluginError};
use crate::verify::{Extension, ExtensionFailure};

impl Extension for Host {
    async fn describe(
        &self,
        plugin: &str,
        config: &PluginConfig,
    ) -> Result<Metadata, ExtensionFailure> {
        let plugin = named(self, plugin)?;
        plugin.metadata(config).await.map_err(failed)
    }

    async fn verify(
        &self,
        plugin: &str,
        request: &VerifySignatureRequest,
    ) -> Result<VerifySignatureResponse, ExtensionFailure> {
        let plugin = named(self, plugin)?;
        plugin.verify_signature(request).await.map_err(failed)
    }
}

fn named(host: &Host, name: &str) -> Result<Plugin, ExtensionFailure> {
    let file = host
        .finder()
        .find(name)
        .map_err(|error| ExtensionFailure::NotFound(Box::new(error)))?;
    Ok(host.run_for_signature(file))
}

fn failed(error: PluginError) -> ExtensionFailure {
    ExtensionFailure::Failed(Box::new(error))
}
