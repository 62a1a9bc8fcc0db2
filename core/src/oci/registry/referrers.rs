//! Who refers to an artifact in a registry: the referrers API and, where there is none, the
//! referrers tag schema (OCI distribution specification, "Listing Referrers", "Referrers Tag
//! Schema"; OCI-23 to OCI-33).
//!
//! The lists are the registry's word: what they name is compared with its digest when it is
//! fetched. Pages, their size and their number are bounded, and a list never continues on another
//! host.

mod index;
mod known;
mod lock;

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use super::host::unexpected;
use super::{Registry, RegistryError, media_type};
use crate::artifact::reference::TagOrDigest;
use crate::artifact::{Descriptor, Digest};
use crate::budget::{self, Holdup};
use crate::net::{
    HeaderName, HeaderValue, HttpAnswer, Method, Request, StatusCode, Url, shown, waiting_for,
};
use crate::oci::manifest::{
    self, EMPTY_MEDIA_TYPE, Entry, MAX_MANIFEST, OCI_INDEX, SIGNATURE_ARTIFACT_TYPE,
};
use crate::oci::{OciError, Referrers, Warning};
use crate::text::WithCauses;
use index::Standing;
pub(super) use index::{IndexChange, OwnList, Writers, update_index};
use known::Proof;
pub(super) use known::{Api, Configuration, Known};

/// Most pages that are read of one list.
const MAX_PAGES: usize = 100;
/// Most entries among which something just stored is looked for.
const MAX_SEARCHED: usize = 100_000;

/// Where a list begins.
#[derive(Debug)]
enum First {
    /// The API's first page.
    Page(HttpAnswer),
    /// There is no API; this stands under the tag.
    Tag(Standing),
}

/// The beginning of a list, asked for before it is needed.
#[derive(Debug)]
pub(super) struct Prefetched {
    task: JoinHandle<Result<First, OciError>>,
    holdup: Holdup,
}

impl Drop for Prefetched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks for the beginning of the list of an artifact's signatures.
pub(super) fn prefetch(registry: &Registry, subject: &Digest) -> Prefetched {
    let (registry, subject) = (registry.apart(), subject.clone());
    let holdup = Holdup::default();
    let told = holdup.clone();
    let work = async move {
        let first = first(&registry, &subject, Some(SIGNATURE_ARTIFACT_TYPE));
        told.lead(first).await
    };
    let task = tokio::spawn(budget::carried(work));
    Prefetched { task, holdup }
}

/// Lists at most `limit` referrers: by the API, and by the tag schema where there is no API
/// (OCI-29) or where it lists nothing, since signers may have listed under the tag alone.
pub(super) async fn list(
    registry: &Registry,
    subject: &Descriptor,
    artifact_type: Option<&str>,
    limit: usize,
    prefetched: Option<Prefetched>,
) -> Result<Referrers, OciError> {
    let mut found = Collector::new(artifact_type, limit);
    let begun = match prefetched {
        Some(mut prefetched) => {
            let holdup = prefetched.holdup.clone();
            holdup.behind(&mut prefetched.task).await.ok()
        }
        None => None,
    };
    let begun = match begun {
        Some(begun) => begun?,
        None => first(registry, &subject.digest, artifact_type).await?,
    };
    let standing = match begun {
        First::Tag(standing) => standing,
        First::Page(answer) => {
            by_api(registry, answer, &mut found).await?;
            if found.mistyped {
                // Writers that got no `OCI-Subject` from such a registry listed under the tag.
                found.listing.warnings.push(Warning::MistypedReferrers {
                    registry: registry.repository_name().registry().to_owned(),
                });
            } else if !found.listing.entries.is_empty() || found.listing.truncated {
                return Ok(found.listing);
            }
            index::read_beside_api(registry, &subject.digest).await?
        }
    };
    match standing {
        Standing::List(current) => found.page(&current.members, false),
        Standing::Other(found_there) => found.listing.warnings.push(Warning::NotAList {
            tag: tag(&subject.digest).to_string(),
            found: found_there,
        }),
        Standing::Nothing | Standing::Subject => {}
    }
    Ok(found.listing)
}

/// The beginning of a list. The API is asked by one at a time until it is known whether there is
/// one, so that a repository without it is asked once in a run.
async fn first(
    registry: &Registry,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<First, OciError> {
    let known = registry.known();
    let mut turn = None;
    if known.api() == Api::Unknown {
        // Whoever waited for the answer of another has no need of the turn.
        turn = Some(known.asking.lock().await).filter(|_| known.api() == Api::Unknown);
    }
    if known.api() != Api::Unsupported {
        let asked = call_api(registry, subject, artifact_type);
        let answer = known.asking.lead(asked).await?;
        let supported = is_supported(registry, &answer)?;
        known.learn(supported);
        if supported {
            return Ok(First::Page(answer));
        }
    }
    drop(turn);
    Ok(First::Tag(index::read(registry, subject).await?))
}

async fn call_api(
    registry: &Registry,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<HttpAnswer, OciError> {
    let request = first_page(registry, subject, artifact_type)?;
    let host = registry.host();
    host.call(request, &registry.scope(), MAX_MANIFEST).await
}

/// Finds out once in a run whether the repository has the API. A failure is left for those who
/// read: writers go by `OCI-Subject`.
async fn ask(registry: &Registry, subject: &Digest) -> Api {
    let known = registry.known();
    if known.api() == Api::Unknown {
        let _turn = known.asking.lock().await;
        let asked = call_api(registry, subject, Some(SIGNATURE_ARTIFACT_TYPE));
        if known.api() == Api::Unknown
            && known.first_to_store()
            && let Ok(answer) = known.asking.lead(asked).await
            && let Ok(supported) = is_supported(registry, &answer)
        {
            known.learn(supported);
        }
    }
    known.api()
}

/// Makes sure, before something attached to `subject` is stored, that it can be listed: where the
/// tag will be needed, nothing else stands under it.
pub(super) async fn prepare(registry: &Registry, subject: &Digest) -> Result<(), OciError> {
    let by_api = !registry.options().force_referrers_tag
        && ask(registry, subject).await == Api::Supported
        && *registry.known().proof.lock().await != Proof::Unlisted;
    if by_api {
        return Ok(());
    }
    index::check(registry, subject).await
}

/// Whether the repository lists by itself what it holds already.
pub(super) async fn has_api(registry: &Registry, subject: &Digest) -> bool {
    ask(registry, subject).await == Api::Supported
}

/// Sees to it that something stored is listed. `indexed` says that the registry promised to list
/// it (OCI-23); once in a run and repository it is looked whether it did.
pub(super) async fn list_stored(
    registry: &Registry,
    subject: &Digest,
    entry: Entry,
    indexed: bool,
) -> Result<Vec<Warning>, OciError> {
    let digest = entry.descriptor.digest.clone();
    let mut warnings = Vec::new();
    if indexed
        && !registry.options().force_referrers_tag
        && is_listed(registry, subject, &entry, &mut warnings).await
    {
        return Ok(warnings);
    }
    // For the index alone, whose entries are fetched before an old one is deleted.
    registry.known().names(&digest, subject);
    let more = update_index(registry, subject, IndexChange::Add(entry)).await;
    warnings.extend(more.map_err(|source| OciError::NotListed {
        digest,
        subject: subject.clone(),
        source: Box::new(source),
    })?);
    Ok(warnings)
}

async fn is_listed(
    registry: &Registry,
    subject: &Digest,
    entry: &Entry,
    warnings: &mut Vec<Warning>,
) -> bool {
    let known = registry.known();
    let mut proof = known.proof.lock().await;
    if *proof == Proof::Open {
        *proof = match known.proof.lead(shows(registry, subject, entry)).await {
            Ok(true) => Proof::Listed,
            Ok(false) => Proof::Unlisted,
            Err(error) => {
                warnings.push(Warning::ListUnread {
                    digest: entry.descriptor.digest.clone(),
                    reason: WithCauses(&error).to_string(),
                });
                Proof::Unanswered
            }
        };
    }
    *proof != Proof::Unlisted
}

/// Whether the API lists an entry; a registry that is late is asked once more.
async fn shows(registry: &Registry, subject: &Digest, entry: &Entry) -> Result<bool, OciError> {
    if registry.known().api() == Api::Unsupported {
        return Ok(false);
    }
    let artifact_type = entry.artifact_type.as_deref();
    for wait in [Duration::ZERO, registry.options().settle] {
        pause(registry, wait).await;
        let answer = call_api(registry, subject, artifact_type).await?;
        let supported = is_supported(registry, &answer)?;
        registry.known().learn(supported);
        if !supported {
            return Ok(false);
        }
        let mut found = Collector::new(artifact_type, MAX_SEARCHED);
        by_api(registry, answer, &mut found).await?;
        let mut entries = found.listing.entries.iter();
        if found.listing.truncated
            || entries.any(|e| e.descriptor.digest == entry.descriptor.digest)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Gives the registry time. No time is none: a timer takes a millisecond at least.
async fn pause(registry: &Registry, time: Duration) {
    if time.is_zero() {
        return;
    }
    let _waiting = waiting_for(registry.host().base());
    tokio::time::sleep(time).await;
}

fn first_page(
    registry: &Registry,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Request, OciError> {
    let path = format!("referrers/{subject}");
    let mut url = registry.host().url(registry.repository_name(), &path)?;
    if let Some(artifact_type) = artifact_type {
        url.query_pairs_mut()
            .append_pair("artifactType", artifact_type);
    }
    Ok(page_request(url))
}

fn page_request(url: Url) -> Request {
    Request::new(Method::GET, url).header(
        HeaderName::from_static("accept"),
        HeaderValue::from_static(OCI_INDEX),
    )
}

/// Whether an answer comes from a registry that has the API (OCI-31).
///
/// A 404 means that there is no API, since a registry that has it lists nothing for what it does
/// not hold; unless it says that there is no such repository. Registries and proxies without the
/// API also answer with 400, 405 or 501, or with a page of something else. A list that a proxy
/// calls plain JSON is one all the same.
fn is_supported(registry: &Registry, answer: &HttpAnswer) -> Result<bool, OciError> {
    match answer.status {
        StatusCode::OK => Ok(is_index(answer)),
        StatusCode::NOT_FOUND => {
            let error = RegistryError::status(&Method::GET, answer);
            let unknown = matches!(
                &error,
                RegistryError::Status { faults, .. } if faults.has("NAME_UNKNOWN")
            );
            if unknown {
                return Err(OciError::NotFound {
                    reference: registry.repository_name().to_string(),
                });
            }
            Ok(false)
        }
        StatusCode::BAD_REQUEST
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::NOT_IMPLEMENTED => Ok(false),
        _ => Err(unexpected(Method::GET, answer)),
    }
}

async fn by_api(
    registry: &Registry,
    mut answer: HttpAnswer,
    found: &mut Collector<'_>,
) -> Result<(), OciError> {
    for page in 1..=MAX_PAGES {
        let members = parse_index(&answer)?;
        let filtered = is_filtered(&answer, &members);
        found.page(&members, filtered);
        if found.listing.truncated {
            return Ok(());
        }
        let Some(next) = next_page(registry, &answer)? else {
            return Ok(());
        };
        if page == MAX_PAGES {
            break;
        }
        answer = registry
            .host()
            .call(page_request(next), &registry.scope(), MAX_MANIFEST)
            .await?;
        if answer.status != StatusCode::OK {
            return Err(unexpected(Method::GET, &answer));
        }
    }
    found.listing.truncated = true;
    found.listing.warnings.push(Warning::Unreadable {
        referrer: format!("after page {MAX_PAGES}"),
        reason: "the registry's list does not end".to_owned(),
    });
    Ok(())
}

/// Whether an answer is an image index: by its type, or by what it holds where the type says
/// nothing more than JSON.
fn is_index(answer: &HttpAnswer) -> bool {
    match media_type(answer).as_deref() {
        Some(OCI_INDEX) => true,
        None
        | Some("application/json" | "text/json" | "text/plain" | "application/octet-stream") => {
            let members: Option<Map<String, Value>> = manifest::parse_json(&answer.body).ok();
            members.is_some_and(|members| {
                let kind = members.get("mediaType").and_then(Value::as_str);
                let list = members.get("manifests");
                kind.unwrap_or(OCI_INDEX) == OCI_INDEX
                    && list.is_some_and(|list| list.is_array() || list.is_null())
                    && !members.contains_key("errors")
                    && !members.contains_key("layers")
                    && !members.contains_key("config")
            })
        }
        Some(_) => false,
    }
}

fn parse_index(answer: &HttpAnswer) -> Result<Map<String, Value>, OciError> {
    manifest::parse_json(&answer.body).map_err(|source| {
        RegistryError::Referrers {
            url: shown(&answer.url),
            source,
        }
        .into()
    })
}

/// Whether the registry says that it filtered by artifact type (OCI-30).
fn is_filtered(answer: &HttpAnswer, members: &Map<String, Value>) -> bool {
    let header = answer.headers.get("oci-filters-applied");
    let header = header.and_then(|v| v.to_str().ok());
    let annotation = members
        .get("annotations")
        .and_then(|a| a.get("org.opencontainers.referrers.filtersApplied"))
        .and_then(Value::as_str);
    let says = |text: &str| text.split(',').any(|f| f.trim() == "artifactType");
    header.is_some_and(says) || annotation.is_some_and(says)
}

/// `Link: </v2/…>; rel="next"` (OCI-31). The list stays in the same place of the same host.
fn next_page(registry: &Registry, answer: &HttpAnswer) -> Result<Option<Url>, OciError> {
    let links = answer.headers.get_all("link");
    let target = links.iter().filter_map(|v| v.to_str().ok()).find_map(next);
    let Some(target) = target else {
        return Ok(None);
    };
    let next = answer.url.join(target).ok();
    let next = next.filter(|n| {
        registry.host().is_home(n)
            && registry.host().is_home(&answer.url)
            && n.path() == answer.url.path()
    });
    next.map(Some).ok_or_else(|| {
        RegistryError::Link {
            url: shown(&answer.url),
            next: crate::artifact::Quoted(target).to_string(),
        }
        .into()
    })
}

/// The target of the link whose relation is `next`.
fn next(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, tail)) = rest.split_once('<') {
        let (target, tail) = tail.split_once('>')?;
        let parameters = tail.split('<').next().unwrap_or_default();
        let is_next = parameters
            .split([';', ','])
            .filter_map(|p| p.split_once('='))
            .any(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
            });
        if is_next {
            return Some(target);
        }
        rest = tail;
    }
    None
}

/// Reads one page of a list twice, with a filter and without, and the link to the next.
#[cfg(fuzzing)]
pub fn read_referrers(page: &[u8], link: &str) {
    std::hint::black_box(next(link));
    let Ok(members) = manifest::parse_json::<Map<String, Value>>(page) else {
        return;
    };
    for artifact_type in [None, Some(SIGNATURE_ARTIFACT_TYPE)] {
        let mut found = Collector::new(artifact_type, 10);
        found.page(&members, false);
        let once = found.listing.entries.len();
        found.page(&members, true);
        assert!(found.listing.entries.len() <= 10, "more than the limit");
        if artifact_type.is_none() {
            assert_eq!(found.listing.entries.len(), once, "an entry came twice");
        }
    }
}

/// Takes entries from pages until there are enough.
struct Collector<'a> {
    artifact_type: Option<&'a str>,
    limit: usize,
    seen: HashSet<Digest>,
    /// An entry has for its artifact type what can be none.
    mistyped: bool,
    listing: Referrers,
}

impl<'a> Collector<'a> {
    fn new(artifact_type: Option<&'a str>, limit: usize) -> Self {
        Self {
            artifact_type,
            limit,
            seen: HashSet::new(),
            mistyped: false,
            listing: Referrers::default(),
        }
    }

    /// One page. An entry that cannot be read is left out, and hides no other (VER-28).
    fn page(&mut self, members: &Map<String, Value>, filtered: bool) {
        let list = members.get("manifests").and_then(Value::as_array);
        for value in list.into_iter().flatten() {
            let entry = match Entry::from_value(value) {
                Ok(entry) => entry,
                Err(error) => {
                    self.unreadable(&WithCauses(&error).to_string());
                    continue;
                }
            };
            self.mistyped |= entry.artifact_type.as_deref() == Some(EMPTY_MEDIA_TYPE);
            let wanted = match (self.artifact_type, entry.artifact_type.as_deref()) {
                (Some(wanted), Some(found)) => wanted == found,
                // A registry that filtered need not repeat by what.
                (Some(_), None) => filtered,
                (None, _) => true,
            };
            if !wanted || !self.seen.insert(entry.descriptor.digest.clone()) {
                continue;
            }
            if self.listing.entries.len() >= self.limit {
                self.listing.truncated = true;
                return;
            }
            self.listing.entries.push(entry);
        }
    }

    fn unreadable(&mut self, reason: &str) {
        // One warning tells enough, however many entries there are.
        let warning = Warning::Unreadable {
            referrer: "in the registry's list".to_owned(),
            reason: reason.to_owned(),
        };
        if !self.listing.warnings.contains(&warning) && self.listing.warnings.len() < 10 {
            self.listing.warnings.push(warning);
        }
    }
}

/// The tag that names the referrers of a subject (OCI-24): `sha256-<hex>`, at most 64 digits.
fn tag(subject: &Digest) -> TagOrDigest {
    let mut hex = subject.hex();
    hex.truncate(64);
    TagOrDigest::Tag(format!("{}-{hex}", subject.algorithm().oci_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_links() {
        // OCI-31
        for (header, expected) in [
            (r#"</v2/a?n=1>; rel="next""#, Some("/v2/a?n=1")),
            (r#"<x>; rel=prev, <y>; title="a"; rel=next"#, Some("y")),
            ("<x>; rel=prev", None),
            ("<x; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next(header), expected, "{header}");
        }
    }

    #[test]
    fn tags_of_subjects() {
        // OCI-24
        let digest = |name: &str, bytes: usize| {
            let text = format!("{name}:{}", "0a".repeat(bytes));
            tag(&text.parse::<Digest>().unwrap()).to_string()
        };
        assert_eq!(digest("sha256", 32), format!("sha256-{}", "0a".repeat(32)));
        assert_eq!(digest("sha512", 64), format!("sha512-{}", "0a".repeat(32)));
    }
}
