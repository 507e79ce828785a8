//! The one table of options.
//!
//! A row has the option's documentation, name and kind, the variables that set it (the first is its own, the others
//! are older or other names for it), what it is by default, the OpenTelemetry resource attribute that stands in for
//! it, and the argument of its setter. [`Config`](super::Config), [`CodeOptions`](super::CodeOptions), the reading of
//! the environment, the start-up line and the builder's setters are all made from these rows. `@live` marks the options that
//! central configuration may change while the service runs.

/// Calls the macro `$then` with every row, after the tokens that are to come first.
macro_rules! for_each_option {
    ($then:ident $($first:tt)*) => { $then! { [$($first)*]
        /// The master switch. When it is off there is no thread, no connection, and the layer lets every request
        /// through untouched; nothing can switch it on then but a restart. Switched off centrally, nothing is recorded,
        /// and the agent's thread goes on asking whether it is switched on again.
        @live enabled: Bool, "ELASTIC_APM_ENABLED" | "ELASTIC_APM_ACTIVE", default "true", set(on: bool) = on;

        /// Whether transactions, spans and errors are recorded. When it is off, the layer lets every request through
        /// untouched, and no trace is passed on; a transaction that has begun before goes on with its spans, and errors
        /// are none. The server is still asked whether it is to be switched on.
        @live recording: Bool, "ELASTIC_APM_RECORDING", default "true", set(on: bool) = on;

        /// Whether options are also read from the APM Server (Kibana's *Agent configuration*), in the background. What
        /// is set there wins over the environment, and takes effect without a restart.
        central_config: Bool, "ELASTIC_APM_CENTRAL_CONFIG", default "true", set(on: bool) = on;

        /// Records everything and sends nothing: there is no connection to the server at all. For tests of a service
        /// where there is none.
        disable_send: Bool, "ELASTIC_APM_DISABLE_SEND", default "false", set(disable: bool) = disable;

        /// Passes the trace on to the services that are called, and records nothing itself. Set locally it means that
        /// nothing is sent to the server and nothing asked, central configuration included, so that only a restart
        /// takes it back; set centrally it goes back when it vanishes there.
        @live context_propagation_only: Bool, "ELASTIC_APM_CONTEXT_PROPAGATION_ONLY", default "false",
            set(only: bool) = only;

        /// The URL of the APM Server, `http` or `https`. A path in the URL is kept as a prefix. An `https` URL needs a
        /// TLS provider, for instance the feature `tls-ring`: see the guide on options.
        server_url: Url, "ELASTIC_APM_SERVER_URL", default "http://127.0.0.1:8200",
            set(url: impl Into<String>) = url.into();

        /// Several servers of one Elastic stack, in place of `server_url`. The first is used until it fails; then the
        /// next one is, round and round. Events are sent to one of them, never to all. OTLP over gRPC knows the first only.
        server_urls: Urls, "ELASTIC_APM_SERVER_URLS",
            set(urls: impl IntoIterator<Item = impl Into<String>>) = urls.into_iter().map(Into::into).collect();

        /// How long one request to the server may take, at least 1 ms.
        server_timeout: NonZeroDuration, "ELASTIC_APM_SERVER_TIMEOUT", default "30s", set(timeout: Duration) = timeout;

        /// The secret token of the server. Never shown in logs. An `api_key` wins over it.
        secret_token: Credential, "ELASTIC_APM_SECRET_TOKEN", set(token: impl Into<String>) = Secret::new(token.into());

        /// The API key, in the Base64 form in which Kibana shows it. Never shown in logs. Wins over `secret_token`.
        api_key: Credential, "ELASTIC_APM_API_KEY", set(key: impl Into<String>) = Secret::new(key.into());

        /// Whether the server's certificate is checked. Turn it off for experiments only.
        verify_server_cert: Bool, "ELASTIC_APM_VERIFY_SERVER_CERT", default "true", set(verify: bool) = verify;

        /// A PEM file with the certificate authorities to trust *instead of* the usual ones.
        server_ca_cert_file: Path, "ELASTIC_APM_SERVER_CA_CERT_FILE", set(path: impl Into<PathBuf>) = path.into();

        /// How events are told to the server. `intake` is Elastic's own protocol, which loses nothing. `otlp`, with
        /// the crate's feature of that name, is OpenTelemetry's; the guide `otlp` lists what it loses. `intake,otlp`
        /// sends both, for a migration: what counts is the answer to the first, the second gets a copy.
        exporter: Exporter, "ELASTIC_APM_EXPORTER", default "intake", set(exporter: Exporter) = exporter;

        /// Where OTLP goes, if not to `server_url`: the base URL, to which HTTP adds `/v1/traces` and the like. In the
        /// environment `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is a URL to which nothing is added; with it no metrics and no
        /// log lines are sent by OTLP.
        otlp_endpoint: OtlpUrl, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" | "OTEL_EXPORTER_OTLP_ENDPOINT",
            set(url: impl Into<String>) = url.into();

        /// How OTLP travels.
        otlp_protocol: OtlpProtocol, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL" | "OTEL_EXPORTER_OTLP_PROTOCOL",
            default "http/protobuf", set(protocol: OtlpProtocol) = protocol;

        /// Headers (with gRPC: metadata) of every OTLP request, as a list of `name=value` with values percent-encoded.
        /// Never shown in logs. `api_key` and `secret_token` win over an `authorization` in it.
        otlp_headers: HeaderList, "OTEL_EXPORTER_OTLP_TRACES_HEADERS" | "OTEL_EXPORTER_OTLP_HEADERS",
            set(headers: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) =
                headers.into_iter().map(|(name, value)| (name.into(), Secret::new(value.into()))).collect();

        /// How long one OTLP request may take; by default as long as `server_timeout` says.
        otlp_timeout: Milliseconds, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" | "OTEL_EXPORTER_OTLP_TIMEOUT",
            set(timeout: Duration) = timeout;

        /// Whether OTLP is compressed. By default it is, except to this machine.
        otlp_compression: OtlpCompression, "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION" | "OTEL_EXPORTER_OTLP_COMPRESSION",
            default "auto", set(compression: OtlpCompression) = compression;

        /// A PEM file with the certificate authorities that OTLP trusts, where `server_ca_cert_file` names none.
        otlp_certificate: Path, "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE" | "OTEL_EXPORTER_OTLP_CERTIFICATE",
            set(path: impl Into<PathBuf>) = path.into();

        /// The name of the service: up to 1024 letters, digits, blanks, `_` and `-`. Other characters become `_`, with
        /// a warning. By default the name of the executable, and `unknown-rust-service` where that is not known.
        service_name: ServiceName, "ELASTIC_APM_SERVICE_NAME", default "unknown-rust-service", otel "service.name",
            set(name: impl Into<String>) = name.into();

        /// The version of the service, for instance `env!("CARGO_PKG_VERSION")`.
        service_version: Text, "ELASTIC_APM_SERVICE_VERSION", otel "service.version",
            set(version: impl Into<String>) = version.into();

        /// Tells instances of one service apart. By default the server takes the container's id or the host's name.
        service_node_name: Text, "ELASTIC_APM_SERVICE_NODE_NAME", otel "service.instance.id",
            set(name: impl Into<String>) = name.into();

        /// Where the service runs, for instance `production` or `staging`.
        environment: Text, "ELASTIC_APM_ENVIRONMENT", otel "deployment.environment.name" | "deployment.environment",
            set(environment: impl Into<String>) = environment.into();

        /// A name for the host, shown in place of the one that is detected.
        hostname: Text, "ELASTIC_APM_HOSTNAME", set(name: impl Into<String>) = name.into();

        /// Which cloud is asked for the place that the service runs in: region, instance, machine type and the like.
        /// It is asked in the background, for three seconds at most; `auto` asks nobody where the server is on this very
        /// machine.
        cloud_provider: CloudProvider, "ELASTIC_APM_CLOUD_PROVIDER", default "auto",
            set(provider: CloudProvider) = provider;

        /// Labels of every event of this service; in the environment `key=value` pairs between commas.
        global_labels: Labels, "ELASTIC_APM_GLOBAL_LABELS",
            set(labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) =
                labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();

        /// Whether the headers of requests, responses and received messages are captured. The scheme and the host that the
        /// client used, as far as proxies report them, are recorded in the URL in any case.
        @live capture_headers: Bool, "ELASTIC_APM_CAPTURE_HEADERS", default "true", set(capture: bool) = capture;

        /// For which requests the body is captured: text, JSON and forms, up to 10 000 characters, sanitised. As far as
        /// the handler reads it, and of axum's body type only. The body of a received message is captured with
        /// `transactions` and `all`.
        @live capture_body: CaptureBody, "ELASTIC_APM_CAPTURE_BODY", default "off", set(capture: CaptureBody) = capture;

        /// The names whose values are replaced by `[REDACTED]`: headers, cookies, query parameters, form fields, JSON
        /// keys, XML elements, fields of spans and events, and names in free text such as `password=…` in a message.
        /// Labels that you set yourself are not redacted. The value is a list of patterns: `*` matches any characters,
        /// and upper and lower case are the same. A pattern after `!` is an exception: `!token_id` keeps `token_id`
        /// visible although `*token*` matches it. **Replaces** the default list. The guide `sensitive_data` lists all
        /// other redacted data.
        @live sanitize_field_names: Patterns, "ELASTIC_APM_SANITIZE_FIELD_NAMES", default "password, passwd, pwd, secret, *key, *token*, *session*, *credit*, *card*, *auth*, set-cookie, *principal*, pw, pass, *password*, *passwd*, *passphrase*, *passcode*, *secret*, *mnemonic*, cookie, connect.sid, *sessid*, *jwt*, *assertion*, *oidc*, *saml*, *csrf*, *xsrf*, *credential*, *signature*, sig, otp*, *otp, *_otp_*, *-otp-*, sid, cvv*, *cvv, cvc, pin, *_pin, pin_code, pincode, ssn, *_ssn, *dpop*, code_verifier, !token_id, !token_ids, !tokenId, !tokenIds, !author, !authors, !author_*, !authority, !*discard*, !*wildcard*, !*cardinality*, !access-control-*",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Whether the fields of spans are sent as labels: the arguments of instrumented functions, and OpenTelemetry
        /// attributes that have no field of their own in Elastic's schema. Their values are redacted by name and as
        /// free text. The label `target` is the target of the `tracing` span. `off` sends none of these labels. Attributes
        /// that describe a database call, a request or a message are used in any case.
        @live capture_span_fields: CaptureSpanFields, "ELASTIC_APM_CAPTURE_SPAN_FIELDS", default "on",
            set(capture: CaptureSpanFields) = capture;

        /// The level down to which spans of `tracing` are recorded: `debug` records DEBUG spans too. Many crates describe
        /// their internals in spans below INFO, and each span counts towards `transaction_max_spans`. A crate whose client
        /// spans are TRACE spans, such as `tonic-tracing-opentelemetry`, needs `trace`. The level belongs to the layer of
        /// `install()` or `Agent::tracing_layer()`; the test kit's subscriber records spans down to INFO.
        span_level: LogLevel, "ELASTIC_APM_SPAN_LEVEL", default "info", set(level: LogLevel) = level;

        /// Patterns of `tracing` spans that are not recorded, such as `tower_sessions*` or `*::get_record`. A pattern
        /// is compared with the span's target, and with its target and name as `target::name`. The label `target` of a
        /// span contains its target. The children of an ignored span become children of the nearest recorded span above
        /// it. The patterns belong to the layer of `install()` or `Agent::tracing_layer()`; the test kit's subscriber
        /// ignores no span.
        ignore_spans: Patterns, "ELASTIC_APM_IGNORE_SPANS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Whether an exit span (kind `client` or `producer`) without a transaction becomes a transaction. By default,
        /// such a span and the spans below it are not recorded, as in other Elastic agents. Otherwise, each query of a
        /// connection pool, or of a task that was spawned without its transaction, would be a transaction of the type
        /// `unknown`.
        @live root_exit_spans: Bool, "ELASTIC_APM_ROOT_EXIT_SPANS", default "false", set(record: bool) = record;

        /// The share of traces that are sampled where this service is their root, from 0 to 1, rounded to four
        /// decimals. Errors are sent in any case.
        @live transaction_sample_rate: SampleRate, "ELASTIC_APM_TRANSACTION_SAMPLE_RATE", default "1", set(rate: f64) = rate;

        /// What becomes of the trace that a caller's `traceparent` names.
        @live trace_continuation_strategy: TraceContinuationStrategy, "ELASTIC_APM_TRACE_CONTINUATION_STRATEGY",
            default "continue", set(strategy: TraceContinuationStrategy) = strategy;

        /// Whether the header `elastic-apm-traceparent` goes out beside `traceparent`, for agents from before 2020.
        use_elastic_traceparent_header: Bool, "ELASTIC_APM_USE_ELASTIC_TRACEPARENT_HEADER", default "false",
            set(send: bool) = send;

        /// Patterns of W3C baggage keys. Transactions and spans record the matching members as the attribute
        /// `baggage.<key>`, errors as a label of that name. Any client can send baggage, and each key becomes a field
        /// of the index. An agent therefore records at most 16 different keys, of at most 128 bytes each, in addition
        /// to the keys that are listed here without `*`. Values are cut to 1024 characters. All baggage is propagated,
        /// whether it is recorded or not.
        @live baggage_to_attach: Patterns, "ELASTIC_APM_BAGGAGE_TO_ATTACH", default "*",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Patterns of URL paths (without the query) whose requests make no transaction, such as `/health*`.
        @live transaction_ignore_urls: Patterns, "ELASTIC_APM_TRANSACTION_IGNORE_URLS" | "ELASTIC_APM_IGNORE_URLS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Patterns of the whole `User-Agent` whose requests make no transaction, such as `kube-probe/*`.
        @live transaction_ignore_user_agents: Patterns, "ELASTIC_APM_TRANSACTION_IGNORE_USER_AGENTS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Patterns of transaction names, such as `GET /item/*`: a name that one matches is replaced by the pattern
        /// itself, the first that matches counts. For names that hold ids, which Kibana cannot group.
        @live transaction_name_groups: Patterns, "ELASTIC_APM_TRANSACTION_NAME_GROUPS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Whether a request that no route matched is named by its path (`GET /some/path`). Paths that clients invent
        /// make many names: add `transaction_name_groups`.
        use_path_as_transaction_name: Bool, "ELASTIC_APM_USE_PATH_AS_TRANSACTION_NAME", default "false",
            set(path: bool) = path;

        /// Patterns of the names of queues and topics. For messages that are sent to or received from matching queues
        /// and topics, neither spans nor transactions are recorded. The trace context is still passed on.
        @live ignore_message_queues: Patterns, "ELASTIC_APM_IGNORE_MESSAGE_QUEUES",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Patterns of the names of the MongoDB commands that are sent as statements, with `?` in place of each value.
        /// The feature `mongodb` uses this option.
        mongodb_capture_statement_commands: Patterns, "ELASTIC_APM_MONGODB_CAPTURE_STATEMENT_COMMANDS",
            default "find,aggregate,count,distinct,mapReduce",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// The most spans that one transaction sends. Spans that start after the limit is reached are dropped and
        /// counted. Exit spans that are merged into one span, or dropped as too short, no longer count towards the
        /// limit. 0: none, below 0: no limit.
        @live transaction_max_spans: Limit, "ELASTIC_APM_TRANSACTION_MAX_SPANS", default "500", set(spans: i64) = spans;

        /// Calls to databases and the like that took less than this are not sent but counted, unless they failed: one
        /// whose status nobody has set counts as gone well where no error was captured on it. Requests and messages to
        /// other services are sent however short, for the other side may have got their id. 0: all are sent. Takes
        /// microseconds too (`500us`).
        @live exit_span_min_duration: GranularDuration, "ELASTIC_APM_EXIT_SPAN_MIN_DURATION", default "0ms",
            set(least: Duration) = least;

        /// Whether calls of one kind that follow each other closely become one span with a count. Requests and messages
        /// to other services do not, for the other side may have got their id, nor do calls that failed.
        @live span_compression_enabled: Bool, "ELASTIC_APM_SPAN_COMPRESSION_ENABLED", default "true",
            set(compress: bool) = compress;

        /// The longest call that is compressed with others of the same name.
        @live span_compression_exact_match_max_duration: NonNegativeDuration,
            "ELASTIC_APM_SPAN_COMPRESSION_EXACT_MATCH_MAX_DURATION", default "50ms", set(longest: Duration) = longest;

        /// The longest call that is compressed with others of the same kind and target, whatever their names. 0: none.
        @live span_compression_same_kind_max_duration: NonNegativeDuration,
            "ELASTIC_APM_SPAN_COMPRESSION_SAME_KIND_MAX_DURATION", default "0ms", set(longest: Duration) = longest;

        /// Spans that took at least this long get the stack of the place where they ended, where that leads into the
        /// application: some 20 µs each. In the environment `0ms` means every span and `-1ms` none; in code `None` means
        /// none. The older `ELASTIC_APM_SPAN_FRAMES_MIN_DURATION` has 0 and below the other way round.
        @live span_stack_trace_min_duration: StackTraceMinDuration, "ELASTIC_APM_SPAN_STACK_TRACE_MIN_DURATION"
            | "ELASTIC_APM_SPAN_FRAMES_MIN_DURATION", default "5ms",
            set(least: impl Into<Option<Duration>>) = least.into();

        /// The most frames of a stack that are sent. 0: none, below 0: all.
        @live stack_trace_limit: Limit, "ELASTIC_APM_STACK_TRACE_LIMIT", default "50", set(frames: i64) = frames;

        /// Patterns of error types (such as `sqlx::Error` or `*::Timeout*`): errors of those, and errors with a cause of
        /// those, are not recorded but counted in `Stats::filtered`. The outcome of the transaction stays what it is.
        @live ignore_exceptions: Patterns, "ELASTIC_APM_IGNORE_EXCEPTIONS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Which log lines become errors although they contain no error value: events of level ERROR such as
        /// `error!("database error: {e}")`. `failed_requests` records one line for a transaction that fails and has no
        /// other error: the first of the highest level, where lines of level WARN with a field `error` or `err` count too.
        /// `all` records every line of level ERROR, also outside of transactions. Lines with a field `error` or `err` of
        /// level ERROR are recorded in any case. Lines of the target `tower_http::trace::on_failure` are never recorded.
        @live capture_log_errors: CaptureLogErrors, "ELASTIC_APM_CAPTURE_LOG_ERRORS", default "failed_requests",
            set(capture: CaptureLogErrors) = capture;

        /// The most characters of long texts: bodies, SQL statements, messages of errors. From 1 to 1 048 576; the
        /// server takes no event of more than 300 KiB.
        long_field_max_length: Count, "ELASTIC_APM_LONG_FIELD_MAX_LENGTH", default "10000",
            set(characters: usize) = characters;

        /// How often metrics are sent. 0: none are, the breakdown of transactions included.
        metrics_interval: NonNegativeDuration, "ELASTIC_APM_METRICS_INTERVAL", default "30s",
            set(interval: Duration) = interval;

        /// Patterns of the names of metrics that are not sent, those that the service makes through OpenTelemetry included.
        disable_metrics: Patterns, "ELASTIC_APM_DISABLE_METRICS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// Whether it is counted where the time of transactions goes, by kind of span: Kibana's *Time spent by span
        /// type*.
        breakdown_metrics: Bool, "ELASTIC_APM_BREAKDOWN_METRICS", default "true", set(on: bool) = on;

        /// The upper bounds of the buckets of histograms that the service makes through OpenTelemetry (feature `sdk`), where
        /// neither the instrument nor a view sets its own. Each is √2 times the one before by default.
        custom_metrics_histogram_boundaries: Boundaries, "ELASTIC_APM_CUSTOM_METRICS_HISTOGRAM_BOUNDARIES",
            default "0.00390625,0.00552427,0.0078125,0.0110485,0.015625,0.0220971,0.03125,0.0441942,0.0625,0.0883883,0.125,0.176777,0.25,0.353553,0.5,0.707107,1,1.41421,2,2.82843,4,5.65685,8,11.3137,16,22.6274,32,45.2548,64,90.5097,128,181.019,256,362.039,512,724.077,1024,1448.15,2048,2896.31,4096,5792.62,8192,11585.2,16384,23170.5,32768,46341,65536,92681.9,131072",
            set(bounds: impl IntoIterator<Item = f64>) = bounds.into_iter().collect();

        /// Whether it is measured what the agent's own thread takes of the processors (`agent.background.*`), on Linux.
        /// `disable_metrics` does not concern these.
        agent_background_overhead_metrics: Bool, "ELASTIC_APM_AGENT_BACKGROUND_OVERHEAD_METRICS", default "false",
            set(on: bool) = on;

        /// The compressed size, in bytes, at which a request to the server is closed and sent, from 1 KiB to 5 MiB.
        api_request_size: RequestSize, "ELASTIC_APM_API_REQUEST_SIZE", default "768kb", set(bytes: usize) = bytes;

        /// The longest that events wait for others to be sent along with, at least 1 ms. Other Elastic agents wait
        /// 10 s, and hold a request open meanwhile; a second costs a busy service next to nothing, for its requests
        /// are full before, and a developer sees at once what happened.
        api_request_time: NonZeroDuration, "ELASTIC_APM_API_REQUEST_TIME", default "1s", set(time: Duration) = time;

        /// The most events that wait to be encoded, from 1 to 1 048 576. Further events are dropped and counted. Spans
        /// and log lines may take three quarters of the queue, so that they cannot push out transactions and errors.
        max_queue_size: Count, "ELASTIC_APM_MAX_QUEUE_SIZE", default "16384", set(events: usize) = events;

        /// The most bytes of memory that events in the queue take, from 64 KiB to 1 GiB. Of `max_queue_size` and this
        /// option, the limit that is reached first applies.
        max_queue_bytes: QueueBytes, "ELASTIC_APM_MAX_QUEUE_BYTES", default "8mb", set(bytes: usize) = bytes;

        /// The most bytes of memory for compressed batches that wait while the server does not accept events, in
        /// addition to the queue. From 0 (no backlog) to 1 GiB. An event takes about 80 bytes, so the default lasts for
        /// 90 s at 2000 events per second. When the limit is reached, events stay in the queue.
        max_backlog_bytes: BacklogBytes, "ELASTIC_APM_MAX_BACKLOG_BYTES", default "16mb", set(bytes: usize) = bytes;

        /// Whether log lines are sent to the server too, which must be 8.6 or newer: those that `install()` prints, or that
        /// `Agent::log_layer()` sees. Experimental in Elastic's specification.
        @live log_sending: Bool, "ELASTIC_APM_LOG_SENDING", default "false", set(send: bool) = send;

        /// `override`: log lines that `install()` prints are in the Elastic Common Schema, whatever format was chosen in
        /// code.
        log_ecs_reformatting: LogEcsReformatting, "ELASTIC_APM_LOG_ECS_REFORMATTING", default "off",
            set(reformatting: LogEcsReformatting) = reformatting;

        /// The level of the agent's own log lines, which have the `tracing` target `tower_apm`. In the subscriber of
        /// `install()`, a directive of `RUST_LOG` for that target wins. In your own subscriber the level applies to all
        /// layers, in addition to their filters. It does not concern the lines of your service.
        @live log_level: LogLevel, "ELASTIC_APM_LOG_LEVEL", default "info", set(level: LogLevel) = level;
    }};
}
pub(crate) use for_each_option;

/// Gives a builder one setter for each option: `option_setters!(AgentBuilder)` for a type that is `#[must_use]` and
/// has a field `options: CodeOptions`.
macro_rules! option_setters {
    ($builder:ident) => {
        $crate::config::for_each_option! { define_setters $builder }
    };
}

macro_rules! define_setters {
    ([$builder:ident] $(
        $(#[doc = $doc:literal])+
        $(@$live:ident)? $name:ident: $kind:ty, $env:literal $(| $alias:literal)*
        $(, default $default:literal)?
        $(, otel $($attribute:literal)|+)?
        , set($argument:ident: $type:ty) = $code:expr;
    )+) => {
        impl $builder {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = concat!("Environment variable: `", $env, "`, which wins over this setter." $(, " Default: `", $default, "`.")?)]
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
        "Central configuration wins over both, and can change it while the service runs."
    };
}
pub(crate) use {define_setters, live_note, option_setters};
