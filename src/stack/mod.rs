//! From a captured stack to frames that group well: no hashes, no build paths, the agent's own frames cut off.
//!
//! Resolving addresses reads debug information and takes tens of milliseconds the first time: worker thread only.

mod frame;
mod names;
mod report;
mod symbols;
mod text;

pub(crate) use self::frame::{Frame, resolve};
