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
//! | `GET /` | the server's version for agents, the web page for browsers |
//! | `/config/v1/agents` | central configuration, for agents |
//! | `PUT /api/agent-config` | sets it: `{"service": {"name", "environment"}, "settings": {…}}`, both of `service` optional; `GET` lists what is set, `DELETE` with `service.name` and `service.environment` takes it back |
//! | `GET /ui` | the web page: transactions, traces, errors, live |
//! | `GET /api/events` | `{"total", "events": [{"type", "received_at", "metadata", "event"}]}`, newest first; filters `type`, `service`, `trace_id`, `name`, `q` (text), `limit` (default 100) |
//! | `DELETE /api/events` | forgets all events |
//! | `GET /api/stats` | requests, accepted and rejected lines by type, evicted, held |
//!
//! # Layout
//!
//! - [`DevServer`], [`DevServerBuilder`]: start and stop; [`Store`], [`Query`], [`Event`]: look at what came;
//!   [`Answer`]: make the server fail on purpose.
//! - Inside: `intake` reads a request, `inflate` and `lines` cut it up, `validate` judges each line, `store` keeps it.
//!
//! # Limits
//!
//! It keeps a bounded number of events and bytes in memory and forgets the oldest; nothing is written to disk. Only
//! loopback addresses are bound unless told otherwise. Its verdict on a line is the one of the real server's decoder
//! (messages are worded differently), but for events of browsers in the short form of RUM v3, which it does not know,
//! and for exceptions with more than 256 levels of causes, which it refuses. It refuses all that is no JSON, where the
//! server overlooks a `+1` or a tab within a text. Of a key that comes twice in one object the last value counts,
//! where the server merges objects. It knows no OTLP, no Elasticsearch, no sampling: what an agent sends is what is shown.

mod agent_config;
mod api;
mod auth;
mod body;
mod builder;
mod connection;
mod error;
mod event;
mod host;
mod inflate;
mod intake;
mod json;
mod lines;
mod otlp;
mod page;
mod query;
mod reply;
mod script;
mod server;
mod server_info;
mod stats;
mod store;
mod stream;
mod validate;

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
};
