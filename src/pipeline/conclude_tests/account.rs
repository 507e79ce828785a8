//! The account of events is exact whatever the server does.

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, RngSeed, TestRunner},
};

use super::*;

/// One thing that happens to a worker.
#[derive(Debug, Clone)]
enum Step {
    Record(u64),
    RecordUnencodable,
    Answer(Answer),
    Up(bool),
    Largest(usize),
    Huge(u64),
    Flush,
    /// Events are recorded while a caller waits for the previous events.
    FlushAndRecord(u64),
}

fn answer() -> impl Strategy<Value = Answer> {
    let few = 0_u64..30;
    prop_oneof![
        Just(Answer::Take),
        few.clone().prop_map(Answer::Reject),
        few.clone().prop_map(Answer::TakeFirst),
        few.clone().prop_map(Answer::TakeUnknown),
        few.clone().prop_map(Answer::Front),
        few.prop_map(Answer::GiveUp),
        Just(Answer::TooLarge),
        Just(Answer::Refuse),
        (0_u64..20).prop_map(|wait| Answer::AskToWait(Duration::from_millis(wait))),
        Just(Answer::Fail),
        Just(Answer::Cut),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u64..40).prop_map(Step::Record),
        1 => Just(Step::RecordUnencodable),
        6 => answer().prop_map(Step::Answer),
        2 => any::<bool>().prop_map(Step::Up),
        1 => (1_usize..20).prop_map(Step::Largest),
        1 => (100_u64..300).prop_map(Step::Huge),
        2 => Just(Step::Flush),
        2 => (1_u64..20).prop_map(Step::FlushAndRecord),
    ]
}

/// How a worker ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Shutdown,
    ShutdownInAnOutage,
    Drop,
}

fn live(steps: Vec<Step>, sizes: (usize, usize, usize), end: End) {
    let mut rig = Rig::new(sizes.0, sizes.1, sizes.2);
    // attempts up to the end of a flush, and the first event that was recorded after its beginning
    let mut delivered = Vec::new();
    for step in steps {
        match step {
            Step::Record(events) => rig.record(events),
            Step::RecordUnencodable => rig.push(UNENCODABLE),
            Step::Answer(answer) => rig.script([answer]),
            Step::Up(is_up) => rig.change(|server| server.is_up = is_up),
            Step::Largest(largest) => rig.change(|server| server.largest = largest),
            Step::Huge(id) => rig.change(|server| server.huge.extend([id])),
            Step::Flush => {
                if rig.flush(Duration::from_millis(5)).is_ok() {
                    assert_eq!(rig.stats().waiting, 0);
                }
            }
            Step::FlushAndRecord(events) => {
                let first_later = rig.next;
                let flush = rig.worker.flush(Duration::from_millis(5));
                (0..events).for_each(|_| rig.push(UNENCODABLE));
                rig.record(events);
                if block_on(flush).is_ok() {
                    delivered.push((rig.attempts().len(), first_later));
                }
            }
        }
        rig.stats();
    }
    rig.change(|server| {
        server.script.clear();
        server.is_up = true;
    });
    // each flush ends a back-off, and the attempt under way may still fail
    until(|| rig.flush(Duration::from_millis(100)).is_ok());
    let is_up = !matches!(end, End::ShutdownInAnOutage);
    rig.change(|server| server.is_up = is_up);
    rig.record(sizes.1.min(25) as u64);
    let Rig { queue, worker, server, .. } = rig;
    let drops_before = queue.stats().dropped.shutdown;
    match end {
        End::Shutdown => block_on(worker.shutdown(SOON)).unwrap(),
        End::ShutdownInAnOutage => drop(worker.shutdown_blocking(Duration::from_millis(20))),
        End::Drop => {
            drop(worker);
            until(|| queue.stats().waiting == 0);
        }
    }
    let (stats, server) = (queue.stats(), server.lock().unwrap());
    let Stats { recorded, accepted, rejected, dropped, waiting, backlog_events, .. } = stats;
    assert_eq!((waiting, backlog_events, recorded), (0, 0, accepted + rejected + dropped.total()), "{stats}");
    assert!(server.settled.is_sorted_by(|before, after| before < after), "once, and in order: {:?}", server.settled);
    for (attempts, first_later) in delivered {
        let later = server.attempts[attempts..].iter().flat_map(|(_, ids)| ids).min();
        assert!(later.is_none_or(|id| *id >= first_later), "{later:?} was sent after a flush that succeeded");
    }
    let never_sent = dropped.queue_full + dropped.unencodable + dropped.too_large + dropped.shutdown;
    let given_up_by_the_worker = recorded - never_sent - server.settled.len() as u64;
    assert!(given_up_by_the_worker <= dropped.outcome_unknown, "{stats}");
    if is_up {
        assert_eq!(dropped.shutdown, drops_before, "{stats}");
    }
}

#[test]
fn stats_account_for_every_event_under_any_server_behaviour() {
    let config = Config { cases: 150, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() };
    let sizes = (1_usize..30, 1_usize..100, 0_usize..200);
    let end = prop_oneof![Just(End::Shutdown), Just(End::ShutdownInAnOutage), Just(End::Drop)];
    let tested = TestRunner::new(config).run(&(vec(step(), 0..30), sizes, end), |(steps, sizes, end)| {
        live(steps, sizes, end);
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}
