//! From an image to a verdict: the verifier of `hardsign-core`, driven as a server needs it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hardsign_core::artifact::reference::{RepositoryName, TagOrDigest};
use hardsign_core::artifact::{Descriptor, Digest};
use hardsign_core::budget::{Budget, Overspent, Phase};
use hardsign_core::dirs::Dirs;
use hardsign_core::oci::auth::Credentials;
use hardsign_core::oci::manifest::is_index;
use hardsign_core::oci::registry::{Access, Connector, ConnectorOptions, Registry, RegistryError};
use hardsign_core::oci::walk::walk;
use hardsign_core::oci::{OciError, Repository as _};
use hardsign_core::plugin::{Finder, Host};
use hardsign_core::policy::Verification;
use hardsign_core::revocation::{Online, OnlineOptions};
use hardsign_core::text::{WithCauses, escaped};
use hardsign_core::verify::{self, Attempt, Outcome, SignatureName, Verifier, VerifyError};
use jiff::Timestamp;

use crate::cache::{Asked, Busy, By, Cache, Limits, Verdict};
use crate::cluster::PullSecret;
use crate::images::Image;
use crate::recent::Recent;
use crate::review::cut;
use crate::settings::Platforms;
use crate::snapshot::Snapshot;
use crate::turns::Turns;

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
    epochs: Epochs,
    turns: Turns,
    /// What tags pointed at a moment ago.
    tags: Recent<Digest>,
}

/// The epoch that lasts. Clones share it.
#[derive(Clone)]
struct Epochs(Arc<Mutex<Arc<Epoch>>>);

/// What is learnt of registries and authorities, and forgotten after a while: tokens, credentials, how a repository lists,
/// and answers on revocation.
struct Epoch {
    born: Instant,
    /// Whether a registry did not take our credentials.
    denied: AtomicBool,
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
    epochs: Epochs,
    turns: Turns,
    connectors: Vec<Connector>,
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
    #[error("there is no credential")]
    NoCredential,
    #[error("{0}")]
    NoTurn(String),
    #[error("{platform}: {}", headline(.fault))]
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
            epochs: Epochs(Arc::new(Mutex::new(Arc::new(Epoch::new(&options)?)))),
            cache: Cache::new(limits),
            turns: Turns::new(),
            tags: Recent::new(TAG),
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

    /// What a tag points at, as the registry said a second ago at most; none where it does not say by then. Many who ask
    /// at the same time are one question.
    pub(crate) async fn resolve(
        &self,
        image: &Image,
        secret: Option<&PullSecret>,
        deadline: tokio::time::Instant,
    ) -> Option<(By, Result<Digest, String>)> {
        let tag = image.tag.clone().unwrap_or_else(|| "latest".to_owned());
        let secret_key = secret.map_or("", |secret| secret.key.as_str());
        let key = [&image.repository.to_string(), tag.as_str(), secret_key].join("\n");
        let ask = || {
            let connectors = self.connectors(secret);
            let (turns, repository) = (self.turns.clone(), image.repository.clone());
            let resolve = async move {
                let name = repository.registry().to_owned();
                let turn = turns.take(&name).await.map_err(Fault::NoTurn)?;
                let (connectors, tag) = (connectors?, TagOrDigest::Tag(tag));
                let resolve = resolve(&connectors, &repository, &tag);
                let budget = Budget::within(TIME);
                let resolved = tokio::select! {
                    resolved = budget.run(Phase::Resolving, resolve) => resolved?,
                    () = turn.lost() => return Err(Fault::lost(&name)),
                };
                turn.answered();
                Ok(resolved)
            };
            let (epochs, epoch) = (self.epochs.clone(), self.epoch());
            async move {
                let resolved = resolve.await;
                if let (Err(fault), Ok(epoch)) = (&resolved, &epoch) {
                    epochs.end_if_denied(epoch, fault);
                }
                resolved.map_err(|fault| told(&fault))
            }
        };
        self.tags.get(&key, deadline, ask).await
    }

    fn work(&self, question: &Question<'_>) -> Result<Work, Fault> {
        Ok(Work {
            snapshot: Arc::clone(question.snapshot),
            policy: question.policy.map(str::to_owned),
            image: question.image.clone(),
            digest: question.digest.clone(),
            epoch: self.epoch()?,
            epochs: self.epochs.clone(),
            turns: self.turns.clone(),
            connectors: self.connectors(question.secret)?,
            plugins: self.options.plugins.clone(),
            now: self.options.now,
        })
    }

    /// One for each credential. That of the server's own is shared; a pod's secret is for its own requests alone.
    fn connectors(&self, secret: Option<&PullSecret>) -> Result<Vec<Connector>, OciError> {
        let Some(secret) = secret else {
            return Ok(vec![self.epoch()?.connector.clone()]);
        };
        let given = secret.credentials.iter().map(|credential| {
            let mut options = self.options.registries.clone();
            options.credentials = Credentials::Given(credential.clone());
            Connector::new(options)
        });
        given.collect()
    }

    fn epoch(&self) -> Result<Arc<Epoch>, OciError> {
        let mut epoch = self.epochs.lock();
        let is_over = epoch.denied.load(Ordering::SeqCst) && epoch.born.elapsed() >= SHORTEST;
        if is_over || epoch.born.elapsed() >= self.options.max_age / 2 {
            *epoch = Arc::new(Epoch::new(&self.options)?);
        }
        Ok(Arc::clone(&epoch))
    }
}

impl Epochs {
    fn lock(&self) -> MutexGuard<'_, Arc<Epoch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A registry that does not take our credentials may take the ones that have been put in their place since.
    fn end_if_denied(&self, epoch: &Arc<Epoch>, fault: &Fault) {
        if fault.is_denied() && Arc::ptr_eq(epoch, &self.lock()) {
            epoch.denied.store(true, Ordering::SeqCst);
        }
    }
}

/// What the policy says of an image before anybody is asked about it: that it is not verified, or that no statement is for
/// it. So the image of a stranger does not send us to the stranger's registry.
pub(crate) fn beforehand(
    snapshot: &Snapshot,
    policy: Option<&str>,
    image: &Image,
) -> Option<Verdict> {
    let policy = snapshot.policy(policy)?;
    let written = || match &image.digest {
        Some(digest) => image.at(digest),
        None => image.written.clone(),
    };
    let scope = image.repository.to_string();
    let statement = match policy.document().statement_for_repository(&scope, written) {
        Ok(statement) => statement,
        Err(error) => {
            let fault = Fault::Verify(error.into());
            return Some(Verdict::Refused(told(&fault)));
        }
    };
    let rules = policy.rules(statement.name());
    let demands = rules.is_some_and(|rules| !rules.attached.is_empty());
    let skips = matches!(statement.verification(), Verification::Skip) && !demands;
    skips.then(|| Verdict::Skipped {
        statement: statement.name().to_owned(),
    })
}

impl Epoch {
    fn new(options: &EngineOptions) -> Result<Self, OciError> {
        // No cache on disk: what is there may be as old as it says it is good for.
        let mut revocation = OnlineOptions::default();
        revocation.client.listener = options.registries.client.listener.clone();
        Ok(Self {
            born: Instant::now(),
            denied: AtomicBool::new(false),
            connector: Connector::new(options.registries.clone())?,
            revocation: Arc::new(Online::new(revocation)),
        })
    }
}

impl Work {
    async fn verdict(self) -> Verdict {
        let registry = self.image.repository.registry();
        let turn = match self.turns.take(registry).await {
            Ok(turn) => turn,
            Err(crowded) => return Verdict::Undecided(crowded),
        };
        let budget = Budget::within(TIME).bytes(BYTES).requests(REQUESTS);
        let verified = tokio::select! {
            verified = budget.run(Phase::Verifying, self.verify(&budget)) => verified,
            () = turn.lost() => Err(Fault::lost(registry)),
        };
        if let Err(fault) = &verified {
            self.epochs.end_if_denied(&self.epoch, fault);
        }
        let verdict = match verified {
            Ok(Outcome::Verified(verified)) => Verdict::Verified {
                statement: verified.statement().to_owned(),
            },
            Ok(Outcome::Skipped(skipped)) => Verdict::Skipped {
                statement: skipped.statement,
            },
            Err(fault) if fault.is_refusal() => Verdict::Refused(told(&fault)),
            Err(fault) => return Verdict::Undecided(told(&fault)),
        };
        turn.answered();
        verdict
    }

    async fn verify(&self, budget: &Budget) -> Result<Outcome, Fault> {
        until_taken(&self.connectors, |one| self.verify_by(one, budget)).await
    }

    async fn verify_by(&self, connector: &Connector, budget: &Budget) -> Result<Outcome, Fault> {
        let registry = connector.repository(self.image.repository.clone(), Access::Read)?;
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
    /// The turn at a registry was given to others.
    fn lost(registry: &str) -> Self {
        Self::NoTurn(format!(
            "the registry {registry} is slow, and others wait; try again"
        ))
    }

    /// Whether it is a verdict, and not the failure to come by one.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Registry(_)
            | Self::Budget(_)
            | Self::NoPolicy
            | Self::NoCredential
            | Self::NoTurn(_) => false,
            Self::Verify(error) => !error.is_undecided(),
            Self::Platform { fault, .. } => fault.is_refusal(),
        }
    }

    /// Whether a registry did not take our credentials, or wants some.
    fn is_denied(&self) -> bool {
        let error = match self {
            Self::Registry(error) => error,
            Self::Verify(
                VerifyError::List { source, .. } | VerifyError::ListAttached { source, .. },
            ) => source,
            Self::Platform { fault, .. } => return fault.is_denied(),
            _ => return false,
        };
        let OciError::Registry(error) = error else {
            return false;
        };
        match &**error {
            RegistryError::Auth(_) => true,
            RegistryError::Status { status, .. } => matches!(status, 401 | 403),
            _ => false,
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

/// What a tag points at, asked with one credential after the other until the registry takes one.
async fn resolve(
    connectors: &[Connector],
    repository: &RepositoryName,
    tag: &TagOrDigest,
) -> Result<Digest, Fault> {
    until_taken(connectors, |one| async {
        let registry = one.repository(repository.clone(), Access::Read)?;
        let resolved = registry.resolve(tag).await.map_err(Fault::Registry)?;
        Ok(resolved.digest)
    })
    .await
}

/// Asks with one credential after the other until the registry takes one; else what it said to the first.
async fn until_taken<'a, T, F: Future<Output = Result<T, Fault>>>(
    connectors: &'a [Connector],
    ask: impl Fn(&'a Connector) -> F,
) -> Result<T, Fault> {
    let mut denied = None;
    for connector in connectors {
        match ask(connector).await {
            Err(fault) if fault.is_denied() => denied = denied.or(Some(fault)),
            answered => return answered,
        }
    }
    Err(denied.unwrap_or(Fault::NoCredential))
}

/// A fault without what is told of each signature.
fn headline(fault: &Fault) -> String {
    match fault {
        Fault::Verify(error) if !error.attempts().is_empty() => error.to_string(),
        _ => WithCauses(fault).to_string(),
    }
}

/// A fault in one line, with the reason for each of the first signatures.
fn told(fault: &Fault) -> String {
    let mut text = headline(fault);
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
/// How old what a tag points at may be. Whoever pushes and deploys right after that must not get what was there before.
const TAG: Duration = Duration::from_secs(1);
/// How long an epoch lasts at least, so that a wrong password does not have credentials read for each image.
const SHORTEST: Duration = Duration::from_secs(5);
const BYTES: u64 = 256 << 20;
const REQUESTS: u64 = 2000;
/// Signatures whose reason is told.
const SHOWN: usize = 3;
/// Longest reason.
const MAX_TEXT: usize = 1500;
