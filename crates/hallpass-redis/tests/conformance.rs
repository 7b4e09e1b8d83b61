//! The public suite that every store passes, on Redis, Redis Cluster and Valkey.

mod support;

mod redis {
    use std::sync::Arc;

    use hallpass_core::Store;

    use crate::support::{REDIS, fresh, handles, needed};

    async fn fresh_store() -> Arc<dyn Store> {
        Arc::new(fresh(&needed(REDIS)).await)
    }

    async fn fresh_handles(n: usize) -> Vec<Arc<dyn Store>> {
        handles(&needed(REDIS), n).await.into_iter().map(|store| Arc::new(store) as Arc<dyn Store>).collect()
    }

    hallpass_conformance::store_tests!(fresh_store);
    hallpass_conformance::shared_store_tests!(fresh_handles);
}

mod redis_cluster {
    use std::sync::Arc;

    use hallpass_core::Store;

    use crate::support::{CLUSTER, fresh, handles, needed};

    async fn fresh_store() -> Arc<dyn Store> {
        Arc::new(fresh(&needed(CLUSTER)).await)
    }

    async fn fresh_handles(n: usize) -> Vec<Arc<dyn Store>> {
        handles(&needed(CLUSTER), n).await.into_iter().map(|store| Arc::new(store) as Arc<dyn Store>).collect()
    }

    hallpass_conformance::store_tests!(fresh_store);
    hallpass_conformance::shared_store_tests!(fresh_handles);
}

mod valkey {
    use std::sync::Arc;

    use hallpass_conformance::MemoryStore;
    use hallpass_core::Store;

    use crate::support::{VALKEY, fresh, handles, service};

    /// Not every machine has Valkey.
    fn skipped() -> Arc<dyn Store> {
        println!("skipped: {VALKEY} is not set, and the model stands in for Valkey");
        Arc::new(MemoryStore::new())
    }

    async fn fresh_store() -> Arc<dyn Store> {
        match service(VALKEY) {
            Some(url) => Arc::new(fresh(&url).await),
            None => skipped(),
        }
    }

    async fn fresh_handles(n: usize) -> Vec<Arc<dyn Store>> {
        match service(VALKEY) {
            Some(url) => handles(&url, n).await.into_iter().map(|store| Arc::new(store) as Arc<dyn Store>).collect(),
            None => vec![skipped(); n],
        }
    }

    hallpass_conformance::store_tests!(fresh_store);
    hallpass_conformance::shared_store_tests!(fresh_handles);
}
