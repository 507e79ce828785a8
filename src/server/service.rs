//! The service: what happens when a request comes in.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll},
};

use http::{Request, Response, request::Parts};
use opentelemetry::{
    baggage::{BaggageExt, KeyValueMetadata},
    trace::TraceContextExt,
};
use tower_service::Service;

use super::{
    ResponseBody, ResponseFuture, body_capture,
    future::{Owner, Role},
    grpc,
    guard::Ending,
    hooks::Options,
    ignored::RequestContext,
    outcome::Asked,
    request::{self, Noted},
};
use crate::{
    config::Config,
    otel::{enter, enter_handle, ignored_context, new_request_span, otel_context, transaction_from},
    propagation::Incoming,
    record::{Link, Monotonic, Name, current_context, is_nested, map_current_context},
    transaction::{Ids, Ignored, Recorder, Transaction, TransactionInner, installed_or_warn, new_record},
};

/// A service under [`ApmLayer`](super::ApmLayer).
#[derive(Debug, Clone)]
pub struct ApmService<S> {
    inner: S,
    options: Arc<Options>,
}

impl<S> ApmService<S> {
    pub(super) fn new(inner: S, options: Arc<Options>) -> Self {
        Self { inner, options }
    }
}

impl<S, B, R> Service<Request<B>> for ApmService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: fmt::Display + 'static,
    B: 'static,
    R: http_body::Body,
    R::Error: fmt::Display + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(outer) = request.extensions().get::<Transaction>() {
            let transaction = outer.clone();
            if transaction.handle().is_none() {
                return ResponseFuture::new(self.inner.call(request), Role::Off);
            }
            add_route(&transaction, &request);
            if self.options.https {
                set_https(&transaction);
            }
            enrich(&self.options, &transaction, &mut request);
            let called = catch_unwind(AssertUnwindSafe(|| self.inner.call(request)));
            let future = called.unwrap_or_else(|panic| {
                self.options.run_on_panic(&transaction, &*panic);
                resume_unwind(panic)
            });
            return ResponseFuture::new(future, Role::Inner { transaction, options: self.options.clone() });
        }
        let recorder = self.options.recorder.clone().or_else(installed_recorder);
        let recorder = recorder.filter(|recorder| recorder.is_recording() && !is_nested());
        let Some(recorder) = recorder else {
            return ResponseFuture::new(self.inner.call(request), Role::Off);
        };
        let config = recorder.snapshot();
        if request::is_ignored(&request, &config) {
            return self.ignore(recorder, request);
        }
        self.own(recorder, config, request)
    }
}

fn installed_recorder() -> Option<Arc<Recorder>> {
    static WARNED: AtomicBool = AtomicBool::new(false);
    installed_or_warn(&WARNED, "a request met `tower_apm::layer()`, but no agent is installed: nothing is recorded")
}

impl<S> ApmService<S> {
    /// This layer is the outermost: the transaction is its.
    fn own<B, R>(
        &mut self,
        recorder: Arc<Recorder>,
        config: Arc<Config>,
        mut request: Request<B>,
    ) -> ResponseFuture<S::Future>
    where
        S: Service<Request<B>, Response = Response<R>>,
        B: 'static,
    {
        let began = Monotonic::now();
        recorder.note_runtime();
        let noted = Noted::of(request.headers());
        let (incoming, baggage) = noted.trace();
        let shared = begin(recorder, config, &request, &noted, began, incoming, self.options.https);
        if let Some(captured) = body_capture::capture(&mut request, shared.config()) {
            shared.capture_body(captured);
        }
        let transaction = Transaction::from_shared(shared.clone());
        request.extensions_mut().insert(transaction.clone());
        let ending = Ending::new(transaction, grpc::is_call(&request));
        let asked = Asked::from(request.method());

        let context = with_baggage(otel_context(&shared), baggage);
        shared.attach_baggage(&context);
        let entered = enter(&shared, &context);
        let span = new_request_span(self.options.request_span);
        let inner = &mut self.inner;
        let options = &*self.options;
        // the span is entered by the future: handlers run there, and entering it costs as much as making it
        enrich(options, ending.transaction(), &mut request);
        let called = catch_unwind(AssertUnwindSafe(|| inner.call(request)));
        match called {
            Ok(future) => {
                drop(entered);
                let owner = Owner { ending, context, span, asked, options: self.options.clone() };
                ResponseFuture::new(future, Role::Owner(owner))
            }
            Err(panic) => {
                options.run_on_panic(ending.transaction(), &*panic);
                ending.panicked(&*panic);
                drop(entered);
                resume_unwind(panic)
            }
        }
    }

    /// No transaction, and no spans below: neither of layers further in nor of the handler.
    fn ignore<B>(&mut self, recorder: Arc<Recorder>, mut request: Request<B>) -> ResponseFuture<S::Future>
    where
        S: Service<Request<B>>,
    {
        #[cfg(feature = "testkit")]
        if let Some(watch) = recorder.watch() {
            watch.ignored(|| format!("{} {}", request.method(), request::path(&request)));
        }
        let current = current_context();
        if let Some(outer) = transaction_from(&current) {
            outer.discard();
        }
        let (incoming, baggage) = Noted::of(request.headers()).trace();
        let incoming = incoming.map(|incoming| incoming.span_context());
        let place = incoming.unwrap_or_else(|| current.span().span_context().clone());
        let ignored = Arc::new(Ignored::new(recorder, place));
        let context = with_baggage(ignored_context(&ignored), baggage);
        let transaction = Transaction::ignored(ignored);
        request.extensions_mut().insert(transaction.clone());
        let entered = enter_handle(transaction.handle().clone(), &context);
        let span = new_request_span(self.options.request_span);
        let ignored = RequestContext::new(transaction, context, span, self.options.clone());
        // as for a transaction: the future enters the span
        let called = catch_unwind(AssertUnwindSafe(|| self.inner.call(request)));
        let future = called.unwrap_or_else(|panic| {
            ignored.panicked(&*panic);
            resume_unwind(panic)
        });
        drop(entered);
        ResponseFuture::new(future, Role::Ignored(ignored))
    }
}

#[inline]
fn with_baggage(context: opentelemetry::Context, baggage: Vec<KeyValueMetadata>) -> opentelemetry::Context {
    if baggage.is_empty() { context } else { context.with_baggage(baggage) }
}

/// A layer further in is the only one that knows the route under `nest_service`, and inside of an outer router.
fn add_route<B>(transaction: &Transaction, request: &Request<B>) {
    if let (Some(shared), Some(route)) = (transaction.shared(), request::route(request.extensions())) {
        shared.update(|record| {
            if let Some(request) = &mut record.context.request {
                request.text.set_route(route);
            }
        });
    }
}

/// A layer further in states that the server terminates TLS.
fn set_https(transaction: &Transaction) {
    if let Some(shared) = transaction.shared() {
        shared.update(|record| {
            if let Some(request) = &mut record.context.request {
                request.https = true;
            }
        });
    }
}

/// What a layer adds on the way in, whether the transaction is its own or not.
fn enrich<B>(options: &Options, transaction: &Transaction, request: &mut Request<B>) {
    if let Some(module) = &options.module
        && !request::is_nobodys(request.extensions())
    {
        transaction.set_label("module", module.clone());
    }
    if !options.on_request.is_empty() {
        with_parts(request, |parts| options.run_on_request(transaction, parts));
    }
}

/// Shows the head of a request, which is large, without moving the request. `look` must not panic.
fn with_parts<B>(request: &mut Request<B>, look: impl FnOnce(&Parts)) {
    let (mut parts, ()) = Request::new(()).into_parts();
    let mut swap = |parts: &mut Parts| {
        std::mem::swap(&mut parts.method, request.method_mut());
        std::mem::swap(&mut parts.uri, request.uri_mut());
        std::mem::swap(&mut parts.version, request.version_mut());
        std::mem::swap(&mut parts.headers, request.headers_mut());
        std::mem::swap(&mut parts.extensions, request.extensions_mut());
    };
    swap(&mut parts);
    look(&parts);
    swap(&mut parts);
}

/// Starts the transaction: continued from the caller's headers, taken over from a root span that somebody outside has
/// opened through our tracer, a child of a foreign span that is current, or the first of a trace.
fn begin<B: 'static>(
    recorder: Arc<Recorder>,
    config: Arc<Config>,
    request: &Request<B>,
    noted: &Noted<'_>,
    began: Monotonic,
    incoming: Option<Incoming>,
    https: bool,
) -> Arc<TransactionInner> {
    let incoming = incoming.map(|incoming| Ids::from_remote(incoming, &config));
    // nearly always there is none, and nothing to clone
    let current = map_current_context(|current| current.has_active_span().then(|| current.clone()));
    if let Some(outer) = current.as_ref().and_then(transaction_from) {
        let (ids, link) = incoming.clone().unzip();
        let sampled = ids.as_ref().map_or(outer.ids().sampled, |ids| ids.sampled);
        let adopted = outer.adopt(ids, |record| {
            record.kind = "request".into();
            record.name = name(request);
            record.otel = None;
            record.links.extend(link.flatten());
            request::tell(request, noted, outer.config(), sampled, https, &mut record.context);
        });
        if adopted {
            return outer;
        }
    }
    let below = || below(current.as_ref()?, &config);
    let (ids, link) = incoming.or_else(below).unwrap_or_else(|| (Ids::new_root(&config), None));
    let mut record = new_record(&ids, "request".into(), name(request), began);
    request::tell(request, noted, &config, ids.sampled, https, &mut record.context);
    record.links.extend(link);
    TransactionInner::new(recorder, config, ids, began, record)
}

/// A gRPC call is named by its method, and everything else by its route. That it is one is certain when it has been
/// answered; until then only a route that is a service's vouches for the path, which is whatever the caller wrote.
fn name<B>(request: &Request<B>) -> Name {
    let is_served = || request::route(request.extensions()).is_some_and(grpc::is_service);
    if grpc::is_call(request) && is_served() {
        Name::Text(request::path(request).to_owned().into())
    } else {
        Name::Route
    }
}

/// The place below the current span: of another tracer, of the transaction that calls this service in process, or of a
/// caller whose headers somebody else has read.
fn below(current: &opentelemetry::Context, config: &Config) -> Option<(Ids, Option<Link>)> {
    let span = current.span();
    let mut incoming = Incoming::of(span.span_context())?;
    if span.span_context().is_remote() {
        return Some(Ids::from_remote(incoming, config));
    }
    if let Some(outer) = transaction_from(current) {
        incoming.parent_id = outer.pin(incoming.parent_id);
        incoming.sample_rate = outer.ids().sample_rate;
        incoming.tracestate = outer.ids().tracestate.clone();
    }
    Some((Ids::child_of(incoming), None))
}
