//! The requests that came last, for tests of what an agent asks.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::header::AUTHORIZATION;

use super::server::Shared;

const MAX_KEPT: usize = 200;
/// Of the headers of one request, and of its target; one that has more is kept without them.
const MAX_BYTES: usize = 16 * 1024;

/// Cheap to clone; every clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    kept: Arc<Mutex<VecDeque<http::Request<()>>>>,
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, VecDeque<http::Request<()>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, request: &Request) {
        let size = |(name, value): (&http::HeaderName, &http::HeaderValue)| name.as_str().len() + value.len();
        let headers = request.headers();
        let fits = headers.iter().map(size).sum::<usize>() <= MAX_BYTES;
        let uri = request.uri().to_string();
        let mut kept = http::Request::new(());
        kept.method_mut().clone_from(request.method());
        // copied: a clone would keep the whole buffer from which the request was read
        if let Some(uri) = Some(uri).filter(|uri| uri.len() <= MAX_BYTES).and_then(|uri| uri.parse().ok()) {
            *kept.uri_mut() = uri;
        }
        for (name, value) in headers.iter().filter(|_| fits) {
            let Ok(mut copy) = http::HeaderValue::from_bytes(value.as_bytes()) else { continue };
            copy.set_sensitive(name == AUTHORIZATION);
            kept.headers_mut().append(name.clone(), copy);
        }
        let mut all = self.lock();
        if all.len() == MAX_KEPT {
            all.pop_front();
        }
        all.push_back(kept);
    }

    /// To this path, the oldest first.
    pub(crate) fn to(&self, path: &str) -> Vec<http::Request<()>> {
        self.lock().iter().filter(|request| request.uri().path() == path).cloned().collect()
    }

    pub(crate) fn all(&self) -> Vec<http::Request<()>> {
        self.lock().iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }
}

/// Keeps what agents ask; what people and their pages ask is not of interest.
pub(crate) async fn keep(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !path.starts_with("/api/") && path != "/ui" && !path.starts_with("/ui/") {
        shared.requests.add(&request);
    }
    next.run(request).await
}
