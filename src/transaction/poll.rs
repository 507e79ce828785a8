//! Futures whose remains belong to a transaction.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Polls a future and drops it once it is complete: in the context of the caller, not where its owner is dropped later.
/// A panic comes from either.
///
/// # Panics
///
/// If the future is complete already.
#[inline]
pub(crate) fn poll_and_drop<F: Future>(mut future: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<F::Output> {
    let Some(inner) = future.as_mut().as_pin_mut() else { panic!("polled after completion") };
    let polled = inner.poll(cx);
    if polled.is_ready() {
        future.set(None);
    }
    polled
}
