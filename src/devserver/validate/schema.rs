//! The words in which the server's rules are written down: an event is an [`Object`], a table of [`Field`]s.
//!
//! Facts that hold everywhere and are therefore in no table: `null` counts as absent, unknown keys are ignored (though
//! their numbers must fit a 64-bit float), keys are found whatever their case, and an object in which nothing is set counts as absent itself, so that its rules do not
//! apply.

/// A JSON object with known fields.
pub(super) struct Object {
    pub(super) fields: &'static [Field],
    pub(super) rules: &'static [Rule],
}

/// One known key of an object.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) shape: Shape,
}

/// A rule between the fields of one object.
pub(super) enum Rule {
    /// At least one of these is set.
    AnyOf(&'static [&'static str]),
    /// The field is required as soon as one of the others is set.
    With { field: &'static str, others: &'static [&'static str] },
}

/// What a value may be.
pub(super) enum Shape {
    /// A string of any length.
    Text,
    /// A string of at most so many code points.
    Short(usize),
    /// As `Short(1024)`, unless the same stands also nested at this path of the object: then only that is held to it.
    Flat(&'static [&'static str]),
    /// As `Short(1024)` and not empty.
    NonEmpty,
    /// A service name: at most 1024 of `a-z A-Z 0-9 _ -` and space.
    ServiceName {
        non_empty: bool,
    },
    /// `success`, `failure`, `unknown` or empty.
    Outcome,
    /// A number without fraction or exponent, within 64 bits.
    Int,
    IntFrom(i64),
    /// A number.
    Number,
    NumberFrom(f64),
    Bool,
    /// Microseconds since the epoch as an integer, or an RFC 3339 string.
    Timestamp,
    /// An object whose values are strings or lists of strings.
    Headers,
    /// A string of at most 1024 code points, or an integer.
    TextOrInt,
    /// An integer, or a string that holds one.
    Port,
    /// A string or an object.
    TextOrObject,
    Any,
    /// An object with any content.
    Map,
    /// An object of strings up to 1024 code points, numbers and booleans.
    Labels,
    Object(&'static Object),
    /// A list of objects, none of them empty.
    List(&'static Object),
    Texts,
    /// A list of strings, each of at most 1024 code points.
    ShortTexts,
    Numbers,
    /// A list of integers that are not negative.
    Counts,
    /// Metric samples: names without `*` and `"`, each with this shape; at least one.
    Samples(&'static Object),
    /// Groups of named numbers.
    Marks,
    /// A free object in which only these leaves are looked at, and only where they have the right type.
    Leaves(&'static [Leaf]),
}

/// A path inside a free object.
pub(super) struct Leaf {
    pub(super) path: &'static [&'static str],
    pub(super) rule: LeafRule,
}

pub(super) enum LeafRule {
    /// If it is a string, then of at most 1024 code points.
    Short,
    /// If it is a number, then an integer.
    Int,
}

/// Most strings: the index takes 1024 code points of a keyword.
pub(super) const KEYWORD: Shape = Shape::Short(1024);

pub(super) const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, required: false, shape }
}

pub(super) const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, required: true, shape }
}

pub(super) const fn fields(fields: &'static [Field]) -> Object {
    Object { fields, rules: &[] }
}

pub(super) const fn ruled(fields: &'static [Field], rules: &'static [Rule]) -> Object {
    Object { fields, rules }
}
