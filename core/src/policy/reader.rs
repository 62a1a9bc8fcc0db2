//! Reading members of a policy document out of parsed JSON.
//!
//! The reader is strict where the reference is lenient (TP-05, TP-06, SEC-26): duplicate names
//! and trailing data are refused by [`crate::json`], a name that differs from a known one only in
//! its case is refused here, and unknown names are collected so that they can be shown. `null` is no
//! value of any member: it would pass as a rule that is not there. The exceptions are lists of the
//! reference's own documents, which its encoder writes as `null` when they are empty.

use std::collections::BTreeMap;
use std::fmt;

use crate::artifact::{Kind, Quoted};
use crate::json::{self, JsonError, Value};
use crate::text::{escaped, meant, nearest};

/// Limits of one policy document.
pub(super) const LIMITS: json::Limits = json::Limits {
    bytes: Kind::MAX_POLICY_LEN,
    depth: 16,
    values: 200_000,
};

/// Why a text is not a policy document at all, before any rule about its contents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedPolicy {
    /// Not JSON, or JSON that this crate does not accept.
    #[error(transparent)]
    Json(JsonError),
    /// A member of the wrong type.
    #[error("{place}: must be {expected}, but is {found}")]
    Type {
        /// Where, for instance `trustPolicies[0] ("prod"): registryScopes`.
        place: Place,
        /// What is needed, for instance `an array of strings`.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A name written in another case than the specification's.
    // SEC-26
    #[error("{place}: must be written {}", Quoted(expected))]
    NameCase {
        /// The member and the statement that it stands in.
        place: Place,
        /// The name as the specification has it.
        expected: &'static str,
    },
}

/// A place in a document: the names of the members that lead to it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    shown: String,
    steps: Vec<Step>,
}

/// A step from a value into it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// To the member of an object.
    Member(String),
    /// To the item of an array, from 0.
    Item(usize),
}

/// A member that the specification does not know. It has no effect, so it is shown.
// TP-06
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownMember {
    /// Where it stands.
    pub place: Place,
    /// The member that was probably meant.
    pub nearest: Option<&'static str>,
}

/// An object of the document, and where it stands.
pub struct Object<'a> {
    place: Place,
    members: &'a [(String, Value)],
}

impl Place {
    pub(super) fn member(&self, name: &str) -> Self {
        let shown = match self.shown.as_str() {
            "" => name.to_owned(),
            around => format!("{around}.{name}"),
        };
        self.inside(shown, Step::member(name))
    }

    pub(super) fn item(&self, index: usize, name: Option<&str>) -> Self {
        let name = name.map_or_else(String::new, |n| format!(" ({})", Quoted(n)));
        self.inside(format!("{}[{index}]{name}", self.shown), Step::Item(index))
    }

    fn inside(&self, shown: String, step: Step) -> Self {
        let mut steps = self.steps.clone();
        steps.push(step);
        Self { shown, steps }
    }

    /// The way from the whole document.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }
}

impl Step {
    pub(super) fn member(name: &str) -> Self {
        Self::Member(name.to_owned())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.shown.as_str() {
            "" => "document",
            shown => shown,
        };
        f.write_str(&escaped(place))
    }
}

impl fmt::Display for UnknownMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown member {} has no effect", self.place)?;
        match self.nearest {
            Some(nearest) => write!(f, "; {}", meant(nearest)),
            None => Ok(()),
        }
    }
}

/// Parses a whole document.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, MalformedPolicy> {
    json::parse(bytes, LIMITS).map_err(MalformedPolicy::Json)
}

impl<'a> Object<'a> {
    pub(super) fn new(value: &'a Value, place: Place) -> Result<Self, MalformedPolicy> {
        match value {
            Value::Object(members) => Ok(Self { place, members }),
            other => Err(wrong(place, "an object", other)),
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Refuses case variants of `known` and returns the members that are not among them.
    pub(super) fn unknown(
        &self,
        known: &[&'static str],
    ) -> Result<Vec<UnknownMember>, MalformedPolicy> {
        let mut unknown = Vec::new();
        for (name, _) in self.members {
            if known.contains(&name.as_str()) {
                continue;
            }
            let place = self.place.member(name);
            // Go folds beyond ASCII: the long s and the Kelvin sign.
            let folded = name.to_lowercase().replace('\u{17f}', "s");
            if let Some(expected) = known.iter().find(|k| k.to_lowercase() == folded) {
                return Err(MalformedPolicy::NameCase { place, expected });
            }
            let nearest = nearest(name, known);
            unknown.push(UnknownMember { place, nearest });
        }
        Ok(unknown)
    }

    /// All members in order.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.members
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The member, unless it is absent.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        let (_, value) = self.members.iter().find(|(n, _)| n == name)?;
        Some(value)
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<Object<'a>>, MalformedPolicy> {
        self.get(name)
            .map(|value| Object::new(value, self.place.member(name)))
            .transpose()
    }

    /// A string; absent is empty, as in the reference.
    pub(super) fn string(&self, name: &str) -> Result<&'a str, MalformedPolicy> {
        match self.get(name) {
            None => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(wrong(self.place.member(name), "a string", other)),
        }
    }

    pub(super) fn boolean(&self, name: &str) -> Result<bool, MalformedPolicy> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(wrong(self.place.member(name), "true or false", other)),
        }
    }

    /// An array; absent is empty.
    pub(super) fn array(&self, name: &str) -> Result<&'a [Value], MalformedPolicy> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(wrong(self.place.member(name), "an array", other)),
        }
    }

    /// An array; absent is empty, and so is `null`, as the reference writes it.
    pub(super) fn array_or_null(&self, name: &str) -> Result<&'a [Value], MalformedPolicy> {
        match self.get(name) {
            Some(Value::Null) => Ok(&[]),
            _ => self.array(name),
        }
    }

    /// As [`Self::strings`]; `null` is empty, as the reference writes it.
    pub(super) fn strings_or_null(&self, name: &str) -> Result<Vec<String>, MalformedPolicy> {
        match self.get(name) {
            Some(Value::Null) => Ok(Vec::new()),
            _ => self.strings(name),
        }
    }

    pub(super) fn strings(&self, name: &str) -> Result<Vec<String>, MalformedPolicy> {
        let items = self.array(name)?.iter().enumerate();
        items
            .map(|(i, item)| match item {
                Value::String(text) => Ok(text.clone()),
                other => Err(wrong(
                    self.place.member(name).item(i, None),
                    "a string",
                    other,
                )),
            })
            .collect()
    }

    /// An object whose members are strings; absent is empty.
    pub(super) fn string_map(
        &self,
        name: &str,
    ) -> Result<BTreeMap<String, String>, MalformedPolicy> {
        let Some(object) = self.object(name)? else {
            return Ok(BTreeMap::new());
        };
        object
            .members()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key.to_owned(), text.clone())),
                other => Err(wrong(object.place.member(key), "a string", other)),
            })
            .collect()
    }
}

pub(super) fn wrong(place: Place, expected: &'static str, found: &Value) -> MalformedPolicy {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    MalformedPolicy::Type {
        place,
        expected,
        found,
    }
}
