//! The verdict on one image of a node.
//!
//! The digest that was given is what is verified; nothing that a registry answers replaces it. Signatures are
//! looked for where containerd pulls from, in its order: mirrors first, each with its share of the time,
//! and then the registry itself. A mirror without signatures, or with bad ones, hides none: a signature
//! proves itself, wherever it comes from.

use std::sync::Arc;

use hardsign_core::artifact::Descriptor;
use hardsign_core::artifact::reference::{RepositoryName, TagOrDigest};
use hardsign_core::budget::{Budget, Overspent, Party, Phase, Spending};
use hardsign_core::config::ConfigFile;
use hardsign_core::config::exceptions::{Exception, When};
use hardsign_core::dirs::{Dirs, docker_config_file, podman_auth_files, search_path};
use hardsign_core::oci::auth::provider::{CredentialProviders, ImageCredentials};
use hardsign_core::oci::auth::{CredentialPlaces, CredentialStore, Credentials};
use hardsign_core::oci::hosts::{self, RegistryHost};
use hardsign_core::oci::registry::{Access, Connector, ConnectorOptions, Registry};
use hardsign_core::oci::{OciError, Repository as _, SignatureSource as _};
use hardsign_core::policy::oci;
use hardsign_core::text::WithCauses;
use hardsign_core::verify::{
    AttemptFailure, Options, Outcome, Policy, Verified, Verifier, VerifyError,
};

use super::super::{Context, verify};
use super::settings::Settings;
use crate::failure::{Exit, Failure, verification};

/// Why an image may run.
#[derive(Debug)]
pub(in crate::command) enum Allowed {
    /// It is signed as the policy wants it.
    Verified(Box<Verified>),
    /// The policy does not want it verified.
    Skipped {
        /// The statement that says so.
        statement: String,
    },
    /// The settings let it in.
    Excepted {
        reason: String,
        /// Why it was not verified, where it is let in for that alone.
        unreachable: Option<String>,
    },
}

/// Gives verdicts with the settings, the policy and the credentials of this node.
pub(in crate::command) struct Checker {
    settings: Settings,
    policy: Result<Policy<oci::Document>, Failure>,
    verifier: Verifier<'static>,
    run: ConnectorOptions,
    providers: Option<Arc<CredentialProviders>>,
    /// Why there are no providers where there should be some.
    without_providers: Option<String>,
    store: Arc<CredentialStore>,
    context: Context,
}

/// What one host had to say.
struct Refused {
    host: String,
    failure: Failure,
    kind: Kind,
}

/// The failures of several hosts, from the one that tells least.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    NoSignature,
    Unreachable,
    Other,
    Rejected,
}

impl Checker {
    /// Reads policy and credentials' places; nobody is asked for anything yet.
    pub(in crate::command) fn new(
        settings: Settings,
        dirs: &Dirs,
        context: &Context,
    ) -> Result<Self, Failure> {
        let (mut providers, mut without_providers) = (None, None);
        if let Some(places) = &settings.credential_providers {
            match CredentialProviders::load(&places.config, &places.bin_dir) {
                Ok(read) => providers = Some(Arc::new(read)),
                Err(error) => without_providers = Some(WithCauses(&error).to_string()),
            }
        }
        let mut run = ConnectorOptions::default();
        run.insecure_registries = ConfigFile::load(dirs)
            .map_err(Failure::error)?
            .insecure_registries()
            .to_vec();
        // A node's own client of a pull is patient; a verdict has seconds.
        run.client.limits.repeats = 1;
        run.client.listener = context.listener();
        Ok(Self {
            policy: verify::load(None, dirs, context),
            verifier: verify::verifier(dirs, context),
            run,
            providers,
            without_providers,
            store: Arc::new(store(dirs, context)),
            context: context.clone(),
            settings,
        })
    }

    /// The exception by which an image needs no verdict.
    pub(in crate::command) fn excepted<'s>(
        settings: &'s Settings,
        repository: &RepositoryName,
        artifact: &Descriptor,
    ) -> Option<&'s Exception> {
        settings.exceptions.find(repository, &artifact.digest)
    }

    /// Whether the image may run.
    ///
    /// # Errors
    /// Why it may not.
    pub(in crate::command) async fn check(
        &self,
        repository: &RepositoryName,
        artifact: &Descriptor,
    ) -> Result<Allowed, Failure> {
        let exception = Self::excepted(&self.settings, repository, artifact);
        if let Some(exception) = exception.filter(|e| e.when == When::Always) {
            return Ok(let_in(exception, None));
        }
        let policy = match &self.policy {
            Ok(policy) => policy,
            Err(failure) => return Err(again(failure)),
        };
        let found = hosts::find(&self.settings.registry_hosts(), repository.registry());
        let found = found.map_err(Failure::error)?;
        if let Some(fault) = &found.fault {
            self.context.console.warning(fault);
        }
        let budget = Budget::within(self.settings.deadline());
        let mut refused: Vec<Refused> = Vec::new();
        let count = found.hosts.len();
        for (at, host) in found.hosts.iter().enumerate() {
            let left = count.saturating_sub(at);
            let share = budget.time_left().unwrap_or_default();
            let share = share / u32::try_from(left).unwrap_or(u32::MAX).max(1);
            let share = Budget::within(share)
                .bytes(MAX_BYTES)
                .requests(MAX_REQUESTS);
            match self.ask(host, policy, repository, artifact, &share).await {
                Ok(Outcome::Verified(verified)) => {
                    return Ok(Allowed::Verified(Box::new(verified)));
                }
                Ok(Outcome::Skipped(skipped)) => {
                    return Ok(Allowed::Skipped {
                        statement: skipped.statement,
                    });
                }
                Err(failed) => refused.push(failed),
            }
        }
        let unreachable = refused.iter().any(|r| r.kind == Kind::Unreachable)
            && refused.iter().all(|r| r.kind <= Kind::Unreachable);
        let failure = told(refused);
        match exception {
            Some(exception) if unreachable => {
                Ok(let_in(exception, Some(failure.messages.join("; "))))
            }
            _ => Err(failure),
        }
    }

    /// Asks one host.
    async fn ask(
        &self,
        host: &RegistryHost,
        policy: &Policy<oci::Document>,
        repository: &RepositoryName,
        artifact: &Descriptor,
        budget: &Budget,
    ) -> Result<Outcome, Refused> {
        let name = host.name(repository);
        let other = |failure| Refused {
            host: name.clone(),
            failure,
            kind: Kind::Other,
        };
        let mut options = host
            .options(&self.run)
            .map_err(|error| other(Failure::error(error)))?;
        options.credentials = Credentials::Source(Arc::new(ImageCredentials {
            providers: self.providers.clone(),
            store: Arc::clone(&self.store),
            repository: repository.repository().to_owned(),
        }));
        let registry = Connector::new(options)
            .and_then(|connector| connector.repository(repository.clone(), Access::Read))
            .map_err(|error| other(error.into()))?;
        let options = Options::new(self.context.now())
            .observer(&*self.context.console)
            .budget(budget);
        let verdict = async {
            let resolved = self.whole(&registry, artifact, budget).await?;
            let (scope, verifier) = (registry.name(), &self.verifier);
            verifier
                .verify_with_attached(policy, &registry, &scope, &resolved, &[], options)
                .await
        };
        verdict.await.map_err(|error: VerifyError| {
            let asked = verification::Asked::Artifact {
                flags: &[],
                policy: None,
            };
            let program = self.context.program;
            let mut failure = verification::refusal(&error, &asked, program, None).failure;
            if let (Some(why), true) = (&self.without_providers, failure.exit == Exit::Unreachable)
            {
                failure.messages.push(why.clone());
            }
            Refused {
                host: name.clone(),
                failure,
                kind: kind(&error),
            }
        })
    }
}

impl Checker {
    /// The descriptor, where the runtime told all of it; else the rest of it from the registry, for the digest
    /// that was given and no other.
    async fn whole(
        &self,
        registry: &Registry,
        artifact: &Descriptor,
        budget: &Budget,
    ) -> Result<Descriptor, VerifyError> {
        if !artifact.media_type.is_empty() && artifact.size > 0 {
            return Ok(artifact.clone());
        }
        let target = TagOrDigest::Digest(artifact.digest.clone());
        let resolved = budget.run(Phase::Resolving, async {
            registry
                .resolve(&target)
                .await
                .map_err(|source| VerifyError::List {
                    reference: format!("{}@{}", registry.name(), artifact.digest),
                    source: Box::new(source),
                })
        });
        resolved.await
    }
}

fn let_in(exception: &Exception, unreachable: Option<String>) -> Allowed {
    Allowed::Excepted {
        reason: exception.reason.clone(),
        unreachable,
    }
}

/// A failure once more.
fn again(failure: &Failure) -> Failure {
    Failure {
        exit: failure.exit,
        messages: failure.messages.clone(),
        hint: failure.hint.clone(),
    }
}

/// The failure that tells most, and what other hosts said.
fn told(mut refused: Vec<Refused>) -> Failure {
    refused.sort_by_key(|refused| std::cmp::Reverse(refused.kind));
    let several = refused.len() > 1;
    let mut all = refused.into_iter();
    let Some(first) = all.next() else {
        return Failure::failed("no host was asked");
    };
    let mut failure = match several {
        true => first.failure.about(&first.host),
        false => first.failure,
    };
    for other in all {
        failure
            .messages
            .extend(other.failure.about(&other.host).messages);
    }
    failure
}

fn kind(error: &VerifyError) -> Kind {
    match error {
        VerifyError::NoSignature { .. } => Kind::NoSignature,
        VerifyError::List { source, .. } | VerifyError::ListAttached { source, .. } => {
            of_registry(source)
        }
        VerifyError::Budget(overspent) => of_budget(overspent),
        _ => {
            let mut unreadable = error.attempts().iter().map(|a| match &a.failure {
                AttemptFailure::Unreadable(error) => of_registry(error),
                _ => Kind::Rejected,
            });
            match unreadable.next() {
                Some(first) => unreadable.fold(first, Ord::max),
                None => Kind::Rejected,
            }
        }
    }
}

/// Whether it was the registry, or where it sends its clients, that did not answer in time. One that answered was
/// reached, however long that took, and whoever is asked about certificates is no registry.
fn of_budget(overspent: &Overspent) -> Kind {
    let of_registry = |(phase, party): &(Phase, Party)| {
        let asked = [
            Phase::Resolving,
            Phase::Listing,
            Phase::ListingAttached,
            Phase::Fetching,
        ];
        asked.contains(phase) && matches!(party, Party::Server(_))
    };
    let pending = overspent.pending();
    match matches!(overspent.spending, Spending::Time(_))
        && !pending.is_empty()
        && pending.iter().all(of_registry)
    {
        true => Kind::Unreachable,
        false => Kind::Other,
    }
}

/// Whether a registry could not be reached, which is something else than one that says no.
fn of_registry(error: &OciError) -> Kind {
    match error {
        error if error.is_outage() => Kind::Unreachable,
        OciError::NotFound { .. } => Kind::NoSignature,
        _ => Kind::Other,
    }
}

/// Files and helpers with credentials. Without a home directory root's own is looked into, and the kubelet's
/// file in any case.
fn store(dirs: &Dirs, context: &Context) -> CredentialStore {
    let mut others = podman_auth_files();
    others.push(KUBELET.into());
    let docker = docker_config_file().unwrap_or_else(|| ROOT.into());
    let places = CredentialPlaces {
        notation: dirs.config_file(),
        docker: Some(docker),
        podman: others,
        search_path: search_path(),
    };
    CredentialStore::new(places)
        .with_listener(context.listener())
        .detached()
}

/// Docker's configuration of root.
const ROOT: &str = "/root/.docker/config.json";
/// The kubelet's own credentials, in Docker's form.
const KUBELET: &str = "/var/lib/kubelet/config.json";
/// Most that one verdict may receive, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// Most requests for one verdict.
const MAX_REQUESTS: u64 = 2000;
