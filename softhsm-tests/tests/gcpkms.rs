//! Keys in a fake Google Cloud KMS (`softhsm_tests::fakes::google`), which checks tokens and CRC32C as
//! the service does: every key type signs, and what goes wrong is told.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::cloud::{
    CloudKey, artifact, bench, both_tools_sign_and_verify, conforms, openssl_verifies, refused,
    sign, signs_and_verifies, verify,
};
use softhsm_tests::fakes::Fault;
use softhsm_tests::fakes::google::{FakeCloudKms, RING};
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{keys, peers, run};

/// The key types of the service that the Notary Project allows.
const TYPES: [(KeySpec, &str); 4] = [
    (KeySpec::Rsa2048, "RSA_SIGN_PSS_2048_SHA256"),
    (KeySpec::Rsa4096, "RSA_SIGN_PSS_4096_SHA512"),
    (KeySpec::Ec256, "EC_SIGN_P256_SHA256"),
    (KeySpec::Ec384, "EC_SIGN_P384_SHA384"),
];

fn name(key: &str) -> String {
    format!("{RING}/cryptoKeys/{key}")
}

/// A key of the fake by its name, with the chain of the test key that it is.
fn key(fake: &FakeCloudKms, id: impl Into<String>, spec: KeySpec) -> CloudKey {
    CloudKey::new("gcpkms", id)
        .with("endpoint", fake.endpoint())
        .with("cert-chain", keys::key(spec).chain.display())
}

/// A fake with one key, `release` on P-256.
fn with_release() -> (FakeCloudKms, Workbench, CloudKey) {
    let fake = FakeCloudKms::start();
    let spec = KeySpec::Ec256;
    fake.add("release", "EC_SIGN_P256_SHA256", spec, &keys::key(spec).key);
    let bench = bench(&fake.environment());
    let key = key(&fake, format!("gcpkms://{}", name("release")), spec);
    (fake, bench, key)
}

fn count(asked: &[String], part: &str) -> usize {
    asked.iter().filter(|line| line.contains(part)).count()
}

/// ENV-32, ENV-35, ENV-37: each key type signs in both formats; openssl, and the real `notation` in
/// both directions, agree.
#[test]
fn every_key_type_signs_and_verifies() {
    let fake = FakeCloudKms::start();
    let mut all = Vec::new();
    for (spec, algorithm) in TYPES {
        fake.add(spec.name(), algorithm, spec, &keys::key(spec).key);
        let key = key(&fake, name(spec.name()), spec);
        let bench = bench(&fake.environment());
        signs_and_verifies(&bench, &key, spec.name());
        let reference = artifact(&bench, &format!("{} for openssl", spec.name()));
        assert_eq!(sign(&bench, &key, &[&reference]).code, Some(0));
        openssl_verifies(&bench, &reference, spec, &fake.public_pem(spec.name(), 1));
        conforms(&bench, &key);
        all.push((spec.name(), key));
    }
    let all: Vec<(&str, &CloudKey)> = all.iter().map(|(name, key)| (*name, key)).collect();
    both_tools_sign_and_verify(bench(&fake.environment()), &all);
}

/// The key ids that people have, and plain plugin config.
#[test]
fn every_key_id_signs() {
    let (fake, bench, _) = with_release();
    let spec = KeySpec::Ec256;
    let full = name("release");
    for id in [
        full.clone(),
        format!("gcpkms://{full}"),
        format!("gcpkms://{full}/cryptoKeyVersions/1"),
        format!("gcpkms://{full}/versions/1"),
        format!("cloudkms:{full}/cryptoKeyVersions/1"),
        format!("//cloudkms.googleapis.com/{full}"),
    ] {
        signs_and_verifies(&bench, &key(&fake, id.clone(), spec), &id);
    }
    let plain = key(&fake, "release", spec)
        .with("project", "acme")
        .with("location", "europe-west3")
        .with("key-ring", "ci")
        .with("version", 1);
    signs_and_verifies(&bench, &plain, "plain config");
}

/// The newest enabled version signs, the one that is named if one is; its certificate decides.
#[test]
fn the_version_is_pinned_when_the_key_is_opened() {
    let (fake, bench, key) = with_release();
    let second = keys::named(KeySpec::Ec256, "google second");
    fake.add("release", "", KeySpec::Ec256, &second.key);
    let first = CloudKey::new("gcpkms", format!("{}/cryptoKeyVersions/1", name("release")))
        .with("endpoint", fake.endpoint())
        .with("cert-chain", keys::key(KeySpec::Ec256).chain.display());
    signs_and_verifies(&bench, &first, "the first version");
    refused(
        &bench,
        &key,
        "the certificate of the first",
        "certificate",
        "",
    );
    let newest = CloudKey::new("gcpkms", name("release"))
        .with("endpoint", fake.endpoint())
        .with("cert-chain", second.chain.display());
    signs_and_verifies(&bench, &newest, "the newest version");
    fake.set_state("release", 2, "DISABLED");
    signs_and_verifies(&bench, &key, "the newest that is enabled");

    // A version that comes between the public key and the signature is not used.
    let reference = artifact(&bench, "rotated");
    fake.slow_down(Duration::from_millis(400));
    let command = ["sign", "--oci-layout"];
    let all = command
        .into_iter()
        .chain(key.flags())
        .chain([reference.as_str()]);
    let hardsign = softhsm_tests::binaries().join("hardsign");
    let child = bench.command(&hardsign, all).spawn().unwrap();
    fake.asked();
    while count(&fake.asked(), "publicKey") == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    fake.add("release", "", KeySpec::Ec256, &second.key);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(verify(&bench, &reference).code, Some(0));
}

/// 200 signatures of one session are 200 requests and two others: the list of versions and the public
/// key.
#[test]
fn a_signature_is_one_request() {
    let (fake, bench, key) = with_release();
    let references: Vec<_> = (0..200)
        .map(|n| artifact(&bench, &format!("a{n}")))
        .collect();
    let all: Vec<&str> = references.iter().map(String::as_str).collect();
    let signed = sign(&bench, &key, &all);
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    let asked = fake.asked();
    assert_eq!(count(&asked, ":asymmetricSign"), 200);
    assert_eq!(asked.len(), 202, "{:?}", &asked[..5]);
    assert_eq!(verify(&bench, &references[199]).code, Some(0));
}

/// What the service refuses is told with the next step, and nothing is stored.
#[test]
fn refusals_are_told() {
    let (fake, bench, release) = with_release();
    let spec = KeySpec::Ec256;
    fake.add_symmetric("symmetric");
    for (name, algorithm, spec) in [
        ("rsa-3072", "RSA_SIGN_PSS_3072_SHA256", KeySpec::Rsa3072),
        ("rsa-4096", "RSA_SIGN_PSS_4096_SHA256", KeySpec::Rsa4096),
        ("pkcs1", "RSA_SIGN_PKCS1_2048_SHA256", KeySpec::Rsa2048),
        ("off", "EC_SIGN_P256_SHA256", KeySpec::Ec256),
        ("gone", "EC_SIGN_P256_SHA256", KeySpec::Ec256),
    ] {
        fake.add(name, algorithm, spec, &keys::key(spec).key);
    }
    fake.set_state("off", 1, "DISABLED");
    fake.set_state("gone", 1, "DESTROYED");
    let version = |key: &str| format!("{}/cryptoKeyVersions/1", name(key));
    let instead = "RSA_SIGN_PSS_4096_SHA512";
    for (id, error, hint) in [
        (name("absent"), "not found", "gcloud kms keys list"),
        (
            format!("{}/cryptoKeyVersions/7", name("release")),
            "not found",
            "version",
        ),
        (name("symmetric"), "GOOGLE_SYMMETRIC_ENCRYPTION", instead),
        (version("symmetric"), "purpose", "key id"),
        (name("rsa-3072"), "needs SHA-384", instead),
        (version("rsa-3072"), "needs SHA-384", instead),
        (name("rsa-4096"), "needs SHA-512", instead),
        (name("pkcs1"), "RSASSA-PSS", instead),
        (name("off"), "no enabled version", "enable"),
        (version("off"), "current state is: DISABLED", "enable"),
        (
            version("gone"),
            "current state is: DESTROYED",
            "newest enabled",
        ),
        (
            "projects/acme/locations/nowhere/keyRings/ci/cryptoKeys/k".to_owned(),
            "not found",
            "location",
        ),
        (
            "awskms:///alias/x".to_owned(),
            "scheme \"awskms\"",
            "gcpkms://",
        ),
        ("release".to_owned(), "the project", "gcpkms://"),
    ] {
        refused(&bench, &key(&fake, id.clone(), spec), &id, error, hint);
    }
    let misspelt = release.clone().with("key-rign", "x");
    refused(&bench, &misspelt, "misspelt", "key-rign", "key-ring");
    let plain = CloudKey::new("gcpkms", name("release")).with("endpoint", "http://kms.example.com");
    refused(&bench, &plain, "plain http", "endpoint", "https://");
}

/// Credentials that are not there, wrong, of another, or expired: what was looked for, and in which
/// order; no wait of a minute.
#[test]
fn credentials_that_give_no_access_are_told() {
    let (_fake, _, key) = with_release();
    let start = Instant::now();
    let nobody = bench(&[("GCE_METADATA_HOST", "127.0.0.1:9".to_owned())]);
    let text = refused(
        &nobody,
        &key,
        "no credentials",
        "no Google credentials are known",
        "gcloud auth application-default login",
    );
    let places = [
        "GOOGLE_APPLICATION_CREDENTIALS",
        "application_default_credentials.json",
        "metadata server",
    ];
    let found: Vec<_> = places
        .iter()
        .map(|place| text.find(place).unwrap())
        .collect();
    assert!(found.is_sorted(), "{text}");

    // A metadata server that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let waiting = bench(&[("GCE_METADATA_HOST", host)]);
    refused(
        &waiting,
        &key,
        "a silent metadata server",
        "no answer in 2 seconds",
        "gcloud",
    );
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

/// Files that are no credentials, or those of another; tokens that are refused.
#[test]
fn credentials_that_are_refused_are_told() {
    let (fake, known, key) = with_release();
    let of = |file: &str| bench(&[("GOOGLE_APPLICATION_CREDENTIALS", file.to_owned())]);
    refused(
        &of("/nowhere/c.json"),
        &key,
        "no file",
        "/nowhere/c.json",
        "check the file",
    );
    let junk = known.path().join("junk.json");
    for content in [
        "",
        "{}",
        "{\"type\":\"service_account\"}",
        "{\"type\":\"unheard\"}",
    ] {
        fs::write(&junk, content).unwrap();
        refused(
            &of(junk.to_str().unwrap()),
            &key,
            content,
            "GOOGLE_APPLICATION_CREDENTIALS",
            "check the file",
        );
    }
    let other = keys::named(KeySpec::Rsa2048, "no service account").key;
    let other = fake.write_credentials("other.json", &other);
    let text = refused(
        &of(other.to_str().unwrap()),
        &key,
        "another account",
        "invalid authentication credentials",
        "clock",
    );
    assert!(!text.contains("PRIVATE KEY"), "{text}");
    fake.distort(":asymmetricSign", Fault::Expired);
    refused(
        &known,
        &key,
        "expired",
        "invalid authentication",
        "log in again",
    );
    fake.mend();
    fake.distort(":asymmetricSign", Fault::Denied);
    refused(
        &known,
        &key,
        "denied",
        "Permission denied",
        "roles/cloudkms.signerVerifier",
    );
    fake.mend();
    fake.distort("cryptoKeyVersions", Fault::Denied);
    refused(
        &known,
        &key,
        "list denied",
        "Permission denied",
        "roles/cloudkms.viewer",
    );
}

/// Answers that are not right are found out, by the plugin or by the host, and nothing is stored.
#[test]
fn wrong_answers_are_not_used() {
    let (fake, bench, release) = with_release();
    let spec = KeySpec::Rsa2048;
    fake.add(
        "rsa",
        "RSA_SIGN_PSS_2048_SHA256",
        spec,
        &keys::key(spec).key,
    );
    let rsa = key(&fake, name("rsa"), spec);
    let faults = [
        (
            ":asymmetricSign",
            Fault::WrongChecksum,
            "CRC32C",
            "run the command again",
        ),
        (
            ":asymmetricSign",
            Fault::DigestLost,
            "digest was damaged",
            "run the command again",
        ),
        (
            ":asymmetricSign",
            Fault::AnotherVersion,
            "was asked for",
            "not used",
        ),
        (":asymmetricSign", Fault::AnotherKey, "signature", ""),
        (":asymmetricSign", Fault::Short, "signature", "not used"),
        (":asymmetricSign", Fault::Junk, "can't be read", "endpoint"),
        (
            "publicKey",
            Fault::WrongChecksum,
            "public key was damaged",
            "run the command again",
        ),
        (
            "publicKey",
            Fault::AnotherVersion,
            "was asked for",
            "not used",
        ),
        ("publicKey", Fault::AnotherKey, "certificate", ""),
        ("publicKey", Fault::Junk, "can't be read", "endpoint"),
    ];
    for (path, fault, error, hint) in faults {
        for key in [&release, &rsa] {
            fake.distort(path, fault);
            refused(
                &bench,
                key,
                &format!("{path} {fault:?} {}", key.id),
                error,
                hint,
            );
            fake.mend();
        }
    }
    fake.distort(":asymmetricSign", Fault::WrongSalt);
    refused(&bench, &rsa, "wrong salt", "signature", "");
}

/// A service that is busy, breaks off or has a problem is asked again; one that has it for long, or
/// never answers, is told.
#[test]
fn passing_faults_pass() {
    let (fake, bench, key) = with_release();
    let start = Instant::now();
    let throttled = Duration::from_secs(5);
    for (name, fault) in [
        ("throttled", Fault::Throttled(throttled)),
        ("cut off", Fault::CutOff(2)),
        ("broken", Fault::Broken(2)),
    ] {
        fake.distort(":asymmetricSign", fault);
        let references: Vec<_> = (0..8)
            .map(|n| artifact(&bench, &format!("{name}{n}")))
            .collect();
        let all: Vec<&str> = references.iter().map(String::as_str).collect();
        let signed = sign(&bench, &key, &all);
        assert_eq!(signed.code, Some(0), "{name}: {}", signed.stderr);
        let told = signed.stderr.matches("trying again").count();
        assert_eq!(told, 1, "{name}: {}", signed.stderr);
        for reference in &references {
            assert_eq!(verify(&bench, reference).code, Some(0), "{name}");
        }
        fake.mend();
    }
    assert!(start.elapsed() > throttled);
}

/// A service that never answers costs less than a minute.
#[test]
fn a_silent_service_is_told() {
    let (fake, bench, key) = with_release();
    fake.distort(":asymmetricSign", Fault::Silent);
    let start = Instant::now();
    let reference = artifact(&bench, "silent");
    let before = bench.layout.snapshot();
    let ran = sign(&bench, &key, &[&reference]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("did not answer"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("Hint: check the network"),
        "{}",
        ran.stderr
    );
    assert_eq!(bench.layout.snapshot(), before);
    assert!(
        start.elapsed() < Duration::from_secs(75),
        "{:?}",
        start.elapsed()
    );
}

/// A key's life: made after consent, a request and a certificate for it, kept by the host, shown, listed,
/// and a second version of it.
#[test]
fn a_key_lives_in_the_service() {
    let (fake, bench, _) = with_release();
    let id = format!("gcpkms://{}", name("team"));
    let endpoint = format!("endpoint={}", fake.endpoint());
    let named = [
        "--plugin",
        "gcpkms",
        "--id",
        &id,
        "--plugin-config",
        &endpoint,
    ];
    let create = ["key", "create", "team", "--type", "EC-384"];
    let unasked = bench.hardsign(create.iter().chain(&named));
    assert_ne!(unasked.code, Some(0));
    assert!(unasked.stdout.contains("costs money"), "{unasked:?}");
    assert_eq!(count(&fake.asked(), "POST"), 0);
    let made = bench.hardsign_ok(
        create
            .iter()
            .chain(&named)
            .chain(&["--yes", "--output", "json"]),
    );
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    assert!(made.to_string().contains("cryptoKeyVersions/1"), "{made}");
    let asked = fake.asked();
    assert_eq!(count(&asked, "POST"), 1, "{asked:?}");

    let subject = "C=US,ST=WA,O=Example,CN=team";
    let request = bench.path().join("team.csr");
    let file = request.to_str().unwrap();
    bench.hardsign_ok([
        "key",
        "request",
        "team",
        "--subject",
        subject,
        "--out",
        file,
    ]);
    let checked = run(Command::new("openssl").args(["req", "-verify", "-noout", "-in", file]));
    assert!(String::from_utf8_lossy(&checked.stderr).contains("verify OK"));
    let chain = keys::certify(&fake.public_pem("team", 1), "google-team");
    bench.hardsign_ok(["key", "import-cert", "team", chain.to_str().unwrap()]);
    let kept = bench.config().join("hardsign/chains/team.pem");
    assert!(kept.is_file());
    let reference = artifact(&bench, "signed by name");
    bench.hardsign_ok(["sign", "--key", "team", "--oci-layout", &reference]);
    assert_eq!(verify(&bench, &reference).code, Some(0));
    let shown = bench.hardsign_ok(["key", "show", "team"]).stdout;
    for part in [
        "EC-384",
        "SOFTWARE",
        "EC_SIGN_P384_SHA384",
        "Google Cloud KMS",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// Keys are listed and get new versions by force alone; a CA of a team lives there too; what the service
/// can't make is told.
#[test]
fn keys_are_listed_and_get_versions() {
    let (fake, bench, _) = with_release();
    let endpoint = format!("endpoint={}", fake.endpoint());
    let of_service = ["--plugin", "gcpkms", "--plugin-config", &endpoint];
    let create = |entry: &str, key: &str, kind: &str, more: &[&str]| {
        let id = format!("gcpkms://{}", name(key));
        let command = ["key", "create", entry, "--yes", "--type", kind, "--id", &id];
        bench.hardsign(command.iter().chain(&of_service).chain(more))
    };
    let made = create("team", "team", "EC-384", &[]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let ring = format!("gcpkms://{RING}");
    let list = ["key", "list", "--id", &ring];
    let listed = bench.hardsign_ok(list.iter().chain(&of_service)).stdout;
    for part in ["cryptoKeys/release", "cryptoKeys/team", "EC-384"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let again = create("again", "team", "EC-384", &[]);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    let made = create("again", "team", "EC-384", &["--force", "--output", "json"]);
    assert!(made.stdout.contains("cryptoKeyVersions/2"), "{made:?}");
    let other = create("other", "team", "RSA-2048", &["--force"]);
    assert!(other.stderr.contains("choose another name"), "{other:?}");
    assert_eq!(create("ca", "ca", "EC-256", &[]).code, Some(0));
    let certify = ["key", "certify", "ca", "--ca", "--days", "30"];
    bench.hardsign_ok(certify.iter().chain(&["--subject", "C=US,O=Example,CN=ca"]));
    for kind in ["EC-521", "RSA-3072"] {
        let wrong = create("wrong", "wrong", kind, &[]);
        assert!(wrong.stderr.contains("EC-384"), "{}", wrong.stderr);
    }
}

/// SEC-01: no part of a credential is in any output at `-d`, nor in the arguments of a process.
#[test]
fn no_credential_is_told() {
    let (fake, bench, key) = with_release();
    let reference = artifact(&bench, "debug");
    fake.slow_down(Duration::from_millis(300));
    let flags = ["sign", "-d", "--oci-layout"];
    let all = flags
        .into_iter()
        .chain(key.flags())
        .chain([reference.as_str()]);
    let hardsign = softhsm_tests::binaries().join("hardsign");
    let mut command = bench.command(&hardsign, all);
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    while fake.asked().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let arguments = bench.processes().join("\n");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(arguments.contains("notation-gcpkms"), "{arguments}");
    let credentials = fs::read_to_string(fake.credentials()).unwrap();
    let credentials: Value = serde_json::from_str(&credentials).unwrap();
    let private = credentials["private_key"].as_str().unwrap();
    let line = private.lines().nth(1).unwrap();
    let texts = [output.stdout, output.stderr, arguments.into_bytes()];
    for text in texts.map(|text| String::from_utf8_lossy(&text).into_owned()) {
        // A JWT begins with these letters: `{"` in base64url.
        for secret in [line, "PRIVATE KEY", "eyJhbGciOiJSUzI1NiI", "Bearer"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

/// The fake is read by the service's own Python client: the public key, a signature and its checksums, the
/// list of versions.
#[test]
fn googles_own_client_reads_the_fake() {
    let fake = FakeCloudKms::start();
    for (spec, algorithm) in TYPES {
        fake.add(spec.name(), algorithm, spec, &keys::key(spec).key);
    }
    let keys: Vec<Value> = TYPES
        .iter()
        .map(|(spec, algorithm)| json!([name(spec.name()), algorithm, spec.hash().name()]))
        .collect();
    let question = json!({"endpoint": fake.endpoint(), "keys": keys});
    let output = run(Command::new(peers::program("kms-clients"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/google_kms.py"))
        .arg(question.to_string())
        .env("GOOGLE_APPLICATION_CREDENTIALS", fake.credentials()));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["verified"], TYPES.len(), "{answer}");
    assert_eq!(answer["versions"], TYPES.len(), "{answer}");
    assert_eq!(answer["refused"], "NOT_FOUND", "{answer}");
}
