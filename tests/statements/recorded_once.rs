//! Statements that have a span of their own and an event of sqlx. They are recorded once.

use std::thread;

use opentelemetry::{
    Context, KeyValue,
    trace::{SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use serde_json::json;
use tower_apm::{SqlxDatabase, db, devserver::Kind, testkit::TestAgent};
use tracing::{Instrument, info_span};

use super::{LOGGED, LONG, spans};

/// The spans are those of SeaORM's feature `tracing-spans`, of sqlx-tracing and of OpenTelemetry's API.
#[tokio::test]
async fn statement_with_a_span_of_another_instrumentation_is_recorded_once() {
    let apm = TestAgent::start().await;
    let tracer = apm.agent().tracer_provider().tracer("db");
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let orm = info_span!(
            "sea_orm.query_one",
            otel.kind = "client",
            db.system = "postgresql",
            db.statement = tracing::field::Empty
        );
        orm.in_scope(|| {
            LOGGED.statement(LONG);
            tracing::Span::current().record("db.statement", LONG);
        });
        info_span!("sqlx.fetch", otel.kind = "client", "db.system.name" = "postgresql", "db.query.text" = "SELECT 2")
            .in_scope(|| LOGGED.statement("SELECT 2"));
        let span = tracer
            .span_builder("SELECT 3")
            .with_kind(SpanKind::Client)
            .with_attributes([KeyValue::new("db.system.name", "postgresql")])
            .start(&tracer);
        let _attached = Context::current_with_span(span).attach();
        LOGGED.statement("SELECT 3");
    });
    apm.expect_transaction("work")
        .await
        .span_count(3)
        .span("SELECT FROM listings", |span| span.kind("db", "postgresql"));
}

/// sqlx logs in the span of its caller, which is entered again in the span of sqlx-tracing.
#[tokio::test]
async fn statement_with_a_span_below_its_caller_is_recorded_once() {
    let apm = TestAgent::start().await;
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let caller = info_span!("load");
        let _entered = caller.enter();
        for system in ["postgresql", "mysql", "sqlite"] {
            let kind = "client";
            let span = info_span!("sqlx.execute", otel.kind = kind, db.system.name = system, db.query.text = LONG);
            span.in_scope(|| caller.in_scope(|| LOGGED.statement(LONG)));
        }
        let tracer = apm.agent().tracer_provider().tracer("db");
        let attributes = [KeyValue::new("db.system", "mssql"), KeyValue::new("db.statement", LONG)];
        let span = tracer.span_builder("query").with_kind(SpanKind::Client).with_attributes(attributes).start(&tracer);
        LOGGED.statement(LONG);
        drop(span);
    });
    apm.expect_transaction("work").await.span_count(5);
    let subtypes: Vec<_> = apm.events(Kind::Span).iter().map(|span| span["subtype"].clone()).collect();
    for system in ["postgresql", "mysql", "sqlite", "mssql"] {
        assert_eq!(subtypes.iter().filter(|subtype| **subtype == system).count(), 1, "{system}: {subtypes:?}");
    }
}

#[tokio::test]
async fn other_statements_are_recorded_while_a_database_span_is_open() {
    let apm = TestAgent::builder().configure(|agent| agent.span_compression_enabled(false)).start().await;
    let spanned = || info_span!("query", otel.kind = "client", db.system = "postgresql", db.statement = LONG);
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let span = spanned();
        span.in_scope(|| ());
        LOGGED.statement("SELECT 1"); // another statement
        LOGGED.statement(LONG); // the statement of the span
        LOGGED.statement(LONG); // the same statement without a span
        drop(span);
        LOGGED.statement(LONG); // after the span
    });
    apm.agent().start_transaction("other", "scheduled").in_scope(|| LOGGED.statement(LONG));
    apm.expect_transaction("work").await.span_count(4);
    apm.expect_transaction("other").await.span_count(1);
}

/// On SQLite, the thread that runs a failed statement returns the error before it logs the statement.
#[tokio::test]
async fn event_after_the_end_of_a_span_is_not_recorded_on_sqlite() {
    for (system, spans) in [("sqlite", 2), ("postgresql", 3)] {
        let apm = TestAgent::builder().configure(|agent| agent.span_compression_enabled(false)).start().await;
        apm.agent().start_transaction("work", "scheduled").in_scope(|| {
            let kind = "client";
            info_span!("sqlx.execute", otel.kind = kind, db.system.name = system, db.query.text = LONG).in_scope(|| ());
            LOGGED.statement(LONG);
            LOGGED.statement(LONG); // the span accounts for one event
        });
        apm.expect_transaction("work").await.span_count(spans);
    }
}

/// sqlx-tracing enters the span of a stream with the first row, after sqlx has logged the statement.
#[tokio::test]
async fn statement_of_a_stream_that_is_entered_late_is_recorded_once() {
    let apm = TestAgent::start().await;
    apm.agent().start_transaction("work", "scheduled").in_scope(|| {
        let (kind, system) = ("client", "postgresql");
        macro_rules! fetch {
            () => {
                info_span!(
                    target: "sqlx_tracing::pool",
                    "sqlx.fetch",
                    otel.kind = kind,
                    db.system.name = system,
                    db.query.text = LONG
                )
            };
        }
        let empty = fetch!();
        LOGGED.statement(LONG);
        drop(empty);
        let late = fetch!();
        LOGGED.statement(LONG);
        late.in_scope(|| ());
    });
    apm.expect_transaction("work")
        .await
        .span("SELECT FROM listings", |span| span.kind("db", "postgresql"))
        .span_count(1);
}

#[tokio::test]
async fn statement_with_a_span_beyond_the_limit_is_counted_once() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_max_spans(1)).start().await;
    let work = async {
        for system in ["postgresql", "sqlite"] {
            let caller = info_span!("load");
            let statement = async { caller.in_scope(|| LOGGED.statement(LONG)) };
            db::call(system).statement(LONG).run(statement).await;
            let span = info_span!("sqlx.execute", otel.kind = "client", db.system = system, db.statement = LONG);
            span.in_scope(|| LOGGED.statement(LONG));
        }
    };
    apm.agent().start_transaction("work", "scheduled").run(work).await;
    let transaction = apm.expect_transaction("work").await;
    assert_eq!(transaction.json()["span_count"], json!({ "started": 1, "dropped": 5 }));
}

#[tokio::test]
async fn statement_within_a_database_call_is_recorded_once() {
    let apm = TestAgent::start().await;
    let work = async {
        let caller = info_span!("load");
        // sqlx logs in the span of its caller, which it enters again while the call is polled
        let statement = async { caller.in_scope(|| LOGGED.statement(LONG)) };
        let call = db::call("postgresql").statement(LONG);
        call.run_with(statement, |(), _| {}).instrument(caller.clone()).await;
    };
    apm.agent().start_transaction("work", "scheduled").run(work).await;
    apm.expect_transaction("work").await.span("SELECT FROM listings", |span| span.outcome("success")).span_count(2);
}

/// The first event belongs to the call.
#[tokio::test]
async fn equal_statement_outside_a_database_call_is_recorded() {
    let apm = TestAgent::builder().configure(|agent| agent.span_compression_enabled(false)).start().await;
    let work = async {
        let (logged, is_logged) = tokio::sync::oneshot::channel();
        let (recorded, is_recorded) = tokio::sync::oneshot::channel();
        let call = db::call("postgresql").statement(LONG).run_with(
            async {
                LOGGED.statement(LONG);
                logged.send(()).unwrap();
                is_recorded.await.unwrap();
            },
            |(), _| {},
        );
        let other = async {
            is_logged.await.unwrap();
            LOGGED.statement(LONG);
            recorded.send(()).unwrap();
        };
        tokio::join!(call, other);
    };
    apm.agent().start_transaction("work", "scheduled").run(work).await;
    apm.expect_transaction("work").await.span_count(2);
}

/// On SQLite, sqlx logs on a separate thread, which enters the `tracing` span of the caller.
#[tokio::test]
async fn statement_within_a_database_call_on_sqlite_is_recorded_once() {
    let apm = TestAgent::builder().configure(|agent| agent.span_compression_enabled(false)).start().await;
    let elsewhere = |caller: tracing::Span| {
        thread::spawn(move || caller.in_scope(|| LOGGED.statement(LONG))).join().unwrap();
    };
    let work = async {
        for caller in [info_span!("load"), tracing::Span::current()] {
            let statement = async { elsewhere(caller.clone()) };
            let call = db::call("sqlite").statement(format!("  {LONG}\n"));
            call.run(statement).instrument(caller.clone()).await;
        }
    };
    apm.agent().start_transaction("work", "scheduled").run(work).await;
    apm.expect_transaction("work").await.span_count(3);
    for span in apm.events(Kind::Span).iter().filter(|span| span["type"] == "db") {
        assert_eq!((&span["subtype"], &span["outcome"]), (&json!("sqlite"), &json!("success")));
    }
}

/// A span that the agent creates from an event does not replace another event.
#[tokio::test]
async fn statements_without_a_span_are_recorded_each_time() {
    let found = spans(
        |agent| agent.sqlx(SqlxDatabase::sqlite("orders.db")).span_compression_enabled(false),
        || {
            let span = info_span!("query", otel.kind = "client", db.system = "sqlite", db.statement = "SELECT 2");
            span.in_scope(|| LOGGED.statement("SELECT 2"));
            drop(span);
            LOGGED.statement("SELECT 2");
            (0..3).for_each(|_| LOGGED.statement(LONG));
        },
    )
    .await;
    assert_eq!(found.len(), 5, "{found:?}");
}
