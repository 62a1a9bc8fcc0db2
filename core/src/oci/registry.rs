//! Artifacts and signatures in a registry (OCI distribution specification 1.1).
//!
//! A [`Connector`] holds what all requests of a run share: connections, tokens, and what was
//! learnt of each registry. A [`Registry`] is one repository.
//!
//! Requests in a row, the authentication challenge aside. *Verify by digest*: resolve and list at
//! once, signature manifest, envelope: three. *Sign*: manifest; then envelope (POST, PUT),
//! configuration (HEAD, and where it is missing POST, PUT) and the question whether there is a
//! referrers API at once, or before, while the signature is made ([`SignatureStore::prepare`]); signature manifest; the list,
//! to see that the signature stands in it: five or six. Later signatures in the same repository know that the configuration is there and
//! that the registry lists: four.
//!
//! Whoever signs must know what is signed, so that with [`Access::Write`] resolving fetches the
//! manifest and compares it with its digest, where reading asks for the headers alone.

// Requirements: OCI-17.

mod content;
mod endpoint;
mod error;
pub(in crate::oci) mod host;
mod push;
mod referrers;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;

use super::auth::Credentials;
use super::manifest::{self, MAX_MANIFEST, Manifest, SIGNATURE_ARTIFACT_TYPE};
use super::{
    FetchedSignature, Listing, OciError, Pushed, Referrers, SignatureSource, SignatureStore,
    check_content, envelope_of,
};
use crate::artifact::reference::{
    RepositoryName, TagOrDigest, is_tag, normal_registry, over_https,
};
use crate::artifact::{Descriptor, Digest};
use crate::budget;
use crate::envelope::Format;
use crate::net::{
    Client, ClientOptions, HeaderName, HeaderValue, HttpAnswer, Method, Request, StatusCode,
};
pub use endpoint::Endpoint;
pub use error::{Faults, RegistryError};
use host::{Host, unexpected};
#[cfg(fuzzing)]
pub use referrers::read_referrers;
use referrers::{Known, Prefetched};

/// What a run wants of registries.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectorOptions {
    /// The HTTP client's options.
    pub client: ClientOptions,
    /// Credentials. Those that were given are for the first registry of the run and for no other.
    pub credentials: Credentials,
    /// Plain HTTP everywhere (`--insecure-registry`).
    // REG-01
    pub plain_http: bool,
    /// Registries spoken to by plain HTTP (`insecureRegistries`).
    // REG-01
    pub insecure_registries: Vec<String>,
    /// List signatures by the tag schema without asking the referrers API.
    // OCI-27
    pub force_referrers_tag: bool,
    /// Hosts that may be token services for any registry.
    pub token_services: Vec<String>,
    /// Where the registry is asked, if not at the address that its name stands for. A connector with
    /// one is for repositories of one registry.
    pub endpoint: Option<Endpoint>,
    /// How long a writer of a referrers index waits before it looks whether another has
    /// overwritten it; up to as much again is added at random.
    // OCI-28
    pub settle: Duration,
    /// Where lock files for referrers indexes are kept, so that of this user's processes one at a time
    /// writes an index; without it they meet as those of other machines do.
    pub locks: Option<PathBuf>,
}

impl Default for ConnectorOptions {
    fn default() -> Self {
        Self {
            client: ClientOptions::default(),
            credentials: Credentials::None,
            plain_http: false,
            insecure_registries: Vec::new(),
            force_referrers_tag: false,
            token_services: Vec::new(),
            endpoint: None,
            settle: Duration::from_millis(500),
            locks: None,
        }
    }
}

/// What will be done in a repository, which decides what the registry is asked to permit.
// REG-13
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Verify, list, inspect.
    Read,
    /// Sign, copy to, delete.
    Write,
}

/// What all requests of a run share. Clones share it too.
#[derive(Clone, Debug)]
pub struct Connector {
    inner: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: ConnectorOptions,
    client: Client,
    /// By scheme, plain HTTP or not, and name.
    hosts: Mutex<HashMap<(bool, String), Arc<Host>>>,
    /// Content known to be in a repository, and likely to be needed there again.
    present: Mutex<HashSet<(RepositoryName, Digest)>>,
    indexes: referrers::Writers,
    /// How each repository lists referrers.
    known: Mutex<HashMap<RepositoryName, Arc<Known>>>,
}

/// A repository in a registry.
///
/// ```
/// # use hardsign_test_support::registry::{Behaviour, FakeRegistry};
/// use hardsign_core::artifact::reference::{RepositoryName, TagOrDigest};
/// use hardsign_core::oci::registry::{Access, Connector, ConnectorOptions};
/// use hardsign_core::oci::{Repository, SignatureSource};
///
/// # let fake = FakeRegistry::start(Behaviour::default());
/// # let manifest = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/x","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
/// # fake.put_blob("app", b"{}");
/// # fake.put_manifest("app", Some("v1"), "application/vnd.oci.image.manifest.v1+json", manifest);
/// # let registry = fake.name();
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let name = RepositoryName::new(&registry, "app")?;
/// let repository = Connector::new(ConnectorOptions::default())?.repository(name, Access::Read)?;
/// let artifact = repository.resolve(&TagOrDigest::Tag("v1".to_owned())).await?;
/// let listed = repository.list_signatures(&artifact, 100).await?;
/// println!("{} has {} signatures", artifact.digest, listed.signatures.len());
/// # assert!(listed.signatures.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    connector: Connector,
    host: Arc<Host>,
    name: RepositoryName,
    access: Access,
    known: Arc<Known>,
    prefetched: Arc<Mutex<HashMap<Digest, Prefetched>>>,
    /// What is asked before something is stored; it ends with the last clone.
    ahead: Arc<Mutex<JoinSet<()>>>,
}

impl Connector {
    /// Makes a connector; nothing is contacted yet.
    ///
    /// # Errors
    /// [`RegistryError::Net`] where TLS cannot be set up.
    pub fn new(options: ConnectorOptions) -> Result<Self, OciError> {
        let client = Client::new(&options.client).map_err(RegistryError::Net)?;
        Ok(Self {
            inner: Arc::new(Shared {
                options,
                client,
                hosts: Mutex::default(),
                present: Mutex::default(),
                indexes: referrers::Writers::default(),
                known: Mutex::default(),
            }),
        })
    }

    /// A repository.
    ///
    /// # Errors
    /// [`RegistryError::Address`] where no URL can be made of its registry's name;
    /// [`RegistryError::OtherRegistry`] where credentials were given, and another registry is where
    /// they go.
    pub fn repository(&self, name: RepositoryName, access: Access) -> Result<Registry, OciError> {
        let known = {
            let mut known = guard(&self.inner.known);
            if known.len() >= MAX_REPOSITORIES {
                // Those in which nothing is under way are learnt anew.
                known.retain(|_, known| Arc::strong_count(known) > 1);
            }
            Arc::clone(known.entry(name.clone()).or_default())
        };
        Ok(Registry {
            host: self.host(name.registry())?,
            known,
            connector: self.clone(),
            name,
            access,
            prefetched: Arc::default(),
            ahead: Arc::default(),
        })
    }

    /// Requests sent so far, those for tokens included.
    pub fn round_trips(&self) -> u64 {
        self.inner.client.round_trips()
    }

    /// Asks a registry whether it accepts a credential.
    pub(super) async fn ping(
        &self,
        registry: &str,
        credentials: Credentials,
    ) -> Result<(), OciError> {
        let normal = normal_registry(registry);
        let normal = normal.ok_or_else(|| RegistryError::Address(registry.to_owned()))?;
        let host = self.new_host(&normal, credentials)?;
        let request = Request::new(Method::GET, host.base().clone());
        let answer = host.call(request, "", MAX_MANIFEST).await?;
        if answer.status == StatusCode::OK {
            Ok(())
        } else {
            Err(unexpected(Method::GET, &answer))
        }
    }

    /// `registry` is the name in its one form.
    fn host(&self, registry: &str) -> Result<Arc<Host>, OciError> {
        let options = &self.inner.options;
        let name = canonical(registry, options);
        let key = (uses_plain_http(registry, options), name.to_owned());
        let mut hosts = guard(&self.inner.hosts);
        if let Some(host) = hosts.get(&key) {
            return Ok(Arc::clone(host));
        }
        // A password belongs to one registry (REG-05): the first that was named.
        if let (Credentials::Given(_), Some((_, first))) =
            (&options.credentials, hosts.keys().next())
        {
            return Err(RegistryError::OtherRegistry {
                first: first.clone(),
                registry: name.to_owned(),
            }
            .into());
        }
        let host = Arc::new(self.new_host(registry, options.credentials.clone())?);
        hosts.insert(key, Arc::clone(&host));
        Ok(host)
    }

    /// `registry` is the name in its one form.
    fn new_host(&self, registry: &str, credentials: Credentials) -> Result<Host, OciError> {
        let options = &self.inner.options;
        if let Some(endpoint) = &options.endpoint {
            let services = options.token_services.clone();
            return Host::at(&self.inner.client, endpoint, credentials, services);
        }
        Host::new(
            &self.inner.client,
            canonical(registry, options),
            uses_plain_http(registry, options),
            credentials,
            options.token_services.clone(),
        )
    }
}

/// The name under which a registry is known: the one form, and without the port of HTTPS where that
/// is what is spoken.
fn canonical<'a>(registry: &'a str, options: &ConnectorOptions) -> &'a str {
    match uses_plain_http(registry, options) {
        true => registry,
        false => over_https(registry),
    }
}

/// REG-01: asked for, listed, or `localhost` with a port. There is no way back from HTTPS to HTTP
/// (REG-03).
fn uses_plain_http(registry: &str, options: &ConnectorOptions) -> bool {
    let listed = |r: &String| normal_registry(r).as_deref() == Some(registry);
    options.plain_http
        || options.insecure_registries.iter().any(listed)
        || registry
            .split_once(':')
            .is_some_and(|(host, _)| host == "localhost")
}

impl Registry {
    /// The repository's name.
    pub fn repository_name(&self) -> &RepositoryName {
        &self.name
    }

    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// What the registry is asked to permit for everything that this value does, so that one
    /// token serves for all (REG-13).
    pub(super) fn scope(&self) -> String {
        let actions = match self.access {
            Access::Read => "pull",
            Access::Write => "pull,push",
        };
        format!("repository:{}:{actions}", self.name.repository())
    }

    pub(super) fn write_scope(&self) -> String {
        format!("repository:{}:pull,push", self.name.repository())
    }

    fn delete_scope(&self) -> String {
        format!("repository:{}:pull,push,delete", self.name.repository())
    }

    pub(super) fn options(&self) -> &ConnectorOptions {
        &self.connector.inner.options
    }

    /// How the repository lists referrers, as far as this run has learnt.
    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// The same repository for a task of its own, which holds none that were begun here.
    pub(super) fn apart(&self) -> Self {
        Self {
            prefetched: Arc::default(),
            ahead: Arc::default(),
            ..self.clone()
        }
    }

    /// Asks for the list of an artifact's signatures before it is needed.
    fn prefetch(&self, subject: &Digest) {
        let begun = referrers::prefetch(self, subject);
        let mut prefetched = guard(&self.prefetched);
        // What was never taken is not kept for ever.
        if prefetched.len() >= MAX_PREFETCHED {
            prefetched.clear();
        }
        prefetched.insert(subject.clone(), begun);
    }

    /// Remembers content that the repository holds.
    fn remember(&self, digest: &Digest) {
        let mut present = guard(&self.connector.inner.present);
        if present.len() >= MAX_PRESENT {
            present.clear();
        }
        present.insert((self.name.clone(), digest.clone()));
    }

    pub(super) fn index_writers(&self) -> &referrers::Writers {
        &self.connector.inner.indexes
    }

    fn not_found(&self, target: &TagOrDigest) -> OciError {
        let mark = match target {
            TagOrDigest::Tag(_) => ':',
            TagOrDigest::Digest(_) => '@',
        };
        OciError::NotFound {
            reference: format!("{}{mark}{target}", self.name),
        }
    }

    /// A request for the manifest that `target` names.
    pub(super) fn manifest_request(
        &self,
        method: Method,
        target: &TagOrDigest,
    ) -> Result<Request, OciError> {
        if let TagOrDigest::Tag(tag) = target
            && !is_tag(tag)
        {
            return Err(self.not_found(target));
        }
        let url = self.host.url(&self.name, &format!("manifests/{target}"))?;
        Ok(Request::new(method, url).header(
            HeaderName::from_static("accept"),
            HeaderValue::from_static(ACCEPT),
        ))
    }

    /// Resolves by the headers alone; `None` where they do not say enough (OCI-17).
    async fn resolve_by_head(&self, target: &TagOrDigest) -> Result<Option<Descriptor>, OciError> {
        let request = self.manifest_request(Method::HEAD, target)?;
        let answer = self.host.call(request, &self.scope(), 0).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(self.not_found(target)),
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => return Ok(None),
            _ => return Err(unexpected(Method::HEAD, &answer)),
        }
        let text = |name: &str| answer.headers.get(name)?.to_str().ok().map(str::trim);
        let digest = text("docker-content-digest").map(str::parse::<Digest>);
        let size = text("content-length").and_then(|t| t.parse().ok());
        let (Some(Ok(digest)), Some(size), Some(media_type)) = (digest, size, media_type(&answer))
        else {
            return Ok(None);
        };
        if !manifest::is_manifest(&media_type) {
            return Ok(None);
        }
        self.same_digest(target, &digest)?;
        Ok(Some(Descriptor {
            media_type,
            digest,
            size,
            annotations: BTreeMap::new(),
        }))
    }

    /// Resolves by fetching the manifest.
    pub(super) async fn resolve_by_get(
        &self,
        target: &TagOrDigest,
    ) -> Result<(Descriptor, Vec<u8>), OciError> {
        let request = self.manifest_request(Method::GET, target)?;
        let url = crate::net::shown(&request.url);
        let answer = self.host.call(request, &self.scope(), MAX_MANIFEST).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(self.not_found(target)),
            _ => return Err(unexpected(Method::GET, &answer)),
        }
        let media_type = media_type(&answer).unwrap_or_default();
        if !manifest::is_manifest(&media_type) {
            return Err(RegistryError::MediaType {
                url,
                found: media_type,
            }
            .into());
        }
        let said = answer.headers.get("docker-content-digest");
        let said = said.and_then(|v| v.to_str().ok()?.trim().parse::<Digest>().ok());
        let mut descriptor = manifest::describe(&media_type, &answer.body);
        let algorithm = match (target, &said) {
            (TagOrDigest::Digest(digest), _) | (_, Some(digest)) => digest.algorithm(),
            _ => descriptor.digest.algorithm(),
        };
        descriptor.digest = manifest::digest(algorithm, &answer.body);
        self.same_digest(target, &descriptor.digest)?;
        if let Some(said) = said.filter(|s| s.algorithm() == algorithm && *s != descriptor.digest) {
            return Err(OciError::DigestMismatch {
                expected: said,
                found: descriptor.digest,
            });
        }
        Manifest::parse(&media_type, &answer.body).map_err(|source| OciError::Manifest {
            digest: descriptor.digest.clone(),
            source,
        })?;
        Ok((descriptor, answer.body))
    }

    /// OCI-18
    fn same_digest(&self, target: &TagOrDigest, resolved: &Digest) -> Result<(), OciError> {
        match target {
            TagOrDigest::Digest(given) if given != resolved => Err(OciError::UserDigest {
                given: given.clone(),
                resolved: resolved.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Fetches a manifest of at most [`MAX_MANIFEST`] bytes and compares it with its descriptor
    /// and media type (OCI-14).
    pub(super) async fn manifest_bytes(&self, wanted: &Descriptor) -> Result<Vec<u8>, OciError> {
        if wanted.size > MAX_MANIFEST {
            return Err(OciError::ManifestTooLarge {
                digest: wanted.digest.clone(),
                size: wanted.size,
            });
        }
        let target = TagOrDigest::Digest(wanted.digest.clone());
        let request = self.manifest_request(Method::GET, &target)?;
        let answer = self
            .host
            .call(request, &self.scope(), wanted.size.max(MAX_ERROR))
            .await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(self.not_found(&target)),
            _ => return Err(unexpected(Method::GET, &answer)),
        }
        let found = media_type(&answer).unwrap_or_default();
        if found != wanted.media_type {
            return Err(RegistryError::OtherType {
                url: crate::net::shown(&answer.url),
                expected: wanted.media_type.clone(),
                found,
            }
            .into());
        }
        check_content(wanted, &answer.body)?;
        Ok(answer.body)
    }

    /// Fetches content that is no manifest. The caller has bounded its size.
    pub(super) async fn blob_bytes(&self, wanted: &Descriptor) -> Result<Vec<u8>, OciError> {
        let path = format!("blobs/{}", wanted.digest);
        let request = Request::new(Method::GET, self.host.url(&self.name, &path)?);
        let answer = self
            .host
            .call(request, &self.scope(), wanted.size.max(MAX_ERROR))
            .await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                let target = TagOrDigest::Digest(wanted.digest.clone());
                return Err(self.not_found(&target));
            }
            _ => return Err(unexpected(Method::GET, &answer)),
        }
        check_content(wanted, &answer.body)?;
        Ok(answer.body)
    }
}

#[async_trait]
impl SignatureSource for Registry {
    fn name(&self) -> String {
        self.name.to_string()
    }

    async fn list_signatures(
        &self,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Listing, OciError> {
        let prefetched = guard(&self.prefetched).remove(&subject.digest);
        let wanted = Some(SIGNATURE_ARTIFACT_TYPE);
        let found = referrers::list(self, subject, wanted, limit, prefetched).await?;
        Ok(Listing {
            signatures: found.entries.into_iter().map(|e| e.descriptor).collect(),
            truncated: found.truncated,
            warnings: found.warnings,
        })
    }

    async fn fetch_signature(&self, wanted: &Descriptor) -> Result<FetchedSignature, OciError> {
        if wanted.size > MAX_MANIFEST {
            return Err(OciError::SignatureManifestTooLarge { size: wanted.size });
        }
        let bytes = self.manifest_bytes(wanted).await?;
        let parsed =
            Manifest::parse(&wanted.media_type, &bytes).map_err(|source| OciError::Manifest {
                digest: wanted.digest.clone(),
                source,
            })?;
        let (format, envelope) = envelope_of(wanted, &parsed)?;
        Ok(FetchedSignature {
            format,
            envelope: self.blob_bytes(&envelope).await?,
            manifest: wanted.clone(),
            annotations: parsed.annotations,
            subject: parsed.subject.map(|s| s.descriptor),
        })
    }

    async fn list_referrers(
        &self,
        subject: &Descriptor,
        artifact_type: Option<&str>,
        limit: usize,
    ) -> Result<Referrers, OciError> {
        referrers::list(self, subject, artifact_type, limit, None).await
    }

    async fn fetch_manifest(&self, wanted: &Descriptor) -> Result<Vec<u8>, OciError> {
        self.manifest_bytes(wanted).await
    }
}

#[async_trait]
impl SignatureStore for Registry {
    async fn push_signature(
        &self,
        subject: &Descriptor,
        format: Format,
        envelope: &[u8],
        annotations: BTreeMap<String, String>,
    ) -> Result<Pushed, OciError> {
        self.push(subject, format, envelope, annotations).await
    }

    fn prepare(&self, subject: &Descriptor) {
        let (registry, subject) = (self.apart(), subject.digest.clone());
        let look = async move { registry.look_ahead(&subject).await };
        guard(&self.ahead).spawn(budget::carried(look));
    }
}

/// The media type of an answer, without parameters.
pub(super) fn media_type(answer: &HttpAnswer) -> Option<String> {
    let text = answer.headers.get("content-type")?.to_str().ok()?;
    let essence = text.split(';').next()?.trim();
    (!essence.is_empty()).then(|| essence.to_ascii_lowercase())
}

/// A mutex is only ever held over code that leaves its content whole.
pub(super) fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Most content that is remembered as being there.
const MAX_PRESENT: usize = 10_000;
/// Most repositories of which is remembered how they list referrers.
const MAX_REPOSITORIES: usize = 1024;
/// Most lists that are asked for before they are needed.
const MAX_PREFETCHED: usize = 1024;
/// Largest answer that says why there is no content, in bytes.
const MAX_ERROR: u64 = 64 * 1024;
/// The manifests that are understood, in the reference's order (OCI-17).
const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.oci.artifact.manifest.v1+json";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::HashAlgorithm;
    use crate::crypto::sha256;
    use crate::oci::manifest::{
        DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST,
    };

    #[test]
    fn accepts_every_manifest_that_is_understood() {
        // OCI-17
        let accepted: Vec<&str> = ACCEPT.split(", ").collect();
        let known = [
            DOCKER_MANIFEST,
            DOCKER_LIST,
            OCI_MANIFEST,
            OCI_INDEX,
            OCI_ARTIFACT,
        ];
        assert_eq!(accepted, known);
    }

    #[test]
    fn plain_http_only_where_it_is_asked_for() {
        // REG-01 to REG-03
        let mut options = ConnectorOptions {
            insecure_registries: vec!["Registry.Example:5000".to_owned()],
            ..ConnectorOptions::default()
        };
        for (registry, plain) in [
            ("localhost:5000", true),
            ("localhost", false),
            ("127.0.0.1:5000", false),
            ("registry.example:5000", true),
            ("registry.example", false),
            ("localhost.evil.example:5000", false),
        ] {
            assert_eq!(uses_plain_http(registry, &options), plain, "{registry}");
        }
        options.plain_http = true;
        assert!(uses_plain_http("registry.example", &options));
    }

    /// A run over many artifacts keeps the newest content that is there, and no more than the limit.
    #[test]
    fn what_is_known_to_be_there_is_bounded() {
        let connector = Connector::new(ConnectorOptions::default()).unwrap();
        let name: RepositoryName = "registry.example/app".parse().unwrap();
        let registry = connector.repository(name, Access::Write).unwrap();
        let mut last = 0;
        for number in 0..=MAX_PRESENT {
            let hash = sha256(&number.to_be_bytes());
            let digest = Digest::new(HashAlgorithm::Sha256, hash.to_vec());
            registry.remember(&digest);
            let present = guard(&connector.inner.present);
            assert!(present.contains(&(registry.name.clone(), digest)));
            last = present.len();
        }
        assert_eq!(last, 1);
    }
}
