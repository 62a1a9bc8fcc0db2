//! Critical attributes and verification plugins.

use std::sync::Mutex;

use async_trait::async_trait;
use hardsign_core::plugin::extension::{described, verification_answer, verification_request};
use hardsign_core::verify::{
    Described, Extension, ExtensionAnswer, ExtensionFailure, ExtensionRequest,
};
use hardsign_plugin::proto::{Capability, PluginConfig};
use hardsign_test_support::{Builder, Key, Pki, Told, certificate, cose, jws};
use serde_json::{Value, json};

use crate::world::{
    Shelf, World, artifact, level, payload, rejected, sign_with, signer, strict, verdict, verified,
};

const NAME: &str = "io.cncf.notary.verificationPlugin";
const VERSION: &str = "io.cncf.notary.verificationPluginMinVersion";
const IDENTITY: &str = "SIGNATURE_VERIFIER.TRUSTED_IDENTITY";
const REVOCATION: &str = "SIGNATURE_VERIFIER.REVOCATION_CHECK";

/// A plugin that answers as it is told, and keeps what it was asked.
struct Plugin {
    version: &'static str,
    capabilities: &'static [&'static str],
    answer: Result<Value, &'static str>,
    asked: Mutex<Vec<String>>,
    requests: Mutex<Vec<Value>>,
}

impl Plugin {
    fn new(capabilities: &'static [&'static str], answer: Value) -> Self {
        Self {
            version: "1.2.3",
            capabilities,
            answer: Ok(answer),
            asked: Mutex::default(),
            requests: Mutex::default(),
        }
    }
}

#[async_trait]
impl Extension for &Plugin {
    async fn describe(
        &self,
        plugin: &str,
        _: &PluginConfig,
    ) -> Result<Described, ExtensionFailure> {
        self.asked
            .lock()
            .unwrap()
            .push(format!("describe {plugin}"));
        let metadata = json!({
            "name": plugin, "description": "d", "version": self.version, "url": "u",
            "supportedContractVersions": ["1.0"], "capabilities": self.capabilities,
        });
        Ok(described(&serde_json::from_value(metadata).unwrap()))
    }

    async fn verify(
        &self,
        plugin: &str,
        request: ExtensionRequest<'_>,
    ) -> Result<ExtensionAnswer, ExtensionFailure> {
        let message = verification_request(request)?;
        self.asked.lock().unwrap().push(format!("verify {plugin}"));
        let request = serde_json::to_value(&message).unwrap();
        self.requests.lock().unwrap().push(request);
        match &self.answer {
            Ok(answer) => {
                let response = serde_json::from_value(answer.clone()).unwrap();
                Ok(verification_answer(&message, response))
            }
            Err(why) => Err(ExtensionFailure::Failed((*why).into())),
        }
    }
}

/// A protected header with more attributes, some of them critical.
fn protect(
    critical: &[&str],
    attributes: &[(&str, &str)],
) -> impl FnOnce(jws::Object) -> jws::Object {
    let mut names = vec!["io.cncf.notary.signingScheme"];
    names.extend(critical);
    let crit = serde_json::to_string(&names).unwrap();
    let attributes: Vec<_> = attributes
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    move |protected| {
        attributes
            .iter()
            .fold(protected.with("crit", &crit), |p, (n, v)| p.with(n, v))
    }
}

struct Case {
    pki: Pki,
    rest: String,
    trusted: bool,
    now: jiff::Timestamp,
}

impl Case {
    fn new() -> Self {
        Self {
            pki: Pki::new(),
            rest: strict(),
            trusted: true,
            now: certificate::now(),
        }
    }

    fn under(rest: String) -> Self {
        Self {
            rest,
            ..Self::new()
        }
    }

    /// Verifies a signature with these attributes with a plugin at hand.
    async fn run(
        &self,
        plugin: &Plugin,
        critical: &[&str],
        attributes: &[(&str, &str)],
    ) -> Result<hardsign_core::verify::Outcome, hardsign_core::verify::VerifyError> {
        let key = &Key::P256;
        let leaf = Builder::leaf("signer", key.spki).ocsp("http://ocsp.test");
        let chain = self.pki.chain(&self.pki.issue(leaf, key));
        let envelope = sign_with(
            &payload(&artifact()),
            &chain,
            key,
            protect(critical, attributes),
        );
        let other = Builder::ca("Other", &Key::P384).self_signed(&Key::P384);
        let anchor = if self.trusted { &self.pki.root } else { &other };
        let mut world = World::new().trust("ca:t", anchor).statement(&self.rest);
        world.now = self.now;
        let verifier = world.verifier().with_extension(plugin);
        world.verify_by(&verifier, &Shelf::of(&[envelope])).await
    }

    async fn error(
        &self,
        plugin: &Plugin,
        critical: &[&str],
        attributes: &[(&str, &str)],
    ) -> String {
        rejected(self.run(plugin, critical, attributes).await).told()
    }
}

fn ok(capabilities: &[&str], processed: &[&str]) -> Value {
    let results: serde_json::Map<_, _> = capabilities
        .iter()
        .map(|c| ((*c).to_owned(), json!({"success": true})))
        .collect();
    json!({"verificationResults": results, "processedAttributes": processed})
}

const NAMED: &[(&str, &str)] = &[(NAME, "\"p\"")];

/// ENV-25, DIF-01: an unknown critical attribute fails where no plugin is named, in both formats
/// and at every level; one that is not critical is ignored.
#[tokio::test]
async fn unknown_critical_attributes() {
    let plugin = Plugin::new(&[IDENTITY], ok(&[], &[]));
    let audit = Case::under(level(r#""level":"audit""#));
    assert_eq!(
        audit.error(&plugin, &["x"], &[("x", "1")]).await,
        "extended critical attribute \"x\" is not supported, and the signature names no verification plugin to process it"
    );
    verified(audit.run(&plugin, &[], &[("x", "1")]).await);
    // The least version alone names no plugin (ENV-27), so it is an unknown attribute.
    let error = audit
        .error(&plugin, &[VERSION], &[(VERSION, "\"1.0.0\"")])
        .await;
    assert!(error.contains("is not supported"), "{error}");
    assert!(plugin.asked.lock().unwrap().is_empty());

    let pki = Pki::new();
    let key = &Key::P256;
    let chain = pki.chain(&signer(&pki, "signer", key));
    let crit = vec!["io.cncf.notary.signingScheme", "x"];
    let crit: Vec<ciborium::Value> = crit.into_iter().map(Into::into).collect();
    let protected = cose::protected(key)
        .with(2, ciborium::Value::Array(crit))
        .with("x", 1);
    let body = payload(&artifact());
    let unprotected = cose::unprotected(&chain);
    let envelope = cose::Cose::sign(&protected.to_cbor(), body.as_bytes(), &unprotected, key);
    let mut shelf = Shelf::default();
    shelf.add(
        hardsign_core::envelope::Format::Cose,
        &envelope.to_bytes(),
        None,
    );
    let world = World::new().trust("ca:t", &pki.root).statement(&strict());
    assert_eq!(verdict(world.verify(&shelf).await), "refused by extension");
}

/// VER-35, ENV-41: without plugins, a signature that names one fails.
#[tokio::test]
async fn no_plugin_installed() {
    let pki = Pki::new();
    let key = &Key::P256;
    let chain = pki.chain(&signer(&pki, "signer", key));
    let envelope = sign_with(&payload(&artifact()), &chain, key, protect(&[NAME], NAMED));
    let world = World::new()
        .trust("ca:t", &pki.root)
        .statement(&level(r#""level":"audit""#));
    let error = rejected(world.verify(&Shelf::of(&[envelope])).await).told();
    assert!(
        error.starts_with("error while locating the verification plugin \"p\", make sure the plugin is installed successfully before verifying the signature. error: "),
        "{error}"
    );
}

/// ENV-26, ENV-27: malformed plugin attributes.
#[tokio::test]
async fn malformed_plugin_attributes() {
    let case = Case::new();
    let plugin = Plugin::new(&[IDENTITY], ok(&[IDENTITY], &[]));
    for (critical, attributes, expected) in [
        (
            &[][..],
            &[(NAME, "\"p\"")][..],
            "io.cncf.notary.verificationPlugin is not a critical Extended attribute",
        ),
        (
            &[NAME],
            &[(NAME, "7")],
            "io.cncf.notary.verificationPlugin from extended attribute is not a string",
        ),
        (
            &[NAME],
            &[(NAME, "\" \"")],
            "io.cncf.notary.verificationPlugin from extended attribute is an empty string",
        ),
        (
            &[NAME, VERSION],
            &[(NAME, "\"p\""), (VERSION, "\"1.0\"")],
            "io.cncf.notary.verificationPluginMinVersion from extended attribute is not a valid SemVer",
        ),
    ] {
        assert_eq!(case.error(&plugin, critical, attributes).await, expected);
    }
    assert!(plugin.asked.lock().unwrap().is_empty());
}

/// PLG-04, DIF-42, SEC-24: a name that leads elsewhere reaches no plugin host.
#[tokio::test]
async fn plugin_names_are_plain() {
    let case = Case::new();
    let plugin = Plugin::new(&[IDENTITY], ok(&[IDENTITY], &[]));
    for name in ["a/../../x", "..", ".", "a\\\\b", "a b", "\\u0000", "é"] {
        let attributes = [(NAME, format!("\"{name}\""))];
        let attributes = [(attributes[0].0, attributes[0].1.as_str())];
        let error = case.error(&plugin, &[NAME], &attributes).await;
        assert!(
            error.ends_with("which is not a valid plugin name"),
            "{error}"
        );
    }
    assert!(plugin.asked.lock().unwrap().is_empty());
}

/// VER-09, VER-13, SEC-24: no program is run for a chain that nobody trusts, not even where the
/// policy merely logs that.
#[tokio::test]
async fn plugins_run_for_trusted_chains_only() {
    for (verification, expected) in [
        ("strict", "refused by authenticity"),
        ("audit", "refused by extension"),
    ] {
        let mut case = Case::under(level(&format!(r#""level":"{verification}""#)));
        case.trusted = false;
        let plugin = Plugin::new(&[IDENTITY, REVOCATION], ok(&[IDENTITY, REVOCATION], &[]));
        let result = case.run(&plugin, &[NAME], NAMED).await;
        assert_eq!(verdict(result), expected);
        assert!(plugin.asked.lock().unwrap().is_empty(), "{verification}");
    }
}

/// VER-36, VER-37: version and capabilities.
#[tokio::test]
async fn plugin_versions_and_capabilities() {
    let case = Case::new();
    for (version, needed, expected) in [
        ("1.2.3", "1.2.3", ""),
        ("1.2.3+build", "1.2.3", ""),
        ("1.2.3", "1.2.3+build", ""),
        ("10.0.0", "9.0.0", ""),
        (
            "1.2.3-rc.1",
            "1.2.3",
            "found plugin p with version 1.2.3-rc.1 but signature verification needs plugin version greater than or equal to 1.2.3",
        ),
        (
            "1.2.3",
            "1.10.0",
            "found plugin p with version 1.2.3 but signature verification needs plugin version greater than or equal to 1.10.0",
        ),
        (
            "v1",
            "1.0.0",
            "plugin p has pluginVersion v1 which is not in valid semver format",
        ),
    ] {
        let mut plugin = Plugin::new(&[IDENTITY, REVOCATION], ok(&[IDENTITY, REVOCATION], &[]));
        plugin.version = version;
        let needed = format!("\"{needed}\"");
        let attributes = [(NAME, "\"p\""), (VERSION, needed.as_str())];
        let result = case.run(&plugin, &[NAME, VERSION], &attributes).await;
        if expected.is_empty() {
            verified(result);
        } else {
            assert_eq!(rejected(result).told(), expected);
            assert_eq!(*plugin.asked.lock().unwrap(), ["describe p"]);
        }
    }
    let plugin = Plugin::new(&["SIGNATURE_GENERATOR.RAW"], ok(&[], &[]));
    assert_eq!(
        case.error(&plugin, &[NAME], NAMED).await,
        format!(
            "digital signature requires plugin \"p\" with signature verification capabilities (\"{IDENTITY}\" and/or \"{REVOCATION}\") installed"
        )
    );
}

/// VER-14, VER-17, VER-43: a plugin takes the place of the identity or of the revocation check,
/// of what it offers and no more. (The leaf names an OCSP address, so our own check would fail.)
#[tokio::test]
async fn plugins_take_the_place_of_checks() {
    let stranger = strict().replace(r#""*""#, r#""x509.subject: C=US, ST=WA, O=Nobody""#);
    for (capabilities, rest, expected) in [
        (&[IDENTITY, REVOCATION][..], strict(), "ok"),
        (&[REVOCATION], strict(), "ok"),
        (&[IDENTITY], strict(), "refused by revocation"),
        (&[IDENTITY, REVOCATION], stranger.clone(), "ok"),
        (&[REVOCATION], stranger, "refused by authenticity"),
    ] {
        let plugin = Plugin::new(capabilities, ok(capabilities, &[]));
        let result = Case::under(rest).run(&plugin, &[NAME], NAMED).await;
        assert_eq!(verdict(result), expected, "{capabilities:?}");
    }
    // Expiry stays ours, whatever the plugin says.
    let expiry = "io.cncf.notary.expiry";
    let attributes = [(NAME, "\"p\""), (expiry, "\"2026-01-03T00:00:00Z\"")];
    for (now, expected) in [
        ("2026-01-02T23:59:59Z", "ok"),
        ("2026-01-03T00:00:00Z", "refused by expiry"),
    ] {
        let plugin = Plugin::new(&[IDENTITY, REVOCATION], ok(&[IDENTITY, REVOCATION], &[]));
        let mut case = Case::new();
        case.now = now.parse().unwrap();
        let result = case.run(&plugin, &[NAME, expiry], &attributes).await;
        assert_eq!(verdict(result), expected);
    }
}

/// VER-12, VER-18, PLG-40 to PLG-44: the order of the commands, and the request, member by member.
#[tokio::test]
async fn request_of_a_plugin() {
    let rest = strict().replace(
        r#""*""#,
        r#""x509.subject: C=US, ST=WA, O=Hardsign Tests","spiffe:x""#,
    );
    let plugin = Plugin::new(
        &[REVOCATION, "SIGNATURE_GENERATOR.RAW", IDENTITY],
        ok(&[IDENTITY, REVOCATION], &["a", "b"]),
    );
    let case = Case::under(rest);
    let attributes = [
        (NAME, "\"p\""),
        ("a", "\"text\""),
        ("b", "9007199254740993"),
        ("c", "[true,null]"),
    ];
    verified(case.run(&plugin, &[NAME, "a", "b"], &attributes).await);
    assert_eq!(*plugin.asked.lock().unwrap(), ["describe p", "verify p"]);
    let mut request = plugin.requests.lock().unwrap().remove(0);
    let chain = request["signature"]["certificateChain"].take();
    assert_eq!(chain.as_array().unwrap().len(), 3);
    assert_eq!(
        request,
        json!({
            "contractVersion": "1.0",
            "signature": {
                "criticalAttributes": {
                    "contentType": "application/vnd.cncf.notary.payload.v1+json",
                    "signingScheme": "notary.x509",
                    "expiry": "0001-01-01T00:00:00Z",
                    "extendedAttributes": {"a": "text", "b": 9_007_199_254_740_993_u64, "c": [true, null]},
                },
                "unprocessedAttributes": ["a", "b", "c"],
                "certificateChain": null,
            },
            "trustPolicy": {
                "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Hardsign Tests", "spiffe:x"],
                "signatureVerification": [REVOCATION, IDENTITY],
            },
        })
    );
}

/// VER-38, PLG-48: every critical attribute must come back as processed; others need not.
#[tokio::test]
async fn critical_attributes_are_processed() {
    let case = Case::new();
    let both = [IDENTITY, REVOCATION];
    let attributes = [(NAME, "\"p\""), ("a", "1"), ("b", "2")];
    let plugin = Plugin::new(&[IDENTITY, REVOCATION], ok(&both, &["a"]));
    verified(case.run(&plugin, &[NAME, "a"], &attributes).await);
    assert_eq!(
        case.error(&plugin, &[NAME, "a", "b"], &attributes).await,
        "extended critical attribute \"b\" was not processed by the verification plugin \"p\" (all extended critical attributes must be processed by the verification plugin)"
    );
    let none = json!({
        "verificationResults": ok(&both, &[])["verificationResults"],
        "processedAttributes": null,
    });
    let plugin = Plugin::new(&[IDENTITY, REVOCATION], none);
    verified(case.run(&plugin, &[NAME], NAMED).await);
    // PLG-47: a number that the protocol would round is not passed on.
    let attributes = [(NAME, "\"p\""), ("a", "99999999999999999999")];
    let plugin = Plugin::new(&[IDENTITY, REVOCATION], ok(&both, &["a"]));
    assert!(
        case.error(&plugin, &[NAME, "a"], &attributes)
            .await
            .starts_with("extended critical attribute \"a\" can't be processed")
    );
}

/// VER-39 to VER-41, PLG-45: missing results, failed results, and a plugin that breaks off.
#[tokio::test]
async fn answers_of_a_plugin() {
    let failed = |capability: &str, reason: &str| {
        let mut answer = ok(&[IDENTITY, REVOCATION], &[]);
        answer["verificationResults"][capability] = json!({"success": false, "reason": reason});
        answer
    };
    for (answer, verification, expected) in [
        (
            ok(&[IDENTITY], &[]),
            "audit",
            "verification plugin \"p\" failed to verify \"SIGNATURE_VERIFIER.REVOCATION_CHECK\"",
        ),
        (
            failed(IDENTITY, "unknown"),
            "strict",
            "trusted identify verification by plugin \"p\" failed with reason \"unknown\"",
        ),
        (
            failed(REVOCATION, "gone"),
            "strict",
            "revocation check by verification plugin \"p\" failed with reason \"gone\"",
        ),
    ] {
        let case = Case::under(level(&format!(r#""level":"{verification}""#)));
        let plugin = Plugin::new(&[IDENTITY, REVOCATION], answer);
        assert_eq!(case.error(&plugin, &[NAME], NAMED).await, expected);
    }
    let audit = || Case::under(level(r#""level":"audit""#));
    for (capability, logged) in [
        (IDENTITY, "logged authenticity"),
        (REVOCATION, "logged revocation"),
    ] {
        let plugin = Plugin::new(&[IDENTITY, REVOCATION], failed(capability, "x"));
        let result = audit().run(&plugin, &[NAME], NAMED).await;
        assert_eq!(verdict(result), logged);
    }
    let mut plugin = Plugin::new(&[IDENTITY, REVOCATION], Value::Null);
    plugin.answer = Err("exit status 4");
    assert_eq!(
        audit().error(&plugin, &[NAME], NAMED).await,
        "failed to verify with plugin p: exit status 4"
    );
}

/// VER-05, VER-42: under `revocation: skip` the plugin is not asked about revocation; with nothing
/// left to ask, critical attributes stay unprocessed and fail.
#[tokio::test]
async fn skipped_revocation_leaves_attributes() {
    let skip = || {
        Case::under(level(
            r#""level":"strict","override":{"revocation":"skip"}"#,
        ))
    };
    let plugin = Plugin::new(&[IDENTITY, REVOCATION], ok(&[IDENTITY], &[]));
    verified(skip().run(&plugin, &[NAME], NAMED).await);
    assert_eq!(
        plugin.requests.lock().unwrap()[0]["trustPolicy"]["signatureVerification"],
        json!([IDENTITY])
    );
    let plugin = Plugin::new(&[REVOCATION], ok(&[REVOCATION], &["a"]));
    verified(skip().run(&plugin, &[NAME], NAMED).await);
    assert_eq!(*plugin.asked.lock().unwrap(), ["describe p"]);
    let attributes = [(NAME, "\"p\""), ("a", "1")];
    let error = skip().error(&plugin, &[NAME, "a"], &attributes).await;
    assert!(
        error.starts_with("extended critical attribute \"a\" was not processed"),
        "{error}"
    );
}

/// PLG-46, DIF-15: what was not asked for is told and changes nothing.
#[tokio::test]
async fn surplus_answers_are_told() {
    let pki = Pki::new();
    let key = &Key::P256;
    let chain = pki.chain(&signer(&pki, "signer", key));
    let envelope = sign_with(&payload(&artifact()), &chain, key, protect(&[NAME], NAMED));
    let plugin = Plugin::new(&[IDENTITY], ok(&[IDENTITY, "TEA"], &["z"]));
    let world = World::new().trust("ca:t", &pki.root).statement(&strict());
    let verifier = world.verifier().with_extension(&plugin);
    verified(world.verify_by(&verifier, &Shelf::of(&[envelope])).await);
    for name in ["TEA", "z"] {
        assert!(world.events().contains(&format!(
            "verification plugin \"p\" answered \"{name}\", which it was not asked"
        )));
    }
    assert_eq!(Capability::from("TEA").name(), "TEA");
}
