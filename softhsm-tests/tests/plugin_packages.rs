//! Packages that nobody honest makes: each is refused with its own error, and leaves what was
//! installed before untouched, byte for byte, and no litter.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use softhsm_tests::package::{Member, gzip, member, script, tar_gz, with_mode, zip};
use softhsm_tests::tree::walk;
use softhsm_tests::workbench::Workbench;
use zip::write::SimpleFileOptions;

/// A machine with version 1.0.0 of the plugin `good`, and packages of 2.0.0 that fail.
struct Scene {
    bench: Workbench,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            bench: Workbench::new(),
        };
        let plugin = scene.bench.path().join("notation-good");
        fs::write(&plugin, script("good", "1.0.0")).unwrap();
        fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
        let installed = scene
            .bench
            .hardsign_ok(["plugin", "install", "--file", "./notation-good"]);
        assert_eq!(
            installed.stdout,
            "Successfully installed plugin good, version 1.0.0\n"
        );
        scene
    }

    /// Everything below the configuration directory: names, inodes, modes, contents.
    fn state(&self) -> Vec<(PathBuf, u64, u32, Vec<u8>)> {
        let found = walk(&self.bench.config()).into_iter();
        let mut found: Vec<_> = found
            .map(|(path, metadata)| {
                let content = if metadata.is_dir() {
                    Vec::new()
                } else {
                    fs::read(&path).unwrap()
                };
                (path, metadata.ino(), metadata.mode(), content)
            })
            .collect();
        found.sort();
        found
    }

    /// Installing `package` fails with `error`, and nothing is changed.
    fn refused(&self, package: &[u8], error: &str) {
        let before = self.state();
        let file = self.bench.path().join("package");
        fs::write(&file, package).unwrap();
        let ran = self
            .bench
            .hardsign(["plugin", "install", "--force", "--file", "package"]);
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
            (
                Some(1),
                "",
                format!("Error: plugin installation failed: {error}\n").as_str()
            )
        );
        assert!(self.state() == before, "something was changed: {error}");
        let listed = self.bench.hardsign_ok(["plugin", "list"]).stdout;
        assert!(listed.contains("1.0.0     [SIGNATURE"), "{listed}");
    }
}

fn good() -> Member {
    member("notation-good", script("good", "2.0.0"))
}

/// PLI-09, PLI-10, SEC-21: names that lead elsewhere, or could be read in two ways.
#[test]
fn pli_09_names_that_lead_elsewhere() {
    let scene = Scene::new();
    for name in ["../evil", "a/../../evil", "..", "x..y", "a/..", "..\\evil"] {
        let members = [good(), member(name, "x")];
        let escaped = name.replace('\\', "\\\\");
        let error = |kind: &str| {
            format!("file name in {kind} cannot contain '..', but found \"{escaped}\"")
        };
        scene.refused(&zip(&members), &error("zip"));
        scene.refused(&tar_gz(&members), &error("tar.gz"));
    }
    for (name, reason) in [
        ("/etc/evil", "its name is absolute"),
        ("C:evil", "its name is absolute"),
        ("a\\evil", "its name is not a valid file name"),
        ("a\u{1b}[2J", "its name is not a valid file name"),
        ("a\nb", "its name is not a valid file name"),
    ] {
        let members = [good(), member(name, "x")];
        for (kind, package) in [("zip", zip(&members)), ("tar.gz", tar_gz(&members))] {
            scene.refused(
                &package,
                &format!("{kind} has a member {name:?}, which is refused: {reason}"),
            );
        }
    }
    for name in ["dir/.", "."] {
        scene.refused(
            &tar_gz(&[good(), member(name, "x")]),
            "tar.gz has a member \".\", which is refused: its name is not a valid file name",
        );
    }
    assert!(!Path::new("/etc/evil").exists());
}

/// PLI-10: the same name twice, also in another case or another directory, in either order.
#[test]
fn pli_10_one_name_twice() {
    let scene = Scene::new();
    let twice = "which is refused: another one has the same name";
    for (one, other, shown) in [
        ("notation-good", "notation-good", "notation-good"),
        ("a/notation-good", "b/notation-good", "notation-good"),
        ("notation-good", "NOTATION-Good", "NOTATION-Good"),
        ("notation-\u{e4}", "notation-\u{c4}", "notation-\u{c4}"),
    ] {
        let script = script("good", "2.0.0");
        let members = [member(one, script.clone()), member(other, script)];
        scene.refused(
            &tar_gz(&members),
            &format!("tar.gz has a member {shown:?}, {twice}"),
        );
    }
    let members = [good(), member("NOTATION-GOOD", "x")];
    scene.refused(
        &zip(&members),
        &format!("zip has a member \"NOTATION-GOOD\", {twice}"),
    );
    // No library writes this: the name in the directory and the local header of a second member
    // are changed in place.
    let two = zip(&[good(), member("notation-goof", script("good", "3.0.0"))]);
    let same = replaced(&two, b"notation-goof", b"notation-good");
    scene.refused(
        &same,
        "failed to read the zip: invalid Zip archive: two members have the same name",
    );
}

/// PLI-09, PLI-10: links, devices, pipes, sparse files.
#[test]
fn pli_10_regular_files_alone() {
    let scene = Scene::new();
    let special = "which is refused: it is not a regular file";
    for kind in [
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Char,
        tar::EntryType::Block,
        tar::EntryType::Fifo,
        tar::EntryType::GNUSparse,
        tar::EntryType::new(b'Z'),
    ] {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path("notation-good").unwrap();
        header.set_link_name("/bin/sh").unwrap();
        header.set_size(0);
        header.as_gnu_mut().unwrap().realsize = *b"00000000000\0";
        header.set_mode(0o755);
        header.set_cksum();
        archive.append(&header, &[][..]).unwrap();
        scene.refused(
            &gzip(&archive.into_inner().unwrap()),
            &format!("tar.gz has a member \"notation-good\", {special}"),
        );
    }
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive
        .add_symlink("notation-good", "/bin/sh", SimpleFileOptions::default())
        .unwrap();
    let linked = archive.finish().unwrap().into_inner();
    scene.refused(
        &linked,
        &format!("zip has a member \"notation-good\", {special}"),
    );
    // A device: 020000 in place of 0120000 in the directory's attributes.
    let device = replaced_in_directory(&linked, |mode| (mode & 0o7777) | 0o020_000);
    scene.refused(
        &device,
        &format!("zip has a member \"notation-good\", {special}"),
    );
}

/// SEC-21, PLI-08: bombs. A gigabyte of zeros in a megabyte, as one member, as many, and behind
/// the archive's end.
#[test]
fn sec_21_bombs() {
    let scene = Scene::new();
    let zeros = vec![0; 64 << 20];
    let total = "total file size reached the 256 MiB size limit";
    let many: Vec<_> = (0..5)
        .map(|i| member(&format!("f{i}"), zeros.clone()))
        .collect();
    scene.refused(&zip(&many), total);
    scene.refused(&tar_gz(&many), total);
    // A header that lies: a tar member of 8 EiB.
    let mut lie = tar::Header::new_gnu();
    lie.set_path("notation-good").unwrap();
    lie.set_size(u64::MAX >> 1);
    lie.set_mode(0o755);
    lie.set_cksum();
    scene.refused(&gzip(lie.as_bytes()), total);
    // Sixteen megabytes of padding after the end.
    let mut padded = tar::Builder::new(Vec::new());
    append(&mut padded, &good());
    let mut padded = padded.into_inner().unwrap();
    padded.extend(vec![0; 16 << 20]);
    scene.refused(
        &gzip(&padded),
        "failed to read the tar.gz: there is too much between its members",
    );
    // A name of sixteen megabytes.
    let mut long = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_path("././@LongLink").unwrap();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(16 << 20);
    header.set_cksum();
    long.append(&header, &vec![b'a'; 16 << 20][..]).unwrap();
    append(&mut long, &good());
    scene.refused(
        &gzip(&long.into_inner().unwrap()),
        "failed to read the tar.gz: there is too much between its members",
    );
}

/// Members without end.
#[test]
fn too_many_members() {
    let scene = Scene::new();
    let many: Vec<_> = (0..4097)
        .map(|i| with_mode(&format!("f{i}"), 0o644, ""))
        .collect();
    scene.refused(&zip(&many), "zip has more than 4096 members");
    scene.refused(&tar_gz(&many), "tar.gz has more than 4096 members");
    // So many that their directory alone is refused.
    let names = "n".repeat(200);
    let many: Vec<_> = (0..40_000)
        .map(|i| with_mode(&format!("{names}{i}"), 0o644, ""))
        .collect();
    scene.refused(
        &zip(&many),
        "failed to read the zip: i/o error: its directory is too large",
    );
}

/// SEC-21: sizes in headers that lie, in either direction, and contents that are not what their
/// checksum says.
#[test]
fn sizes_and_checksums_that_lie() {
    let scene = Scene::new();
    let package = zip(&[good()]);
    let size = u32::try_from(script("good", "2.0.0").len())
        .unwrap()
        .to_le_bytes();
    for lie in [1_u32, 0, u32::MAX - 1] {
        // In all headers alike, so that they agree with each other.
        let lying = replaced(&package, &size, &lie.to_le_bytes());
        let ran = refused_somehow(&scene, &lying);
        assert!(
            ran.contains("failed to read the zip: ") || ran.contains("total file size reached"),
            "{ran}"
        );
    }
    // One header says otherwise than the other.
    let at = package
        .windows(13)
        .position(|w| w == b"notation-good")
        .unwrap();
    let mut differing = package.clone();
    differing[at..at + 13].copy_from_slice(b"notation-evil");
    let ran = refused_somehow(&scene, &differing);
    assert!(
        ran.contains("failed to read the zip: invalid Zip archive: "),
        "{ran}"
    );
    // A bit of the contents.
    let mut stored = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .unix_permissions(0o755);
    stored.start_file("notation-good", options).unwrap();
    stored.write_all(&script("good", "2.0.0")).unwrap();
    let stored = stored.finish().unwrap().into_inner();
    let changed = replaced(&stored, b"A test", b"B test");
    let ran = refused_somehow(&scene, &changed);
    assert!(ran.contains("failed to read the zip: "), "{ran}");
    // A method that is none of ours.
    let ran = refused_somehow(&scene, &replaced_method(&stored, 99));
    assert!(ran.contains("failed to read the zip: "), "{ran}");
}

/// SEC-21: packages that end too early, at every length; and bits that were flipped.
#[test]
fn truncated_and_damaged() {
    let scene = Scene::new();
    let before = scene.state();
    let members = [good(), with_mode("LICENSE", 0o644, "free ".repeat(100))];
    for package in [zip(&members), tar_gz(&members)] {
        for length in (0..package.len()).step_by(7) {
            let told = refused_somehow(&scene, &package[..length]);
            assert!(!told.contains("panicked"), "{length}: {told}");
        }
    }
    // The checksum at the end of a gzip covers what no member says.
    let mut damaged = tar_gz(&members);
    let at = damaged.len() - 6;
    damaged[at] ^= 1;
    let told = refused_somehow(&scene, &damaged);
    assert!(
        told.contains("failed to read the tar.gz: corrupt gzip stream"),
        "{told}"
    );
    // Gzip that is no tar.
    let told = refused_somehow(&scene, &gzip(b"just text"));
    assert!(
        told.contains("failed to read the tar.gz: ") || told.contains("no plugin executable"),
        "{told}"
    );
    assert!(scene.state() == before);
}

/// PLI-11: the executable bit is set where one name fits, and that is told.
#[test]
fn pli_11_missing_bit_is_set_and_told() {
    let scene = Scene::new();
    for (version, package) in [
        (
            "2.0.0",
            zip(&[with_mode("notation-good", 0o644, script("good", "2.0.0"))]),
        ),
        (
            "2.0.1",
            tar_gz(&[with_mode("notation-good", 0o600, script("good", "2.0.1"))]),
        ),
    ] {
        fs::write(scene.bench.path().join("package"), package).unwrap();
        let ran = scene
            .bench
            .hardsign_ok(["plugin", "install", "--file", "package"]);
        assert_eq!(
            ran.stderr,
            "Warning: \"notation-good\" was not executable, and is now for its owner\n"
        );
        assert!(
            ran.stdout.ends_with(&format!(" to {version}\n")),
            "{}",
            ran.stdout
        );
    }
    let path = scene.bench.config().join("plugins/good/notation-good");
    assert_eq!(
        fs::metadata(path).unwrap().permissions().mode() & 0o7777,
        0o700
    );
}

fn refused_somehow(scene: &Scene, package: &[u8]) -> String {
    let before = scene.state();
    fs::write(scene.bench.path().join("package"), package).unwrap();
    let ran = scene
        .bench
        .hardsign(["plugin", "install", "--force", "--file", "package"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr
            .starts_with("Error: plugin installation failed: "),
        "{}",
        ran.stderr
    );
    assert!(scene.state() == before, "{}", ran.stderr);
    ran.stderr
}

fn append(archive: &mut tar::Builder<Vec<u8>>, member: &Member) {
    let mut header = tar::Header::new_gnu();
    header.set_path(&member.name).unwrap();
    header.set_size(u64::try_from(member.content.len()).unwrap());
    header.set_mode(member.mode);
    header.set_cksum();
    archive.append(&header, member.content.as_slice()).unwrap();
}

/// All occurrences of some bytes by others of the same length.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    let mut count = 0;
    for at in 0..=bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from {
            out[at..at + to.len()].copy_from_slice(to);
            count += 1;
        }
    }
    assert!(count > 0);
    out
}

/// The first entry of a zip's directory with another Unix mode.
fn replaced_in_directory(bytes: &[u8], change: impl Fn(u32) -> u32) -> Vec<u8> {
    let at = bytes.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap() + 38;
    let attributes = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut out = bytes.to_vec();
    out[at..at + 4].copy_from_slice(&(change(attributes >> 16) << 16).to_le_bytes());
    out
}

/// A zip with another compression method in all its headers.
fn replaced_method(bytes: &[u8], method: u16) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let directory = bytes.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    out[8..10].copy_from_slice(&method.to_le_bytes());
    out[directory + 10..directory + 12].copy_from_slice(&method.to_le_bytes());
    out
}
