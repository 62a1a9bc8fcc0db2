//! What the tests of plugins for key management services share: a key as the command line names it, a
//! bench of a client of the service, and what signing with a key must lead to.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use serde_json::{Value, json};

use crate::fakes::{Fake, Fault};
use crate::peers::registry::Registry;
use crate::scene::{Scene, Tool};
use crate::workbench::{Ran, Workbench};
use crate::{binaries, keys, run};

/// A key of a service, as the command line names it.
#[derive(Clone, Debug)]
pub struct CloudKey {
    pub plugin: &'static str,
    pub id: String,
    pub config: Vec<String>,
}

impl CloudKey {
    pub fn new(plugin: &'static str, id: impl Into<String>) -> Self {
        Self {
            plugin,
            id: id.into(),
            config: Vec::new(),
        }
    }

    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.config.push(format!("{name}={value}"));
        self
    }

    /// `--plugin … --id … --plugin-config …`
    pub fn flags(&self) -> Vec<&str> {
        let mut flags = vec!["--plugin", self.plugin, "--id", &self.id];
        for setting in &self.config {
            flags.extend(["--plugin-config", setting]);
        }
        flags
    }
}

/// A bench whose environment is that of a client of the service, and which trusts the test root.
pub fn bench(environment: &[(&'static str, String)]) -> Workbench {
    let mut bench = Workbench::new();
    // No files and no metadata server of the machine that the tests run on.
    let home = bench.path().display().to_string();
    for (name, value) in [
        ("HOME", home.as_str()),
        ("NO_PROXY", "localhost"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ] {
        bench.set(name, value);
    }
    for (name, value) in environment {
        bench.set(*name, value);
    }
    bench.trust(&keys::root(), "strict");
    bench
}

pub fn sign(bench: &Workbench, key: &CloudKey, references: &[&str]) -> Ran {
    let layout = ["--oci-layout"];
    let all = ["sign"].into_iter().chain(key.flags()).chain(layout);
    bench.hardsign(all.chain(references.iter().copied()))
}

pub fn verify(bench: &Workbench, reference: &str) -> Ran {
    bench.hardsign(["verify", "--oci-layout", reference, "--scope", "local/test"])
}

/// A new artifact in the bench's layout.
pub fn artifact(bench: &Workbench, name: &str) -> String {
    let digest = bench.layout.add(name, name);
    bench.reference(&digest)
}

/// Signs an artifact of its own in both formats, and verifies it.
pub fn signs_and_verifies(bench: &Workbench, key: &CloudKey, name: &str) {
    for format in ["jws", "cose"] {
        let reference = artifact(bench, &format!("{name}-{format}"));
        let flags = ["sign", "--signature-format", format];
        let all = flags.into_iter().chain(key.flags());
        let signed = bench.hardsign(all.chain(["--oci-layout", &reference]));
        assert_eq!(signed.code, Some(0), "{key:?} {format}: {}", signed.stderr);
        let verified = verify(bench, &reference);
        assert_eq!(
            verified.code,
            Some(0),
            "{key:?} {format}: {}",
            verified.stderr
        );
    }
}

/// Signing fails with an error and a hint that have these words, and stores nothing.
pub fn refused(bench: &Workbench, key: &CloudKey, name: &str, error: &str, hint: &str) -> String {
    let reference = artifact(bench, name);
    let before = bench.layout.snapshot();
    let ran = sign(bench, key, &[&reference]);
    let text = ran.stderr;
    assert_ne!(ran.code, Some(0), "{key:?}: {}", ran.stdout);
    // Before it, only what the plugin tells while it tries again.
    let (told, end) = text.split_at(text.find("Error: ").unwrap_or(text.len()));
    let notice = |line: &str| line.ends_with("trying again");
    assert!(told.lines().all(notice), "{key:?}: {text}");
    let Some((said, hinted)) = end.split_once("Hint: ") else {
        panic!("{key:?}: no hint: {text}");
    };
    assert!(said.contains(error), "{key:?}: {text}");
    assert!(hinted.contains(hint), "{key:?}: {text}");
    assert_eq!(bench.layout.snapshot(), before, "{key:?}");
    text
}

/// The plugin meets every rule of the contract, with this key, and with one that it makes at `place`, which the
/// service has not.
pub fn conforms(bench: &Workbench, key: &CloudKey, place: &str) {
    let plugin = binaries().join(format!("notation-{}", key.plugin));
    let mut arguments = vec![
        plugin.display().to_string(),
        "--id".to_owned(),
        key.id.clone(),
        "--create".to_owned(),
        place.to_owned(),
    ];
    for setting in &key.config {
        arguments.extend(["--config".to_owned(), setting.clone()]);
    }
    let suite = binaries().join("hardsign-plugin-test");
    let output = run(&mut bench.command(&suite, &arguments));
    let report = String::from_utf8(output.stdout).unwrap();
    let all = " met, 0 broken, 0 to be considered, 0 skipped";
    assert!(report.contains(all), "{report}");
    assert!(report.contains("a key that was made signs"), "{report}");
}

/// openssl verifies the JWS signature of an artifact over the bytes that it covers: RSASSA-PSS with a salt
/// as long as the digest, or ECDSA. `public` is the key's public half, PEM.
pub fn openssl_verifies(bench: &Workbench, reference: &str, spec: KeySpec, public: &str) {
    let digest = reference.rsplit('@').next().unwrap();
    let decode = |part: &Value| URL_SAFE_NO_PAD.decode(part.as_str()?).ok();
    let envelope = bench.layout.snapshot().into_iter().find_map(|(_, bytes)| {
        let envelope: Value = serde_json::from_slice(&bytes).ok()?;
        let payload = decode(&envelope["payload"])?;
        let payload = String::from_utf8(payload).ok()?;
        payload.contains(digest).then_some(envelope)
    });
    let envelope = envelope.expect("a JWS envelope over the artifact");
    let [protected, payload] =
        ["protected", "payload"].map(|part| envelope[part].as_str().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let message = file("message", format!("{protected}.{payload}").as_bytes());
    let raw = decode(&envelope["signature"]).unwrap();
    let signature = match spec.is_rsa() {
        true => raw,
        false => ecdsa_der(&raw),
    };
    let hash = match spec.hash() {
        HashAlgorithm::Sha256 => "-sha256",
        HashAlgorithm::Sha384 => "-sha384",
        HashAlgorithm::Sha512 => "-sha512",
    };
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", hash, "-verify"]);
    openssl.arg(file("public", public.as_bytes()));
    if spec.is_rsa() {
        openssl.args("-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest".split(' '));
    }
    openssl.arg("-signature").arg(file("signature", &signature));
    run(openssl.arg(message));
}

/// r‖s as RFC 3279 §2.2.3 writes it.
fn ecdsa_der(raw: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let mut number = bytes[zeros..].to_vec();
        if number.first().is_none_or(|first| first & 0x80 != 0) {
            number.insert(0, 0);
        }
        tagged(2, number)
    };
    let (r, s) = raw.split_at(raw.len() / 2);
    tagged(0x30, [integer(r), integer(s)].concat())
}

fn tagged(tag: u8, content: Vec<u8>) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    let mut all = vec![tag];
    if length >= 0x80 {
        all.push(0x81);
    }
    all.push(length);
    all.extend(content);
    all
}

/// `hardsign` and the real `notation` sign through the plugin, and each verifies what the other
/// signed.
pub fn both_tools_sign_and_verify(bench: Workbench, keys: &[(&str, &CloudKey)]) {
    let (_, first) = keys.first().unwrap();
    let plugin = binaries().join(format!("notation-{}", first.plugin));
    bench.install_plugin(first.plugin, &plugin);
    let scene = Scene::with(&Registry::ggcr(), bench);
    scene.policy_for("tests");
    for (name, key) in keys {
        for (tool, format) in [
            (Tool::Hardsign, "jws"),
            (Tool::Hardsign, "cose"),
            (Tool::Notation, "jws"),
            (Tool::Notation, "cose"),
        ] {
            let tag = format!("{name}-{tool:?}:{format}").to_lowercase();
            let reference = scene.push(&tag, &tag);
            let flags = ["sign", "--signature-format", format];
            let all = flags.into_iter().chain(key.flags());
            scene.ok(tool, all.chain([reference.as_str()]));
            scene.both_verify(&reference);
        }
    }
}

/// How many of the requests have this text in them.
pub fn count(asked: &[String], part: &str) -> usize {
    asked.iter().filter(|line| line.contains(part)).count()
}

/// New artifacts in the bench's layout.
pub fn artifacts(bench: &Workbench, name: &str, number: usize) -> Vec<String> {
    let all = 0..number;
    all.map(|n| artifact(bench, &format!("{name}-{n}")))
        .collect()
}

/// Signs all in one session; what was printed.
pub fn signs_all(bench: &Workbench, key: &CloudKey, references: &[String]) -> Ran {
    let all: Vec<&str> = references.iter().map(String::as_str).collect();
    let signed = sign(bench, key, &all);
    assert_eq!(signed.code, Some(0), "{key:?}: {}", signed.stderr);
    signed
}

/// Eight signatures are made though the service has a problem for a while, which is told once.
pub fn signs_after_a_while(bench: &Workbench, key: &CloudKey, problem: &str) {
    let references = artifacts(bench, problem, 8);
    let told = signs_all(bench, key, &references).stderr;
    assert_eq!(told.matches("trying again").count(), 1, "{problem}: {told}");
    for reference in &references {
        assert_eq!(verify(bench, reference).code, Some(0), "{problem}");
    }
}

/// Requests for signatures, whose path has `path` in it, are throttled for five seconds, cut in the middle of
/// the answer, or fail: they are asked for again.
pub fn passing_faults_pass(fake: &impl Fake, bench: &Workbench, key: &CloudKey, path: &str) {
    let (start, throttled) = (Instant::now(), Duration::from_secs(5));
    for (problem, fault) in [
        ("throttled", Fault::Throttled(throttled)),
        ("cut off", Fault::CutOff(2)),
        ("broken", Fault::Broken(2)),
    ] {
        fake.distort(path, fault);
        signs_after_a_while(bench, key, problem);
        fake.mend();
    }
    assert!(start.elapsed() > throttled);
}

/// A service that takes the request for a signature and never answers is given up before the host gives
/// the plugin up, and nothing is stored.
pub fn silence_is_told(bench: &Workbench, key: &CloudKey) {
    let start = Instant::now();
    let reference = artifact(bench, "silent");
    let before = bench.layout.snapshot();
    let ran = sign(bench, key, &[&reference]);
    assert_ne!(ran.code, Some(0));
    for part in ["did not answer", "Hint: check the network"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert_eq!(bench.layout.snapshot(), before);
    let taken = start.elapsed();
    assert!(taken < Duration::from_secs(75), "{taken:?}");
}

/// The setting `rate`: requests are sent no faster, none fails for its wait, and a host is not let have more under way
/// than have their turn in time.
pub fn a_rate_is_kept(bench: &Workbench, key: &CloudKey) {
    assert_eq!(most_in_flight(bench, key), 64 + 8);
    assert_eq!(most_in_flight(bench, &key.clone().with("rate", 1)), 3 + 3);
    let few = key.clone().with("rate", 100).with("max-in-flight", 2);
    assert_eq!(most_in_flight(bench, &few), 2 + 2);
    let start = Instant::now();
    let references = artifacts(bench, "at a rate", 9);
    signs_all(bench, &key.clone().with("rate", 2), &references);
    assert!(
        start.elapsed() >= Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    for reference in &references {
        assert_eq!(verify(bench, reference).code, Some(0));
    }
}

/// How many requests the plugin lets a host have under way.
fn most_in_flight(bench: &Workbench, key: &CloudKey) -> u64 {
    let settings = key
        .config
        .iter()
        .filter_map(|setting| setting.split_once('='));
    let config: serde_json::Map<String, Value> = settings
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let open = json!({"id": 0, "command": "open", "request": {
        "contractVersion": "1.0", "keyId": key.id, "pluginConfig": config,
    }});
    let lines = bench.path().join("session");
    std::fs::write(&lines, format!("{open}\n")).unwrap();
    let plugin = binaries().join(format!("notation-{}", key.plugin));
    let mut command = bench.command(&plugin, ["session"]);
    command.stdin(std::fs::File::open(&lines).unwrap());
    let ran = bench.run(&mut command);
    let answer: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    let most = answer["response"]["maxInFlight"].as_u64();
    most.unwrap_or_else(|| panic!("{answer}"))
}

/// Answers that are wrong are not used: each of these faults is told with an error and a hint.
pub fn wrong_answers_are_not_used(
    fake: &impl Fake,
    bench: &Workbench,
    keys: &[&CloudKey],
    faults: &[(&str, Fault, &str, &str)],
) {
    for (path, fault, error, hint) in faults {
        for key in keys {
            fake.distort(path, *fault);
            let name = format!("{path} {fault:?} {}", key.id);
            refused(bench, key, &name, error, hint);
            fake.mend();
        }
    }
}

/// SEC-01: none of these secrets is in any output of a signature at `-d`, nor in the arguments of a
/// process that runs meanwhile. Requests have to take a while.
pub fn no_credential_is_told(
    fake: &impl Fake,
    bench: &Workbench,
    key: &CloudKey,
    secrets: &[&str],
) {
    let reference = artifact(bench, "debug");
    fake.asked();
    let flags = ["sign", "-d", "--oci-layout"];
    let all = flags.into_iter().chain(key.flags());
    let mut command = bench.command(
        &binaries().join("hardsign"),
        all.chain([reference.as_str()]),
    );
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut asked, mut arguments) = (Vec::new(), Vec::new());
    while child.try_wait().unwrap().is_none() {
        asked.extend(fake.asked());
        arguments.extend(bench.processes());
        sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    asked.extend(fake.asked());
    assert!(output.status.success(), "{output:?}");
    assert!(!asked.is_empty());
    let arguments = arguments.join("\n");
    let plugin = format!("notation-{}", key.plugin);
    assert!(arguments.contains(&plugin), "{arguments}");
    let texts = [output.stdout, output.stderr, arguments.into_bytes()];
    for text in texts.map(|text| String::from_utf8_lossy(&text).into_owned()) {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

/// SEC-01: while the service keeps a signature waiting, none of these secrets is in the memory of `hardsign`, but for
/// the environment that it was started with, nor in the arguments of a process. `waits` says whether the service has
/// been asked for that signature.
#[cfg(target_os = "linux")]
pub fn no_credential_is_in_core(
    bench: &Workbench,
    key: &CloudKey,
    secrets: &[&str],
    waits: impl Fn() -> bool,
) {
    use crate::process::{holds, initial_environment, memory};
    let reference = artifact(bench, "kept waiting");
    let all = ["sign"].into_iter().chain(key.flags());
    let all = all.chain(["--oci-layout", reference.as_str()]);
    let mut command = bench.command(&binaries().join("hardsign"), all);
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = quiet.spawn().unwrap();
    while !waits() {
        assert!(child.try_wait().unwrap().is_none(), "{key:?}: it ended");
        sleep(Duration::from_millis(10));
    }
    let arguments = bench.processes().join("\n");
    let initial = initial_environment(child.id());
    let (whole, rest) = (memory(child.id(), &(0..0)), memory(child.id(), &initial));
    child.kill().unwrap();
    child.wait().unwrap();
    // It is the memory of this run, and only the environment is left out.
    assert!(holds(&whole, b"NO_PROXY=localhost"));
    assert!(holds(&rest, key.id.as_bytes()));
    let plugin = format!("notation-{}", key.plugin);
    assert!(arguments.contains(&plugin), "{arguments}");
    for secret in secrets {
        // Freed memory is overwritten at its beginning alone.
        let end = &secret[secret.len().saturating_sub(16)..];
        assert!(!holds(&rest, end.as_bytes()), "{secret} is in memory");
        assert!(!arguments.contains(secret), "{secret}: {arguments}");
    }
}

/// A key is renewed with a new one beside it, by a name that the plugin finds and by one that is given. The signatures
/// of all are verified; a name that is taken is refused with what can be done here.
pub fn a_key_is_renewed(bench: &Workbench, made: &Made<'_>) {
    for name in ["ca", "leaf"] {
        let made = made.create(bench, name, "EC-384", &[]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
    }
    let line = "key certify ca --ca --subject C=US,O=Example,CN=CA --days 30 --trust ours";
    bench.hardsign_ok(line.split(' '));
    let line = "key certify leaf --days 10 --issuer ca --subject C=US,ST=WA,O=Example,CN=leaf";
    bench.hardsign_ok(line.split(' '));
    bench.policy(&json!({
        "name": "tests",
        "registryScopes": ["local/test"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:ours"],
        "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Example, CN=leaf"],
    }));
    let renew = |name: &str, more: &[&str]| {
        let fixed = ["key", "renew", name, "--new-key", "--days", "20"];
        let rest = ["--issuer", "ca", "--yes"];
        let all = fixed.into_iter().chain(rest);
        bench.hardsign(all.chain(more.iter().copied()))
    };
    let own = (made.id)("own");
    for (name, more) in [
        ("leaf", &[][..]),
        ("leaf-2", &[]),
        ("leaf", &["--id", &own, "--as", "own"]),
    ] {
        let renewed = renew(name, more);
        assert_eq!(renewed.code, Some(0), "{name} {more:?}: {}", renewed.stderr);
    }
    for name in ["leaf", "leaf-2", "leaf-3", "own"] {
        let reference = artifact(bench, name);
        bench.hardsign_ok(["sign", "--key", name, "--oci-layout", &reference]);
        let verified = verify(bench, &reference);
        assert_eq!(verified.code, Some(0), "{name}: {}", verified.stderr);
    }
    let listed = std::fs::read(bench.config().join("signingkeys.json")).unwrap();
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    let listed = listed["keys"].as_array().unwrap();
    let ids: std::collections::BTreeSet<&str> = listed
        .iter()
        .filter(|key| key["name"] != "ca")
        .map(|key| key["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
    let taken = renew("leaf", &["--id", &own]);
    assert_ne!(taken.code, Some(0), "{}", taken.stdout);
    let (_, hint) = taken.stderr.split_once("Hint: ").unwrap();
    assert!(hint.contains("choose another"), "{hint}");
}

/// The command line of a key that is made in a service.
pub struct Made<'a> {
    pub plugin: &'a str,
    /// The key id for a name.
    pub id: &'a dyn Fn(&str) -> String,
    pub config: &'a [&'a str],
}

impl Made<'_> {
    /// Makes a key, after `--yes`.
    pub fn create(&self, bench: &Workbench, name: &str, kind: &str, more: &[&str]) -> Ran {
        let id = (self.id)(name);
        let fixed = ["key", "create", name, "--plugin", self.plugin, "--id", &id];
        let config = self
            .config
            .iter()
            .flat_map(|config| ["--plugin-config", config]);
        let rest = ["--type", kind, "--yes"];
        let all = fixed.into_iter().chain(config).chain(rest);
        bench.hardsign(all.chain(more.iter().copied()))
    }
}

/// A team's CA lives in the service and certifies another key there, by a request and by the list; a signature
/// is verified by its root, openssl reads the chain, and a renewed certificate takes over.
pub fn a_ca_issues_and_renews(bench: &Workbench, made: &Made<'_>, ca_kind: &str, kind: &str) {
    for (name, kind) in [("ca", ca_kind), ("leaf", kind)] {
        let made = made.create(bench, name, kind, &[]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
    }
    let line = "key certify ca --ca --subject C=US,O=Example,CN=CA --days 30 --trust ours";
    bench.hardsign_ok(line.split(' '));
    let file = |name: &str| bench.path().join(name).display().to_string();
    let (request, by_request, chain) = (file("leaf.csr"), file("by-request.pem"), file("leaf.pem"));
    let subject = "C=US,ST=WA,O=Example,CN=leaf";
    let line = "key request leaf --subject";
    bench.hardsign_ok(line.split(' ').chain([subject, "--out", &request]));
    run(Command::new("openssl").args(["req", "-verify", "-noout", "-in", &request]));
    let line = "key certify --days 10 --issuer ca --request";
    bench.hardsign_ok(
        line.split(' ')
            .chain([request.as_str(), "--out", &by_request]),
    );
    let line = "key certify leaf --days 10 --issuer ca --out";
    bench.hardsign_ok(
        line.split(' ')
            .chain([chain.as_str(), "--subject", subject]),
    );
    let root = file("root.pem");
    let line = "key export-cert ca --out";
    bench.hardsign_ok(line.split(' ').chain([root.as_str()]));
    for issued in [&by_request, &chain] {
        run(Command::new("openssl").args(["verify", "-purpose", "any", "-CAfile", &root, issued]));
    }
    bench.policy(&json!({
        "name": "tests",
        "registryScopes": ["local/test"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:ours"],
        "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Example, CN=leaf"],
    }));
    let serial = || {
        let shown = bench.hardsign_ok("key show leaf -o json".split(' ')).stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown["certificates"][0]["serialNumber"].clone()
    };
    let before = serial();
    for round in ["issued", "renewed"] {
        let reference = artifact(bench, round);
        bench.hardsign_ok(["sign", "--key", "leaf", "--oci-layout", &reference]);
        let verified = verify(bench, &reference);
        assert_eq!(verified.code, Some(0), "{round}: {}", verified.stderr);
        if round == "issued" {
            bench.hardsign_ok("key renew leaf --days 20 --issuer ca".split(' '));
        }
    }
    assert_ne!(serial(), before);
    // What the CA has revoked is in its list, which its key in the service signs.
    let list = file("list.crl");
    let line = "key crl ca --days 5 --revoke";
    let revoked = before.as_str().unwrap();
    bench.hardsign_ok(line.split(' ').chain([revoked, "--out", &list]));
    let read = [
        "crl", "-inform", "DER", "-noout", "-text", "-CAfile", &root, "-in", &list,
    ];
    let read = run(Command::new("openssl").args(read));
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(text.contains("Revoked Certificates:"), "{text}");
    assert!(String::from_utf8_lossy(&read.stderr).contains("verify OK"));
}
