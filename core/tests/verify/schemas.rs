//! The schemas that `hardsign policy schema` prints, held against the readers: what a reader takes, the schema
//! allows, and what a schema allows and the reader refuses is a rule that no schema can state.

use std::collections::BTreeSet;

use hardsign_core::policy::{blob, hardsign, oci};
use hardsign_test_support::Told;
use hardsign_test_support::schemas::policy_faults;
use serde_json::{Value, json};

/// Why a document is refused.
type Reader = fn(&[u8]) -> Result<(), String>;

/// Schema, reader, and a document with every member.
fn kinds() -> [(&'static str, Reader, Value); 4] {
    let oci: Reader = |bytes| oci::Document::parse(bytes).map(drop).map_err(|e| e.told());
    let blob: Reader = |bytes| blob::Document::parse(bytes).map(drop).map_err(|e| e.told());
    let rules: Reader = |bytes| {
        let document = hardsign::Document::parse(bytes);
        document.map(drop).map_err(|e| e.told())
    };
    let one_run: Reader = |bytes| match oci::Document::parse_with_rules(bytes) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.told()),
        Err(error) => Err(error.told()),
    };
    let statement = |member: &str, value: Value| {
        json!({"version": "1.0", "trustPolicies": [{
            "name": "n",
            member: value,
            "signatureVerification": {
                "level": "permissive",
                "override": {
                    "authenticity": "enforce",
                    "authenticTimestamp": "log",
                    "expiry": "enforce",
                    "revocation": "skip",
                },
                "verifyTimestamp": "afterCertExpiry",
            },
            "trustStores": ["ca:t", "tsa:t"],
            "trustedIdentities": ["x509.subject: C=US, ST=WA, O=a"],
        }]})
    };
    let signers = json!({"atLeast": 1, "of": [
        {"name": "a", "trustedIdentities": ["x509.subject: C=US, ST=WA, O=a"], "trustStores": ["ca:t"]},
    ]});
    let hardware = json!({
        "roots": ["yubico", "file:maker.pem"],
        "pinPolicy": ["once"],
        "touchPolicy": ["cached"],
        "leastFirmware": "5.7",
        "serials": [1],
    });
    let attached = json!([
        {"type": "a/b", "sameSigner": true},
        {"type": "a/c", "signers": signers},
    ]);
    let rules_of_all = json!({
        "version": "1.0",
        "oci": {"n": {"signers": signers, "attached": attached, "hardware": hardware}},
        "blob": {"n": {"signers": signers, "hardware": hardware}},
    });
    let artifacts = statement("registryScopes", json!(["a.example/b"]));
    let mut with_rules = artifacts.clone();
    with_rules["hardsign"] = json!({"version": "1.0"});
    [
        ("oci", oci, artifacts),
        ("blob", blob, statement("globalPolicy", json!(true))),
        ("hardsign", rules, rules_of_all),
        ("oci", one_run, with_rules),
    ]
}

/// A document with one change at one place each: a member is missing, has another name or case, or has
/// another value; an item is missing or there twice.
fn mutants(value: &Value, rebuild: &dyn Fn(Value) -> Value, all: &mut Vec<Value>) {
    for other in [
        Value::Null,
        json!(true),
        json!(0),
        json!(7.5),
        json!(""),
        json!("nonsense"),
        json!([]),
        json!({}),
        json!([null]),
        json!([7]),
        json!(["nonsense"]),
    ] {
        if other != *value {
            all.push(rebuild(other));
        }
    }
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                let without = || {
                    let mut members = members.clone();
                    members.shift_remove(name);
                    members
                };
                all.push(rebuild(Value::Object(without())));
                for other in [format!("{name}s"), name.to_uppercase()] {
                    let mut renamed = without();
                    renamed.insert(other, inner.clone());
                    all.push(rebuild(Value::Object(renamed)));
                }
                let put = |inner: Value| {
                    let mut members = members.clone();
                    members.insert(name.clone(), inner);
                    rebuild(Value::Object(members))
                };
                mutants(inner, &put, all);
            }
        }
        Value::Array(items) => {
            for (position, inner) in items.iter().enumerate() {
                let mut fewer = items.clone();
                fewer.remove(position);
                all.push(rebuild(Value::Array(fewer)));
                let mut twice = items.clone();
                twice.push(inner.clone());
                all.push(rebuild(Value::Array(twice)));
                let put = |inner: Value| {
                    let mut items = items.clone();
                    items[position] = inner;
                    rebuild(Value::Array(items))
                };
                mutants(inner, &put, all);
            }
        }
        _ => {}
    }
}

#[test]
fn readers_and_schemas_agree() {
    for (kind, reader, good) in kinds() {
        let read = |document: &Value| reader(document.to_string().as_bytes());
        assert_eq!(read(&good), Ok(()), "{kind}");
        assert_eq!(policy_faults(kind, &good), Vec::<String>::new(), "{kind}");
        let mut all = Vec::new();
        mutants(&good, &std::convert::identity, &mut all);
        let (mut refused, mut wrong) = (0, BTreeSet::new());
        for document in all {
            let mut faults = policy_faults(kind, &document);
            if let Some(rules) = document.get("hardsign") {
                faults.extend(policy_faults("hardsign", rules));
            }
            match (read(&document), faults.is_empty()) {
                (Ok(()), true) => {}
                (Err(_), false) => refused += 1,
                (Ok(()), false) => drop(wrong.insert(format!("{document} is read: {faults:?}"))),
                (Err(error), true) => {
                    if !BEYOND_SCHEMAS.iter().any(|text| error.contains(text)) {
                        wrong.insert(format!("the schema allows: {error}"));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{kind}: {wrong:#?}");
        assert!(refused > 50, "{kind}: {refused}");
    }
}

/// What the readers say of rules that no schema states: across members and items, about names within texts,
/// and about the case of names, where unknown ones are allowed.
const BEYOND_SCHEMAS: [&str; 7] = [
    "use the same name",
    "must be written",
    "overlapping x509 trustedIdentities",
    "identit",
    "\"signers.atLeast\" must be between",
    "more than once",
    "are named",
];

/// The names of members in all that a document says.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                found.insert(name.clone());
                names(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

/// The names below `properties` in a schema.
fn properties(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                if let ("properties", Value::Object(inner)) = (name.as_str(), value) {
                    found.extend(inner.keys().cloned());
                }
                properties(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| properties(item, found)),
        _ => {}
    }
}

/// The documents that are held against the schemas leave out no member of theirs.
#[test]
fn every_member_is_tried() {
    let mut tried = BTreeSet::new();
    let mut known = BTreeSet::new();
    for (_, _, good) in kinds() {
        names(&good, &mut tried);
    }
    for file in ["trustpolicy.oci", "trustpolicy.blob", "policy.hardsign"] {
        let path = format!("{}/../docs/schemas/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        properties(&serde_json::from_str(&text).unwrap(), &mut known);
    }
    // The names of statements.
    tried.remove("n");
    assert_eq!(tried, known);
}
