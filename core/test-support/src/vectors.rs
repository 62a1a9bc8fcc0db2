//! Test vectors that other implementations can read too: one file a case, named after what is
//! right or wrong with it, and a manifest beside with the expected verdict.

mod cose;
mod jws;
mod x509;

use std::fs;
use std::path::Path;

use crate::jws::Object;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// File name without extension.
    pub name: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// What must come out.
    pub verdict: Verdict,
    /// The requirement that decides it.
    pub requirement: &'static str,
}

/// What an implementation must say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The envelope is intact; the chain meets the rules.
    Good,
    /// Refused, with this kind of error.
    Bad(&'static str),
}

/// Writes every area under `directory`; files that no case has any more are removed.
pub fn write_all(directory: &Path) -> std::io::Result<()> {
    write(&directory.join("jws"), "json", &jws::cases())?;
    write(&directory.join("cose"), "cose", &cose::cases())?;
    write(
        &directory.join("code-signing"),
        "pem",
        &x509::code_signing(),
    )?;
    write(
        &directory.join("timestamping"),
        "pem",
        &x509::timestamping(),
    )
}

fn write(directory: &Path, extension: &str, cases: &[Case]) -> std::io::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    let mut entries = Vec::new();
    for case in cases {
        let file = format!("{}.{extension}", case.name);
        fs::write(directory.join(&file), &case.bytes)?;
        let entry = Object::default()
            .with("file", &format!("\"{file}\""))
            .with("requirement", &format!("\"{}\"", case.requirement));
        entries.push(
            match case.verdict {
                Verdict::Good => entry.with("verdict", "\"good\""),
                Verdict::Bad(error) => entry
                    .with("verdict", "\"bad\"")
                    .with("error", &format!("\"{error}\"")),
            }
            .to_json(),
        );
    }
    let manifest = format!("[\n{}\n]\n", entries.join(",\n"));
    fs::write(directory.join("manifest.json"), manifest)
}

fn good(name: &'static str, requirement: &'static str, bytes: Vec<u8>) -> Case {
    Case {
        name,
        bytes,
        verdict: Verdict::Good,
        requirement,
    }
}

fn bad(name: &'static str, requirement: &'static str, error: &'static str, bytes: Vec<u8>) -> Case {
    Case {
        name,
        bytes,
        verdict: Verdict::Bad(error),
        requirement,
    }
}
