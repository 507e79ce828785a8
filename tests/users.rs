//! The transaction's user: set by the code, or found in the fields of spans.

use std::{collections::HashMap, convert::Infallible};

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, Request},
    http::{HeaderMap, Response, StatusCode, header, request::Parts},
    middleware::{self, Next},
    routing::{get, post},
};
use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend, UserId};
use opentelemetry::{KeyValue, trace::TraceContextExt};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_apm::{
    Transaction, User,
    testkit::{Kind, TestAgent},
};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};
use tracing::field::Empty;

async fn send(app: Router, request: Request) -> Response<Body> {
    app.oneshot(request).await.unwrap()
}

async fn call(app: Router, path: &str) -> Response<Body> {
    send(app, Request::get(path).body(Body::empty()).unwrap()).await
}

/// Returns the user of the only transaction after a handler has run this code.
async fn user_after<F>(work: fn(Transaction) -> F) -> Value
where
    F: Future<Output = ()> + Send + 'static,
{
    let apm = TestAgent::start().await;
    let handler = async move |tx: Transaction| work(tx).await;
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.flush().await;
    let transactions = apm.events(Kind::Transaction);
    transactions[0]["context"]["user"].clone()
}

#[tokio::test]
async fn user_fields_of_a_span_are_the_transaction_s_user() {
    let at_start = user_after(|_| async {
        let _span =
            tracing::info_span!("auth", user.id = 42, user.name = "ada", user.email = "ada@example.com").entered();
    });
    assert_eq!(at_start.await, json!({ "id": "42", "username": "ada", "email": "ada@example.com" }));
    let later = user_after(|_| async {
        let span = tracing::info_span!("auth", user.id = Empty, user.email = Empty);
        let _entered = span.clone().entered();
        span.record("user.id", "ada");
        span.record("user.email", "ada@example.com");
    });
    assert_eq!(later.await, json!({ "id": "ada", "email": "ada@example.com" }));
    let before_it_starts = user_after(|_| async {
        let span = tracing::info_span!("auth", enduser.id = Empty);
        span.record("enduser.id", "ada");
        let _entered = span.entered();
    });
    assert_eq!(before_it_starts.await, json!({ "id": "ada" }));
}

#[tokio::test]
async fn outermost_span_wins_and_users_are_not_mixed() {
    let user = user_after(|_| async {
        let _outer = tracing::info_span!("auth", user.id = "ada").entered();
        let _inner = tracing::info_span!("show profile", user.id = "bob", user.email = "bob@example.com").entered();
    });
    assert_eq!(user.await, json!({ "id": "ada" }));
}

#[tokio::test]
async fn user_of_the_code_wins_before_and_after() {
    let before = user_after(|tx| async move {
        tx.set_user(User::id("ada"));
        let _span = tracing::info_span!("auth", user.id = "bob", user.email = "bob@example.com").entered();
    });
    assert_eq!(before.await, json!({ "id": "ada" }));
    let after = user_after(|tx| async move {
        let _span = tracing::info_span!("auth", user.id = "bob", user.email = "bob@example.com").entered();
        tx.set_user(User::id("ada"));
    });
    assert_eq!(after.await, json!({ "id": "ada" }));
}

#[tokio::test]
async fn attribute_of_opentelemetrys_current_span_is_the_user() {
    let apm = TestAgent::start().await;
    let handler = async |tx: Transaction| {
        opentelemetry::Context::current().span().set_attribute(KeyValue::new("user.id", "ada"));
        tx.capture_error(&std::io::Error::other("disk full"));
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_transaction("GET /").await.user_id("ada");
    apm.expect_error("disk full").await.user_id("ada");
}

#[tokio::test]
async fn error_of_an_unsampled_request_has_the_user_of_a_span() {
    let apm = TestAgent::builder().configure(|agent| agent.transaction_sample_rate(0.0)).start().await;
    let handler = async |tx: Transaction| {
        let _span = tracing::info_span!("auth", user.id = "ada").entered();
        tx.capture_error(&std::io::Error::other("disk full"));
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    apm.expect_error("disk full").await.user_id("ada");
}

#[tokio::test]
async fn span_that_is_a_transaction_itself_has_its_user() {
    let apm = TestAgent::start().await;
    apm.agent().start_transaction("job", "scheduled").in_scope(|| {
        let _span = tracing::info_span!("step", user.id = "ada").entered();
    });
    apm.expect_transaction("job").await.user_id("ada");
}

#[tokio::test]
async fn user_fields_of_spans_are_redacted() {
    let apm = TestAgent::builder().configure(|agent| agent.sanitize_field_names(["user.email"])).start().await;
    let handler = async || {
        let id = "https://ada:hunter2@example.com/";
        let _span = tracing::info_span!("auth", user.id = id, user.email = "ada@example.com").entered();
    };
    call(Router::new().route("/", get(handler)).layer(apm.layer()), "/").await;
    let transaction = apm.expect_transaction("GET /").await;
    assert_eq!(transaction.json()["context"]["user"]["email"], "[REDACTED]");
    for secret in ["hunter2", "ada@example.com"] {
        apm.assert_no_secret(secret);
    }
}

// The recipes of the guide `users`.

#[derive(Debug, Clone)]
struct Account {
    name: String,
}

impl AuthUser for Account {
    type Id = String;

    fn id(&self) -> String {
        self.name.clone()
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.name.as_bytes()
    }
}

#[derive(Debug, Clone)]
struct Accounts;

impl AuthnBackend for Accounts {
    type User = Account;
    type Credentials = String;
    type Error = Infallible;

    async fn authenticate(&self, name: String) -> Result<Option<Account>, Infallible> {
        Ok(Some(Account { name }))
    }

    async fn get_user(&self, name: &UserId<Self>) -> Result<Option<Account>, Infallible> {
        Ok(Some(Account { name: name.clone() }))
    }
}

type AuthSession = axum_login::AuthSession<Accounts>;

async fn record_user_of_login(auth: AuthSession, request: Request, next: Next) -> axum::response::Response {
    if let Some(account) = &auth.user {
        Transaction::current().set_user(User::id(account.id()));
    }
    next.run(request).await
}

#[tokio::test]
async fn axum_login_recipe_records_the_user() {
    let apm = TestAgent::start().await;
    let login = async |mut auth: AuthSession| {
        let account = auth.authenticate("ada".to_owned()).await.unwrap().unwrap();
        auth.login(&account).await.unwrap();
    };
    let sessions = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
    let app = Router::new()
        .route("/login", post(login))
        .route("/orders", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .layer(middleware::from_fn(record_user_of_login))
        .layer(AuthManagerLayerBuilder::new(Accounts, sessions).build())
        .layer(apm.layer());
    let response = send(app.clone(), Request::post("/login").body(Body::empty()).unwrap()).await;
    let cookie = response.headers()[header::SET_COOKIE].clone();
    send(app, Request::get("/orders").header(header::COOKIE, cookie).body(Body::empty()).unwrap()).await;
    apm.expect_transaction("GET /orders").await.user_id("ada");
    apm.expect_error("GET /orders returned 500 Internal Server Error").await.user_id("ada");
}

async fn record_user_of_session(session: Session, request: Request, next: Next) -> axum::response::Response {
    if let Ok(Some(id)) = session.get::<String>("user_id").await {
        Transaction::current().set_user(User::id(id));
    }
    next.run(request).await
}

#[tokio::test]
async fn tower_sessions_recipe_records_the_user() {
    let apm = TestAgent::start().await;
    let login = async |session: Session| session.insert("user_id", "ada").await.unwrap();
    let app = Router::new()
        .route("/login", post(login))
        .route("/orders", get(async || ()))
        .layer(middleware::from_fn(record_user_of_session))
        .layer(SessionManagerLayer::new(MemoryStore::default()).with_secure(false))
        .layer(apm.layer());
    let response = send(app.clone(), Request::post("/login").body(Body::empty()).unwrap()).await;
    let cookie = response.headers()[header::SET_COOKIE].clone();
    send(app, Request::get("/orders").header(header::COOKIE, cookie).body(Body::empty()).unwrap()).await;
    apm.expect_transaction("GET /orders").await.user_id("ada");
}

struct Claims {
    sub: String,
    email: String,
}

/// Replaces a library that checks the signature.
fn verify(token: &str) -> Option<Claims> {
    let known = HashMap::from([("token-of-ada", ("ada", "ada@example.com"))]);
    known.get(token).map(|(sub, email)| Claims { sub: (*sub).to_owned(), email: (*email).to_owned() })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

impl<S: Send + Sync> FromRequestParts<S> for Claims {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let claims = bearer(&parts.headers).and_then(verify).ok_or(StatusCode::UNAUTHORIZED)?;
        Transaction::current().set_user(User::id(&claims.sub).email(&claims.email));
        Ok(claims)
    }
}

#[tokio::test]
async fn token_extractor_recipe_records_the_user() {
    let apm = TestAgent::start().await;
    let app = Router::new().route("/orders", get(async |claims: Claims| claims.sub)).layer(apm.layer());
    let request = Request::get("/orders").header(header::AUTHORIZATION, "Bearer token-of-ada");
    send(app.clone(), request.body(Body::empty()).unwrap()).await;
    apm.expect_transaction("GET /orders").await.user_id("ada").field("/context/user/email", "ada@example.com");
    apm.assert_no_secret("token-of-ada");
}

async fn authenticate(mut request: Request, next: Next) -> Result<axum::response::Response, StatusCode> {
    let claims = bearer(request.headers()).and_then(verify).ok_or(StatusCode::UNAUTHORIZED)?;
    Transaction::current().set_user(User::id(&claims.sub));
    request.extensions_mut().insert(claims.sub);
    Ok(next.run(request).await)
}

#[tokio::test]
async fn middleware_recipe_records_the_user() {
    let apm = TestAgent::start().await;
    let app =
        Router::new().route("/orders", get(async || ())).layer(middleware::from_fn(authenticate)).layer(apm.layer());
    let request = Request::get("/orders").header(header::AUTHORIZATION, "Bearer token-of-ada");
    send(app.clone(), request.body(Body::empty()).unwrap()).await;
    apm.expect_transaction("GET /orders").await.user_id("ada").status(200);
    call(app, "/orders").await;
    let transactions = apm.expect_transactions("GET /orders", 2).await;
    assert_eq!(transactions[1].json()["context"].get("user"), None);
}
