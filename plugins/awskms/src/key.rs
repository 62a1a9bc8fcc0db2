//! A key of the service, opened: one look at its public half, then one request a signature.

use aws_sdk_kms::operation::get_public_key::GetPublicKeyOutput;
use aws_sdk_kms::primitives::{Blob, DateTimeFormat};
use aws_sdk_kms::types::{KeyUsageType, MessageType, SigningAlgorithmSpec};
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin::proto::{Property, Token};
use hardsign_plugin::{AsyncKey, Context, Error, KeyRequest, Purpose};
use hardsign_plugin_kms::{certificates, check_signature, key_spec, number, refuse_key};

use crate::SERVICE;
use crate::client::Kms;
use crate::id::Config;

/// Requests under way at once, unless the user says otherwise.
const IN_FLIGHT: u32 = 64;

/// An open key.
pub(crate) struct KmsKey {
    kms: Kms,
    /// The key that the id led to, whatever becomes of an alias later.
    arn: String,
    public: PublicKey,
    spec: KeySpec,
    chain: Vec<Vec<u8>>,
    properties: Vec<Property>,
    in_flight: u32,
}

impl KmsKey {
    pub(crate) async fn open(
        request: &KeyRequest<'_>,
        context: &Context<'_>,
    ) -> Result<Self, Error> {
        let in_flight = number(request, "max-in-flight", 256)?.unwrap_or(IN_FLIGHT);
        let config = Config::read(request)?.named()?;
        let kms = Kms::open(request, config, context).await?;
        let name = kms.name(&kms.config.key);
        let (arn, public) = public_key(&kms, &kms.config.key, context).await?;
        let spec = key_spec(&name, &public)?;
        let chain = certificates(request, &public, &[])?;
        let properties = match request.purpose {
            Purpose::Sign => Vec::new(),
            _ => properties(&kms, &arn, context).await,
        };
        let in_flight = kms.pace.in_flight(in_flight);
        Ok(Self {
            kms,
            arn,
            public,
            spec,
            chain,
            properties,
            in_flight,
        })
    }

    async fn sign(
        &self,
        digest: &[u8],
        algorithm: SigningAlgorithmSpec,
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        let what = format!("signing with {}", self.kms.name(&self.kms.config.key));
        let request = || {
            self.kms
                .client
                .sign()
                .key_id(&self.arn)
                .message(Blob::new(digest))
                .message_type(MessageType::Digest)
                .signing_algorithm(algorithm.clone())
                .send()
        };
        let answer = self.kms.ask(&what, "kms:Sign", context, request).await?;
        let other = |what: &str| {
            Error::other(format!(
                "{SERVICE} signed with another {what} than was asked for"
            ))
            .with_hint("the signature was not used")
        };
        if answer.signing_algorithm() != Some(&algorithm) {
            return Err(other("algorithm"));
        }
        if answer.key_id() != Some(self.arn.as_str()) {
            return Err(other("key"));
        }
        let signature = answer.signature().map(AsRef::as_ref).unwrap_or_default();
        check_signature(self.spec, signature, true).map_err(|fault| fault.into_error(SERVICE))
    }
}

/// The ARN of a key and its public half.
pub(crate) async fn public_key(
    kms: &Kms,
    key: &str,
    context: &Context<'_>,
) -> Result<(String, PublicKey), Error> {
    let name = kms.name(key);
    let what = format!("reading the public half of {name}");
    let request = || kms.client.get_public_key().key_id(key).send();
    let answer = kms.ask(&what, "kms:GetPublicKey", context, request).await?;
    if let Some(usage) = answer
        .key_usage()
        .filter(|usage| **usage != KeyUsageType::SignVerify)
    {
        return Err(refuse_key(&name, &format!("for {} only", usage.as_str())));
    }
    let (Some(arn), Some(der)) = (answer.key_id(), answer.public_key()) else {
        return Err(Error::other(format!(
            "{SERVICE}, {what}: the answer has no key"
        )));
    };
    let public = PublicKey::from_spki_der(der.as_ref())?;
    let spec = key_spec(&name, &public)?;
    check_algorithm(&answer, spec, &name)?;
    Ok((arn.to_owned(), public))
}

/// A key signs with the algorithms that the service lists for it.
fn check_algorithm(answer: &GetPublicKeyOutput, spec: KeySpec, name: &str) -> Result<(), Error> {
    let listed = answer.signing_algorithms();
    if listed.is_empty() || listed.contains(&algorithm(spec)) {
        return Ok(());
    }
    let names: Vec<&str> = listed.iter().map(SigningAlgorithmSpec::as_str).collect();
    Err(refuse_key(name, &format!("for {} only", names.join(", "))))
}

/// The algorithm of the Notary Project for a key (ENV-32, ENV-35).
fn algorithm(spec: KeySpec) -> SigningAlgorithmSpec {
    match (spec.is_rsa(), spec.hash()) {
        (true, HashAlgorithm::Sha256) => SigningAlgorithmSpec::RsassaPssSha256,
        (true, HashAlgorithm::Sha384) => SigningAlgorithmSpec::RsassaPssSha384,
        (true, HashAlgorithm::Sha512) => SigningAlgorithmSpec::RsassaPssSha512,
        (false, HashAlgorithm::Sha256) => SigningAlgorithmSpec::EcdsaSha256,
        (false, HashAlgorithm::Sha384) => SigningAlgorithmSpec::EcdsaSha384,
        (false, HashAlgorithm::Sha512) => SigningAlgorithmSpec::EcdsaSha512,
    }
}

/// What the service says of a key; if it may not be asked, why not.
async fn properties(kms: &Kms, arn: &str, context: &Context<'_>) -> Vec<Property> {
    let what = format!("describing {}", kms.name(arn));
    let request = || kms.client.describe_key().key_id(arn).send();
    let mut said = vec![Property::new("ARN", arn)];
    let answer = match kms.ask(&what, "kms:DescribeKey", context, request).await {
        Ok(answer) => answer,
        Err(error) => {
            said.push(Property::new("more", error.to_string()));
            return said;
        }
    };
    let Some(key) = answer.key_metadata() else {
        return said;
    };
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            said.push(Property::new(name, value));
        }
    };
    say(
        "state",
        key.key_state().map(|state| state.as_str().to_owned()),
    );
    say(
        "origin",
        key.origin().map(|origin| origin.as_str().to_owned()),
    );
    say(
        "managed by",
        key.key_manager().map(|manager| manager.as_str().to_owned()),
    );
    say(
        "custom key store",
        key.custom_key_store_id().map(str::to_owned),
    );
    say(
        "CloudHSM cluster",
        key.cloud_hsm_cluster_id().map(str::to_owned),
    );
    let region = key
        .multi_region()
        .map(|many| if many { "yes" } else { "no" });
    say("multi-region", region.map(str::to_owned));
    let made = key.creation_date();
    say(
        "made",
        made.and_then(|date| date.fmt(DateTimeFormat::DateTime).ok()),
    );
    say("description", key.description().map(str::to_owned));
    said
}

impl AsyncKey for KmsKey {
    fn key_spec(&self) -> KeySpec {
        self.spec
    }

    fn public_key(&self) -> Result<Vec<u8>, Error> {
        Ok(self.public.to_spki_der()?)
    }

    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.chain.clone())
    }

    fn properties(&self) -> Vec<Property> {
        self.properties.clone()
    }

    fn token(&self) -> Option<Token> {
        Some(self.kms.place(&self.arn))
    }

    fn max_in_flight(&self) -> u32 {
        self.in_flight
    }

    fn signs_pkcs1v15(&self) -> bool {
        self.spec.is_rsa()
    }

    async fn sign_digest(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        self.sign(digest, algorithm(self.spec), context).await
    }

    async fn sign_digest_pkcs1v15(
        &self,
        digest: &[u8],
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        let algorithm = match self.spec.hash() {
            HashAlgorithm::Sha256 => SigningAlgorithmSpec::RsassaPkcs1V15Sha256,
            HashAlgorithm::Sha384 => SigningAlgorithmSpec::RsassaPkcs1V15Sha384,
            HashAlgorithm::Sha512 => SigningAlgorithmSpec::RsassaPkcs1V15Sha512,
        };
        self.sign(digest, algorithm, context).await
    }
}
