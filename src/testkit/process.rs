//! The two things that the whole process shares: the `tracing` subscriber and the panic hook.

use std::{env, sync::OnceLock};

use tracing_subscriber::{Layer, fmt, layer::SubscriberExt};

use crate::{
    agent::{self, log_filter},
    capture,
    otel::REQUEST_TARGET,
};

const FOREIGN: &str = "this process has set a global tracing subscriber of its own: spans, `in_current_span()` and \
                       `tracing::error!` are seen only if it has the layer of `Agent::tracing_layer()`";

/// Sets both, once. Some: what a failed expectation should remind of.
pub(super) fn prepare() -> Option<&'static str> {
    static NOTE: OnceLock<Option<&'static str>> = OnceLock::new();
    *NOTE.get_or_init(|| {
        capture::install_panic_hook();
        let filter = env::var(log_filter::RUST_LOG).ok();
        let lines = filter.and_then(|filter| log_filter::parse(&format!("{REQUEST_TARGET}=off,{filter}")).ok());
        let printer = lines.map(|filter| fmt::layer().with_test_writer().with_filter(filter));
        let subscriber = tracing_subscriber::registry().with(agent::routing_layer()).with(printer);
        if tracing::subscriber::set_global_default(subscriber).is_ok() {
            return None;
        }
        eprintln!("tower_apm::testkit: {FOREIGN}");
        Some(FOREIGN)
    })
}
