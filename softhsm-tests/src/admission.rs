//! The admission server as a process, a registry with many images, and an HTTPS client with a deadline.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::binaries;
use crate::peers::installed;
use crate::peers::registry::{CERTIFICATE, KEY, Registry, make_certificate};
use crate::ports::free_port;
use crate::workbench::Workbench;

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// In small letters.
    pub headers: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// An HTTPS client that trusts the certificates of one PEM file.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    port: u16,
    name: &'static str,
    pub token: String,
}

impl Client {
    pub fn new(port: u16, trusted: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(trusted).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            config: Arc::new(config),
            port,
            name: "localhost",
            token: String::new(),
        }
    }

    /// The same, for which the server's name is another.
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    pub fn open(&self) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(self.name).unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        Ok(StreamOwned::new(connection, stream))
    }

    /// One request on a connection of its own.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &str,
    ) -> std::io::Result<Answer> {
        let mut stream = self.open()?;
        let token = match self.token.as_str() {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let sent = stream.write_all(head.as_bytes());
        let sent = sent.and_then(|()| stream.write_all(body.as_bytes()));
        let mut all = Vec::new();
        // A server that has said what is wrong need not read the rest.
        if let Err(error) = stream.read_to_end(&mut all)
            && all.is_empty()
        {
            return Err(sent.err().unwrap_or(error));
        }
        Ok(parse(&all))
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, "application/json", body).unwrap()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "application/json", "").unwrap()
    }
}

fn parse(answer: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    Answer {
        status: status.unwrap_or(0),
        headers: head.to_lowercase(),
        body: if chunked {
            joined(body)
        } else {
            body.to_owned()
        },
    }
}

/// A body that came in chunks.
fn joined(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, more)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        if length == 0 || more.len() < length {
            break;
        }
        body.push_str(&more[..length]);
        rest = more[length..].trim_start_matches("\r\n");
    }
    body
}

/// A registry, a signer that the policy trusts, and a directory with the policy.
pub struct Stage {
    pub registry: Registry,
    pub bench: Workbench,
}

impl Stage {
    pub fn new(registry: Registry) -> Self {
        let bench = Workbench::new();
        for name in ["acme", "stranger"] {
            bench.hardsign_ok(["certificate", "generate-test", name]);
        }
        fs::create_dir_all(bench.path().join("policy")).unwrap();
        make_certificate(&installed("openssl"), bench.path());
        let stage = Self { registry, bench };
        stage.trust("acme");
        stage.settings(&json!({}));
        stage
    }

    pub fn policy(&self) -> PathBuf {
        self.bench.path().join("policy")
    }

    /// The policy trusts this signer and no other.
    pub fn trust(&self, signer: &str) {
        self.trust_root(&self.bench.config().join(format!("localkeys/{signer}.crt")));
    }

    /// The policy trusts what comes of this root, and nothing else.
    pub fn trust_root(&self, certificate: &Path) {
        let stores = self.policy().join("truststore");
        if stores.exists() {
            fs::remove_dir_all(&stores).unwrap();
        }
        let store = stores.join("x509/ca/signers");
        fs::create_dir_all(&store).unwrap();
        fs::copy(certificate, store.join("signer.crt")).unwrap();
        let policy = json!({"version": "1.0", "trustPolicies": [{
            "name": "all",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": ["ca:signers"],
            "trustedIdentities": ["*"],
        }]});
        fs::write(self.policy().join("trustpolicy.json"), policy.to_string()).unwrap();
    }

    /// `admission.hardsign.json` with these members.
    pub fn settings(&self, members: &Value) {
        let mut settings = json!({"version": "1.0"});
        for (name, value) in members.as_object().unwrap() {
            settings[name] = value.clone();
        }
        // Whole or not at all, as the kubelet does it.
        let new = self.bench.path().join("settings.new");
        fs::write(&new, settings.to_string()).unwrap();
        fs::rename(new, self.policy().join("admission.hardsign.json")).unwrap();
    }

    /// Puts an image of this name into the registry; its reference by digest.
    pub fn image(&self, name: &str, content: &str) -> String {
        put(&self.registry, name, content)
    }

    /// Puts an index of images of the same repository into the registry; its reference by digest.
    pub fn index(&self, name: &str, images: &[&str]) -> String {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let of = |(at, image): (usize, &&str)| {
            let (repository, digest) = image.split_once('@').unwrap();
            let path = repository.split_once('/').unwrap().1;
            let answer = plain(
                &self.registry.host().replace("localhost", "127.0.0.1"),
                "GET",
                &format!("/v2/{path}/manifests/{digest}"),
                "",
            );
            json!({
                "mediaType": kind, "digest": digest, "size": answer.body.len(),
                "platform": {"os": "linux", "architecture": (["amd64", "arm64"][at % 2])},
            })
        };
        let images: Vec<Value> = images.iter().enumerate().map(of).collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": images,
            "annotations": {"name": name},
        });
        let (repository, tag) = name.split_once(':').unwrap();
        put_manifest(&self.registry, repository, tag, &index)
    }

    /// The same, signed.
    pub fn signed(&self, name: &str, content: &str, signer: &str) -> String {
        let reference = self.image(name, content);
        self.sign(std::slice::from_ref(&reference), signer);
        reference
    }

    pub fn sign(&self, references: &[String], signer: &str) {
        let list = self.bench.path().join("references");
        fs::write(&list, references.join("\n")).unwrap();
        let list = list.display().to_string();
        self.bench
            .hardsign_ok(["sign", "--key", signer, "--from-file", &list]);
    }

    /// Starts a server with this policy.
    pub fn serve(&self, more: &[&str]) -> Server {
        Server::start(self, more)
    }
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Puts an image with one empty configuration into a registry that speaks plain HTTP.
fn put(registry: &Registry, name: &str, content: &str) -> String {
    let (repository, tag) = name.split_once(':').unwrap();
    let address = registry.host().replace("localhost", "127.0.0.1");
    let config = "{}";
    let config_digest = digest(config);
    let upload = plain(
        &address,
        "POST",
        &format!("/v2/{repository}/blobs/uploads/?digest={config_digest}"),
        config,
    );
    if upload.status == 202 {
        let location = upload
            .headers
            .lines()
            .find_map(|line| line.strip_prefix("location: "))
            .unwrap();
        let path = location
            .trim_start_matches("http://")
            .trim_start_matches(|c| c != '/');
        let mark = if path.contains('?') { '&' } else { '?' };
        let done = plain(
            &address,
            "PUT",
            &format!("{path}{mark}digest={config_digest}"),
            config,
        );
        assert_eq!(done.status, 201, "{done:?}");
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()},
        "layers": [],
        "annotations": {"content": content},
    });
    put_manifest(registry, repository, tag, &manifest)
}

fn put_manifest(registry: &Registry, repository: &str, tag: &str, manifest: &Value) -> String {
    let manifest = manifest.to_string();
    let done = plain(
        &registry.host().replace("localhost", "127.0.0.1"),
        "PUT",
        &format!("/v2/{repository}/manifests/{tag}"),
        &manifest,
    );
    assert_eq!(done.status, 201, "{done:?}");
    format!("{}/{repository}@{}", registry.host(), digest(&manifest))
}

fn digest(content: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content.as_bytes())))
}

/// One request by plain HTTP. A registry that has answered before it read the whole body may reset the connection, and take the
/// answer with it: then it is asked again.
fn plain(address: &str, method: &str, path: &str, body: &str) -> Answer {
    let kind = match path.contains("/manifests/") {
        true if body.contains(INDEX) => INDEX,
        true => "application/vnd.oci.image.manifest.v1+json",
        false => "application/octet-stream",
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept: {kind}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for _ in 0..10 {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut all = Vec::new();
        let sent = stream.write_all((head.clone() + body).as_bytes());
        let read = sent.and_then(|()| stream.read_to_end(&mut all));
        if read.is_ok() || !all.is_empty() {
            return parse(&all);
        }
    }
    panic!("{method} {path}: no answer");
}

/// A running server; it ends with the value.
pub struct Server {
    pub child: Child,
    pub port: u16,
    log: PathBuf,
    trusted: PathBuf,
    _home: TempDir,
}

impl Server {
    fn start(stage: &Stage, more: &[&str]) -> Self {
        let at = |name: &str| stage.bench.path().join(name).display().to_string();
        let (certificate, key, policy) = (at(CERTIFICATE), at(KEY), at("policy"));
        let fixed = [
            "admission",
            "serve",
            "--cert",
            &certificate,
            "--key",
            &key,
            "--policy-dir",
            &policy,
        ];
        let drain: &[&str] = match more.contains(&"--drain") {
            true => &[],
            false => &["--drain", "1s"],
        };
        let command = stage.bench.command(
            &binaries().join("hardsign"),
            fixed.iter().chain(drain).chain(more),
        );
        Self::spawn(command, &stage.bench.path().join(CERTIFICATE))
    }

    /// Starts a server by a command without `--listen`; clients trust this certificate.
    pub fn spawn(command: Command, trusted: &Path) -> Self {
        Self::spawn_at(free_port(), command, trusted)
    }

    /// The same, at this port.
    pub fn spawn_at(port: u16, mut command: Command, trusted: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("log");
        let child = command
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .stdout(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            port,
            log,
            trusted: trusted.to_owned(),
            _home: home,
        };
        let begun = Instant::now();
        while !server.log().contains("\"listening\"") {
            let ended = server.child.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < Duration::from_secs(60),
                "{ended:?}: {}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub fn client(&self) -> Client {
        Client::new(self.port, &self.trusted)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The lines of the log with this event. A thread of the server's own writes them, so that they may come a little after
    /// what they tell of: those of all verdicts and malformed requests are waited for, and of another event the first.
    pub fn events(&self, event: &str) -> Vec<Value> {
        let begun = Instant::now();
        let mut log = self.log();
        while begun.elapsed() < Duration::from_secs(10) {
            let metrics = self.client().send("GET", "/metrics", "", "");
            let metrics = metrics.map(|answer| answer.body).unwrap_or_default();
            let told = |line: &str| {
                line.starts_with("hardsign_admission_verdicts_total")
                    || line.contains("outcome=\"malformed\"")
            };
            let figures = metrics.lines().filter(|line| told(line));
            let told: usize = figures
                .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
                .sum();
            log = self.log();
            let count = |event: &str| log.matches(&format!("\"event\":\"{event}\"")).count();
            let patient = begun.elapsed() < Duration::from_secs(2);
            if count("verdict") + count("malformed") >= told && (count(event) > 0 || !patient) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["event"] == event).collect()
    }

    /// A figure of `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.client().get("/metrics").body;
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("hardsign_admission_{name} ")));
        line.unwrap_or_else(|| panic!("{name}: {text}"))
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// The sum of a figure of `/metrics` over all values of its labels but those named.
    pub fn metric_sum(&self, name: &str) -> u64 {
        let text = self.client().get("/metrics").body;
        let start = format!("hardsign_admission_{name}{{");
        let lines = text.lines().filter(|line| line.starts_with(&start));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most resident memory that there ever was, in KiB.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Asks the process to end.
    pub fn terminate(&self) {
        let killed = Command::new("kill")
            .arg(self.child.id().to_string())
            .stdin(Stdio::null())
            .status();
        assert!(killed.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A review of a pod that is made with these images.
pub fn review(images: &[&str]) -> String {
    let container = |(at, image): (usize, &&str)| json!({"name": format!("c{at}"), "image": image});
    let containers: Vec<Value> = images.iter().enumerate().map(container).collect();
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "namespace": "n", "name": "p", "operation": "CREATE",
        "object": {"metadata": {"name": "p"}, "spec": {"containers": containers}},
    }})
    .to_string()
}

/// The verdict in an answer, and its message.
pub fn verdict(answer: &Answer) -> (bool, String) {
    let found = answer.json();
    let response = &found["response"];
    let message = response["status"]["message"].as_str().unwrap_or_default();
    (response["allowed"].as_bool().unwrap(), message.to_owned())
}

/// The distinct values of a member in lines of the log.
pub fn distinct(lines: &[Value], member: &str) -> BTreeSet<String> {
    lines.iter().map(|line| line[member].to_string()).collect()
}
