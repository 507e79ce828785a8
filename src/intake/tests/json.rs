//! The writer of JSON against the general one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::intake::json::write;

fn same(value: &impl Serialize) {
    let mut written = Vec::new();
    write(&mut written, value).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(value).unwrap());
}

#[test]
fn every_character_is_escaped_at_every_position() {
    for byte in 0..=0x2ff_u32 {
        let Some(c) = char::from_u32(byte) else { continue };
        for at in 0..20 {
            let text = format!("{}{c}{}", "ä".repeat(at % 3) + &"x".repeat(at), "y".repeat(20 - at));
            same(&text);
        }
        same(&c);
    }
    same(&"\\\"\u{0}\u{1f}\u{7f}\u{80}\u{2028}😀".repeat(9));
    same(&"");
}

#[test]
fn numbers_of_every_width() {
    for number in [0, 1, 9, 10, 99, 100, u64::from(u32::MAX), u64::MAX] {
        same(&number);
        same(&(number as i64));
        same(&(number as i32).wrapping_neg());
    }
    same(&i64::MIN);
    for number in [0.0, -0.0, 1.0, 31.958, 1e300, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY] {
        same(&number);
    }
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Unit,
    Newtype(Inner),
}

#[derive(Serialize)]
struct Inner {
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<u8>,
    null: Option<bool>,
    list: Vec<Vec<&'static str>>,
    map: BTreeMap<String, bool>,
    unit: (),
}

#[test]
fn nested_structures_are_written() {
    same(&Kind::Unit);
    let inner = |list: Vec<Vec<&'static str>>| {
        let map = (0..list.len()).map(|n| (format!("\"{n}"), n == 0)).collect();
        Kind::Newtype(Inner { absent: None, null: None, list, map, unit: () })
    };
    same(&inner(Vec::new()));
    same(&inner(vec![vec![], vec!["a"], vec!["b", "c"]]));
}

#[test]
fn unsupported_types_are_an_error() {
    assert!(write(&mut Vec::new(), &(1, 2)).is_err());
}
