//! The application: its parts, and its router, which `main` and the tests use.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderName, StatusCode},
};
use tokio::sync::watch;
use tower::ServiceBuilder;
use tower_apm::Transaction;
use tower_http::{
    ServiceBuilderExt as _,
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::{Any, CorsLayer},
    request_id::MakeRequestUuid,
    timeout::TimeoutLayer,
};

use crate::{
    chain::{ChainClient, ChainError, EmbeddedChain},
    chat::{
        self, Chat,
        fanout::{Fanout, InProcessFanout, RedisFanout},
    },
    config::{Config, SecretUrl},
    data_source::{DataSourceError, DataSources},
    error::{self, AppError},
    health::{self, Health},
    market::{self, Market},
    wallet::{self, PartsError, Wallet, WalletError, WalletParts},
};

/// The state of the handlers. Clones are cheap and share the same parts.
#[derive(Debug, Clone)]
pub struct App {
    pub market: Market,
    pub wallet: Wallet,
    pub chat: Chat,
    /// The state that `GET /health` returns.
    pub health: Health,
    request_timeout: Duration,
    running: watch::Sender<bool>,
    _chain: Option<Arc<EmbeddedChain>>,
}

/// The reason why the marketplace does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    DataSource(#[from] DataSourceError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("the embedded chain cannot listen")]
    EmbeddedChain(#[source] std::io::Error),
    #[error(transparent)]
    WalletParts(#[from] PartsError),
    #[error(transparent)]
    Wallet(#[from] WalletError),
    #[error("the chat cannot use REDIS_URL")]
    ChatRedis(#[source] redis::RedisError),
}

impl App {
    /// Opens the parts and starts the repair of orders. Starts an embedded chain unless another chain is configured.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let sources = DataSources::open(config).await?;
        let health = Health::new(&sources);
        let (chain_url, embedded) = match &config.chain_rpc_url {
            Some(url) => (url.clone(), None),
            None => {
                let chain = EmbeddedChain::start().await.map_err(StartError::EmbeddedChain)?;
                (SecretUrl::from(chain.url().as_str()), Some(Arc::new(chain)))
            }
        };
        let chain = ChainClient::new(&chain_url)?;
        let fanout: Arc<dyn Fanout> = match &config.redis_url {
            Some(url) => Arc::new(RedisFanout::connect(url, &config.redis_prefix).map_err(StartError::ChatRedis)?),
            None => Arc::<InProcessFanout>::default(),
        };
        let chat = Chat::new(sources.market.clone(), fanout);
        let parts = WalletParts::connect(config, sources.wallet).await?;
        let wallet = Wallet::open(WalletParts { health: Some(health.part("balances")), ..parts }).await?;
        let market = Market::new(sources.market, wallet.clone(), chain, chat.clone(), config.order_lease);
        let running = watch::Sender::new(true);
        let repair = market.clone().keep_repairing(Transaction::current(), stopped(&running), config.order_lease);
        tokio::spawn(repair);
        Ok(Self { market, wallet, chat, health, request_timeout: config.request_timeout, running, _chain: embedded })
    }

    /// Ends the event streams and the repair of orders, so that a server can close its connections.
    pub fn stop(&self) {
        self.running.send_replace(false);
    }

    /// Resolves when [`App::stop`] is called.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        stopped(&self.running)
    }
}

fn stopped(running: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut running = running.subscribe();
    async move {
        // An error means that the marketplace was dropped, which is also a stop.
        let _ = running.wait_for(|running| !running).await;
    }
}

/// The response header with the id of the request.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The response header with the id of the trace.
const TRACE_ID: &str = "x-trace-id";

/// Returns the router of the API.
pub fn app(state: App) -> Router {
    // The outermost layer, so that it records the response that clients receive, such as a 408 of the timeout.
    let apm = tower_apm::layer()
        .response_trace_id_header(TRACE_ID)
        .on_response(|tx, parts| {
            if let Some(id) = parts.headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()) {
                tx.set_label("request_id", id);
            }
        })
        .on_error(|tx, error| {
            if let Some(AppError::Invalid { field, .. } | AppError::Malformed { field: Some(field), .. }) =
                error.downcast_ref()
            {
                tx.set_label("invalid_field", field);
            }
        });
    let around = ServiceBuilder::new()
        .set_x_request_id(MakeRequestUuid)
        .propagate_x_request_id()
        .layer(
            CorsLayer::new()
                .allow_origin(Any)
                .allow_methods(Any)
                .allow_headers(Any)
                .expose_headers([X_REQUEST_ID, HeaderName::from_static(TRACE_ID)]),
        )
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, state.request_timeout))
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(error::panicked));
    Router::new()
        .nest("/market", market::router())
        .nest("/wallet", wallet::router())
        .nest("/chat", chat::router())
        .merge(health::router(state.health.clone()))
        .fallback(async || AppError::NoRoute)
        .method_not_allowed_fallback(async || AppError::MethodNotAllowed)
        .layer(around)
        .layer(apm)
        .with_state(state)
}
