//! How many signatures a second come from a key store that is far away, beside what its limit allows:
//! `cargo run --release -p hardsign-plugin-testkit --example in-flight -- TOY [IN-FLIGHT [LATENCY]]`,
//! where TOY is the path of `notation-toy`.

#![expect(clippy::print_stdout, reason = "a measurement: it prints")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hardsign_core::artifact::Kind;
use hardsign_core::dirs::Dirs;
use hardsign_core::plugin::{
    Finder, Host, Origin, PluginFile, PluginKey, PluginName, PluginSigner,
};

const ROUNDS: usize = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let toy = arguments.next().ok_or("where is notation-toy?")?;
    let in_flight = arguments.next().unwrap_or_else(|| "200".to_owned());
    let latency = arguments.next().unwrap_or_else(|| "50".to_owned());
    let allowed = 1000.0 * in_flight.parse::<f64>()? / latency.parse::<f64>()?;
    let count = ROUNDS * in_flight.parse::<usize>()?;
    let file = PluginFile {
        name: PluginName::new("toy")?,
        path: toy.into(),
        origin: Origin::Box,
    };
    let config = BTreeMap::from([
        ("in-flight".to_owned(), in_flight),
        ("latency".to_owned(), latency),
    ]);
    let directory = tempfile::tempdir()?;
    let host = Host::new(Finder::with_box(&Dirs::below(directory.path()), Vec::new()));
    let signer = PluginSigner::open(&host, PluginKey::new(file, "bear", config), Kind::Blob)
        .await?
        .raw()?;
    let digest = [7; 32];
    // The first one waits until the plugin's cryptography has gathered its randomness.
    signer.sign_bytes(b"", &digest).await?;
    let began = Instant::now();
    let mut signing: FuturesUnordered<_> = (0..count)
        .map(|_| signer.sign_bytes(b"", &digest))
        .collect();
    while let Some(signed) = signing.next().await {
        signed?;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    signer.close().await;
    println!(
        "{count} signatures: {rate:.0}/s of {allowed:.0}/s, {:.3}",
        rate / allowed
    );
    Ok(())
}
