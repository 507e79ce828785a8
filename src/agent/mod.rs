//! Puts the parts together.

mod resource;

pub(crate) use self::resource::{Host, gather};
