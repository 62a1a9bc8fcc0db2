//! `policy add-signer` and `remove-signer`, for artifacts and for files: flags and their rules.

use hardsign_core::policy::edit::{Applies, Role};
use hardsign_core::policy::hardsign::AttachedRule;
use hardsign_core::trust::StoreName;

use super::super::deadline::READING;
use super::super::flags::{self, Reader};
use super::super::{ArgMatches, Command, Deadline, Registry, Usage};

const ADD_EXAMPLES: &str = "\
Examples:
  Trust whoever signed an artifact, for its repository:
    hardsign policy add-signer build --from registry.example.com/app@sha256:<digest>

  Demand a second signer, whose certificate is in a file:
    hardsign policy add-signer build --cert build.pem --scope registry.example.com/app --required
    hardsign policy add-signer security --cert security.pem --scope registry.example.com/app --required

  Demand a scan result signed by the scanner, who can't sign the artifact itself:
    hardsign policy add-signer scanner --cert scanner.pem --scope registry.example.com/app \\
      --attached application/sarif+json";

const ADD_BLOB_EXAMPLES: &str = "\
Examples:
  Trust whoever signed a file, for every file:
    hardsign blob policy add-signer releases --from release.tar.gz.jws.sig --global

  Demand two signers of the files that are verified under the statement \"releases\":
    hardsign blob policy add-signer build --cert build.pem --statement releases --required
    hardsign blob policy add-signer security --cert security.pem --statement releases --required";

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
            "Which of several signers of --from, by the SHA-256 of its certificate",
        ))
        .arg(flags::value(
            "statement",
            "NAME",
            "Statement that gets the signer [default: the one that applies, else a new one of the signer's name]",
        ))
        .arg(flags::switch(
            "required",
            "Its signature is required, beside those of the other required signers",
        ))
        .arg(flags::value(
            "at-least",
            "N",
            "How many of the required signers must have signed [default: all]",
        ))
        .arg(flags::yes())
        .arg(flags::output())
        .arg(flags::positional("name", "Name of the signer; its trust store gets it too"))
}

pub(super) fn add() -> Command {
    common(flags::verb(
        "add-signer",
        "Trust a signer, as a signature or a certificate shows it",
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
        "Demand an attached artifact of this type signed by this signer, who can't sign the artifact itself",
    ))
    .arg(flags::deadline())
    .args(flags::registry())
    .arg(flags::oci_layout())
}

/// `blob policy add-signer`.
pub(in crate::args) fn add_blob() -> Command {
    common(flags::verb(
        "add-signer",
        "Trust a signer, as a signature file or a certificate shows it",
        ADD_BLOB_EXAMPLES,
    ))
    .arg(flags::value(
        "from",
        "FILE",
        "A signature file of the signer (.jws.sig, .cose.sig)",
    ))
    .arg(flags::switch(
        "global",
        "The statement holds for every file",
    ))
}

pub(in crate::args) fn remove(examples: &'static str) -> Command {
    flags::verb("remove-signer", "Trust a signer no longer", examples)
        .arg(flags::value(
            "statement",
            "NAME",
            "Statement that loses the signer [default: the only one that has it]",
        ))
        .arg(flags::value(
            "identity",
            "IDENTITY",
            "The signer's trusted identity, where the statement has several",
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
            Usage(format!(
                "{name:?} can't be a signer's name: its trust store has the same name, of letters, digits, '_', '-' and '.'"
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
        more => Err(Usage(format!(
            "requires the signer's name, but got {more} arguments"
        ))),
    }
}

fn role(reader: &Reader<'_>) -> Result<Option<Role>, Usage> {
    reader.exclusive(&["required", "attached"])?;
    let required = reader.switch("required")?;
    let at_least = reader.number("at-least", "--at-least")?;
    if at_least.is_some() && !required {
        return Err(Usage("--at-least needs --required".to_owned()));
    }
    if let Some(artifact_type) = reader.text("attached") {
        AttachedRule::new(&artifact_type, false).map_err(|error| {
            Usage(format!(
                "invalid argument {artifact_type:?} for \"--attached\" flag: {error}"
            ))
        })?;
        return Ok(Some(Role::Attached { artifact_type }));
    }
    let at_least = at_least.map(|number| {
        usize::try_from(number)
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| Usage(format!("at-least value {number} must be a positive number")))
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
        Err(Usage(format!(
            "invalid argument {text:?} for \"--fingerprint\" flag: it is the SHA-256 of a certificate, 64 hexadecimal digits"
        )))
    }
}
