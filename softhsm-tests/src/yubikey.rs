//! Virtual YubiKeys in readers of their own, for programs of one test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use hardsign_plugin::algorithm::KeySpec;
use tempfile::TempDir;
use virtual_yubikey::keys::{self as algorithms, Private};
use virtual_yubikey::{Config, Readers, VirtualYubiKey};

use crate::keys::{self, TestKey};
use crate::workbench::Workbench;

/// The PIN of every test card.
pub const PIN: &str = "864213";

/// The PUK of every test card.
pub const PUK: &str = "97531864";

/// The reader of a test's first card.
pub const READER: &str = "Yubico YubiKey OTP+FIDO+CCID 00 00";

/// The reader of a second one.
pub const SECOND_READER: &str = "Yubico YubiKey OTP+FIDO+CCID 01 00";

/// Policies, as the card numbers them.
pub mod policy {
    pub const NEVER: u8 = 1;
    pub const PIN_ONCE: u8 = 2;
    pub const PIN_ALWAYS: u8 = 3;
    pub const TOUCH_ALWAYS: u8 = 2;
    pub const TOUCH_CACHED: u8 = 3;
}

/// Readers with their socket and the file of the PIN; gone when dropped.
pub struct YubiKeys {
    directory: TempDir,
    pub readers: Readers,
}

impl YubiKeys {
    /// No card yet.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let readers = Readers::serve(&directory.path().join("pcscd.comm")).unwrap();
        let yubikeys = Self { directory, readers };
        yubikeys.write_pin("pin", PIN);
        yubikeys
    }

    /// With one card.
    pub fn with(card: VirtualYubiKey) -> Self {
        let yubikeys = Self::new();
        yubikeys.readers.insert(READER, card);
        yubikeys
    }

    /// What libpcsclite's `PCSCLITE_CSOCK_NAME` must be.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("pcscd.comm")
    }

    /// A workbench whose programs see these readers.
    pub fn bench(&self) -> Workbench {
        let mut bench = Workbench::new();
        bench.set("PCSCLITE_CSOCK_NAME", self.socket());
        bench
    }

    /// Writes a PIN to a file of that name.
    pub fn write_pin(&self, name: &str, pin: &str) {
        let path = self.directory.path().join(name);
        fs::write(&path, pin).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A key id with the PIN file, for instance of `slot=9c`.
    pub fn id(&self, key: &str) -> String {
        self.id_with_pin(key, "pin")
    }

    /// The same with another PIN file.
    pub fn id_with_pin(&self, key: &str, file: &str) -> String {
        let pin = self.directory.path().join(file);
        format!("yubikey:{key};pin-source=file:{}", pin.display())
    }
}

impl Default for YubiKeys {
    fn default() -> Self {
        Self::new()
    }
}

/// A card with PIN and PUK of its own.
pub fn card(config: Config) -> VirtualYubiKey {
    let mut card = VirtualYubiKey::new(config);
    card.set_secrets(PIN, PUK);
    card
}

/// A card of firmware 5.7.1 with the shared key of that spec in 9c; its leaf stands there, the
/// certificates above it in 82 and 83.
pub fn card_with_key(spec: KeySpec, pin: u8, touch: u8) -> VirtualYubiKey {
    let mut card = card(Config::default());
    put_key(&mut card, 0x9c, spec, pin, touch);
    put_issuers(&mut card);
    card
}

/// Puts the shared key of that spec and its leaf into a slot, as if it had been made there.
pub fn put_key(card: &mut VirtualYubiKey, slot: u8, spec: KeySpec, pin: u8, touch: u8) {
    let key = keys::key(spec);
    card.put_key(slot, private(spec, &key), pin, touch, true);
    card.put_certificate(slot, Some(&fs::read(key.leaf).unwrap()));
}

/// Puts the certificates above every leaf into slots that have no key.
pub fn put_issuers(card: &mut VirtualYubiKey) {
    card.put_certificate(0x82, Some(&fs::read(keys::intermediate()).unwrap()));
    card.put_certificate(0x83, Some(&fs::read(keys::root_der()).unwrap()));
}

fn private(spec: KeySpec, key: &TestKey) -> Private {
    let pem = fs::read_to_string(&key.key).unwrap();
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(lines)
        .unwrap();
    let algorithm = match spec {
        KeySpec::Ec256 => algorithms::P256,
        KeySpec::Ec384 => algorithms::P384,
        _ => algorithms::RSA2048,
    };
    Private::from_pkcs8(algorithm, &der).unwrap()
}

/// Milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The real `pcscd` with one virtual card in a reader of vsmartcard's vpcd; ends when dropped.
///
/// It has a mount namespace of its own, in which `/run` is a directory of the test: a daemon of the
/// system is not disturbed, and several tests have one each.
#[cfg(target_os = "linux")]
pub struct Daemon {
    directory: TempDir,
    child: std::process::Child,
}

/// The flags with which `unshare` gives a command mounts of its own.
#[cfg(target_os = "linux")]
pub fn own_mounts() -> &'static [&'static str] {
    match rustix::process::geteuid().is_root() {
        true => &["--mount"],
        // Only the root of a namespace of users may mount.
        false => &["--user", "--map-root-user", "--mount"],
    }
}

#[cfg(target_os = "linux")]
impl Daemon {
    pub fn start(mut card: VirtualYubiKey) -> Self {
        use std::process::{Command, Stdio};

        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("run");
        fs::create_dir_all(run.join("pcscd")).unwrap();
        // One for each of the driver's two slots.
        let port = crate::ports::free_ports(2);
        let readers = directory.path().join("readers");
        fs::create_dir(&readers).unwrap();
        // The reader is found by its name, as a YubiKey's own is.
        let reader = format!(
            "FRIENDLYNAME \"Yubico YubiKey\"\nDEVICENAME /dev/null:0x{port:X}\n\
             LIBPATH /usr/lib/pcsc/drivers/serial/libifdvpcd.so\nCHANNELID 0x{port:X}\n"
        );
        fs::write(readers.join("vpcd"), reader).unwrap();
        let script = "mount --bind \"$1\" /run && exec \"$3\" --foreground -c \"$2\"";
        let child = Command::new("unshare")
            .args(own_mounts())
            .args(["sh", "-c", script, "sh"])
            .arg(&run)
            .arg(&readers)
            .arg(crate::peers::installed("pcscd"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::spawn(move || {
            let stream = virtual_yubikey::vpcd::connect(port).unwrap();
            // Until the daemon goes.
            drop(virtual_yubikey::vpcd::run(stream, &mut card));
        });
        let daemon = Self { directory, child };
        let pin = daemon.directory.path().join("pin");
        for (name, text) in [("pin", PIN), ("puk", PUK)] {
            fs::write(pin.with_file_name(name), text).unwrap();
        }
        fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
        daemon
    }

    /// A workbench whose programs see this daemon, once it has seen the card.
    ///
    /// # Panics
    /// It does not.
    pub fn bench(&self) -> Workbench {
        let mut bench = Workbench::new();
        let socket = self.directory.path().join("run/pcscd/pcscd.comm");
        bench.set("PCSCLITE_CSOCK_NAME", &socket);
        let mut seen = bench.hardsign(["key", "list", "--plugin", "yubikey"]);
        for _ in 0..100 {
            if seen.code == Some(0) {
                return bench;
            }
            std::thread::sleep(ms(100));
            seen = bench.hardsign(["key", "list", "--plugin", "yubikey"]);
        }
        panic!("pcscd shows no card: {}", seen.stderr);
    }

    /// `pin-source=file:…`, and the same of the PUK.
    pub fn source(&self, name: &str) -> String {
        let file = self.directory.path().join(name);
        format!("{name}-source=file:{}", file.display())
    }
}

#[cfg(target_os = "linux")]
impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
