//! A transaction that a test waits for.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    ExpectedError, ExpectedSpan, ExpectedTransaction,
    nearest::nearest,
    received::{Arrived, Received, is_named, text},
    report::{report, report_missing},
    scene::Scene,
    subject::Subject,
    transaction::{find_error, find_span, with_error, with_span},
};

/// The future of [`TestAgent::expect_transaction`](super::TestAgent::expect_transaction), which waits for a transaction.
///
/// Checks before the `.await` also wait, for spans and errors that arrive after their transaction because a spawned
/// task records them. Checks after the `.await` use the events that have arrived so far and do not wait.
///
/// ```
/// use axum::{Router, body::Body, http::Request, routing::post};
/// use tower::ServiceExt;
/// use tower_apm::{ApmFutureExt, testkit::TestAgent};
///
/// #[tracing::instrument]
/// async fn resize_picture() {}
///
/// async fn upload() {
///     tokio::spawn(async { resize_picture().await }.in_current_transaction());
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let apm = TestAgent::start().await;
/// let app = Router::new().route("/pictures", post(upload)).layer(apm.layer());
/// app.oneshot(Request::post("/pictures").body(Body::empty()).unwrap()).await.unwrap();
///
/// apm.expect_transaction("POST /pictures")
///     .span("resize_picture", |span| span.kind("app", "internal"))
///     .await
///     .outcome("success");
/// # }
/// ```
///
/// # Panics
/// The future panics if no matching transaction has arrived before the [deadline](super::TestAgentBuilder::deadline).
/// The message shows all events that have arrived.
#[must_use = "an expectation does nothing unless it is awaited"]
pub struct PendingTransaction {
    search: Search,
    waiting: Option<Pin<Box<dyn Future<Output = ExpectedTransaction> + Send>>>,
}

#[derive(Clone)]
struct Search {
    scene: Scene,
    name: String,
    checks: Vec<Arc<Check>>,
    at: &'static Location<'static>,
}

struct Check {
    /// The part of the failure message that describes the check.
    what: String,
    test: Box<Test>,
}

type Test = dyn Fn(&Scene, &Received, &Arrived) -> Result<(), String> + Send + Sync;

impl PendingTransaction {
    pub(super) fn new(scene: Scene, name: &str, at: &'static Location<'static>) -> Self {
        let search = Search { scene, name: name.to_owned(), checks: Vec::new(), at };
        Self { search, waiting: None }
    }

    fn check(
        mut self,
        what: String,
        test: impl Fn(&Scene, &Received, &Arrived) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.search.checks.push(Arc::new(Check { what, test: Box::new(test) }));
        self
    }

    /// Waits until the transaction has a span of this name, at any depth, for which the checks hold.
    pub fn span(self, name: &str, checks: impl Fn(ExpectedSpan) -> ExpectedSpan + Send + Sync + 'static) -> Self {
        let name = name.to_owned();
        self.check(with_span(&name), move |scene, received, transaction| {
            find_span(scene, received, transaction, &name, &checks)
        })
    }

    /// Waits until the transaction has an error of this type or message, at any depth, for which the checks hold.
    pub fn error(
        self,
        type_or_message: &str,
        checks: impl Fn(ExpectedError) -> ExpectedError + Send + Sync + 'static,
    ) -> Self {
        let name = type_or_message.to_owned();
        self.check(with_error(&name), move |scene, received, transaction| {
            find_error(scene, received, transaction, &name, &checks)
        })
    }
}

impl Future for PendingTransaction {
    type Output = ExpectedTransaction;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ExpectedTransaction> {
        let Self { search, waiting } = &mut *self;
        waiting.get_or_insert_with(|| Box::pin(search.clone().run())).as_mut().poll(cx)
    }
}

impl fmt::Debug for PendingTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingTransaction").field("name", &self.search.name).finish_non_exhaustive()
    }
}

impl Search {
    async fn run(self) -> ExpectedTransaction {
        let fitting = |received: &Received| {
            let fits = |event: &Arc<Arrived>| {
                is_named(event, &self.name) && self.checks.iter().all(|check| self.test(check, received, event).is_ok())
            };
            let found: Vec<_> = received.transactions.iter().filter(|event| fits(event)).cloned().collect();
            (!found.is_empty()).then_some(found)
        };
        match self.scene.wait_for(fitting).await {
            Some(found) => {
                let wanted = self.sentence(&self.checks);
                ExpectedTransaction { subject: Subject::new(self.scene, wanted, found) }
            }
            None => panic!("{}", self.failure()),
        }
    }

    fn test(&self, check: &Check, received: &Received, transaction: &Arrived) -> Result<(), String> {
        (check.test)(&self.scene, received, transaction)
    }

    /// Describes the expectation up to the last of these checks.
    fn sentence(&self, checks: &[Arc<Check>]) -> String {
        let checks = checks.iter().map(|check| format!("\n    {}", check.what));
        format!("a transaction {:?}{}", self.name, checks.collect::<String>())
    }

    /// Returns the message for the first check that no transaction of the name passes, or for a missing transaction.
    fn failure(&self) -> String {
        let (received, deadline) = (self.scene.received(), self.scene.deadline);
        let mut left: Vec<_> = received.transactions.iter().filter(|event| is_named(event, &self.name)).collect();
        if left.is_empty() {
            let but = match nearest(&self.name, received.transactions.iter().map(|event| text(event, "/name"))) {
                Some(nearest) => format!("none came within {deadline:?}; the nearest is {nearest:?}"),
                None => format!("none came within {deadline:?}"),
            };
            return report_missing(&self.scene, &self.sentence(&self.checks), &but, Some(self.at));
        }
        let mut misses = Vec::new();
        for (index, check) in self.checks.iter().enumerate() {
            misses.clear();
            left.retain(|event| self.test(check, &received, event).map_err(|miss| misses.push(miss)).is_ok());
            if left.is_empty() {
                misses.dedup();
                let but = format!("none came within {deadline:?}: {}", misses.join(", and of another one "));
                return report(&self.scene, &self.sentence(&self.checks[..=index]), &but, Some(self.at));
            }
        }
        report(&self.scene, &self.sentence(&self.checks), "it came after the deadline", Some(self.at))
    }
}
