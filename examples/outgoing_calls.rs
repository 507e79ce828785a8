//! Records outgoing calls: the SQL statements of sqlx, an HTTP call of reqwest, and a call of a client without an integration.
//!
//! ```sh
//! cargo run --example devserver        # in another terminal; http://localhost:8200/ui shows what arrives
//! cargo run --example outgoing_calls
//! curl localhost:3000/listings/1
//! ```
//!
//! The web page shows the transaction `GET /listings/{id}` with three spans: `SELECT FROM listings`,
//! `GET 127.0.0.1:3000` and `Elasticsearch: POST /listings/_search`. The HTTP call goes to this service too and continues the
//! trace, so the transaction `GET /rates` is in the same trace.

use std::{env, error::Error, net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use tokio::{net::TcpListener, signal::ctrl_c};
use tower_apm::{Agent, RequestBuilderExt, ResponseExt, SqlxDatabase, db};

#[derive(Clone)]
struct App {
    database: SqlitePool,
    http: reqwest::Client,
    address: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // this repository builds reqwest without a TLS provider; with reqwest's default features the line is not needed
    let _ = rustls::crypto::ring::default_provider().install_default();

    let url = "sqlite::memory:";
    let agent = Agent::builder().service_name("outgoing-calls").sqlx(SqlxDatabase::from_url(url)).install()?;

    // one connection that stays open, because the database is lost with its last connection
    let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let database = pool.connect(url).await?;
    sqlx::query("CREATE TABLE listings (id INTEGER PRIMARY KEY, price REAL)").execute(&database).await?;
    sqlx::query("INSERT INTO listings (price) VALUES (12.5)").execute(&database).await?;

    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    let app = App { database, http: reqwest::Client::new(), address: listener.local_addr()? };
    let app = Router::new()
        .route("/listings/{id}", get(listing))
        .route("/rates", get(async || "3012.55"))
        .layer(tower_apm::layer())
        .route("/elasticsearch/listings/_search", post(async || r#"{"hits":[]}"#)) // not traced, like a real database
        .with_state(app);
    tracing::info!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { _ = ctrl_c().await }).await?;
    agent.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

async fn listing(State(app): State<App>, Path(id): Path<i64>) -> Result<String, AppError> {
    // sqlx: no additional code. `tower_apm::sqlx::instrument(pool)` (feature `sqlx`) also records outcomes and addresses.
    let price: f64 =
        sqlx::query_scalar("SELECT price FROM listings WHERE id = ?").bind(id).fetch_one(&app.database).await?;

    // reqwest: `send_with_span()` in place of `send()`
    let rates = app.http.get(format!("http://{}/rates", app.address)).send_with_span().await?.error_for_status()?;
    let rate: f64 = rates.text().await?.parse()?;

    // any other client: `db::call` records the future of the call
    let query = r#"{"query":{"match_all":{}}}"#;
    let search = app.http.post(format!("http://{}/elasticsearch/listings/_search", app.address)).body(query);
    let call = db::call("elasticsearch").name("Elasticsearch: POST /listings/_search").statement(query);
    let similar = call.run(search.send()).await?.text().await?;

    Ok(format!("listing {id}: {price} ETH, {:.2} USD, similar: {similar}\n", price * rate))
}

struct AppError(Box<dyn Error + Send + Sync>);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for AppError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response().with_error(self.0)
    }
}
