//! The future: the transaction's context is current whenever it polls, and its result tells how the request went.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use http::{HeaderValue, Response};
use opentelemetry::Context;
use tracing::Span;

use super::{
    ResponseBody, grpc,
    guard::Ending,
    hooks::Options,
    outcome,
    response_error::{ResponseError, with_error_of},
};
use crate::transaction::{Transaction, enter, enter_own};

/// Up to this size, in bytes, a body whose size is known is taken to be there already: nothing is measured on its way.
const IN_ONE_PIECE: u64 = 64 * 1024;

pin_project_lite::pin_project! {
    /// The response to come, of [`ApmService`](super::ApmService).
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        role: Role,
    }
}

/// What this layer is to the request.
pub(super) enum Role {
    /// Nothing is recorded, or the response is already out.
    Off,
    /// The options want no transaction, and so no spans.
    Ignored {
        context: Context,
    },
    /// A layer further out owns the transaction.
    Inner {
        transaction: Transaction,
        options: Arc<Options>,
    },
    Owner(Owner),
}

pub(super) struct Owner {
    pub(super) ending: Ending,
    pub(super) context: Context,
    pub(super) span: Span,
    pub(super) asked: outcome::Asked,
    /// A call of gRPC.
    pub(super) is_call: bool,
    pub(super) options: Arc<Options>,
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, role: Role) -> Self {
        Self { inner, role }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: fmt::Display + 'static,
    B: http_body::Body,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Role::Owner(owner) = this.role else {
            let _entered = match &this.role {
                Role::Ignored { context } => Some(context.clone().attach()),
                _ => None,
            };
            let Role::Inner { transaction, options } = this.role else {
                return this.inner.poll(cx).map_ok(ResponseBody::wrap_untouched);
            };
            return match catch_unwind(AssertUnwindSafe(|| this.inner.poll(cx))) {
                Ok(polled) => polled.map(|result| inner_result(options, transaction, result)),
                Err(panic) => {
                    options.run_on_panic(transaction, &*panic);
                    resume_unwind(panic)
                }
            };
        };
        let entered = owner.ending.transaction().shared().map(|shared| enter(shared, &owner.context));
        let polled = enter_own(&owner.span, || catch_unwind(AssertUnwindSafe(|| this.inner.poll(cx))));
        let result = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => Ok(result),
            Err(panic) => Err(panic),
        };
        let Role::Owner(owner) = std::mem::replace(this.role, Role::Off) else { return Poll::Pending };
        let result = match result {
            Ok(Ok(response)) => Ok(owner.respond(response)),
            Ok(Err(error)) => {
                owner.fail(&error);
                Err(error)
            }
            Err(panic) => {
                owner.options.run_on_panic(owner.ending.transaction(), &*panic);
                owner.ending.panicked(&*panic);
                drop(entered);
                resume_unwind(panic)
            }
        };
        drop(entered);
        Poll::Ready(result)
    }
}

/// The hooks of a layer that does not own the transaction.
fn inner_result<B, E>(
    options: &Options,
    transaction: &Transaction,
    result: Result<Response<B>, E>,
) -> Result<Response<ResponseBody<B>>, E>
where
    E: fmt::Display + 'static,
{
    match result {
        Ok(response) => {
            let mut response = run_hooks(options, transaction, response);
            tell_trace_id(options, transaction, &mut response);
            Ok(response.map(ResponseBody::untouched))
        }
        Err(error) => {
            if let Some(shared) = transaction.shared().filter(|_| !options.on_error.is_empty()) {
                with_error_of(&error, shared.recorder(), |error, _| options.run_on_error(transaction, error));
            }
            Err(error)
        }
    }
}

fn run_hooks<B>(options: &Options, transaction: &Transaction, response: Response<B>) -> Response<B> {
    if !options.on_error.is_empty()
        && let Some(attached) = response.extensions().get::<ResponseError>()
    {
        options.run_on_error(transaction, attached.error());
    }
    if options.on_response.is_empty() {
        return response;
    }
    let (parts, body) = response.into_parts();
    options.run_on_response(transaction, &parts);
    Response::from_parts(parts, body)
}

fn tell_trace_id<B>(options: &Options, transaction: &Transaction, response: &mut Response<B>) {
    if let (Some(name), Some(id)) = (&options.trace_id_header, transaction.trace_id())
        && let Ok(value) = HeaderValue::try_from(id.to_string())
    {
        response.headers_mut().insert(name.clone(), value);
    }
}

impl Owner {
    /// The head is there: the body, if there is more of it to come, takes the ending along.
    fn respond<B: http_body::Body>(mut self, response: Response<B>) -> Response<ResponseBody<B>> {
        let mut response = run_hooks(&self.options, self.ending.transaction(), response);
        let status = response.status();
        tell_trace_id(&self.options, self.ending.transaction(), &mut response);
        self.ending.head(status, response.headers());
        if status.is_server_error()
            && let (Some(attached), Some(shared)) =
                (response.extensions().get::<ResponseError>(), self.ending.transaction().shared())
        {
            self.ending.error(attached.exception(shared.recorder()));
        }
        if self.is_call && grpc::is_grpc(response.headers()) {
            self.ending.grpc(response.headers());
        }
        if response.body().is_end_stream() || outcome::has_no_body(self.asked, status) {
            self.ending.complete(true);
            return response.map(ResponseBody::untouched);
        }
        if let Some(size) = response.body().size_hint().exact()
            && size <= IN_ONE_PIECE
        {
            return response.map(|body| ResponseBody::known(body, self.ending, size));
        }
        if outcome::is_event_stream(response.headers()) {
            self.ending.complete(false);
            return response.map(ResponseBody::untouched);
        }
        let promised = response.body().size_hint().exact().or_else(|| outcome::promised(response.headers()));
        response.map(|body| ResponseBody::live(body, self.ending, promised, self.context, self.span))
    }

    fn fail<E: fmt::Display + 'static>(self, error: &E) {
        if let Some(shared) = self.ending.transaction().shared() {
            with_error_of(error, shared.recorder(), |error, mut exception| {
                self.options.run_on_error(self.ending.transaction(), error);
                exception.handled = false;
                self.ending.error(exception);
            });
        }
        self.ending.failed();
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
