//! Azure Key Vault in small, with the service that gives its tokens: keys and versions, signatures,
//! certificates. It is the vault and `login.microsoftonline.com` at once, behind a proxy of its own with
//! TLS, because clients compare the vault's host with its challenge. Written from the service's public
//! reference; its own Python client reads it too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{self, Reply, Request, decoded};
use super::signer::{Padding, Signer, from_pem};
use super::{Fake, Fault, Manner, lock, spoiled};
use crate::cloud::{CloudKey, bench};
use crate::workbench::Workbench;
use crate::{keys, run};

/// The vault.
pub const VAULT: &str = "contoso.vault.azure.net";

/// The managed HSM: the same keys under another host.
pub const HSM: &str = "contoso.managedhsm.azure.net";

pub const TENANT: &str = "11111111-2222-3333-4444-555555555555";
pub const CLIENT: &str = "66666666-7777-8888-9999-000000000000";

/// The client's secret, and what its workload identity and its managed identity are known by.
pub const SECRET: &str = "client-secret-of-the-tests";
pub const ASSERTION: &str = "assertion-of-the-tests";
pub const IDENTITY: &str = "identity-header-of-the-tests";

/// What every token of the fake begins with.
pub const TOKEN: &str = "token-of-the-tests-";

const LOGIN: &str = "login.microsoftonline.com";

/// The metadata server of virtual machines.
const MACHINE: &str = "169.254.169.254";

/// A running fake; its threads end with the process.
pub struct FakeKeyVault {
    home: TempDir,
    proxy: u16,
    identity: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    keys: Mutex<BTreeMap<String, Vec<Version>>>,
    manner: Manner,
    /// The tokens that were given, with their scope.
    tokens: Mutex<Vec<(String, String)>>,
}

struct Version {
    signer: Arc<Signer>,
    kty: String,
    operations: Vec<&'static str>,
    enabled: bool,
    /// DER; a key with a certificate is managed.
    certificate: Option<Vec<u8>>,
}

/// An error answer: HTTP status, code, inner code, message.
struct Refusal(u16, &'static str, &'static str, String);

impl FakeKeyVault {
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let config = Arc::new(tls(home.path()));
        let handler = Arc::new(move |request: &Request| shared.answer(request));
        let proxy = http::serve_as_proxy(config, handler);
        let shared = Arc::clone(&state);
        let identity = http::serve(Arc::new(move |request: &Request| shared.identity(request)));
        Self {
            home,
            proxy,
            identity,
            state,
        }
    }

    /// A fake with one key, `release` on P-256; the bench of a client; and the key, without a version.
    pub fn with_release() -> (Self, Workbench, CloudKey) {
        let fake = Self::start();
        let spec = KeySpec::Ec256;
        let address = fake.add("release", "EC", spec, &keys::key(spec).key);
        let bench = bench(&fake.environment());
        let (address, _) = address.rsplit_once('/').unwrap();
        let key = Self::key(address, spec);
        (fake, bench, key)
    }

    /// A key by its id, with the chain of the test key that it is.
    pub fn key(id: impl Into<String>, spec: KeySpec) -> CloudKey {
        CloudKey::new("azurekms", id).with("cert-chain", keys::key(spec).chain.display())
    }

    /// The way to the vault, without any credential.
    pub fn network(&self) -> Vec<(&'static str, String)> {
        let proxy = format!("http://127.0.0.1:{}", self.proxy);
        let certificate = self.home.path().join("tls.crt").display().to_string();
        vec![
            ("HTTPS_PROXY", proxy.clone()),
            ("https_proxy", proxy),
            ("SSL_CERT_FILE", certificate.clone()),
            ("REQUESTS_CA_BUNDLE", certificate),
        ]
    }

    /// The environment of a client with a secret.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let secret = ("AZURE_CLIENT_SECRET", SECRET.to_owned());
        [self.network(), self.client(), vec![secret]].concat()
    }

    /// The environment of a pod with workload identity.
    pub fn workload_identity(&self) -> Vec<(&'static str, String)> {
        let file = self.home.path().join("assertion");
        fs::write(&file, ASSERTION).unwrap();
        let file = ("AZURE_FEDERATED_TOKEN_FILE", file.display().to_string());
        [self.network(), self.client(), vec![file]].concat()
    }

    /// The environment of an application with a managed identity.
    pub fn managed_identity(&self) -> Vec<(&'static str, String)> {
        let endpoint = format!("http://127.0.0.1:{}/msi/token", self.identity);
        let own = vec![
            ("IDENTITY_ENDPOINT", endpoint),
            ("IDENTITY_HEADER", IDENTITY.to_owned()),
        ];
        [self.network(), own].concat()
    }

    /// The environment of a virtual machine: its metadata server is reached through the proxy, since the
    /// client knows no other address for it.
    pub fn virtual_machine(&self) -> Vec<(&'static str, String)> {
        let proxy = format!("http://127.0.0.1:{}", self.proxy);
        [self.network(), vec![("http_proxy", proxy)]].concat()
    }

    fn client(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_TENANT_ID", TENANT.to_owned()),
            ("AZURE_CLIENT_ID", CLIENT.to_owned()),
        ]
    }

    /// A token as `az` would have it.
    pub fn token(&self) -> String {
        self.state.give("https://vault.azure.net/.default")
    }

    /// Adds a key of type `RSA`, `RSA-HSM`, `EC` or `EC-HSM`, or a version to one, that openssl made;
    /// its own address.
    pub fn add(&self, name: &str, kty: &str, spec: KeySpec, key: &Path) -> String {
        let version = Version {
            signer: Arc::new(Signer::read(spec, key)),
            kty: kty.to_owned(),
            operations: vec!["sign", "verify"],
            enabled: true,
            certificate: None,
        };
        let mut keys = lock(&self.state.keys);
        let versions = keys.entry(name.to_owned()).or_default();
        versions.push(version);
        address(VAULT, name, versions.len())
    }

    /// Gives the newest version of a key a certificate (DER).
    pub fn certify(&self, name: &str, certificate: &Path) {
        self.newest(name, |version| {
            version.certificate = Some(fs::read(certificate).unwrap());
        });
    }

    pub fn disable(&self, name: &str) {
        self.newest(name, |version| version.enabled = false);
    }

    /// What the newest version of a key is for.
    pub fn allow(&self, name: &str, operations: &[&'static str]) {
        self.newest(name, |version| version.operations = operations.to_vec());
    }

    pub fn delete(&self, name: &str) {
        lock(&self.state.keys).remove(name);
    }

    fn newest(&self, name: &str, change: impl FnOnce(&mut Version)) {
        let mut keys = lock(&self.state.keys);
        change(keys.get_mut(name).unwrap().last_mut().unwrap());
    }

    /// The public key of a version, PEM.
    pub fn public_pem(&self, name: &str, version: usize) -> String {
        let keys = lock(&self.state.keys);
        let version = &keys.get(name).unwrap()[version - 1];
        version.signer.public_pem().to_owned()
    }
}

impl Fake for FakeKeyVault {
    fn manner(&self) -> &Manner {
        &self.state.manner
    }
}

impl State {
    fn answer(&self, request: &Request) -> Reply {
        let Request { method, path, .. } = request;
        self.manner.take(format!("{method} {}{path}", request.host));
        let fault = self.manner.faults.meet(request);
        if request.host == LOGIN {
            return spoiled(fault, self.login(request, fault));
        }
        if request.host == MACHINE {
            return spoiled(fault, self.machine(request, fault));
        }
        if fault == Some(Fault::Expired) || !self.may(request) {
            let domain = request
                .host
                .split_once('.')
                .map_or("", |(_, domain)| domain);
            let challenge = format!(
                "Bearer authorization=\"https://{LOGIN}/{TENANT}\", resource=\"https://{domain}\""
            );
            let refusal = Refusal(
                401,
                "Unauthorized",
                "",
                "AKV10000: Request is missing a Bearer or PoP token.".to_owned(),
            );
            let reply = refusal.reply().with("Date", self.manner.clock.date());
            return reply.with("WWW-Authenticate", challenge);
        }
        let answered = self.refuse(request, fault).and_then(|()| {
            let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
            match method.as_str() {
                "GET" => self.get(&request.host, &parts, fault),
                "POST" => self.post(&request.host, &parts, &request.json(), fault),
                _ => Err(Refusal(405, "MethodNotAllowed", "", method.clone())),
            }
        });
        let reply = match answered {
            Ok(value) => Reply::json(200, &value),
            Err(refusal) => refusal.reply(),
        };
        spoiled(fault, reply)
    }

    /// The token service: a client with its secret or its assertion, and what clients look up first.
    fn login(&self, request: &Request, fault: Option<Fault>) -> Reply {
        let base = format!("https://{LOGIN}/{TENANT}");
        if request.path.ends_with("/.well-known/openid-configuration") {
            return Reply::json(
                200,
                &json!({
                    "token_endpoint": format!("{base}/oauth2/v2.0/token"),
                    "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
                    "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
                    "issuer": format!("{base}/v2.0"),
                }),
            );
        }
        if request.path.contains("/discovery/instance") {
            let found = format!("{base}/v2.0/.well-known/openid-configuration");
            return Reply::json(
                200,
                &json!({"tenant_discovery_endpoint": found, "metadata": []}),
            );
        }
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let field = |name: &str| {
            let mut pairs = body.split('&').filter_map(|part| part.split_once('='));
            let found = pairs.find(|(known, _)| *known == name);
            found.map(|(_, value)| decoded(value)).unwrap_or_default()
        };
        if let Some(reply) = busy(fault) {
            return reply;
        }
        let known = field("client_id") == CLIENT
            && request.path == format!("/{TENANT}/oauth2/v2.0/token")
            && field("grant_type") == "client_credentials"
            && (field("client_secret") == SECRET || field("client_assertion") == ASSERTION);
        if fault == Some(Fault::Expired) {
            let description = match field("client_assertion").as_str() {
                "" => "AADSTS7000222: The provided client secret keys for app are expired.",
                _ => "AADSTS700024: Client assertion is not within its valid time range.",
            };
            let body = json!({"error": "invalid_client", "error_description": description});
            return Reply::json(401, &body);
        }
        if fault == Some(Fault::Denied) || !known {
            let description = "AADSTS7000215: Invalid client secret provided.";
            let body = json!({"error": "invalid_client", "error_description": description});
            return Reply::json(401, &body);
        }
        let scope = field("scope");
        let scope = scope.split(' ').next().unwrap_or_default();
        let token = self.give(scope);
        Reply::json(
            200,
            &json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token}),
        )
    }

    /// The endpoint of managed identities.
    fn identity(&self, request: &Request) -> Reply {
        self.manner
            .take(format!("{} identity{}", request.method, request.path));
        if let Some(reply) = busy(self.manner.faults.meet(request)) {
            return reply;
        }
        if request.header("x-identity-header") != Some(IDENTITY) {
            return Reply::json(
                401,
                &json!({"statusCode": 401, "message": "no identity header"}),
            );
        }
        self.of_identity(request)
    }

    /// The metadata server of a virtual machine.
    fn machine(&self, request: &Request, fault: Option<Fault>) -> Reply {
        let known = request.path == "/metadata/identity/oauth2/token"
            && request.header("metadata") == Some("true")
            && request.parameter("api-version").is_some();
        match (known, fault) {
            (true, None) => self.of_identity(request),
            _ => Reply::json(400, &json!({"error": "invalid_request"})),
        }
    }

    /// A token of a managed identity.
    fn of_identity(&self, request: &Request) -> Reply {
        let resource = request.parameter("resource").unwrap_or_default();
        let token = self.give(&format!("{resource}/.default"));
        Reply::json(
            200,
            &json!({
                "access_token": token,
                "expires_on": "4000000000",
                "resource": resource,
                "token_type": "Bearer",
                "client_id": CLIENT,
            }),
        )
    }

    fn give(&self, scope: &str) -> String {
        let mut tokens = lock(&self.tokens);
        let token = format!("{TOKEN}{}", tokens.len());
        tokens.push((token.clone(), scope.to_owned()));
        token
    }

    /// Whether the request has a token for this service.
    fn may(&self, request: &Request) -> bool {
        let token = request.header("authorization");
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        let domain = request
            .host
            .split_once('.')
            .map_or("", |(_, domain)| domain);
        let scope = format!("https://{domain}/.default");
        let tokens = lock(&self.tokens);
        tokens
            .iter()
            .any(|(known, of)| token == Some(known) && *of == scope)
    }

    fn refuse(&self, request: &Request, fault: Option<Fault>) -> Result<(), Refusal> {
        Err(match fault {
            Some(Fault::Throttled(_)) => Refusal(
                429,
                "Throttled",
                "",
                "Request was not processed because too many requests were received.".to_owned(),
            ),
            Some(Fault::Broken(_)) => {
                let message = "An internal server error occurred.";
                Refusal(500, "InternalServerError", "", message.to_owned())
            }
            Some(Fault::Denied) => Refusal(
                403,
                "Forbidden",
                "ForbiddenByRbac",
                format!(
                    "Caller is not authorized to perform action on resource {}.",
                    request.path
                ),
            ),
            _ => return Ok(()),
        })
    }

    fn get(&self, host: &str, parts: &[&str], fault: Option<Fault>) -> Result<Value, Refusal> {
        let keys = lock(&self.keys);
        match parts {
            ["keys"] => {
                let names = keys.iter();
                let all: Vec<Value> = names
                    .map(|(name, versions)| {
                        let newest = versions.last().unwrap();
                        newest.listed(&format!("https://{host}/keys/{name}"))
                    })
                    .collect();
                Ok(json!({"value": all, "nextLink": null}))
            }
            ["keys", name, "versions"] => {
                let versions = keys.get(*name).ok_or_else(|| missing(name))?.iter();
                let all = versions.enumerate();
                let all: Vec<Value> = all
                    .map(|(n, version)| version.listed(&address(host, name, n + 1)))
                    .collect();
                Ok(json!({"value": all, "nextLink": null}))
            }
            ["keys", name, rest @ ..] => {
                let versions = keys.get(*name).ok_or_else(|| missing(name))?;
                let number = number(versions, name, rest.first().copied())?;
                Ok(versions[number - 1].json(host, name, number, fault))
            }
            ["certificates", name, version] => {
                let versions = keys.get(*name).ok_or_else(|| missing(name))?;
                let number = number(versions, name, Some(version))?;
                let certificate = versions[number - 1].certificate.as_ref();
                let certificate = certificate.ok_or_else(|| missing(name))?;
                Ok(json!({
                    "id": address(host, name, number).replace("/keys/", "/certificates/"),
                    "kid": address(host, name, number),
                    "sid": address(host, name, number).replace("/keys/", "/secrets/"),
                    "cer": STANDARD.encode(certificate),
                    "attributes": attributes(true),
                }))
            }
            _ => Err(missing(&parts.join("/"))),
        }
    }

    fn post(
        &self,
        host: &str,
        parts: &[&str],
        body: &Value,
        fault: Option<Fault>,
    ) -> Result<Value, Refusal> {
        match parts {
            ["keys", name, "create"] => {
                let version = Version::make(name, body, &self.keys)?;
                let mut keys = lock(&self.keys);
                let versions = keys.entry((*name).to_owned()).or_default();
                versions.push(version);
                let number = versions.len();
                Ok(versions[number - 1].json(host, name, number, fault))
            }
            ["keys", name, version, "sign"] => {
                let keys = lock(&self.keys);
                let versions = keys.get(*name).ok_or_else(|| missing(name))?;
                let number = number(versions, name, Some(version))?;
                let version = &versions[number - 1];
                version.may("sign")?;
                let signer = Arc::clone(&version.signer);
                drop(keys);
                let kid = match fault {
                    Some(Fault::AnotherVersion) => address(host, name, number + 1),
                    _ => address(host, name, number),
                };
                sign(&signer, body, &kid, fault)
            }
            _ => Err(missing(&parts.join("/"))),
        }
    }
}

impl Version {
    fn json(&self, host: &str, name: &str, number: usize, fault: Option<Fault>) -> Value {
        let kid = match fault {
            Some(Fault::AnotherVersion) => address(host, "other", number),
            _ => address(host, name, number),
        };
        let signer = match fault {
            Some(Fault::AnotherKey) => another(self.signer.spec),
            _ => Arc::clone(&self.signer),
        };
        let mut key = json!({"kid": kid, "kty": self.kty, "key_ops": self.operations});
        if signer.spec.is_rsa() {
            key["n"] = URL_SAFE_NO_PAD.encode(signer.modulus()).into();
            key["e"] = "AQAB".into();
        } else {
            let (x, y) = signer.point();
            key["crv"] = signer.spec.name().replace("EC-", "P-").into();
            key["x"] = URL_SAFE_NO_PAD.encode(x).into();
            key["y"] = URL_SAFE_NO_PAD.encode(y).into();
        }
        let mut answer = json!({"key": key, "attributes": attributes(self.enabled), "tags": {}});
        if self.certificate.is_some() {
            answer["managed"] = true.into();
        }
        answer
    }

    fn listed(&self, kid: &str) -> Value {
        json!({"kid": kid, "attributes": attributes(self.enabled)})
    }

    fn may(&self, operation: &str) -> Result<(), Refusal> {
        if !self.enabled {
            let message = format!("Operation {operation} is not allowed on a disabled key.");
            return Err(Refusal(403, "Forbidden", "KeyDisabled", message));
        }
        if !self.operations.contains(&operation) {
            let message = format!("Operation {operation} is not permitted on this key.");
            return Err(Refusal(403, "Forbidden", "KeyOperationForbidden", message));
        }
        Ok(())
    }

    fn make(
        name: &str,
        body: &Value,
        keys: &Mutex<BTreeMap<String, Vec<Self>>>,
    ) -> Result<Self, Refusal> {
        let invalid = || Refusal(400, "BadParameter", "", format!("{body} makes no key."));
        let kty = body["kty"].as_str().ok_or_else(invalid)?;
        let spec = match (kty, body["key_size"].as_u64(), body["crv"].as_str()) {
            ("RSA" | "RSA-HSM", Some(2048), None) => KeySpec::Rsa2048,
            ("RSA" | "RSA-HSM", Some(3072), None) => KeySpec::Rsa3072,
            ("RSA" | "RSA-HSM", Some(4096), None) => KeySpec::Rsa4096,
            ("EC" | "EC-HSM", None, Some("P-256")) => KeySpec::Ec256,
            ("EC" | "EC-HSM", None, Some("P-384")) => KeySpec::Ec384,
            ("EC" | "EC-HSM", None, Some("P-521")) => KeySpec::Ec521,
            _ => return Err(invalid()),
        };
        if body["key_ops"] != json!(["sign", "verify"]) {
            return Err(invalid());
        }
        let number = lock(keys).get(name).map_or(0, Vec::len) + 1;
        let key = keys::named(spec, &format!("azure {name} {number} {}", spec.name())).key;
        Ok(Self {
            signer: Arc::new(Signer::read(spec, &key)),
            kty: kty.to_owned(),
            operations: vec!["sign", "verify"],
            enabled: true,
            certificate: None,
        })
    }
}

fn sign(
    signer: &Arc<Signer>,
    body: &Value,
    kid: &str,
    fault: Option<Fault>,
) -> Result<Value, Refusal> {
    let invalid = |message: &str| Refusal(400, "BadParameter", "", message.to_owned());
    let algorithm = body["alg"].as_str().unwrap_or_default();
    let hash = match algorithm.get(2..) {
        Some("256") => HashAlgorithm::Sha256,
        Some("384") => HashAlgorithm::Sha384,
        Some("512") => HashAlgorithm::Sha512,
        _ => return Err(invalid("The algorithm is not known.")),
    };
    let padding = match (algorithm.get(..2), signer.spec.is_rsa()) {
        (Some("PS"), true) if fault == Some(Fault::WrongSalt) => Padding::PssWithoutSalt,
        (Some("PS"), true) => Padding::Pss,
        (Some("RS"), true) => Padding::Pkcs1,
        (Some("ES"), false) if signer.spec.hash() == hash => Padding::Pss,
        _ => return Err(invalid("Key and signing algorithm are incompatible.")),
    };
    let digest = body["value"]
        .as_str()
        .map(|text| text.trim_end_matches('='));
    let digest = digest.and_then(|digest| URL_SAFE_NO_PAD.decode(digest).ok());
    let digest = digest
        .filter(|digest| digest.len() == hash.name()[4..].parse::<usize>().unwrap() / 8)
        .ok_or_else(|| invalid("Invalid length of 'value'."))?;
    let signer = match fault {
        Some(Fault::AnotherKey) => another(signer.spec),
        _ => Arc::clone(signer),
    };
    let mut signature = signer.sign(hash, padding, &digest);
    if !signer.spec.is_rsa() {
        signature = fixed(&signature, signer.spec.signature_len() / 2);
    }
    if fault == Some(Fault::Short) {
        signature.truncate(16);
    }
    Ok(json!({"kid": kid, "value": URL_SAFE_NO_PAD.encode(signature)}))
}

/// An ECDSA signature in DER as two numbers of this length.
fn fixed(der: &[u8], length: usize) -> Vec<u8> {
    let mut rest = if der[1] < 0x80 { &der[2..] } else { &der[3..] };
    let mut all = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        all.extend(std::iter::repeat_n(0, length - number.len()));
        all.extend_from_slice(number);
        rest = after;
    }
    all
}

/// A key that is not the one that was asked for.
/// What a token service answers that has a problem, or too much to do.
fn busy(fault: Option<Fault>) -> Option<Reply> {
    match fault? {
        Fault::Broken(_) => Some(Reply::json(500, &json!({"error": "server_error"}))),
        Fault::Throttled(_) => {
            let body = json!({"error": "temporarily_unavailable", "error_description": "too many requests"});
            Some(Reply::json(429, &body).with("Retry-After", "1"))
        }
        _ => None,
    }
}

fn another(spec: KeySpec) -> Arc<Signer> {
    let key = keys::named(spec, &format!("another {}", spec.name())).key;
    Arc::new(Signer::read(spec, &key))
}

fn address(host: &str, name: &str, number: usize) -> String {
    format!("https://{host}/keys/{name}/{number:032x}")
}

fn number(versions: &[Version], name: &str, id: Option<&str>) -> Result<usize, Refusal> {
    match id.filter(|id| !id.is_empty()) {
        None => Ok(versions.len()),
        Some(id) => (1..=versions.len())
            .find(|number| format!("{number:032x}") == id)
            .ok_or_else(|| missing(name)),
    }
}

fn missing(name: &str) -> Refusal {
    Refusal(
        404,
        "KeyNotFound",
        "",
        format!(
            "A key with (name/id) {name} was not found in this key vault. If you recently deleted this key you may be able to recover it."
        ),
    )
}

impl Refusal {
    fn reply(&self) -> Reply {
        let Self(status, code, inner, message) = self;
        let mut error = json!({"code": code, "message": message});
        if !inner.is_empty() {
            error["innererror"] = json!({ "code": inner });
        }
        let reply = Reply::json(*status, &json!({ "error": error }));
        match status {
            429 => reply.with("Retry-After", "1"),
            _ => reply,
        }
    }
}

/// The attributes of every key.
fn attributes(enabled: bool) -> Value {
    json!({
        "enabled": enabled,
        "created": 1_767_322_984,
        "updated": 1_767_322_984,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": 90,
        "exportable": false,
    })
}

/// One certificate for all hosts, which is its own CA.
fn tls(home: &Path) -> ServerConfig {
    let file = |name: &str| -> PathBuf { home.join(name) };
    let names = format!("subjectAltName=DNS:{VAULT},DNS:{HSM},DNS:{LOGIN}");
    run(Command::new("openssl")
        .current_dir(home)
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(' '))
        .args(["-subj", "/CN=fake vault", "-addext", &names])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "tls.key", "-out", "tls.crt"]));
    let pem = fs::read_to_string(file("tls.crt")).unwrap();
    let certificate = CertificateDer::from(from_pem(&pem));
    let key = PrivateKeyDer::from_pem_file(file("tls.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}
