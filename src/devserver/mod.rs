//! A small APM Server for laptops and CI: it takes what any Elastic agent sends, says of it what the real server would
//! say, and shows it.
//!
//! ```
//! use tower_apm::devserver::{DevServer, Kind, Query};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = DevServer::bind("127.0.0.1:0")?; // an agent's usual port is 8200
//! // agents send to server.url(), people look at server.url() + "/ui"
//! let transactions = server.store().query(&Query::new().kind(Kind::Transaction));
//! assert_eq!(transactions.total, 0);
//! # Ok(())
//! # }
//! ```
//!
//! | path | what it is |
//! |---|---|
//! | `POST /intake/v2/events` | events as NDJSON: plain, gzip or deflate, in one piece or streamed; stored line by line, as they arrive |
//! | `POST /v1/traces`, `/v1/metrics`, `/v1/logs` | OTLP over HTTP: binary protobuf, plain, gzip or deflate |
//! | OTLP over gRPC | the same three; whatever comes by HTTP/2 is taken for gRPC, as at the real server |
//! | `GET /` | the server's version for agents, the web page for browsers |
//! | `/config/v1/agents` | central configuration, for agents |
//! | `PUT /api/agent-config` | sets it: `{"service": {"name", "environment"}, "settings": {…}}`, both of `service` optional; `GET` lists what is set, `DELETE` with `service.name` and `service.environment` takes it back. `warnings` tell what an agent of this crate would not take |
//! | `GET /ui` | the web page: transactions, traces, errors, live |
//! | `GET /api/events` | `{"total", "events": [{"type", "protocol", "received_at", "metadata", "event"}]}`, newest first; filters `type`, `service`, `trace_id`, `name`, `q` (text), `limit` (default 100) |
//! | `DELETE /api/events` | forgets all events |
//! | `GET /api/stats` | requests, accepted and rejected lines by type, evicted, held |
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
//! has no duration. A body holds 32 MiB at most, a message of gRPC 4 MiB, and neither may take more than 128 MiB of
//! memory or nest deeper than 64 levels: a message that does, or cannot be read, is refused as a whole and counted as
//! unrecognized. Of metrics the points that an APM Server does not know (exponential histograms) are a partial success.
//!
//! # Layout
//!
//! - [`DevServer`], [`DevServerBuilder`]: start and stop; [`Store`], [`Query`], [`Event`]: look at what came;
//!   [`Answer`]: make the server fail on purpose.
//! - Inside: `intake` reads a request, `inflate` and `lines` cut it up, `validate` judges each line, `store` keeps it. `otlp`
//!   reads and translates what is no intake.
//!
//! # Limits
//!
//! It keeps a bounded number of events and bytes in memory and forgets the oldest; nothing is written to disk. Only
//! loopback addresses are bound unless told otherwise. Its verdict on a line is the one of the real server's decoder
//! (messages are worded differently), but for events of browsers in the short form of RUM v3, which it does not know,
//! and for exceptions with more than 256 levels of causes, which it refuses. It refuses all that is no JSON, where the
//! server overlooks a `+1` or a tab within a text. Of a key that comes twice in one object the last value counts,
//! where the server merges objects. It knows no Elasticsearch, no sampling: what an agent sends is what is shown.

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
mod validate;
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
    script::Fate,
    store::Limits,
    stream::Stream,
    work::{Slice, Task},
};
