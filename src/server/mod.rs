//! The tower layer: every request that passes it is a transaction.
//!
//! The outermost layer that a request meets owns the transaction; a layer further in finds it and adds its module, its
//! hooks and a better route name. No order of layers is wrong, and none starts a second transaction.

mod body;
mod body_capture;
#[cfg(feature = "axum")]
mod extract;
mod future;
mod grpc;
mod guard;
mod hooks;
mod ignored;
mod layer;
mod outcome;
mod request;
mod response_error;
mod service;
mod verdict;

pub use self::{
    body::ResponseBody,
    future::ResponseFuture,
    layer::{ApmLayer, layer},
    response_error::{Panicked, ResponseExt, ServiceError},
    service::ApmService,
    verdict::{ErrorVerdict, IntoErrorVerdict},
};
