//! Packages of plugins, honest and otherwise, and the little shell script that is the plugin.

use std::io::{Cursor, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use zip::write::SimpleFileOptions;

/// A file in a package.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    pub mode: u32,
    pub content: Vec<u8>,
}

/// A file with the permissions 0755.
pub fn member(name: &str, content: impl Into<Vec<u8>>) -> Member {
    with_mode(name, 0o755, content)
}

/// A file.
pub fn with_mode(name: &str, mode: u32, content: impl Into<Vec<u8>>) -> Member {
    Member {
        name: name.to_owned(),
        mode,
        content: content.into(),
    }
}

/// A plugin that says who it is, and nothing else: a shell script.
pub fn script(name: &str, version: &str) -> Vec<u8> {
    let metadata = json!({
        "name": name,
        "description": "A test",
        "version": version,
        "url": "https://example.com",
        "supportedContractVersions": ["1.0"],
        "capabilities": ["SIGNATURE_GENERATOR.RAW"],
    });
    format!("#!/bin/sh\ncat <<END\n{metadata}\nEND\n").into_bytes()
}

/// A zip.
pub fn zip(members: &[Member]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for member in members {
        let options = SimpleFileOptions::default().unix_permissions(member.mode);
        archive.start_file(member.name.as_str(), options).unwrap();
        archive.write_all(&member.content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A gzipped tar.
pub fn tar_gz(members: &[Member]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(member.content.len()).unwrap());
        header.set_mode(member.mode);
        // As it is, `..` and all: the library's own setter refuses that.
        let name = member.name.as_bytes();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_cksum();
        archive.append(&header, member.content.as_slice()).unwrap();
    }
    gzip(&archive.into_inner().unwrap())
}

/// Compressed bytes.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
