//! `hardsign` against real registries and layouts: one suite for all of them, copies, indexes,
//! attached artifacts, and twenty signers at once.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use softhsm_tests::binaries;
use softhsm_tests::layout::Layout;
use softhsm_tests::peers::registry::{Builder, Referrers, Registry};
use softhsm_tests::peers::{Oras, program, succeed};
use softhsm_tests::workbench::{Ran, Workbench};

const SBOM: &str = "application/spdx+json";

/// A user with a test key of each name; the store `ca:<name>` trusts it.
fn bench(names: &[&str]) -> Workbench {
    let bench = Workbench::new();
    for name in names {
        bench.hardsign_ok(["cert", "generate-test", name]);
    }
    bench
}

/// A policy file of one strict statement for everything, which trusts one store.
fn policy(bench: &Workbench, store: &str) -> String {
    let policy = json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "all",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": [format!("ca:{store}")],
            "trustedIdentities": ["*"],
        }],
    });
    let path = bench.path().join(format!("{store}.policy.json"));
    fs::write(&path, policy.to_string()).unwrap();
    path.display().to_string()
}

/// The flags with which a registry is reached.
fn reach(registry: &Registry) -> Vec<String> {
    let mut flags = Vec::new();
    if let Some((user, password)) = registry.credentials() {
        flags.extend(["-u", user, "-p", password].map(str::to_owned));
    }
    if let Some(file) = registry.ca_file() {
        flags.extend(["--ca-file".to_owned(), file.display().to_string()]);
    }
    flags
}

/// Runs `hardsign` with flags in front of positional arguments.
fn with(bench: &Workbench, start: &[&str], flags: &[String]) -> Ran {
    let mut arguments: Vec<String> = start.iter().map(|&s| s.to_owned()).collect();
    arguments.extend_from_slice(flags);
    bench.hardsign(arguments)
}

fn json_of(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Sign, list, inspect, verify and delete in one place: each step takes its digests from the JSON
/// of the one before.
fn suite(bench: &Workbench, reference: &str, flags: &[String], verify_flags: &[String]) {
    let none = json_of(&with(bench, &["list", "-o", "json", reference], flags));
    assert_eq!(none["signatures"], json!([]));
    let refused = with(
        bench,
        &["verify", "--policy", &policy(bench, "acme"), reference],
        verify_flags,
    );
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let mut made = Vec::new();
    for format in ["jws", "cose", "jws"] {
        let signed = [
            "sign",
            "-o",
            "json",
            "--key",
            "acme",
            "--signature-format",
            format,
            reference,
        ];
        let signed = json_of(&with(bench, &signed, flags));
        let entry = &signed["signed"][0];
        assert_eq!(entry["reference"], reference);
        made.push(entry["signature"]["digest"].as_str().unwrap().to_owned());
    }
    let listed = json_of(&with(bench, &["list", "-o", "json", reference], flags));
    let mut digests: Vec<_> = listed["signatures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["digest"].as_str().unwrap().to_owned())
        .collect();
    digests.sort();
    let mut expected = made.clone();
    expected.sort();
    assert_eq!(digests, expected);
    let inspected = json_of(&with(bench, &["inspect", "-o", "json", reference], flags));
    assert_eq!(inspected["signatures"].as_array().unwrap().len(), 3);
    let own = policy(bench, "acme");
    let verified = ["verify", "-o", "json", "--policy", &own, reference];
    let verified = json_of(&with(bench, &verified, verify_flags));
    let by = verified["verified"][0]["signatures"][0]["digest"]
        .as_str()
        .unwrap();
    assert!(made.iter().any(|m| m == by), "{by}");
    let stranger = policy(bench, "stranger");
    let refused = with(
        bench,
        &["verify", "--policy", &stranger, reference],
        verify_flags,
    );
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    deletes(bench, reference, &made, flags);
    let gone = json_of(&with(bench, &["list", "-o", "json", reference], flags));
    assert_eq!(gone["signatures"], json!([]));
}

fn deletes(bench: &Workbench, reference: &str, made: &[String], flags: &[String]) {
    // The artifact itself is no signature of itself, and nothing is deleted beside what is refused.
    let artifact = reference.split_once('@').unwrap().1;
    let refused = with(
        bench,
        &["delete", "-y", reference, &made[0], artifact],
        flags,
    );
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    // Without an answer nothing happens, and that is told (CLI-13).
    let unanswered = with(bench, &["delete", reference, &made[0]], flags);
    assert_eq!(unanswered.code, Some(1), "{}", unanswered.stderr);
    let told = "Error: no signature was deleted: standard input ended";
    assert!(unanswered.stderr.starts_with(told), "{}", unanswered.stderr);
    let one = with(bench, &["delete", "-y", reference, &made[0]], flags);
    assert_eq!(one.code, Some(0), "{}", one.stderr);
    assert!(
        one.stdout.starts_with("Successfully deleted signature "),
        "{}",
        one.stdout
    );
    let left = json_of(&with(bench, &["list", "-o", "json", reference], flags));
    assert_eq!(left["signatures"].as_array().unwrap().len(), 2);
    let rest = with(
        bench,
        &["delete", "-y", "-o", "json", reference, &made[1], &made[2]],
        flags,
    );
    assert_eq!(json_of(&rest)["deleted"].as_array().unwrap().len(), 2);
}

fn against(registry: &Builder) {
    let registry = registry.start();
    let reference = registry.push("team/demo:v1", b"content");
    let bench = bench(&["acme", "stranger"]);
    let flags = reach(&registry);
    suite(&bench, &reference, &flags, &flags);
}

/// CLI-31, CLI-37, CLI-43, CLI-52, OCI-23, OCI-29 to OCI-31, REG-01.
#[test]
fn suite_olareg() {
    against(&Registry::olareg());
}

/// REG-02: TLS with a CA of one's own.
#[test]
fn suite_olareg_tls() {
    against(&Registry::olareg().tls());
}

/// REG-04, REG-06: bearer tokens, TLS and the referrers API.
#[test]
fn suite_ggcr_bearer() {
    against(&Registry::ggcr().tls().token_auth());
}

/// OCI-23, OCI-24: no referrers API, so that the tag schema serves; delete keeps its index right.
#[test]
fn suite_docker_registry() {
    against(&Registry::docker());
}

/// OCI-24, REG-04: the same with TLS and basic authentication.
#[test]
fn suite_docker_registry_tls_basic() {
    against(&Registry::docker().tls().basic_auth());
}

/// OCI-34 to OCI-39, REQ-07.
#[test]
fn suite_layout() {
    let bench = bench(&["acme", "stranger"]);
    let digest = bench.layout.add("v1", "content");
    let reference = bench.reference(&digest);
    let flags = ["--oci-layout".to_owned()];
    let verify_flags = ["--oci-layout", "--scope", "local/demo"].map(str::to_owned);
    let mut gated = bench;
    gated.set("NOTATION_EXPERIMENTAL", "1");
    suite(&gated, &reference, &flags, &verify_flags);
}

/// REQ-04 to REQ-06, OCI-05: three parties sign; registry, layout, second registry; each party's
/// policy accepts the artifact there by that party's own signature.
#[test]
fn three_parties_copied_by_way_of_a_layout() {
    let (source, target) = (
        Registry::ggcr().token_auth().start(),
        Registry::docker().tls().basic_auth().start(),
    );
    let reference = source.push("vendor/app:v1", b"an application");
    let parties = ["vendor", "organisation", "ci-cache"];
    let mut bench = bench(&parties);
    bench.set("NOTATION_EXPERIMENTAL", "1");
    let mut made = Vec::new();
    for party in parties {
        let signed = ["sign", "-o", "json", "--key", party, &reference];
        let signed = json_of(&with(&bench, &signed, &reach(&source)));
        made.push(signed["signed"][0]["signature"]["digest"].clone());
    }
    let digest = reference.split_once('@').unwrap().1;
    let layout = bench.path().join("airgap");
    let there = format!("{}:v1", layout.display());
    let copied = ["copy", "-o", "json", "--to-oci-layout", &reference, &there];
    let copied = json_of(&with(&bench, &copied, &reach(&source)));
    assert_eq!(copied["artifact"]["digest"], digest);
    assert_eq!(copied["referrers"].as_array().unwrap().len(), 3);
    let inside = target.reference("mirror/app");
    let again = ["copy", "-o", "json", "--from-oci-layout", &there, &inside];
    let copied = json_of(&with(&bench, &again, &reach(&target)));
    assert_eq!(copied["tag"], "v1");
    assert_eq!(copied["reference"], format!("{inside}@{digest}"));
    let mut referrers: Vec<_> = copied["referrers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["digest"].to_string())
        .collect();
    referrers.sort();
    let mut expected: Vec<_> = made.iter().map(ToString::to_string).collect();
    expected.sort();
    assert_eq!(referrers, expected);
    drop(source);
    for (party, signature) in parties.iter().zip(&made) {
        let policy = policy(&bench, party);
        let inside = format!("{inside}@{digest}");
        let verify = ["verify", "-o", "json", "--policy", &policy, &inside];
        let verified = json_of(&with(&bench, &verify, &reach(&target)));
        assert_eq!(
            &verified["verified"][0]["signatures"][0]["digest"], signature,
            "{party}"
        );
        let local = format!("{}@{digest}", layout.display());
        let scope = ["--oci-layout", "--scope", "local/app"].map(str::to_owned);
        let verify = ["verify", "-o", "json", "--policy", &policy, &local];
        let verified = json_of(&with(&bench, &verify, &scope));
        assert_eq!(
            &verified["verified"][0]["signatures"][0]["digest"], signature,
            "{party}"
        );
    }
    // Once more: nothing is sent.
    let copied = json_of(&with(&bench, &again, &reach(&target)));
    assert_eq!(
        copied["sent"],
        json!({"manifests": 0, "blobs": 0, "bytes": 0})
    );
}

/// REQ-05: what `oras` and `crane` copied still verifies.
#[test]
fn copies_by_other_tools_verify() {
    let (source, by_oras, by_crane, oras) = (
        Registry::docker().start(),
        Registry::olareg().start(),
        Registry::docker().start(),
        Oras::new(),
    );
    let crane = program("crane");
    let reference = source.push("demo:v1", b"content");
    let digest = reference.split_once('@').unwrap().1;
    let bench = bench(&["acme"]);
    bench.hardsign_ok(["sign", "--key", "acme", &reference]);
    oras.run([
        "cp",
        "-r",
        &source.reference("demo:v1"),
        &by_oras.reference("moved:v1"),
    ]);
    // crane knows no referrers, but copies the tag that lists them.
    let listed = digest.replace(':', "-");
    for (from, to) in [("v1", "v1"), (listed.as_str(), listed.as_str())] {
        let from = source.reference(&format!("demo:{from}"));
        let to = by_crane.reference(&format!("moved:{to}"));
        succeed(&mut bench.command(&crane, ["copy", &from, &to]));
    }
    let policy = policy(&bench, "acme");
    for registry in [by_oras, by_crane] {
        let moved = registry.reference(&format!("moved@{digest}"));
        bench.hardsign_ok(["verify", "--policy", &policy, &moved]);
    }
}

/// OCI-20, OCI-32, CLI-32: `--recursive` reaches nested indexes, each artifact once; `--platform`
/// picks one.
#[test]
fn indexes_are_signed_and_verified_with_all_that_they_list() {
    let registry = Registry::olareg().start();
    let bench = bench(&["acme"]);
    let layout: &Layout = &bench.layout;
    let (amd, arm) = (layout.add("amd", "amd"), layout.add("arm", "arm"));
    let inner = layout.add_index(
        "inner",
        &[(&amd, Some("linux/amd64")), (&arm, Some("linux/arm64"))],
    );
    let outer = layout.add_index("outer", &[(&inner, None), (&amd, Some("linux/amd64"))]);
    let image = registry.reference("multi");
    let from = bench.reference(&outer);
    bench.hardsign_ok(["copy", "--from-oci-layout", &from, &image]);
    let reference = format!("{image}@{outer}");
    let own = policy(&bench, "acme");
    let platform = [
        "sign",
        "-o",
        "json",
        "--key",
        "acme",
        "--platform",
        "linux/arm64",
        &reference,
    ];
    let signed = json_of(&bench.hardsign(platform));
    assert_eq!(signed["signed"][0]["artifact"]["digest"], arm.as_str());
    let verify = [
        "verify",
        "-o",
        "json",
        "--policy",
        &own,
        "--platform",
        "linux/arm64",
        &reference,
    ];
    assert_eq!(
        json_of(&bench.hardsign(verify))["verified"][0]["artifact"]["digest"],
        arm.as_str()
    );
    // Signing an index alone signs nothing of what it lists, and one unsigned member fails all.
    bench.hardsign_ok(["sign", "--key", "acme", &reference]);
    let all = ["verify", "--policy", &own, "--recursive", &reference];
    assert_eq!(bench.hardsign(all).code, Some(1));
    let signed = [
        "sign",
        "-o",
        "json",
        "--key",
        "acme",
        "--recursive",
        &reference,
    ];
    let signed = json_of(&bench.hardsign(signed));
    let digests: Vec<_> = signed["signed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["artifact"]["digest"])
        .collect();
    assert_eq!(digests, [&outer, &inner, &amd, &arm]);
    bench.hardsign_ok(all);
    let other = bench.hardsign([
        "verify",
        "--policy",
        &own,
        "--platform",
        "plan9/mips",
        &reference,
    ]);
    assert_eq!(other.code, Some(1));
    assert!(other.stderr.contains("\"linux/arm64\""), "{}", other.stderr);
}

/// CVE-2022-35929, SEC-31: an attached SBOM is demanded, signed itself, of that type, and by the
/// same signer; JSON names every digest.
#[test]
fn attached_artifacts_are_demanded() {
    for registry in [Registry::olareg(), Registry::docker()] {
        let (registry, oras) = (registry.start(), Oras::new());
        let reference = registry.push("demo:v1", b"content");
        let bench = bench(&["acme", "other"]);
        bench.hardsign_ok(["sign", "--key", "acme", &reference]);
        let own = policy(&bench, "acme");
        let demand = [
            "verify",
            "-o",
            "json",
            "--policy",
            &own,
            "--with-attached",
            SBOM,
            &reference,
        ];
        assert_eq!(bench.hardsign(demand).code, Some(1));
        let attach = |artifact_type: &str| {
            let file = bench.path().join("attached.json");
            fs::write(&file, artifact_type).unwrap();
            let mut command = oras.command(["attach", "--format", "json", "--artifact-type"]);
            command
                .arg(artifact_type)
                .arg(&reference)
                .arg("attached.json");
            let report = succeed(command.current_dir(bench.path()));
            let report: Value = serde_json::from_str(&report).unwrap();
            report["reference"].as_str().unwrap().to_owned()
        };
        // The right signature on the wrong kind.
        bench.hardsign_ok([
            "sign",
            "--key",
            "acme",
            &attach("application/vnd.example.scan"),
        ]);
        let sbom = attach(SBOM);
        assert_eq!(bench.hardsign(demand).code, Some(1));
        bench.hardsign_ok(["sign", "--key", "other", &sbom]);
        assert_eq!(bench.hardsign(demand).code, Some(1));
        bench.hardsign_ok(["sign", "--key", "acme", &sbom]);
        let verified = json_of(&bench.hardsign(demand));
        let attached = &verified["verified"][0]["attached"][0];
        assert_eq!(
            attached["artifact"]["digest"],
            sbom.split_once('@').unwrap().1
        );
        assert!(attached["signatures"][0]["digest"].is_string());
        let mut same = demand.to_vec();
        same.insert(1, "--same-signer");
        json_of(&bench.hardsign(same));
    }
}

/// OCI-24, OCI-28: twenty signatures from one process through the tag schema.
#[test]
fn twenty_signatures_from_one_process() {
    let registry = Registry::docker().start();
    let reference = registry.push("demo:v1", b"content");
    let bench = bench(&["acme"]);
    let mut arguments = vec!["sign", "--key", "acme"];
    arguments.extend([reference.as_str(); 20]);
    bench.hardsign_ok(arguments);
    let listed = json_of(&bench.hardsign(["list", "-o", "json", &reference]));
    assert_eq!(listed["signatures"].as_array().unwrap().len(), 20);
}

/// OCI-28: twenty processes against a registry that delays writes inside the settle window.
#[test]
fn twenty_signatures_from_twenty_processes() {
    let registry = Registry::ggcr()
        .referrers(Referrers::Off)
        .write_delay(Duration::from_millis(400));
    let registry = registry.start();
    let reference = registry.push("demo:v1", b"content");
    let bench = bench(&["acme"]);
    let children: Vec<_> = (0..20)
        .map(|_| {
            let arguments = ["sign", "--key", "acme", &reference];
            let mut command = bench.command(&binaries().join("hardsign"), arguments);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let listed = json_of(&bench.hardsign(["list", "-o", "json", &reference]));
    assert_eq!(listed["signatures"].as_array().unwrap().len(), 20);
}

/// OCI-23, OCI-24, OCI-31: a registry whose referrers API forgets artifact types is told apart and
/// explained, and signatures are found all the same.
#[test]
fn a_registry_that_answers_referrers_wrongly() {
    let registry = Registry::ggcr().referrers(Referrers::Raw).start();
    let reference = registry.push("demo:v1", b"content");
    let bench = bench(&["acme"]);
    bench.hardsign_ok(["sign", "--key", "acme", &reference]);
    let listed = bench.hardsign(["list", "-o", "json", &reference]);
    let told = format!(
        "Warning: {} answers the referrers API, but without artifact types",
        registry.host()
    );
    assert!(listed.stderr.starts_with(&told), "{}", listed.stderr);
    assert_eq!(json_of(&listed)["signatures"].as_array().unwrap().len(), 1);
    let own = policy(&bench, "acme");
    bench.hardsign_ok(["verify", "--policy", &own, &reference]);
}

/// OCI-27: the referrers tag is written though the registry has the API, and without it nothing is.
#[test]
fn the_referrers_tag_is_written_when_forced() {
    let (registry, oras) = (Registry::olareg().start(), Oras::new());
    let reference = registry.push("demo:v1", b"content");
    let bench = bench(&["acme"]);
    let digest = reference.split_once('@').unwrap().1;
    let tag = registry.reference(&format!("demo:{}", digest.replace(':', "-")));
    let fetch = || oras.command(["manifest", "fetch", &tag]).output().unwrap();
    bench.hardsign_ok(["sign", "--key", "acme", &reference]);
    assert!(!fetch().status.success());
    let forced = [
        "sign",
        "-o",
        "json",
        "--key",
        "acme",
        "--force-referrers-tag",
        &reference,
    ];
    let signed = json_of(&bench.hardsign(forced));
    let index: Value = serde_json::from_slice(&fetch().stdout).unwrap();
    let listed = &index["manifests"][0];
    assert_eq!(listed["digest"], signed["signed"][0]["signature"]["digest"]);
    assert_eq!(
        listed["artifactType"],
        "application/vnd.cncf.notary.signature"
    );
}
