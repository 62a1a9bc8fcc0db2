//! The README and the pages in `docs`: their commands are run, or stand in a list with the reason why not; what
//! they say of settings, files, variables and messages is compared with the code.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use softhsm_tests::ministack::Ministack;
use softhsm_tests::openbao::OpenBao;
use softhsm_tests::pages::{Block, Step, blocks, like, pages, root, steps, text};
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::token::module;
use softhsm_tests::{binaries, run};
use tempfile::TempDir;

/// Blocks of commands that this file does not run: the page, the heading, which one below it, and why, or which
/// test does (`file::test`).
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
        "yubikey_life::from_the_box_to_a_signature",
    ),
    ("README.md", "With a cloud KMS", 0, "pages::keys_in_aws"),
    ("README.md", "How it works", 0, "plugin_packages::"),
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
        "yubikey_life::from_the_box_to_a_signature",
    ),
    (
        "docs/attestation.md",
        "Evidence that a key lives in hardware",
        1,
        "evidence::sec_30_from_the_card_to_the_verifier",
    ),
    ("docs/awskms.md", "Keys in AWS KMS", 0, "pages::keys_in_aws"),
    (
        "docs/azurekms.md",
        "Keys in Azure Key Vault and Managed HSM",
        0,
        "azurekms::every_key_id_signs",
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
        "azurekms::a_key_lives_in_the_service",
    ),
    ("docs/cheat-sheet.md", "Set-up", 1, "registries_login::"),
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
        "A Kubernetes Job with Vault or OpenBao",
        0,
        "needs a Kubernetes",
    ),
    ("docs/ci.md", "Vault without a JWT", 0, "ci::"),
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
        "docs/kubernetes.md",
        "Installing",
        0,
        "kubernetes::the_recipe_for_a_certificate",
    ),
    (
        "docs/kubernetes.md",
        "When it is down",
        0,
        "needs kubectl, and takes away a webhook",
    ),
    (
        "docs/gcpkms.md",
        "Keys in Google Cloud KMS",
        0,
        "gcpkms::every_key_id_signs",
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
        "gcpkms::a_key_lives_in_the_service",
    ),
    (
        "docs/kubernetes.md",
        "Installing",
        0,
        "kubernetes::the_recipe_for_a_certificate",
    ),
    (
        "docs/kubernetes.md",
        "When it is down",
        0,
        "needs a cluster",
    ),
    (
        "docs/migration.md",
        "From notation",
        2,
        "azurekms::every_key_id_signs",
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
        "needs images on Docker Hub",
    ),
    (
        "docs/migration.md",
        "Verifying",
        0,
        "needs images on Docker Hub",
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
        "node::installed_looked_at_and_taken_away",
    ),
    (
        "docs/node.md",
        "From no check to all refused",
        2,
        "node::installed_looked_at_and_taken_away",
    ),
    (
        "docs/node.md",
        "From no check to all refused",
        3,
        "node::signed_images_come_in_and_no_others",
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
    ("docs/tokens.md", "TPM", 0, "tpm::keys_in_a_tpm"),
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
        "yubikey_life::from_the_box_to_a_signature",
    ),
    (
        "docs/yubikey.md",
        "From a new YubiKey to a signed image",
        2,
        "yubikey_life::from_the_box_to_a_signature",
    ),
    (
        "docs/yubikey.md",
        "From a new YubiKey to a signed image",
        3,
        "yubikey_life::from_the_box_to_a_signature",
    ),
    (
        "docs/yubikey.md",
        "From a new YubiKey to a signed image",
        4,
        "yubikey_life::from_the_box_to_a_signature",
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

fn is_commands(block: &Block) -> bool {
    matches!(block.language.as_str(), "console" | "sh")
}

fn excused(page: &str, block: &Block) -> Option<&'static str> {
    let mut rows = NOT_RUN.iter();
    let found = rows.find(|(at, heading, nth, _)| {
        (*at, *heading, *nth) == (page, block.heading.as_str(), block.nth)
    });
    found.map(|(.., reason)| *reason)
}

/// Each block of commands is run here or stands in the list; what the list names is there.
#[test]
fn each_block_is_run_or_has_a_reason() {
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for page in pages() {
        for block in blocks(&text(&page)).iter().filter(|b| is_commands(b)) {
            match excused(&page, block) {
                Some(_) => drop(used.insert((page.clone(), block.heading.clone(), block.nth))),
                None if RUN.contains(&page.as_str()) => {}
                None => faults.push(format!(
                    "{page}, {:?}, block {}: run it, or say why not",
                    block.heading, block.nth
                )),
            }
        }
    }
    for (page, heading, nth, reason) in NOT_RUN {
        if !used.contains(&((*page).to_owned(), (*heading).to_owned(), *nth)) {
            faults.push(format!("{page} has no block {nth} below {heading:?}"));
        }
        if let Some((file, test)) = reason.split_once("::") {
            let path = root()
                .join("softhsm-tests/tests")
                .join(format!("{file}.rs"));
            let source = fs::read_to_string(&path).unwrap_or_default();
            if source.is_empty() || !source.contains(&format!("fn {test}")) {
                faults.push(format!("there is no test {reason}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A user with an empty home directory, a registry, and the executables in `PATH`.
struct Reader {
    home: TempDir,
    registry: Registry,
    digest: String,
    environment: Vec<(&'static str, String)>,
}

impl Reader {
    fn new() -> Self {
        let registry = Registry::olareg().start();
        let image = registry.push("app:v1", b"an application");
        let digest = image.rsplit_once(':').unwrap().1.to_owned();
        let home = tempfile::tempdir().unwrap();
        Self {
            home,
            registry,
            digest,
            environment: Vec::new(),
        }
    }

    /// The text of a page with this machine's registry, artifact and module in place of the examples.
    fn here(&self, text: &str) -> String {
        let host = self.registry.host();
        text.replace("registry.example.com", &host)
            .replace("vendor.example.com", &format!("{host}/vendor"))
            .replace("<digest>", &self.digest)
            .replace(
                "/usr/lib/softhsm/libsofthsm2.so",
                &module().display().to_string(),
            )
    }

    /// Runs steps in one shell, with "y" to every question, and gives what each printed with its exit status.
    fn run(&self, before: &str, steps: &[Step]) -> Vec<(String, i32)> {
        let home = self.home.path();
        let mut script = format!(
            "shopt -s expand_aliases\nset -o pipefail\ncd\n{}\n",
            self.here(before)
        );
        for (at, step) in steps.iter().enumerate() {
            let command = self.here(&step.command);
            script.push_str(&format!(
                "{{\n{command}\n}} >.step{at} 2>&1\necho $? >.status{at}\n"
            ));
        }
        fs::write(home.join(".script"), script).unwrap();
        let mut yes = Command::new("yes")
            .arg("y")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = run(Command::new("bash")
            .arg(home.join(".script"))
            .stdin(yes.stdout.take().unwrap())
            .env_clear()
            .envs(self.environment.iter().cloned())
            .env("HOME", home)
            .env("LC_ALL", "C.UTF-8")
            .env(
                "IMAGE",
                self.here("registry.example.com/app@sha256:<digest>"),
            )
            .env(
                "PATH",
                format!("{}:/usr/local/bin:/usr/bin:/bin", binaries().display()),
            ));
        drop(yes.kill());
        drop(yes.wait());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said, "", "the script itself");
        let read = |name: String| fs::read_to_string(home.join(name)).unwrap();
        (0..steps.len())
            .map(|at| {
                let status = read(format!(".status{at}")).trim().parse().unwrap();
                (read(format!(".step{at}")), status)
            })
            .collect()
    }

    /// Runs the blocks of a page that are not excused. `between` has what others do meanwhile: a command, and
    /// what is run before it.
    fn follow(&self, page: &str, before: &str, between: &[(&str, &str)]) {
        self.walk(page, before, between, &|block| {
            excused(page, block).is_none()
        });
    }

    /// The same for chosen blocks.
    fn walk(
        &self,
        page: &str,
        before: &str,
        between: &[(&str, &str)],
        chosen: &dyn Fn(&Block) -> bool,
    ) {
        let mut all = Vec::new();
        let mut used = 0;
        for block in blocks(&text(page)).iter().filter(|b| is_commands(b)) {
            if !chosen(block) {
                continue;
            }
            for mut step in steps(block) {
                for (command, script) in between {
                    if step.command.starts_with(command) {
                        step.command = format!("{script}\n{}", step.command);
                        used += 1;
                    }
                }
                all.push(step);
            }
        }
        assert!(
            used >= between.len(),
            "a command of {between:?} is not in {page}"
        );
        let ran = self.run(before, &all);
        let mut faults = Vec::new();
        for (step, (printed, status)) in all.iter().zip(ran) {
            let shown: Vec<_> = step.prints.iter().map(|line| self.here(line)).collect();
            let lines: Vec<_> = printed.lines().collect();
            if status != 0 || !(shown.is_empty() || like(&shown, &lines)) {
                faults.push(format!(
                    "$ {}\n{printed}(exit status {status})",
                    step.command
                ));
            }
        }
        assert!(faults.is_empty(), "{page}:\n{}", faults.join("\n\n"));
    }
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

/// The README from the first signature to a CA of one's own, and what it shows of each command.
#[test]
fn readme() {
    let reader = Reader::new();
    // The section about SoftHSM is run as another user by readme.rs; what follows in the README builds on it.
    let key = "hardsign key create release --type EC-384 --plugin pkcs11 --id \"pkcs11:token=release;object=signing?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:$HOME/.release-pin\" >.tool\n\
        hardsign key certify release --days 365 --subject C=US,ST=WA,O=Example,CN=release >.tool\n";
    let before = softhsm(&["release", "vault"]) + key;
    reader.follow("README.md", &before, &[]);
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
    reader.follow("docs/cheat-sheet.md", &before, &between);
}

#[test]
fn local_keys() {
    Reader::new().follow("docs/local.md", "", &[]);
}

#[test]
fn pkcs11_tokens() {
    let between = [("hardsign key import-cert", ISSUE)];
    Reader::new().follow("docs/pkcs11.md", &softhsm(&["release"]), &between);
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
    reader.follow("docs/migration.md", &before, &[]);
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
    reader.follow("docs/policy.md", &before, &between);
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
    reader.follow("docs/promotion.md", &before, &[]);
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

/// Each script that a page tells to run is there.
#[test]
fn scripts_of_the_pages_are_there() {
    for page in pages() {
        for word in text(&page).split([' ', '`', '\n', '(', ')', ',', ';']) {
            let Some(script) = word.trim_start_matches("./").strip_prefix("scripts/") else {
                continue;
            };
            let script = script.trim_end_matches(['.', ':']);
            assert!(
                root().join("scripts").join(script).exists(),
                "{page}: {word}"
            );
        }
    }
}

/// Links to other files of the repository lead somewhere, and the index of the pages names each of them.
#[test]
fn links_lead_to_pages() {
    for page in pages() {
        let directory = root().join(Path::new(&page).parent().unwrap());
        // Without blocks of code, whose brackets are none of links.
        let text: String = text(&page).split("\n```").step_by(2).collect();
        for part in text.split("](").skip(1) {
            let target = part.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") && !target.contains(' ') {
                assert!(directory.join(target).exists(), "{page}: {target}");
            }
        }
    }
    let index = text("docs/README.md");
    for page in pages() {
        let name = page.trim_start_matches("docs/");
        assert!(
            index.contains(&format!("{name})")),
            "docs/README.md does not list {name}"
        );
    }
    assert!(root().join(".github/SECURITY.md").exists());
}

/// The recording shows the commands of the README.
#[test]
fn recording_is_of_the_readme() {
    run(Command::new(root().join("scripts/recording")).arg("--check"));
}

/// The settings that a plugin declares, by name.
fn declared(plugin: &str) -> BTreeSet<String> {
    let program = binaries().join(format!("notation-{plugin}"));
    let output = run(Command::new(program)
        .arg("get-plugin-metadata")
        .stdin(Stdio::null()));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let settings = metadata["settings"].as_array().unwrap();
    let names = settings
        .iter()
        .map(|s| s["name"].as_str().unwrap().to_owned());
    names.collect()
}

/// Names in the first column of the tables whose head begins with `head`.
fn rows(page: &str, head: &str) -> BTreeSet<String> {
    let (mut names, mut inside) = (BTreeSet::new(), false);
    for line in text(page).lines() {
        inside = line.starts_with(&format!("| {head} |")) || inside && line.starts_with('|');
        if let Some(cell) = line.strip_prefix("| `").filter(|_| inside) {
            let cell = cell.split(" |").next().unwrap();
            names.extend(
                cell.split(['`', ','])
                    .map(str::trim)
                    .filter(|n| !n.is_empty())
                    .map(str::to_owned),
            );
        }
    }
    names
}

/// The plugins of the box, each with its page, which is what its manifest names as its documentation.
fn plugins_of_the_box() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root().join("plugins")).unwrap().flatten() {
        let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).unwrap_or_default();
        let plugin = entry.file_name().into_string().unwrap();
        if manifest.contains(&format!("\nname = \"notation-{plugin}\"\n")) {
            let mut lines = manifest.lines();
            let page = lines
                .find_map(|line| line.strip_prefix("documentation = "))
                .unwrap();
            let page = page.trim_matches('"').rsplit_once("/main/").unwrap().1;
            found.insert(plugin, page.to_owned());
        }
    }
    found
}

/// The page of each plugin has the settings that the plugin declares, and no others.
#[test]
fn settings_are_those_of_the_plugins() {
    let plugins = plugins_of_the_box();
    assert!(plugins.len() >= 7, "{plugins:?}");
    for (plugin, page) in plugins {
        assert_eq!(rows(&page, "setting"), declared(&plugin), "{page}");
    }
    // What command lines of the pages set is declared too.
    for page in pages() {
        for line in text(&page).replace("\\\n", " ").lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let value = |flag: &str| {
                let at = words.iter().position(|word| *word == flag)?;
                words.get(at + 1).copied()
            };
            let Some(plugin) =
                value("--plugin").filter(|p| binaries().join(format!("notation-{p}")).exists())
            else {
                continue;
            };
            for pair in words.windows(2).filter(|pair| pair[0] == "--plugin-config") {
                let name = pair[1].split('=').next().unwrap();
                assert!(declared(plugin).contains(name), "{page}: {line}");
            }
        }
    }
}

/// The sources of what users run, each without the tests at its foot.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![
        root().join("core/src"),
        root().join("cli/src"),
        root().join("plugins"),
    ];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            if path.is_dir() {
                open.extend(
                    Some(path).filter(|_| !name.contains("testkit") && !name.contains("/tests")),
                );
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap().lines();
                let code = code.filter(|line| !line.trim_start().starts_with("//"));
                let code = code.collect::<Vec<_>>().join("\n");
                found.insert(name, code);
            }
        }
    }
    found
}

/// Text literals of a source, as far as they hold no quotes.
fn literals(source: &str) -> impl Iterator<Item = &str> {
    source.split('"').skip(1).step_by(2)
}

/// Names that look like those of variables.
const NO_VARIABLES: &[&str] = &["TAG_INVALID"];

/// files.md has each environment variable that the code reads, and each one that it has is read.
#[test]
fn variables_are_those_that_are_read() {
    let page = text("docs/files.md");
    let (_, tables) = page.split_once("## Environment variables").unwrap();
    let sources = sources();
    let upper = |name: &str| {
        name.contains('_')
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let mut missing = Vec::new();
    for (name, source) in &sources {
        if !["env::var", "environment(", "variable("]
            .iter()
            .any(|reads| source.contains(reads))
        {
            continue;
        }
        for literal in literals(source) {
            let service = ["RSA_", "EC_", "GOOGLE_SYMMETRIC"];
            let known = [
                "HOME",
                "PATH",
                "TERM",
                "AppData",
                "LocalAppData",
                "USERPROFILE",
                "APPDATA",
            ];
            let variable =
                upper(literal) && !service.iter().any(|start| literal.starts_with(start));
            if (variable || known.contains(&literal))
                && !literal.starts_with("CARGO_")
                && !NO_VARIABLES.contains(&literal)
                && !tables.contains(&format!("`{literal}`"))
            {
                missing.push(format!("{name}: {literal}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "not in docs/files.md:\n{}",
        missing.join("\n")
    );
    // These are read by libraries that are linked, or made of two parts.
    let elsewhere = ["PCSCLITE_CSOCK_NAME"];
    let all: String = sources.values().cloned().collect();
    for name in tables
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| upper(name))
    {
        let part = name
            .strip_prefix("VAULT_")
            .or_else(|| name.strip_prefix("BAO_"));
        let read =
            all.contains(name) || part.is_some_and(|part| all.contains(&format!("\"{part}\"")));
        assert!(
            read || name.ends_with('_') || elsewhere.contains(&name),
            "nothing reads {name}"
        );
    }
}

/// files.md has each file and directory that `dirs` names.
#[test]
fn files_are_those_of_the_code() {
    let page = text("docs/files.md");
    let dirs = &sources()["core/src/dirs.rs"];
    let joined = dirs
        .split(".join(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    let made = literals(dirs).filter_map(|text| text.strip_prefix("{name}"));
    let mut seen = 0;
    for name in joined.chain(made) {
        assert!(page.contains(name), "docs/files.md does not have {name}");
        seen += 1;
    }
    assert!(seen > 15, "only {seen} files were found in dirs.rs");
}

/// Messages in the first column of the tables about messages.
fn messages(page: &str) -> Vec<String> {
    let (mut found, mut inside) = (Vec::new(), false);
    for line in text(page).lines() {
        inside = line.starts_with("| message |") || inside && line.starts_with('|');
        if let Some(rest) = line.strip_prefix("| `").filter(|_| inside) {
            found.push(rest.split('`').next().unwrap().to_owned());
        }
    }
    found
}

/// Each message of troubleshooting.md is one that a program can print: its parts stand in the source, or in a
/// transcript.
#[test]
fn messages_are_printed_by_something() {
    let joined = |text: &str| {
        let lines = text.split("\\\n").map(str::trim_start);
        lines.collect::<String>().replace("\\\"", "\"")
    };
    let mut said: String = sources().values().map(|source| joined(source)).collect();
    for verb in fs::read_dir(root().join("cli/tests/cmd")).unwrap() {
        for case in fs::read_dir(verb.unwrap().path()).unwrap() {
            said.push_str(&fs::read_to_string(case.unwrap().path()).unwrap());
        }
    }
    let (mut seen, mut faults) = (0, Vec::new());
    for page in ["docs/troubleshooting.md", "docs/yubikey.md"] {
        for message in messages(page) {
            seen += 1;
            // The system's loader and the TLS library print these.
            let foreign = ["libpcsclite", "invalid peer certificate"];
            if foreign.iter().any(|start| message.starts_with(start)) {
                continue;
            }
            for part in message
                .split('…')
                .map(str::trim)
                .filter(|part| part.len() > 3)
            {
                if !said.contains(part) {
                    faults.push(format!("{page}: {message}: {part:?}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "nothing prints:\n{}", faults.join("\n"));
    assert!(seen > 60, "only {seen} messages were found");
}
