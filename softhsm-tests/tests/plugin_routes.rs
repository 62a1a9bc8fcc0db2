//! `-v` says which file of a plugin ran, with which commands, and how signatures are asked for.

#![allow(
    clippy::unwrap_used,
    reason = "a failure of the tests' helpers is a failed test"
)]

use hardsign_plugin::algorithm::KeySpec;
use softhsm_tests::token::Token;
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys};

/// The records of a plugin, without their time.
fn records(stderr: &str) -> Vec<String> {
    let records = stderr.lines().filter_map(|line| line.split_once(" msg="));
    let plugin = records.filter(|(_, text)| text.starts_with("Plugin "));
    plugin.map(|(_, text)| text.to_owned()).collect()
}

/// PLG-22: every route, with the file and the commands that ran.
#[test]
fn plg_22_verbose_names_file_and_route() {
    let bench = Workbench::new();
    bench.install_plugin("rude", &binaries().join("notation-rude"));
    let file = bench.config().join("plugins/rude/notation-rude");
    let file = file.display();
    let reference = bench.reference(&bench.layout.add("v1", "artifact"));
    for (capabilities, route, commands) in [
        (
            "SIGNATURE_GENERATOR.RAW,HARDSIGN.SESSION",
            "session",
            &["session"][..],
        ),
        (
            "SIGNATURE_GENERATOR.RAW,HARDSIGN.DIGEST",
            "sign-digest",
            &["describe-key", "sign-digest"],
        ),
        (
            "SIGNATURE_GENERATOR.RAW,SIGNATURE_GENERATOR.ENVELOPE",
            "generate-signature",
            &["describe-key", "generate-signature"],
        ),
        (
            "SIGNATURE_GENERATOR.ENVELOPE",
            "generate-envelope",
            &["generate-envelope"],
        ),
    ] {
        let setting = format!("capabilities={capabilities}");
        let sign = ["sign", "--plugin", "rude", "--id", "k", "--oci-layout"];
        let sign = [&sign[..], &["--plugin-config", &setting, &reference]].concat();
        let quiet = bench.hardsign_ok(&sign);
        assert_eq!(quiet.stderr, "");
        let told = bench.hardsign_ok([&sign[..], &["-v"]].concat());
        let mut expected = vec![
            format!("Plugin rude: started {file} get-plugin-metadata"),
            format!("Plugin rude: signing through {route}"),
        ];
        for command in commands {
            expected.push(format!("Plugin rude: started {file} {command}"));
        }
        assert_eq!(records(&told.stderr), expected);
    }
}

/// BLOB-13, BLOB-14: a plugin that makes envelopes for files is asked for its key first, and only one
/// that says that it does.
#[test]
fn blob_14_envelopes_for_files() {
    let bench = Workbench::new();
    bench.install_plugin("rude", &binaries().join("notation-rude"));
    let file = bench.config().join("plugins/rude/notation-rude");
    let file = file.display();
    let blob = bench.path().join("a.bin").display().to_string();
    std::fs::write(&blob, "content").unwrap();
    let sign = |capabilities: &str| {
        let setting = format!("capabilities=SIGNATURE_GENERATOR.ENVELOPE{capabilities}");
        let line = ["blob", "sign", "-v", "--plugin", "rude", "--id", "k"];
        bench.hardsign([&line[..], &["--plugin-config", &setting, &blob]].concat())
    };
    let refused = sign("");
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    let text =
        "the plugin \"rude\" lacks the signature generator capability required for blob signing";
    assert!(refused.stderr.contains(text), "{}", refused.stderr);

    let signed = sign(",SIGNATURE_GENERATOR.ENVELOPE_FOR_BLOB");
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    let mut expected = vec![
        format!("Plugin rude: started {file} get-plugin-metadata"),
        "Plugin rude: signing through generate-envelope".to_owned(),
    ];
    for command in ["describe-key", "generate-envelope"] {
        expected.push(format!("Plugin rude: started {file} {command}"));
    }
    assert_eq!(records(&signed.stderr), expected);
    let signature = format!("{blob}.jws.sig");
    let inspected = bench.hardsign_ok(["blob", "inspect", &signature]);
    let size = "size: 7";
    assert!(inspected.stdout.contains(size), "{}", inspected.stdout);
}

/// The plugin of the box is told by its place beside the executable.
#[test]
fn verbose_names_the_plugin_of_the_box() {
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
    let told = records(&bench.hardsign_ok(sign).stderr);
    let file = binaries().join("notation-pkcs11");
    assert_eq!(
        told,
        [
            // One process, from the metadata on.
            format!("Plugin pkcs11: started {} session", file.display()),
            "Plugin pkcs11: signing through session".to_owned(),
        ]
    );
}
