//! The real OpenBao, in development mode.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::{peers, run};

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
        let port = free_port();
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
        let output = run(Command::new(peers::program("bao"))
            .args(arguments)
            .env("HOME", self.home.path())
            .env("BAO_ADDR", self.address())
            .env("BAO_TOKEN", ROOT));
        String::from_utf8(output.stdout).unwrap()
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

impl Drop for OpenBao {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port of the loopback interface that nothing listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
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
