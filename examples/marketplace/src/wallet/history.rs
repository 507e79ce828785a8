//! The history of all changes in the relational database.
//!
//! The history and the unconsumed changes in the log are the source of truth.

use std::collections::{BTreeMap, HashMap, HashSet};

use sea_orm::{
    AccessMode,
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait, ExprTrait,
    IsolationLevel, QueryFilter, QueryOrder, QuerySelect, TransactionTrait,
    sea_query::{Expr, SimpleExpr},
};

use super::{
    change::{Known, Outcome},
    entity::{consumed, entry},
    log::{Epoch, Event, Position, Unconsumed},
};
use crate::money::Amount;

pub use super::entity::entry::Model as Entry;

/// The maximum number of entries in a response.
const MAX_ENTRIES: u64 = 100;

/// The maximum number of keys in one statement.
const KEYS: usize = 200;

/// The history. Clones share the database's connections.
#[derive(Clone)]
pub struct History {
    db: DatabaseConnection,
}

/// Balances at one point of the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub sums: BTreeMap<String, Amount>,
    /// The valid changes that are not in the sums, without duplicates.
    pub unconsumed: Vec<Event>,
}

/// How one batch moves a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The offset at which the batch begins.
    pub from: i64,
    /// The position after the batch.
    pub to: Position,
}

/// The reason why a batch was not written.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// Another consumer has written the partition. Nothing was written.
    #[error("another consumer has written partition {0}")]
    Moved(i32),
    #[error("the history cannot be written")]
    Database(#[from] DbErr),
}

impl History {
    pub fn new(db: DatabaseConnection) -> Self {
        Self { db }
    }

    /// Returns at most 100 entries of the user, the newest first.
    pub async fn entries(&self, user: &str) -> Result<Vec<Entry>, DbErr> {
        let entries = entry::Entity::find().filter(entry::Column::UserId.eq(user));
        entries.order_by_desc(entry::Column::Id).limit(MAX_ENTRIES).all(&self.db).await
    }

    /// Returns the change with the key, and the balance after it.
    pub async fn find(&self, user: &str, key: &str) -> Result<Option<Known>, DbErr> {
        let found = entry::Entity::find()
            .filter(entry::Column::UserId.eq(user).and(entry::Column::ChangeKey.eq(key)))
            .one(&self.db)
            .await?;
        let Some(entry) = found else { return Ok(None) };
        let sum: Option<i64> = entry::Entity::find()
            .select_only()
            .column_as(self.sum(), "sum")
            .filter(entry::Column::UserId.eq(user).and(entry::Column::Id.lte(entry.id)))
            .into_tuple()
            .one(&self.db)
            .await?
            .flatten();
        let balance = Amount::from_millionths(sum.unwrap_or_default());
        Ok(Some(Known { amount: entry.amount, reason: entry.reason, outcome: Outcome::Accepted { balance } }))
    }

    /// Returns the changes that are in the history. Changes are identified by user and key.
    pub async fn find_all(&self, changes: &[(String, String)]) -> Result<Vec<(String, String)>, DbErr> {
        let mut found = Vec::new();
        for chunk in changes.chunks(KEYS) {
            found.extend(known(&self.db, chunk.iter().map(|(user, key)| (user.as_str(), key.as_str()))).await?);
        }
        found.retain(|change| changes.contains(change));
        Ok(found)
    }

    /// Returns the positions of all partitions that were consumed.
    pub async fn positions(&self, log: &str) -> Result<Vec<Position>, DbErr> {
        positions(&self.db, log).await
    }

    /// Returns the position of one partition.
    pub async fn position(&self, log: &str, partition: i32) -> Result<Position, DbErr> {
        let row = consumed::Entity::find_by_id((log.to_owned(), partition)).one(&self.db).await?;
        Ok(row.map_or_else(|| Position::start(partition), Position::from))
    }

    /// Reads the sums of all users, and filters `unconsumed` to the changes that are not in the sums.
    /// Both use the same state of the database.
    pub async fn snapshot(&self, log: &str, unconsumed: Vec<Unconsumed>) -> Result<Snapshot, DbErr> {
        let snapshot = match self.db.get_database_backend() {
            DbBackend::Sqlite => self.db.begin().await?,
            _ => {
                let (isolation, access) = (IsolationLevel::RepeatableRead, AccessMode::ReadOnly);
                self.db.begin_with_config(Some(isolation), Some(access)).await?
            }
        };
        let next: HashMap<i32, i64> =
            positions(&snapshot, log).await?.into_iter().map(|p| (p.partition, p.next_offset)).collect();
        let sums: Vec<(String, i64)> = entry::Entity::find()
            .select_only()
            .column(entry::Column::UserId)
            .column_as(self.sum(), "sum")
            .group_by(entry::Column::UserId)
            .into_tuple()
            .all(&snapshot)
            .await?;
        // the consumer may have written some of them in the meantime
        let events = unconsumed
            .into_iter()
            .filter(|change| next.get(&change.partition).is_none_or(|next| change.offset >= *next))
            .map(|change| change.event)
            .collect();
        let unconsumed = without_known(&snapshot, without_duplicates(events)).await?;
        snapshot.commit().await?;
        let sums = sums.into_iter().map(|(user, sum)| (user, Amount::from_millionths(sum))).collect();
        Ok(Snapshot { sums, unconsumed })
    }

    /// Writes a batch of valid changes, and the positions after it, in one transaction.
    ///
    /// Changes that are already in the history are ignored.
    pub async fn book(&self, log: &str, advances: &[Advance], events: Vec<Event>) -> Result<(), BookError> {
        for Advance { to, .. } in advances.iter().filter(|advance| advance.from == 0) {
            self.create_position(log, to.partition).await?;
        }
        let batch = self.db.begin().await?;
        for Advance { from, to } in advances {
            // The position is updated first. This locks the row, so that only one of two consumers continues.
            let moved = consumed::Entity::update_many()
                .col_expr(consumed::Column::NextOffset, Expr::value(to.next_offset))
                .col_expr(consumed::Column::Epoch, Expr::value(to.epoch.as_ref().map(|e| e.as_str().to_owned())))
                .filter(is_at(log, to.partition).and(consumed::Column::NextOffset.eq(*from)))
                .exec(&batch)
                .await?;
            if moved.rows_affected != 1 {
                batch.rollback().await?;
                return Err(BookError::Moved(to.partition));
            }
        }
        insert(&batch, events).await?;
        Ok(batch.commit().await?)
    }

    /// Writes the events that have the current epoch, for a log that stores no records.
    ///
    /// Returns for each event whether it was written. A duplicate counts as written.
    pub async fn book_directly(&self, log: &str, events: Vec<Event>) -> Result<Vec<bool>, DbErr> {
        let batch = self.db.begin().await?;
        // Locks the row until the end of the transaction, so that the epoch does not change.
        consumed::Entity::update_many()
            .col_expr(
                consumed::Column::NextOffset,
                Expr::col(consumed::Column::NextOffset).add(i64::try_from(events.len()).unwrap_or(i64::MAX)),
            )
            .filter(is_at(log, DIRECT))
            .exec(&batch)
            .await?;
        let row = consumed::Entity::find_by_id((log.to_owned(), DIRECT)).one(&batch).await?;
        let epoch = row.and_then(|row| row.epoch);
        let counts: Vec<bool> = events.iter().map(|event| epoch.as_deref() == Some(event.epoch.as_str())).collect();
        insert(&batch, events.into_iter().zip(&counts).filter(|(_, counts)| **counts).map(|(e, _)| e).collect())
            .await?;
        batch.commit().await?;
        Ok(counts)
    }

    /// Replaces the epoch of a log that stores no records. Returns `false` if the current epoch is not `current`.
    pub async fn replace_epoch(&self, log: &str, current: Option<&Epoch>, epoch: &Epoch) -> Result<bool, DbErr> {
        self.create_position(log, DIRECT).await?;
        let is_current = match current {
            Some(current) => consumed::Column::Epoch.eq(current.as_str()),
            None => consumed::Column::Epoch.is_null(),
        };
        let replaced = consumed::Entity::update_many()
            .col_expr(consumed::Column::Epoch, Expr::value(epoch.as_str()))
            .filter(is_at(log, DIRECT).and(is_current))
            .exec(&self.db)
            .await?;
        Ok(replaced.rows_affected == 1)
    }

    /// Creates the row of a partition unless it exists.
    async fn create_position(&self, log: &str, partition: i32) -> Result<(), DbErr> {
        if consumed::Entity::find_by_id((log.to_owned(), partition)).one(&self.db).await?.is_some() {
            return Ok(());
        }
        let row = consumed::ActiveModel {
            log: Set(log.to_owned()),
            partition: Set(partition),
            next_offset: Set(0),
            epoch: Set(None),
        };
        consumed::Entity::insert(row)
            .on_conflict_do_nothing_on([consumed::Column::Log, consumed::Column::Partition])
            .exec_without_returning(&self.db)
            .await
            .map(|_| ())
    }

    /// Returns the SQL expression for the sum of amounts, cast to a 64-bit integer.
    ///
    /// Without the cast, databases return a decimal.
    fn sum(&self) -> SimpleExpr {
        let integer = match self.db.get_database_backend() {
            DbBackend::MySql => "signed",
            _ => "bigint",
        };
        entry::Column::Amount.sum().cast_as(integer)
    }
}

/// The only partition of a log that stores no records.
pub const DIRECT: i32 = 0;

fn is_at(log: &str, partition: i32) -> SimpleExpr {
    consumed::Column::Log.eq(log).and(consumed::Column::Partition.eq(partition))
}

async fn positions(db: &impl ConnectionTrait, log: &str) -> Result<Vec<Position>, DbErr> {
    let rows = consumed::Entity::find().filter(consumed::Column::Log.eq(log)).all(db).await?;
    Ok(rows.into_iter().map(Position::from).collect())
}

async fn insert(batch: &DatabaseTransaction, events: Vec<Event>) -> Result<(), DbErr> {
    let entries: Vec<_> = without_duplicates(events).into_iter().map(entry::ActiveModel::from).collect();
    if entries.is_empty() {
        return Ok(());
    }
    entry::Entity::insert_many(entries)
        .on_conflict_do_nothing_on([entry::Column::UserId, entry::Column::ChangeKey])
        .exec_without_returning(batch)
        .await
        .map(|_| ())
}

/// Keeps the first event of each change.
pub(super) fn without_duplicates(events: Vec<Event>) -> Vec<Event> {
    let mut seen = HashSet::new();
    events.into_iter().filter(|event| seen.insert((event.user.clone(), event.key.clone()))).collect()
}

/// Removes the events that are in the history.
async fn without_known(db: &DatabaseTransaction, events: Vec<Event>) -> Result<Vec<Event>, DbErr> {
    let mut found = HashSet::new();
    for chunk in events.chunks(KEYS) {
        found.extend(known(db, chunk.iter().map(|event| (event.user.as_str(), event.key.as_str()))).await?);
    }
    Ok(events.into_iter().filter(|event| !found.contains(&(event.user.clone(), event.key.clone()))).collect())
}

/// Finds changes by user and key. The result can also contain other combinations of these users and keys.
async fn known(
    db: &impl ConnectionTrait,
    changes: impl Iterator<Item = (&'_ str, &'_ str)> + Send,
) -> Result<Vec<(String, String)>, DbErr> {
    let (users, keys): (Vec<_>, Vec<_>) = changes.unzip();
    entry::Entity::find()
        .select_only()
        .columns([entry::Column::UserId, entry::Column::ChangeKey])
        .filter(entry::Column::UserId.is_in(users).and(entry::Column::ChangeKey.is_in(keys)))
        .into_tuple()
        .all(db)
        .await
}

impl From<consumed::Model> for Position {
    fn from(row: consumed::Model) -> Self {
        Self { partition: row.partition, next_offset: row.next_offset, epoch: row.epoch.map(Epoch::from) }
    }
}

impl From<Event> for entry::ActiveModel {
    fn from(event: Event) -> Self {
        Self {
            user_id: Set(event.user),
            change_key: Set(event.key),
            amount: Set(event.amount),
            reason: Set(event.reason),
            created_at_ms: Set(event.at_ms),
            ..Default::default()
        }
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").finish_non_exhaustive()
    }
}
