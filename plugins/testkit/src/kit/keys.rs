//! Rules of `create-key` and `import-certificates` (`HARDSIGN.KEYS`): with a key that is made for it, and
//! stays where it was made.

use std::str::FromStr as _;
use std::time::Duration;

use der::asn1::{BitString, OctetString, UintRef};
use der::oid::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::{self, PublicKey};
use hardsign_plugin::proto::{
    Base64, CONTRACT_VERSION, CreateKeyRequest, CreateKeyResponse, ImportCertificatesRequest,
    ImportCertificatesResponse, OPEN, OpenResponse, Purpose, SIGN_DIGEST, SessionSignRequest,
    SessionSignResponse,
};
use x509_cert::Certificate;
use x509_cert::certificate::{TbsCertificate, Version};
use x509_cert::ext::Extension;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

use super::certificates::{Chain, digest};
use super::session::{Answer, Talk, end, granted, open_request, start};
use super::{Report, Subject};
use crate::rude;

/// The kind of key that is made: the one that every device can make.
const KIND: KeySpec = KeySpec::Ec256;

/// Whose certificate it is.
const SUBJECT: &str = "CN=hardsign-plugin-test,O=Example,ST=WA,C=US";

/// How long the certificate is valid, and how far back it begins.
const VALIDITY: Duration = Duration::from_secs(86_400);
const BACKDATED: Duration = Duration::from_secs(300);

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

/// Makes a key at `place`, certifies it with itself and gives it the certificate.
pub(super) fn check(subject: &Subject, place: &str, report: &mut Report) {
    let Some(mut talk) = start(subject, report) else {
        return;
    };
    let answer = talk.ask(OPEN, &[&open_request(subject, None, Purpose::Sign)]);
    let opened = answer.and_then(|mut answers| granted::<OpenResponse>(answers.pop()));
    let rule = "a session opens without a key, to make one";
    if report
        .must("PLG-51", rule, &talk.exchange(), opened)
        .is_none()
    {
        return;
    }
    let stored = create(subject, place, &mut talk, report).and_then(|made| {
        let certificate = certify(subject, &made, &mut talk, report)?;
        import(subject, &made, &certificate, &mut talk, report)
            .map(|stored| (made, certificate, stored))
    });
    end(talk, report);
    if let Some((made, certificate, 1..)) = stored {
        look(subject, &made, &certificate, report);
    }
}

fn create(
    subject: &Subject,
    place: &str,
    talk: &mut Talk,
    report: &mut Report,
) -> Option<CreateKeyResponse> {
    let mut request = CreateKeyRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: place.into(),
        key_spec: KIND,
        plugin_config: subject.config.clone(),
        overwrite: false,
        beside: false,
        confirmed: false,
        pin_policy: None,
        touch_policy: None,
    };
    let mut answer = talk.ask("create-key", &[&request]);
    if asks(&answer) {
        request.confirmed = true;
        answer = talk.ask("create-key", &[&request]);
        report.must(
            "PLG-51",
            "create-key that asks whether the user agrees asks no more once confirmed is true",
            &talk.exchange(),
            match asks(&answer) {
                true => Err("it asks again".into()),
                false => Ok(()),
            },
        )?;
    }
    let made = report.must(
        "PLG-51",
        "create-key answers with keyId, keySpec and publicKey of the key that was asked for",
        &talk.exchange(),
        answer.and_then(|mut answers| {
            let made: CreateKeyResponse = granted(answers.pop())?;
            let public = PublicKey::from_spki_der(&made.public_key.0)
                .map_err(|error| format!("publicKey can't be read: {error}"))?;
            match made.key_id.is_empty() {
                true => Err("keyId is empty".into()),
                false if made.key_spec != KIND || public.key_spec() != Some(KIND) => {
                    Err(format!("it is another kind of key than {KIND}"))
                }
                false => Ok(made),
            }
        }),
    )?;
    request.key_id.clone_from(&made.key_id);
    let answer = talk.ask("create-key", &[&request]);
    report.must(
        "PLG-51",
        "create-key replaces no key unless overwrite is true",
        &talk.exchange(),
        answer.and_then(refused),
    )?;
    Some(made)
}

/// Opens the key in the same session, and has it sign a certificate of its own.
fn certify(
    subject: &Subject,
    made: &CreateKeyResponse,
    talk: &mut Talk,
    report: &mut Report,
) -> Option<Vec<u8>> {
    let open = open_request(subject, Some(&made.key_id), Purpose::Certify);
    let answer = talk.ask(OPEN, &[&open]);
    report.must(
        "PLG-51",
        "the session of the key store then opens that key to certify, with the same public key",
        &talk.exchange(),
        answer.and_then(|mut answers| {
            let opened: OpenResponse = granted(answers.pop())?;
            match opened.public_key.as_ref() {
                Some(key) if *key == made.public_key && opened.key_spec == Some(KIND) => Ok(()),
                Some(_) => Err("it is another key".into()),
                None => Err("publicKey is missing".into()),
            }
        }),
    )?;
    let tbs = content(subject, &made.public_key.0).ok()?;
    let request = SessionSignRequest {
        digest: Base64(digest(KIND.hash(), &tbs)),
        hash_algorithm: KIND.hash(),
        signature_scheme: None,
    };
    let answer = talk.ask(SIGN_DIGEST, &[&request]);
    report.must(
        "PLG-51",
        "a key that was made signs its own certificate",
        &talk.exchange(),
        answer.and_then(|mut answers| {
            let answer: SessionSignResponse = granted(answers.pop())?;
            let certificate = whole(&tbs, &answer.signature.0)
                .map_err(|error| format!("the signature can't be r‖s: {error}"))?;
            Chain::read(&[Base64(certificate.clone())])?.verify(&tbs, &answer.signature.0)?;
            Ok(certificate)
        }),
    )
}

/// How many certificates were stored.
fn import(
    subject: &Subject,
    made: &CreateKeyResponse,
    certificate: &[u8],
    talk: &mut Talk,
    report: &mut Report,
) -> Option<u32> {
    let request = |chain: Vec<Base64>| ImportCertificatesRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: made.key_id.clone(),
        certificate_chain: chain,
        plugin_config: subject.config.clone(),
        overwrite: false,
    };
    let none = request(Vec::new());
    let answer = talk.ask("import-certificates", &[&none]);
    report.must(
        "PLG-51",
        "import-certificates refuses a chain without certificates",
        &talk.exchange(),
        answer.and_then(refused),
    );
    let other = request(vec![
        Base64(rude::LEAF.to_vec()),
        Base64(rude::ROOT.to_vec()),
    ]);
    let answer = talk.ask("import-certificates", &[&other]);
    report.must(
        "PLG-51",
        "import-certificates stores no certificate of another key",
        &talk.exchange(),
        answer.and_then(|mut answers| match answers.pop() {
            Some(Err(_)) => Ok(()),
            answer => match granted::<ImportCertificatesResponse>(answer)?.stored {
                0 => Ok(()),
                _ => Err("it stored one".into()),
            },
        }),
    );
    let own = request(vec![Base64(certificate.to_vec())]);
    let answer = talk.ask("import-certificates", &[&own]);
    report.must(
        "PLG-51",
        "import-certificates says how many of the chain are stored: 0 where it can hold none",
        &talk.exchange(),
        answer.and_then(|mut answers| {
            match granted::<ImportCertificatesResponse>(answers.pop())?.stored {
                stored @ 0..=1 => Ok(stored),
                more => Err(format!("it says {more}, of one")),
            }
        }),
    )
}

/// Finds the certificate where it was stored.
fn look(subject: &Subject, made: &CreateKeyResponse, certificate: &[u8], report: &mut Report) {
    let Some(mut talk) = start(subject, report) else {
        return;
    };
    let open = open_request(subject, Some(&made.key_id), Purpose::Sign);
    let answer = talk.ask(OPEN, &[&open]);
    report.must(
        "PLG-51",
        "a certificate that was stored is the key's from then on",
        &talk.exchange(),
        answer.and_then(|mut answers| {
            let opened: OpenResponse = granted(answers.pop())?;
            match opened.certificate_chain.first() {
                Some(Base64(leaf)) if leaf == certificate => Ok(()),
                Some(Base64(leaf)) => Err(format!(
                    "it has another: {}",
                    chain::subject(leaf).unwrap_or_default()
                )),
                None => Err("it has none".into()),
            }
        }),
    );
    end(talk, report);
}

/// Whether the answer is a question for the user.
fn asks(answer: &Result<Vec<Answer>, String>) -> bool {
    let last = answer.as_ref().ok().and_then(|answers| answers.last());
    matches!(last, Some(Err(refusal)) if refusal.question().is_some())
}

fn refused(mut answers: Vec<Answer>) -> Result<(), String> {
    match answers.pop() {
        Some(Err(_)) => Ok(()),
        _ => Err("it did".into()),
    }
}

/// A signing certificate that the key issues to itself, up to its signature.
fn content(subject: &Subject, spki: &[u8]) -> der::Result<Vec<u8>> {
    let name = Name::from_str(SUBJECT)?;
    let now = Duration::from_secs(subject.now);
    let time = |at| Time::try_from(std::time::UNIX_EPOCH + at);
    let critical = |oid, value: &[u8]| -> der::Result<Extension> {
        Ok(Extension {
            extn_id: oid,
            critical: oid == KEY_USAGE,
            extn_value: OctetString::new(value)?,
        })
    };
    let extensions = vec![
        // digitalSignature; codeSigning.
        critical(KEY_USAGE, &[3, 2, 7, 0x80])?,
        critical(
            EXTENDED_KEY_USAGE,
            &[0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 3],
        )?,
    ];
    TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&subject.now.to_be_bytes())?,
        signature: ecdsa_with_sha256(),
        issuer: name.clone(),
        validity: Validity {
            not_before: time(now.saturating_sub(BACKDATED))?,
            not_after: time(now.saturating_add(VALIDITY))?,
        },
        subject: name,
        subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(spki)?,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions),
    }
    .to_der()
}

/// The certificate; `signature` is r‖s.
fn whole(tbs: &[u8], signature: &[u8]) -> der::Result<Vec<u8>> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let value = EcdsaValue {
        r: UintRef::new(r)?,
        s: UintRef::new(s)?,
    }
    .to_der()?;
    Certificate {
        tbs_certificate: TbsCertificate::from_der(tbs)?,
        signature_algorithm: ecdsa_with_sha256(),
        signature: BitString::from_bytes(&value)?,
    }
    .to_der()
}

fn ecdsa_with_sha256() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid: ECDSA_WITH_SHA256,
        parameters: None,
    }
}

/// RFC 3279 §2.2.3.
#[derive(der::Sequence)]
struct EcdsaValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}
