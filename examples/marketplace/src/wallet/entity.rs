//! The tables of the history.

/// The table `ledger_entries`: each accepted change. Rows are never updated.
pub mod entry {
    use sea_orm::entity::prelude::*;
    use serde::Serialize;

    use crate::money::Amount;

    /// One change of one user's balance. A debit is negative.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
    #[sea_orm(table_name = "ledger_entries")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        #[serde(rename = "user")]
        pub user_id: String,
        /// Unique for each user.
        #[serde(rename = "key")]
        pub change_key: String,
        pub amount: Amount,
        pub reason: String,
        pub created_at_ms: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The table `consumed`: how far each partition of a log is in the history.
pub mod consumed {
    use sea_orm::entity::prelude::*;

    /// The next record of one partition that is not yet in the history.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "consumed")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub log: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub partition: i32,
        pub next_offset: i64,
        /// The epoch of the last marker before `next_offset`.
        pub epoch: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
