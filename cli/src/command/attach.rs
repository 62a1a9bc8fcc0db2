//! `hardsign attach`: a file beside an artifact, and its signature, in one go.
//!
//! The signature is made before anything is stored, so that a key that fails leaves nothing behind.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};

use hardsign_core::algorithm::HashAlgorithm;
use hardsign_core::artifact::reference::TagOrDigest;
use hardsign_core::artifact::{Descriptor, Kind};
use hardsign_core::blob::{describe, read_apart};
use hardsign_core::budget::Phase;
use hardsign_core::dirs::Dirs;
use hardsign_core::envelope::Format;
use hardsign_core::oci::attach::{Attachment, TITLE};
use hardsign_core::oci::content::BlobReader;
use hardsign_core::oci::registry::Access;
use hardsign_core::oci::{OciError, Repository, Warning};
use hardsign_core::sign::{self, SignError, SignedArtifact};
use hardsign_core::text::WithCauses;
use serde_json::json;

use super::repository::{Opener, Target};
use super::{Context, blob, signer};
use crate::args::attach::AttachArgs;
use crate::args::{Output, command};
use crate::failure::{Failure, registry};
use crate::output::{json, one_line};

/// How far it has come, which a failure must tell.
#[derive(Default)]
enum Stage {
    /// Nothing is stored that anything refers to.
    #[default]
    Before,
    /// The manifest is being stored.
    Attaching,
    /// This is attached, and its signature is being stored.
    Unsigned(String),
}

/// What was done.
struct Done {
    place: String,
    subject: Descriptor,
    attachment: Attachment,
    signed: SignedArtifact,
    warnings: Vec<Warning>,
}

pub(super) fn run(args: &AttachArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let format = signer::format(&args.signing, &dirs)?;
    let opener = Opener::new(&args.registry, Access::Write, &dirs, context)?;
    let target = opener.open(&args.reference)?;
    // Before anybody is asked for a PIN.
    if args.file != "-" {
        let found = std::fs::metadata(&args.file).and_then(|file| match file.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => Ok(()),
        });
        found.map_err(|error| unreadable(&args.file, &error))?;
    }
    let stage = Cell::new(Stage::Before);
    let done = context.wait(async {
        let deadline = &args.signing.deadline;
        let open = signer::open(&args.signing, Kind::Oci, &dirs, context);
        let opened = deadline.budget().run(Phase::OpeningKey, open).await?;
        let done = attach(args, format, &target, &opened, &dirs, &stage, context).await;
        signer::close(&opened.signer, deadline).await;
        done
    });
    let done = done.map_err(|failure| at_stage(failure, stage.take(), args, context))?;
    for warning in done.warnings.iter().chain(&done.signed.pushed.warnings) {
        context.console.warning(warning);
    }
    match args.signing.output {
        Output::Text => text(args, &done, context),
        Output::Json => document(&done, format.media_type(), context),
    }
}

async fn attach(
    args: &AttachArgs,
    format: Format,
    target: &Target,
    opened: &signer::Opened,
    dirs: &Dirs,
    stage: &Cell<Stage>,
    context: &Context,
) -> Result<Done, Failure> {
    let (signer, deadline, place) = (&opened.signer, &args.signing.deadline, &*target.place);
    let options = signer::options(&args.signing, format, opened, dirs, context)?;
    let resolve = resolve(target, context);
    let subject = deadline.budget().run(Phase::Resolving, resolve).await?;
    let (mut content, reader) = read(args, context).await?;
    let title = args.title.clone().map(|title| (TITLE.to_owned(), title));
    content.annotations.extend(title);
    let annotations = args.annotations.clone();
    let attachment = Attachment::new(&subject, &args.artifact_type, content, annotations)?;
    let options = options.now(context.now()).budget(deadline.budget());
    let make = async {
        place.check_room().map_err(SignError::Push)?;
        sign::make_signature(signer, attachment.manifest(), &options).await
    };
    let made = options.budget.run(Phase::Signing, make).await;
    let made = made.map_err(|error| signer::failure(signer, error))?;
    let progress = context.console.spinner("attaching");
    // How large the file is, nobody limits, so that without a deadline the rate alone is bounded.
    let budget = deadline.given();
    let store = attachment.store_content(place, reader);
    let stored: Result<(), OciError> = budget.run(Phase::Attaching, store).await;
    stored.map_err(|error| nothing(error.into()))?;
    let warnings = store_manifest(&attachment, place, args, stage).await?;
    let digest = &attachment.manifest().digest;
    stage.set(Stage::Unsigned(format!("{}@{digest}", place.name())));
    let store = made.store(place);
    let signed: Result<_, SignError> = deadline.budget().run(Phase::Storing, store).await;
    drop(progress);
    Ok(Done {
        place: place.name(),
        subject,
        attachment,
        signed: signed?,
        warnings,
    })
}

/// Stores the manifest, whose content is there.
async fn store_manifest(
    attachment: &Attachment,
    place: &dyn Repository,
    args: &AttachArgs,
    stage: &Cell<Stage>,
) -> Result<Vec<Warning>, Failure> {
    stage.set(Stage::Attaching);
    let store = attachment.store(place);
    let budget = args.signing.deadline.budget();
    let stored: Result<_, OciError> = budget.run(Phase::Attaching, store).await;
    stored.map_err(|error| {
        // A registry that says no has stored nothing; of other failures one can't know.
        let refused = registry::status(&error).is_some_and(|status| status < 500);
        let listed = !matches!(error, OciError::NotListed { .. });
        let failure = Failure::from(error);
        match refused && listed {
            true => {
                stage.set(Stage::Before);
                nothing(failure)
            }
            false => failure,
        }
    })
}

async fn resolve(target: &Target, context: &Context) -> Result<Descriptor, Failure> {
    let subject = target.place.resolve(&target.target).await?;
    if let TagOrDigest::Tag(tag) = &target.target {
        context.console.warning(format_args!(
            "Always attach to the artifact using digest(@sha256:...) rather than a tag(:{tag}) because tags are mutable and a tag reference can point to a different artifact than the one that the file is about."
        ));
    }
    Ok(subject)
}

/// Reads the file, which is read once more when it is stored: standard input and pipes are kept
/// meanwhile in a file without a name.
async fn read(args: &AttachArgs, context: &Context) -> Result<(Descriptor, BlobReader), Failure> {
    let fail = |error: io::Error| unreadable(&args.file, &error);
    let deadline = &args.signing.deadline;
    let again = args.file != "-" && std::fs::metadata(&args.file).is_ok_and(|file| file.is_file());
    let (progress, reader) = blob::open(&args.file, deadline, context).map_err(fail)?;
    let kept = match again {
        true => None,
        false => Some(tempfile::tempfile().map_err(fail)?),
    };
    let media_type = args.media_type.clone();
    let work = move |file: &mut dyn Read| match kept {
        None => Ok((describe(file, HashAlgorithm::Sha256, &media_type)?, None)),
        Some(mut to) => {
            let kept = Keeping { file, to: &mut to };
            let content = describe(kept, HashAlgorithm::Sha256, &media_type)?;
            to.rewind()?;
            Ok((content, Some(to)))
        }
    };
    let read = async { read_apart(reader, &args.file, work).await.map_err(fail) };
    // How large it is is not known.
    let (content, kept) = deadline.given().run(Phase::Reading, read).await?;
    drop(progress);
    if content.size == 0 {
        return Err(Failure::failed(format!("{} is empty", named(&args.file)))
            .hint("nothing was attached; check the program that should have written it"));
    }
    let file = match kept {
        Some(file) => file,
        None => File::open(&args.file).map_err(fail)?,
    };
    let reader = BlobReader::file(&content, file);
    Ok((content, reader))
}

/// A file that is written to another while it is read.
struct Keeping<'a> {
    file: &'a mut dyn Read,
    to: &'a mut File,
}

impl Read for Keeping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.to.write_all(buffer.get(..count).unwrap_or_default())?;
        Ok(count)
    }
}

fn unreadable(file: &str, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "failed to read {}: {}",
        named(file),
        WithCauses(error)
    ))
}

/// The file as messages name it.
fn named(file: &str) -> String {
    match file {
        "-" => "standard input".to_owned(),
        file => one_line(file),
    }
}

fn nothing(failure: Failure) -> Failure {
    failure.further("nothing was attached")
}

/// Says what a failure has left behind, and how to go on from there.
fn at_stage(failure: Failure, stage: Stage, args: &AttachArgs, context: &Context) -> Failure {
    match stage {
        Stage::Before => failure,
        Stage::Attaching => failure.further(
            "the file may be attached already, but it is not signed: run the same command again to attach and sign it",
        ),
        Stage::Unsigned(reference) => {
            let sign = sign_command(&reference, args, context.program);
            let (reference, mut failure) = (one_line(&reference), failure);
            for message in &mut failure.messages {
                *message = format!("{reference} is attached, but not signed: {message}");
            }
            failure.further(&format!("sign it with `{sign}`"))
        }
    }
}

/// The command that signs what is attached.
fn sign_command(reference: &str, args: &AttachArgs, program: &str) -> String {
    let mut words = vec![program.to_owned(), "sign".to_owned()];
    words.extend(args.registry.words());
    if args.registry.force_referrers_tag {
        words.push("--force-referrers-tag".to_owned());
    }
    words.extend(args.signing.words());
    words.push(reference.to_owned());
    command(words)
}

fn text(args: &AttachArgs, done: &Done, context: &Context) -> Result<(), Failure> {
    let console = &context.console;
    let place = one_line(&done.place);
    let file = named(&args.file);
    let (subject, signature) = (&done.subject.digest, &done.signed.pushed.manifest.digest);
    console.line(format_args!(
        "Successfully attached {file} to {place}@{subject}"
    ))?;
    let attached = &done.attachment.manifest().digest;
    console.line(format_args!("Successfully signed {place}@{attached}"))?;
    console.line(format_args!("Pushed the signature to {place}@{signature}"))?;
    Ok(())
}

fn document(done: &Done, envelope_type: &str, context: &Context) -> Result<(), Failure> {
    let (place, attachment) = (&done.place, &done.attachment);
    let mut content = json::descriptor(attachment.content());
    if let Some(content) = content.as_object_mut() {
        let title = attachment.content().annotations.get(TITLE);
        content.insert("title".to_owned(), json!(title));
    }
    let attached = attachment.manifest();
    Ok(context.console.json(&json!({
        "reference": format!("{place}@{}", done.subject.digest),
        "artifact": json::descriptor(&done.subject),
        "attached": {
            "reference": format!("{place}@{}", attached.digest),
            "artifactType": attachment.artifact_type(),
            "artifact": json::descriptor(attached),
            "content": content,
        },
        "signature": json::descriptor(&done.signed.pushed.manifest),
        "signatureEnvelopeType": envelope_type,
    }))?)
}
