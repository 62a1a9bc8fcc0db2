//! From what was typed to a repository and what to find in it.

use std::collections::HashMap;
use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hardsign_core::artifact::Descriptor;
use hardsign_core::artifact::reference::{
    LayoutReference, LayoutReferenceError, Reference, ReferenceError, RepositoryName, TagOrDigest,
    over_https,
};
use hardsign_core::config::{ConfigFile, read_named};
use hardsign_core::dirs::{Dirs, docker_config_file, podman_auth_files, search_path};
use hardsign_core::oci::auth::{Credential, CredentialPlaces, CredentialStore, Credentials};
use hardsign_core::oci::layout::Layout;
use hardsign_core::oci::registry::{Access, Connector, ConnectorOptions, RegistryError};
use hardsign_core::oci::{OciError, Repository};
use hardsign_core::text::WithCauses;

use super::Context;
use crate::args::Registry as RegistryFlags;
use crate::failure::Failure;
use crate::failure::registry::ONE_REGISTRY;

/// A reference of a batch.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) text: String,
    /// Whether it is a line of standard input.
    listed: bool,
}

impl Named {
    /// A line of a list.
    pub(super) fn listed(text: String) -> Self {
        Self { text, listed: true }
    }
}

/// An artifact that was named on the command line.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) place: Arc<dyn Repository>,
    pub(super) target: TagOrDigest,
}

/// Opens each repository once, however many references name it, over shared connections.
pub(super) struct Opener {
    access: Access,
    /// `None`: the references name layouts, so no TLS is set up.
    connector: Option<Connector>,
    layouts: Mutex<HashMap<PathBuf, Layout>>,
}

impl Opener {
    pub(super) fn new(
        flags: &RegistryFlags,
        access: Access,
        dirs: &Dirs,
        context: &Context,
    ) -> Result<Self, Failure> {
        if flags.allow_referrers_api {
            context.console.warning(
                "flag '--allow-referrers-api' is deprecated and will be removed in future versions.",
            );
        }
        let options = options(flags, dirs, context)?;
        let connector = if flags.oci_layout {
            None
        } else {
            Some(Connector::new(options)?)
        };
        Ok(Self {
            access,
            connector,
            layouts: Mutex::default(),
        })
    }

    /// Finds the repository of a reference of a batch. The inner failure is that of this one alone:
    /// a line of a list that names a second registry, which gets no password of the first (REG-05).
    pub(super) fn open_one(&self, named: &Named) -> Result<Result<Target, Failure>, Failure> {
        match self.find(&named.text) {
            Ok(found) => Ok(Ok(found)),
            Err(Unopened::OtherRegistry(failure)) if named.listed => Ok(Err(failure)),
            Err(Unopened::OtherRegistry(failure) | Unopened::Failed(failure)) => Err(failure),
        }
    }

    /// Finds the repository of `reference`; nothing is looked up in it yet.
    pub(super) fn open(&self, reference: &str) -> Result<Target, Failure> {
        self.find(reference).map_err(|error| match error {
            Unopened::OtherRegistry(failure) | Unopened::Failed(failure) => failure,
        })
    }

    fn find(&self, reference: &str) -> Result<Target, Unopened> {
        let Some(connector) = &self.connector else {
            let known = |path: &Path| self.layouts.lock().is_ok_and(|l| l.contains_key(path));
            let LayoutReference { path, target } = layout_reference_among(reference, known)?;
            return Ok(Target {
                place: Arc::new(self.layout(path)?),
                target,
            });
        };
        let Reference { repository, target } = reference
            .parse()
            .map_err(|e: ReferenceError| Failure::error(e))?;
        let registry = connector.repository(repository, self.access);
        let registry = registry.map_err(|error| {
            let other =
                |error: &RegistryError| matches!(error, RegistryError::OtherRegistry { .. });
            let is_other = matches!(&error, OciError::Registry(error) if other(error));
            let failure = Failure::from(error);
            match is_other {
                true => Unopened::OtherRegistry(failure),
                false => Unopened::Failed(failure),
            }
        })?;
        Ok(Target {
            place: Arc::new(registry),
            target,
        })
    }

    fn layout(&self, path: PathBuf) -> Result<Layout, Failure> {
        let mut layouts = self
            .layouts
            .lock()
            .map_err(|_| Failure::failed("an earlier reference failed"))?;
        if let Some(open) = layouts.get(&path) {
            return Ok(open.clone());
        }
        let layout = Layout::open(path.clone()).map_err(OciError::from)?;
        layouts.insert(path, layout.clone());
        Ok(layout)
    }
}

/// Why a reference was not opened.
enum Unopened {
    /// The password that was given is for another registry.
    OtherRegistry(Failure),
    Failed(Failure),
}

impl From<Failure> for Unopened {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What the user typed for an OCI layout; of the ways to read it the one whose directory is there.
pub(super) fn layout_reference(text: &str) -> Result<LayoutReference, Failure> {
    layout_reference_among(text, |_| false)
}

/// The same, where some directories are known to be there.
fn layout_reference_among(
    text: &str,
    is_known: impl Fn(&Path) -> bool,
) -> Result<LayoutReference, Failure> {
    let read = LayoutReference::find(text, |path| is_known(path) || path.is_dir());
    read.map_err(|error: LayoutReferenceError| Failure::error(error))
}

impl Target {
    /// Whether the reference is a tag, which moves.
    pub(super) fn is_by_tag(&self) -> bool {
        matches!(self.target, TagOrDigest::Tag(_))
    }

    /// Resolves the reference, with a warning where it is a tag (CLI-30, CLI-36, CLI-45).
    pub(super) async fn resolve(
        &self,
        verb: &str,
        context: &Context,
    ) -> Result<Descriptor, Failure> {
        let descriptor = self.resolve_untold().await?;
        self.warn(verb, context);
        Ok(descriptor)
    }

    /// [`Self::resolve`], the warning left to [`Self::warn`].
    pub(super) async fn resolve_untold(&self) -> Result<Descriptor, Failure> {
        Ok(self.place.resolve(&self.target).await?)
    }

    /// Warns where the reference is a tag.
    pub(super) fn warn(&self, verb: &str, context: &Context) {
        if let TagOrDigest::Tag(tag) = &self.target {
            let why = if verb == "sign" {
                "tags are mutable and a tag reference can point to a different artifact than the one signed."
            } else {
                "resolved digest may not point to the same signed artifact, as tags are mutable."
            };
            context.console.warning(format_args!(
                "Always {verb} the artifact using digest(@sha256:...) rather than a tag(:{tag}) because {why}"
            ));
        }
    }
}

/// The references of a batch: as typed, with `-` replaced by the lines of standard input.
///
/// # Errors
/// There are none, unless there is a list to come.
pub(super) fn expand(typed: Vec<String>, list: bool) -> Result<Vec<Named>, Failure> {
    let mut references = Vec::new();
    let mut read = false;
    let named = |listed| move |text| Named { text, listed };
    for reference in typed {
        if reference != "-" {
            references.push(named(false)(reference));
        } else if read {
            return Err(Failure::usage("- may be given only once"));
        } else {
            read = true;
            references.extend(from_stdin()?.into_iter().map(named(true)));
        }
    }
    if references.is_empty() && (read || !list) {
        return Err(Failure::usage("no reference on standard input"));
    }
    Ok(references)
}

/// A user name and password that were given are for the first registry that is named. Arguments that
/// name a second are refused before anything is done (REG-05); lines of a list fail in their turn.
pub(super) fn one_registry(references: &[Named], flags: &RegistryFlags) -> Result<(), Failure> {
    if flags.oci_layout || !flags.has_credential() {
        return Ok(());
    }
    let registry = |named: &Named| {
        let reference: Reference = named.text.parse().ok()?;
        Some(registry_name(&reference.repository, flags).to_owned())
    };
    let Some(first) = references.iter().find_map(registry) else {
        return Ok(());
    };
    let typed = references.iter().filter(|named| !named.listed);
    match typed.filter_map(registry).find(|name| *name != first) {
        Some(other) => Err(two_registries(&first, &other).hint(ONE_REGISTRY)),
        None => Ok(()),
    }
}

/// One password for two registries.
pub(super) fn two_registries(first: &str, second: &str) -> Failure {
    Failure::usage(format!(
        "the user name and password would go to two registries, {first} and {second}"
    ))
}

/// The registry's name, in one form for each registry that is spoken to.
pub(super) fn registry_name<'a>(name: &'a RepositoryName, flags: &RegistryFlags) -> &'a str {
    match flags.insecure {
        true => name.registry(),
        false => over_https(name.registry()),
    }
}

fn from_stdin() -> Result<Vec<String>, Failure> {
    let mut references = Vec::new();
    for line in std::io::stdin().lock().take(MAX_LIST).lines() {
        let line = line.map_err(|error| {
            Failure::failed(format!(
                "failed to read references from standard input: {}",
                WithCauses(&error)
            ))
        })?;
        let line = line.trim();
        if !line.is_empty() {
            references.push(line.to_owned());
        }
    }
    Ok(references)
}

/// Longest list of references on standard input, in bytes.
const MAX_LIST: u64 = 64 << 20;

/// What all requests of this run share (REG-01, REG-06, CFG-22).
pub(super) fn connector(
    flags: &RegistryFlags,
    dirs: &Dirs,
    context: &Context,
) -> Result<Connector, Failure> {
    Ok(Connector::new(options(flags, dirs, context)?)?)
}

/// What flags and configuration want of registries; their faults are told here.
fn options(
    flags: &RegistryFlags,
    dirs: &Dirs,
    context: &Context,
) -> Result<ConnectorOptions, Failure> {
    let mut options = ConnectorOptions::default();
    options.plain_http = flags.insecure;
    options.force_referrers_tag = flags.force_referrers_tag;
    options.locks = dirs.index_locks();
    options.token_services.clone_from(&flags.token_services);
    options.insecure_registries = ConfigFile::load(dirs)?.insecure_registries().to_vec();
    options.credentials = match Credential::from_user(&flags.username, flags.password.expose()) {
        Some(given) => Credentials::Given(given),
        None => Credentials::Store(Arc::new(credential_store(dirs, context))),
    };
    if let Some(path) = &flags.ca_file {
        options.client.extra_roots.push(ca_file(path)?);
    }
    options.client.listener = context.listener();
    Ok(options)
}

/// The certificates of `--ca-file`.
pub(super) fn ca_file(path: &str) -> Result<Vec<u8>, Failure> {
    let pem = read_named(Path::new(path), MAX_CA_FILE).map_err(Failure::error)?;
    match pem.windows(PEM.len()).any(|window| window == PEM) {
        true => Ok(pem),
        false => Err(Failure::failed(format!(
            "{path} holds no certificate in PEM"
        ))),
    }
}

/// Where this user's credentials are (CFG-22).
pub(super) fn credential_store(dirs: &Dirs, context: &Context) -> CredentialStore {
    let places = CredentialPlaces {
        notation: dirs.config_file(),
        docker: docker_config_file(),
        podman: podman_auth_files(),
        search_path: search_path(),
    };
    CredentialStore::new(places).with_listener(context.listener())
}

/// What a file of CA certificates has at least one of.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Largest file of CA certificates, in bytes.
const MAX_CA_FILE: u64 = 16 << 20;
