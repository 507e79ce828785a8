//! Who sends: gathered once, from the options, the environment and the host.
//!
//! Command-line arguments are not: they may hold secrets.

use std::borrow::Cow;

use crate::{
    config::{CloudProvider, Config, Environment},
    metadata::{Container, app_service, kubernetes},
    record::{Label, LabelValue, MAX_LABELS, Resource, cut},
};

/// Bytes of `global_labels`, which go in front of every batch. Each may become six characters of JSON.
const MAX_LABEL_BYTES: usize = 32 * 1024;

/// What only the operating system knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    pub(crate) pid: u32,
    pub(crate) parent_pid: Option<u32>,
    /// The file name of the executable.
    pub(crate) executable: Option<String>,
    /// The name that the kernel has.
    pub(crate) kernel_hostname: Option<String>,
    /// The content of `/etc/hostname`.
    pub(crate) hostname_file: Option<String>,
    pub(crate) container: Container,
}

impl Host {
    /// Reads four small files; starts no process.
    pub(crate) fn read() -> Self {
        let executable = std::env::current_exe().ok();
        let file = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            pid: std::process::id(),
            parent_pid: parent_pid(),
            executable: executable.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
            kernel_hostname: std::fs::read_to_string("/proc/sys/kernel/hostname").ok(),
            hostname_file: std::fs::read_to_string("/etc/hostname").ok(),
            container: Container::find(&file("/proc/self/cgroup"), &file("/proc/self/mountinfo")),
        }
    }
}

#[cfg(unix)]
fn parent_pid() -> Option<u32> {
    Some(std::os::unix::process::parent_id())
}

#[cfg(not(unix))]
fn parent_pid() -> Option<u32> {
    None
}

/// The metadata of a service. `ephemeral_id` is random for each start of the process.
pub(crate) fn gather(config: &Config, environment: &Environment, host: Host, ephemeral_id: String) -> Resource {
    let detected_hostname = detected_hostname(environment, &host);
    Resource {
        service_name: config.service_name.clone(),
        service_version: config.service_version.clone(),
        environment: config.environment.clone(),
        node_name: config.service_node_name.clone(),
        ephemeral_id,
        activation_method: Some(activation_method(environment)),
        language_version: option_env!("TOWER_APM_RUSTC_VERSION"),
        framework: cfg!(feature = "axum").then_some("axum"),
        pid: host.pid,
        parent_pid: host.parent_pid,
        kubernetes: kubernetes(environment, host.container.pod_uid, detected_hostname.as_deref()),
        container_id: host.container.id,
        cloud: app_service(environment).filter(|_| asks_azure(config.cloud_provider)),
        detected_hostname,
        process_title: host.executable,
        configured_hostname: config.hostname.clone(),
        architecture: architecture(std::env::consts::ARCH),
        platform: platform(std::env::consts::OS),
        labels: labels(&config.global_labels),
    }
}

/// What a start-up line tells, by agent-spec 13.4.
pub(crate) fn introduction(config: &Config, environment: &Environment) -> String {
    let host = detected_hostname(environment, &Host::read());
    format!(
        "tower-apm {} (pid {}, {} {}, host {}, rust {}): {}",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        std::env::consts::OS,
        std::env::consts::ARCH,
        host.as_deref().unwrap_or("unknown"),
        option_env!("TOWER_APM_RUSTC_VERSION").unwrap_or("unknown"),
        config.describe()
    )
}

/// `global_labels` that fit into the first line of every request: the server skips a line over 300 KiB, and each of
/// them is a field of the index.
fn labels(global: &[(String, String)]) -> Vec<Label> {
    let mut bytes = 0;
    let labels = global.iter().take(MAX_LABELS).map(|(key, value)| Label {
        key: cut(Cow::Owned(key.clone())),
        value: LabelValue::Text(cut(Cow::Owned(value.clone()))),
    });
    let labels: Vec<_> = labels
        .take_while(|label| {
            let value = if let LabelValue::Text(text) = &label.value { text.len() } else { 0 };
            bytes += label.key.len() + value;
            bytes <= MAX_LABEL_BYTES
        })
        .collect();
    if labels.len() < global.len() {
        let (kept, given) = (labels.len(), global.len());
        tracing::warn!(target: "tower_apm", kept, given, "there are more global_labels than an event has room for");
    }
    labels
}

fn asks_azure(provider: CloudProvider) -> bool {
    matches!(provider, CloudProvider::Auto | CloudProvider::Azure)
}

/// `k8s-attach` when Elastic's attacher started the service, else `layer`: someone put it into the code.
fn activation_method(environment: &Environment) -> &'static str {
    match environment.get("ELASTIC_APM_ACTIVATION_METHOD") {
        Some("K8S" | "K8S_ATTACH") => "k8s-attach",
        _ => "layer",
    }
}

/// In lower case, as Elastic's agents agreed; never what `hostname` was configured to.
fn detected_hostname(environment: &Environment, host: &Host) -> Option<String> {
    let names = [
        host.kernel_hostname.as_deref(),
        environment.get("HOSTNAME"),
        environment.get("HOST"),
        host.hostname_file.as_deref(),
        environment.get("COMPUTERNAME"),
    ];
    let mut names = names.into_iter().flatten().map(|name| name.trim_matches(|c: char| c <= ' ').to_ascii_lowercase());
    names.find(|name| !name.is_empty())
}

/// In the words of Node.js, so that a host looks the same whichever agent reports it.
fn architecture(rust: &'static str) -> &'static str {
    match rust {
        "x86_64" => "x64",
        "x86" => "ia32",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64",
        other => other,
    }
}

/// In the words of Node.js.
fn platform(rust: &'static str) -> &'static str {
    match rust {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CodeOptions, LiveConfig};

    fn gathered(variables: &[(&'static str, &'static str)], host: Host) -> Resource {
        let environment: Environment = variables.iter().copied().collect();
        let (live, warnings) = LiveConfig::new(CodeOptions::default(), environment);
        assert_eq!(warnings, []);
        gather(&live.load(), live.environment(), host, "id".to_owned())
    }

    #[test]
    fn section_11_1_options_become_metadata() {
        let variables = [
            ("ELASTIC_APM_SERVICE_NAME", "shop"),
            ("ELASTIC_APM_SERVICE_VERSION", "1.2"),
            ("ELASTIC_APM_SERVICE_NODE_NAME", "n1"),
            ("ELASTIC_APM_ENVIRONMENT", "staging"),
            ("ELASTIC_APM_GLOBAL_LABELS", "region=eu"),
            ("ELASTIC_APM_ACTIVATION_METHOD", "K8S_ATTACH"),
        ];
        let host = Host { pid: 7, parent_pid: Some(1), executable: Some("shop-api".to_owned()), ..Host::default() };
        let resource = gathered(&variables, host);
        assert_eq!(resource.service_name, "shop");
        assert_eq!(resource.service_version.as_deref(), Some("1.2"));
        assert_eq!(resource.node_name.as_deref(), Some("n1"));
        assert_eq!(resource.environment.as_deref(), Some("staging"));
        assert_eq!((resource.labels[0].key.as_ref(), &resource.labels[0].value), ("region", &"eu".into()));
        assert_eq!((resource.pid, resource.parent_pid), (7, Some(1)));
        assert_eq!(resource.process_title.as_deref(), Some("shop-api"));
        assert_eq!(resource.activation_method, Some("k8s-attach"));
        assert_eq!(resource.ephemeral_id, "id");
        assert_eq!(gathered(&[], Host::default()).activation_method, Some("layer"));
    }

    #[test]
    fn global_labels_never_fill_the_first_line() {
        let label = |key: String, value: &str| (key, value.to_owned());
        let many: Vec<_> = (0..500).map(|n| label(format!("k{n}"), "v")).collect();
        assert_eq!(labels(&many).len(), 128);
        let large: Vec<_> = (0..100).map(|n| label(format!("k{n}"), &"v".repeat(4000))).collect();
        assert_eq!(labels(&large).len(), 8);
        assert_eq!(labels(&large[..3]).len(), 3);
    }

    #[test]
    fn section_11_2_trap_38_the_hostname_is_the_first_that_is_known() {
        let kernel = Some("\tVM.Example.com\n".to_owned());
        let file = Some("file\n".to_owned());
        let host = Host { kernel_hostname: kernel, hostname_file: file.clone(), ..Host::default() };
        let variables = [("HOSTNAME", "variable"), ("ELASTIC_APM_HOSTNAME", "configured")];
        let resource = gathered(&variables, host);
        assert_eq!(resource.detected_hostname.as_deref(), Some("vm.example.com"));
        assert_eq!(resource.configured_hostname.as_deref(), Some("configured"));

        let host = Host { kernel_hostname: Some("\n".to_owned()), hostname_file: file, ..Host::default() };
        let detected = |variables, host| gathered(variables, host).detected_hostname;
        assert_eq!(detected(&[("HOSTNAME", "Variable")], host.clone()).as_deref(), Some("variable"));
        assert_eq!(detected(&[], host).as_deref(), Some("file"));
        assert_eq!(detected(&[], Host::default()), None);
    }

    #[test]
    fn machines_are_named_in_the_common_words() {
        assert_eq!(["x86_64", "aarch64", "riscv64"].map(architecture), ["x64", "arm64", "riscv64"]);
        assert_eq!(["linux", "macos"].map(platform), ["linux", "darwin"]);
    }

    #[test]
    fn this_process_is_found() {
        let host = Host::read();
        assert_eq!(host.pid, std::process::id());
        assert!(host.executable.is_some_and(|name| name.starts_with("tower_apm")));
        assert!(!cfg!(unix) || host.parent_pid.is_some_and(|pid| pid > 0));
    }
}
