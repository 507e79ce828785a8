//! Cuts a stream of bytes into lines, holding no more of a line than the server allows.

/// The server's limit of a line with its line end, uncompressed (`max_event_size`).
pub(crate) const MAX_LINE: usize = 307_200;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Whole(&'a [u8]),
    /// The beginning of a line that was longer than allowed.
    TooLong(&'a [u8]),
}

/// A buffer that has grown beyond this is given back with its line.
const KEPT: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
    skipping: bool,
    /// The line in `open` was handed over.
    handed: bool,
}

impl Lines {
    /// Takes bytes from the start of `bytes` and hands over the line that they end, if they end one. `each` is called
    /// once at most.
    pub(crate) fn take(&mut self, bytes: &mut &[u8], each: impl FnOnce(Line<'_>)) {
        if std::mem::take(&mut self.handed) {
            self.open.clear();
            if self.open.capacity() > KEPT {
                self.open.shrink_to(KEPT);
            }
        }
        let (part, rest, ended) = match memchr::memchr(b'\n', bytes) {
            Some(end) => (&bytes[..end], &bytes[end + 1..], true),
            None => (*bytes, &[][..], false),
        };
        *bytes = rest;
        if self.skipping {
            self.skipping = !ended;
            return;
        }
        if self.open.is_empty() && ended && part.len() < MAX_LINE {
            return each(Line::Whole(part));
        }
        let fits = part.len().min(MAX_LINE - self.open.len());
        self.open.extend_from_slice(&part[..fits]);
        // the line end takes a byte of the allowance
        if self.open.len() == MAX_LINE {
            self.skipping = !ended;
            self.handed = true;
            each(Line::TooLong(&self.open));
        } else if ended {
            self.handed = true;
            each(Line::Whole(&self.open));
        }
    }

    /// What is left of a line without an end.
    pub(crate) fn rest(&self) -> Option<&[u8]> {
        (!self.open.is_empty() && !self.handed).then_some(&self.open)
    }

    /// How long the line is so far.
    pub(crate) fn len(&self) -> usize {
        if self.handed { 0 } else { self.open.len() }
    }

    /// The bytes that it keeps.
    pub(crate) fn memory(&self) -> usize {
        self.open.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as text, the too long ones as their length.
    fn split(chunks: &[&[u8]]) -> (Vec<String>, Option<String>) {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for mut chunk in chunks.iter().copied() {
            while !chunk.is_empty() {
                lines.take(&mut chunk, |line| {
                    all.push(match line {
                        Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                        Line::TooLong(start) => format!("too long: {}", start.len()),
                    });
                });
            }
        }
        (all, lines.rest().map(|rest| String::from_utf8_lossy(rest).into_owned()))
    }

    #[test]
    fn lines_can_arrive_in_any_chunks() {
        for chunks in [&[&b"ab\n\ncd\ne"[..]][..], &[b"a", b"b\n", b"\nc", b"d", b"\n", b"e"]] {
            assert_eq!(split(chunks), (vec!["ab".to_owned(), String::new(), "cd".to_owned()], Some("e".to_owned())));
        }
    }

    #[test]
    fn line_limit_includes_the_line_feed() {
        let longest = [vec![b'x'; MAX_LINE - 1], vec![b'\n']].concat();
        assert_eq!(split(&[&longest]).0[0].len(), MAX_LINE - 1);
        let longer = [vec![b'x'; MAX_LINE], b"\nnext\n".to_vec()].concat();
        for chunk in [1000, MAX_LINE, usize::MAX] {
            let chunks: Vec<_> = longer.chunks(chunk).collect();
            assert_eq!(split(&chunks), (vec![format!("too long: {MAX_LINE}"), "next".to_owned()], None));
        }
        assert_eq!(split(&[&vec![b'x'; 5 * MAX_LINE]]), (vec![format!("too long: {MAX_LINE}")], None));
    }
}
