//! Reads `config.json`, ours and docker's: credential stores, helpers, and stored credentials.

#![no_main]

use std::path::Path;

use hardsign_core::config::ConfigFile;
use hardsign_core::oci::auth::credentials::in_file;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = ConfigFile::parse(bytes) else {
        return;
    };
    drop((config.credentials_store(), config.signature_format(), config.insecure_registries()));
    for (server, _) in config.credential_helpers() {
        let _helper = config.credential_helper(server);
    }
    for (server, _) in config.auths() {
        drop(in_file(Path::new("config.json"), &config, server));
    }
});
