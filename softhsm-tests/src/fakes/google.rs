//! Google Cloud KMS in small, over REST: key rings, keys and versions, the public key, signatures. Written
//! from the service's public reference; its own Python client reads it too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{self, Reply, Request};
use super::signer::{Padding, Signer};
use super::{Fake, Fault, Manner, lock, spoiled};
use crate::cloud::{CloudKey, bench};
use crate::keys;
use crate::workbench::Workbench;

mod identity;

pub use self::identity::{AWS_ACCESS_KEY, REQUEST, SUBJECT, TOKEN};

/// The key ring of all keys.
pub const RING: &str = "projects/acme/locations/europe-west3/keyRings/ci";

/// The resource name of a key.
pub fn name(key: &str) -> String {
    format!("{RING}/cryptoKeys/{key}")
}

/// The caller.
const ACCOUNT: &str = "signer@acme.iam.gserviceaccount.com";

/// How often a new version is looked up before it is there.
const MAKING: u32 = 2;

/// A running fake; its threads end with the process.
pub struct FakeCloudKms {
    home: TempDir,
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    keys: Mutex<BTreeMap<String, Key>>,
    manner: Manner,
    /// Whose tokens are good.
    account: Mutex<Option<Signer>>,
    /// Tokens that were given for this service.
    tokens: Mutex<Vec<String>>,
}

struct Key {
    purpose: &'static str,
    algorithm: String,
    protection: String,
    versions: Vec<Version>,
}

struct Version {
    state: &'static str,
    /// Look-ups until it is made.
    making: u32,
    signer: Option<Arc<Signer>>,
}

/// An error answer: HTTP status, code, message.
struct Refusal(u16, &'static str, String);

impl FakeCloudKms {
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let account = keys::named(KeySpec::Rsa2048, "service account").key;
        let state = Arc::new(State::default());
        *lock(&state.account) = Some(Signer::read(KeySpec::Rsa2048, &account));
        let shared = Arc::clone(&state);
        let port = http::serve(Arc::new(move |request: &Request| shared.answer(request)));
        let fake = Self { home, port, state };
        fake.write_credentials("credentials.json", &account);
        fake
    }

    /// A fake with one key, `release` on P-256; the bench of a client; and the key.
    pub fn with_release() -> (Self, Workbench, CloudKey) {
        let fake = Self::start();
        let spec = KeySpec::Ec256;
        fake.add("release", "EC_SIGN_P256_SHA256", spec, &keys::key(spec).key);
        let bench = bench(&fake.environment());
        let key = fake.key(format!("gcpkms://{}", name("release")), spec);
        (fake, bench, key)
    }

    /// A key of the fake by its id, with the chain of the test key that it is.
    pub fn key(&self, id: impl Into<String>, spec: KeySpec) -> CloudKey {
        CloudKey::new("gcpkms", id)
            .with("endpoint", self.endpoint())
            .with("cert-chain", keys::key(spec).chain.display())
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The credentials file of the service account.
    pub fn credentials(&self) -> PathBuf {
        self.home.path().join("credentials.json")
    }

    /// Writes credentials of the account with another private key.
    pub fn write_credentials(&self, name: &str, key: &Path) -> PathBuf {
        let file = self.home.path().join(name);
        let credentials = json!({
            "type": "service_account",
            "project_id": "acme",
            "private_key_id": "1",
            "private_key": fs::read_to_string(key).unwrap(),
            "client_email": ACCOUNT,
            "client_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
        });
        fs::write(&file, credentials.to_string()).unwrap();
        file
    }

    /// The environment of a client.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let file = self.credentials().display().to_string();
        vec![("GOOGLE_APPLICATION_CREDENTIALS", file)]
    }

    /// Adds a signing key, or a version to one, with a private key that openssl made.
    pub fn add(&self, name: &str, algorithm: &str, spec: KeySpec, key: &Path) {
        let version = Version {
            state: "ENABLED",
            making: 0,
            signer: Some(Arc::new(Signer::read(spec, key))),
        };
        lock(&self.state.keys)
            .entry(name.to_owned())
            .or_insert_with(|| Key {
                purpose: "ASYMMETRIC_SIGN",
                algorithm: algorithm.to_owned(),
                protection: "HSM".to_owned(),
                versions: Vec::new(),
            })
            .versions
            .push(version);
    }

    /// Adds a key that encrypts.
    pub fn add_symmetric(&self, name: &str) {
        let version = Version {
            state: "ENABLED",
            making: 0,
            signer: None,
        };
        let key = Key {
            purpose: "ENCRYPT_DECRYPT",
            algorithm: "GOOGLE_SYMMETRIC_ENCRYPTION".to_owned(),
            protection: "SOFTWARE".to_owned(),
            versions: vec![version],
        };
        lock(&self.state.keys).insert(name.to_owned(), key);
    }

    /// Sets the state of a version, for instance `DISABLED`.
    pub fn set_state(&self, name: &str, version: usize, state: &'static str) {
        let mut keys = lock(&self.state.keys);
        keys.get_mut(name).unwrap().versions[version - 1].state = state;
    }

    /// The public key of a version, PEM.
    pub fn public_pem(&self, name: &str, version: usize) -> String {
        let keys = lock(&self.state.keys);
        let signer = &keys.get(name).unwrap().versions[version - 1].signer;
        signer.as_ref().unwrap().public_pem().to_owned()
    }
}

impl Fake for FakeCloudKms {
    fn manner(&self) -> &Manner {
        &self.state.manner
    }
}

impl State {
    fn answer(&self, request: &Request) -> Reply {
        self.manner
            .take(format!("{} {}", request.method, request.path));
        let fault = self.manner.faults.meet(request);
        if let Some(reply) = self.identity(request, fault) {
            return spoiled(fault, reply);
        }
        let answered = self.refuse(request, fault).and_then(|()| {
            let path = request.path.strip_prefix("/v1/").unwrap_or_default();
            match request.method.as_str() {
                "GET" => self.get(path, request, fault),
                "POST" => self.post(path, request, fault),
                other => Err(Refusal(405, "UNIMPLEMENTED", other.to_owned())),
            }
        });
        let reply = match answered {
            Ok(value) => Reply::json(200, &value),
            Err(Refusal(code, status, message)) => {
                let error = json!({"code": code, "message": message, "status": status});
                Reply::json(code, &json!({ "error": error }))
            }
        };
        spoiled(fault, reply.with("Date", self.manner.clock.date()))
    }

    /// Why a request is not looked at.
    fn refuse(&self, request: &Request, fault: Option<Fault>) -> Result<(), Refusal> {
        let refusal = match fault {
            Some(Fault::Throttled(_)) => Refusal(
                429,
                "RESOURCE_EXHAUSTED",
                "Quota exceeded for quota metric 'Cryptographic requests'".to_owned(),
            ),
            Some(Fault::Broken(_)) => Refusal(500, "INTERNAL", "Internal error.".to_owned()),
            Some(Fault::Denied) => Refusal(
                403,
                "PERMISSION_DENIED",
                format!(
                    "Permission denied on resource '{}' (or it may not exist).",
                    request.path
                ),
            ),
            _ if fault == Some(Fault::Expired) || !self.may(request) => Refusal(
                401,
                "UNAUTHENTICATED",
                "Request had invalid authentication credentials.".to_owned(),
            ),
            _ => return Ok(()),
        };
        Err(refusal)
    }

    /// Whether the request has a token that was given for this service, or that the account signed for it.
    fn may(&self, request: &Request) -> bool {
        let token = request.header("authorization");
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        if token.is_some_and(|token| lock(&self.tokens).iter().any(|known| known == token)) {
            return true;
        }
        let account = lock(&self.account);
        let claims = account.as_ref().and_then(|account| account.claims(token?));
        let Some(claims) = claims else {
            return false;
        };
        let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        let now = self.manner.clock.now().as_second();
        let scoped = text("scope").contains("https://www.googleapis.com/auth/cloud")
            || text("aud") == "https://cloudkms.googleapis.com/";
        text("iss") == ACCOUNT
            && scoped
            && claims["exp"].as_i64().is_some_and(|end| end > now)
            && claims["iat"].as_i64().is_some_and(|begin| begin <= now)
    }

    fn get(&self, path: &str, request: &Request, fault: Option<Fault>) -> Result<Value, Refusal> {
        if path == "projects/acme/locations/europe-west3/keyRings" {
            return Ok(json!({"keyRings": [{"name": RING}], "totalSize": 1}));
        }
        let rest = path.strip_prefix(RING).ok_or_else(|| missing(path))?;
        let parts: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
        let mut keys = lock(&self.keys);
        match parts.as_slice() {
            ["cryptoKeys"] => {
                let filter = request.parameter("filter").unwrap_or_default();
                let purpose = filter.strip_prefix("purpose=");
                let shown = keys
                    .iter()
                    .filter(|(_, key)| purpose.is_none_or(|purpose| purpose == key.purpose));
                let shown: Vec<Value> = shown.map(|(name, key)| key.json(name)).collect();
                Ok(json!({"cryptoKeys": shown, "totalSize": shown.len()}))
            }
            ["cryptoKeys", name] => {
                let key = keys.get(*name).ok_or_else(|| missing(path))?;
                Ok(key.json(name))
            }
            ["cryptoKeys", name, "cryptoKeyVersions"] => {
                let key = keys.get(*name).ok_or_else(|| missing(path))?;
                let filter = request.parameter("filter").unwrap_or_default();
                let state = filter.strip_prefix("state=");
                let versions = (1..=key.versions.len())
                    .filter(|n| state.is_none_or(|state| state == key.versions[n - 1].state));
                let versions: Vec<Value> = versions.map(|n| key.version(name, n)).collect();
                Ok(json!({"cryptoKeyVersions": versions, "totalSize": versions.len()}))
            }
            ["cryptoKeys", name, "cryptoKeyVersions", number] => {
                let key = keys.get_mut(*name).ok_or_else(|| missing(path))?;
                let number = key.number(number, path)?;
                let version = &mut key.versions[number - 1];
                match version.making {
                    0 if version.state == "PENDING_GENERATION" => version.state = "ENABLED",
                    0 => {}
                    _ => version.making -= 1,
                }
                Ok(key.version(name, number))
            }
            ["cryptoKeys", name, "cryptoKeyVersions", number, "publicKey"] => {
                let key = keys.get(*name).ok_or_else(|| missing(path))?;
                let number = key.number(number, path)?;
                key.public(name, number, fault)
            }
            _ => Err(missing(path)),
        }
    }

    fn post(&self, path: &str, request: &Request, fault: Option<Fault>) -> Result<Value, Refusal> {
        let body = request.json();
        let rest = path.strip_prefix(RING).ok_or_else(|| missing(path))?;
        let parts: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
        let mut keys = lock(&self.keys);
        match parts.as_slice() {
            ["cryptoKeys"] => {
                let name = request.parameter("cryptoKeyId").unwrap_or_default();
                if keys.contains_key(&name) {
                    let message = format!("CryptoKey {path}/{name} already exists.");
                    return Err(Refusal(409, "ALREADY_EXISTS", message));
                }
                if !named(&body["purpose"], "ASYMMETRIC_SIGN", 5) {
                    let message = "Only signing keys are made here.".to_owned();
                    return Err(Refusal(400, "INVALID_ARGUMENT", message));
                }
                let template = &body["versionTemplate"];
                let mut key = Key {
                    purpose: "ASYMMETRIC_SIGN",
                    algorithm: enumerated(&template["algorithm"], &ALGORITHMS),
                    protection: enumerated(&template["protectionLevel"], &LEVELS),
                    versions: Vec::new(),
                };
                key.make(&name);
                let answer = key.json(&name);
                keys.insert(name, key);
                Ok(answer)
            }
            ["cryptoKeys", name, "cryptoKeyVersions"] => {
                let key = keys.get_mut(*name).ok_or_else(|| missing(path))?;
                key.make(name);
                Ok(key.version(name, key.versions.len()))
            }
            ["cryptoKeys", name, "cryptoKeyVersions", last] => {
                let key = keys.get(*name).ok_or_else(|| missing(path))?;
                let Some(number) = last.strip_suffix(":asymmetricSign") else {
                    return Err(missing(path));
                };
                let number = key.number(number, path)?;
                let signing = key.ready(name, number)?;
                // Signing may take a while, and others may go on.
                let (algorithm, name) = (key.algorithm.clone(), (*name).to_owned());
                drop(keys);
                sign(
                    &signing,
                    &algorithm,
                    &version_name(&name, number),
                    &body,
                    fault,
                )
            }
            _ => Err(missing(path)),
        }
    }
}

impl Key {
    fn json(&self, name: &str) -> Value {
        json!({
            "name": format!("{RING}/cryptoKeys/{name}"),
            "purpose": self.purpose,
            "createTime": "2026-01-02T03:04:05.678Z",
            "versionTemplate": {"algorithm": self.algorithm, "protectionLevel": self.protection},
            "destroyScheduledDuration": "2592000s",
        })
    }

    fn version(&self, name: &str, number: usize) -> Value {
        json!({
            "name": version_name(name, number),
            "state": self.versions[number - 1].state,
            "createTime": "2026-01-02T03:04:05.678Z",
            "protectionLevel": self.protection,
            "algorithm": self.algorithm,
        })
    }

    fn number(&self, text: &str, path: &str) -> Result<usize, Refusal> {
        let number = text.parse().ok();
        let number = number.filter(|number| (1..=self.versions.len()).contains(number));
        number.ok_or_else(|| missing(path))
    }

    /// The private key of a version that may be used.
    fn ready(&self, name: &str, number: usize) -> Result<Arc<Signer>, Refusal> {
        let version = &self.versions[number - 1];
        if version.state != "ENABLED" {
            let message = format!(
                "{} is not enabled, current state is: {}.",
                version_name(name, number),
                version.state
            );
            return Err(Refusal(400, "FAILED_PRECONDITION", message));
        }
        let signer = version.signer.clone();
        signer
            .filter(|_| self.purpose == "ASYMMETRIC_SIGN")
            .ok_or_else(|| {
                let message = format!("CryptoKey purpose {} is not supported.", self.purpose);
                Refusal(400, "INVALID_ARGUMENT", message)
            })
    }

    fn public(&self, name: &str, number: usize, fault: Option<Fault>) -> Result<Value, Refusal> {
        let signer = self.ready(name, number)?;
        let pem = match fault {
            Some(Fault::AnotherKey) => another(signer.spec).public_pem().to_owned(),
            _ => signer.public_pem().to_owned(),
        };
        let checksum = match fault {
            Some(Fault::WrongChecksum) => 1,
            _ => crc32c(pem.as_bytes()),
        };
        let named = match fault {
            Some(Fault::AnotherVersion) => version_name(name, number + 1),
            _ => version_name(name, number),
        };
        Ok(json!({
            "pem": pem,
            "algorithm": self.algorithm,
            "pemCrc32c": checksum.to_string(),
            "name": named,
            "protectionLevel": self.protection,
            "publicKeyFormat": "PEM",
        }))
    }

    /// A new version, of the key's algorithm.
    fn make(&mut self, name: &str) {
        let spec = match self.algorithm.as_str() {
            "RSA_SIGN_PSS_2048_SHA256" => KeySpec::Rsa2048,
            "RSA_SIGN_PSS_4096_SHA512" => KeySpec::Rsa4096,
            "EC_SIGN_P256_SHA256" => KeySpec::Ec256,
            "EC_SIGN_P384_SHA384" => KeySpec::Ec384,
            other => panic!("{other} is not made here"),
        };
        let number = self.versions.len() + 1;
        let key = keys::named(spec, &format!("google {name} {number} {}", spec.name())).key;
        self.versions.push(Version {
            state: "PENDING_GENERATION",
            making: MAKING,
            signer: Some(Arc::new(Signer::read(spec, &key))),
        });
    }
}

fn sign(
    signer: &Arc<Signer>,
    algorithm: &str,
    name: &str,
    body: &Value,
    fault: Option<Fault>,
) -> Result<Value, Refusal> {
    let invalid = |message: &str| Refusal(400, "INVALID_ARGUMENT", message.to_owned());
    let (hash, member) = match algorithm.rsplit('_').next() {
        Some("SHA256") => (HashAlgorithm::Sha256, "sha256"),
        Some("SHA384") => (HashAlgorithm::Sha384, "sha384"),
        Some("SHA512") => (HashAlgorithm::Sha512, "sha512"),
        _ => return Err(invalid("The key does not sign digests.")),
    };
    let digest = body["digest"][member].as_str();
    let digest = digest.and_then(|digest| STANDARD.decode(digest).ok());
    let digest = digest
        .filter(|digest| digest.len() == hash.name()[4..].parse::<usize>().unwrap() / 8)
        .ok_or_else(|| invalid("The digest's length is not that of the algorithm's."))?;
    let checked = match integer(&body["digestCrc32c"]) {
        Some(checksum) if checksum != crc32c(&digest) => {
            return Err(invalid(
                "The checksum in field digest_crc32c did not match.",
            ));
        }
        Some(_) => fault != Some(Fault::DigestLost),
        None => false,
    };
    let padding = match fault {
        Some(Fault::WrongSalt) => Padding::PssWithoutSalt,
        _ if algorithm.contains("PKCS1") => Padding::Pkcs1,
        _ => Padding::Pss,
    };
    let signer = match fault {
        Some(Fault::AnotherKey) => another(signer.spec),
        _ => Arc::clone(signer),
    };
    let mut signature = signer.sign(hash, padding, &digest);
    if fault == Some(Fault::Short) {
        signature.truncate(16);
    }
    let checksum = match fault {
        Some(Fault::WrongChecksum) => 1,
        _ => crc32c(&signature),
    };
    let named = match fault {
        Some(Fault::AnotherVersion) => format!("{name}0"),
        _ => name.to_owned(),
    };
    Ok(json!({
        "signature": STANDARD.encode(signature),
        "signatureCrc32c": checksum.to_string(),
        "verifiedDigestCrc32c": checked,
        "name": named,
        "protectionLevel": "HSM",
    }))
}

/// A key that is not the one that was asked for.
fn another(spec: KeySpec) -> Arc<Signer> {
    let key = keys::named(spec, &format!("another {}", spec.name())).key;
    Arc::new(Signer::read(spec, &key))
}

fn version_name(name: &str, number: usize) -> String {
    format!("{RING}/cryptoKeys/{name}/cryptoKeyVersions/{number}")
}

fn missing(path: &str) -> Refusal {
    Refusal(404, "NOT_FOUND", format!("{path} not found."))
}

/// An enumerated value: clients write its name or its number.
fn enumerated(value: &Value, known: &[(&str, i64)]) -> String {
    let found = known
        .iter()
        .find(|(name, number)| named(value, name, *number));
    found.map_or_else(|| value.to_string(), |(name, _)| (*name).to_owned())
}

fn named(value: &Value, name: &str, number: i64) -> bool {
    value.as_str() == Some(name) || value.as_i64() == Some(number)
}

/// A number, which JSON of protocol buffers may write as a string.
fn integer(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| number.try_into().ok()),
    }
}

const ALGORITHMS: [(&str, i64); 4] = [
    ("RSA_SIGN_PSS_2048_SHA256", 2),
    ("RSA_SIGN_PSS_4096_SHA512", 15),
    ("EC_SIGN_P256_SHA256", 12),
    ("EC_SIGN_P384_SHA384", 13),
];

const LEVELS: [(&str, i64); 2] = [("SOFTWARE", 1), ("HSM", 2)];

/// CRC-32C (RFC 3720 appendix B.4), bit by bit: not the library that the plugin uses.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let bit = crc & 1;
            crc >>= 1;
            if bit == 1 {
                crc ^= 0x82f6_3b78;
            }
        }
    }
    !crc
}
