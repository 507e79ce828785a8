//! The cost of searching one KiB of free text for secrets, which the agent's thread does:
//! `cargo bench --features _internals --bench redact`.

use divan::{Bencher, counter::BytesCount};
use tower_apm::internals::Sanitizer;

fn main() {
    divan::main();
}

/// About as long as the text of a few fields.
const LENGTH: usize = 1024;

/// Kinds of text by name: nothing to look for; names with values, none of them secret; the same with secrets.
const TEXTS: [(&str, &str); 5] = [
    ("words", "the order was placed by the seller and waits for the buyer, who is away; "),
    ("pairs", "order=42 price=12.5 seller=0xabc took 12 ms at 10:20:30, "),
    ("debug", "Order { id: 42, price: Some(12.5), seller: \"0xabc\", items: [Item { name: \"shoe\" }] }, "),
    ("json", r#"{"order":42,"price":12.5,"seller":"0xabc","items":[{"name":"shoe","size":"42"}]},"#),
    ("secrets", "login password=hunter2 token: \"hunter2\", Some(Basic { user: \"ada\" }), "),
];

#[divan::bench(args = TEXTS.map(|(name, _)| name))]
fn text(bencher: Bencher<'_, '_>, name: &str) {
    let part = TEXTS.iter().find(|(known, _)| *known == name).map_or("", |(_, part)| part);
    let mut text = part.repeat(LENGTH / part.len() + 1);
    text.truncate(LENGTH);
    if name == "json" {
        text = format!("[{}1]", part.repeat(LENGTH / part.len()));
    }
    let sanitizer = Sanitizer::default();
    bencher.counter(BytesCount::of_str(&text)).bench(|| sanitizer.text(divan::black_box(&text)));
}
