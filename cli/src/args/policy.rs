//! `hardsign policy`: flags and their rules (CLI-84 to CLI-90).

use std::num::NonZeroUsize;

use super::deadline::READING;
use super::flags::{self, Reader};
use super::{ArgMatches, Command, Deadline, Output, Registry, Usage};

pub(crate) mod signer;

const EXAMPLES: &str = "\
Examples:
  Trust the signer of an artifact for its repository:
    hardsign policy add-signer build \\
      --from registry.example.com/app@sha256:<digest>

  Import a trust policy:
    hardsign policy import my-policy.json

  Show the policy in use:
    hardsign policy show

  Explain what it requires of an artifact, without using the network:
    hardsign policy explain registry.example.com/app:v1

  Try a policy on artifacts before using it:
    hardsign policy test --policy my-policy.json \\
      registry.example.com/app@sha256:<digest>";

/// The examples of a policy group's commands.
pub(super) struct Examples {
    pub(super) group: &'static str,
    pub(super) import: &'static str,
    pub(super) show: &'static str,
    pub(super) explain: &'static str,
    pub(super) init: &'static str,
    pub(super) remove: &'static str,
}

const OF_ARTIFACTS: Examples = Examples {
    group: EXAMPLES,
    import: "\
Examples:
  Import a trust policy for artifacts:
    hardsign policy import my-policy.json

  Import hardsign's own rules, which apply on top of the trust policy:
    hardsign policy import policy.hardsign.json

  Replace an existing policy without being asked:
    hardsign policy import --force my-policy.json",
    show: "\
Examples:
  Show the trust policy, followed by hardsign's own rules:
    hardsign policy show

  Check them: the exit code is 0 if both are valid:
    hardsign policy show > /dev/null",
    explain: "\
Examples:
  Explain what the trust policy requires of an artifact:
    hardsign policy explain registry.example.com/app:v1

  Explain another policy, as JSON for a script:
    hardsign policy explain --policy my-policy.json --output json \\
      registry.example.com/app",
    init: "\
Examples:
  Trust one signer certified by a company's CA for one repository:
    hardsign policy init --name production --scope registry.example.com/app \\
      --trust-store ca:acme \\
      --trusted-identity 'x509.subject: C=US, ST=WA, O=Acme, CN=build'

  Trust every signer certified by a CA, for all artifacts:
    hardsign policy init --name all --scope '*' --trust-store ca:acme \\
      --trusted-identity '*'",
    remove: "\
Examples:
  Remove a signer that `add-signer` added:
    hardsign policy remove-signer build

  Name the signer's identity where the statement has several:
    hardsign policy remove-signer build --statement production \\
      --identity 'x509.subject: C=US, ST=WA, O=Acme, CN=build'",
};

const TEST_EXAMPLES: &str = "\
Examples:
  See which artifacts a new policy would refuse before using it:
    hardsign policy test --policy new-policy.json - < images.txt

  See how the policy in use judges an artifact:
    hardsign policy test registry.example.com/app@sha256:<digest>";

/// `hardsign policy import`.
#[derive(Debug)]
pub(crate) struct ImportArgs {
    pub(crate) path: String,
    pub(crate) force: bool,
}

/// `hardsign policy explain` and `hardsign blob policy explain`.
#[derive(Debug)]
pub(crate) struct ExplainArgs {
    /// The artifact or its repository; for files the name of a statement, or nothing.
    pub(crate) subject: Option<String>,
    /// `--policy`.
    pub(crate) policy_file: Option<String>,
    pub(crate) output: Output,
}

/// `hardsign policy init` and `hardsign blob policy init`.
#[derive(Debug)]
pub(crate) struct InitArgs {
    pub(crate) name: String,
    /// Of artifacts.
    pub(crate) scopes: Vec<String>,
    /// Of files.
    pub(crate) global: bool,
    pub(crate) trust_stores: Vec<String>,
    pub(crate) trusted_identities: Vec<String>,
    pub(crate) force: bool,
}

/// `hardsign policy test`.
#[derive(Debug)]
pub(crate) struct TestArgs {
    /// References as typed; `-` stands for those listed on standard input.
    pub(crate) references: Vec<String>,
    /// `--policy`.
    pub(crate) policy_file: Option<String>,
    pub(crate) max_signatures: NonZeroUsize,
    pub(crate) scope: Option<String>,
    pub(crate) deadline: Deadline,
    pub(crate) output: Output,
    pub(crate) registry: Registry,
}

/// The schemas of `hardsign policy schema`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Schema {
    Oci,
    Blob,
    Hardsign,
}

pub(super) fn definition() -> Command {
    group("Manage the trust policy for OCI artifacts", &OF_ARTIFACTS)
        .subcommand(
            explain(
                "Explain what the trust policy requires of an artifact, without using the network",
                OF_ARTIFACTS.explain,
            )
            .arg(flags::positional(
                "reference",
                "The artifact, or its repository: <registry>/<repository>[:<tag>|@<digest>]",
            )),
        )
        .subcommand(init(OF_ARTIFACTS.init).arg(flags::list(
            "scope",
            "SCOPE",
            "Repository that the statement applies to: <registry>/<repository>, or * (required, repeatable)",
        )))
        .subcommand(signer::add())
        .subcommand(signer::remove(OF_ARTIFACTS.remove).arg(flags::list(
            "scope",
            "SCOPE",
            "Repository of the statement (instead of --statement, repeatable)",
        )))
        .subcommand(test())
        .subcommand(schema())
}

/// `init`, as it is for artifacts and files.
pub(super) fn init(examples: &'static str) -> Command {
    flags::verb(
        "init",
        "Create a trust policy with one statement of level strict",
        examples,
    )
    .arg(flags::value("name", "NAME", "Name of the statement (required)").short('n'))
    .arg(flags::list(
        "trust-store",
        "TYPE:NAME",
        "Trust store (required, repeatable)",
    ))
    .arg(flags::list(
        "trusted-identity",
        "IDENTITY",
        "Trusted signer: x509.subject:<subject>, or * (required, repeatable)",
    ))
    .arg(flags::force("Overwrite an existing policy"))
    .arg(flags::output())
    .arg(flags::positional("none", "").hide(true))
}

fn test() -> Command {
    flags::verb(
        "test",
        "Show how the trust policy judges artifacts, without changing anything",
        TEST_EXAMPLES,
    )
    .arg(flags::policy())
    .arg(flags::deadline())
    .arg(flags::max_signatures())
    .args(flags::registry())
    .arg(flags::oci_layout())
    .arg(flags::value(
        "scope",
        "SCOPE",
        "Registry scope that selects the trust policy statement (with --oci-layout)",
    ))
    .arg(flags::output())
    .arg(flags::positional(
        "reference...",
        "Artifacts: <registry>/<repository>@<digest>; - reads them from standard input",
    ))
}

fn schema() -> Command {
    flags::verb(
        "schema",
        "Print the JSON Schema of a policy file",
        "\
Examples:
  Let an editor check a trust policy as you write it:
    hardsign policy schema oci > trustpolicy.oci.schema.json",
    )
    .arg(flags::positional(
        "kind",
        "oci: trustpolicy.oci.json; blob: trustpolicy.blob.json; hardsign: policy.hardsign.json",
    ))
}

/// `explain`, as it is for artifacts and files.
pub(super) fn explain(about: &'static str, examples: &'static str) -> Command {
    flags::verb("explain", about, examples)
        .arg(flags::policy())
        .arg(flags::output())
}

/// The commands that the policies for artifacts and for files have in common.
pub(super) fn group(about: &'static str, examples: &Examples) -> Command {
    flags::verb("policy", about, examples.group)
        .subcommand(
            flags::verb(
                "import",
                "Import a trust policy from a JSON file",
                examples.import,
            )
            .arg(flags::force("Overwrite an existing policy"))
            .arg(flags::output())
            .arg(flags::positional("path", "The file")),
        )
        .subcommand(
            flags::verb("show", "Print the trust policy in use", examples.show)
                .arg(flags::positional("none", "").hide(true)),
        )
}

impl ImportArgs {
    /// `command` is the command group, for instance `blob policy`.
    ///
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str, command: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let mut paths = reader.all("positional");
        if paths.len() != 1 {
            return Err(Usage::new(format!(
                "requires 1 argument but received {}.\nUsage: {program} {command} import <path-to-policy.json>\nPlease specify a trust policy {} location as the argument",
                paths.len(),
                if command.starts_with("blob") {
                    "configuration"
                } else {
                    "file"
                }
            )));
        }
        reader.output()?;
        Ok(Self {
            path: paths.remove(0),
            force: reader.switch("force")?,
        })
    }
}

impl ExplainArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let reference = reader.one("policy explain", program)?;
        Self::about(&reader, Some(reference))
    }

    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read_blob(matches: &ArgMatches) -> Result<Self, Usage> {
        no_arguments(matches)?;
        let reader = Reader(matches);
        Self::about(&reader, reader.text("policy-name"))
    }

    fn about(reader: &Reader<'_>, subject: Option<String>) -> Result<Self, Usage> {
        Ok(Self {
            subject,
            policy_file: reader.text("policy"),
            output: reader.output()?,
        })
    }
}

impl InitArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        no_arguments(matches)?;
        reader.required(&["name", "scope", "trust-store", "trusted-identity"])?;
        Ok(Self {
            scopes: reader.all("scope"),
            ..Self::of(&reader)?
        })
    }

    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read_blob(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        no_arguments(matches)?;
        reader.required(&["name", "trust-store", "trusted-identity"])?;
        Ok(Self {
            global: reader.switch("global")?,
            ..Self::of(&reader)?
        })
    }

    fn of(reader: &Reader<'_>) -> Result<Self, Usage> {
        reader.output()?;
        Ok(Self {
            name: reader.text("name").unwrap_or_default(),
            scopes: Vec::new(),
            global: false,
            trust_stores: reader.all("trust-store"),
            trusted_identities: reader.all("trusted-identity"),
            force: reader.switch("force")?,
        })
    }
}

impl TestArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let references = reader.all("positional");
        if references.is_empty() {
            return Err(flags::missing_reference("policy test", program));
        }
        reader.together(&["oci-layout", "scope"])?;
        Ok(Self {
            references,
            policy_file: reader.text("policy"),
            max_signatures: reader.max_signatures()?,
            scope: reader.text("scope"),
            deadline: reader.deadline(READING)?,
            output: reader.output()?,
            registry: Registry::read(&reader)?,
        })
    }
}

/// Which schema is asked for.
///
/// # Errors
/// [`Usage`]: none, or one that there is not.
pub(crate) fn schema_kind(matches: &ArgMatches) -> Result<Schema, Usage> {
    let kinds = Reader(matches).all("positional");
    match kinds.as_slice() {
        [kind] if kind == "oci" => Ok(Schema::Oci),
        [kind] if kind == "blob" => Ok(Schema::Blob),
        [kind] if kind == "hardsign" => Ok(Schema::Hardsign),
        [other] => {
            let fault = Usage::new(format!(
                "unknown schema {other:?}: the schemas are oci, blob and hardsign"
            ));
            Err(fault.meant(other, ["oci", "blob", "hardsign"]))
        }
        more => Err(Usage::new(format!(
            "requires 1 argument but received {}: oci, blob or hardsign",
            more.len()
        ))),
    }
}

/// Refuses arguments to a command that takes none.
///
/// # Errors
/// [`Usage`] with the number of arguments.
pub(crate) fn no_arguments(matches: &ArgMatches) -> Result<(), Usage> {
    match Reader(matches).all("positional").len() {
        0 => Ok(()),
        more => Err(Usage::new(format!("accepts 0 arg(s), received {more}"))),
    }
}
