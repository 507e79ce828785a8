//! Tests of failures and crashes between the steps of a change.

use std::time::Duration;

use futures_util::FutureExt as _;
use marketplace::wallet::{Accepted, Wallet, WalletError};
use tokio::time::timeout;

use crate::{
    changes::on_all_parts,
    faults::Fault,
    world::{World, amount, change, change_until_decided},
};

fn is_unknown(result: &Result<Accepted, WalletError>) -> bool {
    matches!(result, Err(WalletError::Unknown { .. }))
}

async fn failed_append_is_relayed(world: World) {
    let wallet = world.open().await;
    let mut accepted = vec![wallet.change(change("bob", "in", "10")).await.unwrap()];
    for (n, fault) in [Fault::FailBefore, Fault::FailAfter].into_iter().enumerate() {
        for (key, value) in [("credit", "5"), ("debit", "-3")] {
            let change = change("bob", &format!("{key}-{n}"), value);
            world.log.append.set(Some(fault));
            let failed = wallet.change(change.clone()).await;
            assert!(is_unknown(&failed), "{failed:?}");
            let text = failed.unwrap_err().to_string();
            assert!(text.contains("not recorded yet") && text.contains(&change.key), "{text}");
            world.log.append.set(None);
            accepted.push(change_until_decided(&wallet, change).await.unwrap());
        }
    }
    assert_eq!(wallet.balance("bob").await.unwrap(), amount("14"));
    world.check(&wallet, &accepted).await;
}

/// Kills the process at `fault`. Another process relays the change. Then the balances are lost.
async fn crash(world: &World, set: impl Fn(&World, Option<Fault>), fault: Fault) {
    let wallet = world.open().await;
    let user = format!("user-{fault:?}");
    let mut accepted = vec![change_until_decided(&wallet, change(&user, "in", "10")).await.unwrap()];
    set(world, Some(fault));
    for (key, value) in [("credit", "5"), ("debit", "-3")] {
        let hanging = wallet.change(change(&user, key, value));
        assert!(timeout(Duration::from_millis(200), hanging).await.is_err());
    }
    drop(wallet);
    set(world, None);
    let wallet = world.open().await;
    // waits until the relay has sent the changes
    world.check(&wallet, &accepted).await;
    for (key, value) in [("credit", "5"), ("debit", "-3")] {
        accepted.push(change_until_decided(&wallet, change(&user, key, value)).await.unwrap());
    }
    assert_eq!(wallet.balance(&user).await.unwrap(), amount("12"));
    world.lose_balances().await;
    world.check(&wallet, &accepted).await;
    assert_eq!(world.entries(&user).await.len(), 3);
}

async fn crash_around_begin(world: World) {
    for fault in [Fault::HangBefore, Fault::HangAfter] {
        crash(&world, |world, fault| world.balances.begin.set(fault), fault).await;
    }
}

async fn crash_around_append(world: World) {
    for fault in [Fault::HangBefore, Fault::HangAfter] {
        crash(&world, |world, fault| world.log.append.set(fault), fault).await;
    }
}

async fn crash_around_confirm(world: World) {
    for fault in [Fault::HangBefore, Fault::HangAfter] {
        crash(&world, |world, fault| world.balances.confirm.set(fault), fault).await;
    }
}

/// The process crashes, and the balances are lost before a change is relayed.
async fn crash_and_loss(world: World) {
    for (n, set) in
        [|world: &World, fault| world.log.append.set(fault), |world: &World, fault| world.balances.confirm.set(fault)]
            .into_iter()
            .enumerate()
    {
        for fault in [Fault::HangBefore, Fault::HangAfter] {
            let wallet = world.open().await;
            let user = format!("user-{n}-{fault:?}");
            let mut accepted = vec![change_until_decided(&wallet, change(&user, "in", "10")).await.unwrap()];
            set(&world, Some(fault));
            let _ = timeout(Duration::from_millis(200), wallet.change(change(&user, "debit", "-3"))).await;
            drop(wallet);
            world.lose_balances().await;
            set(&world, None);
            let wallet = world.open().await;
            // a change that was not appended before the loss is void, a change that was appended is valid
            let expected = if (n, fault) == (0, Fault::HangBefore) { "10" } else { "7" };
            assert_eq!(wallet.balance(&user).await.unwrap(), amount(expected), "{n} {fault:?}");
            accepted.push(change_until_decided(&wallet, change(&user, "debit", "-3")).await.unwrap());
            world.check(&wallet, &accepted).await;
        }
    }
}

/// The change continues after its client has disconnected.
async fn change_continues_after_its_request_is_dropped(world: World) {
    let wallet: Wallet = world.open().await;
    let mut request = Box::pin(wallet.change(change("bob", "in", "5")));
    assert!(request.as_mut().now_or_never().is_none());
    drop(request);
    let accepted = change_until_decided(&wallet, change("bob", "in", "5")).await.unwrap();
    assert_eq!(accepted.balance, amount("5"));
    world.check(&wallet, &[accepted]).await;
}

on_all_parts!(
    failed_append_is_relayed,
    crash_around_begin,
    crash_around_append,
    crash_around_confirm,
    crash_and_loss,
    change_continues_after_its_request_is_dropped
);

#[tokio::test]
async fn changes_are_refused_while_too_many_wait() {
    let world = World::logged().await;
    let wallet = world.open().await;
    world.log.append.set(Some(Fault::FailBefore));
    let mut refused = None;
    for n in 0..=500 {
        let result = wallet.change(change("bob", &format!("in-{n}"), "1")).await;
        if let Err(WalletError::Unavailable { reason, .. }) = result {
            refused = Some((n, reason));
        }
    }
    assert_eq!(refused, Some((500, "the log is behind: too many changes wait for it")));
    world.log.append.set(None);
    let accepted = change_until_decided(&wallet, change("bob", "last", "1")).await.unwrap();
    assert_eq!(accepted.balance, amount("501"));
}
