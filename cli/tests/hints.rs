//! Hints are good for something: the command that a hint names is run, in the state that the mistake left,
//! and does what it says.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "a failure of the harness is a failed test"
)]

mod support;

use support::Machine;

/// What is done first, the mistake, how the command begins that its hint names, what stands for the
/// placeholders in it, and what it prints then.
struct Row {
    before: &'static str,
    mistake: &'static str,
    command: &'static str,
    values: &'static [(&'static str, &'static str)],
    /// What is typed when it asks.
    answer: &'static str,
    prints: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        before: "hardsign certificate generate-test release",
        mistake: "hardsign blob sign --key relase artifact.bin",
        command: "hardsign key list",
        values: &[],
        answer: "",
        prints: "release",
    },
    Row {
        before: "hardsign certificate generate-test release",
        mistake: "hardsign blob sign --force artifact.bin",
        command: "hardsign key update --default",
        values: &[("<name>", "release")],
        answer: "",
        prints: "release: marked as default",
    },
    Row {
        before: "true",
        mistake: "hardsign key list --plugin pkcs12",
        command: "hardsign plugin list --all",
        values: &[],
        answer: "",
        prints: "pkcs11",
    },
    Row {
        before: "true",
        mistake: "hardsign plugin inspect frobnicate",
        command: "hardsign plugin list --all",
        values: &[],
        answer: "",
        prints: "local",
    },
    Row {
        before: "true",
        mistake: "hardsign plugin trust frobnicate",
        command: "hardsign plugin list",
        values: &[],
        answer: "",
        prints: "NAME",
    },
    Row {
        before: "hardsign plugin install --file wabbit/notation-wabbit; echo '# x' >> config/plugins/wabbit/notation-wabbit",
        mistake: "hardsign key list --plugin wabbit",
        command: "hardsign plugin trust wabbit",
        values: &[],
        answer: "y",
        prints: "Successfully pinned plugin wabbit",
    },
    Row {
        before: "hardsign certificate generate-test release",
        mistake: "hardsign certificate generate-test release",
        command: "hardsign certificate cleanup-test release",
        values: &[],
        answer: "y",
        prints: "Cleanup completed successfully",
    },
    Row {
        before: "rm config/trustpolicy.oci.json",
        mistake: "hardsign doctor",
        command: "hardsign policy import",
        values: &[("<file>", "policy.json")],
        answer: "",
        prints: "Successfully imported",
    },
    Row {
        before: "rm -r config/truststore/x509/ca/vectors",
        mistake: "hardsign doctor",
        command: "hardsign certificate add --type ca --store vectors",
        values: &[("<file>", "root.crt")],
        answer: "",
        prints: "Successfully added",
    },
    Row {
        before: "hardsign certificate generate-test --default demo; rm config/localkeys/demo.key",
        mistake: "hardsign doctor",
        command: "hardsign key delete demo",
        values: &[],
        answer: "",
        prints: "demo",
    },
    Row {
        before: "hardsign plugin install --file wabbit/notation-wabbit; rm -r config/plugins/wabbit",
        mistake: "hardsign doctor",
        command: "hardsign plugin install",
        values: &[(
            "hardsign plugin install",
            "hardsign plugin install --file wabbit/notation-wabbit",
        )],
        answer: "",
        prints: "Successfully installed plugin wabbit",
    },
    Row {
        before: "true",
        mistake: "hardsign policy remove-signer --yes frobnicate",
        command: "hardsign policy show",
        values: &[],
        answer: "",
        prints: "trustPolicies",
    },
    Row {
        before: "hardsign certificate generate-test release",
        mistake: "hardsign doctor",
        command: "hardsign policy add-signer",
        values: &[
            ("<name>", "release"),
            (
                "<file>",
                "config/localkeys/release.crt --scope registry.example.com/x",
            ),
        ],
        answer: "y",
        prints: "Signer release is trusted",
    },
    Row {
        before: "true",
        mistake: "hardsign doctor",
        command: "hardsign key add",
        values: &[(
            "hardsign key add",
            "hardsign key add --plugin pkcs11 --id x mine",
        )],
        answer: "",
        prints: "mine",
    },
    Row {
        before: "true",
        mistake: "hardsign verfy --version; hardsign versoin",
        command: "hardsign version",
        values: &[],
        answer: "",
        prints: "Version:",
    },
];

#[test]
fn the_command_of_a_hint_works() {
    for row in ROWS {
        let machine = Machine::new();
        machine.shell("cp config/trustpolicy.oci.json policy.json");
        machine.shell(row.before);
        let said = machine.shell(row.mistake);
        let said = String::from_utf8(said.stdout).unwrap();
        let named = said
            .split('`')
            .skip(1)
            .step_by(2)
            .find(|span| span.starts_with(row.command));
        let Some(named) = named else {
            panic!("{}: no hint names `{}`:\n{said}", row.mistake, row.command);
        };
        let mut line = named.to_owned();
        for (placeholder, value) in row.values {
            line = line.replace(placeholder, value);
        }
        let ran = machine.shell(&format!("echo '{}' | {line}", row.answer));
        let text = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.status.success(), "{}: `{line}`:\n{text}", row.mistake);
        assert!(
            text.contains(row.prints),
            "{}: `{line}`:\n{text}",
            row.mistake
        );
    }
}
