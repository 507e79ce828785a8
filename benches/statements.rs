//! The cost of the span of an sqlx statement on the thread of the request: `cargo bench --bench statements`.
//!
//! It is compared with the cost of a `tracing` span with the same fields. Each measurement is a transaction with a hundred spans.

use std::{net::TcpListener, sync::Once};

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use tower_apm::{Agent, AgentBuilder, EnvVars, SqlxDatabase};
use tracing_subscriber::{Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const STATEMENTS: u32 = 100;
const SQL: &str = "SELECT id, token, price FROM listings WHERE id = $1 AND state = $2";

fn main() {
    divan::main();
}

#[divan::bench]
fn span_of_tracing(bencher: Bencher<'_, '_>) {
    measure(bencher, Agent::builder(), span);
}

#[divan::bench]
fn statement_of_sqlx(bencher: Bencher<'_, '_>) {
    measure(bencher, Agent::builder(), statement);
}

#[divan::bench]
fn span_of_tracing_without_compression(bencher: Bencher<'_, '_>) {
    measure(bencher, Agent::builder().span_compression_enabled(false), span);
}

#[divan::bench]
fn statement_of_sqlx_without_compression(bencher: Bencher<'_, '_>) {
    measure(bencher, Agent::builder().span_compression_enabled(false), statement);
}

#[divan::bench]
fn statement_of_sqlx_unsampled(bencher: Bencher<'_, '_>) {
    measure(bencher, Agent::builder().transaction_sample_rate(0.0), statement);
}

#[divan::bench]
fn statement_of_sqlx_outside_of_a_transaction(bencher: Bencher<'_, '_>) {
    let agent = agent(Agent::builder());
    agent.start_transaction("work", "scheduled").in_scope(|| ());
    bencher.counter(ItemsCount::new(STATEMENTS)).bench_local(|| (0..STATEMENTS).for_each(|_| statement()));
}

#[divan::bench]
fn debug_event_of_another_crate(bencher: Bencher<'_, '_>) {
    measure(bencher, Agent::builder(), || tracing::debug!(target: "other", "in detail"));
}

fn span() {
    tracing::info_span!(
        "SELECT FROM listings",
        otel.kind = "client",
        db.system.name = "postgresql",
        db.namespace = "orders",
        server.address = "db.internal",
        server.port = 5432,
        db.query.text = SQL,
        event.outcome = "unknown",
    )
    .in_scope(|| ());
}

/// sqlx's own part, the text of the fields, is the same without the agent.
fn statement() {
    tracing::debug!(
        target: "sqlx::query",
        summary = "SELECT id, token, price …",
        db.statement = divan::black_box("\n\nSELECT id, token, price FROM listings WHERE id = $1 AND state = $2\n"),
        rows_affected = 0_u64,
        rows_returned = 1_u64,
        elapsed = ?std::time::Duration::from_micros(1),
        elapsed_secs = 0.000_001,
    );
}

/// A printer that prints nothing and has its own filter, like the printer of `install()`.
struct Quiet;
impl<S: tracing::Subscriber> Layer<S> for Quiet {}

fn agent(builder: AgentBuilder) -> Agent {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let database = SqlxDatabase::postgresql("orders").host("db.internal");
    let agent = builder.env_vars(EnvVars::empty()).service_name("bench").server_url(format!("http://{unused}"));
    // full after a handful of events
    let agent = agent.sqlx(database).max_queue_size(1).api_request_size(1024).build().unwrap();
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        let printer = Quiet.with_filter(LevelFilter::WARN);
        tracing_subscriber::registry().with(agent.tracing_layer()).with(printer).init();
    });
    agent
}

fn measure(bencher: Bencher<'_, '_>, builder: AgentBuilder, work: fn()) {
    let agent = agent(builder);
    let run = || agent.start_transaction("work", "scheduled").in_scope(|| (0..STATEMENTS).for_each(|_| work()));
    (0..50).for_each(|_| run());
    bencher.counter(ItemsCount::new(STATEMENTS)).bench_local(run);
}
