//! Distinguished names as certificates have them.

use std::fmt;
use std::ops::Deref;

use hardsign_plugin::chain;

use crate::artifact::Quoted;

/// An X.500 name as it stands in a certificate. Equal means byte for byte equal DER.
///
/// `Display` is the text that the reference shows: see [`chain::Name`].
// X509-29, X509-25 to X509-27
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name(chain::Name);

/// Characters of a name that a message shows: whoever made it may be a stranger.
const MAX_QUOTED: usize = 1024;

impl Name {
    /// Reads the DER of a `Name`.
    ///
    /// # Errors
    /// Any deviation from DER, and a value that is none of the string types.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, chain::Flaw> {
        chain::Name::from_der(der).map(Self)
    }

    /// The text in double quotes, with quotes and characters that do not print escaped; cut off
    /// behind 1024 characters.
    pub fn quoted(&self) -> String {
        let mut text = self.to_string();
        if let Some((end, _)) = text.char_indices().nth(MAX_QUOTED) {
            text.truncate(end);
            text.push_str("...");
        }
        Quoted(&text).to_string()
    }
}

impl From<&chain::Name> for Name {
    fn from(name: &chain::Name) -> Self {
        Self(name.clone())
    }
}

impl Deref for Name {
    type Target = chain::Name;

    fn deref(&self) -> &chain::Name {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
