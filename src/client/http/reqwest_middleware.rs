//! The layer as a middleware of `reqwest-middleware`.

use ::reqwest::{Request, Response};
use ::reqwest_middleware::{Middleware, Next, Result};

use super::{
    ClientLayer,
    reqwest::{finish, start},
};
use crate::client::InExitSpan;

/// Records an exit span for each request that passes the middleware.
///
/// ```no_run
/// use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
///
/// let client: ClientWithMiddleware =
///     ClientBuilder::new(reqwest::Client::new()).with(tower_apm::client_layer()).build();
/// # drop(client);
/// ```
///
/// To get one span for each attempt, add the layer after the middleware that retries requests.
#[async_trait::async_trait]
impl Middleware for ClientLayer {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let span = start(&mut request, &self.target);
        let (span, result) = InExitSpan::new(next.run(request, extensions), span).await;
        finish(span, result, self.target.omits_path)
    }
}
