//! The token itself (TSA-16 to TSA-25, TSA-30, TSA-33, TSA-35).

use hardsign_core::algorithm::{HashAlgorithm, KeySpec};
use hardsign_core::timestamp::{BerError, InfoError, Token, TokenError, Verified};
use hardsign_core::x509::{Certificate, ChainError};
use hardsign_test_support::asn1::{integer, named_bits, oid, sequence, tlv};
use hardsign_test_support::certificate::{
    CODE_SIGNING, DIGITAL_SIGNATURE, EXT_KEY_USAGE, KEY_USAGE, TIME_STAMPING, purposes,
};
use hardsign_test_support::key::{X509Scheme, pss_algorithm};
use hardsign_test_support::token::{
    self as parts, Authority, CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_CERTIFICATE,
    SIGNING_CERTIFICATE_V2, SIGNING_TIME,
};
use hardsign_test_support::{Builder, Key, Told};

use super::{MESSAGE, roots};

use HashAlgorithm::{Sha256, Sha384, Sha512};

fn verify(token: &[u8], roots: &[Certificate]) -> Result<Verified, TokenError> {
    Token::parse(token)?.verify(MESSAGE, roots)
}

fn p256() -> Authority {
    Authority::new(&Key::P256)
}

/// The error of a token of an ordinary authority that was changed so.
fn fault(change: impl FnOnce(&mut parts::Token)) -> TokenError {
    let authority = p256();
    let mut token = authority.token(MESSAGE);
    change(&mut token);
    verify(&token.build(), &roots(&authority)).expect_err("the token is accepted")
}

/// TSA-16, TSA-19, TSA-35: every kind of key, every hash of the imprint.
#[test]
fn tokens_of_every_key_and_hash() {
    for spec in KeySpec::ALL {
        let authority = Authority::new(&Key::of(spec));
        for hash in HashAlgorithm::ALL {
            let token = parts::Token::new(&authority, hash, MESSAGE).build();
            let verified = verify(&token, &roots(&authority)).unwrap();
            assert_eq!(verified.chain().certificates().len(), 3, "{spec} {hash:?}");
            assert_eq!(verified.chain().leaf().der(), authority.signer.der);
            assert_eq!(verified.chain().root().der(), authority.root.der);
        }
    }
}

/// TSA-19: PKCS#1 v1.5 under both of its names, PSS, ECDSA with each hash.
#[test]
fn signature_algorithms() {
    let authority = Authority::new(&Key::RSA_2048);
    for hash in HashAlgorithm::ALL {
        let mut token = authority.token(MESSAGE);
        token.digest = hash;
        token.scheme = X509Scheme::Pkcs1(hash);
        verify(&token.build(), &roots(&authority)).unwrap();
        // rsaEncryption, as OpenSSL writes it.
        let rsa = sequence(&[&oid("1.2.840.113549.1.1.1"), &tlv(5, &[])]);
        token.signature_algorithm = Some(rsa);
        verify(&token.build(), &roots(&authority)).unwrap();
        token.scheme = X509Scheme::Pss(hash);
        token.signature_algorithm = Some(pss_algorithm(hash));
        verify(&token.build(), &roots(&authority)).unwrap();
        // Under the name of another scheme it is refused.
        token.signature_algorithm = Some(sequence(&[&oid("1.2.840.113549.1.1.1"), &tlv(5, &[])]));
        let error = verify(&token.build(), &roots(&authority)).unwrap_err();
        assert!(matches!(error, TokenError::Signature { .. }), "{error}");
    }
    for (algorithm, what) in [
        ("1.2.840.113549.1.1.5", "SHA-1 with RSA"),
        ("1.2.840.113549.1.1.4", "MD5 with RSA"),
        ("1.2.3.4", "unknown"),
    ] {
        let mut token = authority.token(MESSAGE);
        token.signature_algorithm = Some(sequence(&[&oid(algorithm), &tlv(5, &[])]));
        let error = verify(&token.build(), &roots(&authority)).unwrap_err();
        assert!(
            matches!(error, TokenError::Signature { .. }),
            "{what}: {error}"
        );
    }
    // SHA-1 as the digest of the signer, even under a signature with SHA-256.
    let sha1 = sequence(&[&oid(parts::SHA1), &tlv(5, &[])]);
    let error = fault(|t| t.digest_algorithm = Some(sha1));
    assert!(matches!(error, TokenError::HashAlgorithm { .. }), "{error}");
}

/// TSA-17: open lengths and a string in pieces are the same token.
#[test]
fn ber_tokens() {
    let authority = p256();
    let mut token = authority.token(MESSAGE);
    let der = token.build();
    token.ber = true;
    let ber = token.build();
    assert_ne!(ber, der);
    assert_eq!(ber[1], 0x80);
    let verified = verify(&ber, &roots(&authority)).unwrap();
    assert_eq!(verified.chain().certificates().len(), 3);
    // RFC 5652 §5.4: attributes in another order are signed in the order of DER.
    token.sorted = false;
    token.attributes.reverse();
    verify(&token.build(), &roots(&authority)).unwrap();
}

/// TSA-39: the very text, and some other faults of the outermost bytes.
#[test]
fn bytes_that_are_no_token() {
    let text = |bytes: &[u8]| Token::parse(bytes).unwrap_err().told();
    assert_eq!(
        text(b"invalid"),
        "cms: syntax error: invalid signed data: failed to convert from BER to DER: asn1: syntax error: decoding BER length octets: short form length octets value should be less or equal to the subsequent octets length"
    );
    let source = BerError::Empty;
    assert_eq!(Token::parse(b"").unwrap_err(), TokenError::Ber { source });
    assert!(text(&tlv(4, b"x")).starts_with("cms: syntax error: invalid content info: "));
    let data = sequence(&[&oid("1.2.840.113549.1.7.1"), &tlv(0xa0, &tlv(4, b"x"))]);
    assert_eq!(Token::parse(&data).unwrap_err(), TokenError::NotSignedData);
    let token = p256().token(MESSAGE).build();
    for end in 0..token.len() {
        assert!(Token::parse(&token[..end]).is_err(), "{end}");
    }
    assert!(Token::parse(&[&token[..], &[0]].concat()).is_err());
}

/// TSA-16: versions, content type, signed attributes.
#[test]
fn structure() {
    let part = "signed data";
    assert_eq!(fault(|t| t.versions.0 = 1), TokenError::Version { part });
    let part = "signer info";
    assert_eq!(fault(|t| t.versions.1 = 3), TokenError::Version { part });
    let error = fault(|t| "1.2.840.113549.1.7.1".clone_into(&mut t.content_type));
    assert!(
        error.told().starts_with("unexpected content type: 1.2.840.113549.1.7.1. Expected to be id-ct-TSTInfo (1.2.840.113549.1.9.16.1.4)"),
        "{error}"
    );
    let attribute = "contentType";
    assert_eq!(
        fault(|t| *t = t.clone().without(CONTENT_TYPE)),
        TokenError::AttributeMissing { attribute }
    );
    assert_eq!(
        fault(|t| *t = t.clone().with(CONTENT_TYPE, oid("1.2.840.113549.1.7.1"))),
        TokenError::ContentTypeMismatch
    );
    assert_eq!(
        fault(|t| *t = t.clone().with(MESSAGE_DIGEST, tlv(4, &[0; 32]))),
        TokenError::DigestMismatch
    );
    let attribute = "messageDigest";
    assert_eq!(
        fault(|t| t.attributes.push((MESSAGE_DIGEST.to_owned(), vec![]))),
        TokenError::AttributeMissing { attribute }
    );
    // An attribute twice, and one with two values.
    let twice = fault(|t| {
        t.attributes
            .push((CONTENT_TYPE.to_owned(), vec![oid("1.2.3")]))
    });
    assert!(
        matches!(twice, TokenError::AttributeRepeated { .. }),
        "{twice}"
    );
    let two = fault(|t| t.attributes[0].1.push(oid(parts::TST_INFO)));
    assert!(matches!(two, TokenError::AttributeRepeated { .. }), "{two}");
}

/// TSA-21: exactly one signer.
#[test]
fn one_signer() {
    assert_eq!(fault(|t| t.signers = 0), TokenError::Signers);
    assert_eq!(fault(|t| t.signers = 2), TokenError::Signers);
}

/// TSA-18: the certificate is bound by signing-certificate-v2 with a hash of the list.
#[test]
fn signing_certificate() {
    let authority = p256();
    let certificate = &authority.signer.der;
    let issuer = parts::issuer_serial(&authority.ca.subject, &tlv(2, &[0x11, 0x22, 0x33]));
    for value in [
        parts::certificate_id(Sha256, certificate),
        parts::certificate_id(Sha384, certificate),
        parts::certificate_id(Sha512, certificate),
        parts::certificate_id_with(Sha256, &parts::hash(Sha256, certificate), &issuer),
    ] {
        let token = authority.token(MESSAGE).with(SIGNING_CERTIFICATE_V2, value);
        verify(&token.build(), &roots(&authority)).unwrap();
    }
    let with = |value: Vec<u8>| {
        let token = authority.token(MESSAGE).with(SIGNING_CERTIFICATE_V2, value);
        verify(&token.build(), &roots(&authority)).unwrap_err()
    };
    let other = parts::certificate_id(Sha256, &authority.ca.der);
    assert_eq!(with(other), TokenError::CertificateMismatch);
    let wrong = parts::issuer_serial(&authority.root.subject, &tlv(2, &[0x11, 0x22, 0x33]));
    let digest = parts::hash(Sha256, certificate);
    let wrong = parts::certificate_id_with(Sha256, &digest, &wrong);
    assert_eq!(with(wrong), TokenError::CertificateMismatch);
    let sha1 = sequence(&[&oid(parts::SHA1)]);
    let sha1 = sequence(&[&sequence(&[&sequence(&[&sha1, &tlv(4, &[0; 20])])])]);
    assert!(matches!(with(sha1), TokenError::HashAlgorithm { .. }));
    assert!(matches!(with(tlv(0x30, &[])), TokenError::Malformed { .. }));
    // The older attribute, bound by SHA-1, is not enough.
    let old = sequence(&[&sequence(&[&sequence(&[&tlv(4, &[0; 20])])])]);
    let attribute = "signingCertificateV2";
    assert_eq!(
        fault(|t| *t = t
            .clone()
            .without(SIGNING_CERTIFICATE_V2)
            .with(SIGNING_CERTIFICATE, old)),
        TokenError::AttributeMissing { attribute }
    );
}

/// TSA-18: without the signer's certificate there is nothing to verify with.
#[test]
fn certificates_that_are_missing() {
    assert_eq!(
        fault(|t| t.certificates.clear()),
        TokenError::NoSigningCertificate
    );
    assert_eq!(
        fault(|t| drop(t.certificates.remove(0))),
        TokenError::NoSigningCertificate
    );
    // Without the CA between, there is no path.
    let error = fault(|t| t.certificates.truncate(1));
    assert!(matches!(error, TokenError::Untrusted { .. }), "{error}");
    let error = fault(|t| t.certificates.push(tlv(0x30, &tlv(4, b"no certificate"))));
    assert!(matches!(error, TokenError::Certificate { .. }), "{error}");
    let error = fault(|t| t.certificates = vec![t.certificates[1].clone(); 33]);
    assert!(matches!(error, TokenError::TooMany { .. }), "{error}");
}

/// TSA-20: signingTime, where it is there, lies inside the certificates' validity.
#[test]
fn signing_time() {
    let authority = p256();
    for (tag, text, good) in [
        (0x17, "260102030405Z", true),
        (0x18, "20260102030405Z", true),
        (0x17, "190102030405Z", false),
        (0x17, "991231235959Z", false),
        (0x18, "20500102030405Z", false),
        (0x17, "2601020304Z", false),
        (0x04, "20260102030405Z", false),
    ] {
        let token = authority.token(MESSAGE);
        let token = token.with(SIGNING_TIME, tlv(tag, text.as_bytes()));
        let result = verify(&token.build(), &roots(&authority));
        assert_eq!(
            result.as_ref().err().cloned(),
            (!good).then_some(TokenError::SigningTime),
            "{text}"
        );
    }
}

/// TSA-22: the signature is judged before what it covers: a changed token says "signature", never
/// what its changed content would say.
#[test]
fn signature_comes_before_content() {
    let error = fault(|t| {
        t.bad_signature = true;
        t.imprint[0] ^= 1;
    });
    assert!(matches!(error, TokenError::Signature { .. }), "{error}");
    let authority = p256();
    let token = authority.token(MESSAGE);
    let der = token.build();
    let at = der
        .windows(token.imprint.len())
        .position(|w| w == token.imprint)
        .unwrap();
    let mut changed = der.clone();
    changed[at] ^= 1;
    let error = verify(&changed, &roots(&authority)).unwrap_err();
    assert_eq!(error, TokenError::DigestMismatch);
}

/// TSA-30, TSA-35: the imprint, under any hash of the list and no other.
#[test]
fn imprint() {
    let mismatch = TokenError::Info {
        source: InfoError::Mismatch,
    };
    assert_eq!(fault(|t| t.imprint[0] ^= 1), mismatch);
    assert_eq!(fault(|t| t.imprint.truncate(31)), mismatch);
    assert_eq!(
        fault(|t| t.imprint_algorithm = parts::hash_identifier(Sha384)),
        mismatch
    );
    let sha1 = sequence(&[&oid(parts::SHA1), &tlv(5, &[])]);
    let unknown = TokenError::Info {
        source: InfoError::HashAlgorithm,
    };
    assert_eq!(fault(|t| t.imprint_algorithm = sha1), unknown);
    let authority = p256();
    let token = Token::parse(&authority.token(MESSAGE).build()).unwrap();
    let error = token
        .verify(b"another signature", &roots(&authority))
        .unwrap_err();
    assert_eq!(error, mismatch);
    assert_eq!(
        token.danger_range(b"another signature").unwrap_err(),
        mismatch
    );
    assert_eq!(error.told(), "invalid TSTInfo: mismatched message");
}

/// TSA-07, TSA-25: what TSTInfo may not say.
#[test]
fn info() {
    let with = |source| TokenError::Info { source };
    assert_eq!(
        fault(|t| t.info_version = integer(2)),
        with(InfoError::Version)
    );
    assert_eq!(
        fault(|t| t.gen_time = b"20260102030405+0000".to_vec()),
        with(InfoError::GenTime)
    );
    assert_eq!(
        fault(|t| t.accuracy = sequence(&[&tlv(2, &[0xff])])),
        with(InfoError::Accuracy)
    );
    let malformed = fault(|t| t.content = Some(tlv(0x30, &[])));
    assert!(matches!(
        malformed,
        TokenError::Info {
            source: InfoError::Malformed { .. }
        }
    ));
}

/// TSA-23, TSA-24: genTime less and plus accuracy.
#[test]
fn range() {
    let authority = p256();
    let half = tlv(0x80, &[0x01, 0xf4]);
    for (policy, accuracy, earliest, latest) in [
        (
            parts::POLICY,
            vec![],
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05Z",
        ),
        (
            parts::BASELINE_POLICY,
            vec![],
            "2026-01-02T03:04:04Z",
            "2026-01-02T03:04:06Z",
        ),
        (
            parts::BASELINE_POLICY,
            sequence(&[&integer(0)]),
            "2026-01-02T03:04:04Z",
            "2026-01-02T03:04:06Z",
        ),
        (
            parts::BASELINE_POLICY,
            sequence(&[&half]),
            "2026-01-02T03:04:04.5Z",
            "2026-01-02T03:04:05.5Z",
        ),
        (
            parts::POLICY,
            sequence(&[&integer(60)]),
            "2026-01-02T03:03:05Z",
            "2026-01-02T03:05:05Z",
        ),
    ] {
        let mut token = authority.token(MESSAGE);
        policy.clone_into(&mut token.policy);
        token.accuracy = accuracy;
        let range = verify(&token.build(), &roots(&authority)).unwrap().range();
        assert_eq!(
            (range.earliest, range.latest),
            (earliest.parse().unwrap(), latest.parse().unwrap())
        );
        assert_eq!(range.to_string(), format!("[{earliest}, {latest}]"));
    }
}

/// TSA-33: only a chain that ends in a given root, whatever the token carries.
#[test]
fn roots_are_the_ones_given() {
    let authority = p256();
    let mut token = authority.token(MESSAGE);
    let other = Authority::with(
        Builder::timestamping_leaf("Other", Key::P256.spki),
        &Key::P256,
    );
    // A root of the same name with another key, and none at all.
    let key = &Key::P256_B;
    let twin = Builder::ca("TSA Root", key).self_signed(key);
    let twin = Certificate::from_der(&twin.der).unwrap();
    // The certificate that is wanted is named: a token without its intermediate.
    let mut without = authority.token(MESSAGE);
    without.certificates.retain(|der| *der != authority.ca.der);
    let wanted = Certificate::from_der(&authority.ca.der).unwrap();
    match verify(&without.build(), &roots(&authority)).unwrap_err() {
        TokenError::Untrusted { wanted: named, .. } => {
            assert_eq!(named.as_ref(), Some(wanted.subject()));
        }
        error => panic!("{error}"),
    }
    let error = verify(&without.build(), &roots(&authority))
        .unwrap_err()
        .told();
    assert!(
        error.contains(&wanted.subject().quoted()) && error.contains("is wanted"),
        "{error}"
    );
    // The certificate of the CA is no root, though it stands in the chain.
    let ca = Certificate::from_der(&authority.ca.der).unwrap();
    for given in [vec![], vec![twin.clone()]] {
        let error = verify(&token.build(), &given).unwrap_err();
        assert!(matches!(error, TokenError::Untrusted { .. }), "{error}");
    }
    let error = verify(&token.build(), &[ca]).unwrap_err();
    assert!(
        matches!(
            error,
            TokenError::Chain {
                source: ChainError::RootNotSelfSigned { .. }
            }
        ),
        "{error}"
    );
    // A root that the token carries itself is not trusted for that.
    token.certificates.push(authority.root.der.clone());
    assert!(verify(&token.build(), &[]).is_err());
    verify(&token.build(), &roots(&authority)).unwrap();
    // Among several, in any order.
    let mut several = roots(&authority);
    several.insert(0, twin);
    several.push(Certificate::from_der(&other.root.der).unwrap());
    verify(&token.build(), &several).unwrap();
    token.certificates.reverse();
    verify(&token.build(), &several).unwrap();
}

/// TSA-33: a cross-signed CA leads to the root that is trusted.
#[test]
fn cross_signed_authorities() {
    let mut authority = p256();
    let first = authority.root.clone();
    let key = &Key::P256_B;
    let second = Builder::ca("Second Root", key).self_signed(key);
    let cross = Builder::ca("TSA Root", &first.key).issue(&second, &first.key);
    let mut token = authority.token(MESSAGE);
    token.certificates.push(cross.der.clone());
    let by_first = verify(&token.build(), &roots(&authority)).unwrap();
    assert_eq!(by_first.chain().certificates().len(), 3);
    authority.root = second;
    let by_second = verify(&token.build(), &roots(&authority)).unwrap();
    assert_eq!(by_second.chain().certificates().len(), 4);
    // Certificates that seem to have issued one another cost a bounded number of checks.
    let name = |i: u8| format!("Loop {}", i % 2);
    token.certificates.truncate(1);
    for i in 0..30 {
        let mut twin = Builder::ca("TSA CA", &Key::P384_B)
            .named(hardsign_test_support::certificate::subject("TSA CA"));
        twin.serial = tlv(2, &[i + 1]);
        let by = Builder::ca(&name(i), &Key::P384_B).self_signed(&Key::P384_B);
        let mut by = by;
        by.subject = hardsign_test_support::certificate::subject("TSA CA");
        token.certificates.push(twin.issue(&by, &Key::P384_B).der);
    }
    let error = verify(&token.build(), &roots(&authority)).unwrap_err();
    assert_eq!(error, TokenError::Paths);
}

/// X509-13, X509-14, TSA-30: the timestamping profile.
#[test]
fn profile() {
    let chain = |leaf: Builder, key: &Key| {
        let authority = Authority::with(leaf, key);
        match verify(&authority.token(MESSAGE).build(), &roots(&authority)) {
            Ok(_) => None,
            Err(TokenError::Chain { source }) => Some(source.to_string()),
            Err(other) => panic!("{other}"),
        }
    };
    let leaf = || Builder::timestamping_leaf("TSA", Key::P256.spki);
    assert_eq!(chain(leaf(), &Key::P256), None);
    // keyUsage need not be critical here.
    let usage = named_bits(DIGITAL_SIGNATURE);
    assert_eq!(
        chain(leaf().with(KEY_USAGE, false, usage), &Key::P256),
        None
    );
    let subject = "\"CN=TSA,O=Hardsign Tests,ST=WA,C=US\"";
    let exactly = format!(
        "timestamp signing certificate with subject {subject} must have and only have Timestamping as extended key usage"
    );
    for ekus in [
        vec![CODE_SIGNING],
        vec![TIME_STAMPING, CODE_SIGNING],
        vec![TIME_STAMPING, "1.2.3.4"],
    ] {
        let leaf = leaf().with(EXT_KEY_USAGE, true, purposes(&ekus));
        assert_eq!(chain(leaf, &Key::P256).as_ref(), Some(&exactly));
    }
    assert_eq!(
        chain(leaf().without(EXT_KEY_USAGE), &Key::P256),
        Some(exactly)
    );
    let loose = leaf().with(EXT_KEY_USAGE, false, purposes(&[TIME_STAMPING]));
    assert_eq!(
        chain(loose, &Key::P256),
        Some(format!(
            "timestamp signing certificate with subject {subject} must have extended key usage extension marked as critical"
        ))
    );
}

/// TSA-30: the chain is judged at genTime, whenever that was.
#[test]
fn chain_is_judged_at_the_time_of_the_token() {
    let leaf = Builder::timestamping_leaf("TSA", Key::P256.spki);
    let authority = Authority::with(
        leaf.valid("2022-01-01T00:00:00Z", "2023-01-01T00:00:00Z"),
        &Key::P256,
    );
    for (time, good) in [
        ("20220601000000Z", true),
        ("20220101000000Z", true),
        ("20230101000000Z", true),
        ("20211231235959Z", false),
        ("20230101000000.5Z", false),
        ("20260102030405Z", false),
    ] {
        let mut token = authority.token(MESSAGE);
        token.gen_time = time.as_bytes().to_vec();
        let result = verify(&token.build(), &roots(&authority));
        assert_eq!(result.is_ok(), good, "{time}");
        if let Err(error) = result {
            assert!(matches!(error, TokenError::NotValidAt { .. }), "{error}");
        }
    }
}

/// PLG-37, DIF-10: signature and imprint, without a root.
#[test]
fn tokens_without_a_root() {
    let authority = p256();
    let mut token = authority.token(MESSAGE);
    let parse = |token: &parts::Token| Token::parse(&token.build()).unwrap();
    assert!(parse(&token).check_intact(MESSAGE).is_ok());
    assert!(parse(&token).check_intact(b"another").is_err());
    token.bad_signature = true;
    assert!(parse(&token).check_intact(MESSAGE).is_err());
}

/// TSA-33: a CA under a trusted root that was made for something else can't make an authority, so it
/// can't bring expired signing certificates back to life.
#[test]
fn tsa_33_constrained_cas_make_no_authorities() {
    let root = Builder::ca("TSA Root", &Key::P384).self_signed(&Key::P384);
    let code_signing = purposes(&[CODE_SIGNING]);
    let names = sequence(&[&tlv(0xa0, &sequence(&[&tlv(0xa4, &sequence(&[]))]))]);
    for (extension, critical, value, good) in [
        ("2.5.29.37", true, code_signing.clone(), false),
        ("2.5.29.37", false, code_signing, false),
        ("2.5.29.37", true, purposes(&[TIME_STAMPING]), true),
        ("2.5.29.37", true, purposes(&["2.5.29.37.0"]), true),
        ("2.5.29.30", true, names, false),
        ("1.2.3.4.5", true, tlv(5, &[]), false),
        ("1.2.3.4.5", false, tlv(5, &[]), true),
    ] {
        let mut authority = p256();
        authority.root = root.clone();
        authority.ca = Builder::ca("TSA CA", &Key::P256_B)
            .with(extension, critical, value)
            .issue(&root, &Key::P256_B);
        authority.signer =
            Builder::timestamping_leaf("TSA", Key::P256.spki).issue(&authority.ca, &Key::P256);
        let token = authority.token(MESSAGE).build();
        let verdict = verify(&token, &roots(&authority));
        assert_eq!(verdict.is_ok(), good, "{extension}: {verdict:?}");
        if let Err(error) = verdict {
            assert!(
                matches!(
                    error,
                    TokenError::Chain {
                        source: ChainError::Constraint { .. }
                    }
                ),
                "{error}"
            );
        }
    }
}

/// ENV-42: lists of a token are counted while they are read.
#[test]
fn env_42_lists_are_bounded() {
    let authority = p256();
    let mut token = authority.token(MESSAGE);
    token.certificates = vec![vec![0x30, 0]; 200_000];
    let error = Token::parse(&token.build()).unwrap_err();
    assert!(matches!(error, TokenError::TooMany { .. }), "{error}");
}
