//! Lines of events with a few things wrong, or nearly so, in each. No key comes twice in an object but by a slip.

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    sample::{Index, select},
};
use serde_json::{Map, Value};

use crate::differential::{at, at_mut, collect, masked, replacements, unmask};

/// One change of a line.
#[derive(Debug, Clone)]
enum Change {
    /// A value becomes one of those that it should or should not be.
    Replace(Index, Index),
    Remove(Index),
    /// A value takes the place of another one.
    Move(Index, Index),
    /// An object gets a member that an object of another event has.
    Adopt(Index, Index),
    /// A value ends up so many objects or lists deeper.
    Wrap(Index, u8),
    Number(Index, &'static str),
    Text(Index, String),
}

/// A change of the line as text.
#[derive(Debug, Clone)]
enum Slip {
    Insert(Index, &'static str),
    Remove(Index),
    Cut(Index),
}

const NUMBERS: &[&str] = &[
    "-0",
    "0.0",
    "1e0",
    "1E+2",
    "1e-400",
    "1e308",
    "1e309",
    "2147483648",
    "-2147483649",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "1.7976931348623157e308",
    "0.1e1",
    "100000000000000000000000",
];
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    " ",
    "\t",
    "\r",
    "\n",
    "\0",
    "\u{7f}",
    "null",
    "\"a\":1,",
    "\\u0000",
    "\\ud800",
    "\\udc00\\ud800",
    "\\x",
    "é",
    "\u{feff}",
    "\u{2028}",
    "/**/",
    "'",
    "e",
    "0",
];

pub(crate) fn mutated(known: &[String]) -> impl Strategy<Value = String> + use<> {
    let events: Vec<Value> = known.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let at = any::<Index>;
    let text = prop_oneof![
        vec(any::<char>(), 0..6),
        (any::<char>(), 1022_usize..1027).prop_map(|(char, count)| vec![char; count])
    ];
    let change = prop_oneof![
        6 => (at(), at()).prop_map(|(place, with)| Change::Replace(place, with)),
        2 => at().prop_map(Change::Remove),
        2 => (at(), at()).prop_map(|(to, from)| Change::Move(to, from)),
        3 => (at(), at()).prop_map(|(to, from)| Change::Adopt(to, from)),
        1 => (at(), any::<u8>()).prop_map(|(place, depth)| Change::Wrap(place, depth)),
        2 => (at(), select(NUMBERS)).prop_map(|(place, number)| Change::Number(place, number)),
        2 => (at(), text).prop_map(|(place, text)| Change::Text(place, text.into_iter().collect())),
    ];
    let slip = prop_oneof![
        (at(), select(TOKENS)).prop_map(|(place, token)| Slip::Insert(place, token)),
        at().prop_map(Slip::Remove),
        at().prop_map(Slip::Cut),
    ];
    let slips = prop_oneof![3 => vec(slip.clone(), 0), 1 => vec(slip, 1..3)];
    (select(events.clone()), select(events), vec(change, 1..5), slips).prop_map(|(mut event, other, changes, slips)| {
        changes.iter().for_each(|change| change.apply(&mut event, &other));
        let line = unmask(&event.to_string());
        slips.iter().fold(line, |line, slip| slip.apply(line))
    })
}

fn places(event: &Value) -> Vec<Vec<String>> {
    let mut places = Vec::new();
    collect(event, &mut Vec::new(), &mut places);
    places
}

/// The object at or above a place.
fn object<'a>(event: &'a mut Value, place: &[String]) -> Option<&'a mut Map<String, Value>> {
    let length = (0..=place.len()).rev().find(|length| at(event, &place[..*length]).is_object())?;
    at_mut(event, &place[..length]).as_object_mut()
}

impl Change {
    fn apply(&self, event: &mut Value, other: &Value) {
        let places = places(event);
        let (Self::Replace(index, _)
        | Self::Remove(index)
        | Self::Move(index, _)
        | Self::Adopt(index, _)
        | Self::Wrap(index, _)
        | Self::Number(index, _)
        | Self::Text(index, _)) = self;
        if places.is_empty() {
            return;
        }
        let place = index.get(&places);
        let (last, parent) = place.split_last().expect("no place is empty");
        match self {
            Self::Replace(_, with) => {
                let with = with.get(&replacements(at(event, place))).clone();
                *at_mut(event, place) = with;
            }
            Self::Remove(_) => match at_mut(event, parent) {
                Value::Object(members) => drop(members.remove(last)),
                Value::Array(elements) => drop(elements.remove(last.parse().unwrap())),
                _ => {}
            },
            Self::Move(_, from) => {
                let value = at(event, from.get::<Vec<String>>(&places)).clone();
                *at_mut(event, place) = value;
            }
            Self::Adopt(_, from) => {
                let others = self::places(other);
                let (Some(members), from) = (object(event, place), from.get(&others)) else { return };
                members.insert(from.last().unwrap().clone(), at(other, from).clone());
            }
            Self::Wrap(_, depth) => {
                let value = at_mut(event, place);
                for level in 0..*depth {
                    let inner = value.take();
                    *value = if level % 2 == 0 { Value::from(vec![inner]) } else { serde_json::json!({ "a": inner }) };
                }
            }
            Self::Number(_, number) => *at_mut(event, place) = masked(number),
            Self::Text(_, text) => *at_mut(event, place) = Value::from(text.as_str()),
        }
    }
}

impl Slip {
    fn apply(&self, mut line: String) -> String {
        let place = |index: &Index| {
            let places: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
            if places.is_empty() { 0 } else { *index.get(&places) }
        };
        match self {
            Self::Insert(index, token) => {
                let at = place(index);
                line.insert_str(at, token);
            }
            Self::Remove(index) if !line.is_empty() => {
                let at = place(index);
                line.remove(at);
            }
            Self::Remove(_) => {}
            Self::Cut(index) => {
                let at = place(index);
                line.truncate(at);
            }
        }
        line
    }
}
