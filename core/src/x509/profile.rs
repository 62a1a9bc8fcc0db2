//! Chain profiles as data: what a code-signing chain and a timestamping chain must look like
//! (X509-05 to X509-14). The rules that both share are in [`super::Chain`].

use der::asn1::ObjectIdentifier;

/// A set of chain rules.
pub trait Profile: sealed::Sealed {
    /// The rules.
    #[doc(hidden)]
    const RULES: Rules;
}

/// Chains that sign artifacts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CodeSigning;

/// Chains of RFC 3161 timestamping authorities.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timestamping;

/// Where profiles differ.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Rules {
    /// Whether keyUsage must be critical (X509-07, X509-09).
    pub key_usage_must_be_critical: bool,
    /// What the leaf's extKeyUsage must say.
    pub leaf_purposes: Purposes,
}

/// A rule about extKeyUsage.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub enum Purposes {
    /// May be absent; must not contain any of these (X509-10, X509-11).
    NoneOf(&'static [Purpose]),
    /// Present, critical, exactly this and nothing else (X509-13).
    Exactly(Purpose),
}

/// A key purpose and its name in error texts.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Purpose {
    /// Its OID.
    pub oid: ObjectIdentifier,
    /// Its name.
    pub name: &'static str,
}

impl Profile for CodeSigning {
    const RULES: Rules = Rules {
        key_usage_must_be_critical: true,
        leaf_purposes: Purposes::NoneOf(&[
            purpose("2.5.29.37.0", "Any"),
            purpose("1.3.6.1.5.5.7.3.1", "ServerAuth"),
            purpose("1.3.6.1.5.5.7.3.2", "ClientAuth"),
            purpose("1.3.6.1.5.5.7.3.4", "EmailProtection"),
            TIMESTAMPING,
            purpose("1.3.6.1.5.5.7.3.9", "OCSPSigning"),
        ]),
    };
}

impl Profile for Timestamping {
    const RULES: Rules = Rules {
        key_usage_must_be_critical: false,
        leaf_purposes: Purposes::Exactly(TIMESTAMPING),
    };
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::CodeSigning {}
    impl Sealed for super::Timestamping {}
}

const fn purpose(oid: &str, name: &'static str) -> Purpose {
    Purpose {
        oid: ObjectIdentifier::new_unwrap(oid),
        name,
    }
}

const TIMESTAMPING: Purpose = purpose("1.3.6.1.5.5.7.3.8", "Timestamping");
