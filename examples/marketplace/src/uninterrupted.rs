//! Work that money depends on goes to its end, also when the client leaves or the timeout fires in its middle.

use std::panic;

use tokio::task::JoinError;
use tower_apm::ApmFutureExt as _;

/// Runs `work` in a spawned task, in the current transaction, and waits for it. Dropping the returned future leaves the work running.
pub(crate) async fn uninterrupted<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work.in_current_transaction()).await {
        Ok(done) => done,
        Err(error) => give_up(error).await,
    }
}

/// A panic goes on in the caller. Nobody aborts these tasks but a runtime that shuts down, and then there is nobody to answer.
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
    async fn it_goes_on_when_nobody_waits() {
        let (go, gone) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let mut work = Box::pin(uninterrupted(async move {
            gone.await.unwrap();
            done.send(42).unwrap();
        }));
        assert!(work.as_mut().now_or_never().is_none());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(is_done.await.unwrap(), 42);
    }

    #[tokio::test]
    #[should_panic(expected = "sold twice")]
    async fn its_panic_is_the_callers() {
        uninterrupted(async { panic!("sold twice") }).await
    }
}
