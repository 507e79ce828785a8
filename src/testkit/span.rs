//! Checks on a span that has arrived.

use super::{checks::event_checks, received::text, subject::Subject};

/// A span that has arrived. Each check selects the spans that pass, and panics if none passes. See the [module](super).
///
/// ```
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use tower::ServiceExt;
/// use tower_apm::testkit::TestAgent;
///
/// #[tracing::instrument(fields(page = 2))]
/// async fn load() {}
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let apm = TestAgent::start().await;
/// let app = Router::new().route("/listings", get(load)).layer(apm.layer());
/// app.oneshot(Request::get("/listings").body(Body::empty()).unwrap()).await.unwrap();
///
/// apm.expect_span("load").await.kind("app", "internal").label("page", 2).child_of("GET /listings");
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ExpectedSpan {
    pub(super) subject: Subject,
}

event_checks!(ExpectedSpan);

impl ExpectedSpan {
    /// Checks the type and the subtype, such as `db` and `sqlite`, `external` and `http`, or `app` and `internal`.
    #[track_caller]
    pub fn kind(self, kind: &str, subtype: &str) -> Self {
        let subject = self.subject.check(&format!("of type {kind}/{subtype}"), |span| {
            match (text(span, "/type"), text(span, "/subtype")) {
                found if found == (kind, subtype) => Ok(()),
                (kind, subtype) => Err(format!("its type is {kind}/{subtype}")),
            }
        });
        Self { subject }
    }

    /// Checks the outcome: `success`, `failure` or `unknown`.
    #[track_caller]
    pub fn outcome(self, outcome: &str) -> Self {
        let subject = self.subject.check(&format!("with outcome {outcome:?}"), |span| span.outcome(outcome));
        Self { subject }
    }

    /// Checks that the parent is the span or transaction of this name.
    #[track_caller]
    pub fn child_of(self, name: &str) -> Self {
        let received = self.subject.scene.received();
        let subject = self.subject.check(&format!("as a child of {name:?}"), |span| match received.parent(span) {
            Some(parent) if text(parent, "/name") == name => Ok(()),
            Some(parent) => Err(format!("its parent is {:?}", text(parent, "/name"))),
            None => Err("its parent has not arrived".to_owned()),
        });
        Self { subject }
    }
}
