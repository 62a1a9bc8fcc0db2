//! The policy for files, `trustpolicy.blob.json`.
//!
//! ```json
//! {
//!   "version": "1.0",
//!   "trustPolicies": [{
//!     "name": "releases",
//!     "signatureVerification": { "level": "strict" },
//!     "trustStores": ["ca:acme-rockets"],
//!     "trustedIdentities": ["x509.subject: C=US, ST=WA, O=acme-rockets.io, OU=Release"],
//!     "globalPolicy": true
//!   }]
//! }
//! ```

// Requirements: TP-08 to TP-24, TP-43 to TP-45.

use super::document::{self, Applicability, Read};
use super::reader::{MalformedPolicy, Object};
use super::statement::Verification;
use super::{Kind, PolicyError, SelectionError};

/// A policy document for files that satisfies every rule.
pub type Document = document::Document<Global>;

/// One statement.
pub type Statement = document::Statement<Global>;

/// Whether a statement applies where no name is given, and not by its name alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Global(bool);

impl Applicability for Global {
    const KIND: Kind = Kind::Blob;
}

impl Read for Global {
    const MEMBER: &'static str = "globalPolicy";
    type Text = bool;

    fn read(statement: &Object<'_>) -> Result<bool, MalformedPolicy> {
        statement.boolean(Self::MEMBER)
    }

    fn check(_: &str, global: &bool) -> Result<Self, PolicyError> {
        Ok(Self(*global))
    }

    /// At most one global statement, and that one verifies (TP-43, TP-44, DIF-28).
    fn check_all(statements: &[Statement], _: &[bool]) -> Result<(), PolicyError> {
        let mut globals = statements.iter().filter(|s| s.is_global());
        let first = globals.next();
        if let Some(second) = globals.next() {
            return Err(PolicyError::SeveralGlobal {
                statement: second.name().to_owned(),
            });
        }
        match first {
            Some(global) if *global.verification() == Verification::Skip => {
                Err(PolicyError::GlobalSkip {
                    statement: global.name().to_owned(),
                })
            }
            _ => Ok(()),
        }
    }
}

impl Document {
    /// The statement that applies: the one named, else the global one.
    ///
    /// # Errors
    /// If there is no such statement, or the name is blank.
    // TP-45
    pub fn statement_for(&self, name: Option<&str>) -> Result<&Statement, SelectionError> {
        match name {
            None => self
                .statements()
                .iter()
                .find(|s| s.is_global())
                .ok_or(SelectionError::NoGlobal),
            Some(name) if name.trim().is_empty() => Err(SelectionError::EmptyName),
            Some(name) => self
                .statement(name)
                .ok_or_else(|| SelectionError::NoSuchName {
                    name: name.to_owned(),
                    nearest: self.nearest_statement(name),
                }),
        }
    }
}

impl Statement {
    /// Whether it applies where no name is given.
    pub fn is_global(&self) -> bool {
        self.applies_to().0
    }
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    const STRICT: &str = r#""signatureVerification":{"level":"strict"},"trustStores":["ca:a"],"trustedIdentities":["*"]"#;
    const SKIP: &str = r#""signatureVerification":{"level":"skip"}"#;

    fn parse(statements: &[(&str, &str, &str)]) -> Result<Document, PolicyError> {
        let statements: Vec<_> = statements
            .iter()
            .map(|(name, rest, tail)| format!(r#"{{"name":"{name}",{rest}{tail}}}"#))
            .collect();
        let text = format!(
            r#"{{"version":"1.0","trustPolicies":[{}]}}"#,
            statements.join(",")
        );
        Document::parse(text.as_bytes())
    }

    const GLOBAL: &str = r#","globalPolicy":true"#;

    /// TP-43: more than one global statement is refused, none is allowed (DIF-28).
    #[test]
    fn at_most_one_global_statement() {
        assert_eq!(
            parse(&[("a", STRICT, GLOBAL), ("b", STRICT, GLOBAL)])
                .unwrap_err()
                .told(),
            "multiple blob trust policy statements have globalPolicy set to true. Only one trust policy statement can be marked as global policy"
        );
        assert!(parse(&[("a", STRICT, ""), ("b", STRICT, "")]).is_ok());
    }

    /// TP-44, DIF-07: the rule that the reference never applies.
    #[test]
    fn global_statement_never_skips() {
        assert_eq!(
            parse(&[("a", SKIP, GLOBAL)]).unwrap_err().told(),
            "global blob trust policy statement cannot have verification level set to skip"
        );
        assert!(parse(&[("a", SKIP, r#","globalPolicy":false"#)]).is_ok());
    }

    /// TP-45.
    #[test]
    fn selection() {
        let policy = parse(&[("a", STRICT, ""), ("b", STRICT, GLOBAL)]).unwrap();
        let name = |n| policy.statement_for(n).map(Statement::name);
        assert_eq!(name(Some("a")), Ok("a"));
        assert_eq!(name(None), Ok("b"));
        for (given, text) in [
            (Some("A"), "no applicable blob trust policy with name \"A\""),
            (Some(" "), "policy name cannot be empty"),
            (Some(""), "policy name cannot be empty"),
        ] {
            assert_eq!(name(given).unwrap_err().told(), text);
        }
        let policy = parse(&[("a", STRICT, "")]).unwrap();
        assert_eq!(
            policy.statement_for(None).unwrap_err().told(),
            "no global blob trust policy"
        );
    }

    /// TP-08, TP-09: the texts begin with the kind of document.
    #[test]
    fn document_faults() {
        for (text, expected) in [
            (
                "{}",
                "blob trust policy document has empty version, version must be specified",
            ),
            (
                r#"{"version":"2.0"}"#,
                "blob trust policy document uses unsupported version \"2.0\"",
            ),
            (
                r#"{"version":"1.0","trustPolicies":[]}"#,
                "blob trust policy document can not have zero trust policy statements",
            ),
        ] {
            let error = Document::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.told(), expected);
        }
    }
}
