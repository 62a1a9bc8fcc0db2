//! Keys in a fake Azure Key Vault (`softhsm_tests::fakes::azure`), which checks tokens and key operations
//! as the service does: every key type signs, every credential that can be had here logs in, and what
//! goes wrong is told.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::cloud::{
    CloudKey, artifact, bench, both_tools_sign_and_verify, conforms, openssl_verifies, refused,
    sign, signs_and_verifies, verify,
};
use softhsm_tests::fakes::Fault;
use softhsm_tests::fakes::azure::{ASSERTION, FakeKeyVault, HSM, IDENTITY, SECRET, TOKEN, VAULT};
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

/// A key of the fake, with the chain of the test key that it is.
fn key(id: impl Into<String>, spec: KeySpec) -> CloudKey {
    CloudKey::new("azurekms", id).with("cert-chain", keys::key(spec).chain.display())
}

/// A fake with one key, `release` on P-256.
fn with_release() -> (FakeKeyVault, Workbench, CloudKey) {
    let fake = FakeKeyVault::start();
    let spec = KeySpec::Ec256;
    let address = fake.add("release", "EC", spec, &keys::key(spec).key);
    let bench = bench(&fake.environment());
    let (address, _) = address.rsplit_once('/').unwrap();
    let key = key(address, spec);
    (fake, bench, key)
}

fn count(asked: &[String], part: &str) -> usize {
    asked.iter().filter(|line| line.contains(part)).count()
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
            let key = key(fake.add(&name, kty, spec, &keys::key(spec).key), spec);
            signs_and_verifies(&bench, &key, &name);
            let reference = artifact(&bench, &format!("{name} for openssl"));
            assert_eq!(sign(&bench, &key, &[&reference]).code, Some(0));
            openssl_verifies(&bench, &reference, spec, &fake.public_pem(&name, 1));
            all.push((spec.name(), key));
        }
        conforms(&bench, &all.last().unwrap().1);
    }
    let all: Vec<(&str, &CloudKey)> = all.iter().map(|(name, key)| (*name, key)).collect();
    both_tools_sign_and_verify(bench(&fake.environment()), &all);
    assert_eq!(count(&fake.asked(), "/secrets"), 0);
}

/// The key ids that people have, and plain plugin config.
#[test]
fn every_key_id_signs() {
    let (_fake, bench, release) = with_release();
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
        signs_and_verifies(&bench, &key(id.clone(), spec), &id);
    }
    for vault in ["contoso", VAULT, "https://contoso.vault.azure.net/"] {
        let plain = key("release", spec)
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
    signs_and_verifies(&bench, &key(address, spec), "all from the file");
    refused(&bench, &with_issuers, "no leaf", "certificate", "");
}

/// A client secret, workload identity, a managed identity and `az`: the chain in its order.
#[test]
fn every_credential_logs_in() {
    let (fake, _, key) = with_release();
    for (name, environment) in [
        ("client-secret", fake.environment()),
        ("workload-identity", fake.workload_identity()),
        ("managed-identity", fake.managed_identity()),
        ("az", fake.network()),
    ] {
        let mut bench = bench(&environment);
        let path = std::env::var("PATH").unwrap();
        let tools = bench.path().join("tools");
        fs::create_dir(&tools).unwrap();
        let answer = json!({"accessToken": fake.token(), "expires_on": 4_000_000_000_u64, "tokenType": "Bearer"});
        program(&tools.join("az"), &format!("echo '{answer}'"));
        bench.set("PATH", format!("{}:{path}", tools.display()));
        signs_and_verifies(&bench, &key, name);
        signs_and_verifies(&bench, &key.clone().with("credential", name), "chosen");
    }
    let bench = bench(&fake.environment());
    let chosen = key.clone().with("credential", "az");
    refused(
        &bench,
        &chosen,
        "another is chosen",
        "az (az not found",
        "az login",
    );
    let unknown = key.with("credential", "certificate");
    refused(
        &bench,
        &unknown,
        "unknown",
        "no credential \"certificate\"",
        "workload-identity",
    );
}

fn program(file: &Path, script: &str) {
    fs::write(file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// No credential, a wrong one, one that takes for ever: what was looked for, and in which order.
#[test]
fn credentials_that_give_no_token_are_told() {
    let (fake, _, key) = with_release();
    let start = Instant::now();
    let nobody = bench(&fake.network());
    let text = refused(
        &nobody,
        &key,
        "nobody",
        "no Azure credential gives a token",
        "az login",
    );
    let kinds = [
        "client-secret (AZURE_CLIENT_SECRET is not set)",
        "workload-identity (AZURE_FEDERATED_TOKEN_FILE is not set)",
        "managed-identity",
        "az (",
        "azd (",
    ];
    let found: Vec<_> = kinds
        .iter()
        .map(|kind| text.find(kind).unwrap_or_else(|| panic!("{kind}: {text}")))
        .collect();
    assert!(found.is_sorted(), "{text}");
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

/// A credential that is configured is the one that is meant: no other is tried, and its secret is not told.
#[test]
fn a_configured_credential_is_the_only_one() {
    let (fake, _, key) = with_release();
    let with = |name: &'static str, value: &str| {
        let environment = fake.environment().into_iter();
        let others = environment.filter(|(known, _)| *known != name);
        let own = (!value.is_empty()).then(|| (name, value.to_owned()));
        bench(&others.chain(own).collect::<Vec<_>>())
    };
    let wrong = with("AZURE_CLIENT_SECRET", "not-the-right-one");
    let text = refused(
        &wrong,
        &key,
        "secret",
        "client-secret gives no token",
        "AZURE_CLIENT_SECRET",
    );
    assert!(!text.contains("not-the-right-one"), "{text}");
    let other = with("AZURE_CLIENT_ID", "12345678-0000-0000-0000-000000000000");
    refused(
        &other,
        &key,
        "client",
        "client-secret gives no token",
        "AZURE_CLIENT_ID",
    );
    let nameless = with("AZURE_TENANT_ID", "");
    refused(
        &nameless,
        &key,
        "tenant",
        "client-secret (AZURE_TENANT_ID is not set)",
        "",
    );
    let mut certificate = bench(&fake.network());
    certificate.set("AZURE_CLIENT_CERTIFICATE_PATH", "/nowhere/c.pem");
    refused(
        &certificate,
        &key,
        "certificate",
        "not supported",
        "workload identity",
    );
}

/// A command and a token service that do not end their answer; tokens that are refused.
#[test]
fn tokens_that_do_not_come_or_do_not_do_are_told() {
    let (fake, _, key) = with_release();
    let mut slow = bench(&fake.network());
    program(&slow.path().join("az"), "exec sleep 100");
    let path = std::env::var("PATH").unwrap();
    slow.set("PATH", format!("{}:{path}", slow.path().display()));
    let start = Instant::now();
    let slowly = key.clone().with("credential", "az");
    refused(
        &slow,
        &slowly,
        "slow",
        "no answer in 15 seconds",
        "az login",
    );
    assert!(
        start.elapsed() < Duration::from_secs(40),
        "{:?}",
        start.elapsed()
    );

    let known = bench(&fake.environment());
    fake.distort("/sign", Fault::Expired);
    refused(&known, &key, "expired", "AKV10000", "log in again");
    fake.mend();
    fake.distort("/sign", Fault::Denied);
    refused(
        &known,
        &key,
        "denied",
        "not authorized",
        "Key Vault Crypto User",
    );
    fake.mend();
    fake.distort("/oauth2/v2.0/token", Fault::Silent);
    refused(
        &known,
        &key,
        "a silent token service",
        "no answer in 15 seconds",
        "AZURE_CLIENT_ID",
    );
    fake.mend();
    fake.distort("/token", Fault::Broken(u32::MAX));
    refused(
        &known,
        &key,
        "token service",
        "client-secret gives no token",
        "AZURE_CLIENT_ID",
    );
}

/// The version is pinned when the key is opened: one that comes between the public key and the signature
/// is not used.
#[test]
fn the_version_is_pinned_when_the_key_is_opened() {
    let (fake, bench, release) = with_release();
    let second = keys::named(KeySpec::Ec256, "azure second");
    let newest = fake.add("release", "EC", KeySpec::Ec256, &second.key);
    let first = key(format!("{}/{:032x}", release.id, 1), KeySpec::Ec256);
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
    let child = bench
        .command(&hardsign, all.chain([reference.as_str()]))
        .spawn()
        .unwrap();
    // The challenge, and then the key.
    let mut looked = 0;
    while looked < 2 {
        looked += count(&fake.asked(), "/keys/release");
        sleep(Duration::from_millis(10));
    }
    sleep(Duration::from_millis(450));
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
    let (fake, bench, key) = with_release();
    for others in [3, 5] {
        let references: Vec<_> = (0..200)
            .map(|n| artifact(&bench, &format!("a{others}-{n}")))
            .collect();
        let all: Vec<&str> = references.iter().map(String::as_str).collect();
        fake.asked();
        let signed = sign(&bench, &key, &all);
        assert_eq!(signed.code, Some(0), "{}", signed.stderr);
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
    let (fake, bench, release) = with_release();
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
        ("azurekms://nowhere.vault.azure.cn/k".to_owned(), "", ""),
    ] {
        refused(&bench, &key(id.clone(), spec), &id, error, hint);
    }
    let misspelt = release.with("valut", "contoso");
    refused(&bench, &misspelt, "misspelt", "valut", "vault");
}

/// Answers that are not right are found out, by the plugin or by the host, and nothing is stored.
#[test]
fn wrong_answers_are_not_used() {
    let (fake, bench, release) = with_release();
    let spec = KeySpec::Rsa2048;
    let rsa = key(fake.add("rsa", "RSA", spec, &keys::key(spec).key), spec);
    let faults = [
        ("/sign", Fault::AnotherVersion, "was asked for", "not used"),
        ("/sign", Fault::AnotherKey, "signature", ""),
        ("/sign", Fault::Short, "16 bytes", "not used"),
        ("/sign", Fault::Junk, "can't be read", "proxy"),
        ("/keys/", Fault::AnotherVersion, "was asked for", "not used"),
        ("/keys/", Fault::AnotherKey, "certificate", ""),
        ("/keys/", Fault::Junk, "can't be read", "proxy"),
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
    fake.distort("/sign", Fault::WrongSalt);
    refused(&bench, &rsa, "wrong salt", "signature", "");
}

/// A service that is busy, breaks off or has a problem is asked again.
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
        fake.distort("/sign", fault);
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
    fake.distort("/sign", Fault::Silent);
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

/// A key's life: made after consent, a request and a certificate for it, kept by the host, shown, listed.
#[test]
fn a_key_lives_in_the_service() {
    let (fake, bench, _) = with_release();
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

/// SEC-01: no part of a credential is in any output at `-d`, nor in the arguments of a process.
#[test]
fn no_credential_is_told() {
    let (fake, _, key) = with_release();
    for environment in [
        fake.environment(),
        fake.workload_identity(),
        fake.managed_identity(),
    ] {
        let bench = bench(&environment);
        let reference = artifact(&bench, "debug");
        fake.slow_down(Duration::from_millis(200));
        fake.asked();
        let flags = ["sign", "-d", "--oci-layout"];
        let all = flags.into_iter().chain(key.flags());
        let hardsign = binaries().join("hardsign");
        let child = bench
            .command(&hardsign, all.chain([reference.as_str()]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while fake.asked().is_empty() {
            sleep(Duration::from_millis(5));
        }
        let arguments = bench.processes().join("\n");
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(arguments.contains("notation-azurekms"), "{arguments}");
        let texts = [output.stdout, output.stderr, arguments.into_bytes()];
        for text in texts.map(|text| String::from_utf8_lossy(&text).into_owned()) {
            for secret in [SECRET, ASSERTION, IDENTITY, TOKEN, "Bearer"] {
                assert!(!text.contains(secret), "{secret}: {text}");
            }
        }
    }
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
