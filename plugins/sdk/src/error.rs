//! Errors that travel from a plugin to its host: the contract's codes, the error answer, and the
//! error type that a plugin author returns.
//!
//! Implements the "Error codes" part of the plugin contract. Parsing is lenient,
//! since the host must show what a foreign plugin meant; writing is exact.

// Requirements: PLG-07, PLG-09.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::proto::{Token, null_as_default, open_names};
use crate::text::WithCauses;

/// The name under `errorMetadata` that holds the user's next step, printed as `Hint:`.
pub const HINT: &str = "hint";

/// The name under `errorMetadata` that holds a question: the same request is done once the user has
/// agreed, with `confirmed` set.
pub const CONFIRM: &str = "confirm";

/// The name under `errorMetadata` that holds the label of the token that the error came from.
pub const TOKEN_LABEL: &str = "tokenLabel";

/// The name under `errorMetadata` that holds the serial number of the token that the error came from.
pub const TOKEN_SERIAL: &str = "tokenSerial";

open_names! {
    /// The contract's error codes.
    // PLG-09
    ErrorCode {
        /// A field of the request is wrong.
        ValidationError => "VALIDATION_ERROR",
        /// The plugin does not speak the contract version of the request.
        UnsupportedContractVersion => "UNSUPPORTED_CONTRACT_VERSION",
        /// Authentication or authorization for the key failed. Never retried.
        AccessDenied => "ACCESS_DENIED",
        /// The operation took too long; it may be retried.
        Timeout => "TIMEOUT",
        /// The key store throttled the request; it may be retried.
        Throttled => "THROTTLED",
        /// Any other failure.
        Error => "ERROR",
    }
}

/// The error answer of the contract: on stderr with exit code 1, or as the `error` of a session.
///
/// ```json
/// {"errorCode":"ACCESS_DENIED","errorMessage":"wrong PIN","errorMetadata":{"hint":"..."}}
/// ```
///
/// Every member may be absent in what a foreign plugin writes; an answer without any is no
/// error answer ([`is_empty`](Self::is_empty)).
// PLG-07
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorResponse {
    /// What kind of failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<ErrorCode>,
    /// What was being done, to what, and why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Further text by name; our plugins put the user's next step under [`HINT`].
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub error_metadata: BTreeMap<String, String>,
}

impl ErrorResponse {
    /// Whether all three members are absent, so that this is not an error answer.
    // PLG-07
    pub fn is_empty(&self) -> bool {
        self.error_code.is_none() && self.error_message.is_none() && self.error_metadata.is_empty()
    }

    /// The user's next step, if the plugin gave one.
    pub fn hint(&self) -> Option<&str> {
        self.error_metadata.get(HINT).map(String::as_str)
    }

    /// What the user has to agree to first, if that is all that is missing.
    pub fn question(&self) -> Option<&str> {
        self.error_metadata.get(CONFIRM).map(String::as_str)
    }

    /// The token that the error came from, if the plugin says so.
    pub fn token(&self) -> Option<Token> {
        let text = |name| self.error_metadata.get(name).cloned();
        let (label, serial) = (text(TOKEN_LABEL), text(TOKEN_SERIAL));
        (label.is_some() || serial.is_some()).then(|| Token {
            label,
            serial,
            ..Token::default()
        })
    }
}

/// What a plugin returns when it can't do what was asked.
///
/// The message is one sentence that says what was being done, to what, and why it failed. The
/// hint is what the user can do next.
///
/// ```
/// use hardsign_plugin::Error;
///
/// let error = Error::access_denied("token \"T\" refused the PIN")
///     .with_hint("2 tries are left before the token locks itself");
/// assert_eq!(error.to_string(), "token \"T\" refused the PIN");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    code: ErrorCode,
    message: String,
    metadata: BTreeMap<String, String>,
}

impl Error {
    /// An error with this code and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            metadata: BTreeMap::new(),
        }
    }

    /// The request or the configuration is wrong (`VALIDATION_ERROR`).
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ValidationError, message)
    }

    /// The user may not use the key: wrong PIN, no login, no permission (`ACCESS_DENIED`).
    pub fn access_denied(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::AccessDenied, message)
    }

    /// The key store did not answer in time (`TIMEOUT`).
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Timeout, message)
    }

    /// The key store asked for fewer requests (`THROTTLED`).
    pub fn throttled(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Throttled, message)
    }

    /// Anything else (`ERROR`).
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Error, message)
    }

    /// An error whose message is that of `error` followed by those of its causes.
    pub fn from_error(code: ErrorCode, error: &(dyn StdError + 'static)) -> Self {
        Self::new(code, WithCauses(error).to_string())
    }

    /// Adds the user's next step.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        self.with_metadata(HINT, hint)
    }

    /// The user has to agree to something first: that a service costs money, that a key is replaced.
    /// `question` is one sentence with a question mark. A host asks it and sends the request again
    /// with `confirmed`.
    pub fn needs_confirmation(question: impl Into<String>) -> Self {
        let question = question.into();
        Self::validation(format!("this needs your consent: {question}"))
            .with_metadata(CONFIRM, question)
    }

    /// Says from which token the error came, so that a host knows where not to try again.
    #[must_use]
    pub fn of_token(mut self, token: &Token) -> Self {
        for (name, value) in [(TOKEN_LABEL, &token.label), (TOKEN_SERIAL, &token.serial)] {
            if let Some(value) = value {
                self = self.with_metadata(name, value);
            }
        }
        self
    }

    /// Adds a further text by name.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// The code.
    pub fn code(&self) -> &ErrorCode {
        &self.code
    }

    /// The user's next step, if one was given.
    pub fn hint(&self) -> Option<&str> {
        self.metadata.get(HINT).map(String::as_str)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {}

impl From<Error> for ErrorResponse {
    fn from(error: Error) -> Self {
        Self {
            error_code: Some(error.code),
            error_message: Some(error.message),
            error_metadata: error.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PLG-09: the six codes, and what is not among them is kept as it was.
    #[test]
    fn plg_09_codes() {
        let names = ErrorCode::KNOWN.map(|code| code.name().to_owned());
        assert_eq!(
            names,
            [
                "VALIDATION_ERROR",
                "UNSUPPORTED_CONTRACT_VERSION",
                "ACCESS_DENIED",
                "TIMEOUT",
                "THROTTLED",
                "ERROR"
            ]
        );
        let code: ErrorCode = serde_json::from_str(r#""OUT_OF_PAPER""#).unwrap();
        assert_eq!(code, ErrorCode::Unknown("OUT_OF_PAPER".into()));
    }

    /// PLG-07: wire form of an error answer.
    #[test]
    fn plg_07_wire_form() {
        let error = Error::access_denied("wrong PIN").with_hint("2 tries are left");
        let json = serde_json::to_string(&ErrorResponse::from(error)).unwrap();
        assert_eq!(
            json,
            r#"{"errorCode":"ACCESS_DENIED","errorMessage":"wrong PIN","errorMetadata":{"hint":"2 tries are left"}}"#
        );
    }

    /// PLG-07: each member may be absent or null; all absent is no error answer.
    #[test]
    fn plg_07_members_are_optional() {
        let only: ErrorResponse = serde_json::from_str(r#"{"errorMessage":"m"}"#).unwrap();
        assert_eq!(only.error_message.as_deref(), Some("m"));
        assert!(!only.is_empty());
        let nulls = r#"{"errorCode":null,"errorMessage":null,"errorMetadata":null,"x":1}"#;
        assert!(
            serde_json::from_str::<ErrorResponse>(nulls)
                .unwrap()
                .is_empty()
        );
        assert!(
            serde_json::from_str::<ErrorResponse>("{}")
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_question_and_a_token_travel_as_metadata() {
        let token = Token {
            label: Some("T".into()),
            serial: Some("7".into()),
            ..Token::default()
        };
        let error = Error::needs_confirmation("Replace key k?").of_token(&token);
        let response = ErrorResponse::from(error);
        let json = serde_json::to_string(&response).unwrap();
        assert_eq!(
            json,
            r#"{"errorCode":"VALIDATION_ERROR","errorMessage":"this needs your consent: Replace key k?","errorMetadata":{"confirm":"Replace key k?","tokenLabel":"T","tokenSerial":"7"}}"#
        );
        assert_eq!(response.question(), Some("Replace key k?"));
        assert_eq!(response.token(), Some(token));
        assert_eq!(ErrorResponse::default().token(), None);
    }
}
