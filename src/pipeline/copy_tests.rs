use std::collections::VecDeque;

use super::*;
use crate::{pipeline::Rejection, record::MetricsRecord};

/// Answers by a script, then takes everything; None never answers.
#[derive(Default)]
struct Fake {
    open: u64,
    script: Mutex<VecDeque<Option<Delivery>>>,
    sent: Arc<Mutex<Vec<u64>>>,
}

struct FakeBatch(u64);

impl Batch for FakeBatch {
    fn events(&self) -> u64 {
        self.0
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.0)
    }

    fn memory(&self) -> usize {
        self.0 as usize
    }

    fn without(self, taken: u64) -> Self {
        Self(self.0 - taken)
    }
}

impl Exporter for Fake {
    type Batch = FakeBatch;

    fn describe(&mut self, _: &Resource) {}

    fn add(&mut self, event: Event) -> Result<Added, String> {
        match event {
            Event::Metrics(record) if record.timestamp == 666 => Err("the devil is in it".into()),
            _ => {
                self.open += 1;
                Ok(Added::Taken)
            }
        }
    }

    fn is_full(&self) -> bool {
        false
    }

    fn close(&mut self) -> Option<FakeBatch> {
        (self.open > 0).then(|| FakeBatch(std::mem::take(&mut self.open)))
    }

    fn send(&self, batch: &FakeBatch) -> impl Future<Output = Delivery> + Send + 'static {
        self.sent.lock().unwrap().push(batch.0);
        let answer = self.script.lock().unwrap().pop_front().unwrap_or_else(|| Some(taken()));
        async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
    }
}

fn taken() -> Delivery {
    Delivery::Decided { rejected: 0, reasons: Vec::new() }
}

fn failed() -> Delivery {
    Delivery::Failed { reason: "refused".into(), cause: FailureCause::NoAnswer }
}

fn event(timestamp: u64) -> Event {
    Event::Metrics(Box::new(MetricsRecord { timestamp, samples: Vec::new(), labels: Vec::new(), breakdown: None }))
}

struct Rig {
    both: WithCopy<Fake, Fake>,
    queue: Queue,
    copies_sent: Arc<Mutex<Vec<u64>>>,
}

impl Rig {
    fn new<const F: usize, const C: usize>(first: [Option<Delivery>; F], copies: [Option<Delivery>; C]) -> Self {
        let fake = |script: Vec<_>| Fake { script: Mutex::new(script.into()), ..Fake::default() };
        let (first, copies) = (fake(first.into()), fake(copies.into()));
        let queue = Queue::new(10, usize::MAX);
        let copies_sent = copies.sent.clone();
        Self { both: WithCopy::new(first, copies, queue.clone()), queue, copies_sent }
    }

    fn batch(&mut self, events: u64) -> Pair<FakeBatch, FakeBatch> {
        (0..events).for_each(|_| assert_eq!(self.both.add(event(0)), Ok(Added::Taken)));
        self.both.close().unwrap()
    }

    fn copies(&self) -> (u64, u64, u64) {
        let SecondaryStats { accepted, rejected, dropped } = self.queue.stats().copies;
        (accepted, rejected, dropped)
    }
}

#[tokio::test]
async fn delivery_is_that_of_the_primary_exporter() {
    let no = Delivery::Decided { rejected: 1, reasons: vec![Rejection { message: "no".into() }] };
    let mut rig = Rig::new([Some(failed()), None], [Some(no)]);
    let batch = rig.batch(3);
    assert_eq!(batch.events(), 3);
    assert_eq!(rig.both.send(&batch).await, failed());
    assert_eq!(rig.copies(), (2, 1, 0));
}

#[tokio::test]
async fn copy_is_sent_once_if_the_original_is_retried() {
    let mut rig = Rig::new([Some(failed())], []);
    let batch = rig.batch(3);
    assert_eq!(rig.both.send(&batch).await, failed());
    assert_eq!(rig.both.send(&batch.without(1)).await, taken());
    assert_eq!(*rig.copies_sent.lock().unwrap(), [3]);
    assert_eq!(rig.copies(), (3, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn copy_without_a_response_is_dropped() {
    let mut rig = Rig::new([], [None]);
    let batch = rig.batch(2);
    assert_eq!(rig.both.send(&batch).await, taken());
    assert_eq!(rig.copies(), (0, 0, 2));
}

#[tokio::test]
async fn copies_are_paused_after_failures() {
    let mut rig = Rig::new([], [Some(failed()), Some(failed())]);
    for _ in 0..4 {
        let batch = rig.batch(1);
        assert_eq!(rig.both.send(&batch).await, taken());
    }
    assert_eq!(rig.copies(), (0, 0, 4));
    assert_eq!(rig.copies_sent.lock().unwrap().len(), 2, "the first back-off is none");
}

#[tokio::test]
async fn events_that_cannot_be_copied_are_counted_separately() {
    let mut rig = Rig::new([], []);
    assert!(rig.both.add(event(666)).is_err());
    assert_eq!(rig.copies(), (0, 0, 1));
    assert!(rig.both.close().is_none());
}
