//! The server against a plugin that misbehaves on demand, over buffers and pipes.

use std::io::{BufRead as _, BufReader, PipeWriter, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::algorithm::KeySpec;
use crate::plugin::{Key, KeyRequest};
use crate::proto::{
    CreateKeyRequest, CreateKeyResponse, DescribeKeyResponse, GenerateSignatureResponse, KeyEntry,
    ListKeysRequest, ListKeysResponse, Property, Setting,
};
use sha2::Digest as _;

/// Counts what is done to it; the key id says how it behaves.
#[derive(Default)]
struct Fake {
    opened: AtomicU32,
    created: AtomicU32,
    closed: Arc<AtomicU32>,
    workers: u32,
}

struct FakeKey {
    id: String,
    workers: u32,
    together: Barrier,
    closed: Arc<AtomicU32>,
}

impl Drop for FakeKey {
    fn drop(&mut self) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }
}

impl Plugin for Fake {
    type Key = FakeKey;

    fn metadata(&self) -> Metadata {
        Metadata::new("fake", "A fake", "1.2.3", "https://example.com")
            .with(Capability::Keys)
            .with_settings([Setting::new("a", "a setting")])
    }

    fn open(&self, request: &KeyRequest<'_>, context: &Context<'_>) -> Result<FakeKey, Error> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        match request.key_id {
            "denied" => return Err(Error::access_denied("wrong PIN").with_hint("2 left")),
            "panic" => panic!("at the opening"),
            "notice" => context.notice("Touch it", Some(Duration::from_secs(15))),
            _ => {}
        }
        Ok(FakeKey {
            id: request.key_id.to_owned(),
            workers: self.workers,
            together: Barrier::new(2),
            closed: Arc::clone(&self.closed),
        })
    }

    fn create_key(
        &self,
        request: &CreateKeyRequest,
        _: &Context<'_>,
    ) -> Result<CreateKeyResponse, Error> {
        self.created.fetch_add(1, Ordering::SeqCst);
        match request.key_id.as_str() {
            "denied" => Err(Error::access_denied("wrong PIN")),
            "there" if !request.overwrite => {
                Err(Error::needs_confirmation("Replace the key \"there\"?"))
            }
            id => Ok(CreateKeyResponse {
                key_id: format!("fake:{id}"),
                key_spec: request.key_spec,
                public_key: vec![10].into(),
                token: None,
                replaced: request.overwrite.then(|| "an old key".to_owned()),
            }),
        }
    }

    fn list_keys(&self, _: &ListKeysRequest, _: &Context<'_>) -> Result<ListKeysResponse, Error> {
        Ok(ListKeysResponse {
            keys: vec![KeyEntry {
                key_id: "k".into(),
                key_spec: Some(KeySpec::Ec256),
                description: "a key".into(),
                ..KeyEntry::default()
            }],
            ..ListKeysResponse::default()
        })
    }
}

impl Key for FakeKey {
    fn key_spec(&self) -> KeySpec {
        KeySpec::Ec256
    }

    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(match self.id.as_str() {
            "bare" => Vec::new(),
            _ => vec![vec![1], vec![2]],
        })
    }

    fn public_key(&self) -> Result<Vec<u8>, Error> {
        match self.id.as_str() {
            "secretive" => Err(Error::other("it doesn't say")),
            _ => Ok(vec![10]),
        }
    }

    fn properties(&self) -> Vec<Property> {
        vec![Property::new("origin", "fake")]
    }

    fn signs_pkcs1v15(&self) -> bool {
        self.id == "pkcs1"
    }

    fn sign_digest_pkcs1v15(&self, _: &[u8], _: &Context<'_>) -> Result<Vec<u8>, Error> {
        Ok(vec![1; 64])
    }

    fn sign_digest(&self, digest: &[u8], _: &Context<'_>) -> Result<Vec<u8>, Error> {
        match self.id.as_str() {
            "short" => return Ok(vec![0; 63]),
            "sign-panic" => panic!("at the signature"),
            "together" => {
                self.together.wait();
            }
            _ => {}
        }
        Ok([digest, digest].concat())
    }

    fn max_in_flight(&self) -> u32 {
        self.workers
    }
}

/// Runs a one-shot command: exit code, stdout, stderr.
fn call(command: &str, request: &str) -> (u8, String, String) {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let input = std::io::Cursor::new(request.to_owned());
    let code = serve_on(&Fake::default(), command, input, &mut output, &mut errors);
    (
        code,
        String::from_utf8(output).unwrap(),
        String::from_utf8(errors).unwrap(),
    )
}

/// A one-shot command that fails: its error answer.
fn fails(command: &str, request: &str) -> ErrorResponse {
    let (code, output, errors) = call(command, request);
    assert_eq!((code, output.as_str()), (1, ""), "{errors}");
    serde_json::from_str(&errors).unwrap()
}

fn sign_request(key_id: &str) -> Value {
    json!({
        "contractVersion": "1.0", "keyId": key_id, "keySpec": "EC-256",
        "hashAlgorithm": "SHA-256", "payload": "cGF5bG9hZA==", "future": true,
    })
}

/// PLG-17, PLG-18: metadata with the capabilities that the SDK serves.
#[test]
fn plg_18_metadata() {
    let expected = r#"{"name":"fake","description":"A fake","version":"1.2.3","url":"https://example.com","supportedContractVersions":["1.0"],"capabilities":["SIGNATURE_GENERATOR.RAW","HARDSIGN.DIGEST","HARDSIGN.SESSION","HARDSIGN.KEYS"],"settings":[{"name":"a","description":"a setting"}]}"#;
    for request in ["{}", "", r#"{"pluginConfig":{"a":"b"}}"#] {
        let (code, output, errors) = call("get-plugin-metadata", request);
        assert_eq!((code, output.as_str(), errors.as_str()), (0, expected, ""));
    }
}

/// PLG-13: the version is looked at before anything else.
#[test]
fn plg_13_other_contract_versions() {
    for command in [
        "describe-key",
        "generate-signature",
        "sign-digest",
        "list-keys",
        "create-key",
        "import-certificates",
    ] {
        let error = fails(command, r#"{"contractVersion":"2.0","key":{}}"#);
        assert_eq!(
            error.error_code,
            Some(ErrorCode::UnsupportedContractVersion)
        );
        assert_eq!(
            error.error_message.as_deref(),
            Some(r#""2.0" is not a supported notary plugin contract version"#)
        );
    }
}

#[test]
fn plg_23_describe_key() {
    let (code, output, _) = call("describe-key", r#"{"contractVersion":"1.0","keyId":"k"}"#);
    assert_eq!(code, 0);
    assert_eq!(
        output,
        r#"{"keyId":"k","keySpec":"EC-256","publicKey":"Cg==","certificateChain":["AQ==","Ag=="],"properties":[{"name":"origin","value":"fake"}]}"#
    );
    let (_, output, _) = call(
        "describe-key",
        r#"{"contractVersion":"1.0","keyId":"bare"}"#,
    );
    let described: DescribeKeyResponse = serde_json::from_str(&output).unwrap();
    assert_eq!(described.certificate_chain, []);
}

/// PLG-14, PLG-27: unknown members are ignored; the payload is hashed here.
#[test]
fn plg_27_generate_signature() {
    let (code, output, errors) = call("generate-signature", &sign_request("k").to_string());
    assert_eq!(code, 0, "{errors}");
    let response: GenerateSignatureResponse = serde_json::from_str(&output).unwrap();
    let digest = sha2::Sha256::digest(b"payload").to_vec();
    assert_eq!(response.signature.0, [digest.clone(), digest].concat());
    assert_eq!(response.key_id, "k");
    assert_eq!(response.signing_algorithm.name(), "ECDSA-SHA-256");
    assert_eq!(response.certificate_chain.len(), 2);
}

#[test]
fn sign_digest_answers_as_generate_signature() {
    let digest = sha2::Sha256::digest(b"payload");
    let mut request = sign_request("k");
    request["digest"] = serde_json::to_value(proto_base64(&digest)).unwrap();
    let by_digest = call("sign-digest", &request.to_string());
    assert_eq!(
        by_digest,
        call("generate-signature", &sign_request("k").to_string())
    );
}

fn proto_base64(bytes: &[u8]) -> crate::proto::Base64 {
    bytes.to_vec().into()
}

/// Wrong requests are refused; where that can be told beforehand, without opening the key.
#[test]
fn wrong_requests() {
    let with = |name: &str, value: Value| {
        let mut request = sign_request("k");
        request[name] = value;
        fails("generate-signature", &request.to_string())
    };
    for (error, text) in [
        (with("hashAlgorithm", json!("SHA-384")), "goes with SHA-256"),
        (
            with("hashAlgorithm", json!("MD5")),
            "unknown hash algorithm",
        ),
        (with("keyId", json!("")), "keyId is empty"),
        (with("keyId", json!(7)), "not a valid JSON"),
        (with("payload", json!("*")), "not a valid JSON"),
    ] {
        assert_eq!(error.error_code, Some(ErrorCode::ValidationError));
        let message = error.error_message.unwrap();
        assert!(message.contains(text), "{message}");
    }
    let mut other = sign_request("k");
    other["keySpec"] = json!("RSA-2048");
    let error = fails("generate-signature", &other.to_string());
    assert!(error.error_message.unwrap().contains("the request says"));
    let mut short = sign_request("k");
    short["digest"] = json!("AAAA");
    let error = fails("sign-digest", &short.to_string());
    assert!(error.error_message.unwrap().contains("3 bytes"));
    for garbage in ["", "{", "[]", "{}{}", "\u{0}"] {
        let error = fails("describe-key", garbage);
        assert_eq!(error.error_code, Some(ErrorCode::ValidationError));
    }
}

/// A plugin's faults become error answers: no chain, odd signature, panic.
#[test]
fn faults_of_the_plugin() {
    let error = |id: &str| {
        let error = fails("generate-signature", &sign_request(id).to_string());
        error.error_message.unwrap()
    };
    assert_eq!(error("bare"), "the key has no certificate");
    let bare = fails("generate-signature", &sign_request("bare").to_string());
    assert!(bare.hint().unwrap().contains("cert-chain"), "{bare:?}");
    assert!(error("short").contains("signature of 63 bytes, EC-256 has 64"));
    assert_eq!(error("panic"), "the plugin panicked: at the opening");
    assert_eq!(error("sign-panic"), "the plugin panicked: at the signature");
    let denied = fails("generate-signature", &sign_request("denied").to_string());
    assert_eq!(denied.error_code, Some(ErrorCode::AccessDenied));
    assert_eq!(denied.hint(), Some("2 left"));
}

#[test]
fn list_keys_and_what_is_not_served() {
    let (_, output, _) = call("list-keys", r#"{"contractVersion":"1.0"}"#);
    assert_eq!(
        output,
        r#"{"keys":[{"keyId":"k","keySpec":"EC-256","description":"a key"}]}"#
    );
    for command in [
        "generate-envelope",
        "verify-signature",
        "generate-test-key",
        "x",
        "",
    ] {
        let error = fails(command, r#"{"contractVersion":"1.0"}"#);
        assert!(error.error_message.unwrap().contains("not supported"));
    }
}

/// PLG-49: the commands that are listed are those of the capabilities.
#[test]
fn plg_49_commands() {
    let names: Vec<_> = commands(&Fake::default().metadata())
        .iter()
        .map(Command::to_string)
        .collect();
    assert_eq!(
        names,
        [
            "get-plugin-metadata",
            "describe-key",
            "generate-signature",
            "sign-digest",
            "session",
            "list-keys",
            "create-key",
            "import-certificates"
        ]
    );
    let metadata = Fake::default().metadata();
    assert_eq!(known(&metadata, &"version".into()), Some(Asked::Version));
    assert_eq!(known(&metadata, &"generate-envelope".into()), None);
    assert_eq!(known(&metadata, &"--help".into()), None);
}

fn open_line(key_id: &str) -> String {
    let request = json!({"contractVersion": "1.0", "keyId": key_id});
    json!({"id": 1, "command": "open", "request": request}).to_string()
}

fn sign_line(id: u64) -> String {
    let digest = serde_json::to_value(proto_base64(&[id as u8; 32])).unwrap();
    let request = json!({"digest": digest, "hashAlgorithm": "SHA-256"});
    json!({"id": id, "command": "sign-digest", "request": request}).to_string()
}

/// Runs a whole session over buffers: exit code and lines.
fn session(plugin: &Fake, lines: &[String]) -> (u8, Vec<Value>) {
    let mut output = Vec::new();
    let input = std::io::Cursor::new(lines.iter().map(|l| l.clone() + "\n").collect::<String>());
    let code = serve_on(plugin, "session", input, &mut output, &mut Vec::new());
    let text = String::from_utf8(output).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (code, lines.collect())
}

#[test]
fn a_session_answers_and_closes_the_key() {
    let plugin = Fake::default();
    let (code, lines) = session(&plugin, &[open_line("notice"), sign_line(2), sign_line(3)]);
    assert_eq!(code, 0);
    assert_eq!(
        lines[0],
        json!({"event": "notice", "id": 1, "message": "Touch it", "waitSeconds": 15})
    );
    assert_eq!(
        lines[1],
        json!({"id": 1, "response": {
            "keyId": "notice", "keySpec": "EC-256", "publicKey": "Cg==", "certificateChain": ["AQ==", "Ag=="],
            "maxInFlight": 2, "interaction": "none",
        }})
    );
    let signature = serde_json::to_value(proto_base64(&[2; 64])).unwrap();
    assert_eq!(
        lines[2],
        json!({"id": 2, "response": {"signature": signature}})
    );
    assert_eq!(lines[3]["id"], 3);
    assert_eq!(lines.len(), 4);
    assert_eq!(plugin.closed.load(Ordering::SeqCst), 1);
}

/// A hundred requests after a failed login: the key store is touched once.
#[test]
fn a_failed_open_is_latched() {
    for (key_id, text) in [
        ("denied", "wrong PIN"),
        ("panic", "the plugin panicked: at the opening"),
    ] {
        let plugin = Fake::default();
        let mut lines = vec![open_line(key_id)];
        lines.extend((2..102).map(sign_line));
        lines.push(open_line(key_id));
        let (code, answers) = session(&plugin, &lines);
        assert_eq!(code, 0);
        assert_eq!(answers.len(), 102);
        for answer in answers {
            assert_eq!(answer["error"]["errorMessage"], text);
        }
        assert_eq!(plugin.opened.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn wrong_session_requests_get_an_answer_each() {
    let plugin = Fake::default();
    let unknown = json!({"id": 9, "command": "dance"}).to_string();
    let lines = [
        sign_line(7),
        open_line("k"),
        open_line("k"),
        unknown,
        sign_line(8),
    ];
    let (code, answers) = session(&plugin, &lines);
    assert_eq!(code, 0);
    let text = |at: usize| answers[at]["error"]["errorMessage"].as_str().unwrap_or("");
    assert!(text(0).contains("not open"), "{}", text(0));
    assert!(text(2).contains("open already"), "{}", text(2));
    assert!(text(3).contains("\"dance\""), "{}", text(3));
    assert_eq!(answers[4]["id"], 8);
    assert_eq!(plugin.opened.load(Ordering::SeqCst), 1);
    let old = json!({"id": 1, "command": "open", "request": {"contractVersion": "0.9"}});
    let (_, answers) = session(&plugin, &[old.to_string()]);
    assert_eq!(
        answers[0]["error"]["errorCode"],
        "UNSUPPORTED_CONTRACT_VERSION"
    );
}

#[test]
fn a_panic_fails_one_request_only() {
    let (code, answers) = session(
        &Fake::default(),
        &[open_line("sign-panic"), sign_line(2), sign_line(3)],
    );
    assert_eq!(code, 0);
    for answer in &answers[1..] {
        let text = &answer["error"]["errorMessage"];
        assert_eq!(text, "the plugin panicked: at the signature");
    }
    assert_eq!(answers.len(), 3);
}

/// A line that is no request ends the session with exit code 1: nothing after it is trusted.
#[test]
fn garbage_ends_the_session() {
    for garbage in ["x", "{}", "{\"id\":1}"] {
        let plugin = Fake::default();
        let lines = [open_line("k"), garbage.to_owned(), sign_line(2)];
        let (code, answers) = session(&plugin, &lines);
        assert_eq!(code, 1);
        assert_eq!(answers.len(), 1);
        assert_eq!(plugin.closed.load(Ordering::SeqCst), 1);
    }
}

/// Two signatures at once: each waits for the other, so they must run in parallel; and the
/// session answers while stdin is still open.
#[test]
fn workers_sign_in_parallel() {
    let (input, mut requests) = std::io::pipe().unwrap();
    let (answers, mut output) = std::io::pipe().unwrap();
    let closed = Arc::new(AtomicU32::new(0));
    let plugin = Fake {
        workers: 2,
        closed: Arc::clone(&closed),
        ..Fake::default()
    };
    let server = std::thread::spawn(move || {
        serve_on(&plugin, "session", input, &mut output, &mut Vec::new())
    });
    let send = |requests: &mut PipeWriter, line: String| writeln!(requests, "{line}").unwrap();
    send(&mut requests, open_line("together"));
    send(&mut requests, sign_line(2));
    send(&mut requests, sign_line(3));
    let mut lines = BufReader::new(answers).lines();
    let opened: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    // Two more may wait.
    assert_eq!(opened["response"]["maxInFlight"], 4);
    let mut ids: Vec<_> = (0..2)
        .map(|_| {
            let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            line["id"].as_u64().unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [2, 3]);
    drop(requests);
    assert_eq!(server.join().unwrap(), 0);
    assert_eq!(closed.load(Ordering::SeqCst), 1);
}

fn line(id: u64, command: &str, request: Value) -> String {
    json!({"id": id, "command": command, "request": request}).to_string()
}

fn create(key_id: &str) -> Value {
    json!({"contractVersion": "1.0", "keyId": key_id, "keySpec": "EC-256"})
}

/// One process: metadata, a key that is made, opened to certify, signed with and described.
#[test]
fn a_store_session_makes_a_key_and_opens_it() {
    let plugin = Fake::default();
    let open = json!({"contractVersion": "1.0", "keyId": "pkcs1", "purpose": "certify"});
    let digest = serde_json::to_value(proto_base64(&[7; 32])).unwrap();
    let mut sign = json!({"digest": digest, "hashAlgorithm": "SHA-256"});
    sign["signatureScheme"] = json!("RSASSA-PKCS1-V1_5");
    let describe = json!({"contractVersion": "1.0", "keyId": "pkcs1"});
    let (code, answers) = session(
        &plugin,
        &[
            line(1, "get-plugin-metadata", json!({})),
            line(2, "open", json!({"contractVersion": "1.0"})),
            line(3, "list-keys", json!({"contractVersion": "1.0"})),
            line(4, "create-key", create("new")),
            line(5, "open", open),
            line(6, "sign-digest", sign),
            line(7, "describe-key", describe),
            line(8, "get-plugin-metadata", Value::Null),
        ],
    );
    assert_eq!(code, 0);
    assert_eq!(answers[0]["response"]["name"], "fake");
    assert_eq!(
        answers[1]["response"],
        json!({"maxInFlight": 1, "interaction": "none"})
    );
    assert_eq!(answers[2]["response"]["keys"][0]["keyId"], "k");
    assert_eq!(answers[3]["response"]["keyId"], "fake:new");
    assert_eq!(
        answers[4]["response"]["signatureSchemes"],
        json!(["RSASSA-PKCS1-V1_5"])
    );
    let signature = serde_json::to_value(proto_base64(&[1; 64])).unwrap();
    assert_eq!(answers[5]["response"]["signature"], signature);
    assert_eq!(answers[6]["response"]["properties"][0]["value"], "fake");
    assert_eq!(answers[7]["response"]["name"], "fake");
    // The key that is open was described; none was opened for it.
    assert_eq!(plugin.opened.load(Ordering::SeqCst), 1);
}

/// What a purpose needs and allows.
#[test]
fn purposes() {
    let opened = |key_id: &str, purpose: &str, scheme: Option<&str>| {
        let open = json!({"contractVersion": "1.0", "keyId": key_id, "purpose": purpose});
        let digest = serde_json::to_value(proto_base64(&[7; 32])).unwrap();
        let sign = json!({
            "digest": digest, "hashAlgorithm": "SHA-256", "signatureScheme": scheme,
        });
        let lines = [line(1, "open", open), line(2, "sign-digest", sign)];
        let (_, answers) = session(&Fake::default(), &lines);
        let text = |at: usize| {
            let text = answers[at]["error"]["errorMessage"].as_str();
            text.unwrap_or_default().to_owned()
        };
        [text(0), text(1)]
    };
    let none = String::new();
    let pkcs1 = Some("RSASSA-PKCS1-V1_5");
    // A chain for signing alone; a public key for certifying alone.
    assert_eq!(
        opened("bare", "sign", None)[0],
        "the key has no certificate"
    );
    assert_eq!(
        opened("bare", "certify", None),
        [none.clone(), none.clone()]
    );
    assert_eq!(opened("bare", "describe", None)[0], none);
    assert_eq!(opened("secretive", "sign", None)[0], none);
    assert_eq!(opened("secretive", "certify", None)[0], "it doesn't say");
    // Another scheme for certifying alone, and only if the key has it.
    assert_eq!(opened("pkcs1", "certify", pkcs1)[1], none);
    for (key_id, purpose, scheme) in [
        ("pkcs1", "sign", pkcs1),
        ("k", "certify", pkcs1),
        ("pkcs1", "certify", Some("RAW")),
    ] {
        let [_, error] = opened(key_id, purpose, scheme);
        assert!(error.contains("not opened for signatures with"), "{error}");
    }
    assert!(opened("k", "describe", None)[1].contains("described only"));
    assert!(opened("k", "encrypt", None)[0].contains("not a valid JSON"));
}

/// A denial before any key is open: the key store is not touched again.
#[test]
fn a_denied_command_is_latched() {
    let plugin = Fake::default();
    let (code, answers) = session(
        &plugin,
        &[
            line(1, "open", json!({"contractVersion": "1.0"})),
            line(2, "create-key", create("")),
            line(3, "create-key", create("denied")),
            line(4, "create-key", create("new")),
            line(5, "list-keys", json!({"contractVersion": "1.0"})),
            open_line("k"),
            line(7, "get-plugin-metadata", json!({})),
        ],
    );
    assert_eq!(code, 0);
    assert_eq!(answers[1]["error"]["errorMessage"], "keyId is empty");
    for answer in &answers[2..6] {
        assert_eq!(answer["error"]["errorMessage"], "wrong PIN");
    }
    assert_eq!(answers[6]["response"]["name"], "fake");
    assert_eq!(plugin.created.load(Ordering::SeqCst), 1);
    assert_eq!(plugin.opened.load(Ordering::SeqCst), 0);
}

/// What can't be asked in a session, and what the plugin can't do, is refused by name.
#[test]
fn commands_that_a_session_does_not_have() {
    let store = line(1, "open", json!({"contractVersion": "1.0"}));
    for command in [
        "sign-digest",
        "generate-signature",
        "session",
        "attest-key",
        "generate-test-key",
        "verify-signature",
    ] {
        let lines = [store.clone(), line(2, command, sign_request("k"))];
        let (_, answers) = session(&Fake::default(), &lines);
        let text = answers[1]["error"]["errorMessage"].as_str().unwrap();
        assert_eq!(
            text,
            format!("{command:?} is not a command of this session")
        );
    }
    let import = |chain: Value| {
        let request = json!({
            "contractVersion": "1.0", "keyId": "k", "certificateChain": chain,
        });
        let error = fails("import-certificates", &request.to_string());
        error.error_message.unwrap()
    };
    assert_eq!(
        import(json!(["AQ=="])),
        "this plugin can't store certificates"
    );
    assert_eq!(import(json!([])), "certificateChain is empty");
    let mut policy = create("k");
    policy["pinPolicy"] = json!("sometimes");
    let error = fails("create-key", &policy.to_string());
    assert_eq!(
        error.error_message.as_deref(),
        Some("unknown PIN policy \"sometimes\"")
    );
    let error = fails("create-key", &create("there").to_string());
    assert_eq!(error.question(), Some("Replace the key \"there\"?"));
}

/// A setting that the plugin doesn't declare is refused by each command, before the key store is
/// touched.
#[test]
fn unknown_settings_are_refused() {
    for (command, mut request) in [
        ("describe-key", sign_request("k")),
        ("generate-signature", sign_request("k")),
        ("create-key", create("k")),
        ("list-keys", json!({"contractVersion": "1.0"})),
    ] {
        request["pluginConfig"] = json!({"a": "1"});
        let (code, ..) = call(command, &request.to_string());
        assert_eq!(code, 0, "{command}");
        request["pluginConfig"] = json!({"A": "secret"});
        let error = fails(command, &request.to_string());
        assert_eq!(
            error.error_message.as_deref(),
            Some("plugin fake has no setting \"A\"")
        );
        assert_eq!(error.hint(), Some("did you mean a?"));
    }
    let open = json!({"contractVersion": "1.0", "keyId": "k", "pluginConfig": {"b": "1"}});
    let plugin = Fake::default();
    let (_, answers) = session(&plugin, &[line(1, "open", open)]);
    assert!(
        answers[0]["error"]["errorMessage"]
            .as_str()
            .unwrap()
            .contains("\"b\"")
    );
    assert_eq!(plugin.opened.load(Ordering::SeqCst), 0);
}
