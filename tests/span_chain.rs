//! A long chain of spans, each the parent of the next, is dropped on a thread's usual stack, and every span is recorded.
//!
//! A separate test binary: it sets the global subscriber, and a stack overflow ends the process.

use std::{thread, time::Duration};

use tower_apm::{Agent, CloudProvider, EnvVars, Transaction};
use tracing_subscriber::layer::SubscriberExt;

/// Many more than overflow this stack in a debug build without help.
const CHAIN: usize = 6000;
const STACK: usize = 2 * 1024 * 1024;

/// Each span begins, and is entered or not; all of them close with the last one.
fn chain(is_entered: bool) {
    let mut last = tracing::info_span!("first");
    for _ in 1..CHAIN {
        let next = tracing::info_span!(parent: &last, "next");
        if is_entered {
            next.in_scope(|| ());
        }
        last = next;
    }
    drop(last);
}

#[test]
fn long_span_chain_is_dropped_without_stack_overflow() {
    let agent = Agent::builder()
        .env_vars(EnvVars::empty())
        .cloud_provider(CloudProvider::None)
        .disable_send(true)
        .transaction_max_spans(-1)
        .max_queue_size(1 << 20)
        .max_queue_bytes(1 << 30)
        .build()
        .unwrap();
    let subscriber = tracing_subscriber::registry().with(agent.tracing_layer());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let run = {
        let agent = agent.clone();
        move || {
            for is_entered in [false, true] {
                agent.start_transaction("chain", "job").in_scope(|| chain(is_entered));
                assert!(!Transaction::current().is_active());
            }
        }
    };
    thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap();
    // the end of a chain closes on another thread
    for _ in 0..6000 {
        if agent.stats().recorded >= 2 * (CHAIN as u64 + 1) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("spans of the chain are missing: {}", agent.stats());
}
