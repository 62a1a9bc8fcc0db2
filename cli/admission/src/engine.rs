//! From an image to a verdict: the verifier of `hardsign-core`, driven as a server needs it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hardsign_core::artifact::reference::TagOrDigest;
use hardsign_core::artifact::{Descriptor, Digest};
use hardsign_core::budget::{Budget, Overspent, Phase};
use hardsign_core::dirs::Dirs;
use hardsign_core::oci::auth::Credentials;
use hardsign_core::oci::manifest::is_index;
use hardsign_core::oci::registry::{Access, Connector, ConnectorOptions, Registry};
use hardsign_core::oci::walk::walk;
use hardsign_core::oci::{OciError, Repository as _};
use hardsign_core::plugin::{Finder, Host};
use hardsign_core::revocation::{Online, OnlineOptions};
use hardsign_core::text::{WithCauses, escaped};
use hardsign_core::verify::{self, Attempt, Outcome, SignatureName, Verifier, VerifyError};
use jiff::Timestamp;

use crate::cache::{Asked, Busy, Cache, Limits, Verdict};
use crate::cluster::PullSecret;
use crate::images::Image;
use crate::review::cut;
use crate::settings::Platforms;
use crate::snapshot::Snapshot;

/// What verifications are made with.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// How registries are reached, and with which credentials.
    pub registries: ConnectorOptions,
    /// Where verification plugins are.
    pub plugins: Dirs,
    /// How old what is known of revocation, and of what a registry lists, may be under a good verdict.
    pub max_age: Duration,
    /// Most verdicts that are kept.
    pub cache_entries: usize,
    /// The clock.
    pub now: fn() -> Timestamp,
}

/// Verifies images.
pub(crate) struct Engine {
    options: EngineOptions,
    pub(crate) cache: Cache,
    epoch: Mutex<Arc<Epoch>>,
}

/// What is learnt of registries and authorities, and forgotten after a while: tokens, credentials, how a repository lists,
/// and answers on revocation.
struct Epoch {
    born: Instant,
    connector: Connector,
    revocation: Arc<Online>,
}

/// An image to be verified.
pub(crate) struct Question<'a> {
    pub(crate) snapshot: &'a Arc<Snapshot>,
    /// The policy's directory below `policies`.
    pub(crate) policy: Option<&'a str>,
    pub(crate) image: &'a Image,
    pub(crate) digest: &'a Digest,
    pub(crate) secret: Option<&'a PullSecret>,
}

/// One verification.
struct Work {
    snapshot: Arc<Snapshot>,
    policy: Option<String>,
    image: Image,
    digest: Digest,
    epoch: Arc<Epoch>,
    connector: Connector,
    plugins: Dirs,
    now: fn() -> Timestamp,
}

/// Why there is no verdict, or a bad one.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Registry(#[from] OciError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Budget(#[from] Overspent),
    #[error("the snapshot of the policy has none for this namespace")]
    NoPolicy,
    #[error("{platform}: {}", WithCauses(&**.fault))]
    Platform { platform: Digest, fault: Box<Fault> },
}

impl Engine {
    pub(crate) fn new(options: EngineOptions) -> Result<Self, OciError> {
        let limits = Limits {
            // The other half is for what an epoch has learnt.
            good: options.max_age / 2,
            entries: options.cache_entries,
            ..Limits::default()
        };
        Ok(Self {
            epoch: Mutex::new(Arc::new(Epoch::new(&options)?)),
            cache: Cache::new(limits),
            options,
        })
    }

    /// The verdict on an image by digest.
    pub(crate) fn ask(&self, question: &Question<'_>) -> Result<Asked, Busy> {
        let &Question {
            snapshot,
            policy,
            image,
            digest,
            secret,
        } = question;
        let secret_key = secret.map_or("", |secret| secret.key.as_str());
        let key = [
            &snapshot.version,
            policy.unwrap_or_default(),
            &image.repository.to_string(),
            &digest.to_string(),
            secret_key,
        ]
        .join("\n");
        self.cache.get(&key, || {
            let begun = self.work(question);
            async move {
                match begun {
                    Ok(work) => work.verdict().await,
                    Err(fault) => Verdict::Undecided(told(&fault)),
                }
            }
        })
    }

    /// What a tag points at now.
    pub(crate) async fn resolve(
        &self,
        image: &Image,
        secret: Option<&PullSecret>,
        time: Duration,
    ) -> Result<Digest, String> {
        let tag = image.tag.clone().unwrap_or_else(|| "latest".to_owned());
        let resolve = async {
            let connector = self.connector(secret)?;
            let registry = connector.repository(image.repository.clone(), Access::Read)?;
            Ok::<_, Fault>(registry.resolve(&TagOrDigest::Tag(tag)).await?.digest)
        };
        let resolved = Budget::within(time).run(Phase::Resolving, resolve).await;
        resolved.map_err(|fault| told(&fault))
    }

    fn work(&self, question: &Question<'_>) -> Result<Work, Fault> {
        Ok(Work {
            snapshot: Arc::clone(question.snapshot),
            policy: question.policy.map(str::to_owned),
            image: question.image.clone(),
            digest: question.digest.clone(),
            epoch: self.epoch()?,
            connector: self.connector(question.secret)?,
            plugins: self.options.plugins.clone(),
            now: self.options.now,
        })
    }

    /// That of the server's own credentials is shared; a pod's secret is for its own requests alone.
    fn connector(&self, secret: Option<&PullSecret>) -> Result<Connector, OciError> {
        let Some(secret) = secret else {
            return Ok(self.epoch()?.connector.clone());
        };
        let mut options = self.options.registries.clone();
        options.credentials = Credentials::Given(secret.credential.clone());
        Connector::new(options)
    }

    fn epoch(&self) -> Result<Arc<Epoch>, OciError> {
        let mut epoch = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        if epoch.born.elapsed() >= self.options.max_age / 2 {
            *epoch = Arc::new(Epoch::new(&self.options)?);
        }
        Ok(Arc::clone(&epoch))
    }
}

impl Epoch {
    fn new(options: &EngineOptions) -> Result<Self, OciError> {
        // No cache on disk: what is there may be as old as it says it is good for.
        let mut revocation = OnlineOptions::default();
        revocation.client.listener = options.registries.client.listener.clone();
        Ok(Self {
            born: Instant::now(),
            connector: Connector::new(options.registries.clone())?,
            revocation: Arc::new(Online::new(revocation)),
        })
    }
}

impl Work {
    async fn verdict(self) -> Verdict {
        let budget = Budget::within(TIME).bytes(BYTES).requests(REQUESTS);
        match budget.run(Phase::Verifying, self.verify(&budget)).await {
            Ok(Outcome::Verified(verified)) => Verdict::Verified {
                statement: verified.statement().to_owned(),
            },
            Ok(Outcome::Skipped(skipped)) => Verdict::Skipped {
                statement: skipped.statement,
            },
            Err(fault) if fault.is_refusal() => Verdict::Refused(told(&fault)),
            Err(fault) => Verdict::Undecided(told(&fault)),
        }
    }

    async fn verify(&self, budget: &Budget) -> Result<Outcome, Fault> {
        let registry = self
            .connector
            .repository(self.image.repository.clone(), Access::Read)?;
        let artifact = registry
            .resolve(&TagOrDigest::Digest(self.digest.clone()))
            .await?;
        let outcome = self.verify_one(&registry, &artifact, budget).await?;
        if self.snapshot.settings.platforms == Platforms::All && is_index(&artifact.media_type) {
            for walked in walk(&registry, &artifact).await? {
                if walked.artifact.digest == artifact.digest {
                    continue;
                }
                let platform = walked.artifact.digest.clone();
                let verified = async {
                    let child = walked.read(&registry).await?;
                    self.verify_one(&registry, &child, budget).await
                };
                let fault = |fault| Fault::Platform {
                    platform,
                    fault: Box::new(fault),
                };
                verified.await.map_err(fault)?;
            }
        }
        Ok(outcome)
    }

    async fn verify_one(
        &self,
        registry: &Registry,
        artifact: &Descriptor,
        budget: &Budget,
    ) -> Result<Outcome, Fault> {
        // A host remembers what did not answer: one that serves for months would never ask again.
        let host = Host::new(Finder::new(&self.plugins));
        let verifier = Verifier::new(Arc::clone(&self.snapshot.stores))
            .with_extension(host)
            .with_revocation(Arc::clone(&self.epoch.revocation));
        let options = verify::Options::new((self.now)()).budget(budget);
        let scope = self.image.repository.to_string();
        let policy = self
            .snapshot
            .policy(self.policy.as_deref())
            .ok_or(Fault::NoPolicy)?;
        Ok(verifier
            .verify_artifact(policy, registry, &scope, artifact, options)
            .await?)
    }
}

impl Fault {
    /// Whether it is a verdict, and not the failure to come by one.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Registry(_) | Self::Budget(_) | Self::NoPolicy => false,
            Self::Verify(error) => !matches!(
                error,
                VerifyError::List { .. }
                    | VerifyError::ListAttached { .. }
                    | VerifyError::Budget(_)
            ),
            Self::Platform { fault, .. } => fault.is_refusal(),
        }
    }

    fn attempts(&self) -> &[Attempt] {
        match self {
            Self::Verify(error) => error.attempts(),
            Self::Platform { fault, .. } => fault.attempts(),
            _ => &[],
        }
    }
}

/// A fault in one line, with the reason for each of the first signatures.
fn told(fault: &Fault) -> String {
    let mut text = WithCauses(fault).to_string();
    for attempt in fault.attempts().iter().take(SHOWN) {
        let name = match &attempt.signature {
            SignatureName::Manifest(digest) => format!("signature {digest}"),
            SignatureName::Position(at) => format!("signature {at}"),
        };
        text.push_str(&format!("; {name}: {}", WithCauses(&attempt.failure)));
    }
    cut(escaped(&text), MAX_TEXT)
}

/// What one verification may spend.
const TIME: Duration = Duration::from_secs(60);
const BYTES: u64 = 256 << 20;
const REQUESTS: u64 = 2000;
/// Signatures whose reason is told.
const SHOWN: usize = 3;
/// Longest reason.
const MAX_TEXT: usize = 1500;
