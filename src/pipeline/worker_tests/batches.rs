//! Batches: when they close, and what the answers of the server mean for their events.

use super::*;

// spec: transport.md
#[test]
fn flush_delivers_events_recorded_before_it() {
    let rig = Rig::new(100, []);
    rig.record(10);
    block_on(rig.worker.flush(SOON)).unwrap();
    assert_eq!(rig.sent(), [10]);
    let stats = rig.queue.stats();
    assert_eq!((stats.accepted, stats.waiting), (10, 0));
    block_on(rig.worker.flush(SOON)).unwrap();
    assert_eq!(rig.sent(), [10], "no empty batch is sent");
}

// spec: transport.md
#[test]
fn batch_closes_by_size() {
    let rig = Rig::new(4, []);
    rig.record(10);
    block_on(rig.worker.flush(SOON)).unwrap();
    assert_eq!(rig.sent(), [4, 4, 2]);
}

#[test]
fn refused_batch_is_sent_again() {
    let rig = Rig::new(100, [failed(false)]);
    rig.record(3);
    block_on(rig.worker.flush(SOON)).unwrap();
    assert_eq!(rig.sent(), [3, 3]);
    assert_eq!(rig.queue.stats().accepted, 3);
}

#[test]
fn partly_accepted_batch_continues_after_the_accepted_events() {
    let partly = Delivery::Partly { accepted: 4, rejected: 1, reasons: Vec::new(), retry_after: None };
    let rig = Rig::new(100, [partly]);
    rig.record(7);
    block_on(rig.worker.flush(SOON)).unwrap();
    assert_eq!(rig.sent(), [7, 2]);
    let stats = rig.queue.stats();
    assert_eq!((stats.accepted, stats.rejected, stats.waiting), (6, 1, 0));
}

#[test]
fn undecided_events_of_a_batch_are_sent_next_and_unsupported_ones_are_counted() {
    let front = |events, rejected| Delivery::Front { events, rejected, reasons: Vec::new() };
    let rest = |given_up| Delivery::GivenUp { rejected: 1, given_up, reasons: Vec::new(), why: "no".into() };
    // the second batch's answers claim too much
    let rig = Rig::new(100, [front(6, 2), rest(3), front(7, 99), rest(99)]);
    for _ in 0..2 {
        rig.record(10);
        block_on(rig.worker.flush(SOON)).unwrap();
    }
    assert_eq!(rig.sent(), [10, 4, 10, 3]);
    let stats = rig.queue.stats();
    assert_eq!((stats.accepted, stats.rejected, stats.dropped.unsupported), (4, 2 + 1 + 7, 3 + 3), "{stats}");
    assert_eq!(stats.waiting, 0);
}

#[test]
fn events_with_an_unknown_outcome_are_counted_and_not_sent_again() {
    let unknown = Delivery::OutcomeUnknown { accepted: 2, rejected: 5, reasons: Vec::new(), retry_after: None };
    let rig = Rig::new(100, [unknown]);
    rig.record(10);
    block_on(rig.worker.flush(SOON)).unwrap();
    assert_eq!(rig.sent(), [10]);
    let stats = rig.queue.stats();
    assert_eq!((stats.accepted, stats.rejected, stats.dropped.outcome_unknown), (2, 5, 3));
}

#[test]
fn rejected_and_unencodable_events_are_counted() {
    let rig = Rig::new(100, [rejected(2)]);
    rig.record(5);
    rig.queue.push(event(666));
    block_on(rig.worker.flush(SOON)).unwrap();
    let stats = rig.queue.stats();
    assert_eq!((stats.accepted, stats.rejected, stats.dropped.unencodable, stats.waiting), (3, 2, 1, 0));
}

#[test]
fn panic_while_an_event_is_encoded_drops_that_event_only() {
    let rig = Rig::new(100, []);
    for round in 1..=2 {
        rig.record(1);
        rig.queue.push(event(667));
        rig.record(1);
        block_on(rig.worker.flush(SOON)).unwrap();
        let stats = rig.queue.stats();
        assert_eq!((stats.accepted, stats.dropped.unencodable, stats.waiting), (2 * round, round, 0));
    }
    assert_eq!(rig.sent(), [2, 2]);
}

#[test]
fn answer_with_more_events_than_the_batch_keeps_the_account_exact() {
    let partly = Delivery::Partly { accepted: 1000, rejected: 7, reasons: Vec::new(), retry_after: None };
    let rig = Rig::new(100, [rejected(1000), partly]);
    rig.record(5);
    block_on(rig.worker.flush(SOON)).unwrap();
    rig.record(5);
    block_on(rig.worker.flush(SOON)).unwrap();
    let stats = rig.queue.stats();
    assert_eq!(stats.recorded, stats.accepted + stats.rejected);
}

#[test]
fn batch_on_which_the_server_fails_repeatedly_is_dropped() {
    let attempts = 2 * MAX_SERVER_ERRORS as usize;
    let rig = Rig::new(100, (0..attempts).map(|_| failed(true)));
    rig.record(1);
    // every flush ends the back-off
    let given_up = || rig.queue.stats().dropped.outcome_unknown == 1;
    for _ in 0..attempts {
        if given_up() {
            break;
        }
        let _ = block_on(rig.worker.flush(Duration::from_millis(100)));
    }
    assert!(given_up(), "{}", rig.queue.stats());
}

#[test]
fn unsupported_events_are_counted() {
    let rig = Rig::new(100, []);
    rig.queue.push(event(668));
    rig.record(1);
    block_on(rig.worker.flush(SOON)).unwrap();
    let stats = rig.queue.stats();
    assert_eq!((stats.accepted, stats.dropped.unsupported, stats.waiting), (1, 1, 0));
}
