//! Evidence of hardware from a virtual YubiKey to the verifier: carried in signatures of artifacts and files,
//! demanded by a policy, read by the real `notation` as if it were not there.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use hardsign_core::artifact::reference::TagOrDigest;
use hardsign_core::oci::layout::Layout;
use hardsign_core::oci::{Repository as _, SignatureSource as _, SignatureStore as _};
use hardsign_plugin::algorithm::KeySpec;
use hardsign_test_support::device::Maker;
use hardsign_test_support::{Builder, Key};
use serde_json::{Value, json};
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::token::Token;
use softhsm_tests::workbench::{Ran, Workbench};
use softhsm_tests::yubikey::policy::{NEVER, PIN_ONCE, TOUCH_CACHED};
use softhsm_tests::yubikey::{READER, YubiKeys, card, put_issuers, put_key};
use softhsm_tests::{keys, peers, run};
use virtual_yubikey::keys::{self as algorithms, Private};
use virtual_yubikey::{Config, VirtualYubiKey};

/// The name of the header.
const HEADER: &str = "io.hardsign.attestation";

/// A card of that firmware whose attestation key a maker certified, with a key in 9c.
fn attesting(maker: &Maker, version: [u8; 3], spec: KeySpec) -> VirtualYubiKey {
    let mut card = card(Config {
        version,
        ..Config::default()
    });
    put_key(&mut card, 0x9c, spec, PIN_ONCE, NEVER);
    put_issuers(&mut card);
    let f9 = Private::from_pkcs8(algorithms::P256, Key::P256_B.pkcs8()).unwrap();
    card.set_attestation(f9, &maker.f9.der);
    card
}

/// A bench that sees the card, trusts the signer, and has the maker's root in `maker.der`.
fn bench(yubikeys: &YubiKeys, maker: &Maker) -> Workbench {
    let bench = yubikeys.bench();
    bench.trust_store("tests", &keys::root());
    fs::write(bench.path().join("maker.der"), &maker.root.der).unwrap();
    bench
}

/// Rules for the statement `all` of both kinds of policy.
fn demand(bench: &Workbench, rule: &Value) {
    let statement = json!({"all": {"hardware": rule}});
    let mut rules = json!({"version": "1.0", "oci": statement});
    if bench.config().join("trustpolicy.blob.json").is_file() {
        rules["blob"] = statement;
    }
    let file = bench.config().join("policy.hardsign.json");
    fs::write(file, rules.to_string()).unwrap();
}

/// What these tests demand.
fn rule() -> Value {
    json!({
        "roots": ["file:../maker.der"],
        "pinPolicy": ["once", "always"],
        "leastFirmware": "5.4",
        "serials": [12345678],
    })
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

fn fails(ran: &Ran, parts: &[&str]) {
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout, "");
    for part in parts {
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
    }
}

/// Replaces the one signature of an artifact in a layout by what `change` makes of its envelope.
fn resign(layout: &Path, tag: &str, change: impl Fn(&mut Value)) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        let layout = Layout::open(layout).unwrap();
        let tag = TagOrDigest::Tag(tag.to_owned());
        let artifact = layout.resolve(&tag).await.unwrap();
        let listed = layout.list_signatures(&artifact, 10).await.unwrap();
        let [old] = listed.signatures.as_slice() else {
            panic!("{:?}", listed.signatures);
        };
        let fetched = layout.fetch_signature(old).await.unwrap();
        let mut envelope = serde_json::from_slice(&fetched.envelope).unwrap();
        change(&mut envelope);
        let bytes = envelope.to_string().into_bytes();
        layout
            .delete_signature(&artifact, &old.digest)
            .await
            .unwrap();
        let pushed = layout.push_signature(&artifact, fetched.format, &bytes, BTreeMap::new());
        pushed.await.unwrap();
    });
}

/// Both formats, both generations of firmware: evidence gotten once for a batch and with one PIN, proven
/// by the policy's root, shown as JSON; and the reference verifies the same signatures.
#[test]
fn sec_30_from_the_card_to_the_verifier() {
    for (version, spec, format) in [
        ([5, 7, 1], KeySpec::Ec256, "jws"),
        ([5, 4, 3], KeySpec::Rsa2048, "cose"),
    ] {
        let maker = Maker::new();
        let yubikeys = YubiKeys::with(attesting(&maker, version, spec));
        let scene = Scene::with(&Registry::ggcr(), bench(&yubikeys, &maker));
        scene.policy_for("tests");
        let references: Vec<_> = ["a:v1", "b:v1", "c:v1"]
            .map(|name| scene.push(name, name))
            .into();
        let id = yubikeys.id("slot=9c");
        let flags = [
            "sign",
            "--attest",
            "--attest-root",
            "maker.der",
            "--plugin",
            "yubikey",
            "--id",
            &id,
            "--signature-format",
            format,
        ];
        let all = references.iter().map(String::as_str);
        let signed = scene.ok(Tool::Hardsign, flags.into_iter().chain(all));
        assert_eq!(
            signed.stderr,
            "Warning: each signature will publish the serial number of the device that made the key, 12345678\n"
        );
        let seen = yubikeys.readers.with(READER, |card| card.counters);
        assert_eq!((seen.attested, seen.verify, seen.signatures), (1, 1, 3));
        for reference in &references {
            scene.both_verify(reference);
        }
        demand(&scene.bench, &rule());
        for reference in &references {
            scene.both_verify(reference);
        }
        let reference = &references[0];
        let verify = [
            "verify",
            "--require-hardware",
            "--output",
            "json",
            reference,
        ];
        let verified = &document(&scene.ok(Tool::Hardsign, verify))["verified"][0];
        let hardware = &verified["signatures"][0]["hardware"];
        assert_eq!(hardware["serialNumber"], 12345678);
        assert_eq!(hardware["pinPolicy"], "once");
        assert_eq!(
            hardware["root"],
            "CN=Maker Root,O=Hardsign Tests,ST=WA,C=US"
        );
        let leaks = spec == KeySpec::Ec256 && version < [5, 7, 0];
        assert_eq!(hardware["warnings"].as_array().unwrap().is_empty(), !leaks);
        let roots = json!([{
            "name": "file:../maker.der",
            "subjects": ["CN=Maker Root,O=Hardsign Tests,ST=WA,C=US"],
        }]);
        let in_force = json!({
            "roots": roots,
            "pinPolicy": ["once", "always"],
            "touchPolicy": null,
            "leastFirmware": "5.4.0",
            "serials": [12345678],
        });
        assert_eq!(verified["hardwareRule"], in_force);
        let explain = ["policy", "explain", "--output", "json", reference];
        let explained = document(&scene.ok(Tool::Hardsign, explain));
        assert_eq!(explained["hardware"], in_force);
        let explained = scene.ok(Tool::Hardsign, ["policy", "explain", reference]);
        let lines = "Hardware: the key of each signature lives in a device
  of the maker of ../maker.der
    CN=Maker Root,O=Hardsign Tests,ST=WA,C=US
  PIN policy once or always
  firmware 5.4.0 or later
  serial number 12345678
";
        assert!(explained.stdout.ends_with(lines), "{}", explained.stdout);
        let inspect = ["inspect", "--output", "json", reference];
        let shown = document(&scene.ok(Tool::Hardsign, inspect));
        let claimed = &shown["signatures"][0]["unsignedAttributes"]["attestation"];
        assert_eq!(claimed["aboutSigningKey"], true);
        assert_eq!(claimed["serialNumber"], 12345678);
        assert_eq!(claimed["certificates"].as_array().unwrap().len(), 2);
        scene.ok(Tool::Notation, ["inspect", reference]);
        // Each of the rule's members by itself refuses the same signature.
        for (member, value, why) in [
            (
                "roots",
                json!(["yubico"]),
                "does not lead to a root of the maker",
            ),
            (
                "pinPolicy",
                json!(["always"]),
                "the PIN policy of the key is once",
            ),
            (
                "touchPolicy",
                json!(["cached"]),
                "the touch policy of the key is never",
            ),
            (
                "leastFirmware",
                json!("5.7.2"),
                "the rule on hardware demands at least 5.7.2",
            ),
            ("serials", json!([1]), "the serial number 12345678"),
        ] {
            let mut rule = rule();
            rule[member] = value;
            demand(&scene.bench, &rule);
            fails(&scene.run(Tool::Hardsign, ["verify", reference]), &[why]);
            scene.ok(Tool::Notation, ["verify", reference]);
        }
    }
}

/// A copy keeps the evidence. Stripped or another key's, it fails here and passes at the reference, which
/// doesn't look at it.
#[test]
fn copied_stripped_and_swapped() {
    let maker = Maker::new();
    let yubikeys = YubiKeys::with(attesting(&maker, [5, 7, 1], KeySpec::Ec256));
    let scene = Scene::with(&Registry::ggcr(), bench(&yubikeys, &maker));
    scene.policy_for("tests");
    demand(&scene.bench, &rule());
    let layout = &scene.bench.layout;
    let digest = layout.add("v1", "artifact");
    let id = yubikeys.id("slot=9c");
    let reference = scene.bench.reference(&digest);
    let flags = [
        "sign",
        "--attest",
        "--attest-root",
        "maker.der",
        "--plugin",
        "yubikey",
    ];
    let more = ["--id", &id, "--oci-layout", &reference];
    scene.ok(Tool::Hardsign, flags.iter().chain(&more));
    let from = format!("{}:v1", layout.path().display());
    let copied = |name: &str| {
        let to = scene.registry.reference(&format!("{name}:v1"));
        scene.ok(Tool::Hardsign, ["copy", "--from-oci-layout", &from, &to]);
        scene.registry.reference(&format!("{name}@{digest}"))
    };
    scene.both_verify(&copied("kept"));
    // Another key's evidence, by the same maker.
    let other: Vec<_> = maker
        .evidence(&Key::P521)
        .iter()
        .map(|der| base64(der))
        .collect();
    resign(layout.path(), "v1", |envelope| {
        envelope["header"][HEADER]["certificates"] = json!(other);
    });
    let swapped = copied("swapped");
    let parts = [
        "nothing proves that the key of the signature lives in hardware",
        "the evidence is about another key",
    ];
    fails(&scene.run(Tool::Hardsign, ["verify", &swapped]), &parts);
    scene.ok(Tool::Notation, ["verify", &swapped]);
    resign(layout.path(), "v1", |envelope| {
        envelope["header"][HEADER] = json!({"version": 2});
    });
    let unknown = copied("unknown");
    let parts = ["can't be read: it has another version than 1"];
    fails(&scene.run(Tool::Hardsign, ["verify", &unknown]), &parts);
    let shown = document(&scene.ok(Tool::Hardsign, ["inspect", "-o", "json", &unknown]));
    assert_eq!(
        shown["signatures"][0]["unsignedAttributes"]["attestation"],
        json!({"error": "failed to read hardware attestation: it has another version than 1"})
    );
    scene.ok(Tool::Notation, ["verify", &unknown]);
    resign(layout.path(), "v1", |envelope| {
        let header = envelope["header"].as_object_mut().unwrap();
        assert!(header.remove(HEADER).is_some());
    });
    let stripped = copied("stripped");
    let parts = ["carries no evidence", "Hint: ", "sign --attest"];
    fails(&scene.run(Tool::Hardsign, ["verify", &stripped]), &parts);
    scene.ok(Tool::Notation, ["verify", &stripped]);
    // Without the rule both accept it, and for one run it can be demanded.
    fs::remove_file(scene.bench.config().join("policy.hardsign.json")).unwrap();
    scene.both_verify(&stripped);
    let demanded = ["verify", "--require-hardware", &stripped];
    fails(
        &scene.run(Tool::Hardsign, demanded),
        &["carries no evidence"],
    );
}

fn base64(der: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(der)
}

/// Files, in both formats: the same flags, rule and verdicts; the reference's library accepts the signature files.
#[test]
fn of_files() {
    let maker = Maker::new();
    let yubikeys = YubiKeys::with(attesting(&maker, [5, 7, 1], KeySpec::Ec256));
    let bench = bench(&yubikeys, &maker);
    let statement = json!({
        "name": "all", "globalPolicy": true,
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:tests"], "trustedIdentities": ["*"],
    });
    let mut policy = json!({"version": "1.0", "trustPolicies": [statement]});
    let write = |name: &str, policy: &Value| {
        fs::write(bench.config().join(name), policy.to_string()).unwrap()
    };
    write("trustpolicy.blob.json", &policy);
    policy["trustPolicies"][0]
        .as_object_mut()
        .unwrap()
        .remove("globalPolicy");
    policy["trustPolicies"][0]["registryScopes"] = json!(["*"]);
    write("trustpolicy.oci.json", &policy);
    demand(&bench, &rule());
    fs::write(bench.path().join("file"), "content").unwrap();
    let id = yubikeys.id("slot=9c");
    let flags = [
        "blob", "sign", "--force", "--plugin", "yubikey", "--id", &id,
    ];
    let attest = ["--attest", "--attest-root", "maker.der"];
    for format in ["jws", "cose"] {
        let name = format!("file.{format}.sig");
        let verify = ["blob", "verify", "-s", &name, "file"];
        let format = ["--signature-format", format, "file"];
        bench.hardsign_ok(flags.iter().chain(&format));
        fails(&bench.hardsign(verify), &["carries no evidence"]);
        bench.hardsign_ok(flags.iter().chain(&attest).chain(&format));
        bench.hardsign_ok(verify);
        bench.hardsign_ok(verify.iter().chain(&["--require-hardware"]));
        let verdicts = peers::program("verdicts");
        let output = run(Command::new(verdicts).arg(bench.path().join(&name)));
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(verdict["good"], true);
        let shown = bench.hardsign_ok(["blob", "inspect", &name]).stdout;
        let lines = "hardware attestation
        ├── about the signing key: yes
        ├── serial number: 12345678
        ├── firmware: 5.7.1
        ├── form factor: USB-A keychain
        ├── slot: 9c
        ├── PIN policy: once
        ├── touch policy: never
        └── certificates
";
        let plain: String = shown.replace('│', " ").replace("   ", "");
        for line in lines.lines().map(str::trim) {
            let line = line.replace("   ", "");
            assert!(plain.contains(&line), "no {line:?} in {shown}");
        }
    }
}

/// What proves nothing is refused before anybody is asked for a PIN, and nothing is stored: a key of
/// another maker's device, one that was imported, one with ROCA, one of a key store without proof.
#[test]
fn what_is_not_carried() {
    let maker = Maker::new();
    let refused = |yubikeys: &YubiKeys, more: &[&str], parts: &[&str]| {
        let bench = bench(yubikeys, &maker);
        let reference = bench.reference(&bench.layout.add("v1", "artifact"));
        let before = bench.layout.snapshot();
        let id = yubikeys.id("slot=9c");
        let flags = ["sign", "--attest", "--plugin", "yubikey", "--id", &id];
        let references = ["--oci-layout", &reference];
        let ran = bench.hardsign(flags.iter().chain(more).chain(&references));
        assert!(matches!(ran.code, Some(1 | 3)), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
        for part in parts {
            assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
        }
        assert_eq!(bench.layout.snapshot(), before);
        let verified = yubikeys.readers.with(READER, |card| card.counters.verify);
        assert_eq!(verified, 0, "no PIN is tried");
    };
    let by_maker = ["--attest-root", "maker.der"];
    let yubikeys = YubiKeys::with(attesting(&maker, [5, 7, 1], KeySpec::Ec256));
    let parts = [
        "does not lead to a root of the maker",
        "--attest-root maker.pem",
    ];
    refused(&yubikeys, &[], &parts);
    // A maker of the same name.
    let foreign = Builder::ca("Maker Root", &Key::P384).self_signed(&Key::P384);
    let bench = bench(&yubikeys, &maker);
    let file = bench.path().join("foreign.der");
    fs::write(&file, &foreign.der).unwrap();
    let foreign = ["--attest-root", file.to_str().unwrap()];
    refused(&yubikeys, &foreign, &parts[..1]);
    refused(
        &yubikeys,
        &["--attest-root", "nowhere.pem"],
        &["nowhere.pem"],
    );
    yubikeys.readers.with(READER, |card| {
        let imported = Private::generate(algorithms::P256).unwrap();
        card.put_key(0x9c, imported, PIN_ONCE, TOUCH_CACHED, false);
    });
    let parts = ["not those that were imported"];
    refused(&yubikeys, &by_maker, &parts);
    let weak = YubiKeys::with(attesting(&maker, [4, 3, 4], KeySpec::Rsa2048));
    let parts = ["ROCA", "stop using the key"];
    refused(&weak, &by_maker, &parts);

    // A PKCS#11 module has its word, and a file not even that.
    let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "signing", "01");
    let bench = Workbench::with_token(&token);
    bench.hardsign_ok(["cert", "generate-test", "signer"]);
    let reference = bench.reference(&bench.layout.add("v1", "artifact"));
    let before = bench.layout.snapshot();
    let uri = token.uri("signing");
    for key in [
        vec!["--plugin", "pkcs11", "--id", &uri],
        vec!["--key", "signer"],
    ] {
        let flags = ["sign", "--attest", "--oci-layout", &reference];
        let ran = bench.hardsign(flags.iter().chain(&key));
        fails(&ran, &["\nHint: YubiKeys prove it"]);
        assert!(
            ran.stderr.contains("gives no evidence")
                || ran.stderr.contains("only the word of its key store"),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(bench.layout.snapshot(), before);
}
