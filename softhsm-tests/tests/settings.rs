//! The settings that a plugin declares: a misspelt one is told when the key is added and when it is
//! used, paths are those of the user's directory, and no secret gets into the key list.

#![allow(
    clippy::unwrap_used,
    reason = "a failure of the tests' helpers is a failed test"
)]

use std::fs;

use hardsign_plugin::algorithm::KeySpec;
use softhsm_tests::token::Token;
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys};

fn add<'a>(id: &'a str, setting: &'a str) -> [&'a str; 9] {
    [
        "key",
        "add",
        "--plugin",
        "pkcs11",
        "--id",
        id,
        "--plugin-config",
        setting,
        "k",
    ]
}

fn key_list(bench: &Workbench) -> String {
    fs::read_to_string(bench.config().join("signingkeys.json")).unwrap_or_default()
}

/// A misspelt setting is refused with the one that was meant, and nothing is stored.
#[test]
fn a_misspelt_setting_is_refused() {
    let bench = Workbench::new();
    let none = "has no setting";
    for (plugin, setting, why, meant) in [
        (
            "pkcs11",
            "cert_chain=/c.pem",
            none,
            "did you mean cert-chain?",
        ),
        (
            "pkcs11",
            "modulepath=/m.so",
            none,
            "did you mean module-path?",
        ),
        ("pkcs11", "Token-Label=T", none, "did you mean token-label?"),
        (
            "local",
            "cert-path=/c.pem",
            none,
            "its settings are cert-chain",
        ),
        (
            "pkcs11",
            "pinsource=prompt",
            none,
            "did you mean pin-source?",
        ),
        (
            "pkcs11",
            "pin=1234",
            "pin is a secret",
            "pin-source says where",
        ),
    ] {
        let mut arguments = add("k", setting);
        arguments[3] = plugin;
        let ran = bench.hardsign(arguments);
        assert_eq!(ran.code, Some(2), "{setting}: {}", ran.stderr);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
        assert!(ran.stderr.contains(meant), "{}", ran.stderr);
        assert!(!ran.stderr.contains("1234"), "{}", ran.stderr);
        assert_eq!(key_list(&bench), "");
    }
    let reference = bench.reference(&bench.layout.add("v1", "artifact"));
    let ran = bench.hardsign([
        "sign",
        "--plugin",
        "pkcs11",
        "--id",
        "k",
        "--plugin-config",
        "cert_chain=/c.pem",
        "--oci-layout",
        &reference,
    ]);
    assert_ne!(ran.code, Some(0));
    assert!(
        ran.stderr.contains("did you mean cert-chain?"),
        "{}",
        ran.stderr
    );
}

/// A PIN in the key id would stand in the key list in clear.
#[test]
fn a_pin_is_not_stored() {
    let bench = Workbench::new();
    for id in [
        "pkcs11:token=T;object=k?pin-value=1234",
        "pkcs11:token=T;pin-value=1234;object=k",
        "PKCS11:object=k?module-path=/m.so&Pin-Value=1234",
    ] {
        let ran = bench.hardsign(["key", "add", "--plugin", "pkcs11", "--id", id, "k"]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains("pin-source"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("1234"), "{}", ran.stderr);
        assert_eq!(key_list(&bench), "");
    }
}

/// A relative path is one of the directory that the key was added in.
#[test]
fn a_relative_path_is_made_absolute() {
    let bench = Workbench::new();
    let mut command = bench.command(
        &binaries().join("hardsign"),
        add("k", "cert-chain=some/c.pem"),
    );
    let ran = bench.run(command.current_dir(bench.path()));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let here = fs::canonicalize(bench.path()).unwrap().join("some/c.pem");
    let list = key_list(&bench);
    assert!(list.contains(here.to_str().unwrap()), "{list}");
}

/// What is true of keys that are added is true of keys that are made.
#[test]
fn a_made_key_is_listed_as_an_added_one() {
    let bench = Workbench::new();
    let create = |plugin, id, setting| {
        let create = ["key", "create", "--plugin", plugin, "--id", id];
        let rest = ["--plugin-config", setting, "--type", "EC-256", "k"];
        let mut command =
            bench.command(&binaries().join("hardsign"), [&create[..], &rest].concat());
        bench.run(command.current_dir(bench.path()))
    };
    let ran = create(
        "pkcs11",
        "pkcs11:token=T;object=k?pin-value=1234",
        "cert-chain=k.crt",
    );
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("pin-source"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("1234"), "{}", ran.stderr);
    assert_eq!(key_list(&bench), "");
    let ran = create("local", "k.key", "cert-chain=k.crt");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let here = fs::canonicalize(bench.path()).unwrap();
    let list = key_list(&bench);
    for file in ["k.key", "k.crt"] {
        assert!(list.contains(here.join(file).to_str().unwrap()), "{list}");
    }
}

/// A plugin that declares no settings takes what it is given.
#[test]
fn foreign_plugins_take_what_they_are_given() {
    let bench = Workbench::new();
    bench.install_plugin("rude", &binaries().join("notation-rude"));
    let mut arguments = add("k", "what_ever=some/c.pem");
    arguments[3] = "rude";
    bench.hardsign_ok(arguments);
    assert!(key_list(&bench).contains("\"some/c.pem\""));
}

/// One process for a whole command: the plugin of the box is started once.
#[test]
fn a_command_costs_one_process() {
    let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "signing", "01");
    let bench = Workbench::with_token(&token);
    let reference = bench.reference(&bench.layout.add("v1", "artifact"));
    let uri = token.uri("signing");
    let sign = [
        "sign",
        "-v",
        "--plugin",
        "pkcs11",
        "--id",
        &uri,
        "--oci-layout",
        &reference,
    ];
    let ran = bench.hardsign_ok(sign);
    assert_eq!(
        ran.stderr.matches("Plugin pkcs11: started").count(),
        1,
        "{}",
        ran.stderr
    );
}
