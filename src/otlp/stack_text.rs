//! An error's frames and causes as text: OTLP knows no other form, and the server parses Java's only.

use std::fmt::Write;

use crate::elastic::model::{Error, Exception, Frame};

/// Characters of the text.
const MAX_TEXT: usize = 32_000;

/// The type with its path, as the conventions want it: the one thing that the server groups such errors by.
pub(super) fn type_name(thrown: &Exception<'_>) -> Option<String> {
    let name = thrown.r#type.as_deref()?;
    Some(match thrown.module.as_deref() {
        Some(module) => format!("{module}::{name}"),
        None => name.to_owned(),
    })
}

/// None where there is neither a frame nor a cause.
pub(super) fn of_error(error: &Error<'_>) -> Option<String> {
    let Some(thrown) = &error.exception else { return of_frames(&error.log.as_ref()?.stacktrace) };
    if thrown.stacktrace.is_empty() && thrown.cause.is_empty() {
        return None;
    }
    let mut text = String::new();
    head(&mut text, thrown);
    frames(&mut text, &thrown.stacktrace);
    let mut cause = thrown.cause.first();
    while let Some(thrown) = cause {
        text.push_str("Caused by: ");
        head(&mut text, thrown);
        frames(&mut text, &thrown.stacktrace);
        cause = thrown.cause.first();
    }
    Some(bounded(text))
}

/// None where there is no frame.
pub(super) fn of_frames(stack: &[Frame<'_>]) -> Option<String> {
    let mut text = String::new();
    frames(&mut text, stack);
    (!text.is_empty()).then(|| bounded(text))
}

fn head(text: &mut String, thrown: &Exception<'_>) {
    let message = thrown.message.as_deref().unwrap_or_default();
    match type_name(thrown) {
        Some(name) => text.extend([&name, ": ", message, "\n"]),
        None => text.extend([message, "\n"]),
    }
}

fn frames(text: &mut String, frames: &[Frame<'_>]) {
    for frame in frames {
        let function = frame.function.or(frame.classname).unwrap_or("unknown");
        text.extend(["    at ", function]);
        if let Some(file) = frame.filename {
            text.extend([" (", file]);
            // writing to a `String` cannot fail
            let _ = [frame.lineno, frame.colno].into_iter().flatten().try_for_each(|n| write!(text, ":{n}"));
            text.push(')');
        }
        text.push('\n');
    }
}

fn bounded(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(at);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elastic::model::ErrorLog;

    #[test]
    fn causes_follow_the_stack_frames() {
        let inner =
            Exception { r#type: Some("PoolTimedOut".into()), message: Some("no room".into()), ..<_>::default() };
        let frame = || Frame {
            function: Some("shop::buy"),
            filename: Some("src/buy.rs"),
            lineno: Some(7),
            colno: Some(9),
            ..Frame::default()
        };
        let outer = Exception {
            r#type: Some("Error".into()),
            module: Some("sqlx".into()),
            message: Some("no connection".into()),
            stacktrace: vec![frame()],
            cause: vec![inner],
            ..Exception::default()
        };
        let error = Error {
            id: crate::record::TraceId(1),
            timestamp: 0,
            trace_id: None,
            transaction_id: None,
            parent_id: None,
            transaction: None,
            culprit: None,
            exception: Some(outer),
            log: None,
            context: None,
        };
        let want = "sqlx::Error: no connection\n    at shop::buy (src/buy.rs:7:9)\nCaused by: PoolTimedOut: no room\n";
        assert_eq!(of_error(&error).as_deref(), Some(want));
        assert_eq!(of_frames(&[]), None);
        // a log line without an exception has the frames
        let log = ErrorLog {
            message: "no sale".into(),
            level: None,
            logger_name: None,
            param_message: None,
            stacktrace: vec![frame()],
        };
        let line = Error { exception: None, log: Some(log), ..error };
        assert_eq!(of_error(&line).as_deref(), Some("    at shop::buy (src/buy.rs:7:9)\n"));
    }
}
