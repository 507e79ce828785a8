//! The test environment: the parts of a wallet, functions that lose data, and checks of the final state.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use marketplace::{
    money::Amount,
    wallet::{
        Accepted, Change, Wallet, WalletError, WalletParts,
        balances::{Balances, InMemoryBalances},
        history::{Entry, History},
        log::{ChangeLog, DirectLog},
    },
};
use tokio::time::{Instant, sleep};

use crate::{
    database,
    faults::{FaultyBalances, FaultyLog, Switch},
    memory_log::MemoryLog,
};

/// How long a condition can take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) balances: Arc<FaultyBalances>,
    pub(crate) log: Arc<FaultyLog>,
    pub(crate) history: History,
    pub(crate) store: Store,
    pub(crate) memory_log: Option<MemoryLog>,
    pub(crate) answer_kept: Option<Duration>,
    #[cfg(feature = "kafka")]
    pub(crate) kafka: Option<crate::consumer::Kafka>,
}

/// The store without the injected faults.
pub(crate) enum Store {
    Memory(Arc<InMemoryBalances>),
    Redis { url: String, prefix: String },
}

impl World {
    /// Returns an environment with balances in memory and changes that are written directly into the history.
    pub(crate) async fn direct() -> Self {
        let history = History::new(database::open("sqlite::memory:").await);
        Self::new(Store::Memory(Arc::default()), Arc::new(DirectLog::new(history.clone())), history).await
    }

    /// Returns an environment with balances in memory and a log like Kafka's.
    pub(crate) async fn logged() -> Self {
        let history = History::new(database::open("sqlite::memory:").await);
        let log = MemoryLog::default();
        let world = Self::new(Store::Memory(Arc::default()), Arc::new(log.clone()), history).await;
        Self { memory_log: Some(log), ..world }
    }

    /// Returns an environment with balances in Redis and a log like Kafka's.
    pub(crate) async fn redis() -> Self {
        let history = History::new(database::open("sqlite::memory:").await);
        let log = MemoryLog::default();
        let world = Self::new(Store::redis(), Arc::new(log.clone()), history).await;
        Self { memory_log: Some(log), ..world }
    }

    pub(crate) async fn new(store: Store, log: Arc<dyn ChangeLog>, history: History) -> Self {
        let balances = Arc::new(FaultyBalances {
            balances: store.connect().await,
            begin: Switch::default(),
            confirm: Switch::default(),
            load: Switch::default(),
        });
        let log = Arc::new(FaultyLog { log, append: Switch::default() });
        Self {
            balances,
            log,
            history,
            store,
            memory_log: None,
            answer_kept: None,
            #[cfg(feature = "kafka")]
            kafka: None,
        }
    }

    pub(crate) fn parts(&self) -> WalletParts {
        WalletParts {
            balances: self.balances.clone(),
            log: self.log.clone(),
            history: self.history.clone(),
            relay_after: Some(Duration::ZERO),
            answer_kept: self.answer_kept,
            health: None,
        }
    }

    /// Starts an instance.
    pub(crate) async fn open(&self) -> Wallet {
        Wallet::open(self.parts()).await.unwrap()
    }

    /// Removes the balances, like a restart of a Redis server.
    pub(crate) async fn lose_balances(&self) {
        match &self.store {
            Store::Memory(balances) => balances.lose(),
            Store::Redis { url, prefix } => {
                let lose = redis::Script::new(
                    "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end",
                );
                let client = redis::Client::open(url.as_str()).unwrap();
                let mut connection = client.get_multiplexed_async_connection().await.unwrap();
                let () = lose.arg(format!("{prefix}*")).invoke_async(&mut connection).await.unwrap();
            }
        }
    }

    /// Writes everything that is in the log into the history.
    pub(crate) async fn consume(&self) {
        if let Some(log) = &self.memory_log {
            log.consume(&self.history, usize::MAX).await;
        }
    }

    /// Waits until no change is waiting. Checks that the history agrees with the balances and the accepted changes.
    pub(crate) async fn check(&self, wallet: &Wallet, accepted: &[Accepted]) {
        let users: HashSet<&str> = accepted.iter().map(|change| change.user.as_str()).collect();
        for user in users {
            let keys = accepted.iter().filter(|change| change.user == user).map(|change| change.key.as_str());
            self.wait_until_settled(wallet, user, &keys.collect()).await;
            let entries = self.entries(user).await;
            let mut sum = Amount::ZERO;
            let mut keys = BTreeMap::new();
            for entry in &entries {
                sum = sum.checked_add(entry.amount).unwrap();
                assert!(sum >= Amount::ZERO, "{user} had a negative balance: {entries:?}");
                assert_eq!(keys.insert(entry.change_key.as_str(), entry.amount), None, "booked twice: {entry:?}");
            }
            assert_eq!(wallet.balance(user).await.unwrap(), sum, "{user}: {entries:?}");
            for change in accepted.iter().filter(|change| change.user == user) {
                assert_eq!(keys.get(change.key.as_str()), Some(&change.amount), "{change:?} is not in {entries:?}");
            }
        }
    }

    /// Waits until no change waits for the log, the history has `keys`, and the balance is the sum of the history.
    async fn wait_until_settled(&self, wallet: &Wallet, user: &str, keys: &HashSet<&str>) {
        let end = Instant::now() + TIMEOUT;
        loop {
            self.consume().await;
            let waiting = match self.balances.state().await {
                Ok(marketplace::wallet::balances::State::Ready(epoch)) => {
                    self.balances.waiting(&epoch).await.map_or(1, |waiting| waiting.len())
                }
                _ => 1,
            };
            let entries = self.entries(user).await;
            let (sum, booked) =
                (sum(&entries), entries.iter().filter(|e| keys.contains(e.change_key.as_str())).count());
            let balance = wallet.balance(user).await;
            if waiting == 0 && booked >= keys.len() && balance.as_ref().is_ok_and(|balance| *balance == sum) {
                return;
            }
            assert!(
                Instant::now() < end,
                "{user}: balance {balance:?}, history {sum}, {waiting} changes wait, {booked} of {} are booked",
                keys.len()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns all entries of a user, the oldest first.
    pub(crate) async fn entries(&self, user: &str) -> Vec<Entry> {
        let mut entries = self.history.entries(user).await.unwrap();
        assert!(entries.len() < 100, "the history shows 100 entries");
        entries.reverse();
        entries
    }
}

impl Store {
    pub(crate) fn redis() -> Self {
        let prefix = format!("test-{}:", uuid::Uuid::new_v4().simple());
        Self::Redis { url: database::variable("REDIS_URL"), prefix }
    }

    async fn connect(&self) -> Arc<dyn Balances> {
        match self {
            Self::Memory(balances) => balances.clone(),
            Self::Redis { url, prefix } => {
                let url = url.as_str().into();
                Arc::new(marketplace::wallet::balances::RedisBalances::connect(&url, prefix).await.unwrap())
            }
        }
    }
}

pub(crate) fn sum(entries: &[Entry]) -> Amount {
    entries.iter().fold(Amount::ZERO, |sum, entry| sum.checked_add(entry.amount).unwrap())
}

pub(crate) fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

pub(crate) fn change(user: &str, key: &str, amount: &str) -> Change {
    Change { user: user.into(), key: key.into(), amount: amount.parse().unwrap(), reason: "test".into() }
}

/// Repeats a change until its outcome is known, as a client does.
pub(crate) async fn change_until_decided(wallet: &Wallet, change: Change) -> Result<Accepted, WalletError> {
    let end = Instant::now() + TIMEOUT;
    loop {
        match wallet.change(change.clone()).await {
            Err(WalletError::Unavailable { .. } | WalletError::Unknown { .. }) if Instant::now() < end => {
                sleep(Duration::from_millis(20)).await;
            }
            result => return result,
        }
    }
}
