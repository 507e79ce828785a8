//! Error reports that were formatted as text: the `Debug` of `anyhow::Error`, of `eyre::Report`, and of error types that
//! print their causes in the same way.

use super::SourceLocation;

/// The maximum number of causes that are read from one text.
const MAX_CAUSES: usize = 50;

/// The parts of a formatted error.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) message: String,
    /// The causes, from the nearest cause to the root cause.
    pub(super) causes: Vec<String>,
    /// The place at which the error was created (`Location:` of eyre).
    pub(super) place: Option<SourceLocation>,
    /// The lines below `Stack backtrace:`.
    pub(super) backtrace: Option<String>,
}

/// The part of the text that a line belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    Message,
    Causes,
    Location,
    Other,
}

impl Report {
    /// Reads a text of several lines. Returns `None` for a text without causes, location and backtrace.
    ///
    /// Three layouts of causes are known: `Caused by:` with one cause per numbered or indented paragraph (anyhow and eyre),
    /// a `Caused by:` before each cause, and a numbered list from the error itself on (color-eyre).
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.contains('\n') {
            return None;
        }
        let plain;
        let text = if text.contains('\u{1b}') {
            plain = without_colours(text);
            &plain
        } else {
            text
        };
        let mut report = Self::default();
        let mut section = Section::Message;
        let mut begins_cause = false;
        let mut rest = text;
        while !rest.is_empty() {
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            rest = after;
            let line = line.trim();
            if let Some(cause) = line.strip_prefix("Caused by:") {
                section = Section::Causes;
                begins_cause = true;
                report.add_cause(cause.trim(), &mut begins_cause);
            } else if line == "Location:" {
                section = Section::Location;
            } else if is_backtrace_head(line) {
                report.backtrace = Some(rest.to_owned());
                break;
            } else if line.contains("━━") || line.starts_with("Backtrace omitted") {
                section = Section::Other;
            } else {
                match section {
                    Section::Message => match numbered(line) {
                        // color-eyre numbers the error itself too
                        Some((0, message)) if report.message.is_empty() => report.message = message.to_owned(),
                        Some((number, cause)) if number == report.causes.len() + 1 => {
                            begins_cause = true;
                            report.add_cause(cause, &mut begins_cause);
                        }
                        _ => append(&mut report.message, line),
                    },
                    Section::Causes if line.is_empty() => begins_cause = true,
                    Section::Causes => match numbered(line) {
                        Some((number, cause)) if number == report.causes.len() => {
                            begins_cause = true;
                            report.add_cause(cause, &mut begins_cause);
                        }
                        _ => report.add_cause(line, &mut begins_cause),
                    },
                    Section::Location if report.place.is_none() => report.place = place(line),
                    Section::Location | Section::Other => {}
                }
            }
        }
        report.message.truncate(report.message.trim_end().len());
        let is_report = !report.causes.is_empty() || report.place.is_some() || report.backtrace.is_some();
        (is_report && !report.message.is_empty()).then_some(report)
    }

    /// Adds a cause, or a further line of the last one.
    fn add_cause(&mut self, line: &str, begins: &mut bool) {
        if line.is_empty() {
            return;
        }
        if !*begins && let Some(last) = self.causes.last_mut() {
            append(last, line);
        } else if self.causes.len() < MAX_CAUSES {
            self.causes.push(line.to_owned());
        }
        *begins = false;
    }
}

fn append(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}

fn is_backtrace_head(line: &str) -> bool {
    line.eq_ignore_ascii_case("stack backtrace:") || line.contains("━ BACKTRACE ━")
}

/// Returns the cause in a line such as `2: the cause`.
fn numbered(line: &str) -> Option<(usize, &str)> {
    let (number, text) = line.split_once(": ")?;
    Some((number.parse().ok()?, text.trim()))
}

/// Reads a place such as `src/main.rs:10:5`.
fn place(line: &str) -> Option<SourceLocation> {
    let (rest, last) = line.rsplit_once(':')?;
    let last = last.parse().ok()?;
    let number = |(file, line): (&str, &str)| Some((file.to_owned(), line.parse::<u32>().ok()?));
    let (file, line, column) = match rest.rsplit_once(':').and_then(number) {
        Some((file, line)) => (file, line, last),
        None => (rest.to_owned(), last, 0),
    };
    Some(SourceLocation { file: file.into(), line, column })
}

/// Removes the escape sequences that set colours: `ESC [ … m`.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let sequence = part.strip_prefix('[').and_then(|part| part.split_once('m'));
        let is_colour = |codes: &str| codes.bytes().all(|byte| byte.is_ascii_digit() || byte == b';');
        plain.push_str(match sequence {
            Some((codes, rest)) if is_colour(codes) => rest,
            _ => part,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Vec<String>) {
        let report = Report::parse(text).unwrap_or_else(|| panic!("no report: {text}"));
        (report.message, report.causes)
    }

    fn chain(message: &str, causes: &[&str]) -> (String, Vec<String>) {
        (message.to_owned(), causes.iter().map(|cause| (*cause).to_owned()).collect())
    }

    #[test]
    fn anyhow_report_has_message_and_causes() {
        assert_eq!(parsed("no sale\n\nCaused by:\n    out of gas"), chain("no sale", &["out of gas"]));
        let several = "no sale\n\nCaused by:\n    0: reverted: 3\n       on chain 1\n    1: out of gas\n";
        assert_eq!(parsed(several), chain("no sale", &["reverted: 3\non chain 1", "out of gas"]));
        let wrapped = "no sale\n\nCaused by:\n    reverted\n    on chain 1";
        assert_eq!(parsed(wrapped), chain("no sale", &["reverted\non chain 1"]));
    }

    #[test]
    fn report_keeps_backtrace_and_location() {
        let report = Report::parse("no sale\n\nStack backtrace:\n   0: shop::buy\n   1: shop::main").unwrap();
        assert_eq!(report.backtrace.as_deref(), Some("   0: shop::buy\n   1: shop::main"));
        let report = Report::parse("no sale\n\nCaused by:\n    gone\n\nLocation:\n    src/buy.rs:7:9").unwrap();
        let place = report.place.unwrap();
        assert_eq!((&*place.file, place.line, place.column), ("src/buy.rs", 7, 9));
        assert_eq!(report.causes, ["gone"]);
    }

    #[test]
    fn color_eyre_report_is_a_numbered_list_in_colours() {
        let text = "\n   0: \u{1b}[91mno sale\u{1b}[0m\n   1: \u{1b}[91mgone\u{1b}[0m\n\nLocation:\n   \u{1b}[35msrc/buy.rs\u{1b}[0m:\
                    \u{1b}[35m7\u{1b}[0m\n\nBacktrace omitted. Run with RUST_BACKTRACE=1 environment variable to display it.\n";
        let report = Report::parse(text).unwrap();
        assert_eq!((report.message, report.causes), chain("no sale", &["gone"]));
        assert_eq!(report.place.map(|place| (place.file.into_owned(), place.line)), Some(("src/buy.rs".to_owned(), 7)));
    }

    #[test]
    fn each_cause_may_have_its_own_heading() {
        let text = "no sale\n\nCaused by:\n\treverted\nCaused by:\n\tout of gas\n";
        assert_eq!(parsed(text), chain("no sale", &["reverted", "out of gas"]));
        assert_eq!(parsed("no sale\nCaused by: reverted\nCaused by: gone"), chain("no sale", &["reverted", "gone"]));
    }

    #[test]
    fn other_text_is_no_report() {
        for text in ["", "no sale", "two\nlines", "Location:\nsomewhere", "Caused by:\n  nothing"] {
            assert_eq!(Report::parse(text), None, "{text}");
        }
    }

    #[test]
    fn causes_are_limited() {
        let text = format!("no sale{}", "\nCaused by: gone".repeat(1000));
        assert_eq!(parsed(&text).1.len(), MAX_CAUSES);
    }
}
