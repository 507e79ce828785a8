//! The tests in `tests/` run sqlx 0.8 and the crates on top of it against real databases.
