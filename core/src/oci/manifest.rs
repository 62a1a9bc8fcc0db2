//! Manifests and indexes (OCI image specification, "Image Manifest" and "Image Index"), as far as
//! signing, listing and copying read them, and the two manifests that are written: that of a
//! signature, and that of a file which is attached to an artifact.
//!
//! Nothing here is trusted: a manifest's bytes were compared with a digest before they come here,
//! and what they say is unsigned. Layers and configurations are not looked into.

// Requirements: OCI-01 to OCI-09.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter};

use crate::algorithm::HashAlgorithm;
use crate::artifact::{Descriptor, Digest};
use crate::crypto;
use crate::envelope::Format;
use crate::json::{self, JsonError};

/// Artifact type of a Notary Project signature.
pub const SIGNATURE_ARTIFACT_TYPE: &str = "application/vnd.cncf.notary.signature";
/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The withdrawn OCI artifact manifest.
// OCI-11
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// Docker image manifest, version 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of the empty descriptor.
// OCI-02
pub const EMPTY_MEDIA_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// Content of the empty descriptor.
pub const EMPTY_CONTENT: &[u8] = b"{}";
/// The same as `data` of a descriptor has it.
const EMPTY_BASE64: &str = "e30=";

/// Largest manifest or index that is read, in bytes.
// OCI-13, REG-12
pub const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// Largest signature envelope that is read, in bytes.
// OCI-13
pub const MAX_SIGNATURE_BLOB: u64 = 32 * 1024 * 1024;

/// A descriptor inside a manifest or index, with the members that only stand there.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Media type, digest, size and annotations.
    pub descriptor: Descriptor,
    /// Type of the artifact that the entry points to.
    pub artifact_type: Option<String>,
    /// Platform of an image in a multi-platform index.
    pub platform: Option<Platform>,
}

/// The platform of an image (OCI image specification, "Image Index Property Descriptions").
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Platform {
    /// CPU architecture in Go's spelling, for example `arm64`.
    pub architecture: String,
    /// Operating system in Go's spelling, for example `linux`.
    pub os: String,
    /// Variant of the CPU, for example `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Version of the operating system.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
}

/// A parsed manifest or index.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Manifest {
    /// Media type of the descriptor through which it was read.
    pub media_type: String,
    /// `artifactType`.
    pub artifact_type: Option<String>,
    /// `config` of a manifest.
    pub config: Option<Entry>,
    /// `layers` of a manifest, `blobs` of an artifact manifest.
    pub layers: Vec<Entry>,
    /// `manifests` of an index.
    pub manifests: Vec<Entry>,
    /// `subject`.
    pub subject: Option<Entry>,
    /// `annotations` of the whole.
    pub annotations: BTreeMap<String, String>,
}

/// Bytes that are not a manifest of the kind they claim to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not JSON, or members of the wrong type.
    #[error("not a valid manifest")]
    Json(#[source] JsonError),
    /// A media type that is no manifest's.
    #[error("{media_type:?} is not the media type of a manifest")]
    MediaType {
        /// The media type.
        media_type: String,
    },
    /// The document calls itself something else than its descriptor does.
    #[error("the manifest says mediaType {found:?}, its descriptor says {expected:?}")]
    MediaTypeMismatch {
        /// Media type in the descriptor.
        expected: String,
        /// Media type in the document.
        found: String,
    },
    /// Members of a manifest and of an index in one document, which readers could take for
    /// either.
    #[error("the document is both a manifest and an index")]
    Ambiguous,
}

/// What a referrer's manifest is, by the two forms in which signatures are stored.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SignatureForm {
    /// A Notary Project signature.
    Signature,
    /// Something else.
    Other,
    /// A signature's artifact type with the configuration of something else.
    // OCI-12
    Contradictory {
        /// `artifactType`.
        artifact_type: String,
        /// `config.mediaType`.
        config_media_type: String,
    },
}

/// `<name>` as it stands on the wire; unknown members are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireManifest {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<WireEntry>,
    layers: Option<Vec<WireEntry>>,
    blobs: Option<Vec<WireEntry>>,
    manifests: Option<Vec<WireEntry>>,
    subject: Option<WireEntry>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEntry {
    media_type: String,
    digest: Digest,
    size: u64,
    annotations: Option<BTreeMap<String, String>>,
    artifact_type: Option<String>,
    platform: Option<Value>,
}

/// Members in the order in which the reference writes them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenEntry<'a> {
    media_type: &'a str,
    digest: &'a Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a Platform>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenReferrer<'a> {
    schema_version: u32,
    media_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    config: WrittenEntry<'a>,
    layers: [WrittenEntry<'a>; 1],
    subject: WrittenEntry<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl From<WireEntry> for Entry {
    fn from(wire: WireEntry) -> Self {
        Self {
            descriptor: Descriptor {
                media_type: wire.media_type,
                digest: wire.digest,
                size: wire.size,
                annotations: wire.annotations.unwrap_or_default(),
            },
            artifact_type: wire.artifact_type.filter(|t| !t.is_empty()),
            // A platform that cannot be read is none: the entry itself stays usable.
            platform: wire.platform.and_then(|p| serde_json::from_value(p).ok()),
        }
    }
}

impl Entry {
    /// An entry of a descriptor alone.
    pub fn new(descriptor: Descriptor) -> Self {
        Self {
            descriptor,
            artifact_type: None,
            platform: None,
        }
    }

    /// The entry with an artifact type.
    pub fn with_artifact_type(self, artifact_type: impl Into<String>) -> Self {
        Self {
            artifact_type: Some(artifact_type.into()),
            ..self
        }
    }

    /// Reads one element of a `manifests` array.
    ///
    /// # Errors
    /// [`ManifestError::Json`] where media type, digest or size are missing or malformed.
    pub fn from_value(value: &Value) -> Result<Self, ManifestError> {
        WireEntry::deserialize(value)
            .map(Self::from)
            .map_err(unserializable)
    }

    /// Reads one element of a `manifests` array from its text, which is JSON without duplicate names.
    ///
    /// # Errors
    /// [`ManifestError`], if it is no such element.
    pub fn from_json(text: &str) -> Result<Self, ManifestError> {
        match serde_json::from_str::<WireEntry>(text) {
            Ok(entry) => Ok(entry.into()),
            // An error that names no line and column of a text that was never one file.
            Err(_) => {
                let value: Value = serde_json::from_str(text).map_err(unserializable)?;
                Self::from_value(&value)
            }
        }
    }

    /// The entry as an element of a `manifests` array, members in the reference's order.
    ///
    /// # Errors
    /// None for any entry that can be made; the type is that of the serializer.
    pub fn to_value(&self) -> Result<Value, ManifestError> {
        serde_json::to_value(WrittenEntry {
            annotations: Some(&self.descriptor.annotations).filter(|a| !a.is_empty()),
            platform: self.platform.as_ref(),
            artifact_type: self.artifact_type.as_deref(),
            ..WrittenEntry::plain(&self.descriptor)
        })
        .map_err(unserializable)
    }
}

impl<'a> WrittenEntry<'a> {
    fn plain(descriptor: &'a Descriptor) -> Self {
        Self {
            media_type: &descriptor.media_type,
            digest: &descriptor.digest,
            size: descriptor.size,
            annotations: None,
            data: None,
            platform: None,
            artifact_type: None,
        }
    }
}

impl Manifest {
    /// Reads a manifest or index of the given media type.
    ///
    /// # Errors
    /// [`ManifestError`] where it is not one, or not unmistakably one.
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, ManifestError> {
        if !is_manifest(media_type) {
            return Err(ManifestError::MediaType {
                media_type: media_type.to_owned(),
            });
        }
        let wire: WireManifest = parse_json(bytes)?;
        if let Some(found) = wire.media_type.filter(|m| !m.is_empty() && m != media_type) {
            return Err(ManifestError::MediaTypeMismatch {
                expected: media_type.to_owned(),
                found,
            });
        }
        let leaf = wire.config.is_some() || wire.layers.is_some() || wire.blobs.is_some();
        let tree = wire.manifests.is_some();
        if if is_index(media_type) { leaf } else { tree } {
            return Err(ManifestError::Ambiguous);
        }
        let entries = |list: Option<Vec<WireEntry>>| {
            list.unwrap_or_default()
                .into_iter()
                .map(Entry::from)
                .collect()
        };
        Ok(Self {
            media_type: media_type.to_owned(),
            artifact_type: wire.artifact_type.filter(|t| !t.is_empty()),
            config: wire.config.map(Entry::from),
            layers: entries(if media_type == OCI_ARTIFACT {
                wire.blobs
            } else {
                wire.layers
            }),
            manifests: entries(wire.manifests),
            subject: wire.subject.map(Entry::from),
            annotations: wire.annotations.unwrap_or_default(),
        })
    }

    /// Whether it is a signature, in the present form, the legacy form or as an artifact manifest.
    // OCI-01, OCI-10 to OCI-12
    pub fn signature_form(&self) -> SignatureForm {
        let config = self
            .config
            .as_ref()
            .map(|c| c.descriptor.media_type.as_str());
        match (self.media_type.as_str(), self.artifact_type.as_deref()) {
            (OCI_ARTIFACT, Some(SIGNATURE_ARTIFACT_TYPE)) => SignatureForm::Signature,
            (OCI_MANIFEST, Some(SIGNATURE_ARTIFACT_TYPE)) => match config {
                Some(EMPTY_MEDIA_TYPE) => SignatureForm::Signature,
                other => SignatureForm::Contradictory {
                    artifact_type: SIGNATURE_ARTIFACT_TYPE.to_owned(),
                    config_media_type: other.unwrap_or_default().to_owned(),
                },
            },
            (OCI_MANIFEST, None) if config == Some(SIGNATURE_ARTIFACT_TYPE) => {
                SignatureForm::Signature
            }
            _ => SignatureForm::Other,
        }
    }

    /// The artifact type by which a referrers listing shows it: its own, else the configuration's
    /// media type (distribution specification, "Listing Referrers").
    // OCI-33
    pub fn listed_artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref().or_else(|| {
            self.config
                .as_ref()
                .map(|c| c.descriptor.media_type.as_str())
        })
    }
}

/// Whether a media type is that of a manifest or an index.
pub fn is_manifest(media_type: &str) -> bool {
    is_index(media_type) || matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST | OCI_ARTIFACT)
}

/// Whether a media type is that of an index.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// The forms in which a signature's manifest is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WrittenForm {
    /// With an artifact type and the empty configuration, for registries.
    // OCI-01, OCI-02
    ArtifactType,
    /// With a configuration of the signature's type and no artifact type, for layouts:
    /// versions of the reference before 2 find nothing else there.
    // OCI-10
    ConfigType,
}

/// The bytes of a signature's manifest: the same input gives the same bytes, and so the same
/// digest, as in the reference.
///
/// ```json
/// {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
///  "artifactType":"application/vnd.cncf.notary.signature","config":{…},"layers":[{…}],
///  "subject":{…},"annotations":{…}}
/// ```
///
/// # Errors
/// None for any input that can be made; the type is that of the serializer.
// OCI-01 to OCI-04, OCI-09
pub fn signature_manifest(
    form: WrittenForm,
    subject: &Descriptor,
    envelope: &Descriptor,
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, ManifestError> {
    let empty = empty_descriptor();
    let config = WrittenEntry::plain(&empty);
    let (artifact_type, config) = match form {
        WrittenForm::ArtifactType => (
            Some(SIGNATURE_ARTIFACT_TYPE),
            WrittenEntry {
                data: Some(EMPTY_BASE64),
                ..config
            },
        ),
        WrittenForm::ConfigType => (
            None,
            WrittenEntry {
                media_type: SIGNATURE_ARTIFACT_TYPE,
                ..config
            },
        ),
    };
    to_json(&WrittenReferrer {
        schema_version: 2,
        media_type: OCI_MANIFEST,
        artifact_type,
        config,
        layers: [WrittenEntry::plain(envelope)],
        subject: WrittenEntry::plain(subject),
        annotations,
    })
}

/// The bytes of the manifest of a file that is attached to `subject`: the same file gives the same
/// bytes, and so the same digest, whenever it is attached (OCI image specification, "Guidelines for
/// Artifact Usage"). The annotations of `content` stand at its layer.
///
/// # Errors
/// None for any input that can be made; the type is that of the serializer.
pub fn attachment_manifest(
    artifact_type: &str,
    subject: &Descriptor,
    content: &Descriptor,
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, ManifestError> {
    to_json(&WrittenReferrer {
        schema_version: 2,
        media_type: OCI_MANIFEST,
        artifact_type: Some(artifact_type),
        config: WrittenEntry {
            data: Some(EMPTY_BASE64),
            ..WrittenEntry::plain(&empty_descriptor())
        },
        layers: [WrittenEntry {
            annotations: Some(&content.annotations).filter(|a| !a.is_empty()),
            ..WrittenEntry::plain(content)
        }],
        subject: WrittenEntry::plain(subject),
        annotations,
    })
}

/// The descriptor of `{}`.
// OCI-02
pub fn empty_descriptor() -> Descriptor {
    describe(EMPTY_MEDIA_TYPE, EMPTY_CONTENT)
}

/// The descriptor of an envelope.
pub fn envelope_descriptor(format: Format, envelope: &[u8]) -> Descriptor {
    describe(format.media_type(), envelope)
}

/// The descriptor of `content`, by SHA-256.
pub fn describe(media_type: &str, content: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest(HashAlgorithm::Sha256, content),
        size: u64::try_from(content.len()).unwrap_or(u64::MAX),
        annotations: BTreeMap::new(),
    }
}

/// The digest of `content`.
pub fn digest(algorithm: HashAlgorithm, content: &[u8]) -> Digest {
    Digest::new(algorithm, crypto::hash(algorithm, content))
}

/// The media type of a manifest that no descriptor describes: what it calls itself, else what its
/// members make it.
///
/// # Errors
/// [`ManifestError`] where it is no manifest.
pub fn sniff_media_type(bytes: &[u8]) -> Result<String, ManifestError> {
    let wire: WireManifest = parse_json(bytes)?;
    let media_type = match wire.media_type {
        Some(media_type) if !media_type.is_empty() => media_type,
        _ if wire.manifests.is_some() => OCI_INDEX.to_owned(),
        _ => OCI_MANIFEST.to_owned(),
    };
    Manifest::parse(&media_type, bytes).map(|m| m.media_type)
}

/// Reads JSON from outside.
///
/// # Errors
/// [`ManifestError::Json`].
pub(crate) fn parse_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, ManifestError> {
    json::from_slice(bytes).map_err(ManifestError::Json)
}

/// Writes compact JSON with the characters escaped that Go escapes.
///
/// # Errors
/// [`ManifestError::Json`].
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, ManifestError> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, GoFormatter);
    value.serialize(&mut serializer).map_err(unserializable)?;
    Ok(bytes)
}

fn unserializable(error: serde_json::Error) -> ManifestError {
    ManifestError::Json(error.into())
}

/// Compact JSON in which `<`, `>`, `&` and the two Unicode line ends are escaped, as Go does.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest
            .char_indices()
            .find(|(_, c)| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'))
        {
            let (plain, tail) = rest.split_at(at);
            CompactFormatter.write_string_fragment(writer, plain)?;
            write!(writer, "\\u{:04x}", u32::from(c))?;
            rest = tail.strip_prefix(c).unwrap_or_default();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests;
