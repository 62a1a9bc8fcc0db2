//! The key life cycle on a virtual YubiKey: making a key, storing its certificate, signing with it,
//! and the card's evidence of it.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_test_support::certificate::{BASIC_CONSTRAINTS, Builder, Issued, basic_constraints};
use hardsign_test_support::{Key, Pki, asn1};
use serde_json::{Value, json};
use softhsm_tests::workbench::{Ran, Workbench};
use softhsm_tests::yubikey::policy::{NEVER, PIN_ONCE, TOUCH_CACHED};
use softhsm_tests::yubikey::{READER, YubiKeys, card, put_key};
use virtual_yubikey::keys::Private;
use virtual_yubikey::{Config, VirtualYubiKey, keys as algorithms};

/// A management key of AES-192.
const MANAGEMENT: &str = "a1a2a3a4a5a6a7a8b1b2b3b4b5b6b7b8c1c2c3c4c5c6c7c8";

/// A card that was set up: PIN, PUK and management key are its own.
fn set_up(version: [u8; 3]) -> VirtualYubiKey {
    let mut card = card(Config {
        version,
        ..Config::default()
    });
    let alg = if version >= [5, 7, 0] { 0x0a } else { 0x03 };
    card.set_management_key(alg, &hex::decode(MANAGEMENT).unwrap());
    card
}

/// A one-shot command of the plugin.
fn plugin(bench: &Workbench, command: &str, mut request: Value) -> Ran {
    let executable = softhsm_tests::binaries().join("notation-yubikey");
    let file = bench.path().join("request");
    request["contractVersion"] = json!("1.0");
    fs::write(&file, request.to_string()).unwrap();
    let mut command = bench.command(&executable, [command]);
    command.stdin(fs::File::open(file).unwrap());
    command.env("MANAGEMENT", MANAGEMENT);
    bench.run(&mut command)
}

fn answers(bench: &Workbench, command: &str, request: Value) -> Value {
    let ran = plugin(bench, command, request);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn refuses(bench: &Workbench, command: &str, request: Value, parts: &[&str]) {
    let ran = plugin(bench, command, request);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    for part in parts {
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
    }
    assert!(ran.stderr.contains("\"hint\""), "{}", ran.stderr);
}

fn der(answer: &Value) -> Vec<u8> {
    STANDARD.decode(answer.as_str().unwrap()).unwrap()
}

/// Made, certified, imported, signed with, verified; on both firmwares, with the management key in
/// a variable and kept under the PIN.
#[test]
fn from_an_empty_slot_to_a_signature() {
    for (version, is_stored) in [([5, 7, 1], true), ([5, 4, 3], false)] {
        let mut card = set_up(version);
        if is_stored {
            card.store_management_key();
        }
        let yubikeys = YubiKeys::with(card);
        let bench = yubikeys.bench();
        let more = if is_stored {
            ""
        } else {
            ";management-key=env:MANAGEMENT"
        };
        let id = format!("{}{more}", yubikeys.id("slot=9c"));
        let request = json!({
            "keyId": id, "keySpec": "EC-384", "pinPolicy": "once", "touchPolicy": "never"
        });
        let made = answers(&bench, "create-key", request.clone());
        // Where PIN and management key come from stays in it.
        let settings = id.trim_start_matches("yubikey:slot=9c");
        assert_eq!(
            made["keyId"],
            format!("yubikey:serial=12345678;slot=9c{settings}")
        );
        assert_eq!(made["token"]["serial"], "12345678");
        let spki = der(&made["publicKey"]);
        let on_card = yubikeys.readers.with(READER, |card| card.public_key(0x9c));
        assert_eq!(on_card, Some(spki.clone()));
        // A second key would replace it.
        refuses(
            &bench,
            "create-key",
            request,
            &["holds a key (EC on P-384)", "lost"],
        );

        let pki = Pki::new();
        let leaf = Builder::leaf("release", &spki).issue(&pki.ca, &Key::of(KeySpec::Ec384));
        let other = Builder::leaf("other", Key::of(KeySpec::Ec384).spki);
        let other = other.issue(&pki.ca, &Key::of(KeySpec::Ec384));
        let import = |der: &[u8]| json!({"keyId": id, "certificateChain": [STANDARD.encode(der)]});
        refuses(
            &bench,
            "import-certificates",
            import(&other.der),
            &["does not match the key"],
        );
        let stored = answers(&bench, "import-certificates", import(&leaf.der));
        assert_eq!(stored["stored"], 1);
        // Once more is no change.
        answers(&bench, "import-certificates", import(&leaf.der));
        let renewed = Builder::leaf("renewed", &spki).issue(&pki.ca, &Key::of(KeySpec::Ec384));
        refuses(
            &bench,
            "import-certificates",
            import(&renewed.der),
            &["CN=release"],
        );
        let mut request = import(&renewed.der);
        request["overwrite"] = json!(true);
        let replaced = answers(&bench, "import-certificates", request);
        assert!(
            replaced["replaced"]
                .as_str()
                .unwrap()
                .contains("CN=release")
        );

        let above = bench.path().join("above.der");
        fs::write(&above, [pki.ca.der.clone(), pki.root.der.clone()].concat()).unwrap();
        let root = bench.path().join("root.crt");
        fs::write(&root, &pki.root.der).unwrap();
        bench.trust(&root, "strict");
        let reference = bench.reference(&bench.layout.add("v1", "artifact"));
        let chain = format!("cert-chain={}", above.display());
        let id = yubikeys.id("slot=9c");
        let flags = [
            "sign",
            "--plugin",
            "yubikey",
            "--id",
            &id,
            "--plugin-config",
            &chain,
        ];
        bench.hardsign_ok(flags.iter().chain(&["--oci-layout", &reference]));
        let verify = [
            "verify",
            "--oci-layout",
            "--scope",
            "local/test",
            &reference,
        ];
        bench.hardsign_ok(verify);
    }
}

/// A key that is replaced takes its certificate with it.
#[test]
fn overwriting() {
    let mut card = set_up([5, 7, 1]);
    put_key(&mut card, 0x9a, KeySpec::Ec256, PIN_ONCE, NEVER);
    let yubikeys = YubiKeys::with(card);
    let bench = yubikeys.bench();
    let request = json!({
        "keyId": "yubikey:slot=9a;management-key=env:MANAGEMENT",
        "keySpec": "RSA-2048",
        "overwrite": true,
    });
    let made = answers(&bench, "create-key", request);
    let replaced = made["replaced"].as_str().unwrap();
    assert!(
        replaced.contains("EC on P-256") && replaced.contains("CN=EC-256"),
        "{replaced}"
    );
    let listed = answers(&bench, "list-keys", json!({}));
    assert_eq!(listed["keys"][0]["keySpec"], "RSA-2048");
    let description = listed["keys"][0]["description"].as_str().unwrap();
    assert!(description.ends_with("no certificate"), "{description}");
}

/// What can't be made, and who may not make it.
#[test]
fn keys_that_are_not_made() {
    let yubikeys = YubiKeys::with(card(Config::default()));
    let bench = yubikeys.bench();
    let create = |spec: &str, more: &str| json!({"keyId": format!("yubikey:slot=9c{more}"), "keySpec": spec});
    let named = ";management-key=env:MANAGEMENT";
    // The management key that every card comes with.
    refuses(
        &bench,
        "create-key",
        create("EC-256", named),
        &["management key it came with"],
    );
    yubikeys.readers.insert(READER, set_up([5, 4, 3]));
    refuses(&bench, "create-key", create("EC-521", named), &["P-384"]);
    refuses(
        &bench,
        "create-key",
        create("RSA-3072", named),
        &["firmware 5.7", "5.4.3"],
    );
    refuses(
        &bench,
        "create-key",
        create("EC-256", ""),
        &["was not named", "--protect"],
    );
    let wrong = bench.path().join("wrong");
    for (key, text) in [
        ("00".repeat(24), "refused the management key"),
        ("00".repeat(16), "has 16 bytes"),
        ("0x".repeat(24), "hexadecimal"),
        (
            "010203040506070801020304050607080102030405060708".to_owned(),
            "came with",
        ),
    ] {
        fs::write(&wrong, &key).unwrap();
        let more = format!(";management-key=file:{}", wrong.display());
        let ran = plugin(&bench, "create-key", create("EC-256", &more));
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(text), "{}", ran.stderr);
        assert!(!ran.stderr.contains(&key), "{}", ran.stderr);
    }
    yubikeys.readers.insert(READER, set_up([4, 3, 4]));
    refuses(&bench, "create-key", create("RSA-2048", named), &["ROCA"]);
    let mut policy = create("EC-256", named);
    policy["pinPolicy"] = json!("sometimes");
    let ran = plugin(&bench, "create-key", policy);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("unknown PIN policy"), "{}", ran.stderr);
    assert_eq!(
        yubikeys
            .readers
            .with(READER, |card| card.counters.generated),
        0
    );
    answers(&bench, "create-key", create("EC-256", named));
}

/// The card's evidence: of a key that it made, never of one that was imported.
#[test]
fn evidence() {
    for version in [[5, 7, 1], [4, 3, 7]] {
        let mut card = set_up(version);
        put_key(&mut card, 0x9c, KeySpec::Ec256, PIN_ONCE, NEVER);
        let imported = Private::generate(algorithms::P256).unwrap();
        card.put_key(0x9d, imported, PIN_ONCE, NEVER, false);
        let yubikeys = YubiKeys::with(card);
        let bench = yubikeys.bench();
        let attested = answers(&bench, "attest-key", json!({"keyId": "9c"}));
        assert_eq!(attested["format"], "yubico-piv");
        let spki = yubikeys.readers.with(READER, |card| card.public_key(0x9c));
        assert_eq!(Some(der(&attested["publicKey"])), spki);
        assert_eq!(attested["certificates"].as_array().unwrap().len(), 2);
        refuses(
            &bench,
            "attest-key",
            json!({"keyId": "9a"}),
            &["holds no key"],
        );
        let parts = ["slot 9d", "not those that were imported"];
        refuses(&bench, "attest-key", json!({"keyId": "9d"}), &parts);
        assert_eq!(
            yubikeys.readers.with(READER, |card| card.counters.verify),
            0
        );
    }
}

/// A maker of devices, with its root in a file.
struct Maker {
    root: Issued,
    file: std::path::PathBuf,
}

impl Maker {
    fn new(bench: &Workbench) -> Self {
        let root = Builder::ca("Maker Root", &Key::P256).self_signed(&Key::P256);
        let file = bench.path().join("maker.der");
        fs::write(&file, &root.der).unwrap();
        Self { root, file }
    }

    /// Certifies a card's attestation key.
    fn certify(&self, card: &mut VirtualYubiKey) {
        let name = asn1::name(&[(asn1::attribute("CN"), "Maker PIV Attestation")]);
        let constraints = basic_constraints(true, Some(0));
        let f9 = Builder::bare(name, Key::P256_B.spki).with(BASIC_CONSTRAINTS, true, constraints);
        let f9 = f9.issue(&self.root, &Key::P256_B);
        let key = Private::from_pkcs8(algorithms::P256, Key::P256_B.pkcs8()).unwrap();
        card.set_attestation(key, &f9.der);
    }
}

/// `key attest`: proven by the maker's root and no other, of this key and no other.
#[test]
fn evidence_is_checked() {
    let mut card = set_up([5, 4, 3]);
    put_key(&mut card, 0x9c, KeySpec::Ec256, PIN_ONCE, TOUCH_CACHED);
    let yubikeys = YubiKeys::with(card);
    let bench = yubikeys.bench();
    let maker = Maker::new(&bench);
    yubikeys.readers.with(READER, |card| maker.certify(card));
    let add = [
        "key",
        "add",
        "release",
        "--plugin",
        "yubikey",
        "--id",
        "yubikey:slot=9c",
    ];
    bench.hardsign_ok(add);
    let root = maker.file.display().to_string();
    let attest = ["key", "attest", "release", "--root", &root];
    let shown = bench.hardsign_ok(attest);
    assert_eq!(
        shown.stdout,
        "release: made on the device, and can't leave it; proven by the device's maker
  serial number  12345678
  firmware       5.4.3
  form factor    USB-A keychain
  slot           9c
  PIN policy     once
  touch policy   cached
  FIPS series    no
  root           CN=Maker Root,O=Hardsign Tests,ST=WA,C=US
"
    );
    assert!(shown.stderr.contains("YSA-2024-03"), "{}", shown.stderr);
    let json = bench.hardsign_ok(attest.iter().chain(&["--output", "json"]));
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["proven"], true);
    assert_eq!(
        (&json["serialNumber"], &json["pinPolicy"]),
        (&json!(12345678), &json!("once"))
    );

    let refused = |arguments: &[&str], text: &str| {
        let ran = bench.hardsign(["key", "attest", "release"].iter().chain(arguments));
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(1), ""),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains(text), "{}", ran.stderr);
    };
    // The roots that came with hardsign are not this maker's; nor is another one's.
    refused(&[], "does not lead to a root of the maker");
    let other = bench.path().join("other.der");
    let foreign = Builder::ca("Maker Root", &Key::P384).self_signed(&Key::P384);
    fs::write(&other, &foreign.der).unwrap();
    refused(
        &["--root", other.to_str().unwrap()],
        "does not lead to a root of the maker",
    );
    // The certificate of the key, and of another one.
    let key = softhsm_tests::keys::key(KeySpec::Ec256);
    let own = key.leaf.display().to_string();
    bench.hardsign_ok(attest.iter().chain(&["--certificate", &own]));
    let certificate = other.to_str().unwrap();
    refused(
        &["--root", &root, "--certificate", certificate],
        "is not of the key release",
    );
    // A key that was imported.
    let imported = Private::generate(algorithms::P256).unwrap();
    yubikeys.readers.with(READER, |card| {
        card.put_key(0x9c, imported, PIN_ONCE, NEVER, false)
    });
    let ran = bench.hardsign(attest);
    assert_ne!(ran.code, Some(0));
    assert!(
        ran.stderr.contains("not those that were imported"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        yubikeys.readers.with(READER, |card| card.counters.verify),
        0
    );
}

/// An RSA key of firmware with ROCA is refused, though all else is right.
#[test]
fn evidence_of_a_weak_key() {
    let mut card = set_up([4, 3, 4]);
    put_key(&mut card, 0x9c, KeySpec::Rsa2048, PIN_ONCE, NEVER);
    let yubikeys = YubiKeys::with(card);
    let bench = yubikeys.bench();
    let maker = Maker::new(&bench);
    yubikeys.readers.with(READER, |card| maker.certify(card));
    bench.hardsign_ok(["key", "add", "release", "--plugin", "yubikey", "--id", "9c"]);
    let root = maker.file.display().to_string();
    let ran = bench.hardsign(["key", "attest", "release", "--root", &root]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.contains("ROCA"), "{}", ran.stderr);
    assert!(ran.stderr.contains("stop using the key"), "{}", ran.stderr);
}
