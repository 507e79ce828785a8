//! Real servers and processes of the marketplace, for tests that start and kill them.

#![allow(dead_code, reason = "each test program uses a part of this module")]

pub(crate) mod deployment;
pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod real_parts;
