//! serde_json. With the feature `raw_value` an object with this key is read as something else, or not at all.

use serde_json::Value;

fn main() {
    for text in [r#"{"$serde_json::private::RawValue":1}"#, r#"{"$serde_json::private::RawValue":"[2]"}"#] {
        println!("{:?}", serde_json::from_str::<Value>(text));
    }
}
