//! What an event that is too long can do without: better a shorter one than none.

use std::borrow::Cow;

use super::model::{Context, Custom, Entries, Json, Line};

/// Takes one thing more away; `step` counts from 0. False when nothing is left to take.
pub(super) fn shorten(line: &mut Line<'_>, step: usize) -> bool {
    match line {
        Line::Transaction(transaction) => transaction.context.as_mut().is_some_and(|context| lighten(context, step)),
        Line::Error(error) => match step {
            0..CONTEXT_STEPS => {
                if let Some(context) = &mut error.context {
                    lighten(context, step);
                }
                true
            }
            CONTEXT_STEPS => {
                if let Some(exception) = &mut error.exception {
                    exception.cause.clear();
                }
                true
            }
            _ => false,
        },
        Line::Span(span) => {
            match (step, &mut span.context) {
                (0, _) => span.stacktrace.clear(),
                (1, Some(context)) => context.tags = Entries::default(),
                _ => return false,
            }
            true
        }
        Line::Metadata(_) | Line::Metricset(_) | Line::Log(_) => false,
    }
}

const CONTEXT_STEPS: usize = 4;

fn lighten(context: &mut Context<'_>, step: usize) -> bool {
    match step {
        0 => {
            if !context.custom.0.is_empty() {
                context.custom = left_out();
            }
        }
        1 => {
            if let Some(request) = &mut context.request {
                request.body = None;
            }
        }
        2 => {
            if let Some(request) = &mut context.request {
                request.headers = Entries::default();
                request.cookies = Entries::default();
            }
            if let Some(response) = &mut context.response {
                response.headers = Entries::default();
            }
        }
        3 => context.tags = Entries::default(),
        _ => return false,
    }
    true
}

/// Whoever looks for the custom context finds why it is not there.
fn left_out<'a>() -> Custom<'a> {
    let note = Json(r#""left out: the event was over 300 KiB""#.to_owned());
    Entries(vec![(Cow::Borrowed("tower_apm"), note)])
}
