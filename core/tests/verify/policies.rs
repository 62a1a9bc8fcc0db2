//! Policies as files: where they come from, for one run, and what `policy explain` says of them.

use hardsign_core::crypto;
use hardsign_core::policy::{Action, Check, Level, VerifyTimestamp, blob, oci};
use hardsign_core::trust::Loader;
use hardsign_core::verify::{Because, Policy};
use hardsign_test_support::{Pki, Told};

use crate::world::{REPOSITORY, World, document, level, strict};

const RULES: &str = r#"{"version":"1.0","oci":{"n":{"signers":{"atLeast":1,"of":[{"name":"t","trustStores":["ca:t"]}]}}}}"#;

fn blob_policy() -> String {
    format!(
        r#"{{"version":"1.0","trustPolicies":[{{"name":"b",{}}}]}}"#,
        strict()
    )
}

/// TP-01, SEC-32: the document and the rules are read once, with path and SHA-256 of both.
#[test]
fn sources_are_kept() {
    let world = World::new().statement(&strict());
    let path = world.dirs.hardsign_policy();
    let world = world.file(&path, RULES);
    let policy = world.policy();
    assert_eq!(policy.source().path, world.dirs.oci_policy());
    assert_eq!(
        policy.source().sha256,
        crypto::sha256(document(&strict()).as_bytes())
    );
    let rules = policy.rules_source().unwrap();
    assert_eq!(rules.path, path);
    assert_eq!(rules.sha256, crypto::sha256(RULES.as_bytes()));
    assert!(policy.rules("n").is_some());
    assert!(policy.rules("m").is_none());
}

/// A rule for a statement of the other kind makes that document needed: a name that does not exist
/// fails every verification, of either kind.
#[test]
fn names_of_both_documents_are_checked() {
    let both = RULES.replace(
        r#""oci""#,
        r#""blob":{"b":{"signers":{"atLeast":1,"of":[{"name":"t","trustStores":["ca:t"]}]}}},"oci""#,
    );
    let with = |blobs: Option<String>, rules: &str| {
        let world = World::new().statement(&strict());
        let path = world.dirs.hardsign_policy();
        let world = world.file(&path, rules);
        let path = world.dirs.blob_policy();
        let world = match blobs {
            Some(text) => world.file(&path, &text),
            None => world,
        };
        (
            Policy::<oci::Document>::load(&world.dirs).map(drop),
            Policy::<blob::Document>::load(&world.dirs).map(drop),
        )
    };
    assert!(matches!(with(Some(blob_policy()), &both), (Ok(()), Ok(()))));
    assert!(matches!(with(None, RULES), (Ok(()), Err(_))));
    assert!(matches!(with(None, &both), (Err(_), Err(_))));
    let renamed = blob_policy().replace("\"b\"", "\"c\"");
    let (oci, blob) = with(Some(renamed), &both);
    let text = "hardsign policy: there are rules for the blob trust policy statement \"b\", which does not exist";
    assert_eq!(oci.unwrap_err().told(), text);
    assert_eq!(blob.unwrap_err().told(), text);
    // A broken document of the other kind is no reason to guess.
    let (oci, _) = with(Some("{}".to_owned()), &both);
    assert!(oci.is_err());
}

/// A policy for one run takes the place of both documents and brings its own rules.
#[test]
fn policy_for_one_run() {
    let world = World::new().statement(&strict());
    let path = world.dirs.hardsign_policy();
    let world = world.file(&path, RULES);
    let file = world.dirs.config.join("staging.json");
    let plain = document(&level(r#""level":"audit""#));
    let world = world.file(&file, &plain);
    let policy = Policy::<oci::Document>::from_file(&file).unwrap();
    assert_eq!(policy.source().path, file);
    assert_eq!(policy.source().sha256, crypto::sha256(plain.as_bytes()));
    assert!(
        policy.rules("n").is_none(),
        "policy.hardsign.json is replaced"
    );
    let level = policy.document().statements()[0].verification().level();
    assert_eq!(level, Level::Audit);

    let with_rules = plain.replacen('{', &format!(r#"{{"hardsign":{RULES},"#), 1);
    let world = world.file(&file, &with_rules);
    let policy = Policy::<oci::Document>::from_file(&file).unwrap();
    assert!(policy.rules("n").is_some());
    for (broken, why) in [
        (
            with_rules.replace(r#""oci":{"n""#, r#""oci":{"m""#),
            "hardsign policy: there are rules for the oci trust policy statement \"m\", which does not exist",
        ),
        (
            with_rules.replace(r#""oci":{"n""#, r#""blob":{"n""#),
            "hardsign policy: there are rules for the blob trust policy statement \"n\", which does not exist",
        ),
        (
            with_rules.replace(r#""version":"1.0","oci""#, r#""oci""#),
            "hardsign policy: version must be \"1.0\", but is \"\"",
        ),
        (
            plain.replace("audit", "lax"),
            "oci trust policy: trust policy statement \"n\" has invalid signatureVerification: invalid signature verification level \"lax\"",
        ),
    ] {
        let _world = World::new().file(&file, &broken);
        let error = Policy::<oci::Document>::from_file(&file).unwrap_err();
        assert_eq!(error.told(), why);
    }
    drop(world);
    let error = Policy::<oci::Document>::from_file(&file).unwrap_err();
    assert!(error.told().starts_with("policy file "), "{error}");
}

/// REQ-13: rules of our own in a file that the reference reads would be enforced by nobody.
#[test]
fn rules_in_the_trust_policy_are_refused() {
    let text = document(&strict()).replacen('{', &format!(r#"{{"hardsign":{RULES},"#), 1);
    let world = World::new();
    let path = world.dirs.oci_policy();
    let world = world.file(&path, &text);
    let error = Policy::<oci::Document>::load(&world.dirs).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("trust policy has a member \"hardsign\""),
        "{error}"
    );
}

/// TP-06, TP-07, SEC-26: one byte flipped or lost never weakens a policy in silence: the document is
/// refused, or says the same, or has a warning. Nothing panics.
#[test]
fn mutants_are_refused_or_told() {
    let rest =
        level(r#""level":"permissive","override":{"expiry":"enforce","revocation":"enforce"}"#);
    let text = document(&rest);
    let rules = |d: &oci::Document| d.statements()[0].verification().rules().cloned();
    let original = oci::Document::parse(text.as_bytes()).unwrap();
    let actions = rules(&original).unwrap().actions();
    let mut accepted = 0;
    for at in 0..text.len() {
        for flip in [None, Some(0x01), Some(0x04), Some(0x20), Some(0x80)] {
            let mut mutant = text.clone().into_bytes();
            match flip {
                None => drop(mutant.remove(at)),
                Some(bit) => mutant[at] ^= bit,
            }
            let Ok(document) = oci::Document::parse(&mutant) else {
                continue;
            };
            accepted += 1;
            let same = rules(&document).is_some_and(|r| r.actions() == actions);
            let mutant = String::from_utf8_lossy(&mutant);
            assert!(same || !document.warnings().is_empty(), "{mutant}");
        }
    }
    assert!(accepted > 0, "names and scopes may change");
}

/// What `policy explain` prints: statement and why, each check with its action, stores with what
/// is in them, identities, rules; without looking at a signature.
#[tokio::test]
async fn explanations() {
    let pki = Pki::new();
    let rest = level(r#""level":"permissive","override":{"expiry":"enforce"}"#)
        .replace(r#""ca:t""#, r#""ca:t","tsa:none""#);
    let world = World::new().trust("ca:t", &pki.root).statement(&rest);
    let path = world.dirs.hardsign_policy();
    let world = world.file(&path, RULES);
    let stores = Loader::new(world.dirs.trust_stores());
    let policy = world.policy();
    let explained = policy.explain(REPOSITORY, &stores).await.unwrap();
    assert_eq!(explained.statement, "n");
    assert!(matches!(explained.because, Because::Scope(ref s) if s.as_str() == REPOSITORY));
    assert_eq!(explained.level, Level::Permissive);
    assert!(explained.overridden);
    assert_eq!(
        explained.checks,
        [
            (Check::Integrity, Action::Enforce),
            (Check::Authenticity, Action::Enforce),
            (Check::AuthenticTimestamp, Action::Log),
            (Check::Expiry, Action::Enforce),
            (Check::Revocation, Action::Log),
        ]
    );
    assert_eq!(explained.verify_timestamp, Some(VerifyTimestamp::Always));
    assert_eq!(explained.identities, ["*"]);
    assert_eq!(
        explained.stores[0].subjects,
        Ok(vec!["CN=Root,O=Hardsign Tests,ST=WA,C=US".to_owned()])
    );
    assert_eq!(
        explained.stores[1].subjects,
        Err("the trust store \"none\" of type \"tsa\" does not exist".to_owned())
    );
    let signers = explained.rules.unwrap().signers.unwrap();
    assert_eq!((signers.at_least(), signers.parties()[0].name()), (1, "t"));
    assert!(
        policy
            .explain("registry.test/other", &stores)
            .await
            .is_err()
    );
    assert!(policy.explain("other", &stores).await.is_err());

    let any = document(r#""signatureVerification":{"level":"skip"}"#).replace(REPOSITORY, "*");
    let world = World::new();
    let path = world.dirs.oci_policy();
    let world = world.file(&path, &any);
    let explained = world.policy().explain("a/b", &stores).await.unwrap();
    assert_eq!(explained.because, Because::Wildcard);
    assert!(explained.checks.iter().all(|(_, a)| *a == Action::Skip));
    assert_eq!(explained.warnings.len(), 1, "TP-42");
}

/// The same for files.
#[tokio::test]
async fn explanations_for_files() {
    let world = World::new();
    let path = world.dirs.blob_policy();
    let text = blob_policy().replace(r#""name":"b","#, r#""name":"b","globalPolicy":true,"#);
    let world = world.file(&path, &text);
    let stores = Loader::new(world.dirs.trust_stores());
    let policy = world.blob_policy();
    for (name, because) in [(None, Because::Global), (Some("b"), Because::Name)] {
        let explained = policy.explain(name, &stores).await.unwrap();
        assert_eq!(explained.because, because);
        assert_eq!(explained.level, Level::Strict);
    }
    assert!(policy.explain(Some("c"), &stores).await.is_err());
}
