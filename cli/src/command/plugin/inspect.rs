//! `hardsign plugin inspect`: what a plugin is, what it can do, what uses it, and whether it is
//! well. A part that can't be learnt is told as a finding; the rest is shown all the same.

use hardsign_core::config::{KeyLocation, SigningKeys};
use hardsign_core::dirs::Dirs;
use hardsign_core::plugin::{
    Clocks, Host, KeyStore, Origin, Pin, PinState, Pins, PluginError, PluginFile, is_semantic,
    sha256_of,
};
use hardsign_core::text::WithCauses;
use hardsign_plugin::proto::{Capability, ListKeysResponse, Metadata, PluginConfig};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::{Context, signer};
use super::list::pin_of;
use crate::args::Output;
use crate::args::plugin::InspectArgs;
use crate::failure::plugin::hint;
use crate::failure::{Exit, Failure};
use crate::output::{json, one_line};

/// What was learnt.
struct Report {
    file: PluginFile,
    sha256: Option<String>,
    pin: &'static str,
    pinned: Option<Pin>,
    metadata: Option<Metadata>,
    /// Names in the key list; the default one first where it is among them.
    used_by: Vec<UsedBy>,
    keys: Option<ListKeysResponse>,
    health: Vec<Finding>,
}

#[derive(Serialize)]
struct UsedBy {
    name: String,
    default: bool,
}

#[derive(Serialize)]
struct Finding {
    status: Status,
    message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    /// The plugin can't be used.
    Error,
}

pub(crate) fn inspect(args: &InspectArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let host = signer::host(&dirs, context);
    let file = host.finder().find(&args.name)?;
    let report =
        context.wait(async { Ok(learn(&host, &dirs, file, &args.plugin_config).await) })?;
    match args.output {
        Output::Json => context.console.json(&report.to_json())?,
        Output::Text => report.print(context)?,
    }
    let broken = report.health.iter().find(|f| f.status == Status::Error);
    match broken {
        Some(_) => Err(Failure::new(
            Exit::Unreachable,
            format!("plugin {} can't be used", report.file.name),
        )),
        None => Ok(()),
    }
}

async fn learn(host: &Host, dirs: &Dirs, file: PluginFile, config: &PluginConfig) -> Report {
    let mut health = Vec::new();
    let pins = Pins::load(host.finder().pins_file());
    let state = match (&pins, file.origin) {
        (Ok(pins), Origin::User) => pins.state(&file.name, &file.path).ok(),
        _ => None,
    };
    let store = KeyStore::open(host, file.clone(), "", config.clone()).await;
    let metadata = match &store {
        Ok(store) => {
            let metadata = store.metadata().clone();
            health.push(ok("it identifies itself as the contract requires"));
            if file.origin == Origin::User {
                health.push(of_version(&metadata.version));
            }
            Some(metadata)
        }
        Err(error) => {
            health.push(bad(Status::Error, error));
            None
        }
    };
    let mut keys = None;
    if let Ok(store) = &store {
        if store.has(&Capability::Keys) {
            match store.list_keys("").await {
                Ok(listed) => keys = Some(listed),
                Err(error) => health.push(bad(Status::Warning, &error)),
            }
        }
        store.close().await;
    }
    let (used_by, unread) = used_by(dirs, &file);
    health.extend(unread);
    Report {
        sha256: sha256_of(&file.path).ok(),
        pin: pin_of(Some(&file), pins.as_ref().ok()),
        pinned: match state {
            Some(PinState::Same(pin) | PinState::Changed { pinned: pin, .. }) => Some(pin),
            _ => None,
        },
        file,
        metadata,
        used_by,
        keys,
        health,
    }
}

/// The entries of the key list that go to this very plugin (CFG-19).
fn used_by(dirs: &Dirs, file: &PluginFile) -> (Vec<UsedBy>, Option<Finding>) {
    let keys = match SigningKeys::load(dirs) {
        Ok(keys) => keys,
        Err(error) => {
            let finding = Finding {
                status: Status::Warning,
                message: format!("what uses it is not known: {}", WithCauses(&error)),
                fix: None,
            };
            return (Vec::new(), Some(finding));
        }
    };
    let is_ours = |location: Result<KeyLocation<'_>, _>| match location {
        Ok(KeyLocation::Plugin { plugin, .. }) => plugin == file.name.as_str(),
        Ok(KeyLocation::Files { .. }) => {
            file.origin == Origin::Box && file.name.as_str() == "local"
        }
        Err(_) => false,
    };
    let ours = keys.entries().iter().filter(|key| is_ours(key.location()));
    let used = ours.map(|key| UsedBy {
        name: key.name.clone(),
        default: keys.default_name() == Some(key.name.as_str()),
    });
    (used.collect(), None)
}

/// PLI-14: what `plugin install` will do with it.
fn of_version(version: &str) -> Finding {
    if is_semantic(version) {
        return ok("its version is a semantic version, so a higher one replaces it");
    }
    Finding {
        status: Status::Warning,
        message: format!(
            "its version {version:?} is not a semantic version, so only --force replaces it"
        ),
        fix: None,
    }
}

fn ok(message: &str) -> Finding {
    Finding {
        status: Status::Ok,
        message: message.to_owned(),
        fix: None,
    }
}

fn bad(status: Status, error: &PluginError) -> Finding {
    Finding {
        status,
        message: WithCauses(error).to_string(),
        fix: hint(error),
    }
}

impl Report {
    fn to_json(&self) -> Value {
        let metadata = self.metadata.as_ref();
        let clocks = Clocks::default();
        json!({
            "name": self.file.name.as_str(),
            "origin": origin(self.file.origin),
            "path": self.file.path,
            "sha256": self.sha256,
            "pin": self.pin,
            "pinned": self.pinned.as_ref().map(|pin| json!({"sha256": pin.sha256, "version": pin.version})),
            "description": metadata.map(|m| &m.description),
            "version": metadata.map(|m| &m.version),
            "url": metadata.map(|m| &m.url),
            "supportedContractVersions": metadata.map(|m| &m.supported_contract_versions),
            "capabilities": self.capabilities().iter().map(|capability| json!({
                "name": capability.name(),
                "meaning": meaning(capability),
            })).collect::<Vec<_>>(),
            "limits": {
                "metadataSeconds": clocks.metadata.as_secs(),
                "requestSeconds": clocks.request.as_secs(),
                "personSeconds": clocks.person.as_secs(),
            },
            "usedBy": self.used_by,
            "keys": self.keys.as_ref().map(|answer| {
                answer.keys.iter().map(json::key_entry).collect::<Vec<_>>()
            }),
            "keysTruncated": self.keys.as_ref().is_some_and(|answer| answer.truncated),
            "health": self.health,
        })
    }

    fn capabilities(&self) -> &[Capability] {
        self.metadata.as_ref().map_or(&[], |m| &m.capabilities)
    }

    fn print(&self, context: &Context) -> Result<(), Failure> {
        let console = &context.console;
        let line = |label: &str, value: &str| {
            let line = format!("{:<14}{}", format!("{label}:"), one_line(value));
            console.line(line.trim_end())
        };
        line("Name", self.file.name.as_str())?;
        if let Some(metadata) = &self.metadata {
            line("Description", &metadata.description)?;
            line("Version", &metadata.version)?;
            line("URL", &metadata.url)?;
            let versions = metadata.supported_contract_versions.join(", ");
            line("Contract", &versions)?;
        }
        line("Executable", &self.file.path.display().to_string())?;
        line(
            "Origin",
            match self.file.origin {
                Origin::User => "the plugin directory",
                Origin::Box => "came with hardsign",
            },
        )?;
        line("SHA-256", self.sha256.as_deref().unwrap_or("not readable"))?;
        line("Pin", &self.pin_in_words())?;
        let clocks = Clocks::default();
        line(
            "Limits",
            &format!(
                "{} s for its metadata, {} s for any other answer, {} s where a person is waited for",
                clocks.metadata.as_secs(),
                clocks.request.as_secs(),
                clocks.person.as_secs()
            ),
        )?;
        if !self.capabilities().is_empty() {
            line("Can", "")?;
        }
        for capability in self.capabilities() {
            let name = one_line(capability.name());
            console.line(format_args!("  {name}: {}", meaning(capability)))?;
        }
        let used: Vec<_> = self
            .used_by
            .iter()
            .map(|key| {
                format!(
                    "{}{}",
                    key.name,
                    if key.default { " (default)" } else { "" }
                )
            })
            .collect();
        let none = "no key in the key list".to_owned();
        line(
            "Used by",
            &if used.is_empty() {
                none
            } else {
                used.join(", ")
            },
        )?;
        self.print_keys(context)?;
        line("Health", "")?;
        for finding in &self.health {
            let mark = match finding.status {
                Status::Ok => "ok  ",
                Status::Warning => "warn",
                Status::Error => "FAIL",
            };
            let fix = finding.fix.as_ref().map(|fix| format!(" ({fix})"));
            let message = format!("{}{}", finding.message, fix.unwrap_or_default());
            console.line(format_args!("  {mark}  {}", one_line(&message)))?;
        }
        Ok(())
    }

    fn print_keys(&self, context: &Context) -> Result<(), Failure> {
        let Some(answer) = &self.keys else {
            return Ok(());
        };
        let console = &context.console;
        console.line(match (answer.keys.len(), answer.truncated) {
            (0, _) => "Keys:         none visible",
            (_, false) => "Keys:",
            (_, true) => "Keys:         more than shown here",
        })?;
        for key in &answer.keys {
            let spec = key.key_spec.map(|spec| spec.name());
            console.line(format_args!("  {}", one_line(&key.key_id)))?;
            console.line(format_args!(
                "    {}, {}",
                spec.unwrap_or("of an unsupported type"),
                one_line(&key.description)
            ))?;
        }
        Ok(())
    }

    fn pin_in_words(&self) -> String {
        match (self.pin, &self.pinned) {
            ("same", Some(pin)) => {
                format!("the same as when it was pinned, version {}", pin.version)
            }
            ("changed", Some(pin)) => format!("CHANGED since it was pinned as {}", pin.sha256),
            ("unknown", _) => "not known: the pins can't be read".to_owned(),
            _ if self.file.origin == Origin::Box => "none; it comes with hardsign".to_owned(),
            _ => "none: it was not installed by `plugin install`".to_owned(),
        }
    }
}

const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::User => "user",
        Origin::Box => "box",
    }
}

/// What a capability is good for, in plain words (PLG-21).
const fn meaning(capability: &Capability) -> &'static str {
    match capability {
        Capability::RawSignature => "signs, and sees the whole payload",
        Capability::Envelope => "makes whole signatures of artifacts",
        Capability::EnvelopeForBlob => "makes whole signatures of files",
        Capability::TrustedIdentity => "verifies the signer's identity, if a signature asks for it",
        Capability::RevocationCheck => "checks revocation, if a signature asks for it",
        Capability::Digest => "signs digests, so the payload stays on this machine",
        Capability::Session => "signs many artifacts in one process, with one login",
        Capability::Keys => "lists its keys",
        Capability::Attest => "proves that a key was generated in hardware",
        Capability::TestKeys => "generates software keys for testing",
        Capability::Setup => "replaces a new token's default PIN",
        Capability::Versions => "keeps a key whose name a new key takes over",
        _ => "unknown to this version of hardsign, and not used",
    }
}
