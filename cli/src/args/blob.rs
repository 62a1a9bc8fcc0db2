//! `hardsign blob`: flags and their rules (CLI-94 to CLI-101).

use std::path::{Path, PathBuf};

use hardsign_core::blob::signature_path;
use hardsign_core::envelope::Format;

use super::batch::{self, Batch};
use super::deadline::READING;
use super::flags::{self, Reader};
use super::policy;
use super::sign::{Signing, signing_flags};
use super::{ArgMatches, BTreeMap, Command, Deadline, Output, Usage};

const SIGN_EXAMPLES: &str = "\
Examples:
  Sign a file; the signature goes beside it, as release.tar.gz.jws.sig:
    hardsign blob sign --key release release.tar.gz

  Sign several files with one login, the signatures in a directory of their own:
    hardsign blob sign --key release --signature-directory sigs dist/*

  Sign with a timestamp, so that the signature outlives its certificate:
    hardsign blob sign --timestamp-url http://tsa.example.com --timestamp-root-cert tsa-root.crt release.tar.gz

  Sign standard input:
    make-sbom | hardsign blob sign --key release --signature sbom.json.jws.sig -";

const VERIFY_EXAMPLES: &str = "\
Examples:
  Verify a file under the global statement of the blob trust policy:
    hardsign blob verify --signature release.tar.gz.jws.sig release.tar.gz

  Verify it under a statement by name:
    hardsign blob verify --policy-name releases --signature release.tar.gz.jws.sig release.tar.gz

  Verify it where hardsign's own policy demands two signers:
    hardsign blob verify -s build/release.tar.gz.jws.sig -s security/release.tar.gz.jws.sig release.tar.gz

  Verify several files, their signatures in a directory of their own:
    hardsign blob verify --signature-directory sigs dist/*";

const INSPECT_EXAMPLES: &str = "\
Examples:
  Show what is in a signature file, without verifying it:
    hardsign blob inspect release.tar.gz.jws.sig";

const POLICY_EXAMPLES: policy::Examples = policy::Examples {
    group: "\
Examples:
  Trust whoever signed a file, for every file:
    hardsign blob policy add-signer releases --from release.tar.gz.jws.sig --global

  Use the trust policy of a file:
    hardsign blob policy import my-policy.json

  Show the one in use:
    hardsign blob policy show

  Explain what it demands of files:
    hardsign blob policy explain --policy-name releases",
    import: "\
Examples:
  Use the trust policy of a file, for files:
    hardsign blob policy import my-policy.json

  Without a question, where there is a policy already:
    hardsign blob policy import --force my-policy.json",
    show: "\
Examples:
  Show the trust policy for files in use, and rules of hardsign's own below it:
    hardsign blob policy show",
    explain: "\
Examples:
  Explain what is demanded of every file:
    hardsign blob policy explain

  And of files that are verified under a statement by name:
    hardsign blob policy explain --policy-name releases",
    init: "\
Examples:
  Trust one signer for all files:
    hardsign blob policy init --global --name releases --trust-store ca:acme \\
      --trusted-identity 'x509.subject: C=US, ST=WA, O=Acme'",
    remove: "\
Examples:
  Trust a signer no longer that `add-signer` added:
    hardsign blob policy remove-signer build

  Where the statement has several identities, say which is the signer's:
    hardsign blob policy remove-signer build --statement releases \\
      --identity 'x509.subject: C=US, ST=WA, O=Acme, CN=build'",
};

/// `hardsign blob sign`.
#[derive(Debug)]
pub(crate) struct SignArgs {
    /// Files as typed; `-` is standard input.
    pub(crate) blobs: Vec<String>,
    pub(crate) batch: Batch,
    /// `--skip-signed`.
    pub(crate) skip_signed: bool,
    pub(crate) signing: Signing,
    pub(crate) media_type: String,
    pub(crate) directory: Option<String>,
    /// `--signature`: the file to write, for a single blob.
    pub(crate) signature: Option<String>,
    pub(crate) force: bool,
}

/// `hardsign blob verify`.
#[derive(Debug)]
pub(crate) struct VerifyArgs {
    /// Files as typed, each with its signature files.
    pub(crate) blobs: Vec<SignedFile>,
    pub(crate) batch: Batch,
    /// `--signature-directory`, in which the signatures of each file are looked for.
    pub(crate) directory: Option<String>,
    pub(crate) policy_name: Option<String>,
    pub(crate) media_type: Option<String>,
    pub(crate) plugin_config: BTreeMap<String, String>,
    pub(crate) user_metadata: BTreeMap<String, String>,
    /// `--require-hardware`.
    pub(crate) require_hardware: bool,
    pub(crate) policy_file: Option<String>,
    pub(crate) deadline: Deadline,
    pub(crate) output: Output,
}

/// A file to verify.
#[derive(Debug)]
pub(crate) struct SignedFile {
    /// `-` is standard input.
    pub(crate) blob: String,
    /// Those given with `--signature`.
    pub(crate) signatures: Vec<String>,
}

/// `hardsign blob inspect`.
#[derive(Debug)]
pub(crate) struct InspectArgs {
    pub(crate) signature: String,
    pub(crate) output: Output,
}

pub(super) fn definition() -> Command {
    flags::verb("blob", "Sign, verify and inspect files", SIGN_EXAMPLES)
        .subcommand(sign())
        .subcommand(verify())
        .subcommand(inspect())
        .subcommand(policy_group())
}

fn sign() -> Command {
    signing_flags(flags::verb(
        "sign",
        "Sign files; signatures are written beside them",
        SIGN_EXAMPLES,
    ))
    .arg(flags::value(
        "media-type",
        "TYPE",
        "Media type of the file [default: application/octet-stream]",
    ))
    .arg(flags::value(
        "signature-directory",
        "DIRECTORY",
        "Directory for the signature files [default: that of each file]",
    ))
    .arg(
        flags::value(
            "signature",
            "FILE",
            "The signature file to write, for one file or -",
        )
        .short('s'),
    )
    .arg(flags::force(
        "Replace an existing signature file without a question",
    ))
    .args(batch::batch(
        "Sign what a file lists too, - for standard input: a path or a JSON object a line",
    ))
    .arg(batch::skip_signed())
    .arg(flags::positional(
        "blob_path...",
        "Files to sign; - is standard input",
    ))
}

fn verify() -> Command {
    flags::verb(
        "verify",
        "Verify files against their signatures",
        VERIFY_EXAMPLES,
    )
    .arg(flags::list("signature", "FILE", "Signature file (required, repeatable)").short('s'))
    .arg(flags::value(
        "signature-directory",
        "DIR",
        "Directory of the signature files, in place of --signature",
    ))
    .arg(flags::value(
        "policy-name",
        "NAME",
        "Statement of the trust policy [default: the global one]",
    ))
    .arg(flags::value(
        "media-type",
        "TYPE",
        "Media type that the signature must have signed",
    ))
    .arg(flags::plugin_config(
        "Setting that is passed to a verification plugin (repeatable)",
    ))
    .arg(flags::user_metadata(
        "Metadata that the signed payload must have (repeatable)",
    ))
    .arg(flags::require_hardware())
    .arg(flags::policy())
    .arg(flags::deadline())
    .args(batch::batch(
        "Verify what a file lists too, - for standard input: a path or a JSON object a line",
    ))
    .arg(batch::output())
    .arg(flags::positional(
        "blob_path...",
        "Files to verify; - is standard input",
    ))
}

fn inspect() -> Command {
    flags::verb(
        "inspect",
        "Show a signature file, without verifying it",
        INSPECT_EXAMPLES,
    )
    .arg(
        flags::value(
            "output",
            "FORMAT",
            "Output format: tree or json [default: tree]",
        )
        .short('o'),
    )
    .arg(flags::positional("signature_path", "The signature file"))
}

fn policy_group() -> Command {
    let explain = policy::explain(
        "Explain what the trust policy demands of files",
        POLICY_EXAMPLES.explain,
    )
    .arg(flags::value(
        "policy-name",
        "NAME",
        "Statement of the trust policy [default: the global one]",
    ))
    .arg(flags::positional("none", "").hide(true));
    policy::group("Manage the trust policy for files", &POLICY_EXAMPLES)
        .subcommand(explain)
        .subcommand(policy::init(POLICY_EXAMPLES.init).arg(flags::switch(
            "global",
            "The statement holds for every file",
        )))
        .subcommand(policy::signer::add_blob())
        .subcommand(policy::signer::remove(POLICY_EXAMPLES.remove))
}

impl SignArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let blobs = reader.all("positional");
        let batch = Batch::read(&reader)?;
        if blobs.is_empty() && batch.from_file.is_none() {
            return Err(Usage(format!(
                "missing file path to the blob artifact: use `{program} blob sign --help` to see what parameters are required"
            )));
        }
        if blobs.iter().any(String::is_empty) {
            return Err(Usage("blob path cannot be empty".to_owned()));
        }
        batch.check_input(&blobs)?;
        let directory = reader.text("signature-directory");
        if directory.as_deref() == Some("") {
            return Err(Usage("signature directory cannot be empty".to_owned()));
        }
        reader.exclusive(&["signature-directory", "signature"])?;
        let signature = reader.text("signature");
        let listed = usize::from(batch.from_file.is_some()) * 2;
        match (
            &signature,
            blobs.len() + listed,
            blobs.iter().any(|blob| blob == "-"),
        ) {
            (Some(_), 2.., _) => {
                return Err(Usage(
                    "--signature names one file, but several are to be signed".to_owned(),
                ));
            }
            (None, _, true) => {
                return Err(Usage(
                    "standard input has no name: give --signature with the file to write"
                        .to_owned(),
                ));
            }
            _ => {}
        }
        Ok(Self {
            blobs,
            batch,
            skip_signed: reader.switch("skip-signed")?,
            signing: Signing::read(&reader)?,
            media_type: reader
                .text("media-type")
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
            directory,
            signature,
            force: reader.switch("force")?,
        })
    }
}

impl VerifyArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06 and CLI-96.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let blobs = reader.all("positional");
        let batch = Batch::read(&reader)?;
        if blobs.is_empty() && batch.from_file.is_none() {
            return Err(Usage(format!(
                "missing path to the blob artifact: use `{program} blob verify --help` to see what parameters are required"
            )));
        }
        let (signatures, directory) = (reader.all("signature"), reader.text("signature-directory"));
        batch.check_input(&blobs)?;
        let needed = !blobs.is_empty() && signatures.is_empty() && directory.is_none();
        if blobs.is_empty() && !signatures.is_empty() {
            return Err(Usage(
                "--signature is for the files that are typed; a list names signatures itself, or has them beside its files".to_owned(),
            ));
        }
        if needed || signatures.iter().any(String::is_empty) {
            return Err(Usage(
                "filepath of the signature cannot be empty".to_owned(),
            ));
        }
        if directory.as_deref() == Some("") {
            return Err(Usage("signature directory cannot be empty".to_owned()));
        }
        reader.exclusive(&["signature", "signature-directory"])?;
        let media_type = reader.text("media-type");
        if media_type.as_deref() == Some("") {
            return Err(Usage("--media-type is set but with empty value".to_owned()));
        }
        Ok(Self {
            blobs: assign(blobs, signatures, directory.is_some())?,
            batch,
            directory,
            policy_name: reader.text("policy-name"),
            media_type,
            plugin_config: reader.pairs("plugin-config")?,
            user_metadata: reader.pairs("user-metadata")?,
            require_hardware: reader.switch("require-hardware")?,
            policy_file: reader.text("policy"),
            deadline: reader.deadline(READING)?,
            output: batch::read_output(&reader)?,
        })
    }
}

/// Gives each file its signatures: all of them to a single file, else each to the file that it is
/// named after.
fn assign(
    blobs: Vec<String>,
    signatures: Vec<String>,
    in_directory: bool,
) -> Result<Vec<SignedFile>, Usage> {
    let mut files: Vec<_> = blobs
        .into_iter()
        .map(|blob| SignedFile {
            blob,
            signatures: vec![],
        })
        .collect();
    if let [only] = files.as_mut_slice() {
        only.signatures = signatures;
        return Ok(files);
    }
    if files.iter().any(|file| file.blob == "-") {
        return Err(Usage(
            "standard input has no name to find its signature by: verify it by itself".to_owned(),
        ));
    }
    for signature in signatures {
        let name = Path::new(&signature).file_name().unwrap_or_default();
        let mut named = files.iter_mut().filter(|file| {
            let path = |format| signature_path(Path::new(&file.blob), format, None);
            let is = |path: PathBuf| path.file_name() == Some(name);
            [Format::Jws, Format::Cose]
                .into_iter()
                .filter_map(path)
                .any(is)
        });
        match (named.next(), named.next()) {
            (Some(file), None) => file.signatures.push(signature),
            (None, _) => {
                return Err(Usage(format!(
                    "{signature} is named after none of the files: with several files the signature of <file> is <file>.jws.sig or <file>.cose.sig"
                )));
            }
            (Some(_), Some(_)) => {
                return Err(Usage(format!(
                    "{signature} is named after several of the files: verify those with the same name one by one"
                )));
            }
        }
    }
    match files.iter().find(|file| file.signatures.is_empty()) {
        Some(file) if !in_directory => Err(Usage(format!(
            "no --signature is named after {}: with several files the signature of <file> is <file>.jws.sig or <file>.cose.sig",
            file.blob
        ))),
        _ => Ok(files),
    }
}

impl InspectArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let mut signatures = reader.all("positional");
        match signatures.len() {
            0 => {
                return Err(Usage(format!(
                    "missing signature path: use `{program} blob inspect --help` to see what parameters are required"
                )));
            }
            1 => {}
            more => {
                return Err(Usage(format!(
                    "blob inspect takes one signature file, but got {more}"
                )));
            }
        }
        let output = match reader.text("output").as_deref() {
            None | Some("tree") => Output::Text,
            Some("json") => Output::Json,
            Some(other) => return Err(Usage(format!("unrecognized output format {other}"))),
        };
        Ok(Self {
            signature: signatures.remove(0),
            output,
        })
    }
}
