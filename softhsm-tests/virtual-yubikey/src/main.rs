//! `vyk`: a virtual YubiKey for programs that use PC/SC.
//!
//! ```console
//! $ VYK_SOCKET=/tmp/x/p.sock vyk &
//! $ PCSCLITE_CSOCK_NAME=/tmp/x/p.sock ykman piv info
//! ```
//!
//! Without `VYK_SOCKET` it connects to vsmartcard's `vpcd`, a reader of the real `pcscd`. Further
//! variables: `VYK_VERSION=5.4.3`, `VYK_SERIAL`, `VYK_TOUCH_TIMEOUT_MS` (nobody touches),
//! `VYK_LATENCY_MS` (how long a signature takes), `VYK_PORT` (of vpcd).

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test tool"
)]

#[cfg(target_os = "linux")]
fn main() {
    use std::time::Duration;
    use virtual_yubikey::{Config, Readers, Touch, VirtualYubiKey, vpcd};

    let variable = |name: &str| std::env::var(name).ok();
    let millis = |name: &str| variable(name).map(|ms| Duration::from_millis(ms.parse().unwrap()));
    let mut config = Config::default();
    if let Some(version) = variable("VYK_VERSION") {
        let parts: Vec<u8> = version
            .split('.')
            .map(|part| part.parse().unwrap())
            .collect();
        config.version = parts.try_into().unwrap();
    }
    if let Some(serial) = variable("VYK_SERIAL") {
        config.serial = serial.parse().unwrap();
    }
    if let Some(wait) = millis("VYK_TOUCH_TIMEOUT_MS") {
        config.touch = Touch::Timeout(wait);
    }
    config.latency = millis("VYK_LATENCY_MS").unwrap_or_default();
    let mut card = VirtualYubiKey::new(config);
    if let Some(path) = variable("VYK_SOCKET") {
        let readers = Readers::serve(path.as_ref()).unwrap();
        readers.insert("Yubico YubiKey OTP+FIDO+CCID 00 00", card);
        eprintln!("vyk: a card is at {path}");
        loop {
            std::thread::park();
        }
    }
    let port = variable("VYK_PORT").map_or(vpcd::PORT, |port| port.parse().unwrap());
    let stream = vpcd::connect(port).unwrap();
    eprintln!("vyk: connected to vpcd on port {port}");
    drop(vpcd::run(stream, &mut card));
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("vyk runs on Linux only");
}
