//! The suite against the plugin that misbehaves: it finds every fault and no other.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::Duration;

use hardsign_plugin_testkit::kit::{self, Check, Report, Subject, Verdict};
use hardsign_plugin_testkit::rude::FAULTS;

const RUDE: &str = env!("CARGO_BIN_EXE_notation-rude");

const ALL: &str = "SIGNATURE_GENERATOR.RAW,SIGNATURE_GENERATOR.ENVELOPE,SIGNATURE_VERIFIER.TRUSTED_IDENTITY,SIGNATURE_VERIFIER.REVOCATION_CHECK,HARDSIGN.DIGEST,HARDSIGN.SESSION,HARDSIGN.ATTEST,HARDSIGN.TEST_KEYS";

/// What a plugin may do.
const HARMLESS: &[&str] = &[
    "noise",
    "slow",
    "touch",
    "extra-annotation",
    "identity-fails",
    "revocation-fails",
    "unprocessed",
    // A warning, where settings are declared.
    "takes-any-setting",
];

/// What only the suite's patience ends.
const ENDLESS: &[&str] = &[
    "hang",
    "close-stdout",
    "flood-stderr",
    "close-stdin",
    "close-stdin-late",
    "prompting-forever",
    "deaf",
];

fn run(fault: &str) -> Report {
    run_with(fault, &[], Some("k"), &[])
}

/// With more settings, a key or none, and identities to trust.
fn run_with(fault: &str, more: &[(&str, &str)], key_id: Option<&str>, trusted: &[&str]) -> Report {
    let capabilities = match fault {
        "no-capabilities" | "no-signing" => None,
        _ => Some(("capabilities", ALL)),
    };
    let fault_setting = [("fault", fault)];
    let more = more.iter().copied();
    let settings = capabilities.into_iter().chain(fault_setting).chain(more);
    let is_endless = ENDLESS.contains(&fault);
    kit::run(&Subject {
        path: RUDE.into(),
        key_id: key_id.map(str::to_owned),
        create: None,
        trusted_identities: trusted
            .iter()
            .map(|identity| (*identity).to_owned())
            .collect(),
        config: settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        patience: Duration::from_secs(if is_endless { 2 } else { 60 }),
        now: 1_780_000_000,
    })
}

/// The rules that were not met.
fn broken(report: &Report) -> Vec<(&'static str, String)> {
    let checks = report.checks.iter();
    checks
        .filter_map(|check| match &check.verdict {
            Verdict::Failed(finding) | Verdict::Warned(finding) => {
                Some((check.requirement, finding.reason.clone()))
            }
            _ => None,
        })
        .collect()
}

/// The well-behaved plugin meets every rule, SHOULDs included, and none is skipped.
#[test]
fn a_good_plugin_passes() {
    let report = run("");
    assert!(report.passed());
    assert!(broken(&report).is_empty(), "{report}");
    let text = report.to_string();
    assert!(text.contains(" 0 skipped, "), "{report}");
    assert!(report.checks.len() > 40);
    // What it does not offer is named.
    for part in [
        "none  BLOB-13  generate-envelope for files (the plugin does not offer SIGNATURE_GENERATOR.ENVELOPE_FOR_BLOB)\n",
        "none  PLG-51   set-up-token (the plugin does not offer HARDSIGN.SETUP)\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let untried = |check: &&Check| matches!(check.verdict, Verdict::Untried(_));
    let untried = report.checks.iter().filter(untried).count();
    assert!(text.ends_with(&format!(", {untried} not tried")), "{text}");
    let every = "SIGNATURE_GENERATOR.ENVELOPE_FOR_BLOB,HARDSIGN.KEYS,HARDSIGN.SETUP";
    let all = format!("{ALL},{every}");
    let report = run_with("", &[("capabilities", &all)], None, &[]).to_string();
    assert!(!report.contains("does not offer"), "{report}");
    for part in [
        "set-up-token (what it does to a token can't be undone)",
        "(--create)",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
}

/// A plugin that declares its settings refuses others.
#[test]
fn settings_that_are_not_declared() {
    let declares = ("declares", "declares,fault,capabilities");
    let rule = "a setting that metadata does not declare is refused";
    for (fault, expected) in [("", "ok    "), ("takes-any-setting", "WARN  ")] {
        let report = run_with(fault, &[declares], Some("k"), &[]).to_string();
        let line = report.lines().find(|line| line.contains(rule)).unwrap();
        assert!(line.starts_with(expected), "{report}");
    }
    assert!(!run("").to_string().contains(rule));
}

/// Every planted fault is found, and what is harmless is not called a fault.
#[test]
fn every_fault_is_found() {
    let names: Vec<&str> = FAULTS.iter().map(|(name, _)| *name).collect();
    let found: Vec<(&str, bool)> = thread::scope(|scope| {
        let workers: Vec<_> = names
            .chunks(names.len().div_ceil(6))
            .map(|chunk| {
                scope.spawn(move || {
                    let verdicts = chunk.iter().map(|name| (*name, !run(name).passed()));
                    verdicts.collect::<Vec<_>>()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    let wrong: Vec<_> = found
        .iter()
        .filter(|(name, found)| *found == HARMLESS.contains(name))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(found.iter().filter(|(_, found)| *found).count() > 60);
}

/// A fault is told under the requirement that it breaks, with what was asked and answered.
#[test]
fn findings_cite_requirement_request_and_answer() {
    for (fault, requirement, reason) in [
        ("empty-url", "PLG-18", "url is missing or empty"),
        (
            "wrong-contract",
            "PLG-19",
            "supportedContractVersions is [\"1.1\", \"2.0\"]",
        ),
        ("wrong-name", "PLG-20", "it calls itself \"polite\""),
        ("unknown-key-spec", "PLG-23", "unknown key spec"),
        ("wrong-key-id", "PLG-29", "it answered for \"another\""),
        (
            "wrong-algorithm",
            "PLG-28",
            "it is RSASSA-PSS-SHA-256 instead of ECDSA-SHA-256",
        ),
        (
            "other-key",
            "PLG-30",
            "the signature does not verify with the leaf's key",
        ),
        ("expired-chain", "PLG-30", "certificate 0 is not valid now"),
        (
            "unknown-id",
            "PLG-51",
            "it answered request 9999, which is not under way",
        ),
        (
            "wrong-envelope-type",
            "PLG-34",
            "it is \"application/cose\"",
        ),
        ("other-subject", "PLG-36", "size is 8"),
        ("no-expiry", "PLG-38", "there is no io.cncf.notary.expiry"),
        ("wrong-expiry", "PLG-38", "it is 3601 s instead of 3600 s"),
        (
            "missing-result",
            "PLG-46",
            "there is none for SIGNATURE_VERIFIER.TRUSTED_IDENTITY",
        ),
    ] {
        let report = run(fault);
        let broken = broken(&report);
        let is_told =
            |(number, why): &(&str, String)| *number == requirement && why.contains(reason);
        assert!(broken.iter().any(is_told), "{fault}: {broken:?}");
        let text = report.to_string();
        assert!(text.contains("        request: "), "{text}");
        assert!(text.contains("        answer:  "), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

/// What was only warned of or skipped, rule by rule.
fn considered(report: &Report) -> Vec<(&'static str, bool)> {
    let checks = report.checks.iter();
    checks
        .filter_map(|check| match check.verdict {
            Verdict::Warned(_) => Some((check.requirement, true)),
            Verdict::Skipped(_) => Some((check.requirement, false)),
            _ => None,
        })
        .collect()
}

/// A plugin that judges signatures of its own alone, under identities of its own, and takes no
/// expiry, as AWS Signer's does: each refusal is a warning, it is asked for less, and all other
/// rules are tried.
#[test]
fn plg_40_a_plugin_for_its_own_signatures() {
    let aws_like = [
        ("strict", "anyone,x509,foreign,expiry"),
        ("scheme", "authority"),
        ("attribute:com.example.job", "7"),
    ];
    let (expiry, expiry_skipped) = (("PLG-32", true), ("PLG-38", false));
    let refused = ("PLG-40", true);
    let report = run_with("", &aws_like, Some("k"), &[]);
    assert!(report.passed(), "{report}");
    let expected = [expiry, expiry_skipped, refused, refused, refused];
    assert_eq!(considered(&report), expected, "{report}");
    let met = |report: &Report, number: &str| {
        let mut of_it = report.checks.iter().filter(|c| c.requirement == number);
        of_it.any(|check| check.verdict == Verdict::Passed)
    };
    for number in [
        "PLG-33", "PLG-34", "PLG-35", "PLG-36", "OCI-08", "PLG-45", "PLG-46",
    ] {
        assert!(met(&report, number), "{number}: {report}");
    }
    // Whom to trust is named, so that any identity is not asked for.
    let trusted = ["arn:example:profile/a"];
    let report = run_with("", &aws_like, Some("k"), &trusted);
    assert!(report.passed(), "{report}");
    assert!(
        report.to_string().contains("arn:example:profile/a"),
        "{report}"
    );
    assert_eq!(considered(&report), expected[..4], "{report}");
    // Without a key there is no signature of its own.
    let report = run_with("", &aws_like, None, &[]);
    assert!(report.passed(), "{report}");
    assert_eq!(considered(&report).last(), Some(&("PLG-45", false)));
    assert!(
        report
            .to_string()
            .contains("--trusted-identity whom to trust"),
        "{report}"
    );

    for (strict, warnings) in [
        ("anyone", &[refused][..]),
        ("x509", &[refused, refused]),
        ("anyone,x509", &[refused, refused]),
        ("expiry", &[expiry, expiry_skipped]),
        ("foreign", &[refused, refused, refused]),
    ] {
        let settings = [("strict", strict), ("attribute:com.example.job", "7")];
        let report = run_with("", &settings, Some("k"), &[]);
        assert!(report.passed(), "{strict}: {report}");
        assert_eq!(considered(&report), warnings, "{strict}: {report}");
    }
}

/// Such a plugin's faults are still found; and a refusal is one with `VALIDATION_ERROR` only.
#[test]
fn plg_40_faults_of_a_plugin_for_its_own_signatures() {
    let aws_like = [
        ("strict", "anyone,x509,foreign,expiry"),
        ("scheme", "authority"),
        ("attribute:com.example.job", "7"),
    ];
    for (fault, requirement) in [
        ("other-subject", "PLG-36"),
        ("drop-annotation", "PLG-36"),
        ("garbage-envelope", "PLG-35"),
        ("wrong-envelope-type", "PLG-34"),
        ("reserved-annotation", "OCI-08"),
        ("missing-result", "PLG-46"),
        ("surplus-result", "PLG-46"),
    ] {
        let report = run_with(fault, &aws_like, Some("k"), &[]);
        let failed = report.checks.iter().any(|check| {
            check.requirement == requirement && matches!(check.verdict, Verdict::Failed(_))
        });
        assert!(failed, "{fault}: {report}");
    }
    for strict in ["anyone", "x509", "foreign", "expiry"] {
        for code in ["ERROR", "ACCESS_DENIED", "TIMEOUT", "surprise"] {
            let settings = [("strict", strict), ("strict-code", code)];
            let report = run_with("", &settings, Some("k"), &["anyone at all"]);
            let passes = strict == "anyone";
            assert_eq!(report.passed(), passes, "{strict} {code}: {report}");
        }
    }
}

/// The executable: exit codes, and a report on stdout.
#[expect(clippy::disallowed_methods, reason = "runs the executable under test")]
#[test]
fn the_executable() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_hardsign-plugin-test"))
            .args(arguments)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, text) = run(&[RUDE, "--id", "k"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("ok    PLG-03   the executable is a regular file\n"));
    let (code, text) = run(&[RUDE, "--id", "k", "--config", "fault=no-chain"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("FAIL  PLG-30 "), "{text}");
    let (code, text) = run(&[RUDE]);
    assert_eq!(code, Some(0));
    assert!(text.contains("no key was named (--id)"), "{text}");
    for wrong in [
        &[][..],
        &["--id"],
        &["a", "b"],
        &["--what"],
        &["a", "--config", "b"],
    ] {
        assert_eq!(run(wrong).0, Some(2), "{wrong:?}");
    }
    let (code, text) = run(&[
        RUDE,
        "--config",
        "capabilities=SIGNATURE_VERIFIER.TRUSTED_IDENTITY",
        "--config",
        "strict=anyone",
        "--trusted-identity",
        "x509.subject: C=US, ST=WA, O=Example",
    ]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" 0 to be considered"), "{text}");
    assert_eq!(run(&["--help"]).0, Some(0));
    assert_eq!(run(&["/no/such/notation-x"]).0, Some(1));
    assert!(BTreeMap::from_iter(FAULTS.iter().copied()).len() == FAULTS.len());
}
