//! Who sends.

use std::borrow::Cow;

use super::labels::tags;
use crate::{
    elastic::model::{
        Agent, Cloud, Container, Framework, Kubernetes, KubernetesNode, Language, Machine, Metadata, MetadataService,
        Named, Node, Pod, Process, Runtime, System,
    },
    record::{self, Resource},
    semconv::keyword,
};

/// The agent's name is its language's, as with all of Elastic's.
pub(crate) const AGENT: &str = "rust";

pub(crate) fn metadata(resource: &Resource) -> Metadata<'_> {
    let optional = |value: &'static str| (!value.is_empty()).then_some(value);
    Metadata {
        service: MetadataService {
            name: service_name(&resource.service_name),
            version: resource.service_version.as_deref().map(keyword),
            environment: resource.environment.as_deref().map(keyword),
            agent: Agent {
                name: AGENT,
                version: env!("CARGO_PKG_VERSION"),
                ephemeral_id: Some(keyword(&*resource.ephemeral_id)).filter(|id| !id.is_empty()),
                activation_method: resource.activation_method,
            },
            language: Some(Language { name: "rust", version: resource.language_version.map(keyword) }),
            // the server wants both or none
            runtime: resource.language_version.map(|version| Runtime { name: "rust", version }),
            framework: resource.framework.map(|name| Framework { name, version: None }),
            node: resource.node_name.as_deref().map(|name| Node { configured_name: keyword(name) }),
            id: None,
        },
        process: Some(Process {
            pid: resource.pid,
            ppid: resource.parent_pid,
            title: resource.process_title.as_deref().map(keyword),
            argv: &[],
        }),
        system: Some(System {
            detected_hostname: resource.detected_hostname.as_deref().map(keyword),
            configured_hostname: resource.configured_hostname.as_deref().map(keyword),
            architecture: optional(resource.architecture),
            platform: optional(resource.platform),
            container: resource.container_id.as_deref().map(|id| Container { id: keyword(id) }),
            kubernetes: kubernetes(&resource.kubernetes),
            ..System::default()
        }),
        cloud: resource.cloud.as_ref().map(cloud),
        network: None,
        user: None,
        labels: tags(&resource.labels),
    }
}

/// Ids and names that the system made are shorter; what a manifest says need not be.
fn text(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(keyword)
}

fn named(part: &record::CloudPart) -> Option<Named<'_>> {
    let (id, name) = (text(&part.id), text(&part.name));
    (id.is_some() || name.is_some()).then_some(Named { id, name })
}

fn kubernetes(pod: &record::Kubernetes) -> Option<Kubernetes<'_>> {
    let (name, uid) = (text(&pod.pod_name), text(&pod.pod_uid));
    let told = Kubernetes {
        namespace: text(&pod.namespace),
        node: text(&pod.node_name).map(|name| KubernetesNode { name }),
        pod: (name.is_some() || uid.is_some()).then_some(Pod { name, uid }),
    };
    (told.namespace.is_some() || told.node.is_some() || told.pod.is_some()).then_some(told)
}

fn cloud(cloud: &record::Cloud) -> Cloud<'_> {
    Cloud {
        provider: Some(cloud.provider),
        region: text(&cloud.region),
        availability_zone: text(&cloud.availability_zone),
        account: named(&cloud.account),
        instance: named(&cloud.instance),
        project: named(&cloud.project),
        machine: text(&cloud.machine_type).map(|r#type| Machine { r#type }),
        service: text(&cloud.service_name).map(|name| Named { id: None, name: Some(name) }),
    }
}

/// One character outside of `[a-zA-Z0-9 _-]`, or no name at all, would cost every batch.
fn service_name(name: &str) -> Cow<'_, str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-');
    match name {
        "" => "unknown-rust-service".into(),
        name if name.len() <= 1024 && name.chars().all(allowed) => name.into(),
        // no `…` here: it is not allowed either
        name => name.chars().take(1024).map(|c| if allowed(c) { c } else { '_' }).collect::<String>().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: field-limits.md
    #[test]
    fn truncated_metadata_ends_with_an_ellipsis() {
        let long = || Some("p".repeat(2000));
        let kubernetes = record::Kubernetes { pod_name: long(), ..record::Kubernetes::default() };
        let known = Resource { kubernetes, container_id: long(), ..Resource::default() };
        let system = metadata(&known).system.unwrap();
        let cut = "p".repeat(1023) + "…";
        assert_eq!(system.container.unwrap().id, cut);
        assert_eq!(system.kubernetes.unwrap().pod.unwrap().name.as_deref(), Some(&*cut));
    }

    #[test]
    fn invalid_service_name_is_corrected() {
        assert_eq!(service_name("market place_1-a"), "market place_1-a");
        assert_eq!(service_name("@shop/api.v2"), "_shop_api_v2");
        assert_eq!(service_name(""), "unknown-rust-service");
    }
}
