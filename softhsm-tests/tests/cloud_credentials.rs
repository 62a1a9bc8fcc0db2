//! Who asks a service: where the plugins for AWS, Google and Azure find credentials, in which order, and what
//! they say of those that give no access.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hardsign_plugin::algorithm::KeySpec;
use hardsign_test_support::program;
use serde_json::{Value, json};
use softhsm_tests::between::{Between, Fate};
use softhsm_tests::cloud::{
    self, CloudKey, artifact, bench as new_bench, count, no_credential_is_told, refused, sign,
    signs_and_verifies,
};
use softhsm_tests::fakes::azure::{ASSERTION, FakeKeyVault, IDENTITY, SECRET};
use softhsm_tests::fakes::google::{FakeCloudKms, REQUEST, SUBJECT};
use softhsm_tests::fakes::{Fake as _, Fault, azure, google};
use softhsm_tests::keys;
use softhsm_tests::ministack::{ACCESS_KEY, KmsKey, Ministack, REGION, SECRET_KEY, SESSION_TOKEN};
use softhsm_tests::workbench::Workbench;

fn script(file: &Path, text: &str) {
    program::write(file, &format!("#!/bin/sh\n{text}\n"));
}

/// The command that was given up has been ended, and what it had started: `mark` is among its arguments.
fn nothing_runs_on(bench: &Workbench, mark: &str) {
    // One that was killed is there until it has had a processor once more.
    let start = Instant::now();
    loop {
        let left = bench.processes();
        if !left.iter().any(|line| line.contains(mark)) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{left:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn named(key: &KmsKey, id: impl Into<String>) -> CloudKey {
    CloudKey::new("awskms", id).with("cert-chain", key.chain().display())
}

/// AWS: credentials and region are looked for where AWS's own tools look, in their order, and what is missing is
/// told with that order.
#[test]
fn aws_credentials_are_looked_for_in_order() {
    let server = Ministack::start();
    let key = server.key(KeySpec::Ec256);
    let id = named(&key, &key.arn);
    let endpoint = ("AWS_ENDPOINT_URL_KMS", server.address());
    let nobody = new_bench(std::slice::from_ref(&endpoint));
    let text = refused(
        &nobody,
        &id,
        "nobody",
        "no AWS credentials were found",
        "aws sso login",
    );
    let order = [
        "AWS_ACCESS_KEY_ID",
        "profile \"default\"",
        "WEB_IDENTITY",
        "CONTAINER",
        "metadata",
    ];
    let found: Vec<_> = order
        .iter()
        .map(|place| text.find(place).unwrap())
        .collect();
    assert!(found.is_sorted(), "{text}");

    let text = refused(
        &nobody,
        &named(&key, &key.id),
        "no region",
        "no AWS region is known",
        "AWS_REGION",
    );
    assert!(
        text.find("AWS_REGION") < text.find("profile \"default\""),
        "{text}"
    );

    let absent = new_bench(&[endpoint.clone(), ("AWS_PROFILE", "absent".into())]);
    refused(&absent, &id, "profile", "absent", "AWS_PROFILE");

    aws_profiles(&server, &key);
    aws_servers_of_credentials(&server, &key);
}

/// A profile with keys, one with a command, and one whose command never ends.
fn aws_profiles(server: &Ministack, key: &KmsKey) {
    let bench = new_bench(&[("AWS_ENDPOINT_URL_KMS", server.address())]);
    let home = bench.path().join(".aws");
    fs::create_dir(&home).unwrap();
    let command = bench.path().join("credentials");
    let json = json!({"Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY});
    script(&command, &format!("echo '{json}'"));
    let config = format!(
        "[profile keys]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\nregion={REGION}\n\
         [profile command]\ncredential_process={}\nregion={REGION}\n\
         [profile broken]\ncredential_process=sh -c 'echo no ticket >&2; exit 3'\nregion={REGION}\n\
         [profile slow]\ncredential_process=sleep 3131; true\nregion={REGION}\n",
        command.display()
    );
    fs::write(home.join("config"), config).unwrap();
    let with = |profile: &str| named(key, &key.id).with("profile", profile);
    for profile in ["keys", "command"] {
        signs_and_verifies(&bench, &with(profile), profile);
    }
    refused(
        &bench,
        &with("broken"),
        "broken",
        "no ticket",
        "get-caller-identity",
    );
    let start = Instant::now();
    refused(&bench, &with("slow"), "slow", "within 15 seconds", "");
    assert!(
        start.elapsed() < Duration::from_secs(40),
        "{:?}",
        start.elapsed()
    );
    nothing_runs_on(&bench, "3131");
}

/// A container's server, an instance's, and a role by web identity; each gives what the plugin signs with.
fn aws_servers_of_credentials(server: &Ministack, key: &KmsKey) {
    let fake = Between::new(server.port());
    let given = |place: &'static str| {
        let body = json!({
            "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
            "AccessKeyId": format!("AKIA{place}"), "SecretAccessKey": SECRET_KEY,
            "Token": SESSION_TOKEN, "Expiration": "2099-01-01T00:00:00Z",
        });
        Fate::Answer(
            200,
            vec![("content-type", "application/json".into())],
            body.to_string(),
        )
    };
    fake.rule(move |seen| match seen.what.as_str() {
        "GET /container" => given("CONTAINER"),
        "PUT /latest/api/token" => Fate::Answer(
            200,
            vec![("x-aws-ec2-metadata-token-ttl-seconds", "21600".into())],
            "t".into(),
        ),
        "GET /latest/meta-data/iam/security-credentials/" => {
            Fate::Answer(200, vec![], "role".into())
        }
        "GET /latest/meta-data/iam/security-credentials/role" => given("INSTANCE"),
        "GET /latest/meta-data/placement/region" => Fate::Answer(200, vec![], REGION.into()),
        _ => Fate::Pass,
    });
    let used = |place: &str, id: &CloudKey, environment: &[(&'static str, String)]| {
        let mut all = vec![("AWS_ENDPOINT_URL_KMS", fake.address())];
        all.extend_from_slice(environment);
        let bench = new_bench(&all);
        let reference = artifact(&bench, place);
        let signed = sign(&bench, id, &[&reference]);
        assert_eq!(signed.code, Some(0), "{place}: {}", signed.stderr);
        let last = fake
            .seen()
            .into_iter()
            .rfind(|seen| seen.what == "Sign")
            .unwrap();
        let scope = last.header("authorization").unwrap().to_owned();
        assert!(scope.contains(place), "{scope}");
    };
    let container = format!("{}/container", fake.address());
    let id = named(key, &key.arn);
    used(
        "CONTAINER",
        &id,
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", container)],
    );
    let instance = [
        ("AWS_EC2_METADATA_DISABLED", "false".into()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", fake.address()),
    ];
    // The region comes from there, too.
    used("INSTANCE", &named(key, &key.id), &instance);
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(token.path(), "header.claims.signature").unwrap();
    used(
        "ASIA",
        &id,
        &[
            ("AWS_ENDPOINT_URL_STS", server.address()),
            (
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                token.path().display().to_string(),
            ),
            (
                "AWS_ROLE_ARN",
                "arn:aws:iam::000000000000:role/signer".into(),
            ),
        ],
    );
    fake.rule(|_| Fate::Silence);
    let silent = new_bench(&[
        ("AWS_ENDPOINT_URL_KMS", server.address()),
        ("AWS_EC2_METADATA_DISABLED", "false".into()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", fake.address()),
    ]);
    let start = Instant::now();
    refused(
        &silent,
        &id,
        "a silent instance",
        "no AWS credentials",
        "role",
    );
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
}

/// Credentials that are not there, wrong, of another, or expired: what was looked for, and in which
/// order; no wait of a minute.
#[test]
fn google_credentials_that_give_no_access_are_told() {
    let (_fake, _, key) = FakeCloudKms::with_release();
    let start = Instant::now();
    let nobody = new_bench(&[("GCE_METADATA_HOST", "127.0.0.1:9".to_owned())]);
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
    let waiting = new_bench(&[("GCE_METADATA_HOST", host)]);
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
fn google_credentials_that_are_refused_are_told() {
    let (fake, known, key) = FakeCloudKms::with_release();
    let of = |file: &str| new_bench(&[("GOOGLE_APPLICATION_CREDENTIALS", file.to_owned())]);
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

/// Google: a job's token (from a file as text or JSON, from a job's own server, from a command, by a role of AWS) is exchanged for
/// one of the pool, or by it for one of a service account; a service account acts as another; a virtual machine
/// has one.
#[test]
fn every_google_credential_signs() {
    let (fake, bench, key) = FakeCloudKms::with_release();
    let file = |name: &str, text: &str| {
        let file = bench.path().join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let answer = json!({
        "version": 1, "success": true, "id_token": SUBJECT,
        "token_type": "urn:ietf:params:oauth:token-type:jwt",
    });
    let command = bench.path().join("job-token");
    script(&command, &format!("echo '{answer}'"));
    let json = json!({"tokens": {"old": 1}, "jwt": SUBJECT}).to_string();
    let sources = [
        ("text", json!({"file": file("subject", SUBJECT)})),
        (
            "json",
            json!({
                "file": file("subject.json", &json),
                "format": {"type": "json", "subject_token_field_name": "jwt"},
            }),
        ),
        ("url", fake.subject_url()),
        (
            "command",
            json!({"executable": {"command": command.display().to_string()}}),
        ),
        (
            "a role of AWS",
            json!({
                "environment_id": "aws1",
                "regional_cred_verification_url":
                    "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
            }),
        ),
    ];
    for (name, source) in &sources {
        for impersonates in [false, true] {
            let name = format!("{name} {impersonates}");
            let bench = google_bench(&fake.federation("federation.json", source, impersonates));
            fake.asked();
            signs_and_verifies(&bench, &key, &name);
            let asked = fake.asked();
            let wanted = usize::from(impersonates) * 2;
            assert_eq!(count(&asked, ":generateAccessToken"), wanted, "{name}");
            assert_eq!(count(&asked, "/sts/v1/token"), 2, "{name}: {asked:?}");
        }
    }
    let bench = google_bench(&fake.impersonated("impersonated.json"));
    signs_and_verifies(&bench, &key, "a service account as another");
    let bench = new_bench(&fake.virtual_machine());
    fake.asked();
    signs_and_verifies(&bench, &key, "a virtual machine");
    let asked = fake.asked();
    assert_eq!(count(&asked, "service-accounts/default/token"), 2);
}

/// A client with a credentials file, which may name commands, and with a role of AWS.
fn google_bench(credentials: &Path) -> Workbench {
    new_bench(&[
        (
            "GOOGLE_APPLICATION_CREDENTIALS",
            credentials.display().to_string(),
        ),
        ("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1".to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", google::AWS_ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
    ])
}

/// Google: what a job's issuer, the exchange, the service of the account or the metadata server refuses is told
/// with what they say of it, and without any token.
#[test]
fn google_federation_that_fails_is_told() {
    let (fake, known, key) = FakeCloudKms::with_release();
    let url = fake.subject_url();
    let told = |name: &str, source: &Value, error: &str, hint: &str| {
        let bench = google_bench(&fake.federation("federation.json", source, true));
        let text = refused(&bench, &key, name, error, hint);
        for secret in [SUBJECT, REQUEST, google::TOKEN] {
            assert!(!text.contains(secret), "{text}");
        }
    };
    let hint = "check the file";
    let file = known.path().join("subject");
    let of_file = json!({"file": file.display().to_string()});
    told("no token", &of_file, "federation.json", hint);
    fs::write(&file, "another-token").unwrap();
    told(
        "another",
        &of_file,
        "invalid_grant: The subject_token is not right.",
        hint,
    );
    fs::write(&file, SUBJECT).unwrap();
    for (path, fault, error) in [
        ("/sts/", Fault::Expired, "is stale to sign-in"),
        ("/sts/", Fault::Denied, "unauthorized_client"),
        ("/iam/", Fault::Denied, "iam.serviceAccounts.getAccessToken"),
        ("/sts/", Fault::Junk, "give no access"),
        ("/sts/", Fault::Silent, "no answer in 15 seconds"),
    ] {
        fake.distort(path, fault);
        told(&format!("{path} {fault:?}"), &of_file, error, hint);
        fake.mend();
    }
    let mut wrong = url.clone();
    wrong["headers"]["Authorization"] = "bearer another".into();
    told(
        "refused by the job",
        &wrong,
        "unauthorized: no request token",
        hint,
    );
    // The answer has the token in another member than the file says.
    let mut wrong = url;
    wrong["format"]["subject_token_field_name"] = "jwt".into();
    told("another member", &wrong, "jwt", hint);
    let command = known.path().join("slow");
    script(&command, "sleep 3333; true");
    let slow =
        json!({"executable": {"command": command.display().to_string(), "timeout_millis": 6000}});
    let bench = google_bench(&fake.federation("federation.json", &slow, false));
    refused(&bench, &key, "slow", "give no access", hint);
    nothing_runs_on(&bench, "3333");

    // A machine without a service account.
    let machine = new_bench(&fake.virtual_machine());
    fake.distort("service-accounts", Fault::Denied);
    refused(
        &machine,
        &key,
        "no account",
        "no Google credentials are known",
        "gcloud",
    );
    fake.mend();
    let file = fake.federation("federation.json", &of_file, true);
    let bench = google_bench(&file);
    fake.slow_down(Duration::from_millis(100));
    no_credential_is_told(
        &fake,
        &bench,
        &key,
        &[SUBJECT, REQUEST, google::TOKEN, SECRET_KEY, "Bearer"],
    );
}

/// Azure: a client secret, workload identity, a managed identity (of an application, of a virtual machine), `az`
/// and `azd`: the chain in its order, and each as the one that is chosen.
#[test]
fn every_azure_credential_logs_in() {
    let (fake, _, key) = FakeKeyVault::with_release();
    for (name, environment) in [
        ("client-secret", fake.environment()),
        ("workload-identity", fake.workload_identity()),
        ("managed-identity", fake.managed_identity()),
        ("managed-identity", fake.virtual_machine()),
        ("az", fake.network()),
        ("azd", fake.network()),
    ] {
        let mut bench = new_bench(&environment);
        let path = std::env::var("PATH").unwrap();
        let tools = bench.path().join("tools");
        fs::create_dir(&tools).unwrap();
        let answer = json!({"accessToken": fake.token(), "expires_on": 4_000_000_000_u64, "tokenType": "Bearer"});
        if name == "azd" {
            let answer = json!({"token": fake.token(), "expiresOn": "2099-01-01T00:00:00Z"});
            script(&tools.join("azd"), &format!("echo '{answer}'"));
        } else {
            script(&tools.join("az"), &format!("echo '{answer}'"));
        }
        bench.set("PATH", format!("{}:{path}", tools.display()));
        signs_and_verifies(&bench, &key, name);
        signs_and_verifies(&bench, &key.clone().with("credential", name), "chosen");
    }
    let bench = new_bench(&fake.environment());
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
        "unknown credential \"certificate\"",
        "workload-identity",
    );
}

/// No credential, a wrong one, one that takes for ever: what was looked for, and in which order.
#[test]
fn azure_credentials_that_give_no_token_are_told() {
    let (fake, _, key) = FakeKeyVault::with_release();
    let start = Instant::now();
    let nobody = new_bench(&fake.network());
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
fn a_configured_azure_credential_is_the_only_one() {
    let (fake, _, key) = FakeKeyVault::with_release();
    let with = |name: &'static str, value: &str| {
        let environment = fake.environment().into_iter();
        let others = environment.filter(|(known, _)| *known != name);
        let own = (!value.is_empty()).then(|| (name, value.to_owned()));
        new_bench(&others.chain(own).collect::<Vec<_>>())
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
    let mut certificate = new_bench(&fake.network());
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
fn azure_tokens_that_do_not_come_or_do_not_do_are_told() {
    let (fake, _, key) = FakeKeyVault::with_release();
    let mut slow = new_bench(&fake.network());
    script(&slow.path().join("az"), "sleep 3232; true");
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
    nothing_runs_on(&slow, "3232");
    assert!(
        start.elapsed() < Duration::from_secs(40),
        "{:?}",
        start.elapsed()
    );

    let known = new_bench(&fake.environment());
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

/// Azure: the identities that the client does not know are told with what to use instead; tokens and secrets that
/// have ended are told as such.
#[test]
fn azure_credentials_that_have_ended_or_are_not_known_are_told() {
    let (fake, _, key) = FakeKeyVault::with_release();
    let arc = [
        (
            "IDENTITY_ENDPOINT",
            "http://127.0.0.1:40342/token".to_owned(),
        ),
        ("IMDS_ENDPOINT", "http://127.0.0.1:40342".to_owned()),
    ];
    let bench = new_bench(&[fake.network(), arc.to_vec()].concat());
    let text = "Azure Arc managed identity isn't supported";
    refused(&bench, &key, "arc", text, "workload identity");
    fake.distort("/token", Fault::Expired);
    for (environment, error, hint) in [
        (
            fake.environment(),
            "AADSTS7000222",
            "the client secret has expired",
        ),
        (
            fake.workload_identity(),
            "AADSTS700024",
            "ask for a new one just before signing",
        ),
    ] {
        refused(&new_bench(&environment), &key, error, error, hint);
    }
    fake.mend();
    let absent = fake.workload_identity().into_iter().map(|(name, value)| {
        let absent = name == "AZURE_FEDERATED_TOKEN_FILE";
        (
            name,
            if absent {
                "/nowhere/token".to_owned()
            } else {
                value
            },
        )
    });
    let absent = new_bench(&absent.collect::<Vec<_>>());
    refused(
        &absent,
        &key,
        "no file",
        "workload-identity gives no token",
        "AZURE_FEDERATED_TOKEN_FILE",
    );
    for environment in [
        fake.environment(),
        fake.workload_identity(),
        fake.managed_identity(),
        fake.virtual_machine(),
    ] {
        let bench = new_bench(&environment);
        fake.slow_down(Duration::from_millis(100));
        let secrets = [SECRET, ASSERTION, IDENTITY, azure::TOKEN, "Bearer"];
        no_credential_is_told(&fake, &bench, &key, &secrets);
    }
}

/// SEC-01: no credential of Google and Azure gets into the memory of `hardsign`, but for its environment, nor into
/// arguments.
#[cfg(target_os = "linux")]
#[test]
fn no_credential_is_in_core() {
    let (fake, bench, key) = FakeCloudKms::with_release();
    let credentials = fs::read_to_string(fake.credentials()).unwrap();
    let credentials: Value = serde_json::from_str(&credentials).unwrap();
    let private = credentials["private_key"].as_str().unwrap();
    let line = private.lines().nth(1).unwrap();
    let source = bench.path().join("subject");
    fs::write(&source, SUBJECT).unwrap();
    let source = json!({"file": source.display().to_string()});
    let federated = google_bench(&fake.federation("federation.json", &source, true));
    let path = ":asymmetricSign";
    fake.distort(path, Fault::Silent);
    for bench in [&bench, &federated] {
        fake.asked();
        let secrets = [line, SUBJECT, google::TOKEN];
        cloud::no_credential_is_in_core(bench, &key, &secrets, || count(&fake.asked(), path) > 0);
    }

    let (fake, _, key) = FakeKeyVault::with_release();
    fake.distort("/sign", Fault::Silent);
    for environment in [
        fake.environment(),
        fake.workload_identity(),
        fake.managed_identity(),
    ] {
        fake.asked();
        let bench = new_bench(&environment);
        let secrets = [SECRET, ASSERTION, IDENTITY, azure::TOKEN];
        let waits = || count(&fake.asked(), "/sign") > 0;
        cloud::no_credential_is_in_core(&bench, &key, &secrets, waits);
    }
}

/// A token service that throttles or has a problem once is asked again, and one that stays so is told by its own
/// words.
#[test]
fn a_token_service_that_is_busy_is_asked_again() {
    let (fake, _, key) = FakeKeyVault::with_release();
    for environment in [
        fake.environment(),
        fake.workload_identity(),
        fake.managed_identity(),
    ] {
        let bench = new_bench(&environment);
        for fault in [Fault::Broken(2), Fault::Throttled(Duration::from_secs(1))] {
            fake.distort("/token", fault);
            signs_and_verifies(&bench, &key, &format!("{fault:?}"));
            fake.mend();
        }
    }
    let bench = new_bench(&fake.environment());
    fake.distort("/token", Fault::Throttled(Duration::from_secs(3600)));
    let start = Instant::now();
    let (error, hint) = ("too many requests", "AZURE_CLIENT_ID");
    refused(&bench, &key, "throttled for long", error, hint);
    let patience = Duration::from_secs(40);
    assert!(start.elapsed() < patience, "{:?}", start.elapsed());
}

/// A service that is nowhere is given up after ten seconds, and its address is named.
#[test]
fn a_service_that_is_nowhere_is_given_up_soon() {
    let (fake, bench, key) = FakeCloudKms::with_release();
    let (_vault, _, of_vault) = FakeKeyVault::with_release();
    let google = CloudKey {
        config: key
            .config
            .iter()
            .map(|setting| match setting.starts_with("endpoint=") {
                true => "endpoint=http://127.0.0.1:1".to_owned(),
                false => setting.clone(),
            })
            .collect(),
        ..key
    };
    // The token comes from `az`, so that the vault alone is not there.
    let mut alone = new_bench(&[]);
    let answer =
        json!({"accessToken": "t", "expires_on": 4_000_000_000_u64, "tokenType": "Bearer"});
    script(&alone.path().join("az"), &format!("echo '{answer}'"));
    let path = std::env::var("PATH").unwrap();
    alone.set("PATH", format!("{}:{path}", alone.path().display()));
    alone.set("HTTPS_PROXY", "http://127.0.0.1:1");
    alone.set("https_proxy", "http://127.0.0.1:1");
    let azure = of_vault.with("credential", "az");
    for (bench, key, hint) in [
        (&bench, &google, "endpoint"),
        (&alone, &azure, "the vault's name"),
    ] {
        let start = Instant::now();
        refused(bench, key, "nowhere", "can't be reached", hint);
        let taken = start.elapsed();
        // It was tried for a while, and not for as long as a service that has answered.
        assert!(taken < Duration::from_secs(40), "{taken:?}");
    }
    drop(fake);
}
