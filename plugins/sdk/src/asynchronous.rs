//! The same traits for a key store that waits on a network: each method is a future.
//!
//! Inside, the server knows these only: a [`Plugin`](crate::Plugin) is served as one whose futures
//! are never pending.

use std::future::{Future, ready};

use crate::Error;
use crate::algorithm::KeySpec;
use crate::context::Context;
use crate::plugin::{Key, KeyRequest, Plugin, unsupported};
#[cfg(doc)]
use crate::proto::Capability;
use crate::proto::{
    AttestKeyRequest, AttestKeyResponse, CreateKeyRequest, CreateKeyResponse,
    GenerateEnvelopeRequest, GenerateEnvelopeResponse, GenerateTestKeyRequest,
    GenerateTestKeyResponse, ImportCertificatesRequest, ImportCertificatesResponse, Interaction,
    ListKeysRequest, ListKeysResponse, Metadata, Property, SetUpTokenRequest, SetUpTokenResponse,
    Token, VerifySignatureRequest, VerifySignatureResponse,
};

/// A kind of key store that waits on a network: [`Plugin`] with futures, for `serve_async` (feature
/// `tokio`). An implementation writes `async fn`.
pub trait AsyncPlugin: Send + Sync {
    /// A key that was opened. Dropping it ends its use.
    type Key: AsyncKey;

    /// Who the plugin is; see [`Metadata::new`]. Must neither touch a device nor a network.
    // PLG-50
    fn metadata(&self) -> Metadata;

    /// Opens a key, as [`Plugin::open`] does.
    ///
    /// # Errors
    /// Whatever keeps the key from being used, with the user's next step as a hint.
    fn open(
        &self,
        request: &KeyRequest<'_>,
        context: &Context<'_>,
    ) -> impl Future<Output = Result<Self::Key, Error>> + Send;

    /// Lists keys ([`Capability::Keys`]).
    ///
    /// # Errors
    /// Whatever keeps the key store from being read. What can't be read of several places is a
    /// warning in the answer instead.
    fn list_keys(
        &self,
        request: &ListKeysRequest,
        context: &Context<'_>,
    ) -> impl Future<Output = Result<ListKeysResponse, Error>> + Send {
        let (_, _) = (request, context);
        ready(Err(unsupported("list keys")))
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
    ) -> impl Future<Output = Result<CreateKeyResponse, Error>> + Send {
        let (_, _) = (request, context);
        ready(Err(unsupported("create keys")))
    }

    /// Stores certificates beside a key ([`Capability::Keys`]), as many as the key store holds.
    ///
    /// # Errors
    /// Whatever keeps them from being stored.
    fn import_certificates(
        &self,
        request: &ImportCertificatesRequest,
        context: &Context<'_>,
    ) -> impl Future<Output = Result<ImportCertificatesResponse, Error>> + Send {
        let (_, _) = (request, context);
        ready(Err(unsupported("store certificates")))
    }

    /// Gives evidence of where a key was made and lives ([`Capability::Attest`]).
    ///
    /// # Errors
    /// Whatever keeps it from being had.
    fn attest_key(
        &self,
        request: &AttestKeyRequest,
        context: &Context<'_>,
    ) -> impl Future<Output = Result<AttestKeyResponse, Error>> + Send {
        let (_, _) = (request, context);
        ready(Err(unsupported("attest keys")))
    }

    /// Makes a software key for tests ([`Capability::TestKeys`]).
    ///
    /// # Errors
    /// Whatever keeps it from being made.
    fn generate_test_key(
        &self,
        request: &GenerateTestKeyRequest,
        context: &Context<'_>,
    ) -> impl Future<Output = Result<GenerateTestKeyResponse, Error>> + Send {
        let (_, _) = (request, context);
        ready(Err(unsupported("make test keys")))
    }

    /// Gives a new token secrets of its own ([`Capability::Setup`]), as [`Plugin::set_up_token`] does.
    ///
    /// # Errors
    /// Whatever keeps it from being set up.
    fn set_up_token(
        &self,
        request: &SetUpTokenRequest,
        context: &Context<'_>,
    ) -> impl Future<Output = Result<SetUpTokenResponse, Error>> + Send {
        let (_, _) = (request, context);
        ready(Err(unsupported("set up tokens")))
    }

    /// Makes a whole envelope ([`Capability::Envelope`], [`Capability::EnvelopeForBlob`]).
    ///
    /// # Errors
    /// Whatever keeps it from being made.
    fn generate_envelope(
        &self,
        request: &GenerateEnvelopeRequest,
        context: &Context<'_>,
    ) -> impl Future<Output = Result<GenerateEnvelopeResponse, Error>> + Send {
        let (_, _) = (request, context);
        ready(Err(unsupported("make envelopes")))
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
    ) -> impl Future<Output = Result<VerifySignatureResponse, Error>> + Send {
        let (_, _) = (request, context);
        ready(Err(unsupported("verify signatures")))
    }
}

/// A key behind a network. What is known of it is read once, by [`AsyncPlugin::open`].
pub trait AsyncKey: Send + Sync {
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

    /// How many signatures may be under way at once.
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

    /// Signs a digest, as [`Key::sign_digest`] does; as many at once as
    /// [`max_in_flight`](Self::max_in_flight) says.
    ///
    /// # Errors
    /// Whatever keeps the key from signing.
    fn sign_digest(
        &self,
        digest: &[u8],
        context: &Context<'_>,
    ) -> impl Future<Output = Result<Vec<u8>, Error>> + Send;

    /// Signs a digest with RSASSA-PKCS1-v1_5, as [`Key::sign_digest_pkcs1v15`] does.
    ///
    /// # Errors
    /// Whatever keeps the key from signing.
    fn sign_digest_pkcs1v15(
        &self,
        digest: &[u8],
        context: &Context<'_>,
    ) -> impl Future<Output = Result<Vec<u8>, Error>> + Send {
        let (_, _) = (digest, context);
        ready(Err(unsupported("sign with RSASSA-PKCS1-v1_5")))
    }
}

/// A plugin, or a key, that never waits on anything but its caller's thread.
pub(crate) struct Blocking<T>(pub(crate) T);

impl<P: Plugin> AsyncPlugin for Blocking<&P> {
    type Key = Blocking<P::Key>;

    fn metadata(&self) -> Metadata {
        self.0.metadata()
    }

    async fn open(
        &self,
        request: &KeyRequest<'_>,
        context: &Context<'_>,
    ) -> Result<Self::Key, Error> {
        self.0.open(request, context).map(Blocking)
    }

    async fn list_keys(
        &self,
        request: &ListKeysRequest,
        context: &Context<'_>,
    ) -> Result<ListKeysResponse, Error> {
        self.0.list_keys(request, context)
    }

    async fn create_key(
        &self,
        request: &CreateKeyRequest,
        context: &Context<'_>,
    ) -> Result<CreateKeyResponse, Error> {
        self.0.create_key(request, context)
    }

    async fn import_certificates(
        &self,
        request: &ImportCertificatesRequest,
        context: &Context<'_>,
    ) -> Result<ImportCertificatesResponse, Error> {
        self.0.import_certificates(request, context)
    }

    async fn attest_key(
        &self,
        request: &AttestKeyRequest,
        context: &Context<'_>,
    ) -> Result<AttestKeyResponse, Error> {
        self.0.attest_key(request, context)
    }

    async fn generate_test_key(
        &self,
        request: &GenerateTestKeyRequest,
        context: &Context<'_>,
    ) -> Result<GenerateTestKeyResponse, Error> {
        self.0.generate_test_key(request, context)
    }

    async fn set_up_token(
        &self,
        request: &SetUpTokenRequest,
        context: &Context<'_>,
    ) -> Result<SetUpTokenResponse, Error> {
        self.0.set_up_token(request, context)
    }

    async fn generate_envelope(
        &self,
        request: &GenerateEnvelopeRequest,
        context: &Context<'_>,
    ) -> Result<GenerateEnvelopeResponse, Error> {
        self.0.generate_envelope(request, context)
    }

    async fn verify_signature(
        &self,
        request: &VerifySignatureRequest,
        context: &Context<'_>,
    ) -> Result<VerifySignatureResponse, Error> {
        self.0.verify_signature(request, context)
    }
}

impl<K: Key> AsyncKey for Blocking<K> {
    fn key_spec(&self) -> KeySpec {
        self.0.key_spec()
    }

    fn public_key(&self) -> Result<Vec<u8>, Error> {
        self.0.public_key()
    }

    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        self.0.certificate_chain()
    }

    fn properties(&self) -> Vec<Property> {
        self.0.properties()
    }

    fn token(&self) -> Option<Token> {
        self.0.token()
    }

    fn max_in_flight(&self) -> u32 {
        self.0.max_in_flight()
    }

    fn interaction(&self) -> Interaction {
        self.0.interaction()
    }

    fn signs_pkcs1v15(&self) -> bool {
        self.0.signs_pkcs1v15()
    }

    fn keeps_one_chain(&self) -> bool {
        self.0.keeps_one_chain()
    }

    async fn sign_digest(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        self.0.sign_digest(digest, context)
    }

    async fn sign_digest_pkcs1v15(
        &self,
        digest: &[u8],
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        self.0.sign_digest_pkcs1v15(digest, context)
    }
}
