//! How near the sessions of the plugins for key management services come to what their limit of requests in flight allows:
//! fakes that take 50 ms for each request, and 2,000 signatures, from the first request of a host to its last answer. A
//! signature on each connection goes before, which nobody measures.
//!
//! `cargo run --release -p softhsm-tests --example kms_in_flight -- DIRECTORY [awskms] [azurekms] [gcpkms] [hashivault]`, where the
//! directory has the executables. Prints a line for each, which ends with the ratio of the time at best to the time taken.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement: it starts programs, prints, and ends where they fail"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::between::{Between, Fate, Seen};
use softhsm_tests::cloud::CloudKey;
use softhsm_tests::fakes::Fake as _;
use softhsm_tests::fakes::azure::FakeKeyVault;
use softhsm_tests::fakes::google::{FakeCloudKms, name};
use softhsm_tests::{keys, ministack, run};

const SIGNATURES: usize = 2_000;
const IN_FLIGHT: usize = 64;
const LATENCY: Duration = Duration::from_millis(50);
const ARN: &str = "arn:aws:kms:eu-west-1:000000000000:key/fake";
const PLUGINS: [&str; 4] = ["awskms", "azurekms", "gcpkms", "hashivault"];

type Environment = Vec<(&'static str, String)>;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map(PathBuf::from).unwrap();
    let directory = directory.canonicalize().unwrap();
    let chosen: Vec<String> = arguments.collect();
    for plugin in PLUGINS {
        if !chosen.is_empty() && !chosen.iter().any(|name| name == plugin) {
            continue;
        }
        let program = directory.join(format!("notation-{plugin}"));
        let took = match plugin {
            "awskms" => aws(&program),
            "azurekms" => azure(&program),
            "gcpkms" => google(&program),
            _ => vault(&program),
        };
        report(plugin, took);
    }
}

fn aws(program: &Path) -> Duration {
    let key = keys::key(KeySpec::Ec256);
    let (public, pair) = pair(&key.key);
    let public = STANDARD.encode(public);
    let fake = Between::new(0);
    fake.rule(move |seen| match seen.what.as_str() {
        "GetPublicKey" => answer(json!({
            "KeyId": ARN, "KeyUsage": "SIGN_VERIFY", "KeySpec": "ECC_NIST_P256",
            "PublicKey": public, "SigningAlgorithms": ["ECDSA_SHA_256"],
        })),
        _ => late(json!({
            "KeyId": ARN, "SigningAlgorithm": "ECDSA_SHA_256", "Signature": signed(&pair, seen, "Message"),
        })),
    });
    let id = CloudKey::new("awskms", ARN).with("cert-chain", key.chain.display());
    session(program, &id, &ministack::environment(&fake.address()))
}

fn vault(program: &Path) -> Duration {
    let key = keys::key(KeySpec::Ec256);
    let (_, pair) = pair(&key.key);
    let public = openssl(&key.key, &["pkey", "-pubout"]);
    let public = String::from_utf8(public).unwrap();
    let fake = Between::new(0);
    fake.rule(move |seen| match seen.what.as_str() {
        "GET /v1/transit/keys/release" => answer(json!({"data": {
            "type": "ecdsa-p256", "latest_version": 1, "supports_signing": true,
            "keys": {"1": {"public_key": public}},
        }})),
        _ => {
            let signature = format!("vault:v1:{}", signed(&pair, seen, "input"));
            late(json!({"data": {"signature": signature}}))
        }
    });
    let id = CloudKey::new("hashivault", "release").with("cert-chain", key.chain.display());
    let environment = vec![
        ("VAULT_ADDR", fake.address()),
        ("VAULT_TOKEN", "of-nobody".to_owned()),
    ];
    session(program, &id, &environment)
}

fn azure(program: &Path) -> Duration {
    let fake = FakeKeyVault::start();
    let spec = KeySpec::Ec256;
    let address = fake.add("release", "EC", spec, &keys::key(spec).key);
    fake.slow_down(LATENCY);
    session(
        program,
        &FakeKeyVault::key(address, spec),
        &fake.environment(),
    )
}

fn google(program: &Path) -> Duration {
    let fake = FakeCloudKms::start();
    let spec = KeySpec::Ec256;
    fake.add("release", "EC_SIGN_P256_SHA256", spec, &keys::key(spec).key);
    fake.slow_down(LATENCY);
    session(
        program,
        &fake.key(name("release"), spec),
        &fake.environment(),
    )
}

fn openssl(key: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut openssl = Command::new("openssl");
    run(openssl.args(arguments).arg("-in").arg(key)).stdout
}

/// The public half of a P-256 key in DER, and what signs with it.
fn pair(key: &Path) -> (Vec<u8>, EcdsaKeyPair) {
    let public = openssl(key, &["pkey", "-pubout", "-outform", "DER"]);
    let private = openssl(key, &["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"]);
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &private).unwrap();
    (public, pair)
}

/// A signature of the digest in a member of a request.
fn signed(pair: &EcdsaKeyPair, seen: &Seen, member: &str) -> String {
    let digest = seen.json();
    let digest = STANDARD.decode(digest[member].as_str().unwrap()).unwrap();
    let digest = Digest::import_less_safe(&digest, &SHA256).unwrap();
    STANDARD.encode(pair.sign_digest(&digest).unwrap())
}

fn answer(body: Value) -> Fate {
    Fate::Answer(200, vec![], body.to_string())
}

fn late(body: Value) -> Fate {
    Fate::After(LATENCY, Box::new(answer(body)))
}

/// A session as a host leads it.
struct Session {
    requests: ChildStdin,
    answers: std::io::Lines<BufReader<ChildStdout>>,
    asked: usize,
    most: usize,
}

impl Session {
    fn ask(&mut self, command: &str, request: &Value) {
        let line = json!({"id": self.asked, "command": command, "request": request});
        writeln!(self.requests, "{line}").unwrap();
        self.asked += 1;
    }

    fn answered(&mut self) -> Value {
        serde_json::from_str(&self.answers.next().unwrap().unwrap()).unwrap()
    }

    /// So many signatures, with as many digests under way as there may be.
    fn sign(&mut self, number: usize) {
        let request = json!({"digest": STANDARD.encode([7; 32]), "hashAlgorithm": "SHA-256"});
        let ahead = self.most.min(number);
        for _ in 0..ahead {
            self.ask("sign-digest", &request);
        }
        for done in 1..=number {
            let answer = self.answered();
            assert!(answer["response"]["signature"].is_string(), "{answer}");
            if done + ahead <= number {
                self.ask("sign-digest", &request);
            }
        }
    }
}

/// How long the signatures take.
fn session(program: &Path, id: &CloudKey, environment: &Environment) -> Duration {
    let mut child = Command::new(program)
        .arg("session")
        .envs(environment.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut session = Session {
        requests: child.stdin.take().unwrap(),
        answers: BufReader::new(child.stdout.take().unwrap()).lines(),
        asked: 0,
        most: 1,
    };
    let config: serde_json::Map<String, Value> = id
        .config
        .iter()
        .filter_map(|setting| setting.split_once('='))
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let open = json!({"contractVersion": "1.0", "keyId": id.id, "pluginConfig": config});
    session.ask("open", &open);
    let opened = session.answered();
    session.most = IN_FLIGHT + 8;
    assert_eq!(opened["response"]["maxInFlight"], session.most, "{opened}");
    session.sign(session.most);
    let begun = Instant::now();
    session.sign(SIGNATURES);
    let took = begun.elapsed();
    drop(session);
    assert!(child.wait().unwrap().success());
    took
}

fn report(plugin: &str, took: Duration) {
    let ideal = LATENCY * u32::try_from(SIGNATURES).unwrap() / u32::try_from(IN_FLIGHT).unwrap();
    println!(
        "{plugin}: {SIGNATURES} signatures, {} ms a request, {IN_FLIGHT} in flight: {} ms, at best {} ms, ratio {:.3}",
        LATENCY.as_millis(),
        took.as_millis(),
        ideal.as_millis(),
        ideal.as_secs_f64() / took.as_secs_f64()
    );
}
