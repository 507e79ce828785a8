//! The metadata of the service, collected once from the options, the environment and the host.
//!
//! Command-line arguments are not part of it, because they can contain secrets.

use std::borrow::Cow;

use crate::{
    config::{CloudProvider, Config, EnvVars},
    metadata::{Container, app_service, kubernetes},
    record::{Label, LabelValue, MAX_LABELS, Resource, cut},
};

/// The maximum bytes of `global_labels`, which are in the first line of every batch. A byte can become six characters in
/// JSON.
const MAX_LABEL_BYTES: usize = 32 * 1024;

/// Data from the operating system.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    pub(crate) pid: u32,
    pub(crate) parent_pid: Option<u32>,
    /// The file name of the executable.
    pub(crate) executable: Option<String>,
    /// The host's name in the kernel.
    pub(crate) kernel_hostname: Option<String>,
    /// The content of `/etc/hostname`.
    pub(crate) hostname_file: Option<String>,
    /// The content of `/etc/hosts`.
    pub(crate) hosts_file: Option<String>,
    pub(crate) container: Container,
}

impl Host {
    /// Reads five small files. It starts no process.
    pub(crate) fn read() -> Self {
        let executable = std::env::current_exe().ok();
        let file = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            pid: std::process::id(),
            parent_pid: parent_pid(),
            executable: executable.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
            kernel_hostname: std::fs::read_to_string("/proc/sys/kernel/hostname").ok(),
            hostname_file: std::fs::read_to_string("/etc/hostname").ok(),
            hosts_file: std::fs::read_to_string("/etc/hosts").ok(),
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

/// Returns the metadata of the service. `ephemeral_id` is random for each start of the process.
pub(crate) fn gather(config: &Config, environment: &EnvVars, host: Host, ephemeral_id: String) -> Resource {
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
        cloud: app_service(environment).filter(|_| uses_azure(config.cloud_provider)),
        detected_hostname,
        process_title: host.executable,
        configured_hostname: config.hostname.clone(),
        architecture: architecture(std::env::consts::ARCH),
        platform: platform(std::env::consts::OS),
        labels: labels(&config.global_labels),
    }
}

/// Returns the start-up line.
pub(crate) fn startup_line(config: &Config, environment: &EnvVars) -> String {
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

/// Returns the `global_labels` that are sent. They are in the first line of every request, the server skips a line over
/// 300 KiB, and each label is a field of the index.
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
        tracing::warn!(target: "tower_apm", kept, given, "only the first global_labels are sent: at most 128 labels and 32 KiB are allowed");
    }
    labels
}

fn uses_azure(provider: CloudProvider) -> bool {
    matches!(provider, CloudProvider::Auto | CloudProvider::Azure)
}

const ACTIVATION_METHOD: &str = "ELASTIC_APM_ACTIVATION_METHOD";

/// The allowed values of the variable, each with the value that is sent.
const ACTIVATION_METHODS: [(&str, &str); 6] = [
    ("K8S", "k8s-attach"),
    ("K8S_ATTACH", "k8s-attach"),
    ("k8s-attach", "k8s-attach"),
    ("env-attach", "env-attach"),
    ("fleet", "fleet"),
    ("aws-lambda-layer", "aws-lambda-layer"),
];

/// Returns the activation method. The default is `layer`, because the code adds the agent.
fn activation_method(environment: &EnvVars) -> &'static str {
    let value = environment.get(ACTIVATION_METHOD).map(str::trim);
    let known = ACTIVATION_METHODS.iter().find(|(word, _)| Some(*word) == value);
    known.map_or("layer", |(_, method)| method)
}

/// Returns a warning about an activation method that is not allowed.
pub(crate) fn unknown_activation_method(environment: &EnvVars) -> Option<String> {
    let value = environment.get(ACTIVATION_METHOD)?.trim();
    let known = ACTIVATION_METHODS.map(|(word, _)| word);
    (!known.contains(&value)).then(|| {
        let shown: String = value.chars().take(200).collect();
        format!("{ACTIVATION_METHOD}={shown:?} is not allowed: it is one of {}; using \"layer\"", known.join(", "))
    })
}

/// Returns the detected name of the host in lower case. The option `hostname` is not used here.
fn detected_hostname(environment: &EnvVars, host: &Host) -> Option<String> {
    let kernel = host.kernel_hostname.as_deref().map(trimmed);
    let qualified = kernel.and_then(|name| qualified(name, host.hosts_file.as_deref()?));
    let names = [
        qualified.or(kernel),
        environment.get("HOSTNAME"),
        environment.get("HOST"),
        host.hostname_file.as_deref(),
        environment.get("COMPUTERNAME"),
    ];
    let mut names = names.into_iter().flatten().map(|name| trimmed(name).to_ascii_lowercase());
    names.find(|name| !name.is_empty())
}

fn trimmed(name: &str) -> &str {
    name.trim_matches(|c: char| c <= ' ')
}

/// Returns the name with its domain, usually the same as `hostname -f`: the first name in the line of `/etc/hosts` that
/// contains the name. DNS is not used, and lines that begin with `localhost.` are skipped.
fn qualified<'a>(name: &str, hosts: &'a str) -> Option<&'a str> {
    if name.is_empty() || name.contains('.') {
        return None;
    }
    hosts.lines().find_map(|line| {
        let mut names = line.split('#').next()?.split_ascii_whitespace().skip(1);
        let first = names.next()?;
        let lists = names.any(|other| other.eq_ignore_ascii_case(name));
        let is_own = first.contains('.') && !first.to_ascii_lowercase().starts_with("localhost.");
        (lists && is_own).then_some(first)
    })
}

/// Returns Node.js's name of the architecture, so that a host has the same name in all agents.
fn architecture(rust: &'static str) -> &'static str {
    match rust {
        "x86_64" => "x64",
        "x86" => "ia32",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64",
        other => other,
    }
}

/// Returns Node.js's name of the platform.
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
        let environment: EnvVars = variables.iter().copied().collect();
        let (live, warnings) = LiveConfig::new(CodeOptions::default(), environment);
        assert_eq!(warnings, []);
        gather(&live.load(), live.environment(), host, "id".to_owned())
    }

    // spec: metadata.md
    #[test]
    fn options_become_metadata() {
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
    fn global_labels_are_limited_in_number_and_size() {
        let label = |key: String, value: &str| (key, value.to_owned());
        let many: Vec<_> = (0..500).map(|n| label(format!("k{n}"), "v")).collect();
        assert_eq!(labels(&many).len(), 128);
        let large: Vec<_> = (0..100).map(|n| label(format!("k{n}"), &"v".repeat(4000))).collect();
        assert_eq!(labels(&large).len(), 8);
        assert_eq!(labels(&large[..3]).len(), 3);
    }

    // spec: metadata.md
    #[test]
    fn hostname_is_detected_from_kernel_file_and_variable_in_order() {
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

    // spec: metadata.md
    #[test]
    fn hostname_gets_its_domain_from_the_hosts_file() {
        let hosts = "127.0.0.1 localhost\n127.0.0.1\tlocalhost.localdomain localhost vm\n# 10.0.0.1 not.me vm\n\
                     10.0.0.2 other.example.com other # vm\n::1 vm\n127.0.1.1\tVM.Example.com  vm # this one\n";
        assert_eq!(qualified("vm", hosts), Some("VM.Example.com"));
        assert_eq!(qualified("VM", hosts), Some("VM.Example.com"));
        for (name, hosts) in
            [("vm", ""), ("vm", "127.0.1.1 vm"), ("vm", "10.0.0.1 vm.x"), ("vm.x", "10.0.0.1 vm.y vm.x")]
        {
            assert_eq!(qualified(name, hosts), None, "{name} in {hosts:?}");
        }
        let host =
            Host { kernel_hostname: Some("vm\n".to_owned()), hosts_file: Some(hosts.to_owned()), ..Host::default() };
        assert_eq!(gathered(&[], host).detected_hostname.as_deref(), Some("vm.example.com"));
        let host = Host { hosts_file: Some(hosts.to_owned()), ..Host::default() };
        assert_eq!(gathered(&[("HOSTNAME", "vm")], host).detected_hostname.as_deref(), Some("vm"));
    }

    // spec: metadata.md
    #[test]
    fn activation_method_is_one_of_the_known_values() {
        let read = |word: &str| {
            let environment = EnvVars::from_iter([(ACTIVATION_METHOD, word)]);
            (activation_method(&environment), unknown_activation_method(&environment))
        };
        for (word, method) in [("K8S", "k8s-attach"), ("env-attach", "env-attach"), (" fleet ", "fleet"), ("", "layer")]
        {
            assert_eq!(read(word), (method, None), "{word}");
        }
        assert_eq!(read("aws-lambda-layer"), ("aws-lambda-layer", None));
        let (method, warning) = read("by hand");
        let warning = warning.unwrap();
        assert_eq!(method, "layer");
        assert!(warning.starts_with(r#"ELASTIC_APM_ACTIVATION_METHOD="by hand" is not allowed"#), "{warning}");
    }

    #[test]
    fn architecture_and_platform_have_their_common_names() {
        assert_eq!(["x86_64", "aarch64", "riscv64"].map(architecture), ["x64", "arm64", "riscv64"]);
        assert_eq!(["linux", "macos"].map(platform), ["linux", "darwin"]);
    }

    #[test]
    fn host_contains_the_process_ids_and_the_executable() {
        let host = Host::read();
        assert_eq!(host.pid, std::process::id());
        assert!(host.executable.is_some_and(|name| name.starts_with("tower_apm")));
        assert!(!cfg!(unix) || host.parent_pid.is_some_and(|pid| pid > 0));
    }
}
