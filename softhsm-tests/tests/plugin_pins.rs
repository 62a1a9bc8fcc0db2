//! What happens around an installation: interruptions at any moment, two at once, plugins that
//! change afterwards.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use softhsm_tests::binaries;
use softhsm_tests::package::{member, script, zip};
use softhsm_tests::pair::with_input;
use softhsm_tests::peers::framework;
use softhsm_tests::workbench::{Ran, Workbench};

struct Scene(Workbench);

impl Scene {
    fn new() -> Self {
        Self(Workbench::new())
    }

    /// Writes `<version>/notation-good` with these contents.
    fn write(&self, version: &str, content: &[u8]) -> String {
        let path = self.0.path().join(version).join("notation-good");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    fn install(&self, version: &str) -> Ran {
        let file = self.write(version, &script("good", version));
        self.0
            .hardsign(["plugin", "install", "--force", "--file", &file])
    }

    fn plugins(&self) -> PathBuf {
        self.0.config().join("plugins")
    }

    fn executable(&self) -> PathBuf {
        self.plugins().join("good/notation-good")
    }

    fn pins(&self) -> PathBuf {
        self.0.config().join("plugins.hardsign.json")
    }

    /// The version that `plugin list` shows, or its error.
    fn version(&self) -> Result<String, String> {
        let listed = self.0.hardsign_ok(["plugin", "list", "--output", "json"]);
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        let plugin = &listed["plugins"][0];
        match plugin["version"].as_str() {
            Some(version) => Ok(version.to_owned()),
            None => Err(plugin["error"].to_string()),
        }
    }

    fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.plugins()).into_iter().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.0.command(&binaries().join("hardsign"), arguments);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

fn until(what: impl Fn() -> bool) {
    let started = Instant::now();
    while !what() {
        assert!(started.elapsed() < Duration::from_secs(60), "it never came");
        thread::sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A plugin that says that it was asked, and then waits for a file.
fn waiting(scene: &Scene, version: &str) -> Vec<u8> {
    let (asked, go) = (scene.0.path().join("asked"), scene.0.path().join("go"));
    let said = script("good", version);
    let said = String::from_utf8(said).unwrap();
    said.replace(
        "#!/bin/sh\n",
        &format!(
            "#!/bin/sh\ntouch {}\nwhile [ ! -e {} ]; do sleep 0.01; done\n",
            asked.display(),
            go.display()
        ),
    )
    .into_bytes()
}

/// PLI-13, PLI-19, CLI-16: while the new plugin is asked who it is, nothing is replaced; Ctrl-C
/// there leaves nothing, a kill something that the next command clears.
#[test]
fn pli_19_interrupted_while_the_new_plugin_is_asked() {
    for how in [Signal::INT, Signal::KILL] {
        let scene = Scene::new();
        assert_eq!(scene.install("1.0.0").code, Some(0));
        let before = fs::read(scene.executable()).unwrap();
        let file = scene.write("2.0.0", &waiting(&scene, "2.0.0"));
        let child = scene.start(&["plugin", "install", "--file", &file]);
        until(|| scene.0.path().join("asked").exists());
        assert_eq!(scene.version(), Ok("1.0.0".into()), "while it is asked");
        signal(&child, how);
        let ended = child.wait_with_output().unwrap();
        fs::write(scene.0.path().join("go"), "").unwrap();
        if how == Signal::INT {
            assert_eq!(ended.status.code(), Some(1));
            assert_eq!(
                String::from_utf8_lossy(&ended.stderr),
                "Error: plugin installation failed: interrupted\n"
            );
            assert_eq!(scene.entries(), ["good"]);
        } else {
            assert_eq!(scene.entries().len(), 2, "{:?}", scene.entries());
            let found = scene.0.hardsign(["doctor"]).stdout;
            assert!(
                found.contains("an interrupted installation left"),
                "{found}"
            );
        }
        assert_eq!(scene.version(), Ok("1.0.0".into()));
        assert_eq!(fs::read(scene.executable()).unwrap(), before);
        assert_eq!(scene.install("3.0.0").code, Some(0));
        assert_eq!(scene.entries(), ["good"]);
        assert_eq!(scene.version(), Ok("3.0.0".into()));
    }
}

/// PLI-19: killed at any moment, an installation leaves the old plugin or the new one, whole and
/// runnable, and the next one clears up.
#[test]
fn pli_19_killed_at_any_moment() {
    let scene = Scene::new();
    assert_eq!(scene.install("1.0.0").code, Some(0));
    let mut current = 0;
    let started = Instant::now();
    assert_eq!(scene.install("0.9.0").code, Some(0));
    let usual = started.elapsed();
    assert_eq!(scene.install("1.0.0").code, Some(0));
    for round in 1..=40_u32 {
        let version = format!("1.{round}.0");
        let more = vec![b'#'; 4 << 20];
        let content = [script("good", &version), more].concat();
        let package = zip(&[member("notation-good", content)]);
        let file = scene.0.path().join("package.zip");
        fs::write(&file, package).unwrap();
        let file = file.display().to_string();
        let child = scene.start(&["plugin", "install", "--force", "--file", &file]);
        thread::sleep(usual.mul_f64(2.0 * f64::from(round) / 40.0));
        // It may have ended by now.
        signal_if_there(&child);
        child.wait_with_output().unwrap();
        let version_now = scene.version().unwrap();
        let old = format!("1.{current}.0");
        assert!(
            version_now == old || version_now == version,
            "{version_now}"
        );
        if version_now == version {
            current = round;
        }
        assert!(!scene.executable().with_file_name("lock").exists());
    }
    assert_eq!(scene.install("2.0.0").code, Some(0));
    assert_eq!(scene.entries(), ["good"]);
    assert_eq!(scene.version(), Ok("2.0.0".into()));
    let pins = fs::read_to_string(scene.pins()).unwrap();
    assert!(!pins.contains("installing"), "{pins}");
}

fn signal_if_there(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).ok();
}

/// Ten installations of ten versions at once: one after the other they take their place, and the
/// newest stays.
#[test]
fn installations_at_once_wait_for_each_other() {
    let scene = Scene::new();
    let files: Vec<_> = (0..10)
        .map(|i| {
            let version = format!("1.{i}.0");
            scene.write(&version, &script("good", &version))
        })
        .collect();
    let children: Vec<_> = files
        .iter()
        .map(|file| scene.start(&["plugin", "install", "--file", file]))
        .collect();
    for child in children {
        let ended = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(
            ended.status.success() || told.contains("is lower than the existing plugin version"),
            "{told}"
        );
    }
    assert_eq!(scene.entries(), ["good"]);
    assert_eq!(scene.version(), Ok("1.9.0".into()));
}

/// A way in which a program could change an installed plugin.
#[derive(Clone, Copy, Debug)]
enum Change {
    Appended,
    AnotherFile,
    /// As long as before, and as old.
    Disguised,
}

impl Change {
    fn apply(self, scene: &Scene) {
        let path = scene.executable();
        let content = String::from_utf8(fs::read(&path).unwrap()).unwrap();
        match self {
            Self::Appended => fs::write(&path, format!("{content}# more\n")).unwrap(),
            Self::AnotherFile => {
                let other = scene.write("other", &script("good", "6.6.6"));
                let beside = path.with_file_name("beside");
                fs::copy(other, &beside).unwrap();
                fs::rename(beside, &path).unwrap();
            }
            Self::Disguised => {
                let times = fs::metadata(&path).unwrap().modified().unwrap();
                fs::write(&path, content.replace("A test", "A tesT")).unwrap();
                let file = fs::File::options().write(true).open(&path).unwrap();
                file.set_modified(times).unwrap();
            }
        }
    }
}

/// Pins: a plugin that was changed since it was installed runs for nobody, is told with a hint, and
/// runs again once it is trusted.
#[test]
fn changed_plugins_are_refused_until_they_are_trusted() {
    for what in [Change::Appended, Change::AnotherFile, Change::Disguised] {
        let scene = Scene::new();
        assert_eq!(scene.install("1.0.0").code, Some(0));
        let bench = &scene.0;
        let artifact = bench.reference(&bench.layout.add("v1", "artifact"));
        let sign = || {
            bench.hardsign([
                "sign",
                "--plugin",
                "good",
                "--id",
                "k",
                "--oci-layout",
                &artifact,
            ])
        };
        // The script can't sign; but it is started, and asked for the key.
        let before = sign();
        assert!(
            before
                .stderr
                .contains("failed to sign with the plugin good"),
            "{}",
            before.stderr
        );
        what.apply(&scene);
        let refused = sign();
        assert_eq!(refused.code, Some(3), "{what:?}: {}", refused.stderr);
        assert!(
            refused
                .stderr
                .contains("Error: plugin good was changed since it was pinned: its SHA-256 is ")
                && refused.stderr.contains("\nHint: ")
                && refused.stderr.contains("`hardsign plugin trust good`"),
            "{what:?}: {}",
            refused.stderr
        );
        assert!(
            scene
                .version()
                .unwrap_err()
                .contains("was changed since it was pinned")
        );
        let inspected = bench.hardsign(["plugin", "inspect", "good"]);
        assert_eq!(inspected.code, Some(3));
        assert!(
            inspected.stdout.contains("CHANGED since it was pinned"),
            "{}",
            inspected.stdout
        );
        let doctor = bench.hardsign(["doctor"]).stdout;
        assert!(
            doctor.contains("FAIL  plugin good: plugin good was changed"),
            "{doctor}"
        );

        // PLI-14: it says no version to compare with.
        let newer = scene.write("2.0.0", &script("good", "2.0.0"));
        let install = bench.hardsign(["plugin", "install", "--file", &newer]);
        assert_eq!(install.code, Some(1));
        assert!(
            install
                .stderr
                .contains("failed to get metadata of existing plugin: plugin good was changed")
                && install
                    .stderr
                    .ends_with("Hint: --force replaces a broken plugin\n"),
            "{}",
            install.stderr
        );

        let hardsign = binaries().join("hardsign");
        let trust = ["plugin", "trust", "good"];
        let ended = "Error: plugin good is not trusted: standard input ended before the question was answered\nHint: --yes agrees without a question\n";
        for (input, code, said, error) in [
            ("", 1, "\n", ended),
            ("n\n", 0, "Operation cancelled.\n", ""),
        ] {
            let asked = with_input(bench, &hardsign, trust, input);
            assert_eq!((asked.code, asked.stderr.as_str()), (Some(code), error));
            assert!(asked.stdout.ends_with(&format!(
                "Do you trust plugin \"good\" as it is now? [y/N] {said}"
            )));
            assert!(
                asked.stdout.contains(", version 1.0.0\n"),
                "{}",
                asked.stdout
            );
            assert_eq!(sign().code, Some(3), "{what:?}");
        }
        let trusted = with_input(bench, &hardsign, trust, "y\n");
        assert_eq!(trusted.code, Some(0), "{}", trusted.stderr);
        assert!(
            trusted
                .stdout
                .contains("Successfully pinned plugin good, version "),
            "{}",
            trusted.stdout
        );
        assert_eq!(sign().stderr, before.stderr, "{what:?}");
        assert!(scene.version().is_ok());
    }
}

/// Pins: what stays the same although the file is another one, or was touched, goes on working.
#[test]
fn copies_of_the_same_plugin_go_on_working() {
    let scene = Scene::new();
    assert_eq!(scene.install("1.0.0").code, Some(0));
    let path = scene.executable();
    let beside = path.with_file_name("beside");
    fs::copy(&path, &beside).unwrap();
    fs::rename(&beside, &path).unwrap();
    assert_eq!(scene.version(), Ok("1.0.0".into()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(scene.version(), Ok("1.0.0".into()));
}

/// Pins: plugins that came another way run unpinned, as under the reference, until they are trusted.
#[test]
fn plugins_that_came_another_way_are_unpinned() {
    let scene = Scene::new();
    let file = scene.write("1.0.0", &script("good", "1.0.0"));
    scene.0.install_plugin("good", Path::new(&file));
    assert_eq!(scene.version(), Ok("1.0.0".into()));
    let file = scene.write("2.0.0", &script("good", "2.0.0"));
    scene.0.install_plugin("good", Path::new(&file));
    assert_eq!(scene.version(), Ok("2.0.0".into()));
    assert!(!scene.pins().exists());
    let pinned = scene.0.hardsign_ok(["plugin", "trust", "--yes", "good"]);
    assert!(
        pinned.stdout.contains("Pinned:     nothing yet\n"),
        "{}",
        pinned.stdout
    );
    let file = scene.write("3.0.0", &script("good", "3.0.0"));
    scene.0.install_plugin("good", Path::new(&file));
    assert!(scene.version().is_err());
    // Removed, it takes its pin with it; a new one under the name is a stranger again.
    scene
        .0
        .hardsign_ok(["plugin", "uninstall", "--yes", "good"]);
    scene.0.install_plugin("good", Path::new(&file));
    assert_eq!(scene.version(), Ok("3.0.0".into()));
    // Installed, it is pinned anew.
    assert_eq!(scene.install("4.0.0").code, Some(0));
    assert!(fs::read_to_string(scene.pins()).unwrap().contains("4.0.0"));
}

/// Pins: a file of pins that can't be believed stops the user's plugins, and none of the box.
#[test]
fn malformed_pins_stop_all_but_the_box() {
    let scene = Scene::new();
    assert_eq!(scene.install("1.0.0").code, Some(0));
    let good = fs::read_to_string(scene.pins()).unwrap();
    let digest = good
        .split('"')
        .find(|word| word.len() == 64)
        .unwrap()
        .to_owned();
    for bad in [
        String::new(),
        "[]".into(),
        good.replace("1.0\"", "2.0\""),
        good.replace("\"pinned\"", "\"Pinned\""),
        good.replace("\"good\"", "\"../good\""),
        good.replace(&digest, &digest.to_uppercase()),
        good.replace(&digest, &digest[1..]),
        good.replace("\"plugins\"", "\"plugins\": {}, \"plugins\""),
        format!("{good} x"),
    ] {
        fs::write(scene.pins(), &bad).unwrap();
        let listed = scene.0.hardsign_ok(["plugin", "list", "--all"]).stdout;
        let line = |name: &str| {
            listed
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap()
                .to_owned()
        };
        assert!(
            line("good").contains("plugins.hardsign.json"),
            "{bad}\n{listed}"
        );
        assert!(line("local").contains("<nil>"), "{listed}");
        for arguments in [
            &["plugin", "trust", "--yes", "good"][..],
            &["plugin", "uninstall", "--yes", "good"],
            &[
                "plugin",
                "install",
                "--force",
                "--file",
                "1.0.0/notation-good",
            ],
        ] {
            let refused = scene.0.hardsign(arguments);
            assert_eq!(refused.code, Some(1), "{arguments:?}: {}", refused.stdout);
            assert!(
                refused.stderr.contains("plugins.hardsign.json"),
                "{}",
                refused.stderr
            );
        }
        assert_eq!(fs::read_to_string(scene.pins()).unwrap(), bad);
    }
    fs::remove_file(scene.pins()).unwrap();
    std::os::unix::fs::symlink("elsewhere", scene.pins()).unwrap();
    assert!(
        scene
            .version()
            .unwrap_err()
            .contains("is not a regular file")
    );
}

/// Pins: a plugin that a signature names is looked at as well, whatever the level of the policy.
#[test]
fn changed_verification_plugins_are_refused() {
    const PLUGIN: &str = "framework-envelope-identity-revocation";
    let executable = framework::executable();
    let bench = Workbench::new();
    let file = bench.path().join(format!("notation-{PLUGIN}"));
    fs::copy(executable, &file).unwrap();
    let file = file.display().to_string();
    bench.hardsign_ok(["plugin", "install", "--file", &file]);
    let keys = bench.path().join("keys");
    let directory = format!("dir={}", keys.display());
    let named = format!("verificationPlugin={PLUGIN}");
    let reference = bench.reference(&bench.layout.add("v1", "demo"));
    let mut sign = vec![
        "sign",
        "--oci-layout",
        "--plugin",
        PLUGIN,
        "--id",
        "release",
    ];
    for setting in [&directory, &named] {
        sign.extend(["--plugin-config", setting]);
    }
    sign.push(&reference);
    bench.hardsign_ok(sign);
    let verify = [
        "verify",
        "--oci-layout",
        "--scope",
        "local/test",
        &reference,
    ];
    for level in ["strict", "audit"] {
        bench.trust(&framework::root(&keys, "release"), level);
        bench.hardsign_ok(verify);
    }
    // Behind its end, so that it still runs.
    let installed = bench
        .config()
        .join("plugins")
        .join(PLUGIN)
        .join(format!("notation-{PLUGIN}"));
    let mut content = fs::read(&installed).unwrap();
    content.push(0);
    fs::write(&installed, content).unwrap();
    for level in ["strict", "audit"] {
        bench.trust(&framework::root(&keys, "release"), level);
        let refused = bench.hardsign(verify);
        assert_eq!(refused.code, Some(3), "{level}: {}", refused.stdout);
        assert!(
            refused.stderr.contains("was changed since it was pinned"),
            "{}",
            refused.stderr
        );
    }
    bench.hardsign_ok(["plugin", "trust", "--yes", PLUGIN]);
    bench.hardsign_ok(verify);
}

/// Pins: `local` of the box has none, and needs none.
#[test]
fn trust_is_for_installed_plugins() {
    let scene = Scene::new();
    let refused = scene.0.hardsign(["plugin", "trust", "local"]);
    assert_eq!(
        (refused.code, refused.stderr.as_str()),
        (
            Some(1),
            "Error: plugin local came with hardsign; only plugins in the plugin directory are pinned\n"
        )
    );
    let refused = scene.0.hardsign(["plugin", "trust", "nosuch"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused
            .stderr
            .contains("is either not found or inaccessible"),
        "{}",
        refused.stderr
    );
    for name in ["../good", "a/b", "."] {
        for verb in ["trust", "uninstall", "inspect"] {
            let refused = scene.0.hardsign(["plugin", verb, name]);
            assert!(
                refused.stderr.contains("is invalid: it must match"),
                "{verb} {name}: {}",
                refused.stderr
            );
        }
    }
}

/// PLI-21: a name that is a path removes nothing.
#[test]
fn pli_21_no_path_is_removed() {
    let scene = Scene::new();
    fs::create_dir_all(scene.0.config().join("notation-config")).unwrap();
    fs::create_dir_all(scene.plugins()).unwrap();
    let victim = scene.0.config().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("notation-victim"), "x").unwrap();
    for name in ["../victim", "..", ".", "", "a/../../victim"] {
        let refused = scene.0.hardsign(["plugin", "uninstall", "--yes", name]);
        assert_ne!(refused.code, Some(0), "{name}: {}", refused.stdout);
    }
    assert!(victim.join("notation-victim").exists());
}
