//! Times as text: RFC 3339, with the liberties that the server takes.

/// Whether the server can read this: `2026-08-20T10:00:00Z`, with or without a fraction (`.` or `,`), the offset as
/// `+02:00`, `+0200` or `+02`, the hour also with one digit.
pub(super) fn is_readable(text: &str) -> bool {
    read(text.as_bytes()).is_some()
}

fn read(text: &[u8]) -> Option<()> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(byte(rest, b'-')?, 2)?;
    let (day, rest) = digits(byte(rest, b'-')?, 2)?;
    let rest = byte(rest, b'T')?;
    let (hour, rest) = digits(rest, 2).or_else(|| digits(rest, 1))?;
    let (minute, rest) = digits(byte(rest, b':')?, 2)?;
    let (second, rest) = digits(byte(rest, b':')?, 2)?;
    let in_range =
        (1..=12).contains(&month) && (1..=days(year, month)).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let rest = match rest {
        [b'.' | b',', fraction @ ..] if fraction.first().is_some_and(u8::is_ascii_digit) => {
            let end = fraction.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(fraction.len());
            fraction.get(end..)?
        }
        rest => rest,
    };
    (in_range && is_offset(rest)).then_some(())
}

fn is_offset(text: &[u8]) -> bool {
    let (hours, minutes) = match text {
        [b'Z'] => return true,
        [b'+' | b'-', hours @ ..] if hours.len() == 2 => (hours, &b"00"[..]),
        [b'+' | b'-', both @ ..] if both.len() == 4 => both.split_at(2),
        [b'+' | b'-', both @ ..] if both.len() == 5 && both.get(2) == Some(&b':') => {
            (both.get(..2).unwrap_or_default(), both.get(3..).unwrap_or_default())
        }
        _ => return false,
    };
    matches!((digits(hours, 2), digits(minutes, 2)), (Some((0..=24, _)), Some((0..=60, _))))
}

fn digits(text: &[u8], count: usize) -> Option<(u32, &[u8])> {
    let (number, rest) = text.split_at_checked(count)?;
    let number = number
        .iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))?;
    Some((number, rest))
}

fn byte(text: &[u8], expected: u8) -> Option<&[u8]> {
    text.split_first().filter(|(first, _)| **first == expected).map(|(_, rest)| rest)
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_like_the_server() {
        for good in [
            "2026-08-20T10:00:00Z",
            "2026-08-20T10:00:00.123456Z",
            "2026-08-20T10:00:00,5Z",
            "2026-08-20T9:00:00+02:00",
            "2026-08-20T10:00:00-0730",
            "2026-08-20T10:00:00+02",
            "2024-02-29T00:00:00Z",
        ] {
            assert!(is_readable(good), "{good}");
        }
        for bad in [
            "",
            "2026-08-20",
            "2026-08-20 10:00:00Z",
            "2026-08-20T10:00:00",
            "2026-08-20T10:00:00z",
            "2026-08-20T10:00:60Z",
            "2026-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-08-20T24:00:00Z",
            "2026-08-20T10:00:00.Z",
            "2026-08-20T10:00:00+2",
            "1597917600000000",
        ] {
            assert!(!is_readable(bad), "{bad}");
        }
    }
}
