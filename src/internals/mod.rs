//! What `benches/` measures, `fuzz/` feeds and nobody can reach from outside. No part of the API: it may change in any
//! release.

mod encode;
#[cfg(feature = "devserver")]
mod intake;
#[cfg(feature = "devserver")]
mod otlp;
mod text;

pub use self::{
    encode::{Encoder, Record},
    text::{
        OptionValue, Options, Sanitizer, TraceHeaders, default_secret_names, options, sql_signature, trace_headers,
        wildcard_matches,
    },
};
#[cfg(feature = "devserver")]
pub use self::{
    intake::{Judged, intake},
    otlp::otlp,
};
