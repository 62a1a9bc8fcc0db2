//! Keys in the transit engine of the real OpenBao: every key type signs, every login works, and what
//! goes wrong is told.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::error::{ErrorCode, ErrorResponse};
use hardsign_plugin::proto::{Base64, CONTRACT_VERSION, ImportCertificatesRequest, PluginConfig};
use serde_json::json;
use softhsm_tests::between::{Between, Fate};
use softhsm_tests::cloud::{
    self, CloudKey, Made, a_ca_issues_and_renews, a_key_is_renewed, artifact, bench as new_bench,
    both_tools_sign_and_verify, conforms, no_credential_is_in_core, openssl_verifies, refused,
    sign, signs_and_verifies, verify,
};
use softhsm_tests::jwt::Issuer;
use softhsm_tests::openbao::{OpenBao, service_account_claims, token_review};
use softhsm_tests::{binaries, keys, run};

const TYPES: [(KeySpec, &str); 6] = [
    (KeySpec::Rsa2048, "rsa-2048"),
    (KeySpec::Rsa3072, "rsa-3072"),
    (KeySpec::Rsa4096, "rsa-4096"),
    (KeySpec::Ec256, "ecdsa-p256"),
    (KeySpec::Ec384, "ecdsa-p384"),
    (KeySpec::Ec521, "ecdsa-p521"),
];

/// ENV-32, ENV-35, ENV-37: each key type signs in both formats; openssl, and the real `notation` in both
/// directions, agree.
#[test]
fn every_key_type_signs_and_verifies() {
    let server = OpenBao::start();
    let bench = new_bench(&server.environment());
    let mut all = Vec::new();
    for (spec, kind) in TYPES {
        let chain = server.key(kind, kind);
        let key = CloudKey::new("hashivault", kind).with("cert-chain", chain.display());
        signs_and_verifies(&bench, &key, spec.name());
        let reference = artifact(&bench, &format!("{kind} for openssl"));
        assert_eq!(sign(&bench, &key, &[&reference]).code, Some(0));
        openssl_verifies(&bench, &reference, spec, &server.public(kind, 1));
        conforms(&bench, &key, &format!("made-{kind}"));
        all.push((kind, key));
    }
    let all: Vec<(&str, &CloudKey)> = all.iter().map(|(kind, key)| (*kind, key)).collect();
    both_tools_sign_and_verify(new_bench(&server.environment()), &all);
}

/// The leaf of another key is refused by the server, which answers it with 500, and told at once, without a wait for
/// better times.
#[test]
fn the_leaf_of_another_key_is_refused_at_once() {
    let server = OpenBao::start();
    let fake = Between::new(server.port());
    server.key("release", "ecdsa-p384");
    let other = server.key("other", "ecdsa-p384");
    let pem = fs::read_to_string(&other).unwrap();
    let path = "transit/keys/release/set-certificate";
    let chain = format!("certificate_chain={pem}");
    let told = server.bao_refuses(["write", path, "version=1", &chain]);
    assert!(told.contains("does not match the selected key"), "{told}");
    assert!(told.contains("Code: 500"), "{told}");

    // hardsign itself offers no such certificate, so the plugin is asked without it.
    let mut environment = server.environment();
    environment.push(("VAULT_ADDR", fake.address()));
    let bench = new_bench(&environment);
    let chain: Vec<Base64> = hardsign_plugin::chain::load(&other)
        .unwrap()
        .into_iter()
        .map(Base64)
        .collect();
    let request = ImportCertificatesRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: "release".to_owned(),
        certificate_chain: chain,
        plugin_config: PluginConfig::default(),
        overwrite: false,
    };
    let file = bench.path().join("request.json");
    fs::write(&file, serde_json::to_vec(&request).unwrap()).unwrap();
    let plugin = binaries().join("notation-hashivault");
    let mut command = bench.command(&plugin, ["import-certificates"]);
    command.stdin(fs::File::open(&file).unwrap());
    let ran = bench.run(&mut command);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let error: ErrorResponse = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error.error_code, Some(ErrorCode::ValidationError));
    let hint = error.hint().unwrap();
    assert!(hint.contains("another certificate"), "{hint}");
    assert_eq!(fake.counts()[&format!("POST /v1/{path}")], 1);
}

/// The chain lives beside the key: set, read back, and used without a setting; another key's leaf is
/// refused by the server.
#[test]
fn a_chain_beside_the_key_is_used() {
    let server = OpenBao::start();
    let bench = new_bench(&server.environment());
    let chain = server.key("release", "ecdsa-p384");
    let other = server.key("other", "ecdsa-p384");
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

/// The least permission for signing.
const SIGNER: &str = "path \"transit/keys/release\" { capabilities = [\"read\"] }\n\
                      path \"transit/sign/release\" { capabilities = [\"update\"] }\n";

/// AppRole with a secret id for one use: a batch costs one login, and a second run is refused.
#[test]
fn a_secret_id_for_one_use_signs_a_batch() {
    let server = OpenBao::start();
    let chain = server.key("release", "ecdsa-p256");
    server.bao(["auth", "enable", "approle"]);
    server.policy("signer", SIGNER);
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
    let bench = new_bench(&[
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
    let chain = server.key("release", "ecdsa-p256");
    let issuer = Issuer::new();
    server.bao(["auth", "enable", "jwt"]);
    let public = format!("jwt_validation_pubkeys={}", issuer.public());
    server.bao(["write", "auth/jwt/config", &public]);
    server.policy("signer", SIGNER);
    server.bao([
        "write",
        "auth/jwt/role/ci",
        "role_type=jwt",
        "user_claim=sub",
        "bound_audiences=vault",
        "bound_subject=repo:acme/app",
        "token_policies=signer",
    ]);
    let directory = tempfile::tempdir().unwrap();
    let bench = new_bench(&[("VAULT_ADDR", server.address())]);
    let key = |subject: &str| {
        let file = directory.path().join("jwt");
        let claims =
            json!({"sub": subject, "aud": "vault", "exp": 4_000_000_000_u64, "iat": 1_700_000_000});
        fs::write(&file, issuer.token(&claims)).unwrap();
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
    // One that is not there is not called a PIN.
    let unset = key("repo:acme/app").with("jwt", "env:NO_SUCH_TOKEN");
    let unset = CloudKey {
        config: unset
            .config
            .into_iter()
            .filter(|setting| !setting.starts_with("jwt=file:"))
            .collect(),
        ..unset
    };
    let text = refused(
        &bench,
        &unset,
        "no variable",
        "environment variable NO_SUCH_TOKEN for the JWT is not set",
        "set NO_SUCH_TOKEN",
    );
    assert!(!text.contains("PIN"), "{text}");
}

/// A JWT that has ended, or has not begun yet: the server tells, and so does the hint.
#[test]
fn a_jwt_out_of_its_time_is_told() {
    let server = OpenBao::start();
    let chain = server.key("release", "ecdsa-p256");
    let issuer = Issuer::new();
    server.bao(["auth", "enable", "jwt"]);
    let public = format!("jwt_validation_pubkeys={}", issuer.public());
    server.bao(["write", "auth/jwt/config", &public]);
    server.policy("signer", SIGNER);
    let role = "role_type=jwt user_claim=sub bound_audiences=vault bound_subject=repo:acme/app token_policies=signer";
    server.bao(
        ["write", "auth/jwt/role/ci"]
            .into_iter()
            .chain(role.split(' ')),
    );
    let bench = new_bench(&[("VAULT_ADDR", server.address())]);
    let file = bench.path().join("jwt");
    let key = CloudKey::new("hashivault", "release")
        .with("login", "jwt")
        .with("role", "ci")
        .with("jwt", format!("file:{}", file.display()))
        .with("cert-chain", chain.display());
    let (past, future) = (1_600_000_000_u64, 4_000_000_000_u64);
    for (name, begins, issued, ends) in [
        ("ended", past, past, past + 600),
        ("not begun", future, past, future + 600),
        ("issued in the future", past, future, future + 600),
    ] {
        let claims = json!({
            "sub": "repo:acme/app", "aud": "vault", "nbf": begins, "iat": issued, "exp": ends,
        });
        let token = issuer.token(&claims);
        fs::write(&file, &token).unwrap();
        let hint = "get a new one just before signing";
        let text = refused(&bench, &key, name, "login by JWT", hint);
        assert!(!text.contains(&token), "{text}");
    }
}

/// Wrong names, tokens and types are told with the next step, and nothing is stored.
#[test]
fn faults_are_told() {
    let server = OpenBao::start();
    let chain = server.key("release", "ecdsa-p256");
    server.bao(["write", "-f", "transit/keys/symmetric", "type=aes256-gcm96"]);
    server.bao(["write", "-f", "transit/keys/ed", "type=ed25519"]);
    let known = new_bench(&server.environment());
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

    let stranger = new_bench(&[
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
    let nobody = new_bench(&[("VAULT_ADDR", server.address())]);
    refused(
        &nobody,
        &key("release"),
        "no token",
        "no token is known",
        "vault login",
    );
    let nowhere = new_bench(&[]);
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
    let bench = new_bench(&server.environment());
    let chain = server.key("release", "rsa-2048");
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
    let bench = new_bench(&server.environment());
    let chain = server.key("release", "ecdsa-p256");
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

/// A pod's own token logs in, checked by a fake of the cluster's TokenReview; that of another service account
/// is refused, and a token that is not there is named.
#[test]
fn a_service_account_logs_in() {
    let server = OpenBao::start();
    let chain = server.key("release", "ecdsa-p256");
    let issuer = Issuer::new();
    let audience = "https://vault.example.com";
    let token = issuer.token(&service_account_claims("ci", "sign-release", audience));
    let cluster = token_review(&token, "ci:sign-release");
    server.bao(["auth", "enable", "kubernetes"]);
    let reviewer = issuer.token(&service_account_claims("vault", "reviewer", audience));
    server.write(
        "auth/kubernetes/config",
        &json!({
            "kubernetes_host": cluster.address(),
            "token_reviewer_jwt": reviewer,
            "kubernetes_ca_cert": fs::read_to_string(keys::root()).unwrap(),
            "disable_local_ca_jwt": true,
        }),
    );
    server.policy("signer", SIGNER);
    server.write(
        "auth/kubernetes/role/ci",
        &json!({
            "bound_service_account_names": ["sign-release"],
            "bound_service_account_namespaces": ["ci"],
            "audience": audience,
            "token_policies": ["signer"],
        }),
    );
    let bench = new_bench(&[("VAULT_ADDR", server.address())]);
    let file = bench.path().join("token");
    let key = CloudKey::new("hashivault", "release")
        .with("login", "kubernetes")
        .with("role", "ci")
        .with("jwt", format!("file:{}", file.display()))
        .with("cert-chain", chain.display());
    let text = refused(&bench, &key, "no token", "token can't be read", "");
    assert!(text.contains(&file.display().to_string()), "{text}");
    fs::write(&file, &token).unwrap();
    signs_and_verifies(&bench, &key, "in a pod");
    assert!(cluster.counts().values().sum::<usize>() > 0);
    let other = issuer.token(&service_account_claims("ci", "build", audience));
    fs::write(&file, &other).unwrap();
    let text = refused(&bench, &key, "another pod", "login by JWT", "role");
    assert!(!text.contains(&other), "{text}");
}

const SUBJECT: &str = "C=US,ST=WA,O=Example,CN=release";

/// A key is made, listed, shown, requested and certified by a CA that lives there too; its chain is stored
/// beside it, and read from there by whoever has the key's name.
#[test]
fn the_life_of_a_key() {
    let server = OpenBao::start();
    let bench = new_bench(&server.environment());
    let create = |name: &str, id: &str, kind: &str| {
        let fixed = ["key", "create", name, "--plugin", "hashivault"];
        bench.hardsign([&fixed[..], &["--id", id, "--type", kind]].concat())
    };
    for (name, kind) in [("ca", "EC-384"), ("release", "RSA-3072")] {
        let made = create(name, name, kind);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
    }
    let exportable = server.bao_json(&["read", "transit/keys/release"]);
    assert_eq!(exportable["data"]["exportable"], false);
    let again = create("another", "release", "RSA-3072");
    assert_ne!(again.code, Some(0), "{}", again.stdout);
    for padding in ["pkcs1v15", "pss"] {
        let out = bench.path().join(padding).display().to_string();
        let fixed = ["key", "request", "release", "--subject", SUBJECT];
        bench.hardsign_ok([&fixed[..], &["--rsa-padding", padding, "--out", &out]].concat());
        run(Command::new("openssl").args(["req", "-verify", "-noout", "-in", &out]));
    }
    let ca = [
        "key",
        "certify",
        "ca",
        "--subject",
        "C=US,ST=WA,O=Example,CN=CA",
        "--days",
        "30",
    ];
    bench.hardsign_ok([&ca[..], &["--ca", "--trust", "ours"]].concat());
    let leaf = [
        "key",
        "certify",
        "release",
        "--subject",
        SUBJECT,
        "--days",
        "10",
    ];
    bench.hardsign_ok([&leaf[..], &["--issuer", "ca"]].concat());
    bench.policy(&json!({
        "name": "tests",
        "registryScopes": ["local/test"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:ours"],
        "trustedIdentities": ["*"],
    }));
    // The key's name is enough: the chain is beside the key.
    signs_and_verifies(
        &bench,
        &CloudKey::new("hashivault", "release"),
        "with a life",
    );
    let listed = bench
        .hardsign_ok(["key", "list", "--plugin", "hashivault"])
        .stdout;
    for word in ["ca", "release", "EC-384", "RSA-3072", "CN=release"] {
        assert!(listed.contains(word), "{listed}");
    }
    let shown = bench.hardsign_ok(["key", "show", "release"]).stdout;
    for line in [
        "Reported by the device:",
        "exportable: no",
        "type: rsa-3072",
        "CN=release",
    ] {
        assert!(shown.contains(line), "{shown}");
    }

    // A chain of another CA takes its place only with --force; another key's is refused.
    let chain = server.chain("release", 1).display().to_string();
    let import = ["key", "import-cert", "release", &chain];
    assert_ne!(bench.hardsign(import).code, Some(0));
    bench.hardsign_ok([&import[..], &["--force"]].concat());
    let kept = server.bao_json(&["read", "transit/keys/release"]);
    let kept = kept["data"]["keys"]["1"]["certificate_chain"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(kept.matches("BEGIN CERTIFICATE").count(), 3);
    let foreign = server.key("other", "ecdsa-p256").display().to_string();
    assert_ne!(
        bench
            .hardsign(["key", "import-cert", "release", &foreign])
            .code,
        Some(0)
    );
    bench.trust(&keys::root(), "strict");
    signs_and_verifies(&bench, &CloudKey::new("hashivault", "release"), "imported");
}

/// Two hundred signatures in one session: two hundred requests, one login and one look at the key.
#[test]
fn a_batch_costs_one_request_a_signature() {
    let server = OpenBao::start();
    let fake = Between::new(server.port());
    let chain = server.key("release", "ecdsa-p256");
    server.bao(["auth", "enable", "approle"]);
    server.policy("signer", SIGNER);
    server.bao(["write", "auth/approle/role/ci", "token_policies=signer"]);
    let role = server.bao_json(&["read", "auth/approle/role/ci/role-id"]);
    let secret = server.bao_json(&["write", "-f", "auth/approle/role/ci/secret-id"]);
    let secret = secret["data"]["secret_id"].as_str().unwrap().to_owned();
    let bench = new_bench(&[
        ("VAULT_ADDR", fake.address()),
        ("SECRET_ID", secret.clone()),
    ]);
    let key = CloudKey::new("hashivault", "release")
        .with("login", "approle")
        .with("role-id", role["data"]["role_id"].as_str().unwrap())
        .with("secret-id", "env:SECRET_ID")
        .with("cert-chain", chain.display());
    let references: Vec<_> = (0..200)
        .map(|n| artifact(&bench, &format!("b{n}")))
        .collect();
    let all = ["sign", "-d"]
        .into_iter()
        .chain(key.flags())
        .chain(["--oci-layout"]);
    let signed = bench.hardsign(all.chain(references.iter().map(String::as_str)));
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    let wanted = [
        ("GET /v1/transit/keys/release", 1),
        ("POST /v1/auth/approle/login", 1),
        ("POST /v1/transit/sign/release", 200),
    ];
    let wanted = wanted.map(|(what, number)| (what.to_owned(), number));
    assert_eq!(fake.counts(), BTreeMap::from(wanted));
    let token = fake
        .seen()
        .into_iter()
        .find_map(|seen| Some(seen.header("x-vault-token")?.to_owned()));
    for hidden in [secret, token.unwrap()] {
        assert!(!signed.stderr.contains(&hidden) && !signed.stdout.contains(&hidden));
    }
}

/// A team's CA in the engine certifies a key there, by its request and by its name, renews and revokes.
#[test]
fn a_ca_in_the_engine_issues() {
    for (ca, leaf) in [("EC-384", "EC-256"), ("RSA-3072", "RSA-2048")] {
        let server = OpenBao::start();
        let bench = new_bench(&server.environment());
        let made = Made {
            plugin: "hashivault",
            id: &|key| format!("hashivault://{key}"),
            config: &[],
        };
        a_ca_issues_and_renews(&bench, &made, ca, leaf);
    }
}

/// SEC-01: neither a token of the environment, nor a secret id, nor a JWT, nor the token that a login gives, gets into
/// hardsign or into arguments.
#[cfg(target_os = "linux")]
#[test]
fn no_credential_is_in_core_or_arguments() {
    let server = OpenBao::start();
    let fake = Between::new(server.port());
    let chain = server.key("release", "ecdsa-p256");
    server.policy("signer", SIGNER);
    let issuer = Issuer::new();
    server.bao(["auth", "enable", "jwt"]);
    let public = format!("jwt_validation_pubkeys={}", issuer.public());
    server.bao(["write", "auth/jwt/config", &public]);
    let role = "role_type=jwt user_claim=sub bound_audiences=vault token_policies=signer";
    let path = ["write", "auth/jwt/role/ci"];
    server.bao(path.into_iter().chain(role.split(' ')));
    server.bao(["auth", "enable", "approle"]);
    server.bao(["write", "auth/approle/role/ci", "token_policies=signer"]);
    let role = server.bao_json(&["read", "auth/approle/role/ci/role-id"]);
    let secret = server.bao_json(&["write", "-f", "auth/approle/role/ci/secret-id"]);
    let secret = secret["data"]["secret_id"].as_str().unwrap();
    let claims =
        json!({"sub": "job", "aud": "vault", "exp": 4_000_000_000_u64, "iat": 1_700_000_000});
    let jwt = issuer.token(&claims);
    let token = server.bao_json(&["write", "auth/token/create", "policies=signer"]);
    let token = token["auth"]["client_token"].as_str().unwrap();
    let bench = new_bench(&[
        ("VAULT_ADDR", fake.address()),
        ("VAULT_TOKEN", token.to_owned()),
        ("SECRET_ID", secret.to_owned()),
        ("JWT", jwt.clone()),
    ]);
    let key = CloudKey::new("hashivault", "release").with("cert-chain", chain.display());
    let approle = key
        .clone()
        .with("login", "approle")
        .with("role-id", role["data"]["role_id"].as_str().unwrap())
        .with("secret-id", "env:SECRET_ID");
    let by_jwt = key
        .clone()
        .with("login", "jwt")
        .with("role", "ci")
        .with("jwt", "env:JWT");
    const SIGN: &str = "POST /v1/transit/sign/release";
    for key in [&key, &approle, &by_jwt] {
        fake.rule(|seen| match seen.what == SIGN {
            true => Fate::Silence,
            false => Fate::Pass,
        });
        let given = || {
            let asked = fake.seen().into_iter().find(|seen| seen.what == SIGN);
            asked.map(|seen| seen.header("x-vault-token").unwrap().to_owned())
        };
        // The prefix of all tokens is no secret.
        let secrets = [token, secret, &jwt];
        no_credential_is_in_core(&bench, key, &secrets, || given().is_some());
        if key.config.len() > 1 {
            assert_ne!(given().unwrap(), token, "a login gives another");
        }
    }
}

/// `key renew --new-key`.
#[test]
fn a_key_is_renewed_with_a_new_one() {
    let server = OpenBao::start();
    let bench = new_bench(&server.environment());
    let made = Made {
        plugin: "hashivault",
        id: &|key| format!("hashivault://{key}"),
        config: &[],
    };
    a_key_is_renewed(&bench, &made);
}

/// The setting `rate`.
#[test]
fn a_rate_is_kept() {
    let server = OpenBao::start();
    let bench = new_bench(&server.environment());
    let chain = server.key("release", "ecdsa-p256");
    let key = CloudKey::new("hashivault", "release").with("cert-chain", chain.display());
    cloud::a_rate_is_kept(&bench, &key);
}
