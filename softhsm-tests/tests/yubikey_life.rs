//! A YubiKey from the box to a signature, with `hardsign` alone: set up, keys made, requested, certified,
//! imported and renewed on a virtual card. openssl, the real `notation` and Yubico's `ykman` are the judges.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::process::Command;

use serde_json::{Value, json};
use softhsm_tests::pages;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::workbench::{Ran, Workbench};
#[cfg(target_os = "linux")]
use softhsm_tests::yubikey::Daemon;
use softhsm_tests::yubikey::{PIN, PUK, READER, YubiKeys, card, ms};
use softhsm_tests::{peers, run};
use virtual_yubikey::{Config, Counters, Touch, VirtualYubiKey};

const SUBJECT: &str = "C=US,ST=WA,O=Example,CN=release";

/// A card as it comes out of the box.
fn boxed(version: [u8; 3]) -> VirtualYubiKey {
    VirtualYubiKey::new(Config {
        version,
        ..Config::default()
    })
}

/// A machine with one card.
struct Desk {
    yubikeys: YubiKeys,
    bench: Workbench,
}

impl Desk {
    fn new(card: VirtualYubiKey) -> Self {
        let yubikeys = YubiKeys::with(card);
        yubikeys.write_pin("puk", PUK);
        let bench = yubikeys.bench();
        Self { yubikeys, bench }
    }

    fn ok(&self, arguments: &[&str]) -> Ran {
        self.bench.hardsign_ok(arguments)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.ok(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Fails with a hint; what it says.
    fn fails(&self, arguments: &[&str]) -> String {
        let ran = self.bench.hardsign(arguments);
        assert!(matches!(ran.code, Some(1 | 3)), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("\nHint: "), "{}", ran.stderr);
        assert!(!ran.stderr.contains(PIN), "{}", ran.stderr);
        ran.stderr
    }

    /// `token setup` with PIN and PUK in files.
    fn set_up(&self, more: &[&str]) -> Ran {
        let id = self.yubikeys.id("serial=12345678");
        let puk = id
            .rsplit_once('/')
            .map(|(directory, _)| directory.to_owned())
            .unwrap();
        let directory = puk.split("file:").nth(1).unwrap().to_owned();
        let puk = format!("puk-source=file:{directory}/puk");
        let fixed = ["token", "setup", "--id", &id, "--plugin-config", &puk];
        self.bench.hardsign([&fixed[..], more].concat())
    }

    fn create(&self, name: &str, slot: &str, key_type: &str, more: &[&str]) -> Value {
        let id = self.yubikeys.id(&format!("slot={slot}"));
        let fixed = [
            "key", "create", name, "--plugin", "yubikey", "--id", &id, "--type", key_type,
        ];
        self.json(&[&fixed[..], more].concat())
    }

    fn certify(&self, name: &str, more: &[&str]) -> Value {
        let fixed = ["key", "certify", name, "--subject", SUBJECT, "--days", "30"];
        self.json(&[&fixed[..], more].concat())
    }

    fn counters(&self) -> Counters {
        self.yubikeys.readers.with(READER, |card| card.counters)
    }

    fn openssl(&self, arguments: &str) -> String {
        let mut openssl = Command::new("openssl");
        let output = run(openssl
            .current_dir(self.bench.path())
            .args(arguments.split(' ')));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Yubico's own tool.
    fn ykman(&self, arguments: &[&str]) -> String {
        let ykman = peers::program("ykman");
        let mut command = self.bench.command(&ykman, arguments);
        let output = run(&mut command);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn trusting(&self, store: &str) {
        self.bench.policy(&json!({
            "name": "tests",
            "registryScopes": ["local/test"],
            "signatureVerification": {"level": "strict"},
            "trustStores": [format!("ca:{store}")],
            "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Example, CN=release"],
        }));
    }

    fn sign(&self, name: &str, artifact: &str) {
        let reference = self
            .bench
            .reference(&self.bench.layout.add(artifact, artifact));
        self.ok(&["sign", "--oci-layout", &reference, "--key", name]);
        let verify = [
            "verify",
            "--oci-layout",
            "--scope",
            "local/test",
            &reference,
        ];
        self.ok(&verify);
    }
}

/// What the card answers to one command after the PIV application was selected: its status word.
fn status_of(desk: &Desk, command: &[u8]) -> Vec<u8> {
    desk.yubikeys.readers.with(READER, |card| {
        card.transmit(&[0x00, 0xa4, 0x04, 0x00, 0x05, 0xa0, 0x00, 0x00, 0x03, 0x08]);
        card.transmit(command)
    })
}

/// At a terminal the new PIN is typed twice and the PUK is shown once, and neither goes anywhere else, the
/// log of `-d` included; two PINs that differ change nothing.
#[cfg(target_os = "linux")]
#[test]
fn set_up_at_a_terminal() {
    use hardsign_test_support::terminal::Terminal;

    // No digits, of which there are enough in the times of a log.
    const TYPED: &str = "qzWxPv";
    const OTHER: &str = "qzWxPw";
    let desk = Desk::new(boxed([5, 7, 1]));
    let hardsign = softhsm_tests::binaries().join("hardsign");
    let id = "yubikey:serial=12345678";
    let arguments = ["token", "setup", "-d", "--id", id];
    let type_pins = |terminal: &Terminal, again: &str| {
        terminal.wait_for("the question", |shown| {
            shown.contains("letters or digits: ")
        });
        terminal.types(&format!("{TYPED}\n"));
        terminal.wait_for("it again", |shown| shown.contains("or digits, again: "));
        terminal.types(&format!("{again}\n"));
    };

    let terminal = Terminal::new(200);
    let mut child = terminal.run(&desk.bench.command(&hardsign, arguments));
    type_pins(&terminal, OTHER);
    let status = child.wait().unwrap();
    let shown = terminal.all();
    assert_ne!(status.code(), Some(0), "{shown}");
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert!(!shown.contains(TYPED) && !shown.contains(OTHER), "{shown}");
    let factory = b"\x00\x20\x00\x80\x08123456\xff\xff";
    assert_eq!(status_of(&desk, factory), [0x90, 0x00]);

    let terminal = Terminal::new(200);
    let mut child = terminal.run(&desk.bench.command(&hardsign, arguments));
    type_pins(&terminal, TYPED);
    let shown = terminal.wait_for("the PUK", |shown| {
        shown.contains("Press Enter when you have it: ")
    });
    let puk = shown.split("not shown again): ").nth(1).unwrap();
    let puk: String = puk.chars().take_while(char::is_ascii_digit).collect();
    assert_eq!(puk.len(), 8, "{shown}");
    terminal.types("\n");
    let status = child.wait().unwrap();
    let shown = terminal.all();
    assert_eq!(status.code(), Some(0), "{shown}");
    assert_eq!(shown.matches(&puk).count(), 1, "{shown}");
    assert!(!shown.contains(TYPED), "{shown}");

    // The page shows the same, without the log.
    let heading = "From a new YubiKey to a signed image";
    let block = pages::block("docs/yubikey.md", heading, 0);
    let [step] = <[_; 1]>::try_from(pages::steps(&block)).unwrap();
    assert_eq!(step.command, "hardsign token setup");
    for line in step.prints {
        let line = line.replace("30719264", &puk);
        assert!(shown.contains(&line), "{line}: {shown}");
    }

    // The card has taken both: the PUK unblocks it, and the PIN was the one typed.
    let pin = [b"\x00\x20\x00\x80\x08", TYPED.as_bytes(), b"\xff\xff"].concat();
    assert_eq!(status_of(&desk, &pin), [0x90, 0x00]);
    let unblock = [b"\x00\x2c\x00\x80\x10", puk.as_bytes(), b"999888\xff\xff"].concat();
    assert_eq!(status_of(&desk, &unblock), [0x90, 0x00]);
}

/// From the box to a signature that the real `notation` verifies, on both firmwares: set up, a key made,
/// requested, the request signed by a CA on the same card, imported, signed, verified under strict.
#[test]
fn from_the_box_to_a_signature() {
    for version in [[5, 7, 1], [5, 4, 3]] {
        let desk = Desk::new(boxed(version));
        // Nothing works with what everybody knows, and what to do is named.
        let id = desk.yubikeys.id("slot=9c");
        let create = [
            "key", "create", "release", "--plugin", "yubikey", "--id", &id, "--type", "EC-256",
        ];
        let said = desk.fails(&create);
        assert!(said.contains("management key it came with"), "{said}");
        assert!(said.contains("hardsign token setup"), "{said}");

        let ran = desk.set_up(&[]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let said = "Set up YubiKey 12345678: new PUK, PIN, management key";
        assert!(ran.stdout.starts_with(said), "{ran:?}");
        for secret in [PIN, PUK] {
            assert!(!format!("{ran:?}").contains(secret), "{ran:?}");
        }
        // Once more: there is nothing to be done, which is no success.
        let ran = desk.set_up(&[]);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stderr.contains("are its own already"), "{ran:?}");

        // One PIN for all that a command does with the card.
        let before = desk.counters().verify;
        let made = desk.create("release", "9c", "EC-256", &["--pin-policy", "once"]);
        assert_eq!(made["token"]["serialNumber"], "12345678");
        assert_eq!(desk.counters().verify, before + 1);
        desk.create("root", "82", "EC-384", &["--touch-policy", "never"]);
        let before = desk.counters().verify;
        let subject = "C=US,ST=WA,O=Example,CN=Example CA";
        let certify = [
            "key",
            "certify",
            "root",
            "--subject",
            subject,
            "--days",
            "100",
            "--ca",
            "--trust",
            "example",
        ];
        desk.ok(&certify);
        assert_eq!(
            desk.counters().verify,
            before + 1,
            "signed and stored with one PIN"
        );
        let request = [
            "key",
            "request",
            "release",
            "--subject",
            SUBJECT,
            "--out",
            "release.csr",
        ];
        desk.ok(&request);
        let said = desk.openssl("req -in release.csr -verify -noout");
        assert!(said.contains("verify OK"), "{said}");
        let issue = [
            "key",
            "certify",
            "--request",
            "release.csr",
            "--issuer",
            "root",
            "--days",
            "30",
            "--out",
            "release.pem",
        ];
        desk.ok(&issue);
        let imported = desk.ok(&["key", "import-cert", "release", "release.pem"]);
        let said = "release: stored 2 certificates in ";
        assert!(imported.stdout.contains(said), "{imported:?}");
        assert!(
            imported.stdout.contains("the device holds the first"),
            "{imported:?}"
        );

        let shown = desk.json(&["key", "show", "release"]);
        assert_eq!(shown["certificates"].as_array().unwrap().len(), 2);
        let said = json!({"name": "origin", "value": "made on the device"});
        assert!(
            shown["properties"].as_array().unwrap().contains(&said),
            "{shown}"
        );

        let Desk { yubikeys, bench } = desk;
        bench.install_plugin(
            "yubikey",
            &softhsm_tests::binaries().join("notation-yubikey"),
        );
        let scene = Scene::with(&Registry::ggcr(), bench);
        scene.policy_for("example");
        let reference = scene.push("app:v1", "an application");
        scene.ok(Tool::Hardsign, ["sign", "--key", "release", &reference]);
        scene.both_verify(&reference);
        drop(yubikeys);
    }
}

/// A CA whose key is on the same card as those that it certifies: one process has the card, and one PIN does for a command.
#[test]
fn a_ca_and_its_keys_on_one_card() {
    let desk = Desk::new(boxed([5, 7, 1]));
    assert_eq!(desk.set_up(&[]).code, Some(0));
    desk.create("root", "82", "EC-384", &["--touch-policy", "never"]);
    desk.create("release", "9c", "EC-256", &["--pin-policy", "once"]);
    let subject = "C=US,ST=WA,O=Example,CN=Example CA";
    desk.ok(&[
        "key",
        "certify",
        "root",
        "--subject",
        subject,
        "--days",
        "100",
        "--ca",
    ]);
    let slot = desk.yubikeys.id("slot=9a");
    let by_root = ["--days", "20", "--issuer", "root"];
    let renew = ["key", "renew", "release"];
    let new_key = ["--new-key", "--as", "next", "--id", &slot];
    let before = desk.counters().verify;
    desk.certify("release", &["--issuer", "root"]);
    desk.ok(&[&renew[..], &by_root].concat());
    desk.ok(&[&renew[..], &by_root, &new_key].concat());
    assert_eq!(desk.counters().verify, before + 3, "one PIN a command");

    let authority = desk.json(&["key", "show", "root"]);
    for name in ["release", "next"] {
        let shown = desk.json(&["key", "show", name]);
        let chain = shown["certificates"].as_array().unwrap();
        assert_eq!(chain.len(), 2, "{shown}");
        assert_eq!(chain[1], authority["certificates"][0]);
        assert_eq!(chain[0]["issuer"], chain[1]["subject"]);
    }
    // What a CA is asked is found out before the card is changed.
    let again = desk.fails(&[
        "key",
        "certify",
        "release",
        "--subject",
        SUBJECT,
        "--days",
        "9",
        "--issuer",
        "root",
    ]);
    assert!(again.contains("already has a certificate"), "{again}");
}

/// Every type that PIV has, on the device; requests in both ways of RSA verify in openssl; what PIV does
/// not have is refused with the reason.
#[test]
fn keys_of_every_type() {
    let desk = Desk::new(boxed([5, 7, 1]));
    assert_eq!(desk.set_up(&[]).code, Some(0));
    let types = [
        ("RSA-2048", "9a"),
        ("RSA-3072", "9c"),
        ("RSA-4096", "9d"),
        ("EC-256", "83"),
        ("EC-384", "95"),
    ];
    desk.trusting("tests");
    for (key_type, slot) in types {
        desk.create(key_type, slot, key_type, &["--pin-policy", "once"]);
        let paddings = match key_type.starts_with("RSA") {
            true => &["pss", "pkcs1v15"][..],
            false => &["pss"],
        };
        for padding in paddings {
            let csr = format!("{key_type}-{padding}.csr");
            let fixed = ["key", "request", key_type, "--subject", SUBJECT];
            let more = ["--rsa-padding", *padding, "--out", &csr];
            desk.ok(&[&fixed[..], &more].concat());
            let said = desk.openssl(&format!("req -in {csr} -verify -noout -text"));
            assert!(said.contains("verify OK"), "{csr}: {said}");
            let is_pss = key_type.starts_with("RSA") && *padding == "pss";
            assert_eq!(said.contains("rsassaPss"), is_pss, "{said}");
        }
        desk.certify(key_type, &["--trust", "tests"]);
        desk.sign(key_type, &key_type.to_lowercase());
    }
    let id = desk.yubikeys.id("slot=84");
    let create = |key_type| {
        [
            "key", "create", "x", "--plugin", "yubikey", "--id", &id, "--type", key_type,
        ]
    };
    let said = desk.fails(&create("EC-521"));
    assert!(said.contains("its longest curve is P-384"), "{said}");
    let ran = desk.bench.hardsign(create("Ed25519"));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("the types are RSA-2048"), "{ran:?}");
    let more = ["--pin-policy", "sometimes"];
    let ran = desk.bench.hardsign([&create("EC-256")[..], &more].concat());
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("never, once, always"), "{ran:?}");
}

/// The policies that were asked for are those of the key, and the device says so.
#[test]
fn policies_of_a_new_key() {
    let desk = Desk::new(boxed([5, 7, 1]));
    assert_eq!(desk.set_up(&[]).code, Some(0));
    for (slot, pin, touch) in [
        ("9a", "never", "never"),
        ("9c", "once", "cached"),
        ("9d", "always", "always"),
    ] {
        let policies = ["--pin-policy", pin, "--touch-policy", touch];
        desk.create(slot, slot, "EC-256", &policies);
        let shown = desk.json(&["key", "show", slot]);
        for (name, value) in [("PIN policy", pin), ("touch policy", touch)] {
            let said = json!({"name": name, "value": value});
            assert!(
                shown["properties"].as_array().unwrap().contains(&said),
                "{shown}"
            );
        }
        // The document that is signed waits for the touch like any other.
        let touched = Touch::After(ms(20));
        desk.yubikeys
            .readers
            .with(READER, |card| card.config.touch = touched);
        desk.certify(slot, &[]);
    }
}

/// A renewed certificate takes the place of the old one, and signatures made before verify; a device that
/// keeps one certificate is told so before another is put there unasked.
#[test]
fn renewed_in_its_slot() {
    let desk = Desk::new(boxed([5, 7, 1]));
    assert_eq!(desk.set_up(&[]).code, Some(0));
    desk.create("release", "9c", "EC-256", &["--pin-policy", "once"]);
    let first = desk.certify("release", &["--trust", "tests"]);
    desk.trusting("tests");
    desk.sign("release", "first");
    let certify = [
        "key",
        "certify",
        "release",
        "--subject",
        SUBJECT,
        "--days",
        "30",
    ];
    let before = desk.counters().signatures;
    let said = desk.fails(&certify);
    assert!(said.contains("already has a certificate"), "{said}");
    assert!(
        said.contains("hardsign key renew") && said.contains("--force"),
        "{said}"
    );
    assert_eq!(desk.counters().signatures, before, "nothing was made");
    let renewed = desk.ok(&[
        "key", "renew", "release", "--days", "60", "--trust", "tests",
    ]);
    assert!(
        renewed.stdout.contains("Replaced the certificate of"),
        "{renewed:?}"
    );
    assert!(
        renewed
            .stdout
            .contains("with the earlier certificate still verify"),
        "{renewed:?}"
    );
    let shown = desk.json(&["key", "show", "release"]);
    assert_ne!(
        shown["certificates"][0]["serialNumber"],
        first["serialNumber"]
    );
    desk.sign("release", "second");
    let reference = desk
        .bench
        .reference(&desk.bench.layout.add("first", "first"));
    desk.ok(&[
        "verify",
        "--oci-layout",
        "--scope",
        "local/test",
        &reference,
    ]);
    let forced = desk.json(&[&certify[..], &["--force", "--trust", "tests"]].concat());
    assert_eq!(forced["onDevice"], true);

    // A new key needs a slot; those that are free are named, and nothing is made.
    let generated = desk.counters().generated;
    let said = desk.fails(&["key", "renew", "release", "--new-key", "--days", "60"]);
    assert!(said.contains("needs a slot of its own"), "{said}");
    assert!(said.contains("yubikey:slot=9a; free are 9a, 9d"), "{said}");
    assert_eq!(desk.counters().generated, generated);
    let id = desk.yubikeys.id("slot=82");
    let renew = [
        "key",
        "renew",
        "release",
        "--new-key",
        "--id",
        &id,
        "--pin-policy",
        "once",
        "--days",
        "60",
        "--trust",
        "tests",
        "--as",
        "next",
        "--type",
        "EC-384",
    ];
    let ran = desk.ok(&renew);
    assert!(
        ran.stdout.contains("Made a new key next beside release"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("release is unchanged"), "{ran:?}");
    assert_eq!(desk.json(&["key", "show", "next"])["keySpec"], "EC-384");
    desk.sign("next", "third");
    desk.sign("release", "fourth");
}

/// What can't be set up, and a set-up that broke off: it is finished by another run.
#[test]
fn setting_up() {
    let desk = Desk::new(boxed([5, 7, 1]));
    // Nobody can be shown a PUK, and nothing was changed.
    let id = desk.yubikeys.id("serial=12345678");
    let said = desk.fails(&["token", "setup", "--id", &id]);
    assert!(said.contains("no terminal to show the new PUK"), "{said}");
    assert!(said.contains("puk-source="), "{said}");
    for (pin, fault) in [
        ("123456", "is one that YubiKeys come with"),
        ("12345", "does not have 6 to 8 bytes"),
        ("123456789", "does not have 6 to 8 bytes"),
        (PUK, "is the same as the new PIN"),
    ] {
        desk.yubikeys.write_pin("pin", pin);
        let ran = desk.set_up(&[]);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stderr.contains(fault), "{pin}: {ran:?}");
        assert!(ran.stderr.contains("nothing was changed"), "{ran:?}");
    }
    desk.yubikeys.write_pin("pin", PIN);
    // CHANGE REFERENCE DATA, PUT DATA and SET MANAGEMENT KEY break off; another run does the rest.
    for (ins, rest) in [
        (0x24, "PUK, PIN, management key"),
        (0xdb, "management key\nUnchanged: PUK, PIN"),
        (0xff, "management key\nUnchanged: PUK, PIN"),
    ] {
        desk.yubikeys.readers.insert(READER, boxed([5, 7, 1]));
        let fault = (ins, 0x6f00);
        desk.yubikeys
            .readers
            .with(READER, |card| card.faults.push_back(fault));
        let ran = desk.set_up(&[]);
        assert_eq!(ran.code, Some(3), "{ins:02x}: {ran:?}");
        assert!(ran.stderr.contains("6f00"), "{ran:?}");
        let ran = desk.set_up(&[]);
        let said = format!("Set up YubiKey 12345678: new {rest}");
        assert!(ran.stdout.starts_with(&said), "{ins:02x}: {ran:?}");
        // The management key is kept: nothing else is needed to make a key.
        let id = desk.yubikeys.id("slot=9c");
        let name = format!("after-{ins:02x}");
        desk.ok(&[
            "key", "create", &name, "--plugin", "yubikey", "--id", &id, "--type", "EC-256",
        ]);
    }
}

/// Yubico's own tool finds what we set up and made, and works with it as with its own.
#[test]
fn ykman_reads_what_we_made() {
    for version in [[5, 7, 1], [5, 4, 3]] {
        let desk = Desk::new(boxed(version));
        assert_eq!(desk.set_up(&[]).code, Some(0));
        let policies = ["--pin-policy", "once", "--touch-policy", "cached"];
        desk.create("release", "9c", "EC-384", &policies);
        desk.certify("release", &[]);
        let info = desk.ykman(&["piv", "info"]);
        assert!(info.contains("protected by PIN"), "{info}");
        assert!(info.contains("CN=release"), "{info}");
        assert!(!info.contains("WARNING"), "{info}");
        let key = desk.ykman(&["piv", "keys", "info", "9c"]);
        for part in ["ECCP384", "GENERATED", "ONCE", "CACHED"] {
            assert!(key.contains(part), "{part}: {key}");
        }
        let exported = desk.ykman(&["piv", "certificates", "export", "9c", "-"]);
        let ours = desk.ok(&["key", "export-cert", "release"]).stdout;
        assert_eq!(exported.trim(), ours.trim());
        // With the PIN alone, since the management key is kept as ykman keeps it.
        let generate = [
            "piv",
            "keys",
            "generate",
            "--pin",
            PIN,
            "--algorithm",
            "ECCP256",
            "9d",
            "-",
        ];
        let public = desk.ykman(&generate);
        assert!(public.contains("BEGIN PUBLIC KEY"), "{public}");
        let listed = desk.json(&["key", "list", "--plugin", "yubikey"]);
        assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
        // The PUK that was set unblocks it.
        desk.ykman(&[
            "piv",
            "access",
            "unblock-pin",
            "--puk",
            PUK,
            "--new-pin",
            "975310",
        ]);
    }
}

/// Firmware that can't tell what is the factory's: it is asked first, and what was changed stays.
#[test]
fn setting_up_old_firmware() {
    let desk = Desk::new(boxed([5, 2, 7]));
    let ran = desk.set_up(&[]);
    assert_eq!(
        ran.stdout.matches("can't tell whether").count(),
        1,
        "{ran:?}"
    );
    assert_eq!(desk.counters().verify, 0);
    let ran = desk.set_up(&["--yes"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout.contains("new PUK, PIN, management key"),
        "{ran:?}"
    );
    desk.create("release", "9c", "EC-256", &["--pin-policy", "once"]);
    desk.certify("release", &["--trust", "tests"]);
    desk.trusting("tests");
    desk.sign("release", "v1");

    // One whose PIN and PUK are its own already: one try of each, and the management key is done.
    let desk = Desk::new(card(Config {
        version: [5, 2, 7],
        ..Config::default()
    }));
    let ran = desk.set_up(&["--yes"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("new management key"), "{ran:?}");
    assert!(ran.stdout.contains("Unchanged: PUK, PIN"), "{ran:?}");
}

/// Without a card, and with a plugin that sets up nothing.
#[test]
fn nothing_to_set_up() {
    let yubikeys = YubiKeys::new();
    let bench = yubikeys.bench();
    let ran = bench.hardsign(["token", "setup"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("no YubiKey was found"), "{ran:?}");
    let ran = bench.hardsign(["token", "setup", "--plugin", "local"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("does not set up tokens"), "{ran:?}");
    assert!(ran.stderr.contains("softhsm2-util"), "{ran:?}");
}

/// The same way through the real `pcscd`: set up, create, request, the request signed by a CA, import,
/// sign; both tools verify under strict.
#[cfg(target_os = "linux")]
#[test]
fn through_the_real_daemon() {
    let daemon = Daemon::start(boxed([5, 7, 1]));
    let bench = daemon.bench();
    let (pin, puk) = (daemon.source("pin"), daemon.source("puk"));
    bench.hardsign_ok([
        "token",
        "setup",
        "--plugin-config",
        &pin,
        "--plugin-config",
        &puk,
    ]);
    for (name, slot, policy) in [("root", "82", "always"), ("release", "9c", "once")] {
        let id = format!("yubikey:slot={slot}");
        let create = ["key", "create", name, "--plugin", "yubikey", "--id", &id];
        let more = [
            "--type",
            "EC-256",
            "--pin-policy",
            policy,
            "--plugin-config",
            &pin,
        ];
        bench.hardsign_ok([&create[..], &more].concat());
    }
    let subject = "C=US,ST=WA,O=Example,CN=Example CA";
    for arguments in [
        &[
            "key",
            "certify",
            "root",
            "--subject",
            subject,
            "--days",
            "9",
            "--ca",
            "--trust",
            "x",
        ][..],
        &[
            "key",
            "request",
            "release",
            "--subject",
            SUBJECT,
            "--out",
            "r.csr",
        ],
        &[
            "key",
            "certify",
            "--request",
            "r.csr",
            "--issuer",
            "root",
            "--days",
            "9",
            "--out",
            "r.pem",
        ],
        &["key", "import-cert", "release", "r.pem"],
    ] {
        bench.hardsign_ok(arguments);
    }
    bench.install_plugin(
        "yubikey",
        &softhsm_tests::binaries().join("notation-yubikey"),
    );
    let scene = Scene::with(&Registry::ggcr(), bench);
    scene.policy_for("x");
    for tool in Tool::BOTH {
        let name = format!("{tool:?}").to_lowercase();
        let reference = scene.push(&name, &name);
        scene.ok(tool, ["sign", "--key", "release", &reference]);
        scene.both_verify(&reference);
    }
}
