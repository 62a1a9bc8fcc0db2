//! The HTTP clients of each way out: which root certificates they trust, through which proxy they go
//! and how far they reach.

use std::sync::OnceLock;
use std::time::Duration;

use super::Url;
use super::reach::{Guard, Reach};
use super::roots;

/// The clients of one way out, each made when it is first needed: the one with TLS takes all root
/// certificates of the system, which takes longer than a request over plain HTTP.
#[derive(Default)]
pub(super) struct Clients {
    pub(super) plain: OnceLock<reqwest::Client>,
    pub(super) tls: OnceLock<reqwest::Client>,
}

impl Clients {
    /// The client for requests over TLS, or for those that need none.
    pub(super) fn get(
        &self,
        tls: bool,
        make: impl FnOnce(Roots<'static>) -> reqwest::Result<reqwest::Client>,
    ) -> reqwest::Result<&reqwest::Client> {
        let (client, roots) = if tls {
            (&self.tls, Roots::System)
        } else {
            (&self.plain, Roots::Given)
        };
        if let Some(made) = client.get() {
            return Ok(made);
        }
        let made = make(roots)?;
        Ok(client.get_or_init(|| made))
    }
}

/// Which root certificates a client trusts.
#[derive(Clone, Copy)]
pub(super) enum Roots<'a> {
    /// Those of the options.
    Given,
    /// Those of the options, and the system's.
    System,
    /// Those of the options, and these, which were read before.
    Read(&'a [reqwest::Certificate]),
}

/// What clients are made with.
pub(super) struct Setup {
    pub(super) user_agent: String,
    pub(super) connect: Duration,
    pub(super) idle: Duration,
    /// Trusted beside the system's.
    pub(super) roots: Vec<reqwest::Certificate>,
    /// Shown to servers that ask.
    pub(super) identity: Option<reqwest::Identity>,
}

impl Setup {
    /// A client that sends all through the proxy, if one is given, and else connects to what is within reach.
    pub(super) fn make(
        &self,
        proxy: Option<&Url>,
        reach: Reach,
        roots: Roots<'_>,
    ) -> reqwest::Result<reqwest::Client> {
        let build = |roots| self.build(proxy, reach, roots);
        match roots {
            Roots::Given | Roots::Read(_) => build(roots),
            // A machine without any root certificate can still use the roots given; without them,
            // no TLS server is trusted.
            Roots::System => {
                let read = roots::system();
                let made = read.and_then(|read| self.build(proxy, reach, Roots::Read(&read)).ok());
                made.map_or_else(|| build(Roots::System), Ok)
                    .or_else(|_| build(Roots::Given))
            }
        }
    }

    fn build(
        &self,
        proxy: Option<&Url>,
        reach: Reach,
        roots: Roots<'_>,
    ) -> reqwest::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(self.connect)
            .read_timeout(self.idle)
            .no_proxy();
        if let Some(proxy) = proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.as_str())?);
        }
        if let Some(identity) = &self.identity {
            builder = builder.identity(identity.clone());
        }
        if reach != Reach::Anywhere {
            builder = builder.dns_resolver(Guard(reach));
        }
        let given = self.roots.clone();
        match roots {
            Roots::System => builder.tls_certs_merge(given).build(),
            Roots::Given => builder.tls_certs_only(given).build(),
            Roots::Read(system) => {
                let all = given.into_iter().chain(system.iter().cloned());
                builder.tls_certs_only(all).build()
            }
        }
    }
}

pub(super) fn is_tls(url: &Url) -> bool {
    url.scheme() == "https"
}
