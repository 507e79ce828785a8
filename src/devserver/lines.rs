//! Cuts a stream of bytes into lines, holding no more of a line than the server allows.

/// The server's limit of a line with its line end, uncompressed (`max_event_size`).
pub(crate) const MAX_LINE: usize = 307_200;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Whole(&'a [u8]),
    /// The beginning of a line that was longer than allowed.
    TooLong(&'a [u8]),
}

#[derive(Debug, Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
    skipping: bool,
}

impl Lines {
    /// Takes bytes and hands over each line that they end.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        while !bytes.is_empty() {
            let (part, rest, ended) = match bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => (&bytes[..end], &bytes[end + 1..], true),
                None => (bytes, &[][..], false),
            };
            bytes = rest;
            if !self.skipping {
                let fits = part.len().min(MAX_LINE - self.open.len());
                self.open.extend_from_slice(&part[..fits]);
                // the line end takes a byte of the allowance
                if self.open.len() == MAX_LINE {
                    each(Line::TooLong(&self.open));
                    self.skipping = true;
                } else if ended {
                    each(Line::Whole(&self.open));
                }
            }
            if ended {
                self.skipping = false;
            }
            if ended || self.skipping {
                self.open.clear();
            }
        }
    }

    /// What is left of a line without an end.
    pub(crate) fn rest(&self) -> Option<&[u8]> {
        (!self.open.is_empty()).then_some(&self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as text, the too long ones as their length.
    fn split(chunks: &[&[u8]]) -> (Vec<String>, Option<String>) {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, |line| {
                all.push(match line {
                    Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                    Line::TooLong(start) => format!("too long: {}", start.len()),
                });
            });
        }
        (all, lines.rest().map(|rest| String::from_utf8_lossy(rest).into_owned()))
    }

    #[test]
    fn lines_may_come_in_any_pieces() {
        for chunks in [&[&b"ab\n\ncd\ne"[..]][..], &[b"a", b"b\n", b"\nc", b"d", b"\n", b"e"]] {
            assert_eq!(split(chunks), (vec!["ab".to_owned(), String::new(), "cd".to_owned()], Some("e".to_owned())));
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_allowed_with_its_end() {
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
