//! A session and single commands as the SDK has them, with a host that says anything: each request
//! is answered once, with lines that the host can read.

#![no_main]

use std::collections::BTreeSet;
use std::io::Cursor;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{
    Capability, ListKeysRequest, ListKeysResponse, Metadata, SessionLine, SessionRequest, Setting,
};
use hardsign_plugin::{Context, Error, Key, KeyRequest, Plugin, serve_on};

struct Toy;

struct ToyKey;

impl Plugin for Toy {
    type Key = ToyKey;

    fn metadata(&self) -> Metadata {
        Metadata::new("toy", "Signs with nothing", "1.0.0", "https://example.com")
            .with(Capability::Keys)
            .with_settings([Setting::path("cert-chain", "certificates")])
    }

    fn open(&self, request: &KeyRequest<'_>, context: &Context<'_>) -> Result<ToyKey, Error> {
        context.notice(request.key_id, None);
        match request.setting("cert-chain") {
            Some("refused") => Err(Error::access_denied("refused").with_hint("ask otherwise")),
            _ => Ok(ToyKey),
        }
    }

    fn list_keys(
        &self,
        _: &ListKeysRequest,
        _: &Context<'_>,
    ) -> Result<ListKeysResponse, Error> {
        Ok(ListKeysResponse::default())
    }
}

impl Key for ToyKey {
    fn key_spec(&self) -> KeySpec {
        KeySpec::Ec256
    }

    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(vec![vec![1]])
    }

    fn sign_digest(&self, digest: &[u8], _: &Context<'_>) -> Result<Vec<u8>, Error> {
        assert_eq!(digest.len(), 32, "the SDK checks the length");
        Ok(digest.repeat(2))
    }
}

libfuzzer_sys::fuzz_target!(|said: &[u8]| {
    let asked: BTreeSet<u64> = said
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<SessionRequest>(line).ok())
        .map(|request| request.id)
        .collect();
    for (command, is_session) in [
        ("session", true),
        ("get-plugin-metadata", false),
        ("describe-key", false),
        ("generate-signature", false),
        ("sign-digest", false),
        ("list-keys", false),
        ("create-key", false),
    ] {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let code = serve_on(&Toy, command, Cursor::new(said.to_vec()), &mut output, &mut errors);
        if is_session {
            answers(&output, &asked);
        } else if code == 0 {
            serde_json::from_slice::<serde_json::Value>(&output).expect("an answer is JSON");
        } else {
            // The last line of stderr is the error.
            let text = String::from_utf8(errors).expect("errors are text");
            let line = text.lines().last().expect("a failure has an error");
            serde_json::from_str::<hardsign_plugin::proto::ErrorResponse>(line)
                .expect("an error is JSON");
        }
    }
});

/// Every line is one that the host reads, and answers what was asked.
fn answers(output: &[u8], asked: &BTreeSet<u64>) {
    let text = std::str::from_utf8(output).expect("lines are text");
    assert!(text.is_empty() || text.ends_with('\n'));
    for line in text.lines() {
        match serde_json::from_str(line).expect("the host reads the line") {
            SessionLine::Response { id, .. } | SessionLine::Error { id, .. } => {
                assert!(asked.contains(&id), "an answer to nothing: {line}");
            }
            SessionLine::Event(_) => {}
        }
    }
}
