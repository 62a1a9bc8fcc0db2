//! The index of the referrers tag schema: an image index under a tag made of the subject's digest
//! (OCI-24 to OCI-28).
//!
//! A registry has no compare-and-swap for tags: of two writers that read the same index and add to
//! it, the later one overwrites the earlier. What is done about it:
//!
//! - Writers of one process stand in a queue for each subject; the first writes for all that wait.
//! - A writer that has written waits for a while of random length (`settle`, and longer where the
//!   registry was slow), reads the index again, and writes again if its entries are gone. Where
//!   others wrote meanwhile, it waits and reads once more.
//! - An old index is deleted only after that, and never while the tag leads to it.
//!
//! What remains: a writer whose request takes effect later than others wait, counted from when it
//! read the index, can still overwrite an entry that was already found settled. The signature is
//! then stored and not listed; registries with the referrers API have no such window.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::tag;
use crate::artifact::Digest;
use crate::artifact::reference::{RepositoryName, TagOrDigest};
use crate::net::{Method, StatusCode, jitter};
use crate::oci::manifest::{self, Entry, MAX_MANIFEST, ManifestError, OCI_INDEX};
use crate::oci::registry::host::unexpected;
use crate::oci::registry::{Registry, RegistryError, guard, media_type};
use crate::oci::{OciError, Warning};

/// How often an index is written before giving up.
const MAX_ATTEMPTS: u32 = 40;
/// Longest wait before the index is read again.
const MAX_SETTLE: Duration = Duration::from_secs(20);

/// What to do to an index.
#[derive(Clone, Debug)]
pub(in crate::oci) enum IndexChange {
    /// List a referrer.
    Add(Entry),
    /// List it no more.
    Remove(Digest),
}

/// The queues of this process, one for each index.
#[derive(Debug, Default)]
pub(in crate::oci) struct Writers {
    queues: std::sync::Mutex<HashMap<(RepositoryName, Digest), Arc<Queue>>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: std::sync::Mutex<Vec<Waiting>>,
    /// Held by whoever writes.
    turn: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Waiting {
    change: IndexChange,
    done: Arc<AtomicBool>,
}

/// An index as it was read.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) members: Map<String, Value>,
    digest: Digest,
}

/// Reads the index of a subject's referrers; `None` where there is none.
pub(super) async fn read(
    registry: &Registry,
    subject: &Digest,
) -> Result<Option<Current>, OciError> {
    let request = registry.manifest_request(Method::GET, &tag(subject))?;
    let answer = registry
        .host()
        .call(request, &registry.scope(), MAX_MANIFEST)
        .await?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        _ => return Err(unexpected(Method::GET, &answer)),
    }
    let found = media_type(&answer).unwrap_or_default();
    if found != OCI_INDEX {
        return Err(RegistryError::MediaType {
            url: crate::net::shown(&answer.url),
            found,
        }
        .into());
    }
    Ok(Some(Current {
        members: super::parse_index(&answer)?,
        digest: manifest::describe(OCI_INDEX, &answer.body).digest,
    }))
}

/// Makes the change, together with those of others in this process that wait for the same index.
pub(in crate::oci) async fn update_index(
    registry: &Registry,
    subject: &Digest,
    change: IndexChange,
) -> Result<Vec<Warning>, OciError> {
    let queue = registry.index_writers().queue(registry, subject);
    let done = Arc::new(AtomicBool::new(false));
    guard(&queue.waiting).push(Waiting {
        change,
        done: Arc::clone(&done),
    });
    // Whoever gives up waiting takes its change out again.
    let _leave = Leave {
        queue: &queue,
        done: &done,
    };
    let _turn = queue.turn.lock().await;
    if done.load(Ordering::Acquire) {
        return Ok(Vec::new());
    }
    let batch: Vec<Waiting> = guard(&queue.waiting).clone();
    let changes: Vec<IndexChange> = batch.iter().map(|w| w.change.clone()).collect();
    let warnings = write(registry, subject, &changes).await?;
    for waiting in &batch {
        waiting.done.store(true, Ordering::Release);
    }
    guard(&queue.waiting).retain(|w| !w.done.load(Ordering::Acquire));
    Ok(warnings)
}

struct Leave<'a> {
    queue: &'a Queue,
    done: &'a Arc<AtomicBool>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        guard(&self.queue.waiting).retain(|w| !Arc::ptr_eq(&w.done, self.done));
    }
}

impl Writers {
    fn queue(&self, registry: &Registry, subject: &Digest) -> Arc<Queue> {
        let key = (registry.repository_name().clone(), subject.clone());
        let mut queues = guard(&self.queues);
        // Queues that nobody holds any more are forgotten.
        queues.retain(|_, queue| Arc::strong_count(queue) > 1);
        Arc::clone(queues.entry(key).or_default())
    }
}

async fn write(
    registry: &Registry,
    subject: &Digest,
    changes: &[IndexChange],
) -> Result<Vec<Warning>, OciError> {
    let tag = tag(subject);
    let mut replaced = HashSet::new();
    let mut slowest = Duration::ZERO;
    let mut current = read(registry, subject).await?;
    let mut started = Instant::now();
    for attempt in 0..MAX_ATTEMPTS {
        let Some(next) = merge(current.as_ref(), changes).map_err(OciError::Write)? else {
            return Ok(remove_replaced(registry, current.as_ref(), replaced).await);
        };
        let written = put(registry, &tag, next).await?;
        slowest = slowest.max(started.elapsed());
        replaced.extend(current.map(|c| c.digest));
        replaced.insert(written.clone());
        tokio::time::sleep(settle(registry, slowest)).await;
        started = Instant::now();
        current = read(registry, subject).await?;
        // Others write too, and one of them may be slow to write what it read before us: what is
        // there now is looked at once more.
        let others = current.as_ref().is_none_or(|c| c.digest != written);
        let there = merge(current.as_ref(), changes).map_err(OciError::Write)?;
        if others && there.is_none() {
            tokio::time::sleep(settle(registry, slowest)).await;
            started = Instant::now();
            current = read(registry, subject).await?;
        }
        if attempt > 0
            && merge(current.as_ref(), changes)
                .map_err(OciError::Write)?
                .is_some()
        {
            // Many write at once: spread out, or all overwrite each other again.
            tokio::time::sleep(jitter(crowd(attempt, slowest))).await;
            started = Instant::now();
            current = read(registry, subject).await?;
        }
    }
    Err(RegistryError::Contention {
        tag: tag.to_string(),
        attempts: MAX_ATTEMPTS,
    }
    .into())
}

/// How long to wait before looking whether what was written is still there.
fn settle(registry: &Registry, slowest: Duration) -> Duration {
    let base = registry.options().settle;
    let base = base.max(slowest.saturating_mul(2)).min(MAX_SETTLE);
    base.saturating_add(jitter(base))
}

/// How far apart writers spread that overwrote each other.
fn crowd(attempt: u32, slowest: Duration) -> Duration {
    let step = slowest.max(Duration::from_millis(20));
    step.saturating_mul(4_u32.saturating_mul(attempt.min(8)))
        .min(MAX_SETTLE)
}

async fn put(registry: &Registry, tag: &TagOrDigest, bytes: Vec<u8>) -> Result<Digest, OciError> {
    let limit = usize::try_from(MAX_MANIFEST).unwrap_or(usize::MAX);
    if bytes.len() > limit {
        return Err(RegistryError::IndexFull {
            tag: tag.to_string(),
            size: bytes.len(),
        }
        .into());
    }
    let descriptor = manifest::describe(OCI_INDEX, &bytes);
    registry.put_manifest_as(tag, &descriptor, bytes).await?;
    Ok(descriptor.digest)
}

/// The index with the changes made; `None` where they are made already.
fn merge(
    current: Option<&Current>,
    changes: &[IndexChange],
) -> Result<Option<Vec<u8>>, ManifestError> {
    let mut members = match current {
        Some(current) => current.members.clone(),
        None => empty_index(),
    };
    let list = members
        .entry("manifests")
        .or_insert_with(|| Value::Array(Vec::new()));
    if list.is_null() {
        *list = Value::Array(Vec::new());
    }
    let Value::Array(list) = list else {
        return Err(ManifestError::Ambiguous);
    };
    let same = |value: &Value, digest: &Digest| {
        value.get("digest").and_then(Value::as_str) == Some(digest.to_string().as_str())
    };
    let mut changed = false;
    for change in changes {
        match change {
            IndexChange::Add(entry) => {
                if !list.iter().any(|v| same(v, &entry.descriptor.digest)) {
                    list.push(entry.to_value()?);
                    changed = true;
                }
            }
            IndexChange::Remove(digest) => {
                let before = list.len();
                list.retain(|v| !same(v, digest));
                changed |= list.len() != before;
            }
        }
    }
    if changed {
        manifest::to_json(&members).map(Some)
    } else {
        Ok(None)
    }
}

fn empty_index() -> Map<String, Value> {
    match json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}) {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Deletes the indexes that were replaced, unless the tag leads to one again. A registry that
/// does not delete leaves garbage, which is no error (OCI-25).
async fn remove_replaced(
    registry: &Registry,
    current: Option<&Current>,
    replaced: HashSet<Digest>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for digest in replaced {
        if current.is_some_and(|c| c.digest == digest) {
            continue;
        }
        if registry.delete_manifest(&digest).await.is_err()
            && !warnings.contains(&Warning::OutdatedIndex)
        {
            warnings.push(Warning::OutdatedIndex);
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::manifest::{OCI_MANIFEST, describe};

    fn entry(content: &[u8]) -> Entry {
        Entry::new(describe(OCI_MANIFEST, content)).with_artifact_type("application/x")
    }

    fn current(bytes: &[u8]) -> Current {
        Current {
            members: serde_json::from_slice(bytes).unwrap(),
            digest: describe(OCI_INDEX, bytes).digest,
        }
    }

    #[test]
    fn merging() {
        // OCI-24: with what is there, without duplicates.
        let add = |content| IndexChange::Add(entry(content));
        let one = merge(None, &[add(b"1"), add(b"1")]).unwrap().unwrap();
        let text = String::from_utf8(one.clone()).unwrap();
        assert!(text.starts_with(&format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"#
        )));
        assert_eq!(text.matches("application/x").count(), 1);
        let one = current(&one);
        assert_eq!(merge(Some(&one), &[add(b"1")]).unwrap(), None);
        let two = merge(Some(&one), &[add(b"2")]).unwrap().unwrap();
        let two = current(&two);
        let removed = IndexChange::Remove(entry(b"1").descriptor.digest);
        let left = merge(Some(&two), std::slice::from_ref(&removed))
            .unwrap()
            .unwrap();
        assert_eq!(
            current(&left).members["manifests"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        assert_eq!(merge(None, &[removed]).unwrap(), None);
        assert!(merge(Some(&current(br#"{"manifests":{}}"#)), &[add(b"1")]).is_err());
    }
}
