//! Lets the handler read its body, and keeps the beginning of what it read.

use http::{Request, header};

use crate::{
    config::{CaptureBody, Config},
    record::text_type,
    transaction::CapturedBody,
};

/// Wraps the request's body where `capture_body` asks for it and its type is text. Only axum's body can be wrapped
/// without changing the type that the service takes.
pub(super) fn capture<B: 'static>(request: &mut Request<B>, config: &Config) -> Option<CapturedBody> {
    if config.capture_body == CaptureBody::Off {
        return None;
    }
    let content_type = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    let captured = CapturedBody::new(text_type(content_type)?, config.long_field_max_length);
    tee::wrap(request.body_mut(), &captured).then_some(captured)
}

#[cfg(feature = "axum")]
mod tee {
    use std::{
        any::Any,
        pin::Pin,
        task::{Context, Poll, ready},
    };

    use axum_core::body::Body;
    use bytes::Bytes;
    use http_body::{Frame, SizeHint};

    use crate::transaction::CapturedBody;

    pub(super) fn wrap(body: &mut dyn Any, captured: &CapturedBody) -> bool {
        let Some(body) = body.downcast_mut::<Body>() else { return false };
        let inner = std::mem::take(body);
        *body = Body::new(Tee { inner, captured: captured.clone() });
        true
    }

    struct Tee {
        inner: Body,
        captured: CapturedBody,
    }

    impl http_body::Body for Tee {
        type Data = Bytes;
        type Error = axum_core::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
            let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
            if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref) {
                self.captured.push(data);
            }
            Poll::Ready(frame)
        }

        fn is_end_stream(&self) -> bool {
            self.inner.is_end_stream()
        }

        fn size_hint(&self) -> SizeHint {
            self.inner.size_hint()
        }
    }
}

#[cfg(not(feature = "axum"))]
mod tee {
    use std::any::Any;

    use crate::transaction::CapturedBody;

    pub(super) fn wrap(_: &mut dyn Any, _: &CapturedBody) -> bool {
        false
    }
}
