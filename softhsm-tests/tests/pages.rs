//! The README and the pages in `docs`: their commands are run, or stand in a list with the reason why not. What
//! else the pages say is compared with the code in `docs.rs`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_test_support::Key;
use hardsign_test_support::device::Maker;
use hardsign_test_support::terminal::{Terminal, screen};
use softhsm_tests::fakes::azure::FakeKeyVault;
use softhsm_tests::fakes::google::FakeCloudKms;
use softhsm_tests::keys;
use softhsm_tests::ministack::Ministack;
use softhsm_tests::openbao::OpenBao;
use softhsm_tests::pages::{Block, block, blocks, like, pages, root, steps, text};
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::reader::Reader;
use softhsm_tests::yubikey::{PIN, PUK, YubiKeys};
use virtual_yubikey::keys::{self as algorithms, Private};
use virtual_yubikey::{Config, VirtualYubiKey};

/// Blocks of commands that are not run with the rest of their page: the page, the heading, which one below it,
/// and why, or which test runs them (`file::test`).
const NOT_RUN: &[(&str, &str, usize, &str)] = &[
    (
        "README.md",
        "Install",
        0,
        "clones and builds; scripts/demo runs the same script",
    ),
    (
        "README.md",
        "With a token: SoftHSM",
        0,
        "readme::from_an_empty_token_to_a_trusted_signature",
    ),
    (
        "README.md",
        "With a YubiKey",
        0,
        "pages::a_yubikey_as_the_readme_says",
    ),
    ("README.md", "With a cloud KMS", 0, "pages::keys_in_aws"),
    (
        "README.md",
        "Contributing",
        0,
        "builds and tests everything",
    ),
    (
        "docs/attestation.md",
        "Evidence that a key lives in hardware",
        0,
        "pages::evidence_of_a_yubikey",
    ),
    (
        "docs/attestation.md",
        "Evidence that a key lives in hardware",
        1,
        "pages::evidence_of_a_yubikey",
    ),
    ("docs/awskms.md", "Keys in AWS KMS", 0, "pages::keys_in_aws"),
    (
        "docs/azurekms.md",
        "Keys in Azure Key Vault and Managed HSM",
        0,
        "pages::keys_in_azure",
    ),
    (
        "docs/azurekms.md",
        "Credentials",
        0,
        "needs an account of Azure",
    ),
    (
        "docs/azurekms.md",
        "Certificates",
        0,
        "pages::keys_in_azure",
    ),
    ("docs/cheat-sheet.md", "Set-up", 1, "pages::logging_in"),
    (
        "docs/ci.md",
        "GitHub Actions with Google Cloud",
        0,
        "needs an account of Google Cloud",
    ),
    (
        "docs/ci.md",
        "GitHub Actions with Azure",
        0,
        "needs an account of Azure",
    ),
    (
        "docs/ci.md",
        "GitLab CI with Vault or OpenBao",
        0,
        "needs a GitLab",
    ),
    (
        "docs/ci.md",
        "Jenkins with AWS",
        0,
        "needs an account of AWS",
    ),
    (
        "docs/ci.md",
        "A Kubernetes Job with Vault or OpenBao",
        0,
        "needs a Kubernetes",
    ),
    (
        "docs/ci.md",
        "Vault without a JWT",
        0,
        "ci::vault_by_a_secret_id_for_one_use",
    ),
    (
        "docs/contributing.md",
        "Set-up",
        0,
        "builds and tests everything",
    ),
    (
        "docs/contributing.md",
        "Set-up",
        1,
        "builds and tests everything",
    ),
    (
        "docs/gcpkms.md",
        "Keys in Google Cloud KMS",
        0,
        "pages::keys_in_google_cloud",
    ),
    (
        "docs/gcpkms.md",
        "Credentials",
        0,
        "needs an account of Google Cloud",
    ),
    (
        "docs/gcpkms.md",
        "Certificates",
        0,
        "pages::keys_in_google_cloud",
    ),
    (
        "docs/kubernetes.md",
        "The server",
        0,
        "kubernetes_manifests::the_webhooks_come_last",
    ),
    (
        "docs/kubernetes.md",
        "Its certificate",
        0,
        "kubernetes_manifests::out_and_back_with_cert_manager",
    ),
    (
        "docs/kubernetes.md",
        "Its certificate",
        1,
        "kubernetes_manifests::out_and_back_with_openssl",
    ),
    (
        "docs/kubernetes.md",
        "The webhooks",
        0,
        "kubernetes_manifests::the_webhooks_come_last",
    ),
    (
        "docs/kubernetes.md",
        "When it is down",
        0,
        "kubernetes_manifests::out_and_back_with_openssl",
    ),
    (
        "docs/kubernetes.md",
        "When it is down",
        1,
        "kubernetes_manifests::out_and_back_with_openssl",
    ),
    (
        "docs/migration.md",
        "Before the server goes",
        0,
        "pages::tags_that_a_stand_in_for_docker_trust_lists",
    ),
    (
        "docs/migration.md",
        "Sign again",
        0,
        "pages::images_that_were_in_content_trust",
    ),
    (
        "docs/migration.md",
        "Verifying",
        0,
        "pages::images_that_were_in_content_trust",
    ),
    (
        "docs/pkcs11.md",
        "pinentry on a laptop",
        0,
        "needs a display",
    ),
    ("docs/performance.md", "Performance", 0, "takes minutes"),
    (
        "docs/testing.md",
        "Testing",
        0,
        "builds and tests everything",
    ),
    (
        "docs/testing.md",
        "Testing",
        1,
        "builds and tests everything",
    ),
    (
        "docs/testing.md",
        "Vectors, mutations, fuzzing",
        0,
        "takes minutes",
    ),
    (
        "docs/node.md",
        "From no check to all refused",
        0,
        "node::installed_looked_at_and_taken_away",
    ),
    (
        "docs/node.md",
        "From no check to all refused",
        1,
        "needs a node; node.rs does the same with directories of its own",
    ),
    (
        "docs/node.md",
        "From no check to all refused",
        2,
        "needs a node; node.rs does the same with directories of its own",
    ),
    (
        "docs/node.md",
        "From no check to all refused",
        3,
        "needs a node; node.rs does the same with directories of its own",
    ),
    (
        "docs/node.md",
        "All nodes of a cluster",
        0,
        "needs a cluster",
    ),
    ("docs/testing.md", "Dependencies", 0, "scripts/test runs it"),
    ("docs/testing.md", "Other systems", 0, "takes minutes"),
    ("docs/testing.md", "Architecture", 0, "scripts/test runs it"),
    (
        "docs/testing.md",
        "Requirements and tests",
        0,
        "scripts/test runs it",
    ),
    (
        "docs/testing.md",
        "The virtual YubiKey by hand",
        0,
        "a program for debugging",
    ),
    ("docs/tokens.md", "TPM", 0, "tpm::the_commands_of_the_page"),
    (
        "docs/vault.md",
        "Keys in Vault and OpenBao",
        0,
        "pages::keys_in_vault",
    ),
    (
        "docs/yubikey.md",
        "From a new YubiKey to a signed image",
        0,
        "yubikey_life::set_up_at_a_terminal",
    ),
    (
        "docs/yubikey.md",
        "From a new YubiKey to a signed image",
        1,
        "pages::a_yubikey",
    ),
    (
        "docs/yubikey.md",
        "From a new YubiKey to a signed image",
        2,
        "pages::a_yubikey",
    ),
    (
        "docs/yubikey.md",
        "From a new YubiKey to a signed image",
        3,
        "pages::a_yubikey",
    ),
    (
        "docs/yubikey.md",
        "From a new YubiKey to a signed image",
        4,
        "pages::a_yubikey",
    ),
    (
        "docs/writing-plugins.md",
        "Testing a plugin",
        0,
        "writing_plugins::the_kit_as_the_document_shows_it",
    ),
    (
        "docs/writing-plugins.md",
        "Testing a plugin",
        1,
        "needs a plugin and a key of AWS Signer",
    ),
    (
        "docs/writing-plugins.md",
        "Testing a plugin",
        2,
        "writing_plugins::the_kit_as_the_document_shows_it",
    ),
];

/// The pages whose other blocks are run here, each in a test of its own below.
const RUN: &[&str] = &[
    "README.md",
    "docs/cheat-sheet.md",
    "docs/local.md",
    "docs/migration.md",
    "docs/pkcs11.md",
    "docs/policy.md",
    "docs/promotion.md",
];

fn excused(page: &str, block: &Block) -> Option<&'static str> {
    let mut rows = NOT_RUN.iter();
    let found = rows.find(|(at, heading, nth, _)| {
        (*at, *heading, *nth) == (page, block.heading.as_str(), block.nth)
    });
    found.map(|(.., reason)| *reason)
}

/// Each block of commands is run here or stands in the list; what the list names is there. A test that is
/// named runs the block as the page has it: it reads the page, so it names page, heading, or the block itself.
#[test]
fn each_block_is_run_or_has_a_reason() {
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for page in pages() {
        for block in blocks(&text(&page)).iter().filter(|b| b.is_commands()) {
            match excused(&page, block) {
                Some(reason) => {
                    used.insert((page.clone(), block.heading.clone(), block.nth));
                    faults.extend(cover_fault(&page, block, reason));
                }
                None if RUN.contains(&page.as_str()) => {}
                None => faults.push(format!(
                    "{page}, {:?}, block {}: run it, or say why not",
                    block.heading, block.nth
                )),
            }
        }
    }
    let listed = NOT_RUN
        .iter()
        .map(|(page, heading, nth, _)| (*page, *heading, *nth));
    let mut rows = BTreeSet::new();
    for (page, heading, nth) in listed {
        if !used.contains(&(page.to_owned(), heading.to_owned(), nth)) {
            faults.push(format!("{page} has no block {nth} below {heading:?}"));
        }
        if !rows.insert((page, heading, nth)) {
            faults.push(format!("{page}, {heading:?}, block {nth}: listed twice"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What is wrong with a reason of the form `file::test`: there must be this test, and it must read the block.
fn cover_fault(page: &str, block: &Block, reason: &str) -> Option<String> {
    let (file, test) = reason.split_once("::")?;
    let path = root().join(format!("softhsm-tests/tests/{file}.rs"));
    let source = fs::read_to_string(&path).unwrap_or_default();
    let found = source.split_once(&format!("#[test]\nfn {test}()"));
    let Some((_, rest)) = found else {
        return Some(format!("there is no test {reason}"));
    };
    let body = rest.split("\n}\n").next().unwrap_or_default();
    let mark = |line: &String| line.strip_prefix("# shell: ").map(str::to_owned);
    let names = [page.to_owned(), block.heading.clone()];
    let names = names.into_iter().chain(block.lines.iter().find_map(mark));
    let names: Vec<_> = names.map(|name| format!("{name:?}")).collect();
    let reads = |text: &str| names.iter().any(|name| text.contains(name));
    // Or a function of its file, or of a module that it shares with others, reads the page, and names the heading.
    let modules = source.split("softhsm_tests::").skip(1).map(|rest| {
        let module = rest
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next();
        let path = root().join(format!(
            "softhsm-tests/src/{}.rs",
            module.unwrap_or_default()
        ));
        fs::read_to_string(path).unwrap_or_default()
    });
    // This file has all headings, in the list above.
    let own = (file != "pages").then(|| source.clone());
    let of_a_helper = modules.chain(own).any(|text| {
        text.contains(&format!("{page:?}")) && text.contains(&format!("{:?}", block.heading))
    });
    (!reads(body) && !of_a_helper)
        .then(|| format!("{reason} does not read {page}, {:?}", block.heading))
}

/// Runs the blocks of a page that are not excused.
fn follow(reader: &Reader, page: &str, before: &str, between: &[(&str, &str)]) {
    reader.walk(page, before, between, &|block| {
        excused(page, block).is_none()
    });
}

/// A SoftHSM of the reader's own, as the README sets it up, with these tokens.
fn softhsm(tokens: &[&str]) -> String {
    let mut script = "mkdir -p ~/.config/softhsm2/tokens\n\
         echo \"directories.tokendir = $HOME/.config/softhsm2/tokens\" > ~/.config/softhsm2/softhsm2.conf\n"
        .to_owned();
    for token in tokens {
        script.push_str(&format!(
            "softhsm2-util --init-token --free --label {token} --pin 1234 --so-pin 5678 >.tool\n\
             (umask 077; printf 1234 > ~/.{token}-pin)\n"
        ));
    }
    script
}

/// A CA that issues a certificate for `release.csr`, for signing code.
const ISSUE: &str = "\
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout root.key -out root.crt -days 365 -sha384 \
      -subj '/C=US/ST=WA/O=Example/CN=Example CA' -addext keyUsage=critical,keyCertSign,cRLSign 2>.tool\n\
    printf 'basicConstraints=CA:FALSE\\nkeyUsage=critical,digitalSignature\\nextendedKeyUsage=codeSigning\\n' >leaf.ext\n\
    openssl x509 -req -in release.csr -CA root.crt -CAkey root.key -CAcreateserial -days 90 -sha384 -extfile leaf.ext \
      -out release.crt 2>.tool\n";

/// The same by way of another CA, in `intermediate.crt`.
const ISSUE_BELOW: &str = "\
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout root.key -out root.crt -days 365 -sha384 \
      -subj '/C=US/ST=WA/O=Example/CN=Example CA' -addext keyUsage=critical,keyCertSign,cRLSign 2>.tool\n\
    printf 'basicConstraints=critical,CA:TRUE\\nkeyUsage=critical,keyCertSign,cRLSign\\n' >ca.ext\n\
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout intermediate.key -out intermediate.csr \
      -subj '/C=US/ST=WA/O=Example/CN=Example issuing CA' 2>.tool\n\
    openssl x509 -req -in intermediate.csr -CA root.crt -CAkey root.key -CAcreateserial -days 300 -sha384 -extfile ca.ext \
      -out intermediate.crt 2>.tool\n\
    printf 'basicConstraints=CA:FALSE\\nkeyUsage=critical,digitalSignature\\nextendedKeyUsage=codeSigning\\n' >leaf.ext\n\
    openssl x509 -req -in release.csr -CA intermediate.crt -CAkey intermediate.key -CAcreateserial -days 90 -sha384 \
      -extfile leaf.ext -out release.crt 2>.tool\n";

/// A plugin that says who it is.
const WABBIT: &str = r#"#!/bin/sh
echo '{"name": "wabbit", "description": "Wabbit Networks", "version": "1.0.0", "url": "https://example.com",
  "supportedContractVersions": ["1.0"], "capabilities": ["SIGNATURE_GENERATOR.RAW"]}'
"#;

/// The README from the first signature to a CA of one's own, and what it shows of each command.
#[test]
fn readme() {
    let reader = Reader::new();
    // The section about SoftHSM is run as another user by readme.rs; what follows in the README builds on it.
    let key = "hardsign key create release --type EC-384 --plugin pkcs11 --id \"pkcs11:token=release;object=signing?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:$HOME/.release-pin\" >.tool\n\
        hardsign key certify release --days 365 --subject C=US,ST=WA,O=Example,CN=release >.tool\n";
    let plugin = format!(
        "mkdir wabbit\ncat >wabbit/notation-wabbit <<'END'\n{WABBIT}END\nchmod 755 wabbit/notation-wabbit\n\
         tar czf wabbit_1.0.0_linux_amd64.tar.gz -C wabbit notation-wabbit\n"
    );
    let before = softhsm(&["release", "vault"]) + key + &plugin;
    follow(&reader, "README.md", &before, &[]);
}

#[test]
fn cheat_sheet() {
    let reader = Reader::new();
    let before = softhsm(&["release"])
        + "export RELEASE_PIN=1234\nmkdir dist\necho a >dist/a\necho b >dist/b\necho release >release.tar.gz\n\
           mkdir sigs\necho '{}' >sbom.spdx.json\necho registry.example.com/app:v1 >references.txt\n";
    let between = [
        ("hardsign key import-cert", ISSUE),
        (
            "hardsign verify --policy",
            "cp .config/notation/trustpolicy.oci.json other-policy.json",
        ),
    ];
    follow(&reader, "docs/cheat-sheet.md", &before, &between);
}

#[test]
fn local_keys() {
    follow(&Reader::new(), "docs/local.md", "", &[]);
}

#[test]
fn pkcs11_tokens() {
    let between = [("hardsign key import-cert", ISSUE)];
    follow(
        &Reader::new(),
        "docs/pkcs11.md",
        &softhsm(&["release"]),
        &between,
    );
}

/// A key file of a name, certified, with its certificate in `NAME.pem`.
fn signer(name: &str) -> String {
    format!(
        "hardsign key create {name} --plugin local --id ./{name}.key --type EC-256 >.tool\n\
         hardsign key certify {name} --days 30 --subject C=US,ST=WA,O=Example,CN={name} >.tool\n\
         hardsign key export-cert {name} --out {name}.pem >.tool\n"
    )
}

#[test]
fn coming_from_notation() {
    let reader = Reader::new();
    let before = signer("release")
        + "mkdir bin\nhardsign sign --key release $IMAGE >.tool\n\
           hardsign policy add-signer release --from $IMAGE --yes >.tool\necho $IMAGE >images.txt\n";
    // Under another plugin the key was called so.
    let between = [(
        "hardsign key add release",
        "hardsign key delete release >.tool",
    )];
    follow(&reader, "docs/migration.md", &before, &between);
    let name = reader.home.path().join("bin/notation");
    assert!(name.is_symlink());
}

/// `docker` is a stand-in here, which prints what its documentation shows.
#[test]
fn tags_that_a_stand_in_for_docker_trust_lists() {
    let reader = Reader::new();
    let before = "mkdir bin\nexport PATH=$HOME/bin:$PATH\ncat >bin/docker <<'END'\n\
        #!/bin/sh\n\
        echo '[{\"Name\": \"example/app\", \"SignedTags\": [\
        {\"SignedTag\": \"v2\", \"Digest\": \"bb22\", \"Signers\": [\"Repo Admin\"]}, \
        {\"SignedTag\": \"v1\", \"Digest\": \"aa11\", \"Signers\": [\"alice\"]}, \
        {\"SignedTag\": \"latest\", \"Digest\": \"bb22\", \"Signers\": [\"alice\"]}], \
        \"Signers\": [], \"AdministrativeKeys\": []}]'\nEND\nchmod +x bin/docker\n";
    let block = |block: &Block| block.heading == "Before the server goes";
    reader.walk("docs/migration.md", before, &[], &block);
    let list = fs::read_to_string(reader.home.path().join("app.txt")).unwrap();
    assert_eq!(
        list,
        "docker.io/example/app@sha256:aa11\ndocker.io/example/app@sha256:bb22\n"
    );
}

#[test]
fn policies() {
    let reader = Reader::new();
    let mut before = ["build", "security", "scanner"].map(signer).concat();
    before.push_str(
        "hardsign sign --key build $IMAGE >.tool\necho $IMAGE >images.txt\necho '{}' >scan.sarif\n\
         hardsign sign --key security $IMAGE >.tool\n\
         hardsign attach --type application/sarif+json --key scanner scan.sarif $IMAGE >.tool\n",
    );
    let between = [(
        "# Whoever",
        "cat >new-policy.json <<'END'\n{\"version\": \"1.0\", \"trustPolicies\": [{\"name\": \"all\", \"registryScopes\": [\"*\"], \"signatureVerification\": {\"level\": \"strict\"}, \"trustStores\": [\"ca:build\"], \"trustedIdentities\": [\"*\"]}]}\nEND",
    )];
    follow(&reader, "docs/policy.md", &before, &between);
}

#[test]
fn promotion() {
    let reader = Reader::new();
    reader.registry.push("vendor/app:v1", b"of a vendor");
    let before = ["release", "vendor"].map(signer).concat()
        + "echo '{}' >sbom.spdx.json\nhardsign sign --key release $IMAGE >.tool\n\
           hardsign policy add-signer release --from $IMAGE --yes >.tool\n\
           hardsign sign --key vendor vendor.example.com/app:v1 >.tool 2>&1\n\
           hardsign policy add-signer vendor --from vendor.example.com/app:v1 --yes >.tool 2>&1\n";
    follow(&reader, "docs/promotion.md", &before, &[]);
}

/// AWS's emulator: the README's way, and that of the page with a CA elsewhere.
#[test]
fn keys_in_aws() {
    let server = Ministack::start();
    let mut reader = Reader::new();
    reader.environment = server.environment();
    reader.walk("README.md", "", &[], &|block| {
        block.heading == "With a cloud KMS"
    });

    let server = Ministack::start();
    let mut reader = Reader::new();
    reader.environment = server.environment();
    let issue = format!("{ISSUE}cat release.crt root.crt >chain.pem\n");
    let between = [("hardsign key import-cert", issue.as_str())];
    reader.walk("docs/awskms.md", "", &between, &|_| true);
}

/// OpenBao: the README's way, with what its table says, and that of the page.
#[test]
fn keys_in_vault() {
    let server = OpenBao::start();
    let mut reader = Reader::new();
    reader.environment = server.environment();
    let readme = text("README.md");
    assert!(
        readme.contains("| `hashivault` | `hashivault://release` |"),
        "{readme}"
    );
    let all = blocks(&readme);
    let block = all.iter().find(|block| block.heading == "With a cloud KMS");
    let mut commands = steps(block.unwrap());
    for step in &mut commands {
        let (aws, vault) = (
            "awskms --id alias/release",
            "hashivault --id hashivault://release",
        );
        step.command = step.command.replace(aws, vault);
    }
    for (printed, status) in reader.run("", &commands) {
        assert_eq!(status, 0, "{printed}");
    }
    let chain = server.chain("release", 1);
    let before = format!(
        "hardsign key delete release >.tool\ncp {} chain.pem\n",
        chain.display()
    );
    reader.walk("docs/vault.md", &before, &[], &|_| true);
}

/// A registry that wants a password, and a credential helper that keeps it.
#[test]
fn logging_in() {
    let mut reader = Reader::at(Registry::docker().basic_auth().start());
    let (user, password) = reader.registry.credentials().unwrap();
    reader.replace("-u ci", format!("-u {user}"));
    let before = format!(
        "mkdir -p bin .config/notation\nexport PATH=$HOME/bin:$PATH\ncat >bin/docker-credential-keep <<'END'\n\
         #!/bin/sh\ncase $1 in\nstore) cat >$HOME/kept ;;\n\
         get) cat $HOME/kept 2>/dev/null || {{ echo credentials not found in native keychain; exit 1; }} ;;\nesac\nEND\n\
         chmod +x bin/docker-credential-keep\necho '{{\"credsStore\": \"keep\"}}' >.config/notation/config.json\n\
         echo {password} >password.txt\n"
    );
    let login = |block: &Block| (&*block.heading, block.nth) == ("Set-up", 1);
    reader.walk("docs/cheat-sheet.md", &before, &[], &login);
    let kept = fs::read_to_string(reader.home.path().join("kept")).unwrap();
    assert!(kept.contains(password), "{kept}");
}

/// The registry of these tests in place of Docker Hub, where the images are that were signed.
#[test]
fn images_that_were_in_content_trust() {
    let mut reader = Reader::new();
    reader.replace("docker.io/example/app", "registry.example.com/app");
    let before = signer("release") + "echo docker.io/example/app@sha256:<digest> >app.txt\n";
    let again = |block: &Block| matches!(&*block.heading, "Sign again" | "Verifying");
    reader.walk("docs/migration.md", &before, &[], &again);
}

/// A vault that has a key, and one that has none.
#[test]
fn keys_in_azure() {
    let page = "docs/azurekms.md";
    let (fake, _, _) = FakeKeyVault::with_release();
    let mut reader = Reader::new();
    reader.environment = fake.environment();
    let chain = keys::key(KeySpec::Ec256).chain;
    let before = format!("cp {} chain.pem\n", chain.display());
    reader.walk(page, &before, &[], &|block| {
        block.heading.starts_with("Keys in")
    });

    let fake = FakeKeyVault::start();
    let mut reader = Reader::new();
    reader.environment = fake.environment();
    let between = [("hardsign key import-cert", ISSUE_BELOW)];
    reader.walk(page, "", &between, &|block| block.heading == "Certificates");
}

/// A key ring that has a key, and one that has none.
#[test]
fn keys_in_google_cloud() {
    let page = "docs/gcpkms.md";
    let here = |fake: &FakeCloudKms| {
        let mut environment = fake.environment();
        environment.push(("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS", fake.endpoint()));
        environment
    };
    let (fake, _, _) = FakeCloudKms::with_release();
    let mut reader = Reader::new();
    reader.environment = here(&fake);
    let chain = keys::key(KeySpec::Ec256).chain;
    let before = format!("cp {} chain.pem\n", chain.display());
    reader.walk(page, &before, &[], &|block| {
        block.heading.starts_with("Keys in")
    });

    let fake = FakeCloudKms::start();
    let mut reader = Reader::new();
    reader.environment = here(&fake);
    let between = [("hardsign key import-cert", ISSUE_BELOW)];
    reader.walk(page, "", &between, &|block| block.heading == "Certificates");
}

/// A reader with a YubiKey as it comes out of the box, whose maker is one of these tests. PIN and PUK come from
/// files: nobody types.
fn with_yubikey() -> (YubiKeys, Reader) {
    let maker = Maker::new();
    let mut card = VirtualYubiKey::new(Config {
        version: [5, 7, 4],
        ..Config::default()
    });
    let f9 = Private::from_pkcs8(algorithms::P256, Key::P256_B.pkcs8()).unwrap();
    card.set_attestation(f9, &maker.f9.der);
    let yubikeys = YubiKeys::with(card);
    yubikeys.write_pin("puk", PUK);
    let source = |file: &str| {
        let id = yubikeys.id_with_pin("", file);
        id.split("pin-source=").nth(1).unwrap().to_owned()
    };
    let mut reader = Reader::new();
    let socket = yubikeys.socket().display().to_string();
    reader.environment = vec![("PCSCLITE_CSOCK_NAME", socket)];
    let setup = "hardsign token setup";
    let pins = format!(
        "{setup} --plugin-config pin-source={} --plugin-config puk-source={}",
        source("pin"),
        source("puk")
    );
    reader.replace(setup, pins);
    for slot in ["9c", "82"] {
        let id = yubikeys.id(&format!("slot={slot}"));
        reader.replace(&format!("--id yubikey:slot={slot}"), format!("--id '{id}'"));
    }
    reader.replace("key attest release", "key attest release --root maker.der");
    reader.replace(" --attest ", " --attest --attest-root maker.der ");
    let root = "CN=Maker Root,O=Hardsign Tests,ST=WA,C=US";
    reader.replace("CN=Yubico Attestation Root 1", root);
    reader.replace("USB-C nano", "USB-A keychain");
    fs::write(reader.home.path().join("maker.der"), &maker.root.der).unwrap();
    (yubikeys, reader)
}

#[test]
fn a_yubikey_as_the_readme_says() {
    let (_yubikeys, reader) = with_yubikey();
    reader.walk("README.md", "", &[], &|block| {
        block.heading == "With a YubiKey"
    });
}

/// What makes a YubiKey ready, before a page goes on.
const READY: &str = "hardsign token setup >.tool\n\
    hardsign key create release --plugin yubikey --id yubikey:slot=9c --type EC-256 --pin-policy once --touch-policy cached --default >.tool\n";

/// The page from the key to the verifier, with a CA elsewhere and with one on the YubiKey; the signature is made
/// at a terminal, as the page shows it.
#[test]
fn a_yubikey() {
    let (page, heading) = ("docs/yubikey.md", "From a new YubiKey to a signed image");
    let nth = |nth| move |block: &Block| (&*block.heading, block.nth) == (heading, nth);
    let (_yubikeys, reader) = with_yubikey();
    let issue = [("hardsign key import-cert", ISSUE_BELOW)];
    reader.walk(page, "hardsign token setup >.tool\n", &issue, &nth(1));

    let (_yubikeys, reader) = with_yubikey();
    reader.walk(page, READY, &[], &nth(2));
    // Not from a file any more: somebody types.
    let keys = reader.home.path().join(".config/notation/signingkeys.json");
    let listed = fs::read_to_string(&keys).unwrap();
    let source = listed.split(";pin-source=").nth(1).unwrap();
    let source = format!(";pin-source={}", source.split('"').next().unwrap());
    fs::write(&keys, listed.replace(&source, "")).unwrap();
    let signing = steps(&block(page, heading, 3));
    let terminal = Terminal::new(200);
    let mut child = terminal.run(&reader.command(&signing[0].command));
    terminal.wait_for("the PIN", |shown| shown.contains("tries left): "));
    terminal.types(&format!("{PIN}\n"));
    let shown = screen(&terminal.all());
    assert_eq!(child.wait().unwrap().code(), Some(0), "{shown:?}");
    // A touch counts for a while, so that it may not be asked for once more.
    let is_said = |line: &&str| !line.is_empty() && !line.starts_with("Touch ");
    let lines = shown.iter().map(|line| line.trim_end());
    let lines: Vec<_> = lines.filter(is_said).collect();
    let expected = signing[0].prints.iter().map(String::as_str).filter(is_said);
    let expected = expected.map(|line| reader.here(line));
    assert!(
        like(&expected.collect::<Vec<_>>(), &lines),
        "{page}: {lines:?}"
    );

    fs::write(&keys, listed).unwrap();
    let all = blocks(&text(page));
    let policy = all
        .iter()
        .find(|block| (&*block.heading, &*block.language) == (heading, "json"));
    let policy = policy.unwrap().lines.join("\n");
    let before = format!("cat >trustpolicy.json <<'END'\n{policy}\nEND\n");
    // The machine that verifies is another one.
    let between = [(
        "hardsign certificate add",
        "hardsign certificate delete --type ca --store acme --all --yes >.tool",
    )];
    reader.walk(page, &before, &between, &nth(4));
}

/// Evidence: what a key's looks like, and a signature that carries it.
#[test]
fn evidence_of_a_yubikey() {
    let (_yubikeys, reader) = with_yubikey();
    let before = format!(
        "{READY}hardsign key certify release --days 30 --subject C=US,ST=WA,O=Example,CN=release >.tool\n\
         hardsign key export-cert release --out release.crt >.tool\n\
         hardsign policy add-signer release --cert release.crt --scope registry.example.com/app --yes >.tool\n\
         printf '{{\"version\": \"1.0\", \"oci\": {{\"release\": {{\"hardware\": {{\"roots\": [\"file:%s/maker.der\"]}}}}}}}}' $HOME \
           >.config/notation/policy.hardsign.json\n"
    );
    let heading = "Evidence that a key lives in hardware";
    reader.walk("docs/attestation.md", &before, &[], &|block| {
        block.heading == heading
    });
}
