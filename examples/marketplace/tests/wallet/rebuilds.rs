//! Tests of the rebuild of lost balances.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use marketplace::wallet::{
    Wallet, WalletError,
    balances::{Balances as _, Find, State},
    history::History,
    log::{ChangeLog as _, Epoch},
};
use tokio::time::{sleep, timeout};

use crate::{
    changes::on_all_parts,
    faults::Fault,
    world::{Store, World, amount, change, change_until_decided},
};

/// A change that is appended while or after the balances are rebuilt.
async fn change_after_the_marker_is_ignored(world: World) {
    let wallet = world.open().await;
    let mut accepted = vec![wallet.change(change("bob", "in", "10")).await.unwrap()];
    world.log.append.set(Some(Fault::HangBefore));
    for key in ["late-1", "late-2"] {
        let late = wallet.change(change("bob", key, "-4"));
        assert!(timeout(Duration::from_millis(200), late).await.is_err());
    }
    let State::Ready(old) = world.balances.state().await.unwrap() else { panic!() };
    let late = world.balances.waiting(&old).await.unwrap();
    assert_eq!(late.len(), 2);
    world.lose_balances().await;
    world.log.append.set(None);
    // the next request waits for the rebuild
    assert_eq!(wallet.balance("bob").await.unwrap(), amount("10"));
    // a delayed producer sends one of them now
    let _ = world.log.log.append(&late[0]).await;
    world.check(&wallet, &accepted).await;
    // the key of the ignored change can be used again
    accepted.push(change_until_decided(&wallet, change("bob", "late-1", "-4")).await.unwrap());
    assert_eq!(accepted[1].balance, amount("6"));
    world.check(&wallet, &accepted).await;
}

/// The balances are lost between append and confirm, and rebuilt before the change is confirmed.
async fn change_before_the_marker_is_valid(world: World) {
    let wallet = world.open().await;
    let mut accepted = vec![wallet.change(change("bob", "in", "10")).await.unwrap()];
    world.balances.confirm.set(Some(Fault::FailBefore));
    for (key, value) in [("debit", "-4"), ("credit", "3")] {
        let unknown = wallet.change(change("bob", key, value)).await;
        assert!(matches!(unknown, Err(WalletError::Unknown { .. })), "{unknown:?}");
    }
    world.lose_balances().await;
    world.balances.confirm.set(None);
    assert_eq!(wallet.balance("bob").await.unwrap(), amount("9"));
    for (key, value, balance) in [("debit", "-4", "6"), ("credit", "3", "9")] {
        let answer = change_until_decided(&wallet, change("bob", key, value)).await.unwrap();
        assert_eq!(answer.balance, amount(balance));
        accepted.push(answer);
    }
    world.check(&wallet, &accepted).await;
    assert_eq!(world.entries("bob").await.len(), 3);
}

/// A request is between append and confirm while the balances are rebuilt.
async fn request_in_flight_gets_its_outcome(world: World) {
    let wallet = world.open().await;
    let mut accepted = vec![wallet.change(change("bob", "in", "10")).await.unwrap()];
    let stop = Arc::new(AtomicUsize::new(0));
    let losses = async {
        for _ in 0..5 {
            sleep(Duration::from_millis(150)).await;
            world.lose_balances().await;
        }
        stop.store(1, Ordering::Relaxed);
    };
    let requests = async {
        let mut accepted = Vec::new();
        for n in 0.. {
            if stop.load(Ordering::Relaxed) == 1 && n > 20 || n > 60 {
                return accepted;
            }
            let (key, value) = if n % 2 == 0 { ("in", "2") } else { ("out", "-1") };
            accepted.push(change_until_decided(&wallet, change("bob", &format!("{key}-{n}"), value)).await.unwrap());
        }
        accepted
    };
    let (changes, ()) = tokio::join!(requests, losses);
    accepted.extend(changes);
    world.check(&wallet, &accepted).await;
}

async fn one_instance_rebuilds_at_a_time(world: World) {
    let first = world.open().await;
    let mut accepted = Vec::new();
    for n in 0..10 {
        accepted.push(first.change(change(&format!("user-{n}"), "in", "5")).await.unwrap());
    }
    for round in 0..3 {
        world.lose_balances().await;
        let wallets = join_all((0..4).map(|_| world.open())).await;
        let changes = wallets.iter().enumerate().map(|(n, wallet)| {
            let change = change(&format!("user-{n}"), &format!("out-{round}"), "-1");
            async move { change_until_decided(wallet, change).await.unwrap() }
        });
        accepted.extend(join_all(changes).await);
        world.check(&wallets[0], &accepted).await;
    }
}

async fn rebuild_that_fails_is_replaced(world: World) {
    let wallet = world.open().await;
    let accepted = wallet.change(change("bob", "in", "10")).await.unwrap();
    drop(wallet);
    world.lose_balances().await;
    world.balances.load.set(Some(Fault::FailAfter));
    assert!(marketplace::wallet::Wallet::open(world.parts()).await.is_err());
    let State::Rebuilding { epoch: failed, is_active: false } = world.balances.state().await.unwrap() else { panic!() };
    world.balances.load.set(None);
    let wallet = world.open().await;
    assert!(!world.balances.finish_rebuild(&failed, &Default::default()).await.unwrap());
    world.check(&wallet, &[accepted]).await;
}

/// The process is killed during a rebuild. Another process waits until the lease has expired.
async fn rebuild_that_stops_is_replaced(world: World) {
    let wallet = world.open().await;
    let accepted = wallet.change(change("bob", "in", "10")).await.unwrap();
    drop(wallet);
    world.lose_balances().await;
    let stopped = Epoch::new(world.log.name());
    assert!(world.balances.start_rebuild(&State::Lost, &stopped).await.unwrap());
    let wallet = world.open().await;
    assert!(!world.balances.finish_rebuild(&stopped, &Default::default()).await.unwrap());
    world.check(&wallet, &[accepted]).await;
}

on_all_parts!(
    change_after_the_marker_is_ignored,
    change_before_the_marker_is_valid,
    request_in_flight_gets_its_outcome,
    one_instance_rebuilds_at_a_time,
    rebuild_that_fails_is_replaced,
    rebuild_that_stops_is_replaced
);

/// Two processes with separate balances use one database.
///
/// Each process notices that the other one has replaced its epoch.
#[tokio::test]
async fn balances_in_memory_are_discarded_when_another_process_writes() {
    let first = World::direct().await;
    let second = {
        let log = Arc::new(marketplace::wallet::log::DirectLog::new(first.history.clone()));
        World::new(crate::world::Store::Memory(Arc::default()), log, first.history.clone()).await
    };
    let a = first.open().await;
    let mut accepted = vec![a.change(change("bob", "in", "10")).await.unwrap()];
    let b = second.open().await;
    accepted.push(b.change(change("bob", "b-1", "-6")).await.unwrap());
    let refused = change_until_decided(&a, change("bob", "a-1", "-6")).await;
    assert!(matches!(refused, Err(WalletError::Balance(_))), "{refused:?}");
    accepted.push(change_until_decided(&a, change("bob", "a-2", "-4")).await.unwrap());
    accepted.push(change_until_decided(&b, change("bob", "b-2", "1")).await.unwrap());
    assert_eq!(b.balance("bob").await.unwrap(), amount("1"));
    second.check(&b, &accepted).await;
}

#[tokio::test]
async fn balances_of_another_log_are_rebuilt() {
    let world = World::logged().await;
    world.balances.start_rebuild(&State::Lost, &Epoch::new("another")).await.unwrap();
    let State::Rebuilding { epoch, .. } = world.balances.state().await.unwrap() else { panic!() };
    assert!(world.balances.finish_rebuild(&epoch, &Default::default()).await.unwrap());
    let wallet = world.open().await;
    let State::Ready(epoch) = world.balances.state().await.unwrap() else { panic!() };
    assert!(epoch.belongs_to(world.log.name()));
    let accepted = wallet.change(change("bob", "in", "10")).await.unwrap();
    world.check(&wallet, &[accepted]).await;
}

/// The rebuild and the consumer skip a record that cannot be read.
#[tokio::test]
async fn record_that_cannot_be_read_does_not_stop_a_rebuild() {
    let world = World::logged().await;
    let wallet = world.open().await;
    let mut accepted = vec![wallet.change(change("eve1", "in", "10")).await.unwrap()];
    world.memory_log.as_ref().unwrap().append_poison();
    accepted.push(wallet.change(change("eve1", "out", "-1")).await.unwrap());
    world.lose_balances().await;
    assert_eq!(wallet.balance("eve1").await.unwrap(), amount("9"));
    world.check(&wallet, &accepted).await;
}

/// The consumer books changes between the two reads of a rebuild.
#[tokio::test]
async fn changes_that_are_booked_during_a_rebuild_count_once() {
    let world = World::logged().await;
    let wallet = world.open().await;
    let mut accepted = Vec::new();
    for n in 0..40 {
        accepted.push(wallet.change(change("bob", &format!("in-{n}"), "1")).await.unwrap());
    }
    let log = world.memory_log.clone().unwrap();
    let mut writer = log.begin_epoch().await.unwrap();
    writer.write_markers(&Epoch::new("memory")).await.unwrap();
    let history: History = world.history.clone();
    let unconsumed = writer.read_unconsumed(&history.positions("memory").await.unwrap()).await.unwrap();
    assert_eq!(unconsumed.len(), 40);
    log.consume(&history, 15).await;
    let snapshot = history.snapshot("memory", unconsumed).await.unwrap();
    // the first record is the marker
    assert_eq!((snapshot.sums["bob"], snapshot.unconsumed.len()), (amount("14"), 26));
    drop((wallet, accepted));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs REDIS_URL"]
async fn data_of_a_failed_rebuild_expires() {
    let world = World::redis().await;
    let wallet = world.open().await;
    let accepted = [
        wallet.change(change("bob", "in", "10")).await.unwrap(),
        wallet.change(change("bob", "out", "-4")).await.unwrap(),
    ];
    drop(wallet);
    world.lose_balances().await;
    world.balances.load.set(Some(Fault::FailAfter));
    Wallet::open(world.parts()).await.unwrap_err();
    let Store::Redis { url, prefix } = &world.store else { panic!() };
    let client = ::redis::Client::open(url.as_str()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let mut keys: Vec<String> =
        ::redis::cmd("KEYS").arg(format!("{prefix}wallet:memory/*")).query_async(&mut redis).await.unwrap();
    keys.sort();
    let names: Vec<_> = keys.iter().map(|key| key.rsplit_once(':').unwrap().1).collect();
    assert_eq!(names, ["answered", "balances", "rebuilt"]);
    for key in &keys {
        let seconds: i64 = ::redis::cmd("TTL").arg(key).query_async(&mut redis).await.unwrap();
        assert!((1..=600).contains(&seconds), "{key} expires in {seconds} s");
    }
    // the data of the next rebuild stays, with the answers
    world.balances.load.set(None);
    let wallet = world.open().await;
    for answer in &accepted {
        let again = wallet.change(change("bob", &answer.key, &answer.amount.to_string())).await.unwrap();
        assert_eq!(again, *answer);
    }
    let State::Ready(epoch) = world.balances.state().await.unwrap() else { panic!() };
    for name in ["answered", "balances", "rebuilt"] {
        let key = format!("{prefix}wallet:{epoch}:{name}");
        let seconds: i64 = ::redis::cmd("TTL").arg(&key).query_async(&mut redis).await.unwrap();
        assert_eq!(seconds, -1, "{key}");
    }
    world.check(&wallet, &accepted).await;
    // an answer is found in the history when it is forgotten
    let forgotten = [("bob".to_owned(), "in".to_owned())];
    world.balances.forget_answers(&epoch, &forgotten).await.unwrap();
    assert_eq!(world.balances.find(&epoch, "bob", "in").await.unwrap(), Find::Unknown);
    assert_eq!(wallet.change(change("bob", "in", "10")).await.unwrap(), accepted[0]);
}
