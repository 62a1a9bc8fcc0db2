//! Where stores come from, and stores that are at hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{StoreRef, TrustError, TrustStore, Warning};

/// Where trust stores are: a directory (`Loader`), memory ([`LoadedStores`]), or a
/// place of a program's own. One that can't be reached is a [`TrustError::Access`], whose cause is
/// made of any error by [`io::Error::other`](std::io::Error::other); it fails what needs the store.
///
/// ```
/// use std::sync::Arc;
///
/// use hardsign_core::async_trait;
/// use hardsign_core::trust::{LoadedStore, StoreRef, TrustStore, TrustStores};
/// use hardsign_core::x509::Certificate;
///
/// /// Certificates that came with the program.
/// struct BuiltIn(Vec<Certificate>);
///
/// #[async_trait]
/// impl TrustStores for BuiltIn {
///     async fn load(&self, store: &StoreRef) -> LoadedStore {
///         let found = TrustStore::new(store.clone(), self.0.clone());
///         LoadedStore::new(found.map(Arc::new).map_err(Arc::new))
///     }
/// }
///
/// # let root = hardsign_test_support::Pki::new().root.der;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let stores = BuiltIn(Certificate::parse_file(&root)?);
/// let loaded = stores.load(&StoreRef::parse("ca:mine")?).await;
/// assert_eq!(loaded.store?.certificates().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait TrustStores: Send + Sync {
    /// The store as it is now. It does not block the task that asks.
    async fn load(&self, store: &StoreRef) -> LoadedStore;
}

/// A store, and what should be known of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoadedStore {
    /// The store, or why it can't be used.
    pub store: Result<Arc<TrustStore>, Arc<TrustError>>,
    /// What was not told before.
    pub warnings: Vec<Warning>,
}

/// Stores in memory: those of a statement as they were when it was looked up, so that all signatures
/// meet the same state, or certificates that never were in a directory.
// SEC-32
#[derive(Clone, Debug, Default)]
pub struct LoadedStores(BTreeMap<StoreRef, Result<Arc<TrustStore>, Arc<TrustError>>>);

impl LoadedStore {
    /// A store, or why it can't be used.
    pub fn new(store: Result<Arc<TrustStore>, Arc<TrustError>>) -> Self {
        Self {
            store,
            warnings: Vec::new(),
        }
    }
}

impl LoadedStores {
    /// The same with one more store.
    #[must_use]
    pub fn with(mut self, store: TrustStore) -> Self {
        self.insert(store.store().clone(), Ok(Arc::new(store)));
        self
    }

    /// Puts in a store, or why it can't be used.
    pub fn insert(&mut self, store: StoreRef, loaded: Result<Arc<TrustStore>, Arc<TrustError>>) {
        self.0.insert(store, loaded);
    }

    /// A store.
    ///
    /// # Errors
    /// Why it can't be used; [`TrustError::NotFound`] for one that is not here.
    pub fn get(&self, store: &StoreRef) -> Result<Arc<TrustStore>, Arc<TrustError>> {
        match self.0.get(store) {
            Some(loaded) => loaded.clone(),
            None => Err(Arc::new(TrustError::NotFound {
                store: store.clone(),
                nearest: None,
            })),
        }
    }

    /// The stores that can be used.
    pub fn usable(&self) -> impl Iterator<Item = &TrustStore> {
        self.0.values().flatten().map(|store| &**store)
    }
}

#[async_trait]
impl TrustStores for LoadedStores {
    async fn load(&self, store: &StoreRef) -> LoadedStore {
        LoadedStore::new(self.get(store))
    }
}

#[async_trait]
impl<T: TrustStores + ?Sized> TrustStores for Arc<T> {
    async fn load(&self, store: &StoreRef) -> LoadedStore {
        (**self).load(store).await
    }
}
