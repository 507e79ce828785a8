//! Writes the model as JSON, at half the cost of the general serialiser: names of fields are not looked at for
//! characters to escape, other text eight bytes at a time.

use std::fmt::{self, Write};

use serde::{
    Serialize, Serializer,
    ser::{self, Error as _, Impossible},
};
use serde_json::Error;

use crate::elastic::model::RAW_JSON;

pub(crate) fn write(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), Error> {
    value.serialize(&mut Writer { out, raw: false })
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// The next text is JSON.
    raw: bool,
}

impl Writer<'_> {
    fn text(&mut self, text: &str) {
        self.out.push(b'"');
        self.escaped(text);
        self.out.push(b'"');
    }

    /// For names that are written in the source, which hold nothing to escape.
    fn name(&mut self, name: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn escaped(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while let Some(at) = first_to_escape(rest) {
            self.out.extend_from_slice(&rest[..at]);
            match rest[at] {
                b'"' => self.out.extend_from_slice(br#"\""#),
                b'\\' => self.out.extend_from_slice(br"\\"),
                b'\n' => self.out.extend_from_slice(br"\n"),
                b'\r' => self.out.extend_from_slice(br"\r"),
                b'\t' => self.out.extend_from_slice(br"\t"),
                0x08 => self.out.extend_from_slice(br"\b"),
                0x0c => self.out.extend_from_slice(br"\f"),
                control => {
                    self.out.extend_from_slice(br"\u00");
                    self.out.extend([control >> 4, control & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
                }
            }
            rest = &rest[at + 1..];
        }
        self.out.extend_from_slice(rest);
    }

    fn integer(&mut self, number: impl itoa::Integer) {
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// A byte below 0x20, a quote or a backslash.
fn first_to_escape(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x80 * ONES;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let in_word = |word: [u8; 8]| {
        let word = u64::from_le_bytes(word);
        let control = word.wrapping_sub(0x20 * ONES) & !word & TOPS;
        // a bit above the first one may be wrong, the lowest never is
        let hit = control | zeros(word ^ (u64::from(b'"') * ONES)) | zeros(word ^ (u64::from(b'\\') * ONES));
        (hit != 0).then_some((hit.trailing_zeros() / 8) as usize)
    };
    let (words, tail) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        if let Some(found) = in_word(*word) {
            return Some(at * 8 + found);
        }
    }
    // what is left together with what has been seen of it
    match text.last_chunk::<8>() {
        Some(_) if tail.is_empty() => None,
        Some(last) => in_word(*last).map(|found| text.len() - 8 + found),
        None => tail.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')),
    }
}

/// Escapes what a `Display` writes, piece by piece.
impl Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.escaped(text);
        Ok(())
    }
}

/// The members of an array or object that is being written.
struct Members<'w, 'o> {
    writer: &'w mut Writer<'o>,
    first: bool,
    close: &'static [u8],
}

impl Members<'_, '_> {
    fn separate(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.writer.out.push(b',');
        }
    }

    fn finish(self) {
        self.writer.out.extend_from_slice(self.close);
    }
}

impl<'w, 'o> Serializer for &'w mut Writer<'o> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Members<'w, 'o>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Members<'w, 'o>;
    type SerializeStruct = Members<'w, 'o>;
    type SerializeStructVariant = Impossible<(), Error>;

    fn serialize_bool(self, flag: bool) -> Result<(), Error> {
        self.out.extend_from_slice(if flag { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_i8(self, number: i8) -> Result<(), Error> {
        self.serialize_i64(number.into())
    }

    fn serialize_i16(self, number: i16) -> Result<(), Error> {
        self.serialize_i64(number.into())
    }

    fn serialize_i32(self, number: i32) -> Result<(), Error> {
        self.serialize_i64(number.into())
    }

    fn serialize_i64(self, number: i64) -> Result<(), Error> {
        self.integer(number);
        Ok(())
    }

    fn serialize_u8(self, number: u8) -> Result<(), Error> {
        self.serialize_u64(number.into())
    }

    fn serialize_u16(self, number: u16) -> Result<(), Error> {
        self.serialize_u64(number.into())
    }

    fn serialize_u32(self, number: u32) -> Result<(), Error> {
        self.serialize_u64(number.into())
    }

    fn serialize_u64(self, number: u64) -> Result<(), Error> {
        self.integer(number);
        Ok(())
    }

    fn serialize_f32(self, number: f32) -> Result<(), Error> {
        self.serialize_f64(number.into())
    }

    fn serialize_f64(self, number: f64) -> Result<(), Error> {
        serde_json::to_writer(&mut *self.out, &number)
    }

    fn serialize_char(self, c: char) -> Result<(), Error> {
        self.collect_str(&c)
    }

    fn serialize_str(self, text: &str) -> Result<(), Error> {
        match self.raw {
            true => self.out.extend_from_slice(text.as_bytes()),
            false => self.text(text),
        }
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Error> {
        Err(unsupported())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Error> {
        self.raw = name == RAW_JSON;
        let written = value.serialize(&mut *self);
        self.raw = false;
        written
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.out.push(b'{');
        self.name(variant);
        value.serialize(&mut *self)?;
        self.out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'w, 'o>, Error> {
        self.out.push(b'[');
        Ok(Members { writer: self, first: true, close: b"]" })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'w, 'o>, Error> {
        self.out.push(b'{');
        Ok(Members { writer: self, first: true, close: b"}" })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'w, 'o>, Error> {
        self.serialize_map(None)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        Err(unsupported())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        Err(unsupported())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(unsupported())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(unsupported())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.out.push(b'"');
        write!(self, "{value}").map_err(Error::custom)?;
        self.out.push(b'"');
        Ok(())
    }
}

fn unsupported() -> Error {
    Error::custom("the model has no such value")
}

impl ser::SerializeSeq for Members<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.separate();
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Error> {
        self.finish();
        Ok(())
    }
}

impl ser::SerializeMap for Members<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.separate();
        key.serialize(&mut *self.writer)?;
        self.writer.out.push(b':');
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Error> {
        self.finish();
        Ok(())
    }
}

impl ser::SerializeStruct for Members<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.separate();
        self.writer.name(name);
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Error> {
        self.finish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_to_escape_are_found_at_any_position() {
        let plain = "aé~ \u{7f}€z".repeat(4);
        for length in (0..=plain.len()).filter(|at| plain.is_char_boundary(*at)) {
            let text = &plain[..length];
            assert_eq!(first_to_escape(text.as_bytes()), None, "{text:?}");
            for at in (0..=length).filter(|at| text.is_char_boundary(*at)) {
                for bad in ["\"", "\\", "\n", "\0", "\u{1f}"] {
                    let with = [&text[..at], bad, &text[at..], "\""].concat();
                    assert_eq!(first_to_escape(with.as_bytes()), Some(at), "{with:?}");
                }
            }
        }
    }
}
