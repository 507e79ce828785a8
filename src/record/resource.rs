//! Who sends: the service, its process and the system below it. Told once per request to the server, as metadata.

use super::Label;

/// Gathered once, when the agent is built.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resource {
    pub(crate) service_name: String,
    pub(crate) service_version: Option<String>,
    pub(crate) environment: Option<String>,
    /// `service.node.configured_name`
    pub(crate) node_name: Option<String>,
    /// Random for each start of the process.
    pub(crate) ephemeral_id: String,
    /// How the agent came into the service, for instance `layer`.
    pub(crate) activation_method: Option<&'static str>,
    /// The compiler's version, where it is known.
    pub(crate) language_version: Option<&'static str>,
    pub(crate) framework: Option<&'static str>,
    pub(crate) pid: u32,
    pub(crate) parent_pid: Option<u32>,
    pub(crate) process_title: Option<String>,
    pub(crate) detected_hostname: Option<String>,
    pub(crate) configured_hostname: Option<String>,
    pub(crate) architecture: &'static str,
    pub(crate) platform: &'static str,
    pub(crate) container_id: Option<String>,
    pub(crate) kubernetes: Kubernetes,
    /// Found out while the service runs already.
    pub(crate) cloud: Option<Cloud>,
    /// `global_labels`
    pub(crate) labels: Vec<Label>,
}

/// The pod that the service runs in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kubernetes {
    pub(crate) namespace: Option<String>,
    pub(crate) node_name: Option<String>,
    pub(crate) pod_name: Option<String>,
    pub(crate) pod_uid: Option<String>,
}

/// The cloud that the service runs in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cloud {
    /// `aws`, `gcp` or `azure`
    pub(crate) provider: &'static str,
    pub(crate) region: Option<String>,
    pub(crate) availability_zone: Option<String>,
    pub(crate) account: CloudPart,
    pub(crate) instance: CloudPart,
    pub(crate) project: CloudPart,
    pub(crate) machine_type: Option<String>,
    pub(crate) service_name: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CloudPart {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
}
