//! Clients of Kafka that are dropped outside the threads of tasks.

use tokio::runtime::Handle;

use crate::wallet::error::Source;

/// A client that is dropped on a thread that can block: dropping the last clone waits for the client's own threads.
pub(super) struct DropBlocking<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> DropBlocking<T> {
    pub(super) fn new(client: T) -> Self {
        Self(Some(client))
    }

    /// Returns the client. It is there until the drop.
    pub(super) fn get(&self) -> Result<&T, Source> {
        self.0.as_ref().ok_or_else(|| "the client was dropped".into())
    }
}

impl<T: Send + 'static> Drop for DropBlocking<T> {
    fn drop(&mut self) {
        let client = self.0.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(client));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc,
        thread::{self, ThreadId},
    };

    use super::*;

    struct Client(mpsc::Sender<ThreadId>);

    impl Drop for Client {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    #[tokio::test]
    async fn client_is_dropped_once_on_another_thread() {
        let (dropped, drops) = mpsc::channel();
        let client = DropBlocking::new(Client(dropped));
        assert!(client.get().is_ok());
        drop(client);
        let threads = tokio::task::spawn_blocking(move || drops.iter().collect::<Vec<_>>()).await.unwrap();
        assert_eq!(threads.len(), 1);
        assert_ne!(threads[0], thread::current().id());
    }

    #[test]
    fn client_is_dropped_without_a_runtime() {
        let (dropped, drops) = mpsc::channel();
        drop(DropBlocking::new(Client(dropped)));
        assert_eq!(drops.iter().count(), 1);
    }
}
