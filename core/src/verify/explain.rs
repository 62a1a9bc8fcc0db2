//! What a policy would demand of an artifact or a file, without looking at any signature and
//! without the network: the data behind `policy explain`.

use crate::policy::hardsign::StatementRules;
use crate::policy::{
    Action, Applicability, Check, Document, Level, Policy, PolicyFile, Scope, SelectionError,
    Verification, VerifyTimestamp, blob, oci,
};
use crate::text::WithCauses;
use crate::trust::{StoreRef, TrustStores};

/// What applies, and what it says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The file of the trust policy.
    pub policy: PolicyFile,
    /// The file of hardsign's own policy, where one was read beside it.
    pub rules_source: Option<PolicyFile>,
    /// The statement.
    pub statement: String,
    /// Why this statement.
    pub because: Because,
    /// Its base level.
    pub level: Level,
    /// Whether `override` changes the level.
    pub overridden: bool,
    /// Each check with its action; `Skip` for all where the level is skip.
    pub checks: [(Check, Action); 5],
    /// When the timestamp is looked at; none where nothing is verified.
    pub verify_timestamp: Option<VerifyTimestamp>,
    /// The stores, and what is in them now.
    pub stores: Vec<ExplainedStore>,
    /// The trusted identities as written.
    pub identities: Vec<String>,
    /// Hardsign's own rules.
    pub rules: Option<StatementRules>,
    /// What the policy says that is accepted but should be known.
    pub warnings: Vec<String>,
}

/// Why a statement applies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Because {
    /// It names the repository.
    Scope(Scope),
    /// It has the scope `*`, and no other names the repository.
    Wildcard,
    /// The user named it.
    Name,
    /// It is the global one.
    Global,
}

/// A store that a statement names.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExplainedStore {
    /// The store.
    pub store: StoreRef,
    /// Subjects of its certificates, or why it can't be used.
    pub subjects: Result<Vec<String>, String>,
}

impl Policy<oci::Document> {
    /// Explains what would be demanded of the artifacts of a repository, `domain[:port]/name`.
    ///
    /// # Errors
    /// If the text is no repository, or no statement applies.
    pub async fn explain(
        &self,
        repository: &str,
        stores: &dyn TrustStores,
    ) -> Result<Explanation, SelectionError> {
        let scope = Scope::parse(repository)?;
        let statement = self
            .document()
            .statement_for_repository(repository, || repository.to_owned())?;
        let because = match statement.scopes().named(&scope) {
            None => Because::Wildcard,
            Some(named) => Because::Scope(named.clone()),
        };
        Ok(self
            .explained(statement.name(), statement.verification(), because, stores)
            .await)
    }
}

impl Policy<blob::Document> {
    /// Explains what would be demanded of files: under the statement of that name, or under the
    /// global one.
    ///
    /// # Errors
    /// If there is no such statement.
    pub async fn explain(
        &self,
        name: Option<&str>,
        stores: &dyn TrustStores,
    ) -> Result<Explanation, SelectionError> {
        let statement = self.document().statement_for(name)?;
        let because = match name {
            Some(_) => Because::Name,
            None => Because::Global,
        };
        Ok(self
            .explained(statement.name(), statement.verification(), because, stores)
            .await)
    }
}

impl<A: Applicability> Policy<Document<A>> {
    async fn explained(
        &self,
        statement: &str,
        verification: &Verification,
        because: Because,
        stores: &dyn TrustStores,
    ) -> Explanation {
        let rules = verification.rules();
        let action = |check| rules.map_or(Action::Skip, |rules| rules.action(check));
        let named = rules.map(|rules| rules.stores()).unwrap_or_default();
        let mut warnings: Vec<_> = self
            .document()
            .warnings()
            .iter()
            .map(ToString::to_string)
            .collect();
        let mut explained = Vec::new();
        for store in named {
            let loaded = stores.load(store).await.store;
            let seen = loaded.iter().flat_map(|s| s.warnings());
            warnings.extend(seen.map(ToString::to_string));
            let subject = |c: &crate::x509::Certificate| c.subject().to_string();
            explained.push(ExplainedStore {
                store: store.clone(),
                subjects: match loaded {
                    Ok(store) => Ok(store.certificates().iter().map(subject).collect()),
                    Err(error) => Err(WithCauses(&error).to_string()),
                },
            });
        }
        let identities = rules.map(|rules| rules.identities().items());
        Explanation {
            policy: self.source().clone(),
            rules_source: self.rules_source().cloned(),
            statement: statement.to_owned(),
            because,
            level: verification.level(),
            overridden: rules.is_some_and(|rules| rules.is_overridden()),
            checks: Check::ALL.map(|check| (check, action(check))),
            verify_timestamp: rules.map(|rules| rules.verify_timestamp()),
            stores: explained,
            identities: identities
                .unwrap_or_default()
                .iter()
                .map(|identity| identity.text().to_owned())
                .collect(),
            rules: self.rules(statement).cloned(),
            warnings,
        }
    }
}
