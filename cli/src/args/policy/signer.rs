//! `policy add-signer` and `remove-signer`, for artifacts and for files: flags and their rules.

use hardsign_core::policy::edit::{Applies, Role};
use hardsign_core::policy::hardsign::AttachedRule;
use hardsign_core::trust::StoreName;

use super::super::deadline::READING;
use super::super::flags::{self, Reader};
use super::super::{ArgMatches, Command, Deadline, Registry, Usage};

const ADD_EXAMPLES: &str = "\
Examples:
  Trust the signer of an artifact for its repository:
    hardsign policy add-signer build \\
      --from registry.example.com/app@sha256:<digest>

  Require a second signer, whose certificate is in a file:
    hardsign policy add-signer build --cert build.pem \\
      --scope registry.example.com/app --required
    hardsign policy add-signer security --cert security.pem \\
      --scope registry.example.com/app --required

  Require a scan result signed by the scanner, which can't sign the artifact:
    hardsign policy add-signer scanner --cert scanner.pem \\
      --scope registry.example.com/app --attached application/sarif+json";

const ADD_BLOB_EXAMPLES: &str = "\
Examples:
  Trust the signer of a file for all files:
    hardsign blob policy add-signer releases --from release.tar.gz.jws.sig \\
      --global

  Require two signers for files verified with the statement \"releases\":
    hardsign blob policy add-signer build --cert build.pem \\
      --statement releases --required
    hardsign blob policy add-signer security --cert security.pem \\
      --statement releases --required";

/// Where the signer's certificate is.
#[derive(Debug)]
pub(crate) enum From {
    /// `--from`: an artifact that it signed, or a signature file.
    Signed(String),
    /// `--cert`: a file with its certificate and those above it.
    Certificate(String),
}

/// `add-signer`.
#[derive(Debug)]
pub(crate) struct AddArgs {
    pub(crate) name: StoreName,
    pub(crate) from: From,
    /// `--fingerprint`: which of several signers, by the SHA-256 of its certificate in lower case.
    pub(crate) fingerprint: Option<String>,
    pub(crate) statement: Option<String>,
    pub(crate) applies: Applies,
    /// `--required` or `--attached`.
    pub(crate) role: Option<Role>,
    pub(crate) yes: bool,
    /// How the registry of `--from` is reached, and for how long; none for files.
    pub(crate) registry: Option<(Registry, Deadline)>,
}

/// `remove-signer`.
#[derive(Debug)]
pub(crate) struct RemoveArgs {
    pub(crate) name: String,
    pub(crate) statement: Option<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) identity: Option<String>,
    pub(crate) yes: bool,
}

fn common(command: Command) -> Command {
    command
        .arg(flags::value(
            "cert",
            "FILE",
            "File with the signer's certificate, followed by those of its CAs (PEM)",
        ))
        .arg(flags::value(
            "fingerprint",
            "SHA256",
            "SHA-256 of the certificate of the signer to take from --from, if there are several",
        ))
        .arg(flags::value(
            "statement",
            "NAME",
            "Statement to add the signer to [default: the one that applies, or a new one named after the signer]",
        ))
        .arg(flags::switch(
            "required",
            "Require its signature in addition to those of the other required signers",
        ))
        .arg(flags::value(
            "at-least",
            "N",
            "Number of required signers that must have signed [default: all]",
        ))
        .arg(flags::yes())
        .arg(flags::output())
        .arg(flags::positional("name", "Name for the signer and its trust store"))
}

pub(super) fn add() -> Command {
    common(flags::verb(
        "add-signer",
        "Trust a signer, taken from a signature or a certificate",
        ADD_EXAMPLES,
    ))
    .arg(flags::value(
        "from",
        "REFERENCE",
        "An artifact that the signer signed, or a signature file (.jws.sig, .cose.sig)",
    ))
    .arg(flags::list(
        "scope",
        "SCOPE",
        "Repository that the statement applies to: <registry>/<repository>, or * [default: that of --from] (repeatable)",
    ))
    .arg(flags::value(
        "attached",
        "TYPE",
        "Require an attached artifact of this type signed by this signer, who can't sign the artifact itself",
    ))
    .arg(flags::deadline())
    .args(flags::registry())
    .arg(flags::oci_layout())
}

/// `blob policy add-signer`.
pub(in crate::args) fn add_blob() -> Command {
    common(flags::verb(
        "add-signer",
        "Trust a signer, taken from a signature file or a certificate",
        ADD_BLOB_EXAMPLES,
    ))
    .arg(flags::value(
        "from",
        "FILE",
        "A signature file of the signer (.jws.sig, .cose.sig)",
    ))
    .arg(flags::switch("global", "Apply the statement to all files"))
}

pub(in crate::args) fn remove(examples: &'static str) -> Command {
    flags::verb("remove-signer", "Stop trusting a signer", examples)
        .arg(flags::value(
            "statement",
            "NAME",
            "Statement to remove the signer from [default: the only one that has it]",
        ))
        .arg(flags::value(
            "identity",
            "IDENTITY",
            "The signer's trusted identity, if the statement has several",
        ))
        .arg(flags::yes())
        .arg(flags::output())
        .arg(flags::positional("name", "Name of the signer"))
}

impl AddArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let registry = Registry::read(&reader)?;
        let args = Self {
            applies: Applies::Artifacts(reader.all("scope")),
            registry: Some((registry, reader.deadline(READING)?)),
            ..Self::of(&reader)?
        };
        Ok(args)
    }

    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read_blob(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        Ok(Self {
            applies: Applies::Files {
                global: reader.switch("global")?,
            },
            ..Self::of(&reader)?
        })
    }

    fn of(reader: &Reader<'_>) -> Result<Self, Usage> {
        let name = one_name(reader)?;
        let name = StoreName::parse(&name).map_err(|_| {
            Usage::new(format!(
                "{name:?} can't name a signer: its trust store has the same name, which may have letters, digits, '_', '-' and '.' only"
            ))
        })?;
        reader.exclusive(&["from", "cert"])?;
        reader.one_of(&["from", "cert"])?;
        let from = match (reader.text("from"), reader.text("cert")) {
            (Some(from), _) => From::Signed(from),
            (None, cert) => From::Certificate(cert.unwrap_or_default()),
        };
        let fingerprint = reader.text("fingerprint").map(|text| fingerprint(&text));
        reader.output()?;
        Ok(Self {
            name,
            from,
            fingerprint: fingerprint.transpose()?,
            statement: reader.text("statement"),
            applies: Applies::Files { global: false },
            role: role(reader)?,
            yes: reader.switch("yes")?,
            registry: None,
        })
    }
}

impl RemoveArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        reader.exclusive(&["statement", "scope"])?;
        reader.output()?;
        Ok(Self {
            name: one_name(&reader)?,
            statement: reader.text("statement"),
            scopes: reader.all("scope"),
            identity: reader.text("identity"),
            yes: reader.switch("yes")?,
        })
    }
}

fn one_name(reader: &Reader<'_>) -> Result<String, Usage> {
    let mut names = reader.all("positional");
    match names.len() {
        1 => Ok(names.remove(0)),
        more => Err(Usage::new(format!(
            "requires the signer's name, but got {more} arguments"
        ))),
    }
}

fn role(reader: &Reader<'_>) -> Result<Option<Role>, Usage> {
    reader.exclusive(&["required", "attached"])?;
    let required = reader.switch("required")?;
    let at_least = reader.number("at-least", "--at-least")?;
    if at_least.is_some() && !required {
        return Err(Usage::new("--at-least needs --required".to_owned()));
    }
    if let Some(artifact_type) = reader.text("attached") {
        AttachedRule::new(&artifact_type, false).map_err(|error| {
            Usage::new(format!(
                "invalid argument {artifact_type:?} for \"--attached\" flag: {error}"
            ))
        })?;
        return Ok(Some(Role::Attached { artifact_type }));
    }
    let at_least = at_least.map(|number| {
        usize::try_from(number)
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| Usage::new(format!("at-least value {number} must be a positive number")))
    });
    let at_least = at_least.transpose()?;
    Ok(required.then_some(Role::Required { at_least }))
}

/// 64 hexadecimal digits, perhaps with colons as openssl prints them, in lower case.
fn fingerprint(text: &str) -> Result<String, Usage> {
    let digits = text.replace(':', "").to_ascii_lowercase();
    let is_digest = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if is_digest {
        Ok(digits)
    } else {
        Err(Usage::new(format!(
            "invalid argument {text:?} for \"--fingerprint\" flag: it is the SHA-256 of a certificate, 64 hexadecimal digits"
        )))
    }
}
