use crate::record::*;
pub(crate) struct Incoming { pub(crate) trace_id: TraceId, pub(crate) parent_id: SpanId, pub(crate) sampled: bool, pub(crate) sample_rate: Option<f64> }
pub(crate) fn extract(h: &http::HeaderMap) -> Option<Incoming> { h.get("traceparent")?; None }
pub(crate) fn is_sampled(rate: f64, random: u64) -> bool { rate >= 1.0 || (random as f64) < rate * u64::MAX as f64 }
