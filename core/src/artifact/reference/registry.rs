//! The names of registries, `<host>[:<port>]`, in one form for each registry.
//!
//! A registry has one trust policy statement, one set of credentials and one connection, however
//! its name is spelt. So names are brought into one form where they are read: the host in lower
//! case, addresses as the URL standard writes them (`127.1` is `127.0.0.1`), IPv6 as RFC 5952
//! does, no final dot, no zeros in front of the port, and Docker Hub as `docker.io` (REG-08).
//! Nothing is looked up: two names that lead to one machine stay two names.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Docker Hub, as users write it.
const DOCKER_HUB: &str = "docker.io";
/// Docker Hub under its other names: that of its first index, and that of its API.
const DOCKER_HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
/// The port of HTTPS, as it stands at the end of a name.
const HTTPS_PORT: &str = ":443";

/// The one form of the name of a registry: a name, an IPv4 address, or an IPv6 address in brackets,
/// and perhaps a port. `None` where `text` is none: what could change the meaning of a URL (user
/// names, paths, percent signs) is no host.
///
/// The port of HTTPS is kept, since the registry may be spoken to by plain HTTP:
/// [`over_https`] takes it away.
pub fn normal_registry(text: &str) -> Option<String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':')?),
            };
            (format!("[{address}]"), port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (normal_host(host)?, Some(port)),
            None => (normal_host(text)?, None),
        },
    };
    let Some(port) = port else {
        return Some(match DOCKER_HUB_ALIASES.contains(&host.as_str()) {
            true => DOCKER_HUB.to_owned(),
            false => host,
        });
    };
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let port: u16 = port.parse().ok()?;
    Some(match DOCKER_HUB_ALIASES.contains(&host.as_str()) {
        true if port == 443 => format!("{DOCKER_HUB}{HTTPS_PORT}"),
        _ => format!("{host}:{port}"),
    })
}

/// A host that is no IPv6 address. Underscores are no part of host names, but container networks
/// have them.
fn normal_host(text: &str) -> Option<String> {
    let host = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if !host.split('.').all(is_label) {
        return None;
    }
    if is_number(host.rsplit('.').next().unwrap_or(host)) {
        return ipv4(host).map(|address| address.to_string());
    }
    Some(host.to_ascii_lowercase())
}

/// A host whose last part is a number is an IPv4 address or nothing (URL standard §3.5, "ends in a number"),
/// so that it is read here as where requests are sent.
fn is_number(part: &str) -> bool {
    let hexadecimal = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => part.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// The IPv4 address in any of its spellings (URL standard §3.5, "IPv4 parser"): decimal, octal and hexadecimal
/// numbers, the last of which stands for all bytes that are left.
fn ipv4(host: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some("") => Some(0),
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
        None => part.parse().ok(),
    };
    let mut address: u32 = 0;
    let mut bytes_left: u32 = 4;
    let mut parts = host.split('.').peekable();
    while let Some(part) = parts.next() {
        let value = number(part)?;
        let (taken, last) = match parts.peek() {
            Some(_) => (1, false),
            None => (bytes_left, true),
        };
        bytes_left = bytes_left.checked_sub(taken)?;
        if u64::from(value) >= 1u64 << (8 * taken) || (!last && bytes_left == 0) {
            return None;
        }
        address |= value << (8 * bytes_left);
    }
    Some(Ipv4Addr::from_bits(address))
}

/// A registry's name in its one form, as it is where HTTPS is spoken: without the port of HTTPS.
pub fn over_https(normal: &str) -> &str {
    normal.strip_suffix(HTTPS_PORT).unwrap_or(normal)
}

/// Whether `text` is the name of a registry.
pub fn is_registry(text: &str) -> bool {
    normal_registry(text).is_some()
}

/// The registry of an address as it stands in files of credentials, and as people type it: a name,
/// perhaps with a scheme in front and a path behind it. In its one form, over HTTPS; `None` where
/// there is no registry's name in it.
pub fn registry_of_address(address: &str) -> Option<String> {
    let address = address.trim();
    let rest = match address.split_once("://") {
        Some((scheme, rest))
            if ["http", "https"]
                .iter()
                .any(|s| scheme.eq_ignore_ascii_case(s)) =>
        {
            rest
        }
        Some(_) => return None,
        None => address,
    };
    let host = rest.split('/').next().unwrap_or(rest);
    Some(over_https(&normal_registry(host)?).to_owned())
}

/// `<host>[:<port>]` to connect to for a registry whose name in its one form is `registry`: Docker
/// Hub's API is not at the name that users write.
// REG-08
pub fn api_host(registry: &str) -> &str {
    match registry {
        DOCKER_HUB => "registry-1.docker.io",
        "docker.io:443" => "registry-1.docker.io:443",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OCI-15, REG-08: one registry, one name.
    #[test]
    fn oci_15_spellings_of_one_registry() {
        for (normal, spellings) in [
            (
                "registry.example",
                &["Registry.EXAMPLE", "registry.example."][..],
            ),
            (
                "localhost:5000",
                &["LOCALHOST:5000", "localhost:05000", "LocalHost.:0005000"],
            ),
            ("registry.example:443", &["REGISTRY.example:0443"]),
            (
                "docker.io",
                &["index.docker.io", "Registry-1.Docker.IO", "docker.io."],
            ),
            ("docker.io:443", &["index.docker.io:443", "DOCKER.io:00443"]),
            ("index.docker.io:5000", &["INDEX.docker.io:5000"]),
            (
                "[2001:db8::1]:5000",
                &["[2001:DB8:0:0::1]:5000", "[2001:0db8::0001]:05000"],
            ),
            ("[::1]", &["[0:0:0:0:0:0:0:1]"]),
            (
                "127.0.0.1:5000",
                &[
                    "127.1:5000",
                    "0x7f.0.0.1:5000",
                    "2130706433:5000",
                    "127.0.0.1.:5000",
                ],
            ),
            ("my_registry:5000", &["My_Registry:5000"]),
        ] {
            for text in spellings.iter().chain([&normal]) {
                assert_eq!(normal_registry(text).as_deref(), Some(normal), "{text}");
            }
        }
        assert_eq!(over_https("registry.example:443"), "registry.example");
        assert_eq!(over_https("[::443]"), "[::443]");
        assert_eq!(over_https("registry.example:1443"), "registry.example:1443");
    }

    /// CFG-22: what files of credentials and people call a registry.
    #[test]
    fn cfg_22_addresses() {
        for (address, registry) in [
            ("ghcr.io", Some("ghcr.io")),
            ("https://ghcr.io", Some("ghcr.io")),
            ("HTTPS://GHCR.IO/v2/", Some("ghcr.io")),
            (" ghcr.io/ ", Some("ghcr.io")),
            ("ghcr.io/owner/app:v1", Some("ghcr.io")),
            ("http://localhost:05000/v2/", Some("localhost:5000")),
            ("https://r.example:443", Some("r.example")),
            ("https://index.docker.io/v1/", Some("docker.io")),
            ("https://[::1]:5000/", Some("[::1]:5000")),
            ("ftp://ghcr.io", None),
            ("https://", None),
            ("user@ghcr.io", None),
            ("", None),
        ] {
            assert_eq!(
                registry_of_address(address).as_deref(),
                registry,
                "{address}"
            );
        }
    }

    /// REG-08: hosts are read as they are where requests are sent. Only names in Punycode that stand for nothing are
    /// left to be refused there.
    #[test]
    fn reg_08_hosts_are_those_of_urls() {
        let parts = [
            "0",
            "1",
            "00",
            "01",
            "08",
            "9",
            "127",
            "255",
            "256",
            "65535",
            "65536",
            "16777215",
            "16777216",
            "4294967295",
            "4294967296",
            "99999999999999999999",
            "0x",
            "0X7f",
            "0xg",
            "0x100000000",
            "0377",
            "0400",
            "a",
            "A1",
            "1a",
            "x-y",
            "_",
        ];
        let mut hosts: Vec<String> = parts.map(str::to_owned).to_vec();
        for depth in 1..5 {
            let longer = hosts.iter().filter(|h| h.matches('.').count() + 1 == depth);
            // All of two parts, and some of more.
            let step = if depth == 1 { 1 } else { 7 };
            let longer = longer.enumerate().flat_map(|(i, host)| {
                let tails = parts.iter().skip(i % step).step_by(step);
                tails.map(move |part| format!("{host}.{part}"))
            });
            let longer: Vec<_> = longer.collect();
            hosts.extend(longer);
        }
        for host in hosts {
            let url = format!("http://{host}/").parse::<reqwest::Url>();
            let expected = url.ok().and_then(|url| url.host_str().map(str::to_owned));
            assert_eq!(normal_host(&host), expected, "{host}");
        }
    }

    #[test]
    fn oci_16_no_registries() {
        for text in [
            "",
            ".",
            "..",
            "a..b",
            "-a",
            "a-.b",
            "a:",
            "a:x",
            "a:+1",
            "a:65536",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]5000",
            "[::1]:",
            "[::1]:x",
            "[fe80::1%25eth0]",
            "[127.0.0.1]",
            "[]",
            "256.256.256.256",
            "1.2.3.4.5",
            "user@host",
            "h%41",
            "host/path",
            "ho st",
            "é",
        ] {
            assert_eq!(normal_registry(text), None, "{text}");
        }
    }
}
