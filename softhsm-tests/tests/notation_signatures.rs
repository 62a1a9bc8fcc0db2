//! `hardsign` and the real `notation` 1.3.2 in one registry: each verifies what the other signed,
//! for every key type, in both formats, through the referrers API and the tag schema.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

use hardsign_plugin::algorithm::KeySpec;
use softhsm_tests::peers::USE_REFERRERS_API;
use softhsm_tests::peers::registry::{Builder, Registry};
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::token::Token;
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys};

const FORMATS: [&str; 2] = ["jws", "cose"];

/// One token with a key of every type, its label that of the type.
fn token() -> Token {
    let mut token = Token::new("T")
        .with_certificate(&keys::intermediate(), "int", "f0")
        .with_certificate(&keys::root_der(), "root", "f1");
    for (number, spec) in KeySpec::ALL.into_iter().enumerate() {
        let (key, id) = (keys::key(spec), format!("{:02}", number + 1));
        token =
            token
                .with_key(&key, spec.name(), &id)
                .with_certificate(&key.leaf, spec.name(), &id);
    }
    token
}

/// A registry, a token with all keys, and a policy that trusts their root.
fn token_scene(registry: &Builder) -> (Token, Scene) {
    let token = token();
    let scene = Scene::with(registry, Workbench::with_token(&token));
    scene.bench.trust_store("tests", &keys::root());
    scene.policy_for("tests");
    (token, scene)
}

/// Signs an artifact of its own for every key type and format, and has both tools verify it.
fn matrix(scene: &Scene, sign: impl Fn(KeySpec, &str, &str)) {
    for spec in KeySpec::ALL {
        for format in FORMATS {
            let name = format!("{}:{format}", spec.name().to_lowercase());
            let reference = scene.push(&name, &name);
            scene.both_refuse(&reference);
            sign(spec, format, &reference);
            scene.both_verify(&reference);
        }
    }
}

fn hardsign_signs_with_the_token(registry: &Builder) {
    let (token, scene) = token_scene(registry);
    matrix(&scene, |spec, format, reference| {
        let uri = token.uri(spec.name());
        let arguments = [
            "sign",
            "--plugin",
            "pkcs11",
            "--id",
            &uri,
            "--signature-format",
            format,
        ];
        let signed = scene.ok(Tool::Hardsign, arguments.iter().chain([&reference]));
        assert_eq!(signed.stderr, "");
        let repository = reference.split('@').next().unwrap();
        let mut lines = signed.stdout.lines();
        assert_eq!(
            lines.next(),
            Some(&*format!("Successfully signed {reference}"))
        );
        let signature = lines
            .next()
            .and_then(|line| line.strip_prefix(&format!("Pushed the signature to {repository}@")))
            .expect("the signature's digest");
        assert_eq!(lines.next(), None);
        for tool in Tool::BOTH {
            assert_eq!(
                scene.ok(tool, ["list", reference]).stdout,
                format!(
                    "{reference}\n└── application/vnd.cncf.notary.signature\n    └── {signature}\n"
                ),
                "{tool:?}"
            );
        }
    });
}

/// ENV-32, CLI-31, CLI-37, CLI-44, OCI-01, OCI-23.
#[test]
fn notation_verifies_what_the_token_signed_in_ggcr() {
    hardsign_signs_with_the_token(&Registry::ggcr());
}

/// ENV-32, OCI-23, OCI-30.
#[test]
fn notation_verifies_what_the_token_signed_in_olareg() {
    hardsign_signs_with_the_token(&Registry::olareg());
}

/// ENV-32, OCI-24: the tag schema.
#[test]
fn notation_verifies_what_the_token_signed_in_docker_registry() {
    hardsign_signs_with_the_token(&Registry::docker());
}

/// `notation` signs through our plugin, which it installed itself, and both verify.
fn notation_signs_with_the_token(registry: &Builder, flags: &[&str]) {
    let (token, scene) = token_scene(registry);
    let plugin = binaries().join("notation-pkcs11").display().to_string();
    let installed = scene.ok(Tool::Notation, ["plugin", "install", "--file", &plugin]);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        installed.stdout,
        format!("Successfully installed plugin pkcs11, version {version}\n")
    );
    matrix(&scene, |spec, format, reference| {
        let uri = token.uri(spec.name());
        let mut arguments = vec!["sign", "--plugin", "pkcs11", "--id", &uri];
        arguments.extend(["--signature-format", format]);
        arguments.extend(flags);
        arguments.push(reference);
        scene.ok(Tool::Notation, arguments);
    });
}

/// PLG-01, PLG-02: our plugin is any host's plugin.
#[test]
fn plg_02_notation_signs_with_our_pkcs11_plugin_in_olareg() {
    notation_signs_with_the_token(&Registry::olareg(), &[USE_REFERRERS_API]);
}

#[test]
fn notation_signs_with_our_pkcs11_plugin_in_ggcr() {
    notation_signs_with_the_token(&Registry::ggcr(), &[USE_REFERRERS_API]);
}

/// OCI-24, OCI-29: `notation` writes the tag by default.
#[test]
fn notation_signs_with_our_pkcs11_plugin_in_docker_registry() {
    notation_signs_with_the_token(&Registry::docker(), &[]);
}

/// OCI-29: `notation` writes the tag by default, also where the API is.
#[test]
fn notation_signs_with_our_local_plugin() {
    let scene = Scene::new(&Registry::ggcr());
    scene.bench.trust_store("tests", &keys::root());
    scene.policy_for("tests");
    let plugin = binaries().join("notation-local").display().to_string();
    scene.ok(Tool::Notation, ["plugin", "install", "--file", &plugin]);
    for spec in KeySpec::ALL {
        let key = keys::key(spec);
        let id = key.key.display().to_string();
        let chain = format!("cert-chain={}", key.chain.display());
        let mut arguments = vec!["key", "add", "--plugin", "local", "--id", &id];
        arguments.extend(["--plugin-config", &chain, spec.name()]);
        scene.ok(Tool::Notation, arguments);
    }
    matrix(&scene, |spec, format, reference| {
        let mut arguments = vec!["sign", "--key", spec.name(), "--signature-format", format];
        arguments.extend([USE_REFERRERS_API, reference]);
        scene.ok(Tool::Notation, arguments);
    });
}

/// `hardsign` verifies what `notation` signed with its own test key, in the legacy form of the
/// signature manifest that 1.3.2 writes.
fn hardsign_verifies_the_test_key(registry: &Builder, flags: &[&str]) {
    let scene = Scene::new(registry);
    scene.ok(
        Tool::Notation,
        ["cert", "generate-test", "--default", "peer.example"],
    );
    scene.policy_for("peer.example");
    for format in FORMATS {
        let reference = scene.push(&format!("test-key:{format}"), format);
        scene.both_refuse(&reference);
        let mut arguments = vec!["sign", "--signature-format", format, "--expiry", "1h"];
        arguments.extend(flags);
        arguments.push(&reference);
        scene.ok(Tool::Notation, arguments);
        scene.both_verify(&reference);
        let [ours, theirs] = Tool::BOTH.map(|tool| scene.ok(tool, ["list", &reference]).stdout);
        assert_eq!(ours, theirs);
    }
}

/// OCI-10: the legacy form is read.
#[test]
fn oci_10_hardsign_verifies_what_notation_signed_in_olareg() {
    hardsign_verifies_the_test_key(&Registry::olareg(), &[USE_REFERRERS_API]);
}

/// OCI-10.
#[test]
fn hardsign_verifies_what_notation_signed_in_ggcr() {
    hardsign_verifies_the_test_key(&Registry::ggcr(), &[USE_REFERRERS_API]);
}

/// OCI-10, OCI-24, OCI-33.
#[test]
fn hardsign_verifies_what_notation_signed_in_docker_registry() {
    hardsign_verifies_the_test_key(&Registry::docker(), &[]);
}
