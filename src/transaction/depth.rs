//! A value of the user's as far as it is not too deep: recursion ends where the bound is, whatever the value would do.

use serde::{Serialize, Serializer, ser};

use crate::record::MAX_CUSTOM_DEPTH;

/// What stands in place of an object or array that is too deep.
const TOO_DEEP: &str = "…";
/// Values that only wrap another one, such as `Some`, within each other and the objects and arrays around them.
const MAX_WRAPPED: usize = 128;
/// The names of structs by which `serde_json` serializes its own values. They are not objects.
const NO_OBJECT: &str = "$serde_json::private::";

/// How deep a value lies.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    brackets: usize,
    wrapped: usize,
}

impl Level {
    /// Within so many more objects or arrays. None: that is too deep.
    fn within(self, brackets: usize) -> Option<Self> {
        let within = Self { brackets: self.brackets + brackets, wrapped: self.wrapped + 1 };
        (within.brackets <= MAX_CUSTOM_DEPTH && within.wrapped <= MAX_WRAPPED).then_some(within)
    }
}

/// Serializes a value to its bound.
pub(super) struct DepthLimited<'a, T: ?Sized> {
    value: &'a T,
    level: Level,
}

impl<'a, T: ?Sized> DepthLimited<'a, T> {
    pub(super) fn new(value: &'a T) -> Self {
        Self { value, level: Level::default() }
    }
}

impl<T: Serialize + ?Sized> Serialize for DepthLimited<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(DepthLimitedSerializer { serializer, level: self.level })
    }
}

struct DepthLimitedSerializer<S> {
    serializer: S,
    level: Level,
}

/// The members of an object or array.
enum Members<C, Ok> {
    Open(C, Level),
    /// Left out; something else stands there.
    Closed(Ok),
}

macro_rules! plain {
    ($($method:ident($($value:ident: $type:ty),*);)+) => {$(
        fn $method(self, $($value: $type),*) -> Result<S::Ok, S::Error> {
            self.serializer.$method($($value),*)
        }
    )+};
}

macro_rules! members {
    ($($method:ident($($value:ident: $type:ty),*) -> $members:ident, $brackets:expr;)+) => {$(
        fn $method(self, $($value: $type),*) -> Result<Self::$members, S::Error> {
            Ok(match self.level.within($brackets) {
                Some(level) => Members::Open(self.serializer.$method($($value),*)?, level),
                None => Members::Closed(self.serializer.serialize_str(TOO_DEEP)?),
            })
        }
    )+};
}

impl<S: Serializer> Serializer for DepthLimitedSerializer<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Members<S::SerializeSeq, S::Ok>;
    type SerializeTuple = Members<S::SerializeTuple, S::Ok>;
    type SerializeTupleStruct = Members<S::SerializeTupleStruct, S::Ok>;
    type SerializeTupleVariant = Members<S::SerializeTupleVariant, S::Ok>;
    type SerializeMap = Members<S::SerializeMap, S::Ok>;
    type SerializeStruct = Members<S::SerializeStruct, S::Ok>;
    type SerializeStructVariant = Members<S::SerializeStructVariant, S::Ok>;

    plain! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    members! {
        serialize_seq(length: Option<usize>) -> SerializeSeq, 1;
        serialize_tuple(length: usize) -> SerializeTuple, 1;
        serialize_tuple_struct(name: &'static str, length: usize) -> SerializeTupleStruct, 1;
        serialize_tuple_variant(
            name: &'static str, index: u32, variant: &'static str, length: usize
        ) -> SerializeTupleVariant, 2;
        serialize_map(length: Option<usize>) -> SerializeMap, 1;
        serialize_struct(
            name: &'static str, length: usize
        ) -> SerializeStruct, usize::from(!name.starts_with(NO_OBJECT));
        serialize_struct_variant(
            name: &'static str, index: u32, variant: &'static str, length: usize
        ) -> SerializeStructVariant, 2;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        match self.level.within(0) {
            Some(level) => self.serializer.serialize_some(&DepthLimited { value, level }),
            None => self.serializer.serialize_str(TOO_DEEP),
        }
    }

    fn serialize_newtype_struct<T>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error>
    where
        T: Serialize + ?Sized,
    {
        match self.level.within(0) {
            Some(level) => self.serializer.serialize_newtype_struct(name, &DepthLimited { value, level }),
            None => self.serializer.serialize_str(TOO_DEEP),
        }
    }

    fn serialize_newtype_variant<T>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error>
    where
        T: Serialize + ?Sized,
    {
        match self.level.within(1) {
            Some(level) => {
                self.serializer.serialize_newtype_variant(name, index, variant, &DepthLimited { value, level })
            }
            None => self.serializer.serialize_str(TOO_DEEP),
        }
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.serializer.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.serializer.is_human_readable()
    }
}

macro_rules! list {
    ($($trait:ident::$method:ident),+ $(,)?) => {$(
        impl<C: ser::$trait> ser::$trait for Members<C, C::Ok> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                match self {
                    Self::Open(members, level) => members.$method(&DepthLimited { value, level: *level }),
                    Self::Closed(_) => Ok(()),
                }
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                match self {
                    Self::Open(members, _) => members.end(),
                    Self::Closed(told) => Ok(told),
                }
            }
        }
    )+};
}
list! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

macro_rules! fields {
    ($($trait:ident),+) => {$(
        impl<C: ser::$trait> ser::$trait for Members<C, C::Ok> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), C::Error> {
                match self {
                    Self::Open(members, level) => members.serialize_field(key, &DepthLimited { value, level: *level }),
                    Self::Closed(_) => Ok(()),
                }
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                match self {
                    Self::Open(members, _) => members.end(),
                    Self::Closed(told) => Ok(told),
                }
            }
        }
    )+};
}
fields!(SerializeStruct, SerializeStructVariant);

impl<C: ser::SerializeMap> ser::SerializeMap for Members<C, C::Ok> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        match self {
            Self::Open(members, level) => members.serialize_key(&DepthLimited { value: key, level: *level }),
            Self::Closed(_) => Ok(()),
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        match self {
            Self::Open(members, level) => members.serialize_value(&DepthLimited { value, level: *level }),
            Self::Closed(_) => Ok(()),
        }
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        match self {
            Self::Open(members, _) => members.end(),
            Self::Closed(told) => Ok(told),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, thread};

    use serde_json::{json, value::RawValue};

    use super::*;

    fn bounded(value: &impl Serialize) -> String {
        serde_json::to_string(&DepthLimited::new(value)).unwrap()
    }

    /// So many of one kind, each in the other.
    #[derive(Clone, Copy)]
    struct Deep(usize, Kind);

    #[derive(Clone, Copy)]
    enum Kind {
        List,
        Map,
        Some,
        Newtype,
        Variant,
        Key,
    }

    impl Serialize for Deep {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let Some(left) = self.0.checked_sub(1) else { return serializer.serialize_str("ground") };
            let below = Deep(left, self.1);
            match self.1 {
                Kind::List => serializer.collect_seq([below]),
                Kind::Map => serializer.collect_map([("k", below)]),
                Kind::Some => serializer.serialize_some(&below),
                Kind::Newtype => serializer.serialize_newtype_struct("N", &below),
                Kind::Variant => serializer.serialize_newtype_variant("E", 0, "V", &below),
                Kind::Key => serializer.collect_map([(Deep(left, Kind::Newtype), 1)]),
            }
        }
    }

    #[test]
    fn deeply_nested_value_is_cut_at_the_limit() {
        let small = thread::Builder::new().stack_size(192 * 1024);
        let told = small.spawn(|| {
            [Kind::List, Kind::Map, Kind::Some, Kind::Newtype, Kind::Variant, Kind::Key]
                .map(|kind| bounded(&Deep(100_000, kind)))
        });
        let told = told.unwrap().join().unwrap();
        let around = |open: &str, inner: &str, close: &str| open.repeat(32) + inner + &close.repeat(32);
        assert_eq!(told[0], around("[", "\"…\"", "]"));
        assert_eq!(told[1], around("{\"k\":", "\"…\"", "}"));
        assert_eq!(told[2], "\"…\"");
        assert_eq!(told[3], "\"…\"");
        assert_eq!(told[4], around("{\"V\":", "\"…\"", "}"));
        assert_eq!(told[5], "{\"…\":1}");
    }

    #[test]
    fn siblings_of_a_truncated_value_are_kept() {
        assert_eq!(bounded(&Deep(32, Kind::List)), "[".repeat(32) + "\"ground\"" + &"]".repeat(32));
        let beside = (1, Deep(40, Kind::List), "after");
        assert_eq!(bounded(&beside), format!("[1,{}\"…\"{},\"after\"]", "[".repeat(31), "]".repeat(31)));
    }

    #[test]
    fn shallow_values_are_not_changed() {
        #[derive(Serialize)]
        enum Shape {
            Unit,
            New(u8),
            Tuple(u8, char),
            Struct { a: Option<bool> },
        }
        let value = (
            json!({ "a": [1, 2.5, null, true, "x"], "b": {} }),
            [Shape::Unit, Shape::New(1), Shape::Tuple(1, 'c'), Shape::Struct { a: None }],
            BTreeMap::from([(7, i128::MAX)]),
            RawValue::from_string("[1e400, 12345678901234567890123]".to_owned()).unwrap(),
            ((), Some(f32::NAN), std::net::Ipv4Addr::LOCALHOST),
        );
        assert_eq!(bounded(&value), serde_json::to_string(&value).unwrap());
    }
}
