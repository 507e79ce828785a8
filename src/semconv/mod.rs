//! What a span means in Elastic's terms, by the attributes of OpenTelemetry's semantic conventions.
//!
//! Everything here is pure: no clock, no I/O, no globals.

mod attributes;
mod host;
mod span;
mod span_type;
mod sql;
mod target;
mod text;

pub(crate) use self::{
    attributes::{Attributes, Language, database, is_noise, is_user, language},
    host::{authority, split_port, without_userinfo},
    span::{Operation, SpanFacts, classify, exit_span, host_text, scheme},
    span_type::span_type,
    sql::signature,
    target::Target,
    text::{
        KEYWORD, Text, cut, free_keyword, free_text, joined, keyword, long, map_text, name_keyword, prefix,
        short_keyword,
    },
};
