//! The name of a SQL statement: verb and table, as Elastic's agents write it.

mod signature;
mod token;

pub(crate) use self::signature::signature;
