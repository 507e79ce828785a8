//! The ledger of the embedded chain: the orders that it has settled or refused.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use super::rpc::{Receipt, RpcError, SettledTransfer, Transfer};

/// The number of orders that the chain remembers. Above this number, the chain forgets the oldest order.
const REMEMBERED_ORDERS: usize = 10_000;

/// Error codes of the JSON-RPC specification and of Ethereum's nodes.
mod code {
    pub(super) const INVALID_PARAMS: i64 = -32602;
    pub(super) const REVERTED: i64 = 3;
}

/// The orders of the chain. Settled and refused orders are remembered, so that each order has one outcome.
///
/// The ledger is in memory and remembers the last 10 000 orders. After a restart of the chain, or 10 000 orders later, a repeated
/// call for an order is a new transfer.
#[derive(Debug)]
pub(super) struct Ledger {
    state: Mutex<State>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    blocks: u64,
    outcomes: HashMap<String, Outcome>,
    /// The order ids of `outcomes`, the oldest first.
    orders: VecDeque<String>,
}

#[derive(Debug)]
struct Outcome {
    transfer: Transfer,
    result: Result<Receipt, RpcError>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::with_capacity(REMEMBERED_ORDERS)
    }
}

impl Ledger {
    fn with_capacity(capacity: usize) -> Self {
        Self { state: Mutex::default(), capacity }
    }

    /// Returns the outcome of the order if the order is decided.
    pub(super) fn outcome(&self, transfer: &Transfer) -> Option<Result<Receipt, RpcError>> {
        self.with_state(|state| state.outcome(transfer))
    }

    /// Decides the order, or returns its earlier outcome.
    pub(super) fn decide(&self, transfer: &Transfer) -> Result<Receipt, RpcError> {
        self.with_state(|state| {
            if let Some(outcome) = state.outcome(transfer) {
                return outcome;
            }
            let result = state.settle(transfer);
            let outcome = Outcome { transfer: transfer.clone(), result: result.clone() };
            state.outcomes.insert(transfer.order_id.clone(), outcome);
            state.orders.push_back(transfer.order_id.clone());
            if state.orders.len() > self.capacity
                && let Some(oldest) = state.orders.pop_front()
            {
                state.outcomes.remove(&oldest);
            }
            result
        })
    }

    /// Returns the settled transfers that are remembered, the oldest first.
    pub(super) fn transfers(&self) -> Vec<SettledTransfer> {
        self.with_state(|state| {
            let outcomes = state.orders.iter().filter_map(|order| state.outcomes.get(order));
            let settled = outcomes.filter_map(|Outcome { transfer, result }| {
                let Receipt { tx_hash, block } = result.clone().ok()?;
                Some(SettledTransfer { transfer: transfer.clone(), tx_hash, block })
            });
            settled.collect()
        })
    }

    fn with_state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn outcome(&self, transfer: &Transfer) -> Option<Result<Receipt, RpcError>> {
        let outcome = self.outcomes.get(&transfer.order_id)?;
        if outcome.transfer == *transfer {
            return Some(outcome.result.clone());
        }
        let message = format!("order {} is another transfer", transfer.order_id);
        Some(Err(RpcError { code: code::INVALID_PARAMS, message }))
    }

    fn settle(&mut self, transfer: &Transfer) -> Result<Receipt, RpcError> {
        let token_id = transfer.token_id.strip_prefix("slow-").unwrap_or(&transfer.token_id);
        if token_id.starts_with("revert-") {
            let message = format!("execution reverted: token {} is frozen by its contract", transfer.token_id);
            return Err(RpcError { code: code::REVERTED, message });
        }
        self.blocks += 1;
        Ok(Receipt { tx_hash: transaction_hash(transfer, self.blocks), block: self.blocks })
    }
}

/// Returns 64 hexadecimal digits, different for each block. This is not a cryptographic hash: the example does not need one.
fn transaction_hash(transfer: &Transfer, block: u64) -> String {
    let part = |index: u64| {
        let mut hasher = DefaultHasher::new();
        (index, block, &transfer.order_id, &transfer.token_id, &transfer.from, &transfer.to).hash(&mut hasher);
        hasher.finish()
    };
    format!("0x{:016x}{:016x}{:016x}{:016x}", part(0), part(1), part(2), part(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(order_id: &str, token_id: &str) -> Transfer {
        let [from, to, price] = ["alice", "bob", "1"].map(str::to_owned);
        Transfer { order_id: order_id.to_owned(), token_id: token_id.to_owned(), from, to, price }
    }

    #[test]
    fn order_is_settled_once() {
        let ledger = Ledger::default();
        let first = ledger.decide(&transfer("a", "42")).unwrap();
        assert_eq!(ledger.decide(&transfer("a", "42")), Ok(first.clone()));
        assert_eq!(ledger.outcome(&transfer("a", "42")), Some(Ok(first.clone())));
        let second = ledger.decide(&transfer("b", "42")).unwrap();
        assert!(second.tx_hash != first.tx_hash && second.block == first.block + 1, "{first:?} {second:?}");
        let orders: Vec<_> = ledger.transfers().into_iter().map(|settled| settled.transfer.order_id).collect();
        assert_eq!(orders, ["a", "b"]);
    }

    #[test]
    fn refusal_is_remembered_and_not_listed() {
        let ledger = Ledger::default();
        let refusal = ledger.decide(&transfer("a", "revert-1")).unwrap_err();
        assert_eq!(refusal.code, code::REVERTED);
        assert_eq!(ledger.outcome(&transfer("a", "revert-1")), Some(Err(refusal)));
        assert!(ledger.transfers().is_empty());
    }

    #[test]
    fn order_id_of_another_transfer_is_refused() {
        let ledger = Ledger::default();
        ledger.decide(&transfer("a", "42")).unwrap();
        assert_eq!(ledger.decide(&transfer("a", "43")).unwrap_err().code, code::INVALID_PARAMS);
        assert_eq!(ledger.transfers().len(), 1);
    }

    #[test]
    fn oldest_orders_are_forgotten() {
        let ledger = Ledger::with_capacity(2);
        for order in ["a", "b", "c"] {
            ledger.decide(&transfer(order, "42")).unwrap();
        }
        assert_eq!(ledger.outcome(&transfer("a", "42")), None);
        assert!(ledger.outcome(&transfer("b", "42")).is_some());
        assert_eq!((ledger.transfers().len(), ledger.with_state(|state| state.outcomes.len())), (2, 2));
    }
}
