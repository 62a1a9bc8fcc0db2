//! Registries that a test starts for itself and that are gone when it ends.
//!
//! | registry | referrers API | TLS | authentication | storage |
//! |---|---|---|---|---|
//! | [`Registry::olareg`] | yes | yes | none (v0.1.2 has none) | memory |
//! | [`Registry::ggcr`] | yes, wrong, or no | yes | basic, bearer tokens | memory |
//! | [`Registry::docker`] | no: the tag schema must serve | yes | basic | temporary directory |
//! | [`Registry::crane`] | no | no | none | memory |
//!
//! [`Registry::ggcr`] also records every request ([`Registry::requests`]) and can be slow.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{Oras, installed, program, succeed};
use crate::ports::free_port;

mod ggcr;

pub use ggcr::{Referrers, Request, in_a_row};

/// A running registry. It is stopped, and what it stored is deleted, when this value is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    home: TempDir,
    /// How many requests were recorded while it started.
    probes: usize,
    tls: bool,
    auth: bool,
}

/// What to start; see [`Registry::olareg`], [`Registry::ggcr`], [`Registry::docker`],
/// [`Registry::crane`].
#[derive(Clone, Debug)]
#[must_use = "start it"]
pub struct Builder {
    kind: Kind,
    tls: bool,
    auth: bool,
    ggcr: ggcr::Options,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Olareg,
    Ggcr,
    Docker,
    Crane,
}

impl Registry {
    /// `olareg`, in memory: has the referrers API.
    pub fn olareg() -> Builder {
        Builder::new(Kind::Olareg)
    }

    /// `ggcr-registry`, our own on the registry package of go-containerregistry, in memory: has
    /// the referrers API.
    pub fn ggcr() -> Builder {
        Builder::new(Kind::Ggcr)
    }

    /// Debian's `docker-registry`: has no referrers API.
    pub fn docker() -> Builder {
        Builder::new(Kind::Docker)
    }

    /// `crane registry serve`, in memory: has no referrers API.
    pub fn crane() -> Builder {
        Builder::new(Kind::Crane)
    }

    /// Host and port as they stand in a reference.
    ///
    /// `localhost:<port>` for plain HTTP, which clients speak there unasked; `127.0.0.1:<port>`
    /// for TLS, where they do not.
    pub fn host(&self) -> String {
        let name = if self.tls { "127.0.0.1" } else { "localhost" };
        format!("{name}:{}", self.port)
    }

    /// The full reference of `name`, such as `demo:v1`, in this registry.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// The base address: `http://localhost:<port>` or `https://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.host())
    }

    /// PEM file of the certificate to trust, when the registry speaks TLS.
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.tls.then(|| self.home.path().join(CERTIFICATE))
    }

    /// User name and password, when the registry asks for them.
    pub fn credentials(&self) -> Option<(&'static str, &'static str)> {
        self.auth.then_some((USER, PASSWORD))
    }

    /// Pushes a one-layer artifact under `name` (repository and tag) with `oras` and returns its
    /// full reference by digest.
    ///
    /// # Panics
    /// If the push fails.
    pub fn push(&self, name: &str, content: &[u8]) -> String {
        let oras = Oras::new();
        let file = self.home.path().join("artifact.txt");
        fs::write(&file, content).expect("artifact file");
        let mut command = oras.command(["push", "--format", "json", "--artifact-type"]);
        command.arg("application/vnd.hardsign.test");
        command.args(self.oras_flags());
        command.arg(self.reference(name));
        command
            .arg("artifact.txt:text/plain")
            .current_dir(self.home.path());
        let report = succeed(&mut command);
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON of oras");
        report["reference"].as_str().expect("reference").to_owned()
    }

    /// The flags with which `oras` reaches this registry.
    pub fn oras_flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        if let Some((user, password)) = self.credentials() {
            flags.extend(["--username", user, "--password", password].map(str::to_owned));
        }
        if let Some(file) = self.ca_file() {
            flags.extend(["--ca-file".to_owned(), file.display().to_string()]);
        }
        flags
    }

    /// What the registry wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join(LOG)).unwrap_or_default()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

impl Builder {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            tls: false,
            auth: false,
            ggcr: ggcr::Options::default(),
        }
    }

    /// Speak TLS, with a self-signed certificate for `localhost` and `127.0.0.1` that
    /// [`Registry::ca_file`] names.
    ///
    /// # Panics
    /// For `crane`, which cannot.
    pub fn tls(mut self) -> Self {
        assert_ne!(self.kind, Kind::Crane, "crane registry has no TLS");
        self.tls = true;
        self
    }

    /// Ask for the user name and password of [`Registry::credentials`].
    ///
    /// # Panics
    /// For registries other than `docker` and `ggcr`, which cannot.
    pub fn basic_auth(mut self) -> Self {
        assert!(
            matches!(self.kind, Kind::Docker | Kind::Ggcr),
            "only docker-registry and ggcr-registry have authentication"
        );
        self.auth = true;
        self
    }

    /// Starts the registry and waits until it answers.
    ///
    /// # Panics
    /// If it does not answer, with its log, or is not there.
    pub fn start(&self) -> Registry {
        let program = match self.kind {
            Kind::Olareg => program("olareg"),
            Kind::Ggcr => program("ggcr-registry"),
            Kind::Docker => installed("docker-registry"),
            Kind::Crane => program("crane"),
        };
        let home = tempfile::tempdir().expect("temporary directory");
        if self.tls {
            make_certificate(&installed("openssl"), home.path());
        }
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let log = File::create(home.path().join(LOG)).expect("log file");
            let mut command = self.command(&program, home.path(), port);
            command.current_dir(home.path()).stdin(Stdio::null());
            command
                .stdout(log.try_clone().expect("log file"))
                .stderr(log);
            let mut child = command.spawn().expect("start of the registry");
            if answers(&mut child, port) {
                return Registry {
                    probes: ggcr::recorded(home.path()).len(),
                    child,
                    port,
                    home,
                    tls: self.tls,
                    auth: self.auth,
                };
            }
            stop(&mut child);
            last = fs::read_to_string(home.path().join(LOG)).unwrap_or_default();
        }
        panic!("{program:?} does not answer; it wrote:\n{last}");
    }

    fn command(&self, program: &Path, home: &Path, port: u16) -> Command {
        let mut command = Command::new(program);
        match self.kind {
            Kind::Olareg => {
                command.args(["serve", "--store-type", "mem", "--addr", "127.0.0.1"]);
                command.args(["--api-delete", "--api-blob-delete"]);
                command.args(["--port", &port.to_string()]);
                if self.tls {
                    command.args(["--tls-cert", CERTIFICATE, "--tls-key", KEY]);
                }
            }
            Kind::Ggcr => {
                command.arg("-address").arg(format!("127.0.0.1:{port}"));
                self.ggcr.apply(&mut command);
                if self.tls {
                    command.args(["-tls-cert", CERTIFICATE, "-tls-key", KEY]);
                }
                if self.auth {
                    command.args(["-user", USER, "-password", PASSWORD]);
                }
            }
            Kind::Docker => {
                let file = home.join("config.yml");
                fs::write(&file, self.docker_config(home, port)).expect("registry configuration");
                command.arg("serve").arg(file);
            }
            Kind::Crane => {
                command.args(["registry", "serve", "--address"]);
                command.arg(format!("127.0.0.1:{port}"));
            }
        }
        command
    }

    /// <https://distribution.github.io/distribution/about/configuration/>, as of version 2.8.
    fn docker_config(&self, home: &Path, port: u16) -> String {
        let mut config = format!(
            "version: 0.1\n\
             log: {{ level: warn, accesslog: {{ disabled: true }} }}\n\
             storage:\n  filesystem: {{ rootdirectory: '{storage}' }}\n  delete: {{ enabled: true }}\n\
             http:\n  addr: '127.0.0.1:{port}'\n",
            storage = home.join("storage").display(),
        );
        if self.tls {
            config.push_str("  tls: { certificate: tls.pem, key: tls.key }\n");
        }
        if self.auth {
            let file = home.join("htpasswd");
            fs::write(&file, format!("{USER}:{PASSWORD_BCRYPT}\n")).expect("htpasswd file");
            config.push_str("auth:\n  htpasswd: { realm: peers, path: htpasswd }\n");
        }
        config
    }
}

/// Waits until the registry answers an HTTP request. A TLS port answers plain HTTP too: with an error.
fn answers(child: &mut Child, port: u16) -> bool {
    let end = Instant::now() + START_LIMIT;
    while Instant::now() < end {
        if child.try_wait().expect("state of the registry").is_some() {
            return false;
        }
        if probe(port, "/v2/").is_ok_and(|start| start.starts_with(b"HTTP/1.")) {
            return child.try_wait().expect("state of the registry").is_none();
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

/// The first bytes of the answer to `GET <path>`: HTTP version and status code.
fn probe(port: u16, path: &str) -> io::Result<[u8; STATUS_LENGTH]> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut start = [0; STATUS_LENGTH];
    stream.read_exact(&mut start)?;
    Ok(start)
}

/// A self-signed certificate for this machine in [`CERTIFICATE`], its key in [`KEY`].
pub fn make_certificate(openssl: &Path, home: &Path) {
    let mut command = Command::new(openssl);
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]);
    command.args([
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-keyout",
        KEY,
    ]);
    command.args([
        "-out",
        CERTIFICATE,
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
    ]);
    // rustls refuses a certificate authority's certificate as a server's own.
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    succeed(command.current_dir(home));
}

/// Ends a child and collects its status. A child that has ended already is no error.
fn stop(child: &mut Child) {
    if child.kill().is_ok() {
        child.wait().expect("end of the registry");
    }
}

const ATTEMPTS: u8 = 5;
const STATUS_LENGTH: usize = "HTTP/1.1 200".len();
const START_LIMIT: Duration = Duration::from_secs(30);
const LOG: &str = "registry.log";
/// The file of the certificate.
pub const CERTIFICATE: &str = "tls.pem";
/// The file of its key.
pub const KEY: &str = "tls.key";
const USER: &str = "peer";
const PASSWORD: &str = "correct horse";
const PASSWORD_BCRYPT: &str = "$2b$04$vw6TTPJmkmbKEyCwar.cZe2YZvdIT7yzbajXcEefQKG6vpnG48KLS";

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(oras: &Oras, registry: &Registry, reference: &str) -> String {
        let mut command = oras.command(["manifest", "fetch"]);
        command.args(registry.oras_flags()).arg(reference);
        succeed(&mut command)
    }

    /// The tag `v1` and the digest that the push told give the same manifest.
    fn takes_an_artifact(registry: &Registry) {
        let by_digest = registry.push("team/demo:v1", b"hello");
        let oras = Oras::new();
        assert!(
            by_digest.starts_with(&registry.reference("team/demo@sha256:")),
            "{by_digest}"
        );
        let manifest = fetch(&oras, registry, &registry.reference("team/demo:v1"));
        assert!(
            manifest.contains("application/vnd.hardsign.test"),
            "{manifest}"
        );
        assert_eq!(manifest, fetch(&oras, registry, &by_digest));
    }

    #[test]
    fn olareg_takes_an_artifact() {
        let registry = Registry::olareg().start();
        takes_an_artifact(&registry);
    }

    #[test]
    fn olareg_speaks_tls() {
        let registry = Registry::olareg().tls().start();
        takes_an_artifact(&registry);
    }

    #[test]
    fn docker_registry_takes_an_artifact() {
        let registry = Registry::docker().start();
        takes_an_artifact(&registry);
    }

    #[test]
    fn docker_registry_speaks_tls_and_asks_for_a_password() {
        let registry = Registry::docker().tls().basic_auth().start();
        takes_an_artifact(&registry);
        let oras = Oras::new();
        let ca_file = registry.ca_file().unwrap();
        let anonymous = oras
            .command(["manifest", "fetch", "--ca-file"])
            .arg(ca_file)
            .arg(registry.reference("team/demo:v1"))
            .output()
            .unwrap();
        let stderr = String::from_utf8(anonymous.stderr).unwrap();
        assert!(stderr.contains("basic credential not found"), "{stderr}");
    }

    #[test]
    fn crane_takes_an_artifact() {
        let registry = Registry::crane().start();
        takes_an_artifact(&registry);
    }

    /// The table at the top of this module, for a subject that has no referrers.
    #[test]
    fn the_referrers_api_is_there_or_not() {
        let path = format!("/v2/demo/referrers/sha256:{}", "0".repeat(64));
        for (builder, status) in [
            (Registry::olareg(), "HTTP/1.1 200"),
            (Registry::ggcr(), "HTTP/1.1 200"),
            (Registry::ggcr().referrers(Referrers::Off), "HTTP/1.1 404"),
            (Registry::docker(), "HTTP/1.1 404"),
            (Registry::crane(), "HTTP/1.1 404"),
        ] {
            let registry = builder.start();
            let answer = probe(registry.port, &path).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), status, "{builder:?}");
        }
    }

    #[test]
    fn a_dropped_registry_is_gone() {
        let registry = Registry::olareg().start();
        let port = registry.port;
        let home = registry.home.path().to_owned();
        assert!(probe(port, "/v2/").is_ok());
        drop(registry);
        assert!(probe(port, "/v2/").is_err());
        assert!(!home.exists());
    }
}
