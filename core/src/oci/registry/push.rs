//! Storing and deleting signatures in a registry (OCI-21 to OCI-28).

use std::collections::BTreeMap;

use super::host::unexpected;
use super::referrers::{self, Configuration, IndexChange, OwnList};
use super::{Registry, RegistryError, guard};
use crate::artifact::reference::TagOrDigest;
use crate::artifact::{Descriptor, Digest};
use crate::budget::{self, Unsettled};
use crate::envelope::Format;
use crate::net::{HeaderName, HeaderValue, HttpAnswer, Method, Request, StatusCode, Url, shown};
use crate::oci::manifest::{
    self, EMPTY_CONTENT, Entry, MAX_MANIFEST, Manifest, OCI_MANIFEST, SIGNATURE_ARTIFACT_TYPE,
    WrittenForm,
};
use crate::oci::{OciError, Pushed, Warning, check_is_signature};

impl Registry {
    pub(super) async fn push(
        &self,
        subject: &Descriptor,
        format: Format,
        envelope: &[u8],
        annotations: BTreeMap<String, String>,
    ) -> Result<Pushed, OciError> {
        let blob = manifest::envelope_descriptor(format, envelope);
        let form = WrittenForm::ArtifactType;
        let bytes = manifest::signature_manifest(form, subject, &blob, &annotations)
            .map_err(OciError::Write)?;
        let descriptor = manifest::describe(OCI_MANIFEST, &bytes);
        let config = manifest::empty_descriptor();
        // The manifest comes last, and makes the signature visible (OCI-21): once it is certain
        // that it can be listed.
        let (envelope, config, prepared) = tokio::join!(
            self.upload(&blob, envelope),
            self.store_configuration(&config),
            referrers::prepare(self, &subject.digest)
        );
        envelope?;
        config?;
        prepared?;
        budget::begin_unsettled(Unsettled::Storing(descriptor.digest.clone()))?;
        let indexed = self.put_manifest(&descriptor, bytes).await?;
        let entry = Entry::new(Descriptor {
            annotations,
            ..descriptor.clone()
        })
        .with_artifact_type(SIGNATURE_ARTIFACT_TYPE);
        let warnings = referrers::list_stored(self, &subject.digest, entry, indexed).await?;
        budget::settled();
        Ok(Pushed {
            manifest: descriptor,
            warnings,
        })
    }

    /// Asks what storing a signature of `subject` will need to know. What fails is asked again, and told, when it is stored.
    pub(super) async fn look_ahead(&self, subject: &Digest) {
        let configuration = async {
            let known = self.known();
            let mut looked = known.configuration.lock().await;
            let config = manifest::empty_descriptor();
            let look = known.configuration.lead(self.holds_blob(&config));
            if let (Ok(false), Configuration::Open) = (look.await, *looked) {
                *looked = Configuration::Missing;
            }
        };
        tokio::join!(configuration, referrers::has_api(self, subject));
    }

    /// Stores the configuration of signatures where it is missing. Of several at once one looks, and the others wait for
    /// it; after that each is on its own, so that what fails does not fail for one after the other.
    async fn store_configuration(&self, config: &Descriptor) -> Result<(), OciError> {
        let known = self.known();
        let mut looked = known.configuration.lock().await;
        let before = std::mem::replace(&mut *looked, Configuration::Looked);
        match before {
            Configuration::Open => {
                let store = self.upload_if_missing(config, EMPTY_CONTENT);
                known.configuration.lead(store).await
            }
            Configuration::Missing => {
                let store = self.upload_to_share(config, EMPTY_CONTENT);
                known.configuration.lead(store).await
            }
            Configuration::Looked => {
                drop(looked);
                self.upload_if_missing(config, EMPTY_CONTENT).await
            }
        }
    }

    /// Stores a manifest; whether the registry lists it among its subject's referrers (OCI-23).
    pub(in crate::oci) async fn put_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
    ) -> Result<bool, OciError> {
        let target = TagOrDigest::Digest(descriptor.digest.clone());
        let answer = self.put_manifest_as(&target, descriptor, bytes).await?;
        Ok(answer.headers.contains_key("oci-subject"))
    }

    /// Stores a manifest under a tag or its digest.
    pub(in crate::oci) async fn put_manifest_as(
        &self,
        target: &TagOrDigest,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
    ) -> Result<HttpAnswer, OciError> {
        let content_type = HeaderValue::from_str(&descriptor.media_type)
            .map_err(|_| RegistryError::Address(descriptor.media_type.clone()))?;
        let request = self
            .manifest_request(Method::PUT, target)?
            .header(HeaderName::from_static("content-type"), content_type)
            .body(bytes);
        let answer = self
            .host()
            .call(request, &self.write_scope(), MAX_MANIFEST)
            .await?;
        if !matches!(
            answer.status,
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED
        ) {
            return Err(unexpected(Method::PUT, &answer));
        }
        same_digest(&answer, &descriptor.digest)?;
        Ok(answer)
    }

    /// Whether the repository holds the content.
    pub(in crate::oci) async fn holds_blob(
        &self,
        descriptor: &Descriptor,
    ) -> Result<bool, OciError> {
        let key = (self.name.clone(), descriptor.digest.clone());
        if guard(&self.connector.inner.present).contains(&key) {
            return Ok(true);
        }
        let path = format!("blobs/{}", descriptor.digest);
        let request = Request::new(Method::HEAD, self.host().url(&self.name, &path)?);
        let answer = self.host().call(request, &self.write_scope(), 0).await?;
        match answer.status {
            StatusCode::OK => {
                self.remember(&descriptor.digest);
                Ok(true)
            }
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(unexpected(Method::HEAD, &answer)),
        }
    }

    pub(in crate::oci) async fn upload_if_missing(
        &self,
        descriptor: &Descriptor,
        content: &[u8],
    ) -> Result<(), OciError> {
        if self.holds_blob(descriptor).await? {
            return Ok(());
        }
        self.upload_to_share(descriptor, content).await
    }

    /// Stores content that others will want as well, and remembers it.
    async fn upload_to_share(
        &self,
        descriptor: &Descriptor,
        content: &[u8],
    ) -> Result<(), OciError> {
        self.upload(descriptor, content).await?;
        self.remember(&descriptor.digest);
        Ok(())
    }

    /// Stores content in two requests (OCI-22). It is not remembered: an envelope comes once.
    pub(in crate::oci) async fn upload(
        &self,
        descriptor: &Descriptor,
        content: &[u8],
    ) -> Result<(), OciError> {
        let url = self.begin_upload(&descriptor.digest).await?;
        let request = put_blob(url).body(content.to_vec());
        let at_home = self.host().is_home(&request.url);
        let answer = if at_home {
            self.host()
                .call(request, &self.write_scope(), MAX_MANIFEST)
                .await?
        } else {
            // Elsewhere, content goes without credentials (REG-05).
            let client = self.host().client();
            let answer = client.exchange(&request, MAX_MANIFEST).await;
            answer.map_err(RegistryError::Net)?
        };
        self.end_upload(descriptor, &answer).await
    }

    /// Asks for an upload, and says where the content with that digest goes.
    pub(in crate::oci) async fn begin_upload(&self, digest: &Digest) -> Result<Url, OciError> {
        let url = self.host().url(&self.name, "blobs/uploads/")?;
        let request = Request::new(Method::POST, url);
        let answer = self
            .host()
            .call(request, &self.write_scope(), MAX_MANIFEST)
            .await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(unexpected(Method::POST, &answer));
        }
        let location = answer.headers.get("location");
        let mut url = location
            .and_then(|l| answer.url.join(l.to_str().ok()?).ok())
            .filter(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some())
            .ok_or_else(|| RegistryError::Location {
                url: shown(&answer.url),
            })?;
        if answer.url.scheme() == "https" && url.scheme() != "https" {
            return Err(RegistryError::Downgrade {
                url: shown(&answer.url),
                location: shown(&url),
            }
            .into());
        }
        url.query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        Ok(url)
    }

    /// Judges the answer to an upload.
    pub(in crate::oci) async fn end_upload(
        &self,
        descriptor: &Descriptor,
        answer: &HttpAnswer,
    ) -> Result<(), OciError> {
        let good = matches!(
            answer.status,
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT
        );
        // A repeated PUT finds its upload gone where the first one arrived after all.
        if !good && !self.holds_blob(descriptor).await? {
            return Err(unexpected(Method::PUT, answer));
        }
        if good {
            same_digest(answer, &descriptor.digest)?;
        }
        Ok(())
    }

    /// Deletes a signature of `subject`, and its entry in the tag schema's index.
    pub(super) async fn delete(
        &self,
        subject: &Descriptor,
        digest: &Digest,
    ) -> Result<Vec<Warning>, OciError> {
        let target = TagOrDigest::Digest(digest.clone());
        let (descriptor, bytes) = self.resolve_by_get(&target).await?;
        let parsed = Manifest::parse(&descriptor.media_type, &bytes).map_err(|source| {
            OciError::Manifest {
                digest: digest.clone(),
                source,
            }
        })?;
        check_is_signature(digest, &parsed, subject)?;
        budget::begin_unsettled(Unsettled::Deleting(digest.clone()))?;
        self.delete_by_digest(digest).await?;
        let change = IndexChange::Remove(digest.clone());
        let warnings = referrers::update_index(self, &subject.digest, change).await?;
        budget::settled();
        Ok(warnings)
    }

    /// Deletes a list of the tag schema.
    pub(in crate::oci) async fn delete_list(&self, list: &OwnList) -> Result<(), OciError> {
        self.delete_by_digest(list.digest()).await
    }

    /// Deletes a manifest that was proven to be a signature or a list; one that is gone already
    /// is no error. Nothing else comes here.
    async fn delete_by_digest(&self, digest: &Digest) -> Result<(), OciError> {
        let target = TagOrDigest::Digest(digest.clone());
        let request = self.manifest_request(Method::DELETE, &target)?;
        let answer = self
            .host()
            .call(request, &self.delete_scope(), MAX_MANIFEST)
            .await?;
        match answer.status {
            StatusCode::ACCEPTED
            | StatusCode::OK
            | StatusCode::NO_CONTENT
            | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(unexpected(Method::DELETE, &answer)),
        }
    }
}

/// The request that carries a blob's content.
pub(in crate::oci) fn put_blob(url: Url) -> Request {
    Request::new(Method::PUT, url).header(
        HeaderName::from_static("content-type"),
        HeaderValue::from_static("application/octet-stream"),
    )
}

/// Compares the digest under which a registry says that it stored content.
fn same_digest(answer: &HttpAnswer, expected: &Digest) -> Result<(), OciError> {
    let said = answer.headers.get("docker-content-digest");
    let said = said.and_then(|v| v.to_str().ok()?.trim().parse::<Digest>().ok());
    match said {
        Some(found) if found != *expected => Err(OciError::DigestMismatch {
            expected: expected.clone(),
            found,
        }),
        _ => Ok(()),
    }
}
