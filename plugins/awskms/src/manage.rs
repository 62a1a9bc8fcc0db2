//! Lists keys and makes new ones.

use std::collections::BTreeMap;

use aws_sdk_kms::types::{KeyMetadata, KeySpec as Kind, KeyUsageType};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{
    Base64, CreateKeyRequest, CreateKeyResponse, KeyEntry, ListKeysRequest, ListKeysResponse,
};
use hardsign_plugin::{Context, Error, KeyRequest, Purpose};
use hardsign_plugin_kms::{names_beside, no_policies, none_beside};

use crate::SERVICE;
use crate::client::Kms;
use crate::id::Config;
use crate::key::public_key;

/// The most keys that a list looks at.
const MAX_LISTED: usize = 500;

/// The most pages of a list that are read.
const MAX_PAGES: usize = 50;

/// Keys that are looked at at once: the service allows many fewer looks than signatures.
const AT_ONCE: usize = 10;

/// Lists the signing keys of the region.
pub(crate) async fn list_keys(
    request: &ListKeysRequest,
    context: &Context<'_>,
) -> Result<ListKeysResponse, Error> {
    let key = KeyRequest::new(&request.key_id, &request.plugin_config, Purpose::Describe);
    let config = Config::read(&key)?;
    let kms = Kms::open(&key, config, context).await?;
    let mut answer = ListKeysResponse::default();
    let ids = match kms.config.key.as_str() {
        "" => keys(&kms, context).await?,
        one => vec![one.to_owned()],
    };
    answer.truncated = ids.len() > MAX_LISTED;
    let aliases = match aliases(&kms, context).await {
        Ok(aliases) => aliases,
        Err(error) => {
            answer.warnings.push(format!("no aliases: {error}"));
            BTreeMap::new()
        }
    };
    let mut waiting = ids.iter().take(MAX_LISTED);
    let mut looks = FuturesOrdered::new();
    for id in waiting.by_ref().take(AT_ONCE) {
        looks.push_back(describe(&kms, id, context));
    }
    while let Some(look) = looks.next().await {
        if let Some(id) = waiting.next() {
            looks.push_back(describe(&kms, id, context));
        }
        match look {
            Ok(Some(key)) => answer.keys.extend(entry(&kms, &key, &aliases)),
            Ok(None) => {}
            Err(error) => answer.warnings.push(error.to_string()),
        }
    }
    if answer.keys.is_empty() && ids.len() == 1 && !kms.config.key.is_empty() {
        // The one that was named is none.
        public_key(&kms, &kms.config.key, context).await?;
    }
    Ok(answer)
}

/// What is told of a key; nothing of one that does not sign.
fn entry(kms: &Kms, key: &KeyMetadata, aliases: &BTreeMap<String, String>) -> Option<KeyEntry> {
    if key.key_usage() != Some(&KeyUsageType::SignVerify) {
        return None;
    }
    let kind = key.key_spec().map_or("", Kind::as_str);
    let state = key.key_state().map_or("", |state| state.as_str());
    let arn = key.arn().unwrap_or(key.key_id());
    Some(KeyEntry {
        key_id: arn.to_owned(),
        key_spec: key.key_spec().and_then(spec).filter(|_| key.enabled()),
        description: match key.enabled() {
            true => kind.to_owned(),
            false => format!("{kind}, {state}"),
        },
        label: aliases.get(key.key_id()).cloned(),
        certificate: None,
        token: Some(kms.place(arn)),
    })
}

async fn describe(
    kms: &Kms,
    id: &str,
    context: &Context<'_>,
) -> Result<Option<KeyMetadata>, Error> {
    let what = format!("describing {}", kms.name(id));
    let request = || kms.client.describe_key().key_id(id).send();
    let found = kms.find(&what, "kms:DescribeKey", context, request).await?;
    Ok(found.ok().and_then(|answer| answer.key_metadata))
}

/// The ids of all keys.
async fn keys(kms: &Kms, context: &Context<'_>) -> Result<Vec<String>, Error> {
    let what = format!("listing the keys in {}", kms.region);
    let (mut ids, mut marker) = (Vec::new(), None::<String>);
    for _ in 0..MAX_PAGES {
        let request = || {
            let list = kms.client.list_keys().limit(1000);
            list.set_marker(marker.clone()).send()
        };
        let page = kms.ask(&what, "kms:ListKeys", context, request).await?;
        ids.extend(page.keys().iter().filter_map(|key| key.key_id.clone()));
        marker = page.next_marker;
        if marker.is_none() || ids.len() > MAX_LISTED {
            break;
        }
    }
    Ok(ids)
}

/// An alias of each key that has one: the first in the alphabet.
async fn aliases(kms: &Kms, context: &Context<'_>) -> Result<BTreeMap<String, String>, Error> {
    let what = format!("listing the aliases in {}", kms.region);
    let (mut all, mut marker) = (BTreeMap::<String, String>::new(), None::<String>);
    for _ in 0..MAX_PAGES {
        let request = || {
            let list = kms.client.list_aliases().limit(100);
            list.set_marker(marker.clone()).send()
        };
        let page = kms.ask(&what, "kms:ListAliases", context, request).await?;
        for alias in page.aliases() {
            if let (Some(key), Some(name)) = (&alias.target_key_id, &alias.alias_name) {
                let known = all.entry(key.clone()).or_insert_with(|| name.clone());
                if name < known {
                    known.clone_from(name);
                }
            }
        }
        marker = page.next_marker;
        if marker.is_none() {
            break;
        }
    }
    Ok(all)
}

/// Makes a key under an alias, or gives the alias to a new key.
pub(crate) async fn create_key(
    request: &CreateKeyRequest,
    context: &Context<'_>,
) -> Result<CreateKeyResponse, Error> {
    no_policies(SERVICE, request)?;
    let key = KeyRequest::new(&request.key_id, &request.plugin_config, Purpose::Certify);
    let config = Config::read(&key)?.named()?;
    if request.beside {
        let kms = Kms::open(&key, config, context).await?;
        let alias = beside(&kms, context).await?;
        return make(&kms, &alias, None, request, context).await;
    }
    let alias = alias_of(&config.key);
    if !alias.starts_with("alias/") || alias.starts_with("alias/aws/") {
        return Err(Error::validation(format!(
            "a new key can't have the id {alias:?}: {SERVICE} chooses the id itself"
        ))
        .with_hint("name it by an alias of your own: alias/NAME"));
    }
    let kms = Kms::open(&key, config, context).await?;
    let there = describe(&kms, &alias, context).await?;
    let there = there.map(|key| key.arn.unwrap_or(key.key_id));
    if let (Some(arn), false) = (&there, request.overwrite) {
        return Err(Error::validation(format!(
            "{alias} in {} exists already: it names {arn}",
            kms.region
        ))
        .with_hint(
            "choose another alias, or give this one to a new key with `key create --force`",
        ));
    }
    make(&kms, &alias, there, request, context).await
}

/// `alias/NAME` of an alias or its ARN; other ids as they are.
fn alias_of(key: &str) -> String {
    key.rsplit_once(":alias/")
        .map_or_else(|| key.to_owned(), |(_, name)| format!("alias/{name}"))
}

/// A free alias for a new key beside the one that is named, by its own alias.
async fn beside(kms: &Kms, context: &Context<'_>) -> Result<String, Error> {
    let old = alias_of(&kms.config.key);
    let old = match old.starts_with("alias/") {
        true => old,
        false => {
            let what = format!("looking for an alias of {}", kms.name(&old));
            let request = || kms.client.list_aliases().key_id(&old).limit(100).send();
            let found = kms.ask(&what, "kms:ListAliases", context, request).await?;
            let names = found
                .aliases()
                .iter()
                .filter_map(|alias| alias.alias_name());
            let first = names.min().map(str::to_owned);
            first.ok_or_else(|| {
                Error::validation(format!(
                    "{} has no alias to name a new key after",
                    kms.name(&old)
                ))
                .with_hint("name the new key with --id alias/NAME")
            })?
        }
    };
    for alias in names_beside(&old) {
        if describe(kms, &alias, context).await?.is_none() {
            return Ok(alias);
        }
    }
    Err(none_beside(&old))
}

/// Makes a key, and gives it an alias, which so far names the key `there`.
async fn make(
    kms: &Kms,
    alias: &str,
    there: Option<String>,
    request: &CreateKeyRequest,
    context: &Context<'_>,
) -> Result<CreateKeyResponse, Error> {
    if !request.confirmed {
        return Err(Error::needs_confirmation(format!(
            "Make a key in {SERVICE} in {}? AWS charges for each key by the month, until it is deleted.",
            kms.region
        )));
    }
    let what = format!("making a key in {}", kms.region);
    // Not repeated: an answer that got lost would leave one key too many.
    let made = kms
        .client
        .create_key()
        .key_usage(KeyUsageType::SignVerify)
        .key_spec(kind(request.key_spec))
        .description(format!("Notary Project signing key {alias}"))
        .send();
    let made = kms.ask_once(&what, "kms:CreateKey", context, made).await?;
    let made = made.key_metadata.and_then(|key| key.arn);
    let arn = made.ok_or_else(|| {
        Error::other(format!("{SERVICE}, {what}: the answer names no key"))
            .with_hint("look for the new key with `hardsign key list --plugin awskms`")
    })?;
    name(kms, alias, &arn, there.is_some(), context).await?;
    let (_, public) = public_key(kms, &arn, context).await?;
    if public.key_spec() != Some(request.key_spec) {
        return Err(Error::other(format!(
            "{SERVICE} made {} where {} was asked for: {arn}",
            public.describe(),
            request.key_spec
        )));
    }
    Ok(CreateKeyResponse {
        key_spec: request.key_spec,
        public_key: Base64(public.to_spki_der()?),
        token: Some(kms.place(&arn)),
        replaced: there.map(|old| format!("the key that {alias} named; it still exists: {old}")),
        key_id: arn,
    })
}

/// Gives a key its alias, or takes the alias from another for it.
async fn name(
    kms: &Kms,
    alias: &str,
    arn: &str,
    taken: bool,
    context: &Context<'_>,
) -> Result<(), Error> {
    let what = format!("naming the new key {arn}");
    let named = if taken {
        let moved = kms.client.update_alias();
        let moved = moved.alias_name(alias).target_key_id(arn).send();
        kms.ask_once(&what, "kms:UpdateAlias", context, moved)
            .await
            .map(drop)
    } else {
        let new = kms.client.create_alias();
        let new = new.alias_name(alias).target_key_id(arn).send();
        kms.ask_once(&what, "kms:CreateAlias", context, new)
            .await
            .map(drop)
    };
    named.map_err(|error| {
        Error::new(error.code().clone(), error.to_string()).with_hint(format!(
            "the key was made: use it by its ARN, or delete it with `aws kms schedule-key-deletion --key-id {arn}`"
        ))
    })
}

fn kind(spec: KeySpec) -> Kind {
    match spec {
        KeySpec::Rsa2048 => Kind::Rsa2048,
        KeySpec::Rsa3072 => Kind::Rsa3072,
        KeySpec::Rsa4096 => Kind::Rsa4096,
        KeySpec::Ec256 => Kind::EccNistP256,
        KeySpec::Ec384 => Kind::EccNistP384,
        KeySpec::Ec521 => Kind::EccNistP521,
    }
}

fn spec(kind: &Kind) -> Option<KeySpec> {
    let all = [
        KeySpec::Rsa2048,
        KeySpec::Rsa3072,
        KeySpec::Rsa4096,
        KeySpec::Ec256,
        KeySpec::Ec384,
        KeySpec::Ec521,
    ];
    all.into_iter().find(|spec| self::kind(*spec) == *kind)
}
