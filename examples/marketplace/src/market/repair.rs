//! Continues orders that a process did not finish, because it was killed or because a part was unavailable.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use sea_orm::DbErr;
use tower_apm::{Outcome as ApmOutcome, Transaction, User};

use super::{
    Market,
    entity::Model as Listing,
    order::Order,
    purchase::PurchaseError,
    reason,
    saga::{Outcome, UndecidedError},
};

/// The maximum number of orders that one pass continues.
const ORDERS_PER_PASS: u64 = 20;
/// The longest pause between two passes.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The shortest pause between two passes.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// The longest time between two searches for late payments.
const MAX_SEARCH_PAUSE: Duration = Duration::from_secs(60);

impl Market {
    /// Continues at most 20 orders whose lease has expired.
    ///
    /// The lease that expired first comes first. Returns the number of orders that this process took over.
    ///
    /// For each order, records a transaction `repair an order` of the type `background`, linked to the current one.
    pub async fn repair_orders(&self) -> Result<usize, DbErr> {
        self.repair_orders_for(&Transaction::current()).await
    }

    /// Repairs orders at once and then every few seconds, until `stopped` resolves. An order under way is finished before.
    /// Late payments are refunded once per lease, and at least every minute.
    pub(crate) async fn keep_repairing(
        self,
        started_by: Transaction,
        stopped: impl Future<Output = ()>,
        lease: Duration,
    ) {
        let pause = (lease / 10).clamp(MIN_PAUSE, MAX_PAUSE);
        let mut stopped = std::pin::pin!(stopped);
        let mut next_search = Instant::now();
        loop {
            if let Err(error) = self.repair_orders_for(&started_by).await {
                tracing::warn!(error = &error as &dyn Error, "unfinished orders cannot be read");
            }
            if Instant::now() >= next_search {
                if let Err(error) = self.refund_late_payments_for(&started_by).await {
                    tracing::warn!(error = &error as &dyn Error, "late payments cannot be read");
                }
                next_search = Instant::now() + lease.min(MAX_SEARCH_PAUSE);
            }
            tokio::select! {
                () = &mut stopped => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn repair_orders_for(&self, started_by: &Transaction) -> Result<usize, DbErr> {
        let mut repaired = 0;
        for listing in self.orders.expired(ORDERS_PER_PASS).await? {
            if let Some(order) = self.orders.take_over(listing).await? {
                repaired += 1;
                let transaction = started_by.start_background("repair an order");
                transaction.run(self.repair(order)).await;
            }
        }
        Ok(repaired)
    }

    async fn repair(&self, mut order: Order) {
        let tx = Transaction::current();
        let Listing { id, token_id, .. } = &order.listing;
        tx.set_user(User::id(&order.buyer))
            .set_label("module", "market")
            .set_label("listing_id", id.to_string())
            .set_label("token_id", token_id)
            .set_label("order_id", &order.id)
            .set_label("status", format!("{:?}", order.listing.status).to_lowercase());
        match self.run(&mut order).await {
            Ok(Outcome::Sold(_)) => {
                tx.set_result("sold");
            }
            Ok(Outcome::NotPaid(error)) => {
                tx.set_result("reopened").set_label("reason", reason(&PurchaseError::Wallet(error)));
            }
            Ok(Outcome::Refused(refusal)) => {
                tx.set_result("reopened").set_label("reason", "not settled");
                if let Some(error) = refusal {
                    // The repair succeeded, but no request has reported the chain's error.
                    tx.error(&order.unsettled(error)).handled(true).capture();
                    tx.set_outcome(ApmOutcome::Success);
                }
            }
            Ok(Outcome::Unfinished(_, error)) | Err(error) => undecided(&tx, &error),
        }
    }
}

/// Records that the next repair has to continue the order.
fn undecided(tx: &Transaction, error: &UndecidedError) {
    tracing::warn!(error = error as &dyn Error, order_id = error.order_id, "an order is not repaired yet");
    tx.set_result("undecided").set_label("reason", "undecided").capture_error(error);
}
