//! The rule in policy files: what can be wrong with it, and where it is looked up.

use super::*;

/// Files: the rule of their statement, and what is demanded for one run.
#[tokio::test]
async fn of_files() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let (_, chain) = signer_of(&pki);
    let key = &Key::P384;
    let target = hardsign_core::blob::describe(&b"file"[..], HashAlgorithm::Sha384, "a/b").unwrap();
    let with = {
        let header = jws::header(&chain).with(
            ATTESTATION,
            &header("1", "yubico-piv", &maker.evidence(key)),
        );
        let payload = payload(&target);
        jws::Jws::sign(
            &jws::protected(key).to_json(),
            payload.as_bytes(),
            header,
            key,
        )
        .to_bytes()
    };
    let without = sign(Format::Jws, &target, &chain, key);
    let verify = async |world: &World, envelope: &[u8], hardware: Option<&Arc<HardwareRule>>| {
        let observer = |event: &Event<'_>| world.note(event);
        let mut options = world.options(&observer);
        options.hardware = hardware;
        options.max_signatures = NonZeroUsize::MAX;
        let policy: Policy<blob::Document> = Policy::load(&world.dirs).unwrap();
        let file = Blob {
            reference: "file",
            reader: &b"file"[..],
            media_type: None,
        };
        let signature = BlobSignature {
            format: Format::Jws,
            envelope,
        };
        let verifier = world.verifier();
        verifier
            .verify_blob(&policy, None, file, &[signature], options)
            .await
    };
    let error = |result| match result {
        Err(VerifyError::Rejected(rejected)) => {
            assert_eq!(rejected.step(), Step::Hardware);
            rejected.to_string()
        }
        other => panic!("{other:?}"),
    };
    let world = World::new().trust("ca:t", &pki.root);
    let (statement, rules) = (world.dirs.blob_policy(), world.dirs.hardsign_policy());
    let text = format!(
        r#"{{"version":"1.0","trustPolicies":[{{"name":"n","globalPolicy":true,{}}}]}}"#,
        strict()
    );
    let world = world.file(&statement, &text);
    let box_alone = Arc::new(HardwareRule::of_the_box());
    verified(verify(&world, &with, None).await);
    assert!(error(verify(&world, &with, Some(&box_alone)).await).contains("nothing proves"));
    assert!(
        error(verify(&world, &without, Some(&box_alone)).await).contains("carries no evidence")
    );
    std::fs::write(world.dirs.config.join("maker.der"), &maker.root.der).unwrap();
    let rule = format!(r#"{{"version":"1.0","blob":{{"n":{{"hardware":{MAKER}}}}}}}"#);
    let world = world.file(&rules, &rule);
    verified(verify(&world, &with, None).await);
    verified(verify(&world, &with, Some(&box_alone)).await);
    assert!(error(verify(&world, &without, None).await).contains("carries no evidence"));
}

/// REQ-13: what can't be a rule, could never be met or can't be read fails every verification.
#[test]
fn req_13_faults_fail_closed() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let of_rule = "hardsign policy: rules for the oci trust policy statement \"n\": ";
    let malformed = "malformed hardsign policy: oci.n.hardware";
    let name = |member: &str, text: &str, kind: &str| {
        format!("{of_rule}\"hardware.{member}\": \"{text}\" is not {kind}")
    };
    let pin = "a PIN policy: \"never\", \"once\" or \"always\"";
    let touch = "a touch policy: \"never\", \"cached\" or \"always\"";
    let firmware = "a version of firmware, for instance \"5.7\" or \"5.7.4\"";
    let root = |text: &str| {
        format!(
            "{of_rule}\"hardware.roots\": \"{text}\" is neither \"yubico\" nor \"file:\" and the path of a file with a maker's roots"
        )
    };
    let mut cases = vec![
        (
            "null",
            format!("{malformed}: must be an object, but is null"),
        ),
        (
            "[]",
            format!("{malformed}: must be an object, but is an array"),
        ),
        (
            "true",
            format!("{malformed}: must be an object, but is true or false"),
        ),
        (
            r#"{"fips":true}"#,
            "hardsign policy: unknown member oci.n.hardware.fips".to_owned(),
        ),
        (
            r#"{"Roots":[]}"#,
            format!("{malformed}.Roots: must be written \"roots\""),
        ),
        (
            r#"{"roots":null}"#,
            format!("{malformed}.roots: must be an array, but is null"),
        ),
        (
            r#"{"roots":"yubico"}"#,
            format!("{malformed}.roots: must be an array, but is a string"),
        ),
        (
            r#"{"roots":[7]}"#,
            format!("{malformed}.roots[0]: must be a string, but is a number"),
        ),
        (
            r#"{"roots":[]}"#,
            format!("{of_rule}\"hardware.roots\" names nothing"),
        ),
        (r#"{"roots":["Yubico"]}"#, root("Yubico")),
        (r#"{"roots":["maker.der"]}"#, root("maker.der")),
        (r#"{"roots":["file:"]}"#, root("file:")),
        (
            r#"{"roots":["yubico","yubico"]}"#,
            format!("{of_rule}\"hardware.roots\" names \"yubico\" more than once"),
        ),
        (
            r#"{"pinPolicy":null}"#,
            format!("{malformed}.pinPolicy: must be an array, but is null"),
        ),
        (
            r#"{"pinPolicy":"once"}"#,
            format!("{malformed}.pinPolicy: must be an array, but is a string"),
        ),
        (
            r#"{"pinPolicy":[]}"#,
            format!("{of_rule}\"hardware.pinPolicy\" names nothing"),
        ),
        (
            r#"{"pinPolicy":["cached"]}"#,
            name("pinPolicy", "cached", pin),
        ),
        (r#"{"pinPolicy":["Once"]}"#, name("pinPolicy", "Once", pin)),
        (
            r#"{"pinPolicy":["once","once"]}"#,
            format!("{of_rule}\"hardware.pinPolicy\" names \"once\" more than once"),
        ),
        (
            r#"{"touchPolicy":[]}"#,
            format!("{of_rule}\"hardware.touchPolicy\" names nothing"),
        ),
        (
            r#"{"touchPolicy":["once"]}"#,
            name("touchPolicy", "once", touch),
        ),
        (
            r#"{"touchPolicy":["unknown (9)"]}"#,
            name("touchPolicy", "unknown (9)", touch),
        ),
        (
            r#"{"leastFirmware":null}"#,
            format!("{malformed}.leastFirmware: must be a string, but is null"),
        ),
        (
            r#"{"leastFirmware":5.7}"#,
            format!("{malformed}.leastFirmware: must be a string, but is a number"),
        ),
        (
            r#"{"serials":null}"#,
            format!("{malformed}.serials: must be an array, but is null"),
        ),
        (
            r#"{"serials":["7"]}"#,
            format!("{malformed}.serials[0]: must be a whole number, but is a string"),
        ),
        (
            r#"{"serials":[1,-1]}"#,
            format!("{malformed}.serials[1]: must be a whole number, but is a number"),
        ),
        (
            r#"{"serials":[1.5]}"#,
            format!("{malformed}.serials[0]: must be a whole number, but is a number"),
        ),
        (
            r#"{"serials":[]}"#,
            format!("{of_rule}\"hardware.serials\" names nothing"),
        ),
        (
            r#"{"serials":[0]}"#,
            format!("{of_rule}\"hardware.serials\": 0 is not a serial number of a device"),
        ),
        (
            r#"{"serials":[4294967296]}"#,
            format!("{of_rule}\"hardware.serials\": 4294967296 is not a serial number of a device"),
        ),
        (
            r#"{"serials":[7,8,7]}"#,
            format!("{of_rule}\"hardware.serials\" names \"7\" more than once"),
        ),
        (
            r#"{"roots":["file:empty.pem"]}"#,
            format!("{of_rule}empty.pem holds no certificate"),
        ),
        (
            r#"{"roots":["file:leaf.der"]}"#,
            format!(
                "{of_rule}leaf.der contains \"CN=signer,O=Hardsign Tests,ST=WA,C=US\", which is not a CA certificate"
            ),
        ),
    ];
    let versions = [
        "", "5", "5.", ".5", "5.7.", "5.7.4.1", "5.07", "+5.7", "5.7.256", "5 .7", "v5.7",
    ];
    let texts = versions.map(|text| format!(r#"{{"leastFirmware":"{text}"}}"#));
    for (rule, text) in texts.iter().zip(versions) {
        cases.push((rule, name("leastFirmware", text, firmware)));
    }
    let roots: Vec<_> = (0..17).map(|n| format!("\"file:{n}.pem\"")).collect();
    let roots = format!(r#"{{"roots":[{}]}}"#, roots.join(","));
    cases.push((
        &roots,
        format!("{of_rule}\"hardware.roots\" has 17 items, more than 16"),
    ));
    let serials: Vec<_> = (1..=10_001).map(|n| n.to_string()).collect();
    let serials = format!(r#"{{"serials":[{}]}}"#, serials.join(","));
    cases.push((
        &serials,
        format!("{of_rule}\"hardware.serials\" has 10001 items, more than 10000"),
    ));
    let leaf = signer(&pki, "signer", &Key::P384);
    for (rule, expected) in cases {
        let world = world_of(&pki, &maker, rule, &strict());
        std::fs::write(world.dirs.config.join("empty.pem"), "").unwrap();
        std::fs::write(world.dirs.config.join("leaf.der"), &leaf.der).unwrap();
        let error = Policy::<oci::Document>::load(&world.dirs).unwrap_err();
        assert_eq!(error.told(), expected, "{rule}");
    }
    // Files that are not there or no certificates.
    for name in ["nowhere.pem", "policy.hardsign.json"] {
        let rule = format!(r#"{{"roots":["file:{name}"]}}"#);
        let world = world_of(&pki, &maker, &rule, &strict());
        let error = Policy::<oci::Document>::load(&world.dirs).unwrap_err();
        let path = world.dirs.config.join(name);
        let expected = format!(
            "the roots of a maker of hardware in {} can't be used",
            path.display()
        );
        assert_eq!(error.to_string(), expected);
        assert!(std::error::Error::source(&error).is_some());
    }
    // A statement that skips could never enforce it.
    let skip = r#""signatureVerification":{"level":"skip"}"#;
    let world = world_of(&pki, &maker, "{}", skip);
    let error = Policy::<oci::Document>::load(&world.dirs).unwrap_err();
    assert!(
        error.told().contains("skips signature verification"),
        "{error}"
    );
    // By itself it is a rule, and Yubico is who is meant.
    let world = world_of(&pki, &maker, "{}", &strict());
    let policy = Policy::<oci::Document>::load(&world.dirs).unwrap();
    let rule = policy.rules("n").unwrap().hardware.as_ref().unwrap();
    assert_eq!(**rule, HardwareRule::of_the_box());
    assert!(policy.root_files().is_empty());
}

/// Rules that were read without their files prove nothing.
#[test]
fn roots_that_were_not_loaded() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let (_, chain) = signer_of(&pki);
    let document =
        hardsign_core::policy::hardsign::Document::parse(rules("{}").as_bytes()).unwrap();
    let rule = document
        .rules(hardsign_core::policy::Kind::Oci, "n")
        .unwrap();
    let rule = rule.hardware.as_ref().unwrap();
    assert!(rule.roots().certificates().is_empty());
    let envelope = signed(Format::Jws, &chain, &Key::P384, &maker.evidence(&Key::P384));
    let parsed = Envelope::parse(Format::Jws, &envelope).unwrap();
    let signature = parsed.verify_integrity().unwrap();
    let carried: Option<&Result<CarriedEvidence, _>> = signature.unsigned().attestation.as_ref();
    let key = signature.chain().leaf().public_key().unwrap();
    let judged = hardware(rule, carried, key, certificate::now());
    assert!(matches!(judged, Err(HardwareError::Unproven(_))));
}
