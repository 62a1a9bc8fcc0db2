//! What goes wrong with keys in OpenBao. What the real server can't do wrong, the fake in front of it does.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use softhsm_tests::between::{Between, Fate, Seen};
use softhsm_tests::cloud::{
    CloudKey, artifact, bench as new_bench, refused, sign, signs_after_a_while, signs_and_verifies,
    silence_is_told, verify,
};
use softhsm_tests::openbao::OpenBao;
use softhsm_tests::workbench::Workbench;

const SIGN: &str = "POST /v1/transit/sign/release";
const KEY: &str = "GET /v1/transit/keys/release";

/// A server with one key, `release` on P-256, a fake in front of it, a client, and the key.
fn behind_a_fake() -> (Arc<OpenBao>, Between, Workbench, CloudKey) {
    let server = Arc::new(OpenBao::start());
    let fake = Between::new(server.port());
    let mut environment = server.environment();
    environment.push(("VAULT_ADDR", fake.address()));
    let bench = new_bench(&environment);
    let key = of(&server, "release", "ecdsa-p256");
    (server, fake, bench, key)
}

/// A new key, and its certificate in a file.
fn of(server: &OpenBao, name: &str, kind: &str) -> CloudKey {
    let chain = server.key(name, kind);
    CloudKey::new("hashivault", name).with("cert-chain", chain.display())
}

/// A token, by these terms.
fn token(server: &OpenBao, terms: &[&str]) -> String {
    let made = server.bao_json(&[&["write", "auth/token/create"], terms].concat());
    made["auth"]["client_token"].as_str().unwrap().to_owned()
}

fn with_token(server: &OpenBao, token: String) -> Workbench {
    new_bench(&[("VAULT_ADDR", server.address()), ("VAULT_TOKEN", token)])
}

/// A token that has ended, and one that may read the key and not sign with it.
#[test]
fn tokens_that_give_no_access_are_told() {
    let server = OpenBao::start();
    let key = of(&server, "release", "ecdsa-p256");
    let expired = token(&server, &["ttl=1s"]);
    sleep(Duration::from_secs(2));
    let bench = with_token(&server, expired.clone());
    let text = refused(&bench, &key, "expired", "permission denied", "expired");
    assert!(!text.contains(&expired), "{text}");
    server.policy(
        "reader",
        "path \"transit/keys/release\" { capabilities = [\"read\"] }\n",
    );
    let reader = token(&server, &["policies=reader", "no_default_policy=true"]);
    let bench = with_token(&server, reader);
    let hint = "update on transit/sign/release";
    refused(&bench, &key, "denied", "permission denied", hint);
}

/// A server that is not there, a sealed one, a key that is deleted, and a version that may no longer sign.
#[test]
fn servers_and_keys_that_do_not_sign_are_told() {
    let server = OpenBao::start();
    let bench = new_bench(&server.environment());
    let nowhere = of(&server, "release", "ecdsa-p256").with("address", "http://127.0.0.1:1");
    refused(
        &bench,
        &nowhere,
        "nowhere",
        "can't be reached",
        "VAULT_ADDR",
    );

    let key = of(&server, "old", "ecdsa-p256").with("version", 1);
    server.bao(["write", "-f", "transit/keys/old/rotate"]);
    server.bao([
        "write",
        "transit/keys/old/config",
        "min_encryption_version=2",
    ]);
    let error = "must no longer sign";
    refused(&bench, &key, "an old version", error, "from 2 on");

    let key = of(&server, "gone", "ecdsa-p256");
    server.bao(["write", "transit/keys/gone/config", "deletion_allowed=true"]);
    signs_and_verifies(&bench, &key, "not gone yet");
    server.bao(["delete", "transit/keys/gone"]);
    refused(
        &bench,
        &key,
        "gone",
        "there is no key \"gone\"",
        "vault list",
    );

    // Deleted as OpenBao has it: it can be had back, and until then it is shown and does not sign.
    let key = of(&server, "soft", "ecdsa-p256");
    server.bao(["delete", "transit/keys/soft/soft-delete"]);
    refused(
        &bench,
        &key,
        "soft",
        "is soft-deleted",
        "soft-delete-restore",
    );
    let flags = key.flags();
    bench.hardsign_ok(["key", "add", "soft"].into_iter().chain(flags));
    let shown = bench.hardsign_ok(["key", "show", "soft"]).stdout;
    assert!(shown.contains("soft-deleted: yes"), "{shown}");
    let list = "key list --plugin hashivault";
    let listed = bench.hardsign_ok(list.split(' ')).stdout;
    let line = listed.lines().find(|line| line.starts_with("soft "));
    assert!(
        line.is_some_and(|line| line.contains("unusable")),
        "{listed}"
    );
    server.bao(["write", "-f", "transit/keys/soft/soft-delete-restore"]);
    signs_and_verifies(&bench, &key, "had back");

    let key = of(&server, "sealed", "ecdsa-p256");
    server.bao(["operator", "seal"]);
    refused(&bench, &key, "sealed", "sealed", "unseal");
}

/// A key that is rotated, and one that is deleted, after it was opened: the version that was opened signs, or
/// nothing does.
#[test]
fn a_key_that_changes_under_way() {
    let (server, fake, bench, key) = behind_a_fake();
    let there = Arc::clone(&server);
    fake.rule(move |seen| {
        if seen.what == SIGN {
            there.bao(["write", "-f", "transit/keys/release/rotate"]);
        }
        Fate::Pass
    });
    let reference = artifact(&bench, "rotated");
    let signed = sign(&bench, &key, &[&reference]);
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    assert_eq!(verify(&bench, &reference).code, Some(0));
    let key = key.with("version", 1);
    server.bao([
        "write",
        "transit/keys/release/config",
        "deletion_allowed=true",
    ]);
    let there = Arc::clone(&server);
    fake.rule(move |seen| {
        if seen.what == SIGN && seen.number == 1 {
            there.bao(["delete", "transit/keys/release/soft-delete"]);
        }
        Fate::Pass
    });
    refused(&bench, &key, "soft-deleted", "soft-deleted", "restore");
    assert_eq!(fake.counts()[SIGN], 1, "it is not asked twice");
    server.bao(["write", "-f", "transit/keys/release/soft-delete-restore"]);
    fake.rule(move |seen| {
        if seen.what == SIGN && seen.number == 1 {
            server.bao(["delete", "transit/keys/release"]);
        }
        Fate::Pass
    });
    refused(&bench, &key, "deleted", "not found", "check the key");
}

/// Changes the signature of an answer, `vault:v1:BASE64`.
fn signature(answer: &mut Value, change: fn(&str) -> String) {
    let text = answer["data"]["signature"].as_str().unwrap();
    answer["data"]["signature"] = json!(change(text));
}

/// Answers that are not what was asked for are never used.
#[test]
fn false_answers_are_not_used() {
    let (server, fake, bench, key) = behind_a_fake();
    let change = |path: &'static str, change: fn(&mut Value)| {
        fake.rule(move |seen| match seen.what == path {
            true => Fate::Change(Box::new(change)),
            false => Fate::Pass,
        });
    };
    change(SIGN, |answer| {
        signature(answer, |text| text.replace(":v1:", ":v2:"))
    });
    refused(&bench, &key, "version", "signed with version 2", "not used");
    change(SIGN, |answer| {
        signature(answer, |text| text[..24].to_owned())
    });
    refused(&bench, &key, "short", "signature", "not used");
    change(SIGN, |answer| answer["data"] = json!({}));
    refused(&bench, &key, "none", "gave no signature", "not used");
    for (path, name) in [(SIGN, "a page"), (KEY, "a page of a key")] {
        let page = "<html>please log in</html>";
        fake.rule(move |seen| match seen.what == path {
            true => Fate::Answer(200, vec![], page.to_owned()),
            false => Fate::Pass,
        });
        refused(&bench, &key, name, "can't be read", "proxy");
    }

    // Another key signs in its place.
    server.key("other", "ecdsa-p256");
    fake.rule(move |seen| match seen.what == SIGN {
        true => answered_by(&server, "other", seen, &[]),
        false => Fate::Pass,
    });
    refused(&bench, &key, "another key's signature", "signature", "");
}

/// A signature whose salt has not the length of the digest.
#[test]
fn another_salt_is_not_used() {
    let (server, fake, bench, _) = behind_a_fake();
    let key = of(&server, "rsa", "rsa-2048");
    for salt in ["auto", "20"] {
        let there = Arc::clone(&server);
        fake.rule(move |seen| match seen.what.ends_with("/sign/rsa") {
            true => answered_by(&there, "rsa", seen, &[&format!("salt_length={salt}")]),
            false => Fate::Pass,
        });
        refused(&bench, &key, salt, "signature", "");
    }
}

/// What a key answers to a request, some members of it replaced.
fn answered_by(server: &OpenBao, key: &str, seen: &Seen, other: &[&str]) -> Fate {
    let request = seen.json();
    let text = |name: &str| request[name].as_str().unwrap().to_owned();
    let path = format!("transit/sign/{key}");
    let mut arguments = vec!["write".to_owned(), path, "prehashed=true".to_owned()];
    for name in [
        "input",
        "hash_algorithm",
        "signature_algorithm",
        "salt_length",
        "marshaling_algorithm",
    ] {
        let replaced = other.iter().find(|other| other.starts_with(name));
        let own = || format!("{name}={}", text(name));
        arguments.push(replaced.map_or_else(own, |other| (*other).to_owned()));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Fate::Answer(200, vec![], server.bao_json(&arguments).to_string())
}

/// Outages that pass: the request is repeated, once is told, and the signatures are right.
#[test]
fn passing_problems_are_waited_out() {
    let (_server, fake, bench, key) = behind_a_fake();
    let (start, throttled) = (Instant::now(), Duration::from_secs(5));
    let errors = |text: &str| json!({"errors": [text]}).to_string();
    let busy = errors("request rejected by rate limit quota");
    fake.rule(
        move |seen| match seen.what == SIGN && start.elapsed() < throttled {
            true => Fate::Answer(429, vec![("retry-after", "1".to_owned())], busy.clone()),
            false => Fate::Pass,
        },
    );
    signs_after_a_while(&bench, &key, "throttled");
    assert!(start.elapsed() >= throttled);
    fake.rule(|seen| match (seen.what == SIGN, seen.number) {
        (true, 1 | 2) => Fate::Cut,
        _ => Fate::Pass,
    });
    signs_after_a_while(&bench, &key, "cut in the middle of an answer");
    fake.rule(move |seen| match (seen.what == SIGN, seen.number) {
        (true, 1) => Fate::Answer(500, vec![], errors("1 error occurred: internal error")),
        (true, 2) => Fate::Answer(502, vec![], "<html>no upstream</html>".to_owned()),
        _ => Fate::Pass,
    });
    signs_after_a_while(&bench, &key, "broken");
}

/// A server that never answers for a signature is given up in time.
#[test]
fn a_silent_server_is_told() {
    let (_server, fake, bench, key) = behind_a_fake();
    fake.rule(|seen| match seen.what == SIGN {
        true => Fate::Silence,
        false => Fate::Pass,
    });
    silence_is_told(&bench, &key);
}

/// Another clock is told where the server's date shows it; `vault.rs` has the words of the real server.
#[test]
fn a_wrong_clock_is_told() {
    let (_server, fake, bench, key) = behind_a_fake();
    let token = bench.path().join("jwt");
    std::fs::write(&token, "a.b.c").unwrap();
    let key = key
        .with("login", "jwt")
        .with("role", "ci")
        .with("jwt", format!("file:{}", token.display()));
    for (date, told) in [
        ("Thu, 01 Jan 2099 00:00:00 GMT", "behind the service's"),
        ("Thu, 01 Jan 2015 00:00:00 GMT", "ahead of the service's"),
    ] {
        fake.rule(move |_| {
            let said =
                "error validating token: invalid not before (nbf) claim: token not yet valid";
            let body = json!({"errors": [said]}).to_string();
            Fate::Answer(400, vec![("date", date.to_owned())], body)
        });
        refused(&bench, &key, told, "token not yet valid", told);
    }
}

const RENEW: &str = "POST /v1/auth/token/renew-self";

/// A login by AppRole, whose secret id may be good for one use.
fn by_approle(server: &OpenBao, fake: &Between) -> (Workbench, CloudKey) {
    server.policy(
        "signer",
        "path \"transit/keys/release\" { capabilities = [\"read\"] }\n\
         path \"transit/sign/release\" { capabilities = [\"update\"] }\n",
    );
    server.bao(["auth", "enable", "approle"]);
    server.bao([
        "write",
        "auth/approle/role/ci",
        "token_policies=signer",
        "secret_id_num_uses=0",
    ]);
    let role = server.bao_json(&["read", "auth/approle/role/ci/role-id"]);
    let secret = server.bao_json(&["write", "-f", "auth/approle/role/ci/secret-id"]);
    let bench = new_bench(&[
        ("VAULT_ADDR", fake.address()),
        (
            "SECRET_ID",
            secret["data"]["secret_id"].as_str().unwrap().to_owned(),
        ),
    ]);
    let key = of(server, "release", "ecdsa-p256")
        .with("login", "approle")
        .with("role-id", role["data"]["role_id"].as_str().unwrap())
        .with("secret-id", "env:SECRET_ID");
    (bench, key)
}

/// A renewal that fails is tried again while the token is good.
#[test]
fn a_failed_renewal_is_tried_again() {
    let server = OpenBao::start();
    let fake = Between::new(server.port());
    let (bench, key) = by_approle(&server, &fake);
    let pause = Duration::from_millis(1200);
    fake.rule(move |seen| match (seen.what.as_str(), seen.number) {
        // For the client it is to be renewed at once.
        ("POST /v1/auth/approle/login", _) => Fate::Change(Box::new(|answer| {
            answer["auth"]["lease_duration"] = json!(1);
        })),
        (RENEW, 1) => Fate::Answer(503, vec![], json!({"errors": ["standby"]}).to_string()),
        (SIGN, _) => Fate::After(pause, Box::new(Fate::Pass)),
        _ => Fate::Pass,
    });
    let key = key.with("max-in-flight", 1);
    let references = ["a", "b", "c", "d"].map(|name| artifact(&bench, name));
    let all: Vec<&str> = references.iter().map(String::as_str).collect();
    let signed = sign(&bench, &key, &all);
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    assert!(fake.counts()[RENEW] >= 2, "{:?}", fake.counts());
}

/// Whatever number the server says a token lives.
#[test]
fn a_token_may_live_for_ever() {
    let server = OpenBao::start();
    let fake = Between::new(server.port());
    let (bench, key) = by_approle(&server, &fake);
    for life in [u64::MAX, u64::MAX / 2, 1 << 40] {
        fake.rule(move |seen| match seen.what.ends_with("/login") {
            true => Fate::Change(Box::new(move |answer| {
                answer["auth"]["lease_duration"] = json!(life);
            })),
            false => Fate::Pass,
        });
        signs_and_verifies(&bench, &key, &life.to_string());
    }
}

/// A login that the server turned away is repeated; one with a secret id that was perhaps used up is not.
#[test]
fn logins_are_repeated_where_nothing_is_lost() {
    let server = OpenBao::start();
    let fake = Between::new(server.port());
    let (bench, key) = by_approle(&server, &fake);
    let login = "POST /v1/auth/approle/login";
    let failing = |status: u16, times: usize| {
        fake.rule(
            move |seen| match (seen.what.ends_with("/login"), seen.number) {
                (true, number) if number <= times => {
                    let body = json!({"errors": ["internal error"]});
                    Fate::Answer(status, vec![], body.to_string())
                }
                _ => Fate::Pass,
            },
        );
    };
    failing(429, 2);
    let reference = artifact(&bench, "throttled");
    let signed = sign(&bench, &key, &[&reference]);
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    assert_eq!(fake.counts()[login], 3);
    failing(500, 2);
    refused(
        &bench,
        &key,
        "with a secret id",
        "internal error",
        "try later",
    );
    assert_eq!(fake.counts()[login], 1);

    // A role that needs no secret id.
    server.bao([
        "write",
        "auth/approle/role/open",
        "token_policies=signer",
        "bind_secret_id=false",
        "secret_id_bound_cidrs=127.0.0.0/8",
    ]);
    let role = server.bao_json(&["read", "auth/approle/role/open/role-id"]);
    let open = of(&server, "release", "ecdsa-p256")
        .with("login", "approle")
        .with("role-id", role["data"]["role_id"].as_str().unwrap());
    failing(500, 2);
    let reference = artifact(&bench, "without a secret id");
    let signed = sign(&bench, &open, &[&reference]);
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    assert_eq!(fake.counts()[login], 3);
}

/// The variables that are looked at for `openbao://` are told in their order.
#[test]
fn what_is_missing_is_told_in_its_order() {
    let bench = new_bench(&[]);
    for (id, first, second) in [
        ("hashivault://release", "VAULT", "BAO"),
        ("openbao://release", "BAO", "VAULT"),
    ] {
        let key = CloudKey::new("hashivault", id);
        let told = format!("the setting address, {first}_ADDR and {second}_ADDR");
        let name = format!("{first} address");
        refused(&bench, &key, &name, &told, &format!("set {first}_ADDR"));
        let there = key.with("address", "http://127.0.0.1:1");
        let told = format!("looked in {first}_TOKEN, {second}_TOKEN and ~/.vault-token");
        let name = format!("{first} token");
        refused(&bench, &there, &name, &told, &format!("set {first}_TOKEN"));
    }
}
