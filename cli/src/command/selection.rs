//! Which artifacts the references of a batch stand for: what is named, one platform of an index, or
//! an index with all that it lists.

use std::collections::HashSet;

use hardsign_core::artifact::reference::TagOrDigest;
use hardsign_core::artifact::{Descriptor, Digest};
use hardsign_core::budget::{Budget, Phase};
use hardsign_core::oci::walk::{Walked, select_platform, walk};
use hardsign_core::oci::{AnyRepository, SignatureSource as _};

use super::Context;
use super::repository::{Named, Opener, Target};
use crate::args::{Deadline, Selection};
use crate::failure::Failure;

/// One artifact of a batch.
pub(super) struct Item {
    /// As the user knows it: what was typed, or `<repository>@<digest>` for what an index lists.
    pub(super) reference: String,
    /// Whether it was named by a tag.
    pub(super) by_tag: bool,
    found: Found,
}

/// What is known of an artifact before its turn comes.
enum Found {
    /// Where it is: it is resolved in its turn.
    Later(Target),
    Already(Target, Descriptor),
    /// An index leads to it, and it is read in its turn.
    Listed(Target, Walked),
    /// It can't be found, which is told in its turn.
    Not(Failure),
}

impl Item {
    /// Where the artifact is, and the artifact, resolved now unless it was before.
    pub(super) async fn artifact(
        self,
        verb: &str,
        budget: &Budget,
        context: &Context,
    ) -> Result<(AnyRepository, Descriptor), Failure> {
        let found = match self.found {
            Found::Not(failure) => return Err(failure),
            found => found,
        };
        let find = async {
            let (target, artifact) = match found {
                Found::Later(target) => {
                    let artifact = target.resolve(verb, context).await?;
                    (target, artifact)
                }
                Found::Already(target, artifact) => (target, artifact),
                Found::Listed(target, walked) => {
                    let artifact = walked.read(&target.place).await?;
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
    let mut items = Vec::new();
    let mut seen = HashSet::new();
    for (Named { text, .. }, target) in references.into_iter().zip(targets) {
        let by_tag = target.as_ref().is_ok_and(Target::is_by_tag);
        let item = |found| Item {
            reference: text.clone(),
            by_tag,
            found,
        };
        let target = match target {
            Ok(target) if matches!(selection, Selection::Named) => {
                items.push(item(Found::Later(target)));
                continue;
            }
            Ok(target) => target,
            Err(failure) => {
                items.push(item(Found::Not(failure)));
                continue;
            }
        };
        let name = target.place.name();
        let select = selected(&target, selection, verb, context);
        match deadline.budget().run(Phase::Resolving, select).await {
            Err(failure) => items.push(item(Found::Not(failure))),
            Ok(found) => {
                for found in found {
                    let digest = found.digest().clone();
                    if !seen.insert((name.clone(), digest.clone())) {
                        continue;
                    }
                    let mut target = target.clone();
                    target.target = TagOrDigest::Digest(digest.clone());
                    items.push(Item {
                        reference: format!("{name}@{digest}"),
                        by_tag: false,
                        found: match found {
                            Selected::Read(artifact) => Found::Already(target, artifact),
                            Selected::Listed(walked) => Found::Listed(target, walked),
                        },
                    });
                }
            }
        }
    }
    Ok(items)
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
            let walked = walk(&target.place, &root).await?;
            walked.into_iter().map(Selected::Listed).collect()
        }
        Selection::Platform(platform) => {
            let chosen = select_platform(&target.place, &root, platform).await?;
            vec![Selected::Read(chosen)]
        }
    })
}
