//! `-d`: the records, and the texts in them that scripts and the reference's tests look for.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;

use hardsign_test_support::program;
use serde_json::json;
use softhsm_tests::peers::framework;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::workbench::Workbench;

/// Splits a log into its records (level, text). What stands in no record is returned beside them.
fn records(stderr: &str) -> (Vec<(String, String)>, Vec<String>) {
    let (mut records, mut others): (Vec<(String, String)>, _) = (vec![], vec![]);
    let mut open = false;
    for line in stderr.lines() {
        let record = line.strip_prefix("time=").and_then(|rest| {
            let (time, rest) = rest.split_once("Z level=")?;
            let (level, text) = rest.split_once(" msg=")?;
            Some((time, level, text))
        });
        match record {
            Some((time, level, text)) => {
                let shape: String = time
                    .chars()
                    .map(|c| if c.is_ascii_digit() { '0' } else { c })
                    .collect();
                assert_eq!(shape, "0000-00-00 00:00:00.000000000", "{line}");
                assert!(
                    ["debug", "info", "warning", "error"].contains(&level),
                    "{line}"
                );
                records.push((level.to_owned(), text.to_owned()));
                open = true;
            }
            // A trace of requests has several lines.
            None if open && (line.is_empty() || line.starts_with([' ', '<', '>'])) => {}
            None => {
                open = false;
                others.push(line.to_owned());
            }
        }
    }
    (records, others)
}

fn has(records: &[(String, String)], level: &str, text: &str) {
    assert!(
        records.iter().any(|(l, t)| l == level && t == text),
        "no {level} {text:?} in {records:#?}"
    );
}

/// LOG-01, LOG-02, LOG-06: the records of a verification that fails, their form and their levels;
/// and nothing of it without the flag. The same texts as the reference has, at the same levels.
#[test]
fn log_01_a_failed_verification() {
    let scene = Scene::new(&Registry::ggcr());
    for name in ["signer", "other"] {
        scene.ok(Tool::Hardsign, ["cert", "generate-test", name]);
    }
    let image = scene.push("demo:v1", "demo");
    scene.ok(Tool::Hardsign, ["sign", "--key", "signer", &image]);
    scene.policy_for("other");
    let quiet = scene.run(Tool::Hardsign, ["verify", &image]);
    assert!(
        quiet.stderr.starts_with("Error: ") && !quiet.stderr.contains("level="),
        "{}",
        quiet.stderr
    );
    // Release 1.3.2 gives the time in another form, and begins the name of the failed check there.
    let theirs = scene.run(Tool::Notation, ["verify", "-d", &image]).stderr;
    let ours = scene.run(Tool::Hardsign, ["verify", "-d", &image]).stderr;
    let (ours, others) = records(&ours);
    assert!(others[0].starts_with("Error: "), "{others:?}");
    let statement = ours
        .iter()
        .find(|(_, text)| text.starts_with("Trust policy configuration: "))
        .unwrap();
    assert_eq!(statement.0, "info");
    assert!(statement.1.contains("{Name:all "), "{}", statement.1);
    let shared = theirs
        .lines()
        .filter_map(|line| line.split_once("Z level=")?.1.split_once(" msg="))
        .filter(|(level, _)| ["error", "warning"].contains(level));
    let mut compared = 0;
    for (level, text) in shared {
        has(&ours, level, text);
        compared += 1;
    }
    assert_eq!(compared, 2, "{theirs}");
    let digest = image.split_once('@').unwrap().1;
    has(
        &ours,
        "debug",
        &format!(
            "Verify signature against artifact {digest} referenced as {image} in signature media type application/jose+json"
        ),
    );
}

/// LOG-08, LOG-06: a file's signature, in both formats.
#[test]
fn log_08_a_file() {
    let bench = Workbench::new();
    bench.hardsign_ok(["cert", "generate-test", "--default", "signer"]);
    fs::write(bench.path().join("file"), "content").unwrap();
    let init =
        "blob policy init --global --name every-file --trust-store ca:signer --trusted-identity *";
    bench.hardsign_ok(init.split(' '));
    for (format, media_type) in [
        ("jws", "application/jose+json"),
        ("cose", "application/cose"),
    ] {
        bench.hardsign_ok(["blob", "sign", "--signature-format", format, "file"]);
        let signature = format!("file.{format}.sig");
        let arguments = ["blob", "verify", "-d", "-s", &signature, "file"];
        let verified = bench.hardsign_ok(arguments);
        let (records, others) = records(&verified.stderr);
        has(
            &records,
            "debug",
            &format!("Verify signature of media type {media_type}"),
        );
        assert!(
            records.iter().any(|(level, text)| level == "info"
                && text.starts_with("Trust policy configuration: {Name:every-file ")),
            "{records:#?}"
        );
        assert!(others.is_empty(), "{others:?}");
        let quiet = bench.hardsign_ok(["blob", "verify", "-s", &signature, "file"]);
        assert_eq!(quiet.stderr, "");
    }
}

/// LOG-08: an envelope that a plugin made.
#[test]
fn log_08_an_envelope_by_a_plugin() {
    let plugin = framework::executable();
    let bench = Workbench::new();
    bench.install_plugin("framework-envelope", &plugin);
    let reference = bench.reference(&bench.layout.add("v1", "content"));
    let keys = format!("dir={}", bench.path().join("keys").display());
    let signed = bench.hardsign_ok([
        "sign",
        "-d",
        "--oci-layout",
        "--plugin",
        "framework-envelope",
        "--id",
        "k",
        "--plugin-config",
        &keys,
        &reference,
    ]);
    let (records, _) = records(&signed.stderr);
    has(
        &records,
        "debug",
        "Verifying signature envelope generated by the plugin",
    );
}

/// LOG-07: a credential helper by name and action, with nothing of what goes in and out.
#[test]
fn log_07_credential_helpers() {
    let registry = Registry::docker().basic_auth().start();
    let reference = registry.push("demo:v1", b"content");
    let (user, password) = registry.credentials().unwrap();
    let mut bench = Workbench::new();
    let helper = bench.path().join("docker-credential-test");
    let answer = json!({"Username": user, "Secret": password});
    let script = format!(
        "#!/bin/sh\ncase $1 in get) test -e here && echo '{answer}' || {{ echo {password}; exit 1; }};; esac\n"
    );
    program::write(&helper, &script);
    let path = bench.path().to_owned();
    bench.set("PATH", path);
    fs::write(
        bench.config().join("config.json"),
        r#"{"credsStore":"test"}"#,
    )
    .unwrap();
    fs::write(bench.path().join("here"), "").unwrap();
    let started = |action: &str| {
        format!(
            "started executing credential helper program docker-credential-test with action {action}"
        )
    };
    let listed = bench.hardsign_ok(["list", "-d", &reference]);
    let done = bench.hardsign_ok(["logout", "-d", &registry.host()]);
    for (ran, action) in [(&listed, "get"), (&done, "erase")] {
        let (records, _) = records(&ran.stderr);
        has(&records, "debug", &started(action));
        has(
            &records,
            "debug",
            &format!(
                "successfully finished executing credential helper program docker-credential-test with action {action}"
            ),
        );
        assert!(!ran.stderr.contains(password), "{}", ran.stderr);
    }
    // A helper that fails, and that says the secret while it does: the record has its name alone.
    fs::remove_file(bench.path().join("here")).unwrap();
    let failed = bench.hardsign(["list", "-d", &reference]);
    let (records, _) = records(&failed.stderr);
    has(
        &records,
        "debug",
        "finished executing credential helper program docker-credential-test with action get and got an error",
    );
    assert!(
        records.iter().all(|(_, text)| !text.contains(password)),
        "{records:#?}"
    );
}
