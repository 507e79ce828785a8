//! Tests of several instances that try to rebuild the balances at the same time.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use marketplace::wallet::{
    Wallet, WalletParts,
    log::{AppendError, ChangeLog, EpochWriter, Event, LogError},
};
use tokio::task::yield_now;

use crate::world::{Store, World, change};

/// A log that is slow to begin an epoch.
struct SlowLog {
    log: Arc<dyn ChangeLog>,
    begun: AtomicUsize,
    /// If set, the balances are lost before the first epoch begins, and an instance with these parts rebuilds them.
    rebuilt_by: Mutex<Option<WalletParts>>,
    store: Store,
}

impl SlowLog {
    fn new(world: &World, rebuilt_by: Option<WalletParts>) -> Arc<Self> {
        let Store::Memory(balances) = &world.store else { panic!("the balances are not in memory") };
        let (rebuilt_by, store) = (Mutex::new(rebuilt_by), Store::Memory(balances.clone()));
        Arc::new(Self { log: world.log.clone(), begun: AtomicUsize::new(0), rebuilt_by, store })
    }
}

#[async_trait]
impl ChangeLog for SlowLog {
    fn name(&self) -> &str {
        self.log.name()
    }

    async fn append(&self, event: &Event) -> Result<(), AppendError> {
        self.log.append(event).await
    }

    async fn begin_epoch(&self) -> Result<Box<dyn EpochWriter>, LogError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let rebuilt_by = self.rebuilt_by.lock().unwrap().take();
        if let (Some(parts), Store::Memory(balances)) = (rebuilt_by, &self.store) {
            balances.lose();
            Wallet::open(parts).await.unwrap();
        }
        yield_now().await;
        self.log.begin_epoch().await
    }
}

#[tokio::test]
async fn instances_do_not_fence_each_other() {
    let world = World::logged().await;
    let log = SlowLog::new(&world, None);
    let parts = || WalletParts { log: log.clone(), ..world.parts() };
    for wallet in join_all((0..4).map(|_| Wallet::open(parts()))).await {
        wallet.unwrap();
    }
    assert_eq!(log.begun.load(Ordering::Relaxed), 1);
}

/// The instance that claimed the rebuild first is the last one to begin its epoch. Its markers would invalidate all
/// changes of the other instance.
#[tokio::test]
async fn rebuild_whose_claim_is_lost_writes_no_markers() {
    let world = World::logged().await;
    let log = SlowLog::new(&world, Some(world.parts()));
    let wallet = Wallet::open(WalletParts { log: log.clone(), ..world.parts() }).await.unwrap();
    let accepted = wallet.change(change("bob", "in", "10")).await.unwrap();
    world.check(&wallet, &[accepted]).await;
    assert_eq!(log.begun.load(Ordering::Relaxed), 1);
}
