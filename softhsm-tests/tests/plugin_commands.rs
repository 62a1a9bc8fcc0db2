//! `plugin`: the same command line under `hardsign` and under the real `notation` 1.3.2 gives the
//! same output, error, files and modes.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use softhsm_tests::package::{Member, member, script, tar_gz, with_mode, zip};
use softhsm_tests::pair::Pair;
use softhsm_tests::tree::{Tree, tree};
use softhsm_tests::workbench::Workbench;

/// A file on both machines that may be executed.
fn executable(pair: &Pair, name: &str, content: &[u8]) {
    pair.file(name, content);
    for bench in [&pair.hardsign, &pair.notation] {
        chmod(&bench.path().join(name), 0o755);
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// All lines alike, where either tool speaks of itself by its own name. No hint follows an error of
/// these (CLI-02): what `both` leaves out is looked at too.
fn all_alike(pair: &Pair, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (line, input) = line.split_once(" <<< ").unwrap_or((line, ""));
        pair.alike(line, &input.replace("\\n", "\n"), |text| {
            without_temporary(text).replace("`hardsign plugin", "`notation plugin")
        });
    }
}

/// Without the directory that the reference unpacks into.
fn without_temporary(text: &str) -> String {
    match text.split_once("/tmp/notation-plugin") {
        Some((before, rest)) => {
            let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}{}", rest.trim_start_matches('/'))
        }
        None => text.to_owned(),
    }
}

/// The installed files with their modes and contents.
fn installed(bench: &Workbench) -> Tree {
    tree(&bench.config().join("plugins"))
}

fn same_files(pair: &Pair) {
    assert_eq!(installed(&pair.hardsign), installed(&pair.notation));
}

/// CLI-91, CLI-92, CLI-06, CLI-08, PLI-05, PLI-12: what is wrong with a call is told in the same
/// words.
#[test]
fn faulty_calls_are_refused_as_notation_does() {
    let pair = Pair::new();
    pair.file("a.txt", b"hello");
    pair.file("notation-plain", b"hello");
    for bench in [&pair.hardsign, &pair.notation] {
        fs::create_dir(bench.path().join("dir")).unwrap();
    }
    all_alike(
        &pair,
        "plugin install
        plugin install --file
        plugin add --file
        plugin install --url
        plugin install .
        plugin install a b
        plugin install --file a b
        plugin install --file --url .
        plugin install --file --url
        plugin install --file=false .
        plugin install --file=maybe .
        plugin install --nosuch .
        plugin install --sha256sum
        plugin install --file nosuch
        plugin install --file ''
        plugin install --file dir
        plugin install --file a.txt
        plugin install --file notation-plain
        plugin install --file a.txt --sha256sum abcd
        plugin install --url x --sha256sum abcd
        plugin install --url http://localhost --sha256sum abcd
        plugin install --url HTTP://localhost --sha256sum abcd
        plugin install --url ftp://localhost --sha256sum abcd
        plugin install --url https://localhost:1/x
        plugin install --url https://localhost:1/x --sha256sum ''
        plugin uninstall
        plugin remove
        plugin rm a b
        plugin uninstall nosuch
        plugin uninstall nosuch -y",
    );
    same_files(&pair);
    // SEC-29, CLI-02: not a word more.
    let refused = pair.hardsign.hardsign(["plugin", "uninstall", "nosuch"]);
    assert_eq!(
        refused.stderr,
        "Error: unable to find plugin nosuch.\nTo view a list of installed plugins, use `hardsign plugin list`\n"
    );
}

/// CLI-02: no hint follows what scripts compare.
#[test]
fn cli_02_no_hint_where_the_whole_error_is_compared() {
    let bench = Workbench::new();
    let write = |name: &str, content: &[u8]| {
        let path = bench.path().join(name);
        fs::write(&path, content).unwrap();
        chmod(&path, 0o755);
    };
    write("notation-good", &script("good", "1.0.0"));
    write("slip.zip", &zip(&[member("../evil", "x")]));
    bench.hardsign_ok(["plugin", "install", "--file", "notation-good"]);
    for arguments in [
        &["plugin", "install"][..],
        &["plugin", "install", "."],
        &["plugin", "install", "--file", "--url", "."],
        &["plugin", "install", "--file", "slip.zip"],
        &["plugin", "install", "--file", "notation-good"],
        &[
            "plugin",
            "install",
            "--file",
            "notation-good",
            "--sha256sum",
            "00",
        ],
        &["plugin", "install", "--url", "https://localhost:1/x"],
        &[
            "plugin",
            "install",
            "--url",
            "http://localhost:1/x",
            "--sha256sum",
            "00",
        ],
        &["plugin", "uninstall", "nosuch"],
    ] {
        let refused = bench.hardsign(arguments);
        assert_ne!(refused.code, Some(0), "{arguments:?}");
        assert!(refused.stderr.starts_with("Error: "), "{arguments:?}");
        assert!(
            !refused.stderr.contains("Hint"),
            "{arguments:?}: {}",
            refused.stderr
        );
        assert_eq!(refused.stdout, "", "{arguments:?}");
    }
}

/// PLI-04, PLI-06, PLI-12 to PLI-16, PLI-18, PLI-20, PLI-22, CLI-13, CLI-91, CLI-93: a plugin's life
/// from a single file.
#[test]
fn single_files_live_as_under_notation() {
    let pair = Pair::new();
    for version in ["1.0.0", "1.1.0-rc.1", "1.1.0", "one"] {
        fs::create_dir(pair.hardsign.path().join(version)).unwrap();
        fs::create_dir(pair.notation.path().join(version)).unwrap();
        executable(
            &pair,
            &format!("{version}/notation-good"),
            &script("good", version),
        );
    }
    executable(&pair, "notation-other", &script("good", "1.0.0"));
    executable(&pair, "notation-text", b"no program\n");
    executable(&pair, "notation-silent", b"#!/bin/sh\nexit 4\n");
    executable(
        &pair,
        "notation-chatty",
        b"#!/bin/sh\necho '{\"errorCode\":\"ERROR\",\"errorMessage\":\"no luck\"}' >&2\nexit 1\n",
    );
    executable(&pair, "notation-void", b"#!/bin/sh\necho '{}'\n");
    executable(&pair, "notation-babble", b"#!/bin/sh\necho babble\n");
    for bench in [&pair.hardsign, &pair.notation] {
        chmod(&bench.path().join("1.0.0/notation-good"), 0o777);
        std::os::unix::fs::symlink("1.0.0/notation-good", bench.path().join("notation-good"))
            .unwrap();
    }
    all_alike(
        &pair,
        "plugin list
        plugin install --file ./notation-text
        plugin install --file ./notation-silent
        plugin install --file ./notation-chatty
        plugin install --file ./notation-void
        plugin install --file ./notation-babble
        plugin install --file ./notation-other
        plugin list
        plugin install --file ./notation-good
        plugin ls
        plugin install --file ./1.0.0/notation-good
        plugin install --force --file ./1.0.0/notation-good
        plugin install --file ./1.1.0/notation-good
        plugin install --file ./1.1.0-rc.1/notation-good
        plugin install --file ./1.1.0-rc.1/notation-good --force
        plugin add --file ./1.1.0/notation-good
        plugin install --file ./one/notation-good
        plugin install --file ./one/notation-good --force
        plugin install --file ./1.0.0/notation-good
        plugin install --file ./1.0.0/notation-good --force
        plugin list",
    );
    same_files(&pair);
    all_alike(
        &pair,
        "plugin uninstall good
        plugin uninstall good <<< n\\n
        plugin uninstall good <<< maybe\\n
        plugin rm good <<< Yes\\n
        plugin uninstall good
        plugin list
        plugin install --file ./1.0.0/notation-good
        plugin remove --yes good
        plugin list",
    );
    same_files(&pair);
}

/// PLI-06: the checksum of a file, in any case.
#[test]
fn pli_06_checksums_as_under_notation() {
    let pair = Pair::new();
    let plugin = script("good", "1.0.0");
    executable(&pair, "notation-good", &plugin);
    let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&plugin));
    let upper = sha256.to_uppercase();
    all_alike(
        &pair,
        &format!(
            "plugin install --file ./notation-good --sha256sum {sha256}0
            plugin install --file ./notation-good --sha256sum {upper}
            plugin install --force --file ./notation-good --sha256sum {sha256}
            plugin list"
        ),
    );
    same_files(&pair);
}

/// PLI-04, PLI-09, PLI-11, PLI-18: what is in an archive, in both kinds, under a name that says
/// nothing.
#[test]
fn archives_are_installed_as_under_notation() {
    let pair = Pair::new();
    let good = |version: &str| member("notation-good", script("good", version));
    let packages: Vec<(&str, Vec<Member>)> = vec![
        ("1.0.0", vec![good("1.0.0")]),
        (
            "files",
            vec![
                good("1.1.0"),
                with_mode("LICENSE", 0o644, "free"),
                with_mode("library.so", 0o777, "x"),
                with_mode("secret", 0o600, "x"),
            ],
        ),
        (
            "two",
            vec![good("1.2.0"), member("notation-b", script("b", "1.0.0"))],
        ),
        ("none", vec![member("good", script("good", "1.2.0"))]),
        ("nothing", vec![with_mode("README", 0o644, "x")]),
        (
            "renamed",
            vec![member("notation-bad", script("good", "1.2.0"))],
        ),
        ("text", vec![member("notation-text", "no program")]),
        ("slip", vec![good("1.2.0"), member("../../evil", "x")]),
        ("dots", vec![good("1.2.0"), member("a..b", "x")]),
        ("older", vec![good("1.0.1")]),
        ("newer", vec![good("1.2.0")]),
    ];
    for (name, members) in &packages {
        pair.file(&format!("{name}.a"), &zip(members));
        pair.file(&format!("{name}.b"), &tar_gz(members));
    }
    for kind in ["a", "b"] {
        for (name, _) in &packages {
            all_alike(&pair, &format!("plugin install --file {name}.{kind}"));
        }
        all_alike(&pair, "plugin list");
        same_files(&pair);
        all_alike(&pair, "plugin uninstall -y good");
    }
}

/// PLI-09: members in directories: a zip's are left out, a tar's are taken by base name.
#[test]
fn pli_09_members_in_directories_as_under_notation() {
    let pair = Pair::new();
    let members = [
        member("bin/notation-deep", script("deep", "1.0.0")),
        member("notation-flat", script("flat", "1.0.0")),
    ];
    pair.file("both.zip", &zip(&members));
    pair.file("deep.tgz", &tar_gz(&members[..1]));
    all_alike(
        &pair,
        "plugin install --file both.zip
        plugin install --file deep.tgz
        plugin list",
    );
    same_files(&pair);
}

/// PLI-08, SEC-21: large files, single and in archives; what is claimed in headers counts, and what
/// comes out.
#[test]
fn pli_08_sizes_are_refused_as_notation_does() {
    let pair = Pair::new();
    let large = vec![0; 128 << 20];
    let members = [
        member("notation-a", large.clone()),
        member("b", large.clone()),
    ];
    pair.file("large.zip", &zip(&members));
    pair.file("large.tgz", &tar_gz(&members));
    executable(&pair, "notation-large", b"");
    for bench in [&pair.hardsign, &pair.notation] {
        let file = fs::File::options()
            .write(true)
            .open(bench.path().join("notation-large"));
        file.unwrap().set_len(256 << 20).unwrap();
    }
    all_alike(
        &pair,
        "plugin install --file large.zip
        plugin install --file large.tgz
        plugin install --file ./notation-large
        plugin list",
    );
    same_files(&pair);
}

/// PLI-14: with `--force` a broken plugin is replaced; without, it is in the way.
#[test]
fn pli_14_broken_plugins_are_replaced_as_under_notation() {
    let pair = Pair::new();
    executable(&pair, "notation-good", &script("good", "1.0.0"));
    for (kind, content) in [
        ("silent", "#!/bin/sh\nexit 4\n"),
        ("void", "#!/bin/sh\necho '{}'\n"),
    ] {
        for bench in [&pair.hardsign, &pair.notation] {
            let broken = bench.path().join(kind);
            fs::write(&broken, content).unwrap();
            chmod(&broken, 0o755);
            bench.install_plugin("good", &broken);
        }
        all_alike(
            &pair,
            "plugin list
            plugin install --file ./notation-good
            plugin install --force --file ./notation-good
            plugin list",
        );
        same_files(&pair);
        all_alike(&pair, "plugin uninstall -y good");
    }
    // A directory without an executable is no plugin yet.
    for bench in [&pair.hardsign, &pair.notation] {
        let directory = bench.config().join("plugins/good");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("left"), "x").unwrap();
    }
    all_alike(
        &pair,
        "plugin list
        plugin uninstall good
        plugin install --file ./notation-good
        plugin list",
    );
    same_files(&pair);
}

/// PLI-22, CLI-93: each way in which a plugin can be broken.
#[test]
fn pli_22_broken_plugins_are_listed_as_under_notation() {
    let pair = Pair::new();
    for bench in [&pair.hardsign, &pair.notation] {
        let put = |name: &str, content: &[u8], mode| {
            let directory = bench.config().join("plugins").join(name);
            fs::create_dir_all(&directory).unwrap();
            let path = directory.join(format!("notation-{name}"));
            fs::write(&path, content).unwrap();
            chmod(&path, mode);
        };
        fs::create_dir_all(bench.config().join("plugins/absent")).unwrap();
        fs::create_dir_all(bench.config().join("plugins/directory/notation-directory")).unwrap();
        fs::write(bench.config().join("plugins/file"), "x").unwrap();
        std::os::unix::fs::symlink("absent", bench.config().join("plugins/link")).unwrap();
        put("text", b"no program", 0o755);
        put("denied", b"#!/bin/sh\n", 0o644);
        put("silent", b"#!/bin/sh\nexit 4\n", 0o755);
        put("renamed", &script("other", "1.0.0"), 0o755);
        put("void", b"#!/bin/sh\necho '{}'\n", 0o755);
    }
    all_alike(&pair, "plugin list\nplugin ls");
}
