//! What can go wrong between this plugin and a token, with the user's next step.

use std::fmt;
use std::path::{Path, PathBuf};

use cryptoki::error::{Error as CryptokiError, RvError};
use hardsign_plugin::Error;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::LoadError;
use hardsign_plugin::error::ErrorCode;

/// A failed call, under the names of PKCS#11.
#[derive(Debug)]
pub(crate) struct Call(pub(crate) CryptokiError);

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            CryptokiError::Pkcs11(value, function) => {
                write!(f, "C_{function:?} gave {}", return_value(*value))
            }
            other => other.fmt(f),
        }
    }
}

impl std::error::Error for Call {}

impl From<CryptokiError> for Call {
    fn from(error: CryptokiError) -> Self {
        Self(error)
    }
}

impl Call {
    /// The return value, if a PKCS#11 function gave one.
    pub(crate) fn value(&self) -> Option<RvError> {
        match &self.0 {
            CryptokiError::Pkcs11(value, _) => Some(*value),
            _ => None,
        }
    }

    /// Whether the token, the session or the object has gone, so that a new session may help.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(
            self.value(),
            Some(
                RvError::CryptokiNotInitialized
                    | RvError::DeviceError
                    | RvError::DeviceRemoved
                    | RvError::GeneralError
                    | RvError::KeyHandleInvalid
                    | RvError::ObjectHandleInvalid
                    | RvError::SessionClosed
                    | RvError::SessionHandleInvalid
                    | RvError::SlotIdInvalid
                    | RvError::TokenNotPresent
                    | RvError::TokenNotRecognized
            )
        )
    }
}

/// `PinIncorrect` as `CKR_PIN_INCORRECT`; a code without a name as a number.
fn return_value(value: RvError) -> String {
    if let RvError::VendorDefined(code) | RvError::UnknownErrorCode(code) = value {
        return format!("{code:#010x}");
    }
    let camel = format!("{value:?}");
    let mut name = "CKR".to_owned();
    for character in camel.chars() {
        if character.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(character.to_ascii_uppercase());
    }
    name
}

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Pkcs11Error {
    #[error("no PKCS#11 module was named for {key}")]
    NoModule { key: String, found: Vec<PathBuf> },
    #[error("there is no PKCS#11 module at {path:?}")]
    ModuleMissing { path: PathBuf, found: Vec<PathBuf> },
    #[error("PKCS#11 module {path:?} can't be loaded")]
    ModuleLoad { path: PathBuf, source: Call },
    #[error("PKCS#11 module {path:?} can't be used")]
    ModuleFailed { path: PathBuf, source: Call },
    #[error("PKCS#11 module {module:?} is not what the URI asks for: {what}")]
    OtherLibrary { module: PathBuf, what: String },
    #[error("there is no token {wanted} at module {module:?}")]
    NoToken {
        module: PathBuf,
        wanted: String,
        seen: Vec<String>,
        unusable: Vec<String>,
    },
    #[error("more than one token at module {module:?} is meant by {wanted}: {}", matching.join("; "))]
    ManyTokens {
        module: PathBuf,
        wanted: String,
        matching: Vec<String>,
        advice: &'static str,
    },
    #[error("the user PIN of {token} is locked")]
    PinLocked { token: String },
    #[error(
        "{token} allows one more try of the user PIN before it locks itself; that try is not made here"
    )]
    FinalTry { token: String },
    #[error("{token} has no user PIN yet")]
    PinNotSet { token: String },
    #[error("{token} refused the PIN")]
    WrongPin {
        token: String,
        low: bool,
        /// The token has a way of its own to enter a PIN.
        at_the_device: bool,
        source: Call,
    },
    #[error("login to {token} failed")]
    Login { token: String, source: Call },
    #[error("there is no private {key} in {token}")]
    NoKey {
        token: String,
        key: String,
        seen: Vec<String>,
        logged_in: bool,
    },
    #[error("more than one private key in {token} is meant by {key}: {}", matching.join("; "))]
    ManyKeys {
        token: String,
        key: String,
        matching: Vec<String>,
        advice: String,
    },
    #[error("{key} in {token} can't be used: it is {what}")]
    UnusableKey {
        token: String,
        key: String,
        what: String,
    },
    #[error("{key} in {token} may not sign (CKA_SIGN is false)")]
    NotForSigning { token: String, key: String },
    #[error("public half of {key} was not found in {token}")]
    NoPublicKey {
        token: String,
        key: String,
        /// The certificate file that was named.
        file: Option<PathBuf>,
    },
    #[error("{token} can't sign with {key_spec} keys: it has no mechanism {mechanism}")]
    NoMechanism {
        token: String,
        key_spec: KeySpec,
        mechanism: &'static str,
    },
    #[error(
        "{token} signs RSASSA-PSS with a salt of {found} bytes whatever is asked for; Notary Project \
         signatures need {wanted}"
    )]
    Salt {
        token: String,
        found: usize,
        wanted: usize,
    },
    #[error("{token} went away and was not back within {seconds} seconds")]
    Away {
        token: String,
        seconds: u64,
        source: Call,
    },
    #[error("the new key has no name")]
    NoLabel,
    #[error("{token} is write-protected")]
    ReadOnly { token: String },
    #[error("{token} has no room for another object")]
    Full { token: String, source: Call },
    #[error("{doing} {token} failed")]
    Write {
        doing: &'static str,
        token: String,
        source: Call,
    },
    #[error("there is a key already in {token}: {}", keys.join("; "))]
    KeyExists { token: String, keys: Vec<String> },
    #[error("{token} can't make {key_spec} keys")]
    CannotMake {
        token: String,
        key_spec: KeySpec,
        source: Call,
    },
    #[error(
        "{token} made a key that could be read out, whatever was asked for; it was deleted again"
    )]
    Exportable { token: String },
    #[error("{token} is back, with another key under the name of {key}")]
    OtherKey { token: String, key: String },
    #[error("{doing} {token} failed")]
    Token {
        doing: &'static str,
        token: String,
        source: Call,
    },
    #[error(transparent)]
    CertificateFile(#[from] LoadError),
    #[error("certificate {subject:?} in {place} does not match {key} in {token}")]
    Mismatch {
        subject: String,
        place: String,
        key: String,
        token: String,
    },
}

impl From<Pkcs11Error> for Error {
    fn from(error: Pkcs11Error) -> Self {
        let answer = Self::from_error(code(&error), &error);
        match hint(&error) {
            Some(hint) => answer.with_hint(hint),
            None => answer,
        }
    }
}

fn code(error: &Pkcs11Error) -> ErrorCode {
    match error {
        Pkcs11Error::PinLocked { .. }
        | Pkcs11Error::FinalTry { .. }
        | Pkcs11Error::PinNotSet { .. }
        | Pkcs11Error::WrongPin { .. }
        | Pkcs11Error::Login { .. } => ErrorCode::AccessDenied,
        Pkcs11Error::Token { source, .. } if source.value() == Some(RvError::UserNotLoggedIn) => {
            ErrorCode::AccessDenied
        }
        Pkcs11Error::Token { .. }
        | Pkcs11Error::Away { .. }
        | Pkcs11Error::Write { .. }
        | Pkcs11Error::Full { .. }
        | Pkcs11Error::ModuleLoad { .. }
        | Pkcs11Error::ModuleFailed { .. } => ErrorCode::Error,
        _ => ErrorCode::ValidationError,
    }
}

fn hint(error: &Pkcs11Error) -> Option<String> {
    Some(match error {
        Pkcs11Error::NoModule { found, .. } => format!(
            "add ?module-path=/path/to/module.so to the URI, or set it as plugin config; {}",
            modules(found)
        ),
        Pkcs11Error::ModuleMissing { found, .. } => modules(found),
        Pkcs11Error::ModuleLoad { .. } => {
            "check that the file is a PKCS#11 module for this machine and may be read".to_owned()
        }
        Pkcs11Error::ModuleFailed { path, .. } => configuration(path),
        Pkcs11Error::NoToken { seen, unusable, .. } => tokens(seen, unusable),
        Pkcs11Error::ManyTokens { advice, .. } => (*advice).to_owned(),
        Pkcs11Error::PinLocked { .. } => {
            "unblock it with the SO PIN or PUK in the token's own tool".to_owned()
        }
        Pkcs11Error::FinalTry { .. } => {
            "log in once with the right PIN in another tool, for instance pkcs11-tool --login \
             --list-objects; that resets the count"
                .to_owned()
        }
        Pkcs11Error::PinNotSet { .. } => "set the user PIN in the token's own tool".to_owned(),
        Pkcs11Error::WrongPin {
            at_the_device: true,
            ..
        } => "this token has a PIN pad or another way of its own: leave pin-source out, and enter the \
              PIN at the device"
            .to_owned(),
        Pkcs11Error::WrongPin { low: true, .. } => {
            "check the PIN and its source; few tries are left before the token locks itself"
                .to_owned()
        }
        Pkcs11Error::WrongPin { .. } => "check the PIN and its source".to_owned(),
        Pkcs11Error::NoKey {
            seen, logged_in, ..
        } => keys(seen, *logged_in),
        Pkcs11Error::ManyKeys { advice, .. } => advice.clone(),
        Pkcs11Error::UnusableKey { .. } => {
            "Notary Project signatures need RSA with 2048, 3072 or 4096 bits, or EC on P-256, \
             P-384 or P-521"
                .to_owned()
        }
        Pkcs11Error::NoPublicKey {
            file: Some(file), ..
        } => format!("put the certificate that was issued for this key into {file:?}, leaf first"),
        Pkcs11Error::NoPublicKey { .. } => {
            "store the public key or the certificate in the token under the same id, or name a \
             certificate file with cert-chain"
                .to_owned()
        }
        Pkcs11Error::Mismatch { .. } => {
            "name the certificate that was issued for this key, or the key of this certificate"
                .to_owned()
        }
        Pkcs11Error::Salt { .. } => {
            "use an EC key of this token, or a token whose salt can be chosen; CKM_RSA_X_509, which \
             would do as well, is not offered"
                .to_owned()
        }
        Pkcs11Error::NoLabel => {
            "name it in the key id: --id 'pkcs11:token=TOKEN;object=NAME'".to_owned()
        }
        Pkcs11Error::ReadOnly { .. } => {
            "use a token that can be written, or have this one opened for writing by its own tool"
                .to_owned()
        }
        Pkcs11Error::Full { .. } => {
            "delete what is not used any more in the token's own tool".to_owned()
        }
        Pkcs11Error::Write { .. } => {
            "check that the token's storage is not full and may be written by you".to_owned()
        }
        Pkcs11Error::KeyExists { .. } => {
            "choose another object= and id=; --force replaces the key, which deletes the old one with \
             its certificates for good: nothing can be signed with it any more"
                .to_owned()
        }
        Pkcs11Error::CannotMake { .. } => "ask for another --type".to_owned(),
        Pkcs11Error::Away { .. } => {
            "check that the device is plugged in and its service runs, then start again".to_owned()
        }
        Pkcs11Error::Token { source, .. } => return lost(source.value()?),
        _ => return None,
    })
}

fn lost(value: RvError) -> Option<String> {
    matches!(
        value,
        RvError::DeviceRemoved | RvError::TokenNotPresent | RvError::DeviceError
    )
    .then(|| "check that the device is plugged in, then start again".to_owned())
}

/// What a module reads before it works.
fn configuration(module: &Path) -> String {
    let name = module.to_string_lossy();
    #[allow(
        clippy::disallowed_methods,
        reason = "the variable is the module's; it is named, not followed"
    )]
    let variable = std::env::var_os("SOFTHSM2_CONF");
    match (name.contains("softhsm"), variable) {
        (true, Some(file)) => format!(
            "check SoftHSM's configuration: SOFTHSM2_CONF names {}; its token directory must be there \
             and be readable",
            file.display()
        ),
        (true, None) => "check SoftHSM's configuration: /etc/softhsm/softhsm2.conf is often for its \
                         own group only; SOFTHSM2_CONF names another, whose directories.tokendir is \
                         yours"
            .to_owned(),
        (false, _) => "check the module's own configuration and that its device or service can be \
                       reached"
            .to_owned(),
    }
}

fn tokens(seen: &[String], unusable: &[String]) -> String {
    let mut parts = Vec::new();
    if !seen.is_empty() {
        parts.push(format!("tokens seen: {}", seen.join("; ")));
    }
    if !unusable.is_empty() {
        parts.push(format!("slots that can't be used: {}", unusable.join("; ")));
    }
    match parts.is_empty() {
        true => "the module shows no token at all: is the device plugged in, and the module's \
                 configuration the right one?"
            .to_owned(),
        false => parts.join("; "),
    }
}

fn modules(found: &[PathBuf]) -> String {
    if found.is_empty() {
        return "no module was found in the usual places; SoftHSM's is \
                /usr/lib/softhsm/libsofthsm2.so"
            .to_owned();
    }
    let found: Vec<_> = found
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    format!("modules on this machine: {}", found.join(", "))
}

fn keys(seen: &[String], logged_in: bool) -> String {
    match (seen.is_empty(), logged_in) {
        (false, _) => format!("keys seen: {}", seen.join("; ")),
        (true, true) => "the token holds no private keys".to_owned(),
        (true, false) => "the token wanted no login, and shows no private keys without".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn calls_have_their_pkcs11_names() {
        let call = Call(CryptokiError::Pkcs11(
            RvError::PinIncorrect,
            Function::Login,
        ));
        assert_eq!(call.to_string(), "C_Login gave CKR_PIN_INCORRECT");
        for (value, name) in [
            (RvError::TokenNotRecognized, "CKR_TOKEN_NOT_RECOGNIZED"),
            (RvError::RandomNoRng, "CKR_RANDOM_NO_RNG"),
            (RvError::VendorDefined(0x8000_0102), "0x80000102"),
            (RvError::UnknownErrorCode(0x1f), "0x0000001f"),
        ] {
            assert_eq!(return_value(value), name);
        }
    }

    #[test]
    fn login_failures_are_never_retried() {
        let call = || {
            Call(CryptokiError::Pkcs11(
                RvError::PinIncorrect,
                Function::Login,
            ))
        };
        let token = || "token \"T\"".to_owned();
        for error in [
            Pkcs11Error::WrongPin {
                token: token(),
                low: false,
                at_the_device: false,
                source: call(),
            },
            Pkcs11Error::FinalTry { token: token() },
            Pkcs11Error::PinLocked { token: token() },
        ] {
            let error = Error::from(error);
            assert_eq!(error.code(), &ErrorCode::AccessDenied);
            assert!(error.hint().is_some());
        }
    }
}
