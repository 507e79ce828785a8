//! Options that other Elastic agents have and this one does not: a variable that a fleet sets everywhere is no typing
//! error, and whoever set it shall know what to do instead.

/// The names, as in central configuration, and a sentence on each: why not, or what to use.
pub(crate) const NOT_OFFERED: &[(&str, &str)] = &[
    ("server_cert", "the certificate of the server itself may stand in the file of `server_ca_cert_file`"),
    ("log_file", "the agent logs through `tracing`: your subscriber decides where that goes"),
    ("log_ecs_formatter_allow_list", "it concerns Java's log formatters"),
    ("metrics_limit", "the agent keeps a bounded number of metrics by itself"),
    ("payload_log_file", "the development server (feature `devserver`) shows what is sent"),
    ("config_file", "use the environment, or the builder's setters"),
    ("elasticsearch_capture_body_urls", STATEMENTS),
    ("api_buffer_size", "use `max_backlog_bytes`, and `max_queue_bytes` for events that are not encoded yet"),
    ("metrics_buffer_size", "use `max_queue_bytes`: all events wait in one queue"),
    ("context_manager", "it chooses between mechanisms of Node.js"),
    ("opentelemetry_bridge_enabled", "OpenTelemetry's API is always bridged"),
];

const STATEMENTS: &str = "a statement is sent if the crate that creates the span records `db.query.text` or \
                          `db.statement`: switch it off there";

/// What is to be said of a name.
pub(crate) fn instead_of(name: &str) -> Option<&'static str> {
    NOT_OFFERED.iter().find(|(known, _)| *known == name).map(|(_, instead)| *instead)
}
