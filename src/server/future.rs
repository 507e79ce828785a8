//! The middleware's future: it polls and drops the inner future in the transaction's context, and records the outcome from its
//! result.

use std::{
    any::Any,
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
    body::ResponseBody,
    guard::Ending,
    hooks::Options,
    ignored::RequestContext,
    outcome,
    response_error::{ResponseError, with_error_of},
};
use crate::otel::{Entered, enter, enter_handle, enter_own, send_caught_panics};
use crate::transaction::{Transaction, poll_and_drop};

/// Up to this size, in bytes, a body whose size is known is taken to be there already: nothing is measured on its way.
pub(super) const IN_ONE_PIECE: u64 = 64 * 1024;

pin_project_lite::pin_project! {
    /// The response to come, of [`ApmService`](super::ApmService).
    pub struct ResponseFuture<F> {
        // None: it is complete, and was dropped as a part of the transaction
        #[pin]
        inner: Option<F>,
        role: Role,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.inner.is_none() {
                return;
            }
            let dropped = match &*this.role {
                Role::Off | Role::Inner { .. } => return,
                Role::Panicked(scope) => {
                    let _entered = enter_handle(scope.transaction.handle().clone(), &scope.context);
                    enter_own(&scope.span, || caught(|| this.inner.set(None)))
                }
                Role::Ignored(ignored) => {
                    let _entered = ignored.enter();
                    ignored.within(|| this.inner.set(None))
                }
                Role::Owner(owner) => {
                    let _entered = owner.enter();
                    enter_own(&owner.span, || caught(|| this.inner.set(None)))
                }
            };
            if let Err(panic) = dropped {
                match std::mem::replace(this.role, Role::Off) {
                    Role::Owner(owner) => {
                        owner.options.run_on_panic(owner.ending.transaction(), &*panic);
                        owner.ending.panicked(&*panic);
                    }
                    Role::Ignored(ignored) => ignored.panicked(&*panic),
                    _ => {}
                }
                resume_unwind(panic);
            }
        }
    }
}

/// Runs code of the host. Its panic is given back, to be resumed.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(work))
}

/// What this layer is to the request.
pub(super) enum Role {
    /// Nothing is recorded, or the response is already out.
    Off,
    /// A layer further out owns the transaction.
    Inner {
        transaction: Transaction,
        options: Arc<Options>,
    },
    Owner(Owner),
    Ignored(RequestContext),
    /// The inner future has panicked. What is left of it is dropped as a part of the transaction.
    Panicked(Scope),
}

pub(super) struct Scope {
    transaction: Transaction,
    context: Context,
    span: Span,
}

pub(super) struct Owner {
    pub(super) ending: Ending,
    pub(super) context: Context,
    pub(super) span: Span,
    pub(super) asked: outcome::Asked,
    pub(super) options: Arc<Options>,
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, role: Role) -> Self {
        Self { inner: Some(inner), role }
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
        let mut this = self.project();
        let inner = this.inner.as_mut();
        let owner = match this.role {
            Role::Owner(owner) => owner,
            Role::Off | Role::Panicked(_) => return poll_and_drop(inner, cx).map_ok(ResponseBody::wrap_untouched),
            Role::Inner { transaction, options } => {
                return match caught(|| poll_and_drop(inner, cx)) {
                    Ok(polled) => polled.map(|result| inner_result(options, transaction, result)),
                    Err(panic) => {
                        options.run_on_panic(transaction, &*panic);
                        resume_unwind(panic)
                    }
                };
            }
            Role::Ignored(ignored) => {
                let _entered = ignored.enter();
                let result = match ignored.within(|| poll_and_drop(inner, cx)) {
                    Ok(polled) => std::task::ready!(polled),
                    Err(panic) => {
                        ignored.panicked(&*panic);
                        resume_unwind(panic)
                    }
                };
                let Role::Ignored(ignored) = std::mem::replace(this.role, Role::Off) else { return Poll::Pending };
                return Poll::Ready(match result {
                    Ok(response) => Ok(ignored.respond(response)),
                    Err(error) => {
                        ignored.failed(&error);
                        Err(error)
                    }
                });
            }
        };
        let entered = owner.enter();
        let polled = enter_own(&owner.span, || caught(|| poll_and_drop(inner, cx)));
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
                if this.inner.is_some() {
                    let transaction = owner.ending.transaction().clone();
                    *this.role = Role::Panicked(Scope { transaction, context: owner.context, span: owner.span });
                }
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
            if let Some(recorder) = transaction.handle().recorder().filter(|_| !options.on_error.is_empty()) {
                with_error_of(&error, recorder, |error, exception| {
                    options.run_on_error(transaction, error, || exception);
                });
            }
            Err(error)
        }
    }
}

pub(super) fn run_hooks<B>(options: &Options, transaction: &Transaction, response: Response<B>) -> Response<B> {
    if !options.on_error.is_empty()
        && let (Some(attached), Some(recorder)) =
            (response.extensions().get::<ResponseError>(), transaction.handle().recorder())
    {
        options.run_on_error(transaction, attached.error(), || attached.without_stack(recorder));
    }
    if options.on_response.is_empty() {
        return response;
    }
    let (parts, body) = response.into_parts();
    options.run_on_response(transaction, &parts);
    Response::from_parts(parts, body)
}

fn tell_trace_id<B>(options: &Options, transaction: &Transaction, response: &mut Response<B>) {
    if let (Some(name), Some(id)) = (&options.response_trace_id_header, transaction.trace_id())
        && let Ok(value) = HeaderValue::try_from(id.to_string())
    {
        response.headers_mut().insert(name.clone(), value);
    }
}

impl RequestContext {
    fn respond<B: http_body::Body>(self, response: Response<B>) -> Response<ResponseBody<B>> {
        let response = run_hooks(&self.options, &self.transaction, response);
        if response.status().is_server_error() {
            if let (Some(attached), Some(recorder)) =
                (response.extensions().get::<ResponseError>(), self.transaction.handle().recorder())
            {
                self.error(attached.exception(recorder, self.transaction.handle()));
            }
            self.transaction.handle().ignored_request_failed();
        }
        let is_there = response.body().size_hint().exact().is_some_and(|size| size <= IN_ONE_PIECE);
        response.map(|body| if is_there { ResponseBody::untouched(body) } else { ResponseBody::in_context(body, self) })
    }
}

impl Owner {
    #[inline(always)]
    fn enter(&self) -> Option<Entered> {
        self.ending.transaction().shared().map(|shared| enter(shared, &self.context))
    }

    /// The head is there: the body, if there is more of it to come, takes the ending along.
    fn respond<B: http_body::Body>(mut self, response: Response<B>) -> Response<ResponseBody<B>> {
        let mut response = run_hooks(&self.options, self.ending.transaction(), response);
        send_caught_panics();
        let status = response.status();
        tell_trace_id(&self.options, self.ending.transaction(), &mut response);
        self.ending.head(status, response.headers());
        // must run before the error is recorded, which copies the name of the transaction
        self.ending.answered(response.headers());
        if status.is_server_error()
            && let (Some(attached), Some(shared)) =
                (response.extensions().get::<ResponseError>(), self.ending.transaction().shared())
        {
            self.ending.error(attached.exception(shared.recorder(), self.ending.transaction().handle()));
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
            // the transaction ends here, but the work of the stream still belongs to it
            let transaction = self.ending.transaction().clone();
            self.ending.complete(false);
            let after = RequestContext::new(transaction, self.context, self.span, self.options);
            return response.map(|body| ResponseBody::in_context(body, after));
        }
        let promised = response.body().size_hint().exact().or_else(|| outcome::promised(response.headers()));
        response.map(|body| ResponseBody::live(body, self.ending, promised, self.context, self.span))
    }

    fn fail<E: fmt::Display + 'static>(self, error: &E) {
        if let Some(shared) = self.ending.transaction().shared() {
            with_error_of(error, shared.recorder(), |error, mut exception| {
                self.options.run_on_error(self.ending.transaction(), error, || exception.clone());
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
