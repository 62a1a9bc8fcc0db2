//! A node: the real containerd with a directory of verifiers, driven by `ctr` and, as a kubelet would,
//! by `crictl`.
//!
//! It runs as root, or as root of a user namespace of its own. No container is started, so that neither
//! runc nor a CNI is needed. The configuration of the verifier is that of a [`Workbench`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hardsign_test_support::program;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::peers::registry::Registry;
use crate::peers::{Oras, program};
use crate::workbench::{Ran, Workbench};
use crate::{binaries, run};

/// How long containerd may take to start.
const START: Duration = Duration::from_secs(60);

/// A running containerd, which is stopped when this is dropped.
pub struct Node {
    home: TempDir,
    child: Option<Child>,
}

impl Node {
    /// A node whose containerd does not run yet; nothing is in its directory of verifiers.
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for directory in ["bin", "certs.d", "manifests", "providers"] {
            fs::create_dir(home.path().join(directory)).unwrap();
        }
        let node = Self { home, child: None };
        node.configure("", "5s");
        node
    }

    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// The directory of verifiers.
    pub fn bin_dir(&self) -> PathBuf {
        self.path().join("bin")
    }

    pub fn config(&self) -> PathBuf {
        self.path().join("config.toml")
    }

    fn socket(&self) -> PathBuf {
        self.path().join("c.sock")
    }

    /// `unix://…`, by which `crictl` and `hardsign` ask it.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Writes containerd's configuration: `images` stands in the table of the CRI's images.
    pub fn configure(&self, images: &str, timeout: &str) {
        let d = self.path().display();
        let text = format!(
            r#"version = 3
root = "{d}/root"
state = "{d}/state"
imports = []
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{d}/c.sock"
[ttrpc]
  address = "{d}/c.sock.ttrpc"
[debug]
  level = "debug"
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "{d}/bin"
  per_verifier_timeout = "{timeout}"
[plugins."io.containerd.cri.v1.images"]
  {images}
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "{d}/certs.d"
"#
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Puts the verifier in place by hand, as a package would.
    pub fn link_verifier(&self) {
        let entry = self.bin_dir().join("image-verifier");
        std::os::unix::fs::symlink(binaries().join("hardsign"), entry).unwrap();
    }

    /// Writes `hosts.toml` for a registry, `host:port`.
    pub fn hosts(&self, registry: &str, text: &str) {
        let directory = self.path().join("certs.d").join(registry);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("hosts.toml"), text).unwrap();
    }

    /// The registry alone, by plain HTTP.
    pub fn plain(&self, registry: &Registry) {
        let text = format!(
            "server = \"{url}\"\n[host.\"{url}\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
            url = registry.url()
        );
        self.hosts(&registry.host(), &text);
    }

    /// Starts containerd, whose environment is that of a service: no `HOME`. The verifier's configuration
    /// is that of `bench`.
    ///
    /// # Panics
    /// It does not start; its log is in the message.
    pub fn start(&mut self, bench: &Workbench) {
        let log = fs::File::create(self.path().join("log")).unwrap();
        let mut command = self.as_root(&program("containerd"));
        command
            .arg("--config")
            .arg(self.config())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("NOTATION_CONFIG", bench.config())
            .env("NOTATION_CACHE", bench.path().join("cache"))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
        let end = Instant::now() + START;
        while self.crictl(&["version"]).code != Some(0) {
            assert!(Instant::now() < end, "containerd: {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops containerd.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let pid = rustix::process::Pid::from_child(&child);
        let _ended_already = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let end = Instant::now() + Duration::from_secs(10);
        while child.try_wait().unwrap().is_none() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        drop(child.kill());
        drop(child.wait());
    }

    /// What containerd logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// `crictl` with these arguments.
    pub fn crictl(&self, arguments: &[&str]) -> Ran {
        let endpoint = self.endpoint();
        let mut command = Command::new(program("crictl"));
        command
            .args([
                "--runtime-endpoint",
                &endpoint,
                "--image-endpoint",
                &endpoint,
            ])
            .args(["--timeout", "60s"])
            .args(arguments);
        ran(&mut command)
    }

    /// `crictl pull`: what the kubelet would put into the event of a pod.
    pub fn pull(&self, image: &str) -> Ran {
        self.crictl(&["pull", image])
    }

    /// `ctr images pull`, which speaks plain HTTP where it is told to.
    pub fn ctr_pull(&self, image: &str) -> Ran {
        let mut command = Command::new(program("ctr"));
        command.arg("-a").arg(self.socket());
        command.args(["images", "pull", "--plain-http", image]);
        ran(&mut command)
    }

    /// `hardsign` with these arguments and the places of this node. To `doctor node` the environment of a containerd
    /// that does not run is named.
    pub fn hardsign(&self, bench: &Workbench, arguments: &[&str]) -> Ran {
        bench.hardsign(self.with_places(bench, arguments))
    }

    /// These arguments of `hardsign` and the places of this node.
    pub fn with_places(&self, bench: &Workbench, arguments: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        if arguments.first() == Some(&"doctor") && self.child.is_none() {
            all.push(format!(
                "--env=NOTATION_CONFIG={}",
                bench.config().display()
            ));
        }
        let places = [
            ("--containerd", program("containerd").display().to_string()),
            ("--containerd-config", self.config().display().to_string()),
            ("--crictl", program("crictl").display().to_string()),
            ("--runtime-endpoint", self.endpoint()),
        ];
        for (flag, value) in places {
            all.extend([flag.to_owned(), value]);
        }
        all
    }

    /// A program of the configuration: a script.
    pub fn script(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path().join(path);
        program::write(&path, &format!("#!/bin/sh\n{text}\n"));
        path
    }

    /// A program as root: of this machine, or of a user namespace of its own.
    fn as_root(&self, program: &Path) -> Command {
        if rustix::process::geteuid().is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--user", "--map-root-user", "--mount"]);
        command.arg(program);
        command
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
        // What containerd mounted is in the way of the directory's removal.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let here = self.path().display().to_string();
        for line in mounts.lines().rev() {
            if let Some(place) = line.split(' ').nth(1)
                && place.starts_with(&here)
            {
                drop(Command::new("umount").arg(place).status());
            }
        }
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Pushes an image of one layer that containerd can unpack; returns its reference by digest.
pub fn push_image(registry: &Registry, name: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let mut layer = tar::Builder::new(Vec::new());
    let content = name.as_bytes();
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    layer.append_data(&mut header, "content", content).unwrap();
    let layer = layer.into_inner().unwrap();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex::encode(Sha256::digest(&layer)))]},
    });
    fs::write(home.path().join("layer.tar"), layer).unwrap();
    fs::write(home.path().join("config.json"), config.to_string()).unwrap();
    let oras = Oras::new();
    let mut command = oras.command(["push", "--format", "json"]);
    command
        .args(registry.oras_flags())
        .args([
            "--config",
            "config.json:application/vnd.oci.image.config.v1+json",
        ])
        .arg(registry.reference(name))
        .arg("layer.tar:application/vnd.oci.image.layer.v1.tar")
        .current_dir(home.path());
    let report = run(&mut command).stdout;
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    report["reference"].as_str().unwrap().to_owned()
}
