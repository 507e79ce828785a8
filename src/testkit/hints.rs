//! Hints for a missing event: the likeliest mistakes in a test.

use super::scene::Scene;
use crate::transaction::OpenTransaction;

/// Names that one hint shows.
const MAX_NAMES: usize = 5;

/// One sentence for each mistake that may be the reason, the likeliest first.
pub(super) fn hints(scene: &Scene) -> Vec<String> {
    let recorder = scene.agent.recorder();
    let (config, stats) = (recorder.config(), scene.agent.stats());
    let off = [
        (!config.enabled, "the agent is disabled (`enabled=false`)"),
        (!config.recording, "the agent does not record (`recording=false`)"),
        (config.context_propagation_only, "the agent sends no events (`context_propagation_only=true`)"),
        (config.disable_send, "the agent sends nothing (`disable_send=true`)"),
    ];
    let mut hints: Vec<_> = off.iter().filter(|(is_so, _)| *is_so).map(|(_, hint)| (*hint).to_owned()).collect();
    let Some(watch) = recorder.watch() else { return hints };
    let (requests, others): (Vec<_>, Vec<_>) = watch.open().into_iter().partition(|open| open.is_request);
    hints.extend(not_ended(&requests, "is its response still held?", "are their responses still held?"));
    hints.extend(not_ended(&others, "is its handle still held?", "are their handles still held?"));
    let ignored = watch.ignored_requests();
    if !ignored.is_empty() {
        let names = listed(ignored.iter().map(String::as_str));
        hints.push(format!(
            "{} ignored: {names} (`transaction_ignore_urls`, `transaction_ignore_user_agents`, `ignore_message_queues`)",
            if ignored.len() == 1 { "1 request was".to_owned() } else { format!("{} requests were", ignored.len()) }
        ));
    }
    if stats.filtered > 0 {
        let events = if stats.filtered == 1 { "event was" } else { "events were" };
        hints.push(format!(
            "{} {events} dropped by a filter (`transaction_filter`, `error_filter`, `ignore_exceptions` or an `on_error` hook)",
            stats.filtered
        ));
    }
    match watch.unsampled() {
        0 => {}
        1 => hints.push(
            "1 transaction was not sampled (`transaction_sample_rate`, or the caller's `traceparent`)".to_owned(),
        ),
        count => hints.push(format!(
            "{count} transactions were not sampled (`transaction_sample_rate`, or the caller's `traceparent`)"
        )),
    }
    if hints.is_empty() && watch.begun() == 0 {
        hints.push(
            "no request has reached a layer of this agent (does the test call the app with `.layer(apm.layer())`?)"
                .to_owned(),
        );
    }
    hints
}

fn not_ended(open: &[OpenTransaction], one: &str, several: &str) -> Option<String> {
    let names = listed(open.iter().map(|open| open.name.as_str()));
    match open.len() {
        0 => None,
        1 => Some(format!("1 transaction has not ended: {names} ({one})")),
        count => Some(format!("{count} transactions have not ended: {names} ({several})")),
    }
}

/// Each name once, with how often it occurs.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for name in names {
        match counted.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counted.push((name, 1)),
        }
    }
    let further = counted.len().saturating_sub(MAX_NAMES);
    let shown = counted.iter().take(MAX_NAMES).map(|(name, count)| match count {
        1 => (*name).to_owned(),
        count => format!("{name} ×{count}"),
    });
    let mut shown: Vec<_> = shown.collect();
    if further > 0 {
        shown.push(format!("{further} more"));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_list_each_name_once_up_to_a_limit() {
        assert_eq!(listed(["a", "b", "a"].into_iter()), "a ×2, b");
        assert_eq!(listed(["a", "b", "c", "d", "e", "f", "g"].into_iter()), "a, b, c, d, e, 2 more");
    }
}
