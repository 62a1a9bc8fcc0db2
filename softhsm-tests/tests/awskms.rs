//! Keys in AWS KMS, as `ministack` emulates it: every key type signs, and keys are made, requested and
//! certified.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use hardsign_plugin::algorithm::KeySpec;
use serde_json::json;
use softhsm_tests::between::{Between, Fate, Seen};
use softhsm_tests::cloud::{
    self, CloudKey, Made, a_ca_issues_and_renews, a_key_is_renewed, artifact, bench as new_bench,
    conforms, openssl_verifies, sign, signs_and_verifies, verify,
};
use softhsm_tests::ministack::{
    ACCESS_KEY, KmsKey, Ministack, REGION, SECRET_KEY, SESSION_TOKEN, environment,
};
use softhsm_tests::peers::USE_REFERRERS_API;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys, run};

fn named(key: &KmsKey, id: impl Into<String>) -> CloudKey {
    CloudKey::new("awskms", id).with("cert-chain", key.chain().display())
}

/// ENV-32, ENV-35, ENV-37: each key type signs in both formats; hardsign and openssl verify.
#[test]
fn every_key_type_signs_and_verifies() {
    let server = Ministack::start();
    let bench = new_bench(&server.environment());
    for spec in KeySpec::ALL {
        let key = server.key(spec);
        let id = named(&key, &key.id);
        signs_and_verifies(&bench, &id, spec.name());
        let reference = artifact(&bench, &format!("{} for openssl", spec.name()));
        let signed = sign(&bench, &id, &[&reference]);
        assert_eq!(signed.code, Some(0), "{}", signed.stderr);
        openssl_verifies(&bench, &reference, spec, &key.public);
        conforms(&bench, &id, &format!("alias/made-{}", spec.name()));
    }
}

/// Every way to name a key that people have from other tools.
#[test]
fn every_form_of_key_id_signs() {
    let server = Ministack::start();
    let bench = new_bench(&server.environment());
    let key = server.key(KeySpec::Ec256);
    server.alias("alias/Team/release_1", &key);
    let alias_arn = key
        .arn
        .replace(&format!("key/{}", key.id), "alias/Team/release_1");
    for id in [
        key.id.clone(),
        key.arn.clone(),
        "alias/Team/release_1".to_owned(),
        alias_arn,
        "awskms:///alias/Team/release_1".to_owned(),
        format!("awskms:///{}", key.id),
        format!("awskms:///{}", key.arn),
        format!("awskms:key-id={};region={REGION}", key.id),
        "AWSKMS:key-id=alias%2FTeam%2Frelease_1".to_owned(),
    ] {
        signs_and_verifies(&bench, &named(&key, &id), &id.replace('/', "_"));
    }
    // The ARN says the region, whatever the environment says.
    let mut elsewhere = server.environment();
    elsewhere.push(("AWS_REGION", "us-west-2".to_owned()));
    let elsewhere = new_bench(&elsewhere);
    signs_and_verifies(&elsewhere, &named(&key, &key.arn), "by its ARN");
    let configured = named(&key, &key.id)
        .with("region", REGION)
        .with("endpoint", server.address());
    signs_and_verifies(&elsewhere, &configured, "by the setting region");
}

/// PLG-01, PLG-02, ENV-32: `notation` verifies what hardsign signs, and signs through the plugin.
#[test]
fn notation_verifies_and_signs() {
    let server = Ministack::start();
    let scene = Scene::with(&Registry::ggcr(), new_bench(&server.environment()));
    scene.policy_for("tests");
    let plugin = binaries().join("notation-awskms").display().to_string();
    scene.ok(Tool::Notation, ["plugin", "install", "--file", &plugin]);
    for spec in KeySpec::ALL {
        let key = server.key(spec);
        let id = named(&key, &key.arn);
        for (tool, format) in [
            (Tool::Hardsign, "jws"),
            (Tool::Hardsign, "cose"),
            (Tool::Notation, "jws"),
            (Tool::Notation, "cose"),
        ] {
            let tag = format!("app:{}-{format}-{tool:?}", spec.name()).to_lowercase();
            let reference = scene.push(&tag, &tag);
            let flags = ["sign", "--signature-format", format];
            let api = match tool {
                Tool::Hardsign => None,
                Tool::Notation => Some(USE_REFERRERS_API),
            };
            let all = flags.into_iter().chain(id.flags()).chain(api);
            scene.ok(tool, all.chain([reference.as_str()]));
            scene.both_verify(&reference);
        }
    }
}

const SUBJECT: &str = "C=US,ST=WA,O=Example,CN=release";

/// A key is made once the user has agreed, requested, certified by a CA that lives there too, listed and
/// shown with what the service says of it.
#[test]
fn the_life_of_a_key() {
    let server = Ministack::start();
    let mut environment = server.environment();
    environment.push(("AWS_PAGER", String::new()));
    let bench = new_bench(&environment);
    let create = |name: &str, alias: &str, kind: &str, more: &[&str]| {
        let id = format!("alias/{alias}");
        let fixed = ["key", "create", name, "--plugin", "awskms"];
        bench.hardsign([&fixed[..], &["--id", &id, "--type", kind], more].concat())
    };
    let unasked = create("release", "release", "EC-256", &[]);
    assert_ne!(unasked.code, Some(0), "{}", unasked.stdout);
    assert!(
        unasked.stdout.contains("by the month") && unasked.stderr.contains("--yes"),
        "{unasked:?}"
    );
    let none = server.call("ListKeys", &json!({}));
    assert_eq!(none["Keys"], json!([]));

    for (name, kind) in [("ca", "EC-384"), ("release", "RSA-3072")] {
        let made = create(name, name, kind, &["--yes"]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
    }
    let again = create("another", "release", "RSA-3072", &["--yes"]);
    assert_ne!(again.code, Some(0));
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);

    // A request that openssl accepts, with each padding.
    for padding in ["pkcs1v15", "pss"] {
        let file = bench.path().join(format!("{padding}.csr"));
        let out = file.display().to_string();
        let fixed = ["key", "request", "release", "--subject", SUBJECT];
        bench.hardsign_ok([&fixed[..], &["--rsa-padding", padding, "--out", &out]].concat());
        run(Command::new("openssl").args(["req", "-verify", "-noout", "-in", &out]));
    }
    let fixed = ["key", "certify"];
    let ca = [
        "ca",
        "--subject",
        "C=US,ST=WA,O=Example,CN=CA",
        "--days",
        "30",
    ];
    bench.hardsign_ok([&fixed[..], &ca, &["--ca", "--trust", "ours"]].concat());
    let leaf = [
        "release",
        "--subject",
        SUBJECT,
        "--days",
        "10",
        "--issuer",
        "ca",
    ];
    bench.hardsign_ok([&fixed[..], &leaf].concat());
    bench.policy(&json!({
        "name": "tests",
        "registryScopes": ["local/test"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:ours"],
        "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Example, CN=release"],
    }));
    let reference = artifact(&bench, "signed by a key with a life");
    bench.hardsign_ok(["sign", "--key", "release", "--oci-layout", &reference]);
    let verified = verify(&bench, &reference);
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);

    // What the service says, as its word.
    let shown = bench.hardsign_ok(["key", "show", "release"]).stdout;
    for line in [
        "Reported by the device:",
        "state: Enabled",
        "origin: AWS_KMS",
        "multi-region: no",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let listed = bench
        .hardsign_ok(["key", "list", "--plugin", "awskms"])
        .stdout;
    for word in [
        "alias/ca",
        "alias/release",
        "EC-384",
        "RSA-3072",
        "arn:aws:kms:eu-west-1:",
    ] {
        assert!(listed.contains(word), "{listed}");
    }
    imports_a_certificate_of_another_ca(&server, &bench);
    a_new_key_takes_over_an_alias(&server, &bench);
}

fn imports_a_certificate_of_another_ca(server: &Ministack, bench: &Workbench) {
    let key = server.key(KeySpec::Ec256);
    let chain = key.chain().display().to_string();
    let flags = ["--plugin", "awskms", "--id", &key.arn, "imported"];
    bench.hardsign_ok([&["key", "add"][..], &flags].concat());
    bench.hardsign_ok(["key", "import-cert", "imported", &chain]);
    bench.trust(&keys::root(), "strict");
    let reference = artifact(bench, "signed with an imported certificate");
    bench.hardsign_ok(["sign", "--key", "imported", "--oci-layout", &reference]);
    assert_eq!(verify(bench, &reference).code, Some(0));
    let other = server.key(KeySpec::Ec256).chain().display().to_string();
    let foreign = bench.hardsign(["key", "import-cert", "imported", &other]);
    assert_ne!(foreign.code, Some(0), "{}", foreign.stdout);
}

/// With `--force` an alias is given to a new key; the old one still exists.
fn a_new_key_takes_over_an_alias(server: &Ministack, bench: &Workbench) {
    let before = server.call("DescribeKey", &json!({"KeyId": "alias/release"}));
    let fixed = [
        "key",
        "create",
        "release2",
        "--plugin",
        "awskms",
        "--id",
        "alias/release",
    ];
    let asked = bench.hardsign([&fixed[..], &["--type", "EC-256", "--force"]].concat());
    assert_eq!(asked.code, Some(1), "{asked:?}");
    let fate = "it is kept, and the new one takes over its name. Are you sure?";
    assert!(asked.stdout.contains(fate), "{asked:?}");
    let made = bench.hardsign_ok([&fixed[..], &["--type", "EC-256", "--yes", "--force"]].concat());
    let old = before["KeyMetadata"]["Arn"].as_str().unwrap();
    assert!(made.stderr.contains(old), "{}", made.stderr);
    let after = server.call("DescribeKey", &json!({"KeyId": "alias/release"}));
    assert_ne!(after["KeyMetadata"]["Arn"], before["KeyMetadata"]["Arn"]);
    let still = server.call("DescribeKey", &json!({"KeyId": old}));
    assert_eq!(still["KeyMetadata"]["KeyState"], "Enabled");
}

/// Two hundred signatures in one session cost two hundred requests and one more; no credential is in what
/// is printed with `-d`, nor in the arguments of a process.
#[test]
fn a_batch_costs_one_request_a_signature_and_shows_no_credential() {
    let server = Ministack::start();
    let fake = Between::new(server.port());
    let bench = new_bench(&environment(&fake.address()));
    let key = server.key(KeySpec::Ec256);
    server.alias("alias/release", &key);
    let id = named(&key, "alias/release");
    let references: Vec<_> = (0..200)
        .map(|n| artifact(&bench, &format!("b{n}")))
        .collect();
    fake.rule(|seen: &Seen| match seen.number {
        // While it waits, processes are looked at.
        1 => Fate::After(Duration::from_millis(500), Box::new(Fate::Pass)),
        _ => Fate::Pass,
    });
    let all = ["sign", "-d"]
        .into_iter()
        .chain(id.flags())
        .chain(["--oci-layout"]);
    let mut command = bench.command(
        &binaries().join("hardsign"),
        all.chain(references.iter().map(String::as_str)),
    );
    let log = fs::File::create(bench.path().join("log")).unwrap();
    let mut child = command
        .stdout(log.try_clone().unwrap())
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap();
    let mut processes = Vec::new();
    while !fake.counts().contains_key("Sign") {
        processes.extend(bench.processes());
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before a signature"
        );
    }
    processes.extend(bench.processes());
    assert!(child.wait().unwrap().success());
    let log = fs::read_to_string(bench.path().join("log")).unwrap();
    let wanted = BTreeMap::from([("GetPublicKey".to_owned(), 1), ("Sign".to_owned(), 200)]);
    assert_eq!(fake.counts(), wanted);
    assert!(
        processes
            .iter()
            .any(|line| line.contains("notation-awskms")),
        "{processes:?}"
    );
    for secret in [SECRET_KEY, SESSION_TOKEN, ACCESS_KEY] {
        assert!(!log.contains(secret), "{log}");
        assert!(
            !processes.iter().any(|line| line.contains(secret)),
            "{processes:?}"
        );
    }
    assert_eq!(verify(&bench, &references[199]).code, Some(0));
}

/// SEC-01: the memory of `hardsign` itself has no credential in it, but for the environment that it was started
/// with.
#[cfg(target_os = "linux")]
#[test]
fn no_credential_is_in_memory() {
    let server = Ministack::start();
    let fake = Between::new(server.port());
    let mut environment = environment(&fake.address());
    // As long as a job's token.
    let token = format!("{}-end-of-Zq7-token", "eyJ".repeat(400));
    environment.push(("AWS_SESSION_TOKEN", token.clone()));
    let bench = new_bench(&environment);
    let key = server.key(KeySpec::Ec256);
    fake.rule(|seen| match seen.what.as_str() {
        "Sign" => Fate::Silence,
        _ => Fate::Pass,
    });
    let secrets = [SECRET_KEY, ACCESS_KEY, &token];
    let waits = || fake.counts().contains_key("Sign");
    cloud::no_credential_is_in_core(&bench, &named(&key, &key.arn), &secrets, waits);
}

/// A team's CA in the service certifies a key there, by its request and by its name, renews and revokes.
#[test]
fn a_ca_in_the_service_issues() {
    for (ca, leaf) in [("EC-384", "EC-256"), ("RSA-3072", "RSA-2048")] {
        let server = Ministack::start();
        let bench = new_bench(&server.environment());
        let made = Made {
            plugin: "awskms",
            id: &|key| format!("alias/{key}"),
            config: &[],
        };
        a_ca_issues_and_renews(&bench, &made, ca, leaf);
    }
}

/// `key renew --new-key`.
#[test]
fn a_key_is_renewed_with_a_new_one() {
    let server = Ministack::start();
    let bench = new_bench(&server.environment());
    let made = Made {
        plugin: "awskms",
        id: &|key| format!("alias/{key}"),
        config: &[],
    };
    a_key_is_renewed(&bench, &made);
    let aliases = server.call("ListAliases", &json!({})).to_string();
    for alias in ["alias/leaf-2", "alias/leaf-3", "alias/own"] {
        assert!(aliases.contains(alias), "{aliases}");
    }
}

/// The setting `rate`.
#[test]
fn a_rate_is_kept() {
    let server = Ministack::start();
    let bench = new_bench(&server.environment());
    let key = server.key(KeySpec::Ec256);
    cloud::a_rate_is_kept(&bench, &named(&key, &key.arn));
}
