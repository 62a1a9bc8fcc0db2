use hardsign_test_support::Told;

use super::*;
use crate::policy::Scopes;

fn signer(name: &str) -> Signer {
    Signer {
        name: name.to_owned(),
        identity: format!("x509.subject: C=US,ST=WA,O=Acme,CN={name}"),
        store: StoreRef::parse(&format!("ca:{name}")).unwrap(),
    }
}

fn scopes(list: &[&str]) -> Applies {
    Applies::Artifacts(list.iter().map(|scope| (*scope).to_owned()).collect())
}

fn text(changed: &Changed) -> &str {
    std::str::from_utf8(&changed.document).unwrap()
}

fn add(document: Option<&[u8]>, named: Option<&str>, of: &[&str], name: &str) -> Changed {
    add_signer(document, named, &scopes(of), &signer(name)).unwrap()
}

/// From nothing: a statement of level strict; then a second signer of the same scopes, however they are
/// spelt, in the same statement; then nothing, for all is so already.
#[test]
fn signers_are_added_to_the_statement_of_their_scopes() {
    let first = add(None, None, &["registry.example/app"], "build");
    assert_eq!(first.statement, "build");
    assert_eq!(
        first.changes,
        ["new statement \"build\" for registry.example/app"]
    );
    let second = add(
        Some(&first.document),
        None,
        &["REGISTRY.example:443/app"],
        "security",
    );
    assert_eq!(second.statement, "build");
    assert_eq!(
        second.changes,
        [
            "statement \"build\": trustStores gets \"ca:security\"",
            "statement \"build\": trustedIdentities gets \"x509.subject: C=US,ST=WA,O=Acme,CN=security\"",
        ]
    );
    let third = add(
        Some(&second.document),
        None,
        &["registry.example/app"],
        "security",
    );
    assert!(third.changes.is_empty());
    assert_eq!(third.document, second.document);
    let other = add(
        Some(&second.document),
        None,
        &["registry.example/other"],
        "security",
    );
    assert_eq!(other.statement, "security");
    assert_eq!(
        oci::Document::parse(&other.document)
            .unwrap()
            .statements()
            .len(),
        2
    );
}

/// Members that are not understood, and the order of all, stay as they were.
#[test]
fn what_is_not_changed_stays() {
    let before = br#"{"trustPolicies":[{"x":[1.50,{"z":1,"a":2}],"trustStores":["ca:a"],"registryScopes":["a/b"],"trustedIdentities":["x509.subject: C=US,ST=WA,O=o"],"name":"n","signatureVerification":{"level":"audit"}}],"comment":"kept","version":"1.0"}"#;
    let changed = add(Some(before), Some("n"), &[], "build");
    let compact: String = text(&changed)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join("");
    let after = String::from_utf8_lossy(before)
        .replace(r#"["ca:a"]"#, r#"["ca:a","ca:build"]"#)
        .replace(
            "O=o\"",
            "O=o\",\"x509.subject: C=US,ST=WA,O=Acme,CN=build\"",
        )
        .split_whitespace()
        .collect::<Vec<_>>()
        .join("");
    assert_eq!(compact, after.replace("1.50", "1.5"));
}

/// No statement is widened to more than was named, and none that verifies nothing, or trusts everyone,
/// gets a signer who would mean nothing there.
#[test]
fn nothing_is_widened_by_the_way() {
    let two = add(None, Some("two"), &["a.example/x", "a.example/y"], "build");
    let refused = |document: &[u8], named: Option<&str>, of: &[&str]| {
        let error = add_signer(Some(document), named, &scopes(of), &signer("eve")).unwrap_err();
        error.told()
    };
    for of in [&["a.example/x"][..], &["a.example/x", "a.example/z"]] {
        assert_eq!(
            refused(&two.document, None, of),
            "registry scope \"a.example/x\" is in the trust policy statement \"two\", which applies to a.example/x, a.example/y"
        );
    }
    assert!(refused(&two.document, Some("new"), &[]).contains("needs registry scopes"));
    let any = br#"{"version":"1.0","trustPolicies":[{"name":"n","registryScopes":["a/b"],"signatureVerification":{"level":"strict"},"trustStores":["ca:a"],"trustedIdentities":["*"]}]}"#;
    assert!(refused(any, None, &["a/b"]).contains("trusts every signer"));
    let skip = br#"{"version":"1.0","trustPolicies":[{"name":"n","registryScopes":["a/b"],"signatureVerification":{"level":"skip"}}]}"#;
    assert!(refused(skip, None, &["a/b"]).contains("skips signature verification"));
    // An identity that another one contains is refused by the reader (TP-24).
    let wider = Signer {
        identity: "x509.subject: C=US,ST=WA,O=Acme".to_owned(),
        ..signer("wide")
    };
    let of = scopes(&["a.example/x", "a.example/y"]);
    assert!(matches!(
        add_signer(Some(&two.document), None, &of, &wider),
        Err(EditError::Policy(_))
    ));
    assert!(matches!(
        add_signer(None, None, &scopes(&["nonsense"]), &wider),
        Err(EditError::Policy(_))
    ));
}

/// Files: the global statement, or one by name.
#[test]
fn signers_of_files() {
    let global = Applies::Files { global: true };
    let first = add_signer(None, None, &global, &signer("build")).unwrap();
    let document = blob::Document::parse(&first.document).unwrap();
    assert_eq!(document.statement_for(None).unwrap().name(), "build");
    let second = add_signer(Some(&first.document), None, &global, &signer("other")).unwrap();
    assert_eq!(second.statement, "build");
    let named = Applies::Files { global: false };
    let third = add_signer(Some(&first.document), None, &named, &signer("other")).unwrap();
    assert_eq!(third.statement, "other");
    let document = blob::Document::parse(&third.document).unwrap();
    assert_eq!(
        document.statement_for(Some("other")).unwrap().name(),
        "other"
    );
    assert_eq!(document.statement_for(None).unwrap().name(), "build");
}

/// Out again: identity and store; with the last signer the statement, and with the last statement the
/// document.
#[test]
fn signers_are_removed() {
    let first = add(None, None, &["a.example/x"], "build");
    let both = add(Some(&first.document), None, &["a.example/x"], "security");
    let error = remove_signer::<Scopes>(&both.document, "build", "security", None).unwrap_err();
    assert!(matches!(error, EditError::WhichIdentity { .. }));
    let identity = signer("security").identity;
    let removed =
        remove_signer::<Scopes>(&both.document, "build", "security", Some(&identity)).unwrap();
    assert_eq!(removed.document, first.document);
    let last = remove_signer::<Scopes>(&first.document, "build", "build", None).unwrap();
    assert_eq!(
        (last.document, last.changes),
        (
            vec![],
            vec!["statement \"build\" is removed: it has no other signer".to_owned()]
        )
    );
    for (statement, name, identity) in [
        ("none", "build", None),
        ("build", "nobody", None),
        ("build", "build", Some("x509.subject: C=US,ST=WA,O=other")),
    ] {
        let error = remove_signer::<Scopes>(&both.document, statement, name, identity);
        assert!(matches!(
            error,
            Err(EditError::NoSuchStatement { .. } | EditError::NoSuchSigner { .. })
        ));
    }
}

fn required(document: Option<&[u8]>, name: &str, at_least: Option<usize>) -> Changed {
    let role = Role::Required { at_least };
    add_party(document, Kind::Oci, "prod", &role, &signer(name)).unwrap()
}

fn scanner(document: Option<&[u8]>, name: &str) -> Changed {
    let role = Role::Attached {
        artifact_type: "application/sarif+json".to_owned(),
    };
    add_party(document, Kind::Oci, "prod", &role, &signer(name)).unwrap()
}

/// How many of how many must have signed.
type Count = (usize, usize);

fn numbers(document: &[u8]) -> (Option<Count>, Vec<Count>) {
    let rules = hardsign::Document::parse(document).unwrap();
    let rules = rules.rules(Kind::Oci, "prod").unwrap();
    let count = |s: &hardsign::Signers| (s.at_least(), s.parties().len());
    (
        rules.signers.as_ref().map(count),
        rules
            .attached
            .iter()
            .filter_map(|rule| rule.signers().map(count))
            .collect(),
    )
}

/// Required signers are all required, until a number is given; of several scanners one is enough.
#[test]
fn parties_are_added() {
    let one = required(None, "build", None);
    assert_eq!(numbers(&one.document), (Some((1, 1)), vec![]));
    let two = required(Some(&one.document), "security", None);
    assert_eq!(numbers(&two.document), (Some((2, 2)), vec![]));
    assert_eq!(
        two.changes,
        [
            "statement \"prod\": required signers get \"security\"",
            "statement \"prod\": at least 2 of 2 required signers must have signed"
        ]
    );
    let of_three = required(Some(&two.document), "auditor", Some(2));
    assert_eq!(numbers(&of_three.document), (Some((2, 3)), vec![]));
    let of_four = required(Some(&of_three.document), "qa", None);
    assert_eq!(numbers(&of_four.document), (Some((2, 4)), vec![]));
    let scan = scanner(Some(&two.document), "scanner");
    let scans = scanner(Some(&scan.document), "other");
    assert_eq!(numbers(&scans.document), (Some((2, 2)), vec![(1, 2)]));
    assert!(scanner(Some(&scans.document), "other").changes.is_empty());
    // The name of somebody else, and a number that can't be met.
    let impostor = Signer {
        identity: signer("eve").identity,
        ..signer("build")
    };
    let role = Role::Required { at_least: None };
    assert!(matches!(
        add_party(Some(&two.document), Kind::Oci, "prod", &role, &impostor),
        Err(EditError::OtherSigner { .. })
    ));
    let role = Role::Required { at_least: Some(9) };
    assert!(matches!(
        add_party(Some(&two.document), Kind::Oci, "prod", &role, &signer("x")),
        Err(EditError::Hardsign(_))
    ));
    let broken = add_party(Some(b"{}"), Kind::Oci, "prod", &role, &signer("x"));
    assert!(matches!(broken, Err(EditError::Hardsign(_))));
}

/// A party goes from everywhere, numbers never exceed what is left, and rules that say nothing more go
/// as a whole.
#[test]
fn parties_are_removed() {
    let two = required(
        Some(&required(None, "build", None).document),
        "security",
        None,
    );
    let all = scanner(Some(&two.document), "scanner");
    let remove =
        |document: &[u8], name: &str| remove_party(document, Kind::Oci, "prod", name).unwrap();
    let (changed, identities) = remove(&all.document, "security");
    assert_eq!(identities, [signer("security").identity]);
    assert_eq!(numbers(&changed.document), (Some((1, 1)), vec![(1, 1)]));
    let (changed, _) = remove(&changed.document, "scanner");
    assert_eq!(
        changed.changes,
        [
            "statement \"prod\": the rule on attached application/sarif+json is removed: \"scanner\" is its only signer"
        ]
    );
    assert_eq!(numbers(&changed.document), (Some((1, 1)), vec![]));
    let (changed, _) = remove(&changed.document, "build");
    assert!(changed.document.is_empty());
    let (unchanged, identities) = remove(&all.document, "nobody");
    assert!(unchanged.changes.is_empty() && identities.is_empty());
    assert_eq!(numbers(&unchanged.document), numbers(&all.document));
}
