//! What the pages say beside the definitions: FILES, ENVIRONMENT, EXIT STATUS, SEE ALSO. `docs/files.md` and
//! `docs/exit-codes.md` have the same in full.

use clap::Command;

use super::{Around, literal};

/// What a command has to do with, as far as its files and variables go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Topic {
    /// The list of keys, and signing with one.
    Keys,
    /// A CA of the user's own.
    Authority,
    /// The trust policy for artifacts.
    Policy,
    /// The trust policy for files.
    BlobPolicy,
    /// Trust stores.
    Stores,
    /// Plugins.
    Plugins,
    /// Registries and their credentials.
    Registry,
    /// Revocation, asked for while verifying.
    Revocation,
    /// Every command.
    All,
}

/// A file or variable, what it is, and for whom.
type Row = (&'static str, &'static str, &'static [Topic]);

const FILES: &[Row] = &[
    (
        "~/.config/notation/config.json",
        "Settings",
        &[Topic::Registry],
    ),
    (
        "~/.config/notation/signingkeys.json",
        "The list of keys",
        &[Topic::Keys],
    ),
    ("~/.config/notation/localkeys/", "Test keys", &[Topic::Keys]),
    (
        "~/.config/notation/hardsign/chains/",
        "Certificates of keys whose device holds none",
        &[Topic::Keys],
    ),
    (
        "~/.config/notation/hardsign/ca/",
        "What a CA key has issued and revoked, and its revocation list",
        &[Topic::Authority],
    ),
    (
        "~/.config/notation/trustpolicy.oci.json",
        "The trust policy for OCI artifacts; trustpolicy.json is read if it does not exist",
        &[Topic::Policy],
    ),
    (
        "~/.config/notation/trustpolicy.blob.json",
        "The trust policy for files",
        &[Topic::BlobPolicy],
    ),
    (
        "~/.config/notation/policy.hardsign.json",
        "Rules beyond the trust policy: several signers, attached artifacts, hardware",
        &[Topic::Policy, Topic::BlobPolicy],
    ),
    (
        "~/.config/notation/truststore/x509/<type>/<store>/",
        "Trust stores",
        &[Topic::Stores, Topic::Policy, Topic::BlobPolicy],
    ),
    (
        "~/.config/notation/plugins/<name>/notation-<name>",
        "Installed plugins",
        &[Topic::Plugins, Topic::Keys],
    ),
    (
        "~/.config/notation/plugins.hardsign.json",
        "The SHA-256 of installed plugins",
        &[Topic::Plugins, Topic::Keys],
    ),
    (
        "~/.docker/config.json",
        "Logins and credential helpers of Docker; read, never written",
        &[Topic::Registry],
    ),
    (
        "$XDG_RUNTIME_DIR/containers/auth.json",
        "Logins of Podman; read, never written",
        &[Topic::Registry],
    ),
    (
        "~/.cache/notation/crl/",
        "Certificate revocation lists",
        &[Topic::Revocation],
    ),
];

const ENVIRONMENT: &[Row] = &[
    (
        "NOTATION_CONFIG",
        "The configuration directory, in place of ~/.config/notation",
        &[Topic::All],
    ),
    (
        "NOTATION_CACHE",
        "The cache directory, in place of ~/.cache/notation",
        &[Topic::Revocation, Topic::Registry],
    ),
    (
        "NOTATION_LIBEXEC",
        "The directory with plugins, in place of the configuration directory",
        &[Topic::Plugins, Topic::Keys],
    ),
    (
        "NOTATION_USERNAME, NOTATION_PASSWORD",
        "User name and password of the registry",
        &[Topic::Registry],
    ),
    (
        "DOCKER_CONFIG, REGISTRY_AUTH_FILE",
        "Where the logins of Docker and Podman are",
        &[Topic::Registry],
    ),
    (
        "HTTPS_PROXY, HTTP_PROXY, NO_PROXY",
        "Proxies, in capitals or small letters",
        &[Topic::Registry, Topic::Revocation, Topic::Plugins],
    ),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "A file, and a directory, of CAs (PEM) in place of the system's",
        &[Topic::Registry, Topic::Revocation, Topic::Plugins],
    ),
    (
        "XDG_CONFIG_HOME, XDG_CACHE_HOME",
        "In place of ~/.config and ~/.cache",
        &[Topic::All],
    ),
    (
        "NO_COLOR, TERM",
        "No colours, and with TERM=dumb no progress either",
        &[Topic::All],
    ),
    (
        "COLUMNS",
        "The width of the terminal, where it is not to be asked",
        &[Topic::All],
    ),
];

/// The short form of `docs/exit-codes.md`.
const EXIT_STATUS: &[(&str, &str)] = &[
    (
        "0",
        "Success; of verifying commands: everything is verified, or skipped by the policy.",
    ),
    (
        "1",
        "Failure; of verifying commands: at least one thing is not verified.",
    ),
    ("2", "The command line is wrong."),
    (
        "3",
        "A registry, a plugin or a token could not be reached or used, or a deadline passed.",
    ),
];

/// The four sections of a command's page.
pub(super) fn of(command: &Command, name: &str, around: &Around<'_>) -> String {
    let topics = topics(command, name);
    let root = around.above.is_none();
    let meant = |row: &&Row| root || row.2.iter().any(|topic| topics.contains(topic));
    let mut out = String::new();
    let files: Vec<_> = FILES.iter().filter(meant).collect();
    if !files.is_empty() {
        out.push_str(".SH FILES\n");
        files.iter().for_each(|row| item(&mut out, row.0, row.1));
    }
    out.push_str(".SH ENVIRONMENT\n");
    let variables = ENVIRONMENT.iter().filter(meant);
    variables.for_each(|row| item(&mut out, row.0, row.1));
    out.push_str(".SH EXIT STATUS\n");
    EXIT_STATUS
        .iter()
        .for_each(|(code, meaning)| item(&mut out, code, meaning));
    out.push_str(".SH SEE ALSO\n");
    out.push_str(&related(name, around));
    out
}

fn item(out: &mut String, term: &str, meaning: &str) {
    out.push_str(&format!(".TP\n{}{}", literal(term), literal(meaning)));
}

/// Pages above, beside and below, in the order of the alphabet.
fn related(name: &str, around: &Around<'_>) -> String {
    let mut pages: Vec<_> = around.above.map(str::to_owned).into_iter().collect();
    // The commands beside a group of the program are listed on the program's page.
    let in_group = around.above.is_some_and(|above| above.contains('-'));
    let beside = around.siblings.iter().filter(|_| in_group);
    let others = beside.chain(around.below).filter(|page| *page != name);
    pages.extend(others.cloned());
    pages.extend(ALSO.iter().flat_map(|(page, others)| {
        let program = name.split('-').next().unwrap_or_default();
        let of_this = name
            .strip_prefix(program)
            .is_some_and(|rest| rest == format!("-{page}"));
        let others = others.iter().filter(move |_| of_this);
        others.map(move |other| format!("{program}-{other}"))
    }));
    pages.sort();
    pages.dedup();
    let all: Vec<_> = pages
        .iter()
        .map(|page| format!("\\fB{}\\fR(1)", literal(page).trim_end()))
        .collect();
    format!("{}\n", all.join(",\n"))
}

/// What one does before or after.
const ALSO: &[(&str, &[&str])] = &[
    ("sign", &["verify", "list", "key", "attach", "blob-sign"]),
    ("verify", &["sign", "policy", "inspect", "blob-verify"]),
    ("attach", &["sign", "verify", "promote"]),
    ("list", &["inspect", "delete", "sign"]),
    ("inspect", &["list", "verify"]),
    ("copy", &["promote", "list"]),
    ("promote", &["copy", "verify", "sign"]),
    ("delete", &["list"]),
    ("login", &["logout"]),
    ("logout", &["login"]),
    ("certificate", &["policy"]),
    ("policy", &["verify", "certificate", "blob-policy"]),
    ("key", &["sign", "plugin", "token"]),
    ("token-setup", &["key-create"]),
    ("plugin", &["key"]),
    ("blob-sign", &["sign"]),
    ("blob-verify", &["verify", "blob-policy"]),
];

/// By the flags of a command, and where they do not tell, by its name.
fn topics(command: &Command, name: &str) -> Vec<Topic> {
    let flag = |id: &str| command.get_arguments().any(|arg| arg.get_id() == id);
    let part = |word: &str| name.split('-').skip(1).any(|part| part == word);
    let blob = part("blob");
    let verifies =
        part("admission") || part("verify") || part("promote") || part("test") && part("policy");
    let signs = flag("key") || part("key") || part("token");
    let test_key = name.ends_with("generate-test") || name.ends_with("cleanup-test");
    let about = [
        (Topic::All, true),
        (Topic::Keys, signs || part("doctor") || test_key),
        (
            Topic::Authority,
            part("certify") || part("crl") || part("renew"),
        ),
        (
            Topic::Policy,
            !blob && (verifies || part("policy")) || part("doctor"),
        ),
        (
            Topic::BlobPolicy,
            blob && (verifies || part("policy")) || part("doctor"),
        ),
        (
            Topic::Stores,
            part("certificate") || part("certify") || verifies || part("doctor"),
        ),
        (Topic::Plugins, part("plugin") || part("doctor") || verifies),
        (
            Topic::Registry,
            flag("username") || part("logout") || part("admission"),
        ),
        (Topic::Revocation, verifies),
    ];
    about
        .into_iter()
        .filter(|(_, meant)| *meant)
        .map(|(topic, _)| topic)
        .collect()
}
