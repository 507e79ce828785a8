//! Options of other Elastic agents that this agent does not support.
//!
//! Such a variable can be set for all services at once, so it is not a typing error. The warning about it contains an
//! alternative.

/// The names, in the form of central configuration, each with the reason or an alternative.
pub(crate) const NOT_OFFERED: &[(&str, &str)] = &[
    ("server_cert", "add the certificate of the server itself to the file of `server_ca_cert_file`"),
    ("log_file", "the agent logs through `tracing`: your subscriber decides where the lines are written"),
    ("log_ecs_formatter_allow_list", "this option is for Java's log formatters"),
    ("metrics_limit", "the number of metrics is always bounded"),
    ("payload_log_file", "the development server (feature `devserver`) shows what is sent"),
    ("config_file", "use the environment, or the builder's setters"),
    ("elasticsearch_capture_body_urls", STATEMENTS),
    ("api_buffer_size", "use `max_backlog_bytes`, and `max_queue_bytes` for events that are not encoded yet"),
    ("metrics_buffer_size", "use `max_queue_bytes`: all events wait in one queue"),
    ("context_manager", "this option is for Node.js"),
    ("opentelemetry_bridge_enabled", "the bridge for OpenTelemetry's API is always enabled"),
];

const STATEMENTS: &str = "a statement is sent if the crate that creates the span records `db.query.text` or \
                          `db.statement`: turn the attribute off in that crate";

/// Returns the reason or the alternative for a name.
pub(crate) fn replacement_for(name: &str) -> Option<&'static str> {
    NOT_OFFERED.iter().find(|(known, _)| *known == name).map(|(_, instead)| *instead)
}
