//! Which proxy a request goes through: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, in capitals or not,
//! as Go's `golang.org/x/net/http/httpproxy` reads them (REG-10).
//!
//! Two things differ from Go. A value that is no address is an error, where Go goes on without a
//! proxy; and an IPv6 address in `NO_PROXY` may stand in brackets with or without a port.
//! `ALL_PROXY` is not read, as in Go.

use std::ffi::OsStr;
use std::fmt;
use std::net::IpAddr;

use super::clients::{Clients, Setup, is_tls};
use super::reach::Reach;
use super::{Url, is_loopback};
use crate::dirs::{self, ProxyVariable};

/// What the environment says of proxies.
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Vec<Exception>,
    /// Whether this is a CGI program, to which anybody may hand a variable `HTTP_PROXY`.
    cgi: bool,
}

/// A proxy, or a value that names none.
pub(super) struct Proxy {
    via: Via,
    /// Its address, with the login that may be in it; or why there is none.
    address: Result<Url, &'static str>,
    clients: Clients,
}

/// A proxy as it may be shown: which variable names it, and its address without a login.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Via {
    /// The name of the variable.
    pub variable: &'static str,
    /// The address.
    pub address: String,
}

/// A variable that names no proxy, where one is to be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unusable {
    pub(super) via: Via,
    pub(super) reason: &'static str,
}

/// One item of `NO_PROXY`.
#[derive(Debug, Eq, PartialEq)]
enum Exception {
    /// `*`: no request uses a proxy.
    All,
    /// `10.0.0.0/8`: an address and the length of its prefix.
    Network(IpAddr, u8),
    /// An address, perhaps at one port.
    Address(IpAddr, Option<u16>),
    /// A domain with a dot in front; whether the domain itself is meant beside what is below it;
    /// perhaps one port.
    Domain(String, bool, Option<u16>),
}

impl Proxies {
    pub(super) fn from_environment() -> Self {
        let variables = dirs::proxy_variables();
        let no_proxy = variables.no_proxy.unwrap_or_default();
        Self {
            http: variables.http.map(Proxy::new),
            https: variables.https.map(Proxy::new),
            exceptions: exceptions(&no_proxy.to_string_lossy()),
            cgi: variables.cgi,
        }
    }

    /// The proxy for a URL, if it is to go through one.
    pub(super) fn of(&self, url: &Url) -> Result<Option<&Proxy>, Unusable> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            _ => self.http.as_ref(),
        };
        let Some(proxy) = proxy.filter(|_| !self.excepts(url)) else {
            return Ok(None);
        };
        let unusable = |reason| Unusable {
            via: proxy.via.clone(),
            reason,
        };
        if self.cgi && url.scheme() != "https" {
            return Err(unusable("not in a CGI program (REQUEST_METHOD is set)"));
        }
        match &proxy.address {
            Ok(_) => Ok(Some(proxy)),
            Err(reason) => Err(unusable(reason)),
        }
    }

    fn excepts(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else {
            return true;
        };
        let host = host.trim_end_matches('.');
        let port = url.port_or_known_default();
        is_loopback(url) || self.exceptions.iter().any(|e| e.covers(host, port))
    }
}

impl Proxy {
    fn new(variable: ProxyVariable) -> Self {
        let name = variable.name;
        let (shown, address) = match variable.value.to_str() {
            Some(text) => match address(text) {
                Ok(url) => (without_login(&url), Ok(url)),
                Err(reason) => (hide_login(text), Err(reason)),
            },
            None => (hide_login(&lossy(&variable.value)), Err(NO_ADDRESS)),
        };
        Self {
            via: Via {
                variable: name,
                address: shown,
            },
            address,
            clients: Clients::default(),
        }
    }

    pub(super) fn via(&self) -> &Via {
        &self.via
    }

    /// The client for requests to `url` through this proxy.
    pub(super) fn client(&self, setup: &Setup, url: &Url) -> reqwest::Result<&reqwest::Client> {
        let mut address = self.address.clone().ok();
        // As in Go, a SOCKS proxy looks names up itself.
        if let Some(url) = address.as_mut().filter(|url| url.scheme() == "socks5") {
            // Never refused between schemes that the URL standard does not know.
            let _changed = url.set_scheme("socks5h");
        }
        let tls = is_tls(url) || address.as_ref().is_some_and(is_tls);
        let make = |roots| setup.make(address.as_ref(), Reach::Anywhere, roots);
        self.clients.get(tls, make)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} of {}", self.address, self.variable)
    }
}

fn lossy(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

/// The address of a proxy; without a scheme it is one over HTTP.
fn address(text: &str) -> Result<Url, &'static str> {
    // A URL parser drops line ends and tabs.
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(NO_ADDRESS);
    }
    let with_host = |text: &str| text.parse().ok().filter(|url: &Url| has_host(url));
    let url = match text.contains("://") {
        true => with_host(text),
        false => with_host(&format!("http://{text}")),
    };
    let url = url.ok_or(NO_ADDRESS)?;
    match url.scheme() {
        "http" | "https" | "socks5" | "socks5h" => Ok(url),
        _ => Err("its scheme is none of http, https, socks5 and socks5h"),
    }
}

fn has_host(url: &Url) -> bool {
    url.host_str().is_some_and(|host| !host.is_empty())
}

/// A proxy's address as it may be shown.
fn without_login(url: &Url) -> String {
    let shown = super::shown(url);
    shown.strip_suffix('/').unwrap_or(&shown).to_owned()
}

/// A text that is no address, without what may be a login in it.
fn hide_login(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            let mark = if scheme.is_empty() { "" } else { "://" };
            format!("{scheme}{mark}*****@{after}")
        }
        None => text.to_owned(),
    }
}

fn exceptions(text: &str) -> Vec<Exception> {
    text.split(',').filter_map(exception).collect()
}

fn exception(text: &str) -> Option<Exception> {
    let text = text.trim().to_lowercase();
    match text.as_str() {
        "" => return None,
        "*" => return Some(Exception::All),
        _ => {}
    }
    if let Some((address, bits)) = text.split_once('/')
        && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u8>())
        && bits <= if address.is_ipv4() { 32 } else { 128 }
    {
        return Some(Exception::Network(address, bits));
    }
    let (host, port) = host_and_port(&text)?;
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Exception::Address(address.to_canonical(), port));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let below = host.strip_prefix('*').filter(|rest| rest.starts_with('.'));
    match below.or_else(|| host.starts_with('.').then_some(host)) {
        Some(domain) => Some(Exception::Domain(ascii(domain), false, port)),
        None if host.is_empty() => None,
        None => Some(Exception::Domain(ascii(&format!(".{host}")), true, port)),
    }
}

/// `host`, `host:port`, `::1`, `[::1]` or `[::1]:port`. An item that is a port alone is none.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            None if after.is_empty() => Some((host, None)),
            None => None,
            Some(port) => Some((host, Some(port.parse().ok()?))),
        };
    }
    if text.parse::<IpAddr>().is_ok() {
        return Some((text, None));
    }
    match text.split_once(':') {
        None => Some((text, None)),
        Some(("", _)) => None,
        Some((host, "")) => Some((host, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
    }
}

/// A domain in the form in which hosts stand in URLs; as it is where it has none.
fn ascii(domain: &str) -> String {
    let bare = domain.trim_start_matches('.');
    let url: Option<Url> = format!("http://{bare}/").parse().ok();
    match url.as_ref().and_then(Url::host_str) {
        Some(host) => format!(".{host}"),
        None => domain.to_owned(),
    }
}

impl Exception {
    fn covers(&self, host: &str, port: Option<u16>) -> bool {
        let at = |wanted: &Option<u16>| wanted.is_none() || *wanted == port;
        let address = super::address(host).map(|address| address.to_canonical());
        match self {
            Self::All => true,
            Self::Network(network, bits) => address.is_some_and(|a| is_in(a, *network, *bits)),
            Self::Address(wanted, only) => address == Some(*wanted) && at(only),
            Self::Domain(domain, itself, only) => {
                let below = host.ends_with(domain.as_str());
                let same = *itself && domain.strip_prefix('.') == Some(host);
                (below || same) && at(only)
            }
        }
    }
}

/// Whether an address begins with the same bits as a network's.
fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let prefix = |value: u128, length: u32| {
        let drop = length.saturating_sub(u32::from(bits));
        value.checked_shr(drop).unwrap_or(0)
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            prefix(u32::from(a).into(), 32) == prefix(u32::from(n).into(), 32)
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => prefix(a.into(), 128) == prefix(n.into(), 128),
        _ => false,
    }
}

const NO_ADDRESS: &str = "it is not the address of a proxy, such as http://proxy.example:3128";

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(http: &str, https: &str, no_proxy: &str) -> Proxies {
        let variable = |name, value: &str| {
            (!value.is_empty()).then(|| {
                Proxy::new(ProxyVariable {
                    name,
                    value: value.into(),
                })
            })
        };
        Proxies {
            http: variable("HTTP_PROXY", http),
            https: variable("HTTPS_PROXY", https),
            exceptions: exceptions(no_proxy),
            cgi: false,
        }
    }

    fn used(proxies: &Proxies, url: &str) -> Option<String> {
        let proxy = proxies.of(&url.parse().unwrap()).unwrap();
        proxy.map(|p| p.via().to_string())
    }

    /// REG-10: each scheme has its variable, and this machine none.
    #[test]
    fn reg_10_schemes() {
        let both = proxies("proxy:1", "http://u:hunter2@proxy.example:2/", "");
        for (url, expected) in [
            (
                "http://r.example/",
                Some("the proxy http://proxy:1 of HTTP_PROXY"),
            ),
            (
                "https://r.example/",
                Some("the proxy http://proxy.example:2 of HTTPS_PROXY"),
            ),
            ("http://localhost:5000/", None),
            ("https://127.0.0.1/", None),
            ("http://[::1]:5000/", None),
        ] {
            assert_eq!(used(&both, url).as_deref(), expected, "{url}");
        }
        assert_eq!(used(&proxies("", "p:1", ""), "http://r.example/"), None);
        let cgi = Proxies { cgi: true, ..both };
        assert!(cgi.of(&"http://r.example/".parse().unwrap()).is_err());
        assert!(used(&cgi, "https://r.example/").is_some());
    }

    /// REG-10: what `NO_PROXY` covers, and what it doesn't.
    #[test]
    fn reg_10_exceptions() {
        for (no_proxy, url, covered) in [
            ("*", "https://r.example/", true),
            ("a.example, * ", "https://r.example/", true),
            ("r.example", "https://r.example/", true),
            ("R.Example", "https://r.EXAMPLE/", true),
            ("r.example", "https://a.r.example/", true),
            ("r.example", "https://ar.example/", false),
            (".r.example", "https://r.example/", false),
            (".r.example", "https://a.r.example/", true),
            ("*.R.example", "https://a.r.example/", true),
            ("*.r.example", "https://r.example/", false),
            ("r.example:443", "https://r.example/", true),
            ("r.example:443", "https://r.example:5000/", false),
            ("r.example:5000", "https://r.example:5000/", true),
            ("r.example.", "https://r.example/", true),
            ("r.example", "https://r.example./", true),
            ("b\u{fc}cher.example", "https://b\u{fc}cher.example/", true),
            ("10.0.0.0/8", "https://10.1.2.3/", true),
            ("10.0.0.0/8", "https://11.1.2.3/", false),
            ("0.0.0.0/0", "https://11.1.2.3/", true),
            ("0.0.0.0/0", "https://[2001:db8::1]/", false),
            ("10.0.0.1", "https://10.0.0.1:5000/", true),
            ("10.0.0.1:443", "https://10.0.0.1:5000/", false),
            ("10.0.0.1", "https://10.0.0.10/", false),
            ("2001:db8::1", "https://[2001:db8::1]:5000/", true),
            ("2001:DB8:0::1", "https://[2001:db8::1]/", true),
            ("[2001:db8::1]", "https://[2001:db8::1]/", true),
            ("[2001:db8::1]:5000", "https://[2001:db8::1]:5000/", true),
            ("[2001:db8::1]:5000", "https://[2001:db8::1]/", false),
            ("2001:db8::/32", "https://[2001:db8:1::1]/", true),
            ("2001:db8::/32", "https://[2001:db9::1]/", false),
            ("::ffff:10.0.0.1", "https://10.0.0.1/", true),
            ("", "https://r.example/", false),
            (",:80, ,", "https://r.example/", false),
        ] {
            let proxies = proxies("", "http://proxy:1", no_proxy);
            assert_eq!(used(&proxies, url).is_none(), covered, "{no_proxy:?} {url}");
        }
    }

    /// REG-10, SEC-20: a value that is no address is never a direct connection, and what is shown
    /// of it has no login.
    #[test]
    fn reg_10_values() {
        for (value, shown, good) in [
            ("proxy.example:3128", "http://proxy.example:3128", true),
            ("localhost:3128", "http://localhost:3128", true),
            ("[::1]:3128", "http://[::1]:3128", true),
            ("https://proxy.example", "https://proxy.example", true),
            ("http://proxy.example/x?y", "http://proxy.example/x", true),
            ("socks5://u:p@proxy:1080", "socks5://proxy:1080", true),
            ("http://proxy host:3128", "http://proxy host:3128", false),
            ("http://proxy:port", "http://proxy:port", false),
            ("http://:3128", "http://:3128", false),
            ("proxy:99999", "proxy:99999", false),
            ("http://u:p w@proxy:1", "http://*****@proxy:1", false),
            ("u:p/w@pro xy:1", "*****@pro xy:1", false),
            ("http://pro\nxy:1", "http://pro\nxy:1", false),
            (" http://proxy:1", " http://proxy:1", false),
            ("ftp://u:p@proxy:21", "ftp://*****@proxy:21", false),
            ("socks4://proxy:1", "socks4://proxy:1", false),
        ] {
            let proxies = proxies("", value, "direct.example");
            let found = proxies.of(&"https://r.example/".parse().unwrap());
            match found {
                Ok(Some(proxy)) => assert_eq!((proxy.via().address.as_str(), good), (shown, true)),
                Ok(None) => panic!("{value:?} is passed over"),
                Err(error) => assert_eq!((error.via.address.as_str(), good), (shown, false)),
            }
            assert_eq!(used(&proxies, "https://direct.example/"), None, "{value:?}");
        }
    }
}
