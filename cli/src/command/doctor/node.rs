//! `hardsign doctor node`: whether containerd on this node refuses images without a good signature, or only
//! seems to; and which images on it would be refused.
//!
//! Everything here that turns the check off does so without an error anywhere else: containerd takes every image
//! when the directory of verifiers is missing or empty, and the CRI pulls past the verifiers with some
//! settings. Registries are asked for signatures, nothing else is changed or asked.

use std::fs;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use hardsign_core::artifact::Descriptor;
use hardsign_core::artifact::reference::{Reference, TagOrDigest};
use hardsign_core::config::permissions::exposed;
use hardsign_core::dirs::Dirs;
use hardsign_core::oci::auth::provider::CredentialProviders;
use hardsign_core::oci::hosts;
use hardsign_core::policy::{Level, Scopes, oci};
use hardsign_core::text::WithCauses;
use hardsign_core::verify::Policy;
use hardsign_plugin::text::io_text;

use super::super::node::containerd::{self, Configuration};
use super::super::node::crictl::{self, Image};
use super::super::node::environment::Environment;
use super::super::node::settings::{REPAIR, Settings};
use super::super::node::{Allowed, Checker, verifier};
use super::super::{Context, signer};
use super::{
    Findings, Statements, conclude, configuration, directories, permissions, policy, stores,
};
use crate::args::node::{DoctorArgs, JUDGED_IN, JudgedIn};
use crate::failure::Failure;

pub(in crate::command) fn run(args: &DoctorArgs, context: &Context) -> Result<(), Failure> {
    let Some(judged_in) = &args.judged_in else {
        return enter(args, context);
    };
    let dirs = Dirs::of_machine().map_err(Failure::error)?;
    let mut findings = Findings::default();
    environment(judged_in, &mut findings);
    context.wait(async {
        let settings = settings(&dirs, &mut findings);
        version(args, &mut findings).await;
        match Configuration::read(&args.places).await {
            Ok(configuration) => {
                runtime(&configuration, settings.as_ref(), &mut findings);
            }
            Err(why) => findings.fail(
                "containerd's configuration",
                format!("it is not known whether containerd asks verifiers: {why}"),
                "name containerd and its configuration with --containerd and --containerd-config",
            ),
        }
        trust(&dirs, context, &mut findings);
        if let Some(settings) = settings {
            registries(&settings, &mut findings);
            images(args, settings, &dirs, context, &mut findings).await;
        }
        Ok(())
    })?;
    conclude(&findings, args.output, false, context)
}

/// Goes on in the environment that verifiers have. Returns only where that fails.
fn enter(args: &DoctorArgs, context: &Context) -> Result<(), Failure> {
    let endpoint = &args.places.runtime_endpoint;
    let environment = context.wait_for_one(async {
        Ok::<_, Failure>(Environment::find(endpoint, &args.environment).await)
    })?;
    let why = environment.enter(JUDGED_IN);
    Err(Failure::failed(format!(
        "failed to run this executable in the environment of containerd: {why}"
    )))
}

/// Which environment what follows was judged in, and what is not the same in this shell.
fn environment(judged_in: &JudgedIn, findings: &mut Findings) {
    let source = &judged_in.source;
    let without = match judged_in.dropped.is_empty() {
        true => String::new(),
        false => format!(", which has no {}", judged_in.dropped.join(", ")),
    };
    match judged_in.is_known {
        true => findings.ok("environment", format!("judged in {source}{without}")),
        false => findings.warn(
            "environment",
            format!(
                "judged in {source}: neither the process nor the unit of containerd could be read"
            ),
            "run this as root on the node, or name containerd's variables with --env",
        ),
    }
    for difference in &judged_in.differences {
        findings.warn(
            "environment",
            difference,
            "set or unset it for containerd with `systemctl edit containerd`, then restart containerd",
        );
    }
}

/// The settings, and what is excepted in them.
fn settings(dirs: &Dirs, findings: &mut Findings) -> Option<Settings> {
    let path = dirs.node_settings();
    let subject = format!("settings {}", path.display());
    let settings = match Settings::load(dirs) {
        Ok(settings) => settings,
        Err(failure) => {
            let message = failure.messages.join("; ");
            findings.fail(
                subject,
                format!("every image is refused: {message}"),
                REPAIR,
            );
            return None;
        }
    };
    if !path.exists() {
        findings.warn(
            subject,
            "the file does not exist, so there are no exceptions: unless its own images are signed, this node starts no pod",
            "`hardsign node install` writes it",
        );
    }
    for exception in settings.exceptions.iter() {
        findings.ok(
            "exception",
            format!(
                "{}@{}: {}",
                exception.repository, exception.digest, exception.reason
            ),
        );
    }
    Some(settings)
}

async fn version(args: &DoctorArgs, findings: &mut Findings) {
    match containerd::version(&args.places).await {
        Ok(version) if containerd::asks_verifiers(&version) => {
            findings.ok("containerd", format!("version {version}"));
        }
        Ok(version) => findings.fail(
            "containerd",
            format!("version {version} pulls images for pods without asking verifiers"),
            "install containerd 2.1 or later",
        ),
        Err(why) => findings.warn(
            "containerd",
            format!("its version is not known: {why}"),
            "name the executable with --containerd; before version 2.1, images of pods are not verified",
        ),
    }
}

/// Whether containerd asks, and asks us.
fn runtime(configuration: &Configuration, settings: Option<&Settings>, findings: &mut Findings) {
    let subject = "containerd's configuration";
    if !configuration.is_there {
        findings.warn(
            subject,
            format!(
                "not known: neither containerd nor {} was found, so its defaults are assumed",
                configuration.source
            ),
            "run this on the node itself, or name them with --containerd and --containerd-config",
        );
    } else if !configuration.is_whole {
        findings.warn(
            subject,
            format!(
                "read from {} alone, without the files that it imports",
                configuration.source
            ),
            "name the executable with --containerd: it prints the whole configuration",
        );
    }
    for name in configuration.disabled() {
        findings.fail(
            subject,
            format!("{name} is in disabled_plugins, so no image is verified"),
            "remove it, and restart containerd",
        );
    }
    let bypasses = configuration.bypasses();
    for setting in &bypasses {
        findings.fail(
            subject,
            format!("with {setting}, the CRI pulls images without asking verifiers"),
            fix_of(setting),
        );
    }
    if bypasses.is_empty() && configuration.is_there {
        findings.ok(
            subject,
            "the CRI pulls through the transfer service, which asks verifiers",
        );
    }
    let verifiers = configuration.verifiers();
    entries(&verifiers, findings);
    if let Some(settings) = settings
        && !settings.ends_within(verifiers.timeout)
    {
        findings.fail(
            "deadline",
            format!(
                "containerd waits {:?}, and a verdict may take up to {:?}: a slow one is refused without a reason",
                verifiers.timeout,
                Settings::latest_end(settings.deadline())
            ),
            "shorten \"deadline\" in node.hardsign.json, or raise per_verifier_timeout; `hardsign node install` with --timeout sets the deadline to fit",
        );
    }
}

/// What to do about a setting by which the CRI pulls by itself.
fn fix_of(setting: &str) -> &'static str {
    match setting {
        s if s.starts_with("max_concurrent_downloads") => {
            "set it back to 3; the table of \"io.containerd.transfer.v1.local\" has a max_concurrent_downloads of its own"
        }
        s if s.starts_with("registry.") => {
            "describe mirrors, certificates and credentials in hosts.toml files below config_path"
        }
        s if s.contains("disable_snapshot_annotations") => "remove it: the default is true",
        _ => "remove it, and restart containerd",
    }
}

/// What is in the directory of verifiers. containerd runs the first of them by name, and none is no error to it.
fn entries(verifiers: &containerd::Verifiers, findings: &mut Findings) {
    let directory = &verifiers.bin_dir;
    let subject = format!("bin_dir {}", directory.display());
    let install =
        "run `hardsign node install`, with --bin-dir if the directory is not containerd's default";
    let listed = match fs::read_dir(directory) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return findings.fail(
                subject,
                "does not exist, so every image is accepted",
                install,
            );
        }
        Err(error) => {
            let message = format!("can't be read, so every pull fails: {}", io_text(&error));
            return findings.fail(subject, message, "make it a directory that root may read");
        }
    };
    let mut files: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    files.sort();
    if files.is_empty() {
        return findings.fail(subject, "is empty, so every image is accepted", install);
    }
    if let Some(exposed) = exposed(directory) {
        let message = format!("{exposed}, and decides what runs as root");
        findings.fail(subject.clone(), message, &exposed.fix());
    }
    let most = usize::try_from(verifiers.most).unwrap_or(usize::MAX);
    if files.len() > most {
        findings.fail(
            subject.clone(),
            format!(
                "contains {} files, but containerd runs only the first {most} by name: {} skipped",
                files.len(),
                files.len().saturating_sub(most)
            ),
            "remove what is not needed, or raise max_verifiers",
        );
    }
    let ours = |file: &PathBuf| file.file_name().is_some_and(|name| name == verifier::NAME);
    match files.iter().position(ours) {
        Some(at) if at >= most => findings.fail(
            subject.clone(),
            format!("{} is one of those skipped", verifier::NAME),
            "remove the other files",
        ),
        Some(_) => {}
        None => findings.fail(
            subject.clone(),
            format!("does not contain hardsign's {}", verifier::NAME),
            install,
        ),
    }
    for file in &files {
        entry(file, ours(file), findings);
    }
}

/// One file there.
fn entry(file: &Path, ours: bool, findings: &mut Findings) {
    let subject = format!("verifier {}", file.display());
    let blocks = "is not executable, and so blocks every pull";
    let Ok(found) = fs::metadata(file) else {
        let fix = "`hardsign node install` links it to this executable";
        return findings.fail(subject, "is a broken link, and so blocks every pull", fix);
    };
    if !found.is_file() || !is_executable(&found) {
        return findings.fail(subject, blocks, "remove it");
    }
    if let Some(exposed) = exposed(file) {
        let message = format!("{exposed}, and decides what runs as root");
        findings.fail(subject.clone(), message, &exposed.fix());
    }
    if !ours {
        return findings.warn(
            subject,
            "is not hardsign's: it must accept every image too",
            "remove it, unless you want this verifier too",
        );
    }
    let real = |path: &Path| fs::canonicalize(path).ok();
    let own = std::env::current_exe().ok().and_then(|path| real(&path));
    match real(file) == own {
        true => findings.ok(subject, "is this hardsign"),
        false => findings.warn(
            subject,
            "is not this hardsign, but another program",
            "`hardsign node install` links it to this one",
        ),
    }
}

#[cfg(unix)]
fn is_executable(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    found.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_found: &fs::Metadata) -> bool {
    true
}

/// Configuration, policy and trust stores as the verifier sees them.
fn trust(dirs: &Dirs, context: &Context, findings: &mut Findings) {
    directories(dirs, findings);
    configuration(dirs, findings);
    match Policy::<oci::Document>::load(dirs) {
        Err(error) => findings.fail(
            "OCI trust policy",
            format!("every image is refused: {}", WithCauses(&error)),
            "import one with `hardsign policy import`, with NOTATION_CONFIG set to the configuration directory",
        ),
        Ok(loaded) => {
            for statement in loaded.document().statements() {
                let level = statement.verification().level();
                let subject = format!("OCI trust policy, statement {:?}", statement.name());
                match level {
                    Level::Skip => findings.warn(
                        subject,
                        "its level is skip: images are accepted without a signature",
                        "set it to strict once these images are signed",
                    ),
                    Level::Audit => findings.warn(
                        subject,
                        "its level is audit: images are accepted whoever signed them",
                        "set it to strict once their signers are trusted",
                    ),
                    _ => {}
                }
            }
            policy::<Scopes>(dirs, context, &mut Statements::default(), findings);
        }
    }
    stores(dirs, context.now(), findings);
    permissions(dirs, &signer::host(dirs, context), findings);
    let path = dirs.node_settings();
    if let Some(exposed) = exposed(&path) {
        let message = format!("{exposed}, and decides what is excepted");
        findings.fail(
            format!("settings {}", path.display()),
            message,
            &exposed.fix(),
        );
    }
}

/// Credential providers, and the configuration of registries.
fn registries(settings: &Settings, findings: &mut Findings) {
    if let Some(places) = &settings.credential_providers {
        match CredentialProviders::load(&places.config, &places.bin_dir) {
            Err(error) => findings.fail(
                "credential providers",
                WithCauses(&error).to_string(),
                "name the kubelet's list in \"credentialProviders\" of node.hardsign.json",
            ),
            Ok(providers) => {
                for program in providers.programs() {
                    let shown = program.display();
                    match program.is_file() {
                        true => findings.ok("credential providers", format!("{shown} exists")),
                        false => findings.fail(
                            "credential providers",
                            format!("{shown} does not exist"),
                            "install it, or correct \"binDir\" in node.hardsign.json",
                        ),
                    }
                }
            }
        }
    }
    for root in settings.registry_hosts() {
        let directories = fs::read_dir(&root).into_iter().flatten().flatten();
        for directory in directories.filter(|d| d.path().is_dir()) {
            registry(&root, &directory.file_name().to_string_lossy(), findings);
        }
    }
}

/// The directory of one registry.
fn registry(root: &Path, name: &str, findings: &mut Findings) {
    let subject = format!("registry hosts {}", root.join(name).display());
    let found = match hosts::find(&[root.to_owned()], name) {
        Ok(found) => found,
        Err(error) => {
            let message = format!("its images are refused: {}", WithCauses(&error));
            return findings.fail(
                subject,
                message,
                "give a host there the capability \"pull\"",
            );
        }
    };
    if let Some(fault) = found.fault {
        findings.warn(
            subject.clone(),
            format!("is ignored, by containerd too: {fault}"),
            "correct hosts.toml",
        );
    }
    for host in &found.hosts {
        if host.skip_verify {
            findings.warn(
                subject.clone(),
                "skip_verify is ignored: hardsign sends credentials only to servers with a trusted certificate",
                "name the certificate to trust with `ca`",
            );
        }
        let own = host
            .client
            .iter()
            .flat_map(|(file, key)| std::iter::once(file).chain(key));
        for file in host.ca.iter().chain(own).filter(|file| !file.is_file()) {
            findings.fail(
                subject.clone(),
                format!("{} does not exist", file.display()),
                "put the certificate there, or correct hosts.toml",
            );
        }
    }
}

/// Every image on the node, as it would be judged if it were pulled now.
async fn images(
    args: &DoctorArgs,
    settings: Settings,
    dirs: &Dirs,
    context: &Context,
    findings: &mut Findings,
) {
    let listed = match crictl::images(&args.places).await {
        Ok(listed) => listed,
        Err(why) => {
            let subject = "images on this node";
            let message = format!("could not be listed: {why}");
            let fix = "--crictl and --runtime-endpoint say how to ask the node";
            return match args.places.crictl {
                // What is named must be there.
                Some(_) => findings.fail(subject, message, fix),
                None => findings.warn(subject, message, fix),
            };
        }
    };
    let checker = match Checker::new(settings, dirs, context) {
        Ok(checker) => checker,
        Err(failure) => {
            let message = failure.messages.join("; ");
            return findings.fail("images on this node", message, "correct config.json");
        }
    };
    let judged = listed.iter().flat_map(names).map(|name| async {
        let verdict = judge(&checker, &name).await;
        (name, verdict)
    });
    let mut judged = futures_util::stream::iter(judged).buffered(AT_ONCE);
    while let Some((name, verdict)) = judged.next().await {
        let subject = format!("image {name}");
        match verdict {
            Ok(Allowed::Verified(_)) => findings.ok(subject, "verified"),
            Ok(Allowed::Skipped { statement }) => findings.warn(
                subject,
                format!("accepted unverified by the trust policy statement {statement:?}"),
                "sign it, and set the statement to strict",
            ),
            Ok(Allowed::Excepted { reason, .. }) => {
                findings.ok(subject, format!("excepted: {reason}"));
            }
            Err(failure) => findings.fail(
                subject,
                format!("would be refused: {}", failure.messages.join("; ")),
                "sign it, trust its signer, or add an exception with `hardsign node install --exception <image@digest>`; running containers are not affected",
            ),
        }
    }
}

/// What an image is judged by: each name that it has by digest, else whatever it is called.
fn names(image: &Image) -> Vec<String> {
    match image.repo_digests.is_empty() {
        true => vec![image.name().to_owned()],
        false => image.repo_digests.clone(),
    }
}

async fn judge(checker: &Checker, name: &str) -> Result<Allowed, Failure> {
    let reference: Reference = name.parse().map_err(|_| {
        Failure::failed("it was not pulled from a registry, so it has no signatures")
    })?;
    let TagOrDigest::Digest(digest) = reference.target else {
        return Err(Failure::failed("the node does not know its digest"));
    };
    let artifact = Descriptor {
        media_type: String::new(),
        digest,
        size: 0,
        annotations: std::collections::BTreeMap::new(),
    };
    checker.check(&reference.repository, &artifact).await
}

/// Images that are judged at once.
const AT_ONCE: usize = 4;
