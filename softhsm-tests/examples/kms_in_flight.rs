//! How near a session of the plugin `awskms` comes to what its limit of requests in flight allows: a fake of AWS KMS
//! that takes 50 ms for each request, and 2,000 signatures, from the first request to the last answer.
//!
//! `cargo run -p softhsm-tests --example kms_in_flight -- DIRECTORY`, where the directory has the executable.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement: it starts programs, prints, and ends where they fail"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::between::{Between, Fate};
use softhsm_tests::cloud::CloudKey;
use softhsm_tests::ministack::environment;
use softhsm_tests::{keys, run};

const SIGNATURES: usize = 2_000;
const IN_FLIGHT: usize = 64;
const LATENCY: Duration = Duration::from_millis(50);
const ARN: &str = "arn:aws:kms:eu-west-1:000000000000:key/fake";

fn main() {
    let directory = std::env::args().nth(1).map(PathBuf::from).unwrap();
    let directory = directory.canonicalize().unwrap();
    let key = keys::key(KeySpec::Ec256);
    let fake = Between::new(0);
    let environment = environment(&fake.address());
    let id = CloudKey::new("awskms", ARN).with("cert-chain", key.chain.display());

    rule(&fake, &key.key);
    session(&directory.join("notation-awskms"), &id, &environment);
    report("a session of notation-awskms", &fake);
}

/// Answers with signatures of a P-256 key, each late.
fn rule(fake: &Between, key: &Path) {
    let der = |arguments: &[&str]| {
        let mut openssl = Command::new("openssl");
        run(openssl.args(arguments).arg("-in").arg(key)).stdout
    };
    let public = STANDARD.encode(der(&["pkey", "-pubout", "-outform", "DER"]));
    let private = der(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"]);
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &private).unwrap();
    fake.rule(move |seen| {
        let answer = |body: Value| Fate::Answer(200, vec![], body.to_string());
        match seen.what.as_str() {
            "GetPublicKey" => answer(json!({
                "KeyId": ARN, "KeyUsage": "SIGN_VERIFY", "KeySpec": "ECC_NIST_P256",
                "PublicKey": public, "SigningAlgorithms": ["ECDSA_SHA_256"],
            })),
            _ => {
                let digest = STANDARD
                    .decode(seen.json()["Message"].as_str().unwrap())
                    .unwrap();
                let digest = Digest::import_less_safe(&digest, &SHA256).unwrap();
                let signature = STANDARD.encode(pair.sign_digest(&digest).unwrap());
                let signed = json!({
                    "KeyId": ARN, "SigningAlgorithm": "ECDSA_SHA_256", "Signature": signature,
                });
                Fate::After(LATENCY, Box::new(answer(signed)))
            }
        }
    });
}

/// A session as a host leads it, with as many digests under way as it may have.
fn session(plugin: &Path, id: &CloudKey, environment: &[(&'static str, String)]) {
    let mut child = Command::new(plugin)
        .arg("session")
        .envs(environment.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut requests = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ask = |number: usize, command: &str, request: Value| {
        let line = json!({"id": number, "command": command, "request": request});
        writeln!(requests, "{line}").unwrap();
    };
    let config: serde_json::Map<String, Value> = id
        .config
        .iter()
        .filter_map(|setting| setting.split_once('='))
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    ask(
        0,
        "open",
        json!({"contractVersion": "1.0", "keyId": id.id, "pluginConfig": config}),
    );
    let opened: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
    assert_eq!(opened["response"]["maxInFlight"], IN_FLIGHT + 8, "{opened}");
    let digest = STANDARD.encode([7; 32]);
    let request = json!({"digest": digest, "hashAlgorithm": "SHA-256"});
    for number in 1..=IN_FLIGHT {
        ask(number, "sign-digest", request.clone());
    }
    for number in IN_FLIGHT + 1..=SIGNATURES + IN_FLIGHT {
        let answer = answers.next().unwrap().unwrap();
        assert!(answer.contains("signature"), "{answer}");
        if number <= SIGNATURES {
            ask(number, "sign-digest", request.clone());
        }
    }
    drop(requests);
    assert!(child.wait().unwrap().success());
}

fn report(what: &str, fake: &Between) {
    let end = Instant::now();
    let signs: Vec<_> = fake
        .seen()
        .into_iter()
        .filter(|seen| seen.what == "Sign")
        .collect();
    assert_eq!(signs.len(), SIGNATURES);
    let first = signs.iter().map(|seen| seen.came).min().unwrap();
    let last = signs.iter().map(|seen| seen.came).max().unwrap() + LATENCY;
    let took = last.min(end).duration_since(first);
    let ideal = LATENCY * u32::try_from(SIGNATURES).unwrap() / u32::try_from(IN_FLIGHT).unwrap();
    println!(
        "{what}: {SIGNATURES} signatures, {} ms a request, {IN_FLIGHT} in flight: {} ms, at best {} ms, ratio {:.2}",
        LATENCY.as_millis(),
        took.as_millis(),
        ideal.as_millis(),
        ideal.as_secs_f64() / took.as_secs_f64()
    );
}
