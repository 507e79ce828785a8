use serde_json::Value;
use tower_apm::{
    devserver::Kind,
    internals::{Judged, intake as judge},
};

/// The most lines that are judged one by one.
const MAX_LINES: usize = 32;

/// The intake API. The input is the length of the pieces and a body.
///
/// The result does not depend on the pieces, each line is validated on its own, and events are stored unchanged.
pub fn intake(data: &[u8]) {
    let Some((piece, body)) = data.split_first() else { return };
    let whole = judge(None, [body]);
    let pieces = judge(None, body.chunks(usize::from(*piece).max(1)));
    // the length of the decompressed text before an error depends on how much of the input has arrived
    let packed = body.first().is_some_and(|first| *first == 0x1f || first & 0x0f == 8);
    if packed && whole.refused.iter().any(|(document, _)| document.is_empty()) {
        assert_ne!(pieces.status, 202, "pieces of {piece} bytes");
    } else {
        assert_eq!(summary(&whole), summary(&pieces), "pieces of {piece} bytes");
    }

    let events = || whole.stored.iter().filter(|event| event.kind() != Kind::Metadata);
    assert_eq!(events().count() as u64, whole.accepted);
    assert!(whole.refused.len() <= 6, "five lines and the stream");
    assert_eq!(whole.status == 202, whole.refused.is_empty());
    for event in &whole.stored {
        // a number that serde_json does not support is null in the body, and is shown unchanged
        let body = serde_json::from_str::<Value>(event.raw());
        assert!(body.is_err() || body.is_ok_and(|body| body == event.body()), "{}", event.raw());
        let shown = serde_json::to_string(&**event).expect("it can be shown");
        assert!(shown.contains(event.raw()), "{shown}");
    }

    let Ok(text) = str::from_utf8(body) else { return };
    if packed || whole.stored.is_empty() {
        return;
    }
    assert!(whole.stored.iter().all(|event| text.contains(event.raw())));
    let Some((metadata, lines)) = text.split_once('\n') else { return };
    if lines.split('\n').count() > MAX_LINES {
        return;
    }
    let each = lines.split('\n').map(|line| judge(None, [format!("{metadata}\n{line}\n").as_bytes()]));
    let (accepted, refused) =
        each.fold((0, 0), |(accepted, refused), one| (accepted + one.accepted, refused + one.refused.len()));
    assert_eq!((accepted, refused.min(5)), (whole.accepted, whole.refused.len()), "each line counts for itself");
}

type Summary<'a> = (u64, u16, &'a [(String, String)], Vec<&'a str>);

fn summary(judged: &Judged) -> Summary<'_> {
    let stored = judged.stored.iter().map(|event| event.raw()).collect();
    (judged.accepted, judged.status, &judged.refused, stored)
}
