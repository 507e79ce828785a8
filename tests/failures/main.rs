//! Failed transactions: which error document explains each of them, and which documents are one group in Kibana.

mod app;
mod calls;
mod grouping;
mod lines;
mod reports;
mod statuses;
