//! Lets the handler read its body, and keeps the beginning of what it read.

use http::{HeaderMap, Request, header};

use crate::{
    config::{CaptureBody, Config},
    transaction::CapturedBody,
};

/// Wraps the request's body where `capture_body` asks for it and its type is text. Only axum's body can be wrapped
/// without changing the type that the service takes.
pub(super) fn capture<B: 'static>(request: &mut Request<B>, config: &Config) -> Option<CapturedBody> {
    if config.capture_body == CaptureBody::Off {
        return None;
    }
    let captured = CapturedBody::new(text_type(request.headers())?, config.long_field_max_length);
    tee::wrap(request.body_mut(), &captured).then_some(captured)
}

/// The media type, when it is text, JSON, XML, GraphQL or a form.
fn text_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || matches!(
            &*media_type,
            "application/json" | "application/xml" | "application/graphql" | "application/x-www-form-urlencoded"
        );
    is_text.then_some(media_type)
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn text_json_xml_graphql_and_forms_are_captured() {
        for (content_type, expected) in [
            ("application/json; charset=utf-8", Some("application/json")),
            ("Text/Plain", Some("text/plain")),
            ("application/problem+json", Some("application/problem+json")),
            ("application/x-www-form-urlencoded", Some("application/x-www-form-urlencoded")),
            ("text/json", Some("text/json")),
            ("application/xml", Some("application/xml")),
            ("application/soap+xml; charset=utf-8", Some("application/soap+xml")),
            ("application/graphql", Some("application/graphql")),
            ("application/octet-stream", None),
            ("image/png", None),
            ("multipart/form-data; boundary=x", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(text_type(&headers).as_deref(), expected, "{content_type}");
        }
        assert_eq!(text_type(&HeaderMap::new()), None);
    }
}
