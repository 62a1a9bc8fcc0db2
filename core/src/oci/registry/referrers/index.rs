//! The index of the referrers tag schema: an image index under a tag made of the subject's digest
//! (OCI-24 to OCI-28).
//!
//! A registry has no compare-and-swap for tags: of two writers that read the same index and add to
//! it, the later one overwrites the earlier. What is done about it:
//!
//! - Writers of one process stand in a queue for each subject; the first writes for all that wait.
//! - Of the processes of a user on one machine one at a time reads and writes ([`IndexLock`]).
//! - A writer that has written waits for a while of random length (`settle`, and longer where the
//!   registry was slow), reads the index again, and writes again if its entries are gone. Where
//!   others wrote meanwhile, it waits and reads once more.
//! - An old index is deleted only after that, and never while the tag leads to it.
//!
//! What the tag leads to may be no list of ours: registries are in use that read `sha256-<hex>` as
//! the digest, and a tag can be given to anything. So:
//!
//! - What has the subject's digest is no list yet. What is no index, or an index of other things,
//!   is refused before anything is stored, and never overwritten.
//! - Deleted is only a list that was read or written under the tag, and whose entries' manifests
//!   were all fetched and name the subject ([`OwnList`]). Any other is left, and told of.
//!
//! What remains: a writer on another machine whose request takes effect later than others wait, counted from
//! when it read the index, can still overwrite an entry that was already found settled. The signature is
//! then stored and not listed; registries with the referrers API have no such window.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Map, Value, json};

use super::lock::IndexLock;
use super::{pause, tag};
use crate::artifact::Digest;
use crate::artifact::reference::{RepositoryName, TagOrDigest};
use crate::budget::Lock;
use crate::net::{Method, StatusCode, jitter};
use crate::oci::manifest::{self, Entry, MAX_MANIFEST, Manifest, ManifestError, OCI_INDEX};
use crate::oci::registry::host::unexpected;
use crate::oci::registry::{Registry, RegistryError, guard, media_type};
use crate::oci::{OciError, Warning};
use crate::text::WithCauses;

/// How often an index is written before giving up.
const MAX_ATTEMPTS: u32 = 40;
/// How often an index is written whose entries the registry does not have, before giving up.
const MAX_GONE: u32 = 10;
/// How often in a row the tag may lead to what it led to before it was written.
const MAX_UNCHANGED: u32 = 3;
/// Most entries of an index whose manifests are fetched.
const MAX_JUDGED: usize = 1000;
/// Manifests fetched at a time.
const IN_FLIGHT: usize = 8;
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

impl IndexChange {
    fn is_removal(&self) -> bool {
        matches!(self, Self::Remove(_))
    }
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
    turn: Lock<()>,
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

/// What stands under the referrers tag.
#[derive(Debug)]
pub(super) enum Standing {
    /// Nothing.
    Nothing,
    /// The subject itself: the registry reads the tag as a digest, and there is no list yet.
    Subject,
    /// An index that may be a list.
    List(Current),
    /// Something else, and what.
    Other(String),
}

/// Reads what stands under the referrers tag of a subject.
pub(super) async fn read(registry: &Registry, subject: &Digest) -> Result<Standing, OciError> {
    let request = registry.manifest_request(Method::GET, &tag(subject))?;
    let answer = registry
        .host()
        .call(request, &registry.scope(), MAX_MANIFEST)
        .await?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(Standing::Nothing),
        _ => return Err(unexpected(Method::GET, &answer)),
    }
    if manifest::digest(subject.algorithm(), &answer.body) == *subject {
        return Ok(Standing::Subject);
    }
    let found = media_type(&answer).unwrap_or_default();
    if !super::is_index(&answer) {
        if manifest::is_manifest(&found) {
            return Ok(Standing::Other(format!("a manifest of type {found}")));
        }
        return Err(RegistryError::MediaType {
            url: crate::net::shown(&answer.url),
            found,
        }
        .into());
    }
    let members = super::parse_index(&answer)?;
    if members.get("subject").is_some_and(|s| !s.is_null()) {
        let text = "an index that is itself attached to something";
        return Ok(Standing::Other(text.to_owned()));
    }
    Ok(Standing::List(Current {
        members,
        digest: manifest::describe(OCI_INDEX, &answer.body).digest,
    }))
}

/// The same where the tag need not be there: a registry that refuses such tags has none.
pub(super) async fn read_beside_api(
    registry: &Registry,
    subject: &Digest,
) -> Result<Standing, OciError> {
    match read(registry, subject).await {
        Err(OciError::Registry(error)) => match *error {
            RegistryError::Status {
                status: 400 | 404 | 405 | 406 | 501,
                ..
            } => Ok(Standing::Nothing),
            error => Err(error.into()),
        },
        other => other,
    }
}

/// Makes sure that a referrer of `subject` can be listed under the tag, before it is stored.
pub(super) async fn check(registry: &Registry, subject: &Digest) -> Result<(), OciError> {
    match read(registry, subject).await? {
        Standing::Nothing => Ok(()),
        Standing::Other(found) => Err(occupied(subject, found)),
        Standing::List(current) => match judge(registry, subject, &current.members).await? {
            Nature::Foreign(found) => Err(occupied(subject, found)),
            Nature::Own | Nature::Unsure(_) => Ok(()),
        },
        Standing::Subject => try_tag(registry, subject).await,
    }
}

fn occupied(subject: &Digest, found: String) -> OciError {
    RegistryError::TagOccupied {
        tag: tag(subject).to_string(),
        found,
    }
    .into()
}

/// Where the tag is read as a digest until it is written: writes a list without entries, to see
/// whether it is read as a tag from then on.
async fn try_tag(registry: &Registry, subject: &Digest) -> Result<(), OciError> {
    let queue = registry.index_writers().queue(registry, subject);
    let _turn = queue.turn.lock().await;
    queue.turn.lead(write_placeholder(registry, subject)).await
}

async fn write_placeholder(registry: &Registry, subject: &Digest) -> Result<(), OciError> {
    let lock = IndexLock::acquire(registry, subject).await;
    // Another may have written it meanwhile.
    if !matches!(read(registry, subject).await?, Standing::Subject) {
        return Ok(());
    }
    put(registry, &tag(subject), placeholder(subject)?).await?;
    drop(lock);
    for wait in [Duration::ZERO, settle(registry, Duration::ZERO)] {
        pause(registry, wait).await;
        if !matches!(read(registry, subject).await?, Standing::Subject) {
            return Ok(());
        }
    }
    Err(RegistryError::TagUnchanged {
        tag: tag(subject).to_string(),
        attempts: 1,
    }
    .into())
}

/// A list without entries that names its subject, so that its digest is that of nothing else.
fn placeholder(subject: &Digest) -> Result<Vec<u8>, OciError> {
    let list = json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [],
        "annotations": {"org.opencontainers.image.description": format!("referrers of {subject}")},
    });
    manifest::to_json(&list).map_err(OciError::Write)
}

/// What an index under a referrers tag is.
enum Nature {
    /// A list: the manifest of each entry names the subject.
    Own,
    /// Not known for sure, and why.
    Unsure(String),
    /// Something else, and what.
    Foreign(String),
}

/// A list of ours, which may be deleted; made by [`OwnList::prove`] alone.
#[derive(Debug)]
pub(in crate::oci) struct OwnList {
    digest: Digest,
}

impl OwnList {
    /// Fetches the manifest of each entry: all must name the subject.
    async fn prove(
        registry: &Registry,
        subject: &Digest,
        digest: &Digest,
        members: &Map<String, Value>,
    ) -> Result<Self, String> {
        if digest == subject || members.get("subject").is_some_and(|s| !s.is_null()) {
            return Err("it is not a list".to_owned());
        }
        let placeholder = placeholder(subject).map_err(|error| WithCauses(&error).to_string())?;
        if manifest::describe(OCI_INDEX, &placeholder).digest == *digest {
            return Ok(Self {
                digest: digest.clone(),
            });
        }
        match judge(registry, subject, members).await {
            Ok(Nature::Own) => Ok(Self {
                digest: digest.clone(),
            }),
            Ok(Nature::Unsure(why)) => Err(why),
            Ok(Nature::Foreign(what)) => Err(format!("it is {what}")),
            Err(error) => Err(WithCauses(&error).to_string()),
        }
    }

    pub(in crate::oci) fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// What the manifest of one entry says.
enum Named {
    Subject,
    Other,
    /// It can't be read. The entry calls itself a referrer: it has an artifact type, which those
    /// of other indexes have not.
    Unread,
}

async fn judge(
    registry: &Registry,
    subject: &Digest,
    members: &Map<String, Value>,
) -> Result<Nature, OciError> {
    let list = members.get("manifests").and_then(Value::as_array);
    let list = list.map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        return Ok(Nature::Unsure("it has no entries".to_owned()));
    }
    let looked_at = list.iter().take(MAX_JUDGED);
    let (mut own, mut other, mut unread) = (0_usize, 0_usize, 0_usize);
    let entries: Vec<_> = looked_at.map(Entry::from_value).collect();
    let fetched = entries
        .into_iter()
        .map(|entry| named(registry, subject, entry));
    let mut fetched = stream::iter(fetched).buffer_unordered(IN_FLIGHT);
    while let Some(named) = fetched.next().await {
        match named? {
            Named::Subject => own = own.saturating_add(1),
            Named::Other => other = other.saturating_add(1),
            Named::Unread => unread = unread.saturating_add(1),
        }
    }
    Ok(if own == list.len() {
        Nature::Own
    } else if own == 0 && other > 0 {
        Nature::Foreign("an index of other things".to_owned())
    } else if other > 0 {
        Nature::Unsure("not all that it lists is attached to the artifact".to_owned())
    } else if unread > 0 {
        Nature::Unsure("not all that it lists can be read".to_owned())
    } else {
        Nature::Unsure(format!("it has more than {MAX_JUDGED} entries"))
    })
}

async fn named(
    registry: &Registry,
    subject: &Digest,
    entry: Result<Entry, ManifestError>,
) -> Result<Named, OciError> {
    let Ok(entry) = entry else {
        return Ok(Named::Unread);
    };
    let referrer = &entry.descriptor.digest;
    if registry.known().is_named(referrer, subject) {
        return Ok(Named::Subject);
    }
    let unread = if entry.artifact_type.is_some() && entry.platform.is_none() {
        Named::Unread
    } else {
        Named::Other
    };
    let bytes = match registry.manifest_bytes(&entry.descriptor).await {
        Ok(bytes) => bytes,
        Err(error) if error.is_about_content() => return Ok(unread),
        Err(error) => return Err(error),
    };
    let Ok(parsed) = Manifest::parse(&entry.descriptor.media_type, &bytes) else {
        return Ok(unread);
    };
    let names = parsed
        .subject
        .is_some_and(|s| s.descriptor.digest == *subject);
    if !names {
        return Ok(Named::Other);
    }
    registry.known().names(referrer, subject);
    Ok(Named::Subject)
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
    let write = write(registry, subject, &changes);
    let warnings = queue.turn.lead(write).await?;
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
    let mut replaced = HashMap::new();
    let mut slowest = Duration::ZERO;
    let mut unchanged = 0_u32;
    // What is written was read under the lock.
    let mut lock = IndexLock::acquire(registry, subject).await;
    let mut started = Instant::now();
    let mut current = current_of(registry, subject, changes).await?;
    for attempt in 0..MAX_ATTEMPTS {
        let Some(next) = merge(current.as_ref(), changes).map_err(OciError::Write)? else {
            drop(lock);
            return Ok(remove_replaced(registry, subject, current.as_ref(), replaced).await);
        };
        let members = manifest::parse_json(&next).map_err(OciError::Write)?;
        let written = match put(registry, &tag, next).await {
            Err(error) if attempt < MAX_GONE && lists_what_is_gone(&error) => {
                drop(lock.take());
                pause(registry, jitter(crowd(attempt.saturating_add(1), slowest))).await;
                lock = IndexLock::acquire(registry, subject).await;
                started = Instant::now();
                current = current_of(registry, subject, changes).await?;
                continue;
            }
            written => written?,
        };
        drop(lock.take());
        slowest = slowest.max(started.elapsed());
        let before = current.as_ref().map(|c| c.digest.clone());
        replaced.extend(current.map(|c| (c.digest, c.members)));
        replaced.insert(written.clone(), members);
        pause(registry, settle(registry, slowest)).await;
        started = Instant::now();
        current = current_of(registry, subject, changes).await?;
        // A registry that takes the write and does not follow it is no crowd of writers.
        unchanged = if current.as_ref().map(|c| &c.digest) == before.as_ref() {
            unchanged.saturating_add(1)
        } else {
            0
        };
        if unchanged == MAX_UNCHANGED {
            return Err(RegistryError::TagUnchanged {
                tag: tag.to_string(),
                attempts: unchanged,
            }
            .into());
        }
        // Others write too, and one of them may be slow to write what it read before us: what is
        // there now is looked at once more.
        let others = current.as_ref().is_none_or(|c| c.digest != written);
        let there = merge(current.as_ref(), changes).map_err(OciError::Write)?;
        if others && there.is_none() {
            pause(registry, settle(registry, slowest)).await;
            started = Instant::now();
            current = current_of(registry, subject, changes).await?;
        }
        let there = merge(current.as_ref(), changes).map_err(OciError::Write)?;
        if there.is_none() {
            continue;
        }
        if attempt > 0 {
            // Many write at once: spread out, or all overwrite each other again.
            pause(registry, jitter(crowd(attempt, slowest))).await;
        }
        lock = IndexLock::acquire(registry, subject).await;
        if attempt > 0 || lock.is_some() {
            started = Instant::now();
            current = current_of(registry, subject, changes).await?;
        }
    }
    Err(RegistryError::Contention {
        tag: tag.to_string(),
        attempts: MAX_ATTEMPTS,
    }
    .into())
}

/// Whether a registry that looks at an index's entries has refused one: whoever deletes a signature deletes it
/// before its entry, since there are registries that delete nothing.
fn lists_what_is_gone(error: &OciError) -> bool {
    let OciError::Registry(error) = error else {
        return false;
    };
    let codes = ["MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN"];
    matches!(&**error, RegistryError::Status { faults, .. } if codes.iter().any(|code| faults.has(code)))
}

/// The index to change. What is no list is never overwritten, and lists nothing to remove.
async fn current_of(
    registry: &Registry,
    subject: &Digest,
    changes: &[IndexChange],
) -> Result<Option<Current>, OciError> {
    let removal = changes.iter().all(IndexChange::is_removal);
    let standing = if removal {
        read_beside_api(registry, subject).await?
    } else {
        read(registry, subject).await?
    };
    match standing {
        Standing::Nothing | Standing::Subject => Ok(None),
        Standing::List(current) => Ok(Some(current)),
        Standing::Other(_) if removal => Ok(None),
        Standing::Other(found) => Err(occupied(subject, found)),
    }
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

/// Deletes the lists that were replaced, unless the tag leads to one again. What is not known to
/// be a list of the subject's referrers is left. A registry that does not delete leaves garbage,
/// which is no error (OCI-25).
async fn remove_replaced(
    registry: &Registry,
    subject: &Digest,
    current: Option<&Current>,
    replaced: HashMap<Digest, Map<String, Value>>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (digest, members) in replaced {
        if current.is_some_and(|c| c.digest == digest) {
            continue;
        }
        let list = match OwnList::prove(registry, subject, &digest, &members).await {
            Ok(list) => list,
            Err(reason) => {
                warnings.push(Warning::KeptIndex { digest, reason });
                continue;
            }
        };
        if registry.delete_list(&list).await.is_err() && !warnings.contains(&Warning::OutdatedIndex)
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
