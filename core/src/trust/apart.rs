//! The directory of trust stores, read beside the tasks of a runtime.

use async_trait::async_trait;

use super::{LoadedStore, Loader, StoreRef, TrustStores};
use crate::budget::apart;
use crate::desk::may_block;

#[async_trait]
impl TrustStores for Loader {
    async fn load(&self, store: &StoreRef) -> LoadedStore {
        if may_block() {
            return self.read(store);
        }
        let (loader, store) = (self.clone(), store.clone());
        apart(move || loader.read(&store)).await
    }
}
