//! Notary Project signatures with keys that stay in hardware or in a cloud KMS.
//!
//! The crate makes and checks signature envelopes, decides under trust policies, speaks to
//! registries and layouts, and runs signing plugins. It never holds a private key: a [`sign::Signer`]
//! gets the digest to sign and answers with signature and certificate chain, both of which are
//! checked before anything is made of them.
//!
//! # Where to start
//!
//! Three programs, each of less than a hundred lines:
//!
//! - [`verify_image`](https://github.com/hardsign/hardsign/blob/main/core/examples/verify_image.rs)
//!   verifies an image in a registry, under the user's trust policy: [`verify::Verifier`].
//! - [`verify_bytes`](https://github.com/hardsign/hardsign/blob/main/core/examples/verify_bytes.rs)
//!   verifies a file and a signature that are in memory: [`verify::judge()`].
//! - [`own_signer`](https://github.com/hardsign/hardsign/blob/main/core/examples/own_signer.rs)
//!   signs with a key of the program's own: [`sign::Signer`].
//!
//! Signatures in another place than a registry or a layout are an [`oci::SignatureSource`], trusted
//! certificates from elsewhere than the user's directory [`trust::TrustStores`], and another way to
//! find out what is revoked is a [`revocation::Checker`].
//!
//! # What needs a runtime
//!
//! Registries, plugins, timestamping authorities, OCSP and CRLs are asked on a Tokio runtime, with
//! time and I/O enabled; [`verify::Verifier`], [`sign`] and [`batch`] are futures that run on one
//! too. Everything that decides is synchronous and opens nothing: [`verify::judge()`],
//! [`envelope`], [`policy`], [`trust::LoadedStores`], [`x509`].
//!
//! # Features
//!
//! Whoever verifies bytes needs none of the default ones: with `default-features = false, features = ["aws-lc-rs"]` fewer than sixty
//! crates are built, and neither Tokio nor an HTTP client is among them.
//!
//! | feature | what comes with it | default |
//! |---|---|---|
//! | `aws-lc-rs` | the cryptographic primitives, by aws-lc: C and assembly | yes |
//! | `rustcrypto` | the same in Rust alone, as for `wasm32-unknown-unknown`; one of the two must be there, and where both are, aws-lc is used | |
//! | `registry` | [`oci::registry::Registry`], with the credentials of Docker's configuration and its helpers | yes |
//! | `layout` | [`oci::layout::Layout`], OCI layout directories | yes |
//! | `revocation-online` | [`revocation::Online`], which asks OCSP responders and fetches CRLs | yes |
//! | `timestamp-client` | [`timestamp::Client`], which asks timestamping authorities | yes |
//! | `plugin-host` | [`plugin`]: signing and verification plugins are found, installed and run | yes |
//! | `certify` | [`certify`]: certificates, requests for them, and CRLs | yes |
//! | `files` | [`dirs`] and [`config`], policies and trust stores in the user's directories | with others |
//! | `runtime` | [`verify::Verifier`], [`sign`], [`batch`], [`budget`], on Tokio | with others |
//!
//! # A file signed and verified in memory
//!
//! The signer here is a test key; [`plugin::PluginSigner`] is the one for tokens and clouds.
//!
//! ```
//! use async_trait::async_trait;
//! use hardsign_core::algorithm::KeySpec;
//! use hardsign_core::blob;
//! use hardsign_core::envelope::{Envelope, Format, Signed, ToBeSigned};
//! use hardsign_core::sign::{SignOptions, Signer, SignerError, sign_blob};
//! # use hardsign_test_support::{Key, Pki, certificate};
//!
//! struct TestKey;
//!
//! #[async_trait]
//! impl Signer for TestKey {
//!     async fn key_spec(&self) -> Result<KeySpec, SignerError> {
//!         Ok(KeySpec::Ec256)
//!     }
//!
//!     async fn sign(&self, message: &ToBeSigned) -> Result<Signed, SignerError> {
//! #       let pki = Pki::new();
//! #       let certificate_chain = pki.chain(&pki.signer(KeySpec::Ec256)).into();
//! #       let signature = Key::of(KeySpec::Ec256).sign(message.bytes());
//!         // A token would be sent `message.digest()`.
//!         Ok(Signed { signature, certificate_chain, signing_agent: "example/1.0".into() })
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let file = blob::describe(&b"hello"[..], KeySpec::Ec256.hash(), "text/plain")?;
//! let options = SignOptions::new(Format::Jws, "2026-06-01T00:00:00Z".parse()?);
//! # let options = options.now(certificate::now());
//! let signed = sign_blob(&TestKey, &file, &options).await?;
//!
//! // Somebody else, with nothing but the envelope's bytes: is it intact, and what does it sign?
//! let signature = Envelope::parse(Format::Jws, signed.bytes())?.verify_integrity()?;
//! assert_eq!(signature.payload().target, file);
//!
//! // One changed byte is refused.
//! let mut changed = signed.bytes().to_vec();
//! let last = changed.len() - 10;
//! changed[last] ^= 1;
//! assert!(Envelope::parse(Format::Jws, &changed).and_then(Envelope::verify_integrity).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Integrity is the first step only: [`verify::Verifier`] goes on to trust stores, identities,
//! expiry and revocation under a trust policy, and its [`verify::Verified`] is the one value that
//! means yes.

#![cfg_attr(docsrs, feature(doc_cfg))]
// What features have in common is of no use where one of them is off. The build with all of them finds what nobody uses.
#![cfg_attr(
    not(all(
        feature = "certify",
        feature = "layout",
        feature = "plugin-host",
        feature = "registry",
        feature = "revocation-online",
        feature = "timestamp-client"
    )),
    allow(dead_code, unreachable_pub, unused_imports)
)]

pub mod artifact;
pub mod attestation;
#[cfg(feature = "runtime")]
pub mod batch;
pub mod blob;
#[cfg(feature = "runtime")]
pub mod budget;
#[cfg(feature = "certify")]
pub mod certify;
#[cfg(feature = "files")]
pub mod config;
pub mod crypto;
#[cfg(feature = "runtime")]
mod desk;
#[cfg(feature = "files")]
pub mod dirs;
pub mod envelope;
pub mod event;
#[cfg(feature = "http")]
pub mod http;
mod json;
#[cfg(feature = "http")]
mod net;
pub mod oci;
#[cfg(feature = "plugin-host")]
pub mod plugin;
pub mod policy;
pub mod revocation;
#[cfg(feature = "runtime")]
pub mod sign;
pub mod text;
pub mod timestamp;
pub mod trust;
pub mod verify;
pub mod x509;
#[cfg(feature = "registry")]
mod yaml;

pub use async_trait::async_trait;
pub use hardsign_plugin::algorithm;
pub use jiff::Timestamp;
pub use jiff::civil::DateTime;
