//! One configuration directory, two tools: what `notation` 1.3.2 made works under `hardsign`
//! unchanged, and the reverse; and for the same commands both write the same files.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

use std::fs;
use std::path::Path;

use serde_json::json;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::peers::{USE_REFERRERS_API, framework};
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::tree::tree;
use softhsm_tests::{binaries, keys};

const STATEMENT: &str = r#"{"version": "1.0", "trustPolicies": [{
    "name": "both", "registryScopes": ["*"],
    "signatureVerification": {"level": "strict"},
    "trustStores": ["ca:test.example", "ca:release"], "trustedIdentities": ["*"]
}]}"#;

/// CFG-06, CFG-08, CFG-13, CFG-19, TP-03, PLG-01: nothing of it is changed, byte for byte.
#[test]
fn a_directory_made_by_notation_works_under_hardsign_unchanged() {
    let (plugin, scene) = (framework::executable(), Scene::new(&Registry::ggcr()));
    scene.made_by_notation(&plugin, STATEMENT);
    let image = scene.push("demo:v1", "demo");
    // The plugin makes its key with the first signature; its root then goes into the store.
    let root = |scene: &Scene| {
        framework::root(&scene.bench.path().join("keys"), "k1")
            .display()
            .to_string()
    };
    let sign = ["sign", USE_REFERRERS_API, "--key", "release", &image];
    scene.ok(Tool::Notation, sign);
    let add = [
        "cert",
        "add",
        "--type",
        "ca",
        "--store",
        "release",
        &root(&scene),
    ];
    scene.ok(Tool::Notation, add);

    let before = tree(&scene.bench.config());
    for arguments in [
        vec!["key", "list"],
        vec!["cert", "list"],
        vec!["policy", "show"],
    ] {
        let [ours, theirs] = Tool::BOTH.map(|tool| scene.ok(tool, &arguments).stdout);
        assert_eq!(ours, theirs, "{arguments:?}");
    }
    let show = ["cert", "show", "-t", "ca", "-s", "release", "root.pem"];
    let [ours, theirs] = Tool::BOTH.map(|tool| scene.ok(tool, show).stdout);
    assert_eq!(ours, theirs);
    scene.both_verify(&image);
    for (number, flags) in [vec![], vec!["--key", "release"]].into_iter().enumerate() {
        for format in ["jws", "cose"] {
            let image = scene.push(
                &format!("demo:{number}-{format}"),
                &format!("{number}{format}"),
            );
            let arguments = [
                vec!["sign", "--signature-format", format, &image],
                flags.clone(),
            ];
            let signed = scene.ok(Tool::Hardsign, arguments.concat());
            assert_eq!(signed.stderr, "");
            scene.both_verify(&image);
            scene.ok(Tool::Hardsign, ["inspect", &image]);
        }
    }
    assert!(
        tree(&scene.bench.config()) == before,
        "hardsign changed the directory"
    );
}

/// CFG-13, CFG-21, TST-01, CLI-105: the reverse. 1.3.2 does not know the name of the policy file
/// that notation 2 and hardsign write.
#[test]
fn a_directory_made_by_hardsign_works_under_notation_unchanged() {
    let scene = Scene::new(&Registry::ggcr());
    let bench = &scene.bench;
    // `notation` has no plugins in the box.
    bench.install_plugin("local", &binaries().join("notation-local"));
    let key = keys::key(hardsign_plugin::algorithm::KeySpec::Ec384);
    let id = key.key.display().to_string();
    let chain = format!("cert-chain={}", key.chain.display());
    let root = keys::root().display().to_string();
    let policy = bench.path().join("policy.json");
    fs::write(&policy, STATEMENT).unwrap();
    let policy = policy.display().to_string();
    for arguments in [
        vec!["cert", "generate-test", "--default", "test.example"],
        vec![
            "key",
            "add",
            "--plugin",
            "local",
            "--id",
            &id,
            "--plugin-config",
            &chain,
            "release",
        ],
        vec!["cert", "add", "--type", "ca", "--store", "release", &root],
        vec!["policy", "import", &policy],
    ] {
        bench.hardsign_ok(arguments);
    }
    let (new, old) = (
        bench.config().join("trustpolicy.oci.json"),
        bench.config().join("trustpolicy.json"),
    );
    let image = scene.push("demo:v1", "demo");
    let refused = scene.run(Tool::Notation, ["verify", &image]);
    assert!(
        refused.stderr.contains("trust policy is not present"),
        "{}",
        refused.stderr
    );
    fs::copy(&new, &old).unwrap();

    let before = tree(&bench.config());
    for arguments in [
        vec!["key", "list"],
        vec!["cert", "list"],
        vec!["policy", "show"],
    ] {
        let [ours, theirs] = Tool::BOTH.map(|tool| scene.ok(tool, &arguments).stdout);
        assert_eq!(ours, theirs, "{arguments:?}");
    }
    for flags in [vec![], vec!["--key", "release"]] {
        for format in ["jws", "cose"] {
            let image = scene.push(&format!("demo:{format}"), &format!("{flags:?}{format}"));
            let mut arguments = vec!["sign", USE_REFERRERS_API, "--signature-format", format];
            arguments.extend(&flags);
            arguments.push(&image);
            scene.ok(Tool::Notation, arguments);
            scene.both_verify(&image);
        }
    }
    assert!(
        tree(&bench.config()) == before,
        "a listing changed the directory"
    );
}

/// CFG-15, CFG-16, CFG-21, CFG-31, CLI-70, CLI-80: after the same commands both directories have the
/// same files with the same modes, but for the lock that keeps two writers apart; the key list is
/// the same text, and so are copied files.
#[test]
fn the_same_commands_write_the_same_files() {
    let (plugin, ours, theirs) = (
        framework::executable(),
        Scene::new(&Registry::ggcr()),
        Scene::new(&Registry::ggcr()),
    );
    let root = keys::root().display().to_string();
    let commands = [
        vec!["cert", "generate-test", "first.example"],
        vec![
            "cert",
            "generate-test",
            "--default",
            "--bits",
            "3072",
            "second.example",
        ],
        vec![
            "key",
            "add",
            "--plugin",
            "framework",
            "--id",
            "k\"1\u{e9}<&>",
            "third",
        ],
        vec![
            "key",
            "add",
            "--plugin",
            "framework",
            "--id",
            "k2",
            "--plugin-config",
            "b=2=3",
            "--plugin-config",
            "a=1",
            "--default",
            "fourth",
        ],
        vec!["key", "update", "--default", "first.example"],
        vec!["key", "delete", "second.example"],
        vec!["cert", "add", "--type", "ca", "--store", "root", &root],
        vec![
            "cert",
            "add",
            "--type",
            "signingAuthority",
            "--store",
            "root",
            &root,
        ],
        vec!["cert", "add", "--type", "tsa", "--store", "root.2", &root],
        vec![
            "cert", "delete", "--type", "tsa", "--store", "root.2", "--all", "--yes",
        ],
    ];
    for (tool, scene) in [(Tool::Hardsign, &ours), (Tool::Notation, &theirs)] {
        scene.bench.install_plugin("framework", &plugin);
        for arguments in &commands {
            scene.ok(tool, arguments);
        }
    }
    let comparable = |scene: &Scene| {
        let here = scene.bench.path().display().to_string();
        tree(&scene.bench.config())
            .into_iter()
            .filter(|(path, _)| {
                let locks = ["signingkeys.json.lock", "policy.hardsign.json.lock"];
                !path.starts_with("plugins") && !locks.iter().any(|lock| path == Path::new(lock))
            })
            .map(|(path, entry)| {
                let generated = path.to_string_lossy().contains("example");
                let content = entry
                    .content
                    .filter(|_| !generated)
                    .map(|bytes| String::from_utf8(bytes).unwrap().replace(&here, "<here>"));
                (path, format!("{:o}", entry.mode), content)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(comparable(&ours), comparable(&theirs));
    test_keys_are_alike(&ours, &theirs);
}

/// CLI-80, CFG-21: the same kind of key, and a certificate of the same form.
fn test_keys_are_alike(ours: &Scene, theirs: &Scene) {
    let described = |scene: &Scene| {
        let keys = scene.bench.config().join("localkeys");
        let key = fs::read_to_string(keys.join("first.example.key")).unwrap();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "PKCS#8");
        let certificate = keys.join("first.example.crt").display().to_string();
        let text = scene.bench.run(&mut scene.bench.command(
            Path::new("openssl"),
            [
                "x509",
                "-in",
                &certificate,
                "-noout",
                "-text",
                "-certopt",
                "no_serial,no_validity,no_pubkey,no_sigdump",
            ],
        ));
        assert_eq!(text.code, Some(0), "{}", text.stderr);
        text.stdout
    };
    assert_eq!(described(ours), described(theirs));
}

/// TP-01, TP-03: with both policy files present, notation 2 and hardsign read the newer name.
#[test]
fn the_newer_policy_file_comes_first() {
    let scene = Scene::new(&Registry::ggcr());
    scene.ok(
        Tool::Hardsign,
        ["cert", "generate-test", "--default", "test.example"],
    );
    let image = scene.push("demo:v1", "demo");
    scene.ok(Tool::Hardsign, ["sign", &image]);
    scene.policy_for("test.example");
    scene.both_verify(&image);
    let skip = json!({"version": "1.0", "trustPolicies": [{
        "name": "skip", "registryScopes": ["*"], "signatureVerification": {"level": "skip"},
    }]});
    fs::write(
        scene.bench.config().join("trustpolicy.oci.json"),
        skip.to_string(),
    )
    .unwrap();
    let skipped = scene.ok(Tool::Hardsign, ["verify", &image]);
    // CLI-38.
    assert_eq!(
        skipped.stdout,
        format!("Trust policy is configured to skip signature verification for {image}\n")
    );
}
