//! The certificate chain of a key: from the token, from a file, or from both.
//!
//! A file that holds a signer's certificate decides which one is used; a file of CA certificates
//! completes what the token has. A certificate that should be the key's and is not is an error.

use std::path::Path;
use std::time::SystemTime;

use hardsign_plugin::chain::{self, Certificate, ChainError, Choice, PublicKey, Time};
use hardsign_plugin::{Context, Error, Purpose};

use crate::error::{Call, Pkcs11Error};
use crate::objects::{CertificateObject, KeyObject};

/// Certificates that were passed over, each told of in a notice; a request may send ten.
const MAX_TOLD: usize = 6;

/// Where certificates may come from.
pub(crate) struct Sources<'a> {
    pub(crate) token: &'a [CertificateObject],
    /// Why the token may hold more.
    pub(crate) search_failed: Option<&'a Call>,
    pub(crate) file: Option<(&'a Path, Vec<Vec<u8>>)>,
}

impl Sources<'_> {
    /// A public key to go by when the token does not tell the key's: that of the signer's
    /// certificate in the file, else of the certificate with the key's id or label. The host finds
    /// out by the first signature whether it is right.
    pub(crate) fn public_key(&self, key: &KeyObject) -> Option<PublicKey> {
        let file = self.file.iter().flat_map(|(_, file)| file);
        let of_file = file.clone().find(|der| !chain::is_ca(der));
        let with_label = || {
            let mut certificates = self.token.iter();
            certificates.find(|c| !key.label.is_empty() && c.label == key.label)
        };
        let of_token = self.with_id(key).or_else(with_label);
        let of_token = of_token.map(|certificate| &certificate.der);
        let der = of_file.or(of_token).or_else(|| file.clone().next());
        chain::public_key(der?).ok()
    }

    fn with_id(&self, key: &KeyObject) -> Option<&CertificateObject> {
        let mut certificates = self.token.iter();
        certificates.find(|certificate| !key.id.is_empty() && certificate.id == key.id)
    }

    /// The chain, leaf to root, and what was passed over. A key that is not to sign may have any
    /// certificate, that of a CA too. `key_name` and `token_name` are for messages.
    pub(crate) fn choose(
        &self,
        public: &PublicKey,
        key: &KeyObject,
        purpose: Purpose,
        key_name: &str,
        token_name: &str,
    ) -> Result<Choice, Error> {
        let mismatch = |der: &[u8], place: String| Pkcs11Error::Mismatch {
            subject: chain::subject(der).unwrap_or_default(),
            place,
            key: key_name.to_owned(),
            token: token_name.to_owned(),
        };
        let is_keys = |der: &[u8]| chain::matches(public, der);
        let mut pool: Vec<Vec<u8>> = self.token.iter().map(|c| c.der.clone()).collect();
        if let Some((path, file)) = &self.file {
            if file.iter().any(|der| is_keys(der)) {
                pool.retain(|der| !is_keys(der));
            } else if let Some(leaf) = file.iter().find(|der| !chain::is_ca(der)) {
                return Err(mismatch(leaf, path.display().to_string()).into());
            }
            pool.extend(file.iter().cloned());
        }
        if !pool.iter().any(|der| is_keys(der))
            && let Some(certificate) = self.with_id(key)
        {
            return Err(mismatch(&certificate.der, token_name.to_owned()).into());
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "only a certificate that is valid now signs"
        )]
        let now = SystemTime::now();
        let chosen = chain::choose(public, &pool, now);
        let chosen = match (chosen, purpose) {
            (Err(ChainError::NoneFits { .. }), Purpose::Certify | Purpose::Describe) => {
                latest(public, &pool, now)
            }
            (chosen, _) => chosen,
        };
        chosen.map_err(|error| self.explain(error, key_name, token_name))
    }

    /// Says of which key the chain is, and what to do that was not done yet.
    fn explain(&self, error: ChainError, key_name: &str, token_name: &str) -> Error {
        let none = matches!(
            error,
            ChainError::NoCertificate | ChainError::NoMatch { .. }
        );
        let mut message = format!("{key_name} in {token_name}: {error}");
        if let (true, Some(call)) = (none, self.search_failed) {
            message = format!("{message}; the token could not be searched: {call}");
        }
        let file = self.file.as_ref().map(|(path, _)| path.display());
        let hint = match (&error, file) {
            (ChainError::NoIssuer { issuer, .. }, Some(file)) => Some(format!(
                "add the certificate of {issuer:?}, and those above it up to the root, to {file}"
            )),
            (ChainError::NoIssuer { issuer, .. }, None) => Some(format!(
                "name a PEM file with cert-chain that holds {issuer:?} and the certificates above it"
            )),
            (_, Some(file)) if none => Some(format!(
                "put the certificate that was issued for this key into {file}, leaf first"
            )),
            (_, None) if none => Some(
                "store its certificate in the token, or name a PEM file with cert-chain".to_owned(),
            ),
            _ => None,
        };
        let answer = Error::validation(message);
        match hint {
            Some(hint) => answer.with_hint(hint),
            None => answer,
        }
    }
}

/// The chain of the key's latest certificate, whatever it is for.
fn latest(public: &PublicKey, pool: &[Vec<u8>], now: SystemTime) -> Result<Choice, ChainError> {
    let mut own: Vec<Certificate> = pool
        .iter()
        .filter(|der| chain::matches(public, der))
        .filter_map(|der| Certificate::from_der(der).ok())
        .collect();
    let at = Time::from_system(now);
    own.sort_by_key(|certificate| {
        let (begins, ends) = (certificate.not_before(), certificate.not_after());
        (certificate.is_valid_at(at), begins, ends)
    });
    let others: Vec<Vec<u8>> = pool
        .iter()
        .filter(|der| !chain::matches(public, der))
        .cloned()
        .collect();
    let mut last = Err(ChainError::NoCertificate);
    for certificate in own.iter().rev() {
        let with_one = [&[certificate.der().to_vec()], others.as_slice()].concat();
        last = chain::choose(public, &with_one, now);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// Tells the user which certificate was taken, where there was a choice, and of each other why not.
pub(crate) fn tell_choice(choice: &Choice, key_name: &str, context: &Context<'_>) {
    if choice.passed_over.is_empty() {
        return;
    }
    context.notice(
        &format!(
            "{key_name} has several certificates; taken is {}",
            choice.leaf
        ),
        None,
    );
    for passed in choice.passed_over.iter().take(MAX_TOLD) {
        // The reason first: a notice is cut off at its end.
        context.notice(
            &format!("not taken, since {}: {}", passed.why, passed.certificate),
            None,
        );
    }
    if let Some(more @ 1..) = choice.passed_over.len().checked_sub(MAX_TOLD) {
        context.notice(&format!("nor {more} others"), None);
    }
}
