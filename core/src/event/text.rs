//! Events as lines of the log.

use std::fmt;

use super::{Event, HelperStage};
use crate::artifact::Quoted;
use crate::text::WithCauses;

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRevocable { .. }
            | Self::CrlFallback { .. }
            | Self::RevocationServer { .. }
            | Self::CacheRead { .. }
            | Self::CacheMiss { .. }
            | Self::CacheExpired { .. }
            | Self::CacheRefused { .. }
            | Self::CacheOutdated { .. }
            | Self::CacheStore { .. }
            | Self::CacheUnavailable { .. }
            | Self::CacheFault { .. } => of_revocation(self, f),
            Self::PluginStarted { .. }
            | Self::PluginRoute { .. }
            | Self::PluginRequest { .. }
            | Self::PluginResponse { .. }
            | Self::PluginEnvelope
            | Self::PluginNotice { .. }
            | Self::PluginPrompting { .. }
            | Self::PluginPrompted { .. }
            | Self::PluginAgain { .. }
            | Self::Downloading { .. }
            | Self::Downloaded
            | Self::MadeExecutable { .. } => of_plugins(self, f),
            Self::HttpRequest { .. }
            | Self::HttpResponse { .. }
            | Self::HttpUnanswered { .. }
            | Self::CredentialHelper { .. } => of_servers(self, f),
            _ => of_verification(self, f),
        }
    }
}

/// VER-08, VER-23.
fn of_verification(event: &Event<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match event {
        Event::CheckLevel { reference } => {
            write!(f, "Check verification level against artifact {reference}")
        }
        Event::Statement { statement } => write!(f, "Trust policy configuration: {statement}"),
        Event::Skipping => f.write_str("Skipping signature verification"),
        Event::VerifySignature {
            artifact,
            reference,
            media_type,
        } => write!(
            f,
            "Verify signature against artifact {artifact} referenced as {reference} in signature media type {media_type}"
        ),
        Event::VerifyBlobSignature { media_type } => {
            write!(f, "Verify signature of media type {media_type}")
        }
        Event::ValidateChain => f.write_str("Validating cert chain"),
        Event::ValidateIdentity => f.write_str("Validating trust identity"),
        Event::ValidateHardware => f.write_str("Validating evidence of hardware"),
        Event::ValidateExpiry => f.write_str("Validating expiry"),
        Event::ValidateTimestamp => f.write_str("Validating authentic timestamp"),
        Event::TimestampNeeded => f.write_str("Performing timestamp verification..."),
        Event::TimestampNotNeeded { reason } => {
            write!(f, "Timestamp verification disabled: {reason}")
        }
        Event::TimestampRange { range } => write!(f, "Timestamp range: {range}"),
        Event::TimestampOk => f.write_str("Timestamp verification: Success"),
        Event::ValidateRevocation => f.write_str("Validating revocation"),
        Event::RevocationOk => f.write_str(
            "No verification impacting errors encountered while checking revocation, status is OK",
        ),
        Event::FindVerificationPlugin { plugin } => {
            write!(f, "Finding verification plugin {}", Quoted(plugin))
        }
        Event::RunVerificationPlugin {
            plugin,
            capabilities,
        } => write!(
            f,
            "Executing verification plugin {} with capabilities {capabilities}",
            Quoted(plugin)
        ),
        Event::PluginSurplus { plugin, name } => write!(
            f,
            "verification plugin {} answered {}, which it was not asked",
            Quoted(plugin),
            Quoted(name)
        ),
        Event::CheckFailed { check, error } => {
            write!(
                f,
                "{check} validation failed. Failure reason: {}",
                WithCauses(*error)
            )
        }
        Event::CheckLogged { check, error } => write!(
            f,
            "{check} validation failed with validation action set to \"logged\". Failure reason: {}",
            WithCauses(*error)
        ),
        Event::SignatureFailed { digest, error } => write!(
            f,
            "Signature {digest} failed verification with error: {}",
            WithCauses(*error)
        ),
        Event::SignatureUnreadable { digest, error } => write!(
            f,
            "unable to retrieve digital signature with digest \"{digest}\", error : {}",
            WithCauses(*error)
        ),
        Event::ListedInPart { warning } | Event::TrustStore { warning } => write!(f, "{warning}"),
        Event::SignatureAccepted { artifact, digest } => write!(
            f,
            "Signature verification succeeded for artifact {artifact} with signature digest {digest}"
        ),
        _ => Ok(()),
    }
}

/// REV-02, REV-04, REV-05, REV-49, REV-50.
fn of_revocation(event: &Event<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match event {
        Event::NotRevocable { position, subject } => write!(
            f,
            "Certificate #{position} in the chain with subject {} neither has an OCSP nor a CRL revocation method.",
            Quoted(subject)
        ),
        Event::CrlFallback { position, subject } => write!(
            f,
            "OCSP check failed with unknown error and fallback to CRL check for certificate #{position} in chain with subject {}",
            Quoted(subject)
        ),
        Event::RevocationServer {
            position,
            subject,
            method,
            url,
            error,
            ..
        } => write!(
            f,
            "Certificate #{position} in chain with subject {} encountered an error for revocation method {method} at URL {}: {}",
            Quoted(subject),
            Quoted(url),
            WithCauses(*error)
        ),
        Event::CacheRead { url } => write!(
            f,
            "Retrieving crl bundle from file cache with key {} ...",
            Quoted(url)
        ),
        Event::CacheMiss { url } => {
            write!(f, "CRL file cache miss. Key {} does not exist", Quoted(url))
        }
        Event::CacheExpired { next_update } => write!(
            f,
            "CRL bundle retrieved from file cache has expired at {next_update}"
        ),
        Event::CacheRefused { url, error } => write!(
            f,
            "CRL bundle retrieved from file cache with key {} is not used: {}",
            Quoted(url),
            WithCauses(*error)
        ),
        Event::CacheOutdated { url } => write!(
            f,
            "CRL bundle retrieved from file cache with key {} should have a successor by now",
            Quoted(url)
        ),
        Event::CacheStore { url } => write!(
            f,
            "Storing crl bundle to file cache with key {} ...",
            Quoted(url)
        ),
        Event::CacheUnavailable { error } | Event::CacheFault { error, .. } => {
            write!(f, "{}", WithCauses(*error))
        }
        _ => Ok(()),
    }
}

/// PLG-12, LOG-08.
fn of_plugins(event: &Event<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match event {
        Event::PluginStarted {
            plugin,
            command,
            path,
        } => write!(f, "Plugin {plugin}: started {} {command}", path.display()),
        Event::PluginRoute { plugin, route } => {
            write!(f, "Plugin {plugin}: signing through {route}")
        }
        Event::PluginRequest { command, json } => write!(f, "Plugin {command} request: {json}"),
        Event::PluginResponse { command, json } => write!(f, "Plugin {command} response: {json}"),
        Event::PluginEnvelope => {
            f.write_str("Verifying signature envelope generated by the plugin")
        }
        Event::PluginNotice {
            plugin, message, ..
        } => write!(f, "Plugin {plugin}: notice: {message}"),
        Event::PluginPrompting { plugin } => write!(f, "Plugin {plugin}: asks on the terminal"),
        Event::PluginPrompted { plugin } => write!(f, "Plugin {plugin}: has asked"),
        Event::PluginAgain { plugin, reason } => write!(f, "Plugin {plugin}: again: {reason}"),
        Event::Downloading { url } => write!(f, "Downloading plugin from {url}"),
        Event::Downloaded => f.write_str("Download completed"),
        Event::MadeExecutable { file } => {
            write!(f, "{file:?} was not executable, and is now for its owner")
        }
        _ => Ok(()),
    }
}

/// LOG-03, LOG-07.
fn of_servers(event: &Event<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match event {
        Event::HttpRequest {
            id,
            method,
            url,
            headers,
        } => write!(
            f,
            "Request #{id}\n> Request: {} {}\n> Request headers:\n{}\n\n\n",
            Quoted(method),
            Quoted(url),
            Headers(headers)
        ),
        Event::HttpResponse {
            id,
            status,
            headers,
        } => write!(
            f,
            "Response #{id}\n< Response status: {}\n< Response headers:\n{}\n\n\n",
            Quoted(status),
            Headers(headers)
        ),
        Event::HttpUnanswered { id, url } => {
            write!(f, "No response obtained for request #{id} {}", Quoted(url))
        }
        Event::CredentialHelper {
            program,
            action,
            stage,
        } => {
            let (what, outcome) = match stage {
                HelperStage::Started => ("started", ""),
                HelperStage::Finished => ("successfully finished", ""),
                HelperStage::Failed => ("finished", " and got an error"),
            };
            write!(
                f,
                "{what} executing credential helper program {program} with action {action}{outcome}"
            )
        }
        _ => Ok(()),
    }
}

/// One header a line.
struct Headers<'a>(&'a [(String, String)]);

impl fmt::Display for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("   Empty header");
        }
        for (position, (name, value)) in self.0.iter().enumerate() {
            let end = if position == 0 { "" } else { "\n" };
            write!(f, "{end}   {}: {}", Quoted(name), Quoted(value))?;
        }
        Ok(())
    }
}
