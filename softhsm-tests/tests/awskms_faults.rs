//! What goes wrong with keys in AWS KMS. What the emulator `ministack` can't do wrong, the fake in front of it
//! does.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::between::{Between, Fate, Seen, aws_error};
use softhsm_tests::cloud::{
    CloudKey, artifact, bench as new_bench, refused, sign, silence_is_told, verify,
};
use softhsm_tests::ministack::{KmsKey, Ministack, REGION, SESSION_TOKEN, environment};
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{keys, run};

fn named(key: &KmsKey, id: impl Into<String>) -> CloudKey {
    CloudKey::new("awskms", id).with("cert-chain", key.chain().display())
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
    refused(&bench, &id, "form", "not an ECDSA signature", "not used");
    change(|answer| answer["Signature"] = json!(""));
    refused(&bench, &id, "nothing", "not an ECDSA signature", "not used");

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

/// A clock that is wrong for good: the error says by how much, and nothing is stored.
#[test]
fn a_wrong_clock_is_told() {
    let server = Ministack::start();
    let fake = Between::new(server.port());
    let bench = new_bench(&environment(&fake.address()));
    let key = server.key(KeySpec::Ec256);
    let id = named(&key, &key.arn);
    for (date, told) in [
        ("Thu, 01 Jan 2099 00:00:00 GMT", "behind the service's"),
        ("Thu, 01 Jan 2015 00:00:00 GMT", "ahead of the service's"),
    ] {
        let refuses = move |_: &Seen| {
            let body = json!({"__type": "InvalidSignatureException", "message": "Signature not yet current"});
            Fate::Answer(400, vec![("date", date.to_owned())], body.to_string())
        };
        fake.rule(refuses);
        let text = refused(&bench, &id, told, "InvalidSignatureException", told);
        assert!(text.contains("this machine's clock is"), "{text}");
    }
}

/// One that answers for the key and never for a signature.
#[test]
fn a_signature_that_never_comes_is_given_up() {
    let server = Ministack::start();
    let fake = Between::new(server.port());
    let bench = new_bench(&environment(&fake.address()));
    let key = server.key(KeySpec::Ec256);
    fake.rule(|seen| match seen.what == "Sign" {
        true => Fate::Silence,
        false => Fate::Pass,
    });
    silence_is_told(&bench, &named(&key, &key.arn));
}
