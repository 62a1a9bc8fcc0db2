//! What goes by between hosts and plugins, held against the schemas of the protocol: a script stands for each
//! plugin, writes everything down and passes it on. The plugin for PKCS#11 has this in its own tests, hosts
//! with plugins that misbehave in those of the testkit.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_test_support::program;
use hardsign_test_support::schemas::{Kind, faults};
use serde_json::Value;
use softhsm_tests::cloud::{CloudKey, Made, a_ca_issues_and_renews, artifact, sign};
use softhsm_tests::fakes::azure::{FakeKeyVault, VAULT};
use softhsm_tests::fakes::google::{FakeCloudKms, name};
use softhsm_tests::ministack::Ministack;
use softhsm_tests::openbao::OpenBao;
use softhsm_tests::workbench::Workbench;
use softhsm_tests::yubikey::policy::{NEVER, PIN_ONCE};
use softhsm_tests::yubikey::{PIN, PUK, YubiKeys, card_with_key};
use softhsm_tests::{binaries, cloud, keys};
use tempfile::TempDir;
use virtual_yubikey::{Config, VirtualYubiKey};

/// A team's CA and its leaf live in the service, keys are listed and shown, and a key that is not there is refused:
/// all of it in messages that the schemas allow. Then the conformance kit.
fn of_a_service(
    bench: &Workbench,
    made: &Made<'_>,
    kinds: [&str; 2],
    place: &[&str],
    key: &CloudKey,
) {
    let tap = Wiretap::installed(bench, made.plugin);
    a_ca_issues_and_renews(bench, made, kinds[0], kinds[1]);
    let list = ["key", "list", "--plugin", made.plugin];
    let config = made
        .config
        .iter()
        .flat_map(|config| ["--plugin-config", config]);
    bench.hardsign_ok(list.into_iter().chain(place.iter().copied()).chain(config));
    let mut absent = key.clone();
    absent.id = (made.id)("absent");
    let reference = artifact(bench, "absent");
    assert_ne!(sign(bench, &absent, &[&reference]).code, Some(0));
    let seen = tap.check(Manners::Good);
    for command in [
        "get-plugin-metadata",
        "open",
        "create-key",
        "list-keys",
        "sign-digest",
    ] {
        assert!(seen.answers.contains_key(command), "{command}: {seen:?}");
    }
    assert!(seen.errors.contains_key("open"), "{seen:?}");
    kit_asks(bench, key);
}

/// The conformance kit asks in many wrong ways; what the plugin says is right all the same.
fn kit_asks(bench: &Workbench, key: &CloudKey) {
    let script = bench.path().join(format!("notation-{}", key.plugin));
    let plugin = binaries().join(format!("notation-{}", key.plugin));
    let tap = Wiretap::new(&plugin, &script);
    let mut kit = vec![
        script.display().to_string(),
        "--id".to_owned(),
        key.id.clone(),
    ];
    for setting in &key.config {
        kit.extend(["--config".to_owned(), setting.clone()]);
    }
    // How a plugin takes signals is its own matter, and the script is another process.
    bench.run(&mut bench.command(&binaries().join("hardsign-plugin-test"), &kit));
    let seen = tap.check(Manners::Rude);
    for command in [
        "get-plugin-metadata",
        "describe-key",
        "generate-signature",
        "sign-digest",
    ] {
        assert!(seen.answers.contains_key(command), "{command}: {seen:?}");
    }
    assert!(seen.errors.values().sum::<usize>() > 5, "{seen:?}");
}

#[test]
fn messages_of_awskms() {
    let server = Ministack::start();
    let bench = cloud::bench(&server.environment());
    let made = Made {
        plugin: "awskms",
        id: &|key| format!("alias/{key}"),
        config: &[],
    };
    let key = server.key(KeySpec::Ec256);
    let key = CloudKey::new("awskms", &key.id).with("cert-chain", key.chain().display());
    of_a_service(&bench, &made, ["EC-384", "RSA-2048"], &[], &key);
}

#[test]
fn messages_of_gcpkms() {
    let (fake, bench, key) = FakeCloudKms::with_release();
    let endpoint = format!("endpoint={}", fake.endpoint());
    let made = Made {
        plugin: "gcpkms",
        id: &|key| format!("gcpkms://{}", name(key)),
        config: &[&endpoint],
    };
    let ring = name("").replace("/cryptoKeys/", "");
    let ring = ["--id", &ring];
    of_a_service(&bench, &made, ["EC-384", "EC-256"], &ring, &key);
}

#[test]
fn messages_of_azurekms() {
    let (_fake, bench, key) = FakeKeyVault::with_release();
    let made = Made {
        plugin: "azurekms",
        id: &|key| format!("azurekms://{VAULT}/{key}"),
        config: &[],
    };
    let vault = ["--plugin-config", "vault=contoso"];
    of_a_service(&bench, &made, ["EC-384", "RSA-2048"], &vault, &key);
}

#[test]
fn messages_of_hashivault() {
    let server = OpenBao::start();
    let bench = cloud::bench(&server.environment());
    let made = Made {
        plugin: "hashivault",
        id: &|key| format!("hashivault://{key}"),
        config: &[],
    };
    let chain = server.key("release", "ecdsa-p256");
    let key = CloudKey::new("hashivault", "release").with("cert-chain", chain.display());
    of_a_service(&bench, &made, ["EC-384", "RSA-2048"], &[], &key);
}

/// Software keys, in files of a directory.
#[test]
fn messages_of_local() {
    let bench = cloud::bench(&[]);
    let directory = bench.path().display().to_string();
    let made = Made {
        plugin: "local",
        id: &|key| format!("{directory}/{key}.key"),
        config: &[],
    };
    let test = keys::key(KeySpec::Ec256);
    let key = CloudKey::new("local", test.key.display().to_string());
    let key = key.with("cert-chain", test.chain.display());
    let place = ["--id", &directory];
    of_a_service(&bench, &made, ["EC-384", "RSA-2048"], &place, &key);
}

/// A YubiKey as it comes out of the box is set up; no secret is in what goes by.
#[test]
fn messages_of_a_yubikey_that_is_set_up() {
    let yubikeys = YubiKeys::with(VirtualYubiKey::new(Config::default()));
    yubikeys.write_pin("puk", PUK);
    let bench = yubikeys.bench();
    let tap = Wiretap::installed(&bench, "yubikey");
    let id = yubikeys.id("serial=12345678");
    let puk = yubikeys.id_with_pin("", "puk");
    let puk = puk.rsplit_once("file:").unwrap().1;
    let puk = format!("puk-source=file:{puk}");
    let line = ["token", "setup", "--id", &id, "--plugin-config", &puk];
    bench.hardsign_ok(line);
    // Nothing is the factory's any more, and the token can't be another.
    bench.hardsign(line);
    let absent = yubikeys.id("serial=1");
    bench.hardsign(["token", "setup", "--id", &absent]);
    let seen = tap.check(Manners::Good);
    assert!(seen.answers.contains_key("set-up-token"), "{seen:?}");
    assert!(seen.errors.contains_key("set-up-token"), "{seen:?}");
    for talk in tap.talks() {
        for text in [&talk.told, &talk.said, &talk.errors] {
            assert!(!text.contains(PUK) && !text.contains(PIN), "{text}");
        }
    }
}

/// A YubiKey: a key made, certified and attested, lists, the evidence that rides with a signature, a PIN that is
/// wrong, and the kit.
#[test]
fn messages_of_yubikey() {
    let mut card = card_with_key(KeySpec::Ec256, PIN_ONCE, NEVER);
    card.set_management_key(0x0a, &[0xa7; 24]);
    card.store_management_key();
    let yubikeys = YubiKeys::with(card);
    let bench = yubikeys.bench();
    bench.trust(&keys::root(), "strict");
    let tap = Wiretap::installed(&bench, "yubikey");
    let id = |slot: &str| yubikeys.id(&format!("slot={slot}"));
    let key = CloudKey::new("yubikey", id("9c"));
    let reference = artifact(&bench, "signed");
    let signed = sign(&bench, &key, &[&reference]);
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    let made = id("9a");
    let line = "key create made --plugin yubikey --type EC-384 --pin-policy once --touch-policy never --id";
    bench.hardsign_ok(line.split(' ').chain([made.as_str()]));
    for line in [
        "key certify made --days 9 --subject C=US,ST=WA,O=Example,CN=made",
        "key attest made",
        "key show made",
        "key list --plugin yubikey",
    ] {
        bench.hardsign(line.split(' '));
    }
    yubikeys.write_pin("wrong", "000000");
    let wrong = CloudKey::new("yubikey", yubikeys.id_with_pin("slot=9c", "wrong"));
    assert_ne!(sign(&bench, &wrong, &[&reference]).code, Some(0));
    let seen = tap.check(Manners::Good);
    for command in [
        "get-plugin-metadata",
        "open",
        "create-key",
        "import-certificates",
        "attest-key",
        "list-keys",
        "sign-digest",
    ] {
        assert!(seen.answers.contains_key(command), "{command}: {seen:?}");
    }
    assert!(!seen.errors.is_empty(), "{seen:?}");
    kit_asks(&bench, &key);
}

/// A message that is not as the schemas want it is found in what was written down.
#[test]
fn a_message_that_breaks_the_schemas_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("wrong");
    program::write(&plugin, "#!/bin/sh\ncat >/dev/null; echo '{\"name\":7}'\n");
    let script = directory.path().join("script");
    let tap = Wiretap::new(&plugin, &script);
    let mut command = Command::new(&script);
    let output = command.arg("get-plugin-metadata").output().unwrap();
    assert_eq!(output.stdout, b"{\"name\":7}\n");
    let (mut seen, mut wrong) = (Seen::default(), Vec::new());
    tap.judge(Manners::Good, &mut seen, &mut wrong);
    assert!(
        wrong.iter().any(|fault| fault.contains("name")),
        "{wrong:?}"
    );
    // So is what is no message at all, on its own and in a session.
    program::write(&plugin, "#!/bin/sh\ncat >/dev/null; echo loading\n");
    for (command, told) in [
        ("describe-key", "describe-key Answer \"loading\\n\": "),
        ("session", "session line \"loading\\n\": "),
    ] {
        let tap = Wiretap::new(&plugin, &script);
        Command::new(&script).arg(command).output().unwrap();
        let (mut seen, mut wrong) = (Seen::default(), Vec::new());
        tap.judge(Manners::Good, &mut seen, &mut wrong);
        assert!(
            wrong.iter().any(|fault| fault.starts_with(told)),
            "{wrong:?}"
        );
    }
}

/// Whether a host keeps to the protocol, or tries what a plugin does with one that does not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manners {
    /// Its messages have to be right too.
    Good,
    /// Those of the plugin alone are looked at.
    Rude,
}

/// The messages of one plugin.
#[derive(Debug)]
struct Wiretap {
    log: TempDir,
}

/// What was seen: how many messages of each command, by the plugin's answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Seen {
    /// Answers, by command.
    answers: BTreeMap<String, usize>,
    /// Error answers, by command.
    errors: BTreeMap<String, usize>,
}

impl Wiretap {
    /// In the user's plugin directory, where it is found before the plugin of the box.
    fn installed(bench: &Workbench, name: &str) -> Self {
        let directory = bench.config().join("plugins").join(name);
        fs::create_dir_all(&directory).unwrap();
        let executable = format!("notation-{name}");
        Self::new(&binaries().join(&executable), &directory.join(&executable))
    }

    /// Writes the script that stands for `plugin` to `file`. It runs by `/bin/sh`.
    fn new(plugin: &Path, file: &Path) -> Self {
        let log = tempfile::tempdir().unwrap();
        let script = format!(
            "#!/bin/sh\n\
             d=$(mktemp -d '{}/XXXXXXXX') || exit 1\n\
             printf %s \"$1\" >\"$d/command\"\n\
             tee \"$d/in\" | {{ '{}' \"$@\" 2>\"$d/err\"; echo $? >\"$d/code\"; }} | tee \"$d/out\"\n\
             cat \"$d/err\" >&2\n\
             exit \"$(cat \"$d/code\")\"\n",
            log.path().display(),
            plugin.display()
        );
        program::write(file, &script);
        Self { log }
    }

    /// Holds all messages so far against the schemas.
    fn check(&self, host: Manners) -> Seen {
        let (mut seen, mut wrong) = (Seen::default(), Vec::new());
        self.judge(host, &mut seen, &mut wrong);
        assert!(wrong.is_empty(), "against the schemas: {wrong:#?}");
        seen
    }

    fn judge(&self, host: Manners, seen: &mut Seen, wrong: &mut Vec<String>) {
        for talk in self.talks() {
            talk.judge(host, seen, wrong);
        }
    }

    /// What each process said and was told.
    fn talks(&self) -> Vec<Talk> {
        let processes = fs::read_dir(self.log.path()).unwrap().flatten();
        processes
            .map(|process| Talk::read(&process.path()))
            .collect()
    }
}

/// What one process said and was told.
struct Talk {
    command: String,
    told: String,
    said: String,
    errors: String,
    /// Its exit code; none where it was killed.
    code: Option<i32>,
}

impl Talk {
    fn read(process: &Path) -> Self {
        let text = |name: &str| {
            let bytes = fs::read(process.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Self {
            command: text("command"),
            told: text("in"),
            said: text("out"),
            errors: text("err"),
            code: text("code").trim().parse().ok(),
        }
    }

    fn judge(&self, host: Manners, seen: &mut Seen, wrong: &mut Vec<String>) {
        let mut unreadable = Vec::new();
        let mut judge = |kind, command: &str, message: &Value| {
            if !(matches!(kind, Kind::Request) && host == Manners::Rude) {
                let found = faults(kind, command, message);
                wrong.extend(
                    found
                        .iter()
                        .map(|fault| format!("{command} {kind:?} {message}: {fault}")),
                );
            }
            let count = match kind {
                Kind::Answer => &mut seen.answers,
                Kind::Error => &mut seen.errors,
                Kind::Request | Kind::Line => return,
            };
            *count.entry(command.to_owned()).or_default() += 1;
        };
        if self.command != "session" {
            let answer = match self.code {
                Some(0) => Some((Kind::Answer, &self.said)),
                Some(_) => Some((Kind::Error, &self.errors)),
                None => None,
            };
            let request = Some((Kind::Request, &self.told));
            for (kind, text) in [request, answer].into_iter().flatten() {
                match serde_json::from_str(text) {
                    Ok(message) => judge(kind, &self.command, &message),
                    Err(error) if matches!(kind, Kind::Answer | Kind::Error) => {
                        unreadable.push(format!("{} {kind:?} {text:?}: {error}", self.command));
                    }
                    // An empty one asks for metadata; a rude host sends what is none.
                    Err(error) if host == Manners::Good && !text.is_empty() => {
                        unreadable.push(format!("{} request {text:?}: {error}", self.command));
                    }
                    Err(_) => {}
                }
            }
            wrong.extend(unreadable);
            return;
        }
        let mut asked = BTreeMap::new();
        for line in lines(&self.told, &mut unreadable) {
            if host == Manners::Good {
                judge(Kind::Line, "session", &line);
            }
            let (Some(id), Some(command)) = (line["id"].as_u64(), line["command"].as_str()) else {
                continue;
            };
            judge(Kind::Request, command, &line["request"]);
            asked.insert(id, command.to_owned());
        }
        for line in lines(&self.said, &mut unreadable) {
            judge(Kind::Line, "session", &line);
            let command = line["id"].as_u64().and_then(|id| asked.get(&id));
            let Some(command) = command else {
                continue;
            };
            for (kind, member) in [(Kind::Answer, "response"), (Kind::Error, "error")] {
                if let Some(inside) = line.get(member) {
                    judge(kind, command, inside);
                }
            }
        }
        wrong.extend(unreadable);
    }
}

/// The whole lines, each a JSON text; what was broken off is none. Those that can't be read are noted.
fn lines(text: &str, unreadable: &mut Vec<String>) -> Vec<Value> {
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let mut read = Vec::new();
    for line in whole {
        match serde_json::from_str(line) {
            Ok(line) => read.push(line),
            Err(error) => unreadable.push(format!("session line {line:?}: {error}")),
        }
    }
    read
}
