//! A session as the host has it, with a plugin that says anything: it ends, and what was answered
//! was asked.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use hardsign_core::event::Listener;
use hardsign_core::plugin::{Interrupt, Session, SessionClocks, SessionListener};
use hardsign_plugin::algorithm::HashAlgorithm;
use hardsign_plugin::proto::{CONTRACT_VERSION, OpenRequest, PluginConfig, Purpose, SessionLine};
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

/// Its clock stands still but for what is waited for, so that no input takes long.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime")
});

const CLOCKS: SessionClocks = SessionClocks {
    request: Duration::from_secs(60),
    person: Duration::from_secs(300),
    farewell: Duration::from_secs(2),
};

libfuzzer_sys::fuzz_target!(|said: &[u8]| {
    for line in said.split(|byte| *byte == b'\n') {
        if let Ok(line) = serde_json::from_slice::<SessionLine>(line) {
            // What was read is written and read again as the same.
            let text = serde_json::to_vec(&line).expect("it was JSON");
            assert_eq!(serde_json::from_slice::<SessionLine>(&text).expect("it is JSON"), line);
        }
    }
    RUNTIME.block_on(run(said));
});

async fn run(said: &[u8]) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (reader, writer) = tokio::io::split(ours);
    let (_requests, mut answers) = tokio::io::split(theirs);
    let interrupt = Interrupt::new();
    let heard = SessionListener { plugin: "p".into(), listener: Listener::NOBODY };
    let session = Session::start(reader, writer, CLOCKS, heard, &interrupt);
    let request = OpenRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: Some("k".into()),
        plugin_config: PluginConfig::new(),
        purpose: Purpose::Sign,
    };
    let asking = async {
        let Ok(Ok(opened)) = session.open(&request).await else {
            return;
        };
        assert!(opened.max_in_flight > 0);
        let sign = || session.sign_digest(&[1; 32], HashAlgorithm::Sha256, None);
        let (first, second) = tokio::join!(sign(), sign());
        // Outside is the session: what broke it is said to both, once.
        if let (Err(first), Err(second)) = (first, second) {
            assert_eq!(first.to_string(), second.to_string());
        }
    };
    let talking = async {
        for line in said.split_inclusive(|byte| *byte == b'\n') {
            // The session may have broken by now.
            if answers.write_all(line).await.is_err() {
                return;
            }
            for _ in 0..4 {
                yield_now().await;
            }
        }
        let _gone = answers.shutdown().await;
    };
    // Each notice and each prompt is bounded, and so is all of it.
    let ended = tokio::time::timeout(Duration::from_secs(24 * 3600), async {
        tokio::join!(asking, talking)
    });
    ended.await.expect("the session ends");
}
