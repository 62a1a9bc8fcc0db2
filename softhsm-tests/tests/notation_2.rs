//! Commands and texts that notation 1.3.2 does not have, or has otherwise: as the requirements take
//! them from notation 2, in full.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;

use serde_json::Value;
use softhsm_tests::pair::{failed, is_unanswered, with_input, without_hint};
use softhsm_tests::workbench::{Ran, Workbench};
use softhsm_tests::{binaries, peers};

fn bench() -> Workbench {
    let bench = Workbench::new();
    bench.hardsign_ok(["cert", "generate-test", "--default", "signer"]);
    fs::write(bench.path().join("file"), "content").unwrap();
    bench
}

/// Runs the words of `line`, `''` being an empty one.
fn here(bench: &Workbench, line: &str, input: &str) -> Ran {
    let words = line.split(' ').map(|word| word.trim_matches('\''));
    with_input(bench, &binaries().join("hardsign"), words, input)
}

fn prints(ran: &Ran, stdout: &str, stderr: &str) {
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(0), stdout, stderr)
    );
}

/// CLI-94, CLI-96, CLI-98: the faults of `blob sign`, `verify` and `inspect`.
#[test]
fn faulty_calls_of_blob_commands() {
    let bench = bench();
    fs::write(bench.path().join("a.jws.sig"), "nonsense").unwrap();
    for (line, error) in [
        (
            "blob sign",
            "missing file path to the blob artifact: use `hardsign blob sign --help` to see what parameters are required",
        ),
        ("blob sign ''", "blob path cannot be empty"),
        (
            "blob sign --signature-directory= file",
            "signature directory cannot be empty",
        ),
        (
            "blob verify",
            "missing path to the blob artifact: use `hardsign blob verify --help` to see what parameters are required",
        ),
        (
            "blob verify file",
            "filepath of the signature cannot be empty",
        ),
        (
            "blob verify --signature= file",
            "filepath of the signature cannot be empty",
        ),
        (
            "blob verify -s a.jws.sig --media-type= file",
            "--media-type is set but with empty value",
        ),
        (
            "blob inspect",
            "missing signature path: use `hardsign blob inspect --help` to see what parameters are required",
        ),
        (
            "blob inspect nosuch.jws.sig",
            "failed to read signature file: open nosuch.jws.sig: no such file or directory",
        ),
        (
            "blob inspect -o yaml a.jws.sig",
            "unrecognized output format yaml",
        ),
        (
            "blob policy init",
            "required flag(s) \"name\", \"trust-store\", \"trusted-identity\" not set",
        ),
        (
            "blob policy init -n a --trust-store nonsense --trusted-identity *",
            "invalid blob policy: blob trust policy: trust policy statement \"a\" has malformed trust store value \"nonsense\". The required format is <TrustStoreType>:<TrustStoreName>",
        ),
        (
            "blob policy show",
            "failed to show blob trust policy as the configuration does not exist.\nYou can import one using `hardsign blob policy import <path-to-policy.json>`",
        ),
        (
            "blob policy import",
            "requires 1 argument but received 0.\nUsage: hardsign blob policy import <path-to-policy.json>\nPlease specify a trust policy configuration location as the argument",
        ),
        (
            "blob policy import nosuch.json",
            "failed to read blob trust policy file: open nosuch.json: no such file or directory",
        ),
    ] {
        let ran = here(&bench, line, "");
        assert_ne!(ran.code, Some(0), "{line}");
        assert_eq!(
            without_hint(&ran.stderr).trim_end(),
            format!("Error: {error}"),
            "{line}"
        );
        assert_eq!(ran.stdout, "", "{line}");
    }
    for (line, error) in [
        (
            "blob inspect a.jws.sig",
            "Error: failed to parse signature: ",
        ),
        (
            "blob policy import file",
            "Error: failed to parse blob trust policy configuration: ",
        ),
        (
            "blob policy import policy.json",
            "Error: failed to validate blob trust policy configuration: ",
        ),
    ] {
        fs::write(
            bench.path().join("policy.json"),
            r#"{"version": "2.0", "trustPolicies": []}"#,
        )
        .unwrap();
        let ran = here(&bench, line, "");
        assert!(ran.stderr.starts_with(error), "{line}: {}", ran.stderr);
        assert_eq!(ran.code, Some(1), "{line}");
    }
}

/// CLI-99 to CLI-101: `blob policy init`, `import` and `show`, text for text and byte for byte.
#[test]
fn blob_policy_commands() {
    let bench = bench();
    let path = bench.config().join("trustpolicy.blob.json");
    let init = "blob policy init --name files --trust-store ca:a --trust-store ca:b --trusted-identity * --global";
    let done =
        "Successfully initialized blob trust policy file to <here>/config/trustpolicy.blob.json.\n";
    let question =
        "The blob trust policy configuration already exists, do you want to overwrite it? [y/N] ";
    prints(&here(&bench, init, ""), done, "");
    let written = "{\n  \"version\": \"1.0\",\n  \"trustPolicies\": [\n    {\n      \"name\": \"files\",\n      \"signatureVerification\": {\n        \"level\": \"strict\"\n      },\n      \"trustStores\": [\n        \"ca:a\",\n        \"ca:b\"\n      ],\n      \"trustedIdentities\": [\n        \"*\"\n      ],\n      \"globalPolicy\": true\n    }\n  ]\n}";
    assert_eq!(fs::read_to_string(&path).unwrap(), written);
    prints(&here(&bench, "blob policy show", ""), written, "");
    let replaced = "Error: <here>/config/trustpolicy.blob.json was not replaced";
    is_unanswered(&here(&bench, init, ""), question, replaced);
    prints(
        &here(&bench, init, "n\n"),
        &format!("{question}Operation cancelled.\n"),
        "",
    );
    let one = "blob policy init -n one --trust-store ca:a --trusted-identity *";
    prints(&here(&bench, one, "y\n"), &format!("{question}{done}"), "");
    assert!(!fs::read_to_string(&path).unwrap().contains("globalPolicy"));

    fs::write(bench.path().join("new.json"), format!("\t{written}\n")).unwrap();
    let imported = "Successfully imported blob trust policy configuration to <here>/config/trustpolicy.blob.json.\n";
    is_unanswered(
        &here(&bench, "blob policy import new.json", ""),
        question,
        replaced,
    );
    prints(
        &here(&bench, "blob policy import new.json", "yes\n"),
        &format!("{question}{imported}"),
        "",
    );
    prints(
        &here(&bench, "blob policy import --force new.json", ""),
        imported,
        "Warning: existing blob trust policy configuration will be overwritten\n",
    );
    prints(
        &here(&bench, "blob policy show", ""),
        &format!("\t{written}\n"),
        "",
    );
    fs::write(&path, "{\"version\": \"9\"}").unwrap();
    let invalid = here(&bench, "blob policy show", "");
    assert_eq!(
        (invalid.code, invalid.stdout.as_str()),
        (Some(1), "{\"version\": \"9\"}")
    );
    assert!(
        invalid.stderr.starts_with("Existing blob trust policy configuration is invalid, you may update or create a new one via `hardsign blob policy import <path-to-policy.json>`"),
        "{}",
        invalid.stderr
    );
}

/// CLI-46 to CLI-48, CLI-51, CLI-53, CLI-54, CLI-98: what `inspect` and `blob inspect` print, line for
/// line, with everything that a signature may have, and with nothing.
#[test]
fn inspect_prints_every_attribute_in_its_place() {
    let bench = bench();
    let digest = bench.layout.add("v1", "content");
    let reference = bench.reference(&digest);
    let inspect = ["inspect", "--oci-layout", &reference];
    prints(
        &bench.hardsign(inspect),
        &format!("{reference} has no associated signature\n"),
        "",
    );
    let none: Value = serde_json::from_str(
        &bench
            .hardsign_ok([&inspect[..], &["-o", "json"]].concat())
            .stdout,
    )
    .unwrap();
    assert_eq!(none["signatures"], serde_json::json!([]));
    bench.hardsign_ok([
        "sign",
        "--oci-layout",
        "-e",
        "24h",
        "-m",
        "b=2",
        "-m",
        "a=1",
        &reference,
    ]);
    let shown = bench.hardsign_ok(inspect).stdout;
    let labels: Vec<_> = shown
        .lines()
        .map(|line| line.split_once(": ").map_or(line, |(label, _)| label))
        .collect();
    let tree = [
        "Inspecting all signatures for signed artifact",
        &reference,
        "└── application/vnd.cncf.notary.signature",
        labels[3],
        "        ├── signature algorithm",
        "        ├── signature envelope type",
        "        ├── signed attributes",
        "        │   ├── content type",
        "        │   ├── signing scheme",
        "        │   ├── signing time",
        "        │   └── expiry",
        "        ├── user defined attributes",
        "        │   ├── a",
        "        │   └── b",
        "        ├── unsigned attributes",
        "        │   └── signing agent",
        "        ├── certificates",
        "        │   └── SHA256 fingerprint",
        "        │       ├── issued to",
        "        │       ├── issued by",
        "        │       └── expiry",
        "        └── signed artifact",
        "            ├── media type",
        "            ├── digest",
        "            └── size",
    ];
    assert_eq!(labels, tree, "{shown}");
    assert!(labels[3].starts_with("    └── sha256:"), "{shown}");
    for line in [
        "├── signature algorithm: RSASSA-PSS-SHA-256\n",
        "├── signature envelope type: application/jose+json\n",
        "├── content type: application/vnd.cncf.notary.payload.v1+json\n",
        "├── signing scheme: notary.x509\n",
        "├── issued to: CN=signer,O=Notary,L=Seattle,ST=WA,C=US\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let json = bench
        .hardsign_ok([&inspect[..], &["-o", "json"]].concat())
        .stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let names = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let signature = &json["signatures"][0];
    assert_eq!(
        names(signature),
        [
            "digest",
            "signatureAlgorithm",
            "signatureEnvelopeType",
            "signedAttributes",
            "userDefinedAttributes",
            "unsignedAttributes",
            "certificates",
            "signedArtifact"
        ]
    );
    assert_eq!(
        names(&signature["signedAttributes"]),
        ["contentType", "expiry", "signingScheme", "signingTime"]
    );
    assert_eq!(
        names(&signature["certificates"][0]),
        ["SHA256Fingerprint", "issuedTo", "issuedBy", "expiry"]
    );
    assert_eq!(
        names(&signature["signedArtifact"]),
        ["mediaType", "digest", "size"]
    );

    // A file: the path is the root, and JSON is the signature alone, without a digest.
    bench.hardsign_ok(["blob", "sign", "file"]);
    let blob = bench
        .hardsign_ok(["blob", "inspect", "file.jws.sig"])
        .stdout;
    assert!(
        blob.starts_with("file.jws.sig\n├── signature algorithm: "),
        "{blob}"
    );
    assert!(blob.contains("│   └── (empty)\n"), "{blob}");
    let blob = bench
        .hardsign_ok(["blob", "inspect", "-o", "json", "file.jws.sig"])
        .stdout;
    let blob: Value = serde_json::from_str(&blob).unwrap();
    assert_eq!(names(&blob)[0], "signatureAlgorithm");
    assert_eq!(blob["userDefinedAttributes"], Value::Null);
}

/// CLI-56, CLI-58: signatures that can't be fetched, can't be read or break a rule are told of and
/// left out; those of strangers are shown, since nothing is said of trust.
#[test]
fn inspect_leaves_out_what_it_cannot_read() {
    let bench = bench();
    let reference = bench.reference(&bench.layout.add("v1", "content"));
    let mut envelopes = vec![];
    for number in ["1", "2", "3"] {
        let signed = bench.hardsign_ok([
            "sign",
            "--oci-layout",
            "-o",
            "json",
            "-m",
            &format!("n={number}"),
            &reference,
        ]);
        let signed: Value = serde_json::from_str(&signed.stdout).unwrap();
        let manifest = signed["signed"][0]["signature"]["digest"]
            .as_str()
            .unwrap()
            .to_owned();
        let content = fs::read(bench.layout.blob_path(&manifest)).unwrap();
        let content: Value = serde_json::from_slice(&content).unwrap();
        let envelope = content["layers"][0]["digest"].as_str().unwrap().to_owned();
        envelopes.push((manifest, envelope));
    }
    fs::remove_file(bench.layout.blob_path(&envelopes[0].1)).unwrap();
    let second = bench.layout.blob_path(&envelopes[1].1);
    let broken = fs::read_to_string(&second)
        .unwrap()
        .replace("\"payload\":\"", "\"payload\":\"A");
    fs::write(&second, broken).unwrap();
    let ran = bench.hardsign(["inspect", "--oci-layout", &reference]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stdout.contains(&envelopes[2].0), "{}", ran.stdout);
    for (manifest, _) in &envelopes[..2] {
        let warning = format!("Warning: unable to fetch signature {manifest} due to error: ");
        assert!(ran.stderr.contains(&warning), "{}", ran.stderr);
        assert!(!ran.stdout.contains(manifest), "{}", ran.stdout);
    }
    assert!(
        ran.stderr
            .contains("Error: at least one signature was skipped and not displayed\n"),
        "{}",
        ran.stderr
    );
}

/// OCI-40, CLI-43: `list` of a layout, byte for byte.
#[test]
fn oci_40_list_of_a_layout() {
    let bench = bench();
    let reference = bench.reference(&bench.layout.add("v1", "content"));
    let mut made = vec![];
    for _ in 0..2 {
        let signed = bench
            .hardsign_ok(["sign", "--oci-layout", &reference])
            .stdout;
        let (_, digest) = signed.trim_end().rsplit_once('@').unwrap();
        made.push(digest.to_owned());
    }
    prints(
        &bench.hardsign(["list", "--oci-layout", &reference]),
        &format!(
            "{reference}\n└── application/vnd.cncf.notary.signature\n    ├── {}\n    └── {}\n",
            made[0], made[1]
        ),
        "",
    );
}

/// CLI-81: the test key is made by the plugin `local`; without that program there is none.
#[test]
fn cli_81_the_local_plugin_makes_test_keys() {
    let bench = Workbench::new();
    let alone = bench.path().join("alone");
    fs::create_dir(&alone).unwrap();
    fs::copy(binaries().join("hardsign"), alone.join("hardsign")).unwrap();
    let arguments = ["cert", "generate-test", "-v", "a"];
    let made = bench.hardsign_ok(arguments);
    assert!(
        made.stderr.contains("Plugin local: started "),
        "{}",
        made.stderr
    );
    let program = alone.join("hardsign");
    let failed = bench.run(&mut bench.command(&program, ["cert", "generate-test", "b"]));
    assert_ne!(failed.code, Some(0));
    assert!(failed.stderr.contains("local"), "{}", failed.stderr);
    assert!(!bench.config().join("localkeys/b.key").exists());
}

/// CLI-102: the lines that scripts look for.
#[test]
fn cli_102_version() {
    let version = Workbench::new().hardsign_ok(["version"]).stdout;
    let lines: Vec<_> = version.lines().collect();
    assert_eq!(lines[1], "");
    assert!(lines[2].starts_with("Version:     "), "{version}");
    assert!(
        lines.iter().any(|line| line.starts_with("OS/Arch:     ")),
        "{version}"
    );
}

/// CLI-18, CLI-23, CLI-33, CLI-103: every flag that `notation` 1.3.2 shows in its help, short forms
/// included, is one of hardsign's.
#[test]
fn every_flag_of_notation_is_there() {
    let notation = peers::Notation::new();
    let bench = Workbench::new();
    let mut compared = 0;
    for command in [
        "sign",
        "verify",
        "list",
        "inspect",
        "login",
        "logout",
        "key add",
        "key update",
        "key list",
        "key delete",
        "cert add",
        "cert list",
        "cert show",
        "cert delete",
        "cert generate-test",
        "policy import",
        "policy show",
        "plugin list",
        "plugin install",
        "plugin uninstall",
    ] {
        let words = || command.split(' ').chain(["--help"]);
        let theirs = notation.run(words());
        let ours = bench.hardsign_ok(words()).stdout;
        let ours = flags(&ours);
        for flag in flags(&theirs) {
            compared += 1;
            assert!(
                ours.contains(&flag),
                "{command}: {flag:?} is not among {ours:?}"
            );
        }
    }
    assert!(compared > 80, "{compared}");
}

/// `-k, --key` as `("-k", "--key")`, from a help text.
fn flags(help: &str) -> Vec<(String, String)> {
    help.lines()
        .map(str::trim)
        .filter(|line| line.starts_with('-'))
        .filter_map(|line| {
            let words: Vec<_> = line.split([' ', ',']).filter(|w| !w.is_empty()).collect();
            let long = words.iter().find(|word| word.starts_with("--"))?;
            let short = words[0].strip_prefix("--").map_or(words[0], |_| "");
            Some((short.to_owned(), (*long).to_owned()))
        })
        .collect()
}

/// CLI-02: where the reference's whole standard error is compared, nothing stands below the error.
#[test]
fn cli_02_errors_without_a_hint() {
    let bench = bench();
    let reference = bench.reference(&bench.layout.add("v1", "content"));
    let statement = |name: &str, scope: &str| {
        serde_json::json!({"name": name, "registryScopes": [scope], "signatureVerification": {"level": "strict"},
            "trustStores": ["ca:signer"], "trustedIdentities": ["*"]})
    };
    let verify = [
        "verify",
        "--oci-layout",
        "--scope",
        "local/test",
        &reference,
    ];
    for (statements, error) in [
        (
            [statement("a", "x.example/a"), statement("b", "x.example/a")],
            "registry scope \"x.example/a\" is present in multiple oci trust policy statements, one registry scope value can only be associated with one statement",
        ),
        (
            [statement("a", "x.example/a"), statement("a", "x.example/b")],
            "multiple oci trust policy statements use the same name \"a\", statement names must be unique",
        ),
    ] {
        let document = serde_json::json!({"version": "1.0", "trustPolicies": statements});
        fs::write(
            bench.config().join("trustpolicy.json"),
            document.to_string(),
        )
        .unwrap();
        failed(&bench.hardsign(verify), &format!("Error: {error}\n"));
        assert_eq!(bench.hardsign(verify).stderr, format!("Error: {error}\n"));
    }
    bench.policy(&statement("a", "x.example/a"));
    let ran = bench.hardsign(verify);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr
            .contains("has no applicable oci trust policy statement"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}
