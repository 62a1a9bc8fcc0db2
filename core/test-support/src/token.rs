//! Timestamp tokens, requests' answers and their faults (RFC 3161, RFC 5652, RFC 5035).

use aws_lc_rs::digest;
use hardsign_plugin::algorithm::HashAlgorithm;
use jiff::Timestamp;

use crate::asn1::{bit_string, integer, oid, sequence, tlv};
use crate::certificate::{Builder, Issued, now};
use crate::key::{Key, X509Scheme};

/// id-ct-TSTInfo
pub const TST_INFO: &str = "1.2.840.113549.1.9.16.1.4";
/// id-signedData
pub const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
/// contentType
pub const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
/// messageDigest
pub const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
/// signingTime
pub const SIGNING_TIME: &str = "1.2.840.113549.1.9.5";
/// id-aa-signingCertificate, the one with SHA-1
pub const SIGNING_CERTIFICATE: &str = "1.2.840.113549.1.9.16.2.12";
/// id-aa-signingCertificateV2
pub const SIGNING_CERTIFICATE_V2: &str = "1.2.840.113549.1.9.16.2.47";
/// The baseline policy of ETSI EN 319 421.
pub const BASELINE_POLICY: &str = "0.4.0.2023.1.1";
/// The policy of tokens made here.
pub const POLICY: &str = "1.2.3.4.1";
/// SHA-1
pub const SHA1: &str = "1.3.14.3.2.26";

/// A timestamping authority: a root, a CA below it, a signer.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The self-signed root.
    pub root: Issued,
    /// The CA below it.
    pub ca: Issued,
    /// Who signs tokens.
    pub signer: Issued,
}

/// A token to be: change what a test needs, then [`Token::build`].
#[derive(Clone, Debug)]
pub struct Token {
    /// DER of the version of TSTInfo.
    pub info_version: Vec<u8>,
    /// The policy, dotted.
    pub policy: String,
    /// DER of the imprint's AlgorithmIdentifier.
    pub imprint_algorithm: Vec<u8>,
    /// The imprint.
    pub imprint: Vec<u8>,
    /// Content of genTime.
    pub gen_time: Vec<u8>,
    /// DER of the accuracy; empty for none.
    pub accuracy: Vec<u8>,
    /// Content of the nonce, if any.
    pub nonce: Option<Vec<u8>>,
    /// What is signed, if something else than the TSTInfo made of the fields above.
    pub content: Option<Vec<u8>>,
    /// eContentType, dotted.
    pub content_type: String,
    /// Versions of SignedData and SignerInfo.
    pub versions: (u32, u32),
    /// DER certificates that the token carries.
    pub certificates: Vec<Vec<u8>>,
    /// Who signs.
    pub signer: Issued,
    /// DER of issuer and serial number, if other than those of the signer.
    pub sid: Option<Vec<u8>>,
    /// The hash of the SignerInfo.
    pub digest: HashAlgorithm,
    /// DER of the digest AlgorithmIdentifier, if another.
    pub digest_algorithm: Option<Vec<u8>>,
    /// How it is signed.
    pub scheme: X509Scheme,
    /// DER of the signature AlgorithmIdentifier, if another.
    pub signature_algorithm: Option<Vec<u8>>,
    /// Signed attributes: type, DER of each value. In the order in which they are written.
    pub attributes: Vec<(String, Vec<Vec<u8>>)>,
    /// Whether the attributes stand in the token in the order of DER. What is signed always does.
    pub sorted: bool,
    /// Whether the last byte of the signature is changed.
    pub bad_signature: bool,
    /// How many times the SignerInfo stands there.
    pub signers: usize,
    /// Whether open lengths and strings in pieces are used for the outer structure.
    pub ber: bool,
}

impl Authority {
    /// An authority that keeps every rule, with that key.
    pub fn new(key: &Key) -> Self {
        Self::with(Builder::timestamping_leaf("TSA", key.spki), key)
    }

    /// An authority whose signer is built so.
    pub fn with(signer: Builder, key: &Key) -> Self {
        let root = Builder::ca("TSA Root", &Key::P384).self_signed(&Key::P384);
        let ca = Builder::ca("TSA CA", &Key::P384_B).issue(&root, &Key::P384_B);
        let signer = signer.issue(&ca, key);
        Self { root, ca, signer }
    }

    /// A token over `message`, under SHA-256, from the time that everything here is judged at.
    pub fn token(&self, message: &[u8]) -> Token {
        Token::new(self, HashAlgorithm::Sha256, message)
    }
}

impl Token {
    /// A token that keeps every rule.
    pub fn new(authority: &Authority, hash_algorithm: HashAlgorithm, message: &[u8]) -> Self {
        let signer = authority.signer.clone();
        let mut token = Self {
            info_version: integer(1),
            policy: POLICY.to_owned(),
            imprint_algorithm: hash_identifier(hash_algorithm),
            imprint: hash(hash_algorithm, message),
            gen_time: general_time(now()),
            accuracy: Vec::new(),
            nonce: None,
            content: None,
            content_type: TST_INFO.to_owned(),
            versions: (3, 1),
            certificates: vec![signer.der.clone(), authority.ca.der.clone()],
            sid: None,
            digest: signer.key.spec.unwrap().hash(),
            digest_algorithm: None,
            scheme: X509Scheme::Usual,
            signature_algorithm: None,
            attributes: Vec::new(),
            sorted: true,
            bad_signature: false,
            signers: 1,
            ber: false,
            signer,
        };
        if signer_is_rsa(&token.signer) {
            token.scheme = X509Scheme::Pkcs1(token.digest);
        }
        token.attributes = vec![
            (CONTENT_TYPE.to_owned(), vec![oid(TST_INFO)]),
            (
                SIGNING_CERTIFICATE_V2.to_owned(),
                vec![certificate_id(HashAlgorithm::Sha256, &token.signer.der)],
            ),
        ];
        token
    }

    /// Sets an attribute, in its old place if it is there already.
    #[must_use]
    pub fn with(mut self, dotted: &str, value: Vec<u8>) -> Self {
        match self.attributes.iter_mut().find(|(d, _)| d == dotted) {
            Some((_, values)) => *values = vec![value],
            None => self.attributes.push((dotted.to_owned(), vec![value])),
        }
        self
    }

    /// Removes an attribute.
    #[must_use]
    pub fn without(mut self, dotted: &str) -> Self {
        self.attributes.retain(|(d, _)| d != dotted);
        self
    }

    /// The DER of the TSTInfo.
    pub fn info(&self) -> Vec<u8> {
        let nonce = self.nonce.as_ref().map(|n| tlv(2, n)).unwrap_or_default();
        sequence(&[
            &self.info_version,
            &oid(&self.policy),
            &sequence(&[&self.imprint_algorithm, &tlv(4, &self.imprint)]),
            &integer(77),
            &tlv(0x18, &self.gen_time),
            &self.accuracy,
            &nonce,
        ])
    }

    /// The bytes of the token. Unless the test set one, there is a right messageDigest.
    pub fn build(&self) -> Vec<u8> {
        let content = self.content.clone().unwrap_or_else(|| self.info());
        let signer = self.signer_info(&content).repeat(self.signers);
        let wrap = |tag: u8, content: &[u8]| match self.ber {
            true => [&[tag, 0x80], content, &[0, 0]].concat(),
            false => tlv(tag, content),
        };
        let string = if self.ber {
            let (a, b) = content.split_at(content.len() / 2);
            wrap(0x24, &[tlv(4, a), tlv(4, b)].concat())
        } else {
            tlv(4, &content)
        };
        let digest = self.digest_identifier();
        let signed_data = [
            integer(self.versions.0),
            tlv(0x31, &digest),
            wrap(
                0x30,
                &[oid(&self.content_type), wrap(0xa0, &string)].concat(),
            ),
            if self.certificates.is_empty() {
                Vec::new()
            } else {
                wrap(0xa0, &self.certificates.concat())
            },
            wrap(0x31, &signer),
        ];
        let signed_data = wrap(0x30, &signed_data.concat());
        wrap(0x30, &[oid(SIGNED_DATA), wrap(0xa0, &signed_data)].concat())
    }

    fn digest_identifier(&self) -> Vec<u8> {
        let own = hash_identifier(self.digest);
        self.digest_algorithm.clone().unwrap_or(own)
    }

    fn signer_info(&self, content: &[u8]) -> Vec<u8> {
        let mut attributes = self.attributes.clone();
        if !attributes.iter().any(|(d, _)| d == MESSAGE_DIGEST) {
            let digest = tlv(4, &hash(self.digest, content));
            attributes.push((MESSAGE_DIGEST.to_owned(), vec![digest]));
        }
        attributes.retain(|(_, values)| !values.is_empty());
        let mut written: Vec<Vec<u8>> = attributes
            .iter()
            .map(|(d, values)| sequence(&[&oid(d), &tlv(0x31, &values.concat())]))
            .collect();
        let mut sorted = written.clone();
        sorted.sort();
        let (own_algorithm, mut signature) = self
            .signer
            .key
            .sign_x509(&tlv(0x31, &sorted.concat()), self.scheme);
        if self.bad_signature {
            *signature.last_mut().unwrap() ^= 1;
        }
        if self.sorted {
            written = sorted;
        }
        let attributes = if written.is_empty() {
            Vec::new()
        } else {
            tlv(0xa0, &written.concat())
        };
        let sid = sid_of(&self.signer.der);
        sequence(&[
            &integer(self.versions.1),
            self.sid.as_ref().unwrap_or(&sid),
            &self.digest_identifier(),
            &attributes,
            self.signature_algorithm.as_ref().unwrap_or(&own_algorithm),
            &tlv(4, &signature),
        ])
    }
}

/// A TimeStampResp with that status.
pub fn response(status: u32, texts: &[&str], failures: Option<u8>, token: &[u8]) -> Vec<u8> {
    let list: Vec<Vec<u8>> = texts.iter().map(|t| tlv(0x0c, t.as_bytes())).collect();
    let texts = if list.is_empty() {
        Vec::new()
    } else {
        tlv(0x30, &list.concat())
    };
    let failures = failures.map(|bits| bit_string(&[bits])).unwrap_or_default();
    let status = sequence(&[&integer(status), &texts, &failures]);
    sequence(&[&status, token])
}

/// SigningCertificateV2 for one certificate; SHA-256 is the default and left out.
pub fn certificate_id(algorithm: HashAlgorithm, certificate: &[u8]) -> Vec<u8> {
    certificate_id_with(algorithm, &hash(algorithm, certificate), &[])
}

/// SigningCertificateV2 with that hash and that IssuerSerial.
pub fn certificate_id_with(algorithm: HashAlgorithm, digest: &[u8], issuer: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        HashAlgorithm::Sha256 => Vec::new(),
        other => hash_identifier(other),
    };
    let id = sequence(&[&algorithm, &tlv(4, digest), issuer]);
    sequence(&[&sequence(&[&id])])
}

/// IssuerSerial of a certificate, whose subject's issuer is `issuer`.
pub fn issuer_serial(issuer: &[u8], serial: &[u8]) -> Vec<u8> {
    sequence(&[&sequence(&[&tlv(0xa4, issuer)]), serial])
}

/// The AlgorithmIdentifier of a hash, parameters NULL.
pub fn hash_identifier(algorithm: HashAlgorithm) -> Vec<u8> {
    sequence(&[&oid(hash_oid(algorithm)), &tlv(5, &[])])
}

/// The same without parameters.
pub fn bare_hash_identifier(algorithm: HashAlgorithm) -> Vec<u8> {
    sequence(&[&oid(hash_oid(algorithm))])
}

/// A hash, by none of the code under test.
pub fn hash(algorithm: HashAlgorithm, data: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        HashAlgorithm::Sha256 => &digest::SHA256,
        HashAlgorithm::Sha384 => &digest::SHA384,
        HashAlgorithm::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, data).as_ref().to_vec()
}

/// The content of a GeneralizedTime of whole seconds.
pub fn general_time(time: Timestamp) -> Vec<u8> {
    time.strftime("%Y%m%d%H%M%SZ").to_string().into_bytes()
}

fn hash_oid(algorithm: HashAlgorithm) -> &'static str {
    match algorithm {
        HashAlgorithm::Sha256 => "2.16.840.1.101.3.4.2.1",
        HashAlgorithm::Sha384 => "2.16.840.1.101.3.4.2.2",
        HashAlgorithm::Sha512 => "2.16.840.1.101.3.4.2.3",
    }
}

fn signer_is_rsa(signer: &Issued) -> bool {
    signer.key.spec.is_some_and(|spec| spec.is_rsa())
}

/// Issuer and serial number, taken out of a certificate.
fn sid_of(certificate: &[u8]) -> Vec<u8> {
    use der::{Decode, Reader, SliceReader};
    let outer = der::asn1::AnyRef::from_der(certificate).unwrap();
    let mut reader = SliceReader::new(outer.value()).unwrap();
    let tbs = der::asn1::AnyRef::decode(&mut reader).unwrap();
    let mut reader = SliceReader::new(tbs.value()).unwrap();
    let mut next = || reader.tlv_bytes().unwrap();
    let first = next();
    let serial = if first.first() == Some(&0xa0) {
        next()
    } else {
        first
    };
    let _algorithm = next();
    sequence(&[next(), serial])
}
