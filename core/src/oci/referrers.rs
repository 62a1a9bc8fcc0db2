//! Who refers to an artifact in a registry: the referrers API and, where there is none, the
//! referrers tag schema (OCI distribution specification, "Listing Referrers", "Referrers Tag
//! Schema"; OCI-23 to OCI-33).
//!
//! The lists are the registry's word: what they name is compared with its digest when it is
//! fetched. Pages, their size and their number are bounded, and a list never continues on another
//! host.

mod index;

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use super::manifest::{
    self, EMPTY_MEDIA_TYPE, Entry, MAX_MANIFEST, OCI_INDEX, SIGNATURE_ARTIFACT_TYPE,
};
use super::registry::host::{ReferrersApi, unexpected};
use super::registry::{Registry, RegistryError, media_type};
use super::{OciError, Referrers, Warning, causes};
use crate::artifact::reference::TagOrDigest;
use crate::artifact::{Descriptor, Digest};
use crate::net::{Answer, HeaderName, HeaderValue, Method, Request, StatusCode, Url, shown};
pub(super) use index::{IndexChange, Writers, update_index};

/// Most pages that are read of one list.
const MAX_PAGES: usize = 100;

/// The first page of a list, asked for before it is needed.
#[derive(Debug)]
pub(super) struct Prefetched {
    subject: Digest,
    page: JoinHandle<Result<Answer, OciError>>,
}

impl Drop for Prefetched {
    fn drop(&mut self) {
        self.page.abort();
    }
}

/// Asks for the first page of an artifact's signatures.
pub(super) fn prefetch(registry: &Registry, subject: &Digest) -> Result<Prefetched, OciError> {
    let request = first_page(registry, subject, Some(SIGNATURE_ARTIFACT_TYPE))?;
    let (host, scope) = (Arc::clone(registry.host()), registry.scope());
    Ok(Prefetched {
        subject: subject.clone(),
        page: tokio::spawn(async move { host.call(request, &scope, MAX_MANIFEST).await }),
    })
}

/// Lists at most `limit` referrers: by the API, else by the tag schema (OCI-29).
pub(super) async fn list(
    registry: &Registry,
    subject: &Descriptor,
    artifact_type: Option<&str>,
    limit: usize,
    prefetched: Option<Prefetched>,
) -> Result<Referrers, OciError> {
    let mut found = Collector::new(artifact_type, limit);
    let host = registry.host();
    if host.referrers_api() != ReferrersApi::Unsupported {
        let prefetched = prefetched.filter(|p| p.subject == subject.digest);
        let first = match prefetched {
            Some(mut prefetched) => (&mut prefetched.page).await.ok(),
            None => None,
        };
        let answer = match first {
            Some(answer) => answer?,
            None => {
                let request = first_page(registry, &subject.digest, artifact_type)?;
                host.call(request, &registry.scope(), MAX_MANIFEST).await?
            }
        };
        if learn(registry, &answer)? {
            by_api(registry, answer, &mut found).await?;
            if !found.mistyped {
                return Ok(found.listing);
            }
            // Writers that got no `OCI-Subject` from such a registry listed under the tag.
            found.listing.warnings.push(Warning::MistypedReferrers {
                registry: registry.repository_name().registry().to_owned(),
            });
        }
    }
    if let Some(current) = index::read(registry, &subject.digest).await? {
        found.page(&current.members, false);
    }
    Ok(found.listing)
}

/// Finds out whether the registry has the API.
pub(super) async fn ask(registry: &Registry, subject: &Digest) -> Result<(), OciError> {
    let request = first_page(registry, subject, Some(SIGNATURE_ARTIFACT_TYPE))?;
    let host = registry.host();
    let answer = host.call(request, &registry.scope(), MAX_MANIFEST).await?;
    learn(registry, &answer).map(drop)
}

/// Remembers whether the registry has the API.
fn learn(registry: &Registry, answer: &Answer) -> Result<bool, OciError> {
    let supported = is_supported(registry, answer)?;
    registry.host().set_referrers_api(if supported {
        ReferrersApi::Supported
    } else {
        ReferrersApi::Unsupported
    });
    Ok(supported)
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
/// API also answer with 400, 405 or 501, or with a page of something else.
fn is_supported(registry: &Registry, answer: &Answer) -> Result<bool, OciError> {
    match answer.status {
        StatusCode::OK => Ok(media_type(answer).as_deref() == Some(OCI_INDEX)),
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
    mut answer: Answer,
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

fn parse_index(answer: &Answer) -> Result<Map<String, Value>, OciError> {
    manifest::parse_json(&answer.body).map_err(|source| {
        RegistryError::Referrers {
            url: shown(&answer.url),
            source,
        }
        .into()
    })
}

/// Whether the registry says that it filtered by artifact type (OCI-30).
fn is_filtered(answer: &Answer, members: &Map<String, Value>) -> bool {
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
fn next_page(registry: &Registry, answer: &Answer) -> Result<Option<Url>, OciError> {
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
                    self.unreadable(&causes(&error));
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
