//! Keys in the transit engine of the real OpenBao: every key type signs, every login works, and what
//! goes wrong is told.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hardsign_plugin::algorithm::KeySpec;
use serde_json::json;
use softhsm_tests::cloud::{
    CloudKey, artifact, bench, conforms, refused, sign, signs_and_verifies, verify,
};
use softhsm_tests::openbao::OpenBao;
use softhsm_tests::{keys, run};

const TYPES: [(KeySpec, &str); 6] = [
    (KeySpec::Rsa2048, "rsa-2048"),
    (KeySpec::Rsa3072, "rsa-3072"),
    (KeySpec::Rsa4096, "rsa-4096"),
    (KeySpec::Ec256, "ecdsa-p256"),
    (KeySpec::Ec384, "ecdsa-p384"),
    (KeySpec::Ec521, "ecdsa-p521"),
];

/// Makes a key of the engine, and a chain for it.
fn key(server: &OpenBao, name: &str, kind: &str) -> PathBuf {
    server.bao([
        "write",
        "-f",
        &format!("transit/keys/{name}"),
        &format!("type={kind}"),
    ]);
    chain(server, name, 1)
}

fn chain(server: &OpenBao, name: &str, version: u32) -> PathBuf {
    let found = server.bao_json(&["read", &format!("transit/keys/{name}")]);
    let public = found["data"]["keys"][version.to_string()]["public_key"].as_str();
    keys::certify(
        public.unwrap(),
        &format!("{name}-{version}-{}", server.port()),
    )
}

/// ENV-32, ENV-35, ENV-37: each key type signs in both formats.
#[test]
fn every_key_type_signs_and_verifies() {
    let server = OpenBao::start();
    let bench = bench(&server.environment());
    for (spec, kind) in TYPES {
        let chain = key(&server, kind, kind);
        let key = CloudKey::new("hashivault", kind).with("cert-chain", chain.display());
        signs_and_verifies(&bench, &key, spec.name());
        conforms(&bench, &key);
    }
}

/// The chain lives beside the key: set, read back, and used without a setting; another key's leaf is
/// refused by the server.
#[test]
fn a_chain_beside_the_key_is_used() {
    let server = OpenBao::start();
    let bench = bench(&server.environment());
    let chain = key(&server, "release", "ecdsa-p384");
    let other = key(&server, "other", "ecdsa-p384");
    let set = |file: &Path| {
        let pem = fs::read_to_string(file).unwrap();
        server.bao([
            "write",
            "transit/keys/release/set-certificate",
            "version=1",
            &format!("certificate_chain={pem}"),
        ])
    };
    let without = CloudKey::new("hashivault", "hashivault://release");
    refused(&bench, &without, "no chain", "certificate", "");
    set(&chain);
    for id in ["release", "hashivault://release", "openbao://release"] {
        signs_and_verifies(&bench, &CloudKey::new("hashivault", id), id);
    }
    let foreign = CloudKey::new("hashivault", "release").with("cert-chain", other.display());
    signs_and_verifies(&bench, &foreign, "the right one of two chains");
    let found = server.bao_json(&["read", "transit/keys/release"]);
    let kept = found["data"]["keys"]["1"]["certificate_chain"]
        .as_str()
        .unwrap();
    assert_eq!(kept.matches("BEGIN CERTIFICATE").count(), 3);
}

/// AppRole with a secret id for one use: a batch costs one login, and a second run is refused.
#[test]
fn a_secret_id_for_one_use_signs_a_batch() {
    let server = OpenBao::start();
    let chain = key(&server, "release", "ecdsa-p256");
    server.bao(["auth", "enable", "approle"]);
    let policy = "path \"transit/keys/release\" { capabilities = [\"read\"] }\n\
                  path \"transit/sign/release\" { capabilities = [\"update\"] }\n";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.hcl");
    fs::write(&file, policy).unwrap();
    server.bao(["policy", "write", "signer", file.to_str().unwrap()]);
    server.bao([
        "write",
        "auth/approle/role/ci",
        "token_policies=signer",
        "secret_id_num_uses=1",
        "token_ttl=60",
    ]);
    let role = server.bao_json(&["read", "auth/approle/role/ci/role-id"]);
    let secret = server.bao_json(&["write", "-f", "auth/approle/role/ci/secret-id"]);
    let secret = secret["data"]["secret_id"].as_str().unwrap().to_owned();
    let bench = bench(&[
        ("VAULT_ADDR", server.address()),
        ("SECRET_ID", secret.clone()),
    ]);
    let key = CloudKey::new("hashivault", "release")
        .with("login", "approle")
        .with("role-id", role["data"]["role_id"].as_str().unwrap())
        .with("secret-id", "env:SECRET_ID")
        .with("cert-chain", chain.display());
    let references: Vec<_> = (0..20)
        .map(|n| artifact(&bench, &format!("a{n}")))
        .collect();
    let all: Vec<&str> = references.iter().map(String::as_str).collect();
    let signed = sign(&bench, &key, &all);
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    assert_eq!(verify(&bench, &references[19]).code, Some(0));
    let again = refused(&bench, &key, "again", "AppRole", "role");
    assert!(!again.contains(&secret));
}

/// A JWT that the server checks with a public key, as those of CI systems are.
#[test]
fn a_jwt_logs_in() {
    let server = OpenBao::start();
    let chain = key(&server, "release", "ecdsa-p256");
    let issuer = keys::named(KeySpec::Rsa2048, "ci issuer").key;
    let public = run(Command::new("openssl")
        .args(["pkey", "-pubout", "-in"])
        .arg(&issuer));
    let public = String::from_utf8(public.stdout).unwrap();
    server.bao(["auth", "enable", "jwt"]);
    server.bao([
        "write",
        "auth/jwt/config",
        &format!("jwt_validation_pubkeys={public}"),
    ]);
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.hcl");
    fs::write(
        &policy,
        "path \"transit/*\" { capabilities = [\"read\", \"update\"] }\n",
    )
    .unwrap();
    server.bao(["policy", "write", "signer", policy.to_str().unwrap()]);
    server.bao([
        "write",
        "auth/jwt/role/ci",
        "role_type=jwt",
        "user_claim=sub",
        "bound_audiences=vault",
        "bound_subject=repo:acme/app",
        "token_policies=signer",
    ]);
    let token = |subject: &str| {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let head = encode(br#"{"alg":"RS256","typ":"JWT"}"#);
        let claims =
            json!({"sub": subject, "aud": "vault", "exp": 4_000_000_000_u64, "iat": 1_700_000_000});
        let signed = format!("{head}.{}", encode(claims.to_string().as_bytes()));
        let message = directory.path().join("message");
        fs::write(&message, &signed).unwrap();
        let sign = ["dgst", "-sha256", "-sign"];
        let signature = run(Command::new("openssl")
            .args(sign)
            .arg(&issuer)
            .arg(&message));
        format!("{signed}.{}", encode(&signature.stdout))
    };
    let bench = bench(&[("VAULT_ADDR", server.address())]);
    let key = |subject: &str| {
        let file = directory.path().join("jwt");
        fs::write(&file, token(subject)).unwrap();
        CloudKey::new("hashivault", "release")
            .with("login", "jwt")
            .with("role", "ci")
            .with("jwt", format!("file:{}", file.display()))
            .with("cert-chain", chain.display())
    };
    signs_and_verifies(&bench, &key("repo:acme/app"), "with a JWT");
    refused(
        &bench,
        &key("repo:acme/other"),
        "another subject",
        "login by JWT",
        "role",
    );
}

/// Wrong names, tokens and types are told with the next step, and nothing is stored.
#[test]
fn faults_are_told() {
    let server = OpenBao::start();
    let chain = key(&server, "release", "ecdsa-p256");
    server.bao(["write", "-f", "transit/keys/symmetric", "type=aes256-gcm96"]);
    server.bao(["write", "-f", "transit/keys/ed", "type=ed25519"]);
    let known = bench(&server.environment());
    let key = |id: &str| CloudKey::new("hashivault", id).with("cert-chain", chain.display());
    refused(
        &known,
        &key("absent"),
        "absent",
        "no key \"absent\"",
        "vault list",
    );
    refused(
        &known,
        &key("symmetric"),
        "symmetric",
        "aes256-gcm96",
        "P-384",
    );
    refused(&known, &key("ed"), "ed25519", "ed25519", "P-384");
    let second = key("release").with("version", 2);
    refused(&known, &second, "version", "no version 2", "newest");
    let elsewhere = key("release").with("mount", "elsewhere");
    refused(&known, &elsewhere, "mount", "elsewhere", "");
    let misspelt = key("release").with("rolle", "x");
    refused(&known, &misspelt, "misspelt", "rolle", "role");

    let stranger = bench(&[
        ("VAULT_ADDR", server.address()),
        ("VAULT_TOKEN", "s.wrong-token".into()),
    ]);
    let text = refused(
        &stranger,
        &key("release"),
        "token",
        "permission denied",
        "read on transit/keys/release",
    );
    assert!(!text.contains("wrong-token"));
    let nobody = bench(&[("VAULT_ADDR", server.address())]);
    refused(
        &nobody,
        &key("release"),
        "no token",
        "no token is known",
        "vault login",
    );
    let nowhere = bench(&[]);
    refused(
        &nowhere,
        &key("release"),
        "no address",
        "VAULT_ADDR",
        "address=",
    );
}

/// A key that is rotated between opening and signing signs with the version that was opened, whose
/// certificate the signature carries.
#[test]
fn a_rotated_key_signs_with_the_version_of_its_certificate() {
    let server = OpenBao::start();
    let bench = bench(&server.environment());
    let chain = key(&server, "release", "rsa-2048");
    server.bao(["write", "-f", "transit/keys/release/rotate"]);
    let first = CloudKey::new("hashivault", "release")
        .with("cert-chain", chain.display())
        .with("version", 1);
    signs_and_verifies(&bench, &first, "the first version");
    let newest = CloudKey::new("hashivault", "release").with("cert-chain", chain.display());
    refused(&bench, &newest, "the newest version", "certificate", "");
}

/// `sign --metadata-file`: what a build wrote is signed by its digest, wherever its tag leads.
#[test]
fn the_digests_that_a_build_wrote_are_signed() {
    let server = OpenBao::start();
    let bench = bench(&server.environment());
    let chain = key(&server, "release", "ecdsa-p256");
    let key = CloudKey::new("hashivault", "release").with("cert-chain", chain.display());
    let reference = artifact(&bench, "built");
    let digest = reference.rsplit('@').next().unwrap();
    let name = format!("{}:v1", bench.layout.path().display());
    let file = bench.path().join("build.json");
    let metadata = json!({"containerimage.digest": digest, "image.name": name});
    fs::write(&file, metadata.to_string()).unwrap();
    let flags = [
        "sign",
        "--metadata-file",
        file.to_str().unwrap(),
        "--oci-layout",
    ];
    let signed = bench.hardsign(flags.into_iter().chain(key.flags()));
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    assert_eq!(verify(&bench, &reference).code, Some(0));
}
