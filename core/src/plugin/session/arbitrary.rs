//! Sessions with a plugin that says anything at all.

use hardsign_plugin::proto::{CONTRACT_VERSION, PluginConfig, Purpose};
use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;

use super::*;

/// Lines that a plugin could mean, whole and in pieces, among bytes that mean nothing.
fn said() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(&b"{\"id\":2,\"response\":{\"signature\":\"AQ==\"}}\n"[..]),
        Just(&b"{\"id\":3,\"response\":{\"signature\":\"AQ==\"}}\n"[..]),
        Just(&b"{\"id\":2,\"error\":{\"errorCode\":\"ERROR\"}}\n"[..]),
        Just(
            &b"{\"event\":\"notice\",\"id\":2,\"message\":\"m\",\"waitSeconds\":4294967295}\n"[..]
        ),
        Just(&b"{\"event\":\"prompting\"}\n"[..]),
        Just(&b"{\"event\":\"prompted\"}\n"[..]),
        Just(&b"{\"event\":\"song\"}\n"[..]),
        Just(&b"{\"id\":18446744073709551615,\"response\":null}\n"[..]),
    ];
    let whole = line.clone().prop_map(<[u8]>::to_vec);
    let part = (line, any::<prop::sample::Index>())
        .prop_map(|(line, at)| line.get(..at.index(line.len())).unwrap().to_vec());
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec(prop_oneof![6 => whole, 1 => part, 1 => noise], 0..20)
        .prop_map(|pieces| pieces.concat())
}

async fn run(said: Vec<u8>) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (reader, writer) = tokio::io::split(ours);
    let (_requests, mut answers) = tokio::io::split(theirs);
    let clocks = SessionClocks {
        request: Duration::from_secs(60),
        person: Duration::from_secs(300),
        farewell: Duration::from_secs(2),
    };
    let request = OpenRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: Some("k".into()),
        plugin_config: PluginConfig::new(),
        purpose: Purpose::Sign,
    };
    let interrupt = Interrupt::new();
    let heard = nobody();
    let opening = opened(reader, writer, &request, clocks, heard, &interrupt);
    let answering = async {
        tokio::task::yield_now().await;
        let opened = b"{\"id\":1,\"response\":{\"keyId\":\"k\",\"keySpec\":\"EC-256\",\"certificateChain\":[],\"maxInFlight\":2,\"interaction\":\"none\"}}\n";
        answers.write_all(opened).await.unwrap();
    };
    let (opened, ()) = tokio::join!(opening, answering);
    let (session, _) = opened.unwrap().unwrap();
    let sign = || session.sign_digest(&[1], HashAlgorithm::Sha256, None);
    let talking = async {
        tokio::task::yield_now().await;
        // The session may have broken by now.
        let _closed = answers.write_all(&said).await;
    };
    // It ends, one way or another, within the clocks: all that the plugin can add is one notice for
    // each request and what it asks a person, each bounded.
    let ended = tokio::time::timeout(Duration::from_secs(3600), async {
        tokio::join!(sign(), sign(), talking)
    });
    let (first, second, ()) = ended.await.unwrap();
    if first.is_err() && second.is_err() {
        assert!(session.error().is_some());
    }
}

proptest! {
    /// SEC-33: whatever a plugin says, no panic and no endless wait.
    #[test]
    fn sec_33_anything_ends(said in said()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(said));
    }
}
