//! Write signing plugins for hardsign and `notation`.
//!
//! A plugin is an executable `notation-<name>` that a host starts when it needs a signature from
//! a key that it can't hold itself: in a token, a card, a KMS. An author writes a [`Plugin`] that
//! opens keys, a [`Key`] that signs digests, and a `main` of one line; [`serve()`] does the rest:
//!
//! - the commands of the Notary Project's plugin contract 1.0 (`get-plugin-metadata`,
//!   `describe-key`, `generate-signature`), so that the plugin works under `notation` as well;
//! - hardsign's extensions: `sign-digest`, where the payload never leaves the host; `session`, where
//!   one process and one login serve many requests; and, for a plugin that has them, `list-keys`,
//!   `create-key`, `import-certificates` and `attest-key`;
//! - settings that the plugin doesn't know, refused with the one that was meant
//!   ([`Metadata::with_settings`](proto::Metadata::with_settings));
//! - error answers, with a hint for the user ([`Error`]); a panic becomes one too;
//! - PINs from an environment variable, a file, a descriptor, pinentry or the terminal
//!   ([`Context::pin`], [`secret`]), kept out of arguments, logs and core dumps;
//! - stdin and stdout out of reach of stray prints, of the plugin's code and of C libraries;
//! - the interrupt held back while the host lives, so that a device is never left half-way.
//!
//! What no plugin should have to get right twice is here as well: the table of algorithms
//! ([`algorithm`]), a login that is tried once ([`Once`]), ECDSA signatures from DER ([`ecdsa`]), the
//! padding of RSASSA-PSS ([`pss`]),
//! and, with the feature `chain`, loose certificates in order (`chain`).
//!
//! A key store that waits on a network is an [`AsyncPlugin`] with an [`AsyncKey`], whose methods are
//! futures: with the feature `tokio`, `serve_async` has as many of them under way as the key allows.
//!
//! # PINs and logins
//!
//! ```
//! use hardsign_plugin::secret::PinSource;
//! use hardsign_plugin::{Context, Error, Once};
//!
//! struct Device {
//!     login: Once<()>,
//! }
//!
//! impl Device {
//!     /// Whoever comes first logs in; everyone else gets the same outcome. A wrong PIN is so
//!     /// tried once, however many signatures wait for it.
//!     fn log_in(&self, source: &str, context: &Context<'_>) -> Result<(), Error> {
//!         let login = self.login.get(|| {
//!             let source: PinSource = source.parse()?;
//!             let pin = context.pin(&source, "PIN of the device")?;
//!             self.verify(pin.expose())
//!         });
//!         login.copied()
//!     }
//! #   fn verify(&self, pin: &[u8]) -> Result<(), Error> {
//! #       assert_eq!(pin, b"1234");
//! #       Ok(())
//! #   }
//! }
//! # let file = tempfile::NamedTempFile::new().unwrap();
//! # std::fs::write(file.path(), "1234\n").unwrap();
//! # let device = Device { login: Once::new() };
//! # let source = format!("file:{}", file.path().display());
//! # Context::for_tests(|context| device.log_in(&source, context)).unwrap();
//! ```
//!
//! The sources are those of [`secret`]: `env:NAME`, `file:/path`, `fd:N` (sessions only),
//! `pinentry`, `prompt`. [`Plugin::open`] is called once in a process, so a login there needs no
//! [`Once`]; one that comes later, at the first signature, does.
//!
//! # Notices
//!
//! What the user should know or do is a [`Context::notice`]: shown by the host in a session, and on
//! the terminal otherwise. With a wait it gives the request more time. A question outside the host,
//! for instance at a PIN pad, stands in [`Context::while_asking`], which stops the host's clocks.
//!
//! ```
//! use std::time::Duration;
//!
//! use hardsign_plugin::Context;
//!
//! fn wait_for_touch(context: &Context<'_>) {
//!     context.notice("Touch the key", Some(Duration::from_secs(15)));
//! }
//! # Context::for_tests(wait_for_touch);
//! ```
//!
//! # Tests
//!
//! [`Context::for_tests`] is a context in which nobody is asked, [`serve_on`] runs one command on any
//! streams, and [`KeyRequest::new`] opens a key as the SDK would:
//!
//! ```
//! use hardsign_plugin::{Context, Error, Key, KeyRequest, Plugin, serve_on};
//! # use hardsign_plugin::algorithm::KeySpec;
//! # use hardsign_plugin::proto::Metadata;
//! # struct Mine;
//! # struct MyKey;
//! # impl Plugin for Mine {
//! #     type Key = MyKey;
//! #     fn metadata(&self) -> Metadata {
//! #         Metadata::new("mine", "d", "1.0.0", "https://example.com")
//! #     }
//! #     fn open(&self, _: &KeyRequest<'_>, _: &Context<'_>) -> Result<MyKey, Error> {
//! #         Ok(MyKey)
//! #     }
//! # }
//! # impl Key for MyKey {
//! #     fn key_spec(&self) -> KeySpec {
//! #         KeySpec::Ec256
//! #     }
//! #     fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
//! #         Ok(vec![vec![0x30]])
//! #     }
//! #     fn sign_digest(&self, _: &[u8], _: &Context<'_>) -> Result<Vec<u8>, Error> {
//! #         Ok(vec![7; 64])
//! #     }
//! # }
//!
//! let request = br#"{"contractVersion":"1.0","keyId":"release"}"#;
//! let (mut output, mut errors) = (Vec::new(), Vec::new());
//! let code = serve_on(&Mine, "describe-key", &request[..], &mut output, &mut errors);
//! assert_eq!(code, 0);
//! assert_eq!(
//!     output,
//!     br#"{"keyId":"release","keySpec":"EC-256","certificateChain":["MA=="]}"#
//! );
//! ```
//!
//! The executable as a whole is tested with the contract suite: `hardsign-plugin-test` or, from
//! `cargo test`, `hardsign_plugin_testkit::kit`.
#![cfg_attr(
    feature = "chain",
    doc = "",
    doc = "# A complete plugin",
    doc = "",
    doc = "```no_run"
)]
#![cfg_attr(feature = "chain", doc = include_str!("../examples/notation-echo.rs"))]
#![cfg_attr(feature = "chain", doc = "```")]

pub mod algorithm;
#[cfg(feature = "serve")]
mod asynchronous;
#[cfg(feature = "chain")]
pub mod chain;
#[cfg(feature = "serve")]
mod context;
pub mod ecdsa;
#[cfg(feature = "serve")]
pub mod error;
#[cfg(feature = "serve")]
pub mod frame;
#[cfg(feature = "serve")]
pub mod host;
#[cfg(feature = "serve")]
mod once;
#[cfg(feature = "serve")]
mod os;
#[cfg(feature = "serve")]
pub mod pkcs11_uri;
#[cfg(feature = "serve")]
mod plugin;
#[cfg(feature = "serve")]
pub mod proto;
#[cfg(feature = "serve")]
pub mod pss;
#[cfg(feature = "serve")]
pub mod secret;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "serve")]
pub mod settings;
pub mod text;

#[cfg(feature = "serve")]
pub use asynchronous::{AsyncKey, AsyncPlugin};
#[cfg(feature = "serve")]
pub use context::Context;
#[cfg(feature = "serve")]
pub use error::Error;
#[cfg(feature = "serve")]
pub use once::Once;
#[cfg(feature = "serve")]
pub use plugin::{Key, KeyRequest, Plugin};
#[cfg(feature = "serve")]
pub use proto::Purpose;
#[cfg(feature = "serve")]
pub use serve::{serve, serve_on};
#[cfg(feature = "tokio")]
pub use serve::{serve_async, serve_async_on};
