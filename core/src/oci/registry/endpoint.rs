//! An address at which a registry is asked that does not follow from its name: a mirror that stands in
//! for it, or the registry itself where it is configured to be elsewhere.

use std::fmt;

use crate::artifact::reference::normal_registry;
use crate::net::{HeaderMap, HeaderValue, Url};

/// Where requests for a registry go.
#[derive(Clone)]
#[non_exhaustive]
pub struct Endpoint {
    /// What stands before `<repository>/manifests/…`; it ends with a slash.
    pub base: Url,
    /// The registry that it stands in for: sent as `ns`, by which proxies of several registries tell
    /// them apart.
    pub namespace: Option<String>,
    /// Sent to this address alone.
    pub headers: HeaderMap,
    /// `Authorization` until the host asks for something else.
    pub authorization: Option<HeaderValue>,
}

impl Endpoint {
    /// An address without headers; a slash is added at its end. `None` where it is no address to send
    /// requests to.
    pub fn new(mut base: Url) -> Option<Self> {
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&format!("{path}/"));
        base.set_query(None);
        base.set_fragment(None);
        let fits = matches!(base.scheme(), "http" | "https")
            && base.username().is_empty()
            && base.password().is_none();
        let endpoint = Self {
            base,
            namespace: None,
            headers: HeaderMap::new(),
            authorization: None,
        };
        (fits && endpoint.registry().is_some()).then_some(endpoint)
    }

    /// `<host>[:<port>]`, the name under which its own credentials are kept.
    pub fn registry(&self) -> Option<String> {
        let host = self.base.host_str()?;
        normal_registry(&match self.base.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        })
    }
}

/// Headers may be secrets.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("base", &self.base.as_str())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
