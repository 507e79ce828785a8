//! The self times of all transactions of a name, summed up between two reports: Kibana's *Time spent by span type*.

use std::{borrow::Cow, cmp::Ordering};

use super::{Named, gauge};
use crate::{
    record::{Breakdown, Name, SelfTime, TransactionRecord},
    sanitize::without_queries,
};

/// Sums that are kept between two reports (agent-spec 10.4). What is beyond is left out, with one warning.
const MAX_SUMS: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Breakdowns {
    /// By name and type.
    groups: Vec<Group>,
    sums: usize,
    warned: bool,
}

/// The transactions of a name.
#[derive(Debug)]
struct Group {
    name: String,
    kind: String,
    sums: Vec<SelfTime>,
}

impl Group {
    /// The order of a name, the parts of which need not be put together to be compared, and a type. The length of the
    /// name comes first: it costs nothing, and tells most apart.
    fn compare(&self, length: usize, name: [&str; 3], kind: &str) -> Ordering {
        let mut rest = self.name.as_bytes();
        let mut order = rest.len().cmp(&length);
        for part in name {
            if order != Ordering::Equal {
                return order;
            }
            let (head, tail) = rest.split_at(part.len());
            order = head.cmp(part.as_bytes());
            rest = tail;
        }
        order.then_with(|| self.kind.as_str().cmp(kind))
    }
}

impl Breakdowns {
    pub(super) fn add(&mut self, transaction: &TransactionRecord) {
        if !transaction.sampled || !transaction.timed {
            return;
        }
        let alone = [SelfTime {
            kind: "app",
            subtype: None,
            count: 1,
            micros: u64::try_from(transaction.duration.as_micros()).unwrap_or(u64::MAX),
        }];
        let told = if transaction.self_times.is_empty() { &alone[..] } else { &transaction.self_times };
        let name = transaction.name.parts(transaction.context.request.as_ref());
        // a different name for each request would use up the sums
        let cut = match &transaction.name {
            Name::Text(name) if name.contains('?') => Some(without_queries(name).into_owned()),
            _ => None,
        };
        let name = cut.as_deref().map_or(name, |name| [name, "", ""]);
        let length = name.iter().map(|part| part.len()).sum();
        let at = match self.groups.binary_search_by(|group| group.compare(length, name, &transaction.kind)) {
            Ok(at) => at,
            Err(_) if self.sums == MAX_SUMS => return self.warn(),
            Err(at) => {
                let group = Group { name: name.concat(), kind: transaction.kind.to_string(), sums: Vec::new() };
                self.groups.insert(at, group);
                at
            }
        };
        for one in told {
            self.sum(at, one);
        }
    }

    fn sum(&mut self, at: usize, one: &SelfTime) {
        let sums = &mut self.groups[at].sums;
        if let Some(sum) = sums.iter_mut().find(|sum| sum.kind == one.kind && sum.subtype == one.subtype) {
            sum.count = sum.count.saturating_add(one.count);
            sum.micros = sum.micros.saturating_add(one.micros);
        } else if self.sums < MAX_SUMS {
            self.sums += 1;
            sums.push(one.clone());
        } else {
            self.warn();
        }
    }

    fn warn(&mut self) {
        if !std::mem::replace(&mut self.warned, true) {
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
        std::mem::take(&mut self.groups).into_iter().flat_map(|Group { name, kind, sums }| {
            sums.into_iter().map(move |sum| {
                let breakdown = Breakdown {
                    transaction_name: name.clone(),
                    transaction_kind: kind.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_parts_compare_like_the_whole_name() {
        let names = ["", "G", "é", "GET ", "GET /", "GET /a", "GET /b", "settle", "GÉT /a", "GET /aé"];
        for (at, name) in names.iter().enumerate() {
            let group = Group { name: (*name).to_owned(), kind: "request".to_owned(), sums: Vec::new() };
            for (other_at, other) in names.iter().enumerate() {
                for cut in (0..=other.len()).filter(|cut| other.is_char_boundary(*cut)) {
                    let parts = [&other[..cut], "", &other[cut..]];
                    assert_eq!(group.compare(other.len(), parts, "request"), at.cmp(&other_at), "{name:?} {parts:?}");
                }
            }
            assert_eq!(group.compare(name.len(), [name, "", ""], "scheduled"), Ordering::Less);
        }
    }

    // spec: metrics.md
    #[test]
    fn breakdown_sums_are_limited() {
        let mut breakdowns = Breakdowns::default();
        let one = SelfTime { kind: "app", subtype: None, count: 1, micros: 1 };
        breakdowns.groups.push(Group { name: "a".to_owned(), kind: "b".to_owned(), sums: Vec::new() });
        for n in 0..2 * MAX_SUMS {
            breakdowns.sum(0, &SelfTime { subtype: Some(n.to_string().into()), ..one.clone() });
        }
        assert!(breakdowns.warned);
        assert_eq!(breakdowns.take().count(), MAX_SUMS);
        assert_eq!(breakdowns.take().count(), 0);
    }
}
