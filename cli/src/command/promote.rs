//! `hardsign promote`: an artifact is verified, copied with all that is attached to it, and signed at
//! its new place (REQ-04 to REQ-06).
//!
//! What leaves nothing comes first: the verification, the login, the signature. Then the copy, the
//! signature's storing, and last the tag, so that whoever goes by the tag finds an artifact that is
//! signed. Each step sends what is missing, so that a promotion that was broken off is run again.

use std::cell::Cell;
use std::sync::Arc;

use hardsign_core::artifact::reference::TagOrDigest;
use hardsign_core::artifact::{Descriptor, Kind};
use hardsign_core::budget::Phase;
use hardsign_core::dirs::Dirs;
use hardsign_core::envelope::Format;
use hardsign_core::oci::copy::{Copied, CopyOptions, copy, tag};
use hardsign_core::oci::{OciError, Repository, Warning};
use hardsign_core::plugin::PluginSigner;
use hardsign_core::policy::oci::Document;
use hardsign_core::sign::{
    self, LearntLeaf, Made, Present, SignError, SignOptions, SignedArtifact, Unless,
};
use hardsign_core::verify::{Options, Outcome, Policy, Verified};
use serde_json::json;

use super::ends::Ends;
use super::repository::Target;
use super::{Context, copy as copying, signer, verify};
use crate::args::Output;
use crate::args::promote::PromoteArgs;
use crate::failure::Failure;
use crate::failure::verification::{Asked, refusal};
use crate::output::{json, one_line};

/// How far it has come, which a failure must tell.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    /// Nothing is at the destination that was not there before.
    #[default]
    Before,
    /// It is being copied.
    Copying,
    /// It is there, and the signature is not.
    Unsigned,
    /// All is there but the tag.
    Untagged,
}

/// The own signature at the destination.
enum Own {
    /// Made now, and not stored yet.
    Made(Made),
    /// It was there, or comes with the copy.
    Existing(Descriptor),
}

/// What was done.
struct Done {
    copied: Copied,
    /// The signature's manifest.
    signature: Descriptor,
    already_signed: bool,
    warnings: Vec<Warning>,
}

/// What is done with and for both ends.
struct Promotion<'a> {
    args: &'a PromoteArgs,
    format: Format,
    ends: Ends,
    source: Target,
    dirs: Dirs,
    stage: Cell<Stage>,
    context: &'a Context,
}

pub(super) fn run(args: &PromoteArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let format = signer::format(&args.signing, &dirs)?;
    let ends = Ends::new(&args.ends)?;
    let source = ends.source(&dirs, context)?;
    let promotion = Promotion {
        args,
        format,
        ends,
        source,
        dirs,
        stage: Cell::default(),
        context,
    };
    let done = context.wait(async {
        let (artifact, verified) = promotion.verify().await?;
        let tag = promotion.ends.tag(&artifact)?;
        let to = promotion.finish(&artifact, tag.as_deref()).await?;
        Ok((artifact, verified, tag, to))
    });
    let stage = promotion.stage.get();
    let (artifact, verified, tag, (place, done)) =
        done.map_err(|failure| at_stage(failure, stage))?;
    for warning in done.copied.warnings.iter().chain(&done.warnings) {
        context.console.warning(warning);
    }
    let to = place.name();
    match args.signing.output {
        Output::Text => text(&to, &artifact, &done, tag.as_deref(), context),
        Output::Json => Ok(context.console.json(&json!({
            "source": format!("{}@{}", promotion.source.place.name(), artifact.digest),
            "reference": format!("{to}@{}", artifact.digest),
            "tag": tag,
            "artifact": json::descriptor(&artifact),
            "verified": verify::describe(&verified, "reference", &[]),
            "referrers": copying::referrers(&done.copied),
            "sent": copying::sent(&done.copied),
            "present": done.copied.present,
            "leftOut": copying::left_out(&done.copied),
            "signature": json::descriptor(&done.signature),
            "signatureEnvelopeType": format.media_type(),
            "alreadySigned": done.already_signed,
        }))?),
    }
}

impl Promotion<'_> {
    /// Finds the artifact, and verifies it. By digest from here on: the tag may move (OCI-19).
    async fn verify(&self) -> Result<(Descriptor, Verified), Failure> {
        let (args, context, place) = (self.args, self.context, &*self.source.place);
        let policy: Policy<Document> =
            verify::load(args.policy_file.as_deref(), &self.dirs, context)?;
        let verifier = verify::verifier(&self.dirs, context);
        let hardware = verify::require_hardware(args.require_hardware);
        let budget = args.signing.deadline.budget();
        let resolve = place.resolve(&self.source.target);
        let artifact: Result<_, OciError> = budget.run(Phase::Resolving, resolve).await;
        let artifact = artifact?;
        let options = Options::new(context.now())
            .max_signatures(args.max_signatures)
            .user_metadata(&args.user_metadata)
            .plugin_config(&args.plugin_config)
            .hardware(hardware.as_ref())
            .observer(&*context.console)
            .budget(&budget);
        let name = place.name();
        let scope = args.scope.as_deref().unwrap_or(&name);
        let progress = context.console.spinner("verifying");
        let outcome = verifier
            .verify_with_attached(&policy, place, scope, &artifact, &args.attached, options)
            .await;
        drop(progress);
        match outcome {
            Ok(Outcome::Verified(verified)) => {
                verify::print(&verified, args.signing.output, false, false, context)?;
                Ok((artifact, verified))
            }
            Ok(Outcome::Skipped(skipped)) => Err(Failure::failed(format!(
                "the trust policy skips signature verification for {}",
                one_line(&skipped.reference)
            ))
            .hint(format!(
                "nothing was copied; the statement {:?} says nothing of who may sign: change its level, or copy without verification with `{} copy`",
                skipped.statement, context.program
            ))),
            Err(error) => {
                let asked = Asked::Artifact {
                    flags: &self.ends.source_words(),
                    policy: args.policy_file.as_deref(),
                };
                let width = context.console.err_width();
                let failure = refusal(&error, &asked, context.program, width).failure;
                Err(failure.further("nothing was copied"))
            }
        }
    }

    /// All that comes after the verification.
    async fn finish(
        &self,
        artifact: &Descriptor,
        tag: Option<&str>,
    ) -> Result<(Arc<dyn Repository>, Done), Failure> {
        let signing = &self.args.signing;
        let open = signer::open(signing, Kind::Oci, &self.dirs, self.context);
        let deadline = &signing.deadline;
        let opened = deadline.budget().run(Phase::OpeningKey, open).await?;
        let signed = self.sign(artifact, &opened).await;
        // The key is not needed while a copy takes its time.
        signer::close(&opened.signer, deadline).await;
        let (own, place) = signed?;
        let place = match place {
            Some(place) => place,
            None => self.ends.destination(&self.dirs, self.context)?,
        };
        let done = self.copy(artifact, tag, &*place, own).await?;
        Ok((place, done))
    }

    /// Makes the own signature, unless there is one; nothing is stored yet. With it comes the
    /// destination, unless that is a layout which is yet to be made.
    async fn sign(
        &self,
        artifact: &Descriptor,
        opened: &signer::Opened,
    ) -> Result<(Own, Option<Arc<dyn Repository>>), Failure> {
        let place = match self.ends.is_new_layout() {
            true => None,
            false => Some(self.ends.destination(&self.dirs, self.context)?),
        };
        let signer = &opened.signer;
        let (signing, dirs) = (&self.args.signing, &self.dirs);
        let options = signer::options(signing, self.format, opened, dirs, self.context)?;
        let budget = self.args.signing.deadline.budget();
        let options = options.now(self.context.now()).budget(budget.clone());
        let make = async {
            let existing = self.existing(artifact, place.as_deref(), &options).await?;
            let make = async {
                if let Some(place) = &place {
                    place.check_room().map_err(SignError::Push)?;
                }
                sign::make_signature(signer, artifact, &options).await
            };
            let leaf = LearntLeaf::default();
            let made = leaf.make_unless_there(
                signer.leaf_thumbprint(),
                !existing.is_empty(),
                |leaf| existing.find(leaf),
                make,
                Made::leaf_thumbprint,
            );
            Ok(match made.await.map_err(|error| refused(signer, error))? {
                Unless::There(found) => Own::Existing(found.manifest.clone()),
                Unless::Made(made) => Own::Made(made),
            })
        };
        let own: Result<Own, Failure> = budget.run(Phase::Signing, make).await;
        Ok((own?, place))
    }

    /// Signatures that say the same: those at the destination, and those that will come there.
    async fn existing(
        &self,
        artifact: &Descriptor,
        place: Option<&dyn Repository>,
        options: &SignOptions,
    ) -> Result<Present, Failure> {
        let existing = sign::existing(&*self.source.place, artifact, options).await?;
        let Some(place) = place else {
            return Ok(existing);
        };
        match sign::existing(place, artifact, options).await {
            Ok(found) => Ok(existing.and(found)),
            // A repository that the copy makes.
            Err(SignError::Lookup(OciError::NotFound { .. })) => Ok(existing),
            Err(error) => Err(error.into()),
        }
    }

    async fn copy(
        &self,
        artifact: &Descriptor,
        name: Option<&str>,
        place: &dyn Repository,
        own: Own,
    ) -> Result<Done, Failure> {
        let deadline = &self.args.signing.deadline;
        let source = &*self.source.place;
        let by_digest = TagOrDigest::Digest(artifact.digest.clone());
        let progress = self.context.console.spinner("copying");
        self.stage.set(Stage::Copying);
        // How much there is to copy is not known, so that without a deadline the rate alone is bounded.
        let budget = deadline.given();
        let options = CopyOptions::default();
        let copied = copy(source, &by_digest, place, None, &options);
        let copied: Result<_, OciError> = budget.run(Phase::Copying, copied).await;
        let copied = copied?;
        self.stage.set(Stage::Unsigned);
        let (signature, already_signed, mut warnings) = match own {
            Own::Existing(manifest) => (manifest, true, vec![]),
            Own::Made(made) => {
                let store = made.store(place);
                let stored: Result<SignedArtifact, SignError> =
                    deadline.budget().run(Phase::Storing, store).await;
                let pushed = stored?.pushed;
                (pushed.manifest, false, pushed.warnings)
            }
        };
        self.stage.set(Stage::Untagged);
        if let Some(name) = name {
            let tagged = tag(artifact, place, name);
            let tagged: Result<_, OciError> = deadline.budget().run(Phase::Copying, tagged).await;
            warnings.extend(tagged?);
        }
        drop(progress);
        Ok(Done {
            copied,
            signature,
            already_signed,
            warnings,
        })
    }
}

/// Why no signature was made.
fn refused(signer: &PluginSigner, error: SignError) -> Failure {
    let unseen = matches!(error, SignError::Unseen(_));
    let failure = signer::failure(signer, error);
    match unseen {
        true => {
            failure.hint("copy it with `hardsign copy`, and sign the copy with `hardsign sign`")
        }
        false => failure,
    }
}

/// Says what a failure has left behind, and how to go on from there.
fn at_stage(failure: Failure, stage: Stage) -> Failure {
    let left = match stage {
        Stage::Before => return failure,
        Stage::Copying => {
            "the copy is not complete, and neither signed by you nor tagged: the same command again sends what is missing"
        }
        Stage::Unsigned => {
            "the copy is complete, but neither signed by you nor tagged: the same command again finishes it"
        }
        Stage::Untagged => {
            "the copy is complete and signed, but not tagged: the same command again finishes it"
        }
    };
    failure.further(left)
}

fn text(
    to: &str,
    artifact: &Descriptor,
    done: &Done,
    tag: Option<&str>,
    context: &Context,
) -> Result<(), Failure> {
    let (console, to) = (&context.console, one_line(to));
    let digest = &artifact.digest;
    console.line(format_args!("Successfully promoted to {to}@{digest}"))?;
    copying::count(&done.copied, context)?;
    let signature = &done.signature.digest;
    if done.already_signed {
        console.line(format_args!(
            "Already signed with this key: {to}@{signature}"
        ))?;
    } else {
        console.line(format_args!("Successfully signed {to}@{digest}"))?;
        console.line(format_args!("Pushed the signature to {to}@{signature}"))?;
    }
    if let Some(tag) = tag {
        console.line(format_args!("Tagged {tag}"))?;
    }
    Ok(())
}
