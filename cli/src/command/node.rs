//! A Kubernetes node, or any machine with containerd, on which images without a good signature are refused:
//! containerd runs this executable under the name `image-verifier` before it takes an image
//! ([`verifier`]), and `hardsign node` puts it there.
//!
//! [`check`] is the verdict on one image, for the verifier and for `hardsign doctor node`; [`settings`] is the
//! file that both read; [`containerd`] and [`crictl`] ask the runtime what it is set to and what it has, and
//! [`environment`] is what a verifier inherits of it.

mod check;
pub(super) mod containerd;
pub(super) mod crictl;
pub(super) mod environment;
mod install;
mod needs;
mod run;
pub(super) mod settings;
pub(crate) mod verifier;

pub(super) use check::{Allowed, Checker};
pub(super) use install::{install, uninstall};
