//! Tests of the protocol of the wallet, on embedded parts and on real servers.
//!
//! Tests on real servers are ignored by default. They need REDIS_URL, KAFKA_BROKERS, POSTGRES_URL and MARIADB_URL.
//! `scripts/real-parts.sh` can start these servers. Each test uses its own keys, topics and databases.

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
mod unavailable_parts;
mod world;
