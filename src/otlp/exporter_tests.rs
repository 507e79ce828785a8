use std::time::SystemTime;

use super::*;
use crate::{config::Central, record::Exception};

fn error() -> Event {
    let mut record = Exception { message: "no sale".to_owned(), ..Exception::default() }.into_record(SystemTime::now());
    record.context.set_custom("order".into(), r#"{"iban":"hunter2"}"#.into());
    Event::Error(record)
}

#[tokio::test]
async fn central_sanitize_field_names_apply_to_otlp() {
    let live = LiveConfig::default();
    let mut exporter = OtlpExporter::new(live.clone(), None, &Resource::default()).unwrap();
    let mut told = || {
        exporter.add(error()).unwrap();
        format!("{:?}", exporter.close().unwrap().contents().spans)
    };
    assert!(told().contains("hunter2"));
    live.apply(Central::from([("sanitize_field_names".to_owned(), "iban".to_owned())]));
    let hidden = told();
    assert!(!hidden.contains("hunter2") && hidden.contains("[REDACTED]"), "{hidden}");
    live.apply(Central::new());
    assert!(told().contains("hunter2"));
}

#[tokio::test]
async fn custom_values_over_the_limit_of_an_error_are_counted() {
    let mut exporter = OtlpExporter::new(LiveConfig::default(), None, &Resource::default()).unwrap();
    let mut record = Exception { message: "no sale".to_owned(), ..Exception::default() }.into_record(SystemTime::now());
    for n in 0..66 {
        record.context.set_custom(format!("k{n}").into(), "1".into());
    }
    exporter.add(Event::Error(record)).unwrap();
    assert_eq!(exporter.losses().values, 2);
    assert_eq!(exporter.losses().values, 0, "they are counted once");
}
