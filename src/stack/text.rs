//! Reads a stack that was printed: `std::backtrace::Backtrace` and everything that prints alike.

use super::Frame;

/// Lines that fit no frame are skipped.
pub(super) fn frames(text: &str) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut function: Option<&str> = None;
    for line in text.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            let (file, line, column) = place_of(place);
            frames.push(Frame::new(function.take(), Some(file), line, column));
        } else if let Some(name) = numbered(line) {
            frames.extend(function.replace(name).map(|name| Frame::new(Some(name), None, None, None)));
        }
    }
    frames.extend(function.map(|name| Frame::new(Some(name), None, None, None)));
    frames
}

/// The name behind `12: `, and behind the address that some printers put first.
fn numbered(line: &str) -> Option<&str> {
    let (number, name) = line.split_once(": ")?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let name = name.trim();
    let name = match name.split_once(" - ") {
        Some((address, name)) if address.starts_with("0x") => name,
        _ => name,
    };
    Some(name).filter(|name| *name != "<unknown>")
}

/// `file:line:column`, the file possibly with a drive letter.
fn place_of(place: &str) -> (&str, Option<u32>, Option<u32>) {
    let split = |text| {
        let (rest, number): (&str, &str) = str::rsplit_once(text, ':')?;
        Some((rest, number.parse::<u32>().ok()?))
    };
    match split(place) {
        Some((rest, last)) => match split(rest) {
            Some((file, line)) => (file, Some(line), Some(last)),
            None => (rest, Some(last), None),
        },
        None => (place, None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "
   0: std::backtrace_rs::backtrace::libunwind::trace
             at /rustc/17067e9ac6d7e2f1a6cd27bbc9fd5a6f4a1b5b1b/library/std/src/../../backtrace/src/backtrace/libunwind.rs:117:9
   1: anyhow::error::<impl anyhow::Error>::msg
             at /home/ada/.cargo/registry/src/registry.example-0123456789abcdef/anyhow-1.0.100/src/error.rs:100:36
   2: marketplace::market::service::purchase::{{closure}}::h0123456789abcdef
             at ./src/market/service.rs:42:13
   3: <unknown>
   4: 0x55d0c0ffee - tokio::runtime::task::core::Core<T,S>::poll::{{closure}}
   5: __libc_start_main
";

    #[test]
    fn printed_stacks_are_read() {
        let frames = frames(PRINTED);
        let functions: Vec<_> = frames.iter().map(|frame| frame.function.as_deref().unwrap()).collect();
        assert_eq!(
            functions,
            [
                "std::backtrace_rs::backtrace::libunwind::trace",
                "anyhow::error::<impl anyhow::Error>::msg",
                "marketplace::market::service::purchase",
                "tokio::runtime::task::core::Core::poll",
                "__libc_start_main",
            ]
        );
        assert_eq!(frames[1].file.as_deref(), Some("anyhow-1.0.100/src/error.rs"));
        assert_eq!(frames[2].file.as_deref(), Some("src/market/service.rs"));
        assert_eq!((frames[2].line, frames[2].column), (Some(42), Some(13)));
        let libraries: Vec<_> = frames.iter().map(|frame| frame.library).collect();
        assert_eq!(libraries, [true, true, false, true, true]);
    }

    #[test]
    fn other_text_gives_no_frames() {
        assert!(frames("disabled backtrace").is_empty());
        assert!(frames("").is_empty());
    }

    #[test]
    fn drive_letter_is_not_a_line_number() {
        assert_eq!(place_of(r"C:\shop\src\main.rs:3:5"), (r"C:\shop\src\main.rs", Some(3), Some(5)));
        assert_eq!(place_of(r"C:\shop\src\main.rs"), (r"C:\shop\src\main.rs", None, None));
    }
}
