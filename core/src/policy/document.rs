//! A trust policy document, which is the same for artifacts and for files but for what its statements
//! apply to (TP-08 to TP-34). Hardsign's own rules stand beside the statements in the policy for one
//! run alone.

use super::hardsign::{self, HardsignError};
use super::reader::{self, MalformedPolicy, Object, Place};
use super::statement::{self, RawStatement, Verification};
use super::{Kind, PolicyError, RULES, Warning};
use crate::text::nearest;

/// A policy document that satisfies every rule; `A` says what its statements apply to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Document<A> {
    statements: Vec<Statement<A>>,
    warnings: Vec<Warning>,
}

/// One statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Statement<A> {
    name: String,
    applies_to: A,
    verification: Verification,
}

/// What a statement applies to: [`Scopes`](super::Scopes) of artifacts, or files
/// ([`Global`](super::blob::Global)).
pub trait Applicability: Read {
    /// The kind of document.
    const KIND: Kind;
}

/// How it is read; not for others to implement.
pub trait Read: Sized {
    /// The member of a statement that says it.
    const MEMBER: &'static str;
    /// The member before any rule about it.
    type Text;

    /// Reads the member.
    fn read(statement: &Object<'_>) -> Result<Self::Text, MalformedPolicy>;

    /// Checks the member of the statement with that name.
    fn check(statement: &str, text: &Self::Text) -> Result<Self, PolicyError>;

    /// Checks all statements against each other.
    fn check_all(statements: &[Statement<Self>], texts: &[Self::Text]) -> Result<(), PolicyError>;

    /// Something about a statement that is accepted but should be known.
    fn warning(_: &Statement<Self>) -> Option<Warning> {
        None
    }
}

impl<A: Applicability> Document<A> {
    /// Reads a document.
    ///
    /// # Errors
    /// The first fault, in the order in which the reference looks for them.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let value = reader::parse(bytes).map_err(PolicyError::Malformed)?;
        let object = Object::new(&value, Place::default()).map_err(PolicyError::Malformed)?;
        if object.get(RULES).is_some() {
            return Err(PolicyError::Misplaced);
        }
        Self::read(&object, &MEMBERS)
    }

    /// Reads a document that may carry hardsign's own rules in its member `hardsign`, which are
    /// not yet checked against its statements. The two layers of errors are those of the two.
    ///
    /// # Errors
    /// As [`Document::parse`].
    pub fn parse_with_rules(
        bytes: &[u8],
    ) -> Result<Result<(Self, hardsign::Document), HardsignError>, PolicyError> {
        let value = reader::parse(bytes).map_err(PolicyError::Malformed)?;
        let object = Object::new(&value, Place::default()).map_err(PolicyError::Malformed)?;
        let document = Self::read(&object, &[&MEMBERS[..], &[RULES]].concat())?;
        Ok(
            match object.object(RULES).map_err(PolicyError::Malformed)? {
                None => Ok((document, hardsign::Document::default())),
                Some(rules) => hardsign::Document::read(&rules).map(|rules| (document, rules)),
            },
        )
    }

    /// Reads a document from an object with the members `known`.
    fn read(object: &Object<'_>, known: &[&'static str]) -> Result<Self, PolicyError> {
        let mut unknown = object.unknown(known).map_err(PolicyError::Malformed)?;
        let mut texts = Vec::new();
        let raw = statement::read_all(object, A::KIND, |statement| {
            let members = [&statement::MEMBERS[..], &[A::MEMBER]].concat();
            unknown.extend(statement.unknown(&members)?);
            texts.push(A::read(statement)?);
            RawStatement::read(statement, &mut unknown)
        })?;
        let verifications = statement::check_all(&raw, A::KIND)?;
        let mut statements = Vec::new();
        for ((raw, verification), text) in raw.iter().zip(verifications).zip(&texts) {
            statements.push(Statement {
                name: raw.name().to_owned(),
                applies_to: A::check(raw.name(), text)?,
                verification,
            });
        }
        A::check_all(&statements, &texts)?;
        let mut warnings: Vec<_> = unknown.into_iter().map(Warning::UnknownMember).collect();
        warnings.extend(statements.iter().filter_map(A::warning));
        Ok(Self {
            statements,
            warnings,
        })
    }
}

impl<A> Document<A> {
    /// The statements, in the order of the document.
    pub fn statements(&self) -> &[Statement<A>] {
        &self.statements
    }

    /// What the document says that is accepted but should be known.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The statement with that name.
    pub fn statement(&self, name: &str) -> Option<&Statement<A>> {
        self.statements.iter().find(|s| s.name == name)
    }

    /// Of all statements the one whose name is near to this one.
    pub(super) fn nearest_statement(&self, name: &str) -> Option<String> {
        let known: Vec<_> = self.statements.iter().map(|s| s.name.as_str()).collect();
        nearest(name, &known).map(str::to_owned)
    }
}

impl<A> Statement<A> {
    /// The name, unique in its document.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it applies to.
    pub fn applies_to(&self) -> &A {
        &self.applies_to
    }

    /// What it demands.
    pub fn verification(&self) -> &Verification {
        &self.verification
    }
}

const MEMBERS: [&str; 2] = ["version", "trustPolicies"];
