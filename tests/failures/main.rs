//! Failed transactions: the error documents that explain them, and the groups of these documents in Kibana.

mod app;
mod calls;
mod grouping;
mod lines;
mod reports;
mod statuses;
