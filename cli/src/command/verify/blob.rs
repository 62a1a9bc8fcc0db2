//! `hardsign blob verify` (CLI-96, CLI-97): each file against all of its signatures, one verdict
//! under its policy.

use std::io::Read;
use std::num::NonZeroUsize;
use std::path::Path;

use hardsign_core::blob::{signature_format, signature_path};
use hardsign_core::config::read_named;
use hardsign_core::envelope::{Format, MAX_ENVELOPE_LEN};
use hardsign_core::policy::blob::Document;
use hardsign_core::verify::{Blob, BlobSignature, Options, Outcome, Policy};

use super::super::{Context, blob};
use super::report::{Checked, Report};
use crate::args::Deadline;
use crate::args::blob::{SignedFile, VerifyArgs};
use crate::failure::Failure;
use crate::failure::verification::{Refusal, refusal};
use crate::output::progress::Busy;

/// A file and its signatures, as they were found.
struct Found {
    /// Shows how far the file is read.
    _busy: Busy,
    reader: Box<dyn Read + Send>,
    files: Vec<String>,
    envelopes: Vec<Vec<u8>>,
}

pub(in crate::command) fn run(args: VerifyArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let total = args.blobs.len();
    let directory = args.directory.as_deref().map(Path::new);
    // BLOB-11: the file, the signature, the policy, the signature's name.
    let mut first = match args.blobs.as_slice() {
        [only] => Some(find(only, directory, &args.deadline, context)?),
        _ => None,
    };
    let policy: Policy<Document> = super::load(args.policy_file.as_deref(), &dirs, context)?;
    let verifier = super::verifier(&dirs, context);
    let observe = super::observer(context);
    let hardware = super::require_hardware(args.require_hardware);
    let options = Options::new(context.now())
        .max_signatures(NonZeroUsize::MAX)
        .user_metadata(&args.user_metadata)
        .plugin_config(&args.plugin_config)
        .hardware(hardware.as_ref())
        .observer(&observe);
    let check = async |blob: &str, found: Found| -> Result<Outcome, Refusal> {
        let formats = formats(&found.files)?;
        let signatures: Vec<_> = formats
            .into_iter()
            .zip(&found.envelopes)
            .map(|(format, envelope)| BlobSignature { format, envelope })
            .collect();
        let file = Blob {
            reference: blob,
            reader: found.reader,
            media_type: args.media_type.as_deref(),
        };
        let statement = args.policy_name.as_deref();
        let budget = args.deadline.given();
        let options = options.now(context.now()).budget(&budget);
        verifier
            .verify_blob(&policy, statement, file, &signatures, options)
            .await
            .map_err(|error| refusal(&error, &found.files, context.program))
    };
    let mut report = Report::new(args.output, total);
    context.wait(async {
        let progress = context.console.progress("verifying", total);
        for file in &args.blobs {
            let found = match first.take() {
                Some(found) => Ok(found),
                None => find(file, directory, &args.deadline, context),
            };
            let (files, result) = match found {
                Ok(found) => (found.files.clone(), check(&file.blob, found).await),
                Err(failure) => (vec![], Err(failure.into())),
            };
            progress.step();
            let checked = Checked {
                reference: file.blob.clone(),
                warned: false,
                files,
                result,
            };
            report.add(checked, context)?;
        }
        Ok::<_, Failure>(())
    })?;
    report.finish(context)
}

/// Opens a file, and reads its signatures.
fn find(
    file: &SignedFile,
    directory: Option<&Path>,
    deadline: &Deadline,
    context: &Context,
) -> Result<Found, Failure> {
    let blob = &file.blob;
    let (busy, reader) = blob::open(blob, deadline, context)
        .map_err(|error| Failure::failed(format!("failed to open {blob}: {error}")))?;
    let files = match directory {
        None => file.signatures.clone(),
        Some(directory) => in_directory(blob, directory)?,
    };
    let envelopes = files
        .iter()
        .map(|path| read_named(Path::new(path), MAX_SIGNATURE).map_err(Failure::error))
        .collect::<Result<_, _>>()?;
    Ok(Found {
        _busy: busy,
        reader,
        files,
        envelopes,
    })
}

/// The signature files of `blob` that are in `directory`, by the names that signing gives them.
fn in_directory(blob: &str, directory: &Path) -> Result<Vec<String>, Failure> {
    let path = |format| signature_path(Path::new(blob), format, Some(directory));
    let paths = [Format::Jws, Format::Cose].map(path);
    let found: Vec<_> = paths
        .iter()
        .flatten()
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    if found.is_empty() {
        return Err(Failure::failed(format!(
            "no signature of {blob} in {}",
            directory.display()
        ))
        .hint("a signature has the name of its file with .jws.sig or .cose.sig after it; --signature names one with another name"));
    }
    Ok(found)
}

fn formats(files: &[String]) -> Result<Vec<Format>, Failure> {
    let format = |file: &String| signature_format(Path::new(file)).map_err(Failure::error);
    files.iter().map(format).collect()
}

/// Largest signature file, in bytes.
const MAX_SIGNATURE: u64 = MAX_ENVELOPE_LEN as u64;
