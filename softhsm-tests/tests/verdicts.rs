//! Every vector under the reference's own library: the same verdict, or an entry with its reason in
//! `docs/compatibility.md`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use softhsm_tests::{peers, run};

/// A vector, hardsign's verdict and the reference's.
type Difference = (String, &'static str, &'static str);

/// DIF-01 to DIF-05, DIF-16, DIF-36: the differences are those of the table, no more and no fewer.
#[test]
fn verdicts_differ_from_the_reference_only_where_the_table_says() {
    let verdicts = program();
    let mut found = BTreeSet::new();
    let mut compared = 0;
    for area in ["jws", "cose", "code-signing", "timestamping", "openssl"] {
        let expected = manifest(area);
        let files: Vec<_> = expected
            .iter()
            .map(|(file, _)| vectors().join(area).join(file))
            .collect();
        let answers = reference(&verdicts, &files);
        assert_eq!(answers.len(), expected.len());
        for ((file, ours), theirs) in expected.into_iter().zip(answers) {
            compared += 1;
            if ours != theirs {
                found.insert((format!("{area}/{file}"), word(ours), word(theirs)));
            }
        }
    }
    assert!(compared > 200, "only {compared} vectors");
    assert_eq!(found, table());
}

/// The files that the reference made are good to its library and, by `core/tests`, to ours.
#[test]
fn the_reference_accepts_its_own_files() {
    let verdicts = program();
    let blobs = vectors().join("reference/blob");
    let files: Vec<_> = fs::read_dir(blobs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| fs::read_dir(path).unwrap().next().unwrap().unwrap().path())
        .collect();
    assert_eq!(files.len(), 14);
    assert!(reference(&verdicts, &files).into_iter().all(|good| good));
}

fn program() -> PathBuf {
    peers::program("verdicts")
}

/// Each file of an area with hardsign's verdict, which `core/tests/formats` holds it to.
fn manifest(area: &str) -> Vec<(String, bool)> {
    let text = fs::read(vectors().join(area).join("manifest.json")).unwrap();
    let entries: Vec<Value> = serde_json::from_slice(&text).unwrap();
    entries
        .iter()
        .map(|e| {
            (
                e["file"].as_str().unwrap().to_owned(),
                e["verdict"] == "good",
            )
        })
        .collect()
}

/// The reference's verdict on each file.
fn reference(program: &Path, files: &[PathBuf]) -> Vec<bool> {
    let output = run(Command::new(program).args(files));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["good"]
                .as_bool()
                .unwrap()
        })
        .collect()
}

/// The table of `docs/compatibility.md`.
fn table() -> BTreeSet<Difference> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, section) = text
        .split_once("## Vectors on which the verdicts differ")
        .unwrap();
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            assert!(!cells[4].is_empty(), "no reason: {row}");
            let vector = cells[0].trim_end_matches('`').to_owned();
            (vector, word(cells[2] == "good"), word(cells[3] == "good"))
        })
        .collect()
}

fn word(good: bool) -> &'static str {
    if good { "good" } else { "bad" }
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/vectors")
}
