//! `index.json` as text: its elements, findable by digest and by tag, and the changes to them.
//!
//! An element is kept as the compact JSON that it is written as, so that neither reading nor
//! writing an index of many signatures makes a tree of it, and members that are not understood
//! stay as they are. Finding one takes no longer in a large index than in a small one.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value as Tree;

use super::LayoutError;
use crate::artifact::{Descriptor, Digest};
use crate::json::{self, Limits, Value};
use crate::oci::manifest::{self, Entry, ManifestError};

/// Largest `index.json`, in bytes: about seventy thousand signatures.
pub(super) const MAX_INDEX: u64 = 32 * 1024 * 1024;
/// Annotation that holds a tag (OCI-36).
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The parsed file.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// The text up to the first element.
    head: String,
    /// The text after the last one.
    tail: String,
    /// The elements in their order; `None` where one was removed.
    elements: Vec<Option<Box<str>>>,
    live: usize,
    /// Bytes of the elements.
    size: u64,
    by_digest: HashMap<Digest, Vec<usize>>,
    by_tag: HashMap<String, Vec<usize>>,
}

/// What to do to the index.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Add an entry, unless the digest already stands there; with a tag, the tag is moved to it.
    Add {
        /// The entry, without a tag annotation.
        entry: Entry,
        /// The tag.
        tag: Option<String>,
    },
    /// Remove every entry with that digest.
    Remove(Digest),
}

/// What a change did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Effect {
    /// There was nothing to do.
    Nothing,
    /// An element was added at the end.
    Added,
    /// Elements were removed or changed.
    Rewritten,
}

impl Index {
    /// Path of the file in a layout.
    pub(super) fn path(root: &Path) -> PathBuf {
        root.join("index.json")
    }

    /// Parses the file.
    pub(super) fn parse(root: &Path, bytes: &[u8]) -> Result<Self, LayoutError> {
        let path = Self::path(root);
        let fail = |source| LayoutError::Json {
            path: path.clone(),
            source,
        };
        let mut index = Self {
            head: "{".to_owned(),
            tail: String::new(),
            elements: Vec::new(),
            live: 0,
            size: 0,
            by_digest: HashMap::new(),
            by_tag: HashMap::new(),
        };
        let read = json::parse_list(bytes, LIMITS, "manifests", |element| {
            let digest = element.get("digest").and_then(Value::as_str);
            let digest = digest.and_then(|digest| digest.parse().ok());
            let annotations = element.get("annotations");
            let tag = annotations.and_then(|a| a.get(REF_NAME)?.as_str());
            index.push(digest, tag.map(str::to_owned), element.to_json());
        });
        let read = read.map_err(|error| fail(ManifestError::Json(error)))?;
        let Value::Object(members) = read else {
            let tree = manifest::parse_json::<serde_json::Map<String, Tree>>(bytes);
            return Err(match tree {
                Err(error) => fail(error),
                Ok(_) => LayoutError::IndexShape { path },
            });
        };
        let mut is_there = false;
        for (name, value) in members {
            let text = match is_there {
                false => &mut index.head,
                true => &mut index.tail,
            };
            if text.len() > 1 || is_there {
                text.push(',');
            }
            json::write_string(text, &name);
            text.push(':');
            match value {
                // Go writes an empty list as null.
                Value::Array(_) | Value::Null if name == "manifests" => is_there = true,
                _ if name == "manifests" => return Err(LayoutError::IndexShape { path }),
                other => text.push_str(&other.to_json()),
            }
        }
        if !is_there {
            if index.head.len() > 1 {
                index.head.push(',');
            }
            index.head.push_str("\"manifests\":");
        }
        index.head.push('[');
        index.tail = format!("]{}}}", index.tail);
        Ok(index)
    }

    /// Writes the file.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(self.head.as_bytes())?;
        for (n, element) in self.elements.iter().flatten().enumerate() {
            if n > 0 {
                to.write_all(b",")?;
            }
            to.write_all(element.as_bytes())?;
        }
        to.write_all(self.tail.as_bytes())
    }

    /// Bytes that the file will have.
    pub(super) fn written_size(&self) -> u64 {
        let commas = self.live.saturating_sub(1);
        let around = self.head.len() + self.tail.len() + commas;
        self.size + u64::try_from(around).unwrap_or(u64::MAX)
    }

    /// Elements, those that were removed among them: their numbers are `0..elements`.
    pub(super) fn elements(&self) -> usize {
        self.elements.len()
    }

    /// Elements that there are.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// The element with a number, readable or not; `None` where it was removed.
    pub(super) fn entry(&self, number: usize) -> Option<Result<Entry, ManifestError>> {
        let text = self.elements.get(number)?.as_deref()?;
        Some(Entry::from_json(text))
    }

    /// The first readable element with a digest.
    pub(super) fn find(&self, digest: &Digest) -> Option<Descriptor> {
        let mut numbers = self.by_digest.get(digest).into_iter().flatten();
        numbers.find_map(|n| self.entry(*n)?.ok().map(|e| e.descriptor))
    }

    /// The artifact that a tag names (OCI-36).
    pub(super) fn tagged(&self, tag: &str) -> Result<Option<Descriptor>, LayoutError> {
        let mut found: Option<Descriptor> = None;
        for number in self.by_tag.get(tag).into_iter().flatten() {
            let Some(Ok(entry)) = self.entry(*number) else {
                continue;
            };
            if found
                .as_ref()
                .is_some_and(|f| f.digest != entry.descriptor.digest)
            {
                return Err(LayoutError::AmbiguousTag {
                    tag: tag.to_owned(),
                });
            }
            found = Some(entry.descriptor);
        }
        Ok(found)
    }

    /// The tags, each once, in the order of the elements.
    pub(super) fn tags(&self) -> Vec<String> {
        let readable = |n: &&usize| matches!(self.entry(**n), Some(Ok(_)));
        let mut tags: Vec<(usize, &String)> = self
            .by_tag
            .iter()
            .filter_map(|(tag, numbers)| Some((*numbers.iter().find(readable)?, tag)))
            .collect();
        tags.sort_unstable();
        tags.into_iter().map(|(_, tag)| tag.clone()).collect()
    }

    /// Makes the change.
    pub(super) fn apply(&mut self, change: &Change) -> Result<Effect, ManifestError> {
        match change {
            Change::Add { entry, tag: None } => {
                let digest = &entry.descriptor.digest;
                if self.by_digest.contains_key(digest) {
                    return Ok(Effect::Nothing);
                }
                self.push(Some(digest.clone()), None, text(&entry.to_value()?)?);
                Ok(Effect::Added)
            }
            Change::Add {
                entry,
                tag: Some(tag),
            } => {
                self.apply_tag(entry, tag)?;
                Ok(Effect::Rewritten)
            }
            Change::Remove(digest) => {
                let Some(numbers) = self.by_digest.remove(digest) else {
                    return Ok(Effect::Nothing);
                };
                for number in numbers {
                    if let Some(tag) = self.tag_of(number) {
                        self.forget_tag(&tag, number);
                    }
                    self.take(number);
                }
                Ok(Effect::Rewritten)
            }
        }
    }

    fn apply_tag(&mut self, entry: &Entry, tag: &str) -> Result<(), ManifestError> {
        let digest = &entry.descriptor.digest;
        let mut tagged = entry.clone();
        let annotations = &mut tagged.descriptor.annotations;
        annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        let new = text(&tagged.to_value()?)?;
        for number in self.by_tag.remove(tag).unwrap_or_default() {
            // What the tag named before stays, without it.
            self.untag(number)?;
        }
        let numbers = self.by_digest.get(digest).cloned().unwrap_or_default();
        let (kept, replaced): (Vec<usize>, Vec<usize>) =
            numbers.into_iter().partition(|n| self.tag_of(*n).is_some());
        for number in replaced {
            self.take(number);
        }
        self.by_digest.insert(digest.clone(), kept);
        self.push(Some(digest.clone()), Some(tag.to_owned()), new);
        Ok(())
    }

    fn push(&mut self, digest: Option<Digest>, tag: Option<String>, text: String) {
        let number = self.elements.len();
        if let Some(digest) = digest {
            self.by_digest.entry(digest).or_default().push(number);
        }
        if let Some(tag) = tag {
            self.by_tag.entry(tag).or_default().push(number);
        }
        self.live += 1;
        self.size += u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.elements.push(Some(text.into_boxed_str()));
    }

    fn take(&mut self, number: usize) {
        let element = self.elements.get_mut(number).and_then(Option::take);
        if let Some(text) = element {
            self.live -= 1;
            self.size -= u64::try_from(text.len()).unwrap_or(0);
        }
    }

    fn untag(&mut self, number: usize) -> Result<(), ManifestError> {
        let Some(mut tree) = self.tree(number) else {
            return Ok(());
        };
        let annotations = tree.get_mut("annotations").and_then(Tree::as_object_mut);
        if let Some(annotations) = annotations {
            annotations.shift_remove(REF_NAME);
        }
        let new = text(&tree)?;
        self.take(number);
        self.live += 1;
        self.size += u64::try_from(new.len()).unwrap_or(u64::MAX);
        if let Some(place) = self.elements.get_mut(number) {
            *place = Some(new.into_boxed_str());
        }
        Ok(())
    }

    fn forget_tag(&mut self, tag: &str, number: usize) {
        if let Some(numbers) = self.by_tag.get_mut(tag) {
            numbers.retain(|n| *n != number);
            if numbers.is_empty() {
                self.by_tag.remove(tag);
            }
        }
    }

    fn tag_of(&self, number: usize) -> Option<String> {
        let tree = self.tree(number)?;
        Some(tree.get("annotations")?.get(REF_NAME)?.as_str()?.to_owned())
    }

    fn tree(&self, number: usize) -> Option<Tree> {
        serde_json::from_str(self.elements.get(number)?.as_deref()?).ok()
    }
}

fn text(value: &Tree) -> Result<String, ManifestError> {
    let bytes = manifest::to_json(value)?;
    // A serializer of JSON writes UTF-8.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An index may have many entries, each of which is small.
const LIMITS: Limits = Limits {
    bytes: MAX_INDEX as usize,
    depth: 32,
    values: 2_000_000,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::manifest::{OCI_MANIFEST, describe};

    fn parse(text: &str) -> Index {
        Index::parse(Path::new("layout"), text.as_bytes()).unwrap()
    }

    fn written(index: &Index) -> String {
        let mut bytes = Vec::new();
        index.write(&mut bytes).unwrap();
        assert_eq!(index.written_size(), u64::try_from(bytes.len()).unwrap());
        String::from_utf8(bytes).unwrap()
    }

    fn entry(content: &str) -> Entry {
        Entry::new(describe(OCI_MANIFEST, content.as_bytes()))
    }

    fn add(content: &str, tag: Option<&str>) -> Change {
        Change::Add {
            entry: entry(content),
            tag: tag.map(str::to_owned),
        }
    }

    /// OCI-37: members before, between and after stay where they are and as they are.
    #[test]
    fn oci_37_what_is_not_understood_is_kept() {
        for (read, kept) in [
            (r#"{}"#, r#"{"manifests":[]}"#),
            (r#"{"manifests":null}"#, r#"{"manifests":[]}"#),
            (
                r#"{ "a": 1.50, "manifests": [], "b": {"c": [null, true]} }"#,
                r#"{"a":1.50,"manifests":[],"b":{"c":[null,true]}}"#,
            ),
            (r#"{"a":"<"}"#, r#"{"a":"\u003c","manifests":[]}"#),
            (
                r#"{"manifests":[{"digest":7}, 1],"z":1}"#,
                r#"{"manifests":[{"digest":7},1],"z":1}"#,
            ),
        ] {
            assert_eq!(written(&parse(read)), kept);
        }
        for read in ["[]", "7", r#"{"manifests":{}}"#, r#"{"manifests":1}"#, "{"] {
            assert!(
                Index::parse(Path::new("layout"), read.as_bytes()).is_err(),
                "{read}"
            );
        }
    }

    #[test]
    fn an_entry_is_added_once_and_found() {
        let mut index = parse(r#"{"manifests":[]}"#);
        for n in 0..100 {
            let change = add(&n.to_string(), None);
            assert_eq!(index.apply(&change).unwrap(), Effect::Added);
            assert_eq!(index.apply(&change).unwrap(), Effect::Nothing);
        }
        assert_eq!((index.live(), index.elements()), (100, 100));
        let again = parse(&written(&index));
        for index in [&index, &again] {
            let digest = entry("57").descriptor.digest;
            assert_eq!(index.find(&digest), Some(entry("57").descriptor));
            assert_eq!(index.find(&entry("x").descriptor.digest), None);
        }
        assert_eq!(written(&again), written(&index));
    }

    /// OCI-36: a tag moves; what it named stays, without it.
    #[test]
    fn oci_36_a_tag_stands_at_one() {
        let mut index = parse(r#"{"manifests":[]}"#);
        for change in [
            add("a", None),
            add("a", Some("v1")),
            add("b", Some("v1")),
            add("c", Some("v2")),
        ] {
            index.apply(&change).unwrap();
        }
        assert_eq!(index.tags(), ["v1", "v2"]);
        assert_eq!(index.live(), 3);
        let tagged = index.tagged("v1").unwrap().unwrap();
        assert_eq!(tagged.digest, entry("b").descriptor.digest);
        assert!(index.find(&entry("a").descriptor.digest).is_some());
        assert_eq!(written(&parse(&written(&index))), written(&index));
        // One artifact under two tags, and the second one taken from it.
        index.apply(&add("b", Some("v2"))).unwrap();
        index.apply(&add("c", Some("v2"))).unwrap();
        assert_eq!(index.tags(), ["v1", "v2"]);
        index
            .apply(&Change::Remove(entry("b").descriptor.digest))
            .unwrap();
        assert_eq!(index.tagged("v1").unwrap(), None);
        assert_eq!(index.tags(), ["v2"]);
        let removed = Change::Remove(entry("b").descriptor.digest);
        assert_eq!(index.apply(&removed).unwrap(), Effect::Nothing);
        assert_eq!(written(&parse(&written(&index))), written(&index));
    }
}
