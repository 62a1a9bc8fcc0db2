//! A session as long as a release of many artifacts. Alone in its process, since it measures the
//! memory of that process.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "tests: a failure to set up is a failed test"
)]

use std::fs;

use stage::{PATIENT, Stage};

#[allow(dead_code, reason = "the tests of the host use all of it")]
#[path = "../host/stage.rs"]
mod stage;

/// Ten thousand signatures through one session: one process, and neither it nor the host grows.
#[tokio::test]
async fn ten_thousand_signatures() {
    /// Resident memory of a process, in pages.
    fn resident(process: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
        status.split(' ').nth(1).unwrap().parse().unwrap()
    }
    let stage = Stage::new(PATIENT);
    let signer = stage.open(&[]).await.unwrap();
    let process = pid(&stage);
    let digest = [7; 32];
    let mut before = None;
    for round in 0..10 {
        for _ in 0..250 {
            let sign = || signer.sign_bytes(&[], &digest);
            let (a, b, c, d) = tokio::join!(sign(), sign(), sign(), sign());
            for signed in [a, b, c, d] {
                assert_eq!(signed.unwrap().0.len(), 64);
            }
        }
        stage.events.lock().unwrap().clear();
        if round == 1 {
            before = Some((resident("self"), resident(&process)));
        }
    }
    let (host, plugin) = before.unwrap();
    // Ten mebibytes would be one kilobyte for each signature.
    assert!(resident("self") < host + 2500);
    assert!(resident(&process) < plugin + 2500);
    signer.close().await;
    assert_eq!(stage.count("session"), 1);
    assert_eq!(stage.count("sign"), 10_000);
}

/// The process of the session.
fn pid(stage: &Stage) -> String {
    let log = fs::read_to_string(stage.log()).unwrap();
    let line = log.lines().find_map(|line| line.strip_prefix("pid "));
    line.unwrap().to_owned()
}
