//! The protocol of the wallet, on embedded and on real parts.
//!
//! Tests of real parts are ignored by default. They need REDIS_URL, KAFKA_BROKERS, POSTGRES_URL and MARIADB_URL of servers
//! that `scripts/real-parts.sh` can start. Each of them uses keys, topics and databases of its own.

mod away;
mod changes;
mod claims;
#[cfg(feature = "kafka")]
pub(crate) mod consumer;
mod crashes;
mod database;
mod faults;
mod memory_log;
mod model;
mod process;
mod proxy;
mod rebuilds;
mod traces;
mod world;
