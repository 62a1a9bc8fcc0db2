//! The shell parts of docs/ci.md, as they stand there, against emulators and a registry: each signs what a
//! build wrote down, and both tools verify it.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hardsign_plugin::algorithm::KeySpec;
use serde_json::json;
use softhsm_tests::between::{Between, Fate, aws_error};
use softhsm_tests::cloud::bench;
use softhsm_tests::fakes::azure::FakeKeyVault;
use softhsm_tests::fakes::google::{FakeCloudKms, RING};
use softhsm_tests::jwt::Issuer;
use softhsm_tests::ministack::{self, Ministack};
use softhsm_tests::openbao::{OpenBao, service_account_claims, token_review};
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::scene::Scene;
use softhsm_tests::workbench::Ran;
use softhsm_tests::{binaries, keys};

/// What a line names that stands before a shell part.
const MARK: &str = "shell: ";

/// The audience of the tokens in the document.
const AUDIENCE: &str = "https://vault.example.com";

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci.md");
    fs::read_to_string(path).unwrap()
}

/// The shell parts by name: what follows a line `# shell: NAME` or `// shell: NAME`. In YAML and in a
/// Jenkinsfile it is what is indented below the next line, without that indent; else the rest of the block.
fn parts(document: &str) -> BTreeMap<String, String> {
    let lines: Vec<&str> = document.lines().collect();
    let mut parts = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let Some(name) = text
            .strip_prefix("# ")
            .or_else(|| text.strip_prefix("// "))
            .and_then(|text| text.strip_prefix(MARK))
        else {
            continue;
        };
        let next = lines[at + 1];
        let nested = next.trim_end().ends_with('|') || next.trim_end().ends_with("'''");
        let from = if nested { at + 2 } else { at + 1 };
        let indent = |line: &str| line.len() - line.trim_start().len();
        let base = indent(lines[from]);
        let part = lines[from..]
            .iter()
            .take_while(|line| indent(line) >= base && !line.starts_with("```") && !line.is_empty())
            .map(|line| format!("{}\n", &line[base..]));
        parts.insert(name.to_owned(), part.collect());
    }
    parts
}

/// A job's directory: what the build wrote, the chain, and a registry with a password.
struct Job {
    scene: Scene,
    directory: PathBuf,
    /// What the build pushed, by digest.
    reference: String,
    environment: Vec<(&'static str, String)>,
}

impl Job {
    fn new(chain: &Path) -> Self {
        let scene = Scene::with(&Registry::ggcr().basic_auth(), bench(&[]));
        scene.policy_for("tests");
        let reference = scene.push("app:v1", "an application");
        let directory = scene.bench.path().join("job");
        fs::create_dir(&directory).unwrap();
        let metadata = json!({
            "containerimage.digest": reference.rsplit('@').next().unwrap(),
            "image.name": scene.registry.reference("app:v1"),
        });
        fs::write(directory.join("build.json"), metadata.to_string()).unwrap();
        fs::write(directory.join("references"), format!("{reference}\n")).unwrap();
        fs::copy(chain, directory.join("chain.pem")).unwrap();
        let (user, password) = scene.registry.credentials().unwrap();
        let environment = vec![
            ("NOTATION_USERNAME", user.to_owned()),
            ("NOTATION_PASSWORD", password.to_owned()),
        ];
        Self {
            scene,
            directory,
            reference,
            environment,
        }
    }

    fn set(&mut self, environment: Vec<(&'static str, String)>) {
        self.environment.extend(environment);
    }

    /// Runs a shell part as the job's shell does, in an environment of its own.
    fn run(&self, name: &str) -> Ran {
        let script = parts(&document()).remove(name).unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", &script])
            .current_dir(&self.directory)
            .env_clear()
            .env("PATH", format!("{}:{path}", binaries().display()))
            .env("HOME", &self.directory)
            .env("NOTATION_CONFIG", self.scene.bench.config())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(self.environment.iter().cloned());
        self.scene.bench.run(&mut shell)
    }

    fn signs(&self, name: &str) {
        let ran = self.run(name);
        assert_eq!(ran.code, Some(0), "{name}: {}{}", ran.stdout, ran.stderr);
        let (user, password) = self.scene.registry.credentials().unwrap();
        for tool in softhsm_tests::scene::Tool::BOTH {
            let login = ["--username", user, "--password", password];
            let all = ["verify"].into_iter().chain(login);
            self.scene.ok(tool, all.chain([self.reference.as_str()]));
        }
    }
}

/// Each shell part of the document is run by a test below.
#[test]
fn every_shell_part_is_run() {
    let names: Vec<String> = parts(&document()).into_keys().collect();
    let run = include_str!("ci.rs");
    assert!(!names.is_empty());
    for name in &names {
        assert!(run.contains(&format!("(\"{name}\")")), "{name} is not run");
    }
    for (name, script) in parts(&document()) {
        assert!(script.starts_with("hardsign "), "{name}: {script}");
    }
}

/// Credentials as an action leaves them in the environment.
#[test]
fn aws() {
    let server = Ministack::start();
    let key = server.key(KeySpec::Ec384);
    let mut job = Job::new(&key.chain());
    job.set(server.environment());
    job.set(vec![("KEY", key.arn.clone())]);
    job.signs("aws");
}

/// A token in a file, and the role that it gives.
#[test]
fn aws_by_web_identity() {
    let server = Ministack::start();
    let key = server.key(KeySpec::Rsa3072);
    server.alias("alias/release", &key);
    let token = Issuer::new().token(&json!({"sub": "job", "aud": "sts.amazonaws.com"}));
    let mut job = Job::new(&key.chain());
    let file = job.directory.join("token");
    fs::write(&file, token).unwrap();
    job.set(vec![
        ("AWS_ENDPOINT_URL_KMS", server.address()),
        ("AWS_ENDPOINT_URL_STS", server.address()),
        ("AWS_REGION", ministack::REGION.to_owned()),
        (
            "AWS_ROLE_ARN",
            "arn:aws:iam::000000000000:role/sign-release".to_owned(),
        ),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.display().to_string()),
        ("KEY", "alias/release".to_owned()),
    ]);
    job.signs("aws-web-identity");
}

/// A credentials file as an action leaves it, and the address that only a test needs.
#[test]
fn google() {
    let fake = FakeCloudKms::start();
    let key = keys::key(KeySpec::Ec384);
    fake.add("release", "EC_SIGN_P384_SHA384", KeySpec::Ec384, &key.key);
    let mut job = Job::new(&key.chain);
    job.set(fake.environment());
    job.set(vec![
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS", fake.endpoint()),
        (
            "KEY",
            format!("gcpkms://{RING}/cryptoKeys/release/cryptoKeyVersions/1"),
        ),
    ]);
    job.signs("google");
}

/// A token in a file, and the way to the fake.
#[test]
fn azure() {
    let fake = FakeKeyVault::start();
    let key = keys::key(KeySpec::Rsa3072);
    let address = fake.add("release", "RSA-HSM", KeySpec::Rsa3072, &key.key);
    let mut job = Job::new(&key.chain);
    job.set(fake.workload_identity());
    job.set(vec![("KEY", address)]);
    job.signs("azure");
}

/// A server with the policy and the key of the document.
fn vault() -> (OpenBao, PathBuf) {
    let server = OpenBao::start();
    let chain = server.key("release", "ecdsa-p384");
    let text = document();
    let policy = text.split("```hcl\n").nth(1).unwrap();
    server.policy("sign-release", policy.split("```").next().unwrap());
    (server, chain)
}

#[test]
fn vault_by_jwt() {
    let (server, chain) = vault();
    let issuer = Issuer::new();
    server.bao(["auth", "enable", "jwt"]);
    let public = format!("jwt_validation_pubkeys={}", issuer.public());
    server.bao(["write", "auth/jwt/config", &public]);
    // The role of the document.
    let text = document();
    let role = text
        .split("auth/jwt/role/sign-release - <<'END'\n")
        .nth(1)
        .unwrap();
    let role = role.split("END\n").next().unwrap();
    server.write(
        "auth/jwt/role/sign-release",
        &serde_json::from_str(role).unwrap(),
    );
    let claims = |protected: &str| {
        json!({
            "sub": "project_path:acme/app:ref_type:tag:ref:v1", "aud": AUDIENCE, "project_id": "42",
            "ref_type": "tag", "ref_protected": protected, "exp": 4_000_000_000_u64, "iat": 1_700_000_000,
            // With all that GitLab says of a job, a token has about 2 KB.
            "ci_config_ref_uri": format!("gitlab.example.com/acme/app//{}@refs/tags/v1", "x".repeat(2048)),
        })
    };
    let mut job = Job::new(&chain);
    job.set(vec![("VAULT_ADDR", server.address())]);
    job.set(vec![("VAULT_ID_TOKEN", issuer.token(&claims("false")))]);
    let refused = job.run("vault-jwt");
    assert_eq!(
        refused.code,
        Some(3),
        "{}{}",
        refused.stdout,
        refused.stderr
    );
    let token = issuer.token(&claims("true"));
    assert!(token.len() > 2048);
    job.set(vec![("VAULT_ID_TOKEN", token)]);
    job.signs("vault-jwt");
}

#[test]
fn vault_by_a_service_account() {
    let (server, chain) = vault();
    let issuer = Issuer::new();
    let token = issuer.token(&service_account_claims("ci", "sign-release", AUDIENCE));
    let cluster = token_review(&token, "ci:sign-release");
    server.bao(["auth", "enable", "kubernetes"]);
    server.write(
        "auth/kubernetes/config",
        &json!({
            "kubernetes_host": cluster.address(),
            "token_reviewer_jwt": token,
            "kubernetes_ca_cert": fs::read_to_string(keys::root()).unwrap(),
            "disable_local_ca_jwt": true,
        }),
    );
    server.write(
        "auth/kubernetes/role/sign-release",
        &json!({
            "bound_service_account_names": "sign-release", "bound_service_account_namespaces": "ci",
            "audience": AUDIENCE, "token_policies": "sign-release", "token_ttl": "5m",
        }),
    );
    let mut job = Job::new(&chain);
    let file = job.directory.join("token");
    fs::write(&file, token).unwrap();
    job.set(vec![
        ("VAULT_ADDR", server.address()),
        ("VAULT_JWT_FILE", file.display().to_string()),
    ]);
    job.signs("vault-kubernetes");
}

#[test]
fn vault_by_a_secret_id_for_one_use() {
    let (server, chain) = vault();
    server.bao(["auth", "enable", "approle"]);
    let role = "auth/approle/role/ci";
    server.write(
        role,
        &json!({"token_policies": "sign-release", "secret_id_num_uses": 1}),
    );
    let id = server.bao_json(&["read", "auth/approle/role/ci/role-id"]);
    let secret = server.bao_json(&["write", "-f", "auth/approle/role/ci/secret-id"]);
    let mut job = Job::new(&chain);
    let file = job.directory.join("secret-id");
    fs::write(&file, secret["data"]["secret_id"].as_str().unwrap()).unwrap();
    run_private(&file);
    job.set(vec![
        ("VAULT_ADDR", server.address()),
        (
            "ROLE_ID",
            id["data"]["role_id"].as_str().unwrap().to_owned(),
        ),
        ("SECRET_ID_FILE", file.display().to_string()),
    ]);
    job.signs("vault-approle");
}

fn run_private(file: &Path) {
    softhsm_tests::run(Command::new("chmod").arg("600").arg(file));
}

/// When signing fails: the exit code says whether trying again may help, the error names what is missing, and
/// no signature is there.
#[test]
fn what_fails_fails_the_job() {
    let server = Ministack::start();
    let fake = Between::new(server.port());
    let key = server.key(KeySpec::Ec256);
    let mut job = Job::new(&key.chain());
    job.set(ministack::environment(&fake.address()));
    job.set(vec![("KEY", key.arn.clone())]);
    fake.rule(|seen| match seen.what.as_str() {
        "Sign" => aws_error(400, "AccessDeniedException", "not authorized"),
        _ => Fate::Pass,
    });
    let refused = job.run("aws");
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("Hint: ") && refused.stderr.contains("kms:Sign"));
    let (user, password) = job.scene.registry.credentials().unwrap();
    let list = ["list", "-u", user, "-p", password, &job.reference];
    let listed = || job.scene.bench.hardsign_ok(list).stdout;
    let nothing = listed();
    assert!(nothing.contains("no associated signatures"), "{nothing}");
    // As it looks with one.
    fake.rule(|_| Fate::Pass);
    job.signs("aws");
    let one = listed();
    assert!(
        one.contains("application/vnd.cncf.notary.signature"),
        "{one}"
    );
    assert!(!nothing.contains("notary"), "{nothing}");
}
