//! What an event that is too long can do without: better a shorter one than none.

use std::borrow::Cow;

use crate::{
    elastic::model::{Context, Custom, Entries, Exception, Frame, Json, Line, Scalar, Tags},
    semconv::cut,
};

/// Takes one thing more away and tells what. None when nothing is left to take. `step` counts from 0.
pub(super) fn shorten(line: &mut Line<'_>, step: &mut usize) -> Option<&'static str> {
    while let Some((what, take)) = STEPS.get(*step) {
        if take(line) {
            return Some(what);
        }
        *step += 1;
    }
    None
}

/// Changes nothing where there is nothing to take, and says so.
type Step = fn(&mut Line<'_>) -> bool;

/// First what nobody reads to its end; last what an event is found by. Each is repeated until it changes nothing.
const STEPS: [(&str, Step); 10] = [
    ("the end of its long texts", |line| cut_texts(line, LONG)),
    ("its custom context", |line| context(line).is_some_and(leave_out_custom)),
    ("the body of its request or message", |line| context(line).is_some_and(leave_out_body)),
    ("its headers and cookies", |line| context(line).is_some_and(leave_out_headers)),
    ("frames of its stack", halve_stacks),
    ("the causes of its error", leave_out_causes),
    ("its statistics of dropped spans", leave_out_statistics),
    ("most of its texts", |line| cut_texts(line, SHORT)),
    ("the end of its labels", cut_labels),
    ("labels", halve_labels),
];

/// Characters of a text: as many as others may have by default, and as few as one that is indexed.
const LONG: usize = 10_000;
const SHORT: usize = 1024;
/// Characters of a label: enough for what people search by.
const LABEL: usize = 128;

const NOTE: &str = "tower_apm";

fn context<'l, 'a>(line: &'l mut Line<'a>) -> Option<&'l mut Context<'a>> {
    match line {
        Line::Transaction(transaction) => transaction.context.as_deref_mut(),
        Line::Error(error) => error.context.as_deref_mut(),
        Line::Span(_) | Line::Metadata(_) | Line::Metricset(_) | Line::Log(_) => None,
    }
}

/// Labels, and the attributes of OpenTelemetry that the server makes labels of.
fn labels<'l, 'a>(line: &'l mut Line<'a>) -> impl Iterator<Item = &'l mut Tags<'a>> {
    let (own, otel) = match line {
        Line::Transaction(transaction) => {
            (transaction.context.as_mut().map(|context| &mut context.tags), transaction.otel.as_mut())
        }
        Line::Error(error) => (error.context.as_mut().map(|context| &mut context.tags), None),
        Line::Span(span) => (span.context.as_mut().map(|context| &mut context.tags), span.otel.as_mut()),
        Line::Metricset(metricset) => (Some(&mut metricset.tags), None),
        Line::Log(log) => (Some(&mut log.labels), None),
        Line::Metadata(_) => (None, None),
    };
    own.into_iter().chain(otel.map(|otel| &mut otel.attributes))
}

fn cut_texts(line: &mut Line<'_>, limit: usize) -> bool {
    let mut changed = context(line).is_some_and(|context| {
        bodies(context).fold(false, |changed, body| changed | body.as_mut().is_some_and(|body| cut_text(body, limit)))
    });
    match line {
        Line::Error(error) => {
            if let Some(log) = &mut error.log {
                changed |= cut_text(&mut log.message, limit);
            }
            let mut thrown = error.exception.as_mut();
            while let Some(exception) = thrown {
                changed |= exception.message.as_mut().is_some_and(|message| cut_text(message, limit));
                thrown = exception.cause.first_mut();
            }
        }
        Line::Span(span) => {
            let statement = span.context.as_mut().and_then(|context| context.db.as_mut()?.statement.as_mut());
            changed |= statement.is_some_and(|statement| cut_text(statement, limit));
        }
        Line::Log(log) => changed |= cut_text(&mut log.message, limit),
        Line::Transaction(_) | Line::Metadata(_) | Line::Metricset(_) => {}
    }
    changed
}

fn cut_text(text: &mut Cow<'_, str>, limit: usize) -> bool {
    let is_long = text.char_indices().nth(limit).is_some();
    if is_long {
        *text = cut(std::mem::take(text), limit);
    }
    is_long
}

/// Whoever looks for the custom context finds why it is not there.
fn leave_out_custom(context: &mut Context<'_>) -> bool {
    let present = !context.custom.0.is_empty() && context.custom.get(NOTE).is_none();
    if present {
        let note = Json(r#""left out: the event was over 300 KiB""#.to_owned());
        context.custom = Custom { 0: vec![(Cow::Borrowed(NOTE), note)] };
    }
    present
}

fn leave_out_body(context: &mut Context<'_>) -> bool {
    bodies(context).fold(false, |present, body| present | body.take().is_some())
}

/// Removes the body of the request and the body of the message.
fn bodies<'l, 'a>(context: &'l mut Context<'a>) -> impl Iterator<Item = &'l mut Option<Cow<'a, str>>> {
    let of_request = context.request.as_mut().map(|request| &mut request.body);
    let of_message = context.message.as_mut().map(|message| &mut message.body);
    of_request.into_iter().chain(of_message)
}

fn leave_out_headers(context: &mut Context<'_>) -> bool {
    let mut present = false;
    if let Some(request) = &mut context.request {
        present |= !request.headers.0.is_empty() || !request.cookies.0.is_empty();
        request.headers = Entries::default();
        request.cookies = Entries::default();
    }
    if let Some(response) = &mut context.response {
        present |= !response.headers.0.is_empty();
        response.headers = Entries::default();
    }
    if let Some(message) = &mut context.message {
        present |= !message.headers.0.is_empty();
        message.headers = Entries::default();
    }
    present
}

/// The innermost frames stay longest.
fn halve_stacks(line: &mut Line<'_>) -> bool {
    fn halve(stack: &mut Vec<Frame<'_>>) -> bool {
        let present = !stack.is_empty();
        stack.truncate(stack.len() / 2);
        present
    }
    fn of_exception(exception: &mut Exception<'_>) -> bool {
        halve(&mut exception.stacktrace)
            | exception.cause.iter_mut().fold(false, |changed, cause| changed | of_exception(cause))
    }
    match line {
        Line::Error(error) => {
            error.exception.as_mut().is_some_and(of_exception)
                | error.log.as_mut().is_some_and(|log| halve(&mut log.stacktrace))
        }
        Line::Span(span) => halve(&mut span.stacktrace),
        Line::Transaction(_) | Line::Metadata(_) | Line::Metricset(_) | Line::Log(_) => false,
    }
}

fn leave_out_causes(line: &mut Line<'_>) -> bool {
    let Line::Error(error) = line else { return false };
    error.exception.as_mut().is_some_and(|exception| !std::mem::take(&mut exception.cause).is_empty())
}

fn leave_out_statistics(line: &mut Line<'_>) -> bool {
    let Line::Transaction(transaction) = line else { return false };
    !std::mem::take(&mut transaction.dropped_spans_stats).is_empty()
}

fn cut_labels(line: &mut Line<'_>) -> bool {
    let values = labels(line).flat_map(|labels| labels.0.iter_mut());
    values.fold(false, |changed, (_, value)| match value {
        Scalar::Text(text) => changed | cut_text(text, LABEL),
        _ => changed,
    })
}

/// The largest go first.
fn halve_labels(line: &mut Line<'_>) -> bool {
    let size = |(key, value): &(Cow<'_, str>, Scalar<'_>)| match value {
        Scalar::Text(text) => key.len() + text.len(),
        _ => key.len(),
    };
    let mut changed = false;
    for labels in labels(line) {
        changed |= !labels.0.is_empty();
        labels.0.sort_by_key(size);
        labels.0.truncate(labels.0.len() / 2);
    }
    changed
}

#[cfg(test)]
#[path = "truncate_event_tests.rs"]
mod tests;
