//! Work that continues if its request ends early because the client disconnects or the request times out.

use std::panic;

use tokio::task::JoinError;
use tower_apm::ApmFutureExt as _;

/// Runs `work` in a spawned task, in the current transaction, and waits for it. If the returned future is dropped, the work
/// continues. It ends early only if the process ends.
pub(crate) async fn uninterrupted<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work.in_current_transaction()).await {
        Ok(done) => done,
        Err(error) => give_up(error).await,
    }
}

/// Resumes a panic of the task in the caller. Only a runtime that shuts down aborts these tasks, and then no caller waits.
async fn give_up<T>(error: JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => panic::resume_unwind(panic),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_continues_if_the_caller_is_dropped() {
        let (go, started) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let mut work = Box::pin(uninterrupted(async move {
            started.await.unwrap();
            done.send(42).unwrap();
        }));
        assert!(work.as_mut().now_or_never().is_none());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(is_done.await.unwrap(), 42);
    }

    #[tokio::test]
    #[should_panic(expected = "sold twice")]
    async fn panic_resumes_in_the_caller() {
        uninterrupted(async { panic!("sold twice") }).await
    }
}
