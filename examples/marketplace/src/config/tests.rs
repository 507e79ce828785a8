use super::*;

fn from(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_variables(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
}

#[test]
fn defaults_need_no_variable() {
    let config = from(&[("DATABASE_URL", "")]).unwrap();
    assert_eq!(config.addr.to_string(), "127.0.0.1:3000");
    assert_eq!(config.market_database.url().expose(), "sqlite::memory:");
    assert!(config.wallet_database.is_none() && config.redis_url.is_none() && config.kafka.is_none());
    assert!(config.chain_rpc_url.is_none());
    assert_eq!((config.redis_prefix.as_str(), config.order_lease), ("marketplace:", Duration::from_secs(60)));
}

#[test]
fn variables_are_read() {
    let config = from(&[
        ("MARKETPLACE_ADDR", "[::1]:0"),
        ("DATABASE_URL", "sqlite://market.db"),
        ("WALLET_DATABASE_TYPE", "sqlite"),
        ("WALLET_DATABASE_NAME", "wallet.db"),
        ("REDIS_URL", "redis://:hunter2@redis:6380/1"),
        ("REDIS_PREFIX", "shop-1:"),
        ("KAFKA_TOPIC", "ignored"),
        ("CHAIN_RPC_URL", "https://chain.example/rpc"),
        ("MARKETPLACE_ORDER_LEASE_SECONDS", "5"),
    ])
    .unwrap();
    assert_eq!(config.addr.to_string(), "[::1]:0");
    assert_eq!(config.market_database.url().expose(), "sqlite://market.db");
    assert_eq!(config.wallet_database.unwrap().url().expose(), "sqlite:wallet.db?mode=rwc");
    assert_eq!(config.redis_url.unwrap().expose(), "redis://:hunter2@redis:6380/1");
    assert_eq!(config.redis_prefix, "shop-1:");
    assert_eq!(config.kafka, None);
    assert_eq!(config.chain_rpc_url.unwrap().expose(), "https://chain.example/rpc");
    assert_eq!(config.order_lease, Duration::from_secs(5));
}

#[test]
#[cfg(feature = "kafka")]
fn kafka_needs_redis() {
    let brokers = ("KAFKA_BROKERS", "kafka-1:9092,[::1]:9093");
    let kafka = from(&[brokers, ("REDIS_URL", "redis://redis")]).unwrap().kafka.unwrap();
    assert_eq!(kafka, KafkaConfig { brokers: brokers.1.to_owned(), topic: "wallet.changes".to_owned() });
    let kafka = from(&[brokers, ("REDIS_URL", "redis://redis"), ("KAFKA_TOPIC", "changes")]).unwrap().kafka.unwrap();
    assert_eq!(kafka.topic, "changes");
    let error = from(&[brokers]).unwrap_err().to_string();
    assert!(error.contains("KAFKA_BROKERS") && error.contains("REDIS_URL"), "{error}");
}

#[test]
#[cfg(not(feature = "kafka"))]
fn kafka_names_the_missing_feature() {
    let error = from(&[("KAFKA_BROKERS", "kafka:9092"), ("REDIS_URL", "redis://redis")]).unwrap_err().to_string();
    assert!(error.contains("KAFKA_BROKERS") && error.contains("--features kafka"), "{error}");
}

#[test]
fn invalid_values_are_named() {
    let long = "x".repeat(201);
    for (name, value) in [
        ("MARKETPLACE_ADDR", "localhost"),
        ("MARKETPLACE_ORDER_LEASE_SECONDS", "0"),
        ("MARKETPLACE_ORDER_LEASE_SECONDS", "-1"),
        ("MARKETPLACE_ORDER_LEASE_SECONDS", "1.5"),
        ("MARKETPLACE_ORDER_LEASE_SECONDS", "86401"),
        ("REDIS_PREFIX", "shop *"),
        ("REDIS_PREFIX", &long),
        ("KAFKA_TOPIC", "wallet changes"),
        ("KAFKA_TOPIC", ".."),
        ("KAFKA_TOPIC", &long),
    ] {
        let error = from(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(&format!("{value:?}")), "{error}");
    }
}

#[test]
fn invalid_brokers_are_named_without_their_value() {
    for value in
        ["kafka", "kafka:0", "kafka:9092,", "kafka:9092, other:9092", "kafka://kafka:9092", "shop:hunter2@kafka:9092"]
    {
        let error = from(&[("KAFKA_BROKERS", value)]).unwrap_err();
        assert_eq!(error.to_string(), "KAFKA_BROKERS is not host:port, several separated by commas", "{value}");
        assert!(!format!("{error:?}").contains(value), "{error:?}");
    }
}

#[test]
fn invalid_urls_are_named_without_their_value() {
    for (name, value, expected) in [
        ("CHAIN_RPC_URL", "ftp://hunter2", "http"),
        ("CHAIN_RPC_URL", "hunter2", "http"),
        ("REDIS_URL", "http://hunter2", "redis://"),
        ("REDIS_URL", "rediss://hunter2", "without TLS"),
        ("DATABASE_URL", "hunter2", "sqlite:"),
    ] {
        let error = from(&[(name, value)]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(expected), "{text}");
        assert!(!format!("{text} {error:?}").contains("hunter2"), "{text} {error:?}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    for name in [
        "MARKETPLACE_ADDR",
        "DATABASE_URL",
        "DATABASE_PASSWORD",
        "WALLET_DATABASE_URL",
        "REDIS_URL",
        "REDIS_PREFIX",
        "KAFKA_BROKERS",
        "KAFKA_TOPIC",
        "CHAIN_RPC_URL",
        "MARKETPLACE_ORDER_LEASE_SECONDS",
    ] {
        let file = format!("{name}_FILE");
        let error = from(&[(&file, "/no/such/file")]).unwrap_err().to_string();
        assert_eq!(error, format!("{file} is \"/no/such/file\", and this file cannot be read"));
    }
}

#[test]
fn debug_output_contains_no_password() {
    let urls = [
        ("DATABASE_URL", "sqlite://hunter2.db"),
        ("REDIS_URL", "redis://:hunter2@redis"),
        ("CHAIN_RPC_URL", "https://chain.example/v3/hunter2"),
    ];
    let printed = format!("{:?}", from(&urls).unwrap());
    assert!(!printed.contains("hunter2"), "{printed}");
    for scheme in ["sqlite:***", "redis:***", "https:***"] {
        assert!(printed.contains(scheme), "{printed}");
    }
}
