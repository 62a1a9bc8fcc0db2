//! `notation-rude`: a plugin that misbehaves on demand, and signs for real when it isn't asked to.
//!
//! It speaks contract 1.0 and the `HARDSIGN.*` extensions by hand, since the SDK would keep it from
//! most of what it is for. Its key is a P-256 key in this crate, known to everyone: nothing that it
//! signs means anything.
//!
//! What goes wrong is said by the key id, `rude:<fault>[@<stage>]`, or by settings:
//!
//! | setting | meaning |
//! |---|---|
//! | `fault` | what goes wrong; a name from [`FAULTS`] |
//! | `at` | the stage where it does: a command, or `open` or `sign` within a session |
//! | `after` | how many signatures of a session go well first |
//! | `capabilities` | instead of the usual ones, separated by commas |
//! | `attribute:<name>` | a critical attribute of the envelopes that it makes |
//! | `strict` | what it refuses with `VALIDATION_ERROR`, as AWS Signer's plugin does, separated by commas: `anyone` (the identity `*`), `x509` (that signing scheme), `foreign` (signatures without an attribute `com.example.job`), `expiry` |
//! | `strict-code` | another code for that |
//! | `scheme` | `authority`: envelopes of the scheme notary.x509.signingAuthority |
//! | `token-label`, `token-serial` | how it names its token, in answers to `open` and in errors |
//! | `in-flight` | `maxInFlight` of a session |
//! | `declares` | the settings that it declares, separated by commas; without it none are |
//! | `log` | a file to which a line is added for each thing done |
//!
//! Without a stage, faults of metadata come with the metadata and all others with the signature.

use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use hardsign_plugin::proto::{Command, PluginConfig};
use serde_json::{Value, json};

mod answers;
mod envelope;
mod faults;
pub(crate) mod key;
mod session;

pub use faults::FAULTS;

/// The certificate that ends the plugin's chain, in DER: what a test has to trust.
pub const ROOT: &[u8] = include_bytes!("../keys/root.der");

/// The certificate of the plugin's key, in DER.
pub const LEAF: &[u8] = include_bytes!("../keys/leaf.der");

/// The plugin's `main`.
pub fn main() -> ExitCode {
    let Some(command) = std::env::args().nth(1) else {
        return ExitCode::FAILURE;
    };
    let command = Command::from(command.as_str());
    match command {
        Command::Session => session::serve(),
        command => one_shot(&command),
    }
}

/// What the plugin was asked to do wrong, and where.
#[derive(Clone, Debug, Default)]
struct Manners {
    fault: String,
    stage: String,
    after: u64,
    config: PluginConfig,
    key_id: String,
}

impl Manners {
    /// From a request with `keyId` and `pluginConfig`.
    fn of(request: &Value) -> Self {
        let key_id = request["keyId"].as_str().unwrap_or_default().to_owned();
        let config: PluginConfig =
            serde_json::from_value(request["pluginConfig"].clone()).unwrap_or_default();
        let setting = |name: &str| config.get(name).cloned();
        TOKEN.get_or_init(|| config.clone());
        let (mut fault, mut stage) = (setting("fault"), setting("at"));
        if let Some(told) = key_id.strip_prefix("rude:") {
            let (name, at) = told.split_once('@').unwrap_or((told, ""));
            fault = fault.or_else(|| Some(name.to_owned()));
            stage = stage.or_else(|| Some(at.to_owned()));
        }
        let fault = fault.unwrap_or_default();
        let stage = stage
            .filter(|stage| !stage.is_empty())
            .unwrap_or_else(|| faults::usual_stage(&fault).to_owned());
        Self {
            after: setting("after").and_then(|n| n.parse().ok()).unwrap_or(0),
            fault,
            stage,
            key_id,
            config,
        }
    }

    /// The fault to commit at this stage, or an empty text.
    fn at(&self, stage: &str) -> &str {
        let signs = ["generate-signature", "sign-digest", "generate-envelope"].contains(&stage);
        let everywhere = self.stage == faults::EVERYWHERE && stage != "get-plugin-metadata";
        if self.stage == stage || (self.stage == "sign" && signs) || everywhere {
            &self.fault
        } else {
            ""
        }
    }

    /// Adds a line to the log, if there is one.
    fn note(&self, what: &str) {
        let Some(path) = self.config.get("log") else {
            return;
        };
        let written = File::options()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut log| log.write_all(format!("{what}\n").as_bytes()));
        assert!(written.is_ok(), "the log can't be written");
    }
}

fn one_shot(command: &Command) -> ExitCode {
    let mut bytes = Vec::new();
    if std::io::stdin().read_to_end(&mut bytes).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(request) = serde_json::from_slice::<Value>(&bytes) else {
        return refuse("VALIDATION_ERROR", "the request is no JSON");
    };
    let manners = Manners::of(&request);
    manners.note(command.name());
    if *command == Command::GetPluginMetadata && manners.fault.is_empty() {
        for (name, _) in std::env::vars_os() {
            manners.note(&format!("env {}", name.display()));
        }
    }
    let fault = manners.at(command.name());
    let objection = objection(command, &request).or_else(|| undeclared(&manners));
    if let Some(code) = objection.or_else(|| strict(&manners, &request)) {
        return code;
    }
    if let Some(code) = faults::commit(fault) {
        return code;
    }
    let answer = match command {
        Command::GetPluginMetadata => answers::metadata(&manners),
        Command::DescribeKey => answers::describe_key(&manners),
        Command::GenerateSignature | Command::SignDigest => {
            answers::signature(&manners, fault, &request)
        }
        Command::GenerateEnvelope => envelope::generate(fault, &request),
        Command::AttestKey => answers::evidence(fault),
        Command::GenerateTestKey => match answers::test_key(fault, &request) {
            Ok(answer) => answer,
            Err(error) => return refuse("ERROR", &error.to_string()),
        },
        Command::VerifySignature => answers::verification(fault, &request),
        _ => return refuse("VALIDATION_ERROR", "no such command"),
    };
    let text = faults::mangle(fault, &answer.to_string());
    say(text.as_bytes());
    ExitCode::SUCCESS
}

/// What a well-behaved plugin refuses.
fn objection(command: &Command, request: &Value) -> Option<ExitCode> {
    let needs_key = match command {
        Command::GetPluginMetadata => return None,
        Command::VerifySignature | Command::GenerateTestKey => false,
        _ => true,
    };
    if request["contractVersion"] != "1.0" {
        return Some(refuse("UNSUPPORTED_CONTRACT_VERSION", "this is 1.0"));
    }
    if needs_key && request["keyId"].as_str().is_none_or(str::is_empty) {
        return Some(refuse("VALIDATION_ERROR", "keyId is empty"));
    }
    let digest = answers::bytes(&request["digest"]);
    if digest.is_some_and(|digest| digest.len() != key::DIGEST) {
        return Some(refuse(
            "VALIDATION_ERROR",
            "digest is too short or too long",
        ));
    }
    None
}

/// A setting that was not declared, where any were.
fn undeclared(manners: &Manners) -> Option<ExitCode> {
    let declared = manners.config.get(DECLARES)?;
    let is_known = |name: &String| declared.split(',').any(|known| known == name);
    let takes_all = manners.fault == "takes-any-setting";
    let unknown = manners.config.keys().find(|name| !is_known(name));
    let unknown = unknown.filter(|_| !takes_all)?;
    let message = format!("there is no setting {unknown}");
    Some(refuse("VALIDATION_ERROR", &message))
}

/// The setting that names those that metadata declares.
const DECLARES: &str = "declares";

/// What a plugin refuses that knows signatures and policies of its own kind alone.
fn strict(manners: &Manners, request: &Value) -> Option<ExitCode> {
    let is_strict = |about: &str| {
        let strict = manners.config.get("strict").map_or("", String::as_str);
        strict.split(',').any(|item| item == about)
    };
    let (attributes, policy) = (
        &request["signature"]["criticalAttributes"],
        &request["trustPolicy"],
    );
    let anyone = policy["trustedIdentities"].as_array();
    let reason = if is_strict("expiry") && request["expiryDurationInSeconds"].as_i64() > Some(0) {
        "the expiry is the signing profile's"
    } else if is_strict("anyone") && anyone.is_some_and(|all| all.contains(&json!("*"))) {
        "a wildcard is not supported"
    } else if is_strict("x509") && attributes["signingScheme"] == "notary.x509" {
        "the signing scheme is not supported"
    } else if is_strict("foreign")
        && attributes.is_object()
        && attributes["extendedAttributes"]
            .get("com.example.job")
            .is_none()
    {
        "there is no attribute com.example.job"
    } else {
        return None;
    };
    let code = manners.config.get("strict-code");
    Some(refuse(
        code.map_or("VALIDATION_ERROR", String::as_str),
        reason,
    ))
}

/// The further texts of an error: a hint, and the token if it has a name.
fn error_metadata(hint: &str) -> Value {
    let mut metadata = json!({"hint": hint});
    for (setting, name) in [
        ("token-label", "tokenLabel"),
        ("token-serial", "tokenSerial"),
    ] {
        if let Some(value) = TOKEN.get().and_then(|config| config.get(setting)) {
            metadata[name] = json!(value);
        }
    }
    metadata
}

/// The settings of the request, for naming the token.
static TOKEN: OnceLock<PluginConfig> = OnceLock::new();

/// Fails as the contract asks.
fn refuse(code: &str, message: &str) -> ExitCode {
    let error = json!({"errorCode": code, "errorMessage": message,
        "errorMetadata": error_metadata("ask it for something else")});
    complain(error.to_string().as_bytes());
    ExitCode::FAILURE
}

/// Writes to stdout; a host that no longer listens ends the plugin.
fn say(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    if stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .is_err()
    {
        std::process::exit(9);
    }
}

/// Writes to stderr, likewise.
fn complain(bytes: &[u8]) {
    if std::io::stderr().write_all(bytes).is_err() {
        std::process::exit(9);
    }
}
