//! Which artifacts the references of a batch stand for: what is named, one platform of an index, or
//! an index with all that it lists.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use hardsign_core::artifact::reference::TagOrDigest;
use hardsign_core::artifact::{Descriptor, Digest};
use hardsign_core::budget::{Budget, Phase};
use hardsign_core::crypto;
use hardsign_core::oci::Repository;
use hardsign_core::oci::walk::{Walked, select_platform, walk};

use super::Context;
use super::lines::Lines;
use super::many::{Feed, Listed, Name};
use super::repository::{Named, Opener, Target};
use crate::args::{Deadline, Selection};
use crate::failure::Failure;

/// One artifact of a batch.
pub(super) struct Item {
    /// As the user knows it: what was typed, or `<repository>@<digest>` for what an index lists.
    pub(super) name: Name,
    /// Whether it was named by a tag.
    pub(super) by_tag: bool,
    /// What a list says of it beside the reference.
    pub(super) user_metadata: BTreeMap<String, String>,
    found: Found,
}

/// What is known of an artifact before its turn comes.
enum Found {
    /// Where it is: it is resolved in its turn.
    Later(Target),
    /// It was resolved ahead of its turn, in which that is told.
    Ahead(Target, Result<Descriptor, Failure>),
    Already(Target, Descriptor),
    /// An index leads to it, and it is read in its turn.
    Walked(Target, Walked),
    /// It can't be found, which is told in its turn.
    Not(Failure),
}

impl Item {
    /// One of which no more is known yet.
    fn new(name: Name, user_metadata: BTreeMap<String, String>) -> Self {
        Self {
            name,
            by_tag: false,
            user_metadata,
            found: Found::Not(Failure::failed("not looked for")),
        }
    }

    fn with(self, found: Found) -> Self {
        Self { found, ..self }
    }

    /// The directory of the layout that it is in, or the registry's name of the repository, as far as that is known.
    pub(super) fn place(&self) -> Option<String> {
        match &self.found {
            Found::Later(target)
            | Found::Ahead(target, _)
            | Found::Already(target, _)
            | Found::Walked(target, _) => Some(target.place.name()),
            Found::Not(_) => None,
        }
    }

    /// The same, resolved now; what is to be told of that is told in its turn.
    pub(super) async fn resolved_ahead(self, budget: &Budget) -> Self {
        let Found::Later(target) = self.found else {
            return self;
        };
        let resolve = budget.run(Phase::Resolving, target.resolve_untold());
        let found = resolve.await;
        Self {
            found: Found::Ahead(target, found),
            ..self
        }
    }

    /// Asks the place of an artifact that was resolved ahead what storing a signature of it will need to know.
    pub(super) fn prepare(&self) {
        if let Found::Ahead(target, Ok(artifact)) = &self.found {
            target.place.prepare(artifact);
        }
    }

    /// Where the artifact is, and the artifact, resolved now unless it was before.
    pub(super) async fn artifact(
        self,
        verb: &str,
        budget: &Budget,
        context: &Context,
    ) -> Result<(Arc<dyn Repository>, Descriptor), Failure> {
        let found = match self.found {
            Found::Not(failure) | Found::Ahead(_, Err(failure)) => return Err(failure),
            found => found,
        };
        let find = async {
            let (target, artifact) = match found {
                Found::Later(target) => {
                    let artifact = target.resolve(verb, context).await?;
                    (target, artifact)
                }
                Found::Ahead(target, found) => {
                    let artifact = found?;
                    target.warn(verb, context);
                    (target, artifact)
                }
                Found::Already(target, artifact) => (target, artifact),
                Found::Walked(target, walked) => {
                    let artifact = walked.read(&*target.place).await?;
                    (target, artifact)
                }
                Found::Not(failure) => return Err(failure),
            };
            Ok((target.place, artifact))
        };
        budget.run(Phase::Resolving, find).await
    }
}

/// The artifacts that `references` stand for, in their order, each once where indexes are walked.
///
/// # Errors
/// A reference that can't be read. What can't be found is an item, so that the others are done.
pub(super) async fn items(
    references: Vec<Named>,
    opener: &Opener,
    selection: &Selection,
    verb: &str,
    deadline: &Deadline,
    context: &Context,
) -> Result<Vec<Item>, Failure> {
    let targets = references
        .iter()
        .map(|reference| opener.open_one(reference))
        .collect::<Result<Vec<_>, _>>()?;
    let walk = Walk {
        selection,
        verb,
        deadline,
        context,
    };
    let mut items = Vec::new();
    let mut seen = Seen::default();
    for (Named { text, .. }, target) in references.into_iter().zip(targets) {
        let item = Item::new(Name::typed(text), BTreeMap::new());
        items.extend(walk.expand(item, target, &mut seen).await);
    }
    Ok(items)
}

/// The artifacts that a list names, as it is read: those of `--from-file`.
pub(super) fn listed(
    lines: Lines,
    opener: Arc<Opener>,
    selection: Selection,
    verb: &'static str,
    deadline: Deadline,
    context: Context,
) -> Listed<Item> {
    let (mut feed, listed) = Feed::new(lines);
    // A task of its own: what it is at when the batch takes no more is not lost in between.
    tokio::spawn(async move {
        let walk = Walk {
            selection: &selection,
            verb,
            deadline: &deadline,
            context: &context,
        };
        let mut seen = Seen::default();
        while let Some((name, more)) = feed.next().await {
            let found = match more {
                Ok(more) => {
                    let target = opener.open_one(&Named::listed(name.text.clone()));
                    let item = Item::new(name, more.user_metadata);
                    walk.expand(item, target.unwrap_or_else(Err), &mut seen)
                        .await
                }
                Err(fault) => vec![Item::new(name, BTreeMap::new()).with(Found::Not(fault))],
            };
            for item in found {
                let line = item.name.line();
                if !feed.hand_on(item, line).await {
                    return;
                }
            }
        }
        feed.end();
    });
    listed
}

/// Artifacts that indexes had before. Since there may be millions, a hash is kept of each, and of so many that an index
/// which comes again in the list does not bring them again.
#[derive(Default)]
struct Seen(HashSet<[u8; 16]>);

impl Seen {
    /// Whether it was not there before; now it is.
    fn is_new(&mut self, place: &str, digest: &Digest) -> bool {
        let hash = crypto::sha256(format!("{place}@{digest}").as_bytes());
        let hash = hash.first_chunk().copied().unwrap_or_default();
        if self.0.len() >= MAX_SEEN {
            self.0.clear();
        }
        self.0.insert(hash)
    }
}

/// Most artifacts of indexes that are remembered.
const MAX_SEEN: usize = 1_000_000;

/// How references become items.
struct Walk<'a> {
    selection: &'a Selection,
    verb: &'a str,
    deadline: &'a Deadline,
    context: &'a Context,
}

impl Walk<'_> {
    /// The items that one reference stands for.
    async fn expand(
        &self,
        item: Item,
        target: Result<Target, Failure>,
        seen: &mut Seen,
    ) -> Vec<Item> {
        let by_tag = target.as_ref().is_ok_and(Target::is_by_tag);
        let item = Item { by_tag, ..item };
        let target = match target {
            Ok(target) if matches!(self.selection, Selection::Named) => {
                return vec![item.with(Found::Later(target))];
            }
            Ok(target) => target,
            Err(failure) => return vec![item.with(Found::Not(failure))],
        };
        let name = target.place.name();
        let select = selected(&target, self.selection, self.verb, self.context);
        let found = match self.deadline.budget().run(Phase::Resolving, select).await {
            Ok(found) => found,
            Err(failure) => return vec![item.with(Found::Not(failure))],
        };
        let mut items = Vec::new();
        for found in found {
            let digest = found.digest().clone();
            if !seen.is_new(&name, &digest) {
                continue;
            }
            let mut target = target.clone();
            target.target = TagOrDigest::Digest(digest.clone());
            items.push(Item {
                name: Name {
                    text: format!("{name}@{digest}"),
                    listed: item.name.listed.clone(),
                },
                by_tag: false,
                user_metadata: item.user_metadata.clone(),
                found: match found {
                    Selected::Read(artifact) => Found::Already(target, artifact),
                    Selected::Listed(walked) => Found::Walked(target, walked),
                },
            });
        }
        items
    }
}

/// What an index was looked through for.
enum Selected {
    Read(Descriptor),
    Listed(Walked),
}

impl Selected {
    fn digest(&self) -> &Digest {
        match self {
            Self::Read(artifact) => &artifact.digest,
            Self::Listed(walked) => &walked.artifact.digest,
        }
    }
}

async fn selected(
    target: &Target,
    selection: &Selection,
    verb: &str,
    context: &Context,
) -> Result<Vec<Selected>, Failure> {
    let root = target.resolve(verb, context).await?;
    Ok(match selection {
        Selection::Named => vec![Selected::Read(root)],
        Selection::Recursive => {
            let walked = walk(&*target.place, &root).await?;
            walked.into_iter().map(Selected::Listed).collect()
        }
        Selection::Platform(platform) => {
            let chosen = select_platform(&*target.place, &root, platform).await?;
            vec![Selected::Read(chosen)]
        }
    })
}
