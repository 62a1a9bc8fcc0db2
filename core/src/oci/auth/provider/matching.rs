//! Which images a pattern is for, as the kubelet decides: `*.dkr.ecr.*.amazonaws.com`,
//! `registry.example.com:5000/team`.

/// Whether `pattern`, `<host>[:<port>][/<path>]` with globs in the parts of the host, is for `image`: as
/// many parts in the host, the same port, and a path that the image's begins with.
pub(super) fn fits(pattern: &str, image: &str) -> bool {
    let (wanted, found) = (Place::of(pattern), Place::of(image));
    let parts: Vec<&str> = found.host.split('.').collect();
    let globs: Vec<&str> = wanted.host.split('.').collect();
    wanted.port == found.port
        && globs.len() == parts.len()
        && found.path.starts_with(wanted.path)
        && globs
            .iter()
            .zip(parts)
            .all(|(glob, part)| glob_fits(glob, part))
}

/// Of the patterns for which a provider has credentials, the one that is for the image; of several the
/// first of [`ranked`].
pub(super) fn best(patterns: &[&str], image: &str) -> Option<usize> {
    ranked(patterns, image).first().copied()
}

/// The patterns that are for the image, in the order in which the kubelet tries their credentials: those first that sort last, which have
/// the most particular path, and equal ones as they stand. Docker Hub's may stand under its old name.
pub(in crate::oci::auth) fn ranked(patterns: &[&str], image: &str) -> Vec<usize> {
    let named = |image: &str| {
        let keys = patterns.iter().map(|pattern| key(pattern)).enumerate();
        let mut fitting: Vec<_> = keys.filter(|(_, key)| fits(key, image)).collect();
        fitting.sort_by(|(_, one), (_, other)| other.cmp(one));
        fitting.into_iter().map(|(at, _)| at).collect()
    };
    let found: Vec<usize> = named(image);
    match image.strip_prefix("docker.io/") {
        Some(rest) if found.is_empty() => named(&format!("index.docker.io/{rest}")),
        _ => found,
    }
}

/// A pattern of an answer: its scheme, and `/v1/` or `/v2/`, count for nothing.
fn key(pattern: &str) -> String {
    let bare = pattern.strip_prefix("https://");
    let bare = bare.or_else(|| pattern.strip_prefix("http://"));
    let bare = bare.unwrap_or(pattern);
    let (host, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
    let versioned = path.starts_with("/v1/") || path.starts_with("/v2/");
    let path = if versioned {
        path.get(3..).unwrap_or_default()
    } else {
        path
    };
    match path {
        "/" => host.to_owned(),
        path => format!("{host}{path}"),
    }
}

/// `<host>[:<port>][/<path>]`, taken apart.
struct Place<'a> {
    host: &'a str,
    port: &'a str,
    path: &'a str,
}

impl<'a> Place<'a> {
    fn of(text: &'a str) -> Self {
        let text = text.strip_prefix("https://").unwrap_or(text);
        let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let (host, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port),
            _ => (host, ""),
        };
        Self { host, port, path }
    }
}

/// `*` for any characters, `?` for one; the rest as it stands. A part of a host has no brackets.
fn glob_fits(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(character) = text.get(read) {
        match glob.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == character => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((back, from)) => {
                    at = back + 1;
                    read = from + 1;
                    star = Some((back, from + 1));
                }
                None => return false,
            },
        }
    }
    glob.iter().skip(at).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kubelet's own examples, and their like.
    #[test]
    fn images_are_matched_as_the_kubelet_does() {
        for (pattern, image, expected) in [
            (
                "*.dkr.ecr.*.amazonaws.com",
                "123.dkr.ecr.eu-west-1.amazonaws.com/app",
                true,
            ),
            (
                "*.dkr.ecr.*.amazonaws.com",
                "evil.example/123.dkr.ecr.eu-west-1.amazonaws.com",
                false,
            ),
            ("*.azurecr.io", "a.azurecr.io/b", true),
            ("*.azurecr.io", "a.b.azurecr.io/b", false),
            ("*.azurecr.io", "azurecr.io/b", false),
            ("gcr.io", "gcr.io/p/app", true),
            ("gcr.io", "gcr.io.evil.example/p/app", false),
            ("*.*.registry.io", "a.b.registry.io/x", true),
            ("registry.io:8080/path", "registry.io:8080/path/app", true),
            ("registry.io:8080/path", "registry.io:8080/other", false),
            ("registry.io", "registry.io:8080/app", false),
            ("registry.io:8080", "registry.io/app", false),
            ("app*.k8s.io", "app1.k8s.io/x", true),
            ("a?p.k8s.io", "app.k8s.io/x", true),
            ("localhost:5000", "localhost:5000/app", true),
            ("*", "localhost/app", true),
            ("*", "a.example/app", false),
        ] {
            assert_eq!(fits(pattern, image), expected, "{pattern} {image}");
        }
    }

    #[test]
    fn the_most_particular_pattern_counts() {
        let patterns = [
            "r.example",
            "https://r.example/team",
            "*.example",
            "other.example",
        ];
        assert_eq!(best(&patterns, "r.example/team/app"), Some(1));
        assert_eq!(best(&patterns, "r.example/app"), Some(0));
        assert_eq!(best(&patterns, "s.example/app"), Some(2));
        assert_eq!(best(&patterns, "example.net/app"), None);
        assert_eq!(ranked(&patterns, "r.example/team/app"), [1, 0, 2]);
        let equal = ["r.example", "https://r.example/", "r.example/v1"];
        assert_eq!(ranked(&equal, "r.example/app"), [0, 1]);
        let hub = ["https://index.docker.io/v1/"];
        assert_eq!(best(&hub, "docker.io/library/app"), Some(0));
        assert_eq!(best(&hub, "quay.io/library/app"), None);
    }
}
