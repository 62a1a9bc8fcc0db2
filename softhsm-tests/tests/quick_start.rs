//! The walk of a new user, as the reference's quick start has it, with `hardsign`.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

use std::fs;

use serde_json::json;
use softhsm_tests::pair::without_signers;
use softhsm_tests::peers::registry::{Builder, Registry};
use softhsm_tests::workbench::{Ran, Workbench};

const NAME: &str = "wabbit-networks.io";

fn prints(ran: &Ran, stdout: &str, stderr: &str) {
    let said = match stdout.contains("Successfully verified") {
        true => without_signers(&ran.stdout),
        false => ran.stdout.clone(),
    };
    assert_eq!(
        (ran.code, said.as_str(), ran.stderr.as_str()),
        (Some(0), stdout, stderr)
    );
}

/// One `Error: <message>` line, then at most one hint, and the exit code of a refusal (CLI-01).
fn fails(ran: &Ran, message: &str) {
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(1), ""),
        "{}",
        ran.stderr
    );
    let rest = ran.stderr.strip_prefix(&format!("Error: {message}\n"));
    let rest = rest.unwrap_or_else(|| panic!("not {message:?}: {}", ran.stderr));
    // Why each signature was not accepted stands between them.
    let rest = without_signers(rest);
    assert!(rest.is_empty() || rest.starts_with("Hint: "), "{rest}");
    assert_eq!(rest.matches("Error: ").count(), 0, "{rest}");
}

fn policy_file(bench: &Workbench, store: &str) -> String {
    let policy = json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "wabbit-networks-images",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": [format!("ca:{store}")],
            "trustedIdentities": ["*"],
        }],
    });
    let path = bench.path().join(format!("{store}.json"));
    fs::write(&path, serde_json::to_string_pretty(&policy).unwrap()).unwrap();
    path.display().to_string()
}

fn walk(registry: &Builder) {
    let registry = registry.start();
    let bench = Workbench::new();
    let image = registry.push("net-monitor:v1", b"an application");
    let (repository, digest) = image.split_once('@').unwrap();
    let none = format!("{image} has no associated signatures\n");
    prints(&bench.hardsign(["list", &image]), &none, "");
    key(&bench);

    let signed = bench.hardsign(["sign", &image]);
    assert_eq!((signed.code, signed.stderr.as_str()), (Some(0), ""));
    let head = format!("Successfully signed {image}\nPushed the signature to {repository}@");
    let signature = signed
        .stdout
        .strip_prefix(&head)
        .expect(&signed.stdout)
        .trim_end();
    let tree = format!("{image}\n└── application/vnd.cncf.notary.signature\n    └── {signature}\n");
    prints(&bench.hardsign(["ls", &image]), &tree, "");

    let absent = "trust policy is not present. To create a trust policy, see: https://notaryproject.dev/docs/quickstart/#create-a-trust-policy";
    fails(&bench.hardsign(["verify", &image]), absent);

    let policy = policy_file(&bench, "acme");
    let place = bench.config().join("trustpolicy.oci.json");
    let imported = format!(
        "Successfully imported OCI trust policy configuration to {}.\n",
        place.display()
    );
    prints(
        &bench.hardsign(["policy", "import", &policy]),
        &imported,
        "",
    );
    let untrusted = "the trust store \"acme\" of type \"ca\" does not exist. Use command 'hardsign cert add' to create and add trusted certificates to the trust store";
    fails(&bench.hardsign(["verify", &image]), untrusted);

    let certificate = bench.config().join("localkeys").join(format!("{NAME}.crt"));
    let certificate = certificate.display().to_string();
    prints(
        &bench.hardsign([
            "cert",
            "add",
            "--type",
            "ca",
            "--store",
            "acme",
            &certificate,
        ]),
        &format!(
            "Successfully added following certificates to named store acme of type ca:\n{certificate}\n"
        ),
        "",
    );
    let verified = format!("Successfully verified signature for {repository}@{digest}\n");
    prints(&bench.hardsign(["verify", &image]), &verified, "");
    by_tag(&bench, &registry.reference("net-monitor:v1"), &verified);
    other_store(&bench, &image, &verified);
    cleanup(&bench, &image);
}

/// The test key, and what the listings then show.
fn key(bench: &Workbench) {
    let made = bench.hardsign(["cert", "generate-test", "--default", NAME]);
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
    let keys = bench.config().join("localkeys");
    let (key, certificate) = (
        keys.join(format!("{NAME}.key")).display().to_string(),
        keys.join(format!("{NAME}.crt")).display().to_string(),
    );
    let lines: Vec<_> = made.stdout.lines().collect();
    let expiring = lines[1].strip_prefix("generated certificate expiring on ");
    let expiring = expiring.expect(lines[1]);
    assert!(
        expiring.len() == "2026-11-24T01:14:35Z".len() && expiring.ends_with('Z'),
        "{expiring}"
    );
    assert_eq!(
        [&lines[..1], &lines[2..]].concat(),
        [
            "generating RSA Key with 2048 bits",
            &format!("wrote key: {key}"),
            &format!("wrote certificate: {certificate}"),
            &format!("Successfully added {NAME}.crt to named store {NAME} of type ca"),
            &format!("{NAME}: added to the key list"),
            &format!("{NAME}: marked as default signing key"),
        ]
    );
    let pad = |text: &str, width: usize| format!("{text:<width$}   ");
    let row = |cells: [&str; 5]| {
        let widths = [NAME.len() + 2, key.len(), certificate.len(), 2, 11];
        let cells = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| pad(cell, width));
        format!("{}\n", cells.collect::<String>())
    };
    let table = row(["NAME", "KEY PATH", "CERTIFICATE PATH", "ID", "PLUGIN NAME"])
        + &row([&format!("* {NAME}"), &key, &certificate, "", ""]);
    prints(&bench.hardsign(["key", "ls"]), &table, "");
    let stores = format!(
        "STORE TYPE   STORE NAME           CERTIFICATE              \nca           {NAME}   {NAME}.crt   \n"
    );
    prints(&bench.hardsign(["cert", "ls"]), &stores, "");
}

/// A tag is resolved with a warning.
fn by_tag(bench: &Workbench, reference: &str, verified: &str) {
    let warning = "Warning: Always verify the artifact using digest(@sha256:...) rather than a tag(:v1) because resolved digest may not point to the same signed artifact, as tags are mutable.\n";
    let ran = bench.hardsign(["verify", reference]);
    prints(&ran, &format!("\n{verified}"), warning);
    let listed = bench.hardsign(["list", reference]);
    assert_eq!(listed.stderr, warning.replace("verify", "list"));
    let signed = bench.hardsign(["sign", reference]);
    assert_eq!(
        signed.stderr,
        "Warning: Always sign the artifact using digest(@sha256:...) rather than a tag(:v1) because tags are mutable and a tag reference can point to a different artifact than the one signed.\n"
    );
    assert_eq!(signed.code, Some(0));
}

/// CLI-40, CLI-86: a store with another certificate does not help; the policy is replaced when forced.
fn other_store(bench: &Workbench, image: &str, verified: &str) {
    bench.hardsign_ok(["cert", "generate-test", "other.example"]);
    let force = |store| {
        let replaced = bench.hardsign(["policy", "import", "--force", &policy_file(bench, store)]);
        assert_eq!(replaced.code, Some(0));
        assert_eq!(
            replaced.stderr,
            "Warning: existing OCI trust policy configuration will be overwritten\n"
        );
    };
    force("other.example");
    let message =
        format!("signature verification failed for all the signatures associated with {image}");
    fails(&bench.hardsign(["verify", image]), &message);
    force(NAME);
    prints(&bench.hardsign(["verify", image]), verified, "");
}

/// CLI-82: `cleanup-test` removes what `generate-test` made, and the signature stays as it is.
fn cleanup(bench: &Workbench, image: &str) {
    let keys = bench.config().join("localkeys");
    let key = keys.join(format!("{NAME}.key"));
    let certificate = keys.join(format!("{NAME}.crt"));
    let done = format!(
        "Successfully deleted {NAME}.crt from trust store {NAME} of type ca
Successfully removed key {NAME} from the key list
Successfully deleted key file: {}
Successfully deleted certificate file: {}
Cleanup completed successfully
",
        key.display(),
        certificate.display()
    );
    prints(
        &bench.hardsign(["cert", "cleanup-test", "--yes", NAME]),
        &done,
        "",
    );
    assert!(!key.exists() && !certificate.exists());
    assert!(
        !bench
            .config()
            .join("truststore/x509/ca")
            .join(NAME)
            .exists()
    );
    let again = format!(
        "Certificate {NAME}.crt does not exist in trust store {NAME} of type ca
Key {NAME} does not exist in the key list
Key file {} does not exist
Certificate file {} does not exist
Cleanup completed successfully
",
        key.display(),
        certificate.display()
    );
    prints(
        &bench.hardsign(["cert", "cleanup-test", "-y", NAME]),
        &again,
        "",
    );
    let message = format!(
        "the trust store {NAME:?} of type \"ca\" does not exist. Use command 'hardsign cert add' to create and add trusted certificates to the trust store"
    );
    fails(&bench.hardsign(["verify", image]), &message);
    fails(
        &bench.hardsign(["sign", image]),
        "default signing key not set. Please set default signing key or specify a key name",
    );
}

/// CLI-02, CLI-31, CLI-35 to CLI-37, CLI-40, CLI-41, CLI-44, CLI-65, CLI-67, CLI-69, CLI-72,
/// CLI-79, CLI-82, CLI-86, CFG-21: one error, then at most one hint; a missing policy before any
/// registry, a missing store.
#[test]
fn a_new_user_signs_and_verifies_with_the_referrers_api() {
    walk(&Registry::olareg());
}

#[test]
fn a_new_user_signs_and_verifies_without_the_referrers_api() {
    walk(&Registry::docker());
}
