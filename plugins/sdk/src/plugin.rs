//! What a plugin author implements: a [`Plugin`] that opens keys, and a [`Key`] that signs.
//!
//! The traits know nothing of JSON or sessions; [`serve`](crate::serve()) does. For a key store that
//! waits on a network there are the same traits with futures, [`AsyncPlugin`](crate::AsyncPlugin)
//! and [`AsyncKey`](crate::AsyncKey).

use crate::Error;
use crate::algorithm::KeySpec;
use crate::context::Context;
use crate::proto::{
    AttestKeyRequest, AttestKeyResponse, CONTRACT_VERSION, Capability, CreateKeyRequest,
    CreateKeyResponse, GenerateEnvelopeRequest, GenerateEnvelopeResponse, GenerateTestKeyRequest,
    GenerateTestKeyResponse, ImportCertificatesRequest, ImportCertificatesResponse, Interaction,
    ListKeysRequest, ListKeysResponse, Metadata, PluginConfig, Property, Purpose,
    SetUpTokenRequest, SetUpTokenResponse, Setting, Token, VerifySignatureRequest,
    VerifySignatureResponse,
};

/// A kind of key store.
///
/// Each method but the first two belongs to a capability of [`metadata`](Self::metadata), and is
/// called only if that is there. A session may call several of them, one after the other, before a
/// key is opened and also while one is: what they share, a connection or a login, belongs in the
/// plugin.
pub trait Plugin: Send + Sync + 'static {
    /// A key that was opened. Dropping it logs out.
    type Key: Key;

    /// Who the plugin is; see [`Metadata::new`]. Must neither touch a device nor a network.
    // PLG-50
    fn metadata(&self) -> Metadata;

    /// Opens a key: finds it, and logs in if that is needed for `request.purpose`.
    ///
    /// Called at most once in a process, but for `describe-key`. A failure is final for the process:
    /// the SDK gives the same error to all later requests, so that a wrong PIN is tried once.
    ///
    /// # Errors
    /// Whatever keeps the key from being used, with the user's next step as a hint.
    fn open(&self, request: &KeyRequest<'_>, context: &Context<'_>) -> Result<Self::Key, Error>;

    /// Lists keys ([`Capability::Keys`]).
    ///
    /// # Errors
    /// Whatever keeps the key store from being read. What can't be read of several places is a
    /// warning in the answer instead.
    fn list_keys(
        &self,
        request: &ListKeysRequest,
        context: &Context<'_>,
    ) -> Result<ListKeysResponse, Error> {
        let (_, _) = (request, context);
        Err(unsupported("list keys"))
    }

    /// Makes a key in the key store ([`Capability::Keys`]). A key that is there already is replaced
    /// only if the request says so.
    ///
    /// # Errors
    /// Whatever keeps the key from being made; [`Error::needs_confirmation`] where the user has to
    /// agree first.
    fn create_key(
        &self,
        request: &CreateKeyRequest,
        context: &Context<'_>,
    ) -> Result<CreateKeyResponse, Error> {
        let (_, _) = (request, context);
        Err(unsupported("create keys"))
    }

    /// Stores certificates beside a key ([`Capability::Keys`]), as many as the key store holds.
    ///
    /// # Errors
    /// Whatever keeps them from being stored.
    fn import_certificates(
        &self,
        request: &ImportCertificatesRequest,
        context: &Context<'_>,
    ) -> Result<ImportCertificatesResponse, Error> {
        let (_, _) = (request, context);
        Err(unsupported("store certificates"))
    }

    /// Gives evidence of where a key was made and lives ([`Capability::Attest`]).
    ///
    /// # Errors
    /// Whatever keeps it from being had.
    fn attest_key(
        &self,
        request: &AttestKeyRequest,
        context: &Context<'_>,
    ) -> Result<AttestKeyResponse, Error> {
        let (_, _) = (request, context);
        Err(unsupported("attest keys"))
    }

    /// Makes a software key for tests ([`Capability::TestKeys`]).
    ///
    /// # Errors
    /// Whatever keeps it from being made.
    fn generate_test_key(
        &self,
        request: &GenerateTestKeyRequest,
        context: &Context<'_>,
    ) -> Result<GenerateTestKeyResponse, Error> {
        let (_, _) = (request, context);
        Err(unsupported("make test keys"))
    }

    /// Gives a new token a PIN, and whatever else it came with, of its own ([`Capability::Setup`]).
    /// Secrets come from their sources and go to the terminal, never through the host.
    ///
    /// # Errors
    /// Whatever keeps it from being set up; [`Error::needs_confirmation`] where the user has to agree
    /// first.
    fn set_up_token(
        &self,
        request: &SetUpTokenRequest,
        context: &Context<'_>,
    ) -> Result<SetUpTokenResponse, Error> {
        let (_, _) = (request, context);
        Err(unsupported("set up tokens"))
    }

    /// Makes a whole envelope ([`Capability::Envelope`], [`Capability::EnvelopeForBlob`]).
    ///
    /// # Errors
    /// Whatever keeps it from being made.
    fn generate_envelope(
        &self,
        request: &GenerateEnvelopeRequest,
        context: &Context<'_>,
    ) -> Result<GenerateEnvelopeResponse, Error> {
        let (_, _) = (request, context);
        Err(unsupported("make envelopes"))
    }

    /// Checks trusted identity or revocation ([`Capability::TrustedIdentity`],
    /// [`Capability::RevocationCheck`]).
    ///
    /// # Errors
    /// Whatever keeps it from being checked. A check that fails is an answer.
    fn verify_signature(
        &self,
        request: &VerifySignatureRequest,
        context: &Context<'_>,
    ) -> Result<VerifySignatureResponse, Error> {
        let (_, _) = (request, context);
        Err(unsupported("verify signatures"))
    }
}

/// A key that can sign.
///
/// The signing methods are called from several threads at once if
/// [`max_in_flight`](Self::max_in_flight) says so.
pub trait Key: Send + Sync {
    /// Type and size of the key.
    fn key_spec(&self) -> KeySpec;

    /// The public key: a `SubjectPublicKeyInfo` in DER (RFC 5280 §4.1). It is what a certificate
    /// request is made of.
    ///
    /// # Errors
    /// The key store doesn't tell it.
    fn public_key(&self) -> Result<Vec<u8>, Error> {
        Err(unsupported("tell the public key"))
    }

    /// Certificates in DER, leaf to root. Those of a key that wasn't opened to sign may be none.
    ///
    /// # Errors
    /// No certificate for the key, or no complete chain.
    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error>;

    /// What the key store says of the key: where it was made, whether it can be exported, when it
    /// asks for a PIN.
    fn properties(&self) -> Vec<Property> {
        Vec::new()
    }

    /// Where the key lives.
    fn token(&self) -> Option<Token> {
        None
    }

    /// How many signatures may be under way at once. Up to eight more digests wait in the process for their turn, unless
    /// [`interaction`](Self::interaction) needs a person.
    fn max_in_flight(&self) -> u32 {
        1
    }

    /// What a person has to do for each signature.
    fn interaction(&self) -> Interaction {
        Interaction::None
    }

    /// Whether the key can also sign with RSASSA-PKCS1-v1_5.
    fn signs_pkcs1v15(&self) -> bool {
        false
    }

    /// Whether the key store keeps one certificate chain for the key, so that storing another one takes
    /// its place.
    fn keeps_one_chain(&self) -> bool {
        false
    }

    /// Signs a digest made with the hash that goes with the key spec; its length was checked.
    ///
    /// The signature is RSASSA-PSS with a salt as long as the digest, or r‖s of ECDSA.
    ///
    /// # Errors
    /// Whatever keeps the key from signing.
    fn sign_digest(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error>;

    /// Signs a digest likewise, with RSASSA-PKCS1-v1_5 (RFC 8017 §8.2): for certificate requests and
    /// certificates. Called only if [`signs_pkcs1v15`](Self::signs_pkcs1v15) says so.
    ///
    /// # Errors
    /// Whatever keeps the key from signing.
    fn sign_digest_pkcs1v15(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        let (_, _) = (digest, context);
        Err(unsupported("sign with RSASSA-PKCS1-v1_5"))
    }
}

/// Which key to open, and what for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct KeyRequest<'a> {
    /// Names the key, in the plugin's own terms.
    pub key_id: &'a str,
    /// Settings of the key.
    pub config: &'a PluginConfig,
    /// What the key will be used for.
    pub purpose: Purpose,
}

impl<'a> KeyRequest<'a> {
    /// A request, as a test of a plugin would make it.
    pub const fn new(key_id: &'a str, config: &'a PluginConfig, purpose: Purpose) -> Self {
        Self {
            key_id,
            config,
            purpose,
        }
    }

    /// A setting by name; an empty one counts as absent.
    pub fn setting(&self, name: &str) -> Option<&'a str> {
        let value = self.config.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }
}

/// The answer of a method that a plugin didn't write.
pub(crate) fn unsupported(what: &str) -> Error {
    Error::validation(format!("this plugin can't {what}"))
}

impl Metadata {
    /// Metadata of a plugin that signs: contract 1.0, raw signatures, digests and sessions, all
    /// of which the SDK serves. Further capabilities may be added.
    pub fn new(name: &str, description: &str, version: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            version: version.to_owned(),
            url: url.to_owned(),
            supported_contract_versions: vec![CONTRACT_VERSION.to_owned()],
            capabilities: vec![
                Capability::RawSignature,
                Capability::Digest,
                Capability::Session,
            ],
            settings: None,
        }
    }

    /// The same with one more capability.
    #[must_use]
    pub fn with(mut self, capability: Capability) -> Self {
        self.capabilities.push(capability);
        self
    }

    /// The same with the settings that the plugin knows: any other is refused before the plugin
    /// is asked, with the one that was probably meant.
    #[must_use]
    pub fn with_settings(mut self, settings: impl IntoIterator<Item = Setting>) -> Self {
        self.settings = Some(settings.into_iter().collect());
        self
    }
}
