//! What an answer means for the spans that were sent: pure, so that every case can be read in one table.

use std::error::Error;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde::Deserialize;

use super::divide::Refused;
use crate::{
    apm_server::Answer,
    pipeline::{Delivery, FailureCause, Rejection},
    transport::with_causes,
};

/// `google.rpc.Status`, in which OTLP over HTTP tells what went wrong.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
}

/// What the APM Server writes in front of its OTLP handlers.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// Characters of a server's words that are worth a log line.
const MAX_WORDS: usize = 300;

/// Decides by an HTTP answer what became of `events` events.
///
/// # Errors
/// What was sent may be taken in parts.
pub(super) fn of_http(answer: &Answer, events: u64) -> Result<Delivery, Refused> {
    let (status, redirection) = (answer.status, answer.redirection());
    let said = |hint: &str| match words(&answer.body) {
        Some(words) => format!("the server answered OTLP with {status}{redirection}: {words}{hint}"),
        None => format!("the server answered OTLP with {status}{redirection}{hint}"),
    };
    let retry_after = answer.retry_after();
    let failed = |reason: String| Delivery::Failed { reason, cause: FailureCause::Refused { retry_after } };
    Ok(match status {
        200..300 => taken(&answer.body, events),
        // another attempt would be the same bytes
        400 | 413 => return Err(Refused { reason: said(""), is_too_large: status == 413 }),
        415 | 422 => rejected(events, said("")),
        401 | 403 => failed(said("; check api_key, secret_token or otlp_headers")),
        300..400 | 404 | 405 => {
            failed(said("; check otlp_endpoint or server_url, the server does not accept OTLP at this address"))
        }
        408 | 425 | 429 | 502..=504 => failed(said("")),
        // the APM Server's word for all failures, a full queue too
        _ => Delivery::Failed { reason: said(""), cause: FailureCause::ServerError },
    })
}

fn rejected(events: u64, message: String) -> Delivery {
    Delivery::Decided { rejected: events, reasons: vec![Rejection { message }] }
}

/// A success may be a partial one. For metrics and log lines it has the same form.
fn taken(body: &[u8], events: u64) -> Delivery {
    let partial = ExportTraceServiceResponse::decode(body).ok().and_then(|answer| answer.partial_success);
    partial.map_or_else(all_taken, |partial| of_partial(partial.rejected_spans, &partial.error_message, events))
}

fn all_taken() -> Delivery {
    Delivery::Decided { rejected: 0, reasons: Vec::new() }
}

/// What a server says of a request that it took.
pub(super) fn of_partial(rejected: i64, words: &str, events: u64) -> Delivery {
    let rejected = u64::try_from(rejected).unwrap_or(0).min(events);
    if rejected == 0 {
        return all_taken();
    }
    let message = bounded(words).unwrap_or_else(|| "the server rejected a part without a reason".to_owned());
    Delivery::Decided { rejected, reasons: vec![Rejection { message }] }
}

/// What an answer to `points` points of metrics means for the `events` events that they are the points of.
pub(super) fn of_points(answer: Result<Delivery, Refused>, points: u64, events: u64) -> Result<Delivery, Refused> {
    answer.map(|delivery| match delivery {
        Delivery::Decided { rejected, reasons } => {
            // rounded up: one point of a set is enough
            let rejected = if points == 0 { 0 } else { (rejected * events).div_ceil(points) };
            Delivery::Decided { rejected, reasons }
        }
        other => other,
    })
}

/// Where spans are taken, the options that a failure could be about are right.
pub(super) fn without_hint(reason: &str) -> &str {
    reason.split("; check ").next().unwrap_or(reason)
}

/// The server's own words: JSON, protobuf or plain text.
fn words(body: &[u8]) -> Option<String> {
    if let Ok(Refusal { error }) = serde_json::from_slice(body) {
        return bounded(&error);
    }
    match Status::decode(body) {
        Ok(status) if !status.message.is_empty() => bounded(&status.message),
        _ => bounded(str::from_utf8(body).ok()?),
    }
}

fn bounded(text: &str) -> Option<String> {
    let line = text.trim().lines().next()?;
    let plain: String = line.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
    (!plain.is_empty()).then_some(plain)
}

/// Decides by the failure of a gRPC request. `is_large`: the message may have been over the server's limit.
///
/// # Errors
/// The server may accept the message in parts.
pub(super) fn of_grpc(status: &tonic::Status, is_large: bool) -> Result<Delivery, Refused> {
    // a status of the server's has no source: this one was made here, because there was no answer
    if status.source().is_some() {
        let reason = with_causes(&format!("no answer to OTLP over gRPC: {}", status.message()), status);
        return Ok(Delivery::Failed { reason, cause: FailureCause::NoAnswer });
    }
    let code = format!("{:?}", status.code());
    let cause = bounded(status.message()).map(|cause| format!(": {cause}")).unwrap_or_default();
    let said = |hint: &str| format!("the server answered OTLP over gRPC with {code}{cause}{hint}");
    let failed = |reason: String| Delivery::Failed { reason, cause: FailureCause::REFUSED };
    Ok(match &*code {
        "Unauthenticated" | "PermissionDenied" => failed(said("; check api_key, secret_token or otlp_headers")),
        "Unimplemented" | "NotFound" => failed(said(
            "; check otlp_endpoint or server_url, the server does not accept OTLP over gRPC at this address",
        )),
        "DeadlineExceeded" | "Cancelled" => Delivery::Failed { reason: said(""), cause: FailureCause::NoAnswer },
        "Unavailable" | "Aborted" => failed(said("")),
        "InvalidArgument" => return Err(Refused { reason: said(""), is_too_large: false }),
        // servers in Go say the first to what is too large, those in Rust the second
        "ResourceExhausted" | "OutOfRange" if is_large => return Err(Refused { reason: said(""), is_too_large: true }),
        // the APM Server's word for all other failures
        _ => Delivery::Failed { reason: said(""), cause: FailureCause::ServerError },
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
    use tonic::Code;

    use super::*;

    fn http(status: u16, body: &[u8]) -> Result<Delivery, Refused> {
        of_http(&Answer { status, body: body.to_vec(), ..Answer::default() }, 10)
    }

    fn failed(reason: &str, is_server_error: bool) -> Result<Delivery, Refused> {
        let cause = if is_server_error { FailureCause::ServerError } else { FailureCause::REFUSED };
        Ok(Delivery::Failed { reason: reason.to_owned(), cause })
    }

    fn unanswered(reason: &str) -> Result<Delivery, Refused> {
        Ok(Delivery::Failed { reason: reason.to_owned(), cause: FailureCause::NoAnswer })
    }

    fn decided(rejected: u64, reasons: &[&str]) -> Result<Delivery, Refused> {
        let reasons = reasons.iter().map(|reason| Rejection { message: (*reason).to_owned() });
        Ok(Delivery::Decided { rejected, reasons: reasons.collect() })
    }

    fn refused(reason: &str) -> Result<Delivery, Refused> {
        Err(Refused { reason: reason.to_owned(), is_too_large: false })
    }

    fn too_large(reason: &str) -> Result<Delivery, Refused> {
        Err(Refused { reason: reason.to_owned(), is_too_large: true })
    }

    #[test]
    fn rejected_points_are_counted_as_metric_sets() {
        for (rejected, points, events, sets) in
            [(0, 14, 3, 0), (1, 14, 3, 1), (4, 14, 3, 1), (5, 14, 3, 2), (14, 14, 3, 3), (1, 1, 0, 0)]
        {
            assert_eq!(
                of_points(Ok(super::rejected(rejected, "no".to_owned())), points, events),
                decided(sets, &["no"])
            );
        }
        assert_eq!(of_points(failed("busy", false), 14, 3), failed("busy", false));
    }

    #[test]
    fn hint_can_be_removed_from_a_reason() {
        let Ok(Delivery::Failed { reason, .. }) = http(403, b"") else { panic!("not failed") };
        assert_eq!(without_hint(&reason), "the server answered OTLP with 403");
        assert_eq!(without_hint("no answer"), "no answer");
    }

    #[test]
    fn every_http_response_becomes_a_delivery() {
        const AUTH: &str = "; check api_key, secret_token or otlp_headers";
        const URL: &str = "; check otlp_endpoint or server_url, the server does not accept OTLP at this address";
        let status = Status { message: "queue is full".into() }.encode_to_vec();
        let said = |status: u16, rest: &str| format!("the server answered OTLP with {status}{rest}");
        let cases: Vec<(u16, &[u8], Result<Delivery, Refused>)> = vec![
            (200, b"", decided(0, &[])),
            (200, b"not protobuf", decided(0, &[])),
            (400, b"proto: wrong wireType", refused(&said(400, ": proto: wrong wireType"))),
            (413, b"", too_large(&said(413, ""))),
            (415, b"", decided(10, &[&said(415, "")])),
            (
                401,
                br#"{"error":"authentication failed"}"#,
                failed(&said(401, &format!(": authentication failed{AUTH}")), false),
            ),
            (403, b"", failed(&said(403, AUTH), false)),
            (404, b"404 page not found\n", failed(&said(404, &format!(": 404 page not found{URL}")), false)),
            (302, b"", failed(&said(302, URL), false)),
            (429, b"", failed(&said(429, ""), false)),
            (503, &status, failed(&said(503, ": queue is full"), false)),
            (500, &status, failed(&said(500, ": queue is full"), true)),
            (418, b"", failed(&said(418, ""), true)),
        ];
        for (status, body, want) in cases {
            assert_eq!(http(status, body), want, "{status} {body:?}");
        }
    }

    #[test]
    fn partial_success_over_http_is_counted() {
        let answer = |rejected_spans, error_message: &str| {
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: error_message.into() };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        assert_eq!(http(200, &answer(3, "bad ids")), decided(3, &["bad ids"]));
        assert_eq!(http(200, &answer(99, "")), decided(10, &["the server rejected a part without a reason"]));
        assert_eq!(http(200, &answer(0, "a warning")), decided(0, &[]));
    }

    #[test]
    fn every_grpc_code_becomes_a_delivery() {
        let of = |code: Code| of_grpc(&tonic::Status::new(code, ""), false);
        let said = |rest: &str| format!("the server answered OTLP over gRPC with {rest}");
        let auth = "; check api_key, secret_token or otlp_headers";
        assert_eq!(of(Code::Unauthenticated), failed(&said(&format!("Unauthenticated{auth}")), false));
        assert_eq!(of(Code::PermissionDenied), failed(&said(&format!("PermissionDenied{auth}")), false));
        assert_eq!(of(Code::InvalidArgument), refused(&said("InvalidArgument")));
        let busy = of_grpc(&tonic::Status::new(Code::Unavailable, "queue is full"), false);
        assert_eq!(busy, failed(&said("Unavailable: queue is full"), false));
        assert_eq!(of(Code::ResourceExhausted), failed(&said("ResourceExhausted"), true));
        assert_eq!(of(Code::Unknown), failed(&said("Unknown"), true));
        assert_eq!(of(Code::DeadlineExceeded), unanswered(&said("DeadlineExceeded")));
        let refused_as_large = of_grpc(&tonic::Status::new(Code::ResourceExhausted, ""), true);
        assert_eq!(refused_as_large, too_large(&said("ResourceExhausted")));
        // the server sends the same text that a lost connection has
        let server = of_grpc(&tonic::Status::new(Code::Unknown, "transport error"), false);
        assert_eq!(server, failed(&said("Unknown: transport error"), true));
    }

    #[test]
    fn lost_grpc_connection_keeps_the_batch() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let lost = tonic::Status::from_error(Box::new(reset));
        assert_eq!(lost.code(), Code::Unknown);
        assert_eq!(of_grpc(&lost, false), unanswered("no answer to OTLP over gRPC: connection reset"));
    }

    #[test]
    fn redirect_reason_contains_the_target() {
        let redirect = Some("https://collector.example/v1/traces".to_owned());
        let answer = Answer { status: 308, redirect, ..Answer::default() };
        let Ok(Delivery::Failed { reason, cause: FailureCause::REFUSED }) = of_http(&answer, 10) else {
            panic!("not kept")
        };
        assert!(reason.contains("308") && reason.contains("https://collector.example/v1/traces"), "{reason}");
    }
}
