//! What an answer means for the spans that were sent: pure, so that every case can be read in one table.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde::Deserialize;

use super::divide::Refused;
use crate::{
    apm_server::Answer,
    pipeline::{Delivery, Rejection},
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
    let status = answer.status;
    let said = |hint: &str| match words(&answer.body) {
        Some(words) => format!("the server answered OTLP with {status}: {words}{hint}"),
        None => format!("the server answered OTLP with {status}{hint}"),
    };
    let failed = |reason: String, poisonous| Delivery::Failed { reason, poisonous };
    Ok(match status {
        200..300 => taken(&answer.body, events),
        // another attempt would be the same bytes
        400 | 413 => return Err(Refused { reason: said("") }),
        415 | 422 => rejected(events, said("")),
        401 | 403 => failed(said("; check api_key, secret_token or otlp_headers"), false),
        300..400 | 404 | 405 => failed(said("; check otlp_endpoint or server_url, nobody takes OTLP there"), false),
        408 | 425 | 429 | 502..=504 => failed(said(""), false),
        // the APM Server's word for all failures, a full queue too
        _ => failed(said(""), true),
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

/// Decides by what the gRPC exporter says, which is a code's name and, where nobody answered, why. `is_large`: what was
/// sent may have been over the limit of a message.
///
/// # Errors
/// What was sent may be taken in parts.
pub(super) fn of_grpc(failure: &str, is_large: bool) -> Result<Delivery, Refused> {
    let code = failure.split("gRPC code: ").nth(1).unwrap_or_default();
    let code: String = code.chars().take_while(char::is_ascii_alphabetic).collect();
    if code.is_empty() {
        return Ok(Delivery::Failed { reason: format!("OTLP could not be sent: {failure}"), poisonous: true });
    }
    let cause = failure.split_once(": ").and_then(|(_, rest)| rest.split_once(&format!("{code}: ")));
    of_code(&code, cause.map_or("", |(_, cause)| cause), is_large)
}

/// Decides by the name of a code.
///
/// # Errors
/// As with [`of_grpc`].
pub(super) fn of_code(code: &str, cause: &str, is_large: bool) -> Result<Delivery, Refused> {
    let cause = bounded(cause).map(|cause| format!(": {cause}")).unwrap_or_default();
    let said = |hint: &str| format!("the server answered OTLP over gRPC with {code}{cause}{hint}");
    let failed = |reason: String, poisonous| Delivery::Failed { reason, poisonous };
    Ok(match code {
        "Unauthenticated" | "PermissionDenied" => failed(said("; check api_key, secret_token or otlp_headers"), false),
        "Unimplemented" | "NotFound" => {
            failed(said("; check otlp_endpoint or server_url, nobody takes OTLP over gRPC there"), false)
        }
        "Unavailable" | "DeadlineExceeded" | "Cancelled" | "Aborted" => failed(said(""), false),
        "InvalidArgument" => return Err(Refused { reason: said("") }),
        // servers in Go say the first to what is too large, those in Rust the second
        "ResourceExhausted" | "OutOfRange" if is_large => return Err(Refused { reason: said("") }),
        // the APM Server's word for all other failures
        _ => failed(said(""), true),
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    fn http(status: u16, body: &[u8]) -> Result<Delivery, Refused> {
        of_http(&Answer { status, headers: Default::default(), body: body.to_vec() }, 10)
    }

    fn failed(reason: &str, poisonous: bool) -> Result<Delivery, Refused> {
        Ok(Delivery::Failed { reason: reason.to_owned(), poisonous })
    }

    fn decided(rejected: u64, reasons: &[&str]) -> Result<Delivery, Refused> {
        let reasons = reasons.iter().map(|reason| Rejection { message: (*reason).to_owned() });
        Ok(Delivery::Decided { rejected, reasons: reasons.collect() })
    }

    fn refused(reason: &str) -> Result<Delivery, Refused> {
        Err(Refused { reason: reason.to_owned() })
    }

    #[test]
    fn rejected_points_are_told_as_sets() {
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
    fn a_hint_can_be_left_out() {
        let Ok(Delivery::Failed { reason, .. }) = http(403, b"") else { panic!("not failed") };
        assert_eq!(without_hint(&reason), "the server answered OTLP with 403");
        assert_eq!(without_hint("no answer"), "no answer");
    }

    #[test]
    fn every_http_answer_has_a_meaning() {
        const AUTH: &str = "; check api_key, secret_token or otlp_headers";
        const URL: &str = "; check otlp_endpoint or server_url, nobody takes OTLP there";
        let status = Status { message: "queue is full".into() }.encode_to_vec();
        let said = |status: u16, rest: &str| format!("the server answered OTLP with {status}{rest}");
        let cases: Vec<(u16, &[u8], Result<Delivery, Refused>)> = vec![
            (200, b"", decided(0, &[])),
            (200, b"not protobuf", decided(0, &[])),
            (400, b"proto: wrong wireType", refused(&said(400, ": proto: wrong wireType"))),
            (413, b"", refused(&said(413, ""))),
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
    fn a_partial_success_over_http_is_counted() {
        let answer = |rejected_spans, error_message: &str| {
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: error_message.into() };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        assert_eq!(http(200, &answer(3, "bad ids")), decided(3, &["bad ids"]));
        assert_eq!(http(200, &answer(99, "")), decided(10, &["the server rejected a part without a reason"]));
        assert_eq!(http(200, &answer(0, "a warning")), decided(0, &[]));
    }

    #[test]
    fn every_grpc_code_has_a_meaning() {
        let of = |code: &str| {
            of_grpc(&format!("Operation failed: TonicTracesClient export failed with gRPC code: {code}"), false)
        };
        let said = |rest: &str| format!("the server answered OTLP over gRPC with {rest}");
        let auth = "; check api_key, secret_token or otlp_headers";
        assert_eq!(of("Unauthenticated"), failed(&said(&format!("Unauthenticated{auth}")), false));
        assert_eq!(of("PermissionDenied"), failed(&said(&format!("PermissionDenied{auth}")), false));
        assert_eq!(of("InvalidArgument"), refused(&said("InvalidArgument")));
        assert_eq!(of("Unavailable: tcp connect error"), failed(&said("Unavailable: tcp connect error"), false));
        assert_eq!(of("ResourceExhausted"), failed(&said("ResourceExhausted"), true));
        assert_eq!(of("Unknown"), failed(&said("Unknown"), true));
        let too_large = of_grpc("Operation failed: export failed with gRPC code: ResourceExhausted", true);
        assert_eq!(too_large, refused(&said("ResourceExhausted")));
        let other = of_grpc("Operation failed: odd", false);
        assert_eq!(other, failed("OTLP could not be sent: Operation failed: odd", true));
    }
}
