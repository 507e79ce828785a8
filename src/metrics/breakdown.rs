//! The self times of all transactions of a name, summed up between two reports: Kibana's *Time spent by span type*.

use std::{borrow::Cow, collections::HashMap};

use super::{Named, gauge};
use crate::record::{Breakdown, SelfTime, TransactionRecord};

/// Sums that are kept between two reports (agent-spec 10.4). What is beyond is left out, with one warning.
const MAX_SUMS: usize = 1000;

/// By the transaction's type and name.
type ByName = HashMap<String, HashMap<String, Vec<SelfTime>>>;

#[derive(Debug, Default)]
pub(super) struct Breakdowns {
    by_type: ByName,
    sums: usize,
    warned: bool,
}

impl Breakdowns {
    pub(super) fn add(&mut self, transaction: &TransactionRecord) {
        if !transaction.sampled {
            return;
        }
        let alone = [SelfTime {
            kind: "app",
            subtype: None,
            count: 1,
            micros: u64::try_from(transaction.duration.as_micros()).unwrap_or(u64::MAX),
        }];
        let told = if transaction.self_times.is_empty() { &alone[..] } else { &transaction.self_times };
        for one in told {
            self.sum(&transaction.kind, &transaction.display_name(), one);
        }
    }

    fn sum(&mut self, kind: &str, name: &str, one: &SelfTime) {
        let is_it = |sum: &&mut SelfTime| sum.kind == one.kind && sum.subtype == one.subtype;
        let known = self.by_type.get_mut(kind).and_then(|by_name| by_name.get_mut(name));
        if let Some(sum) = known.and_then(|sums| sums.iter_mut().find(is_it)) {
            sum.count = sum.count.saturating_add(one.count);
            sum.micros = sum.micros.saturating_add(one.micros);
        } else if self.sums < MAX_SUMS {
            self.sums += 1;
            let by_name = self.by_type.entry(kind.to_owned()).or_default();
            by_name.entry(name.to_owned()).or_default().push(one.clone());
        } else if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                target: "tower_apm",
                "more than {MAX_SUMS} names of transactions, with the types of their spans, within one \
                 metrics_interval: the time spent by span type is not told of further ones"
            );
        }
    }

    /// All sums; the next report begins at nothing.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Breakdown, [Named; 2])> + use<> {
        self.sums = 0;
        let all = std::mem::take(&mut self.by_type).into_iter();
        let all =
            all.flat_map(|(kind, by_name)| by_name.into_iter().map(move |(name, sums)| (kind.clone(), name, sums)));
        all.flat_map(|(transaction_kind, transaction_name, sums)| {
            sums.into_iter().map(move |sum| {
                let breakdown = Breakdown {
                    transaction_name: transaction_name.clone(),
                    transaction_kind: transaction_kind.clone(),
                    span_kind: sum.kind.to_owned(),
                    span_subtype: sum.subtype.map(Cow::into_owned),
                };
                let samples = [
                    gauge("span.self_time.count", sum.count.into()),
                    gauge("span.self_time.sum.us", sum.micros as f64),
                ];
                (breakdown, samples)
            })
        })
    }
}
