//! Registry scopes: which repositories a statement speaks about (TP-35 to TP-41).
//!
//! A scope is `domain[:port]/repository`, compared as written: nothing is expanded, and
//! `docker.io/library/x` is never `x` (REQ-07).

use std::fmt;

use crate::artifact::Quoted;

/// A repository, `domain[:port]/repository`, without scheme, tag or digest.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Scope(String);

/// The scopes of one statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scopes {
    /// `*`: whatever no other statement names.
    Any,
    /// These repositories; never empty.
    Repositories(Vec<Scope>),
}

/// A text that is not a scope (TP-39).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "registry scope {}{} is not valid, make sure it is a fully qualified repository without the scheme, protocol or tag. For example domain.com/my/repository or a local scope like local/myOCILayout",
    Quoted(scope),
    if scope.len() > 1 && scope.contains('*') { " with wild card(s)" } else { "" }
)]
pub struct InvalidScope {
    /// The text as written.
    pub scope: String,
}

impl Scope {
    /// Reads a scope (TP-38).
    ///
    /// # Errors
    /// [`InvalidScope`] for anything that is not a fully qualified repository.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let valid = text
            .split_once('/')
            .is_some_and(|(domain, repository)| is_domain(domain) && is_repository(repository));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidScope {
                scope: text.to_owned(),
            })
        }
    }

    /// The scope as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scopes {
    /// Whether `scope` is named here; `*` names nothing.
    pub fn names(&self, scope: &Scope) -> bool {
        match self {
            Self::Any => false,
            Self::Repositories(scopes) => scopes.contains(scope),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Labels of letters, digits and inner hyphens, joined by dots, then perhaps a port.
fn is_domain(text: &str) -> bool {
    let host = match text.split_once(':') {
        Some((host, port)) => {
            if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
                return false;
            }
            host
        }
        None => text,
    };
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

fn is_repository(text: &str) -> bool {
    text.split('/').all(is_component)
}

/// Runs of lower-case letters and digits, joined by `.`, `_`, `__` or any number of hyphens.
fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.starts_with(is_word) || !text.ends_with(is_word) {
        return false;
    }
    text.split(is_word).all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TP-38: what the reference's two expressions accept and refuse.
    #[test]
    fn scope_grammar() {
        for good in [
            "local/myoci",
            "a/b",
            "localhost:5000/net-monitor",
            "registry.acme-rockets.io/software/net-monitor",
            "10.0.0.1:80/a/b/c",
            "A-b.Example.COM/a.b_c__d---e",
            "x/0",
        ] {
            assert_eq!(Scope::parse(good).map(|s| s.to_string()), Ok(good.into()));
        }
        for bad in [
            "",
            "/",
            "x",
            "a/",
            "/b",
            "a//b",
            "a/b/",
            "a/B",
            "local/myOCI",
            "https://a/b",
            "a/b:tag",
            "a/b@sha256:00",
            "[::1]/b",
            "-a/b",
            "a-/b",
            "a..b/c",
            "a:/b",
            "a:x/b",
            "a:1:2/b",
            "a/b..c",
            "a/b___c",
            "a/b._c",
            "a/-b",
            "a/b-",
            "a/b c",
            "a/b\n",
            "é/b",
        ] {
            let error = Scope::parse(bad).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "registry scope {} is not valid, make sure it is a fully qualified repository without the scheme, protocol or tag. For example domain.com/my/repository or a local scope like local/myOCILayout",
                    Quoted(bad)
                )
            );
        }
    }

    /// TP-39: the text for wild cards inside a scope.
    #[test]
    fn wild_cards_have_their_own_text() {
        for bad in ["**", "a/*", "*.io/b"] {
            let error = Scope::parse(bad).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!(
                    "registry scope \"{bad}\" with wild card(s) is not valid, make sure"
                )),
                "{error}"
            );
        }
    }
}
