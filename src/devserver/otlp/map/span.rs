//! A span that is no transaction (`TranslateSpan` in `input/otlp/traces.go` of elastic/apm-data): what it did, and whom
//! it called.

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};

use super::{
    attributes::{self, Labels, Seen, cut},
    outcome,
    tree::Tree,
    url::{Parsed, Url, host_port},
    web::Web,
};

/// What the attributes say, before it is decided what it means.
#[derive(Default)]
struct Seens<'a> {
    web: Web,
    peer_name: &'a str,
    peer_ip: &'a str,
    peer_port: i64,
    peer_service: &'a str,
    peer_address: &'a str,
    is_http: bool,
    url: &'a str,
    host: &'a str,
    target: &'a str,
    path: &'a str,
    query: &'a str,
    scheme: Option<&'a str>,
    is_database: bool,
    db_type: &'a str,
    statement: &'a str,
    instance: &'a str,
    user: &'a str,
    is_messaging: bool,
    queue: &'a str,
    message_system: &'a str,
    operation: &'a str,
    is_temporary: bool,
    is_rpc: bool,
    rpc_system: &'a str,
    rpc_service: &'a str,
    gen_ai: Option<&'a str>,
    stack: &'a str,
}

/// Whom a span calls.
#[derive(Default)]
struct Callee {
    address: String,
    port: i64,
    name: String,
    resource: String,
    target_type: String,
    target_name: String,
}

/// Type, subtype and action.
type Class<'a> = (&'a str, &'a str, &'a str);

pub(super) fn span(span: &Span, labels: &mut Labels, out: &mut Tree) -> Web {
    let mut seen = Seens::default();
    for (key, value) in attributes::of(&span.attributes) {
        let taken = match value {
            Seen::Flag(flag) => seen.flag(key, flag),
            Seen::Integer(number) => seen.integer(key, number),
            Seen::Text(text) => seen.text(key, text, labels),
            _ => false,
        };
        if !taken {
            labels.set(key, value);
        }
    }
    let (url, parsed) = seen.url();
    let mut callee = seen.callee(parsed.as_ref());
    let (kind, subtype, action) = seen.class(span.kind(), parsed.as_ref(), &mut callee);
    out.put("type", kind);
    out.text("subtype", subtype);
    out.text("action", action);
    out.put("outcome", outcome(span).unwrap_or(if seen.web.status >= 400 { "failure" } else { "success" }));
    if seen.is_http {
        out.text("context/http/method", &seen.web.method);
        out.text("context/http/url", &url);
        out.number("context/http/response/status_code", seen.web.status);
        seen.web.url = Url { original: url, ..Url::default() };
    }
    if seen.is_database {
        out.text("context/db/type", seen.db_type);
        out.text("context/db/instance", seen.instance);
        out.text("context/db/statement", seen.statement);
        out.text("context/db/user", seen.user);
    }
    if seen.is_messaging {
        out.text("context/message/queue/name", seen.queue);
    }
    callee.write(out, kind);
    out.text("ecs/code/stacktrace", seen.stack);
    out.text("ecs/session/id", &seen.web.session);
    out.tree("ecs/network", &seen.web.network);
    seen.stack.clone_into(&mut seen.web.stack);
    seen.web
}

impl<'a> Seens<'a> {
    fn flag(&mut self, key: &str, flag: bool) -> bool {
        if matches!(key, "messaging.temp_destination" | "messaging.destination.temporary") {
            self.is_temporary = flag;
        }
        // it becomes a label all the same
        false
    }

    /// True where the attribute has a meaning.
    fn integer(&mut self, key: &str, number: i64) -> bool {
        match key {
            "http.status_code" | "http.response.status_code" => {
                self.web.status = number as u32;
                self.is_http = true;
            }
            "net.peer.port" | "server.port" | "peer.port" => self.peer_port = number,
            "rpc.grpc.status_code" => {
                self.rpc_system = "grpc";
                self.is_rpc = true;
            }
            _ => return false,
        }
        true
    }

    /// True where the attribute has a meaning.
    fn text(&mut self, key: &str, whole: &'a str, labels: &mut Labels) -> bool {
        let text = cut(whole);
        match key {
            "http.host" => self.host = text,
            "http.scheme" | "url.scheme" => self.scheme = Some(text),
            "http.target" => self.target = text,
            "url.path" => self.path = text,
            "url.query" => self.query = text,
            "http.url" | "url.full" => self.url = text,
            "http.method" | "http.request.method" => text.clone_into(&mut self.web.method),
            _ => {
                return self.of_database(key, whole)
                    || self.of_message(key, text, labels)
                    || self.of_peer(key, text)
                    || self.of_call(key, whole, labels)
                    || self.web.take(key, Seen::Text(text));
            }
        }
        self.is_http = true;
        true
    }

    fn of_database(&mut self, key: &str, whole: &'a str) -> bool {
        let text = cut(whole);
        match key {
            "sql.query" | "db.statement" | "db.query.text" => {
                if key == "sql.query" && self.db_type.is_empty() {
                    self.db_type = "sql";
                }
                // never cut
                self.statement = whole;
            }
            "db.name" | "db.namespace" | "db.instance" | "db.elasticsearch.cluster.name" => self.instance = text,
            "db.system" | "db.type" => self.db_type = text,
            "db.user" => self.user = text,
            _ => return false,
        }
        self.is_database = true;
        true
    }

    fn of_message(&mut self, key: &str, text: &'a str, labels: &mut Labels) -> bool {
        match key {
            "messaging.destination" | "messaging.destination.name" | "message_bus.destination" => self.queue = text,
            "messaging.operation" | "messaging.operation.type" => self.operation = text,
            "messaging.operation.name" => labels.set(key, Seen::Text(text)),
            "messaging.system" => self.message_system = text,
            _ => return false,
        }
        self.is_messaging = true;
        true
    }

    fn of_peer(&mut self, key: &str, text: &'a str) -> bool {
        match key {
            "net.peer.name" | "peer.hostname" | "server.address" => self.peer_name = text,
            "net.peer.ip" | "net.sock.peer.addr" | "network.peer.address" | "peer.ipv4" | "peer.ipv6" => {
                self.peer_ip = text;
            }
            "peer.address" => self.peer_address = text,
            "peer.service" => self.peer_service = text,
            _ => return false,
        }
        true
    }

    fn of_call(&mut self, key: &str, whole: &'a str, labels: &mut Labels) -> bool {
        let text = cut(whole);
        match key {
            "rpc.system" => (self.rpc_system, self.is_rpc) = (text, true),
            "rpc.service" => (self.rpc_service, self.is_rpc) = (text, true),
            "rpc.grpc.status_code" => (self.rpc_system, self.is_rpc) = ("grpc", true),
            "rpc.method" | "span.kind" => labels.drop(key, Seen::Text(text)),
            "code.stacktrace" => self.stack = whole,
            "gen_ai.system" => self.gen_ai = Some(text),
            _ => return false,
        }
        true
    }

    /// The name of the other side, or its address.
    fn peer(&self) -> &'a str {
        // such as a JDBC string or `ip:port`, which are no names
        let is_name = !self.peer_address.contains(':') || self.peer_address.parse::<std::net::IpAddr>().is_ok();
        [self.peer_name, if is_name { self.peer_address } else { "" }, self.peer_ip]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or_default()
    }

    /// The URL that was called, put together where it came in pieces.
    fn url(&self) -> (String, Option<Parsed>) {
        if !self.url.is_empty() {
            return (self.url.to_owned(), Parsed::of(self.url));
        }
        let target = match (self.target, self.path, self.query) {
            ("", path, "") => path.to_owned(),
            ("", "", _) => String::new(),
            ("", path, query) => format!("{path}?{query}"),
            (target, ..) => target.to_owned(),
        };
        let Some(mut parsed) = Some(target).filter(|target| !target.is_empty()).and_then(|target| Parsed::of(&target))
        else {
            return (String::new(), None);
        };
        self.scheme.unwrap_or("http").clone_into(&mut parsed.scheme);
        parsed.host = match self.host {
            "" if self.peer_port > 0 => host_port(self.peer(), self.peer_port),
            "" => self.peer().to_owned(),
            host => host.to_owned(),
        };
        (parsed.written(), Some(parsed))
    }

    fn callee(&self, url: Option<&Parsed>) -> Callee {
        let mut callee = Callee {
            address: self.peer().to_owned(),
            port: self.peer_port,
            name: self.peer_service.to_owned(),
            resource: self.peer_service.to_owned(),
            target_name: self.peer_service.to_owned(),
            ..Callee::default()
        };
        if !self.peer_address.is_empty() {
            self.peer_address.clone_into(&mut callee.resource);
        }
        if let Some(url) = url {
            cut(url.hostname()).clone_into(&mut callee.address);
            let port = if url.port().is_empty() { default_port(&url.scheme) } else { url.port().parse().unwrap_or(0) };
            if port > 0 {
                callee.port = port;
            }
        }
        callee
    }

    /// What kind of span it is; the first that fits counts.
    fn class(&self, kind: SpanKind, url: Option<&Parsed>, callee: &mut Callee) -> Class<'a> {
        if self.is_database {
            callee.system("db", self.db_type);
            if !self.instance.is_empty() {
                self.instance.clone_into(&mut callee.target_name);
            }
            return ("db", self.db_type, "");
        }
        if self.is_messaging {
            callee.system("messaging", self.message_system);
            if !callee.resource.is_empty() && !self.queue.is_empty() {
                callee.resource += &format!("/{}", self.queue);
            }
            if !self.queue.is_empty() && !self.is_temporary {
                self.queue.clone_into(&mut callee.target_name);
            }
            let action = if self.operation.is_empty() && kind == SpanKind::Producer { "send" } else { self.operation };
            return ("messaging", self.message_system, action);
        }
        if self.is_rpc {
            let target = if self.rpc_system.is_empty() { "external" } else { self.rpc_system };
            target.clone_into(&mut callee.target_type);
            if callee.name.is_empty() {
                callee.name = host_port(&callee.address, callee.port);
                callee.resource.clone_from(&callee.name);
            }
            if !self.rpc_service.is_empty() {
                self.rpc_service.clone_into(&mut callee.target_name);
            }
            return ("external", self.rpc_system, "");
        }
        if self.is_http {
            "http".clone_into(&mut callee.target_type);
            if let Some(url) = url {
                callee.website(url);
            }
            return ("external", "http", "");
        }
        if let Some(system) = self.gen_ai {
            "genai".clone_into(&mut callee.target_type);
            return ("genai", system, "");
        }
        if kind == SpanKind::Internal { ("app", "internal", "") } else { ("unknown", "", "") }
    }
}

impl Callee {
    /// A database or a message broker goes by the name of its kind.
    fn system(&mut self, kind: &str, system: &str) {
        if system.is_empty() {
            kind.clone_into(&mut self.target_type);
            return;
        }
        system.clone_into(&mut self.target_type);
        if self.name.is_empty() {
            system.clone_into(&mut self.name);
            system.clone_into(&mut self.resource);
        }
    }

    fn website(&mut self, url: &Parsed) {
        let (mut host, mut resource) = (url.host.clone(), url.host.clone());
        if self.port == default_port(&url.scheme) {
            if url.port().is_empty() {
                resource = format!("{resource}:{}", self.port);
            } else {
                host.clone_from(&self.address);
            }
        }
        self.target_name.clone_from(&resource);
        if self.name.is_empty() {
            self.name = url.origin(&host);
            self.resource = resource;
        }
    }

    fn write(&self, out: &mut Tree, kind: &str) {
        if !self.address.is_empty() {
            out.put("context/destination/address", self.address.as_str());
            out.number("context/destination/port", self.port as u32);
        }
        if !self.name.is_empty() || !self.resource.is_empty() {
            out.put("context/destination/service/type", kind);
            out.text("context/destination/service/name", &self.name);
            out.text("context/destination/service/resource", &self.resource);
        }
        if !self.resource.is_empty() {
            // intake makes one of the resource where there is none
            out.put("context/service/target/type", "");
        }
        out.text("context/service/target/type", &self.target_type);
        out.text("context/service/target/name", &self.target_name);
    }
}

fn default_port(scheme: &str) -> i64 {
    match scheme {
        "http" => 80,
        "https" => 443,
        _ => 0,
    }
}
