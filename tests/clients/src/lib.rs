//! The tests in `tests/` run client crates against their real servers.
