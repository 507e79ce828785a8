//! Logs the agent's start and its warnings as soon as a subscriber can print them.
//!
//! A service with its own subscriber builds the agent first, because the subscriber needs the agent's layer. Before
//! that, nothing prints log lines. The agent's thread therefore logs the lines as soon as the layer is part of a
//! subscriber.

use std::{
    io::{self, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tracing::{
    Dispatch,
    dispatcher::{self, WeakDispatch},
    level_filters::LevelFilter,
    subscriber::NoSubscriber,
};

use super::{filter_probe, resource};
use crate::transaction::Recorder;

/// The interval of the checks whether `tracing` has finished the registration of the subscriber.
const CHECK: Duration = Duration::from_millis(2);
const MAX_CHECKS: u32 = 500;

#[derive(Debug, Default)]
pub(super) struct Startup {
    is_logged: AtomicBool,
    subscriber: OnceLock<Registered>,
    registered: Notify,
}

#[derive(Debug)]
struct Registered {
    subscriber: WeakDispatch,
    records_spans: bool,
}

impl Startup {
    /// Logs the start now, unless this thread has no subscriber or the start was logged before.
    pub(super) fn log_now(&self, recorder: &Recorder, warnings: &[String]) {
        if !dispatcher::get_default(|current| current.is::<NoSubscriber>()) && !self.is_logged.swap(true, Relaxed) {
            log(recorder, warnings);
        }
    }

    /// Stores the subscriber that the agent's layer is part of.
    ///
    /// `tracing` holds a lock during the call, so nothing is logged here.
    pub(super) fn set_subscriber(&self, subscriber: &Dispatch, records_spans: bool) {
        // the lines are logged in the first subscriber
        let _ = self.subscriber.set(Registered { subscriber: subscriber.downgrade(), records_spans });
        self.registered.notify_one();
    }

    /// Waits for the subscriber of the service, logs the start there, and checks the subscriber's filters.
    pub(super) async fn log_in_subscriber(self: Arc<Self>, recorder: Arc<Recorder>, warnings: Arc<[String]>) {
        self.registered.notified().await;
        for _ in 0..MAX_CHECKS {
            if LevelFilter::current() != LevelFilter::OFF {
                break;
            }
            tokio::time::sleep(CHECK).await;
        }
        let Some(registered) = self.subscriber.get() else { return };
        let Some(subscriber) = registered.subscriber.upgrade() else { return };
        dispatcher::with_default(&subscriber, || {
            if !self.is_logged.swap(true, Relaxed) {
                log(&recorder, &warnings);
            }
        });
        if registered.records_spans {
            report_filter(&subscriber, &recorder);
        }
    }
}

fn log(recorder: &Recorder, warnings: &[String]) {
    warnings.iter().for_each(|warning| tracing::warn!(target: "tower_apm", "{warning}"));
    let start = resource::startup_line(&recorder.config(), recorder.environment());
    tracing::info!(target: "tower_apm", "{start}");
}

/// Reports a filter that hides spans, once per process.
///
/// The report is a line in the service's log, or on stderr if the filter hides the agent's warnings too. The agent does
/// not know whether the service uses sqlx, so a filter that hides only statements is reported at INFO.
fn report_filter(subscriber: &Dispatch, recorder: &Recorder) {
    static REPORTED: AtomicBool = AtomicBool::new(false);

    let config = recorder.config();
    let is_silent = LevelFilter::from(config.log_level) < LevelFilter::WARN;
    if is_silent || !recorder.is_recording() || config.context_propagation_only {
        return;
    }
    let hides_spans = filter_probe::hides_spans(subscriber, config.span_level.into());
    if !hides_spans && !filter_probe::hides_statements(subscriber) || REPORTED.swap(true, Relaxed) {
        return;
    }
    if hides_spans && filter_probe::hides_warnings(subscriber) {
        // unlike `eprintln!`, this does not panic if stderr is closed
        let _ = writeln!(io::stderr(), "tower-apm: {}", filter_probe::WARNING);
        return;
    }
    dispatcher::with_default(subscriber, || match hides_spans {
        true => tracing::warn!(target: "tower_apm", "{}", filter_probe::WARNING),
        false => tracing::info!(target: "tower_apm", "{}", filter_probe::STATEMENTS),
    });
}
