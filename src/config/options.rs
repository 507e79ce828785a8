//! The table of all options.
//!
//! A row contains the option's documentation, name and type, the variables that set the option (the first is its own, the
//! others are older or other names), the default, the OpenTelemetry resource attributes that are used if the option is not
//! set, and the argument of the setter. `@live` marks options that central configuration can change while the service runs.
//!
//! [`Config`](super::Config), [`CodeOptions`](super::CodeOptions), the code that reads the environment, the start-up line,
//! the builder's setters and the reference in `src/docs/options.md` are generated from these rows.

/// Calls the macro `$then` with the given tokens in brackets, followed by every row.
macro_rules! for_each_option {
    ($then:ident $($first:tt)*) => { $then! { [$($first)*]
        /// Enables the agent. If it is off at the start, there is no thread and no connection, the layer passes every
        /// request through unchanged, and only a restart can enable the agent. If central configuration turns it off,
        /// nothing is recorded, and the agent's thread continues to ask the server whether it is on again.
        @live enabled: Bool, "ELASTIC_APM_ENABLED" | "ELASTIC_APM_ACTIVE", default "true", set(on: bool) = on;

        /// Enables the recording of transactions, spans and errors. If it is off, the layer passes every request
        /// through unchanged and propagates no trace. A transaction that started before still records its spans, but
        /// no errors are recorded. The agent continues to ask the server whether recording is on again.
        @live recording: Bool, "ELASTIC_APM_RECORDING", default "true", set(on: bool) = on;

        /// Enables central configuration (Kibana's *Agent configuration*): the agent reads options from the APM
        /// Server in the background. They take precedence over the environment, and take effect without a restart.
        central_config: Bool, "ELASTIC_APM_CENTRAL_CONFIG", default "true", set(on: bool) = on;

        /// Disables sending: events are recorded, but the agent makes no connection to the server. Use it in tests
        /// without a server.
        disable_send: Bool, "ELASTIC_APM_DISABLE_SEND", default "false", set(disable: bool) = disable;

        /// Propagates the trace to called services without recording anything. If it is set locally, the agent sends
        /// nothing and requests nothing from the server, not even central configuration, so only a restart can turn
        /// it off. If central configuration sets it, it is turned off when the value is removed there.
        @live context_propagation_only: Bool, "ELASTIC_APM_CONTEXT_PROPAGATION_ONLY", default "false",
            set(only: bool) = only;

        /// Sets the URL of the APM Server, `http` or `https`. A path in the URL is kept as a prefix. An `https` URL
        /// needs a TLS provider, for instance the feature `tls-ring`: see the guide on options.
        server_url: Url, "ELASTIC_APM_SERVER_URL", default "http://127.0.0.1:8200",
            set(url: impl Into<String>) = url.into();

        /// Sets several servers of one Elastic Stack, in place of `server_url`. The first server is used until it
        /// fails, then the next one, and after the last one the first one again. Events are sent to one server, never
        /// to all. OTLP over gRPC uses only the first server.
        server_urls: Urls, "ELASTIC_APM_SERVER_URLS",
            set(urls: impl IntoIterator<Item = impl Into<String>>) = urls.into_iter().map(Into::into).collect();

        /// Sets the timeout of one request to the server, at least 1 ms.
        server_timeout: NonZeroDuration, "ELASTIC_APM_SERVER_TIMEOUT", default "30s", set(timeout: Duration) = timeout;

        /// Sets the secret token of the server. It is never shown in logs. `api_key` takes precedence over it.
        secret_token: Credential, "ELASTIC_APM_SECRET_TOKEN", set(token: impl Into<String>) = Secret::new(token.into());

        /// Sets the API key, in the Base64 form in which Kibana shows it. It is never shown in logs. It takes
        /// precedence over `secret_token`.
        api_key: Credential, "ELASTIC_APM_API_KEY", set(key: impl Into<String>) = Secret::new(key.into());

        /// Enables the verification of the server's certificate. Turn it off for experiments only.
        verify_server_cert: Bool, "ELASTIC_APM_VERIFY_SERVER_CERT", default "true", set(verify: bool) = verify;

        /// Sets a PEM file with the certificate authorities to trust *instead of* those of the operating system.
        server_ca_cert_file: Path, "ELASTIC_APM_SERVER_CA_CERT_FILE", set(path: impl Into<PathBuf>) = path.into();

        /// Sets the protocol. `intake` is Elastic's own protocol, which loses no data. `otlp` (feature `otlp`) is
        /// OpenTelemetry's protocol; the guide `otlp` lists what it loses. `intake,otlp` sends both, for a migration:
        /// the response to intake decides, and OTLP gets a copy.
        exporter: Exporter, "ELASTIC_APM_EXPORTER", default "intake", set(exporter: Exporter) = exporter;

        /// Sets the base URL for OTLP, if it is not `server_url`. HTTP adds `/v1/traces` and similar paths. In the
        /// environment, nothing is added to the URL in `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, and if it is set, no
        /// metrics and no log lines are sent over OTLP.
        otlp_endpoint: OtlpUrl, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" | "OTEL_EXPORTER_OTLP_ENDPOINT",
            set(url: impl Into<String>) = url.into();

        /// Sets the transport of OTLP.
        otlp_protocol: OtlpProtocol, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL" | "OTEL_EXPORTER_OTLP_PROTOCOL",
            default "http/protobuf", set(protocol: OtlpProtocol) = protocol;

        /// Sets headers (with gRPC: metadata) of every OTLP request, as a list of `name=value` with values
        /// percent-encoded. They are never shown in logs. `api_key` and `secret_token` take precedence over an
        /// `authorization` header in the list.
        otlp_headers: HeaderList, "OTEL_EXPORTER_OTLP_TRACES_HEADERS" | "OTEL_EXPORTER_OTLP_HEADERS",
            set(headers: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) =
                headers.into_iter().map(|(name, value)| (name.into(), Secret::new(value.into()))).collect();

        /// Sets the timeout of one OTLP request. By default, `server_timeout` applies.
        otlp_timeout: Milliseconds, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" | "OTEL_EXPORTER_OTLP_TIMEOUT",
            set(timeout: Duration) = timeout;

        /// Sets the compression of OTLP. By default, requests are compressed, except for a server on this machine.
        otlp_compression: OtlpCompression, "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION" | "OTEL_EXPORTER_OTLP_COMPRESSION",
            default "auto", set(compression: OtlpCompression) = compression;

        /// Sets a PEM file with the certificate authorities that OTLP trusts, if `server_ca_cert_file` is not set.
        otlp_certificate: Path, "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE" | "OTEL_EXPORTER_OTLP_CERTIFICATE",
            set(path: impl Into<PathBuf>) = path.into();

        /// Sets the name of the service: up to 1024 letters, digits, blanks, `_` and `-`. Other characters become
        /// `_`, with a warning. The default is the name of the executable, or `unknown-rust-service` if that name is
        /// not known.
        service_name: ServiceName, "ELASTIC_APM_SERVICE_NAME", default "unknown-rust-service", otel "service.name",
            set(name: impl Into<String>) = name.into();

        /// Sets the version of the service, for instance `env!("CARGO_PKG_VERSION")`.
        service_version: Text, "ELASTIC_APM_SERVICE_VERSION", otel "service.version",
            set(version: impl Into<String>) = version.into();

        /// Sets the name of this instance of the service. By default, the server uses the container's id or the
        /// host's name.
        service_node_name: Text, "ELASTIC_APM_SERVICE_NODE_NAME", otel "service.instance.id",
            set(name: impl Into<String>) = name.into();

        /// Sets the environment in which the service runs, for instance `production` or `staging`.
        environment: Text, "ELASTIC_APM_ENVIRONMENT", otel "deployment.environment.name" | "deployment.environment",
            set(environment: impl Into<String>) = environment.into();

        /// Sets the name of the host, in place of the detected name.
        hostname: Text, "ELASTIC_APM_HOSTNAME", set(name: impl Into<String>) = name.into();

        /// Sets the cloud provider whose metadata is read: region, instance, machine type and the like. The agent
        /// reads the metadata in the background, for at most three seconds. `auto` reads no metadata if the server is
        /// on this machine.
        cloud_provider: CloudProvider, "ELASTIC_APM_CLOUD_PROVIDER", default "auto",
            set(provider: CloudProvider) = provider;

        /// Sets labels for every event of this service. In the environment, they are `key=value` pairs that are
        /// separated by commas.
        global_labels: Labels, "ELASTIC_APM_GLOBAL_LABELS",
            set(labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) =
                labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();

        /// Enables the capture of the headers of requests, responses and received messages. The scheme and the host
        /// that the client used, as far as proxies report them, are recorded in the URL in any case.
        @live capture_headers: Bool, "ELASTIC_APM_CAPTURE_HEADERS", default "true", set(capture: bool) = capture;

        /// Sets for which requests the body is captured: text, JSON, XML and forms, up to 10 000 characters,
        /// redacted. Only the part that the handler reads is captured, and only of axum's body type. The body of a
        /// received message is captured with `transactions` and `all`.
        @live capture_body: CaptureBody, "ELASTIC_APM_CAPTURE_BODY", default "off", set(capture: CaptureBody) = capture;

        /// Sets the names whose values are replaced by `[REDACTED]`: headers, cookies, query parameters, form fields,
        /// JSON keys, XML elements, fields of spans and events, and names in free text such as `password=…` in a
        /// message. Labels that you set yourself are not redacted. The value is a list of patterns: `*` matches any
        /// characters, and upper and lower case are the same. A pattern after `!` is an exception: `!token_id` keeps
        /// `token_id` visible although `*token*` matches it. Your list **replaces** the default list. The guide
        /// `sensitive_data` lists all other redacted data.
        @live sanitize_field_names: Patterns, "ELASTIC_APM_SANITIZE_FIELD_NAMES", default "password, passwd, pwd, secret, *key, *token*, *session*, *credit*, *card*, *auth*, set-cookie, *principal*, pw, pass, *password*, *passwd*, *passphrase*, *passcode*, *secret*, *mnemonic*, cookie, connect.sid, *sessid*, *jwt*, *assertion*, *oidc*, *saml*, *csrf*, *xsrf*, *credential*, *signature*, sig, otp*, *otp, *_otp_*, *-otp-*, sid, cvv*, *cvv, cvc, pin, *_pin, pin_code, pincode, ssn, *_ssn, *dpop*, code_verifier, !token_id, !token_ids, !tokenId, !tokenIds, !author, !authors, !author_*, !authority, !*discard*, !*wildcard*, !*cardinality*, !access-control-*",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Sets whether the fields of spans are sent as labels: the arguments of instrumented functions, and
        /// OpenTelemetry attributes that have no field of their own in Elastic's schema. Their values are redacted by
        /// name and as free text. The label `target` is the target of the `tracing` span. `off` sends none of these
        /// labels. Attributes that describe a database call, a request or a message are used in any case.
        @live capture_span_fields: CaptureSpanFields, "ELASTIC_APM_CAPTURE_SPAN_FIELDS", default "on",
            set(capture: CaptureSpanFields) = capture;

        /// Sets the level down to which spans of `tracing` are recorded: `debug` records DEBUG spans too. Many crates
        /// describe their internals in spans below INFO, and each span counts towards `transaction_max_spans`. A
        /// crate whose client spans are TRACE spans, such as `tonic-tracing-opentelemetry`, needs `trace`. The level
        /// applies to the layer of `install()` or `Agent::tracing_layer()`. The test kit's subscriber records spans down
        /// to INFO.
        span_level: LogLevel, "ELASTIC_APM_SPAN_LEVEL", default "info", set(level: LogLevel) = level;

        /// Sets patterns of `tracing` spans that are not recorded, such as `tower_sessions*` or `*::get_record`. A
        /// pattern is compared with the span's target, and with its target and name as `target::name`. The label
        /// `target` of a span contains its target. The children of an ignored span become children of the nearest
        /// recorded span above it. The patterns apply to the layer of `install()` or `Agent::tracing_layer()`. The test
        /// kit's subscriber ignores no span.
        ignore_spans: Patterns, "ELASTIC_APM_IGNORE_SPANS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Enables the recording of exit spans (kind `client` or `producer`) that have no transaction. Such a span is
        /// recorded as a transaction of the type `unknown`. By default, such a span and the spans below it are not
        /// recorded, as in other Elastic agents, because each query of a connection pool or of a task that was spawned
        /// without its transaction would become a transaction.
        @live root_exit_spans: Bool, "ELASTIC_APM_ROOT_EXIT_SPANS", default "false", set(record: bool) = record;

        /// Sets the share of traces that are sampled if this service is their root, from 0 to 1, rounded to four
        /// decimals. Errors are sent in any case.
        @live transaction_sample_rate: SampleRate, "ELASTIC_APM_TRANSACTION_SAMPLE_RATE", default "1", set(rate: f64) = rate;

        /// Sets whether the trace in a caller's `traceparent` header is continued or restarted.
        @live trace_continuation_strategy: TraceContinuationStrategy, "ELASTIC_APM_TRACE_CONTINUATION_STRATEGY",
            default "continue", set(strategy: TraceContinuationStrategy) = strategy;

        /// Sends the header `elastic-apm-traceparent` in addition to `traceparent`, for agents from before 2020.
        use_elastic_traceparent_header: Bool, "ELASTIC_APM_USE_ELASTIC_TRACEPARENT_HEADER", default "false",
            set(send: bool) = send;

        /// Sets patterns of the W3C baggage keys that are recorded. Transactions and spans record the matching
        /// members as the attribute `baggage.<key>`, errors as a label of that name. Any client can send baggage, and
        /// each key becomes a field of the index. An agent therefore records at most 16 different keys, of at most
        /// 128 bytes each, in addition to the keys that are listed here without `*`. Values are cut to 1024
        /// characters. All baggage is propagated, whether it is recorded or not.
        @live baggage_to_attach: Patterns, "ELASTIC_APM_BAGGAGE_TO_ATTACH", default "*",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Sets patterns of URL paths (without the query), such as `/health*`. Matching requests are not recorded as
        /// transactions.
        @live transaction_ignore_urls: Patterns, "ELASTIC_APM_TRANSACTION_IGNORE_URLS" | "ELASTIC_APM_IGNORE_URLS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Sets patterns of the whole `User-Agent` header, such as `kube-probe/*`. Matching requests are not recorded
        /// as transactions.
        @live transaction_ignore_user_agents: Patterns, "ELASTIC_APM_TRANSACTION_IGNORE_USER_AGENTS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Sets patterns of transaction names, such as `GET /item/*`. A matching name is replaced by the pattern. If
        /// several patterns match, the first one is used. Use it for names that contain ids, which Kibana cannot
        /// group.
        @live transaction_name_groups: Patterns, "ELASTIC_APM_TRANSACTION_NAME_GROUPS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Names a request that matches no route by its path (`GET /some/path`). Clients can send any number of
        /// different paths, so set `transaction_name_groups` too.
        use_path_as_transaction_name: Bool, "ELASTIC_APM_USE_PATH_AS_TRANSACTION_NAME", default "false",
            set(path: bool) = path;

        /// Sets patterns of the names of queues and topics. For messages that are sent to or received from matching
        /// queues and topics, neither spans nor transactions are recorded. The trace context is still propagated.
        @live ignore_message_queues: Patterns, "ELASTIC_APM_IGNORE_MESSAGE_QUEUES",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Sets patterns of the names of the MongoDB commands that are sent as statements, with `?` in place of each
        /// value. The feature `mongodb` uses this option.
        mongodb_capture_statement_commands: Patterns, "ELASTIC_APM_MONGODB_CAPTURE_STATEMENT_COMMANDS",
            default "find,aggregate,count,distinct,mapReduce",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Sets the maximum number of spans that one transaction sends. Spans that start after the limit is reached
        /// are dropped and counted. Exit spans that are merged into one span, or dropped as too short, no longer
        /// count towards the limit. With 0, no spans are sent. With a negative number, there is no limit.
        @live transaction_max_spans: Limit, "ELASTIC_APM_TRANSACTION_MAX_SPANS", default "500", set(spans: i64) = spans;

        /// Sets the minimum duration of exit spans, such as database calls. A shorter exit span is counted and not sent,
        /// unless it failed. An exit span whose status is not set counts as successful unless an error was captured in
        /// it. Requests and messages to other services are always sent, because the other service can have received
        /// their id. With 0, all exit spans are sent. Microseconds are allowed too (`500us`).
        @live exit_span_min_duration: GranularDuration, "ELASTIC_APM_EXIT_SPAN_MIN_DURATION", default "0ms",
            set(least: Duration) = least;

        /// Merges consecutive similar exit spans of one parent into one span with a count and a total duration. Requests and
        /// messages to other services are not merged, because the other service can have received their id. Failed
        /// exit spans are not merged either.
        @live span_compression_enabled: Bool, "ELASTIC_APM_SPAN_COMPRESSION_ENABLED", default "true",
            set(compress: bool) = compress;

        /// Sets the maximum duration of an exit span that is merged with others of the same name.
        @live span_compression_exact_match_max_duration: NonNegativeDuration,
            "ELASTIC_APM_SPAN_COMPRESSION_EXACT_MATCH_MAX_DURATION", default "50ms", set(longest: Duration) = longest;

        /// Sets the maximum duration of an exit span that is merged with others of the same type and target but with
        /// different names. With 0, no such spans are merged.
        @live span_compression_same_kind_max_duration: NonNegativeDuration,
            "ELASTIC_APM_SPAN_COMPRESSION_SAME_KIND_MAX_DURATION", default "0ms", set(longest: Duration) = longest;

        /// Sets the minimum duration of spans that have a stack: the stack of the place where they ended, if it leads
        /// into the application. A stack takes about 20 µs. In the environment, `0ms` means every span and `-1ms`
        /// none; in code, `None` means none. The older `ELASTIC_APM_SPAN_FRAMES_MIN_DURATION` reverses these two: 0
        /// means none, and below 0 means every span.
        @live span_stack_trace_min_duration: StackTraceMinDuration, "ELASTIC_APM_SPAN_STACK_TRACE_MIN_DURATION"
            | "ELASTIC_APM_SPAN_FRAMES_MIN_DURATION", default "5ms",
            set(least: impl Into<Option<Duration>>) = least.into();

        /// Sets the maximum number of frames of a stack that are sent. With 0, no frames are sent. With a negative
        /// number, all frames are sent.
        @live stack_trace_limit: Limit, "ELASTIC_APM_STACK_TRACE_LIMIT", default "50", set(frames: i64) = frames;

        /// Sets patterns of error types, such as `sqlx::Error` or `*::Timeout*`. An error is not recorded if its
        /// type, or the type of one of its causes, matches. `Stats::filtered` counts such errors. The outcome of the
        /// transaction does not change.
        @live ignore_exceptions: Patterns, "ELASTIC_APM_IGNORE_EXCEPTIONS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Sets which log lines without an error value become errors: events of level ERROR such as
        /// `error!("database error: {e}")`. `failed_requests` records one line for a transaction that fails and has
        /// no other error: the first of the highest level, including lines of level WARN with a field `error` or
        /// `err`. `all` records every line of level ERROR, also outside of transactions. Lines with a field `error`
        /// or `err` of level ERROR are recorded in any case. Lines of the target `tower_http::trace::on_failure` are
        /// never recorded.
        @live capture_log_errors: CaptureLogErrors, "ELASTIC_APM_CAPTURE_LOG_ERRORS", default "failed_requests",
            set(capture: CaptureLogErrors) = capture;

        /// Sets the maximum number of characters of long texts: bodies, SQL statements, messages of errors. The number is
        /// from 1 to 1 048 576. The server accepts no event of more than 300 KiB.
        long_field_max_length: Count, "ELASTIC_APM_LONG_FIELD_MAX_LENGTH", default "10000",
            set(characters: usize) = characters;

        /// Sets how often metrics are sent. With 0, no metrics are sent, and no breakdown of transactions.
        metrics_interval: NonNegativeDuration, "ELASTIC_APM_METRICS_INTERVAL", default "30s",
            set(interval: Duration) = interval;

        /// Sets patterns of the names of metrics that are not sent. They apply to the metrics that the service
        /// records through OpenTelemetry too.
        disable_metrics: Patterns, "ELASTIC_APM_DISABLE_METRICS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Enables the breakdown of the transactions' time by span type: Kibana's *Time spent by span type*.
        breakdown_metrics: Bool, "ELASTIC_APM_BREAKDOWN_METRICS", default "true", set(on: bool) = on;

        /// Sets the upper bounds of the buckets of histograms that the service records through OpenTelemetry (feature
        /// `sdk`), if neither the instrument nor a view sets its own. By default, each bound is √2 times the one
        /// before.
        custom_metrics_histogram_boundaries: Boundaries, "ELASTIC_APM_CUSTOM_METRICS_HISTOGRAM_BOUNDARIES",
            default "0.00390625,0.00552427,0.0078125,0.0110485,0.015625,0.0220971,0.03125,0.0441942,0.0625,0.0883883,0.125,0.176777,0.25,0.353553,0.5,0.707107,1,1.41421,2,2.82843,4,5.65685,8,11.3137,16,22.6274,32,45.2548,64,90.5097,128,181.019,256,362.039,512,724.077,1024,1448.15,2048,2896.31,4096,5792.62,8192,11585.2,16384,23170.5,32768,46341,65536,92681.9,131072",
            set(bounds: impl IntoIterator<Item = f64>) = bounds.into_iter().collect();

        /// Enables metrics of the CPU time that the agent's own thread uses (`agent.background.*`), on Linux.
        /// `disable_metrics` does not apply to these metrics.
        agent_background_overhead_metrics: Bool, "ELASTIC_APM_AGENT_BACKGROUND_OVERHEAD_METRICS", default "false",
            set(on: bool) = on;

        /// Sets the compressed size, in bytes, at which a request to the server is closed and sent, from 1 KiB to 5
        /// MiB.
        api_request_size: RequestSize, "ELASTIC_APM_API_REQUEST_SIZE", default "768kb", set(bytes: usize) = bytes;

        /// Sets the maximum time that events wait for other events of the same request, at least 1 ms. Other Elastic
        /// agents wait 10 s, and keep a request open meanwhile. One second costs a busy service almost nothing,
        /// because its requests reach `api_request_size` earlier, and a developer sees new events at once.
        api_request_time: NonZeroDuration, "ELASTIC_APM_API_REQUEST_TIME", default "1s", set(time: Duration) = time;

        /// Sets the maximum number of events that wait to be encoded, from 1 to 1 048 576. Further events are dropped
        /// and counted. Spans and log lines may take three quarters of the queue, so that they cannot push out
        /// transactions and errors.
        max_queue_size: Count, "ELASTIC_APM_MAX_QUEUE_SIZE", default "16384", set(events: usize) = events;

        /// Sets the maximum memory of events in the queue, from 64 KiB to 1 GiB. Of `max_queue_size` and this option,
        /// the limit that is reached first applies.
        max_queue_bytes: QueueBytes, "ELASTIC_APM_MAX_QUEUE_BYTES", default "8mb", set(bytes: usize) = bytes;

        /// Sets the maximum memory of compressed batches that wait while the server does not accept events, in
        /// addition to the queue. From 0 (no backlog) to 1 GiB. An event takes about 80 bytes, so the default lasts
        /// for 90 s at 2000 events per second. When the limit is reached, events stay in the queue.
        max_backlog_bytes: BacklogBytes, "ELASTIC_APM_MAX_BACKLOG_BYTES", default "16mb", set(bytes: usize) = bytes;

        /// Sends log lines to the server too, which must have version 8.6 or newer: the lines that `install()`
        /// prints, or that `Agent::log_layer()` receives. The option is experimental in Elastic's specification.
        @live log_sending: Bool, "ELASTIC_APM_LOG_SENDING", default "false", set(send: bool) = send;

        /// Sets whether `install()` prints log lines in the Elastic Common Schema. `override` overrides the format
        /// that is set in code.
        log_ecs_reformatting: LogEcsReformatting, "ELASTIC_APM_LOG_ECS_REFORMATTING", default "off",
            set(reformatting: LogEcsReformatting) = reformatting;

        /// Sets the level of the agent's own log lines, which have the `tracing` target `tower_apm`. In the
        /// subscriber of `install()`, a directive of `RUST_LOG` for that target takes precedence. In your own
        /// subscriber, the level applies to all layers, in addition to their filters. It does not apply to the lines
        /// of your service.
        @live log_level: LogLevel, "ELASTIC_APM_LOG_LEVEL", default "info", set(level: LogLevel) = level;
    }};
}
pub(crate) use for_each_option;

/// Implements one setter for each option on a builder that is `#[must_use]` and has a field `options: CodeOptions`:
/// `option_setters!(AgentBuilder)`.
macro_rules! option_setters {
    ($builder:ident) => {
        $crate::config::for_each_option! { define_setters $builder }
    };
}

macro_rules! define_setters {
    ([$builder:ident] $(
        $(#[doc = $doc:literal])+
        $(@$live:ident)? $name:ident: $option_type:ty, $env:literal $(| $alias:literal)*
        $(, default $default:literal)?
        $(, otel $($attribute:literal)|+)?
        , set($argument:ident: $type:ty) = $code:expr;
    )+) => {
        impl $builder {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = concat!("Environment variable: `", $env, "`, which takes precedence over this setter." $(, " Default: `", $default, "`.")?)]
                $(#[doc = $crate::config::live_note!($live)])?
                pub fn $name(mut self, $argument: $type) -> Self {
                    self.options.$name = Some($code);
                    self
                }
            )+
        }
    };
}
macro_rules! live_note {
    (live) => {
        "Central configuration takes precedence over both, and can change the value while the service runs."
    };
}
pub(crate) use {define_setters, live_note, option_setters};
