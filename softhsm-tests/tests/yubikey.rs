//! The `yubikey` plugin with a virtual YubiKey, through libpcsclite: signatures that both tools
//! verify, PIN and touch, and everything that can be wrong with a card.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hardsign_plugin::algorithm::KeySpec;
use softhsm_tests::keys;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::token;
use softhsm_tests::workbench::{Ran, Workbench};
use softhsm_tests::yubikey::policy::{NEVER, PIN_ALWAYS, PIN_ONCE, TOUCH_ALWAYS, TOUCH_CACHED};
use softhsm_tests::yubikey::{
    PIN, PUK, READER, SECOND_READER, YubiKeys, card, card_with_key, ms, put_issuers, put_key,
};
use virtual_yubikey::keys::Private;
use virtual_yubikey::{Config, Counters, Touch, keys as algorithms};

/// Signs `count` artifacts of the layout.
fn sign(bench: &Workbench, id: &str, count: usize) -> Ran {
    let references: Vec<_> = (0..count)
        .map(|i| bench.reference(&bench.layout.add(&format!("v{i}"), &i.to_string())))
        .collect();
    let mut arguments = vec!["sign", "--plugin", "yubikey", "--id", id, "--oci-layout"];
    arguments.extend(references.iter().map(String::as_str));
    bench.hardsign(arguments)
}

fn signed(ran: &Ran) -> usize {
    ran.stdout.matches("Successfully signed").count()
}

/// Signs and demands success.
fn signs(bench: &Workbench, id: &str, count: usize) -> Ran {
    let ran = sign(bench, id, count);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(signed(&ran), count);
    ran
}

/// Signs three artifacts and demands that it fails as it should, with nothing stored.
fn refused(yubikeys: &YubiKeys, id: &str, parts: &[&str]) -> Ran {
    let bench = yubikeys.bench();
    let ran = sign(&bench, id, 3);
    assert!(
        matches!(ran.code, Some(1..=3)),
        "{:?}: {}",
        ran.code,
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("\nHint: "), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
    }
    assert!(!ran.stderr.contains(PIN), "{}", ran.stderr);
    let index = bench.layout.index();
    assert_eq!(
        index["manifests"].as_array().unwrap().len(),
        3,
        "something was stored"
    );
    ran
}

fn counters(yubikeys: &YubiKeys) -> Counters {
    yubikeys.readers.with(READER, |card| card.counters)
}

/// ENV-32, ENV-35: every key type that PIV has, on both firmwares, in both formats; the real
/// `notation` verifies what hardsign signs, and signs with our plugin.
#[test]
fn env_32_both_tools_sign_and_verify() {
    let specs = [
        (0x9a, KeySpec::Ec256),
        (0x9c, KeySpec::Ec384),
        (0x9d, KeySpec::Rsa2048),
        (0x84, KeySpec::Rsa3072),
        (0x95, KeySpec::Rsa4096),
    ];
    for version in [[5, 7, 1], [5, 4, 3]] {
        let mut card = card(Config {
            version,
            ..Config::default()
        });
        put_issuers(&mut card);
        let is_known =
            |spec| version >= [5, 7, 0] || !matches!(spec, KeySpec::Rsa3072 | KeySpec::Rsa4096);
        for (slot, spec) in specs.into_iter().filter(|(_, spec)| is_known(*spec)) {
            put_key(&mut card, slot, spec, PIN_ONCE, NEVER);
        }
        let yubikeys = YubiKeys::with(card);
        let bench = yubikeys.bench();
        bench.trust_store("tests", &keys::root());
        bench.install_plugin(
            "yubikey",
            &softhsm_tests::binaries().join("notation-yubikey"),
        );
        let scene = Scene::with(&Registry::ggcr(), bench);
        scene.policy_for("tests");
        for (slot, spec) in specs.into_iter().filter(|(_, spec)| is_known(*spec)) {
            let id = yubikeys.id(&format!("serial=12345678;slot={slot:02x}"));
            for (tool, format) in [
                (Tool::Hardsign, "jws"),
                (Tool::Hardsign, "cose"),
                (Tool::Notation, "jws"),
            ] {
                let name = format!("{}-{tool:?}:{format}", spec.name()).to_lowercase();
                let reference = scene.push(&name, &name);
                let flags = ["sign", "--plugin", "yubikey", "--id", &id];
                let more = ["--signature-format", format, &reference];
                scene.ok(tool, flags.iter().chain(&more));
                scene.both_verify(&reference);
            }
        }
    }
}

/// step's way to name a slot, a file of certificates, and a chain that is nowhere.
#[test]
fn chains_from_a_file() {
    let mut card = card(Config::default());
    put_key(&mut card, 0x9c, KeySpec::Ec256, PIN_ONCE, NEVER);
    let yubikeys = YubiKeys::with(card);
    refused(
        &yubikeys,
        &yubikeys.id("slot=9c"),
        &["Hardsign Tests CA", "cert-chain"],
    );
    let chain = keys::key(KeySpec::Ec256).chain;
    let id = yubikeys.id(&format!("slot-id=9c;cert-chain={}", chain.display()));
    signs(&yubikeys.bench(), &id, 1);
    yubikeys
        .readers
        .with(READER, |card| card.put_certificate(0x9c, None));
    signs(&yubikeys.bench(), &id, 1);
    refused(
        &yubikeys,
        &yubikeys.id("slot=9c"),
        &["slot 9c of YubiKey 12345678"],
    );
    assert_eq!(
        counters(&yubikeys).verify,
        2,
        "no PIN is tried without a chain"
    );
}

/// How often the PIN reaches the card, by policy.
#[test]
fn pin_policies() {
    for (policy, verified) in [(NEVER, 0), (PIN_ONCE, 1), (PIN_ALWAYS, 6)] {
        let yubikeys = YubiKeys::with(card_with_key(KeySpec::Ec256, policy, NEVER));
        signs(&yubikeys.bench(), &yubikeys.id("slot=9c"), 5);
        let seen = counters(&yubikeys);
        assert_eq!((seen.verify, seen.signatures), (verified, 5), "{policy}");
    }
}

/// A key that wants no PIN is used without one, also on a card with the factory's.
#[test]
fn no_pin_where_none_is_wanted() {
    let yubikeys = YubiKeys::with(card_with_key(KeySpec::Ec256, NEVER, NEVER));
    yubikeys
        .readers
        .with(READER, |card| card.set_secrets("123456", "12345678"));
    signs(&yubikeys.bench(), "yubikey:slot=9c", 2);
}

/// With a wrong PIN and a hundred artifacts, one VERIFY reaches the card.
#[test]
fn a_wrong_pin_is_sent_once_for_a_hundred_artifacts() {
    for policy in [PIN_ONCE, PIN_ALWAYS] {
        let yubikeys = YubiKeys::with(card_with_key(KeySpec::Ec256, policy, NEVER));
        yubikeys.write_pin("wrong", "000000");
        let bench = yubikeys.bench();
        let ran = sign(&bench, &yubikeys.id_with_pin("slot=9c", "wrong"), 100);
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert_eq!(signed(&ran), 0);
        let error = "YubiKey 12345678 refused the PIN: 2 tries are left";
        assert!(ran.stderr.contains(error), "{}", ran.stderr);
        assert!(!ran.stderr.contains("000000"));
        let seen = counters(&yubikeys);
        assert_eq!((seen.verify, seen.signatures), (1, 0));
    }
}

/// Blocked, last try, not a PIN at all: nothing is sent to the card.
#[test]
fn pins_that_are_not_tried() {
    let yubikeys = YubiKeys::with(card_with_key(KeySpec::Ec256, PIN_ONCE, NEVER));
    let id = yubikeys.id("slot=9c");
    yubikeys.write_pin("short", "12345");
    yubikeys.write_pin("long", "123456789");
    for file in ["short", "long"] {
        let ran = sign(&yubikeys.bench(), &yubikeys.id_with_pin("slot=9c", file), 1);
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stderr.contains("a PIN has 6 to 8"), "{}", ran.stderr);
    }
    yubikeys.readers.with(READER, |card| card.set_pin_tries(1));
    refused(
        &yubikeys,
        &id,
        &["one more try", "ykman piv access change-pin"],
    );
    yubikeys.readers.with(READER, |card| card.set_pin_tries(0));
    refused(&yubikeys, &id, &["is blocked", "unblock-pin"]);
    assert_eq!(counters(&yubikeys).verify, 0);
    // Firmware without metadata tells the tries another way.
    let mut old = card(Config {
        version: [5, 2, 7],
        ..Config::default()
    });
    put_key(&mut old, 0x9c, KeySpec::Ec256, PIN_ONCE, NEVER);
    put_issuers(&mut old);
    old.set_pin_tries(1);
    yubikeys.readers.insert(READER, old);
    refused(&yubikeys, &id, &["one more try"]);
    assert_eq!(counters(&yubikeys).verify, 0);
}

/// Factory PIN and PUK are refused, and named; where the card can't tell, there is a warning.
#[test]
fn factory_pin_and_puk() {
    let yubikeys = YubiKeys::with(card_with_key(KeySpec::Ec256, PIN_ONCE, NEVER));
    let id = yubikeys.id("slot=9c");
    yubikeys
        .readers
        .with(READER, |card| card.set_secrets("123456", PUK));
    yubikeys.write_pin("pin", "123456");
    refused(
        &yubikeys,
        &id,
        &["still has the PIN it came with", "change-pin"],
    );
    yubikeys
        .readers
        .with(READER, |card| card.set_secrets(PIN, "12345678"));
    refused(
        &yubikeys,
        &id,
        &["still has the PUK it came with", "change-puk"],
    );
    assert_eq!(counters(&yubikeys).verify, 0);
    let mut old = card(Config {
        version: [4, 3, 7],
        ..Config::default()
    });
    put_key(&mut old, 0x9c, KeySpec::Ec256, PIN_ALWAYS, NEVER);
    put_issuers(&mut old);
    yubikeys.write_pin("pin", PIN);
    yubikeys.readers.insert(READER, old);
    let ran = signs(&yubikeys.bench(), &id, 2);
    assert!(
        ran.stderr.contains("can't tell whether its PIN and PUK"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        counters(&yubikeys).verify,
        3,
        "the policy is told by the attestation"
    );
}

/// A touch that is wanted each time, once in a while, and one that doesn't come.
#[test]
fn touch() {
    let signing = |policy, touch, count| {
        let yubikeys = YubiKeys::with(card_with_key(KeySpec::Ec256, PIN_ONCE, policy));
        yubikeys
            .readers
            .with(READER, |card| card.config.touch = touch);
        let ran = sign(&yubikeys.bench(), &yubikeys.id("slot=9c"), count);
        (ran.stderr.matches("Touch YubiKey 12345678").count(), ran)
    };
    let (notices, ran) = signing(TOUCH_ALWAYS, Touch::After(ms(50)), 3);
    assert_eq!((notices, ran.code), (3, Some(0)), "{}", ran.stderr);
    // The first signature waits for the touch, the others follow at once.
    let (notices, ran) = signing(TOUCH_CACHED, Touch::After(ms(900)), 3);
    assert_eq!((notices, ran.code), (1, Some(0)), "{}", ran.stderr);
    let (notices, ran) = signing(TOUCH_CACHED, Touch::Given, 3);
    assert_eq!((notices, ran.code), (0, Some(0)), "{}", ran.stderr);
    for policy in [TOUCH_ALWAYS, TOUCH_CACHED] {
        let (notices, ran) = signing(policy, Touch::Timeout(ms(900)), 1);
        assert_eq!(notices, 1, "{}", ran.stderr);
        assert_ne!(ran.code, Some(0));
        assert!(
            ran.stderr.contains("was not touched in time"),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("\nHint: touch it when it blinks"),
            "{}",
            ran.stderr
        );
    }
}

/// A batch waits once for a touch that never comes; what was signed before it stays, and a second run
/// signs the rest.
#[test]
fn a_touch_that_never_comes_is_waited_for_once() {
    for policy in [TOUCH_ALWAYS, TOUCH_CACHED] {
        let yubikeys = YubiKeys::with(card_with_key(KeySpec::Ec256, PIN_ONCE, policy));
        yubikeys
            .readers
            .with(READER, |card| card.config.touch = Touch::Timeout(ms(900)));
        let bench = yubikeys.bench();
        let ran = sign(&bench, &yubikeys.id("slot=9c"), 20);
        assert_ne!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(signed(&ran), 0);
        assert!(
            ran.stderr.contains("was not touched in time"),
            "{}",
            ran.stderr
        );
        let seen = counters(&yubikeys);
        assert_eq!((seen.untouched, seen.verify), (1, 1), "{policy}");
        yubikeys
            .readers
            .with(READER, |card| card.config.touch = Touch::Given);
        signs(&bench, &yubikeys.id("slot=9c"), 20);
    }
}

/// A machine without libpcsclite: the plugin can't be started, and what to install is said. The library
/// is taken away in a mount namespace.
#[cfg(target_os = "linux")]
#[test]
fn without_the_library() {
    use softhsm_tests::yubikey::own_mounts;

    let library = fs::canonicalize(token::library("libpcsclite.so.1")).unwrap();
    let bench = Workbench::new();
    let nothing = bench.path().join("nothing");
    fs::write(&nothing, "").unwrap();
    let reference = bench.reference(&bench.layout.add("v1", "artifact"));
    let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    let mut command = bench.command(std::path::Path::new("unshare"), own_mounts());
    command.args(["sh", "-c", script, "sh"]);
    command.arg(&nothing).arg(&library);
    command.arg(softhsm_tests::binaries().join("hardsign"));
    command.args(["sign", "--plugin", "yubikey", "--id", "9c", "--oci-layout"]);
    let ran = bench.run(command.arg(&reference));
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("libpcsclite.so.1"), "{ran:?}");
    let hint =
        "Hint: install the library for smart cards that the plugin needs: libpcsclite1 on Debian";
    assert!(ran.stderr.contains(hint), "{ran:?}");
}

/// Two cards: by serial number, or not at all.
#[test]
fn two_cards() {
    let yubikeys = YubiKeys::with(card_with_key(KeySpec::Ec256, PIN_ONCE, NEVER));
    let mut other = card(Config {
        serial: 87654321,
        ..Config::default()
    });
    put_key(&mut other, 0x9a, KeySpec::Ec384, PIN_ONCE, NEVER);
    put_issuers(&mut other);
    yubikeys.readers.insert(SECOND_READER, other);
    let both = ["YubiKey 12345678", "YubiKey 87654321"];
    let parts = [&both[..], &["more than one YubiKey", "serial="]].concat();
    refused(&yubikeys, &yubikeys.id("slot=9c"), &parts);
    signs(
        &yubikeys.bench(),
        &yubikeys.id("serial=12345678;slot=9c"),
        1,
    );
    signs(
        &yubikeys.bench(),
        &yubikeys.id("serial=87654321;slot=9a"),
        1,
    );
    let parts = [&both[..], &["YubiKey 5 was not found"]].concat();
    refused(&yubikeys, &yubikeys.id("serial=5;slot=9c"), &parts);
    let verified = yubikeys
        .readers
        .with(SECOND_READER, |card| card.counters.verify);
    assert_eq!((counters(&yubikeys).verify, verified), (1, 1));
}

#[test]
fn no_card_no_service_no_key() {
    let yubikeys = YubiKeys::new();
    refused(
        &yubikeys,
        "yubikey:slot=9c",
        &["no YubiKey was found", "plug it in"],
    );
    let mut card = card_with_key(KeySpec::Ec256, PIN_ONCE, NEVER);
    card.put_key(
        0x9e,
        Private::generate(algorithms::ED25519).unwrap(),
        NEVER,
        NEVER,
        true,
    );
    yubikeys.readers.insert(READER, card);
    let id = yubikeys.id("slot=9a");
    refused(
        &yubikeys,
        &id,
        &[
            "slot 9a of YubiKey 12345678 holds no key",
            "9c (EC on P-256)",
        ],
    );
    refused(
        &yubikeys,
        &yubikeys.id("slot=9e"),
        &["Ed25519", "the Notary Project does not have"],
    );
    refused(&yubikeys, &yubikeys.id("slot=9b"), &["no PIV slot \"9b\""]);
    let mut bench = yubikeys.bench();
    bench.set("PCSCLITE_CSOCK_NAME", bench.path().join("nobody"));
    let ran = sign(&bench, &yubikeys.id("slot=9c"), 1);
    assert_ne!(ran.code, Some(0));
    assert!(
        ran.stderr.contains("smart card service does not answer"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("pcscd"), "{}", ran.stderr);
}

#[test]
fn certificate_of_another_key() {
    let mut card = card_with_key(KeySpec::Ec256, PIN_ONCE, NEVER);
    let other = keys::key(KeySpec::Ec384);
    card.put_certificate(0x9c, Some(&fs::read(other.leaf).unwrap()));
    let yubikeys = YubiKeys::with(card);
    let parts = ["CN=EC-384", "slot 9c", "does not match the key"];
    refused(&yubikeys, &yubikeys.id("slot=9c"), &parts);
    let id = yubikeys.id(&format!("slot=9c;cert-chain={}", other.chain.display()));
    refused(&yubikeys, &id, &["CN=EC-384", "does not match the key"]);
    assert_eq!(counters(&yubikeys).verify, 0);
}

/// What was signed before the card was pulled out stays, and a second run signs the rest.
#[test]
fn a_card_that_is_pulled_out() {
    let yubikeys = YubiKeys::with(card_with_key(KeySpec::Ec256, PIN_ONCE, NEVER));
    yubikeys
        .readers
        .with(READER, |card| card.config.latency = ms(20));
    let bench = yubikeys.bench();
    bench.trust(&keys::root(), "strict");
    let id = yubikeys.id("slot=9c");
    let readers = yubikeys.readers.clone();
    let thief = std::thread::spawn(move || {
        while readers.with(READER, |card| card.counters.signatures) < 10 {
            std::thread::sleep(ms(5));
        }
        readers.remove(READER).unwrap()
    });
    let ran = sign(&bench, &id, 60);
    let card = thief.join().unwrap();
    assert_ne!(ran.code, Some(0));
    assert!(
        ran.stderr.contains("YubiKey 12345678 was pulled out"),
        "{}",
        ran.stderr
    );
    assert!((8..60).contains(&signed(&ran)), "{}", signed(&ran));
    let stored = bench.layout.index()["manifests"].as_array().unwrap().len();
    assert_eq!(stored, 60 + signed(&ran));
    assert_eq!(card.counters.verify, 1);
    yubikeys.readers.insert(READER, card);
    signs(&bench, &id, 60);
}

/// Another program that wants the card waits between our PIN and our signatures; one that has it
/// for longer is named as the reason.
#[test]
fn another_program_on_the_card() {
    let yubikeys = YubiKeys::with(card_with_key(KeySpec::Ec256, PIN_ONCE, NEVER));
    yubikeys
        .readers
        .with(READER, |card| card.config.latency = ms(20));
    let socket = yubikeys.socket();
    let readers = yubikeys.readers.clone();
    let meddler = std::thread::spawn(move || {
        while readers.with(READER, |card| card.counters.verify) == 0 {
            std::thread::sleep(ms(1));
        }
        let mut other = Client::connect(&socket, 2);
        // SELECT would take the PIN back; it is answered when the transaction has ended.
        other.transmit(&[0, 0xa4, 4, 0, 5, 0xa0, 0, 0, 3, 8, 0]);
        readers.with(READER, |card| card.counters.signatures)
    });
    signs(&yubikeys.bench(), &yubikeys.id("slot=9c"), 20);
    assert_eq!(meddler.join().unwrap(), 20);
    for share in [1, 2] {
        let mut other = Client::connect(&yubikeys.socket(), share);
        other.begin();
        let ran = refused(
            &yubikeys,
            &yubikeys.id("slot=9c"),
            &["another program is using"],
        );
        assert!(ran.stderr.contains("scdaemon"), "{}", ran.stderr);
    }
    assert_eq!(counters(&yubikeys).verify, 1);
}

/// A hundred P-256 signatures on a card that takes 70 ms for each: one PIN, one session, and from the first
/// to the last they take the card's own time, give or take a tenth. One of ten runs has to: a machine may
/// be busy with other things.
#[test]
fn a_hundred_signatures_take_the_cards_time() {
    let yubikeys = YubiKeys::with(card_with_key(KeySpec::Ec256, PIN_ONCE, NEVER));
    yubikeys
        .readers
        .with(READER, |card| card.config.latency = ms(70));
    let mut shares = Vec::new();
    while shares.len() < 10 && shares.last().is_none_or(|share| *share > 1.1) {
        let before = counters(&yubikeys);
        signs(&yubikeys.bench(), &yubikeys.id("slot=9c"), 100);
        let after = counters(&yubikeys);
        assert_eq!(after.verify, before.verify + 1);
        // One process took the card, which selected PIV once.
        assert_eq!(after.select, before.select + 1);
        let spans = yubikeys
            .readers
            .with(READER, |card| std::mem::take(&mut card.spans));
        assert_eq!(spans.len(), 100);
        let mut between: Vec<_> = spans.windows(2).map(|two| two[1].0 - two[0].1).collect();
        between.sort();
        let own: Duration = spans.iter().map(|(start, end)| *end - *start).sum();
        let whole = spans[99].1 - spans[0].0;
        println!(
            "100 signatures of 70 ms: {whole:?} from first to last, of which {own:?} were the card's; it waited {:?} (median), {:?} (longest)",
            between[49], between[98]
        );
        shares.push(whole.as_secs_f64() / own.as_secs_f64());
    }
    assert!(
        shares.last().is_some_and(|share| *share <= 1.1),
        "{shares:?}"
    );
}

/// `list` shows what is on the cards, without a PIN.
#[test]
fn keys_are_listed() {
    let mut card = card_with_key(KeySpec::Ec256, PIN_ONCE, NEVER);
    card.put_key(
        0x9e,
        Private::generate(algorithms::ED25519).unwrap(),
        NEVER,
        NEVER,
        true,
    );
    let yubikeys = YubiKeys::with(card);
    let listed = one_shot(&yubikeys, "list-keys");
    assert!(
        listed.contains("\"keyId\":\"yubikey:serial=12345678;slot=9c\""),
        "{listed}"
    );
    assert!(listed.contains("\"keySpec\":\"EC-256\""), "{listed}");
    assert!(listed.contains("can't be used, it is Ed25519"), "{listed}");
    assert_eq!(counters(&yubikeys).verify, 0);
}

/// A command of the plugin itself, without a host.
fn one_shot(yubikeys: &YubiKeys, command: &str) -> String {
    let bench = yubikeys.bench();
    let plugin = softhsm_tests::binaries().join("notation-yubikey");
    let mut command = bench.command(&plugin, [command]);
    let request = bench.path().join("request");
    fs::write(&request, r#"{"contractVersion":"1.0"}"#).unwrap();
    command.stdin(fs::File::open(request).unwrap());
    let ran = bench.run(&mut command);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout
}

/// `SCARD_E_SHARING_VIOLATION`: another program has the card for itself.
const SHARING_VIOLATION: u32 = 0x8010_000b;

/// Another program at the readers, speaking pcsc-lite's protocol as far as it must.
struct Client {
    stream: UnixStream,
    card: [u8; 4],
}

impl Client {
    /// `share`: 1 exclusive, 2 shared.
    fn connect(socket: &std::path::Path, share: u32) -> Self {
        let mut client = Self {
            stream: UnixStream::connect(socket).unwrap(),
            card: [0; 4],
        };
        let mut body = vec![0; 152];
        body[4..4 + READER.len()].copy_from_slice(READER.as_bytes());
        body[132..136].copy_from_slice(&share.to_ne_bytes());
        // The service may not have noticed yet that whoever had the card before has gone.
        let mut answer = client.request(4, &body, &[]);
        let until = Instant::now() + Duration::from_secs(5);
        while answer[148..152] == SHARING_VIOLATION.to_le_bytes() && Instant::now() < until {
            std::thread::sleep(ms(5));
            answer = client.request(4, &body, &[]);
        }
        assert_eq!(answer[148..152], [0; 4]);
        client.card.copy_from_slice(&answer[140..144]);
        client
    }

    fn begin(&mut self) {
        let body = [self.card, [0; 4]].concat();
        self.request(7, &body, &[]);
    }

    fn transmit(&mut self, apdu: &[u8]) {
        use std::io::Read as _;

        let length = u32::try_from(apdu.len()).unwrap();
        let mut body = vec![0; 32];
        body[..4].copy_from_slice(&self.card);
        body[12..16].copy_from_slice(&length.to_ne_bytes());
        body[24..28].copy_from_slice(&300_u32.to_ne_bytes());
        let answer = self.request(9, &body, apdu);
        let length = u32::from_ne_bytes(answer[24..28].try_into().unwrap());
        self.stream
            .read_exact(&mut vec![0; length as usize])
            .unwrap();
    }

    fn request(&mut self, command: u32, body: &[u8], more: &[u8]) -> Vec<u8> {
        use std::io::{Read as _, Write as _};

        let length = u32::try_from(body.len()).unwrap();
        let message = [&length.to_ne_bytes(), &command.to_ne_bytes(), body, more].concat();
        self.stream.write_all(&message).unwrap();
        let mut answer = vec![0; body.len()];
        self.stream.read_exact(&mut answer).unwrap();
        answer
    }
}

/// A failed login leaves the card to others at once.
#[test]
fn the_card_is_free_again_after_a_failure() {
    let yubikeys = YubiKeys::with(card_with_key(KeySpec::Ec256, PIN_ONCE, NEVER));
    yubikeys.write_pin("wrong", "000000");
    sign(
        &yubikeys.bench(),
        &yubikeys.id_with_pin("slot=9c", "wrong"),
        2,
    );
    let start = Instant::now();
    let mut other = Client::connect(&yubikeys.socket(), 1);
    other.begin();
    assert!(start.elapsed() < Duration::from_secs(1));
    let state = yubikeys.readers.with(READER, |card| card.pin_tries());
    assert_eq!(state, 2);
}
