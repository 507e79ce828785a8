use std::time::Duration;

use super::{
    resolve::{OPTIONS, Origin, Warning, resolve},
    *,
};

fn from(variables: &[(&'static str, &'static str)]) -> (Config, Vec<Warning>) {
    resolve(&CodeOptions::default(), &variables.iter().copied().collect())
}

#[test]
fn every_default_matches_the_documentation() {
    let (config, warnings) = from(&[]);
    assert_eq!(warnings, []);
    let described: Vec<_> = OPTIONS.iter().map(|row| (row.name, row.default)).collect();
    let given: Vec<(&str, &str)> = described.iter().copied().filter(|(_, default)| !default.is_empty()).collect();
    for (name, default) in given {
        let variable = format!("ELASTIC_APM_{}", name.to_uppercase());
        let (_, warnings) = resolve(&CodeOptions::default(), &[(variable, default)].into_iter().collect());
        assert_eq!(warnings, [], "{name} does not accept its own default");
    }
    assert!(config.enabled && config.recording && config.verify_server_cert && config.capture_headers);
    assert_eq!(config.server_url.join("/intake/v2/events"), "http://127.0.0.1:8200/intake/v2/events");
    assert_eq!(config.server_timeout, Duration::from_secs(30));
    assert_eq!(config.api_request_time, Duration::from_secs(1));
    assert_eq!(config.api_request_size, 768 * 1024);
    assert_eq!(config.max_queue_size, 16_384);
    assert_eq!(config.max_queue_bytes, 8 << 20);
    assert_eq!(config.max_backlog_bytes, 16 << 20);
    assert_eq!((config.transaction_max_spans, config.stack_trace_limit), (500, 50));
    assert_eq!(config.transaction_sample_rate, 1.0);
    assert_eq!((config.capture_body, config.log_level), (CaptureBody::Off, LogLevel::Info));
    assert!(config.secret_token.is_none() && config.service_version.is_none() && config.environment.is_none());
    assert!(config.transaction_ignore_urls.is_empty() && config.global_labels.is_empty());
}

#[test]
fn option_table_is_consistent() {
    for row in OPTIONS {
        // the options of OTLP have OpenTelemetry's variables
        let own = match row.name.strip_prefix("otlp_") {
            Some(name) => format!("OTEL_EXPORTER_OTLP_TRACES_{}", name.to_uppercase()),
            None => format!("ELASTIC_APM_{}", row.name.to_uppercase()),
        };
        assert_eq!(row.variables[0], own);
    }
    let secrets: Vec<_> = OPTIONS.iter().filter(|row| row.secret).map(|row| row.name).collect();
    assert_eq!(secrets, ["secret_token", "api_key", "otlp_headers"]);
}

// spec: configuration.md
#[test]
fn environment_takes_precedence_over_code_and_default() {
    let code = CodeOptions {
        environment: Some("code".to_owned()),
        service_version: Some("1.0".to_owned()),
        ..CodeOptions::default()
    };
    let (config, _) = resolve(&code, &EnvVars::from_iter([("ELASTIC_APM_ENVIRONMENT", "production")]));
    assert_eq!(config.environment.as_deref(), Some("production"));
    assert_eq!(config.service_version.as_deref(), Some("1.0"));
    assert_eq!(config.origin("environment"), Some(Origin::Environment("ELASTIC_APM_ENVIRONMENT")));
    assert_eq!(config.origin("service_version"), Some(Origin::Code));
    assert_eq!(config.origin("log_level"), Some(Origin::Default));
}

// spec: configuration.md
#[test]
fn empty_variable_counts_as_unset() {
    let code = CodeOptions { environment: Some("code".to_owned()), ..CodeOptions::default() };
    let variables = [("ELASTIC_APM_ENVIRONMENT", " "), ("ELASTIC_APM_SERVER_TIMEOUT", "")];
    let (config, warnings) = resolve(&code, &variables.into_iter().collect());
    assert_eq!(config.environment.as_deref(), Some("code"));
    assert_eq!(warnings, []);
}

// spec: configuration.md
#[test]
fn invalid_value_is_reported_once_and_the_next_source_is_used() {
    let code = CodeOptions { server_timeout: Some(Duration::from_secs(5)), ..CodeOptions::default() };
    let variables = [("ELASTIC_APM_SERVER_TIMEOUT", "7"), ("ELASTIC_APM_CAPTURE_BODY", "some")];
    let (config, warnings) = resolve(&code, &variables.into_iter().collect());
    assert_eq!(config.server_timeout, Duration::from_secs(5));
    let texts: Vec<_> = warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        texts,
        [
            "ELASTIC_APM_SERVER_TIMEOUT=\"7\" is not allowed: server_timeout is a whole number with a unit, at \
             least 1ms, such as 500ms, 30s or 1m; using \"5s\" (code)",
            "ELASTIC_APM_CAPTURE_BODY=\"some\" is not allowed: capture_body is `off`, `errors`, `transactions` or \
             `all`; using \"off\" (default)",
        ]
    );
}

#[test]
fn values_set_in_code_are_validated() {
    let code = CodeOptions {
        server_url: Some("ftp://user:hunter2@host/?token=hunter2".to_owned()),
        transaction_sample_rate: Some(1.5),
        max_queue_size: Some(0),
        ..CodeOptions::default()
    };
    let (config, warnings) = resolve(&code, &EnvVars::empty());
    assert_eq!(config.server_url, ServerUrl::default());
    assert_eq!(config.transaction_sample_rate, 1.0);
    assert_eq!(config.max_queue_size, 16_384);
    let options: Vec<_> = warnings.iter().map(|warning| warning.option).collect();
    assert_eq!(options, ["server_url", "transaction_sample_rate", "max_queue_size"]);
    assert!(warnings[0].to_string().starts_with(r#"server_url("***@host/?…") is not allowed"#), "{}", warnings[0]);
}

#[test]
fn secrets_are_not_in_warnings_and_debug_output() {
    let variables = [
        ("ELASTIC_APM_SECRET_TOKEN", "hunter2\nhunter2"),
        ("ELASTIC_APM_API_KEY", "hunter2\n"),
        ("ELASTIC_APM_SERVER_URL", "https://me:hunter2@host/apm/"),
    ];
    let environment: EnvVars = variables.into_iter().collect();
    let code = CodeOptions { secret_token: Some(Secret::new("hunter2".to_owned())), ..CodeOptions::default() };
    let (config, warnings) = resolve(&code, &environment);
    assert_eq!(
        config.api_key.as_ref().map(Secret::reveal),
        Some("hunter2"),
        "the line end of a mounted file is removed"
    );
    assert_eq!(config.secret_token.as_ref().map(Secret::reveal), Some("hunter2"));
    assert_eq!(warnings.len(), 1);
    let all = format!("{config:?} {} {code:?} {environment:?} {warnings:?} {}", config.describe(), warnings[0]);
    assert!(!all.contains("hunter2"), "{all}");
    assert!(warnings[0].to_string().starts_with(r#"ELASTIC_APM_SECRET_TOKEN="***" is not allowed"#));
    assert!(config.describe().contains(r#"server_url="https://***@host/apm" (ELASTIC_APM_SERVER_URL)"#));
}

#[test]
fn active_is_an_alias_of_enabled() {
    assert!(!from(&[("ELASTIC_APM_ACTIVE", "false")]).0.enabled);
    assert!(from(&[("ELASTIC_APM_ACTIVE", "false"), ("ELASTIC_APM_ENABLED", "true")]).0.enabled);
}

// spec: configuration.md
#[test]
fn invalid_service_name_is_corrected_with_a_warning() {
    let (config, warnings) = from(&[("ELASTIC_APM_SERVICE_NAME", "@shop/market")]);
    assert_eq!(config.service_name, "_shop_market");
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].to_string().ends_with(r#"using "_shop_market" (ELASTIC_APM_SERVICE_NAME)"#), "{}", warnings[0]);
}

#[test]
fn service_name_has_a_default() {
    for variables in [&[][..], &[("ELASTIC_APM_SERVICE_NAME", "???")]] {
        let (config, warnings) = from(variables);
        assert_eq!(warnings.len(), variables.len());
        assert_eq!(config.origin("service_name"), Some(Origin::Default));
        assert!(config.service_name.starts_with("tower_apm"), "{} is not the test's executable", config.service_name);
    }
}

// spec: configuration.md
#[test]
fn otel_variables_are_a_fallback() {
    let attributes =
        "service.name=listed,service.version=1.2,deployment.environment=stag%20ing,service.instance.id=i-1";
    let (config, warnings) = from(&[("OTEL_RESOURCE_ATTRIBUTES", attributes)]);
    assert_eq!(warnings, []);
    assert_eq!(config.service_name, "listed");
    assert_eq!(config.service_version.as_deref(), Some("1.2"));
    assert_eq!(config.environment.as_deref(), Some("stag ing"));
    assert_eq!(config.service_node_name.as_deref(), Some("i-1"));
    assert_eq!(config.origin("environment"), Some(Origin::Environment("OTEL_RESOURCE_ATTRIBUTES")));

    let (config, _) = from(&[("OTEL_RESOURCE_ATTRIBUTES", attributes), ("OTEL_SERVICE_NAME", "direct")]);
    assert_eq!(config.service_name, "direct");

    let code = CodeOptions { service_name: Some("code".to_owned()), ..CodeOptions::default() };
    let (config, _) = resolve(&code, &[("OTEL_SERVICE_NAME", "direct")].into_iter().collect());
    assert_eq!(config.service_name, "code");
}

#[test]
fn startup_line_contains_options_that_are_not_default() {
    let (config, _) = from(&[("ELASTIC_APM_SERVICE_NAME", "shop"), ("ELASTIC_APM_CAPTURE_BODY", "all")]);
    assert_eq!(
        config.describe(),
        r#"server_url="http://127.0.0.1:8200" (default), service_name="shop" (ELASTIC_APM_SERVICE_NAME), service_version="" (default), capture_body="all" (ELASTIC_APM_CAPTURE_BODY), log_level="info" (default)"#
    );
}

#[expect(unreachable_pub, dead_code, reason = "a real builder is public")]
mod setters {
    use std::path::PathBuf;

    use super::*;

    #[derive(Debug, Default)]
    struct Builder {
        options: CodeOptions,
    }
    option_setters!(Builder);

    #[test]
    fn builder_has_a_setter_for_each_option() {
        let builder = Builder::default()
            .enabled(true)
            .server_url("http://apm:8200")
            .server_timeout(Duration::from_secs(3))
            .api_key("key")
            .server_ca_cert_file("/ca.pem")
            .service_name("shop")
            .global_labels([("region", "eu")])
            .capture_body(CaptureBody::All)
            .sanitize_field_names(["pin"])
            .transaction_ignore_urls(vec!["/health*".to_owned()])
            .transaction_sample_rate(0.123_46)
            .transaction_max_spans(-1);
        let (config, warnings) = resolve(&builder.options, &EnvVars::empty());
        assert_eq!(warnings, []);
        assert_eq!(config.server_url.join("/"), "http://apm:8200/");
        assert_eq!(config.server_ca_cert_file, Some(PathBuf::from("/ca.pem")));
        assert_eq!(config.global_labels, [("region".to_owned(), "eu".to_owned())]);
        assert_eq!(config.sanitize_field_names, [Wildcard::new("pin")]);
        assert!(config.transaction_ignore_urls[0].matches("/healthz"));
        assert_eq!(config.transaction_sample_rate, 0.1235);
        assert_eq!(config.transaction_max_spans, -1);
    }
}

#[test]
fn unknown_variable_is_reported_without_its_value() {
    let of = |variables: &[(&'static str, &'static str)]| unknown_variables(&variables.iter().copied().collect());
    assert_eq!(of(&[("ELASTIC_APM_SERVICE_NAME", "shop"), ("ELASTIC_APM_ACTIVE", "true"), ("PATH", "/bin")]), None);
    let warning =
        of(&[("ELASTIC_APM_SECRET_TOKN", "hunter2"), ("ELASTIC_APM_API_KEYS", "hunter2"), ("ELASTIC_APM_X", "")]);
    assert_eq!(warning.unwrap(), "this agent has no such option: ELASTIC_APM_API_KEYS, ELASTIC_APM_SECRET_TOKN");
    let warning = of(&[("ELASTIC_APM_API_BUFFER_SIZE", "1mb"), ("ELASTIC_APM_X", "1")]);
    let instead = "ELASTIC_APM_API_BUFFER_SIZE (use `max_backlog_bytes`, and `max_queue_bytes` for events that are not encoded yet), ELASTIC_APM_X";
    assert_eq!(warning.unwrap(), format!("this agent has no such option: {instead}"));
}

#[test]
fn variables_and_central_names_are_unique() {
    let mut variables: Vec<_> = OPTIONS.iter().flat_map(|row| row.variables).collect();
    let count = variables.len();
    variables.sort_unstable();
    variables.dedup();
    assert_eq!(variables.len(), count);
}

/// The names of the options in the agent specification.
const SPECIFIED: &[&str] = &[
    "enabled",
    "recording",
    "server_url",
    "server_urls",
    "server_timeout",
    "secret_token",
    "api_key",
    "verify_server_cert",
    "server_ca_cert_file",
    "server_cert",
    "service_name",
    "service_version",
    "service_node_name",
    "environment",
    "hostname",
    "cloud_provider",
    "central_config",
    "global_labels",
    "capture_headers",
    "capture_body",
    "sanitize_field_names",
    "transaction_sample_rate",
    "transaction_max_spans",
    "transaction_ignore_urls",
    "transaction_ignore_user_agents",
    "transaction_name_groups",
    "use_path_as_transaction_name",
    "ignore_message_queues",
    "exit_span_min_duration",
    "span_compression_enabled",
    "span_compression_exact_match_max_duration",
    "span_compression_same_kind_max_duration",
    "span_stack_trace_min_duration",
    "span_frames_min_duration",
    "stack_trace_limit",
    "metrics_interval",
    "disable_metrics",
    "breakdown_metrics",
    "metrics_limit",
    "custom_metrics_histogram_boundaries",
    "api_request_time",
    "api_request_size",
    "api_buffer_size",
    "metrics_buffer_size",
    "max_queue_size",
    "log_level",
    "log_file",
    "trace_continuation_strategy",
    "use_elastic_traceparent_header",
    "baggage_to_attach",
    "context_propagation_only",
    "disable_send",
    "opentelemetry_bridge_enabled",
    "long_field_max_length",
    "elasticsearch_capture_body_urls",
    "mongodb_capture_statement_commands",
    "agent_background_overhead_metrics",
    "log_ecs_reformatting",
    "log_ecs_formatter_allow_list",
    "log_sending",
    "context_manager",
    "ignore_exceptions",
    "payload_log_file",
    "config_file",
];

// spec: configuration.md
#[test]
fn every_specified_option_is_supported_or_documented_as_unsupported() {
    for name in SPECIFIED {
        let variable = format!("ELASTIC_APM_{}", name.to_uppercase());
        let offered = OPTIONS.iter().any(|row| row.variables.contains(&&*variable));
        let declined = not_offered::replacement_for(name).is_some();
        assert!(offered != declined, "{name}: supported is {offered}, listed as unsupported is {declined}");
    }
}

/// Variables of the agent specification that are not options.
const OTHER_SPECIFIED: [&str; 5] = [
    "KUBERNETES_NAMESPACE",
    "KUBERNETES_NODE_NAME",
    "KUBERNETES_POD_NAME",
    "KUBERNETES_POD_UID",
    "ELASTIC_APM_ACTIVATION_METHOD",
];

// spec: configuration.md
#[test]
fn other_specified_variables_are_in_the_reference() {
    let reference = include_str!("../docs/options.md");
    for variable in OTHER_SPECIFIED {
        assert!(reference.contains(&format!("| `{variable}` |")), "{variable}");
        assert_eq!(unknown_variables(&EnvVars::from_iter([(variable, "x")])), None);
    }
}

// spec: configuration.md
#[test]
fn malformed_otel_resource_attribute_is_reported_without_its_value() {
    let warning = |text: &str| EnvVars::from_iter([("OTEL_RESOURCE_ATTRIBUTES", text)]).broken_otel_attributes();
    for text in ["", "a=1", "a=1,,b=2,", "service.name=x%20y"] {
        assert_eq!(warning(text), None, "{text}");
    }
    let text = warning("a=1,hunter2,=hunter2,b=2").unwrap();
    assert!(text.contains("2, 3") && !text.contains("hunter2"), "{text}");
    let environment = EnvVars::from_iter([("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,hunter2")]);
    let agent = crate::Agent::builder().env_vars(environment).disable_send(true).build().unwrap();
    let warnings: Vec<_> = agent.warnings().collect();
    assert!(matches!(&warnings[..], [one] if one.contains("OTEL_RESOURCE_ATTRIBUTES")), "{warnings:?}");
    assert!(agent.startup_summary().contains(r#"service_name="shop""#), "the valid attributes are used");
}

#[test]
fn every_option_is_used_in_the_sources() {
    use std::{fs, path::Path};

    fn sources(folder: &Path, text: &mut String) {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["config", "tests", "devserver", "testkit"].contains(&&*name) {
                    sources(&path, text);
                }
            } else if name.ends_with(".rs") && !name.contains("tests") {
                let source = fs::read_to_string(&path).unwrap();
                let code = source.lines().take_while(|line| !line.contains("#[cfg(test)]"));
                code.filter(|line| !line.trim_start().starts_with("//")).for_each(|line| {
                    text.push_str(line.trim());
                    text.push(' ');
                });
            }
        }
    }
    let mut code = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
    let is_read = |name: &str| {
        let field = format!(".{name}");
        code.match_indices(&field).any(|(at, _)| {
            let next = code[at + field.len()..].chars().next();
            // a name before a bracket is the builder's setter
            next.is_some_and(|next| !next.is_alphanumeric() && next != '_' && next != '(')
        })
    };
    for row in OPTIONS {
        assert!(is_read(row.name), "{} is read", row.name);
    }
}

#[test]
fn deprecated_name_is_used_only_if_the_option_is_not_set() {
    let old = [("ELASTIC_APM_SPAN_FRAMES_MIN_DURATION", "7ms")];
    let code = CodeOptions { span_stack_trace_min_duration: Some(None), ..CodeOptions::default() };
    let (config, _) = resolve(&code, &old.into_iter().collect());
    assert_eq!(config.span_stack_trace_min_duration, None, "code sets the new name");
    assert_eq!(from(&old).0.span_stack_trace_min_duration, Some(Duration::from_millis(7)));
    // an alias takes precedence over code, unlike a deprecated name
    let code = CodeOptions { enabled: Some(true), ..CodeOptions::default() };
    let (config, _) = resolve(&code, &[("ELASTIC_APM_ACTIVE", "false")].into_iter().collect());
    assert!(!config.enabled);
}

#[test]
fn single_comma_clears_a_list() {
    let (config, warnings) =
        from(&[("ELASTIC_APM_SANITIZE_FIELD_NAMES", ","), ("ELASTIC_APM_BAGGAGE_TO_ATTACH", " , ")]);
    assert_eq!(warnings, []);
    assert!(config.sanitize_field_names.is_empty() && config.baggage_to_attach.is_empty());
    assert!(!from(&[("ELASTIC_APM_SANITIZE_FIELD_NAMES", "")]).0.sanitize_field_names.is_empty());
}
