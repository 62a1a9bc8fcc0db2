//! What a thousand signatures of one session cost.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::{self, StreamExt as _};
use hardsign_plugin::algorithm::HashAlgorithm;
use hardsign_test_support::{Key, Pki, certificate, program};
use jiff::Timestamp;

use super::*;
use crate::crypto::{self, VERIFIED};
use crate::dirs::Dirs;
use crate::envelope::{Draft, DraftAttributes, Format, Payload};
use crate::plugin::{Finder, Origin, PluginFile, PluginName};
use crate::sign::{Countersigner, TimestampError, sign_blob};
use crate::x509::PROVEN;

/// A plugin of the box, with the signatures of a list, which it gives out in order. It notes each of its
/// processes and each signature that it was asked for.
const PLUGIN: &str = r#"#!/bin/sh
echo "$1" >>LOG
exec 3<SIGNATURES
while read -r line; do
    id=${line#*\"id\":}
    id=${id%%,*}
    case $line in
        *'"command":"get-plugin-metadata"'*)
            answer='{"name":"local","description":"d","version":"1.0.0","url":"u","supportedContractVersions":["1.0"],"capabilities":["HARDSIGN.SESSION"]}' ;;
        *'"command":"open"'*)
            answer='{"keyId":"k","keySpec":"EC-256","certificateChain":[CHAIN],"maxInFlight":4,"interaction":"none"}' ;;
        *'"command":"sign-digest"'*)
            echo sign-digest >>LOG
            read -r signature <&3
            answer="{\"signature\":\"$signature\"}" ;;
    esac
    echo "{\"id\":$id,\"response\":$answer}"
done
"#;

#[derive(Debug)]
struct Token;

impl Countersigner for Token {
    fn countersign<'a>(
        &'a self,
        _: &'a Signature,
        _: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, TimestampError>> + Send + 'a>> {
        Box::pin(ready(Ok(b"token".to_vec())))
    }
}

/// The file of this number, and how it is signed: as JWS and COSE, with a timestamp and without.
fn job(number: usize) -> (Descriptor, SignOptions) {
    let digest = crypto::hash(HashAlgorithm::Sha256, &number.to_be_bytes());
    let hex = digest.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let blob = Descriptor {
        media_type: "application/octet-stream".to_owned(),
        digest: format!("sha256:{hex}").parse().unwrap(),
        size: 8,
        annotations: BTreeMap::new(),
    };
    let timestamp: Option<Arc<dyn Countersigner>> = match number % 4 < 2 {
        true => Some(Arc::new(Token)),
        false => None,
    };
    let options =
        SignOptions::new(Format::ALL[number % 2], certificate::now()).timestamp(timestamp);
    (blob, options)
}

/// The key's signature for a file, in base64.
fn signature(number: usize) -> String {
    let (blob, options) = job(number);
    let attributes = DraftAttributes {
        signing_time: options.now,
        expiry: None,
    };
    let payload = Payload::new(blob);
    let draft = Draft::new(options.format, &payload, &attributes, KeySpec::Ec256).unwrap();
    STANDARD.encode(Key::P256.sign(draft.to_be_signed().bytes()))
}

/// ENV-39: a thousand files take one process, one login, one proof of the chain, and one verification
/// each, with a timestamp as without.
#[tokio::test]
async fn env_39_a_thousand_signatures_in_one_session() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let pki = Pki::new();
    let chain = pki.chain(&pki.signer(KeySpec::Ec256));
    let quoted = |der: &Vec<u8>| format!("\"{}\"", STANDARD.encode(der));
    let chain: Vec<_> = chain.iter().map(quoted).collect();
    let signatures: Vec<_> = (0..COUNT).map(signature).collect();
    fs::write(path("signatures"), signatures.join("\n") + "\n").unwrap();
    let plugin = PLUGIN
        .replace("LOG", path("log").to_str().unwrap())
        .replace("SIGNATURES", path("signatures").to_str().unwrap())
        .replace("CHAIN", &chain.join(","));
    program::write(&path("plugin"), &plugin);
    let file = PluginFile {
        name: PluginName::new("local").unwrap(),
        path: path("plugin"),
        origin: Origin::Box,
    };
    let host = Host::new(Finder::with_box(&Dirs::below(directory.path()), Vec::new()));
    let key = PluginKey::new(file, "k", BTreeMap::new());
    VERIFIED.set(0);
    PROVEN.set(0);
    let signer = PluginSigner::open(&host, key, Kind::Blob).await.unwrap();
    // Before anybody is asked to sign.
    assert_eq!((PROVEN.get(), VERIFIED.get()), (1, 0));
    let signed: Vec<_> = stream::iter(0..COUNT)
        .map(async |number| {
            let (blob, options) = job(number);
            sign_blob(&signer, &blob, &options).await.unwrap()
        })
        .buffered(signer.max_in_flight())
        .collect()
        .await;
    signer.close().await;
    assert_eq!((signed.len(), signer.max_in_flight()), (COUNT, 4));
    assert_eq!((PROVEN.get(), VERIFIED.get()), (1, 1000));
    let log = fs::read_to_string(path("log")).unwrap();
    assert_eq!(log, format!("session\n{}", "sign-digest\n".repeat(COUNT)));
    for (number, signed) in signed.iter().enumerate() {
        let (blob, options) = job(number);
        assert_eq!(signed.payload().target, blob);
        let token = signed.unsigned().timestamp_token.is_some();
        assert_eq!(token, options.timestamp.is_some());
    }
}

const COUNT: usize = 1000;
