//! Statements of sqlx are DEBUG events, which the agent enables in a service's own subscriber.
//!
//! Nothing else changes: not the printed lines, not the level of the `log` crate, not the cost of other DEBUG events.
//!
//! A separate test binary: it sets the global subscriber.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tower_apm::{devserver::Kind, testkit::TestAgent};
use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    layer::{Context, Filter, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

/// A printer: keeps the targets of the lines of [`work`]. The agent's thread can log at the same time.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<&'static str>>>);

impl<S: Subscriber> Layer<S> for Printed {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let target = event.metadata().target();
        if matches!(target, "sqlx::query" | "shop") {
            self.0.lock().unwrap().push(target);
        }
    }
}

/// The level of the printer. Counts its checks of DEBUG events of the service.
struct Counting(Targets, Arc<AtomicUsize>);

impl<S: Subscriber> Filter<S> for Counting {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        if metadata.target() == "shop" && *metadata.level() >= LevelFilter::DEBUG {
            self.1.fetch_add(1, Relaxed);
        }
        Filter::<S>::enabled(&self.0, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        Filter::<S>::callsite_enabled(&self.0, metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&self.0)
    }
}

fn work() {
    tracing::debug!(target: "sqlx::query", summary = "SELECT 1", db.statement = "", elapsed_secs = 0.001);
    tracing::debug!(target: "shop", "in detail");
    tracing::trace!(target: "shop", "in more detail");
    tracing::info!(target: "shop", "done");
}

#[tokio::test]
async fn statements_are_enabled_and_nothing_else_changes() {
    let info = || Targets::new().with_default(LevelFilter::INFO);
    let (printed, checks) = (Printed::default(), Arc::new(AtomicUsize::new(0)));
    let apm = {
        // the agent of the test needs a subscriber that is set by then
        let agent = tower_apm::Agent::builder().disable_send(true).build().unwrap();
        let (filter, handle) = reload::Layer::new(Counting(info(), checks.clone()));
        let printer = printed.clone().with_filter(filter);
        tracing_subscriber::registry().with(printer).with(agent.tracing_layer()).init();
        assert_eq!(log::max_level(), log::LevelFilter::Info);
        (TestAgent::start().await, handle)
    };
    let (apm, handle) = apm;
    let run = || {
        apm.agent().start_transaction("work", "scheduled").in_scope(work);
        std::mem::take(&mut *printed.0.lock().unwrap())
    };
    assert_eq!(run(), ["shop"], "no statement, and only the INFO line of the service");
    assert_eq!(log::max_level(), log::LevelFilter::Info);
    checks.store(0, Relaxed);
    run();
    assert_eq!(checks.load(Relaxed), 0, "DEBUG events of the service cost a subscriber nothing");

    let all = Targets::new().with_default(LevelFilter::DEBUG);
    handle.reload(Counting(all, checks.clone())).unwrap();
    assert_eq!(run(), ["sqlx::query", "shop", "shop"], "a filter that is reloaded takes effect");
    handle.reload(Counting(info(), checks.clone())).unwrap();
    assert_eq!(run(), ["shop"]);
    assert_eq!(log::max_level(), log::LevelFilter::Info);
    checks.store(0, Relaxed);
    run();
    assert_eq!(checks.load(Relaxed), 0);

    // a second subscriber, which exists for a while
    tracing::subscriber::with_default(tracing_subscriber::registry(), || ());
    run();
    apm.flush().await;
    assert_eq!(apm.events(Kind::Transaction).len(), 6);
    assert_eq!(apm.events(Kind::Span).len(), 6, "one statement for each");
}
