//! The agent's options: from the environment, else from code, else their defaults, and never a reason not to start.
//!
//! [`options`] is the table; [`Config`] is what holds after [`resolve`]. A value that is not allowed is named in one
//! [`Warning`], and the next source is used.

mod env;
mod options;
mod resolve;
mod value;

pub use self::{
    env::Environment,
    value::{CaptureBody, LogLevel},
};
pub(crate) use self::{
    options::{define_setters, for_each_option, option_setters},
    resolve::{CodeOptions, Config, Warning, resolve},
    value::{Secret, ServerUrl, Wildcard},
};

#[cfg(test)]
mod tests;
