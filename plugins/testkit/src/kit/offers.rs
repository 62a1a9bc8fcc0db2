//! Rules of what only some plugins offer: declared settings, evidence of keys, test keys; and which rules were
//! not tried, since the plugin does not offer what they are about.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_plugin::chain::{self, PublicKey};
use hardsign_plugin::proto::{
    AttestKeyRequest, AttestKeyResponse, Base64, CONTRACT_VERSION, Capability, DescribeKeyRequest,
    GenerateTestKeyRequest, GenerateTestKeyResponse, Metadata,
};

use super::process::Exchange;
use super::signing::{Key, to_value};
use super::{Report, Subject};

/// A setting that no plugin has.
const UNKNOWN: &str = "no-such-setting-of-any-plugin";

/// Settings that are not declared are refused, where any are declared.
pub(super) fn settings(subject: &Subject, metadata: &Metadata, key_id: &str, report: &mut Report) {
    if metadata.settings.is_none() {
        return;
    }
    let mut config = subject.config.clone();
    config.insert(UNKNOWN.to_owned(), "x".to_owned());
    let request = to_value(&DescribeKeyRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: key_id.into(),
        plugin_config: config,
    });
    let exchange = Exchange::run(subject, "describe-key", &request);
    report.should(
        "PLG-51",
        "a setting that metadata does not declare is refused with an error answer",
        &exchange,
        exchange.refusal(),
    );
}

/// Evidence is about the key that was asked for; a device may have none for a key.
pub(super) fn attest(subject: &Subject, key_id: &str, key: Option<&Key>, report: &mut Report) {
    let request = to_value(&AttestKeyRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: key_id.into(),
        plugin_config: subject.config.clone(),
    });
    let exchange = Exchange::run(subject, "attest-key", &request);
    let chain = key.and_then(|key| key.chain.as_ref());
    let leaf = chain.and_then(|chain| chain.first());
    let result = match (exchange.answer::<AttestKeyResponse>(), exchange.refusal()) {
        (Ok(evidence), _) => is_of(&evidence, leaf),
        (Err(_), Ok(_)) => Ok(()),
        (Err(why), Err(_)) => Err(why),
    };
    report.must(
        "PLG-51",
        "attest-key answers with a format and the key's publicKey, or refuses",
        &exchange,
        result,
    );
}

fn is_of(evidence: &AttestKeyResponse, leaf: Option<&Base64>) -> Result<(), String> {
    if evidence.format.is_empty() {
        return Err("format is empty".into());
    }
    let told = PublicKey::from_spki_der(&evidence.public_key.0)
        .map_err(|error| format!("publicKey can't be read: {error}"))?;
    match leaf.map(|Base64(leaf)| chain::public_key(leaf)) {
        Some(Ok(of_leaf)) if of_leaf != told => Err("publicKey is that of another key".into()),
        _ => Ok(()),
    }
}

/// Makes a test key in a directory that goes away again.
pub(super) fn test_key(subject: &Subject, report: &mut Report) {
    let Ok(directory) = tempfile::tempdir() else {
        return report.skip(
            "PLG-51",
            "generate-test-key",
            "there is no directory for it",
        );
    };
    let place = |name: &str| directory.path().join(name).display().to_string();
    let request = GenerateTestKeyRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_path: place("test.key"),
        cert_path: place("test.crt"),
        common_name: "hardsign-plugin-test".into(),
        bits: 2048,
    };
    // It takes no settings: those that were given are members that it does not know.
    let mut message = to_value(&request);
    message["pluginConfig"] = to_value(&subject.config);
    let exchange = Exchange::run(subject, "generate-test-key", &message);
    let made = exchange
        .answer::<GenerateTestKeyResponse>()
        .and_then(|made| is_written(&made, &request));
    let rule = "generate-test-key writes a key that only its owner can read, and the certificate that it answers with";
    if report.must("PLG-51", rule, &exchange, made).is_none() {
        return;
    }
    let files = || [&request.key_path, &request.cert_path].map(|path| fs::read(path).ok());
    let before = files();
    let exchange = Exchange::run(subject, "generate-test-key", &message);
    report.must(
        "PLG-51",
        "generate-test-key writes over no file that is there",
        &exchange,
        exchange.refusal().and_then(|_| match files() == before {
            true => Ok(()),
            false => Err("the files were changed".into()),
        }),
    );
}

fn is_written(
    made: &GenerateTestKeyResponse,
    request: &GenerateTestKeyRequest,
) -> Result<(), String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    if !read(&request.key_path)?.contains("-----BEGIN PRIVATE KEY-----") {
        return Err("the key file is no PKCS#8 PEM".into());
    }
    if !is_private(Path::new(&request.key_path)) {
        return Err("others may read the key file".into());
    }
    let certificate: String = read(&request.cert_path)?
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    match STANDARD.decode(certificate) {
        Ok(der) if der == made.certificate.0 => Ok(()),
        _ => Err("the certificate file has another certificate".into()),
    }
}

#[cfg(unix)]
fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 == 0)
}

#[cfg(not(unix))]
fn is_private(_: &Path) -> bool {
    true
}

/// Names the rules that were not tried, since the plugin does not offer what they are about.
pub(super) fn untried(subject: &Subject, metadata: &Metadata, report: &mut Report) {
    for (capability, requirement, rules) in [
        (
            Capability::RawSignature,
            "PLG-26",
            "describe-key, generate-signature",
        ),
        (Capability::Envelope, "PLG-32", "generate-envelope"),
        (
            Capability::EnvelopeForBlob,
            "BLOB-13",
            "generate-envelope for files",
        ),
        (
            Capability::TrustedIdentity,
            "PLG-40",
            "verify-signature for identities",
        ),
        (
            Capability::RevocationCheck,
            "PLG-40",
            "verify-signature for revocation",
        ),
        (Capability::Digest, "PLG-51", "sign-digest"),
        (Capability::Session, "PLG-51", "sessions"),
        (
            Capability::Keys,
            "PLG-51",
            "list-keys, create-key, import-certificates",
        ),
        (Capability::Attest, "PLG-51", "attest-key"),
        (Capability::TestKeys, "PLG-51", "generate-test-key"),
        (Capability::Setup, "PLG-51", "set-up-token"),
    ] {
        if !metadata.capabilities.contains(&capability) {
            let why = format!("the plugin does not offer {}", capability.name());
            report.untried(requirement, rules, why);
        }
    }
    if metadata.capabilities.contains(&Capability::Setup) {
        let why = "what it does to a token can't be undone".to_owned();
        report.untried("PLG-51", "set-up-token", why);
    }
    if metadata.capabilities.contains(&Capability::Keys) && subject.create.is_none() {
        let why = "no place for a key was named (--create)".to_owned();
        report.untried("PLG-51", "create-key, import-certificates", why);
    }
}
