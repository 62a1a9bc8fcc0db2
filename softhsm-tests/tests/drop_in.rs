//! `hardsign` in the place of `notation`: the usual command lines under both, on copies of one
//! configuration directory that the real `notation` 1.3.2 made. Exit code, standard output,
//! standard error and every file that changed are alike, or a row of the golden table says why not
//! (DIF-50). The same table stands in docs/compatibility.md, with the reasons.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use softhsm_tests::pair::{Pair, with_input, without_hint, without_signers};
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::peers::{USE_REFERRERS_API, framework, program};
use softhsm_tests::scene::Scene;
use softhsm_tests::tree::{Entry, changes, tree};
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys, run};

/// What a tool said and did.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    /// Mode and content of what is new or different, the content `None` for a directory; `None`
    /// for what is gone.
    changed: BTreeMap<PathBuf, Option<(String, Option<String>)>>,
}

/// A difference that is meant: its name, and what makes the answers of `hardsign` and of
/// `notation` alike again.
type Row = (&'static str, fn(&mut Answer, &mut Answer));

/// The golden table.
const TABLE: [Row; 24] = [
    ("exit-code", |ours, theirs| {
        assert_ne!(ours.code, Some(0));
        ours.code = theirs.code.filter(|code| *code != 0);
    }),
    ("hint", |ours, _| ours.stderr = without_hint(&ours.stderr)),
    ("who-signed", |ours, _| {
        let (first, _) = ours.stdout.trim_start().split_once('\n').unwrap();
        assert!(first.starts_with("Successfully verified signature for "));
        ours.stdout = without_signers(&ours.stdout);
    }),
    ("logout-of-nothing", |_, theirs| {
        theirs.stdout = theirs.stdout.replace(
            "Logout Succeeded\n",
            "Not logged in to localhost:1: no credential was stored\n",
        );
    }),
    ("own-name", |ours, theirs| {
        for answer in [ours, theirs] {
            answer.stdout = answer.stdout.replace("hardsign", "notation");
            answer.stderr = answer.stderr.replace("hardsign", "notation");
        }
    }),
    ("version-lines", |ours, theirs| {
        let label = |line: &str| line.split_once(':').map_or(line, |(l, _)| l).to_owned();
        let labels = |text: &str| text.lines().map(label).collect::<BTreeSet<_>>();
        let (mine, all) = (labels(&ours.stdout), labels(&theirs.stdout));
        assert!(
            mine.contains("Version") && mine.contains("OS/Arch"),
            "{mine:?}"
        );
        assert!(all.contains("Version"), "{all:?}");
        ours.stdout.clone_from(&theirs.stdout);
    }),
    ("key-lock", |ours, _| {
        ours.changed
            .remove(Path::new("config/signingkeys.json.lock"));
    }),
    ("policy-lock", |ours, _| {
        ours.changed
            .remove(Path::new("config/policy.hardsign.json.lock"));
    }),
    ("default-test-key", |_, theirs| {
        theirs.stdout = theirs.stdout.replace(
            ": mark as default signing key",
            ": marked as default signing key",
        );
    }),
    ("deleted-certificate", |_, theirs| {
        theirs.stdout = theirs.stdout.replace(
            "Successfully deleted root.pem\n",
            "Successfully deleted root.pem from trust store extra of type ca\n",
        );
    }),
    ("existing-test-key", |_, theirs| {
        let line = "generated certificate expiring on <time>\n";
        theirs.stdout = theirs.stdout.replace(line, "");
    }),
    ("empty-store", |ours, _| {
        ours.changed
            .retain(|path, entry| !(entry.is_none() && path.ends_with("truststore/x509/ca/extra")));
    }),
    ("policy-texts", |_, theirs| {
        for (v1, v2) in [
            (
                "Trust policy configuration imported successfully.",
                "Deleted old trust policy configuration trustpolicy.json.\nSuccessfully imported OCI trust policy configuration to <here>/config/trustpolicy.oci.json.",
            ),
            (
                "failed to read trust policy file: ",
                "failed to read OCI trust policy configuration: ",
            ),
            (
                "Warning: existing trust policy configuration file will be overwritten",
                "Warning: existing OCI trust policy configuration will be overwritten",
            ),
        ] {
            theirs.stdout = theirs.stdout.replace(v1, v2);
            theirs.stderr = theirs.stderr.replace(v1, v2);
        }
    }),
    ("policy-file", |ours, theirs| {
        let (old, new) = (
            PathBuf::from("config/trustpolicy.json"),
            PathBuf::from("config/trustpolicy.oci.json"),
        );
        let deleted = ours.changed.remove(&old);
        if let (Some(None), Some(written)) = (deleted, theirs.changed.remove(&old)) {
            theirs.changed.insert(new, written);
        }
    }),
    ("old-policy-warning", |ours, _| {
        let warning = "Warning: old trust policy `trustpolicy.json` is deprecated; please update the trust policy configuration via `hardsign policy import`.\n";
        ours.stderr = ours.stderr.replace(warning, "");
    }),
    ("pushed-line", |ours, _| {
        let pushed = |line: &&str| !line.starts_with("Pushed the signature to ");
        let kept = ours.stdout.split_inclusive('\n').filter(pushed);
        ours.stdout = kept.collect();
    }),
    ("line-after-warnings", |ours, _| {
        ours.stdout = ours.stdout.replacen('\n', "", 1);
    }),
    ("no-signatures", |_, theirs| {
        theirs.stdout = theirs.stdout.replace(
            "has no associated signature\n",
            "has no associated signatures\n",
        );
    }),
    ("limit-warning", |_, theirs| {
        if let Some(at) = theirs.stdout.find("Warning: ") {
            theirs.stderr = theirs.stdout.split_off(at);
        }
    }),
    ("inspect-format", |_, theirs| {
        theirs.stderr = theirs.stderr.replace(
            "unrecognized output format yaml",
            "invalid format: \"yaml\"",
        );
    }),
    ("network-errors", |ours, theirs| {
        for answer in [ours, theirs] {
            let what = "Error: failed to log in to localhost:1";
            assert!(
                answer.stderr.starts_with(what) && answer.stderr.contains("connection refused")
            );
            answer.stderr.truncate(what.len());
        }
    }),
    ("inspect-tree", |ours, theirs| {
        for answer in [ours, theirs] {
            answer.stdout = facts(&answer.stdout);
        }
    }),
    ("inspect-json", |ours, theirs| {
        for answer in [ours, theirs] {
            let document = serde_json::from_str(&answer.stdout).unwrap();
            answer.stdout = as_in_notation_2(document).to_string();
        }
    }),
    // Not in 1.3.2, which prints help or refuses; nothing is left to compare.
    ("not-in-1.3.2", |ours, theirs| {
        assert!(
            theirs.stderr.contains("unknown")
                || theirs.stdout.contains("Usage:")
                || theirs.stderr.contains("is experimental and not enabled"),
            "{theirs:?}"
        );
        *theirs = ours.clone();
    }),
];

/// What a tree of `inspect` says, in the words of notation 2, whatever the order.
fn facts(tree: &str) -> String {
    let mut lines: Vec<_> = tree
        .lines()
        .map(|line| line.trim_start_matches(['│', '├', '└', '─', ' ']))
        .map(|line| match line.split_once(": ") {
            Some(("media type", envelope @ ("application/jose+json" | "application/cose"))) => {
                format!("signature envelope type: {envelope}")
            }
            Some(("signingScheme", value)) => format!("signing scheme: {value}"),
            Some(("signingTime", value)) => format!("signing time: {value}"),
            Some(("signingAgent", value)) => format!("signing agent: {value}"),
            _ => line.to_owned(),
        })
        .filter(|line| !line.starts_with("content type: "))
        .collect();
    lines.sort();
    lines.join("\n")
}

/// The JSON of `inspect` with the members that notation 2 named anew.
fn as_in_notation_2(mut document: Value) -> Value {
    let object = document.as_object_mut().unwrap();
    if let Some(signatures) = object.remove("Signatures") {
        object.insert("signatures".to_owned(), signatures);
    }
    for signature in object["signatures"].as_array_mut().unwrap() {
        let signature = signature.as_object_mut().unwrap();
        if let Some(envelope) = signature.remove("mediaType") {
            signature.insert("signatureEnvelopeType".to_owned(), envelope);
        }
        let attributes = signature["signedAttributes"].as_object_mut().unwrap();
        attributes.remove("contentType");
    }
    document.sort_all_objects();
    document
}

/// Command lines, and the rows that each one needs. `IMAGE`, `TAG` and `OTHER` stand for a signed
/// artifact by digest, by tag, and for one without signatures.
const LINES: [(&str, &[&str]); 57] = [
    ("version", &["version-lines"]),
    ("nosuch", &["own-name", "exit-code"]),
    ("key list", &[]),
    ("key ls", &[]),
    (
        "key add --plugin framework --id k2 --default second",
        &["key-lock"],
    ),
    ("key add --plugin framework --id k2 second", &[]),
    ("key add second", &["exit-code"]),
    ("key list", &[]),
    ("key update --default test.example", &[]),
    ("key set --default second", &[]),
    ("key set --default nosuch", &["hint"]),
    ("key delete second nosuch", &["hint"]),
    ("key delete second", &[]),
    ("key update --default test.example", &[]),
    ("cert list", &[]),
    ("certificate ls -t ca", &[]),
    ("cert add -t ca -s extra root.pem", &[]),
    ("cert add -t ca -s extra root.pem", &[]),
    ("cert show -t ca -s extra root.pem", &[]),
    ("cert show -t ca -s extra nosuch.pem", &[]),
    (
        "cert delete -t ca -s extra root.pem -y",
        &["deleted-certificate", "empty-store"],
    ),
    ("cert generate-test other.example", &[]),
    (
        "cert generate-test --default third.example",
        &["default-test-key"],
    ),
    (
        "cert generate-test other.example",
        &["hint", "existing-test-key"],
    ),
    ("key update --default test.example", &[]),
    ("plugin list", &[]),
    ("plugin ls", &[]),
    ("policy show", &["old-policy-warning"]),
    ("policy import nosuch.json", &["policy-texts"]),
    (
        "policy import --force policy.json",
        &["policy-texts", "policy-file", "policy-lock"],
    ),
    ("policy show", &[]),
    ("sign API IMAGE", &["pushed-line"]),
    ("sign API TAG", &["pushed-line"]),
    (
        "sign API --signature-format cose -m build=17 -e 24h IMAGE",
        &["pushed-line"],
    ),
    ("sign API --key release IMAGE", &["pushed-line"]),
    ("sign API --key nosuch IMAGE", &["hint"]),
    ("sign API", &["own-name", "exit-code"]),
    ("verify IMAGE", &["who-signed"]),
    ("verify TAG", &["who-signed", "line-after-warnings"]),
    ("verify -m build=17 IMAGE", &["who-signed"]),
    ("verify -m nosuch=17 IMAGE", &["hint"]),
    ("verify OTHER", &["hint"]),
    ("verify --max-signatures 0 IMAGE", &["exit-code"]),
    ("list IMAGE", &[]),
    ("ls TAG", &[]),
    ("list OTHER", &["no-signatures"]),
    ("list --max-signatures 1 IMAGE", &["limit-warning"]),
    ("inspect IMAGE", &["inspect-tree"]),
    ("inspect TAG", &["inspect-tree"]),
    ("inspect --output text IMAGE", &["inspect-tree"]),
    ("inspect --output json IMAGE", &["inspect-json"]),
    ("inspect OTHER", &[]),
    (
        "inspect --output yaml IMAGE",
        &["exit-code", "inspect-format"],
    ),
    (
        "login -u peer -p wrong HOST",
        &["exit-code", "hint", "network-errors"],
    ),
    ("login", &["exit-code"]),
    ("logout HOST", &["logout-of-nothing"]),
    ("cert cleanup-test --yes other.example", &["not-in-1.3.2"]),
];

fn answer(bench: &Workbench, program: &Path, line: &str) -> Answer {
    let before = tree(bench.path());
    let ran = with_input(bench, program, line.split(' '), "");
    let changed = changes(&before, &tree(bench.path()));
    let here = bench.path().display().to_string();
    let comparable = |path: &Path, entry: Entry| {
        let name = path.to_string_lossy();
        let random = name.ends_with(".key") || name.ends_with(".crt");
        let content = entry.content.map(|content| match random {
            true => "made at random".to_owned(),
            false => String::from_utf8_lossy(&content).replace(&here, "<here>"),
        });
        (format!("{:o}", entry.mode), content)
    };
    let changed = changed
        .into_iter()
        // Made by whatever verifies, to keep revocation lists in; what is in it is not the command's.
        .filter(|(path, _)| !path.starts_with("cache"))
        .map(|(path, entry)| {
            let entry = entry.map(|entry| comparable(&path, entry));
            (path, entry)
        })
        .collect();
    Answer {
        code: ran.code,
        stdout: without_times(&ran.stdout),
        stderr: ran.stderr,
        changed,
    }
}

/// The second in which a certificate was made.
fn without_times(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        let expiring = "generated certificate expiring on ";
        if line.starts_with(expiring) {
            format!("{expiring}<time>\n")
        } else {
            line.to_owned()
        }
    });
    lines.collect()
}

const POLICY: &str = r#"{"version": "1.0", "trustPolicies": [{
    "name": "all", "registryScopes": ["*"],
    "signatureVerification": {"level": "strict"},
    "trustStores": ["ca:test.example"], "trustedIdentities": ["*"]
}]}"#;

/// Two machines with a copy of the directory each.
fn copies(scene: &Scene) -> Pair {
    let copy = || {
        let bench = Workbench::new();
        fs::remove_dir(bench.config()).unwrap();
        let from = scene.bench.config();
        run(bench
            .command(Path::new("cp"), ["-a"])
            .arg(from)
            .arg(bench.config()));
        let another = POLICY.replace("\"all\"", "\"another\"");
        fs::write(bench.path().join("policy.json"), another).unwrap();
        fs::copy(keys::root(), bench.path().join("root.pem")).unwrap();
        bench
    };
    Pair {
        hardsign: copy(),
        notation: copy(),
    }
}

/// DIF-50, CLI-01, CLI-14, CLI-30, CLI-36, CLI-45, CLI-51, CLI-105: every line of the table.
#[test]
fn usual_command_lines_do_the_same() {
    let (plugin, scene) = (framework::executable(), Scene::new(&Registry::ggcr()));
    scene.made_by_notation(&plugin, POLICY);
    let (image, other) = (
        scene.push("demo:v1", "demo"),
        scene.push("demo:v2", "other"),
    );
    let pair = copies(&scene);
    let (hardsign, notation) = (binaries().join("hardsign"), program("notation"));
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for (line, rows) in LINES {
        let line = line
            .replace("API", USE_REFERRERS_API)
            .replace("IMAGE", &image)
            .replace("OTHER", &other)
            .replace("TAG", &scene.registry.reference("demo:v1"))
            .replace("HOST", "localhost:1");
        let mut ours = answer(&pair.hardsign, &hardsign, &line);
        let mut theirs = answer(&pair.notation, &notation, &line);
        for row in rows {
            let (_, adapt) = TABLE.iter().find(|(name, _)| name == row).expect(row);
            let before = (ours.clone(), theirs.clone());
            adapt(&mut ours, &mut theirs);
            if before == (ours.clone(), theirs.clone()) {
                wrong.push(format!("{line}: the row {row} changes nothing"));
            }
            used.insert(*row);
        }
        if ours != theirs {
            wrong.push(format!(
                "{line}\n  hardsign: {ours:#?}\n  notation: {theirs:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all: BTreeSet<_> = TABLE.iter().map(|(name, _)| *name).collect();
    assert_eq!(used, all, "rows that no line needs");
}

/// DIF-50: the table in the documentation is the table of this test.
#[test]
fn the_golden_table_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let page = fs::read_to_string(page).unwrap();
    let section = page
        .split("\n## ")
        .find(|section| section.starts_with("Command lines under notation 1.3.2"))
        .unwrap();
    let documented: BTreeSet<_> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let table: BTreeSet<_> = TABLE.iter().map(|(name, _)| *name).collect();
    assert_eq!(documented, table);
}
