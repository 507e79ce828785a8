//! The signature of a SQL statement, which names its span: verb and table.

mod signature;
mod token;

pub(crate) use self::signature::signature;
