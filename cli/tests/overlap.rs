//! One signature: what can go on at the same time does. Each side waits here for the other, so that a command
//! that did one after the other would never end.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]
#![cfg(unix)]

use std::fs;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hardsign_test_support::program;
use hardsign_test_support::registry::{Behaviour, FakeRegistry, Request, Response};

mod support;

use support::Machine;

/// The plugin of the box, which begins once the registry was asked, and says when it has ended.
const PLUGIN: &str = r#"#!/bin/sh
here=$(dirname "$0")
while [ ! -e "$here/asked" ]; do sleep 0.02; done
"$here/real" "$@"
code=$?
: >"$here/ended"
exit $code
"#;

fn run(machine: &Machine, words: &[&str]) -> Output {
    machine.command("hardsign").args(words).output().unwrap()
}

/// The reference is resolved while the plugin starts, and the plugin ends while the signature is stored.
#[test]
fn the_registry_and_the_plugin_are_waited_for_together() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo");
    let binaries = machine.path().join("bin");
    let (asked, ended) = (binaries.join("asked"), binaries.join("ended"));
    let on = Arc::new(AtomicBool::new(false));
    let is_on = Arc::clone(&on);
    let intercept = move |request: &Request| {
        if !is_on.load(Ordering::SeqCst) || !request.path.contains("/manifests/") {
            return None;
        }
        if request.method != "PUT" {
            fs::write(&asked, "").unwrap();
            return None;
        }
        let began = Instant::now();
        while !ended.exists() {
            if began.elapsed() > Duration::from_secs(30) {
                return Some(Response::status(500));
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    };
    let registry = FakeRegistry::start(Behaviour {
        intercept: Some(Box::new(intercept)),
        ..Behaviour::default()
    });
    let reference = format!("{}/app:v1", registry.name());
    let copied = run(
        &machine,
        &["copy", "--from-oci-layout", "layout:v1", &reference],
    );
    assert!(copied.status.success(), "{copied:?}");
    let plugin = binaries.join("notation-local");
    fs::rename(&plugin, binaries.join("real")).unwrap();
    program::write(&plugin, PLUGIN);
    on.store(true, Ordering::SeqCst);
    let signed = run(&machine, &["sign", "--deadline", "50s", &reference]);
    assert!(signed.status.success(), "{signed:?}");
    let told = String::from_utf8(signed.stderr).unwrap();
    assert!(
        told.contains("Always sign the artifact using digest"),
        "{told}"
    );
}
