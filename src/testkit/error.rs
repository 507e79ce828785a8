//! An error that was expected, and what else is to hold of it.

use serde_json::Value;

use super::{
    by_otlp,
    checks::{context_checks, event_checks},
    received::{causes, text},
    subject::{Subject, compare},
};

/// An error document that has arrived. Each check narrows it down, or fails; see the [module](super).
///
/// ```
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use tower::ServiceExt;
/// use tower_apm::{Transaction, testkit::TestAgent};
///
/// async fn announce(tx: Transaction) {
///     let error = std::io::Error::other("no such room");
///     tx.error(&error).label("step", "announce").capture();
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let apm = TestAgent::start().await;
/// let app = Router::new().route("/announce", get(announce)).layer(apm.layer());
/// app.oneshot(Request::get("/announce").body(Body::empty()).unwrap()).await.unwrap();
///
/// apm.expect_error("no such room").await.handled(true).label("step", "announce").child_of("GET /announce");
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ExpectedError {
    pub(super) subject: Subject,
}

event_checks!(ExpectedError);
context_checks!(ExpectedError);

impl ExpectedError {
    /// The exception's type, without its module: `SettlementError`.
    #[track_caller]
    pub fn kind(self, kind: &str) -> Self {
        let subject = self.subject.check(&format!("of type {kind:?}"), |error| {
            if error.by_otlp && by_otlp::is_type(text(error, "/exception/type"), kind) {
                return Ok(());
            }
            compare(error, "/exception/type", "the type", &kind.into())
        });
        Self { subject }
    }

    /// The exception's message.
    #[track_caller]
    pub fn message(self, message: &str) -> Self {
        let subject = self.subject.check(&format!("with message {message:?}"), |error| {
            compare(error, "/exception/message", "the message", &message.into())
        });
        Self { subject }
    }

    /// Somewhere in the chain of causes is one with this type or message.
    #[track_caller]
    pub fn caused_by(self, type_or_message: &str) -> Self {
        let subject = self.subject.check(&format!("caused by {type_or_message:?}"), |error| {
            let causes = causes(error);
            let names = |cause: &&Value| ["/type", "/message"].iter().any(|at| text(cause, at) == type_or_message);
            if causes.iter().any(names) || error.by_otlp && by_otlp::is_caused_by(error, type_or_message) {
                return Ok(());
            }
            let told: Vec<_> =
                causes.iter().map(|cause| format!("{}: {}", text(cause, "/type"), text(cause, "/message"))).collect();
            Err(if told.is_empty() { "it has no cause".to_owned() } else { format!("its causes are {told:?}") })
        });
        Self { subject }
    }

    /// Whether the code dealt with it.
    #[track_caller]
    pub fn handled(self, handled: bool) -> Self {
        let subject = self.subject.check(&format!("with handled = {handled}"), |error| {
            compare(error, "/exception/handled", "handled", &handled.into())
        });
        Self { subject }
    }

    /// Checks that the culprit contains this text.
    ///
    /// The culprit is the application's innermost function, or the transaction's name for an error of a response.
    #[track_caller]
    pub fn culprit_contains(self, part: &str) -> Self {
        let what = format!("with {part:?} in the culprit");
        let subject = self.subject.check(&what, |error| {
            let culprit = text(error, if error.by_otlp { "/context/tags/error_culprit" } else { "/culprit" });
            if culprit.contains(part) { Ok(()) } else { Err(format!("the culprit is {culprit:?}")) }
        });
        Self { subject }
    }

    /// A frame of the stack has this in its function or its file.
    #[track_caller]
    pub fn frame_contains(self, part: &str) -> Self {
        let subject = self.subject.check(&format!("with a frame of {part:?}"), |error| {
            let frames = error.pointer("/exception/stacktrace").and_then(Value::as_array);
            let frames = frames.map(Vec::as_slice).unwrap_or_default();
            let fits = |frame: &Value| ["/function", "/filename"].iter().any(|at| text(frame, at).contains(part));
            if frames.iter().any(fits) || error.by_otlp && by_otlp::stack(error).contains(part) {
                return Ok(());
            }
            let own = frames.iter().filter(|frame| frame["library_frame"] == false);
            let own: Vec<_> = own.map(|frame| text(frame, "/function")).collect();
            Err(format!("of {} frames the application's are {own:?}", frames.len()))
        });
        Self { subject }
    }

    /// Met directly below the span or transaction of this name.
    #[track_caller]
    pub fn child_of(self, name: &str) -> Self {
        let received = self.subject.scene.received();
        let subject = self.subject.check(&format!("below {name:?}"), |error| match received.parent(error) {
            Some(parent) if text(parent, "/name") == name => Ok(()),
            Some(parent) => Err(format!("it is below {:?}", text(parent, "/name"))),
            None => Err("what it is below has not arrived".to_owned()),
        });
        Self { subject }
    }
}
