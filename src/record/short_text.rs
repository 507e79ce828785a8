//! Text that most often is short.

use arrayvec::ArrayString;

/// Bytes that are kept in place: what is recorded is freed on another thread than the one that has allocated it, which
/// costs both.
const SHORT: usize = 120;

/// Text without an allocation, up to 120 bytes.
#[derive(Clone)]
pub(crate) enum ShortText {
    Short(ArrayString<SHORT>),
    Long(String),
}

impl Default for ShortText {
    fn default() -> Self {
        Self::Short(ArrayString::new())
    }
}

impl From<&str> for ShortText {
    fn from(text: &str) -> Self {
        let mut new = Self::with_capacity(text.len());
        new.push_str(text);
        new
    }
}

impl ShortText {
    /// Knows beforehand which of the two it will be.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        if bytes <= SHORT { Self::default() } else { Self::Long(String::with_capacity(bytes)) }
    }

    #[inline]
    pub(crate) fn push_str(&mut self, text: &str) {
        match self {
            Self::Short(short) => {
                if short.try_push_str(text).is_err() {
                    *self = Self::Long([short.as_str(), text].concat());
                }
            }
            Self::Long(long) => long.push_str(text),
        }
    }

    /// `length` in bytes, at a boundary of characters.
    pub(crate) fn truncate(&mut self, length: usize) {
        match self {
            Self::Short(short) => short.truncate(length),
            Self::Long(long) => long.truncate(length),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Short(short) => short,
            Self::Long(long) => long,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_str().len()
    }

    pub(crate) fn heap_size(&self) -> usize {
        match self {
            Self::Short(_) => 0,
            Self::Long(long) => long.capacity(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_length_is_kept_whole() {
        for length in [0, 1, SHORT / 2, SHORT / 2 + 1, 1000] {
            let text = "ä".repeat(length);
            let whole = ShortText::from(&*text);
            let mut grown = ShortText::default();
            text.chars().for_each(|c| grown.push_str(c.encode_utf8(&mut [0; 4])));
            assert_eq!((whole.as_str(), grown.as_str(), grown.len()), (&*text, &*text, text.len()));
            assert_eq!((whole.heap_size() == 0, grown.heap_size() == 0), (text.len() <= SHORT, text.len() <= SHORT));
            grown.truncate(2 * (length / 2));
            assert_eq!(grown.as_str(), "ä".repeat(length / 2));
        }
    }
}
