//! Connections: limits on their number, their idle time and the time of a request's head. A connection can end without an
//! answer.

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    task::AbortHandle,
    time::{Instant, Sleep},
};

use super::memory::Share;

/// Nothing came and nothing went for so long: the connection is closed. The real server keeps idle connections for 45
/// seconds and requests for 30; agents keep a request open for 10.
const MAX_IDLE: Duration = Duration::from_secs(75);
/// A request that has waited for its client for this long is closed for a new connection if no connection is idle.
const MAY_WAIT: Duration = Duration::from_secs(2);

/// The open connections of a server.
#[derive(Debug)]
pub(crate) struct Connections {
    max: usize,
    open: Mutex<Open>,
    closed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    entries: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    activity: Arc<Activity>,
    task: AbortHandle,
}

impl Connections {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default(), closed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once another connection may be served: the one that has been idle for the longest time is closed, or the
    /// one with the oldest request that waits for its client.
    pub(crate) async fn make_room(&self) {
        loop {
            let closed = self.closed.notified();
            let now = Instant::now();
            let next = {
                let mut open = self.lock();
                if open.entries.len() < self.max {
                    return;
                }
                let candidates = open.entries.iter().map(|(id, entry)| (entry.activity.closable_at(), *id));
                match candidates.min() {
                    Some(((_, at), id)) if at <= now => {
                        if let Some(entry) = open.entries.remove(&id) {
                            entry.task.abort();
                        }
                        return;
                    }
                    next => next.map(|((_, at), _)| at),
                }
            };
            let wait = next.unwrap_or(now + MAY_WAIT);
            let _ = tokio::time::timeout_at(wait, closed).await;
        }
    }

    /// Serves a connection in a separate task.
    pub(crate) fn serve(
        self: &Arc<Self>,
        activity: Arc<Activity>,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut open = self.lock();
        let id = open.next;
        open.next += 1;
        let leaving = Leaving { connections: self.clone(), id };
        let task = tokio::spawn(async move {
            let _leaving = leaving;
            connection.await;
        });
        open.entries.insert(id, Entry { activity, task: task.abort_handle() });
    }
}

/// Takes a connection off the list when it ends.
struct Leaving {
    connections: Arc<Connections>,
    id: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.connections.lock().entries.remove(&self.id);
        self.connections.closed.notify_one();
    }
}

/// What a connection does.
#[derive(Debug)]
pub(crate) struct Activity {
    inner: Mutex<Requests>,
}

#[derive(Debug, Clone, Copy)]
struct Requests {
    /// In progress.
    open: usize,
    /// All so far.
    begun: u64,
    /// When the last one began or the last one ended.
    since: Instant,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(Requests { open: 0, begun: 0, since: Instant::now() }) })
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is in progress until the answer is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InProgress {
        let mut requests = self.lock();
        *requests = Requests { open: requests.open + 1, begun: requests.begun + 1, since: Instant::now() };
        InProgress(self.clone())
    }

    /// Whether it is busy, and from when on the connection may be closed to make room.
    fn closable_at(&self) -> (bool, Instant) {
        let Requests { open, since, .. } = *self.lock();
        if open == 0 { (false, since) } else { (true, since + MAY_WAIT) }
    }
}

/// A request is in progress.
#[derive(Debug)]
pub(crate) struct InProgress(Arc<Activity>);

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut requests = self.0.lock();
        requests.open = requests.open.saturating_sub(1);
        requests.since = Instant::now();
    }
}

/// A socket that knows when it was last of use.
pub(crate) struct Connection {
    stream: TcpStream,
    activity: Arc<Activity>,
    head_timeout: Duration,
    last_use: Instant,
    /// By when the head must be complete whose first byte has come, and how many requests were begun before it.
    head_due: Option<(Instant, u64)>,
    /// The first byte has come.
    started: bool,
    /// Frames come between requests too.
    is_http2: bool,
    timer: Pin<Box<Sleep>>,
    cut: Arc<AtomicBool>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, activity: Arc<Activity>, head_timeout: Duration) -> Self {
        let last_use = Instant::now();
        Self {
            stream,
            activity,
            head_timeout,
            last_use,
            head_due: None,
            started: false,
            is_http2: false,
            timer: Box::pin(tokio::time::sleep_until(last_use + MAX_IDLE)),
            cut: Arc::default(),
        }
    }

    pub(crate) fn cut(&self) -> Arc<AtomicBool> {
        self.cut.clone()
    }

    fn check_cut(&self) -> io::Result<()> {
        if self.cut.load(Relaxed) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    /// Ends the wait for the stream once the connection was idle for too long, or a head takes too long.
    fn poll_timer<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let mut due = self.last_use + MAX_IDLE;
        if let Some((head_due, begun)) = self.head_due {
            if self.activity.lock().begun == begun {
                due = due.min(head_due);
            } else {
                self.head_due = None;
            }
        }
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        self.timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Passes on what the stream says, unless the connection is cut or has been idle for too long.
    fn watched<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.check_cut()?;
        let polled = poll(Pin::new(&mut self.stream), cx);
        if polled.is_pending() {
            return self.poll_timer(cx);
        }
        self.last_use = Instant::now();
        polled
    }

    /// Bytes have come.
    fn received(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.started, true) {
            self.is_http2 = bytes.starts_with(b"PRI");
        }
        let Requests { open, begun, .. } = *self.activity.lock();
        let is_within_head = self.head_due.is_some_and(|(_, before)| before == begun);
        if open == 0 && !is_within_head && !self.is_http2 {
            self.head_due = Some((Instant::now() + self.head_timeout, begun));
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.watched(cx, |stream, cx| stream.poll_read(cx, buf)))?;
        self.received(buf.filled().get(before..).unwrap_or_default());
        // a head that trickles in is never awaited with an empty socket
        if let Poll::Ready(late) = self.poll_timer(cx) {
            return Poll::Ready(late);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.watched(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watched(cx, |stream, cx| stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// What a request knows of its connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The memory of all its requests.
    pub(crate) share: Arc<Share>,
    pub(crate) cut: Arc<AtomicBool>,
}

impl Peer {
    /// Closes the connection in place of the answer.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Relaxed);
    }
}
