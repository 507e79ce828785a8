//! Refunds buyers who paid for an order after the order had ended.
//!
//! A process can be suspended between its check of the lease and the debit. Another process then ends the order, because the
//! balance does not cover the price. The wallet remembers this refusal for an hour at most, so the late debit can succeed. The
//! process refunds it, unless the process is killed before. An order that ends before the buyer has paid therefore stays in the
//! table `closed_orders` for two days, which is longer than any lease, and the repair looks for its debit in the history.

use std::{collections::HashSet, error::Error};

use sea_orm::{ColumnTrait, DbErr, EntityTrait, ModelTrait, QueryFilter, QueryOrder, QuerySelect};
use tower_apm::{Transaction, User};

use super::{
    Market,
    closed_order::{Column, Entity, Model as ClosedOrder},
    saga::{Step, StepError, UndecidedError, pay_key, refund},
};
use crate::clock;

/// How long a closed order is kept: two days.
const KEPT_MS: i64 = 2 * 24 * 60 * 60 * 1000;
/// The number of orders in one query.
const PAGE: u64 = 200;

impl Market {
    /// Refunds payments for closed orders, and forgets orders that were closed two days ago. Returns the number of refunds.
    ///
    /// Each refund is a transaction `refund a closed order` of the type `background`, which is linked to the current
    /// transaction.
    pub async fn refund_late_payments(&self) -> Result<usize, DbErr> {
        self.refund_late_payments_for(&Transaction::current()).await
    }

    pub(super) async fn refund_late_payments_for(&self, started_by: &Transaction) -> Result<usize, DbErr> {
        let (mut refunded, mut last) = (0, i64::MIN);
        loop {
            let page = Entity::find().filter(Column::Id.gt(last)).order_by_asc(Column::Id).limit(PAGE);
            let page = page.all(&self.db).await?;
            let Some(end) = page.last() else { return Ok(refunded) };
            last = end.id;
            let debits: Vec<_> = page.iter().map(debit).collect();
            let paid: HashSet<_> = self.wallet.recorded(&debits).await?.into_iter().collect();
            for order in page {
                if paid.contains(&debit(&order)) {
                    let transaction = started_by.start_background("refund a closed order");
                    refunded += usize::from(transaction.run(self.refund_closed(order)).await);
                } else if order.created_at_ms < clock::now_ms().saturating_sub(KEPT_MS) {
                    order.delete(&self.db).await?;
                }
            }
        }
    }

    /// Refunds the payment for a closed order. Returns whether this has succeeded. The key of the refund is the order's own,
    /// so a refund that another process has made is not made again.
    async fn refund_closed(&self, order: ClosedOrder) -> bool {
        let tx = Transaction::current();
        tx.set_user(User::id(&order.buyer))
            .set_label("module", "market")
            .set_label("token_id", &order.token_id)
            .set_label("order_id", &order.order_id);
        let ClosedOrder { order_id, buyer, price, token_id, .. } = order.clone();
        let done = match self.wallet.change(refund(&order_id, buyer, price, &token_id)).await {
            Ok(_) => order.delete(&self.db).await.map(|_| ()).map_err(|error| (Step::Store, StepError::from(error))),
            Err(error) => Err((Step::Refund, error.into())),
        };
        match done {
            Ok(()) => {
                tx.set_result("refunded");
                true
            }
            Err((step, source)) => {
                let error = UndecidedError { order_id, step, source };
                tracing::warn!(
                    error = &error as &dyn Error,
                    order_id = error.order_id,
                    "a late payment is not refunded yet"
                );
                tx.set_result("undecided").set_label("reason", "undecided").capture_error(&error);
                false
            }
        }
    }
}

/// The buyer and the key of the debit of an order.
fn debit(order: &ClosedOrder) -> (String, String) {
    (order.buyer.clone(), pay_key(&order.order_id))
}
