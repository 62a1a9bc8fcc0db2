//! The policy for OCI artifacts, `trustpolicy.oci.json`.
//!
//! ```json
//! {
//!   "version": "1.0",
//!   "trustPolicies": [{
//!     "name": "production",
//!     "registryScopes": ["registry.acme-rockets.io/software/net-monitor"],
//!     "signatureVerification": { "level": "strict", "override": { "revocation": "log" } },
//!     "trustStores": ["ca:acme-rockets"],
//!     "trustedIdentities": ["x509.subject: C=US, ST=WA, O=acme-rockets.io, OU=Release"]
//!   }]
//! }
//! ```

// Requirements: TP-08 to TP-42.

use std::collections::BTreeMap;

use super::document::{self, Applicability, Read};
use super::reader::{MalformedPolicy, Object};
use super::statement::Verification;
use super::{Kind, PolicyError, Scope, Scopes, SelectionError, Warning};
use crate::text::nearest;

/// A policy document for OCI artifacts that satisfies every rule.
pub type Document = document::Document<Scopes>;

/// One statement.
pub type Statement = document::Statement<Scopes>;

impl Applicability for Scopes {
    const KIND: Kind = Kind::Oci;
}

impl Read for Scopes {
    const MEMBER: &'static str = "registryScopes";
    type Text = Vec<String>;

    fn read(statement: &Object<'_>) -> Result<Self::Text, MalformedPolicy> {
        statement.strings_or_null(Self::MEMBER)
    }

    fn check(statement: &str, texts: &Self::Text) -> Result<Self, PolicyError> {
        scopes(statement, texts)
    }

    fn check_all(_: &[Statement], texts: &[Self::Text]) -> Result<(), PolicyError> {
        refuse_duplicate_scopes(texts.iter().flatten())
    }

    fn warning(statement: &Statement) -> Option<Warning> {
        let skips_all =
            *statement.scopes() == Self::Any && *statement.verification() == Verification::Skip;
        skips_all.then(|| Warning::WildcardSkip {
            statement: statement.name().to_owned(),
        })
    }
}

impl Document {
    /// The statement for `reference`, `<repository>@<digest>`: the one that names the repository,
    /// else the one with `*`.
    ///
    /// # Errors
    /// If the reference has no digest or no fully qualified repository, or no statement applies.
    // TP-40
    pub fn statement_for(&self, reference: &str) -> Result<&Statement, SelectionError> {
        let (repository, _) =
            reference
                .rsplit_once('@')
                .ok_or_else(|| SelectionError::NoScope {
                    reference: reference.to_owned(),
                })?;
        self.statement_for_repository(repository, || reference.to_owned())
    }

    /// The statement for a repository, `domain[:port]/name`; `reference` says for an error what was
    /// looked for.
    ///
    /// # Errors
    /// If the repository is none, or no statement applies.
    pub fn statement_for_repository(
        &self,
        repository: &str,
        reference: impl FnOnce() -> String,
    ) -> Result<&Statement, SelectionError> {
        self.statement_for_scope(&Scope::parse(repository)?)
            .ok_or_else(|| SelectionError::NoneApplies {
                reference: reference(),
                nearest: self.nearest_scope(repository),
            })
    }

    /// Of all scopes the one that is near to a repository.
    fn nearest_scope(&self, repository: &str) -> Option<String> {
        let known: Vec<_> = self
            .statements()
            .iter()
            .flat_map(|statement| statement.scopes().texts())
            .collect();
        nearest(repository, &known).map(str::to_owned)
    }

    /// The statement for a repository, if one applies.
    pub fn statement_for_scope(&self, scope: &Scope) -> Option<&Statement> {
        let mut statements = self.statements().iter();
        let exact = statements.find(|s| s.scopes().named(scope).is_some());
        exact.or_else(|| {
            self.statements()
                .iter()
                .find(|s| *s.scopes() == Scopes::Any)
        })
    }
}

impl Statement {
    /// The repositories it speaks about.
    pub fn scopes(&self) -> &Scopes {
        self.applies_to()
    }
}

/// The scopes of one statement (TP-35, TP-36).
fn scopes(statement: &str, texts: &[String]) -> Result<Scopes, PolicyError> {
    let statement = || statement.to_owned();
    match texts {
        [] => Err(PolicyError::NoScopes {
            statement: statement(),
        }),
        [only] if only == "*" => Ok(Scopes::Any),
        several if several.iter().any(|t| t == "*") => Err(PolicyError::WildcardScopeNotAlone {
            statement: statement(),
        }),
        several => {
            let scopes: Result<Vec<_>, _> = several.iter().map(|t| Scope::parse(t)).collect();
            Ok(Scopes::Repositories(scopes?))
        }
    }
}

/// One scope belongs to one statement, `*` included, however it is spelt (TP-37).
fn refuse_duplicate_scopes<'a>(
    scopes: impl Iterator<Item = &'a String>,
) -> Result<(), PolicyError> {
    let mut seen = BTreeMap::new();
    for scope in scopes {
        let normal = match scope.as_str() {
            "*" => scope.clone(),
            text => Scope::parse(text)?.normal().to_owned(),
        };
        match seen.insert(normal, scope) {
            None => {}
            Some(first) if first == scope => {
                return Err(PolicyError::DuplicateScope {
                    scope: scope.clone(),
                });
            }
            Some(first) => {
                return Err(PolicyError::EqualScopes {
                    first: first.clone(),
                    second: scope.clone(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    fn statement(name: &str, scopes: &str) -> String {
        format!(
            r#"{{"name":"{name}","registryScopes":{scopes},"signatureVerification":{{"level":"strict"}},"trustStores":["ca:a"],"trustedIdentities":["*"]}}"#
        )
    }

    fn document(statements: &[String]) -> String {
        format!(
            r#"{{"version":"1.0","trustPolicies":[{}]}}"#,
            statements.join(",")
        )
    }

    fn fault(text: &str) -> String {
        Document::parse(text.as_bytes()).unwrap_err().told()
    }

    fn fault_of(statements: &[String]) -> String {
        fault(&document(statements))
    }

    /// TP-08, TP-09, TP-10: the document's own members.
    #[test]
    fn document_faults() {
        for (text, expected) in [
            (
                "{}",
                "oci trust policy document has empty version, version must be specified",
            ),
            (
                r#"{"version":"1.1","trustPolicies":[]}"#,
                "oci trust policy document uses unsupported version \"1.1\"",
            ),
            (
                r#"{"version":"1.0"}"#,
                "oci trust policy document can not have zero trust policy statements",
            ),
            (
                r#"{"version":"1.0","trustPolicies":null}"#,
                "oci trust policy document can not have zero trust policy statements",
            ),
        ] {
            assert_eq!(fault(text), expected);
        }
    }

    /// TP-04, TP-06, SEC-26: what is no policy document, and why.
    #[test]
    fn malformed_documents() {
        let good = statement("a", r#"["a/b"]"#);
        for (text, cause) in [
            ("", ""),
            ("[]", "document: must be an object, but is an array"),
            (
                r#"{"version":1}"#,
                "version: must be a string, but is a number",
            ),
            (
                r#"{"version":"1.0","version":"1.0","trustPolicies":[]}"#,
                "",
            ),
            (
                r#"{"Version":"1.0"}"#,
                "Version: must be written \"version\"",
            ),
            (
                &format!("{} {{}}", document(std::slice::from_ref(&good))),
                "",
            ),
            (
                &document(&[good.replace(r#"["a/b"]"#, r#""a/b""#)]),
                "trustPolicies[0] (\"a\").registryScopes: must be an array, but is a string",
            ),
            (
                &document(&[good.replace(r#""ca:a""#, "7")]),
                "trustPolicies[0] (\"a\").trustStores[0]: must be a string, but is a number",
            ),
            (
                &document(&[good.replace("\"level\"", "\"Level\"")]),
                "trustPolicies[0] (\"a\").signatureVerification.Level: must be written \"level\"",
            ),
        ] {
            let error = Document::parse(text.as_bytes()).unwrap_err();
            assert!(error.is_malformed(), "{text}: {error}");
            assert_eq!(
                error.to_string(),
                "malformed trust policy. To create a trust policy, see: https://notaryproject.dev/docs/quickstart/#create-a-trust-policy"
            );
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains(cause), "{text}: {source}");
        }
    }

    /// TP-06: `null` is no rule, but for the lists that Go writes so when they are empty.
    #[test]
    fn tp_06_null_is_no_rule() {
        let good = statement("a", r#"["a/b"]"#);
        let verification = r#"{"level":"strict"}"#;
        for (text, place) in [
            (
                good.replace(verification, r#"{"level":"strict","override":null}"#),
                "trustPolicies[0] (\"a\").signatureVerification.override: must be an object, but is null",
            ),
            (
                good.replace(
                    verification,
                    r#"{"level":"audit","override":{"revocation":null}}"#,
                ),
                "trustPolicies[0] (\"a\").signatureVerification.override.revocation: must be a string, but is null",
            ),
            (
                good.replace(verification, r#"{"level":"strict","verifyTimestamp":null}"#),
                "trustPolicies[0] (\"a\").signatureVerification.verifyTimestamp: must be a string, but is null",
            ),
            (
                good.replace(verification, r#"{"level":null}"#),
                "trustPolicies[0] (\"a\").signatureVerification.level: must be a string, but is null",
            ),
            (
                good.replace(verification, "null"),
                "trustPolicies[0] (\"a\").signatureVerification: must be an object, but is null",
            ),
            (
                good.replace(r#""a""#, "null"),
                "trustPolicies[0].name: must be a string, but is null",
            ),
            (
                good.replace(r#"["ca:a"]"#, "[null]"),
                "trustPolicies[0] (\"a\").trustStores[0]: must be a string, but is null",
            ),
            (
                "null".to_owned(),
                "trustPolicies[0]: must be an object, but is null",
            ),
        ] {
            let error = Document::parse(document(&[text]).as_bytes()).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(source, place);
        }
        let version = document(std::slice::from_ref(&good)).replace(r#""1.0""#, "null");
        assert!(
            Document::parse(version.as_bytes())
                .unwrap_err()
                .is_malformed()
        );
        // The member for hardsign's own rules is out of place, whatever it holds.
        let rules = document(&[good]).replace(r#""version""#, r#""hardsign":null,"version""#);
        let error = Document::parse(rules.as_bytes()).unwrap_err();
        assert!(matches!(error, PolicyError::Misplaced), "{error}");
        let error = Document::parse_with_rules(rules.as_bytes()).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "hardsign: must be an object, but is null");
    }

    /// TP-06: a misspelt member is shown, since it has no effect.
    #[test]
    fn unknown_members_are_warnings() {
        let text = document(&[statement("a", r#"["a/b"]"#)
            .replace(r#""level":"strict""#, r#""level":"audit","overide":{}"#)])
        .replace(r#""version""#, r#""x":1,"version""#);
        let warnings: Vec<_> = Document::parse(text.as_bytes())
            .unwrap()
            .warnings()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            warnings,
            [
                "trust policy: unknown member x has no effect",
                "trust policy: unknown member trustPolicies[0] (\"a\").signatureVerification.overide has no effect; did you mean override?",
            ]
        );
    }

    /// TP-11.
    #[test]
    fn names_are_present_and_unique() {
        assert_eq!(
            fault_of(&[statement("", r#"["a/b"]"#)]),
            "oci trust policy: a trust policy statement is missing a name, every statement requires a name"
        );
        assert_eq!(
            fault_of(&[statement("a", r#"["a/b"]"#), statement("a", r#"["a/c"]"#)]),
            "multiple oci trust policy statements use the same name \"a\", statement names must be unique"
        );
    }

    /// TP-07: one bad statement fails a document whose other statements are good.
    #[test]
    fn one_fault_fails_the_document() {
        let bad = statement("bad", r#"["a/c"]"#).replace("strict", "lax");
        assert_eq!(
            fault_of(&[statement("good", r#"["a/b"]"#), bad]),
            "oci trust policy: trust policy statement \"bad\" has invalid signatureVerification: invalid signature verification level \"lax\""
        );
    }

    /// TP-35 to TP-37, TP-39.
    #[test]
    fn scope_faults() {
        for (scopes, expected) in [
            (
                "[]",
                "oci trust policy statement \"a\" has zero registry scopes, it must specify registry scopes with at least one value",
            ),
            (
                r#"["*","a/b"]"#,
                "oci trust policy statement \"a\" uses wildcard registry scope '*', a wildcard scope cannot be used in conjunction with other scope values",
            ),
            (
                r#"["a/b","a/b"]"#,
                "registry scope \"a/b\" is present in multiple oci trust policy statements, one registry scope value can only be associated with one statement",
            ),
            (
                r#"["b"]"#,
                "registry scope \"b\" is not valid, make sure it is a fully qualified repository without the scheme, protocol or tag. For example domain.com/my/repository or a local scope like local/myOCILayout",
            ),
        ] {
            assert_eq!(fault_of(&[statement("a", scopes)]), expected);
        }
        for shared in [r#"["a/b"]"#, r#"["*"]"#] {
            let error = fault_of(&[statement("a", shared), statement("b", shared)]);
            assert!(error.contains("is present in multiple"), "{error}");
        }
    }

    /// TP-37: scopes that are one repository in two spellings are refused, and both are named.
    #[test]
    fn tp_37_scopes_that_are_equal_afterwards() {
        for (first, second) in [
            ("A.io/b", "a.io/b"),
            ("a.io/b", "a.io:443/b"),
            ("a.io:05000/b", "a.io:5000/b"),
            ("docker.io/library/x", "index.docker.io/library/x"),
            ("registry-1.docker.io/x", "index.docker.io/x"),
            ("[::1]:5000/b", "[0:0::1]:5000/b"),
            ("127.0.0.1/b", "127.1/b"),
        ] {
            let expected = format!(
                "registry scopes \"{first}\" and \"{second}\" are one repository in two spellings, one registry scope value can only be associated with one statement"
            );
            let both = statement("a", &format!("[\"{first}\",\"{second}\"]"));
            assert_eq!(fault_of(&[both]), expected);
            let one = |name, scope| statement(name, &format!("[\"{scope}\"]"));
            assert_eq!(fault_of(&[one("a", first), one("b", second)]), expected);
        }
    }

    /// TP-40, TP-41: exact before `*`, nothing expanded.
    #[test]
    fn selection() {
        let text = document(&[
            statement("any", r#"["*"]"#),
            statement("two", r#"["a.io/b","a.io/c"]"#),
        ]);
        let policy = Document::parse(text.as_bytes()).unwrap();
        for (reference, name) in [
            ("a.io/b@sha256:00", "two"),
            ("a.io/c@x", "two"),
            ("a.io/b/d@x", "any"),
            // However the registry is spelt.
            ("A.io/b@x", "two"),
            ("a.io:443/b@x", "two"),
            ("A.IO.:0443/c@x", "two"),
            ("a.io:80/b@x", "any"),
        ] {
            assert_eq!(policy.statement_for(reference).unwrap().name(), name);
        }
        for (reference, expected) in [
            ("a.io/b", "artifact URI \"a.io/b\" could not be parsed"),
            ("b@x", "registry scope \"b\" is not valid"),
            ("a.io/b@x@y", "registry scope \"a.io/b@x\" is not valid"),
        ] {
            let error = policy.statement_for(reference).unwrap_err().told();
            assert!(error.starts_with(expected), "{error}");
        }
        let text = document(&[statement("two", r#"["docker.io/library/x"]"#)]);
        let policy = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(
            policy.statement_for("a/x@d").unwrap_err().told(),
            "artifact \"a/x@d\" has no applicable oci trust policy statement. Trust policy applicability for a given artifact is determined by registryScopes. To create a trust policy, see: https://notaryproject.dev/docs/quickstart/#create-a-trust-policy"
        );
    }

    /// TP-42, DIF-07.
    #[test]
    fn wildcard_skip_is_accepted_with_a_warning() {
        let skip = r#"{"name":"s","registryScopes":["*"],"signatureVerification":{"level":"skip"},"trustStores":null}"#;
        let policy = Document::parse(document(&[skip.to_owned()]).as_bytes()).unwrap();
        assert_eq!(
            policy.warnings(),
            [Warning::WildcardSkip {
                statement: "s".to_owned()
            }]
        );
        let named = skip.replace('*', "a/b");
        let policy = Document::parse(document(&[named]).as_bytes()).unwrap();
        assert_eq!(policy.warnings(), []);
    }
}
