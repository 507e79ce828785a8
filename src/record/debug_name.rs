//! Reads the name of the type from the output of a derived `Debug`, and compares that output with a logged text.
//!
//! The type of a `dyn Error` cannot be queried. A derived `Debug` begins with the name of the struct or of the enum's
//! variant. `Debug` implementations that write a sentence are recognised, so that no word of a sentence becomes a type.

use std::fmt::{self, Debug, Write};

/// The longest name that is read, in bytes.
const MAX_NAME: usize = 128;

/// Reads the name from an error's `Debug` output: `Settlement`, or `reqwest::Error` for types that write their path.
/// Returns `None` if the `Debug` is a sentence or is not derived.
///
/// `display` is the error's `Display`. `anyhow` and others use it as the `Debug` of errors that are only a message.
pub(super) fn debug_name(error: &(impl Debug + ?Sized), display: &str) -> Option<String> {
    // The alternate form makes `anyhow` and `eyre` write the error that they wrap. It also shows that a `Debug` was
    // made with the helpers of `Formatter`, because these put the first field on a separate line.
    let mut head = Head { text: String::new() };
    let is_complete = write!(head, "{error:#?}").is_ok();
    let head = head.text;
    let (name, after) = head.split_at(end_of_path(&head));
    if !is_type(name) {
        return None;
    }
    let is_multiline = after.starts_with("(\n") || after.starts_with(" {\n");
    let is_short = after.starts_with('(') || after.starts_with(" {") || after.is_empty() && is_complete;
    let is_wrapper = || {
        let field = after.trim_start_matches([' ', '{', '\n']);
        // the contexts of `anyhow` and `eyre`
        name == "Error" && (field.starts_with("context: ") || field.starts_with("msg: "))
    };
    let is_type = is_multiline && !is_wrapper() || !is_multiline && is_short && !display.starts_with(&head);
    is_type.then(|| name.to_owned())
}

/// Returns the type if the whole text is the `Debug` output of an error.
///
/// Such a text is `Settlement(Timeout)`, `SaleError { id: 7 }`, or a name of at least two words such as `RowNotFound`.
pub(super) fn type_of_text(text: &str) -> Option<&str> {
    let (name, after) = text.split_at(end_of_path(text));
    let last = name.rsplit("::").next().unwrap_or_default();
    let is_whole = match after.trim_start().chars().next() {
        None => is_compound(last),
        Some('(') => after.starts_with('(') && is_enclosed(after, b'(', b')'),
        Some('{') => after.starts_with(" {") && is_enclosed(after.trim_start(), b'{', b'}'),
        Some(_) => false,
    };
    (is_whole && is_type(name) && last.contains(|letter: char| letter.is_lowercase())).then_some(name)
}

/// Returns true if the last character closes the first bracket. Brackets in quoted text are ignored.
fn is_enclosed(text: &str, opening: u8, closing: u8) -> bool {
    let (mut depth, mut is_quoted, mut is_escaped) = (0_usize, false, false);
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            _ if byte == opening => depth += 1,
            _ if byte == closing => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1 == bytes.len();
                }
            }
            _ => {}
        }
    }
    false
}

/// Returns true for a name such as `RowNotFound`: an upper-case letter follows a lower-case letter.
fn is_compound(name: &str) -> bool {
    name.as_bytes().windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
}

/// Returns the end of the path of identifiers at the start of a text.
fn end_of_path(text: &str) -> usize {
    text.find(|char: char| !(char.is_alphanumeric() || char == '_' || char == ':')).unwrap_or(text.len())
}

/// Reads a path of identifiers. The last one starts with an upper-case letter, like the names of types and variants.
fn is_type(path: &str) -> bool {
    let is_name =
        |part: &str| part.starts_with(|first: char| first.is_alphabetic() || first == '_') && !part.contains(':');
    path.len() <= MAX_NAME
        && path.split("::").all(is_name)
        && path.rsplit("::").next().is_some_and(|last| last.starts_with(char::is_uppercase))
}

/// Keeps the beginning of a text and then stops the writer.
struct Head {
    text: String,
}

impl Head {
    /// A name, what opens its fields, and the name of the first field.
    const BYTES: usize = MAX_NAME + 24;
}

impl Write for Head {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for char in part.chars() {
            if self.text.len() >= Self::BYTES {
                return Err(fmt::Error);
            }
            self.text.push(char);
            // what follows the field's name can be long, or slow to write
            if char == ':' && self.text.contains('\n') {
                self.text.push(' ');
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

/// Returns true if this text is the `Debug` output of an error.
///
/// At most 1 KiB is compared. The output stops at the first difference, because `anyhow::Error` resolves a stack at the
/// end of its output.
pub(crate) fn is_debug_of(text: &str, error: &(impl Debug + ?Sized)) -> bool {
    struct Compared<'a> {
        left: &'a [u8],
        is_cut: bool,
    }

    impl Write for Compared<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            let compared = part.len().min(if self.is_cut { self.left.len() } else { usize::MAX });
            self.left = self.left.strip_prefix(&part.as_bytes()[..compared]).ok_or(fmt::Error)?;
            if self.is_cut && self.left.is_empty() { Err(fmt::Error) } else { Ok(()) }
        }
    }

    const MAX_COMPARED: usize = 1024;
    let left = &text.as_bytes()[..text.len().min(MAX_COMPARED)];
    let mut compared = Compared { left, is_cut: text.len() > MAX_COMPARED };
    let written = write!(compared, "{error:?}");
    compared.left.is_empty() && (written.is_ok() || compared.is_cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "only their `Debug` is used")]
    enum Sale {
        Settled,
        Reverted(u8),
        Late { hours: u8 },
    }

    /// Writes a text as its `Debug`.
    struct Custom(&'static str);

    impl Debug for Custom {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    #[test]
    fn derived_debug_begins_with_the_name() {
        for (sale, name) in
            [(Sale::Settled, "Settled"), (Sale::Reverted(1), "Reverted"), (Sale::Late { hours: 2 }, "Late")]
        {
            assert_eq!(debug_name(&sale, "no sale").as_deref(), Some(name));
        }
        // a type that displays its `Debug`
        assert_eq!(debug_name(&Sale::Reverted(1), "Reverted(1)").as_deref(), Some("Reverted"));
        assert_eq!(debug_name(&Custom("reqwest::Error { .. }"), "gone").as_deref(), Some("reqwest::Error"));
    }

    #[test]
    fn sentence_gives_no_name() {
        for text in [
            "HTTP error 500",
            "Timeout",
            "Timeout(5) of the pool",
            "\"Timeout\"",
            "no sale",
            "Error: gone",
            "",
            "::",
            "Http::",
        ] {
            assert_eq!(debug_name(&Custom(text), text), None, "{text}");
        }
        assert_eq!(debug_name(&Custom("Error {\n    context: \"no sale\",\n}"), "no sale"), None);
        assert_eq!(debug_name(&Custom("Error {\n    msg: \"no sale\",\n}"), "no sale"), None);
    }

    #[test]
    fn debug_is_not_written_beyond_the_first_field() {
        struct Endless;
        impl Debug for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("Endless(")?;
                (0..).try_for_each(|_| f.write_str("over and over "))
            }
        }
        assert_eq!(debug_name(&Endless, "endless").as_deref(), Some("Endless"));
    }

    #[test]
    fn debug_text_is_compared_up_to_its_limit() {
        let sale = Sale::Late { hours: 2 };
        let text = format!("{sale:?}");
        assert!(is_debug_of(&text, &sale));
        for other in [&text[1..], &text[..text.len() - 1], &format!("{text}."), "", "no sale"] {
            assert!(!is_debug_of(other, &sale), "{other}");
        }
        let long = "x".repeat(5000);
        assert!(is_debug_of(&format!("{long:?}"), &long));
        assert!(!is_debug_of(&format!("{long:?}"), &"xxxxx"));
    }

    #[test]
    fn type_is_read_from_text_that_is_debug_output_as_a_whole() {
        for (text, name) in [
            ("Settlement(Timeout)", "Settlement"),
            ("SaleError { id: 7, by: \"a }\" }", "SaleError"),
            ("sqlx::Error { kind: Io }", "sqlx::Error"),
            ("RowNotFound", "RowNotFound"),
        ] {
            assert_eq!(type_of_text(text), Some(name));
        }
        for text in [
            "HTTP(500)",
            "Timeout",
            "Settlement(1) failed (again)",
            "Settlement (1)",
            "database error: RowNotFound",
            "Cart { id: 1 } is empty",
            "McDonald's",
            "",
        ] {
            assert_eq!(type_of_text(text), None, "{text}");
        }
    }
}
