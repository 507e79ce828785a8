use std::time::SystemTime;

use super::*;
use crate::{config::Central, record::Exception};

fn error() -> Event {
    let mut record = Exception { message: "no sale".to_owned(), ..Exception::default() }.into_record(SystemTime::now());
    record.context.set_custom("order".into(), r#"{"pin":"1234"}"#.into());
    Event::Error(record)
}

#[tokio::test]
async fn what_is_declared_secret_while_the_service_runs_is_not_told_over_otlp_either() {
    let live = LiveConfig::default();
    let mut exporter = OtlpExporter::new(live.clone(), None, &Resource::default()).unwrap();
    let mut told = || {
        exporter.add(error()).unwrap();
        format!("{:?}", exporter.close().unwrap().spans)
    };
    assert!(told().contains("1234"));
    live.apply(Central::from([("sanitize_field_names".to_owned(), "pin".to_owned())]));
    let hidden = told();
    assert!(!hidden.contains("1234") && hidden.contains("[REDACTED]"), "{hidden}");
    live.apply(Central::new());
    assert!(told().contains("1234"));
}
