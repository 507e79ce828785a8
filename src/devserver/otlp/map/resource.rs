//! Who sends: the attributes of a resource as metadata (`input/otlp/metadata.go` of elastic/apm-data).

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::{Map, Value};

use super::{
    attributes::{self, Labels, Seen, cut},
    tree::Tree,
};

/// What the events of a resource need of it.
#[derive(Debug, Default)]
pub(super) struct Origin {
    /// `host.name`, which stands in where a request does not say for which host it was.
    pub(super) hostname: String,
    /// Microseconds by which the sender's clock is behind.
    pub(super) shift: i64,
    pub(super) data_stream: Tree,
}

/// Where an attribute goes as it is.
fn place(key: &str) -> Option<&'static str> {
    Some(match key {
        "service.version" => "service/version",
        "service.instance.id" => "service/node/configured_name",
        "deployment.environment" | "deployment.environment.name" => "service/environment",
        "telemetry.sdk.name" => "service/agent/name",
        "telemetry.sdk.version" => "service/agent/version",
        "telemetry.sdk.language" => "service/language/name",
        "process.runtime.name" => "service/runtime/name",
        "process.runtime.version" => "service/runtime/version",
        "cloud.provider" => "cloud/provider",
        "cloud.account.id" => "cloud/account/id",
        "cloud.region" => "cloud/region",
        "cloud.availability_zone" => "cloud/availability_zone",
        "cloud.platform" => "cloud/service/name",
        "container.id" => "system/container/id",
        "container.name" => "ecs/container/name",
        "container.image.name" => "ecs/container/image/name",
        "container.image.tag" => "ecs/container/image/tag",
        "container.runtime" => "ecs/container/runtime",
        "k8s.namespace.name" => "system/kubernetes/namespace",
        "k8s.node.name" => "system/kubernetes/node/name",
        "k8s.pod.name" => "system/kubernetes/pod/name",
        "k8s.pod.uid" => "system/kubernetes/pod/uid",
        "host.name" => "system/detected_hostname",
        "host.id" => "system/host_id",
        "host.type" => "ecs/host/type",
        "host.arch" => "system/architecture",
        "os.description" => "ecs/host/os/full",
        "os.name" => "ecs/host/os/name",
        "os.version" => "ecs/host/os/version",
        "process.command_line" => "ecs/process/command_line",
        "process.executable.path" => "ecs/process/executable",
        "process.owner" => "user/username",
        "device.id" => "ecs/device/id",
        "device.model.identifier" => "ecs/device/model/identifier",
        "device.model.name" => "ecs/device/model/name",
        "device.manufacturer" => "ecs/device/manufacturer",
        _ => return None,
    })
}

pub(super) fn resource(resource: Option<&Resource>, received: SystemTime) -> (Map<String, Value>, Origin) {
    let mut out = Tree::default();
    let mut origin = Origin::default();
    let mut labels = Labels::new(Tree::default());
    let mut service_name = String::new();
    let (mut distro, mut distro_version) = ("", "");
    let attributes = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    for (key, value) in attributes::of(attributes) {
        if let Some(path) = place(key) {
            // of a key that comes twice the last one counts, an empty one too
            out.put(path, value.keyword());
            continue;
        }
        match key {
            "service.name" => service_name = clean(value.text()),
            "host.ip" => {
                if let Seen::List(list) = value {
                    let ips = list.iter().map(|ip| Seen::of(Some(ip)).text());
                    let ips: Vec<Value> =
                        ips.filter(|ip| ip.parse::<std::net::IpAddr>().is_ok()).map(Value::from).collect();
                    out.put("ecs/host/ip", ips);
                }
            }
            "process.pid" => out.number("process/pid", value.integer() as u32),
            "os.type" => out.text("system/platform", &value.keyword().to_lowercase()),
            "telemetry.distro.name" => distro = value.text(),
            "telemetry.distro.version" => distro_version = value.text(),
            "telemetry.sdk.elastic_export_timestamp" => origin.shift = shift(received, value.integer()),
            "opencensus.exporterversion" => labels.drop(key, value),
            _ => {
                if !attributes::data_stream(&mut origin.data_stream, key, value) {
                    labels.label(key, value);
                }
            }
        }
    }
    without_empty(&mut out.0);
    let os = match (out.text_at(&["ecs", "host", "os", "name"]), out.text_at(&["system", "platform"])) {
        ("Android", _) => "android",
        ("iOS", _) => "ios",
        (_, "windows") => "windows",
        (_, "linux") => "linux",
        (_, "darwin") => "macos",
        (_, "aix" | "hpux" | "solaris") => "unix",
        _ => "",
    };
    out.text("ecs/host/os/type", os);
    out.put("service/name", if service_name.is_empty() { "unknown" } else { &service_name });
    agent(&mut out, distro, distro_version);
    origin.hostname = out.text_at(&["system", "detected_hostname"]).to_owned();
    labels.finish(&mut out, "labels");
    out.tree("ecs/data_stream", &origin.data_stream);
    (out.0, origin)
}

/// The name of the agent is made of its SDK, its language and its distribution.
fn agent(out: &mut Tree, distro: &str, distro_version: &str) {
    let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    let language = out.text_at(&["service", "language", "name"]).to_owned();
    let mut name = or(out.text_at(&["service", "agent", "name"]), "otlp");
    let mut version = or(out.text_at(&["service", "agent", "version"]), "unknown");
    if !distro.is_empty() {
        name = format!("{name}/{}/{distro}", or(&language, "unknown"));
        version = or(distro_version, "unknown");
    } else if !language.is_empty() {
        name = format!("{name}/{language}");
    }
    out.put("service/agent/name", name);
    out.put("service/agent/version", version);
    out.put("service/language/name", or(&language, "unknown"));
}

fn clean(name: &str) -> String {
    let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, ' ' | '_' | '-');
    cut(name).chars().map(|char| if allowed(char) { char } else { '_' }).collect()
}

fn shift(received: SystemTime, exported: i64) -> i64 {
    let received = received.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let behind = i128::try_from(received).unwrap_or_default() - i128::from(exported / 1000);
    if exported > 0 { i64::try_from(behind).unwrap_or_default() } else { 0 }
}

/// What is empty is not told.
fn without_empty(object: &mut Map<String, Value>) {
    object.retain(|_, value| match value {
        Value::Object(inner) => {
            without_empty(inner);
            !inner.is_empty()
        }
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
}
