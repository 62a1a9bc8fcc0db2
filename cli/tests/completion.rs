//! Completion in real shells: the script is loaded, a line and a tab are typed, and what stands
//! there then is looked at. PowerShell is not among them: it is no part of Debian.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "a failure of the harness is a failed test"
)]

use hardsign_test_support::terminal::Terminal;

mod support;

use support::Machine;

/// A line that is typed, and what stands there after the tab, without a final blank.
type Case = (&'static str, &'static str);

/// What every shell completes, none of it with characters that need quotes.
const PLAIN: [Case; 27] = [
    ("hardsign ins", "hardsign inspect"),
    ("hardsign blob ve", "hardsign blob verify"),
    ("hardsign blob policy ex", "hardsign blob policy explain"),
    ("hardsign sign --exp", "hardsign sign --expiry"),
    ("hardsign sign --oci-l", "hardsign sign --oci-layout"),
    ("hardsign verify --sco", "hardsign verify --scope"),
    ("hardsign sign --key re", "hardsign sign --key release"),
    ("hardsign sign -k st", "hardsign sign -k staging"),
    ("hardsign sign --key=re", "hardsign sign --key=release"),
    (
        "hardsign key delete release st",
        "hardsign key delete release staging",
    ),
    ("hardsign sign --plugin lo", "hardsign sign --plugin local"),
    (
        "hardsign certificate show --type s",
        "hardsign certificate show --type signingAuthority",
    ),
    (
        "hardsign cert show --type ca --store ",
        "hardsign cert show --type ca --store vectors",
    ),
    (
        "hardsign cert show --type ca --store vectors ",
        "hardsign cert show --type ca --store vectors root.crt",
    ),
    (
        "hardsign cert show --type tsa --store ",
        "hardsign cert show --type tsa --store",
    ),
    (
        "hardsign blob policy init --trust-store ca:ve",
        "hardsign blob policy init --trust-store ca:vectors",
    ),
    (
        "hardsign blob verify --policy-name ",
        "hardsign blob verify --policy-name vectors",
    ),
    (
        "hardsign sign --signature-format c",
        "hardsign sign --signature-format cose",
    ),
    (
        "hardsign blob verify --signature expired.j",
        "hardsign blob verify --signature expired.jws.sig",
    ),
    (
        "hardsign verify --policy=config/trustpolicy.o",
        "hardsign verify --policy=config/trustpolicy.oci.json",
    ),
    ("hardsign blob sign root", "hardsign blob sign root.crt"),
    (
        "hardsign verify --oci-layout lay",
        "hardsign verify --oci-layout layout/",
    ),
    ("hardsign completion z", "hardsign completion zsh"),
    (
        "hardsign plugin inspect pk",
        "hardsign plugin inspect pkcs11",
    ),
    ("hardsign plugin trust ", "hardsign plugin trust wabbit"),
    ("hardsign plugin rm w", "hardsign plugin rm wabbit"),
    (
        "hardsign plugin install --file wabbit/no",
        "hardsign plugin install --file wabbit/notation-wabbit",
    ),
];

/// Names that mean something to the shell (SEC-29), as bash and zsh complete them.
const QUOTED: [Case; 8] = [
    (
        "hardsign sign --key my",
        r"hardsign sign --key my\ own\ key",
    ),
    (
        r"hardsign sign --key my\ o",
        r"hardsign sign --key my\ own\ key",
    ),
    (
        "hardsign sign --key 'my o",
        "hardsign sign --key 'my own key'",
    ),
    (
        "hardsign sign --key \"my o",
        "hardsign sign --key \"my own key\"",
    ),
    (
        "hardsign sign --key=my",
        r"hardsign sign --key=my\ own\ key",
    ),
    (
        "hardsign sign --key it",
        r"hardsign sign --key it\'s\ \$\(touch\ broken\)",
    ),
    (
        r"hardsign key delete my\ own\ key rel",
        r"hardsign key delete my\ own\ key release",
    ),
    ("hardsign sign --key bad", "hardsign sign --key bad"),
];

fn machine() -> Machine {
    let machine = Machine::new();
    machine.shell("hardsign plugin install --file wabbit/notation-wabbit");
    for name in ["release", "staging", "my own key", "it's $(touch broken)"] {
        let line = format!(
            "hardsign key add --plugin local --id x \"{}\"",
            name.replace('$', "\\$")
        );
        assert!(machine.shell(&line).status.success());
    }
    machine.shell(r#"hardsign key add --plugin local --id x "$(printf 'bad\033[2J')""#);
    machine
}

/// A shell in a terminal, in which Ctrl-G shows the line between `<<` and `>>` and empties it.
struct Shell {
    terminal: Terminal,
    child: std::process::Child,
    asked: usize,
}

impl Shell {
    fn start(machine: &Machine, program: &str, arguments: &[&str], setup: &str) -> Self {
        let terminal = Terminal::new(500);
        let mut command = machine.command(program);
        command
            .args(arguments)
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8");
        let child = terminal.run(&command);
        terminal.types(&format!("{setup}; echo re''ady\n"));
        terminal.wait_for("ready", |text| text.contains("ready"));
        Self {
            terminal,
            child,
            asked: 0,
        }
    }

    fn completed(&mut self, typed: &str) -> String {
        self.terminal.types(&format!("{typed}\t\x07"));
        self.asked += 1;
        let asked = self.asked;
        let shown = self
            .terminal
            .wait_for(typed, |text| text.matches(">>").count() >= asked);
        let last = shown.rsplit("<<").next().unwrap();
        last.split(">>").next().unwrap().trim_end().to_owned()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.terminal.types("\x04");
        if !std::thread::panicking() {
            self.child.wait().unwrap();
        }
    }
}

fn bash(machine: &Machine) -> Shell {
    Shell::start(
        machine,
        "bash",
        &["--norc", "--noprofile", "-i"],
        r#"bind 'set bell-style none'; HISTFILE=; bind -x '"\C-g": printf "<%s%s>%s\n" "<" "$READLINE_LINE" ">"; READLINE_LINE='; source <(hardsign completion bash)"#,
    )
}

fn zsh(machine: &Machine) -> Shell {
    Shell::start(
        machine,
        "zsh",
        &["-f", "-i"],
        r#"unsetopt beep; autoload -U compinit; compinit -u -D; shown() { print -r -- "<""<$BUFFER>"">"; BUFFER= }; zle -N shown; bindkey '^G' shown; bindkey '^I' complete-word; source <(hardsign completion zsh)"#,
    )
}

#[test]
fn bash_completes() {
    let machine = machine();
    let mut shell = bash(&machine);
    let more = [
        (
            r"hardsign sign --key=my\ o",
            r"hardsign sign --key=my\ own\ key",
        ),
        (
            "hardsign sign --key \"it",
            "hardsign sign --key \"it's \\$(touch broken)\"",
        ),
    ];
    completes(&mut shell, &more);
    assert!(!machine.path().join("broken").exists());
}

#[test]
fn zsh_completes() {
    let machine = machine();
    completes(&mut zsh(&machine), &[]);
    assert!(!machine.path().join("broken").exists());
}

fn completes(shell: &mut Shell, more: &[Case]) {
    for (typed, expected) in PLAIN.iter().chain(&QUOTED).chain(more) {
        assert_eq!(shell.completed(typed), *expected);
    }
}

/// What fish offers, asked of its own engine.
fn fish(machine: &Machine, line: &str) -> Vec<String> {
    let ran = machine
        .command("fish")
        .args([
            "--no-config",
            "-c",
            "hardsign completion fish | source; complete -C \"$argv[1]\"",
            line,
        ])
        .output()
        .expect("fish is needed: install fish");
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(errors.is_empty(), "{line}: {errors}");
    let text = String::from_utf8(ran.stdout).unwrap();
    text.lines()
        .map(|line| line.split('\t').next().unwrap().to_owned())
        .collect()
}

#[test]
fn fish_completes() {
    let machine = machine();
    for (typed, expected) in PLAIN {
        let word = expected.split(' ').next_back().unwrap();
        let found = fish(&machine, typed);
        if typed.trim_end() == expected {
            assert!(found.is_empty(), "{typed}: {found:?}");
        } else {
            assert_eq!(found, [word], "{typed}");
        }
    }
    for (typed, expected) in [
        ("hardsign sign --key my", "my own key"),
        (r"hardsign sign --key my\ o", "my own key"),
        ("hardsign sign --key 'my o", "my own key"),
        ("hardsign sign --key it", "it's $(touch broken)"),
        (r"hardsign key delete my\ own\ key rel", "release"),
    ] {
        assert_eq!(fish(&machine, typed), [expected], "{typed}");
    }
    assert!(fish(&machine, "hardsign sign --key bad").is_empty());
    assert!(!machine.path().join("broken").exists());
}
