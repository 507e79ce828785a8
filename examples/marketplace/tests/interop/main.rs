//! A Node service under `elastic-apm-node` and the marketplace in one trace, in both directions.
//!
//! Needs Node: `npm ci` in this folder, and `INTEROP_NODE=node` for the program to run.

mod processes;
mod trace;

use serde_json::json;
use tower_apm::devserver::{DevServer, Kind, Query};

use crate::{
    processes::{Fleet, Rates},
    trace::Trace,
};

/// The marketplace's transaction of a purchase.
const PURCHASE: &str = "POST /market/listings/{id}/purchase";
/// The Node service's transaction around it.
const ORDER: &str = "POST /orders/:listing";

const ALL: Rates = Rates { node: "1", marketplace: "1" };

async fn fleet(rates: Rates) -> Fleet {
    Fleet::start(DevServer::builder(), rates).await
}

#[tokio::test]
#[ignore = "needs INTEROP_NODE"]
async fn trace_continues_from_node_to_the_marketplace_and_back() {
    // the decision that the marketplace would make for its own root must not matter
    let fleet = fleet(Rates { marketplace: "0", ..ALL }).await;
    let listing = fleet.list("42").await;
    let answer = fleet.order_by_way_of_node(listing).await;
    assert_eq!(answer.status, 200);

    // the order, the purchase, the chain's ping and transfer, and two changes of wallets; one call of Node
    let trace = Trace::complete(&fleet.apm, &answer.trace_id, [6, 23, 0]).await;
    let order = trace.transaction("office", ORDER);
    assert!(order.at("/parent_id").is_null(), "{order:?}");
    let call = trace.call("office", "POST");
    call.assert_child_of(order);
    call.assert_target(&fleet.marketplace);
    let purchase = trace.transaction("marketplace", PURCHASE);
    purchase.assert_child_of(call);
    back_to_node(&fleet, &trace);

    for kind in [Kind::Transaction, Kind::Span] {
        for event in trace.of(kind) {
            assert_eq!(event.text("/outcome"), "success", "{event:?}");
            assert_eq!(event.at("/sample_rate").as_f64(), Some(1.0), "{event:?}");
            assert_ne!(event.at("/sampled"), &json!(false), "{event:?}");
        }
    }
    fleet.nothing_was_refused();
}

#[tokio::test]
#[ignore = "needs INTEROP_NODE"]
async fn trace_continues_from_the_marketplace_to_node() {
    let fleet = fleet(Rates { node: "0", ..ALL }).await;
    let listing = fleet.list("42").await;
    let answer = fleet.order_in_the_marketplace(listing).await;
    assert_eq!(answer.status, 200);

    let trace = Trace::complete(&fleet.apm, &answer.trace_id, [5, 22, 0]).await;
    assert!(trace.transaction("marketplace", PURCHASE).at("/parent_id").is_null());
    back_to_node(&fleet, &trace);
    for event in trace.of(Kind::Transaction) {
        assert_eq!((event.text("/outcome"), event.at("/sampled")), ("success", &json!(true)), "{event:?}");
        assert_eq!(event.at("/sample_rate").as_f64(), Some(1.0), "{event:?}");
    }
    fleet.nothing_was_refused();
}

/// The chain's two transactions in Node are below the marketplace's calls, and those below the purchase.
fn back_to_node(fleet: &Fleet, trace: &Trace) {
    for method in ["GET", "POST"] {
        let call = trace.call("marketplace", method);
        call.assert_child_of(trace.transaction("marketplace", PURCHASE));
        call.assert_target(&fleet.node);
        trace.transaction("office", &format!("{method} /")).assert_child_of(call);
    }
}

#[tokio::test]
#[ignore = "needs INTEROP_NODE"]
async fn errors_of_both_services_are_in_one_trace() {
    let fleet = fleet(ALL).await;
    let listing = fleet.list("revert-1").await;
    let answer = fleet.order_by_way_of_node(listing).await;
    assert_eq!(answer.status, 500);

    // Node's chain answers with status 500, so the outcome of the transfer is unknown
    let trace = Trace::complete(&fleet.apm, &answer.trace_id, [5, 14, 3]).await;
    let (order, purchase) = (trace.transaction("office", ORDER), trace.transaction("marketplace", PURCHASE));
    let transfer = trace.transaction("office", "POST /");
    purchase.assert_child_of(trace.call("office", "POST"));
    back_to_node(&fleet, &trace);

    for (error, transaction) in [
        (trace.error("office", "token revert-1 is frozen"), transfer),
        (trace.error("marketplace", "the purchase is not decided yet: the transfer of the token is not confirmed; the listing shows the outcome"), purchase),
        (trace.error("office", "the marketplace answered 502"), order),
    ] {
        error.assert_child_of(transaction);
        assert_eq!(error.text("/transaction_id"), transaction.id(), "{error:?}");
        assert_eq!(transaction.text("/outcome"), "failure", "{transaction:?}");
    }
    for call in [trace.call("office", "POST"), trace.call("marketplace", "POST")] {
        assert_eq!(call.text("/outcome"), "failure", "{call:?}");
    }
    for fine in [trace.call("marketplace", "GET"), trace.transaction("office", "GET /")] {
        assert_eq!(fine.text("/outcome"), "success", "{fine:?}");
    }
    fleet.nothing_was_refused();
}

/// Servers before 8.0 are sent unsampled transactions, so they can be looked at.
#[tokio::test]
#[ignore = "needs INTEROP_NODE"]
async fn unsampled_root_makes_the_whole_trace_unsampled() {
    let old = || DevServer::builder().version("7.17.0");
    let fleet = Fleet::start(old(), Rates { node: "0", ..ALL }).await;
    let listing = fleet.list("42").await;
    let answer = fleet.order_by_way_of_node(listing).await;
    assert_eq!(answer.status, 200);
    let trace = Trace::complete(&fleet.apm, &answer.trace_id, [6, 0, 0]).await;
    let purchase = trace.transaction("marketplace", PURCHASE);
    // a call that is not sampled has no span to be the parent
    purchase.assert_child_of(trace.transaction("office", ORDER));
    unsampled(&fleet, &trace, &answer.trace_id).await;

    let fleet = Fleet::start(old(), Rates { marketplace: "0", ..ALL }).await;
    let listing = fleet.list("42").await;
    let answer = fleet.order_in_the_marketplace(listing).await;
    let trace = Trace::complete(&fleet.apm, &answer.trace_id, [5, 0, 0]).await;
    unsampled(&fleet, &trace, &answer.trace_id).await;
}

async fn unsampled(fleet: &Fleet, trace: &Trace, trace_id: &str) {
    for event in trace.of(Kind::Transaction) {
        assert_eq!(event.at("/sampled"), &json!(false), "{event:?}");
        assert_eq!(event.at("/sample_rate").as_f64(), Some(0.0), "{event:?}");
    }
    let purchase = trace.transaction("marketplace", PURCHASE);
    let calls = fleet.calls_of_the_chain(trace_id).await;
    assert_eq!(calls.len(), 2, "{calls:?}");
    for call in &calls {
        assert_eq!(call["traceparent"], format!("00-{trace_id}-{}-00", purchase.id()));
        assert_eq!(call["tracestate"], "es=s:0");
        let method = call["method"].as_str().unwrap();
        trace.transaction("office", &format!("{method} /")).assert_child_of(purchase);
    }
    fleet.nothing_was_refused();
}

#[tokio::test]
#[ignore = "needs INTEROP_NODE"]
async fn sampling_decision_is_the_same_in_both_services() {
    let fleet = fleet(Rates { node: "0.5", marketplace: "1" }).await;
    let mut unsampled = Vec::new();
    // until one that is sampled follows one that is not: then the latter would have arrived
    for token in 0.. {
        assert!(token < 64, "a coin does not fall on one side so often");
        let listing = fleet.list(&token.to_string()).await;
        let answer = fleet.order_by_way_of_node(listing).await;
        assert_eq!(answer.status, 200);
        let calls = fleet.calls_of_the_chain(&answer.trace_id).await;
        let is_sampled = calls[0]["traceparent"].as_str().unwrap().ends_with("-01");
        for call in &calls {
            let (flags, state) = if is_sampled { ("-01", "es=s:0.5") } else { ("-00", "es=s:0") };
            assert!(call["traceparent"].as_str().unwrap().ends_with(flags), "{call}");
            assert_eq!(call["tracestate"], state, "{call}");
        }
        if !is_sampled {
            unsampled.push(answer.trace_id);
            continue;
        }
        let trace = Trace::complete(&fleet.apm, &answer.trace_id, [6, 23, 0]).await;
        for kind in [Kind::Transaction, Kind::Span] {
            for event in trace.of(kind) {
                assert_eq!(event.at("/sample_rate").as_f64(), Some(0.5), "{event:?}");
            }
        }
        if !unsampled.is_empty() {
            break;
        }
    }
    for trace_id in unsampled {
        assert_eq!(fleet.apm.store().query(&Query::new().trace_id(&*trace_id)).total, 0, "{trace_id}");
    }
    fleet.nothing_was_refused();
}

impl Fleet {
    fn nothing_was_refused(&self) {
        let stats = self.apm.store().stats();
        assert_eq!((stats.rejected.events(), stats.unrecognized), (0, 0), "{:?}", stats.last_rejection);
    }
}
