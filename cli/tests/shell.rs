//! What surrounds the executable: man pages in a real `man`, and the documents that describe its
//! JSON and its exit codes.

#![allow(
    clippy::unwrap_used,
    reason = "a failure of the harness is a failed test"
)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

mod support;

use support::Machine;

#[test]
fn man_renders_every_page() {
    let machine = Machine::new();
    let ran = machine.shell("hardsign man pages");
    assert!(ran.status.success());
    let mut pages = 0;
    for page in fs::read_dir(machine.path().join("pages")).unwrap() {
        let path = page.unwrap().path();
        let mut man = machine.command("man");
        man.args(["--warnings", "-l"])
            .arg(&path)
            .env("MANPAGER", "cat")
            .env("LC_ALL", "C.UTF-8");
        let ran = man.output().expect("man is needed: install man-db");
        let (text, errors) = (
            String::from_utf8_lossy(&ran.stdout).into_owned(),
            String::from_utf8_lossy(&ran.stderr).into_owned(),
        );
        assert!(
            ran.status.success() && errors.is_empty(),
            "{}: {errors}",
            path.display()
        );
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "ENVIRONMENT",
            "EXIT STATUS",
            "SEE ALSO",
        ] {
            assert!(
                text.contains(section),
                "{}: no {section}\n{text}",
                path.display()
            );
        }
        let page = fs::read_to_string(&path).unwrap();
        see_also(&page, path.parent().unwrap());
        pages += 1;
    }
    assert!(pages > 25, "{pages}");
    let sign = fs::read_to_string(machine.path().join("pages/hardsign-sign.1")).unwrap();
    assert!(sign.contains(".SH EXAMPLES"), "{sign}");
}

/// The pages that a page refers to are there.
fn see_also(page: &str, directory: &Path) {
    let (_, also) = page.split_once(".SH SEE ALSO\n").unwrap();
    for line in also.lines() {
        let name = line.trim_end_matches(',').replace("\\-", "-");
        let name = name
            .strip_prefix("\\fB")
            .and_then(|n| n.strip_suffix("\\fR(1)"));
        let name = name.unwrap_or_else(|| panic!("no page: {line}"));
        assert!(directory.join(format!("{name}.1")).exists(), "{line}");
    }
}

/// The files and variables of the manual are those of `docs/files.md`, and each has a page.
#[test]
fn man_has_the_files_and_variables_of_the_documentation() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/files.md");
    let document = fs::read_to_string(document).unwrap();
    let machine = Machine::new();
    assert!(machine.shell("hardsign man pages").status.success());
    let page = |name: &str| {
        let text = fs::read_to_string(machine.path().join("pages").join(name)).unwrap();
        text.replace("\\-", "-")
    };
    let root = page("hardsign.1");
    let (_, files) = root.split_once(".SH FILES\n").unwrap();
    let (files, environment) = files.split_once(".SH ENVIRONMENT\n").unwrap();
    let (environment, _) = environment.split_once(".SH EXIT STATUS\n").unwrap();
    let terms = |text: &str| {
        let items = text.split(".TP\n").skip(1);
        let terms = items.flat_map(|item| item.lines().next().unwrap().split(", "));
        terms.map(str::to_owned).collect::<Vec<_>>()
    };
    for variable in terms(environment) {
        assert!(document.contains(&format!("`{variable}`")), "{variable}");
    }
    let known = terms(files);
    for file in &known {
        let path = file.split('<').next().unwrap().trim_end_matches('/');
        let end = path.rsplit('/').next().unwrap();
        assert!(document.contains(end), "{file}");
    }
    assert!(known.len() > 12, "{known:?}");
    // A command has those that concern it.
    let sign = page("hardsign-sign.1");
    assert!(
        sign.contains("signingkeys.json") && sign.contains("NOTATION_PASSWORD"),
        "{sign}"
    );
    assert!(!sign.contains("trustpolicy"), "{sign}");
    let verify = page("hardsign-blob-verify.1");
    assert!(verify.contains("trustpolicy.blob.json"), "{verify}");
    assert!(
        !verify.contains("trustpolicy.oci.json") && !verify.contains("docker"),
        "{verify}"
    );
}

/// `docs/json.md` shows what is printed: each of its documents has, at every level, the members
/// that the program prints.
#[test]
fn documented_json_has_the_members_that_are_printed() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
    let text = fs::read_to_string(document).unwrap();
    let mut checked = 0;
    let mut command = None;
    let mut json: Option<String> = None;
    for line in text.lines() {
        if let Some(typed) = line
            .strip_prefix("Printed by `")
            .and_then(|l| l.strip_suffix("`:"))
        {
            command = Some(typed.to_owned());
        } else if line == "```json" {
            json = Some(String::new());
        } else if line == "```" {
            if let (Some(command), Some(json)) = (command.take(), json.take()) {
                let machine = Machine::with_registries();
                machine.shell(
                    "hardsign certificate generate-test --default demo
                     hardsign plugin install --file wabbit/notation-wabbit
                     hardsign key add --plugin wabbit --id release release
                     hardsign key create ca --plugin local --id ca.key --type EC-256
                     hardsign key certify ca --ca --days 9 --subject CN=ca
                     echo '{\"credsStore\": \"file\"}' > config/config.json",
                );
                let documented: Value = serde_json::from_str(&json).unwrap();
                let printed = machine.json(&format!("{command} 2>/dev/null"));
                same_members(&documented, &printed, &command);
                checked += 1;
            }
        } else if let Some(json) = &mut json {
            json.push_str(line);
        }
    }
    // Each command with `--output` is among them.
    let machine = Machine::new();
    for command in commands(&machine) {
        let flags = machine.shell(&format!("hardsign __complete -- {command} --output"));
        let flags = String::from_utf8(flags.stdout).unwrap();
        let has_json = flags.starts_with("--output");
        let is_documented = text.contains(&format!("\n## `{command}`\n"));
        assert_eq!(has_json, is_documented, "{command}");
        let plain = [
            "admission serve",
            "policy show",
            "policy schema",
            "blob policy show",
            "completion",
        ];
        assert_eq!(has_json, !plain.contains(&&*command), "{command}");
    }
    assert!(checked >= 33, "{checked}");
}

/// Every command that is no group.
fn commands(machine: &Machine) -> Vec<String> {
    let mut commands = Vec::new();
    let mut groups = vec![String::new()];
    while let Some(group) = groups.pop() {
        let ran = machine.shell(&format!("hardsign __complete -- {group} ''"));
        let text = String::from_utf8(ran.stdout).unwrap();
        let inner = text.lines().filter_map(|line| line.split_once('\t'));
        for (name, _) in inner.filter(|(name, _)| *name != "help" && !name.starts_with('-')) {
            let verb = format!("{group} {name}").trim().to_owned();
            let ran = machine.shell(&format!("hardsign {verb} --help"));
            let help = String::from_utf8(ran.stdout).unwrap();
            match help.contains("\nCommands:\n") {
                true => groups.push(verb),
                false => commands.push(verb),
            }
        }
    }
    assert!(commands.len() > 30, "{commands:?}");
    commands
}

/// CLI-19: the help of each command shows how it is used, and a page of the manual says the same.
#[test]
fn cli_19_help_has_examples() {
    let machine = Machine::new();
    assert!(machine.shell("hardsign man pages").status.success());
    for command in commands(&machine) {
        let ran = machine.shell(&format!("hardsign {command} --help"));
        let help = String::from_utf8(ran.stdout).unwrap();
        let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_default();
        assert!(
            examples.contains(&format!("hardsign {command}")),
            "{command}: {help}"
        );
        let page = format!("pages/hardsign-{}.1", command.replace(' ', "-"));
        let page = fs::read_to_string(machine.path().join(page)).unwrap();
        assert!(page.contains(".SH EXAMPLES"), "{command}");
    }
}

fn same_members(documented: &Value, printed: &Value, place: &str) {
    match (documented, printed) {
        (Value::Object(documented), Value::Object(printed)) => {
            // Metadata and logged failures have whatever members there are.
            if ["userMetadata", "userDefinedAttributes", "logged"]
                .iter()
                .any(|m| place.ends_with(m))
            {
                return;
            }
            let names = |object: &serde_json::Map<String, Value>| -> Vec<String> {
                object.keys().cloned().collect()
            };
            assert_eq!(names(documented), names(printed), "{place}");
            for (name, value) in documented {
                same_members(value, &printed[name], &format!("{place}.{name}"));
            }
        }
        (Value::Array(documented), Value::Array(printed)) => {
            if let (Some(documented), Some(printed)) = (documented.first(), printed.first()) {
                same_members(documented, printed, &format!("{place}[]"));
            }
        }
        _ => {
            let kind = |value: &Value| std::mem::discriminant(value);
            let null = documented.is_null() || printed.is_null();
            assert!(
                null || kind(documented) == kind(printed),
                "{place}: {printed}"
            );
        }
    }
}

/// `docs/exit-codes.md`: each code, and a command line that ends with it.
#[test]
fn exit_codes_are_those_documented() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/exit-codes.md");
    let text = fs::read_to_string(document).unwrap();
    let machine = Machine::new();
    for (code, line) in [
        (
            0,
            "hardsign blob verify -s artifact.bin.jws.sig artifact.bin",
        ),
        (0, "hardsign"),
        (0, "hardsign key"),
        (1, "hardsign blob verify -s expired.jws.sig artifact.bin"),
        (1, "hardsign sign --key nosuch --oci-layout layout:v1"),
        (2, "hardsign verify"),
        (2, "hardsign verify --nosuch x"),
        (2, "hardsign sing x"),
        (
            3,
            "hardsign sign --plugin nosuch --id x --oci-layout layout:v1",
        ),
        (3, "hardsign verify 127.0.0.1:9/none:v1"),
    ] {
        let ran = machine.shell(line);
        let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert_eq!(ran.status.code(), Some(code), "{line}: {printed}");
        assert!(
            text.contains(&format!("| {code} |")),
            "{code} is not documented"
        );
    }
}

/// A failed `blob sign` leaves no file, and neither does an interrupted one (CLI-16).
#[test]
fn blob_sign_leaves_no_partial_signature() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo; mkdir out");
    for line in [
        "hardsign blob sign --signature-directory out artifact.bin nosuch config",
        "chmod 0 root.crt; hardsign blob sign --signature-directory out nosuch",
        "hardsign blob sign --key demo --plugin-config nosuch=1 --signature-directory out nosuch",
    ] {
        assert!(!machine.shell(line).status.success(), "{line}");
    }
    interrupt(
        &machine,
        "hardsign blob sign -s out/zero.jws.sig - < /dev/zero",
    );
    let mut left: Vec<_> = fs::read_dir(machine.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["artifact.bin.jws.sig"]);
}

/// Ctrl-C ends the verification of a file without end (CLI-16).
#[test]
fn cli_16_blob_verify_is_interrupted() {
    let machine = Machine::new();
    interrupt(
        &machine,
        "hardsign blob verify -s artifact.bin.jws.sig - < /dev/zero",
    );
}

/// Starts what would never end, interrupts it, and waits until it has ended with exit code 1.
fn interrupt(machine: &Machine, line: &str) {
    let mut endless = machine
        .command("sh")
        .args(["-c", &format!("umask 077; exec {line}")])
        .spawn()
        .unwrap();
    let id = endless.id().to_string();
    // Until it listens, the signal itself would end it.
    let read = |file| fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
    let listens = || {
        let status = read("status");
        let mut caught = status
            .lines()
            .filter_map(|line| line.strip_prefix("SigCgt:"));
        let catches = |set: &str| u64::from_str_radix(set.trim(), 16).unwrap() & 0b10 != 0;
        read("comm").trim() == "hardsign" && caught.any(catches)
    };
    let begun = Instant::now();
    while !listens() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{line}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut kill = machine.command("kill");
    assert!(kill.args(["-INT", &id]).status().unwrap().success());
    assert_eq!(endless.wait().unwrap().code(), Some(1), "{line}");
}
