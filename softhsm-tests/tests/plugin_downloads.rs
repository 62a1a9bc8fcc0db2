//! `plugin install --url`: over real TLS, from servers good and bad.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use hardsign_core::dirs::Dirs;
use hardsign_core::http::{Client, ClientOptions};
use hardsign_core::plugin::{
    Finder, Host, InstallOrder, Installer, PackageSource, download_limits,
};
use rustix::process::{Pid, Signal, kill_process};
use softhsm_tests::binaries;
use softhsm_tests::https::{Answer, Https};
use softhsm_tests::package::{member, script, tar_gz, zip};
use softhsm_tests::peers;
use softhsm_tests::workbench::{Ran, Workbench};

struct Scene {
    bench: Workbench,
    server: Https,
}

impl Scene {
    fn new(answers: &[(&str, Answer)]) -> Self {
        let answers: BTreeMap<_, _> = answers
            .iter()
            .map(|(path, answer)| ((*path).to_owned(), answer.clone()))
            .collect();
        let server = Https::start(answers);
        let mut bench = Workbench::new();
        bench.set("SSL_CERT_FILE", server.certificate());
        Self { bench, server }
    }

    fn install(&self, path: &str, sha256: &str) -> Ran {
        let url = self.server.url(path);
        self.bench
            .hardsign(["plugin", "install", "--url", &url, "--sha256sum", sha256])
    }

    /// Fails with the exit code and this error, `<url>` being the address; nothing is left.
    fn refused(&self, path: &str, sha256: &str, code: i32, error: &str) {
        let ran = self.install(path, sha256);
        let url = self.server.url(path);
        assert_eq!(
            (ran.code, ran.stderr.replace(&url, "<url>")),
            (Some(code), format!("Error: {error}\n"))
        );
        assert!(
            ran.stdout
                .starts_with(&format!("Downloading plugin from {url}\n"))
        );
        assert_eq!(
            entries(&self.bench.config().join("plugins")),
            Vec::<String>::new()
        );
    }
}

fn entries(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes))
}

/// PLI-04, PLI-06, PLI-16: archives and single executables, the checksum in any case, and the same
/// lines as `notation` prints.
#[test]
fn pli_04_plugins_are_installed_from_https() {
    let package = tar_gz(&[member("notation-good", script("good", "1.0.0"))]);
    let newer = zip(&[member("notation-good", script("good", "1.1.0"))]);
    let single = script("single", "1.0.0");
    let scene = Scene::new(&[
        ("/a/good.tar.gz", Answer::Body(package.clone())),
        ("/good?v=1.1.0", Answer::Body(newer.clone())),
        ("/notation-single", Answer::Body(single.clone())),
        ("/else", Answer::Redirect("/a/good.tar.gz".into())),
    ]);
    let url = scene.server.url("/a/good.tar.gz");
    let words = |sha256: &str| {
        ["plugin", "install", "--url", &url, "--sha256sum", sha256].map(str::to_owned)
    };
    let ours = scene.bench.hardsign_ok(words(&sha256(&package)));
    let notation = peers::program("notation");
    let mut other = Workbench::new();
    other.set("SSL_CERT_FILE", scene.server.certificate());
    let theirs = other.run(&mut other.command(&notation, words(&sha256(&package))));
    assert_eq!(
        (&ours.stdout, &ours.stderr),
        (&theirs.stdout, &theirs.stderr)
    );
    assert_eq!(
        ours.stdout,
        format!(
            "Downloading plugin from {url}\nDownload completed\nSuccessfully installed plugin good, version 1.0.0\n"
        )
    );
    let updated = scene.install("/good?v=1.1.0", &sha256(&newer).to_uppercase());
    assert!(
        updated.stdout.ends_with("from version 1.0.0 to 1.1.0\n"),
        "{}",
        updated.stderr
    );
    // A single executable has no permissions on the way.
    let alone = scene.install("/notation-single", &sha256(&single));
    assert_eq!(
        (alone.code, alone.stderr.as_str()),
        (
            Some(0),
            "Warning: \"notation-single\" was not executable, and is now for its owner\n"
        )
    );
    // A redirect within HTTPS is followed.
    let followed = scene.install("/else", &sha256(&package));
    assert!(
        followed
            .stderr
            .contains("is lower than the existing plugin version"),
        "{}",
        followed.stderr
    );
    assert_eq!(
        entries(&scene.bench.config().join("plugins")),
        ["good", "single"]
    );
}

/// PLI-05 to PLI-08: what servers do wrong.
#[test]
fn pli_05_faulty_downloads_leave_nothing() {
    let package = tar_gz(&[member("notation-good", script("good", "1.0.0"))]);
    let scene = Scene::new(&[
        ("/good", Answer::Body(package.clone())),
        ("/plain", Answer::Redirect("http://localhost/good".into())),
        ("/other", Answer::Redirect("ftp://localhost/good".into())),
        ("/loop", Answer::Redirect("/loop".into())),
        ("/gone", Answer::Status("404 Not Found")),
        ("/partial", Answer::Status("206 Partial Content")),
        ("/cut", Answer::CutOff(package.clone())),
        ("/empty", Answer::Body(Vec::new())),
    ]);
    let sum = sha256(&package);
    let failed = "failed to download plugin from URL <url> with error: ";
    scene.refused("/good", "abcd", 1, "plugin installation failed: plugin SHA-256 checksum does not match user input. Expecting abcd");
    // PLI-07
    scene.refused(
        "/plain",
        &sum,
        3,
        &format!("{failed}<url>: refusing the redirect to http://localhost/good: it leaves HTTPS"),
    );
    scene.refused(
        "/other",
        &sum,
        3,
        &format!("{failed}<url>: refusing the redirect to ftp://localhost/good: it leaves HTTPS"),
    );
    scene.refused(
        "/loop",
        &sum,
        3,
        &format!("{failed}<url>: more than 5 redirects"),
    );
    scene.refused(
        "/gone",
        &sum,
        3,
        &format!("{failed}GET \"<url>\": https response bad status: 404 Not Found"),
    );
    scene.refused(
        "/partial",
        &sum,
        3,
        &format!("{failed}GET \"<url>\": https response bad status: 206 Partial Content"),
    );
    let cut = scene.install("/cut", &sum);
    assert_eq!(cut.code, Some(3));
    assert!(
        cut.stderr
            .starts_with("Error: failed to download plugin from URL https://localhost:"),
        "{}",
        cut.stderr
    );
    scene.refused("/empty", &sha256(b""), 1, "plugin installation failed: failed to read plugin name from input file empty: invalid plugin executable file name. Plugin file name requires format notation-{plugin-name}, but got empty");
    // A server that nobody vouches for.
    let url = scene.server.url("/good");
    let unknown = Workbench::new();
    let ran = unknown.hardsign(["plugin", "install", "--url", &url, "--sha256sum", &sum]);
    assert_eq!(ran.code, Some(3));
    assert!(
        ran.stderr.contains("invalid peer certificate"),
        "{}",
        ran.stderr
    );
    // SEC-29, net: credentials in a URL go nowhere.
    let asked = scene.server.asked().len();
    let with_user = url.replace("https://", "https://user:secret@");
    let ran = scene.bench.hardsign([
        "plugin",
        "install",
        "--url",
        &with_user,
        "--sha256sum",
        &sum,
    ]);
    assert_eq!(ran.code, Some(3));
    assert_eq!(scene.server.asked().len(), asked);
}

/// PLI-06, PLI-08, SEC-14: a body without end is cut at 256 MiB, and does not stay in memory.
#[test]
fn pli_08_endless_bodies_are_cut() {
    let scene = Scene::new(&[("/endless", Answer::Endless)]);
    let url = scene.server.url("/endless");
    let mut command = scene.bench.command(
        &binaries().join("hardsign"),
        ["plugin", "install", "--url", &url, "--sha256sum", "00"],
    );
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(resident_kib(&child));
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr).replace(&url, "<url>"),
        "Error: failed to download plugin from URL <url> with error: GET \"<url>\": https response reached the 256 MiB size limit\n"
    );
    assert!((1..64 << 10).contains(&peak), "{peak} KiB resident");
    assert_eq!(
        entries(&scene.bench.config().join("plugins")),
        Vec::<String>::new()
    );
}

/// The most that a process had in memory so far.
fn resident_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| {
        line.trim().trim_end_matches(" kB").parse().unwrap()
    })
}

/// CLI-16: Ctrl-C during a slow download leaves nothing.
#[test]
fn cli_16_an_interrupted_download_leaves_nothing() {
    let scene = Scene::new(&[("/drip", Answer::Drip)]);
    let url = scene.server.url("/drip");
    let mut command = scene.bench.command(
        &binaries().join("hardsign"),
        ["plugin", "install", "--url", &url, "--sha256sum", "00"],
    );
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let plugins = scene.bench.config().join("plugins");
    let arrived = || {
        let staged = entries(&plugins).pop();
        staged.is_some_and(|name| {
            fs::metadata(plugins.join(name).join("download")).is_ok_and(|file| file.len() > 3)
        })
    };
    while !arrived() {
        thread::sleep(Duration::from_millis(5));
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "Error: plugin installation failed: interrupted\n"
    );
    assert_eq!(entries(&plugins), Vec::<String>::new());
}

/// PLI-06: a download has its time, however steadily the bytes drip; here a second of it.
#[test]
fn pli_06_slow_downloads_end() {
    let server = Https::start(BTreeMap::from([("/drip".to_owned(), Answer::Drip)]));
    let root = tempfile::tempdir().unwrap();
    let mut options = ClientOptions::default();
    options.limits = download_limits();
    options.limits.total = Duration::from_secs(1);
    options.extra_roots = vec![fs::read(server.certificate()).unwrap()];
    let client = Client::new(&options).unwrap();
    let installer = Installer::new(Host::new(Finder::with_box(
        &Dirs::below(root.path()),
        vec![],
    )));
    let order = InstallOrder {
        source: PackageSource::Url {
            url: &server.url("/drip"),
            client: &client,
        },
        sha256: Some("00"),
        force: false,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(installer.install(order)).unwrap_err();
    let text = hardsign_core::text::WithCauses(&error).to_string();
    assert!(text.contains("no complete answer within"), "{text}");
    assert_eq!(
        entries(&root.path().join("libexec/plugins")),
        Vec::<String>::new()
    );
}
