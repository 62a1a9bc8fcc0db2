//! Timestamps by a real authority (`openssl ts`): signatures of `hardsign` under `notation` 1.3.2
//! and the other way round, certificates that have expired since, and batches.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use serde_json::{Value, json};
use softhsm_tests::peers::USE_REFERRERS_API;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::token::Token;
use softhsm_tests::tsa::{Authority, Builder, CrlServer, Manner, Tsa};
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys, run};

/// A policy for all artifacts that needs timestamps of the store `tsa:<tsa>`.
fn policy(bench: &Workbench, tsa: &str, when: &str) {
    bench.policy(&json!({
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict", "verifyTimestamp": when},
        "trustStores": ["ca:tests", format!("tsa:{tsa}")],
        "trustedIdentities": ["*"],
    }));
}

fn scene(bench: Workbench) -> Scene {
    let scene = Scene::with(&Registry::ggcr(), bench);
    scene
        .bench
        .install_plugin("pkcs11", &binaries().join("notation-pkcs11"));
    scene
}

fn sign<'a>(tool: Tool, tsa: &'a Tsa, root: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec![
        "sign",
        "--timestamp-url",
        &tsa.url,
        "--timestamp-root-cert",
        root,
    ];
    if tool == Tool::Notation {
        words.push(USE_REFERRERS_API);
    }
    words.extend(more);
    words
}

/// TSA-01, TSA-02, TSA-12, TSA-14, TSA-16, TSA-19, TSA-26, TSA-29, TSA-30, TSA-33: authorities with
/// RSA and elliptic-curve keys and each hash, with and without accuracy; signing keys of each hash
/// in a token; both formats; signed by either tool, verified by both.
#[test]
fn tsa_02_both_tools_accept_each_others_timestamps() {
    let specs = [KeySpec::Rsa2048, KeySpec::Ec384, KeySpec::Ec521];
    let mut token = Token::new("T");
    for (id, spec) in specs.iter().enumerate() {
        let id = format!("{:02}", id + 1);
        token = token.with_key_and_chain(&keys::key(*spec), spec.name(), &id);
    }
    let scene = scene(Workbench::with_token(&token));
    scene.bench.trust_store("tests", &keys::root());
    let authorities = [
        Builder::new(KeySpec::Rsa2048).settings("accuracy = secs:1, millisecs:500\n"),
        Builder::new(KeySpec::Rsa3072).digest(HashAlgorithm::Sha512),
        Builder::new(KeySpec::Ec256).settings("accuracy = microsecs:100\nordering = yes\n"),
        Builder::new(KeySpec::Ec384).settings("tsa_name = yes\ness_cert_id_chain = yes\n"),
    ];
    for (number, authority) in authorities.into_iter().enumerate() {
        let authority = Arc::new(authority.build());
        let tsa = Tsa::start(&authority);
        let store = format!("t{number}");
        scene.bench.trust_store_of("tsa", &store, &authority.root());
        policy(&scene.bench, &store, "always");
        let root = authority.root().display().to_string();
        let spec = specs[number % specs.len()];
        let uri = token.uri(spec.name());
        for tool in Tool::BOTH {
            for format in ["jws", "cose"] {
                let name = format!("a{number}-{format}-{tool:?}:v1").to_lowercase();
                let artifact = scene.push(&name, &name);
                let key = [
                    "--plugin",
                    "pkcs11",
                    "--id",
                    &uri,
                    "--signature-format",
                    format,
                    &artifact,
                ];
                scene.ok(tool, sign(tool, &tsa, &root, &key));
                scene.both_verify(&artifact);
                let log = scene.ok(Tool::Hardsign, ["verify", "-d", &artifact]).stderr;
                for text in [
                    "Performing timestamp verification...",
                    "Timestamp verification: Success",
                ] {
                    assert!(log.contains(text), "{log}");
                }
            }
        }
        assert_eq!(tsa.queries(), 4);
    }
}

/// TSA-17: an authority that answers in BER; what is stored is read by both tools.
#[test]
fn tsa_17_tokens_in_ber_are_stored_as_der() {
    let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "k", "01");
    let scene = scene(Workbench::with_token(&token));
    scene.bench.trust_store("tests", &keys::root());
    let authority = Arc::new(Builder::new(KeySpec::Rsa2048).build());
    let tsa = Tsa::start(&authority);
    tsa.be(Manner::Ber);
    scene.bench.trust_store_of("tsa", "t", &authority.root());
    policy(&scene.bench, "t", "always");
    let root = authority.root().display().to_string();
    let artifact = scene.push("ber:v1", "ber");
    let uri = token.uri("k");
    let key = ["--plugin", "pkcs11", "--id", &uri, &artifact];
    scene.ok(Tool::Hardsign, sign(Tool::Hardsign, &tsa, &root, &key));
    scene.both_verify(&artifact);
}

/// What a verification tells of a timestamp: when it was at the latest, and by whom; at 80 columns, where a long
/// value goes on below itself, and at 200. JSON has the same.
#[test]
fn a_verified_timestamp_is_told_of() {
    let scene = scene(Workbench::new());
    let bench = &scene.bench;
    bench.hardsign_ok(["cert", "generate-test", "--default", "tests"]);
    let authority = Arc::new(Builder::new(KeySpec::Ec256).build());
    let tsa = Tsa::start(&authority);
    bench.trust_store_of("tsa", "t", &authority.root());
    policy(bench, "t", "always");
    let root = authority.root().display().to_string();
    let artifact = scene.push("told:v1", "told");
    scene.ok(
        Tool::Hardsign,
        sign(Tool::Hardsign, &tsa, &root, &[&artifact]),
    );
    let json = bench.hardsign_ok(["verify", "--output", "json", &artifact]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let signature = &json["verified"][0]["signatures"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let stamp = &signature["timestamp"];
    let policy = bench.config().join("trustpolicy.json");
    let wanted = format!(
        "Successfully verified signature for {artifact}\n  signer     {subject}\n  SHA-256    {digest}\n  signed     {signed}, by the signer's own clock\n  timestamp  {latest} by {authority}\n  trusted    by trust store ca:tests through {subject}\n  policy     statement \"all\", level strict\n  in         {policy}\n",
        subject = text(&signature["signer"]["subject"]),
        digest = text(&signature["signer"]["sha256Fingerprint"]),
        signed = text(&signature["signingTime"]),
        latest = text(&stamp["latest"]),
        authority = text(&stamp["authority"]["subject"]),
        policy = policy.display(),
    );
    for (columns, in_whole) in [("80", false), ("200", true)] {
        let mut command = bench.command(&binaries().join("hardsign"), ["verify", &artifact]);
        let ran = bench.run(command.env("COLUMNS", columns));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<String>()
        };
        assert_eq!(
            words(&ran.stdout),
            words(&wanted),
            "{columns}: {}",
            ran.stdout
        );
        assert!(!in_whole || ran.stdout == wanted, "{}", ran.stdout);
        let fields = ran.stdout.lines().skip(1);
        for line in fields.filter(|line| !line.contains("  in  ")) {
            assert!(line.chars().count() <= columns.parse().unwrap(), "{line}");
        }
    }
}

/// TSA-33, TSA-26, TSA-34: a store with another root refuses; without a `tsa` store the timestamp
/// is not looked at; a signature without one fails where one is needed. Both tools agree.
#[test]
fn tsa_33_roots_of_the_policy_decide() {
    let scene = scene(Workbench::new());
    scene.ok(
        Tool::Notation,
        ["cert", "generate-test", "--default", "tests"],
    );
    let [ours, other] = [(); 2].map(|()| Arc::new(Builder::new(KeySpec::Ec256).build()));
    let tsa = Tsa::start(&ours);
    let root = ours.root().display().to_string();
    scene.bench.trust_store_of("tsa", "ours", &ours.root());
    scene.bench.trust_store_of("tsa", "other", &other.root());
    let stamped = scene.push("stamped:v1", "stamped");
    scene.ok(
        Tool::Hardsign,
        sign(Tool::Hardsign, &tsa, &root, &[&stamped]),
    );
    let plain = scene.push("plain:v1", "plain");
    scene.ok(Tool::Hardsign, ["sign", &plain]);

    policy(&scene.bench, "ours", "always");
    scene.both_verify(&stamped);
    for log in scene.both_refuse(&plain) {
        assert!(log.contains("failed for all the signatures"), "{log}");
    }
    policy(&scene.bench, "other", "always");
    let [refused, _] = scene.both_refuse(&stamped);
    let untrusted =
        "the certificate chain of the timestamping authority \"CN=TSA\" ends in no trusted root";
    assert!(refused.contains(untrusted), "{refused}");
    policy(&scene.bench, "other", "afterCertExpiry");
    scene.both_verify(&stamped);
    scene.both_verify(&plain);
    scene.policy_for("tests");
    scene.both_verify(&stamped);
    // A store that does not exist: the user is told how to make it (CLI-41).
    policy(&scene.bench, "nosuch", "always");
    let [refused, _] = scene.both_refuse(&stamped);
    assert!(
        refused.contains("the trust store \"nosuch\" of type \"tsa\" does not exist"),
        "{refused}"
    );
}

/// TSA-26, TSA-28, TSA-31: a signing certificate that has expired since: with a timestamp from its
/// lifetime it verifies, without one it does not. Both tools agree.
#[test]
fn tsa_31_a_timestamp_outlives_the_signing_certificate() {
    let scene = scene(Workbench::new());
    let authority = Arc::new(Builder::new(KeySpec::Ec256).build());
    let tsa = Tsa::start(&authority);
    scene.bench.trust_store_of("tsa", "t", &authority.root());
    let artifacts = ["a:v1", "b:v1"].map(|name| scene.push(name, name));
    let root = authority.root().display().to_string();
    let end = SystemTime::now() + Duration::from_secs(14);
    let signer = Builder::new(KeySpec::Ec256)
        .extensions("extendedKeyUsage = codeSigning\n")
        .valid("20200101000000Z", &openssl_time(end))
        .build();
    scene.bench.trust_store("tests", &signer.root());
    use_key(&scene.bench, &signer);
    scene.ok(
        Tool::Hardsign,
        sign(Tool::Hardsign, &tsa, &root, &[&artifacts[0]]),
    );
    scene.ok(Tool::Hardsign, ["sign", &artifacts[1]]);
    // The certificate is good for its last second.
    while SystemTime::now() < end + Duration::from_secs(1) {
        thread::sleep(Duration::from_millis(100));
    }
    for when in ["always", "afterCertExpiry"] {
        policy(&scene.bench, "t", when);
        scene.both_verify(&artifacts[0]);
        scene.both_refuse(&artifacts[1]);
    }
    // Without a store for timestamps there is only the clock (TSA-28).
    scene.policy_for("tests");
    let [refused, _] = scene.both_refuse(&artifacts[0]);
    assert!(
        refused.contains("verification time is after certificate"),
        "{refused}"
    );
}

/// `YYYYMMDDhhmmssZ`, as `openssl ca` wants it.
fn openssl_time(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut date = Command::new("date");
    let output = run(date.args(["-u", "+%Y%m%d%H%M%SZ", "-d", &format!("@{seconds}")]));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Makes the key of an authority, which is for code here, the default key of both tools.
fn use_key(bench: &Workbench, signer: &Authority) {
    let keys = json!({"default": "k", "keys": [{
        "name": "k", "keyPath": signer.key(), "certPath": signer.chain(),
    }]});
    fs::write(bench.config().join("signingkeys.json"), keys.to_string()).unwrap();
}

/// TSA-08, TSA-32, SEC-17, REV-10, CVE-2024-56138: an authority whose certificate is revoked, or
/// whose CRL can't be had: nothing is signed with it, and signatures from before fail, whatever the
/// policy says of revocation. Both tools agree.
#[test]
fn tsa_08_revoked_authorities() {
    let scene = scene(Workbench::new());
    scene.ok(
        Tool::Notation,
        ["cert", "generate-test", "--default", "tests"],
    );
    let crls = CrlServer::start();
    let extensions = format!(
        "extendedKeyUsage = critical,timeStamping\ncrlDistributionPoints = URI:{}\n",
        crls.url
    );
    let authority = Builder::new(KeySpec::Ec256).extensions(&extensions);
    let authority = Arc::new(authority.build());
    let tsa = Tsa::start(&authority);
    scene.bench.trust_store_of("tsa", "t", &authority.root());
    policy(&scene.bench, "t", "always");
    let root = authority.root().display().to_string();
    let artifact = scene.push("a:v1", "a");
    let unsigned = scene.push("b:v1", "b");
    let forget = || {
        let cache = scene.bench.path().join("cache");
        if cache.exists() {
            fs::remove_dir_all(cache).unwrap();
        }
    };
    let subject = "timestamping certificate with subject \"CN=TSA\"";
    let refused = |text: &str| {
        forget();
        let ran = scene.run(
            Tool::Hardsign,
            sign(Tool::Hardsign, &tsa, &root, &[&unsigned]),
        );
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let error = format!("Error: timestamp: {subject} {text}");
        assert!(ran.stderr.contains(&error), "{}", ran.stderr);
        let theirs = scene.run(
            Tool::Notation,
            sign(Tool::Notation, &tsa, &root, &[&unsigned]),
        );
        assert!(theirs.stderr.contains(&error), "{}", theirs.stderr);
        let list = scene.ok(Tool::Hardsign, ["list", &unsigned]);
        assert!(
            list.stdout.contains("has no associated signatures"),
            "{}",
            list.stdout
        );
    };
    refused("revocation status is unknown");
    crls.publish(authority.crl());
    forget();
    scene.ok(
        Tool::Hardsign,
        sign(Tool::Hardsign, &tsa, &root, &[&artifact]),
    );
    scene.both_verify(&artifact);

    authority.revoke();
    crls.publish(authority.crl());
    refused("is revoked");
    for overrides in [
        json!({}),
        json!({"revocation": "skip"}),
        json!({"revocation": "log"}),
    ] {
        forget();
        scene.bench.policy(&json!({
            "name": "all",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict", "override": overrides},
            "trustStores": ["ca:tests", "tsa:t"],
            "trustedIdentities": ["*"],
        }));
        let [ours, _] = scene.both_refuse(&artifact);
        assert!(ours.contains(&format!("{subject} is revoked")), "{ours}");
    }
}

/// CLI-32, TSA-04: each signature of a batch has a token of its own, over connections that stay
/// open; files and artifacts; `inspect` shows them (CLI-49, CLI-55, TSA-38).
#[test]
fn tsa_04_a_batch_has_a_token_for_each_signature() {
    let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "k", "01");
    let bench = Workbench::with_token(&token);
    let authority = Arc::new(
        Builder::new(KeySpec::Rsa2048)
            .settings("accuracy = secs:1, millisecs:500\n")
            .build(),
    );
    let tsa = Tsa::start(&authority);
    let root = authority.root().display().to_string();
    let files: Vec<_> = (0..12).map(|i| format!("file{i}")).collect();
    for file in &files {
        fs::write(bench.path().join(file), file).unwrap();
    }
    let uri = token.uri("k");
    let mut words = vec!["blob", "sign", "--plugin", "pkcs11", "--id", &uri];
    words.extend(["--timestamp-url", &tsa.url, "--timestamp-root-cert", &root]);
    // One connection for each file under way, which is used again.
    words.extend(["--jobs", "4"]);
    words.extend(files.iter().map(String::as_str));
    bench.hardsign_ok(&words);
    assert_eq!(tsa.queries(), files.len());
    // One that is free a moment late is replaced; without using them again there would be twelve.
    assert!(tsa.connections() <= 8, "{} connections", tsa.connections());
    let mut tokens: Vec<_> = files
        .iter()
        .map(|file| stored_token(&bench, file))
        .collect();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), files.len());

    let shown = bench.hardsign_ok(["blob", "inspect", "-o", "json", "file0.jws.sig"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let stamp = &shown["unsignedAttributes"]["timestampSignature"];
    let range = stamp["timestamp"].as_str().unwrap();
    assert!(
        range.starts_with("[20") && range.ends_with(".5Z]"),
        "{range}"
    );
    let [signer, root] = [authority.signer(), authority.root()].map(|path| fingerprint(&path));
    assert_eq!(stamp["certificates"][0]["SHA256Fingerprint"], signer);
    assert_eq!(stamp["certificates"][0]["issuedTo"], "CN=TSA");
    assert_eq!(stamp["certificates"][0]["issuedBy"], "CN=TSA Root");
    assert_ne!(signer, root);
    let tree = bench
        .hardsign_ok(["blob", "inspect", "file0.jws.sig"])
        .stdout;
    assert!(
        tree.contains(&format!(
            "    └── certificates\n│           └── SHA256 fingerprint: {signer}\n│               ├── issued to: CN=TSA\n"
        )),
        "{tree}"
    );
    assert!(
        tree.contains("│   └── timestamp signature\n│       ├── timestamp: ["),
        "{tree}"
    );
}

/// The token in a file's signature.
fn stored_token(bench: &Workbench, file: &str) -> String {
    let envelope = fs::read(bench.path().join(format!("{file}.jws.sig"))).unwrap();
    let envelope: Value = serde_json::from_slice(&envelope).unwrap();
    let token = &envelope["header"]["io.cncf.notary.timestampSignature"];
    token.as_str().unwrap().to_owned()
}

fn fingerprint(certificate: &Path) -> String {
    let mut openssl = Command::new("openssl");
    let output = run(openssl
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(certificate));
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, hex) = text.trim().split_once('=').unwrap();
    hex.replace(':', "").to_lowercase()
}
