//! Who sends, in the attributes that the server makes metadata of (`input/otlp/metadata.go` of elastic/apm-data).

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource as OtelResource;

use super::flatten::scalar;
use crate::{elastic::map::tags, record::Resource};

/// What OTLP has attributes for; labels become labels. The distribution stays unnamed: with a name of it, Kibana would
/// not know the agent.
pub(super) fn resource(resource: &Resource) -> OtelResource {
    let mut attributes = vec![
        KeyValue::new("service.name", resource.service_name.clone()),
        KeyValue::new("telemetry.sdk.name", "opentelemetry"),
        KeyValue::new("telemetry.sdk.language", "rust"),
        // becomes `agent.version`
        KeyValue::new("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("process.pid", i64::from(resource.pid)),
        KeyValue::new("host.arch", resource.architecture),
        KeyValue::new("os.type", resource.platform),
    ];
    let hostname = resource.configured_hostname.as_ref().or(resource.detected_hostname.as_ref());
    let optional = [
        ("service.version", resource.service_version.as_ref()),
        ("deployment.environment", resource.environment.as_ref()),
        ("service.instance.id", resource.node_name.as_ref()),
        ("host.name", hostname),
        ("process.executable.path", resource.process_title.as_ref()),
        ("container.id", resource.container_id.as_ref()),
        ("k8s.namespace.name", resource.kubernetes.namespace.as_ref()),
        ("k8s.node.name", resource.kubernetes.node_name.as_ref()),
        ("k8s.pod.name", resource.kubernetes.pod_name.as_ref()),
        ("k8s.pod.uid", resource.kubernetes.pod_uid.as_ref()),
    ];
    attributes.extend(optional.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key, value?.clone()))));
    if let Some(cloud) = &resource.cloud {
        attributes.push(KeyValue::new("cloud.provider", cloud.provider));
        let optional = [
            ("cloud.region", &cloud.region),
            ("cloud.availability_zone", &cloud.availability_zone),
            ("cloud.account.id", &cloud.account.id),
            // becomes `cloud.service.name`
            ("cloud.platform", &cloud.service_name),
        ];
        let known = optional.into_iter().filter_map(|(key, value)| Some(KeyValue::new(key, value.clone()?)));
        attributes.extend(known);
    }
    if let Some(version) = resource.language_version {
        attributes.push(KeyValue::new("process.runtime.name", "rust"));
        attributes.push(KeyValue::new("process.runtime.version", version));
    }
    // by the rules of labels no key has a dot: none is taken for one of the above, or for where documents should go
    let labels = tags(&resource.labels);
    attributes.extend(labels.0.iter().map(|(key, value)| KeyValue::new(key.to_string(), scalar(value))));
    OtelResource::builder_empty().with_attributes(attributes).build()
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    #[test]
    fn resource_contains_all_known_metadata() {
        let known = Resource {
            service_name: "shop".into(),
            environment: Some("test".into()),
            detected_hostname: Some("detected".into()),
            platform: "linux",
            labels: vec![crate::record::Label { key: "team".into(), value: "market".into() }],
            ..Resource::default()
        };
        let told = resource(&known);
        let of = |key: &'static str| told.get(&Key::from_static_str(key)).map(|value| value.to_string());
        assert_eq!(of("service.name").as_deref(), Some("shop"));
        assert_eq!(of("deployment.environment").as_deref(), Some("test"));
        assert_eq!(of("host.name").as_deref(), Some("detected"));
        assert_eq!(of("os.type").as_deref(), Some("linux"));
        assert_eq!(of("team").as_deref(), Some("market"));
        assert_eq!(of("service.version"), None);
        let label = |key: &'static str| crate::record::Label { key: key.into(), value: "evil".into() };
        let labels = ["service.name", "host.name", "data_stream.dataset"].map(label).to_vec();
        let told = resource(&Resource { labels, ..known.clone() });
        let of = |key: &'static str| told.get(&Key::from_static_str(key)).map(|value| value.to_string());
        assert_eq!(of("service.name").as_deref(), Some("shop"));
        assert_eq!(of("host.name").as_deref(), Some("detected"));
        assert_eq!((of("data_stream.dataset"), of("data_stream_dataset").as_deref()), (None, Some("evil")));
        let configured = Resource { configured_hostname: Some("configured".into()), ..known };
        let told = resource(&configured);
        assert_eq!(
            told.get(&Key::from_static_str("host.name")).map(|value| value.to_string()).as_deref(),
            Some("configured")
        );
    }
}
