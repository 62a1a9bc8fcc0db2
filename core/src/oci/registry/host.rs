//! One registry host: its address, its authentication, and requests to it.

use super::RegistryError;
use crate::artifact::reference::{RepositoryName, api_host};
use crate::net::{Client, HttpAnswer, Method, Request, StatusCode, Streaming, Url};
use crate::oci::OciError;
use crate::oci::auth::{Authenticator, Credentials};

/// A registry host, shared by the repositories on it.
#[derive(Debug)]
pub(in crate::oci) struct Host {
    base: Url,
    client: Client,
    authenticator: Authenticator,
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
        })
    }

    pub(in crate::oci) fn client(&self) -> &Client {
        &self.client
    }

    /// `<base>/v2/<repository>/<path>`; the path is made of checked tags, digests and fixed words.
    pub(in crate::oci) fn url(&self, name: &RepositoryName, path: &str) -> Result<Url, OciError> {
        let text = format!("{}/{path}", name.repository());
        self.base
            .join(&text)
            .map_err(|_| RegistryError::Address(text).into())
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
        request.authorization = self.authenticator.header(scope).await;
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
        request.authorization = self.authenticator.header(scope).await;
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
        request.authorization = self.authenticator.header(scope).await;
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
