//! Keys in a fake Google Cloud KMS (`softhsm_tests::fakes::google`), which checks tokens and CRC32C as
//! the service does: every key type signs, and what goes wrong is told.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::process::Command;
use std::time::Duration;

use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::cloud::{
    self, CloudKey, Made, a_ca_issues_and_renews, a_key_is_renewed, artifact, artifacts, bench,
    both_tools_sign_and_verify, conforms, count, openssl_verifies, refused, sign, signs_all,
    signs_and_verifies, verify,
};
use softhsm_tests::fakes::google::{FakeCloudKms, RING, name};
use softhsm_tests::fakes::{Fake as _, Fault};
use softhsm_tests::{keys, peers, run};

/// The key types of the service that the Notary Project allows.
const TYPES: [(KeySpec, &str); 4] = [
    (KeySpec::Rsa2048, "RSA_SIGN_PSS_2048_SHA256"),
    (KeySpec::Rsa4096, "RSA_SIGN_PSS_4096_SHA512"),
    (KeySpec::Ec256, "EC_SIGN_P256_SHA256"),
    (KeySpec::Ec384, "EC_SIGN_P384_SHA384"),
];

/// ENV-32, ENV-35, ENV-37: each key type signs in both formats; openssl, and the real `notation` in
/// both directions, agree.
#[test]
fn every_key_type_signs_and_verifies() {
    let fake = FakeCloudKms::start();
    let mut all = Vec::new();
    for (spec, algorithm) in TYPES {
        fake.add(spec.name(), algorithm, spec, &keys::key(spec).key);
        let key = fake.key(name(spec.name()), spec);
        let bench = bench(&fake.environment());
        signs_and_verifies(&bench, &key, spec.name());
        let reference = artifact(&bench, &format!("{} for openssl", spec.name()));
        assert_eq!(sign(&bench, &key, &[&reference]).code, Some(0));
        openssl_verifies(&bench, &reference, spec, &fake.public_pem(spec.name(), 1));
        conforms(&bench, &key, &name(&format!("made-{}", spec.name())));
        all.push((spec.name(), key));
    }
    let all: Vec<(&str, &CloudKey)> = all.iter().map(|(name, key)| (*name, key)).collect();
    both_tools_sign_and_verify(bench(&fake.environment()), &all);
}

/// The key ids that people have, and plain plugin config.
#[test]
fn every_key_id_signs() {
    let (fake, bench, _) = FakeCloudKms::with_release();
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
        signs_and_verifies(&bench, &fake.key(id.clone(), spec), &id);
    }
    let plain = fake
        .key("release", spec)
        .with("project", "acme")
        .with("location", "europe-west3")
        .with("key-ring", "ci")
        .with("version", 1);
    signs_and_verifies(&bench, &plain, "plain config");
}

/// The newest enabled version signs, the one that is named if one is; its certificate decides.
#[test]
fn the_version_is_pinned_when_the_key_is_opened() {
    let (fake, bench, key) = FakeCloudKms::with_release();
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
    fake.asked();
    let mut child = bench.command(&hardsign, all).spawn().unwrap();
    while count(&fake.asked(), "publicKey") == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
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
    let (fake, bench, key) = FakeCloudKms::with_release();
    let references = artifacts(&bench, "a", 200);
    signs_all(&bench, &key, &references);
    let asked = fake.asked();
    assert_eq!(count(&asked, ":asymmetricSign"), 200);
    assert_eq!(asked.len(), 202, "{:?}", &asked[..5]);
    assert_eq!(verify(&bench, &references[199]).code, Some(0));
}

/// What the service refuses is told with the next step, and nothing is stored.
#[test]
fn refusals_are_told() {
    let (fake, bench, release) = FakeCloudKms::with_release();
    let spec = KeySpec::Ec256;
    fake.add_symmetric("symmetric");
    for (name, algorithm, spec) in [
        ("rsa-3072", "RSA_SIGN_PSS_3072_SHA256", KeySpec::Rsa3072),
        ("rsa-4096", "RSA_SIGN_PSS_4096_SHA256", KeySpec::Rsa4096),
        ("pkcs1", "RSA_SIGN_PKCS1_2048_SHA256", KeySpec::Rsa2048),
        ("off", "EC_SIGN_P256_SHA256", KeySpec::Ec256),
        ("gone", "EC_SIGN_P256_SHA256", KeySpec::Ec256),
        ("going", "EC_SIGN_P256_SHA256", KeySpec::Ec256),
    ] {
        fake.add(name, algorithm, spec, &keys::key(spec).key);
    }
    fake.set_state("off", 1, "DISABLED");
    fake.set_state("gone", 1, "DESTROYED");
    fake.set_state("going", 1, "DESTROY_SCHEDULED");
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
            version("going"),
            "current state is: DESTROY_SCHEDULED",
            "versions restore",
        ),
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
        refused(&bench, &fake.key(id.clone(), spec), &id, error, hint);
    }
    let misspelt = release.clone().with("key-rign", "x");
    refused(&bench, &misspelt, "misspelt", "key-rign", "key-ring");
    let plain = CloudKey::new("gcpkms", name("release")).with("endpoint", "http://kms.example.com");
    refused(&bench, &plain, "plain http", "endpoint", "https://");
}

/// Answers that are not right are found out, by the plugin or by the host, and nothing is stored.
#[test]
fn wrong_answers_are_not_used() {
    let (fake, bench, release) = FakeCloudKms::with_release();
    let spec = KeySpec::Rsa2048;
    let algorithm = "RSA_SIGN_PSS_2048_SHA256";
    fake.add("rsa", algorithm, spec, &keys::key(spec).key);
    let rsa = fake.key(name("rsa"), spec);
    let (sign, public) = (":asymmetricSign", "publicKey");
    let again = "run the command again";
    let faults = [
        (sign, Fault::WrongChecksum, "CRC32C", again),
        (sign, Fault::DigestLost, "digest was damaged", again),
        (sign, Fault::AnotherVersion, "was asked for", "not used"),
        (sign, Fault::AnotherKey, "signature", ""),
        (sign, Fault::Short, "signature", "not used"),
        (sign, Fault::Junk, "can't be read", "endpoint"),
        (
            public,
            Fault::WrongChecksum,
            "public key was damaged",
            again,
        ),
        (public, Fault::AnotherVersion, "was asked for", "not used"),
        (public, Fault::AnotherKey, "certificate", ""),
        (public, Fault::Junk, "can't be read", "endpoint"),
    ];
    cloud::wrong_answers_are_not_used(&fake, &bench, &[&release, &rsa], &faults);
    let salt = [(sign, Fault::WrongSalt, "signature", "")];
    cloud::wrong_answers_are_not_used(&fake, &bench, &[&rsa], &salt);
}

/// A service that is busy, breaks off or has a problem is asked again.
#[test]
fn passing_faults_pass() {
    let (fake, bench, key) = FakeCloudKms::with_release();
    cloud::passing_faults_pass(&fake, &bench, &key, ":asymmetricSign");
}

/// A service that never answers costs less than a minute.
#[test]
fn a_silent_service_is_told() {
    let (fake, bench, key) = FakeCloudKms::with_release();
    fake.distort(":asymmetricSign", Fault::Silent);
    cloud::silence_is_told(&bench, &key);
}

/// A key's life: made after consent, a request and a certificate for it, kept by the host, shown, listed,
/// and a second version of it.
#[test]
fn a_key_lives_in_the_service() {
    let (fake, bench, _) = FakeCloudKms::with_release();
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
    let (fake, bench, _) = FakeCloudKms::with_release();
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
    let (fake, bench, key) = FakeCloudKms::with_release();
    fake.slow_down(Duration::from_millis(300));
    let credentials = fs::read_to_string(fake.credentials()).unwrap();
    let credentials: Value = serde_json::from_str(&credentials).unwrap();
    let private = credentials["private_key"].as_str().unwrap();
    let line = private.lines().nth(1).unwrap();
    // A JWT begins with these letters: `{"` in base64url.
    let secrets = [line, "PRIVATE KEY", "eyJhbGciOiJSUzI1NiI", "Bearer"];
    cloud::no_credential_is_told(&fake, &bench, &key, &secrets);
}

/// The token of a service account begins and ends by this machine's clock: by how much it is wrong is
/// told, and nothing is stored.
#[test]
fn a_wrong_clock_is_told() {
    let (fake, bench, key) = FakeCloudKms::with_release();
    for (minutes, told) in [(120, "behind"), (-120, "ahead of")] {
        fake.set_clock(minutes);
        let error = "invalid authentication credentials";
        let text = refused(&bench, &key, told, error, "this machine's clock is");
        let exact = ["119", "120"].map(|by| format!("{by} minutes {told} the service's"));
        assert!(exact.iter().any(|told| text.contains(told)), "{text}");
    }
    fake.set_clock(0);
    signs_and_verifies(&bench, &key, "a right clock");
}

/// A CA and a key in the service, of these types.
fn issues(ca: &str, key: &str) {
    let (fake, bench, _) = FakeCloudKms::with_release();
    let endpoint = format!("endpoint={}", fake.endpoint());
    let made = Made {
        plugin: "gcpkms",
        id: &|key| format!("gcpkms://{}", name(key)),
        config: &[&endpoint],
    };
    a_ca_issues_and_renews(&bench, &made, ca, key);
}

/// A team's CA in the service certifies a key there, by its request and by its name, renews and revokes.
#[test]
fn a_ca_in_the_service_issues() {
    issues("EC-384", "EC-256");
}

/// The same with RSA, whose requests and certificates are signed with RSASSA-PSS, for the service has no other
/// for such a key.
#[test]
fn a_ca_with_rsa_issues() {
    issues("RSA-4096", "RSA-2048");
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

/// `key renew --new-key`.
#[test]
fn a_key_is_renewed_with_a_new_one() {
    let (fake, bench, _) = FakeCloudKms::with_release();
    let endpoint = format!("endpoint={}", fake.endpoint());
    let made = Made {
        plugin: "gcpkms",
        id: &|key| format!("gcpkms://{}", name(key)),
        config: &[&endpoint],
    };
    a_key_is_renewed(&bench, &made);
}

/// The setting `rate`.
#[test]
fn a_rate_is_kept() {
    let (_fake, bench, key) = FakeCloudKms::with_release();
    cloud::a_rate_is_kept(&bench, &key);
}
