//! What happens, told in one way. Whatever the modules do that a person or a log may want to know of
//! is an [`Event`]; whoever wants to know is an [`Observer`]. Nothing here prints, and nothing is
//! decided by what an observer does. Progress, logs and warnings are made of the same events.
//!
//! No event holds a secret: who tells of a request takes out settings, PINs, credentials and what
//! may be a signature in an address before there is an event.
//! Text is put together when it is shown, and the messages that go to and fro only where
//! [`Observer::wants_messages`], so that what nobody hears costs nothing.

// Requirements: LOG-04, LOG-05, LOG-07, PLG-12.

mod text;

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::artifact::Digest;
use crate::text::WithCauses;

/// Hears what happens. It is called on whatever task the work is done, so it must not block for
/// long.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn observe(&self, event: &Event<'_>);

    /// Whether the messages are wanted that go to and from plugins and servers; otherwise they are
    /// not put into text.
    fn wants_messages(&self) -> bool {
        true
    }
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Somebody's observer, or nobody's, for those who live longer than one call: plugin hosts, HTTP
/// clients. Cheap to clone.
#[derive(Clone, Default)]
pub struct Listener(Option<Arc<dyn Observer>>);

impl Listener {
    /// Nobody listens.
    pub const NOBODY: Self = Self(None);

    /// Everything is told to `observer`.
    pub fn new(observer: impl Observer + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }
}

impl From<Arc<dyn Observer>> for Listener {
    fn from(observer: Arc<dyn Observer>) -> Self {
        Self(Some(observer))
    }
}

impl Observer for Listener {
    fn observe(&self, event: &Event<'_>) {
        if let Some(observer) = &self.0 {
            observer.observe(event);
        }
    }

    fn wants_messages(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|observer| observer.wants_messages())
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Listener",
            None => "Listener(nobody)",
        })
    }
}

/// How much a reader of the log should care.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// For those who look for a fault.
    Debug,
    /// Progress.
    Info,
    /// Something is not as it should be, and was accepted or passed over.
    Warn,
    /// A failure that ends the verification of a signature.
    Error,
}

/// Something that happened. Displayed, it is a line of the log, or several for HTTP messages.
/// Certificates are counted from 1 at the leaf.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The statement for an artifact is looked up.
    CheckLevel {
        /// The artifact.
        reference: &'a str,
    },
    /// The statement that applies.
    // LOG-06
    Statement {
        /// Its name and what it demands, in the form that the reference logs.
        statement: fmt::Arguments<'a>,
    },
    /// The level is skip.
    Skipping,
    /// A signature of an artifact is verified.
    VerifySignature {
        /// The artifact's digest.
        artifact: &'a Digest,
        /// The artifact.
        reference: &'a str,
        /// Media type of the envelope.
        media_type: &'static str,
    },
    /// A signature of a file is verified.
    VerifyBlobSignature {
        /// Media type of the envelope.
        media_type: &'static str,
    },
    /// The chain is looked up in the stores.
    ValidateChain,
    /// The leaf is compared with the identities.
    ValidateIdentity,
    /// Evidence of hardware is looked at.
    ValidateHardware,
    /// The expiry is looked at.
    ValidateExpiry,
    /// The chain's validity at the time of signing is looked at.
    ValidateTimestamp,
    /// The timestamp countersignature is looked at.
    // TSA-29
    TimestampNeeded,
    /// It is not.
    // TSA-29
    TimestampNotNeeded {
        /// Why not.
        reason: &'static str,
    },
    /// The range of a timestamp that the chain was valid in.
    // TSA-31
    TimestampRange {
        /// From when to when.
        range: fmt::Arguments<'a>,
    },
    /// The timestamp countersignature holds.
    // TSA-29
    TimestampOk,
    /// Revocation is looked at.
    ValidateRevocation,
    /// Nothing speaks against the chain.
    // REV-07
    RevocationOk,
    /// A verification plugin is asked what it can do.
    FindVerificationPlugin {
        /// The plugin.
        plugin: &'a str,
    },
    /// A verification plugin verifies.
    RunVerificationPlugin {
        /// The plugin.
        plugin: &'a str,
        /// The capabilities asked for.
        capabilities: &'a str,
    },
    /// A verification plugin answered more than it was asked.
    // PLG-46, DIF-15
    PluginSurplus {
        /// The plugin.
        plugin: &'a str,
        /// What it answered.
        name: &'a str,
    },
    /// A check failed and is enforced.
    CheckFailed {
        /// The check, as policies name it.
        check: &'static str,
        /// The failure, with its causes.
        error: &'a (dyn Error + 'static),
    },
    /// A check failed and is only logged.
    CheckLogged {
        /// The check, as policies name it.
        check: &'static str,
        /// The failure, with its causes.
        error: &'a (dyn Error + 'static),
    },
    /// A signature was not accepted; the next one is tried.
    // VER-24
    SignatureFailed {
        /// The signature's manifest.
        digest: &'a Digest,
        /// The failure, with its causes.
        error: &'a (dyn Error + 'static),
    },
    /// A signature could not be fetched or read; the next one is tried.
    // VER-28
    SignatureUnreadable {
        /// The signature's manifest.
        digest: &'a Digest,
        /// The failure, with its causes.
        error: &'a (dyn Error + 'static),
    },
    /// A signature was accepted.
    SignatureAccepted {
        /// The artifact's digest.
        artifact: &'a Digest,
        /// The signature's manifest.
        digest: &'a Digest,
    },
    /// The repository left something out of its listing.
    ListedInPart {
        /// What, and why.
        warning: fmt::Arguments<'a>,
    },
    /// A trust store has something that should be known.
    TrustStore {
        /// What it has.
        warning: fmt::Arguments<'a>,
    },

    /// A certificate that can't be revoked.
    // REV-02
    NotRevocable {
        /// Position in the chain.
        position: usize,
        /// Its subject.
        subject: &'a str,
    },
    /// No responder knew the certificate, so that its CRL was asked for.
    // REV-04
    CrlFallback {
        /// Position in the chain.
        position: usize,
        /// Its subject.
        subject: &'a str,
    },
    /// A revocation server gave no good answer.
    // REV-05
    RevocationServer {
        /// Position in the chain.
        position: usize,
        /// The certificate's subject.
        subject: &'a str,
        /// How the server was asked: `OCSP` or `CRL`.
        method: &'static str,
        /// Its address, as the certificate gives it.
        url: &'a str,
        /// Why the answer is no good, with its causes.
        error: &'a (dyn Error + 'static),
        /// Whether another server made up for it.
        made_up_for: bool,
    },
    /// The cache of CRLs is looked into.
    CacheRead {
        /// The CRL's address.
        url: &'a str,
    },
    /// The cache does not have the CRL.
    CacheMiss {
        /// The CRL's address.
        url: &'a str,
    },
    /// What the cache has is of no use any more.
    CacheExpired {
        /// When it expired.
        next_update: fmt::Arguments<'a>,
    },
    /// What the cache has is not the issuer's.
    // REV-51
    CacheRefused {
        /// The CRL's address.
        url: &'a str,
        /// What is wrong with the CRL.
        error: &'a (dyn Error + 'static),
    },
    /// The cached CRL's issuer meant to publish another by now.
    // REV-46
    CacheOutdated {
        /// The CRL's address.
        url: &'a str,
    },
    /// A CRL is stored.
    CacheStore {
        /// The CRL's address.
        url: &'a str,
    },
    /// There is no cache.
    // REV-50
    CacheUnavailable {
        /// Why not.
        error: &'a (dyn Error + 'static),
    },
    /// The cache can't be read or written.
    // REV-50
    CacheFault {
        /// What is wrong with the cache.
        error: &'a (dyn Error + 'static),
        /// Whether this is the checker's first.
        first: bool,
    },

    /// A plugin's process was started.
    PluginStarted {
        /// The plugin.
        plugin: &'a str,
        /// The command it was started with.
        command: &'a str,
        /// Which file ran.
        path: &'a Path,
    },
    /// How a plugin will be asked for signatures.
    PluginRoute {
        /// The plugin.
        plugin: &'a str,
        /// The way chosen, for instance `session`.
        route: &'a str,
    },
    /// A request to a plugin, redacted and escaped.
    PluginRequest {
        /// The command.
        command: &'a str,
        /// The request.
        json: &'a str,
    },
    /// A plugin's answer, escaped.
    PluginResponse {
        /// The command.
        command: &'a str,
        /// The answer.
        json: &'a str,
    },
    /// A plugin's envelope came, and is checked next.
    // LOG-08
    PluginEnvelope,
    /// The plugin has something to tell the user, for instance to touch the key.
    PluginNotice {
        /// The plugin.
        plugin: &'a str,
        /// One line of at most 200 characters, escaped.
        message: &'a str,
        /// How long the plugin will wait for the user.
        wait: Option<Duration>,
    },
    /// The plugin is about to ask on the terminal itself: hold the progress bar.
    PluginPrompting {
        /// The plugin.
        plugin: &'a str,
    },
    /// It has asked.
    PluginPrompted {
        /// The plugin.
        plugin: &'a str,
    },
    /// A request to a plugin is repeated, or a session that died is started again.
    PluginAgain {
        /// The plugin.
        plugin: &'a str,
        /// What happened to the first attempt.
        reason: &'a str,
    },

    /// The download of a plugin begins.
    Downloading {
        /// From where, as given.
        url: &'a str,
    },
    /// It is complete.
    Downloaded,
    /// An installed plugin's file was not executable, and is now.
    MadeExecutable {
        /// Its name.
        file: &'a str,
    },

    /// An HTTP request is sent.
    // LOG-03
    HttpRequest {
        /// Its number among those of its client.
        id: u64,
        /// Method.
        method: &'a str,
        /// Address, without what may be secret in its query.
        url: &'a str,
        /// Headers in their usual spelling, without secrets.
        headers: &'a [(String, String)],
    },
    /// It was answered.
    // LOG-03
    HttpResponse {
        /// The request's number.
        id: u64,
        /// Status code and reason.
        status: &'a str,
        /// Headers in their usual spelling, without secrets.
        headers: &'a [(String, String)],
    },
    /// It was not; the error with its causes reaches the user by itself.
    HttpUnanswered {
        /// The request's number.
        id: u64,
        /// Address, without what may be secret in its query.
        url: &'a str,
    },
    /// A credential helper begins or ends. What goes in and out is secret, so that name and action
    /// are all that is told.
    // LOG-07
    CredentialHelper {
        /// The program's file name.
        program: fmt::Arguments<'a>,
        /// What it is asked.
        action: &'static str,
        /// Where it stands.
        stage: HelperStage,
    },
}

/// Where a credential helper stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HelperStage {
    /// It was started.
    Started,
    /// It did what it was asked.
    Finished,
    /// It did not.
    Failed,
}

impl Event<'_> {
    /// How much a reader of the log should care.
    pub fn severity(&self) -> Severity {
        match self {
            Self::CheckFailed { .. }
            | Self::RevocationServer {
                made_up_for: false, ..
            } => Severity::Error,
            Self::CheckLogged { .. }
            | Self::SignatureFailed { .. }
            | Self::SignatureUnreadable { .. }
            | Self::PluginSurplus { .. }
            | Self::ListedInPart { .. }
            | Self::TrustStore { .. }
            | Self::NotRevocable { .. }
            | Self::CrlFallback { .. }
            | Self::CacheRefused { .. }
            | Self::MadeExecutable { .. } => Severity::Warn,
            Self::Statement { .. }
            | Self::TimestampNotNeeded { .. }
            | Self::PluginStarted { .. }
            | Self::PluginRoute { .. }
            | Self::PluginNotice { .. }
            | Self::PluginAgain { .. }
            | Self::Downloading { .. }
            | Self::Downloaded => Severity::Info,
            _ => Severity::Debug,
        }
    }

    /// What the user should be told in any case, whether there is a log or not.
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::TrustStore { warning } => Some(warning.to_string()),
            Self::MadeExecutable { .. } => Some(self.to_string()),
            Self::CacheUnavailable { error } => Some(WithCauses(*error).to_string()),
            Self::CacheFault { first: true, .. } => Some(
                "CRL cache error discarded. Enable debug log through '-d' for error details."
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
