use super::*;

fn parse(text: &str) -> Manifest {
    Manifest::parse(OCI_MANIFEST, text.as_bytes()).unwrap()
}

fn descriptor(media_type: &str) -> String {
    let digest = digest(HashAlgorithm::Sha256, b"");
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":0}}"#)
}

#[test]
fn signature_manifest_is_the_reference_s() {
    // OCI-01 to OCI-04, OCI-06, OCI-09: written by the reference for the same input.
    let subject = Descriptor {
        media_type: OCI_MANIFEST.to_owned(),
        digest: "sha256:87e72933805e382b4b445fb6ad3427ee306510d9476ed27c9736450e36709058"
            .parse()
            .unwrap(),
        size: 567,
        // User metadata is part of the payload, never of the manifest.
        annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
    };
    let envelope = Descriptor {
        media_type: "application/cose".to_owned(),
        digest: "sha256:4ec9d1979e1b461a3b23a88f20387377cab6ca3ee11a3fda918cd5eb1a0f57c9"
            .parse()
            .unwrap(),
        size: 4963,
        annotations: BTreeMap::new(),
    };
    let annotations = BTreeMap::from([
        (
            "org.opencontainers.image.created".to_owned(),
            "2026-11-22T23:34:22Z".to_owned(),
        ),
        (
            "io.cncf.notary.x509chain.thumbprint#S256".to_owned(),
            concat!(
                r#"["bed20f434b606c319c1f24791f9f8739849414a4af02f17a0c33f725505dd913","#,
                r#""38d5d8f297e8a4258eca846fa5bfa9122d3a9ba5c3558120dcc4578bccb8a4ae","#,
                r#""0cafcecdbea1f22ceea35ec888346ceebfba288f4af4637caf8709a0c3d68048"]"#
            )
            .to_owned(),
        ),
    ]);
    let bytes =
        signature_manifest(WrittenForm::ArtifactType, &subject, &envelope, &annotations).unwrap();
    assert_eq!(
        describe(OCI_MANIFEST, &bytes).digest.to_string(),
        "sha256:55959d0008d916a063b563a2ccc20537c686ef2709d065ad2f3bfad285cd0ccb"
    );
    let read = Manifest::parse(OCI_MANIFEST, &bytes).unwrap();
    assert_eq!(read.signature_form(), SignatureForm::Signature);
    assert!(read.subject.unwrap().descriptor.same_content(&subject));
}

#[test]
fn the_form_for_layouts_is_the_older_one() {
    // OCI-10, OCI-37: no artifact type; the configuration has the signature's.
    let (subject, envelope) = (
        describe(OCI_INDEX, b"index"),
        describe("application/jose+json", b"{}"),
    );
    let none = BTreeMap::new();
    let bytes = signature_manifest(WrittenForm::ConfigType, &subject, &envelope, &none).unwrap();
    let written: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(written.get("artifactType"), None);
    assert_eq!(
        written["config"],
        serde_json::json!({
            "mediaType": SIGNATURE_ARTIFACT_TYPE,
            "digest": describe(EMPTY_MEDIA_TYPE, EMPTY_CONTENT).digest,
            "size": 2,
        })
    );
    let read = Manifest::parse(OCI_MANIFEST, &bytes).unwrap();
    assert_eq!(read.signature_form(), SignatureForm::Signature);
    assert_eq!(read.listed_artifact_type(), Some(SIGNATURE_ARTIFACT_TYPE));
    assert!(read.subject.unwrap().descriptor.same_content(&subject));
}

#[test]
fn strings_are_escaped_as_go_escapes_them() {
    // OCI-09
    let json = to_json(&"a<b>&\u{2028}\u{2029}\u{1}\n\u{8}\"é").unwrap();
    assert_eq!(
        String::from_utf8(json).unwrap(),
        r#""a\u003cb\u003e\u0026\u2028\u2029\u0001\n\b\"é""#
    );
}

#[test]
fn empty_descriptor_is_the_specification_s() {
    // OCI-02
    assert_eq!(
        empty_descriptor().digest.to_string(),
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
}

#[test]
fn two_forms_and_one_contradiction() {
    // OCI-01, OCI-10, OCI-12
    let signature = SIGNATURE_ARTIFACT_TYPE;
    let empty = descriptor(EMPTY_MEDIA_TYPE);
    let legacy = descriptor(signature);
    let other = descriptor("application/x");
    for (text, form) in [
        (
            format!(r#"{{"artifactType":"{signature}","config":{empty}}}"#),
            SignatureForm::Signature,
        ),
        (
            format!(r#"{{"config":{legacy}}}"#),
            SignatureForm::Signature,
        ),
        (format!(r#"{{"config":{empty}}}"#), SignatureForm::Other),
        (
            format!(r#"{{"artifactType":"application/x","config":{legacy}}}"#),
            SignatureForm::Other,
        ),
        (
            format!(r#"{{"artifactType":"{signature}","config":{other}}}"#),
            SignatureForm::Contradictory {
                artifact_type: signature.to_owned(),
                config_media_type: "application/x".to_owned(),
            },
        ),
    ] {
        assert_eq!(parse(&text).signature_form(), form, "{text}");
    }
}

#[test]
fn artifact_manifests_are_read() {
    // OCI-11
    let blob = descriptor("application/jose+json");
    let text = format!(r#"{{"artifactType":"{SIGNATURE_ARTIFACT_TYPE}","blobs":[{blob}]}}"#);
    let manifest = Manifest::parse(OCI_ARTIFACT, text.as_bytes()).unwrap();
    assert_eq!(manifest.signature_form(), SignatureForm::Signature);
    assert_eq!(manifest.layers.len(), 1);
}

#[test]
fn a_manifest_is_unmistakably_one() {
    // OCI-14, SEC-02: no document that another reader could take for something else.
    let d = descriptor("application/x");
    for text in [
        format!(r#"{{"layers":[{d}],"manifests":[{d}]}}"#),
        format!(r#"{{"mediaType":"{OCI_INDEX}","layers":[{d}]}}"#),
        r#"{"layers":[{"mediaType":"a","digest":"sha256:00","size":1}]}"#.to_owned(),
        r#"{"layers":[{"mediaType":"a","size":-1}]}"#.to_owned(),
        "[]".to_owned(),
        String::new(),
    ] {
        assert!(
            Manifest::parse(OCI_MANIFEST, text.as_bytes()).is_err(),
            "{text}"
        );
    }
    assert!(matches!(
        Manifest::parse("text/html", b"{}"),
        Err(ManifestError::MediaType { .. })
    ));
}
