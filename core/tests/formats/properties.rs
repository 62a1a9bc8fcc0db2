//! Properties that hold for any input.

use hardsign_core::algorithm::KeySpec;
use hardsign_core::artifact::Descriptor;
use hardsign_core::config::formats::json::{self, Limits};
use hardsign_core::envelope::{Draft, DraftAttributes, Envelope, Format, Payload, Signed};
use hardsign_core::x509::Certificate;
use hardsign_core::x509::identity::{DistinguishedName, TrustedIdentity};
use hardsign_test_support::asn1::{self, attribute};
use hardsign_test_support::certificate::now;
use hardsign_test_support::{Builder, Key, Pki, Told};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn subject(attributes: &[(&str, String)]) -> Certificate {
    let attributes: Vec<_> = attributes
        .iter()
        .map(|(name, value)| (attribute(name), value.as_str()))
        .collect();
    let builder = Builder::leaf("", Key::P256.spki).named(asn1::name(&attributes));
    Certificate::from_der(&builder.self_signed(&Key::P256).der).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// TP-33, X509-27: the text of a subject is an identity that matches exactly this subject,
    /// whatever its values hold.
    #[test]
    fn tp_33_subject_text_round_trips(
        organization in "\\PC{1,12}",
        other in "\\PC{1,12}",
        common_name in "[ ,+\"\\\\<>;#=a]{1,8}",
    ) {
        prop_assume!(!organization.starts_with('#') && !common_name.contains("=#"));
        prop_assume!(!organization.contains("=#") && organization != other);
        let of = |organization: &str| {
            subject(&[
                ("C", "US".to_owned()),
                ("ST", "WA".to_owned()),
                ("O", organization.to_owned()),
                ("CN", common_name.clone()),
            ])
        };
        let leaf = of(&organization);
        let identity: TrustedIdentity = format!("x509.subject:{}", leaf.subject()).parse().unwrap();
        prop_assert!(identity.matches(&leaf));
        prop_assert!(!identity.matches(&of(&other)));
    }

    /// No text makes the parsers panic; what the JSON reader accepts, serde accepts too.
    #[test]
    fn any_text_is_handled(text in "\\PC{0,64}", structured in "[\\[\\]{},:\"\\\\0-9eE+.\\-truefalsn ]{0,32}") {
        for text in [text, structured] {
            drop(text.parse::<DistinguishedName>());
            if let Ok(value) = json::parse(text.as_bytes(), Limits::default()) {
                let same = json::parse(value.to_json().as_bytes(), Limits::default()).unwrap();
                prop_assert_eq!(&same, &value);
                // A number beyond the range of f64 is the one thing that serde refuses.
                if let Err(error) = serde_json::from_str::<serde_json::Value>(&text) {
                    prop_assert!(error.told().contains("number out of range"), "{}", error);
                }
                // What is read into types is the same document.
                match json::from_slice::<serde_json::Value>(text.as_bytes()) {
                    Ok(typed) => prop_assert_eq!(typed, serde_json::from_str::<serde_json::Value>(&text).unwrap()),
                    Err(error) => prop_assert!(error.told().contains("number out of range"), "{}", error),
                }
            } else {
                prop_assert!(json::from_slice::<serde_json::Value>(text.as_bytes()).is_err());
                prop_assert!(json::from_slice::<serde::de::IgnoredAny>(text.as_bytes()).is_err());
            }
        }
    }

    /// No bytes make the readers panic.
    #[test]
    fn any_bytes_are_handled(bytes in vec(any::<u8>(), 0..256)) {
        for format in Format::ALL {
            prop_assert!(Envelope::parse(format, &bytes).is_err());
        }
        prop_assert!(Certificate::from_der(&bytes).is_err());
        let tagged = [&[0xd2, 0x84], bytes.as_slice()].concat();
        drop(Envelope::parse(Format::Cose, &tagged));
        drop(Certificate::parse_file(&bytes));
    }

    /// ENV-06, ENV-07, ENV-09, ENV-23: what is written is what is read, in both formats.
    #[test]
    fn env_06_written_is_read(
        media_type in "\\PC{0,24}",
        size in 0..=u64::try_from(i64::MAX).unwrap(),
        annotations in btree_map("\\PC{0,8}", "\\PC{0,16}|[<>&\u{2028}\u{2029}\\\\\"\n]{0,4}", 0..4),
        seconds in 1..1_000_000_i64,
    ) {
        let digest = "0123456789abcdef".repeat(6);
        let payload = Payload::new(Descriptor {
            media_type,
            digest: format!("sha384:{digest}").parse().unwrap(),
            size,
            annotations,
        });
        let attributes = DraftAttributes {
            signing_time: now(),
            expiry: Some(now().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap()),
        };
        let pki = Pki::new();
        let chain = pki.chain(&pki.signer(KeySpec::Ec256));
        for format in Format::ALL {
            let bytes = payload.to_json(format);
            prop_assert_eq!(&Payload::parse(&bytes).unwrap(), &payload);
            let draft = Draft::new(format, &payload, &attributes, KeySpec::Ec256).unwrap();
            let signed = Signed {
                signature: Key::P256.sign(draft.to_be_signed().bytes()),
                certificate_chain: chain.clone().into(),
                signing_agent: "a/1".to_owned(),
            };
            let signature = draft.assemble(signed).unwrap();
            prop_assert_eq!(signature.payload(), &payload);
            prop_assert_eq!(signature.payload_bytes(), bytes);
            prop_assert_eq!(signature.attributes().expiry, attributes.expiry);
        }
    }
}
