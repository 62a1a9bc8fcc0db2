//! A real kube-apiserver with Debian's etcd: no kubelet, scheduler or controllers, so that pods stay pending.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hardsign_test_support::program;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admission::{Answer, Client};
use crate::peers::registry::{CERTIFICATE, KEY, make_certificate};
use crate::peers::{installed, program};
use crate::ports::free_port;
use crate::run;

/// The token of the administrator.
const ADMIN: &str = "admin-token";

/// A cluster; it ends with the value.
pub struct Kubernetes {
    etcd: Child,
    server: Child,
    home: TempDir,
    pub port: u16,
    pub admin: Client,
}

impl Kubernetes {
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        let openssl = installed("openssl");
        make_certificate(&openssl, home.path());
        run(Command::new(&openssl).args(["genrsa", "-out", &at("sa.key"), "2048"]));
        run(Command::new(&openssl).args([
            "rsa",
            "-in",
            &at("sa.key"),
            "-pubout",
            "-out",
            &at("sa.pub"),
        ]));
        fs::write(
            at("tokens.csv"),
            format!("{ADMIN},admin,1,\"system:masters\"\n"),
        )
        .unwrap();
        let (store, peers, port) = (free_port(), free_port(), free_port());
        let log = |name: &str| fs::File::create(at(name)).unwrap();
        let etcd = Command::new(installed("etcd"))
            .args(["--data-dir", &at("etcd"), "--unsafe-no-fsync"])
            .args(["--listen-client-urls", &format!("http://127.0.0.1:{store}")])
            .args([
                "--advertise-client-urls",
                &format!("http://127.0.0.1:{store}"),
            ])
            .args(["--listen-peer-urls", &format!("http://127.0.0.1:{peers}")])
            .stdout(Stdio::null())
            .stderr(log("etcd.log"))
            .spawn()
            .unwrap();
        let server = Command::new(program("kube-apiserver"))
            .args([
                format!("--etcd-servers=http://127.0.0.1:{store}"),
                "--bind-address=127.0.0.1".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
                format!("--secure-port={port}"),
                format!("--tls-cert-file={}", at(CERTIFICATE)),
                format!("--tls-private-key-file={}", at(KEY)),
                format!("--cert-dir={}", at("certs")),
                "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
                "--authorization-mode=RBAC".to_owned(),
                format!("--token-auth-file={}", at("tokens.csv")),
                "--service-account-issuer=https://localhost".to_owned(),
                format!("--service-account-key-file={}", at("sa.pub")),
                format!("--service-account-signing-key-file={}", at("sa.key")),
            ])
            .stdout(Stdio::null())
            .stderr(log("server.log"))
            .spawn()
            .unwrap();
        let mut admin = Client::new(port, &home.path().join(CERTIFICATE));
        admin.token = ADMIN.to_owned();
        let cluster = Self {
            etcd,
            server,
            home,
            port,
            admin,
        };
        cluster.wait();
        cluster
    }

    fn wait(&self) {
        let begun = Instant::now();
        loop {
            let ready = self
                .admin
                .send("GET", "/readyz", "", "")
                .is_ok_and(|answer| answer.status == 200);
            let found = ready && self.admin.get("/api/v1/namespaces/default").status == 200;
            if found {
                return;
            }
            let log = fs::read_to_string(self.home.path().join("server.log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(120), "{log}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The certificate that the API server's own is trusted by.
    pub fn certificate(&self) -> PathBuf {
        self.home.path().join(CERTIFICATE)
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Makes an object, which must succeed.
    pub fn create(&self, path: &str, object: &Value) -> Answer {
        let answer = self.admin.post(path, &object.to_string());
        assert!(matches!(answer.status, 200 | 201), "{path}: {answer:?}");
        answer
    }

    /// A namespace with a service account for its pods.
    pub fn namespace(&self, name: &str, labels: &Value) {
        self.create(
            "/api/v1/namespaces",
            &json!({"metadata": {"name": name, "labels": labels}}),
        );
        self.service_account(name, "default");
    }

    pub fn service_account(&self, namespace: &str, name: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        self.create(&path, &json!({"metadata": {"name": name}}));
    }

    /// A token of a service account, and a file with it.
    pub fn token(&self, namespace: &str, name: &str, audiences: &[&str]) -> (String, PathBuf) {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": audiences, "expirationSeconds": 3600},
        });
        let token = self.create(&path, &request).json()["status"]["token"]
            .as_str()
            .unwrap()
            .to_owned();
        let file = self.home.path().join(format!("{namespace}-{name}.token"));
        fs::write(&file, &token).unwrap();
        (token, file)
    }

    /// Binds a cluster's role to a service account, in all namespaces.
    pub fn bind(&self, role: &str, namespace: &str, account: &str) {
        self.create(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            &json!({
                "metadata": {"name": format!("{account}-{}", role.replace(':', "-"))},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": account}],
            }),
        );
    }

    /// A directory with a `kubectl` for this cluster's administrator.
    pub fn kubectl(&self) -> PathBuf {
        let directory = self.home.path().join("bin");
        fs::create_dir_all(&directory).unwrap();
        let wrapper = directory.join("kubectl");
        if !wrapper.exists() {
            let script = format!(
                "#!/bin/sh\nHOME={} exec {} --server {} --certificate-authority {} --token {ADMIN} \"$@\"\n",
                self.home.path().display(),
                program("kubectl").display(),
                self.url(),
                self.certificate().display(),
            );
            program::write(&wrapper, &script);
        }
        directory
    }

    /// Makes a change by a merge patch.
    pub fn patch(&self, path: &str, change: &Value) -> Answer {
        let kind = "application/strategic-merge-patch+json";
        self.admin
            .send("PATCH", path, kind, &change.to_string())
            .unwrap()
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.admin
            .send("DELETE", path, "application/json", "")
            .unwrap()
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.etcd] {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A pod of one container.
pub fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {}},
        "spec": {"containers": [{"name": "app", "image": image}]},
    })
}
