//! SEC-29: whatever a registry, a plugin, a certificate, a signature, a file or its name says, the
//! terminal gets no control character, no line that is not ours and no mark that turns text round.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_test_support::Key;
use hardsign_test_support::certificate::Builder;
use hardsign_test_support::program;
use hardsign_test_support::registry::{Behaviour, FakeRegistry, Response};
use serde_json::{Value, json};

mod support;

use support::Machine;

macro_rules! evil {
    () => {
        "a\x1b[2J\x1b]0;t\x07\r\u{9b}1m\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}\u{7f}\x08b"
    };
}

/// Clears the screen, sets the title, goes back to the start of the line, begins a C1 sequence, turns
/// the text round three ways, and parts lines.
const EVIL: &str = evil!();

/// The same with a line of its own at the end, where the one who says it is nobody's own program.
const FORGED: &str = concat!(evil!(), "\nForged: b");

/// The same for where a file system or a grammar allows no more.
const TITLE: &str = "a\x1b]0;t\x07\u{202e}b";

const NO_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn is_dangerous(c: char) -> bool {
    c != '\n' && c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Runs `hardsign` with these words, with and without `-d`, and looks at every byte that it prints.
/// Returns what it printed without.
fn clean(machine: &Machine, words: &[&str]) -> String {
    let mut printed = String::new();
    for debug in [false, true] {
        let mut command = machine.command("hardsign");
        command.args(words).stdin(std::process::Stdio::null());
        if debug {
            command.arg("-d");
        }
        let output = command.output().unwrap();
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        assert!(
            !said.is_empty() || words[0] == "certificate",
            "{words:?} says nothing"
        );
        let text = String::from_utf8(said)
            .unwrap_or_else(|error| panic!("{words:?} prints bytes that are no UTF-8: {error}"));
        if let Some(found) = text.chars().find(|c| is_dangerous(*c)) {
            panic!("{words:?} prints {found:?}:\n{}", text.escape_debug());
        }
        assert!(
            !text.lines().any(|line| line.starts_with("Forged")),
            "{words:?} prints a line of somebody else's:\n{text}"
        );
        if !debug {
            printed = text;
        }
    }
    printed
}

/// The same, and the harmless form of what is foreign is in it: it was not left out.
fn shows(machine: &Machine, words: &[&str]) -> String {
    let printed = clean(machine, words);
    assert!(
        printed.contains("u{1b}")
            || printed.contains("\\u001b")
            || printed.contains("\\x1b")
            || printed.contains("\\1B"),
        "{words:?} does not show it: {printed}"
    );
    printed
}

#[test]
fn sec_29_what_was_typed() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo");
    let layout = format!("{TITLE}:v1");
    for words in [
        vec!["list", EVIL],
        vec!["inspect", EVIL],
        vec!["verify", EVIL],
        vec![
            "verify",
            "-o",
            "json",
            "--oci-layout",
            "--scope",
            "a.b/c",
            &layout,
        ],
        vec!["verify", "--oci-layout", "--scope", TITLE, "layout:v1"],
        vec!["list", "--oci-layout", &layout],
        vec!["copy", "--from-oci-layout", &layout, "localhost:1/a"],
        vec!["delete", EVIL, NO_DIGEST],
        vec!["delete", "--oci-layout", "layout:v1", EVIL],
        vec!["login", "-u", "a", "-p", "b", EVIL],
        vec!["sign", "--key", EVIL, "localhost:1/a:v1"],
        vec!["sign", "--signature-format", EVIL, "localhost:1/a:v1"],
        vec!["verify", "--policy", TITLE, "localhost:1/a:v1"],
        vec!["list", "--ca-file", TITLE, "localhost:1/a:v1"],
        vec!["key", "delete", EVIL],
        vec!["key", "set", "--default", EVIL],
        vec!["blob", "sign", TITLE],
        vec!["blob", "verify", "-s", TITLE, "artifact.bin"],
        vec!["blob", "verify", "-s", "artifact.bin.jws.sig", TITLE],
        vec![
            "blob",
            "verify",
            "--policy-name",
            TITLE,
            "-s",
            "artifact.bin.jws.sig",
            "artifact.bin",
        ],
        vec![
            "blob",
            "verify",
            "--media-type",
            EVIL,
            "-s",
            "artifact.bin.jws.sig",
            "artifact.bin",
        ],
        vec!["blob", "inspect", TITLE],
        vec!["policy", "import", TITLE],
        vec!["policy", "explain", EVIL],
        vec!["certificate", "add", "-t", "ca", "-s", "s", TITLE],
        vec!["certificate", "add", "-t", EVIL, "-s", "s", "root.crt"],
        vec!["certificate", "show", "-t", "ca", "-s", "vectors", TITLE],
        vec![
            "certificate",
            "delete",
            "-y",
            "-t",
            "ca",
            "-s",
            "vectors",
            TITLE,
        ],
        vec![EVIL],
        vec!["sign", "--nosuch\x1b[2J"],
        vec!["sign", "--expiry", EVIL, "localhost:1/a:v1"],
        vec!["verify", "--max-signatures", EVIL, "localhost:1/a:v1"],
    ] {
        shows(&machine, &words);
    }
    for words in [
        vec!["key", "add", "--plugin", EVIL, "--id", "x", "n"],
        vec!["logout", EVIL],
    ] {
        clean(&machine, &words);
    }
}

#[test]
fn sec_29_the_users_files() {
    let machine = Machine::new();
    let config = machine.path().join("config");
    let keys = json!({"default": EVIL, "keys": [
        {"name": EVIL, "id": EVIL, "pluginName": "nosuch", "pluginConfig": {EVIL: EVIL}},
        {"name": "local", "keyPath": EVIL, "certPath": EVIL},
    ]});
    fs::write(config.join("signingkeys.json"), keys.to_string()).unwrap();
    let store = config.join("truststore/x509/ca");
    fs::create_dir_all(store.join("plain")).unwrap();
    fs::copy(
        machine.path().join("root.crt"),
        store.join("plain").join(TITLE),
    )
    .unwrap();
    for words in [
        vec!["key", "list"],
        vec!["key", "list", "-o", "json"],
        vec!["key", "set", "--default", EVIL],
        vec!["key", "delete", "no\x1b[2Jsuch", EVIL],
        vec!["sign", "--key", "local", "--oci-layout", "layout:v1"],
        vec!["doctor"],
        vec!["doctor", "-o", "json"],
        vec!["certificate", "list"],
        vec!["certificate", "list", "-o", "json"],
    ] {
        shows(&machine, &words);
    }
    let candidates = machine.shell("hardsign __complete -- sign --key ''");
    let candidates = String::from_utf8(candidates.stdout).unwrap();
    assert!(
        !candidates.replace('\t', "").contains(is_dangerous),
        "{candidates:?}"
    );
    // JSON keeps what it hides: the same text comes out of it again.
    let listed: Value =
        serde_json::from_str(&clean(&machine, &["key", "list", "-o", "json"])).unwrap();
    assert_eq!(listed["keys"][0]["name"], EVIL);

    let statement = |name: &str, store: &str, identity: &str| {
        json!({"version": "1.0", "trustPolicies": [{
            "name": name, "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
            "trustStores": [store], "trustedIdentities": [identity], EVIL: 1,
        }]})
    };
    let policy = config.join("trustpolicy.oci.json");
    let identity = format!("x509.subject: C=US, ST=WA, O={TITLE}");
    for document in [
        statement(EVIL, "ca:vectors", &identity),
        statement("a", &format!("ca:{EVIL}"), "*"),
        statement("a", "ca:vectors", EVIL),
        json!({"version": EVIL, "trustPolicies": []}),
        json!({EVIL: EVIL}),
    ] {
        fs::write(&policy, document.to_string()).unwrap();
        for words in [
            vec!["verify", "--oci-layout", "--scope", "a.b/c", "layout:v1"],
            vec![
                "verify",
                "-o",
                "json",
                "--oci-layout",
                "--scope",
                "a.b/c",
                "layout:v1",
            ],
            vec!["policy", "explain", "a.b/c"],
            vec!["policy", "explain", "-o", "json", "a.b/c"],
            vec!["doctor"],
        ] {
            clean(&machine, &words);
        }
        clean(
            &machine,
            &["policy", "import", "--force", "config/trustpolicy.oci.json"],
        );
    }
    for file in [
        json!({"signatureFormat": EVIL}),
        json!({"credsStore": EVIL}),
        json!({"insecureRegistries": [EVIL], "auths": {EVIL: {"auth": EVIL}, "localhost:1": {"auth": EVIL}}}),
    ] {
        fs::write(config.join("config.json"), file.to_string()).unwrap();
        for words in [
            vec![
                "blob",
                "sign",
                "--plugin",
                "local",
                "--id",
                "/x",
                "artifact.bin",
            ],
            vec!["list", "localhost:1/a:v1"],
            vec!["logout", "localhost:1"],
            vec!["doctor"],
        ] {
            clean(&machine, &words);
        }
    }
}

/// A key, and a chain whose names are hostile.
fn signer(machine: &Machine) -> [String; 2] {
    let root = Builder::ca(FORGED, &Key::P256).self_signed(&Key::P256);
    let leaf = Builder::leaf(FORGED, Key::P256_B.spki).issue(&root, &Key::P256_B);
    let pem = |label: &str, der: &[u8]| {
        let text = STANDARD.encode(der);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(|c| String::from_utf8_lossy(c))
            .collect();
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            lines.join("\n")
        )
    };
    let root = pem("CERTIFICATE", &root.der);
    let write = |name: &str, text: &str| {
        let path = machine.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let store = machine.path().join("config/truststore/x509/ca/evil");
    fs::create_dir_all(&store).unwrap();
    fs::write(store.join("root.pem"), &root).unwrap();
    write("root.pem", &root);
    [
        write("key.pem", &pem("PRIVATE KEY", Key::P256_B.pkcs8())),
        format!(
            "cert-chain={}",
            write(
                "chain.pem",
                &format!("{}{root}", pem("CERTIFICATE", &leaf.der))
            )
        ),
    ]
}

#[test]
fn sec_29_signatures_and_certificates() {
    let machine = Machine::new();
    let [key, chain] = signer(&machine);
    let with = |start: &[&str], end: &[&str]| {
        let key = ["--plugin", "local", "--id", &key, "--plugin-config", &chain];
        let words = [start, &key, end].concat();
        clean(&machine, &words);
    };
    let metadata = format!("{FORGED}={FORGED}");
    with(
        &["blob", "sign", "--force", "-m", &metadata],
        &["artifact.bin"],
    );
    with(&["sign", "--oci-layout", "-m", &metadata], &["layout:v1"]);
    fs::write(machine.path().join(TITLE), "content").unwrap();
    with(&["blob", "sign", "--force"], &[TITLE]);
    let own = format!("{TITLE}.jws.sig");
    for (policy, trust, identity) in [
        ("good", "ca:evil", "*"),
        ("stranger", "ca:vectors", "*"),
        ("identity", "ca:evil", "x509.subject: C=US, ST=WA, O=Other"),
    ] {
        let document = json!({"version": "1.0", "trustPolicies": [{
            "name": policy, "registryScopes": ["*"], "globalPolicy": true,
            "signatureVerification": {"level": "strict"},
            "trustStores": [trust], "trustedIdentities": [identity],
        }]});
        let of = |leave_out: &str| {
            let mut document = document.clone();
            document["trustPolicies"][0]
                .as_object_mut()
                .unwrap()
                .remove(leave_out);
            document.to_string()
        };
        let config = machine.path().join("config");
        fs::write(config.join("trustpolicy.oci.json"), of("globalPolicy")).unwrap();
        fs::write(config.join("trustpolicy.blob.json"), of("registryScopes")).unwrap();
        for output in ["text", "json"] {
            let artifact = [
                "verify",
                "-o",
                output,
                "--oci-layout",
                "--scope",
                "a.b/c",
                "-m",
                &metadata,
                "layout:v1",
            ];
            let file = [
                "blob",
                "verify",
                "-o",
                output,
                "-s",
                "artifact.bin.jws.sig",
                "artifact.bin",
            ];
            if policy == "good" {
                shows(&machine, &artifact);
                shows(&machine, &file);
                shows(
                    &machine,
                    &["blob", "verify", "-o", output, "-s", &own, TITLE],
                );
            } else {
                clean(&machine, &artifact);
                clean(&machine, &file);
                clean(
                    &machine,
                    &["blob", "verify", "-o", output, "-s", &own, TITLE],
                );
            }
        }
    }
    for words in [
        vec!["inspect", "--oci-layout", "layout:v1"],
        vec!["inspect", "-o", "json", "--oci-layout", "layout:v1"],
        vec!["blob", "inspect", "artifact.bin.jws.sig"],
        vec!["blob", "inspect", "-o", "json", "artifact.bin.jws.sig"],
        vec!["certificate", "show", "-t", "ca", "-s", "evil", "root.pem"],
        vec![
            "certificate",
            "show",
            "-o",
            "json",
            "-t",
            "ca",
            "-s",
            "evil",
            "root.pem",
        ],
        vec!["policy", "explain", "-o", "json", "a.b/c"],
    ] {
        shows(&machine, &words);
    }
    clean(
        &machine,
        &[
            "certificate",
            "add",
            "-t",
            "tsa",
            "-s",
            "s",
            "root.pem",
            "chain.pem",
        ],
    );
    clean(&machine, &["doctor"]);
}

#[test]
fn sec_29_plugins() {
    let machine = Machine::new();
    let directory = machine.path().join("config/plugins/evil");
    fs::create_dir_all(&directory).unwrap();
    let program = directory.join("notation-evil");
    let metadata = |name: &str| {
        json!({"name": name, "description": EVIL, "version": EVIL, "url": EVIL,
            "supportedContractVersions": ["1.0", EVIL], "capabilities": ["SIGNATURE_GENERATOR.RAW", EVIL]})
        .to_string()
    };
    let good = metadata("evil").replace(&json!(EVIL).to_string(), "\"x\"");
    let refusal = json!({"errorCode": EVIL, "errorMessage": EVIL, "errorMetadata": {EVIL: EVIL, "hint": EVIL}});
    let key = json!({"keyId": EVIL, "keySpec": EVIL});
    for (metadata, stdout, stderr) in [
        (metadata("evil"), String::new(), String::new()),
        (metadata(EVIL), String::new(), String::new()),
        (good.clone(), String::new(), refusal.to_string()),
        (good.clone(), String::new(), EVIL.to_owned()),
        (good.clone(), key.to_string(), String::new()),
        (good, EVIL.to_owned(), String::new()),
    ] {
        let file = |name: &str, content: &str| {
            let path = machine.path().join(name);
            fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let script = format!(
            "#!/bin/sh\ncat > /dev/null\n[ \"$1\" = get-plugin-metadata ] && exec cat {}\ncat {}; cat {} >&2\nexit {}\n",
            file("metadata", &metadata),
            file("stdout", &stdout),
            file("stderr", &stderr),
            i32::from(stdout.is_empty())
        );
        program::write(&program, &script);
        for words in [
            vec!["plugin", "list"],
            vec!["plugin", "list", "-o", "json"],
            vec![
                "sign",
                "--plugin",
                "evil",
                "--id",
                "k",
                "--oci-layout",
                "layout:v1",
            ],
            vec![
                "blob",
                "sign",
                "--force",
                "--plugin",
                "evil",
                "--id",
                "k",
                "artifact.bin",
            ],
            vec!["key", "add", "--plugin", "evil", "--id", "k", "evil"],
            vec!["key", "delete", "evil"],
            vec!["doctor"],
        ] {
            clean(&machine, &words);
        }
    }
}

#[test]
fn sec_29_registries() {
    let machine = Machine::new();
    let error =
        json!({"errors": [{"code": FORGED, "message": FORGED, "detail": FORGED}]}).to_string();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": FORGED, "config": {"mediaType": FORGED, "digest": FORGED, "size": 2},
        "layers": [], "annotations": {FORGED: FORGED},
    })
    .to_string();
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "annotations": {FORGED: FORGED},
        "manifests": [
            {"mediaType": FORGED, "digest": FORGED, "size": 1, "artifactType": FORGED, "annotations": {FORGED: FORGED}},
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
                "digest": format!("sha256:{}", "0".repeat(64)), "artifactType": "application/vnd.cncf.notary.signature",
                "annotations": {"io.cncf.notary.x509chain.thumbprint#S256": FORGED}},
        ],
    })
    .to_string();
    type Answer = Box<dyn Fn(&str) -> Response + Send + Sync>;
    let answers: Vec<Answer> = vec![
        Box::new({
            let error = error.clone();
            move |_| Response::json(403, &error)
        }),
        Box::new(|_| Response::bytes(404, FORGED.into())),
        Box::new(|_| Response::bytes(200, FORGED.into()).header("content-type", "a/b\u{9b}")),
        Box::new(|_| {
            Response::json(401, "{}").header(
                "www-authenticate",
                "Bearer realm=\"http://\u{9b}\",service=\"\u{202e}\"",
            )
        }),
        Box::new(|_| Response::json(307, "{}").header("location", "http://\u{9b}/\u{202e}")),
        Box::new(move |path| match path {
            path if path.contains("/referrers/") => Response::bytes(200, index.clone().into())
                .header("content-type", "application/vnd.oci.image.index.v1+json"),
            _ => Response::bytes(200, manifest.clone().into())
                .header("content-type", "application/vnd.oci.image.manifest.v1+json"),
        }),
    ];
    machine.shell("hardsign certificate generate-test --default demo");
    for answer in answers {
        let registry = FakeRegistry::start(Behaviour {
            intercept: Some(Box::new(move |request| Some(answer(&request.path)))),
            ..Behaviour::default()
        });
        let name = format!("{}/app:v1", registry.name());
        let copy = format!("{}/copy", registry.name());
        let policy = ["--policy", "config/trustpolicy.oci.json"];
        for words in [
            vec!["list", &name],
            vec!["list", "-o", "json", &name],
            vec!["inspect", &name],
            vec!["sign", &name],
            vec!["sign", "-o", "json", &name],
            vec!["verify", policy[0], policy[1], &name],
            vec!["verify", "-o", "json", "--recursive", &name],
            vec!["verify", "--with-attached", "application/spdx+json", &name],
            vec!["copy", &name, &copy],
            vec!["copy", "--to-oci-layout", &name, "copied"],
            vec!["login", "-u", "a", "-p", "b", &registry.name()],
        ] {
            clean(&machine, &words);
        }
    }
    assert!(Path::new(env!("CARGO_BIN_EXE_hardsign")).is_file());
}
