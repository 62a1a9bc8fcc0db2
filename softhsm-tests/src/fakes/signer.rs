//! The private keys of the fakes: made by openssl, used by `aws-lc-rs`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aws_lc_rs::digest::{Algorithm, Digest, SHA256, SHA384, SHA512};
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use serde_json::Value;

use crate::run;

/// A private key.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) spec: KeySpec,
    file: PathBuf,
    public: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

/// How an RSA key signs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Padding {
    /// RSASSA-PSS with a salt as long as the hash.
    Pss,
    /// RSASSA-PSS without a salt.
    PssWithoutSalt,
    /// RSASSA-PKCS1-v1_5
    Pkcs1,
}

impl Signer {
    /// Reads a key that openssl wrote (PKCS#8, PEM).
    pub(super) fn read(spec: KeySpec, file: &Path) -> Self {
        let der = from_pem(&fs::read_to_string(file).unwrap());
        let ec = |algorithm: &'static EcdsaSigningAlgorithm| {
            Pair::Ec(EcdsaKeyPair::from_pkcs8(algorithm, &der).unwrap())
        };
        let pair = match spec {
            KeySpec::Ec256 => ec(&ECDSA_P256_SHA256_ASN1_SIGNING),
            KeySpec::Ec384 => ec(&ECDSA_P384_SHA384_ASN1_SIGNING),
            KeySpec::Ec521 => ec(&ECDSA_P521_SHA512_ASN1_SIGNING),
            _ => Pair::Rsa(RsaKeyPair::from_pkcs8(&der).unwrap()),
        };
        let public = openssl(file, &["pkey", "-pubout"]);
        Self {
            spec,
            file: file.to_owned(),
            public: String::from_utf8(public).unwrap(),
            pair,
        }
    }

    /// The public key, PEM.
    pub(super) fn public_pem(&self) -> &str {
        &self.public
    }

    /// The modulus of an RSA key; its exponent is 65537, as openssl makes them.
    pub(super) fn modulus(&self) -> Vec<u8> {
        let text = openssl(&self.file, &["rsa", "-noout", "-modulus"]);
        let text = String::from_utf8(text).unwrap();
        let digits = text.trim().strip_prefix("Modulus=").unwrap();
        hex::decode(digits).unwrap()
    }

    /// The point of a key on a curve: its two coordinates.
    pub(super) fn point(&self) -> (Vec<u8>, Vec<u8>) {
        let Pair::Ec(pair) = &self.pair else {
            panic!("an RSA key has no point");
        };
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        (x.to_vec(), y.to_vec())
    }

    /// Signs a digest; ECDSA in DER.
    pub(super) fn sign(&self, hash: HashAlgorithm, padding: Padding, digest: &[u8]) -> Vec<u8> {
        let (algorithm, pss, pkcs1): (&'static Algorithm, &'static dyn RsaEncoding, _) = match hash
        {
            HashAlgorithm::Sha256 => (&SHA256, &RSA_PSS_SHA256, &RSA_PKCS1_SHA256),
            HashAlgorithm::Sha384 => (&SHA384, &RSA_PSS_SHA384, &RSA_PKCS1_SHA384),
            HashAlgorithm::Sha512 => (&SHA512, &RSA_PSS_SHA512, &RSA_PKCS1_SHA512),
        };
        let imported = Digest::import_less_safe(digest, algorithm).unwrap();
        let pair = match &self.pair {
            Pair::Ec(pair) => return pair.sign_digest(&imported).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => pair,
        };
        let mut signature = vec![0; self.spec.signature_len()];
        match padding {
            Padding::Pss => pair.sign_digest(pss, &imported, &mut signature).unwrap(),
            Padding::Pkcs1 => pair.sign_digest(pkcs1, &imported, &mut signature).unwrap(),
            Padding::PssWithoutSalt => return self.sign_without_salt(hash, digest),
        }
        signature
    }

    fn sign_without_salt(&self, hash: HashAlgorithm, digest: &[u8]) -> Vec<u8> {
        let hash = hash.name().replace('-', "").to_ascii_lowercase();
        let mut child = Command::new("openssl")
            .args(["pkeyutl", "-sign", "-inkey"])
            .arg(&self.file)
            .args([
                "-pkeyopt",
                "rsa_padding_mode:pss",
                "-pkeyopt",
                "rsa_pss_saltlen:0",
            ])
            .args(["-pkeyopt", &format!("digest:{hash}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(digest).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    /// The claims of a JWT that this key signed with RS256; `None` if it did not.
    pub(super) fn claims(&self, token: &str) -> Option<Value> {
        let Pair::Rsa(pair) = &self.pair else {
            return None;
        };
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let head: Value = serde_json::from_slice(&decode(head)?).ok()?;
        if head.get("alg")?.as_str()? != "RS256" {
            return None;
        }
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
            .verify(signed.as_bytes(), &decode(signature)?)
            .ok()?;
        serde_json::from_slice(&decode(claims)?).ok()
    }
}

fn openssl(file: &Path, arguments: &[&str]) -> Vec<u8> {
    run(Command::new("openssl").args(arguments).arg("-in").arg(file)).stdout
}

/// The bytes of a PEM document.
pub(super) fn from_pem(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    STANDARD.decode(lines.collect::<String>()).unwrap()
}
