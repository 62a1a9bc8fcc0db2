//! Keys in a fake Azure Key Vault (`softhsm_tests::fakes::azure`), which checks tokens and key operations
//! as the service does: every key type signs, and what goes wrong is told. Who asks is tried in
//! `cloud_credentials.rs`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::cloud::{
    self, CloudKey, Made, a_ca_issues_and_renews, a_key_is_renewed, artifact, artifacts, bench,
    both_tools_sign_and_verify, conforms, count, openssl_verifies, refused, sign, signs_all,
    signs_and_verifies, verify,
};
use softhsm_tests::fakes::azure::{FakeKeyVault, HSM, VAULT};
use softhsm_tests::fakes::{Fake as _, Fault};
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys, peers, run};

fn kty(spec: KeySpec, hsm: bool) -> &'static str {
    match (spec.is_rsa(), hsm) {
        (true, true) => "RSA-HSM",
        (true, false) => "RSA",
        (false, true) => "EC-HSM",
        (false, false) => "EC",
    }
}

/// The intermediate CA and the root of the test keys, PEM.
fn issuers(bench: &Workbench, spec: KeySpec) -> PathBuf {
    let chain = fs::read_to_string(keys::key(spec).chain).unwrap();
    let (_, above) = chain.split_once("-----END CERTIFICATE-----\n").unwrap();
    let file = bench.path().join("issuers.pem");
    fs::write(&file, above).unwrap();
    file
}

/// ENV-32, ENV-35, ENV-37: each key type, in software and in the HSM, signs in both formats; openssl, and
/// the real `notation` in both directions, agree.
#[test]
fn every_key_type_signs_and_verifies() {
    let fake = FakeKeyVault::start();
    let mut all = Vec::new();
    for spec in KeySpec::ALL {
        let bench = bench(&fake.environment());
        for hsm in [false, true] {
            let kty = kty(spec, hsm);
            let name = format!("{kty}-{}", spec.name());
            let key = FakeKeyVault::key(fake.add(&name, kty, spec, &keys::key(spec).key), spec);
            signs_and_verifies(&bench, &key, &name);
            let reference = artifact(&bench, &format!("{name} for openssl"));
            assert_eq!(sign(&bench, &key, &[&reference]).code, Some(0));
            openssl_verifies(&bench, &reference, spec, &fake.public_pem(&name, 1));
            all.push((spec.name(), key));
        }
        let place = format!("azurekms://{VAULT}/made-{}", spec.name());
        conforms(&bench, &all.last().unwrap().1, &place);
    }
    let all: Vec<(&str, &CloudKey)> = all.iter().map(|(name, key)| (*name, key)).collect();
    both_tools_sign_and_verify(bench(&fake.environment()), &all);
    assert_eq!(count(&fake.asked(), "/secrets"), 0);
}

/// The key ids that people have, and plain plugin config.
#[test]
fn every_key_id_signs() {
    let (_fake, bench, release) = FakeKeyVault::with_release();
    let spec = KeySpec::Ec256;
    let version = format!("{:032x}", 1);
    for id in [
        release.id.clone(),
        format!("{}/{version}", release.id),
        format!("azurekms://{VAULT}/release"),
        format!("azurekms://{VAULT}/release/{version}"),
        "azurekms:name=release;vault=contoso".to_owned(),
        format!("azurekms:name=release;vault={VAULT}?version={version}"),
        format!("azurekms://{HSM}/release"),
    ] {
        signs_and_verifies(&bench, &FakeKeyVault::key(id.clone(), spec), &id);
    }
    for vault in ["contoso", VAULT, "https://contoso.vault.azure.net/"] {
        let plain = FakeKeyVault::key("release", spec)
            .with("vault", vault)
            .with("version", &version);
        signs_and_verifies(&bench, &plain, vault);
    }
}

/// The leaf of a certificate's key comes from the certificate; those above it from a file. The secret of
/// the same name is never asked for, and who may not read certificates takes all from the file.
#[test]
fn the_certificate_of_the_version_is_used() {
    let fake = FakeKeyVault::start();
    let bench = bench(&fake.environment());
    let spec = KeySpec::Rsa2048;
    let address = fake.add("release", "RSA-HSM", spec, &keys::key(spec).key);
    fake.certify("release", &keys::key(spec).leaf);
    let above = issuers(&bench, spec);
    let with_issuers =
        CloudKey::new("azurekms", address.clone()).with("cert-chain", above.display());
    signs_and_verifies(&bench, &with_issuers, "leaf of the certificate");
    let asked = fake.asked();
    assert!(count(&asked, "/certificates/release/") >= 2, "{asked:?}");
    assert_eq!(count(&asked, "/secrets"), 0);
    let alone = CloudKey::new("azurekms", address.clone());
    refused(
        &bench,
        &alone,
        "leaf alone",
        "Hardsign Tests CA",
        "up to the root",
    );
    fake.distort("/certificates/", Fault::Denied);
    signs_and_verifies(
        &bench,
        &FakeKeyVault::key(address, spec),
        "all from the file",
    );
    refused(&bench, &with_issuers, "no leaf", "certificate", "");
}

/// The version is pinned when the key is opened: one that comes between the public key and the signature
/// is not used.
#[test]
fn the_version_is_pinned_when_the_key_is_opened() {
    let (fake, bench, release) = FakeKeyVault::with_release();
    let second = keys::named(KeySpec::Ec256, "azure second");
    let newest = fake.add("release", "EC", KeySpec::Ec256, &second.key);
    let first = FakeKeyVault::key(format!("{}/{:032x}", release.id, 1), KeySpec::Ec256);
    signs_and_verifies(&bench, &first, "the first version");
    refused(
        &bench,
        &release,
        "the certificate of the first",
        "certificate",
        "",
    );
    let newest = CloudKey::new("azurekms", newest.rsplit_once('/').unwrap().0)
        .with("cert-chain", second.chain.display());
    signs_and_verifies(&bench, &newest, "the newest version");

    let reference = artifact(&bench, "rotated");
    fake.slow_down(Duration::from_millis(400));
    let command = ["sign", "--oci-layout"];
    let all = command.into_iter().chain(newest.flags());
    let hardsign = binaries().join("hardsign");
    fake.asked();
    let mut child = bench
        .command(&hardsign, all.chain([reference.as_str()]))
        .spawn()
        .unwrap();
    // Who asks for a signature knows the version.
    while count(&fake.asked(), "/sign") == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        sleep(Duration::from_millis(10));
    }
    fake.add(
        "release",
        "EC",
        KeySpec::Ec256,
        &keys::key(KeySpec::Ec256).key,
    );
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(verify(&bench, &reference).code, Some(0));
}

/// 200 signatures of one session are 200 requests and a few others: the token, a challenge and the key; a
/// challenge and the certificate for a certificate's key.
#[test]
fn a_signature_is_one_request() {
    let (fake, bench, key) = FakeKeyVault::with_release();
    for others in [3, 5] {
        let references = artifacts(&bench, &format!("a{others}"), 200);
        fake.asked();
        signs_all(&bench, &key, &references);
        let asked = fake.asked();
        assert_eq!(count(&asked, "/sign"), 200);
        assert_eq!(asked.len(), 200 + others, "{:?}", &asked[..8]);
        assert_eq!(verify(&bench, &references[199]).code, Some(0));
        fake.certify("release", &keys::key(KeySpec::Ec256).leaf);
    }
}

/// What the service refuses is told with the next step, and nothing is stored.
#[test]
fn refusals_are_told() {
    let (fake, bench, release) = FakeKeyVault::with_release();
    let spec = KeySpec::Ec256;
    for name in ["off", "encrypts", "gone"] {
        fake.add(name, "EC", spec, &keys::key(spec).key);
    }
    fake.disable("off");
    fake.allow("encrypts", &["encrypt", "decrypt"]);
    fake.delete("gone");
    let of = |name: &str| format!("azurekms://{VAULT}/{name}");
    for (id, error, hint) in [
        (of("absent"), "was not found", "az keyvault key list"),
        (of("gone"), "recently deleted", "recovered"),
        (
            format!("{}/{:032x}", of("release"), 7),
            "was not found",
            "version",
        ),
        (of("off"), "disabled", "enable the key"),
        (of("encrypts"), "may not sign", "--ops sign verify"),
        ("release".to_owned(), "the vault", "azurekms://"),
        (
            format!("https://{VAULT}/secrets/release"),
            "not that of a key",
            "/keys/NAME",
        ),
        (
            "gcpkms://projects/x".to_owned(),
            "scheme \"gcpkms\"",
            "azurekms://",
        ),
        // Something else answers for it.
        (
            "azurekms://nowhere.vault.azure.cn/k".to_owned(),
            "not valid for name",
            "another server answers",
        ),
    ] {
        refused(
            &bench,
            &FakeKeyVault::key(id.clone(), spec),
            &id,
            error,
            hint,
        );
    }
    let misspelt = release.with("valut", "contoso");
    refused(&bench, &misspelt, "misspelt", "valut", "vault");
}

/// Answers that are not right are found out, by the plugin or by the host, and nothing is stored.
#[test]
fn wrong_answers_are_not_used() {
    let (fake, bench, release) = FakeKeyVault::with_release();
    let spec = KeySpec::Rsa2048;
    let rsa = fake.add("rsa", "RSA", spec, &keys::key(spec).key);
    let rsa = FakeKeyVault::key(rsa, spec);
    let (sign, key) = ("/sign", "/keys/");
    let faults = [
        (sign, Fault::AnotherVersion, "was asked for", "not used"),
        (sign, Fault::AnotherKey, "signature", ""),
        (sign, Fault::Short, "16 bytes", "not used"),
        (sign, Fault::Junk, "can't be read", "proxy"),
        (key, Fault::AnotherVersion, "was asked for", "not used"),
        (key, Fault::AnotherKey, "certificate", ""),
        (key, Fault::Junk, "can't be read", "proxy"),
    ];
    cloud::wrong_answers_are_not_used(&fake, &bench, &[&release, &rsa], &faults);
    let salt = [(sign, Fault::WrongSalt, "signature", "")];
    cloud::wrong_answers_are_not_used(&fake, &bench, &[&rsa], &salt);
}

/// A service that is busy, breaks off or has a problem is asked again.
#[test]
fn passing_faults_pass() {
    let (fake, bench, key) = FakeKeyVault::with_release();
    cloud::passing_faults_pass(&fake, &bench, &key, "/sign");
}

/// A service that never answers costs less than a minute.
#[test]
fn a_silent_service_is_told() {
    let (fake, bench, key) = FakeKeyVault::with_release();
    fake.distort("/sign", Fault::Silent);
    cloud::silence_is_told(&bench, &key);
}

/// A key's life: made after consent, a request and a certificate for it, kept by the host, shown, listed.
#[test]
fn a_key_lives_in_the_service() {
    let (fake, bench, _) = FakeKeyVault::with_release();
    let id = format!("azurekms://{VAULT}/team");
    let named = [
        "--plugin",
        "azurekms",
        "--id",
        &id,
        "--plugin-config",
        "protection=hsm",
    ];
    let create = ["key", "create", "team", "--type", "EC-384"];
    let unasked = bench.hardsign(create.iter().chain(&named));
    assert_ne!(unasked.code, Some(0));
    assert!(unasked.stdout.contains("costs money"), "{unasked:?}");
    assert_eq!(count(&fake.asked(), "/create"), 0);
    let made = bench.hardsign_ok(
        create
            .iter()
            .chain(&named)
            .chain(&["--yes", "--output", "json"]),
    );
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    assert!(made.to_string().contains(&format!("{:032x}", 1)), "{made}");
    assert_eq!(count(&fake.asked(), "/create"), 1);

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
    let chain = keys::certify(&fake.public_pem("team", 1), "azure-team");
    bench.hardsign_ok(["key", "import-cert", "team", chain.to_str().unwrap()]);
    assert!(bench.config().join("hardsign/chains/team.pem").is_file());
    let reference = artifact(&bench, "signed by name");
    bench.hardsign_ok(["sign", "--key", "team", "--oci-layout", &reference]);
    assert_eq!(verify(&bench, &reference).code, Some(0));
    let shown = bench.hardsign_ok(["key", "show", "team"]).stdout;
    for part in ["EC-384", "EC-HSM", "Azure Key Vault", "Recoverable"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    fake.allow("release", &["verify"]);
    let list = "key list --plugin azurekms --plugin-config vault=contoso";
    let listed = bench.hardsign_ok(list.split(' ')).stdout;
    for part in ["keys/release", "(unusable)", "keys/team", "EC-384"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let again = ["key", "create", "again", "--type", "EC-384", "--yes"];
    let again = again.iter().chain(&named);
    let refused = bench.hardsign(again.clone());
    assert!(
        refused.stderr.contains("exists already"),
        "{}",
        refused.stderr
    );
    let made = bench
        .hardsign_ok(again.chain(&["--force", "--output", "json"]))
        .stdout;
    assert!(made.contains(&format!("{:032x}", 2)), "{made}");

    // A CA of a team, and what it issues.
    let id = format!("azurekms://{VAULT}/ca");
    let ca = ["key", "create", "ca", "--type", "RSA-3072", "--yes"];
    bench.hardsign_ok(ca.iter().chain(&["--plugin", "azurekms", "--id", &id]));
    let certify = "key certify ca --ca --subject C=US,O=Example,CN=ca --days 30";
    bench.hardsign_ok(certify.split(' '));
}

/// The fake is read by the service's own Python client: keys, signatures, a key that is not there.
#[test]
fn azures_own_client_reads_the_fake() {
    let fake = FakeKeyVault::start();
    for spec in KeySpec::ALL {
        fake.add(spec.name(), kty(spec, false), spec, &keys::key(spec).key);
    }
    let names: Vec<&str> = KeySpec::ALL.iter().map(|spec| spec.name()).collect();
    let question = json!({"vault": format!("https://{VAULT}"), "keys": names});
    let output = run(Command::new(peers::program("kms-clients"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/azure_keys.py"))
        .arg(question.to_string())
        .envs(fake.environment()));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["verified"], names.len(), "{answer}");
    assert_eq!(answer["listed"], names.len(), "{answer}");
    assert_eq!(answer["refused"], "KeyNotFound", "{answer}");
}

/// By a clock that is wrong a token that has ended seems good: by how much it is wrong is told, and nothing is
/// stored. A token is asked for as long, so the vault itself has no other use for this machine's clock.
#[test]
fn a_wrong_clock_is_told() {
    let (fake, bench, key) = FakeKeyVault::with_release();
    fake.distort("/sign", Fault::Expired);
    for (minutes, told) in [(120, "behind"), (-120, "ahead of")] {
        fake.set_clock(minutes);
        let text = refused(&bench, &key, told, "AKV10000", "this machine's clock is");
        let exact = ["119", "120"].map(|by| format!("{by} minutes {told} the service's"));
        assert!(exact.iter().any(|told| text.contains(told)), "{text}");
    }
    fake.mend();
    signs_and_verifies(&bench, &key, "where the vault does not mind");
}

/// A team's CA in the vault certifies a key there, by its request and by its name, renews and revokes.
#[test]
fn a_ca_in_the_vault_issues() {
    for (ca, leaf) in [("EC-384", "EC-256"), ("RSA-3072", "RSA-2048")] {
        let (_fake, bench, _) = FakeKeyVault::with_release();
        let made = Made {
            plugin: "azurekms",
            id: &|key| format!("azurekms://{VAULT}/{key}"),
            config: &[],
        };
        a_ca_issues_and_renews(&bench, &made, ca, leaf);
    }
}

/// `key renew --new-key`.
#[test]
fn a_key_is_renewed_with_a_new_one() {
    let (_fake, bench, _) = FakeKeyVault::with_release();
    let made = Made {
        plugin: "azurekms",
        id: &|key| format!("azurekms://{VAULT}/{key}"),
        config: &[],
    };
    a_key_is_renewed(&bench, &made);
}

/// The setting `rate`.
#[test]
fn a_rate_is_kept() {
    let (_fake, bench, key) = FakeKeyVault::with_release();
    cloud::a_rate_is_kept(&bench, &key);
}
