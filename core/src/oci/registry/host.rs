//! One registry host: its address, its authentication, and requests to it.

use super::{Endpoint, RegistryError};
use crate::artifact::reference::{RepositoryName, api_host};
use crate::net::{Client, HeaderValue, HttpAnswer, Method, Request, StatusCode, Streaming, Url};
use crate::oci::OciError;
use crate::oci::auth::{Authenticator, Credentials};

/// A registry host, shared by the repositories on it.
#[derive(Debug)]
pub(in crate::oci) struct Host {
    base: Url,
    client: Client,
    authenticator: Authenticator,
    /// Where it stands in for the registry that is named, or has an address of its own.
    endpoint: Option<Endpoint>,
}

impl Host {
    /// `registry` is the name in its one form.
    pub(super) fn new(
        client: &Client,
        registry: &str,
        plain_http: bool,
        credentials: Credentials,
        token_services: Vec<String>,
    ) -> Result<Self, OciError> {
        let scheme = if plain_http { "http" } else { "https" };
        let host = api_host(registry);
        let base: Url = format!("{scheme}://{host}/v2/")
            .parse()
            .map_err(|_| RegistryError::Address(registry.to_owned()))?;
        Ok(Self {
            base,
            authenticator: Authenticator::new(
                client.clone(),
                registry,
                plain_http,
                credentials,
                token_services,
            ),
            client: client.clone(),
            endpoint: None,
        })
    }

    /// A host at an address of its own. It is asked for credentials under its own name, so that those
    /// of the registry it stands in for never reach it.
    pub(super) fn at(
        client: &Client,
        endpoint: &Endpoint,
        credentials: Credentials,
        token_services: Vec<String>,
    ) -> Result<Self, OciError> {
        let base = endpoint.base.clone();
        let plain_http = base.scheme() == "http";
        let registry = endpoint.registry();
        let registry = registry.ok_or_else(|| RegistryError::Address(base.to_string()))?;
        Ok(Self {
            base,
            authenticator: Authenticator::new(
                client.clone(),
                &registry,
                plain_http,
                credentials,
                token_services,
            ),
            client: client.clone(),
            endpoint: Some(endpoint.clone()),
        })
    }

    /// What was accepted before for a scope, else what the configuration of the host says.
    async fn known_header(&self, scope: &str) -> Option<HeaderValue> {
        let known = self.authenticator.header(scope).await;
        known.or_else(|| self.endpoint.as_ref()?.authorization.clone())
    }

    fn add_headers(&self, request: &mut Request) {
        if let Some(endpoint) = &self.endpoint {
            request.private.clone_from(&endpoint.headers);
        }
    }

    pub(in crate::oci) fn client(&self) -> &Client {
        &self.client
    }

    /// `<base>/v2/<repository>/<path>`; the path is made of checked tags, digests and fixed words.
    pub(in crate::oci) fn url(&self, name: &RepositoryName, path: &str) -> Result<Url, OciError> {
        let text = format!("{}/{path}", name.repository());
        let joined = self.base.join(&text);
        let mut url = joined.map_err(|_| RegistryError::Address(text))?;
        if let Some(namespace) = self.endpoint.as_ref().and_then(|e| e.namespace.as_ref()) {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        Ok(url)
    }

    /// The address at which a registry says that it is one.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    pub(in crate::oci) fn is_home(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Sends a request to this host, authenticating where it is asked for.
    pub(in crate::oci) async fn call(
        &self,
        mut request: Request,
        scope: &str,
        limit: u64,
    ) -> Result<HttpAnswer, OciError> {
        self.add_headers(&mut request);
        request.authorization = self.known_header(scope).await;
        let answer = self.exchange(&request, limit).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !self.is_home(&answer.url) {
            return Ok(answer);
        }
        let sent = request.authorization.take();
        let header = self
            .authenticator
            .answer(scope, &answer.headers, sent.as_ref())
            .await
            .map_err(RegistryError::Auth)?;
        request.authorization = Some(header);
        self.exchange(&request, limit).await
    }

    /// Sends a request for content to this host, and hands the answer out unread.
    pub(in crate::oci) async fn open(
        &self,
        mut request: Request,
        scope: &str,
        limit: u64,
    ) -> Result<Streaming, OciError> {
        self.add_headers(&mut request);
        request.authorization = self.known_header(scope).await;
        let open = |request: Request| async move {
            let opened = self.client.open(&request, limit).await;
            opened.map_err(RegistryError::Net)
        };
        let answer = open(request.clone()).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !self.is_home(&answer.url) {
            return Ok(answer);
        }
        let sent = request.authorization.take();
        let header = self
            .authenticator
            .answer(scope, &answer.headers, sent.as_ref())
            .await
            .map_err(RegistryError::Auth)?;
        request.authorization = Some(header);
        Ok(open(request).await?)
    }

    /// Adds what this host accepted before, for a request that can be sent only once.
    pub(in crate::oci) async fn authorize(&self, mut request: Request, scope: &str) -> Request {
        self.add_headers(&mut request);
        request.authorization = self.known_header(scope).await;
        request
    }

    async fn exchange(&self, request: &Request, limit: u64) -> Result<HttpAnswer, OciError> {
        let answer = self.client.exchange(request, limit).await;
        answer.map_err(|source| RegistryError::Net(source).into())
    }
}

/// The error of an unexpected answer.
pub(in crate::oci) fn unexpected(method: Method, answer: &HttpAnswer) -> OciError {
    RegistryError::status(&method, answer).into()
}
