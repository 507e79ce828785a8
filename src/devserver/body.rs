//! The body of a request, as it arrives.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;

/// Reads on for a moment, so that a client that is still writing gets to see the answer and not a reset connection.
pub(crate) async fn drain(body: &mut Body) {
    const MOMENT: Duration = Duration::from_secs(1);
    const ENOUGH: usize = 4 * 1024 * 1024;
    let rest = pin!(async {
        let mut read = 0;
        while let Some(Ok(bytes)) = next(body).await {
            read += bytes.len();
            if read > ENOUGH {
                break;
            }
        }
    });
    let _ = tokio::time::timeout(MOMENT, rest).await;
}

pub(crate) async fn next(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await? {
            Ok(frame) => {
                if let Ok(bytes) = frame.into_data() {
                    return Some(Ok(bytes));
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}
