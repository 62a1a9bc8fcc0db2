//! Chain profiles: what a chain is for, as a type. The rules for single certificates are
//! [`hardsign_plugin::chain`]'s, those for whole chains [`super::Chain`]'s.

use hardsign_plugin::chain;

/// What a chain is for.
pub trait Profile: sealed::Sealed {
    /// The rules for its certificates.
    #[doc(hidden)]
    const RULES: chain::Profile;
}

/// Chains that sign artifacts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CodeSigning;

/// Chains of RFC 3161 timestamping authorities.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timestamping;

impl Profile for CodeSigning {
    const RULES: chain::Profile = chain::Profile::CodeSigning;
}

impl Profile for Timestamping {
    const RULES: chain::Profile = chain::Profile::Timestamping;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::CodeSigning {}
    impl Sealed for super::Timestamping {}
}
