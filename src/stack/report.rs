//! Reads the stack that an error contains. `anyhow` and other crates write it as a part of their `Debug` output.

use std::fmt::{self, Write};

use super::{Frame, text};
use crate::record::{Exception, Stack, UnformattedError, catch};

/// The maximum length of `Debug` output that is read, in bytes. A stack of a few hundred frames is shorter.
const MAX_TEXT: usize = 256 * 1024;

/// Formats the error and reads the stack, or the place of its creation. Returns `None` if the error has neither.
///
/// This runs user code. A panic in the code is contained.
pub(super) fn frames(error: UnformattedError) -> Option<Vec<Frame>> {
    let format = move || {
        let mut bounded = Bounded(String::new());
        // on an error (the limit, or an error of the `Debug` code), the text up to this point is read
        let _ = write!(bounded, "{:?}", error.0);
        bounded.0
    };
    let text = catch(format)?;
    let frames = of_backtrace(&text).or_else(|| of_report(&text));
    frames.filter(|frames| !frames.is_empty())
}

/// Reads the `Debug` output of a `std::backtrace::Backtrace` in the output of an error:
/// `Backtrace [{ fn: "shop::buy", file: "…", line: 7 }, …]`.
fn of_backtrace(text: &str) -> Option<Vec<Frame>> {
    let (_, list) = text.split_once("Backtrace [")?;
    let mut frames = Vec::new();
    for entry in list.split("{ fn: ").skip(1) {
        let Some((name, rest)) = quoted(entry) else { continue };
        let place = rest.strip_prefix(", file: ").and_then(quoted);
        let file = place.map(|(file, _)| file.replace("\\\\", "\\"));
        let line = place.and_then(|(_, rest)| rest.strip_prefix(", line: "));
        let line = line.and_then(|line| line.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        frames.push(Frame::new(Some(name), file.as_deref(), line, None));
        if rest.contains('}') && !entry.trim_end().ends_with("},") {
            break;
        }
    }
    Some(frames)
}

/// Returns the text between quotes and the remaining text.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('"')?.split_once('"')
}

/// Reads a report of `anyhow` or `eyre`, possibly in the `Debug` output of another error.
fn of_report(text: &str) -> Option<Vec<Frame>> {
    match Exception::from_text(text.to_owned()).stack {
        Stack::Text(text) => Some(text::frames(&text)),
        Stack::Location(place) => Some(vec![Frame::at(&place)]),
        _ => None,
    }
}

/// Keeps the beginning of a text and then stops the writer.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.0.len() + part.len() > MAX_TEXT {
            return Err(fmt::Error);
        }
        self.0.push_str(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{backtrace::Backtrace, error::Error, sync::Arc};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no sale")]
    struct NoSale(Box<Backtrace>);

    #[derive(thiserror::Error)]
    #[error("no sale")]
    struct Written(&'static str);

    impl fmt::Debug for Written {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            assert!(!self.0.is_empty(), "no words");
            f.write_str(self.0)
        }
    }

    fn functions(error: impl Error + Send + Sync + 'static) -> Option<Vec<String>> {
        let frames = frames(UnformattedError(Arc::new(error)))?;
        Some(frames.into_iter().filter_map(|frame| frame.function).collect())
    }

    #[inline(never)]
    fn sell() -> NoSale {
        NoSale(Backtrace::force_capture().into())
    }

    #[test]
    fn backtrace_in_a_field_is_read() {
        let found = functions(sell()).unwrap();
        let own =
            found.iter().position(|name| name.ends_with("report::tests::sell")).unwrap_or_else(|| panic!("{found:?}"));
        assert!(found[own + 1].contains("backtrace_in_a_field_is_read"), "{found:?}");
        assert_eq!(functions(NoSale(Backtrace::disabled().into())), None);
    }

    #[test]
    fn stack_of_a_report_is_read() {
        let text = "no sale\n\nCaused by:\n    gone\n\nStack backtrace:\n   0: shop::buy\n             at ./src/buy.rs:7:9\n   1: shop::main";
        assert_eq!(functions(Written(text)).unwrap(), ["shop::buy", "shop::main"]);
        let within = "Internal(no sale\n\nStack backtrace:\n   0: shop::buy\n   1: shop::main)";
        assert_eq!(functions(Written(within)).unwrap()[0], "shop::buy");
    }

    #[test]
    fn location_of_a_report_is_a_frame() {
        let text = "no sale\n\nLocation:\n    src/buy.rs:7:9";
        let [frame] = &frames(UnformattedError(Arc::new(Written(text)))).unwrap()[..] else { panic!("not one frame") };
        assert_eq!((frame.file.as_deref(), frame.line, frame.column), (Some("src/buy.rs"), Some(7), Some(9)));
    }

    #[test]
    fn error_without_a_stack_gives_no_frames() {
        assert_eq!(functions(Written("no sale")), None);
        assert_eq!(functions(Written("")), None, "a panic is contained");
        let long: &str = Box::leak(format!("x{}", "y".repeat(2 * MAX_TEXT)).into_boxed_str());
        assert_eq!(functions(Written(long)), None);
    }
}
