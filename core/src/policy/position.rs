//! Where in the text of a policy a fault stands: line and column, as editors count them.

use std::collections::HashMap;
use std::fmt;

use serde_json::value::RawValue;

use super::hardsign::{HardsignError, RuleFault};
use super::reader::{LIMITS, MalformedPolicy, Place, Step};
use super::{Kind, PolicyError, StatementError, StatementFault};
use crate::json;

/// A place in a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Position {
    fn of(text: &[u8], offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let last = String::from_utf8_lossy(before.get(start..).unwrap_or_default());
        Self {
            line,
            column: last.chars().count() + 1,
        }
    }
}

/// Where in a trust policy what it was refused for stands, as far as that is one place.
pub fn of_policy(text: &[u8], error: &PolicyError) -> Option<Position> {
    let at = |steps: &[Step]| locate(text, steps);
    let statements = || [Step::member("trustPolicies")];
    let named = |name: &str, member: Option<&str>| {
        let position = nth_statement(text, name, 0)?;
        at(&in_statement(position, member))
    };
    match error {
        PolicyError::Malformed(fault) => of_malformed(text, &[], fault),
        PolicyError::Misplaced => at(&[Step::member(super::RULES)]),
        PolicyError::EmptyVersion { .. } | PolicyError::UnsupportedVersion { .. } => {
            at(&[Step::member("version")])
        }
        PolicyError::NoStatements { .. } => at(&statements()),
        PolicyError::DuplicateName { name, .. } => {
            let second = nth_statement(text, name, 1)?;
            at(&in_statement(second, Some("name")))
        }
        PolicyError::Statement { error, .. } => match error {
            StatementError::MissingName => {
                let position = nth_statement(text, "", 0)?;
                at(&in_statement(position, None))
            }
            StatementError::Fault { statement, fault } => named(
                statement,
                match fault {
                    StatementFault::SignatureVerification(_) => Some("signatureVerification"),
                    StatementFault::Store(_) => Some("trustStores"),
                    StatementFault::Identity(_) => Some("trustedIdentities"),
                    StatementFault::SkipWithTrust | StatementFault::Incomplete => None,
                },
            ),
        },
        PolicyError::NoScopes { statement } | PolicyError::WildcardScopeNotAlone { statement } => {
            named(statement, Some("registryScopes"))
        }
        PolicyError::DuplicateScope { scope } => last_scope(text, scope),
        PolicyError::EqualScopes { second, .. } => last_scope(text, second),
        PolicyError::Scope(invalid) => last_scope(text, &invalid.scope),
        PolicyError::SeveralGlobal { statement } | PolicyError::GlobalSkip { statement } => {
            named(statement, None)
        }
    }
}

/// Where in hardsign's own policy what it was refused for stands, as far as that is one place.
/// `within`: the member of a larger document that holds it.
pub fn of_rules(text: &[u8], within: Option<&str>, error: &HardsignError) -> Option<Position> {
    let outside: Vec<_> = within.map(Step::member).into_iter().collect();
    let at = |steps: &[Step]| locate(text, &[&outside[..], steps].concat());
    let rules = |kind: &Kind, statement: &str| {
        vec![Step::member(&kind.to_string()), Step::member(statement)]
    };
    match error {
        HardsignError::Malformed(fault) => of_malformed(text, &[], fault),
        HardsignError::UnknownMember(member) => locate(text, member.place.steps()),
        HardsignError::Version { .. } => at(&[Step::member("version")]).or_else(|| at(&[])),
        HardsignError::UnknownStatement {
            kind, statement, ..
        } => at(&rules(kind, statement)),
        HardsignError::Rules {
            kind,
            statement,
            fault,
        } => {
            let mut steps = rules(kind, statement);
            steps.extend(match **fault {
                RuleFault::NoRule | RuleFault::StatementSkips => None,
                RuleFault::Hardware(_) => Some(Step::member("hardware")),
                RuleFault::NothingAttached
                | RuleFault::TooManyAttached { .. }
                | RuleFault::AttachedType(_)
                | RuleFault::AttachedTwice { .. }
                | RuleFault::AttachedSigners { .. }
                | RuleFault::SameSignerOfOthers { .. }
                | RuleFault::AttachedToFile => Some(Step::member("attached")),
                _ => Some(Step::member("signers")),
            });
            at(&steps)
        }
    }
}

fn of_malformed(text: &[u8], outside: &[Step], fault: &MalformedPolicy) -> Option<Position> {
    let place = |place: &Place| locate(text, &[outside, place.steps()].concat());
    match fault {
        MalformedPolicy::Type { place: at, .. } | MalformedPolicy::NameCase { place: at, .. } => {
            place(at)
        }
        MalformedPolicy::Json(_) => {
            json::fault(text, LIMITS).map(|offset| Position::of(text, offset))
        }
    }
}

fn in_statement(position: usize, member: Option<&str>) -> Vec<Step> {
    let mut steps = vec![Step::member("trustPolicies"), Step::Item(position)];
    steps.extend(member.map(Step::member));
    steps
}

/// The position in the list of the statement of a name, of the `nth` of them.
fn nth_statement(text: &[u8], name: &str, nth: usize) -> Option<usize> {
    let tree: serde_json::Value = serde_json::from_slice(text).ok()?;
    let statements = tree.get("trustPolicies")?.as_array()?;
    let is = |statement: &serde_json::Value| {
        statement
            .get("name")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("")
            == name
    };
    let mut found = statements.iter().enumerate().filter(|(_, s)| is(s));
    found.nth(nth).map(|(position, _)| position)
}

/// The last place where a scope is written.
fn last_scope(text: &[u8], scope: &str) -> Option<Position> {
    let tree: serde_json::Value = serde_json::from_slice(text).ok()?;
    let statements = tree.get("trustPolicies")?.as_array()?;
    let mut found = None;
    for (position, statement) in statements.iter().enumerate() {
        let scopes = statement
            .get("registryScopes")
            .and_then(|scopes| scopes.as_array());
        for (index, item) in scopes.into_iter().flatten().enumerate() {
            if item == scope {
                found = Some((position, index));
            }
        }
    }
    let (position, index) = found?;
    let mut steps = in_statement(position, Some("registryScopes"));
    steps.push(Step::Item(index));
    locate(text, &steps)
}

/// Where the value at a place begins, or that of the nearest one around it.
fn locate(text: &[u8], steps: &[Step]) -> Option<Position> {
    let whole = std::str::from_utf8(text).ok()?;
    let mut value: &str = serde_json::from_str::<&RawValue>(whole).ok()?.get();
    for step in steps {
        let inner = match step {
            Step::Member(name) => serde_json::from_str::<HashMap<String, &RawValue>>(value)
                .ok()
                .and_then(|members| members.get(name).copied()),
            Step::Item(index) => serde_json::from_str::<Vec<&RawValue>>(value)
                .ok()
                .and_then(|items| items.get(*index).copied()),
        };
        match inner {
            Some(inner) => value = inner.get(),
            None => break,
        }
    }
    // Both are slices of one text.
    let offset = (value.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    Some(Position::of(text, offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{blob, hardsign, oci};

    fn oci(text: &str) -> String {
        let error = oci::Document::parse(text.as_bytes()).unwrap_err();
        of_policy(text.as_bytes(), &error).unwrap().to_string()
    }

    fn rules(text: &str) -> String {
        let error = hardsign::Document::parse(text.as_bytes()).unwrap_err();
        of_rules(text.as_bytes(), None, &error).unwrap().to_string()
    }

    /// Each fault of a trust policy is found where its text begins, whatever stands before it.
    #[test]
    fn faults_have_their_line_and_column() {
        let policy = |statements: &str| {
            format!("{{\n  \"version\": \"1.0\",\n  \"trustPolicies\": [\n{statements}\n  ]\n}}")
        };
        let statement = |name: &str, scope: &str, rest: &str| {
            format!(
                "    {{\n      \"name\": \"{name}\",\n      \"registryScopes\": [\"é/x\", {scope}],\n      {rest}\n    }}"
            )
            .replace("\"é/x\", ", "")
        };
        let good = r#""signatureVerification": {"level": "strict"}, "trustStores": ["ca:a"], "trustedIdentities": ["*"]"#;
        for (text, position) in [
            ("{\n  \"version\": \"1.0\",\n  x\n}".to_owned(), "3:3"),
            ("{\n".to_owned(), "2:1"),
            ("{\n  \"é\": 1, \"é\": 2\n}".to_owned(), "2:11"),
            (format!("{{\"version\":\n {}", "[".repeat(20)), "2:17"),
            ("{\"version\": \"1.0\"} {}".to_owned(), "1:20"),
            ("{\"version\": 01}".to_owned(), "1:14"),
            (policy("").replace("1.0", "2.0"), "2:14"),
            (policy(""), "3:20"),
            (policy(&statement("n", "1", good)), "6:26"),
            (policy(&statement("n", "\"x\"", good)), "6:26"),
            (policy(&statement("n", "\"é/x\"", good)), "6:26"),
            (
                policy(&statement("n", "\"a/b\"", &good.replace("strict", "hard"))),
                "7:32",
            ),
            (
                policy(&statement("n", "\"a/b\"", &good.replace("ca:a", "a"))),
                "7:68",
            ),
            (policy(&statement("", "\"a/b\"", good)), "4:5"),
            (
                policy(&format!(
                    "{},\n{}",
                    statement("n", "\"a/b\"", good),
                    statement("n", "\"a/c\"", good)
                )),
                "10:15",
            ),
            (
                policy(&format!(
                    "{},\n{}",
                    statement("n", "\"a/b\"", good),
                    statement("m", "\"a/b\"", good)
                )),
                "11:26",
            ),
            (policy(&statement("n", "\"*\", \"a/b\"", good)), "6:25"),
        ] {
            assert_eq!(oci(&text), position, "{text}");
        }
        let text = b"{\n \"version\": \"1.\xff\"}";
        let error = oci::Document::parse(text).unwrap_err();
        assert_eq!(of_policy(text, &error).unwrap().to_string(), "2:16");
        let text = format!("[{}1]", "1,\n".repeat(LIMITS.values));
        let error = oci::Document::parse(text.as_bytes()).unwrap_err();
        let position = of_policy(text.as_bytes(), &error).unwrap();
        assert_eq!(position.line, LIMITS.values);
        let text = "{\"version\":\"1.0\",\"trustPolicies\":[{\"name\":\"a\",\"globalPolicy\":true,\"signatureVerification\":{\"level\":\"skip\"}}]}";
        let error = blob::Document::parse(text.as_bytes()).unwrap_err();
        assert_eq!(
            of_policy(text.as_bytes(), &error).unwrap().to_string(),
            "1:35"
        );
    }

    /// The same for hardsign's own rules, in a file of their own and within a policy for one run.
    #[test]
    fn faults_of_rules_have_their_line_and_column() {
        for (text, position) in [
            ("{\n  \"version\": \"2\"}", "2:14"),
            ("{\"oci\": {}}", "1:1"),
            ("{\"version\": \"1.0\",\n\"more\": 1}", "2:9"),
            ("{\"version\": \"1.0\",\n\"oci\": {\n\"n\": {}}}", "3:6"),
            (
                "{\"version\": \"1.0\",\n\"oci\": {\n\"n\": {\"attached\": []}}}",
                "3:19",
            ),
            (
                "{\"version\": \"1.0\",\n\"oci\": {\n\"n\": {\n\"signers\": {\"atLeast\": 1, \"of\": []}}}}",
                "4:12",
            ),
        ] {
            assert_eq!(rules(text), position, "{text}");
        }
        let text = "{\"version\":\"1.0\",\"trustPolicies\":[{\"name\":\"a\",\"registryScopes\":[\"*\"],\"signatureVerification\":{\"level\":\"skip\"}}],\n\"hardsign\": {\"version\":\"1.0\",\n\"oci\": {\"n\": {}}}}";
        let error = oci::Document::parse_with_rules(text.as_bytes())
            .unwrap()
            .unwrap_err();
        let found = of_rules(text.as_bytes(), Some("hardsign"), &error).unwrap();
        assert_eq!(found.to_string(), "3:14");
    }
}
