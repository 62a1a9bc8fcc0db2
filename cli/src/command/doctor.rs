//! `hardsign doctor`: looks at what is on this machine and says in plain words what would fail and
//! how to fix it. Nothing is changed, and nothing is asked over the network; plugins are asked who
//! they are, those of the box also whether a key is there, as far as that takes no PIN, and keys are
//! opened only with `--open-keys`. It is a gate: what would fail is an error, and so is, with `--strict`,
//! what may surprise.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use hardsign_core::artifact::Kind;
use hardsign_core::config::permissions::{Exposure, exposed, exposed_below};
use hardsign_core::config::{ConfigFile, PolicyFileError};
use hardsign_core::dirs::Dirs;
use hardsign_core::plugin::{Finder, Host, Installer, Pins, PluginError, PluginName};
use hardsign_core::policy::blob::Global;
use hardsign_core::policy::{Applicability, Document, Scopes};
use hardsign_core::text::WithCauses;
use hardsign_core::trust::{Loader, StoreName, StoreRef, StoreType};
use hardsign_core::verify::{Policy, PolicyLoadError};
use hardsign_plugin::text::plural;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{Context, signer};
use crate::args::Output;
use crate::args::doctor::DoctorArgs;
use crate::failure::{Failure, plugin};
use crate::output::{Mark, one_line};

mod certificates;
mod keys;
mod node;
mod surroundings;

use certificates::{Statements, lapse};
use keys::Looking;
pub(super) use node::run as node;

/// How bad a finding is.
#[derive(Clone, Copy, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// Something that may surprise.
    Warning,
    /// Something that fails.
    Error,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    status: Status,
    subject: String,
    message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, subject: impl Into<String>, message: impl Into<String>) {
        self.add(Status::Ok, subject.into(), message.into(), None);
    }

    fn warn(&mut self, subject: impl Into<String>, message: impl Into<String>, fix: &str) {
        let fix = Some(fix.to_owned());
        self.add(Status::Warning, subject.into(), message.into(), fix);
    }

    fn fail(&mut self, subject: impl Into<String>, message: impl Into<String>, fix: &str) {
        let fix = Some(fix.to_owned());
        self.add(Status::Error, subject.into(), message.into(), fix);
    }

    fn add(&mut self, status: Status, subject: String, message: String, fix: Option<String>) {
        self.0.push(Finding {
            status,
            subject,
            message,
            fix,
        });
    }

    fn count(&self, status: Status) -> usize {
        self.0.iter().filter(|f| f.status == status).count()
    }
}

pub(super) fn run(args: &DoctorArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let mut findings = Findings::default();
    directories(&dirs, &mut findings);
    surroundings::look(&dirs, context, &mut findings);
    configuration(&dirs, &mut findings);
    let mut statements = Statements::default();
    policy::<Scopes>(&dirs, context, &mut statements, &mut findings);
    policy::<Global>(&dirs, context, &mut statements, &mut findings);
    stores(&dirs, context.now(), &mut findings);
    let host = signer::host(&dirs, context);
    permissions(&dirs, &host, &mut findings);
    context.wait(async {
        plugins(&host, &mut findings).await;
        let looking = Looking {
            host: &host,
            dirs: &dirs,
            open: args.open_keys,
            statements: &statements,
            loader: &Loader::new(dirs.trust_stores()),
            now: context.now(),
        };
        keys::look(&looking, &mut findings).await;
        Ok(())
    })?;
    conclude(&findings, args.output, args.strict, context)
}

/// Tells what was found; anything that would fail is a failure, with `strict` a warning too.
fn conclude(
    findings: &Findings,
    output: Output,
    strict: bool,
    context: &Context,
) -> Result<(), Failure> {
    print(findings, output, context)?;
    match (
        findings.count(Status::Error),
        findings.count(Status::Warning),
    ) {
        (0, warnings) if warnings > 0 && strict => Err(Failure::failed(format!(
            "{}, which --strict does not allow",
            plural(warnings, "warning")
        ))),
        (0, _) => Ok(()),
        (errors, _) => Err(Failure::failed(format!(
            "{} found",
            plural(errors, "problem")
        ))),
    }
}

fn print(findings: &Findings, output: Output, context: &Context) -> Result<(), Failure> {
    let console = &context.console;
    if output == Output::Json {
        return Ok(console.json(&json!({
            "errors": findings.count(Status::Error),
            "warnings": findings.count(Status::Warning),
            "findings": findings.0,
        }))?);
    }
    for finding in &findings.0 {
        let (mark, word) = match finding.status {
            Status::Ok => (Mark::Good, "ok  "),
            Status::Warning => (Mark::Doubtful, "warn"),
            Status::Error => (Mark::Bad, "FAIL"),
        };
        let (subject, message) = (one_line(&finding.subject), one_line(&finding.message));
        console.item(mark, word, &format!("{subject}: {message}"))?;
        if let Some(fix) = &finding.fix {
            console.below(word, &one_line(fix))?;
        }
    }
    Ok(())
}

fn directories(dirs: &Dirs, findings: &mut Findings) {
    let subject = format!("configuration directory {}", dirs.config.display());
    match fs::metadata(&dirs.config) {
        Err(_) => findings.warn(
            subject,
            "does not exist, so there are no keys and no policies yet",
            "`hardsign key add <name> --plugin <plugin> --id <key-id>` and `hardsign policy import <file>` create it",
        ),
        Ok(found) if !found.is_dir() => {
            findings.fail(subject, "is not a directory", "move it out of the way");
        }
        Ok(_) => match exposed(&dirs.config) {
            Some(exposed) => findings.fail(
                subject,
                match exposed.by {
                    Exposure::Mode { .. } => {
                        "others can write to it, and so decide what is trusted".to_owned()
                    }
                    Exposure::Owner { .. } => format!("{exposed}, and decides what is trusted"),
                },
                &exposed.fix(),
            ),
            None => findings.ok(subject, "exists"),
        },
    }
}

/// Each file that decides what is trusted or what runs, as far as somebody else can change it.
fn permissions(dirs: &Dirs, host: &Host, findings: &mut Findings) {
    let mut places = vec![exposed_below(&dirs.config, DEPTH)];
    if !dirs.libexec.starts_with(&dirs.config) {
        places.push(exposed(&dirs.libexec).into_iter().collect());
        places.push(exposed_below(&dirs.plugins(), DEPTH));
        places.push(exposed(&dirs.plugin_pins()).into_iter().collect());
    }
    for file in host.finder().list_box() {
        places.push(file.path.parent().and_then(exposed).into_iter().collect());
        places.push(exposed(&file.path).into_iter().collect());
    }
    let mut seen = BTreeSet::new();
    let found = places.into_iter().flatten();
    // The configuration directory itself was told of.
    let new = found.filter(|e| e.path != dirs.config && seen.insert(e.path.clone()));
    for exposed in new {
        let what = match exposed.by {
            Exposure::Mode { .. } => "they can change what is trusted or what runs",
            Exposure::Owner { .. } => "that user can change what is trusted or what runs",
        };
        findings.warn("permissions", format!("{exposed}: {what}"), &exposed.fix());
    }
}

/// Directories below the configuration and plugin directories that are looked into.
const DEPTH: usize = 8;

fn configuration(dirs: &Dirs, findings: &mut Findings) {
    let config = match ConfigFile::load(dirs) {
        Ok(config) => config,
        Err(error) => {
            let fix = "fix the file by hand; it must be a JSON object";
            return findings.fail("config.json", WithCauses(&error).to_string(), fix);
        }
    };
    let format = config.signature_format();
    if crate::args::sign::format(&format).is_err() {
        findings.fail(
            "config.json",
            format!("signatureFormat {format:?} is not supported"),
            "set it to \"jws\" or \"cose\"",
        );
    }
    let store = config.credentials_store().map(|name| ("credsStore", name));
    let helpers = config.credential_helpers();
    for (member, name) in store
        .into_iter()
        .chain(helpers.map(|(_, name)| ("credHelpers", name)))
    {
        let program = format!("docker-credential-{name}");
        if surroundings::in_path(&program).is_some() {
            findings.ok("credentials store", format!("{program} is installed"));
        } else {
            findings.fail(
                "credentials store",
                format!("{program}, which config.json asks for, is not in PATH, so no registry that needs it can be reached"),
                &format!("install it, or change {member} in config.json"),
            );
        }
    }
}

/// A policy, and the stores that it names.
fn policy<A: Applicability>(
    dirs: &Dirs,
    context: &Context,
    statements: &mut Statements,
    findings: &mut Findings,
) {
    let (subject, things, import) = match A::KIND {
        Kind::Oci => ("OCI trust policy", "artifacts", "policy import"),
        Kind::Blob => ("blob trust policy", "files", "blob policy import"),
    };
    let policy = match Policy::<Document<A>>::load(dirs) {
        Ok(policy) => policy,
        Err(PolicyLoadError::File(PolicyFileError::NotPresent)) => {
            let message = format!("there is none, so no {things} can be verified");
            let fix = format!("import one with `{} {import} <file>`", context.program);
            return findings.warn(subject, message, &fix);
        }
        Err(error) => {
            let place = super::policy::place_of(&error, A::KIND, dirs);
            let fix = match error.did_you_mean() {
                Some(meant) => format!("{meant} Fix {place}"),
                None => format!("fix {place}"),
            };
            return findings.fail(subject, WithCauses(&error).to_string(), &fix);
        }
    };
    findings.ok(
        subject,
        format!("{} is valid", policy.source().path.display()),
    );
    for warning in policy.document().warnings() {
        findings.warn(subject, warning.to_string(), "check that this is intended");
    }
    let loader = Loader::new(dirs.trust_stores());
    for statement in policy.document().statements() {
        let (statement, verification) = (statement.name(), statement.verification());
        if let Some(rules) = verification.rules() {
            statements.push(statement, rules);
        }
        for store in verification.rules().map(|r| r.stores()).unwrap_or_default() {
            if let Err(error) = loader.load(store) {
                findings.fail(
                    format!("{subject}, statement {statement:?}"),
                    format!("every verification with it fails: {}", WithCauses(&error)),
                    &format!(
                        "`{} certificate add --type {} --store {} <file>` adds certificates",
                        context.program, store.store_type, store.name
                    ),
                );
            }
        }
    }
}

/// Each store on disk: whether it can be used, and what has expired in it.
fn stores(dirs: &Dirs, now: Timestamp, findings: &mut Findings) {
    let loader = Loader::new(dirs.trust_stores());
    for store_type in StoreType::ALL {
        let directory = dirs.trust_stores().join(store_type.to_string());
        let mut names = names(&directory);
        names.sort();
        for name in names {
            let subject = format!("trust store {store_type}:{name}");
            let Ok(name) = StoreName::parse(&name) else {
                let fix = "rename it: the name may have letters, digits, dots, hyphens and underscores only";
                findings.warn(subject, "its name is not valid in a trust policy", fix);
                continue;
            };
            let store = match loader.load(&StoreRef { store_type, name }) {
                Ok(store) => store,
                Err(error) => {
                    let fix = match error.is_not_found() {
                        true => "add certificates to it, or remove the directory",
                        false => "remove or replace the file",
                    };
                    findings.fail(subject, WithCauses(&error).to_string(), fix);
                    continue;
                }
            };
            let certificates = store.certificates();
            let lapses: Vec<_> = certificates.iter().filter_map(|c| lapse(c, now)).collect();
            let valid = certificates.len() - lapses.iter().filter(|lapse| lapse.now).count();
            for lapse in lapses {
                match valid {
                    0 => findings.fail(subject.clone(), lapse.message, &lapse.fix),
                    _ => findings.warn(subject.clone(), lapse.message, &lapse.fix),
                }
            }
            if valid > 0 {
                findings.ok(subject, plural(certificates.len(), "certificate"));
            }
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

async fn plugins(host: &Host, findings: &mut Findings) {
    let finder: &Finder = host.finder();
    let mut files: BTreeMap<_, _> = finder
        .list_box()
        .into_iter()
        .map(|file| (file.name.as_str().to_owned(), file))
        .collect();
    match finder.list() {
        Err(error) => {
            let fix = "make the plugin directory readable";
            findings.fail("plugins", WithCauses(&error).to_string(), fix);
        }
        Ok(listed) => {
            for plugin in listed {
                let name = plugin.name.as_str().to_owned();
                match plugin.found {
                    Ok(file) => drop(files.insert(name, file)),
                    Err(error) => fault(format!("plugin {name}"), &error, findings),
                }
            }
        }
    }
    installations(host, findings);
    for (name, file) in files {
        let subject = format!("plugin {name}");
        let path = file.path.display().to_string();
        match host.run(file).metadata(&BTreeMap::new()).await {
            Ok(metadata) => findings.ok(subject, format!("{path}, version {}", metadata.version)),
            Err(error) => fault(subject, &error, findings),
        }
    }
}

/// What interrupted installations left, and what the pins say. That a pinned plugin was changed
/// is found when it is asked who it is.
fn installations(host: &Host, findings: &mut Findings) {
    for leftover in Installer::new(host.clone()).leftovers() {
        findings.warn(
            "plugins",
            format!("an interrupted installation left {}", leftover.display()),
            "`hardsign plugin list` cleans it up; if it remains, remove it",
        );
    }
    match Pins::load(host.finder().pins_file()) {
        Err(error) => findings.fail(
            "pins of plugins",
            format!("none of the plugins that you installed can run: {}", WithCauses(&error)),
            "fix or remove the file; without it, plugins are not checked until `hardsign plugin trust <name>` pins them again",
        ),
        Ok(pins) => {
            for name in pins.names() {
                let name = PluginName::new(name);
                if let Ok(name) = name
                    && host.finder().find_installed(&name).is_err()
                {
                    let directory = host.finder().user_directory().join(name.as_str());
                    let goes = format!("`hardsign plugin uninstall {name}` finds no plugin, and removes the pin");
                    let fix = match directory.symlink_metadata() {
                        Ok(_) => format!("install it again, or remove {}, after which {goes}", directory.display()),
                        Err(_) => format!("{goes}, and so does `hardsign plugin install --file <file>` with any plugin"),
                    };
                    findings.warn(
                        "pins of plugins",
                        format!("plugin {name} is pinned but not installed"),
                        &fix,
                    );
                }
            }
        }
    }
}

fn fault(subject: String, error: &PluginError, findings: &mut Findings) {
    let fix = plugin::hint(error);
    findings.fail(
        subject,
        WithCauses(error).to_string(),
        fix.as_deref().unwrap_or(SAID),
    );
}

/// What to do where the plugin itself said what it misses: neither the plugin nor the key has to be
/// removed for that.
const SAID: &str = "fix what the plugin reports, in its settings or in the environment; `hardsign doctor -d` shows what it was asked";
