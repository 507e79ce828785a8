//! Tests of orders on which two processes work, and of steps of the saga that tests of the API cannot reach.

use sea_orm::{EntityTrait as _, sea_query::Expr};

use crate::{
    App, clock,
    config::Config,
    market::{
        closed_order,
        entity::Status,
        order::Order,
        saga::{Outcome, Step, StepError},
    },
    wallet::{BalanceError, Change, WalletError},
};

/// Returns a marketplace in which bob has 100 and has reserved a token of alice for 12.5.
async fn reserved(token_id: &str) -> (App, Order) {
    let app = App::start(&Config::default()).await.unwrap();
    change(&app, "credit", "100").await;
    let order = reserve(&app, token_id, "12.5").await;
    (app, order)
}

/// Changes bob's balance.
async fn change(app: &App, key: &str, amount: &str) {
    let [user, key, reason] = ["bob", key, "card payment"].map(str::to_owned);
    app.wallet.change(Change { user, key, amount: amount.parse().unwrap(), reason }).await.unwrap();
}

async fn reserve(app: &App, token_id: &str, price: &str) -> Order {
    let market = &app.market;
    let listing = market.list(token_id.to_owned(), "alice".to_owned(), price.parse().unwrap()).await.unwrap();
    let mut order = market.orders.create(listing, "bob");
    assert!(market.orders.reserve(&mut order).await.unwrap());
    order
}

/// Takes over the order like another process after the lease has expired.
async fn take_over(app: &App, order: &Order) -> Order {
    let listing = app.market.get(order.listing.id).await.unwrap();
    app.market.orders.take_over(listing).await.unwrap().expect("the order is not taken over by another process")
}

async fn status(app: &App, order: &Order) -> Status {
    app.market.get(order.listing.id).await.unwrap().status
}

async fn balances(app: &App) -> (String, String) {
    let (bob, alice) = (app.wallet.balance("bob").await.unwrap(), app.wallet.balance("alice").await.unwrap());
    (bob.to_string(), alice.to_string())
}

fn sums(bob: &str, alice: &str) -> (String, String) {
    (bob.to_owned(), alice.to_owned())
}

#[tokio::test]
async fn listing_is_reserved_for_one_order() {
    let (app, order) = reserved("42").await;
    let listing = app.market.get(order.listing.id).await.unwrap();
    let mut second = app.market.orders.create(listing, "carol");
    assert!(!app.market.orders.reserve(&mut second).await.unwrap());
    assert_eq!(app.market.get(order.listing.id).await.unwrap().buyer.as_deref(), Some("bob"));
}

#[tokio::test]
async fn order_is_taken_over_by_one_process() {
    let (app, order) = reserved("42").await;
    let listing = app.market.get(order.listing.id).await.unwrap();
    assert!(app.market.orders.take_over(listing.clone()).await.unwrap().is_some());
    assert!(app.market.orders.take_over(listing).await.unwrap().is_none());
}

#[tokio::test]
async fn process_that_lost_its_order_changes_nothing() {
    let (app, mut late) = reserved("42").await;
    let mut order = take_over(&app, &late).await;
    let error = app.market.run(&mut late).await.unwrap_err();
    assert!(matches!(error.source, StepError::TakenOver), "{error:?}");
    assert_eq!((status(&app, &order).await, balances(&app).await), (Status::Reserved, sums("87.5", "0")));

    assert!(matches!(app.market.run(&mut order).await.unwrap(), Outcome::Sold(_)));
    assert_eq!((status(&app, &order).await, balances(&app).await), (Status::Sold, sums("87.5", "12.5")));
}

#[tokio::test]
async fn payment_for_an_order_that_has_ended_is_refunded() {
    let (app, mut late) = reserved("42").await;
    assert!(app.market.orders.reopen(&take_over(&app, &late).await).await.unwrap());
    let error = app.market.run(&mut late).await.unwrap_err();
    assert!(matches!(error.source, StepError::TakenOver), "{error:?}");
    assert_eq!((status(&app, &late).await, balances(&app).await), (Status::Open, sums("100", "0")));
    assert_eq!(app.wallet.history("bob").await.unwrap().len(), 3);
    assert!(app.market.chain.transfers().await.unwrap().is_empty());
}

async fn closed_orders(app: &App) -> Vec<closed_order::Model> {
    closed_order::Entity::find().all(&app.market.db).await.unwrap()
}

/// An order that another process has closed, and that this process has paid before it was killed.
async fn paid_late() -> (App, Order) {
    let (app, mut late) = reserved("42").await;
    app.stop();
    assert!(app.market.orders.reopen(&take_over(&app, &late).await).await.unwrap());
    assert!(app.market.pay(&mut late).await.unwrap().is_ok());
    assert_eq!(balances(&app).await, sums("87.5", "0"));
    (app, late)
}

#[tokio::test]
async fn payment_for_a_closed_order_is_refunded_once_if_its_process_is_killed() {
    let (app, late) = paid_late().await;
    app.market.refund_late_payments().await.unwrap();
    assert_eq!((status(&app, &late).await, balances(&app).await), (Status::Open, sums("100", "0")));
    assert_eq!(closed_orders(&app).await, []);
    assert_eq!(app.market.refund_late_payments().await.unwrap(), 0);
    assert_eq!(app.wallet.history("bob").await.unwrap().len(), 3);
}

#[tokio::test]
async fn late_payment_that_its_process_has_refunded_is_not_refunded_again() {
    let (app, mut late) = paid_late().await;
    let error = app.market.store_paid(&mut late).await.unwrap_err();
    assert!(matches!(error.source, StepError::TakenOver), "{error:?}");
    app.market.refund_late_payments().await.unwrap();
    assert_eq!((closed_orders(&app).await, balances(&app).await), (vec![], sums("100", "0")));
    assert_eq!(app.wallet.history("bob").await.unwrap().len(), 3);
}

#[tokio::test]
async fn closed_order_is_kept_for_two_days_and_longer_while_it_is_not_refunded() {
    let (app, order) = reserved("42").await;
    app.stop();
    assert!(app.market.orders.reopen(&take_over(&app, &order).await).await.unwrap());
    let close_earlier = async |hours: i64| {
        let closed_at = Expr::value(clock::now_ms() - hours * 60 * 60 * 1000);
        let update = closed_order::Entity::update_many().col_expr(closed_order::Column::CreatedAtMs, closed_at);
        update.exec(&app.market.db).await.unwrap();
        assert_eq!(app.market.refund_late_payments().await.unwrap(), 0);
        closed_orders(&app).await.len()
    };
    assert_eq!(close_earlier(47).await, 1);
    let debit = order.change(Step::Pay);
    app.wallet.change(debit).await.unwrap();
    reuse_key(&app, &order, "bob", "refund").await;
    assert_eq!(close_earlier(49).await, 1);

    let (app, order) = reserved("43").await;
    app.stop();
    assert!(app.market.orders.reopen(&order).await.unwrap());
    closed_order::Entity::update_many()
        .col_expr(closed_order::Column::CreatedAtMs, Expr::value(clock::now_ms() - 49 * 60 * 60 * 1000))
        .exec(&app.market.db)
        .await
        .unwrap();
    app.market.refund_late_payments().await.unwrap();
    assert_eq!(closed_orders(&app).await, []);
}

#[tokio::test]
async fn late_process_pays_nothing_twice_after_a_sale() {
    for behind in [Status::Reserved, Status::Paid, Status::Settled] {
        let (app, mut late) = reserved("42").await;
        let mut order = take_over(&app, &late).await;
        assert!(matches!(app.market.run(&mut order).await.unwrap(), Outcome::Sold(_)));
        (late.listing.status, late.listing.tx_hash, late.listing.block) = (behind, Some("0x0".to_owned()), Some(0));
        match app.market.run(&mut late).await {
            Ok(Outcome::Unfinished(_, error)) | Err(error) => {
                assert!(matches!(error.source, StepError::TakenOver), "{error:?}");
            }
            other => panic!("{behind:?}: {other:?}"),
        }
        assert_eq!((status(&app, &order).await, balances(&app).await), (Status::Sold, sums("87.5", "12.5")));
        assert_eq!(app.market.chain.transfers().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn lease_is_renewed_when_half_of_it_has_passed() {
    let (app, mut order) = reserved("42").await;
    let orders = &app.market.orders;
    let lease = async || app.market.get(listing_id(&app).await).await.unwrap().lease_until_ms.unwrap();
    let first = lease().await;
    assert!(orders.hold(&mut order).await.unwrap());
    assert_eq!(lease().await, first);

    orders.release(&order).await.unwrap();
    assert!(!orders.hold(&mut expiring(&order)).await.unwrap(), "the row has another lease");
    order.lease_until_ms = lease().await;
    assert!(order.lease_until_ms < first);
    assert!(orders.hold(&mut order).await.unwrap());
    assert_eq!(lease().await, order.lease_until_ms);
    assert!(order.lease_until_ms >= first);
}

/// Returns the order with a lease in the past.
fn expiring(order: &Order) -> Order {
    Order { lease_until_ms: 1, ..order.clone() }
}

/// Returns the id of the only listing.
async fn listing_id(app: &App) -> i64 {
    app.market.find(None, 0, 1).await.unwrap()[0].id
}

#[tokio::test]
async fn order_that_was_not_covered_is_not_paid_from_a_later_credit() {
    let app = App::start(&Config::default()).await.unwrap();
    let order = reserve(&app, "42", "12.5").await;
    // the state of the order after a process was killed after the debit was refused
    let debit = Change {
        user: "bob".to_owned(),
        key: format!("order:{}:pay", order.id),
        amount: "-12.5".parse().unwrap(),
        reason: "bought 42".to_owned(),
    };
    let refused = app.wallet.change(debit).await.unwrap_err();
    assert!(matches!(refused, WalletError::Balance(BalanceError::Insufficient { .. })), "{refused:?}");
    change(&app, "credit", "100").await;

    let outcome = app.market.run(&mut take_over(&app, &order).await).await.unwrap();
    let not_covered = matches!(outcome, Outcome::NotPaid(WalletError::Balance(BalanceError::Insufficient { .. })));
    assert!(not_covered, "{outcome:?}");
    assert_eq!((status(&app, &order).await, balances(&app).await), (Status::Open, sums("100", "0")));
}

#[tokio::test]
async fn refused_order_is_refunded_and_the_listing_is_for_sale_again() {
    let (app, mut order) = reserved("revert-1").await;
    let outcome = app.market.run(&mut order).await.unwrap();
    assert!(matches!(&outcome, Outcome::Refused(Some(error)) if error.is_refusal()), "{outcome:?}");
    let listing = app.market.get(order.listing.id).await.unwrap();
    assert_eq!((listing.status, &listing.buyer, &listing.order_id), (Status::Open, &None, &None));
    assert_eq!((listing.lease_until_ms, balances(&app).await), (None, sums("100", "0")));
}

/// Uses a key of the order for another change.
async fn reuse_key(app: &App, order: &Order, user: &str, step: &str) {
    let key = format!("order:{}:{step}", order.id);
    let change = Change { user: user.to_owned(), key, amount: "1".parse().unwrap(), reason: "another".to_owned() };
    app.wallet.change(change).await.unwrap();
}

#[tokio::test]
async fn debit_that_can_never_succeed_reopens_the_listing() {
    let (app, mut order) = reserved("42").await;
    reuse_key(&app, &order, "bob", "pay").await;
    let outcome = app.market.run(&mut order).await.unwrap();
    assert!(matches!(outcome, Outcome::NotPaid(WalletError::KeyReused)), "{outcome:?}");
    assert_eq!((status(&app, &order).await, balances(&app).await), (Status::Open, sums("101", "0")));
}

#[tokio::test]
async fn order_with_a_change_that_is_invalid_later_is_not_paid() {
    let app = App::start(&Config::default()).await.unwrap();
    change(&app, "credit", "100").await;
    for (token_id, seller) in [("a\0b", "alice"), ("42", "al\0ice")] {
        let price = "12.5".parse().unwrap();
        let listing = app.market.list(token_id.to_owned(), seller.to_owned(), price).await.unwrap();
        let mut order = app.market.orders.create(listing, "bob");
        assert!(app.market.orders.reserve(&mut order).await.unwrap());
        let outcome = app.market.run(&mut order).await.unwrap();
        assert!(matches!(outcome, Outcome::NotPaid(WalletError::Invalid(_))), "{outcome:?}");
        assert_eq!((status(&app, &order).await, balances(&app).await), (Status::Open, sums("100", "0")));
    }
    assert_eq!(app.wallet.history("bob").await.unwrap().len(), 1);
}

#[tokio::test]
async fn payment_that_can_never_succeed_is_an_error_with_the_order() {
    let (app, mut order) = reserved("42").await;
    reuse_key(&app, &order, "alice", "payout").await;
    let outcome = app.market.run(&mut order).await.unwrap();
    let Outcome::Unfinished(_, error) = outcome else { panic!("{outcome:?}") };
    assert!(matches!(error.source, StepError::Wallet(WalletError::KeyReused)), "{error:?}");
    assert_eq!(error.to_string(), format!("the wallet refuses the payment to the seller of order {}", order.id));
    assert_eq!((status(&app, &order).await, balances(&app).await), (Status::Settled, sums("87.5", "1")));
}

/// A wallet holds at most 4600 billion. The refund of a buyer who has been paid that much meanwhile has to wait.
#[tokio::test]
async fn refund_that_fails_is_repeated_until_it_succeeds() {
    let app = App::start(&Config::default()).await.unwrap();
    let (most, count) = ("9000000000", 511);
    for number in 0..count {
        change(&app, &format!("credit-{number}"), most).await;
    }
    let mut order = reserve(&app, "revert-1", most).await;
    assert!(app.market.pay(&mut order).await.unwrap().is_ok());
    app.market.store_paid(&mut order).await.unwrap();
    change(&app, "one-more", most).await;

    let error = app.market.run(&mut order).await.unwrap_err();
    let refund_failed = matches!(error.source, StepError::Wallet(WalletError::Balance(BalanceError::Overflow)));
    assert!(refund_failed && error.step == Step::Refund, "{error:?}");
    assert_eq!(status(&app, &order).await, Status::Refunding);

    change(&app, "spent", "-9000000000").await;
    let outcome = app.market.run(&mut take_over(&app, &order).await).await.unwrap();
    assert!(matches!(outcome, Outcome::Refused(None)), "{outcome:?}");
    assert_eq!((status(&app, &order).await, balances(&app).await), (Status::Open, sums("4599000000000", "0")));
}
