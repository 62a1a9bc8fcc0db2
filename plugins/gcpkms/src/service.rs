//! Requests to the service, and the checks of what it answers.

use std::future::Future;

use google_cloud_gax::error::Error as CallError;
use google_cloud_kms_v1::client::KeyManagementService;
use google_cloud_kms_v1::model::crypto_key_version::{
    CryptoKeyVersionAlgorithm as Algorithm, CryptoKeyVersionState as State,
};
use google_cloud_kms_v1::model::{self, CryptoKeyVersion, ProtectionLevel};
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin::{Context, Error, KeyRequest};
use hardsign_plugin_kms::{
    Failure, Pace, check_endpoint, check_signature, environment, is_loopback, key_spec, number,
    public_key_pem,
};

use crate::error::{Asked, failed};
use crate::id::KeyName;
use crate::{SERVICE, credentials};

/// The most keys or versions in one answer.
const PAGE: i32 = 1000;

/// The most pages that are read of a list.
const MAX_PAGES: usize = 5;

/// The variable by which the service's own tool finds another address.
const ENDPOINT: &str = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS";

/// What signing needs.
const SIGN: &str =
    "cloudkms.cryptoKeyVersions.useToSign and viewPublicKey (role roles/cloudkms.signerVerifier)";

/// What looking for the newest version and lists need.
const VIEW: &str = "cloudkms.cryptoKeyVersions.list and cloudkms.cryptoKeys.list (role roles/cloudkms.viewer), or a key id with its version";

/// What making keys needs.
const CREATE: &str = "cloudkms.cryptoKeys.create, get and cloudkms.cryptoKeyVersions.create, get (role roles/cloudkms.admin)";

/// The service, with credentials that work.
pub(crate) struct Service {
    client: KeyManagementService,
    pub(crate) pace: Pace,
}

/// One version of a key that can make Notary Project signatures.
pub(crate) struct Version {
    /// Its resource name.
    pub(crate) name: String,
    pub(crate) public: PublicKey,
    pub(crate) spec: KeySpec,
    /// The service's own name of the algorithm, for instance `EC_SIGN_P384_SHA384`.
    pub(crate) algorithm: String,
    /// `SOFTWARE`, `HSM`, …
    pub(crate) protection: String,
}

impl Service {
    pub(crate) async fn open(request: &KeyRequest<'_>) -> Result<Self, Error> {
        let pace = Pace::new(SERVICE, number(request, "rate", 10_000)?);
        let given = request.setting("endpoint").map(str::to_owned);
        let given = given.or_else(|| environment(ENDPOINT));
        let endpoint = given.as_deref().map(endpoint).transpose()?;
        let client = credentials::client(endpoint.as_deref()).await?;
        Ok(Self { client, pace })
    }

    /// A request, repeated where that helps and does no harm.
    async fn ask<T, F>(
        &self,
        asked: Asked<'_>,
        context: &Context<'_>,
        send: impl Fn() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        self.pace
            .ask(context, || async {
                send().await.map_err(|error| failed(asked, &error))
            })
            .await
    }

    /// A version by its number; without one, the newest that is enabled.
    pub(crate) async fn version(
        &self,
        key: &KeyName,
        context: &Context<'_>,
    ) -> Result<Version, Error> {
        let name = match &key.version {
            Some(version) => key.of_version(version),
            None => self.newest(key, context).await?,
        };
        self.public_key(name, context).await
    }

    async fn newest(&self, key: &KeyName, context: &Context<'_>) -> Result<String, Error> {
        let versions = self.versions(key, "state=ENABLED", context).await?;
        let enabled = versions
            .into_iter()
            .filter(|version| version.state == State::Enabled);
        let newest = enabled
            .filter_map(|version| Some((number_of(&version.name)?, version.algorithm)))
            .max_by_key(|(number, _)| *number);
        let Some((number, algorithm)) = newest else {
            return Err(
                Error::validation(format!("{SERVICE}: {key} has no enabled version"))
                    .with_hint("enable a version, or make a new one"),
            );
        };
        let name = key.of_version(&number.to_string());
        // Before its public key is asked for, which a key of another purpose doesn't have.
        spec_of(&name, &algorithm)?;
        Ok(name)
    }

    /// The versions of a key, at most some thousands.
    pub(crate) async fn versions(
        &self,
        key: &KeyName,
        filter: &str,
        context: &Context<'_>,
    ) -> Result<Vec<CryptoKeyVersion>, Error> {
        let what = format!("listing the versions of {key}");
        let asked = Asked {
            what: &what,
            permission: VIEW,
        };
        let (mut all, mut page) = (Vec::new(), String::new());
        for _ in 0..MAX_PAGES {
            let answer = self.ask(asked, context, || {
                let list = self.client.list_crypto_key_versions();
                let list = list.set_parent(key.to_string()).set_filter(filter);
                list.set_page_size(PAGE).set_page_token(page.clone()).send()
            });
            let answer = answer.await?;
            all.extend(answer.crypto_key_versions);
            page = answer.next_page_token;
            if page.is_empty() {
                break;
            }
        }
        Ok(all)
    }

    /// The public key of a version, checked.
    async fn public_key(&self, name: String, context: &Context<'_>) -> Result<Version, Error> {
        let what = format!("reading the public key of {name}");
        let asked = Asked {
            what: &what,
            permission: SIGN,
        };
        let answer = self
            .ask(asked, context, || {
                self.client.get_public_key().set_name(&name).send()
            })
            .await?;
        let algorithm = answer.algorithm.name().unwrap_or("unknown").to_owned();
        let expected = spec_of(&name, &answer.algorithm)?;
        same_version(&name, &answer.name)?;
        intact("public key", answer.pem.as_bytes(), answer.pem_crc32c)?;
        let public = public_key_pem(SERVICE, &answer.pem)?;
        let spec = key_spec(&name, &public)?;
        if spec != expected {
            return Err(Error::other(format!(
                "{SERVICE} gave a public key of {} for {name}, whose algorithm is {algorithm}",
                spec.name()
            ))
            .with_hint(NOT_USED));
        }
        Ok(Version {
            name,
            public,
            spec,
            algorithm,
            protection: level(&answer.protection_level),
        })
    }

    /// Signs a digest with a version, and gives the signature as the Notary Project has it.
    pub(crate) async fn sign(
        &self,
        version: &Version,
        digest: &[u8],
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        let what = format!("signing with {}", version.name);
        let asked = Asked {
            what: &what,
            permission: SIGN,
        };
        let checksum = i64::from(crc32c::crc32c(digest));
        let answer = self
            .ask(asked, context, || {
                let bytes = digest.to_vec();
                let wrapped = match version.spec.hash() {
                    HashAlgorithm::Sha256 => model::Digest::new().set_sha256(bytes),
                    HashAlgorithm::Sha384 => model::Digest::new().set_sha384(bytes),
                    HashAlgorithm::Sha512 => model::Digest::new().set_sha512(bytes),
                };
                let request = self.client.asymmetric_sign().set_name(&version.name);
                request
                    .set_digest(wrapped)
                    .set_digest_crc32c(checksum)
                    .send()
            })
            .await?;
        same_version(&version.name, &answer.name)?;
        if !answer.verified_digest_crc32c {
            return Err(damaged("digest"));
        }
        intact("signature", &answer.signature, answer.signature_crc32c)?;
        check_signature(version.spec, &answer.signature, true)
            .map_err(|fault| fault.into_error(SERVICE))
    }

    /// The key rings of a project and location; and whether there are more.
    pub(crate) async fn rings(
        &self,
        location: &str,
        context: &Context<'_>,
    ) -> Result<(Vec<String>, bool), Error> {
        let what = format!("listing the key rings of {location}");
        let asked = Asked {
            what: &what,
            permission: "cloudkms.keyRings.list (role roles/cloudkms.viewer), or the setting key-ring",
        };
        let answer = self
            .ask(asked, context, || {
                let list = self.client.list_key_rings().set_parent(location);
                list.set_page_size(PAGE).send()
            })
            .await?;
        let names = answer.key_rings.into_iter().map(|ring| ring.name);
        Ok((names.collect(), !answer.next_page_token.is_empty()))
    }

    /// The signing keys of a ring; and whether there are more.
    pub(crate) async fn keys(
        &self,
        ring: &str,
        context: &Context<'_>,
    ) -> Result<(Vec<model::CryptoKey>, bool), Error> {
        let what = format!("listing the keys of {ring}");
        let asked = Asked {
            what: &what,
            permission: VIEW,
        };
        let answer = self
            .ask(asked, context, || {
                let list = self.client.list_crypto_keys().set_parent(ring);
                list.set_filter("purpose=ASYMMETRIC_SIGN")
                    .set_page_size(PAGE)
                    .send()
            })
            .await?;
        Ok((answer.crypto_keys, !answer.next_page_token.is_empty()))
    }

    /// What the service says of a key; `None` if there is no such key.
    pub(crate) async fn find(
        &self,
        key: &KeyName,
        context: &Context<'_>,
    ) -> Result<Option<model::CryptoKey>, Error> {
        let what = format!("looking up {key}");
        let asked = Asked {
            what: &what,
            permission: CREATE,
        };
        let name = key.to_string();
        self.pace
            .ask(context, || async {
                let found = self.client.get_crypto_key().set_name(&name).send().await;
                Failure::or_none(found.map_err(|error| failed(asked, &error)))
            })
            .await
    }

    /// Makes a key, whose first version the service then makes. Not repeated: it costs money.
    pub(crate) async fn create(
        &self,
        key: &KeyName,
        wanted: model::CryptoKey,
        context: &Context<'_>,
    ) -> Result<(), Error> {
        let what = format!("making key {key}");
        let request = self.client.create_crypto_key().set_parent(&key.ring);
        let sent = request
            .set_crypto_key_id(&key.key)
            .set_crypto_key(wanted)
            .send();
        self.once(&what, sent, context).await?;
        Ok(())
    }

    /// Makes a new version of a key; its resource name.
    pub(crate) async fn create_version(
        &self,
        key: &KeyName,
        context: &Context<'_>,
    ) -> Result<String, Error> {
        let what = format!("making a version of {key}");
        let request = self.client.create_crypto_key_version();
        let sent = request
            .set_parent(key.to_string())
            .set_crypto_key_version(CryptoKeyVersion::new())
            .send();
        let made = self.once(&what, sent, context).await?;
        let number = number_of(&made.name).ok_or_else(|| {
            Error::other(format!(
                "{SERVICE} does not say which version of {key} it made"
            ))
        })?;
        Ok(key.of_version(&number.to_string()))
    }

    async fn once<T>(
        &self,
        what: &str,
        sent: impl Future<Output = Result<T, CallError>>,
        context: &Context<'_>,
    ) -> Result<T, Error> {
        let asked = Asked {
            what,
            permission: CREATE,
        };
        let answer = self.pace.ask_once(context, sent).await?;
        answer.map_err(|error| failed(asked, &error).into_error())
    }

    /// What the service says of a version.
    pub(crate) async fn look(
        &self,
        name: &str,
        context: &Context<'_>,
    ) -> Result<CryptoKeyVersion, Error> {
        let what = format!("looking up {name}");
        let asked = Asked {
            what: &what,
            permission: CREATE,
        };
        self.ask(asked, context, || {
            self.client.get_crypto_key_version().set_name(name).send()
        })
        .await
    }
}

/// What is said of an answer that failed a check.
const NOT_USED: &str = "the answer was not used; if it comes again, report it to the service";

/// The key spec for which the Notary Project rules have the algorithm of a version (ENV-32).
pub(crate) fn spec_of(name: &str, algorithm: &Algorithm) -> Result<KeySpec, Error> {
    match algorithm {
        Algorithm::RsaSignPss2048Sha256 => Ok(KeySpec::Rsa2048),
        Algorithm::RsaSignPss4096Sha512 => Ok(KeySpec::Rsa4096),
        Algorithm::EcSignP256Sha256 => Ok(KeySpec::Ec256),
        Algorithm::EcSignP384Sha384 => Ok(KeySpec::Ec384),
        other => {
            let kind = other.name().unwrap_or("unknown");
            let why = match other {
                Algorithm::RsaSignPss3072Sha256 => {
                    "; RSA-3072 needs SHA-384, which the service does not have"
                }
                Algorithm::RsaSignPss4096Sha256 => "; RSA-4096 needs SHA-512",
                _ if kind.starts_with("RSA_SIGN_PKCS1") || kind.starts_with("RSA_SIGN_RAW") => {
                    "; RSA keys must sign with RSASSA-PSS"
                }
                _ => "",
            };
            Err(Error::validation(format!(
                "{name} can't make Notary Project signatures: its algorithm is {kind}{why}"
            ))
            .with_hint(format!("create a key with {}", ALGORITHMS.join(", "))))
        }
    }
}

/// The algorithm for a new key.
pub(crate) fn algorithm_for(spec: KeySpec) -> Result<Algorithm, Error> {
    match spec {
        KeySpec::Rsa2048 => Ok(Algorithm::RsaSignPss2048Sha256),
        KeySpec::Rsa4096 => Ok(Algorithm::RsaSignPss4096Sha512),
        KeySpec::Ec256 => Ok(Algorithm::EcSignP256Sha256),
        KeySpec::Ec384 => Ok(Algorithm::EcSignP384Sha384),
        KeySpec::Rsa3072 | KeySpec::Ec521 => Err(Error::validation(format!(
            "{SERVICE} has no {} key with {}, as the Notary Project wants it",
            spec.name(),
            spec.hash().name()
        ))
        .with_hint("choose --type RSA-2048, RSA-4096, EC-256 or EC-384")),
    }
}

/// The algorithms that the Notary Project rules allow.
const ALGORITHMS: [&str; 4] = [
    "RSA_SIGN_PSS_2048_SHA256",
    "RSA_SIGN_PSS_4096_SHA512",
    "EC_SIGN_P256_SHA256",
    "EC_SIGN_P384_SHA384",
];

/// What the service calls a protection level.
pub(crate) fn level(level: &ProtectionLevel) -> String {
    level.name().unwrap_or("unknown").to_owned()
}

/// The number at the end of a version's resource name.
fn number_of(name: &str) -> Option<u64> {
    name.rsplit('/').next()?.parse().ok()
}

fn same_version(asked: &str, answered: &str) -> Result<(), Error> {
    if asked == answered {
        return Ok(());
    }
    Err(Error::other(format!(
        "{SERVICE} answered for {answered:?} where {asked} was asked for"
    ))
    .with_hint(NOT_USED))
}

fn intact(what: &str, bytes: &[u8], checksum: Option<i64>) -> Result<(), Error> {
    if checksum == Some(i64::from(crc32c::crc32c(bytes))) {
        return Ok(());
    }
    Err(damaged(what))
}

fn damaged(what: &str) -> Error {
    Error::other(format!(
        "{SERVICE}: the {what} was damaged on its way: its CRC32C is wrong"
    ))
    .with_hint("nothing was used of it; run the command again")
}

/// The address of the service. Tokens go there, so it is HTTPS, except on this machine.
fn endpoint(text: &str) -> Result<String, Error> {
    check_endpoint(text, "https://HOST")?;
    let host = text.strip_prefix("http://");
    let host = host.and_then(|rest| rest.split('/').next());
    if host.is_some_and(|host| !is_loopback(host)) {
        return Err(
            Error::validation("the endpoint is not HTTPS, and tokens would be sent to it")
                .with_hint("write https://HOST, or http://localhost:PORT for an emulator"),
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ENV-32
    #[test]
    fn env_32_algorithms_with_another_hash_are_refused() {
        for spec in [
            KeySpec::Rsa2048,
            KeySpec::Rsa4096,
            KeySpec::Ec256,
            KeySpec::Ec384,
        ] {
            let algorithm = algorithm_for(spec).unwrap();
            assert!(ALGORITHMS.contains(&algorithm.name().unwrap()));
            assert_eq!(spec_of("k", &algorithm), Ok(spec));
        }
        for spec in [KeySpec::Rsa3072, KeySpec::Ec521] {
            assert!(
                algorithm_for(spec)
                    .unwrap_err()
                    .hint()
                    .unwrap()
                    .contains("EC-384")
            );
        }
        for (algorithm, why) in [
            (Algorithm::RsaSignPss3072Sha256, "needs SHA-384"),
            (Algorithm::RsaSignPss4096Sha256, "needs SHA-512"),
            (Algorithm::RsaSignPkcs12048Sha256, "RSASSA-PSS"),
            (Algorithm::RsaSignRawPkcs14096, "RSASSA-PSS"),
            (Algorithm::EcSignSecp256K1Sha256, "EC_SIGN_SECP256K1_SHA256"),
            (Algorithm::EcSignEd25519, "EC_SIGN_ED25519"),
            (
                Algorithm::GoogleSymmetricEncryption,
                "GOOGLE_SYMMETRIC_ENCRYPTION",
            ),
            (Algorithm::RsaDecryptOaep2048Sha256, "RSA_DECRYPT"),
        ] {
            let error = spec_of("k", &algorithm).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert!(error.hint().unwrap().contains("RSA_SIGN_PSS_4096_SHA512"));
        }
    }

    #[test]
    fn tokens_go_to_https_only() {
        for good in [
            "https://cloudkms.googleapis.com",
            "https://kms.example.com:8443/",
            "http://localhost:8080",
            "http://127.0.0.1:1",
            "http://[::1]:1",
        ] {
            assert_eq!(endpoint(good).unwrap(), good);
        }
        for bad in [
            "cloudkms.googleapis.com",
            "http://cloudkms.googleapis.com",
            "http://localhost.example.com",
            "http://localhost@example.com",
            "https://user:s3cret@example.com",
            "https://",
            "ftp://localhost",
        ] {
            let error = endpoint(bad).unwrap_err();
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
