//! Rules of `generate-envelope`, on a JWS of either signing scheme.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hardsign_plugin::proto::{
    Base64, CONTRACT_VERSION, CriticalAttributes, GenerateEnvelopeRequest,
    GenerateEnvelopeResponse, NO_EXPIRY, SignatureToVerify,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::certificates::Chain;
use super::process::Exchange;
use super::signing::to_value;
use super::{Report, Subject};

const JWS: &str = "application/jose+json";
const PAYLOAD_TYPE: &str = "application/vnd.cncf.notary.payload.v1+json";
const RESERVED: &str = "io.cncf.notary.";
const SCHEME: &str = "io.cncf.notary.signingScheme";
const TIME: &str = "io.cncf.notary.signingTime";
const AUTHENTIC_TIME: &str = "io.cncf.notary.authenticSigningTime";
const EXPIRY: &str = "io.cncf.notary.expiry";

/// Seconds from signing to expiry.
const LIFETIME: i64 = 3600;

/// The annotation with the chain's thumbprints (OCI-07), the one of its prefix that is expected.
const THUMBPRINTS: &str = "io.cncf.notary.x509chain.thumbprint#S256";

/// Has an envelope made; the envelope, where it holds. A plugin that takes no expiry (AWS Signer's
/// has it in the signing profile) is warned of and asked again without.
pub(super) fn check(subject: &Subject, key_id: &str, report: &mut Report) -> Option<Envelope> {
    let payload = json!({"targetArtifact": {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{}", "73".repeat(32)),
        "size": 7,
        "annotations": {"k": "v"},
    }});
    let ask = |lifetime: i64| {
        let request = to_value(&GenerateEnvelopeRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: key_id.into(),
            payload_type: PAYLOAD_TYPE.into(),
            signature_envelope_type: JWS.into(),
            payload: Base64(payload.to_string().into_bytes()),
            expiry_duration_in_seconds: lifetime.unsigned_abs(),
            plugin_config: subject.config.clone(),
        });
        Exchange::run(subject, "generate-envelope", &request)
    };
    let mut exchange = ask(LIFETIME);
    let takes_expiry = !exchange.is_validation_error();
    if !takes_expiry {
        let refused = Err("it is refused with VALIDATION_ERROR, and none is asked for".into());
        report.should::<()>("PLG-32", "an expiry is taken", &exchange, refused);
        exchange = ask(0);
    }
    let answer = report.must::<GenerateEnvelopeResponse>(
        "PLG-33",
        "generate-envelope answers with signatureEnvelope and signatureEnvelopeType",
        &exchange,
        exchange.answer(),
    )?;
    report.must(
        "PLG-34",
        "signatureEnvelopeType is the one asked for",
        &exchange,
        (answer.signature_envelope_type == JWS)
            .then_some(())
            .ok_or_else(|| format!("it is {:?}", answer.signature_envelope_type)),
    );
    let envelope = report.must(
        "PLG-35",
        "the envelope is a JWS that verifies with its leaf's key, and its certificates are valid",
        &exchange,
        Envelope::verify(&answer.signature_envelope.0, subject.now),
    )?;
    report.must(
        "PLG-36",
        "the payload is for the same artifact and has the requested annotations, and nothing else",
        &exchange,
        envelope.is_for(&payload),
    );
    let rule = "the expiry is the signing time and the requested duration";
    if takes_expiry {
        let expires = envelope.expires_after(LIFETIME);
        report.must("PLG-38", rule, &exchange, expires);
    } else {
        report.skip("PLG-38", rule, "it takes no expiry");
    }
    report.must(
        "OCI-08",
        "no annotation is under the reserved prefix io.cncf.notary",
        &exchange,
        match answer
            .annotations
            .keys()
            .find(|k| k.starts_with("io.cncf.notary") && *k != THUMBPRINTS)
        {
            Some(key) => Err(format!("{key} is")),
            None => Ok(()),
        },
    );
    Some(envelope)
}

/// An envelope that verifies.
pub(super) struct Envelope {
    protected: Value,
    payload: Value,
    certificates: Vec<Base64>,
}

impl Envelope {
    fn verify(bytes: &[u8], now: u64) -> Result<Self, String> {
        let jws: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let part = |name: &str| jws[name].as_str().ok_or_else(|| format!("no {name}"));
        let (protected, payload) = (part("protected")?, part("payload")?);
        let certificates: Vec<Base64> = serde_json::from_value(jws["header"]["x5c"].clone())
            .map_err(|error| format!("x5c: {error}"))?;
        let chain = Chain::read(&certificates)?;
        chain.check_validity(now)?;
        let message = format!("{protected}.{payload}");
        chain.verify(message.as_bytes(), &decode(part("signature")?)?)?;
        let json =
            |text: &str| serde_json::from_slice(&decode(text)?).map_err(|error| error.to_string());
        Ok(Self {
            protected: json(protected)?,
            payload: json(payload)?,
            certificates,
        })
    }

    /// What a host shows of it to a verification plugin (PLG-40, PLG-43).
    pub(super) fn to_verify(&self) -> SignatureToVerify {
        let text = |name: &str| self.protected[name].as_str().map(str::to_owned);
        let members = self.protected.as_object().into_iter().flatten();
        let extended: Map<String, Value> = members
            .filter(|(name, _)| !STANDARD.contains(&name.as_str()) && !name.starts_with(RESERVED))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        SignatureToVerify {
            unprocessed_attributes: extended.keys().cloned().collect(),
            critical_attributes: CriticalAttributes {
                content_type: text("cty").unwrap_or_default(),
                signing_scheme: text(SCHEME).unwrap_or_default(),
                expiry: text(EXPIRY).unwrap_or_else(|| NO_EXPIRY.to_owned()),
                authentic_signing_time: text(AUTHENTIC_TIME),
                extended_attributes: extended,
            },
            certificate_chain: self.certificates.clone(),
        }
    }

    fn expires_after(&self, seconds: i64) -> Result<(), String> {
        let time = |name: &str| {
            let text = self.protected[name].as_str();
            let text = text.ok_or_else(|| format!("there is no {name}"))?;
            text.parse::<Timestamp>()
                .map_err(|error| format!("{name}: {error}"))
        };
        let signed = time(TIME).or_else(|error| time(AUTHENTIC_TIME).map_err(|_| error));
        let lifetime = time(EXPIRY)?.duration_since(signed?);
        (lifetime.as_secs() == seconds)
            .then_some(())
            .ok_or_else(|| format!("it is {} s instead of {seconds} s", lifetime.as_secs()))
    }

    fn is_for(&self, asked: &Value) -> Result<(), String> {
        let (signed, asked) = (&self.payload["targetArtifact"], &asked["targetArtifact"]);
        for name in ["mediaType", "digest", "size"] {
            if signed[name] != asked[name] {
                return Err(format!("{name} is {}", signed[name]));
            }
        }
        if signed["annotations"]["k"] != "v" {
            return Err("the requested annotation is gone".into());
        }
        let known = ["mediaType", "digest", "size", "annotations"];
        let members = signed.as_object().into_iter().flatten();
        match members
            .map(|(name, _)| name)
            .find(|name| !known.contains(&name.as_str()))
        {
            Some(name) => Err(format!("{name} was added")),
            None => Ok(()),
        }
    }
}

/// The members of a protected header that are no attributes of a signature.
const STANDARD: [&str; 3] = ["alg", "cty", "crit"];

fn decode(text: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| error.to_string())
}
