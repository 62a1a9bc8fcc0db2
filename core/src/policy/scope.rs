//! Registry scopes: which repositories a statement speaks about (TP-35 to TP-41).
//!
//! A scope is `domain[:port]/repository`. Nothing is expanded, and `docker.io/library/x` is never `x`
//! (REQ-07). However its registry is spelt, it is that registry: scopes are compared in the form in
//! which [`normal_registry`] brings references too, and without the port of HTTPS.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::artifact::Quoted;
use crate::artifact::reference::{normal_registry, over_https};

/// A repository, `domain[:port]/repository`, without scheme, tag or digest. Two are equal if they
/// name one repository, however they are spelt.
#[derive(Clone, Debug)]
pub struct Scope {
    written: String,
    /// In the one form that it is compared in.
    normal: String,
}

/// The scopes of one statement.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Scopes {
    /// `*`: whatever no other statement names.
    Any,
    /// These repositories; never empty.
    Repositories(Vec<Scope>),
}

/// A text that is not a scope.
// TP-39
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "registry scope {}{} is not valid, make sure it is a fully qualified repository without the scheme, protocol or tag. For example domain.com/my/repository or a local scope like local/myOCILayout",
    Quoted(scope),
    if scope.len() > 1 && scope.contains('*') { " with wild card(s)" } else { "" }
)]
#[non_exhaustive]
pub struct InvalidScope {
    /// The text as written.
    pub scope: String,
}

impl Scope {
    /// Reads a scope.
    ///
    /// # Errors
    /// [`InvalidScope`] for anything that is not a fully qualified repository.
    // TP-38
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        let normal = text.split_once('/').and_then(|(domain, repository)| {
            let domain = normal_registry(domain).filter(|_| is_repository(repository))?;
            Some(format!("{}/{repository}", over_https(&domain)))
        });
        match normal {
            Some(normal) => Ok(Self {
                written: text.to_owned(),
                normal,
            }),
            None => Err(InvalidScope {
                scope: text.to_owned(),
            }),
        }
    }

    /// The scope as written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The scope in the one form that it is compared in.
    pub fn normal(&self) -> &str {
        &self.normal
    }
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.normal == other.normal
    }
}

impl Eq for Scope {}

impl Hash for Scope {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.normal.hash(state);
    }
}

impl PartialOrd for Scope {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scope {
    fn cmp(&self, other: &Self) -> Ordering {
        self.normal.cmp(&other.normal)
    }
}

impl Scopes {
    /// The scopes as written.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (any, named) = match self {
            Self::Any => (Some("*"), &[][..]),
            Self::Repositories(scopes) => (None, scopes.as_slice()),
        };
        any.into_iter().chain(named.iter().map(Scope::as_str))
    }

    /// Whether a text names one of the scopes, however it is spelt.
    pub fn has(&self, text: &str) -> bool {
        match self {
            Self::Any => text == "*",
            Self::Repositories(_) => Scope::parse(text).is_ok_and(|s| self.named(&s).is_some()),
        }
    }

    /// The scope here that is the repository of `scope`; `*` names none.
    pub fn named(&self, scope: &Scope) -> Option<&Scope> {
        match self {
            Self::Any => None,
            Self::Repositories(scopes) => scopes.iter().find(|s| *s == scope),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
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
    use hardsign_test_support::Told;

    use super::*;

    /// TP-38: what the reference's two expressions accept and refuse; and beyond them the registries
    /// that artifacts can be signed in, IPv6 addresses and container networks' names.
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
            "[::1]/b",
            "[2001:DB8::1]:5000/a/b",
            "my_registry:5000/app",
            "registry.example./app",
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
            "[::1/b",
            "[::1]x/b",
            "[::1]:/b",
            "[fe80::1%eth0]/b",
            "::1/b",
            "a:99999/b",
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
            let error = Scope::parse(bad).unwrap_err().told();
            assert_eq!(
                error,
                format!(
                    "registry scope {} is not valid, make sure it is a fully qualified repository without the scheme, protocol or tag. For example domain.com/my/repository or a local scope like local/myOCILayout",
                    Quoted(bad)
                )
            );
        }
    }

    /// TP-40: one repository has many spellings and is one scope.
    #[test]
    fn tp_40_spellings_of_one_repository() {
        for (normal, spellings) in [
            (
                "localhost:5000/app",
                &["LOCALHOST:5000/app", "localhost:05000/app"][..],
            ),
            (
                "registry.example/app",
                &[
                    "Registry.Example/app",
                    "registry.example:443/app",
                    "registry.example:0443/app",
                    "registry.example./app",
                ],
            ),
            (
                "docker.io/library/x",
                &[
                    "index.docker.io/library/x",
                    "registry-1.docker.io/library/x",
                    "Index.Docker.IO:443/library/x",
                ],
            ),
            ("[::1]:5000/app", &["[0::0:1]:5000/app"]),
            ("127.0.0.1:5000/app", &["127.1:5000/app"]),
        ] {
            let scope = Scope::parse(normal).unwrap();
            assert_eq!(scope.normal(), normal);
            for text in spellings {
                let other = Scope::parse(text).unwrap();
                assert_eq!(other, scope, "{text}");
                assert_eq!(other.as_str(), *text);
            }
        }
        for (one, other) in [
            ("a.io/b", "a.io:80/b"),
            ("a.io:5000/b", "a.io/b"),
            ("docker.io/x", "docker.io/library/x"),
            ("docker.io:5000/x", "docker.io/x"),
            ("[::1]/b", "[::2]/b"),
        ] {
            assert_ne!(Scope::parse(one).unwrap(), Scope::parse(other).unwrap());
        }
    }

    /// TP-39: the text for wild cards inside a scope.
    #[test]
    fn wild_cards_have_their_own_text() {
        for bad in ["**", "a/*", "*.io/b"] {
            let error = Scope::parse(bad).unwrap_err().told();
            assert!(
                error.starts_with(&format!(
                    "registry scope \"{bad}\" with wild card(s) is not valid, make sure"
                )),
                "{error}"
            );
        }
    }
}
