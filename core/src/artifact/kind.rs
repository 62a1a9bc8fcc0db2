//! The two kinds of things that are signed.

use std::fmt;

/// What is signed, and what a trust policy document is about: the first word of its messages.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// OCI artifacts.
    Oci,
    /// Files.
    Blob,
}

impl Kind {
    /// Longest policy document of either kind, in bytes: more than anybody needs.
    pub const MAX_POLICY_LEN: usize = 4 << 20;

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Oci => Self::Blob,
            Self::Blob => Self::Oci,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oci => "oci",
            Self::Blob => "blob",
        })
    }
}
