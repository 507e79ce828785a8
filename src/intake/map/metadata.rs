//! Who sends.

use std::borrow::Cow;

use super::{labels::tags, truncate::keyword};
use crate::{
    intake::model::{Agent, Framework, Language, Metadata, MetadataService, Node, Process, Runtime, System},
    record::Resource,
};

/// The agent's name is its language's, as with all of Elastic's.
pub(in crate::intake) const AGENT: &str = "rust";

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
            ..System::default()
        }),
        cloud: None,
        network: None,
        user: None,
        labels: tags(&resource.labels),
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

    #[test]
    fn a_service_name_never_costs_a_batch() {
        assert_eq!(service_name("market place_1-a"), "market place_1-a");
        assert_eq!(service_name("@shop/api.v2"), "_shop_api_v2");
        assert_eq!(service_name(""), "unknown-rust-service");
    }
}
