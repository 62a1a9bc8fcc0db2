//! Which token service a registry may name (REG-05).

use crate::artifact::reference::normal_registry;
use crate::net::Url;

/// Checks the address of a token service. `registry` is the registry's name in its one form;
/// `allowed` are the hosts that the user named, with or without a port.
///
/// # Errors
/// The reason for which it is refused.
pub(super) fn check(
    realm: &str,
    registry: &str,
    plain_http: bool,
    secret: bool,
    allowed: &[String],
) -> Result<Url, &'static str> {
    let url: Url = realm.parse().map_err(|_| "it is not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("there is a user name in its address");
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err("it names no host");
    };
    let (home, home_port) = host_and_port(registry);
    match url.scheme() {
        "https" => {}
        "http" if !plain_http => return Err("it is not on HTTPS"),
        "http" if !secret => {}
        // Whoever listens to the registry's traffic hears what is sent to its port anyway. On
        // another port there may be somebody else.
        "http" if host == home && port == home_port.unwrap_or(80) => {}
        "http" if allowed.iter().any(|a| names_port(a, host, port)) => {}
        "http" if host == home => return Err("it is on another port of the host and not on HTTPS"),
        "http" => return Err("it is on another host and not on HTTPS"),
        _ => return Err("it is not on HTTPS"),
    }
    let named =
        |allowed: &String| allowed.eq_ignore_ascii_case(host) || names_port(allowed, host, port);
    if !secret || same_site(host, home) || allowed.iter().any(named) {
        Ok(url)
    } else {
        Err("it belongs to another site, and credentials for the registry would be sent there")
    }
}

/// A registry's host, and its port where the name has one.
fn host_and_port(registry: &str) -> (&str, Option<u16>) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (registry, None),
    }
}

/// Whether a text of the user's names that very port of a host.
fn names_port(text: &str, host: &str, port: u16) -> bool {
    let normal = normal_registry(text);
    normal.is_some_and(|name| host_and_port(&name) == (host, Some(port)))
}

/// Whether two hosts are one, or belong to one site: they share the domain below which names are
/// registered. A list of such domains would be exact; the last two labels, or three where the last
/// two look like `co.uk`, err on the side of asking the user.
fn same_site(host: &str, other: &str) -> bool {
    if host.eq_ignore_ascii_case(other) {
        return true;
    }
    let pairs = [
        ("docker.io", "docker.io"),
        ("registry.redhat.io", "sso.redhat.com"),
        ("nvcr.io", "authn.nvidia.com"),
    ];
    let known = |(registry, service): &(&str, &str)| {
        other.eq_ignore_ascii_case(registry) && host.eq_ignore_ascii_case(service)
    };
    pairs.iter().any(known) || site(host).is_some_and(|s| site(other) == Some(s))
}

fn site(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    if host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok() {
        return None;
    }
    let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    match labels.as_slice() {
        [second, last] => Some(format!("{second}.{last}")),
        [.., third, second, last] if second.len() <= 3 && last.len() == 2 => {
            Some(format!("{third}.{second}.{last}"))
        }
        [.., second, last] => Some(format!("{second}.{last}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A realm, the registry that names it, how that is spoken to, what would be sent, and whether the realm is asked.
    const REALMS: &str = "
https://auth.docker.io/token         docker.io                https secret  asked
https://ghcr.io/token                ghcr.io                  https secret  asked
https://gitlab.com/jwt/auth          registry.gitlab.com:5050 https secret  asked
https://sso.redhat.com/auth          registry.redhat.io       https secret  asked
https://evil.example/token           registry.corp.com        https secret  refused
https://evil.example/token           registry.corp.com        https nothing asked
https://evil.co.uk/token             registry.corp.co.uk      https secret  refused
https://auth.corp.co.uk/token        registry.corp.co.uk      https secret  asked
http://registry.corp.com/token       registry.corp.com        https secret  refused
http://registry.corp.com/token       registry.corp.com        https nothing refused
# Another port may be somebody else's.
http://registry.corp.com:81/token    registry.corp.com:80     http  secret  refused
http://registry.corp.com:81/token    registry.corp.com        http  secret  refused
http://registry.corp.com:81/token    registry.corp.com        http  nothing asked
http://REGISTRY.corp.com/token       registry.corp.com:80     http  secret  asked
https://registry.corp.com:8443/token registry.corp.com:5000   http  secret  asked
http://localhost:5001/               localhost:5000           http  secret  refused
http://localhost/token               localhost:5000           http  secret  refused
http://localhost:5000/t              localhost:5000           http  secret  asked
http://127.0.0.1:5001/               127.0.0.1:5000           http  secret  refused
http://127.0.0.1:5000/               localhost:5000           http  secret  refused
http://[::1]:5000/t                  [::1]:5000               http  secret  asked
http://auth.corp.com/token           registry.corp.com        http  secret  refused
https://10.0.0.2/token               10.0.0.1                 https secret  refused
http://[::1]:1/token                 [::1]:5000               http  secret  refused
https://user@registry.corp.com/      registry.corp.com        https secret  refused
ftp://registry.corp.com/             registry.corp.com        http  secret  refused
file:///etc/passwd                   registry.corp.com        http  nothing refused
/token                               registry.corp.com        https secret  refused
https://token                        localhost:5000           http  secret  refused
";

    #[test]
    fn realms() {
        // REG-05, SEC-03: no credential is sent to a token service elsewhere.
        for row in REALMS
            .lines()
            .filter(|row| row.contains("://") || row.starts_with('/'))
        {
            let columns: Vec<&str> = row.split_whitespace().collect();
            let [realm, registry, scheme, sent, fate] = columns.as_slice() else {
                panic!("{row}");
            };
            let (plain_http, secret) = (*scheme == "http", *sent == "secret");
            let result = check(realm, registry, plain_http, secret, &[]);
            assert_eq!(result.is_ok(), *fate == "asked", "{row} {result:?}");
        }
        // A port on plain HTTP is named as such.
        for (allowed, good) in [
            ("localhost:5001", true),
            ("LOCALHOST:05001", true),
            ("localhost", false),
            ("localhost:5002", false),
        ] {
            let allowed = [allowed.to_owned()];
            let realm = "http://localhost:5001/token";
            let result = check(realm, "localhost:5000", true, true, &allowed);
            assert_eq!(result.is_ok(), good, "{allowed:?} {result:?}");
            assert!(check(realm, "localhost:5000", false, true, &allowed).is_err());
        }
        let named = ["sso.other.net".to_owned()];
        assert!(check("https://sso.other.net/t", "r.corp.com", false, true, &named).is_ok());
        assert!(check("http://sso.other.net/t", "r.corp.com", false, true, &named).is_err());
    }
}
