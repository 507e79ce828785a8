//! The invariants of the state when no request is in progress.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::{
    ledger::{ChangeId, Ledger, Outcome},
    state::{Listing, Row, State, Transfer},
};

/// Descriptions of violated invariants.
pub(crate) type Problems = Vec<String>;

/// Checks all invariants: compares the state with the ledger of the clients.
pub(crate) fn check(state: &State, ledger: &Ledger) -> Problems {
    let mut problems = Problems::new();
    check_history(state, ledger, &mut problems);
    check_orders(state, ledger, &mut problems);
    check_balances(state, &mut problems);
    problems
}

fn order_of(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix("order:")?.rsplit_once(':')
}

/// Checks that the history contains each accepted change once, and otherwise only the changes of orders.
fn check_history(state: &State, ledger: &Ledger, problems: &mut Problems) {
    let changes = ledger.changes();
    let mut booked: HashMap<ChangeId, Vec<i64>> = HashMap::new();
    for Row { user, key, amount } in &state.history {
        booked.entry((user.clone(), key.clone())).or_default().push(*amount);
    }
    for (id, amounts) in &booked {
        if amounts.len() > 1 {
            problems.push(format!("{} rows {amounts:?}: {}", amounts.len(), ledger.describe(id)));
        }
        let accepted = matches!(changes.get(id), Some(sent) if matches!(sent.outcome, Some(Outcome::Accepted(_))));
        if !accepted && order_of(&id.1).is_none() {
            problems.push(format!("a row {amounts:?} of a change that was not accepted: {}", ledger.describe(id)));
        }
    }
    for (id, sent) in &changes {
        match (sent.outcome, booked.get(id).and_then(|amounts| amounts.first())) {
            (Some(Outcome::Accepted(_)), Some(amount)) if *amount == sent.amount => {}
            (Some(Outcome::Accepted(_)), row) => {
                problems.push(format!("an accepted change has the row {row:?}: {}", ledger.describe(id)));
            }
            (Some(Outcome::Refused(_)), _) => {}
            (None, _) => problems.push(format!("undecided: {}", ledger.describe(id))),
        }
    }
    // A debit can only spend money whose credit was already in the log.
    let mut sums: HashMap<&str, i64> = HashMap::new();
    for Row { user, key, amount } in &state.history {
        let sum = sums.entry(user).or_default();
        *sum += amount;
        if *sum < 0 {
            problems.push(format!("the history of {user} is {sum} after {key}"));
        }
    }
}

/// Checks that the listings, the chain and the changes of orders agree.
fn check_orders(state: &State, ledger: &Ledger, problems: &mut Problems) {
    let mut orders: BTreeMap<&str, BTreeSet<(&str, &str, i64)>> = BTreeMap::new();
    for Row { user, key, amount } in &state.history {
        if let Some((order, step)) = order_of(key) {
            orders.entry(order).or_default().insert((step, user, *amount));
        }
    }
    let mut transfers: HashMap<&str, Vec<&Transfer>> = HashMap::new();
    for transfer in &state.transfers {
        transfers.entry(&transfer.order_id).or_default().push(transfer);
    }
    let mut sold = HashSet::new();
    for listing in &state.listings {
        match (listing.status.as_str(), &listing.order_id) {
            ("open", None) => {}
            ("sold", Some(order)) => {
                sold.insert(order.as_str());
                if let Err(problem) = check_sale(listing, transfers.get(order.as_str()), orders.get(order.as_str())) {
                    problems.push(format!("{listing:?}: {problem}, {:?}", orders.get(order.as_str())));
                }
            }
            _ => problems.push(format!("not settled: {listing:?}")),
        }
    }
    for (order, transfers) in &transfers {
        if !sold.contains(order) {
            problems.push(format!("{transfers:?} of an order without a sale: {:?}", orders.get(order)));
        }
    }
    for (order, changes) in &orders {
        if !sold.contains(order) && !is_refunded(changes) {
            problems.push(format!("order {order} was not sold, but has the changes {changes:?}"));
        }
    }
    let listings: HashMap<i64, &Listing> = state.listings.iter().map(|listing| (listing.id, listing)).collect();
    for (id, receipt) in ledger.receipts() {
        let agrees = listings.get(&id).is_some_and(|listing| {
            listing.order_id.as_ref() == Some(&receipt.order_id)
                && listing.buyer.as_ref() == Some(&receipt.buyer)
                && listing.tx_hash.as_ref() == Some(&receipt.tx_hash)
        });
        if !agrees {
            problems.push(format!("{receipt:?} does not agree with {:?}", listings.get(&id)));
        }
    }
}

fn check_sale(
    listing: &Listing,
    transfers: Option<&Vec<&Transfer>>,
    changes: Option<&BTreeSet<(&str, &str, i64)>>,
) -> Result<(), String> {
    let buyer = listing.buyer.as_deref().ok_or("no buyer")?;
    match transfers.map(Vec::as_slice) {
        Some([transfer]) => {
            let agrees = transfer.from == listing.seller
                && transfer.to == buyer
                && Some(&transfer.tx_hash) == listing.tx_hash.as_ref();
            if !agrees {
                return Err(format!("another transfer: {transfer:?}"));
            }
        }
        other => return Err(format!("transfers {other:?}")),
    }
    let expected = BTreeSet::from([("pay", buyer, -listing.price), ("payout", listing.seller.as_str(), listing.price)]);
    if changes == Some(&expected) { Ok(()) } else { Err(format!("changes instead of {expected:?}")) }
}

/// Returns whether an order without a sale has a payment and a refund of the same buyer.
fn is_refunded(changes: &BTreeSet<(&str, &str, i64)>) -> bool {
    let mut changes = changes.iter();
    match (changes.next(), changes.next(), changes.next()) {
        (Some(("pay", payer, paid)), Some(("refund", buyer, refunded)), None) => {
            payer == buyer && *paid < 0 && paid + refunded == 0
        }
        _ => false,
    }
}

/// Checks that both APIs return the sum of the history for each user.
fn check_balances(state: &State, problems: &mut Problems) {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for Row { user, amount, .. } in &state.history {
        *sums.entry(user).or_default() += amount;
    }
    for (api, balances) in state.balances.iter().enumerate() {
        for (user, balance) in balances {
            let sum = sums.get(user.as_str()).copied().unwrap_or_default();
            if *balance != sum {
                problems.push(format!("api-{}: {user} has {balance}, but the history sums up to {sum}", api + 1));
            }
        }
        let (total, booked) = (balances.values().sum::<i64>(), sums.values().sum::<i64>());
        if total != booked {
            problems.push(format!("api-{}: the balances sum up to {total}, the changes to {booked}", api + 1));
        }
    }
}
