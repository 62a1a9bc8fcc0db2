//! Challenges: what a registry says in `WWW-Authenticate` (RFC 9110 §11.6.1; the token
//! authentication specification of the Docker registry).
//!
//! ```text
//! WWW-Authenticate: Bearer realm="https://auth.example/token",service="registry.example",scope="…"
//! ```

use std::collections::HashMap;

use crate::net::HeaderMap;

/// How a registry wants to be asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from the token service.
    Bearer {
        /// Address of the token service, unchecked.
        realm: String,
        /// Name of the registry at the token service.
        service: Option<String>,
        /// What the registry says is needed.
        scope: Option<String>,
    },
}

/// The first challenge that can be answered, a token before a password.
pub(super) fn find(headers: &HeaderMap) -> Option<Challenge> {
    let all: Vec<Challenge> = headers
        .get_all("www-authenticate")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(parse)
        .collect();
    let bearer = all.iter().find(|c| matches!(c, Challenge::Bearer { .. }));
    bearer.or_else(|| all.first()).cloned()
}

/// The challenges in one header.
fn parse(text: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    // Each round takes a scheme's name off, so that the loop ends.
    while !rest.is_empty() {
        let (scheme, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (mut values, after) = parameters(tail);
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = values.remove("realm")
        {
            found.push(Challenge::Bearer {
                realm,
                service: values.remove("service"),
                scope: values.remove("scope"),
            });
        }
        rest = after.trim_start_matches([',', ' ', '\t']);
    }
    found
}

/// The values of a comma-separated list of `name=value` pairs: names in lower case, quoted values unescaped. Stops at the first thing that is no pair.
fn parameters(text: &str) -> (HashMap<String, String>, &str) {
    let mut found = HashMap::new();
    let mut rest = text.trim_start();
    loop {
        let Some((name, tail)) = rest.split_once('=') else {
            return (found, rest);
        };
        let name = name.trim();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == ',' || c == '"') {
            return (found, rest);
        }
        let (value, tail) = value(tail.trim_start());
        found.entry(name.to_ascii_lowercase()).or_insert(value);
        rest = tail.trim_start();
        match rest.strip_prefix(',') {
            Some(tail) => rest = tail.trim_start(),
            None => return (found, rest),
        }
    }
}

/// One value, quoted or not, and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t', ';']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn challenges() {
        // REG-04
        for (text, expected) in [
            ("Basic realm=\"r\"", vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                r#"Bearer realm="https://a/t",service="s, x",scope="repository:a:pull,push""#,
                vec![bearer(
                    "https://a/t",
                    Some("s, x"),
                    Some("repository:a:pull,push"),
                )],
            ),
            (
                r#"BEARER Realm = "https://a/\"t" , error="x", Basic realm="y""#,
                vec![bearer("https://a/\"t", None, None), Challenge::Basic],
            ),
            (
                "Bearer realm=https://a/t",
                vec![bearer("https://a/t", None, None)],
            ),
            ("Negotiate, Basic realm=x", vec![Challenge::Basic]),
            ("Bearer service=\"x\"", vec![]),
            (
                "Bearer realm=\"unclosed",
                vec![bearer("unclosed", None, None)],
            ),
            ("", vec![]),
            (",,,=,\"", vec![]),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_token_is_preferred() {
        let mut headers = HeaderMap::new();
        headers.append("www-authenticate", "Basic realm=x".parse().unwrap());
        headers.append("www-authenticate", "Bearer realm=y".parse().unwrap());
        assert_eq!(find(&headers), Some(bearer("y", None, None)));
        assert_eq!(find(&HeaderMap::new()), None);
    }
}
