//! A small APM Server for laptops and CI. It accepts events from any Elastic agent, validates them like the real
//! server, and shows them on a web page.
//!
//! ```
//! use tower_apm::devserver::{DevServer, Kind, Query};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = DevServer::bind("127.0.0.1:0")?; // the default port of agents is 8200
//! // agents send to server.url(), the web page is at server.url() + "/ui"
//! let transactions = server.store().query(&Query::new().kind(Kind::Transaction));
//! assert_eq!(transactions.total, 0);
//! # Ok(())
//! # }
//! ```
//!
//! | path | content |
//! |---|---|
//! | `POST /intake/v2/events` | events as NDJSON (`application/x-ndjson`): plain, gzip or deflate, with a length or streamed; stored line by line, as they arrive |
//! | `POST /v1/traces`, `/v1/metrics`, `/v1/logs` | OTLP over HTTP: binary protobuf (`application/x-protobuf`), plain, gzip or deflate |
//! | OTLP over gRPC | the same three signals (`application/grpc`); all HTTP/2 requests are treated as gRPC, as in the real server |
//! | `GET /` | the server's version for agents, the web page for browsers |
//! | `/config/v1/agents` | central configuration, for agents |
//! | `PUT /api/agent-config` | sets central configuration: `{"service": {"name", "environment"}, "settings": {…}}`, both fields of `service` are optional. `GET` lists all configurations, `DELETE` with `service.name` and `service.environment` removes one. `warnings` lists the settings that an agent of this crate would not accept |
//! | `GET /ui` | the web page: transactions, traces, errors, live |
//! | `GET /api/events` | `{"total", "events": [{"type", "protocol", "received_at", "metadata", "event"}]}`, newest first; filters `type`, `service`, `trace_id`, `name`, `q` (text), `limit` (default 100). If there are more events, `next` is the path of the next request, whose `total` counts the remaining events. `"truncated": true` means that the answer reached one of the limits below |
//! | `DELETE /api/events` | removes all events |
//! | `GET /api/stats` | requests, accepted and rejected lines by type, evicted and stored events |
//!
//! Requests with another media type, or without one, are answered with 415.
//!
//! # OTLP
//!
//! Spans are shown as the transactions, spans, errors and logs that an APM Server would make of them, log records as logs
//! or errors, data points as metric sets, each below the metadata that its resource is read as: in the shape of intake,
//! so that one expectation serves both. What intake has no place for stands under `ecs`, by its name in Elasticsearch
//! (`{"error": {"stack_trace"}}`); what an APM Server throws away (maps, link attributes, `rpc.method`) under `dropped`.
//! `protocol` is `intake`, `otlp/http` or `otlp/grpc`.
//!
//! Text that is no UTF-8 makes a message unreadable here and is taken there. A stack stays text, Java's too, senders of
//! Jaeger are not told apart, and metrics of hosts are not translated into Elastic's. A span that ends before it begins
//! has no duration. A message that exceeds a limit below, or cannot be read, is refused as a whole and counted as
//! unrecognized. Of metrics the points that an APM Server does not know (exponential histograms) are a partial success.
//!
//! # Web pages of other origins
//!
//! Any web page that is open in a browser can send requests to this machine. All routes refuse such requests with 403
//! (gRPC: `PERMISSION_DENIED`): requests whose `Origin` is not the server's own, requests with a `Sec-Fetch-Site` other
//! than `same-origin` and `none`, and requests for an unknown host name
//! ([`allow_host`](DevServerBuilder::allow_host)). Agents and exporters send neither `Origin` nor `Sec-Fetch-Site`.
//! Exporters that run in a browser are refused. A link to the web page works.
//!
//! # Limits
//!
//! | what | limit | beyond it |
//! |---|---|---|
//! | stored events | 10 000 ([`max_events`](DevServerBuilder::max_events)), 64 MiB ([`max_bytes`](DevServerBuilder::max_bytes)) | the oldest are evicted; nothing is written to disk |
//! | connections | 256 ([`max_connections`](DevServerBuilder::max_connections)), 75 s idle | the connection that was idle for the longest time is closed, else the one with the oldest request, after 2 s |
//! | memory of unfinished requests and answers | 128 MiB ([`max_unfinished_bytes`](DevServerBuilder::max_unfinished_bytes)), and 128 KiB per connection | 503 with `Retry-After`, `RESOURCE_EXHAUSTED`; answers are truncated |
//! | head of a request | 64 KiB, 100 headers (HTTP/2: 16 KiB), 10 s ([`head_timeout`](DevServerBuilder::head_timeout)) | 431; the connection is closed |
//! | body of a request | 30 s and a second per 64 KiB ([`body_timeout`](DevServerBuilder::body_timeout)) | 503; stored events are kept |
//! | intake | 307 200 bytes per line as in the APM Server; 64 MiB and 100 000 lines per request, decompressed | the line is rejected; 400, 500 or 413, and the rest of the body is not read |
//! | causes of an exception | 256 levels; 8 MiB, where each level counts its own size, and 512 MiB of this per request | the event is rejected; 413 |
//! | OTLP | 32 MiB per body, 4 MiB per gRPC message, 100 calls per connection; 64 MiB once decoded, 64 MiB of events, 64 levels of values | 400, `RESOURCE_EXHAUSTED`, `INTERNAL` |
//! | answer of `GET /api/events` | 10 000 events, 8 MiB | `"truncated": true` and `next` |
//! | central configuration | 64 KiB per request, 1000 services, 1 MiB in total | 400, 507 |
//! | messages about rejected events | 1 KiB | truncated |
//!
//! Two worker threads process large bodies, searches and messages in slices of 20 ms, so other requests are not blocked.
//!
//! Only loopback addresses are bound by default ([`allow_remote`](DevServerBuilder::allow_remote)). If a secret token or
//! an API key is set, every client needs it.
//!
//! Lines are accepted and rejected like in the real server's decoder (messages differ), with these exceptions: RUM v3 events
//! are not supported, exceptions beyond the limits above are rejected, and invalid JSON is always rejected, while the real
//! server accepts a `+1` or a tab in a string. If a key occurs twice in one object, the last value is used, while the real
//! server merges objects. There is no Elasticsearch and no sampling: all accepted events are shown.
//!
//! # Layout
//!
//! - [`DevServer`], [`DevServerBuilder`]: start and stop; [`Store`], [`Query`], [`Event`]: look at the events;
//!   [`Answer`]: make the server fail on purpose.
//! - Inside: `serve` and `connection` accept connections, `origin` refuses pages of other origins, `intake` reads a
//!   request, `inflate` and `lines` cut it up, `validate` judges each line, `store` keeps it. `otlp` reads and translates
//!   OTLP. `memory` is the budget of unfinished requests, `work` runs long work in slices.

mod agent_config;
mod api;
mod auth;
mod body;
mod builder;
mod connection;
mod error;
mod event;
mod inflate;
mod intake;
mod json;
mod lines;
mod listing;
mod media;
mod memory;
mod origin;
mod otlp;
mod page;
mod query;
mod reply;
mod requests;
mod script;
mod serve;
mod server;
mod server_info;
mod stats;
mod store;
mod stream;
pub(crate) mod validate;
mod work;

pub use self::{
    builder::DevServerBuilder,
    error::DevServerError,
    event::{Event, Kind, Protocol},
    query::Query,
    script::Answer,
    server::DevServer,
    stats::{ByKind, Stats},
    store::{Page, Store},
};
#[cfg(feature = "_internals")]
pub(crate) use self::{
    otlp::{Signal, receive},
    script::Ingestion,
    store::Limits,
    stream::Stream,
    work::{Slice, Task},
};
