//! What an answer of the server means for the events that were sent: pure, so that every case can be read in one table.

use std::time::Duration;

use super::error_response::ErrorResponse;
use crate::{
    apm_server::Answer,
    pipeline::{Delivery, FailureCause, Rejection},
};

/// The server names no more errors of events than this.
const MAX_NAMED: u64 = 5;

/// Decides by status and body what became of `events` events.
pub(super) fn delivery(answer: &Answer, events: u64) -> Delivery {
    let status = answer.status;
    let retry_after = answer.retry_after();
    let failed = |reason: String| Delivery::Failed { reason, cause: FailureCause::Refused { retry_after } };
    if (200..300).contains(&status) {
        return Delivery::Decided { rejected: 0, reasons: Vec::new() };
    }
    let told = ErrorResponse::read(&answer.body);
    match status {
        400 => {
            let rejected = events.saturating_sub(told.accepted.unwrap_or(0));
            Delivery::Decided { rejected, reasons: reasons(&told, status) }
        }
        // sent by a proxy, before the server has received anything
        413 => Delivery::TooLarge { reason: line(&told, status) },
        300..400 | 404 | 405 => failed(format!(
            "the server answered {status}{}: check server_url, this is not the address of an APM Server",
            answer.redirection()
        )),
        401 | 403 | 408 | 425 => failed(line(&told, status)),
        429 | 500.. => of_the_server(status, &told, events, retry_after),
        // none that an APM Server gives: another attempt may help, but not for ever
        _ => Delivery::Failed { reason: line(&told, status), cause: FailureCause::ServerError },
    }
}

/// The server began and failed. An error with a document is that of an event and is decided; one without is what
/// stopped the server, and says nothing of an event.
fn of_the_server(status: u16, told: &ErrorResponse, events: u64, retry_after: Option<Duration>) -> Delivery {
    let accepted = told.accepted.unwrap_or(0).min(events);
    let rejected = told.of_events.min(events - accepted);
    if accepted + rejected == 0 {
        let cause = match status {
            500 => FailureCause::ServerError,
            _ => FailureCause::Refused { retry_after },
        };
        return Delivery::Failed { reason: line(told, status), cause };
    }
    let reasons = reasons(told, status);
    match told.of_events < MAX_NAMED && told.complete {
        true => Delivery::Partly { accepted, rejected, reasons, retry_after },
        false => Delivery::OutcomeUnknown { accepted, rejected, reasons, retry_after },
    }
}

fn reasons(told: &ErrorResponse, status: u16) -> Vec<Rejection> {
    if told.messages.is_empty() {
        return vec![Rejection { message: format!("the server answered {status} without a reason") }];
    }
    told.messages.iter().map(|message| Rejection { message: message.clone() }).collect()
}

fn line(told: &ErrorResponse, status: u16) -> String {
    match told.messages.first() {
        Some(message) => format!("the server answered {status}: {message}"),
        None => format!("the server answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(rejected: u64, reasons: &[&str]) -> Delivery {
        Delivery::Decided { rejected, reasons: rejections(reasons) }
    }

    fn rejections(reasons: &[&str]) -> Vec<Rejection> {
        reasons.iter().map(|reason| Rejection { message: (*reason).to_owned() }).collect()
    }

    fn failed(reason: &str, is_server_error: bool) -> Delivery {
        let cause = if is_server_error { FailureCause::ServerError } else { FailureCause::REFUSED };
        Delivery::Failed { reason: reason.to_owned(), cause }
    }

    const WRONG_URL: &str = "check server_url, this is not the address of an APM Server";

    #[test]
    fn every_response_becomes_a_delivery() {
        let event = |n: usize| format!(r#"{{"message":"bad {n}","document":"{{}}"}}"#);
        let five: Vec<_> = (0..5).map(event).collect();
        let cases: Vec<(u16, String, Delivery)> = vec![
            (202, String::new(), decided(0, &[])),
            (200, "not even JSON".into(), decided(0, &[])),
            (400, format!(r#"{{"accepted":7,"errors":[{}]}}"#, event(1)), decided(3, &["bad 1"])),
            (
                400,
                format!(r#"{{"errors":[{0},{0},{1}],"accepted":7}}"#, event(1), event(2)),
                decided(3, &["bad 1", "bad 2"]),
            ),
            (400, r#"{"accepted":99,"errors":[]}"#.into(), decided(0, &["the server answered 400 without a reason"])),
            (400, "<html>".into(), decided(10, &["the server answered 400 without a reason"])),
            (400, r#"{"error":"bad header"}"#.into(), decided(10, &["bad header"])),
            (413, "<html>".into(), Delivery::TooLarge { reason: "the server answered 413".into() }),
            (
                413,
                r#"{"accepted":3,"errors":[{"message":"too large"}]}"#.into(),
                Delivery::TooLarge { reason: "the server answered 413: too large".into() },
            ),
            (
                401,
                r#"{"error":"authentication failed: missing or improperly formatted Authorization header"}"#.into(),
                failed(
                    "the server answered 401: authentication failed: missing or improperly formatted Authorization header",
                    false,
                ),
            ),
            (
                403,
                r#"{"accepted":0,"errors":[{"message":"unauthorized"}]}"#.into(),
                failed("the server answered 403: unauthorized", false),
            ),
            (
                429,
                r#"{"error":"rate limit exceeded"}"#.into(),
                failed("the server answered 429: rate limit exceeded", false),
            ),
            (
                503,
                r#"{"accepted":0,"errors":[{"message":"queue is full"}]}"#.into(),
                failed("the server answered 503: queue is full", false),
            ),
            (503, String::new(), failed("the server answered 503", false)),
            (302, String::new(), failed(&format!("the server answered 302: {WRONG_URL}"), false)),
            (
                404,
                r#"{"error":"404 page not found"}"#.into(),
                failed(&format!("the server answered 404: {WRONG_URL}"), false),
            ),
            (405, String::new(), failed(&format!("the server answered 405: {WRONG_URL}"), false)),
            (408, String::new(), failed("the server answered 408", false)),
            (418, String::new(), failed("the server answered 418", true)),
            (500, String::new(), failed("the server answered 500", true)),
            (
                500,
                r#"{"accepted":0,"errors":[{"message":"EOF"}]}"#.into(),
                failed("the server answered 500: EOF", true),
            ),
            (502, "<html>".into(), failed("the server answered 502", false)),
            (504, String::new(), failed("the server answered 504", false)),
            (
                503,
                r#"{"accepted":4,"errors":[{"message":"queue is full"}]}"#.into(),
                Delivery::Partly {
                    accepted: 4,
                    rejected: 0,
                    reasons: rejections(&["queue is full"]),
                    retry_after: None,
                },
            ),
            (
                500,
                format!(r#"{{"accepted":4,"errors":[{},{{"message":"EOF"}}]}}"#, event(1)),
                Delivery::Partly {
                    accepted: 4,
                    rejected: 1,
                    reasons: rejections(&["bad 1", "EOF"]),
                    retry_after: None,
                },
            ),
            (
                500,
                format!(r#"{{"accepted":4,"errors":[{}]}}"#, five.join(",")),
                Delivery::OutcomeUnknown {
                    accepted: 4,
                    rejected: 5,
                    reasons: rejections(&["bad 0", "bad 1", "bad 2", "bad 3", "bad 4"]),
                    retry_after: None,
                },
            ),
            (
                500,
                r#"{"accepted":4,"errors":[{"message":"cut o"#.into(),
                Delivery::OutcomeUnknown {
                    accepted: 4,
                    rejected: 0,
                    reasons: rejections(&["the server answered 500 without a reason"]),
                    retry_after: None,
                },
            ),
            (
                500,
                r#"{"accepted":99,"errors":[]}"#.into(),
                Delivery::Partly {
                    accepted: 10,
                    rejected: 0,
                    reasons: rejections(&["the server answered 500 without a reason"]),
                    retry_after: None,
                },
            ),
        ];
        for (status, body, want) in cases {
            let answer = Answer { status, body: body.clone().into_bytes(), ..Answer::default() };
            assert_eq!(delivery(&answer, 10), want, "{status} {body}");
        }
    }

    #[test]
    fn redirect_reason_contains_the_target() {
        let redirect = Some("https://apm.example/intake/v2/events".to_owned());
        for status in [301, 302, 303, 307, 308] {
            let answer = Answer { status, redirect: redirect.clone(), ..Answer::default() };
            let reason = format!(
                "the server answered {status}, a redirect to https://apm.example/intake/v2/events: {WRONG_URL}"
            );
            assert_eq!(delivery(&answer, 10), failed(&reason, false));
        }
    }

    #[test]
    fn retry_after_of_a_busy_server_is_kept() {
        let retry_after = Some(Duration::from_secs(9));
        let headers = http::HeaderMap::from_iter([(http::header::RETRY_AFTER, http::HeaderValue::from_static("9"))]);
        let of = |status, body: &str| {
            delivery(
                &Answer { status, headers: headers.clone(), body: body.as_bytes().to_vec(), ..Answer::default() },
                10,
            )
        };
        let waits = FailureCause::Refused { retry_after };
        assert!(matches!(of(429, ""), Delivery::Failed { cause, .. } if cause == waits));
        assert!(matches!(of(503, ""), Delivery::Failed { cause, .. } if cause == waits));
        assert!(matches!(of(502, ""), Delivery::Failed { cause: FailureCause::REFUSED, .. }));
        let after_a_part = of(503, r#"{"accepted":4,"errors":[{"message":"queue is full"}]}"#);
        assert!(matches!(after_a_part, Delivery::Partly { retry_after: kept, .. } if kept == retry_after));
    }
}
