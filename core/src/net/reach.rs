//! How far a request may reach whose address somebody else chose: a certificate for its OCSP
//! responder and CRL, and the servers there for their redirects.
//!
//! The address that is connected to decides, not the name: names are resolved here, and a connection
//! is made only to what was looked at. A proxy resolves names itself and connects itself; there only
//! what the URL says can be looked at.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Url, address};

/// Which addresses a request may be sent to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// Any: its own user chose it.
    Anywhere,
    /// Any but link-local ones, where clouds keep the credentials of a machine: what a trusted
    /// certificate names may well stand in its owner's network.
    NotLinkLocal,
    /// Those that are no machine's or network's own.
    Outside,
}

/// An address that a request must not be sent to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{host} has the address {address}, which is {what}")]
pub(super) struct Refused {
    host: String,
    address: IpAddr,
    what: &'static str,
}

pub(super) const LINK_LOCAL: &str = "link-local";
const INSIDE: &str = "of this machine's own network";

impl Reach {
    /// What an address is, if it is out of reach.
    pub(super) fn refuses(self, address: IpAddr) -> Option<&'static str> {
        match self {
            Self::NotLinkLocal | Self::Outside if is_link_local(address) => Some(LINK_LOCAL),
            Self::Outside if is_inside(address) => Some(INSIDE),
            _ => None,
        }
    }

    /// What the host of a URL is, if it is out of reach by what the URL alone says.
    pub(super) fn refuses_host(self, url: &Url) -> Option<&'static str> {
        let host = url.host_str()?;
        match address(host) {
            Some(address) => self.refuses(address),
            None if self == Self::Outside && is_local_name(host) => Some(INSIDE),
            None => None,
        }
    }
}

/// Whether an answer came from this machine's own network: by the address that it came from where
/// that is the server's, else by what its URL says.
pub(super) fn came_from_inside(url: &Url, from: Option<SocketAddr>) -> bool {
    match from {
        Some(from) => Reach::Outside.refuses(from.ip()).is_some(),
        None => Reach::Outside.refuses_host(url).is_some(),
    }
}

/// Resolves names to addresses that are within reach; one that isn't refuses the name.
pub(super) struct Guard(pub(super) Reach);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                if let Some(what) = reach.refuses(address.ip()) {
                    return Err(Refused {
                        host: name.as_str().to_owned(),
                        address: address.ip(),
                        what,
                    }
                    .into());
                }
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `localhost` and the names below it (RFC 6761 §6.3).
fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || carried(address).is_some_and(|v4| v4.is_link_local())
        }
    }
}

/// Whether an address is a machine's own, a network's own, or nobody's (RFC 6890).
fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_inside_v4(address),
        IpAddr::V6(address) => {
            let [first, second, third, ..] = address.segments();
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_multicast()
                // Site-local, deprecated and still in use.
                || first & 0xffc0 == 0xfec0
                // Local use of address translation (RFC 8215).
                || (first, second, third) == (0x64, 0xff9b, 1)
                || carried(address).is_some_and(is_inside_v4)
        }
    }
}

fn is_inside_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || first == 0
        // Shared by the customers of a provider (RFC 6598).
        || (first == 100 && second & 0xc0 == 64)
        || (first, second, third) == (192, 0, 0)
        // Benchmarks (RFC 2544).
        || (first == 198 && second & 0xfe == 18)
        // Reserved, broadcast among them.
        || first >= 240
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, translated (RFC 6052), or of
/// a 6to4 gateway (RFC 3056).
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let [p, q] = high.to_be_bytes();
        let [r, s] = low.to_be_bytes();
        Ipv4Addr::new(p, q, r, s)
    };
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff | 0] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => {
            Some(v4(g, h))
        }
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    /// REV-12: what is inside, in every spelling that a URL can have.
    #[test]
    fn rev_12_addresses() {
        for (host, link_local, inside) in [
            ("127.0.0.2:8080", false, true),
            ("0x7f000001", false, true),
            ("2130706433", false, true),
            ("127.1", false, true),
            ("10.0.0.1", false, true),
            ("172.31.255.255", false, true),
            ("172.32.0.1", false, false),
            ("192.168.1.1", false, true),
            ("100.64.0.1", false, true),
            ("100.127.255.254", false, true),
            ("100.128.0.1", false, false),
            ("100.63.255.255", false, false),
            ("0.0.0.0", false, true),
            ("0.1.2.3", false, true),
            ("192.0.0.8", false, true),
            ("198.19.0.1", false, true),
            ("224.0.0.1", false, true),
            ("255.255.255.255", false, true),
            ("169.254.169.254", true, true),
            ("[::]", false, true),
            ("[::1]", false, true),
            ("[fd00:ec2::254]", false, true),
            ("[fc00::1]", false, true),
            ("[fec0::1]", false, true),
            ("[ff02::1]", false, true),
            ("[fe80::1]", true, true),
            ("[::ffff:10.0.0.1]", false, true),
            ("[::ffff:100.64.0.1]", false, true),
            ("[::ffff:169.254.169.254]", true, true),
            ("[::10.0.0.1]", false, true),
            ("[64:ff9b::a00:1]", false, true),
            ("[64:ff9b::a9fe:a9fe]", true, true),
            ("[64:ff9b:1::1]", false, true),
            ("[2002:a00:1::]", false, true),
            ("[2002:cb00:7101::]", false, false),
            ("localhost", false, true),
            ("LOCALHOST.", false, true),
            ("crl.localhost", false, true),
            ("a.b.localhost.", false, true),
            ("localhost.example", false, false),
            ("notlocalhost", false, false),
            ("203.0.113.1", false, false),
            ("[2001:db8::1]", false, false),
            ("[::ffff:203.0.113.1]", false, false),
        ] {
            let url = url(&format!("http://{host}/a"));
            assert_eq!(
                Reach::Outside.refuses_host(&url).is_some(),
                inside,
                "{host}"
            );
            let near = Reach::NotLinkLocal.refuses_host(&url);
            assert_eq!(near.is_some(), link_local, "{host}");
            assert_eq!(Reach::Anywhere.refuses_host(&url), None);
            assert_eq!(came_from_inside(&url, None), inside, "{host}");
        }
    }

    /// REV-12: the address that answered decides, not the name that was asked.
    #[test]
    fn rev_12_where_an_answer_came_from() {
        let named = url("http://crl.example/a");
        let from = |text: &str| Some(text.parse().unwrap());
        assert!(came_from_inside(&named, from("10.0.0.1:80")));
        assert!(came_from_inside(&named, from("[::ffff:127.0.0.1]:80")));
        assert!(!came_from_inside(&named, from("203.0.113.1:80")));
        assert!(!came_from_inside(
            &url("http://localhost/"),
            from("203.0.113.1:80")
        ));
    }

    /// REV-12: a name that resolves inside is refused before anything is sent.
    #[tokio::test]
    async fn rev_12_names_that_resolve_inside() {
        let resolve = |reach| Guard(reach).resolve("localhost".parse().unwrap());
        let error = resolve(Reach::Outside).await.err().unwrap().to_string();
        assert!(error.starts_with("localhost has the address "), "{error}");
        assert!(error.ends_with("of this machine's own network"), "{error}");
        for reach in [Reach::NotLinkLocal, Reach::Anywhere] {
            assert!(resolve(reach).await.unwrap().all(|a| a.ip().is_loopback()));
        }
    }
}
