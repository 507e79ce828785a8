//! Expectations of a test: events that arrive, and events that do not arrive.

use std::{future::Future, panic::Location, sync::Arc};

use serde_json::Value;

use super::{
    ExpectedError, ExpectedSpan, ExpectedTransaction, PendingTransaction, TestAgent,
    nearest::nearest,
    received::{Arrived, Received, error_name, is_error_called, is_named, text},
    report::{report, report_missing},
    scene::Scene,
    secret,
    subject::Subject,
};

/// The reason of a failure if some events could not be delivered, so that their absence is not known.
const UNDELIVERED: &str = "events wait that could not be delivered before the deadline";

impl TestAgent {
    /// Waits for a transaction of this name. The test also waits for the checks before `.await`. See
    /// [`PendingTransaction`].
    ///
    /// # Panics
    /// The future panics if no such transaction has arrived before the [deadline](super::TestAgentBuilder::deadline).
    #[track_caller]
    pub fn expect_transaction(&self, name: &str) -> PendingTransaction {
        PendingTransaction::new(self.scene.clone(), name, Location::caller())
    }

    /// Waits for exactly `count` transactions of this name. They are in the order in which they began.
    ///
    /// ```
    /// use tower_apm::testkit::TestAgent;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let apm = TestAgent::start().await;
    /// for round in 0..2 {
    ///     let job = apm.agent().start_transaction("settle auctions", "scheduled");
    ///     job.set_label("round", round);
    /// }
    /// for (round, job) in (0..).zip(apm.expect_transactions("settle auctions", 2).await) {
    ///     job.label("round", round);
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    /// The future panics if fewer have arrived before the deadline, or if more have arrived.
    #[track_caller]
    pub fn expect_transactions(
        &self,
        name: &str,
        count: usize,
    ) -> impl Future<Output = Vec<ExpectedTransaction>> + Send + use<> {
        let (scene, name, at) = (self.scene.clone(), name.to_owned(), Location::caller());
        async move {
            let named = |received: &Received| -> Vec<_> {
                received.transactions.iter().filter(|event| is_named(event, &name)).cloned().collect()
            };
            let found = scene.wait_for(|received| Some(named(received)).filter(|found| found.len() >= count)).await;
            let found = found.unwrap_or_else(|| named(&scene.received()));
            if found.len() != count {
                let wanted = format!("{count} transactions {name:?}");
                let but = format!("{} have arrived", found.len());
                let report = if found.len() < count { report_missing } else { report };
                panic!("{}", report(&scene, &wanted, &but, Some(at)));
            }
            let single = |event| Subject::new(scene.clone(), format!("a transaction {name:?}"), vec![event]);
            found.into_iter().map(|event| ExpectedTransaction { subject: single(event) }).collect()
        }
    }

    /// Waits for a span of this name, in any transaction.
    ///
    /// # Panics
    /// The future panics if none has arrived before the deadline.
    #[track_caller]
    pub fn expect_span(&self, name: &str) -> impl Future<Output = ExpectedSpan> + Send + use<> {
        let found = expect(
            self.scene.clone(),
            ("a span", name.to_owned()),
            |received| &received.spans,
            |span, name| is_named(span, name),
            |span| text(span, "/name"),
            Location::caller(),
        );
        async move { ExpectedSpan { subject: found.await } }
    }

    /// Waits for an error with this type (without its module), with this message, or of this log line.
    ///
    /// # Panics
    /// The future panics if none has arrived before the deadline.
    #[track_caller]
    pub fn expect_error(&self, type_or_message: &str) -> impl Future<Output = ExpectedError> + Send + use<> {
        let found = expect(
            self.scene.clone(),
            ("an error", type_or_message.to_owned()),
            |received| &received.errors,
            is_error_called,
            error_name,
            Location::caller(),
        );
        async move { ExpectedError { subject: found.await } }
    }

    /// Checks that no error was recorded so far. The recorded events are delivered first.
    ///
    /// # Panics
    /// The future panics if one has arrived, or if some events could not be delivered before the deadline.
    #[track_caller]
    pub fn expect_no_errors(&self) -> impl Future<Output = ()> + Send + use<> {
        let (scene, at) = (self.scene.clone(), Location::caller());
        async move {
            let delivered = scene.flush(scene.deadline).await;
            assert!(delivered, "{}", report(&scene, "no errors", UNDELIVERED, Some(at)));
            let errors = scene.received().errors;
            if let Some(first) = errors.first() {
                let but = format!("{} arrived, the first is {:?}", errors.len(), error_name(first));
                panic!("{}", report(&scene, "no errors", &but, Some(at)));
            }
        }
    }

    /// Checks that no transaction of this name was recorded so far. The recorded events are delivered first.
    ///
    /// # Panics
    /// The future panics if one has arrived, or if some events could not be delivered before the deadline.
    #[track_caller]
    pub fn expect_no_transaction(&self, name: &str) -> impl Future<Output = ()> + Send + use<> {
        let (scene, name, at) = (self.scene.clone(), name.to_owned(), Location::caller());
        async move {
            let delivered = scene.flush(scene.deadline).await;
            assert!(delivered, "{}", report(&scene, &format!("no transaction {name:?}"), UNDELIVERED, Some(at)));
            if scene.received().transactions.iter().any(|transaction| is_named(transaction, &name)) {
                panic!("{}", report(&scene, &format!("no transaction {name:?}"), "there is one", Some(at)));
            }
        }
    }

    /// Checks that no transaction, span or error was recorded so far. The recorded events are delivered first.
    ///
    /// # Panics
    /// The future panics if an event has arrived, or if some events could not be delivered before the deadline.
    #[track_caller]
    pub fn expect_nothing(&self) -> impl Future<Output = ()> + Send + use<> {
        let (scene, at) = (self.scene.clone(), Location::caller());
        async move {
            let delivered = scene.flush(scene.deadline).await;
            assert!(delivered, "{}", report(&scene, "nothing", UNDELIVERED, Some(at)));
            let Received { transactions, spans, errors, .. } = scene.received();
            let events = transactions.len() + spans.len() + errors.len();
            if events > 0 {
                panic!("{}", report(&scene, "nothing", &format!("{events} events arrived"), Some(at)));
            }
        }
    }

    /// Checks that no key or value of an event or its metadata contains this text: unchanged, percent-encoded, in
    /// Base64, in hex, or escaped.
    ///
    /// ```
    /// use axum::{Router, body::Body, http::Request, routing::get};
    /// use tower::ServiceExt;
    /// use tower_apm::testkit::TestAgent;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let apm = TestAgent::start().await;
    /// let app = Router::new().route("/login", get(async || ())).layer(apm.layer());
    /// app.oneshot(Request::get("/login?password=hunter2").body(Body::empty()).unwrap()).await.unwrap();
    ///
    /// apm.assert_no_secret("hunter2");
    /// # }
    /// ```
    ///
    /// The recorded events are delivered first. This blocks the calling thread, which the agent and its server do not need.
    ///
    /// # Panics
    /// Panics if the text is found, and names the places. Panics too if some events could not be delivered before the
    /// deadline, if no event has arrived, or if the text is empty.
    #[track_caller]
    pub fn assert_no_secret(&self, secret: &str) {
        assert!(!secret.is_empty(), "an empty secret is everywhere");
        let delivered = self.scene.flush_blocking();
        let (events, places) = secret::places(&self.scene.store, secret);
        let wanted = format!("no {secret:?} in what was sent");
        assert!(delivered, "{}", report(&self.scene, &wanted, UNDELIVERED, None));
        if events == 0 {
            panic!("{}", report(&self.scene, &wanted, "nothing has arrived in which it could be", None));
        }
        if !places.is_empty() {
            panic!("{}", report(&self.scene, &wanted, &format!("it is in {}", places.join(", ")), None));
        }
    }

    /// Returns the transaction of this name with its spans and errors, without values that differ from run to run: for a
    /// snapshot test.
    ///
    /// Ids become `[transaction]`, `[span-1]`, `[error-1]`. The same id gets the same name everywhere, so the tree of
    /// spans remains visible. Times, durations, stacks and ports become `[time]`, `[duration]`, `[frames]`, `[port]`.
    ///
    /// ```
    /// use tower_apm::testkit::TestAgent;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let apm = TestAgent::start().await;
    /// apm.agent().start_transaction("settle auctions", "scheduled").run(async {}).await;
    ///
    /// let snapshot = apm.snapshot("settle auctions").await; // insta::assert_json_snapshot!(snapshot)
    /// assert_eq!(snapshot["transaction"]["duration"], "[duration]");
    /// # }
    /// ```
    ///
    /// # Panics
    /// The future panics if none has arrived before the deadline, or if several have arrived.
    #[track_caller]
    pub fn snapshot(&self, name: &str) -> impl Future<Output = Value> + Send + use<> {
        let found = self.expect_transaction(name);
        async move { found.await.redacted() }
    }
}

/// Waits for events of a kind that are called so.
async fn expect(
    scene: Scene,
    (what, name): (&'static str, String),
    of_kind: fn(&Received) -> &Vec<Arc<Arrived>>,
    is_called: fn(&Arrived, &str) -> bool,
    name_of: fn(&Value) -> &str,
    at: &'static Location<'static>,
) -> Subject {
    let named = |received: &Received| {
        let found: Vec<_> = of_kind(received).iter().filter(|event| is_called(event, &name)).cloned().collect();
        Some(found).filter(|found| !found.is_empty())
    };
    let wanted = format!("{what} {name:?}");
    match scene.wait_for(named).await {
        Some(found) => Subject::new(scene, wanted, found),
        None => {
            let received = scene.received();
            let but = match nearest(&name, of_kind(&received).iter().map(|event| name_of(event))) {
                Some(nearest) => format!("none came within {:?}; the nearest is {nearest:?}", scene.deadline),
                None => format!("none came within {:?}", scene.deadline),
            };
            panic!("{}", report_missing(&scene, &wanted, &but, Some(at)))
        }
    }
}
