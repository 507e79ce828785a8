//! The extension of the guide `graphql`: the operation names the transaction.

use std::sync::Arc;

use async_graphql::{
    EmptySubscription, Object, Request, Response, Schema, ServerResult, Variables, async_trait,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute, NextParseQuery},
    parser::types::ExecutableDocument,
};
use axum::{Json, Router, routing::post};
use tower_apm::{Transaction, testkit::TestAgent};

use crate::client;

struct ApmExtension;

impl ExtensionFactory for ApmExtension {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(ApmExtension)
    }
}

#[async_trait::async_trait]
impl Extension for ApmExtension {
    async fn parse_query(
        &self,
        context: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        Transaction::current().set_custom_context("graphql", query);
        next.run(context, query, variables).await
    }

    async fn execute(
        &self,
        context: &ExtensionContext<'_>,
        operation: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        Transaction::current().set_name(format!("POST /graphql: {}", operation.unwrap_or("[unnamed]")));
        next.run(context, operation).await
    }
}

struct Query;

#[Object]
impl Query {
    async fn listings(&self) -> i32 {
        tracing::info_span!("load listings").in_scope(|| 7)
    }
}

struct Mutation;

#[Object]
impl Mutation {
    async fn create_listing(&self, title: String, password: String) -> i32 {
        i32::try_from(title.len() + password.len()).unwrap()
    }
}

async fn run(apm: &TestAgent, query: &str, operation: Option<&str>) {
    let schema = Schema::build(Query, Mutation, EmptySubscription).extension(ApmExtension).finish();
    let handler = async move |Json(request): Json<Request>| Json(schema.execute(request).await);
    let app = Router::new().route("/graphql", post(handler)).layer(apm.layer());
    let body = serde_json::json!({ "query": query, "operationName": operation });
    let response = client::post_json(app, "/graphql", body.to_string()).await;
    assert_eq!(response.status(), 200);
}

// spec: tracing-instrumentation-graphql.md
#[tokio::test]
async fn graphql_transaction_is_named_by_its_operation() {
    let apm = TestAgent::start().await;
    run(&apm, r#"mutation createListing { createListing(title: "ape", password: "hunter2") }"#, None).await;
    apm.expect_transaction("POST /graphql: createListing")
        .await
        .outcome("success")
        .custom("/graphql", r#"mutation createListing { createListing(title: "ape", password: "[REDACTED]") }"#);
    apm.assert_no_secret("hunter2");
}

#[tokio::test]
async fn graphql_operation_is_the_one_that_the_request_selects() {
    let apm = TestAgent::start().await;
    run(&apm, "query first { listings } query second { listings }", Some("second")).await;
    apm.expect_transaction("POST /graphql: second")
        .await
        .span("load listings", |span| span.child_of("POST /graphql: second"));
}

#[tokio::test]
async fn graphql_operation_without_a_name_is_unnamed() {
    let apm = TestAgent::start().await;
    run(&apm, "{ listings }", None).await;
    apm.expect_transaction("POST /graphql: [unnamed]").await;
}

#[tokio::test]
async fn graphql_request_that_is_not_valid_is_named_by_its_route() {
    let apm = TestAgent::start().await;
    run(&apm, "query broken {", None).await;
    apm.expect_transaction("POST /graphql").await.custom("/graphql", "query broken {");
}
