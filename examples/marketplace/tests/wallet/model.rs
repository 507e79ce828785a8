//! Tests with random changes, failures and losses.
//!
//! The history contains each accepted change exactly once, and the balances agree with the history.

use std::collections::BTreeMap;

use marketplace::wallet::{Accepted, Change, Wallet, WalletError};

use crate::{
    faults::{Fault, Switch},
    world::{World, change, change_until_decided},
};

/// A small generator of pseudo-random numbers (xorshift), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].clone()
    }
}

struct Model {
    world: World,
    random: Random,
    /// Two instances.
    wallets: [Wallet; 2],
    /// The first answer to each accepted change, and the data set in which the balance of the answer was seen.
    accepted: BTreeMap<(String, String), (Accepted, u64)>,
    /// The data set in which a change was refused.
    refused: BTreeMap<(String, String), u64>,
    /// The number of the data set: how often the balances were lost.
    losses: u64,
    keys: u64,
    made: Vec<Change>,
}

impl Model {
    async fn new(world: World, seed: u64) -> Self {
        let wallets = [world.open().await, world.open().await];
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (accepted, refused) = (BTreeMap::new(), BTreeMap::new());
        Self { world, random, wallets, accepted, refused, losses: 0, keys: 0, made: Vec::new() }
    }

    async fn step(&mut self) {
        let instance = usize::try_from(self.random.below(2)).unwrap();
        match self.random.below(20) {
            0 => {
                self.losses += 1;
                self.world.lose_balances().await;
            }
            1 => self.wallets[instance] = self.world.open().await,
            2..=4 => {
                let count = self.random.pick(&[1, 3, usize::MAX]);
                if let Some(log) = &self.world.memory_log {
                    log.consume(&self.world.history, count).await;
                }
            }
            5 | 6 => {
                let switch = self.switch();
                switch.set(Some(self.random.pick(&[Fault::FailBefore, Fault::FailAfter])));
            }
            7 | 8 => self.remove_faults(),
            9 | 10 if !self.made.is_empty() => {
                let again = self.random.pick(&self.made);
                self.make(instance, again).await;
            }
            _ => {
                self.keys += 1;
                let user = self.random.pick(&["bob", "eve1"]);
                let amount = self.random.pick(&["1", "2", "5", "-1", "-2", "-4"]);
                let change = change(user, &format!("k{}", self.keys), amount);
                self.made.push(change.clone());
                self.make(instance, change).await;
            }
        }
    }

    fn switch(&mut self) -> Switch {
        let balances = &self.world.balances;
        let switches = [&balances.begin, &balances.confirm, &self.world.log.append].map(Switch::clone);
        self.random.pick(&switches)
    }

    fn remove_faults(&self) {
        for switch in [&self.world.balances.begin, &self.world.balances.confirm, &self.world.log.append] {
            switch.set(None);
        }
    }

    async fn make(&mut self, instance: usize, change: Change) {
        let id = (change.user.clone(), change.key.clone());
        match self.wallets[instance].change(change.clone()).await {
            Ok(accepted) => self.check_answer(&change, accepted),
            Err(WalletError::Balance(_)) => {
                assert!(!self.accepted.contains_key(&id), "{id:?} was accepted before it was refused");
                self.refused.insert(id, self.losses);
            }
            Err(WalletError::Unavailable { .. } | WalletError::Unknown { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The same key gets the same answer. Its balance can differ, and a refusal can be forgotten, when the balances were lost.
    fn check_answer(&mut self, change: &Change, accepted: Accepted) {
        let Change { user, key, amount, .. } = change;
        assert_eq!((&accepted.user, &accepted.key, accepted.amount), (user, key, *amount));
        let id = (user.clone(), key.clone());
        assert_ne!(self.refused.get(&id), Some(&self.losses), "{id:?} was refused before it was accepted");
        let (first, losses) = self.accepted.entry(id).or_insert_with(|| (accepted.clone(), self.losses));
        if *losses == self.losses {
            assert_eq!(*first, accepted);
        } else {
            (*first, *losses) = (accepted, self.losses);
        }
    }

    async fn finish(mut self, steps: u64) {
        for _ in 0..steps {
            self.step().await;
        }
        self.remove_faults();
        for user in ["bob", "eve1"] {
            let end = change(user, "end", "1");
            let accepted = change_until_decided(&self.wallets[0], end.clone()).await.unwrap();
            self.check_answer(&end, accepted);
        }
        let accepted: Vec<_> = self.accepted.into_values().map(|(accepted, _)| accepted).collect();
        self.world.check(&self.wallets[0], &accepted).await;
        // the history and the log are enough to rebuild the same balances
        self.world.lose_balances().await;
        self.world.check(&self.wallets[1], &accepted).await;
    }
}

async fn run(world: impl AsyncFn() -> World, seeds: std::ops::Range<u64>, steps: u64) {
    for seed in seeds {
        println!("seed {seed}"); // shown if the test fails
        Model::new(world().await, seed).await.finish(steps).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_steps_on_a_direct_log() {
    run(World::direct, 0..10, 80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_steps_on_a_log_that_is_consumed_later() {
    run(World::logged, 0..20, 80).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL"]
async fn random_steps_on_redis() {
    run(World::redis, 100..110, 80).await;
}
