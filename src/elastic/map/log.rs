//! A line of the service's log, redacted: it comes as it was written.

use super::labels::field_tags;
use crate::{
    elastic::model::{LogLine, Scalar},
    record::LogRecord,
    sanitize::Sanitizer,
    semconv::{free_keyword, free_text, keyword, prefix},
};

/// `error.*` would make the server take the line for an error, which is told on its own: the line keeps its text as a
/// label.
pub(crate) fn log<'a>(record: &'a LogRecord, service_name: &'a str, sanitizer: &Sanitizer) -> LogLine<'a> {
    let mut labels = field_tags(&record.labels, sanitizer);
    if let Some(error) = record.error.as_deref().filter(|error| error.message != record.message) {
        labels.set("error".into(), Scalar::Text(free_keyword(&*error.message, sanitizer)));
    }
    LogLine {
        timestamp: record.timestamp,
        message: free_text(&*record.message, sanitizer),
        level: record.level,
        logger: Some(keyword(&*record.logger)),
        file: record.file.as_deref().map(prefix),
        line: record.line,
        function: None,
        trace_id: record.place.map(|place| place.trace_id),
        transaction_id: record.place.and_then(|place| place.transaction_id),
        span_id: record.place.and_then(|place| place.span_id),
        error_type: None,
        error_message: None,
        error_stack_trace: None,
        thread: record.thread.as_deref().map(keyword),
        dataset: Some(keyword(record.dataset(service_name))),
        labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::record::{Exception, Label, LogPlace, SpanId, TraceId};

    fn record() -> LogRecord {
        LogRecord {
            timestamp: 1,
            level: "error",
            message: "not sold".into(),
            logger: "market".into(),
            file: Some("src/market.rs".into()),
            line: Some(7),
            thread: Some("main".into()),
            place: Some(LogPlace { trace_id: TraceId(1), transaction_id: Some(SpanId(2)), span_id: None }),
            error: Some(Box::new(Exception { message: "no funds".into(), ..Exception::default() })),
            error_id: Some(TraceId(3)),
            labels: vec![Label { key: "order.id".into(), value: "42".into() }],
            is_own: false,
        }
    }

    fn sanitizer(max_characters: usize) -> Sanitizer {
        let mut config = Config::default();
        config.long_field_max_length = max_characters;
        Sanitizer::of(&config)
    }

    fn json(record: &LogRecord) -> serde_json::Value {
        serde_json::to_value(log(record, "shop", &sanitizer(10))).unwrap()
    }

    // spec: log-sending.md
    #[test]
    fn log_record_with_an_error_has_no_error_fields() {
        let wanted = serde_json::json!({
            "@timestamp": 1, "message": "not sold", "log.level": "error", "log.logger": "market",
            "log.origin.file.name": "src/market.rs", "log.origin.file.line": 7, "process.thread.name": "main",
            "trace.id": "00000000000000000000000000000001", "transaction.id": "0000000000000002",
            "event.dataset": "shop", "labels": {"order_id": "42", "error": "no funds"},
        });
        assert_eq!(json(&record()), wanted);
    }

    // spec: log-sending.md
    #[test]
    fn log_records_of_the_agent_have_their_own_dataset() {
        assert_eq!(json(&LogRecord { is_own: true, ..record() })["event.dataset"], "shop.apm-agent");
    }

    // spec: field-limits.md
    #[test]
    fn long_log_message_is_truncated() {
        assert_eq!(json(&LogRecord { message: "ä".repeat(11), ..record() })["message"], "ä".repeat(9) + "…");
    }
}
