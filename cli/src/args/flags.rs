//! Flags that several commands share, how they are declared and how they are read.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use hardsign_core::oci::auth::Secret;
use hardsign_core::oci::walk::{PlatformError, PlatformSelector};
use hardsign_plugin::text::did_you_mean;

use super::deadline::{Deadline, Spending};
use super::{Arg, ArgAction, ArgMatches, BTreeMap, Command, Duration, duration};

/// A fault in how the command was called; printed as `Error:`, exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Usage {
    pub(crate) message: String,
    /// Printed as `Hint:`.
    pub(crate) hint: Option<String>,
}

impl Usage {
    pub(crate) fn new(message: String) -> Self {
        Self {
            message,
            hint: None,
        }
    }

    /// The same about a word that is none of these, one of which may have been meant.
    pub(crate) fn meant<'k>(self, word: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        Self {
            hint: did_you_mean(word, known),
            ..self
        }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Output {
    /// For people; the lines that scripts written for the reference tool expect.
    Text,
    /// One JSON document on stdout.
    Json,
}

/// Which artifacts a reference stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Selection {
    /// What is named.
    Named,
    /// With all that an index lists, nested ones too.
    Recursive,
    /// The one artifact of an index that is for a platform.
    Platform(PlatformSelector),
}

/// The flags of [`Selection`].
pub(super) fn selection() -> [Arg; 2] {
    [
        switch(
            "recursive",
            "Include everything that an index lists, nested indexes too",
        ),
        value(
            "platform",
            "OS/ARCH[/VARIANT]",
            "Pick this platform's artifact from an index",
        ),
    ]
}

/// How a registry, or a layout in place of one, is reached.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    /// The reference names an OCI layout directory.
    pub(crate) oci_layout: bool,
    /// `-u` and `-p`, or their environment variables (CFG-27).
    pub(crate) username: String,
    pub(crate) password: Secret,
    /// Plain HTTP.
    pub(crate) insecure: bool,
    /// A PEM file of CAs trusted beside the system's.
    pub(crate) ca_file: Option<String>,
    /// Hosts that may be token services of any registry (REG-05).
    pub(crate) token_services: Vec<String>,
    /// Write the referrers tag without asking the referrers API (OCI-27).
    pub(crate) force_referrers_tag: bool,
    /// `--allow-referrers-api` of 1.3.2 was given, which changes nothing (CLI-103).
    pub(crate) allow_referrers_api: bool,
}

impl Registry {
    /// Whether the user gave a user name or password.
    pub(crate) fn has_credential(&self) -> bool {
        !self.username.is_empty() || !self.password.expose().is_empty()
    }

    /// # Errors
    /// A switch with a value that is no truth value, or flags that exclude each other (CLI-24).
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, Usage> {
        reader.exclusive(&["oci-layout", "force-referrers-tag"])?;
        let or_environment = |flag: &str, variable: &str| {
            #[expect(
                clippy::disallowed_methods,
                reason = "the command line has its own variables"
            )]
            let fallback = || std::env::var(variable).unwrap_or_default();
            reader.text(flag).unwrap_or_else(fallback)
        };
        Ok(Self {
            oci_layout: reader.switch("oci-layout")?,
            username: or_environment("username", "NOTATION_USERNAME"),
            password: Secret::new(or_environment("password", "NOTATION_PASSWORD")),
            insecure: reader.switch("insecure-registry")? || reader.switch("plain-http")?,
            ca_file: reader.text("ca-file"),
            token_services: reader.all("token-service"),
            force_referrers_tag: reader.switch("force-referrers-tag")?,
            allow_referrers_api: reader.given("allow-referrers-api"),
        })
    }
}

/// A flag with a value.
pub(super) fn value(long: &'static str, name: &'static str, help: &'static str) -> Arg {
    Arg::new(long)
        .long(long)
        .value_name(name)
        .help(help)
        .action(ArgAction::Set)
        .allow_hyphen_values(true)
}

/// A flag without a value; `--flag=false` is understood.
pub(super) fn switch(long: &'static str, help: &'static str) -> Arg {
    Arg::new(long)
        .long(long)
        .help(help)
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide_possible_values(true)
        .hide_default_value(true)
}

/// A flag that may be given several times.
pub(super) fn list(long: &'static str, name: &'static str, help: &'static str) -> Arg {
    value(long, name, help).action(ArgAction::Append)
}

/// `--require-hardware`.
pub(super) fn require_hardware() -> Arg {
    switch(
        "require-hardware",
        "Accept only signatures with proof that the key is in hardware",
    )
}

/// The positional references or files. How many there must be, each command says itself; a name that
/// ends in three dots shows in the help that there may be several.
pub(super) fn positional(name: &'static str, help: &'static str) -> Arg {
    Arg::new("positional")
        .value_name(name)
        .help(help)
        .num_args(0..)
        .action(ArgAction::Append)
}

/// Below the flags of the command itself, and above `--help`.
const LAST: usize = 900;

pub(super) fn debug() -> Arg {
    switch("debug", "Print debug output on standard error")
        .short('d')
        .display_order(LAST)
        .global(true)
}

pub(super) fn verbose() -> Arg {
    switch("verbose", "Print progress messages on standard error")
        .short('v')
        .display_order(LAST)
        .global(true)
}

pub(super) fn output() -> Arg {
    value("output", "FORMAT", "Output format: text or json").short('o')
}

/// `--policy`, which takes the place of the trust policy and its rules for one run.
pub(super) fn policy() -> Arg {
    value(
        "policy",
        "FILE",
        "Use this trust policy file instead of the configured one",
    )
}

pub(super) fn yes() -> Arg {
    switch("yes", "Do not ask for confirmation").short('y')
}

pub(super) fn force(help: &'static str) -> Arg {
    switch("force", help)
}

/// The flags that say how a registry is reached.
pub(super) fn registry() -> [Arg; 6] {
    [
        value("username", "NAME", "User name for the registry [env: NOTATION_USERNAME]").short('u'),
        value(
            "password",
            "PASSWORD",
            "Password for the registry; other users can see it, so prefer `login --password-stdin` [env: NOTATION_PASSWORD]",
        )
        .short('p'),
        switch("insecure-registry", "Use plain HTTP to reach the registry"),
        switch("plain-http", "The same").hide(true),
        value("ca-file", "FILE", "CA certificates (PEM) to trust in addition to the system's"),
        list(
            "token-service",
            "HOST",
            "Token service of the registry if it is on another domain; add the port for plain HTTP (repeatable)",
        ),
    ]
}

/// A flag of 1.3.2 for what is done anyway (CLI-103).
pub(super) fn allow_referrers_api() -> Arg {
    switch("allow-referrers-api", "No effect; kept for scripts").hide(true)
}

/// `--deadline`.
pub(super) fn deadline() -> Arg {
    value(
        "deadline",
        "DURATION",
        "Give up after this time, for instance 10s or 1m30s",
    )
}

pub(super) fn oci_layout() -> Arg {
    switch(
        "oci-layout",
        "The reference names an OCI image layout: <path>:<tag> or <path>@<digest>",
    )
}

pub(super) fn plugin_config(help: &'static str) -> Arg {
    list("plugin-config", "KEY=VALUE", help)
}

pub(super) fn user_metadata(help: &'static str) -> Arg {
    list("user-metadata", "KEY=VALUE", help).short('m')
}

pub(super) fn max_signatures() -> Arg {
    value(
        "max-signatures",
        "N",
        "Maximum number of signatures to evaluate or examine [default: 100]",
    )
}

/// Reads typed values out of one command's matches.
pub(super) struct Reader<'a>(pub(super) &'a ArgMatches);

impl Reader<'_> {
    pub(super) fn text(&self, flag: &str) -> Option<String> {
        self.0.try_get_one::<String>(flag).ok().flatten().cloned()
    }

    pub(super) fn all(&self, flag: &str) -> Vec<String> {
        match self.0.try_get_many::<String>(flag) {
            Ok(Some(values)) => values.cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// # Errors
    /// A value other than those that Go's `strconv.ParseBool` takes (CLI-05).
    pub(super) fn switch(&self, flag: &str) -> Result<bool, Usage> {
        match self.text(flag).as_deref() {
            None => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(Usage::new(format!(
                "invalid argument {other:?} for \"{}\" flag: strconv.ParseBool: parsing {other:?}: invalid syntax",
                spelled(flag)
            ))),
        }
    }

    /// Reads the values that have a form of their own, of whatever flags the command has: these
    /// faults come before those in the arguments and in the flags together (CLI-06).
    ///
    /// # Errors
    /// The first value that can't be read.
    pub(super) fn check_values(&self, switches: &BTreeSet<&str>) -> Result<(), Usage> {
        for id in self.0.ids() {
            match id.as_str() {
                "expiry" => duration::check(&self.text("expiry").unwrap_or_default())?,
                "deadline" => drop(self.deadline_given()?),
                "jobs" => drop(self.number("jobs", "--jobs")?),
                "max-signatures" => drop(self.number("max-signatures", "--max-signatures")?),
                "bits" => drop(self.number("bits", "-b, --bits")?),
                switch if switches.contains(switch) => drop(self.switch(switch)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// A whole number, if the flag is given.
    pub(super) fn number(&self, flag: &str, spelled: &str) -> Result<Option<i64>, Usage> {
        let Some(text) = self.text(flag) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            Usage::new(format!(
                "invalid argument {text:?} for \"{spelled}\" flag: strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })
    }

    pub(super) fn given(&self, flag: &str) -> bool {
        // A flag that the command does not have is not given; clap would panic on asking.
        matches!(self.0.try_contains_id(flag), Ok(true))
            && self.0.value_source(flag) == Some(clap::parser::ValueSource::CommandLine)
    }

    /// `key=value` pairs, split at the first `=`, both parts non-empty (CLI-12).
    pub(super) fn pairs(&self, flag: &str) -> Result<BTreeMap<String, String>, Usage> {
        let mut pairs = BTreeMap::new();
        for pair in self.all(flag) {
            match pair.split_once('=') {
                Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                    pairs.insert(key.to_owned(), value.to_owned());
                }
                _ => {
                    return Err(Usage::new(format!(
                        "could not parse flag {flag}: key-value pair requires \"=\" as separator"
                    )));
                }
            }
        }
        Ok(pairs)
    }

    /// `--deadline`, from now on; without it, `each` is for each artifact.
    pub(super) fn deadline(&self, each: Spending) -> Result<Deadline, Usage> {
        Ok(Deadline::new(self.deadline_given()?, each))
    }

    fn deadline_given(&self) -> Result<Option<Duration>, Usage> {
        let given = self.text("deadline");
        given.map(|text| duration::deadline(&text)).transpose()
    }

    /// `--recursive` or `--platform`.
    pub(super) fn selection(&self) -> Result<Selection, Usage> {
        self.exclusive(&["recursive", "platform"])?;
        if let Some(text) = self.text("platform") {
            let platform = text.parse().map_err(|error: PlatformError| {
                Usage::new(format!(
                    "invalid argument {text:?} for \"--platform\" flag: {error}"
                ))
            })?;
            return Ok(Selection::Platform(platform));
        }
        Ok(if self.switch("recursive")? {
            Selection::Recursive
        } else {
            Selection::Named
        })
    }

    /// `--output` (CLI-21): text by default.
    pub(super) fn output(&self) -> Result<Output, Usage> {
        match self.text("output").as_deref() {
            None | Some("text") => Ok(Output::Text),
            Some("json") => Ok(Output::Json),
            Some(other) => {
                let fault = Usage::new(format!("invalid format: {other:?}"));
                Err(fault.meant(other, ["text", "json"]))
            }
        }
    }

    /// The only reference of a command that takes one.
    ///
    /// # Errors
    /// None or several (CLI-11).
    pub(super) fn one(&self, command: &str, program: &str) -> Result<String, Usage> {
        let mut references = self.all("positional");
        match references.len() {
            0 => Err(missing_reference(command, program)),
            1 => Ok(references.remove(0)),
            more => Err(Usage::new(format!(
                "{command} takes one reference, but got {more}"
            ))),
        }
    }

    /// `--output` of the inspecting commands: a tree by default (CLI-46).
    pub(super) fn tree_or_json(&self) -> Result<Output, Usage> {
        match self.text("output").as_deref() {
            // 1.3.2 calls its tree "text" (CLI-103).
            None | Some("tree" | "text") => Ok(Output::Text),
            Some("json") => Ok(Output::Json),
            Some(other) => {
                let fault = Usage::new(format!("invalid format: {other:?}"));
                Err(fault.meant(other, ["tree", "json"]))
            }
        }
    }

    /// `--max-signatures`: a positive number, 100 by default (CLI-34).
    pub(super) fn max_signatures(&self) -> Result<NonZeroUsize, Usage> {
        let number = self.number("max-signatures", "--max-signatures")?;
        let number = number.unwrap_or(100);
        usize::try_from(number)
            .ok()
            .and_then(NonZeroUsize::new)
            .ok_or_else(|| {
                Usage::new(format!(
                    "max-signatures value {number} must be a positive number"
                ))
            })
    }

    /// `--expiry`: a Go duration of whole seconds (CLI-27); zero means none.
    pub(super) fn expiry(&self) -> Result<Option<Duration>, Usage> {
        match self.text("expiry") {
            None => Ok(None),
            Some(text) => duration::expiry(&text),
        }
    }

    /// Flags that must be given, sorted by name in the message (CLI-07).
    pub(super) fn required(&self, flags: &[&str]) -> Result<(), Usage> {
        let mut missing: Vec<_> = flags
            .iter()
            .filter(|f| !self.given(f))
            .map(|f| format!("{f:?}"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort_unstable();
        Err(Usage::new(format!(
            "required flag(s) {} not set",
            missing.join(", ")
        )))
    }

    /// Flags that go together or not at all (CLI-08).
    pub(super) fn together(&self, group: &[&str]) -> Result<(), Usage> {
        let missing: Vec<_> = group.iter().filter(|f| !self.given(f)).copied().collect();
        if missing.is_empty() || missing.len() == group.len() {
            return Ok(());
        }
        Err(Usage::new(format!(
            "if any flags in the group [{}] are set they must all be set; missing [{}]",
            group.join(" "),
            missing.join(" ")
        )))
    }

    /// Flags of which one must be given (CLI-08).
    pub(super) fn one_of(&self, group: &[&str]) -> Result<(), Usage> {
        if group.iter().any(|flag| self.given(flag)) {
            return Ok(());
        }
        Err(Usage::new(format!(
            "at least one of the flags in the group [{}] is required",
            group.join(" ")
        )))
    }

    /// Flags of which only one may be given (CLI-08).
    pub(super) fn exclusive(&self, group: &[&str]) -> Result<(), Usage> {
        let mut given: Vec<_> = group.iter().filter(|f| self.given(f)).copied().collect();
        if given.len() < 2 {
            return Ok(());
        }
        given.sort_unstable();
        Err(Usage::new(format!(
            "if any flags in the group [{}] are set none of the others can be; [{}] were all set",
            group.join(" "),
            given.join(" ")
        )))
    }
}

/// The ids of the switches of a command and of all below it.
pub(super) fn switches(command: &Command) -> BTreeSet<&str> {
    let own = command
        .get_arguments()
        .filter(|arg| arg.is_require_equals_set())
        .map(|arg| arg.get_id().as_str());
    own.chain(command.get_subcommands().flat_map(switches))
        .collect()
}

/// A switch as messages spell it: `-d, --debug`.
fn spelled(switch: &str) -> String {
    match switch {
        "debug" | "verbose" | "yes" | "all" => format!("-{}, --{switch}", &switch[..1]),
        _ => format!("--{switch}"),
    }
}

/// A command with the conventions of all of them.
pub(super) fn verb(name: &'static str, about: &'static str, examples: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .after_help(examples)
        .args_override_self(true)
}

/// No reference was given (CLI-22).
pub(super) fn missing_reference(command: &str, program: &str) -> Usage {
    Usage::new(format!(
        "missing reference to the artifact: use `{program} {command} --help` to see what parameters are required"
    ))
}
