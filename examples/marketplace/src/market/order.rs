//! Orders in progress, and the leases of the processes that work on them.
//!
//! The row of a listing contains at most one order. A process works on an order only while it holds the order's lease.
//! Each change compares the order id, the status and the lease that the process knows with the row. If they differ,
//! another process has taken over the order, and the change has no effect.

use std::{cmp, time::Duration};

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, ExprTrait, QueryFilter,
    QueryOrder, QuerySelect, TransactionTrait, UpdateMany, sea_query::Expr,
};
use uuid::Uuid;

use super::{
    closed_order,
    entity::{Column, Entity, Model as Listing, Status},
};
use crate::{chain::Settled, clock};

/// The delay before another attempt if the first attempt of an order ended without a decision.
const RETRY_MS: i64 = 2_000;

/// The orders of one database.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    db: DatabaseConnection,
    lease_ms: i64,
}

/// An order in progress whose lease this process has taken.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) buyer: String,
    /// The listing as of the last change by this process.
    pub(super) listing: Listing,
    pub(super) lease_until_ms: i64,
}

impl Order {
    /// Returns what the chain has settled, if the order is settled.
    pub(super) fn settled(&self) -> Option<Settled> {
        let block = self.listing.block.and_then(|block| u64::try_from(block).ok());
        Some(Settled { tx_hash: self.listing.tx_hash.clone()?, block: block? })
    }
}

impl Orders {
    pub(super) fn new(db: DatabaseConnection, lease: Duration) -> Self {
        Self { db, lease_ms: i64::try_from(lease.as_millis()).unwrap_or(i64::MAX) }
    }

    /// Creates an order for `listing`. Only [`reserve`](Self::reserve) reserves the listing.
    pub(super) fn create(&self, listing: Listing, buyer: &str) -> Order {
        let id = Uuid::new_v4().to_string();
        Order { id, buyer: buyer.to_owned(), listing, lease_until_ms: self.next_lease(0) }
    }

    /// Reserves the listing for the order if the listing is open.
    pub(super) async fn reserve(&self, order: &mut Order) -> Result<bool, DbErr> {
        let changed = Entity::update_many()
            .col_expr(Column::Status, Expr::value(Status::Reserved))
            .col_expr(Column::OrderId, Expr::value(order.id.as_str()))
            .col_expr(Column::Buyer, Expr::value(order.buyer.as_str()))
            .col_expr(Column::LeaseUntilMs, Expr::value(order.lease_until_ms))
            .filter(Column::Id.eq(order.listing.id).and(Column::Status.eq(Status::Open)))
            .exec(&self.db)
            .await?;
        order.listing.status = Status::Reserved;
        Ok(changed.rows_affected == 1)
    }

    /// Returns at most `limit` listings with an order whose lease has expired.
    ///
    /// The lease that expired first comes first.
    pub(super) async fn expired(&self, limit: u64) -> Result<Vec<Listing>, DbErr> {
        let expired = Entity::find().filter(Column::LeaseUntilMs.lt(clock::now_ms()));
        expired.order_by_asc(Column::LeaseUntilMs).limit(limit).all(&self.db).await
    }

    /// Takes over the order of a listing that [`expired`](Self::expired) returned. Returns `None` if another process was faster.
    pub(super) async fn take_over(&self, listing: Listing) -> Result<Option<Order>, DbErr> {
        let (Some(id), Some(buyer), Some(lease_until_ms)) =
            (listing.order_id.clone(), listing.buyer.clone(), listing.lease_until_ms)
        else {
            return Ok(None);
        };
        let mut order = Order { id, buyer, listing, lease_until_ms };
        Ok(self.renew(&mut order).await?.then_some(order))
    }

    /// Renews the lease if half of it has passed. Returns `false` if the order is lost to another process.
    pub(super) async fn hold(&self, order: &mut Order) -> Result<bool, DbErr> {
        let rest = order.lease_until_ms.saturating_sub(clock::now_ms());
        if rest > self.lease_ms / 2 { Ok(true) } else { self.renew(order).await }
    }

    /// Stores the next status of the order and renews the lease. Returns `false` if the order is lost to another process.
    pub(super) async fn advance(&self, order: &mut Order, to: Status) -> Result<bool, DbErr> {
        let lease = self.next_lease(order.lease_until_ms);
        let changed =
            self.change(order, |row| with_lease(row.col_expr(Column::Status, Expr::value(to)), lease)).await?;
        (order.listing.status, order.lease_until_ms) = (to, lease);
        Ok(changed)
    }

    /// Stores that the chain has settled the order. Returns `false` if the order is lost to another process.
    pub(super) async fn settle(&self, order: &mut Order, settled: &Settled) -> Result<bool, DbErr> {
        let (lease, block) = (self.next_lease(order.lease_until_ms), i64::try_from(settled.block).unwrap_or(i64::MAX));
        let changed = self.change(order, |row| {
            let row = row
                .col_expr(Column::Status, Expr::value(Status::Settled))
                .col_expr(Column::TxHash, Expr::value(settled.tx_hash.as_str()))
                .col_expr(Column::Block, Expr::value(block));
            with_lease(row, lease)
        });
        let changed = changed.await?;
        let listing = &mut order.listing;
        (listing.status, listing.tx_hash, listing.block) =
            (Status::Settled, Some(settled.tx_hash.clone()), Some(block));
        order.lease_until_ms = lease;
        Ok(changed)
    }

    /// Ends the order with a sale. Returns `false` if the order is lost to another process.
    pub(super) async fn finish(&self, order: &Order) -> Result<bool, DbErr> {
        self.change(order, |row| without_lease(row.col_expr(Column::Status, Expr::value(Status::Sold)))).await
    }

    /// Ends the order without a sale: the listing is open again. Returns `false` if the order is lost to another process.
    ///
    /// A debit can still follow if the buyer has not paid yet. The order is then kept in `closed_orders`.
    pub(super) async fn reopen(&self, order: &Order) -> Result<bool, DbErr> {
        let none = || Expr::value(Option::<String>::None);
        let both = self.db.begin().await?;
        let reopened = change_in(&both, order, |row| {
            let row = row
                .col_expr(Column::Status, Expr::value(Status::Open))
                .col_expr(Column::OrderId, none())
                .col_expr(Column::Buyer, none());
            without_lease(row)
        });
        let reopened = reopened.await?;
        if reopened && order.listing.status == Status::Reserved {
            let closed = closed_order::ActiveModel {
                order_id: Set(order.id.clone()),
                token_id: Set(order.listing.token_id.clone()),
                buyer: Set(order.buyer.clone()),
                price: Set(order.listing.price),
                created_at_ms: Set(clock::now_ms()),
                ..Default::default()
            };
            closed_order::Entity::insert(closed).exec_without_returning(&both).await?;
        }
        both.commit().await?;
        Ok(reopened)
    }

    /// Shortens the lease, so that the repair does not have to wait for its end.
    pub(super) async fn release(&self, order: &Order) -> Result<(), DbErr> {
        let soon = clock::now_ms().saturating_add(cmp::min(RETRY_MS, self.lease_ms));
        self.change(order, |row| with_lease(row, soon)).await.map(|_| ())
    }

    /// Returns whether the order has ended without a sale: the row of the listing contains another order or none.
    pub(super) async fn has_ended(&self, order: &Order) -> Result<bool, DbErr> {
        let row = Entity::find_by_id(order.listing.id).one(&self.db).await?;
        Ok(row.is_none_or(|row| row.order_id.as_deref() != Some(order.id.as_str())))
    }

    async fn renew(&self, order: &mut Order) -> Result<bool, DbErr> {
        let lease = self.next_lease(order.lease_until_ms);
        let changed = self.change(order, |row| with_lease(row, lease)).await?;
        order.lease_until_ms = lease;
        Ok(changed)
    }

    async fn change(
        &self,
        order: &Order,
        change: impl FnOnce(UpdateMany<Entity>) -> UpdateMany<Entity>,
    ) -> Result<bool, DbErr> {
        change_in(&self.db, order, change).await
    }

    /// Returns the end of a lease that starts now. It always differs from `previous`.
    fn next_lease(&self, previous: i64) -> i64 {
        cmp::max(clock::now_ms().saturating_add(self.lease_ms), previous.saturating_add(1))
    }
}

/// Changes the row if this process still holds the lease.
async fn change_in(
    db: &impl ConnectionTrait,
    order: &Order,
    change: impl FnOnce(UpdateMany<Entity>) -> UpdateMany<Entity>,
) -> Result<bool, DbErr> {
    let unchanged = Column::Id
        .eq(order.listing.id)
        .and(Column::OrderId.eq(order.id.as_str()))
        .and(Column::Status.eq(order.listing.status))
        .and(Column::LeaseUntilMs.eq(order.lease_until_ms));
    let changed = change(Entity::update_many()).filter(unchanged).exec(db).await?;
    Ok(changed.rows_affected == 1)
}

fn with_lease(row: UpdateMany<Entity>, until_ms: i64) -> UpdateMany<Entity> {
    row.col_expr(Column::LeaseUntilMs, Expr::value(until_ms))
}

fn without_lease(row: UpdateMany<Entity>) -> UpdateMany<Entity> {
    row.col_expr(Column::LeaseUntilMs, Expr::value(Option::<i64>::None))
}
