//! Whole artifacts in a registry: content streamed in and out, manifests under a tag.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

use super::host::unexpected;
use super::push::put_blob;
use super::referrers;
use super::{Access, Registry, RegistryError, guard};
use crate::artifact::reference::TagOrDigest;
use crate::artifact::{Descriptor, Digest};
use crate::net::{Method, Request, StatusCode};
use crate::oci::content::{BlobReader, Place, by_digest, parsed_manifest};
use crate::oci::manifest::{Entry, MAX_MANIFEST};
use crate::oci::{OciError, Repository, Warning};

/// Content up to this size is read before it is sent, so that sending can be repeated.
const SMALL: u64 = 4 * 1024 * 1024;

#[async_trait]
impl Repository for Registry {
    async fn resolve(&self, target: &TagOrDigest) -> Result<Descriptor, OciError> {
        if self.access == Access::Write {
            return Ok(self.resolve_by_get(target).await?.0);
        }
        if let TagOrDigest::Digest(digest) = target {
            // Whoever reads goes on to list the signatures: ask for both at once.
            self.prefetch(digest);
        }
        match self.resolve_by_head(target).await? {
            Some(descriptor) => Ok(descriptor),
            None => Ok(self.resolve_by_get(target).await?.0),
        }
    }

    async fn read_child(&self, wanted: &Descriptor) -> Result<(), OciError> {
        if self.access == Access::Read {
            // Whoever reads goes on to list the signatures: ask for both at once.
            self.prefetch(&wanted.digest);
        }
        let read = parsed_manifest(self, wanted).await.map(drop);
        if read.is_err() {
            guard(&self.prefetched).remove(&wanted.digest);
        }
        read
    }

    async fn delete_signature(
        &self,
        subject: &Descriptor,
        digest: &Digest,
    ) -> Result<Vec<Warning>, OciError> {
        self.delete(subject, digest).await
    }

    async fn open_blob(&self, wanted: &Descriptor) -> Result<BlobReader, OciError> {
        if wanted.size <= SMALL {
            let bytes = self.blob_bytes(wanted).await?;
            return Ok(BlobReader::memory(wanted, bytes));
        }
        let path = format!("blobs/{}", wanted.digest);
        let request = Request::new(Method::GET, self.host.url(&self.name, &path)?);
        let streaming = self.host.open(request, &self.scope(), wanted.size).await?;
        match streaming.status {
            StatusCode::OK => Ok(BlobReader::http(wanted, streaming)),
            StatusCode::NOT_FOUND => Err(self.not_found(&by_digest(wanted))),
            status => Err(RegistryError::BlobStatus {
                url: crate::net::shown(&streaming.url),
                status: status.as_u16(),
            }
            .into()),
        }
    }

    async fn has_manifest(&self, descriptor: &Descriptor) -> Result<bool, OciError> {
        let request = self.manifest_request(Method::HEAD, &by_digest(descriptor))?;
        let answer = self.host.call(request, &self.scope(), 0).await?;
        match answer.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(unexpected(Method::HEAD, &answer)),
        }
    }

    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, OciError> {
        self.holds_blob(descriptor).await
    }

    async fn store_blob(
        &self,
        descriptor: &Descriptor,
        content: BlobReader,
    ) -> Result<(), OciError> {
        if descriptor.size <= SMALL {
            let bytes = content.read().await?;
            self.upload(descriptor, &bytes).await?;
            self.remember(&descriptor.digest);
            return Ok(());
        }
        let url = self.begin_upload(&descriptor.digest).await?;
        let at_home = self.host.is_home(&url);
        let mut request = put_blob(url);
        request.headers.insert(
            reqwest::header::CONTENT_LENGTH,
            reqwest::header::HeaderValue::from(descriptor.size),
        );
        if at_home {
            request = self.host.authorize(request, &self.write_scope()).await;
        }
        let (sender, receiver) = mpsc::channel(4);
        let body = reqwest::Body::wrap_stream(Pieces(receiver));
        let client = self.host.client();
        let sent = client.upload(&request, body, descriptor.size, MAX_MANIFEST);
        let (answer, read) = tokio::join!(sent, feed(content, sender));
        // What is wrong with the content says more than the upload that it broke off.
        read?;
        let answer = answer.map_err(RegistryError::Net)?;
        self.end_upload(descriptor, &answer).await?;
        self.remember(&descriptor.digest);
        Ok(())
    }

    async fn store_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        place: Place<'_>,
    ) -> Result<Vec<Warning>, OciError> {
        match place {
            Place::Artifact(Some(tag)) => {
                let tag = TagOrDigest::Tag(tag.to_owned());
                self.put_manifest_as(&tag, descriptor, bytes).await?;
                Ok(Vec::new())
            }
            Place::Artifact(None) | Place::Child => {
                self.put_manifest(descriptor, bytes).await?;
                Ok(Vec::new())
            }
            Place::Referrer {
                subject,
                artifact_type,
                annotations,
            } => {
                referrers::prepare(self, subject).await?;
                let indexed = self.put_manifest(descriptor, bytes).await?;
                let entry = listed(descriptor, artifact_type, annotations);
                referrers::list_stored(self, subject, entry, indexed).await
            }
        }
    }

    async fn place_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        place: Place<'_>,
    ) -> Result<Vec<Warning>, OciError> {
        match place {
            Place::Artifact(None) | Place::Child => Ok(Vec::new()),
            Place::Artifact(Some(tag)) => {
                let target = TagOrDigest::Tag(tag.to_owned());
                match self.resolve_by_head(&target).await {
                    Ok(Some(found)) if found.digest == descriptor.digest => Ok(Vec::new()),
                    Ok(_) | Err(OciError::NotFound { .. }) => {
                        self.store_manifest(descriptor, bytes, place).await
                    }
                    Err(error) => Err(error),
                }
            }
            Place::Referrer {
                subject,
                artifact_type,
                annotations,
            } => {
                let indexed =
                    !self.options().force_referrers_tag && referrers::has_api(self, subject).await;
                let entry = listed(descriptor, artifact_type, annotations);
                referrers::list_stored(self, subject, entry, indexed).await
            }
        }
    }
}

/// A referrer as a list shows it.
fn listed(
    descriptor: &Descriptor,
    artifact_type: Option<&str>,
    annotations: &BTreeMap<String, String>,
) -> Entry {
    let mut entry = Entry::new(Descriptor {
        annotations: annotations.clone(),
        ..descriptor.clone()
    });
    entry.artifact_type = artifact_type.map(str::to_owned);
    entry
}

/// Hands content over piece by piece. The last piece waits until everything was compared, so that
/// an upload of wrong content is never complete.
async fn feed(
    mut content: BlobReader,
    sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
) -> Result<(), OciError> {
    let mut held: Option<Bytes> = None;
    loop {
        let next = match content.chunk().await {
            Ok(next) => next,
            Err(error) => {
                let broken = std::io::Error::other("the content is not what its digest says");
                drop(sender.send(Err(broken)).await);
                return Err(error);
            }
        };
        let end = next.is_none();
        if let Some(piece) = std::mem::replace(&mut held, next)
            && sender.send(Ok(piece)).await.is_err()
        {
            // The upload ended early, and its answer says why.
            return Ok(());
        }
        if end {
            return Ok(());
        }
    }
}

/// The receiving end of a channel as the body of a request.
struct Pieces(mpsc::Receiver<Result<Bytes, std::io::Error>>);

impl Stream for Pieces {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
