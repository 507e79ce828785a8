//! Tests of changes without faults.

use std::time::Duration;

use futures_util::future::join_all;
use marketplace::wallet::{
    BalanceError, WalletError,
    balances::{Balances as _, Find, State},
};
use tokio::time::{Instant, sleep};

use crate::world::{TIMEOUT, World, amount, change, change_until_decided};

async fn concurrent_debits_never_exceed_the_balance(world: World) {
    let wallets = [world.open().await, world.open().await];
    let mut accepted = vec![wallets[0].change(change("bob", "in", "7")).await.unwrap()];
    let debits = (0..20).map(|n| wallets[n % 2].change(change("bob", &format!("out-{n}"), "-1")));
    let mut refused = 0;
    for answer in join_all(debits).await {
        match answer {
            Ok(change) => accepted.push(change),
            Err(WalletError::Balance(BalanceError::Insufficient { .. })) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((accepted.len(), refused), (1 + 7, 13));
    assert_eq!(wallets[1].balance("bob").await.unwrap(), amount("0"));
    world.check(&wallets[0], &accepted).await;
}

async fn same_key_gets_the_same_answer(world: World) {
    let wallet = world.open().await;
    let first = wallet.change(change("bob", "k1", "5")).await.unwrap();
    let second = wallet.change(change("bob", "k2", "-2")).await.unwrap();
    assert_eq!((first.balance, second.balance), (amount("5"), amount("3")));
    assert_eq!(wallet.change(change("bob", "k1", "5")).await.unwrap(), first);
    assert_eq!(wallet.change(change("bob", "k2", "-2")).await.unwrap(), second);
    // the refusal is final, although the balance would cover the debit now
    for credit in [None, Some("k4")] {
        if let Some(key) = credit {
            wallet.change(change("bob", key, "10")).await.unwrap();
        }
        let refused = wallet.change(change("bob", "k3", "-4")).await.unwrap_err();
        let WalletError::Balance(BalanceError::Insufficient { balance, needed }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((balance, needed), (amount("3"), amount("4")));
    }
    for other in [change("bob", "k1", "6"), change("bob", "k2", "2"), change("bob", "k3", "-5")] {
        assert!(matches!(wallet.change(other).await, Err(WalletError::KeyReused)));
    }
    // keys of another user are independent
    wallet.change(change("eve", "k1", "6")).await.unwrap();
    world.check(&wallet, &[first, second]).await;

    // after the balances are lost, the key is found in the history or in the log
    world.lose_balances().await;
    assert_eq!(wallet.change(change("bob", "k1", "5")).await.unwrap().balance, amount("5"));
    world.consume().await;
    world.lose_balances().await;
    assert_eq!(wallet.change(change("bob", "k2", "-2")).await.unwrap().balance, amount("3"));
    assert!(matches!(wallet.change(change("bob", "k1", "6")).await, Err(WalletError::KeyReused)));
    world.check(&wallet, &[]).await;
}

async fn large_amounts_are_exact(world: World) {
    let wallet = world.open().await;
    let mut accepted = Vec::new();
    for n in 0..3 {
        // the sum of millionths is beyond 2^53 and odd
        accepted.push(wallet.change(change("rich", &format!("in-{n}"), "8999999999.999999")).await.unwrap());
    }
    accepted.push(wallet.change(change("rich", "out", "-0.000001")).await.unwrap());
    assert_eq!(accepted[3].balance.millionths(), 3 * 8_999_999_999_999_999 - 1);
    let refused = wallet.change(change("poor", "in", "9000000000")).await.unwrap();
    assert_eq!(refused.balance, amount("9000000000"));
    world.check(&wallet, &accepted).await;
    world.lose_balances().await;
    world.check(&wallet, &accepted).await;
}

async fn credit_beyond_the_limit_is_refused(world: World) {
    let wallet = world.open().await;
    let mut refused = 0;
    for n in 0..515 {
        match wallet.change(change("rich", &format!("in-{n}"), "9000000000")).await {
            Ok(_) => assert_eq!(refused, 0),
            Err(WalletError::Balance(BalanceError::Overflow)) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(refused, 4);
}

/// An answer stays in the store until the change is in the history.
async fn old_key_gets_the_same_answer(world: World) {
    let wallet = World { answer_kept: Some(Duration::ZERO), ..world };
    let (world, wallet) = (&wallet, wallet.open().await);
    let mut accepted = Vec::new();
    for (key, value) in [("in", "5"), ("out", "-2")] {
        accepted.push(wallet.change(change("bob", key, value)).await.unwrap());
    }
    let State::Ready(epoch) = world.balances.state().await.unwrap() else { panic!() };
    for _ in 0..2 {
        for change_made in &accepted {
            let again = wallet.change(change("bob", &change_made.key, &change_made.amount.to_string())).await;
            assert_eq!(&again.unwrap(), change_made);
        }
        // gives the maintenance time to forget answers
        world.check(&wallet, &accepted).await;
        let end = Instant::now() + TIMEOUT;
        while world.balances.find(&epoch, "bob", "in").await.unwrap() != Find::Unknown {
            assert!(Instant::now() < end, "the answer is not forgotten");
            sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(world.entries("bob").await.len(), 2);
}

#[tokio::test]
async fn answer_is_kept_while_the_consumer_is_down() {
    let world = World { answer_kept: Some(Duration::ZERO), ..World::logged().await };
    let wallet = world.open().await;
    let accepted = wallet.change(change("bob", "in", "5")).await.unwrap();
    sleep(Duration::from_millis(1200)).await; // two rounds of the maintenance
    assert_eq!(change_until_decided(&wallet, change("bob", "in", "5")).await.unwrap(), accepted);
    assert_eq!(wallet.balance("bob").await.unwrap(), amount("5"));
    world.check(&wallet, &[accepted]).await;
}

macro_rules! on_all_parts {
    ($($test:ident),*) => {
        mod direct {
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(crate::world::World::direct().await).await })*
        }
        mod logged {
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(crate::world::World::logged().await).await })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread")] #[ignore = "needs REDIS_URL"]
            async fn $test() { super::$test(crate::world::World::redis().await).await })*
        }
        #[cfg(feature = "kafka")]
        mod kafka {
            $(#[tokio::test(flavor = "multi_thread")] #[ignore = "needs REDIS_URL, KAFKA_BROKERS and POSTGRES_URL"]
            async fn $test() { super::$test(crate::consumer::world("POSTGRES_URL").await).await })*
        }
    };
}
pub(crate) use on_all_parts;

on_all_parts!(
    concurrent_debits_never_exceed_the_balance,
    same_key_gets_the_same_answer,
    large_amounts_are_exact,
    old_key_gets_the_same_answer,
    credit_beyond_the_limit_is_refused
);

#[tokio::test]
async fn invalid_change_is_refused() {
    let wallet = World::direct().await.open().await;
    for (change, field) in [
        (change("", "k", "1"), "user"),
        (change("bob", "two words", "1"), "idempotency-key"),
        (change("bob", "k", "0"), "amount"),
    ] {
        let error = wallet.change(change).await.unwrap_err();
        assert!(matches!(&error, WalletError::Invalid(invalid) if invalid.field == field), "{error:?}");
    }
}
