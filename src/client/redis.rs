//! Exit spans for the commands of the crate [`redis`](::redis), version 1 (feature `redis`).
//!
//! ```no_run
//! use redis::AsyncCommands;
//!
//! # async fn connect() -> redis::RedisResult<()> {
//! let client = redis::Client::open("redis://cache:6379")?;
//! let connection = client.get_multiplexed_async_connection().await?;
//! let mut redis = tower_apm::redis::instrument(connection).connection_info(client.get_connection_info());
//!
//! let stock: Option<u64> = redis.get("stock:42").await?; // the span `GET`
//! # let _ = stock;
//! # Ok(())
//! # }
//! ```
//!
//! - A span is named after the command (`GET`). A pipeline is one span, named `PIPELINE`, or `MULTI` if it is atomic.
//!   If all of its commands are the same, the command follows (`MULTI DECRBY`).
//! - Neither keys nor values are recorded.
//! - If the server returns an error, even for only one command of a pipeline, the outcome is `failure` and the error is
//!   recorded. The same applies to a lost connection. For `NOSCRIPT`, the outcome is `failure` but no error is
//!   recorded, because `Script` then loads the script.
//! - A conversion that fails in the caller (`let n: i64 = redis.get("text").await?`) is not an error of the command.
//! - A command that is dropped before its reply, for instance by a timeout, has the outcome `unknown`.
//!
//! Subscriptions, `send_packed_command` and the routing methods of a cluster connection are not recorded. Call them on
//! [`get_mut`](InstrumentedConnection::get_mut).

use std::borrow::Cow;

use opentelemetry::{KeyValue, trace::SpanKind};
use redis::{
    Arg, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, RedisError, RedisFuture, RedisResult, ServerError,
    ServerErrorKind, Value, aio::ConnectionLike,
};

use super::{ExitFuture, ExitSpan, record_failure};
use crate::{record::Outcome, transaction::Transaction};

/// Wraps a connection. Each command and each pipeline becomes an exit span of the current transaction.
///
/// `connection` is any asynchronous connection: `MultiplexedConnection`, `ConnectionManager`, `ClusterConnection`, or
/// one from a pool. The wrapper implements the same traits, so `AsyncCommands` and `query_async` work as before. It
/// implements `Clone` if the connection does.
pub fn instrument<C: ConnectionLike>(connection: C) -> InstrumentedConnection<C> {
    InstrumentedConnection { connection, address: None }
}

/// A connection whose commands become exit spans. Created by [`instrument`].
#[derive(Debug, Clone)]
pub struct InstrumentedConnection<C> {
    connection: C,
    address: Option<(Box<str>, u16)>,
}

impl<C> InstrumentedConnection<C> {
    /// Sets the host name or IP address and the port of the spans, because a connection does not know its address.
    #[must_use]
    pub fn address(self, host: impl Into<String>, port: u16) -> Self {
        Self { address: Some((host.into().into(), port)), ..self }
    }

    /// Sets the address of the spans from `info`. A Unix socket has no address.
    #[must_use]
    pub fn connection_info(self, info: &ConnectionInfo) -> Self {
        match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                self.address(host.as_str(), *port)
            }
            _ => self,
        }
    }

    /// Returns a reference to the wrapped connection.
    pub fn get_ref(&self) -> &C {
        &self.connection
    }

    /// Returns a mutable reference to the wrapped connection.
    ///
    /// Use it for methods that are not part of `ConnectionLike`. Calls of these methods are not recorded.
    pub fn get_mut(&mut self) -> &mut C {
        &mut self.connection
    }

    /// Returns the wrapped connection.
    pub fn into_inner(self) -> C {
        self.connection
    }

    fn attributes(&self, operation: Cow<'static, str>, commands: usize) -> (Cow<'static, str>, Vec<KeyValue>) {
        let mut attributes = Vec::with_capacity(5);
        attributes.push(KeyValue::new("db.system.name", "redis"));
        attributes.push(KeyValue::new("db.operation.name", operation.clone()));
        if commands > 1 {
            attributes.push(KeyValue::new("db.operation.batch.size", i64::try_from(commands).unwrap_or(i64::MAX)));
        }
        if let Some((host, port)) = &self.address {
            attributes.push(KeyValue::new("server.address", host.to_string()));
            attributes.push(KeyValue::new("server.port", i64::from(*port)));
        }
        (operation, attributes)
    }
}

impl<C: ConnectionLike> ConnectionLike for InstrumentedConnection<C> {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let span = ExitSpan::start(SpanKind::Client, || self.attributes(command_name(cmd), 1));
        let call = self.connection.req_packed_command(cmd);
        recorded(call, span, |answer| first_error(std::slice::from_ref(answer)))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let span = ExitSpan::start(SpanKind::Client, || self.attributes(pipeline_name(pipeline), pipeline.len()));
        let call = self.connection.req_packed_commands(pipeline, offset, count);
        recorded(call, span, |answers| first_error(answers))
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

/// Runs a call in its span. `error_in` finds the error of the server in a reply.
fn recorded<'a, T: Send + 'a>(
    call: RedisFuture<'a, T>,
    span: Option<ExitSpan>,
    error_in: fn(&T) -> Option<&ServerError>,
) -> RedisFuture<'a, T> {
    if span.is_none() && Transaction::current().handle().is_none() {
        return call;
    }
    Box::pin(ExitFuture::new(call, span, move |span: Option<ExitSpan>, result: RedisResult<T>| {
        match result.as_ref().map(error_in) {
            Ok(None) => {}
            Ok(Some(error)) => record_server_error(span.as_ref(), error),
            Err(error) => record_failure(span.as_ref(), &without_arguments(error)),
        }
        if let Some(span) = span {
            span.end();
        }
        result
    }))
}

fn record_server_error(span: Option<&ExitSpan>, error: &ServerError) {
    match (error.kind(), span) {
        // `Script` then loads the script and repeats the command
        (Some(ServerErrorKind::NoScript), Some(span)) => span.set_outcome(Outcome::Failure),
        (Some(ServerErrorKind::NoScript), None) => {}
        _ => record_failure(span, &without_arguments(&RedisError::from(error.clone()))),
    }
}

/// The text before the arguments that the server quotes for an unknown command.
const QUOTED_ARGUMENTS: &str = ", with args beginning with";

/// The error without arguments of the command. The error of an atomic pipeline contains those of its commands.
fn without_arguments(error: &RedisError) -> RedisError {
    match error.to_string().split_once(QUOTED_ARGUMENTS) {
        Some((text, _)) => RedisError::from((error.kind(), "the server returned an error", text.to_owned())),
        None => error.clone(),
    }
}

/// Returns the first error in these replies. The reply of `EXEC` is an array, and the reply of a script can be one.
fn first_error(answers: &[Value]) -> Option<&ServerError> {
    answers.iter().find_map(|answer| match answer {
        Value::ServerError(error) => Some(error),
        Value::Array(answers) => first_error(answers),
        _ => None,
    })
}

/// Returns the name of a command in upper case, such as `GET`.
fn command_name(cmd: &Cmd) -> Cow<'static, str> {
    match cmd.args_iter().next() {
        Some(Arg::Simple(name)) => operation(name),
        _ => UNKNOWN,
    }
}

/// Returns the name of a pipeline: `PIPELINE`, `MULTI`, `PIPELINE SET`, `MULTI DECRBY`.
///
/// The name of a pipeline with one command is the name of that command.
fn pipeline_name(pipeline: &Pipeline) -> Cow<'static, str> {
    let mut names = pipeline.cmd_iter().map(command_name);
    let name = names.next().filter(|first| names.all(|name| name == *first));
    match (pipeline.is_transaction(), name) {
        (true, Some(name)) => format!("MULTI {name}").into(),
        (true, None) => "MULTI".into(),
        (false, Some(name)) if pipeline.len() > 1 => format!("PIPELINE {name}").into(),
        (false, Some(name)) => name,
        (false, None) => "PIPELINE".into(),
    }
}

const UNKNOWN: Cow<'static, str> = Cow::Borrowed("redis");

/// Returns the first word of a command. A word that cannot be the name of a command could be a value and is not
/// recorded.
fn operation(name: &[u8]) -> Cow<'static, str> {
    const MAX_LENGTH: usize = 32;
    let end = name.iter().position(u8::is_ascii_whitespace).unwrap_or(name.len());
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match &name[..end] {
        word if word.is_empty() || word.len() > MAX_LENGTH || !word.iter().all(is_part) => UNKNOWN,
        word => String::from_utf8_lossy(word).to_ascii_uppercase().into(),
    }
}

#[cfg(test)]
mod tests {
    use redis::{cmd, pipe};

    use super::*;

    #[test]
    fn command_is_named_by_its_first_word_in_upper_case() {
        for (command, name) in [
            ("GET", "GET"),
            ("get", "GET"),
            ("JSON.GET", "JSON.GET"),
            ("CONFIG GET", "CONFIG"),
            ("SET\tsecret", "SET"),
            ("", "redis"),
            (" GET", "redis"),
            ("gét", "redis"),
            ("a-word-that-is-longer-than-any-command", "redis"),
        ] {
            assert_eq!(command_name(&cmd(command)), name, "{command:?}");
        }
        assert_eq!(command_name(&Cmd::new()), "redis");
        assert_eq!(command_name(cmd("SCAN").cursor_arg(0)), "SCAN");
    }

    #[test]
    fn pipeline_is_named_by_its_commands_if_they_are_the_same() {
        let mut one = pipe();
        one.get("a");
        assert_eq!(pipeline_name(&one), "GET");
        assert_eq!(pipeline_name(one.get("b")), "PIPELINE GET");
        assert_eq!(pipeline_name(one.set("b", 1)), "PIPELINE");
        assert_eq!(pipeline_name(one.atomic()), "MULTI");
        assert_eq!(pipeline_name(pipe().atomic().decr("a", 1)), "MULTI DECRBY");
        assert_eq!(pipeline_name(&pipe()), "PIPELINE");
        assert_eq!(pipeline_name(pipe().atomic()), "MULTI");
    }

    #[test]
    fn error_is_found_in_nested_answers() {
        let error = redis::parse_redis_value(b"-WRONGTYPE not a list\r\n").unwrap();
        let Value::ServerError(inner) = &error else { panic!("{error:?}") };
        for (answers, expected) in [
            (vec![error.clone()], Some(inner)),
            (vec![Value::Okay, error.clone()], Some(inner)),
            (vec![Value::Array(vec![Value::Nil, Value::Array(vec![error.clone()])])], Some(inner)),
            (vec![Value::Okay, Value::Array(vec![Value::Nil])], None),
            (vec![], None),
        ] {
            assert_eq!(first_error(&answers), expected, "{answers:?}");
        }
    }

    #[test]
    fn error_does_not_quote_the_arguments_of_an_unknown_command() {
        let text = b"-ERR unknown command 'HGETT', with args beginning with: 'session:42' 'hunter2' \r\n";
        let Ok(Value::ServerError(error)) = redis::parse_redis_value(text) else { panic!() };
        let error = RedisError::from(error);
        let aborted = (redis::ErrorKind::Extension, "Transaction aborted", format!("[(0, {error})]"));
        for error in [error, RedisError::from(aborted)] {
            let text = without_arguments(&error).to_string();
            assert!(text.ends_with("unknown command 'HGETT'") || text.ends_with("unknown command HGETT"), "{text}");
        }
    }

    #[test]
    fn wrapper_is_send_sync_and_clone() {
        fn check<T: Send + Sync + Clone + redis::AsyncCommands>() {}
        check::<InstrumentedConnection<redis::aio::MultiplexedConnection>>();
    }
}
