//! A span in Elastic's terms: type, action, name, outcome and exit target.

use std::{borrow::Cow, sync::LazyLock};

use opentelemetry::trace::{SpanKind, Status};

use super::{
    attributes::{Attributes, Language, language},
    host::{authority, default_port, host_and_port, split_port, without_userinfo},
    span_type::span_type,
    sql::signature,
    target::{ExitTarget, Target},
    text::{Text, free_keyword, joined, keyword, map_text, name_keyword},
};
use crate::{
    record::{ExitSpan, Outcome, SpanRecord, SpanType, is_call},
    sanitize::Sanitizer,
};

/// Host and port of the other side.
pub(crate) type Peer<'a> = (Option<Cow<'a, str>>, Option<u16>);

/// What the attributes of a span mean. All text is redacted by the sanitizer and within the limits of the index.
pub(crate) struct SpanFacts<'a, 's> {
    record: &'a SpanRecord,
    sanitizer: &'s Sanitizer,
    pub(crate) attributes: Attributes<'a>,
    pub(crate) span_type: &'static str,
    pub(crate) subtype: Option<Cow<'a, str>>,
    pub(crate) operation: Operation<'a>,
    /// True for an exit span with attributes of HTTP. An exit span of a database can have them too.
    pub(crate) is_http: bool,
}

/// The operation that a span records.
pub(crate) enum Operation<'a> {
    Database { language: Language, instance: Option<Cow<'a, str>> },
    Messaging { queue: Option<Cow<'a, str>> },
    Rpc,
    Http,
    Other,
}

/// Returns what a span means, for the decision whether the span is sent. Nothing is redacted: this runs on the thread of
/// the request, and what is kept is redacted before it is sent.
pub(crate) fn classify(record: &SpanRecord) -> SpanFacts<'_, 'static> {
    static SANITIZER: LazyLock<Sanitizer> = LazyLock::new(Sanitizer::off);
    SpanFacts::of(record, &SANITIZER)
}

impl<'a, 's> SpanFacts<'a, 's> {
    pub(crate) fn of(record: &'a SpanRecord, sanitizer: &'s Sanitizer) -> Self {
        let attributes = Attributes::of(&record.attributes);
        let (span_type, subtype) = match &record.span_type {
            Some(known) => (known.kind, known.subtype.as_deref().map(Cow::Borrowed)),
            None => {
                let found = span_type(&record.kind, &record.attributes);
                (found.kind, found.subtype)
            }
        };
        let subtype = subtype.map(|subtype| free_keyword(subtype, sanitizer));
        let is_http = attributes.is_http_call(&record.kind);
        let operation = if attributes.is_database() {
            let language = subtype.as_deref().map_or(Language::Sql, language);
            let instance = attributes.db_name().filter(|_| language != Language::Commands);
            Operation::Database { language, instance: instance.map(|name| free_keyword(name, sanitizer)) }
        } else if attributes.messaging_system().is_some() {
            let queue = attributes.messaging_destination();
            Operation::Messaging { queue: queue.map(|name| free_keyword(name, sanitizer)) }
        } else if attributes.rpc_system().is_some() {
            Operation::Rpc
        } else if is_http {
            Operation::Http
        } else {
            Operation::Other
        };
        Self { record, sanitizer, attributes, span_type, subtype, operation, is_http }
    }

    /// Returns true for a span that has an exit target of its own.
    pub(crate) fn is_exit(&self) -> bool {
        is_call(&self.record.kind) && !self.record.within_call
    }

    pub(crate) fn action(&self) -> Option<Cow<'a, str>> {
        let action = match &self.operation {
            Operation::Database { language: Language::Other { action }, .. } => return Some(Cow::Borrowed(action)),
            Operation::Database { .. } => return Some(Cow::Borrowed("query")),
            Operation::Messaging { .. } => {
                let send = || (self.record.kind == SpanKind::Producer).then_some(Cow::Borrowed("send"));
                let action = self.attributes.messaging_operation().map(|operation| match &*operation {
                    "publish" | "create" => Cow::Borrowed("send"),
                    "receive" => Cow::Borrowed("poll"),
                    _ => operation,
                });
                action.or_else(send)
            }
            Operation::Http => self.attributes.http_method(),
            Operation::Rpc | Operation::Other => None,
        };
        action.map(|action| free_keyword(action, self.sanitizer))
    }

    pub(crate) fn name(&self) -> Text<'a> {
        let plain = || {
            let name = if self.record.name.is_empty() { "unnamed" } else { &*self.record.name };
            Text::One(name_keyword(name, self.sanitizer))
        };
        match &self.operation {
            Operation::Database { language: Language::Sql | Language::SqlLike, .. } => match self.statement_name() {
                Some(name) if name.is_empty() => self.subtype.clone().map_or_else(plain, Text::One),
                Some(name) => Text::One(name),
                None if self.attributes.db_statement().is_some() => plain(),
                None => transaction_control(&self.record.name).map_or_else(plain, |name| Text::One(name.into())),
            },
            Operation::Http => self.http_name().unwrap_or_else(plain),
            _ => plain(),
        }
    }

    /// Returns the signature of the SQL statement, which can be empty. `None` if there is no statement, or if the
    /// instrumentation's name says more.
    fn statement_name(&self) -> Option<Cow<'a, str>> {
        let Operation::Database { language: Language::Sql | Language::SqlLike, .. } = &self.operation else {
            return None;
        };
        if let Some(known) = self.record.exit_span.as_deref().filter(|known| known.is_named_by_statement) {
            return Some(Cow::Borrowed(&known.name));
        }
        let name = &self.record.name;
        let statement = self.attributes.db_statement()?;
        let is_better = is_generic(name) && !self.attributes.is_query_summary(name);
        is_better.then(|| keyword(signature(&statement).into_owned()))
    }

    /// Returns `GET host:port`, or `None` if the instrumentation's name says more. The default port of the scheme is left
    /// out.
    fn http_name(&self) -> Option<Text<'a>> {
        if !is_generic(&self.record.name) && !self.record.name.starts_with("HTTP ") {
            return None;
        }
        let method = map_text(self.attributes.http_method()?, |method| self.sanitizer.text(method));
        let (host, port) = peer(&self.attributes, true, self.sanitizer);
        let scheme = scheme(&self.attributes);
        let host = authority(host?, port.filter(|port| default_port(&scheme) != Some(*port)));
        let none = Cow::Borrowed("");
        Some(joined([method, " ".into(), host, none.clone(), none.clone(), none]))
    }

    /// Returns the outcome that the instrumentation set, otherwise the outcome that follows from the status.
    ///
    /// An HTTP exit span fails for status 400 and above, and an RPC for any code except 0. An exit span without an error
    /// and without a status has succeeded.
    pub(crate) fn outcome(&self) -> Outcome {
        let (record, attributes) = (self.record, &self.attributes);
        let failed = |failed: bool| if failed { Outcome::Failure } else { Outcome::Success };
        let set = || attributes.outcome().and_then(|outcome| Outcome::from_name(&outcome));
        record.outcome.or_else(set).unwrap_or_else(|| match &record.status {
            Status::Ok => Outcome::Success,
            Status::Error { .. } => Outcome::Failure,
            Status::Unset => match (attributes.status(), attributes.grpc_status()) {
                (_, Some(status)) => failed(status.code() != 0),
                (Some(code), None) if self.is_http => failed(code >= 400),
                _ if is_call(&record.kind) && !attributes.has_status() => Outcome::Success,
                _ => Outcome::Unknown,
            },
        })
    }

    /// Returns host and port of the other side. For HTTP, the URL and its scheme supply what no attribute contains.
    pub(crate) fn peer(&self) -> Peer<'a> {
        peer(&self.attributes, self.is_http, self.sanitizer)
    }

    /// Returns the target of an exit span. `peer` is called only if the address can name the target.
    pub(crate) fn target(&self, peer: impl FnOnce() -> Peer<'a>) -> Option<Target<'a>> {
        let attributes = &self.attributes;
        let redacted = |text| free_keyword(text, self.sanitizer);
        let is_rpc = matches!(self.operation, Operation::Rpc);
        let address = match attributes.http_host().filter(|_| self.is_http) {
            Some(host) => Some(with_port(host_text(host, self.sanitizer), attributes)),
            None if self.is_http || is_rpc => {
                let (host, port) = peer();
                host.map(|host| authority(host, port))
            }
            None => None,
        };
        let rpc_service = || attributes.rpc_service().filter(|_| is_rpc).map(redacted);
        let exit_target = ExitTarget {
            kind: self.span_type,
            subtype: self.subtype.clone(),
            db: match &self.operation {
                Operation::Database { instance, .. } => Some(instance.clone()),
                _ => None,
            },
            queue: match &self.operation {
                Operation::Messaging { .. } if attributes.is_temporary_queue() => Some(None),
                Operation::Messaging { queue } => Some(queue.clone()),
                _ => None,
            },
            address: address.or_else(rpc_service),
            name: attributes.peer_service().map(redacted),
            explicit: attributes.explicit_target().map(|text| text.map(redacted)),
        };
        exit_target.target()
    }

    /// Returns the target, or `None` if the span is no exit span or has no target.
    pub(crate) fn exit_target(&self) -> Option<Target<'a>> {
        if self.is_exit() { self.target(|| self.peer()) } else { None }
    }

    /// Returns the data of an exit span in the form in which a record keeps it.
    pub(crate) fn exit_span(&self, target: Target<'a>) -> ExitSpan {
        let by_statement = self.statement_name().filter(|name| !name.is_empty());
        ExitSpan {
            is_named_by_statement: by_statement.is_some(),
            name: by_statement.map_or_else(|| self.name().to_string(), Cow::into_owned),
            span_type: SpanType { kind: self.span_type, subtype: self.subtype.clone() }.into_owned(),
            target: target.into_owned(self.span_type),
            outcome: self.outcome(),
        }
    }
}

/// Returns the data of an exit span, which the record keeps from the first call on. `None` for other spans.
pub(crate) fn exit_span(record: &mut SpanRecord) -> Option<&ExitSpan> {
    if record.exit_span.is_none() {
        let facts = classify(record);
        let exit_span = facts.exit_target().map(|target| Box::new(facts.exit_span(target)));
        record.exit_span = exit_span;
    }
    record.exit_span.as_deref()
}

/// The statement that `sea_orm.begin` and similar spans execute, which instrumentations do not record.
fn transaction_control(name: &str) -> Option<&'static str> {
    let word = name.rsplit(['.', ':']).next()?;
    ["BEGIN", "COMMIT", "ROLLBACK"].into_iter().find(|statement| statement.eq_ignore_ascii_case(word))
}

/// Returns true for one word, such as `sea_orm.query_one`, `db.execute` or `GET`: it names the instrumentation and not the
/// work.
fn is_generic(name: &str) -> bool {
    !name.trim().contains(char::is_whitespace)
}

pub(crate) fn scheme<'a>(attributes: &Attributes<'a>) -> Cow<'a, str> {
    let of_url = || match attributes.http_url()? {
        Cow::Borrowed(url) => url.split_once("://").map(|(scheme, _)| Cow::Borrowed(scheme)),
        Cow::Owned(url) => url.split_once("://").map(|(scheme, _)| Cow::Owned(scheme.to_owned())),
    };
    attributes.http_scheme().or_else(of_url).unwrap_or(Cow::Borrowed("http"))
}

fn peer<'a>(attributes: &Attributes<'a>, is_http: bool, sanitizer: &Sanitizer) -> Peer<'a> {
    let (mut host, mut port) = (attributes.peer(), attributes.port());
    if is_http {
        if let Some(url) = attributes.http_url()
            && let Some((of_url, its_port)) = host_and_port(&url)
        {
            host = host.or_else(|| Some(Cow::Owned(of_url.to_owned())));
            port = port.or(its_port);
        }
        port = port.or_else(|| default_port(&scheme(attributes)));
    }
    (host.map(|host| host_text(host, sanitizer)), port)
}

/// Returns a host or an address as the instrumentation recorded it, without secrets.
pub(crate) fn host_text<'a>(host: Cow<'a, str>, sanitizer: &Sanitizer) -> Cow<'a, str> {
    map_text(without_userinfo(host), |host| sanitizer.text(host))
}

/// `http.host` can contain the port.
fn with_port<'a>(host: Cow<'a, str>, attributes: &Attributes<'a>) -> Cow<'a, str> {
    match split_port(&host).1 {
        Some(_) => host,
        None => {
            let port = attributes.port().or_else(|| default_port(&scheme(attributes)));
            authority(host, port)
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;

    use super::*;
    use crate::elastic::tests::records;

    fn query(name: &'static str, kind: SpanKind) -> SpanRecord {
        let attributes = [("db.system", "postgresql"), ("db.name", "shop"), ("db.statement", "SELECT * FROM listings")];
        records::span(name, kind, attributes.map(|(key, value)| KeyValue::new(key, value)).into())
    }

    #[test]
    fn exit_span_is_classified_once_and_kept_in_the_record() {
        let mut record = query("query", SpanKind::Client);
        let expected = ExitSpan {
            name: "SELECT FROM listings".to_owned(),
            is_named_by_statement: true,
            span_type: SpanType { kind: "db", subtype: Some("postgresql".into()) },
            target: crate::record::ServiceTarget {
                kind: Some("postgresql".to_owned()),
                name: Some("shop".to_owned()),
                resource: "postgresql/shop".to_owned(),
            },
            outcome: Outcome::Success,
        };
        assert_eq!(exit_span(&mut record), Some(&expected));
        record.attributes.clear();
        assert_eq!(exit_span(&mut record), Some(&expected), "it is not computed again");
    }

    #[test]
    fn name_of_a_kept_exit_span_is_the_name_of_the_document() {
        for name in ["query", "find all listings"] {
            let mut record = query(name, SpanKind::Client);
            let before = classify(&record).name().to_string();
            exit_span(&mut record);
            assert_eq!(classify(&record).name().to_string(), before);
        }
    }

    #[test]
    fn spans_without_an_exit_target_are_not_classified() {
        assert_eq!(exit_span(&mut query("query", SpanKind::Internal)), None);
        let mut within_call = query("query", SpanKind::Client);
        within_call.within_call = true;
        assert_eq!(exit_span(&mut within_call), None);
        let explicit = ["service.target.type", "service.target.name"].map(|key| KeyValue::new(key, ""));
        assert_eq!(exit_span(&mut records::span("query", SpanKind::Client, explicit.into())), None);
    }
}
