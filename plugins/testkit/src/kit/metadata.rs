//! Rules of the executable and of `get-plugin-metadata`.

use hardsign_plugin::proto::{CONTRACT_VERSION, Capability, Metadata};
use serde_json::json;

use super::process::Exchange;
use super::{Report, Subject};

/// The metadata, if the rules that everything else needs are met.
pub(super) fn check(subject: &Subject, report: &mut Report) -> Option<Metadata> {
    let file = subject.path.file_name()?.to_string_lossy().into_owned();
    let is_regular = std::fs::symlink_metadata(&subject.path).is_ok_and(|found| found.is_file());
    let none = Exchange::default();
    report.must(
        "PLG-03",
        "the executable is a regular file",
        &none,
        is_regular.then_some(()).ok_or_else(|| "it is not".into()),
    )?;
    let name = report.must(
        "PLG-01",
        "the executable is named notation-<name>",
        &none,
        file.strip_prefix("notation-")
            .map(|name| {
                name.trim_end_matches(std::env::consts::EXE_SUFFIX)
                    .to_owned()
            })
            .ok_or_else(|| format!("its name is {file}")),
    );
    let request = json!({"pluginConfig": subject.config});
    let exchange = Exchange::run(subject, "get-plugin-metadata", &request);
    let metadata: Metadata = report.must(
        "PLG-06",
        "get-plugin-metadata answers with exit code 0 and one JSON object on stdout",
        &exchange,
        exchange.answer(),
    )?;
    let complete = report.must(
        "PLG-18",
        "name, description, version, url, supportedContractVersions and capabilities are given",
        &exchange,
        required(&metadata),
    );
    let versions = &metadata.supported_contract_versions;
    let contract = report.must(
        "PLG-19",
        "contract version 1.0 is supported",
        &exchange,
        versions
            .iter()
            .any(|version| version == CONTRACT_VERSION)
            .then_some(())
            .ok_or_else(|| format!("supportedContractVersions is {versions:?}")),
    );
    report.must(
        "PLG-20",
        "the name is that of the executable",
        &exchange,
        match &name {
            Some(name) if *name == metadata.name => Ok(()),
            _ => Err(format!("it calls itself {:?}", metadata.name)),
        },
    );
    let known = |capability: &Capability| !matches!(capability, Capability::Unknown(_));
    report.must(
        "PLG-21",
        "a capability of the contract is among the capabilities",
        &exchange,
        metadata
            .capabilities
            .iter()
            .any(known)
            .then_some(())
            .ok_or_else(|| "there is none".into()),
    );
    report.should(
        "VER-36",
        "the version is a semantic version",
        &exchange,
        semver::Version::parse(&metadata.version)
            .map(drop)
            .map_err(|error| error.to_string()),
    );
    repeated(subject, &metadata, report);
    refusals(subject, &metadata, report);
    (complete.is_some() && contract.is_some()).then_some(metadata)
}

fn required(metadata: &Metadata) -> Result<(), String> {
    for (name, is_empty) in [
        ("name", metadata.name.is_empty()),
        ("description", metadata.description.is_empty()),
        ("version", metadata.version.is_empty()),
        ("url", metadata.url.is_empty()),
        (
            "supportedContractVersions",
            metadata.supported_contract_versions.is_empty(),
        ),
        ("capabilities", metadata.capabilities.is_empty()),
    ] {
        if is_empty {
            return Err(format!("{name} is missing or empty"));
        }
    }
    Ok(())
}

/// The same answer again, whatever else the request says.
fn repeated(subject: &Subject, metadata: &Metadata, report: &mut Report) {
    let later = json!({"pluginConfig": subject.config, "memberOfALaterContract": {"x": [1]}});
    let exchange = Exchange::run(subject, "get-plugin-metadata", &later);
    let again = exchange.answer::<Metadata>();
    report.must(
        "PLG-14",
        "unknown members of a request are ignored",
        &exchange,
        again.map(drop),
    );
    let exchange = Exchange::run(subject, "get-plugin-metadata", &json!({}));
    let again = exchange.answer::<Metadata>().and_then(|again| {
        let same = again.name == metadata.name && again.version == metadata.version;
        same.then_some(())
            .ok_or_else(|| "it answered differently".into())
    });
    report.must(
        "PLG-17",
        "get-plugin-metadata needs no settings: {} is how it is asked when it is installed",
        &exchange,
        again,
    );
}

/// Requests that can't be done.
fn refusals(subject: &Subject, metadata: &Metadata, report: &mut Report) {
    let exchange = Exchange::run(subject, "no-such-command", &json!({}));
    let refused = exchange.ended().and_then(|()| {
        let failed = exchange.failed();
        failed
            .then_some(())
            .ok_or_else(|| "it exited with 0".into())
    });
    report.should("PLG-49", "an unknown command fails", &exchange, refused);
    if !metadata.capabilities.contains(&Capability::RawSignature) {
        return;
    }
    let exchange = Exchange::run_text(subject, "describe-key", "{\"contractVersion\":");
    report.should(
        "PLG-07",
        "a request that is no JSON is refused with an error answer on stderr",
        &exchange,
        exchange.refusal(),
    );
    let request = json!({"contractVersion": "9.9", "keyId": "k", "pluginConfig": subject.config});
    let exchange = Exchange::run(subject, "describe-key", &request);
    report.should(
        "PLG-09",
        "an unknown contract version is refused with UNSUPPORTED_CONTRACT_VERSION",
        &exchange,
        exchange
            .refusal()
            .and_then(|refusal| match refusal["errorCode"].as_str() {
                Some("UNSUPPORTED_CONTRACT_VERSION") => Ok(()),
                _ => Err("the code is another one".into()),
            }),
    );
}
