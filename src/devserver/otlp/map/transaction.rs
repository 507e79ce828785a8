//! A span that is a transaction (`TranslateTransaction` in `input/otlp/traces.go` of elastic/apm-data).

use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use tonic::Code;

use super::{
    Base,
    attributes::{self, Labels, Seen},
    outcome,
    tree::Tree,
    url::{Url, host_port},
    web::Web,
};

/// What the attributes say, before it is decided what it means.
#[derive(Default)]
struct Seens<'a> {
    web: Web,
    host_name: &'a str,
    host_port: i64,
    scheme: &'a str,
    url: &'a str,
    server_name: &'a str,
    host: &'a str,
    path: &'a str,
    query: &'a str,
    is_http: bool,
    is_rpc: bool,
    is_messaging: bool,
    queue: &'a str,
    kind: &'a str,
    result: String,
    version: Option<&'a str>,
}

pub(super) fn transaction(base: &Base<'_>, span: &Span, labels: &mut Labels, out: &mut Tree) -> Web {
    let mut seen = Seens::default();
    for (key, value) in attributes::of(&span.attributes) {
        let taken = match value {
            Seen::Text(_) => seen.text(key, value.keyword(), labels),
            Seen::Integer(number) => seen.integer(key, number),
            _ => false,
        };
        if taken {
            continue;
        }
        // the profiler's, known and shown by nobody here
        if key == "elastic.profiler_stack_trace_ids" && matches!(value, Seen::List(_)) {
            labels.drop(key, value);
        } else {
            labels.set(key, value);
        }
    }
    let kind = match seen {
        Seens { kind: "", is_messaging: true, .. } => "messaging",
        Seens { kind: "", is_http, is_rpc, .. } if is_http || is_rpc => "request",
        Seens { kind: "", .. } => "unknown",
        Seens { kind, .. } => kind,
    };
    out.put("type", kind);
    let mut outcome = outcome(span);
    if seen.is_http {
        if seen.web.status > 0 {
            outcome = outcome.or(Some(if seen.web.status >= 500 { "failure" } else { "success" }));
            if seen.result.is_empty() {
                seen.result = http_result(seen.web.status);
            }
        }
        seen.web.url = seen.url(&base.origin.hostname);
    }
    if seen.result.is_empty() {
        let result = match span.status.as_ref().map(|status| status.code()) {
            Some(StatusCode::Ok) => "Success",
            Some(StatusCode::Error) => "Error",
            // unset: the outcome is not decided either, or by HTTP, which has given a result
            _ if outcome.is_none() => "Success",
            _ => "",
        };
        seen.result.push_str(result);
    }
    out.text("result", &seen.result);
    out.put("outcome", outcome.unwrap_or("success"));
    if seen.is_messaging {
        out.text("context/message/queue/name", seen.queue);
    }
    // in intake a service of one event has a name or does not count
    if let Some(version) = seen.version {
        out.put("ecs/service/version", version);
    }
    out.text("session/id", &seen.web.session);
    seen.web.client = seen.web.client.or_else(|| seen.web.source.clone());
    seen.web.context(out);
    seen.web
}

impl<'a> Seens<'a> {
    /// True where the attribute has a meaning.
    fn integer(&mut self, key: &str, number: i64) -> bool {
        match key {
            "http.status_code" | "http.response.status_code" => {
                self.is_http = true;
                self.web.status = number as u32;
            }
            "net.peer.port" | "client.port" => self.web.source.get_or_insert_default().port = number as u32,
            "net.host.port" | "server.port" => self.host_port = number,
            "rpc.grpc.status_code" => {
                self.is_rpc = true;
                self.result = grpc_result(number);
            }
            _ => return false,
        }
        true
    }

    /// True where the attribute has a meaning.
    fn text(&mut self, key: &str, text: &'a str, labels: &mut Labels) -> bool {
        match key {
            "http.method" | "http.request.method" => text.clone_into(&mut self.web.method),
            "http.url" | "url.full" | "http.target" | "http.path" => self.url = text,
            "url.path" => self.path = text,
            "url.query" => self.query = text,
            "http.host" => self.host = text,
            "http.scheme" | "url.scheme" => self.scheme = text,
            "http.status_code" | "http.response.status_code" => match text.parse::<i64>() {
                Ok(status) => self.web.status = status as u32,
                Err(_) => return true,
            },
            "http.protocol" => match text.strip_prefix("HTTP/") {
                Some(version) => version.clone_into(&mut self.web.version),
                None => {
                    labels.set(key, Seen::Text(text));
                    return true;
                }
            },
            "http.flavor" => text.clone_into(&mut self.web.version),
            "http.server_name" => self.server_name = text,
            _ => return self.text_without_http(key, text, labels),
        }
        self.is_http = true;
        true
    }

    fn text_without_http(&mut self, key: &str, text: &'a str, labels: &mut Labels) -> bool {
        match key {
            "http.client_ip" => {
                if let Ok(ip) = text.parse() {
                    self.web.client.get_or_insert_default().ip = Some(ip);
                }
            }
            "http.user_agent" | "user_agent.original" => text.clone_into(&mut self.web.user_agent),
            "net.peer.ip" | "net.sock.peer.addr" => {
                let source = self.web.source.get_or_insert_default();
                source.ip = text.parse().ok().or(source.ip);
            }
            "net.peer.name" | "client.address" => {
                text.clone_into(&mut self.web.source.get_or_insert_default().domain);
            }
            "net.host.name" | "server.address" => self.host_name = text,
            "messaging.destination" | "messaging.destination.name" | "message_bus.destination" => {
                self.is_messaging = true;
                self.queue = text;
            }
            "messaging.system" | "messaging.operation" | "messaging.operation.type" | "messaging.operation.name" => {
                self.is_messaging = true;
                labels.set(key, Seen::Text(text));
            }
            "rpc.system" | "rpc.grpc.status_code" => {
                self.is_rpc = true;
                labels.drop(key, Seen::Text(text));
            }
            "rpc.service" | "rpc.method" => labels.drop(key, Seen::Text(text)),
            "type" => self.kind = text,
            "service.version" => self.version = Some(text),
            _ => return self.web.take(key, Seen::Text(text)),
        }
        true
    }

    fn url(&self, hostname: &str) -> Url {
        let host = [self.host, self.server_name, self.host_name, hostname];
        let mut host = host.into_iter().find(|host| !host.is_empty()).unwrap_or_default().to_owned();
        // a host that came as such has its port
        if self.host.is_empty() && !host.is_empty() && self.host_port > 0 {
            host = host_port(&host, self.host_port);
        }
        match (self.url, self.path, self.query) {
            ("", path, query) if !path.is_empty() && !query.is_empty() => {
                Url::of(&format!("{path}?{query}"), &host, self.scheme)
            }
            ("", path, _) => Url::of(path, &host, self.scheme),
            (url, ..) => Url::of(url, &host, self.scheme),
        }
    }
}

fn http_result(status: u32) -> String {
    match status / 100 {
        class @ 1..=5 => format!("HTTP {class}xx"),
        _ => format!("HTTP {status}"),
    }
}

/// As gRPC's Go library spells the code.
fn grpc_result(code: i64) -> String {
    let code = code as u32;
    match i32::try_from(code).map(Code::from) {
        Ok(Code::Ok) => "OK".to_owned(),
        Ok(Code::Cancelled) => "Canceled".to_owned(),
        Ok(Code::Unknown) if code != 2 => format!("Code({code})"),
        Ok(known) => format!("{known:?}"),
        Err(_) => format!("Code({code})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_names_of_the_server() {
        for (code, result) in [(0, "OK"), (1, "Canceled"), (2, "Unknown"), (5, "NotFound"), (17, "Code(17)")] {
            assert_eq!(grpc_result(code), result);
        }
        assert_eq!(grpc_result(-1), "Code(4294967295)");
        for (status, result) in [(100, "HTTP 1xx"), (599, "HTTP 5xx"), (600, "HTTP 600"), (7, "HTTP 7")] {
            assert_eq!(http_result(status), result);
        }
    }
}
