//! `policy add-signer` and `remove-signer`, for artifacts and for files: the signer's certificate, the
//! question, and the files. What changes in the documents is decided by `hardsign_core::policy::edit`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hardsign_core::artifact::Kind;
use hardsign_core::artifact::reference::Reference;
use hardsign_core::blob::signature_format;
use hardsign_core::budget::{Phase, during};
use hardsign_core::certify;
use hardsign_core::config::{PolicyFileError, read_named, read_policy, write_atomic};
use hardsign_core::dirs::Dirs;
use hardsign_core::envelope::{Envelope, Format, MAX_ENVELOPE_LEN};
use hardsign_core::oci::registry::Access;
use hardsign_core::policy::edit::{self, Applies, Changed, EditError, Role, Signer};
use hardsign_core::policy::{Applicability, Document, Statement, blob, hardsign, oci};
use hardsign_core::text::WithCauses;
use hardsign_core::trust::{StoreRef, StoreType, edit as stores};
use hardsign_core::verify::{PolicyLoadError, check_together};
use hardsign_core::x509::identity::TrustedIdentity;
use hardsign_core::x509::{Certificate, Chain, CodeSigning, MAX_FILE_LEN};
use hardsign_plugin::text::did_you_mean;
use serde_json::json;

use super::super::repository::Opener;
use super::super::{Context, Unanswered};
use super::{
    NOT_ENFORCED, back_up, changed, check, lock, not_together, read_rules, refused, refused_at,
    subject,
};
use crate::args::policy::signer::{AddArgs, From, RemoveArgs};
use crate::failure::Failure;
use crate::output::{one_line, rfc3339};

/// The files of one kind's policy as they are.
struct Files {
    kind: Kind,
    policy: PathBuf,
    policy_bytes: Option<Vec<u8>>,
    rules: PathBuf,
    rules_bytes: Option<Vec<u8>>,
}

/// What will be written; empty bytes: the file goes.
#[derive(Default)]
struct Plan {
    policy: Option<Vec<u8>>,
    rules: Option<Vec<u8>>,
    changes: Vec<String>,
}

/// The signer's chain, and where it was found.
struct Found {
    chain: Chain<CodeSigning>,
    /// The repository of the artifact that it signed.
    repository: Option<String>,
}

pub(in crate::command) fn add(mut args: AddArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let kind = kind_of(&args.applies);
    let files = Files::read(kind, &dirs)?;
    let found = find(&args, &dirs, context)?;
    if let (Applies::Artifacts(scopes), Some(repository), None) =
        (&mut args.applies, &found.repository, &args.statement)
        && scopes.is_empty()
    {
        scopes.push(repository.clone());
    }
    let leaf = found.chain.leaf();
    let identity = TrustedIdentity::of(leaf).map_err(Failure::error)?;
    let store = StoreRef {
        store_type: StoreType::Ca,
        name: args.name.clone(),
    };
    let signer = Signer {
        name: args.name.as_str().to_owned(),
        identity: identity.text().to_owned(),
        store,
    };
    let (plan, statement) = plan_addition(&args, &files, &signer)?;
    plan.check(&files, &dirs)?;
    let root = found.chain.root();
    let new_store = new_store(&signer.store, root, &dirs)?;
    describe(&signer, leaf, root, context)?;
    let mut changes = plan.changes.clone();
    if new_store {
        let text = format!("trust store {} gets \"{}\"", signer.store, root.subject());
        changes.insert(0, text);
    }
    if changes.is_empty() {
        context
            .console
            .line("Nothing to change: this signer is already trusted.")?;
        return done(&signer, leaf, &statement, &changes, &[], context);
    }
    show(&changes, &files, context)?;
    if plan.rules.is_some() {
        context.console.line(NOT_ENFORCED)?;
    }
    let unanswered = Unanswered::new(format!("signer {} was not added", signer.name), "--yes");
    if !context.confirm("Trust this signer?", args.yes, &unanswered)? {
        return Ok(());
    }
    let _lock = lock(&dirs)?;
    files.as_they_were(&dirs)?;
    let mut made = None;
    if new_store {
        let pem = certify::pem("CERTIFICATE", root.der()).map_err(Failure::error)?;
        let file = format!("{}.crt", args.name.as_str());
        // A store that nothing names trusts nobody, so that it comes first.
        stores::put_new(&dirs, &signer.store, &file, pem.as_bytes()).map_err(Failure::error)?;
        made = Some(stores::directory(&dirs, &signer.store).join(file));
    }
    let written = write(&plan.additions(&files), made)?;
    context.console.line(format_args!(
        "Signer {} is trusted under statement {statement:?}.",
        signer.name
    ))?;
    done(&signer, leaf, &statement, &changes, &written, context)
}

fn done(
    signer: &Signer,
    leaf: &Certificate,
    statement: &str,
    changes: &[String],
    written: &[PathBuf],
    context: &Context,
) -> Result<(), Failure> {
    Ok(context.console.document(&json!({
        "signer": {
            "name": signer.name,
            "subject": leaf.subject().to_string(),
            "sha256Fingerprint": leaf.thumbprint_hex(),
            "trustedIdentity": signer.identity,
        },
        "trustStore": signer.store.to_string(),
        "statement": statement,
        "changes": changes,
        "paths": written,
    }))?)
}

fn kind_of(applies: &Applies) -> Kind {
    match applies {
        Applies::Artifacts(_) => Kind::Oci,
        Applies::Files { .. } => Kind::Blob,
    }
}

/// The documents with the signer in them, and the statement's name.
fn plan_addition(
    args: &AddArgs,
    files: &Files,
    signer: &Signer,
) -> Result<(Plan, String), Failure> {
    let mut plan = Plan::default();
    let bytes = files.policy_bytes.as_deref();
    let statement = if matches!(args.role, Some(Role::Attached { .. })) {
        // Such a signer signs nothing else, so the statement itself stays as it is.
        existing_statement(args, files)?
    } else {
        let changed = edit::add_signer(bytes, args.statement.as_deref(), &args.applies, signer);
        let changed = changed.map_err(|error| failed(error, files))?;
        plan.take_policy(&changed);
        changed.statement
    };
    if let Some(role) = &args.role {
        let rules = files.rules_bytes.as_deref();
        let changed = edit::add_party(rules, files.kind, &statement, role, signer);
        plan.take_rules(changed.map_err(|error| failed(error, files))?);
    }
    Ok((plan, statement))
}

/// The statement that artifacts are verified under already.
fn existing_statement(args: &AddArgs, files: &Files) -> Result<String, Failure> {
    let Applies::Artifacts(scopes) = &args.applies else {
        return Err(Failure::usage("nothing can be attached to a file"));
    };
    let document = match &files.policy_bytes {
        None => None,
        Some(bytes) => Some(oci::Document::parse(bytes).map_err(|e| files.refused(e.into()))?),
    };
    let statements = document.iter().flat_map(|d| d.statements());
    let is = |statement: &&oci::Statement| match &args.statement {
        Some(name) => statement.name() == name,
        None => !scopes.is_empty() && scopes.iter().all(|s| statement.applies_to().has(s)),
    };
    match statements.clone().find(is) {
        Some(statement) => Ok(statement.name().to_owned()),
        None => Err(Failure::failed(format!(
            "no trust policy statement applies to {}",
            match &args.statement {
                Some(name) => format!("the name {name:?}"),
                None if scopes.is_empty() => "an artifact without --scope".to_owned(),
                None => scopes.join(", "),
            }
        ))
        .hint(format!(
            "first add the signer of the artifacts themselves, without --attached{}",
            known(statements.map(Statement::name))
        ))),
    }
}

fn known<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("{name:?}")).collect();
    match names.len() {
        0 => String::new(),
        _ => format!("; its statements are {}", names.join(", ")),
    }
}

/// The signer's certificate and all above it, as verification would accept them.
fn find(args: &AddArgs, dirs: &Dirs, context: &Context) -> Result<Found, Failure> {
    match (&args.from, &args.registry) {
        (From::Certificate(path), _) => Ok(Found {
            chain: from_file(path)?,
            repository: None,
        }),
        (From::Signed(path), _) if signature_format(Path::new(path)).is_ok() => {
            let format = signature_format(Path::new(path)).map_err(Failure::error)?;
            let bytes = read_named(Path::new(path), MAX_ENVELOPE_LEN as u64).map_err(|error| {
                Failure::failed(format!(
                    "failed to read signature file: {}",
                    WithCauses(&error)
                ))
            })?;
            let chain = chain_of(format, &bytes)
                .map_err(|error| Failure::failed(format!("{}: {error}", one_line(path))))?;
            Ok(Found {
                chain: choose(vec![chain], args, path)?,
                repository: None,
            })
        }
        (From::Signed(path), None) => Err(Failure::usage(format!(
            "{} is not a signature file: the name must end in .jws.sig or .cose.sig",
            one_line(path)
        ))),
        (From::Signed(reference), Some((registry, deadline))) => {
            let target = Opener::new(registry, Access::Read, dirs, context)?.open(reference);
            let target = target.map_err(|failure| {
                match registry.oci_layout || reference.parse::<Reference>().is_ok() {
                    true => failure,
                    false => failure.hint(FROM_TAKES),
                }
            })?;
            let budget = deadline.budget();
            let chains = context.wait(budget.run(Phase::Fetching, async {
                let artifact =
                    during(Phase::Resolving, target.place.resolve(&target.target)).await?;
                let listing = target
                    .place
                    .list_signatures(&artifact, MAX_SIGNATURES)
                    .await?;
                let mut chains = Vec::new();
                for manifest in &listing.signatures {
                    let fetched = target.place.fetch_signature(manifest).await?;
                    match chain_of(fetched.format, &fetched.envelope) {
                        Ok(chain) => chains.push(chain),
                        Err(error) => context.console.warning(format_args!(
                            "signature {} is passed over: {error}",
                            manifest.digest
                        )),
                    }
                }
                Ok(chains)
            }))?;
            let repository = match registry.oci_layout {
                true => None,
                false => reference
                    .parse::<Reference>()
                    .ok()
                    .map(|r| r.repository.to_string()),
            };
            Ok(Found {
                chain: choose(chains, args, reference)?,
                repository,
            })
        }
    }
}

/// What `--from` takes, for one that gave it something else.
const FROM_TAKES: &str = "--from takes the reference of an artifact, or a signature file whose name ends in .jws.sig or .cose.sig; --cert takes a certificate file";

/// The chain of an intact signature.
fn chain_of(format: Format, bytes: &[u8]) -> Result<Chain<CodeSigning>, String> {
    let signature = Envelope::parse(format, bytes).and_then(Envelope::verify_integrity);
    match signature {
        Ok(signature) => Ok(signature.chain().clone()),
        Err(error) => Err(WithCauses(&error).to_string()),
    }
}

/// The one signer, or the one of `--fingerprint`.
fn choose(
    chains: Vec<Chain<CodeSigning>>,
    args: &AddArgs,
    from: &str,
) -> Result<Chain<CodeSigning>, Failure> {
    let mut by_leaf: BTreeMap<String, Chain<CodeSigning>> = chains
        .into_iter()
        .map(|chain| (chain.leaf().thumbprint_hex(), chain))
        .collect();
    if let Some(wanted) = &args.fingerprint {
        return by_leaf.remove(wanted).ok_or_else(|| {
            Failure::failed(format!(
                "no intact signature of {} was made with a certificate with the SHA-256 {wanted}",
                one_line(from)
            ))
            .choices("there are:", signers(&by_leaf))
        });
    }
    let from = one_line(from);
    if by_leaf.len() > 1 {
        let several = format!("{from} is signed by {} signers", by_leaf.len());
        let hint = "choose one with --fingerprint:";
        return Err(Failure::failed(several).choices(hint, signers(&by_leaf)));
    }
    let only = by_leaf.pop_first().map(|(_, chain)| chain);
    only.ok_or_else(|| {
        Failure::failed(format!(
            "{from} has no intact signature to take a signer from"
        ))
        .hint("--cert takes the signer from a certificate file")
    })
}

/// SHA-256 and subject of each.
fn signers(by_leaf: &BTreeMap<String, Chain<CodeSigning>>) -> Vec<String> {
    let one = |(thumbprint, chain): (&String, &Chain<CodeSigning>)| {
        format!("{thumbprint} is \"{}\"", chain.leaf().subject())
    };
    match by_leaf.is_empty() {
        true => vec!["none at all".to_owned()],
        false => by_leaf.iter().map(one).collect(),
    }
}

fn from_file(path: &str) -> Result<Chain<CodeSigning>, Failure> {
    let about = |text: String| Failure::failed(format!("{}: {text}", one_line(path)));
    let bytes = read_named(Path::new(path), MAX_FILE_LEN as u64).map_err(Failure::error)?;
    let certificates =
        Certificate::parse_file(&bytes).map_err(|error| about(WithCauses(&error).to_string()))?;
    let Some(last) = certificates.last() else {
        return Err(about("no certificate in the file".to_owned()));
    };
    if certificates.len() == 1 && last.is_ca() {
        return Err(about(format!(
            "\"{}\" is a CA's certificate, not a signer's",
            last.subject()
        ))
        .hint("give the signer's own certificate, followed by this one; `policy init` trusts all that a CA certifies"));
    }
    if !last.is_self_signed() {
        return Err(about(format!(
            "the certificate of the CA \"{}\" is missing",
            last.issuer()
        ))
        .hint("put it after the signer's certificate in the file, and all others up to the root"));
    }
    Chain::prove(certificates).map_err(|error| {
        about(WithCauses(&error).to_string())
            .hint("the signer's certificate comes first, then that of its issuer, up to the root")
    })
}

/// Whether the store has to be made.
fn new_store(store: &StoreRef, root: &Certificate, dirs: &Dirs) -> Result<bool, Failure> {
    let files =
        stores::list(dirs, Some(store.store_type), Some(&store.name)).map_err(Failure::error)?;
    let mut there = Vec::new();
    for file in &files {
        there.extend(stores::read(dirs, store, &file.file).map_err(Failure::error)?);
    }
    if there.is_empty() {
        return Ok(true);
    }
    match there.iter().all(|certificate| certificate == root) {
        true => Ok(false),
        false => Err(Failure::failed(format!(
            "the trust store {store} exists, with other certificates than \"{}\"",
            root.subject()
        ))
        .hint("choose another name for the signer, which is also the name of its trust store")),
    }
}

fn describe(
    signer: &Signer,
    leaf: &Certificate,
    root: &Certificate,
    context: &Context,
) -> Result<(), Failure> {
    let console = &context.console;
    if console.prints_json() {
        return Ok(());
    }
    console.line(format_args!("Signer {}", signer.name))?;
    let lines = [
        ("Subject", leaf.subject().to_string()),
        ("Issuer", leaf.issuer().to_string()),
        ("Root", root.subject().to_string()),
        ("SHA-256", leaf.thumbprint_hex()),
        (
            "Valid",
            format!(
                "{} to {}",
                rfc3339(leaf.not_before_utc()),
                rfc3339(leaf.not_after_utc())
            ),
        ),
    ];
    for (name, value) in lines {
        console.line(format_args!("  {name:<9}{}", one_line(&value)))?;
    }
    Ok(())
}

fn show(changes: &[String], files: &Files, context: &Context) -> Result<(), Failure> {
    if context.console.prints_json() {
        return Ok(());
    }
    let directory = files.policy.parent().unwrap_or(Path::new(""));
    context
        .console
        .line(format_args!("Changes in {}", directory.display()))?;
    for change in changes {
        context
            .console
            .line(format_args!("  {}", one_line(change)))?;
    }
    Ok(())
}

pub(in crate::command) fn remove(
    args: &RemoveArgs,
    kind: Kind,
    context: &Context,
) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let files = Files::read(kind, &dirs)?;
    let (plan, statement) = match kind {
        Kind::Oci => plan_removal::<hardsign_core::policy::Scopes>(args, &files, |statement| {
            args.scopes
                .iter()
                .all(|scope| statement.applies_to().has(scope))
        }),
        Kind::Blob => plan_removal::<blob::Global>(args, &files, |_| true),
    }?;
    plan.check(&files, &dirs)?;
    show(&plan.changes, &files, context)?;
    let unanswered = Unanswered::new(format!("signer {} was not removed", args.name), "--yes");
    let question = format!("Stop trusting {}?", args.name);
    if !context.confirm(&question, args.yes, &unanswered)? {
        return Ok(());
    }
    let _lock = lock(&dirs)?;
    files.as_they_were(&dirs)?;
    let written = write(&plan.removals(&files), None)?;
    context.console.line(format_args!(
        "Signer {} is removed from statement {statement:?}.",
        args.name
    ))?;
    let store = format!("ca:{}", args.name);
    let left = Files::as_they_are(kind, &dirs)?;
    if !left.mention(&store) && dirs.trust_stores().join("ca").join(&args.name).is_dir() {
        context.console.line(format_args!(
            "The trust store {store} is not deleted. To do so: {} certificate delete --type ca --store {} --all",
            context.program, args.name
        ))?;
    }
    Ok(context.console.document(&json!({
        "signer": {"name": args.name},
        "statement": statement,
        "changes": plan.changes,
        "paths": written,
    }))?)
}

/// The documents without the signer, and the statement's name.
fn plan_removal<A: Applicability>(
    args: &RemoveArgs,
    files: &Files,
    is_meant: impl Fn(&Statement<A>) -> bool,
) -> Result<(Plan, String), Failure> {
    let Some(bytes) = &files.policy_bytes else {
        return Err(Failure::failed(
            "there is no trust policy to remove a signer from",
        ));
    };
    let document = Document::<A>::parse(bytes).map_err(|error| files.refused(error.into()))?;
    let rules = match &files.rules_bytes {
        Some(bytes) => hardsign::Document::parse(bytes).map_err(|e| files.refused(e.into()))?,
        None => hardsign::Document::default(),
    };
    let in_store = |statement: &Statement<A>| {
        let rules = statement.verification().rules();
        let stores = rules.into_iter().flat_map(|rules| rules.stores());
        stores
            .into_iter()
            .any(|store| store.name.as_str() == args.name)
    };
    let in_rules = |statement: &Statement<A>| {
        let rules = rules.rules(files.kind, statement.name());
        let signers = rules.and_then(|rules| rules.signers.as_ref());
        let attached = rules.into_iter().flat_map(|rules| &rules.attached);
        let attached = attached.filter_map(|rule| rule.signers());
        let parties = signers
            .into_iter()
            .chain(attached)
            .flat_map(|s| s.parties());
        parties.into_iter().any(|party| party.name() == args.name)
    };
    let has = |statement: &&Statement<A>| match &args.statement {
        Some(name) => statement.name() == name,
        None => is_meant(statement) && (in_store(statement) || in_rules(statement)),
    };
    let candidates: Vec<_> = document.statements().iter().filter(has).collect();
    let statement = match candidates.as_slice() {
        [only] => *only,
        [] => {
            return Err(Failure::failed(format!(
                "no trust policy statement has the signer {}",
                one_line(&args.name)
            ))
            .hint(named_or_shown(
                args.statement.as_deref(),
                document.statements().iter().map(Statement::name),
                files.kind,
            )));
        }
        several => {
            let names = several.iter().map(|statement| statement.name());
            return Err(Failure::failed(format!(
                "several trust policy statements have the signer {}",
                one_line(&args.name)
            ))
            .hint(format!("choose one with --statement{}", known(names))));
        }
    };
    let name = statement.name().to_owned();
    let mut plan = Plan::default();
    let mut identities = Vec::new();
    if let Some(bytes) = &files.rules_bytes
        && in_rules(statement)
    {
        let (changed, of_party) = edit::remove_party(bytes, files.kind, &name, &args.name)
            .map_err(|error| failed(error, files))?;
        plan.take_rules(changed);
        identities = of_party;
    }
    if in_store(statement) || args.identity.is_some() {
        let identity = args
            .identity
            .as_deref()
            .or(identities.first().map(String::as_str));
        let changed = edit::remove_signer::<A>(bytes, &name, &args.name, identity)
            .map_err(|error| failed(error, files))?;
        plan.take_policy(&changed);
    }
    Ok((plan, name))
}

/// The statement that was probably meant, or all that there are.
fn named_or_shown<'n>(
    wanted: Option<&str>,
    names: impl Iterator<Item = &'n str> + Clone,
    kind: Kind,
) -> String {
    let show = match kind {
        Kind::Oci => "hardsign policy show",
        Kind::Blob => "hardsign blob policy show",
    };
    let meant = wanted.and_then(|wanted| did_you_mean(wanted, names.clone()));
    meant.unwrap_or_else(|| format!("`{show}` prints the policy{}", known(names)))
}

fn failed(error: EditError, files: &Files) -> Failure {
    let hint = match &error {
        EditError::Policy(_) => return match error {
            EditError::Policy(error) => refused(error.into()),
            other => Failure::error(other),
        },
        EditError::AnyIdentity { .. } => "name the signers whom it trusts instead of \"*\", or choose another statement with --statement".to_owned(),
        EditError::Skips { .. } => "give it another level, or choose another statement with --statement".to_owned(),
        EditError::NoScopes { .. } => "say with --scope which repositories it applies to".to_owned(),
        EditError::OtherScopes { statement, .. } => format!(
            "--statement {statement} adds the signer for all of them; for a part of them, give that part a statement of its own first"
        ),
        EditError::OtherSigner { .. } => "choose another name, or remove that signer first".to_owned(),
        EditError::WhichIdentity { identities, .. } => {
            let identities = identities.clone();
            return Failure::error(error).choices("give it with --identity:", identities);
        }
        EditError::NoSuchStatement { statement, names } => {
            named_or_shown(Some(statement), names.iter().map(String::as_str), files.kind)
        }
        EditError::Hardsign(_) if files.rules_bytes.is_some() => {
            format!("nothing was written; see {}", files.rules.display())
        }
        EditError::Hardsign(_) => "nothing was written".to_owned(),
        _ => return Failure::error(error),
    };
    Failure::error(error).hint(hint)
}

impl Files {
    /// Reads the files, which are to be changed: what verification refuses is refused, with its place.
    fn read(kind: Kind, dirs: &Dirs) -> Result<Self, Failure> {
        let files = Self::as_they_are(kind, dirs)?;
        if let Some(bytes) = &files.policy_bytes {
            check(subject(kind), bytes).map_err(|error| files.refused(error.into()))?;
        }
        if let Some(bytes) = &files.rules_bytes {
            hardsign::Document::parse(bytes).map_err(|error| files.refused(error.into()))?;
        }
        Ok(files)
    }

    fn as_they_are(kind: Kind, dirs: &Dirs) -> Result<Self, Failure> {
        let (policy, policy_bytes) = match read_policy(dirs, kind) {
            Ok(file) => (file.path, Some(file.bytes)),
            Err(PolicyFileError::NotPresent) => (super::path(kind, dirs), None),
            Err(error) => return Err(refused(error.into())),
        };
        Ok(Self {
            kind,
            policy,
            policy_bytes,
            rules: dirs.hardsign_policy(),
            rules_bytes: read_rules(dirs)?,
        })
    }

    /// A fault in one of them, with its place.
    fn refused(&self, error: PolicyLoadError) -> Failure {
        let (file, bytes) = match error {
            PolicyLoadError::Hardsign(_) => (&self.rules, &self.rules_bytes),
            _ => (&self.policy, &self.policy_bytes),
        };
        refused_at(error, file, bytes.as_deref().unwrap_or_default(), None)
    }

    /// Whether they still are what was shown and agreed to; asked under the lock.
    fn as_they_were(&self, dirs: &Dirs) -> Result<(), Failure> {
        let now = Self::as_they_are(self.kind, dirs)?;
        let policy = (&self.policy, &self.policy_bytes) != (&now.policy, &now.policy_bytes);
        match (policy, self.rules_bytes != now.rules_bytes) {
            (true, _) => Err(changed(&self.policy)),
            (_, true) => Err(changed(&self.rules)),
            _ => Ok(()),
        }
    }

    /// Whether a text stands anywhere in them.
    fn mention(&self, store: &str) -> bool {
        let quoted = format!("\"{store}\"");
        let files = [&self.policy_bytes, &self.rules_bytes];
        files
            .into_iter()
            .flatten()
            .any(|bytes| String::from_utf8_lossy(bytes).contains(&quoted))
    }
}

impl Plan {
    fn take_policy(&mut self, changed: &Changed) {
        if !changed.changes.is_empty() {
            self.policy = Some(changed.document.clone());
            // The statement comes before the rules for it.
            let mut changes = changed.changes.clone();
            changes.append(&mut self.changes);
            self.changes = changes;
        }
    }

    fn take_rules(&mut self, changed: Changed) {
        if !changed.changes.is_empty() {
            self.rules = Some(changed.document);
            self.changes.extend(changed.changes);
        }
    }

    /// Both documents together, as verification will read them: nothing is written that would fail.
    fn check(&self, files: &Files, dirs: &Dirs) -> Result<(), Failure> {
        let new = |changed: &Option<Vec<u8>>, old: &Option<Vec<u8>>| {
            let bytes = changed.clone().or_else(|| old.clone());
            bytes.filter(|bytes| !bytes.is_empty())
        };
        let rules = new(&self.rules, &files.rules_bytes);
        let policy = new(&self.policy, &files.policy_bytes);
        check_together(rules.as_deref(), files.kind, policy.as_deref(), dirs)
            .map_err(|error| not_together(error, files.kind, dirs))
    }

    /// What is written when a signer comes, in this order: rules without their statement would fail every
    /// verification.
    fn additions<'p>(&'p self, files: &'p Files) -> Vec<(&'p Path, &'p [u8])> {
        self.policy(files).chain(self.rules(files)).collect()
    }

    /// What is written when a signer goes, in this order: the rules go before the statement and the stores
    /// that they name. Between the two, nobody is accepted who is not before or after.
    fn removals<'p>(&'p self, files: &'p Files) -> Vec<(&'p Path, &'p [u8])> {
        self.rules(files).chain(self.policy(files)).collect()
    }

    fn policy<'p>(&'p self, files: &'p Files) -> impl Iterator<Item = (&'p Path, &'p [u8])> {
        let bytes = self.policy.iter();
        bytes.map(move |bytes| (files.policy.as_path(), bytes.as_slice()))
    }

    fn rules<'p>(&'p self, files: &'p Files) -> impl Iterator<Item = (&'p Path, &'p [u8])> {
        let bytes = self.rules.iter();
        bytes.map(move |bytes| (files.rules.as_path(), bytes.as_slice()))
    }
}

/// Writes one file after the other; empty bytes: the file goes. What was there stays beside it, as
/// `<name>.bak`. `made` was written before.
fn write(steps: &[(&Path, &[u8])], made: Option<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
    let mut written = Vec::new();
    for (path, bytes) in steps {
        write_one(path, bytes).map_err(|error| {
            let so_far: Vec<_> = made.iter().chain(&written).collect();
            let failure = Failure::failed(format!("failed to write {}: {error}", path.display()));
            failure.hint(left(&so_far))
        })?;
        written.push(path.to_path_buf());
    }
    Ok(written)
}

fn write_one(path: &Path, bytes: &[u8]) -> Result<(), String> {
    back_up(path).map_err(|error| WithCauses(&error).to_string())?;
    match bytes.is_empty() {
        true => fs::remove_file(path).map_err(|error| WithCauses(&error).to_string()),
        false => write_atomic(path, bytes, 0o600).map_err(|error| WithCauses(&error).to_string()),
    }
}

/// What was written before something could not be.
fn left(written: &[&PathBuf]) -> String {
    let files: Vec<_> = written
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    match files.as_slice() {
        [] => "nothing was written".to_owned(),
        files => format!(
            "written so far: {}; run the same command again for the rest",
            files.join(" and ")
        ),
    }
}

/// Most signatures of an artifact that are looked at for signers.
const MAX_SIGNATURES: usize = 100;

#[cfg(test)]
mod tests {
    use hardsign_core::policy::{Policy, Scopes};
    use hardsign_core::trust::StoreName;

    use super::*;

    fn signer(name: &str) -> Signer {
        Signer {
            name: name.to_owned(),
            identity: format!("x509.subject: C=US, ST=WA, O=Acme, CN={name}"),
            store: StoreRef {
                store_type: StoreType::Ca,
                name: StoreName::parse(name).unwrap(),
            },
        }
    }

    /// The files with one more signer.
    fn addition(files: &Files, name: &str, role: Option<&Role>) -> Plan {
        let applies = Applies::Artifacts(vec!["a.example/b".to_owned()]);
        let policy = files.policy_bytes.as_deref();
        let changed = edit::add_signer(policy, None, &applies, &signer(name)).unwrap();
        let mut plan = Plan::default();
        plan.take_policy(&changed);
        if let Some(role) = role {
            let (rules, statement) = (files.rules_bytes.as_deref(), &changed.statement);
            let changed = edit::add_party(rules, files.kind, statement, role, &signer(name));
            plan.take_rules(changed.unwrap());
        }
        plan
    }

    /// Verification takes what is on the disk, or there is no trust policy at all.
    fn loads(dirs: &Dirs) -> bool {
        let loaded = Policy::<oci::Document>::load(dirs);
        let absent = PolicyFileError::NotPresent;
        match loaded {
            Ok(_) => true,
            Err(PolicyLoadError::File(error)) => error.to_string() == absent.to_string(),
            Err(_) => false,
        }
    }

    /// A signer comes and goes, and the command is killed after each file that it writes: what is there is a
    /// policy, and the rules never demand somebody who is not trusted.
    #[test]
    fn what_is_written_by_halves_is_a_policy() {
        let required = Role::Required { at_least: None };
        for roles in [
            [Some(&required), Some(&required)],
            [Some(&required), None],
            [None, Some(&required)],
            [None, None],
        ] {
            let directory = tempfile::tempdir().unwrap();
            let dirs = Dirs::below(directory.path());
            for (name, role) in ["build", "security"].into_iter().zip(roles) {
                let files = Files::read(Kind::Oci, &dirs).unwrap();
                let plan = addition(&files, name, role);
                for step in plan.additions(&files) {
                    write(&[step], None).unwrap();
                    assert!(loads(&dirs), "{roles:?}: {name}");
                }
            }
            for name in ["build", "security"] {
                let files = Files::read(Kind::Oci, &dirs).unwrap();
                let args = RemoveArgs {
                    name: name.to_owned(),
                    statement: None,
                    scopes: Vec::new(),
                    identity: Some(signer(name).identity),
                    yes: true,
                };
                let (plan, _) = plan_removal::<Scopes>(&args, &files, |_| true).unwrap();
                for step in plan.removals(&files) {
                    write(&[step], None).unwrap();
                    assert!(loads(&dirs), "{roles:?}: {name}");
                }
            }
            assert!(!dirs.oci_policy().exists() && !dirs.hardsign_policy().exists());
        }
    }

    /// What could not be written is told together with what was.
    #[test]
    fn a_failure_tells_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let (good, bad) = (directory.path().join("good"), directory.path().join("bad"));
        fs::create_dir(&bad).unwrap();
        let steps = [(good.as_path(), &b"1"[..]), (bad.as_path(), &b"2"[..])];
        let hint = |made, steps| write(steps, made).unwrap_err().hint.unwrap();
        assert_eq!(hint(None, &steps[1..]), "nothing was written");
        let store = directory.path().join("store.crt");
        assert_eq!(
            hint(Some(store.clone()), &steps),
            format!(
                "written so far: {} and {}; run the same command again for the rest",
                store.display(),
                good.display()
            )
        );
    }
}
