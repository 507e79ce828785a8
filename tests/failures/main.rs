//! Failed transactions: the error documents that explain them, and the groups of these documents in Kibana.

mod app;
mod error_lines;
mod exit_span_errors;
mod grouping;
mod reports;
mod statuses;
