//! An installation that stops between any two of its steps. The plugins here are never started.

use super::*;
use crate::dirs::Dirs;
use crate::plugin::Finder;

struct Scene {
    _root: tempfile::TempDir,
    installer: Installer,
    name: PluginName,
}

impl Scene {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(Finder::with_box(&Dirs::below(root.path()), Vec::new()));
        Self {
            _root: root,
            installer: Installer::new(host),
            name: PluginName::new("good").unwrap(),
        }
    }

    async fn lock(&self) -> FileLock {
        let interrupt = crate::plugin::Interrupt::new();
        self.installer.place.lock(&interrupt).await.unwrap()
    }

    /// A plugin with these contents, staged, and its pin.
    async fn staged(&self, content: &str) -> (Staging, Pin) {
        let staging = self.installer.stage().await.unwrap();
        let file = staging.unpacked().unwrap().join("notation-good");
        fs::write(file, content).unwrap();
        let path = staging.name(&self.name).unwrap().join("notation-good");
        let pin = Pin::take(&path, content).unwrap();
        (staging, pin)
    }

    async fn install(&self, content: &str) {
        let (staging, pin) = self.staged(content).await;
        let _held = self.lock().await;
        self.installer.commit(&staging, &self.name, &pin).unwrap();
    }

    fn executable(&self) -> PathBuf {
        self.installer.executable(&self.name)
    }

    /// What is in place, and whether it may run.
    fn runs(&self) -> Option<String> {
        let content = fs::read_to_string(self.executable()).ok()?;
        let pins = Pins::load(&self.installer.place.pins).unwrap();
        match pins.state(&self.name, &self.executable()).unwrap() {
            PinState::Changed { .. } => None,
            PinState::None | PinState::Same(_) => Some(content),
        }
    }

    /// The next process comes: nothing is left over, the plugin runs and its pin is its own.
    async fn recovered(&self, expected: &str) {
        drop(self.installer.stage().await.unwrap());
        assert_eq!(self.runs().as_deref(), Some(expected));
        let entries = fs::read_dir(&self.installer.place.plugins).unwrap();
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["good"]);
        let pins = Pins::load(&self.installer.place.pins).unwrap();
        let pin = pins.get(&self.name).unwrap();
        assert_eq!(pin.version, expected);
        let text = fs::read_to_string(&self.installer.place.pins).unwrap();
        assert!(!text.contains("installing"), "{text}");
    }
}

/// PLI-19: stopped after each step, the old plugin or the new one is in place and runs, and the
/// next process clears up.
#[tokio::test]
async fn pli_19_stopped_between_the_steps() {
    for step in 0..5 {
        let scene = Scene::new();
        scene.install("old").await;
        let (staging, pin) = scene.staged("new").await;
        let held = scene.lock().await;
        let place = &scene.installer.place;
        if step > 0 {
            Pins::update(&place.pins, |pins| pins.set_installing(&scene.name, pin)).unwrap();
        }
        if step > 1 {
            place.put(&staging, &scene.name).unwrap();
        }
        if step > 2 {
            // As `put` leaves it where there is no exchange, at its end.
            let aside = staging.old_of(&scene.name);
            fs::create_dir(&aside).unwrap();
            fs::write(aside.join("notation-good"), "old").unwrap();
        }
        let expected = if step > 1 { "new" } else { "old" };
        assert_eq!(scene.runs().as_deref(), Some(expected), "{step}");
        staging.abandon();
        drop(held);
        assert_eq!(scene.installer.leftovers().len(), 1, "{step}");
        assert_eq!(scene.runs().as_deref(), Some(expected), "{step}");
        if step > 3 {
            scene.installer.recover().await.unwrap();
        }
        scene.recovered(expected).await;
    }
}

/// PLI-19: where directories can't be exchanged, there is a moment without any; the next process
/// moves the old one back.
#[tokio::test]
async fn pli_19_stopped_while_the_old_one_is_aside() {
    let scene = Scene::new();
    scene.install("old").await;
    let (staging, pin) = scene.staged("new").await;
    let place = &scene.installer.place;
    Pins::update(&place.pins, |pins| pins.set_installing(&scene.name, pin)).unwrap();
    fs::rename(place.directory_of(&scene.name), staging.old_of(&scene.name)).unwrap();
    staging.abandon();
    assert_eq!(scene.runs(), None);
    scene.recovered("old").await;
}

/// PLI-19: a place that can't be taken leaves what is there, and its pin.
#[cfg(unix)]
#[tokio::test]
async fn pli_19_a_failed_exchange_changes_nothing() {
    let scene = Scene::new();
    scene.install("old").await;
    let (staging, pin) = scene.staged("new").await;
    fs::remove_dir_all(staging.new_of(&scene.name)).unwrap();
    let held = scene.lock().await;
    let error = scene.installer.commit(&staging, &scene.name, &pin);
    assert!(matches!(error, Err(InstallError::Io { .. })), "{error:?}");
    drop((held, staging));
    scene.recovered("old").await;
}

/// A first installation that stops before its rename leaves no pin behind.
#[tokio::test]
async fn a_first_installation_that_stops() {
    let scene = Scene::new();
    let (staging, pin) = scene.staged("new").await;
    let place = &scene.installer.place;
    Pins::update(&place.pins, |pins| pins.set_installing(&scene.name, pin)).unwrap();
    staging.abandon();
    drop(scene.installer.stage().await.unwrap());
    assert_eq!(scene.installer.leftovers(), Vec::<PathBuf>::new());
    assert_eq!(Pins::load(&place.pins).unwrap(), Pins::default());
}

/// PLI-20: an uninstallation that stops after its rename has removed the plugin, and the next process
/// removes the rest.
#[tokio::test]
async fn pli_20_an_uninstallation_that_stops() {
    let scene = Scene::new();
    scene.install("old").await;
    let staging = scene.installer.stage().await.unwrap();
    let place = &scene.installer.place;
    place.take(&staging, &scene.name).unwrap();
    staging.abandon();
    assert_eq!(scene.runs(), None);
    scene.installer.recover().await.unwrap();
    assert_eq!(fs::read_dir(&place.plugins).unwrap().count(), 0);
    assert_eq!(Pins::load(&place.pins).unwrap(), Pins::default());
}

/// PLI-20: where the pin can't be removed, the plugin stays.
#[tokio::test]
async fn pli_20_a_failed_uninstallation_puts_the_plugin_back() {
    let scene = Scene::new();
    scene.install("old").await;
    let held = scene.lock().await;
    let place = &scene.installer.place;
    fs::write(&place.pins, "{").unwrap();
    let error = scene.installer.remove(&held, &scene.name);
    assert!(matches!(error, Err(InstallError::Pins(_))), "{error:?}");
    assert_eq!(fs::read_to_string(scene.executable()).unwrap(), "old");
    assert_eq!(fs::read_dir(&place.plugins).unwrap().count(), 1);
}

/// PLI-20: a plugin that was moved aside is found by who wants to remove it, and the pin of one
/// that is gone goes.
#[tokio::test]
async fn pli_20_looked_for_after_recovery() {
    let scene = Scene::new();
    scene.install("old").await;
    let staging = scene.installer.stage().await.unwrap();
    let place = &scene.installer.place;
    fs::rename(place.directory_of(&scene.name), staging.old_of(&scene.name)).unwrap();
    staging.abandon();
    assert_eq!(scene.installer.installed("good").await.unwrap(), scene.name);
    fs::remove_dir_all(place.directory_of(&scene.name)).unwrap();
    let error = scene.installer.installed("good").await;
    assert!(matches!(error, Err(InstallError::NotInstalled { .. })));
    assert_eq!(Pins::load(&place.pins).unwrap(), Pins::default());
}

/// PLI-20: a linked executable doesn't run (PLG-03), but is removed: the link, not the file.
#[cfg(unix)]
#[tokio::test]
async fn pli_20_a_linked_executable_is_removed() {
    let scene = Scene::new();
    let file = scene._root.path().join("elsewhere");
    fs::write(&file, "").unwrap();
    let directory = scene.installer.place.directory_of(&scene.name);
    fs::create_dir_all(&directory).unwrap();
    std::os::unix::fs::symlink(&file, scene.executable()).unwrap();
    scene.installer.installed("good").await.unwrap();
    scene.installer.uninstall("good").await.unwrap();
    assert!(!directory.exists() && file.exists());
    fs::create_dir_all(scene.executable()).unwrap();
    let error = scene.installer.uninstall("good").await;
    assert!(matches!(error, Err(InstallError::Existing(_))), "{error:?}");
}

/// A first installation whose last note failed: the plugin is in place, and the next process pins
/// it, though no directory was left.
#[tokio::test]
async fn a_pin_that_was_not_made_final() {
    let scene = Scene::new();
    let (staging, pin) = scene.staged("new").await;
    let place = &scene.installer.place;
    Pins::update(&place.pins, |pins| pins.set_installing(&scene.name, pin)).unwrap();
    place.put(&staging, &scene.name).unwrap();
    drop(staging);
    assert_eq!(scene.installer.leftovers(), Vec::<PathBuf>::new());
    scene.installer.recover().await.unwrap();
    let pins = Pins::load(&place.pins).unwrap();
    assert_eq!(pins.get(&scene.name).unwrap().version, "new");
}

/// SEC-21: what was changed after it was asked who it is doesn't run.
#[tokio::test]
async fn sec_21_changed_before_it_is_in_place() {
    let scene = Scene::new();
    let (staging, pin) = scene.staged("new").await;
    let _held = scene.lock().await;
    let staged = staging.new_of(&scene.name).join("notation-good");
    fs::write(staged, "other").unwrap();
    scene.installer.commit(&staging, &scene.name, &pin).unwrap();
    assert_eq!(scene.runs(), None);
}

/// A leftover that can't be removed stops nobody, and what had its place taken doesn't come back.
#[cfg(unix)]
#[tokio::test]
async fn a_leftover_that_stays() {
    use std::os::unix::fs::PermissionsExt as _;
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let scene = Scene::new();
    scene.install("new").await;
    let staging = scene.installer.stage().await.unwrap();
    let aside = staging.old_of(&scene.name);
    fs::create_dir(&aside).unwrap();
    fs::write(aside.join("notation-good"), "old").unwrap();
    set_mode(&aside, 0o555);
    staging.abandon();
    let place = &scene.installer.place;
    let stays = fs::remove_file(aside.join("notation-good")).is_err();
    scene.installer.uninstall("good").await.unwrap();
    assert_eq!(scene.installer.leftovers().len(), usize::from(stays));
    scene.installer.recover().await.unwrap();
    assert!(!place.directory_of(&scene.name).exists());
    for leftover in scene.installer.leftovers() {
        set_mode(&leftover.join("settled/good"), 0o755);
    }
}

/// Whoever works in a staging directory keeps it: others clear leftovers only.
#[tokio::test]
async fn staging_in_use_is_no_leftover() {
    let scene = Scene::new();
    let (staging, _) = scene.staged("new").await;
    scene.install("other").await;
    assert_eq!(scene.installer.leftovers(), Vec::<PathBuf>::new());
    assert!(staging.new_of(&scene.name).join("notation-good").exists());
    drop(staging);
    scene.recovered("other").await;
}

/// PLI-14: strict SemVer, whose precedence ignores build metadata.
#[test]
fn pli_14_versions() {
    for (version, good) in [
        ("1.0.0", true),
        ("1.0.0-rc.1+build", true),
        ("1.0", false),
        ("v1.0.0", false),
        ("01.0.0", false),
        ("1.0.0 ", false),
        ("", false),
    ] {
        assert_eq!(is_semantic(version), good, "{version:?}");
    }
    let parse = |text| Version::parse(text).unwrap();
    for (new, old, order) in [
        ("1.0.1", "1.0.0", Ordering::Greater),
        ("1.0.0", "1.0.0-rc.1", Ordering::Greater),
        ("1.0.0-rc.2", "1.0.0-rc.10", Ordering::Less),
        ("1.0.0+2", "1.0.0+1", Ordering::Equal),
        ("1.10.0", "1.9.0", Ordering::Greater),
    ] {
        assert_eq!(parse(new).cmp_precedence(&parse(old)), order, "{new} {old}");
    }
}
