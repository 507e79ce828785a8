//! The attributes of OpenTelemetry's semantic conventions, from those of 2021 to the newest, by their meaning.

use std::borrow::Cow;

use opentelemetry::{KeyValue, Value, trace::SpanKind};

use crate::record::{GrpcStatus, integer};

macro_rules! attributes {
    (
        text { $($text:ident: $($new_text:literal)|+ $(, $($old_text:literal)|+)?;)+ }
        other { $($other:ident: $($new:literal)|+ $(, $($old:literal)|+)?;)+ }
        dropped { $($dropped:literal)|+ }
    ) => {
        /// The attributes of one span or transaction.
        #[derive(Default)]
        pub(crate) struct Attributes<'a> {
            $($text: Option<&'a Value>,)+
            $($other: Option<&'a Value>,)+
            all: &'a [KeyValue],
        }

        impl<'a> Attributes<'a> {
            /// The new name of an attribute takes precedence over its old name.
            pub(crate) fn of(all: &'a [KeyValue]) -> Self {
                let mut found = Self { all, ..Self::default() };
                for KeyValue { key, value, .. } in all {
                    match key.as_str() {
                        $(
                            $($new_text)|+ => found.$text = Some(value),
                            $($($old_text)|+ => found.$text = found.$text.or(Some(value)),)?
                        )+
                        $(
                            $($new)|+ => found.$other = Some(value),
                            $($($old)|+ => found.$other = found.$other.or(Some(value)),)?
                        )+
                        _ => {}
                    }
                }
                found
            }

            $(
                pub(crate) fn $text(&self) -> Option<Cow<'a, str>> {
                    self.$text.map(text).filter(|text| !text.is_empty())
                }
            )+
        }

        /// Returns true if a field of the document contains the attribute, or if it is of no use to a reader.
        fn is_told_elsewhere(key: &str) -> bool {
            matches!(
                key,
                $($($new_text)|+ $(| $($old_text)|+)?)|+ | $($($new)|+ $(| $($old)|+)?)|+ | $($dropped)|+
            )
        }
    };
}

attributes! {
    text {
        db_system: "db.system.name", "db.system" | "db.type";
        db_name: "db.namespace", "db.name" | "db.instance";
        db_statement: "db.query.text", "db.statement" | "sql.query";
        db_user: "db.user";
        messaging_system: "messaging.system";
        messaging_destination: "messaging.destination.name", "messaging.destination";
        messaging_operation: "messaging.operation.type", "messaging.operation.name" | "messaging.operation";
        messaging_routing_key: "messaging.rabbitmq.destination.routing_key", "messaging.rabbitmq.routing_key";
        rpc_system: "rpc.system.name", "rpc.system";
        rpc_service: "rpc.service";
        http_method: "http.request.method", "http.method";
        http_url: "url.full", "http.url";
        http_scheme: "url.scheme", "http.scheme";
        http_host: "http.host";
        http_path: "url.path", "http.target" | "http.path";
        http_query: "url.query";
        peer_name: "server.address", "net.peer.name" | "net.sock.peer.name" | "peer.hostname";
        peer_ip: "network.peer.address", "net.peer.ip" | "net.sock.peer.addr" | "peer.ipv4" | "peer.ipv6";
        peer_service: "service.peer.name", "peer.service";
        user_id: "user.id", "enduser.id";
        user_email: "user.email";
        user_name: "user.name";
        outcome: "event.outcome";
    }
    other {
        db_rows_affected: "db.rows_affected", "db.response.affected_rows";
        messaging_temporary: "messaging.destination.temporary", "messaging.temp_destination";
        rpc_status: "rpc.response.status_code";
        rpc_grpc_status: "rpc.grpc.status_code";
        http_status: "http.response.status_code", "http.status_code";
        target_type: "service.target.type";
        target_name: "service.target.name";
        peer_port: "server.port", "net.peer.port" | "network.peer.port" | "net.sock.peer.port" | "peer.port";
    }
    dropped {
        "busy_ns" | "idle_ns" | "level" | "db.operation" | "db.operation.name" | "db.query.summary"
            | "db.connection_string" | "rpc.method" | "http.flavor" | "http.user_agent" | "user_agent.original"
            | "http.route" | "http.client_ip"
            | "http.server_name" | "url.port" | "url.domain" | "url.fragment" | "url.template" | "client.address"
            | "client.port" | "net.host.name" | "net.host.ip" | "net.host.port" | "net.transport" | "net.protocol.name"
            | "net.protocol.version" | "network.transport" | "network.type" | "network.protocol.name"
            | "network.protocol.version" | "network.local.address" | "network.local.port"
    }
}

/// Prefixes of attributes that are dropped: source locations, threads, attributes that the bridge reads, the data of
/// error documents, and headers, which would not be sanitised.
const DROPPED_FAMILIES: [&str; 6] =
    ["code.", "thread.", "otel.", "exception.", "http.request.header.", "http.response.header."];

fn text(value: &Value) -> Cow<'_, str> {
    value.as_str()
}

/// Returns true for attributes that do not describe the work: dropped prefixes, attributes that the bridge adds, and
/// connection strings, which can contain a password.
pub(crate) fn is_noise(key: &str) -> bool {
    matches!(key, "busy_ns" | "idle_ns" | "level" | "db.connection_string") || is_of_dropped_family(key)
}

fn is_of_dropped_family(key: &str) -> bool {
    DROPPED_FAMILIES.iter().any(|family| key.starts_with(family))
}

impl<'a> Attributes<'a> {
    pub(crate) fn status(&self) -> Option<i64> {
        self.http_status.and_then(integer)
    }

    /// Returns true if there is a status, including a status that the mapping does not know.
    pub(crate) fn has_status(&self) -> bool {
        [self.http_status, self.rpc_status, self.rpc_grpc_status].iter().any(Option::is_some)
    }

    pub(crate) fn grpc_status(&self) -> Option<GrpcStatus> {
        GrpcStatus::of_attributes(self.rpc_system, self.rpc_status, self.rpc_grpc_status)
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.peer_port.and_then(integer).and_then(|port| u16::try_from(port).ok())
    }

    /// Returns the type and name of the service target that the code has set. Empty strings are values that remove the
    /// inferred values.
    pub(crate) fn explicit_target(&self) -> [Option<Cow<'a, str>>; 2] {
        [self.target_type, self.target_name].map(|value| value.map(text))
    }

    pub(crate) fn peer(&self) -> Option<Cow<'a, str>> {
        self.peer_name().or_else(|| self.peer_ip())
    }

    pub(crate) fn is_database(&self) -> bool {
        self.db_system().is_some() || self.db_statement().is_some()
    }

    pub(crate) fn rows_affected(&self) -> Option<i64> {
        self.db_rows_affected.and_then(integer).filter(|rows| *rows >= 0)
    }

    /// Returns true if the code has chosen the name of a database span. By convention, the name is then the query
    /// summary.
    pub(crate) fn is_query_summary(&self, name: &str) -> bool {
        self.first(&["db.query.summary"]).is_some_and(|summary| summary == name)
    }

    /// Returns true for exit spans with attributes of HTTP.
    pub(crate) fn is_http_call(&self, kind: &SpanKind) -> bool {
        matches!(kind, SpanKind::Client | SpanKind::Producer)
            && (self.http_url().is_some() || self.http_scheme().is_some() || self.http_method().is_some())
    }

    pub(crate) fn is_temporary_queue(&self) -> bool {
        matches!(self.messaging_temporary, Some(Value::Bool(true)))
    }

    pub(crate) fn all(&self) -> &'a [KeyValue] {
        self.all
    }

    /// Returns the value of the first of these names that exists.
    pub(crate) fn first(&self, names: &[&str]) -> Option<Cow<'a, str>> {
        let value = |name: &&str| self.all.iter().find(|attribute| attribute.key.as_str() == *name);
        names.iter().find_map(value).map(|attribute| text(&attribute.value)).filter(|text| !text.is_empty())
    }

    /// Returns the attributes that no field of the document contains. They become labels.
    pub(crate) fn unmapped(&self) -> impl Iterator<Item = &'a KeyValue> {
        self.all.iter().filter(|attribute| {
            let key = attribute.key.as_str();
            (!is_told_elsewhere(key) || is_user(key)) && !is_of_dropped_family(key)
        })
    }
}

/// Elastic's word for a database.
pub(crate) fn database(system: Cow<'_, str>) -> Cow<'_, str> {
    let ours = match &*system {
        "microsoft.sql_server" | "sqlserver" => "mssql",
        "sqlite3" => "sqlite",
        "oracle.db" => "oracle",
        "ibm.db2" => "db2",
        "h2database" => "h2",
        "actian.ingres" => "ingres",
        "aws.dynamodb" => "dynamodb",
        "azure.cosmosdb" => "cosmosdb",
        "other_sql" => "unknown",
        _ => return system,
    };
    ours.into()
}

/// Elastic's word for a message broker.
pub(crate) fn broker(system: Cow<'_, str>) -> Cow<'_, str> {
    match &*system {
        "aws_sqs" | "AmazonSQS" => "sqs".into(),
        "aws_sns" | "aws.sns" => "sns".into(),
        "servicebus" => "azureservicebus".into(),
        _ => system,
    }
}

/// Only the documents of transactions have fields for users.
pub(crate) fn is_user(key: &str) -> bool {
    matches!(key, "user.id" | "enduser.id" | "user.email" | "user.name")
}

/// The query language of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Sql,
    /// Like SQL, but `db.type` is its own name.
    SqlLike,
    /// The statement is kept as it is.
    Other {
        action: &'static str,
    },
    /// Commands contain values and are not sent.
    Commands,
}

pub(crate) fn language(database: &str) -> Language {
    match database {
        "redis" | "memcached" | "valkey" => Language::Commands,
        "mongodb" => Language::Other { action: "command" },
        "elasticsearch" | "opensearch" => Language::Other { action: "request" },
        "cassandra" | "scylladb" => Language::SqlLike,
        "dynamodb" | "cosmosdb" | "couchbase" | "couchdb" | "neo4j" | "graphql" | "influxdb" | "hbase" => {
            Language::Other { action: "query" }
        }
        _ => Language::Sql,
    }
}
