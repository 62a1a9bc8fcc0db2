//! What a person sees on a terminal: progress, colours, notices of plugins; and that there is none
//! of it where nobody watches (CLI-21).

#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a failure of the harness is a failed test"
)]

use std::fs::{self, File};
use std::process::{Command, Stdio};

use hardsign_test_support::terminal::{Terminal, screen};

mod support;

use support::Machine;

/// A machine with a key, a large file without content, and the plugin `rude`.
fn machine() -> Machine {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo");
    for (name, size) in [("large.iso", 300 << 20), ("small.bin", 1)] {
        let file = File::create(machine.path().join(name)).unwrap();
        file.set_len(size).unwrap();
    }
    let plugins = machine.path().join("config/plugins/rude");
    fs::create_dir_all(&plugins).unwrap();
    let built =
        std::path::Path::new(env!("CARGO_BIN_EXE_hardsign")).with_file_name("notation-rude");
    fs::hard_link(&built, plugins.join("notation-rude"))
        .unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    machine
}

fn hardsign(machine: &Machine, line: &str) -> Command {
    let mut command = machine.command("sh");
    command
        .args(["-c", &format!("umask 077; exec hardsign {line}")])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    command
}

/// What is shown on a terminal while a line runs, and the exit code.
fn shown(columns: u16, command: &Command) -> (String, i32) {
    let terminal = Terminal::new(columns);
    let mut child = terminal.run(command);
    let text = terminal.all();
    (text, child.wait().unwrap().code().unwrap())
}

#[test]
fn large_files_and_many_artifacts_have_a_bar() {
    let machine = machine();
    let (text, code) = shown(100, &hardsign(&machine, "blob sign large.iso"));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("reading large.iso ["), "{text:?}");
    assert!(text.contains("/300.00 MiB "), "{text:?}");
    assert_eq!(
        screen(&text),
        [
            "Successfully signed large.iso",
            " Signature file written to large.iso.jws.sig",
            ""
        ]
    );

    let (text, code) = shown(
        100,
        &hardsign(
            &machine,
            "blob sign --signature-directory . artifact.bin small.bin root.crt --force",
        ),
    );
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("signing ["), "{text:?}");
    assert!(text.contains("] 0/3 "), "{text:?}");
    let lines = screen(&text);
    // One of the three has a signature file already.
    assert_eq!(lines.len(), 8, "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.contains("signing [")),
        "{lines:?}"
    );

    let reference =
        "layout@sha256:87e72933805e382b4b445fb6ad3427ee306510d9476ed27c9736450e36709058";
    let many = [reference; 3].join(" ");
    let line = format!("verify --oci-layout --scope registry.example.com/app {many}");
    let (text, code) = shown(100, &hardsign(&machine, &line));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("verifying ["), "{text:?}");
    assert!(!screen(&text).join("\n").contains("verifying ["));
}

/// Work of unknown length is told of once it takes long.
#[test]
fn waiting_is_told_of() {
    let machine = machine();
    let terminal = Terminal::new(80);
    machine.shell("mkfifo pipe");
    let line = hardsign(&machine, "blob sign -s piped.jws.sig - < pipe");
    let mut child = terminal.run(&line);
    let mut pipe = File::options();
    let pipe = pipe.write(true).open(machine.path().join("pipe")).unwrap();
    terminal.wait_for("told of", |text| text.contains("reading - "));
    drop(pipe);
    let text = terminal.all();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
    assert_eq!(
        screen(&text),
        [
            "Successfully signed -",
            " Signature file written to piped.jws.sig",
            ""
        ]
    );
}

#[test]
fn no_width_makes_a_bar_wrap() {
    let machine = machine();
    for columns in [10, 20, 40, 79] {
        let (text, code) = shown(columns, &hardsign(&machine, "blob sign --force large.iso"));
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("reading"), "{columns}: {text:?}");
        assert!(!text.contains("\x1b[1A"), "{columns}: {text:?}");
        for drawn in text.split(['\r', '\n']) {
            let drawn = drawn.replace("\x1b[2K", "");
            if drawn.starts_with("reading") {
                assert!(drawn.len() <= columns.into(), "{columns}: {drawn:?}");
            }
        }
    }
}

/// Nothing of it in a pipe, nor on a terminal that can't move its cursor.
#[test]
fn cli_21_no_progress_where_nobody_watches() {
    let machine = machine();
    let terminal = Terminal::new(80);
    let line = hardsign(&machine, "blob sign large.iso 2> errors");
    let mut child = terminal.run(&line);
    let text = terminal.all();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
    assert!(!text.contains(['\x1b', '[']), "{text:?}");
    assert_eq!(
        fs::read_to_string(machine.path().join("errors")).unwrap(),
        ""
    );

    // Standard output is never written to, wherever it leads.
    let (text, code) = shown(80, &hardsign(&machine, "blob sign --force large.iso > out"));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("reading large.iso"), "{text:?}");
    assert_eq!(
        fs::read_to_string(machine.path().join("out")).unwrap(),
        "Successfully signed large.iso\n Signature file written to large.iso.jws.sig\n"
    );

    let mut dumb = hardsign(&machine, "blob sign --force large.iso nosuch");
    dumb.env("TERM", "dumb");
    let (text, code) = shown(80, &dumb);
    assert_eq!(code, 1, "{text}");
    assert!(
        !text.contains('\x1b') && !text.contains("reading large"),
        "{text:?}"
    );
    assert!(
        text.contains("Error: nosuch: failed to read nosuch"),
        "{text:?}"
    );
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let machine = machine();
    let failing = "blob verify -s expired.jws.sig artifact.bin";
    let (text, _) = shown(80, &hardsign(&machine, failing));
    assert!(text.contains("\x1b[31mError:\x1b[0m "), "{text:?}");
    let good = "blob verify -s artifact.bin.jws.sig artifact.bin";
    let (text, _) = shown(80, &hardsign(&machine, good));
    assert!(
        text.contains("\x1b[32mSuccessfully verified signature\x1b[0m for artifact.bin"),
        "{text:?}"
    );
    let (text, _) = shown(80, &hardsign(&machine, "doctor"));
    assert!(text.contains("\x1b[32mok  \x1b[0m  "), "{text:?}");

    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")] {
        for line in [failing, good, "doctor", "verify"] {
            let mut plain = hardsign(&machine, line);
            let (text, _) = shown(80, plain.env(name, value));
            assert!(!text.contains("\x1b[3"), "{name}={value} {line}: {text:?}");
        }
    }
    // Each stream for itself.
    let (text, _) = shown(80, &hardsign(&machine, &format!("{failing} 2>&1 | cat")));
    assert!(!text.contains('\x1b'), "{text:?}");
    let (text, _) = shown(80, &hardsign(&machine, &format!("{good} > out")));
    assert!(!text.contains('\x1b'), "{text:?}");
    let out = fs::read_to_string(machine.path().join("out")).unwrap();
    assert!(out.starts_with("Successfully verified signature for artifact.bin\n"));
}

/// Headings of help are bold on a terminal that wants colours, and nothing else is; without the marks it is what a
/// pipe gets.
#[test]
fn headings_of_help_stand_out() {
    let machine = machine();
    for (line, headings) in [
        (
            "--help",
            vec![
                "Usage:",
                "Sign and verify:",
                "Trust:",
                "Keys:",
                "Registries:",
                "Clusters:",
                "Set-up:",
                "Options:",
            ],
        ),
        (
            "key --help",
            vec!["Usage:", "Commands:", "Options:", "Examples:"],
        ),
        (
            "login --help",
            vec!["Usage:", "Arguments:", "Options:", "Examples:"],
        ),
        (
            "help sign",
            vec!["Usage:", "Arguments:", "Options:", "Examples:"],
        ),
    ] {
        let (text, code) = shown(80, &hardsign(&machine, line));
        assert_eq!(code, 0, "{text}");
        let bold = text.split("\x1b[1m").skip(1);
        let bold: Vec<_> = bold
            .map(|rest| rest.split_once("\x1b[0m").unwrap().0)
            .collect();
        assert_eq!(bold, headings, "{line}: {text:?}");
        let plain = text
            .replace("\x1b[1m", "")
            .replace("\x1b[0m", "")
            .replace('\r', "");
        let piped = machine.shell(&format!("hardsign {line} | cat"));
        assert_eq!(plain, String::from_utf8(piped.stdout).unwrap(), "{line}");

        for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let (text, _) = shown(80, hardsign(&machine, line).env(name, value));
            assert_eq!(text.replace('\r', ""), plain, "{name}={value} {line}");
        }
        let (text, _) = shown(80, &hardsign(&machine, &format!("{line} | cat")));
        assert_eq!(text.replace('\r', ""), plain, "{line} | cat");
    }
}

/// A plugin's notice stands on a line of its own, bar or no bar.
#[test]
fn a_touch_is_asked_for_on_a_line_of_its_own() {
    let machine = machine();
    let line = "blob sign --plugin rude --id rude:touch --force artifact.bin small.bin root.crt";
    let (text, code) = shown(100, &hardsign(&machine, line));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("signing ["), "{text:?}");
    let lines = screen(&text);
    let notices = lines.iter().filter(|line| line.contains("Touch the key"));
    for notice in notices.clone() {
        assert!(!notice.contains('['), "{lines:?}");
    }
    assert_eq!(notices.count(), 3, "{lines:?}");

    let mut piped = hardsign(&machine, line);
    let ran = piped.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(errors.matches("Touch the key").count(), 3, "{errors}");
    assert!(!errors.contains(['\r', '\x1b']), "{errors:?}");
}

/// While a plugin asks on the terminal the bar is off it, and an interrupt leaves the terminal clean.
#[test]
fn the_bar_is_off_while_a_plugin_asks() {
    let machine = machine();
    let line = "blob sign -d --plugin rude --id rude:prompting-forever --plugin-config after=1 \
                --force artifact.bin small.bin root.crt";
    let terminal = Terminal::new(100);
    let mut child = terminal.run(&hardsign(&machine, line));
    let asked = "asks on the terminal\r\n";
    terminal.wait_for("asked", |text| text.contains(asked));
    terminal.types("\x03");
    let text = terminal.all();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{text}");
    assert!(text.contains("signing ["), "{text:?}");
    let (_, after) = text.split_once(asked).unwrap();
    assert!(!after.contains("signing ["), "{after:?}");
    let lines = screen(&text);
    assert_eq!(lines.last().unwrap(), "", "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.contains("signing [")),
        "{lines:?}"
    );
}

/// CLI-16: Ctrl-C where nothing comes: at a pipe, at a named pipe that nobody opens, at a question
/// while a signer is open, and at a question after the registry was asked.
#[test]
fn cli_16_an_interrupt_is_heard_while_nothing_comes() {
    let machine = machine();
    machine.shell("mkfifo pipe; cp artifact.bin.jws.sig kept");
    let artifact = "layout@sha256:87e72933805e382b4b445fb6ad3427ee306510d9476ed27c9736450e36709058";
    let signature = "sha256:55959d0008d916a063b563a2ccc20537c686ef2709d065ad2f3bfad285cd0ccb";
    let delete = format!("delete --oci-layout {artifact} {signature}");
    for (line, wanted) in [
        ("blob verify -s artifact.bin.jws.sig - <> pipe", "verifying"),
        ("blob sign -s piped.jws.sig - <> pipe", "reading - "),
        ("blob sign pipe", "signing"),
        ("blob sign artifact.bin", "[y/N] "),
        (&delete, "[y/N] "),
    ] {
        let terminal = Terminal::new(100);
        let mut child = terminal.run(&hardsign(&machine, line));
        terminal.wait_for(line, |text| text.contains(wanted));
        terminal.types("\x03");
        let text = terminal.all();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{line}: {text}");
        let lines = screen(&text);
        let told = lines
            .iter()
            .any(|line| line.starts_with("Error: ") && line.ends_with("interrupted"));
        assert!(told && lines.last().unwrap() == "", "{line}: {lines:?}");
    }
    let kept = machine.shell(&format!(
        "cmp artifact.bin.jws.sig kept && ! ls *pipe*.sig && hardsign list --oci-layout {artifact} | grep {signature}"
    ));
    assert!(kept.status.success(), "{kept:?}");
}

/// The widths that people have, and one that few have.
const WIDTHS: [u16; 2] = [80, 200];

/// What stands before a value on a line of its own, at most.
const NAMES: usize = 20;

/// What is shown of a line on a terminal: each line of it no wider than the terminal, but for words that
/// are wider by themselves, which are never cut.
fn fitting(machine: &Machine, columns: u16, line: &str) -> String {
    let (text, _) = shown(columns, hardsign(machine, line).env("NO_COLOR", "1"));
    for line in text.lines() {
        let longest = line
            .split_whitespace()
            .map(|word| word.chars().count())
            .max();
        let width = line.trim_end().chars().count();
        assert!(
            width <= columns.into() || longest.unwrap_or(0) + NAMES > columns.into(),
            "{columns}: {line:?} in\n{text}"
        );
    }
    text.replace('\r', "")
}

/// CLI-15: tables and the findings of `doctor` fit the terminal; ids and paths are whole at any width,
/// and a pipe gets what scripts know.
#[test]
fn cli_15_tables_fit_the_terminal() {
    let machine = machine();
    let id = format!("pkcs11:token=release;object={}", "k".repeat(90));
    machine.shell(&format!("hardsign key add --plugin pkcs11 --id '{id}' hsm"));
    machine.shell("hardsign plugin install --file wabbit/notation-wabbit");
    let digest = "a".repeat(64);
    let metadata = format!(
        "hardsign blob sign --force -m digest={digest} -m note='some words that are long enough to be wrapped at eighty columns, and not at two hundred' artifact.bin"
    );
    machine.shell(&metadata);
    let verify = "blob verify --policy policy.json -s artifact.bin.jws.sig artifact.bin";
    machine.shell("sed 's/ca:vectors/ca:demo/; s/x509.subject: [^\"]*/*/' config/trustpolicy.blob.json > policy.json");
    for columns in WIDTHS {
        for line in ["cert list", "plugin list --all", "key list", "policy show"] {
            let text = fitting(&machine, columns, line);
            assert!(!text.contains("Error:"), "{text}");
        }
        // `doctor` finds fault with the key and says so.
        let text = fitting(&machine, columns, "doctor");
        assert!(text.contains("signing key demo"), "{text}");
        let text = fitting(&machine, columns, "key list");
        let listed = text.split_whitespace().any(|word| word == id);
        assert!(listed, "{columns}: {text}");
        assert!(
            text.contains("config/localkeys/demo.key"),
            "{columns}: {text}"
        );
        // What is said of the signature above the table has lines of its own.
        let (text, _) = shown(columns, &hardsign(&machine, verify));
        assert!(text.contains(&digest), "{columns}: {text}");
    }
    // One line a plugin where there is room for it; below each other where there is not.
    let wide = fitting(&machine, 200, "plugin list");
    assert_eq!(wide.lines().filter(|l| l.starts_with("wabbit ")).count(), 1);
    let narrow = fitting(&machine, 80, "plugin list");
    assert!(narrow.lines().count() > wide.lines().count(), "{narrow}");

    let piped = machine.shell("hardsign key list | cat");
    let piped = String::from_utf8(piped.stdout).unwrap();
    let widths: Vec<_> = piped.lines().map(str::len).collect();
    assert_eq!(piped.lines().count(), 3, "{piped}");
    assert!(widths.iter().all(|width| *width == widths[0]), "{piped}");
}

/// Typing mistakes, one for each kind of name, and what does nothing: at any width the answer is the same,
/// and no command says nothing and exits with 0.
#[test]
fn mistakes_and_nothing_read_the_same_at_any_width() {
    let machine = machine();
    machine.shell("hardsign plugin uninstall --yes rude; mkdir nothing");
    let lines = [
        ("verfy artifact", 2, "did you mean `hardsign verify`?"),
        ("key ad x", 2, "did you mean `hardsign key add`?"),
        (
            "sign --plian-http x",
            2,
            "did you mean --insecure-registry?",
        ),
        ("cert list --outptu json", 2, "did you mean --output?"),
        ("key list --output jsno", 2, "did you mean json?"),
        (
            "blob sign --signature-format jwss artifact.bin",
            2,
            "did you mean jws?",
        ),
        (
            "cert add --type cas --store x root.crt",
            2,
            "did you mean ca?",
        ),
        (
            "cert list --type signingauthorty",
            2,
            "did you mean signingAuthority?",
        ),
        ("blob sign --key dmeo artifact.bin", 1, "did you mean demo?"),
        ("key list --plugin pkcs12", 3, "did you mean pkcs11?"),
        (
            "key list --plugin pkcs11 --plugin-config modul-path=/m.so",
            1,
            "did you mean module-path?",
        ),
        (
            "cert show --type ca --store vectors root.cert",
            1,
            "did you mean root.crt?",
        ),
        (
            "cert show --type ca --store vectros root.crt",
            1,
            "did you mean vectors?",
        ),
        ("cert list --store vectros", 0, "did you mean vectors?"),
        (
            "policy add-signer x --cert root.crt --yes --statement vectro",
            1,
            "",
        ),
        (
            "blob policy explain --policy-name vectros",
            1,
            "did you mean vectors?",
        ),
        ("completion bahs", 2, "did you mean bash?"),
        ("cert list --type tsa", 0, "There are no certificates"),
        ("key update demo", 2, "did not take effect"),
        ("key delete", 2, "missing key name"),
        (
            "cert delete --type ca --store vectors --all < /dev/null",
            1,
            "was not deleted",
        ),
        ("sign - < /dev/null", 2, "no reference on standard input"),
        ("blob sign --from-file /dev/null", 2, "is empty"),
    ];
    for (line, code, part) in lines {
        let answers = WIDTHS.map(|columns| {
            let (text, ended) = shown(columns, hardsign(&machine, line).env("NO_COLOR", "1"));
            assert_eq!(ended, code, "{columns}: {line}: {text}");
            // Long ones go on below themselves.
            let words: Vec<_> = text.split_whitespace().collect();
            words.join(" ")
        });
        assert!(answers[0].contains(part), "{line}: {}", answers[0]);
        assert!(!answers[0].trim().is_empty(), "{line}");
        assert_eq!(answers[0], answers[1], "{line}");
    }
}

/// Errors and hints that are longer than a line of the terminal are wrapped between words; digests and the
/// commands in backquotes stay whole, since they are copied. Nothing is wrapped in a pipe.
#[test]
fn long_errors_are_wrapped() {
    let machine = machine();
    machine.shell("sed -i 's/OU=Release/OU=Other/' config/trustpolicy.*.json");
    let layout = "layout@sha256:87e72933805e382b4b445fb6ad3427ee306510d9476ed27c9736450e36709058";
    for line in [
        "blob verify -s artifact.bin.jws.sig artifact.bin",
        &format!("verify --scope registry.example.com/app --oci-layout {layout}"),
    ] {
        let piped = machine.shell(&format!("COLUMNS=80 hardsign {line}"));
        let piped = String::from_utf8(piped.stdout).unwrap();
        let hint = piped.lines().find(|l| l.starts_with("Hint: ")).unwrap();
        let commands: Vec<_> = hint.split('`').skip(1).step_by(2).collect();
        assert_eq!(commands.len(), 2, "{hint}");
        for columns in WIDTHS {
            let mut command = hardsign(&machine, line);
            let (text, code) = shown(columns, command.env("NO_COLOR", "1").env_remove("COLUMNS"));
            assert_eq!(code, 1, "{text}");
            let text = text.replace('\r', "");
            for command in &commands {
                assert!(text.contains(&format!("`{command}`")), "{command}: {text}");
            }
            for line in text.lines() {
                let is_one_word = !line.trim().contains(' ') || line.trim().starts_with('`');
                assert!(
                    line.chars().count() <= columns.into() || is_one_word,
                    "{line}"
                );
            }
            let words = |text: &str| {
                let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
                words.join(" ")
            };
            assert!(words(&text).contains(&words(hint)), "{hint}{text}");
        }
    }
}
