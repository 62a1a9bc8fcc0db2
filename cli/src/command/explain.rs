//! `hardsign policy explain` and `hardsign blob policy explain`: what would be demanded, and by
//! which file. No signature is looked at and nothing is asked over the network.

use std::fmt::Display;

use hardsign_core::artifact::reference::{Reference, RepositoryName};
use hardsign_core::policy::hardsign::{AttachedRule, HardwareRule, Maker, Party, Signers};
use hardsign_core::policy::{SelectionError, VerifyTimestamp, blob, oci};
use hardsign_core::trust::Loader;
use hardsign_core::verify::{Because, Explanation, Policy, PolicyFile};
use serde_json::{Map, Value, json};

use super::Context;
use super::verify::load;
use crate::args::Output;
use crate::args::policy::ExplainArgs;
use crate::failure::{Failure, verification};
use crate::output::device::{self, strings};
use crate::output::one_line;

/// What is demanded of the artifacts of a repository.
pub(super) fn artifact(args: &ExplainArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let policy: Policy<oci::Document> = load(args.policy_file.as_deref(), &dirs, context)?;
    let typed = args.subject.as_deref().unwrap_or_default();
    // A tag or digest may be given, as on other commands, but only the repository counts.
    let scope = match (typed.parse::<Reference>(), typed.parse::<RepositoryName>()) {
        (Ok(reference), _) => reference.repository.to_string(),
        (_, Ok(repository)) => repository.to_string(),
        _ => typed.to_owned(),
    };
    let stores = Loader::new(dirs.trust_stores());
    let explain = policy.explain(&scope, &stores);
    let explained = context.wait(async { explain.await.map_err(not_selected) })?;
    warn(&explained, policy.document().warnings().len(), context);
    print(&explained, Some(&scope), args.output, context)
}

/// What is demanded of files.
pub(super) fn blob(args: &ExplainArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let policy: Policy<blob::Document> = load(args.policy_file.as_deref(), &dirs, context)?;
    let stores = Loader::new(dirs.trust_stores());
    let explain = policy.explain(args.subject.as_deref(), &stores);
    let explained = context.wait(async { explain.await.map_err(not_selected) })?;
    warn(&explained, policy.document().warnings().len(), context);
    print(&explained, None, args.output, context)
}

fn not_selected(error: SelectionError) -> Failure {
    Failure {
        hint: verification::selection(&error),
        ..Failure::error(error)
    }
}

/// The warnings after the `shown` ones that reading the policy printed.
fn warn(explained: &Explanation, shown: usize, context: &Context) {
    for warning in explained.warnings.iter().skip(shown) {
        context.console.warning(warning);
    }
}

fn print(
    explained: &Explanation,
    repository: Option<&str>,
    output: Output,
    context: &Context,
) -> Result<(), Failure> {
    let console = &context.console;
    match output {
        Output::Json => console.json(&document(explained, repository))?,
        Output::Text => console.bytes(text(explained, repository).as_bytes())?,
    }
    Ok(())
}

fn text(explained: &Explanation, repository: Option<&str>) -> String {
    let mut out = Lines::default();
    if let Some(repository) = repository {
        out.pair("Repository", repository);
    }
    out.pair("Trust policy", source(&explained.policy));
    if let Some(rules) = &explained.rules_source {
        out.pair("Hardsign's rules", source(rules));
    }
    out.pair("Statement", &explained.statement);
    out.pair("Applies because", because(&explained.because));
    let changed = if explained.overridden {
        ", changed by \"override\""
    } else {
        ""
    };
    out.pair("Level", format_args!("{}{changed}", explained.level));
    out.line(0, "Checks");
    for (check, action) in &explained.checks {
        out.line(1, format_args!("{:<20}{action}", check.to_string()));
    }
    if let Some(when) = explained.verify_timestamp {
        let when = match when {
            VerifyTimestamp::Always => "always checked",
            VerifyTimestamp::AfterCertExpiry => {
                "checked once a certificate of the chain has expired"
            }
        };
        out.pair("Timestamps", when);
    }
    out.line(0, "Trust stores");
    for store in &explained.stores {
        match &store.subjects {
            Ok(subjects) => {
                out.line(1, &store.store);
                for subject in subjects {
                    out.line(2, subject);
                }
            }
            Err(error) => out.line(1, format_args!("{}: cannot be used: {error}", store.store)),
        }
    }
    out.line(0, "Trusted identities");
    for identity in &explained.identities {
        out.line(1, identity);
    }
    if let Some(rules) = &explained.rules {
        out.line(
            0,
            "Hardsign's own rules, which other verifiers do not enforce",
        );
        if let Some(demanded) = &rules.signers {
            signers(demanded, &mut out);
        }
        attached(&rules.attached, &mut out);
        if let Some(rule) = &rules.hardware {
            hardware(rule, &mut out);
        }
    }
    out.0
}

fn attached(rules: &[AttachedRule], out: &mut Lines) {
    if rules.is_empty() {
        return;
    }
    out.line(0, "Attached artifacts");
    for rule in rules {
        let by = match (rule.signers(), rule.same_signer()) {
            (Some(demanded), _) => format!(" by at least {} of", demanded.at_least()),
            (None, true) => " by a signer of the artifact itself".to_owned(),
            (None, false) => String::new(),
        };
        out.line(1, format_args!("{}, signed{by}", rule.artifact_type()));
        if let Some(demanded) = rule.signers() {
            parties(demanded, 2, out);
        }
    }
}

fn hardware(rule: &HardwareRule, out: &mut Lines) {
    out.line(0, "Hardware: the key of each signature lives in a device");
    for maker in rule.makers() {
        match maker {
            Maker::File { path, subjects } => {
                out.line(1, format_args!("of the maker of {}", path.display()));
                for subject in subjects {
                    out.line(2, subject);
                }
            }
            _ => out.line(1, "of Yubico, by the roots that came with hardsign"),
        }
    }
    let either = |list: Vec<String>| list.join(" or ");
    if let Some(list) = &rule.pin_policies {
        out.line(1, format_args!("PIN policy {}", either(strings(list))));
    }
    if let Some(list) = &rule.touch_policies {
        out.line(1, format_args!("touch policy {}", either(strings(list))));
    }
    if let Some(least) = rule.least_firmware {
        out.line(1, format_args!("firmware {least} or later"));
    }
    if let Some(serials) = &rule.serials {
        let serials: Vec<_> = serials.iter().map(ToString::to_string).collect();
        out.line(1, format_args!("serial number {}", either(serials)));
    }
}

fn signers(signers: &Signers, out: &mut Lines) {
    out.line(
        0,
        format_args!("Signers: at least {} of", signers.at_least()),
    );
    parties(signers, 1, out);
}

fn parties(signers: &Signers, depth: usize, out: &mut Lines) {
    for party in signers.parties() {
        out.line(depth, party.name());
        for identity in party.identities() {
            out.line(depth + 1, identity.text());
        }
        for store in party.stores() {
            out.line(depth + 1, format_args!("trust store {store}"));
        }
    }
}

fn because(because: &Because) -> String {
    match because {
        Because::Scope(scope) => format!("it names the repository {scope}"),
        Because::Wildcard => "its scope is *, and no other statement names the repository".into(),
        Because::Name => "it was named".into(),
        Because::Global => "it is the global statement".into(),
    }
}

fn source(source: &PolicyFile) -> String {
    format!(
        "{} (sha256:{})",
        source.path.display(),
        hex::encode(source.sha256)
    )
}

/// Lines of foreign text, made harmless, indented by two spaces a step.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, depth: usize, text: impl Display) {
        self.0.push_str(&"  ".repeat(depth));
        self.0.push_str(&one_line(&text.to_string()));
        self.0.push('\n');
    }

    fn pair(&mut self, key: &str, value: impl Display) {
        self.line(0, format_args!("{:<18}{value}", format!("{key}:")));
    }
}

/// `docs/json.md` describes it.
fn document(explained: &Explanation, repository: Option<&str>) -> Value {
    let file =
        |source: &PolicyFile| json!({"path": source.path, "sha256": hex::encode(source.sha256)});
    let checks: Map<_, _> = explained
        .checks
        .iter()
        .map(|(check, action)| (check.to_string(), json!(action.to_string())))
        .collect();
    let stores: Vec<_> = explained
        .stores
        .iter()
        .map(|store| match &store.subjects {
            Ok(subjects) => json!({"trustStore": store.store.to_string(), "subjects": subjects}),
            Err(error) => json!({"trustStore": store.store.to_string(), "error": error}),
        })
        .collect();
    json!({
        "repository": repository,
        "policy": file(&explained.policy),
        "rulesPolicy": explained.rules_source.as_ref().map(file),
        "statement": explained.statement,
        "appliesBy": match &explained.because {
            Because::Scope(_) => "scope",
            Because::Wildcard => "wildcard",
            Because::Name => "name",
            Because::Global => "global",
        },
        "level": explained.level.to_string(),
        "overridden": explained.overridden,
        "checks": checks,
        "verifyTimestamp": explained.verify_timestamp.map(|when| when.to_string()),
        "trustStores": stores,
        "trustedIdentities": explained.identities,
        "signers": explained.rules.as_ref().and_then(|rules| rules.signers.as_ref()).map(signers_json),
        "attached": explained.rules.iter().flat_map(|rules| &rules.attached).map(|rule| json!({
            "type": rule.artifact_type(),
            "sameSigner": rule.same_signer(),
            "signers": rule.signers().map(signers_json),
        })).collect::<Vec<_>>(),
        "hardware": explained.rules.iter().find_map(|rules| rules.hardware.as_deref()).map(device::rule),
        "warnings": explained.warnings,
    })
}

fn signers_json(signers: &Signers) -> Value {
    json!({
        "atLeast": signers.at_least(),
        "of": signers.parties().iter().map(party).collect::<Vec<_>>(),
    })
}

fn party(party: &Party) -> Value {
    json!({
        "name": party.name(),
        "trustedIdentities": party.identities().iter().map(|i| i.text()).collect::<Vec<_>>(),
        "trustStores": party.stores().iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
