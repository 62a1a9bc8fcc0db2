//! `--deadline`: whoever is slow, the command ends in time, says who it was and what was being done, and leaves
//! nothing half done.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]
#![cfg(target_os = "linux")]

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ciborium::Value as Cbor;
use hardsign_test_support::certificate::{Builder, Pki};
use hardsign_test_support::key::Key;
use hardsign_test_support::program;
use hardsign_test_support::registry::{Auth, Behaviour, Body, FakeRegistry, Request, Response};
use hardsign_test_support::revocation::Publisher;
use hardsign_test_support::{cose, jws, jws::Jws};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

mod support;

use support::Machine;

/// What a command printed, how long it took, and how much memory it had at most.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    time: Duration,
    peak_kib: u64,
}

impl Ran {
    /// It ended soon after a deadline, with this exit code, and told all of this.
    fn ended(&self, deadline: Duration, code: i32, told: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        // The machine may be busy with other tests.
        assert!(self.time < deadline + Duration::from_secs(4), "{self:?}");
        // Whatever drips or hangs, it is not collected without bounds.
        assert!(self.peak_kib < MOST_KIB, "{self:?}");
        for text in told {
            // How long was waited differs by what came before.
            let parts = text.split("waited");
            assert!(
                parts.fold(Some(&*self.stderr), after).is_some(),
                "{text}: {self:?}"
            );
        }
        assert!(self.stderr.contains("\nHint: "), "{self:?}");
    }
}

/// What comes after a part of a text.
fn after<'a>(text: Option<&'a str>, part: &str) -> Option<&'a str> {
    text?.split_once(part).map(|(_, after)| after)
}

/// Enough to come to where it is held up, on a busy machine too.
const DEADLINE: Duration = Duration::from_secs(2);

const SECOND: Duration = Duration::from_secs(1);

/// More memory than any command needs here, several times over, without optimization and on a machine with many processors.
const MOST_KIB: u64 = 256 << 10;

fn run(machine: &Machine, words: &[&str]) -> Ran {
    finish(machine.command("hardsign").args(words))
}

fn finish(command: &mut Command) -> Ran {
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut peak_kib = 0;
    while child.try_wait().unwrap().is_none() {
        peak_kib = peak_kib.max(peak(child.id()));
        thread::sleep(Duration::from_millis(5));
    }
    let time = began.elapsed();
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        time,
        peak_kib,
    }
}

/// The most memory that a process had so far.
fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse().ok()).unwrap_or(0)
}

/// One byte a second, for an hour.
fn drip() -> Response {
    Response::status(200).body(Body::Drip(vec![b' '; 3600], SECOND))
}

/// No answer at all, for longer than anybody waits.
fn hang() -> Response {
    Response::status(200).body(Body::Hang(Duration::from_secs(60)))
}

/// A registry with the layout's artifact and its signatures, and what turns its slowness on: then it gives
/// `answer` to the requests that `slow` is true of.
struct Slow {
    registry: FakeRegistry,
    on: Arc<AtomicBool>,
    reference: String,
    signature: String,
}

impl Slow {
    fn new(
        machine: &Machine,
        signatures: bool,
        referrers_api: bool,
        slow: impl Fn(&Request) -> bool + Send + Sync + 'static,
        answer: fn() -> Response,
    ) -> Self {
        let on = Arc::new(AtomicBool::new(false));
        let is_on = Arc::clone(&on);
        let registry = FakeRegistry::start(Behaviour {
            referrers_api,
            intercept: Some(Box::new(move |request| {
                (is_on.load(Ordering::SeqCst) && slow(request)).then(answer)
            })),
            ..Behaviour::default()
        });
        let reference = format!("{}/app:v1", registry.name());
        let mut copy = vec!["copy", "--from-oci-layout", "layout:v1", &reference];
        if !signatures {
            copy.push("--without-referrers");
        }
        let copied = run(machine, &copy);
        assert_eq!(copied.code, Some(0), "{copied:?}");
        let listed = run(machine, &["list", "-o", "json", &reference]);
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        let signature = listed["signatures"][0]["digest"]
            .as_str()
            .unwrap_or_default();
        on.store(true, Ordering::SeqCst);
        Self {
            signature: signature.to_owned(),
            registry,
            on,
            reference,
        }
    }

    fn fast(&self) {
        self.on.store(false, Ordering::SeqCst);
    }
}

/// A registry that drips a byte a second: every command ends within its deadline, and names the
/// registry and what it was asked for.
#[test]
fn a_registry_that_drips() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo");
    let parts = [
        ("/manifests/", "resolving the reference"),
        ("/referrers/", "listing the signatures"),
        ("/blobs/", "fetching the signatures"),
    ];
    for (part, phase) in parts {
        let slow = Slow::new(&machine, true, true, move |r| r.path.contains(part), drip);
        let name = slow.registry.name();
        let waited = format!("{phase}: waited for {name}");
        let told = ["the deadline of 2 seconds passed while", &*waited];
        let words: &[&[&str]] = match part {
            "/blobs/" => &[&["verify"], &["inspect"]],
            "/referrers/" => &[&["verify"], &["list"], &["inspect"]],
            _ => &[
                &["verify"],
                &["list"],
                &["sign"],
                &["verify", "--recursive"],
            ],
        };
        for words in words {
            let words = [words, &["--deadline", "2s", &slow.reference][..]].concat();
            run(&machine, &words).ended(DEADLINE, 3, &told);
        }
        if part == "/referrers/" {
            let deadline = ["delete", "--yes", "--deadline", "2s"];
            let words = [&deadline[..], &[&slow.reference, &slow.signature]].concat();
            run(&machine, &words).ended(DEADLINE, 3, &told);
        }
        if part == "/blobs/" {
            let copy = ["copy", "--to-oci-layout", "--deadline", "2s"];
            let words = [&copy[..], &[&slow.reference, "taken:v1"]].concat();
            let told = [told[0], &format!("copying: waited for {name}")];
            run(&machine, &words).ended(DEADLINE, 3, &told);
        }
    }
    // A registry that is only logged in to.
    let registry = FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(|_| Some(drip()))),
        ..Behaviour::default()
    });
    let mut login = machine.command("hardsign");
    login.args(["login", "--deadline", "2s", "-u", "u", "-p", "p"]);
    let name = registry.name();
    let told = ["the deadline of 2 seconds passed while logging in", &*name];
    finish(login.arg(&name)).ended(DEADLINE, 3, &told);
}

/// By digest, the list of signatures is asked for while the artifact is resolved: whoever waits for it then names the registry all
/// the same. So do all artifacts of a repository that wait for what one of them asks for, a list or a token.
#[test]
fn what_one_asks_for_several_is_waited_for_by_all() {
    let machine = Machine::new();
    for (part, auth) in [
        ("/referrers/", Auth::Open),
        (
            "/token",
            Auth::Bearer {
                pair: None,
                realm: None,
            },
        ),
    ] {
        let registry = FakeRegistry::start(Behaviour {
            auth,
            intercept: Some(Box::new(move |r| r.path.contains(part).then(drip))),
            ..Behaviour::default()
        });
        let (name, put) = (registry.name(), |text: &str| {
            let digest = registry.put_manifest("app", None, MANIFEST, text.as_bytes());
            format!("{}/app@{digest}", registry.name())
        });
        let other = ARTIFACT.replace("application/x", "application/y");
        let (one, other) = (put(ARTIFACT), put(&other));
        let phase = match part {
            "/token" => "resolving the reference",
            _ => "listing the signatures",
        };
        let waited = format!("{phase}: waited for {name}");
        let told = ["the deadline of 2 seconds passed while", &*waited];
        run(&machine, &["verify", "--deadline", "2s", &one]).ended(DEADLINE, 3, &told);

        let words = ["verify", "-o", "json", "--deadline", "2s", &one, &other];
        let ran = run(&machine, &words);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        let told: Value = serde_json::from_str(&ran.stdout).unwrap();
        let failed = told["failed"].as_array().unwrap();
        assert_eq!(failed.len(), 2, "{told}");
        for failed in failed {
            let error = failed["error"].as_str().unwrap();
            let (before, after) = error.split_once(": waited ").unwrap_or_default();
            assert!(before.ends_with(phase), "{part}: {error}");
            assert!(after.ends_with(&format!("for {name}")), "{part}: {error}");
        }
    }
}

/// A deadline that strikes while signing leaves no signature, whichever request it strikes; and where the
/// registry has the manifest already, that is said.
#[test]
fn nothing_is_half_pushed() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo");
    for referrers_api in [true, false] {
        for (method, part) in [
            ("GET", "/manifests/"),
            ("HEAD", "/blobs/"),
            ("POST", "/blobs/uploads/"),
            ("PUT", "/blobs/uploads/"),
            ("GET", "/referrers/"),
            ("PUT", "/manifests/"),
        ] {
            let hangs = move |r: &Request| r.method == method && r.path.contains(part);
            let slow = Slow::new(&machine, false, referrers_api, hangs, hang);
            let before = slow.registry.manifest_count("app");
            let words = ["sign", "--deadline", "2s", &slow.reference];
            let ran = run(&machine, &words);
            let name = slow.registry.name();
            ran.ended(
                DEADLINE,
                3,
                &["the deadline of 2 seconds passed while", &name],
            );
            assert!(!ran.stdout.contains("Successfully"), "{ran:?}");
            assert_eq!(slow.registry.manifest_count("app"), before, "{ran:?}");
            let unsettled = ran.stderr.contains("was being stored: it may be there");
            assert_eq!(
                unsettled,
                method == "PUT" && part == "/manifests/",
                "{ran:?}"
            );
            // What was left behind is in nobody's way.
            slow.fast();
            let again = run(&machine, &["sign", &slow.reference]);
            assert_eq!(again.code, Some(0), "{again:?}");
        }
    }
}

/// Of a batch, what was done before the deadline is told, and so is each that was not.
#[test]
fn a_batch_ends_as_a_whole() {
    let machine = Machine::new();
    let quick = Slow::new(&machine, true, true, |_| false, drip);
    let slow = Slow::new(
        &machine,
        true,
        true,
        |r| r.path.contains("/referrers/"),
        drip,
    );
    let ran = run(
        &machine,
        &[
            "verify",
            "-o",
            "json",
            "--deadline",
            "2s",
            &quick.reference,
            &slow.reference,
        ],
    );
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["verified"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told["failed"][0]["reference"], *slow.reference);
    let error = told["failed"][0]["error"].as_str().unwrap();
    assert!(error.contains(&slow.registry.name()), "{error}");
    // Without a deadline nothing is stopped.
    let ran = run(&machine, &["verify", &quick.reference]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

/// A timestamping authority that drips: no signature without the timestamp that was asked for.
#[test]
fn an_authority_that_drips() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo");
    let authority = Publisher::start();
    authority.answer("/tsa", drip);
    let url = authority.url("/tsa");
    let slow = Slow::new(&machine, true, true, |_| false, drip);
    let before = slow.registry.manifest_count("app");
    let flags = [
        "--deadline",
        "2s",
        "--timestamp-root-cert",
        "root.crt",
        "--timestamp-url",
        &url,
    ];
    let name = url.trim_start_matches("http://").trim_end_matches("/tsa");
    let waited = format!("getting the timestamp: waited for {name}");
    let words = [&["sign"][..], &flags, &[&slow.reference]].concat();
    run(&machine, &words).ended(DEADLINE, 3, &[&waited]);
    assert_eq!(slow.registry.manifest_count("app"), before);
    let words = [&["blob", "sign"][..], &flags, &["root.crt"]].concat();
    run(&machine, &words).ended(DEADLINE, 3, &[&waited]);
    assert!(!machine.path().join("root.crt.jws.sig").exists());
}

/// A plugin that never answers, at its start and when it should sign, is named, and ended.
#[test]
fn a_plugin_that_never_answers() {
    let machine = Machine::new();
    let silent = machine.path().join("config/plugins/silent/notation-silent");
    fs::create_dir_all(silent.parent().unwrap()).unwrap();
    for (answers, phase) in [
        ("none", "opening the key"),
        ("get-plugin-metadata", "opening the key"),
        ("get-plugin-metadata|describe-key", "making the signature"),
    ] {
        program::write(&silent, &SILENT.replace("ANSWERED", answers));
        let sign = ["blob", "sign", "--deadline", "2s", "--plugin", "silent"];
        let words = [&sign[..], &["--id", "k", "artifact.bin", "--force"]].concat();
        let before = fs::read(machine.path().join("artifact.bin.jws.sig")).unwrap();
        let waited = format!("{phase}: waited for the plugin silent");
        run(&machine, &words).ended(DEADLINE, 3, &[&waited]);
        let after = fs::read(machine.path().join("artifact.bin.jws.sig")).unwrap();
        assert_eq!(before, after);
        let process = fs::read_to_string(machine.path().join("silent.pid")).unwrap();
        let process = format!("/proc/{}/comm", process.trim());
        let alive = || fs::read_to_string(&process).is_ok_and(|name| name.trim() == "sleep");
        let began = Instant::now();
        while alive() {
            assert!(began.elapsed() < Duration::from_secs(5), "{process}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A plugin that says who it is and which key it has, as far as it is told to, and then sleeps.
const SILENT: &str = r#"#!/bin/sh
case $1 in
ANSWERED) ;;
*) echo $$ > "$HOME/silent.pid"; exec sleep 60 ;;
esac
case $1 in
get-plugin-metadata)
    echo '{"name":"silent","description":"d","version":"1.0.0","url":"u","supportedContractVersions":["1.0"],"capabilities":["SIGNATURE_GENERATOR.RAW"]}' ;;
describe-key)
    echo '{"keyId":"k","keySpec":"EC-256"}' ;;
esac
"#;

/// Signs `file` with a certificate of the tests that names these responders, trusts its root, and has the global
/// statement check revocation.
fn signed_with_addresses(machine: &Machine, builder: impl FnOnce(Builder) -> Builder) {
    let pki = Pki::new();
    let key = &Key::P256;
    let leaf = pki.issue(builder(Builder::leaf("signer", key.spki)), key);
    let content = b"content";
    fs::write(machine.path().join("file"), content).unwrap();
    let payload = json!({"targetArtifact": {
        "mediaType": "application/octet-stream",
        "digest": format!("sha256:{}", hex::encode(Sha256::digest(content))),
        "size": content.len(),
    }});
    let chain = pki.chain(&leaf);
    let signature = Jws::sign(
        &jws::protected(key).to_json(),
        payload.to_string().as_bytes(),
        jws::header(&chain),
        key,
    );
    fs::write(machine.path().join("file.jws.sig"), signature.to_bytes()).unwrap();
    let store = machine.path().join("config/truststore/x509/ca/own");
    fs::create_dir_all(&store).unwrap();
    fs::write(store.join("root.crt"), chain.last().unwrap()).unwrap();
    let policy = json!({"version": "1.0", "trustPolicies": [{
        "name": "own", "globalPolicy": true, "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:own"], "trustedIdentities": ["*"],
    }]});
    let path = machine.path().join("config/trustpolicy.blob.json");
    fs::write(path, policy.to_string()).unwrap();
}

/// Responders that drip: there is no verdict, whatever the level makes of an unknown status.
#[test]
fn a_responder_that_drips() {
    let publisher = Publisher::start();
    publisher.answer("/slow", drip);
    let url = publisher.url("/slow");
    let name = url.trim_start_matches("http://").trim_end_matches("/slow");
    let waited = format!("checking revocation: waited for {name}");
    for by_ocsp in [true, false] {
        let machine = Machine::new();
        signed_with_addresses(&machine, |leaf| match by_ocsp {
            true => leaf.ocsp(&url),
            false => leaf.crl(&url),
        });
        let words = [
            "blob",
            "verify",
            "--deadline",
            "2s",
            "-s",
            "file.jws.sig",
            "file",
        ];
        run(&machine, &words).ended(DEADLINE, 3, &["signature verification failed: ", &waited]);
    }
}

/// A pipe that nobody writes to is no file to wait for, opened or not.
#[test]
fn a_file_that_never_comes() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo; mkfifo pipe; mkfifo held");
    let verify = [
        "blob",
        "verify",
        "--deadline",
        "2s",
        "-s",
        "artifact.bin.jws.sig",
    ];
    let ran = run(&machine, &[&verify[..], &["pipe"]].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.time < Duration::from_secs(6), "{ran:?}");
    let told = "failed to open pipe: nothing came of it before the deadline";
    assert!(ran.stderr.contains(told), "{ran:?}");
    // Somebody has it open, and says nothing.
    let held = machine.path().join("held");
    let _held = fs::OpenOptions::new().read(true).write(true).open(held);
    let told = ["reading the file: waited for the file held"];
    run(&machine, &[&verify[..], &["held"]].concat()).ended(DEADLINE, 3, &told);
    let sign = ["blob", "sign", "--deadline", "2s", "held"];
    let ran = run(&machine, &sign);
    ran.ended(
        DEADLINE + SECOND,
        3,
        &["reading the file: ", "for the file held"],
    );
}

/// A hundred signatures of 16 MiB: the time is kept, and they are never in memory together.
#[test]
fn a_hundred_large_signatures() {
    let machine = Machine::new();
    let registry = Arc::new(FakeRegistry::start(Behaviour {
        // The same envelope for all, made once.
        intercept: Some(Box::new({
            let envelope = large_envelope();
            move |request| {
                let asked = request.method == "GET" && request.path.contains("/blobs/");
                asked.then(|| Response::bytes(200, envelope.clone()))
            }
        })),
        ..Behaviour::default()
    }));
    let subject = registry.put_manifest("app", Some("v1"), MANIFEST, ARTIFACT.as_bytes());
    let envelope = large_envelope();
    let digest = hex::encode(Sha256::digest(&envelope));
    for i in 0..100 {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "artifactType": "application/vnd.cncf.notary.signature",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": EMPTY, "size": 2},
            "layers": [{"mediaType": "application/jose+json", "digest": format!("sha256:{digest}"), "size": envelope.len()}],
            "subject": {"mediaType": MANIFEST, "digest": subject, "size": ARTIFACT.len()},
            "annotations": {"n": i.to_string()},
        });
        registry.put_manifest("app", None, MANIFEST, manifest.to_string().as_bytes());
    }
    let reference = format!("{}/app@{subject}", registry.name());
    for verb in ["verify", "inspect"] {
        let ran = run(&machine, &[verb, "--deadline", "2s", &reference]);
        assert!(matches!(ran.code, Some(1 | 3)), "{ran:?}");
        assert!(ran.time < Duration::from_secs(6), "{ran:?}");
        let told = ran
            .stderr
            .contains("the deadline of 2 seconds passed while ");
        assert!(told && ran.stderr.contains(" signatures: "), "{ran:?}");
        // Four at a time, and what is made of them.
        assert!(
            ran.peak_kib < 512 << 10,
            "{} KiB: {}",
            ran.peak_kib,
            ran.stderr
        );
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ARTIFACT: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/x","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// An envelope in form, with a long payload.
fn large_envelope() -> Vec<u8> {
    let payload = "A".repeat(16 << 20);
    format!(r#"{{"payload":"{payload}","protected":"e30","header":{{}},"signature":"AAAA"}}"#)
        .into_bytes()
}

/// A million header members, in both formats: refused for what they are, soon and in little memory.
#[test]
fn a_million_header_members() {
    let machine = Machine::new();
    let members: Vec<String> = (0..1_000_000).map(|n| format!(r#""{n}":0"#)).collect();
    let unprotected = members.join(",");
    let protected = json!({"alg": "ES256"}).to_string().replace('}', "");
    let pki = Pki::new();
    let chain = pki.chain(&pki.signer(Key::P256.spec.unwrap()));
    let own = jws::header(&chain).to_json();
    let own = own.trim_end_matches('}');
    let jws = |protected: &str, header: &str| {
        let encoded = base64_url(protected.as_bytes());
        format!(
            r#"{{"payload":"e30","protected":"{encoded}","header":{header}}},"signature":"AAAA"}}"#
        )
        .into_bytes()
    };
    let map = |labels: std::ops::Range<i64>| {
        let pairs = labels.map(|n| (Cbor::from(n), Cbor::from(0)));
        Cbor::Map(pairs.collect())
    };
    let sign1 = |protected: &Cbor, unprotected: Cbor| {
        let protected = Cbor::Bytes(cose::to_cbor(protected));
        let parts = vec![
            protected,
            unprotected,
            Cbor::Bytes(b"{}".to_vec()),
            Cbor::Bytes(vec![0; 64]),
        ];
        cose::to_cbor(&Cbor::Tag(18, Box::new(Cbor::Array(parts))))
    };
    let million = || map(1000..1_001_000);
    for (name, envelope) in [
        (
            "a.jws.sig",
            jws(r#"{"alg":"ES256"}"#, &format!("{own},{unprotected}")),
        ),
        (
            "b.jws.sig",
            jws(&format!("{protected},{unprotected}}}"), own),
        ),
        ("c.cose.sig", sign1(&map(0..0), million())),
        ("d.cose.sig", sign1(&million(), map(0..0))),
    ] {
        fs::write(machine.path().join(name), &envelope).unwrap();
        for deadline in ["1s", "60s"] {
            let words = [
                "blob",
                "verify",
                "--deadline",
                deadline,
                "-s",
                name,
                "artifact.bin",
            ];
            let ran = run(&machine, &words);
            assert_eq!(ran.code, Some(1), "{name}: {ran:?}");
            // With one second, it may take longer than that to be refused, since the parser looks at no clock: what matters
            // is that the time grows with the size and no faster, so that it ends.
            assert!(ran.time < Duration::from_secs(30), "{name}: {ran:?}");
            let refused = ran.stderr.contains("unable to parse the digital signature");
            let late = ran.stderr.contains("while checking the signatures: ");
            assert!(refused || late, "{name}: {ran:?}");
            assert!(ran.peak_kib < 512 << 10, "{name}: {} KiB", ran.peak_kib);
        }
    }
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// What is no duration, or none that is left, is a fault of the call.
#[test]
fn deadlines_that_are_none() {
    let machine = Machine::new();
    for (text, told) in [
        ("", "invalid duration"),
        ("10", "missing unit in duration"),
        ("soon", "invalid duration"),
        ("0s", "it must be longer than zero"),
        ("-1s", "it must be longer than zero"),
    ] {
        for verb in ["verify", "sign", "list", "inspect", "login"] {
            let ran = run(&machine, &[verb, "--deadline", text, "localhost:1/a:b"]);
            assert_eq!(ran.code, Some(2), "{ran:?}");
            let told = ran.stderr.contains("--deadline") && ran.stderr.contains(told);
            assert!(told, "{ran:?}");
        }
    }
}
