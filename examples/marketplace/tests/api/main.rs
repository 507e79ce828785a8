//! Tests of the marketplace's API: in process, or over a socket where connections matter.

mod chat;
mod chat_redis;
mod data_sources;
mod database;
mod demo;
mod errors;
mod listener;
mod market;
mod process;
mod processes;
mod purchase;
mod repair;
mod repair_killed;
mod repair_late;
mod repair_wallet;
mod server;
mod shop;
mod wallet;
