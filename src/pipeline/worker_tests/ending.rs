//! `flush` and `shutdown` return in time and settle the account, whatever state the worker is in.

use super::*;

#[test]
fn flush_fails_at_its_deadline_and_keeps_the_events() {
    let rig = Rig::new(100, (0..100).map(|_| failed(false)));
    rig.record(2);
    let unsent = block_on(rig.worker.flush(Duration::from_millis(50))).unwrap_err();
    assert_eq!(unsent.waiting, 2);
    assert_eq!(rig.queue.stats().waiting, 2);
}

#[test]
fn shutdown_counts_undelivered_events() {
    let rig = Rig::new(100, (0..100).map(|_| failed(false)));
    rig.record(2);
    let unsent = rig.worker.shutdown_blocking(Duration::from_millis(50)).unwrap_err();
    assert_eq!(unsent.waiting, 2);
    rig.record(1);
    let stats = rig.queue.stats();
    assert_eq!((stats.recorded, stats.dropped.shutdown, stats.waiting), (3, 3, 0));
    assert!(rig.worker.shutdown_blocking(SOON).is_ok(), "a second shutdown has nothing to do");
    assert!(block_on(rig.worker.flush(SOON)).is_ok());
}

#[test]
fn shutdown_settles_the_account_before_it_returns() {
    let rig = Rig::new(100, (0..100).map(|_| failed(false)));
    rig.record(2);
    let (sender, heard) = sync_channel(2);
    let done = || -> Done {
        let (queue, sender) = (rig.queue.clone(), sender.clone());
        Box::new(move |result| sender.send((result, queue.stats())).unwrap())
    };
    // an older flush with more patience does not outlive the shutdown
    let commands = [
        Command::Flush { deadline: deadline(FOREVER), done: done() },
        Command::Shutdown { deadline: deadline(Duration::from_millis(50)), done: done() },
    ];
    commands.into_iter().for_each(|command| assert!(rig.worker.commands.send(command).is_ok()));
    for _ in 0..2 {
        let (result, stats) = heard.recv_timeout(SOON).unwrap();
        assert_eq!(result, Err(FlushTimeout { waiting: 2 }));
        assert_eq!((stats.dropped.shutdown, stats.waiting), (2, 0));
    }
}

/// Name resolution is such a thread's work: `getaddrinfo` blocks while DNS is silent.
#[test]
fn blocked_resolver_thread_does_not_delay_shutdown() {
    let (started, starts) = std::sync::mpsc::channel();
    let (_release, silent) = std::sync::mpsc::channel::<()>();
    let resolving = async move {
        let resolve = move || {
            started.send(()).unwrap();
            let _ = silent.recv();
        };
        let _ = tokio::task::spawn_blocking(resolve).await;
    };
    let queue = Queue::new(10, usize::MAX);
    let settings = WorkerSettings { max_age: FOREVER, max_backlog_bytes: usize::MAX, measuring: None };
    let worker = Worker::start(queue, Discard::default(), settings, None, resolving).unwrap();
    starts.recv().unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    let stopping = std::thread::spawn(move || {
        worker.shutdown_blocking(SOON).unwrap();
        let thread_is_over = worker.thread.lock().unwrap().is_none();
        done.send(thread_is_over).unwrap();
    });
    assert!(is_done.recv_timeout(Duration::from_secs(60)).expect("the shutdown waits for the blocked thread"));
    stopping.join().unwrap();
}

/// The worker waits for a lock that the test holds, whatever it does next.
#[test]
fn flush_and_shutdown_end_in_time_while_the_worker_is_stuck() {
    let rig = Rig::new(1, []);
    let stuck = rig.sent.lock().unwrap();
    rig.record(3);
    let timeout = Duration::from_millis(20);
    assert_eq!(block_on(rig.worker.flush(timeout)), Err(FlushTimeout { waiting: 3 }));
    assert_eq!(block_on(rig.worker.shutdown(timeout)), Err(FlushTimeout { waiting: 3 }));
    assert_eq!(rig.worker.shutdown_blocking(timeout), Err(FlushTimeout { waiting: 3 }));
    rig.worker.flusher().flush_blocking(timeout);
    drop(stuck);
}

#[test]
fn flush_and_shutdown_return_if_the_worker_has_panicked() {
    let rig = Rig::new(1, []);
    let sent = rig.sent.clone();
    // the exporter panics on a poisoned lock
    thread::spawn(move || {
        let _held = sent.lock().unwrap();
        panic!("poisons the lock");
    })
    .join()
    .unwrap_err();
    rig.record(3);
    assert!(block_on(rig.worker.flush(FOREVER)).is_err());
    assert!(block_on(rig.worker.shutdown(FOREVER)).is_err());
    assert!(rig.worker.shutdown_blocking(FOREVER).is_err());
    rig.worker.flusher().flush_blocking(FOREVER);
    while rig.queue.stats().dropped.shutdown == 0 {
        // the thread has seen the panic, and abandons the queue
        thread::yield_now();
    }
    rig.record(3);
    assert_eq!((rig.queue.len(), rig.queue.stats().recorded), (0, 6));
}

#[test]
fn forked_child_returns_at_once_and_logs_the_reason_once() {
    let rig = Rig::new(100, []);
    let logged = crate::logged::Logged::default();
    tracing::subscriber::with_default(logged.subscriber(), || {
        rig.record(3);
        rig.queue.pretend_fork();
        rig.worker.flusher().flush_blocking(FOREVER);
        assert_eq!(logged.text(), "", "a panic hook logs nothing");
        assert_eq!(block_on(rig.worker.flush(FOREVER)), Err(FlushTimeout { waiting: 3 }));
        assert!(block_on(rig.worker.shutdown(FOREVER)).is_err());
        assert!(rig.worker.shutdown_blocking(FOREVER).is_err());
    });
    let text = logged.text();
    assert_eq!(text.matches("forked").count(), 1, "{text}");
    rig.record(3);
    assert_eq!((rig.queue.len(), rig.queue.stats().waiting), (0, 0));
    // this thread is still there: it ends when the handle of its commands is dropped
    let Rig { worker, .. } = rig;
    drop(worker);
}

#[test]
fn flush_on_the_worker_thread_returns_at_once() {
    let rig = Rig::new(100, []);
    rig.record(1);
    thread::scope(|scope| {
        let on_worker = scope.spawn(|| {
            this_thread_is_the_worker();
            rig.worker.flusher().flush_blocking(FOREVER);
            let results = [block_on(rig.worker.flush(FOREVER)), block_on(rig.worker.shutdown(FOREVER))];
            (results, rig.worker.shutdown_blocking(FOREVER))
        });
        let failed = Err(FlushTimeout { waiting: 1 });
        assert_eq!(on_worker.join().unwrap(), ([failed, failed], failed));
    });
}
