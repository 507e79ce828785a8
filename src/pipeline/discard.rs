//! Where events go when nothing is to be sent.

use std::future::Future;

use super::{Added, Batch, Delivery, Exporter};
use crate::record::{Event, Resource};

/// `disable_send`: takes everything, sends nothing.
#[derive(Debug, Default)]
pub(crate) struct Discard {
    events: u64,
}

#[derive(Debug)]
pub(crate) struct Discarded(u64);

impl Exporter for Discard {
    type Batch = Discarded;

    fn describe(&mut self, _: &Resource) {}

    fn add(&mut self, _: Event) -> Result<Added, String> {
        self.events += 1;
        Ok(Added::Taken)
    }

    fn is_full(&self) -> bool {
        false
    }

    fn close(&mut self) -> Option<Discarded> {
        let events = std::mem::take(&mut self.events);
        (events > 0).then_some(Discarded(events))
    }

    fn send(&self, _: &Discarded) -> impl Future<Output = Delivery> + Send + 'static {
        std::future::ready(Delivery::Disabled)
    }
}

impl Batch for Discarded {
    fn events(&self) -> u64 {
        self.0
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn memory(&self) -> usize {
        size_of::<Self>()
    }

    fn without(self, taken: u64) -> Self {
        Self(self.0.saturating_sub(taken))
    }
}
