//! The real OpenBao, in development mode.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::between::{Between, Fate};
use crate::ports::free_ports;
use crate::{keys, peers, run};

/// The root token.
const ROOT: &str = "root-token";

/// A running server with the transit engine; it ends with the value.
pub struct OpenBao {
    child: Child,
    port: u16,
    home: TempDir,
}

impl OpenBao {
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        // The next one is that of its cluster.
        let port = free_ports(2);
        let child = Command::new(peers::program("bao"))
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(port);
        let server = Self { child, port, home };
        server.bao(["secrets", "enable", "transit"]);
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The environment of a client with the root token.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("VAULT_ADDR", self.address()),
            ("VAULT_TOKEN", ROOT.to_owned()),
        ]
    }

    /// `bao` with the root token, which must succeed; what it printed.
    pub fn bao<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> String {
        let output = run(&mut self.command(arguments));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a key of the transit engine, of one of its types, and a chain for it.
    pub fn key(&self, name: &str, kind: &str) -> PathBuf {
        let kind = format!("type={kind}");
        self.bao(["write", "-f", &format!("transit/keys/{name}"), &kind]);
        self.chain(name, 1)
    }

    /// A chain for a version of a key (PEM).
    pub fn chain(&self, name: &str, version: u32) -> PathBuf {
        let public = self.public(name, version);
        let name = format!("{name}-{version}-{}", self.port);
        keys::certify(&public, &name)
    }

    /// The public key of a version, PEM.
    pub fn public(&self, name: &str, version: u32) -> String {
        let found = self.bao_json(&["read", &format!("transit/keys/{name}")]);
        let public = found["data"]["keys"][version.to_string()]["public_key"].as_str();
        public.unwrap().to_owned()
    }

    /// `bao` with the root token, which must fail; what it said.
    pub fn bao_refuses<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn command<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Command {
        let mut command = Command::new(peers::program("bao"));
        command
            .args(arguments)
            .env("HOME", self.home.path())
            .env("BAO_ADDR", self.address())
            .env("BAO_TOKEN", ROOT);
        command
    }

    /// Writes a policy.
    pub fn policy(&self, name: &str, policy: &str) {
        let file = self.home.path().join(format!("{name}.hcl"));
        fs::write(&file, policy).unwrap();
        self.bao(["policy", "write", name, file.to_str().unwrap()]);
    }

    /// Writes JSON to a path.
    pub fn write(&self, path: &str, body: &Value) {
        let file = self.home.path().join("body.json");
        fs::write(&file, body.to_string()).unwrap();
        self.bao(["write", path, &format!("@{}", file.display())]);
    }

    /// `bao` with `-format=json`.
    pub fn bao_json(&self, arguments: &[&str]) -> Value {
        let (verb, rest) = arguments.split_first().unwrap();
        let all = [*verb, "-format=json"]
            .into_iter()
            .chain(rest.iter().copied());
        serde_json::from_str(&self.bao(all)).unwrap()
    }
}

/// A fake of the one request that Kubernetes logins make of a cluster: TokenReview, which knows the token of
/// one service account (`NAMESPACE:NAME`) and no other.
pub fn token_review(token: &str, account: &str) -> Between {
    let fake = Between::new(0);
    let (token, user) = (token.to_owned(), format!("system:serviceaccount:{account}"));
    fake.rule(move |seen| {
        let asked = seen.json();
        let known = seen.what == "POST /apis/authentication.k8s.io/v1/tokenreviews"
            && asked["spec"]["token"] == token.as_str();
        let status = match known {
            true => json!({
                "authenticated": true,
                "user": {"username": user, "uid": "u-1", "groups": ["system:serviceaccounts"]},
                "audiences": asked["spec"]["audiences"],
            }),
            false => json!({"authenticated": false, "error": "no such token"}),
        };
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status,
        });
        let kind = ("content-type", "application/json".to_owned());
        Fate::Answer(201, vec![kind], review.to_string())
    });
    fake
}

/// The claims of a service account's token, for an audience.
pub fn service_account_claims(namespace: &str, name: &str, audience: &str) -> Value {
    json!({
        "iss": "https://kubernetes.default.svc",
        "aud": [audience],
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "exp": 4_000_000_000_u64,
        "iat": 1_700_000_000,
        "nbf": 1_700_000_000,
        "kubernetes.io": {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": "u-1"},
        },
    })
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until something listens on a port.
fn wait_for(port: u16) {
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let waited = start.elapsed();
        assert!(
            waited < Duration::from_secs(60),
            "nothing listens on port {port}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
