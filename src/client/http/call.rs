//! One outgoing call: its span from the request to the end of the response body.

use std::fmt;

use http::{HeaderMap, Request, StatusCode};
use opentelemetry::trace::SpanKind;

use super::{
    error::fail_body,
    target::{Described, Target},
};
use crate::{
    client::ExitSpan,
    record::{GrpcStatus, is_grpc},
    trace_context,
};

/// The protocol of a call, which determines its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The outcome depends on the status of the response.
    Http,
    /// The outcome depends on the status in the trailers.
    Grpc,
}

/// Starts the exit span of a request and injects the trace headers.
pub(super) fn start<B>(request: &mut Request<B>, target: &Target) -> (Option<ExitSpan>, Protocol) {
    let protocol = if is_grpc(request.headers()) { Protocol::Grpc } else { Protocol::Http };
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let span = start_span(|| match protocol {
        Protocol::Http => target.http(method, target.url(uri, headers)),
        Protocol::Grpc => target.grpc(uri, headers),
    });
    inject(span.as_ref(), request.headers_mut());
    (span, protocol)
}

pub(super) fn start_span(describe: impl FnOnce() -> Described) -> Option<ExitSpan> {
    ExitSpan::start(SpanKind::Client, describe)
}

/// Injects the trace headers.
///
/// Without a span, the trace headers of the current context are injected, so that unsampled transactions and ignored
/// requests pass their trace on.
pub(super) fn inject(span: Option<&ExitSpan>, headers: &mut HeaderMap) {
    match span {
        Some(span) => span.inject(headers),
        None => trace_context::inject(headers),
    }
}

/// The span of a call until the end of its response body.
#[derive(Debug)]
pub(super) struct Call {
    span: ExitSpan,
    protocol: Protocol,
}

impl Call {
    pub(super) fn new(span: ExitSpan, protocol: Protocol) -> Self {
        Self { span, protocol }
    }

    /// Records the head of the response. Ends the span and returns `None` if the outcome is known and no body follows.
    pub(super) fn head(self, status: StatusCode, headers: &HeaderMap, has_body: bool) -> Option<Self> {
        match self.protocol {
            Protocol::Http => {
                self.span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
                if has_body {
                    return Some(self);
                }
            }
            Protocol::Grpc => match GrpcStatus::in_headers(headers) {
                Some(status) => self.set_grpc_status(status),
                None if has_body && status == StatusCode::OK => return Some(self),
                // a proxy responded, or the server did not send a status
                None => self.set_grpc_status(GrpcStatus::UNKNOWN),
            },
        }
        self.span.end();
        None
    }

    /// Ends the span after the body was read to its end.
    pub(super) fn complete(self, trailers: Option<&HeaderMap>) {
        if self.protocol == Protocol::Grpc {
            self.set_grpc_status(trailers.and_then(GrpcStatus::in_headers).unwrap_or(GrpcStatus::UNKNOWN));
        }
        self.span.end();
    }

    /// Ends the span after the body was dropped early. The outcome of an HTTP request is known then, that of a gRPC
    /// call is not.
    pub(super) fn abandon(self) {
        match self.protocol {
            Protocol::Http => self.span.end(),
            Protocol::Grpc => drop(self.span),
        }
    }

    /// Ends the span after an error of the body.
    pub(super) fn fail<E: fmt::Display + 'static>(self, error: &E) {
        fail_body(Some(&self.span), error);
        self.span.end();
    }

    /// Returns true if the outcome is only known after the trailers.
    pub(super) fn awaits_trailers(&self) -> bool {
        self.protocol == Protocol::Grpc
    }

    fn set_grpc_status(&self, status: GrpcStatus) {
        self.span.set_attribute("rpc.grpc.status_code", status.code());
    }
}
