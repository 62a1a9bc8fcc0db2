//! From the signing flags to a signer, and what its plugin tells on the way.

use std::path::Path;
use std::sync::Arc;

use hardsign_core::artifact::Kind;
use hardsign_core::attestation::Roots;
use hardsign_core::config::{ConfigFile, read_named};
use hardsign_core::dirs::Dirs;
use hardsign_core::envelope::Format;
use hardsign_core::plugin::{
    Finder, Host, KeyChoice as Choice, PluginKey, PluginSigner, UnopenedSigner,
};
use hardsign_core::sign::{
    Countersigner, ProvenEvidence, SignError, SignOptions, TimestampAuthority,
};
use hardsign_core::timestamp::{Client, root_from_file};
use hardsign_core::x509::MAX_FILE_LEN;

use super::{Context, evidence, permissions, revocation};
use crate::args::Deadline;
use crate::args::sign::{self as args, KeyChoice, Signing};
use crate::failure::{Exit, Failure};

/// A signer, and the evidence that its signatures are to carry.
pub(super) struct Opened {
    pub(super) signer: PluginSigner,
    pub(super) evidence: Option<Arc<ProvenEvidence>>,
}

/// Finds the key that was asked for and opens its plugin; with a session this is the login. Things of
/// this kind will be signed.
pub(super) async fn open(
    signing: &Signing,
    kind: Kind,
    dirs: &Dirs,
    context: &Context,
) -> Result<Opened, Failure> {
    let roots = roots(signing)?;
    let (host, key) = find(signing, dirs, context)?;
    let name = key.name.clone().unwrap_or_else(|| key.id.clone());
    let signer = UnopenedSigner::connect(&host, key, kind).await?;
    opened(signer, &name, roots.as_ref(), context).await
}

/// The roots up to which evidence must prove itself, if signatures are to carry any.
fn roots(signing: &Signing) -> Result<Option<Roots>, Failure> {
    let attest = signing.attest.as_ref();
    attest
        .map(|attest| evidence::roots(attest.root.as_deref()))
        .transpose()
}

/// Gets the evidence, if there are roots for it, and then opens the key.
async fn opened(
    signer: UnopenedSigner,
    name: &str,
    roots: Option<&Roots>,
    context: &Context,
) -> Result<Opened, Failure> {
    let evidence = match roots {
        None => None,
        Some(roots) => match evidence::to_carry(&signer, name, roots, context).await {
            Ok(evidence) => Some(evidence),
            Err(failure) => {
                signer.close().await;
                return Err(failure);
            }
        },
    };
    Ok(Opened {
        signer: signer.open().await?,
        evidence,
    })
}

/// Ends the plugin's session; a plugin that takes longer than there is time for is killed.
pub(super) async fn close(signer: &PluginSigner, deadline: &Deadline) {
    match deadline.time_left() {
        None => signer.close().await,
        Some(left) => drop(tokio::time::timeout(left, signer.close()).await),
    }
}

fn find(signing: &Signing, dirs: &Dirs, context: &Context) -> Result<(Host, PluginKey), Failure> {
    let host = host(dirs, context);
    permissions::of_plugins(host.finder(), dirs, context);
    let choice = match &signing.key {
        KeyChoice::Named(name) => Choice::Named(name),
        KeyChoice::Direct { plugin, id } => Choice::OnDemand { plugin, id },
        KeyChoice::Default => Choice::Default,
    };
    let key = PluginKey::resolve(host.finder(), dirs, choice, &signing.plugin_config)?;
    Ok((host, key))
}

/// Why something was not signed. What is wrong with a plugin's answer is told as the plugin's
/// failure, as whatever else fails there is (PLG-31).
pub(super) fn failure(signer: &PluginSigner, error: SignError) -> Failure {
    let prefix = signer.failure_prefix().filter(|_| error.is_of_the_answer());
    let mut failure = Failure::from(error);
    if let Some(prefix) = prefix {
        for message in &mut failure.messages {
            message.insert_str(0, &prefix);
        }
    }
    failure
}

/// The envelope format: the flag, else the configuration, else JWS (CFG-09).
pub(super) fn format(signing: &Signing, dirs: &Dirs) -> Result<Format, Failure> {
    match signing.format {
        Some(format) => Ok(format),
        None => Ok(args::format(&ConfigFile::load(dirs)?.signature_format())?),
    }
}

/// What a signature is to be and to carry, by the flags of signing.
pub(super) fn options(
    signing: &Signing,
    format: Format,
    opened: &Opened,
    dirs: &Dirs,
    context: &Context,
) -> Result<SignOptions, Failure> {
    let options = SignOptions::new(format, context.now())
        .expiry(signing.expiry)
        .user_metadata(signing.user_metadata.clone())
        .timestamp(timestamp(signing, &opened.signer, dirs, context)?)
        .evidence(opened.evidence.clone());
    Ok(options)
}

/// Who countersigns, if a timestamp is asked for (TSA-01, TSA-10, CLI-29).
fn timestamp(
    signing: &Signing,
    signer: &PluginSigner,
    dirs: &Dirs,
    context: &Context,
) -> Result<Option<Arc<dyn Countersigner>>, Failure> {
    let Some(asked) = &signing.timestamp else {
        return Ok(None);
    };
    // PLG-39: told once, before any artifact is looked at.
    if matches!(signer, PluginSigner::Envelopes(_)) {
        return Err(SignError::TimestampUnsupported.into());
    }
    let client = Client::new(&asked.url, context.listener())
        .map_err(|error| Failure::of(Exit::Usage, &error))?;
    let path = &asked.root_certificate;
    let bytes = read_named(Path::new(path), MAX_FILE_LEN as u64).map_err(Failure::error)?;
    let root = root_from_file(&bytes, path).map_err(Failure::error)?;
    context.console.log(
        "info",
        format_args!("timestamps come from {}", client.url()),
    );
    let checker = revocation::checker(dirs, context);
    let authority = TimestampAuthority::new(client, root, checker, context.listener());
    Ok(Some(Arc::new(authority)))
}

/// A plugin host that speaks to this user.
pub(super) fn host(dirs: &Dirs, context: &Context) -> Host {
    Host::new(Finder::new(dirs))
        .on_terminal(context.console.is_terminal())
        .with_interrupt(context.interrupts.interrupt().clone())
        .with_listener(context.listener())
}
