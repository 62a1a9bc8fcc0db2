//! A session as long as a release of many artifacts, with the real PKCS#11 plugin and a token.
//! Alone in its process, since it measures the memory of that process.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "tests: a failure to set up is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;

use hardsign_core::artifact::Kind;
use hardsign_core::dirs::Dirs;
use hardsign_core::plugin::{
    Finder, Host, Origin, PluginFile, PluginKey, PluginName, PluginSigner,
};
use hardsign_plugin::algorithm::KeySpec;
use hardsign_test_support::program;
use softhsm_tests::token::Token;
use softhsm_tests::{binaries, keys};

/// Resident memory of a process in KiB.
fn resident(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// Ten thousand signatures of a token through one process of the plugin; neither it nor the host
/// grows. (That there is one login is what pkcs11-spy sees of a hundred, in `faults`.)
#[tokio::test]
async fn ten_thousand_signatures_of_a_token() {
    let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "signing", "01");
    let log = token.path().join("log");
    let script = token.path().join("plugin");
    let text = format!(
        "#!/bin/sh\necho \"$1 $$\" >>{}\nSOFTHSM2_CONF={} exec {} \"$@\"\n",
        log.display(),
        token.configuration().display(),
        binaries().join("notation-pkcs11").display()
    );
    program::write(&script, &text);
    let file = PluginFile {
        name: PluginName::new("pkcs11").unwrap(),
        path: script,
        origin: Origin::User,
    };
    let host = Host::new(Finder::with_box(&Dirs::below(token.path()), Vec::new()));
    let key = PluginKey::new(file, token.uri("signing"), BTreeMap::new());
    let signer = PluginSigner::open(&host, key, Kind::Blob)
        .await
        .unwrap()
        .raw()
        .unwrap();
    assert_eq!(signer.route(), "session");
    let started = fs::read_to_string(&log).unwrap();
    let process = started
        .lines()
        .find_map(|line| line.strip_prefix("session "));
    let process = process.unwrap().to_owned();
    let mut before = None;
    for round in 0..10 {
        for _ in 0..250 {
            let sign = || signer.sign_bytes(&[], &[7; 32]);
            let (a, b, c, d) = tokio::join!(sign(), sign(), sign(), sign());
            for signed in [a, b, c, d] {
                assert_eq!(signed.unwrap().0.len(), 64);
            }
        }
        if round == 1 {
            before = Some((resident("self"), resident(&process)));
        }
    }
    let (host, plugin) = before.unwrap();
    // Eight thousand signatures later: two mebibytes would be 256 bytes for each.
    assert!(
        resident("self") < host + 2048,
        "host: {host} to {} KiB",
        resident("self")
    );
    assert!(
        resident(&process) < plugin + 2048,
        "plugin: {plugin} to {} KiB",
        resident(&process)
    );
    signer.close().await;
    let started = fs::read_to_string(&log).unwrap();
    let commands: Vec<_> = started
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(commands, ["get-plugin-metadata", "session"]);
}
