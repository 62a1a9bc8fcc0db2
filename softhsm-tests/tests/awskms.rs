//! Keys in AWS KMS, as `ministack` emulates it: every key type signs, and keys are made, requested and
//! certified. What the emulator can't do wrong, the fake in front of it does.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::between::{Between, Fate, Seen, aws_error};
use softhsm_tests::cloud::{
    CloudKey, artifact, bench as new_bench, conforms, openssl_verifies, refused, sign,
    signs_and_verifies, verify,
};
use softhsm_tests::ministack::{
    ACCESS_KEY, KmsKey, Ministack, REGION, SECRET_KEY, SESSION_TOKEN, environment,
};
use softhsm_tests::peers::USE_REFERRERS_API;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys, run};

fn named(key: &KmsKey, id: impl Into<String>) -> CloudKey {
    CloudKey::new("awskms", id).with("cert-chain", key.chain().display())
}

/// ENV-32, ENV-35, ENV-37: each key type signs in both formats; hardsign and openssl verify.
#[test]
fn every_key_type_signs_and_verifies() {
    let server = Ministack::start();
    let bench = new_bench(&server.environment());
    for spec in KeySpec::ALL {
        let key = server.key(spec);
        let id = named(&key, &key.id);
        signs_and_verifies(&bench, &id, spec.name());
        let reference = artifact(&bench, &format!("{} for openssl", spec.name()));
        let signed = sign(&bench, &id, &[&reference]);
        assert_eq!(signed.code, Some(0), "{}", signed.stderr);
        openssl_verifies(&bench, &reference, spec, &key.public);
        conforms(&bench, &id);
    }
}

/// Every way to name a key that people have from other tools.
#[test]
fn every_form_of_key_id_signs() {
    let server = Ministack::start();
    let bench = new_bench(&server.environment());
    let key = server.key(KeySpec::Ec256);
    server.alias("alias/Team/release_1", &key);
    let alias_arn = key
        .arn
        .replace(&format!("key/{}", key.id), "alias/Team/release_1");
    for id in [
        key.id.clone(),
        key.arn.clone(),
        "alias/Team/release_1".to_owned(),
        alias_arn,
        "awskms:///alias/Team/release_1".to_owned(),
        format!("awskms:///{}", key.id),
        format!("awskms:///{}", key.arn),
        format!("awskms:key-id={};region={REGION}", key.id),
        "AWSKMS:key-id=alias%2FTeam%2Frelease_1".to_owned(),
    ] {
        signs_and_verifies(&bench, &named(&key, &id), &id.replace('/', "_"));
    }
    // The ARN says the region, whatever the environment says.
    let mut elsewhere = server.environment();
    elsewhere.push(("AWS_REGION", "us-west-2".to_owned()));
    let elsewhere = new_bench(&elsewhere);
    signs_and_verifies(&elsewhere, &named(&key, &key.arn), "by its ARN");
    let configured = named(&key, &key.id)
        .with("region", REGION)
        .with("endpoint", server.address());
    signs_and_verifies(&elsewhere, &configured, "by the setting region");
}

/// PLG-01, PLG-02, ENV-32: `notation` verifies what hardsign signs, and signs through the plugin.
#[test]
fn notation_verifies_and_signs() {
    let server = Ministack::start();
    let scene = Scene::with(&Registry::ggcr(), new_bench(&server.environment()));
    scene.policy_for("tests");
    let plugin = binaries().join("notation-awskms").display().to_string();
    scene.ok(Tool::Notation, ["plugin", "install", "--file", &plugin]);
    for spec in [KeySpec::Rsa3072, KeySpec::Ec384, KeySpec::Ec521] {
        let key = server.key(spec);
        let id = named(&key, &key.arn);
        for (tool, format) in [
            (Tool::Hardsign, "jws"),
            (Tool::Hardsign, "cose"),
            (Tool::Notation, "jws"),
            (Tool::Notation, "cose"),
        ] {
            let tag = format!("app:{}-{format}-{tool:?}", spec.name()).to_lowercase();
            let reference = scene.push(&tag, &tag);
            let flags = ["sign", "--signature-format", format];
            let api = match tool {
                Tool::Hardsign => None,
                Tool::Notation => Some(USE_REFERRERS_API),
            };
            let all = flags.into_iter().chain(id.flags()).chain(api);
            scene.ok(tool, all.chain([reference.as_str()]));
            scene.both_verify(&reference);
        }
    }
}

const SUBJECT: &str = "C=US,ST=WA,O=Example,CN=release";

/// A key is made once the user has agreed, requested, certified by a CA that lives there too, listed and
/// shown with what the service says of it.
#[test]
fn the_life_of_a_key() {
    let server = Ministack::start();
    let mut environment = server.environment();
    environment.push(("AWS_PAGER", String::new()));
    let bench = new_bench(&environment);
    let create = |name: &str, alias: &str, kind: &str, more: &[&str]| {
        let id = format!("alias/{alias}");
        let fixed = ["key", "create", name, "--plugin", "awskms"];
        bench.hardsign([&fixed[..], &["--id", &id, "--type", kind], more].concat())
    };
    let unasked = create("release", "release", "EC-256", &[]);
    assert_ne!(unasked.code, Some(0), "{}", unasked.stdout);
    assert!(
        unasked.stdout.contains("by the month") && unasked.stderr.contains("--yes"),
        "{unasked:?}"
    );
    let none = server.call("ListKeys", &json!({}));
    assert_eq!(none["Keys"], json!([]));

    for (name, kind) in [("ca", "EC-384"), ("release", "RSA-3072")] {
        let made = create(name, name, kind, &["--yes"]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
    }
    let again = create("another", "release", "RSA-3072", &["--yes"]);
    assert_ne!(again.code, Some(0));
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);

    // A request that openssl accepts, with each padding.
    for padding in ["pkcs1v15", "pss"] {
        let file = bench.path().join(format!("{padding}.csr"));
        let out = file.display().to_string();
        let fixed = ["key", "request", "release", "--subject", SUBJECT];
        bench.hardsign_ok([&fixed[..], &["--rsa-padding", padding, "--out", &out]].concat());
        run(Command::new("openssl").args(["req", "-verify", "-noout", "-in", &out]));
    }
    let fixed = ["key", "certify"];
    let ca = [
        "ca",
        "--subject",
        "C=US,ST=WA,O=Example,CN=CA",
        "--days",
        "30",
    ];
    bench.hardsign_ok([&fixed[..], &ca, &["--ca", "--trust", "ours"]].concat());
    let leaf = [
        "release",
        "--subject",
        SUBJECT,
        "--days",
        "10",
        "--issuer",
        "ca",
    ];
    bench.hardsign_ok([&fixed[..], &leaf].concat());
    bench.policy(&json!({
        "name": "tests",
        "registryScopes": ["local/test"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:ours"],
        "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Example, CN=release"],
    }));
    let reference = artifact(&bench, "signed by a key with a life");
    bench.hardsign_ok(["sign", "--key", "release", "--oci-layout", &reference]);
    let verified = verify(&bench, &reference);
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);

    // What the service says, as its word.
    let shown = bench.hardsign_ok(["key", "show", "release"]).stdout;
    for line in [
        "Said by the device:",
        "state: Enabled",
        "origin: AWS_KMS",
        "multi-region: no",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let listed = bench
        .hardsign_ok(["key", "list", "--plugin", "awskms"])
        .stdout;
    for word in [
        "alias/ca",
        "alias/release",
        "EC-384",
        "RSA-3072",
        "arn:aws:kms:eu-west-1:",
    ] {
        assert!(listed.contains(word), "{listed}");
    }
    imports_a_certificate_of_another_ca(&server, &bench);
    a_new_key_takes_over_an_alias(&server, &bench);
}

fn imports_a_certificate_of_another_ca(server: &Ministack, bench: &Workbench) {
    let key = server.key(KeySpec::Ec256);
    let chain = key.chain().display().to_string();
    let flags = ["--plugin", "awskms", "--id", &key.arn, "imported"];
    bench.hardsign_ok([&["key", "add"][..], &flags].concat());
    bench.hardsign_ok(["key", "import-cert", "imported", &chain]);
    bench.trust(&keys::root(), "strict");
    let reference = artifact(bench, "signed with an imported certificate");
    bench.hardsign_ok(["sign", "--key", "imported", "--oci-layout", &reference]);
    assert_eq!(verify(bench, &reference).code, Some(0));
    let other = server.key(KeySpec::Ec256).chain().display().to_string();
    let foreign = bench.hardsign(["key", "import-cert", "imported", &other]);
    assert_ne!(foreign.code, Some(0), "{}", foreign.stdout);
}

/// With `--force` an alias is given to a new key; the old one still exists.
fn a_new_key_takes_over_an_alias(server: &Ministack, bench: &Workbench) {
    let before = server.call("DescribeKey", &json!({"KeyId": "alias/release"}));
    let fixed = [
        "key",
        "create",
        "release2",
        "--plugin",
        "awskms",
        "--id",
        "alias/release",
    ];
    let asked = bench.hardsign([&fixed[..], &["--type", "EC-256", "--force"]].concat());
    assert_eq!(asked.code, Some(1), "{asked:?}");
    let fate = "it is kept, and the new one takes over its name. Are you sure?";
    assert!(asked.stdout.contains(fate), "{asked:?}");
    let made = bench.hardsign_ok([&fixed[..], &["--type", "EC-256", "--yes", "--force"]].concat());
    let old = before["KeyMetadata"]["Arn"].as_str().unwrap();
    assert!(made.stderr.contains(old), "{}", made.stderr);
    let after = server.call("DescribeKey", &json!({"KeyId": "alias/release"}));
    assert_ne!(after["KeyMetadata"]["Arn"], before["KeyMetadata"]["Arn"]);
    let still = server.call("DescribeKey", &json!({"KeyId": old}));
    assert_eq!(still["KeyMetadata"]["KeyState"], "Enabled");
}

/// What a user can get wrong, and what can be wrong with a key: each an error that says what to do, and
/// nothing is stored.
#[test]
fn faults_are_told() {
    let server = Ministack::start();
    let known = new_bench(&server.environment());
    let key = server.key(KeySpec::Ec256);
    server.alias("alias/release", &key);
    let release = |id: &str| named(&key, id);
    refused(
        &known,
        &release("alias/absent"),
        "alias",
        "NotFoundException",
        "alias/NAME",
    );
    refused(
        &known,
        &release("release"),
        "no alias",
        "NotFoundException",
        "alias/NAME",
    );
    let elsewhere = release("alias/release").with("region", "us-west-2");
    refused(
        &known,
        &elsewhere,
        "region",
        "us-west-2",
        "region (us-west-2)",
    );
    let contradiction = release(&key.arn).with("region", "us-west-2");
    refused(
        &known,
        &contradiction,
        "two regions",
        "ARN is in eu-west-1",
        "leave the region out",
    );
    refused(
        &known,
        &release("my key"),
        "junk",
        "neither an alias",
        "alias/NAME",
    );
    refused(
        &known,
        &release("gcpkms://x"),
        "scheme",
        "gcpkms",
        "awskms:///",
    );
    refused(
        &known,
        &release("alias/release").with("regoin", "x"),
        "setting",
        "regoin",
        "region",
    );
    let nowhere = release("alias/release").with("endpoint", "http://127.0.0.1:1");
    refused(
        &known,
        &nowhere,
        "endpoint",
        "can't be reached",
        "region (eu-west-1)",
    );

    for (terms, name, error) in [
        (
            json!({"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"}),
            "usage",
            "ENCRYPT_DECRYPT",
        ),
        (
            json!({"KeySpec": "SYMMETRIC_DEFAULT"}),
            "symmetric",
            "UnsupportedOperationException",
        ),
        (
            json!({"KeySpec": "ECC_SECG_P256K1", "KeyUsage": "SIGN_VERIFY"}),
            "curve",
            "secp256k1",
        ),
        (
            json!({"KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": "SIGN_VERIFY"}),
            "edwards",
            "Ed25519",
        ),
    ] {
        let id = server.key_of(terms).id;
        refused(&known, &CloudKey::new("awskms", id), name, error, "P-384");
    }

    let disabled = server.key(KeySpec::Ec256);
    server.call("DisableKey", &json!({"KeyId": disabled.id}));
    refused(
        &known,
        &named(&disabled, &disabled.id),
        "disabled",
        "DisabledException",
        "enable-key",
    );
    let deleted = server.key(KeySpec::Ec256);
    server.call(
        "ScheduleKeyDeletion",
        &json!({"KeyId": deleted.id, "PendingWindowInDays": 7}),
    );
    refused(
        &known,
        &named(&deleted, &deleted.id),
        "deleted",
        "KMSInvalidStateException",
        "cancel-key-deletion",
    );
    let foreign =
        CloudKey::new("awskms", "alias/release").with("cert-chain", deleted.chain().display());
    refused(
        &known,
        &foreign,
        "another key's certificate",
        "certificate",
        "",
    );
}

/// Credentials and region are looked for where AWS's own tools look, in their order, and what is missing is
/// told with that order.
#[test]
fn credentials_are_looked_for_in_order() {
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

    profiles(&server, &key);
    servers_of_credentials(&server, &key);
}

/// A profile with keys, one with a command, and one whose command never ends.
fn profiles(server: &Ministack, key: &KmsKey) {
    let bench = new_bench(&[("AWS_ENDPOINT_URL_KMS", server.address())]);
    let home = bench.path().join(".aws");
    fs::create_dir(&home).unwrap();
    let command = bench.path().join("credentials");
    let json = json!({"Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY});
    fs::write(&command, format!("#!/bin/sh\necho '{json}'\n")).unwrap();
    fs::set_permissions(&command, fs::Permissions::from_mode(0o700)).unwrap();
    let config = format!(
        "[profile keys]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\nregion={REGION}\n\
         [profile command]\ncredential_process={}\nregion={REGION}\n\
         [profile broken]\ncredential_process=sh -c 'echo no ticket >&2; exit 3'\nregion={REGION}\n\
         [profile slow]\ncredential_process=sleep 30\nregion={REGION}\n",
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
}

/// A container's server, an instance's, and a role by web identity; each gives what the plugin signs with.
fn servers_of_credentials(server: &Ministack, key: &KmsKey) {
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

/// A service that refuses, as the emulator can't: each answer is told with its next step.
#[test]
fn refusals_of_the_service_are_told() {
    let server = Ministack::start();
    let fake = Between::new(server.port());
    let bench = new_bench(&environment(&fake.address()));
    let key = server.key(KeySpec::Ec256);
    let id = named(&key, &key.arn);
    let quoted = format!(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key.\n\nThe Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:{SESSION_TOKEN}'"
    );
    for (operation, code, message, hint) in [
        (
            "Sign",
            "AccessDeniedException",
            "not authorized to perform: kms:Sign",
            "kms:Sign",
        ),
        (
            "GetPublicKey",
            "AccessDeniedException",
            "not authorized",
            "kms:GetPublicKey",
        ),
        (
            "GetPublicKey",
            "ExpiredTokenException",
            "The security token is expired",
            "expired",
        ),
        (
            "GetPublicKey",
            "UnrecognizedClientException",
            "The security token is invalid",
            "AWS_PROFILE",
        ),
        (
            "GetPublicKey",
            "InvalidSignatureException",
            quoted.as_str(),
            "secret key",
        ),
        ("Sign", "DisabledException", "is disabled", "enable-key"),
        (
            "Sign",
            "KMSInvalidStateException",
            "is pending deletion",
            "cancel-key-deletion",
        ),
    ] {
        let message = message.to_owned();
        fake.rule(move |seen| match seen.what == operation {
            true => aws_error(400, code, &message),
            false => Fate::Pass,
        });
        let text = refused(&bench, &id, code, code, hint);
        assert!(!text.contains(SESSION_TOKEN), "{text}");
        assert_eq!(
            fake.counts().get(operation),
            Some(&1),
            "{code} is not asked twice"
        );
    }
}

/// Answers that are not what was asked for are never used.
#[test]
fn false_answers_are_not_used() {
    let server = Ministack::start();
    let fake = Between::new(server.port());
    let bench = new_bench(&environment(&fake.address()));
    let (key, other) = (server.key(KeySpec::Ec256), server.key(KeySpec::Ec256));
    let id = named(&key, &key.arn);
    let change = |change: fn(&mut Value)| {
        fake.rule(move |seen| match seen.what.as_str() {
            "Sign" => Fate::Change(Box::new(change)),
            _ => Fate::Pass,
        });
    };
    change(|answer| answer["SigningAlgorithm"] = json!("ECDSA_SHA_384"));
    refused(&bench, &id, "algorithm", "another algorithm", "not used");
    change(|answer| answer["KeyId"] = json!("arn:aws:kms:eu-west-1:000000000000:key/other"));
    refused(&bench, &id, "key", "another key", "not used");
    change(|answer| answer["Signature"] = json!(STANDARD.encode([0; 64])));
    refused(&bench, &id, "form", "no ECDSA signature", "not used");
    change(|answer| answer["Signature"] = json!(""));
    refused(&bench, &id, "nothing", "no ECDSA signature", "not used");

    // Another key signs in its place, and says that it was this one.
    let (arn, theirs) = (key.arn.clone(), other.arn.clone());
    fake.rule(move |seen| match seen.what.as_str() {
        "GetPublicKey" => Fate::Pass,
        _ => {
            let mut request = seen.json();
            request["KeyId"] = json!(theirs);
            let arn = arn.clone();
            Fate::Redirect(
                request.to_string(),
                Box::new(move |answer| answer["KeyId"] = json!(arn)),
            )
        }
    });
    refused(&bench, &id, "another key's signature", "signature", "");
    a_salt_of_another_length(&fake, &bench);
}

/// An RSA key of ours, behind the fake: its signature has a salt of 20 bytes.
fn a_salt_of_another_length(fake: &Between, bench: &Workbench) {
    let key = keys::named(KeySpec::Rsa2048, "a key behind the fake");
    let public = run(Command::new("openssl")
        .args(["pkey", "-pubout", "-outform", "DER", "-in"])
        .arg(&key.key));
    let public = STANDARD.encode(public.stdout);
    let arn = "arn:aws:kms:eu-west-1:000000000000:key/ours";
    let answer = |body: Value| Fate::Answer(200, vec![], body.to_string());
    let file = key.key.clone();
    fake.rule(move |seen| match seen.what.as_str() {
        "GetPublicKey" => answer(json!({
            "KeyId": arn, "KeyUsage": "SIGN_VERIFY", "KeySpec": "RSA_2048", "PublicKey": public,
            "SigningAlgorithms": ["RSASSA_PSS_SHA_256"],
        })),
        _ => {
            let digest = STANDARD
                .decode(seen.json()["Message"].as_str().unwrap())
                .unwrap();
            let directory = tempfile::tempdir().unwrap();
            let message = directory.path().join("digest");
            fs::write(&message, digest).unwrap();
            let options =
                "-pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:20";
            let signed = run(Command::new("openssl")
                .args(["pkeyutl", "-sign", "-inkey"])
                .arg(&file)
                .args(options.split(' '))
                .arg("-in")
                .arg(&message));
            answer(json!({
                "KeyId": arn, "SigningAlgorithm": "RSASSA_PSS_SHA_256",
                "Signature": STANDARD.encode(signed.stdout),
            }))
        }
    });
    let id = CloudKey::new("awskms", arn).with("cert-chain", key.chain.display());
    refused(bench, &id, "salt", "signature", "");
}

/// An alias that is given to another key between the public half and the signature: the key that was
/// opened signs.
#[test]
fn an_alias_that_moves_changes_nothing() {
    let server = Ministack::start();
    let fake = Between::new(server.port());
    let bench = new_bench(&environment(&fake.address()));
    let (old, new) = (server.key(KeySpec::Ec256), server.key(KeySpec::Ec256));
    server.alias("alias/release", &old);
    let port = server.port();
    let target = new.id.clone();
    fake.rule(move |seen| {
        if seen.what == "Sign" && seen.number == 1 {
            let moved = json!({"AliasName": "alias/release", "TargetKeyId": target});
            softhsm_tests::ministack::call(port, REGION, "UpdateAlias", &moved);
        }
        Fate::Pass
    });
    let reference = artifact(&bench, "a moving alias");
    let signed = sign(&bench, &named(&old, "alias/release"), &[&reference]);
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    assert_eq!(verify(&bench, &reference).code, Some(0));
    refused(
        &bench,
        &named(&old, "alias/release"),
        "afterwards",
        "certificate",
        "",
    );
}

/// Outages that pass: the request is repeated, once is told, and the signature is right.
#[test]
fn passing_problems_are_waited_out() {
    let server = Ministack::start();
    let fake = Between::new(server.port());
    let bench = new_bench(&environment(&fake.address()));
    let key = server.key(KeySpec::Ec256);
    let id = named(&key, &key.arn);
    let signs = |name: &str| {
        let reference = artifact(&bench, name);
        let signed = sign(&bench, &id, &[&reference]);
        assert_eq!(signed.code, Some(0), "{name}: {}", signed.stderr);
        assert_eq!(verify(&bench, &reference).code, Some(0), "{name}");
        signed.stderr
    };
    let (start, throttled) = (Instant::now(), Duration::from_secs(5));
    fake.rule(
        move |seen| match seen.what == "Sign" && start.elapsed() < throttled {
            true => aws_error(400, "ThrottlingException", "Rate exceeded"),
            false => Fate::Pass,
        },
    );
    let told = signs("throttled for five seconds");
    assert!(start.elapsed() >= throttled);
    assert_eq!(told.matches("asks for fewer requests").count(), 1, "{told}");

    fake.rule(|seen| match seen.number {
        1 => Fate::Cut,
        _ => Fate::Pass,
    });
    signs("connections cut in the middle of an answer");
    fake.rule(|seen| match seen.number {
        1 => aws_error(500, "KMSInternalException", "internal"),
        2 => Fate::Answer(503, vec![], "<html>busy</html>".into()),
        _ => Fate::Pass,
    });
    signs("errors of the service");

    // A clock that is two hours off: the first request is refused, the next ones are signed right.
    let there = "Thu, 01 Jan 2099 00:00:00 GMT";
    fake.rule(
        move |seen| {
            match seen.header("x-amz-date").unwrap().starts_with("2099") {
        true => Fate::Pass,
        false => Fate::Answer(
            400,
            vec![("date", there.into())],
            json!({"__type": "InvalidSignatureException", "message": "Signature not yet current"})
                .to_string(),
        ),
    }
        },
    );
    signs("another clock");
    assert_eq!(fake.counts()["GetPublicKey"], 2);
}

/// A service that never answers is given up in time.
#[test]
fn a_silent_service_is_given_up() {
    let server = Ministack::start();
    let fake = Between::new(server.port());
    let bench = new_bench(&environment(&fake.address()));
    let key = server.key(KeySpec::Ec256);
    fake.rule(|_| Fate::Silence);
    let start = Instant::now();
    refused(
        &bench,
        &named(&key, &key.arn),
        "silence",
        "reached",
        "proxy",
    );
    assert!(
        start.elapsed() < Duration::from_secs(45),
        "{:?}",
        start.elapsed()
    );
}

/// Two hundred signatures in one session cost two hundred requests and one more; no credential is in what
/// is printed with `-d`, nor in the arguments of a process.
#[test]
fn a_batch_costs_one_request_a_signature_and_shows_no_credential() {
    let server = Ministack::start();
    let fake = Between::new(server.port());
    let bench = new_bench(&environment(&fake.address()));
    let key = server.key(KeySpec::Ec256);
    server.alias("alias/release", &key);
    let id = named(&key, "alias/release");
    let references: Vec<_> = (0..200)
        .map(|n| artifact(&bench, &format!("b{n}")))
        .collect();
    fake.rule(|seen: &Seen| match seen.number {
        // While it waits, processes are looked at.
        1 => Fate::After(Duration::from_millis(500), Box::new(Fate::Pass)),
        _ => Fate::Pass,
    });
    let all = ["sign", "-d"]
        .into_iter()
        .chain(id.flags())
        .chain(["--oci-layout"]);
    let mut command = bench.command(
        &binaries().join("hardsign"),
        all.chain(references.iter().map(String::as_str)),
    );
    let log = fs::File::create(bench.path().join("log")).unwrap();
    let mut child = command
        .stdout(log.try_clone().unwrap())
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap();
    let mut processes = Vec::new();
    while !fake.counts().contains_key("Sign") {
        processes.extend(bench.processes());
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before a signature"
        );
    }
    processes.extend(bench.processes());
    assert!(child.wait().unwrap().success());
    let log = fs::read_to_string(bench.path().join("log")).unwrap();
    let wanted = BTreeMap::from([("GetPublicKey".to_owned(), 1), ("Sign".to_owned(), 200)]);
    assert_eq!(fake.counts(), wanted);
    assert!(
        processes
            .iter()
            .any(|line| line.contains("notation-awskms")),
        "{processes:?}"
    );
    for secret in [SECRET_KEY, SESSION_TOKEN, ACCESS_KEY] {
        assert!(!log.contains(secret), "{log}");
        assert!(
            !processes.iter().any(|line| line.contains(secret)),
            "{processes:?}"
        );
    }
    assert_eq!(verify(&bench, &references[199]).code, Some(0));
}

/// The memory of `hardsign` itself has no credential in it, but for the environment that it was started
/// with.
#[cfg(target_os = "linux")]
#[test]
fn no_credential_is_in_memory() {
    use softhsm_tests::process::{holds, initial_environment, memory};
    let server = Ministack::start();
    let fake = Between::new(server.port());
    let mut environment = environment(&fake.address());
    environment.push(("NOTATION_PASSWORD", "of-a-registry".to_owned()));
    // As long as a job's token.
    let token = format!("{}-end-of-Zq7-token", "eyJ".repeat(400));
    environment.push(("AWS_SESSION_TOKEN", token.clone()));
    let bench = new_bench(&environment);
    let key = server.key(KeySpec::Ec256);
    let id = named(&key, &key.arn);
    let references = ["a", "b"].map(|name| artifact(&bench, name));
    fake.rule(|seen| match (seen.what.as_str(), seen.number) {
        ("Sign", 2) => Fate::Silence,
        _ => Fate::Pass,
    });
    let all = ["sign"].into_iter().chain(id.flags());
    let all = all.chain(["--plugin-config", "max-in-flight=1", "--oci-layout"]);
    let hardsign = binaries().join("hardsign");
    let mut command = bench.command(&hardsign, all.chain(references.iter().map(String::as_str)));
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while fake.counts().get("Sign") != Some(&2) {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    let initial = initial_environment(child.id());
    let (whole, rest) = (memory(child.id(), &(0..0)), memory(child.id(), &initial));
    child.kill().unwrap();
    child.wait().unwrap();
    // It is the memory of this run, and only the environment is left out.
    assert!(holds(&whole, SECRET_KEY.as_bytes()) && holds(&rest, key.arn.as_bytes()));
    for secret in [SECRET_KEY, ACCESS_KEY, &token] {
        // Freed memory is overwritten at its beginning alone.
        let end = &secret[secret.len() - 10..];
        assert!(!holds(&rest, end.as_bytes()), "{secret} is in memory");
    }
}
