//! Verification levels: which check is enforced, logged or skipped ("Signature Verification
//! details" and "Custom Verification Level" of the trust policy specification; VER-01 to VER-05,
//! TP-13 to TP-17).

use std::collections::BTreeMap;
use std::fmt;

use super::QuotedList;
use crate::artifact::Quoted;
use crate::text::did_you_mean;

/// One of the checks that a level decides about, in the order in which they are done.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Check {
    /// The envelope is well formed and its signature verifies with the leaf's key.
    Integrity,
    /// The chain is trusted and the signer is one of the trusted identities.
    Authenticity,
    /// The chain was valid when the signature was made.
    AuthenticTimestamp,
    /// The signature has not expired.
    Expiry,
    /// No certificate of the chain is revoked.
    Revocation,
}

/// What a failed check does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// The signature fails.
    Enforce,
    /// The failure is recorded and shown; verification goes on.
    Log,
    /// The check is not done at all.
    Skip,
}

/// A base level of the specification.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Level {
    /// Everything is enforced.
    // VER-01
    Strict,
    /// Integrity and authenticity are enforced, the rest is logged.
    // VER-02
    Permissive,
    /// Integrity is enforced, the rest is logged.
    // VER-03
    Audit,
    /// Nothing is done.
    // VER-04
    Skip,
}

/// The action of each check. Integrity is always enforced and only revocation can be skipped, so
/// no other combination can be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Actions {
    authenticity: Action,
    authentic_timestamp: Action,
    expiry: Action,
    revocation: Action,
}

/// When the timestamp of a signature is looked at.
// TP-17
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum VerifyTimestamp {
    /// Always; the default.
    #[default]
    Always,
    /// Only once a certificate of the signing chain has expired.
    AfterCertExpiry,
}

/// A fault in `signatureVerification`. The texts follow `has invalid signatureVerification: `.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LevelFault {
    /// No level.
    #[error("signature verification level is empty or missing in the trust policy statement")]
    Missing,
    /// A level that does not exist.
    #[error("invalid signature verification level {}", Quoted(level))]
    Unknown {
        /// The level as written.
        level: String,
    },
    /// `skip` together with `override`.
    // TP-16
    #[error(
        "signature verification level \"skip\" can't be used to customize signature verification"
    )]
    SkipOverridden,
    /// An override of a check that does not exist.
    #[error(
        "verification type {} in custom signature verification is not supported, supported values are {}",
        Quoted(check),
        QuotedList(&Check::ALL)
    )]
    UnknownCheck {
        /// The check as written.
        check: String,
    },
    /// An override with an action that does not exist.
    #[error(
        "verification action {} in custom signature verification is not supported, supported values are {}",
        Quoted(action),
        QuotedList(&Action::ALL)
    )]
    UnknownAction {
        /// The check as written.
        check: String,
        /// The action as written.
        action: String,
    },
    /// An override of integrity.
    #[error("\"integrity\" verification can not be overridden in custom signature verification")]
    IntegrityOverridden,
    /// A check other than revocation set to `skip`.
    #[error("{} verification can not be skipped in custom signature verification", Quoted(check.name()))]
    NotSkippable {
        /// The check.
        check: Check,
    },
    /// `verifyTimestamp` with another value.
    #[error(
        "verifyTimestamp must be \"always\" or \"afterCertExpiry\", but got {}",
        Quoted(value)
    )]
    VerifyTimestamp {
        /// The value as written.
        value: String,
    },
}

impl LevelFault {
    /// The question whether a known name was meant.
    pub fn did_you_mean(&self) -> Option<String> {
        match self {
            Self::Unknown { level } => did_you_mean(level, Level::ALL.map(Level::name)),
            Self::UnknownCheck { check } => did_you_mean(check, Check::ALL.map(Check::name)),
            Self::UnknownAction { action, .. } => {
                did_you_mean(action, Action::ALL.map(Action::name))
            }
            Self::VerifyTimestamp { value } => did_you_mean(value, ["always", "afterCertExpiry"]),
            _ => None,
        }
    }
}

impl Check {
    /// Every check, in the order of the specification.
    pub const ALL: [Self; 5] = [
        Self::Integrity,
        Self::Authenticity,
        Self::AuthenticTimestamp,
        Self::Expiry,
        Self::Revocation,
    ];

    /// The name in policy documents and messages, for instance `authenticTimestamp`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Authenticity => "authenticity",
            Self::AuthenticTimestamp => "authenticTimestamp",
            Self::Expiry => "expiry",
            Self::Revocation => "revocation",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.name() == name)
    }
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Log, Self::Skip];

    /// The name in policy documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Log => "log",
            Self::Skip => "skip",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 4] = [Self::Strict, Self::Permissive, Self::Audit, Self::Skip];

    /// The name in policy documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Permissive => "permissive",
            Self::Audit => "audit",
            Self::Skip => "skip",
        }
    }

    /// Reads a level; the case matters.
    ///
    /// # Errors
    /// [`LevelFault::Missing`] for the empty text, [`LevelFault::Unknown`] for any other.
    // TP-13
    pub fn parse(text: &str) -> Result<Self, LevelFault> {
        if text.is_empty() {
            return Err(LevelFault::Missing);
        }
        let level = text.to_owned();
        Self::ALL
            .into_iter()
            .find(|l| l.name() == text)
            .ok_or(LevelFault::Unknown { level })
    }

    /// The actions of the level, none for `skip`.
    pub const fn actions(self) -> Option<Actions> {
        let (authenticity, rest) = match self {
            Self::Strict => (Action::Enforce, Action::Enforce),
            Self::Permissive => (Action::Enforce, Action::Log),
            Self::Audit => (Action::Log, Action::Log),
            Self::Skip => return None,
        };
        Some(Actions {
            authenticity,
            authentic_timestamp: rest,
            expiry: rest,
            revocation: rest,
        })
    }
}

impl Actions {
    /// The action for a failure of `check`.
    pub const fn action(&self, check: Check) -> Action {
        match check {
            Check::Integrity => Action::Enforce,
            Check::Authenticity => self.authenticity,
            Check::AuthenticTimestamp => self.authentic_timestamp,
            Check::Expiry => self.expiry,
            Check::Revocation => self.revocation,
        }
    }

    /// Replaces single actions as `override` says.
    ///
    /// # Errors
    /// The first name, action or combination that the specification does not allow, in the order
    /// of the names.
    // TP-14, TP-15
    pub fn overridden(mut self, by: &BTreeMap<String, String>) -> Result<Self, LevelFault> {
        for (name, value) in by {
            let check = Check::from_name(name).ok_or_else(|| LevelFault::UnknownCheck {
                check: name.clone(),
            })?;
            let action = Action::from_name(value).ok_or_else(|| LevelFault::UnknownAction {
                check: name.clone(),
                action: value.clone(),
            })?;
            let slot = match check {
                Check::Integrity => return Err(LevelFault::IntegrityOverridden),
                Check::Authenticity => &mut self.authenticity,
                Check::AuthenticTimestamp => &mut self.authentic_timestamp,
                Check::Expiry => &mut self.expiry,
                Check::Revocation => &mut self.revocation,
            };
            if action == Action::Skip && check != Check::Revocation {
                return Err(LevelFault::NotSkippable { check });
            }
            *slot = action;
        }
        Ok(self)
    }
}

impl VerifyTimestamp {
    /// The name in policy documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::AfterCertExpiry => "afterCertExpiry",
        }
    }

    /// Reads `verifyTimestamp`; the empty text is the default, as in the reference.
    ///
    /// # Errors
    /// [`LevelFault::VerifyTimestamp`] for any other value.
    pub fn parse(text: &str) -> Result<Self, LevelFault> {
        match text {
            "" | "always" => Ok(Self::Always),
            "afterCertExpiry" => Ok(Self::AfterCertExpiry),
            _ => Err(LevelFault::VerifyTimestamp {
                value: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl AsRef<str> for Check {
    fn as_ref(&self) -> &str {
        self.name()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl AsRef<str> for Action {
    fn as_ref(&self) -> &str {
        self.name()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for VerifyTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    /// The table of the specification (VER-01 to VER-04, DIF-27).
    #[test]
    fn levels_are_those_of_the_specification() {
        use Action::{Enforce as E, Log as L};
        for (level, actions) in [
            (Level::Strict, Some([E, E, E, E, E])),
            (Level::Permissive, Some([E, E, L, L, L])),
            (Level::Audit, Some([E, L, L, L, L])),
            (Level::Skip, None),
        ] {
            let got = level.actions().map(|a| Check::ALL.map(|c| a.action(c)));
            assert_eq!(got, actions, "{level}");
        }
    }

    /// TP-13: exact case, and the two texts.
    #[test]
    fn level_names() {
        for level in Level::ALL {
            assert_eq!(Level::parse(level.name()), Ok(level));
        }
        let text = |t: &str| Level::parse(t).unwrap_err().told();
        assert_eq!(
            text(""),
            "signature verification level is empty or missing in the trust policy statement"
        );
        assert_eq!(
            text("Strict"),
            "invalid signature verification level \"Strict\""
        );
    }

    fn one(check: &str, action: &str) -> Result<Actions, LevelFault> {
        let by = BTreeMap::from([(check.to_owned(), action.to_owned())]);
        Level::Permissive.actions().unwrap().overridden(&by)
    }

    /// VER-05, TP-14: one action changes, the others stay.
    #[test]
    fn override_replaces_single_actions() {
        let base = Level::Permissive.actions().unwrap();
        for check in [
            Check::Authenticity,
            Check::AuthenticTimestamp,
            Check::Expiry,
            Check::Revocation,
        ] {
            for action in [Action::Enforce, Action::Log] {
                let got = one(check.name(), action.name()).unwrap();
                for other in Check::ALL {
                    let want = if other == check {
                        action
                    } else {
                        base.action(other)
                    };
                    assert_eq!(got.action(other), want, "{check} {action} {other}");
                }
            }
        }
        let skipped = one("revocation", "skip").unwrap();
        assert_eq!(skipped.action(Check::Revocation), Action::Skip);
    }

    /// TP-15, TSA-27, DIF-29: each text, and that names are case-sensitive (TP-14).
    #[test]
    fn override_faults() {
        let checks = r#"["integrity" "authenticity" "authenticTimestamp" "expiry" "revocation"]"#;
        for (check, action, text) in [
            (
                "Expiry",
                "log",
                format!(
                    "verification type \"Expiry\" in custom signature verification is not supported, supported values are {checks}"
                ),
            ),
            (
                "expiry",
                "Log",
                "verification action \"Log\" in custom signature verification is not supported, supported values are [\"enforce\" \"log\" \"skip\"]".to_owned(),
            ),
            (
                "integrity",
                "log",
                "\"integrity\" verification can not be overridden in custom signature verification".to_owned(),
            ),
            (
                "authenticTimestamp",
                "skip",
                "\"authenticTimestamp\" verification can not be skipped in custom signature verification".to_owned(),
            ),
            (
                "expiry",
                "skip",
                "\"expiry\" verification can not be skipped in custom signature verification".to_owned(),
            ),
            (
                "authenticity",
                "skip",
                "\"authenticity\" verification can not be skipped in custom signature verification".to_owned(),
            ),
        ] {
            assert_eq!(one(check, action).unwrap_err().told(), text);
        }
    }

    /// TP-17.
    #[test]
    fn verify_timestamp_values() {
        assert_eq!(VerifyTimestamp::parse(""), Ok(VerifyTimestamp::Always));
        for value in [VerifyTimestamp::Always, VerifyTimestamp::AfterCertExpiry] {
            assert_eq!(VerifyTimestamp::parse(value.name()), Ok(value));
        }
        assert_eq!(
            VerifyTimestamp::parse("never").unwrap_err().told(),
            "verifyTimestamp must be \"always\" or \"afterCertExpiry\", but got \"never\""
        );
    }
}
