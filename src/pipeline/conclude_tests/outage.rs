//! Outages, refusals and batches that are too large: which events are sent, in which order, and when.

use super::*;

#[test]
fn backlog_keeps_events_of_an_outage_and_is_sent_in_order() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.change(|server| server.is_up = false);
    rig.record_slowly(200);
    until(|| rig.stats().backlog_events == 190);
    let stats = rig.stats();
    assert_eq!((stats.recorded, stats.waiting, stats.dropped.total()), (200, 200, 0), "{stats}");
    assert_eq!(stats.backlog_bytes, 190 * PACKED as u64);
    rig.change(|server| server.is_up = true);
    rig.flush(SOON).unwrap();
    assert_eq!(rig.settled(), (100..300).collect::<Vec<_>>());
    let stats = rig.stats();
    assert_eq!((stats.accepted, stats.waiting, stats.backlog_events, stats.backlog_bytes), (200, 0, 0, 0), "{stats}");
}

#[test]
fn full_backlog_leaves_events_in_the_queue_and_the_newest_are_dropped() {
    let mut rig = Rig::new(10, 20, 30);
    rig.change(|server| server.is_up = false);
    // a current batch, three in the backlog, one open
    rig.record_slowly(50);
    rig.record(33);
    let stats = rig.stats();
    assert_eq!((stats.backlog_events, stats.waiting, stats.dropped.queue_full), (30, 70, 13), "{stats}");
    rig.change(|server| server.is_up = true);
    rig.flush(SOON).unwrap();
    assert_eq!(rig.settled(), (100..170).collect::<Vec<_>>());
    assert_eq!(rig.stats().accepted, 70);
}

#[test]
fn without_a_backlog_events_stay_in_the_queue() {
    let mut rig = Rig::new(10, 20, 0);
    rig.change(|server| server.is_up = false);
    rig.record_slowly(20);
    rig.record(25);
    assert_eq!((rig.stats().backlog_events, rig.stats().dropped.queue_full), (0, 5));
}

#[test]
fn shutdown_counts_undelivered_backlog_events() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.change(|server| server.is_up = false);
    rig.record_slowly(55);
    let unsent = rig.worker.shutdown_blocking(Duration::from_millis(50)).unwrap_err();
    assert_eq!(unsent.waiting, 55);
    let stats = rig.stats();
    assert_eq!((stats.dropped.shutdown, stats.waiting, stats.backlog_events, stats.backlog_bytes), (55, 0, 0, 0));
}

#[test]
fn shutdown_delivers_the_backlog_first() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.change(|server| server.is_up = false);
    rig.record_slowly(55);
    rig.change(|server| server.is_up = true);
    block_on(rig.worker.shutdown(SOON)).unwrap();
    assert_eq!(rig.settled(), (100..155).collect::<Vec<_>>());
}

#[test]
fn backlog_is_sent_before_the_backoff_ends_if_a_probe_succeeds() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.change(|server| server.is_up = false);
    rig.record_slowly(35);
    rig.fail_often();
    rig.change(|server| server.is_up = true);
    // the back-off takes 25 s at least
    until(|| rig.stats().accepted >= 30);
    assert_eq!(rig.settled()[..30], (100..130).collect::<Vec<_>>());
}

#[test]
fn probes_do_not_shorten_the_backoff_if_the_server_refuses_batches() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.script([Answer::Refuse; 100]);
    rig.record_slowly(10);
    // at 0, 0 and 1 s; then at 5 s
    until(|| rig.attempts().len() == 3);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(rig.attempts().len(), 3);
}

#[test]
fn flush_does_not_end_a_retry_after_wait() {
    let wait = Duration::from_millis(400);
    let mut rig = Rig::new(10, 20, 1000);
    rig.script([Answer::AskToWait(wait)]);
    rig.record(10);
    until(|| rig.attempts().len() == 1);
    rig.flush(Duration::from_millis(1)).unwrap_err();
    rig.flush(SOON).unwrap();
    let attempts = rig.attempts();
    assert_eq!(attempts.len(), 2);
    assert!(attempts[1].0 - attempts[0].0 >= wait);
}

#[test]
fn shutdown_makes_one_attempt_if_retry_after_exceeds_its_timeout() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.script([Answer::AskToWait(FOREVER)]);
    rig.record(10);
    until(|| rig.attempts().len() == 1);
    block_on(rig.worker.shutdown(Duration::from_secs(5))).unwrap();
    assert_eq!((rig.attempts().len(), rig.stats().accepted), (2, 10));
}

#[test]
fn too_large_batch_is_halved_and_too_large_event_is_dropped() {
    let mut rig = Rig::new(100, 1000, 1000);
    rig.change(|server| (server.largest, server.huge) = (7, BTreeSet::from([100, 133, 134, 199])));
    rig.record(100);
    rig.flush(SOON).unwrap();
    let stats = rig.stats();
    assert_eq!((stats.accepted, stats.dropped.too_large, stats.waiting), (96, 4, 0), "{stats}");
    let want: Vec<_> = (100..200).filter(|id| ![100, 133, 134, 199].contains(id)).collect();
    assert_eq!(rig.settled(), want);
}

#[test]
fn backoff_applies_if_every_event_is_too_large() {
    let mut rig = Rig::new(1000, 10_000, 1000);
    rig.change(|server| server.largest = 0);
    rig.record(1000);
    // 32 events are dropped without a wait, 32 after the first one of 0 s, and then 1 s has to pass
    until(|| rig.stats().dropped.too_large == 64);
    assert!(rig.attempts().len() < 200);
    rig.change(|server| server.largest = 1);
    rig.flush(SOON).unwrap();
    assert_eq!((rig.stats().accepted, rig.stats().dropped.too_large), (936, 64));
}

#[test]
fn connection_failures_do_not_count_as_server_errors_of_a_batch() {
    let mut rig = Rig::new(10, 20, 1000);
    rig.change(|server| server.is_up = false);
    rig.record(10);
    rig.fail_often();
    rig.script([Answer::Fail; 4]);
    rig.change(|server| server.is_up = true);
    for _ in 0..4 {
        let _ = rig.flush(Duration::from_millis(50));
    }
    rig.flush(SOON).unwrap();
    assert_eq!((rig.stats().accepted, rig.stats().dropped.outcome_unknown), (10, 0));
}

#[test]
fn flush_waits_for_pending_events_if_later_events_are_skipped() {
    let mut rig = Rig::new(10, 100, 1000);
    rig.change(|server| server.is_up = false);
    rig.record(15);
    until(|| rig.attempts().len() >= 2 && rig.queue.len() == 0);
    let attempts = rig.attempts().len();
    let flush = rig.worker.flush(Duration::from_millis(500));
    // the worker has heard of it
    until(|| rig.attempts().len() > attempts);
    (0..60).for_each(|_| rig.push(UNENCODABLE));
    until(|| rig.stats().dropped.unencodable == 60);
    assert_eq!(block_on(flush).unwrap_err().waiting, 15);
    rig.worker.shutdown_blocking(Duration::from_millis(20)).unwrap_err();
    let stats = rig.stats();
    assert_eq!((stats.dropped.shutdown, stats.dropped.unencodable, stats.waiting), (15, 60, 0), "{stats}");
}
