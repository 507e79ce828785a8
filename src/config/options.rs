//! The one table of options.
//!
//! A row has the option's documentation, name and kind, the variables that set it (the first is its own, the others
//! are older or other names for it), what it is by default, the OpenTelemetry resource attribute that stands in for
//! it, and the argument of its setter. [`Config`](super::Config), [`CodeOptions`](super::CodeOptions), the reading of
//! the environment, the start-up line and the builder's setters are all made from these rows.

/// Calls the macro `$then` with every row, after the tokens that are to come first.
macro_rules! for_each_option {
    ($then:ident $($first:tt)*) => { $then! { [$($first)*]
        /// The master switch. When it is off there is no thread, no connection, and the layer lets every request
        /// through untouched.
        enabled: Bool, "ELASTIC_APM_ENABLED" | "ELASTIC_APM_ACTIVE", default "true", set(on: bool) = on;

        /// Whether transactions, spans and errors are recorded. When it is off, the layer lets
        /// every request through untouched.
        recording: Bool, "ELASTIC_APM_RECORDING", default "true", set(on: bool) = on;

        /// The URL of the APM Server, `http` or `https`. A path in it is kept as a prefix.
        server_url: Url, "ELASTIC_APM_SERVER_URL", default "http://127.0.0.1:8200",
            set(url: impl Into<String>) = url.into();

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

        /// Labels of every event of this service; in the environment `key=value` pairs between commas.
        global_labels: Labels, "ELASTIC_APM_GLOBAL_LABELS",
            set(labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) =
                labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();

        /// Whether the headers of requests and responses are captured.
        capture_headers: Bool, "ELASTIC_APM_CAPTURE_HEADERS", default "true", set(capture: bool) = capture;

        /// For which requests the body is captured: text, JSON and forms, up to 10 000 characters, sanitised. As far as
        /// the handler reads it, and of axum's body type only.
        capture_body: CaptureBody, "ELASTIC_APM_CAPTURE_BODY", default "off", set(capture: CaptureBody) = capture;

        /// The names whose values are replaced by `[REDACTED]`: of headers, cookies, query parameters, form fields and
        /// JSON keys in bodies and custom context, but never of labels. A list of patterns: `*` stands for any
        /// characters, case does not matter, and a pattern after a `!` names what stays visible although another
        /// pattern matches (`token_id` is the id of a token, not a token). **Replaces** the default list.
        sanitize_field_names: Patterns, "ELASTIC_APM_SANITIZE_FIELD_NAMES", default "password, passwd, pwd, secret, *key, *token*, *session*, *credit*, *card*, *auth*, set-cookie, *principal*, pw, pass, *password*, *passwd*, *passphrase*, *secret*, *mnemonic*, cookie, connect.sid, *sessid*, !token_id, !token_ids, !tokenId, !tokenIds",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// The share of traces that are sampled where this service is their root, from 0 to 1, rounded to four
        /// decimals. Errors are sent in any case.
        transaction_sample_rate: SampleRate, "ELASTIC_APM_TRANSACTION_SAMPLE_RATE", default "1", set(rate: f64) = rate;

        /// Patterns of URL paths (without the query) whose requests make no transaction, such as `/health*`.
        transaction_ignore_urls: Patterns, "ELASTIC_APM_TRANSACTION_IGNORE_URLS" | "ELASTIC_APM_IGNORE_URLS",
            set(patterns: impl IntoIterator<Item = impl Into<String>>) = patterns.into_iter().map(Into::into).collect();

        /// The most spans that one transaction sends; further ones are counted. 0: none, below 0: no limit.
        transaction_max_spans: Limit, "ELASTIC_APM_TRANSACTION_MAX_SPANS", default "500", set(spans: i64) = spans;

        /// The most frames of a stack that are sent. 0: none, below 0: all.
        stack_trace_limit: Limit, "ELASTIC_APM_STACK_TRACE_LIMIT", default "50", set(frames: i64) = frames;

        /// The compressed size, in bytes, at which a request to the server is closed and sent, from 1 KiB to 5 MiB.
        api_request_size: RequestSize, "ELASTIC_APM_API_REQUEST_SIZE", default "768kb", set(bytes: usize) = bytes;

        /// The longest that events wait for others to be sent along with, at least 1 ms. Other Elastic agents wait
        /// 10 s, and hold a request open meanwhile; a second costs a busy service next to nothing, for its requests
        /// are full before, and a developer sees at once what happened.
        api_request_time: NonZeroDuration, "ELASTIC_APM_API_REQUEST_TIME", default "1s", set(time: Duration) = time;

        /// The most events that wait to be sent, from 1 to 1 048 576; when more come they are dropped and counted.
        max_queue_size: Count, "ELASTIC_APM_MAX_QUEUE_SIZE", default "16384", set(events: usize) = events;

        /// The most bytes of memory that waiting events hold, from 64 KiB to 1 GiB; the bound that is met first counts.
        max_queue_bytes: QueueBytes, "ELASTIC_APM_MAX_QUEUE_BYTES", default "8mb", set(bytes: usize) = bytes;

        /// How much the agent says about itself, through `tracing`.
        log_level: LogLevel, "ELASTIC_APM_LOG_LEVEL", default "info", set(level: LogLevel) = level;
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
        $name:ident: $kind:ty, $env:literal $(| $alias:literal)*
        $(, default $default:literal)?
        $(, otel $($attribute:literal)|+)?
        , set($argument:ident: $type:ty) = $code:expr;
    )+) => {
        impl $builder {
            $(
                $(#[doc = $doc])+
                #[doc = ""]
                #[doc = concat!("Environment: `", $env, "`, which wins over this setter." $(, " Default: `", $default, "`.")?)]
                pub fn $name(mut self, $argument: $type) -> Self {
                    self.options.$name = Some($code);
                    self
                }
            )+
        }
    };
}
pub(crate) use {define_setters, option_setters};
