//! Central configuration: Kibana's *Agent configuration*, handed on by the server (agent-spec, section 3).

use std::time::Duration;

use http::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Answer, ServerClient};
use crate::config::Central;

/// The pause where the server does not say.
const PAUSE: Duration = Duration::from_secs(300);
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);

/// Asks the server for the configuration of a service again and again, and hands each new one to `apply`: the whole of
/// it, as the server has it. Ends never; whoever drops the future ends it.
pub(crate) async fn follow(
    client: ServerClient,
    service_name: String,
    environment: Option<String>,
    apply: impl Fn(Central),
) {
    follow_with(client, service_name, environment, apply, tokio::time::sleep).await;
}

async fn follow_with<P: Future<Output = ()>>(
    client: ServerClient,
    service_name: String,
    environment: Option<String>,
    apply: impl Fn(Central),
    wait: impl Fn(Duration) -> P,
) {
    let path = path(&service_name, environment.as_deref());
    let mut poll = Poll::default();
    let mut other_server = client.changes();
    loop {
        let tag = poll.etag.clone().map(|etag| (IF_NONE_MATCH, etag));
        let answer = client.get(&path, tag.into_iter().collect()).await;
        let pause = poll.answered(answer.as_ref(), &apply);
        tokio::select! {
            () = wait(pause) => {}
            Ok(()) = other_server.changed() => wait(SHORTEST_PAUSE).await,
        }
    }
}

fn path(service_name: &str, environment: Option<&str>) -> String {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let mut path = format!("/config/v1/agents?service.name={}", encoded(service_name));
    if let Some(environment) = environment {
        path.push_str(&format!("&service.environment={}", encoded(environment)));
    }
    path
}

/// What is kept from one answer to the next.
#[derive(Debug, Default)]
struct Poll {
    etag: Option<HeaderValue>,
    /// What went wrong last, so that it is told once.
    fault: Option<String>,
}

impl Poll {
    /// How long to wait now. What is in force stays so, unless there is something new.
    fn answered(&mut self, answer: Result<&Answer, &String>, apply: impl Fn(Central)) -> Duration {
        let answer = match answer {
            Ok(answer) => answer,
            Err(reason) => {
                tracing::debug!(target: "tower_apm", "central configuration could not be read: {reason}");
                return PAUSE;
            }
        };
        match answer.status {
            200 => match parse(&answer.body) {
                Ok(central) => {
                    self.etag = answer.headers.get(ETAG).cloned();
                    self.fault = None;
                    apply(central);
                }
                Err(error) => self.failed(format!("its answer is no configuration: {error}")),
            },
            304 => self.fault = None,
            status @ 500.. => self.failed(format!("it answered {status}")),
            // 400: it has no use for us; 401, 403: not allowed, or not enabled; 404: older than 7.3
            status => {
                tracing::debug!(target: "tower_apm", "no central configuration: the APM Server answered {status}")
            }
        }
        max_age(&answer.headers).map_or(PAUSE, |pause| pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
    }

    fn failed(&mut self, fault: String) {
        if self.fault.as_ref() != Some(&fault) {
            tracing::error!(
                target: "tower_apm",
                "the APM Server has central configuration and cannot tell it, what is in force stays: {fault}"
            );
        }
        self.fault = Some(fault);
    }
}

/// An empty body is an empty configuration: older servers.
fn parse(body: &[u8]) -> serde_json::Result<Central> {
    if body.trim_ascii().is_empty() {
        return Ok(Central::new());
    }
    let options: serde_json::Map<String, Value> = serde_json::from_slice(body)?;
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(options.into_iter().map(|(name, value)| (name, text(value))).collect())
}

/// None where it is missing, no number, or zero.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    let mut directives = directives.flat_map(|value| value.split(',')).map(str::trim);
    let seconds = directives.find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then_some(value)
    })?;
    seconds.trim().trim_matches('"').parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

#[cfg(test)]
#[path = "central_config_tests.rs"]
mod on_the_wire;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        Answer { status, headers: headers.collect(), body: body.as_bytes().to_vec(), redirect: None }
    }

    /// What one answer led to: the pause, and what was applied.
    fn after(poll: &mut Poll, answer: Result<&Answer, &String>) -> (u64, Option<Central>) {
        let applied = RefCell::new(None);
        let pause = poll.answered(answer, |central| *applied.borrow_mut() = Some(central));
        (pause.as_secs(), applied.into_inner())
    }

    // spec: configuration.md
    #[test]
    fn poll_interval_follows_max_age_within_limits() {
        let cases = [
            ("max-age=30, must-revalidate", 30),
            ("must-revalidate,max-age=60", 60),
            ("Must-Revalidate, Max-Age=60", 60),
            ("max-age=\"60\"", 60),
            ("s-maxage=60", 300),
            ("max-age=1", 5),
            ("max-age=0", 300),
            ("max-age=-1", 300),
            ("max-age=soon", 300),
            ("no-store", 300),
            ("max-age=999999999", 86_400),
        ];
        for (cache_control, seconds) in cases {
            let answer = answer(304, &[("cache-control", cache_control)], "");
            assert_eq!(after(&mut Poll::default(), Ok(&answer)), (seconds, None), "{cache_control}");
        }
        assert_eq!(after(&mut Poll::default(), Ok(&answer(304, &[], ""))).0, 300);
        assert_eq!(after(&mut Poll::default(), Err(&"no answer".to_owned())), (300, None));
    }

    // spec: configuration.md
    #[test]
    fn poll_interval_has_a_minimum_after_success() {
        for (cache_control, seconds) in [("max-age=0", 300), ("max-age=1", 5), ("max-age=30", 30)] {
            let new = answer(200, &[("cache-control", cache_control), ("etag", "\"abc\"")], "{}");
            assert_eq!(after(&mut Poll::default(), Ok(&new)), (seconds, Some(Central::new())), "{cache_control}");
        }
    }

    // spec: configuration.md
    #[test]
    fn new_central_config_is_applied_and_its_etag_kept() {
        let mut poll = Poll::default();
        let (_, applied) = after(&mut poll, Ok(&answer(200, &[("etag", "\"abc\"")], r#"{"recording":"false","n":3}"#)));
        let expected = [("n".to_owned(), "3".to_owned()), ("recording".to_owned(), "false".to_owned())];
        assert_eq!(applied, Some(Central::from(expected)));
        assert_eq!(poll.etag.as_ref().unwrap(), "\"abc\"");
        for empty in ["{}", "", " \n"] {
            assert_eq!(after(&mut poll, Ok(&answer(200, &[], empty))).1, Some(Central::new()), "{empty:?}");
        }
    }

    // spec: configuration.md
    #[test]
    fn failed_poll_keeps_the_central_config_and_is_retried() {
        let mut poll = Poll::default();
        after(&mut poll, Ok(&answer(200, &[("etag", "\"abc\"")], "{}")));
        for status in [400, 401, 403, 404, 429, 500, 503] {
            let refused = answer(status, &[("cache-control", "max-age=300")], r#"{"error":"no"}"#);
            assert_eq!(after(&mut poll, Ok(&refused)), (300, None), "{status}");
        }
        for body in ["[]", "{", "\"text\"", "null"] {
            assert_eq!(after(&mut poll, Ok(&answer(200, &[("etag", "\"new\"")], body))).1, None, "{body}");
        }
        assert_eq!(poll.etag.as_ref().unwrap(), "\"abc\"", "what could not be read is asked for again");
    }
}
